//! Runs in an MLflow server: what is asked of it, and that whatever it answers, the run does not notice.
#![cfg(feature = "mlflow")]

#[path = "support/mlflow_server.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod mlflow_server;

#[path = "support/mlflow_run.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod mlflow_run;

use std::time::Instant;

use longpole::{Destination, LogReportError, Longpole, MlflowConfig};
use mlflow_run::{METRICS, config, report};
use mlflow_server::{Exchange, PATIENCE, Reply, Request, Server, written};
use serde_json::{Value, json};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// A longpole that logs to MLflow, and one run of it.
fn one_run(config: MlflowConfig) -> Longpole {
    let (layer, longpole) = longpole::builder().workflow("nightly").mlflow(config).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = info_span!(target: "app", "run").entered();
        info_span!(target: "app", "step", node.id = "fetch", node.cost_usd = 0.5).in_scope(|| {});
    });
    longpole
}

fn lost(longpole: &Longpole, why: &str) -> u64 {
    longpole.diagnostics().counts.get(why).copied().unwrap_or_default()
}

/// The run was measured and reported as if there were no MLflow.
fn assert_untouched(longpole: &Longpole) {
    let report = longpole.last_run().unwrap();
    assert_eq!(report.nodes[0].name, "fetch");
    assert_eq!(report.pipeline.as_ref().unwrap().len(), 0, "{:?}", report.pipeline);
}

fn value_of(batch: &Request, key: &str) -> Option<f64> {
    let body = batch.json();
    let metrics = body["metrics"].as_array().unwrap().clone();
    metrics.iter().find(|metric| metric["key"] == key).map(|metric| metric["value"].as_f64().unwrap())
}

#[test]
fn what_is_asked_of_a_server_is_what_a_real_one_answered() {
    let exchanges = Exchange::read_all("one_run");
    let replies = exchanges.clone();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |_, _| {
        let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        replies.get(at).map_or_else(|| Reply::code(500), Exchange::reply)
    });
    let (_layer, longpole) = longpole::builder().mlflow(config(server.base())).build().unwrap();
    assert_eq!(longpole.destinations(), [Destination::Mlflow(server.base())]);
    // The second time the run is there already.
    for _ in 0..2 {
        longpole.log_bottleneck_report(&report()).unwrap();
        assert!(longpole.flush_within(PATIENCE).is_complete, "{:?}", longpole.diagnostics());
    }
    let asked: Vec<Value> = server.seen().iter().map(written).collect();
    let expected: Vec<Value> = exchanges
        .iter()
        .map(|Exchange(it)| json!({"method": it["method"], "path": it["path"], "request": it["request"]}))
        .collect();
    assert_eq!(asked, expected);
    for request in server.seen() {
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert!(request.header("user-agent").unwrap().starts_with("longpole/"));
        assert_eq!(request.header("authorization"), None);
    }
    let batch = server.seen_at("runs/log-batch").remove(0);
    for (key, value) in METRICS {
        assert_eq!(value_of(&batch, key), Some(value), "{key}");
    }
    assert_eq!(value_of(&batch, "node_fetch_1_cost_usd"), None, "nobody knows what it cost");
    assert_eq!(server.seen_at("artifacts")[0].body, report().to_json().into_bytes());
    let tags = batch.json()["tags"].clone();
    let note =
        tags.as_array().unwrap().iter().find(|tag| tag["key"] == "mlflow.note.content").unwrap().clone();
    assert_eq!(note["value"], format!("```text\n{}\n```", report().to_text().trim_end()));
    let diagnostics = longpole.diagnostics();
    assert_eq!((diagnostics.mlflow_runs, &diagnostics.last_mlflow_error), (2, &None));
    assert!(diagnostics.counts.is_empty() && diagnostics.notes.is_empty(), "{diagnostics:?}");
}

