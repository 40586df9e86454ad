//! What set a run's length.
//!
//! Walk backwards from the end of the root. While the walk is in a span and reaches the end of a child that blocks
//! it, go down into that child; when it reaches the child's start, it is back in the span at that instant. Time
//! spent in a span itself is that span's.
//!
//! ```text
//!   root    ==================        root 0–2, a 2–8, root 8–10, c 10–16, root 16–18
//!   a         ======
//!   b           ====                  ended before a did: a child that ends earlier did not set the pace
//!   c                 ======
//! ```
//!
//! The segments tile the root: no gap, no overlap, their sum is the wall time. A sibling that is still running when
//! the chosen child starts is passed over: the child cannot have waited for it, so what launched the child is the
//! parent, and the time is the parent's. A child that ends at the very instant the next one starts is its
//! predecessor (the rule Jaeger's critical path has, with `<` made `<=`; coarse clocks make this the common case).

use crate::run::{Run, SpanIx};
use crate::time::{Interval, Timestamp};

/// A stretch of the critical path inside one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The span.
    pub span: SpanIx,
    /// When.
    pub interval: Interval,
}

/// The critical path of `run` in time order; neighbouring segments are of different spans.
///
/// Empty for a run without length. O(n log n) time, O(n) memory.
pub fn critical_path(run: &Run) -> Vec<Segment> {
    let live_children: Vec<u32> = run.indices().map(|ix| live_children(run, ix)).collect();
    let mut backwards: Vec<Segment> = Vec::new();
    let mut emit = |span: SpanIx, start: Timestamp, end: Timestamp| {
        if start >= end {
            return;
        }
        match backwards.last_mut() {
            Some(later) if later.span == span && later.interval.start == end => later.interval.start = start,
            _ => backwards.push(Segment { span, interval: Interval { start, end } }),
        }
    };
    let mut frames = vec![Frame::new(run, run.root, run.span(run.root).clipped.end, &live_children)];
    while let Some(frame) = frames.last_mut() {
        let start = run.span(frame.span).clipped.start;
        match frame.next_blocking(run) {
            Some(child) => {
                let clipped = run.span(child).clipped;
                let end = clipped.end.min(frame.at);
                emit(frame.span, end, frame.at);
                frame.at = clipped.start;
                frames.push(Frame::new(run, child, end, &live_children));
            }
            None => {
                emit(frame.span, start, frame.at);
                frames.pop();
            }
        }
    }
    backwards.reverse();
    backwards
}

/// A span the walk is in.
struct Frame {
    span: SpanIx,
    /// How far back the walk has come.
    at: Timestamp,
    /// Children that may block, last to end first.
    children: Vec<SpanIx>,
    next: usize,
}

impl Frame {
    fn new(run: &Run, span: SpanIx, at: Timestamp, live_children: &[u32]) -> Self {
        let blocks = |ix: &SpanIx| !run.span(*ix).is_detached && !run.span(*ix).clipped.is_empty();
        let mut children: Vec<SpanIx> = run.children(span).iter().copied().filter(blocks).collect();
        children.sort_by(|a, b| {
            let (one, other) = (run.span(*a), run.span(*b));
            (other.clipped.end.cmp(&one.clipped.end))
                .then(one.record.start.cmp(&other.record.start))
                .then(live_children[b.index()].cmp(&live_children[a.index()]))
                .then_with(|| one.record.name.cmp(&other.record.name))
                .then(one.record.span_id.cmp(&other.record.span_id))
                .then(one.ordinal.cmp(&other.ordinal))
        });
        Frame { span, at, children, next: 0 }
    }

    /// The child that ends last among those that end by now. One that ends later now ends later for good, since
    /// the walk only goes back.
    fn next_blocking(&mut self, run: &Run) -> Option<SpanIx> {
        while let Some(child) = self.children.get(self.next).copied() {
            self.next += 1;
            let clipped = run.span(child).clipped;
            if clipped.end <= self.at && clipped.start < self.at {
                return Some(child);
            }
        }
        None
    }
}

fn live_children(run: &Run, ix: SpanIx) -> u32 {
    run.children(ix).iter().filter(|child| !run.span(**child).is_detached).count() as u32
}
