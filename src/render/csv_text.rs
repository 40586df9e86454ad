//! Text and lengths of time as fields of a CSV file.

use super::printable::Printable;
use crate::time::Duration;

/// Foreign text as a field (RFC 4180): printable and so on one line, quoted where it has to be, and with a `'` in front
/// where a spreadsheet would take it for a formula.
pub(crate) fn csv_field(text: &str) -> String {
    let printable = Printable::new(text).to_string();
    // Spreadsheets look past spaces and quotes, and take the full-width forms for the same.
    let begins = printable.trim_start_matches([' ', '"', '\'']);
    let is_formula = begins.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let guarded = if is_formula { format!("'{printable}") } else { printable };
    let is_plain = !guarded.contains(['"', ',']) && guarded.trim() == guarded;
    if is_plain { guarded } else { format!("\"{}\"", guarded.replace('"', "\"\"")) }
}

/// A length of time in milliseconds: exact, with three decimals at least: `6920.000`, `0.000640`.
pub(crate) fn milliseconds(length: Duration) -> String {
    signed_milliseconds(length.as_nanos().into())
}

/// A difference of lengths of time, given in nanoseconds.
pub(crate) fn signed_milliseconds(nanos: i128) -> String {
    let (sign, size) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (whole, fraction) = (size / 1_000_000, size % 1_000_000);
    match fraction % 1_000 {
        0 => format!("{sign}{whole}.{:03}", fraction / 1_000),
        _ => format!("{sign}{whole}.{fraction:06}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_where_it_has_to_be_and_is_never_a_formula() {
        for (foreign, cell) in [
            ("draft", "draft"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            (" padded", "\" padded\""),
            ("=cmd()", "'=cmd()"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(1;2)", "'@SUM(1;2)"),
            (" =1", "' =1"),
            ("\"=1", "\"'\"\"=1\""),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
            ("\t=cmd()", "\\u{9}=cmd()"),
            ("two\r\nlines\0", "two\\u{d}\\u{a}lines\\u{0}"),
            ("", ""),
        ] {
            assert_eq!(csv_field(foreign), cell, "{foreign:?}");
        }
    }

    #[test]
    fn milliseconds_are_exact() {
        for (nanos, text) in [
            (0, "0.000"),
            (6_920_000_000, "6920.000"),
            (1_500, "0.001500"),
            (640, "0.000640"),
            (1_310_001_000, "1310.001"),
            (-1_900_000_000, "-1900.000"),
            (-1, "-0.000001"),
        ] {
            assert_eq!(signed_milliseconds(nanos), text);
        }
    }
}
