//! Whether executions were held back by a limit on how many may run at once.
//!
//! A task that waits for a permit starts right after an unrelated one ends. Order inferred from time then shows an
//! edge that is not there. What gives a limit away is that the number at once rises to K and stays there, and that
//! whoever starts from then on starts when somebody ends.

use crate::run::RunSpan;
use crate::time::{Duration, Interval, Timestamp};

/// One of the executions that may have shared a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// When it was there to be run; the start of `running` where that is not known.
    pub created: Timestamp,
    /// From first running to its end.
    pub running: Interval,
}

impl Execution {
    /// The execution a span is.
    pub fn of(span: &RunSpan) -> Self {
        Execution { created: span.record.start, running: span.run_interval() }
    }
}

/// Signs of a limit on how many run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuspectedPool {
    /// How many ran at once, and no more.
    pub permits: u64,
    /// How many started after so many had run at once for the first time.
    pub later_starts: u64,
    /// How many of these started when another ended.
    pub at_an_end: u64,
    /// How many of these are known to have been there before that end: they waited.
    pub known_to_wait: u64,
}

impl SuspectedPool {
    /// Whether most who started when another ended had been there before: then it is no guess from times alone.
    pub fn is_seen_waiting(&self) -> bool {
        self.known_to_wait > 0 && is_most(self.known_to_wait.into(), self.at_an_end.into())
    }
}

/// A start counts as one at an end if it is at most so much later…
const HAND_OVER: Duration = Duration::from_millis(1);
/// …or so many times shorter than the median execution.
const MEDIAN_DIVISOR: u64 = 100;
/// Fewer later starts say nothing.
const MIN_LATER_STARTS: u64 = 3;

/// Four fifths.
fn is_most(part: u128, whole: u128) -> bool {
    part * 5 >= whole * 4
}

/// The limit that `executions` of one set of siblings ran into, if it looks as if there was one. O(n log n).
///
/// With K the most that ran at once, there was one if
///
/// * at least K executions, and 3, started after K ran for the first time;
/// * at least 80 % of these started when another ended: within 1 ms after it, or 1 % of the median execution if that
///   is more. Every end makes room for one start only, so that a batch that starts when the slowest of the last
///   batch ends is none;
/// * from then on to the last start, K ran for at least 80 % of the time, hand-overs not counted as gaps.
///
/// One at a time is a limit only if executions are known to have waited: a loop looks the same. Executions without
/// length are left out.
pub fn pool_suspected(executions: &[Execution]) -> Option<SuspectedPool> {
    let mut running: Vec<Execution> =
        executions.iter().copied().filter(|execution| !execution.running.is_empty()).collect();
    running.sort_unstable_by_key(|execution| {
        (execution.running.start, execution.running.end, execution.created)
    });
    let hand_over = hand_over_time(&running);
    let mut ends: Vec<Timestamp> = running.iter().map(|execution| execution.running.end).collect();
    ends.sort_unstable();
    let level = Level::of(&running, &ends, hand_over)?;

    let mut pool = SuspectedPool { permits: level.peak, later_starts: 0, at_an_end: 0, known_to_wait: 0 };
    let mut unused = ends.iter().copied().peekable();
    for execution in running.iter().skip(level.first_at_peak + 1) {
        let start = execution.running.start;
        pool.later_starts += 1;
        while unused.next_if(|end| end.saturating_add(hand_over) < start).is_some() {}
        if let Some(end) = unused.next_if(|end| *end <= start) {
            pool.at_an_end += 1;
            pool.known_to_wait += u64::from(execution.created < end);
        }
    }
    let is_limit = pool.later_starts >= pool.permits.max(MIN_LATER_STARTS)
        && is_most(pool.at_an_end.into(), pool.later_starts.into())
        && is_most(level.time_at_peak, level.time)
        && (pool.permits > 1 || pool.is_seen_waiting());
    is_limit.then_some(pool)
}

fn hand_over_time(running: &[Execution]) -> Duration {
    let mut lengths: Vec<Duration> = running.iter().map(|execution| execution.running.duration()).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    HAND_OVER.max(Duration::from_nanos(median.as_nanos() / MEDIAN_DIVISOR))
}

/// How many ran at once over time.
struct Level {
    peak: u64,
    /// The execution whose start brought as many for the first time.
    first_at_peak: usize,
    /// From that start to the last one, in nanoseconds.
    time: u128,
    /// The part of it in which as many ran, or fewer for no longer than a hand-over takes.
    time_at_peak: u128,
}

