//! The answer about many runs.
//!
//! Its JSON form is `longpole.runs/1`: additive changes only; lengths of time are integers in nanoseconds with `_ns`
//! in the name, means and differences of means in the tail are floats of the same unit, shares are 0–1, unknown is
//! `null`. Arrays are in report order, so equal input gives equal bytes.

use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::time::Duration;

/// The name of the JSON form and its major version.
pub const SCHEMA: &str = "longpole.runs/1";

/// The answer about many runs, workflow by workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManyRunsReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// How many runs were added.
    pub runs: u64,
    /// How many of them belong to no group below, because there were too many groups.
    pub runs_left_out: u64,
    /// One for each service, workflow and version, in their order.
    pub groups: Vec<GroupReport>,
}

/// The runs of one workflow in one version.
///
/// Counts, sums, means and shares are of all runs. Quantiles, exemplars and the tail are of complete runs only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// The service that ran it, where it is told.
    pub service: Option<String>,
    /// The workflow's name, else the root's.
    pub workflow: String,
    /// The workflow's version, else the service's.
    pub version: Option<String>,
    /// How many runs there were.
    pub runs: u64,
    /// How many of them miss spans.
    pub partial_runs: u64,
    /// How long they took together.
    pub total_wall_ns: Duration,
    /// How long one took; absent if no run was complete.
    pub wall: Option<Spread>,
    /// Whether quantiles are of every complete run to the nanosecond. Else they are within 1.083 %.
    pub is_exact: bool,
    /// What they cost; absent where nothing tells a cost or tokens and no model was called.
    #[serde(default)]
    pub cost: Option<GroupCost>,
    /// Every name that was on a path, most time first.
    pub nodes: Vec<NodeOverRuns>,
    /// Which nodes make long runs long.
    pub tail: Tail,
    /// The ways the runs took, most frequent first; at most [`GroupReport::MAX_VARIANTS`].
    pub variants: Vec<Variant>,
    /// How many ways there were, of those told apart.
    pub variants_total: u64,
    /// How many runs took a way that is not told apart, because there were too many.
    pub variants_left_out_runs: u64,
    /// How often a node's time was counted as `__other__`, because there were too many names.
    pub names_left_out: u64,
    /// How often time was booked to an outer call path, because there were too many.
    pub stacks_left_out: u64,
}

impl GroupReport {
    /// How many ways a report names at most.
    pub const MAX_VARIANTS: usize = 10;
}

/// What the runs of a group cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCost {
    /// What all runs cost together, as far as that is known; absent where it is not known of any.
    pub total_usd: Option<Money>,
    /// How many runs cost more than is known, or may have: the figures are lower bounds then.
    pub lower_bound_runs: u64,
    /// How many complete runs have a cost: those that mean and quantiles are of.
    pub runs: u64,
    /// What one cost on average, rounded half away from zero.
    pub mean_usd: Option<Money>,
    /// The median, by nearest rank; of a sample where [`GroupReport::is_exact`] is false.
    pub p50_usd: Option<Money>,
    /// What 95 % stay within, likewise.
    pub p95_usd: Option<Money>,
    /// How many calls of models there were.
    pub calls: u64,
    /// How many of them have no cost that is known.
    pub unpriced_calls: u64,
    /// Input tokens of all runs.
    pub input_tokens: Option<u64>,
    /// Output tokens of all runs.
    pub output_tokens: Option<u64>,
}

/// How a length of time is spread over runs, by nearest rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub p50_ns: Duration,
    /// What 95 % stay within.
    pub p95_ns: Duration,
    /// What 99 % stay within.
    pub p99_ns: Duration,
}

/// One name's part of the critical paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeOverRuns {
    /// The node; the root's name stands for time in no node.
    pub name: String,
    /// On the path of how many runs it was.
    pub runs_on_path: u64,
    /// Of all runs, the share on whose path it was.
    pub on_path_ratio: f64,
    /// Its time on all paths.
    pub total_path_ns: Duration,
    /// The same as a share of the wall time of all runs. Over all names these add up to 1.
    pub wall_ratio: f64,
    /// Its mean time on a path it was on, rounded half up.
    pub mean_path_ns: Duration,
    /// Its time on the paths of complete runs it was on; absent if there are none.
    pub path: Option<Spread>,
    /// By how much a run would have been shorter without it, on average over the runs that tell; absent if none
    /// does.
    pub mean_drag_ns: Option<Duration>,
    /// The runs in which it had the most time, most first; at most three.
    pub exemplars: Vec<Exemplar>,
}

/// A run to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: String,
    /// The node's time on its path.
    pub path_ns: Duration,
    /// How long it took.
    pub wall_ns: Duration,
}

/// Long runs compared with ordinary ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The percentile from which on a run is long.
    pub tail_percentile: u8,
    /// How long it takes at least; absent without complete runs.
    pub tail_from_ns: Option<Duration>,
    /// From here…
    pub mid_from_ns: Option<Duration>,
    /// …to here a run is ordinary: P40 to P60.
    pub mid_to_ns: Option<Duration>,
    /// How many long runs there are.
    pub tail_runs: u64,
    /// How many ordinary runs there are.
    pub mid_runs: u64,
    /// How many of each it takes to compare them.
    pub min_runs: u64,
    /// How many runs were looked at: all complete ones, or a sample of them.
    pub compared_runs: u64,
    /// Whether that is a sample.
    pub is_sample: bool,
    /// Who owns the difference; absent if there are fewer than [`Tail::min_runs`] of either.
    pub ownership: Option<TailOwnership>,
}

impl Tail {
    /// How many long runs, and how many ordinary ones, it takes to say something.
    pub const MIN_RUNS: u64 = 10;
}

/// The difference between long runs and ordinary ones, and its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailOwnership {
    /// How long the long runs took together.
    pub tail_wall_ns: Duration,
    /// How long the ordinary runs took together.
    pub mid_wall_ns: Duration,
    /// The mean of the long ones less the mean of the ordinary ones.
    pub gap_ns: f64,
    /// Every name on a path of either, largest part first. The parts add up to the gap, as the times on the path
    /// add up to the wall times, to the nanosecond.
    pub owners: Vec<TailOwner>,
}

/// One name's part of the difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailOwner {
    /// The name.
    pub name: String,
    /// On the path of how many long runs it was.
    pub tail_runs_on_path: u64,
    /// On the path of how many ordinary runs it was.
    pub mid_runs_on_path: u64,
    /// Its time on the paths of all long runs.
    pub tail_path_ns: Duration,
    /// Its time on the paths of all ordinary runs.
    pub mid_path_ns: Duration,
    /// The mean over long runs less the mean over ordinary runs; below zero if it makes long runs shorter.
    pub delta_ns: f64,
    /// The same as a share of the gap; absent if there is none.
    pub gap_ratio: Option<f64>,
    /// What of it comes from being on the path more often. Zero for a name that is on no ordinary run's path, of
    /// which nobody knows how long it ordinarily takes.
    pub because_more_often_ns: f64,
    /// What of it comes from taking longer when it is on the path.
    pub because_longer_ns: f64,
}

/// A way through the workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The names on the path in order of first appearance, without the root's own time.
    pub path: Vec<String>,
    /// How many runs took it.
    pub runs: u64,
    /// Of all runs, the share that took it.
    pub run_ratio: f64,
    /// How long they took on average, rounded half up.
    pub mean_wall_ns: Duration,
    /// How long they took together.
    pub total_wall_ns: Duration,
}
