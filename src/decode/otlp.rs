//! OTLP protobuf → span records.
//!
//! [`decode_span`] is the one place where a record is made from wire bytes; the live pipeline calls it for every
//! span, so it allocates nothing but what the record holds.

use std::sync::Arc;

use super::DecodeError;
use super::protobuf::{Field, Fields, Value};
use super::sink::Sink;
use crate::attribute_reader::{AttributeReader, AttributeValue};
use crate::conventions::EDGE;
use crate::ids::{SpanId, TraceId};
use crate::span_record::{Interner, Link, Origin, SpanKind, SpanRecord, Status, Timing};
use crate::time::Timestamp;

/// How many strings of an array attribute are read.
const MAX_STRINGS: usize = 1_024;

/// Reads a `TracesData` message that starts at `offset` of the input. Where it is damaged, only what the damaged
/// part holds is lost.
pub(super) fn read_traces(bytes: &[u8], offset: usize, sink: &mut Sink<'_>) {
    let mut fields = Fields::new(bytes, offset);
    let mut resource = 0usize;
    while let Some(field) = fields.next() {
        match field {
            Ok(Field { number: 1, value: Value::Bytes(message) }) => {
                read_resource_spans(message, fields.start_of(message), resource, sink);
                resource = resource.saturating_add(1);
            }
            Ok(_) => {}
            Err(problem) => sink.problem(problem),
        }
    }
}

/// Which span of a document.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) line: Option<usize>,
    pub(super) resource: usize,
    pub(super) scope: usize,
    pub(super) span: usize,
}

impl Place {
    pub(super) fn of(&self, field: &str) -> String {
        format!("{}.{field}", self.whole())
    }

    pub(super) fn whole(&self) -> String {
        let Place { scope, span, .. } = self;
        format!("{}.scopeSpans[{scope}].spans[{span}]", self.of_resource())
    }

    pub(super) fn of_resource(&self) -> String {
        let line = self.line.map_or_else(String::new, |line| format!("line {line}: "));
        format!("{line}resourceSpans[{}]", self.resource)
    }
}

/// Reads the `ResourceSpans` message that starts at `offset` of the input and is the `resource`-th there.
pub(super) fn read_resource_spans(message: &[u8], offset: usize, resource: usize, sink: &mut Sink<'_>) {
    // The resource may stand behind the spans, so it is looked for first.
    let mut origin = Origin::default();
    for field in Fields::whole(message) {
        if let Field { number: 1, value: Value::Bytes(resource) } = field {
            origin = decode_origin(resource, &mut sink.interner);
        }
    }
    let origin = Arc::new(origin);
    let mut place = Place { resource, ..Place::default() };
    let mut fields = Fields::new(message, offset);
    while let Some(field) = fields.next() {
        let scope = match field {
            Ok(Field { number: 2, value: Value::Bytes(scope) }) => scope,
            Ok(_) => continue,
            Err(problem) => return sink.problem(problem),
        };
        let name = scope_name(scope).unwrap_or_default();
        let mut in_scope = Fields::new(scope, fields.start_of(scope));
        place.span = 0;
        while let Some(field) = in_scope.next() {
            match field {
                Ok(Field { number: 2, value: Value::Bytes(span) }) => {
                    let start = in_scope.start_of(span);
                    let reader = AttributeReader::of_scope(name);
                    let decoded = decode_span_at(span, start, &place, &origin, reader, &mut sink.interner);
                    sink.take(decoded);
                    place.span = place.span.saturating_add(1);
                }
                Ok(_) => {}
                Err(problem) => sink.problem(problem),
            }
        }
        place.scope = place.scope.saturating_add(1);
    }
}

/// The name of the instrumentation that wrote the spans of a `ScopeSpans` message.
fn scope_name(message: &[u8]) -> Option<&str> {
    let bytes_of = |message, number| {
        let fields = Fields::whole(message).filter(|field| field.number == number);
        fields.filter_map(|field| field.value.bytes()).next()
    };
    std::str::from_utf8(bytes_of(bytes_of(message, 1)?, 1)?).ok()
}

