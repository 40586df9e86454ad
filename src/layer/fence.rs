//! Keeps a user's formatting code from tracing itself into the layer.
//!
//! A `Debug` implementation may open spans and log events. While one runs for us, this thread's new spans, events
//! and records are not taken; enter, exit and close always are, so that spans opened before stay right.

use std::cell::Cell;

thread_local! {
    static UP: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is running user code for the layer.
#[inline]
pub(crate) fn is_up() -> bool {
    UP.try_with(Cell::get).unwrap_or(false)
}

/// Up while this lives.
#[derive(Debug)]
pub(crate) struct Fence {
    was_up: bool,
}

impl Fence {
    /// Puts the fence up on this thread.
    pub(crate) fn raise() -> Self {
        Fence { was_up: UP.try_with(|up| up.replace(true)).unwrap_or(true) }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let _ = UP.try_with(|up| up.set(self.was_up));
    }
}
