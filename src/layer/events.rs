//! Turning a `tracing` event inside a span into an event of that span.
//!
//! Errors are told as tracing-opentelemetry tells them, so that dashboards keep working.

use std::error::Error;
use std::fmt::Debug;

use tracing_core::field::Visit;
use tracing_core::{Event, Field, Level};

use crate::encode::span::{
    Dropped, EVENT_ATTRIBUTE, EncodedKey, STATUS_ERROR, append_bool, append_double, append_dropped,
    append_field, append_int, append_str, append_strings, attributes, cut, find_attribute,
};

use crate::privacy::{REDACTED, Treatment};

use super::LayerCore;
use super::callsite::{Callsite, EVENT_KEYS, FieldInfo, Role};
use super::config::LayerConfig;
use super::counters::LayerCounters;
use super::field_visitor::{COUNTED_LIMITS, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, Scratch, SpanVisitor};
use super::user_text::{ErrorTexts, format_counted, format_error};
use super::withheld::{Given, append_withheld, limit_of, masked, masked_error};

/// Encodes the fields of one event.
struct EventVisitor<'a> {
    callsite: &'static Callsite,
    config: &'a LayerConfig,
    counters: &'a LayerCounters,
    scratch: &'a mut Scratch,
    has_name: bool,
    /// Keys that are no field of the callsite were encoded.
    has_other_keys: bool,
    count: u32,
    dropped: u32,
    /// The error an unnamed event is about: what `#[instrument(err)]` logs.
    fails_span: bool,
    /// An error value, whose texts go onto the span too.
    exception: Option<ErrorTexts>,
}

impl LayerCore {
    /// Takes in `event` for the open span `id`.
    pub(super) fn record_event(&self, id: u64, event: &Event<'_>, callsite: &'static Callsite) {
        let is_error = *event.metadata().level() == Level::ERROR;
        Scratch::lend(|scratch| {
            let mut visitor = EventVisitor {
                callsite,
                config: &self.config,
                counters: &self.counters,
                scratch,
                has_name: false,
                has_other_keys: false,
                // Its level and its target.
                count: 2,
                dropped: 0,
                fails_span: false,
                exception: None,
            };
            event.record(&mut visitor);
            let EventVisitor { dropped, fails_span, exception, has_name, has_other_keys, .. } = visitor;
            let Some(anchor) = self.slots.with(id, |slot| slot.anchor()) else { return };
            if self.config.export {
                if has_other_keys || callsite.repeats_keys {
                    keep_last_of_each_key(&mut scratch.attributes);
                }
                if !has_name {
                    scratch.name.clear();
                    scratch.name.push_str(event.metadata().name());
                }
                let now = self.clock.now(anchor).as_unix_nanos();
                self.encode_event(scratch, event, callsite, now, dropped);
            }
            self.slots.with(id, |slot| {
                let mut body = slot.lock();
                if is_error {
                    body.fail_if_unset();
                }
                if fails_span {
                    body.set_status(STATUS_ERROR, &scratch.status_message);
                }
                if self.config.export {
                    body.push_event(&scratch.event_field, &self.config.limits, &self.counters);
                    self.charge(&mut body);
                }
            });
            if let Some(texts) = exception {
                self.record_exception(id, &texts, scratch);
            }
        });
    }

    /// Makes the `Span.events` field of what was visited, in `scratch.event_field`.
    fn encode_event(
        &self,
        scratch: &mut Scratch,
        event: &Event<'_>,
        callsite: &Callsite,
        now: u64,
        dropped: u32,
    ) {
        let metadata = event.metadata();
        let Scratch { attributes, name, event: content, event_field, .. } = scratch;
        let limit = self.config.limits.value_bytes;
        let is_known = !callsite.shadows_event_keys && metadata.target().len() <= limit;
        let rest = if is_known { &[][..] } else { &EVENT_KEYS[..] };
        if is_known {
            attributes.extend_from_slice(&callsite.event_attributes);
        }
        for (key, value) in rest.iter().zip([metadata.level().as_str(), metadata.target()]) {
            if find_attribute(attributes, key.as_bytes()).is_none() {
                append_str(attributes, EVENT_ATTRIBUTE, &EncodedKey::new(key), value, limit);
            }
        }
        if self.config.location {
            let programs = attributes.len();
            attributes.extend_from_slice(&callsite.location);
            if callsite.shadows_layer_keys {
                // The program's word stands, so it goes last.
                attributes.rotate_left(programs);
                keep_last_of_each_key(attributes);
            }
        }
        content.clear();
        content.push(0x09);
        content.extend_from_slice(&now.to_le_bytes());
        append_field(content, 0x12, cut(name, limit).as_bytes());
        content.extend_from_slice(attributes);
        append_dropped(content, Dropped::EventAttributes, dropped);
        event_field.clear();
        append_field(event_field, 0x5a, content);
    }