#[test]
fn each_run_that_ends_is_logged() {
    let server = Server::recorded(|_, _| None);
    // Its recorded answer to a search finds the run.
    let longpole = one_run(config(server.base()));
    assert!(longpole.flush_within(PATIENCE).is_complete, "{:?}", longpole.diagnostics());
    assert_untouched(&longpole);
    let report = longpole.last_run().unwrap();
    let batch = server.seen_at("runs/log-batch").remove(0);
    assert_eq!(value_of(&batch, "node_fetch_cost_usd"), Some(0.5));
    let duration = report.nodes[0].duration.sum_ns.as_nanos() as f64 / 1e6;
    assert_eq!(value_of(&batch, "node_fetch_duration_ms"), Some(duration));
    assert_eq!(server.seen_at("runs/search").len(), 0, "a run that has just ended is not looked for");
    assert_eq!(server.seen_at("runs/update")[0].json()["status"], "FINISHED");
    // What a program asks for again is looked for, and found.
    longpole.log_bottleneck_report(&report).unwrap();
    assert!(longpole.shutdown_within(PATIENCE).flush.is_complete);
    assert_eq!((server.seen_at("runs/search").len(), server.seen_at("runs/create").len()), (1, 1));
    assert_eq!(longpole.diagnostics().mlflow_runs, 2);
    assert_eq!(longpole.log_bottleneck_report(&report), Err(LogReportError::ShutDown));
    let (_layer, without) = longpole::builder().build().unwrap();
    assert_eq!(without.log_bottleneck_report(&report), Err(LogReportError::NoServer));
}

#[test]
fn runs_are_steps_of_a_run_that_exists_and_its_end_is_not_ours() {
    let server = Server::recorded(|request, _| {
        (request.endpoint() == "runs/get").then(|| {
            let info = json!({"run_id": "theirs", "artifact_uri": "mlflow-artifacts:/7/theirs/artifacts",
                              "lifecycle_stage": "active"});
            Reply::json(200, &json!({"run": {"info": info}}))
        })
    });
    let mut config = config(format!("{}/", server.base()));
    config.run_id = Some("theirs".to_owned());
    config.token = Some("hunter2".to_owned());
    let longpole = one_run(config);
    assert!(longpole.flush_within(PATIENCE).is_complete);
    longpole.log_bottleneck_report(&report()).unwrap();
    assert!(longpole.flush_within(PATIENCE).is_complete, "{:?}", longpole.diagnostics());
    let of =
        |request: &Request| (request.json()["run_id"].clone(), request.json()["metrics"][0]["step"].clone());
    let batches: Vec<(Value, Value)> = server.seen_at("runs/log-batch").iter().map(of).collect();
    assert_eq!(batches, [(json!("theirs"), json!(0)), (json!("theirs"), json!(1))]);
    let paths: Vec<String> = server.seen_at("artifacts").into_iter().map(|request| request.path).collect();
    let folder = "/api/2.0/mlflow-artifacts/artifacts/7/theirs/artifacts";
    assert_eq!(
        paths,
        [format!("{folder}/bottleneck_report.json"), format!("{folder}/bottleneck_report_1.json")]
    );
    let endpoints: Vec<Request> = server.seen();
    assert!(endpoints.iter().all(|it| !matches!(it.endpoint(), "runs/create" | "runs/update")));
    assert!(endpoints.iter().all(|it| it.header("authorization") == Some("Bearer hunter2")));
    assert!(!format!("{:?} {longpole:?}", longpole.diagnostics()).contains("hunter2"));
}

/// Has a server that answers so to `endpoint` at first, and one run.
fn failing(endpoint: &'static str, times: usize, reply: Reply) -> (Server, Longpole) {
    let server = Server::recorded(move |request, before| {
        (request.endpoint() == endpoint && before < times).then(|| reply.clone())
    });
    let longpole = one_run(config(server.base()));
    (server, longpole)
}

fn busy(status: u16) -> Reply {
    Reply::Answer { status, headers: vec![("retry-after", "1".to_owned())], body: b"busy".to_vec() }
}

#[test]
fn what_may_pass_is_tried_again_and_nothing_is_logged_twice() {
    for reply in [busy(429), busy(503), Reply::page(502), Reply::code(500), Reply::Close] {
        let (server, longpole) = failing("runs/log-batch", 2, reply.clone());
        assert!(longpole.flush_within(PATIENCE).is_complete, "{reply:?}");
        assert_eq!(server.seen_at("runs/log-batch").len(), 3, "{reply:?}");
        let diagnostics = longpole.diagnostics();
        assert_eq!(diagnostics.mlflow_runs, 1);
        assert_eq!(diagnostics.notes.len(), 1, "{:?}", diagnostics.notes);
        assert!(diagnostics.notes[0].contains("they are logged later"), "{:?}", diagnostics.notes);
        assert_eq!(diagnostics.counts.len(), 0);
        assert_untouched(&longpole);
    }
    // The answer that names a new run got lost: before asking for another the run is looked for, and found.
    let (server, longpole) = failing("runs/create", 1, Reply::Close);
    assert!(longpole.flush_within(PATIENCE).is_complete);
    assert_eq!((server.seen_at("runs/create").len(), server.seen_at("runs/search").len()), (1, 1));
    assert_eq!(longpole.diagnostics().mlflow_runs, 1);
}

