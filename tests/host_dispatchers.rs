//! Subscribers within subscribers, layers in boxes, layers that come and go: nothing panics, and each layer reports
//! the spans it was given.

use longpole::{Longpole, LongpoleLayer, SpanExt};
use tracing::dispatcher::with_default;
use tracing::{Dispatch, Level, Span, info, info_span};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Layer, Registry, registry, reload};

fn start() -> (LongpoleLayer, Longpole) {
    longpole::builder().build().unwrap()
}

fn under(layer: impl Layer<Registry> + Send + Sync) -> Dispatch {
    Dispatch::new(registry().with(layer))
}

/// A run of three spans, two of them nodes; says what it costs.
fn program() {
    let run = info_span!("run", workflow.name = "test").entered();
    info_span!("step", node.id = "fetch").in_scope(|| info!("event"));
    let rank = info_span!("step", node.id = "rank", late = tracing::field::Empty);
    rank.record("late", 1);
    rank.clone().in_scope(|| ());
    drop((rank, run));
}

/// Says goodbye, and that there were so many runs like `program` and nothing else.
fn check(longpole: &Longpole, runs: u64) {
    let report = longpole.shutdown();
    assert!(report.flush.is_complete && report.flush.lost.is_empty(), "{report}");
    assert_eq!((report.flush.closed, report.flush.runs, report.open), (3 * runs, runs, 0));
    for report in longpole.runs() {
        assert_eq!(
            (report.nodes.len(), report.run.spans, report.quality.orphans),
            (2, 3, 0),
            "{}",
            report.to_text()
        );
    }
}

#[test]
fn subscribers_within_each_other_each_see_their_own() {
    let ((a, in_a), (b, in_b)) = (start(), start());
    let (a, b) = (under(a), under(b));
    with_default(&a, || {
        let run = info_span!("run", workflow.name = "test").entered();
        let fetch = info_span!("step", node.id = "fetch").entered();
        with_default(&b, || {
            let _outer = info_span!("run", workflow.name = "test").entered();
            info_span!("step", node.id = "fetch").in_scope(|| {
                // Back in the first, which this thread is still inside of.
                with_default(&a, || info_span!("step", node.id = "rank").in_scope(|| ()));
                with_default(&Dispatch::none(), || info_span!("nobody's").in_scope(|| info!("nobody's")));
            });
            info_span!("step", node.id = "rank").in_scope(|| ());
        });
        drop((fetch, run));
        with_default(&b, program);
    });
    let nested = in_a.flush();
    assert_eq!((nested.closed, nested.runs), (3, 1));
    check(&in_b, 2);
    let report = in_a.last_run().unwrap();
    assert_eq!((report.run.spans, report.quality.orphans, in_a.shutdown().open), (3, 0, 0));
}

#[test]
fn spans_used_below_another_subscriber_are_their_own_ones() {
    let ((a, in_a), (b, in_b)) = (start(), start());
    let (a, b) = (under(a), under(b));
    let made_in_a = with_default(&a, || info_span!("step", node.id = "fetch", late = tracing::field::Empty));
    with_default(&b, || {
        let _run = info_span!("run", workflow.name = "test").entered();
        let inside = made_in_a.enter();
        made_in_a.record("late", 1);
        made_in_a.record_cost(0.5);
        info_span!("step", node.id = "fetch").in_scope(|| ());
        drop(inside);
        info_span!("step", node.id = "rank").in_scope(|| ());
    });
    drop(made_in_a);
    check(&in_b, 1);
    assert_eq!(in_a.shutdown().flush.closed, 1);
    assert_eq!(in_a.last_run().unwrap().totals.cost_usd.unwrap().to_string(), "0.5");
}

#[test]
fn spans_may_outlive_their_subscriber_their_layer_and_their_handle() {
    let (layer, longpole) = start();
    let a = under(layer);
    let (held, inside) = with_default(&a, || {
        program();
        (info_span!("held"), info_span!("inside").entered())
    });
    drop(a);
    assert_eq!(longpole.shutdown().open, 2);
    drop(longpole);
    held.in_scope(|| info!("still here"));
    held.set_attribute("late", 1);
    std::thread::spawn(move || drop(held)).join().unwrap();
    drop(inside);
    // And the other way round: the handle goes first.
    let (layer, longpole) = start();
    let b = under(layer);
    with_default(&b, || {
        let _run = info_span!("run").entered();
        drop(longpole);
        program();
        assert!(longpole::current().is_none(), "nothing keeps it running");
    });
}

