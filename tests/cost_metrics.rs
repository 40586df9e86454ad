//! What metrics tell of money and of generative AI, and what programs are told of it.

#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_receiver;

use std::collections::BTreeMap;

use longpole::compat::profiler::{node_result, profile_node, profile_node_async, run_result};
use longpole::compat::subagent_batch::{BatchStatus, Part, SubagentBatch};
use longpole::{Longpole, SpanExt};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use otlp_receiver::{PATIENCE, Receiver};
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
        .cost_budget_usd(0.5)
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
        self.longpole.flush_within(PATIENCE);
        self.receiver.metrics().into_iter().next_back().unwrap()
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

/// The series of a counter; of a histogram count and sum.
fn series(metrics: &[Metric], name: &str) -> BTreeMap<String, (u64, f64)> {
    let Some(metric) = metrics.iter().find(|metric| metric.name == name) else { return BTreeMap::new() };
    let number = |value| match value {
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        Some(number_data_point::Value::AsDouble(value)) => value,
        None => f64::NAN,
    };
    match metric.data.as_ref().unwrap() {
        metric::Data::Sum(sum) => {
            assert!(sum.is_monotonic);
            let points = sum.data_points.iter();
            points.map(|point| (labels(&point.attributes), (1, number(point.value)))).collect()
        }
        metric::Data::ExponentialHistogram(histogram) => {
            let points = histogram.data_points.iter();
            points.map(|point| (labels(&point.attributes), (point.count, point.sum.unwrap()))).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn sums(metrics: &[Metric], name: &str) -> BTreeMap<String, f64> {
    series(metrics, name).into_iter().map(|(labels, (_, sum))| (labels, sum)).collect()
}

fn of<V: Clone, const N: usize>(pairs: [(&str, V); N]) -> BTreeMap<String, V> {
    pairs.map(|(labels, value)| (labels.to_owned(), value)).into()
}

/// Three calls: two in the node `draft` of an agent, one outside of every node. $0.1 + $0.2 + $0.3, and the agent
/// repeats the sum of its own.
fn agent_run() {
    let chat = |usd: f64, input: u64, output: u64| {
        let span = info_span!(
            "chat",
            node.phase = "call",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "openai",
            gen_ai.request.model = "gpt-4o",
            gen_ai.response.model = "gpt-4o-2024-08-06",
            server.address = "api.openai.com",
            gen_ai.usage.input_tokens = input,
            gen_ai.usage.output_tokens = output,
        );
        span.record_cost(usd);
        span
    };
    let _run = info_span!("run").entered();
    let agent = info_span!(
        "agent",
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = "writer",
        gen_ai.usage.input_tokens = 300,
        gen_ai.usage.output_tokens = 30,
        node.turns = 2,
    );
    agent.record_cost(0.3);
    agent.in_scope(|| {
        let draft = info_span!("draft", node.id = "draft").entered();
        chat(0.1, 100, 10).in_scope(std::thread::yield_now);
        chat(0.2, 200, 20).in_scope(std::thread::yield_now);
        drop(draft);
        let tool = info_span!("tool", gen_ai.operation.name = "execute_tool", gen_ai.tool.name = "search");
        tool.set_attribute("otel.status_code", "error");
        tool.set_attribute("error.type", "timeout");
        tool.in_scope(std::thread::yield_now);
    });
    chat(0.3, 1, 1).in_scope(std::thread::yield_now);
}

const CALL: &str = "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=gpt-4o \
                    gen_ai.response.model=gpt-4o-2024-08-06 server.address=api.openai.com";

#[test]
fn costs_tokens_and_durations_are_told_over_otlp() {
    let setup = setup();
    setup.run(agent_run);
    let told = setup.told();
    // 0.1 + 0.2 is 0.3, not 0.30000000000000004.
    let recorded = |node: &str| format!("{node}longpole.workflow.name=desk longpole.cost.source=recorded");
    let draft = recorded("longpole.node.id=draft ");
    assert_eq!(sums(&told, "longpole.node.cost"), of([(&draft, 0.3), (&recorded(""), 0.3)]));
    let cost = told.iter().find(|metric| metric.name == "longpole.node.cost").unwrap();
    assert_eq!(cost.unit, "{USD}");
    let report = setup.longpole.last_run().unwrap();
    assert_eq!(report.totals.cost_usd.unwrap().to_string(), "0.6");

    let (input, output) =
        (format!("{CALL} gen_ai.token.type=input"), format!("{CALL} gen_ai.token.type=output"));
    assert_eq!(series(&told, "gen_ai.client.token.usage"), of([(&input, (3, 301.0)), (&output, (3, 31.0))]));
    let durations = series(&told, "gen_ai.client.operation.duration");
    assert_eq!(durations.keys().collect::<Vec<_>>(), [CALL]);
    assert_eq!(durations[CALL].0, 3);
    let count = |name: &str| -> BTreeMap<String, u64> {
        series(&told, name).into_iter().map(|(labels, (count, _))| (labels, count)).collect()
    };
    assert_eq!(count("gen_ai.invoke_workflow.duration"), of([("gen_ai.workflow.name=desk", 1)]));
    assert_eq!(count("gen_ai.invoke_agent.duration"), of([("gen_ai.agent.name=writer", 1)]));
    assert_eq!(
        count("gen_ai.execute_tool.duration"),
        of([("gen_ai.tool.name=search error.type=timeout", 1)])
    );

    let node = |id: &str, depth: u32| {
        format!("longpole.node.id={id} longpole.workflow.name=desk longpole.depth={depth}")
    };
    assert_eq!(
        series(&told, "longpole.node.tokens"),
        of([
            (&node("draft", 1), (1, 330.0)),
            // Those of its calls, not those it repeats as well.
            (&node("invoke_agent writer", 0), (1, 330.0)),
        ])
    );
    let agent = node("invoke_agent writer", 0);
    assert_eq!(series(&told, "longpole.node.turns"), of([(&agent, (1, 2.0))]));
    let agent = report.nodes.iter().find(|node| node.name == "invoke_agent writer").unwrap();
    assert_eq!(agent.turns, Some(2));
    assert_eq!(
        sums(&told, "longpole.run.budgets_exceeded"),
        of([("longpole.workflow.name=desk longpole.budget=cost_usd", 1.0)])
    );
}

#[test]
fn runs_without_models_have_no_metrics_of_generative_ai() {
    let setup = setup();
    setup.run(|| info_span!("run").in_scope(|| info_span!("step", node.id = "fetch").in_scope(|| ())));
    let names: Vec<String> = setup.told().into_iter().map(|metric| metric.name).collect();
    assert!(names.iter().any(|name| name == "longpole.node.duration"), "{names:?}");
    let is_of_money = |name: &&String| {
        name.starts_with("gen_ai.")
            || name.contains("cost")
            || name.contains("tokens")
            || name.contains("budget")
    };
    assert_eq!(names.iter().find(is_of_money), None);
}

#[test]
fn a_call_of_a_model_nobody_knows_is_counted_by_the_reason() {
    let setup = setup();
    setup.run(|| {
        let _run = info_span!("run").entered();
        let call = info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "openai",
            gen_ai.request.model = "no-such-model-was-ever-sold"
        );
        call.set_attribute("gen_ai.usage.input_tokens", 5);
        call.set_attribute("gen_ai.usage.output_tokens", 5);
    });
    let told = setup.told();
    assert!(sums(&told, "longpole.node.cost").is_empty(), "unknown is not zero");
    let labels = "longpole.node.id=chat no-such-model-was-ever-sold longpole.workflow.name=desk \
                  longpole.reason=unknown_model";
    assert_eq!(sums(&told, "longpole.node.unpriced_calls"), of([(labels, 1.0)]));
}

#[test]
fn a_programs_own_meter_sees_money_in_dollars() {
    let setup = setup();
    let exporter = InMemoryMetricExporter::default();
    let provider =
        SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    setup.longpole.register_instruments(&provider.meter("app"));
    setup.run(agent_run);
    setup.longpole.flush_within(PATIENCE);
    provider.force_flush().unwrap();
    let mut costs: Vec<f64> = Vec::new();
    for resource in exporter.get_finished_metrics().unwrap() {
        let metrics = resource.scope_metrics().flat_map(|scope| scope.metrics());
        for metric in metrics.filter(|metric| metric.name() == "longpole.node.cost") {
            let AggregatedMetrics::F64(MetricData::Sum(sum)) = metric.data() else { panic!("{metric:?}") };
            costs.extend(sum.data_points().map(|point| point.value()));
        }
    }
    assert_eq!(costs, [0.3, 0.3]);
}

#[cfg(feature = "prometheus")]
#[test]
fn buckets_are_those_the_conventions_advise() {
    let receiver = Receiver::start();
    // The page for Prometheus has them too; this is what a backend gets that asks for explicit ones.
    let (layer, longpole) = longpole::builder()
        .workflow("desk")
        .prometheus("127.0.0.1:0".parse().unwrap())
        .otlp_metrics_endpoint(format!("{}/v1/metrics", receiver.base()))
        .build()
        .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), agent_run);
    longpole.flush_within(PATIENCE);
    let address = longpole.destinations().iter().find_map(|destination| match destination {
        longpole::Destination::MetricsPage(address) => Some(*address),
        _ => None,
    });
    let page = get(address.unwrap());
    let bounds = |name: &str| -> Vec<String> {
        let start = format!("{name}_bucket{{");
        let lines =
            page.lines().filter(|line| line.starts_with(&start) && !line.contains("token_type=\"output\""));
        lines.map(|line| line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()).collect()
    };
    let workflow = "1.0 5.0 10.0 30.0 60.0 120.0 300.0 600.0 1800.0 3600.0 7200.0 +Inf";
    let agent = "0.1 0.2 0.4 0.8 1.6 3.2 6.4 12.8 25.6 51.2 102.4 204.8 409.6 +Inf";
    let operation = "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92 +Inf";
    let tokens = "1.0 4.0 16.0 64.0 256.0 1024.0 4096.0 16384.0 65536.0 262144.0 1048576.0 4194304.0 \
                  16777216.0 67108864.0 +Inf";
    assert_eq!(bounds("gen_ai_invoke_workflow_duration_seconds").join(" "), workflow);
    assert_eq!(bounds("gen_ai_invoke_agent_duration_seconds").join(" "), agent);
    assert_eq!(bounds("gen_ai_execute_tool_duration_seconds").join(" "), operation);
    assert_eq!(bounds("gen_ai_client_operation_duration_seconds").join(" "), operation);
    assert_eq!(bounds("gen_ai_client_token_usage").join(" "), tokens);
    let cost = "longpole_node_cost_total{longpole_node_id=\"draft\",longpole_workflow_name=\"desk\",\
                longpole_cost_source=\"recorded\"} 0.3";
    assert!(page.lines().any(|line| line == cost), "{page}");
}

