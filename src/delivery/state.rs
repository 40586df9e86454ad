//! What a queue holds and counts. Every change here is one step: whoever has the lock sees sums that add up.

use std::collections::VecDeque;
use std::time::Instant;

use super::DeliveryStatus;
use super::holding::{Decided, Fate, Holding, Released};
use super::loss_news::LossNews;
use super::record::SpanKey;
use super::spool::Spool;
use super::spool::adopted::{decision, root_attributes, span_messages};
use super::spool::format::{Kind, Position};
use super::spool::log::ReadRecord;
use super::waiting::{Place, RequestLimits, Waiting};
use crate::decode::otlp::span_ids;

/// See the module.
#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) waiting_spans: u64,
    pub(super) waiting_bytes: usize,
    /// When the oldest of `waiting` came.
    pub(super) waiting_since: Option<Instant>,
    pub(super) holding: Holding,
    /// Bytes waiting, held and in requests.
    pub(super) bytes: usize,
    /// Spans in requests.
    pub(super) sent_spans: u64,
    /// Spans on disk only.
    pub(super) disk_spans: u64,
    /// Records are on disk only: everything that follows goes there too, until they are read.
    pub(super) has_backlog: bool,
    /// Something was written since the files were looked at last.
    pub(super) is_spool_dirty: bool,
    /// Spans that are done with, whatever became of them.
    pub(super) done_spans: u64,
    /// Where they stand on disk, until that is noted there.
    pub(super) finished: Vec<Place>,
    /// The same of logs that were adopted, by number.
    pub(super) finished_adopted: Vec<(usize, Place)>,
    /// How many flushes are on.
    pub(super) flushes: u32,
    pub(super) has_new_flush: bool,
    /// The number of the last flush that asked for metrics, and of the last whose metrics are done with.
    pub(super) metrics_flush: u64,
    pub(super) metrics_flushed: u64,
    /// Whether the backend of a signal is known to be away.
    #[cfg(feature = "otlp")]
    pub(super) away: [bool; 2],
    /// What the net thread knows that there is to do.
    known_calls: [bool; 6],
    pub(super) is_stopped: bool,
    /// Until when whoever stops waits.
    pub(super) stop_deadline: Option<Instant>,
    pub(super) has_thread_ended: bool,
    pub(super) loss_news: LossNews,
    pub(super) has_new_losses: bool,
    /// Sentences to be told.
    pub(super) unsaid: Vec<String>,
    pub(super) status: DeliveryStatus,
}

/// What became of spans at their destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    #[cfg(feature = "otlp")]
    Acked,
    Written,
    #[cfg(feature = "otlp")]
    Rejected,
    Dropped(&'static str),
}

/// What was written of some spans.
#[derive(Default)]
pub(super) struct Written {
    pub(super) places: VecDeque<Place>,
    /// Spans on disk only.
    pub(super) on_disk: u64,
    /// Fields of spans that should have been, and are kept in memory after all, and how many.
    pub(super) rest: (Vec<u8>, u64),
    /// Spans that are neither there nor kept in memory.
    pub(super) lost: u64,
}

/// Whether there is room in memory for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    /// There is, but what came before is on disk only, so this should be too.
    IfNotOnDisk,
    No,
}

impl Written {
    /// Notes where so many spans were written. `fields` gives those that are kept in memory instead.
    pub(super) fn add(
        &mut self,
        record: Option<Position>,
        spans: u32,
        room: Room,
        fields: impl FnOnce() -> Vec<u8>,
    ) {
        let count = u64::from(spans);
        match (record, room) {
            (record, Room::Yes) => self.places.push_back(Place { record, verdict: None, spans }),
            (Some(_), _) => self.on_disk = self.on_disk.saturating_add(count),
            (None, Room::IfNotOnDisk) => {
                let (rest, kept) = &mut self.rest;
                rest.extend_from_slice(&fields());
                *kept = kept.saturating_add(count);
            }
            (None, Room::No) => self.lost = self.lost.saturating_add(count),
        }
    }
}

impl State {
    /// Counts spans that were handed over.
    pub(super) fn offered(&mut self, spans: u64) {
        self.status.offered_spans = self.status.offered_spans.saturating_add(spans);
    }

    /// Spans that are not done with.
    pub(super) fn pending(&self) -> u64 {
        self.status.offered_spans.saturating_sub(self.done_spans)
    }

