//! A mistake of ours in a thread of ours costs what that thread held, counted, and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use tracing::info_span;
use tracing_subscriber::prelude::*;

use super::io_thread::{Drain, LossTelling};
use super::run_thread::{Batch, RunThreadConfig};
use super::shard::{Chunk, Left, Shards, UpTo, flags};
use super::{Pipeline, PipelineSettings};
use crate::layer::config::LayerConfig;
use crate::layer::{LayerCore, LongpoleLayer};
use crate::metrics::hub::MetricHub;
use crate::metrics::store::MetricLimits;

const PATIENCE: Duration = Duration::from_secs(20);

/// A pipeline whose run thread panics on the first run, and whose io thread does when it is told to.
fn pipeline(shards: &Arc<Shards>, io_panics: Arc<AtomicBool>) -> Pipeline {
    let run_panics = AtomicBool::new(true);
    let config = RunThreadConfig {
        assembler: Default::default(),
        report: Default::default(),
        compares_with_earlier_runs: false,
        keep_runs: None,
        marked_only: false,
        origin: Default::default(),
        budgets: None,
        on_budget: Vec::new(),
        on_run: Vec::new(),
        on_run_spans: Vec::new(),
        metrics: Arc::new(MetricHub::new(MetricLimits::default())),
        #[cfg(feature = "mlflow")]
        mlflow: None,
        #[cfg(feature = "metrics")]
        uses_facade: false,
        layer_losses: Box::new(move || {
            assert!(!run_panics.swap(false, Ordering::Relaxed), "a mistake of ours");
            Default::default()
        }),
        open_spans: Box::new(Vec::new),
        host_dispatch: Box::new(|| None),
    };
    let telling = LossTelling {
        layer_losses: Box::new(move || {
            assert!(!io_panics.swap(false, Ordering::Relaxed), "a mistake of ours");
            Default::default()
        }),
        tell: None,
    };
    Pipeline::start(
        shards.clone(),
        None,
        config,
        PipelineSettings { is_strict: false, analyses: true, prices: Default::default(), telling },
    )
    .unwrap()
}

fn two_runs_with_a_panic_after_the_first(io_panics: bool) -> (Pipeline, Vec<String>) {
    let shards = Arc::new(Shards::new(1, 1 << 20));
    let panics = Arc::new(AtomicBool::new(false));
    let pipeline = pipeline(&shards, panics.clone());
    let core = Arc::new(LayerCore::new(LayerConfig::default(), shards));
    let run = || {
        let subscriber = tracing_subscriber::registry().with(LongpoleLayer::new(core.clone()));
        tracing::subscriber::with_default(subscriber, || {
            info_span!(target: "app", "run")
                .in_scope(|| info_span!(target: "app", "step", node.id = "step").in_scope(|| ()));
        });
        pipeline.flush(Instant::now() + PATIENCE)
    };
    // The run thread drops whoever waits for it when it panics; the io thread's panic is noticed by nobody.
    run();
    panics.store(io_panics, Ordering::Relaxed);
    let deadline = Instant::now() + PATIENCE;
    while !run() {
        assert!(Instant::now() < deadline);
    }
    let notes = pipeline.outputs.state().notes.clone();
    (pipeline, notes)
}

#[test]
fn the_run_thread_begins_anew_after_a_panic() {
    let (pipeline, notes) = two_runs_with_a_panic_after_the_first(false);
    assert!(notes.iter().any(|note| note.contains("analysis panicked and began anew")), "{notes:?}");
    assert!(pipeline.outputs.runs.load(Ordering::Relaxed) >= 1);
}

#[test]
fn the_io_thread_begins_anew_after_a_panic() {
    let (pipeline, notes) = two_runs_with_a_panic_after_the_first(true);
    let deadline = Instant::now() + PATIENCE;
    let has_begun_anew = || {
        pipeline.flush(deadline);
        let notes = pipeline.outputs.state().notes.clone();
        notes.iter().any(|note| note.contains("io thread panicked and began anew"))
    };
    while !has_begun_anew() {
        assert!(Instant::now() < deadline, "{notes:?}");
    }
    assert!(pipeline.flush(deadline), "it works again");
}

