//! One trace over services, processes and libraries.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use longpole::decode::decode;
use longpole::ids::{SpanId, TraceId};
use longpole::propagation::{CommandExt, EnvCarrier};
use longpole::testing::capture;
use longpole::{Builder, Longpole, OtelSpanExt, ReportOptions, SetParentError, SpanExt};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Span, info_span, instrument};
use tracing_subscriber::prelude::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn headers(traceparent: &str) -> HashMap<String, String> {
    let pairs = [("traceparent", traceparent), ("tracestate", "shop=7"), ("baggage", "user=ann")];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The spans a program leaves, by an exporter of the SDK.
fn exported(builder: Builder, program: impl FnOnce(&Longpole)) -> (Vec<SpanData>, Longpole) {
    let exporter = InMemorySpanExporter::default();
    let (layer, longpole) = builder.with_span_exporter(exporter.clone()).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || program(&longpole));
    let flush = longpole.flush();
    assert!(flush.is_complete && flush.lost.is_empty(), "{flush}");
    (exporter.get_finished_spans().unwrap(), longpole)
}

fn named<'s>(spans: &'s [SpanData], name: &str) -> &'s SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

#[test]
fn a_callers_trace_goes_on_here_with_its_state_and_baggage_and_goes_on_from_here() {
    let (spans, _longpole) = exported(longpole::builder(), |longpole| {
        let handle = info_span!("handle");
        assert_eq!(handle.set_parent_context(&longpole.extract(&headers(PARENT))), Ok(()));
        let inner = handle.in_scope(|| info_span!("inner"));
        let mut sent = HashMap::new();
        longpole.inject(&inner, &mut sent);
        let (_, own) = inner.span_context().unwrap();
        assert_eq!(sent["traceparent"], format!("00-{TRACE}-{own}-01"));
        assert_eq!((sent["tracestate"].as_str(), sent["baggage"].as_str()), ("shop=7", "user=ann"));
        assert_eq!(inner.set_parent_context(&longpole.extract(&headers(PARENT))), Err(SetParentError::InUse));
    });
    let (handle, inner) = (named(&spans, "handle"), named(&spans, "inner"));
    assert_eq!(handle.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(handle.parent_span_is_remote && !inner.parent_span_is_remote);
    for span in [handle, inner] {
        assert_eq!(span.span_context.trace_id().to_string(), TRACE);
        assert_eq!(span.span_context.trace_state().header(), "shop=7");
    }
    assert_eq!(inner.parent_span_id, handle.span_context.span_id());
}

#[instrument(fields(node.id = "serve"))]
fn serve(longpole: &Longpole) {
    Span::current().set_parent_context(&longpole.extract(&headers(PARENT))).unwrap();
    info_span!("inside").in_scope(|| ());
}

#[test]
fn the_parent_of_a_function_with_instrument_is_set_inside_it() {
    for activates in [false, true] {
        let (spans, _longpole) = exported(longpole::builder().activate_otel_context(activates), |longpole| {
            serve(longpole);
            assert!(!Context::current().has_active_span(), "nothing is left behind");
        });
        assert_eq!(named(&spans, "serve").parent_span_id.to_string(), "b7ad6b7169203331");
        assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == TRACE));
    }
}

#[test]
fn a_malformed_parent_begins_a_new_trace_and_is_counted() {
    let (spans, longpole) = exported(longpole::builder(), |longpole| {
        let handle = info_span!("handle");
        let context = longpole.extract(&headers("00-0af7-broken-01"));
        assert_eq!(handle.set_parent_context(&context), Err(SetParentError::InvalidParent));
        assert_eq!(context.baggage().get("user").map(ToString::to_string).as_deref(), Some("ann"));
    });
    assert_eq!(spans[0].parent_span_id, opentelemetry::SpanId::INVALID);
    assert!(spans[0].span_context.is_valid());
    assert_eq!(longpole.diagnostics().counts["traceparents_malformed"], 1);
}

