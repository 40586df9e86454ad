//! Recording the fields of a span straight into it, under one lock for all of them.
//!
//! Numbers and short texts are encoded in place. Whatever is less plain goes by way of [`SpanVisitor`]: what may hold a
//! secret, is withheld, tells a property of the span, repeats a key or may not fit. The lock is given back meanwhile,
//! because a value's `Debug` is user code.

use std::error::Error;
use std::fmt::Debug;
use std::sync::atomic::Ordering::Acquire;

use parking_lot::MutexGuard;
use tracing_core::Field;
use tracing_core::field::Visit;

use crate::encode::span::{
    KEY_BYTES, SPAN_ATTRIBUTE, TEMPLATE, append_bool, append_double, append_int, append_short_str, append_str,
};

use super::LayerCore;
use super::callsite::{Callsite, FieldInfo, Role, mode};
use super::field_visitor::{Scratch, SpanVisitor};
use super::open_span::{Body, Slot};
use super::withheld::masked;

/// Records into one open span.
pub(super) struct FieldRecorder<'a> {
    core: &'a LayerCore,
    slot: &'a Slot,
    callsite: &'static Callsite,
    /// As in [`mode`]; zero: the span is gone.
    mode: u8,
    body: MutexGuard<'a, Body>,
}

/// Which span has a slot. One that is still being made is not open, and nobody gives it up.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Held {
    id: u64,
    is_open: bool,
}

impl Held {
    fn of(slot: &Slot, body: &Body) -> Self {
        Held { id: slot.id.load(Acquire), is_open: body.callsite.is_some() }
    }
}

/// More than an attribute takes beside its text.
const AROUND_TEXT: usize = KEY_BYTES + 64;

impl<'a> FieldRecorder<'a> {
    /// Records into the span of `callsite` that has `slot`, whose `body` this is.
    #[inline(always)]
    pub(super) fn new(
        core: &'a LayerCore,
        slot: &'a Slot,
        callsite: &'static Callsite,
        body: MutexGuard<'a, Body>,
    ) -> Self {
        FieldRecorder { core, slot, callsite, mode: mode::of(core.config.export), body }
    }

    /// Ends the making of the span.
    #[inline(always)]
    pub(super) fn open(mut self) {
        self.body.callsite = Some(self.callsite);
        if self.body.has_grown() {
            self.core.charge_new(&mut self.body);
        }
    }

    /// Takes what was recorded into account.
    #[inline(always)]
    pub(super) fn finish(mut self) {
        if self.body.has_grown() {
            self.core.charge(&mut self.body);
        }
    }

