//! The state of one open span.
//!
//! What other spans' callbacks need stands in atomics beside the lock, so that a child never locks its parent.
//! Everything else is in the body. No user code runs while a body is locked.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use parking_lot::{Mutex, MutexGuard};

use crate::conventions::fact_of;
use crate::encode::shedding::drop_unread_links;
use crate::encode::span::{
    EncodedKey, LinkMeaning, STATUS_ERROR, STATUS_OK, append_link, attributes, find_attribute,
};
use crate::random::random_span_id;
use crate::time::Timestamp;

use super::callsite::Callsite;
use super::config::{ForeignContext, Limits, RemoteParent};
use super::counters::LayerCounters;
use super::field_visitor::{Changes, Scratch};
use super::open_bytes::OpenBytes;
use super::poll_clock::PollClock;

/// Bits of [`Slot::flags`].
pub(crate) mod flags {
    /// It carries a workflow's name.
    pub(crate) const MARKED: u32 = 1;
    /// Somebody outside was told its ids: they can no longer change.
    pub(crate) const IDS_GIVEN: u32 = 2;
    /// The caller's process decided not to sample the trace.
    pub(crate) const UNSAMPLED: u32 = 4;
    /// Its parent is in another process.
    pub(crate) const REMOTE_PARENT: u32 = 8;
    /// It, or a span above it, came with a [`ForeignContext`](super::super::config::ForeignContext).
    pub(crate) const FOREIGN_CONTEXT: u32 = 16;
    #[cfg(feature = "otlp")]
    /// Its ids were taken from OpenTelemetry's current context, or cannot be.
    pub(crate) const OTEL_IDS_SETTLED: u32 = 32;
    /// It was written as partial.
    pub(crate) const PARTIAL_WRITTEN: u32 = 64;
}

/// Bits of [`Body::marks`].
pub(crate) mod marks {
    /// A selector makes it a node.
    pub(crate) const SELECTED: u8 = 1;
    /// The future it stands for was dropped before it was ready.
    pub(crate) const CANCELLED: u8 = 2;
    /// It ends because others need its place.
    pub(crate) const GIVEN_UP: u8 = 4;
}

/// A place for one open span, used again and again. Aligned so that two never share a cache line: spans of one thread
/// may run on others.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Slot {
    /// The registry's id of the span that has it; zero: free.
    pub(crate) id: AtomicU64,
    trace_id: [AtomicU64; 2],
    span_id: AtomicU64,
    /// Wall time at the clock's zero, as the span's local root saw it.
    anchor: AtomicU64,
    /// The registry's id of the nearest ancestor that is measured; zero: it is a local root.
    parent: AtomicU64,
    /// When a child of it first ran; `u64::MAX`: none did.
    pub(crate) first_child_run: AtomicU64,
    /// When the last child it waited for ended.
    pub(crate) last_child_end: AtomicU64,
    pub(crate) children: AtomicU32,
    pub(crate) flags: AtomicU32,
    body: Mutex<Body>,
}

/// What a span's descendants take over from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lineage {
    pub(crate) trace_id: [u64; 2],
    pub(crate) span_id: u64,
    pub(crate) anchor: Timestamp,
    /// Those of the flags that descendants have too.
    pub(crate) flags: u32,
}

impl Lineage {
    pub(crate) fn is_unsampled(&self) -> bool {
        self.flags & flags::UNSAMPLED != 0
    }
}

/// What a span takes over from the one above it.
const INHERITED: u32 = flags::UNSAMPLED | flags::FOREIGN_CONTEXT;

impl Slot {
    /// Takes the slot for span `id`, if it is free.
    #[inline(always)]
    pub(crate) fn take(&self, id: u64) -> bool {
        self.id.compare_exchange(0, id, AcqRel, Relaxed).is_ok()
    }

    /// Fills the atomics of a slot that was just claimed. `parent` is the registry's id of the span above, or zero.
    #[inline]
    pub(crate) fn begin(&self, parent: u64, lineage: &Lineage) {
        self.set_trace_id(lineage.trace_id);
        self.span_id.store(random_span_id(), Relaxed);
        self.anchor.store(lineage.anchor.as_unix_nanos(), Relaxed);
        self.parent.store(parent, Relaxed);
        self.first_child_run.store(u64::MAX, Relaxed);
        self.last_child_end.store(0, Relaxed);
        self.children.store(0, Relaxed);
        self.flags.store(lineage.flags, Relaxed);
    }