/// A shard writes out what was left in it: messages whose length takes one, two and three bytes, whole ones and such of
/// which a part is left as plain values.
#[test]
fn what_is_left_in_a_shard_is_written_out_as_it_goes_onto_the_wire() {
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use prost::Message;

    use crate::encode::finished_span::FinishedSpan;
    use crate::encode::span::{EncodedKey, EncodedName, SPAN_ATTRIBUTE, append_str};
    use crate::encode::timing::Timing;

    let shards = Shards::new(1, 1 << 20);
    let name = "a name that is longer than what is copied at once";
    let finished = FinishedSpan {
        trace_id: [1, 2],
        span_id: 3,
        parent_id: 0,
        start: 1000,
        end: 9000,
        timing: Timing {
            first_enter: 2000,
            first_run: 1500,
            busy: 40,
            longest_poll: 30,
            held_open: 5_000_000,
            polls: 2,
        },
        name: Some(Box::leak(Box::new(EncodedName::new(name)))),
        flags: 0x101,
        kind: 1,
        has_timing: true,
    };
    let attributes = |len: usize| {
        let mut attributes = Vec::new();
        append_str(&mut attributes, SPAN_ATTRIBUTE, &EncodedKey::new("text"), &"x".repeat(len), usize::MAX);
        attributes
    };
    let left = |children| Left { children, flags: 5 };
    for (children, len) in (0..).zip([0, 100, 200, 17_000, 20_000]) {
        shards.push(UpTo::Full, left(children), [&attributes(len)], || None).unwrap();
        let parts: [&[u8]; 2] = [&attributes(len), &[]];
        shards.push(UpTo::Full, left(children), parts, || Some(finished)).unwrap();
    }
    for round in 0..2 {
        let chunks: Vec<Chunk> =
            (0..shards.count()).filter_map(|index| shards.take(index, &mut Chunk::default())).collect();
        let [chunk] = chunks.as_slice() else {
            assert_eq!((chunks.len(), round), (0, 1), "once");
            return;
        };
        assert_eq!(chunk.heads.len(), 10);
        let all = ScopeSpans::decode(&*chunk.bytes).unwrap().spans;
        for (index, (head, span)) in chunk.heads.iter().zip(&all).enumerate() {
            assert_eq!(Span::decode(chunk.message(head)).unwrap(), *span);
            assert_eq!(ScopeSpans::decode(chunk.field(head)).unwrap().spans, std::slice::from_ref(span));
            assert_eq!((head.children, head.flags), (index as u32 / 2, 5));
            assert_eq!(span.name, if index % 2 == 0 { "" } else { name });
            assert_eq!(span.attributes.len(), if index % 2 == 0 { 1 } else { 7 });
        }
        assert_eq!((all[1].start_time_unix_nano, all[1].end_time_unix_nano), (1000, 9000));
        assert_eq!(
            (all[1].span_id.as_slice(), all[1].parent_span_id.len()),
            (&[0, 0, 0, 0, 0, 0, 0, 3][..], 0)
        );
        assert_eq!((all[1].kind, all[1].flags, all[1].trace_id[7], all[1].trace_id[15]), (1, 0x101, 1, 2));
    }
}

/// What the run thread gets, in spans by batch.
fn batches(from: &Receiver<Batch>) -> Vec<Vec<usize>> {
    let spans = |batch| match batch {
        Batch::Spans(chunks) => chunks.iter().map(|chunk| chunk.heads.len()).collect(),
        Batch::Flush(_) | Batch::Stop(_) => panic!("nobody asked"),
    };
    from.try_iter().map(spans).collect()
}

#[test]
fn the_run_thread_is_woken_for_roots_and_for_many_spans_together() {
    let root = Left { children: 0, flags: flags::LOCAL_ROOT };
    let other = Left { children: 0, flags: 0 };
    for (holds, few, with_root, many) in [
        (true, vec![], vec![vec![1, 1, 1]], vec![vec![1024]]),
        (false, vec![vec![1], vec![1]], vec![vec![1]], vec![vec![1024]]),
    ] {
        let shards = Arc::new(Shards::new(1, 1 << 20));
        let (to_run, run) = crossbeam_channel::unbounded();
        let drain = Drain::new(shards.clone(), to_run, Default::default(), None, Default::default(), holds);
        let close = |head| shards.push(UpTo::Full, head, [b"span"], || None).unwrap();
        // Two drains a moment apart; what is held is due after 25 ms, which a slow machine may take.
        let began = Instant::now();
        close(other);
        assert!(drain.drain());
        close(other);
        assert!(drain.drain());
        let told = batches(&run);
        let was_quick = began.elapsed() < Duration::from_millis(25);
        if was_quick || !holds {
            assert_eq!(told, few);
        }
        close(root);
        assert!(drain.drain());
        let told = batches(&run);
        if was_quick || !holds {
            assert_eq!(told, with_root);
        }
        (0..1024).for_each(|_| close(other));
        assert!(drain.drain());
        assert_eq!(batches(&run), many);
        assert!(!drain.drain());
    }
}
