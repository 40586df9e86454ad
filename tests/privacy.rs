//! Private by default: what must not leave the process is in no byte that does, wherever a program puts it.

#![cfg(feature = "otlp")]
#![allow(missing_docs, reason = "a test")]

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use longpole::{Builder, Longpole, ReportOptions, SpanExt, Value};
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use otlp_sink::{Reply, Sink};
use proptest::prelude::*;
use prost::Message;
use tracing::field::Empty;
use tracing::{error, info, info_span};
use tracing_subscriber::prelude::*;

/// Everything that left the process, and what longpole says about itself.
struct Left {
    bytes: Vec<u8>,
    told: String,
}

impl Left {
    fn holds(&self, text: &str) -> bool {
        self.told.contains(text) || self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn says(&self, count: &str) -> bool {
        self.told.contains(&format!("{count:?}: "))
    }
}

/// Runs a program that exports to a backend and a file, or, while the backend takes nothing, to a spool.
fn left_by(builder: Builder, is_out: bool, program: impl FnOnce()) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let sink = if is_out { Sink::start(|_| Reply::code(503)) } else { Sink::accepting() };
    let (file, spool) = (folder.path().join("spans.jsonl"), folder.path().join("spool"));
    let builder = builder.otlp_endpoint(sink.url()).spans_file(&file).spool_dir(&spool);
    let (layer, longpole) = builder.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
    // Nobody will take the spans, so there is nothing to wait for but the disk.
    let last =
        if is_out { longpole.shutdown_within(Duration::from_millis(300)) } else { longpole.shutdown() };
    assert!(last.flush.lost.is_empty() && (is_out || last.flush.is_complete), "{last:?}");
    assert_eq!(last.flush.spooled > 0, is_out, "{last:?}");
    let mut bytes = Vec::new();
    add_files(folder.path(), &mut bytes);
    for received in sink.received() {
        bytes.extend(received.request.encode_to_vec());
    }
    let report = longpole.last_run().unwrap();
    let told = format!("{:?} {longpole:?} {} {}", longpole.diagnostics(), report.to_text(), report.to_json());
    Left { bytes, told }
}

/// What all files in a folder hold.
fn add_files(folder: &Path, bytes: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_files(&path, bytes);
        } else {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
}

/// An error and what caused it.
#[derive(Debug)]
struct Chained(String, Option<Box<Chained>>);

impl fmt::Display for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Chained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

/// Puts `text` wherever a program can put text.
fn put_everywhere(text: &str) {
    let chained = Chained(format!("outer {text}"), Some(Box::new(Chained(format!("inner {text}"), None))));
    let chained = &chained as &(dyn Error + 'static);
    let run = info_span!(
        "run",
        workflow.name = format!("workflow {text}"),
        workflow.version = text,
        plain = text,
        shown = %text,
        debugged = ?Some(text),
        failure = chained,
        otel.name = Empty,
        otel.status_description = format!("failed with {text}"),
        node.id = text,
        node.depends_on = format!("a,{text}"),
        gen_ai.tool.name = text,
        late = Empty,
    );
    run.record("otel.name", format!("call of {text}"));
    run.record("late", text);
    run.set_attribute("set", text.to_owned());
    run.set_attribute("list", vec![text.to_owned(), format!("[{text}]")]);
    run.set_attribute("gen_ai.operation.name", Value::from(text.to_owned()));
    let _inside = run.enter();
    info!(plain = text, shown = %text, debugged = ?text, "message with {text}");
    info!(failure = chained, "an error value");
    error!(error = %text);
    error!(error = chained, "it failed with {text}");
    let child = info_span!("child", error.type = text, node.error_type = text);
    child.follows_from(&run);
    child.in_scope(|| error!("{text}"));
}

/// Puts `text` under keys of secrets, in every type that can hold it.
fn put_under_keys(text: &str, number: i64) {
    let chained = Chained(text.to_owned(), Some(Box::new(Chained(text.to_owned(), None))));
    let chained = &chained as &(dyn Error + 'static);
    let ratio = number as f64;
    let run = info_span!(
        "run",
        authorization = text,
        http.request.header.cookie = %text,
        api_key = ?Some(text),
        db.password = chained,
        access_token = number,
        client_secret = ratio,
        secret_number = number as u64,
        secret_large = i128::from(number) << 64,
        Set_Cookie = Empty,
        customer.name = text,
    );
    run.record("Set_Cookie", text);
    for key in ["X-Goog-Key", "OPENAI_API_KEY", "proxy-authorization", "customer.mail", "apikey"] {
        run.set_attribute(key, text.to_owned());
        run.set_attribute(key, vec![text.to_owned()]);
        run.set_attribute(key, number);
    }
    let _inside = run.enter();
    info!(authorization = text, token = %text, api_key = ?text, password = chained, "an event");
    info!(secret = number, my_token = ratio, cookie = i128::from(number), customer.id = number, "numbers");
}

/// Puts `text` where content of conversations stands.
fn put_content(text: &str) {
    let run = info_span!(
        "run",
        gen_ai.operation.name = "execute_tool",
        gen_ai.input.messages = text,
        gen_ai.output.messages = %text,
        gen_ai.system_instructions = ?text,
        gen_ai.tool.call.arguments = text,
        gen_ai.tool.call.result = Empty,
        gen_ai.prompt = text,
        input.value = text,
        output.value = text,
        traceloop.entity.input = text,
    );
    run.record("gen_ai.tool.call.result", text);
    for key in [
        "gen_ai.prompt.0.content",
        "llm.input_messages.0.message.content",
        "retrieval.documents.0.document.content",
    ] {
        run.set_attribute(key, text.to_owned());
        run.set_attribute(key, vec![text.to_owned()]);
    }
    run.in_scope(
        || info!(gen_ai.completion = text, llm.prompts = %text, gen_ai.event.content = ?text, "an event"),
    );
}

fn resource(key: &'static str, text: &str) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new(key, text.to_owned()),
            KeyValue::new("process.command_line", format!("serve --key {text} --port 1")),
        ])
        .build()
}

