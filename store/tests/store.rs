//! What a history keeps, for how long, and what it says of files it cannot use.

#![allow(missing_docs, reason = "a test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration as StdDuration;

use longpole::report::{History, RunStatus};
use longpole::time::Duration;
use longpole::{ReportOptions, report_on};
use longpole_store::{
    Labels, Limits, NewRun, PruneRule, Recorded, RunFilter, RunOrder, StatusFilter, Store, StoreError,
};
use support::{at, report, spans};

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/longpole/runs.db");
    (folder, path)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// Records run `number`, which starts so many seconds after the epoch and is recorded ten seconds later.
fn record(store: &mut Store, number: u64, draft_ms: u64) -> Recorded {
    let spans = spans(number, number * 100, draft_ms);
    store.record(&report(&spans), &spans, &Labels::new(), at(number * 100 + 10)).unwrap().recorded
}

fn numbers(store: &Store, filter: &RunFilter, order: RunOrder) -> Vec<u64> {
    let runs = store.runs(filter, order, 0, 1_000).unwrap();
    runs.iter().map(|found| u64::from_str_radix(&found.run.id[..32], 16).unwrap()).collect()
}

#[test]
fn a_run_comes_back_as_it_was_and_can_be_analysed_again() {
    let (_folder, path) = folder();
    let spans = spans(7, 100, 300);
    let told = report(&spans);
    let mut store = Store::open(&path).unwrap();
    store.record(&told, &spans, &labels(&[("session", "1")]), at(200)).unwrap();
    drop(store);

    let store = Store::open_existing(&path).unwrap().unwrap();
    let found = store.runs(&RunFilter::default(), RunOrder::Start, 0, 10).unwrap().remove(0);
    assert_eq!((found.run.workflow.as_str(), found.run.version.as_deref()), ("desk", Some("1.0")));
    assert_eq!(
        (found.run.status, found.run.wall_ns),
        (Some(RunStatus::Ok), Some(Duration::from_millis(400)))
    );
    assert_eq!(found.run.cost_usd.unwrap().to_string(), "0.25");
    assert_eq!((found.run.longest_node.as_deref(), found.run.spans), (Some("draft"), 3));
    assert_eq!(found.run.labels, labels(&[("session", "1")]));
    let documents = store.documents(&found).unwrap().unwrap();
    assert_eq!(documents.report().unwrap(), told);
    let again = longpole::decode::decode(&documents.spans().unwrap().unwrap()).unwrap().spans;
    assert_eq!(report_on(again, &ReportOptions::default()), std::slice::from_ref(&told));
    assert_eq!(store.latest_profile(&RunFilter::default()).unwrap(), Some(told));
    assert_eq!(store.bottlenecks(&RunFilter::default(), 1).unwrap()[0].name, "draft");
    assert_eq!(store.performance_insights(&RunFilter::default()).unwrap()[0].subject, "draft");
    let totals = store.parallelization_analysis(&RunFilter::default()).unwrap().unwrap();
    assert_eq!(totals.parallelism_peak, 1);
}

#[test]
fn the_same_run_is_kept_once_and_never_loses_spans() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    let whole = spans(1, 100, 300);
    let part = whole[..2].to_vec();
    let mut put = |spans: &[_], label: &str| {
        store.record(&report(spans), spans, &labels(&[(label, "x")]), at(100)).unwrap().recorded
    };
    assert_eq!(put(&part, "a"), Recorded::New);
    assert_eq!(put(&whole, "b"), Recorded::Replaced);
    assert_eq!(put(&part, "c"), Recorded::KeptLarger);
    assert_eq!(put(&whole, "b"), Recorded::Replaced);
    let runs = store.runs(&RunFilter::default(), RunOrder::Start, 0, 10).unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].run.spans, runs[0].run.labels.len()), (3, 3));
}

#[test]
fn a_run_that_began_is_completed_under_its_own_id_and_sql_sees_its_steps() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    let run = NewRun { id: "job-17".into(), workflow: "desk".into(), started: at(90), ..NewRun::default() };
    store.begin_run(&run, at(90)).unwrap();
    let running = RunFilter { status: Some(StatusFilter::Running), ..RunFilter::default() };
    let found = store.runs(&running, RunOrder::Start, 0, 10).unwrap();
    assert_eq!((found[0].run.status, found[0].run.status_word()), (None, "running"));
    assert!(store.documents(&found[0]).unwrap().is_none());
    assert!(store.latest_profile(&running).unwrap().is_none());

    let spans = spans(1, 100, 300);
    assert!(store.update_run_completion("job-17", &report(&spans), &spans).unwrap());
    assert!(!store.update_run_completion("job-18", &report(&spans), &spans).unwrap());
    assert_eq!(store.count(&running).unwrap(), 0);

    let sql = rusqlite::Connection::open(&path).unwrap();
    let (status, ms, cost, info): (String, f64, f64, String) = sql
        .query_row(
            "SELECT status, total_time_ms, cost_usd, bottleneck_info FROM workflow_run_records WHERE run_id = 'job-17'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!((status.as_str(), ms, cost), ("ok", 400.0, 0.25));
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!((&info["slowest_node"]["node_id"], &info["total_time_ms"]), (&"draft".into(), &400.0.into()));
    let steps: Vec<(String, f64, Option<f64>)> = sql
        .prepare("SELECT node_id, execution_time_ms, cost_usd FROM execution_state_records ORDER BY node_id")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(steps, [("draft".into(), 300.0, Some(0.25)), ("fetch".into(), 100.0, None)]);
}

