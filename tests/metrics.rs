//! What metrics tell over time: levels, deltas, nodes that are only timed, other readers, and the names other profilers
//! gave them.

#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_receiver;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use longpole::compat::profiler::{
    BottleneckAnalyzer, clear_profiler, get_profiler, profile_node, profile_node_async, set_profiler,
};
use longpole::compat::subagent::SubagentMetrics;
use longpole::{FutureExt, Longpole, SpanExt};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use otlp_receiver::{PATIENCE, Receiver};
use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, info_span};
use tracing_subscriber::prelude::*;

struct Setup {
    receiver: Receiver,
    longpole: Longpole,
    dispatch: Dispatch,
}

fn setup() -> Setup {
    let receiver = Receiver::start();
    let (layer, longpole) = longpole::builder()
        .workflow("desk")
        .otlp_metrics_endpoint(format!("{}/v1/metrics", receiver.base()))
        .build()
        .unwrap();
    Setup { receiver, longpole, dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)) }
}

impl Setup {
    fn run<R>(&self, program: impl FnOnce() -> R) -> R {
        tracing::dispatcher::with_default(&self.dispatch, program)
    }

    /// What a backend is told now.
    fn told(&self) -> Vec<Metric> {
        let before = self.receiver.metrics().len();
        self.longpole.flush_within(PATIENCE);
        let metrics = self.receiver.metrics();
        assert_eq!(metrics.len(), before + 1);
        metrics.into_iter().next_back().unwrap()
    }
}

fn labels(attributes: &[KeyValue]) -> String {
    let shown = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => format!("{}={text}", attribute.key),
        any_value::Value::IntValue(number) => format!("{}={number}", attribute.key),
        other => format!("{}={other:?}", attribute.key),
    };
    attributes.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// The series of a counter, a level or a gauge; of a histogram its counts.
