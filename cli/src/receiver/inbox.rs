//! What a receiver keeps, how much of it, and what it counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longpole::decode::{self, DecodeError};
use longpole::span_record::SpanRecord;

/// How much a receiver takes.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Bytes of one request, packed and unpacked. Default: 64 MiB.
    pub(crate) request_bytes: usize,
    /// Bytes of all spans that are kept and all requests that are being read, as they are in memory. Default: 1 GiB,
    /// which is a million spans and more.
    pub(crate) memory_bytes: usize,
    /// Connections at a time; more wait until others are closed. Default: 1,024.
    pub(crate) connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { request_bytes: 64 << 20, memory_bytes: 1 << 30, connections: 1_024 }
    }
}

/// What a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// What came, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Spans that are kept.
    pub(crate) spans: u64,
    /// Requests with traces, metrics and logs that were taken.
    pub(crate) trace_requests: u64,
    pub(crate) metric_requests: u64,
    pub(crate) log_requests: u64,
    /// Requests that were refused, and why the first was.
    pub(crate) refused: u64,
    pub(crate) first_refusal: Option<String>,
    /// Parts of requests that could not be read, and the first of them.
    pub(crate) damaged: u64,
    pub(crate) first_damage: Option<String>,
    /// Requests that were refused because as much is kept as may be.
    pub(crate) too_much: u64,
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Problem {
    #[error("{0} is not read here; /v1/traces, /v1/metrics, /v1/logs and their gRPC services are")]
    UnknownPath(String),
    #[error("{0} is not what spans are sent with; POST is")]
    Method(String),
    #[error("content type {0:?} is not read; application/x-protobuf and application/json are")]
    ContentType(String),
    #[error("encoding {0:?} is not read; gzip, deflate and zstd are")]
    Encoding(String),
    #[error("the request is longer than {0} bytes")]
    TooLong(usize),
    #[error("{0} bytes are kept already, which is all that may be")]
    TooMuch(usize),
    #[error("the request was cut off")]
    CutOff(#[source] hyper::Error),
    #[error("the packed request is damaged")]
    Unpacking(#[source] std::io::Error),
    #[error("the gRPC message does not have the length it says")]
    Framing,
    #[error("the request cannot be read")]
    Decoding(#[source] DecodeError),
}

/// What was made of a request with spans: how many parts of it could not be read, and the first of them.
#[derive(Debug, Default)]
pub(super) struct Partly {
    pub(super) rejected: u64,
    pub(super) first: Option<String>,
}

/// Shared by everything of one receiver.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) limits: Limits,
    kept: Mutex<(Vec<SpanRecord>, Tally)>,
    bytes: Arc<AtomicUsize>,
    connections: AtomicUsize,
    requests: AtomicUsize,
    activity: AtomicU64,
}

impl Inbox {
    pub(super) fn new(limits: Limits) -> Self {
        Inbox {
            limits,
            kept: Mutex::default(),
            bytes: Arc::default(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            activity: AtomicU64::new(0),
        }
    }

    /// Takes in a request with spans: what can be read of it.
    pub(super) fn take_traces(&self, bytes: &[u8]) -> Result<Partly, Problem> {
        let limits = decode::Limits {
            document_bytes: self.limits.request_bytes,
            unpacked_bytes: self.limits.request_bytes as u64,
            keeps_attributes: true,
            ..decode::Limits::default()
        };
        let mut spans = Vec::new();
        let problems =
            decode::stream(bytes, &limits, &mut |span| spans.push(span)).map_err(Problem::Decoding)?;
        let mut hold = self.hold();
        // Names and other text of the spans take no more than the request did.
        let weight = spans.iter().map(SpanRecord::weight).fold(bytes.len(), usize::saturating_add);
        hold.grow(weight)?;
        hold.keep();
        let mut kept = self.kept();
        let (all, tally) = &mut *kept;
        tally.spans = tally.spans.saturating_add(spans.len() as u64);
        tally.trace_requests = tally.trace_requests.saturating_add(1);
        tally.damaged = tally.damaged.saturating_add(problems.len() as u64);
        let first = problems.first().map(with_cause);
        if tally.first_damage.is_none() {
            tally.first_damage.clone_from(&first);
        }
        all.append(&mut spans);
        Ok(Partly { rejected: problems.len() as u64, first })
    }

    /// Counts a request whose content nobody reads.
    pub(super) fn count(&self, signal: Signal) {
        let mut kept = self.kept();
        let requests = match signal {
            Signal::Traces => &mut kept.1.trace_requests,
            Signal::Metrics => &mut kept.1.metric_requests,
            Signal::Logs => &mut kept.1.log_requests,
        };
        *requests = requests.saturating_add(1);
    }

    pub(super) fn refuse(&self, problem: &Problem) {
        let mut kept = self.kept();
        let tally = &mut kept.1;
        tally.refused = tally.refused.saturating_add(1);
        tally.too_much = tally.too_much.saturating_add(u64::from(matches!(problem, Problem::TooMuch(_))));
        tally.first_refusal.get_or_insert_with(|| with_cause(problem));
    }

    pub(super) fn tally(&self) -> Tally {
        self.kept().1.clone()
    }

    pub(super) fn latest(&self) -> Option<Arc<str>> {
        self.kept().0.last().map(|span| span.name.clone())
    }

    pub(super) fn take(&self) -> (Vec<SpanRecord>, Tally) {
        std::mem::take(&mut *self.kept())
    }

    /// Whether no connection is open and no request is being read.
    pub(super) fn is_idle(&self) -> bool {
        self.connections.load(Ordering::SeqCst) == 0 && self.requests.load(Ordering::SeqCst) == 0
    }

    /// A number that changes whenever a connection is opened or closed, or a request begins or ends.
    pub(super) fn activity(&self) -> u64 {
        self.activity.load(Ordering::SeqCst)
    }

    /// To be held while a connection is open.
    pub(super) fn connection(self: &Arc<Self>) -> Presence {
        Presence::new(self, |inbox| &inbox.connections)
    }

    /// To be held while a request is being read and answered.
    pub(super) fn request(self: &Arc<Self>) -> Presence {
        Presence::new(self, |inbox| &inbox.requests)
    }

    /// Room for bytes, given back when it is dropped.
    pub(super) fn hold(&self) -> Hold {
        Hold { all: self.bytes.clone(), limit: self.limits.memory_bytes, held: 0 }
    }

    fn kept(&self) -> MutexGuard<'_, (Vec<SpanRecord>, Tally)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of the bytes that may be in memory.
#[derive(Debug)]
pub(super) struct Hold {
    all: Arc<AtomicUsize>,
    limit: usize,
    held: usize,
}

impl Hold {
    /// Makes room for more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.all.fetch_add(bytes, Ordering::Relaxed);
        self.held = self.held.saturating_add(bytes);
        if before.saturating_add(bytes) > self.limit { Err(Problem::TooMuch(self.limit)) } else { Ok(()) }
    }

    /// What it holds stays taken as long as the receiver is there.
    fn keep(mut self) {
        self.held = 0;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.all.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// Counts as one of something until it is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    inbox: Arc<Inbox>,
    of: fn(&Inbox) -> &AtomicUsize,
}

impl Presence {
    fn new(inbox: &Arc<Inbox>, of: fn(&Inbox) -> &AtomicUsize) -> Self {
        of(inbox).fetch_add(1, Ordering::SeqCst);
        inbox.activity.fetch_add(1, Ordering::SeqCst);
        Presence { inbox: inbox.clone(), of }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.inbox.activity.fetch_add(1, Ordering::SeqCst);
        (self.of)(&self.inbox).fetch_sub(1, Ordering::SeqCst);
    }
}

/// An error and what caused it, in one line.
pub(crate) fn with_cause(error: impl std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
