//! Why a history could not be read or written.

use std::path::{Path, PathBuf};

/// Why a history could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no place for it: neither `XDG_STATE_HOME` nor `HOME` is set.
    #[error("no folder for the history is known: neither XDG_STATE_HOME nor HOME is set")]
    NoPlace,
    /// Its folder or file could not be made or opened.
    #[error("cannot open the history {}", path.display())]
    Open {
        /// The file, or the folder it is to be in.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A later longpole made it.
    #[error("the history {} was made by a later longpole: its form is {found}, this one reads up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: i64,
        /// The latest form that is read.
        known: i64,
    },
    /// The file is a database of something else.
    #[error("{} is a database, but no history of longpole", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged, or no database at all.
    #[error("the history {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// Another process wrote to it for longer than was waited.
    #[error("the history {} is in use by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// There is no room on the disk.
    #[error("no room on the disk for the history {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// What is kept of one run cannot be read.
    #[error("run {id} cannot be read from the history")]
    Run {
        /// The run.
        id: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Anything else SQLite says.
    #[error("cannot use the history {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// What can be done about it: a sentence for a person.
    pub fn remedy(&self) -> String {
        match self {
            StoreError::NoPlace => "set XDG_STATE_HOME or HOME, or name a file".to_owned(),
            StoreError::Newer { .. } => "use the longpole that made it, or name another file".to_owned(),
            StoreError::Foreign { .. } => "name another file".to_owned(),
            StoreError::Damaged { path, .. } => {
                let path = path.display();
                format!(
                    "move it away and begin a new one: mv '{path}' '{path}.damaged'; what is left of it may be read with: sqlite3 '{path}.damaged' .recover"
                )
            }
            StoreError::Locked { .. } => "try again when the other process is done".to_owned(),
            StoreError::Full { .. } => "make room on the disk, or name a file on another".to_owned(),
            StoreError::Open { .. } | StoreError::Database { .. } => {
                "check the file and its folder, or name another file".to_owned()
            }
            StoreError::Run { .. } => "record it again; other runs are not affected".to_owned(),
        }
    }

    /// What went wrong with the file at `path`, by what SQLite says.
    pub(crate) fn of(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
            PermissionDenied,
        };
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(NotADatabase | DatabaseCorrupt) => StoreError::Damaged { path, source },
            Some(DatabaseBusy | DatabaseLocked) => StoreError::Locked { path, source },
            Some(DiskFull) => StoreError::Full { path, source },
            Some(CannotOpen | PermissionDenied) => {
                StoreError::Open { path, source: std::io::Error::other(source) }
            }
            _ => StoreError::Database { path, source },
        }
    }
}