fn series(metrics: &[Metric], name: &str) -> BTreeMap<String, f64> {
    let Some(metric) = metrics.iter().find(|metric| metric.name == name) else { return BTreeMap::new() };
    let number = |value| match value {
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        Some(number_data_point::Value::AsDouble(value)) => value,
        None => f64::NAN,
    };
    match metric.data.as_ref().unwrap() {
        metric::Data::Sum(sum) => {
            sum.data_points.iter().map(|point| (labels(&point.attributes), number(point.value))).collect()
        }
        metric::Data::Gauge(gauge) => {
            gauge.data_points.iter().map(|point| (labels(&point.attributes), number(point.value))).collect()
        }
        metric::Data::ExponentialHistogram(histogram) => {
            let points = histogram.data_points.iter();
            points.map(|point| (labels(&point.attributes), point.count as f64)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn of<const N: usize>(pairs: [(&str, f64); N]) -> BTreeMap<String, f64> {
    pairs.map(|(labels, value)| (labels.to_owned(), value)).into()
}

const FETCH: &str = "longpole.node.id=fetch longpole.workflow.name=desk";
const DRAFT: &str = "longpole.node.id=draft longpole.workflow.name=desk";
const ACTIVE: &str = "longpole.node.active";

#[test]
fn active_nodes_go_up_and_down_and_never_leak_whatever_happens_to_them() {
    let setup = setup();
    let (fetch, draft) = setup.run(|| {
        let late = info_span!("late", node.id = tracing::field::Empty);
        assert!(series(&setup.told(), ACTIVE).is_empty(), "nobody knows yet which node it is");
        late.record("node.id", "draft");
        (info_span!("fetch", node.id = "fetch"), late)
    });
    assert_eq!(series(&setup.told(), ACTIVE), of([(FETCH, 1.0), (DRAFT, 1.0)]));
    let twins: Vec<_> = setup.run(|| (0..3).map(|_| info_span!("fetch", node.id = "fetch")).collect());
    assert_eq!(series(&setup.told(), ACTIVE), of([(FETCH, 4.0), (DRAFT, 1.0)]));
    drop((twins, draft));
    // A clone is the same span; a name that changes is counted under what it is now.
    let clone = fetch.clone();
    fetch.set_attribute("node.id", "draft");
    assert_eq!(series(&setup.told(), ACTIVE), of([(FETCH, 0.0), (DRAFT, 1.0)]));
    let panicked = setup.run(|| catch_unwind(AssertUnwindSafe(|| fetch.in_scope(|| panic!("planned")))));
    assert!(panicked.is_err());
    drop((fetch, clone));
    setup.run(|| drop(std::future::pending::<()>().in_node("fetch")));
    assert_eq!(series(&setup.told(), ACTIVE), of([(FETCH, 0.0), (DRAFT, 0.0)]));
    let executions = series(&setup.told(), "longpole.node.executions");
    assert_eq!(executions[&format!("{DRAFT} longpole.depth=0 longpole.outcome=panicked")], 1.0);
    let errors = series(&setup.told(), "longpole.node.errors");
    assert_eq!(errors[&format!("{DRAFT} error.type=panicked")], 1.0);
}

#[test]
fn exemplars_name_the_spans_of_the_slowest_executions() {
    let receiver = Receiver::start();
    let (layer, longpole) = longpole::builder()
        .otlp_endpoint(format!("{}/v1/traces", receiver.base()))
        .durability(longpole::Durability::Memory)
        .otlp_metrics_endpoint(format!("{}/v1/metrics", receiver.base()))
        .build()
        .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = info_span!("run").entered();
        for _ in 0..10 {
            info_span!("fetch", node.id = "fetch").in_scope(|| ());
        }
    });
    longpole.flush_within(PATIENCE);
    let metrics = receiver.metrics().pop().unwrap();
    let duration = metrics.iter().find(|metric| metric.name == "longpole.node.duration").unwrap();
    let Some(metric::Data::ExponentialHistogram(histogram)) = &duration.data else { panic!("{duration:?}") };
    let mut told: Vec<_> = histogram.data_points[0].exemplars.iter().map(|e| e.span_id.clone()).collect();
    let mut spans = receiver.spans();
    spans.retain(|span| span.name == "fetch");
    spans.sort_by_key(|span| span.start_time_unix_nano.wrapping_sub(span.end_time_unix_nano));
    // Of executions equally long any may be told.
    let took = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
        span.end_time_unix_nano - span.start_time_unix_nano
    };
    let shortest = took(&spans[3]);
    told.retain(|id| spans.iter().any(|span| span.span_id == *id && took(span) >= shortest));
    assert_eq!(told.len(), 4);
    let trace = &histogram.data_points[0].exemplars[0].trace_id;
    assert_eq!(trace, &spans[0].trace_id);
}

#[test]
fn a_node_that_is_only_timed_counts_in_sums_and_metrics() {
    let setup = setup();
    setup.longpole.record_node("import", Duration::from_millis(30));
    setup.longpole.record_node("import", Duration::from_millis(10));
    assert_eq!(setup.longpole.slowest_node().unwrap().node_id, "import");
    assert_eq!(setup.longpole.node("import").unwrap().calls, 2);
    let told = setup.told();
    let labels = "longpole.node.id=import longpole.outcome=ok";
    assert_eq!(series(&told, "longpole.node.executions"), of([(labels, 2.0)]));
    assert_eq!(series(&told, "longpole.node.duration"), of([(labels, 2.0)]));
}

#[test]
fn a_programs_own_meter_sees_counters_and_levels() {
    let setup = setup();
    let exporter = InMemoryMetricExporter::default();
    let provider =
        SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    setup.longpole.register_instruments(&provider.meter("app"));
    let open = setup.run(|| {
        info_span!("run").in_scope(|| info_span!("fetch", node.id = "fetch").in_scope(|| ()));
        info_span!("draft", node.id = "draft")
    });
    setup.longpole.flush();
    provider.force_flush().unwrap();
    let mut seen: BTreeMap<String, f64> = BTreeMap::new();
    for resource in exporter.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
            let mut sum = |value: f64| *seen.entry(metric.name().to_owned()).or_default() += value;
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(of)) => {
                    of.data_points().for_each(|p| sum(p.value() as f64))
                }
                AggregatedMetrics::I64(MetricData::Sum(of)) => {
                    of.data_points().for_each(|p| sum(p.value() as f64))
                }
                AggregatedMetrics::F64(MetricData::Sum(of)) => of.data_points().for_each(|p| sum(p.value())),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((seen["longpole.node.executions"], seen["longpole.node.active"]), (1.0, 1.0));
    assert_eq!((seen["longpole.run.executions"], seen["longpole.pipeline.spans"]), (1.0, 2.0));
    assert!(seen["longpole.node.critical_path.time"] > 0.0);
    assert!(!seen.contains_key("longpole.node.duration"), "OpenTelemetry has no observable histograms");
    drop(open);
}

