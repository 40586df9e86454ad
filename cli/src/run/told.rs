//! What is told when the command has ended.

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use longpole::many_runs::{ManyRuns, RunProfile};
use longpole::otlp_bytes::mark_workflow;
use longpole::render::{Excerpt, HtmlOptions, TextStyle, gates_text, many_runs, text_excerpt};
use longpole::report::timeline::Timeline;
use longpole::report::{GateResult, History, OtherRoots};
use longpole::run_assembler::{FinishedRun, only_below};
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_with_profile, report_with_timeline, runs_in};
use longpole_store::{Labels, RunFilter, Store};

use super::RunArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::formats::{Files, Style, Told, format_for, texts};
use crate::gates::{self, Gates};
use crate::{history, runs};

/// More runs than this are told together.
const MANY: usize = 5;

/// The runs of a command, of all times it was run.
pub(super) struct Session<'a> {
    args: &'a RunArgs,
    context: &'a Context,
    options: ReportOptions,
    held: Gates,
    /// What is usual by the files that were given, by workflow or name of the root.
    given: HashMap<String, Arc<History>>,
    labels: Labels,
    store: Option<Store>,
    /// The file runs are kept in cannot be used, which was told.
    is_store_broken: bool,
    /// A file was asked for in a format that draws spans.
    draws_spans: bool,
    told: Vec<OneRun>,
}

/// One run, analysed.
struct OneRun {
    report: Report,
    profile: RunProfile,
    timeline: Option<Timeline>,
}

