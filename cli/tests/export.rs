//! What `longpole export` writes, where, and how it ends.

#![allow(missing_docs, reason = "a test")]

use std::path::PathBuf;
use std::process::{Command, Output};

const AGENT: &str = "support_agent.otlp.json";
const TWO_RUNS: &str = "two_runs.otlp.jsonl";

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn longpole(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_longpole"))
        .args(args)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap()
}

fn export(file: &str, to: &str) -> String {
    let output = longpole(&["export", data(file).to_str().unwrap(), "--to", to]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((said.as_str(), output.status.code()), ("", Some(0)));
    String::from_utf8(output.stdout).unwrap()
}

fn report(file: &str) -> Vec<u8> {
    longpole(&["show", file, "--format", "json"]).stdout
}

#[test]
fn otlp_that_was_written_gives_the_same_report_as_what_it_was_read_from() {
    let folder = tempfile::tempdir().unwrap();
    for file in [AGENT, TWO_RUNS] {
        let again = folder.path().join("again.jsonl");
        let output = longpole(&[
            "export",
            data(file).to_str().unwrap(),
            "--to",
            "otlp",
            "-o",
            again.to_str().unwrap(),
        ]);
        assert_eq!((&*output.stdout, output.status.code()), (&[][..], Some(0)));
        let (read, written) = (report(data(file).to_str().unwrap()), report(again.to_str().unwrap()));
        assert!(!read.is_empty());
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(&written), "{file}");
    }
}

#[test]
fn traces_for_other_viewers_are_json_with_every_run() {
    let spans = |text: &str| {
        let trace: serde_json::Value = serde_json::from_str(text).unwrap();
        let events = trace["traceEvents"].as_array().unwrap().clone();
        let is_span = |event: &&serde_json::Value| event["ph"] == "X" && event["cat"] != "critical_path";
        let spans: Vec<_> =
            events.iter().filter(is_span).map(|event| event["pid"].as_u64().unwrap()).collect();
        (spans.iter().filter(|pid| **pid == 1).count(), spans.iter().filter(|pid| **pid == 2).count())
    };
    assert_eq!(spans(&export(AGENT, "chrome")), (5, 0));
    let (one, other) = spans(&export(TWO_RUNS, "perfetto"));
    assert!(one > 0 && other > 0);
    let file: serde_json::Value = serde_json::from_str(&export(AGENT, "speedscope")).unwrap();
    assert_eq!(file["profiles"][0]["name"], "support-agent: critical path");
}

#[test]
fn folded_stacks_and_the_flame_graph_drawn_of_them_have_the_wall_time() {
    let folded = export(AGENT, "folded");
    let total: u64 =
        folded.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(total, 3_020_000_000);
    let drawn = export(AGENT, "flamegraph");
    assert!(
        drawn.starts_with("<?xml") && drawn.contains("chat gpt-4o-mini") && drawn.contains("3,020 ms"),
        "{drawn}"
    );
    assert_eq!(drawn, export(AGENT, "flamegraph"), "equal input gives equal bytes");
}

#[test]
fn what_cannot_be_done_is_told_with_its_status() {
    let status = |args: &[&str]| longpole(args).status.code();
    let file = data(AGENT);
    let file = file.to_str().unwrap();
    assert_eq!(status(&["export", file]), Some(2), "what to write has to be said");
    assert_eq!(status(&["export", file, "--to", "nothing"]), Some(2));
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("runs.db");
    assert_eq!(status(&["export", "7f3a", "--to", "otlp", "--store", store.to_str().unwrap()]), Some(4));
    let output = longpole(&["export", file, "--to", "otlp", "-o", "/nowhere/x.json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: cannot write /nowhere/x.json\ncaused by: "), "{said}");
}

#[test]
fn names_are_data_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.json");
    let name = "</text><script>alert(1)</script>\u{202e}\u{1b}[2J;a\n\"b 7";
    let span = |id: u64, parent: &str, start: u64| {
        serde_json::json!({
            "traceId": "5b8efff798038103d269b633813fc60c", "spanId": format!("{id:016x}"), "parentSpanId": parent,
            "name": name, "startTimeUnixNano": start.to_string(), "endTimeUnixNano": "9000000000",
        })
    };
    let spans = [span(1, "", 1_000_000_000), span(2, "0000000000000001", 2_000_000_000)];
    let trace = serde_json::json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
    std::fs::write(&file, trace.to_string()).unwrap();
    let export = |to: &str| {
        let output = longpole(&["export", file.to_str().unwrap(), "--to", to]);
        assert_eq!(output.status.code(), Some(0), "{to}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let drawn = export("flamegraph");
    assert!(!drawn.contains("<script>alert") && !drawn.contains(['\u{202e}', '\u{1b}']), "{drawn}");
    for to in ["chrome", "speedscope", "otlp"] {
        let written: serde_json::Value = serde_json::from_str(&export(to)).unwrap();
        let encoded = serde_json::to_string(name).unwrap();
        assert!(written.to_string().matches(&encoded).count() >= 1, "{to}: {written}");
    }
    let folded = export("folded");
    assert_eq!(folded.lines().count(), 2, "{folded:?}");
}
