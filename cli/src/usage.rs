//! What was typed, as options; and what is said when it cannot be meant.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use crate::args::Args;
use crate::config::{self, Defaults};
use crate::failure::Failure;

/// Reads the command line, with the defaults of the configuration file where there is one.
///
/// # Errors
/// The exit status, when everything is said already: the help, the version, or what is wrong.
pub(crate) fn parse(words: &[OsString]) -> Result<Args, ExitCode> {
    let typed = read(words, &Defaults::default()).map_err(|error| tell(&error, words))?;
    let defaults = config::defaults(&typed.context).map_err(|failure| failure.tell())?;
    if defaults.is_empty() {
        return Ok(typed);
    }
    // What was typed is good, so what does not go now is the file's.
    read(words, &defaults).map_err(|error| defaults.failure(first_line(&error)).tell())
}

fn read(words: &[OsString], defaults: &Defaults) -> clap::error::Result<Args> {
    let matches = defaults.apply(Args::command()).try_get_matches_from(words)?;
    Args::from_arg_matches(&matches)
}

/// Says on standard error what is wrong with what was typed, or prints the help or version that was asked for.
fn tell(error: &clap::Error, words: &[OsString]) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // With standard output gone there is nobody left to tell.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => Failure::wrong_use(anyhow::anyhow!(first_line(error)), help(error, words)).tell(),
    }
}

/// What is wrong, without the frame clap puts around it.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let is_said = |line: &&str| {
        !line.is_empty() && !line.starts_with("tip:") && !line.starts_with("For more information")
    };
    let said = lines.filter(is_said).collect::<Vec<_>>().join(" ");
    said.strip_prefix("error: ").unwrap_or(&said).to_owned()
}

/// What is near to what was typed, and how the command is used.
fn help(error: &clap::Error, words: &[OsString]) -> String {
    let text = error.render().to_string();
    let tips = text.lines().filter_map(|line| Some(line.trim().strip_prefix("tip: ")?.to_owned()));
    let mut help: Vec<String> = tips.collect();
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).map(str::to_owned);
    let usage = usage.or_else(|| Some(error.get(ContextKind::Usage)?.to_string()));
    help.extend(usage.map(|usage| format!("usage: {usage}")));
    help.push(format!("all options: {} --help", command_in(words)));
    help.join("\n      ")
}

/// `longpole show` of `longpole --ascii show --fromat json`.
fn command_in(words: &[OsString]) -> String {
    let command = Args::command();
    let named = words.iter().skip(1).find_map(|word| command.find_subcommand(word));
    named.map_or_else(|| "longpole".to_owned(), |named| format!("longpole {}", named.get_name()))
}
