//! What the run's length would have been without each of many nodes, or with each of them twice as fast: several replays
//! in one pass.
//!
//! The questions are asked of most nodes of every run, so they have a replay of their own. With factors of 0 and 1
//! alone, whole nanoseconds are exact, with a half whole halves are, and the replays differ in whose own time they
//! shorten only: they share the walk over the events.

use super::event_graph::{EventGraph, EventKind};
use super::replay::Scale;
use crate::run::SpanIx;
use crate::time::Duration;

/// How many replays share a pass.
const LANES: usize = 8;

/// A point in time of each replay since the start of the run, in nanoseconds or halves of them.
type Points = [u64; LANES];

/// How many units of time a nanosecond of a span's own is, and how many where the span is of the replay's group.
#[derive(Clone, Copy)]
struct Units {
    others: u64,
    group: u64,
}

/// The group takes no time.
const LEFT_OUT: Units = Units { others: 1, group: 0 };
/// The group takes half the time.
const HALVED: Units = Units { others: 2, group: 1 };

impl EventGraph<'_> {
    /// For each of so many groups the wall time if the own time of its spans were zero. `group_of` gives the group a
    /// span belongs to, if any.
    ///
    /// The same as a [`replay`](EventGraph::replay) with [`Scale::FREE`](super::replay::Scale::FREE) for each group.
    /// O(n · groups).
    pub fn walls_without(&self, groups: usize, group_of: impl Fn(SpanIx) -> Option<usize>) -> Vec<Duration> {
        let ends = self.ends_with(LEFT_OUT, groups, group_of);
        ends.into_iter().map(Duration::from_nanos).collect()
    }

    /// The same if the own time of its spans were half of what it was; rounded half up.
    pub fn walls_halved(&self, groups: usize, group_of: impl Fn(SpanIx) -> Option<usize>) -> Vec<Duration> {
        // No replay of this takes longer than the run did.
        if self.run.wall().as_nanos() > u64::MAX / 2 {
            let is_in = |ix, group| group_of(ix) == Some(group);
            let scale = |ix, group| if is_in(ix, group) { Scale::faster(2) } else { Scale::SAME };
            return (0..groups).map(|group| self.replay(|ix| scale(ix, group))).collect();
        }
        let ends = self.ends_with(HALVED, groups, group_of);
        ends.into_iter().map(|end| Duration::from_nanos(end.div_ceil(2))).collect()
    }

    /// When the run ends in the replay of each group.
    fn ends_with(&self, units: Units, groups: usize, group_of: impl Fn(SpanIx) -> Option<usize>) -> Vec<u64> {
        let mut walls = Vec::with_capacity(groups);
        if self.run.dependencies.is_empty() {
            let course = Course::of(self, group_of);
            let mut points: Vec<Points> = vec![[0; LANES]; course.places];
            for first in (0..groups).step_by(LANES) {
                let ends = course.ends(units, first, &mut points);
                walls.extend(ends.iter().take(groups - first));
            }
            return walls;
        }
        let group: Vec<usize> = self.run.indices().map(|ix| group_of(ix).unwrap_or(usize::MAX)).collect();
        // Of each span the latest of its start and its children's ends so far; its own end once that has come.
        let mut latest: Vec<Points> = vec![[0; LANES]; self.run.spans.len()];
        let mut starts: Vec<Points> = latest.clone();
        for first in (0..groups).step_by(LANES) {
            let lane_of = |ix: SpanIx| group[ix.index()].wrapping_sub(first);
            let ends = self.ends_of_lanes(units, lane_of, &mut latest, &mut starts);
            walls.extend(ends.iter().take(groups - first));
        }
        walls
    }

    /// When the run ends in each replay, if each shortens the own time of the spans of its lane. `latest` and
    /// `starts` have a place for each span.
    fn ends_of_lanes(
        &self,
        units: Units,
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
                    let end = later(units, latest[span], event.own_time, lane_of(event.span));
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
                    let start = later(units, base, event.own_time, lane_of(parent));
                    latest[span] = start;
                    starts[span] = start;
                }
                (EventKind::Creation, _) | (EventKind::Start | EventKind::QueuedStart, None) => {}
            }
        }
        latest.get(self.run.root.index()).copied().unwrap_or_default()
    }
}

/// The events of a run in which nothing is declared. A span has a place of its own from its start until it and its
/// children have ended: few are open at a time, so their points stay at hand however long the run is.
struct Course {
    steps: Vec<Step>,
    places: usize,
    root: usize,
}

