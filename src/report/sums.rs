//! What one run adds to sums over many, and to metrics.

use std::collections::HashMap;
use std::sync::Arc;

use super::RunStatus;
use super::analysed::Analysed;
use super::booking::{NodeIx, NodeTally};
use super::charges::Call;
use crate::histogram::DurationStats;
use crate::ids::{SpanId, TraceId};
use crate::money::Money;
use crate::prices::Unpriced;
use crate::run::SpanIx;
use crate::run_profile::RunProfile;
use crate::span_record::{CostSource, NodeFacts, Outcome, SpanRecord, Status, TokenCounts};
use crate::time::{Duration, Timestamp};

/// What one run adds to sums over many.
#[derive(Debug)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct RunSums {
    pub(crate) nodes: Vec<NodeSums>,
    /// Every execution that counts in statistics, in order of the nodes.
    pub(crate) executions: Vec<Execution>,
    /// Every call of a model, each once, in order of the spans.
    pub(crate) calls: Vec<ModelCall>,
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
    pub(crate) span_id: Option<SpanId>,
    pub(crate) end: Timestamp,
}

/// One call of a model.
#[derive(Debug)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct ModelCall {
    pub(crate) operation: Option<Arc<str>>,
    pub(crate) provider: Option<Arc<str>>,
    pub(crate) request_model: Option<Arc<str>>,
    pub(crate) response_model: Option<Arc<str>>,
    pub(crate) server_address: Option<Arc<str>>,
    /// The node it belongs to.
    pub(crate) node: Option<Arc<str>>,
    /// How many executions that node's is nested in.
    pub(crate) depth: u32,
    /// What it used; input includes cached tokens, output includes reasoning.
    pub(crate) tokens: TokenCounts,
    pub(crate) cost: Option<Money>,
    /// Who says what it cost.
    pub(crate) cost_source: Option<CostSource>,
    /// Why it has no price, where it was tried to give it one.
    pub(crate) unpriced: Option<Unpriced>,
    /// Absent where its end or its start is wrong.
    pub(crate) duration: Option<Duration>,
    /// The class of its error, if it failed.
    pub(crate) error_type: Option<Arc<str>>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) end: Timestamp,
}

pub(super) fn run_sums(analysed: &Analysed<'_>, status: RunStatus) -> RunSums {
    let run = analysed.run;
    let root = run.span(run.root);
    RunSums {
        executions: executions(analysed),
        calls: calls(analysed),
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
    let drags: HashMap<&str, Duration> = names.collect();
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
    let of_node = |tally: &NodeTally| {
        let node = tally.name.clone();
        let counted = tally.executions.iter().copied().filter(|ix| run.span(*ix).in_statistics);
        let execution = |ix: SpanIx| {
            let record = &run.span(ix).record;
            Execution {
                node: node.clone(),
                depth: depths[ix.index()],
                outcome: outcome(record),
                error_type: error_type(record),
                duration: record.end.saturating_since(record.start),
                self_time: own_times[ix.index()],
                busy: record.timing.busy,
                span_id: (!run.span(ix).is_synthetic).then_some(record.span_id),
                end: record.end,
            }
        };
        counted.map(execution).collect::<Vec<_>>()
    };
    booking.nodes.iter().flat_map(of_node).collect()
}

fn calls(analysed: &Analysed<'_>) -> Vec<ModelCall> {
    let (run, booking) = (analysed.run, &analysed.booking);
    if booking.charges.calls.is_empty() {
        return Vec::new();
    }
    let depths = analysed.depths();
    let call = |call: &Call| {
        let span = run.span(call.span);
        let record = &span.record;
        let facts = record.facts.as_deref();
        let text = |pick: fn(&NodeFacts) -> &Option<Arc<str>>| facts.and_then(|facts| pick(facts).clone());
        let execution = booking.execution_of[call.span.index()];
        ModelCall {
            operation: text(|facts| &facts.operation),
            provider: text(|facts| &facts.provider),
            request_model: text(|facts| &facts.request_model),
            response_model: text(|facts| &facts.response_model),
            server_address: text(|facts| &facts.server_address),
            node: booking.node_of[call.span.index()].map(|node| booking.nodes[node].name.clone()),
            depth: execution.map_or(0, |execution| depths[execution.index()]),
            tokens: call.tokens,
            cost: facts.and_then(|facts| facts.cost),
            cost_source: facts.and_then(|facts| facts.cost_source),
            unpriced: facts.and_then(|facts| facts.unpriced),
            duration: span.in_statistics.then(|| record.end.saturating_since(record.start)),
            error_type: error_type(record),
            span_id: (!span.is_synthetic).then_some(record.span_id),
            end: record.end,
        }
    };
    booking.charges.calls.iter().map(call).collect()
}

/// The class of its error, if it failed.
fn error_type(record: &SpanRecord) -> Option<Arc<str>> {
    let class = record.facts.as_deref().and_then(|facts| facts.error_type.clone());
    record.failed().then(|| {
        class.unwrap_or_else(|| match outcome(record) {
            "error" => "_OTHER".into(),
            other => other.into(),
        })
    })
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
