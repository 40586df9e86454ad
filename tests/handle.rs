//! What a program can ask its handle, and what a second layer beside longpole sees.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use longpole::testing::{capture, capture_all};
use longpole::{Longpole, LongpoleLayer, SpanExt, State};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber, info, info_span};
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

fn with_longpole(layer: LongpoleLayer, program: impl FnOnce()) {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
}

fn start() -> (LongpoleLayer, Longpole) {
    longpole::builder().build().unwrap()
}

fn node(id: &str) {
    info_span!("step", node.id = id).in_scope(|| ());
}

#[test]
fn sums_go_over_all_runs_until_they_are_cleared() {
    let (layer, longpole) = start();
    with_longpole(layer, || {
        for _ in 0..3 {
            info_span!("run").in_scope(|| {
                node("fetch");
                node("fetch");
                node("rank");
            });
        }
    });
    assert!(longpole.flush().is_complete);
    let fetch = longpole.node("fetch").unwrap();
    assert_eq!((fetch.runs, fetch.calls, fetch.failures), (3, 6, 0));
    assert_eq!(longpole.runs().len(), 3);
    assert_eq!(longpole.summary().node_count, 2);
    let last = longpole.last_run().unwrap();
    assert_eq!(longpole.run(&last.run.id).unwrap().run.id, last.run.id);
    assert_eq!(longpole.run(&last.run.trace_id).unwrap().run.id, last.run.id, "a prefix will do");
    let slowest = longpole.slowest_node().unwrap();
    assert_eq!(longpole.bottlenecks(0.0)[0], slowest);
    assert!(longpole.bottlenecks(100.0).is_empty(), "strictly above");
    longpole.clear();
    assert_eq!(longpole.node("fetch"), None);
    assert_eq!(longpole.last_run(), None);
    assert_eq!(longpole.slowest_node(), None);
    assert_eq!(longpole.summary(), longpole::report::Summary::default());
}

#[test]
fn a_run_nobody_marked_counts_every_span_as_a_node_unless_told_otherwise() {
    let program = || info_span!("job").in_scope(|| info_span!("load").in_scope(|| ()));
    let report = capture(program);
    let names: Vec<_> = report.nodes.iter().map(|node| node.name.as_str()).collect();
    assert!(names.contains(&"load") && names.contains(&"job"), "{names:?}");
    let (layer, longpole) = longpole::builder().marked_only().build().unwrap();
    with_longpole(layer, || {
        program();
        info_span!("job").in_scope(|| node("load"));
    });
    longpole.flush();
    assert_eq!(longpole.runs().len(), 1, "only the run with a marked node is reported");
}

#[test]
fn a_workflow_name_on_the_builder_names_the_runs() {
    let (layer, longpole) = longpole::builder().workflow("etl").version("1.2").build().unwrap();
    with_longpole(layer, || {
        info_span!("job").in_scope(|| node("load"));
        info_span!("job", workflow.name = "own").in_scope(|| node("load"));
    });
    longpole.flush();
    let named: Vec<_> =
        longpole.runs().iter().map(|r| (r.run.workflow.clone().unwrap(), r.run.version.clone())).collect();
    assert_eq!(named[0], ("etl".to_owned(), Some("1.2".to_owned())));
    assert_eq!(named[1].0, "own");
}

#[test]
fn spans_that_carry_no_mark_can_be_selected_as_nodes() {
    let (layer, longpole) = longpole::builder().node_spans(None, Some("load")).build().unwrap();
    with_longpole(layer, || {
        info_span!("job").in_scope(|| {
            info_span!("load").in_scope(|| info_span!("parse").in_scope(|| ()));
        });
    });
    longpole.flush();
    let report = longpole.last_run().unwrap();
    assert_eq!(report.nodes.len(), 1);
    assert_eq!(report.nodes[0].name, "load");
    assert_eq!(report.nodes[0].phases[0].name, "parse");
}

#[test]
fn switched_off_nothing_new_is_measured_and_what_is_open_is_finished() {
    let (layer, longpole) = start();
    with_longpole(layer, || {
        switch_off_for_a_while(&longpole, || assert_eq!(longpole.diagnostics().state, State::Paused));
    });
    assert_eq!(node_names(&longpole), ["after", "before"]);
}

/// A run in whose midst longpole is off; `while_off` is called then.
fn switch_off_for_a_while(longpole: &Longpole, while_off: impl FnOnce()) {
    let _run = info_span!("run").entered();
    node("before");
    longpole.set_enabled(false);
    while_off();
    node("while_off");
    longpole.set_enabled(true);
    node("after");
}

/// The nodes of the last run.
fn node_names(longpole: &Longpole) -> Vec<String> {
    longpole.flush();
    let report = longpole.last_run().unwrap();
    let mut names: Vec<_> = report.nodes.iter().map(|node| node.name.clone()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_switchable_layer_that_is_off_takes_no_span_and_leaves_others_theirs() {
    let (layer, longpole) = start();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.switchable()), || {
        // That no span is made then is asserted by the example of `switchable`, in a process of its own: what a
        // callsite costs depends on all subscribers of the process, and the tests here have one each.
        switch_off_for_a_while(&longpole, || assert_eq!(longpole.diagnostics().state, State::Paused));
    });
    assert_eq!(node_names(&longpole), ["after", "before"]);
    assert_eq!(longpole.diagnostics().open_spans, 0);

    let (layer, longpole) = start();
    longpole.set_enabled(false);
    let beside = Counting::default();
    let subscriber = tracing_subscriber::registry().with(beside.clone()).with(layer.switchable());
    tracing::subscriber::with_default(subscriber, || {
        info_span!("run").in_scope(|| node("while_off"));
    });
    assert_eq!(beside.seen()[0], 2);
    longpole.flush();
    assert!(longpole.last_run().is_none());
}

