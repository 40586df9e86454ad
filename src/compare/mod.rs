//! What changed between runs: two runs, two sets of runs, or two versions of a workflow.
//!
//! A [`Comparison`] says whether the run became slower and how sure that is, which nodes the change comes from (in
//! nanoseconds that add up to it exactly), and what changed about each node. It is plain data like a
//! [`Report`]; its JSON form is `longpole.compare/1`, under the same promises.

mod contributions;
mod cost;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use contributions::Contribution;
pub use cost::{CostChange, CostContribution};

use crate::analysis::compare_samples::{
    SampleComparison, SampleOptions, Samples, Verdict, compare_all, naive_change_percent,
};
use crate::money::Money;
use crate::report::{GateResult, NodeReport, Report, RunStatus};
use crate::time::Duration;

/// The name of the JSON form and its major version.
pub const SCHEMA: &str = "longpole.compare/1";

/// How runs are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareOptions {
    /// How verdicts are reached.
    pub samples: SampleOptions,
    /// A change of at least this share of the shorter mean wall time is news even below
    /// [`SampleOptions::min_abs`]. Default 0.01.
    pub min_abs_wall_ratio: f64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        CompareOptions { samples: SampleOptions::default(), min_abs_wall_ratio: 0.01 }
    }
}

/// What changed between two sets of runs. "Base" is the earlier, "new" the later.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// The earlier runs.
    pub base: RunSet,
    /// The later runs.
    pub new: RunSet,
    /// The run as a whole.
    pub wall: WallChange,
    /// Where the change of the wall time comes from, largest change first. They add up to it exactly.
    pub contributions: Vec<Contribution>,
    /// How the cost of a run changed; absent where it is not known on both sides.
    #[serde(default)]
    pub cost: Option<CostChange>,
    /// Every node, the largest contribution first.
    pub nodes: Vec<NodeChange>,
    /// What became of the gates it was held against, by whoever did, see [`crate::gates`]; absent where there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
    /// What to keep in mind: where not like was compared with like.
    pub warnings: Vec<CompareWarning>,
}

/// One of the two sets.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSet {
    /// How many runs were compared.
    pub runs: u64,
    /// How many runs were left out because spans of them are missing.
    pub incomplete_runs: u64,
    /// How many of the compared runs did not end well.
    pub failed_runs: u64,
    /// Their workflows, or root names where unmarked, by name.
    pub workflows: Vec<String>,
    /// Their versions, by name.
    pub versions: Vec<String>,
    /// What a run cost on average, of those whose cost is known.
    pub cost_per_run_usd: Option<Money>,
    /// How many calls of models have no cost that is known, over all runs.
    #[serde(default)]
    pub unpriced_calls: u64,
    /// How many tokens a run read on average, of those that tell.
    #[serde(default)]
    pub input_tokens_per_run: Option<f64>,
    /// How many tokens a run wrote on average, of those that tell.
    #[serde(default)]
    pub output_tokens_per_run: Option<f64>,
}

/// How the length of the run changed.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WallChange {
    /// The base's mean wall time, rounded half up; zero where there are no runs.
    pub base_mean_ns: Duration,
    /// The new runs' mean wall time.
    pub new_mean_ns: Duration,
    /// The change of the mean, rounded half away from zero.
    pub change_ns: i64,
    /// The same in per cent of the base; absent where that is zero. For single runs this is all there is to say.
    pub change_percent: Option<f64>,
    /// By medians, and how sure.
    pub comparison: SampleComparison,
}

/// On which side a node ran.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// On both.
    Both,
    /// Only in the new runs.
    Added,
    /// Only in the base.
    Removed,
}

