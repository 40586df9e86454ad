//! Points in time and lengths of time, in whole nanoseconds.
//!
//! Inside longpole a time is never a bare integer: a [`Timestamp`] is a point (nanoseconds since the Unix
//! epoch), a [`Duration`] is a length. All arithmetic saturates, because times come from foreign data; what was
//! odd about them is told as a warning, not as a panic.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time: nanoseconds since the Unix epoch.
///
/// Zero is a valid point (some traces start there), not "unknown".
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

/// A length of time in nanoseconds; at most about 584 years.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(u64);

/// A half-open stretch of time `[start, end)`; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    /// The first instant inside.
    pub start: Timestamp,
    /// The first instant after.
    pub end: Timestamp,
}

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// The latest point that can be said.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The point `nanos` nanoseconds after the Unix epoch.
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// The present moment by the system's wall clock. The core never calls this; it is for callers.
    pub fn from_system_time(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_unix_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }

    /// This point moved later, at most to [`Timestamp::MAX`].
    pub const fn saturating_add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(by.0))
    }

    /// This point moved earlier, at most to the epoch.
    pub const fn saturating_sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(by.0))
    }

    /// RFC 3339 in UTC with milliseconds, as reports print it: `2026-11-21T02:17:43.120Z`.
    pub fn to_rfc3339(self) -> String {
        let days = self.0 / 86_400_000_000_000;
        let nanos_of_day = self.0 % 86_400_000_000_000;
        let (year, month, day) = civil_from_days(days);
        let seconds = nanos_of_day / 1_000_000_000;
        let millis = nanos_of_day / 1_000_000 % 1000;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Days since 1970-01-01 to the proleptic Gregorian date, after Howard Hinnant's "chrono-compatible low-level
/// date algorithms": years begin in March so that the leap day is the last of its year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);
    /// The longest length that can be said.
    pub const MAX: Duration = Duration(u64::MAX);

    /// A length of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Duration(nanos)
    }

    /// A length of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Duration(millis.saturating_mul(1_000_000))
    }

    /// A length of `seconds` seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Duration(seconds.saturating_mul(1_000_000_000))
    }

    /// The length in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The length in seconds, for text and ratios only.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The length in milliseconds, for text and ratios only.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Whether this is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, at most [`Duration::MAX`].
    pub const fn saturating_add(self, other: Duration) -> Duration {
        Duration(self.0.saturating_add(other.0))
    }

    /// The difference, at least zero.
    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }

    /// This length as a share of `whole`, in 0–1 (above 1 where it is longer); `None` if `whole` is zero.
    pub fn ratio_of(self, whole: Duration) -> Option<f64> {
        (whole.0 != 0).then(|| self.0 as f64 / whole.0 as f64)
    }

    /// The same length as the standard library's type.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }
}

impl From<std::time::Duration> for Duration {
    /// Saturates at [`Duration::MAX`].
    fn from(value: std::time::Duration) -> Self {
        Duration(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl std::iter::Sum for Duration {
    fn sum<I: Iterator<Item = Duration>>(iter: I) -> Duration {
        iter.fold(Duration::ZERO, Duration::saturating_add)
    }
}

impl Interval {
    /// The stretch from `start` to `end`; zero-length at `start` if `end` is earlier.
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        Interval { start, end: end.max(start) }
    }

    /// How long it is.
    pub const fn duration(self) -> Duration {
        self.end.saturating_since(self.start)
    }

    /// Whether it holds no time.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The part that lies in both, or `None` if they share no point (touching ends share none).
    pub fn intersection(self, other: Interval) -> Option<Interval> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Interval { start, end })
    }
}

impl fmt::Display for Duration {
    /// Seconds with nanosecond precision, for logs and errors: `1.500000000s`. Reports have their own format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_knows_leap_years_and_centuries() {
        let at = |s: u64| Timestamp::from_unix_nanos(s * 1_000_000_000).to_rfc3339();
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_700_000_000), "2023-11-14T22:13:20.000Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_rfc3339(), "2554-07-21T23:34:33.709Z");
    }

    #[test]
    fn touching_intervals_share_nothing() {
        let t = Timestamp::from_unix_nanos;
        assert_eq!(Interval::new(t(0), t(5)).intersection(Interval::new(t(5), t(9))), None);
        assert_eq!(Interval::new(t(9), t(5)).duration(), Duration::ZERO);
    }
}
