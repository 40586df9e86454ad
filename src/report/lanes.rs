//! Which lane of a chart each span is drawn in, so that nothing is drawn over anything else.
//!
//! Charts made for threads draw what starts inside something else on top of it. Asynchronous siblings overlap, so one
//! lane for a run would show them as each other's callers. Here a span shares the lane of its parent only while it lies
//! inside it and beside no other child of it; otherwise it begins a lane of its own, or takes one that is free.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::report::timeline::Timeline;
use crate::time::Timestamp;

/// The lane of each span of a timeline, in its order; the root's is 0.
///
/// In a lane two spans lie inside each other or apart, and what lies inside another is below it in the run, too. A lane
/// is free again when its outermost span has ended. O(n log n) for n spans.
pub fn lanes(timeline: &Timeline) -> Vec<u32> {
    let spans = &timeline.spans;
    let mut order: Vec<(Timestamp, usize)> =
        spans.iter().zip(0..).map(|(span, at)| (span.start_unix_ns, at)).collect();
    order.sort_unstable();
    let mut lane_of = vec![0u32; spans.len()];
    // For each lane the spans that are open in it, from the outside in.
    let mut open: Vec<Vec<usize>> = Vec::new();
    let mut free: BTreeSet<u32> = BTreeSet::new();
    let mut busy: BinaryHeap<Reverse<(Timestamp, u32)>> = BinaryHeap::new();
    let end_of = |at: usize| spans.get(at).map_or(Timestamp::EPOCH, |span| span.end_unix_ns);
    for (start, at) in order {
        let Some(span) = spans.get(at) else { continue };
        while busy.peek().is_some_and(|Reverse((end, _))| *end <= start) {
            free.extend(busy.pop().map(|Reverse((_, lane))| lane));
        }
        let above = span.parent.map(|parent| parent as usize);
        let parents_lane = above.and_then(|above| lane_of.get(above).copied());
        let fits = parents_lane.filter(|lane| {
            let Some(stack) = open.get_mut(*lane as usize) else { return false };
            while stack.last().is_some_and(|top| Some(*top) != above && end_of(*top) <= start) {
                stack.pop();
            }
            stack.last().is_some_and(|top| Some(*top) == above && span.end_unix_ns <= end_of(*top))
        });
        let lane = fits.unwrap_or_else(|| {
            let lane = free.pop_first().unwrap_or_else(|| {
                open.push(Vec::new());
                open.len() as u32 - 1
            });
            busy.push(Reverse((span.end_unix_ns, lane)));
            if let Some(stack) = open.get_mut(lane as usize) {
                stack.clear();
            }
            lane
        });
        if let (Some(of), Some(stack)) = (lane_of.get_mut(at), open.get_mut(lane as usize)) {
            *of = lane;
            stack.push(at);
        }
    }
    lane_of
}
