//! Jaeger's own JSON (v1) → span records.
//!
//! A trace is `{"traceID", "spans": […], "processes": {…}}`; spans name their process, times are in microseconds, and
//! references stand for parents and links. As in Jaeger, the parent is the first `CHILD_OF` reference into the same
//! trace, else the first `FOLLOWS_FROM` one; the other references are links.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::DecodeError;
use super::json::without_place;
use super::json_value::{Scalar, short_id_bytes};
use super::otlp::{boxed_links, empty_record};
use super::sink::Sink;
use crate::attribute_reader::{AttributeReader, AttributeValue};
use crate::conventions::EDGE;
use crate::ids::{SpanId, TraceId};
use crate::span_record::{Interner, Link, Origin, SpanKind, SpanRecord, Status};
use crate::time::Timestamp;

/// The processes of a trace, by the name spans give them.
pub(super) type Processes<'j> = BTreeMap<Cow<'j, str>, Process<'j>>;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Process<'j> {
    #[serde(borrow, rename = "serviceName")]
    service_name: Scalar<'j>,
    #[serde(borrow)]
    tags: Option<Vec<Tag<'j>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tag<'j> {
    #[serde(borrow)]
    key: Scalar<'j>,
    #[serde(borrow)]
    value: Scalar<'j>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reference<'j> {
    #[serde(borrow, rename = "refType")]
    kind: Scalar<'j>,
    #[serde(borrow, rename = "traceID", alias = "traceId")]
    trace_id: Scalar<'j>,
    #[serde(borrow, rename = "spanID", alias = "spanId")]
    span_id: Scalar<'j>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct JaegerSpan<'j> {
    #[serde(borrow, rename = "traceID", alias = "traceId")]
    trace_id: Scalar<'j>,
    #[serde(borrow, rename = "spanID", alias = "spanId")]
    span_id: Scalar<'j>,
    #[serde(borrow, rename = "parentSpanID", alias = "parentSpanId")]
    parent_span_id: Scalar<'j>,
    #[serde(borrow, rename = "operationName")]
    operation_name: Scalar<'j>,
    #[serde(borrow)]
    references: Option<Vec<Reference<'j>>>,
    #[serde(borrow, rename = "startTime")]
    start_time: Scalar<'j>,
    #[serde(borrow)]
    duration: Scalar<'j>,
    #[serde(borrow)]
    tags: Option<Vec<Tag<'j>>>,
    #[serde(borrow, rename = "processID", alias = "processId")]
    process_id: Scalar<'j>,
    #[serde(borrow)]
    process: Option<Process<'j>>,
}

/// A trace being read. Its spans are held until its processes are known, which stand behind them.
pub(super) struct JaegerTrace {
    prefix: String,
    origins: BTreeMap<String, Arc<Origin>>,
    /// Spans with the name of their process; `None` where the span brought it along.
    spans: Vec<(Option<Arc<str>>, SpanRecord)>,
    read: usize,
}

impl JaegerTrace {
    /// A trace at `path` of the document on `line`.
    pub(super) fn new(line: Option<usize>, path: &str) -> Self {
        let line = line.map_or_else(String::new, |line| format!("line {line}: "));
        let prefix = format!("{line}{path}");
        JaegerTrace { prefix, origins: BTreeMap::new(), spans: Vec::new(), read: 0 }
    }

    /// Where a part of the trace stands.
    pub(super) fn place(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    pub(super) fn has_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    pub(super) fn processes(&mut self, processes: &Processes<'_>, sink: &mut Sink<'_>) {
        let named = |(name, process): (&Cow<'_, str>, &Process<'_>)| {
            (name.to_string(), Arc::new(process.origin(&mut sink.interner)))
        };
        self.origins = processes.iter().map(named).collect();
    }

    pub(super) fn span(&mut self, json: &RawValue, sink: &mut Sink<'_>) {
        let place = |field: &str| self.place(&format!("spans[{}]{field}", self.read));
        let outcome = match serde_json::from_str::<JaegerSpan<'_>>(json.get()) {
            Ok(span) => span.into_record(&place, &mut sink.interner),
            Err(error) => Err(DecodeError::Shape { place: place(""), what: without_place(&error) }),
        };
        match outcome {
            Ok(span) => self.spans.push(span),
            Err(problem) => sink.problem(problem),
        }
        self.read = self.read.saturating_add(1);
    }

    /// Hands the spans over, with their processes.
    pub(super) fn hand_over(&mut self, sink: &mut Sink<'_>) {
        for (process, span) in self.spans.drain(..) {
            let origin = process.and_then(|name| self.origins.get(&*name).cloned());
            sink.span(match origin {
                Some(origin) => SpanRecord { origin, ..span },
                None => span,
            });
        }
    }
}

impl Process<'_> {
    fn origin(&self, interner: &mut Interner) -> Origin {
        let tags = || self.tags.iter().flatten();
        let mut value = |keys: &[&str]| {
            keys.iter().find_map(|key| {
                let tag = tags().find(|tag| tag.key.text() == Some(key))?;
                let text = tag.value.text()?;
                let first = texts_in(text).and_then(|texts| texts.into_iter().next());
                Some(interner.intern(first.as_deref().unwrap_or(text)))
            })
        };
        let service_version = value(&["service.version"]);
        // Jaeger's own clients wrote `ip` and `hostname`.
        let host = value(&["host.id", "host.ip", "ip", "host.name", "hostname"]);
        let service_name = self.service_name.text().map(|name| interner.intern(name));
        Origin { service_name, service_version, host }
    }
}

impl JaegerSpan<'_> {
    /// The record, and the name of its process unless the span brought that along.
    fn into_record(
        self,
        place: &dyn Fn(&str) -> String,
        interner: &mut Interner,
    ) -> Result<(Option<Arc<str>>, SpanRecord), DecodeError> {
        let wrong = |field: &str, value: &Scalar<'_>, wanted| DecodeError::Field {
            place: place(field),
            value: value.shown(),
            wanted,
        };
        let origin = self.process.as_ref().map(|process| process.origin(interner)).unwrap_or_default();
        let mut record = empty_record(&Arc::new(origin));
        let trace_id = self.trace_id.text().and_then(short_id_bytes);
        record.trace_id = trace_id
            .map(TraceId::from_bytes)
            .ok_or_else(|| wrong(".traceID", &self.trace_id, "an id of up to 16 bytes"))?;
        let span_id = self.span_id.text().and_then(short_id_bytes);
        record.span_id = span_id
            .map(SpanId::from_bytes)
            .ok_or_else(|| wrong(".spanID", &self.span_id, "an id of up to 8 bytes"))?;
        record.name = interner.intern(self.operation_name.text().unwrap_or_default());
        let nanos = |value: &Scalar<'_>| value.as_u64()?.checked_mul(1_000);
        let wanted = "a time in microseconds";
        let start = nanos(&self.start_time).ok_or_else(|| wrong(".startTime", &self.start_time, wanted))?;
        let end = nanos(&self.duration)
            .and_then(|duration| start.checked_add(duration))
            .ok_or_else(|| wrong(".duration", &self.duration, wanted))?;
        record.start = Timestamp::from_unix_nanos(start);
        record.end = Timestamp::from_unix_nanos(end);
        self.read_references(&mut record);
        self.read_tags(&mut record, interner);
        let process =
            self.process.is_none().then(|| interner.intern(self.process_id.text().unwrap_or_default()));
        Ok((process, record))
    }

    fn read_references(&self, record: &mut SpanRecord) {
        let references = self.references.iter().flatten().filter_map(|reference| {
            let span_id = SpanId::from_bytes(short_id_bytes(reference.span_id.text()?)?);
            let trace_id = reference
                .trace_id
                .text()
                .map_or(Some(record.trace_id), |id| short_id_bytes(id).map(TraceId::from_bytes))?;
            let is_child_of = reference.kind.text() == Some("CHILD_OF");
            Some((is_child_of, Link { trace_id, span_id, is_dependency: false }))
        });
        let mut references: Vec<_> = references.take(Link::MAX).collect();
        let within = |(_, link): &(bool, Link)| link.trace_id == record.trace_id;
        let parent = references
            .iter()
            .position(|reference| reference.0 && within(reference))
            .or_else(|| references.iter().position(within));
        let parent = match parent {
            Some(at) => Some(references.remove(at).1.span_id),
            None => {
                let id = self.parent_span_id.text().filter(|id| !id.is_empty());
                id.and_then(short_id_bytes).map(SpanId::from_bytes)
            }
        };
        record.parent_id = parent.filter(|id| !id.is_zero());
        record.links = boxed_links(references.into_iter().map(|(_, link)| link).collect());
    }

    fn read_tags(&self, record: &mut SpanRecord, interner: &mut Interner) {
        record.kind = SpanKind::Internal;
        let mut attributes = AttributeReader::default();
        let mut has_failed = false;
        for tag in self.tags.iter().flatten() {
            let Some(key) = tag.key.text() else { continue };
            match (key, tag.value.text()) {
                ("span.kind", Some(kind)) => {
                    record.kind = match kind.to_ascii_lowercase().as_str() {
                        "server" => SpanKind::Server,
                        "client" => SpanKind::Client,
                        "producer" => SpanKind::Producer,
                        "consumer" => SpanKind::Consumer,
                        "unspecified" => SpanKind::Unspecified,
                        _ => SpanKind::Internal,
                    }
                }
                ("otel.status_code", Some("OK")) => record.status = Status::Ok,
                ("otel.status_code", Some("ERROR")) => record.status = Status::Error,
                ("error", text) => has_failed = tag.value == Scalar::Flag(true) || text == Some("true"),
                (EDGE, _) => {}
                // Jaeger writes arrays as text.
                (_, Some(text)) => match texts_in(text) {
                    Some(texts) => {
                        let texts = texts.iter().map(|text| &**text).collect();
                        attributes.read(record, key, &AttributeValue::Strings(texts), interner);
                    }
                    None => attributes.read(record, key, &AttributeValue::Str(text), interner),
                },
                _ => attributes.read(record, key, &tag.value.as_attribute(), interner),
            }
        }
        attributes.finish(record, interner);
        if has_failed && record.status == Status::Unset {
            record.status = Status::Error;
        }
    }
}

/// The strings in a tag that holds an array as JSON.
fn texts_in(text: &str) -> Option<Vec<Cow<'_, str>>> {
    text.starts_with("[\"").then(|| serde_json::from_str(text).ok()).flatten()
}
