//! Spans in time: what each is told to be, which get rows of their own, and in which lanes they lie.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/spans.rs"]
mod spans;

use longpole::report::lanes::lanes;
use longpole::report::node_graph::NodeGraph;
use longpole::report::timeline::{EdgeKind, SpanState, Timeline, TimelineEdge, TimelineSpan};
use longpole::report::waterfall::{Waterfall, WaterfallRow};
use longpole::span_record::{NodeFacts, Outcome, SpanRecord, Status};
use longpole::time::{Duration, Interval, Timestamp};
use longpole::{ReportOptions, report_with_timeline, runs_in};
use proptest::prelude::*;
use spans::span;

fn timeline(records: Vec<SpanRecord>) -> Timeline {
    let run = runs_in(records).into_iter().next().unwrap();
    report_with_timeline(run, &ReportOptions::default()).unwrap().1
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_unix_nanos(nanos)
}

fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

fn with_facts(mut record: SpanRecord, facts: NodeFacts) -> SpanRecord {
    record.facts = Some(Box::new(facts));
    record
}

/// ```text
/// ns     1000  1010  1020  1030  1040  1050
/// root    =============================
///   a      =======                            1002–1020
///     x    ===                                1002–1010
///   b      ====                               1002–1012, slack 8
///   c             ==========                  1020–1045, failed
/// ```
fn example() -> Timeline {
    let mut c = span(5, Some(1), "c", 1020, 1045);
    c.status = Status::Error;
    timeline(vec![
        span(1, None, "root", 1000, 1050),
        span(2, Some(1), "a", 1002, 1020),
        span(3, Some(2), "x", 1002, 1010),
        span(4, Some(1), "b", 1002, 1012),
        c,
    ])
}

#[test]
fn each_span_is_told_with_its_place_and_its_part_of_the_path() {
    let timeline = example();
    let names: Vec<&str> = timeline.spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["root", "a", "x", "b", "c"]);
    let of = |read: fn(&TimelineSpan) -> u64| timeline.spans.iter().map(read).collect::<Vec<_>>();
    assert_eq!(of(|span| span.depth.into()), [0, 1, 2, 1, 1]);
    assert_eq!(of(|span| span.below.into()), [4, 1, 0, 0, 0]);
    assert_eq!(of(|span| span.path_ns.as_nanos()), [50, 18, 8, 0, 25]);
    assert_eq!(of(|span| span.own_path_ns.as_nanos()), [7, 10, 8, 0, 25]);
    assert_eq!(timeline.spans[1].path_interval, Some(Interval::new(at(1002), at(1020))));
    assert_eq!(timeline.spans[3].path_interval, None);
    assert_eq!(timeline.spans[3].slack_ns, Some(ns(8)));
    assert_eq!(timeline.spans[4].state, SpanState::Error);
    let inferred = TimelineEdge { from: 1, to: 4, kind: EdgeKind::Inferred };
    assert_eq!(timeline.edges, [inferred]);
    let path: Vec<(u32, u64)> =
        timeline.path.iter().map(|part| (part.span, part.interval.duration().as_nanos())).collect();
    assert_eq!(path, [(0, 2), (2, 8), (1, 10), (4, 25), (0, 5)]);
}

#[test]
fn how_spans_ended_is_told() {
    let outcome = |outcome| NodeFacts { outcome: Some(outcome), ..NodeFacts::default() };
    let timeline = timeline(vec![
        span(1, None, "root", 10, 100),
        span(2, Some(1), "ok", 10, 20),
        with_facts(span(3, Some(1), "panicked", 20, 30), outcome(Outcome::Panicked)),
        with_facts(span(4, Some(1), "cancelled", 30, 40), outcome(Outcome::Cancelled)),
        span(5, Some(1), "open", 40, 0),
    ]);
    let states: Vec<SpanState> = timeline.spans.iter().map(|span| span.state).collect();
    use SpanState::*;
    assert_eq!(states, [Ok, Ok, Panicked, Cancelled, Open]);
    assert_eq!(timeline.spans[4].duration(), Duration::ZERO);
}

