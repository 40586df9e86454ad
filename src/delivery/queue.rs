//! What waits to be delivered, and the counts of everything that did.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::record::{Record, RootKey, goes_with_its_chunk};
use super::{DeliveryConfig, DeliveryStatus, Refused, SignalName};
use crate::encode::span::append_field;
use crate::pipeline::shard::{Chunk, Shards};

/// Shared by whoever offers, whoever flushes and the net thread.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Tells the net thread that there is something to look at.
    pub(super) wake: Notify,
    /// Tells those who flush that something is done.
    progress: Condvar,
    max_bytes: usize,
    max_spans: u64,
    hold: Duration,
    has_metrics: bool,
    tell: Option<fn(&str)>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    waiting_spans: u64,
    waiting_bytes: usize,
    /// When the oldest of `waiting` came.
    waiting_since: Option<Instant>,
    held: HashMap<RootKey, Held>,
    /// Verdicts that came before their root.
    early: HashMap<RootKey, Vec<u8>>,
    /// Bytes waiting, held and in requests.
    bytes: usize,
    /// Spans that are done with, whatever became of them.
    done_spans: u64,
    /// How many flushes are on.
    flushes: u32,
    /// The number of the last flush that asked for metrics, and of the last whose metrics are done with.
    metrics_flush: u64,
    metrics_flushed: u64,
    /// Whether the backend of a signal is known to be away.
    #[cfg(feature = "otlp")]
    away: [bool; 2],
    is_stopped: bool,
    has_thread_ended: bool,
    status: DeliveryStatus,
}

enum Waiting {
    /// The frames of a chunk from this one on.
    Chunk { chunk: Arc<Chunk>, next: usize },
    /// One span message.
    Root(Vec<u8>),
}

struct Held {
    message: Vec<u8>,
    since: Instant,
}

/// How many verdicts without a root are kept.
const MAX_EARLY: usize = 1_024;
/// How many sentences are kept for the user.
const MAX_NOTES: usize = 32;
/// Tag and length in front of a message, at most.
const FIELD_HEAD: usize = 6;

/// Ready-made `ScopeSpans.spans` fields, taken out of the queue together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) fields: Vec<u8>,
    /// Where each field ends.
    pub(super) ends: Vec<usize>,
}

impl Batch {
    pub(super) fn spans(&self) -> u64 {
        self.ends.len() as u64
    }

    fn push(&mut self, field: &[u8]) {
        self.fields.extend_from_slice(field);
        self.ends.push(self.fields.len());
    }

    fn push_message(&mut self, message: &[u8]) {
        append_field(&mut self.fields, 0x12, message);
        self.ends.push(self.fields.len());
    }
}