#[test]
fn subagents_have_their_seven_metrics_by_depth() {
    let setup = setup();
    setup.run(|| {
        let outer = SubagentMetrics::new("outer", 0);
        assert_eq!((outer.label(), outer.depth()), ("outer", 0));
        let inner = SubagentMetrics::new("inner", 1);
        assert_eq!(series(&setup.told(), "subagent_active_count"), of([("depth=0", 1.0), ("depth=1", 1.0)]));
        inner.record_error("max_depth_reached");
        inner.record_completion(9, 9, "complete");
        inner.record_error("execution_failed");
        drop(inner);
        outer.record_completion(3, 1_200, "incomplete");
        outer.record_completion(3, 1_200, "complete");
        let panicked = catch_unwind(|| {
            let _forgotten = SubagentMetrics::new("panics", 1);
            panic!("planned");
        });
        assert!(panicked.is_err() && outer.elapsed() > Duration::ZERO);
    });
    let told = setup.told();
    assert_eq!(series(&told, "subagent_executions_total"), of([("depth=0", 1.0), ("depth=1", 2.0)]));
    assert_eq!(series(&told, "subagent_duration_seconds"), of([("depth=0 status=incomplete", 1.0)]));
    assert_eq!(series(&told, "subagent_turns_used"), of([("depth=0", 1.0)]));
    assert_eq!(series(&told, "subagent_tokens_consumed"), of([("depth=0", 1.0)]));
    assert_eq!(series(&told, "subagent_completions_total"), of([("depth=0 status=incomplete", 1.0)]));
    assert_eq!(series(&told, "subagent_errors_total"), of([("depth=1 error_type=depth_limit", 1.0)]));
    assert_eq!(series(&told, "subagent_active_count"), of([("depth=0", 0.0), ("depth=1", 0.0)]));
    // Without a layer nothing is there to count, and nothing breaks.
    SubagentMetrics::new("alone", 7).record_completion(usize::MAX, 0, "complete");
    SubagentMetrics::of(&setup.longpole, "given", 2).record_completion(0, usize::MAX, "failed");
    assert_eq!(series(&setup.told(), "subagent_completions_total")["depth=2 status=failed"], 1.0);
}

#[test]
fn a_profiler_is_found_below_its_span_and_nowhere_else() {
    let setup = setup();
    assert!(get_profiler().is_none() && !set_profiler(BottleneckAnalyzer::new()), "no span, no profiler");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    setup.run(|| {
        assert!(get_profiler().is_none());
        let run = info_span!("run");
        let other = info_span!("other");
        run.in_scope(|| assert!(set_profiler(BottleneckAnalyzer::new())));
        other.in_scope(|| assert!(get_profiler().is_none()));
        let work = |node: &'static str| async move {
            tokio::task::yield_now().await;
            get_profiler().expect("found on any thread").record_node("manual", Duration::from_secs(5));
            profile_node_async(node, async { tokio::task::yield_now().await }).await.node_id
        };
        let tasks: Vec<_> = run.in_scope(|| {
            ["fetch", "rank", "draft"]
                .map(|node| {
                    runtime
                        .spawn(work(node).in_node_span(run.clone()).with_subscriber(setup.dispatch.clone()))
                })
                .into()
        });
        for task in tasks {
            runtime.block_on(task).unwrap();
        }
        let nested = run.in_scope(|| {
            let outcome = profile_node("sync", || get_profiler().is_some());
            let mut output = serde_json::Map::new();
            outcome.annotate(&mut output);
            assert_eq!(output["_execution_time_ms"], output["_execution_time_ms_sync"]);
            assert_eq!(output["_execution_time_ms"].as_f64(), Some(outcome.execution_time_ms()));
            let panics = catch_unwind(|| profile_node("panics", || panic!("planned")));
            assert!(panics.is_err());
            let profiler = get_profiler().unwrap();
            profiler.set_enabled(false);
            profiler.record_node("off", Duration::from_secs(1));
            assert!(!profiler.is_enabled());
            clear_profiler();
            assert!(get_profiler().is_none());
            (outcome.value, profiler)
        });
        let (was_found, profiler) = nested;
        assert!(was_found);
        let summary = profiler.summary(50.0);
        assert_eq!(summary.node_count, 6, "{summary:?}");
        assert_eq!(profiler.slowest_node().unwrap().node_id, "manual");
        assert_eq!(profiler.bottlenecks(50.0)[0].total_duration_ms, 15_000.0);
        // It goes with its span too.
        let profiler = BottleneckAnalyzer::new();
        info_span!("short").in_scope(|| set_profiler(profiler.clone()));
        info_span!("step", node.id = "later").in_scope(|| ());
        assert!(profiler.slowest_node().is_none());
    });
}

