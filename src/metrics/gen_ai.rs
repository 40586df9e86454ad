//! What OpenTelemetry's conventions for generative AI measure, of the calls and steps of one run.

use std::sync::Arc;

use crate::conventions as keys;
use crate::ids::SpanId;
use crate::report::model_calls::{AgentStep, AgentStepKind, ModelCall};
use crate::report::sums::RunSums;
use crate::time::Timestamp;

use super::instrument::Instrument;
use super::store::{LabelValue, Labels};

/// One value for one histogram.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measurement {
    pub(crate) instrument: Instrument,
    pub(crate) labels: Labels,
    /// In nanoseconds, or a count.
    pub(crate) value: u64,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) end: Timestamp,
}

/// Everything measured of a run's calls of models, agents and tools. Empty for a run without any.
pub(crate) fn measurements(run: &RunSums) -> Vec<Measurement> {
    let mut measured = Vec::new();
    run.calls.iter().for_each(|call| measure_call(call, &mut measured));
    measured.extend(run.agent_steps.iter().map(measured_step));
    measured.extend(whole_run(run));
    measured
}

fn measure_call(call: &ModelCall, measured: &mut Vec<Measurement>) {
    let labels = call_labels(call);
    let mut add = |instrument, labels, value| {
        let (span_id, end) = (Some(call.span_id), call.end);
        measured.push(Measurement { instrument, labels, value, span_id, end });
    };
    if let Some(duration) = call.duration {
        let mut labels = labels.clone();
        labels.extend(text(keys::ERROR_TYPE, call.error_type.as_ref()));
        add(Instrument::GenAiOperationDuration, labels, duration.as_nanos());
    }
    for (kind, tokens) in [("input", call.input_tokens), ("output", call.output_tokens)] {
        let Some(tokens) = tokens else { continue };
        let mut labels = labels.clone();
        labels.push((keys::GEN_AI_TOKEN_TYPE, LabelValue::Text(kind.into())));
        add(Instrument::GenAiTokenUsage, labels, tokens);
    }
}

fn call_labels(call: &ModelCall) -> Labels {
    let mut labels: Labels = vec![(keys::GEN_AI_OPERATION, LabelValue::Text(call.operation.clone()))];
    labels.extend(text(keys::GEN_AI_PROVIDER, call.provider.as_ref()));
    labels.extend(text(keys::GEN_AI_REQUEST_MODEL, call.request_model.as_ref()));
    labels.extend(text(keys::GEN_AI_RESPONSE_MODEL, call.response_model.as_ref()));
    labels.extend(text(keys::SERVER_ADDRESS, call.server_address.as_ref()));
    labels
}

fn measured_step(step: &AgentStep) -> Measurement {
    let (instrument, name) = match step.kind {
        AgentStepKind::Agent => (Instrument::GenAiAgentDuration, keys::GEN_AI_AGENT_NAME),
        AgentStepKind::Tool => (Instrument::GenAiToolDuration, keys::GEN_AI_TOOL_NAME),
        AgentStepKind::Workflow => (Instrument::GenAiWorkflowDuration, keys::GEN_AI_WORKFLOW_NAME),
    };
    let mut labels: Labels = text(name, step.name.as_ref()).into_iter().collect();
    if step.kind == AgentStepKind::Agent {
        labels.extend(text(keys::GEN_AI_REQUEST_MODEL, step.request_model.as_ref()));
    }
    labels.extend(text(keys::ERROR_TYPE, step.error_type.as_ref()));
    let value = step.duration.as_nanos();
    Measurement { instrument, labels, value, span_id: Some(step.span_id), end: step.end }
}

/// A named run with generative AI in it is a workflow too, unless its root says that itself.
fn whole_run(run: &RunSums) -> Option<Measurement> {
    let workflow = run.workflow.as_ref()?;
    let is_told =
        |step: &AgentStep| step.kind == AgentStepKind::Workflow && Some(step.span_id) == run.root_span;
    if (run.calls.is_empty() && run.agent_steps.is_empty()) || run.agent_steps.iter().any(is_told) {
        return None;
    }
    let mut labels: Labels = vec![(keys::GEN_AI_WORKFLOW_NAME, LabelValue::Text(workflow.clone()))];
    labels.extend(text(keys::ERROR_TYPE, run.error_type.as_ref()));
    Some(Measurement {
        instrument: Instrument::GenAiWorkflowDuration,
        labels,
        value: run.wall.as_nanos(),
        span_id: run.root_span,
        end: run.end,
    })
}

fn text(key: &'static str, value: Option<&Arc<str>>) -> Option<(&'static str, LabelValue)> {
    value.map(|value| (key, LabelValue::Text(value.clone())))
}
