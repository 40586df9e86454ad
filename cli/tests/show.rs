//! What `longpole show` prints, where, and how it ends.

#![allow(missing_docs, reason = "a test")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The agent asks for two tools at once, which run one after the other:
/// chat 10–810 ms, search_orders 810–1410, refund_policy there from 810, running 1410–1910, chat 1910–3010.
const AGENT: &str = "support_agent.otlp.json";

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn longpole(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
    command.args(args).env_clear().env("LC_ALL", "C.UTF-8");
    command
}

fn show(file: &str, args: &[&str]) -> Output {
    longpole(&["show"]).arg(data(file)).args(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn with_input(args: &[&str], input: &[u8]) -> Output {
    let mut child =
        longpole(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_report_goes_to_standard_output_and_nothing_else_does() {
    let output = show(AGENT, &[]);
    insta::assert_snapshot!(stdout(&output), @r"
longpole  support-agent  run 5b8efff7  v2.1.0                                 ok

  wall 3.02 s   work 3.02 s   parallel 1.0× (peak 1)   cost $0.0115   spans 5

Critical path   3.00 s of 3.02 s (99%); the other 0.02 s has no span

  chat gpt-4o-mini ×2         llm  ███    ▐████  1.90 s   63%  $0.0115 ◀ longest
  execute_tool search_orders  tool    ██▌        600 ms   20%
  execute_tool refund_policy  tool      ▐█▌      500 ms   17%
  order: inferred from time
  queueing:  execute_tool refund_policy waited 600 ms

Fix first                                                     save at most

  1  CRITICAL  chat gpt-4o-mini                               1.90 s   63%
       why  2 calls of about 950 ms, one at a time; wrote 272 tokens at
            143 tokens/s; nothing runs beside it
       try  2× faster saves 950 ms (31%)
  2  HIGH      execute_tool search_orders                     600 ms   20%
       why  nothing runs beside it
       try  2× faster saves 300 ms (10%)
  3  HIGH      execute_tool refund_policy                     500 ms   17%
       why  600 ms spent queueing behind execute_tool search_orders; nothing
            runs beside it
       try  no queueing saves 500 ms (17%); 2× faster saves 250 ms (8%)

  chat gpt-4o-mini 2× faster and execute_tool search_orders 2× faster and
  execute_tool refund_policy without queueing, together: 3.02 s → 1.47 s (−51%).

Bounded by    model wait 63%, tool 36%, no span 1%
Parallelism   2.52 s with no queueing; what the graph allows needs declared
              edges (node.depends_on)
Cost          chat gpt-4o-mini $0.0115 (100%)
Tokens        2,042 in, 272 out
Confidence    high: 5 of 5 spans closed, 0 orphans, 3 edges inferred from time,
              no skew
");
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_pipe_is_read_like_a_file() {
    let piped = with_input(&["show", "-"], &std::fs::read(data(AGENT)).unwrap());
    assert_eq!(stdout(&piped), stdout(&show(AGENT, &[])));
}

#[test]
fn one_run_is_one_json_document_and_several_are_an_array() {
    let one: longpole::Report = serde_json::from_slice(&show(AGENT, &["--format", "json"]).stdout).unwrap();
    assert_eq!(one.run.workflow.as_deref(), Some("support-agent"));
    assert_eq!(one.run.wall_ns.as_nanos(), 3_020_000_000);

    let two = show("two_runs.otlp.jsonl", &["--format", "json"]).stdout;
    let two: Vec<longpole::Report> = serde_json::from_slice(&two).unwrap();
    let names: Vec<_> = two.iter().map(|report| report.run.workflow.as_deref().unwrap_or_default()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&"nightly") && names.contains(&"support-agent"), "{names:?}");
    assert!(two.contains(&one));
}

#[test]
fn reports_on_several_runs_have_a_blank_line_between_them() {
    let output = show("two_runs.otlp.jsonl", &[]);
    assert_eq!(stdout(&output).matches("\n\nlongpole  ").count(), 1);
    assert_eq!(stdout(&output).matches("longpole  ").count(), 2);
}

#[test]
fn a_width_is_kept_to() {
    let longest = |width: &str| {
        let output = show(AGENT, &["--width", width]);
        stdout(&output).lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert!(longest("60") <= 60 && longest("100") > 80, "{} {}", longest("60"), longest("100"));
}

#[test]
fn colour_is_for_terminals_and_for_who_asks_for_it() {
    let is_colored = |output: Output| stdout(&output).contains('\x1b');
    assert!(!is_colored(show(AGENT, &[])));
    assert!(!is_colored(show(AGENT, &["--color", "never"])));
    assert!(is_colored(show(AGENT, &["--color", "always"])));
    let forced = longpole(&["show"]).arg(data(AGENT)).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(is_colored(forced));
    let refused = longpole(&["show", "--color", "auto"])
        .arg(data(AGENT))
        .envs([("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")])
        .output()
        .unwrap();
    assert!(!is_colored(refused));
}

#[test]
fn a_locale_without_utf_8_gets_ascii_and_is_told_once() {
    let output = longpole(&["show"]).arg(data(AGENT)).env("LC_ALL", "POSIX").output().unwrap();
    assert!(stdout(&output).is_ascii());
    assert_eq!(stderr(&output).lines().count(), 1);
    assert!(stderr(&output).starts_with("note: the locale is not UTF-8"), "{}", stderr(&output));

    let asked = longpole(&["show", "--ascii"]).arg(data(AGENT)).env("LC_ALL", "POSIX").output().unwrap();
    assert_eq!((stdout(&asked), stderr(&asked)), (stdout(&output), ""));
}

#[test]
fn a_missing_file_is_exit_status_1_with_the_cause_and_a_way_out() {
    let output = longpole(&["show", "no-such-file.json"]).output().unwrap();
    insta::assert_snapshot!(stderr(&output), @r"
error: cannot read no-such-file.json
caused by: No such file or directory (os error 2)
help: give a file with spans, or - for standard input
");
    assert_eq!(stdout(&output), "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_file_that_holds_no_trace_is_exit_status_1() {
    let output = with_input(&["show", "-"], b"GET / HTTP/1.1\x1b[2J\n");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error: cannot make out spans in standard input\ncaused by: "));
    assert!(!stderr(&output).contains('\x1b'));
}

#[test]
fn a_trace_without_spans_is_exit_status_4() {
    for nothing in [&b""[..], b"{\"resourceSpans\":[]}"] {
        let output = with_input(&["show", "-"], nothing);
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert!(stderr(&output).starts_with("error: no spans in standard input\nhelp: "));
    }
}

#[test]
fn a_damaged_line_is_told_and_the_rest_is_reported() {
    let mut input = std::fs::read(data("two_runs.otlp.jsonl")).unwrap();
    input.extend_from_slice(b"{\"resourceSpans\":[{\n");
    let output = with_input(&["show", "-"], &input);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), stdout(&show("two_runs.otlp.jsonl", &[])));
    assert!(stderr(&output).starts_with("warning: standard input: line "), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1);
}

#[test]
fn wrong_usage_is_exit_status_2() {
    for args in [&["show"][..], &["show", "x", "--format", "yaml"], &["shwo"]] {
        assert_eq!(longpole(args).output().unwrap().status.code(), Some(2));
    }
}

#[test]
fn alone_it_says_in_a_few_lines_what_can_be_typed() {
    let output = longpole(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).lines().count() < 12 && stdout(&output).contains("longpole show "));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = longpole(&["show"]).arg(data(AGENT)).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}
