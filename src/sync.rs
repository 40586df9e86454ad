//! What the hand-over of finished spans between threads is made of. `tests/shard_schedules.rs` puts loom's primitives
//! in their place and tries the schedules there are.

use std::sync::atomic::AtomicU32;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::thread::Thread;

pub(crate) use parking_lot::Mutex;

static NEXT_THREAD: AtomicU32 = AtomicU32::new(0);
thread_local! {
    /// Which shard this thread leaves its spans in, before the modulus.
    static THREAD_ORDINAL: u32 = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

/// A small number that names this thread among those that ever closed or entered a span.
pub(crate) fn thread_ordinal() -> u32 {
    THREAD_ORDINAL.try_with(|ordinal| *ordinal).unwrap_or(u32::MAX)
}
