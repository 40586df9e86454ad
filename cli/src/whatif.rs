//! `longpole whatif`: what a run would have been with some of its nodes different.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::ValueEnum;
use longpole::render::{what_if_json, what_if_text};
use longpole::report::what_if::{Change, answer};
use longpole::report::what_if_cost::{CallsOf, ModelSwitch};

use crate::analysis::AnalysisArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::runs::{self, RunArg};

/// Replay a run with some of its nodes different, all changes together, and say how long it would have been
///
/// A prediction under the order that was declared or seen. How fast another model is nobody knows from this run: with
/// --model only the cost is told, for the same tokens.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct WhatIfArgs {
    #[command(flatten)]
    run: RunArg,

    /// What is different about a node; can be given again. `NODE=2x`: it is twice as fast, what is inside it as it was
    /// (`NODE.all=2x`: that too); `NODE.limit=6`: six at once; `NODE.cache=1`: all but the first from a cache;
    /// `NODE.queue=0`: no waiting before it runs
    #[arg(long = "set", value_parser = change, value_name = "NODE=CHANGE")]
    set: Vec<Change>,

    /// The node and everything inside it are not there; can be given again
    #[arg(long, value_name = "NODE")]
    remove: Vec<String>,

    /// These nodes start together; can be given again
    #[arg(long, value_delimiter = ',', num_args = 1, value_name = "A,B", action = clap::ArgAction::Append)]
    parallel: Vec<String>,

    /// What it would cost with another model: for a node and what is inside it, or `*` for all calls
    #[arg(long, value_parser = switch, value_name = "NODE=[PROVIDER/]MODEL")]
    model: Option<ModelSwitch>,

    /// For a person, or for a program
    #[arg(long, value_enum, default_value_t = WhatIfFormat::Text)]
    format: WhatIfFormat,

    #[command(flatten)]
    analysis: AnalysisArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WhatIfFormat {
    Text,
    Json,
}

const EXAMPLES: &str = "\
Examples:
  longpole whatif last --set draft=2x --set fetch.limit=6
  longpole whatif last --remove fact_check --parallel search,fetch
  longpole whatif last --model draft=openai/gpt-5-mini --format json";

fn change(text: &str) -> Result<Change, String> {
    // Node ids may hold an equals sign; what is set does not.
    let (node, value) = text
        .rsplit_once('=')
        .filter(|(node, _)| !node.is_empty())
        .ok_or("expected NODE=2x, NODE.all=2x, NODE.limit=6, NODE.cache=1 or NODE.queue=0")?;
    if let Some(times) = value.strip_suffix(['x', '×']) {
        let times = times.trim().parse::<f64>().ok().filter(|times| times.is_finite() && *times > 0.0);
        let times = times.ok_or_else(|| format!("expected a number above 0 before the x, not {value:?}"))?;
        let (node, with_below) = match node.strip_suffix(".all") {
            Some(node) => (node, true),
            None => (node, false),
        };
        return Ok(Change::Faster { node: node.to_owned(), times, with_below });
    }
    let number = value.trim().parse::<u64>();
    let number = number.map_err(|_| format!("expected 2x, or a whole number, not {value:?}"))?;
    let kind = |suffix: &str| node.strip_suffix(suffix).filter(|node| !node.is_empty()).map(str::to_owned);
    if let Some(node) = kind(".limit") {
        return match number {
            0 => Err("a limit of 0 lets nothing run".to_owned()),
            limit => Ok(Change::AtOnce { node, limit }),
        };
    }
    if let Some(node) = kind(".cache") {
        return Ok(Change::Cache { node, misses: number });
    }
    match kind(".queue") {
        Some(node) if number == 0 => Ok(Change::NoQueueing { node }),
        Some(_) => Err("only .queue=0 is known: no waiting before it runs".to_owned()),
        None => Err(format!("expected {node}={value}x, or .limit, .cache or .queue before the equals sign")),
    }
}

fn switch(text: &str) -> Result<ModelSwitch, String> {
    let (node, model) = text
        .split_once('=')
        .filter(|(node, model)| !node.is_empty() && !model.is_empty())
        .ok_or("expected NODE=MODEL or NODE=PROVIDER/MODEL, such as draft=openai/gpt-5-mini")?;
    let calls = match node {
        "*" => CallsOf::All,
        node => CallsOf::Node { node: node.to_owned() },
    };
    let (provider, model) = match model.split_once('/') {
        Some((provider, model)) => (Some(provider.to_owned()), model),
        None => (None, model),
    };
    Ok(ModelSwitch { calls, provider, model: model.to_owned() })
}

pub(crate) fn what_if(args: &WhatIfArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut changes = args.set.clone();
    changes.extend(args.remove.iter().map(|node| Change::Remove { node: node.clone() }));
    if let [_, _, ..] = &args.parallel[..] {
        changes.push(Change::Together { nodes: args.parallel.clone() });
    } else if !args.parallel.is_empty() {
        let error = anyhow!("one node alone starts together with nothing");
        return Err(Failure::wrong_use(error, "name the nodes that start together: --parallel search,fetch"));
    }
    if changes.is_empty() && args.model.is_none() {
        let error = anyhow!("nothing is different");
        return Err(Failure::wrong_use(
            error,
            "say what is: --set NODE=2x, --remove NODE, --parallel A,B, --model NODE=MODEL",
        ));
    }
    let mut runs = runs::find(&args.run, &args.analysis, context)?;
    if runs.len() > 1 {
        let error = anyhow!("{} are {} runs", args.run.run.to_string_lossy(), runs.len());
        return Err(Failure::wrong_use(error, "choose one of them: last, last~1, or an id from longpole ls"));
    }
    let found = runs.pop().ok_or_else(runs::no_spans)?;
    let name = found.name.clone();
    let (run, options) = found.finished()?;
    let told = answer(run, &changes, args.model.as_ref(), &options).map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("cannot replay {name}"));
        Failure::nothing_there(
            error,
            "the nodes of a run, with what each would save: longpole show RUN --format json",
        )
    })?;
    match args.format {
        WhatIfFormat::Text => {
            output::print_with(&what_if_text(&told, &context.text_style()), context.color_choice())?;
        }
        WhatIfFormat::Json => output::print_plain(&what_if_json(&told))?,
    }
    Ok(ExitCode::SUCCESS)
}