#[test]
fn five_equal_spans_beside_the_path_share_a_row() {
    let mut records = vec![span(1, None, "root", 0, 100), span(2, Some(1), "long", 0, 100)];
    records.extend((0..5).map(|n| span(10 + n, Some(1), "query", n * 10, n * 10 + 2 + n)));
    let mut failed = span(20, Some(1), "query", 60, 70);
    failed.status = Status::Error;
    records.push(failed);
    let timeline = timeline(records);
    let waterfall = Waterfall::of(&timeline, Some(100));
    assert_eq!(waterfall.folded_spans, 5);
    let folds: Vec<_> = waterfall
        .rows
        .iter()
        .filter_map(|row| if let WaterfallRow::Fold(fold) = row { Some(fold) } else { None })
        .collect();
    let [fold] = folds[..] else { panic!("{folds:?}") };
    assert_eq!(fold.names, [("query".into(), 5)]);
    assert_eq!((fold.min_ns, fold.median_ns, fold.max_ns, fold.covered_ns), (ns(2), ns(4), ns(6), ns(20)));
    assert_eq!((fold.siblings, fold.spans, fold.failed, fold.pieces.len()), (5, 5, 0, 5));
    assert_eq!(waterfall.rows.len(), 4, "root, long, the fold and the one that failed: {:?}", waterfall.rows);
}

#[test]
fn the_longest_on_the_path_get_the_rows_there_are() {
    // 30 steps one after the other, the n-th n long, with one span inside each.
    let (mut records, mut now) = (Vec::new(), 0);
    for n in 1..=30 {
        records.push(span(n * 2, Some(1), "step", now, now + n));
        records.push(span(n * 2 + 1, Some(n * 2), "inside", now, now + n / 2));
        now += n;
    }
    records.push(span(1, None, "root", 0, now));
    let timeline = timeline(records);
    let waterfall = Waterfall::of(&timeline, Some(4));
    let rows: Vec<(u64, u64)> = waterfall
        .rows
        .iter()
        .filter_map(|row| match row {
            WaterfallRow::Span { at, inside } => {
                Some((timeline.spans[*at as usize].duration().as_nanos(), *inside))
            }
            _ => None,
        })
        .collect();
    assert_eq!(rows, [(465, 0), (28, 1), (29, 1), (30, 1)]);
    assert_eq!(waterfall.folded_spans, 57);
}

#[test]
fn nodes_stand_in_layers_behind_what_they_waited_for_and_loops_lead_back() {
    // plan, then a and b together, then join after both as declared; then a second round of a after join.
    let waits = |record: SpanRecord, on: &[&str]| {
        let depends_on = on.iter().map(|name| (*name).into()).collect();
        with_facts(record, NodeFacts { depends_on, tells_depends_on: true, ..NodeFacts::default() })
    };
    let timeline = timeline(vec![
        span(1, None, "root", 0, 100),
        span(2, Some(1), "plan", 0, 10),
        waits(span(3, Some(1), "a", 10, 30), &["plan"]),
        waits(span(4, Some(1), "b", 10, 40), &["plan"]),
        waits(span(5, Some(1), "join", 40, 60), &["a", "b"]),
        span(6, Some(1), "a", 60, 100),
    ]);
    let graph = NodeGraph::of(&timeline);
    let name = |at: u32| &*timeline.nodes[graph.nodes[at as usize].node as usize].name;
    let nodes: Vec<_> =
        (0..).zip(&graph.nodes).map(|(at, node)| (name(at), node.layer, node.row, node.executions)).collect();
    assert_eq!(nodes, [("plan", 0, 0, 1), ("a", 1, 0, 2), ("b", 1, 1, 1), ("join", 2, 0, 1)]);
    let path: Vec<u64> = graph.nodes.iter().map(|node| node.on_path_ns.as_nanos()).collect();
    assert_eq!(path, [10, 40, 30, 20]);
    let edges: Vec<_> =
        graph.edges.iter().map(|edge| (name(edge.from), name(edge.to), edge.kind, edge.is_back)).collect();
    use EdgeKind::{Declared, Inferred};
    assert_eq!(
        edges,
        [
            ("plan", "a", Declared, false),
            ("join", "a", Inferred, true),
            ("plan", "b", Declared, false),
            ("a", "join", Declared, false),
            ("b", "join", Declared, false),
        ]
    );
    assert_eq!((graph.layers, graph.rows, graph.count(Declared), graph.count(Inferred)), (3, 2, 4, 1));
}