    pub(crate) fn set_trace_id(&self, [new_high, new_low]: [u64; 2]) {
        let [high, low] = &self.trace_id;
        high.store(new_high, Relaxed);
        low.store(new_low, Relaxed);
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Body> {
        self.body.lock()
    }

    /// The body, if nobody works on it right now.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Body>> {
        self.body.try_lock()
    }

    /// Counts a new child and tells what it takes over.
    #[inline(always)]
    pub(crate) fn adopt_child(&self) -> Lineage {
        self.children.fetch_add(1, Relaxed);
        self.lineage()
    }

    #[inline]
    pub(crate) fn lineage(&self) -> Lineage {
        Lineage {
            trace_id: self.trace_id(),
            span_id: self.span_id(),
            anchor: self.anchor(),
            flags: self.flags.load(Relaxed) & INHERITED,
        }
    }

    pub(crate) fn trace_id(&self) -> [u64; 2] {
        let [high, low] = &self.trace_id;
        [high.load(Relaxed), low.load(Relaxed)]
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn set_span_id(&self, span_id: u64) {
        self.span_id.store(span_id, Relaxed);
    }

    pub(crate) fn span_id(&self) -> u64 {
        self.span_id.load(Relaxed)
    }

    pub(crate) fn anchor(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.anchor.load(Relaxed))
    }

    /// The registry's id of the nearest ancestor that is measured, if any.
    pub(crate) fn parent(&self) -> Option<u64> {
        Some(self.parent.load(Relaxed)).filter(|id| *id != 0)
    }

    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }

    /// Puts the span under one of another process. Returns the registry's id of the parent it had here.
    pub(crate) fn adopt_remote_parent(&self, remote: RemoteParent, is_sampled: bool) -> Option<u64> {
        let former = self.parent();
        self.set_trace_id(remote.trace_id);
        self.parent.store(0, Relaxed);
        let mut bits = self.flags.load(Relaxed) & !(INHERITED | flags::REMOTE_PARENT);
        let mut body = self.lock();
        body.parent_span_id = remote.span_id;
        if remote.is_remote {
            bits |= flags::REMOTE_PARENT;
        }
        if !is_sampled {
            bits |= flags::UNSAMPLED;
        }
        if !remote.origin.is_empty() {
            bits |= flags::FOREIGN_CONTEXT;
            body.set_foreign_context(remote.origin);
        } else if body.foreign_context().is_some() {
            body.rare_mut().foreign = None;
        }
        drop(body);
        self.flags.store(bits, Relaxed);
        former
    }
}

/// What only the span's own callbacks touch.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// Set while the span is open, that is once it has been made.
    pub(crate) callsite: Option<&'static Callsite>,
    pub(crate) start: Timestamp,
    pub(crate) polls: PollClock,
    pub(crate) created_panicking: bool,
    pub(crate) is_detached: bool,
    /// Bits of [`marks`].
    pub(crate) marks: u8,
    /// Keys that are no field of the callsite, or that the layer wrote itself, may be in `attributes`.
    pub(crate) has_other_keys: bool,
    pub(super) has_rare: bool,
    /// As OTLP numbers them.
    pub(crate) kind: u8,
    /// As OTLP numbers them.
    pub(crate) status: u8,
    /// How many attributes may still be recorded.
    attributes_left: u32,
    /// Bytes of buffers taken into account.
    pub(super) charged: u32,
    /// Bits of the fields whose keys are in `attributes`; see [`super::callsite::FieldInfo::bit`].
    recorded: u64,
    /// Zero: none.
    pub(crate) parent_span_id: u64,
    /// `Span.attributes` fields and nothing else.
    pub(crate) attributes: Vec<u8>,
    pub(super) rare: Option<Box<Rare>>,
}

/// What most spans have nothing of.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// `otel.name`; empty: the callsite's.
    pub(crate) name: String,
    pub(crate) status_message: String,
    pub(crate) events: Vec<u8>,
    pub(crate) links: Vec<u8>,
    /// Of this span or taken over from one above.
    pub(crate) foreign: Option<Box<ForeignContext>>,
    event_count: u32,
    link_count: u32,
    pub(crate) dropped_attributes: u32,
    pub(crate) dropped_events: u32,
    pub(crate) dropped_links: u32,
}