#[test]
fn on_spans_nobody_measures_contexts_pass_through() {
    let (spans, longpole) = exported(longpole::builder(), |longpole| {
        let none = Span::none();
        let context = longpole.extract(&headers(PARENT));
        assert_eq!(none.set_parent_context(&context), Err(SetParentError::NotMeasured));
        let _attached = context.attach();
        let mut sent = HashMap::new();
        longpole.inject(&none, &mut sent);
        assert_eq!(sent["traceparent"], PARENT);
    });
    assert!(spans.is_empty() && longpole.diagnostics().counts.is_empty());
}

/// A program that traces with both.
fn with_both(
    activates: bool,
    program: impl FnOnce(&opentelemetry_sdk::trace::SdkTracer),
) -> (Vec<SpanData>, Vec<SpanData>) {
    let theirs = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(theirs.clone()).build();
    let tracer = provider.tracer("app");
    let (ours, _longpole) =
        exported(longpole::builder().activate_otel_context(activates), |_| program(&tracer));
    (ours, theirs.get_finished_spans().unwrap())
}

#[test]
fn spans_of_opentelemetrys_own_api_and_ours_are_one_trace() {
    let (ours, theirs) = with_both(true, |tracer| {
        tracer.in_span("outer", |_| {
            let _step = info_span!("step").entered();
            tracer.in_span("call", |_| info_span!("within").in_scope(|| ()));
        });
    });
    let (outer, call) = (named(&theirs, "outer"), named(&theirs, "call"));
    let (step, within) = (named(&ours, "step"), named(&ours, "within"));
    assert_eq!(step.parent_span_id, outer.span_context.span_id());
    assert!(!step.parent_span_is_remote);
    assert_eq!(call.parent_span_id, step.span_context.span_id());
    // Under its own parent: a span knows one, and that is the one of `tracing`.
    assert_eq!(within.parent_span_id, step.span_context.span_id());
    let traces: Vec<_> = ours.iter().chain(&theirs).map(|span| span.span_context.trace_id()).collect();
    assert!(traces.iter().all(|trace| *trace == traces[0]), "{traces:?}");
}

#[test]
fn contexts_follow_spans_over_tasks_and_leave_with_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let theirs = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(theirs.clone()).build();
    let exporter = InMemorySpanExporter::default();
    let (layer, longpole) =
        longpole::builder().activate_otel_context(true).with_span_exporter(exporter.clone()).build().unwrap();
    let subscriber = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    runtime.block_on(async {
        use tracing::Instrument;
        use tracing::instrument::WithSubscriber;

        let task = |number: usize, tracer: opentelemetry_sdk::trace::SdkTracer| async move {
            for _ in 0..10 {
                tokio::task::yield_now().await;
                let span = tracer.start(format!("call {number}"));
                drop(span);
            }
        };
        let tasks: Vec<_> = tracing::dispatcher::with_default(&subscriber, || {
            (0..8)
                .map(|number| {
                    let span = info_span!("task", number, otel.name = format!("task {number}"));
                    task(number, provider.tracer("app")).instrument(span).with_subscriber(subscriber.clone())
                })
                .map(tokio::spawn)
                .collect()
        });
        for task in tasks {
            task.await.unwrap();
        }
    });
    longpole.flush();
    let (ours, theirs) = (exporter.get_finished_spans().unwrap(), theirs.get_finished_spans().unwrap());
    assert_eq!((ours.len(), theirs.len()), (8, 80));
    for call in &theirs {
        let task = named(&ours, &call.name.replace("call", "task"));
        assert_eq!(call.parent_span_id, task.span_context.span_id(), "{}", call.name);
    }
}

