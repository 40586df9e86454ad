//! What holds for every run, however odd its spans.

use std::collections::BTreeMap;

use longpole::analysis::critical_path::{Segment, critical_path};
use longpole::analysis::event_graph::EventGraph;
use longpole::analysis::replay::{Changes, Scale};
use longpole::analysis::time_breakdown::{peak_concurrency, self_times};
use longpole::histogram::{DurationStats, ExponentialHistogram};
use longpole::ids::SpanId;
use longpole::run::{Run, SpanIx};
use longpole::span_record::{SpanKind, SpanRecord};
use longpole::time::{Duration, Interval, Timestamp};
use proptest::prelude::*;

#[path = "support/grouped_replays.rs"]
mod grouped_replays;
#[path = "support/spans.rs"]
mod spans;
use spans::span;

const ORIGIN: u64 = 1_700_000_000_000_000_000;

/// Trees of up to 24 spans with names of their own; some start or end outside their parent, some queue.
fn trees() -> impl Strategy<Value = Vec<SpanRecord>> {
    let others = (any::<prop::sample::Index>(), 0..100u64, 0..60u64, 0..20u64);
    (50..100u64, prop::collection::vec(others, 0..24)).prop_map(|(wall, others)| {
        let mut records = vec![span(1, None, "n0", ORIGIN, ORIGIN + wall)];
        for (index, (parent, start, length, queued)) in (1..).zip(others) {
            let parent = 1 + parent.index(index) as u64;
            let start = ORIGIN + start;
            let mut record =
                span(1 + index as u64, Some(parent), &format!("n{index}"), start, start + length);
            // Most are not queued, as in most traces.
            record.timing.queued = Duration::from_nanos(queued.saturating_sub(12));
            records.push(record);
        }
        records
    })
}

/// Spans nobody should send: times anywhere, ids that repeat or are zero, any parent, any kind.
fn adversarial() -> impl Strategy<Value = Vec<SpanRecord>> {
    let time = prop_oneof![Just(0), Just(u64::MAX), Just(u64::MAX - 1), 0..20u64, any::<u64>()];
    let fields =
        (0..8u64, prop::option::of(0..10u64), 0..3u8, time.clone(), time.clone(), time, 0..6u64, 0..6u8);
    prop::collection::vec(fields, 1..20).prop_map(|all| {
        let record = |(id, parent, name, start, end, queued, kind, detached)| {
            let mut record = span(id, parent, &format!("n{name}"), start, end);
            record.kind = SpanKind::from_otlp(kind);
            record.timing.queued = Duration::from_nanos(queued);
            if detached == 0 {
                record.facts.get_or_insert_default().detached = true;
            }
            record
        };
        all.into_iter().map(record).collect()
    })
}

fn any_spans() -> impl Strategy<Value = Vec<SpanRecord>> {
    prop_oneof![trees(), adversarial()]
}

fn by_name<T>(run: &Run, value: impl Fn(SpanIx) -> T) -> BTreeMap<String, T> {
    run.indices().map(|ix| (run.span(ix).record.name.to_string(), value(ix))).collect()
}

/// Everything the analysis says about a run in which every span has a name of its own.
fn answers_by_name(run: &Run, origin: Timestamp) -> impl PartialEq + std::fmt::Debug {
    let self_times = self_times(run);
    let graph = EventGraph::new(run);
    let slack = graph.slack();
    let path: Vec<_> = critical_path(run)
        .segments
        .iter()
        .map(|Segment { span, interval }| {
            let start = interval.start.saturating_since(origin);
            (run.span(*span).record.name.to_string(), start, interval.duration())
        })
        .collect();
    let without = |ix| graph.replay(|other| if other == ix { Scale::FREE } else { Scale::SAME });
    let spans = by_name(run, |ix| (self_times[ix.index()], slack[ix.index()], without(ix)));
    (path, spans, run.warnings.clone())
}

fn path_time(run: &Run) -> Vec<Duration> {
    let mut time = vec![Duration::ZERO; run.spans.len()];
    for Segment { span, interval } in critical_path(run).segments {
        time[span.index()] = time[span.index()].saturating_add(interval.duration());
    }
    time
}

