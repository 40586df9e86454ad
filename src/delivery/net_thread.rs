//! `longpole-net`: takes requests out of the queue and sees them through.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::DeliveryConfig;
use super::queue::Queue;
use super::request::Envelope;
use super::spans_file::SpansFile;
use super::spool::FSYNC_INTERVAL;
use super::state::Done;
use super::waiting::Batch;
#[cfg(feature = "otlp")]
use super::waiting::Place;
use crate::restarts::Restarts;

const NAME: &str = "longpole-net";

thread_local! {
    /// Keeps threads the runtime starts for name resolution out of every subscriber.
    static UNTRACED: RefCell<Option<tracing::subscriber::DefaultGuard>> = const { RefCell::new(None) };
}

pub(super) fn spawn(config: DeliveryConfig, queue: Arc<Queue>) -> std::io::Result<()> {
    let untrace = || {
        let guard = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
        UNTRACED.with_borrow_mut(|slot| *slot = Some(guard));
    };
    // Made here, so that whoever cannot have one hears of it.
    let make_runtime = move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().thread_name(NAME).on_thread_start(untrace);
        runtime.build()
    };
    let mut runtime = Some(make_runtime()?);
    let mut config = config;
    let spawned = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        untrace();
        let mut restarts = Restarts::default();
        let mut error = None;
        while let Some(runtime) = runtime.take().map_or_else(|| make_runtime().ok(), Some) {
            let work = AssertUnwindSafe(|| runtime.block_on(Net::new(&mut config, &queue).work()));
            let ended = catch_unwind(work);
            // A write to a dead disk must not keep the thread.
            runtime.shutdown_background();
            if ended.is_ok() {
                break;
            }
            let what = "the delivery thread panicked".to_owned();
            if !config.can_restart() || !restarts.may_restart(Instant::now()) {
                error = Some(what);
                break;
            }
            queue.requests_lost(what);
        }
        queue.thread_ended(error);
    });
    spawned.map(drop)
}

/// How long bringing files to the disk may take at the end, beyond what the caller waits.
const LAST_SYNC: Duration = Duration::from_millis(500);

struct Net<'q> {
    config: &'q DeliveryConfig,
    queue: &'q Arc<Queue>,
    envelope: Envelope,
    output: Option<SpansFile>,
    #[cfg(feature = "otlp")]
    backend: Option<super::backend::Backend>,
    #[cfg(feature = "otlp")]
    exporter: Option<super::span_exporter::ExporterThread>,
    #[cfg(feature = "otlp")]
    metrics: Option<super::metrics_sender::MetricsSender>,
    #[cfg(feature = "otlp")]
    recovery: Option<super::recovery::Recovery>,
    /// Whether the next request is an adopted log's, if one has any.
    recovers_next: bool,
    next_look: Instant,
    /// What is being brought to the disk.
    syncing: Option<JoinHandle<()>>,
}

impl<'q> Net<'q> {
    fn new(config: &'q mut DeliveryConfig, queue: &'q Arc<Queue>) -> Self {
        let envelope = Envelope::new(&config.resource, &config.scope);
        #[cfg(feature = "otlp")]
        let exporter = config.exporter.take().and_then(|exporter| {
            let started = super::span_exporter::ExporterThread::start(exporter, queue.clone());
            let told = |error: &std::io::Error| {
                let error = format!("the exporter's thread cannot be started: {error}");
                queue.tell(super::SignalName::Spans, &error, "");
            };
            started.inspect_err(told).ok()
        });
        let config: &'q DeliveryConfig = config;
        Net {
            output: config.spans_output.clone().map(SpansFile::new),
            #[cfg(feature = "otlp")]
            backend: config.endpoint.clone().map(|endpoint| {
                let (envelope, spool) = (envelope.clone(), config.spool.clone());
                super::backend::Backend::new(endpoint, config.max_in_flight, envelope, spool, queue.clone())
            }),
            #[cfg(feature = "otlp")]
            exporter,
            #[cfg(feature = "otlp")]
            metrics: config
                .metrics
                .clone()
                .map(|metrics| super::metrics_sender::MetricsSender::new(metrics, queue.clone())),
            #[cfg(feature = "otlp")]
            recovery: config.spool.clone().map(|spool| super::recovery::Recovery::new(spool, queue.clone())),
            recovers_next: false,
            next_look: Instant::now(),
            syncing: None,
            config,
            queue,
            envelope,
        }
    }