#[test]
fn two_layers_in_one_subscriber_each_report_everything() {
    let ((first, in_first), (second, in_second)) = (start(), start());
    let both = Dispatch::new(registry().with(first).with(second));
    with_default(&both, || {
        program();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| with_default(&both, || (0..20).for_each(|_| program())));
            }
        });
    });
    check(&in_first, 161);
    check(&in_second, 161);
}

#[test]
fn in_an_option_and_in_a_box() {
    let ((optional, in_optional), (boxed, in_boxed)) = (start(), start());
    with_default(&under(Some(optional)), || {
        program();
        assert!(longpole::current().is_some());
    });
    with_default(&under(None::<LongpoleLayer>), program);
    let boxed: Box<dyn Layer<Registry> + Send + Sync> = boxed.boxed();
    with_default(&under(vec![boxed, LevelFilter::TRACE.boxed()]), program);
    check(&in_optional, 1);
    check(&in_boxed, 1);
}

#[test]
fn below_filters_of_its_own() {
    let ((first, in_first), (second, in_second)) = (start(), start());
    let without_rank = filter_fn(|metadata| !metadata.is_span() || metadata.name() != "other");
    let by_target = Targets::new().with_default(Level::INFO).with_target("elsewhere", LevelFilter::OFF);
    let both = registry().with(first.with_filter(without_rank)).with(second.with_filter(by_target));
    with_default(&Dispatch::new(both), || {
        let run = info_span!("run", workflow.name = "test").entered();
        info_span!("other").in_scope(|| {
            info_span!(target: "elsewhere", "other").in_scope(|| {
                info_span!("step", node.id = "fetch").in_scope(|| tracing::debug!("hidden from one"));
            });
        });
        let rank = info_span!("step", node.id = "rank");
        rank.record_cost(0.25);
        rank.in_scope(|| info!("event"));
        drop((rank, run));
    });
    check(&in_first, 1);
    let report = in_second.shutdown();
    assert_eq!(
        (report.flush.closed, report.open),
        (4, 0),
        "the filtered one is no orphan's parent: {report}"
    );
    assert_eq!(in_second.last_run().unwrap().quality.orphans, 0);
}

#[test]
fn layers_that_are_put_in_and_taken_out_while_spans_are_open() {
    let ((first, in_first), (second, in_second)) = (start(), start());
    let (layer, handle) = reload::Layer::new(None::<LongpoleLayer>);
    let dispatch = under(layer);
    let put = |layer| handle.modify(|place| *place = layer).unwrap();
    with_default(&dispatch, || {
        let before = info_span!("before").entered();
        put(Some(first));
        program();
        let open = info_span!("open").entered();
        let held: Vec<Span> = (0..100).map(|_| info_span!("held")).collect();
        put(Some(second));
        info_span!("below the layer before").in_scope(program_in_one);
        drop(held);
        drop(open);
        drop(before);
        program();
        put(None);
        program();
    });
    let first = in_first.shutdown();
    // It never hears of their end; what it still holds is bounded as for any span that is forgotten.
    assert_eq!((first.flush.closed, first.open), (3, 101), "{first}");
    let second = in_second.shutdown();
    assert_eq!((second.flush.closed, second.open), (5, 0), "{second}");
    assert!(second.flush.is_complete && second.flush.lost.is_empty(), "{second}");
}

fn program_in_one() {
    info_span!("step").in_scope(|| info!("event"));
}

#[test]
fn a_span_of_a_layer_that_was_taken_out_is_no_later_spans_parent() {
    let (layer, longpole) = start();
    let (place, handle) = reload::Layer::new(Some(layer));
    with_default(&under(place), || {
        let outer = info_span!("outer").entered();
        let mut taken = None;
        handle.modify(|place| taken = place.take()).unwrap();
        drop(outer);
        handle.modify(|place| *place = taken.take()).unwrap();
        program();
    });
    longpole.flush();
    let report = longpole.last_run().unwrap();
    assert_eq!(report.run.spans, 3, "a run of its own");
    assert_eq!(longpole.shutdown().open, 1, "nobody told the layer that the first one closed");
}
