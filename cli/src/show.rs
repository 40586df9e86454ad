//! `longpole show`: the report on every run in a file, or what its runs say together.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use anstream::ColorChoice;
use longpole::many_runs::ManyRuns;
use longpole::render::{TextStyle, many_runs};
use longpole::report::{History, OtherRoots};
use longpole::run_assembler::{FinishedRun, only_below};
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_on, report_on_run, report_with_profile, runs_in};

use crate::args::ShowArgs;
use crate::context::Context;
use crate::failure::{Failure, warn};
use crate::formats::{Document, Files, Format, Told, Writer, texts};
use crate::in_parallel::in_order;
use crate::input::{self, Input};
use crate::output;

/// More runs than this are told together, unless each is asked for.
const MANY: usize = 5;

/// Reads the file, says on standard error what is odd about it, and prints the reports.
pub(crate) fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let options = args.analysis.options();
    let histories = histories(args, &options)?;
    let (name, mut spans) = read(&args.run)?;
    if let Some(root) = args.analysis.root {
        spans = only_below(spans, root);
        if spans.is_empty() {
            let help = "give the id of a span in the file, as --format json shows it";
            return Err(Failure::nothing_there(anyhow::anyhow!("no span {root} in {name}"), help));
        }
    }
    let runs = runs_in(spans);
    if runs.is_empty() {
        let help = "check that the program was traced, and that it flushed its spans before it ended";
        return Err(Failure::nothing_there(anyhow::anyhow!("no spans in {name}"), help));
    }
    let roots = OtherRoots::of(&runs);
    let options_for = |run: &FinishedRun| {
        let history = run.name().and_then(|name| histories.get(&**name).cloned());
        let history = history.unwrap_or_else(|| options.history.clone());
        ReportOptions { other_roots: roots.within(run), history, ..options.clone() }
    };
    let is_summary = args.summary
        || (runs.len() > MANY && args.format == Format::Text && !args.each && args.output.is_empty());
    if is_summary || args.format.writer().is_none() {
        return show_together(args, context, runs, options_for);
    }
    show_each(args, context, runs, options_for)
}

/// The report on every run: on standard output, or in the files that were asked for.
fn show_each(
    args: &ShowArgs,
    context: &Context,
    runs: Vec<FinishedRun>,
    options_for: impl Fn(&FinishedRun) -> ReportOptions + Sync,
) -> Result<(), Failure> {
    let mut style = context.text_style();
    if !args.output.is_empty() {
        // A file is no terminal.
        style.color = false;
        let mut files = Files::begin(&args.output, runs.len())?;
        let writers = files.writers();
        let told = |run: FinishedRun| told(run, &options_for, &writers, &style);
        in_order(runs, told, |texts| texts.iter().try_for_each(|texts| files.put(texts)))?;
        return files.end();
    }
    let Some(writer) = args.format.writer() else { return show_together(args, context, runs, options_for) };
    let is_text = args.format == Format::Text;
    let choice = if is_text { context.color_choice() } else { ColorChoice::Never };
    let mut document = Document::begin(writer, runs.len(), output::open(choice))?;
    let told = |run: FinishedRun| told(run, &options_for, &[writer], &style);
    in_order(runs, told, |texts| texts.iter().flatten().try_for_each(|text| document.put(text)))?;
    Ok(document.end()?)
}

/// What each writer makes of a run.
fn told(
    run: FinishedRun,
    options_for: impl Fn(&FinishedRun) -> ReportOptions,
    writers: &[&'static Writer],
    style: &TextStyle,
) -> Option<Vec<String>> {
    let options = options_for(&run);
    let told = Told { report: report_on_run(run, &options)? };
    Some(texts(writers, &told, style))
}

/// What all runs say together.
fn show_together(
    args: &ShowArgs,
    context: &Context,
    runs: Vec<FinishedRun>,
    options_for: impl Fn(&FinishedRun) -> ReportOptions + Sync,
) -> Result<(), Failure> {
    let mut together = ManyRuns::default();
    let profile = |run: FinishedRun| {
        let options = options_for(&run);
        Some(report_with_profile(run, &options)?.1)
    };
    in_order(runs, profile, |profile| {
        profile.iter().for_each(|profile| together.add(profile));
        Ok::<(), Failure>(())
    })?;
    let tail = ManyRuns::TAIL_PERCENTILE;
    let folded =
        |stacks: &dyn Fn(&_) -> Option<String>| together.groups().filter_map(stacks).collect::<String>();
    match args.format {
        Format::Text => {
            let page = many_runs::text(&together.report(tail), &context.text_style());
            let hint = if args.summary { "" } else { "\n  each run: longpole show FILE --each\n" };
            output::print_with(&(page + hint), context.color_choice())
        }
        Format::Json => output::print_with(&many_runs::json(&together.report(tail)), ColorChoice::Never),
        Format::Folded => {
            output::print_with(&folded(&|group| together.folded_stacks(group)), ColorChoice::Never)
        }
        Format::FoldedTail => {
            output::print_with(&folded(&|group| together.folded_tail_stacks(group, tail)), ColorChoice::Never)
        }
    }
}

/// The spans in a file; what could not be read of it is told.
fn read(file: &std::path::Path) -> Result<(String, Vec<SpanRecord>), Failure> {
    let Input { name, spans, problems } = input::read(file)?;
    for problem in problems {
        let cause = problem.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        warn("warning", &format!("{name}: {problem}{cause}"));
    }
    Ok((name, spans))
}

/// What is usual, by workflow or name of the root.
fn histories(args: &ShowArgs, options: &ReportOptions) -> Result<HashMap<String, Arc<History>>, Failure> {
    let mut histories: HashMap<String, Arc<History>> = HashMap::new();
    for file in &args.analysis.history {
        let mut reports: Vec<Report> = report_on(read(file)?.1, options);
        reports.sort_by_key(|report| report.run.start_unix_ns);
        for report in reports {
            let name = report.run.workflow.as_ref().unwrap_or(&report.run.name).clone();
            Arc::make_mut(histories.entry(name).or_default()).push(&report);
        }
    }
    Ok(histories)
}