#[cfg(feature = "prometheus")]
fn get(address: std::net::SocketAddr) -> String {
    use std::io::{Read, Write};

    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_profiled_node_says_what_it_cost_as_soon_as_it_is_done() {
    let setup = setup();
    let call = |usd: f64| {
        let span = info_span!("chat", gen_ai.operation.name = "chat", gen_ai.request.model = "m");
        span.record_cost(usd);
    };
    setup.run(|| {
        let _run = info_span!("run").entered();
        let outer = profile_node("outer", || {
            call(0.1);
            let inner = profile_node("inner", || call(0.2));
            assert_eq!(inner.cost_usd(), Some(0.2));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let waits = runtime.block_on(profile_node_async("waits", async {
                tokio::task::yield_now().await;
                call(0.4);
            }));
            assert_eq!(waits.cost_usd(), Some(0.4));
            let nothing = profile_node("nothing", || ());
            assert_eq!((nothing.cost, nothing.unpriced_calls), (None, 0));
            let mut output = serde_json::Map::new();
            nothing.annotate(&mut output);
            assert!(!output.contains_key("_cost_usd"), "unknown is not zero");
            let told = profile_node("told", || tracing::Span::current().record_cost(1.0));
            assert_eq!(told.cost_usd(), Some(1.0));
        });
        let mut output = serde_json::Map::new();
        outer.annotate(&mut output);
        assert_eq!(output["_cost_usd"], 1.7);
        assert_eq!(output["_cost_usd_outer"], 1.7);
        assert_eq!(output["_execution_time_ms_outer"], output["_execution_time_ms"]);
    });
    setup.longpole.flush_within(PATIENCE);
    // The report says the same.
    let report = setup.longpole.last_run().unwrap();
    assert_eq!(node_result(&report, "outer").unwrap()["_cost_usd_outer"], 1.7);
    assert_eq!(node_result(&report, "inner").unwrap()["_cost_usd"], 0.2);
    assert_eq!(node_result(&report, "none"), None);
    let all = run_result(&report);
    assert_eq!(all["_cost_usd_waits"], 0.4);
    assert!(all.contains_key("_execution_time_ms_nothing") && !all.contains_key("_cost_usd_nothing"));
    // Without a layer it works, and knows of no cost.
    assert_eq!(profile_node("alone", || 7).cost, None);
}

#[test]
fn a_batch_sums_up_its_parts_on_metrics_and_on_the_span() {
    let setup = setup();
    let part = |succeeded, cost: Option<&str>| Part {
        succeeded,
        turns: 2,
        tokens: 100,
        cost: cost.map(|cost| cost.parse().unwrap()),
    };
    let record = setup.run(|| {
        let _run = info_span!("run").entered();
        info_span!("fan out", node.id = "batch").in_scope(|| {
            let mut batch = SubagentBatch::new("research", 1);
            batch.add(part(true, Some("0.1")));
            batch.add(part(true, Some("0.2")));
            batch.add(part(false, None));
            batch.finish()
        })
    });
    assert_eq!(record.status, BatchStatus::Partial);
    assert_eq!((record.successful, record.failed, record.turns, record.tokens), (2, 1, 6, 300));
    assert_eq!((record.cost.unwrap().to_string().as_str(), record.unpriced), ("0.3", 1));
    let told = setup.told();
    assert_eq!(sums(&told, "subagent_tokens_consumed"), of([("depth=1", 300.0)]));
    assert_eq!(sums(&told, "subagent_turns_used"), of([("depth=1", 6.0)]));
    assert_eq!(sums(&told, "subagent_completions_total"), of([("depth=1 status=partial", 1.0)]));
    let report = setup.longpole.last_run().unwrap();
    assert_eq!((report.nodes[0].turns, report.nodes[0].cost_usd), (Some(6), None));
    let nothing = SubagentBatch::of(&setup.longpole, "empty", 0).finish();
    assert_eq!((nothing.status.as_str(), nothing.cost), ("failed", None));
}

#[test]
fn a_class_of_error_has_one_name_however_it_is_written() {
    let setup = setup();
    setup.run(|| {
        let _run = info_span!("run").entered();
        for class in ["max_depth_reached", "depth_limit"] {
            let span = info_span!("step", node.id = "sub", otel.status_code = "error", error.type = class);
            span.in_scope(|| ());
        }
    });
    let labels = "longpole.node.id=sub longpole.workflow.name=desk error.type=depth_limit";
    assert_eq!(sums(&setup.told(), "longpole.node.errors"), of([(labels, 2.0)]));
}