#[test]
fn beside_tracing_opentelemetry_reports_lead_to_the_traces_it_exports() {
    let theirs = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(theirs.clone()).build();
    let export = tracing_opentelemetry::layer().with_tracer(provider.tracer("app"));
    let (measure, longpole) = longpole::builder().analysis_only().build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(export).with(measure), || {
        let _run = info_span!("run").entered();
        info_span!("step", node.id = "fetch").in_scope(|| info_span!("inner").in_scope(|| ()));
        // Made before it is entered, with a child made before too: its ids are settled by then.
        let early = info_span!("early", node.id = "early");
        let child = info_span!(parent: &early, "child", node.id = "child");
        early.in_scope(|| child.in_scope(|| ()));
    });
    assert!(longpole.destinations().is_empty());
    longpole.flush();
    let theirs = theirs.get_finished_spans().unwrap();
    let root = named(&theirs, "run");
    let report = longpole.last_run().unwrap();
    assert_eq!(report.run.trace_id, root.span_context.trace_id().to_string());
    assert_eq!(report.run.root_span_id, Some(root.span_context.span_id().to_string()));
    assert_eq!(report.run.spans, 5);
    let known: Vec<String> = theirs.iter().map(|span| span.span_context.span_id().to_string()).collect();
    let of_fetch = report.critical_path.segments.iter().find(|s| s.node.as_deref() == Some("fetch")).unwrap();
    assert!(known.contains(&of_fetch.span_id.to_string()), "{of_fetch:?} {known:?}");
}

const CHILD_FILE: &str = "LONGPOLE_TEST_CHILD_FILE";

/// The parent's half runs the test again as its child.
#[test]
fn a_run_over_two_processes_is_one_trace_and_one_report() {
    let test = "a_run_over_two_processes_is_one_trace_and_one_report";
    if let Ok(file) = std::env::var(CHILD_FILE) {
        let (layer, longpole) =
            longpole::builder().parent_from_env().spans_file(file).service_name("child").build().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let _work = info_span!("work", node.id = "child work").entered();
            info_span!("step", node.id = "child step").in_scope(|| ());
        });
        assert!(longpole.shutdown().flush.is_complete);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (ours, childs) = (folder.path().join("parent.jsonl"), folder.path().join("child.jsonl"));
    let (layer, longpole) =
        longpole::builder().workflow("desk").spans_file(&ours).service_name("parent").build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = info_span!("run").entered();
        let start = info_span!("start child", node.id = "start").entered();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test]).env(CHILD_FILE, &childs).env("TRACESTATE", "stale=1");
        let output = command.trace_context(&longpole, &start).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    });
    assert!(longpole.shutdown().flush.is_complete);

    let both = [std::fs::read(&ours).unwrap(), std::fs::read(&childs).unwrap()].concat();
    let decoded = decode(&both).unwrap();
    assert!(decoded.problems.is_empty());
    let traces: Vec<_> = decoded.spans.iter().map(|span| span.trace_id).collect();
    assert!(traces.iter().all(|trace| *trace == traces[0]));
    let reports = longpole::report_on(decoded.spans, &ReportOptions::default());
    assert_eq!(reports.len(), 1, "one run");
    let report = &reports[0];
    assert_eq!((report.run.spans, report.run.workflow.as_deref()), (4, Some("desk")));
    let mut nodes: Vec<&str> = report.nodes.iter().map(|node| node.name.as_str()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["child step", "child work", "start"]);
    assert_eq!(report.quality.orphans, 0);
    assert_eq!(read_parent_of(&childs, "work"), read_id_of(&ours, "start child"));
}

fn read_id_of(file: &Path, name: &str) -> String {
    let spans = decode(&std::fs::read(file).unwrap()).unwrap().spans;
    spans.iter().find(|span| &*span.name == name).unwrap().span_id.to_string()
}

fn read_parent_of(file: &Path, name: &str) -> String {
    let spans = decode(&std::fs::read(file).unwrap()).unwrap().spans;
    spans.iter().find(|span| &*span.name == name).unwrap().parent_id.unwrap().to_string()
}

