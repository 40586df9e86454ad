//! `--fail-if` and `--budget`: conditions under which a command that did what it was asked fails all the same.

use std::path::PathBuf;
use std::process::ExitCode;

use longpole::Report;
use longpole::compare::Comparison;
use longpole::gates::{Check, Gate, check_runs};
use longpole::report::GateResult;

use crate::budgets::Budgets;
use crate::failure::Failure;

/// The status of a command whose gates did not all pass.
const GATE_FAILED: u8 = 3;

/// What runs are held against.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Gates")]
pub(crate) struct GateArgs {
    /// Fail, with status 3, if this holds: `wall>25s`, `wall>+10%` (than usual), `cost>$0.10`, `node(draft).p95>6s`,
    /// `retries>0`, `insight(LP105)`, `quality<medium`; can be given again. What is not known fails, what is within
    /// noise does not. All: longpole explain gates
    #[arg(long = "fail-if", value_parser = gate, value_name = "EXPR")]
    fail_if: Vec<Gate>,

    /// A file with limits for workflows and their nodes (TOML): longpole explain budgets
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
}

fn gate(text: &str) -> Result<Gate, String> {
    Gate::parse(text).map_err(|error| format!("at character {}: {}", error.at + 1, error.problem))
}

impl GateArgs {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.fail_if.is_empty() && self.budget.is_none()
    }

    /// Reads what there is to read, so that a mistake is told before any work is done.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub(crate) fn load(&self) -> Result<Gates, Failure> {
        let budgets = self.budget.as_deref().map(Budgets::read).transpose()?;
        Ok(Gates { fail_if: self.fail_if.clone(), budgets })
    }
}

/// What runs are held against, ready to be used.
pub(crate) struct Gates {
    fail_if: Vec<Gate>,
    budgets: Option<Budgets>,
}

impl Gates {
    /// The gates for runs of a workflow: those of the command line first.
    ///
    /// # Errors
    /// A file that has nothing for the workflow, which is likely another one than was meant.
    fn of(&self, report: &Report) -> Result<Vec<Gate>, Failure> {
        let mut gates = self.fail_if.clone();
        if let Some(budgets) = &self.budgets {
            gates.extend(budgets.of(workflow(report))?);
        }
        Ok(gates)
    }

    /// Holds one run against them; what became of them stands in its report then. Without gates nothing does.
    pub(crate) fn judge(&self, report: &mut Report) -> Result<(), Failure> {
        let gates = self.of(report)?;
        report.gates = check_runs(&gates, std::slice::from_ref(report), None);
        Ok(())
    }

    /// Holds runs against them, those of each workflow together as repetitions of one thing. `comparison`, if there is
    /// one, is what changes are judged by, else what is usual.
    pub(crate) fn check(
        &self,
        runs: &[Report],
        comparison: Option<&Comparison>,
    ) -> Result<Vec<Check>, Failure> {
        let mut workflows: Vec<&str> = Vec::new();
        for run in runs {
            if !workflows.contains(&workflow(run)) {
                workflows.push(workflow(run));
            }
        }
        let of_one = |name: &&str| {
            let runs: Vec<Report> = runs.iter().filter(|run| workflow(run) == *name).cloned().collect();
            let gates = runs.first().map(|run| self.of(run)).transpose()?.unwrap_or_default();
            Ok(Check::of(&gates, &runs, comparison))
        };
        workflows.iter().map(of_one).collect()
    }
}

fn workflow(report: &Report) -> &str {
    report.run.workflow.as_ref().unwrap_or(&report.run.name)
}

/// The status of a command whose gates ended like this.
pub(crate) fn status<'g>(gates: impl IntoIterator<Item = &'g GateResult>) -> ExitCode {
    match gates.into_iter().all(|gate| gate.verdict.is_pass()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(GATE_FAILED),
    }
}
