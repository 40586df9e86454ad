//! When a price applies: from a day on, or at some hours of each day, in UTC.

use super::charge::Rates;
use crate::time::Timestamp;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_DAY: u64 = 86_400 * NANOS_PER_SECOND;

/// When a price applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Constraint {
    /// From the beginning of a day, counted from 1970-01-01, on.
    FromDay(i64),
    /// Each day from `start`, in nanoseconds since midnight, until before `end`. If `end` is earlier, it is on the
    /// next day.
    Hours { start: u64, end: u64 },
}

impl Constraint {
    fn holds(self, at: Timestamp) -> bool {
        let nanos = at.as_unix_nanos();
        match self {
            Constraint::FromDay(day) => i64::try_from(nanos / NANOS_PER_DAY).unwrap_or(i64::MAX) >= day,
            Constraint::Hours { start, end } => {
                let time = nanos % NANOS_PER_DAY;
                if end < start { time >= start || time < end } else { start <= time && time < end }
            }
        }
    }
}

/// Prices, and when they apply; `None`: always.
#[derive(Debug)]
pub(super) struct Conditional {
    pub(super) constraint: Option<Constraint>,
    pub(super) rates: Rates,
}

impl Conditional {
    pub(super) fn holds(&self, at: Timestamp) -> bool {
        self.constraint.is_none_or(|constraint| constraint.holds(at))
    }
}

/// Prices that replace others for calls made in some way: `processing` is `batch`.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) when: Vec<(Box<str>, Box<str>)>,
    pub(super) prices: Conditional,
}

impl Variant {
    /// Names and values are compared as they are, upper and lower case apart.
    pub(super) fn applies(&self, context: &[(&str, &str)], at: Timestamp) -> bool {
        let is_told = |(name, value): &(Box<str>, Box<str>)| context.contains(&(&**name, &**value));
        self.prices.holds(at) && self.when.iter().all(is_told)
    }
}

/// The day `text`, as in `2026-11-21`, counted from 1970-01-01.
pub(super) fn parse_day(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(is_leap),
        _ => return None,
    };
    if year == 0 || day == 0 || day > length {
        return None;
    }
    // Years that begin in March have their leap day at the end, and their months' lengths follow a line.
    let (year, month, day) =
        (i64::try_from(year).ok()?, i64::try_from(month).ok()?, i64::try_from(day).ok()?);
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some(days - 719_468)
}

/// The time of day `text`, as in `16:30`, `16:30:00Z` or `18:30:00+02:00`, in nanoseconds since midnight UTC. Without
/// an offset it is in UTC.
pub(super) fn parse_time(text: &str) -> Option<u64> {
    let (local, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text.get(..at)?, text.get(at..)?),
        None => (text, "Z"),
    };
    let (clock, fraction) = local.split_once('.').map_or((local, None), |(clock, rest)| (clock, Some(rest)));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() || (second.is_none() && fraction.is_some()) {
        return None;
    }
    let seconds =
        hour_and_minute(hour, minute)? + digits(second.unwrap_or("00"), 2).filter(|second| *second < 60)?;
    let nanos = match fraction {
        None => 0,
        Some(fraction) if fraction.len() <= 9 => {
            digits(fraction, fraction.len())? * 10u64.pow(9 - u32::try_from(fraction.len()).ok()?)
        }
        Some(_) => return None,
    };
    let day = NANOS_PER_DAY;
    let time = seconds * NANOS_PER_SECOND + nanos;
    let ahead = |offset: &str| {
        let (hour, minute) = offset.split_once(':')?;
        Some(hour_and_minute(hour, minute)? * NANOS_PER_SECOND)
    };
    match offset.split_at_checked(1)? {
        ("Z" | "z", "") => Some(time),
        ("+", offset) => Some((time + day - ahead(offset)?) % day),
        ("-", offset) => Some((time + ahead(offset)?) % day),
        _ => None,
    }
}

fn hour_and_minute(hour: &str, minute: &str) -> Option<u64> {
    let hour = digits(hour, 2).filter(|hour| *hour < 24)?;
    let minute = digits(minute, 2).filter(|minute| *minute < 60)?;
    Some(hour * 3600 + minute * 60)
}

/// A number of exactly so many digits.
fn digits(text: &str, length: usize) -> Option<u64> {
    (!text.is_empty() && text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rfc3339: &str) -> Timestamp {
        let (day, time) = rfc3339.split_once('T').unwrap();
        let day = u64::try_from(parse_day(day).unwrap()).unwrap();
        Timestamp::from_unix_nanos(day * NANOS_PER_DAY + parse_time(time).unwrap())
    }

    #[test]
    fn days_are_counted_from_the_epoch() {
        assert_eq!(parse_day("1970-01-01"), Some(0));
        assert_eq!(parse_day("2000-03-01"), Some(11_017));
        assert_eq!(parse_day("2024-02-29"), Some(19_782));
        assert_eq!(at("2026-11-21T02:17:43.120Z").to_rfc3339(), "2026-11-21T02:17:43.120Z");
        for text in
            ["2026-02-29", "2026-13-01", "2026-1-01", "2026-01-00", "0000-01-01", "20260101", "2026-01-01-01"]
        {
            assert_eq!(parse_day(text), None, "{text}");
        }
    }

    #[test]
    fn times_of_day_are_read_with_their_offset() {
        let hours = |hours: u64| Some(hours * 3600 * NANOS_PER_SECOND);
        assert_eq!(parse_time("16:00"), hours(16));
        assert_eq!(parse_time("16:00:00Z"), hours(16));
        assert_eq!(parse_time("18:00:00+02:00"), hours(16));
        assert_eq!(parse_time("01:00:00.0+02:00"), hours(23));
        assert_eq!(parse_time("23:00-02:00"), hours(1));
        assert_eq!(parse_time("00:00:00.000000001"), Some(1));
        for text in ["24:00", "16", "16:60", "16:00:60", "16:00+25:00", "16:00:00.", "16:00Zx", "", "+01:00"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn hours_begin_with_their_start_and_end_before_their_end() {
        let hours = |start: &str, end: &str| Constraint::Hours {
            start: parse_time(start).unwrap(),
            end: parse_time(end).unwrap(),
        };
        let night = hours("16:30", "00:30");
        for (time, is_night) in [
            ("2026-11-21T16:29:59.999Z", false),
            ("2026-11-21T16:30:00Z", true),
            ("2026-11-21T23:59:59Z", true),
            ("2026-11-21T00:29:59Z", true),
            ("2026-11-21T00:30:00Z", false),
        ] {
            assert_eq!(night.holds(at(time)), is_night, "{time}");
        }
        let noon = hours("12:00", "13:00");
        assert!(noon.holds(at("2026-11-21T12:00:00Z")) && !noon.holds(at("2026-11-21T13:00:00Z")));
        assert!(!hours("12:00", "12:00").holds(at("2026-11-21T12:00:00Z")));
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let from = Constraint::FromDay(parse_day("2025-06-10").unwrap());
        assert!(!from.holds(at("2025-06-09T23:59:59.999Z")) && from.holds(at("2025-06-10T00:00:00Z")));
    }
}
