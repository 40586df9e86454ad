//! Reading the fields of a span: values become encoded attributes, `otel.*` fields become properties of the span.
//!
//! Runs before any lock is taken, because a value's `Debug` is user code. What it finds goes into buffers the
//! thread keeps, and from there into the span in one step.

use std::cell::Cell;
use std::error::Error;
use std::fmt::Debug;

use tracing_core::Field;
use tracing_core::field::Visit;

use crate::encode::span::{
    EncodedKey, SPAN_ATTRIBUTE, STATUS_ERROR, STATUS_OK, append_bool, append_double, append_int, append_str,
    append_strings, cut,
};

use crate::privacy::{REDACTED, Treatment};

use super::callsite::{Callsite, FieldInfo, Role, mode};
use super::config::{LayerConfig, Limits};
use super::counters::LayerCounters;
use super::user_text::{ErrorTexts, format_counted, format_error, format_into};
use super::withheld::{Given, append_withheld, limit_of, masked, masked_error};

/// Buffers of a thread. The attributes are empty at the start of a callback; what the others hold is left over
/// from earlier ones, and whoever uses one empties it first.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Encoded attributes.
    pub(crate) attributes: Vec<u8>,
    /// `otel.name`, or an event's name.
    pub(crate) name: String,
    pub(crate) status_message: String,
    /// Counts only if the [`Changes`] that go with it say so.
    pub(crate) properties: Properties,
    /// A value being formatted.
    pub(crate) text: String,
    /// An event without its tag and length.
    pub(crate) event: Vec<u8>,
    /// An event's field.
    pub(crate) event_field: Vec<u8>,
}

/// A buffer that grew past this is not kept; the others are bounded by the limits of values.
const KEPT_CAPACITY: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    /// The properties, to be changed; forgotten first if they are not of this callback.
    pub(crate) fn properties_for(&mut self, changes: &mut Changes) -> &mut Properties {
        if !std::mem::replace(&mut changes.has_properties, true) {
            self.properties = Properties::default();
        }
        &mut self.properties
    }

    /// Runs `f` with this thread's buffers; with fresh ones if they are in use or the thread is ending.
    #[inline]
    pub(crate) fn lend<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default();
        let result = f(&mut scratch);
        scratch.attributes.clear();
        if scratch.attributes.capacity() > KEPT_CAPACITY {
            scratch = Box::default();
        }
        let _ = SCRATCH.try_with(|cell| cell.set(Some(scratch)));
        result
    }
}

/// What a visit found beside the attributes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    /// Bits of the fields that were encoded.
    pub(crate) bits: u64,
    /// How many attributes were encoded.
    pub(crate) count: u32,
    /// Keys that are no field, or one key twice: they must be looked for one by one.
    pub(crate) has_other_keys: bool,
    /// [`Scratch::properties`] holds something.
    pub(crate) has_properties: bool,
}

/// What fields can say about a span beyond attributes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Properties {
    pub(crate) has_name: bool,
    pub(crate) has_message: bool,
    pub(crate) kind: Option<u8>,
    pub(crate) status: Option<u8>,
    /// Whether it now carries a workflow's name.
    pub(crate) marked: Option<bool>,
    pub(crate) detached: Option<bool>,
}

/// Encodes the fields of one span.
#[derive(Debug)]
pub(crate) struct SpanVisitor<'a> {
    fields: &'static [FieldInfo],
    mode: u8,
    limits: &'a Limits,
    counters: &'a LayerCounters,
    scratch: &'a mut Scratch,
    pub(crate) changes: Changes,
}

impl<'a> SpanVisitor<'a> {
    #[inline]
    pub(crate) fn new(
        callsite: &'static Callsite,
        config: &'a LayerConfig,
        counters: &'a LayerCounters,
        scratch: &'a mut Scratch,
    ) -> Self {
        let (fields, limits) = (&*callsite.fields, &config.limits);
        let mode = mode::of(config.export);
        SpanVisitor { fields, mode, limits, counters, scratch, changes: Changes::default() }
    }

