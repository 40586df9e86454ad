//! Bytes → span records. Nothing here opens a file, reads a clock or keeps a byte longer than the call.
//!
//! What is read, told apart by how it begins:
//!
//! | what | who writes it |
//! |---|---|
//! | OTLP JSON, one document or one to a line | the Collector's file exporter, SDKs, longpole; Tempo and Jaeger (v3) with their wrapping |
//! | OTLP protobuf: a `TracesData`, which is also a trace export request | SDKs, Tempo |
//! | messages with their length in front (four bytes, big-endian) | the Collector's file exporter with `format: proto` or `compression: zstd` |
//! | Jaeger JSON (v1): `{"data": [trace, …]}`, a trace or an array of them | Jaeger's query interface and the download button of its pages |
//! | any of these packed with gzip or zstd, in one piece or several | needs the feature `compressed` |
//!
//! JSON is read leniently, because backends write dialects of it.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[cfg(feature = "compressed")]
mod compressed;
mod error;
mod input;
mod jaeger;
mod json;
mod json_documents;
pub(crate) mod json_value;
pub mod otlp;
mod otlp_json;
pub(crate) mod protobuf;
mod protobuf_stream;
mod sink;

use std::io::Read;

pub use error::DecodeError;

use crate::span_record::SpanRecord;
use input::Input;
use sink::Sink;

/// What was read.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The spans, in the order in which they were written.
    pub spans: Vec<SpanRecord>,
    /// What could not be read. Everything else was.
    pub problems: Vec<DecodeError>,
}

/// How much of one input is taken in before it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one document or message, which is what has to be in memory at once. Default: 1 GiB.
    pub document_bytes: usize,
    /// Bytes of one string in JSON. Default: 64 MiB.
    pub string_bytes: usize,
    /// How deep JSON may be nested. Default, and the most that has an effect: 64.
    pub depth: usize,
    /// Bytes that packed input may unpack to. Default: 16 GiB.
    pub unpacked_bytes: u64,
    /// Whether records keep the attributes they were made of, so that they can be written again, by
    /// [`traces_data`](crate::otlp_bytes::traces_data). Default: no.
    pub keeps_attributes: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            document_bytes: 1 << 30,
            string_bytes: 64 << 20,
            depth: 64,
            unpacked_bytes: 16 << 30,
            keeps_attributes: false,
        }
    }
}

/// Reads traces in any of the forms above. No bytes are no spans.
///
/// # Errors
/// [`DecodeError`] if nothing could be read. What can be read around a damaged part is in [`Decoded::spans`], and
/// the damage in [`Decoded::problems`].
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut spans = Vec::new();
    let problems = stream(bytes, &Limits::default(), &mut |span| spans.push(span))?;
    Ok(Decoded { spans, problems })
}

/// Like [`decode`], for input that need not be in memory: hands each span to `on_span` as soon as it is read, and
/// tells what could not be read.
///
/// At most one document or message is held at a time: a line of JSON lines, the resource of a protobuf request. A
/// single JSON document is held as a whole, as text only.
///
/// # Errors
/// [`DecodeError`] if there was no span and something is wrong. After an error of `reader` the spans before it have
/// been handed over, and the error is one of the problems.
pub fn stream(
    reader: impl Read,
    limits: &Limits,
    on_span: &mut dyn FnMut(SpanRecord),
) -> Result<Vec<DecodeError>, DecodeError> {
    let limits = Limits { depth: limits.depth.min(Limits::default().depth), ..limits.clone() };
    let mut sink = Sink::new(on_span);
    sink.interner.keeps_attributes = limits.keeps_attributes;
    let mut input = Input::new(reader);
    input.need(BEGINNING);
    #[cfg(feature = "compressed")]
    if let Some(packing) = compressed::packing_of(input.filled()) {
        input = Input::new(compressed::unpacked(packing, input, limits.unpacked_bytes));
        input.need(BEGINNING);
    }
    read_any(&mut input, &limits, &mut sink);
    if let Some(failure) = input.failure() {
        sink.problem_first(failure);
    }
    sink.finish()
}

/// As many bytes as tell formats apart.
const BEGINNING: usize = 64;

fn read_any(input: &mut Input<'_>, limits: &Limits, sink: &mut Sink<'_>) {
    if input.filled().starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    let beginning = input.filled();
    if let Some(found) = known_format(beginning) {
        return sink.problem(DecodeError::NotOtlp { found });
    }
    let beginning = beginning.get(..BEGINNING).unwrap_or(beginning);
    let first = beginning.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_json = matches!(first, Some(b'{' | b'[')) && beginning.first() != Some(&0x0a);
    // Printable text is never protobuf of traces.
    let is_text = beginning.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e));
    if is_json || is_text {
        json_documents::read(input, limits, sink);
    } else if protobuf_stream::is_length_prefixed(beginning, limits) {
        protobuf_stream::read_messages(input, limits, sink);
    } else {
        protobuf_stream::read(input, limits, sink);
    }
}

/// Names formats that people hand over by mistake.
fn known_format(bytes: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "gzip data: decompress it first"),
        (b"\x28\xb5\x2f\xfd", "zstd data: decompress it first"),
        (b"PK\x03\x04", "a zip archive: unpack it first"),
        (b"\x89PNG", "a picture"),
        (b"SQLite format 3", "a SQLite database"),
        (b"\x7fELF", "a program"),
    ];
    FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, found)| *found)
}
