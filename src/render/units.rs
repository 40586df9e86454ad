//! How quantities are written: three significant digits and a unit that fits.

use crate::money::Money;
use crate::time::Duration;

/// `1h 02m`, `2m 07s`, `22.8 s`, `6.92 s`, `380 ms`, `41.2 ms`, `870 µs`, `640 ns`, `0 s`.
pub(crate) fn duration(time: Duration) -> String {
    let nanos = time.as_nanos();
    let seconds = (nanos.saturating_add(500_000_000)) / 1_000_000_000;
    if seconds >= 3600 {
        let minutes = nanos.saturating_add(30_000_000_000) / 60_000_000_000;
        return format!("{}h {:02}m", minutes / 60, minutes % 60);
    }
    // From here on what rounds up to the next unit is written in it.
    if seconds >= 60 {
        return format!("{}m {:02}s", seconds / 60, seconds % 60);
    }
    if nanos == 0 {
        return "0 s".to_owned();
    }
    let seconds = nanos as f64 / 1e9;
    if nanos >= 9_995_000_000 {
        return if seconds >= 59.95 { "1m 00s".to_owned() } else { format!("{seconds:.1} s") };
    }
    if nanos >= 999_500_000 {
        return format!("{seconds:.2} s");
    }
    for (unit, scale) in [("ms", 1e6), ("µs", 1e3)] {
        let value = nanos as f64 / scale;
        if value >= 0.9995 {
            return format!("{} {unit}", three_digits(value));
        }
    }
    format!("{nanos} ns")
}

fn three_digits(value: f64) -> String {
    match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A share in whole percent: `<1%` for what is there and rounds to nothing, `100%` only if it is all.
pub(crate) fn share(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        percent if percent <= 0.0 => "0%".to_owned(),
        percent if percent < 0.5 => "<1%".to_owned(),
        percent if ratio < 1.0 => format!("{}%", percent.round().min(99.0)),
        percent => format!("{}%", percent.round()),
    }
}

/// `1,840`, from 10,000 on `11.2k`, then `3.1M`.
pub(crate) fn count(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..10_000 => format!("{},{:03}", count / 1_000, count % 1_000),
        10_000..999_950 => format!("{:.1}k", count as f64 / 1e3),
        _ => format!("{:.1}M", count as f64 / 1e6),
    }
}

/// `$0.0913`: four decimals below a dollar, two from there on; what is less than the last of them says so.
pub(crate) fn money(amount: Money) -> String {
    let usd = amount.as_usd();
    match usd.abs() {
        0.0 => "$0".to_owned(),
        size if size < 0.000_05 => "<$0.0001".to_owned(),
        size if size < 0.99995 => format!("${usd:.4}"),
        _ => format!("${usd:.2}"),
    }
}

/// A factor with one decimal: `1.3`.
pub(crate) fn factor(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_digits_and_round_into_the_next_unit() {
        let cases: [(u64, &str); 20] = [
            (0, "0 s"),
            (640, "640 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (870_000, "870 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (41_200_000, "41.2 ms"),
            (380_000_000, "380 ms"),
            (999_400_000, "999 ms"),
            (999_600_000, "1.00 s"),
            (6_920_000_000, "6.92 s"),
            (9_994_000_000, "9.99 s"),
            (9_996_000_000, "10.0 s"),
            (22_790_000_000, "22.8 s"),
            (59_940_000_000, "1m 00s"),
            (127_000_000_000, "2m 07s"),
            (3_599_400_000_000, "59m 59s"),
            (3_599_600_000_000, "1h 00m"),
            (3_720_000_000_000, "1h 02m"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(duration(Duration::from_nanos(nanos)), expected, "{nanos}");
        }
    }

    #[test]
    fn a_share_is_whole_only_if_it_is_all_and_nothing_only_if_it_is_none() {
        let cases = [
            (0.0, "0%"),
            (0.001, "<1%"),
            (0.005, "1%"),
            (0.304, "30%"),
            (0.996, "99%"),
            (1.0, "100%"),
            (6.0, "600%"),
        ];
        for (ratio, expected) in cases {
            assert_eq!(share(ratio), expected);
        }
    }

    #[test]
    fn counts_and_money_read_as_people_write_them() {
        assert_eq!(
            [count(7), count(1_840), count(11_240), count(3_100_000)],
            ["7", "1,840", "11.2k", "3.1M"]
        );
        let usd = |text: &str| money(text.parse().unwrap());
        assert_eq!(
            [usd("0.0913"), usd("12.4"), usd("0.5"), usd("0")],
            ["$0.0913", "$12.40", "$0.5000", "$0"]
        );
        assert_eq!(usd("0.00001"), "<$0.0001");
        assert_eq!([usd("0.0006"), usd("0.000123"), usd("0.999999")], ["$0.0006", "$0.0001", "$1.00"]);
    }
}
