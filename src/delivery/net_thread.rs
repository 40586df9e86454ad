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
    file: Option<SpansFile>,
    #[cfg(feature = "otlp")]
    backend: Option<super::http::Backend>,
}

impl<'q> Net<'q> {
    fn new(mut config: DeliveryConfig, queue: &'q Arc<Queue>, shards: &'q Shards) -> Self {
        let envelope = Envelope::new(&config.resource, &config.scope);
        Net {
            file: config.spans_file.take().map(SpansFile::new),
            #[cfg(feature = "otlp")]
            backend: config
                .endpoint
                .take()
                .map(|endpoint| super::http::Backend::new(endpoint, config.max_in_flight, queue.clone())),
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
            self.start_due_retries(now);
            if self.queue.is_stopped() {
                return;
            }
            self.wait().await;
        }
    }

    fn deliver(&mut self, batch: Batch) {
        let request = self.envelope.request(&batch.fields);
        let written = self.file.as_mut().map(|file| file.append(&request));
        let error = written.as_ref().and_then(|written| written.as_ref().err());
        let error = error.map(|error| format!("cannot write to the spans file: {error}"));
        #[cfg(feature = "otlp")]
        if let Some(backend) = &mut self.backend {
            if written.is_some() {
                self.queue.also_written(if error.is_none() { batch.spans() } else { 0 }, error);
            }
            backend.send(super::http::Request::new(batch, request));
            return;
        }
        let outcome = if error.is_none() { Done::Written } else { Done::Dropped("file_error") };
        self.queue.done(&[(outcome, batch.spans())], batch.fields.len(), error);
    }

    #[cfg(not(feature = "otlp"))]
    fn has_room(&self) -> bool {
        true
    }

    #[cfg(feature = "otlp")]
    fn has_room(&self) -> bool {
        self.backend.as_ref().is_none_or(|backend| backend.has_room())
    }

    #[cfg(not(feature = "otlp"))]
    fn start_due_retries(&mut self, _now: Instant) {}

    #[cfg(feature = "otlp")]
    fn start_due_retries(&mut self, now: Instant) {
        if let Some(backend) = &mut self.backend {
            backend.start_due_retries(now, &self.envelope);
        }
    }

    /// Until there is something to do: a word from the queue, a deadline, an answer.
    async fn wait(&mut self) {
        // While no further request may be on its way, spans that wait are no reason to look.
        let next = if self.has_room() { self.queue.next_deadline(self.config.send_delay) } else { None };
        #[cfg(feature = "otlp")]
        let (next, answered) = match &mut self.backend {
            Some(backend) => {
                ([next, backend.next_retry()].into_iter().flatten().min(), Some(backend.answered()))
            }
            None => (next, None),
        };
        #[cfg(not(feature = "otlp"))]
        let answered: Option<std::future::Pending<()>> = None;
        let answered = async {
            match answered {
                Some(answered) => answered.await,
                None => std::future::pending().await,
            }
        };
        let mut wake = pin!(self.queue.wake.notified());
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