/// `SPAN_KIND_INTERNAL`, what a span is that says nothing.
const INTERNAL: u8 = 1;

/// Buffers larger than this are given back when a span closes while open spans hold much.
const KEPT_CAPACITY: usize = 2048;
/// The same while they hold little: a span with long texts or events is mostly followed by more of its kind.
const KEPT_WITH_ROOM: usize = 64 * 1024;

impl Rare {
    fn clear(&mut self, kept: usize) {
        let bytes = |buffer: &mut Vec<u8>| {
            let mut buffer = std::mem::take(buffer);
            buffer.clear();
            if buffer.capacity() <= kept { buffer } else { Vec::new() }
        };
        let text = |text: &mut String| {
            let mut text = std::mem::take(text);
            text.clear();
            if text.capacity() <= kept { text } else { String::new() }
        };
        *self = Rare {
            name: text(&mut self.name),
            status_message: text(&mut self.status_message),
            events: bytes(&mut self.events),
            links: bytes(&mut self.links),
            ..Rare::default()
        };
    }
}

impl Body {
    /// Makes it that of a new span, which is open once its callsite is set: until then nobody else looks at it. Its
    /// buffers are empty, see [`Body::end`], unless the last one was given up just when its program had something to
    /// add.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        callsite: &'static Callsite,
        start: Timestamp,
        parent_span_id: u64,
        max_attributes: u32,
    ) {
        if !self.attributes.is_empty() || self.has_rare {
            self.clear(KEPT_CAPACITY);
        }
        self.start = start;
        self.polls.reset();
        self.created_panicking = std::thread::panicking();
        self.is_detached = false;
        self.marks = 0;
        self.has_other_keys = callsite.shadows_layer_keys;
        self.kind = INTERNAL;
        self.status = 0;
        self.attributes_left = max_attributes;
        // Keys that are no field's may be any field's.
        self.recorded = if callsite.shadows_layer_keys { u64::MAX } else { 0 };
        self.parent_span_id = parent_span_id;
    }

    /// Empties the buffers of a span that closed, and gives large ones back, unless there is room for many such.
    #[inline]
    pub(crate) fn end(&mut self, bytes: &OpenBytes) {
        if self.has_rare || self.attributes.capacity() > KEPT_CAPACITY {
            self.clear(if bytes.is_mostly_free() { KEPT_WITH_ROOM } else { KEPT_CAPACITY });
            self.charge_anyway(bytes);
        }
        self.attributes.clear();
    }

    /// Empties the buffers and keeps those of at most `kept` bytes.
    #[cold]
    fn clear(&mut self, kept: usize) {
        self.attributes.clear();
        if self.attributes.capacity() > kept {
            self.attributes = Vec::new();
        }
        if std::mem::take(&mut self.has_rare)
            && let Some(rare) = &mut self.rare
        {
            rare.clear(kept);
        }
    }

    /// A copy to be written out while the span goes on.
    pub(crate) fn copy(&self) -> Body {
        // A context may hold values of the program, whose last owner the copy would become: it stays behind.
        let trace_state = self.foreign_context().map(|context| context.trace_state.clone());
        let trace_state = trace_state.filter(|trace_state| !trace_state.is_empty());
        let foreign =
            trace_state.map(|trace_state| Box::new(ForeignContext { trace_state, ..Default::default() }));
        Body {
            polls: self.polls.clone(),
            attributes: self.attributes.clone(),
            rare: self.rare().map(|rare| {
                Box::new(Rare {
                    name: rare.name.clone(),
                    status_message: rare.status_message.clone(),
                    events: rare.events.clone(),
                    links: rare.links.clone(),
                    foreign,
                    ..*rare
                })
            }),
            ..*self
        }
    }

    /// What most spans have nothing of, if this one has.
    #[inline]
    pub(crate) fn rare(&self) -> Option<&Rare> {
        if self.has_rare { self.rare.as_deref() } else { None }
    }

    #[cold]
    pub(crate) fn set_foreign_context(&mut self, context: ForeignContext) {
        self.rare_mut().foreign = Some(Box::new(context));
    }

    pub(crate) fn foreign_context(&self) -> Option<&ForeignContext> {
        self.rare()?.foreign.as_deref()
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.has_rare = true;
        self.rare.get_or_insert_default()
    }

    pub(crate) fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    /// Notes that the attribute of the field with this bit is about to be appended; not if its key may be there
    /// already, or if there are too many.
    #[inline]
    pub(crate) fn note_plain(&mut self, bit: u64) -> bool {
        if self.recorded & bit != 0 || self.attributes_left == 0 {
            return false;
        }
        self.recorded |= bit;
        self.attributes_left = self.attributes_left.wrapping_sub(1);
        true
    }

    /// Takes in the attributes a visitor read.
    #[inline(always)]
    pub(crate) fn apply(
        &mut self,
        scratch: &mut Scratch,
        changes: &Changes,
        limits: &Limits,
        counters: &LayerCounters,
    ) {
        let is_plain = !changes.has_other_keys
            && !self.has_other_keys
            && self.recorded & changes.bits == 0
            && changes.count <= self.attributes_left
            && self.bytes().saturating_add(scratch.attributes.len()) <= limits.span_bytes;
        if is_plain {
            if self.attributes.is_empty() {
                std::mem::swap(&mut self.attributes, &mut scratch.attributes);
            } else {
                self.attributes.extend_from_slice(&scratch.attributes);
            }
            self.attributes_left = self.attributes_left.saturating_sub(changes.count);
        } else {
            self.merge(&scratch.attributes, limits, counters);
            self.has_other_keys |= changes.has_other_keys;
        }
        self.recorded |= if self.has_other_keys { u64::MAX } else { changes.bits };
    }

    /// Takes in what a visitor read beyond attributes.
    #[cold]
    pub(crate) fn set_properties(&mut self, scratch: &Scratch) {
        let properties = &scratch.properties;
        if properties.has_name {
            let name = &mut self.rare_mut().name;
            name.clear();
            name.push_str(&scratch.name);
        }
        self.kind = properties.kind.unwrap_or(self.kind);
        self.is_detached = properties.detached.unwrap_or(self.is_detached);
        if let Some(status) = properties.status {
            self.set_status(status, if properties.has_message { &scratch.status_message } else { "" });
        }
    }

    /// Takes in encoded attributes one by one: each replaces the one of its key, and the limits hold.
    #[cold]
    pub(crate) fn merge(&mut self, encoded: &[u8], limits: &Limits, counters: &LayerCounters) {
        for attribute in attributes(encoded) {
            if let Some(old) = find_attribute(&self.attributes, attribute.key) {
                self.attributes.drain(old);
                self.attributes_left = self.attributes_left.saturating_add(1);
            }
            let field = encoded.get(attribute.place).unwrap_or_default();
            if self.attributes_left > 0 && self.make_room(field.len(), limits, counters) {
                self.attributes.extend_from_slice(field);
                self.attributes_left = self.attributes_left.saturating_sub(1);
            } else {
                self.note_dropped_attribute(counters);
            }
        }
    }

    fn note_dropped_attribute(&mut self, counters: &LayerCounters) {
        let rare = self.rare_mut();
        rare.dropped_attributes = rare.dropped_attributes.saturating_add(1);
        counters.attributes_dropped.add(1);
    }

    /// Makes room for an attribute of `len` bytes: events go, then links, then attributes longer than it. Those
    /// the analysis reads stay. Returns whether there is room.
    pub(super) fn make_room(&mut self, len: usize, limits: &Limits, counters: &LayerCounters) -> bool {
        let fits = |body: &Body| body.bytes().saturating_add(len) <= limits.span_bytes;
        // Nothing makes room for what is too long by itself.
        if len > limits.span_bytes {
            return false;
        }
        if !fits(self) {
            counters.events_dropped.add(self.drop_events().into());
        }
        if !fits(self) {
            counters.links_dropped.add(self.drop_links().into());
        }
        while !fits(self) {
            let longest = attributes(&self.attributes)
                .filter(|attribute| attribute.place.len() > len && !is_fact(attribute.key))
                .max_by_key(|attribute| attribute.place.len());
            let Some(place) = longest.map(|attribute| attribute.place) else { return false };
            self.attributes.drain(place);
            self.attributes_left = self.attributes_left.saturating_add(1);
            self.note_dropped_attribute(counters);
        }
        true
    }

    /// Leaves out all events and says how many they were.
    pub(crate) fn drop_events(&mut self) -> u32 {
        let Some(rare) = self.rare.as_mut().filter(|_| self.has_rare) else { return 0 };
        rare.events.clear();
        let lost = std::mem::take(&mut rare.event_count);
        rare.dropped_events = rare.dropped_events.saturating_add(lost);
        lost
    }

    /// Leaves out the links the analysis does not read and says how many they were.
    pub(crate) fn drop_links(&mut self) -> u32 {
        let Some(rare) = self.rare.as_mut().filter(|_| self.has_rare) else { return 0 };
        let lost = drop_unread_links(&mut rare.links);
        rare.link_count = rare.link_count.saturating_sub(lost);
        rare.dropped_links = rare.dropped_links.saturating_add(lost);
        lost
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        let Some(rare) = self.rare() else { return self.attributes.len() };
        self.attributes.len().saturating_add(rare.events.len()).saturating_add(rare.links.len())
    }

    /// `Ok` stays, and an error's text is only replaced by another.
    pub(crate) fn set_status(&mut self, status: u8, message: &str) {
        if self.status == STATUS_OK {
            return;
        }
        self.status = status;
        if status == STATUS_OK || !message.is_empty() {
            let kept = &mut self.rare_mut().status_message;
            kept.clear();
            kept.push_str(if status == STATUS_OK { "" } else { message });
        }
    }

    /// What an event of level ERROR says: failed, unless a status stands already.
    pub(crate) fn fail_if_unset(&mut self) {
        if self.status == 0 {
            self.status = STATUS_ERROR;
        }
    }

    /// Takes in an encoded `Span.events` field, if there is room.
    pub(crate) fn push_event(&mut self, field: &[u8], limits: &Limits, counters: &LayerCounters) {
        let fits = self.bytes().saturating_add(field.len()) <= limits.span_bytes;
        let rare = self.rare_mut();
        if fits && rare.event_count < limits.events {
            rare.events.extend_from_slice(field);
            rare.event_count = rare.event_count.saturating_add(1);
        } else {
            rare.dropped_events = rare.dropped_events.saturating_add(1);
            counters.events_dropped.add(1);
        }
    }

    /// Takes in a link to another span, if there is room.
    pub(crate) fn push_link(
        &mut self,
        to: Lineage,
        meaning: LinkMeaning,
        limits: &Limits,
        counters: &LayerCounters,
    ) {
        let fits = self.bytes() < limits.span_bytes;
        let rare = self.rare_mut();
        if fits && rare.link_count < limits.links {
            let sampled = u32::from(!to.is_unsampled());
            append_link(
                &mut rare.links,
                trace_id_bytes(to.trace_id),
                to.span_id.to_be_bytes(),
                meaning,
                sampled,
            );
            rare.link_count = rare.link_count.saturating_add(1);
        } else {
            rare.dropped_links = rare.dropped_links.saturating_add(1);
            counters.links_dropped.add(1);
        }
    }

    /// Appends those of `encoded` attributes whose keys were not recorded.
    #[cold]
    pub(crate) fn add_missing(&mut self, encoded: &[u8]) {
        for attribute in attributes(encoded) {
            if find_attribute(&self.attributes, attribute.key).is_none() {
                self.attributes.extend_from_slice(encoded.get(attribute.place).unwrap_or_default());
            }
        }
    }

    /// Whether an attribute `key` was recorded. Walks all of them.
    pub(crate) fn has_attribute(&self, key: &EncodedKey) -> bool {
        find_attribute(&self.attributes, key.text()).is_some()
    }

    /// Forgets the attribute `key` if it was recorded.
    pub(crate) fn remove_attribute(&mut self, key: &EncodedKey) {
        if let Some(place) = find_attribute(&self.attributes, key.text()) {
            self.attributes.drain(place);
        }
    }
}

fn is_fact(key: &[u8]) -> bool {
    std::str::from_utf8(key).is_ok_and(|key| fact_of(key).is_some())
}

/// A trace id as it stands on the wire.
pub(crate) fn trace_id_bytes([high, low]: [u64; 2]) -> [u8; 16] {
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}
