//! Spans that are opened and never closed: bounded, and in nobody's way.

use tracing::{Span, info, info_span};

use super::*;
use crate::layer::open_bytes;

fn forget(span: Span) {
    std::mem::forget(span);
}

fn bench(max_open_spans: usize) -> Bench {
    Bench::new(LayerConfig { max_open_spans, ..config() })
}

#[test]
fn forgotten_spans_make_room_for_new_ones_and_are_written_as_partial() {
    let mut bench = bench(1000);
    let core = bench.core();
    let finished = bench.run(|at| {
        for number in 0..5000u64 {
            at(number);
            forget(info_span!(parent: None, "forgotten", number));
        }
        at(10_000);
        for _ in 0..100 {
            let _run = info_span!(parent: None, "run").entered();
            let steps: Vec<_> = (0..10).map(|step| info_span!("step", step)).collect();
            drop(steps);
        }
    });
    assert_eq!(bench.counter("spans_open_limit"), 0);
    let of = |name: &str| finished.iter().filter(|f| f.span.name == name).cloned().collect::<Vec<_>>();
    let runs = of("run");
    assert_eq!((runs.len(), of("step").len()), (100, 1000), "what came later was measured");
    assert!(runs.iter().all(|run| run.frame.children == 10 && run.text("longpole.outcome").is_none()));
    let partial = of("forgotten");
    assert_eq!(partial.len() as u64, bench.counter("open_spans_evicted"));
    assert_eq!(partial.len() as u64 + core.open_spans(), 5000, "each is still open, or was written");
    assert!(core.open_spans() <= 1000, "{}", core.open_spans());
    for span in &partial {
        assert_eq!(span.text("longpole.outcome").as_deref(), Some("partial"));
        let number = span.int("number").unwrap() as u64;
        assert_eq!(span.times().0, number, "with its attributes");
        assert!(span.times().1 >= number);
    }
}

#[test]
fn those_that_are_running_or_have_children_go_last() {
    let mut bench = bench(400);
    let mut kept = Vec::new();
    let finished = bench.run(|at| {
        let runs: Vec<_> = (0..20)
            .map(|_| {
                let run = info_span!(parent: None, "run").entered();
                kept.push(info_span!(parent: &*run, "waits").entered());
                run
            })
            .collect();
        for number in 0..4000u64 {
            at(number);
            forget(info_span!(parent: None, "forgotten"));
        }
        kept.clear();
        drop(runs);
    });
    for name in ["run", "waits"] {
        let spans: Vec<_> = finished.iter().filter(|f| f.span.name == name).collect();
        assert_eq!(spans.len(), 20);
        assert!(spans.iter().all(|span| span.text("longpole.outcome").is_none()), "{name}");
    }
}

#[test]
fn spans_entered_and_forgotten_make_room_too() {
    let mut bench = bench(400);
    let core = bench.core();
    let finished = bench.run(|_| {
        for _ in 0..3000 {
            std::mem::forget(info_span!("forgotten").entered());
        }
        for _ in 0..10 {
            drop(info_span!(parent: None, "run"));
        }
    });
    assert_eq!(bench.counter("spans_open_limit"), 0);
    assert_eq!(finished.iter().filter(|f| f.span.name == "run").count(), 10);
    assert_eq!((finished.len() - 10) as u64 + core.open_spans(), 3000);
}

#[test]
fn a_span_that_was_given_up_may_still_be_used_and_closed() {
    let mut bench = bench(100);
    let finished = bench.run(|_| {
        let late: Vec<_> =
            (0..1000).map(|_| info_span!(parent: None, "late", x = tracing::field::Empty)).collect();
        for span in &late {
            span.record("x", 1);
            span.in_scope(|| info!("still here"));
            span.follows_from(late[0].id());
        }
        drop(late);
        for number in 0..1000 {
            let span = info_span!(parent: None, "after", number);
            span.in_scope(|| ());
        }
    });
    let late = finished.iter().filter(|f| f.span.name == "late").count();
    assert_eq!(late as u64 + bench.counter("spans_open_limit"), 1000, "each is written once");
    let after: Vec<_> = finished.iter().filter(|f| f.span.name == "after").collect();
    assert_eq!(after.len(), 1000);
    for (number, span) in after.iter().enumerate() {
        assert_eq!(
            span.recorded(),
            BTreeMap::from([("number", int(number as i64))]),
            "nothing strayed to it"
        );
        assert!(span.span.events.is_empty() && span.span.links.is_empty());
        assert_eq!(span.int("longpole.polls"), Some(1));
    }
}

#[test]
fn a_child_opened_below_a_span_that_was_given_up_stands_under_the_next_one_above() {
    let mut bench = bench(100);
    let finished = bench.run(|at| {
        (0..70).for_each(|_| forget(info_span!(parent: None, "forgotten")));
        let root = info_span!(parent: None, "root").entered();
        let middle = info_span!(parent: &*root, "middle");
        for number in 0..3000 {
            at(number);
            forget(info_span!(parent: None, "forgotten"));
        }
        at(5000);
        drop(info_span!(parent: &middle, "child"));
        drop(middle);
        drop(root);
    });
    let [root, middle, child] = ["root", "middle", "child"].map(|name| named(&finished, name));
    assert_eq!(middle.text("longpole.outcome").as_deref(), Some("partial"));
    assert_eq!(child.span.parent_span_id, root.span.span_id);
    assert_eq!((root.frame.children, middle.frame.children), (2, 0));
}

