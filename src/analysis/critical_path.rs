//! The critical path: the chain of work that had to be shorter for the run to be shorter.
//!
//! ```text
//! ms      0    10   20   30   40   50
//! root    =========================        path: root 0–4, fetch 4–20, root 20–22,
//! fetch     ========                             embed 22–44, root 44–50
//! parse     =====
//! embed              ===========
//! ```
//!
//! Walk backwards from the end of the root. Whenever the walk is in a span and comes to the end of a child the span
//! can have waited for, it goes down into that child; at the child's start it is back in the span. Time the walk
//! spends in a span itself is that span's. So at every instant one span is charged, and the segments tile the wall
//! time without a gap or an overlap: shares of the path add up to 1.
//!
//! A child that still runs when the chosen one starts is passed over: the chosen one cannot have waited for it. A
//! child may end at the very instant the next begins. Zero-length children own no time and hide nobody.
//!
//! Where several children end at the same instant, the walk takes the first to start, then the one with more
//! children, then the lesser name, then the lesser id.

use std::cmp::Reverse;

use crate::run::{Run, SpanIx};
use crate::time::{Interval, Timestamp};

/// A stretch of the critical path in one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The span that is charged.
    pub span: SpanIx,
    /// The time; never empty.
    pub interval: Interval,
}

/// The critical path of a run, in time order. It tiles the root's interval exactly, each stretch as long as it can
/// be; empty if the root takes no time.
///
/// A span starts at its first running: the time it was queued belongs to the path of its parent.
pub fn critical_path(run: &Run) -> Vec<Segment> {
    let mut walk = Walk { run, blocking_children: blocking_children(run), candidates: Vec::new() };
    let mut backwards = Vec::new();
    let mut open = vec![walk.enter(run.root)];
    while let Some(frame) = open.last_mut() {
        let span = frame.span;
        let child = walk.next_child(frame);
        let stays_until = child.map_or(run.span(span).clipped.start, |child| run.span(child).clipped.end);
        if stays_until < frame.now {
            backwards.push(Segment { span, interval: Interval::new(stays_until, frame.now) });
        }
        match child {
            Some(child) => {
                frame.now = run.span(child).clipped.start;
                open.push(walk.enter(child));
            }
            None => {
                walk.candidates.truncate(frame.first);
                open.pop();
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
    now: Timestamp,
    /// Its children in `Walk::candidates`, to the end of it while this frame is on top.
    first: usize,
    /// The next of them to look at.
    next: usize,
}

struct Walk<'r> {
    run: &'r Run,
    blocking_children: Vec<u32>,
    /// The children of all open spans, latest end first.
    candidates: Vec<SpanIx>,
}

impl Walk<'_> {
    fn enter(&mut self, span: SpanIx) -> Frame {
        let run = self.run;
        let first = self.candidates.len();
        let blocking = run.children(span).iter().filter(|child| run.span(**child).is_blocking());
        self.candidates.extend(blocking);
        self.candidates[first..].sort_unstable_by_key(|&ix| {
            let child = run.span(ix);
            let record = &child.record;
            let fan_out = Reverse(self.blocking_children[ix.index()]);
            (Reverse(child.clipped.end), record.start, fan_out, &record.name, record.span_id, ix)
        });
        Frame { span, now: run.span(span).clipped.end, first, next: first }
    }

    /// The child the span was waiting for at this point. One that is passed over can never come again, because the
    /// point only moves back.
    fn next_child(&self, frame: &mut Frame) -> Option<SpanIx> {
        while let Some(&child) = self.candidates.get(frame.next) {
            frame.next += 1;
            if self.run.span(child).clipped.end <= frame.now {
                return Some(child);
            }
        }
        None
    }
}

/// How many children of each span are not detached.
fn blocking_children(run: &Run) -> Vec<u32> {
    let mut counts = vec![0; run.spans.len()];
    for span in &run.spans {
        if let Some(parent) = span.parent
            && !span.is_detached
        {
            counts[parent.index()] += 1;
        }
    }
    counts
}