    /// Has `visit` read a number that is not written as it is, if something of it is.
    #[inline(never)]
    fn withheld(&mut self, info: &FieldInfo, visit: impl FnOnce(&mut SpanVisitor<'_>)) {
        if info.written_in & self.mode != 0 {
            self.otherwise(visit);
        }
    }

    /// Whether a short attribute can be appended without making room for it first. Who asks before appending leaves
    /// nothing to call in between, and so nothing to be kept for later.
    #[inline(always)]
    fn has_room(&self) -> bool {
        let attributes = &self.body.attributes;
        attributes.capacity().wrapping_sub(attributes.len()) >= TEMPLATE
    }

    /// Makes room and does `record` again.
    #[cold]
    #[inline(never)]
    fn again(&mut self, record: impl FnOnce(&mut Self)) {
        self.body.attributes.reserve(TEMPLATE);
        record(self);
    }

    /// Notes that an attribute with a text of `len` bytes is about to be encoded; `None` if more is to be looked at
    /// than this does.
    #[inline(always)]
    fn admit(&mut self, info: &FieldInfo, len: usize) -> Option<&mut Vec<u8>> {
        let limits = &self.core.config.limits;
        let body = &mut *self.body;
        let most = body.bytes().wrapping_add(len).wrapping_add(AROUND_TEXT);
        if most > limits.span_bytes || !body.note_plain(info.bit) {
            return None;
        }
        Some(&mut body.attributes)
    }

    /// Has `visit` read a value the long way.
    #[cold]
    #[inline(never)]
    fn otherwise(&mut self, visit: impl FnOnce(&mut SpanVisitor<'_>)) {
        if self.mode == 0 {
            return;
        }
        let (core, slot, callsite) = (self.core, self.slot, self.callsite);
        let span = Held::of(slot, &self.body);
        self.unlocked(|| {
            Scratch::lend(|scratch| {
                let mut visitor = SpanVisitor::new(callsite, &core.config, &core.counters, scratch);
                visit(&mut visitor);
                let changes = visitor.changes;
                if changes.count > 0 || changes.has_properties {
                    let mut body = slot.lock();
                    if span == Held::of(slot, &body) {
                        core.apply_to(slot, &mut body, scratch, &changes);
                    }
                }
            });
        });
    }

    /// Runs `f` without the lock. Others may give the span up meanwhile: then nothing more is recorded.
    fn unlocked<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let span = Held::of(self.slot, &self.body);
        let result = MutexGuard::unlocked(&mut self.body, f);
        if span != Held::of(self.slot, &self.body) {
            self.mode = 0;
        }
        result
    }

    /// Records text that is withheld, or may hold a secret, or may be too long.
    #[inline(never)]
    fn other_text(&mut self, field: &Field, info: &FieldInfo, text: &str) {
        if !info.is_plain {
            return self.otherwise(|visitor| visitor.record_str(field, text));
        }
        if info.written_in & self.mode == 0 {
            return;
        }
        let (limits, counters) = (&self.core.config.limits, &self.core.counters);
        let is_searched = text.len() >= limits.masked_from;
        let masked = match is_searched {
            true => self.unlocked(|| masked(text, limits.value_bytes, limits, counters)),
            false => text.into(),
        };
        if self.mode == 0 {
            return;
        }
        match self.admit(info, masked.len().min(limits.value_bytes)) {
            Some(buffer) => append_str(buffer, SPAN_ATTRIBUTE, &info.key, &masked, limits.value_bytes),
            None => self.otherwise(|visitor| visitor.masked_text(info, &masked)),
        }
    }
}

impl Visit for FieldRecorder<'_> {
    #[inline]
    fn record_str(&mut self, field: &Field, value: &str) {
        let Some(info) = self.callsite.fields.get(field.index()) else { return };
        if info.plain_in & self.mode == 0 || value.len() >= self.core.short_text {
            return self.other_text(field, info, value);
        }
        if !self.has_room() {
            return self.again(|recorder| recorder.record_str(field, value));
        }
        match self.admit(info, value.len()) {
            Some(buffer) => append_short_str(buffer, SPAN_ATTRIBUTE, &info.key, value),
            None => self.otherwise(|visitor| visitor.record_str(field, value)),
        }
    }

    #[inline]
    fn record_i64(&mut self, field: &Field, value: i64) {
        let Some(info) = self.callsite.fields.get(field.index()) else { return };
        if info.kept_in & self.mode == 0 {
            return self.withheld(info, |visitor| visitor.record_i64(field, value));
        }
        if !self.has_room() {
            return self.again(|recorder| recorder.record_i64(field, value));
        }
        if let Some(buffer) = self.admit(info, 0) {
            return append_int(buffer, SPAN_ATTRIBUTE, &info.key, value);
        }
        self.otherwise(|visitor| visitor.record_i64(field, value));
    }

    #[inline]
    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.record_debug(field, &value),
        }
    }

    #[inline]
    fn record_f64(&mut self, field: &Field, value: f64) {
        let Some(info) = self.callsite.fields.get(field.index()) else { return };
        if info.kept_in & self.mode == 0 {
            return self.withheld(info, |visitor| visitor.record_f64(field, value));
        }
        if !self.has_room() {
            return self.again(|recorder| recorder.record_f64(field, value));
        }
        if let Some(buffer) = self.admit(info, 0) {
            return append_double(buffer, SPAN_ATTRIBUTE, &info.key, value);
        }
        self.otherwise(|visitor| visitor.record_f64(field, value));
    }

    #[inline]
    fn record_bool(&mut self, field: &Field, value: bool) {
        let Some(info) = self.callsite.fields.get(field.index()) else { return };
        if info.kept_in & self.mode == 0 {
            return self.withheld(info, |visitor| visitor.record_bool(field, value));
        }
        if !self.has_room() {
            return self.again(|recorder| recorder.record_bool(field, value));
        }
        if info.role != Role::Detached
            && let Some(buffer) = self.admit(info, 0)
        {
            return append_bool(buffer, SPAN_ATTRIBUTE, &info.key, value);
        }
        self.otherwise(|visitor| visitor.record_bool(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let Some(info) = self.callsite.fields.get(field.index()) else { return };
        if info.written_in & self.mode != 0 || info.role != Role::Attribute {
            self.otherwise(|visitor| visitor.record_debug(field, value));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.otherwise(|visitor| visitor.record_error(field, value));
    }
}