    /// Writes an event's error value onto its span.
    fn record_exception(&self, id: u64, texts: &ErrorTexts, scratch: &mut Scratch) {
        let callsite = self.slots.with(id, |slot| slot.lock().callsite).flatten();
        let Some(callsite) = callsite.filter(|_| self.config.export) else { return };
        scratch.attributes.clear();
        let mut visitor = SpanVisitor::new(callsite, &self.config, &self.counters, scratch);
        visitor.exception(texts);
        let changes = visitor.changes;
        self.apply(id, scratch, &changes);
    }
}

/// Drops every attribute that a later one of its key replaces.
#[cold]
fn keep_last_of_each_key(buffer: &mut Vec<u8>) {
    let mut kept = Vec::with_capacity(buffer.len());
    for attribute in attributes(buffer) {
        if let Some(old) = find_attribute(&kept, attribute.key) {
            kept.drain(old);
        }
        kept.extend_from_slice(buffer.get(attribute.place).unwrap_or_default());
    }
    *buffer = kept;
}

impl EventVisitor<'_> {
    /// Notes that an attribute is about to be encoded; `None` if there are too many, or none are wanted.
    fn admit(&mut self) -> Option<&mut Vec<u8>> {
        if !self.config.export {
            return None;
        }
        if self.count >= self.config.limits.event_attributes {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        self.count = self.count.saturating_add(1);
        Some(&mut self.scratch.attributes)
    }

    fn info(&self, field: &Field) -> Option<&'static FieldInfo> {
        let info = self.callsite.fields.get(field.index())?;
        (info.role != Role::LogLocation || self.config.location).then_some(info)
    }

    /// Runs `append` for the field's attribute if nothing is to be withheld; the field `message` becomes the event's
    /// name instead.
    fn plain(
        &mut self,
        field: &Field,
        value: impl std::fmt::Display,
        given: Given<'_>,
        append: impl FnOnce(&mut Vec<u8>, &EncodedKey),
    ) {
        let Some(info) = self.info(field) else { return };
        if field.name() == "message" {
            return self.message(info, &value.to_string());
        }
        if info.treatment != Treatment::Plain {
            return self.withheld(info, given);
        }
        if let Some(buffer) = self.admit() {
            append(buffer, &info.key);
        }
    }

    /// Takes in a value that was formatted, of `len` bytes in all.
    fn debug_text(&mut self, field: &Field, info: &FieldInfo, text: &str, len: usize) {
        let (limits, counters) = (&self.config.limits, self.counters);
        if self.is_exception(field) {
            self.fail(info, text);
        } else if field.name() == "message" {
            self.message(info, text);
        } else if info.treatment != Treatment::Plain {
            self.withheld(info, Given::Formatted(text, len));
        } else if let Some(buffer) = self.admit() {
            let text = masked(text, limits.value_bytes, limits, counters);
            append_str(buffer, EVENT_ATTRIBUTE, &info.key, &text, limits.value_bytes);
        }
    }

    #[cold]
    fn withheld(&mut self, info: &FieldInfo, given: Given<'_>) {
        let (limits, counters) = (&self.config.limits, self.counters);
        if let Some(buffer) = self.admit() {
            append_withheld(buffer, EVENT_ATTRIBUTE, &info.key, info.treatment, given, limits, counters);
        }
    }

    fn message(&mut self, info: &FieldInfo, text: &str) {
        if info.treatment == Treatment::Redacted {
            self.counters.redacted_values.add(1);
            return self.name(REDACTED);
        }
        let limits = &self.config.limits;
        self.name(&masked(text, limits.value_bytes, limits, self.counters));
    }

    /// `name`: masked already.
    fn name(&mut self, name: &str) {
        self.has_name = !name.is_empty();
        self.scratch.name.clear();
        self.scratch.name.push_str(name);
    }

    /// An unnamed event with a field `error` is an exception: it fails the span with that text.
    fn is_exception(&self, field: &Field) -> bool {
        field.name() == "error" && !self.has_name
    }

    /// Whether a message decides if the event is an exception.
    fn is_decisive(&self, field: &Field) -> bool {
        field.name() == "message" && self.callsite.fields.iter().any(|info| info.key.text() == b"error")
    }

    fn fail(&mut self, info: &FieldInfo, text: &str) {
        self.fails_span = true;
        let limits = &self.config.limits;
        let text = match info.treatment {
            Treatment::Redacted => {
                self.counters.redacted_values.add(1);
                REDACTED.into()
            }
            _ => masked(text, limits.value_bytes, limits, self.counters),
        };
        let text = &*text;
        let limit = self.config.limits.value_bytes;
        self.scratch.status_message.clear();
        self.scratch.status_message.push_str(cut(text, limit));
        self.name("exception");
        self.other_text(EXCEPTION_MESSAGE, text);
    }

    fn other_text(&mut self, key: &str, text: &str) {
        self.has_other_keys = true;
        let limit = self.config.limits.value_bytes;
        if let Some(buffer) = self.admit() {
            append_str(buffer, EVENT_ATTRIBUTE, &EncodedKey::new(key), text, limit);
        }
    }

    fn other_texts(&mut self, key: &str, texts: &[String]) {
        let limit = self.config.limits.value_bytes;
        if let Some(buffer) = self.admit() {
            let texts = texts.iter().map(|text| cut(text, limit));
            append_strings(buffer, EVENT_ATTRIBUTE, &EncodedKey::new(key), texts);
        }
    }
}

