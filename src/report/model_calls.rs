//! The calls of models in a run, and the steps of agents around them, one by one: what metrics are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::analysed::Analysed;
use super::charges::{Call, Charges};
use super::sums::error_class;
use crate::cost::price_spans;
use crate::ids::SpanId;
use crate::money::Money;
use crate::prices::{PriceTable, Unpriced};
use crate::run::{Run, RunSpan, SpanIx};
use crate::span_record::{CostSource, NodeFacts, SpanRecord};
use crate::time::{Duration, Timestamp};

/// One call of a model.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct ModelCall {
    pub(crate) operation: Arc<str>,
    pub(crate) provider: Option<Arc<str>>,
    pub(crate) request_model: Option<Arc<str>>,
    pub(crate) response_model: Option<Arc<str>>,
    pub(crate) server_address: Option<Arc<str>>,
    /// The node it is booked to.
    pub(crate) node: Option<Arc<str>>,
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    /// Why it has no price, where it was tried to give it one.
    pub(crate) unpriced: Option<Unpriced>,
    /// Absent where it says nothing: the span never ended, or before it started, or stands for a call that nobody
    /// timed.
    pub(crate) duration: Option<Duration>,
    pub(crate) error_type: Option<Arc<str>>,
    pub(crate) span_id: SpanId,
    pub(crate) end: Timestamp,
}

/// What was charged to a node, by who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct Charge {
    /// `None`: outside every node.
    pub(crate) node: Option<Arc<str>>,
    /// `recorded`, `provider` or `estimated`.
    pub(crate) source: &'static str,
    pub(crate) cost: Money,
}

/// An agent, a tool or a workflow at work.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct AgentStep {
    pub(crate) kind: AgentStepKind,
    /// The agent's, the tool's or the workflow's name.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) request_model: Option<Arc<str>>,
    pub(crate) duration: Duration,
    pub(crate) error_type: Option<Arc<str>>,
    pub(crate) span_id: SpanId,
    pub(crate) end: Timestamp,
}

/// What sort of step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) enum AgentStepKind {
    Agent,
    Tool,
    Workflow,
}

/// The calls of models, in the run's order, each once.
pub(super) fn model_calls(analysed: &Analysed<'_>) -> Vec<ModelCall> {
    analysed.booking.charges.calls.iter().filter_map(|call| model_call(analysed, call)).collect()
}

fn model_call(analysed: &Analysed<'_>, call: &Call) -> Option<ModelCall> {
    let span = analysed.run.span(call.span);
    let facts = span.record.facts.as_deref()?;
    let is_paid_for = facts.cost.is_some() || call.is_covered;
    Some(ModelCall {
        operation: facts.operation.clone()?,
        provider: facts.provider.clone(),
        request_model: facts.request_model.clone(),
        response_model: facts.response_model.clone(),
        server_address: facts.server_address.clone(),
        node: node_of(analysed, call.span),
        input_tokens: call.tokens.input,
        output_tokens: call.tokens.output,
        unpriced: facts.unpriced.filter(|_| !is_paid_for),
        duration: duration_of(span),
        error_type: error_class(&span.record),
        span_id: span.record.span_id,
        end: span.record.end,
    })
}

fn duration_of(span: &RunSpan) -> Option<Duration> {
    let duration = span.record.end.saturating_since(span.record.start);
    (span.in_statistics && !duration.is_zero()).then_some(duration)
}

fn node_of(analysed: &Analysed<'_>, ix: SpanIx) -> Option<Arc<str>> {
    analysed.booking.node_of[ix.index()].map(|node| analysed.booking.nodes[node].name.clone())
}

