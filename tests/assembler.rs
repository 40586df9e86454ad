//! Which spans make a run, and when it is reported.

#[path = "support/spans.rs"]
mod spans;

use longpole::ids::SpanId;
use longpole::report::RunStatus;
use longpole::run_assembler::{AssemblerConfig, FinishedRun, RunAssembler};
use longpole::span_record::{LocalFacts, SpanRecord};
use longpole::time::{Duration, Timestamp};
use longpole::{ReportOptions, report_on, report_on_run};
use proptest::prelude::*;
use spans::span;

/// A span of this process with so many children.
fn local(id: u64, parent: Option<u64>, children: u32) -> SpanRecord {
    let facts = LocalFacts { is_local_root: parent.is_none(), children, ..LocalFacts::default() };
    SpanRecord { local: Some(facts), ..span(id, parent, &format!("s{id}"), id * 10, id * 10 + 5) }
}

/// The same, marked as the root of a run with nothing marked above it.
fn marked(id: u64, parent: Option<u64>, children: u32) -> SpanRecord {
    let mut record = local(id, parent, children);
    record.local.as_mut().unwrap().is_outermost_marked = true;
    mark(record)
}

fn mark(mut record: SpanRecord) -> SpanRecord {
    record.facts.get_or_insert_default().workflow_name = Some("w".into());
    record
}

fn at(millis: u64) -> Timestamp {
    Timestamp::EPOCH.saturating_add(Duration::from_millis(millis))
}

fn ids(run: &FinishedRun) -> Vec<u64> {
    let mut ids: Vec<u64> = run.records.iter().map(|r| u64::from_be_bytes(r.span_id.to_bytes())).collect();
    ids.sort_unstable();
    ids
}

fn push_all(assembler: &mut RunAssembler, records: impl IntoIterator<Item = SpanRecord>) {
    for record in records {
        assembler.push(record, at(0)).unwrap();
    }
}

/// Root 1 with 2 (with 4 and 5) and 3.
fn tree() -> Vec<SpanRecord> {
    vec![
        local(1, None, 2),
        local(2, Some(1), 2),
        local(3, Some(1), 0),
        local(4, Some(2), 0),
        local(5, Some(2), 0),
    ]
}

proptest! {
    #[test]
    fn a_run_is_whole_with_its_last_span_in_whatever_order_they_come(records in Just(tree()).prop_shuffle()) {
        let mut assembler = RunAssembler::new(AssemblerConfig::default());
        let (last, first) = records.split_last().unwrap();
        for record in first {
            assembler.push(record.clone(), at(0)).unwrap();
            prop_assert!(assembler.poll(at(0)).is_empty());
        }
        assembler.push(last.clone(), at(0)).unwrap();
        let runs = assembler.poll(at(0));
        prop_assert_eq!(runs.len(), 1);
        prop_assert_eq!(ids(&runs[0]), [1, 2, 3, 4, 5]);
        prop_assert_eq!((runs[0].missing, runs[0].root), (0, Some(SpanId::from_bytes(1u64.to_be_bytes()))));
        prop_assert_eq!(assembler.next_deadline(), None);
        prop_assert!(assembler.finish().is_empty());
    }
}

#[test]
fn what_does_not_come_ends_the_wait_after_the_grace_period_and_comes_late() {
    let mut assembler = RunAssembler::new(AssemblerConfig::default());
    push_all(&mut assembler, tree().into_iter().filter(|record| &*record.name != "s4"));
    assert!(assembler.poll(at(1_999)).is_empty());
    assert_eq!(assembler.next_deadline(), Some(at(2_000)));
    let runs = assembler.poll(at(2_000));
    assert_eq!((ids(&runs[0]), runs[0].missing), (vec![1, 2, 3, 5], 1));
    let report = report_on_run(runs[0].clone(), &ReportOptions::default()).unwrap();
    assert_eq!((report.run.status, report.quality.open_spans), (RunStatus::Incomplete, 1));
    assembler.push(local(4, Some(2), 0), at(2_001)).unwrap();
    assert_eq!(assembler.late_spans(), 1);
    assert!(assembler.finish().is_empty());
}

