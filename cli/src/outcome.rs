//! How a command fails: what, why, what to do, and an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has had enough.
    BrokenPipe,
    /// It could not be done.
    Error {
        error: anyhow::Error,
        /// What to type or to check next.
        help: Option<String>,
        code: u8,
    },
}

/// It could not be done.
pub(crate) const FAILED: u8 = 1;
/// Nothing matched.
pub(crate) const NOTHING_FOUND: u8 = 4;

impl Failure {
    pub(crate) fn new(error: impl Into<anyhow::Error>, code: u8) -> Self {
        Failure::Error { error: error.into(), help: None, code }
    }

    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        match self {
            Failure::Error { error, code, .. } => Failure::Error { error, help: Some(text.into()), code },
            other => other,
        }
    }

    /// Writing our output failed.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::new(anyhow::Error::new(error).context("cannot write the report"), FAILED),
        }
    }

    pub(crate) fn tell(self) -> ExitCode {
        match self {
            Failure::BrokenPipe => ExitCode::SUCCESS,
            Failure::Error { error, help, code } => {
                let mut stderr = anstream::stderr().lock();
                // With stderr gone the exit code has to say it all.
                let _ = writeln!(stderr, "\x1b[1;31merror\x1b[0m: {error}");
                for cause in error.chain().skip(1) {
                    let _ = writeln!(stderr, "caused by: {cause}");
                }
                if let Some(help) = help {
                    let _ = writeln!(stderr, "help: {help}");
                }
                ExitCode::from(code)
            }
        }
    }
}