proptest! {
    #[test]
    fn segments_tile_the_wall_time(records in any_spans()) {
        let run = Run::from_records(records).unwrap();
        let root = run.span(run.root).interval();
        let mut reached = root.start;
        let mut before = None;
        for Segment { span, interval } in critical_path(&run).segments {
            prop_assert_eq!(interval.start, reached);
            prop_assert!(!interval.is_empty());
            prop_assert_ne!(Some(span), before);
            reached = interval.end;
            before = Some(span);
        }
        prop_assert_eq!(reached, root.end);
        prop_assert_eq!(run.wall(), root.duration());
    }

    #[test]
    fn asking_for_many_groups_at_once_is_asking_for_each(records in any_spans(), groups in 1usize..20) {
        grouped_replays::check(&Run::from_records(records).unwrap(), groups)?;
    }

    #[test]
    fn every_record_is_in_the_tree_once_and_after_its_parent(records in any_spans()) {
        let count = records.len();
        let run = Run::from_records(records).unwrap();
        let dropped = run.warnings.get(&longpole::run::Warning::DuplicateSpan).copied().unwrap_or(0);
        let made_up = u64::from(run.span(run.root).is_synthetic);
        prop_assert_eq!(run.spans.len() as u64, count as u64 - dropped + made_up);
        for ix in run.indices() {
            let parent = run.span(ix).parent;
            prop_assert_eq!(parent.is_none(), ix == run.root);
            prop_assert!(parent.is_none_or(|parent| parent < ix && run.children(parent).contains(&ix)));
        }
        let children: usize = run.indices().map(|ix| run.children(ix).len()).sum();
        prop_assert_eq!(children, run.spans.len() - 1);
    }

    #[test]
    fn order_of_arrival_changes_nothing(
        (records, shuffled) in any_spans().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        prop_assert_eq!(Run::from_records(records), Run::from_records(shuffled));
    }

    #[test]
    fn other_ids_change_nothing_by_name(
        (records, ids) in trees().prop_flat_map(|all| {
            let ids: Vec<u64> = (1..=all.len() as u64).collect();
            (Just(all), Just(ids).prop_shuffle())
        })
    ) {
        let rename = |id: SpanId| {
            let index = u64::from_be_bytes(id.to_bytes()) as usize - 1;
            SpanId::from_bytes((1000 + ids[index]).to_be_bytes())
        };
        let mut renamed = records.clone();
        for record in &mut renamed {
            record.span_id = rename(record.span_id);
            record.parent_id = record.parent_id.map(rename);
        }
        let origin = Timestamp::from_unix_nanos(ORIGIN);
        let (run, renamed) = (Run::from_records(records).unwrap(), Run::from_records(renamed).unwrap());
        prop_assert_eq!(answers_by_name(&run, origin), answers_by_name(&renamed, origin));
    }

    #[test]
    fn another_day_changes_nothing(records in trees(), later in 0..u64::MAX / 4) {
        let later = Duration::from_nanos(later);
        let mut moved = records.clone();
        for record in &mut moved {
            record.start = record.start.saturating_add(later);
            record.end = record.end.saturating_add(later);
        }
        let origin = Timestamp::from_unix_nanos(ORIGIN);
        let (run, moved) = (Run::from_records(records).unwrap(), Run::from_records(moved).unwrap());
        prop_assert_eq!(answers_by_name(&run, origin), answers_by_name(&moved, origin.saturating_add(later)));
    }

    #[test]
    fn a_replay_of_what_happened_takes_as_long_as_it_did(records in any_spans()) {
        let run = Run::from_records(records).unwrap();
        let graph = EventGraph::new(&run);
        prop_assert_eq!(graph.replay(|_| Scale::SAME), run.wall());
        prop_assert_eq!(graph.replay(|_| Scale { num: 7, den: 7 }), run.wall());
        prop_assert_eq!(graph.replay_without_queueing(|_| false), run.wall());
        prop_assert!(graph.replay_without_queueing(|_| true) <= run.wall());
    }

    #[test]
    fn faster_is_never_slower_and_saves_at_most_the_time_on_the_path(
        records in any_spans(),
        chosen in any::<u32>(),
    ) {
        let run = Run::from_records(records).unwrap();
        let graph = EventGraph::new(&run);
        let is_chosen = |ix: SpanIx| chosen >> (ix.index() % 32) & 1 == 1;
        let wall = |scale| graph.replay(|ix| if is_chosen(ix) { scale } else { Scale::SAME });
        let on_path: Duration =
            run.indices().zip(path_time(&run)).filter(|(ix, _)| is_chosen(*ix)).map(|(_, time)| time).sum();
        let mut before = run.wall();
        for scale in [Scale::faster(1), Scale { num: 9, den: 10 }, Scale::faster(2), Scale::faster(3), Scale::FREE] {
            let now = wall(scale);
            prop_assert!(now <= before, "{:?}", scale);
            prop_assert!(run.wall().saturating_sub(now) <= on_path, "{:?}", scale);
            before = now;
        }
        prop_assert_eq!(wall(Scale::faster(0)), run.wall());
        let slower = wall(Scale { num: 3, den: 2 });
        prop_assert!(slower >= run.wall());
    }

    #[test]
    fn lifting_a_limit_saves_at_most_what_was_queued(
        records in any_spans(),
        chosen in any::<u32>(),
        at_once in 1usize..6,
    ) {
        let run = Run::from_records(records).unwrap();
        let graph = EventGraph::new(&run);
        for parent in run.indices() {
            let created = |ix: SpanIx| run.span(ix).record.start.max(run.span(parent).clipped.start);
            let is_queued = |ix: SpanIx| run.span(ix).is_blocking() && created(ix) < run.span(ix).clipped.start;
            let children = run.children(parent).iter().copied();
            let set: Vec<SpanIx> =
                children.filter(|ix| is_queued(*ix) && chosen >> (ix.index() % 32) & 1 == 1).collect();
            let queued: Duration =
                set.iter().map(|ix| run.span(*ix).clipped.start.saturating_since(created(*ix))).sum();
            for at_once in [at_once, set.len()] {
                let mut change = Changes::default();
                change.limit(set.iter().copied(), at_once);
                let saved = run.wall().saturating_sub(graph.replay_with(&change));
                prop_assert!(saved <= queued, "{saved:?} of {queued:?}");
            }
        }
    }

    #[test]
    fn nothing_on_the_path_has_slack(records in any_spans()) {
        let run = Run::from_records(records).unwrap();
        let slack = EventGraph::new(&run).slack();
        for Segment { span, .. } in critical_path(&run).segments.into_iter().filter(|it| !run.span(it.span).is_synthetic) {
            prop_assert_eq!(slack[span.index()], Some(Duration::ZERO));
        }
    }

    #[test]
    fn slack_is_how_much_longer_a_leaf_can_take(records in trees()) {
        let run = Run::from_records(records).unwrap();
        let graph = EventGraph::new(&run);
        for (ix, slack) in run.indices().zip(graph.slack()) {
            let length = run.span(ix).clipped.duration();
            let is_leaf = run.children(ix).iter().all(|child| !run.span(*child).is_blocking());
            let Some(slack) = slack.filter(|_| is_leaf && ix != run.root) else { continue };
            let wall_with = |longer: u64| {
                let num = u32::try_from(length.as_nanos() + longer).unwrap();
                let scale = Scale { num, den: u32::try_from(length.as_nanos()).unwrap() };
                graph.replay(|other| if other == ix { scale } else { Scale::SAME })
            };
            prop_assert_eq!(wall_with(slack.as_nanos()), run.wall());
            prop_assert_eq!(wall_with(slack.as_nanos() + 1), run.wall().saturating_add(Duration::from_nanos(1)));
        }
    }

    #[test]
    fn self_time_is_at_most_the_duration_and_covers_what_children_leave(records in any_spans()) {
        let run = Run::from_records(records).unwrap();
        for (ix, self_time) in run.indices().zip(self_times(&run)) {
            let duration = run.span(ix).interval().duration();
            let children = run.children(ix).iter().map(|child| run.span(*child).interval().duration());
            prop_assert!(self_time <= duration);
            prop_assert!(self_time >= duration.saturating_sub(children.sum()));
        }
    }

    #[test]
    fn peak_concurrency_is_the_most_intervals_around_one_start(
        ends in prop::collection::vec((0..20u64, 0..8u64), 0..20)
    ) {
        let at = Timestamp::from_unix_nanos;
        let intervals: Vec<_> = ends.iter().map(|(start, length)| Interval::new(at(*start), at(start + length))).collect();
        let around = |instant| intervals.iter().filter(|it| it.start <= instant && instant < it.end).count() as u64;
        let expected = intervals.iter().map(|interval| around(interval.start)).max().unwrap_or(0);
        prop_assert_eq!(peak_concurrency(intervals.iter().copied()), expected);
    }

    #[test]
    fn merged_histograms_are_one_histogram(
        left in prop::collection::vec(any_duration(), 0..100),
        right in prop::collection::vec(any_duration(), 0..100),
    ) {
        let all = || left.iter().chain(&right).copied();
        let mut merged = histogram(left.iter().copied());
        merged.merge(&histogram(right.iter().copied()));
        prop_assert_eq!(merged, histogram(all()));
        let mut merged = stats(left.iter().copied());
        merged.merge(&stats(right.iter().copied()));
        prop_assert_eq!(&merged, &stats(all()));
        prop_assert_eq!(&merged, &stats(right.iter().chain(&left).copied()));
    }

    #[test]
    fn quantiles_are_near_the_value_of_that_rank(
        mut values in prop::collection::vec(any_duration(), 1..200),
        q in 0.0..=1.0f64,
    ) {
        let histogram = histogram(values.iter().copied());
        let stats = stats(values.iter().copied());
        values.sort_unstable();
        let exact = values[((q * values.len() as f64).ceil() as usize).max(1) - 1];
        let estimate = histogram.quantile(q).unwrap();
        let error = estimate.as_nanos().abs_diff(exact.as_nanos());
        prop_assert!(error as f64 <= exact.as_nanos() as f64 * 0.010_831 + 0.5, "{} for {}", estimate, exact);
        let expected = if values.len() <= DurationStats::EXACT { exact } else { estimate };
        prop_assert_eq!(stats.quantile(q), Some(expected));
    }
}

/// Of every order of magnitude alike.
fn any_duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..=64u32)
        .prop_map(|(bits, size)| Duration::from_nanos(bits.checked_shr(size).unwrap_or(0)))
}

fn histogram(durations: impl Iterator<Item = Duration>) -> ExponentialHistogram {
    let mut histogram = ExponentialHistogram::default();
    durations.for_each(|duration| histogram.record(duration));
    histogram
}

fn stats(durations: impl Iterator<Item = Duration>) -> DurationStats {
    let mut stats = DurationStats::default();
    durations.for_each(|duration| stats.record(duration));
    stats
}
