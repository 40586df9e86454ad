//! Metrics on their way to a backend: a snapshot each interval, one request at a time.
//!
//! Nothing is queued: sums that could not be sent are in the next snapshot. So a request is never sent again as it
//! was, and an outage costs nothing but detail in time.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use tokio::task::JoinSet;

use super::endpoint::Endpoint;
use super::queue::Queue;
use super::recovery::AdoptedMetrics;
use super::retry::{Pace, Verdict};
use super::transport::{Answer, Signal, Transport};
use super::waiting::Place;
use super::{Protocol, SignalName};
use crate::metrics::hub::MetricHub;
use crate::metrics::otlp::{HistogramForm, Reader, Temporality, request};
use crate::metrics::store::Snapshot;
use crate::random::random_share;

/// Where metrics go and how.
#[derive(Clone)]
pub(crate) struct MetricsConfig {
    pub(crate) target: MetricsTarget,
    pub(crate) hub: Arc<MetricHub>,
    /// An encoded `Resource` message.
    pub(crate) resource: Vec<u8>,
    pub(crate) interval: Duration,
    pub(crate) temporality: Temporality,
    pub(crate) form: HistogramForm,
}

/// Where metrics go.
#[derive(Clone)]
pub(crate) enum MetricsTarget {
    Backend(Box<Endpoint>),
    /// Standard output, a line of OTLP JSON each time.
    Console,
}

impl std::fmt::Debug for MetricsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsConfig").field("interval", &self.interval).finish_non_exhaustive()
    }
}

pub(super) struct MetricsSender {
    /// Absent: standard output.
    transport: Option<Transport>,
    hub: Arc<MetricHub>,
    reader: Reader,
    resource: Vec<u8>,
    interval: Duration,
    in_flight: JoinSet<(Sent, Answer)>,
    next: Option<Instant>,
    pace: Pace,
    /// The backend does not take metrics at all: it is told once and left alone.
    is_unwanted: bool,
    retry_adopted_at: Option<Instant>,
    /// What processes that are gone could not get rid of.
    adopted: VecDeque<AdoptedMetrics>,
    /// Those that are done with.
    finished: Vec<(usize, Place)>,
    /// Whether the backend has all there was at the last flush.
    has_all: bool,
    queue: Arc<Queue>,
}

/// What a request was made of.
enum Sent {
    Own {
        snapshot: Snapshot,
        /// The last flush that was asked for before.
        flush: u64,
    },
    Adopted(AdoptedMetrics),
}

impl MetricsSender {
    pub(super) fn new(config: MetricsConfig, queue: Arc<Queue>) -> Self {
        let max_backoff = match &config.target {
            MetricsTarget::Backend(endpoint) => endpoint.max_backoff,
            MetricsTarget::Console => Endpoint::MAX_BACKOFF,
        };
        MetricsSender {
            transport: match config.target {
                MetricsTarget::Backend(endpoint) => Some(Transport::new(*endpoint, Signal::Metrics)),
                MetricsTarget::Console => None,
            },
            hub: config.hub,
            reader: Reader::new(config.temporality, config.form),
            resource: config.resource,
            interval: config.interval,
            in_flight: JoinSet::new(),
            next: Instant::now().checked_add(config.interval),
            pace: Pace::new(config.interval.min(max_backoff)),
            is_unwanted: false,
            retry_adopted_at: None,
            adopted: VecDeque::new(),
            finished: Vec::new(),
            has_all: false,
            queue,
        }
    }

    /// Sends what there is if it is time or somebody flushes.
    pub(super) fn start_if_due(&mut self, now: Instant) {
        let flush = self.queue.metrics_flush();
        let is_asked = flush > self.queue.metrics_flushed();
        let is_due = self.next.is_some_and(|next| next <= now);
        if !self.in_flight.is_empty() {
            return;
        }
        if self.pace.asks_for_time(now) {
            // A flush gets no further than a request that would be refused.
            return self.queue.metrics_done(flush);
        }
        if !(is_asked || is_due) {
            return self.send_adopted(now);
        }
        self.next = now.checked_add(self.interval);
        if self.is_unwanted {
            return self.queue.metrics_done(flush);
        }
        let snapshot = self.hub.snapshot();
        let metrics = self.reader.metrics(&snapshot);
        if metrics.is_empty() {
            return self.queue.metrics_done(flush);
        }
        let request = request(&self.resource, metrics);
        let Some(transport) = &self.transport else {
            self.print(&request, snapshot);
            return self.queue.metrics_done(flush);
        };
        let message = match transport.protocol() {
            // Numbers and texts only: it has no way to fail.
            Protocol::HttpJson => serde_json::to_vec(&request).unwrap_or_default(),
            Protocol::HttpProtobuf | Protocol::Grpc => request.encode_to_vec(),
        };
        let answer = transport.clone().send(transport.body(message));
        self.has_all = false;
        self.in_flight.spawn(async move { (Sent::Own { snapshot, flush }, answer.await) });
    }

