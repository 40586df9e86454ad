//! `longpole man`: manual pages, made of the same definitions as the help.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::Args;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Print the manual page, or write those of all commands into a folder
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ManArgs {
    /// The folder to write longpole.1 and a page for each command to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  longpole man | man -l -
  longpole man --out ~/.local/share/man/man1";

/// Prints one page or writes them all.
pub(crate) fn man(args: &ManArgs, _: &Context) -> Result<(), Failure> {
    let mut command = Args::command();
    command.build();
    let Some(folder) = &args.out else {
        return Ok(output::write(&page(&command)?)?);
    };
    let write = || -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            let path = folder.join(format!("{}.1", command.get_display_name().unwrap_or("longpole")));
            fs::write(&path, page(command)?).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    };
    write().map_err(|error| Failure::could_not(error, "check the folder and the room on its disk"))
}

fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).manual("longpole").date("").render(&mut page)?;
    Ok(page)
}