    async fn work(mut self) {
        loop {
            let now = Instant::now();
            self.queue.release_overdue(now);
            self.settle(now);
            self.queue.read_backlog();
            while self.has_room() {
                let Some(batch) = self.next_batch(now) else { break };
                self.deliver(batch);
                self.queue.read_backlog();
            }
            self.start_due_requests(now);
            self.look_at_spool(now);
            if self.queue.is_stopped() {
                return self.end().await;
            }
            self.wait().await;
        }
    }

    /// The next request's spans: this process's own and those of adopted logs in turn.
    fn next_batch(&mut self, now: Instant) -> Option<Batch> {
        self.recovers_next = !self.recovers_next;
        let first = if self.recovers_next { self.next_adopted() } else { None };
        first
            .or_else(|| self.queue.take_batch(self.config, now))
            .or_else(|| if self.recovers_next { None } else { self.next_adopted() })
    }

    #[cfg(feature = "otlp")]
    fn next_adopted(&mut self) -> Option<Batch> {
        let recovery = self.recovery.as_mut()?;
        let batch = recovery.next_batch(self.config.request_limits());
        let metrics = recovery.take_metrics();
        match &mut self.metrics {
            Some(sender) => sender.adopt(metrics),
            None => {
                let finished = metrics.into_iter().map(|it| (it.log, Place::of_record(it.position)));
                recovery.finish(&finished.collect::<Vec<_>>());
            }
        }
        batch
    }

    #[cfg(not(feature = "otlp"))]
    fn next_adopted(&mut self) -> Option<Batch> {
        None
    }

    /// Notes on disk what is done with.
    fn settle(&mut self, now: Instant) {
        let finished = self.queue.settle();
        #[cfg(feature = "otlp")]
        if let Some(recovery) = &mut self.recovery {
            recovery.finish(&finished);
            if let Some(metrics) = &mut self.metrics {
                recovery.finish(&metrics.take_finished());
            }
            recovery.look_if_due(now);
        }
        let _ = (finished, now);
    }

