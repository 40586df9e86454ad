//! The file runs are kept in: opening it and writing to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration as StdDuration;

use longpole::Report;
use longpole::otlp_bytes::traces_data;
use longpole::report::History;
use longpole::run_list::ListedRun;
use longpole::span_record::SpanRecord;
use longpole::time::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::error::StoreError;
use crate::packing::{pack, pack_report};
use crate::retention::{self, Limits};
use crate::values::{from_count, from_money, from_time};
use crate::{location, schema};

/// What runs are labelled with.
pub type Labels = BTreeMap<String, String>;

/// A history of runs in a file.
///
/// Several processes may use one file at the same time: who only reads never waits, and who writes waits for the other
/// to be done. What was recorded stays when the process dies right after; a power failure may cost the last runs, never
/// the file. Do not put it on a network file system, which most often cannot lock.
#[derive(Debug)]
pub struct Store {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    limits: Limits,
}

/// A run that begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRun {
    /// What to call it: any text that no other run has.
    pub id: String,
    /// Its workflow.
    pub workflow: String,
    /// The workflow's version.
    pub version: Option<String>,
    /// When it started.
    pub started: Timestamp,
    /// Its labels.
    pub labels: Labels,
}

/// What became of a run that was to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was not there before.
    New,
    /// It took the place of what was there of the same run.
    Replaced,
    /// More spans of the same run were there already; they stay.
    KeptLarger,
}

/// What recording a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What became of it.
    pub recorded: Recorded,
    /// How many old runs were removed because the history is limited.
    pub removed: u64,
}

impl Store {
    /// How long a write waits for other processes, unless [`Store::open_waiting`] says otherwise: five seconds.
    pub const WAIT: StdDuration = StdDuration::from_secs(5);

    /// Opens the history at `path` and makes it where there is none: the folder with mode 0700, the file with 0600.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Newer`], [`StoreError::Foreign`], [`StoreError::Damaged`],
    /// [`StoreError::Locked`], [`StoreError::Full`], [`StoreError::Database`]. Nothing is changed then.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open_waiting(path, Store::WAIT)
    }

    /// The same, with waiting for other processes no longer than this, now and later.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_waiting(path: &Path, wait: StdDuration) -> Result<Store, StoreError> {
        location::make(path)?;
        Store::connect(path, wait)
    }

    /// Opens the history at `path`; `None` where there is none yet.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_existing(path: &Path) -> Result<Option<Store>, StoreError> {
        match path.try_exists() {
            Ok(true) => Store::connect(path, Store::WAIT).map(Some),
            Ok(false) => Ok(None),
            Err(source) => Err(StoreError::Open { path: path.to_owned(), source }),
        }
    }

    fn connect(path: &Path, wait: StdDuration) -> Result<Store, StoreError> {
        let failed = |error| StoreError::of(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(wait).map_err(failed)?;
        // In a file somebody else made nothing may run by itself.
        connection.pragma_update(None, "trusted_schema", false).map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        schema::bring_up_to_date(&mut connection, path)?;
        Ok(Store { connection, path: path.to_owned(), limits: Limits::default() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much is kept from now on. Takes effect with the next run that is recorded.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Records a run with its report and its spans, and removes the oldest runs beyond the limits. A run that is there
    /// already, by its id, is replaced unless more of its spans are there; its labels are added to. `now` is when it is
    /// recorded.
    ///
    /// All or nothing, also if the process dies on the way. For a run of 20,000 spans this takes some tens of
    /// milliseconds.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Full`], [`StoreError::Damaged`], [`StoreError::Database`]; nothing is
    /// recorded then.
    pub fn record(
        &mut self,
        report: &Report,
        spans: &[SpanRecord],
        labels: &Labels,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        let listed = ListedRun::of(report, labels);
        let run = NewRun {
            id: listed.id,
            workflow: listed.workflow,
            version: listed.version,
            started: listed.start_unix_ns,
            labels: listed.labels,
        };
        let documents = Documents::of(report, spans);
        let limits = self.limits;
        self.change(|change, path| {
            let failed = |error| StoreError::of(path, error);
            let there: Option<(i64, i64)> = change
                .query_row("SELECT key, spans FROM runs WHERE id = ?1", [&run.id], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
                .map_err(failed)?;
            let recorded = match there {
                Some((_, spans)) if spans > from_count(report.run.spans) => Recorded::KeptLarger,
                Some(_) => Recorded::Replaced,
                None => Recorded::New,
            };
            let key = begin(change, &run, now).map_err(failed)?;
            if recorded != Recorded::KeptLarger {
                complete(change, key, report, &documents).map_err(failed)?;
            }
            let removed = retention::enforce(change, &limits, now).map_err(failed)?;
            Ok(Outcome { recorded, removed })
        })
    }

    /// Notes that a run has begun, for programs that want to see runs that never end. Its labels are added to those of
    /// a run of the same id; nothing else of it is changed.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn begin_run(&mut self, run: &NewRun, now: Timestamp) -> Result<(), StoreError> {
        self.change(|change, path| {
            begin(change, run, now).map(drop).map_err(|error| StoreError::of(path, error))
        })
    }

    /// Completes a run that has begun, under the id it was begun with: status, length, cost, `bottleneck_info`, what
    /// each node took, the report and the spans. `false` if there is no such run.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn update_run_completion(
        &mut self,
        id: &str,
        report: &Report,
        spans: &[SpanRecord],
    ) -> Result<bool, StoreError> {
        let documents = Documents::of(report, spans);
        self.change(|change, path| {
            let failed = |error| StoreError::of(path, error);
            let key = change.query_row("SELECT key FROM runs WHERE id = ?1", [id], |row| row.get(0));
            let Some(key) = key.optional().map_err(failed)? else { return Ok(false) };
            complete(change, key, report, &documents).map_err(failed)?;
            Ok(true)
        })
    }

    /// Does `work` in a transaction that holds the write lock from its beginning: a read that turns into a write
    /// could not be waited for.
    pub(crate) fn change<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &Path) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let path = &self.path;
        let failed = |error| StoreError::of(path, error);
        let change =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let done = work(&change, path)?;
        change.commit().map_err(failed)?;
        Ok(done)
    }
}

