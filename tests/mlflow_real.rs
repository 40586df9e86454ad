//! Runs in a real MLflow server, where one is on the path; the test says so where there is none.
//!
//! `UPDATE_MLFLOW=1` writes down what it answers, which is what `tests/mlflow.rs` goes by.
#![cfg(all(feature = "mlflow", unix))]

#[path = "support/mlflow_server.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod mlflow_server;

#[path = "support/mlflow_run.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod mlflow_run;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use longpole::{Durability, Longpole, MlflowConfig, Report, ReportOptions, report_on};
use mlflow_run::{METRICS, config, report, trace};
use mlflow_server::{Exchange, PATIENCE, Reply, Request, Server, ask};
use serde_json::{Value, json};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// A server takes some ten seconds to start where nothing else runs.
const START: Duration = Duration::from_secs(180);

struct RealServer {
    base: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl RealServer {
    /// `None`, and a line that says so, where there is no MLflow.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn start() -> Option<RealServer> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found: Option<PathBuf> = std::env::split_paths(&path)
            .map(|folder| folder.join("mlflow"))
            .find(|program| program.is_file());
        let Some(program) = found else {
            eprintln!("SKIPPED: there is no mlflow on the path");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["server", "--host", "127.0.0.1", "--port", &port.to_string(), "--workers", "1"])
            .args(["--backend-store-uri", "sqlite:///m.db"])
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("DO_NOT_TRACK", "true")
            // Else there are processes that outlive the server.
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let server = RealServer { base: format!("http://127.0.0.1:{port}"), process, _folder: folder };
        let deadline = Instant::now() + START;
        while !matches!(ask(&server.base, "GET", "/health", b""), Ok((200, ..))) {
            assert!(Instant::now() < deadline, "the server does not start");
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Some(server)
    }

    fn get(&self, path: &str) -> Value {
        let (status, _, body) = ask(&self.base, "GET", path, b"").unwrap();
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> (u16, String, Vec<u8>) {
        ask(&self.base, "POST", &format!("/api/{path}"), body.to_string().as_bytes()).unwrap()
    }

    /// The run of an experiment with this tag.
    fn run_of(&self, experiment: &str, tag: &str, value: &str) -> Value {
        let filter = format!("tags.`{tag}` = '{value}'");
        let body = json!({"experiment_ids": [experiment], "filter": filter});
        let (status, _, answer) = self.post("2.0/mlflow/runs/search", &body);
        assert_eq!(status, 200);
        let found: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(found["runs"].as_array().map(Vec::len), Some(1), "{found}");
        found["runs"][0].clone()
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        // Its worker is in its group.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.process.wait();
    }
}

/// Keys and values of what MLflow has of a run.
fn entries(run: &Value, what: &str) -> BTreeMap<String, Value> {
    let entries = run["data"][what].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|it| (it["key"].as_str().unwrap().to_owned(), it["value"].clone())).collect()
}

fn flush(longpole: &Longpole) {
    let flushed = longpole.flush_within(Duration::from_secs(60));
    assert!(flushed.is_complete, "{:?}", longpole.diagnostics());
}

#[test]
fn a_real_server_has_what_was_logged_and_the_trace_of_it() {
    let Some(real) = RealServer::start() else { return };
    it_has_what_was_logged(&real);
    it_takes_whatever_nodes_are_called_and_however_many_there_are(&real);
    it_has_the_trace_of_a_run_and_takes_no_metrics(&real);
}

fn it_has_what_was_logged(real: &RealServer) {
    // Through a server that writes down what passes.
    let exchanges: Arc<Mutex<Vec<Exchange>>> = Arc::default();
    let (passed, base) = (exchanges.clone(), real.base.clone());
    let between = Server::start(move |request, _| {
        let answer = ask(&base, &request.method, &request.path, &request.body).unwrap();
        passed.lock().unwrap().push(Exchange::new(request, &answer));
        let (status, content_type, body) = answer;
        Reply::Answer { status, headers: vec![("content-type", content_type)], body }
    });
    let (_layer, longpole) = longpole::builder().mlflow(config(between.base())).build().unwrap();
    for _ in 0..2 {
        longpole.log_bottleneck_report(&report()).unwrap();
        flush(&longpole);
    }
    assert_eq!(longpole.diagnostics().mlflow_runs, 2);
    assert!(longpole.diagnostics().notes.is_empty(), "{:?}", longpole.diagnostics().notes);

    let run = real.run_of("1", "longpole.workflow.name", "nightly");
    let (info, metrics, tags) = (&run["info"], entries(&run, "metrics"), entries(&run, "tags"));
    assert_eq!(info["run_name"], "nightly");
    assert_eq!(info["status"], "FINISHED");
    assert_eq!(
        (&info["start_time"], &info["end_time"]),
        (&json!(1_700_000_000_000u64), &json!(1_700_000_001_000u64))
    );
    for (key, value) in METRICS {
        assert_eq!(metrics.get(key), Some(&json!(value)), "{key}");
    }
    assert_eq!(tags["longpole.workflow.name"], "nightly");
    assert_eq!(tags["longpole.bottleneck.node"], json!(report().findings[0].subject));
    let summary: Value = serde_json::from_str(tags["bottleneck_info"].as_str().unwrap()).unwrap();
    assert_eq!(summary, serde_json::to_value(report().bottleneck_info).unwrap());
    let id = info["run_id"].as_str().unwrap();
    let history =
        real.get(&format!("/api/2.0/mlflow/metrics/get-history?run_id={id}&metric_key=node_write_cost_usd"));
    assert_eq!(history["metrics"].as_array().unwrap().len(), 1, "logged twice it is there once: {history}");
    let file = format!("/api/2.0/mlflow-artifacts/artifacts/1/{id}/artifacts/bottleneck_report.json");
    assert_eq!(real.get(&file), serde_json::to_value(report()).unwrap());

    let refusals = refusals(real);
    if std::env::var_os("UPDATE_MLFLOW").is_some() {
        Exchange::write_all("one_run", &exchanges.lock().unwrap());
        Exchange::write_all("refusals", &refusals);
    }
}

/// What the server answers to something wrong.
fn refusals(real: &RealServer) -> Vec<Exchange> {
    let made = real.post("2.0/mlflow/experiments/create", &json!({"name": "gone"}));
    let id: Value = serde_json::from_slice(&made.2).unwrap();
    real.post("2.0/mlflow/experiments/delete", &json!({"experiment_id": id["experiment_id"]}));
    let run = real.run_of("1", "longpole.workflow.name", "nightly")["info"]["run_id"].clone();
    let metric = json!({"key": "a\"b", "value": 1.0, "timestamp": 1, "step": 0});
    let asked = [
        ("deleted_experiment", "runs/create", json!({"experiment_id": id["experiment_id"]})),
        ("bad_metric_key", "runs/log-batch", json!({"run_id": run, "metrics": [metric]})),
    ];
    let refused = asked.map(|(what, path, body)| {
        let answer = real.post(&format!("2.0/mlflow/{path}"), &body);
        assert_eq!(answer.0, 400);
        let request = Request {
            method: "POST".to_owned(),
            path: format!("/api/2.0/mlflow/{path}"),
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        };
        let mut exchange = Exchange::new(&request, &answer);
        exchange.0["what"] = json!(what);
        exchange
    });
    refused.into()
}

/// A run of so many nodes, some with names no key of MLflow's can hold.
fn large_report(nodes: usize) -> Report {
    let mut trace = trace();
    let spans = trace["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().unwrap();
    let template = spans[1].clone();
    let odd =
        ["a/../b", "a:b", "a/b", "A_B", "हिन्दी", "検索", "\u{1f600}\n\"", "", "x\\y"].map(str::to_owned);
    let long = [format!("é{}", "long ".repeat(100)), format!("é{}!", "long ".repeat(100))];
    let plain = (0..nodes).map(|number| format!("n{number}"));
    for (number, name) in odd.into_iter().chain(long).chain(plain).enumerate() {
        let mut span = template.clone();
        span["spanId"] = json!(format!("{:016x}", number + 100));
        span["attributes"][0]["value"]["stringValue"] = json!(name);
        span["attributes"]
            .as_array_mut()
            .unwrap()
            .push(json!({"key": "longpole.cost.usd", "value": {"doubleValue": 0.001}}));
        spans.push(span);
    }
    let decoded = longpole::decode::decode(trace.to_string().as_bytes()).unwrap();
    report_on(decoded.spans, &ReportOptions::default()).remove(0)
}

fn it_takes_whatever_nodes_are_called_and_however_many_there_are(real: &RealServer) {
    let made = real.post("2.0/mlflow/runs/create", &json!({"experiment_id": "0"}));
    let made: Value = serde_json::from_slice(&made.2).unwrap();
    let mut config = MlflowConfig::new(format!("{}/", real.base));
    config.run_id = Some(made["run"]["info"]["run_id"].as_str().unwrap().to_owned());
    let (_layer, longpole) = longpole::builder().mlflow(config).build().unwrap();
    let report = large_report(1_500);
    longpole.log_bottleneck_report(&report).unwrap();
    flush(&longpole);
    let diagnostics = longpole.diagnostics();
    assert_eq!(
        (diagnostics.mlflow_runs, diagnostics.last_mlflow_error),
        (1, None),
        "{:?}",
        diagnostics.notes
    );
    let run = real.run_of("0", "longpole.run.id", &report.run.id);
    assert_eq!(run["info"]["status"], "RUNNING", "its end is not ours");
    let metrics = entries(&run, "metrics");
    let of_nodes =
        |suffix: &str| metrics.keys().filter(|key| key.starts_with("node_") && key.ends_with(suffix)).count();
    assert_eq!(of_nodes("_duration_ms"), report.nodes.len());
    assert_eq!(of_nodes("_cost_usd"), report.nodes.iter().filter(|node| node.cost_usd.is_some()).count());
    assert_eq!(metrics["node_検索_duration_ms"], json!(400.0));
}

fn it_has_the_trace_of_a_run_and_takes_no_metrics(real: &RealServer) {
    let mut config = MlflowConfig::new(&real.base);
    config.experiment_id = Some("0".to_owned());
    let (layer, longpole) = longpole::builder()
        .workflow("nightly")
        .mlflow(config)
        .mlflow_traces(true)
        .durability(Durability::Memory)
        .otlp_metrics_endpoint(format!("{}/v1/metrics", real.base))
        .build()
        .unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for _ in 0..2 {
            let _run = info_span!(target: "app", "run").entered();
            let call = info_span!(
                target: "app",
                "chat",
                gen_ai.operation.name = "chat",
                gen_ai.provider.name = "openai",
                gen_ai.request.model = "gpt-4.1",
                gen_ai.usage.input_tokens = 1_000,
                gen_ai.usage.output_tokens = 50,
            );
            call.in_scope(|| {});
        }
    });
    flush(&longpole);
    let told = longpole.diagnostics();
    let metrics: Vec<&String> = told.notes.iter().filter(|note| note.starts_with("metrics: ")).collect();
    assert_eq!((metrics.len(), told.notes.len()), (1, 1), "{told:?}");
    assert!(metrics[0].contains("no further metrics are sent there"), "{metrics:?}");

