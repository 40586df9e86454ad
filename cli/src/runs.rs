//! Which runs are meant: the last one, one by id, those of a workflow or version, or those in a file.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use longpole::decode::{Limits, decode, stream};
use longpole::report::{History, OtherRoot, OtherRoots};
use longpole::run_assembler::{FinishedRun, only_below};
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_on, report_on_run, report_with_profile, runs_in};
use longpole_store::{Labels, RunFilter, RunOrder, Store, StoredDocuments, StoredRun};

use crate::analysis::AnalysisArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::history;
use crate::input::{self, Input};

/// Which run a command is about.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArg {
    /// Which run: `last`, `last~2` (two before it), the beginning of an id, a workflow (its latest run),
    /// `workflow@version` (all runs of it), a file with spans, or `-` for standard input
    #[arg(value_name = "RUN", default_value = "last")]
    pub(crate) run: OsString,

    /// Of the runs that are kept only those with this label; can be given again
    #[arg(long = "label", value_parser = history::label, value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<(String, String)>,
}

/// A run that was asked for.
pub(crate) struct Found {
    /// What to call it in messages.
    pub(crate) name: String,
    /// How it is analysed: as was asked, with what is usual and the roots around it.
    pub(crate) options: ReportOptions,
    content: Content,
    keeps_attributes: bool,
    kept_as: Option<String>,
}

enum Content {
    Run(FinishedRun),
    /// As it is kept; unpacked by whoever needs it, so that many take little memory.
    Stored(StoredDocuments),
}

impl Found {
    /// The report on it. A run whose spans were not kept is told as it was when it was recorded.
    pub(crate) fn report(self) -> Result<Report, Failure> {
        if let Content::Stored(documents) = &self.content
            && documents.spans().map_err(history::failure)?.is_none()
        {
            return documents.report().map_err(history::failure);
        }
        let (run, options) = self.finished()?;
        report_on_run(run, &options).ok_or_else(no_spans)
    }

    /// What finds it in the history: the beginning of its id; `None` where it is not kept.
    pub(crate) fn kept_as(&self) -> Option<&str> {
        self.kept_as.as_deref()
    }

    /// Whether its spans are there. Otherwise only its report is.
    pub(crate) fn has_spans(&self) -> Result<bool, Failure> {
        Ok(match &self.content {
            Content::Run(_) => true,
            Content::Stored(documents) => documents.spans().map_err(history::failure)?.is_some(),
        })
    }

    /// The same, and what it adds to the picture of many.
    pub(crate) fn report_with_profile(self) -> Result<(Report, longpole::run_profile::RunProfile), Failure> {
        let (run, options) = self.finished()?;
        report_with_profile(run, &options).ok_or_else(no_spans)
    }

    /// Its spans, and how they are analysed.
    pub(crate) fn finished(self) -> Result<(FinishedRun, ReportOptions), Failure> {
        let Found { name, options, content, keeps_attributes, .. } = self;
        let documents = match content {
            Content::Run(run) => return Ok((run, options)),
            Content::Stored(documents) => documents,
        };
        let Some(bytes) = documents.spans().map_err(history::failure)? else {
            let help = "its report can be shown; what changes it, or needs every span, cannot be made of it";
            return Err(Failure::could_not(anyhow!("the spans of {name} were not kept"), help));
        };
        let mut spans = Vec::new();
        let limits = Limits { keeps_attributes, ..Limits::default() };
        stream(&*bytes, &limits, &mut |span| spans.push(span)).map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("cannot read the spans of {name}"));
            Failure::could_not(error, "record it again; other runs are not affected")
        })?;
        let run = runs_in(spans).into_iter().max_by_key(|run| run.records.len());
        run.map(|run| (run, options)).ok_or_else(no_spans)
    }
}

pub(crate) fn no_spans() -> Failure {
    Failure::nothing_there(anyhow!("a run without spans"), "record it again")
}

