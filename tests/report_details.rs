//! The smaller parts of a report, worked out by hand. One unit is 1 ms.

#[path = "support/spans.rs"]
mod spans;

use longpole::report::{QualityLevel, RunStatus};
use longpole::span_record::{NodeFacts, Outcome, SpanRecord, Status};
use longpole::time::{Duration, Timestamp};
use longpole::{Report, ReportOptions, report_on};

const MS: u64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn span(id: u64, parent: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    spans::span(id, Some(parent).filter(|id| *id != 0), name, start * MS, end * MS)
}

fn with(mut record: SpanRecord, set: impl FnOnce(&mut NodeFacts)) -> SpanRecord {
    set(record.facts.get_or_insert_default());
    record
}

fn node(id: u64, parent: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    with(span(id, parent, "step", start, end), |facts| facts.node_id = Some(name.into()))
}

fn polled(mut record: SpanRecord, polls: u64, busy: u64, longest: u64) -> SpanRecord {
    record.timing.polls = polls;
    record.timing.busy = Some(ms(busy));
    record.timing.longest_poll = ms(longest);
    record
}

fn report(records: Vec<SpanRecord>) -> Report {
    report_on(records, &ReportOptions::default()).remove(0)
}

#[test]
fn every_kind_of_time_on_the_path_is_told_and_they_add_up() {
    // 0 plan 10 – 20 (root alone) – 30 fetch fails 40 – 45 (waiting to try again) – fetch 60
    // – 70 (draft is there) – draft 100 – search 120 – load 130 – rank 150 – 155 (root alone)
    let failed = |mut record: SpanRecord| {
        record.status = Status::Error;
        record
    };
    let kind = |record, kind: &str| with(record, |facts| facts.node_kind = Some(kind.into()));
    let mut draft = with(node(6, 1, "draft", 60, 100), |facts| facts.operation = Some("chat".into()));
    draft.timing.queued = ms(10);
    let records = vec![
        span(1, 0, "run", 0, 155),
        polled(node(2, 1, "plan", 0, 10), 1, 4, 4),
        failed(kind(node(3, 1, "fetch", 30, 40), "io")),
        kind(node(4, 1, "fetch", 45, 60), "io"),
        draft,
        with(node(7, 1, "search", 100, 120), |facts| facts.operation = Some("execute_tool".into())),
        with(node(8, 1, "load", 120, 130), |facts| facts.is_db = true),
        polled(node(9, 1, "rank", 130, 150), 1, 18, 18),
    ];
    let report = report(records);
    let told: Vec<_> =
        report.bounds.iter().map(|bound| (bound.kind.as_str(), bound.duration_ns.as_nanos() / MS)).collect();
    // plan computes 4 and waits 6; rank computes 18 and waits 2: it is busy nine tenths, so its kind is cpu.
    assert_eq!(
        told,
        [
            ("model_wait", 30),
            ("no_span", 25),
            ("own_cpu", 22),
            ("retry", 20),
            ("tool", 20),
            ("queue", 10),
            ("wait_db", 10),
            ("wait_io", 10),
            ("wait_other", 6),
            ("wait_cpu", 2),
        ]
    );
    assert_eq!(report.bounds.iter().map(|bound| bound.duration_ns).sum::<Duration>(), report.run.wall_ns);
    assert!(report.bounds.iter().map(|bound| bound.wall_ratio).sum::<f64>() > 0.999_999);
    let fetch = report.nodes.iter().find(|node| node.name == "fetch").unwrap();
    assert_eq!((fetch.failed_on_path_ns, fetch.on_path_ns), (ms(10), ms(25)));
    assert_eq!((fetch.failures, fetch.retries), (1, 1));
}

#[test]
fn a_long_poll_is_told_of_the_innermost_task_that_blocks() {
    let records = vec![
        span(1, 0, "run", 0, 200),
        // A task polled three times, once for 40 ms: 39 of them in a plain function inside.
        polled(node(2, 1, "fetch", 0, 100), 3, 45, 40),
        polled(span(3, 2, "decompress", 10, 49), 1, 39, 39),
        // A plain function on a thread of its own blocks no executor.
        polled(node(4, 1, "rank", 100, 150), 1, 50, 50),
        // Short enough.
        polled(node(5, 1, "store", 150, 200), 4, 20, 9),
    ];
    let report_with = |threshold: u64| {
        let options = ReportOptions { blocking_threshold: ms(threshold), ..ReportOptions::default() };
        let report = report_on(records.clone(), &options).remove(0);
        report.blocking.iter().map(|row| (row.span.clone(), row.longest_poll_ns)).collect::<Vec<_>>()
    };
    assert_eq!(report_with(10), [("decompress".to_owned(), ms(39))]);
    assert_eq!(report_with(9), [("decompress".to_owned(), ms(39)), ("step".to_owned(), ms(9))]);
    assert_eq!(report_with(41), []);
    assert_eq!(report_with(0), [], "no threshold, no finding");
    let report = report(records);
    assert_eq!(report.blocking[0].node.as_deref(), Some("fetch"));
    assert_eq!(
        report.nodes.iter().map(|node| (node.name.as_str(), node.blocking)).filter(|it| it.1 > 0).count(),
        1
    );
    assert!(report.to_text().contains("Blocking      fetch kept its thread for 39.0 ms"));
}

