//! What the run's length would have been if something had been different: the events happen again, changed.
//!
//! One set of [`Changes`] may hold several; they are replayed together, because savings do not add up. A replay is a
//! prediction: it keeps the order in which things happened, and knows only what the [event graph](super::event_graph)
//! knows of who waited for whom.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::event_graph::{Event, EventGraph, EventKind};
use crate::hashing::{QuickMap, QuickSet};
use crate::run::{DependencyUse, Run, SpanIx};
use crate::time::Duration;

/// A factor for a span's own time: `num / den`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// What to multiply by.
    pub num: u32,
    /// What to divide by; zero counts as one.
    pub den: u32,
}

impl Scale {
    /// No time at all.
    pub const FREE: Scale = Scale { num: 0, den: 1 };
    /// As it was.
    pub const SAME: Scale = Scale { num: 1, den: 1 };

    /// So many times faster.
    pub const fn faster(times: u32) -> Self {
        Scale { num: 1, den: times }
    }

    /// What brings `from` to `to`, within one part in two thousand million.
    pub fn between(from: Duration, to: Duration) -> Self {
        let (from, to) = (from.as_nanos(), to.as_nanos());
        let excess = (u64::BITS - from.max(to).leading_zeros()).saturating_sub(u32::BITS);
        let cut = |nanos: u64| u32::try_from(nanos >> excess).unwrap_or(u32::MAX);
        Scale { num: cut(to), den: cut(from) }
    }
}

/// What is different in a replay. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// In order of the calls: of two for one span the later counts.
    scales: Vec<(SpanIx, Scale)>,
    unqueued: QuickSet<SpanIx>,
    limits: Vec<usize>,
    limit_of: QuickMap<SpanIx, usize>,
    alongside: QuickMap<SpanIx, SpanIx>,
    no_gap: QuickSet<SpanIx>,
    only_what_the_graph_demands: bool,
}

impl Changes {
    /// Scales the own time of a span. A later call for the same span wins.
    pub fn scale(&mut self, span: SpanIx, scale: Scale) {
        self.scales.push((span, scale));
    }

    /// Takes over what is different in `other`, too.
    pub fn merge(&mut self, other: &Changes) {
        let offset = self.limits.len();
        self.scales.extend(&other.scales);
        self.unqueued.extend(&other.unqueued);
        self.limits.extend(&other.limits);
        self.limit_of.extend(other.limit_of.iter().map(|(span, limit)| (*span, limit + offset)));
        self.alongside.extend(&other.alongside);
        self.no_gap.extend(&other.no_gap);
        self.only_what_the_graph_demands |= other.only_what_the_graph_demands;
    }

    /// How many limits are inside each other at most.
    fn nested_limits(&self, run: &Run) -> usize {
        if self.limits.is_empty() {
            return 0;
        }
        // Of each span the limit that holds it or what is around it, and how many are around that.
        let mut around: Vec<(Option<usize>, usize)> = vec![(None, 0); run.spans.len()];
        for ix in run.indices() {
            let (outer, depth) = run.span(ix).parent.map_or((None, 0), |parent| around[parent.index()]);
            around[ix.index()] = match self.limit_of.get(&ix) {
                Some(limit) if Some(*limit) != outer => (Some(*limit), depth + 1),
                _ => (outer, depth),
            };
        }
        around.iter().map(|(_, depth)| *depth).max().unwrap_or(0)
    }

    /// The scale of each span; empty if none is scaled.
    fn scale_by_span(&self, run: &Run) -> Vec<Scale> {
        if self.scales.is_empty() {
            return Vec::new();
        }
        let mut by_span = vec![Scale::SAME; run.spans.len()];
        for (span, scale) in &self.scales {
            by_span[span.index()] = *scale;
        }
        by_span
    }

    /// Scales the own time of a span and of everything below it.
    pub fn scale_with_below(&mut self, run: &Run, span: SpanIx, scale: Scale) {
        let mut open = vec![span];
        while let Some(ix) = open.pop() {
            self.scale(ix, scale);
            open.extend(run.children(ix));
        }
    }

    /// Lets a span run from its creation on: after the siblings that had ended by then, or those it declared to wait
    /// for.
    pub fn unqueue(&mut self, span: SpanIx) {
        self.unqueued.insert(span);
    }

    /// Runs these spans at most `at_once` at a time, each as soon as one of those before it makes room, in the order
    /// in which they started (list scheduling). Of spans inside each other the outer one counts. A span that was not seen queueing counts as ready when the first of
    /// them beside it started. At least one runs.
    pub fn limit(&mut self, spans: impl IntoIterator<Item = SpanIx>, at_once: usize) {
        let limit = self.limits.len();
        self.limits.push(at_once.max(1));
        self.limit_of.extend(spans.into_iter().map(|span| (span, limit)));
    }

