//! What the run's length would have been if spans had been faster: the run as a graph of starts and ends.
//!
//! Every blocking span has two events, its start and its end. Within one parent they depend on each other so:
//!
//! * a child starts a fixed *lag* after its **base**: the latest end among the siblings that had ended by then, or
//!   the parent's start if none had;
//! * the parent ends a fixed *tail* after the latest end among its children, or after its own start.
//!
//! Lags and tails are the parent's own time; a leaf's own time is all of it. Changing own times and letting the
//! events happen again, in their old order, gives the new length. Unchanged, it gives the old one exactly.
//!
//! It is a prediction from an order inferred from time: a sibling that happened to end before another began counts
//! as its predecessor. True dependencies are among the inferred ones, so what speeding up would save is, if
//! anything, estimated too low. Spans without length and detached spans hold nobody up and take no part.

use crate::run::{Run, SpanIx};
use crate::time::{Duration, Timestamp};

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
}

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

impl<'r> EventGraph<'r> {
    /// The graph of a run. O(n log n); every replay afterwards is O(n).
    pub fn new(run: &'r Run) -> Self {
        let mut moments = Vec::with_capacity(run.spans.len() * 2);
        for ix in run.indices().filter(|ix| run.span(*ix).is_blocking()) {
            let span = run.span(ix);
            let earliest = span.parent.map_or(span.clipped.start, |parent| run.span(parent).clipped.start);
            let creation = span.record.start.max(earliest);
            if creation < span.clipped.start {
                moments.push((creation, EventKind::Creation, ix));
                moments.push((span.clipped.start, EventKind::QueuedStart, ix));
            } else {
                moments.push((span.clipped.start, EventKind::Start, ix));
            }
            moments.push((span.clipped.end, EventKind::End, ix));
        }
        // At one instant ends come first, because who starts then may have waited for them; among ends children
        // come before parents, among starts parents before children. A parent's position is below its children's.
        moments.sort_unstable_by_key(|&(at, kind, ix)| match kind {
            EventKind::End => (at, 0, usize::MAX - ix.index()),
            _ => (at, 1, ix.index()),
        });

        let mut base = vec![Timestamp::EPOCH; run.spans.len()];
        let events = moments.into_iter().map(|(at, kind, span)| {
            let parent = run.span(span).parent;
            let since = match kind {
                EventKind::End => Some(span),
                _ => parent,
            };
            let own_time = since.map_or(Duration::ZERO, |ix| at.saturating_since(base[ix.index()]));
            match kind {
                EventKind::Creation => {}
                EventKind::QueuedStart | EventKind::Start => base[span.index()] = at,
                EventKind::End => {
                    if let Some(parent) = parent {
                        base[parent.index()] = at;
                    }
                }
            }
            Event { kind, span, parent, own_time }
        });
        EventGraph { run, events: events.collect() }
    }

    /// The wall time if every span's own time were scaled so; rounded half up once, at the end.
    ///
    /// With scales of at most 1 it is at most the wall time, and falls short of it by at most what the scales take
    /// from the critical path. Larger scales never make it shorter. O(n).
    pub fn replay(&self, scale: impl Fn(SpanIx) -> Scale) -> Duration {
        self.happen_again(scale, |_| false)
    }

    /// The wall time if the spans for which `which` holds had never been queued: each runs from its creation on,
    /// after the siblings that had ended by then. Nothing else changes. O(n).
    pub fn replay_without_queueing(&self, which: impl Fn(SpanIx) -> bool) -> Duration {
        self.happen_again(|_| Scale::SAME, which)
    }

    /// How many spans were taken to wait for a sibling, because it had ended when they started. O(n).
    pub fn inferred_edges(&self) -> u64 {
        let mut has_ended_child = vec![false; self.run.spans.len()];
        let mut edges = 0u64;
        for event in &self.events {
            let Some(parent) = event.parent else { continue };
            match event.kind {
                EventKind::End => has_ended_child[parent.index()] = true,
                EventKind::Start | EventKind::QueuedStart => {
                    edges += u64::from(has_ended_child[parent.index()])
                }
                EventKind::Creation => {}
            }
        }
        edges
    }

    fn happen_again(
        &self,
        scale: impl Fn(SpanIx) -> Scale,
        starts_at_creation: impl Fn(SpanIx) -> bool,
    ) -> Duration {
        // Of each span the latest of its start and its children's ends so far; in the end, its own end.
        let mut latest = vec![Fixed::default(); self.run.spans.len()];
        for event in &self.events {
            let skipped = match event.kind {
                EventKind::Creation => !starts_at_creation(event.span),
                EventKind::QueuedStart => starts_at_creation(event.span),
                EventKind::Start | EventKind::End => false,
            };
            if skipped {
                continue;
            }
            let span = event.span.index();
            if event.kind == EventKind::End {
                latest[span] = latest[span].plus_scaled(event.own_time, scale(event.span));
                if let Some(parent) = event.parent {
                    latest[parent.index()] = latest[parent.index()].max(latest[span]);
                }
            } else if let Some(parent) = event.parent {
                latest[span] = latest[parent.index()].plus_scaled(event.own_time, scale(parent));
            }
        }
        latest[self.run.root.index()].rounded()
    }
}

/// Time since the start of the run in 2⁻³² ns. With whole nanoseconds, a parent of a thousand children would gather
/// a thousand rounding errors.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
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
