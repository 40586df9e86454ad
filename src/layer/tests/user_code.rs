//! Formatting code of the program may do what it likes; the layer and the program live on.

use std::fmt;

use tracing::{info, info_span};

use super::*;

struct Panics;

impl fmt::Debug for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        std::panic::resume_unwind(Box::new("quietly"))
    }
}

/// Traces while it is formatted.
struct Traces;

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::Span::current().record("late", "recursive");
        let _span = info_span!("recursive", inner = ?Traces).entered();
        info!("recursive");
        f.write_str("traced")
    }
}

/// Writes without end until it is told to stop.
struct Endless;

impl fmt::Debug for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        loop {
            f.write_str("äöü")?;
        }
    }
}

#[test]
fn a_value_that_panics_is_replaced_and_counted() {
    let mut bench = Bench::new(config());
    let finished = bench.run(|_| {
        let span = info_span!("n", bad = ?Panics, good = 1);
        span.in_scope(|| info!(bad = ?Panics, "still here"));
    });
    let n = named(&finished, "n");
    assert_eq!(n.recorded(), BTreeMap::from([("bad", string("<panicked>")), ("good", int(1))]));
    assert_eq!(by_key(&n.span.events[0].attributes)["bad"], string("<panicked>"));
    assert_eq!(bench.counter("formatting_panics"), 2);
}

#[test]
fn a_value_that_traces_is_kept_and_what_it_traces_is_not() {
    let mut bench = Bench::new(config());
    let finished = bench.run(|_| {
        let _n = info_span!("n", late = tracing::field::Empty).entered();
        // While it hands out a new span, `tracing` itself lets nothing through; while it records, it does.
        let m = info_span!("m", value = tracing::field::Empty);
        m.record("value", tracing::field::debug(Traces));
        drop(m);
        drop(info_span!("after"));
    });
    assert_eq!(named(&finished, "m").recorded(), BTreeMap::from([("value", string("traced"))]));
    assert_eq!(named(&finished, "after").span.parent_span_id, named(&finished, "n").span.span_id);
    assert_eq!(finished.len(), 3);
    assert!(!named(&finished, "n").recorded().contains_key("late"));
    assert_eq!(bench.counter("reentered"), 3, "a record, a span and an event");
}

#[test]
fn a_value_without_end_is_cut_off() {
    let finished = measure(|| drop(info_span!("n", long = ?Endless)));
    let text = finished[0].text("long").unwrap();
    assert!(text.len() <= 4096 && text.len() > 4090 && text.ends_with('…'), "{}", text.len());
}
