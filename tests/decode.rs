//! Bytes in every form of OTLP come out as the same spans, and damaged ones as an error with its place.

use longpole::decode::{DecodeError, Decoded, decode};
use longpole::ids::{SpanId, TraceId};
use longpole::money::Money;
use longpole::span_record::{CostSource, NodeFacts, Outcome, SpanKind, SpanRecord, Status, TokenCounts};
use longpole::time::Duration;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status as ProtoStatus, TracesData,
};
use proptest::prelude::*;
use prost::Message;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn strings(values: &[&str]) -> Value {
    Value::ArrayValue(ArrayValue {
        values: values.iter().map(|v| AnyValue { value: Some(text(v)) }).collect(),
    })
}

fn traces(spans: Vec<Span>) -> TracesData {
    let scope = InstrumentationScope { name: "test".to_owned(), ..InstrumentationScope::default() };
    let resource =
        Resource { attributes: vec![attribute("service.name", text("svc"))], ..Resource::default() };
    TracesData {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
            schema_url: String::new(),
        }],
    }
}

fn span(id: u8) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        name: format!("span {id}"),
        start_time_unix_nano: 1_700_000_000_000_000_001,
        end_time_unix_nano: 1_700_000_000_000_000_002,
        ..Span::default()
    }
}

fn only(decoded: Decoded) -> SpanRecord {
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    assert_eq!(decoded.spans.len(), 1);
    decoded.spans.into_iter().next().unwrap()
}

#[test]
fn every_attribute_the_analysis_reads_is_read() {
    let mut one = span(1);
    one.attributes = vec![
        attribute("longpole.node.id", text("fetch")),
        attribute("longpole.node.kind", text("io")),
        attribute("longpole.node.depends_on", strings(&["a", "b"])),
        attribute("longpole.node.detached", Value::BoolValue(true)),
        attribute("longpole.node.attempt", Value::IntValue(2)),
        attribute("longpole.node.turns", Value::DoubleValue(3.0)),
        attribute("longpole.node.input_bytes", text("4")),
        attribute("longpole.node.output_bytes", Value::IntValue(-5)),
        attribute("longpole.node.input_hash", Value::IntValue(77)),
        attribute("longpole.node.phase", text("parse")),
        attribute("longpole.cost.usd", Value::DoubleValue(0.25)),
        attribute("longpole.workflow.name", text("desk")),
        attribute("longpole.workflow.version", text("7")),
        attribute("longpole.run.spans", Value::IntValue(9)),
        attribute("longpole.queued_ns", Value::IntValue(10)),
        attribute("longpole.busy_ns", Value::IntValue(20)),
        attribute("longpole.polls", Value::IntValue(2)),
        attribute("longpole.longest_poll_ns", Value::IntValue(15)),
        attribute("longpole.first_enter_ns", Value::IntValue(11)),
        attribute("longpole.held_open_ns", Value::IntValue(30)),
        attribute("longpole.outcome", text("cancelled")),
        attribute("gen_ai.operation.name", text("chat")),
        attribute("gen_ai.agent.name", text("agent")),
        attribute("gen_ai.tool.name", text("tool")),
        attribute("gen_ai.provider.name", text("openai")),
        attribute("gen_ai.request.model", text("m1")),
        attribute("gen_ai.response.model", text("m2")),
        attribute("gen_ai.usage.input_tokens", Value::IntValue(1)),
        attribute("gen_ai.usage.output_tokens", Value::IntValue(2)),
        attribute("gen_ai.usage.cache_read.input_tokens", Value::IntValue(3)),
        attribute("gen_ai.usage.cache_creation.input_tokens", Value::IntValue(4)),
        attribute("gen_ai.usage.reasoning.output_tokens", Value::IntValue(5)),
        attribute("error.type", text("timeout")),
        attribute("http.request.method", text("GET")),
        attribute("db.system", text("sqlite")),
        attribute("node.id", Value::BytesValue(vec![1])),
        attribute("unknown", Value::KvlistValue(KeyValueList::default())),
    ];
    one.kind = 3;
    one.status = Some(ProtoStatus { code: 2, message: "late".to_owned() });
    one.parent_span_id = vec![0; 8];
    let read = only(decode(&traces(vec![one]).encode_to_vec()).unwrap());
    let name = |text: &str| Some(text.into());
    let expected = NodeFacts {
        node_id: name("fetch"),
        node_kind: name("io"),
        workflow_name: name("desk"),
        workflow_version: name("7"),
        phase: name("parse"),
        operation: name("chat"),
        agent_name: name("agent"),
        tool_name: name("tool"),
        provider: name("openai"),
        request_model: name("m1"),
        response_model: name("m2"),
        error_type: name("timeout"),
        depends_on: vec!["a".into(), "b".into()],
        tells_depends_on: true,
        outcome: Some(Outcome::Cancelled),
        attempt: Some(2),
        turns: Some(3),
        input_bytes: Some(4),
        output_bytes: None,
        cost: Some(Money::from_picodollars(250_000_000_000)),
        tokens: TokenCounts {
            input: Some(1),
            output: Some(2),
            cache_read: Some(3),
            cache_write: Some(4),
            reasoning: Some(5),
        },
        detached: true,
        is_http: true,
        is_db: true,
        input_hash: Some(77),
        run_spans: std::num::NonZeroU64::new(9),
        cost_source: Some(CostSource::Recorded),
        ..NodeFacts::default()
    };
    assert_eq!(read.facts.as_deref(), Some(&expected));
    assert_eq!((read.kind, read.status, read.parent_id), (SpanKind::Client, Status::Error, None));
    assert_eq!(read.origin.service_name.as_deref(), Some("svc"));
    let nanos = Duration::from_nanos;
    assert_eq!((read.timing.queued, read.timing.busy, read.timing.polls), (nanos(10), Some(nanos(20)), 2));
    assert_eq!((read.timing.longest_poll, read.timing.held_open), (nanos(15), nanos(30)));
    assert_eq!(read.timing.first_enter, Some(nanos(11)));
}