/// The runs that are meant: those of a file in the order in which they began to arrive, those of a version latest
/// first. Never none.
pub(crate) fn find(run: &RunArg, analysis: &AnalysisArgs, context: &Context) -> Result<Vec<Found>, Failure> {
    let options = analysis.options()?;
    let histories = histories(analysis, &options)?;
    let path = Path::new(&run.run);
    let found = if path == Path::new("-") || is_file(path) {
        in_file(path, analysis, &options, context)?
    } else {
        kept(run, analysis, &options, context)?
    };
    let with_history = |mut found: (Option<Arc<str>>, Found)| {
        let named = found.0.and_then(|name| histories.get(&*name).cloned());
        found.1.options.history = named.unwrap_or(found.1.options.history);
        found.1
    };
    Ok(found.into_iter().map(with_history).collect())
}

/// Whether a path is that of a file rather than the name of a run. A name alone is a file only if there is one; a folder
/// of the name of a workflow is none.
fn is_file(path: &Path) -> bool {
    if path.to_str().and_then(steps_back).is_some() {
        return false;
    }
    let has_folder = path.components().count() > 1 || path.is_absolute() || path.starts_with(".");
    let is_there = path.exists();
    (is_there && (has_folder || !path.is_dir()))
        || (has_folder && path.extension().is_some())
        || has_known_extension(path)
}

fn has_known_extension(path: &Path) -> bool {
    let extensions = ["json", "jsonl", "ndjson", "pb", "bin", "proto", "gz", "zst", "zstd"];
    path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known))
}

type Named = (Option<Arc<str>>, Found);

/// The runs in a file.
fn in_file(
    file: &Path,
    analysis: &AnalysisArgs,
    options: &ReportOptions,
    context: &Context,
) -> Result<Vec<Named>, Failure> {
    let (name, mut spans) = read(file, context)?;
    if let Some(root) = analysis.root {
        spans = only_below(spans, root);
        if spans.is_empty() {
            let help = "give the id of a span in the file, as --format json shows it";
            return Err(Failure::nothing_there(anyhow!("no span {root} in {name}"), help));
        }
    }
    let runs = runs_in(spans);
    if runs.is_empty() {
        let help = "check that the program was traced, and that it flushed its spans before it ended";
        return Err(Failure::nothing_there(anyhow!("no spans in {name}"), help));
    }
    let roots = OtherRoots::of(&runs);
    let found = |run: FinishedRun| {
        let options = ReportOptions { other_roots: roots.within(&run), ..options.clone() };
        (
            run.name().cloned(),
            Found {
                name: name.clone(),
                options,
                content: Content::Run(run),
                keeps_attributes: context.keeps_attributes,
                kept_as: None,
            },
        )
    };
    Ok(runs.into_iter().map(found).collect())
}

/// The spans in a file; what could not be read of it is told.
pub(crate) fn read(file: &Path, context: &Context) -> Result<(String, Vec<SpanRecord>), Failure> {
    let Input { name, spans, problems } = input::read(file, context)?;
    for problem in problems {
        let cause = problem.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        context.warn("warning", &format!("{name}: {problem}{cause}"));
    }
    Ok((name, spans))
}

/// What is usual by the files that were given, by workflow or name of the root.
pub(crate) fn histories(
    analysis: &AnalysisArgs,
    options: &ReportOptions,
) -> Result<HashMap<String, Arc<History>>, Failure> {
    let mut histories: HashMap<String, Arc<History>> = HashMap::new();
    for file in &analysis.history {
        let spans = input::read_quietly(file)?.spans;
        let mut reports: Vec<Report> = report_on(spans, options);
        reports.sort_by_key(|report| report.run.start_unix_ns);
        for report in reports {
            let name = report.run.workflow.as_ref().unwrap_or(&report.run.name).clone();
            Arc::make_mut(histories.entry(name).or_default()).push(&report);
        }
    }
    Ok(histories)
}