#[test]
fn the_current_handle_is_that_of_the_current_subscriber() {
    assert!(longpole::current().is_none());
    let (layer, longpole) = start();
    with_longpole(layer, || {
        info_span!("run").in_scope(|| node("fetch"));
        longpole::current().unwrap().flush();
    });
    assert_eq!(longpole.node("fetch").unwrap().calls, 1);
}

#[test]
fn a_callback_may_panic_trace_and_ask_without_harm() {
    static EVENTS: AtomicU64 = AtomicU64::new(0);
    struct CountsEvents;
    impl<S: Subscriber> tracing_subscriber::Layer<S> for CountsEvents {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            EVENTS.fetch_add(1, Ordering::SeqCst);
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let in_callback = seen.clone();
    let (layer, longpole) = longpole::builder()
        .on_run(move |report| {
            let _not_measured = info_span!("run").entered();
            info!("a run ended");
            in_callback.lock().unwrap().push(report.run.name.clone());
            // Waiting for oneself would last until the deadline.
            assert!(!longpole::current().unwrap().flush().is_complete);
            panic!("planned");
        })
        .build()
        .unwrap();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let subscriber = tracing_subscriber::registry().with(layer).with(CountsEvents);
    tracing::subscriber::with_default(subscriber, || {
        info_span!("one").in_scope(|| node("fetch"));
        info_span!("two").in_scope(|| node("fetch"));
        longpole.flush();
    });
    std::panic::set_hook(hook);
    assert_eq!(*seen.lock().unwrap(), ["one", "two"]);
    assert_eq!(EVENTS.load(Ordering::SeqCst), 2, "the program's subscriber heard the callbacks");
    assert_eq!(longpole.runs().len(), 2, "and longpole did not measure them");
    assert!(longpole.diagnostics().notes.iter().any(|note| note.contains("callback panicked")));
}

#[test]
fn capture_gives_the_report_of_a_piece_of_code() {
    let report = capture(|| {
        let run = info_span!("run", workflow.name = "etl").entered();
        let step = info_span!("step", node.id = "load");
        step.record_cost(0.25);
        step.in_scope(|| ());
        drop(run);
    });
    assert_eq!(report.run.workflow.as_deref(), Some("etl"));
    assert_eq!(report.totals.cost_usd.unwrap().to_string(), "0.25");
    assert_eq!(report.nodes[0].calls, 1);
    let reports = capture_all(|| {
        node("a");
        node("b");
    });
    assert_eq!(reports.len(), 2);
    assert!(reports[0].critical_path.rows.is_empty(), "a run of one span has nothing to compare");
}

#[test]
#[should_panic(expected = "expected one run, found 2")]
fn capture_says_when_there_is_not_exactly_one_run() {
    capture(|| {
        node("a");
        node("b");
    });
}

/// What a layer of another kind sees of a program.
#[derive(Clone, Default)]
struct Counting(Arc<[AtomicU64; 6]>);

impl Counting {
    fn add(&self, at: usize) {
        self.0[at].fetch_add(1, Ordering::SeqCst);
    }
    fn seen(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.load(Ordering::SeqCst)).collect()
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> tracing_subscriber::Layer<S> for Counting {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.add(0);
    }
    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {
        self.add(1);
    }
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        self.add(2);
    }
    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        self.add(3);
    }
    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        self.add(4);
    }
    fn on_close(&self, _: Id, _: Context<'_, S>) {
        self.add(5);
    }
}

#[test]
fn a_second_layer_beside_longpole_misses_nothing() {
    let program = || {
        let run = tracing::trace_span!(target: "hyper::client", "run").entered();
        for id in ["a", "b"] {
            let span = info_span!("step", node.id = id, late = tracing::field::Empty);
            span.record("late", 1);
            span.in_scope(|| tracing::trace!(target: "h2", "an event"));
        }
        tracing::debug!("another");
        drop(run);
    };
    let alone = Counting::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(alone.clone()), program);
    assert_eq!(alone.seen(), [3, 2, 3, 3, 3, 3]);
    for enabled in [true, false] {
        let (layer, longpole) = start();
        longpole.set_enabled(enabled);
        let beside = Counting::default();
        let subscriber = tracing_subscriber::registry().with(beside.clone()).with(layer);
        tracing::subscriber::with_default(subscriber, program);
        assert_eq!(beside.seen(), alone.seen(), "enabled: {enabled}");
        longpole.shutdown();
    }
}

#[test]
fn after_shutdown_spans_are_harmless_and_the_report_stays_the_same() {
    let (layer, longpole) = start();
    with_longpole(layer, || {
        info_span!("run").in_scope(|| node("fetch"));
        let open = info_span!("open");
        let first = longpole.shutdown();
        assert_eq!((first.flush.closed, first.open, first.flush.is_complete), (2, 1, true));
        drop(open);
        node("late");
        assert_eq!(longpole.shutdown(), first);
        assert_eq!(longpole.diagnostics().state, State::ShutDown);
        assert_eq!(longpole.flush().lost.get("after_shutdown"), Some(&1));
    });
    assert_eq!(longpole.node("fetch").unwrap().calls, 1);
    assert_eq!(longpole.node("late"), None);
}
