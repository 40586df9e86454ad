//! What a report says about a run, worked out by hand. One unit of the drawings is 1 ms.

#[path = "support/spans.rs"]
mod spans;

use longpole::money::Money;
use longpole::report::{Confidence, QualityLevel, Reason, RunStatus, Severity, Suggestion, Tokens};
use longpole::span_record::{NodeFacts, Outcome, SpanRecord, Status};
use longpole::time::Duration;
use longpole::{Report, ReportOptions, report_on};

const MS: u64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn span(id: u64, parent: Option<u64>, name: &str, start: u64, end: u64) -> SpanRecord {
    spans::span(id, parent, name, start * MS, end * MS)
}

fn with(mut record: SpanRecord, set: impl FnOnce(&mut NodeFacts)) -> SpanRecord {
    set(record.facts.get_or_insert_default());
    record
}

fn node(id: u64, parent: Option<u64>, name: &str, start: u64, end: u64) -> SpanRecord {
    with(span(id, parent, "step", start, end), |facts| facts.node_id = Some(name.into()))
}

fn queued(mut record: SpanRecord, millis: u64) -> SpanRecord {
    record.timing.queued = ms(millis);
    record
}

fn chat(id: u64, parent: Option<u64>, start: u64, end: u64, output: u64) -> SpanRecord {
    with(span(id, parent, "chat", start, end), |facts| {
        facts.operation = Some("chat".into());
        facts.request_model = Some("m".into());
        facts.tokens.input = Some(100);
        facts.tokens.output = Some(output);
        facts.cost = Money::from_usd(0.01);
    })
}

fn report(records: Vec<SpanRecord>) -> Report {
    let mut reports = report_on(records, &ReportOptions::default());
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

/// ```text
///           0    10   20   30   40   50   60   70   80   90   100
///   run     ==================================================
///   fetch        ===============
///    parse            =====
///   draft                       =========================
///    chat                            ===============
/// ```
fn desk() -> Vec<SpanRecord> {
    vec![
        with(span(1, None, "run", 0, 100), |facts| facts.workflow_name = Some("desk".into())),
        node(2, Some(1), "fetch", 10, 40),
        span(3, Some(2), "parse", 20, 30),
        with(node(4, Some(1), "draft", 40, 90), |facts| {
            // The sums of its calls, as agent frameworks repeat them.
            facts.tokens.output = Some(50);
            facts.cost = Money::from_usd(0.01);
        }),
        chat(5, Some(4), 50, 80, 50),
    ]
}

#[test]
fn path_time_is_booked_to_nodes_and_adds_up_to_the_wall_time() {
    let report = report(desk());
    assert_eq!((report.run.workflow.as_deref(), report.run.status), (Some("desk"), RunStatus::Ok));
    assert_eq!((report.run.wall_ns, report.run.work_ns, report.run.spans), (ms(100), ms(100), 5));
    assert_eq!(report.totals.unattributed_ns, ms(20), "before fetch and after draft");
    assert_eq!(report.critical_path.length_ns, ms(80));
    let rows: Vec<_> = report
        .critical_path
        .rows
        .iter()
        .map(|row| (row.node.as_str(), row.duration_ns, row.pieces.len(), row.is_longest))
        .collect();
    // The phase's time is its node's; draft's lies on both sides of its call.
    assert_eq!(rows, [("fetch", ms(30), 1, true), ("draft", ms(20), 2, false), ("chat m", ms(30), 1, false)]);
    let shares: f64 = report.nodes.iter().map(|node| node.critical_path_ratio).sum();
    assert!((shares - 0.8).abs() < 1e-12);
    assert_eq!(report.critical_path.segments_total, 8);
    assert_eq!(report.critical_path.segments[2].span.as_ref(), "parse");
    assert_eq!(report.critical_path.segments[2].node.as_deref(), Some("fetch"));
}

#[test]
fn a_phase_is_told_with_what_no_phase_covers() {
    let report = report(desk());
    let fetch = report.nodes.iter().find(|node| node.name == "fetch").unwrap();
    assert_eq!((fetch.phases.len(), fetch.phases[0].total_ns), (1, ms(10)));
    assert_eq!(fetch.untracked_ns, Some(ms(20)));
    assert_eq!(fetch.self_ns, ms(30));
}

#[test]
fn what_an_agent_repeats_of_its_calls_is_counted_once() {
    let report = report(desk());
    assert_eq!(report.totals.cost_usd, Money::from_usd(0.01));
    assert_eq!(report.totals.tokens, Some(Tokens { input: 100, output: 50 }));
    let cost = |name: &str| report.nodes.iter().find(|node| node.name == name).unwrap().cost_usd;
    assert_eq!((cost("draft"), cost("chat m")), (None, Money::from_usd(0.01)));
}

#[test]
fn a_cost_outside_every_node_is_part_of_the_runs() {
    let mut records = desk();
    records.push(with(span(6, Some(1), "billing", 95, 96), |facts| facts.cost = Money::from_usd(0.5)));
    assert_eq!(report(records).totals.cost_usd, Money::from_usd(0.51));
}

#[test]
fn the_summary_is_of_the_sum_of_node_times() {
    let info = report(desk()).bottleneck_info;
    assert_eq!((info.total_time_ms, info.node_count), (110.0, 3));
    let slowest = info.slowest_node.unwrap();
    assert_eq!((slowest.node_id.as_str(), slowest.total_duration_ms, slowest.call_count), ("draft", 50.0, 1));
    assert!(info.bottlenecks.is_empty(), "45 % is not above 50");
    let alone = report(vec![node(1, None, "only", 0, 10)]).bottleneck_info;
    assert_eq!(alone.bottlenecks[0].percent_of_total, 100.0, "a node alone is the run and counts");
}

#[test]
fn findings_are_ordered_by_what_they_save_and_say_why() {
    let report = report(desk());
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.subject.as_str(), finding.saves_max_ns, finding.severity))
        .collect();
    let expected = [
        ("chat m", ms(30), Severity::Critical),
        ("fetch", ms(30), Severity::Critical),
        ("draft", ms(20), Severity::High),
    ];
    assert_eq!(found, expected, "ties by name");
    let chat = &report.findings[0];
    assert_eq!(chat.confidence, Confidence::Sure);
    let rate = Reason::Tokens { output: 50, per_second: Some(50.0 / 0.03) };
    assert_eq!(chat.why, [rate, Reason::NothingBeside]);
    assert_eq!(chat.suggestions, [Suggestion::Faster { times: 2, saves_ns: ms(15) }]);
}

