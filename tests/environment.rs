//! What the environment of a process makes of longpole. Each case is a process of its own: this test, run again.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::process::Command;

use otlp_sink::Sink;
use tracing::info_span;
use tracing_subscriber::prelude::*;

const IS_CHILD: &str = "LONGPOLE_TEST_CHILD";

/// One run of one step, and what the handle says afterwards.
#[allow(clippy::print_stdout, reason = "how the child tells its parent")]
fn program() {
    let (layer, longpole) = longpole::builder().otlp_from_env().build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info_span!("run")
            .in_scope(|| info_span!("step", node.id = "step", long = "x".repeat(99)).in_scope(|| ()));
    });
    let last = longpole.shutdown_within(otlp_sink::PATIENCE);
    let diagnostics = longpole.diagnostics();
    println!(
        "\ndestinations={:?} acknowledged={} closed={} runs={} notes={:?}",
        diagnostics.destinations,
        last.flush.acknowledged,
        last.flush.closed,
        last.flush.runs,
        diagnostics.notes
    );
}

fn run_with(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "what_the_variables_say_is_done", "--nocapture"]).env(IS_CHILD, "1");
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("OTEL_") || name.starts_with("LONGPOLE_"))
    {
        if name != IS_CHILD {
            child.env_remove(name);
        }
    }
    let output = child.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find(|line| line.starts_with("destinations=")).unwrap().to_owned()
}

#[test]
fn what_the_variables_say_is_done() {
    if std::env::var_os(IS_CHILD).is_some() {
        return program();
    }
    assert_eq!(run_with(&[]), "destinations=[] acknowledged=0 closed=2 runs=1 notes=[]");

    let sink = Sink::accepting();
    let base = sink.url().replace("/v1/traces", "");
    let told = run_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &base),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret%20word"),
        ("OTEL_SERVICE_NAME", "from-env"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"),
        ("LONGPOLE_QUEUE_BYTES", "many"),
    ]);
    assert!(told.contains("acknowledged=2") && told.contains(&sink.url()), "{told}");
    assert!(told.contains("LONGPOLE_QUEUE_BYTES") && told.contains("the default is used"), "{told}");
    assert_eq!(sink.received()[0].header("x-key"), Some("secret word"));
    let shown = format!("{:?}", sink.resources()[0].resource);
    assert!(shown.contains("from-env"), "{shown}");
    let spans = format!("{:?}", sink.spans());
    assert!(spans.contains("xxxxxxx…") && !spans.contains("xxxxxxxx"), "{spans}");

    let told = run_with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://localhost:1/v1/traces")]);
    assert!(told.starts_with("destinations=[] acknowledged=0 closed=2 runs=1"), "{told}");
    assert!(told.contains("ftp is no scheme"), "{told}");

    let told = run_with(&[("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_EXPORTER_OTLP_ENDPOINT", &base)]);
    assert!(told.starts_with("destinations=[] acknowledged=0 closed=0 runs=0"), "{told}");
    assert!(told.contains("disabled by"), "{told}");
    assert_eq!(sink.spans().len(), 2, "nothing more came");
}
