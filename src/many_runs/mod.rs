//! Many runs of a workflow: which nodes are on the path, how often and for how long, and which make long runs long.
//!
//! Runs come one at a time, each reduced to a [`RunProfile`]; memory is bounded, and two sets of runs merge. Every
//! figure is a quotient of sums at the moment it is asked for: percentages are never averaged.
//!
//! ```
//! use longpole::analysis::critical_path::critical_path;
//! use longpole::many_runs::{ManyRuns, RunProfile};
//! use longpole::run::Run;
//!
//! let trace = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[
//!   {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"run",
//!    "startTimeUnixNano":"1000","endTimeUnixNano":"1100"},
//!   {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","name":"fetch",
//!    "parentSpanId":"b7ad6b7169203331","startTimeUnixNano":"1010","endTimeUnixNano":"1090"}]}]}]}"#;
//! let run = Run::from_records(longpole::decode::decode(trace).unwrap().spans).unwrap();
//!
//! let mut runs = ManyRuns::default();
//! runs.add(&RunProfile::of(&run, &critical_path(&run).segments));
//! let report = runs.report(ManyRuns::TAIL_PERCENTILE);
//! let fetch = &report.groups[0].nodes[0];
//! assert_eq!((fetch.name.as_str(), fetch.runs_on_path, fetch.wall_ratio), ("fetch", 1, 0.8));
//! ```

mod group;
mod money;
pub mod report;
mod sample;
mod tail;

use std::collections::BTreeMap;

pub use crate::run_profile::{GroupKey, NodeOnPath, OTHER_NODES, RunCost, RunProfile};
pub use report::ManyRunsReport;

use group::Group;

/// Runs, added up by service, workflow and version.
///
/// The first [`ManyRuns::MAX_GROUPS`] groups are told apart. In each, all runs are counted, and complete ones are
/// kept for the tail: all of them up to [`ManyRuns::MAX_KEPT_RUNS`], then an even sample that depends on their ids
/// alone, and fewer where all groups together would keep more than [`ManyRuns::MAX_KEPT_ENTRIES`]. As long as no limit
/// is reached, neither the order of runs nor merging changes any answer. A workflow of twenty names takes about 1 MiB.
#[derive(Clone, Debug, Default)]
pub struct ManyRuns {
    groups: BTreeMap<GroupKey, Group>,
    runs: u64,
    left_out: u64,
}

impl ManyRuns {
    /// So many groups are told apart; runs of others are counted, no more.
    pub const MAX_GROUPS: usize = 32;
    /// So many runs of a group are kept one by one.
    pub const MAX_KEPT_RUNS: usize = sample::Sample::MAX_RUNS;
    /// So many names and call paths of kept runs, of all groups together, are kept: 24 bytes each.
    pub const MAX_KEPT_ENTRIES: usize = 500_000;
    /// The percentile from which on a run is long, unless somebody says otherwise.
    pub const TAIL_PERCENTILE: u8 = 95;

    /// Adds one run. Costs about as much as its path has names and call paths.
    pub fn add(&mut self, profile: &RunProfile) {
        self.runs += 1;
        match self.group(&profile.group) {
            Some(group) => group.add(profile),
            None => self.left_out += 1,
        }
        self.stay_within_bounds();
    }

    /// Gives up kept runs of the group that takes most, until all together take no more than they may.
    fn stay_within_bounds(&mut self) {
        let mut entries: usize = self.groups.values().map(Group::kept_entries).sum();
        while entries > Self::MAX_KEPT_ENTRIES {
            let Some(largest) = self.groups.values_mut().max_by_key(|group| group.kept_entries()) else {
                return;
            };
            let before = largest.kept_entries();
            largest.give_up_one();
            entries -= before - largest.kept_entries();
        }
    }

    /// Adds every run of `other`, as if it had been added here.
    pub fn merge(&mut self, other: &ManyRuns) {
        self.runs += other.runs;
        self.left_out += other.left_out;
        for (key, group) in &other.groups {
            match self.group(key) {
                Some(own) => own.merge(group),
                None => self.left_out += group.runs(),
            }
        }
        self.stay_within_bounds();
    }

    fn group(&mut self, key: &GroupKey) -> Option<&mut Group> {
        if !self.groups.contains_key(key) && self.groups.len() >= Self::MAX_GROUPS {
            return None;
        }
        Some(self.groups.entry(key.clone()).or_insert_with(Group::new))
    }

    /// The groups, in order.
    pub fn groups(&self) -> impl Iterator<Item = &GroupKey> {
        self.groups.keys()
    }

    /// What all runs together say. A run is long from `tail_percentile` on, which is taken into 1–99.
    pub fn report(&self, tail_percentile: u8) -> ManyRunsReport {
        let percentile = tail_percentile.clamp(1, 99);
        ManyRunsReport {
            schema: report::SCHEMA.to_owned(),
            runs: self.runs,
            runs_left_out: self.left_out,
            groups: self.groups.iter().map(|(key, group)| group.report(key, percentile)).collect(),
        }
    }

    /// The path's time of a group's runs by call path: one `root;outer;inner 1200` a line, in nanoseconds, as flame
    /// graph tools read it. The lines add up to the wall time of all runs. `None` if there is no such group.
    ///
    /// Semicolons in names are written as commas, control characters as spaces.
    pub fn folded_stacks(&self, group: &GroupKey) -> Option<String> {
        Some(self.groups.get(group)?.folded_stacks())
    }

    /// The same for the long runs among those kept: with [`ManyRuns::folded_stacks`], what a differential flame
    /// graph is drawn from.
    pub fn folded_tail_stacks(&self, group: &GroupKey, tail_percentile: u8) -> Option<String> {
        Some(self.groups.get(group)?.folded_tail_stacks(tail_percentile.clamp(1, 99)))
    }
}
