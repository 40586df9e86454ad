//! longpole with the OpenTelemetry Collector, Jaeger and Prometheus, as `collector-config/` sets them up.
//!
//! Needs `otelcol-contrib` or `otelcol` (with the contrib components) and, for some, `jaeger` or `prometheus` on
//! PATH; a test without its programs says so and passes.

#[path = "support/programs.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod programs;

use std::hint::black_box;
use std::process::Command;

use longpole::report::Source;
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, SpanExt};
use programs::{
    Collector, Jaeger, PATIENCE, Running, attribute, config, free_addresses, get, jaeger, number, option,
    otelcol, program, spans_of, start_collector, start_collector_with, start_jaeger, wait_for,
};
use serde_json::Value;
use tracing::{Instrument, info_span};
use tracing_subscriber::prelude::*;

/// Something that takes a while.
fn work(units: u64) {
    black_box((0..units * 100_000).fold(0u64, |sum, n| black_box(sum.wrapping_mul(31).wrapping_add(n))));
}

/// Spans of [`research`].
const SPANS: usize = 7;

/// A plan, two searches beside each other on threads of their own, one that fails, and an answer by a model.
fn research() {
    let run = info_span!("run", workflow.version = "7").entered();
    let plan = info_span!("plan it", node.id = "plan");
    plan.in_scope(|| work(2));
    let searches = [(1, "archive", 20), (2, "web", 5)].map(|(attempt, source, units)| {
        let search = info_span!("search", node.id = source, node.attempt = attempt, text = "täxt");
        search.follows_from(&plan);
        (search, units)
    });
    std::thread::scope(|scope| {
        for (search, units) in &searches {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            scope.spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || search.in_scope(|| work(*units)))
            });
        }
    });
    drop(searches);
    let failing = info_span!(
        "rank",
        node.id = "rank",
        otel.status_code = "ERROR",
        otel.status_description = "no ink",
        error.type = "timeout"
    );
    failing.record_cost(0.25);
    failing.in_scope(|| tracing::info!(rows = 3, "ranked"));
    drop(failing);
    let answer = info_span!(
        "chat",
        gen_ai.operation.name = "chat",
        gen_ai.request.model = "small",
        gen_ai.usage.input_tokens = 10,
        gen_ai.usage.output_tokens = 3
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(
        async {
            work(1);
            tokio::task::yield_now().await;
            info_span!("parse").in_scope(|| work(1));
        }
        .instrument(answer),
    );
    drop(run);
}

/// Runs the workflow with its spans and metrics sent to the collector; gives the live report.
fn measured(collector: &Collector) -> Report {
    let (layer, longpole) = longpole::builder()
        .workflow("research")
        .otlp_endpoint(format!("{}/v1/traces", collector.otlp_http))
        .durability(longpole::Durability::Memory)
        .otlp_metrics_endpoint(format!("{}/v1/metrics", collector.otlp_http))
        .build()
        .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), research);
    let flush = longpole.flush_within(PATIENCE);
    assert!(flush.is_complete && flush.lost.is_empty(), "{flush:?}");
    assert_eq!((flush.closed, flush.acknowledged, flush.runs), (SPANS as u64, SPANS as u64, 1));
    let report = longpole.last_run().unwrap();
    assert_eq!((report.run.workflow.as_deref(), report.run.spans), (Some("research"), SPANS as u64));
    Report::clone(&report)
}

/// Without the two parts that say where the spans came from.
fn what_it_says(report: &Report) -> Report {
    Report { source: Source::Live, pipeline: None, ..report.clone() }
}

/// Checks that these spans tell what the program told live.
fn check_report(spans: Vec<SpanRecord>, live: &Report) {
    let reports = longpole::report_on(spans, &ReportOptions::default());
    let [offline] = &reports[..] else { panic!("{} reports", reports.len()) };
    assert_eq!(what_it_says(offline), what_it_says(live));
    assert_eq!(what_it_says(offline).to_json(), what_it_says(live).to_json());
}

/// The trace out of the file the collector writes, once all of it is there.
fn trace_of_file(collector: &Collector, live: &Report) -> Vec<SpanRecord> {
    wait_for("the collector's traces file", || {
        let bytes = std::fs::read(&collector.traces_file).ok()?;
        // The last line may not be whole yet.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let decoded = longpole::decode::decode(&bytes[..whole]).unwrap();
        assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
        let spans = decoded.spans.into_iter();
        let spans: Vec<_> = spans.filter(|span| span.trace_id.to_string() == live.run.trace_id).collect();
        (spans.len() == SPANS).then_some(spans)
    })
}