impl Visit for EventVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.is_exception(field) {
            return self.record_debug(field, &value);
        }
        let (limits, counters) = (&self.config.limits, self.counters);
        self.plain(field, value, Given::Text(value), |buffer, key| {
            let text = masked(value, limits.value_bytes, limits, counters);
            append_str(buffer, EVENT_ATTRIBUTE, key, &text, limits.value_bytes);
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value, Given::Int(value), |buffer, key| {
            append_int(buffer, EVENT_ATTRIBUTE, key, value)
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.record_debug(field, &value),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field, value, Given::Double(value), |buffer, key| {
            append_double(buffer, EVENT_ATTRIBUTE, key, value)
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value, Given::Bool(value), |buffer, key| {
            append_bool(buffer, EVENT_ATTRIBUTE, key, value)
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if !self.config.export && !self.is_exception(field) && !self.is_decisive(field) {
            return;
        }
        let Some(info) = self.info(field) else { return };
        if matches!(info.treatment, Treatment::Redacted | Treatment::LeftOut) {
            // What nobody will see is not formatted; it may be the event's name or an exception all the same.
            return self.debug_text(field, info, "", 0);
        }
        let limits = &self.config.limits;
        let limit = limit_of(info.treatment, limits);
        let mut text = std::mem::take(&mut self.scratch.text);
        let counted_to =
            if info.treatment == Treatment::Content { limit.saturating_mul(COUNTED_LIMITS) } else { limit };
        let len = format_counted(&mut text, format_args!("{value:?}"), limit, counted_to, self.counters);
        self.debug_text(field, info, &text, len);
        self.scratch.text = text;
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if !self.config.export {
            return;
        }
        let Some(info) = self.info(field) else { return };
        let limits = &self.config.limits;
        let texts = format_error(value, limits.value_bytes, self.counters);
        let Some(texts) = masked_error(texts, info.treatment, limits, self.counters) else { return };
        self.other_text(EXCEPTION_MESSAGE, &texts.message);
        self.other_texts(EXCEPTION_STACKTRACE, &texts.sources);
        self.other_text(field.name(), &texts.message);
        self.other_texts(&format!("{}.chain", field.name()), &texts.sources);
        self.exception = Some(texts);
    }
}
