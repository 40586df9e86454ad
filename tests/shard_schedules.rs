//! The hand-over of finished spans, and the wake-up that goes with it, under every schedule there is with at most three
//! preemptions. The code is the library's own file; only what it is made of is
//! loom's.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "files of the library, of which a part is used")]

#[path = "../src/pipeline/shard.rs"]
mod shard;

#[path = "../src/encode/varint.rs"]
mod varint;

#[path = "../src/pipeline/pressure.rs"]
mod pressure;

mod encode {
    pub(crate) use crate::varint;

    /// What a span has beside its bytes: nothing here.
    pub(crate) mod finished_span {
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct FinishedSpan;

        impl FinishedSpan {
            pub(crate) fn append(&self, _: &mut Vec<u8>) {}
        }
    }
}

mod pipeline {
    pub(crate) use crate::pressure;
}

/// What `src/sync.rs` holds, of loom.
mod sync {
    use std::cell::Cell;

    pub(crate) use loom::sync::atomic::Ordering;

    /// A flag whose operations have one order, as the language has it for `SeqCst`. Loom's own takes that for `AcqRel`,
    /// and then lets a `swap` read a value that was overwritten before it, which no memory model allows.
    #[derive(Debug)]
    pub(crate) struct AtomicBool(loom::sync::Mutex<bool>);

    impl AtomicBool {
        pub(crate) fn new(value: bool) -> Self {
            AtomicBool(loom::sync::Mutex::new(value))
        }

        pub(crate) fn load(&self, _: Ordering) -> bool {
            *self.0.lock().unwrap()
        }

        pub(crate) fn store(&self, value: bool, _: Ordering) {
            *self.0.lock().unwrap() = value;
        }

        pub(crate) fn swap(&self, value: bool, _: Ordering) -> bool {
            std::mem::replace(&mut *self.0.lock().unwrap(), value)
        }
    }

    /// A thread that parks. Loom's own forgets an unpark that comes while the thread waits for a lock.
    #[derive(Clone)]
    pub(crate) struct Thread(loom::sync::Arc<loom::sync::Notify>);

    impl Thread {
        pub(crate) fn new() -> Self {
            Thread(loom::sync::Arc::new(loom::sync::Notify::new()))
        }

        /// Returns at once if it was unparked since it last returned; and now and then for no reason, as the standard
        /// library's may.
        pub(crate) fn park(&self) {
            self.0.wait();
        }

        pub(crate) fn unpark(&self) {
            self.0.notify();
        }
    }

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Self {
            Mutex(loom::sync::Mutex::new(T::default()))
        }
    }

    loom::thread_local! {
        static ORDINAL: Cell<u32> = Cell::new(0);
    }

    pub(crate) fn thread_ordinal() -> u32 {
        ORDINAL.with(Cell::get)
    }

    pub(crate) fn set_thread_ordinal(ordinal: u32) {
        ORDINAL.with(|cell| cell.set(ordinal));
    }
}

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use shard::{Chunk, Left, Refused, Shards, UpTo};
use sync::Thread;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Leaves `spans`, one byte each, in the shard of thread number `ordinal`. Says how many were taken.
fn produce(shards: &Shards, ordinal: u32, spans: &[u8]) -> usize {
    sync::set_thread_ordinal(ordinal);
    let push = |span: &u8| shards.push(UpTo::Full, Left::default(), [&[*span]], || None);
    let pushed: Vec<_> = spans.iter().map(push).collect();
    assert!(pushed.iter().all(|pushed| matches!(pushed, Ok(()) | Err(Refused::Closed))));
    pushed.iter().filter(|pushed| pushed.is_ok()).count()
}

/// Takes what is in the shards, as the io thread does; says whether there was anything.
fn drain(shards: &Shards, taken: &mut Vec<u8>) -> bool {
    let mut found = false;
    for index in 0..shards.count() {
        if let Some(chunk) = shards.take(index, &mut Chunk::default()) {
            found = true;
            taken.extend(chunk.heads.iter().map(|head| chunk.message(head)[0]));
        }
    }
    found
}

/// The io thread's loop, until it has `expected` spans: look, announce, look again, park.
fn consume(shards: &Shards, own: &Thread, expected: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    loop {
        drain(shards, &mut taken);
        if taken.len() >= expected {
            return taken;
        }
        shards.announce_parking();
        if !drain(shards, &mut taken) {
            own.park();
        }
        shards.unpark_self();
    }
}

/// Two threads leave three spans each, in shards `first` and `second`, while a third takes them and parks whenever
/// there are none. Were a wake-up lost, it would be parked for ever with spans to take, which loom calls a deadlock.
fn hand_over(first: u32, second: u32) {
    explore(move || {
        let shards = Arc::new(Shards::new(1, 1 << 20));
        let (of_consumer, io_thread) = (shards.clone(), Thread::new());
        shards.set_io_thread(io_thread.clone());
        let consumer = thread::spawn(move || consume(&of_consumer, &io_thread, 6));
        let of_producer = shards.clone();
        let producer = thread::spawn(move || produce(&of_producer, first, &[1, 2, 3]));
        assert_eq!(produce(&shards, second, &[4, 5, 6]), 3);
        assert_eq!(producer.join().unwrap(), 3);
        let taken = consumer.join().unwrap();
        // Nothing is lost, nothing comes twice, and the spans of one thread keep their order.
        let of =
            |spans: [u8; 3]| taken.iter().copied().filter(|span| spans.contains(span)).collect::<Vec<_>>();
        assert_eq!((of([1, 2, 3]), of([4, 5, 6])), (vec![1, 2, 3], vec![4, 5, 6]));
    });
}

// Both fail within a second if `consume` announces after its last look instead of before it, and if `push` looks at the
// flag before it leaves its span.

#[test]
fn threads_of_one_shard_lose_neither_spans_nor_wake_ups() {
    hand_over(0, 0);
}

#[test]
fn threads_of_two_shards_lose_neither_spans_nor_wake_ups() {
    hand_over(0, 1);
}

/// Fails if `push` asks whether the shards are closed before it has its lock.
#[test]
fn a_span_that_meets_the_end_is_taken_or_refused_or_counted_as_left() {
    explore(|| {
        let shards = Arc::new(Shards::new(1, 1 << 20));
        let accepted = Arc::new(AtomicUsize::new(0));
        let producers: Vec<_> = (0..2)
            .map(|ordinal| {
                let (shards, accepted) = (shards.clone(), accepted.clone());
                thread::spawn(move || {
                    accepted.fetch_add(produce(&shards, ordinal, &[1, 2]), Ordering::Relaxed);
                })
            })
            .collect();
        let mut taken = Vec::new();
        drain(&shards, &mut taken);
        let left = shards.close();
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(taken.len() + left as usize, accepted.load(Ordering::Relaxed));
        assert_eq!(produce(&shards, 0, &[9]), 0, "closed is closed");
    });
}
