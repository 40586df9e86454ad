//! Reports as CSV (RFC 4180): one row per node, per span or per run, for spreadsheets and data frames.
//!
//! UTF-8, always a header, lines end with a line feed, numbers have a dot and their unit stands in the name of the
//! column. An empty cell is unknown, never zero. Columns are only ever appended. Foreign text is made printable, and
//! what a spreadsheet would take for a formula gets an apostrophe in front.

mod nodes;
mod runs;
mod spans;

use serde_json::json;

use super::json::sorted;
use super::printable::Printable;
use crate::money::Money;
use crate::report::timeline::Timeline;
use crate::report::{QualityLevel, Report};
use crate::time::Duration;

/// One column of a sheet with rows made of `R`.
struct Column<R> {
    name: &'static str,
    kind: Kind,
    /// What it tells, for the description of the sheet.
    about: &'static str,
    /// What stands in it; `None` where that is unknown.
    cell: fn(&R) -> Option<String>,
}

impl<R> Column<R> {
    const fn new(
        name: &'static str,
        kind: Kind,
        about: &'static str,
        cell: fn(&R) -> Option<String>,
    ) -> Self {
        Column { name, kind, about, cell }
    }
}

/// What a column holds.
#[derive(Clone, Copy)]
enum Kind {
    /// Foreign text.
    Text,
    Integer,
    Number,
    Flag,
}

impl Kind {
    /// The name of the type in a table schema.
    const fn name(self) -> &'static str {
        match self {
            Kind::Text => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Flag => "boolean",
        }
    }
}

/// The names of the columns of [`csv`], with a line feed.
pub fn csv_header() -> String {
    header(&nodes::columns())
}

/// One row per node of the run, in the order of the report, without the header.
///
/// Quantiles are exact up to 64 executions, so they are those of the nearest rank.
pub fn csv(report: &Report) -> String {
    let columns = nodes::columns();
    nodes::rows(report).map(|row| line(&columns, &row)).collect()
}

/// The names of the columns of [`csv_run`], with a line feed.
pub fn csv_runs_header() -> String {
    header(&runs::columns())
}

/// The run as one row, without the header.
pub fn csv_run(report: &Report) -> String {
    line(&runs::columns(), &report)
}

/// The names of the columns of [`csv_spans`], with a line feed.
pub fn csv_spans_header() -> String {
    header(&spans::columns())
}

/// One row per span of the run, parents before their children, without the header.
pub fn csv_spans(report: &Report, timeline: &Timeline) -> String {
    let columns = spans::columns();
    spans::rows(report, timeline).map(|row| line(&columns, &row)).collect()
}

/// What the columns of the three sheets hold, as JSON: for each a Table Schema as data packages have it.
pub fn csv_schema() -> String {
    let value = json!({
        "csv": table_schema(&nodes::columns()),
        "csv:runs": table_schema(&runs::columns()),
        "csv:spans": table_schema(&spans::columns()),
    });
    format!("{:#}\n", sorted(value))
}

fn table_schema<R>(columns: &[Column<R>]) -> serde_json::Value {
    let field = |column: &Column<R>| json!({"name": column.name, "type": column.kind.name(), "description": column.about});
    json!({"fields": columns.iter().map(field).collect::<Vec<_>>(), "missingValues": [""]})
}

fn header<R>(columns: &[Column<R>]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",") + "\n"
}

fn line<R>(columns: &[Column<R>], row: &R) -> String {
    let cell = |column: &Column<R>| match ((column.cell)(row), column.kind) {
        (None, _) => String::new(),
        (Some(text), Kind::Text) => self::text(&text),
        (Some(number), Kind::Integer | Kind::Number | Kind::Flag) => number,
    };
    columns.iter().map(cell).collect::<Vec<_>>().join(",") + "\n"
}

/// Foreign text as a cell: printable, no formula, in quotes where it has to be.
pub(super) fn text(text: &str) -> String {
    let printable = Printable::new(text).to_string();
    let is_formula = printable.starts_with(['=', '+', '-', '@']);
    let guarded = if is_formula { format!("'{printable}") } else { printable };
    let is_plain = !guarded.contains(['"', ',', ';', '\t']) && guarded.trim() == guarded;
    if is_plain { guarded } else { format!("\"{}\"", guarded.replace('"', "\"\"")) }
}

/// A length of time in milliseconds: exact, with at least three decimals.
fn ms(length: Duration) -> String {
    signed_ms(length.as_nanos().into())
}

/// A difference of lengths of time.
fn signed_ms(nanos: i128) -> String {
    let (sign, size) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (whole, fraction) = (size / 1_000_000, size % 1_000_000);
    match fraction % 1_000 {
        0 => format!("{sign}{whole}.{:03}", fraction / 1_000),
        _ => format!("{sign}{whole}.{fraction:06}"),
    }
}

/// A share or another ratio, so that it reads back to the last bit.
fn ratio(ratio: f64) -> Option<String> {
    ratio.is_finite().then(|| ratio.to_string())
}

/// What the run is a run of.
fn workflow(report: &Report) -> &str {
    report.run.workflow.as_ref().unwrap_or(&report.run.name)
}

const fn quality(report: &Report) -> &'static str {
    match report.quality.level {
        QualityLevel::Low => "low",
        QualityLevel::Medium => "medium",
        QualityLevel::High => "high",
    }
}

fn usd(amount: Option<Money>) -> Option<String> {
    amount.map(|amount| amount.to_string())
}

fn flag(flag: bool) -> Option<String> {
    Some(flag.to_string())
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
            ("@SUM(1;2)", "\"'@SUM(1;2)\""),
            ("\t=cmd()", "\\u{9}=cmd()"),
            ("two\r\nlines\0", "two\\u{d}\\u{a}lines\\u{0}"),
            ("", ""),
        ] {
            assert_eq!(text(foreign), cell, "{foreign:?}");
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
            assert_eq!(signed_ms(nanos), text);
        }
    }
}
