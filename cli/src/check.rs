//! `longpole check`: holds a run against gates, one line each.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::ValueEnum;
use longpole::Report;
use longpole::render::{Printable, check_json, gates_text};

use crate::analysis::AnalysisArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::gates::{GateArgs, status};
use crate::output;
use crate::runs::{self, Found, RunArg};

/// Hold a run against limits; status 3 if it does not keep them
///
/// Several runs, of a file or of a version, are held against them together: a time or a cost fails if it does in at
/// least half of them, an error or an insight if it does in any.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    run: RunArg,

    #[command(flatten)]
    gates: GateArgs,

    /// For a person, or for a program
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    format: CheckFormat,

    #[command(flatten)]
    analysis: AnalysisArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Text,
    Json,
}

const EXAMPLES: &str = "\
Examples:
  longpole check last --fail-if 'wall>25s' --fail-if 'node(draft).p95>6s'
  longpole check research-agent --fail-if 'wall>+10%'          than usual, beyond noise
  longpole check spans.jsonl --budget budgets.toml --format json";

pub(crate) fn check(args: &CheckArgs, context: &Context) -> Result<ExitCode, Failure> {
    if args.gates.is_empty() {
        let error = anyhow!("no gate to hold the run against");
        return Err(Failure::wrong_use(error, "give --fail-if 'wall>25s' or --budget FILE"));
    }
    let gates = args.gates.load()?;
    let runs = runs::find(&args.run, &args.analysis, context)?;
    let reports: Vec<Report> = runs.into_iter().map(Found::report).collect::<Result<_, _>>()?;
    let checked = gates.check(&reports, None)?;
    match args.format {
        CheckFormat::Text => {
            for told in &checked {
                if let [_, _, ..] = &checked[..] {
                    let count = told.runs.len();
                    let runs = if count == 1 { "run" } else { "runs" };
                    let title = format!("{} ({count} {runs})\n", Printable::new(&told.workflow));
                    output::print_plain(&title)?;
                }
                output::print_with(&gates_text(&told.gates, &context.text_style()), context.color_choice())?;
            }
        }
        CheckFormat::Json => match &checked[..] {
            [one] => output::print_plain(&check_json(one))?,
            all => {
                let all: Vec<String> = all.iter().map(|one| check_json(one).trim_end().to_owned()).collect();
                output::print_plain(&format!("[\n{}\n]\n", all.join(",\n")))?;
            }
        },
    }
    Ok(status(checked.iter().flat_map(|told| &told.gates)))
}
