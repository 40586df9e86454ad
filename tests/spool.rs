//! Spans are on disk until somebody has acknowledged them: an outage loses none, and what a program leaves is sent by
//! the next.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use longpole::{Builder, Durability, FlushReport, KeepRuns, Longpole};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use otlp_sink::{PATIENCE, Reply, Sink};
use tracing::info_span;
use tracing_subscriber::prelude::*;

fn builder(url: String, folder: &Path) -> Builder {
    longpole::builder().service_name("agent").otlp_endpoint(url).spool_dir(folder.join("spool"))
}

/// Runs of one root and `steps` steps with numbers from 0 on. Each is waited for, so that they come no faster than
/// they are taken.
fn run(builder: Builder, runs: u64, steps: u64, long: &str) -> Longpole {
    let (tell, told) = std::sync::mpsc::channel();
    let builder = builder.on_run(move |report| {
        let _ = tell.send(report.run.spans);
    });
    let (layer, longpole) = builder.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for run in 0..runs {
            info_span!("run", seq = run * (steps + 1)).in_scope(|| {
                for step in 1..=steps {
                    let seq = run * (steps + 1) + step;
                    info_span!("step", node.id = "step", seq, long).in_scope(|| ());
                }
            });
            assert_eq!(told.recv_timeout(PATIENCE).unwrap(), steps + 1);
        }
    });
    longpole
}

/// How often each sequence number was taken.
fn taken(sink: &Sink) -> BTreeMap<i64, u64> {
    let mut taken = BTreeMap::new();
    for span in sink.spans() {
        let seq = span.attributes.iter().find(|attribute| attribute.key == "seq").unwrap();
        let Some(Value::IntValue(seq)) = seq.value.as_ref().unwrap().value else { panic!("{seq:?}") };
        *taken.entry(seq).or_default() += 1;
    }
    taken
}

fn assert_each_once(sink: &Sink, spans: u64) {
    let taken = taken(sink);
    let expected: Vec<(i64, u64)> = (0..spans as i64).map(|seq| (seq, 1)).collect();
    assert_eq!(taken.into_iter().collect::<Vec<_>>(), expected);
}

fn assert_conserved(report: &FlushReport) {
    let lost: u64 = report.lost.values().sum();
    let told = report.acknowledged + report.rejected + report.pending + report.discarded + lost;
    assert_eq!(report.closed, told, "{report}");
    assert!(report.spooled <= report.pending, "{report}");
}

/// Every file below the folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path().display().to_string()),
            }
        }
    }
    found
}

/// A sink that answers 503 until it is switched on.
fn switched() -> (Sink, Arc<AtomicBool>) {
    let is_up = Arc::new(AtomicBool::new(false));
    let switch = is_up.clone();
    let sink = Sink::start(move |_| match switch.load(Ordering::Relaxed) {
        true => Reply::ok(),
        false => Reply::Status(503, vec![("retry-after", "0".to_owned())], Vec::new()),
    });
    (sink, is_up)
}

#[test]
fn nothing_is_left_on_disk_of_what_was_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::accepting();
    let longpole = run(builder(sink.url(), folder.path()), 3, 4, "");
    let last = longpole.shutdown_within(PATIENCE);
    assert!(last.flush.is_complete, "{last}");
    assert_eq!((last.flush.acknowledged, last.flush.spooled), (15, 0));
    assert_each_once(&sink, 15);
    assert!(files(folder.path()).is_empty(), "{:?}", files(folder.path()));
}

