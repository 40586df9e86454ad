//! One JSON document → span records, while it is parsed: no tree of it is ever built.
//!
//! Spans are cut out as text first and parsed one by one, so that one which is not made as it should be costs none
//! of the others.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::DecodeError;
use super::error::shortened;
use super::jaeger::{JaegerTrace, Processes};
use super::json_value::Scalar;
use super::otlp::Place;
use super::otlp_json::{Resource, Scope, plain_span};
use super::sink::Sink;
use crate::attribute_reader::AttributeReader;
use crate::span_record::{Origin, SpanRecord};

/// Reads the document in `text`, which starts on `line` of the input. Spans before a place where it is damaged are
/// handed over.
pub(super) fn read_document(text: &str, line: usize, sink: &mut Sink<'_>) {
    let mut reader = Reader {
        sink,
        place: Place { line: Some(line), ..Place::default() },
        path: String::new(),
        origin: None,
        scope: String::new(),
        waiting: Vec::new(),
        is_trace: false,
    };
    let mut parser = serde_json::Deserializer::from_str(text);
    let outcome = Part { reader: &mut reader, level: Level::Document }.deserialize(&mut parser);
    match outcome.and_then(|()| parser.end()) {
        Ok(()) if reader.is_trace => {}
        Ok(()) => sink.problem(DecodeError::NotOtlp { found: "JSON without resourceSpans or Jaeger's data" }),
        Err(error) => {
            // Those which waited for a resource that did not come.
            reader.hand_over_waiting();
            let line = line.saturating_add(error.line().saturating_sub(1));
            sink.problem(DecodeError::Json { line, column: error.column(), what: without_place(&error) });
        }
    }
}

/// What a JSON error says, without the line and column it counts from the start of what it was given.
pub(super) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    shortened(text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what))
}

struct Reader<'r, 's> {
    sink: &'r mut Sink<'s>,
    place: Place,
    /// Where in arrays of documents this one stands: `data[0].`
    path: String,
    /// The resource, once it was read; it may stand behind its spans.
    origin: Option<Arc<Origin>>,
    /// The name of the instrumentation that wrote the spans that come.
    scope: String,
    /// Spans that wait for it.
    waiting: Vec<SpanRecord>,
    /// Whether something that belongs to a trace was seen.
    is_trace: bool,
}

impl Reader<'_, '_> {
    fn otlp_span(&mut self, json: &RawValue) {
        let place = self.place;
        let parsed = plain_span(json.get()).map_or_else(|| serde_json::from_str(json.get()), Ok);
        let span = match parsed {
            Ok(span) => {
                let origin = self.origin.clone().unwrap_or_default();
                let reader = AttributeReader::of_scope(&self.scope);
                span.into_record(&place, &origin, reader, &mut self.sink.interner)
            }
            Err(error) => Err(DecodeError::Shape { place: place.whole(), what: without_place(&error) }),
        };
        match span {
            Ok(span) if self.origin.is_none() => self.waiting.push(span),
            span => self.sink.take(span),
        }
        self.place.span = self.place.span.saturating_add(1);
    }

    fn resource(&mut self, json: &RawValue) {
        // Null is as good as none.
        let outcome = serde_json::from_str::<Option<Resource<'_>>>(json.get());
        let resource = outcome.unwrap_or_else(|error| {
            let place = format!("{}.resource", self.place.of_resource());
            self.sink.problem(DecodeError::Shape { place, what: without_place(&error) });
            None
        });
        self.origin = Some(Arc::new(resource.unwrap_or_default().origin(&mut self.sink.interner)));
    }

    fn hand_over_waiting(&mut self) {
        let origin = self.origin.take().unwrap_or_default();
        for span in self.waiting.drain(..) {
            self.sink.span(SpanRecord { origin: origin.clone(), ..span });
        }
    }
}

/// What kind of part of a document is read. Each may also be an array of such parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Document,
    ResourceSpans,
    ScopeSpans,
    Span,
}