    #[inline]
    fn info(&self, field: &Field) -> Option<&'static FieldInfo> {
        self.fields.get(field.index())
    }

    fn exports(&self) -> bool {
        self.mode == mode::EXPORT
    }

    /// Notes that a value that is no text is about to be encoded; `None` if it is not to be, or not as it is.
    #[inline]
    fn admit_number(&mut self, info: &FieldInfo) -> Option<&mut Vec<u8>> {
        if info.kept_in & self.mode == 0 { None } else { self.admit(info) }
    }

    /// Notes that an attribute is about to be encoded; `None` if it is not to be.
    #[inline]
    fn admit(&mut self, info: &FieldInfo) -> Option<&mut Vec<u8>> {
        if info.written_in & self.mode == 0 {
            return None;
        }
        self.changes.has_other_keys |= self.changes.bits & info.bit != 0;
        self.changes.bits |= info.bit;
        self.changes.count = self.changes.count.wrapping_add(1);
        Some(&mut self.scratch.attributes)
    }

    #[inline]
    fn text(&mut self, info: &FieldInfo, text: &str) {
        if !info.is_plain {
            return self.special_text(info, text);
        }
        if text.len() >= self.limits.masked_from {
            return self.long_text(info, text);
        }
        let limit = self.limits.value_bytes;
        if let Some(buffer) = self.admit(info) {
            append_str(buffer, SPAN_ATTRIBUTE, &info.key, text, limit);
        }
    }

    /// Text that may hold a secret.
    fn long_text(&mut self, info: &FieldInfo, text: &str) {
        if info.written_in & self.mode != 0 {
            self.masked_text(info, &masked(text, self.limits.value_bytes, self.limits, self.counters));
        }
    }

    /// Text that holds no secret any more.
    pub(crate) fn masked_text(&mut self, info: &FieldInfo, text: &str) {
        let limit = self.limits.value_bytes;
        if let Some(buffer) = self.admit(info) {
            append_str(buffer, SPAN_ATTRIBUTE, &info.key, text, limit);
        }
    }

    /// Writes what may be told of a value that is not written as it is.
    #[cold]
    fn withheld(&mut self, info: &FieldInfo, value: Given<'_>) {
        if info.written_in & self.mode == 0 {
            return;
        }
        let Scratch { attributes, .. } = &mut *self.scratch;
        let written = append_withheld(
            attributes,
            SPAN_ATTRIBUTE,
            &info.key,
            info.treatment,
            value,
            self.limits,
            self.counters,
        );
        if written > 0 {
            // The bit is that of the field's own key.
            self.changes.has_other_keys |= self.changes.bits & info.bit != 0 || written > 1;
            self.changes.bits |= info.bit;
            self.changes.count = self.changes.count.wrapping_add(written);
        }
    }

    #[cold]
    fn special_text(&mut self, info: &FieldInfo, text: &str) {
        if info.role == Role::Attribute {
            return self.withheld(info, Given::Text(text));
        }
        let limit = self.limits.value_bytes;
        let text = match info.treatment {
            Treatment::Redacted => {
                self.counters.redacted_values.add(1);
                REDACTED.into()
            }
            _ => masked(text, limit, self.limits, self.counters),
        };
        let text = &*text;
        if info.role.is_property() {
            return set_property(info.role, text, self.limits, self.scratch, &mut self.changes);
        }
        note_fact(info.role, text, self.scratch, &mut self.changes);
        if let Some(buffer) = self.admit(info) {
            match info.role {
                Role::DependsOn => append_names(buffer, &info.key, text, limit),
                _ => append_str(buffer, SPAN_ATTRIBUTE, &info.key, text, limit),
            }
        }
    }

    /// Encodes an attribute whose key is no field.
    fn other_text(&mut self, key: &str, text: &str) {
        self.note_other();
        let limit = self.limits.value_bytes;
        append_str(&mut self.scratch.attributes, SPAN_ATTRIBUTE, &EncodedKey::new(key), text, limit);
    }

    fn other_texts(&mut self, key: &str, texts: &[String]) {
        self.note_other();
        let limit = self.limits.value_bytes;
        let texts = texts.iter().map(|text| cut(text, limit));
        append_strings(&mut self.scratch.attributes, SPAN_ATTRIBUTE, &EncodedKey::new(key), texts);
    }

    fn note_other(&mut self) {
        self.changes.has_other_keys = true;
        self.changes.count = self.changes.count.saturating_add(1);
    }

    /// Encodes what an error says, masked already, under the keys of an exception.
    pub(crate) fn exception(&mut self, texts: &ErrorTexts) {
        self.other_text(EXCEPTION_MESSAGE, &texts.message);
        self.other_texts(EXCEPTION_STACKTRACE, &texts.sources);
    }
}

pub(crate) const EXCEPTION_MESSAGE: &str = "exception.message";
/// Holds the chain of sources: a stack trace cannot be had from an error.
pub(crate) const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";