#[test]
fn runs_are_found_by_what_is_known_of_them_in_the_order_asked_for() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    for (number, draft) in [(1, 300), (2, 500), (3, 100)] {
        record(&mut store, number, draft);
    }
    let other = spans(4, 50, 200);
    store.record(&report(&other), &other, &labels(&[("session", "4")]), at(60)).unwrap();
    let all = RunFilter::default();
    assert_eq!(numbers(&store, &all, RunOrder::Start), [3, 2, 1, 4]);
    assert_eq!(numbers(&store, &all, RunOrder::Wall), [2, 1, 4, 3]);
    assert_eq!(numbers(&store, &all, RunOrder::Cost), [3, 2, 1, 4], "equal costs, the latest first");
    let by = |filter: RunFilter| numbers(&store, &filter, RunOrder::Start);
    assert_eq!(by(RunFilter { labels: labels(&[("session", "4")]), ..all.clone() }), [4]);
    assert_eq!(by(RunFilter { labels: labels(&[("session", "5")]), ..all.clone() }), [0; 0]);
    assert_eq!(by(RunFilter { since: Some(at(200)), ..all.clone() }), [3, 2]);
    assert_eq!(by(RunFilter { before: Some(at(100)), ..all.clone() }), [4]);
    assert_eq!(by(RunFilter { version: Some("2".into()), ..all.clone() }), [0; 0]);
    let id = format!("{:032x}-", 2);
    assert_eq!(by(RunFilter { id_prefix: Some(id), ..all.clone() }), [2]);
    assert_eq!(by(RunFilter { id_prefix: Some("%".into()), ..all.clone() }), [0; 0]);
    let hostile = "'; DROP TABLE runs; --".to_owned();
    assert_eq!(by(RunFilter { workflow: Some(hostile), ..all }), [0; 0]);
    assert_eq!(store.workflows().unwrap(), ["desk"]);
    assert_eq!(store.node_names(&RunFilter::default()).unwrap(), ["draft", "fetch"]);
}

#[test]
fn what_is_usual_is_what_the_runs_before_took() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    let mut reports = Vec::new();
    for (number, draft) in [(3, 320), (1, 300), (2, 310), (4, 330)] {
        record(&mut store, number, draft);
        reports.push(report(&spans(number, number * 100, draft)));
    }
    reports.sort_by_key(|report| report.run.start_unix_ns);
    let runs = store.runs(&RunFilter::default(), RunOrder::Start, 0, 10).unwrap();
    assert_eq!(store.history_before(&runs[0], &RunFilter::default()).unwrap(), History::of(&reports[..3]));
    assert_eq!(store.history_before(&runs[3], &RunFilter::default()).unwrap(), History::default());
    let desk = RunFilter { workflow: Some("desk".into()), ..RunFilter::default() };
    assert_eq!(store.history(&desk).unwrap(), History::of(&reports));
    let session = RunFilter { labels: labels(&[("session", "1")]), ..RunFilter::default() };
    assert_eq!(store.history_before(&runs[0], &session).unwrap(), History::default());
    let draft = store.node_in(&runs[0], "draft").unwrap().unwrap();
    assert_eq!(draft.execution_time, Duration::from_millis(330));
    assert_eq!(store.node_in(&runs[0], "nobody").unwrap(), None);
}

#[test]
fn what_is_beyond_the_limits_goes_oldest_record_first_and_the_latest_stays() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    store.limit(Limits { runs: 3, ..Limits::default() });
    for number in 1..=5 {
        record(&mut store, number, 300);
    }
    assert_eq!(numbers(&store, &RunFilter::default(), RunOrder::Start), [5, 4, 3]);
    // An old run that is recorded now is not old.
    let old = spans(9, 1, 300);
    assert_eq!(store.record(&report(&old), &old, &Labels::new(), at(600)).unwrap().removed, 1);
    assert_eq!(numbers(&store, &RunFilter::default(), RunOrder::Start), [5, 4, 9]);

    // Run 4 was recorded at 410 s, run 5 at 510 s.
    store.limit(Limits { age: Duration::from_millis(95_000), ..Limits::default() });
    let new = spans(10, 602, 300);
    assert_eq!(store.record(&report(&new), &new, &Labels::new(), at(605)).unwrap().removed, 1);
    assert_eq!(numbers(&store, &RunFilter::default(), RunOrder::Start), [10, 5, 9]);

    store.limit(Limits { bytes: 1, runs: 0, ..Limits::default() });
    record(&mut store, 11, 300);
    assert_eq!(numbers(&store, &RunFilter::default(), RunOrder::Start), [11]);
}

