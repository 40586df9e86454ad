//! `longpole`: finds the step that makes a workflow slow, in any OTLP trace.

mod analysis;
mod args;
mod budgets;
mod check;
mod compare;
mod context;
mod explain;
mod export;
mod failure;
mod formats;
mod gates;
mod history;
mod import;
mod in_parallel;
mod input;
mod ls;
mod output;
mod prune;
mod runs;
mod show;
mod trend;
mod whatif;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let Args { command, context } = Args::parse();
    let done = |()| ExitCode::SUCCESS;
    let outcome = match command {
        Some(Command::Show(args)) => show::show(&args, &context),
        Some(Command::Ls(args)) => ls::ls(&args, &context).map(done),
        Some(Command::Trend(args)) => trend::trend(&args, &context).map(done),
        Some(Command::Import(args)) => import::import(&args, &context).map(done),
        Some(Command::Prune(args)) => prune::prune(&args, &context).map(done),
        Some(Command::Export(args)) => export::export(&args, &context).map(done),
        Some(Command::Compare(args)) => compare::compare(&args, &context),
        Some(Command::WhatIf(args)) => whatif::what_if(&args, &context),
        Some(Command::Check(args)) => check::check(&args, &context),
        Some(Command::Explain(args)) => explain::explain(&args).map(done),
        None => output::print(args::SHORT_HELP).map(done),
    };
    outcome.unwrap_or_else(|failure| failure.tell())
}
