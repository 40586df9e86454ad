//! What holds for every run with declared dependencies, however it is read.

use longpole::analysis::critical_path::{Segment, critical_path};
use longpole::analysis::declared_graph::DeclaredGraph;
use longpole::analysis::event_graph::EventGraph;
use longpole::analysis::list_schedule::list_schedule;
use longpole::analysis::replay::{Changes, Scale};
use longpole::run::{AsyncChildren, Links, Orphans, Run, RunOptions, Skew, SpanIx, Tolerance};
use longpole::span_record::{Link, SpanRecord};
use longpole::time::{Duration, Timestamp};
use longpole::{ReportOptions, report_on};
use proptest::prelude::*;

#[path = "support/grouped_replays.rs"]
mod grouped_replays;
#[path = "support/spans.rs"]
mod spans;
use spans::span;

const ORIGIN: u64 = 1_700_000_000_000_000_000;

/// Runs of up to 24 spans with six names among them, half of which declare something: a name or a link to any span.
fn declared_runs() -> impl Strategy<Value = Vec<SpanRecord>> {
    let any_index = any::<prop::sample::Index>;
    let others = (any_index(), 0..100u64, 0..60u64, 0..20u64, 0..8u8, 0..6u8, any_index());
    (50..100u64, prop::collection::vec(others, 0..24)).prop_map(|(wall, others)| {
        let mut records = vec![span(1, None, "n9", ORIGIN, ORIGIN + wall)];
        let count = others.len();
        for (index, (parent, start, length, queued, named, name, linked)) in (1..).zip(others) {
            let parent = if queued == 0 { 99 } else { 1 + parent.index(index) as u64 };
            let start = ORIGIN + start;
            let mut record = span(1 + index as u64, Some(parent), &format!("n{name}"), start, start + length);
            record.timing.queued = Duration::from_nanos(queued.saturating_sub(12));
            if named < 6 {
                record.facts.get_or_insert_default().depends_on = vec![format!("n{named}").into()];
            }
            if named == 7 || named == 2 {
                let to = span(1 + linked.index(count + 1) as u64, None, "", 0, 0);
                let link = Link { trace_id: to.trace_id, span_id: to.span_id, is_dependency: named == 7 };
                record.links = Some(vec![link].into());
            }
            records.push(record);
        }
        records
    })
}

fn any_options() -> impl Strategy<Value = RunOptions> {
    let children =
        prop::sample::select(vec![AsyncChildren::Clip, AsyncChildren::Inherit, AsyncChildren::Drop]);
    let orphans = prop::sample::select(vec![Orphans::Adopt, Orphans::Root, Orphans::Drop]);
    let skew = prop::sample::select(vec![
        Skew::Clip,
        Skew::Center { max: Duration::ZERO },
        Skew::Center { max: Duration::from_nanos(1000) },
    ]);
    let links = prop::sample::select(vec![Links::Ignore, Links::AsDeps]);
    let tolerance = prop::sample::select(vec![
        Tolerance::ZERO,
        Tolerance::Absolute(Duration::from_nanos(3)),
        Tolerance::PartsPerMillion(50_000),
    ]);
    (children, orphans, skew, links, tolerance).prop_map(
        |(async_children, orphans, skew, links, overlap_tolerance)| RunOptions {
            async_children,
            orphans,
            skew,
            links,
            overlap_tolerance,
        },
    )
}

/// Two or more tasks under one root, each with its weight, the earlier ones it waits for, and the time until it
/// starts after them; then the time until the root ends.
fn flat_runs(longest_lag: u64) -> impl Strategy<Value = (Run, DeclaredGraph)> {
    let task = (1..40u64, any::<u8>(), 0..=longest_lag);
    (prop::collection::vec(task, 2..=7), 0..=longest_lag).prop_filter_map("no edge", |(tasks, tail)| {
        let mut ends: Vec<u64> = Vec::new();
        let mut edges = Vec::new();
        let mut records = Vec::new();
        for (at, (weight, waits, lag)) in tasks.iter().enumerate() {
            let before: Vec<usize> = (0..at).filter(|before| waits >> before & 1 == 1).collect();
            let ready = before.iter().map(|before| ends[*before]).max().unwrap_or(0);
            let start = ready + lag;
            let mut record =
                span(2 + at as u64, Some(1), &format!("t{at}"), ORIGIN + start, ORIGIN + start + weight);
            let facts = record.facts.get_or_insert_default();
            facts.depends_on = before.iter().map(|before| format!("t{before}").into()).collect();
            // Those that name none waited for none.
            facts.tells_depends_on = true;
            edges.extend(before.iter().map(|before| (*before, at)));
            ends.push(start + weight);
            records.push(record);
        }
        if edges.is_empty() {
            return None;
        }
        let end = ends.iter().max().unwrap_or(&0) + tail;
        records.push(span(1, None, "root", ORIGIN, ORIGIN + end));
        let weights = tasks.iter().map(|(weight, ..)| Duration::from_nanos(*weight)).collect();
        Some((Run::from_records(records).unwrap(), DeclaredGraph::new(weights, &edges).unwrap()))
    })
}

