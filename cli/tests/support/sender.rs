//! Commands that send spans: this test program once more, with a role.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Long enough for any machine; what is waited for comes as an event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const ROLE: &str = "LONGPOLE_TEST_ROLE";

/// The command that plays a role: it starts this program again.
pub(crate) fn sender(role: &str) -> Vec<&'static str> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let role = format!("{ROLE}={role}");
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let test = "sends_spans_if_it_was_started_for_that";
    vec!["env", leak(role), leak(program), "--exact", test, "--nocapture", "--test-threads=1"]
}

/// Plays the role, if this process was started for one.
#[allow(clippy::print_stdout, reason = "how a command says how far it is")]
pub(crate) fn as_sender() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let agent = include_str!("../data/support_agent.otlp.json");
    match role.as_str() {
        "agent" => post(agent),
        "agent-exit-7" => {
            post(agent);
            std::process::exit(7);
        }
        "layer" => with_the_layer(),
        "pipeline" => post(&pipeline()),
        "nameless" => post(&trace(1, &[("top", 0, 400), ("step", 1, 300)])),
        "hostile" => {
            post(&trace(1, &[("evil\u{1b}]0;x\u{7}\u{202e}", 0, 400), ("evil\\r\\n<b>|=1+1", 1, 300)]))
        }
        "damaged" => {
            let answer = exchange("{\"resourceSpans\":[{");
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
            post(agent);
        }
        "half" => {
            post(&half());
            println!("ready");
            wait_for_end_of_input();
        }
        "half-killed" => {
            post(&half());
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            wait_for_end_of_input();
        }
        "late" => leave_behind("late-half"),
        // Sends once the one it was started by is gone.
        "late-half" => {
            let connection = connect();
            println!("connected");
            wait_for_end_of_input();
            assert!(exchange_on(connection, agent).starts_with("HTTP/1.1 200"));
        }
        "stays" => {
            post(agent);
            leave_behind("stays-half");
        }
        "stays-half" => {
            let _connection = connect();
            println!("connected");
            wait_for_end_of_input();
        }
        other => panic!("no role {other}"),
    }
}

/// A run of a workflow now, of the version that the environment names as every SDK reads it: `new` takes half as long
/// again.
fn pipeline() -> String {
    let attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap();
    let version = attributes.strip_prefix("service.version=").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let noise = now % 10_000_000;
    let load = if version == "new" { 1_400_000_000 } else { 900_000_000 } + noise;
    let text = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
    let span = |id: u8, parent: &str, name: &str, start: u128, end: u128, attribute: String| {
        format!(
            r#"{{"traceId":"{now:032x}","spanId":"{id:016x}","name":"{name}","startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{attribute}]{parent}}}"#,
            now + start,
            now + end
        )
    };
    let below = r#","parentSpanId":"0000000000000001""#;
    let spans = [
        span(1, "", "run", 0, 100_000_000 + load, text("longpole.workflow.name", "nightly")),
        span(2, below, "extract", 0, 100_000_000, text("longpole.node.id", "extract")),
        span(3, below, "load", 100_000_000, 100_000_000 + load, text("longpole.node.id", "load")),
    ];
    let version = text("service.version", version);
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{version}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
}

/// Children of a root that never ended.
fn half() -> String {
    trace(2, &[("step", 1, 300), ("other", 1, 200)])
}

/// A trace of spans with a name, the number of their parent and their length in ms, numbered from `first` on.
fn trace(first: usize, spans: &[(&str, usize, u64)]) -> String {
    let span = |(index, (name, parent, ms)): (usize, &(&str, usize, u64))| {
        let name = name.replace('\u{1b}', "\\u001b").replace('\u{7}', "\\u0007");
        let parent = if *parent == 0 { String::new() } else { format!(r#","parentSpanId":"{parent:016x}""#) };
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{:016x}","name":"{name}","startTimeUnixNano":"1000000000","endTimeUnixNano":"{}000000"{parent}}}"#,
            9,
            first + index,
            1_000 + ms
        )
    };
    let spans: Vec<String> = spans.iter().enumerate().map(span).collect();
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","))
}

/// Starts another process, and returns when it has a connection. It goes on after this one.
fn leave_behind(role: &str) {
    let command = sender(role);
    // The late one notices by the end of its input that this process is gone; the one that stays shares its input.
    let input = if role == "late-half" { Stdio::piped() } else { Stdio::inherit() };
    let mut left = Command::new(command[0])
        .args(&command[1..])
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = String::new();
    let mut output = left.stdout.take().unwrap();
    let mut byte = [0];
    while !told.contains("connected") {
        assert_eq!(output.read(&mut byte).unwrap(), 1, "{told}");
        told.push(char::from(byte[0]));
    }
    // Its ends of the pipes are closed by the end of this process, not before.
    std::mem::forget((left, output));
    std::process::exit(0);
}

fn wait_for_end_of_input() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn connect() -> TcpStream {
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap();
    TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap()
}

fn post(json: &str) {
    let answer = exchange(json);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn exchange(json: &str) -> String {
    exchange_on(connect(), json)
}

fn exchange_on(mut stream: TcpStream, json: &str) -> String {
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        json.len()
    );
    stream.write_all((head + json).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A program with longpole's own layer, which is told nothing but what is in its environment.
fn with_the_layer() {
    use tracing_subscriber::prelude::*;
    let (layer, longpole) = longpole::builder().workflow("layered").otlp_from_env().build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = tracing::info_span!("run").entered();
        tracing::info_span!("step", node.id = "one").in_scope(|| ());
        tracing::info_span!("step", node.id = "two").in_scope(|| ());
    });
    assert!(longpole.shutdown().flush.is_complete);
}