    pub(super) fn drop_spans(&mut self, reason: &'static str, spans: u64) {
        if spans > 0 {
            self.book(Done::Dropped(reason), spans, false);
        }
    }

    /// Books what became of spans; `is_adopted`: another process handed them over.
    pub(super) fn book(&mut self, outcome: Done, spans: u64, is_adopted: bool) {
        let status = &mut self.status;
        let count = match (outcome, is_adopted) {
            #[cfg(feature = "otlp")]
            (Done::Acked, false) => &mut status.acked_spans,
            #[cfg(feature = "otlp")]
            (Done::Acked, true) => &mut status.recovered_spans,
            (Done::Written, _) => &mut status.written_spans,
            #[cfg(feature = "otlp")]
            (Done::Rejected, false) => &mut status.rejected_spans,
            #[cfg(feature = "otlp")]
            (Done::Rejected, true) => status.recovery_losses.entry("rejected").or_default(),
            (Done::Dropped(reason), false) => status.dropped.entry(reason).or_default(),
            (Done::Dropped(reason), true) => status.recovery_losses.entry(reason).or_default(),
        };
        *count = count.saturating_add(spans);
        self.has_new_losses |= matches!(outcome, Done::Dropped(_));
        if !is_adopted {
            self.done_spans = self.done_spans.saturating_add(spans);
        }
    }

    /// Books what was written of so many spans that were handed over.
    pub(super) fn booked(&mut self, spans: u64, written: &Written, spool: Option<&mut Spool>) {
        self.offered(spans);
        self.disk_spans = self.disk_spans.saturating_add(written.on_disk);
        self.drop_spans("queue_full", written.lost);
        if let Some(spool) = spool {
            self.is_spool_dirty = true;
            self.has_backlog = spool.has_backlog();
            self.take_spool_losses(spool);
        }
    }

    /// Books what the spool had to let go, and what it has to say.
    pub(super) fn take_spool_losses(&mut self, spool: &mut Spool) {
        let news = std::mem::take(&mut spool.news);
        for (reason, spans) in [("spool_full", news.dropped_full), ("spool_unreadable", news.unreadable)] {
            let spans = spans.min(self.disk_spans);
            self.disk_spans = self.disk_spans.saturating_sub(spans);
            self.drop_spans(reason, spans);
        }
        self.unsaid.extend(news.told);
    }

