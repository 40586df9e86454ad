//! `longpole run`: what a command sees of it, what it sees of a command, and how it ends.

#[path = "support/sender.rs"]
mod sender;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sender::{PATIENCE, as_sender, sender};

/// `longpole` in a world of its own, with its history in `folder`.
fn longpole(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
    let outside = std::env::vars_os().map(|(name, _)| name);
    for name in outside.filter(|name| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.args(args).env("LC_ALL", "C.UTF-8").env("LONGPOLE_STORE", folder.join("runs.db"));
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "HTTP_PROXY", "http_proxy", "LONGPOLE_SPOOL"] {
        command.env_remove(name);
    }
    command
}

/// Runs `longpole run` with these options on a command.
fn run(options: &[&str], child: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    longpole(folder.path(), &[&["run"], options, &["--"], child].concat()).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The part of this test program that sends, as a command does.
#[test]
fn sends_spans_if_it_was_started_for_that() {
    as_sender();
}

#[test]
fn the_commands_output_is_its_own_and_without_spans_the_help_is_told() {
    let output = run(&[], &["sh", "-c", "echo hi; echo ho >&2"]);
    assert_eq!((stdout(&output), output.status.code()), ("hi\n", Some(4)));
    let (child, ours) = stderr(&output).split_at(3);
    assert_eq!(child, "ho\n");
    let port = ours.split("127.0.0.1:").nth(1).unwrap().lines().next().unwrap();
    let time = ours.split("exit 0, ").nth(1).unwrap().split(')').next().unwrap();
    insta::assert_snapshot!(ours.replace(port, "PORT").replace(time, "TIME"), @r"
error: the command finished (exit 0, TIME) but sent no spans to http://127.0.0.1:PORT
help:  is it instrumented? For Python: opentelemetry-instrument python agent.py
       it may set its own endpoint: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT overrides ours
       it may exit before flushing: call the tracer provider's shutdown()
       check the wiring with: longpole doctor
");
}

#[test]
fn standard_input_goes_to_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = longpole(folder.path(), &["run", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through\n").unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()), "through\n");
}

#[test]
fn the_report_comes_after_a_blank_line_on_standard_error() {
    let output = run(&[], &sender("agent"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("\nlongpole  support-agent  run 5b8efff7"), "{}", stderr(&output));
    assert!(stderr(&output).contains("Fix first") && !stdout(&output).contains("Fix first"));
    assert!(stderr(&output).lines().all(|line| line.chars().count() <= 80));

    let quiet = run(&["-q"], &sender("agent"));
    let verdict = stderr(&output).lines().nth(1).unwrap();
    assert_eq!(stderr(&quiet), format!("\n{verdict}\n"));
    // Without a terminal there is nobody to look on.
    assert_eq!(stderr(&run(&["--progress"], &sender("agent"))), stderr(&output));
}

#[test]
fn files_get_the_report_and_standard_error_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let [json, text, html] =
        ["report.json", "report.txt", "report.html"].map(|name| folder.path().join(name));
    let options = [&json, &text, &html].map(|path| ["-o", path.to_str().unwrap()]).concat();
    let output = run(&options, &sender("agent"));
    assert_eq!(stderr(&output).lines().count(), 2, "{}", stderr(&output));
    let report: longpole::Report = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report.run.wall_ns.as_nanos(), 3_020_000_000);
    assert!(fs::read_to_string(&text).unwrap().starts_with("longpole  support-agent"));
    // The page draws every span.
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("</html>") && page.contains("execute_tool search_orders") && page.contains("<svg"));

    // Nothing is run for a name that says no format.
    let marker = folder.path().join("was-run");
    let touch = ["touch", marker.to_str().unwrap()];
    let wrong = run(&["-o", "report.xyz"], &touch);
    assert_eq!((wrong.status.code(), marker.exists()), (Some(2), false), "{}", stderr(&wrong));

    let nowhere = folder.path().join("no-such-folder/report.json");
    let lost = run(&["-o", nowhere.to_str().unwrap()], &sender("agent"));
    assert_eq!(lost.status.code(), Some(1));
    assert!(stderr(&lost).contains("Fix first") && stderr(&lost).contains("error: cannot write"));
}

#[test]
fn the_commands_failure_is_kept_with_and_without_a_report() {
    let with_report = run(&[], &sender("agent-exit-7"));
    assert_eq!(with_report.status.code(), Some(7));
    assert!(stderr(&with_report).contains("Fix first"));
    let without = run(&[], &["sh", "-c", "exit 9"]);
    assert_eq!(without.status.code(), Some(9));
    assert!(stderr(&without).contains("(exit 9, "), "{}", stderr(&without));
    let of_the_gates = run(&["--exit-code", "gate"], &sender("agent-exit-7"));
    assert_eq!(of_the_gates.status.code(), Some(0));
    let nothing = run(&["--exit-code", "gate"], &["sh", "-c", "exit 9"]);
    assert_eq!(nothing.status.code(), Some(4));
}

#[test]
fn what_cannot_be_run_is_told_with_a_way_out() {
    let output = run(&[], &["no-such-program-anywhere"]);
    insta::assert_snapshot!(stderr(&output), @r"
error: cannot start no-such-program-anywhere
caused by: No such file or directory (os error 2)
help: give a program and its arguments; for a line of shell: longpole run -- sh -c 'LINE'
");
    assert_eq!(output.status.code(), Some(1));
    for wrong in [&["-n", "0"][..], &["--drain", "soon"], &["--nonsense"], &["--label", "x"]] {
        assert_eq!(run(wrong, &["true"]).status.code(), Some(2), "{wrong:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(longpole(folder.path(), &["run"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_program_with_the_layer_is_heard_over_every_protocol() {
    for protocol in ["http/protobuf", "http/json", "grpc"] {
        let folder = tempfile::tempdir().unwrap();
        let json = folder.path().join("report.json");
        let options = ["run", "-o", json.to_str().unwrap(), "--"];
        let output = longpole(folder.path(), &[&options[..], &sender("layer")].concat())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{protocol}: {}", stderr(&output));
        let report: longpole::Report = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        let mut names: Vec<&str> = report.nodes.iter().map(|node| node.name.as_str()).collect();
        // The one that took longer comes first, and neither does anything.
        names.sort_unstable();
        assert_eq!((report.run.workflow.as_deref(), &names[..]), (Some("layered"), &["one", "two"][..]));
        assert_eq!(report.quality.open_spans, 0, "{protocol}");
    }
}

#[test]
fn a_name_and_labels_can_be_given_and_the_run_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["run", "--workflow", "nameless", "--label", "session=7", "--"];
    let output = longpole(folder.path(), &[&options[..], &sender("nameless")].concat()).output().unwrap();
    assert!(stderr(&output).starts_with("\nlongpole  nameless  run "), "{}", stderr(&output));
    let shown = longpole(folder.path(), &["show", "nameless", "--label", "session=7"]).output().unwrap();
    assert_eq!(format!("\n{}", stdout(&shown)), stderr(&output));
    let other = longpole(folder.path(), &["show", "nameless", "--label", "session=8"]).output().unwrap();
    assert_eq!(other.status.code(), Some(4));
}

#[test]
fn a_history_that_cannot_be_used_keeps_no_report_from_anyone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "no folder").unwrap();
    let store = folder.path().join("file/runs.db");
    let output = longpole(folder.path(), &[&["run", "-n", "2", "--"], &sender("agent")[..]].concat())
        .env("LONGPOLE_STORE", store)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("2 runs"), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("the run is not kept").count(), 1, "{}", stderr(&output));
}