#[test]
fn the_memory_of_open_spans_is_bounded_whatever_they_carry() {
    let max_open_spans = 20_000;
    let budget = open_bytes::budget(max_open_spans);
    let mut bench = bench(max_open_spans);
    let core = bench.core();
    let text = "x".repeat(4000);
    let subscriber = Arc::new(Registry::default().with(bench.harness.layer()));
    let (mut most, mut written) = (0, 0);
    for _ in 0..10 {
        tracing::subscriber::with_default(subscriber.clone(), || {
            for number in 0..1000 {
                let span =
                    info_span!(parent: None, "large", a = text, b = text, c = text, node.id = "kept", number);
                span.in_scope(|| info!(text, "event"));
                forget(span);
                most = most.max(core.slots.bytes.used());
            }
        });
        let finished = bench.finished();
        assert!(finished.iter().all(|f| f.text("longpole.node.id").is_some()));
        written += finished.len();
    }
    // Those that come later still have their attributes.
    tracing::subscriber::with_default(subscriber, || drop(info_span!(parent: None, "after", a = text)));
    let finished = bench.finished();
    assert!(most <= budget + budget / 8, "{most} of {budget}");
    assert!(most > budget / 2, "the test reached the limit: {most} of {budget}");
    assert_eq!(bench.counter("spans_open_limit"), 0);
    assert_eq!(written as u64 + core.open_spans(), 10_000);
    assert_eq!(named(&finished, "after").text("a").map(|a| a.len()), Some(4000));
}

#[test]
fn spans_that_grow_while_all_others_are_large_keep_what_the_analysis_reads() {
    let mut bench = bench(1000);
    let (core, text) = (bench.core(), "x".repeat(4000));
    let budget = open_bytes::budget(1000);
    let finished = bench.run(|_| {
        let fields =
            || info_span!(parent: None, "n", a = tracing::field::Empty, node.id = tracing::field::Empty);
        let spans: Vec<_> = (0..900).map(|_| fields()).collect();
        for span in &spans {
            span.record("node.id", "kept").record("a", &text);
        }
        let used = core.slots.bytes.used();
        assert!(used <= budget + 900 * 300, "{used} of {budget}");
        drop(spans);
        assert!(core.slots.bytes.used() < used);
    });
    let cut = finished.iter().filter(|f| f.text("a").is_none()).count();
    assert!(cut > 500, "{cut}");
    assert!(finished.iter().all(|f| f.text("longpole.node.id").as_deref() == Some("kept")));
    let dropped: u32 = finished.iter().map(|f| f.span.dropped_attributes_count).sum();
    assert_eq!(dropped as usize, cut);
    assert_eq!(
        (bench.counter("attributes_dropped"), bench.counter("open_bytes_limit")),
        (cut as u64, cut as u64)
    );
}

#[test]
fn an_attribute_longer_than_a_span_may_be_costs_no_other_its_place() {
    let mut limited = config();
    limited.limits.span_bytes = 1000;
    let finished = measure_with(limited, || {
        let span = info_span!("n", a = "small", b = tracing::field::Empty);
        span.in_scope(|| info!("event"));
        span.record("b", "x".repeat(2000));
    });
    let n = named(&finished, "n");
    assert_eq!((n.text("a").as_deref(), n.text("b"), n.span.events.len()), (Some("small"), None, 1));
    assert_eq!((n.span.dropped_attributes_count, n.span.dropped_events_count), (1, 0));
}

#[test]
fn many_threads_forget_and_close_at_once_and_nothing_is_lost_or_written_twice() {
    const THREADS: u64 = 8;
    const SPANS: u64 = 4000;
    let mut bench = bench(300);
    let subscriber = Arc::new(Registry::default().with(bench.harness.layer()));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let subscriber = subscriber.clone();
            scope.spawn(move || {
                tracing::subscriber::with_default(subscriber, || {
                    let mut held = Vec::new();
                    for number in 0..SPANS {
                        let check = (thread * 1_000_003 + number) as i64;
                        let span =
                            info_span!(parent: None, "n", thread, number, check = tracing::field::Empty);
                        span.record("check", check);
                        match number % 4 {
                            0 => forget(span),
                            1 => held.push(span),
                            _ => span.in_scope(|| ()),
                        }
                        if held.len() > 50 {
                            held.clear();
                        }
                    }
                });
            });
        }
    });
    let finished = bench.finished();
    let mut seen = std::collections::BTreeSet::new();
    for span in &finished {
        let (thread, number) = (span.int("thread").unwrap(), span.int("number").unwrap());
        assert!(seen.insert((thread, number)), "written twice");
        // A span may be given up before it says more.
        let is_whole = span.int("check") == Some(thread * 1_000_003 + number);
        assert!(
            is_whole
                || span.text("longpole.outcome").as_deref() == Some("partial") && span.int("check").is_none()
        );
    }
    let lost = bench.counter("spans_open_limit");
    assert_eq!(seen.len() as u64 + bench.core().open_spans() + lost, THREADS * SPANS);
}