#[test]
fn a_server_that_is_no_help_is_told_once_and_left_alone_for_a_while() {
    let deleted = json!({"experiment": {"experiment_id": "2", "lifecycle_stage": "deleted"}});
    let cases = [
        ("experiments/get-by-name", Reply::code(401), "MLFLOW_TRACKING_TOKEN"),
        ("experiments/get-by-name", Reply::page(200), "that is not the address of an MLflow server"),
        ("experiments/get-by-name", Reply::page(404), "it has nothing at this path"),
        ("experiments/get-by-name", Reply::json(200, &json!([1])), "the answer is none of an MLflow server"),
        ("experiments/get-by-name", Reply::json(200, &deleted), "\"agents\" is deleted: restore it"),
        ("runs/create", refusal("deleted_experiment"), "must be in the 'active' state"),
    ];
    for (endpoint, reply, words) in cases {
        let (server, longpole) = failing(endpoint, usize::MAX, reply);
        assert!(longpole.flush_within(PATIENCE).is_complete, "{words}");
        longpole.log_bottleneck_report(&report()).unwrap();
        assert!(longpole.flush_within(PATIENCE).is_complete);
        assert_eq!(server.seen_at(endpoint).len(), 1, "the second is not tried: {words}");
        assert_eq!(lost(&longpole, "mlflow_refused"), 2);
        let diagnostics = longpole.diagnostics();
        let told = diagnostics.notes.iter().filter(|note| note.contains(words)).count();
        assert_eq!((told, diagnostics.notes.len()), (1, 1), "{:?}", diagnostics.notes);
        assert!(diagnostics.last_mlflow_error.unwrap().contains(words));
        assert_untouched(&longpole);
    }
}

/// What a real server has answered to something wrong.
fn refusal(name: &str) -> Reply {
    let found = Exchange::read_all("refusals").into_iter().find(|Exchange(it)| it["what"] == name);
    found.unwrap().reply()
}

#[test]
fn a_refusal_of_one_run_leaves_the_next_alone() {
    let (server, longpole) = failing("runs/log-batch", 1, refusal("bad_metric_key"));
    assert!(longpole.flush_within(PATIENCE).is_complete);
    longpole.log_bottleneck_report(&report()).unwrap();
    assert!(longpole.flush_within(PATIENCE).is_complete);
    assert_eq!(server.seen_at("runs/log-batch").len(), 2);
    assert_eq!((longpole.diagnostics().mlflow_runs, lost(&longpole, "mlflow_refused")), (1, 1));
    let notes = longpole.diagnostics().notes;
    assert!(notes.len() == 1 && notes[0].contains("Names may only contain alphanumerics"), "{notes:?}");
    assert_untouched(&longpole);
}

#[test]
fn a_file_that_cannot_be_stored_is_told_and_the_run_is_logged() {
    let switched_off =
        "Endpoint: /api disabled due to the mlflow server running with `--no-serve-artifacts`.";
    let reply = Reply::Answer { status: 503, headers: Vec::new(), body: switched_off.into() };
    let elsewhere = json!({"run": {"info": {"run_id": "r", "artifact_uri": "s3://key:secret@bucket/1"}}});
    for (endpoint, reply, asked) in
        [("artifacts", reply, 1), ("runs/create", Reply::json(200, &elsewhere), 0)]
    {
        let (server, longpole) = failing(endpoint, usize::MAX, reply);
        assert!(longpole.flush_within(PATIENCE).is_complete);
        assert_eq!(server.seen_at("artifacts").len(), asked);
        assert_eq!((longpole.diagnostics().mlflow_runs, lost(&longpole, "mlflow_parts")), (1, 1));
        let notes = longpole.diagnostics().notes;
        assert!(notes.len() == 1 && notes[0].contains("stored as"), "{notes:?}");
        assert!(!notes[0].contains("secret"), "{notes:?}");
    }
}

#[test]
fn nobody_there_costs_the_run_nothing_and_is_counted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let longpole = one_run(config(base.clone()));
    // Whoever flushes has it tried at once, so a few of them use up the tries.
    let deadline = Instant::now() + PATIENCE;
    while lost(&longpole, "mlflow_away") == 0 {
        assert!(Instant::now() < deadline, "{:?}", longpole.diagnostics());
        longpole.flush_within(std::time::Duration::from_millis(1));
    }
    assert_untouched(&longpole);
    let diagnostics = longpole.diagnostics();
    assert_eq!((diagnostics.mlflow_runs, diagnostics.notes.len()), (0, 1), "{:?}", diagnostics.notes);
    let error = diagnostics.last_mlflow_error.unwrap();
    assert!(error.starts_with(&base) && error.contains("is an MLflow server running there?"), "{error}");
    assert!(longpole.shutdown_within(PATIENCE).flush.is_complete, "nothing is left to log");
}

