//! Bytes → span records. Nothing here opens a file, reads a clock or keeps a byte longer than the call.
//!
//! OTLP comes as protobuf (`TracesData`, which is also a trace export request) or as JSON, one document or one to a
//! line. JSON is read leniently, because backends write dialects of it.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod otlp;
mod otlp_json;
pub(crate) mod protobuf;

use crate::span_record::{Interner, SpanRecord};

/// What was read.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The spans, in the order in which they were written.
    pub spans: Vec<SpanRecord>,
    /// What could not be read. Everything else was.
    pub problems: Vec<DecodeError>,
}

/// Bytes could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They are no trace at all.
    #[error("this is {found}; expected OTLP traces as JSON, as JSON lines or as protobuf")]
    NotOtlp {
        /// What they look like.
        found: &'static str,
    },
    /// The protobuf is damaged.
    #[error("damaged protobuf at byte {offset}: {what}")]
    Protobuf {
        /// Where, from the start of the input.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A line, or the document that starts there, is no JSON.
    #[error("line {line}, column {column}: {what}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// A field holds what it may not hold.
    #[error("{place}: {value:?} is not {wanted}")]
    Field {
        /// Which one: `resourceSpans[0].scopeSpans[1].spans[3].traceId`, with the line in front for JSON.
        place: String,
        /// What it holds, cut short.
        value: String,
        /// What it should hold.
        wanted: &'static str,
    },
}

/// Reads OTLP traces in any of their forms. No bytes are no spans.
///
/// # Errors
/// [`DecodeError`] if nothing could be read. What can be read around a damaged part is in [`Decoded::spans`], and
/// the damage in [`Decoded::problems`].
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) else {
        return Ok(Decoded::default());
    };
    if let Some(found) = known_format(bytes) {
        return Err(DecodeError::NotOtlp { found });
    }
    let mut decoded = if matches!(first, b'{' | b'[') && bytes.first() != Some(&0x0a) || is_text(bytes) {
        otlp_json::decode(bytes)
    } else {
        let mut decoded = Decoded::default();
        let mut interner = Interner::default();
        let mut problems = Vec::new();
        let spans = &mut decoded.spans;
        if let Err(error) = otlp::decode_traces(bytes, &mut interner, &mut |span| match span {
            Ok(span) => spans.push(span),
            Err(problem) => problems.push(problem),
        }) {
            problems.push(error);
        }
        decoded.problems = problems;
        decoded
    };
    if decoded.spans.is_empty() && !decoded.problems.is_empty() {
        return Err(decoded.problems.swap_remove(0));
    }
    Ok(decoded)
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

/// Whether the beginning is printable text, which protobuf of traces never is.
fn is_text(bytes: &[u8]) -> bool {
    let beginning = bytes.get(..64.min(bytes.len())).unwrap_or_default();
    beginning.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e))
}

/// `value` for an error message: printable, and at most 80 characters.
fn shortened(value: &str) -> String {
    let mut short: String = value.chars().take(80).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}