#[test]
fn an_outage_longer_than_memory_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    let long = "x".repeat(4_000);
    // 32 MiB, twice what waits in memory.
    let (runs, steps) = (64, 128);
    let spans = runs * (steps + 1);
    let longpole = run(builder(sink.url(), folder.path()), runs, steps, &long);
    let during = longpole.flush_within(Duration::from_millis(50));
    assert_conserved(&during);
    assert_eq!((during.closed, during.acknowledged, during.lost.len()), (spans, 0, 0), "{during}");
    assert_eq!(during.spooled, spans, "all of them are on disk");
    is_up.store(true, Ordering::Relaxed);
    let after = longpole.flush_within(PATIENCE);
    assert_conserved(&after);
    assert!(after.is_complete && after.acknowledged == spans, "{after}");
    assert_each_once(&sink, spans);
    let roots = sink.spans().into_iter().filter(|span| span.parent_span_id.is_empty());
    let has_verdict = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
        span.attributes.iter().any(|attribute| attribute.key == "longpole.run.complete")
    };
    assert_eq!(roots.filter(has_verdict).count() as u64, runs, "every root has its verdict");
    drop(longpole);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn what_a_program_leaves_is_sent_by_the_next_under_its_own_resource() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    let resource = opentelemetry_sdk::Resource::builder_empty()
        .with_attribute(opentelemetry::KeyValue::new("generation", "first"))
        .build();
    let first = builder(sink.url(), folder.path()).with_resource(&resource);
    let longpole = run(first, 2, 4, "");
    let last = longpole.shutdown_within(Duration::from_millis(200));
    assert_conserved(&last.flush);
    assert_eq!((last.flush.pending, last.flush.spooled), (10, 10), "{last}");
    is_up.store(true, Ordering::Relaxed);
    let second = run(builder(sink.url(), folder.path()), 0, 0, "");
    sink.wait_until(|received| {
        let taken = received.iter().filter(|received| received.was_taken);
        let scopes = taken.flat_map(|received| &received.request.resource_spans).flat_map(|r| &r.scope_spans);
        scopes.map(|scope| scope.spans.len()).sum::<usize>() == 10
    });
    assert_each_once(&sink, 10);
    for resource in sink.resources() {
        let attributes = &resource.resource.unwrap().attributes;
        assert!(attributes.iter().any(|attribute| attribute.key == "generation"), "{attributes:?}");
    }
    let deadline = Instant::now() + PATIENCE;
    while second.flush().recovered < 10 {
        assert!(Instant::now() < deadline, "{}", second.flush());
    }
    let last = second.shutdown_within(PATIENCE);
    assert_eq!((last.flush.closed, last.flush.recovered), (0, 10), "{last}");
    assert!(files(folder.path()).is_empty(), "{:?}", files(folder.path()));
}

#[test]
fn one_of_several_programs_adopts_what_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    drop(run(builder(sink.url(), folder.path()), 4, 4, "").shutdown_within(Duration::from_millis(100)));
    is_up.store(true, Ordering::Relaxed);
    let racing: Vec<Longpole> =
        (0..3).map(|_| builder(sink.url(), folder.path()).build().unwrap().1).collect();
    let deadline = Instant::now() + PATIENCE;
    while racing.iter().map(|longpole| longpole.flush().recovered).sum::<u64>() < 20 {
        assert!(Instant::now() < deadline);
    }
    let shares = racing.iter().map(|longpole| longpole.shutdown().flush.recovered);
    assert_eq!(shares.filter(|recovered| *recovered > 0).count(), 1, "exactly one");
    assert_each_once(&sink, 20);
}

#[test]
fn the_oldest_spans_make_room_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    let small = builder(sink.url(), folder.path()).spool_bytes(20 << 20);
    // Texts that are not cut under load.
    let long = "x".repeat(1_000);
    let longpole = run(small, 400, 128, &long);
    let during = longpole.flush_within(Duration::from_millis(50));
    assert_conserved(&during);
    let lost = during.lost["delivery_spool_full"];
    assert!(lost > 0, "{during}");
    let on_disk: u64 = files(folder.path()).iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    assert!(on_disk <= 21 << 20, "{on_disk}");
    let notes = longpole.diagnostics().notes;
    assert!(notes.iter().any(|note| note.contains("50 % of the space")), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("spans lost:")), "{notes:?}");
    is_up.store(true, Ordering::Relaxed);
    let after = longpole.flush_within(PATIENCE);
    assert_conserved(&after);
    assert_eq!(after.acknowledged + after.lost["delivery_spool_full"], after.closed, "{after}");
    assert_eq!(taken(&sink).len() as u64, after.acknowledged);
}

