//! What can be wrong with input, and where.

use std::io;

/// Bytes could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They are no trace at all.
    #[error("this is {found}; expected OTLP traces as JSON, as JSON lines or as protobuf, or Jaeger's JSON")]
    NotOtlp {
        /// What they look like.
        found: &'static str,
    },
    /// The protobuf is damaged.
    #[error("damaged protobuf at byte {offset}: {what}")]
    Protobuf {
        /// Where, from the start of the (unpacked) input.
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
    /// A part of a JSON document is not made as such parts are.
    #[error("{place}: {what}")]
    Shape {
        /// Which part, as in [`DecodeError::Field`].
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// A document or message is larger than is read.
    #[error("the document at byte {offset} is longer than {limit} bytes")]
    TooLong {
        /// Where it starts, from the start of the (unpacked) input.
        offset: usize,
        /// How many bytes were allowed.
        limit: usize,
    },
    /// The input could not be read any further.
    #[error("cannot read on after byte {offset}")]
    Read {
        /// How much was read.
        offset: usize,
        /// Why: an error of the reader, damage of packed data, or more of it than is unpacked.
        source: io::Error,
    },
    /// There are more problems than are kept.
    #[error("{count} more problems like these")]
    More {
        /// How many.
        count: usize,
    },
}

/// `value` for an error message: printable, and at most 80 characters.
pub(super) fn shortened(value: &str) -> String {
    let mut short: String = value.chars().take(80).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}
