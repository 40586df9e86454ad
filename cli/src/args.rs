//! What can be typed after `longpole`.

use crate::analysis::AnalysisArgs;
use crate::context::Context;
use crate::export::ExportArgs;
use crate::formats::Format;
use crate::runs::RunArg;
use clap::{Parser, Subcommand, ValueEnum};

/// Finds the step that makes a workflow slow, from its OpenTelemetry spans, and says what fixing it would save.
#[derive(Debug, Parser)]
#[command(name = "longpole", version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Show(ShowArgs),
    Export(ExportArgs),
}

/// Report on a run: the last one, any that is kept, or every run in a file
///
/// Reads spans as OTLP (JSON, JSON lines or protobuf, as longpole, the OpenTelemetry collector's file exporter and most
/// SDKs write them), as Jaeger's JSON or as Tempo's, packed with gzip or zstd or not. The report goes to standard
/// output, everything else to standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,

    /// For a person (text; html: a page that needs nothing else), for a program (json: one document, or an array where
    /// the file holds several runs), or for a flame graph of the critical paths (folded, and folded-tail for the slowest
    /// runs only)
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// Write the report to this file, as what its name ends in (txt, html, json); can be given again. Nothing goes to
    /// standard output then
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["format", "summary"])]
    pub(crate) output: Vec<std::path::PathBuf>,

    /// Tell what the runs say together; text of more than five runs does so by itself
    #[arg(long)]
    pub(crate) summary: bool,

    /// Report on each run, however many there are
    #[arg(long, conflicts_with = "summary")]
    pub(crate) each: bool,

    /// In HTML, give each span of a large run a row of its own; otherwise those that matter least share rows
    #[arg(long)]
    pub(crate) all_spans: bool,

    #[command(flatten)]
    pub(crate) analysis: AnalysisArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// What `longpole` alone says.
pub(crate) const SHORT_HELP: &str = "\
longpole finds the step that makes a workflow slow and says what fixing it would save.

  longpole show spans.jsonl                      what to fix first, in each run of a file
  longpole show spans.jsonl --format json        the same for a program
  curl -s https://example.com/trace | longpole show -

All commands and options: longpole --help
";

const EXAMPLES: &str = "\
Examples:
  longpole show spans.jsonl                      what to fix first, in each run of a file
  longpole show spans.jsonl --format json        the same for a program

Exit status: 0 done, 1 could not do it, 2 wrong usage, 4 no spans there.";

const SHOW_EXAMPLES: &str = "\
Examples:
  longpole show                                  the last run that was kept
  longpole show research-agent                   the last run of a workflow; research-agent@1.8.2: all of a version
  longpole show last~2 --label session=7         of the runs with that label the third last
  longpole show spans.jsonl --format json > report.json
  longpole show - --width 120 < collector-output.json
  longpole show today.jsonl --history yesterday.jsonl --sla draft=5s
  longpole show all-runs.jsonl --format folded | inferno-flamegraph > paths.svg";