/// The runs of the history that are meant.
fn kept(
    run: &RunArg,
    analysis: &AnalysisArgs,
    options: &ReportOptions,
    context: &Context,
) -> Result<Vec<Named>, Failure> {
    let text = run.run.to_string_lossy();
    let store = history::existing(context, Some(&text))?;
    let labels: Labels = run.labels.iter().cloned().collect();
    let stored = select(&store, &text, &labels)?;
    let filter = RunFilter { labels, ..RunFilter::default() };
    let mut found = Vec::new();
    for stored in stored {
        let Some(documents) = store.documents(&stored).map_err(history::failure)? else {
            if !context.quiet {
                context.warn("note", &format!("run {} has not ended", short_id(&stored.run.id)));
            }
            continue;
        };
        let usual = store.history_before(&stored, &filter).map_err(history::failure)?;
        let name = format!("run {} of {}", short_id(&stored.run.id), stored.run.workflow);
        let other_roots = roots_within(&store, &stored)?;
        let options = ReportOptions { history: Arc::new(usual), other_roots, ..options.clone() };
        let mut found_run = Found {
            name,
            options,
            content: Content::Stored(documents),
            keeps_attributes: context.keeps_attributes,
            kept_as: Some(short_id(&stored.run.id).to_owned()),
        };
        if let Some(root) = analysis.root {
            found_run = below(found_run, root)?;
        }
        found.push((Some(stored.run.workflow.into()), found_run));
    }
    if found.is_empty() {
        let help = "a run is there to be shown once it has ended: longpole ls";
        return Err(Failure::nothing_there(anyhow!("{text} has not ended"), help));
    }
    Ok(found)
}

/// Runs are seldom inside others; more than these are not looked at.
const MOST_WITHIN: u64 = 50;

/// The roots of kept runs that started and ended while another was open: they may have been meant to be part of it.
fn roots_within(store: &Store, around: &StoredRun) -> Result<Vec<OtherRoot>, Failure> {
    let (start, wall) = (around.run.start_unix_ns, around.run.wall_ns.unwrap_or_default());
    let end = start.saturating_add(wall);
    let meanwhile = RunFilter { since: Some(start), before: Some(end), ..RunFilter::default() };
    let found = store.runs(&meanwhile, RunOrder::Start, 0, MOST_WITHIN).map_err(history::failure)?;
    let ends_within = |found: &&StoredRun| {
        let ended = found.run.wall_ns.map(|wall| found.run.start_unix_ns.saturating_add(wall));
        found.run.id != around.run.id && ended.is_some_and(|ended| ended <= end)
    };
    let mut roots = Vec::new();
    for found in found.iter().rev().filter(ends_within) {
        let documents = store.documents(found).map_err(history::failure)?;
        // What cannot be read of another run is not this one's matter.
        let spans = documents.and_then(|documents| documents.spans().ok().flatten());
        let decoded = spans.and_then(|bytes| decode(&bytes).ok());
        let runs = decoded.map(|decoded| runs_in(decoded.spans)).unwrap_or_default();
        roots.extend(runs.iter().filter_map(OtherRoot::of));
    }
    Ok(roots)
}

/// A part of a run.
fn below(found: Found, root: longpole::ids::SpanId) -> Result<Found, Failure> {
    let (name, keeps_attributes) = (found.name.clone(), found.keeps_attributes);
    let (run, options) = found.finished()?;
    let part = runs_in(only_below(run.records, root)).into_iter().next().ok_or_else(|| {
        let help = "give the id of a span of the run, as --format json shows it";
        Failure::nothing_there(anyhow!("no span {root} in {name}"), help)
    })?;
    // What is usual is known of whole runs only.
    let options = ReportOptions { history: Arc::default(), ..options };
    Ok(Found { name, options, content: Content::Run(part), keeps_attributes, kept_as: None })
}

