//! `longpole compare`: what changed between two runs, two versions, or the runs in two files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::ValueEnum;
use longpole::Report;
use longpole::analysis::compare_samples::SampleOptions;
use longpole::compare::{CompareOptions, Comparison, compare_runs};
use longpole::render::{TextStyle, comparison_json, comparison_markdown, comparison_text, gates_text};

use crate::analysis::AnalysisArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::gates::{GateArgs, status};
use crate::output;
use crate::runs::{self, Found, RunArg};

/// What changed from one run to another, or from one version to another, and which nodes it comes from
///
/// Each side is a run, all runs of a version, or every run in a file. With ten runs or more on both sides a change is
/// told from chance. Runs of which spans are missing are left out.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// The earlier: `last~1`, an id, a workflow, `workflow@version` (all runs of it), a file with spans
    #[arg(value_name = "A")]
    base: OsString,

    /// The later
    #[arg(value_name = "B")]
    new: OsString,

    /// For a person, for a comment on a pull request, or for a program
    #[arg(long, value_enum, default_value_t = CompareFormat::Text)]
    format: CompareFormat,

    /// Write it to this file, as what its name ends in (txt, md, json); can be given again. Nothing goes to standard
    /// output then
    #[arg(short, long, value_name = "FILE", conflicts_with = "format")]
    output: Vec<PathBuf>,

    /// A change of the median by less than this is none
    #[arg(long, value_parser = percent, default_value = "5%", value_name = "PERCENT")]
    min_effect: f64,

    #[command(flatten)]
    gates: GateArgs,

    #[command(flatten)]
    analysis: AnalysisArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompareFormat {
    Text,
    Md,
    Json,
}

const EXAMPLES: &str = "\
Examples:
  longpole compare last~1 last
  longpole compare research-agent@1.8.1 research-agent@1.8.2 --fail-if 'wall>+10%' -o comment.md
  longpole compare before.jsonl after.jsonl --format json";

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    let ratio = number.ok().filter(|percent| (0.0..=1000.0).contains(percent)).map(|percent| percent / 100.0);
    ratio.ok_or_else(|| "expected a percentage such as 5%".to_owned())
}

pub(crate) fn compare(args: &CompareArgs, context: &Context) -> Result<ExitCode, Failure> {
    let formats: Vec<_> = args.output.iter().map(|file| format_of(file)).collect::<Result<_, _>>()?;
    let gates = args.gates.load()?;
    let base = reports(&args.base, args, context)?;
    let new = reports(&args.new, args, context)?;
    let options = CompareOptions {
        samples: SampleOptions { delta_ratio: args.min_effect, ..SampleOptions::default() },
        ..CompareOptions::default()
    };
    let mut comparison = compare_runs(&base, &new, &options);
    if !args.gates.is_empty() {
        let checked = gates.check(&new, Some(&comparison))?;
        comparison.gates = checked.into_iter().flat_map(|told| told.gates).collect();
    }
    let mut style = context.text_style();
    if args.output.is_empty() {
        let choice = match args.format {
            CompareFormat::Text => context.color_choice(),
            CompareFormat::Md | CompareFormat::Json => anstream::ColorChoice::Never,
        };
        output::print_with(&written(&comparison, args.format, &style), choice)?;
        return Ok(status(&comparison.gates));
    }
    // A file is no terminal.
    style.color = false;
    for (file, format) in args.output.iter().zip(formats) {
        std::fs::write(file, written(&comparison, format, &style))
            .with_context(|| format!("cannot write {}", file.display()))
            .map_err(|error| Failure::could_not(error, "check the folder and the room on its disk"))?;
    }
    // Whoever reads a log sees why the command failed.
    context.say(&gates_text(&comparison.gates, &style));
    Ok(status(&comparison.gates))
}

fn written(comparison: &Comparison, format: CompareFormat, style: &TextStyle) -> String {
    match format {
        CompareFormat::Text => comparison_text(comparison, style),
        CompareFormat::Md => comparison_markdown(comparison),
        CompareFormat::Json => comparison_json(comparison),
    }
}

fn format_of(file: &Path) -> Result<CompareFormat, Failure> {
    let extension = file.extension().and_then(|it| it.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "txt" | "text" => Ok(CompareFormat::Text),
        "md" | "markdown" => Ok(CompareFormat::Md),
        "json" => Ok(CompareFormat::Json),
        _ => {
            let error = anyhow!("cannot tell from its name what to write to {}", file.display());
            Err(Failure::wrong_use(error, "use a name that ends in .txt, .md, .json"))
        }
    }
}

fn reports(run: &OsString, args: &CompareArgs, context: &Context) -> Result<Vec<Report>, Failure> {
    let run = RunArg { run: run.clone(), labels: Vec::new() };
    runs::find(&run, &args.analysis, context)?.into_iter().map(Found::report).collect()
}