#[test]
fn a_server_that_hangs_holds_up_a_goodbye_no_longer_than_it_may_take() {
    let (server, longpole) = failing("experiments/get-by-name", usize::MAX, Reply::Hang);
    server.wait_for(1);
    for _ in 0..70 {
        let _ = longpole.log_bottleneck_report(&report());
    }
    let last = longpole.shutdown_within(std::time::Duration::from_millis(50));
    assert!(!last.flush.is_complete);
    assert_untouched(&longpole);
    assert_eq!(lost(&longpole, "mlflow_queue_full"), 6, "64 wait, one is being logged");
    assert_eq!(lost(&longpole, "mlflow_shut_down"), 65);
    let notes = longpole.diagnostics().notes;
    assert!(notes.len() == 1 && notes[0].contains("64 wait for MLflow already"), "{notes:?}");
}

#[test]
fn an_address_that_cannot_be_used_is_an_error_of_whoever_gave_it() {
    let error = longpole::builder().mlflow(MlflowConfig::new("file:///mlruns")).build().unwrap_err();
    assert_eq!(error.to_string(), "cannot send runs to \"file:///mlruns\"");
}

const IS_CHILD: &str = "LONGPOLE_TEST_CHILD";

/// This test, run again as a process with these variables; what it says at its end.
fn child_with(variables: &[(&str, &str)]) -> String {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "variables_say_where_runs_are_logged", "--nocapture"]);
    let ours = ["MLFLOW_", "OTEL_", "LONGPOLE_"];
    for (name, _) in std::env::vars().filter(|(name, _)| ours.iter().any(|start| name.starts_with(start))) {
        child.env_remove(name);
    }
    let output = child.env(IS_CHILD, "1").envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[allow(clippy::print_stdout, reason = "how the child tells its parent")]
fn variables_say_where_runs_are_logged() {
    if std::env::var_os(IS_CHILD).is_some() {
        let builder = longpole::builder().mlflow_from_env().otlp_from_env().mlflow_traces(true);
        let (_layer, longpole) = builder.durability(longpole::Durability::Memory).build().unwrap();
        let logged = longpole.log_bottleneck_report(&report());
        longpole.flush_within(PATIENCE);
        return println!("{logged:?} {:?}", longpole.diagnostics());
    }
    let server = Server::recorded(|request, _| {
        (request.endpoint() == "traces/link-to-run").then(|| Reply::json(200, &json!({})))
    });
    let base = server.base();
    let told = child_with(&[
        ("MLFLOW_TRACKING_URI", &base),
        ("MLFLOW_EXPERIMENT_ID", "7"),
        ("MLFLOW_TRACKING_USERNAME", "bob"),
        ("MLFLOW_TRACKING_PASSWORD", "hunter2"),
    ]);
    assert!(told.contains(&format!("Otlp(\"{base}/v1/traces\"), Mlflow(\"{base}\")")), "{told}");
    assert!(
        told.contains("mlflow_runs: 1") && told.contains("notes: []") && !told.contains("hunter2"),
        "{told}"
    );
    assert_eq!(server.seen_at("runs/search")[0].json()["experiment_ids"], json!(["7"]));
    let linked = json!([format!("tr-{}", report().run.trace_id)]);
    assert_eq!(server.seen_at("traces/link-to-run")[0].json()["trace_ids"], linked);
    for request in server.seen() {
        // printf 'bob:hunter2' | base64
        assert_eq!(request.header("authorization"), Some("Basic Ym9iOmh1bnRlcjI="), "{request:?}");
    }
    let told = child_with(&[("MLFLOW_TRACKING_URI", &base), ("MLFLOW_EXPERIMENT_NAME", "agents")]);
    assert!(told.contains("spans are not sent to MLflow: it takes them by the id"), "{told}");
    let told = child_with(&[("MLFLOW_TRACKING_URI", "databricks")]);
    assert!(told.contains("runs are not logged to MLflow at \\\"databricks\\\""), "{told}");
    let seen = server.seen().len();
    for variables in [
        &[("MLFLOW_EXPERIMENT_NAME", "agents")][..],
        &[("MLFLOW_TRACKING_URI", &base), ("LONGPOLE_DISABLED", "true")],
    ] {
        let told = child_with(variables);
        assert!(told.contains("Err(NoServer)"), "{told}");
    }
    assert_eq!(server.seen().len(), seen);
}
