//! Spans that a program opens and forgets: what longpole keeps of them is bounded, what comes later is measured, and
//! nothing is lost without a number. Memory is counted by the allocator; this file is a process of its own for that.

use std::alloc::System;
use std::time::Duration;

use longpole::Longpole;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tracing::info_span;
use tracing_subscriber::prelude::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

fn bytes_held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// Opens spans in three ways, with 200 bytes of text each, and forgets them.
fn forget(count: usize) {
    let text = "x".repeat(200);
    for number in 0..count {
        match number % 3 {
            0 => std::mem::forget(info_span!("plain", number, text)),
            1 => std::mem::forget(info_span!(parent: None, "root", number, text)),
            _ => {
                let span = info_span!(parent: None, "entered", number, text);
                span.in_scope(|| tracing::info!("event"));
                std::mem::forget(span);
            }
        }
    }
}

/// What `program` leaves allocated.
fn left_by(program: impl FnOnce()) -> usize {
    let before = bytes_held();
    program();
    bytes_held().saturating_sub(before)
}

#[allow(clippy::print_stdout, reason = "a figure for who runs it by hand")]
fn check(count: usize) {
    // What the registry keeps of each is not ours.
    let registry = tracing::Dispatch::new(tracing_subscriber::registry());
    let of_registry = left_by(|| tracing::dispatcher::with_default(&registry, || forget(count)));
    drop(registry);

    // Each span that is given up here is a root, but no run to report on.
    let (layer, longpole) = longpole::builder().marked_only().build().unwrap();
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    let of_both = left_by(|| {
        tracing::dispatcher::with_default(&dispatch, || forget(count));
        assert!(longpole.flush_within(PATIENCE).is_complete);
    });
    let ours = of_both.saturating_sub(of_registry);
    assert!(ours <= 64 * MIB, "{} MiB of {} MiB", ours / MIB, of_both / MIB);

    tracing::dispatcher::with_default(&dispatch, || run_and_check(&longpole));
    let report = longpole.shutdown();
    let evicted = longpole.diagnostics().counts["open_spans_evicted"];
    assert!(report.open <= 100_000, "{report}");
    let lost: u64 = report.flush.lost.values().sum();
    assert_eq!(report.flush.closed + report.open + lost, count as u64 + 1100, "{report}; {evicted} evicted");
    assert!(evicted > 0);
    println!("{count} forgotten: {} MiB ours, {} MiB the registry's", ours / MIB, of_registry / MIB);
}

/// A hundred runs of eleven spans, all of them reported.
fn run_and_check(longpole: &Longpole) {
    longpole.clear();
    for _ in 0..100 {
        let _run = info_span!(parent: None, "run", workflow.name = "after").entered();
        for _ in 0..10 {
            info_span!("step", node.id = "fetch").in_scope(|| ());
        }
    }
    assert!(longpole.flush_within(PATIENCE).is_complete);
    assert_eq!(longpole.node("fetch").map(|node| node.calls), Some(1000));
    let last = longpole.last_run().unwrap();
    assert_eq!((last.run.workflow.as_deref(), last.run.spans), (Some("after"), 11));
}

#[test]
fn a_hundred_and_fifty_thousand_forgotten_spans() {
    check(150_000);
}

/// `cargo test --release -p longpole --test host_forgotten_spans -- --ignored --nocapture`
#[test]
#[ignore = "a million spans: the same at full length, by hand"]
fn a_million_forgotten_spans() {
    check(1_000_000);
}
