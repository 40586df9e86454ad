//! From finished spans to a backend or a file, at least once.
//!
//! One thread of our own, `longpole-net`, with a runtime of its own: the program's runtime is never needed, blocked
//! or assumed. Spans wait in one bounded queue; what does not fit is refused and counted. While the backend is away
//! they wait there. A closing thread, and the io and run threads, never wait for any of it.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[cfg(feature = "otlp")]
mod backend;
#[cfg(feature = "otlp")]
mod endpoint;
mod holding;
#[cfg(feature = "otlp")]
pub(crate) mod http_client;
mod loss_news;
#[cfg(feature = "otlp")]
mod metrics_sender;
mod net_thread;
mod offering;
mod queue;
pub(crate) mod record;
#[cfg(feature = "otlp")]
mod recovery;
mod request;
#[cfg(feature = "otlp")]
pub(crate) mod retry;
#[cfg(feature = "otlp")]
mod span_exporter;
mod spans_file;
#[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "there is no backend to keep spans for"))]
pub(crate) mod spool;
mod state;
#[cfg(feature = "otlp")]
mod transport;
mod waiting;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "otlp")]
pub(crate) use endpoint::{Endpoint, endpoint};
#[cfg(test)]
pub(crate) use holding::UNDECIDED_BYTES;
pub(crate) use loss_news::LossNews;
#[cfg(feature = "otlp")]
pub(crate) use metrics_sender::{MetricsConfig, MetricsTarget};
#[cfg(feature = "otlp")]
pub(crate) use span_exporter::AnyExporter;
pub(crate) use spans_file::{SpansOutput, check as check_spans_file};

use crate::delivery::queue::Queue;
use crate::delivery::record::{Record, SpanKey};
use crate::delivery::waiting::RequestLimits;
use crate::pipeline::shard::Shards;
use crate::process_identity::ProcessIdentity;

/// How a request is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    HttpProtobuf,
    HttpJson,
    Grpc,
}

/// What is known of a backend before its address is checked.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct EndpointSettings {
    pub(crate) url: String,
    pub(crate) protocol: Protocol,
    /// Values are secrets.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Option<Duration>,
    /// The longest wait before a request is sent again, unless the backend asks for more.
    pub(crate) max_backoff: Option<Duration>,
    pub(crate) is_compressed: bool,
    /// For an address without a scheme.
    pub(crate) is_insecure: bool,
    /// PEM files: whom to trust, and who we are.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
}

impl std::fmt::Debug for EndpointSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointSettings")
            .field("url", &crate::privacy::shown_address(&self.url))
            .field("protocol", &self.protocol)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("is_compressed", &self.is_compressed)
            .finish_non_exhaustive()
    }
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalName {
    Spans,
    #[cfg(feature = "otlp")]
    Metrics,
}

/// Without the `otlp` feature there is no endpoint to send to.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
pub(crate) enum Endpoint {}

/// Nothing can be sent.
#[cfg(not(feature = "otlp"))]
#[derive(Debug, thiserror::Error)]
#[error("longpole was built without its otlp feature")]
pub(crate) struct EndpointError;

#[cfg(not(feature = "otlp"))]
pub(crate) fn endpoint(_settings: &EndpointSettings) -> Result<Endpoint, EndpointError> {
    Err(EndpointError)
}

/// Where spans go and how much may wait.
#[derive(Debug)]
pub(crate) struct DeliveryConfig {
    /// An encoded `Resource` message.
    pub(crate) resource: Vec<u8>,
    /// An encoded `InstrumentationScope` message.
    pub(crate) scope: Vec<u8>,
    #[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "there is none"))]
    pub(crate) endpoint: Option<Endpoint>,
    /// Takes the spans in the endpoint's place.
    #[cfg(feature = "otlp")]
    pub(crate) exporter: Option<AnyExporter>,
    pub(crate) spans_output: Option<SpansOutput>,
    #[cfg(feature = "otlp")]
    pub(crate) metrics: Option<MetricsConfig>,
    /// Prints what the user should know at once.
    pub(crate) tell: Option<fn(&str)>,
    /// Spans waiting, held and in flight, in bytes.
    pub(crate) max_queue_bytes: usize,
    /// The same in spans.
    pub(crate) max_queue_spans: u64,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_request_spans: usize,
    pub(crate) max_in_flight: usize,
    /// How long a request that is not full waits for more spans.
    pub(crate) send_delay: Duration,
    /// How long a root waits for its verdict.
    pub(crate) hold: Duration,
    /// Where spans are kept until they are acknowledged; `None`: in memory alone.
    pub(crate) spool: Option<spool::SpoolConfig>,
    /// Whether a trace is only sent once its run was found worth it.
    pub(crate) keeps_by_outcome: bool,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        DeliveryConfig {
            resource: Vec::new(),
            scope: Vec::new(),
            endpoint: None,
            #[cfg(feature = "otlp")]
            exporter: None,
            spans_output: None,
            #[cfg(feature = "otlp")]
            metrics: None,
            tell: None,
            max_queue_bytes: 16 << 20,
            max_queue_spans: u64::MAX,
            max_request_bytes: 1 << 20,
            max_request_spans: 2_048,
            max_in_flight: 4,
            send_delay: Duration::from_millis(200),
            hold: Duration::from_secs(10),
            spool: None,
            keeps_by_outcome: false,
        }
    }
}

