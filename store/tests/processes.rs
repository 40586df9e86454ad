//! Several processes and one history; processes that die.

#![allow(missing_docs, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use longpole_store::{Labels, RunFilter, RunOrder, Store};
use support::{at, report, spans};

const PATH: &str = "STORE_TEST_PATH";
const FIRST: &str = "STORE_TEST_FIRST";
const COUNT: &str = "STORE_TEST_COUNT";

/// The writing process, when it is told to be one: says each run once it is kept.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (first, count) = (number(FIRST), number(COUNT));
    let mut store = Store::open(Path::new(&path)).unwrap();
    for run in first..first + count {
        let spans = spans(run, run, 300);
        store.record(&report(&spans), &spans, &Labels::new(), at(run)).unwrap();
        println!("kept {run}.");
    }
}

fn start(path: &Path, first: u64, count: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .envs([(FIRST, first.to_string()), (COUNT, count.to_string())])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn kept(path: &Path) -> BTreeSet<u64> {
    let store = Store::open(path).unwrap();
    let runs = store.runs(&RunFilter::default(), RunOrder::Start, 0, u64::MAX).unwrap();
    for run in &runs {
        let documents = store.documents(run).unwrap().unwrap();
        assert_eq!(documents.report().unwrap().run.id, run.run.id);
        assert!(documents.spans().unwrap().is_some());
    }
    runs.iter().map(|run| u64::from_str_radix(&run.run.id[..32], 16).unwrap()).collect()
}

fn is_sound(path: &Path) -> bool {
    let sql = rusqlite::Connection::open(path).unwrap();
    let verdict: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let stray: i64 = sql
        .query_row("SELECT count(*) FROM nodes WHERE run NOT IN (SELECT key FROM runs)", [], |row| row.get(0))
        .unwrap();
    verdict == "ok" && stray == 0
}

#[test]
fn what_several_processes_write_at_once_is_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    // The file is not there yet: they make it at the same time too.
    let writers: Vec<Child> = (0..4).map(|writer| start(&path, 1 + writer * 100, 25)).collect();
    for writer in writers {
        let output = writer.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let expected = (0..4).flat_map(|writer| 1 + writer * 100..26 + writer * 100).collect();
    assert_eq!(kept(&path), expected);
    assert!(is_sound(&path));
}

#[test]
fn what_was_kept_stays_when_the_process_is_killed_in_the_middle_of_writing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    for round in 0..5u64 {
        let first = 1 + round * 10_000;
        let mut writer = start(&path, first, 10_000);
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        while told.len() < 3 + 2 * round as usize {
            let line = lines.next().unwrap().unwrap();
            told.extend(number_in(&line));
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        told.extend(lines.map_while(Result::ok).filter_map(|line| number_in(&line)));
        let kept = kept(&path);
        assert!(told.iter().all(|run| kept.contains(run)), "round {round}: {told:?} of {kept:?}");
        assert!(is_sound(&path));
    }
}

/// The run that a whole line says was kept; the first stands behind what the test harness prints.
fn number_in(line: &str) -> Option<u64> {
    line.strip_suffix('.')?.rsplit_once("kept ")?.1.parse().ok()
}