/// The trace as Jaeger's API tells it in OTLP, once all of it is there.
fn trace_of_jaeger(jaeger: &Jaeger, trace_id: &str) -> Value {
    wait_for("Jaeger to have the trace", || {
        let answer = get(&jaeger.http, &format!("/api/v3/traces/{trace_id}"))?;
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        let trace = answer["result"].take();
        (spans_of(&trace).len() == SPANS).then_some(trace)
    })
}

#[test]
fn the_programs_accept_their_configuration() {
    for (program, files) in [
        (otelcol(), &["collector.yaml"][..]),
        (otelcol(), &["collector.yaml", "metrics-to-prometheus.yaml"]),
        (jaeger(), &["jaeger.yaml"]),
    ] {
        let Some(program) = program else { continue };
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.arg("validate").current_dir(&folder);
        command.args(files.iter().map(|file| option("config", file)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{files:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_collectors_file_tells_what_the_program_told() {
    let Some(otelcol) = otelcol() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [no_jaeger] = free_addresses();
    let collector = start_collector(&otelcol, folder.path(), &no_jaeger);
    let live = measured(&collector);
    check_report(trace_of_file(&collector, &live), &live);
}

#[test]
fn spans_become_metrics_by_node() {
    let Some(otelcol) = otelcol() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [no_jaeger] = free_addresses();
    let collector = start_collector(&otelcol, folder.path(), &no_jaeger);
    measured(&collector);
    for node in ["plan", "archive", "web", "rank"] {
        let labels = [format!("longpole_node_id=\"{node}\""), "service_name=\"research\"".to_owned()];
        assert_eq!(scraped(&collector, "traces_span_metrics_duration_seconds_count", &labels), 1.0, "{node}");
    }
}

/// The value of a series in what the collector gives Prometheus to scrape, once it is there.
fn scraped(collector: &Collector, name: &str, labels: &[String]) -> f64 {
    wait_for(&format!("{name} {labels:?}"), || {
        let page = get(&collector.prometheus, "/metrics")?;
        let mut lines = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        let line = lines.find(|line| labels.iter().all(|label| line.contains(label)))?;
        Some(line.rsplit(' ').next().unwrap().parse().unwrap())
    })
}

#[test]
fn metrics_reach_prometheus() {
    let Some(otelcol) = otelcol() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [no_jaeger] = free_addresses();
    let collector = start_collector(&otelcol, folder.path(), &no_jaeger);
    let live = measured(&collector);
    for node in live.nodes.iter().filter(|node| !node.is_root) {
        let labels = [
            format!("longpole_node_id=\"{}\"", node.name),
            "longpole_workflow_name=\"research\"".to_owned(),
            "service_name=\"research\"".to_owned(),
        ];
        let told = |name: &str| scraped(&collector, name, &labels);
        let seconds = |told: f64, time: longpole::time::Duration| {
            assert!((told - time.as_secs_f64()).abs() < 1e-9, "{}: {told} {time:?}", node.name);
        };
        assert_eq!(told("longpole_node_duration_seconds_count"), node.calls as f64);
        seconds(told("longpole_node_duration_seconds_sum"), node.duration.sum_ns);
        seconds(told("longpole_node_self_time_seconds_sum"), node.self_ns);
        if node.failures > 0 {
            assert_eq!(told("longpole_node_errors_total"), node.failures as f64);
        }
        if !node.on_path_ns.is_zero() {
            seconds(told("longpole_node_critical_path_time_seconds_total"), node.on_path_ns);
        }
    }
    let labels = ["longpole_workflow_name=\"research\"".to_owned()];
    assert_eq!(scraped(&collector, "longpole_run_duration_seconds_count", &labels), 1.0);
    assert_eq!(scraped(&collector, "longpole_run_executions_total", &labels), 1.0);
}

#[test]
fn exemplars_in_prometheus_lead_to_the_trace() {
    let (Some(otelcol), Some(program)) = (otelcol(), program(&["prometheus"])) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [prometheus, no_jaeger] = free_addresses();
    let options = [
        option("config.file", "prometheus.yaml"),
        format!("--web.listen-address={prometheus}"),
        format!("--storage.tsdb.path={}", folder.path().join("prometheus").display()),
        "--web.enable-otlp-receiver".to_owned(),
        "--enable-feature=exemplar-storage,created-timestamp-zero-ingestion".to_owned(),
    ];
    let mut running = Running::start(&program, &options, folder.path(), &[]);
    running.wait_until_up(&prometheus, "/-/ready");
    let endpoint = format!("http://{prometheus}/api/v1/otlp/v1/metrics");
    let backends = [("JAEGER_ENDPOINT", &*no_jaeger), ("PROMETHEUS_ENDPOINT", &endpoint)];
    let files = ["collector.yaml", "metrics-to-prometheus.yaml"];
    let collector = start_collector_with(&otelcol, &files, folder.path(), &backends);
    let live = measured(&collector);

    let ask = |path: &str| -> Option<Value> {
        let answer: Value = serde_json::from_str(&get(&prometheus, path)?).unwrap();
        let answer = answer["data"].clone();
        let is_empty = answer.as_array().or(answer["result"].as_array()).is_none_or(Vec::is_empty);
        (!is_empty).then_some(answer)
    };
    // A native histogram, with all its buckets.
    let runs = wait_for("the run in Prometheus", || ask("/api/v1/query?query=longpole_run_duration_seconds"));
    let histogram = &runs["result"][0]["histogram"][1];
    assert_eq!(histogram["count"], "1");
    let bucket = histogram["buckets"][0].as_array().unwrap();
    let bound = |at: usize| bucket[at].as_str().unwrap().parse::<f64>().unwrap();
    let wall = live.run.wall_ns.as_secs_f64();
    assert!(bound(1) <= wall && wall <= bound(2), "{bucket:?} {wall}");
    // Each node's series has an exemplar of its own.
    for node in ["plan", "archive", "web", "rank"] {
        let series = format!("longpole_node_duration_seconds%7Blongpole_node_id=%22{node}%22%7D");
        let path = format!("/api/v1/query_exemplars?start=0&end=99999999999&query={series}");
        let exemplars = wait_for("an exemplar", || ask(&path));
        let told = &exemplars[0]["exemplars"][0];
        assert_eq!(told["labels"]["trace_id"], *live.run.trace_id, "{node}");
        let took = live.nodes.iter().find(|told| told.name == node).unwrap().duration.sum_ns.as_secs_f64();
        let value: f64 = told["value"].as_str().unwrap().parse().unwrap();
        assert!((value - took).abs() < 1e-9, "{node}: {value} {took}");
    }
}

#[test]
fn jaeger_shows_the_trace_with_the_verdict_on_its_root() {
    let (Some(otelcol), Some(jaeger)) = (otelcol(), jaeger()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [jaeger_otlp] = free_addresses();
    let jaeger = start_jaeger(&jaeger, folder.path(), &jaeger_otlp);
    let collector = start_collector(&otelcol, folder.path(), &jaeger_otlp);
    let live = measured(&collector);

    let trace = trace_of_jaeger(&jaeger, &live.run.trace_id);
    let spans = spans_of(&trace);
    let named = |name: &str| *spans.iter().find(|span| span["name"] == name).unwrap();
    let of_node = |node: &str| {
        let is_node = |span: &&&Value| {
            let attributes = span["attributes"].as_array().unwrap();
            attributes.iter().any(|a| a["key"] == "longpole.node.id" && a["value"]["stringValue"] == node)
        };
        *spans.iter().find(is_node).unwrap()
    };

    // The verdict.
    let root = named("run");
    assert_eq!(root["spanId"].as_str(), live.run.root_span_id.as_deref());
    let first = &live.findings[0];
    assert_eq!(attribute(root, "longpole.bottleneck.node")["stringValue"], *first.subject);
    assert_eq!(
        number(&attribute(root, "longpole.bottleneck.save_max_ns")["intValue"]),
        first.saves_max_ns.as_nanos()
    );
    let info = attribute(root, "bottleneck_info")["stringValue"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(info).unwrap(),
        serde_json::to_value(&live.bottleneck_info).unwrap()
    );
    let path = attribute(root, "longpole.critical_path")["arrayValue"]["values"].as_array().unwrap();
    assert_eq!(path.len(), live.critical_path.rows.len());
    for (step, row) in path.iter().zip(&live.critical_path.rows) {
        assert!(step["stringValue"].as_str().unwrap().starts_with(&row.node), "{step} {row:?}");
    }

    // Exact times.
    let (start, end) = (number(&root["startTimeUnixNano"]), number(&root["endTimeUnixNano"]));
    assert_eq!(start, live.run.start_unix_ns.as_unix_nanos());
    assert_eq!(end - start, live.run.wall_ns.as_nanos());
    assert_eq!(number(&attribute(root, "longpole.run.wall_ns")["intValue"]), live.run.wall_ns.as_nanos());
    for node in ["plan", "archive", "web", "rank"] {
        let span = of_node(node);
        let took = number(&span["endTimeUnixNano"]) - number(&span["startTimeUnixNano"]);
        let told = live.nodes.iter().find(|told| told.name == node).unwrap();
        assert_eq!(took, told.duration.sum_ns.as_nanos(), "{node}");
    }

    // The links.
    let plan = of_node("plan");
    for node in ["archive", "web"] {
        let links = of_node(node)["links"].as_array().unwrap();
        assert_eq!(links.len(), 1);
        assert_eq!((&links[0]["traceId"], &links[0]["spanId"]), (&plan["traceId"], &plan["spanId"]));
    }

    // All of it: the report of what Jaeger has is the one the program gave, and so is that of the file.
    let decoded = longpole::decode::decode(trace.to_string().as_bytes()).unwrap();
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    check_report(decoded.spans, &live);
    check_report(trace_of_file(&collector, &live), &live);

    // What Jaeger's pages are made of, in microseconds.
    let shown = get(&jaeger.http, &format!("/api/traces/{}", live.run.trace_id)).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let shown = shown["data"][0]["spans"].as_array().unwrap();
    let root = shown.iter().find(|span| span["operationName"] == "run").unwrap();
    let tags = root["tags"].as_array().unwrap();
    let tag = tags.iter().find(|tag| tag["key"] == "longpole.bottleneck.node").unwrap();
    assert_eq!(tag["value"], *first.subject);
    assert_eq!(root["duration"], live.run.wall_ns.as_nanos() / 1000);
    let follows = shown.iter().flat_map(|span| span["references"].as_array().unwrap());
    assert_eq!(follows.filter(|reference| reference["refType"] == "FOLLOWS_FROM").count(), 2);
}

#[test]
fn what_jaeger_could_not_take_survives_the_collectors_death() {
    let (Some(otelcol), Some(jaeger)) = (otelcol(), jaeger()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [jaeger_otlp] = free_addresses();
    let first = start_collector(&otelcol, folder.path(), &jaeger_otlp);
    let live = measured(&first);
    drop(first); // killed, not asked to stop
    let jaeger = start_jaeger(&jaeger, folder.path(), &jaeger_otlp);
    let _second = start_collector(&otelcol, folder.path(), &jaeger_otlp);
    let trace = trace_of_jaeger(&jaeger, &live.run.trace_id);
    check_report(longpole::decode::decode(trace.to_string().as_bytes()).unwrap().spans, &live);
}

/// Every `expr` in a dashboard, with the title of its panel.
fn expressions(panels: &Value) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for panel in panels.as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap()));
        }
    }
    found
}

#[test]
fn the_dashboard_asks_for_every_metric() {
    let dashboard = std::fs::read(config("grafana/longpole.json")).unwrap();
    let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
    let expressions = expressions(&dashboard["panels"]);
    for metric in [
        "longpole_node_duration_seconds",
        "longpole_node_self_time_seconds",
        "longpole_node_busy_time_seconds",
        "longpole_node_executions_total",
        "longpole_node_errors_total",
        "longpole_node_active",
        "longpole_node_critical_path_time_seconds_total",
        "longpole_run_duration_seconds",
        "longpole_run_executions_total",
        "longpole_pipeline_queue",
        "longpole_pipeline_lost_total",
    ] {
        assert!(expressions.iter().any(|(_, expr)| expr.contains(metric)), "{metric}");
    }
    for (title, expr) in &expressions {
        assert_eq!(expr.matches('(').count(), expr.matches(')').count(), "{title}: {expr}");
        // A native histogram, or else a classic one.
        if expr.contains("histogram_quantile") {
            assert!(expr.contains("_bucket") && expr.contains(" or "), "{title}: {expr}");
        }
    }
    let mut ids: Vec<_> = dashboard["panels"].as_array().unwrap().iter().map(|panel| &panel["id"]).collect();
    let count = ids.len();
    ids.sort_by_key(|id| id.as_u64());
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn the_containers_are_published_on_the_loopback_interface_only() {
    let compose = std::fs::read_to_string(config("compose.yaml")).unwrap();
    let mut lines = compose.lines().map(str::trim);
    let mut published = 0;
    while lines.by_ref().any(|line| line == "ports:") {
        let ports = lines.by_ref().take_while(|line| line.starts_with("- "));
        for port in ports {
            assert!(port.starts_with("- 127.0.0.1:"), "{port}");
            published += 1;
        }
    }
    assert!(published >= 4, "{published}");
}
