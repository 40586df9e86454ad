//! Runs that are kept: how they get there, how they are found again, what is told of them, and how they go.

#![allow(missing_docs, reason = "a test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const AGENT: &str = "support_agent.otlp.json";

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// A history of its own.
struct History {
    folder: tempfile::TempDir,
}

impl History {
    fn new() -> Self {
        History { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("longpole/runs.db")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
        command.args(args).env_clear().env("LC_ALL", "C.UTF-8").env("XDG_STATE_HOME", self.folder.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// Keeps runs of `desk`; the later ones started later.
    fn with_runs(count: u64, draft_ms: impl Fn(u64) -> u64) -> Self {
        let history = History::new();
        for run in 1..=count {
            history.keep("desk", run, draft_ms(run), &[]);
        }
        history
    }

    fn keep(&self, workflow: &str, number: u64, draft_ms: u64, more: &[&str]) {
        let output = self.run_with(&[&["import", "-"], more].concat(), &trace(workflow, number, draft_ms));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A run of `fetch`, 100 ms, and then `draft`, as OTLP JSON. Its version is 1 or, from the seventh run on, 2.
fn trace(workflow: &str, number: u64, draft_ms: u64) -> Vec<u8> {
    // 2026-11-01 00:00 UTC, and an hour between runs.
    let start = 1_793_491_200_000 + number * 3_600_000;
    let span = |id: u64, parent: &str, attributes: &str, from: u64, to: u64| {
        format!(
            r#"{{"traceId":"{:016x}{number:016x}","spanId":"{id:016x}",{parent}"name":"s{id}","startTimeUnixNano":"{from}000000","endTimeUnixNano":"{to}000000","attributes":[{attributes}]}}"#,
            number * 0x1000_0000_0000_0000,
        )
    };
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let text =
        |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{{"stringValue":{}}}}}"#, quoted(value));
    let below = r#""parentSpanId":"0000000000000001","#;
    let version = if number < 7 { "1" } else { "2" };
    let root = text("longpole.workflow.name", workflow) + "," + &text("longpole.workflow.version", version);
    let cost = r#"{"key":"longpole.cost.usd","value":{"doubleValue":0.25}}"#.to_owned();
    let spans = [
        span(1, "", &root, start, start + 100 + draft_ms),
        span(2, below, &text("longpole.node.id", "fetch"), start, start + 100),
        span(
            3,
            below,
            &(text("longpole.node.id", "draft") + "," + &cost),
            start + 100,
            start + 100 + draft_ms,
        ),
    ];
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(",")).into_bytes()
}

/// A report without its last line, which names the run as it was asked for.
fn without_next_step(page: &str) -> &str {
    page.split("\n  more  longpole show ").next().unwrap()
}

#[test]
fn what_was_imported_is_shown_as_its_file_is() {
    let history = History::new();
    let file = data(AGENT);
    let file = file.to_str().unwrap();
    let imported = history.run(&["import", file]);
    assert_eq!(stdout(&imported), format!("{file}: 1 run kept\n"));
    let of_file = history.run(&["show", file]);
    for name in ["last", "support-agent", "support-agent@2.1.0", "5b8efff7", "5B8E", "last~0"] {
        let shown = history.run(&["show", name]);
        let next = "\n  more  longpole show 5b8efff7 --all\n";
        let expected = without_next_step(stdout(&of_file)).to_owned() + next;
        assert_eq!((stdout(&shown), stderr(&shown)), (&*expected, ""), "{name}");
        assert_eq!(shown.status.code(), Some(0));
    }
    assert_eq!(stdout(&history.run(&["show"])), stdout(&history.run(&["show", "last"])));
    let json = history.run(&["show", "last", "--format", "json"]);
    assert_eq!(stdout(&json), stdout(&history.run(&["show", file, "--format", "json"])));
    let again = history.run(&["import", file]);
    assert_eq!(stdout(&again), format!("{file}: 0 runs kept, 1 run kept anew\n"));
}

#[test]
fn a_trial_import_keeps_nothing_and_a_workflow_without_a_name_gets_one() {
    let history = History::new();
    let trial = history.run_with(&["import", "-", "--dry-run"], &trace("desk", 1, 300));
    assert_eq!(stdout(&trial), "standard input: 1 run would be kept\n");
    assert!(!history.path().exists());
    let unnamed =
        String::from_utf8(trace("desk", 1, 300)).unwrap().replace("longpole.workflow.name", "other");
    history.run_with(&["import", "-", "--workflow", "nightly"], unnamed.as_bytes());
    let list = history.run(&["ls", "--format", "csv"]);
    assert!(stdout(&list).contains(",nightly,1,ok,"), "{}", stdout(&list));
    assert!(stdout(&history.run(&["show", "nightly"])).starts_with("longpole  nightly  run "));
    let nothing = history.run_with(&["import", "-"], b"{\"resourceSpans\":[]}");
    assert_eq!(nothing.status.code(), Some(4));
    assert_eq!(history.run(&["import", "no-such-file.json"]).status.code(), Some(1));
    assert_eq!(history.run(&["import"]).status.code(), Some(2));
}

#[test]
fn earlier_runs_say_what_is_usual_by_themselves_and_a_session_has_its_own() {
    let history = History::with_runs(7, |run| 296 + run);
    history.keep("desk", 8, 400, &["--label", "session=8"]);
    let shown = history.run(&["show"]);
    assert!(
        stdout(&shown).contains("LP102 slower than usual: took 400 ms, 33% more than the median of 7"),
        "{}",
        stdout(&shown)
    );
    // The run before it is compared with those before it only.
    assert!(!stdout(&history.run(&["show", "last~1"])).contains("LP102"));
    let session = history.run(&["show", "--label", "session=8"]);
    assert!(
        stdout(&session).contains("400 ms") && !stdout(&session).contains("LP102"),
        "{}",
        stdout(&session)
    );
    assert_eq!(history.run(&["show", "--label", "session=9"]).status.code(), Some(4));
    assert_eq!(history.run(&["show", "--label", "session"]).status.code(), Some(2));
    let all_of_a_version = history.run(&["show", "desk@2", "--each", "--format", "json"]);
    let reports: Vec<longpole::Report> = serde_json::from_slice(&all_of_a_version.stdout).unwrap();
    assert_eq!(
        reports.iter().map(|report| report.run.wall_ns.as_nanos() / 1_000_000).collect::<Vec<_>>(),
        [500, 403]
    );
}

#[test]
fn names_that_mean_nothing_are_told_with_what_is_near_and_exit_status_4() {
    let empty = History::new();
    let output = empty.run(&["show"]);
    let path = empty.path();
    assert_eq!(
        stderr(&output),
        format!(
            "error: no run, workflow or file last: no runs are kept yet in {}\n\
             help: record one: longpole run -- CMD, or longpole import FILE; what is there: longpole ls\n",
            path.display()
        )
    );
    assert_eq!((output.status.code(), stdout(&output)), (Some(4), ""));
    assert!(!path.exists(), "looking makes no file");
    for args in [&["ls"][..], &["trend", "desk"], &["prune", "--keep", "1"]] {
        assert_eq!(empty.run(args).status.code(), Some(4), "{args:?}");
    }

    let history = History::with_runs(2, |_| 300);
    for (name, near) in [("dask", "desk"), ("desk@3", "desk@1"), ("desc", "desk")] {
        let output = history.run(&["show", name]);
        assert_eq!(output.status.code(), Some(4));
        let told = stderr(&output);
        assert!(
            told.starts_with(&format!("error: no run, workflow or file {name}\nhelp: there is: ")),
            "{told}"
        );
        assert!(told.contains(near), "{told}");
    }
    let nowhere = history.run(&["show", "xyz"]);
    assert!(stderr(&nowhere).contains("for a file give its path"), "{}", stderr(&nowhere));
    let beyond = history.run(&["show", "last~2"]);
    assert_eq!(beyond.status.code(), Some(4));
    assert!(stderr(&beyond).starts_with("error: no run last~2: 2 runs are kept in "), "{}", stderr(&beyond));
    let hostile = history.run(&["show", "\u{1b}[2J"]);
    assert!(!stderr(&hostile).contains('\u{1b}') && hostile.status.code() == Some(4));
}

#[test]
fn the_beginning_of_an_id_that_several_runs_have_lists_them() {
    let history = History::with_runs(1, |_| 300);
    let twin = String::from_utf8(trace("other", 1, 300)).unwrap();
    let twin = twin.replace("10000000000000000000000000000001", "10000000000000000000000000000002");
    assert_eq!(history.run_with(&["import", "-"], twin.as_bytes()).status.code(), Some(0));
    let output = history.run(&["show", "1000"]);
    assert_eq!(output.status.code(), Some(4));
    insta::assert_snapshot!(stderr(&output), @r"
    error: several runs begin with 1000
    help: give more of the id:
      10000000000000000000000000000002-0000000000000001  other  2026-11-01T01:00:00.000Z
      10000000000000000000000000000001-0000000000000001  desk  2026-11-01T01:00:00.000Z
    ");
    assert_eq!(history.run(&["show", "10000000000000000000000000000002"]).status.code(), Some(0));
}

#[test]
fn a_list_of_runs_has_a_row_for_each_and_what_is_asked_for() {
    let history = History::with_runs(3, |run| 300 + run % 3);
    history.keep(
        "a-workflow-whose-name-does-not-fit-into-any-column-of-a-list",
        4,
        61_000,
        &["--label", "session=4"],
    );
    let list = history.run(&["ls", "--width", "80"]);
    insta::assert_snapshot!(stdout(&list), @r"
id        workflow                   started (UTC)       wall     cost  status
40000000  a-workflow-w…mn-of-a-list  2026-11-01 04:00  1m 01s  $0.2500  ok
30000000  desk                       2026-11-01 03:00  400 ms  $0.2500  ok
20000000  desk                       2026-11-01 02:00  402 ms  $0.2500  ok
10000000  desk                       2026-11-01 01:00  401 ms  $0.2500  ok
");
    let ascii = history.run(&["ls", "--ascii", "--limit", "1", "--width", "60"]);
    insta::assert_snapshot!(stdout(&ascii), @r"
id        workflow        started (UTC)       wall  status
40000000  a-work...-list  2026-11-01 04:00  1m 01s  ok
... and 3 more: --limit
");
    let ids = |args: &[&str]| {
        let output = history.run(&[&["ls", "--format", "json"], args].concat());
        let list: longpole::run_list::RunList = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(list.schema, "longpole.ls/1");
        list.runs.iter().map(|run| run.id[..1].to_owned()).collect::<String>()
    };
    assert_eq!(ids(&[]), "4321");
    assert_eq!(ids(&["--sort", "wall"]), "4213", "402, 401 and 400 ms");
    assert_eq!(ids(&["--workflow", "desk", "--limit", "2"]), "32");
    assert_eq!(ids(&["--label", "session=4"]), "4");
    assert_eq!(ids(&["--since", "2026-11-01T03:00:00Z"]), "43");
    assert_eq!(ids(&["--status", "ok", "--sort", "cost"]), "4321");
    assert_eq!(history.run(&["ls", "--status", "error"]).status.code(), Some(4));
    assert_eq!(history.run(&["ls", "--since", "yesterday"]).status.code(), Some(2));
    let csv = history.run(&["ls", "--format", "csv", "--label", "session=4"]);
    insta::assert_snapshot!(stdout(&csv), @r"
run_id,workflow,version,status,started_at,wall_ms,cost_usd,spans,errors,longest_node,labels
40000000000000000000000000000004-0000000000000001,a-workflow-whose-name-does-not-fit-into-any-column-of-a-list,1,ok,2026-11-01T04:00:00.000Z,61100.000,0.25,3,0,draft,session=4
");
}

#[test]
fn hostile_names_are_inert_in_every_list() {
    let history = History::new();
    for (at, name) in
        ["\u{1b}[31mred", "=cmd()|' /C calc'!A0", "a\nb\u{202e}c", "<script>", "x\u{0}y"].iter().enumerate()
    {
        history.keep(name, 1 + at as u64, 300, &["--label", "k=\u{1b}]0;title\u{7}"]);
    }
    for args in [&["ls"][..], &["ls", "--ascii", "--width", "200"], &["show"], &["trend", "\u{1b}[31mred"]] {
        let output = history.run(args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = stdout(&output);
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{0}', '\u{7}']), "{text}");
    }
    let list = history.run(&["ls"]);
    assert_eq!(stdout(&list).lines().count(), 6, "{}", stdout(&list));
    let csv = history.run(&["ls", "--format", "csv"]);
    assert!(stdout(&csv).contains(",'=cmd()|' /C calc'!A0,"), "{}", stdout(&csv));
    let trend = history.run(&["trend", "=cmd()|' /C calc'!A0", "--format", "csv"]);
    assert_eq!(trend.status.code(), Some(0));
}

#[test]
fn a_trend_tells_from_which_run_on_a_figure_was_another() {
    let history = History::with_runs(12, |run| if run < 7 { 300 + run % 3 } else { 400 + run % 3 });
    let trend =
        history.run(&["trend", "desk", "--metric", "wall,draft", "--by", "version", "--simple-regression"]);
    insta::assert_snapshot!(stdout(&trend), @r"
longpole  desk                                               12 runs, 2026-11-01

  wall    ▁▁▁▁▁▁██████
    latest 500 ms, usual 402 ms (+24%); more than chance explains
    changed with run 70000000 (v2) of 2026-11-01 07:00: 401 ms → 501 ms (+25%)
    regressed: the latest runs are on a worse level than those before
    by the rule of more than 20%: no regression: ±0% against the run before
    v1: median 401 ms, 400 ms to 402 ms, 6 runs
    v2: median 501 ms, 500 ms to 502 ms, 6 runs

  draft   ▁▁▁▁▁▁██████
    latest 400 ms, usual 302 ms (+32%); more than chance explains
    changed with run 70000000 (v2) of 2026-11-01 07:00: 301 ms → 401 ms (+33%)
    regressed: the latest runs are on a worse level than those before
    by the rule of more than 20%: no regression: ±0% against the run before
    v1: median 301 ms, 300 ms to 302 ms, 6 runs
    v2: median 401 ms, 400 ms to 402 ms, 6 runs

  longest on the path
    draft in 12 runs, also the latest
");
    let ascii = history.run(&["trend", "desk", "--ascii", "--last", "4", "--metric", "cost"]);
    insta::assert_snapshot!(stdout(&ascii), @r"
longpole  desk                                                4 runs, 2026-11-01

  cost    ====
    latest $0.2500, usual $0.2500 (+-0%)

  longest on the path
    draft in 4 runs, also the latest
");
    let json = history.run(&["trend", "desk", "--format", "json"]);
    let told: longpole::trend::Trend = serde_json::from_slice(&json.stdout).unwrap();
    let wall = &told.metrics[0];
    assert_eq!((wall.metric.as_str(), wall.changes.len(), wall.changes[0].run), ("wall", 1, 6));
    assert!(wall.is_regressed && told.schema == "longpole.trend/1");
    let csv = history.run(&["trend", "desk", "--last", "1", "--format", "csv"]);
    assert_eq!(stdout(&csv).lines().next(), Some("run_id,version,started_at,wall_ms,cost_usd"));
    assert!(stdout(&csv).ends_with(",2,2026-11-01T12:00:00.000Z,500.000,0.25\n"), "{}", stdout(&csv));

    let node = history.run(&["trend", "desk", "--metric", "fetsch"]);
    assert_eq!(node.status.code(), Some(4));
    assert_eq!(
        stderr(&node),
        "error: no run has a node fetsch\nhelp: a metric is wall, cost, or a node: fetch\n"
    );
    let other = history.run(&["trend", "dest"]);
    assert_eq!(stderr(&other), "error: no run of dest is kept\nhelp: there is: desk\n");
}

#[test]
fn pruning_asks_or_is_told_and_says_what_went() {
    let history = History::with_runs(5, |_| 300);
    let trial = history.run(&["prune", "--keep", "2", "--dry-run"]);
    assert!(
        stdout(&trial).starts_with("3 runs would be removed") && stdout(&trial).ends_with(", 2 runs left\n")
    );
    let unasked = history.run(&["prune", "--keep", "2"]);
    assert_eq!(unasked.status.code(), Some(1));
    assert!(stderr(&unasked).contains("help: say that it is meant: --yes"), "{}", stderr(&unasked));
    assert_eq!(stdout(&history.run(&["ls"])).lines().count(), 6);
    let pruned = history.run(&["prune", "--before", "2026-11-01T04:00:00Z", "--yes"]);
    assert!(stdout(&pruned).starts_with("3 runs removed"), "{}", stdout(&pruned));
    assert!(
        stdout(&history.run(&["prune", "--keep", "2"])).starts_with("0 runs would be removed, 2 runs left")
    );
    assert_eq!(history.run(&["prune"]).status.code(), Some(2));
    assert_eq!(history.run(&["prune", "--keep", "1", "--yes", "--dry-run"]).status.code(), Some(2));
}

#[test]
fn limits_come_from_the_environment_and_nonsense_there_is_told() {
    let history = History::new();
    for run in 1..=3 {
        let mut import = history.command(&["import"]);
        import
            .arg(write(history.folder.path(), run))
            .env("LONGPOLE_STORE_RUNS", "2")
            .env("LONGPOLE_STORE_AGE", "soon");
        let output = import.output().unwrap();
        assert_eq!(stderr(&output), "warning: LONGPOLE_STORE_AGE=soon cannot be read and is ignored\n");
        let more = if run == 3 { ", 1 run older removed, as the history is limited\n" } else { "\n" };
        assert!(stdout(&output).ends_with(&format!("1 run kept{more}")), "{}", stdout(&output));
    }
    assert_eq!(stdout(&history.run(&["ls"])).lines().count(), 3);
}

fn write(folder: &Path, run: u64) -> PathBuf {
    let file = folder.join(format!("{run}.json"));
    std::fs::write(&file, trace("desk", run, 300)).unwrap();
    file
}

#[test]
fn a_history_that_cannot_be_used_is_told_with_a_way_out() {
    let history = History::new();
    std::fs::create_dir_all(history.path().parent().unwrap()).unwrap();
    std::fs::write(history.path(), "no database, but long enough to be taken for one; ".repeat(100)).unwrap();
    for args in [&["show"][..], &["ls"], &["trend", "desk"], &["prune", "--keep", "1", "--yes"]] {
        let output = history.run(args);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""), "{args:?}");
        assert!(stderr(&output).starts_with("error: the history "), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("help: move it away and begin a new one: mv '"),
            "{}",
            stderr(&output)
        );
    }
    // Files do not need it.
    let shown = history.run(&["show", data(AGENT).to_str().unwrap()]);
    assert_eq!((shown.status.code(), stderr(&shown)), (Some(0), ""));
    let elsewhere = history.folder.path().join("other.db");
    let elsewhere = elsewhere.to_str().unwrap();
    let imported = history.run(&["import", data(AGENT).to_str().unwrap(), "--store", elsewhere]);
    assert_eq!(imported.status.code(), Some(0), "{}", stderr(&imported));
    assert_eq!(history.run(&["--store", elsewhere, "show"]).status.code(), Some(0));
    let by_variable = history.command(&["ls"]).env("LONGPOLE_STORE", elsewhere).output().unwrap();
    assert_eq!(by_variable.status.code(), Some(0));
    let nowhere = Command::new(env!("CARGO_BIN_EXE_longpole")).arg("ls").env_clear().output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("neither XDG_STATE_HOME nor HOME is set"), "{}", stderr(&nowhere));
}

#[test]
fn work_that_lost_its_context_is_told_of_kept_runs_too() {
    // `lost` has a trace of its own, and fills what `run` waits without a span.
    let trace = |id: u64, name: &str, from: u64, to: u64| {
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{id:032x}","spanId":"{id:016x}","name":"{name}","startTimeUnixNano":"{from}000000","endTimeUnixNano":"{to}000000"}}{}]}}]}}]}}"#,
            match name {
                "run" =>
                    r#",{"traceId":"00000000000000000000000000000001","spanId":"00000000000000aa","parentSpanId":"0000000000000001","name":"part","startTimeUnixNano":"1000000000","endTimeUnixNano":"1100000000"}"#,
                _ => "",
            }
        ) + "\n"
    };
    let file = trace(1, "run", 1_000, 2_000) + &trace(2, "lost", 1_200, 1_900);
    let history = History::new();
    let of_file = history.run_with(&["show", "-", "--each"], file.as_bytes());
    let of_run = stdout(&of_file).split("\n\nlongpole  ").next().unwrap();
    assert!(of_run.contains("lost"), "{of_run}");
    history.run_with(&["import", "-"], file.as_bytes());
    let kept = history.run(&["show", "run"]);
    assert_eq!(without_next_step(stdout(&kept)).trim_end(), of_run.trim_end());
}

#[test]
fn what_lies_around_under_the_name_of_a_run_is_not_taken_for_it() {
    let history = History::with_runs(1, |_| 300);
    let around = tempfile::tempdir().unwrap();
    std::fs::create_dir(around.path().join("desk")).unwrap();
    std::fs::write(around.path().join("last"), "no trace").unwrap();
    std::fs::write(around.path().join("spans"), trace("other", 2, 300)).unwrap();
    let show = |name: &str| history.command(&["show", name]).current_dir(around.path()).output().unwrap();
    for name in ["desk", "last"] {
        assert!(stdout(&show(name)).starts_with("longpole  desk "), "{}", stderr(&show(name)));
    }
    assert!(stdout(&show("spans")).starts_with("longpole  other "), "{}", stderr(&show("spans")));
    assert_eq!(show("./last").status.code(), Some(1));
    assert_eq!(show("./desk").status.code(), Some(1));
}
