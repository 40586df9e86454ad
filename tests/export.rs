//! What a backend receives.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::collections::{BTreeMap, HashSet};

use longpole::{Destination, SpanExt};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp_sink::Sink;
use tracing::{field::Empty, info, info_span};
use tracing_subscriber::prelude::*;

fn attributes(attributes: &[KeyValue]) -> BTreeMap<&str, &Value> {
    let pairs =
        attributes.iter().map(|kv| (kv.key.as_str(), kv.value.as_ref().unwrap().value.as_ref().unwrap()));
    let unique: BTreeMap<&str, &Value> = pairs.collect();
    assert_eq!(unique.len(), attributes.len(), "attribute keys are unique");
    unique
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no span {name}"));
    assert!(found.next().is_none(), "{name} came twice");
    span
}

fn program() {
    let run = info_span!("run", workflow.name = "desk", workflow.version = "7").entered();
    let first = info_span!(
        "fetch it",
        node.id = "fetch",
        node.depends_on = "plan, draw",
        text = "täxt",
        number = -7i64,
        large = u64::MAX,
        ratio = 0.5f64,
        flag = true,
        shown = ?Some(1),
        late = Empty,
        never = Empty,
        otel.kind = "client"
    );
    first.in_scope(|| info!(rows = 3, "fetched"));
    first.record("late", "now");
    first.record_cost(0.25);
    let second = info_span!(
        "failing",
        node.id = "draft",
        otel.status_code = "ERROR",
        otel.status_description = "no ink"
    );
    second.follows_from(&first);
    second.in_scope(|| ());
    drop((first, second));
    drop(run);
}

#[test]
fn export_only_sends_every_span_at_once_and_analyses_nothing() {
    let sink = Sink::accepting();
    let (layer, longpole) = longpole::builder()
        .otlp_endpoint(sink.url())
        .durability(longpole::Durability::Memory)
        .export_only()
        .on_run(|_| panic!("there is no analysis"))
        .build()
        .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
    let flushed = longpole.flush();
    assert!(flushed.is_complete && flushed.lost.is_empty(), "{flushed}");
    assert_eq!((flushed.closed, flushed.acknowledged, flushed.pending), (3, 3, 0));
    assert!(longpole.last_run().is_none());
    let told = longpole.diagnostics().notes;
    assert!(told.iter().any(|note| note.contains("export_only() leaves nothing for on_run")), "{told:?}");
    let spans = sink.spans();
    assert_eq!(spans.len(), 3);
    let fetch = attributes(&named(&spans, "fetch it").attributes);
    assert_eq!(fetch["longpole.cost.usd"], &Value::DoubleValue(0.25));
    let root = named(&spans, "run");
    assert!(root.parent_span_id.is_empty());
    let root = attributes(&root.attributes);
    assert_eq!(root["longpole.workflow.name"], &text("desk"));
    assert!(!root.keys().any(|key| key.starts_with("longpole.run.")), "{root:?}");
    longpole.shutdown();
}

