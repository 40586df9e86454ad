//! Moving finished spans from the threads that close them to the analysis and to the delivery.
//!
//! ```text
//! closing threads ──► shards ──► longpole-io ──► longpole-run   decode, assemble, analyse, call back
//!                                     └────────► delivery       requests, file
//! ```
//!
//! Nothing here makes a closing thread wait: a full buffer loses the span and counts it. The io thread does nothing
//! but empty the shards, so that they stay small; everything that takes time happens behind it.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub(crate) mod budgets;
pub(crate) mod io_thread;
pub(crate) mod keep_runs;
pub(crate) mod outputs;
pub(crate) mod pressure;
pub(crate) mod pricing;
pub(crate) mod run_thread;
pub(crate) mod shard;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "of what the test made")]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::delivery::Delivery;
use crate::pipeline::io_thread::{Drain, LossTelling};
use crate::pipeline::outputs::Outputs;
use crate::pipeline::pricing::PriceSettings;
use crate::pipeline::run_thread::RunThreadConfig;
use crate::pipeline::shard::Shards;

/// The threads of one layer, and the ways to ask them something.
pub(crate) struct Pipeline {
    shards: Arc<Shards>,
    to_io: Sender<IoRequest>,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) delivery: Option<Arc<Delivery>>,
}

/// What the io thread is asked beside its work. Each is answered when everything closed before it has passed.
pub(crate) enum IoRequest {
    /// Pass on everything that is here.
    Drain(Sender<()>),
    /// Pass on everything that is here, end the grace periods, report.
    Flush(Sender<()>),
    /// The same, report on what never ended too, and end.
    Stop(Sender<()>),
}

/// What else the threads are told.
pub(crate) struct PipelineSettings {
    /// Whether a span that has closed has been passed on, to disk where there is a spool.
    pub(crate) is_strict: bool,
    /// Whether spans are analysed, not only delivered.
    pub(crate) analyses: bool,
    pub(crate) prices: PriceSettings,
    pub(crate) telling: LossTelling,
}

/// The threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("could not start the thread {name:?}")]
pub(crate) struct SpawnError {
    name: &'static str,
    source: std::io::Error,
}

impl Pipeline {
    /// Starts the threads.
    pub(crate) fn start(
        shards: Arc<Shards>,
        delivery: Option<Arc<Delivery>>,
        config: RunThreadConfig,
        settings: PipelineSettings,
    ) -> Result<Pipeline, SpawnError> {
        let outputs = Arc::new(Outputs::default());
        let (to_run, for_run) = crossbeam_channel::unbounded();
        let (to_io, for_io) = crossbeam_channel::unbounded();
        // Where every closing thread drains, nobody looks again after it; and budgets are watched while runs go on.
        let holds = !settings.is_strict && config.budgets.is_none();
        let drain =
            Drain::new(shards.clone(), to_run, outputs.clone(), delivery.clone(), settings.prices, holds);
        let drain = Arc::new(if settings.analyses { drain } else { drain.without_analysis() });
        run_thread::spawn(config, for_run, shards.clone(), outputs.clone(), delivery.clone())
            .map_err(|source| SpawnError { name: run_thread::NAME, source })?;
        io_thread::spawn(drain.clone(), for_io, settings.telling)
            .map_err(|source| SpawnError { name: io_thread::NAME, source })?;
        if settings.is_strict {
            // A mistake of ours here would be the program's panic.
            shards.set_after_push(Box::new(move || {
                let _ = catch_unwind(AssertUnwindSafe(|| drain.drain()));
            }));
        }
        Ok(Pipeline { shards, to_io, outputs, delivery })
    }

    /// Waits until everything closed before this call is on disk, where there is a spool, or `deadline`.
    pub(crate) fn drain(&self, deadline: Instant) -> bool {
        self.ask(IoRequest::Drain, deadline)
    }

    /// Waits until everything closed before this call has been analysed and handed to the delivery, or `deadline`.
    /// Says whether it was in time.
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        self.ask(IoRequest::Flush, deadline)
    }

    /// The same, and ends the threads.
    pub(crate) fn stop(&self, deadline: Instant) -> bool {
        self.ask(IoRequest::Stop, deadline)
    }

    fn ask(&self, request: impl FnOnce(Sender<()>) -> IoRequest, deadline: Instant) -> bool {
        let (done, wait): (Sender<()>, Receiver<()>) = crossbeam_channel::bounded(1);
        if self.to_io.send(request(done)).is_err() {
            return false;
        }
        self.shards.wake();
        // The run thread would wait for itself; what it asks for happens after its callback.
        if run_thread::is_current() {
            return false;
        }
        wait.recv_deadline(deadline).is_ok()
    }
}

/// A thread of ours: named, outside every subscriber, so that nothing it calls is ever traced.
pub(crate) fn spawn_untraced(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder
        .spawn(move || {
            let _untraced = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
            body();
        })
        .map(drop)
}

/// How long a thread that found nothing to do waits before it looks again.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(1);