impl<'a> Session<'a> {
    /// Reads what is needed before a command is run.
    pub(super) fn new(args: &'a RunArgs, context: &'a Context) -> Result<Self, Failure> {
        let options = args.analysis.options()?;
        let writers = args
            .output
            .iter()
            .map(|path| format_for(path)?.writer_in(Style::default()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Session {
            draws_spans: writers.iter().any(|writer| writer.draws_spans),
            held: args.gates.load()?,
            given: runs::histories(&args.analysis, &options)?,
            labels: args.labels.iter().cloned().collect(),
            args,
            context,
            options,
            store: None,
            is_store_broken: false,
            told: Vec::new(),
        })
    }

    /// Adds what came of running the command once. If it was broken off, spans that were open are missing, although
    /// nothing that came may show it.
    pub(super) fn add(&mut self, mut spans: Vec<SpanRecord>, is_broken_off: bool) {
        if let Some(root) = self.args.analysis.root {
            spans = only_below(spans, root);
        }
        let mut runs = runs_in(spans);
        let last_end = |run: &FinishedRun| run.records.iter().map(|record| record.end).max();
        let last = runs.iter_mut().max_by_key(|run| last_end(run));
        if let Some(last) = last.filter(|_| is_broken_off) {
            last.missing = last.missing.max(1);
        }
        if let Some(name) = &self.args.workflow {
            runs.iter_mut().for_each(|run| name_run(run, name));
        }
        let roots = OtherRoots::of(&runs);
        for run in runs {
            let history = self.usual(&run);
            let options = ReportOptions { other_roots: roots.within(&run), history, ..self.options.clone() };
            let spans = run.records.clone();
            let drawn = self.draws_spans.then(|| run.clone());
            let Some((report, profile)) = report_with_profile(run, &options) else { continue };
            self.keep(&report, &spans);
            let timeline = drawn.and_then(|run| Some(report_with_timeline(run, &options)?.1));
            self.told.push(OneRun { report, profile, timeline });
        }
    }

    /// What is usual for a run: by the files that were given, else by the runs that are kept.
    fn usual(&mut self, run: &FinishedRun) -> Arc<History> {
        let Some(name) = run.name() else { return Arc::default() };
        if let Some(given) = self.given.get(&**name) {
            return given.clone();
        }
        let filter = RunFilter { workflow: Some(name.to_string()), ..RunFilter::default() };
        let history = self.store().and_then(|store| store.history(&filter).map_err(history::failure).ok());
        history.map(Arc::new).unwrap_or_default()
    }

    /// The file runs are kept in. That it cannot be used is told once, and the command goes on.
    fn store(&mut self) -> Option<&mut Store> {
        if self.store.is_none() && !self.is_store_broken {
            match history::open(self.context) {
                Ok(store) => self.store = Some(store),
                Err(failure) => {
                    failure.warn("the run is not kept");
                    self.is_store_broken = true;
                }
            }
        }
        self.store.as_mut()
    }

    fn keep(&mut self, report: &Report, spans: &[SpanRecord]) {
        if self.store().is_some() {
            let kept = history::record(self.context, &mut self.store, report, spans, &self.labels);
            self.is_store_broken |= kept.is_none();
            self.store = self.store.take().filter(|_| kept.is_some());
        }
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Holds the runs against the gates: the repetitions of a command together, else each by itself, so that its report
    /// tells. What became of those that are told apart from reports is returned.
    fn judge(&mut self) -> Result<Vec<GateResult>, Failure> {
        if self.args.runs > 1 {
            let reports: Vec<Report> = self.told.iter().map(|it| it.report.clone()).collect();
            let checked = self.held.check(&reports, None)?;
            return Ok(checked.into_iter().flat_map(|told| told.gates).collect());
        }
        self.told.iter_mut().try_for_each(|it| self.held.judge(&mut it.report))?;
        Ok(Vec::new())
    }

    /// Writes the reports to the files that were asked for, or to standard error. If a file cannot be written,
    /// standard error gets them all the same. Tells how the command ends: whether the gates passed.
    pub(super) fn tell(&mut self) -> Result<ExitCode, Failure> {
        let judged = self.judge();
        let (args, context) = (self.args, self.context);
        let style = style(context);
        let written = self.write(args, context);
        let wants_verdict = context.quiet || (written.is_ok() && !args.output.is_empty());
        let is_summary = args.runs > 1 || self.told.len() > MANY;
        let mut page = match is_summary {
            true => {
                let mut together = ManyRuns::default();
                self.told.iter().for_each(|it| together.add(&it.profile));
                let page = many_runs::text(&together.report(ManyRuns::TAIL_PERCENTILE), &style);
                if wants_verdict { first_line(&page) } else { page }
            }
            false => {
                let page = |it: &OneRun| {
                    let id = runs::short_id(&it.report.run.id);
                    let more = self.store.is_some().then(|| format!("longpole show {id} --all"));
                    let page = text_excerpt(&it.report, &style, &Excerpt { more, ..Excerpt::default() });
                    if wants_verdict { first_line(&page) } else { page }
                };
                let pages: Vec<String> = self.told.iter().map(page).collect();
                pages.join(if wants_verdict { "" } else { "\n" })
            }
        };
        let together = judged.as_ref().map(Vec::as_slice).unwrap_or_default();
        let gates = || self.told.iter().flat_map(|it| &it.report.gates).chain(together);
        // Why the command fails is told whatever else is not.
        let shown: Vec<GateResult> = match (wants_verdict, is_summary) {
            (true, _) => gates().filter(|gate| !gate.verdict.is_pass()).cloned().collect(),
            (false, true) => gates().cloned().collect(),
            (false, false) => Vec::new(),
        };
        if !shown.is_empty() {
            page += &format!("\n{}", gates_text(&shown, &style));
        }
        let mut stderr = AutoStream::new(io::stderr().lock(), color_choice(context));
        // With standard error gone there is nobody left to tell.
        let _ = stderr.write_all(format!("\n{page}").as_bytes());
        let status = gates::status(gates());
        written?;
        judged.map(|_| status)
    }

    fn write(&self, args: &RunArgs, context: &Context) -> Result<(), Failure> {
        if args.output.is_empty() {
            return Ok(());
        }
        let mut files = Files::begin(&args.output, self.told.len(), |_| Style::default())?;
        let writers = files.writers();
        // A file is no terminal.
        let style = TextStyle { color: false, ..style(context) };
        let runs = self.told.len();
        for OneRun { report, timeline, .. } in &self.told {
            let (report, timeline) = (report.clone(), timeline.clone());
            let told =
                Told { report, timeline, runs, html: HtmlOptions::default(), excerpt: Excerpt::default() };
            files.put(&texts(&writers, &told, &style))?;
        }
        files.end()
    }
}

fn first_line(page: &str) -> String {
    page.lines().next().map(|line| format!("{line}\n")).unwrap_or_default()
}

/// Marks the root of a run as that of a workflow, unless it says so itself.
fn name_run(run: &mut FinishedRun, name: &str) {
    let Some(id) = run.root_record().filter(|root| root.workflow_name().is_none()).map(|root| root.span_id)
    else {
        return;
    };
    for record in run.records.iter_mut().filter(|record| record.span_id == id) {
        mark_workflow(record, name);
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
