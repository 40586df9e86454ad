//! `longpole show`: the report on every run in a file, or what its runs say together.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use anstream::ColorChoice;
use longpole::many_runs::ManyRuns;
use longpole::render::{json, many_runs, text};
use longpole::report::{History, OtherRoots};
use longpole::run_assembler::{FinishedRun, only_below};
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_on, report_with_profile, runs_in};

use crate::args::{Format, ShowArgs};
use crate::failure::{Failure, warn};
use crate::input::{self, Input};
use crate::output;

/// More runs than this are told together, unless each is asked for.
const MANY: usize = 5;

/// Reads the file, says on standard error what is odd about it, and prints the reports.
pub(crate) fn show(args: &ShowArgs) -> Result<(), Failure> {
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
    let is_summary = args.summary || (runs.len() > MANY && args.format == Format::Text && !args.each);
    if is_summary || matches!(args.format, Format::Folded | Format::FoldedTail) {
        return show_together(args, runs, options_for);
    }
    let style = output::text_style(args);
    let is_single = runs.len() == 1;
    let documents = runs.into_iter().filter_map(|run| {
        let options = options_for(&run);
        let (report, _) = report_with_profile(run, &options)?;
        Some(match args.format {
            Format::Json => json(&report),
            _ => text(&report, &style),
        })
    });
    match args.format {
        Format::Json => output::print_all(array(documents, is_single), ColorChoice::Never),
        _ => {
            let with_blank_lines = documents.enumerate().map(|(index, report)| match index {
                0 => report,
                _ => format!("\n{report}"),
            });
            output::print_all(with_blank_lines, output::color_choice(args.color))
        }
    }
}

/// What all runs say together.
fn show_together(
    args: &ShowArgs,
    runs: Vec<FinishedRun>,
    options_for: impl Fn(&FinishedRun) -> ReportOptions,
) -> Result<(), Failure> {
    let mut together = ManyRuns::default();
    for run in runs {
        let options = options_for(&run);
        if let Some((_, profile)) = report_with_profile(run, &options) {
            together.add(&profile);
        }
    }
    let tail = ManyRuns::TAIL_PERCENTILE;
    let folded =
        |stacks: &dyn Fn(&_) -> Option<String>| together.groups().filter_map(stacks).collect::<String>();
    match args.format {
        Format::Text => {
            let page = many_runs::text(&together.report(tail), &output::text_style(args));
            let hint = if args.summary { "" } else { "\n  each run: longpole show FILE --each\n" };
            output::print_with(&(page + hint), output::color_choice(args.color))
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

/// One run is one document; several are an array of them.
fn array(documents: impl Iterator<Item = String>, is_single: bool) -> impl Iterator<Item = String> {
    let (open, close) = if is_single { ("", "") } else { ("[\n", "\n]\n") };
    let documents = documents.enumerate().map(move |(index, document)| match index {
        _ if is_single => document,
        0 => document.trim_end().to_owned(),
        _ => format!(",\n{}", document.trim_end()),
    });
    std::iter::once(open.to_owned()).chain(documents).chain(std::iter::once(close.to_owned()))
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
