//! How the tool behaves at its edges, whatever the command: help, errors, pipes, options, configuration, completions.

#![allow(missing_docs, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn agent() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/support_agent.otlp.json");
    path.to_str().unwrap().to_owned()
}

/// Below its own folder, where it keeps its runs and finds no configuration but its own.
fn longpole(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
    command.args(args).env_clear().env("LC_ALL", "C.UTF-8").env("HOME", home).current_dir(home);
    command.stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    let home = TempDir::new().unwrap();
    longpole(home.path(), args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The names of all commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = run(&["-h"]);
    let lines = stdout(&help).lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names = lines.take_while(|line| line.starts_with("  ")).filter(|line| !line.starts_with("   "));
    let names: Vec<String> =
        names.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect();
    assert!(names.len() >= 10, "{names:?}");
    names
}

#[test]
fn alone_it_says_what_it_is_for_and_three_things_to_type() {
    let output = run(&[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_eq!(stdout(&output).lines().filter(|line| line.starts_with("  longpole ")).count(), 3);
    assert!(stdout(&output).ends_with("longpole --help\n"));
}

#[test]
fn the_short_help_of_a_command_is_short_and_the_long_one_has_examples() {
    for command in commands() {
        let (short, long) = (run(&[&command, "-h"]), run(&[&command, "--help"]));
        assert_eq!((short.status.code(), long.status.code()), (Some(0), Some(0)), "{command}");
        assert!(!stdout(&short).contains("Examples:"), "{command}");
        assert!(
            stdout(&long).contains(&format!("Examples:\n  longpole {command}"))
                || stdout(&long).contains("Examples:\n  echo"),
            "{command}"
        );
    }
}

#[test]
fn every_command_takes_the_global_options() {
    for command in commands() {
        let output = run(&[
            &command, "--store", "runs.db", "--color", "never", "--ascii", "--width", "72", "--config", "",
            "-q", "-h",
        ]);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{command}");
    }
}

#[test]
fn wrong_usage_is_told_like_any_error_with_what_is_near_and_status_2() {
    let told = |args: &[&str]| {
        let output = run(args);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{args:?}");
        stderr(&output).to_owned()
    };
    insta::assert_snapshot!(told(&["show", "--fromat", "json"]), @r"
    error: unexpected argument '--fromat' found
    help: a similar argument exists: '--format'
          usage: longpole show --format <FORMAT> [RUN]
          all options: longpole show --help
    ");
    insta::assert_snapshot!(told(&["shwo"]), @r"
    error: unrecognized subcommand 'shwo'
    help: a similar subcommand exists: 'show'
          usage: longpole [OPTIONS] [COMMAND]
          all options: longpole --help
    ");
    insta::assert_snapshot!(told(&["ls", "--sort", "wal"]), @r"
    error: invalid value 'wal' for '--sort <SORT>' [possible values: start, wall, cost]
    help: a similar value exists: 'wall'
          all options: longpole ls --help
    ");
    insta::assert_snapshot!(told(&["import"]), @r"
    error: the following required arguments were not provided: <FILE>...
    help: usage: longpole import <FILE>...
          all options: longpole import --help
    ");
    insta::assert_snapshot!(told(&["show", "--width", "wide"]), @r"
    error: invalid value 'wide' for '--width <COLUMNS>': invalid digit found in string
    help: all options: longpole show --help
    ");
    let hostile = told(&["show", "--\u{1b}[2Jx"]);
    assert!(!hostile.contains('\u{1b}'), "{hostile:?}");
}

#[test]
fn each_exit_status_has_its_meaning() {
    let status = |args: &[&str]| run(args).status.code();
    assert_eq!(status(&["show", &agent()]), Some(0));
    assert_eq!(status(&["show", "/no/such/file.json"]), Some(1));
    assert_eq!(status(&["show", "--no-such-option"]), Some(2));
    assert_eq!(status(&["check", &agent(), "--fail-if", "wall>1s"]), Some(3));
    assert_eq!(status(&["check", &agent(), "--fail-if", "wall>1h"]), Some(0));
    assert_eq!(status(&["show", "no-such-run"]), Some(4));
    assert_eq!(status(&["run", "-q", "--", "sh", "-c", "exit 7"]), Some(7));
    assert_eq!(status(&["run", "-q", "--", "true"]), Some(4));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = TempDir::new().unwrap();
    let agent = agent();
    assert!(longpole(home.path(), &["import", &agent]).output().unwrap().status.success());
    for args in [
        &["show", &agent][..],
        &["show", "last", "--format", "json"],
        &["show", &agent, "--format", "html"],
        &["ls"],
        &["ls", "--format", "csv"],
        &["trend", "support-agent"],
        &["demo"],
        &["man"],
        &["--help"],
        &["show", "--help"],
        &["completions", "bash"],
        &["export", "last", "--to", "chrome"],
        &["export", "last", "--to", "otlp"],
        &["show", &agent, "--format", "md"],
        &["show", &agent, "--format", "csv"],
        &["show", &agent, "--style", "lines"],
        &["whatif", "last", "--set", "chat gpt-4o-mini=2x"],
        &["compare", &agent, "last"],
        &["check", &agent, "--fail-if", "wall>1h"],
        &["explain"],
        &["schema"],
        &["schema", "csv"],
        &[],
    ] {
        let mut child =
            longpole(home.path(), args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{args:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error() {
    let home = TempDir::new().unwrap();
    let agent = agent();
    for args in
        [&["show", &agent][..], &["show", &agent, "--format", "json"], &["export", &agent, "--to", "chrome"]]
    {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = longpole(home.path(), args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            stderr(&output).starts_with("error: cannot write to standard output\ncaused by: No space left")
        );
    }
}

#[test]
fn that_text_is_drawn_in_ascii_is_said_once_and_only_where_text_is_drawn() {
    let home = TempDir::new().unwrap();
    let agent = agent();
    let notes = |args: &[&str]| {
        let output = longpole(home.path(), args).env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stderr(&output).matches("the locale is not UTF-8").count()
    };
    assert_eq!(notes(&["show", &agent]), 1);
    assert_eq!(notes(&["show", &agent, "-o", "a.txt", "-o", "b.txt"]), 1);
    assert_eq!(notes(&["demo"]), 1);
    assert_eq!(notes(&["show", &agent, "--format", "json"]), 0);
    assert_eq!(notes(&["show", &agent, "--ascii"]), 0);
    assert_eq!(notes(&["show", &agent, "-q"]), 0);
    assert!(fs::read_to_string(home.path().join("a.txt")).unwrap().is_ascii());
}

#[test]
fn options_are_set_by_the_nearest_file_upwards_and_what_is_typed_goes_before_it() {
    let home = TempDir::new().unwrap();
    let below = home.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    let agent = agent();
    let show = |more: &[&str]| {
        let output =
            longpole(home.path(), &[&["show", &agent], more].concat()).current_dir(&below).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
        stdout(&output).to_owned()
    };
    let plain = show(&[]);
    let narrow = show(&["--width", "60", "--ascii"]);
    assert_ne!(plain, narrow);

    fs::create_dir_all(home.path().join(".config/longpole")).unwrap();
    fs::write(home.path().join(".config/longpole/longpole.toml"), "width = 100\n").unwrap();
    assert_eq!(show(&[]), show(&["--width", "100", "--config", ""]));
    fs::write(home.path().join("a/longpole.toml"), "width = 60\nascii = true\n").unwrap();
    assert_eq!(show(&[]), narrow);
    assert_eq!(show(&["--width", "72"]), show(&["--width", "72", "--ascii", "--config", ""]));
    assert_eq!(show(&["--config", ""]), plain);
    fs::write(below.join("other.toml"), "width = 100\n").unwrap();
    assert_eq!(show(&["--config", "other.toml"]), show(&["--width", "100", "--config", ""]));
}

#[test]
fn the_file_of_runs_that_a_configuration_names_lies_beside_it() {
    let home = TempDir::new().unwrap();
    fs::create_dir_all(home.path().join("team/deep")).unwrap();
    fs::write(home.path().join("team/longpole.toml"), "store = 'runs.db'\n").unwrap();
    let import =
        longpole(home.path(), &["import", &agent()]).current_dir(home.path().join("team/deep")).output();
    assert!(import.unwrap().status.success());
    assert!(home.path().join("team/runs.db").is_file());
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_with_its_name() {
    let home = TempDir::new().unwrap();
    let agent = agent();
    let told = |text: &str| {
        fs::write(home.path().join("longpole.toml"), text).unwrap();
        let output = longpole(home.path(), &["show", &agent, "--config", "longpole.toml"]).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""), "{text}");
        stderr(&output).to_owned()
    };
    insta::assert_snapshot!(told("widht = 100\n"), @r"
    error: cannot read longpole.toml
    caused by: widht is no option that can be set there; near it is width
    help: it holds lines such as width = 100, for options under these headings of --help:
          Global options, How runs are read, What is told
    ");
    insta::assert_snapshot!(told("width = 'wide'\n"), @r"
    error: cannot use longpole.toml
    caused by: invalid value 'wide' for '--width <COLUMNS>': invalid digit found in string
    help: mend the file, or leave it out: --config ''
    ");
    insta::assert_snapshot!(told("output = '/etc/passwd'\n"), @r"
    error: cannot read longpole.toml
    caused by: output is no option that can be set there
    help: it holds lines such as width = 100, for options under these headings of --help:
          Global options, How runs are read, What is told
    ");
    assert!(told("width = \n").contains("error: cannot read longpole.toml\ncaused by: TOML parse error"));
}

/// What fish is offered: values and what is said beside them.
fn offered(home: &Path, words: &[&str]) -> Vec<(String, String)> {
    let mut command = longpole(home, &["--", "longpole"]);
    let output = command.args(words).env("LONGPOLE_COMPLETE", "fish").output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{words:?}");
    let pair = |line: &str| {
        let (value, said) = line.split_once('\t').unwrap_or((line, ""));
        (value.to_owned(), said.to_owned())
    };
    stdout(&output).lines().map(pair).collect()
}

#[test]
fn shells_are_offered_runs_workflows_and_nodes_with_a_word_beside_them() {
    let home = TempDir::new().unwrap();
    assert!(longpole(home.path(), &["import", &agent()]).output().unwrap().status.success());
    let runs = offered(home.path(), &["show", ""]);
    let said = |value: &str| runs.iter().find(|(it, _)| it == value).map(|(_, said)| said.as_str());
    for id in ["last", "5b8efff7"] {
        let said = said(id).unwrap();
        assert!(said.starts_with("support-agent  3.02 s  ") && said.ends_with(" ago"), "{id}: {said}");
    }
    assert_eq!(said("support-agent"), Some("workflow: its latest run"));
    assert_eq!(offered(home.path(), &["show", "support-agent@"])[0].0, "support-agent@2.1.0");
    assert_eq!(offered(home.path(), &["trend", "sup"])[0].0, "support-agent");
    let slas: Vec<String> =
        offered(home.path(), &["show", "--sla", "execute"]).into_iter().map(|it| it.0).collect();
    assert_eq!(slas, ["execute_tool refund_policy=", "execute_tool search_orders="]);
    assert!(offered(home.path(), &["show", "--format", "j"]).iter().any(|(value, _)| value == "json"));
    assert!(offered(home.path(), &["comp"]).iter().any(|(value, _)| value == "completions"));

    // Without runs there is nothing to offer, and nothing is made.
    let empty = TempDir::new().unwrap();
    assert!(offered(empty.path(), &["trend", ""]).iter().all(|(value, _)| value.starts_with('-')));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn each_shell_gets_a_script_that_asks_this_program() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{shell}");
        assert!(stdout(&output).contains("LONGPOLE_COMPLETE"), "{shell}");
    }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let home = TempDir::new().unwrap();
    let output = longpole(home.path(), &["man", "--out", "pages/man1"]).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let mut wanted: Vec<String> = commands().iter().map(|command| format!("longpole-{command}.1")).collect();
    wanted.push("longpole.1".to_owned());
    for page in &wanted {
        let text = fs::read_to_string(home.path().join("pages/man1").join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains("Examples:"), "{page}");
    }
    assert_eq!(fs::read_dir(home.path().join("pages/man1")).unwrap().count(), wanted.len());
    let one = longpole(home.path(), &["man"]).output().unwrap();
    assert_eq!(stdout(&one), fs::read_to_string(home.path().join("pages/man1/longpole.1")).unwrap());
}
