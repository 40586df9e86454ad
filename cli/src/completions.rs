//! `longpole completions`: the script by which a shell completes what is typed.

use anyhow::anyhow;
use clap::ValueEnum;
use clap_complete::env::Shells;

use crate::context::Context;
use crate::failure::Failure;
use crate::{complete, output};

/// Print the script by which a shell completes commands, runs, workflows, nodes and codes
///
/// What is offered is looked up while you type, by the very program that is installed, so the script is loaded anew by
/// each shell that starts.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

const EXAMPLES: &str = "\
Examples:
  echo 'source <(longpole completions bash)' >> ~/.bashrc
  echo 'source <(longpole completions zsh)' >> ~/.zshrc
  echo 'longpole completions fish | source' >> ~/.config/fish/completions/longpole.fish";

/// Prints the script.
pub(crate) fn completions(args: &CompletionsArgs, _: &Context) -> Result<(), Failure> {
    let name = args.shell.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let unknown = || Failure::wrong_use(anyhow!("no completions for {name}"), "longpole completions --help");
    let shells = Shells::builtins();
    let shell = shells.completer(&name).ok_or_else(unknown)?;
    let mut script = Vec::new();
    shell.write_registration(complete::VARIABLE, "longpole", "longpole", "longpole", &mut script)?;
    Ok(output::write(&script)?)
}