    /// Starts `span` when its sibling `with` starts, which must have started before it.
    pub fn start_with(&mut self, span: SpanIx, with: SpanIx) {
        self.alongside.insert(span, with);
    }

    /// Takes away the time its parent took between what `span` waited for and its start.
    pub fn close_gap_before(&mut self, span: SpanIx) {
        self.no_gap.insert(span);
    }

    /// Leaves only what the graph demands: nothing queues, and a span that declared what it waits for, be it nothing,
    /// starts at once when that is over. Where a span declared nothing, the order that was seen still counts. The
    /// length of that is the *span* of the graph, T∞, as far as it was declared: no number of workers makes the run
    /// shorter.
    pub fn as_the_graph_allows() -> Self {
        Changes { only_what_the_graph_demands: true, ..Changes::default() }
    }
}

/// A stretch of the critical path of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayedSegment {
    /// The span that is charged.
    pub span: SpanIx,
    /// From the start of the run.
    pub start: Duration,
    /// How long it is; never zero.
    pub length: Duration,
}

/// The critical path of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayedPath {
    /// In time order.
    pub segments: Vec<ReplayedSegment>,
    /// How many of its steps follow a sibling by the order of time alone.
    pub inferred_edges: u64,
}

impl EventGraph<'_> {
    /// The wall time if every span's own time were scaled so; rounded half up once, at the end.
    ///
    /// With scales of at most 1 it is at most the wall time, and falls short of it by at most what the scales take
    /// from the critical path. Larger scales never make it shorter. O(n).
    pub fn replay(&self, scale: impl Fn(SpanIx) -> Scale) -> Duration {
        Replay::new(self, &Changes::default(), QuickMap::default()).run_through(scale).wall()
    }

    /// The wall time if the spans for which `which` holds had never been queued. Nothing else changes. O(n).
    pub fn replay_without_queueing(&self, which: impl Fn(SpanIx) -> bool) -> Duration {
        let mut changes = Changes::default();
        let queued = self.events.iter().filter(|event| event.kind == EventKind::Creation);
        queued.map(|event| event.span).filter(|ix| which(*ix)).for_each(|ix| changes.unqueue(ix));
        self.replay_with(&changes)
    }

    /// The wall time with these changes. O(n log n) where something is limited, else O(n).
    pub fn replay_with(&self, changes: &Changes) -> Duration {
        self.settled(changes).wall()
    }

    /// The critical path of the run with these changes; its segments add up to the wall time.
    pub fn replayed_path(&self, changes: &Changes) -> ReplayedPath {
        self.settled(changes).path()
    }

    fn settled<'c>(&'c self, changes: &'c Changes) -> Replay<'c> {
        let scales = changes.scale_by_span(self.run);
        let scale = |ix: SpanIx| scales.get(ix.index()).copied().unwrap_or(Scale::SAME);
        let mut replay = Replay::new(self, changes, QuickMap::default()).run_through(scale);
        // How long a limited span takes does not depend on when it starts, unless another limit is inside it: then
        // the inner ones have to be settled first.
        for _ in 0..changes.nested_limits(self.run) {
            let length = |span: &SpanIx| {
                let at = span.index();
                (*span, Fixed(replay.ends[at].0.saturating_sub(replay.starts[at].0)))
            };
            let lengths = changes.limit_of.keys().map(length).collect();
            replay = Replay::new(self, changes, lengths).run_through(scale);
        }
        replay
    }
}

/// What a start or an end came right after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The start of the parent, or its own start.
    Start,
    /// The end of a sibling, or of a child.
    EndOf(SpanIx),
    /// The start of a sibling.
    StartOf(SpanIx),
}

/// One replay: when everything starts and ends, and why then.
struct Replay<'c> {
    graph: &'c EventGraph<'c>,
    changes: &'c Changes,
    /// How long limited spans take.
    lengths: QuickMap<SpanIx, Fixed>,
    starts: Vec<Fixed>,
    ends: Vec<Fixed>,
    /// Of each span the latest of its start and its children's ends so far, and whose that is.
    latest: Vec<(Fixed, Cause)>,
    start_causes: Vec<Cause>,
    /// When queued spans were created, and right after what.
    creations: Vec<(Fixed, Cause)>,
    /// The limit that holds each span or the nearest one above it; empty where nothing is limited.
    limit_around: Vec<Option<usize>>,
    /// When each limited span that runs makes room.
    rooms: Vec<BinaryHeap<Reverse<(Fixed, SpanIx)>>>,
    /// The first limited span to start under each parent.
    first_limited: QuickMap<(usize, SpanIx), (Fixed, Cause)>,
    /// What spans declared to wait for that are no siblings, where only the graph counts.
    elsewhere: QuickMap<SpanIx, Vec<SpanIx>>,
}