#[test]
fn variables_are_a_carrier_like_any_other() {
    use opentelemetry::propagation::{Extractor, Injector};

    let mut carrier = EnvCarrier::default();
    carrier.set("traceparent", PARENT.to_owned());
    carrier.set("x-b3-traceid", "1".to_owned());
    assert_eq!(carrier.get("traceparent"), Some(PARENT));
    let names: Vec<&str> = carrier.variables().map(|(name, _)| name).collect();
    assert_eq!(names, ["TRACEPARENT", "X_B3_TRACEID"]);
}

#[test]
fn links_to_other_traces_and_to_spans_here_never_panic() {
    let (spans, _longpole) = exported(longpole::builder(), |_| {
        let (a, b) = (info_span!("a"), info_span!("b"));
        let closed = info_span!("closed").id();
        b.follows_from(&a);
        b.follows_from(closed);
        b.follows_from(Span::none());
        b.follows_from(b.id());
        b.add_link(TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]));
        b.add_link(TraceId::from_bytes([0; 16]), SpanId::from_bytes([2; 8]));
        Span::none().add_link(TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]));
        for _ in 0..200 {
            a.add_link(TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]));
        }
    });
    let links: Vec<_> = named(&spans, "b").links.iter().map(|link| link.span_context.span_id()).collect();
    let own = named(&spans, "b").span_context.span_id();
    let a = named(&spans, "a");
    assert_eq!(links, [a.span_context.span_id(), own, opentelemetry::SpanId::from_bytes([2; 8])]);
    assert_eq!((a.links.len(), a.links.dropped_count), (128, 72));
}

#[test]
fn an_exporter_gets_what_a_backend_would_with_the_resource_and_the_verdict() {
    let resource = opentelemetry_sdk::Resource::builder_empty()
        .with_attributes([KeyValue::new("team", "blue"), KeyValue::new("shard", 3)])
        .build();
    let exporter = InMemorySpanExporter::default();
    let (layer, longpole) = longpole::builder()
        .service_name("desk")
        .with_resource(&resource)
        .with_span_exporter(exporter.clone())
        .build()
        .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = info_span!("run", otel.kind = "server", flag = true, ratio = 0.5, count = 7).entered();
        info_span!("step", node.id = "fetch", otel.status_code = "ERROR", otel.status_description = "no ink")
            .in_scope(|| tracing::info!(rows = 3, "fetched"));
    });
    // A shutdown would empty this exporter.
    assert!(longpole.flush().is_complete);
    let spans = exporter.get_finished_spans().unwrap();
    let (run, step) = (named(&spans, "run"), named(&spans, "step"));
    assert_eq!(run.span_kind, opentelemetry::trace::SpanKind::Server);
    let has = |span: &SpanData, pair: KeyValue| assert!(span.attributes.contains(&pair), "{pair:?} {span:?}");
    has(run, KeyValue::new("flag", true));
    has(run, KeyValue::new("ratio", 0.5));
    has(run, KeyValue::new("count", 7));
    has(run, KeyValue::new("longpole.bottleneck.node", "fetch"));
    has(step, KeyValue::new("longpole.node.id", "fetch"));
    assert_eq!(step.status, opentelemetry::trace::Status::error("no ink"));
    assert_eq!((step.events.len(), step.events[0].name.as_ref()), (1, "fetched"));
    assert_eq!(step.instrumentation_scope.name(), "longpole");
    assert!(step.end_time >= step.start_time);
}

#[test]
fn capture_sees_a_trace_that_came_from_elsewhere() {
    let report = capture(|| {
        let run = info_span!("run", workflow.name = "desk");
        let caller = SpanId::from_hex("b7ad6b7169203331").unwrap();
        run.set_parent(TraceId::from_hex(TRACE).unwrap(), caller, true).unwrap();
        run.in_scope(|| info_span!("step", node.id = "fetch").in_scope(|| ()));
    });
    assert_eq!(report.run.trace_id, TRACE);
}
