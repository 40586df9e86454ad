//! Who waited for whom, where spans say so. One unit is 1 ms.

#[path = "support/spans.rs"]
mod spans;

use longpole::conventions::{Fact, fact_of};
use longpole::ids::{SpanId, TraceId};
use longpole::report::PathEdge;
use longpole::run::{DependencyUse, Links, Run, RunOptions, Warning};
use longpole::span_record::{Link, SpanRecord};
use longpole::{Report, ReportOptions, report_on};

const MS: u64 = 1_000_000;

fn root(end: u64) -> SpanRecord {
    spans::span(1, None, "run", 0, end * MS)
}

fn node(id: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    let mut record = spans::span(id, Some(1), "step", start * MS, end * MS);
    record.facts.get_or_insert_default().node_id = Some(name.into());
    record
}

fn after(mut record: SpanRecord, names: &[&str]) -> SpanRecord {
    let facts = record.facts.get_or_insert_default();
    facts.depends_on = names.iter().map(|name| (*name).into()).collect();
    facts.tells_depends_on = true;
    record
}

fn linked(mut record: SpanRecord, to: u64, is_dependency: bool) -> SpanRecord {
    let (trace_id, span_id) = (TraceId::from_bytes([7; 16]), SpanId::from_bytes(to.to_be_bytes()));
    record.links = Some(Box::new([Link { trace_id, span_id, is_dependency }]));
    record
}

fn report(records: Vec<SpanRecord>) -> Report {
    report_on(records, &ReportOptions::default()).remove(0)
}

/// The ids of who was taken to wait for whom, in order of those who wait.
fn kept(run: &Run) -> Vec<(u64, u64)> {
    let id = |ix| u64::from_be_bytes(run.span(ix).record.span_id.to_bytes());
    let kept = run.dependencies.iter().filter(|it| it.used == DependencyUse::Kept);
    kept.map(|it| (id(it.span), id(it.on))).collect()
}

/// The nodes on the path with their time.
fn path(report: &Report) -> Vec<(&str, u64)> {
    let rows = &report.critical_path.rows;
    rows.iter().map(|row| (row.node.as_str(), row.duration_ns.as_nanos() / MS)).collect()
}

#[test]
fn a_declared_step_is_followed_instead_of_the_last_to_end() {
    // By time c waited for b, which ended at 50; it says that it waited for a, which ended at 30.
    let steps = |c| vec![root(100), node(2, "a", 0, 30), node(3, "b", 0, 50), c];
    let by_time = report(steps(node(4, "c", 50, 100)));
    assert_eq!(path(&by_time), [("b", 50), ("c", 50)]);
    assert_eq!((by_time.quality.declared_edges, by_time.quality.inferred_edges), (0, 1));
    assert!(by_time.to_text().contains("order: inferred from time"));
    let declared = report(steps(after(node(4, "c", 50, 100), &["a"])));
    assert_eq!(path(&declared), [("a", 30), ("c", 50)]);
    assert_eq!(declared.totals.unattributed_ns.as_nanos(), 20 * MS, "between a and c only the run ran");
    assert_eq!((declared.quality.declared_edges, declared.quality.inferred_edges), (1, 0));
    let edges = |report: &Report| report.critical_path.segments.iter().map(|it| it.edge).collect::<Vec<_>>();
    assert_eq!(edges(&by_time), [PathEdge::Parent, PathEdge::Inferred]);
    assert_eq!(edges(&declared), [PathEdge::Parent, PathEdge::Parent, PathEdge::Declared]);
    let json: serde_json::Value = serde_json::from_str(&declared.to_json()).unwrap();
    assert_eq!(json["critical_path"]["segments"][2]["edge"], "declared");
    // b can take 50 more before the run does; c alone decides when a has to be over.
    let slack = |name: &str| declared.nodes.iter().find(|it| it.name == name).unwrap().slack_ns.unwrap();
    assert_eq!([slack("a"), slack("b"), slack("c")].map(|it| it.as_nanos() / MS), [0, 50, 0]);
}

#[test]
fn where_some_steps_say_and_some_do_not_those_that_do_not_are_marked() {
    let mixed = report(vec![
        root(90),
        node(2, "a", 0, 30),
        after(node(3, "b", 30, 60), &["a"]),
        node(4, "c", 60, 90),
    ]);
    let inferred: Vec<_> = mixed.critical_path.rows.iter().map(|row| row.is_inferred).collect();
    assert_eq!(inferred, [false, false, true]);
    let text = mixed.to_text();
    assert!(text.contains("c ~ ") && !text.contains("b ~ "), "{text}");
    assert!(text.contains("~ what it waited for is inferred from time"), "{text}");
}

#[test]
fn in_a_loop_a_name_means_the_same_round() {
    let rounds = vec![
        root(90),
        node(2, "fetch", 0, 10),
        node(3, "fetch", 0, 20),
        after(node(4, "parse", 20, 30), &["fetch"]),
        node(5, "fetch", 30, 50),
        node(6, "fetch", 30, 60),
        after(node(7, "parse", 60, 90), &["fetch"]),
    ];
    let run = Run::from_records(rounds).unwrap();
    // Of two that start together the longer stands first.
    assert_eq!(kept(&run), [(4, 3), (4, 2), (7, 6), (7, 5)]);
}

