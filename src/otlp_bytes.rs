//! Span records → OTLP protobuf.
//!
//! What is written of a record's attributes are those that were kept when it was read, in their own words; reading the
//! bytes again gives equal records.

use std::sync::Arc;

use crate::conventions::{EDGE, WORKFLOW_NAME};
use crate::span_record::{Link, Origin, SpanKind, SpanRecord, Status};

/// The spans as one `TracesData` message, in their order, which [`decode`](crate::decode::decode) reads back.
///
/// Attributes are written of records that were decoded with
/// [`Limits::keeps_attributes`](crate::decode::Limits::keeps_attributes): those that longpole reads. Other attributes,
/// events and status messages are not kept in records. O(n) time and memory.
pub fn traces_data<'r>(records: impl IntoIterator<Item = &'r SpanRecord>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut spans = Vec::new();
    let mut origin: Option<&Arc<Origin>> = None;
    for record in records {
        if origin.is_some_and(|origin| *origin != record.origin) {
            append_resource_spans(&mut bytes, origin, &std::mem::take(&mut spans));
        }
        origin = Some(&record.origin);
        append_field(&mut spans, 2, &span(record));
    }
    append_resource_spans(&mut bytes, origin, &spans);
    bytes
}

/// Marks a span as the root of a run of this workflow, as if it had said so itself.
pub fn mark_workflow(record: &mut SpanRecord, workflow: &str) {
    let facts = record.facts.get_or_insert_default();
    facts.workflow_name = Some(workflow.into());
    let mut told = facts.told.take().unwrap_or_default().into_vec();
    append_text(&mut told, 9, WORKFLOW_NAME, workflow);
    facts.told = Some(told.into());
}

/// Appends spans of one origin, as `ScopeSpans.spans` fields.
fn append_resource_spans(bytes: &mut Vec<u8>, origin: Option<&Arc<Origin>>, spans: &[u8]) {
    let Some(origin) = origin else { return };
    let mut resource = Vec::new();
    for (key, text) in [
        ("service.name", &origin.service_name),
        ("service.version", &origin.service_version),
        ("host.id", &origin.host),
    ] {
        if let Some(text) = text {
            append_text(&mut resource, 1, key, text);
        }
    }
    let mut resource_spans = Vec::new();
    append_field(&mut resource_spans, 1, &resource);
    append_field(&mut resource_spans, 2, spans);
    append_field(bytes, 1, &resource_spans);
}

fn span(record: &SpanRecord) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    append_field(&mut bytes, 1, &record.trace_id.to_bytes());
    append_field(&mut bytes, 2, &record.span_id.to_bytes());
    if let Some(parent) = record.parent_id {
        append_field(&mut bytes, 4, &parent.to_bytes());
    }
    append_field(&mut bytes, 5, record.name.as_bytes());
    bytes.extend_from_slice(&[6 << 3, kind_number(record.kind)]);
    for (number, time) in [(7u8, record.start), (8, record.end)] {
        bytes.push(number << 3 | 1);
        bytes.extend_from_slice(&time.as_unix_nanos().to_le_bytes());
    }
    bytes.extend_from_slice(
        record.facts.as_deref().and_then(|facts| facts.told.as_deref()).unwrap_or_default(),
    );
    for link in record.links.iter().flatten() {
        append_link(&mut bytes, link);
    }
    let code = match record.status {
        Status::Unset => None,
        Status::Ok => Some(1),
        Status::Error => Some(2),
    };
    if let Some(code) = code {
        append_field(&mut bytes, 15, &[3 << 3, code]);
    }
    bytes
}

fn append_link(bytes: &mut Vec<u8>, link: &Link) {
    let mut message = Vec::new();
    append_field(&mut message, 1, &link.trace_id.to_bytes());
    append_field(&mut message, 2, &link.span_id.to_bytes());
    if link.is_dependency {
        append_text(&mut message, 4, EDGE, "depends_on");
    }
    append_field(bytes, 13, &message);
}

/// As OTLP numbers them.
fn kind_number(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Unspecified => 0,
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

/// Appends a text attribute as field `number`.
fn append_text(bytes: &mut Vec<u8>, number: u8, key: &str, text: &str) {
    let mut value = Vec::new();
    append_field(&mut value, 1, text.as_bytes());
    let mut attribute = Vec::new();
    append_field(&mut attribute, 1, key.as_bytes());
    append_field(&mut attribute, 2, &value);
    append_field(bytes, number, &attribute);
}

/// Appends a count as a `Span.attributes` field.
#[cfg(feature = "layer")]
pub(crate) fn append_count(bytes: &mut Vec<u8>, key: &str, count: u64) {
    let mut value = vec![3 << 3];
    append_varint(&mut value, count);
    let mut attribute = Vec::new();
    append_field(&mut attribute, 1, key.as_bytes());
    append_field(&mut attribute, 2, &value);
    append_field(bytes, 9, &attribute);
}

/// Appends a length-delimited field; numbers up to 15 take one byte.
pub(crate) fn append_field(bytes: &mut Vec<u8>, number: u8, content: &[u8]) {
    bytes.push(number << 3 | 2);
    append_varint(bytes, content.len() as u64);
    bytes.extend_from_slice(content);
}

/// Appends a base-128 number, one to ten bytes.
pub(crate) fn append_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
