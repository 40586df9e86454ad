//! The HTML page in a browser, from a file: it appears, asks for nothing and makes no error.
//!
//! Runs where `chromium` is on the PATH, and says so where it is not.

#![allow(missing_docs, clippy::print_stderr, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// What a browser made of a page.
struct Seen {
    /// The document as it understood it.
    dom: String,
    /// What it had to say about scripts and policies.
    console: Vec<String>,
    /// What the page asked for.
    requests: Vec<String>,
}

/// Opens a file in Chromium; `None` where there is none.
fn open(page: &Path, folder: &Path) -> Option<Seen> {
    let log = folder.join("net-log.json");
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
            "--enable-logging=stderr",
        ])
        .args(["--timeout=30000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let log: Value = serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap();
    // What the browser asks for by itself has no origin.
    let of_page = log["events"].as_array().unwrap().iter().filter_map(|event| {
        let params = &event["params"];
        let initiator = params["initiator"].as_str().filter(|it| *it != "not an origin")?;
        Some(format!("{} for {initiator}", params["url"].as_str()?))
    });
    Some(Seen {
        dom: String::from_utf8(output.stdout).unwrap(),
        console: said.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect(),
        requests: of_page.collect(),
    })
}

#[test]
fn a_page_opens_from_a_file_without_a_request_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let written = Command::new(env!("CARGO_BIN_EXE_longpole"))
        .arg("show")
        .arg(data("support_agent.otlp.json"))
        .arg("-o")
        .arg(&page)
        .output()
        .unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let Some(seen) = open(&page, folder.path()) else {
        eprintln!("SKIPPED: chromium is not on the PATH");
        return;
    };
    assert_eq!((seen.console, seen.requests), (Vec::<String>::new(), Vec::<String>::new()));
    for text in ["<h1>support-agent</h1>", "Fix first", "<b>1.90 s · 63%</b>", "Confidence"] {
        assert!(seen.dom.contains(text), "{text} in {}", seen.dom);
    }
    // A row for each span and the head, whose end tags are left out in the file, none inside another.
    let waterfall = seen.dom.split("class=\"waterfall\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert_eq!(
        (waterfall.matches("<tr").count(), waterfall.matches("</tr><tr").count()),
        (6, 4),
        "{waterfall}"
    );
}

#[test]
fn the_browser_would_say_if_a_page_asked_for_something() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("asks.html");
    let asks =
        "<!DOCTYPE html><meta charset=utf-8><img src='http://127.0.0.1:9/x'><script>nothing.here</script>";
    std::fs::write(&page, asks).unwrap();
    let Some(seen) = open(&page, folder.path()) else {
        eprintln!("SKIPPED: chromium is not on the PATH");
        return;
    };
    assert!(!seen.console.is_empty(), "a script that fails is told");
    assert!(seen.requests.iter().any(|it| it.contains("127.0.0.1:9/x")), "{:?}", seen.requests);
}