impl<'c> Replay<'c> {
    fn new(graph: &'c EventGraph<'c>, changes: &'c Changes, lengths: QuickMap<SpanIx, Fixed>) -> Self {
        let spans = graph.run.spans.len();
        let mut replay = Replay {
            graph,
            changes,
            lengths,
            starts: vec![Fixed::default(); spans],
            ends: vec![Fixed::default(); spans],
            latest: vec![(Fixed::default(), Cause::Start); spans],
            start_causes: vec![Cause::Start; spans],
            creations: Vec::new(),
            limit_around: Vec::new(),
            rooms: changes.limits.iter().map(|_| BinaryHeap::new()).collect(),
            first_limited: QuickMap::default(),
            elsewhere: QuickMap::default(),
        };
        if graph.events.iter().any(|event| event.kind == EventKind::Creation) {
            replay.creations = vec![(Fixed::default(), Cause::Start); spans];
        }
        if !changes.limits.is_empty() {
            replay.limit_around = vec![None; spans];
            for ix in graph.run.indices() {
                let above = graph.run.span(ix).parent.and_then(|parent| replay.limit_around[parent.index()]);
                replay.limit_around[ix.index()] = changes.limit_of.get(&ix).copied().or(above);
            }
        }
        if changes.only_what_the_graph_demands {
            for dependency in &graph.run.dependencies {
                if dependency.used == DependencyUse::Elsewhere {
                    replay.elsewhere.entry(dependency.span).or_default().push(dependency.on);
                }
            }
        }
        replay
    }

    fn run_through(mut self, scale: impl Fn(SpanIx) -> Scale) -> Self {
        for event in &self.graph.events {
            match (event.kind, event.parent) {
                (EventKind::End, parent) => {
                    let span = event.span.index();
                    let tail = event.own_time;
                    self.ends[span] = self.latest[span].0.plus_scaled(tail, scale(event.span));
                    if let Some(parent) = parent {
                        let latest = &mut self.latest[parent.index()];
                        if self.ends[span] > latest.0 {
                            *latest = (self.ends[span], Cause::EndOf(event.span));
                        }
                    }
                }
                (EventKind::Creation, Some(parent)) => {
                    let (latest, cause) = self.latest[parent.index()];
                    let created = latest.plus_scaled(event.own_time, scale(parent));
                    self.creations[event.span.index()] = (created, cause);
                }
                (_, Some(parent)) => {
                    let (start, cause) = self.start(event, parent, &scale);
                    let span = event.span.index();
                    self.starts[span] = start;
                    self.start_causes[span] = cause;
                    self.latest[span] = (start, Cause::Start);
                }
                (_, None) => {}
            }
        }
        self
    }

    /// When a span starts, and right after what.
    fn start(&mut self, event: &Event, parent: SpanIx, scale: &impl Fn(SpanIx) -> Scale) -> (Fixed, Cause) {
        let changes = self.changes;
        let span = event.span;
        if let Some(with) = changes.alongside.get(&span) {
            return (self.starts[with.index()], Cause::StartOf(*with));
        }
        let base = self.base(span, parent);
        let created = || self.creations[span.index()];
        let is_queued = event.kind == EventKind::QueuedStart;
        // What is inside a limited span runs on its room.
        let limit =
            changes.limit_of.get(&span).filter(|limit| self.limit_around[parent.index()] != Some(**limit));
        if let Some(limit) = limit {
            let ready = match is_queued {
                true => created(),
                false => self.first_under(*limit, event, parent, base, scale),
            };
            let ready = self.after_declared(span, ready);
            return self.take_room(*limit, span, ready);
        }
        let skips_queue = changes.unqueued.contains(&span) || changes.only_what_the_graph_demands;
        if self.starts_at_once(span) {
            return base;
        }
        if is_queued && skips_queue {
            return self.after_declared(span, created());
        }
        let lag = if changes.no_gap.contains(&span) { Duration::ZERO } else { event.own_time };
        (base.0.plus_scaled(lag, scale(parent)), base.1)
    }

    /// The point from which the lag before a span counts.
    fn base(&self, span: SpanIx, parent: SpanIx) -> (Fixed, Cause) {
        let declared = self.graph.run.predecessors(span);
        if declared.is_empty() && !self.starts_at_once(span) {
            return self.latest[parent.index()];
        }
        let elsewhere = self.elsewhere.get(&span).map_or(&[][..], Vec::as_slice);
        let parent_start = (self.starts[parent.index()], Cause::Start);
        declared.iter().chain(elsewhere).fold(parent_start, |base, before| self.not_before(base, *before))
    }

    fn not_before(&self, at: (Fixed, Cause), before: SpanIx) -> (Fixed, Cause) {
        let end = self.ends[before.index()];
        if end > at.0 { (end, Cause::EndOf(before)) } else { at }
    }