/// What a `Resource` message says about who sent its spans. Damage in it is as if the rest were not there.
fn decode_origin(resource: &[u8], interner: &mut Interner) -> Origin {
    let mut origin = Origin::default();
    let (mut host_ip, mut host_name) = (None, None);
    for field in Fields::whole(resource) {
        let Field { number: 1, value: Value::Bytes(attribute) } = field else { continue };
        let Some((key, value)) = text_attribute_of(attribute) else { continue };
        let text = match &value {
            AttributeValue::Str(text) => Some(text),
            AttributeValue::Strings(texts) if key == "host.ip" => texts.first(),
            _ => None,
        };
        let slot = match key {
            "service.name" => &mut origin.service_name,
            "service.version" => &mut origin.service_version,
            "host.id" => &mut origin.host,
            "host.ip" => &mut host_ip,
            "host.name" => &mut host_name,
            _ => continue,
        };
        *slot = text.map(|text| interner.intern(text)).or(slot.take());
    }
    origin.host = origin.host.or(host_ip).or(host_name);
    origin
}

/// Reads one `Span` message.
///
/// # Errors
/// [`DecodeError::Protobuf`] if it is damaged, [`DecodeError::Field`] if an id has the wrong length.
pub fn decode_span(
    message: &[u8],
    origin: &Arc<Origin>,
    interner: &mut Interner,
) -> Result<SpanRecord, DecodeError> {
    decode_span_at(message, 0, &Place::default(), origin, AttributeReader::default(), interner)
}

fn decode_span_at(
    message: &[u8],
    offset: usize,
    place: &Place,
    origin: &Arc<Origin>,
    mut attributes: AttributeReader,
    interner: &mut Interner,
) -> Result<SpanRecord, DecodeError> {
    let mut record = empty_record(origin);
    let (mut has_trace_id, mut has_span_id) = (false, false);
    let mut links = Vec::new();
    let mut fields = Fields::new(message, offset);
    while let Some(Field { number, value }) = fields.read().map_err(|what| fields.error(what))? {
        match (number, value) {
            (1, Value::Bytes(id)) => {
                record.trace_id = TraceId::from_slice(id).ok_or_else(|| wrong_id(place, "traceId", id))?;
                has_trace_id = true;
            }
            (2, Value::Bytes(id)) => {
                record.span_id = SpanId::from_slice(id).ok_or_else(|| wrong_id(place, "spanId", id))?;
                has_span_id = true;
            }
            (4, Value::Bytes([])) => record.parent_id = None,
            (4, Value::Bytes(id)) => {
                let parent = SpanId::from_slice(id).ok_or_else(|| wrong_id(place, "parentSpanId", id))?;
                record.parent_id = Some(parent).filter(|id| !id.is_zero());
            }
            (5, Value::Bytes(name)) => record.name = interner.intern_bytes(name),
            (6, Value::Varint(kind)) => record.kind = SpanKind::from_otlp(kind),
            (7, Value::Fixed64(start)) => record.start = Timestamp::from_unix_nanos(start),
            (8, Value::Fixed64(end)) => record.end = Timestamp::from_unix_nanos(end),
            (9, Value::Bytes(attribute)) => {
                read_attribute(attribute, &mut attributes, &mut record, interner);
            }
            (13, Value::Bytes(link)) if links.len() < Link::MAX => links.extend(link_of(link)),
            (15, Value::Bytes(status)) => record.status = status_of(status),
            _ => {}
        }
    }
    if !has_trace_id {
        return Err(wrong_id(place, "traceId", &[]));
    }
    if !has_span_id {
        return Err(wrong_id(place, "spanId", &[]));
    }
    record.links = boxed_links(links);
    attributes.finish(&mut record, interner);
    Ok(record)
}

/// The node that `Span.attributes` fields of a span called `name` make of it, if they do.
#[cfg(feature = "layer")]
pub(crate) fn node_of_attributes(fields: &[u8], name: &str, interner: &mut Interner) -> Option<Arc<str>> {
    record_of_attributes(fields, name, interner).node_id()
}

/// The workflow that `Span.attributes` fields mark a span with.
#[cfg(feature = "layer")]
pub(crate) fn workflow_of_attributes(fields: &[u8], interner: &mut Interner) -> Option<Arc<str>> {
    record_of_attributes(fields, "", interner).workflow_name().cloned()
}