/// What is kept of a run to be read as a whole.
struct Documents {
    past_run: Option<String>,
    report: Vec<u8>,
    spans: Option<Vec<u8>>,
}

/// More packed spans of one run are not kept; its report is.
const MAX_SPANS_BYTES: usize = 256 << 20;

impl Documents {
    fn of(report: &Report, spans: &[SpanRecord]) -> Self {
        let past_run = History::of([report]).runs.pop().and_then(|run| serde_json::to_string(&run).ok());
        // Writing to memory does not fail.
        let report = pack_report(report).unwrap_or_default();
        let spans = (!spans.is_empty()).then(|| pack(&traces_data(spans)).ok()).flatten();
        Documents { past_run, report, spans: spans.filter(|spans| spans.len() <= MAX_SPANS_BYTES) }
    }
}

/// The key of a run, which is made if it is not there.
fn begin(change: &Transaction<'_>, run: &NewRun, now: Timestamp) -> rusqlite::Result<i64> {
    let key = change.query_row(
        "INSERT INTO runs (id, workflow, version, status, started_unix_ns, recorded_unix_ns)
         VALUES (?1, ?2, ?3, 'running', ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET recorded_unix_ns = excluded.recorded_unix_ns
         RETURNING key",
        params![run.id, run.workflow, run.version, from_time(run.started), from_time(now)],
        |row| row.get(0),
    )?;
    let mut label = change.prepare(
        "INSERT INTO labels (run, name, value) VALUES (?1, ?2, ?3)
         ON CONFLICT (run, name) DO UPDATE SET value = excluded.value",
    )?;
    for (name, value) in &run.labels {
        label.execute(params![key, name, value])?;
    }
    Ok(key)
}

fn complete(
    change: &Transaction<'_>,
    key: i64,
    report: &Report,
    documents: &Documents,
) -> rusqlite::Result<()> {
    let listed = ListedRun::of(report, &Labels::new());
    let bottleneck_info = serde_json::to_string(&report.bottleneck_info).ok();
    change.execute(
        "UPDATE runs SET workflow = ?2, version = ?3, status = ?4, started_unix_ns = ?5, wall_ns = ?6,
             cost_picousd = ?7, spans = ?8, errors = ?9, longest_node = ?10, bottleneck_info = ?11
         WHERE key = ?1",
        params![
            key,
            listed.workflow,
            listed.version,
            listed.status_word(),
            from_time(listed.start_unix_ns),
            listed.wall_ns.map(|wall| from_count(wall.as_nanos())),
            listed.cost_usd.map(from_money),
            from_count(listed.spans),
            from_count(listed.errors),
            listed.longest_node,
            bottleneck_info,
        ],
    )?;
    change.execute(
        "INSERT OR REPLACE INTO documents (run, past_run, report, spans) VALUES (?1, ?2, ?3, ?4)",
        params![key, documents.past_run, documents.report, documents.spans],
    )?;
    change.execute("DELETE FROM nodes WHERE run = ?1", [key])?;
    let mut row = change.prepare(
        "INSERT OR REPLACE INTO nodes (run, node, kind, calls, failures, retries, execution_time_ns, queued_ns,
             on_path_ns, cost_picousd, input_tokens, output_tokens, model)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for node in &report.nodes {
        row.execute(params![
            key,
            node.name,
            node.kind,
            from_count(node.calls),
            from_count(node.failures),
            from_count(node.retries),
            from_count(node.duration.sum_ns.as_nanos()),
            from_count(node.queued_ns.as_nanos()),
            from_count(node.on_path_ns.as_nanos()),
            node.cost_usd.map(from_money),
            node.tokens.map(|tokens| from_count(tokens.input)),
            node.tokens.map(|tokens| from_count(tokens.output)),
            node.model,
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use longpole::decode::decode;
    use longpole::{ReportOptions, report_on};

    use super::*;

    #[test]
    fn a_full_disk_is_told_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("runs.db")).unwrap();
        let record = |store: &mut Store, run: u64| {
            let trace = format!(
                r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{run:032x}","spanId":"00f067aa0ba902b7",
                "name":"job","startTimeUnixNano":"0","endTimeUnixNano":"100"}}]}}]}}]}}"#
            );
            let spans = decode(trace.as_bytes()).unwrap().spans;
            let report = report_on(spans.clone(), &ReportOptions::default()).remove(0);
            store.record(&report, &spans, &Labels::new(), Timestamp::from_unix_nanos(1_000))
        };
        record(&mut store, 1).unwrap();
        // No room for more pages than there are.
        let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        store.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        let mut run = 2;
        let error = loop {
            match record(&mut store, run) {
                Ok(_) => run += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(error.remedy().contains("make room"));
        assert_eq!(store.run_count().unwrap(), run - 1);
        store.connection.pragma_update_and_check(None, "max_page_count", pages + 100, |_| Ok(())).unwrap();
        assert_eq!(record(&mut store, run).unwrap().recorded, Recorded::New);
    }
}