#[test]
fn dialects_of_json_read_the_same() {
    let standard = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"svc"}}]},
        "scopeSpans":[{"spans":[{"traceId":"07070707070707070707070707070707","spanId":"0101010101010101",
        "parentSpanId":"0202020202020202","name":"n","kind":3,"startTimeUnixNano":"1700000000000000001",
        "endTimeUnixNano":"1700000000000000002","status":{"code":2},"unknown":[[{}]],
        "attributes":[{"key":"node.attempt","value":{"intValue":"2"}}]}]}]}]}"#;
    let expected = only(decode(standard.as_bytes()).unwrap());
    assert_eq!(expected.kind, SpanKind::Client);
    assert_eq!(expected.facts.as_ref().unwrap().attempt, Some(2));
    let dialects = [
        standard.replace("\n", ""),
        format!("\u{feff}{standard}\n\n"),
        standard
            .replace("resourceSpans", "resource_spans")
            .replace("scopeSpans", "scope_spans")
            .replace("traceId", "trace_id")
            .replace("parentSpanId", "parent_span_id")
            .replace("spanId", "span_id")
            .replace("startTimeUnixNano", "start_time_unix_nano")
            .replace("endTimeUnixNano", "end_time_unix_nano")
            .replace("stringValue", "string_value")
            .replace("intValue", "int_value"),
        standard
            .replace("07070707070707070707070707070707", "BwcHBwcHBwcHBwcHBwcHBw==")
            .replace("\"0101010101010101\"", "\"AQEBAQEBAQE=\"")
            .replace("0202020202020202", "AgICAgICAgI"),
        standard
            .replace("\"kind\":3", "\"kind\":\"SPAN_KIND_CLIENT\"")
            .replace("\"code\":2", "\"code\":\"STATUS_CODE_ERROR\""),
        standard.replace("\"kind\":3", "\"kind\":\"client\"").replace("\"code\":2", "\"code\":\"Error\""),
        standard.replace("\"1700000000000000001\"", "1700000000000000001").replace("\"2\"", "2.0"),
        format!(r#"{{"result":{standard}}}"#),
        format!(r#"{{"trace":{standard}}}"#),
    ];
    for dialect in dialects {
        assert_eq!(only(decode(dialect.as_bytes()).unwrap()), expected, "{dialect}");
    }
}

#[test]
fn fields_may_come_in_any_order_and_the_last_of_a_single_one_counts() {
    let mut bytes = Vec::new();
    let mut scope_spans = ScopeSpans::default();
    let mut one = span(1);
    one.events.push(Event { name: "ignored".to_owned(), ..Event::default() });
    scope_spans.spans.push(one);
    // resource_spans { scope_spans, resource }: the resource comes last.
    let mut inner = Vec::new();
    prost::encoding::message::encode(2, &scope_spans, &mut inner);
    let resource = Resource { attributes: vec![attribute("host.name", text("h"))], ..Resource::default() };
    prost::encoding::message::encode(1, &resource, &mut inner);
    bytes.push(0x0a);
    prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
    bytes.extend(inner);
    let read = only(decode(&bytes).unwrap());
    assert_eq!(read.origin.host.as_deref(), Some("h"));
}

#[test]
fn what_is_around_a_broken_line_is_read_and_the_line_is_told() {
    let line = |id: u8| {
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{0}{0}","spanId":"{0}"}}]}}]}}]}}"#,
            format!("{id:02x}").repeat(8)
        )
    };
    let file = format!("{}\n{}\n{}\n", line(1), &line(2)[..40], line(3));
    let decoded = decode(file.as_bytes()).unwrap();
    assert_eq!(decoded.spans.len(), 2);
    let problems: Vec<String> = decoded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("line 2, column "), "{problems:?}");
    let torn = format!("{}\n{}", line(1), &line(2)[..60]);
    let decoded = decode(torn.as_bytes()).unwrap();
    assert_eq!((decoded.spans.len(), decoded.problems.len()), (1, 1), "a torn last line");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let mut short = span(2);
    short.span_id = vec![1, 2, 3];
    let decoded = decode(&traces(vec![span(1), short]).encode_to_vec()).unwrap();
    assert_eq!(decoded.spans.len(), 1);
    assert_eq!(
        decoded.problems[0].to_string(),
        "resourceSpans[0].scopeSpans[0].spans[1].spanId: \"010203\" is not 8 bytes"
    );
    let json =
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz","spanId":"0101010101010101"}]}]}]}"#;
    assert_eq!(
        decode(json.as_bytes()).unwrap_err().to_string(),
        "line 1: resourceSpans[0].scopeSpans[0].spans[0].traceId: \"xyz\" is not 16 bytes in hex or base64"
    );
    let cut = &traces(vec![span(1), span(2)]).encode_to_vec();
    let error = decode(&cut[..cut.len() - 3]).map(|decoded| decoded.problems);
    assert!(matches!(error, Err(DecodeError::NotOtlp { .. } | DecodeError::Protobuf { .. })), "{error:?}");
}