/// A span of which nothing is known but its name and `Span.attributes` fields.
#[cfg(feature = "layer")]
pub(crate) fn record_of_attributes(fields: &[u8], name: &str, interner: &mut Interner) -> SpanRecord {
    let mut record = empty_record(&Arc::default());
    record.name = interner.intern(name);
    let mut attributes = AttributeReader::default();
    for field in Fields::whole(fields) {
        if let Field { number: 9, value: Value::Bytes(attribute) } = field {
            read_attribute(attribute, &mut attributes, &mut record, interner);
        }
    }
    attributes.finish(&mut record, interner);
    record
}

/// The keys of a `Span` message's attributes, as far as it is whole.
#[cfg(feature = "layer")]
pub(crate) fn attribute_keys(message: &[u8]) -> impl Iterator<Item = &str> {
    let attributes = Fields::whole(message).filter(|field| field.number == 9);
    attributes.filter_map(|field| {
        let mut fields = Fields::new(field.value.bytes()?, 0).map_while(Result::ok);
        let key = fields.find(|field| field.number == 1)?.value.bytes()?;
        std::str::from_utf8(key).ok()
    })
}

/// A record with nothing in it yet.
pub(super) fn empty_record(origin: &Arc<Origin>) -> SpanRecord {
    SpanRecord {
        trace_id: TraceId::default(),
        span_id: SpanId::default(),
        parent_id: None,
        name: Arc::default(),
        kind: SpanKind::Unspecified,
        start: Timestamp::EPOCH,
        end: Timestamp::EPOCH,
        status: Status::Unset,
        timing: Timing::default(),
        facts: None,
        links: None,
        origin: origin.clone(),
        local: None,
    }
}

/// The trace and span id of a `Span` message, read no further than needed; `None` if it has none.
#[cfg(feature = "layer")]
pub(crate) fn span_ids(message: &[u8]) -> Option<(TraceId, SpanId)> {
    let (mut trace_id, mut span_id) = (None, None);
    for field in Fields::whole(message) {
        match field {
            Field { number: 1, value: Value::Bytes(id) } => trace_id = TraceId::from_slice(id),
            Field { number: 2, value: Value::Bytes(id) } => span_id = SpanId::from_slice(id),
            _ => {}
        }
        if let (Some(trace_id), Some(span_id)) = (trace_id, span_id) {
            return Some((trace_id, span_id));
        }
    }
    None
}

fn wrong_id(place: &Place, field: &str, id: &[u8]) -> DecodeError {
    let hex: String = id.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
    let wanted = if field == "traceId" { "16 bytes" } else { "8 bytes" };
    DecodeError::Field { place: place.of(field), value: hex, wanted }
}

/// The span a `Link` message points to; `None` if it does not say or is damaged.
fn link_of(message: &[u8]) -> Option<Link> {
    let (mut trace_id, mut span_id, mut is_dependency) = (None, None, false);
    for field in Fields::new(message, 0) {
        match field.ok()? {
            Field { number: 1, value: Value::Bytes(id) } => trace_id = TraceId::from_slice(id),
            Field { number: 2, value: Value::Bytes(id) } => span_id = SpanId::from_slice(id),
            Field { number: 4, value: Value::Bytes(attribute) } => {
                let attribute = text_attribute_of(attribute);
                is_dependency |= attribute.is_some_and(|(key, value)| is_dependency_edge(key, &value));
            }
            _ => {}
        }
    }
    Some(Link { trace_id: trace_id?, span_id: span_id?, is_dependency })
}

/// Whether this attribute of a link says that the span waited for the one the link points to.
pub(super) fn is_dependency_edge(key: &str, value: &AttributeValue<'_>) -> bool {
    key == EDGE && *value == AttributeValue::Str("depends_on")
}

/// Links as a record holds them.
pub(super) fn boxed_links(links: Vec<Link>) -> Option<Box<[Link]>> {
    (!links.is_empty()).then(|| links.into_boxed_slice())
}

fn status_of(message: &[u8]) -> Status {
    let codes = Fields::whole(message);
    let code = codes.filter(|field| field.number == 3).filter_map(|field| field.value.varint()).last();
    match code {
        Some(1) => Status::Ok,
        Some(2) => Status::Error,
        _ => Status::Unset,
    }
}

