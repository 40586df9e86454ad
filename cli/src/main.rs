//! `longpole`: finds the step that makes a workflow slow, in any OTLP trace.

mod analysis;
mod args;
mod failure;
mod formats;
mod in_parallel;
mod input;
mod output;
mod show;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Some(Command::Show(args)) => show::show(&args),
        None => output::print(args::SHORT_HELP),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
