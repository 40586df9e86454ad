//! What closing spans and being idle cost, measured in the client itself.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Quantiles of a duration, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// The median.
    pub p50_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The 99.9th percentile.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl From<&Histogram<u64>> for Latencies {
    fn from(durations: &Histogram<u64>) -> Latencies {
        Latencies {
            p50_ns: durations.value_at_quantile(0.5),
            p99_ns: durations.value_at_quantile(0.99),
            p999_ns: durations.value_at_quantile(0.999),
            max_ns: durations.max(),
        }
    }
}

/// What a stretch of time cost the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// How long it was.
    pub took_ms: f64,
    /// Processor time of all threads.
    pub cpu_ms: f64,
    /// Resident memory before, in KiB.
    pub rss_before_kib: u64,
    /// And after.
    pub rss_after_kib: u64,
}

impl Usage {
    /// Processor time per time, 1 for one core.
    pub fn cpu_ratio(&self) -> f64 {
        if self.took_ms > 0.0 { self.cpu_ms / self.took_ms } else { 0.0 }
    }

    /// Measures `work`.
    pub fn of(work: impl FnOnce()) -> Usage {
        let (start, cpu, rss_before_kib) = (Instant::now(), processor_time(), memory_kib("VmRSS:"));
        work();
        Usage {
            took_ms: start.elapsed().as_secs_f64() * 1e3,
            cpu_ms: processor_time().saturating_sub(cpu).as_secs_f64() * 1e3,
            rss_before_kib,
            rss_after_kib: memory_kib("VmRSS:"),
        }
    }
}

/// Processor time of all threads of this process since its start.
pub(super) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A line of `/proc/self/status`; 0 where there is none.
pub(super) fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}