#[test]
fn what_is_no_trace_is_named() {
    for (bytes, named) in [
        (&b"\x1f\x8b\x08\x00rest"[..], "gzip"),
        (b"\x89PNG\r\n\x1a\n....", "a picture"),
        (b"\x28\xb5\x2f\xfd....", "zstd"),
        (b"hello, world", "expected"),
        (b"{\"spans\":[]}", "without resourceSpans"),
        (b"[1,2,3]", "line 1"),
        (b"\x12\x03abc", "binary data"),
    ] {
        let error = decode(bytes).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let error = format!("{error}: {cause}");
        assert!(error.contains(named), "{bytes:?}: {error}");
    }
    assert!(decode(b"").unwrap().spans.is_empty());
    assert!(decode(b" \n\t\n").unwrap().problems.is_empty());
}

#[test]
fn nesting_without_end_costs_no_stack() {
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(|| {
            let mut value = vec![0x10, 1];
            for _ in 0..20_000 {
                // AnyValue { array_value { values { .. } } }
                let mut outer = Vec::new();
                for tag in [0x0a, 0x2a] {
                    outer.clear();
                    outer.push(tag);
                    prost::encoding::encode_varint(value.len() as u64, &mut outer);
                    outer.extend_from_slice(&value);
                    std::mem::swap(&mut outer, &mut value);
                }
            }
            let mut keyed = vec![0x0a, 1, b'k', 0x12];
            prost::encoding::encode_varint(value.len() as u64, &mut keyed);
            keyed.extend(value);
            let mut message = span(1).encode_to_vec();
            message.push(0x4a);
            prost::encoding::encode_varint(keyed.len() as u64, &mut message);
            message.extend(keyed);
            let wrap = |inner: Vec<u8>, tag: u8| {
                let mut outer = vec![tag];
                prost::encoding::encode_varint(inner.len() as u64, &mut outer);
                outer.extend(inner);
                outer
            };
            let bytes = wrap(wrap(wrap(message, 0x12), 0x12), 0x0a);
            assert_eq!(decode(&bytes).unwrap().spans.len(), 1);
            let deep = format!("{{\"resourceSpans\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
            assert_eq!(decode(deep.as_bytes()).map_or(0, |decoded| decoded.spans.len()), 0);
        })
        .unwrap()
        .join()
        .unwrap();
}

fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    let value = prop_oneof![
        any::<String>().prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        any::<f64>().prop_map(Value::DoubleValue),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::BytesValue),
        Just(strings(&["a", "b"])),
    ];
    let key = prop_oneof![
        Just("node.id".to_owned()),
        Just("longpole.queued_ns".to_owned()),
        Just("gen_ai.usage.input_tokens".to_owned()),
        Just("node.cost_usd".to_owned()),
        "[a-z.]{0,20}",
    ];
    let attributes =
        prop::collection::vec((key, value).prop_map(|(key, value)| attribute(&key, value)), 0..6);
    let fields = (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<[u8; 8]>(), any::<String>(), 0..6i32, 0..3i32);
    let span =
        (fields, any::<u64>(), any::<u64>(), attributes).prop_map(|(fields, start, end, attributes)| {
            let (trace_id, span_id, parent, name, kind, code) = fields;
            Span {
                trace_id: trace_id.to_vec(),
                span_id: span_id.to_vec(),
                parent_span_id: if parent[0] < 128 { Vec::new() } else { parent.to_vec() },
                name,
                kind,
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                attributes,
                status: Some(ProtoStatus { code, message: String::new() }),
                ..Span::default()
            }
        });
    prop::collection::vec(span, 1..8)
}

