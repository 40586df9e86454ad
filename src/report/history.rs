//! What is usual: what earlier runs of the same workflow took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Baseline, Report, RunStatus};
use crate::time::Duration;

/// Earlier runs of one workflow, oldest first. Only as much of them as is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The runs.
    pub runs: Vec<PastRun>,
}

/// An earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRun {
    /// How long it took.
    pub wall_ns: Duration,
    /// Its nodes by name.
    pub nodes: BTreeMap<String, PastNode>,
    /// The models it called, by name: those that wrote tokens. Empty for runs noted before that was done.
    #[serde(default)]
    pub models: BTreeMap<String, PastModel>,
}

/// A model in an earlier run: sums over its calls that told output tokens and did not fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastModel {
    /// How many calls.
    pub calls: u64,
    /// The tokens they wrote.
    pub output_tokens: u64,
    /// How long they took, without queueing.
    pub running_ns: Duration,
}

/// A node in an earlier run: sums over its executions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastNode {
    /// How many executions it had.
    pub calls: u64,
    /// How many of them were second or later tries.
    pub retries: u64,
    /// How long they took, without queueing.
    pub running_ns: Duration,
    /// How long they queued.
    pub queued_ns: Duration,
    /// Tokens read.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// The model most of them used.
    pub model: Option<String>,
}

impl History {
    /// Only the latest so many runs are kept: what was usual a hundred runs ago says little.
    pub const MAX_RUNS: usize = 100;
    /// With fewer earlier runs nothing is called usual.
    pub const MIN_RUNS: usize = 5;

    /// The runs of these reports, oldest first. Incomplete runs are left out: they say too little.
    pub fn of<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Self {
        let mut history = History::default();
        reports.into_iter().for_each(|report| history.push(report));
        history
    }

    /// Adds a later run, unless it is incomplete.
    pub fn push(&mut self, report: &Report) {
        if report.run.status == RunStatus::Incomplete {
            return;
        }
        if self.runs.len() >= Self::MAX_RUNS {
            self.runs.remove(0);
        }
        let nodes = report.nodes.iter().map(|node| {
            let past = PastNode {
                calls: node.calls,
                retries: node.retries,
                running_ns: node.duration.sum_ns.saturating_sub(node.queued_ns),
                queued_ns: node.queued_ns,
                input_tokens: node.tokens.map(|tokens| tokens.input),
                output_tokens: node.tokens.map(|tokens| tokens.output),
                model: node.model.clone(),
            };
            (node.name.clone(), past)
        });
        let mut models: BTreeMap<String, PastModel> = BTreeMap::new();
        for row in report.cost.iter().flat_map(|cost| &cost.models).filter(|row| row.timed_calls > 0) {
            let Some(model) = &row.model else { continue };
            let past = models.entry(model.clone()).or_default();
            past.calls = past.calls.saturating_add(row.timed_calls);
            past.output_tokens = past.output_tokens.saturating_add(row.timed_output_tokens);
            past.running_ns = past.running_ns.saturating_add(row.output_time_ns);
        }
        self.runs.push(PastRun { wall_ns: report.run.wall_ns, nodes: nodes.collect(), models });
    }

    /// What whole runs took; `None` without any.
    pub fn wall(&self) -> Option<Baseline> {
        baseline(self.runs.iter().map(|run| run.wall_ns.as_nanos()).collect())
    }

    /// What a node took in the runs it was in, without queueing.
    pub fn node(&self, name: &str) -> Option<Baseline> {
        baseline(self.past(name).map(|node| node.running_ns.as_nanos()).collect())
    }

    /// The median of some figure of a node over the runs that have it.
    pub fn median_of(&self, name: &str, figure: impl Fn(&PastNode) -> Option<u64>) -> Option<u64> {
        median(self.past(name).filter_map(figure).collect())
    }

    /// Output tokens per second of each run in which a model wrote any: over its calls, or over all nodes that used it
    /// where calls were not noted.
    pub fn speeds_of(&self, model: &str) -> Vec<f64> {
        let speed = |run: &PastRun| {
            if let Some(past) = run.models.get(model).filter(|past| !past.running_ns.is_zero()) {
                return Some(past.output_tokens as f64 / past.running_ns.as_secs_f64());
            }
            let of_model = || run.nodes.values().filter(|node| node.model.as_deref() == Some(model));
            let tokens: u64 = of_model().filter_map(|node| node.output_tokens).sum();
            let time: Duration =
                of_model().filter(|node| node.output_tokens.is_some()).map(|node| node.running_ns).sum();
            (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
        };
        self.runs.iter().filter_map(speed).collect()
    }

    /// How many tokens a call of a model usually writes: the median over the runs that tell.
    pub fn output_per_call(&self, model: &str) -> Option<u64> {
        let of_run =
            |run: &PastRun| run.models.get(model)?.output_tokens.checked_div(run.models.get(model)?.calls);
        median(self.runs.iter().filter_map(of_run).collect())
    }

    fn past(&self, name: &str) -> impl Iterator<Item = &PastNode> {
        self.runs.iter().filter_map(move |run| run.nodes.get(name))
    }
}

impl Baseline {
    /// So many median distances are noise.
    pub(crate) const NOISE: f64 = 3.0;
    /// What is less than so many times the usual is not news.
    pub(crate) const LEAST_FACTOR: f64 = 1.05;

    /// Whether something took longer than usual by more than chance: past the median by three median distances, and
    /// by at least 5 %.
    pub fn is_exceeded_by(&self, took: Duration) -> bool {
        let usual = u128::from(self.p50_ns.as_nanos());
        let took = u128::from(took.as_nanos());
        let noise = 3 * u128::from(self.mad_ns.as_nanos());
        took > usual + noise && took * 100 >= usual * 105
    }

    /// The same for less time than usual.
    pub fn is_undercut_by(&self, took: Duration) -> bool {
        let usual = u128::from(self.p50_ns.as_nanos());
        let took = u128::from(took.as_nanos());
        let noise = 3 * u128::from(self.mad_ns.as_nanos());
        took + noise < usual && took * 105 <= usual * 100
    }
}

fn baseline(values: Vec<u64>) -> Option<Baseline> {
    let runs = values.len() as u64;
    let p50 = median(values.clone())?;
    let mad = median(values.into_iter().map(|value| value.abs_diff(p50)).collect())?;
    Some(Baseline { runs, p50_ns: Duration::from_nanos(p50), mad_ns: Duration::from_nanos(mad) })
}

/// The middle value; of an even number the mean of the middle two, rounded down.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(lower + (upper - lower) / 2)
}
