//! How much memory open spans hold together, and may hold.
//!
//! Touched when slots are made and when a span's buffers grow beyond what they ever were, so nearly never: buffers
//! stay with their slots and are used again.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A budget of bytes.
#[derive(Debug)]
pub(crate) struct OpenBytes {
    used: AtomicUsize,
    max: usize,
}

/// Bytes each of the spans that may be open can have on average: 32 MiB for 100,000.
const PER_SPAN: usize = 335;
/// With few spans allowed, each may still be large.
const LEAST: usize = 1 << 20;

/// What `max_open` spans may hold together.
pub(crate) fn budget(max_open: usize) -> usize {
    max_open.saturating_mul(PER_SPAN).max(LEAST)
}

impl OpenBytes {
    pub(crate) fn new(max: usize) -> Self {
        OpenBytes { used: AtomicUsize::new(0), max }
    }

    /// Takes `bytes` if there are as many left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let used = self.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let fits = used <= self.max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    /// Takes `bytes` that somebody holds already, whatever is left.
    pub(crate) fn take_anyway(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Whether a sixteenth is left, so that who made room need not do so again at once.
    pub(crate) fn has_room(&self) -> bool {
        self.used() <= self.share(16)
    }

    /// Whether three quarters are left.
    pub(crate) fn is_mostly_free(&self) -> bool {
        self.used() <= self.max / 4
    }

    /// All but a `part`th.
    pub(crate) fn share(&self, part: usize) -> usize {
        self.max.saturating_sub(self.max.checked_div(part).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_given_than_there_is() {
        let bytes = OpenBytes::new(100);
        assert!(bytes.take(60) && !bytes.take(41) && bytes.take(40));
        bytes.give_back(50);
        assert!(!bytes.take(51) && bytes.take(50));
        bytes.take_anyway(10);
        assert_eq!(bytes.used(), 110);
    }
}