    /// Takes requests over that another process could not get rid of.
    pub(super) fn adopt(&mut self, requests: Vec<AdoptedMetrics>) {
        self.adopted.extend(requests);
    }

    /// Those of them that are done with.
    pub(super) fn take_finished(&mut self) -> Vec<(usize, Place)> {
        std::mem::take(&mut self.finished)
    }

    fn send_adopted(&mut self, now: Instant) {
        if self.retry_adopted_at.is_some_and(|at| now < at) {
            return;
        }
        let Some(adopted) = self.adopted.pop_front() else { return };
        let request = (!self.is_unwanted).then_some(self.transport.as_ref()).flatten();
        let Some(transport) = request else { return self.finish_adopted(&adopted) };
        let message = match transport.protocol() {
            Protocol::HttpJson => ExportMetricsServiceRequest::decode(&*adopted.request)
                .ok()
                .and_then(|request| serde_json::to_vec(&request).ok())
                .unwrap_or_default(),
            Protocol::HttpProtobuf | Protocol::Grpc => adopted.request.clone(),
        };
        let answer = transport.clone().send(transport.body(message));
        self.in_flight.spawn(async move { (Sent::Adopted(adopted), answer.await) });
    }

    fn finish_adopted(&mut self, adopted: &AdoptedMetrics) {
        self.finished.push((adopted.log, Place::of_record(adopted.position)));
    }

    /// At the end: what the backend has not taken, for the next start.
    pub(super) fn unsent(&self) -> Option<Vec<u8>> {
        if self.has_all || self.is_unwanted || self.transport.is_none() {
            return None;
        }
        let metrics = self.reader.metrics(&self.hub.snapshot());
        (!metrics.is_empty()).then(|| request(&self.resource, metrics).encode_to_vec())
    }

    fn print(&mut self, request: &ExportMetricsServiceRequest, snapshot: Snapshot) {
        let mut line = serde_json::to_vec(request).unwrap_or_default();
        line.push(b'\n');
        let mut stdout = std::io::stdout().lock();
        let error = stdout.write_all(&line).and_then(|()| stdout.flush()).err();
        self.queue.metrics_sent(error.map(|error| format!("cannot print metrics: {error}")));
        self.reader.acknowledge(snapshot);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.in_flight.is_empty() {
            return None;
        }
        let adopted = (!self.adopted.is_empty()).then(|| self.retry_adopted_at.unwrap_or_else(Instant::now));
        let due = [self.next, adopted].into_iter().flatten().min()?;
        Some(self.pace.not_before().map_or(due, |not_before| not_before.max(due)))
    }

    /// Waits for the answer and books it; never returns while nothing is in flight.
    pub(super) async fn answered(&mut self) {
        match self.in_flight.join_next().await {
            Some(Ok((sent, answer))) => self.book(sent, answer),
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    fn book(&mut self, sent: Sent, answer: Answer) {
        let now = Instant::now();
        let (snapshot, flush) = match sent {
            Sent::Own { snapshot, flush } => (snapshot, flush),
            Sent::Adopted(adopted) => {
                if let Verdict::Retry(after) = answer.verdict {
                    self.retry_adopted_at = Some(self.pace.failed(after, now, random_share()));
                    self.adopted.push_back(adopted);
                } else {
                    self.finish_adopted(&adopted);
                }
                return;
            }
        };
        let rejected = answer.rejected > 0;
        let error = answer.error.map(|error| match rejected {
            true => format!("{} data points were refused: {error}", answer.rejected),
            false => error,
        });
        match answer.verdict {
            Verdict::Accepted => {
                self.pace.settled();
                self.has_all = true;
                self.reader.acknowledge(snapshot);
            }
            // Not before the backend wants it, even if that is longer than the interval.
            Verdict::Retry(after) => self.next = Some(self.pace.failed(after, now, random_share())),
            Verdict::TooLarge | Verdict::Rejected => {
                self.pace.settled();
                self.is_unwanted = answer.is_unknown_signal;
                // Sent again it would be refused again; what it told is lost to this backend.
                self.reader.acknowledge(snapshot);
            }
        }
        let is_taken = answer.verdict == Verdict::Accepted;
        if is_taken {
            self.queue.is_back(SignalName::Metrics);
        }
        match (&error, answer.verdict) {
            (None, _) => {}
            (Some(error), Verdict::Retry(_)) => {
                self.queue.tell_away(SignalName::Metrics, error, "; they are sent later");
            }
            (Some(error), Verdict::Accepted) => self.queue.tell(SignalName::Metrics, error, ""),
            (Some(error), Verdict::TooLarge | Verdict::Rejected) => {
                let then = if self.is_unwanted {
                    "; OTEL_METRICS_EXPORTER=none says so in advance; no further metrics are sent there"
                } else {
                    "; what they told is lost there"
                };
                self.queue.tell(SignalName::Metrics, error, then);
            }
        }
        self.queue.metrics_sent(if is_taken && !rejected { None } else { error });
        self.queue.metrics_done(flush);
    }
}