#[test]
fn a_run_says_how_many_spans_were_started_in_it_even_if_some_never_come() {
    let started = |records: Vec<SpanRecord>| {
        let mut assembler = RunAssembler::new(AssemblerConfig::default());
        push_all(&mut assembler, records);
        let runs = assembler.end_grace();
        runs.iter().map(|run| (run.started, run.missing, run.left_out)).collect::<Vec<_>>()
    };
    let without = |name: &str| tree().into_iter().filter(|record| &*record.name != name).collect::<Vec<_>>();
    assert_eq!(started(tree()), [(5, 0, 0)]);
    assert_eq!(started(without("s3")), [(5, 1, 0)]);
    assert_eq!(started(without("s2")), [(5, 3, 0)], "what is below it cannot be placed");
    // Of two roots in one trace each counts its own; what is below neither counts nowhere.
    let second =
        || [local(9, Some(8), 0), SpanRecord { parent_id: None, ..local(6, None, 2) }, local(7, Some(6), 0)];
    assert_eq!(started(tree().into_iter().chain(second()).collect()), [(5, 0, 0), (3, 1, 0)]);
    // A marked run inside a run that is not marked counts by itself, and the root around it is none.
    let inside = [local(4, Some(2), 0), marked(2, Some(1), 2), local(1, None, 1)];
    assert_eq!(started(inside.to_vec()), [(3, 1, 0)]);
    assert_eq!(started(vec![local(1, None, 0)]), [(1, 0, 0)]);
    let mut decoded = RunAssembler::new(AssemblerConfig::default());
    push_all(&mut decoded, [mark(span(1, None, "root", 0, 9))]);
    assert_eq!(decoded.finish()[0].started, 0);
}

#[test]
fn a_flush_ends_the_grace_period_of_closed_roots_only() {
    let mut assembler = RunAssembler::new(AssemblerConfig::default());
    push_all(&mut assembler, [local(3, Some(1), 0)]);
    assert!(assembler.end_grace().is_empty(), "the root is still open");
    push_all(&mut assembler, [local(1, None, 2)]);
    let runs = assembler.end_grace();
    assert_eq!((ids(&runs[0]), runs[0].missing), (vec![1, 3], 1));
}

#[test]
fn marked_spans_make_runs_and_the_root_around_them_none() {
    let mut assembler = RunAssembler::new(AssemblerConfig::default());
    push_all(&mut assembler, [local(4, Some(2), 0), marked(2, Some(1), 1)]);
    assert_eq!(ids(&assembler.poll(at(0))[0]), [2, 4], "reported before the root around it has closed");
    // As much later as it likes: the runs that have left are remembered.
    push_all(&mut assembler, [marked(3, Some(1), 0)]);
    assert_eq!(ids(&assembler.poll(at(0))[0]), [3]);
    push_all(&mut assembler, [local(9, Some(1), 0), local(1, None, 3)]);
    let runs = assembler.poll(at(0));
    assert!(runs.is_empty());
    let dismissed = assembler.take_dismissed();
    assert_eq!(
        dismissed.iter().map(|around| (ids(around), around.started)).collect::<Vec<_>>(),
        [(vec![1, 9], 2)]
    );
    assert!(assembler.finish().is_empty());
}

#[test]
fn the_root_around_a_marked_run_waits_for_it() {
    let mut assembler = RunAssembler::new(AssemblerConfig::default());
    // The marked span's own child is still on its way when both close.
    push_all(&mut assembler, [marked(2, Some(1), 1), local(1, None, 1)]);
    assert!(assembler.poll(at(0)).is_empty());
    push_all(&mut assembler, [local(4, Some(2), 0)]);
    let runs = assembler.poll(at(0));
    assert_eq!(runs.iter().map(ids).collect::<Vec<_>>(), [[2, 4]]);
    assert_eq!(assembler.take_dismissed().len(), 1);
}

