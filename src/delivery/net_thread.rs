//! `longpole-net`: takes requests out of the queue and sees them through.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::DeliveryConfig;
use super::queue::{Batch, Done, Queue};
use super::request::Envelope;
use super::spans_file::SpansFile;
use crate::pipeline::shard::Shards;

const NAME: &str = "longpole-net";

thread_local! {
    /// Keeps threads the runtime starts for name resolution out of every subscriber.
    static UNTRACED: RefCell<Option<tracing::subscriber::DefaultGuard>> = const { RefCell::new(None) };
}

pub(super) fn spawn(config: DeliveryConfig, queue: Arc<Queue>, shards: Arc<Shards>) -> std::io::Result<()> {
    let untrace = || {
        let guard = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
        UNTRACED.with_borrow_mut(|slot| *slot = Some(guard));
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().thread_name(NAME).on_thread_start(untrace);
    let runtime = runtime.build()?;
    let spawned = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        untrace();
        let work = AssertUnwindSafe(|| runtime.block_on(Net::new(config, &queue, &shards).work()));
        let error = catch_unwind(work).err().map(|_| "the delivery thread panicked".to_owned());
        queue.thread_ended(error);
    });
    spawned.map(drop)
}

struct Net<'q> {
    config: DeliveryConfig,
    queue: &'q Arc<Queue>,
    shards: &'q Shards,
    envelope: Envelope,
    output: Option<SpansFile>,
    #[cfg(feature = "otlp")]
    backend: Option<super::backend::Backend>,
    #[cfg(feature = "otlp")]
    exporter: Option<super::span_exporter::ExporterThread>,
    #[cfg(feature = "otlp")]
    metrics: Option<super::metrics_sender::MetricsSender>,
}

impl<'q> Net<'q> {
    fn new(mut config: DeliveryConfig, queue: &'q Arc<Queue>, shards: &'q Shards) -> Self {
        let envelope = Envelope::new(&config.resource, &config.scope);
        Net {
            output: config.spans_output.take().map(SpansFile::new),
            #[cfg(feature = "otlp")]
            backend: config
                .endpoint
                .take()
                .map(|endpoint| super::backend::Backend::new(endpoint, config.max_in_flight, queue.clone())),
            #[cfg(feature = "otlp")]
            exporter: config.exporter.take().and_then(|exporter| {
                let started = super::span_exporter::ExporterThread::start(exporter, queue.clone());
                let told = |error: &std::io::Error| {
                    let error = format!("the exporter's thread cannot be started: {error}");
                    queue.tell(super::SignalName::Spans, &error, "");
                };
                started.inspect_err(told).ok()
            }),
            #[cfg(feature = "otlp")]
            metrics: config
                .metrics
                .take()
                .map(|metrics| super::metrics_sender::MetricsSender::new(metrics, queue.clone())),
            config,
            queue,
            shards,
            envelope,
        }
    }

    async fn work(mut self) {
        loop {
            let now = Instant::now();
            self.queue.release_overdue_roots(now);
            while self.has_room() {
                let Some(batch) = self.queue.take_batch(&self.config, self.shards, now) else { break };
                self.deliver(batch);
            }
            self.start_due_requests(now);
            if self.queue.is_stopped() {
                return;
            }
            self.wait().await;
        }
    }

    fn deliver(&mut self, batch: Batch) {
        #[cfg(feature = "otlp")]
        let is_sent = self.backend.is_some() || self.exporter.is_some();
        #[cfg(not(feature = "otlp"))]
        let is_sent = false;
        // An exporter alone needs no request.
        let request = if self.output.is_some() || self.has_backend() {
            self.envelope.request(&batch.fields)
        } else {
            Vec::new()
        };
        let written = self.output.as_mut().map(|output| output.append(&request));
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
            return self.queue.done(&[(outcome, batch.spans())], batch.fields.len(), error);
        }
        #[cfg(feature = "otlp")]
        {
            if written.is_some() {
                self.queue.also_written(if error.is_none() { batch.spans() } else { 0 }, error);
            }
            if let Some(exporter) = &self.exporter {
                if let Err(batch) = exporter.send(batch) {
                    let outcome = Done::Dropped("exporter_ended");
                    self.queue.done(&[(outcome, batch.spans())], batch.fields.len(), None);
                }
            } else if let Some(backend) = &mut self.backend {
                backend.send_batch(batch, request);
            }
        }
    }

    #[cfg(not(feature = "otlp"))]
    fn has_backend(&self) -> bool {
        false
    }

    #[cfg(feature = "otlp")]
    fn has_backend(&self) -> bool {
        self.backend.is_some() && self.exporter.is_none()
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
        if let Some(backend) = &mut self.backend {
            backend.start_due_retries(now, &self.envelope);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.start_if_due(now);
        }
    }

    /// Until there is something to do: a word from the queue, a deadline, an answer.
    async fn wait(&mut self) {
        // While no further request may be on its way, spans that wait are no reason to look.
        let next = if self.has_room() { self.queue.next_deadline(self.config.send_delay) } else { None };
        #[cfg(feature = "otlp")]
        let next = {
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