#[test]
fn two_tools_opened_together_and_run_in_turn_show_the_queueing() {
    // The second was there at 10 and ran from 50 on.
    let report = report(vec![
        span(1, None, "run", 0, 100),
        node(2, Some(1), "read", 10, 50),
        queued(node(3, Some(1), "search", 10, 90), 40),
    ]);
    assert_eq!(report.totals.queued_ns, ms(40));
    assert_eq!(report.run.work_ns, ms(100), "waiting is no work");
    let rows: Vec<_> = report
        .critical_path
        .rows
        .iter()
        .map(|row| (row.node.as_str(), row.duration_ns, row.queued_ns))
        .collect();
    assert_eq!(rows, [("read", ms(40), ms(0)), ("search", ms(40), ms(40))]);
    let search = report.findings.iter().find(|finding| finding.subject == "search").unwrap();
    let behind = Reason::Queued { queued_ns: ms(40), behind: Some("read".to_owned()) };
    assert_eq!(search.why[0], behind);
    let saves_ns = ms(40);
    assert_eq!(search.suggestions[0], Suggestion::NoQueueing { saves_ns });
    assert_eq!(search.saves_max_ns, ms(40));
}

#[test]
fn a_saving_ends_where_another_node_sets_the_pace() {
    let report = report(vec![
        span(1, None, "run", 0, 100),
        node(2, Some(1), "draft", 0, 100),
        node(3, Some(1), "check", 0, 70),
    ]);
    let draft = &report.findings[0];
    assert_eq!((draft.subject.as_str(), draft.saves_max_ns), ("draft", ms(30)));
    let pace = Reason::PaceSetBy { on_path_ns: ms(100), after_ns: ms(30), node: Some("check".to_owned()) };
    assert_eq!(draft.why, [pace]);
    assert_eq!(draft.confidence, Confidence::Likely);
    let beside = &report.critical_path.beside;
    assert_eq!((beside[0].node.as_str(), beside[0].slack_ns), ("check", Some(ms(30))));
    assert_eq!((report.totals.parallelism_peak, report.totals.parallelism_achieved), (2, Some(1.7)));
}

