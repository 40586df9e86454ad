//! Which runs there are, and what is kept of one.

use longpole::Report;
use longpole::report::RunStatus;
use longpole::run_list::ListedRun;
use longpole::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params_from_iter};

use crate::error::StoreError;
use crate::packing::{unpack, unpack_report};
use crate::store::{Labels, Store};
use crate::values::{from_count, from_time, to_count, to_duration, to_money, to_time};

/// Which runs are meant: those that all of these hold for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this workflow.
    pub workflow: Option<String>,
    /// Of this version.
    pub version: Option<String>,
    /// That ended so.
    pub status: Option<StatusFilter>,
    /// With all of these labels.
    pub labels: Labels,
    /// That started then or later.
    pub since: Option<Timestamp>,
    /// That started before.
    pub before: Option<Timestamp>,
    /// Whose id begins so.
    pub id_prefix: Option<String>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// It ended so.
    Ended(RunStatus),
    /// It has not ended.
    Running,
}

/// The order of a list of runs. Runs that are equal in it, or that lack what it asks for, come latest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunOrder {
    /// The latest first.
    #[default]
    Start,
    /// The longest first.
    Wall,
    /// The dearest first.
    Cost,
}

/// A run that is kept, as far as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRun {
    /// Which it is in this file.
    pub(crate) key: i64,
    /// What is known of it.
    pub run: ListedRun,
}

/// What is kept of a run, packed as it is.
#[derive(Clone, Debug)]
pub struct StoredDocuments {
    id: String,
    report: Vec<u8>,
    spans: Option<Vec<u8>>,
}

impl StoredDocuments {
    /// The report as it was when the run was recorded.
    ///
    /// # Errors
    /// [`StoreError::Run`] if what is kept is damaged.
    pub fn report(&self) -> Result<Report, StoreError> {
        unpack_report(&self.report).map_err(|error| self.damaged(error))
    }

    /// The spans as OTLP protobuf (`TracesData`), which [`longpole::decode::decode`] reads; `None` where they were not
    /// kept.
    ///
    /// # Errors
    /// [`StoreError::Run`] if what is kept is damaged.
    pub fn spans(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.spans.as_deref().map(unpack).transpose().map_err(|error| self.damaged(error))
    }

    fn damaged(&self, source: std::io::Error) -> StoreError {
        StoreError::Run { id: self.id.clone(), source: Box::new(source) }
    }
}

const COLUMNS: &str = "key, id, workflow, version, status, started_unix_ns, wall_ns, cost_picousd, spans, errors, \
                       longest_node";

impl Store {
    /// The runs `filter` names, at most `limit` of them after the first `skip`, in this order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn runs(
        &self,
        filter: &RunFilter,
        order: RunOrder,
        skip: u64,
        limit: u64,
    ) -> Result<Vec<StoredRun>, StoreError> {
        let (condition, mut values) = condition(filter);
        let order = match order {
            RunOrder::Start => "started_unix_ns DESC, key DESC",
            RunOrder::Wall => "wall_ns DESC, started_unix_ns DESC, key DESC",
            RunOrder::Cost => "cost_picousd DESC, started_unix_ns DESC, key DESC",
        };
        values.extend([Value::Integer(from_count(limit)), Value::Integer(from_count(skip))]);
        let found = || -> rusqlite::Result<Vec<StoredRun>> {
            let mut select = self.connection.prepare(&format!(
                "SELECT {COLUMNS} FROM runs WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?"
            ))?;
            let rows = select.query_map(params_from_iter(values), listed)?;
            let mut runs = rows.collect::<rusqlite::Result<Vec<StoredRun>>>()?;
            let mut labels = self.connection.prepare("SELECT name, value FROM labels WHERE run = ?")?;
            for found in &mut runs {
                let pairs = labels.query_map([found.key], |row| Ok((row.get(0)?, row.get(1)?)))?;
                found.run.labels = pairs.collect::<rusqlite::Result<_>>()?;
            }
            Ok(runs)
        };
        found().map_err(|error| StoreError::of(&self.path, error))
    }

    /// How many runs `filter` names.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn count(&self, filter: &RunFilter) -> Result<u64, StoreError> {
        let (condition, values) = condition(filter);
        let count = self.connection.query_row(
            &format!("SELECT count(*) FROM runs WHERE {condition}"),
            params_from_iter(values),
            |row| row.get(0),
        );
        count.map(to_count).map_err(|error| StoreError::of(&self.path, error))
    }

    /// The workflows there are runs of, by name.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn workflows(&self) -> Result<Vec<String>, StoreError> {
        let names = || -> rusqlite::Result<Vec<String>> {
            let mut select =
                self.connection.prepare("SELECT DISTINCT workflow FROM runs ORDER BY workflow")?;
            select.query_map([], |row| row.get(0))?.collect()
        };
        names().map_err(|error| StoreError::of(&self.path, error))
    }

    /// What is kept of a run; `None` if it has not ended, or is gone by now.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn documents(&self, run: &StoredRun) -> Result<Option<StoredDocuments>, StoreError> {
        let found = self.connection.query_row(
            "SELECT report, spans FROM documents WHERE run = ?",
            [run.key],
            |row| Ok(StoredDocuments { id: run.run.id.clone(), report: row.get(0)?, spans: row.get(1)? }),
        );
        found.optional().map_err(|error| StoreError::of(&self.path, error))
    }
}

