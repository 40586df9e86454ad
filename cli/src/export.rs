//! `longpole export`: runs for other tools.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use inferno::flamegraph;
use longpole::many_runs::ManyRuns;
use longpole::otlp_json::traces_json;
use longpole::render::{Printable, speedscope, trace_events};
use longpole::report::timeline::Timeline;
use longpole::{Report, report_with_timeline};

use crate::analysis::AnalysisArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::runs::{self, Found, RunArg};

/// Write runs for other tools
///
/// Overlapping work is never drawn as if one part had called the other: each gets a lane of its own. What longpole does
/// not read of spans, such as events and messages of errors, is not in it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    run: RunArg,

    /// What to write: otlp (a line of JSON for each run, for any OTLP backend), chrome or perfetto (trace events, for
    /// ui.perfetto.dev and chrome://tracing), speedscope, folded (call paths of the critical path, for any flame graph
    /// tool), flamegraph (the same as an SVG)
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Target,

    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    analysis: AnalysisArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    Otlp,
    Chrome,
    Perfetto,
    Speedscope,
    Folded,
    Flamegraph,
}

const EXAMPLES: &str = "\
Examples:
  longpole export last --to perfetto -o run.json       then open it in ui.perfetto.dev
  longpole export spans.jsonl --to flamegraph -o run.svg
  longpole export last~1 --to otlp | gzip > run.jsonl.gz";

/// Finds the runs and writes them.
pub(crate) fn export(args: &ExportArgs, context: &Context) -> Result<(), Failure> {
    let context = Context { keeps_attributes: args.to == Target::Otlp, ..context.clone() };
    let found = runs::find(&args.run, &args.analysis, &context)?;
    let document = match args.to {
        Target::Otlp => otlp(found)?,
        Target::Chrome | Target::Perfetto => trace_events(&borrowed(&told(found)?)).into_bytes(),
        Target::Speedscope => speedscope(&borrowed(&told(found)?)).into_bytes(),
        Target::Folded => folded(found)?.into_bytes(),
        Target::Flamegraph => flame_graph(found)?,
    };
    match &args.output {
        None => Ok(output::write(&document)?),
        Some(path) => {
            let written = File::create(path).and_then(|mut file| file.write_all(&document));
            written
                .with_context(|| format!("cannot write {}", path.display()))
                .map_err(|error| Failure::could_not(error, "check the folder and the room on its disk"))
        }
    }
}

fn otlp(found: Vec<Found>) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    for found in found {
        let name = found.name.clone();
        let (run, _) = found.finished()?;
        let line = traces_json(&run.records).with_context(|| format!("cannot write the spans of {name}"));
        lines.extend(
            line.map_err(|error| {
                Failure::could_not(error, "this is an error of longpole; please report it")
            })?,
        );
    }
    Ok(lines)
}

fn told(found: Vec<Found>) -> Result<Vec<(Report, Timeline)>, Failure> {
    let told = |found: Found| {
        let (run, options) = found.finished()?;
        report_with_timeline(run, &options).ok_or_else(runs::no_spans)
    };
    found.into_iter().map(told).collect()
}

fn borrowed(told: &[(Report, Timeline)]) -> Vec<(&Report, &Timeline)> {
    told.iter().map(|(report, timeline)| (report, timeline)).collect()
}

/// The time of the critical paths by call path; adds up to the wall times.
fn folded(found: Vec<Found>) -> Result<String, Failure> {
    let mut together = ManyRuns::default();
    for found in found {
        together.add(&found.report_with_profile()?.1);
    }
    let stacks: String = together.groups().filter_map(|group| together.folded_stacks(group)).collect();
    Ok(output::printable_lines(&stacks))
}

fn flame_graph(found: Vec<Found>) -> Result<Vec<u8>, Failure> {
    let stacks = folded(found)?;
    // Names are shown as they are and change nothing else that is shown.
    let stacks: Vec<String> = stacks.lines().map(|line| Printable::new(line).to_string()).collect();
    let mut options = flamegraph::Options::default();
    options.title = "Critical path".to_owned();
    options.count_name = "ms".to_owned();
    options.factor = 1e-6;
    // Colours by name: equal input gives equal bytes.
    options.hash = true;
    options.deterministic = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, stacks.iter().map(String::as_str), &mut svg)
        .context("cannot draw a flame graph of a run that took no time")
        .map_err(|error| Failure::could_not(error, "write it as folded or perfetto instead"))?;
    Ok(svg)
}
