//! The page on continuous integration: its file of limits and its steps, as they stand there.

#![cfg(unix)]

#[path = "support/sender.rs"]
#[allow(dead_code, reason = "shared by test files that each use a part")]
mod sender;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const PAGE: &str = include_str!("../../docs/ci.md");

/// The part of this test program that sends, as a command does.
#[test]
fn sends_spans_if_it_was_started_for_that() {
    sender::as_sender();
}

/// What stands between the fences of a language.
fn fenced(language: &str) -> &'static str {
    let start = PAGE.find(&format!("```{language}\n")).unwrap() + language.len() + 4;
    &PAGE[start..start + PAGE[start..].find("```").unwrap()]
}

/// The scripts of the steps, by name.
fn steps() -> Vec<(&'static str, String)> {
    let mut steps = Vec::new();
    for step in fenced("yaml").split("      - ").skip(1) {
        let name = step.lines().next().unwrap();
        let Some(script) = step.split_once("run: |\n") else { continue };
        let lines = script.1.lines().map_while(|line| line.strip_prefix("          "));
        steps.push((name.strip_prefix("name: ").unwrap(), lines.collect::<Vec<_>>().join("\n")));
    }
    steps
}

fn program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A clone with a base branch, a program, and `gh` as one that keeps what it is given.
struct Job {
    folder: tempfile::TempDir,
}

impl Job {
    fn new() -> Option<Job> {
        let job = Job { folder: tempfile::tempdir().unwrap() };
        for folder in ["work", "bin"] {
            fs::create_dir(job.folder.path().join(folder)).unwrap();
        }
        let words = sender::sender("pipeline");
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        program(
            &job.folder.path().join("work/pipeline.sh"),
            &format!("exec {} > /dev/null", words.join(" ")),
        );
        fs::write(job.folder.path().join("work/budgets.toml"), fenced("toml")).unwrap();
        program(&job.folder.path().join("bin/gh"), "echo \"$@\" > ../gh.txt\ncp comment.md ../posted.md");
        let made = "git init -q -b main . && git add . && \
                    git -c user.name=a -c user.email=a@example.com commit -qm base && \
                    git update-ref refs/remotes/origin/main HEAD";
        match job.run(made) {
            Some(output) => {
                assert!(output.status.success(), "{output:?}");
                Some(job)
            }
            None => None,
        }
    }

    /// Runs a script as a step does; `None` where there is no git.
    fn run(&self, script: &str) -> Option<Output> {
        let longpole = Path::new(env!("CARGO_BIN_EXE_longpole")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        if !path.split(':').any(|folder| Path::new(folder).join("git").is_file()) {
            return None;
        }
        let mut command = Command::new("sh");
        command.args(["-e", "-c", script]).current_dir(self.folder.path().join("work"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
            command.env_remove(name);
        }
        let bin = self.folder.path().join("bin");
        command.env("PATH", format!("{}:{}:{path}", bin.display(), longpole.display()));
        command.env("LONGPOLE_STORE", self.folder.path().join("work/runs.db")).env("LC_ALL", "C.UTF-8");
        command.env("GITHUB_BASE_REF", "main").env("GITHUB_HEAD_REF", "branch");
        Some(command.output().unwrap())
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
#[allow(clippy::print_stderr, reason = "says that it was skipped")]
fn the_steps_of_the_page_do_what_it_says() {
    let Some(job) = Job::new() else {
        eprintln!("skipped: there is no git");
        return;
    };
    let steps = steps();
    let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Run the base", "Run the pull request", "Compare", "Comment"]);
    let ended: Vec<(Option<i32>, String)> = steps
        .iter()
        .map(|(_, script)| {
            let output = job.run(script).unwrap();
            (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
        })
        .collect();
    let codes: Vec<Option<i32>> = ended.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [Some(0), Some(0), Some(3), Some(0)], "{ended:#?}");
    let [_, (_, new), (_, compared), _] = &ended[..] else { panic!("{ended:?}") };
    for gate in ["wall>2s", "node(load).p95>1.8s", "node(load).share>95%", "errors>0"] {
        assert!(new.lines().any(|line| line.starts_with(&format!("passed   {gate} "))), "{new}");
    }
    assert!(compared.starts_with("FAILED   wall>+10%  +"), "{compared}");
    let posted = fs::read_to_string(job.folder.path().join("posted.md")).unwrap();
    assert!(posted.starts_with("<!-- longpole:nightly -->\n### 🔴 gate failed: `nightly` is "), "{posted}");
    assert!(posted.contains(" slower (+"), "{posted}");
    assert!(posted.contains("| wall, median of 10 |"), "{posted}");
    assert!(posted.contains("| `load` |"), "{posted}");
    assert_eq!(
        fs::read_to_string(job.folder.path().join("gh.txt")).unwrap(),
        "pr comment branch --body-file comment.md --edit-last --create-if-none\n"
    );
    // The last run against those before it: ten of the base and nine as slow as it is.
    let alone = job.run(fenced("sh")).unwrap();
    let (told, code) = (text(&alone.stdout), alone.status.code());
    assert_eq!(code, Some(3), "{alone:?}");
    let starts = ["FAILED   wall>+10% ", "FAILED   node(load).total>+20% ", "passed   quality<medium "];
    assert!(told.lines().zip(starts).all(|(line, start)| line.starts_with(start)), "{told}");
}
