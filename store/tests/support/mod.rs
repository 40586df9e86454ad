//! Runs to keep.
#![allow(dead_code, unreachable_pub, reason = "shared by test files that each use a part")]

use longpole::decode::{Limits, stream};
use longpole::span_record::SpanRecord;
use longpole::time::Timestamp;
use longpole::{Report, ReportOptions, report_on};

/// A run of `desk` with the nodes `fetch`, 100 ms, and `draft`, so long; it starts so many seconds after the epoch.
pub fn spans(number: u64, start_s: u64, draft_ms: u64) -> Vec<SpanRecord> {
    let start = start_s * 1_000;
    let span = |id: u64, parent: &str, attributes: &str, from: u64, to: u64| {
        format!(
            r#"{{"traceId":"{number:032x}","spanId":"{id:016x}",{parent}"name":"s{id}","startTimeUnixNano":"{from}000000","endTimeUnixNano":"{to}000000","attributes":[{attributes}]}}"#
        )
    };
    let text = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let cost = r#",{"key":"longpole.cost.usd","value":{"doubleValue":0.25}}"#;
    let below = r#""parentSpanId":"0000000000000001","#;
    let root = text("longpole.workflow.name", "desk") + "," + &text("longpole.workflow.version", "1.0");
    let spans = [
        span(1, "", &root, start, start + 100 + draft_ms),
        span(2, below, &text("longpole.node.id", "fetch"), start, start + 100),
        span(3, below, &(text("longpole.node.id", "draft") + cost), start + 100, start + 100 + draft_ms),
    ];
    let document = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","));
    let mut read = Vec::new();
    let limits = Limits { keeps_attributes: true, ..Limits::default() };
    stream(document.as_bytes(), &limits, &mut |span| read.push(span)).unwrap();
    read
}

pub fn report(spans: &[SpanRecord]) -> Report {
    report_on(spans.to_vec(), &ReportOptions::default()).remove(0)
}

/// So many seconds after the epoch.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_nanos(seconds * 1_000_000_000)
}
