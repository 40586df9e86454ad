//! What waits to be delivered, and the counts of everything that did.
//!
//! Locks are taken in one order: the spool's, then the state's. How records come in is in `offering`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::record::SpanKey;
use super::spool::adopted::Preamble;
use super::spool::format::Kind;
use super::spool::{Spool, now};
use super::state::{Done, State};
use super::waiting::{Batch, Place, RequestLimits};
use super::{DeliveryConfig, DeliveryStatus, SignalName};
use crate::pipeline::pressure::Level;
use crate::pipeline::shard::Shards;

/// Shared by whoever offers, whoever flushes and the net thread.
pub(super) struct Queue {
    shards: Arc<Shards>,
    pub(super) spool: Option<Mutex<Spool>>,
    state: Mutex<State>,
    /// Tells the net thread that there is something to look at.
    pub(super) wake: Notify,
    /// Tells those who flush that something is done.
    pub(super) progress: Condvar,
    pub(super) max_bytes: usize,
    pub(super) max_spans: u64,
    pub(super) request_limits: RequestLimits,
    hold: Duration,
    has_metrics: bool,
    pub(super) keeps_by_outcome: bool,
    tell: Option<fn(&str)>,
}

/// How many sentences are kept for the user.
const MAX_NOTES: usize = 32;
/// How much is read from disk at a time.
const READ_BYTES: usize = 1 << 20;

