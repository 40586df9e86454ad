//! What the environment of a process makes of longpole. Each case is a process of its own: this test, run again.

#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_receiver;

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp_receiver::{Answer, Certificates, PATIENCE, Receiver, text};
use tracing::{info, info_span};
use tracing_subscriber::prelude::*;

const IS_CHILD: &str = "LONGPOLE_TEST_CHILD";
/// Not to flush before so many spans were taken, and so many requests with metrics.
const WAIT: &str = "LONGPOLE_TEST_WAIT";
const TEST: &str = "what_the_variables_say_is_done";

/// One run of one step, and what the handle says afterwards.
#[allow(clippy::print_stdout, reason = "how the child tells its parent")]
fn program() {
    let builder = longpole::builder().otlp_from_env().parent_from_env().report_to_stderr();
    let (layer, longpole) = builder.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = info_span!("run").entered();
        let step = info_span!("step", node.id = "step", long = "x".repeat(99), number = 1);
        let other = info_span!(
            "other",
            otel.name = "other",
            node.id = "other",
            gen_ai.prompt = "what was said",
            customer.mail = "ann",
            password = "hunter2",
            note = "the key AKIAIOSFODNN7EXAMPLE",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "openai",
            gen_ai.request.model = "gpt-4o",
            gen_ai.usage.input_tokens = 1_000,
            gen_ai.usage.output_tokens = 100,
        );
        other.in_scope(|| info!(gen_ai.prompt = "what was said", "asked"));
        step.follows_from(&other);
        step.follows_from(&step);
        step.in_scope(|| {
            info!(one = 1, two = 2, three = 3, "first");
            info!("second");
        });
    });
    if let Ok(wait) = std::env::var(WAIT) {
        let (spans, metrics) = wait.split_once(' ').unwrap();
        let (spans, metrics): (u64, u64) = (spans.parse().unwrap(), metrics.parse().unwrap());
        let deadline = Instant::now() + PATIENCE;
        let is_there = || {
            let now = longpole.diagnostics();
            spans <= now.acknowledged_spans && metrics <= now.metrics_requests
        };
        while !is_there() {
            assert!(Instant::now() < deadline, "{:?}", longpole.diagnostics());
            std::thread::yield_now();
        }
    }
    let last = match std::env::var("LONGPOLE_SHUTDOWN_TIMEOUT") {
        Ok(_) => longpole.shutdown(),
        Err(_) => longpole.shutdown_within(PATIENCE),
    };
    let diagnostics = longpole.diagnostics();
    println!(
        "\ndestinations={:?} acknowledged={} closed={} runs={} lost={:?} last_error={:?} notes={:?}",
        diagnostics.destinations,
        last.flush.acknowledged,
        last.flush.closed,
        last.flush.runs,
        last.flush.lost,
        diagnostics.last_error,
        diagnostics.notes
    );
    println!("took={}", last.flush.took.as_millis());
}

struct Told {
    line: String,
    stdout: String,
    stderr: String,
}

fn run_with(variables: &[(&str, &str)]) -> Told {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", TEST, "--nocapture"]).env(IS_CHILD, "1");
    let is_ours = |name: &str| {
        name.starts_with("OTEL_")
            || name.starts_with("LONGPOLE_")
            || name.starts_with("TRACE")
            || name == "BAGGAGE"
    };
    for (name, _) in std::env::vars().filter(|(name, _)| is_ours(name) && name != IS_CHILD) {
        child.env_remove(name);
    }
    // What one case cannot send is not for the next.
    let state = tempfile::tempdir().unwrap();
    child.env("XDG_STATE_HOME", state.path());
    let output = child.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let line = stdout.lines().find(|line| line.starts_with("destinations=")).unwrap().to_owned();
    Told { line, stdout, stderr: String::from_utf8(output.stderr).unwrap() }
}