/// A secret of a known shape, and a part of it that nothing else holds.
fn shaped() -> impl Strategy<Value = (String, String)> {
    let secret = |front: &'static str, tail: &'static str, back: &'static str| {
        tail.prop_map(move |tail: String| (format!("{front}{tail}{back}"), tail))
    };
    prop_oneof![
        secret("sk-", "[0-9][A-Za-z0-9]{24}", ""),
        secret("sk-ant-api03-", "[0-9][A-Za-z0-9]{24}", ""),
        secret("ghp_", "[0-9][A-Za-z0-9]{35}", ""),
        secret("AKIA", "[A-Z0-9]{15}[0-9]", ""),
        secret("eyJhbGciOiJIUzI1NiJ9.eyJ", "[A-Za-z0-9]{20}", ".c2lnbmF0dXJl"),
        secret("-----BEGIN PRIVATE KEY-----\n", "[A-Za-z0-9]{40}", "\n-----END PRIVATE KEY-----"),
        secret("postgres://app:", "[A-Za-z0-9]{20}", "@db/main"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_secret_of_a_known_shape_leaves_nowhere(
        (secret, needle) in shaped(), around in "[ a-z(]{0,9} ?", is_out: bool
    ) {
        let text = format!("{around} {secret}");
        let builder = longpole::builder().workflow(&text).with_resource(&resource("deployment", &text));
        let left = left_by(builder, is_out, || put_everywhere(&text));
        prop_assert!(!left.holds(&needle), "{needle} of {secret}");
        prop_assert!(left.holds("[redacted]") && left.says("redacted_values"));
        prop_assert!(left.holds("inner ") && left.holds("message with ") && left.holds("serve --key "));
    }

    #[test]
    fn a_value_under_the_key_of_a_secret_leaves_nowhere(needle in "[a-z]{16}", number in 1i64 << 50..1 << 53, is_out: bool) {
        let builder = longpole::builder().redact_keys(["customer.*"]).with_resource(&resource("vault.token", &needle));
        // Of the command line no key says that it is a secret.
        let builder = builder.with_resource(&resource("process.command_line", ""));
        let left = left_by(builder, is_out, || put_under_keys(&needle, number));
        prop_assert!(!left.holds(&needle), "{needle}");
        let encoded = { let mut bytes = Vec::new(); prost::encoding::encode_varint(number as u64, &mut bytes); bytes };
        prop_assert!(!left.holds(&number.to_string()));
        prop_assert!(!left.bytes.windows(encoded.len()).any(|window| window == encoded));
        prop_assert!(!left.bytes.windows(8).any(|window| window == (number as f64).to_le_bytes()));
        prop_assert!(left.holds("[redacted]") && left.says("redacted_values"));
    }

    #[test]
    fn content_leaves_nowhere_unless_it_is_asked_for(needle in "[a-z]{16}", is_out: bool) {
        let left = left_by(longpole::builder(), is_out, || put_content(&needle));
        prop_assert!(!left.holds(&needle));
        prop_assert!(left.says("content_left_out") && !left.says("attributes_dropped"));
        let asked = left_by(longpole::builder().capture_content(true), is_out, || put_content(&needle));
        prop_assert!(asked.holds(&needle) && !asked.says("content_left_out"));
    }
}

/// Long enough to be worth a finding in a run that does nothing else.
fn work() {
    std::hint::black_box((0..200_000u64).map(std::hint::black_box).sum::<u64>());
}

fn measured(builder: Builder, program: impl FnOnce()) -> Longpole {
    let (layer, longpole) = builder.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
    assert!(longpole.flush().is_complete);
    longpole
}

#[test]
fn calls_with_the_same_input_are_found_though_the_input_is_left_out() {
    let call = |city: &str| {
        let tool = info_span!(
            "tool",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = "weather",
            gen_ai.tool.call.arguments = city,
        );
        tool.in_scope(work);
    };
    let program = || {
        info_span!("run", workflow.name = "desk")
            .in_scope(|| ["Oslo", "Rome", "Oslo"].into_iter().for_each(call))
    };
    let repeats = |report: &longpole::Report| {
        let finding = report.findings.iter().find(|finding| finding.code == "LP106")?;
        Some((finding.subject.to_string(), finding.spans.len()))
    };
    let expected = Some(("execute_tool weather".to_owned(), 1));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let longpole = measured(longpole::builder().spans_file(&file), program);
    assert_eq!(repeats(&longpole.last_run().unwrap()), expected, "live");
    let written = std::fs::read(&file).unwrap();
    assert!(!String::from_utf8_lossy(&written).contains("Oslo"));
    let spans = longpole::decode::decode(&written).unwrap().spans;
    assert_eq!(repeats(&longpole::report_on(spans, &ReportOptions::default())[0]), expected, "from the file");

    let longpole = measured(longpole::builder(), program);
    assert_eq!(repeats(&longpole.last_run().unwrap()), expected, "without export");
}

#[test]
fn a_model_called_with_the_same_question_is_no_repeat_as_its_conversation_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let longpole = measured(longpole::builder().spans_file(&file), || {
        info_span!("run", workflow.name = "desk").in_scope(|| {
            for _ in 0..3 {
                let call = info_span!("call", openinference.span.kind = "LLM", input.value = "go on");
                call.in_scope(|| {
                    std::hint::black_box((0..200_000u64).map(std::hint::black_box).sum::<u64>())
                });
            }
        });
    });
    assert!(longpole.last_run().unwrap().findings.iter().all(|finding| finding.code != "LP106"));
}

