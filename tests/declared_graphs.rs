//! Graphs as they were declared: against independent answers, and against every path there is.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

use longpole::analysis::declared_graph::DeclaredGraph;
use longpole::analysis::list_schedule::{list_schedule, list_schedule_in_stages};
use longpole::analysis::pool::{Execution, pool_suspected};
use longpole::analysis::replay::Scale;
use longpole::run::Run;
use longpole::time::{Duration, Interval, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

/// The answers count in units of this many nanoseconds, so that halves and eighths of a unit are whole.
const UNIT: u64 = 8_000;

fn cases(file: &str, key: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oracles/dag").join(file);
    let value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    value[key].as_array().unwrap().clone()
}

struct Case {
    title: String,
    names: Vec<String>,
    graph: DeclaredGraph,
}

impl Case {
    fn of(case: &Value, shorter_by: u64) -> Case {
        let nodes = case["nodes"].as_object().unwrap();
        let names: Vec<String> = nodes.keys().cloned().collect();
        let weights = names
            .iter()
            .map(|name| Duration::from_nanos((nodes[name].as_u64().unwrap() - shorter_by) * UNIT));
        let at = |name: &Value| names.iter().position(|known| name == known).unwrap();
        let edges: Vec<_> =
            case["edges"].as_array().unwrap().iter().map(|edge| (at(&edge[0]), at(&edge[1]))).collect();
        let graph = DeclaredGraph::new(weights.collect(), &edges).unwrap();
        Case { title: case["name"].to_string(), names, graph }
    }

    fn at(&self, name: &Value) -> usize {
        self.names.iter().position(|known| name == known).unwrap()
    }

    fn check(&self, what: &str, told: impl Fn(usize) -> Duration, expected: &Value) {
        let expected = expected.as_object().unwrap();
        assert_eq!(expected.len(), self.names.len(), "{}: {what}", self.title);
        for (name, expected) in expected {
            let told = told(self.at(&Value::from(name.as_str())));
            assert_eq!(units(told), expected.as_f64(), "{}: {what} of {name}", self.title);
        }
    }
}

fn units(length: Duration) -> Option<f64> {
    Some(length.as_nanos() as f64 / UNIT as f64)
}

#[test]
fn declared_graphs_come_out_right() {
    let cases = cases("declared_dags.json", "dags");
    assert!(cases.len() >= 36);
    for answers in &cases {
        let case = Case::of(answers, 0);
        let (title, graph) = (&case.title, &case.graph);
        assert_eq!(units(graph.work()), answers["t1"].as_f64(), "{title}: work");
        assert_eq!(units(graph.span()), answers["t_inf"].as_f64(), "{title}: span");
        match (graph.average_parallelism(), answers["average_parallelism"].as_f64()) {
            (Some(told), Some(expected)) => assert!((told - expected).abs() <= 1e-9, "{title}: {told}"),
            (told, expected) => assert_eq!(told, expected, "{title}: parallelism"),
        }
        let times = graph.times();
        case.check("early start", |node| times[node].early_start, &answers["es"]);
        case.check("early finish", |node| times[node].early_finish, &answers["ef"]);
        case.check("late start", |node| times[node].late_start, &answers["ls"]);
        case.check("late finish", |node| times[node].late_finish, &answers["lf"]);
        case.check("float", |node| times[node].total_float, &answers["total_float"]);
        let critical: Vec<usize> =
            (0..graph.nodes()).filter(|node| times[*node].total_float.is_zero()).collect();
        let mut expected: Vec<usize> =
            answers["on_some_critical_path"].as_array().unwrap().iter().map(|name| case.at(name)).collect();
        expected.sort_unstable();
        assert_eq!(critical, expected, "{title}: on a critical path");
        let drags = graph.drags();
        case.check("drag", |node| drags[node], &answers["drag_t_inf"]);
        for what_if in answers["what_if"].as_array().unwrap() {
            let target = case.at(&what_if["node"]);
            let scale = what_if["times_faster"].as_u64().map_or(Scale::FREE, |k| Scale::faster(k as u32));
            let span = graph.span_scaled(|node| if node == target { scale } else { Scale::SAME });
            assert_eq!(units(span), what_if["t_inf"].as_f64(), "{title}: {what_if}");
        }
        for (workers, bounds) in answers["greedy_bound"].as_object().unwrap() {
            let told = graph.greedy_bounds(workers.parse::<NonZeroU32>().unwrap());
            assert_eq!(units(told.at_least), bounds["lower"].as_f64(), "{title}: {workers} workers");
            assert_eq!(units(told.at_most), bounds["upper"].as_f64(), "{title}: {workers} workers");
        }
    }
}

#[test]
fn list_schedules_come_out_right() {
    let cases = cases("list_schedule.json", "cases");
    assert!(cases.len() >= 30);
    let mut anomalies = 0;
    for answers in &cases {
        let case = Case::of(answers, 0);
        let priority: Vec<usize> =
            answers["priority_order"].as_array().unwrap().iter().map(|name| case.at(name)).collect();
        let makespan = |graph: &DeclaredGraph, permits: &str| {
            units(list_schedule(graph, &priority, permits.parse().unwrap()).makespan)
        };
        for (permits, expected) in answers["makespan"].as_object().unwrap() {
            let told = makespan(&case.graph, permits);
            assert_eq!(told, expected.as_f64(), "{}: {permits} permits", case.title);
        }
        if let Some(expected) = answers.get("every_task_one_unit_shorter_makespan_3") {
            let shorter = Case::of(answers, 1);
            assert_eq!(makespan(&shorter.graph, "3"), expected.as_f64(), "{}", case.title);
            assert!(
                makespan(&shorter.graph, "3") > makespan(&case.graph, "3"),
                "shorter tasks, longer whole"
            );
            anomalies += 1;
        }
    }
    assert_eq!(anomalies, 1);
}

#[test]
fn a_trace_of_six_tasks_through_two_permits_is_seen_through() {
    let path = "tests/data/oracles/traces/27_pool_of_two.otlp.json";
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let run = Run::from_records(longpole::decode::decode(&bytes).unwrap().spans).unwrap();
    let tasks: Vec<_> = run.children(run.root).iter().map(|task| run.span(*task)).collect();
    let executions: Vec<Execution> = tasks.iter().map(|task| Execution::of(task)).collect();
    let pool = pool_suspected(&executions).unwrap();
    assert_eq!((pool.permits, pool.later_starts, pool.at_an_end), (2, 4, 4));

    // Nothing is declared between them, so a third permit would take ten of the thirty milliseconds.
    let weights = tasks.iter().map(|task| task.run_interval().duration()).collect();
    let graph = DeclaredGraph::new(weights, &[]).unwrap();
    let makespan = |permits| list_schedule(&graph, &[], NonZeroUsize::new(permits).unwrap()).makespan;
    assert_eq!(makespan(2), run.wall());
    assert_eq!(makespan(3), Duration::from_millis(20));
}

/// Graphs of up to 8 nodes with edges from lower to higher positions, and another weight for each node.
fn graphs() -> impl Strategy<Value = (Vec<u64>, Vec<u64>, Vec<(usize, usize)>)> {
    let weights = prop::collection::vec((0..12u64, 0..12u64), 1..=8);
    (weights, prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..14)).prop_map(
        |(weights, ends)| {
            let nodes = weights.len();
            let edge = |(a, b): (prop::sample::Index, prop::sample::Index)| {
                let (a, b) = (a.index(nodes), b.index(nodes));
                (a != b).then_some((a.min(b), a.max(b)))
            };
            let edges = ends.into_iter().filter_map(edge).collect();
            let (weights, others) = weights.into_iter().unzip();
            (weights, others, edges)
        },
    )
}