/// What changed about one node.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeChange {
    /// The node.
    pub name: String,
    /// What sort of work it is, in the newest runs that have it.
    pub kind: String,
    /// On which side it ran.
    pub presence: Presence,
    /// In the base; absent where it did not run.
    pub base: Option<NodeSide>,
    /// In the new runs.
    pub new: Option<NodeSide>,
    /// How long one execution took, on average in each run that has it; absent where it ran on one side only.
    pub duration: Option<SampleComparison>,
    /// The same per output token, in nanoseconds; absent where tokens are not known on both sides.
    pub time_per_output_token: Option<SampleComparison>,
    /// Whether it took longer because it wrote more: its time per output token did not get worse. That is no
    /// regression of the model or the machine.
    pub is_explained_by_output: bool,
    /// The change of its mean path time: its [`Contribution::change_ns`].
    pub on_path_change_ns: i64,
}

/// One node in one set of runs.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeSide {
    /// In how many runs it ran.
    pub runs: u64,
    /// How many executions it had, over all runs.
    pub calls: u64,
    /// How many of them failed.
    pub failures: u64,
    /// How many were second or later tries.
    pub retries: u64,
    /// How long one execution took on average.
    pub mean_duration_ns: Duration,
    /// What it cost in each run that has it and knows its cost, on average.
    pub cost_per_run_usd: Option<Money>,
    /// How many tokens it wrote in each run that has it and knows them, on average.
    pub output_tokens_per_run: Option<f64>,
}

/// A reason to read a comparison with care.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareWarning {
    /// A side has no complete run.
    NothingToCompare,
    /// The runs are not all of one workflow.
    DifferentWorkflows,
    /// Runs with spans missing were left out.
    IncompleteRunsLeftOut,
    /// Some runs did not end well; such runs are often shorter.
    FailedRuns,
}

/// Compares sets of runs, of one run each at the least. Exchanging them negates every change and gives the opposite
/// verdicts. Runs of which spans are missing are left out and counted.
///
/// With fewer runs than [`SampleOptions::min_count`] on a side verdicts are [`Verdict::Insufficient`]; changes and
/// contributions are told all the same. Costs a resampling for each node; see
/// [`compare_samples`](crate::analysis::compare_samples::compare_samples).
pub fn compare_runs(base: &[Report], new: &[Report], options: &CompareOptions) -> Comparison {
    let (all_base, all_new) = (base, new);
    let (base, new) = (complete(base), complete(new));
    let (contributions, change_ns) = contributions::contributions(&base, &new);
    let (base_mean_ns, new_mean_ns) = (mean_wall(&base), mean_wall(&new));
    let share = base_mean_ns.min(new_mean_ns).as_nanos() as f64 * options.min_abs_wall_ratio.max(0.0);
    let min_abs = options.samples.min_abs.min(Duration::from_nanos(share as u64));
    let walls = |runs: &[&Report]| runs.iter().map(|report| report.run.wall_ns).collect::<Vec<_>>();
    let (base_walls, new_walls) = (walls(&base), walls(&new));
    let nodes = Nodes::new(&base, &new);
    let mut samples = vec![Samples { name: "", base: &base_walls, new: &new_walls, min_abs: Some(min_abs) }];
    samples.extend(nodes.samples(|runs| &runs.durations, min_abs));
    let mut durations = compare_all(&samples, &options.samples).into_iter();
    let comparison = durations.next().unwrap_or_else(|| nothing(&options.samples));
    let per_token = nodes.samples(|runs| &runs.per_output_token, Duration::ZERO);
    let per_token = compare_all(&per_token, &options.samples);
    let (base_set, new_set) = (run_set(all_base, &base), run_set(all_new, &new));
    Comparison {
        schema: SCHEMA.to_owned(),
        warnings: warnings(&base_set, &new_set),
        base: base_set,
        new: new_set,
        wall: WallChange {
            base_mean_ns,
            new_mean_ns,
            change_ns,
            change_percent: naive_change_percent(base_mean_ns, new_mean_ns)
                .filter(|_| !base.is_empty() && !new.is_empty()),
            comparison,
        },
        nodes: nodes.changes(durations, per_token, &contributions, options.samples.delta_ratio),
        contributions,
        cost: cost::cost_change(&base, &new),
        gates: Vec::new(),
    }
}