/// Counts at one moment. `offered = acked + written + rejected + discarded + dropped + pending`, where spans that go
/// to a backend and to a file count by what became of them at the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveryStatus {
    pub(crate) offered_spans: u64,
    pub(crate) acked_spans: u64,
    pub(crate) written_spans: u64,
    pub(crate) rejected_spans: u64,
    /// By reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    pub(crate) pending_spans: u64,
    /// Of those, the ones on disk: a later start finds them.
    pub(crate) spooled_spans: u64,
    /// Of those, the ones only a later start will send.
    pub(crate) left_spans: u64,
    /// Not sent because their run was not worth it.
    pub(crate) discarded_spans: u64,
    /// Spans of processes that are gone, taken by the backend.
    pub(crate) recovered_spans: u64,
    /// Those that could not be sent, by reason.
    pub(crate) recovery_losses: BTreeMap<&'static str, u64>,
    pub(crate) held_roots: u64,
    pub(crate) roots_without_verdict: u64,
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    pub(crate) last_error: Option<String>,
    /// Requests with metrics that were taken.
    pub(crate) metrics_requests: u64,
    /// What went wrong last with metrics.
    pub(crate) last_metrics_error: Option<String>,
    /// What the user should know, each told once.
    pub(crate) notes: Vec<String>,
    /// For a flush or shutdown: whether everything offered before it is done with.
    pub(crate) is_complete: bool,
}

/// The sending side of one layer.
pub(crate) struct Delivery {
    queue: Arc<Queue>,
    takes_spans: bool,
    keeps_by_outcome: bool,
    has_spool: bool,
    process: ProcessIdentity,
}

impl DeliveryConfig {
    fn request_limits(&self) -> RequestLimits {
        RequestLimits { bytes: self.max_request_bytes, spans: self.max_request_spans }
    }

    /// Whether the thread can begin anew with it: an exporter of the program's is gone with the first.
    fn can_restart(&self) -> bool {
        self.endpoint.is_some() || self.spans_output.is_some()
    }

    fn takes_spans(&self) -> bool {
        let is_sent = self.endpoint.is_some() || self.spans_output.is_some();
        #[cfg(feature = "otlp")]
        let is_sent = is_sent || self.exporter.is_some();
        is_sent
    }
}

/// The record was not taken; its spans are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Starts `longpole-net`.
pub(crate) fn start(config: DeliveryConfig, shards: Arc<Shards>) -> std::io::Result<Delivery> {
    let queue = Arc::new(Queue::new(&config, shards));
    let (takes_spans, keeps_by_outcome) = (config.takes_spans(), config.keeps_by_outcome);
    let has_spool = config.spool.is_some();
    net_thread::spawn(config, queue.clone())?;
    Ok(Delivery {
        queue,
        takes_spans,
        keeps_by_outcome,
        has_spool,
        process: ProcessIdentity::of_this_process(),
    })
}

impl Delivery {
    /// Takes a record for delivery. Never blocks longer than a push.
    pub(crate) fn offer(&self, record: Record) -> Result<(), Refused> {
        if !self.takes_spans {
            return Ok(());
        }
        self.queue.offer(record)
    }

    /// Waits until everything offered before this call is done with, or `deadline`. Roots that still wait for a
    /// verdict are sent without: whoever flushes has handed over the verdicts there are.
    pub(crate) fn flush(&self, deadline: Instant) -> DeliveryStatus {
        self.queue.flush(deadline)
    }

    /// Flushes and ends the thread. Later records are refused.
    pub(crate) fn shutdown(&self, deadline: Instant) -> DeliveryStatus {
        // A little of the time is for leaving the disk in order.
        let left = deadline.saturating_duration_since(Instant::now());
        let flush_until = deadline.checked_sub(left.checked_div(16).unwrap_or_default()).unwrap_or(deadline);
        let is_complete = self.queue.flush(flush_until).is_complete;
        self.queue.stop(deadline);
        DeliveryStatus { is_complete, ..self.queue.status() }
    }

    /// Replaces what is on disk of spans that are still open: what a later start sends if this process dies.
    pub(crate) fn write_open(&self, spans: &[(SpanKey, Vec<u8>)]) {
        self.queue.write_open(spans);
    }

    /// Strikes spans that have ended from those.
    pub(crate) fn strike_open(&self, ended: &[SpanKey]) {
        self.queue.strike_open(ended);
    }

    /// Whether traces are only sent once their runs were found worth it.
    pub(crate) fn keeps_by_outcome(&self) -> bool {
        self.keeps_by_outcome
    }

    /// Whether spans are kept on disk until they are acknowledged.
    pub(crate) fn has_spool(&self) -> bool {
        self.has_spool
    }

    /// Whether spans are wanted; else it sends metrics only.
    pub(crate) fn takes_spans(&self) -> bool {
        self.takes_spans
    }

    pub(crate) fn status(&self) -> DeliveryStatus {
        self.queue.status()
    }

    /// Spans that will not arrive, by reason; those a backend rejected are counted by [`DeliveryStatus`].
    pub(crate) fn losses(&self) -> BTreeMap<String, u64> {
        let (dropped, unaccounted) = self.queue.losses();
        let unaccounted = Some(("unaccounted", unaccounted)).filter(|(_, spans)| *spans > 0);
        let dropped = dropped.into_iter().chain(unaccounted);
        dropped.map(|(reason, spans)| (format!("delivery_{reason}"), spans)).collect()
    }

    /// What earlier processes have left that could not be sent on, by reason.
    pub(crate) fn recovery_losses(&self) -> BTreeMap<String, u64> {
        let losses = self.queue.status().recovery_losses.into_iter();
        losses.map(|(reason, count)| (format!("recovery_{reason}"), count)).collect()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // A forked child has no thread to stop, and may wait for a lock for ever.
        if self.process.is_this_process() {
            self.queue.stop(Instant::now());
        }
    }
}
