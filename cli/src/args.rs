//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::outcome::Failure;

const EXAMPLES: &str = "\
Examples:
  longpole show longpole-spans.jsonl           report on the runs in a file
  longpole show trace.json --format json       the same for programs
  longpole show - < otelcol-traces.jsonl       from standard input

Reads OTLP traces as JSON, as JSON lines (the OpenTelemetry Collector's file exporter) or as protobuf.

Exit codes: 0 done, 1 could not do it, 2 wrong usage, 4 no spans found.";

/// Finds the step that makes a workflow slow, and says what fixing it would save.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Report on the runs in a file of spans
    #[command(after_help = EXAMPLES)]
    Show(Show),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The file; `-` for standard input
    pub(crate) file: PathBuf,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Whether to colour; `auto` does so on a terminal unless `NO_COLOR` is set
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    /// Keep to ASCII; done by itself where the locale is not UTF-8
    #[arg(long)]
    pub(crate) ascii: bool,
    /// How many columns to use, at least 60 [default: the terminal's, else 80]
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) width: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: one report, or an array of them
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// What `longpole` alone prints.
pub(crate) fn print_short_help() -> Result<(), Failure> {
    Args::command().print_help().map_err(Failure::output)
}