/// What became of spans at their destination.
pub(super) enum Done {
    #[cfg(feature = "otlp")]
    Acked,
    Written,
    #[cfg(feature = "otlp")]
    Rejected,
    Dropped(&'static str),
}

impl Queue {
    pub(super) fn new(config: &DeliveryConfig) -> Self {
        Queue {
            state: Mutex::default(),
            wake: Notify::new(),
            progress: Condvar::new(),
            max_bytes: config.max_queue_bytes,
            max_spans: config.max_queue_spans,
            hold: config.hold,
            #[cfg(feature = "otlp")]
            has_metrics: config.metrics.is_some(),
            #[cfg(not(feature = "otlp"))]
            has_metrics: false,
            tell: config.tell,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn offer(&self, record: Record) -> Result<(), Refused> {
        let taken = {
            let mut state = self.state();
            let limits = (self.max_bytes, self.max_spans);
            match record {
                Record::Traces(chunk) => state.offer_chunk(chunk, limits),
                Record::HeldRoot { key, message } => state.offer_root(key, message, limits),
                Record::RootAttributes { key, attributes } => state.offer_verdict(key, attributes),
            }
        };
        self.wake.notify_one();
        taken
    }

    pub(super) fn flush(&self, deadline: Instant) -> DeliveryStatus {
        let mut state = self.state();
        let target = state.status.offered_spans;
        state.flushes = state.flushes.saturating_add(1);
        state.release_held(|_| true);
        drop(state);
        self.wake.notify_one();
        let mut state = self.state();
        let mut flush = 0;
        if self.has_metrics {
            // Spans first, so that the metrics count them as delivered; if they cannot be, metrics still get their
            // half of the time.
            let now = Instant::now();
            let half = deadline.saturating_duration_since(now).checked_div(2).unwrap_or_default();
            let half = now.checked_add(half).unwrap_or(deadline);
            state = self.wait_until(state, half, |state| state.done_spans >= target);
            state.metrics_flush = state.metrics_flush.saturating_add(1);
            flush = state.metrics_flush;
            self.wake.notify_one();
        }
        let mut state = self.wait_until(state, deadline, |state| {
            state.done_spans >= target && state.metrics_flushed >= flush
        });
        state.flushes = state.flushes.saturating_sub(1);
        DeliveryStatus { is_complete: state.done_spans >= target, ..state.current_status() }
    }

    /// Waits until something holds, the thread has ended, or `deadline`.
    fn wait_until<'q>(
        &'q self,
        mut state: MutexGuard<'q, State>,
        deadline: Instant,
        holds: impl Fn(&State) -> bool,
    ) -> MutexGuard<'q, State> {
        while !holds(&state) && !state.has_thread_ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.progress.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    pub(super) fn stop(&self) {
        self.state().is_stopped = true;
        self.wake.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// For the net thread, when it ends for whatever reason: nobody waits for it any more.
    pub(super) fn thread_ended(&self, error: Option<String>) {
        let mut state = self.state();
        state.is_stopped = true;
        state.has_thread_ended = true;
        if error.is_some() {
            state.status.last_error = error;
        }
        drop(state);
        self.progress.notify_all();
    }

    pub(super) fn status(&self) -> DeliveryStatus {
        self.state().current_status()
    }

    /// Sends on the roots that have waited long enough.
    pub(super) fn release_overdue_roots(&self, now: Instant) {
        let hold = self.hold;
        self.state().release_held(|held| now.saturating_duration_since(held.since) >= hold);
    }

    /// When there is next something to do without anybody's word: a request to be sent half full, or a root that
    /// has waited long enough.
    pub(super) fn next_deadline(&self, send_delay: Duration) -> Option<Instant> {
        let state = self.state();
        let send = state.waiting_since.and_then(|since| since.checked_add(send_delay));
        let release = state.held.values().filter_map(|held| held.since.checked_add(self.hold)).min();
        match (send, release) {
            (Some(send), Some(release)) => Some(send.min(release)),
            (send, release) => send.or(release),
        }
    }

    /// The next request's spans, if it is full, has waited `send_delay`, or somebody flushes.
    pub(super) fn take_batch(&self, config: &DeliveryConfig, shards: &Shards, now: Instant) -> Option<Batch> {
        let mut state = self.state();
        let waited = state
            .waiting_since
            .is_some_and(|since| now.saturating_duration_since(since) >= config.send_delay);
        let is_full = state.waiting_spans >= config.max_request_spans as u64
            || state.waiting_bytes >= config.max_request_bytes;
        if state.waiting.is_empty() || !(waited || is_full || state.flushes > 0 || state.is_stopped) {
            return None;
        }
        let mut batch = Batch::default();
        while let Some(next) = state.waiting.pop_front() {
            match next {
                Waiting::Root(message) => {
                    let size = message.len().saturating_add(FIELD_HEAD);
                    if !has_room(&batch, size, config) {
                        state.waiting.push_front(Waiting::Root(message));
                        break;
                    }
                    batch.push_message(&message);
                    // The hold counted the message's bytes; from here on the batch's count.
                    state.bytes = state.bytes.saturating_sub(message.len());
                    state.waiting_bytes = state.waiting_bytes.saturating_sub(message.len());
                    let field = batch
                        .ends
                        .len()
                        .checked_sub(2)
                        .and_then(|at| batch.ends.get(at))
                        .copied()
                        .unwrap_or(0);
                    state.bytes = state.bytes.saturating_add(batch.fields.len().saturating_sub(field));
                }
                Waiting::Chunk { chunk, mut next } => {
                    let mut is_done = true;
                    while let Some(head) = chunk.heads.get(next) {
                        if goes_with_its_chunk(head) {
                            let field = chunk.field(head);
                            if !has_room(&batch, field.len(), config) {
                                is_done = false;
                                break;
                            }
                            batch.push(field);
                            state.waiting_bytes = state.waiting_bytes.saturating_sub(field.len());
                        }
                        next = next.saturating_add(1);
                    }
                    if !is_done {
                        state.waiting.push_front(Waiting::Chunk { chunk, next });
                        break;
                    }
                    shards.pool.give(chunk);
                }
            }
        }
        state.waiting_spans = state.waiting_spans.saturating_sub(batch.spans());
        if state.waiting.is_empty() {
            state.waiting_since = None;
        }
        Some(batch)
    }

    /// Books what became of a batch of which `bytes` were counted, all or part of it.
    pub(super) fn done(&self, outcomes: &[(Done, u64)], bytes: usize, error: Option<String>) {
        let mut state = self.state();
        for (outcome, spans) in outcomes.iter().filter(|(_, spans)| *spans > 0) {
            let status = &mut state.status;
            let count = match outcome {
                #[cfg(feature = "otlp")]
                Done::Acked => &mut status.acked_spans,
                Done::Written => &mut status.written_spans,
                #[cfg(feature = "otlp")]
                Done::Rejected => &mut status.rejected_spans,
                Done::Dropped(reason) => status.dropped.entry(reason).or_default(),
            };
            *count = count.saturating_add(*spans);
            state.done_spans = state.done_spans.saturating_add(*spans);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        if error.is_some() {
            state.status.last_error = error;
        }
        drop(state);
        self.progress.notify_all();
    }

    /// Spans that went into the file and on to a backend, which decides what became of them.
    #[cfg(feature = "otlp")]
    pub(super) fn also_written(&self, spans: u64, error: Option<String>) {
        let mut state = self.state();
        state.status.written_spans = state.status.written_spans.saturating_add(spans);
        if error.is_some() {
            state.status.last_error = error;
        }
    }

    #[cfg(feature = "otlp")]
    pub(super) fn count_request(&self, is_retry: bool) {
        let mut state = self.state();
        state.status.requests = state.status.requests.saturating_add(1);
        state.status.retries = state.status.retries.saturating_add(u64::from(is_retry));
    }

    #[cfg(feature = "otlp")]
    pub(super) fn note_error(&self, error: String) {
        self.state().status.last_error = Some(error);
    }

    /// Tells the user that a backend cannot be had, once until it was had again: while it is away the reasons vary.
    #[cfg(feature = "otlp")]
    pub(super) fn tell_away(&self, about: SignalName, error: &str, then: &str) {
        let was_away =
            self.state().away.get_mut(about as usize).is_some_and(|away| std::mem::replace(away, true));
        if !was_away {
            self.tell(about, error, then);
        }
    }

    /// A backend was had.
    #[cfg(feature = "otlp")]
    pub(super) fn is_back(&self, about: SignalName) {
        if let Some(away) = self.state().away.get_mut(about as usize) {
            *away = false;
        }
    }

    /// Tells the user what went wrong, each sentence once. `then`: what becomes of it.
    pub(super) fn tell(&self, about: SignalName, error: &str, then: &str) {
        let sentence = match about {
            SignalName::Spans => format!("spans: {error}{then}"),
            #[cfg(feature = "otlp")]
            SignalName::Metrics => format!("metrics: {error}{then}"),
        };
        {
            let mut state = self.state();
            let notes = &mut state.status.notes;
            if notes.len() >= MAX_NOTES || notes.contains(&sentence) {
                return;
            }
            notes.push(sentence.clone());
        }
        if let Some(tell) = self.tell {
            tell(&sentence);
        }
    }

    /// The number of the last flush that asked for metrics.
    #[cfg(feature = "otlp")]
    pub(super) fn metrics_flush(&self) -> u64 {
        self.state().metrics_flush
    }

    /// The number of the last flush whose metrics are done with.
    #[cfg(feature = "otlp")]
    pub(super) fn metrics_flushed(&self) -> u64 {
        self.state().metrics_flushed
    }

    /// Metrics collected after flush number `flush` are done with.
    #[cfg(feature = "otlp")]
    pub(super) fn metrics_done(&self, flush: u64) {
        let mut state = self.state();
        state.metrics_flushed = state.metrics_flushed.max(flush);
        drop(state);
        self.progress.notify_all();
    }

    /// Books a request with metrics.
    #[cfg(feature = "otlp")]
    pub(super) fn metrics_sent(&self, error: Option<String>) {
        let mut state = self.state();
        match error {
            None => state.status.metrics_requests = state.status.metrics_requests.saturating_add(1),
            error => state.status.last_metrics_error = error,
        }
    }
}

fn has_room(batch: &Batch, size: usize, config: &DeliveryConfig) -> bool {
    batch.ends.is_empty()
        || (batch.ends.len() < config.max_request_spans
            && batch.fields.len().saturating_add(size) <= config.max_request_bytes)
}

impl State {
    fn admit(
        &mut self,
        spans: u64,
        bytes: usize,
        (max_bytes, max_spans): (usize, u64),
    ) -> Result<(), Refused> {
        let pending = self.status.offered_spans.saturating_sub(self.done_spans);
        self.status.offered_spans = self.status.offered_spans.saturating_add(spans);
        let reason = if self.is_stopped {
            "after_shutdown"
        } else if self.bytes.saturating_add(bytes) > max_bytes || pending.saturating_add(spans) > max_spans {
            "queue_full"
        } else {
            self.bytes = self.bytes.saturating_add(bytes);
            return Ok(());
        };
        let dropped = self.status.dropped.entry(reason).or_default();
        *dropped = dropped.saturating_add(spans);
        self.done_spans = self.done_spans.saturating_add(spans);
        Err(Refused)
    }

    fn offer_chunk(&mut self, chunk: Arc<Chunk>, limits: (usize, u64)) -> Result<(), Refused> {
        let heads = chunk.heads.iter().filter(|head| goes_with_its_chunk(head));
        let (spans, bytes) = heads.fold((0u64, 0usize), |(spans, bytes), head| {
            (spans.saturating_add(1), bytes.saturating_add(chunk.field(head).len()))
        });
        self.admit(spans, bytes, limits)?;
        self.wait(Waiting::Chunk { chunk, next: 0 }, spans, bytes);
        Ok(())
    }

    fn offer_root(&mut self, key: RootKey, message: Vec<u8>, limits: (usize, u64)) -> Result<(), Refused> {
        self.admit(1, message.len(), limits)?;
        if let Some(attributes) = self.early.remove(&key) {
            self.send_root(message, &attributes);
        } else if let Some(same) = self.held.insert(key, Held { message, since: Instant::now() }) {
            // Ids are random; two roots of one id are a program's own doing, and both are sent.
            self.send_root(same.message, &[]);
        }
        Ok(())
    }

    fn offer_verdict(&mut self, key: RootKey, attributes: Vec<u8>) -> Result<(), Refused> {
        match self.held.remove(&key) {
            Some(held) => self.send_root(held.message, &attributes),
            None if self.is_stopped => return Err(Refused),
            None => {
                // Full of verdicts whose roots were refused: none of them will be asked for.
                if self.early.len() >= MAX_EARLY {
                    self.early.clear();
                }
                self.early.insert(key, attributes);
            }
        }
        Ok(())
    }

    fn send_root(&mut self, mut message: Vec<u8>, attributes: &[u8]) {
        message.extend_from_slice(attributes);
        self.bytes = self.bytes.saturating_add(attributes.len());
        let bytes = message.len();
        self.wait(Waiting::Root(message), 1, bytes);
    }

    fn release_held(&mut self, is_due: impl Fn(&Held) -> bool) {
        let mut due: Vec<RootKey> =
            self.held.iter().filter(|(_, held)| is_due(held)).map(|(key, _)| *key).collect();
        due.sort_unstable_by_key(|key| (key.trace_id, key.span_id));
        for key in due {
            if let Some(held) = self.held.remove(&key) {
                self.status.roots_without_verdict = self.status.roots_without_verdict.saturating_add(1);
                self.send_root(held.message, &[]);
            }
        }
    }

    fn wait(&mut self, waiting: Waiting, spans: u64, bytes: usize) {
        if spans == 0 {
            return;
        }
        self.waiting.push_back(waiting);
        self.waiting_spans = self.waiting_spans.saturating_add(spans);
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    fn current_status(&self) -> DeliveryStatus {
        DeliveryStatus {
            pending_spans: self.status.offered_spans.saturating_sub(self.done_spans),
            held_roots: self.held.len() as u64,
            ..self.status.clone()
        }
    }
}
