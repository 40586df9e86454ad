//! `longpole demo`: every recording shows what it was made for.

use std::process::{Command, Output};

fn demo(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("runs.db");
    let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
    command.arg("demo").args(args).env("LC_ALL", "C.UTF-8").env("LONGPOLE_STORE", &store);
    command.env_remove("COLUMNS").env_remove("CLICOLOR_FORCE").env_remove("LONGPOLE_PRICES");
    let output = command.output().unwrap();
    assert!(!store.exists(), "a demo is no run of the user's");
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn each_recording_shows_several_blocks() {
    let expected: [(&str, &[&str]); 4] = [
        (
            "agent",
            &[
                "research-agent",
                "against the median of the last 20 runs",
                "LP102",
                "LP103",
                "LP110",
                "Cost ",
                "As the graph allows",
                "of the best this graph allows",
                "beside it: ",
            ],
        ),
        (
            "etl",
            &[
                "etl-nightly",
                "±0 (within noise)",
                "LP103 queueing at a limit: 12 ready, 4 at once",
                "queueing:",
            ],
        ),
        (
            "fanout",
            &["panel-of-experts", "LP107 straggler: one of 8", "LP105 repeated call: 6 calls", "LP102"],
        ),
        ("retry", &["book-trip", "ok, 2 failed, 2 retries", "LP108 retry or timeout", "retry"]),
    ];
    for (recording, blocks) in expected {
        let output = demo(&[recording]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        let page = text(&output.stdout);
        for block in blocks {
            assert!(page.contains(block), "{recording} shows no {block:?}:\n{page}");
        }
        assert!(
            page.contains("Confidence    high") && page.ends_with("Yours:  longpole run -- CMD\n"),
            "{page}"
        );
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    }
    assert_eq!(demo(&[]).stdout, demo(&["agent"]).stdout);
    assert_eq!(demo(&["coffee"]).status.code(), Some(2));
}

#[test]
fn a_recording_can_be_played_first() {
    let output = demo(&["retry", "--speed", "1000000", "--ascii"]);
    assert!(output.stdout.is_ascii());
    let lines: Vec<&str> = text(&output.stderr).lines().collect();
    // Nine spans, the root last, and a blank line.
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(
        lines[0].contains("plan_trip ended after ") && lines[8].contains("run ended after "),
        "{lines:?}"
    );
    for wrong in ["0", "-1", "fast", "NaN"] {
        assert_eq!(demo(&["--speed", wrong]).status.code(), Some(2), "{wrong}");
    }
}
