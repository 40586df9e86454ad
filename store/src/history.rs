//! What is usual, and how figures went, by the runs that are kept.

use longpole::report::{History, PastRun};
use longpole::time::Timestamp;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use crate::error::StoreError;
use crate::query::{RunFilter, StoredRun, condition};
use crate::store::Store;
use crate::values::to_duration;

/// What a node was in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFigures {
    /// How long its executions took together.
    pub execution_time: longpole::time::Duration,
    /// What it cost.
    pub cost: Option<longpole::money::Money>,
}

impl Store {
    /// What the runs that `filter` names and that started before `run` took, for
    /// [`ReportOptions::history`](longpole::ReportOptions): the latest [`History::MAX_RUNS`] of its workflow that are
    /// complete.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn history_before(&self, run: &StoredRun, filter: &RunFilter) -> Result<History, StoreError> {
        let workflow = Some(run.run.workflow.clone());
        let place = Some((run.run.start_unix_ns, run.key));
        self.past_runs(&RunFilter { workflow, ..filter.clone() }, place)
    }

    /// The same for a run that is not kept and starts now: what all kept runs took that `filter` names.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn history(&self, filter: &RunFilter) -> Result<History, StoreError> {
        self.past_runs(filter, None)
    }

    fn past_runs(&self, filter: &RunFilter, before: Option<(Timestamp, i64)>) -> Result<History, StoreError> {
        let (mut which, mut values) = condition(filter);
        which += " AND past_run IS NOT NULL";
        if let Some((start, key)) = before {
            which += " AND (started_unix_ns, key) < (?, ?)";
            values.extend([Value::Integer(crate::values::from_time(start)), Value::Integer(key)]);
        }
        let found = || -> rusqlite::Result<History> {
            let mut select = self.connection.prepare(&format!(
                "SELECT past_run FROM runs JOIN documents ON run = key WHERE {which}
                 ORDER BY started_unix_ns DESC, key DESC LIMIT {}",
                History::MAX_RUNS
            ))?;
            let rows = select.query_map(params_from_iter(values), |row| row.get::<_, String>(0))?;
            // What is damaged is no longer usual.
            let mut runs: Vec<PastRun> = Vec::new();
            for row in rows {
                runs.extend(serde_json::from_str::<PastRun>(&row?));
            }
            runs.reverse();
            Ok(History { runs })
        };
        found().map_err(|error| StoreError::of(&self.path, error))
    }

    /// What a node was in a run; `None` where it did not run.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn node_in(&self, run: &StoredRun, node: &str) -> Result<Option<NodeFigures>, StoreError> {
        let found = || -> rusqlite::Result<Option<NodeFigures>> {
            let mut select = self
                .connection
                .prepare("SELECT execution_time_ns, cost_picousd FROM nodes WHERE run = ?1 AND node = ?2")?;
            let mut rows = select.query(rusqlite::params![run.key, node])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let cost: Option<i64> = row.get(1)?;
            Ok(Some(NodeFigures {
                execution_time: to_duration(row.get(0)?),
                cost: cost.map(crate::values::to_money),
            }))
        };
        found().map_err(|error| StoreError::of(&self.path, error))
    }

    /// The nodes of the runs `filter` names, by name.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn node_names(&self, filter: &RunFilter) -> Result<Vec<String>, StoreError> {
        let (which, values) = condition(filter);
        let found = || -> rusqlite::Result<Vec<String>> {
            let mut select = self.connection.prepare(&format!(
                "SELECT DISTINCT node FROM nodes JOIN runs ON key = run WHERE {which} ORDER BY node"
            ))?;
            select.query_map(params_from_iter(values), |row| row.get(0))?.collect()
        };
        found().map_err(|error| StoreError::of(&self.path, error))
    }
}
