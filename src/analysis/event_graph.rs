//! What if some spans had been faster: a replay of the run under the order that was seen.
//!
//! Two events per span, its start S and its end E. Inside a parent, a child waits for every sibling that had ended
//! by the time it started, and the rest of the time before it is the parent's own:
//!
//! ```text
//!   parent  ----====----====--        base(c) = the latest end of a predecessor, else the parent's start
//!   a           ====                  lag(c)  = c's start − base(c)              parent's own time
//!   c               ----====          tail(p) = p's end − its last child's end   parent's own time
//! ```
//!
//! `S'(c) = max(S'(p), E' of predecessors) + f(p)·lag(c)`, `E'(p) = max(S'(p), E' of children) + f(p)·tail(p)`,
//! a leaf's `E' = S' + f·length`, where `f` scales a span's own time. With every `f` 1 each observed end is
//! reproduced exactly.
//!
//! It is a prediction. Predecessors inferred from time are more than the true ones, so savings are rather under-
//! than overestimated; a predecessor that hands over while it still runs is not seen.

use crate::run::{Run, SpanIx};
use crate::time::{Duration, Timestamp};

/// By how much a span's own time is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    numerator: u32,
    denominator: u32,
}

impl Scale {
    /// No time at all.
    pub const FREE: Scale = Scale { numerator: 0, denominator: 1 };
    /// As it was.
    pub const SAME: Scale = Scale { numerator: 1, denominator: 1 };

    /// So many times faster; zero counts as one.
    pub fn faster(times: u32) -> Scale {
        Scale { numerator: 1, denominator: times.max(1) }
    }
}

/// The events of a run and what each waits for.
#[derive(Debug)]
pub struct EventGraph<'r> {
    pub(super) run: &'r Run,
    /// Children of each span that block it, by start. Spans without length wait for nobody and nobody for them.
    pub(super) children: Vec<Vec<SpanIx>>,
    /// Every blocking span, each after its parent.
    pub(super) top_down: Vec<SpanIx>,
}

impl<'r> EventGraph<'r> {
    /// The graph of `run`. O(n).
    pub fn new(run: &'r Run) -> Self {
        let blocks =
            |ix: &SpanIx| *ix == run.root || !run.span(*ix).is_detached && !run.span(*ix).clipped.is_empty();
        let mut children: Vec<Vec<SpanIx>> = vec![Vec::new(); run.spans.len()];
        let top_down: Vec<SpanIx> = run.top_down().into_iter().filter(blocks).collect();
        for ix in &top_down {
            let blocking = &mut children[ix.index()];
            blocking.extend(run.children(*ix).iter().copied().filter(blocks));
            blocking.sort_by_key(|child| run.span(*child).clipped.start);
        }
        EventGraph { run, children, top_down }
    }

    /// How long the run would have taken with the own time of the chosen spans scaled. O(n log n).
    pub fn replay(&self, chosen: impl Fn(SpanIx) -> bool, scale: Scale) -> Duration {
        self.run_again(&chosen, scale, &|_| false)
    }

    /// How long the run would have taken had the chosen spans run as soon as they were created: each then waits
    /// only for what had ended before its creation. O(n log n).
    pub fn replay_without_queueing(&self, chosen: impl Fn(SpanIx) -> bool) -> Duration {
        self.run_again(&|_| false, Scale::SAME, &chosen)
    }

    /// How many spans were taken to wait for a sibling because it had ended when they started. O(n log n).
    pub fn inferred_edges(&self) -> u64 {
        let waits = |siblings: &Vec<SpanIx>| {
            let clipped = || siblings.iter().map(|ix| self.run.span(*ix).clipped);
            let Some(first_end) = clipped().map(|clipped| clipped.end).min() else { return 0 };
            clipped().filter(|clipped| clipped.start >= first_end).count() as u64
        };
        self.children.iter().map(waits).sum()
    }

