//! Counts what is in a request.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};
use serde::{Deserialize, Serialize};

/// The name of the spans that are counted apart.
pub(super) const NODE: &[u8] = b"node";

/// What came to a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests with spans.
    pub requests: u64,
    /// Their bytes, without those of HTTP.
    pub bytes: u64,
    /// Spans of nodes.
    pub nodes: u64,
    /// Their attributes.
    pub node_attributes: u64,
    /// All other spans.
    pub others: u64,
    /// Their attributes.
    pub other_attributes: u64,
    /// Requests that could not be read.
    pub broken: u64,
}

impl Counts {
    /// Attributes of one node.
    pub fn attributes_per_node(&self) -> f64 {
        if self.nodes == 0 { 0.0 } else { self.node_attributes as f64 / self.nodes as f64 }
    }
}

/// How a sink reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// Every message is made, as a backend does.
    #[default]
    Whole,
    /// Every field is passed over, none is kept: where the sink's own time would be measured otherwise.
    Fields,
}

/// A request that is none.
struct Unreadable;

impl From<DecodeError> for Unreadable {
    fn from(_: DecodeError) -> Unreadable {
        Unreadable
    }
}

impl Counts {
    /// Adds a request.
    pub(super) fn add(&mut self, request: &[u8], reading: Reading) {
        let before = *self;
        let read = match reading {
            Reading::Whole => self.add_whole(request),
            Reading::Fields => self.add_fields(request),
        };
        if read.is_err() {
            *self = Counts { broken: before.broken + 1, ..before };
        }
        self.requests += 1;
        self.bytes += request.len() as u64;
    }

    fn add_whole(&mut self, request: &[u8]) -> Result<(), Unreadable> {
        let request = ExportTraceServiceRequest::decode(request)?;
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        for span in scopes.flat_map(|scope| &scope.spans) {
            self.add_span(span.name.as_bytes(), span.attributes.len() as u64);
        }
        Ok(())
    }

    fn add_fields(&mut self, request: &[u8]) -> Result<(), Unreadable> {
        messages(request, |number, resource_spans| {
            if number != 1 {
                return Ok(());
            }
            messages(resource_spans, |number, scope_spans| {
                if number != 2 {
                    return Ok(());
                }
                messages(scope_spans, |number, span| {
                    if number != 2 {
                        return Ok(());
                    }
                    let (mut name, mut attributes) = (&[][..], 0);
                    messages(span, |number, field| {
                        match number {
                            5 => name = field,
                            9 => {
                                attributes += 1;
                                messages(field, |_, _| Ok(()))?;
                            }
                            _ => {}
                        }
                        Ok(())
                    })?;
                    self.add_span(name, attributes);
                    Ok(())
                })
            })
        })
    }

    fn add_span(&mut self, name: &[u8], attributes: u64) {
        if name == NODE {
            self.nodes += 1;
            self.node_attributes += attributes;
        } else {
            self.others += 1;
            self.other_attributes += attributes;
        }
    }
}

/// Gives `each` every length-delimited field of a message with its number.
fn messages<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(u32, &'a [u8]) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    while message.has_remaining() {
        let (number, wire_type) = decode_key(&mut message)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, number, &mut message, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message)?).unwrap_or(usize::MAX);
        let Some((field, rest)) = message.split_at_checked(length) else {
            return Err(Unreadable);
        };
        each(number, field)?;
        message = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn request() -> Vec<u8> {
        let attribute = |key: &str| KeyValue { key: key.to_owned(), ..KeyValue::default() };
        let span = |name: &str, keys: &[&str]| Span {
            name: name.to_owned(),
            trace_id: vec![1; 16],
            start_time_unix_nano: 7,
            attributes: keys.iter().map(|key| attribute(key)).collect(),
            ..Span::default()
        };
        let spans = vec![span("node", &["a", "b"]), span("run", &["c"]), span("node", &["a", "b"])];
        let scope = ScopeSpans { spans, ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec()
    }

    #[test]
    fn both_ways_of_reading_count_the_same() {
        let request = request();
        let mut counts = [Counts::default(); 2];
        counts[0].add(&request, Reading::Whole);
        counts[1].add(&request, Reading::Fields);
        assert_eq!(counts[0], counts[1]);
        let bytes = request.len() as u64;
        let (nodes, node_attributes, others, other_attributes) = (2, 4, 1, 1);
        let expected =
            Counts { requests: 1, bytes, nodes, node_attributes, others, other_attributes, broken: 0 };
        assert_eq!(counts[0], expected);
    }

    #[test]
    fn what_cannot_be_read_is_counted_as_broken_and_nothing_of_it_else() {
        let request = request();
        for reading in [Reading::Whole, Reading::Fields] {
            let mut counts = Counts::default();
            counts.add(&request[..request.len() - 3], reading);
            assert_eq!((counts.requests, counts.nodes, counts.others, counts.broken), (1, 0, 0, 1));
        }
    }
}
