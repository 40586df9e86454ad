//! `longpole ls`: which runs are kept.

use clap::ValueEnum;
use longpole::render::run_list;
use longpole::report::RunStatus;
use longpole::run_list::{RunList, SCHEMA};
use longpole::time::Timestamp;
use longpole_store::{RunFilter, RunOrder, StatusFilter};

use crate::context::Context;
use crate::failure::Failure;
use crate::{history, output, runs};

/// List the runs that are kept, the latest first
///
/// Times are in UTC.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct LsArgs {
    /// Runs of this workflow only
    #[arg(long, value_name = "WORKFLOW")]
    workflow: Option<String>,

    /// Runs that started no longer ago than this (`7d`), or not before this day in UTC (`2026-11-21`)
    #[arg(long, value_parser = history::moment, value_name = "TIME")]
    since: Option<Timestamp>,

    /// Runs that ended so only
    #[arg(long, value_enum)]
    status: Option<Status>,

    /// Runs with this label only; can be given again
    #[arg(long = "label", value_parser = history::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,

    /// What comes first: the latest, the longest or the dearest
    #[arg(long, value_enum, default_value_t = Sort::Start)]
    sort: Sort,

    /// At most so many runs
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: u64,

    /// For a person (text), for a program (json) or a spreadsheet (csv)
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    format: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Ok,
    Error,
    Panicked,
    Cancelled,
    Incomplete,
    Running,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Start,
    Wall,
    Cost,
}

/// What lists are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Text,
    Json,
    Csv,
}

const EXAMPLES: &str = "\
Examples:
  longpole ls
  longpole ls --workflow research-agent --since 7d --sort wall
  longpole ls --status error --label session=7
  longpole ls --limit 1000 --format csv > runs.csv";

/// Prints the list; having none to print is exit status 4.
pub(crate) fn ls(args: &LsArgs, context: &Context) -> Result<(), Failure> {
    let filter = RunFilter {
        workflow: args.workflow.clone(),
        status: args.status.map(status),
        labels: args.labels.iter().cloned().collect(),
        since: args.since,
        ..RunFilter::default()
    };
    let order = match args.sort {
        Sort::Start => RunOrder::Start,
        Sort::Wall => RunOrder::Wall,
        Sort::Cost => RunOrder::Cost,
    };
    let store = history::existing(context, None)?;
    let found = store.runs(&filter, order, 0, args.limit).map_err(history::failure)?;
    let total = store.count(&filter).map_err(history::failure)?;
    if total == 0 {
        let of = if filter == RunFilter::default() { "no runs are kept" } else { "no such run is kept" };
        let error = anyhow::anyhow!("{of} in {}", store.path().display());
        return Err(Failure::nothing_there(error, runs::HELP_RECORD));
    }
    let list = RunList {
        schema: SCHEMA.to_owned(),
        runs: found.into_iter().map(|found| found.run).collect(),
        total,
    };
    match args.format {
        ListFormat::Text => {
            output::print_with(&run_list::text(&list, &context.text_style()), context.color_choice())
        }
        ListFormat::Json => output::print_plain(&run_list::json(&list)),
        ListFormat::Csv => output::print_plain(&run_list::csv(&list)),
    }
}

fn status(status: Status) -> StatusFilter {
    StatusFilter::Ended(match status {
        Status::Running => return StatusFilter::Running,
        Status::Ok => RunStatus::Ok,
        Status::Error => RunStatus::Error,
        Status::Panicked => RunStatus::Panicked,
        Status::Cancelled => RunStatus::Cancelled,
        Status::Incomplete => RunStatus::Incomplete,
    })
}
