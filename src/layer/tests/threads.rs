//! Many threads, many spans, and spans that wander.

use std::sync::Barrier;

use tracing::info_span;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::*;

#[test]
fn no_attribute_strays_to_another_span_under_64_threads() {
    const THREADS: u64 = 64;
    const SPANS: u64 = 200;
    let mut bench = Bench::new(config());
    let subscriber = Arc::new(Registry::default().with(bench.harness.layer()));
    let start = Barrier::new(THREADS as usize);
    let checksum = |thread: u64, number: u64| (thread * 1_000_003 + number) as i64;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (subscriber, start) = (subscriber.clone(), &start);
            scope.spawn(move || {
                start.wait();
                tracing::subscriber::with_default(subscriber, || {
                    let _root = info_span!("root", thread).entered();
                    for number in 0..SPANS {
                        let span = info_span!("n", thread, number, checksum = tracing::field::Empty);
                        let _inside = span.enter();
                        span.record("checksum", checksum(thread, number));
                    }
                });
            });
        }
    });
    let finished = bench.finished();
    assert_eq!(finished.len() as u64, THREADS * (SPANS + 1));
    let roots: BTreeMap<_, _> = finished
        .iter()
        .filter(|finished| finished.span.name == "root")
        .map(|root| (root.int("thread").unwrap(), root))
        .collect();
    for child in finished.iter().filter(|finished| finished.span.name == "n") {
        let (thread, number) = (child.int("thread").unwrap(), child.int("number").unwrap());
        assert_eq!(child.int("checksum"), Some(checksum(thread as u64, number as u64)));
        assert_eq!(child.span.parent_span_id, roots[&thread].span.span_id);
        assert_eq!(child.span.trace_id, roots[&thread].span.trace_id);
    }
    assert!(roots.values().all(|root| u64::from(root.frame.children) == SPANS));
    assert_eq!(bench.core().open_spans(), 0);
}

#[test]
fn a_span_may_be_entered_on_one_thread_and_closed_on_another() {
    let mut bench = Bench::new(config());
    let now = bench.now.clone();
    let subscriber = Arc::new(Registry::default().with(bench.harness.layer()));
    let at = |nanos| now.store(nanos, Ordering::Relaxed);
    tracing::subscriber::with_default(subscriber.clone(), || {
        let span = info_span!("n");
        let inside = span.enter();
        at(10);
        std::thread::scope(|scope| {
            let span = span.clone();
            let at = &at;
            let subscriber = subscriber.clone();
            scope.spawn(move || {
                tracing::subscriber::with_default(subscriber, || {
                    span.in_scope(|| at(20));
                    at(25);
                });
            });
        });
        at(30);
        drop(inside);
        std::thread::spawn(move || drop(span)).join().unwrap();
    });
    let finished = bench.finished();
    let n = named(&finished, "n");
    assert_eq!((n.int("longpole.polls"), n.int("longpole.busy_ns")), (Some(2), Some(30)));
    assert_eq!(n.int("longpole.longest_poll_ns"), None, "the longest poll is all of the busy time");
}

#[test]
fn ten_thousand_spans_may_be_open_at_once() {
    let mut bench = Bench::new(config());
    let core = bench.core();
    let finished = bench.run(|_| {
        let spans: Vec<_> = (0..10_001).map(|number| info_span!("n", number)).collect();
        assert_eq!(core.open_spans(), 10_001);
        drop(spans);
    });
    let mut numbers: Vec<_> = finished.iter().map(|finished| finished.int("number").unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..10_001));
    assert_eq!(core.open_spans(), 0);
}

#[test]
fn past_the_limit_of_open_spans_some_are_written_early_and_their_parent_still_knows_all_of_them() {
    let mut bench = Bench::new(LayerConfig { max_open_spans: 40, ..config() });
    let finished = bench.run(|_| {
        let _root = info_span!("root").entered();
        let spans: Vec<_> = (0..1000).map(|_| info_span!("n")).collect();
        drop(spans);
    });
    assert_eq!((finished.len(), bench.counter("spans_open_limit")), (1001, 0));
    let partial =
        finished.iter().filter(|f| f.text("longpole.outcome").as_deref() == Some("partial")).count();
    assert!(partial > 800, "{partial}");
    assert_eq!(bench.counter("open_spans_evicted"), partial as u64);
    let root = named(&finished, "root");
    assert_eq!((root.frame.children, root.text("longpole.outcome")), (1000, None));
}

#[test]
fn a_full_shard_loses_spans_and_counts_them() {
    let core = LayerCore::new(config(), Arc::new(Shards::new(1, 2000)));
    let mut bench = Bench { harness: Harness::with_core(core), now: Arc::default() };
    let finished = bench.run(|_| (0..100).for_each(|_| drop(info_span!("n"))));
    assert!(!finished.is_empty());
    assert_eq!(finished.len() as u64 + bench.counter("spans_shard_full"), 100);
}

/// Counts what it is told.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl<S: tracing::Subscriber> Layer<S> for Counting {
    fn on_new_span(&self, _: &tracing::span::Attributes<'_>, _: &tracing::Id, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_layer_beside_ours_misses_nothing_of_what_we_ignore() {
    let mut bench = Bench::new(config());
    let counting = Counting::default();
    let subscriber = Registry::default().with(bench.harness.layer()).with(counting.clone());
    tracing::subscriber::with_default(subscriber, || {
        let _ours = info_span!("ours").entered();
        let _ignored = info_span!(target: "hyper::client", "ignored").entered();
        tracing::trace!(target: "h2", "ignored");
        tracing::trace!("too verbose");
    });
    assert_eq!(counting.0.load(Ordering::Relaxed), 4);
    assert_eq!(bench.finished().len(), 1);
}
