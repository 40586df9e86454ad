//! Sending what other processes of the service have left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::Queue;
use super::spool::adopted::{Adopted, AdoptedItem, AdoptedLosses};
use super::spool::format::Position;
use super::spool::{Spool, SpoolConfig};
use super::waiting::{Batch, Place, RequestLimits};

/// Between two looks for processes that are gone.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A request with metrics that a process could not get rid of at its end.
#[derive(Debug)]
pub(super) struct AdoptedMetrics {
    pub(super) log: usize,
    pub(super) position: Position,
    pub(super) request: Vec<u8>,
}

/// The logs that were taken over and are not sent yet.
pub(super) struct Recovery {
    config: SpoolConfig,
    logs: BTreeMap<usize, Adopted>,
    next_number: usize,
    /// Read, and not sent yet.
    items: VecDeque<(usize, AdoptedItem)>,
    metrics: Vec<AdoptedMetrics>,
    next_look: Instant,
    queue: Arc<Queue>,
}

impl Recovery {
    pub(super) fn new(config: SpoolConfig, queue: Arc<Queue>) -> Self {
        Recovery {
            config,
            logs: BTreeMap::new(),
            next_number: 0,
            items: VecDeque::new(),
            metrics: Vec::new(),
            next_look: Instant::now(),
            queue,
        }
    }

    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Takes over what processes have left that have gone since the last look.
    pub(super) fn look_if_due(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now.checked_add(LOOK_EVERY).unwrap_or(now);
        let mut told = Vec::new();
        for log in Spool::adopt(&self.config, &mut told) {
            self.logs.insert(self.next_number, log);
            self.next_number = self.next_number.saturating_add(1);
        }
        told.into_iter().for_each(|sentence| self.queue.tell_once(sentence));
        self.remove_done();
    }

    /// The next spans to be sent, of one log and one resource.
    pub(super) fn next_batch(&mut self, limits: RequestLimits) -> Option<Batch> {
        while self.items.is_empty() {
            let (number, log) = self.logs.iter_mut().find(|(_, log)| !log.is_read())?;
            let read = log.read(limits.bytes);
            self.items.extend(read.into_iter().map(|item| (*number, item)));
            self.remove_done();
        }
        let mut batch = Batch::default();
        while let Some((number, item)) = self.items.pop_front() {
            let (preamble, message, positions) = match item {
                AdoptedItem::Span { preamble, message, positions } => (preamble, message, positions),
                AdoptedItem::Metrics { request, position } => {
                    self.metrics.push(AdoptedMetrics { log: number, position, request });
                    continue;
                }
            };
            let is_alike =
                batch.adopted.as_ref().is_none_or(|(log, known)| *log == number && *known == preamble);
            if !is_alike || !batch.has_room(message.len().saturating_add(8), limits) {
                let item = AdoptedItem::Span { preamble, message, positions };
                self.items.push_front((number, item));
                break;
            }
            let place =
                Place { record: positions.first().copied(), verdict: positions.get(1).copied(), spans: 1 };
            batch.push_message(&message, place);
            batch.adopted = Some((number, preamble));
        }
        (batch.spans() > 0).then_some(batch)
    }

    /// Requests with metrics that were read.
    pub(super) fn take_metrics(&mut self) -> Vec<AdoptedMetrics> {
        std::mem::take(&mut self.metrics)
    }

    /// Notes what is done with.
    pub(super) fn finish(&mut self, finished: &[(usize, Place)]) {
        for (number, place) in finished {
            let Some(log) = self.logs.get_mut(number) else { continue };
            for position in [place.record, place.verdict].into_iter().flatten() {
                log.finish(position, place.spans);
            }
            log.advance();
        }
        if !finished.is_empty() {
            self.remove_done();
        }
    }

    fn remove_done(&mut self) {
        let done: Vec<usize> =
            self.logs.iter().filter(|(_, log)| log.is_done()).map(|(number, _)| *number).collect();
        for number in done {
            // Spans that were never in a segment have no place to wait for.
            if self.items.iter().any(|(of, _)| *of == number) {
                continue;
            }
            if let Some(log) = self.logs.remove(&number) {
                let AdoptedLosses { damaged_records, unreadable_segments, expired_spans, .. } = log.losses;
                self.queue.adopted_lost("spool_damaged_records", damaged_records);
                self.queue.adopted_lost("spool_unreadable_segments", unreadable_segments);
                self.queue.adopted_lost("spool_expired", expired_spans);
                log.remove();
            }
        }
    }
}