#[test]
fn repeated_runs_are_told_together_without_those_that_warm_up() {
    let folder = tempfile::tempdir().unwrap();
    let (times, json) = (folder.path().join("times"), folder.path().join("report.json"));
    let line = format!("echo run >> {}; exec \"$@\"", times.display());
    let child = [&["sh", "-c", &line, "sh"][..], &sender("agent")].concat();
    let output = run(&["-n", "3", "--warmup", "2", "-o", json.to_str().unwrap()], &child);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&times).unwrap().lines().count(), 5);
    assert!(stderr(&output).lines().nth(1).unwrap().ends_with("3 runs"), "{}", stderr(&output));
    let reports: Vec<longpole::Report> = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(reports.len(), 3);

    // One that fails is the last.
    let output = run(&["-n", "3"], &sender("agent-exit-7"));
    assert_eq!(output.status.code(), Some(7));
    assert!(stderr(&output).contains("1 run"), "{}", stderr(&output));
}

#[test]
fn two_commands_at_once_are_kept_apart() {
    let outputs = ["agent", "nameless"].map(|role| std::thread::spawn(move || run(&[], &sender(role))));
    let [agent, nameless] = outputs.map(|output| output.join().unwrap());
    assert!(stderr(&agent).contains("spans 5") && stderr(&agent).contains("support-agent"));
    assert!(stderr(&nameless).contains("spans 2") && !stderr(&nameless).contains("support-agent"));
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let output = run(&["--workflow", "a\x1b[2J\nb"], &sender("hostile"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stderr(&output).contains('\x1b') && !stderr(&output).contains('\u{202e}'));
    assert!(stderr(&output).contains("evil"), "{}", stderr(&output));
}

#[test]
fn damaged_requests_are_told_and_the_rest_is_reported() {
    let output = run(&[], &sender("damaged"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("warning: 1 requests were refused: the request cannot be read"));
    assert!(stderr(&output).contains("longpole  support-agent"));
}

#[test]
fn what_would_lead_spans_elsewhere_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = longpole(folder.path(), &[&["run", "--"], &sender("agent")[..]].concat())
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("note: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is http://127.0.0.1:1/"));
}

