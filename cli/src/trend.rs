//! `longpole trend`: how a workflow's figures went from run to run.

use clap::ValueEnum;
use longpole::render::trend as render;
use longpole::report::RunStatus;
use longpole::trend::{TrendOptions, TrendRun, Values, trend as trend_of};
use longpole_store::{RunFilter, RunOrder, Store, StoredRun};

use crate::context::Context;
use crate::failure::Failure;
use crate::ls::ListFormat;
use crate::{history, output, runs};

/// Tell how a workflow's figures went from run to run
///
/// Says what is usual, from which run on a figure was on another level, and whether the latest run is odd. Runs that
/// have not ended or lack spans are left out.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TrendArgs {
    /// The workflow
    workflow: String,

    /// `wall`, `cost`, or a node; can be given again, also with commas between
    #[arg(long, value_delimiter = ',', default_values = ["wall", "cost"], value_name = "METRIC")]
    metric: Vec<String>,

    /// Also tell versions apart
    #[arg(long, value_enum, value_name = "WHAT")]
    by: Option<By>,

    /// Look at the latest so many runs
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    last: u64,

    /// Of runs with this label only; can be given again
    #[arg(long = "label", value_parser = history::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,

    /// Also tell by the simple rule whether the latest run is a regression: more than 20% above the run before
    #[arg(long)]
    simple_regression: bool,

    /// For a person (text), for a program (json) or a spreadsheet (csv)
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    format: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Version,
}

const EXAMPLES: &str = "\
Examples:
  longpole trend research-agent
  longpole trend research-agent --metric wall,draft --by version --last 200
  longpole trend research-agent --label session=7 --format csv > trend.csv";

/// Prints the trend.
pub(crate) fn trend(args: &TrendArgs, context: &Context) -> Result<(), Failure> {
    let store = history::existing(context, None)?;
    let labels = args.labels.iter().cloned().collect();
    let filter = RunFilter { workflow: Some(args.workflow.clone()), labels, ..RunFilter::default() };
    let mut found = store.runs(&filter, RunOrder::Start, 0, args.last).map_err(history::failure)?;
    if found.is_empty() {
        return Err(runs::unknown_workflow(&store, &args.workflow));
    }
    let seen = found.len();
    found.retain(|found| found.run.status.is_some_and(|status| status != RunStatus::Incomplete));
    found.reverse();
    let left_out = (seen - found.len()) as u64;
    let mut figures = Vec::new();
    for metric in &args.metric {
        let values = values(&store, &found, metric).map_err(history::failure)?;
        let is_known = !found.is_empty() && is_told(&values);
        if is_known {
            figures.push((metric.clone(), values));
        } else if !matches!(metric.as_str(), "wall" | "cost") && !found.is_empty() {
            return Err(unknown_node(&store, &filter, metric));
        }
    }
    let options = TrendOptions { by_version: args.by.is_some(), ..TrendOptions::default() };
    let runs = found.iter().map(|found| TrendRun::of(&found.run)).collect();
    let told = trend_of(&args.workflow, runs, left_out, figures, &options);
    match args.format {
        ListFormat::Text => {
            let text = render::text(&told, &context.text_style(), args.simple_regression);
            output::print_with(&text, context.color_choice())
        }
        ListFormat::Json => output::print_plain(&render::json(&told)),
        ListFormat::Csv => output::print_plain(&render::csv(&told)),
    }
}

fn values(store: &Store, runs: &[StoredRun], metric: &str) -> Result<Values, longpole_store::StoreError> {
    Ok(match metric {
        "wall" => Values::Times(runs.iter().map(|found| found.run.wall_ns).collect()),
        "cost" => Values::Amounts(runs.iter().map(|found| found.run.cost_usd).collect()),
        node => {
            let time = |run| Ok(store.node_in(run, node)?.map(|figures| figures.execution_time));
            Values::Times(runs.iter().map(time).collect::<Result<_, _>>()?)
        }
    })
}

fn is_told(values: &Values) -> bool {
    match values {
        Values::Times(values) => values.iter().any(Option::is_some),
        Values::Amounts(values) => values.iter().any(Option::is_some),
    }
}

fn unknown_node(store: &Store, filter: &RunFilter, node: &str) -> Failure {
    let names = store.node_names(filter).unwrap_or_default();
    let near = runs::nearest(node, names.clone());
    let help = if near.is_empty() { names.into_iter().take(8).collect::<Vec<_>>() } else { near };
    let error = anyhow::anyhow!("no run has a node {node}");
    Failure::nothing_there(error, format!("a metric is wall, cost, or a node: {}", help.join(", ")))
}