    let report = longpole.last_run().unwrap();
    let id = format!("tr-{}", report.run.trace_id);
    let deadline = Instant::now() + PATIENCE;
    let info = loop {
        let (status, _, answer) =
            ask(&real.base, "GET", &format!("/api/3.0/mlflow/traces/{id}"), b"").unwrap();
        let info: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if status == 200 {
            break info["trace"]["trace_info"].clone();
        }
        assert!(Instant::now() < deadline, "{status} {info}");
        std::thread::park_timeout(Duration::from_millis(50));
    };
    let tokens: Value =
        serde_json::from_str(info["trace_metadata"]["mlflow.trace.tokenUsage"].as_str().unwrap()).unwrap();
    assert_eq!((&tokens["input_tokens"], &tokens["output_tokens"]), (&json!(1_000), &json!(50)), "{info}");
    let cost: Value =
        serde_json::from_str(info["trace_metadata"]["mlflow.trace.cost"].as_str().unwrap()).unwrap();
    // 2 and 8 dollars for a million tokens.
    assert_eq!(cost, json!({"input_cost": 0.002, "output_cost": 0.0004, "total_cost": 0.0024}), "{info}");

    // It is shown with its run.
    let run = real.run_of("0", "longpole.run.id", &report.run.id)["info"]["run_id"].clone();
    let search = json!({
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}],
        "filter": format!("run_id = '{}'", run.as_str().unwrap()),
    });
    let (status, _, answer) = real.post("3.0/mlflow/traces/search", &search);
    let found: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &found["traces"][0]["trace_id"]), (200, &json!(id)), "{found}");
}
