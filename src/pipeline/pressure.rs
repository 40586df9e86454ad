//! How near the buffers behind the closing threads are to being full, so that less is written before anything has
//! to be refused.

use std::sync::atomic::{AtomicU8, Ordering};

/// How full a buffer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Less than half.
    #[default]
    Low,
    /// At least half: long texts are cut, events and links are left out.
    Half,
    /// At least three quarters: spans without children that are no nodes are not exported.
    ThreeQuarters,
    /// It takes no more: no span is exported that is no node.
    Full,
}

impl Level {
    /// The level of a buffer that holds `used` of `capacity`; a buffer that can hold nothing is full.
    pub(crate) fn of(used: u64, capacity: u64) -> Level {
        let (used, capacity) = (u128::from(used), u128::from(capacity));
        if used >= capacity {
            Level::Full
        } else if used.saturating_mul(4) >= capacity.saturating_mul(3) {
            Level::ThreeQuarters
        } else if used.saturating_mul(2) >= capacity {
            Level::Half
        } else {
            Level::Low
        }
    }
}

/// The pressure from behind the shards: set by the delivery, read by every closing thread.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    delivery: AtomicU8,
}

impl Pressure {
    /// Says how full the delivery's queue or spool is now; a lower level takes a higher one back. Spans that close
    /// at this moment may still see the level before.
    pub(crate) fn raise_delivery(&self, level: Level) {
        self.delivery.store(level as u8, Ordering::Relaxed);
    }

    /// How full the delivery said it is.
    #[inline]
    pub(crate) fn delivery(&self) -> Level {
        match self.delivery.load(Ordering::Relaxed) {
            0 => Level::Low,
            1 => Level::Half,
            2 => Level::ThreeQuarters,
            _ => Level::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_water_marks_are_a_half_three_quarters_and_the_whole() {
        let levels = |used: [u64; 7]| used.map(|used| Level::of(used, 1000));
        assert_eq!(
            levels([0, 499, 500, 749, 750, 999, 1000]),
            [
                Level::Low,
                Level::Low,
                Level::Half,
                Level::Half,
                Level::ThreeQuarters,
                Level::ThreeQuarters,
                Level::Full
            ]
        );
        assert_eq!((Level::of(0, 0), Level::of(u64::MAX, 1)), (Level::Full, Level::Full));
        assert_eq!(Level::of(u64::MAX / 2, u64::MAX), Level::Low);
    }

    #[test]
    fn the_delivery_raises_and_lowers_it() {
        let pressure = Pressure::default();
        for level in [Level::Full, Level::ThreeQuarters, Level::Half, Level::Low] {
            pressure.raise_delivery(level);
            assert_eq!(pressure.delivery(), level);
        }
    }
}