impl Queue {
    pub(super) fn new(config: &DeliveryConfig, shards: Arc<Shards>) -> Self {
        let preamble = Preamble { resource: config.resource.clone(), scope: config.scope.clone() };
        Queue {
            shards,
            spool: config.spool.clone().map(|spool| Mutex::new(Spool::new(spool, preamble))),
            state: Mutex::default(),
            wake: Notify::new(),
            progress: Condvar::new(),
            max_bytes: config.max_queue_bytes,
            max_spans: config.max_queue_spans,
            request_limits: config.request_limits(),
            hold: config.hold,
            #[cfg(feature = "otlp")]
            has_metrics: config.metrics.is_some(),
            #[cfg(not(feature = "otlp"))]
            has_metrics: false,
            keeps_by_outcome: config.keeps_by_outcome,
            tell: config.tell,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spool(&self) -> Option<MutexGuard<'_, Spool>> {
        Some(self.spool.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn flush(&self, deadline: Instant) -> DeliveryStatus {
        let mut state = self.state();
        let target = state.status.offered_spans;
        state.flushes = state.flushes.saturating_add(1);
        state.has_new_flush = true;
        state.let_go(|holding| holding.release_all(), self.keeps_by_outcome);
        let undecided = state.holding.keep_overdue(Instant::now(), true);
        state.take_decided(undecided);
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
        let is_complete = state.done_spans >= target;
        drop(state);
        DeliveryStatus { is_complete, ..self.status() }
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

    /// Ends the net thread, and waits for it until `deadline`.
    pub(super) fn stop(&self, deadline: Instant) {
        let mut state = self.state();
        state.is_stopped = true;
        state.stop_deadline = Some(deadline);
        drop(state);
        self.wake.notify_one();
        drop(self.wait_until(self.state(), deadline, |_| false));
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    pub(super) fn stop_deadline(&self) -> Option<Instant> {
        self.state().stop_deadline
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

    /// For the net thread after a panic: the requests it held are gone. What of them is on disk is sent by the
    /// next start.
    pub(super) fn requests_lost(&self, error: String) {
        let mut state = self.state();
        let lost = std::mem::take(&mut state.sent_spans);
        let on_disk = if self.spool.is_some() { lost } else { 0 };
        state.status.left_spans = state.status.left_spans.saturating_add(on_disk);
        state.done_spans = state.done_spans.saturating_add(on_disk);
        state.drop_spans("delivery_panicked", lost.saturating_sub(on_disk));
        let kept = state.waiting_bytes;
        state.bytes = state.bytes.min(kept);
        state.status.last_error = Some(error);
        drop(state);
        self.progress.notify_all();
        self.tell_news();
    }

    pub(super) fn status(&self) -> DeliveryStatus {
        // Not while a slow disk holds it.
        let stored = self.spool.as_ref().and_then(|spool| Some(spool.try_lock().ok()?.stored_spans()));
        let mut state = self.state();
        if let Some(stored) = stored.filter(|_| !state.has_thread_ended) {
            state.status.spooled_spans = stored;
        }
        state.current_status()
    }

    /// Spans that were dropped, by reason, and by how much the counts do not add up. Cheap: every report asks.
    pub(super) fn losses(&self) -> (BTreeMap<&'static str, u64>, u64) {
        let state = self.state();
        (state.status.dropped.clone(), state.unaccounted())
    }

    /// Tells the closing threads how much of what may wait does: on disk if spans go there, else in memory.
    pub(super) fn tell_pressure(&self, spool: Option<&Spool>) {
        let level = match spool.and_then(Spool::fill) {
            Some((used, of)) => Level::of(used, of),
            None => Level::of(self.state().bytes as u64, self.max_bytes as u64),
        };
        self.shards.pressure().raise_delivery(level);
    }

    /// Sends on the roots and traces that have waited long enough.
    pub(super) fn release_overdue(&self, now: Instant) {
        let mut state = self.state();
        let is_last_read = state.flushes > 0 && !state.has_backlog;
        let hold = self.hold;
        state.let_go(|holding| holding.release_due(now, hold, is_last_read), self.keeps_by_outcome);
        if self.keeps_by_outcome {
            let decided = state.holding.keep_overdue(now, is_last_read);
            state.take_decided(decided);
        }
    }

    /// Whether somebody has begun to flush since this was asked last.
    #[cfg(feature = "otlp")]
    pub(super) fn take_new_flush(&self) -> bool {
        std::mem::take(&mut self.state().has_new_flush)
    }

    /// For the net thread, before it looks how long to sleep: from now on it is woken by what is new.
    pub(super) fn falls_asleep(&self) {
        self.state().falls_asleep(self.request_limits);
    }

    /// When there is next something to do without anybody's word: a request to be sent half full, or a root that
    /// has waited long enough.
    pub(super) fn next_deadline(&self, send_delay: Duration) -> Option<Instant> {
        let state = self.state();
        let send = state.waiting_since.and_then(|since| since.checked_add(send_delay));
        [send, state.holding.next_release(self.hold)].into_iter().flatten().min()
    }

    /// The next request's spans, if it is full, has waited `send_delay`, or somebody flushes.
    pub(super) fn take_batch(&self, config: &DeliveryConfig, now: Instant) -> Option<Batch> {
        let mut state = self.state();
        let waited = state
            .waiting_since
            .is_some_and(|since| now.saturating_duration_since(since) >= config.send_delay);
        let limits = self.request_limits;
        let is_due = waited
            || state.fills_a_request(limits)
            || state.flushes > 0
            || state.is_stopped
            || state.has_backlog;
        if state.waiting.is_empty() || !is_due {
            return None;
        }
        // Messages count without tag and length.
        let about = state.waiting_bytes.saturating_add(state.waiting.len()).min(limits.bytes);
        let mut batch = Batch::with_capacity(about);
        let mut moved = 0usize;
        while let Some(next) = state.waiting.pop_front() {
            let (left, bytes) = next.move_into(&mut batch, limits, &self.shards.pool);
            moved = moved.saturating_add(bytes);
            if let Some(left) = left {
                state.waiting.push_front(left);
                break;
            }
        }
        state.waiting_bytes = state.waiting_bytes.saturating_sub(moved);
        state.waiting_spans = state.waiting_spans.saturating_sub(batch.spans());
        state.sent_spans = state.sent_spans.saturating_add(batch.spans());
        // Roots were counted without tag and length.
        state.bytes = state.bytes.saturating_sub(moved).saturating_add(batch.fields.len());
        if state.waiting.is_empty() {
            state.waiting_since = None;
        }
        Some(batch)
    }

    /// Reads what is on disk only, if there is room for it in memory.
    pub(super) fn read_backlog(&self) {
        let wants = {
            let state = self.state();
            state.has_backlog && state.bytes < self.max_bytes / 2
        };
        let Some(mut spool) = self.spool().filter(|_| wants) else { return };
        let records = spool.read_backlog(READ_BYTES);
        let mut state = self.state();
        for record in records {
            state.take_read(record, self.keeps_by_outcome);
        }
        state.has_backlog = spool.has_backlog();
        state.take_spool_losses(&mut spool);
    }

    /// Notes on disk what is done with, unless somebody writes there. Gives back what is done of adopted logs.
    pub(super) fn settle(&self) -> Vec<(usize, Place)> {
        match &self.spool {
            Some(spool) => {
                if let Ok(mut spool) = spool.try_lock() {
                    self.settle_in(&mut spool);
                    self.tell_pressure(Some(&spool));
                }
            }
            None => self.tell_pressure(None),
        }
        self.tell_news();
        std::mem::take(&mut self.state().finished_adopted)
    }

    fn settle_in(&self, spool: &mut Spool) {
        let finished = std::mem::take(&mut self.state().finished);
        if finished.is_empty() {
            return;
        }
        for place in finished {
            place.record.into_iter().for_each(|record| spool.finish(record, place.spans));
            place.verdict.into_iter().for_each(|record| spool.finish(record, place.spans));
        }
        spool.advance();
    }

    /// Which files to bring to the disk, if something was written since this was asked last.
    pub(super) fn look_at_spool(&self) -> Vec<Arc<std::fs::File>> {
        if !std::mem::take(&mut self.state().is_spool_dirty) {
            return Vec::new();
        }
        let files = self.spool().map(|mut spool| {
            let files = spool.look();
            let mut state = self.state();
            state.has_backlog = spool.has_backlog();
            state.take_spool_losses(&mut spool);
            files
        });
        self.tell_news();
        files.unwrap_or_default()
    }

    pub(super) fn is_spool_dirty(&self) -> bool {
        self.state().is_spool_dirty
    }

    /// For the net thread at its end: what is not delivered stays for the next start. `metrics`: a request that
    /// nobody has taken.
    pub(super) fn close_spool(&self, metrics: Option<Vec<u8>>) -> Vec<Arc<std::fs::File>> {
        let Some(mut spool) = self.spool() else { return Vec::new() };
        if let Some(metrics) = metrics {
            let _ = spool.append(Kind::Metrics, 0, &[&metrics], true, now());
        }
        self.settle_in(&mut spool);
        let files = spool.look();
        let mut state = self.state();
        state.take_spool_losses(&mut spool);
        state.status.spooled_spans = spool.stored_spans();
        drop(state);
        spool.close();
        files
    }

    /// Replaces what is on disk of spans that are still open.
    pub(super) fn write_open(&self, spans: &[(SpanKey, Vec<u8>)]) {
        if let Some(mut spool) = self.spool() {
            spool.write_open(spans, now());
        }
    }

    /// Strikes spans that have ended from those.
    pub(super) fn strike_open(&self, ended: &[SpanKey]) {
        if let Some(mut spool) = self.spool() {
            spool.strike_open(ended);
        }
    }

    /// Books what became of a batch, all or part of it.
    pub(super) fn done(&self, outcomes: &[(Done, u64)], batch: Batch, error: Option<String>) {
        let mut state = self.state();
        let is_adopted = batch.adopted.is_some();
        for (outcome, spans) in outcomes.iter().filter(|(_, spans)| *spans > 0) {
            state.book(*outcome, *spans, is_adopted);
        }
        match batch.adopted {
            Some((log, _)) => state.finished_adopted.extend(batch.places.iter().map(|place| (log, *place))),
            None => {
                state.sent_spans = state.sent_spans.saturating_sub(batch.ends.len() as u64);
                state.finished.extend(batch.places);
                state.bytes = state.bytes.saturating_sub(batch.fields.len());
            }
        }
        if error.is_some() {
            state.status.last_error = error;
        }
        drop(state);
        self.progress.notify_all();
        self.tell_news();
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

    /// Counts spans of an adopted log that cannot be sent.
    #[cfg(feature = "otlp")]
    pub(super) fn adopted_lost(&self, reason: &'static str, count: u64) {
        self.state().book(Done::Dropped(reason), count, true);
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
        self.tell_once(match about {
            SignalName::Spans => format!("spans: {error}{then}"),
            #[cfg(feature = "otlp")]
            SignalName::Metrics => format!("metrics: {error}{then}"),
        });
    }

    pub(super) fn tell_once(&self, sentence: String) {
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

    /// Tells of losses, and what the spool has to say.
    pub(super) fn tell_news(&self) {
        let said = {
            let mut state = self.state();
            if !state.has_new_losses && state.unsaid.is_empty() {
                return;
            }
            state.has_new_losses = false;
            let mut said = std::mem::take(&mut state.unsaid);
            let State { loss_news, status, .. } = &mut *state;
            let losses = status.dropped.iter().map(|(reason, spans)| (*reason, *spans));
            said.extend(loss_news.due(losses, Instant::now()));
            said
        };
        said.into_iter().for_each(|sentence| self.tell_once(sentence));
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