/// Runs with the endpoint of a receiver and gives what that received too.
fn received_with(variables: &[(&str, &str)]) -> (Told, Receiver) {
    let receiver = Receiver::start();
    let base = receiver.base();
    let told = run_with(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", base.as_str())], variables].concat());
    (told, receiver)
}

fn named(receiver: &Receiver, name: &str) -> Span {
    receiver.spans().into_iter().find(|span| span.name == name).unwrap()
}

fn metric(receiver: &Receiver, name: &str) -> Metric {
    let all = receiver.metrics().concat();
    all.into_iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn exemplars(receiver: &Receiver) -> usize {
    match metric(receiver, "longpole.node.duration").data.unwrap() {
        metric::Data::ExponentialHistogram(of) => {
            of.data_points.iter().map(|point| point.exemplars.len()).sum()
        }
        metric::Data::Histogram(of) => of.data_points.iter().map(|point| point.exemplars.len()).sum(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_variables_say_is_done() {
    if std::env::var_os(IS_CHILD).is_some() {
        return program();
    }
    let told = run_with(&[]).line;
    assert_eq!(told, "destinations=[] acknowledged=0 closed=3 runs=1 lost={} last_error=None notes=[]");
    switching();
    resource_and_headers();
    exporters();
    spans_on_disk();
    protocols_and_tls();
    timeouts_and_batches();
    limits();
    privacy();
    prices();
    sampling_and_context();
    metrics();
}

fn switching() {
    for variable in ["OTEL_SDK_DISABLED", "LONGPOLE_DISABLED"] {
        let (told, receiver) = received_with(&[(variable, "TRUE")]);
        assert!(told.line.starts_with("destinations=[] acknowledged=0 closed=0 runs=0"), "{}", told.line);
        assert!(told.line.contains("disabled by") && receiver.seen().is_empty());
    }
    let wrong = ("LONGPOLE_QUEUE_BYTES", "many");
    for (level, prints) in [("", true), ("warn", true), ("ERROR", false), ("none", false)] {
        let told = run_with(&[wrong, ("OTEL_LOG_LEVEL", level)]);
        assert_eq!(told.stderr.contains("longpole: LONGPOLE_QUEUE_BYTES"), prints, "{level}");
        assert!(told.line.contains("LONGPOLE_QUEUE_BYTES"), "{}", told.line);
    }
    for variable in ["OTEL_CONFIG_FILE", "OTEL_ENTITIES"] {
        let told = run_with(&[(variable, "something")]);
        assert!(told.line.contains(&format!("{variable} is set, but")), "{}", told.line);
    }
    for variable in
        ["OTEL_LOGS_EXPORTER", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"]
    {
        assert!(run_with(&[(variable, "http://127.0.0.1:1")]).line.ends_with("notes=[]"));
    }
}

fn resource_and_headers() {
    let (told, receiver) = received_with(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret%20word,x-both=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-both=2"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-both=3"),
        ("OTEL_SERVICE_NAME", "from-env"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=not-this,team=blue%20team"),
    ]);
    assert!(told.line.contains("acknowledged=3"), "{}", told.line);
    for seen in receiver.seen() {
        assert_eq!(seen.headers["x-key"], "secret word");
        assert_eq!(seen.headers["x-both"], if seen.path == "/v1/traces" { "2" } else { "3" });
    }
    let resource = receiver.resource_spans()[0].resource.clone().unwrap();
    let shown = |key: &str| {
        let attribute = resource.attributes.iter().find(|attribute| attribute.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            any_value::Value::StringValue(text) => Some(text.clone()),
            other => Some(format!("{other:?}")),
        }
    };
    assert_eq!(shown("service.name").as_deref(), Some("from-env"));
    assert_eq!(shown("team").as_deref(), Some("blue team"));
    for detected in
        ["host.name", "host.arch", "os.type", "process.pid", "process.executable.name", "service.instance.id"]
    {
        assert!(shown(detected).is_some(), "{detected}");
    }
    assert!(!resource.attributes.iter().any(|attribute| attribute.key.contains("command")), "no arguments");
}

fn exporters() {
    let (told, receiver) = received_with(&[("OTEL_TRACES_EXPORTER", "none")]);
    assert!(receiver.spans().is_empty() && !receiver.metrics().is_empty(), "{}", told.line);
    let (_, receiver) = received_with(&[("OTEL_METRICS_EXPORTER", "none")]);
    assert!(receiver.spans().len() == 3 && receiver.metrics().is_empty());
    let told = run_with(&[("OTEL_TRACES_EXPORTER", "console"), ("OTEL_METRICS_EXPORTER", "Console")]);
    assert!(told.line.starts_with("destinations=[Console, MetricsConsole]"), "{}", told.line);
    let lines: Vec<&str> = told.stdout.lines().filter(|line| line.starts_with('{')).collect();
    let spans = lines.iter().find(|line| line.starts_with("{\"resourceSpans\"")).unwrap();
    assert_eq!(longpole::decode::decode(spans.as_bytes()).unwrap().spans.len(), 3);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("\"resourceMetrics\"") && line.contains("longpole.run.duration"))
    );
    let told = run_with(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
    assert!(told.line.contains("OTEL_TRACES_EXPORTER") && told.line.starts_with("destinations=[]"));

    let (traces, metrics) = (Receiver::start(), Receiver::start());
    let (to_traces, to_metrics) =
        (format!("{}/custom", traces.base()), format!("{}/v1/metrics", metrics.base()));
    run_with(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &to_traces),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &to_metrics),
    ]);
    assert!(traces.seen().iter().all(|seen| seen.path == "/custom"), "used as it is");
    assert!(!metrics.metrics().is_empty());
    let told = run_with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://localhost:1/v1/traces")]).line;
    assert!(told.starts_with("destinations=[] acknowledged=0 closed=3 runs=1"), "{told}");
    assert!(told.contains("ftp is no scheme"), "{told}");
}

/// Files of spans, where the backend cannot be had.
fn files_with(variables: &[(&str, &str)]) -> (usize, Told) {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", silent.local_addr().unwrap());
    let own = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", base.as_str()),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("LONGPOLE_SPOOL_DIR", spool.to_str().unwrap()),
        ("LONGPOLE_SHUTDOWN_TIMEOUT", "300ms"),
    ];
    let told = run_with(&[&own, variables].concat());
    let processes = std::fs::read_dir(spool.join("v1")).into_iter().flatten();
    let services = processes.flat_map(|service| std::fs::read_dir(service.unwrap().path()).unwrap());
    let files = services.flat_map(|process| std::fs::read_dir(process.unwrap().path()).unwrap());
    let is_segment = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.ends_with(".seg"));
    (files.filter(|file| is_segment(&file.as_ref().unwrap().file_name())).count(), told)
}

