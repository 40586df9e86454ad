//! Values whose formatting misbehaves: the program notices nothing, its spans are whole, what is kept is bounded, and
//! the counts say what happened. What needs no backend is in the layer's own tests.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

#[path = "support/child.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod child;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Debug, Display, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use longpole::Longpole;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp_sink::Sink;
use prost::Message;
use tracing::field::{Empty, debug, display};
use tracing::{error, error_span, info, info_span};
use tracing_subscriber::prelude::*;

/// What a span may hold, and a little for what longpole writes itself.
const SPAN_BYTES: usize = 64 * 1024 + 1024;

/// Runs `program` inside of a span `parent` and gives the spans that arrived, by name, with the counts.
fn run(program: impl FnOnce()) -> (BTreeMap<String, Span>, BTreeMap<String, u64>) {
    let sink = Sink::accepting();
    let (layer, longpole) = longpole::builder().otlp_endpoint(sink.url()).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let outcome = catch_unwind(AssertUnwindSafe(|| info_span!("parent").in_scope(program)));
        assert!(outcome.is_ok(), "the program noticed");
    });
    let report = longpole.shutdown();
    assert!(report.flush.is_complete && report.flush.lost.is_empty(), "{report}");
    assert_eq!(report.open, 0);
    let spans: BTreeMap<_, _> = sink.spans().into_iter().map(|span| (span.name.clone(), span)).collect();
    assert_eq!(spans.len() as u64, report.flush.closed);
    assert!(spans.contains_key("parent"), "whatever happened below it");
    assert!(spans.values().all(|span| span.encoded_len() <= SPAN_BYTES));
    (spans, counts(&longpole))
}

fn counts(longpole: &Longpole) -> BTreeMap<String, u64> {
    longpole.diagnostics().counts
}

fn text(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

/// Panics wherever it is asked for anything.
struct Panics;

impl Debug for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        resume_unwind(Box::new("planned"))
    }
}

impl Display for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(self, f)
    }
}

impl Error for Panics {}

/// Can be shown, but not asked for its source.
#[derive(Debug)]
struct PanicsInSource;

impl Display for PanicsInSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl Error for PanicsInSource {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        resume_unwind(Box::new("planned"))
    }
}

#[test]
fn panicking_in_debug_display_and_errors() {
    let (spans, counts) = run(|| {
        info_span!("debug", value = ?Panics, fine = "fine").in_scope(|| ());
        info_span!("display", value = %Panics).in_scope(|| ());
        info_span!("error", value = &Panics as &(dyn Error + 'static)).in_scope(|| ());
        info_span!("source", value = &PanicsInSource as &(dyn Error + 'static)).in_scope(|| ());
        let late = info_span!("late", value = Empty);
        late.record("value", debug(Panics)).record("value", display(Panics));
        late.in_scope(|| error!(error = &Panics as &(dyn Error + 'static), "{}", Panics));
    });
    for name in ["debug", "display", "error", "late"] {
        assert_eq!(text(&spans[name], "value"), "<panicked>", "{name}");
    }
    assert_eq!(
        (text(&spans["debug"], "fine"), text(&spans["source"], "value")),
        ("fine".into(), "outer".into())
    );
    assert_eq!(spans["late"].events.len(), 1);
    assert_eq!(counts["formatting_panics"], 8, "four spans, two records, and two values of the event");
}

/// A payload that panics when it is dropped, inside of a value that panics.
#[test]
fn panicking_with_a_payload_that_panics() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new("planned"));
        }
    }
    struct Throws;
    impl Debug for Throws {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            resume_unwind(Box::new(Bomb))
        }
    }
    let (spans, counts) = run(|| info_span!("n", value = ?Throws).in_scope(|| ()));
    assert_eq!(text(&spans["n"], "value"), "<panicked>");
    assert_eq!(counts["formatting_panics"], 1);
}

#[test]
fn text_in_a_million_pieces_and_text_of_a_hundred_mebibytes() {
    struct Pieces;
    impl Debug for Pieces {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // Goes on whatever it is told.
            (0..1_000_000).for_each(|_| _ = f.write_str("piece "));
            Ok(())
        }
    }
    struct Huge(String);
    impl Debug for Huge {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl Display for Huge {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for character in ['ü', 'x'] {
                f.write_char(character)?;
            }
            f.write_str(&self.0)
        }
    }
    impl Error for Huge {}
    let huge = Huge("ü".repeat(50 << 20));
    let (spans, counts) = run(|| {
        info_span!("pieces", value = ?Pieces).in_scope(|| ());
        info_span!("debug", value = ?huge).in_scope(|| ());
        info_span!("plain", value = huge.0).in_scope(|| error!("{}", huge.0));
        info_span!("error", value = &huge as &(dyn Error + 'static)).in_scope(|| ());
    });
    for name in ["pieces", "debug", "plain", "error"] {
        let text = text(&spans[name], "value");
        assert!(text.len() <= 4096 && text.len() > 4000 && text.ends_with('…'), "{name}: {}", text.len());
    }
    assert_eq!(counts.get("formatting_panics"), None);
}

/// An error that is its own source, for ever.
#[derive(Debug)]
struct Endless;

impl Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&"why? ".repeat(2000))
    }
}