#[test]
fn work_nobody_waited_for_is_listed_once() {
    let detached = |record| with(record, |facts| facts.detached = true);
    let report = report(vec![
        span(1, 0, "run", 0, 100),
        node(2, 1, "answer", 0, 100),
        detached(node(3, 1, "audit", 20, 90)),
        // Inside what is detached already.
        span(4, 3, "write", 30, 60),
        detached(node(5, 1, "audit", 40, 60)),
        // After its parent had ended.
        span(6, 2, "late", 100, 130),
    ]);
    let rows: Vec<_> =
        report.detached.iter().map(|row| (row.name.as_str(), row.spans, row.duration_ns)).collect();
    assert_eq!(rows, [("audit", 2, ms(90)), ("late", 1, ms(30))]);
    assert_eq!(report.quality.detached_spans, 4);
    assert!(
        report.to_text().contains("Detached      audit ×2 90.0 ms, late 30.0 ms: nobody waited for that")
    );
}

#[test]
fn spans_that_never_ended_are_named_with_what_is_not_claimed() {
    let mut open = node(3, 1, "fetch", 40, 40);
    open.end = Timestamp::EPOCH;
    let partial = with(node(4, 1, "draft", 50, 100), |facts| facts.outcome = Some(Outcome::Partial));
    let torn = report(vec![span(1, 0, "run", 0, 100), node(2, 1, "plan", 0, 40), open, partial]);
    assert_eq!((torn.run.status, torn.quality.open_spans), (RunStatus::Incomplete, 2));
    assert_eq!((torn.quality.closed_spans, torn.run.spans), (2, 4));
    let named: Vec<_> =
        torn.quality.open.iter().map(|row| (row.node.as_deref().unwrap_or("-"), row.start_ns)).collect();
    assert_eq!(named, [("fetch", ms(40)), ("draft", ms(50))]);
    assert_eq!(torn.quality.not_claimed, ["wall", "critical_path", "savings", "cost"]);
    assert!(torn.to_text().contains("not claimed: wall, critical path, savings, cost"), "{}", torn.to_text());

    // One of 200, off the path: hardly anything is in doubt.
    let mut many: Vec<_> = (3..202).map(|id| node(id, 1, "call", 0, 50)).collect();
    let mut open = node(900, 1, "fetch", 40, 40);
    open.end = Timestamp::EPOCH;
    many.extend([span(1, 0, "run", 0, 100), node(2, 1, "plan", 0, 100), open]);
    let one = report(many);
    assert_eq!(one.quality.level, QualityLevel::Medium);
    assert_eq!(one.quality.not_claimed, ["wall", "cost"]);
}

#[test]
fn phases_leave_what_they_do_not_cover() {
    let phase = |id, name: &str, start, end| span(id, 2, name, start, end);
    let report = report(vec![
        span(1, 0, "run", 0, 42),
        node(2, 1, "research", 0, 42),
        phase(3, "retrieve", 0, 15),
        phase(4, "rank", 15, 27),
        phase(5, "write", 30, 40),
    ]);
    let research = report.nodes.iter().find(|node| node.name == "research").unwrap();
    let phases: Vec<_> = research.phases.iter().map(|it| (it.name.as_str(), it.calls, it.total_ns)).collect();
    assert_eq!(phases, [("retrieve", 1, ms(15)), ("rank", 1, ms(12)), ("write", 1, ms(10))]);
    assert_eq!(research.untracked_ns, Some(ms(5)));
}

#[test]
fn free_float_is_what_can_be_spent_before_anything_else_moves() {
    // By time c waited for a and b, and d for c. a can take 10 more before c would start later; c none.
    let report = report(vec![
        span(1, 0, "run", 0, 100),
        node(2, 1, "a", 0, 20),
        node(3, 1, "b", 0, 30),
        node(4, 1, "c", 30, 60),
        node(5, 1, "d", 60, 100),
        node(6, 1, "e", 0, 70),
    ]);
    let floats = |name: &str| {
        let node = report.nodes.iter().find(|node| node.name == name).unwrap();
        [node.slack_ns, node.free_float_ns].map(|float| float.unwrap().as_nanos() / MS)
    };
    assert_eq!(["a", "b", "c", "d", "e"].map(floats), [[10, 10], [0, 0], [0, 0], [0, 0], [30, 30]]);
}