/// Takes in a `KeyValue` message. Few attributes are read: the values of others are not looked at.
fn read_attribute(
    message: &[u8],
    attributes: &mut AttributeReader,
    record: &mut SpanRecord,
    interner: &mut Interner,
) {
    if let Some((key, value)) = attribute_of(message)
        && let Some(meaning) = interner.meaning_of(key)
    {
        attributes.take(record, (key, meaning), &any_value(value), interner);
    }
}

/// The heads of a `KeyValue`'s fields, and of what an `AnyValue` mostly holds.
const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;
const TEXT: u8 = 1 << 3 | 2;
const INT: u8 = 3 << 3;
const DOUBLE: u8 = 4 << 3 | 1;
/// From here on a length, or a number, has more than one byte.
const LONG: usize = 0x80;

/// Key and value of a `KeyValue` message; `None` if the key is missing or the message damaged. A missing value has no
/// bytes.
fn attribute_of(message: &[u8]) -> Option<(&[u8], &[u8])> {
    // As everybody writes it: the key, the value, nothing else, both short.
    if let [KEY, length, rest @ ..] = message
        && let Some((key, [VALUE, length, value @ ..])) = rest.split_at_checked(usize::from(*length))
        && value.len() == usize::from(*length)
        && key.len() < LONG
        && value.len() < LONG
    {
        return Some((key, value));
    }
    let (mut key, mut value) = (None, &[][..]);
    let mut fields = Fields::new(message, 0);
    while let Some(field) = fields.read().ok()? {
        match field {
            Field { number: 1, value: Value::Bytes(bytes) } => key = Some(bytes),
            Field { number: 2, value: Value::Bytes(bytes) } => value = bytes,
            _ => {}
        }
    }
    Some((key?, value))
}

/// The same, with the key as text and the value as far as it is read.
fn text_attribute_of(message: &[u8]) -> Option<(&str, AttributeValue<'_>)> {
    let (key, value) = attribute_of(message)?;
    Some((std::str::from_utf8(key).ok()?, any_value(value)))
}

/// An `AnyValue` as far as the analysis reads it: maps, bytes and arrays in arrays are not looked into, so nothing
/// here recurses.
fn any_value(message: &[u8]) -> AttributeValue<'_> {
    let as_text = |text| std::str::from_utf8(text).map_or(AttributeValue::Other, AttributeValue::Str);
    match message {
        [TEXT, length, text @ ..] if text.len() == usize::from(*length) && text.len() < LONG => {
            return as_text(text);
        }
        [INT, number @ ..] if is_one_varint(number) => {
            let value = number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & !CONTINUES));
            return AttributeValue::Int(value.cast_signed());
        }
        [DOUBLE, a, b, c, d, e, f, g, h] => {
            return AttributeValue::Double(f64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]));
        }
        _ => {}
    }
    let last = Fields::whole(message).last();
    match last {
        Some(Field { number: 1, value: Value::Bytes(text) }) => as_text(text),
        Some(Field { number: 2, value: Value::Varint(flag) }) => AttributeValue::Bool(flag != 0),
        Some(Field { number: 3, value: Value::Varint(number) }) => AttributeValue::Int(number.cast_signed()),
        Some(Field { number: 4, value: Value::Fixed64(bits) }) => {
            AttributeValue::Double(f64::from_bits(bits))
        }
        Some(Field { number: 5, value: Value::Bytes(array) }) => {
            let values = Fields::whole(array).filter(|field| field.number == 1);
            let strings = values.filter_map(|field| string_value(field.value.bytes()?));
            AttributeValue::Strings(strings.take(MAX_STRINGS).collect())
        }
        _ => AttributeValue::Other,
    }
}

/// The bit of a varint's byte behind which more follow.
const CONTINUES: u8 = 0x80;

/// Whether these are the bytes of one varint of at most 63 bits.
fn is_one_varint(bytes: &[u8]) -> bool {
    match bytes.split_last() {
        Some((last, more)) => {
            more.len() < 9 && *last < CONTINUES && more.iter().all(|byte| *byte >= CONTINUES)
        }
        None => false,
    }
}

fn string_value(message: &[u8]) -> Option<&str> {
    match Fields::whole(message).last()? {
        Field { number: 1, value: Value::Bytes(text) } => std::str::from_utf8(text).ok(),
        _ => None,
    }
}
