//! `compare`, `whatif`, `check`, `explain` and `--fail-if`: what they print, and how they end.

#![allow(missing_docs, reason = "a test")]

#[path = "support/made_trace.rs"]
#[allow(dead_code, reason = "shared by test files that each use a part")]
mod made_trace;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use made_trace::{Noise, Spans};

/// A folder with a file of ten runs before a change (1 s) and one of ten after it, in which `draft` takes so much longer.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(slower_ms: u64) -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        place.write("before.jsonl", &runs("1.8.1", 0, 10));
        place.write("after.jsonl", &runs("1.8.2", slower_ms, 10));
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
        command.args(args).env_clear().env("LC_ALL", "C.UTF-8").env("HOME", self.folder.path());
        command.current_dir(self.folder.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// What a command prints on standard output and with which status it ends.
    fn told(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn runs(version: &str, slower_ms: u64, count: u64) -> String {
    let run = |number: u64| {
        let mut noise = Noise::new(number);
        let draft = noise.around(600) + slower_ms;
        let mut run = Spans::of_run("desk", version, "desk", number);
        run.model("draft", &[], 0, draft, ["gpt-5-mini", "1000", "200"], "0.02");
        run.add("plan", draft, draft + 400).kind("cpu");
        run.end(draft + 400).into_line()
    };
    (0..count).map(run).collect()
}

#[test]
fn two_sets_of_runs_are_compared_and_the_slower_ones_fail() {
    let place = Place::new(300);
    let (status, told) = place.told(&[
        "compare",
        "before.jsonl",
        "after.jsonl",
        "--fail-if",
        "wall>+10%",
        "--fail-if",
        "cost>+1%",
    ]);
    assert_eq!(status, Some(3));
    insta::assert_snapshot!(told);
    let (status, told) = place.told(&["compare", "after.jsonl", "before.jsonl", "--fail-if", "wall>+10%"]);
    assert_eq!(status, Some(0));
    assert!(told.starts_with("desk is 300 ms faster"), "{told}");
    // Less than a third is no effect that was asked for.
    let (_, told) = place.told(&["compare", "before.jsonl", "after.jsonl", "--min-effect", "50%"]);
    assert!(told.lines().next().unwrap().ends_with("no change that matters."), "{told}");
}

#[test]
fn a_change_within_noise_passes_and_contributions_add_up() {
    let place = Place::new(20);
    let (status, json) =
        place.told(&["compare", "before.jsonl", "after.jsonl", "--fail-if", "wall>+1%", "--format", "json"]);
    assert_eq!(status, Some(0), "{json}");
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["gates"][0]["reason"]["kind"], "within_noise");
    let changes = told["contributions"].as_array().unwrap();
    let sum: i64 = changes.iter().map(|row| row["change_ns"].as_i64().unwrap()).sum();
    assert_eq!(sum, told["wall"]["change_ns"].as_i64().unwrap());
    assert_eq!(sum, 20_000_000);
}

#[test]
fn what_is_written_to_files_says_on_standard_error_which_gates_failed() {
    let place = Place::new(300);
    let output = place.run(&[
        "compare",
        "before.jsonl",
        "after.jsonl",
        "--fail-if",
        "wall>1h",
        "--fail-if",
        "wall>+10%",
        "-o",
        "a.md",
        "-o",
        "a.json",
        "-o",
        "a.txt",
    ]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), ""));
    assert_eq!(text(&output.stderr), "passed   wall>1h    1.30 s\nFAILED   wall>+10%  +30%\n");
    let [md, json, txt] =
        ["a.md", "a.json", "a.txt"].map(|name| fs::read_to_string(place.path(name)).unwrap());
    assert!(md.contains("gate failed: `desk` is 300 ms slower"), "{md}");
    assert!(json.starts_with("{\n"), "{json}");
    assert!(txt.contains("FAILED   wall>+10%"), "{txt}");
    let (status, told) = place.told(&["compare", "before.jsonl", "after.jsonl", "-o", "a.pdf"]);
    assert_eq!(status, Some(2), "{told}");
    let (status, told) = place.told(&["compare", "before.jsonl", "nowhere.jsonl"]);
    assert!(matches!(status, Some(1 | 4)), "{told}");
}

