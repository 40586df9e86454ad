//! `longpole show`: the report on a run, on every run in a file, or what runs say together.

use std::io::Write;

use anstream::ColorChoice;
use longpole::many_runs::ManyRuns;
use longpole::render::{json, many_runs, text};

use crate::args::{Format, ShowArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::in_parallel::in_order;
use crate::output;
use crate::runs::{self, Found};

/// More runs than this are told together, unless each is asked for.
const MANY: usize = 5;

/// Finds the runs, says on standard error what is odd about them, and prints the reports.
pub(crate) fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let runs = runs::find(&args.run, &args.analysis, context)?;
    let is_summary = args.summary || (runs.len() > MANY && args.format == Format::Text && !args.each);
    if is_summary || matches!(args.format, Format::Folded | Format::FoldedTail) {
        return show_together(args, runs, context);
    }
    show_each(args, runs, context)
}

/// The report on every run: texts with a blank line between them; one JSON document, or an array of them.
fn show_each(args: &ShowArgs, runs: Vec<Found>, context: &Context) -> Result<(), Failure> {
    let style = context.text_style();
    let is_json = args.format == Format::Json;
    let (open, between, close) = match is_json {
        true if runs.len() > 1 => ("[\n", ",\n", "\n]\n"),
        true => ("", "", "\n"),
        false => ("", "\n", ""),
    };
    let choice = if is_json { ColorChoice::Never } else { context.color_choice() };
    let document = |run: Found| {
        let report = run.report()?;
        Ok::<_, Failure>(if is_json { json(&report).trim_end().to_owned() } else { text(&report, &style) })
    };
    let mut stdout = output::open(choice);
    stdout.write_all(open.as_bytes())?;
    let mut is_first = true;
    in_order(runs, document, |document| {
        let document = document?;
        if !is_first {
            stdout.write_all(between.as_bytes())?;
        }
        is_first = false;
        stdout.write_all(document.as_bytes())?;
        Ok::<(), Failure>(())
    })?;
    stdout.write_all(close.as_bytes())?;
    Ok(stdout.flush()?)
}

/// What all runs say together.
fn show_together(args: &ShowArgs, runs: Vec<Found>, context: &Context) -> Result<(), Failure> {
    let mut together = ManyRuns::default();
    in_order(runs, Found::report_with_profile, |told| {
        together.add(&told?.1);
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