#[test]
fn a_backend_gets_every_span_once_and_the_verdict_on_the_root() {
    let sink = Sink::accepting();
    let (layer, longpole) = longpole::builder()
        .otlp_endpoint(sink.url())
        .durability(longpole::Durability::Memory)
        .service_name("desk-service")
        .version("7")
        .build()
        .unwrap();
    assert_eq!(longpole.destinations(), [Destination::Otlp(sink.url())]);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
    let last = longpole.shutdown();
    assert!(last.flush.is_complete && last.flush.lost.is_empty(), "{last}");
    assert_eq!((last.flush.closed, last.flush.acknowledged, last.flush.pending, last.open), (3, 3, 0, 0));

    let received = sink.received();
    assert!(received.iter().all(|request| request.path == "/v1/traces"));
    let first = &received[0];
    assert_eq!(first.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(first.header("user-agent"), Some(concat!("longpole/", env!("CARGO_PKG_VERSION"))));
    for resource in sink.resources() {
        let told = resource.resource.unwrap();
        let told = attributes(&told.attributes);
        assert_eq!(told["service.name"], &text("desk-service"));
        assert_eq!(told["service.version"], &text("7"));
        assert_eq!(told["telemetry.sdk.name"], &text("longpole"));
        assert_eq!(resource.scope_spans[0].scope.as_ref().unwrap().name, "longpole");
    }
    let spans = sink.spans();
    assert_eq!(spans.len(), 3);
    assert_eq!(spans.iter().map(|span| &span.span_id).collect::<HashSet<_>>().len(), 3);

    let root = named(&spans, "run");
    let fetch = named(&spans, "fetch it");
    let failing = named(&spans, "failing");
    assert!(root.parent_span_id.is_empty());
    for child in [fetch, failing] {
        assert_eq!((&child.trace_id, &child.parent_span_id), (&root.trace_id, &root.span_id));
        assert!(root.start_time_unix_nano <= child.start_time_unix_nano);
        assert!(child.start_time_unix_nano <= child.end_time_unix_nano);
        assert!(child.end_time_unix_nano <= root.end_time_unix_nano);
    }
    assert_eq!((fetch.kind, root.kind), (3, 1));
    let told = attributes(&fetch.attributes);
    for (key, value) in [
        ("longpole.node.id", text("fetch")),
        ("text", text("täxt")),
        ("number", Value::IntValue(-7)),
        ("large", text(&u64::MAX.to_string())),
        ("ratio", Value::DoubleValue(0.5)),
        ("flag", Value::BoolValue(true)),
        ("shown", text("Some(1)")),
        ("late", text("now")),
        ("longpole.cost.usd", Value::DoubleValue(0.25)),
        ("longpole.polls", Value::IntValue(1)),
    ] {
        assert_eq!(told.get(key), Some(&&value), "{key}");
    }
    let Value::ArrayValue(depends_on) = told["longpole.node.depends_on"] else { panic!("no array") };
    let names: Vec<_> = depends_on.values.iter().map(|value| value.value.clone().unwrap()).collect();
    assert_eq!(names, [text("plan"), text("draw")]);
    assert!(!told.contains_key("never"));
    assert_eq!(fetch.events.len(), 1);
    assert_eq!(fetch.events[0].name, "fetched");
    assert_eq!(attributes(&fetch.events[0].attributes)["rows"], &Value::IntValue(3));
    assert!(fetch.events[0].time_unix_nano >= fetch.start_time_unix_nano);
    assert_eq!((failing.links.len(), &failing.links[0].span_id), (1, &fetch.span_id));
    let status = failing.status.as_ref().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "no ink"));

    let report = longpole.last_run().unwrap();
    assert_eq!(report.run.wall_ns.as_nanos(), root.end_time_unix_nano - root.start_time_unix_nano);
    let told = attributes(&root.attributes);
    let pole = &report.findings[0];
    assert_eq!(told["longpole.bottleneck.node"], &text(&pole.subject));
    assert_eq!(
        told["longpole.bottleneck.save_max_ns"],
        &Value::IntValue(pole.saves_max_ns.as_nanos() as i64)
    );
    assert_eq!(told["longpole.run.wall_ns"], &Value::IntValue(report.run.wall_ns.as_nanos() as i64));
    assert_eq!(told["longpole.run.work_ns"], &Value::IntValue(report.run.work_ns.as_nanos() as i64));
    assert_eq!(told["longpole.run.cost_usd"], &Value::DoubleValue(0.25));
    assert_eq!(told["longpole.run.complete"], &Value::BoolValue(true));
    let Value::ArrayValue(path) = told["longpole.critical_path"] else { panic!("no array") };
    assert_eq!(path.values.len(), report.critical_path.rows.len());
    let Some(AnyValue { value: Some(Value::StringValue(step)) }) = path.values.first() else {
        panic!("no text")
    };
    assert!(step.starts_with(&report.critical_path.rows[0].node), "{step}");
    let Value::StringValue(info) = told["bottleneck_info"] else { panic!("no text") };
    let info: longpole::report::Summary = serde_json::from_str(info).unwrap();
    assert_eq!(info, report.bottleneck_info);
    assert!(!attributes(&fetch.attributes).contains_key("bottleneck_info"));
}

#[test]
fn the_file_and_the_backend_get_the_same_spans() {
    let sink = Sink::accepting();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let (layer, longpole) = longpole::builder()
        .otlp_endpoint(sink.url())
        .durability(longpole::Durability::Memory)
        .spans_file(&file)
        .build()
        .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
    let last = longpole.shutdown();
    assert_eq!((last.flush.acknowledged, last.flush.written), (3, 3));
    let lines = std::fs::read_to_string(&file).unwrap();
    let mut ids = HashSet::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
            assert!(span["startTimeUnixNano"].is_string() && span["kind"].is_u64());
            ids.insert(span["spanId"].as_str().unwrap().to_owned());
        }
    }
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(ids, sink.spans().iter().map(|span| hex(&span.span_id)).collect());
    let from_file = longpole::decode::decode(lines.as_bytes()).unwrap().spans;
    let mut from_backend = Vec::new();
    for received in sink.received() {
        from_backend.extend(
            longpole::decode::decode(&prost::Message::encode_to_vec(&received.request)).unwrap().spans,
        );
    }
    let key = |span: &longpole::span_record::SpanRecord| span.span_id;
    let (mut one, mut other) = (from_file, from_backend);
    one.sort_by_key(key);
    other.sort_by_key(key);
    assert_eq!(one, other);
}

#[test]
fn a_root_around_marked_runs_is_sent_without_a_verdict() {
    let sink = Sink::accepting();
    let (layer, longpole) = longpole::builder()
        .otlp_endpoint(sink.url())
        .durability(longpole::Durability::Memory)
        .build()
        .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _server = info_span!("server").entered();
        program();
    });
    let last = longpole.shutdown();
    assert_eq!((last.flush.acknowledged, last.flush.runs), (4, 1));
    let spans = sink.spans();
    let has_verdict =
        |name: &str| attributes(&named(&spans, name).attributes).contains_key("longpole.run.wall_ns");
    assert!(has_verdict("run"));
    assert!(!has_verdict("server"));
}

#[test]
fn without_a_destination_nothing_is_prepared_for_one() {
    let (layer, longpole) = longpole::builder().build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
    let last = longpole.shutdown();
    assert!(longpole.destinations().is_empty());
    assert_eq!(
        (last.flush.closed, last.flush.acknowledged, last.flush.written, last.flush.runs),
        (3, 0, 0, 1)
    );
    assert_eq!(longpole.node("fetch").unwrap().cost_usd.unwrap().to_string(), "0.25");
}
