//! The form of the file, and how older forms become the latest.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::StoreError;

/// Each step makes the form of its number from the one before. Steps are only ever added.
const STEPS: [&str; 1] = [include_str!("schema/1.sql")];

/// The latest form.
pub(crate) const LATEST: i64 = STEPS.len() as i64;

/// Marks the file as ours: "lpol".
const APPLICATION_ID: i64 = 0x6c70_6f6c;

/// Brings the file to the latest form, whatever form it has.
///
/// # Errors
/// [`StoreError::Newer`] and [`StoreError::Foreign`] before anything is changed; what SQLite says.
pub(crate) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    if check(connection, path)? == LATEST {
        return Ok(());
    }
    let failed = |error| StoreError::of(path, error);
    // Whoever reads does not wait for who writes, and a crash leaves what was committed. Both stay with the file, and
    // the first has an effect on a file without tables only.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(failed)?;
    // Asks for the lock at once, so that of several processes one makes the change and the others see it.
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let form = check(&change, path)?;
    for step in STEPS.iter().skip(usize::try_from(form).unwrap_or(0)) {
        change.execute_batch(step).map_err(failed)?;
    }
    change.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    change.pragma_update(None, "user_version", LATEST).map_err(failed)?;
    change.commit().map_err(failed)
}

/// The form the file has; zero if it is new.
fn check(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let pragma = |name: &str| -> Result<i64, StoreError> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|error| StoreError::of(path, error))
    };
    let (form, application) = (pragma("user_version")?, pragma("application_id")?);
    let is_empty = pragma("schema_version")? == 0;
    if application != APPLICATION_ID && !is_empty {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if form > LATEST {
        return Err(StoreError::Newer { path: path.to_owned(), found: form, known: LATEST });
    }
    Ok(form.max(0))
}
