//! The run as a graph of starts and ends, from which it can be made to happen again with something changed.
//!
//! Every blocking span has two events, its start and its end. Within one parent they depend on each other so:
//!
//! * a child starts a fixed *lag* after its **base**: the latest end among the siblings it declared to wait for;
//!   where it declared none, among the siblings that had ended by then; or the parent's start;
//! * the parent ends a fixed *tail* after the latest end among its children, or after its own start.
//!
//! Lags and tails are the parent's own time; a leaf's own time is all of it. [Replaying](super::replay) the events
//! with other own times, in their old order, gives the new length. Unchanged, it gives the old one exactly.
//!
//! Where nothing is declared, it is a prediction from an order inferred from time: a sibling that happened to end
//! before another began counts as its predecessor. True dependencies are among the inferred ones, so what speeding
//! up would save is, if anything, estimated too low. Spans without length and detached spans hold nobody up and
//! take no part.

use crate::run::{Run, SpanIx};
use crate::time::{Duration, Timestamp};

/// The starts and ends of a run, in an order in which each comes after all it depends on.
#[derive(Clone, Debug)]
pub struct EventGraph<'r> {
    pub(super) run: &'r Run,
    pub(super) events: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    pub(super) span: SpanIx,
    pub(super) parent: Option<SpanIx>,
    /// For an end, the span's tail; otherwise the lag, which is its parent's own time.
    pub(super) own_time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// A queued span was created: it could have started here if nothing had queued it.
    Creation,
    /// A queued span started.
    QueuedStart,
    /// A span that was not queued started.
    Start,
    /// A span ended.
    End,
}

/// An event in one number, so that events of one instant are sorted by comparing numbers. With the instant before it,
/// all are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u64);

impl Rank {
    const NOT_AN_END: u64 = 1 << 40;

    fn of(kind: EventKind, ix: SpanIx) -> Self {
        let at = ix.index() as u64;
        Rank(match kind {
            EventKind::End => Self::NOT_AN_END - 1 - at,
            EventKind::Creation => Self::NOT_AN_END | at << 2,
            EventKind::QueuedStart => Self::NOT_AN_END | at << 2 | 1,
            EventKind::Start => Self::NOT_AN_END | at << 2 | 2,
        })
    }

    fn event(self) -> (EventKind, SpanIx) {
        if self.0 < Self::NOT_AN_END {
            return (EventKind::End, SpanIx::new((Self::NOT_AN_END - 1 - self.0) as usize));
        }
        let kind = match self.0 & 3 {
            0 => EventKind::Creation,
            1 => EventKind::QueuedStart,
            _ => EventKind::Start,
        };
        (kind, SpanIx::new(((self.0 ^ Self::NOT_AN_END) >> 2) as usize))
    }
}

/// Since when a span that was queued could have run: since its creation, or since its parent ran. `None` if it was
/// not queued.
pub(crate) fn queued_since(run: &Run, ix: SpanIx) -> Option<Timestamp> {
    let span = run.span(ix);
    let parent = run.span(span.parent?);
    let since = span.record.start.max(parent.clipped.start);
    Some(since).filter(|since| *since < span.clipped.start)
}

impl<'r> EventGraph<'r> {
    /// The graph of a run. O(n log n); every replay afterwards is O(n).
    pub fn new(run: &'r Run) -> Self {
        // At one instant ends come first, because who starts then may have waited for them; among ends children
        // come before parents, among starts parents before children. A parent's position is below its children's.
        let moment =
            |at: Timestamp, Rank(rank): Rank| u128::from(at.as_unix_nanos()) << 64 | u128::from(rank);
        let mut moments: Vec<u128> = Vec::with_capacity(run.spans.len() * 2);
        for ix in run.indices().filter(|ix| run.span(*ix).is_blocking()) {
            let span = run.span(ix);
            if let Some(creation) = queued_since(run, ix) {
                moments.push(moment(creation, Rank::of(EventKind::Creation, ix)));
                moments.push(moment(span.clipped.start, Rank::of(EventKind::QueuedStart, ix)));
            } else {
                moments.push(moment(span.clipped.start, Rank::of(EventKind::Start, ix)));
            }
            moments.push(moment(span.clipped.end, Rank::of(EventKind::End, ix)));
        }
        // Stable, since it makes use of what stands in order, which is most; no two are equal.
        moments.sort();

        let mut base = vec![Timestamp::EPOCH; run.spans.len()];
        let events = moments.into_iter().map(|moment| {
            let (at, rank) = ((moment >> 64) as u64, (moment & u128::from(u64::MAX)) as u64);
            let (at, (kind, span)) = (Timestamp::from_unix_nanos(at), Rank(rank).event());
            let parent = run.span(span).parent;
            let declared = run.predecessors(span).iter().map(|before| run.span(*before).clipped.end).max();
            let since = match (kind, parent) {
                (EventKind::End, _) => base[span.index()],
                (EventKind::Start | EventKind::QueuedStart, Some(parent)) => {
                    declared.unwrap_or(base[parent.index()])
                }
                (_, Some(parent)) => base[parent.index()],
                (_, None) => at,
            };
            match kind {
                EventKind::Creation => {}
                EventKind::QueuedStart | EventKind::Start => base[span.index()] = at,
                EventKind::End => {
                    if let Some(parent) = parent {
                        base[parent.index()] = at;
                    }
                }
            }
            Event { kind, span, parent, own_time: at.saturating_since(since) }
        });
        EventGraph { run, events: events.collect() }
    }

    /// How many spans were taken to wait for a sibling, because it had ended when they started and they declared
    /// nothing. O(n).
    pub fn inferred_edges(&self) -> u64 {
        let mut has_ended_child = vec![false; self.run.spans.len()];
        let mut edges = 0u64;
        for event in &self.events {
            let Some(parent) = event.parent else { continue };
            match event.kind {
                EventKind::End => has_ended_child[parent.index()] = true,
                EventKind::Start | EventKind::QueuedStart => {
                    let is_declared = !self.run.predecessors(event.span).is_empty();
                    edges += u64::from(has_ended_child[parent.index()] && !is_declared);
                }
                EventKind::Creation => {}
            }
        }
        edges
    }
}
