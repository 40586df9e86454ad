//! Nothing of longpole's own threads is ever traced, whatever the filter. A process of its own: the subscriber is
//! the global one.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::sync::{Arc, Mutex};

use otlp_sink::Sink;
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber, info_span};
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;

/// Remembers the target and thread of every span and event, at every level.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<Vec<(String, String)>>>);

impl Everything {
    fn saw(&self, target: &str) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((target.to_owned(), thread));
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Everything {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.saw(attributes.metadata().target());
    }
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.saw(event.metadata().target());
    }
}

#[test]
fn no_span_and_no_event_of_ours_at_trace_without_any_filter() {
    let everything = Everything::default();
    let sink = Sink::accepting();
    // By name, so that the resolver's thread takes part.
    let url = sink.url().replace("127.0.0.1", "localhost");
    let (layer, longpole) = longpole::builder().otlp_endpoint(url).build().unwrap();
    tracing_subscriber::registry().with(everything.clone()).with(layer).init();
    for round in 1..=5 {
        info_span!("run").in_scope(|| info_span!("step", node.id = "step").in_scope(|| ()));
        let flushed = longpole.flush();
        assert!(flushed.is_complete, "{flushed}; {:?}", longpole.diagnostics().last_error);
        assert_eq!((flushed.acknowledged, flushed.runs), (round * 2, round));
    }
    assert!(sink.received().len() >= 5);
    longpole.shutdown();
    let seen = everything.0.lock().unwrap().clone();
    let own =
        |(target, thread): &&(String, String)| target == module_path!() && !thread.starts_with("longpole");
    let foreign: Vec<_> = seen.iter().filter(|seen| !own(seen)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert_eq!(seen.len(), 10, "five runs of two spans");
}