prop_compose! {
    fn any_run()(
        spans in prop::collection::vec((any::<prop::sample::Index>(), 0..100u64, 0..60u64, 0..4u8, 0..8u8), 1..60),
    ) -> Vec<SpanRecord> {
        let mut records = vec![span(1, None, "root", 20, 120)];
        for (n, (parent, start, length, name, state)) in spans.into_iter().enumerate() {
            let parent = parent.index(records.len()) as u64 + 1;
            let name = ["a", "b", "c", "d"][usize::from(name)];
            let mut record = span(n as u64 + 2, Some(parent), name, start, start + length);
            if state == 0 {
                record.status = Status::Error;
            }
            records.push(record);
        }
        records
    }
}

/// How many spans a row stands for.
fn in_row(row: &WaterfallRow) -> u64 {
    match row {
        WaterfallRow::Span { inside, .. } => 1 + inside,
        WaterfallRow::Fold(fold) => fold.spans,
        WaterfallRow::Gap(_) => 0,
    }
}

proptest! {
    #[test]
    fn the_path_of_a_timeline_is_that_of_its_run(records in any_run()) {
        let timeline = timeline(records);
        let own: Duration = timeline.spans.iter().map(|span| span.own_path_ns).sum();
        prop_assert_eq!(own, timeline.wall_ns);
        prop_assert_eq!(timeline.spans[0].path_ns, timeline.wall_ns);
        for span in &timeline.spans {
            let interval = span.path_interval.map_or(Duration::ZERO, Interval::duration);
            prop_assert_eq!(interval, span.path_ns, "{}", span.name);
        }
    }

    #[test]
    fn each_span_is_in_one_row_and_nothing_stands_above_its_parent(records in any_run(), most in 1..40usize) {
        let timeline = timeline(records);
        for most in [Some(most), None] {
            let waterfall = Waterfall::of(&timeline, most);
            let shown: u64 = waterfall.rows.iter().map(in_row).sum();
            prop_assert_eq!(shown, timeline.spans.len() as u64);
            let mut has_row = vec![false; timeline.spans.len()];
            let (mut own, mut folded) = (0, 0);
            for row in &waterfall.rows {
                let parent = match row {
                    WaterfallRow::Span { at, inside } => {
                        own += 1;
                        folded += inside;
                        has_row[*at as usize] = true;
                        timeline.spans[*at as usize].parent
                    }
                    WaterfallRow::Fold(fold) => {
                        folded += fold.spans;
                        Some(fold.parent)
                    }
                    WaterfallRow::Gap(_) => None,
                };
                prop_assert!(parent.is_none_or(|parent| has_row[parent as usize]));
            }
            prop_assert_eq!(folded, waterfall.folded_spans);
            prop_assert!(own <= most.unwrap_or(usize::MAX));
            prop_assert!(most.is_some() || folded == 0);
        }
    }

    #[test]
    fn edges_of_the_node_graph_lead_to_later_layers_unless_they_lead_back(records in any_run()) {
        let graph = NodeGraph::of(&timeline(records));
        for edge in graph.edges.iter().filter(|edge| !edge.is_back) {
            let layer = |at: u32| graph.nodes[at as usize].layer;
            prop_assert!(layer(edge.from) < layer(edge.to));
        }
        let mut places: Vec<_> = graph.nodes.iter().map(|node| (node.layer, node.row)).collect();
        places.sort_unstable();
        places.dedup();
        prop_assert_eq!(places.len(), graph.nodes.len());
        prop_assert!(graph.nodes.iter().all(|node| node.layer < graph.layers && node.row < graph.rows));
    }

    #[test]
    fn in_a_lane_spans_lie_in_what_is_above_them_or_apart(records in any_run()) {
        let timeline = timeline(records);
        let lane_of = lanes(&timeline);
        let is_above = |above: usize, below: usize| {
            above < below && below <= above + timeline.spans[above].below as usize
        };
        for (one, a) in timeline.spans.iter().enumerate() {
            for (other, b) in timeline.spans.iter().enumerate().skip(one + 1) {
                if lane_of[one] != lane_of[other] {
                    continue;
                }
                let is_apart = a.end_unix_ns <= b.start_unix_ns || b.end_unix_ns <= a.start_unix_ns;
                let lies_in = a.start_unix_ns <= b.start_unix_ns && b.end_unix_ns <= a.end_unix_ns;
                prop_assert!(is_apart || (lies_in && is_above(one, other)), "{a:?} and {b:?}");
            }
        }
    }
}