impl Error for Endless {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&Endless)
    }
}

#[test]
fn an_error_without_a_first_cause() {
    let (spans, _) = run(|| {
        let span = info_span!("n", small = "kept", value = &Endless as &(dyn Error + 'static));
        span.in_scope(|| {
            info!("an event before");
            error!(error = &Endless as &(dyn Error + 'static), "failed");
        });
    });
    let n = &spans["n"];
    assert_eq!((text(n, "small").as_str(), text(n, "value").len()), ("kept", 4096));
    assert!(n.events.iter().any(|event| event.name == "an event before"), "{:?}", n.events.len());
    assert!(n.dropped_attributes_count > 0);
}

#[test]
fn values_that_trace_themselves_here_and_under_another_subscriber() {
    struct Traces {
        elsewhere: Option<tracing::Dispatch>,
        depth: AtomicUsize,
    }
    impl Debug for Traces {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if self.depth.fetch_add(1, Ordering::Relaxed) < 50 {
                let span = error_span!("recursive", value = ?self);
                span.in_scope(|| error!(value = ?self, "recursive"));
                span.record("value", debug(self));
                let again = || {
                    let span = error_span!("recursive", value = ?self);
                    let _inside = span.enter();
                    error!(value = ?self, "recursive");
                };
                if let Some(elsewhere) = &self.elsewhere {
                    tracing::dispatcher::with_default(elsewhere, again);
                }
            }
            f.write_str("traced")
        }
    }
    let (layer, other) = longpole::builder().build().unwrap();
    let elsewhere = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    let here = || Traces { elsewhere: None, depth: AtomicUsize::new(0) };
    let there = Traces { elsewhere: Some(elsewhere), depth: AtomicUsize::new(0) };
    let (spans, counts) = run(|| {
        let late = info_span!("late", value = Empty, other = Empty);
        late.record("value", debug(&there)).record("other", debug(&here()));
        late.in_scope(|| info!(value = ?here(), "event"));
        info_span!("new", value = ?here()).in_scope(|| ());
        // `tracing` itself lets nobody change the subscriber in here: it panics, and nobody notices.
        info_span!("swaps", value = ?Traces { depth: AtomicUsize::new(0), ..there }).in_scope(|| ());
    });
    let known = ["late", "new", "parent", "swaps"];
    assert!(spans.keys().all(|name| known.contains(&name.as_str())), "{:?}", spans.keys());
    let texts = [("late", "value"), ("late", "other"), ("new", "value"), ("swaps", "value")];
    let texts = texts.map(|(span, key)| text(&spans[span], key));
    assert_eq!(texts, ["traced", "traced", "traced", "<panicked>"]);
    assert_eq!(spans["late"].events.len(), 1);
    assert!(counts["reentered"] >= 2, "{counts:?}");
    assert_eq!(other.shutdown().open, 0);
}

/// A value that ends spans while it is looked at: those are ended as ever. While `tracing` hands out a new span or an
/// event the registry itself forgets to let go of the parent, so that this is only true of records.
#[test]
fn values_that_close_and_enter_spans() {
    struct Ends(Mutex<Option<tracing::Span>>);
    impl Debug for Ends {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let span = self.0.lock().unwrap().take();
            span.iter().for_each(|span| span.in_scope(|| ()));
            drop(span);
            f.write_str("ended")
        }
    }
    let (spans, _) = run(|| {
        let late = info_span!("late", value = Empty);
        late.record("value", debug(Ends(Mutex::new(Some(info_span!("ended"))))));
    });
    assert_eq!((spans.len(), text(&spans["late"], "value").as_str()), (3, "ended"));
    assert_eq!(spans["ended"].parent_span_id, spans["parent"].span_id);
}

/// While a panic unwinds, a value that panics is one panic more; caught, it does no harm.
#[test]
fn panicking_while_a_panic_unwinds_aborts_nothing() {
    const NAME: &str = "panicking_while_a_panic_unwinds_aborts_nothing";
    if let Some(output) = child::in_child(NAME) {
        return child::assert_ended_well(&output, "unwound with every span");
    }
    struct TracesInDrop;
    impl Drop for TracesInDrop {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            let span = info_span!("cleanup", value = ?PanicsLoudly, late = Empty);
            span.record("late", display(PanicsLoudly));
            span.in_scope(|| error!(error = &PanicsLoudly as &(dyn Error + 'static), "{:?}", PanicsLoudly));
        }
    }
    /// With a message, as the program's own `panic!`.
    struct PanicsLoudly;
    impl Debug for PanicsLoudly {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("planned, inside")
        }
    }
    impl Display for PanicsLoudly {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            Debug::fmt(self, f)
        }
    }
    impl Error for PanicsLoudly {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            panic!("planned, in source")
        }
    }
    let (spans, counts) = run(|| {
        let panicked = catch_unwind(|| {
            let _entered = info_span!("panics").entered();
            let _cleanup = TracesInDrop;
            panic!("planned, outside");
        });
        assert!(panicked.is_err());
    });
    assert_eq!(text(&spans["cleanup"], "value"), "<panicked>");
    assert_eq!(text(&spans["panics"], "longpole.outcome"), "panicked");
    assert_eq!(counts["formatting_panics"], 5);
    println!("unwound with every span");
}