proptest! {
    #[test]
    fn what_prost_writes_is_read_field_by_field(spans in any_spans()) {
        let decoded = decode(&traces(spans.clone()).encode_to_vec()).unwrap();
        prop_assert!(decoded.problems.is_empty());
        prop_assert_eq!(decoded.spans.len(), spans.len());
        for (read, written) in decoded.spans.iter().zip(&spans) {
            prop_assert_eq!(&read.trace_id.to_bytes()[..], &written.trace_id[..]);
            prop_assert_eq!(&read.span_id.to_bytes()[..], &written.span_id[..]);
            let parent = read.parent_id.map(|id| id.to_bytes().to_vec()).unwrap_or_default();
            prop_assert_eq!(&parent, &written.parent_span_id);
            prop_assert_eq!(&*read.name, &written.name);
            prop_assert_eq!(read.kind, SpanKind::from_otlp(written.kind as u64));
            prop_assert_eq!(read.start.as_unix_nanos(), written.start_time_unix_nano);
            prop_assert_eq!(read.end.as_unix_nanos(), written.end_time_unix_nano);
            let status = [Status::Unset, Status::Ok, Status::Error][written.status.as_ref().unwrap().code as usize];
            prop_assert_eq!(read.status, status);
            let node_id = written.attributes.iter().rev().find_map(|attribute| {
                match attribute.value.as_ref()?.value.as_ref()? {
                    Value::StringValue(id) if attribute.key == "node.id" && !id.is_empty() => Some(id.clone()),
                    Value::IntValue(id) if attribute.key == "node.id" => Some(id.to_string()),
                    _ => None,
                }
            });
            prop_assert_eq!(read.facts.as_ref().and_then(|facts| facts.node_id.as_deref()), node_id.as_deref());
        }
    }

    #[test]
    fn no_bytes_whatever_panic(
        spans in any_spans(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        json: bool,
    ) {
        let mut bytes = if json {
            serde_json::to_vec(&serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
                "traceId": "07070707070707070707070707070707", "spanId": "0101010101010101", "name": spans[0].name,
                "startTimeUnixNano": spans[0].start_time_unix_nano, "attributes": [{"key": "node.id", "value": {"stringValue": "x"}}]
            }]}]}]})).unwrap()
        } else {
            traces(spans).encode_to_vec()
        };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(decoded) = decode(&bytes) {
            // Whatever came out can be reported on.
            longpole::report_on(decoded.spans, &longpole::ReportOptions::default());
        }
    }
}