    /// Brings what was written to the disk, now and then.
    fn look_at_spool(&mut self, now: Instant) {
        if now < self.next_look || self.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished()) {
            return;
        }
        let files = self.queue.look_at_spool();
        self.next_look = now.checked_add(FSYNC_INTERVAL).unwrap_or(now);
        if !files.is_empty() {
            self.syncing = Some(tokio::task::spawn_blocking(move || sync(&files)));
        }
    }

    /// What is not delivered stays on disk; that is brought there as far as time allows.
    async fn end(mut self) {
        self.settle(Instant::now());
        #[cfg(feature = "otlp")]
        let metrics = self.metrics.as_ref().and_then(|metrics| metrics.unsent());
        #[cfg(not(feature = "otlp"))]
        let metrics = None;
        let files = self.queue.close_spool(metrics);
        if files.is_empty() {
            return;
        }
        let until = self.queue.stop_deadline().unwrap_or_else(Instant::now);
        let until = until.min(Instant::now().checked_add(LAST_SYNC).unwrap_or(until));
        let synced = tokio::task::spawn_blocking(move || sync(&files));
        let _ = tokio::time::timeout_at(until.into(), synced).await;
    }

    fn deliver(&mut self, batch: Batch) {
        #[cfg(feature = "otlp")]
        let is_sent = self.backend.is_some() || self.exporter.is_some();
        #[cfg(not(feature = "otlp"))]
        let is_sent = false;
        // What another process has left belongs to the backend alone.
        let output = self.output.as_mut().filter(|_| batch.adopted.is_none());
        let written = output.map(|output| output.append(&self.envelope.request(&batch)));
        let error = written.as_ref().and_then(|written| written.as_ref().err());
        let error = error.map(|error| format!("cannot write to the spans file: {error}"));
        if let Some(error) = &error {
            self.queue.tell(super::SignalName::Spans, error, "");
        }
        if !is_sent {
            let outcome = match written {
                Some(Ok(())) => Done::Written,
                Some(Err(_)) => Done::Dropped("file_error"),
                None => Done::Dropped("no_destination"),
            };
            return self.queue.done(&[(outcome, batch.spans())], batch, error);
        }
        #[cfg(feature = "otlp")]
        {
            if written.is_some() {
                self.queue.also_written(if error.is_none() { batch.spans() } else { 0 }, error);
            }
            if let Some(exporter) = &self.exporter {
                if let Err(batch) = exporter.send(batch) {
                    let outcome = Done::Dropped("exporter_ended");
                    self.queue.done(&[(outcome, batch.spans())], batch, None);
                }
            } else if let Some(backend) = &mut self.backend {
                backend.send_batch(batch);
            }
        }
    }

    #[cfg(not(feature = "otlp"))]
    fn has_room(&self) -> bool {
        true
    }

    #[cfg(feature = "otlp")]
    fn has_room(&self) -> bool {
        match (&self.exporter, &self.backend) {
            (Some(exporter), _) => exporter.has_room(),
            (None, Some(backend)) => backend.has_room(),
            (None, None) => true,
        }
    }

    #[cfg(not(feature = "otlp"))]
    fn start_due_requests(&mut self, _now: Instant) {}

    #[cfg(feature = "otlp")]
    fn start_due_requests(&mut self, now: Instant) {
        let is_asked = self.queue.take_new_flush();
        if let Some(backend) = &mut self.backend {
            if is_asked {
                backend.hurry(now);
            }
            backend.start_due_retries(now);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.start_if_due(now);
        }
    }

    /// Until there is something to do: a word from the queue, a deadline, an answer.
    async fn wait(&mut self) {
        self.queue.falls_asleep();
        // While no further request may be on its way, spans that wait are no reason to look.
        let next = if self.has_room() { self.queue.next_deadline(self.config.send_delay) } else { None };
        let look = self.queue.is_spool_dirty().then_some(self.next_look);
        let next = [next, look].into_iter().flatten().min();
        #[cfg(feature = "otlp")]
        let next = {
            let recovery = self.recovery.as_ref().map(|recovery| recovery.next_look());
            let next = [next, recovery].into_iter().flatten().min();
            let retry = self.backend.as_ref().and_then(|backend| backend.next_retry());
            let metrics = self.metrics.as_ref().and_then(|metrics| metrics.next_due());
            [next, retry, metrics].into_iter().flatten().min()
        };
        let queue = self.queue;
        #[cfg(feature = "otlp")]
        let (spans, metrics) = (&mut self.backend, &mut self.metrics);
        #[cfg(feature = "otlp")]
        let answered = async {
            let spans = async {
                match spans {
                    Some(backend) => backend.answered().await,
                    None => std::future::pending().await,
                }
            };
            let metrics = async {
                match metrics {
                    Some(metrics) => metrics.answered().await,
                    None => std::future::pending().await,
                }
            };
            let (mut spans, mut metrics) = (pin!(spans), pin!(metrics));
            poll_fn(|context| {
                let is_answered = spans.as_mut().poll(context).is_ready();
                let are_metrics_answered = metrics.as_mut().poll(context).is_ready();
                if is_answered || are_metrics_answered { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        #[cfg(not(feature = "otlp"))]
        let answered = std::future::pending::<()>();
        let mut wake = pin!(queue.wake.notified());
        let mut deadline = pin!(sleep_until(next));
        let mut answered = pin!(answered);
        poll_fn(|context| {
            let is_woken = wake.as_mut().poll(context).is_ready();
            let is_due = deadline.as_mut().poll(context).is_ready();
            let is_answered = answered.as_mut().poll(context).is_ready();
            if is_woken || is_due || is_answered { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn sync(files: &[Arc<std::fs::File>]) {
    // What a disk does not take it does not take; the next second tries the next bytes.
    files.iter().for_each(|file| drop(file.sync_data()));
}
