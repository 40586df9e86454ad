//! What one run adds to sums over many, and to metrics.

use std::sync::Arc;

use super::RunStatus;
use super::analysed::Analysed;
use super::booking::{NodeIx, NodeTally};
use super::model_calls::{
    AgentStep, Charge, ModelCall, agent_steps, charges, model_calls, tokens_with_nested,
};
use crate::hashing::QuickMap;
use crate::histogram::DurationStats;
use crate::ids::{SpanId, TraceId};
use crate::money::Money;
use crate::run::SpanIx;
use crate::run_profile::RunProfile;
use crate::span_record::{Outcome, SpanRecord, Status};
use crate::time::{Duration, Timestamp};

/// What one run adds to sums over many.
#[derive(Debug)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct RunSums {
    pub(crate) nodes: Vec<NodeSums>,
    /// Every execution that counts in statistics, in order of the nodes.
    pub(crate) executions: Vec<Execution>,
    /// Every call of a model.
    pub(crate) calls: Vec<ModelCall>,
    /// What was charged, by node and source: all the run cost.
    pub(crate) charges: Vec<Charge>,
    /// Every agent, tool and workflow at work.
    pub(crate) agent_steps: Vec<AgentStep>,
    /// The class of the error its root failed with.
    pub(crate) error_type: Option<Arc<str>>,
    pub(crate) workflow: Option<Arc<str>>,
    pub(crate) outcome: &'static str,
    pub(crate) wall: Duration,
    pub(crate) end: Timestamp,
    pub(crate) trace_id: TraceId,
    pub(crate) root_span: Option<SpanId>,
    /// Whether its trace can be looked up in a backend.
    pub(crate) is_sampled: bool,
    /// Where its critical path's time went.
    pub(crate) profile: RunProfile,
}

/// One execution of a node.
#[derive(Debug)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct Execution {
    pub(crate) node: Arc<str>,
    /// How many executions it is nested in.
    pub(crate) depth: u32,
    pub(crate) outcome: &'static str,
    /// The class of its error, if it failed.
    pub(crate) error_type: Option<Arc<str>>,
    /// Queueing included.
    pub(crate) duration: Duration,
    /// Time in which no nested node ran.
    pub(crate) self_time: Duration,
    pub(crate) busy: Option<Duration>,
    /// What its calls used, nested executions included; `None` where nothing tells.
    pub(crate) tokens: Option<u64>,
    /// Conversation turns it says it took.
    pub(crate) turns: Option<u64>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) end: Timestamp,
}

pub(super) fn run_sums(analysed: &Analysed<'_>, status: RunStatus) -> RunSums {
    let run = analysed.run;
    let root = run.span(run.root);
    RunSums {
        executions: executions(analysed),
        calls: model_calls(analysed),
        charges: charges(analysed),
        agent_steps: agent_steps(run),
        error_type: error_class(&root.record),
        nodes: node_sums(analysed),
        workflow: root.record.workflow_name().cloned(),
        outcome: match status {
            RunStatus::Ok => "ok",
            RunStatus::Error => "error",
            RunStatus::Panicked => "panicked",
            RunStatus::Cancelled => "cancelled",
            RunStatus::Incomplete => "partial",
        },
        wall: run.wall(),
        end: root.clipped.end,
        trace_id: root.record.trace_id,
        root_span: (!root.is_synthetic).then_some(root.record.span_id),
        is_sampled: root.record.local.is_some_and(|local| local.is_sampled),
        profile: profile(analysed, status),
    }
}

/// Where the time of a run's critical path went.
pub(super) fn profile(analysed: &Analysed<'_>, status: RunStatus) -> RunProfile {
    let mut profile = RunProfile::of(analysed.run, &analysed.critical.segments);
    let names = analysed.savings().iter().map(|(node, drag)| (&*analysed.booking.nodes[*node].name, *drag));
    let drags: QuickMap<&str, Duration> = names.collect();
    profile.set_drags(|name| drags.get(name).copied());
    profile.is_partial |= status == RunStatus::Incomplete;
    profile
}

fn executions(analysed: &Analysed<'_>) -> Vec<Execution> {
    let Analysed { run, booking, self_times, .. } = analysed;
    let mut own_times = vec![Duration::ZERO; self_times.len()];
    for ix in run.indices() {
        let Some(execution) = booking.execution_of[ix.index()] else { continue };
        let own = &mut own_times[execution.index()];
        *own = own.saturating_add(self_times[ix.index()]);
    }
    let depths = analysed.depths();
    let tokens = tokens_with_nested(analysed);
    let of_node = |tally: &NodeTally| {
        let node = tally.name.clone();
        let counted = tally.executions.iter().copied().filter(|ix| run.span(*ix).in_statistics);
        let execution = |ix: SpanIx| {
            let record = &run.span(ix).record;
            Execution {
                node: node.clone(),
                depth: depths[ix.index()],
                outcome: outcome(record),
                error_type: error_class(record),
                duration: record.end.saturating_since(record.start),
                self_time: own_times[ix.index()],
                busy: record.timing.busy,
                tokens: tokens[ix.index()],
                turns: record.facts.as_ref().and_then(|facts| facts.turns),
                span_id: (!run.span(ix).is_synthetic).then_some(record.span_id),
                end: record.end,
            }
        };
        counted.map(execution).collect::<Vec<_>>()
    };
    booking.nodes.iter().flat_map(of_node).collect()
}

/// The class of a span's error, as metrics tell it; `None` if it did not fail.
pub(super) fn error_class(record: &SpanRecord) -> Option<Arc<str>> {
    let told = || {
        let told = record.facts.as_ref()?.error_type.as_ref()?;
        let class = crate::conventions::error_class(told);
        Some(if class == &**told { told.clone() } else { class.into() })
    };
    let default = match outcome(record) {
        "error" => "_OTHER",
        other => other,
    };
    record.failed().then(|| told().unwrap_or_else(|| default.into()))
}

/// How an execution ended, as metrics tell it.
pub(crate) fn outcome(record: &SpanRecord) -> &'static str {
    match record.facts.as_ref().and_then(|facts| facts.outcome) {
        Some(Outcome::Panicked) => "panicked",
        Some(Outcome::Cancelled) => "cancelled",
        Some(Outcome::Partial) => "partial",
        None if record.status == Status::Error => "error",
        None => "ok",
    }
}

/// What one node's executions in one run add to the sums.
#[derive(Debug, Default)]
pub(crate) struct NodeSums {
    pub(crate) name: Arc<str>,
    /// Whether its time counts in the sum of node times: not if it only stands for the run as a whole.
    pub(crate) counts_in_sum: bool,
    pub(crate) durations: DurationStats,
    pub(crate) failures: u64,
    pub(crate) on_path: Duration,
    pub(crate) self_time: Duration,
    pub(crate) queued: Duration,
    pub(crate) cost: Option<Money>,
}

fn node_sums(analysed: &Analysed<'_>) -> Vec<NodeSums> {
    let booking = &analysed.booking;
    let is_root_beside_others =
        |node: NodeIx| booking.nodes.len() > 1 && booking.is_root_alone(analysed.run, node);
    let sums = |(node, tally): (NodeIx, &NodeTally)| NodeSums {
        counts_in_sum: !is_root_beside_others(node),
        on_path: analysed.path.of(node).map_or(Duration::ZERO, |path_node| path_node.time),
        name: tally.name.clone(),
        durations: tally.durations.clone(),
        failures: tally.failures,
        self_time: tally.self_time,
        queued: tally.queued,
        cost: tally.cost,
    };
    booking.nodes.iter().enumerate().map(sums).collect()
}
