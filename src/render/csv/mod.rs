//! Reports as CSV (RFC 4180): one row per node, per span or per run, for spreadsheets and data frames.
//!
//! UTF-8, always a header, lines end with a line feed, numbers have a dot and their unit stands in the name of the
//! column. An empty cell is unknown, never zero. Columns are only ever appended. Foreign text is made printable, and
//! what a spreadsheet would take for a formula gets an apostrophe in front.

mod nodes;
mod runs;
mod spans;

use serde_json::json;

use super::csv_text::{csv_field, milliseconds as ms, signed_milliseconds as signed_ms};
use super::json::sorted;
use crate::money::Money;
use crate::report::timeline::Timeline;
use crate::report::{QualityLevel, Report};

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
        (Some(text), Kind::Text) => csv_field(&text),
        (Some(number), Kind::Integer | Kind::Number | Kind::Flag) => number,
    };
    columns.iter().map(cell).collect::<Vec<_>>().join(",") + "\n"
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