#[test]
fn a_decoded_trace_is_one_run_or_one_for_each_outermost_marked_span() {
    let unmarked = vec![span(1, None, "a", 0, 9), span(2, Some(1), "b", 1, 2), span(3, Some(77), "c", 3, 4)];
    assert_eq!(report_on(unmarked, &ReportOptions::default()).len(), 1);
    let outer = |id, start| mark(span(id, Some(1), "outer", start, start + 5));
    let records = vec![
        span(1, None, "server", 0, 90),
        outer(2, 10),
        mark(span(4, Some(2), "inner", 11, 12)),
        outer(3, 20),
        outer(3, 20),
        span(5, Some(1), "outside", 30, 40),
    ];
    let reports = report_on(records, &ReportOptions::default());
    let spans: Vec<u64> = reports.iter().map(|report| report.run.spans).collect();
    assert_eq!(spans, [2, 1], "the inner mark and the repeated root make no runs");
    assert_eq!(reports[1].quality.warnings.get("duplicate_span"), Some(&1));
}

#[test]
fn of_two_spans_with_one_id_the_first_to_arrive_says_what_is_above_it_every_time() {
    let records = |first: u64, second: u64| {
        let outer = mark(span(2, None, "outer", 0, 90));
        let inner = mark(span(6, Some(5), "inner", 30, 40));
        vec![outer, span(5, Some(first), "a", 10, 50), span(5, Some(second), "b", 20, 50), inner]
    };
    for _ in 0..32 {
        assert_eq!(report_on(records(2, 9), &ReportOptions::default()).len(), 1, "inner is inside outer");
        assert_eq!(report_on(records(9, 2), &ReportOptions::default()).len(), 2, "inner is a run of its own");
    }
}

#[test]
fn a_ring_of_marked_spans_still_ends() {
    let records = vec![mark(span(1, Some(2), "a", 0, 9)), mark(span(2, Some(1), "b", 1, 2))];
    let reports = report_on(records, &ReportOptions::default());
    assert!(reports.len() <= 2);
}

#[test]
fn a_run_too_large_hands_back_what_it_does_not_keep() {
    let config = AssemblerConfig { max_run_spans: 2, ..AssemblerConfig::default() };
    let mut assembler = RunAssembler::new(config);
    push_all(&mut assembler, [local(2, Some(1), 0), local(3, Some(1), 0)]);
    let back = assembler.push(local(4, Some(1), 0), at(0)).unwrap_err();
    assert_eq!(&*back.name, "s4");
    // The root is always kept: it says that the run is over.
    push_all(&mut assembler, [local(1, None, 3)]);
    let runs = assembler.poll(at(2_000));
    assert_eq!((ids(&runs[0]), runs[0].missing, runs[0].left_out), (vec![1, 2, 3], 0, 1));
    assert_eq!(runs[0].started, 4, "what was not kept was started too");
    let report = report_on_run(runs[0].clone(), &ReportOptions::default()).unwrap();
    assert_eq!(report.quality.left_out_spans, 1);
}

#[test]
fn all_runs_together_stay_within_their_bytes_and_the_room_comes_back() {
    let one = local(2, Some(1), 0).weight();
    let mut assembler = RunAssembler::new(AssemblerConfig { max_bytes: one, ..AssemblerConfig::default() });
    push_all(&mut assembler, [local(2, Some(1), 0)]);
    assert!(assembler.push(local(3, Some(1), 0), at(0)).is_err());
    push_all(&mut assembler, [local(1, None, 2)]);
    assert_eq!(assembler.poll(at(2_000)).len(), 1);
    push_all(&mut assembler, [local(5, Some(4), 0)]);
}

#[test]
fn a_trace_that_grows_without_end_is_told_about_once() {
    let mut assembler = RunAssembler::new(AssemblerConfig::default());
    push_all(&mut assembler, [local(2, Some(1), 0)]);
    assert!(assembler.take_advice().is_empty());
    let later = at(0).saturating_add(AssemblerConfig::LONG_TRACE).saturating_add(Duration::from_nanos(1));
    assembler.push(local(3, Some(1), 0), later).unwrap();
    assembler.push(local(4, Some(1), 0), later).unwrap();
    let advice = assembler.take_advice();
    assert_eq!(advice.iter().map(|advice| advice.spans).collect::<Vec<_>>(), [2]);
}
