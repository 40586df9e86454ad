//! Every set-up with every workload, each in processes of its own.
//!
//! The thread that makes spans is counted within [`case::measured`](crate::case::measured) alone, and waits after each
//! run until its spans are exported. Other threads are counted from start to end, twice, with few and with many spans:
//! the difference is what the spans cost. In that they work beside those that make spans, and queues are as large as it
//! takes for nothing to be lost. What the first thread does to set up and to shut down counts nowhere: clocks are
//! calibrated there, as long as it takes.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::acknowledger::Acknowledger;
use crate::case::{Case, MEASURED, Told};
use crate::instructions::{count, valgrind_version};
use crate::results::SpanCost;
use crate::setups::{SETUPS, Setup};
use crate::workloads::Workload;

/// Spans that may wait for an exporter where all threads are counted at once.
const LARGE_QUEUE: usize = 65_536;
const FEW_RUNS: usize = 3;
const MANY_RUNS: usize = 9;

/// What was allocated by a program, with what was added to pieces that grew.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Allocated {
    /// How often.
    pub times: u64,
    /// How much.
    pub bytes: u64,
}

struct Programs {
    case: PathBuf,
    counting: Option<PathBuf>,
    acknowledger: Acknowledger,
    folder: tempfile::TempDir,
}

/// Measures all whose names contain `only`; set-up and workload are joined by a space. `is_short`: the threads that make
/// spans alone. `tell` is called with each as soon as it is known.
///
/// # Errors
/// If no program can be started at all; what goes wrong with a single case is in its figures.
pub fn measure(only: &str, is_short: bool, mut tell: impl FnMut(&SpanCost)) -> anyhow::Result<Vec<SpanCost>> {
    ensure!(valgrind_version().is_some(), "no instructions can be counted: valgrind is not installed");
    let case = std::env::current_exe()?;
    let counting = case.with_file_name("allocations");
    let programs = Programs {
        counting: counting.is_file().then_some(counting),
        case,
        acknowledger: Acknowledger::start()?,
        folder: tempfile::tempdir()?,
    };
    let mut costs = Vec::new();
    for setup in SETUPS {
        let alone = setup.workloads.iter().map(|workload| (*workload, 1));
        for (workload, threads) in alone.chain(setup.has_two_threads.then_some((Workload::A, 2))) {
            let name = if threads == 1 { workload.name() } else { "D" };
            if format!("{} {name}", setup.name).contains(only) {
                let cost = programs.cost(setup, workload, threads, name, is_short);
                tell(&cost);
                costs.push(cost);
            }
        }
    }
    Ok(costs)
}

/// A line of a table.
pub fn line(cost: &SpanCost) -> String {
    let number = |number: Option<f64>, decimals: usize| {
        number.map_or_else(|| "–".to_owned(), |number| format!("{number:.decimals$}"))
    };
    format!(
        "{:24}{:9} hot {:>7} all {:>7} instructions; allocations hot {:>5} all {:>6}; bytes all {:>6}{}",
        cost.setup,
        cost.workload,
        number(cost.hot_instructions, 0),
        number(cost.all_instructions, 0),
        number(cost.hot_allocations, 2),
        number(cost.all_allocations, 2),
        number(cost.all_bytes, 0),
        cost.problem.as_ref().map_or_else(String::new, |problem| format!("  PROBLEM: {problem}")),
    )
}

impl Programs {
    fn cost(
        &self,
        setup: &'static Setup,
        workload: Workload,
        threads: usize,
        name: &str,
        is_short: bool,
    ) -> SpanCost {
        let mut cost = SpanCost {
            setup: setup.name.to_owned(),
            what: setup.what.to_owned(),
            workload: name.to_owned(),
            hot_instructions: None,
            all_instructions: None,
            hot_allocations: None,
            all_allocations: None,
            all_bytes: None,
            problem: None,
        };
        let case = Case { setup, workload, threads, warm_up: 3, runs: 5, catches_up: true };
        let mut problem = self.hot(case, &mut cost).err();
        if !is_short && problem.is_none() {
            problem = self.all(case, &mut cost).and_then(|()| self.allocated(case, &mut cost)).err();
        }
        cost.problem = problem.map(|problem| format!("{problem:#}"));
        cost
    }