#[test]
fn what_is_contradicted_unknown_or_elsewhere_is_told_and_not_followed() {
    let contradicted = vec![root(100), node(2, "a", 0, 60), after(node(3, "b", 50, 100), &["a"])];
    let run = Run::from_records(contradicted.clone()).unwrap();
    assert_eq!((kept(&run), run.warnings[&Warning::EdgeContradicted]), (vec![], 1));
    assert!(report(contradicted).to_text().contains("1 declared edge is contradicted by time"));

    let unknown = vec![root(100), node(2, "a", 0, 50), after(node(3, "b", 50, 100), &["aa"])];
    let run = Run::from_records(unknown.clone()).unwrap();
    assert_eq!((kept(&run), run.warnings[&Warning::UnknownDependency]), (vec![], 1));
    assert!(report(unknown).to_text().contains("1 name in depends_on is no node"));

    let mut inner = node(4, "inner", 0, 40);
    inner.parent_id = Some(SpanId::from_bytes(2u64.to_be_bytes()));
    let elsewhere = vec![root(100), node(2, "a", 0, 50), inner, after(node(3, "b", 50, 100), &["inner"])];
    let run = Run::from_records(elsewhere.clone()).unwrap();
    assert_eq!(run.dependencies.iter().map(|it| it.used).collect::<Vec<_>>(), [DependencyUse::Elsewhere]);
    assert_eq!(
        path(&report(elsewhere)),
        [("inner", 40), ("a", 10), ("b", 50)],
        "the walk goes by time there"
    );

    let empty = vec![root(100), node(2, "a", 20, 20), after(node(3, "b", 50, 100), &["a"])];
    assert_eq!(kept(&Run::from_records(empty).unwrap()), [], "what takes no time holds nobody up");
}

#[test]
fn a_link_says_so_if_it_is_marked_or_if_links_are_to_be_read_so() {
    let steps = |is_dependency| {
        vec![
            root(100),
            node(2, "a", 0, 30),
            node(3, "b", 0, 50),
            linked(node(4, "c", 50, 100), 2, is_dependency),
        ]
    };
    let kept_with = |is_dependency, links| {
        let options = RunOptions { links, ..RunOptions::default() };
        kept(&Run::with_options(steps(is_dependency), &options).unwrap())
    };
    assert_eq!(kept_with(true, Links::Ignore), [(4, 2)]);
    assert_eq!(kept_with(false, Links::Ignore), []);
    assert_eq!(kept_with(false, Links::AsDeps), [(4, 2)]);
}

/// ```text
///          0    10   20   30   40   50   60
/// a        ==========                          waits for nothing
/// b                  ==========                waits for nothing; one worker was busy
/// c                            ==========      after a
/// d                                      ====  after b and c
/// ```
#[test]
fn a_declared_graph_says_how_short_the_run_could_be() {
    let report = report(vec![
        root(68),
        after(node(2, "a", 0, 20), &[]),
        after(node(3, "b", 20, 40), &[]),
        after(node(4, "c", 40, 60), &["a"]),
        after(node(5, "d", 60, 68), &["b", "c"]),
    ]);
    // a and c take 40, then d 8; b fits beside them.
    assert!(report.allowed_path.is_declared);
    assert_eq!(report.totals.graph_bound_ns.unwrap().as_nanos(), 48 * MS);
    assert_eq!(report.totals.efficiency, Some(48.0 / 68.0));
    assert_eq!(report.totals.parallelism_average, Some(68.0 / 48.0));
    // One worker was busy at the peak: no schedule of one is shorter than the work.
    assert_eq!(report.totals.greedy_at_least_ns.unwrap().as_nanos(), 68 * MS);
    assert_eq!(report.totals.greedy_at_most_ns.unwrap().as_nanos(), 68 * MS);
    let allowed: Vec<_> = report
        .allowed_path
        .rows
        .iter()
        .map(|row| (row.node.as_deref().unwrap_or("-"), row.duration_ns.as_nanos() / MS))
        .collect();
    assert_eq!(allowed, [("a", 20), ("c", 20), ("d", 8)]);
    let text = report.to_text();
    assert!(
        text.contains("as run: 48.0 ms of 68.0 ms") && text.contains("As the graph allows  48.0 ms:"),
        "{text}"
    );
    assert!(text.contains("Parallelism   71% of the best this graph allows (48.0 ms)"), "{text}");
}

#[test]
fn without_any_declaration_nothing_is_said_about_the_graph() {
    let report = report(vec![root(60), node(2, "a", 0, 20), node(3, "b", 20, 60)]);
    assert!(!report.allowed_path.is_declared);
    assert_eq!((report.totals.efficiency, report.totals.graph_bound_ns), (None, None));
    assert_eq!(report.allowed_path.wall_ns.as_nanos(), 60 * MS);
}

#[test]
fn every_spelling_of_the_attribute_is_read() {
    for key in ["node.depends_on", "longpole.node.depends_on", "longpole.depends_on"] {
        assert_eq!(fact_of(key), Some(Fact::DependsOn), "{key}");
    }
}