#[test]
fn a_folder_that_cannot_be_written_to_leaves_memory_and_a_note() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    std::fs::set_permissions(&spool, std::fs::Permissions::from_mode(0o777)).unwrap();
    let sink = Sink::accepting();
    let longpole = run(builder(sink.url(), folder.path()), 2, 4, "");
    let last = longpole.shutdown_within(PATIENCE);
    assert!(last.flush.is_complete && last.flush.acknowledged == 10, "{last}");
    let notes = longpole.diagnostics().notes;
    let told = notes.iter().filter(|note| note.contains("can be written to by others"));
    assert_eq!(told.count(), 1, "{notes:?}");
    assert!(files(folder.path()).is_empty());
}

#[test]
fn a_folder_that_disappears_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    let (layer, longpole) = builder(sink.url(), folder.path()).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info_span!("run", seq = 0).in_scope(|| ());
        longpole.flush_within(Duration::from_millis(20));
        std::fs::remove_dir_all(folder.path().join("spool")).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut seq = 1;
        while !longpole.diagnostics().notes.iter().any(|note| note.contains("has been removed")) {
            assert!(Instant::now() < deadline);
            info_span!("run", seq).in_scope(|| ());
            seq += 1;
            longpole.flush_within(Duration::from_millis(20));
        }
        info_span!("run", seq).in_scope(|| ());
        let during = longpole.flush_within(Duration::from_millis(20));
        assert!(during.spooled > 0, "{during}");
        is_up.store(true, Ordering::Relaxed);
        let last = longpole.shutdown_within(PATIENCE);
        assert!(last.flush.is_complete && last.flush.lost.is_empty(), "{last}");
        assert_each_once(&sink, seq + 1);
    });
}

#[test]
fn what_a_backend_refuses_for_good_is_kept_for_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(|_| Reply::code(400));
    let longpole = run(builder(sink.url(), folder.path()), 1, 4, "");
    let last = longpole.shutdown_within(PATIENCE);
    assert_eq!(last.flush.rejected, 5, "{last}");
    let kept = files(&folder.path().join("spool/v1/agent/dead"));
    assert!(!kept.is_empty());
    let spans: usize = kept
        .iter()
        .map(|file| {
            use prost::Message;
            let bytes = std::fs::read(file).unwrap();
            let request =
                opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest::decode(&*bytes);
            request.unwrap().resource_spans[0].scope_spans[0].spans.len()
        })
        .sum();
    assert_eq!(spans, 5);
}

#[test]
fn what_waits_for_a_decision_when_a_program_is_gone_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    let (layer, longpole) = builder(sink.url(), folder.path()).keep_runs(KeepRuns::failed()).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let _open = info_span!("run", seq = 0).entered();
        info_span!("step", node.id = "step", seq = 1).in_scope(|| ());
        // The run has not ended, so nothing is decided; what is open goes along.
        let last = longpole.shutdown_within(Duration::from_millis(300));
        assert_eq!((last.flush.discarded, last.flush.pending, last.flush.spooled), (0, 2, 2), "{last}");
    });
    is_up.store(true, Ordering::Relaxed);
    let next = builder(sink.url(), folder.path()).build().unwrap().1;
    let deadline = Instant::now() + PATIENCE;
    while next.flush().recovered < 2 {
        assert!(Instant::now() < deadline, "{}", next.flush());
    }
    assert_each_once(&sink, 2);
}

#[test]
fn only_runs_that_are_worth_it_are_sent() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::accepting();
    let (layer, longpole) = builder(sink.url(), folder.path()).keep_runs(KeepRuns::failed()).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for run in 0..10 {
            info_span!("run", seq = 2 * run).in_scope(|| {
                let step = info_span!("step", node.id = "step", seq = 2 * run + 1);
                step.in_scope(|| {
                    if run == 3 {
                        tracing::error!("no");
                    }
                });
            });
        }
    });
    let last = longpole.shutdown_within(PATIENCE);
    assert_conserved(&last.flush);
    assert_eq!((last.flush.runs, last.flush.acknowledged, last.flush.discarded), (10, 2, 18), "{last}");
    assert_eq!(taken(&sink).into_keys().collect::<Vec<_>>(), [6, 7]);
    assert_eq!(longpole.node("step").unwrap().calls, 10, "all of them are analysed");
    assert!(files(folder.path()).is_empty());
}

const CHILD: &str = "LONGPOLE_TEST_CHILD";

