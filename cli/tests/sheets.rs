//! What `longpole show` writes for spreadsheets, pull requests and programs, and `longpole schema`.

#![allow(missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use longpole::report::Report;
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn longpole(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
    command.args(args).env_clear().env("LC_ALL", "C.UTF-8");
    command
}

fn agent(args: &[&str]) -> Output {
    longpole(&["show"]).arg(data("support_agent.otlp.json")).args(args).output().unwrap()
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn report() -> Report {
    serde_json::from_str(&text(agent(&["--format", "json"]))).unwrap()
}

#[test]
fn a_sheet_has_a_row_per_node_span_or_run() {
    let report = report();
    let lines =
        |format: &str| text(agent(&["--format", format])).lines().map(str::to_owned).collect::<Vec<_>>();
    let nodes = lines("csv");
    assert!(
        nodes[0].starts_with("agent,total,success,failures,avg_ms,min_ms,max_ms,avg_memory_bytes,p50_ms,")
    );
    assert_eq!(nodes.len(), 1 + report.nodes.len());
    assert!(nodes[1].starts_with(&format!("{},", report.nodes[0].name)), "{}", nodes[1]);
    assert_eq!(lines("csv:spans").len() as u64, 1 + report.run.spans);
    let runs = lines("csv:runs");
    assert_eq!(runs.len(), 2);
    assert!(runs[1].starts_with(&format!("{},", report.run.id)), "{}", runs[1]);
}

#[test]
fn runs_of_one_file_share_a_header() {
    let two = |format: &str| {
        text(longpole(&["show", "--format", format]).arg(data("two_runs.otlp.jsonl")).output().unwrap())
    };
    assert_eq!(two("csv:runs").lines().count(), 3);
    assert_eq!(two("csv").matches("agent,total").count(), 1);
    let runs: Vec<Report> = two("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(runs.len(), 2);
    assert_eq!(two("md").matches("<!-- longpole:").count(), 2);
}

#[test]
fn files_are_written_as_their_names_say() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["a.md", "b.csv", "c.spans.csv", "runs.csv", "d.runs.csv", "e.jsonl", "f.txt"];
    let mut arguments = Vec::new();
    for name in names {
        arguments.extend(["-o".to_owned(), folder.path().join(name).display().to_string()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(text(agent(&arguments)), "");
    let first = |name: &str| {
        let text = std::fs::read_to_string(Path::new(folder.path()).join(name)).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(first("a.md"), "<!-- longpole:support-agent -->");
    assert!(first("b.csv").starts_with("agent,"));
    assert!(first("c.spans.csv").starts_with("run_id,span_id,"));
    assert!(first("runs.csv").starts_with("agent,"), "only its extension says what a file is");
    assert!(first("d.runs.csv").starts_with("run_id,trace_id,"));
    assert!(first("e.jsonl").starts_with("{\""));
    assert!(first("f.txt").starts_with("longpole  support-agent"));
}

#[test]
fn a_part_of_a_report_can_be_asked_for() {
    let fix = text(agent(&["--only", "fix"]));
    assert!(fix.contains("\nFix first") && !fix.contains("Critical path"), "{fix}");
    let top = text(agent(&["--top", "1"]));
    assert!(
        top.contains("… and ") && top.matches("\n  1  ").count() == 1 && !top.contains("\n  2  "),
        "{top}"
    );
    let all = text(agent(&["--all"]));
    assert!(all.contains("\nNodes "), "{all}");
    assert!(text(agent(&["--format", "md", "--only", "path"])).contains("**Critical path**"));
}

#[test]
fn the_last_line_is_what_to_type_next() {
    let last = |run: &mut Command| text(run.output().unwrap()).lines().last().unwrap().to_owned();
    let file = "support_agent.otlp.json";
    let here = |args: &[&str]| {
        let mut command = longpole(&["show", file]);
        command.args(args).current_dir(data(""));
        command
    };
    assert_eq!(last(&mut here(&[])), "  more  longpole show support_agent.otlp.json --all");
    assert_eq!(last(&mut here(&["--all"])), "  more  longpole show support_agent.otlp.json -o report.html");
    let mut input = longpole(&["show", "-"]);
    input.stdin(std::fs::File::open(data(file)).unwrap());
    assert!(!last(&mut input).contains("more"), "standard input cannot be read again");
}

#[test]
fn the_layouts_of_other_profilers_are_there() {
    let report = report();
    let summary = text(agent(&["--style", "conexus-summary"]));
    assert!(summary.starts_with("=== Performance Summary ===\nExecutions: 4 | Avg Duration: "), "{summary}");
    assert!(
        text(agent(&["--style", "conexus"]))
            .starts_with("Performance Report\n=================\n\nGenerated: ")
    );
    let details = text(agent(&["--style", "conexus-details"]));
    assert!(details.contains("Execution Details: execute_tool search_orders\n"), "{details}");
    assert_eq!(details.matches("Execution ID: ").count(), 4);
    let json: Value =
        serde_json::from_str(&text(agent(&["--style", "conexus", "--format", "json"]))).unwrap();
    assert_eq!(json["total_executions"], 4);
    let slowest = report.bottleneck_info.slowest_node.unwrap();
    let lines = text(agent(&["--style", "lines"]));
    assert!(lines.starts_with(&format!("Slowest node: {} (", slowest.node_id)), "{lines}");
    let header =
        "Agent,Total,Success,Failures,AvgDuration,MinDuration,MaxDuration,AvgMemory,P50,P90,P95,P99\n";
    assert!(text(agent(&["--format", "csv", "--csv-header", "conexus"])).starts_with(header));
    assert!(text(agent(&["--style", "conexus", "--format", "csv"])).starts_with(header));
}

#[test]
fn a_layout_that_a_format_does_not_have_is_a_wrong_use() {
    let output = agent(&["--style", "conexus", "--format", "md"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "error: --style conexus has no such format\nhelp: it is there as --format text, csv, json\n"
    );
}

#[test]
fn the_schemas_are_printed() {
    let schema = |args: &[&str]| -> Value {
        let mut command = longpole(&["schema"]);
        serde_json::from_str(&text(command.args(args).output().unwrap())).unwrap()
    };
    assert_eq!(schema(&[])["title"], "longpole.report/1");
    assert_eq!(schema(&["report"]), schema(&[]));
    assert_eq!(schema(&["compare"])["title"], "longpole.compare/1");
    assert_eq!(schema(&["csv"])["csv"]["fields"][0]["name"], "agent");
}
