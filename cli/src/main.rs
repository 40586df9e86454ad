//! `longpole`: which step makes a workflow slow, from any OTLP trace.

mod args;
mod outcome;
mod show;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::outcome::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Some(Command::Show(show)) => show::show(show),
        None => args::print_short_help(),
    };
    done.map_or_else(Failure::tell, |()| ExitCode::SUCCESS)
}