/// The filter in SQL, with its values.
pub(crate) fn condition(filter: &RunFilter) -> (String, Vec<Value>) {
    let RunFilter { workflow, version, status, labels, since, before, id_prefix } = filter;
    let mut conditions = vec!["1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut add = |condition: &str, value: Value| {
        conditions.push(condition.to_owned());
        values.push(value);
    };
    if let Some(workflow) = workflow {
        add("workflow = ?", workflow.clone().into());
    }
    if let Some(version) = version {
        add("version = ?", version.clone().into());
    }
    if let Some(status) = status {
        let word = match status {
            StatusFilter::Running => "running",
            StatusFilter::Ended(status) => word_of(*status),
        };
        add("status = ?", word.to_owned().into());
    }
    if let Some(since) = since {
        add("started_unix_ns >= ?", from_time(*since).into());
    }
    if let Some(before) = before {
        add("started_unix_ns < ?", from_time(*before).into());
    }
    if let Some(prefix) = id_prefix {
        add("substr(id, 1, length(?)) = ?", prefix.clone().into());
        values.push(prefix.clone().into());
    }
    for (name, value) in labels {
        conditions.push(
            "EXISTS (SELECT 1 FROM labels WHERE labels.run = key AND name = ? AND value = ?)".to_owned(),
        );
        values.extend([Value::from(name.clone()), Value::from(value.clone())]);
    }
    (conditions.join(" AND "), values)
}

fn listed(row: &Row<'_>) -> rusqlite::Result<StoredRun> {
    let start = to_time(row.get(5)?);
    let word: String = row.get(4)?;
    let run = ListedRun {
        id: row.get(1)?,
        workflow: row.get(2)?,
        version: row.get(3)?,
        status: STATUSES.into_iter().find(|status| word_of(*status) == word),
        started_at: start.to_rfc3339(),
        start_unix_ns: start,
        wall_ns: row.get::<_, Option<i64>>(6)?.map(to_duration),
        cost_usd: row.get::<_, Option<i64>>(7)?.map(to_money),
        spans: to_count(row.get(8)?),
        errors: to_count(row.get(9)?),
        longest_node: row.get(10)?,
        labels: Labels::new(),
    };
    Ok(StoredRun { key: row.get(0)?, run })
}

const STATUSES: [RunStatus; 5] =
    [RunStatus::Ok, RunStatus::Error, RunStatus::Panicked, RunStatus::Cancelled, RunStatus::Incomplete];

fn word_of(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Ok => "ok",
        RunStatus::Error => "error",
        RunStatus::Panicked => "panicked",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Incomplete => "incomplete",
    }
}
