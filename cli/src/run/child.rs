//! The command: started with an environment that leads its spans here, waited for, drained.

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::progress::Progress;
use super::signals::{self, Signals};
use super::wiring::Wiring;
use crate::receiver::Receiver;

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) wall: Duration,
    /// The first signal that asked for its end, if one did.
    pub(super) interrupted: Option<i32>,
    /// Somebody still had a connection when the time for late spans was over.
    pub(super) is_cut_off: bool,
}

impl Ended {
    /// Its exit code, or 128 and the number of the signal that killed it.
    pub(super) fn code(&self) -> u8 {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&self.status) {
            return u8::try_from(signal.saturating_add(128)).unwrap_or(u8::MAX);
        }
        // Windows has codes of 32 bits; what is left of one that failed must not look like success.
        let code = self.status.code().unwrap_or(1);
        u8::try_from(code).unwrap_or(1)
    }

    /// Whether it was ended from outside, so that what it was doing cannot have come to an end of its own.
    pub(super) fn is_broken_off(&self) -> bool {
        self.status.code().is_none() || (self.interrupted.is_some() && !self.status.success())
    }

    /// `exit 3`, `killed by signal 9`.
    pub(super) fn in_words(&self) -> String {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&self.status) {
            return format!("killed by signal {signal}");
        }
        format!("exit {}", self.status.code().unwrap_or(1))
    }
}

/// Why a command was not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ChildError {
    #[error("cannot start {0}")]
    Start(String, #[source] io::Error),
    #[error("cannot wait for the command")]
    Wait(#[source] io::Error),
}

/// Runs a command to its end, and waits until what it sent is here: at most `drain` longer. Its standard streams are
/// those of this process; signals that come to this process go to it.
pub(super) fn run_to_end(
    command: &[OsString],
    wiring: &Wiring,
    receiver: &Receiver,
    drain: Duration,
    progress: Option<&Progress>,
) -> Result<Ended, ChildError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ChildError::Wait)?.block_on(async {
        // Before the command is there, so that no signal is between them.
        let mut signals = Signals::catch().map_err(ChildError::Wait)?;
        let (program, arguments) =
            command.split_first().map_or((None, &[][..]), |(it, rest)| (Some(it), rest));
        let program = program.cloned().unwrap_or_default();
        let mut prepared = Command::new(&program);
        prepared.args(arguments).envs(wiring.set.iter().map(|(name, value)| (name, value)));
        wiring.removed.iter().for_each(|name| {
            prepared.env_remove(name);
        });
        let start = Instant::now();
        let child = prepared.spawn();
        let mut child =
            child.map_err(|error| ChildError::Start(program.to_string_lossy().into_owned(), error))?;
        let mut interrupted = None;
        let mut beats = tokio::time::interval(Progress::EVERY);
        let status = loop {
            let id = child.id();
            tokio::select! {
                status = child.wait() => break status.map_err(ChildError::Wait)?,
                _ = beats.tick(), if progress.is_some() => {
                    progress.iter().for_each(|progress| progress.draw(receiver));
                }
                signal = signals.next() => {
                    if signals::asks_to_end(signal) {
                        interrupted.get_or_insert(signal);
                    }
                    signals::forward(signal, id);
                }
            }
        };
        let wall = start.elapsed();
        let is_cut_off = tokio::select! {
            drained = tokio::time::timeout(drain, receiver.quiet()) => drained.is_err(),
            signal = ended_by(&mut signals) => {
                interrupted.get_or_insert(signal);
                true
            }
        };
        Ok(Ended { status, wall, interrupted, is_cut_off })
    })
}

/// The next signal that asks for an end.
async fn ended_by(signals: &mut Signals) -> i32 {
    loop {
        let signal = signals.next().await;
        if signals::asks_to_end(signal) {
            return signal;
        }
    }
}
