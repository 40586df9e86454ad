//! How a command fails: what, why, what to type instead, and with which exit status.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use longpole::render::Printable;

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    error: anyhow::Error,
    help: Option<Cow<'static, str>>,
}

impl Failure {
    /// Something could not be read, understood or written.
    pub(crate) fn could_not(error: anyhow::Error, help: impl Into<Cow<'static, str>>) -> Self {
        Failure { status: 1, error, help: Some(help.into()) }
    }

    /// Nothing there matches what was asked for.
    pub(crate) fn nothing_there(error: anyhow::Error, help: impl Into<Cow<'static, str>>) -> Self {
        Failure { status: 4, error, help: Some(help.into()) }
    }

    /// What was typed cannot be meant.
    pub(crate) fn wrong_use(error: anyhow::Error, help: impl Into<Cow<'static, str>>) -> Self {
        Failure { status: 2, error, help: Some(help.into()) }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) -> ExitCode {
        if self.is_broken_pipe() {
            return ExitCode::SUCCESS;
        }
        self.write("error", &self.error.to_string());
        ExitCode::from(self.status)
    }

    /// Says it on standard error as something that did not go, on the side of a command that goes on.
    pub(crate) fn warn(&self, what: &str) {
        self.write("warning", &format!("{what}: {}", self.error));
    }

    fn write(&self, kind: &str, first: &str) {
        let mut said = self.error.to_string();
        let mut text = format!("{kind}: {}\n", Printable::new(first));
        for cause in self.error.chain().skip(1).map(ToString::to_string) {
            // Some errors end with their own cause.
            if !said.ends_with(&cause) {
                let _ = writeln!(text, "caused by: {}", Printable::new(&cause));
            }
            said = cause;
        }
        if let Some(help) = &self.help {
            // What is near to what was asked for is foreign text too; a list of it has lines of its own.
            for (line, lead) in help.lines().zip(["help: "].into_iter().chain(std::iter::repeat(""))) {
                let _ = writeln!(text, "{lead}{}", Printable::new(line));
            }
        }
        // With standard error gone there is nobody left to tell.
        let _ = anstream::stderr().write_all(text.as_bytes());
    }

    /// Whether the reader of the output went away, as `head` does when it has enough.
    fn is_broken_pipe(&self) -> bool {
        let io = self.error.root_cause().downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<io::Error> for Failure {
    /// Standard output could not be written.
    fn from(error: io::Error) -> Self {
        let error = anyhow::Error::new(error).context("cannot write to standard output");
        Failure { status: 1, error, help: None }
    }
}

/// Says on standard error that something is odd; the command goes on.
pub(crate) fn warn(kind: &str, text: &str) {
    let _ = writeln!(anstream::stderr(), "{kind}: {}", Printable::new(text));
}

/// Says something on standard error that is fit for it.
pub(crate) fn say(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}