fn spans_on_disk() {
    assert_eq!(files_with(&[]).0, 1);
    assert_eq!(files_with(&[("LONGPOLE_SPOOL", "off")]).0, 0);
    assert_eq!(files_with(&[("LONGPOLE_DURABILITY", "memory")]).0, 0);
    assert_eq!(files_with(&[("LONGPOLE_DURABILITY", "strict")]).0, 1);
    assert_eq!(files_with(&[("LONGPOLE_SPOOL_BYTES", "1KiB")]).0, 0, "nothing fits into an eighth of it");
    assert!(files_with(&[("LONGPOLE_SPOOL_SEGMENT_BYTES", "1")]).0 > 1);
    assert_eq!(files_with(&[("LONGPOLE_SPOOL_FSYNC", "always")]).0, 1);
    let (_, told) = files_with(&[("LONGPOLE_SPOOL_FSYNC", "sometimes")]);
    assert!(told.line.contains("one of never, interval, always"), "{}", told.line);
    let took = told.stdout.lines().find_map(|line| line.strip_prefix("took=")).unwrap();
    let took: u64 = took.parse().unwrap();
    assert!((250..2_000).contains(&took), "a shutdown of 300 ms took {took}");
}

fn protocols_and_tls() {
    let (_, receiver) = received_with(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
    ]);
    assert_eq!(receiver.spans().len(), 3);
    let of = |receiver: &Receiver, path: &str| {
        let seen = receiver.seen();
        seen.into_iter().find(|seen| seen.path.to_lowercase().contains(path)).unwrap()
    };
    assert!(of(&receiver, "trace").was_compressed && !of(&receiver, "metrics").was_compressed);
    let (_, receiver) = received_with(&[
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
    ]);
    assert_eq!(of(&receiver, "trace").headers["content-type"], "application/json");
    assert_eq!(of(&receiver, "metrics").headers["content-type"], "application/x-protobuf");

    // Without a scheme: TLS, unless told otherwise.
    let receiver = Receiver::start();
    let address = receiver.address().to_string();
    for (variable, off) in [
        ("OTEL_EXPORTER_OTLP_INSECURE", "OTEL_LOGS_EXPORTER"),
        ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_METRICS_EXPORTER"),
        ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "OTEL_TRACES_EXPORTER"),
    ] {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            (off, "none"),
            (variable, "true"),
        ];
        let before = receiver.seen().len();
        let told = run_with(&variables);
        assert!(receiver.seen().len() > before, "{variable} {}", told.line);
    }

    let certificates = Certificates::make();
    let receiver = Receiver::with_tls(certificates.server_for_known_clients());
    let (base, ca) = (receiver.base(), text(&certificates.path("ca.pem")));
    let (chain, key) = (text(&certificates.path("client.pem")), text(&certificates.path("client.key")));
    for (signal, off) in [
        ("", "OTEL_LOGS_EXPORTER"),
        ("TRACES_", "OTEL_METRICS_EXPORTER"),
        ("METRICS_", "OTEL_TRACES_EXPORTER"),
    ] {
        let name = |what: &str| format!("OTEL_EXPORTER_OTLP_{signal}{what}");
        let before = receiver.seen().len();
        let told = run_with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &base),
            (off, "none"),
            (&name("CERTIFICATE"), &ca),
            (&name("CLIENT_CERTIFICATE"), &chain),
            (&name("CLIENT_KEY"), &key),
        ]);
        let expected = if signal.is_empty() { 2 } else { 1 };
        assert_eq!(receiver.seen().len() - before, expected, "{}", told.line);
    }
    let told = run_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &base),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/ca.pem"),
    ]);
    assert!(told.line.contains("destinations=[]") && told.line.contains("/no/such/ca.pem"), "{}", told.line);
}

