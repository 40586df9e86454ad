//! Logging runs to an MLflow tracking server: each finished run becomes an MLflow run, with a metric for each node's
//! time and cost, and the report as a file.
//!
//! It is done by a thread of its own, from a bounded queue: whatever the server does, the program and its other
//! exports do not notice. What cannot be logged is counted and told once.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod client;
mod config;
mod entries;
mod logger;
mod metric_keys;
mod queue;
mod thread;

use std::sync::Arc;
use std::time::Instant;

pub use config::MlflowConfig;
pub(crate) use queue::MlflowStatus;

use crate::delivery::Endpoint;
use crate::process_identity::ProcessIdentity;
use crate::report::Report;
use queue::{Job, Loss, Queue};

/// A report cannot be logged to MLflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogReportError {
    /// No MLflow server was named when longpole was built, or longpole is switched off.
    #[error("no MLflow server to log a report to; name one with builder().mlflow(…)")]
    NoServer,
    /// Too many reports wait already.
    #[error("too many reports wait to be logged to MLflow")]
    QueueFull,
    /// longpole was shut down before, or this is a forked process without its threads.
    #[error("cannot log a report to MLflow after longpole was shut down")]
    ShutDown,
}

/// The way to one MLflow server.
pub(crate) struct Mlflow {
    queue: Arc<Queue>,
    process: ProcessIdentity,
}

/// What the thread needs.
pub(crate) struct MlflowSettings {
    pub(crate) config: MlflowConfig,
    /// Made of [`MlflowConfig::connection`].
    pub(crate) endpoint: Endpoint,
    /// Whether spans are sent to the same server.
    pub(crate) links_traces: bool,
    /// Prints what the user should know at once.
    pub(crate) tell: Option<fn(&str)>,
}

impl Mlflow {
    /// Starts the thread.
    pub(crate) fn start(settings: MlflowSettings) -> std::io::Result<Mlflow> {
        let queue = Arc::new(Queue::new(settings.tell));
        thread::spawn(settings, queue.clone())?;
        Ok(Mlflow { queue, process: ProcessIdentity::of_this_process() })
    }

    /// Has a finished run logged. Never waits; refusals are counted.
    pub(crate) fn run_ended(&self, report: Arc<Report>) {
        let _ = self.queue.offer(Job { report, is_asked_for: false });
    }

    /// Has a report logged that the program gives, into the MLflow run of that run if there is one.
    pub(crate) fn log_report(&self, report: Report) -> Result<(), LogReportError> {
        if !self.process.is_this_process() {
            return Err(LogReportError::ShutDown);
        }
        let job = Job { report: Arc::new(report), is_asked_for: true };
        self.queue.offer(job).map_err(|loss| match loss {
            Loss::QueueFull => LogReportError::QueueFull,
            Loss::ShutDown | Loss::Away | Loss::Refused | Loss::Panicked => LogReportError::ShutDown,
        })
    }

    /// Waits until everything handed over before this call is logged or given up, or `deadline`. Says whether it was
    /// in time.
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        self.queue.flush(deadline)
    }

    /// The same, and ends the thread.
    pub(crate) fn shutdown(&self, deadline: Instant) -> bool {
        let is_complete = self.queue.flush(deadline);
        self.queue.stop();
        is_complete
    }

    pub(crate) fn status(&self) -> MlflowStatus {
        self.queue.status()
    }
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        // A forked child has no thread to stop, and may wait for a lock for ever.
        if self.process.is_this_process() {
            self.queue.stop();
        }
    }
}
