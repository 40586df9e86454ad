//! Times, counts and money as SQLite's signed 64-bit integers. What is larger than they hold, and is in no real run,
//! becomes the largest.

use longpole::money::Money;
use longpole::time::{Duration, Timestamp};

pub(crate) fn from_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn to_count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(crate) fn from_time(time: Timestamp) -> i64 {
    from_count(time.as_unix_nanos())
}

pub(crate) fn to_time(value: i64) -> Timestamp {
    Timestamp::from_unix_nanos(to_count(value))
}

pub(crate) fn to_duration(value: i64) -> Duration {
    Duration::from_nanos(to_count(value))
}

/// In 10⁻¹² USD: nine million dollars fit.
pub(crate) fn from_money(amount: Money) -> i64 {
    i64::try_from(amount.as_picodollars()).unwrap_or(i64::MAX)
}

pub(crate) fn to_money(value: i64) -> Money {
    Money::from_picodollars(i128::from(value))
}
