//! Spans that were read can be written and read again without a loss.

use std::path::{Path, PathBuf};

use longpole::decode::{Limits, decode, stream};
use longpole::otlp_bytes::traces_data;
use longpole::span_record::SpanRecord;

fn keeping(bytes: &[u8]) -> Vec<SpanRecord> {
    let mut spans = Vec::new();
    let limits = Limits { keeps_attributes: true, ..Limits::default() };
    let _ = stream(bytes, &limits, &mut |span| spans.push(span));
    spans
}

/// Without what was kept, as records are without asking for it.
fn without_attributes(mut span: SpanRecord) -> SpanRecord {
    if let Some(facts) = &mut span.facts {
        facts.told = None;
    }
    span.facts = span.facts.filter(|facts| **facts != Default::default());
    span
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, found);
        } else if !name.ends_with(".expected.json") && !name.contains("/record/") && !name.ends_with(".md") {
            found.push(path);
        }
    }
}

#[test]
fn what_is_written_of_any_trace_is_read_as_the_same_spans() {
    let mut paths = Vec::new();
    for folder in ["agents", "foreign", "oracles/traces", "oracles/random"] {
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder), &mut paths);
    }
    let mut spans = 0;
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let kept = keeping(&bytes);
        let written = traces_data(&kept);
        assert_eq!(keeping(&written), kept, "{}", path.display());
        let plain: Vec<SpanRecord> = decode(&bytes).map(|decoded| decoded.spans).unwrap_or_default();
        let stripped: Vec<SpanRecord> = kept.into_iter().map(without_attributes).collect();
        assert_eq!(stripped, plain, "{}", path.display());
        assert_eq!(decode(&written).unwrap().spans, plain, "{}", path.display());
        spans += plain.len();
    }
    assert!(spans > 500, "{spans}");
    assert_eq!(traces_data(&[]), b"");
}

#[test]
fn what_a_node_was_given_and_where_a_request_went_is_not_written() {
    let trace = br#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},
        {"key":"host.name","value":{"stringValue":"h1"}}]},"scopeSpans":[{"spans":[
      {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","name":"search","kind":3,
       "startTimeUnixNano":"5","endTimeUnixNano":"100","status":{"code":2,"message":"hush"},
       "links":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00000000000000aa",
                 "attributes":[{"key":"longpole.edge","value":{"stringValue":"depends_on"}}]}],
       "attributes":[
        {"key":"gen_ai.operation.name","value":{"stringValue":"execute_tool"}},
        {"key":"gen_ai.tool.name","value":{"stringValue":"find"}},
        {"key":"gen_ai.tool.call.arguments","value":{"stringValue":"my secret wish"}},
        {"key":"gen_ai.prompt","value":{"stringValue":"another secret"}},
        {"key":"url.full","value":{"stringValue":"http://secret.example"}},
        {"key":"longpole.node.depends_on","value":{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}},
        {"key":"server.address","value":{"stringValue":"api.example"}},
        {"key":"longpole.cost.usd","value":{"doubleValue":0.125}},
        {"key":"node.detached","value":{"boolValue":true}},
        {"key":"node.attempt","value":{"intValue":"2"}}]}]}]}]}"#;
    let kept = keeping(trace);
    let written = traces_data(&kept);
    assert_eq!(keeping(&written), kept);
    let text = String::from_utf8_lossy(&written);
    assert!(text.contains("execute_tool") && text.contains("depends_on"));
    assert!(!text.contains("secret") && !text.contains("hush"), "{text}");
    let facts = decode(&written).unwrap().spans.remove(0).facts.unwrap();
    assert!(facts.is_http && facts.detached && facts.input_hash.is_some());
    assert_eq!((facts.attempt, facts.depends_on.len()), (Some(2), 2));
}