#[test]
fn links_are_read_from_both_encodings_and_only_depends_on_is_a_dependency() {
    let link = |id: u8, edge: Option<&str>| Link {
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        attributes: edge.map(|edge| attribute("longpole.edge", text(edge))).into_iter().collect(),
        ..Link::default()
    };
    let mut one = span(1);
    let broken = Link { span_id: vec![1; 3], ..Link::default() };
    one.links = vec![link(2, Some("depends_on")), broken, link(3, Some("other")), link(4, None)];
    let message = traces(vec![one, span(9)]);
    let json = serde_json::to_vec(&message).unwrap();
    for bytes in [message.encode_to_vec(), json] {
        let spans = decode(&bytes).unwrap().spans;
        let links: Vec<_> = spans[0].links.iter().flatten().collect();
        assert!(links.iter().all(|link| link.trace_id == TraceId::from_bytes([7; 16])));
        let told: Vec<_> = links.iter().map(|link| (link.span_id, link.is_dependency)).collect();
        let id = |id: u8| SpanId::from_bytes([id; 8]);
        assert_eq!(told, [(id(2), true), (id(3), false), (id(4), false)]);
        assert_eq!(spans[1].links, None);
    }
}

#[test]
fn a_host_is_told_by_its_id_else_its_first_address_else_its_name() {
    let (id, name) = (attribute("host.id", text("i-1")), attribute("host.name", text("h")));
    let address = attribute("host.ip", strings(&["10.0.0.1", "fe80::1"]));
    let cases = [
        (vec![name.clone(), address.clone(), id], Some("i-1")),
        (vec![name.clone(), address], Some("10.0.0.1")),
        (vec![attribute("host.ip", text("10.0.0.2")), name.clone()], Some("10.0.0.2")),
        (vec![attribute("host.ip", strings(&[])), name], Some("h")),
        (vec![], None),
    ];
    for (attributes, host) in cases {
        let mut message = traces(vec![span(1)]);
        message.resource_spans[0].resource = Some(Resource { attributes, ..Resource::default() });
        for bytes in [message.encode_to_vec(), serde_json::to_vec(&message).unwrap()] {
            assert_eq!(only(decode(&bytes).unwrap()).origin.host.as_deref(), host);
        }
    }
}
