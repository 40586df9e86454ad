//! The one place where the live half reads a clock.
//!
//! Times are read from the processor's time-stamp counter and counted from when the clock was made; a wall-clock
//! [`Clock::anchor`], taken once per local root, turns them into points in time. So the spans of one trace never
//! run backwards, whatever happens to the system's clock. Making the first clock of a process calibrates the
//! counter: about half a millisecond.

use std::time::SystemTime;

use crate::time::{Duration, Timestamp};

/// Counts nanoseconds from when it was made.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Counter {
        counter: quanta::Clock,
        origin: u64,
    },
    #[cfg(test)]
    Manual(std::sync::Arc<std::sync::atomic::AtomicU64>),
}

impl Clock {
    /// A clock that starts at zero now.
    pub(crate) fn new() -> Self {
        let counter = quanta::Clock::new();
        let origin = counter.raw();
        Clock { source: Source::Counter { counter, origin } }
    }

    /// A clock that shows what `nanos` says, anchored at the epoch.
    #[cfg(test)]
    pub(crate) fn manual(nanos: std::sync::Arc<std::sync::atomic::AtomicU64>) -> Self {
        Clock { source: Source::Manual(nanos) }
    }

    /// Time since the clock was made.
    #[inline]
    pub(crate) fn elapsed(&self) -> Duration {
        match &self.source {
            Source::Counter { counter, origin } => {
                Duration::from_nanos(counter.delta_as_nanos(*origin, counter.raw()))
            }
            #[cfg(test)]
            Source::Manual(nanos) => Duration::from_nanos(nanos.load(std::sync::atomic::Ordering::Relaxed)),
        }
    }

    /// The point in time at which the clock was made, by the present reading of the system's clock.
    pub(crate) fn anchor(&self) -> Timestamp {
        match &self.source {
            Source::Counter { .. } => {
                Timestamp::from_system_time(SystemTime::now()).saturating_sub(self.elapsed())
            }
            #[cfg(test)]
            Source::Manual(_) => Timestamp::EPOCH,
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
        let first = anchor.saturating_add(clock.elapsed());
        let second = anchor.saturating_add(clock.elapsed());
        assert!(second >= first);
        let gap = first.saturating_since(before).max(before.saturating_since(first));
        assert!(gap < Duration::from_secs(60), "{gap}");
    }
}
