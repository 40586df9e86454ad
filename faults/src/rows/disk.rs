//! Disks that are full, folders that cannot be used, and files that are damaged.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::kills::Random;
use super::trial::{PATIENCE, Trial};
use super::{Outcome, Plan, at_once, case};
use crate::client::process::closed_in;
use crate::client::{ClientSpec, End, Pipeline, Protocol};
use crate::sink::Network;

/// A small file system of its own; gone when this is dropped.
struct Tmpfs {
    folder: TempDir,
}

impl Tmpfs {
    /// `None` where the rights do not allow it.
    fn mount(flags: MountFlags, options: &str) -> anyhow::Result<Option<Tmpfs>> {
        let folder = TempDir::with_prefix("faults-disk-")?;
        let options = CString::new(options)?;
        let mounted = mount("faults", folder.path(), "tmpfs", flags, Some(options.as_c_str()));
        Ok(mounted.ok().map(|()| Tmpfs { folder }))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no room.
    fn fill(&self) -> anyhow::Result<()> {
        let mut file = fs::File::create(self.path().join("ballast"))?;
        for size in [1 << 16, 1 << 12, 1] {
            while std::io::Write::write_all(&mut file, &vec![b'x'; size]).is_ok() {}
        }
        Ok(())
    }

    fn clear(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path().join("ballast"))?)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = unmount(self.folder.path(), UnmountFlags::DETACH);
    }
}

const NO_RIGHTS: &str = "mounting a file system is not allowed here";
const NO_SPOOL: &str = "the SDK keeps nothing on disk";

/// The disk is full from the first span on, or becomes full; the backend is away meanwhile.
pub(super) fn full(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    if plan.pipeline() == Pipeline::Sdk {
        return Ok(vec![Outcome::skipped("", Pipeline::Sdk, NO_SPOOL)]);
    }
    at_once(2, vec![true, false], |is_full_at_first| {
        let what = if is_full_at_first { "full from the start" } else { "becomes full" };
        let Some(disk) = Tmpfs::mount(MountFlags::empty(), "size=2m")? else {
            return Ok(Outcome::skipped(what, plan.pipeline(), NO_RIGHTS));
        };
        let mut trial = Trial::new(plan, Protocol::Http)?;
        trial.set("LONGPOLE_SPOOL_DIR", disk.path().join("spool").display().to_string());
        trial.sink.set_network(Network::Down);
        if is_full_at_first {
            disk.fill()?;
        }
        let ms = plan.pick(2_000, 10_000);
        let spec = ClientSpec { flush_ms: Some(30_000), ..trial.spec(2_000, ms) };
        let client = trial.start(&spec)?;
        sleep(Duration::from_millis(ms / 4));
        if !is_full_at_first {
            disk.fill()?;
        }
        sleep(Duration::from_millis(ms / 4));
        // The backend is back and the disk is not.
        trial.sink.set_network(Network::Up);
        let report = client.report(PATIENCE + Duration::from_millis(ms))?;
        // There is room again: the next program is as any other.
        disk.clear()?;
        let next = trial.start(&trial.spec(500, 200))?.report(PATIENCE)?;
        let mut outcome = trial.outcome(what)?;
        outcome.report(&report);
        outcome.must_lose_nothing();
        outcome.must_end_in_time(&report);
        outcome.must(next.shutdown.is_ok, || format!("with room again: {}", next.shutdown.text));
        Ok(outcome)
    })
}

/// Folders for a spool that are no such thing.
pub(super) fn odd_folders(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    if plan.pipeline() == Pipeline::Sdk {
        return Ok(vec![Outcome::skipped("", Pipeline::Sdk, NO_SPOOL)]);
    }
    let cases = vec![
        "missing",
        "below a file",
        "read-only",
        "no inodes",
        "deleted while running",
        "a link",
        "another user's",
    ];
    at_once(4, cases, |what| Ok(case(plan, what.to_owned(), |_| odd_folder(plan, what))))
}

