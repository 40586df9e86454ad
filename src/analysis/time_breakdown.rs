//! What the words for time mean here, and the ones that need nothing but intervals.
//!
//! Respected libraries disagree on these words, so they are defined once:
//!
//! - **duration** of a span: its end minus its start, being queued included. Its end is the end of its work.
//! - **queued**: creation to first running: its own first enter, or a child's, whichever is earlier.
//! - **running interval**: first running to end. This is what the critical path and the event graph see.
//! - **self time**: the part of the duration that no child's duration covers: `|p| − |⋃ children ∩ p|`, over raw
//!   times of all children, blocking or not. Never `duration − Σ children`, which goes negative as soon as children
//!   overlap.
//! - **busy**: time in which at least one thread was inside the span (entered). **Poll**: one thread's stretch from
//!   entering to leaving it. What is not busy is waiting, or ready and not scheduled; it is not called CPU time.
//! - **path time**: the length of a span's segments of the critical path. Self time counts all a span did alone,
//!   path time only what delayed the end.
//! - **work** of a run: self times without queueing, summed over all spans. **Wall time**: the root's duration.
//! - **slack** of a span: how much later it could have ended without making the run longer.

use crate::run::{Run, SpanIx};
use crate::time::{Duration, Interval, Timestamp};

/// The self time of each span, by [`SpanIx::index`]. Zero for a synthetic root's position too unless time in it is
/// covered by no top. O(n log n).
pub fn self_times(run: &Run) -> Vec<Duration> {
    run.indices().map(|ix| self_time(run, ix)).collect()
}

fn self_time(run: &Run, ix: SpanIx) -> Duration {
    let own = run.span(ix).whole();
    let mut covered: Vec<Interval> =
        run.children(ix).iter().filter_map(|child| run.span(*child).whole().intersection(own)).collect();
    covered.sort_unstable_by_key(|interval| interval.start);
    let mut sum = Duration::ZERO;
    let mut reached = own.start;
    for interval in covered {
        let start = interval.start.max(reached);
        sum = sum.saturating_add(interval.end.saturating_since(start));
        reached = reached.max(interval.end);
    }
    own.duration().saturating_sub(sum)
}

/// How many of `intervals` overlap at most. One that ends when another starts does not overlap it. O(n log n).
pub fn peak_concurrency(intervals: impl Iterator<Item = Interval>) -> u64 {
    let mut changes: Vec<(Timestamp, i64)> = Vec::new();
    for interval in intervals.filter(|interval| !interval.is_empty()) {
        changes.push((interval.start, 1));
        changes.push((interval.end, -1));
    }
    // Ends come before starts of the same instant.
    changes.sort_unstable();
    let mut now = 0i64;
    let mut peak = 0i64;
    for (_, change) in changes {
        now += change;
        peak = peak.max(now);
    }
    peak.unsigned_abs()
}

/// How many spans without a running child ran at once at most: how wide the run really was. O(n log n).
pub fn peak_leaves(run: &Run) -> u64 {
    let mut changes: Vec<(Timestamp, bool, SpanIx)> = Vec::new();
    for ix in run.indices().filter(|ix| !run.span(*ix).is_synthetic) {
        let running = run.span(ix).running();
        if !running.is_empty() {
            changes.push((running.start, true, ix));
            changes.push((running.end, false, ix));
        }
    }
    changes.sort_unstable();
    let mut running_children = vec![0u32; run.spans.len()];
    let mut is_running = vec![false; run.spans.len()];
    let (mut leaves, mut peak) = (0i64, 0i64);
    let mut at = 0;
    while let Some((instant, _, _)) = changes.get(at) {
        // All of one instant together: a hand-over from child to child, or from parent to child, is no moment of
        // its own.
        let instant = *instant;
        while let Some((_, starts, ix)) = changes.get(at).filter(|change| change.0 == instant) {
            let parent = run.span(*ix).parent;
            if running_children[ix.index()] == 0 {
                leaves += if *starts { 1 } else { -1 };
            }
            is_running[ix.index()] = *starts;
            if let Some(parent) = parent {
                let children = &mut running_children[parent.index()];
                let before = *children;
                *children = if *starts { before + 1 } else { before - 1 };
                let became_inner = before == 0 && *starts;
                let became_leaf = before == 1 && !*starts;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_intervals_are_not_concurrent() {
        let at =
            |start, end| Interval::new(Timestamp::from_unix_nanos(start), Timestamp::from_unix_nanos(end));
        assert_eq!(peak_concurrency([at(0, 5), at(5, 9)].into_iter()), 1);
        assert_eq!(peak_concurrency([at(0, 6), at(5, 9), at(5, 5)].into_iter()), 2);
        assert_eq!(peak_concurrency(std::iter::empty()), 0);
    }
}
