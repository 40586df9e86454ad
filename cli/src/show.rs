//! `longpole show`: the report on a run, on every run in a file, or what runs say together.

use std::process::ExitCode;

use anstream::ColorChoice;
use longpole::Report;
use longpole::many_runs::ManyRuns;
use longpole::render::{Excerpt, HtmlOptions, TextStyle, gates_text, many_runs};

use crate::args::{CsvHeader, Part, ShowArgs};
use crate::context::Context;
use crate::failure::Failure;
use crate::formats::{Document, Files, Format, Style, Told, Writer, texts};
use crate::gates::{self, Gates};
use crate::in_parallel::in_order;
use crate::output;
use crate::runs::{self, Found};

/// More runs than this are told together, unless each is asked for.
const MANY: usize = 5;
/// A longer name of a file would take more room than it is worth.
const MAX_ARGUMENT: usize = 40;

/// Finds the runs, says on standard error what is odd about them, and prints the reports or writes them to files.
pub(crate) fn show(args: &ShowArgs, context: &Context) -> Result<ExitCode, Failure> {
    let held = args.gates.load()?;
    let runs = runs::find(&args.run, &args.analysis, context)?;
    let is_summary = args.summary
        || (runs.len() > MANY
            && args.format == Format::Text
            && !args.each
            && args.output.is_empty()
            && args.style == Style::default()
            && args.only.is_none());
    if is_summary || matches!(args.format, Format::Folded | Format::FoldedTail) {
        return show_together(args, &held, runs, context);
    }
    show_each(args, &held, runs, context)
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
fn show_each(
    args: &ShowArgs,
    held: &Gates,
    runs: Vec<Found>,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let number = runs.len();
    // That text is drawn in ASCII concerns only who gets text.
    let style = |writers: &[&'static Writer]| match writers.iter().any(|it| it.format == Format::Text) {
        true => context.text_style(),
        false => TextStyle::default(),
    };
    let told = |run: Found, writers: &[&'static Writer], style: &TextStyle| {
        let excerpt = excerpt(args, &run, number);
        let mut told = Told { excerpt, ..Told::of(run, writers, number)? };
        told.html = HtmlOptions { all_spans: args.all_spans };
        held.judge(&mut told.report)?;
        let texts = texts(writers, &told, style);
        Ok::<_, Failure>((texts, told.report.gates))
    };
    if !args.output.is_empty() {
        let mut files = Files::begin(&args.output, number, |format| self::style(args, format))?;
        let writers = files.writers();
        // A file is no terminal.
        let style = TextStyle { color: false, ..style(&writers) };
        let mut failed = Vec::new();
        in_order(
            runs,
            |run| told(run, &writers, &style),
            |texts| {
                let (texts, gates) = texts?;
                failed.extend(gates.into_iter().filter(|gate| !gate.verdict.is_pass()));
                files.put(&texts)
            },
        )?;
        files.end()?;
        // Whoever reads a log sees why the command failed.
        context.say(&gates_text(&failed, &style));
        return Ok(gates::status(&failed));
    }
    let writer = args.format.writer_in(self::style(args, args.format))?;
    let choice = if args.format == Format::Text { context.color_choice() } else { ColorChoice::Never };
    let mut document = Document::begin(writer, number, output::open(choice))?;
    let style = style(&[writer]);
    let told = |run: Found| told(run, &[writer], &style);
    let mut status = ExitCode::SUCCESS;
    in_order(runs, told, |texts| {
        let (texts, gates) = texts?;
        texts.iter().try_for_each(|text| document.put(text))?;
        if gates.iter().any(|gate| !gate.verdict.is_pass()) {
            status = gates::status(&gates);
        }
        Ok::<(), Failure>(())
    })?;
    document.end()?;
    Ok(status)
}

/// What all runs say together.
fn show_together(
    args: &ShowArgs,
    held: &Gates,
    runs: Vec<Found>,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let mut together = ManyRuns::default();
    let mut reports: Vec<Report> = Vec::new();
    in_order(runs, Found::report_with_profile, |told| {
        let (report, profile) = told?;
        together.add(&profile);
        if !args.gates.is_empty() {
            reports.push(report);
        }
        Ok::<(), Failure>(())
    })?;
    let tail = ManyRuns::TAIL_PERCENTILE;
    let folded = |stacks: &dyn Fn(&_) -> Option<String>| {
        output::printable_lines(&together.groups().filter_map(stacks).collect::<String>())
    };
    let checked = held.check(&reports, None)?;
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
    }?;
    // What runs say together is no report that gates could stand in.
    for told in &checked {
        context.say(&gates_text(&told.gates, &context.text_style()));
    }
    Ok(gates::status(checked.iter().flat_map(|told| &told.gates)))
}
