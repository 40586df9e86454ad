//! What a shell offers while a command is typed: runs, workflows, nodes and codes, beside options and files.
//!
//! An argument's value name says what is offered for it: RUN, WORKFLOW, NODE or CODE, alone or at its beginning.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use longpole::render::{Printable, run_list};
use longpole::report::insights::catalogue::INSIGHTS;
use longpole::run_list::ListedRun;
use longpole::time::Timestamp;
use longpole_store::{RunFilter, RunOrder, Store, StoreError, default_path};

use crate::args::Args;
use crate::history;
use crate::runs::short_id;

/// The variable by which a shell's script asks; its value is the shell's name.
pub(crate) const VARIABLE: &str = "LONGPOLE_COMPLETE";

/// How many runs are offered at most.
const MOST_RUNS: u64 = 50;

/// Answers a shell that asks what could be typed next, and ends the process then.
pub(crate) fn answer_shell() {
    let Some(shell) = env::var_os(VARIABLE) else { return };
    let source = Source { store: store_path(), is_bash: shell == "bash", now: history::now() };
    CompleteEnv::with_factory(|| offering(Args::command(), &source)).var(VARIABLE).bin("longpole").complete();
}

/// Where candidates come from, and for whom they are written.
#[derive(Clone, Debug)]
struct Source {
    store: Option<PathBuf>,
    /// Bash puts what it is given on the line as it is; other shells quote it.
    is_bash: bool,
    now: Timestamp,
}

/// The file runs are kept in, by the words typed so far, the variable, or the default.
fn store_path() -> Option<PathBuf> {
    let words: Vec<OsString> = env::args_os().collect();
    let typed = words.iter().zip(words.iter().skip(1)).find(|(option, _)| *option == "--store");
    let joined =
        || words.iter().find_map(|word| Some(PathBuf::from(word.to_str()?.strip_prefix("--store=")?)));
    let typed = typed.map(|(_, path)| PathBuf::from(path)).or_else(joined);
    typed.or_else(|| env::var_os("LONGPOLE_STORE").map(PathBuf::from)).or_else(|| default_path().ok())
}

/// The command, each of whose arguments knows what to offer.
fn offering(command: Command, source: &Source) -> Command {
    let command = command.mut_args(|arg| completed(arg, source));
    command.mut_subcommands(|command| offering(command, source))
}

fn completed(arg: Arg, source: &Source) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let Some(name) = name.or_else(|| Some(arg.get_id().as_str().to_uppercase())) else { return arg };
    let what = name.split(['=', '|']).next().unwrap_or_default();
    let offer: fn(&Source, &str) -> Vec<CompletionCandidate> = match what {
        "RUN" | "A" | "B" => |source, typed| runs(source, typed).unwrap_or_default(),
        "WORKFLOW" => |source, _| workflows(source).unwrap_or_default(),
        "NODE" | "METRIC" => |source, _| nodes(source).unwrap_or_default(),
        "CODE" => |_, _| codes(),
        _ => return arg,
    };
    let (source, takes_files, takes_more) =
        (source.clone(), matches!(what, "RUN" | "A" | "B"), name.contains('='));
    arg.add(ArgValueCompleter::new(move |current: &OsStr| {
        let typed = current.to_string_lossy();
        let mut candidates: Vec<_> = offer(&source, &typed)
            .into_iter()
            .filter_map(|candidate| written(candidate, takes_more, source.is_bash))
            .filter(|candidate| candidate.get_value().to_string_lossy().starts_with(&*typed))
            .collect();
        if takes_files {
            candidates.extend(PathCompleter::file().stdio().complete(current));
        }
        candidates
    }))
}

/// A candidate as it can stand on a command line; `None` for a name that a shell would read as more than a word. Names
/// come from anywhere, and what is completed is run at the next Enter.
fn written(candidate: CompletionCandidate, takes_more: bool, is_bash: bool) -> Option<CompletionCandidate> {
    let value = candidate.get_value().to_str()?;
    let is_plain = |it: char| it.is_alphanumeric() || "_-./:@+,%~ ".contains(it);
    if value.is_empty() || value.starts_with(['-', '~', ' ']) || !value.chars().all(is_plain) {
        return None;
    }
    let mut value = if is_bash { value.replace(' ', "\\ ") } else { value.to_owned() };
    if takes_more {
        value.push('=');
    }
    Some(CompletionCandidate::new(value).help(candidate.get_help().cloned()))
}

fn candidate(value: impl Into<OsString>, hint: &str) -> CompletionCandidate {
    CompletionCandidate::new(value).help(Some(Printable::new(hint).to_string().into()))
}

fn open(source: &Source) -> Result<Option<Store>, StoreError> {
    source.store.as_deref().map_or(Ok(None), Store::open_existing)
}

/// Ways to say which run: `last`, the beginnings of ids, workflows; and their versions once an `@` is typed.
fn runs(source: &Source, typed: &str) -> Result<Vec<CompletionCandidate>, StoreError> {
    let Some(store) = open(source)? else { return Ok(Vec::new()) };
    let workflow = typed.split_once('@').map(|(workflow, _)| workflow.to_owned());
    let filter = RunFilter { workflow: workflow.clone(), ..RunFilter::default() };
    let latest = store.runs(&filter, RunOrder::Start, 0, MOST_RUNS)?;
    if let Some(workflow) = workflow {
        let mut versions: Vec<_> = latest.into_iter().filter_map(|found| found.run.version).collect();
        versions.dedup();
        let all = |version: String| candidate(format!("{workflow}@{version}"), "all runs of this version");
        return Ok(versions.into_iter().map(all).collect());
    }
    let hint = |run: &ListedRun| run_list::hint(run, source.now);
    let mut found = Vec::new();
    if let Some(last) = latest.first() {
        found.push(candidate("last", &hint(&last.run)));
    }
    found.extend(latest.iter().map(|it| candidate(short_id(&it.run.id), &hint(&it.run))));
    found.extend(workflows(source)?);
    Ok(found)
}

fn workflows(source: &Source) -> Result<Vec<CompletionCandidate>, StoreError> {
    let Some(store) = open(source)? else { return Ok(Vec::new()) };
    let names = store.workflows()?;
    Ok(names.into_iter().map(|name| candidate(name, "workflow: its latest run")).collect())
}

fn nodes(source: &Source) -> Result<Vec<CompletionCandidate>, StoreError> {
    let Some(store) = open(source)? else { return Ok(Vec::new()) };
    let names = store.node_names(&RunFilter::default())?;
    Ok(names.into_iter().map(|name| candidate(name, "node")).collect())
}

fn codes() -> Vec<CompletionCandidate> {
    INSIGHTS.iter().map(|insight| candidate(insight.code, insight.title)).collect()
}