/// The number in the name of a task; `None` for the root.
fn task(run: &Run, ix: SpanIx) -> Option<usize> {
    run.span(ix).record.name.strip_prefix('t')?.parse().ok()
}

proptest! {
    #[test]
    fn asking_for_many_groups_at_once_is_asking_for_each(records in declared_runs(), groups in 1usize..20) {
        grouped_replays::check(&Run::from_records(records).unwrap(), groups)?;
    }

    #[test]
    fn segments_tile_the_wall_time_however_it_is_read(records in declared_runs(), options in any_options()) {
        let run = Run::with_options(records, &options).unwrap();
        let root = run.span(run.root).clipped;
        let mut reached = root.start;
        for Segment { interval, .. } in critical_path(&run).segments {
            prop_assert_eq!(interval.start, reached);
            prop_assert!(!interval.is_empty());
            reached = interval.end;
        }
        prop_assert_eq!(reached, root.end);
    }

    #[test]
    fn order_of_arrival_changes_nothing_however_it_is_read(
        (records, shuffled) in declared_runs().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        options in any_options(),
    ) {
        prop_assert_eq!(Run::with_options(records, &options), Run::with_options(shuffled, &options));
    }

    #[test]
    fn another_day_changes_nothing_however_it_is_read(
        records in declared_runs(),
        options in any_options(),
        later in 0..u64::MAX / 4,
    ) {
        let later = Duration::from_nanos(later);
        let mut moved = records.clone();
        for record in &mut moved {
            record.start = record.start.saturating_add(later);
            record.end = record.end.saturating_add(later);
        }
        let path = |run: &Run, origin: Timestamp| -> Vec<_> {
            let segments = critical_path(run).segments.into_iter();
            segments.map(|it| (it.span, it.interval.start.saturating_since(origin), it.interval.duration())).collect()
        };
        let (run, moved) = (Run::with_options(records, &options).unwrap(), Run::with_options(moved, &options).unwrap());
        let origin = Timestamp::from_unix_nanos(ORIGIN);
        prop_assert_eq!(path(&run, origin), path(&moved, origin.saturating_add(later)));
        prop_assert_eq!(EventGraph::new(&run).slack(), EventGraph::new(&moved).slack());
        prop_assert_eq!(run.dependencies, moved.dependencies);
    }

    #[test]
    fn nothing_changed_takes_as_long_as_it_did_however_it_is_read(records in declared_runs(), options in any_options()) {
        let run = Run::with_options(records, &options).unwrap();
        prop_assert_eq!(EventGraph::new(&run).replay_with(&Changes::default()), run.wall());
    }

    #[test]
    fn the_path_has_no_slack_and_free_float_is_part_of_slack(records in declared_runs()) {
        let run = Run::from_records(records).unwrap();
        let graph = EventGraph::new(&run);
        let slack = graph.slack();
        for Segment { span, .. } in critical_path(&run).segments {
            if !run.span(span).is_synthetic {
                prop_assert_eq!(slack[span.index()], Some(Duration::ZERO));
            }
        }
        for (free, total) in graph.free_float().into_iter().zip(slack) {
            prop_assert_eq!(free.is_some(), total.is_some());
            prop_assert!(free <= total);
        }
    }

    #[test]
    fn the_path_of_a_replay_is_as_long_as_the_replay(
        records in declared_runs(),
        options in any_options(),
        chosen in any::<u32>(),
        limited in any::<u32>(),
        at_once in 1..4usize,
        kind in 0..6u8,
    ) {
        let run = Run::with_options(records, &options).unwrap();
        let graph = EventGraph::new(&run);
        let mut changes = if kind == 5 { Changes::as_the_graph_allows() } else { Changes::default() };
        let of = |mask: u32| run.indices().filter(move |ix| mask >> (ix.index() % 32) & 1 == 1);
        of(chosen).for_each(|ix| match kind {
            0 => changes.scale(ix, Scale { num: 3, den: 7 }),
            1 => changes.scale_with_below(&run, ix, Scale::FREE),
            2 => changes.unqueue(ix),
            3 => changes.close_gap_before(ix),
            _ => changes.scale(ix, Scale { num: 5, den: 3 }),
        });
        if kind != 5 && limited % 2 == 0 {
            changes.limit(of(limited), at_once);
        }
        let told: Duration = graph.replayed_path(&changes).segments.iter().map(|segment| segment.length).sum();
        prop_assert_eq!(told, graph.replay_with(&changes));
    }

    #[test]
    fn reports_add_up_to_the_wall_time_however_they_are_read(records in declared_runs(), run in any_options()) {
        for report in report_on(records, &ReportOptions { run, ..ReportOptions::default() }) {
            let wall = report.run.wall_ns;
            prop_assert_eq!(report.bounds.iter().map(|bound| bound.duration_ns).sum::<Duration>(), wall);
            let rows: Duration = report.critical_path.rows.iter().map(|row| row.duration_ns).sum();
            prop_assert_eq!(rows.saturating_add(report.totals.unattributed_ns), wall);
        }
    }

    #[test]
    fn a_flat_declared_run_replays_as_its_graph((run, graph) in flat_runs(0), nums in prop::collection::vec(0..5u32, 7)) {
        prop_assert_eq!(graph.span(), run.wall());
        let scale = |at: usize| Scale { num: nums[at], den: 2 };
        let replayed = EventGraph::new(&run).replay(|ix| task(&run, ix).map_or(Scale::SAME, scale));
        // Longest path by hand, in half nanoseconds.
        let mut ends = Vec::new();
        for (at, weight) in graph.weights().iter().enumerate() {
            let before = graph.edges().iter().filter(|(_, to)| *to == at).map(|(from, _)| ends[*from]).max();
            ends.push(before.unwrap_or(0) + weight.as_nanos() * u64::from(nums[at]));
        }
        let halves = ends.into_iter().max().unwrap_or(0);
        prop_assert_eq!(replayed, Duration::from_nanos(halves.div_ceil(2)));
    }

    #[test]
    fn the_graph_allows_its_span_and_no_less((run, graph) in flat_runs(9)) {
        let path = EventGraph::new(&run).replayed_path(&Changes::as_the_graph_allows());
        let allowed: Duration = path.segments.iter().map(|segment| segment.length).sum();
        // What the root does after the last of them is its own work.
        let last = run.children(run.root).iter().map(|ix| run.span(*ix).clipped.end).max().unwrap();
        let tail = run.span(run.root).clipped.end.saturating_since(last);
        prop_assert_eq!(allowed, graph.span().saturating_add(tail));
        prop_assert_eq!(path.inferred_edges, 0);
        prop_assert!(allowed <= run.wall());
    }

    #[test]
    fn the_graph_never_allows_longer_than_it_took(records in declared_runs(), options in any_options()) {
        let run = Run::with_options(records, &options).unwrap();
        prop_assert!(EventGraph::new(&run).replay_with(&Changes::as_the_graph_allows()) <= run.wall());
    }

    #[test]
    fn a_limit_over_ready_tasks_is_list_scheduling(weights in prop::collection::vec(1..40u64, 1..8), at_once in 1..5usize) {
        let longest = *weights.iter().max().unwrap_or(&0);
        let mut records = vec![span(1, None, "root", ORIGIN, ORIGIN + longest)];
        for (at, weight) in (0..).zip(&weights) {
            records.push(span(2 + at, Some(1), &format!("t{at}"), ORIGIN, ORIGIN + weight));
        }
        let run = Run::from_records(records).unwrap();
        let mut changes = Changes::default();
        changes.limit(run.children(run.root).iter().copied(), at_once);
        let weights = weights.into_iter().map(Duration::from_nanos).collect();
        let order: Vec<usize> = run.children(run.root).iter().filter_map(|ix| task(&run, *ix)).collect();
        let schedule = list_schedule(&DeclaredGraph::new(weights, &[]).unwrap(), &order, at_once.try_into().unwrap());
        prop_assert_eq!(EventGraph::new(&run).replay_with(&changes), schedule.makespan);
    }
}
