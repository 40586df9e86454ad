//! Runs that look like a part of another: work that was spawned without the span around it starts a trace of its own.
//!
//! The sign is a root that started and ended while another run waited with no span for at least four fifths of that
//! time. Two requests served at once can look the same by chance, so it is a guess; roots of one name are taken to be
//! such requests.

use std::sync::Arc;

use super::analysed::Analysed;
use super::path::node_of_segment;
use crate::ids::TraceId;
use crate::run_assembler::FinishedRun;
use crate::span_record::Origin;
use crate::time::{Duration, Interval};

/// The root of another run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherRoot {
    trace_id: TraceId,
    name: Arc<str>,
    origin: Arc<Origin>,
    interval: Interval,
}

/// Roots that look as if their context had been lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LostContext {
    /// How many there are.
    pub(super) roots: u64,
    /// The name of the longest.
    pub(super) span: Arc<str>,
    /// How long they took together.
    pub(super) duration: Duration,
}

impl OtherRoot {
    /// How many of them a report looks at.
    pub const MAX: usize = 1_000;

    /// The root of a run; `None` if it has several or none.
    pub fn of(run: &FinishedRun) -> Option<Self> {
        let root = run.root_record()?;
        Some(OtherRoot {
            trace_id: root.trace_id,
            name: root.name.clone(),
            origin: root.origin.clone(),
            interval: Interval::new(root.start, root.end),
        })
    }

    /// Of `roots`, those that started and ended while this one was open: the first [`OtherRoot::MAX`] of them.
    pub(crate) fn those_within<'r>(&self, roots: impl IntoIterator<Item = &'r OtherRoot>) -> Vec<OtherRoot> {
        let is_other = |root: &&OtherRoot| root.trace_id != self.trace_id && root.is_within(self.interval);
        roots.into_iter().filter(is_other).take(Self::MAX).cloned().collect()
    }

    /// Whether it lies within the time of a run.
    fn is_within(&self, around: Interval) -> bool {
        around.start <= self.interval.start && self.interval.end <= around.end && !self.interval.is_empty()
    }
}

/// The roots of many runs, to find those that lie within one of them.
#[derive(Clone, Debug, Default)]
pub struct OtherRoots {
    /// In order of their starts.
    roots: Vec<OtherRoot>,
}

impl OtherRoots {
    /// Those of these runs.
    pub fn of<'r>(runs: impl IntoIterator<Item = &'r FinishedRun>) -> Self {
        let mut roots: Vec<OtherRoot> = runs.into_iter().filter_map(OtherRoot::of).collect();
        roots.sort_by_key(|root| root.interval.start);
        OtherRoots { roots }
    }

    /// Those that started and ended while `run` was open: what goes into
    /// [`ReportOptions::other_roots`](crate::ReportOptions::other_roots). O(log n), and what is found.
    pub fn within(&self, run: &FinishedRun) -> Vec<OtherRoot> {
        let Some(around) = OtherRoot::of(run) else { return Vec::new() };
        let at = |instant| self.roots.partition_point(|root| root.interval.start < instant);
        let started = self.roots.get(at(around.interval.start)..at(around.interval.end));
        around.those_within(started.unwrap_or_default())
    }
}

/// Of `others`, those that fill time in which the run waited with no span; `None` if they fill less than 2 % of it.
pub(super) fn look_for(analysed: &Analysed<'_>, others: &[OtherRoot]) -> Option<LostContext> {
    let run = analysed.run;
    let root = run.span(run.root);
    let segments = || analysed.critical.segments.iter();
    let waited: Vec<Interval> = segments()
        .filter(|segment| node_of_segment(run, &analysed.booking, segment).is_none())
        .map(|segment| segment.interval)
        .collect();
    let fills_a_gap = |other: &&OtherRoot| {
        let filled = super::path::overlap_with(&waited, other.interval).as_nanos();
        u128::from(filled) * 5 >= u128::from(other.interval.duration().as_nanos()) * 4
    };
    let lost: Vec<&OtherRoot> = others
        .iter()
        .take(OtherRoot::MAX)
        .filter(|other| other.trace_id != root.record.trace_id && other.name != root.record.name)
        .filter(|other| other.origin == root.record.origin && other.is_within(root.clipped))
        .filter(fills_a_gap)
        .collect();
    let duration: Duration = lost.iter().map(|other| other.interval.duration()).sum();
    let is_worth_a_word = duration.ratio_of(run.wall()).is_some_and(|ratio| ratio >= 0.02);
    // The first of the longest, in the order of their starts.
    let longest = lost.iter().max_by_key(|other| {
        (other.interval.duration(), std::cmp::Reverse((other.interval.start, other.trace_id)))
    })?;
    is_worth_a_word.then(|| LostContext { roots: lost.len() as u64, span: longest.name.clone(), duration })
}
