//! How quantities are written in text: enough digits to act on, one unit per figure.

use crate::money::Money;
use crate::time::Duration;

/// How finely a length of time is written, and up to where.
struct Step {
    /// The length of the last digit, in nanoseconds.
    quantum: u64,
    /// From this many quanta on, the next step is used.
    limit: u64,
    decimals: usize,
    unit: &'static str,
}

const fn step(quantum: u64, limit: u64, decimals: usize, unit: &'static str) -> Step {
    Step { quantum, limit, decimals, unit }
}

/// Three significant digits below a minute. A length belongs to the first step below whose limit it stays *after*
/// rounding, so that 999.6 ms is written as 1.00 s and not as 1000 ms.
const STEPS: [Step; 9] = [
    step(1, 1000, 0, "ns"),
    step(10, 1000, 2, "µs"),
    step(100, 1000, 1, "µs"),
    step(1_000, 1000, 0, "µs"),
    step(10_000, 1000, 2, "ms"),
    step(100_000, 1000, 1, "ms"),
    step(1_000_000, 1000, 0, "ms"),
    HUNDREDTHS,
    step(100_000_000, 600, 1, "s"),
];
const HUNDREDTHS: Step = step(10_000_000, 1000, 2, "s");

impl Step {
    fn quanta(&self, length: Duration) -> u64 {
        rounded(length.as_nanos(), self.quantum)
    }

    fn write(&self, quanta: u64) -> String {
        let scale = 10u64.pow(self.decimals as u32);
        let (whole, fraction) = (quanta / scale, quanta % scale);
        match self.decimals {
            0 => format!("{whole} {}", self.unit),
            digits => format!("{whole}.{fraction:0digits$} {}", self.unit),
        }
    }
}

/// `value` in whole `quantum`s, half up.
fn rounded(value: u64, quantum: u64) -> u64 {
    value / quantum + u64::from(value % quantum >= quantum.div_ceil(2))
}

/// A length of time: `640 ns`, `41.2 ms`, `6.92 s`, `22.8 s`, `2m 07s`, `1h 02m`.
pub(crate) fn duration(length: Duration) -> String {
    if length.is_zero() {
        return "0 s".to_owned();
    }
    if let Some(step) = STEPS.iter().find(|step| step.quanta(length) < step.limit) {
        return step.write(step.quanta(length));
    }
    let seconds = rounded(length.as_nanos(), 1_000_000_000);
    if seconds < 3600 {
        return format!("{}m {:02}s", seconds / 60, seconds % 60);
    }
    let minutes = rounded(length.as_nanos(), 60_000_000_000);
    format!("{}h {:02}m", minutes / 60, minutes % 60)
}

/// A whole, a part of it and the rest, written finely enough and alike, so that the two visibly add up:
/// `22.65 s` of `22.79 s`, the other `0.14 s`.
pub(super) fn split(whole: Duration, part: Duration, rest: Duration) -> [String; 3] {
    let step = STEPS.iter().find(|step| step.quanta(whole) < step.limit);
    let Some(step) = step.filter(|_| !whole.is_zero()) else {
        return [whole, part, rest].map(duration);
    };
    let step = if step.unit == "s" { &HUNDREDTHS } else { step };
    let difference = step.quanta(whole).saturating_sub(step.quanta(part));
    let rest = if difference == 0 { duration(rest) } else { step.write(difference) };
    [step.write(step.quanta(whole)), step.write(step.quanta(part)), rest]
}

/// A share as a whole percentage. Something is never written as `0%`, and only everything as `100%`.
pub(crate) fn share(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent.round() {
        _ if !percent.is_finite() => "?".to_owned(),
        0.0 if percent > 0.0 => "<1%".to_owned(),
        100.0 if percent < 100.0 => "99%".to_owned(),
        100.0 if percent > 100.0 => "101%".to_owned(),
        // Adding zero turns -0 into 0.
        whole => format!("{:.0}%", whole + 0.0),
    }
}

/// A count: `19`, `1,840`, from ten thousand on with three significant digits: `11.2k`, `1.30M`.
pub(super) fn count(number: u64) -> String {
    if number < 10_000 {
        return grouped(number.into());
    }
    const STEPS: [Step; 9] = [
        step(100, 1000, 1, "k"),
        step(1_000, 1000, 0, "k"),
        step(10_000, 1000, 2, "M"),
        step(100_000, 1000, 1, "M"),
        step(1_000_000, 1000, 0, "M"),
        step(10_000_000, 1000, 2, "G"),
        step(100_000_000, 1000, 1, "G"),
        step(1_000_000_000, 1000, 0, "G"),
        step(1_000_000_000, u64::MAX, 0, "G"),
    ];
    let fits = STEPS.iter().find(|step| rounded(number, step.quantum) < step.limit);
    fits.map_or_else(String::new, |step| step.write(rounded(number, step.quantum)).replace(' ', ""))
}

/// A count to the last digit, for figures that are compared with each other: `12,345`.
pub(super) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount of money: four decimals below a dollar, two above; something is never written as nothing.
pub(super) fn money(amount: Money) -> String {
    const CENT: u128 = 10_000_000_000;
    let sign = if amount < Money::ZERO { "-" } else { "" };
    let units = amount.as_picodollars().unsigned_abs();
    let rounded = |quantum: u128| units / quantum + u128::from(units % quantum >= quantum / 2);
    match rounded(CENT / 100) {
        0 if units == 0 => "$0".to_owned(),
        0 => format!("<{sign}$0.0001"),
        fine @ ..10_000 => format!("{sign}$0.{fine:04}"),
        _ => {
            let cents = rounded(CENT);
            format!("{sign}${}.{:02}", grouped(cents / 100), cents % 100)
        }
    }
}

