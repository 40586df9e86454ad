//! Where a span's time goes. The words longpole uses, once and for all:
//!
//! | word | of a span |
//! |---|---|
//! | *duration* | from creation to the end of work, queueing included |
//! | *queued* | from creation to first running: its own first enter or a child's, whichever is earlier |
//! | *self time* | the part of its duration in which none of its children existed |
//! | *busy* | the time in which at least one thread ran inside it, children included; known only from inside the process |
//! | *idle* | duration less busy: waiting for something, or not scheduled; says nothing about the processor |
//! | *path time* | the time the critical path charges to it |
//! | *slack* | how much later it could have ended with the run as long as before |
//!
//! Self time and path time differ: self time counts everything a span did alone, path time only what delayed the
//! end of the run.
//!
//! Self time is duration less the *union* of the children's intervals, never less their sum, which goes below zero
//! as soon as children run side by side. All children count, whether the span waited for them or not. A child counts
//! from its creation: its queueing is part of the child's duration, and would be counted twice if it were the
//! parent's as well. Where children stay inside their parents and do not overlap, the self times of a run add up to
//! its wall time.

use crate::run::{Run, SpanIx};
use crate::time::{Duration, Interval, Timestamp};

/// The self time of every span, by [`SpanIx`]. O(n).
pub fn self_times(run: &Run) -> Vec<Duration> {
    run.indices()
        .map(|ix| {
            let own = run.span(ix).interval();
            let children = run.children(ix).iter().map(|child| run.span(*child).interval());
            let covered = covered_time(children.filter_map(|child| child.intersection(own)));
            own.duration().saturating_sub(covered)
        })
        .collect()
}

/// The length of the union of intervals that come in order of their starts.
fn covered_time(intervals: impl Iterator<Item = Interval>) -> Duration {
    let mut covered = Duration::ZERO;
    let mut covered_until = Timestamp::EPOCH;
    for interval in intervals {
        let fresh = Interval::new(interval.start.max(covered_until), interval.end);
        covered = covered.saturating_add(fresh.duration());
        covered_until = covered_until.max(interval.end);
    }
    covered
}

/// How many of the intervals overlap where most of them do. They are half-open: one that ends where another starts
/// does not overlap it. Empty ones overlap nothing. O(n log n).
pub fn peak_concurrency(intervals: impl Iterator<Item = Interval>) -> u64 {
    let (mut starts, mut ends): (Vec<_>, Vec<_>) = intervals
        .filter(|interval| !interval.is_empty())
        .map(|interval| (interval.start, interval.end))
        .unzip();
    starts.sort_unstable();
    ends.sort_unstable();
    let mut ended = 0;
    let mut peak = 0;
    for (started, start) in (1..).zip(starts) {
        while ends.get(ended).is_some_and(|end| *end <= start) {
            ended += 1;
        }
        peak = peak.max(started - ended as u64);
    }
    peak
}

/// How many spans without a running child ran at once at most: how wide the run really was. O(n log n).
pub fn peak_leaves(run: &Run) -> u64 {
    // The instant, whether it is a start, and the span, in one number: what is compared at once is sorted sooner.
    let change = |at: Timestamp, starts: bool, ix: SpanIx| {
        u128::from(at.as_unix_nanos()) << 64 | u128::from(starts) << 63 | ix.index() as u128
    };
    let mut changes: Vec<u128> = Vec::with_capacity(run.spans.len() * 2);
    for ix in run.indices().filter(|ix| !run.span(*ix).is_synthetic) {
        let running = run.span(ix).run_interval();
        if !running.is_empty() {
            changes.push(change(running.start, true, ix));
            changes.push(change(running.end, false, ix));
        }
    }
    // Stable, since it makes use of what stands in order, which is most; no two are equal.
    changes.sort();
    let mut running_children = vec![0u32; run.spans.len()];
    let mut is_running = vec![false; run.spans.len()];
    let (mut leaves, mut peak) = (0i64, 0i64);
    let mut at = 0;
    while let Some(instant) = changes.get(at).map(|change| change >> 64) {
        // All of one instant together: a hand-over from child to child, or from parent to child, is no moment of
        // its own.
        while let Some(change) = changes.get(at).filter(|change| *change >> 64 == instant) {
            let starts = change >> 63 & 1 == 1;
            let ix = SpanIx::new((change & ((1 << 63) - 1)) as usize);
            let parent = run.span(ix).parent;
            if running_children[ix.index()] == 0 {
                leaves += if starts { 1 } else { -1 };
            }
            is_running[ix.index()] = starts;
            if let Some(parent) = parent {
                let children = &mut running_children[parent.index()];
                let before = *children;
                *children = if starts { before + 1 } else { before - 1 };
                let became_inner = before == 0 && starts;
                let became_leaf = before == 1 && !starts;
                if is_running[parent.index()] {
                    leaves += i64::from(became_leaf) - i64::from(became_inner);
                }
            }
            at += 1;
        }
        peak = peak.max(leaves);
    }
    peak.unsigned_abs()
}