fn graph_of(weights: &[u64], edges: &[(usize, usize)]) -> DeclaredGraph {
    DeclaredGraph::new(weights.iter().copied().map(Duration::from_nanos).collect(), edges).unwrap()
}

/// Every path, as the set of its nodes.
fn paths(nodes: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = (0..nodes).map(|node| vec![node]).collect();
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        let last = path[path.len() - 1];
        let mut reached: Vec<usize> =
            edges.iter().filter(|(from, _)| *from == last).map(|(_, to)| *to).collect();
        reached.sort_unstable();
        reached.dedup();
        found.extend(reached.into_iter().map(|to| path.iter().copied().chain([to]).collect()));
    }
    found
}

fn longest(paths: &[Vec<usize>], weights: &[u64]) -> u64 {
    paths.iter().map(|path| path.iter().map(|node| weights[*node]).sum()).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn span_float_and_drag_are_those_of_all_paths((weights, _, edges) in graphs()) {
        let graph = graph_of(&weights, &edges);
        let paths = paths(weights.len(), &edges);
        let span = longest(&paths, &weights);
        prop_assert_eq!(graph.span().as_nanos(), span);
        let (times, drags) = (graph.times(), graph.drags());
        for node in 0..weights.len() {
            let through: Vec<_> = paths.iter().filter(|path| path.contains(&node)).cloned().collect();
            prop_assert_eq!(times[node].total_float.as_nanos(), span - longest(&through, &weights));
            let mut without = weights.clone();
            without[node] = 0;
            let drag = span - longest(&paths, &without);
            prop_assert_eq!(drags[node].as_nanos(), drag);
            prop_assert!(drag <= weights[node]);
            prop_assert!(times[node].free_float <= times[node].total_float);
            prop_assert_eq!(times[node].late_finish.saturating_sub(times[node].late_start).as_nanos(), weights[node]);
        }
    }

    #[test]
    fn smaller_weights_never_make_the_span_longer((weights, others, edges) in graphs()) {
        let graph = graph_of(&weights, &edges);
        let smaller = |node: usize| Duration::from_nanos(weights[node].min(others[node]));
        prop_assert!(graph.span_with(smaller) <= graph.span());
        let larger = |node: usize| Duration::from_nanos(weights[node].max(others[node]));
        prop_assert!(graph.span_with(larger) >= graph.span());
        prop_assert_eq!(graph.span_scaled(|_| Scale::SAME), graph.span());
        prop_assert_eq!(graph.span_scaled(|_| Scale::FREE), Duration::ZERO);
    }

    #[test]
    fn the_order_of_edges_changes_nothing((weights, _, edges) in graphs()) {
        let reversed: Vec<_> = edges.iter().rev().chain(&edges).copied().collect();
        let (one, other) = (graph_of(&weights, &edges), graph_of(&weights, &reversed));
        prop_assert_eq!((one.times(), one.drags()), (other.times(), other.drags()));
    }

    #[test]
    fn a_ring_is_found_and_is_one((weights, _, edges) in graphs(), back in any::<prop::sample::Index>()) {
        prop_assume!(!edges.is_empty());
        let (from, to) = edges[back.index(edges.len())];
        let edges: Vec<_> = edges.into_iter().chain([(to, from)]).collect();
        let weights = weights.into_iter().map(Duration::from_nanos).collect();
        let error = DeclaredGraph::new(weights, &edges).unwrap_err();
        let longpole::analysis::declared_graph::GraphError::Cycle { ring } = error else {
            panic!("{error}");
        };
        prop_assert!(ring.len() > 1);
        for (at, node) in ring.iter().enumerate() {
            prop_assert!(edges.contains(&(*node, ring[(at + 1) % ring.len()])), "{:?}", ring);
        }
    }

    #[test]
    fn a_schedule_keeps_to_edges_permits_barriers_and_bounds(
        (weights, stages, edges) in graphs(), permits in 1..5usize,
    ) {
        let graph = graph_of(&weights, &edges);
        let workers = NonZeroUsize::new(permits).unwrap();
        let priority: Vec<usize> = (0..weights.len()).rev().collect();
        let plain = list_schedule(&graph, &priority, workers);
        let bounds = graph.greedy_bounds(NonZeroU32::new(permits as u32).unwrap());
        prop_assert!(bounds.at_least <= plain.makespan && plain.makespan <= bounds.at_most);
        let alone = NonZeroUsize::MIN;
        prop_assert_eq!(list_schedule(&graph, &priority, alone).makespan, graph.work());
        let crowd = NonZeroUsize::new(weights.len()).unwrap();
        prop_assert_eq!(list_schedule(&graph, &priority, crowd).makespan, graph.span());

        let stages: Vec<u32> = stages.iter().map(|stage| *stage as u32 / 4).collect();
        for schedule in [plain, list_schedule_in_stages(&graph, &priority, workers, &stages)] {
            let end = |node: usize| schedule.starts[node].as_nanos() + weights[node];
            for (from, to) in &edges {
                prop_assert!(end(*from) <= schedule.starts[*to].as_nanos());
            }
            let mut levels: BTreeMap<u64, i64> = BTreeMap::new();
            for (node, weight) in weights.iter().enumerate() {
                *levels.entry(schedule.starts[node].as_nanos()).or_default() += i64::from(*weight > 0);
                *levels.entry(end(node)).or_default() -= i64::from(*weight > 0);
            }
            let mut level = 0;
            for change in levels.values() {
                level += change;
                prop_assert!(level <= permits as i64);
            }
        }
        let staged = list_schedule_in_stages(&graph, &priority, workers, &stages);
        let mut stage = stages;
        // Edges lead to higher positions, so those of a lower one are settled first.
        let mut in_order = edges.clone();
        in_order.sort_unstable();
        for (from, to) in in_order {
            stage[to] = stage[to].max(stage[from]);
        }
        for early in 0..weights.len() {
            for late in (0..weights.len()).filter(|late| stage[*late] > stage[early]) {
                let end = staged.starts[early].as_nanos() + weights[early];
                prop_assert!(end <= staged.starts[late].as_nanos());
            }
        }
    }

    #[test]
    fn tasks_that_wait_for_permits_give_their_number_away(
        lengths in prop::collection::vec(1..50u64, 8..40), permits in 1..5usize,
    ) {
        let graph = DeclaredGraph::new(lengths.iter().map(|ms| Duration::from_millis(*ms)).collect(), &[]).unwrap();
        let schedule = list_schedule(&graph, &[], NonZeroUsize::new(permits).unwrap());
        let created = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
        let executions: Vec<Execution> = schedule.starts.iter().zip(graph.weights()).map(|(start, length)| {
            let start = created.saturating_add(*start);
            Execution { created, running: Interval::new(start, start.saturating_add(*length)) }
        }).collect();
        let pool = pool_suspected(&executions).expect("a full pool");
        prop_assert_eq!(pool.permits, permits as u64);
        prop_assert_eq!(pool.later_starts, (lengths.len() - permits) as u64);
        prop_assert_eq!((pool.at_an_end, pool.known_to_wait), (pool.later_starts, pool.later_starts));
    }
}