fn nothing(options: &SampleOptions) -> SampleComparison {
    crate::analysis::compare_samples::compare_samples("", &[], &[], options)
}

fn complete(reports: &[Report]) -> Vec<&Report> {
    reports.iter().filter(|report| report.run.status != RunStatus::Incomplete).collect()
}

fn mean_wall(runs: &[&Report]) -> Duration {
    mean(runs.iter().map(|report| u128::from(report.run.wall_ns.as_nanos())).sum(), runs.len() as u64)
}

/// Rounded half up; zero of nothing.
fn mean(sum: u128, count: u64) -> Duration {
    let count = u128::from(count);
    let mean = (2 * sum + count).checked_div(2 * count).unwrap_or_default();
    Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
}

fn mean_money(amounts: impl Iterator<Item = Money>) -> Option<Money> {
    let (mut sum, mut count) = (Money::ZERO, 0);
    for amount in amounts {
        sum = sum.saturating_add(amount);
        count += 1;
    }
    sum.mean_of(count)
}

fn mean_count(counts: impl Iterator<Item = u64>) -> Option<f64> {
    let (mut sum, mut runs) = (0.0, 0.0);
    for count in counts {
        sum += count as f64;
        runs += 1.0;
    }
    (runs > 0.0).then(|| sum / runs)
}

fn run_set(all: &[Report], compared: &[&Report]) -> RunSet {
    let names = |name: &dyn Fn(&Report) -> Option<String>| -> Vec<String> {
        compared.iter().filter_map(|report| name(report)).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let sections = || compared.iter().filter_map(|report| report.cost.as_ref());
    RunSet {
        runs: compared.len() as u64,
        incomplete_runs: (all.len() - compared.len()) as u64,
        failed_runs: compared.iter().filter(|report| report.run.status != RunStatus::Ok).count() as u64,
        workflows: names(&|report| Some(report.run.workflow.as_ref().unwrap_or(&report.run.name).clone())),
        versions: names(&|report| report.run.version.clone()),
        cost_per_run_usd: mean_money(compared.iter().filter_map(|report| report.totals.cost_usd)),
        unpriced_calls: sections().map(|section| section.unpriced_calls).fold(0, u64::saturating_add),
        input_tokens_per_run: mean_count(sections().filter_map(|section| section.tokens.input)),
        output_tokens_per_run: mean_count(sections().filter_map(|section| section.tokens.output)),
    }
}

fn warnings(base: &RunSet, new: &RunSet) -> Vec<CompareWarning> {
    let is_empty = base.runs == 0 || new.runs == 0;
    let workflows: BTreeSet<&String> = base.workflows.iter().chain(&new.workflows).collect();
    [
        (CompareWarning::NothingToCompare, is_empty),
        (CompareWarning::DifferentWorkflows, workflows.len() > 1),
        (CompareWarning::IncompleteRunsLeftOut, base.incomplete_runs + new.incomplete_runs > 0),
        (CompareWarning::FailedRuns, base.failed_runs + new.failed_runs > 0),
    ]
    .into_iter()
    .filter_map(|(warning, applies)| applies.then_some(warning))
    .collect()
}

/// One node's figures, run by run.
#[derive(Default)]
struct NodeRuns {
    kind: String,
    side: NodeSide,
    total: u128,
    costs: Vec<Money>,
    output_tokens: Vec<u64>,
    durations: Vec<Duration>,
    per_output_token: Vec<Duration>,
}

impl NodeRuns {
    fn add(&mut self, node: &NodeReport) {
        self.kind.clone_from(&node.kind);
        self.side.runs += 1;
        self.side.calls = self.side.calls.saturating_add(node.calls);
        self.side.failures = self.side.failures.saturating_add(node.failures);
        self.side.retries = self.side.retries.saturating_add(node.retries);
        self.total += u128::from(node.duration.sum_ns.as_nanos());
        self.costs.extend(node.cost_usd);
        self.durations.push(node.duration.avg_ns);
        if let Some(tokens) = node.tokens {
            self.output_tokens.push(tokens.output);
            let took = u128::from(node.duration.sum_ns.as_nanos());
            self.per_output_token.extend((tokens.output > 0).then(|| mean(took, tokens.output)));
        }
    }

    fn summed_up(&self) -> Option<NodeSide> {
        let tokens: f64 = self.output_tokens.iter().map(|count| *count as f64).sum();
        (self.side.runs > 0).then(|| NodeSide {
            mean_duration_ns: mean(self.total, self.side.calls),
            cost_per_run_usd: mean_money(self.costs.iter().copied()),
            output_tokens_per_run: (!self.output_tokens.is_empty())
                .then(|| tokens / self.output_tokens.len() as f64),
            ..self.side
        })
    }
}

/// Every node of either side, by name.
struct Nodes<'r>(BTreeMap<&'r str, [NodeRuns; 2]>);