impl Visit for SpanVisitor<'_> {
    #[inline]
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(info) = self.info(field) {
            self.text(info, value);
        }
    }

    #[inline]
    fn record_i64(&mut self, field: &Field, value: i64) {
        let Some(info) = self.info(field) else { return };
        if let Some(buffer) = self.admit_number(info) {
            append_int(buffer, SPAN_ATTRIBUTE, &info.key, value);
        } else if info.treatment != Treatment::Plain {
            self.withheld(info, Given::Int(value));
        }
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
        let Some(info) = self.info(field) else { return };
        if let Some(buffer) = self.admit_number(info) {
            append_double(buffer, SPAN_ATTRIBUTE, &info.key, value);
        } else if info.treatment != Treatment::Plain {
            self.withheld(info, Given::Double(value));
        }
    }

    #[inline]
    fn record_bool(&mut self, field: &Field, value: bool) {
        let Some(info) = self.info(field) else { return };
        if info.role == Role::Detached {
            self.scratch.properties_for(&mut self.changes).detached = Some(value);
        }
        if let Some(buffer) = self.admit_number(info) {
            append_bool(buffer, SPAN_ATTRIBUTE, &info.key, value);
        } else if info.treatment != Treatment::Plain {
            self.withheld(info, Given::Bool(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let Some(info) = self.info(field) else { return };
        if info.written_in & self.mode == 0 && info.role == Role::Attribute {
            return;
        }
        if matches!(info.treatment, Treatment::Redacted | Treatment::LeftOut) && info.role == Role::Attribute
        {
            // What nobody will see is not formatted.
            return self.withheld(info, Given::Text(""));
        }
        let mut text = std::mem::take(&mut self.scratch.text);
        let limit = limit_of(info.treatment, self.limits);
        if info.treatment == Treatment::Content {
            let counted_to = limit.saturating_mul(COUNTED_LIMITS);
            let len = format_counted(&mut text, format_args!("{value:?}"), limit, counted_to, self.counters);
            self.withheld(info, Given::Formatted(&text, len));
        } else {
            format_into(&mut text, format_args!("{value:?}"), limit, self.counters);
            self.text(info, &text);
        }
        self.scratch.text = text;
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let Some(info) = self.info(field) else { return };
        if !self.exports() {
            // The analysis reads no error's text; what fails is told by the status.
            return;
        }
        let texts = format_error(value, self.limits.value_bytes, self.counters);
        let Some(texts) = masked_error(texts, info.treatment, self.limits, self.counters) else { return };
        self.exception(&texts);
        self.text(info, &texts.message);
        self.other_texts(&format!("{}.chain", field.name()), &texts.sources);
    }
}

/// The length of a content that is cut is counted up to so many times the limit.
pub(crate) const COUNTED_LIMITS: usize = 64;

/// Takes in what a field or attribute says that is a property of the span.
pub(crate) fn set_property(
    role: Role,
    text: &str,
    limits: &Limits,
    scratch: &mut Scratch,
    changes: &mut Changes,
) {
    let properties = scratch.properties_for(changes);
    match role {
        Role::SpanName => {
            properties.has_name = !text.is_empty();
            scratch.name.clear();
            scratch.name.push_str(cut(text, limits.name_bytes));
        }
        Role::SpanKind => properties.kind = kind_named(text).or(properties.kind),
        // `Ok` has the last word, within one visit too.
        Role::StatusCode if properties.status != Some(STATUS_OK) => {
            properties.status = status_named(text).or(properties.status);
        }
        Role::StatusDescription => {
            properties.status = properties.status.or(Some(STATUS_ERROR));
            properties.has_message = true;
            scratch.status_message.clear();
            scratch.status_message.push_str(cut(text, limits.value_bytes));
        }
        _ => {}
    }
}

/// Takes in what an attribute says that the layer must know of itself.
pub(crate) fn note_fact(role: Role, text: &str, scratch: &mut Scratch, changes: &mut Changes) {
    match role {
        Role::WorkflowName => scratch.properties_for(changes).marked = Some(!text.is_empty()),
        Role::Detached => {
            let properties = scratch.properties_for(changes);
            properties.detached = text.parse().ok().or(properties.detached);
        }
        _ => {}
    }
}

/// Names kept of a list.
const MAX_NAMES: usize = 128;

/// Appends the names in `text` as a list.
pub(crate) fn append_names(buffer: &mut Vec<u8>, key: &EncodedKey, text: &str, limit: usize) {
    let names = names_in(text).take(MAX_NAMES).map(|name| cut(name, limit));
    append_strings(buffer, SPAN_ATTRIBUTE, key, names);
}

/// The names in `a, b`, or in the debug text of a list, `["a", "b"]`.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty())
}

/// The OTLP number of a span kind's name.
fn kind_named(name: &str) -> Option<u8> {
    let kinds = ["internal", "server", "client", "producer", "consumer"];
    let index = kinds.iter().position(|kind| name.eq_ignore_ascii_case(kind))?;
    u8::try_from(index).ok()?.checked_add(1)
}

/// The OTLP number of a status code's name.
fn status_named(name: &str) -> Option<u8> {
    if name.eq_ignore_ascii_case("ok") {
        Some(STATUS_OK)
    } else if name.eq_ignore_ascii_case("error") {
        Some(STATUS_ERROR)
    } else {
        None
    }
}
