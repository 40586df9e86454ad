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
//!
//! A child that declared what it waited for sends the walk there: to the one of those that ended last. Time between
//! that end and the child's start is the parent's.

use std::cmp::Reverse;

use crate::run::{AsyncChildren, Run, SpanIx};
use crate::time::{Duration, Interval, Timestamp};

/// A stretch of the critical path in one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The span that is charged.
    pub span: SpanIx,
    /// The time; never empty.
    pub interval: Interval,
}

/// The critical path of a run and what it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CriticalPath {
    /// In time order. They tile the root's interval exactly, each stretch as long as it can be; none if the root
    /// takes no time.
    pub segments: Vec<Segment>,
    /// Every span on the path but the root, in order of their starts.
    pub entries: Vec<Entry>,
}

/// How the path came into a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The span.
    pub span: SpanIx,
    /// The sibling it is taken to have waited for; `None` where only its parent ran before.
    pub after: Option<SpanIx>,
    /// Whether it declared so. Otherwise the order of time tells.
    pub is_declared: bool,
}

/// The critical path of a run.
///
/// A span starts at its first running: the time it was queued belongs to the path of its parent.
pub fn critical_path(run: &Run) -> CriticalPath {
    let mut walk = Walk { run, blocking_children: blocking_children(run), candidates: Vec::new() };
    let mut path = CriticalPath::default();
    let mut open = vec![walk.enter(run.root, run.span(run.root).clipped.end)];
    while let Some(frame) = open.last_mut() {
        let span = frame.span;
        let (child, is_declared) = walk.next_child(frame);
        if let Some(left) = frame.left {
            path.entries.push(Entry { span: left, after: child, is_declared });
        }
        frame.left = child;
        let ended = child.map(|child| run.span(child).clipped.end.min(frame.now));
        let stays_until = ended.unwrap_or(run.span(span).clipped.start);
        if stays_until < frame.now {
            path.segments.push(Segment { span, interval: Interval::new(stays_until, frame.now) });
        }
        match child {
            Some(child) => {
                frame.now = run.span(child).clipped.start;
                let frame = walk.enter(child, stays_until);
                open.push(frame);
            }
            None => {
                walk.candidates.truncate(frame.first);
                open.pop();
            }
        }
    }
    path.segments.reverse();
    path.entries.sort_unstable_by_key(|entry| (run.span(entry.span).clipped.start, entry.span));
    if run.options.async_children == AsyncChildren::Inherit {
        path.segments = owned_by_open_spans(run, &path.segments);
    }
    path
}

/// A span the walk is in.
struct Frame {
    span: SpanIx,
    /// How far back the walk has come.
    now: Timestamp,
    /// The child the walk has come out of last.
    left: Option<SpanIx>,
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
    fn enter(&mut self, span: SpanIx, now: Timestamp) -> Frame {
        let run = self.run;
        let first = self.candidates.len();
        let blocking = run.children(span).iter().filter(|child| run.span(**child).is_blocking());
        self.candidates.extend(blocking);
        let fan_out = &self.blocking_children;
        self.candidates[first..].sort_unstable_by(|a, b| key(run, fan_out, *a).cmp(&key(run, fan_out, *b)));
        Frame { span, now, left: None, first, next: first }
    }

    /// The child the span was waiting for at this point, and whether that was declared. One that is passed over can
    /// never come again, because the point only moves back.
    fn next_child(&self, frame: &mut Frame) -> (Option<SpanIx>, bool) {
        let declared = frame.left.map_or(&[][..], |left| self.run.predecessors(left));
        if let Some(latest) = declared.iter().copied().min_by(|a, b| {
            key(self.run, &self.blocking_children, *a).cmp(&key(self.run, &self.blocking_children, *b))
        }) {
            return (Some(latest), true);
        }
        let length = self.run.span(frame.span).clipped.duration();
        let tolerance = match frame.left {
            Some(_) => self.run.options.overlap_tolerance.within(length),
            // The first child ends by the end of its parent, to which it was clipped.
            None => Duration::ZERO,
        };
        let latest_end = frame.now.saturating_add(tolerance);
        while let Some(&child) = self.candidates.get(frame.next) {
            frame.next += 1;
            let clipped = self.run.span(child).clipped;
            if clipped.end <= latest_end && clipped.start < frame.now {
                return (Some(child), false);
            }
        }
        (None, false)
    }
}

/// The order in which the children of one span are looked at.
fn key<'r>(run: &'r Run, blocking_children: &[u32], ix: SpanIx) -> impl Ord + use<'r> {
    let child = run.span(ix);
    let record = &child.record;
    let fan_out = Reverse(blocking_children[ix.index()]);
    (Reverse(child.clipped.end), record.start, fan_out, &record.name, record.span_id, ix)
}

/// Gives time a span owns after its own end to the nearest span around it that was still open.
fn owned_by_open_spans(run: &Run, segments: &[Segment]) -> Vec<Segment> {
    let mut owned: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        let mut rest = segment.interval;
        let mut owner = segment.span;
        let mut late = Vec::new();
        loop {
            let end = run.span(owner).interval().end;
            let above = run.span(owner).parent;
            if rest.end > end && above.is_some() {
                // What lies before this end is its own; the part behind it is somebody's above.
                let own = Interval::new(rest.start, end.max(rest.start));
                late.push(Segment { span: owner, interval: own });
                rest = Interval::new(own.end, rest.end);
                owner = above.unwrap_or(owner);
            } else {
                late.push(Segment { span: owner, interval: rest });
                break;
            }
        }
        for piece in late.into_iter().filter(|piece| !piece.interval.is_empty()) {
            match owned.last_mut() {
                Some(last) if last.span == piece.span && last.interval.end == piece.interval.start => {
                    last.interval.end = piece.interval.end;
                }
                _ => owned.push(piece),
            }
        }
    }
    owned
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
