//! `--fail-if` and `--budget`: conditions under which a command that did what it was asked fails all the same.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use longpole::Report;
use longpole::compare::Comparison;
use longpole::gates::{Check, Gate};
use longpole::report::GateResult;

use crate::budgets;
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

    /// The gates that were asked for, for runs of a workflow: those of the command line first.
    ///
    /// # Errors
    /// A file that cannot be read or understood, or that has nothing for the workflow.
    pub(crate) fn gates(&self, workflow: &str) -> Result<Vec<Gate>, Failure> {
        let mut gates = self.fail_if.clone();
        if let Some(file) = &self.budget {
            gates.extend(budgets::read(file, workflow)?);
        }
        Ok(gates)
    }

    /// Holds runs of one workflow against them, as repetitions of one thing. `comparison`, if there is one, is what
    /// changes are judged by, else what is usual.
    pub(crate) fn check(&self, runs: &[Report], comparison: Option<&Comparison>) -> Result<Check, Failure> {
        let Some(run) = runs.first() else {
            return Err(Failure::nothing_there(anyhow!("no run to check"), "what is there: longpole ls"));
        };
        let workflow = run.run.workflow.as_ref().unwrap_or(&run.run.name);
        Ok(Check::of(&self.gates(workflow)?, runs, comparison))
    }
}

/// The status of a command whose gates ended like this.
pub(crate) fn status<'g>(gates: impl IntoIterator<Item = &'g GateResult>) -> ExitCode {
    match gates.into_iter().all(|gate| gate.verdict.is_pass()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(GATE_FAILED),
    }
}