/// Everything charged, by node and source; adds up to what the run cost.
pub(super) fn charges(analysed: &Analysed<'_>) -> Vec<Charge> {
    let mut sums: BTreeMap<(Option<usize>, &'static str), Money> = BTreeMap::new();
    for (ix, cost) in &analysed.booking.charges.costs {
        let facts = analysed.run.span(*ix).record.facts.as_deref();
        let source = facts.and_then(|facts| facts.cost_source).unwrap_or(CostSource::Recorded).as_str();
        let sum = sums.entry((analysed.booking.node_of[ix.index()], source)).or_default();
        *sum = sum.saturating_add(*cost);
    }
    let name = |node: usize| analysed.booking.nodes[node].name.clone();
    sums.into_iter().map(|((node, source), cost)| Charge { node: node.map(name), source, cost }).collect()
}

/// The steps of agents, in the run's order.
pub(super) fn agent_steps(run: &Run) -> Vec<AgentStep> {
    run.indices().filter_map(|ix| agent_step(run, ix)).collect()
}

fn agent_step(run: &Run, ix: SpanIx) -> Option<AgentStep> {
    let span = run.span(ix);
    let facts = span.record.facts.as_deref().filter(|_| span.in_statistics)?;
    let (kind, name) = kind_and_name(facts)?;
    Some(AgentStep {
        kind,
        name: name.cloned(),
        request_model: facts.request_model.clone(),
        duration: span.record.end.saturating_since(span.record.start),
        error_type: error_class(&span.record),
        span_id: span.record.span_id,
        end: span.record.end,
    })
}

fn kind_and_name(facts: &NodeFacts) -> Option<(AgentStepKind, Option<&Arc<str>>)> {
    match facts.operation.as_deref()? {
        "invoke_agent" => Some((AgentStepKind::Agent, facts.agent_name.as_ref())),
        "execute_tool" => Some((AgentStepKind::Tool, facts.tool_name.as_ref())),
        "invoke_workflow" => Some((AgentStepKind::Workflow, facts.workflow_name.as_ref())),
        _ => None,
    }
}

/// What spans cost, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "it is asked for live"))]
pub(crate) struct SpansCost {
    /// `None` where nothing tells a cost.
    pub(crate) cost: Option<Money>,
    /// Calls of models that are not in it, since nobody knows what they cost.
    pub(crate) unpriced_calls: u64,
}

/// What the spans of one tree cost, by the rules of reports.
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "it is asked for live"))]
pub(crate) fn cost_of_spans(mut records: Vec<SpanRecord>, prices: Option<&PriceTable>) -> SpansCost {
    price_spans(&mut records, prices);
    let Some(run) = Run::from_records(records) else { return SpansCost::default() };
    let charges = Charges::of(&run);
    let has_cost = |ix: SpanIx| run.span(ix).record.facts.as_ref().is_some_and(|facts| facts.cost.is_some());
    let is_unpriced = |call: &&Call| !call.is_covered && !has_cost(call.span);
    SpansCost {
        cost: charges.costs.iter().map(|(_, cost)| *cost).reduce(Money::saturating_add),
        unpriced_calls: charges.calls.iter().filter(is_unpriced).count() as u64,
    }
}

/// Tokens of each span and everything below it, by span; `None` where nothing told any.
pub(super) fn tokens_with_nested(analysed: &Analysed<'_>) -> Vec<Option<u64>> {
    let run = analysed.run;
    let mut tokens: Vec<Option<u64>> = vec![None; run.spans.len()];
    for ix in &analysed.booking.charges.tokens {
        tokens[ix.index()] = run.span(*ix).record.facts.as_deref().and_then(told_tokens);
    }
    for ix in run.indices().rev() {
        if let (Some(parent), Some(below)) = (run.span(ix).parent, tokens[ix.index()]) {
            let sum = tokens[parent.index()].unwrap_or(0).saturating_add(below);
            tokens[parent.index()] = Some(sum);
        }
    }
    tokens
}

/// Input and output together, if either was told.
pub(crate) fn told_tokens(facts: &NodeFacts) -> Option<u64> {
    let (input, output) = (facts.tokens.input, facts.tokens.output);
    (input.is_some() || output.is_some()).then(|| input.unwrap_or(0).saturating_add(output.unwrap_or(0)))
}
