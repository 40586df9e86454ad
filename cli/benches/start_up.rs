//! How long the tool takes to answer: `longpole --help`, a completion, and `longpole show last` on a run of 20,000 spans
//! that is kept. `cargo bench -p longpole-cli --bench start_up`; figures only, no verdicts, as they depend on the machine.

#![allow(clippy::print_stdout, reason = "a bench tells figures")]

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SPANS: usize = 20_000;
const TIMES: usize = 31;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let longpole = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
        command
            .args(arguments)
            .env("LONGPOLE_STORE", folder.path().join("runs.db"))
            .env("LONGPOLE_CONFIG", "");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let file = folder.path().join("spans.jsonl");
    std::fs::write(&file, line()).unwrap();
    assert!(longpole(&["import"]).arg(&file).status().unwrap().success());

    tell("longpole --help", || longpole(&["--help"]));
    tell("longpole show last (20,000 spans, kept)", || longpole(&["show", "last"]));
    tell("longpole show last --format json", || longpole(&["show", "last", "--format", "json"]));
    tell("longpole ls", || longpole(&["ls"]));
    tell("completion of `longpole show l`", || {
        let mut command = longpole(&["--", "longpole", "show", "l"]);
        command.env("LONGPOLE_COMPLETE", "fish");
        command
    });
    // What any program takes on this machine.
    let nothing = ["/usr/bin/true", "/bin/true"].into_iter().find(|path| Path::new(path).exists());
    if let Some(nothing) = nothing {
        tell("true, for comparison", || Command::new(OsStr::new(nothing)));
    }
}

/// Runs a command many times and prints the median and the least time it took.
fn tell(what: &str, command: impl Fn() -> Command) {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let mut command = command();
            let start = Instant::now();
            let status = command.status().unwrap();
            assert!(status.success(), "{what}: {status}");
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!("{what:<42} {:>8.1} ms (least {:.1})", ms(TIMES / 2), ms(0));
}

/// A run of an agent as a line of OTLP JSON: rounds of a model call and three tools at once.
fn line() -> String {
    let span = |index: usize| {
        let (round, place) = ((index.max(1) - 1) / 4, (index.max(1) - 1) % 4);
        let from = round * 10 + if place == 0 { 0 } else { 4 };
        let (from, to) = match index {
            0 => (0, SPANS / 4 * 10),
            _ => (from, from + if place == 0 { 4 } else { 2 + place }),
        };
        let attribute = match (index, place) {
            (0, _) => r#"{"key":"workflow.name","value":{"stringValue":"large"}}"#.to_owned(),
            (_, 0) => concat!(
                r#"{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},"#,
                r#"{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}},"#,
                r#"{"key":"gen_ai.usage.input_tokens","value":{"intValue":"900"}},"#,
                r#"{"key":"gen_ai.usage.output_tokens","value":{"intValue":"120"}}"#
            )
            .to_owned(),
            _ => format!(r#"{{"key":"node.id","value":{{"stringValue":"tool {place}"}}}}"#),
        };
        let parent =
            if index == 0 { String::new() } else { r#""parentSpanId":"0000000000000001","#.to_owned() };
        // 2026-11-01 00:00 UTC.
        let at = |ms: usize| format!("{}000000", 1_793_491_200_000 + ms as u64);
        format!(
            r#"{{"traceId":"0000000000000000000000000000abcd","spanId":"{:016x}",{parent}"name":"step","startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{attribute}]}}"#,
            index + 1,
            at(from),
            at(to),
        )
    };
    let spans: Vec<String> = (0..SPANS).map(span).collect();
    format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{}]}}]}}]}}\n", spans.join(","))
}
