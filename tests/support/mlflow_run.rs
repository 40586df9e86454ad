//! A run that is logged to MLflow.

use longpole::{MlflowConfig, Report, ReportOptions, report_on};
use serde_json::{Value, json};

/// A run of a second: `fetch:1` twice, 400 and 100 ms, then `write`, 500 ms, which asked a model for 1.25 cents.
pub fn trace() -> Value {
    let start = 1_700_000_000_000u64;
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let int = |key: &str, value: u64| json!({"key": key, "value": {"intValue": value.to_string()}});
    let span = |id: u64, name: &str, from: u64, to: u64, attributes: Vec<Value>| {
        let parent = if id == 1 { String::new() } else { format!("{:016x}", 1) };
        json!({
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": format!("{id:016x}"), "parentSpanId": parent,
            "name": name, "kind": 1, "attributes": attributes,
            "startTimeUnixNano": format!("{}000000", start + from), "endTimeUnixNano": format!("{}000000", start + to),
        })
    };
    let node = |id: &str| text("longpole.node.id", id);
    let spans = [
        span(1, "run", 0, 1_000, vec![text("longpole.workflow.name", "nightly")]),
        span(2, "fetch", 0, 400, vec![node("fetch:1")]),
        span(3, "fetch", 400, 500, vec![node("fetch:1")]),
        span(
            4,
            "write",
            500,
            1_000,
            vec![
                node("write"),
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.request.model", "gpt-4.1"),
                int("gen_ai.usage.input_tokens", 1_000),
                int("gen_ai.usage.output_tokens", 50),
                json!({"key": "longpole.cost.usd", "value": {"doubleValue": 0.0125}}),
            ],
        ),
    ];
    json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
}

pub fn report() -> Report {
    let decoded = longpole::decode::decode(trace().to_string().as_bytes()).unwrap();
    report_on(decoded.spans, &ReportOptions::default()).remove(0)
}

/// What [`trace`] says, by hand.
pub const METRICS: [(&str, f64); 12] = [
    ("duration_ms", 1_000.0),
    ("total_time_ms", 1_000.0),
    ("node_count", 2.0),
    ("error_count", 0.0),
    ("retry_count", 0.0),
    ("total_input_tokens", 1_000.0),
    ("total_output_tokens", 50.0),
    ("total_cost_usd", 0.0125),
    ("unpriced_calls", 0.0),
    ("node_fetch_1_duration_ms", 500.0),
    ("node_write_duration_ms", 500.0),
    ("node_write_cost_usd", 0.0125),
];

pub fn config(base: String) -> MlflowConfig {
    let mut config = MlflowConfig::new(base);
    config.experiment_name = Some("agents".to_owned());
    config
}
