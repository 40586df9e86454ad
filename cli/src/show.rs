//! `longpole show`: the report on a run, on every run in a file, or what runs say together.

use anstream::ColorChoice;
use longpole::many_runs::ManyRuns;
use longpole::render::{Excerpt, HtmlOptions, TextStyle, many_runs};

use crate::args::{CsvHeader, Part, ShowArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::formats::{Document, Files, Format, Style, Told, Writer, texts};
use crate::in_parallel::in_order;
use crate::output;
use crate::runs::{self, Found};

/// More runs than this are told together, unless each is asked for.
const MANY: usize = 5;
/// A longer name of a file would take more room than it is worth.
const MAX_ARGUMENT: usize = 40;

/// Finds the runs, says on standard error what is odd about them, and prints the reports or writes them to files.
pub(crate) fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let runs = runs::find(&args.run, &args.analysis, context)?;
    let is_summary = args.summary
        || (runs.len() > MANY
            && args.format == Format::Text
            && !args.each
            && args.output.is_empty()
            && args.style == Style::default()
            && args.only.is_none());
    if is_summary || matches!(args.format, Format::Folded | Format::FoldedTail) {
        return show_together(args, runs, context);
    }
    show_each(args, runs, context)
}

/// The layout that was asked for a format.
fn style(args: &ShowArgs, format: Format) -> Style {
    match args.csv_header {
        Some(CsvHeader::Conexus) if format == Format::Csv => Style::Conexus,
        _ => args.style,
    }
}

/// How much of a run is shown, and the command that shows more.
fn excerpt(args: &ShowArgs, run: &Found, runs: usize) -> Excerpt {
    let name = run.kept_as().map_or_else(|| argument(&args.run.run), |id| Some(id.to_owned()));
    let name = name.filter(|_| run.kept_as().is_some() || runs == 1);
    let more = name.map(|name| match args.all {
        false => format!("longpole show {name} --all"),
        true => format!("longpole show {name} -o report.html"),
    });
    Excerpt { only: args.only.map(Part::block), top: args.top, all: args.all, more }
}

/// A file as it can be typed again, `FILE` where that is long; `None` for standard input, and for what a shell might
/// read differently.
fn argument(given: &std::ffi::OsStr) -> Option<String> {
    let text = given.to_str()?;
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-' | '@' | '~' | '+' | ':');
    if text.len() > MAX_ARGUMENT && text != "-" {
        return Some("FILE".to_owned());
    }
    let is_plain = text != "-" && !text.starts_with('~') && text.chars().all(is_plain);
    is_plain.then(|| text.to_owned())
}

/// The report on every run: on standard output, or in the files that were asked for.
fn show_each(args: &ShowArgs, runs: Vec<Found>, context: &Context) -> Result<(), Failure> {
    let (mut style, number) = (context.text_style(), runs.len());
    let told = |run: Found, writers: &[&'static Writer], style: &TextStyle| {
        let excerpt = excerpt(args, &run, number);
        let told = Told::of(run, writers, number)?;
        let html = HtmlOptions { all_spans: args.all_spans };
        Ok::<_, Failure>(texts(writers, &Told { html, excerpt, ..told }, style))
    };
    if !args.output.is_empty() {
        // A file is no terminal.
        style.color = false;
        let mut files = Files::begin(&args.output, number, |format| self::style(args, format))?;
        let writers = files.writers();
        in_order(runs, |run| told(run, &writers, &style), |texts| files.put(&texts?))?;
        return files.end();
    }
    let writer = args.format.writer_in(self::style(args, args.format))?;
    let choice = if args.format == Format::Text { context.color_choice() } else { ColorChoice::Never };
    let mut document = Document::begin(writer, number, output::open(choice))?;
    let told = |run: Found| told(run, &[writer], &style);
    in_order(runs, told, |texts| {
        texts?.iter().try_for_each(|text| document.put(text))?;
        Ok::<(), Failure>(())
    })?;
    Ok(document.end()?)
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
        Format::Md | Format::Csv | Format::CsvSpans | Format::CsvRuns | Format::Jsonl | Format::Html => {
            let error = anyhow::anyhow!("many runs together are told as text or JSON only");
            Err(Failure::wrong_use(error, "leave out --summary to be told about each run"))
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
