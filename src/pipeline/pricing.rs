//! Giving calls of models a price on their way from the closing threads, so that every backend reads it.

use std::sync::Arc;

use crate::conventions::{COST_SOURCE, COST_USD};
use crate::cost::price_spans;
use crate::decode::otlp::{attribute_keys, decode_span};
use crate::encode::cost::{CostMirror, append_estimate, append_mirrors};
use crate::encode::varint;
use crate::pipeline::shard::{Chunk, FrameHead, SPANS_TAG, flags};
use crate::prices::PriceTable;
use crate::span_record::{CostSource, Interner, Origin, SpanRecord};

/// What calls are priced with, and how that is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct PriceSettings {
    /// `None`: the table that comes with longpole.
    pub(crate) prices: Option<PriceTable>,
    /// In whose words costs are written too.
    pub(crate) mirrors: Vec<CostMirror>,
}

/// Prices spans, one after the other.
pub(crate) struct Pricing {
    settings: PriceSettings,
    interner: Interner,
    origin: Arc<Origin>,
    attributes: Vec<u8>,
}

impl Pricing {
    pub(crate) fn new(settings: PriceSettings) -> Self {
        Pricing { settings, interner: Interner::default(), origin: Arc::default(), attributes: Vec::new() }
    }

    /// Adds what they cost to the spans of `chunk` that are calls of models.
    pub(crate) fn add_costs(&mut self, chunk: &mut Chunk) {
        let Chunk { bytes, heads } = chunk;
        for head in heads.iter_mut().filter(|head| head.flags & flags::MAY_BE_CALL != 0) {
            self.add_cost(bytes, head);
        }
    }

    fn add_cost(&mut self, bytes: &mut Vec<u8>, head: &mut FrameHead) {
        let start = head.start as usize;
        let range = start..start.saturating_add(head.len as usize);
        let Some(message) = bytes.get(range.clone()) else { return };
        let Ok(mut record) = decode_span(message, &self.origin, &mut self.interner) else { return };
        if !record.is_inference() {
            return;
        }
        price_spans(std::slice::from_mut(&mut record), self.settings.prices.as_ref());
        self.attributes.clear();
        self.write_cost(&record, message);
        if self.attributes.is_empty() {
            return;
        }
        // Fields of one message may be cut anywhere and concatenate, but a span's length stands in front of it: the
        // longer one goes behind the others.
        let len = range.len().saturating_add(self.attributes.len());
        let tag = bytes.len();
        let Ok(tag_at) = u32::try_from(tag) else { return };
        let Ok(end) = u32::try_from(tag.saturating_add(len).saturating_add(16)) else { return };
        bytes.push(SPANS_TAG);
        varint::append(bytes, len as u64);
        head.tag = tag_at;
        head.start = u32::try_from(bytes.len()).unwrap_or(end);
        head.len = len as u32;
        bytes.extend_from_within(range);
        bytes.extend_from_slice(&self.attributes);
    }

    fn write_cost(&mut self, record: &SpanRecord, message: &[u8]) {
        let Some(facts) = record.facts.as_deref() else { return };
        let is_new = facts.cost_source == Some(CostSource::Estimated) || facts.unpriced.is_some();
        if is_new && !is_written(message) {
            append_estimate(&mut self.attributes, facts);
        }
        if !self.settings.mirrors.is_empty() {
            let has_key = |key: &str| attribute_keys(message).any(|written| written == key);
            append_mirrors(&mut self.attributes, facts, &self.settings.mirrors, has_key);
        }
    }
}

/// Whether the span says something of its cost under these keys already, sensible or not: a key is written once.
fn is_written(message: &[u8]) -> bool {
    attribute_keys(message).any(|key| [COST_SOURCE, COST_USD].contains(&key))
}
