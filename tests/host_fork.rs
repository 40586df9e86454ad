//! A child that is forked has none of longpole's threads: its spans are counted, nothing waits for what is not there,
//! and the parent's work goes on untouched.
#![cfg(unix)]

#[path = "support/child.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod child;

use std::time::{Duration, Instant};

use fork::{Fork, fork, waitpid};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// A run of two spans.
fn run() {
    info_span!("run").in_scope(|| info_span!("step", node.id = "step").in_scope(|| ()));
}

#[test]
fn a_forked_child_counts_its_spans_and_leaves_the_parents_alone() {
    const NAME: &str = "a_forked_child_counts_its_spans_and_leaves_the_parents_alone";
    if let Some(output) = child::in_child(NAME) {
        return child::assert_ended_well(&output, "the parent's spans are whole");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let (layer, longpole) = longpole::builder().spans_file(&file).build().unwrap();
    tracing_subscriber::registry().with(layer).init();
    run();
    assert!(longpole.flush().is_complete);
    let before = std::fs::read(&file).unwrap();
    let open = info_span!("open at the fork").entered();
    let pid = match fork().unwrap() {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let started = Instant::now();
            // Below the one that is open, of which longpole sees only later that it is the parent's, and runs.
            info_span!("below").in_scope(|| ());
            drop(open);
            (0..1000).for_each(|_| run());
            let counts = longpole.diagnostics().counts;
            // Nobody is there to wait for.
            let flushed = longpole.flush();
            let last = longpole.shutdown();
            let lost = flushed.lost.get("after_fork").copied();
            let is_told = lost >= Some(2000) && !flushed.is_complete && last.flush.lost == flushed.lost;
            drop(longpole);
            let is_counted = is_told && counts.get("after_fork") == Some(&2000);
            let is_prompt = started.elapsed() < Duration::from_secs(1);
            // Without what a process does that ends by itself: the test's harness is the parent's.
            std::process::exit(match (is_counted, is_prompt, std::fs::read(&file).unwrap() == before) {
                (true, true, true) => 77,
                (false, ..) => 1,
                (_, false, _) => 2,
                (.., false) => 3,
            });
        }
    };
    let status = waitpid(pid).unwrap();
    assert!(fork::WIFEXITED(status));
    assert_eq!(fork::WEXITSTATUS(status), 77);
    run();
    drop(open);
    let report = longpole.shutdown();
    assert!(report.flush.is_complete && report.flush.lost.is_empty(), "{report}");
    assert_eq!((report.flush.closed, report.flush.written, report.open), (5, 5, 0));
    println!("the parent's spans are whole");
}