impl<'r> Nodes<'r> {
    fn new(base: &[&'r Report], new: &[&'r Report]) -> Self {
        let mut nodes: BTreeMap<&str, [NodeRuns; 2]> = BTreeMap::new();
        for (side, runs) in [base, new].into_iter().enumerate() {
            for node in runs.iter().flat_map(|report| &report.nodes) {
                if let Some(runs) = nodes.entry(&node.name).or_default().get_mut(side) {
                    runs.add(node);
                }
            }
        }
        Nodes(nodes)
    }

    fn samples(&self, figure: fn(&NodeRuns) -> &Vec<Duration>, min_abs: Duration) -> Vec<Samples<'_>> {
        self.0
            .iter()
            .map(|(name, [base, new])| Samples {
                name,
                base: figure(base),
                new: figure(new),
                min_abs: Some(min_abs),
            })
            .collect()
    }

    fn changes(
        &self,
        durations: impl Iterator<Item = SampleComparison>,
        per_token: Vec<SampleComparison>,
        contributions: &[Contribution],
        delta_ratio: f64,
    ) -> Vec<NodeChange> {
        let has_both = |told: &SampleComparison| told.base_count > 0 && told.new_count > 0;
        let mut on_path: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
        for (rank, row) in contributions.iter().enumerate() {
            on_path.extend(row.node.as_deref().map(|node| (node, (rank, row.change_ns))));
        }
        let mut ranked: Vec<(usize, NodeChange)> = Vec::new();
        for (((name, [base, new]), duration), per_token) in self.0.iter().zip(durations).zip(per_token) {
            let (rank, on_path_change_ns) = on_path.get(name).copied().unwrap_or((usize::MAX, 0));
            let presence = match (base.side.runs, new.side.runs) {
                (0, _) => Presence::Added,
                (_, 0) => Presence::Removed,
                _ => Presence::Both,
            };
            let change = NodeChange {
                name: (*name).to_owned(),
                kind: if new.side.runs > 0 { &new.kind } else { &base.kind }.clone(),
                presence,
                base: base.summed_up(),
                new: new.summed_up(),
                is_explained_by_output: is_explained_by_output(&duration, &per_token, delta_ratio),
                duration: Some(duration).filter(has_both),
                time_per_output_token: Some(per_token).filter(has_both),
                on_path_change_ns,
            };
            ranked.push((rank, change));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, change)| change).collect()
    }
}

/// Whether the node takes longer, but not for each token it writes.
fn is_explained_by_output(
    duration: &SampleComparison,
    per_token: &SampleComparison,
    delta_ratio: f64,
) -> bool {
    let is_longer = |told: &SampleComparison| match told.verdict {
        Verdict::Regressed => true,
        Verdict::Improved | Verdict::Unchanged => false,
        Verdict::Inconclusive | Verdict::Insufficient => {
            told.median_ratio.is_some_and(|ratio| ratio > 1.0 + delta_ratio)
        }
    };
    per_token.median_ratio.is_some() && is_longer(duration) && !is_longer(per_token)
}
