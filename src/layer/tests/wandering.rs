//! Spans that are made, recorded, entered and closed on different threads, in such numbers that every id and every
//! slot is used again and again. Each carries a checksum of its own values.

use std::sync::mpsc::TrySendError::{Disconnected, Full};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing::{Span, info_span};

use super::Span as Decoded;
use super::*;
use crate::pipeline::shard::Chunk;

const THREADS: u64 = 16;
/// How many spans may wait to be looked at.
const AHEAD: u64 = 1_000_000;

#[test]
fn no_values_of_two_spans_are_mixed() {
    wander(THREADS * 6_000);
}

/// `cargo test --release -p longpole --lib -- --ignored ten_million` takes about a minute on two cores.
#[test]
#[ignore = "ten million spans: for a release build, by hand"]
fn no_values_of_two_spans_are_mixed_in_ten_million() {
    wander(10_000_000);
}

fn checksum(thread: u64, number: u64) -> i64 {
    let mixed = (thread << 40 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)) as i64
}

fn wander(spans: u64) {
    let per_thread = spans / THREADS;
    let core = Arc::new(LayerCore::new(config(), Arc::new(Shards::new(8, 1 << 30))));
    let dispatch = tracing::Dispatch::new(Registry::default().with(crate::LongpoleLayer::new(core.clone())));
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| sync_channel::<(Span, u64, u64)>(64)).unzip();
    let mut seen = vec![0u64; THREADS as usize];
    let (made, taken) = (AtomicU64::new(0), AtomicU64::new(0));
    // Nobody gets so far ahead that its spans find no room.
    let begin = || {
        let made = made.fetch_add(1, Ordering::Relaxed);
        while made > taken.load(Ordering::Relaxed) + AHEAD {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (thread, mine) in receivers.into_iter().enumerate() {
            let thread = thread as u64;
            let next = senders[(thread as usize + 1) % senders.len()].clone();
            let (dispatch, begin) = (dispatch.clone(), &begin);
            threads.push(scope.spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || run(thread, per_thread, begin, next, &mine));
            }));
        }
        drop(senders);
        loop {
            // Looked at before the shards are: whoever ended has left all of its spans.
            let is_over = threads.iter().all(|thread| thread.is_finished());
            take_all(&core, &mut seen);
            taken.store(seen.iter().sum(), Ordering::Relaxed);
            if is_over {
                break;
            }
            std::thread::yield_now();
        }
    });
    assert_eq!(seen, vec![per_thread; THREADS as usize]);
    assert_eq!((core.open_spans(), core.lost_spans().len()), (0, 0));
}

/// Makes spans, and hands every other on to the next thread.
fn run(
    thread: u64,
    spans: u64,
    begin: &dyn Fn(),
    next: SyncSender<(Span, u64, u64)>,
    mine: &Receiver<(Span, u64, u64)>,
) {
    let mut late = Vec::new();
    for number in 0..spans {
        begin();
        let span = info_span!("n", thread, number, text = %number, check = tracing::field::Empty);
        match number % 4 {
            0 => {
                let _inside = span.enter();
                span.record("check", checksum(thread, number));
            }
            1 => late.push((span, number)),
            // Where it does not go, it is finished here.
            _ => {
                if let Err(Full(back) | Disconnected(back)) = next.try_send((span, thread, number)) {
                    finish(back);
                }
            }
        }
        if late.len() > 20 {
            late.drain(..).for_each(|(span, number)| finish((span, thread, number)));
        }
        if let Ok(guest) = mine.try_recv() {
            finish(guest);
        }
    }
    late.drain(..).for_each(|(span, number)| finish((span, thread, number)));
    // Until the thread before this has handed on its last one.
    drop(next);
    mine.iter().for_each(finish);
}

fn finish((span, thread, number): (Span, u64, u64)) {
    let clone = span.clone();
    let inside = span.enter();
    clone.record("check", checksum(thread, number));
    if number % 3 == 0 {
        drop(inside);
        drop(span);
        clone.in_scope(|| ());
    } else {
        drop(clone);
    }
}

fn take_all(core: &LayerCore, seen: &mut [u64]) {
    let mut empty = Chunk::default();
    for shard in 0..core.shards.count() {
        let Some(chunk) = core.shards.take(shard, &mut empty) else { continue };
        for head in &chunk.heads {
            let span = Finished { span: Decoded::decode(chunk.message(head)).unwrap(), frame: *head };
            let (thread, number) = (span.int("thread").unwrap() as u64, span.int("number").unwrap() as u64);
            assert_eq!(span.int("check"), Some(checksum(thread, number)));
            assert_eq!(span.text("text"), Some(number.to_string()));
            let own = by_key(&span.span.attributes);
            assert_eq!(own.keys().filter(|key| !key.starts_with("longpole.")).count(), 4);
            seen[thread as usize] += 1;
        }
    }
}
