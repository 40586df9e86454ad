//! What a history says of each run without looking into it: the rows of a list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::report::{Report, RunStatus};
use crate::time::{Duration, Timestamp};

/// The name of the JSON form and its major version.
pub const SCHEMA: &str = "longpole.ls/1";

/// Runs, in the order asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunList {
    /// [`SCHEMA`].
    pub schema: String,
    /// The runs.
    pub runs: Vec<ListedRun>,
    /// How many runs there are in all that were asked for; more than are listed where the list was cut.
    pub total: u64,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRun {
    /// Trace id and root span id, hex, with `-` between them; else what a program calls it.
    pub id: String,
    /// Its workflow, else the name of its root.
    pub workflow: String,
    /// The workflow's version.
    pub version: Option<String>,
    /// How it ended; absent while it has not.
    pub status: Option<RunStatus>,
    /// When it started, RFC 3339 in UTC.
    pub started_at: String,
    /// When it started, exactly.
    pub start_unix_ns: Timestamp,
    /// How long it took; absent while it has not ended.
    pub wall_ns: Option<Duration>,
    /// What it cost; absent where nothing says.
    pub cost_usd: Option<Money>,
    /// How many spans it has.
    pub spans: u64,
    /// How many executions failed.
    pub errors: u64,
    /// The node with the most time on the critical path.
    pub longest_node: Option<String>,
    /// What it was labelled with when it was kept.
    pub labels: BTreeMap<String, String>,
}

impl ListedRun {
    /// What a list says of the run this report is about.
    pub fn of(report: &Report, labels: &BTreeMap<String, String>) -> Self {
        let run = &report.run;
        ListedRun {
            id: run.id.clone(),
            workflow: run.workflow.as_ref().unwrap_or(&run.name).clone(),
            version: run.version.clone(),
            status: Some(run.status),
            started_at: run.started_at.clone(),
            start_unix_ns: run.start_unix_ns,
            wall_ns: Some(run.wall_ns),
            cost_usd: report.totals.cost_usd,
            spans: run.spans,
            errors: run.errors,
            longest_node: report
                .critical_path
                .rows
                .iter()
                .find(|row| row.is_longest)
                .map(|row| row.node.clone()),
            labels: labels.clone(),
        }
    }

    /// The status in a word; `running` while it has not ended.
    pub fn status_word(&self) -> &'static str {
        match self.status {
            None => "running",
            Some(RunStatus::Ok) => "ok",
            Some(RunStatus::Error) => "error",
            Some(RunStatus::Panicked) => "panicked",
            Some(RunStatus::Cancelled) => "cancelled",
            Some(RunStatus::Incomplete) => "incomplete",
        }
    }
}
