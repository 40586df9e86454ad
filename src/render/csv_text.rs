//! Text as a field of a CSV file.

use std::borrow::Cow;

/// `text` as a field (RFC 4180): quoted where it holds a comma, a quote or a line break, and with a `'` in front where a
/// spreadsheet would take it for a formula.
pub(crate) fn csv_field(text: &str) -> Cow<'_, str> {
    // Spreadsheets look past spaces and quotes, and take the full-width forms for the same.
    let begins = text.trim_start_matches([' ', '"', '\'']);
    let is_formula = begins.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let needs_quotes = text.contains([',', '"', '\n', '\r']);
    if !is_formula && !needs_quotes {
        return Cow::Borrowed(text);
    }
    let guard = if is_formula { "'" } else { "" };
    let inner = text.replace('"', "\"\"");
    Cow::Owned(if needs_quotes { format!("\"{guard}{inner}\"") } else { format!("{guard}{inner}") })
}

/// A length of time in milliseconds, to the microsecond: `6920.000`.
pub(crate) fn milliseconds(length: crate::time::Duration) -> String {
    let micros = length.as_nanos() / 1_000 + u64::from(length.as_nanos() % 1_000 >= 500);
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn what_ends_a_field_is_quoted_and_what_begins_a_formula_is_guarded() {
        for (text, field) in [
            ("draft", "draft"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("-2,5", "\"'-2,5\""),
            ("a\nb", "\"a\nb\""),
            (" =1", "' =1"),
            ("\"=1", "\"'\"\"=1\""),
            ("＝1", "'＝1"),
            ("＠SUM(1)", "'＠SUM(1)"),
            ("\n=1", "\"'\n=1\""),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(csv_field(text), field);
        }
        assert_eq!(milliseconds(Duration::from_nanos(6_920_000_499)), "6920.000");
        assert_eq!(milliseconds(Duration::from_nanos(999_500)), "1.000");
    }
}