    fn after_declared(&self, span: SpanIx, at: (Fixed, Cause)) -> (Fixed, Cause) {
        let declared = self.graph.run.predecessors(span);
        declared.iter().fold(at, |at, before| self.not_before(at, *before))
    }

    /// When limited spans that were not seen queueing are ready: with the first of them under their parent.
    fn first_under(
        &mut self,
        limit: usize,
        event: &Event,
        parent: SpanIx,
        base: (Fixed, Cause),
        scale: &impl Fn(SpanIx) -> Scale,
    ) -> (Fixed, Cause) {
        let first = (base.0.plus_scaled(event.own_time, scale(parent)), base.1);
        *self.first_limited.entry((limit, parent)).or_insert(first)
    }

    fn take_room(&mut self, limit: usize, span: SpanIx, ready: (Fixed, Cause)) -> (Fixed, Cause) {
        let Some(rooms) = self.rooms.get_mut(limit) else { return ready };
        let is_full = rooms.len() >= self.changes.limits[limit];
        let freed = if is_full { rooms.pop() } else { None };
        let start = match freed {
            Some(Reverse((free, by))) if free > ready.0 => (free, Cause::EndOf(by)),
            _ => ready,
        };
        let length = self.lengths.get(&span).copied().unwrap_or_default();
        rooms.push(Reverse((Fixed(start.0.0.saturating_add(length.0)), span)));
        start
    }

    /// Whether a span starts as soon as what it declared to wait for is over, because nothing else is demanded.
    fn starts_at_once(&self, span: SpanIx) -> bool {
        self.changes.only_what_the_graph_demands && declares(self.graph.run, &self.elsewhere, span)
    }

    fn wall(&self) -> Duration {
        self.ends[self.graph.run.root.index()].rounded()
    }

    fn path(&self) -> ReplayedPath {
        let run = self.graph.run;
        let mut backwards = Vec::new();
        let mut inferred_edges = 0u64;
        let mut until = self.wall();
        let mut charge = |span: SpanIx, since: Fixed| {
            let start = since.rounded().min(until);
            if start < until {
                backwards.push(ReplayedSegment { span, start, length: until.saturating_sub(start) });
                until = start;
            }
        };
        // Every step goes to the end of a child, or to the start of the span, and never to an event seen before.
        let (mut at, mut is_at_end) = (run.root, true);
        // Limits inside limits can hold each other up in a ring; no path is longer than this.
        for _ in 0..2 * run.spans.len() + 2 {
            if is_at_end {
                let (since, cause) = self.latest[at.index()];
                charge(at, since);
                match cause {
                    Cause::EndOf(child) => at = child,
                    _ => is_at_end = false,
                }
                continue;
            }
            let Some(parent) = run.span(at).parent else { break };
            match self.start_causes[at.index()] {
                Cause::Start => {
                    charge(parent, self.starts[parent.index()]);
                    at = parent;
                }
                Cause::EndOf(before) => {
                    inferred_edges += u64::from(!declares(run, &self.elsewhere, at));
                    charge(parent, self.ends[before.index()]);
                    (at, is_at_end) = (before, true);
                }
                Cause::StartOf(with) => at = with,
            }
        }
        backwards.reverse();
        ReplayedPath { segments: backwards, inferred_edges }
    }
}

/// Whether a span declared what it waits for, be it nothing.
fn declares(run: &Run, elsewhere: &QuickMap<SpanIx, Vec<SpanIx>>, span: SpanIx) -> bool {
    let waits_for_nothing = || {
        let facts = run.span(span).record.facts.as_ref();
        facts.is_some_and(|facts| facts.tells_depends_on && facts.depends_on.is_empty())
    };
    !run.predecessors(span).is_empty() || elsewhere.contains_key(&span) || waits_for_nothing()
}

/// Time since the start of the run in 2⁻³² ns. With whole nanoseconds, a parent of a thousand children would gather
/// a thousand rounding errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Fixed(u128);

impl Fixed {
    const FRACTION_BITS: u32 = 32;

    fn plus_scaled(self, own_time: Duration, scale: Scale) -> Self {
        let nanos = u128::from(own_time.as_nanos());
        let scaled = match scale {
            Scale { num: 0, .. } => 0,
            Scale { num, den } if num == den => nanos << Self::FRACTION_BITS,
            // Exactly 64 + 32 + 32 bits at most.
            Scale { num, den } => (nanos << Self::FRACTION_BITS) * u128::from(num) / u128::from(den.max(1)),
        };
        Fixed(self.0.saturating_add(scaled))
    }

    fn rounded(self) -> Duration {
        let half = 1 << (Self::FRACTION_BITS - 1);
        let nanos = self.0.saturating_add(half) >> Self::FRACTION_BITS;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