fn odd_folder(plan: &Plan, what: &str) -> anyhow::Result<Outcome> {
    let mut trial = Trial::new(plan, Protocol::Http)?;
    let around = TempDir::with_prefix("faults-folder-")?;
    let mut disk = None;
    // Whether a spool is possible there at all.
    let (spool, is_usable) = match what {
        "missing" => (around.path().join("a/b/c"), true),
        "below a file" => {
            fs::write(around.path().join("file"), "")?;
            (around.path().join("file/spool"), false)
        }
        "read-only" | "no inodes" => {
            let read_only = what == "read-only";
            let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
            let Some(mounted) = Tmpfs::mount(flags, if read_only { "size=2m" } else { "nr_inodes=1" })?
            else {
                return Ok(Outcome::skipped(what, plan.pipeline(), NO_RIGHTS));
            };
            let path = mounted.path().join("spool");
            disk = Some(mounted);
            (path, false)
        }
        "a link" => {
            fs::create_dir(around.path().join("elsewhere"))?;
            symlink(around.path().join("elsewhere"), around.path().join("link"))?;
            (around.path().join("link"), true)
        }
        "another user's" => {
            let path = around.path().join("spool");
            fs::create_dir(&path)?;
            if chown(&path, Some(65_534), Some(65_534)).is_err() {
                return Ok(Outcome::skipped(
                    what,
                    plan.pipeline(),
                    "giving folders away is not allowed here",
                ));
            }
            (path, true)
        }
        _ => (around.path().join("spool"), true),
    };
    trial.set("LONGPOLE_SPOOL_DIR", spool.display().to_string());
    trial.sink.set_network(Network::Down);
    let spec = ClientSpec { flush_ms: Some(20_000), ..trial.spec(1_000, 600) };
    let client = trial.start(&spec)?;
    sleep(Duration::from_millis(300));
    if what == "deleted while running" {
        let _ = fs::remove_dir_all(&spool);
    }
    trial.sink.set_network(Network::Up);
    let report = client.report(PATIENCE)?;
    let mut outcome = trial.outcome(what)?;
    outcome.report(&report);
    outcome.must_lose_nothing();
    outcome.must_end_in_time(&report);
    outcome.must(is_usable || !report.notes.is_empty(), || "nobody was told".to_owned());
    if let Some(note) = report.notes.iter().find(|note| note.contains("spool") || note.contains("disk")) {
        outcome.more.push(note.clone());
    }
    drop(disk);
    Ok(outcome)
}

/// What is done to the files of a spool before the next start.
#[derive(Clone, Copy, Debug)]
enum Damage {
    None,
    FlippedBits,
    CutShort,
    ZeroedPage,
    FileTwice,
}

/// A spool that a killed program has left is damaged, then read by the next start.
pub(super) fn damaged(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    if plan.pipeline() == Pipeline::Sdk {
        return Ok(vec![Outcome::skipped("", Pipeline::Sdk, NO_SPOOL)]);
    }
    let trial = Trial::new(plan, Protocol::Http)?;
    trial.sink.set_network(Network::Down);
    let client = trial.start(&ClientSpec { end: End::Killed, ..trial.spec(2_000, 0) })?;
    sleep(Duration::from_millis(plan.pick(1_000, 3_000)));
    client.kill()?;
    let made = closed_in(trial.log())?;
    let times = plan.pick(6, 100);
    let kinds = [Damage::FlippedBits, Damage::CutShort, Damage::ZeroedPage, Damage::FileTwice];
    // The last millisecond before the kill is nowhere; whatever is lost beyond it is lost by damage.
    let whole = read_damaged(plan, &trial, Damage::None, 0, &made, 0)?;
    let by_kill = whole.lost;
    let mut outcomes = vec![Outcome { case: "no damage, to compare".to_owned(), ..whole }];
    for kind in kinds {
        let results =
            at_once(6, (0..times).collect(), |time| read_damaged(plan, &trial, kind, time, &made, by_kill))?;
        let mut sum = Outcome::new(format!("{kind:?}, {times} times"), plan.pipeline());
        for outcome in results {
            sum.produced += outcome.produced;
            sum.received += outcome.received;
            sum.lost += outcome.lost;
            sum.duplicates += outcome.duplicates;
            sum.failures.extend(outcome.failures);
        }
        outcomes.push(sum);
    }
    Ok(outcomes)
}

