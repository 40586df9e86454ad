//! What can be typed after `longpole`.

use crate::analysis::AnalysisArgs;
use crate::check::CheckArgs;
use crate::compare::CompareArgs;
use crate::completions::CompletionsArgs;
use crate::context::Context;
use crate::demo::DemoArgs;
use crate::doctor::DoctorArgs;
use crate::explain::ExplainArgs;
use crate::export::ExportArgs;
use crate::formats::{Format, Style};
use crate::gates::GateArgs;
use crate::import::ImportArgs;
use crate::ls::LsArgs;
use crate::man::ManArgs;
use crate::prune::PruneArgs;
use crate::run::RunArgs;
use crate::runs::RunArg;
use crate::schema::SchemaArgs;
use crate::trend::TrendArgs;
use crate::whatif::WhatIfArgs;
use clap::{Parser, Subcommand, ValueEnum};
use longpole::render::Block;

/// Finds the step that makes a workflow slow, from its OpenTelemetry spans, and says what fixing it would save.
#[derive(Debug, Parser)]
#[command(name = "longpole", version, disable_help_subcommand = true, after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) context: Context,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Show(ShowArgs),
    Demo(DemoArgs),
    Doctor(DoctorArgs),
    Ls(LsArgs),
    Trend(TrendArgs),
    Import(ImportArgs),
    Prune(PruneArgs),
    Export(ExportArgs),
    Schema(SchemaArgs),
    Compare(CompareArgs),
    #[command(name = "whatif")]
    WhatIf(WhatIfArgs),
    Check(CheckArgs),
    Explain(ExplainArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Report on a run: the last one, any that is kept, or every run in a file
///
/// Reads spans as OTLP (JSON, JSON lines or protobuf, as longpole, the OpenTelemetry collector's file exporter and most
/// SDKs write them), as Jaeger's JSON or as Tempo's, packed with gzip or zstd or not. The report goes to standard
/// output, everything else to standard error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = SHOW_EXAMPLES)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) run: RunArg,

    /// For a person (text; md: Markdown for a pull request; html: a page that needs nothing else), for a spreadsheet
    /// (csv: a row per node, csv:spans, csv:runs), for a program (json: one document, or an array where the file holds
    /// several runs; jsonl: a line per run), or for a flame graph of the critical paths (folded, and folded-tail for the
    /// slowest runs only)
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,

    /// Write the report to this file, as what its name ends in (txt, md, csv, spans.csv, runs.csv, html, json, jsonl); can
    /// be given again. Nothing goes to standard output then
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

    /// In text and Markdown, show one part only
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "summary")]
    pub(crate) only: Option<Part>,

    /// In text and Markdown, the most rows of a list
    #[arg(long, value_name = "N", conflicts_with_all = ["all", "summary"])]
    pub(crate) top: Option<usize>,

    /// In text and Markdown, every part and every row
    #[arg(long, conflicts_with_all = ["only", "summary"])]
    pub(crate) all: bool,

    /// The layout, for those who read that of another profiler
    #[arg(long, value_enum, default_value_t, conflicts_with_all = ["summary", "only", "top", "all"])]
    pub(crate) style: Style,

    /// The header of a CSV: its own, or the Conexus profiler's with lengths of time as it writes them (42ms)
    #[arg(long, value_enum, value_name = "STYLE", conflicts_with_all = ["summary", "style"])]
    pub(crate) csv_header: Option<CsvHeader>,

    #[command(flatten)]
    pub(crate) gates: GateArgs,

    #[command(flatten)]
    pub(crate) analysis: AnalysisArgs,
}

/// A part of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Path,
    Fix,
    Nodes,
    Cost,
    Quality,
}

impl Part {
    pub(crate) const fn block(self) -> Block {
        match self {
            Part::Path => Block::Path,
            Part::Fix => Block::Fix,
            Part::Nodes => Block::Nodes,
            Part::Cost => Block::Cost,
            Part::Quality => Block::Quality,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CsvHeader {
    Longpole,
    Conexus,
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

  longpole demo                                  see a report now
  longpole run -- python agent.py                run any program that sends OpenTelemetry spans, and report on it
  longpole show spans.jsonl                      report on each run in a file

All commands and options: longpole --help
";

const EXAMPLES: &str = "\
Examples:
  longpole demo                                  see a report now
  longpole run -- python agent.py                any program that sends OpenTelemetry spans
  longpole run -n 20 --warmup 1 -o report.md -o report.html -- ./pipeline
  longpole show last --only fix
  longpole compare research-agent@1.8.1 research-agent@1.8.2 --fail-if 'wall>+10%' -o comment.md
  longpole whatif last --set draft=2x --set fetch.limit=6
  longpole show - --format csv < otelcol-traces.json > nodes.csv

Exit status: 0 done, 1 could not do it, 2 wrong usage, 3 a gate failed, 4 nothing there: no such run, no spans;
130 interrupted; of `run` the command's own if it failed.";

const SHOW_EXAMPLES: &str = "\
Examples:
  longpole show                                  the last run that was kept
  longpole show research-agent                   the last run of a workflow; research-agent@1.8.2: all of a version
  longpole show last~2 --label session=7         of the runs with that label the third last
  longpole show spans.jsonl --format json > report.json
  longpole show last --only fix                  what to fix first, and nothing else
  longpole show last -o comment.md -o nodes.csv  for a pull request, and for a spreadsheet
  longpole show - --width 120 < collector-output.json
  longpole show today.jsonl --history yesterday.jsonl --sla draft=5s
  longpole show all-runs.jsonl --format folded | inferno-flamegraph > paths.svg";
