//! `longpole doctor`: what it sees of this machine, and that it changes nothing.

use std::process::{Command, Output};

fn doctor(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("runs.db");
    let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
    let outside = std::env::vars_os().map(|(name, _)| name);
    for name in outside.filter(|name| name.to_string_lossy().starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.arg("doctor").args(args).env("LC_ALL", "C.UTF-8").env("LONGPOLE_STORE", &store);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert!(!store.exists());
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_span_goes_there_and_back_over_every_protocol() {
    let output = doctor(&[], &[]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let page = text(&output.stdout);
    for protocol in ["http/protobuf", "http/json", "grpc"] {
        let line =
            page.lines().find(|line| line.contains(&format!("{protocol} ")) && line.contains("1 span in"));
        assert!(line.is_some_and(|line| line.contains("ok, ")), "{page}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert!(page.starts_with(&format!("longpole {version}\n")), "{page}");
    for part in [
        "span `longpole doctor`, 250 ms",
        "4317 (gRPC)",
        "4318 (HTTP)",
        "locale      LC_ALL=C.UTF-8: drawn in UTF-8",
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:",
        "not there yet",
        "columns, no colour",
    ] {
        assert!(page.contains(part), "no {part:?} in:\n{page}");
    }
    assert!(!page.contains("--fix"), "{page}");
}

#[test]
fn what_leads_spans_elsewhere_is_told_with_commands_and_without_secrets() {
    let environment = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://me:hunter2@otel.example.com/v1/traces"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2"),
        ("OTEL_SDK_DISABLED", "true"),
        ("LC_ALL", "POSIX"),
        ("OTEL_SERVICE_NAME", "a\x1b[2Jb"),
    ];
    let output = doctor(&["--fix"], &environment);
    assert_eq!(output.status.code(), Some(0));
    let page = text(&output.stdout);
    assert!(!page.contains("hunter2") && !page.contains('\x1b'), "{page}");
    let (_, fixes) = page.split_once("What would put it right:\n").unwrap();
    insta::assert_snapshot!(fixes, @r"
    unset OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    unset OTEL_SDK_DISABLED
    export LC_ALL=C.UTF-8
    ");
    assert!(text(&doctor(&[], &environment).stdout).ends_with("longpole doctor --fix\n"));
    assert!(text(&doctor(&["--fix"], &[]).stdout).ends_with("Nothing to put right.\n"));
}