fn timeouts_and_batches() {
    // It takes connections and never answers; they wait in its backlog.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", silent.local_addr().unwrap());
    for (variable, other) in [
        ("LONGPOLE_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_EXPORT_TIMEOUT"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
    ] {
        let told = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_backend_that_is_silent_is_given_up_in_time", "--nocapture", "--ignored"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &base)
            .env("OTEL_METRICS_EXPORTER", "none")
            .env("LONGPOLE_SPOOL", "off")
            .env(other, "60000")
            .env(variable, "30")
            .output()
            .unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains("no answer within 30ms"), "{variable}: {told}");
    }
    for variable in ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "LONGPOLE_BATCH_SPANS"] {
        let (_, receiver) = received_with(&[(variable, "1"), ("OTEL_METRICS_EXPORTER", "none")]);
        assert_eq!(receiver.seen().len(), 3, "{variable}");
    }
    let (_, receiver) = received_with(&[("LONGPOLE_BATCH_BYTES", "1"), ("OTEL_METRICS_EXPORTER", "none")]);
    assert_eq!(receiver.seen().len(), 3);
    for variable in ["OTEL_BSP_MAX_QUEUE_SIZE", "LONGPOLE_QUEUE_SPANS", "LONGPOLE_QUEUE_BYTES"] {
        // With it they would wait on disk.
        let (told, _) = received_with(&[(variable, "0"), ("LONGPOLE_SPOOL", "off")]);
        assert!(told.line.contains("acknowledged=0") && told.line.contains("full"), "{}", told.line);
    }
    for variable in ["OTEL_BSP_MAX_CONCURRENT_EXPORTS", "LONGPOLE_INFLIGHT"] {
        let (told, receiver) = received_with(&[(variable, "1"), ("LONGPOLE_BATCH_SPANS", "1")]);
        assert!(told.line.contains("acknowledged=3") && receiver.spans().len() == 3, "{}", told.line);
    }
    // As many refusals as would take a minute.
    let away = (0..14).map(|_| Answer::Http(503, "text/plain", "away")).collect();
    let receiver = Receiver::answering(away, None);
    let told = run_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.base()),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("LONGPOLE_RETRY_MAX_INTERVAL", "5ms"),
    ]);
    assert!(told.line.contains("acknowledged=3") && receiver.seen().len() >= 15, "{}", told.line);
    // Sent without a flush.
    let (told, _) = received_with(&[("OTEL_BSP_SCHEDULE_DELAY", "1"), (WAIT, "3 0")]);
    assert!(told.line.contains("acknowledged=3"), "{}", told.line);
}

