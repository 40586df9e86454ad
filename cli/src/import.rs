//! `longpole import`: keeps the runs in files.

use std::path::PathBuf;

use anyhow::anyhow;
use longpole::otlp_bytes::mark_workflow;
use longpole::report::OtherRoots;
use longpole::run_assembler::FinishedRun;
use longpole::{Report, ReportOptions, report_on_run, runs_in};
use longpole_store::{Labels, Recorded};

use crate::context::Context;
use crate::failure::Failure;
use crate::in_parallel::in_order;
use crate::{history, output, runs};

/// Keep the runs in files, to compare later ones with them
///
/// Reads what `longpole show` reads: OTLP (JSON, JSON lines or protobuf), Jaeger's JSON, Tempo's, packed with gzip or
/// zstd or not. A run that is kept already is replaced, unless more spans of it are kept.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// Files with spans, or `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// What to call the workflow of runs that do not name one
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,

    /// Label the runs; can be given again
    #[arg(long = "label", value_parser = history::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,

    /// Only say what would be kept
    #[arg(long)]
    dry_run: bool,
}

const EXAMPLES: &str = "\
Examples:
  longpole import collector-output.jsonl
  longpole import traces/*.json --workflow nightly --label host=ci
  curl -s https://example.com/trace | longpole import -";

/// Keeps the runs of all files and says how many; a file that cannot be read ends it, what was kept before stays.
pub(crate) fn import(args: &ImportArgs, context: &Context) -> Result<(), Failure> {
    // Spans are written again, as they were told.
    let context = &Context { keeps_attributes: true, ..context.clone() };
    let labels: Labels = args.labels.iter().cloned().collect();
    let mut store = if args.dry_run { None } else { Some(history::open(context)?) };
    for file in &args.files {
        let (name, spans) = runs::read(file, context)?;
        let mut runs = runs_in(spans);
        if runs.is_empty() {
            let help = "check that the program was traced, and that it flushed its spans before it ended";
            return Err(Failure::nothing_there(anyhow!("no spans in {name}"), help));
        }
        if let Some(workflow) = &args.workflow {
            runs.iter_mut().for_each(|run| name_workflow(run, workflow));
        }
        let roots = OtherRoots::of(&runs);
        let (mut kept, mut replaced, mut larger, mut removed) = (0u64, 0u64, 0u64, 0u64);
        let reported = |run: FinishedRun| {
            let options = ReportOptions { other_roots: roots.within(&run), ..ReportOptions::default() };
            let spans = run.records.clone();
            report_on_run(run, &options).map(|report: Report| (report, spans))
        };
        in_order(runs, reported, |reported| {
            let Some((report, spans)) = reported else { return Ok(()) };
            let Some(store) = &mut store else {
                kept += 1;
                return Ok(());
            };
            let outcome = store.record(&report, &spans, &labels, history::now()).map_err(history::failure)?;
            removed += outcome.removed;
            match outcome.recorded {
                Recorded::New => kept += 1,
                Recorded::Replaced => replaced += 1,
                Recorded::KeptLarger => larger += 1,
            }
            Ok::<(), Failure>(())
        })?;
        let shown = longpole::render::Printable::new(&name);
        let mut text = format!("{shown}: {}", counted(kept));
        text += if args.dry_run { " would be kept" } else { " kept" };
        for (count, what) in [
            (replaced, "kept anew"),
            (larger, "left as kept before, with more spans"),
            (removed, "older removed, as the history is limited"),
        ] {
            if count > 0 {
                text += &format!(", {} {what}", counted(count));
            }
        }
        output::print(&(text + "\n"))?;
    }
    Ok(())
}

fn counted(runs: u64) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}

/// Names the workflow of a run that has none. A run without a single root has no span to name it on.
fn name_workflow(run: &mut FinishedRun, workflow: &str) {
    let Some(root) = run.root_record().map(|root| root.span_id) else { return };
    let roots = run.records.iter_mut().filter(|record| record.span_id == root);
    roots
        .filter(|record| record.workflow_name().is_none())
        .for_each(|record| mark_workflow(record, workflow));
}