#[cfg(unix)]
mod with_processes {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;

    /// Starts `longpole run` on a command, in a group of its own as a shell's job is, and waits until the command has
    /// said that it is ready.
    fn started(folder: &Path, options: &[&str], child: &[&str]) -> std::process::Child {
        let mut started = longpole(folder, &[&["run"], options, &["--"], child].concat())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(started.stdout.as_mut().unwrap()).lines();
        assert!(lines.by_ref().any(|line| line.unwrap().contains("ready")), "the command ended before");
        started
    }

    fn signal(process: &std::process::Child, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    #[test]
    fn an_interrupted_run_is_told_as_far_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let process = started(folder.path(), &[], &sender("half"));
        signal(&process, "INT");
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(stderr(&output).starts_with("note: interrupted after "), "{}", stderr(&output));
        assert!(stderr(&output).contains("incomplete"), "{}", stderr(&output));
    }

    #[test]
    fn a_signal_goes_to_the_command_which_may_end_well() {
        let folder = tempfile::tempdir().unwrap();
        let line = "trap 'kill -9 $!; exit 0' TERM; sleep 1000 & echo ready; wait; exit 5";
        let process = started(folder.path(), &[], &["sh", "-c", line]);
        signal(&process, "TERM");
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        // One that asks for nothing reaches the command and ends nobody else.
        let line = "trap 'kill -9 $!; exit 6' USR1; sleep 1000 & kill -s USR1 $PPID; wait; exit 5";
        assert_eq!(run(&[], &["sh", "-c", line]).status.code(), Some(6));
    }

    #[test]
    fn half_a_run_of_a_killed_command_is_reported() {
        let output = run(&[], &sender("half-killed"));
        assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
        assert!(stderr(&output).contains("incomplete"), "{}", stderr(&output));
    }

    #[test]
    fn spans_on_their_way_when_the_command_ends_are_waited_for() {
        let patience = format!("{}s", PATIENCE.as_secs());
        let output = run(&["--drain", &patience], &sender("late"));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains("longpole  support-agent"), "{}", stderr(&output));
    }

    #[test]
    fn a_process_that_stays_is_not_waited_for_longer_than_asked() {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            longpole(folder.path(), &[&["run", "--drain", "50ms", "--"], &sender("stays")[..]].concat())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
        // What stays of it ends with its standard input.
        let input = process.stdin.take();
        assert_eq!(process.wait().unwrap().code(), Some(0));
        drop(input);
        let mut told = String::new();
        process.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(told.starts_with("note: something still had a connection 50ms after"), "{told}");
        assert!(told.contains("longpole  support-agent"), "{told}");
    }
}

#[test]
fn gates_count_when_the_command_succeeded_and_are_told_with_the_report() {
    let output = run(&["--fail-if", "wall>2s", "--fail-if", "cost>$1"], &sender("agent"));
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let gates = stderr(&output).split("Gates   ").nth(1).unwrap();
    let gates = gates.split("\n\n  more  ").next().unwrap();
    assert_eq!(gates, "1 failed, 1 passed\n\n  FAILED   wall>2s  3.02 s\n  passed   cost>$1  $0.0115");
    let output = run(&["--fail-if", "wall>4s"], &sender("agent"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // A command that failed has its own status, unless it is not asked for.
    let output = run(&["--fail-if", "wall>2s"], &sender("agent-exit-7"));
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let output = run(&["--exit-code", "gate", "--fail-if", "wall>2s"], &sender("agent-exit-7"));
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    // Quiet or not, why it failed is told; repetitions are held against it together.
    let output = run(&["-q", "-n", "2", "--fail-if", "wall>2s", "--fail-if", "wall>4s"], &sender("agent"));
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).ends_with("\nFAILED   wall>2s  3.02 s\n"), "{}", stderr(&output));
}

#[test]
fn a_mistake_in_a_gate_is_told_before_the_command_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("budgets.toml");
    fs::write(&file, "wal = \"2s\"\n").unwrap();
    let output = run(&["--budget", file.to_str().unwrap()], &["sh", "-c", "echo ran"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    assert!(stderr(&output).contains("line 1: no limit \"wal\""), "{}", stderr(&output));
}
