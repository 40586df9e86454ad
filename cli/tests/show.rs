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
    // A program that was called wrongly ends without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
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
Parallelism   2.52 s with no queueing; what the graph allows needs its edges
              declared (node.depends_on)
Cost          chat gpt-4o-mini $0.0115 (100%)
Tokens        2,042 in, 272 out
Confidence    high: 5 of 5 spans closed, 0 orphans, 3 edges inferred from time,
              no skew

  more  longpole show FILE --all
");
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_pipe_is_read_like_a_file() {
    let piped = with_input(&["show", "-"], &std::fs::read(data(AGENT)).unwrap());
    // Only a file can be read again.
    let next = "\n  more  longpole show FILE --all\n";
    assert_eq!(format!("{}{next}", stdout(&piped)), stdout(&show(AGENT, &[])));
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
    for args in [&["show", "x", "y"][..], &["show", "x", "--format", "yaml"], &["shwo"]] {
        assert_eq!(longpole(args).output().unwrap().status.code(), Some(2));
    }
}

/// So many runs of one workflow, the later ones with a longer `draft`, as OTLP JSON lines.
fn runs(count: u64, draft_ms: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut lines = String::new();
    for run in 1..=count {
        let (start, draft) = (run * 10_000, draft_ms(run));
        let span = |id: u64, parent: &str, attributes: &str, from: u64, to: u64| {
            format!(
                r#"{{"traceId":"{run:032x}","spanId":"{id:016x}",{parent}"name":"s{id}","startTimeUnixNano":"{from}000000","endTimeUnixNano":"{to}000000","attributes":[{attributes}]}}"#
            )
        };
        let text =
            |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#);
        let below = r#""parentSpanId":"0000000000000001","#;
        let spans = [
            span(1, "", &text("longpole.workflow.name", "desk"), start, start + 100 + draft),
            span(2, below, &text("longpole.node.id", "fetch"), start, start + 100),
            span(3, below, &text("longpole.node.id", "draft"), start + 100, start + 100 + draft),
        ];
        lines +=
            &format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{}]}}]}}]}}\n", spans.join(","));
    }
    lines.into_bytes()
}