impl Level {
    /// `ends` in order; `None` if there are no executions.
    fn of(running: &[Execution], ends: &[Timestamp], hand_over: Duration) -> Option<Level> {
        let mut levels = Vec::with_capacity(running.len());
        let mut ended = 0;
        for (index, execution) in running.iter().enumerate() {
            while ends.get(ended).is_some_and(|end| *end <= execution.running.start) {
                ended += 1;
            }
            levels.push((index + 1).saturating_sub(ended) as u64);
        }
        let peak = levels.iter().copied().max()?;
        let first_at_peak = levels.iter().position(|level| *level == peak)?;
        let since = running.get(first_at_peak)?.running.start;
        let until = running.last()?.running.start;
        let time = Interval::new(since, until).duration();

        // Gaps open where an end takes the level below the peak and close where a start brings it back.
        let mut below = Duration::ZERO;
        let mut open_since: Option<Timestamp> = None;
        let mut at_once = peak;
        let mut later_ends = ends.iter().filter(|end| **end > since).copied().peekable();
        for execution in running.iter().skip(first_at_peak + 1) {
            let start = execution.running.start;
            while let Some(end) = later_ends.next_if(|end| *end <= start) {
                open_since.get_or_insert(end);
                at_once = at_once.saturating_sub(1);
            }
            at_once += 1;
            if at_once == peak
                && let Some(opened) = open_since.take()
            {
                let gap = start.saturating_since(opened);
                below = below.saturating_add(if gap > hand_over { gap } else { Duration::ZERO });
            }
        }
        if let Some(opened) = open_since {
            let gap = until.saturating_since(opened);
            below = below.saturating_add(if gap > hand_over { gap } else { Duration::ZERO });
        }
        let time_at_peak = time.saturating_sub(below);
        Some(Level {
            peak,
            first_at_peak,
            time: time.as_nanos().into(),
            time_at_peak: time_at_peak.as_nanos().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Executions from (created, start, end) in ms.
    fn executions(times: &[(u64, u64, u64)]) -> Vec<Execution> {
        let at = |ms: u64| Timestamp::from_unix_nanos(1_700_000_000_000_000_000 + ms * MS);
        let execution = |&(created, start, end): &(u64, u64, u64)| Execution {
            created: at(created),
            running: Interval::new(at(start), at(end)),
        };
        times.iter().map(execution).collect()
    }

    #[test]
    fn six_tasks_through_two_permits_are_limited_by_two() {
        let waiting = [(0, 0, 10), (0, 0, 10), (0, 10, 20), (0, 10, 20), (0, 20, 30), (0, 20, 30)];
        let pool = pool_suspected(&executions(&waiting)).unwrap();
        assert_eq!(pool, SuspectedPool { permits: 2, later_starts: 4, at_an_end: 4, known_to_wait: 4 });
        assert!(pool.is_seen_waiting());
        let unknown = waiting.map(|(_, start, end)| (start, start, end));
        let pool = pool_suspected(&executions(&unknown)).unwrap();
        assert_eq!((pool.permits, pool.known_to_wait, pool.is_seen_waiting()), (2, 0, false));
    }

    #[test]
    fn tasks_of_unequal_length_keep_the_limit_full() {
        // Three permits; each end lets the next in, up to 1 ms later.
        let tasks = [(0, 0, 40), (0, 0, 70), (0, 0, 55), (0, 41, 90), (0, 55, 95), (0, 71, 99), (0, 90, 120)];
        assert_eq!(pool_suspected(&executions(&tasks)).map(|pool| pool.permits), Some(3));
    }

    #[test]
    fn batches_that_wait_for_the_slowest_of_the_last_are_no_pool() {
        let batches = [(0, 0, 10), (0, 0, 20), (0, 0, 30), (30, 30, 45), (30, 30, 50), (30, 30, 60)];
        assert_eq!(pool_suspected(&executions(&batches)), None);
    }

    #[test]
    fn free_running_tasks_are_no_pool() {
        let tasks = [(0, 0, 40), (5, 5, 30), (18, 18, 90), (35, 35, 50), (62, 62, 99), (70, 70, 72)];
        assert_eq!(pool_suspected(&executions(&tasks)), None);
        assert_eq!(pool_suspected(&executions(&[(0, 0, 9); 5])), None, "all at once, none later");
        assert_eq!(pool_suspected(&[]), None);
    }

    #[test]
    fn one_at_a_time_is_a_limit_only_if_somebody_waited() {
        let loop_of_four = [(0, 0, 10), (10, 10, 20), (20, 20, 30), (30, 30, 40)];
        assert_eq!(pool_suspected(&executions(&loop_of_four)), None);
        let queued = loop_of_four.map(|(_, start, end)| (0, start, end));
        assert_eq!(pool_suspected(&executions(&queued)).map(|pool| pool.permits), Some(1));
    }
}
