//! What is told when the command has ended.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use longpole::many_runs::{ManyRuns, RunProfile};
use longpole::render::{TextStyle, many_runs, text};
use longpole::report::OtherRoots;
use longpole::run_assembler::FinishedRun;
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_with_profile, runs_in};

use super::RunArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::formats::{Files, Told, texts};

/// More runs than this are told together.
const MANY: usize = 5;

/// The runs of a command, of all times it was run.
pub(super) struct Session {
    options: ReportOptions,
    workflow: Option<String>,
    told: Vec<(Report, RunProfile)>,
}

impl Session {
    pub(super) fn new(options: ReportOptions, workflow: Option<String>) -> Self {
        Session { options, workflow, told: Vec::new() }
    }

    /// Adds what came of running the command once. If it was broken off, spans that were open are missing, although
    /// nothing that came may show it.
    pub(super) fn add(&mut self, spans: Vec<SpanRecord>, is_broken_off: bool) {
        let mut runs = runs_in(spans);
        let last_end = |run: &FinishedRun| run.records.iter().map(|record| record.end).max();
        let last = runs.iter_mut().max_by_key(|run| last_end(run));
        if let Some(last) = last.filter(|_| is_broken_off) {
            last.missing = last.missing.max(1);
        }
        if let Some(name) = &self.workflow {
            runs.iter_mut().for_each(|run| name_run(run, name));
        }
        let roots = OtherRoots::of(&runs);
        for run in runs {
            let options = ReportOptions { other_roots: roots.within(&run), ..self.options.clone() };
            self.told.extend(report_with_profile(run, &options));
        }
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Writes the reports to the files that were asked for, or to standard error. If a file cannot be written,
    /// standard error gets them all the same.
    pub(super) fn tell(&self, args: &RunArgs, context: &Context) -> Result<(), Failure> {
        let style = style(context);
        let written = self.write(args, context);
        let wants_verdict = context.quiet || (written.is_ok() && !args.output.is_empty());
        let is_summary = args.runs > 1 || self.told.len() > MANY;
        let page = match is_summary {
            true => {
                let mut together = ManyRuns::default();
                self.told.iter().for_each(|(_, profile)| together.add(profile));
                let page = many_runs::text(&together.report(ManyRuns::TAIL_PERCENTILE), &style);
                if wants_verdict { first_line(&page) } else { page }
            }
            false => {
                let page = |(report, _): &(Report, RunProfile)| {
                    let page = text(report, &style);
                    if wants_verdict { first_line(&page) } else { page }
                };
                let pages: Vec<String> = self.told.iter().map(page).collect();
                pages.join(if wants_verdict { "" } else { "\n" })
            }
        };
        let mut stderr = AutoStream::new(io::stderr().lock(), color_choice(context));
        // With standard error gone there is nobody left to tell.
        let _ = stderr.write_all(format!("\n{page}").as_bytes());
        written
    }

    fn write(&self, args: &RunArgs, context: &Context) -> Result<(), Failure> {
        if args.output.is_empty() {
            return Ok(());
        }
        let mut files = Files::begin(&args.output, self.told.len())?;
        let writers = files.writers();
        // A file is no terminal.
        let style = TextStyle { color: false, ..style(context) };
        for (report, _) in &self.told {
            files.put(&texts(&writers, &Told { report: report.clone() }, &style))?;
        }
        files.end()
    }
}

fn first_line(page: &str) -> String {
    page.lines().next().map(|line| format!("{line}\n")).unwrap_or_default()
}

/// Marks the root of a run as that of a workflow, unless it says so itself.
fn name_run(run: &mut FinishedRun, name: &str) {
    let Some(id) = run.root_record().filter(|root| root.workflow_name().is_none()).map(|root| root.span_id) else {
        return;
    };
    for record in run.records.iter_mut().filter(|record| record.span_id == id) {
        record.facts.get_or_insert_default().workflow_name = Some(name.into());
    }
}

/// How text is drawn on standard error.
fn style(context: &Context) -> TextStyle {
    let terminal = terminal_size::terminal_size_of(io::stderr()).map(|(width, _)| usize::from(width.0));
    let style = context.text_style();
    TextStyle {
        width: context.width.or(terminal).unwrap_or(style.width),
        color: color_choice(context) != ColorChoice::Never,
        ..style
    }
}

fn color_choice(context: &Context) -> ColorChoice {
    match context.color {
        crate::args::Color::Auto => AutoStream::choice(&io::stderr()),
        _ => context.color_choice(),
    }
}
