//! `longpole`: finds the step that makes a workflow slow, in any OTLP trace.

mod analysis;
mod args;
mod context;
mod demo;
mod doctor;
mod export;
mod failure;
mod formats;
mod history;
mod import;
mod in_parallel;
mod input;
mod ls;
mod otlp_client;
mod output;
mod prune;
mod receiver;
mod run;
mod runs;
mod show;
mod trend;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let Args { command, context } = Args::parse();
    let done = |()| ExitCode::SUCCESS;
    let outcome = match command {
        Some(Command::Run(args)) => run::run(&args, &context),
        Some(Command::Show(args)) => show::show(&args, &context).map(done),
        Some(Command::Ls(args)) => ls::ls(&args, &context).map(done),
        Some(Command::Trend(args)) => trend::trend(&args, &context).map(done),
        Some(Command::Import(args)) => import::import(&args, &context).map(done),
        Some(Command::Prune(args)) => prune::prune(&args, &context).map(done),
        Some(Command::Export(args)) => export::export(&args, &context).map(done),
        Some(Command::Demo(args)) => demo::demo(&args, &context).map(done),
        Some(Command::Doctor(args)) => doctor::doctor(&args, &context).map(done),
        None => output::print(args::SHORT_HELP).map(done),
    };
    outcome.unwrap_or_else(|failure| failure.tell())
}