struct Part<'p, 'r, 's> {
    reader: &'p mut Reader<'r, 's>,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for Part<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Document => "a trace document",
            Level::ResourceSpans => "an array of resources with spans",
            Level::ScopeSpans => "an array of scopes with spans",
            Level::Span => "an array of spans",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Part { reader, level } = self;
        let outside = reader.path.clone();
        let mut index = 0usize;
        loop {
            let found = match level {
                Level::Span => sequence.next_element::<&RawValue>()?.map(|json| reader.otlp_span(json)),
                _ => {
                    match level {
                        Level::Document => reader.path = format!("{outside}[{index}]."),
                        Level::ResourceSpans => reader.place.resource = index,
                        _ => reader.place.scope = index,
                    }
                    sequence.next_element_seed(Part { reader, level })?
                }
            };
            if found.is_none() {
                break;
            }
            index = index.saturating_add(1);
        }
        reader.path = outside;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Part { reader, level } = self;
        match level {
            Level::Document => return visit_document(reader, map),
            Level::ResourceSpans => {
                reader.origin = None;
                reader.place.scope = 0;
            }
            Level::ScopeSpans => {
                reader.place.span = 0;
                reader.scope.clear();
            }
            Level::Span => return Err(A::Error::custom("an object where an array of spans was expected")),
        }
        while let Some(key) = map.next_key::<Scalar<'_>>()? {
            match (level, key.text().unwrap_or_default()) {
                (Level::ResourceSpans, "resource") => reader.resource(map.next_value()?),
                (
                    Level::ResourceSpans,
                    "scopeSpans"
                    | "scope_spans"
                    | "instrumentationLibrarySpans"
                    | "instrumentation_library_spans",
                ) => map.next_value_seed(Part { reader, level: Level::ScopeSpans })?,
                (Level::ScopeSpans, "scope" | "instrumentationLibrary" | "instrumentation_library") => {
                    // One that is none says as little as a missing one.
                    let scope = serde_json::from_str::<Scope<'_>>(map.next_value::<&RawValue>()?.get());
                    reader.scope =
                        scope.ok().and_then(|scope| Some(scope.name.text()?.to_owned())).unwrap_or_default();
                }
                (Level::ScopeSpans, "spans") => map.next_value_seed(Part { reader, level: Level::Span })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if level == Level::ResourceSpans {
            reader.hand_over_waiting();
        }
        Ok(())
    }
}

/// An object that holds OTLP's resources, a trace of Jaeger's, or another document in what a query interface puts
/// around it.
fn visit_document<'de, A: MapAccess<'de>>(reader: &mut Reader<'_, '_>, mut map: A) -> Result<(), A::Error> {
    let mut trace = JaegerTrace::new(reader.place.line, &reader.path);
    while let Some(key) = map.next_key::<Scalar<'_>>()? {
        match key.text().unwrap_or_default() {
            "resourceSpans" | "resource_spans" | "batches" => {
                reader.is_trace = true;
                map.next_value_seed(Part { reader, level: Level::ResourceSpans })?;
            }
            "result" | "trace" => map.next_value_seed(Part { reader, level: Level::Document })?,
            "data" => {
                reader.is_trace = true;
                let outside = std::mem::replace(&mut reader.path, "data".to_owned());
                map.next_value_seed(Part { reader, level: Level::Document })?;
                reader.path = outside;
            }
            "spans" => {
                let outcome = map.next_value_seed(JaegerSpans { trace: &mut trace, sink: reader.sink });
                if let Err(error) = outcome {
                    trace.hand_over(reader.sink);
                    return Err(error);
                }
                reader.is_trace |= trace.has_spans();
            }
            "processes" => {
                reader.is_trace = true;
                let json = map.next_value::<&RawValue>()?;
                match serde_json::from_str::<Processes<'_>>(json.get()) {
                    Ok(processes) => trace.processes(&processes, reader.sink),
                    Err(error) => reader.sink.problem(DecodeError::Shape {
                        place: trace.place("processes"),
                        what: without_place(&error),
                    }),
                }
            }
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    trace.hand_over(reader.sink);
    Ok(())
}

struct JaegerSpans<'p, 's> {
    trace: &'p mut JaegerTrace,
    sink: &'p mut Sink<'s>,
}

impl<'de> DeserializeSeed<'de> for JaegerSpans<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for JaegerSpans<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of spans")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(json) = sequence.next_element::<&RawValue>()? {
            self.trace.span(json, self.sink);
        }
        Ok(())
    }
}