#[test]
#[ignore = "a part of another test, which runs it"]
#[allow(clippy::print_stdout, reason = "how the child tells its parent")]
fn a_backend_that_is_silent_is_given_up_in_time() {
    let (layer, longpole) = longpole::builder().otlp_from_env().build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info_span!("run").in_scope(|| ());
    });
    let deadline = Instant::now() + PATIENCE;
    while longpole.diagnostics().last_error.is_none() && Instant::now() < deadline {
        longpole.flush_within(Duration::from_millis(10));
    }
    println!("{:?}", longpole.diagnostics().last_error);
    longpole.shutdown_within(Duration::ZERO);
}

fn limits() {
    let (_, receiver) = received_with(&[
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "1"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "20"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "1"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "1"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "2"),
    ]);
    let step = named(&receiver, "step");
    assert_eq!(
        (step.dropped_attributes_count, step.dropped_events_count, step.dropped_links_count),
        (1, 1, 1)
    );
    assert_eq!((step.events.len(), step.links.len()), (1, 1));
    assert_eq!(step.events[0].attributes.len(), 2);
    assert!(step.events[0].dropped_attributes_count > 0);
    let long =
        |span: &Span| format!("{:?}", span.attributes.iter().find(|attribute| attribute.key == "long"));
    assert!(long(&step).contains("xxxxxxx…") && !long(&step).contains("xxxxxxxx"), "{}", long(&step));

    let (_, receiver) =
        received_with(&[("OTEL_ATTRIBUTE_COUNT_LIMIT", "2"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10")]);
    let step = named(&receiver, "step");
    assert_eq!(step.dropped_attributes_count, 1);
    assert!(long(&step).contains("xxxxxxx…"));

    let (_, receiver) = received_with(&[
        ("LONGPOLE_SPAN_ATTR_COUNT", "2"),
        ("LONGPOLE_ATTR_VALUE_BYTES", "10"),
        ("LONGPOLE_SPAN_EVENT_COUNT", "0"),
        ("LONGPOLE_SPAN_LINK_COUNT", "0"),
    ]);
    let step = named(&receiver, "step");
    assert_eq!(
        (step.dropped_attributes_count, step.dropped_events_count, step.dropped_links_count),
        (1, 2, 2)
    );

    let (_, receiver) = received_with(&[("LONGPOLE_SPAN_NAME_BYTES", "3")]);
    let names = receiver.spans().into_iter().map(|span| span.name);
    assert_eq!(
        names.collect::<std::collections::BTreeSet<_>>(),
        ["oth", "run", "step"].map(str::to_owned).into()
    );
    let (_, receiver) = received_with(&[("LONGPOLE_SPAN_BYTES", "200")]);
    let step = named(&receiver, "step");
    assert!(
        step.dropped_events_count > 0 && step.attributes.iter().any(|attribute| attribute.key == "number")
    );

    let (_, receiver) = received_with(&[("LONGPOLE_RUN_SPANS", "1")]);
    assert!(format!("{:?}", named(&receiver, "run").attributes).contains("longpole.run.complete"));
    for (variable, value) in [("LONGPOLE_OPEN_SPANS", "100"), ("LONGPOLE_RUN_BYTES", "1MiB")] {
        let (told, receiver) = received_with(&[(variable, value)]);
        assert!(told.line.ends_with("notes=[]") && receiver.spans().len() == 3, "{}", told.line);
    }
}

fn privacy() {
    let other = |variables: &[(&str, &str)]| {
        let (told, receiver) = received_with(variables);
        let other = named(&receiver, "other");
        (format!("{:?}", other.attributes), format!("{:?}", other.events), told.line)
    };
    let (attributes, events, _) = other(&[]);
    assert!(!attributes.contains("what was") && !events.contains("what was"), "{attributes} {events}");
    assert!(attributes.contains("the key [redacted]") && attributes.contains("ann"), "{attributes}");
    let names = ["LONGPOLE_CAPTURE_CONTENT", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"];
    for name in names {
        for (value, in_span, in_event) in [
            ("true", true, true),
            ("FALSE", false, false),
            ("NO_CONTENT", false, false),
            ("SPAN_ONLY", true, false),
            ("event_only", false, true),
            ("SPAN_AND_EVENT", true, true),
        ] {
            let (attributes, events, told) = other(&[(name, value)]);
            let found = (attributes.contains("what was said"), events.contains("what was said"));
            assert_eq!(found, (in_span, in_event), "{name}={value}");
            assert!(told.ends_with("notes=[]"), "{told}");
        }
        let (attributes, _, told) = other(&[(name, "perhaps")]);
        assert!(!attributes.contains("what was") && told.contains(name), "{told}");
    }
    let (attributes, _, _) = other(&[(names[0], "false"), (names[1], "true")]);
    assert!(!attributes.contains("what was"), "longpole's own wins: {attributes}");
    let (attributes, _, _) = other(&[(names[0], "true"), ("LONGPOLE_CONTENT_BYTES", "10B")]);
    assert!(attributes.contains("what wa…") && attributes.contains("longpole.content.bytes.gen_ai.prompt"));
    let (attributes, _, _) = other(&[("LONGPOLE_REDACT", "iban, Customer.*")]);
    assert!(!attributes.contains("ann") && !attributes.contains("hunter2"), "{attributes}");
    let (attributes, _, _) = other(&[("LONGPOLE_REDACT_VALUES", "off")]);
    assert!(attributes.contains("the key AKIA") && !attributes.contains("hunter2"), "{attributes}");

    let (told, receiver) = received_with(&[(
        "OTEL_RESOURCE_ATTRIBUTES",
        "vault.token=hunter2,process.command_args=--key AKIAIOSFODNN7EXAMPLE -v,hunter2",
    )]);
    let resource = format!("{:?}", receiver.resource_spans()[0].resource);
    assert!(!resource.contains("hunter2") && resource.contains("--key [redacted] -v"), "{resource}");
    assert!(!told.line.contains("hunter2") && told.line.contains("not key=value"), "{}", told.line);
}

fn prices() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, prices: &str| {
        let path = folder.path().join(name);
        let models = format!(r#"{{"id":"gpt-4o","match":{{"equals":"gpt-4o"}},"prices":{prices}}}"#);
        std::fs::write(&path, format!(r#"[{{"id":"openai","name":"OpenAI","models":[{models}]}}]"#)).unwrap();
        text(&path)
    };
    let call = |variables: &[(&str, &str)]| {
        let (told, receiver) = received_with(variables);
        let call = named(&receiver, "other");
        let attribute = |key: &str| call.attributes.iter().find(|attribute| attribute.key == key).cloned();
        (told.line, format!("{:?}", attribute("longpole.cost.usd")), attribute("gen_ai.usage.cost").is_some())
    };
    let (told, cost, is_mirrored) = call(&[]);
    assert!(told.ends_with("notes=[]") && cost.contains("0.0035") && !is_mirrored, "{told} {cost}");
    let good = file("good.json", r#"{"input_mtok":1,"output_mtok":10}"#);
    let variables = [("LONGPOLE_PRICES", &*good), ("LONGPOLE_COST_MIRROR", "GEN_AI, mlflow")];
    let (told, cost, is_mirrored) = call(&variables);
    assert!(told.ends_with("notes=[]") && cost.contains("0.002") && is_mirrored, "{told} {cost}");
    let bad = file("bad.json", r#"{"input_mtok":-1}"#);
    let variables = [("LONGPOLE_PRICES", &*bad), ("LONGPOLE_COST_MIRROR", "everybody")];
    let (told, cost, is_mirrored) = call(&variables);
    assert!(cost.contains("0.0035") && !is_mirrored, "the table inside is used: {cost}");
    assert!(told.contains("bad.json") && told.contains("input_mtok") && told.contains("everybody"), "{told}");
}

fn sampling_and_context() {
    let parent = |flags: &str| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    let (sampled, unsampled) = (parent("01"), parent("00"));
    for (sampler, argument, traceparent, exported) in [
        ("always_on", "", "", 3),
        ("always_off", "", "", 0),
        ("traceidratio", "0", "", 0),
        ("traceidratio", "1", "", 3),
        ("parentbased_always_off", "", "", 0),
        ("parentbased_always_off", "", sampled.as_str(), 3),
        ("parentbased_always_on", "", unsampled.as_str(), 0),
        ("parentbased_traceidratio", "0", sampled.as_str(), 3),
        ("always_on", "", unsampled.as_str(), 3),
    ] {
        let (told, receiver) = received_with(&[
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", argument),
            ("TRACEPARENT", traceparent),
        ]);
        assert_eq!(receiver.spans().len(), exported, "{sampler} {argument} {traceparent}");
        assert!(told.line.contains("closed=3 runs=1"), "everything is reported: {}", told.line);
        assert_eq!(exemplars(&receiver) > 0, exported > 0, "exemplars lead to traces that exist");
    }
    for (propagators, is_adopted) in [("", true), ("tracecontext", true), ("baggage", false), ("none", false)]
    {
        let (_, receiver) = received_with(&[("OTEL_PROPAGATORS", propagators), ("TRACEPARENT", &sampled)]);
        let adopted = named(&receiver, "run").parent_span_id == b"\xb7\xad\x6b\x71\x69\x20\x33\x31";
        assert_eq!(adopted, is_adopted, "{propagators}");
    }
}

fn metrics() {
    let (told, receiver) = received_with(&[("OTEL_METRIC_EXPORT_INTERVAL", "20"), (WAIT, "0 2")]);
    assert!(receiver.metrics().len() >= 2, "without a flush: {}", told.line);
    let temporality = |receiver: &Receiver| match metric(receiver, "longpole.node.executions").data.unwrap() {
        metric::Data::Sum(sum) => sum.aggregation_temporality(),
        other => panic!("{other:?}"),
    };
    let preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    for (preferred, expected) in [
        ("", AggregationTemporality::Cumulative),
        ("Delta", AggregationTemporality::Delta),
        ("lowmemory", AggregationTemporality::Delta),
    ] {
        assert_eq!(temporality(&received_with(&[(preference, preferred)]).1), expected, "{preferred}");
    }
    let form = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    for (formed, is_exponential) in
        [("", true), ("base2_exponential_bucket_histogram", true), ("explicit_bucket_histogram", false)]
    {
        let data = metric(&received_with(&[(form, formed)]).1, "longpole.run.duration").data.unwrap();
        assert_eq!(matches!(data, metric::Data::ExponentialHistogram(_)), is_exponential, "{formed}");
    }
    for (filter, told) in [("", true), ("trace_based", true), ("always_on", true), ("always_off", false)] {
        let (_, receiver) = received_with(&[("OTEL_METRICS_EXEMPLAR_FILTER", filter)]);
        assert_eq!(exemplars(&receiver) > 0, told, "{filter}");
    }
    let (_, receiver) = received_with(&[("LONGPOLE_NODE_CARDINALITY", "1")]);
    let shown = format!("{:?}", metric(&receiver, "longpole.node.executions"));
    assert!(shown.contains("__other__") && shown.contains("otel.metric.overflow"), "{shown}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1/metrics", silent.local_addr().unwrap());
    for variable in
        ["OTEL_METRIC_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]
    {
        let told = run_with(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &base), (variable, "30")]);
        assert!(told.line.contains("/v1/metrics: no answer within 30ms"), "{}", told.line);
    }
    for (variable, value) in [("LONGPOLE_METRIC_CARDINALITY", "1"), ("LONGPOLE_METRIC_STALE_SECONDS", "9")] {
        assert!(received_with(&[(variable, value)]).0.line.ends_with("notes=[]"));
    }
    prometheus();
}

#[cfg(feature = "prometheus")]
fn prometheus() {
    let told = run_with(&[
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "0"),
    ]);
    assert!(told.line.starts_with("destinations=[MetricsPage("), "{}", told.line);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let told = run_with(&[("OTEL_METRICS_EXPORTER", "prometheus"), ("OTEL_EXPORTER_PROMETHEUS_PORT", &port)]);
    assert!(told.line.contains("metrics are not served on 127.0.0.1:"), "{}", told.line);
}

#[cfg(not(feature = "prometheus"))]
fn prometheus() {
    let told = run_with(&[("OTEL_METRICS_EXPORTER", "prometheus")]);
    assert!(told.line.contains("without its prometheus feature"), "{}", told.line);
    for variable in ["OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"] {
        assert!(run_with(&[(variable, "1")]).line.ends_with("notes=[]"));
    }
}