/// How many things happened at once on average: `1.3×`; `None` for what is no such number.
pub(super) fn parallelism(achieved: f64) -> Option<String> {
    match achieved {
        small if (0.0..99.95).contains(&small) => Some(format!("{small:.1}×")),
        large if large.is_finite() && large > 0.0 => Some(format!("{}×", count(large.round() as u64))),
        _ => None,
    }
}

/// `1 retry`, `2 retries`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_three_digits_and_pass_into_the_next_unit_after_rounding() {
        for (nanos, text) in [
            (0, "0 s"),
            (1, "1 ns"),
            (640, "640 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_994, "9.99 µs"),
            (9_995, "10.0 µs"),
            (99_949, "99.9 µs"),
            (99_950, "100 µs"),
            (870_000, "870 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (41_200_000, "41.2 ms"),
            (380_000_000, "380 ms"),
            (999_499_999, "999 ms"),
            (999_600_000, "1.00 s"),
            (6_920_000_000, "6.92 s"),
            (9_994_999_999, "9.99 s"),
            (9_999_000_000, "10.0 s"),
            (22_790_000_000, "22.8 s"),
            (59_949_999_999, "59.9 s"),
            (59_990_000_000, "1m 00s"),
            (127_000_000_000, "2m 07s"),
            (3_599_499_999_999, "59m 59s"),
            (3_599_500_000_000, "1h 00m"),
            (3_720_000_000_000, "1h 02m"),
            (u64::MAX, "5124095h 35m"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text, "{nanos}");
        }
    }

    #[test]
    fn a_part_and_its_rest_visibly_add_up() {
        let split = |whole, part| {
            let (whole, part) = (Duration::from_nanos(whole), Duration::from_nanos(part));
            split(whole, part, whole.saturating_sub(part)).join(" | ")
        };
        assert_eq!(split(22_790_000_000, 22_650_000_000), "22.79 s | 22.65 s | 0.14 s");
        assert_eq!(split(22_794_000_000, 22_656_000_000), "22.79 s | 22.66 s | 0.13 s");
        assert_eq!(split(22_790_000_000, 22_786_000_000), "22.79 s | 22.79 s | 4.00 ms");
        assert_eq!(split(380_000_000, 370_600_000), "380 ms | 371 ms | 9 ms");
        assert_eq!(split(600_000_000_000, 599_000_000_000), "10m 00s | 9m 59s | 1.00 s");
        assert_eq!(split(1_000, 1_000), "1.00 µs | 1.00 µs | 0 s");
        assert_eq!(split(0, 0), "0 s | 0 s | 0 s");
    }

    #[test]
    fn shares_are_whole_and_do_not_round_to_nothing_or_everything() {
        for (ratio, text) in [
            (0.0, "0%"),
            (-0.0, "0%"),
            (0.000_001, "<1%"),
            (0.004_9, "<1%"),
            (0.005, "1%"),
            (0.303_6, "30%"),
            (0.996, "99%"),
            (0.999_999, "99%"),
            (1.0, "100%"),
            (1.004, "101%"),
            (2.5, "250%"),
            (f64::NAN, "?"),
            (f64::INFINITY, "?"),
        ] {
            assert_eq!(share(ratio), text, "{ratio}");
        }
    }

    #[test]
    fn counts_are_grouped_and_shortened_from_ten_thousand_on() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_840, "1,840"),
            (9_999, "9,999"),
            (10_000, "10.0k"),
            (11_249, "11.2k"),
            (99_950, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (12_340_000, "12.3M"),
            (999_500_000_000, "1000G"),
            (u64::MAX, "18446744074G"),
        ] {
            assert_eq!(count(number), text, "{number}");
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123_456), "123,456");
    }

    #[test]
    fn money_has_four_decimals_below_a_dollar_and_two_above() {
        for (dollars, text) in [
            ("0", "$0"),
            ("0.000000000001", "<$0.0001"),
            ("0.00004999", "<$0.0001"),
            ("0.00005", "$0.0001"),
            ("0.0913", "$0.0913"),
            ("0.999949", "$0.9999"),
            ("0.99995", "$1.00"),
            ("12.4", "$12.40"),
            ("12.995", "$13.00"),
            ("1234567.891", "$1,234,567.89"),
            ("-0.5", "-$0.5000"),
        ] {
            assert_eq!(money(dollars.parse().unwrap()), text, "{dollars}");
        }
        assert_eq!(money(Money::from_picodollars(i128::MIN)), "-$170,141,183,460,469,231,731,687,303.72");
    }

    #[test]
    fn parallelism_has_one_decimal_until_that_says_nothing() {
        assert_eq!(parallelism(1.316).as_deref(), Some("1.3×"));
        assert_eq!(parallelism(0.0).as_deref(), Some("0.0×"));
        assert_eq!(parallelism(99.96).as_deref(), Some("100×"));
        assert_eq!(parallelism(f64::NAN), None);
        assert_eq!(parallelism(-1.0), None);
    }
}
