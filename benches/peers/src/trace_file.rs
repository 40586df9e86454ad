//! Files of spans as a collector writes them: runs of an agent's steps and the model calls in them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// Spans of one request, as batch processors send them.
const SPANS_PER_REQUEST: usize = 1_000;
const MODELS: [&str; 3] = ["claude-sonnet-4-5", "gpt-5-mini", "gemini-3-flash"];
const BEGIN: u64 = 1_700_000_000_000_000_000;
/// From one step to the next, and how long each takes, in nanoseconds.
const STEP: u64 = 4_000_000;
const STEP_TAKES: u64 = 3_900_000;

/// Requests one after the other.
pub fn protobuf(spans: usize, spans_per_run: usize) -> Vec<u8> {
    requests(spans, spans_per_run).fold(Vec::new(), |mut file, request| {
        file.extend(request.encode_to_vec());
        file
    })
}

/// A request a line.
///
/// # Errors
/// If a request cannot be written as JSON.
pub fn json_lines(spans: usize, spans_per_run: usize) -> serde_json::Result<Vec<u8>> {
    let mut file = Vec::new();
    for request in requests(spans, spans_per_run) {
        serde_json::to_writer(&mut file, &request)?;
        file.push(b'\n');
    }
    Ok(file)
}

fn requests(spans: usize, spans_per_run: usize) -> impl Iterator<Item = ExportTraceServiceRequest> {
    (0..spans).step_by(SPANS_PER_REQUEST).map(move |first| {
        let last = spans.min(first + SPANS_PER_REQUEST);
        let scope_spans = ScopeSpans {
            scope: Some(InstrumentationScope { name: "agent".to_owned(), ..Default::default() }),
            spans: (first..last).map(|number| span(number, spans_per_run)).collect(),
            ..Default::default()
        };
        let resource = Resource { attributes: vec![text("service.name", "research")], ..Default::default() };
        let resource_spans =
            ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans], ..Default::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    })
}

/// In each run a root, under it steps one after the other, under each step three model calls.
fn span(number: usize, spans_per_run: usize) -> Span {
    let (run, at) = ((number / spans_per_run) as u64, number % spans_per_run);
    let begin = BEGIN + run * 1_000_000_000;
    let (step, call) = (at.saturating_sub(1) as u64 / 4, at.saturating_sub(1) as u64 % 4);
    let step_start = begin + step * STEP;
    let number = number as u64;
    let (name, parent, start, end, attributes) = match at {
        0 => {
            let end = begin + (spans_per_run as u64).div_ceil(4) * STEP + 1_000_000;
            ("run".to_owned(), None, begin, end, vec![text("longpole.workflow.name", "research")])
        }
        _ if call == 0 => {
            let name = format!("step {}", step % 100);
            let node = text("longpole.node.id", &name);
            (name, Some(1), step_start, step_start + STEP_TAKES, vec![node])
        }
        _ => {
            let start = step_start + call * 900_000 + number * 7_919 % 200_000;
            let end = start + 700_000 + number * 104_729 % 400_000;
            let model = MODELS[number as usize % MODELS.len()];
            let attributes = vec![
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.request.model", model),
                text("gen_ai.provider.name", "anthropic"),
                int("gen_ai.usage.input_tokens", number % 9_000),
                int("gen_ai.usage.output_tokens", number % 700),
            ];
            (format!("chat {model}"), Some(2 + step * 4), start, end, attributes)
        }
    };
    let everywhere = [int("thread.id", number % 16), text("code.namespace", "agent::steps")];
    Span {
        trace_id: u128::from(run + 1).to_be_bytes().to_vec(),
        span_id: (at as u64 + 1).to_be_bytes().to_vec(),
        parent_span_id: parent.map(|id: u64| id.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: 0x101,
        name,
        kind: 1,
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        attributes: everywhere.into_iter().chain(attributes).collect(),
        status: Some(Status::default()),
        ..Default::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(value.cast_signed()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