    pub(super) fn wait(&mut self, waiting: Waiting, spans: u64, bytes: usize) {
        if spans == 0 {
            return;
        }
        self.waiting.push_back(waiting);
        self.waiting_spans = self.waiting_spans.saturating_add(spans);
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    /// Lets a span go on, wait or go, as its trace's fate is. Its bytes are counted already.
    pub(super) fn decide_on_span(&mut self, message: &[u8], place: Place) {
        let Some((trace, _)) = span_ids(message) else {
            return self.wait(Waiting::Message { message: message.to_vec(), place }, 1, message.len());
        };
        match self.holding.fate(&trace) {
            Fate::Send => {
                self.wait(Waiting::Message { message: message.to_vec(), place }, 1, message.len());
            }
            Fate::Wait => {
                // What waits for a decision has a bound of its own.
                self.bytes = self.bytes.saturating_sub(message.len());
                self.holding.wait(trace, message, place, Instant::now());
            }
            Fate::Discard => {
                self.bytes = self.bytes.saturating_sub(message.len());
                self.discard(vec![place]);
            }
        }
    }

    fn discard(&mut self, places: Vec<Place>) {
        let spans = places.iter().map(|place| u64::from(place.spans)).sum();
        self.status.discarded_spans = self.status.discarded_spans.saturating_add(spans);
        self.done_spans = self.done_spans.saturating_add(spans);
        self.finished.extend(places);
    }

    /// Takes in what was decided.
    pub(super) fn take_decided(&mut self, decided: Decided) {
        for waiting in decided.sent {
            let (spans, bytes) = (waiting.spans(), waiting.bytes());
            self.bytes = self.bytes.saturating_add(bytes);
            self.wait(waiting, spans, bytes);
        }
        self.discard(decided.discarded);
    }

    /// Sends a root on; `waits`: not before it is decided whether its run is kept.
    pub(super) fn go_on(&mut self, released: Option<Released>, waits: bool) {
        let Some(Released { message, place, counted }) = released else { return };
        let added = message.len().saturating_sub(counted);
        self.bytes = self.bytes.saturating_add(added);
        if waits {
            self.decide_on_span(&message, place);
        } else {
            let bytes = message.len();
            self.wait(Waiting::Message { message, place }, 1, bytes);
        }
    }

    /// Sends roots on that get no verdict.
    pub(super) fn let_go(&mut self, release: impl FnOnce(&mut Holding) -> Vec<Released>, waits: bool) {
        for released in release(&mut self.holding) {
            self.status.roots_without_verdict = self.status.roots_without_verdict.saturating_add(1);
            self.go_on(Some(released), waits);
        }
    }

    /// Takes in a record that was read from disk.
    pub(super) fn take_read(&mut self, record: ReadRecord, by_outcome: bool) {
        let ReadRecord { position, kind, spans, payload } = record;
        self.disk_spans = self.disk_spans.saturating_sub(u64::from(spans));
        let place = Place { record: Some(position), verdict: None, spans };
        match kind {
            Kind::Traces | Kind::Undecided if !by_outcome => {
                let (bytes, waiting) = (payload.len(), Waiting::fields(payload, [place].into()));
                self.bytes = self.bytes.saturating_add(bytes);
                self.wait(waiting, u64::from(spans), bytes);
            }
            Kind::Traces | Kind::Undecided => {
                for message in span_messages(&payload) {
                    self.bytes = self.bytes.saturating_add(message.len());
                    self.decide_on_span(message, Place { spans: 1, ..place });
                }
            }
            Kind::HeldRoot => {
                self.bytes = self.bytes.saturating_add(payload.len());
                let released = match SpanKey::of(&payload) {
                    Some(key) => self.holding.hold(key, payload, place, Instant::now(), true),
                    None => Some(Released { counted: payload.len(), message: payload, place }),
                };
                self.go_on(released, by_outcome);
            }
            Kind::RootAttributes => {
                let read = root_attributes(&payload).map(|(key, attributes)| (key, attributes.to_vec()));
                let released =
                    read.and_then(|(key, attributes)| self.holding.verdict(key, attributes, false));
                match released {
                    Some(mut released) => {
                        released.place.verdict = Some(position);
                        self.go_on(Some(released), by_outcome);
                    }
                    None => self.finished.push(Place::of_record(position)),
                }
            }
            Kind::Decision => {
                if let Some((trace, keeps)) = decision(&payload) {
                    let mut decided = Decided::default();
                    self.holding.decide(trace, keeps == 1, &mut decided);
                    self.take_decided(decided);
                }
                self.finished.push(Place::of_record(position));
            }
            Kind::Preamble | Kind::Metrics | Kind::Partial | Kind::Ended | Kind::End => {
                self.finished.push(Place::of_record(position));
            }
        }
    }

    /// The net thread is about to sleep until there is something that it does not know of now.
    pub(super) fn falls_asleep(&mut self, limits: RequestLimits) {
        self.known_calls = self.calls(limits);
    }

    /// Whether there is.
    pub(super) fn has_new_calls(&mut self, limits: RequestLimits) -> bool {
        let calls = self.calls(limits);
        let known = std::mem::replace(&mut self.known_calls, calls);
        calls.iter().zip(known).any(|(is_there, is_known)| *is_there && !is_known)
    }

    /// Whether what waits is as much as goes into one request.
    pub(super) fn fills_a_request(&self, limits: RequestLimits) -> bool {
        self.waiting_spans >= limits.spans as u64 || self.waiting_bytes >= limits.bytes
    }

    /// What there is to do, by kind.
    fn calls(&self, limits: RequestLimits) -> [bool; 6] {
        [
            !self.waiting.is_empty(),
            self.fills_a_request(limits),
            !self.holding.is_empty(),
            self.has_backlog,
            self.is_spool_dirty,
            self.has_new_losses || !self.unsaid.is_empty(),
        ]
    }

    /// Spans that are neither done with nor anywhere. There are none: if there were, the counts would be wrong.
    pub(super) fn unaccounted(&self) -> u64 {
        let found = [
            self.waiting_spans,
            self.holding.roots(),
            self.holding.undecided_spans(),
            self.sent_spans,
            self.disk_spans,
        ];
        self.pending().abs_diff(found.into_iter().fold(0, u64::saturating_add))
    }

    pub(super) fn current_status(&self) -> DeliveryStatus {
        DeliveryStatus {
            pending_spans: self.pending().saturating_add(self.status.left_spans),
            held_roots: self.holding.roots(),
            ..self.status.clone()
        }
    }
}
