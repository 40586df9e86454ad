//! `longpole schema`: what the documents for programs hold.

use clap::ValueEnum;
use longpole::render::{COMPARE_SCHEMA, REPORT_SCHEMA, csv_schema};

use crate::failure::Failure;
use crate::output;

/// What the documents for programs hold: a JSON Schema, or of CSV the columns
///
/// Fields and columns are only ever added within a major version.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct SchemaArgs {
    /// Which document
    #[arg(value_enum, default_value_t = Document::Report)]
    document: Document,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Document {
    /// What `show --format json` and `jsonl` write: longpole.report/1
    Report,
    /// What `compare --format json` writes: longpole.compare/1
    Compare,
    /// The columns of csv, csv:runs and csv:spans, each as a Table Schema
    Csv,
}

const EXAMPLES: &str = "\
Examples:
  longpole schema > longpole.report-1.json       to check reports against, or to make types of
  longpole schema csv                            what each column of a CSV holds, and its unit";

pub(crate) fn schema(args: &SchemaArgs) -> Result<(), Failure> {
    match args.document {
        Document::Report => output::print(REPORT_SCHEMA),
        Document::Compare => output::print(COMPARE_SCHEMA),
        Document::Csv => output::print(&csv_schema()),
    }
}
