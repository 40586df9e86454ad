//! How much is kept, and which runs go first.

use longpole::time::{Duration, Timestamp};
use rusqlite::{Connection, Transaction, params};

use crate::error::StoreError;
use crate::store::Store;
use crate::values::{from_count, from_time, to_count};

/// How much of a history is kept. What is beyond is removed whenever a run is recorded, what was recorded first first;
/// the latest run always stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many runs. Default: 1,000.
    pub runs: u64,
    /// For how long since they were recorded. Default: 30 days.
    pub age: Duration,
    /// How many bytes of the file may be in use. Default: 2 GiB.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { runs: 1_000, age: Duration::from_millis(30 * 24 * 3_600_000), bytes: 2 << 30 }
    }
}

/// Which runs are to be removed: those that any of these names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneRule {
    /// All but the latest so many, by when they started.
    pub keep: Option<u64>,
    /// Those that started before.
    pub before: Option<Timestamp>,
}

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many runs.
    pub runs: u64,
    /// How many are left.
    pub left: u64,
    /// How many bytes of the file are no longer in use.
    pub bytes: u64,
}

impl Store {
    /// Removes runs, or only says what would be removed where `is_trial`.
    ///
    /// # Errors
    /// As [`Store::record`]; nothing is removed then.
    pub fn prune(&mut self, rule: &PruneRule, is_trial: bool) -> Result<Pruned, StoreError> {
        let path = self.path.clone();
        let failed = |error| StoreError::of(&path, error);
        let change = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        let before = bytes_in_use(&change).map_err(failed)?;
        let mut runs = 0u64;
        if let Some(time) = rule.before {
            runs += remove(&change, "started_unix_ns < ?1", from_time(time)).map_err(failed)?;
        }
        if let Some(keep) = rule.keep {
            runs += remove(
                &change,
                "key NOT IN (SELECT key FROM runs ORDER BY started_unix_ns DESC, key DESC LIMIT ?1)",
                from_count(keep),
            )
            .map_err(failed)?;
        }
        let left = count(&change).map_err(failed)?;
        let bytes = before.saturating_sub(bytes_in_use(&change).map_err(failed)?);
        if is_trial {
            change.rollback().map_err(failed)?;
        } else {
            change.commit().map_err(failed)?;
            give_back(&self.connection).map_err(failed)?;
        }
        Ok(Pruned { runs, left, bytes })
    }

    /// Removes every run.
    ///
    /// # Errors
    /// As [`Store::prune`].
    pub fn clear(&mut self) -> Result<Pruned, StoreError> {
        self.prune(&PruneRule { keep: Some(0), before: None }, false)
    }

    /// How many runs there are.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn run_count(&self) -> Result<u64, StoreError> {
        count(&self.connection).map_err(|error| StoreError::of(&self.path, error))
    }

    /// How many bytes of the file are in use.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn bytes_in_use(&self) -> Result<u64, StoreError> {
        bytes_in_use(&self.connection).map_err(|error| StoreError::of(&self.path, error))
    }
}

/// Removes what is beyond the limits; says how many runs that were.
pub(crate) fn enforce(change: &Transaction<'_>, limits: &Limits, now: Timestamp) -> rusqlite::Result<u64> {
    let latest = "(SELECT key FROM runs ORDER BY recorded_unix_ns DESC, key DESC LIMIT 1)";
    let oldest = from_time(now.saturating_sub(limits.age));
    let mut removed = remove(change, &format!("recorded_unix_ns < ?1 AND key <> {latest}"), oldest)?;
    removed += remove(
        change,
        "key NOT IN (SELECT key FROM runs ORDER BY recorded_unix_ns DESC, key DESC LIMIT ?1)",
        from_count(limits.runs.max(1)),
    )?;
    // What a run takes beside its documents is not known before it is gone: half of what seems to be needed goes, and
    // then it is looked again.
    loop {
        let used = bytes_in_use(change)?;
        let excess = used.saturating_sub(limits.bytes);
        if excess == 0 {
            break;
        }
        let documents: i64 = change.query_row(
            "SELECT ifnull(SUM(length(report) + ifnull(length(spans), 0)), 0) FROM documents",
            [],
            |row| row.get(0),
        )?;
        let share = u128::from(to_count(documents)) * u128::from(excess) / u128::from(used.max(1)) / 2;
        let gone = remove(
            change,
            &format!(
                "key <> {latest} AND key IN (
                     SELECT key FROM (
                         SELECT key, SUM(length(report) + ifnull(length(documents.spans), 0))
                             OVER (ORDER BY recorded_unix_ns, key
                                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS gone_before
                         FROM runs LEFT JOIN documents ON run = key)
                     WHERE ifnull(gone_before, 0) < ?1)"
            ),
            i64::try_from(share).unwrap_or(i64::MAX).max(1),
        )?;
        if gone == 0 {
            break;
        }
        removed += gone;
    }
    if removed > 0 {
        give_back(change)?;
    }
    Ok(removed)
}

fn remove(connection: &Connection, which: &str, value: i64) -> rusqlite::Result<u64> {
    connection.execute(&format!("DELETE FROM runs WHERE {which}"), params![value]).map(|runs| runs as u64)
}

fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).map(to_count)
}

fn bytes_in_use(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma =
        |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(to_count);
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages.saturating_mul(pragma("page_size")?))
}

/// Gives unused pages back to the disk.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let mut steps = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = steps.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