/// The runs a text names: `last`, `last~2`, a workflow, `workflow@version`, or the beginning of an id.
pub(crate) fn select(store: &Store, text: &str, labels: &Labels) -> Result<Vec<StoredRun>, Failure> {
    let any = RunFilter { labels: labels.clone(), ..RunFilter::default() };
    let latest =
        |filter: &RunFilter, skip| store.runs(filter, RunOrder::Start, skip, 1).map_err(history::failure);
    if let Some(skip) = steps_back(text) {
        let found = latest(&any, skip)?;
        if found.is_empty() {
            let count = store.count(&any).map_err(history::failure)?;
            let with = if labels.is_empty() { "" } else { " with these labels" };
            let error = anyhow!("no run {text}: {count} runs{with} are kept in {}", store.path().display());
            return Err(Failure::nothing_there(error, HELP_RECORD));
        }
        return Ok(found);
    }
    let of_workflow = |name: &str| RunFilter { workflow: Some(name.to_owned()), ..any.clone() };
    let found = latest(&of_workflow(text), 0)?;
    if !found.is_empty() {
        return Ok(found);
    }
    // Names of workflows may hold an @, versions seldom do.
    if let Some((workflow, version)) = text.rsplit_once('@') {
        let filter = RunFilter { version: Some(version.to_owned()), ..of_workflow(workflow) };
        let found = store.runs(&filter, RunOrder::Start, 0, u64::MAX).map_err(history::failure)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    if !text.is_empty() {
        let filter = RunFilter { id_prefix: Some(text.to_ascii_lowercase()), ..any.clone() };
        let found = store.runs(&filter, RunOrder::Start, 0, MOST_TOLD + 1).map_err(history::failure)?;
        match found.len() {
            0 => {}
            1 => return Ok(found),
            _ => return Err(ambiguous(text, &found)),
        }
    }
    Err(unknown(store, text, &any))
}

pub(crate) const HELP_RECORD: &str =
    "record one: longpole run -- CMD, or longpole import FILE; what is there: longpole ls";

/// How many runs or names a message tells at most.
const MOST_TOLD: u64 = 8;

/// How many runs before the last one `last` or `last~2` means.
fn steps_back(text: &str) -> Option<u64> {
    match text.strip_prefix("last")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

fn ambiguous(text: &str, found: &[StoredRun]) -> Failure {
    let shown = found
        .iter()
        .take(MOST_TOLD as usize)
        .map(|it| format!("{}  {}  {}", it.run.id, it.run.workflow, it.run.started_at));
    let mut runs = shown.collect::<Vec<_>>().join("\n  ");
    if found.len() as u64 > MOST_TOLD {
        runs += "\n  …";
    }
    Failure::nothing_there(
        anyhow!("several runs begin with {text}"),
        format!("give more of the id:\n  {runs}"),
    )
}

/// What is near to what was asked for.
fn unknown(store: &Store, text: &str, any: &RunFilter) -> Failure {
    let near = near(store, text, any).unwrap_or_default();
    let help = match near.is_empty() {
        true => format!("{HELP_RECORD}; for a file give its path"),
        false => format!("there is: {}", near.join(", ")),
    };
    Failure::nothing_there(anyhow!("no run, workflow or file {text}"), help)
}

fn near(store: &Store, text: &str, any: &RunFilter) -> Result<Vec<String>, longpole_store::StoreError> {
    let (workflow, version) = text.rsplit_once('@').unwrap_or((text, ""));
    let mut names: Vec<String> = Vec::new();
    for name in store.workflows()? {
        if name == workflow && !version.is_empty() {
            let of_workflow = RunFilter { workflow: Some(name.clone()), ..any.clone() };
            for run in store.runs(&of_workflow, RunOrder::Start, 0, 1_000)? {
                names.extend(run.run.version.map(|version| format!("{name}@{version}")));
            }
        }
        names.push(name);
    }
    for run in store.runs(any, RunOrder::Start, 0, 1_000)? {
        names.push(short_id(&run.run.id).to_owned());
    }
    Ok(nearest(text, names))
}

/// Of these names those that `text` may have been meant to be, the likeliest first.
pub(crate) fn nearest(text: &str, names: Vec<String>) -> Vec<String> {
    let mut near: Vec<(f64, String)> = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(text, &name), name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.into_iter().take(MOST_TOLD as usize).map(|(_, name)| name).collect()
}

/// That there is no run of a workflow, and what there is.
pub(crate) fn unknown_workflow(store: &Store, workflow: &str) -> Failure {
    let near = nearest(workflow, store.workflows().unwrap_or_default());
    let help = match near.is_empty() {
        true => HELP_RECORD.to_owned(),
        false => format!("there is: {}", near.join(", ")),
    };
    Failure::nothing_there(anyhow!("no run of {workflow} is kept"), help)
}

/// The beginning of an id, as reports print it.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