/// A process that closes spans for ever, told by its parent where to send them and how.
#[test]
fn a_program_that_is_killed() {
    let Ok(settings) = std::env::var(CHILD) else { return };
    let [url, folder, durability] = settings.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let durability = if durability == "strict" { Durability::Strict } else { Durability::Normal };
    let builder = builder(url.to_owned(), Path::new(folder)).durability(durability);
    let (layer, _longpole) = builder.build().unwrap();
    let mut closed = std::fs::File::create(Path::new(folder).join("closed")).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for seq in 0_u64.. {
            info_span!("run", seq).in_scope(|| ());
            // Told behind the close: what the file says has closed.
            std::io::Write::write_all(&mut closed, b".").unwrap();
            std::thread::sleep(Duration::from_micros(500));
        }
    });
}

fn kill_one(durability: &str, sink: &Sink, folder: &Path) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_program_that_is_killed", "--nocapture"])
        .env(CHILD, format!("{} {} {durability}", sink.url(), folder.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let told = folder.join("closed");
    let deadline = Instant::now() + PATIENCE;
    while std::fs::metadata(&told).map_or(0, |metadata| metadata.len()) < 100 {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::metadata(&told).unwrap().len()
}

#[test]
fn a_killed_program_with_strict_durability_loses_nothing_that_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    let closed = kill_one("strict", &sink, folder.path());
    is_up.store(true, Ordering::Relaxed);
    let next = builder(sink.url(), folder.path()).build().unwrap().1;
    let deadline = Instant::now() + PATIENCE;
    while next.flush().recovered < closed {
        assert!(Instant::now() < deadline, "{} of {closed}", next.flush());
    }
    drop(next);
    let taken = taken(&sink);
    assert!((0..closed as i64).all(|seq| taken.get(&seq) == Some(&1)), "{closed} closed: {taken:?}");
}

#[test]
fn a_killed_program_loses_what_closed_in_its_last_moment_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    let closed = kill_one("normal", &sink, folder.path());
    is_up.store(true, Ordering::Relaxed);
    let next = builder(sink.url(), folder.path()).build().unwrap().1;
    // One that was busy elsewhere for 25 ms is a slow machine, not a lost hundred.
    let deadline = Instant::now() + PATIENCE;
    while next.flush().recovered + 50 < closed {
        assert!(Instant::now() < deadline, "{} of {closed}", next.flush());
    }
}

/// The disk refuses while records wait there that are in memory no more: what comes is kept in memory meanwhile.
#[test]
fn a_disk_that_refuses_during_an_outage_loses_nothing_that_fits_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, is_up) = switched();
    let long = "x".repeat(1_000);
    let (tell, told) = std::sync::mpsc::channel();
    let builder = builder(sink.url(), folder.path()).on_run(move |report| {
        let _ = tell.send(report.run.spans);
    });
    let (layer, longpole) = builder.build().unwrap();
    let mut seq = 0_u64;
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let mut run = |steps: u64| {
            info_span!("run", seq).in_scope(|| {
                seq += 1;
                for _ in 0..steps {
                    info_span!("step", node.id = "step", seq, long).in_scope(|| ());
                    seq += 1;
                }
            });
            assert_eq!(told.recv_timeout(PATIENCE).unwrap(), steps + 1);
        };
        // More than memory holds.
        (0..160).for_each(|_| run(128));
        // No further file can be made: the next record that needs one is refused.
        let process =
            std::fs::read_dir(folder.path().join("spool/v1/agent")).unwrap().next().unwrap().unwrap();
        for number in 2..60 {
            // Refused even to those who may write everywhere.
            let _ = std::fs::create_dir(process.path().join(format!("{number:012}.seg")));
        }
        (0..80).for_each(|_| run(128));
        is_up.store(true, Ordering::Relaxed);
        let last = longpole.flush_within(PATIENCE);
        let notes = longpole.diagnostics().notes;
        assert!(notes.iter().any(|note| note.contains("cannot write spans to")), "{notes:?}");
        assert_conserved(&last);
        let lost: u64 = last.lost.values().sum();
        assert_eq!(last.acknowledged + lost, last.closed, "{last}");
        // Memory was full when the disk refused, so some may be; what is counted is all there is.
        assert_eq!(taken(&sink).len() as u64, last.acknowledged, "{last}");
    });
}
