//! Where the history is, and how it is opened for its owner alone.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// Where the history is unless somebody names another place: `longpole/runs.db` in `$XDG_STATE_HOME`, else in
/// `~/.local/state`.
///
/// # Errors
/// [`StoreError::NoPlace`].
pub fn default_path() -> Result<PathBuf, StoreError> {
    place(|name| std::env::var_os(name).map(PathBuf::from)).ok_or(StoreError::NoPlace)
}

/// The same by given variables. A relative `XDG_STATE_HOME` counts as unset, as its specification has it.
fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let home = || Some(variable("HOME").filter(|path| !path.as_os_str().is_empty())?.join(".local/state"));
    Some(state.or_else(home)?.join("longpole/runs.db"))
}

/// Makes the folder and the file where they are not there, readable by their owner alone: names and costs may be
/// nobody else's business.
pub(crate) fn make(path: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path, source: io::Error| StoreError::Open { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|source| failed(folder, source))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(failed(path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_where_xdg_says_else_in_the_home() {
        let of = |state: &str, home: &str| {
            place(|name| match name {
                "XDG_STATE_HOME" => Some(state.into()),
                _ => Some(home.into()),
            })
        };
        assert_eq!(of("/state", "/home/ada"), Some("/state/longpole/runs.db".into()));
        assert_eq!(of("", "/home/ada"), Some("/home/ada/.local/state/longpole/runs.db".into()));
        assert_eq!(of("relative", "/home/ada"), Some("/home/ada/.local/state/longpole/runs.db".into()));
        assert_eq!(of("", ""), None);
    }
}
