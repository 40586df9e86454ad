//! What the run's length would have been without each of many nodes: several replays in one pass.
//!
//! The question is asked of every node of every run, so it has a replay of its own. With factors of 0 and 1 alone,
//! whole nanoseconds are exact, and the replays differ in whose own time they leave out only: they share the walk
//! over the events.

use super::event_graph::{EventGraph, EventKind};
use crate::run::SpanIx;
use crate::time::Duration;

/// How many replays share a pass.
const LANES: usize = 8;

/// A point in time of each replay, in nanoseconds since the start of the run.
type Points = [u64; LANES];

impl EventGraph<'_> {
    /// For each of so many groups the wall time if the own time of its spans were zero. `group_of` gives the group a
    /// span belongs to, if any.
    ///
    /// The same as a [`replay`](EventGraph::replay) with [`Scale::FREE`](super::replay::Scale::FREE) for each group.
    /// O(n · groups).
    pub fn walls_without(&self, groups: usize, group_of: impl Fn(SpanIx) -> Option<usize>) -> Vec<Duration> {
        let group: Vec<usize> = self.run.indices().map(|ix| group_of(ix).unwrap_or(usize::MAX)).collect();
        let mut walls = Vec::with_capacity(groups);
        // Of each span the latest of its start and its children's ends so far; its own end once that has come.
        let mut latest: Vec<Points> = vec![[0; LANES]; self.run.spans.len()];
        let has_declared = !self.run.dependencies.is_empty();
        let mut starts: Vec<Points> = if has_declared { latest.clone() } else { Vec::new() };
        for first in (0..groups).step_by(LANES) {
            let lane_of = |ix: SpanIx| group[ix.index()].wrapping_sub(first);
            let ends = self.ends_without(lane_of, &mut latest, &mut starts);
            walls.extend(ends.iter().take(groups - first).map(|end| Duration::from_nanos(*end)));
        }
        walls
    }

    /// When the run ends in each replay, if each leaves out the own time of the spans of its lane.
    /// `latest` and `starts` have a place for each span, `starts` only where something was declared.
    fn ends_without(
        &self,
        lane_of: impl Fn(SpanIx) -> usize,
        latest: &mut [Points],
        starts: &mut [Points],
    ) -> Points {
        latest.fill([0; LANES]);
        starts.fill([0; LANES]);
        for event in &self.events {
            let span = event.span.index();
            match (event.kind, event.parent) {
                (EventKind::End, parent) => {
                    let end = later(latest[span], event.own_time, lane_of(event.span));
                    latest[span] = end;
                    if let Some(parent) = parent {
                        latest[parent.index()] = latest_of(latest[parent.index()], end);
                    }
                }
                (EventKind::Start | EventKind::QueuedStart, Some(parent)) => {
                    let declared = self.run.predecessors(event.span);
                    let base = if declared.is_empty() {
                        latest[parent.index()]
                    } else {
                        let ends = declared.iter().map(|before| latest[before.index()]);
                        ends.fold(starts[parent.index()], latest_of)
                    };
                    let start = later(base, event.own_time, lane_of(parent));
                    latest[span] = start;
                    if let Some(of) = starts.get_mut(span) {
                        *of = start;
                    }
                }
                (EventKind::Creation, _) | (EventKind::Start | EventKind::QueuedStart, None) => {}
            }
        }
        latest.get(self.run.root.index()).copied().unwrap_or_default()
    }
}

/// The points so much later, but for the lane that leaves it out.
fn later(points: Points, by: Duration, left_out: usize) -> Points {
    if by.is_zero() {
        return points;
    }
    let mut moved = points.map(|point| point.saturating_add(by.as_nanos()));
    if let (Some(moved), Some(point)) = (moved.get_mut(left_out), points.get(left_out)) {
        *moved = *point;
    }
    moved
}

fn latest_of(a: Points, b: Points) -> Points {
    let mut latest = a;
    for (latest, other) in latest.iter_mut().zip(b) {
        *latest = other.max(*latest);
    }
    latest
}
