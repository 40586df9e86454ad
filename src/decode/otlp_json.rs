//! OTLP JSON → span records, leniently.
//!
//! The specification wants lowerCamelCase keys, hex ids, 64-bit numbers as strings and enums as numbers. Backends
//! write snake_case, base64 ids, plain numbers and enum names too; all of it is read. Unknown fields are skipped.

mod plain;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::DecodeError;
use super::json_value::{Scalar, id_bytes};
use super::otlp::{Place, boxed_links, empty_record, is_dependency_edge};
use crate::attribute_reader::{AttributeReader, AttributeValue};
use crate::ids::{SpanId, TraceId};
use crate::span_record::{Interner, Link, Origin, SpanKind, SpanRecord, Status};
use crate::time::Timestamp;

pub(super) use plain::plain_span;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Resource<'j> {
    #[serde(borrow)]
    attributes: Option<Vec<KeyValue<'j>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Scope<'j> {
    #[serde(borrow)]
    pub(super) name: Scalar<'j>,
}

#[cfg_attr(test, derive(Debug, PartialEq))]
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Span<'j> {
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

#[cfg_attr(test, derive(Debug, PartialEq))]
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

#[cfg_attr(test, derive(Debug, PartialEq))]
#[derive(Deserialize, Default)]
#[serde(default)]
struct JsonStatus<'j> {
    #[serde(borrow)]
    code: Scalar<'j>,
}

#[cfg_attr(test, derive(Debug, PartialEq))]
#[derive(Deserialize, Default)]
#[serde(default)]
struct KeyValue<'j> {
    #[serde(borrow)]
    key: Scalar<'j>,
    #[serde(borrow)]
    value: Option<Value<'j>>,
}

/// The value of an attribute, small, as a span's attributes are held until the record takes them.
#[cfg_attr(test, derive(Debug, PartialEq))]
enum Value<'j> {
    Text(Cow<'j, str>),
    Flag(bool),
    Int(i64),
    Double(f64),
    Strings(Vec<Cow<'j, str>>),
    Other,
}

impl<'j, 'de: 'j> Deserialize<'de> for Value<'j> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JsonValue::deserialize(deserializer).map(JsonValue::into_value)
    }
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

impl<'j> JsonValue<'j> {
    fn into_value(self) -> Value<'j> {
        if let Scalar::Text(text) = self.string {
            return Value::Text(text);
        }
        if let Scalar::Flag(flag) = self.boolean {
            return Value::Flag(flag);
        }
        if let Some(number) = self.int.as_i64() {
            return Value::Int(number);
        }
        // A whole number that is none, or beyond 64 bits, is still told.
        if let Some(number) = self.int.as_f64().or_else(|| self.double.as_f64()) {
            return Value::Double(number);
        }
        let text = |item: ArrayItem<'j>| if let Scalar::Text(text) = item.string { Some(text) } else { None };
        match self.array.and_then(|array| array.values) {
            Some(values) => Value::Strings(values.into_iter().filter_map(text).collect()),
            None => Value::Other,
        }
    }
}

impl Value<'_> {
    fn as_attribute(&self) -> AttributeValue<'_> {
        match self {
            Value::Text(text) => AttributeValue::Str(text),
            Value::Flag(flag) => AttributeValue::Bool(*flag),
            Value::Int(number) => AttributeValue::Int(*number),
            Value::Double(number) => AttributeValue::Double(*number),
            Value::Strings(texts) => AttributeValue::Strings(texts.iter().map(|text| &**text).collect()),
            Value::Other => AttributeValue::Other,
        }
    }
}

impl Resource<'_> {
    pub(super) fn origin(&self, interner: &mut Interner) -> Origin {
        let attributes = self.attributes.as_ref();
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
    pub(super) fn into_record(
        self,
        place: &Place,
        origin: &Arc<Origin>,
        mut attributes: AttributeReader,
        interner: &mut Interner,
    ) -> Result<SpanRecord, DecodeError> {
        let wrong = |field: &str, value: &Scalar<'_>, wanted| DecodeError::Field {
            place: place.of(field),
            value: value.shown(),
            wanted,
        };
        let mut record = empty_record(origin);
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
                attributes.read(&mut record, key, &value.as_attribute(), interner);
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
        attributes.finish(&mut record, interner);
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
