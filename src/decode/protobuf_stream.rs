//! OTLP protobuf from a reader, a part at a time.

use super::input::Input;
use super::otlp::{read_resource_spans, read_traces};
use super::protobuf::{HEADER_BYTES, header};
use super::sink::Sink;
use super::{DecodeError, Limits, json_documents};

const NO_TRACE: DecodeError = DecodeError::NotOtlp { found: "binary data" };

/// Bytes before each message, which hold its length.
const PREFIX: usize = 4;

/// Reads one `TracesData` message, a resource with its spans at a time.
pub(super) fn read(input: &mut Input<'_>, limits: &Limits, sink: &mut Sink<'_>) {
    let mut resource = 0usize;
    while input.need(1) {
        input.need(HEADER_BYTES);
        let field = match header(input.filled(), input.offset()) {
            Ok(field) => field,
            // Damage before anything was recognised: these are no traces.
            Err(_) if sink.is_untouched() => return sink.problem(NO_TRACE),
            Err(problem) => return sink.problem(problem),
        };
        if field.value > limits.document_bytes {
            let is_cut_off = field.value >= usize::MAX / 2;
            return sink.problem(if is_cut_off && sink.is_untouched() {
                NO_TRACE
            } else {
                DecodeError::TooLong { offset: input.offset(), limit: limits.document_bytes }
            });
        }
        input.consume(field.header);
        let is_whole = input.need(field.value);
        let message = input.filled().get(..field.value).unwrap_or_else(|| input.filled());
        if field.number == 1 && field.is_bytes {
            // Spans before the end of a message that was cut off are as good as others.
            read_resource_spans(message, input.offset(), resource, sink);
            resource = resource.saturating_add(1);
        }
        if !is_whole {
            let offset = input.offset();
            return sink
                .problem(DecodeError::Protobuf { offset, what: "a field is longer than what is left" });
        }
        input.consume(field.value);
    }
    if resource == 0 {
        sink.problem(NO_TRACE);
    }
}

/// Whether input that begins like this is messages with their length in front.
pub(super) fn is_length_prefixed(beginning: &[u8], limits: &Limits) -> bool {
    // A `TracesData` begins with 0x0a too, and as a length that would be more than 160 MB.
    let Some((length, message)) = prefix_of(beginning) else { return false };
    let is_message = message.first() == Some(&0x0a) || message.starts_with(b"{") || is_packed(message);
    length > 0 && length <= limits.document_bytes && beginning.first() != Some(&0x0a) && is_message
}

fn prefix_of(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, message) = bytes.split_first_chunk::<PREFIX>()?;
    Some((usize::try_from(u32::from_be_bytes(*length)).ok()?, message))
}

/// Reads messages with their length in front: protobuf or JSON, each packed by itself or not.
pub(super) fn read_messages(input: &mut Input<'_>, limits: &Limits, sink: &mut Sink<'_>) {
    let mut left = limits.unpacked_bytes;
    while input.need(1) {
        input.need(PREFIX);
        let offset = input.offset();
        let Some((length, _)) = prefix_of(input.filled()) else {
            return sink
                .problem(DecodeError::Protobuf { offset, what: "the length of a message is cut off" });
        };
        if length > limits.document_bytes {
            return sink.problem(DecodeError::TooLong { offset, limit: limits.document_bytes });
        }
        input.consume(PREFIX);
        let is_whole = input.need(length);
        let message = input.filled().get(..length).unwrap_or_else(|| input.filled());
        let offset = input.offset();
        if is_packed(message) {
            read_packed(message, offset, &mut left, limits, sink);
        } else {
            read_message(message, offset, limits, sink);
        }
        if !is_whole {
            return sink
                .problem(DecodeError::Protobuf { offset, what: "a message is longer than what is left" });
        }
        input.consume(length);
    }
}

fn read_message(message: &[u8], offset: usize, limits: &Limits, sink: &mut Sink<'_>) {
    if message.first() == Some(&b'{') {
        json_documents::read(&mut Input::new(message), limits, sink);
    } else {
        read_traces(message, offset, sink);
    }
}

#[cfg(feature = "compressed")]
fn is_packed(message: &[u8]) -> bool {
    super::compressed::packing_of(message).is_some()
}

#[cfg(not(feature = "compressed"))]
fn is_packed(message: &[u8]) -> bool {
    super::known_format(message).is_some()
}

/// Unpacks one message and reads it; `left` bytes may still be unpacked.
#[cfg(feature = "compressed")]
fn read_packed(message: &[u8], offset: usize, left: &mut u64, limits: &Limits, sink: &mut Sink<'_>) {
    let Some(packing) = super::compressed::packing_of(message) else { return };
    let limit = (*left).min(limits.document_bytes as u64);
    let mut unpacked = Input::new(super::compressed::unpacked(packing, message, limit));
    while unpacked.more() {}
    read_message(unpacked.filled(), offset, limits, sink);
    *left = left.saturating_sub(unpacked.filled().len() as u64);
    if let Some(DecodeError::Read { source, .. }) = unpacked.failure() {
        sink.problem(DecodeError::Read { offset, source });
    }
}

#[cfg(not(feature = "compressed"))]
fn read_packed(message: &[u8], _: usize, _: &mut u64, _: &Limits, sink: &mut Sink<'_>) {
    if let Some(found) = super::known_format(message) {
        sink.problem(DecodeError::NotOtlp { found });
    }
}
