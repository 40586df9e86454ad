//! The example with real backends: its spans through the OpenTelemetry Collector into Jaeger, its metrics scraped by
//! Prometheus. Needs the programs on PATH; without them a test says so and passes.

#[path = "../../../tests/support/programs.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod programs;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use longpole::report::Source;
use longpole::{Report, ReportOptions};
use programs::{
    Running, attribute, free_addresses, get, jaeger, number, option, otelcol, program, spans_of,
    start_collector, start_jaeger, wait_for,
};
use serde_json::Value;

fn run_example(folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut example = Command::new(env!("CARGO_BIN_EXE_longpole-example-rig"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        example.env_remove(name);
    }
    example.env("XDG_STATE_HOME", folder);
    let output = example.current_dir(folder).envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// Without the part that says where the spans came from.
fn what_it_says(reports: Vec<Report>) -> Vec<Report> {
    reports.into_iter().map(|report| Report { source: Source::Live, pipeline: None, ..report }).collect()
}

/// Which spans of a trace link to which.
fn links_of(spans: &[&Value], trace_id: &str) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut links = BTreeSet::new();
    for span in spans.iter().filter(|span| span["traceId"] == trace_id) {
        for link in span["links"].as_array().into_iter().flatten() {
            links.insert((text(&span["spanId"]), text(&link["spanId"])));
        }
    }
    links
}

#[test]
fn both_runs_are_in_jaeger_with_their_verdicts() {
    let (Some(otelcol), Some(jaeger)) = (otelcol(), jaeger()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [jaeger_otlp] = free_addresses();
    let jaeger = start_jaeger(&jaeger, folder.path(), &jaeger_otlp);
    let collector = start_collector(&otelcol, folder.path(), &jaeger_otlp);
    let output = run_example(folder.path(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.otlp_http)]);
    let told = String::from_utf8(output.stderr).unwrap();
    let last = told.lines().last().unwrap();
    let spans: usize = last.split(' ').next().unwrap().parse().unwrap();
    assert!(last.contains(&format!("{spans} acknowledged")) && !last.contains("lost"), "{last}");

    let decoded = wait_for("the collector's file", || {
        let decoded = longpole::decode::decode(&std::fs::read(&collector.traces_file).ok()?).ok()?;
        (decoded.spans.len() == spans && decoded.problems.is_empty()).then_some(decoded)
    });
    let reports = longpole::report_on(decoded.spans, &ReportOptions::default());
    assert_eq!(reports.len(), 2);
    let lines = std::fs::read_to_string(&collector.traces_file).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let in_file: Vec<&Value> = lines.iter().flat_map(spans_of).collect();
    let mut links_seen = 0;
    for report in reports {
        let trace = wait_for("Jaeger to have the trace", || {
            let answer = get(&jaeger.http, &format!("/api/v3/traces/{}", report.run.trace_id))?;
            let trace = serde_json::from_str::<Value>(&answer).unwrap()["result"].take();
            (spans_of(&trace).len() as u64 == report.run.spans).then_some(trace)
        });
        let spans = spans_of(&trace);
        let root =
            spans.iter().find(|span| span["spanId"].as_str() == report.run.root_span_id.as_deref()).unwrap();
        let wall = number(&root["endTimeUnixNano"]) - number(&root["startTimeUnixNano"]);
        assert_eq!(wall, report.run.wall_ns.as_nanos());
        assert_eq!(number(&attribute(root, "longpole.run.wall_ns")["intValue"]), wall);
        assert_eq!(attribute(root, "longpole.bottleneck.node")["stringValue"], *report.findings[0].subject);
        let links = links_of(&spans, &report.run.trace_id);
        assert_eq!(links, links_of(&in_file, &report.run.trace_id));
        links_seen += links.len();
        let decoded = longpole::decode::decode(trace.to_string().as_bytes()).unwrap();
        let of_jaeger = longpole::report_on(decoded.spans, &ReportOptions::default());
        assert_eq!(what_it_says(of_jaeger), what_it_says(vec![report.clone()]));
        assert!(told.contains(&report.findings[0].subject), "{told}");
    }
    assert!(links_seen > 0, "rig links the calls of an agent");
}

#[test]
fn prometheus_scrapes_its_metrics() {
    let Some(program) = program(&["prometheus"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [prometheus, page] = free_addresses();
    let config = folder.path().join("prometheus.yaml");
    let text = format!(
        "scrape_configs:\n  - job_name: rig\n    scrape_interval: 500ms\n    scrape_timeout: 500ms\n    \
         static_configs:\n      - targets: [\"{page}\"]\n"
    );
    std::fs::write(&config, text).unwrap();
    let options = [
        format!("--config.file={}", config.display()),
        format!("--web.listen-address={prometheus}"),
        format!("--storage.tsdb.path={}", folder.path().join("data").display()),
        "--enable-feature=exemplar-storage".to_owned(),
    ];
    let mut running = Running::start(&program, &options, folder.path(), &[]);
    running.wait_until_up(&prometheus, "/-/ready");
    let (_, port) = page.split_once(':').unwrap();
    // It takes some seconds, so that there are scrapes between its runs.
    run_example(
        folder.path(),
        &[("OTEL_METRICS_EXPORTER", "prometheus"), ("OTEL_EXPORTER_PROMETHEUS_PORT", port)],
    );
    let ask = |query: &str| -> Option<Vec<Value>> {
        let answer = get(&prometheus, &format!("/api/v1/query?query={query}"))?;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let found = answer["data"]["result"].as_array()?.clone();
        (!found.is_empty()).then_some(found)
    };
    let spans = std::fs::read(folder.path().join("longpole-spans.jsonl")).unwrap();
    let spans = longpole::decode::decode(&spans).unwrap().spans;
    let reports = longpole::report_on(spans, &ReportOptions::default());
    // The program is gone, and the last page it showed is of after its first run: metrics of the second came with
    // its end.
    let first = &reports[0];
    let found = wait_for("executions", || {
        ask("sum%20by%20(longpole_node_id)%20(max_over_time(longpole_node_executions_total[5m]))")
    });
    for node in &first.nodes {
        let of = found.iter().find(|series| series["metric"]["longpole_node_id"] == *node.name);
        let calls: f64 = of.unwrap_or_else(|| panic!("no {} in {found:?}", node.name))["value"][1]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(calls >= node.calls as f64, "{} {calls}", node.name);
    }
    let sums = wait_for("durations", || ask("max_over_time(longpole_run_duration_seconds_sum[5m])"));
    let told: f64 = sums[0]["value"][1].as_str().unwrap().parse().unwrap();
    let walls: Vec<f64> = reports.iter().map(|report| report.run.wall_ns.as_secs_f64()).collect();
    assert!(walls.iter().any(|wall| (wall - told).abs() < 1e-9), "{sums:?} {walls:?}");
    let active = wait_for("levels", || ask("max_over_time(longpole_node_active[5m])"));
    assert!(active.iter().any(|series| series["value"][1] != "0"), "{active:?}");
    let exemplars = get(
        &prometheus,
        "/api/v1/query_exemplars?start=0&end=99999999999&query=longpole_run_duration_seconds_bucket",
    );
    let exemplars: Value = serde_json::from_str(&exemplars.unwrap()).unwrap();
    let trace = &exemplars["data"][0]["exemplars"][0]["labels"]["trace_id"];
    assert!(reports.iter().any(|report| *trace == *report.run.trace_id), "{exemplars}");
}

#[test]
fn the_shipped_configuration_can_be_named_from_here() {
    assert!(Path::new(option("config", "collector.yaml").trim_start_matches("--config=")).is_file());
}