    fn run_again(
        &self,
        chosen: &dyn Fn(SpanIx) -> bool,
        scale: Scale,
        unqueued: &dyn Fn(SpanIx) -> bool,
    ) -> Duration {
        let own = |ix: SpanIx, time: Duration| {
            let factor = if chosen(ix) { scale.numerator } else { scale.denominator };
            u128::from(time.as_nanos()) * u128::from(factor)
        };
        // Times are kept times the denominator, so that nothing is rounded on the way.
        let mut end_of: Vec<u128> = vec![0; self.run.spans.len()];
        let mut frames = vec![Replay::new(self, self.run.root, 0)];
        while let Some(frame) = frames.last_mut() {
            let span = frame.span;
            match frame.siblings.get(frame.next).copied() {
                Some(child) => {
                    frame.next += 1;
                    let ready = self.ready(child, unqueued(child), self.run.span(span).clipped.start);
                    let (base, predecessors_end) = frame.predecessors(self.run, &end_of, ready);
                    let lag = own(span, ready.saturating_since(base));
                    let start = frame.start.max(predecessors_end).saturating_add(lag);
                    frames.push(Replay::new(self, child, start));
                }
                None => {
                    let clipped = self.run.span(span).clipped;
                    let last = frame.last_observed_end(self.run);
                    let ended = frame.siblings.iter().map(|ix| end_of[ix.index()]).max().unwrap_or(0);
                    let tail = own(span, clipped.end.saturating_since(last));
                    end_of[span.index()] = frame.start.max(ended).saturating_add(tail);
                    frames.pop();
                }
            }
        }
        let denominator = u128::from(scale.denominator);
        let wall = (end_of[self.run.root.index()] + denominator / 2) / denominator;
        Duration::from_nanos(u64::try_from(wall).unwrap_or(u64::MAX))
    }

    /// When a span could have started to run.
    fn ready(&self, ix: SpanIx, unqueued: bool, not_before: Timestamp) -> Timestamp {
        let span = self.run.span(ix);
        let created = span.record.start.max(not_before).min(span.clipped.start);
        if unqueued { created } else { span.clipped.start }
    }
}

/// A span being replayed.
struct Replay {
    span: SpanIx,
    /// Its new start.
    start: u128,
    siblings: Vec<SpanIx>,
    next: usize,
    /// The siblings replayed so far by observed end: a prefix of these are a child's predecessors.
    ended: std::collections::BTreeMap<Timestamp, u128>,
    ended_up_to: usize,
}

impl Replay {
    fn new(graph: &EventGraph<'_>, span: SpanIx, start: u128) -> Self {
        let siblings = graph.children[span.index()].clone();
        Replay { span, start, siblings, next: 0, ended: std::collections::BTreeMap::new(), ended_up_to: 0 }
    }

    /// The latest observed end of a sibling that had ended by `ready`, and the latest replayed end of those.
    fn predecessors(&mut self, run: &Run, end_of: &[u128], ready: Timestamp) -> (Timestamp, u128) {
        // Siblings come by start, and one that had ended by `ready` started before it: all of them are replayed.
        for at in self.ended_up_to..self.next - 1 {
            let sibling = self.siblings[at];
            self.take_in(run.span(sibling).clipped.end, end_of[sibling.index()]);
        }
        self.ended_up_to = self.next - 1;
        let before = self.ended.range(..=ready).next_back();
        before.map_or((run.span(self.span).clipped.start, 0), |(end, replayed)| (*end, *replayed))
    }

    /// Keeps for each observed end the latest replayed end up to it, so that one look answers.
    fn take_in(&mut self, observed: Timestamp, replayed: u128) {
        let before = self.ended.range(..=observed).next_back().map_or(0, |(_, end)| *end);
        self.ended.insert(observed, before.max(replayed));
        let later = (std::ops::Bound::Excluded(observed), std::ops::Bound::Unbounded);
        for (_, end) in self.ended.range_mut(later) {
            if *end >= replayed {
                break;
            }
            *end = replayed;
        }
    }

    fn last_observed_end(&self, run: &Run) -> Timestamp {
        let ends = self.siblings.iter().map(|ix| run.span(*ix).clipped.end);
        ends.max().unwrap_or(run.span(self.span).clipped.start)
    }
}
