//! `longpole`: finds the step that makes a workflow slow, in any OTLP trace.

mod analysis;
mod args;
mod context;
mod export;
mod failure;
mod formats;
mod history;
mod import;
mod in_parallel;
mod input;
mod ls;
mod output;
mod prune;
mod runs;
mod schema;
mod show;
mod trend;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let Args { command, context } = Args::parse();
    let outcome = match command {
        Some(Command::Show(args)) => show::show(&args, &context),
        Some(Command::Ls(args)) => ls::ls(&args, &context),
        Some(Command::Trend(args)) => trend::trend(&args, &context),
        Some(Command::Import(args)) => import::import(&args, &context),
        Some(Command::Prune(args)) => prune::prune(&args, &context),
        Some(Command::Export(args)) => export::export(&args, &context),
        Some(Command::Schema(args)) => schema::schema(&args),
        None => output::print(args::SHORT_HELP),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
