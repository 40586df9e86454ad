//! More threads than the registry of `tracing` can number, and threads that end inside of spans or open some while
//! they end. Each program is a process of its own, since what goes wrong here aborts one.
//!
//! `tracing_subscriber::Registry` numbers 4,096 threads at a time that open spans; beyond that it panics on the
//! thread that opens one, under any layer. Longpole adds nothing to that, and measures what the others open.

#[path = "support/child.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod child;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use longpole::OtelSpanExt;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId};
use tracing::info_span;
use tracing_subscriber::prelude::*;

#[test]
fn no_panic_beyond_the_registrys_threads_is_ours() {
    const NAME: &str = "no_panic_beyond_the_registrys_threads_is_ours";
    if let Some(output) = child::in_child(NAME) {
        return child::assert_ended_well(&output, "all threads ended");
    }
    const THREADS: usize = 4200;
    let (layer, longpole) = longpole::builder().build().unwrap();
    tracing_subscriber::registry().with(layer).init();
    // The registry gives numbers beyond its limit to later threads too: this one has its own before.
    info_span!("before").in_scope(|| ());
    let places: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let seen = places.clone();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().unwrap().file().to_owned();
        *seen.lock().unwrap().entry(place).or_default() += 1;
    }));
    // All have tried before the first ends, so that all live at once.
    let all = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let all = all.clone();
            let program = move || {
                let outcome = catch_unwind(|| {
                    let _span = info_span!("step", number).entered();
                    tracing::info!("inside");
                });
                all.wait();
                outcome.is_ok()
            };
            std::thread::Builder::new().stack_size(256 << 10).spawn(program).unwrap()
        })
        .collect();
    let fine = threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|is_fine| *is_fine).count();
    drop(std::panic::take_hook());
    let places = places.lock().unwrap().clone();
    assert!(!places.is_empty(), "the limit was not reached");
    let is_theirs = |place: &&String| place.contains("sharded-slab") || place.contains("tracing-subscriber");
    assert!(places.keys().all(|place| is_theirs(&place)), "{places:?}");
    info_span!("after").in_scope(|| ());
    assert!(longpole.flush_within(Duration::from_secs(60)).is_complete);
    let report = longpole.shutdown();
    assert!(report.flush.is_complete && report.flush.lost.is_empty(), "{report}");
    assert_eq!(report.flush.closed, fine as u64 + 2);
    println!("all threads ended");
}

/// OpenTelemetry's current context of a thread may not be asked for when it is gone.
#[test]
fn a_run_that_begins_while_its_thread_ends_is_measured() {
    const NAME: &str = "a_run_that_begins_while_its_thread_ends_is_measured";
    if let Some(output) = child::in_child(NAME) {
        return child::assert_ended_well(&output, "the late run was measured");
    }
    struct OpensARun(Cell<bool>);
    impl Drop for OpensARun {
        fn drop(&mut self) {
            drop(info_span!("late", node.id = "late"));
        }
    }
    thread_local! {
        static LATE: OpensARun = const { OpensARun(Cell::new(false)) };
    }
    let (layer, longpole) = longpole::builder().build().unwrap();
    tracing_subscriber::registry().with(layer).init();
    let run = info_span!("run");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // What a thread made last is gone first: what the registry needs is there while the late span opens,
            // and what OpenTelemetry needs is not.
            info_span!(parent: &run, "child").in_scope(|| ());
            LATE.with(|late| late.0.set(true));
            info_span!("root").in_scope(|| ());
        });
        // Not only until its program is done: until it is gone.
        thread.join().unwrap();
    });
    drop(run);
    let report = longpole.shutdown();
    assert_eq!((report.flush.closed, report.open), (4, 0), "{report}");
    assert!(longpole.node("late").is_some());
    println!("the late run was measured");
}

#[test]
fn a_thread_may_end_inside_of_a_span_that_is_opentelemetrys_current_one() {
    const NAME: &str = "a_thread_may_end_inside_of_a_span_that_is_opentelemetrys_current_one";
    if let Some(output) = child::in_child(NAME) {
        return child::assert_ended_well(&output, "the thread ended");
    }
    let (layer, longpole) = longpole::builder().activate_otel_context(true).build().unwrap();
    tracing_subscriber::registry().with(layer).init();
    let caller = opentelemetry::Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from_bytes([1; 16]),
        SpanId::from_bytes([2; 8]),
        TraceFlags::SAMPLED,
        true,
        Default::default(),
    ));
    std::thread::spawn(move || {
        let span = info_span!(parent: None, "run");
        span.set_parent_context(&caller).unwrap();
        std::mem::forget(span.enter());
        info_span!("step").in_scope(|| ());
    })
    .join()
    .unwrap();
    let report = longpole.shutdown();
    assert_eq!(report.flush.closed + report.open, 2, "{report}");
    println!("the thread ended");
}
