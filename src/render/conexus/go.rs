//! Lengths of time as Go prints them.

use crate::time::Duration;

/// As `time.Duration` prints itself: `42ms`, `1.5s`, `2m7s`, `870µs`, `0s`.
pub(super) fn duration(length: Duration) -> String {
    let nanos = length.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// So many of a unit, with the decimals that are not zero.
fn decimal(value: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", value % unit);
    match fraction.trim_end_matches('0') {
        "" => (value / unit).to_string(),
        fraction => format!("{}.{fraction}", value / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (870_000, "870µs"),
            (1_500, "1.5µs"),
            (42_000_000, "42ms"),
            (41_200_001, "41.200001ms"),
            (1_000_000_000, "1s"),
            (6_920_000_000, "6.92s"),
            (127_000_000_000, "2m7s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_725_500_000_000, "1h2m5.5s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
    }
}