#[test]
fn a_limit_on_bytes_holds_and_the_file_gets_smaller() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    for number in 1..=60 {
        record(&mut store, number, 300);
    }
    let (full, limit) = (store.bytes_in_use().unwrap(), 100_000);
    assert!(full > limit, "{full}");
    store.limit(Limits { bytes: limit, ..Limits::default() });
    record(&mut store, 61, 300);
    assert!(store.bytes_in_use().unwrap() <= limit);
    let left = numbers(&store, &RunFilter::default(), RunOrder::Start);
    assert!(left.len() > 5 && left.len() < 60, "{left:?}");
    assert_eq!(left[0], 61);
    assert!(left.windows(2).all(|pair| pair[0] == pair[1] + 1), "the latest are left: {left:?}");
    drop(store);
    assert!(fs::metadata(&path).unwrap().len() <= limit + 65_536, "unused pages are given back");
}

#[test]
fn pruning_says_before_what_it_does() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    for number in 1..=10 {
        record(&mut store, number, 300);
    }
    let rule = PruneRule { keep: Some(6), before: Some(at(200)) };
    let planned = store.prune(&rule, true).unwrap();
    assert_eq!((planned.runs, planned.left), (4, 6));
    assert_eq!(store.run_count().unwrap(), 10);
    assert_eq!(store.prune(&rule, false).unwrap(), planned);
    assert_eq!(numbers(&store, &RunFilter::default(), RunOrder::Start), [10, 9, 8, 7, 6, 5]);
    assert_eq!(store.clear().unwrap().left, 0);
    let sql = rusqlite::Connection::open(&path).unwrap();
    for table in ["documents", "nodes", "labels"] {
        let rows: i64 =
            sql.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[cfg(unix)]
#[test]
fn the_file_and_its_folder_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    record(&mut store, 1, 300);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let beside = path.with_extension("db-wal");
    assert_eq!(mode(&beside), 0o600);
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let (folder, path) = folder();
    drop(Store::open(&path).unwrap());
    let sql = rusqlite::Connection::open(&path).unwrap();
    sql.pragma_update(None, "user_version", 99).unwrap();
    drop(sql);
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, known: 1, .. }), "{error:?}");
    assert!(error.remedy().contains("another file"));
    assert!(fs::read(&path).unwrap() == before, "the file was changed");

    let foreign = folder.path().join("other.db");
    let sql = rusqlite::Connection::open(&foreign).unwrap();
    sql.execute_batch("CREATE TABLE runs (id)").unwrap();
    drop(sql);
    assert!(matches!(Store::open(&foreign).unwrap_err(), StoreError::Foreign { .. }));

    let noise = folder.path().join("noise.db");
    fs::write(&noise, "no database at all, but long enough to be looked at as one: ".repeat(100)).unwrap();
    let error = Store::open(&noise).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.remedy().contains("mv '"), "{}", error.remedy());

    let missing = folder.path().join("missing.db");
    assert!(Store::open_existing(&missing).unwrap().is_none() && !missing.exists());
    let blocked = noise.join("runs.db");
    assert!(matches!(Store::open(&blocked).unwrap_err(), StoreError::Open { .. }));
}

#[test]
fn damage_in_the_middle_is_told_and_never_a_panic() {
    let (_folder, path) = folder();
    let mut store = Store::open(&path).unwrap();
    for number in 1..=40 {
        record(&mut store, number, 300);
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut fine) = (0, 0);
    for page in 0..whole.len() / 4_096 {
        let mut damaged = whole.clone();
        for byte in &mut damaged[page * 4_096 + if page == 0 { 100 } else { 0 }..(page + 1) * 4_096] {
            *byte = !*byte;
        }
        fs::write(&path, &damaged).unwrap();
        let used = || -> Result<(), StoreError> {
            let mut store = Store::open(&path)?;
            for found in store.runs(&RunFilter::default(), RunOrder::Start, 0, 100)? {
                if let Some(documents) = store.documents(&found)? {
                    documents.report()?;
                    documents.spans()?;
                }
                store.history_before(&found, &RunFilter::default())?;
            }
            let spans = spans(99, 10_000, 300);
            store.record(&report(&spans), &spans, &Labels::new(), at(10_000))?;
            Ok(())
        };
        match used() {
            Err(_) => refused += 1,
            Ok(()) => fine += 1,
        }
        let _ = fs::remove_file(path.with_extension("db-wal"));
        let _ = fs::remove_file(path.with_extension("db-shm"));
    }
    assert!(refused > 10, "{refused} of {}", refused + fine);
}

#[test]
fn a_locked_file_is_told_after_the_wait_and_can_be_read_meanwhile() {
    let (_folder, path) = folder();
    let mut store = Store::open_waiting(&path, StdDuration::from_millis(20)).unwrap();
    record(&mut store, 1, 300);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let spans = spans(2, 200, 300);
    let error = store.record(&report(&spans), &spans, &Labels::new(), at(300)).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    assert_eq!(numbers(&store, &RunFilter::default(), RunOrder::Start), [1]);
    assert_eq!(Store::open(&path).unwrap().run_count().unwrap(), 1);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(record(&mut store, 2, 300), Recorded::New);
}
