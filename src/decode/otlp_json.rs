//! OTLP JSON → span records, leniently.
//!
//! The specification wants lowerCamelCase keys, hex ids, 64-bit numbers as strings and enums as numbers. Backends
//! write snake_case, base64 ids, plain numbers and enum names too; all of it is read. Unknown fields are skipped.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::otlp::{Place, boxed_links, empty_record, is_dependency_edge};
use super::{DecodeError, Decoded, shortened};
use crate::ids::{SpanId, TraceId};
use crate::span_record::{AttributeValue, Interner, Link, Origin, SpanKind, SpanRecord, Status};
use crate::time::Timestamp;

/// Reads documents one after the other: one to a line, or one spread over many. A line that does not parse is told
/// about and passed over.
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    let mut interner = Interner::default();
    let mut rest = bytes;
    let mut line = 1usize;
    while !rest.is_empty() {
        let end_of_line =
            rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at.saturating_add(1));
        let (first, others) = rest.split_at_checked(end_of_line).unwrap_or((rest, &[]));
        let read = if first.iter().all(u8::is_ascii_whitespace) {
            end_of_line
        } else {
            match serde_json::from_slice::<Document<'_>>(first) {
                Ok(document) => {
                    document.take(line, &mut interner, &mut decoded);
                    end_of_line
                }
                Err(error) => match spread_document(rest, &error) {
                    Some((document, read)) => {
                        document.take(line, &mut interner, &mut decoded);
                        read
                    }
                    None => {
                        decoded.problems.push(json_error(line, &error));
                        end_of_line.saturating_add(next_document(others))
                    }
                },
            }
        };
        line = line.saturating_add(lines_in(rest.get(..read)));
        rest = rest.get(read..).unwrap_or_default();
    }
    decoded
}

/// The document at the start of `rest` and its length, if its first line alone ended too early or too late.
fn spread_document<'j>(rest: &'j [u8], error: &serde_json::Error) -> Option<(Document<'j>, usize)> {
    if !error.is_eof() && !error.is_syntax() {
        return None;
    }
    let mut documents = serde_json::Deserializer::from_slice(rest).into_iter::<Document<'j>>();
    let document = documents.next()?.ok()?;
    Some((document, documents.byte_offset().max(1)))
}

fn json_error(line: usize, error: &serde_json::Error) -> DecodeError {
    let text = error.to_string();
    // The error counts lines of what it was given; ours is the line in the input.
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    DecodeError::Json { line, column: error.column(), what: what.to_owned() }
}

/// How far it is to the next line that may begin a document. A broken line of its own is followed by one at once;
/// the lines of a broken document spread over many are not worth an error each.
fn next_document(rest: &[u8]) -> usize {
    let mut skipped = 0usize;
    for line in rest.split_inclusive(|byte| *byte == b'\n') {
        if matches!(line.first(), Some(b'{' | b'[')) {
            break;
        }
        skipped = skipped.saturating_add(line.len());
    }
    skipped
}

fn lines_in(bytes: Option<&[u8]>) -> usize {
    bytes.unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
}