#[test]
fn credentials_in_addresses_and_headers_are_shown_nowhere() {
    let sink = Sink::start(|_| Reply::Status(400, Vec::new(), b"bad key hunter2-header".to_vec()));
    let host = sink.url().replace("http://", "");
    let builder = longpole::builder()
        .otlp_endpoint(format!("http://me:hunter2-url@{host}"))
        .otlp_header("authorization", "Bearer hunter2-header");
    let longpole = measured(builder, || info_span!("run").in_scope(|| ()));
    let diagnostics = longpole.diagnostics();
    let shown: Vec<String> = longpole.destinations().iter().map(ToString::to_string).collect();
    let told = format!("{diagnostics:?} {longpole:?} {shown:?}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains(&host) && diagnostics.last_error.unwrap().contains("bad key [redacted]"), "{told}");
    assert_eq!(sink.received()[0].header("authorization"), Some("Bearer hunter2-header"), "it is sent");

    for url in ["ftp://me:hunter2@host/v1", "me:hunter2@host", "http://me:hunter2@/v1?key=hunter2"] {
        let refused = longpole::builder().otlp_endpoint(url).build().unwrap_err();
        let mut told = format!("{refused:?}");
        let mut next: Option<&dyn Error> = Some(&refused);
        while let Some(error) = next {
            told.push_str(&error.to_string());
            next = error.source();
        }
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_header_of_credentials_to_another_machine_without_tls_is_told() {
    // An address for documentation, where nobody is (RFC 5737).
    let build = |url: &str, header: &str| {
        let builder = longpole::builder().otlp_endpoint(url).otlp_header(header, "hunter2");
        let (_layer, longpole) = builder.build().unwrap();
        longpole.diagnostics().notes
    };
    let notes = build("http://192.0.2.1:4318/v1/traces", "x-api-key");
    assert!(notes.len() == 1 && notes[0].contains("x-api-key") && !notes[0].contains("hunter2"), "{notes:?}");
    assert_eq!(build("https://192.0.2.1:4318/v1/traces", "x-api-key"), [""; 0]);
    assert_eq!(build("http://192.0.2.1:4318/v1/traces", "x-tenant"), [""; 0]);
    assert_eq!(build("http://127.0.0.1:9/v1/traces", "authorization"), [""; 0]);
}
