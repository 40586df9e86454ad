//! In a child that was forked nobody takes spans on: they are counted, and nothing else happens.

use tracing::info_span;

use super::*;
use crate::process_identity::ProcessIdentity;

/// A layer that was made in another process.
fn bench_of_a_child(shard_bytes: usize) -> Bench {
    let mut core = LayerCore::new(config(), Arc::new(Shards::new(1, shard_bytes)));
    core.process = ProcessIdentity::of_another();
    Bench { harness: Harness::with_core(core), now: Arc::default() }
}

#[test]
fn runs_that_begin_in_a_forked_child_are_counted_and_not_kept() {
    let mut bench = bench_of_a_child(64 << 20);
    let finished = bench.run(|_| {
        for _ in 0..3 {
            let _run = info_span!("run").entered();
            let _step = info_span!("step").entered();
            tracing::info!("no span");
        }
    });
    assert!(finished.is_empty());
    assert_eq!(bench.counter("spans_after_fork"), 6);
    assert_eq!(bench.core().open_spans(), 0);
}

#[test]
fn spans_below_one_that_was_open_at_the_fork_are_kept_within_bounds_and_the_rest_counted() {
    let mut core = LayerCore::new(config(), Arc::new(Shards::new(1, 2000)));
    let own = std::mem::replace(&mut core.process, ProcessIdentity::of_another());
    assert!(own.is_this_process());
    let mut bench = Bench { harness: Harness::with_core(core), now: Arc::default() };
    let core = bench.core();
    let finished = bench.run(|_| {
        // As if the run had begun before the fork.
        core.slots.claim(1, || (), |_| ()).unwrap();
        for _ in 0..100 {
            drop(info_span!(parent: tracing::Span::none(), "run"));
        }
    });
    assert!(finished.is_empty());
    assert_eq!(bench.counter("spans_after_fork"), 100);
}