/// A document, or one wrapped in what some query interfaces put around it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Document<'j> {
    #[serde(borrow, alias = "resource_spans", alias = "batches", rename = "resourceSpans")]
    resource_spans: Option<Vec<ResourceSpans<'j>>>,
    #[serde(borrow)]
    result: Option<Box<Document<'j>>>,
    #[serde(borrow)]
    trace: Option<Box<Document<'j>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResourceSpans<'j> {
    #[serde(borrow)]
    resource: Option<Resource<'j>>,
    #[serde(borrow, alias = "scope_spans", rename = "scopeSpans")]
    scope_spans: Option<Vec<ScopeSpans<'j>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resource<'j> {
    #[serde(borrow)]
    attributes: Option<Vec<KeyValue<'j>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ScopeSpans<'j> {
    #[serde(borrow)]
    spans: Option<Vec<Span<'j>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Span<'j> {
    #[serde(borrow, alias = "trace_id", rename = "traceId")]
    trace_id: Scalar<'j>,
    #[serde(borrow, alias = "span_id", rename = "spanId")]
    span_id: Scalar<'j>,
    #[serde(borrow, alias = "parent_span_id", rename = "parentSpanId")]
    parent_span_id: Scalar<'j>,
    #[serde(borrow)]
    name: Scalar<'j>,
    #[serde(borrow)]
    kind: Scalar<'j>,
    #[serde(borrow, alias = "start_time_unix_nano", rename = "startTimeUnixNano")]
    start: Scalar<'j>,
    #[serde(borrow, alias = "end_time_unix_nano", rename = "endTimeUnixNano")]
    end: Scalar<'j>,
    #[serde(borrow)]
    attributes: Option<Vec<KeyValue<'j>>>,
    #[serde(borrow)]
    links: Option<Vec<JsonLink<'j>>>,
    #[serde(borrow)]
    status: Option<JsonStatus<'j>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonLink<'j> {
    #[serde(borrow, alias = "trace_id", rename = "traceId")]
    trace_id: Scalar<'j>,
    #[serde(borrow, alias = "span_id", rename = "spanId")]
    span_id: Scalar<'j>,
    #[serde(borrow)]
    attributes: Option<Vec<KeyValue<'j>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonStatus<'j> {
    #[serde(borrow)]
    code: Scalar<'j>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct KeyValue<'j> {
    #[serde(borrow)]
    key: Scalar<'j>,
    #[serde(borrow)]
    value: Option<JsonValue<'j>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonValue<'j> {
    #[serde(borrow, alias = "string_value", rename = "stringValue")]
    string: Scalar<'j>,
    #[serde(borrow, alias = "bool_value", rename = "boolValue")]
    boolean: Scalar<'j>,
    #[serde(borrow, alias = "int_value", rename = "intValue")]
    int: Scalar<'j>,
    #[serde(borrow, alias = "double_value", rename = "doubleValue")]
    double: Scalar<'j>,
    #[serde(borrow, alias = "array_value", rename = "arrayValue")]
    array: Option<JsonArray<'j>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonArray<'j> {
    #[serde(borrow)]
    values: Option<Vec<ArrayItem<'j>>>,
}

/// Only strings count in arrays, and arrays in arrays are skipped.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ArrayItem<'j> {
    #[serde(borrow, alias = "string_value", rename = "stringValue")]
    string: Scalar<'j>,
}

/// A string, a number or a boolean; everything else is as if it were missing.
#[derive(Clone, Debug, Default, PartialEq)]
enum Scalar<'j> {
    #[default]
    Missing,
    Text(Cow<'j, str>),
    Unsigned(u64),
    Signed(i64),
    Double(f64),
    Flag(bool),
}

impl<'j, 'de: 'j> Deserialize<'de> for Scalar<'j> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Flag(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Signed(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Unsigned(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Double(value))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Missing)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Scalar<'de>, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Missing)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Missing)
    }
}

impl<'j> Scalar<'j> {
    fn text(&self) -> Option<&str> {
        if let Scalar::Text(text) = self { Some(text) } else { None }
    }

    fn as_u64(&self) -> Option<u64> {
        match self {
            Scalar::Unsigned(number) => Some(*number),
            Scalar::Signed(number) => u64::try_from(*number).ok(),
            // Writers that know no 64-bit integers; exact as long as the number is whole.
            Scalar::Double(number) if number.fract() == 0.0 && *number >= 0.0 && *number < 1.8e19 => {
                Some(*number as u64)
            }
            Scalar::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn as_i64(&self) -> Option<i64> {
        match self {
            Scalar::Signed(number) => Some(*number),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Double(number) if number.fract() == 0.0 && number.abs() < 9.2e18 => Some(*number as i64),
            other => other.as_u64().and_then(|number| i64::try_from(number).ok()),
        }
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Scalar::Double(number) => Some(*number),
            Scalar::Unsigned(number) => Some(*number as f64),
            Scalar::Signed(number) => Some(*number as f64),
            // "NaN" and "Infinity", as protobuf's JSON mapping writes them, parse too.
            Scalar::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Scalar::Missing => String::new(),
            Scalar::Text(text) => shortened(text),
            Scalar::Unsigned(number) => number.to_string(),
            Scalar::Signed(number) => number.to_string(),
            Scalar::Double(number) => number.to_string(),
            Scalar::Flag(flag) => flag.to_string(),
        }
    }

    /// The number of an enum given as a number or as one of `names`, with or without their prefix.
    fn as_enum(&self, prefix: &str, names: &[&str]) -> u64 {
        let by_name = |text: &str| {
            let name = text.strip_prefix(prefix).unwrap_or(text);
            names.iter().position(|known| known.eq_ignore_ascii_case(name)).map(|at| at as u64)
        };
        self.as_u64().or_else(|| by_name(self.text()?)).unwrap_or(0)
    }
}

impl<'j> JsonValue<'j> {
    fn as_attribute(&self) -> AttributeValue<'_> {
        if let Some(text) = self.string.text() {
            return AttributeValue::Str(text);
        }
        if let Scalar::Flag(flag) = self.boolean {
            return AttributeValue::Bool(flag);
        }
        if let Some(number) = self.int.as_i64() {
            return AttributeValue::Int(number);
        }
        if let Some(number) = self.double.as_f64() {
            return AttributeValue::Double(number);
        }
        match self.array.as_ref().and_then(|array| array.values.as_ref()) {
            Some(values) => {
                AttributeValue::Strings(values.iter().filter_map(|item| item.string.text()).collect())
            }
            None => AttributeValue::Other,
        }
    }
}

impl<'j> Document<'j> {
    fn take(self, line: usize, interner: &mut Interner, decoded: &mut Decoded) {
        let mut document = self;
        // Wrappers are as deep as the parser lets any document be.
        while document.resource_spans.is_none() {
            match document.result.or(document.trace) {
                Some(inner) => document = *inner,
                None => {
                    let found = "JSON without resourceSpans";
                    decoded.problems.push(DecodeError::NotOtlp { found });
                    return;
                }
            }
        }
        for (resource, in_resource) in document.resource_spans.unwrap_or_default().into_iter().enumerate() {
            let origin = Arc::new(in_resource.origin(interner));
            for (scope, in_scope) in in_resource.scope_spans.unwrap_or_default().into_iter().enumerate() {
                for (span, json) in in_scope.spans.unwrap_or_default().into_iter().enumerate() {
                    let place = Place { line: Some(line), resource, scope, span };
                    match json.into_record(&place, &origin, interner) {
                        Ok(record) => decoded.spans.push(record),
                        Err(problem) => decoded.problems.push(problem),
                    }
                }
            }
        }
    }
}

impl<'j> ResourceSpans<'j> {
    fn origin(&self, interner: &mut Interner) -> Origin {
        let attributes = self.resource.as_ref().and_then(|resource| resource.attributes.as_ref());
        let mut value = |key: &str| {
            let attribute = attributes?.iter().rev().find(|attribute| attribute.key.text() == Some(key))?;
            match attribute.value.as_ref()?.as_attribute() {
                AttributeValue::Str(text) => Some(interner.intern(text)),
                AttributeValue::Strings(texts) if key == "host.ip" => Some(interner.intern(texts.first()?)),
                _ => None,
            }
        };
        Origin {
            service_name: value("service.name"),
            service_version: value("service.version"),
            host: value("host.id").or_else(|| value("host.ip")).or_else(|| value("host.name")),
        }
    }
}

impl<'j> Span<'j> {
    fn into_record(
        self,
        place: &Place,
        origin: &Arc<Origin>,
        interner: &mut Interner,
    ) -> Result<SpanRecord, DecodeError> {
        let wrong = |field: &str, value: &Scalar<'_>, wanted| DecodeError::Field {
            place: place.of(field),
            value: value.shown(),
            wanted,
        };
        let mut record = empty_record(origin, interner);
        let trace_id = self.trace_id.text().and_then(id_bytes::<{ TraceId::LEN }>);
        let trace_id =
            trace_id.ok_or_else(|| wrong("traceId", &self.trace_id, "16 bytes in hex or base64"))?;
        record.trace_id = TraceId::from_bytes(trace_id);
        let span_id = self.span_id.text().and_then(id_bytes::<{ SpanId::LEN }>);
        let span_id = span_id.ok_or_else(|| wrong("spanId", &self.span_id, "8 bytes in hex or base64"))?;
        record.span_id = SpanId::from_bytes(span_id);
        if let Some(text) = self.parent_span_id.text().filter(|text| !text.is_empty()) {
            let parent = id_bytes::<{ SpanId::LEN }>(text);
            let parent = parent
                .ok_or_else(|| wrong("parentSpanId", &self.parent_span_id, "8 bytes in hex or base64"))?;
            record.parent_id = Some(SpanId::from_bytes(parent)).filter(|id| !id.is_zero());
        }
        record.name = interner.intern(self.name.text().unwrap_or_default());
        record.kind =
            SpanKind::from_otlp(self.kind.as_enum(
                "SPAN_KIND_",
                &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"],
            ));
        for (slot, value, field) in [
            (&mut record.start, &self.start, "startTimeUnixNano"),
            (&mut record.end, &self.end, "endTimeUnixNano"),
        ] {
            if *value != Scalar::Missing {
                let nanos = value.as_u64().ok_or_else(|| wrong(field, value, "a time in nanoseconds"))?;
                *slot = Timestamp::from_unix_nanos(nanos);
            }
        }
        for attribute in self.attributes.iter().flatten() {
            if let (Some(key), Some(value)) = (attribute.key.text(), &attribute.value) {
                record.read_attribute(key, &value.as_attribute(), interner);
            }
        }
        let links = self.links.iter().flatten().filter_map(JsonLink::link);
        record.links = boxed_links(links.take(Link::MAX).collect());
        let code = self.status.map(|status| status.code.as_enum("STATUS_CODE_", &["UNSET", "OK", "ERROR"]));
        record.status = match code {
            Some(1) => Status::Ok,
            Some(2) => Status::Error,
            _ => Status::Unset,
        };
        record.settle();
        Ok(record)
    }
}

impl JsonLink<'_> {
    /// `None` if it does not say which span it points to.
    fn link(&self) -> Option<Link> {
        let trace_id = TraceId::from_bytes(id_bytes(self.trace_id.text()?)?);
        let span_id = SpanId::from_bytes(id_bytes(self.span_id.text()?)?);
        let is_dependency = self.attributes.iter().flatten().any(|attribute| {
            let (key, value) = (attribute.key.text(), attribute.value.as_ref());
            key.zip(value).is_some_and(|(key, value)| is_dependency_edge(key, &value.as_attribute()))
        });
        Some(Link { trace_id, span_id, is_dependency })
    }
}

/// The bytes of an id in hex, as the specification wants it, or in base64, as protobuf's own JSON mapping does.
fn id_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() == N.saturating_mul(2) {
        let mut bytes = [0u8; N];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        return text.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(bytes);
    }
    from_base64(text)?.try_into().ok()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len());
    let mut window = 0u32;
    let mut bits = 0u32;
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit.wrapping_sub(b'A'),
            b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        window = window << 6 | u32::from(value);
        bits = bits.saturating_add(6);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            bytes.push((window >> bits) as u8);
        }
    }
    Some(bytes)
}
