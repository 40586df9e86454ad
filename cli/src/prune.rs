//! `longpole prune`: removes runs from the history.

use std::io::{self, BufRead, IsTerminal, Write};

use longpole::time::Timestamp;
use longpole_store::{PruneRule, Pruned, Store};

use crate::context::Context;
use crate::failure::Failure;
use crate::{history, output, runs};

/// Remove runs that are kept
///
/// Asks first where it can. Of itself the history keeps 1,000 runs, 30 days and 2 GiB, whichever is less:
/// LONGPOLE_STORE_RUNS, LONGPOLE_STORE_AGE and LONGPOLE_STORE_BYTES say otherwise.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[group(id = "which", required = true, multiple = true, args = ["keep", "before"])]
pub(crate) struct PruneArgs {
    /// Remove all but the latest so many runs
    #[arg(long, value_name = "COUNT")]
    keep: Option<u64>,

    /// Remove runs that started longer ago than this (`30d`), or before this day in UTC (`2026-11-21`)
    #[arg(long, value_parser = history::moment, value_name = "TIME")]
    before: Option<Timestamp>,

    /// Only say what would be removed
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  longpole prune --keep 100 --dry-run
  longpole prune --before 30d --yes
  longpole prune --keep 0                        everything";

/// Removes what is asked for, once that is confirmed, and says what was removed.
pub(crate) fn prune(args: &PruneArgs, context: &Context) -> Result<(), Failure> {
    let path = history::path(context)?;
    let Some(mut store) = Store::open_existing(&path).map_err(history::failure)? else {
        let error = anyhow::anyhow!("no runs are kept yet in {}", path.display());
        return Err(Failure::nothing_there(error, runs::HELP_RECORD));
    };
    let rule = PruneRule { keep: args.keep, before: args.before };
    let planned = store.prune(&rule, true).map_err(history::failure)?;
    if args.dry_run || planned.runs == 0 {
        return output::print(&told("would be removed", &planned));
    }
    if !args.yes {
        confirm(&planned)?;
    }
    let pruned = store.prune(&rule, false).map_err(history::failure)?;
    output::print(&told("removed", &pruned))
}

fn told(what: &str, pruned: &Pruned) -> String {
    let runs = |count: u64| if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
    let bytes = match pruned.bytes {
        0 => String::new(),
        bytes => format!(" ({} kB)", bytes.div_ceil(1_000)),
    };
    format!("{} {what}{bytes}, {} left\n", runs(pruned.runs), runs(pruned.left))
}

/// Asks on the terminal; without one there is nobody to ask.
fn confirm(planned: &Pruned) -> Result<(), Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let error = anyhow::anyhow!("{} runs would be removed, and nobody can be asked", planned.runs);
        return Err(Failure::could_not(error, "say that it is meant: --yes; or look first: --dry-run"));
    }
    let mut stderr = anstream::stderr();
    write!(stderr, "Remove {} runs, and keep {}? [y/N] ", planned.runs, planned.left)?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::could_not(anyhow::anyhow!("nothing was removed"), "answer y to remove them")),
    }
}