#[test]
fn many_runs_are_told_together_unless_each_is_asked_for() {
    let six = runs(6, |_| 300);
    let together = with_input(&["show", "-"], &six);
    assert!(stdout(&together).starts_with("longpole  desk"), "{}", stdout(&together));
    assert!(stdout(&together).contains("6 runs") && stdout(&together).contains("--each"));
    assert_eq!(stdout(&together).matches("Fix first").count(), 0);
    let each = with_input(&["show", "-", "--each"], &six);
    assert_eq!(stdout(&each).matches("Fix first").count(), 6);
    assert_eq!(stdout(&with_input(&["show", "-"], &runs(5, |_| 300))).matches("Fix first").count(), 5);
    let json = with_input(&["show", "-", "--format", "json"], &six);
    assert_eq!(serde_json::from_slice::<Vec<longpole::Report>>(&json.stdout).unwrap().len(), 6);

    let summary = with_input(&["show", "-", "--summary", "--format", "json"], &runs(3, |_| 300));
    let summary: serde_json::Value = serde_json::from_slice(&summary.stdout).unwrap();
    assert_eq!(summary["schema"], "longpole.runs/1");
    assert_eq!(summary["groups"][0]["runs"], 3);
    let both = with_input(&["show", "-", "--summary", "--each"], &six);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn folded_stacks_add_up_to_the_wall_time() {
    let folded = with_input(&["show", "-", "--format", "folded"], &runs(2, |run| run * 100));
    assert_eq!(stdout(&folded), "s1;draft 300000000\ns1;fetch 200000000\n");
}

#[test]
fn earlier_runs_say_what_is_usual() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = folder.path().join("earlier.jsonl");
    // 297, 298, … 303: the median is 300, the median distance from it 2.
    std::fs::write(&earlier, runs(7, |run| 296 + run)).unwrap();
    let earlier = earlier.to_str().unwrap();
    let slower = with_input(&["show", "-", "--history", earlier], &runs(1, |_| 400));
    let text = stdout(&slower);
    assert!(text.contains("+25% against the median of the last 7 runs (400 ms)"), "{text}");
    assert!(text.contains("LP102 slower than usual: took 400 ms, 33% more than the median of 7"), "{text}");
    let as_usual = with_input(&["show", "-", "--history", earlier], &runs(1, |_| 305));
    assert!(!stdout(&as_usual).contains("LP102"), "{}", stdout(&as_usual));
    let missing = with_input(&["show", "-", "--history", "no-such-file"], &runs(1, |_| 1));
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn a_limit_for_a_node_is_held_against_its_average() {
    let run = runs(1, |_| 300);
    let over = with_input(&["show", "-", "--sla", "fetch=40ms"], &run);
    assert!(stdout(&over).contains("takes 100 ms on average, allowed are 40.0 ms"), "{}", stdout(&over));
    let within = with_input(&["show", "-", "--sla", "fetch=100ms"], &run);
    assert!(!stdout(&within).contains("allowed are"), "{}", stdout(&within));
    for wrong in ["fetch", "fetch=", "fetch=0s", "fetch=-1s"] {
        assert_eq!(with_input(&["show", "-", "--sla", wrong], &run).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_part_of_a_trace_can_be_reported_on() {
    let run = runs(1, |_| 300);
    let part = with_input(&["show", "-", "--format", "json", "--root", "0000000000000003"], &run);
    let part: longpole::Report = serde_json::from_slice(&part.stdout).unwrap();
    assert_eq!((part.run.name.as_str(), part.run.wall_ns.as_nanos()), ("s3", 300_000_000));
    let nowhere = with_input(&["show", "-", "--root", "00000000000000ff"], &run);
    assert_eq!(nowhere.status.code(), Some(4));
    assert_eq!(with_input(&["show", "-", "--root", "3"], &run).status.code(), Some(2));
}

#[test]
fn how_runs_are_read_can_be_chosen() {
    // `late` ends 50 ms after its parent: clipped it is on the path for 100 ms, left to the root for 150.
    let span = |id: u64, parent: u64, name: &str, from: u64, to: u64| {
        let parent = if parent == 0 { String::new() } else { format!(r#""parentSpanId":"{parent:016x}","#) };
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{id:016x}",{parent}"name":"{name}","startTimeUnixNano":"{from}000000","endTimeUnixNano":"{to}000000"}}"#,
            1
        )
    };
    let spans =
        [span(1, 0, "root", 1000, 1400), span(2, 1, "caller", 1000, 1200), span(3, 2, "late", 1100, 1250)];
    let trace = format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{}]}}]}}]}}", spans.join(","));
    let on_path = |how: &str| {
        let output =
            with_input(&["show", "-", "--format", "json", "--async-children", how], trace.as_bytes());
        let report: longpole::Report = serde_json::from_slice(&output.stdout).unwrap();
        let late = report.nodes.iter().find(|node| node.name == "late").unwrap();
        late.on_path_ns.as_nanos() / 1_000_000
    };
    assert_eq!(["clip", "inherit", "drop"].map(on_path), [100, 150, 0]);
    let all = ["--orphans", "root", "--skew", "center", "--max-skew", "1s", "--links", "as-deps"];
    let with_all =
        with_input(&[&["show", "-", "--overlap-tolerance", "0.1%"][..], &all].concat(), trace.as_bytes());
    assert_eq!(with_all.status.code(), Some(0), "{}", stderr(&with_all));
    let wrong = with_input(&["show", "-", "--overlap-tolerance", "101%"], trace.as_bytes());
    assert_eq!(wrong.status.code(), Some(2));
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

#[test]
fn each_file_asked_for_holds_the_report_in_the_format_of_its_name_and_standard_output_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (text, json) = (folder.path().join("report.txt"), folder.path().join("report.JSON"));
    let args = ["-o", text.to_str().unwrap(), "-o", json.to_str().unwrap()];
    let output = show(AGENT, &args);
    assert_eq!((stdout(&output), stderr(&output), output.status.code()), ("", "", Some(0)));
    assert_eq!(std::fs::read_to_string(&text).unwrap(), stdout(&show(AGENT, &[])));
    assert_eq!(std::fs::read_to_string(&json).unwrap(), stdout(&show(AGENT, &["--format", "json"])));
}

#[test]
fn a_file_name_that_says_no_format_is_a_wrong_use_and_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("report.txt"), folder.path().join("report.doc"));
    let output = show(AGENT, &["-o", good.to_str().unwrap(), "-o", bad.to_str().unwrap()]);
    assert_eq!((stdout(&output), output.status.code()), ("", Some(2)));
    assert!(stderr(&output).contains("cannot tell from its name what to write to"), "{}", stderr(&output));
    assert!(stderr(&output).contains("help: use a name that ends in .txt, .md, .csv"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_page_holds_every_run_of_a_file_and_the_summary_of_many_is_no_page() {
    let page = |file: &str| {
        let output = show(file, &["--format", "html"]);
        assert_eq!((stderr(&output), output.status.code()), ("", Some(0)));
        stdout(&output).to_owned()
    };
    let (one, two) = (page(AGENT), page("two_runs.otlp.jsonl"));
    assert_eq!((one.matches("<article>").count(), two.matches("<article>").count()), (1, 2));
    assert!(
        one.contains("<title>support-agent · longpole</title>") && two.contains("<title>longpole</title>")
    );
    let output = show("two_runs.otlp.jsonl", &["--format", "html", "--summary"]);
    assert_eq!((stdout(&output), output.status.code()), ("", Some(2)));
}
