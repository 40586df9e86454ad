//! What the hand-over of finished spans between threads is made of. `tests/shard_schedules.rs` puts loom's primitives
//! in their place and tries the schedules there are.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::thread::Thread;

pub(crate) use parking_lot::Mutex;

/// Threads so far; the first is number 1.
static THREADS: AtomicU32 = AtomicU32::new(0);
thread_local! {
    /// Zero: not numbered yet.
    static THREAD_ORDINAL: Cell<u32> = const { Cell::new(0) };
}

/// A small number that names this thread among those that ever closed or entered a span. Modulo a number it says which
/// shard this thread leaves its spans in.
#[inline]
pub(crate) fn thread_ordinal() -> u32 {
    match THREAD_ORDINAL.try_with(Cell::get) {
        Ok(0) => number_thread(),
        Ok(ordinal) => ordinal,
        Err(_) => u32::MAX,
    }
}

#[cold]
fn number_thread() -> u32 {
    // After four thousand million threads numbers come again; zero is skipped.
    let ordinal = THREADS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    let _ = THREAD_ORDINAL.try_with(|cell| cell.set(ordinal));
    ordinal
}