    /// What the threads cost that make the spans.
    fn hot(&self, case: Case, cost: &mut SpanCost) -> anyhow::Result<()> {
        let counted = count(&self.command(&self.case, case, None)?, Some(MEASURED), self.folder.path())?;
        let told = told(&case, &counted.printed)?;
        cost.hot_instructions = Some(counted.instructions as f64 / told.measured as f64);
        // Calls are counted in the runs before too.
        cost.hot_allocations = Some(counted.allocations as f64 / told.made as f64);
        if !case.setup.has_threads {
            cost.all_instructions = cost.hot_instructions;
            cost.all_allocations = cost.hot_allocations;
        }
        Ok(())
    }

    /// What all threads cost: those that make spans, as counted before, and the others.
    fn all(&self, case: Case, cost: &mut SpanCost) -> anyhow::Result<()> {
        if !case.setup.has_threads {
            return Ok(());
        }
        let mut counts = [(0, 0); 2];
        for (known, runs) in counts.iter_mut().zip([FEW_RUNS, MANY_RUNS]) {
            // fastrace's queue is as long as it is, and loses what does not fit.
            let case = Case { runs, catches_up: !case.setup.is_tracing, ..case };
            let command = self.command(&self.case, case, Some(LARGE_QUEUE))?;
            let counted = count(&command, None, self.folder.path())?;
            *known = (counted.of_other_threads, told(&case, &counted.printed)?.made);
        }
        let [(few, few_spans), (many, many_spans)] = counts;
        let others = many.saturating_sub(few) as f64 / many_spans.saturating_sub(few_spans) as f64;
        // Of several threads that make spans, none is the first.
        cost.all_instructions =
            cost.hot_instructions.map(|hot| if case.threads > 1 { others } else { hot + others });
        Ok(())
    }

    /// What all threads allocate.
    fn allocated(&self, case: Case, cost: &mut SpanCost) -> anyhow::Result<()> {
        let Some(counting) = &self.counting else { return Ok(()) };
        let mut counts = [(Allocated { times: 0, bytes: 0 }, 0); 2];
        for (known, runs) in counts.iter_mut().zip([FEW_RUNS, MANY_RUNS]) {
            let case = Case { runs, ..case };
            let output = self.command(counting, case, None)?.output()?;
            let printed = String::from_utf8_lossy(&output.stdout);
            let (first, second) =
                printed.split_once('\n').context("the counting program prints two lines")?;
            *known = (serde_json::from_str(second)?, told(&case, first)?.made);
        }
        let [(few, few_spans), (many, many_spans)] = counts;
        let spans = many_spans.saturating_sub(few_spans) as f64;
        cost.all_allocations = Some(many.times.saturating_sub(few.times) as f64 / spans);
        cost.all_bytes = Some(many.bytes.saturating_sub(few.bytes) as f64 / spans);
        Ok(())
    }

    /// Each with a folder of its own: spans that one leaves there are the next one's to send.
    fn command(&self, program: &Path, case: Case, queue: Option<usize>) -> io::Result<Command> {
        let folder = tempfile::tempdir_in(self.folder.path())?.keep();
        let mut command = Command::new(program);
        command.arg("case").args(case.to_arguments()).arg(self.acknowledger.url()).arg(folder);
        command.arg(queue.map_or_else(|| "-".to_owned(), |queue| queue.to_string()));
        // Nothing of the user's settings.
        for (key, _) in std::env::vars_os().filter(|(key, _)| is_setting(&key.to_string_lossy())) {
            command.env_remove(key);
        }
        command.envs(case.setup.environment.iter().copied());
        Ok(command)
    }
}

fn is_setting(key: &str) -> bool {
    key.starts_with("OTEL_") || key.starts_with("LONGPOLE_")
}

fn told(case: &Case, printed: &str) -> anyhow::Result<Told> {
    let told: Told =
        serde_json::from_str(printed.trim()).with_context(|| format!("not understood: {printed:?}"))?;
    let is_exported = !case.setup.exports_nothing;
    match told.problem(is_exported) {
        Some(problem) => bail!("{problem}"),
        None => Ok(told),
    }
}