#[test]
fn phases_are_told_under_their_node() {
    let report = longpole::testing::capture(|| {
        info_span!("run").in_scope(|| {
            info_span!("step", node.id = "fetch").in_scope(|| {
                longpole::phase("connect").in_scope(|| ());
                longpole::phase("read").in_scope(|| ());
                longpole::phase("read").in_scope(|| ());
            });
        });
    });
    let mut phases: Vec<_> = report.nodes[0].phases.iter().map(|p| (p.name.as_str(), p.calls)).collect();
    phases.sort_unstable();
    assert_eq!(phases, [("connect", 1), ("read", 2)]);
    assert!(report.nodes[0].untracked_ns.is_some());
}

#[cfg(feature = "prometheus")]
mod page {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;

    fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{request}\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn prometheus_reads_a_page_on_loopback_until_shutdown() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (layer, longpole) = longpole::builder().workflow("desk").prometheus(any).build().unwrap();
        let &[longpole::Destination::MetricsPage(address)] = longpole.destinations() else { panic!() };
        assert!(address.ip().is_loopback());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            info_span!("run").in_scope(|| info_span!("step", node.id = "fetch").in_scope(|| ()));
            let second = longpole::current().unwrap().serve_metrics(any).unwrap();
            assert!(get(second, "GET /metrics HTTP/1.1").starts_with("HTTP/1.1 200"));
        });
        longpole.flush();
        let other = longpole.serve_metrics(any).unwrap();
        let page = get(other, "GET /metrics HTTP/1.1");
        assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
        let line = "longpole_node_executions_total{longpole_node_id=\"fetch\",longpole_workflow_name=\"desk\",\
                    longpole_depth=\"0\",longpole_outcome=\"ok\"} 1";
        assert!(page.contains(line), "{page}");
        let page = get(other, "GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text; version=1.0.0");
        assert!(
            page.contains("application/openmetrics-text") && page.trim_end().ends_with("# EOF"),
            "{page}"
        );
        assert!(get(other, "HEAD /metrics HTTP/1.1").starts_with("HTTP/1.1 200"));
        assert!(get(other, "GET /else HTTP/1.1").starts_with("HTTP/1.1 404"));
        assert!(get(other, "POST /metrics HTTP/1.1\r\ncontent-length: 0").starts_with("HTTP/1.1 405"));
        assert!(longpole::init_metrics_exporter().is_err(), "there is no current layer");
        longpole.shutdown();
    }
}

#[cfg(feature = "metrics")]
mod facade {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    #[test]
    fn the_recorder_of_the_facade_is_told_the_same() {
        let recorder = DebuggingRecorder::new();
        let seen = recorder.snapshotter();
        recorder.install().unwrap();
        let (layer, longpole) = longpole::builder().workflow("desk").metrics_facade(true).build().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            info_span!("run").in_scope(|| {
                info_span!("step", node.id = "fetch").in_scope(|| ());
                info_span!("chat", node.id = "draft", gen_ai.operation.name = "chat").record_cost(0.25);
            });
            SubagentMetrics::new("task", 2).record_completion(3, 400, "complete");
        });
        longpole.flush();
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        for (key, _, _, value) in seen.snapshot().into_vec() {
            let labels: Vec<String> =
                key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let value = match value {
                DebugValue::Counter(count) => count.to_string(),
                DebugValue::Gauge(level) => level.to_string(),
                DebugValue::Histogram(values) => format!("{} values", values.len()),
            };
            told.insert(format!("{} {}", key.key().name(), labels.join(" ")), value);
        }
        let of_fetch = format!("{FETCH} longpole.depth=0 longpole.outcome=ok");
        assert_eq!(told[&format!("longpole.node.executions {of_fetch}")], "1");
        assert_eq!(told[&format!("longpole.node.duration {of_fetch}")], "1 values");
        assert_eq!(told["longpole.run.executions longpole.workflow.name=desk longpole.outcome=ok"], "1");
        // Money is a gauge there: counters have no fractions.
        assert_eq!(told[&format!("longpole.node.cost {DRAFT} longpole.cost.source=recorded")], "0.25");
        assert_eq!(told["gen_ai.client.operation.duration gen_ai.operation.name=chat"], "1 values");
        assert_eq!(told["subagent_executions_total depth=2"], "1");
        assert_eq!(told["subagent_completions_total depth=2 status=complete"], "1");
        assert_eq!(told["subagent_tokens_consumed depth=2"], "1 values");
        assert_eq!(told["subagent_active_count depth=2"], "0");
    }
}
