//! What always came before what, over many runs.

use longpole::analysis::inferred_order::{InferredEdge, InferredOrder, transitive_reduction};
use longpole::run::Run;
use proptest::prelude::*;

#[path = "support/spans.rs"]
mod spans;
use spans::span;

/// A run of spans `(name, start, end)` under a root from 0 to 100.
fn run(children: &[(&str, u64, u64)]) -> Run {
    let mut records = vec![span(1, None, "root", 0, 100)];
    let child = |(id, (name, start, end)): (u64, &(&str, u64, u64))| span(id, Some(1), name, *start, *end);
    records.extend((2..).zip(children).map(child));
    Run::from_records(records).unwrap()
}

fn arrows(edges: &[InferredEdge]) -> Vec<String> {
    edges.iter().map(|edge| format!("{} → {} ×{}", edge.before, edge.after, edge.runs)).collect()
}

#[test]
fn an_order_is_believed_after_enough_runs_and_not_before() {
    let mut order = InferredOrder::default();
    for _ in 0..19 {
        order.add(&run(&[("a", 0, 10), ("b", 10, 20)]));
    }
    assert!(order.edges(InferredOrder::MIN_SUPPORT).is_empty());
    order.add(&run(&[("a", 0, 10), ("b", 30, 40)]));
    assert_eq!(arrows(&order.edges(InferredOrder::MIN_SUPPORT)), ["a → b ×20"]);
    assert_eq!(order.edges(1)[0].parent, ["root".into()]);
}

#[test]
fn one_counter_example_ends_an_order_for_good() {
    let mut order = InferredOrder::default();
    order.add(&run(&[("a", 0, 10), ("b", 10, 20)]));
    order.add(&run(&[("a", 0, 10), ("b", 9, 20)]));
    for _ in 0..50 {
        order.add(&run(&[("a", 0, 10), ("b", 10, 20)]));
    }
    assert!(order.edges(1).is_empty());
}

#[test]
fn a_run_in_which_one_does_not_occur_says_nothing() {
    let mut order = InferredOrder::default();
    order.add(&run(&[("a", 20, 30), ("b", 0, 10)]));
    order.add(&run(&[("a", 20, 30)]));
    order.add(&run(&[("b", 50, 60), ("a", 40, 40)]));
    assert_eq!(arrows(&order.edges(1)), ["b → a ×1"], "what took no time did not occur");
}

#[test]
fn in_a_loop_the_kth_is_compared_with_the_kth() {
    let mut order = InferredOrder::default();
    order.add(&run(&[
        ("call", 0, 10),
        ("tool", 10, 15),
        ("call", 15, 30),
        ("tool", 30, 31),
        ("call", 40, 50),
    ]));
    assert_eq!(arrows(&order.edges(1)), ["call → tool ×1"]);
}

#[test]
fn the_same_name_elsewhere_in_the_tree_is_another_position() {
    let mut order = InferredOrder::default();
    let records = vec![
        span(1, None, "root", 0, 100),
        span(2, Some(1), "turn", 0, 50),
        span(3, Some(2), "a", 0, 10),
        span(4, Some(2), "b", 20, 30),
        span(5, Some(1), "b", 50, 60),
        span(6, Some(1), "a", 60, 70),
    ];
    order.add(&Run::from_records(records).unwrap());
    let told: Vec<_> = order
        .edges(1)
        .iter()
        .map(|edge| format!("{}: {} → {}", edge.parent.join(";"), edge.before, edge.after))
        .collect();
    let expected = ["root: b → a", "root: turn → a", "root: turn → b", "root;turn: a → b"];
    assert_eq!(told, expected);
}

#[test]
fn what_follows_from_other_edges_is_not_drawn() {
    let mut order = InferredOrder::default();
    order.add(&run(&[("a", 0, 10), ("b", 10, 20), ("c", 20, 30), ("x", 5, 25), ("d", 30, 40)]));
    let edges = order.edges(1);
    assert_eq!(edges.len(), 7);
    assert_eq!(arrows(&transitive_reduction(&edges)), ["a → b ×1", "b → c ×1", "c → d ×1", "x → d ×1"]);
}

#[test]
fn names_that_never_all_met_can_make_a_ring_and_keep_their_edges() {
    let mut order = InferredOrder::default();
    for (one, other) in [("a", "b"), ("b", "c"), ("c", "a")] {
        order.add(&run(&[(one, 0, 10), (other, 10, 20)]));
    }
    let edges = order.edges(1);
    assert_eq!(arrows(&edges), ["a → b ×1", "b → c ×1", "c → a ×1"]);
    assert_eq!(transitive_reduction(&edges), edges);
}

#[test]
fn what_is_too_much_to_compare_is_counted() {
    let mut order = InferredOrder::default();
    let names: Vec<String> = (0..InferredOrder::MAX_SIBLINGS + 7).map(|n| format!("n{n}")).collect();
    let children: Vec<(&str, u64, u64)> = names.iter().map(|name| (&**name, 0, 10)).collect();
    order.add(&run(&children));
    assert_eq!(order.left_out(), 7);
}

proptest! {
    #[test]
    fn an_order_holds_in_every_run_or_is_not_told(
        runs in prop::collection::vec(prop::collection::vec((0..4usize, 0..90u64, 1..10u64), 0..6), 1..8),
        from in any::<prop::sample::Index>(),
    ) {
        let names = ["a", "b", "c", "d"];
        let runs: Vec<Run> = runs.iter().map(|children| {
            let mut seen = Vec::new();
            let mut children: Vec<_> =
                children.iter().map(|(name, start, length)| (names[*name], *start, start + length)).collect();
            // At most one of each name, so that "every run" is easily said.
            children.retain(|child| !seen.contains(&child.0) && { seen.push(child.0); true });
            run(&children)
        }).collect();
        let mut order = InferredOrder::default();
        runs.iter().for_each(|run| order.add(run));
        let at = |run: &Run, name: &str| {
            run.spans.iter().find(|span| &*span.record.name == name).map(|span| span.clipped)
        };
        let mut expected = Vec::new();
        for (before, after) in names.iter().flat_map(|a| names.iter().map(move |b| (*a, *b))) {
            let both: Vec<_> = runs
                .iter()
                .filter_map(|run| Some((at(run, before)?, at(run, after)?)))
                .filter(|_| before != after)
                .collect();
            if !both.is_empty() && both.iter().all(|(one, other)| one.end <= other.start) {
                expected.push(format!("{before} → {after} ×{}", both.len()));
            }
        }
        prop_assert_eq!(arrows(&order.edges(1)), expected);

        let mut rotated = InferredOrder::default();
        let start = from.index(runs.len());
        runs[start..].iter().chain(&runs[..start]).for_each(|run| rotated.add(run));
        prop_assert_eq!(rotated.edges(1), order.edges(1), "the order of runs changes nothing");
    }
}
