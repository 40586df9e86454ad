//! `longpole`: finds the step that makes a workflow slow, in any OTLP trace.

mod analysis;
mod args;
mod budgets;
mod check;
mod compare;
mod complete;
mod completions;
mod config;
mod context;
mod demo;
mod doctor;
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
mod man;
mod otlp_client;
mod output;
mod progress;
mod prune;
mod receiver;
#[cfg(test)]
mod reference;
mod run;
mod runs;
mod schema;
mod show;
mod trend;
mod usage;
mod whatif;

use std::process::ExitCode;

use args::{Args, Command};

fn main() -> ExitCode {
    complete::answer_shell();
    let words: Vec<_> = std::env::args_os().collect();
    let Args { command, context } = match usage::parse(&words) {
        Ok(args) => args,
        Err(status) => return status,
    };
    let done = |()| ExitCode::SUCCESS;
    let outcome = match command {
        Some(Command::Run(args)) => run::run(&args, &context),
        Some(Command::Show(args)) => show::show(&args, &context),
        Some(Command::Ls(args)) => ls::ls(&args, &context).map(done),
        Some(Command::Trend(args)) => trend::trend(&args, &context).map(done),
        Some(Command::Import(args)) => import::import(&args, &context).map(done),
        Some(Command::Prune(args)) => prune::prune(&args, &context).map(done),
        Some(Command::Export(args)) => export::export(&args, &context).map(done),
        Some(Command::Demo(args)) => demo::demo(&args, &context).map(done),
        Some(Command::Doctor(args)) => doctor::doctor(&args, &context).map(done),
        Some(Command::Completions(args)) => completions::completions(&args, &context).map(done),
        Some(Command::Man(args)) => man::man(&args, &context).map(done),
        Some(Command::Compare(args)) => compare::compare(&args, &context),
        Some(Command::WhatIf(args)) => whatif::what_if(&args, &context),
        Some(Command::Check(args)) => check::check(&args, &context),
        Some(Command::Explain(args)) => explain::explain(&args).map(done),
        Some(Command::Schema(args)) => schema::schema(&args).map(done),
        None => output::print(args::SHORT_HELP).map(done),
    };
    outcome.unwrap_or_else(|failure| failure.tell())
}
