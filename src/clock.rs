//! The one place where the live half reads a clock.
//!
//! Times are read from the processor's time-stamp counter and counted from the counter's zero; a wall-clock
//! [`Clock::anchor`], taken once per local root, turns them into points in time. So the spans of one trace never
//! run backwards, whatever happens to the system's clock. Making the first clock of a process calibrates the
//! counter: about half a millisecond.

use std::time::SystemTime;

use crate::time::{Duration, Timestamp};

/// Counts nanoseconds.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Counter {
        counter: quanta::Clock,
        /// Nanoseconds in 2^40 ticks. Scaling here costs half of what asking the counter for each time does.
        nanos_per_2_40_ticks: u64,
    },
    #[cfg(test)]
    Manual { nanos: ManualTime, anchor: ManualTime },
}

/// Nanoseconds a test sets.
#[cfg(test)]
type ManualTime = std::sync::Arc<std::sync::atomic::AtomicU64>;

impl Clock {
    /// A clock that starts at zero now.
    pub(crate) fn new() -> Self {
        let counter = quanta::Clock::new();
        let nanos_per_2_40_ticks = counter.delta_as_nanos(0, 1 << 40);
        Clock { source: Source::Counter { counter, nanos_per_2_40_ticks } }
    }

    /// A clock that shows what `nanos` says, anchored at the epoch.
    #[cfg(test)]
    pub(crate) fn manual(nanos: ManualTime) -> Self {
        Self::manual_anchored(nanos, ManualTime::default())
    }

    /// The same, anchored at what `anchor` says: it moves when somebody sets the system's clock.
    #[cfg(test)]
    pub(crate) fn manual_anchored(nanos: ManualTime, anchor: ManualTime) -> Self {
        Clock { source: Source::Manual { nanos, anchor } }
    }

    /// Time since the counter's zero.
    #[inline]
    pub(crate) fn elapsed(&self) -> Duration {
        match &self.source {
            Source::Counter { counter, nanos_per_2_40_ticks } => {
                // At most 2^64 times 2^64: no overflow. The quotient overflows after five hundred years.
                let nanos = u128::from(counter.raw()).wrapping_mul(u128::from(*nanos_per_2_40_ticks)) >> 40;
                Duration::from_nanos(nanos as u64)
            }
            #[cfg(test)]
            Source::Manual { nanos, .. } => {
                Duration::from_nanos(nanos.load(std::sync::atomic::Ordering::Relaxed))
            }
        }
    }

    /// The present moment, counted from `anchor`.
    #[inline]
    pub(crate) fn now(&self, anchor: Timestamp) -> Timestamp {
        anchor.saturating_add(self.elapsed())
    }

    /// Where the counter's zero lies, by the present reading of the system's clock.
    pub(crate) fn anchor(&self) -> Timestamp {
        match &self.source {
            Source::Counter { .. } => {
                Timestamp::from_system_time(SystemTime::now()).saturating_sub(self.elapsed())
            }
            #[cfg(test)]
            Source::Manual { anchor, .. } => {
                Timestamp::from_unix_nanos(anchor.load(std::sync::atomic::Ordering::Relaxed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchored_times_agree_with_the_system_clock_and_never_run_backwards() {
        let clock = Clock::new();
        let anchor = clock.anchor();
        let before = Timestamp::from_system_time(SystemTime::now());
        let first = clock.now(anchor);
        let second = clock.now(anchor);
        assert!(second >= first);
        let gap = first.saturating_since(before).max(before.saturating_since(first));
        assert!(gap < Duration::from_secs(60), "{gap}");
    }

    #[test]
    fn ticks_are_scaled_as_the_counter_scales_them() {
        let clock = Clock::new();
        let Source::Counter { counter, .. } = &clock.source else { panic!() };
        let before = counter.delta_as_nanos(0, counter.raw());
        let elapsed = clock.elapsed().as_nanos();
        let after = counter.delta_as_nanos(0, counter.raw());
        // Both scale a count since the machine began: they may differ by a few parts in a million million.
        let off = before / 100_000_000_000 + 1;
        assert!(before <= elapsed + off && elapsed <= after + off, "{before} {elapsed} {after}");
    }
}
