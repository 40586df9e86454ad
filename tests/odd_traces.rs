//! What becomes of spans that are not as they should be.

use longpole::analysis::event_graph::EventGraph;
use longpole::analysis::replay::Scale;
use longpole::run::{Run, SYNTHETIC_ROOT_NAME, Warning};
use longpole::span_record::{SpanRecord, Status};
use longpole::time::Duration;

#[path = "support/spans.rs"]
mod spans;
use spans::span;

fn run(records: impl Into<Vec<SpanRecord>>) -> Run {
    Run::from_records(records.into()).unwrap()
}

fn warnings(run: &Run) -> Vec<(&'static str, u64)> {
    run.warnings.iter().map(|(warning, count)| (warning.as_str(), *count)).collect()
}

#[test]
fn no_spans_make_no_run() {
    assert_eq!(Run::from_records(Vec::new()), None);
}

#[test]
fn all_zero_ids_are_no_ids() {
    let run = run([
        span(1, Some(0), "root", 0, 9),
        span(0, Some(1), "twin", 2, 3),
        span(0, Some(1), "twin", 2, 3),
        span(0, Some(1), "other", 4, 5),
    ]);
    assert_eq!(warnings(&run), []);
    assert_eq!(run.children(run.root).len(), 3);
    assert!(run.spans.iter().all(|span| span.ordinal == 1));
}

#[test]
fn of_repeated_spans_one_that_tells_more_stays() {
    let told = SpanRecord { status: Status::Error, ..span(2, Some(1), "child", 1, 2) };
    let bare = span(2, Some(1), "child", 1, 2);
    let run = run([span(1, None, "root", 0, 9), bare.clone(), told.clone(), bare]);
    assert_eq!(warnings(&run), [("duplicate_span", 2)]);
    assert_eq!(run.spans[1].record, told);
}

#[test]
fn of_different_spans_with_one_id_the_first_and_longest_has_the_children() {
    let run = run([
        span(1, None, "root", 0, 90),
        span(2, Some(1), "later", 20, 80),
        span(2, Some(1), "shorter", 10, 50),
        span(2, Some(1), "owner", 10, 60),
        span(3, Some(2), "child", 30, 40),
    ]);
    assert_eq!(warnings(&run), [("conflicting_span_id", 2)]);
    let seen: Vec<_> = run
        .spans
        .iter()
        .map(|span| (&*span.record.name, span.ordinal, span.parent.map(|ix| &*run.span(ix).record.name)))
        .collect();
    let expected = [
        ("root", 1, None),
        ("owner", 1, Some("root")),
        ("child", 1, Some("owner")),
        ("shorter", 2, Some("root")),
        ("later", 3, Some("root")),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_ring_beside_two_roots_is_put_under_a_made_up_root() {
    let run = run([
        span(1, None, "first", 10, 20),
        span(2, None, "second", 15, 30),
        span(3, Some(5), "ring", 12, 40),
        span(4, Some(3), "ring", 13, 14),
        span(5, Some(4), "ring", 13, 14),
        span(6, Some(99), "stray", 5, 6),
    ]);
    let expected = [("missing_parent", 1), ("parent_cycle", 1), ("multiple_roots", 1)];
    assert_eq!(warnings(&run), expected);
    let root = run.span(run.root);
    assert_eq!((&*root.record.name, root.is_synthetic), (SYNTHETIC_ROOT_NAME, true));
    assert_eq!(run.wall(), Duration::from_nanos(35));
    assert_eq!(run.children(run.root).len(), 4);
}

#[test]
fn times_that_run_backwards_take_no_time_and_stay_out_of_statistics() {
    let run = run([
        span(1, None, "root", 10, 90),
        span(2, Some(1), "unfinished", 20, 0),
        span(3, Some(1), "negative", 30, 29),
        span(4, Some(1), "short", 40, 40),
    ]);
    assert_eq!(warnings(&run), [("unfinished_span", 1), ("negative_duration", 1)]);
    let in_statistics: Vec<_> = run.spans.iter().map(|span| span.in_statistics).collect();
    assert_eq!(in_statistics, [true, false, false, true]);
    assert!(run.spans[1..].iter().all(|span| span.interval().is_empty() && !span.is_detached));
}

#[test]
fn an_unfinished_span_that_starts_at_zero_is_a_span_without_length() {
    assert_eq!(warnings(&run([span(1, None, "root", 0, 0)])), []);
}

#[test]
fn a_root_whose_parent_is_elsewhere_is_still_the_root() {
    let run = run([span(1, Some(99), "root", 0, 9), span(2, Some(1), "child", 1, 2)]);
    assert_eq!(warnings(&run), [(Warning::MissingParent.as_str(), 1)]);
    assert_eq!(&*run.span(run.root).record.name, "root");
}

#[test]
fn a_thousand_odd_gaps_are_halved_without_gathering_rounding_errors() {
    let children = (0..1000).map(|index| span(index + 2, Some(1), "child", index * 10 + 1, index * 10 + 10));
    let records: Vec<_> = std::iter::once(span(1, None, "root", 0, 10_000)).chain(children).collect();
    let run = run(records);
    let graph = EventGraph::new(&run);
    // A thousand gaps of 1 ns are the root's own time.
    let halved = graph.replay(|ix| if ix == run.root { Scale::faster(2) } else { Scale::SAME });
    assert_eq!(halved, Duration::from_nanos(9_500));
}