fn read_damaged(
    plan: &Plan,
    left: &Trial,
    kind: Damage,
    time: u64,
    made: &HashSet<u64>,
    by_kill: u64,
) -> anyhow::Result<Outcome> {
    let trial = Trial::new(plan, Protocol::Http)?;
    copy(&left.spool, &trial.spool)?;
    let mut random = Random(time << 8 | kind as u64);
    damage(&trial.spool, kind, &mut random)?;
    fs::copy(left.log(), trial.log())?;
    let report = trial.start_again()?;
    let mut outcome = trial.outcome("")?;
    let invented =
        trial.sink.tally(|tally| tally.arrivals.keys().filter(|span| !made.contains(span)).count());
    // The last millisecond before the kill may be there without having been noted.
    outcome.must(invented <= 40, || format!("{kind:?} {time}: {invented} spans that nobody made"));
    let (lost, produced) = (outcome.lost, outcome.produced);
    let most = match kind {
        // A few records, of which each holds what was closed in a millisecond or a little longer.
        Damage::FlippedBits | Damage::ZeroedPage => produced / 4,
        Damage::CutShort => produced,
        Damage::FileTwice => by_kill,
        // As after any kill.
        Damage::None => 40,
    };
    outcome.must(lost <= most, || format!("{kind:?} {time}: {lost} of {produced} lost"));
    // A file that ends early is what any kill leaves; everything else is counted.
    let is_counted = |note: &String| {
        let (what, count) = note.split_once(": ").unwrap_or_default();
        count != "0"
            && (what.ends_with("spool_damaged_records") || what.ends_with("spool_unreadable_segments"))
    };
    let is_untold = lost > by_kill
        && !report.notes.iter().any(is_counted)
        && !matches!(kind, Damage::None | Damage::CutShort);
    outcome.must(!is_untold, || {
        format!("{kind:?} {time}: {lost} lost, and nobody was told: {:?}", report.notes)
    });
    Ok(outcome)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("no spool in {}", from.display()))? {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if entry.is_dir() {
            copy(&entry, &to.join(name))?;
        } else {
            fs::copy(&entry, to.join(name))?;
        }
    }
    Ok(())
}

fn damage(spool: &Path, kind: Damage, random: &mut Random) -> anyhow::Result<()> {
    let mut files = Vec::new();
    files_below(spool, &mut files)?;
    // The fullest one: the others are small and tell less.
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).map_or(0, |about| about.len())));
    let path = files.first().context("the spool has no file")?;
    let mut bytes = fs::read(path)?;
    let length = bytes.len() as u64;
    // Not the first page: a file whose head is gone is passed over whole, and counted. Nor the last: damage there is
    // an end that was torn off.
    let pages = (length / 4_096).saturating_sub(2).max(1);
    let inside = |random: &mut Random| 4_096 + random.below(pages * 4_096 - 4_095);
    match kind {
        Damage::None => {}
        Damage::FlippedBits => {
            for _ in 0..=random.below(8) {
                if let Some(byte) = bytes.get_mut(inside(random) as usize) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        Damage::CutShort => bytes.truncate(random.below(length) as usize),
        Damage::ZeroedPage => {
            let start = (inside(random) & !4_095) as usize;
            bytes.iter_mut().skip(start).take(4_096).for_each(|byte| *byte = 0);
        }
        Damage::FileTwice => {
            let twice = path.with_file_name("000000000099.seg");
            fs::copy(path, twice)?;
        }
    }
    Ok(fs::write(path, bytes)?)
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files_below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
