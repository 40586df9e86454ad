//! What the spans at and below an open span tell of what they used, for those who ask as soon as that is done.
//!
//! A closing thread only copies attributes here. What they cost is found by whoever asks, by the rules of reports.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::decode::otlp::record_of_attributes;
use crate::ids::{SpanId, TraceId};
use crate::prices::PriceTable;
use crate::report::model_calls::{SpansCost, cost_of_spans};
use crate::span_record::{Interner, SpanRecord};
use crate::time::Timestamp;

use super::LayerCore;
use super::open_span::{Body, Slot};

/// How many spans are kept of one log; with more nobody can say what they cost.
const MAX_SPANS: usize = 10_000;

/// Spans that have closed under one that is asked about.
#[derive(Debug, Default)]
pub(crate) struct UsageLog {
    spans: Mutex<Vec<LoggedSpan>>,
}

#[derive(Clone, Debug)]
pub(super) struct LoggedSpan {
    pub(super) span_id: u64,
    pub(super) parent_id: u64,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// `Span.attributes` fields.
    pub(super) attributes: Vec<u8>,
}

/// Which open span has which log.
#[derive(Default)]
pub(crate) struct UsageLogs {
    /// While it is zero, nobody looks further.
    count: AtomicUsize,
    bound: Mutex<HashMap<u64, Arc<UsageLog>>>,
}

impl UsageLog {
    fn spans(&self) -> MutexGuard<'_, Vec<LoggedSpan>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, span: LoggedSpan) {
        let mut spans = self.spans();
        if spans.len() <= MAX_SPANS {
            spans.push(span);
        }
    }

    /// What everything logged so far cost, by this table, or by the one that comes with longpole. Nothing is known of
    /// it if there were too many spans.
    pub(crate) fn cost(&self, prices: Option<&PriceTable>) -> SpansCost {
        let spans = std::mem::take(&mut *self.spans());
        if spans.len() > MAX_SPANS {
            return SpansCost::default();
        }
        let mut interner = Interner::default();
        let record = |span: &LoggedSpan| {
            let id = |id: u64| SpanId::from_bytes(id.to_be_bytes());
            SpanRecord {
                trace_id: TraceId::from_bytes([1; 16]),
                span_id: id(span.span_id),
                parent_id: Some(id(span.parent_id)).filter(|id| !id.is_zero()),
                start: span.start,
                end: span.end,
                ..record_of_attributes(&span.attributes, "", &mut interner)
            }
        };
        cost_of_spans(spans.iter().map(record).collect(), prices)
    }
}

impl UsageLogs {
    #[inline]
    pub(super) fn are_bound(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<u64, Arc<UsageLog>>)) {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut bound);
        self.count.store(bound.len(), Ordering::Relaxed);
    }

    fn of(&self, id: u64) -> Option<Arc<UsageLog>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(super) fn unbind(&self, id: u64) {
        self.change(|bound| {
            bound.remove(&id);
        });
    }
}

impl LayerCore {
    /// A log of what open span `id` and those below it use from now on. `None` if the span is not measured.
    pub(crate) fn bind_usage_log(&self, id: u64) -> Option<Arc<UsageLog>> {
        self.slots.with(id, |_| ())?;
        let log = Arc::<UsageLog>::default();
        self.is_watched.store(true, Ordering::Relaxed);
        self.usage_logs.change(|bound| {
            bound.insert(id, log.clone());
        });
        Some(log)
    }

    /// Logs a span that closes.
    #[cold]
    pub(super) fn log_usage(&self, slot: &Slot, body: &Body, end: Timestamp) {
        let span = LoggedSpan {
            span_id: slot.span_id(),
            parent_id: body.parent_span_id,
            start: body.start,
            end,
            attributes: body.attributes.to_vec(),
        };
        self.log_at(slot.id.load(Ordering::Relaxed), &span);
        if let Some(parent) = slot.parent() {
            self.log_at_and_above(parent, &span);
        }
    }

    fn log_at(&self, id: u64, span: &LoggedSpan) {
        if let Some(log) = self.usage_logs.of(id) {
            log.push(span.clone());
        }
    }

    /// Logs a span with every log at or above span `id`.
    #[cold]
    pub(super) fn log_at_and_above(&self, id: u64, span: &LoggedSpan) {
        let mut next = Some(id);
        while let Some(id) = next {
            self.log_at(id, span);
            next = self.slots.with(id, Slot::parent).flatten();
        }
    }
}