/// What happens at one event.
struct Step {
    what: What,
    place: u32,
    parent: u32,
    /// The group the own time belongs to; above all groups for none.
    group: u32,
    own_time: Duration,
}

enum What {
    /// A span is met whose start is no event: it is open from the beginning.
    Open,
    Start,
    End,
}

/// The places of spans that are open.
struct Places {
    of: Vec<Option<u32>>,
    free: Vec<u32>,
    count: u32,
}

impl Places {
    /// A place for a span, which it keeps if it has one; whether it had none.
    fn take(&mut self, ix: SpanIx) -> (u32, bool) {
        if let Some(place) = self.of[ix.index()] {
            return (place, false);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        self.of[ix.index()] = Some(place);
        (place, true)
    }

    fn give_back(&mut self, ix: SpanIx) {
        self.free.extend(self.of[ix.index()].take());
    }
}

impl Course {
    fn of(graph: &EventGraph<'_>, group_of: impl Fn(SpanIx) -> Option<usize>) -> Self {
        let spans = graph.run.spans.len();
        let mut places = Places { of: vec![None; spans], free: Vec::new(), count: 0 };
        // Of each span how many ends are to come, of children and its own.
        let mut ends_to_come = vec![0u32; spans];
        for event in graph.events.iter().filter(|event| event.kind == EventKind::End) {
            for ix in [Some(event.span), event.parent].into_iter().flatten() {
                ends_to_come[ix.index()] += 1;
            }
        }
        let group = |ix| group_of(ix).and_then(|group| u32::try_from(group).ok()).unwrap_or(u32::MAX);
        let mut steps: Vec<Step> = Vec::with_capacity(graph.events.len() + 1);
        for event in &graph.events {
            let (what, owner) = match (event.kind, event.parent) {
                (EventKind::End, _) => (What::End, event.span),
                (EventKind::Start | EventKind::QueuedStart, Some(parent)) => (What::Start, parent),
                (EventKind::Creation, _) | (EventKind::Start | EventKind::QueuedStart, None) => continue,
            };
            let mut open = |ix: SpanIx| {
                let (place, is_new) = places.take(ix);
                if is_new {
                    let (group, own_time) = (u32::MAX, Duration::ZERO);
                    steps.push(Step { what: What::Open, place, parent: place, group, own_time });
                }
                place
            };
            let parent = event.parent.map(&mut open);
            let place = match what {
                What::Start => places.take(event.span).0,
                _ => open(event.span),
            };
            let is_end = matches!(what, What::End);
            let (group, own_time) = (group(owner), event.own_time);
            steps.push(Step { what, place, parent: parent.unwrap_or(place), group, own_time });
            for ix in [Some(event.span), event.parent].into_iter().flatten().filter(|_| is_end) {
                let to_come = &mut ends_to_come[ix.index()];
                *to_come -= 1;
                if *to_come == 0 && ix != graph.run.root {
                    places.give_back(ix);
                }
            }
        }
        let (root, is_new) = places.take(graph.run.root);
        if is_new {
            let (group, own_time) = (u32::MAX, Duration::ZERO);
            steps.push(Step { what: What::Open, place: root, parent: root, group, own_time });
        }
        Course { steps, places: places.count as usize, root: root as usize }
    }

    /// When the run ends in each replay, if each shortens the own time of one group, `first` in the first lane.
    fn ends(&self, units: Units, first: usize, points: &mut [Points]) -> Points {
        for step in &self.steps {
            let (place, parent) = (step.place as usize, step.parent as usize);
            let lane = (step.group as usize).wrapping_sub(first);
            match step.what {
                What::Open => points[place] = [0; LANES],
                What::Start => points[place] = later(units, points[parent], step.own_time, lane),
                What::End => {
                    let end = later(units, points[place], step.own_time, lane);
                    points[place] = end;
                    points[parent] = latest_of(points[parent], end);
                }
            }
        }
        points[self.root]
    }
}

/// The points so much later, in the lane of its group less so.
fn later(units: Units, points: Points, by: Duration, lane: usize) -> Points {
    if by.is_zero() {
        return points;
    }
    let nanos = by.as_nanos();
    let others = nanos.saturating_mul(units.others);
    let mut moved = points.map(|point| point.saturating_add(others));
    if let (Some(moved), Some(point)) = (moved.get_mut(lane), points.get(lane)) {
        *moved = point.saturating_add(nanos.saturating_mul(units.group));
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