#[test]
fn calls_failures_and_retries_are_counted_per_node() {
    let failed = |mut record: SpanRecord| {
        record.status = Status::Error;
        record
    };
    let report = report(vec![
        span(1, None, "run", 0, 100),
        failed(node(2, Some(1), "fetch", 0, 30)),
        with(node(3, Some(1), "fetch", 30, 60), |facts| facts.attempt = Some(2)),
        with(node(4, Some(1), "fetch", 60, 100), |facts| facts.outcome = Some(Outcome::Cancelled)),
    ]);
    assert_eq!((report.run.executions, report.run.errors, report.run.retries), (3, 2, 1));
    let fetch = &report.nodes[0];
    assert_eq!((fetch.calls, fetch.failures, fetch.retries), (3, 2, 1));
    assert_eq!(
        (fetch.duration.min_ns, fetch.duration.p50_ns, fetch.duration.max_ns),
        (ms(30), ms(30), ms(40))
    );
    let failed = Reason::Failed { failures: 2, retries: 1, on_path_ns: ms(70) };
    assert!(report.findings[0].why.contains(&failed), "{:?}", report.findings[0].why);
}

#[test]
fn kinds_follow_from_what_a_node_does() {
    let kind = |set: fn(&mut NodeFacts), busy: u64| {
        let mut record = with(node(2, Some(1), "n", 0, 10), set);
        record.timing.busy = Some(ms(busy));
        report(vec![span(1, None, "run", 0, 10), record]).nodes[0].kind.clone()
    };
    assert_eq!(kind(|facts| facts.operation = Some("chat".into()), 10), "llm");
    assert_eq!(kind(|facts| facts.operation = Some("invoke_agent".into()), 0), "agent");
    assert_eq!(kind(|facts| facts.operation = Some("execute_tool".into()), 0), "tool");
    assert_eq!(kind(|facts| facts.is_http = true, 10), "http");
    assert_eq!(kind(|facts| facts.is_db = true, 10), "db");
    assert_eq!(kind(|facts| facts.node_kind = Some("io".into()), 10), "io");
    assert_eq!(kind(|facts| facts.node_kind = Some("io".into()), 0), "io");
    assert_eq!(kind(|_| (), 8), "cpu");
    assert_eq!(kind(|facts| facts.node_kind = Some("batch".into()), 7), "batch");
    assert_eq!(kind(|_| (), 7), "other");
}

#[test]
fn a_run_below_another_traces_span_is_whole_and_one_with_orphans_is_not() {
    let below = report(vec![span(1, Some(99), "run", 0, 100), node(2, Some(1), "fetch", 0, 50)]);
    assert_eq!((below.quality.level, below.run.status), (QualityLevel::High, RunStatus::Ok));
    assert!(below.quality.warnings.is_empty());
    let orphaned = report(vec![span(1, None, "run", 0, 100), node(2, Some(99), "fetch", 0, 50)]);
    assert_eq!((orphaned.quality.level, orphaned.quality.orphans), (QualityLevel::Low, 1));
    assert_eq!(orphaned.run.status, RunStatus::Incomplete);
    assert_eq!(orphaned.findings[0].confidence, Confidence::Guess);
}

#[test]
fn no_node_worth_fixing_gives_no_findings() {
    let steps = (0..100).map(|step| node(2 + step, Some(1), &format!("n{step}"), step, step + 1));
    let records = std::iter::once(span(1, None, "run", 0, 100)).chain(steps).collect();
    let report = report(records);
    assert!(report.findings.is_empty());
    assert_eq!(report.critical_path.rows.len(), 100);
}
