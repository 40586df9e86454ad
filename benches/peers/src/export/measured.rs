//! Clocks and memory of this process.

use std::ops::Sub;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Time on several clocks since each one's beginning, or between two moments; in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// Of the wall.
    pub wall_ns: u64,
    /// Processor time of the thread that asks.
    pub thread_ns: u64,
    /// Processor time of all threads.
    pub process_ns: u64,
}

impl Clocks {
    /// Now; `start` is where the wall's clock begins.
    pub(super) fn since(start: Instant) -> Clocks {
        Clocks {
            wall_ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            thread_ns: clock_ns(ClockId::CLOCK_THREAD_CPUTIME_ID),
            process_ns: clock_ns(ClockId::CLOCK_PROCESS_CPUTIME_ID),
        }
    }
}

impl Sub for Clocks {
    type Output = Clocks;

    fn sub(self, earlier: Clocks) -> Clocks {
        Clocks {
            wall_ns: self.wall_ns.saturating_sub(earlier.wall_ns),
            thread_ns: self.thread_ns.saturating_sub(earlier.thread_ns),
            process_ns: self.process_ns.saturating_sub(earlier.process_ns),
        }
    }
}

/// Processor time of the thread that asks, in nanoseconds.
pub(super) fn thread_ns() -> u64 {
    clock_ns(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A line of `/proc/self/status` in KiB; `None` where there is none.
pub(super) fn memory_kib(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