#[test]
fn a_run_is_replayed_with_changes() {
    let place = Place::new(0);
    place.write("one.jsonl", &runs("1.8.1", 0, 1));
    let (status, told) =
        place.told(&["whatif", "one.jsonl", "--set", "draft=2x", "--model", "*=openai/gpt-5-nano"]);
    assert_eq!(status, Some(0), "{told}");
    insta::assert_snapshot!(told);
    let (_, json) = place.told(&["whatif", "one.jsonl", "--remove", "plan", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["time"]["saves_ns"], 400_000_000);
    assert_eq!(json["changes"][0]["change"], "remove");
    let (status, told) = place.told(&["whatif", "one.jsonl", "--set", "drafft=2x"]);
    assert_eq!(status, Some(4));
    assert!(told.contains("did you mean draft?"), "{told}");
    for (wrong, status) in [
        (&["whatif", "one.jsonl"][..], 2),
        (&["whatif", "one.jsonl", "--parallel", "draft"], 2),
        (&["whatif", "one.jsonl", "--set", "draft=fast"], 2),
        (&["whatif", "one.jsonl", "--set", "draft.limit=0"], 2),
        (&["whatif", "one.jsonl", "--set", "draft=6"], 2),
        (&["whatif", "one.jsonl", "--model", "draft"], 2),
        (&["whatif", "after.jsonl", "--set", "draft=2x"], 2),
    ] {
        let (ended, told) = place.told(wrong);
        assert_eq!(ended, Some(status), "{wrong:?} {told}");
        assert!(told.starts_with("error: "), "{told}");
    }
}

#[test]
fn a_check_is_a_line_for_each_gate() {
    let place = Place::new(0);
    place.write("one.jsonl", &runs("1.8.1", 0, 1));
    let gates = ["wall>2s", "node(draft).p95>500ms", "cost>$0.02", "wall>+10%", "node(drafft).cost>$1"];
    let args: Vec<&str> =
        ["check", "one.jsonl"].into_iter().chain(gates.iter().flat_map(|gate| ["--fail-if", gate])).collect();
    let (status, told) = place.told(&args);
    assert_eq!(status, Some(3));
    insta::assert_snapshot!(told);
    assert_eq!(place.told(&["check", "one.jsonl", "--fail-if", "wall>2s"]).0, Some(0));
    assert_eq!(place.told(&["check", "one.jsonl"]).0, Some(2));
    let (status, told) = place.told(&["check", "one.jsonl", "--fail-if", "wall > 2 parsecs"]);
    assert_eq!(status, Some(2));
    assert!(told.contains("at character 8: expected a time"), "{told}");
    // What is usual comes from a file.
    let usual =
        ["check", "one.jsonl", "--history", "after.jsonl", "--fail-if", "wall>+10%", "--format", "json"];
    let (status, json) = place.told(&usual);
    assert_eq!(status, Some(0), "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["passed"], &json["workflow"]), (&true.into(), &"desk".into()));
    assert!(json["gates"][0]["actual_change_ratio"].is_f64(), "{json}");
}

#[test]
fn limits_come_from_a_file() {
    let place = Place::new(0);
    place.write(
        "budgets.toml",
        "errors = 0\n[workflow.desk]\nwall = \"2s\"\n[workflow.desk.node.draft]\nsla = \"100ms\"\n",
    );
    let (status, told) = place.told(&["check", "after.jsonl", "--budget", "budgets.toml"]);
    assert_eq!(status, Some(3));
    assert!(told.contains("passed   errors>0") && told.contains("FAILED   node(draft).avg>100ms"), "{told}");
    place.write("wrong.toml", "[workflow.desk]\nwall = \"2s\"\nwal = \"3s\"\n");
    let (status, told) = place.told(&["check", "after.jsonl", "--budget", "wrong.toml"]);
    assert_eq!(status, Some(1));
    assert!(
        told.starts_with("error: wrong.toml, line 3: no limit \"wal\", did you mean wall?; allowed: wall, "),
        "{told}"
    );
    place.write("other.toml", "[workflow.other]\nwall = \"2s\"\n");
    let (status, told) = place.told(&["check", "after.jsonl", "--budget", "other.toml"]);
    assert_eq!(status, Some(4));
    assert!(told.contains("help: it has limits for other"), "{told}");
}

#[test]
fn a_report_tells_its_gates_in_every_format() {
    let place = Place::new(0);
    place.write("one.jsonl", &runs("1.8.1", 0, 1));
    let (status, told) =
        place.told(&["show", "one.jsonl", "--fail-if", "wall>500ms", "--fail-if", "retries>0"]);
    assert_eq!(status, Some(3));
    assert!(told.contains("Gates   1 failed, 1 passed\n"), "{told}");
    let (status, json) = place.told(&["show", "one.jsonl", "--fail-if", "retries>0", "--format", "json"]);
    assert_eq!(status, Some(0));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["gates"][0]["passed"], true);
    let output = place.run(&[
        "show",
        "after.jsonl",
        "--fail-if",
        "wall>500ms",
        "--fail-if",
        "errors>0",
        "-o",
        "x.json",
    ]);
    assert_eq!((output.status.code(), text(&output.stderr).lines().count()), (Some(3), 10));
    // More runs than are told one by one are held against the gates together.
    let output = place.run(&["show", "after.jsonl", "--fail-if", "wall>500ms"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
}

#[test]
fn what_there_is_to_explain_is_explained() {
    let place = Place::new(0);
    let (status, told) = place.told(&["explain", "lp103"]);
    assert_eq!(status, Some(0));
    insta::assert_snapshot!(told);
    assert_eq!(place.told(&["explain", "critical", "path"]).0, Some(0));
    assert_eq!(place.told(&["explain"]).0, Some(0));
    let (status, told) = place.told(&["explain", "slak"]);
    assert_eq!(status, Some(4));
    assert!(told.contains("help: there is: slack"), "{told}");
}
