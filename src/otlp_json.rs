//! An encoded trace export request as one line of OTLP JSON, as the OpenTelemetry Collector's file exporter writes it:
//! lowerCamelCase keys, ids in hex, 64-bit integers as strings, enums as numbers, default values left out.

use std::fmt::Write;

use crate::decode::DecodeError;
use crate::decode::protobuf::{Field, Fields, Value};
use crate::otlp_bytes::traces_data;
use crate::span_record::SpanRecord;

/// How deep attribute values may nest; what is deeper is written as null.
const MAX_DEPTH: usize = 32;

/// The spans as one line of OTLP JSON with its line feed, which [`decode`](crate::decode::decode) reads back. What is
/// kept is what [`traces_data`] keeps.
///
/// # Errors
/// None for records that were decoded; [`DecodeError::Protobuf`] where [`NodeFacts::told`](crate::span_record::NodeFacts)
/// holds something else.
pub fn traces_json<'r>(records: impl IntoIterator<Item = &'r SpanRecord>) -> Result<Vec<u8>, DecodeError> {
    let mut line = Vec::new();
    append_traces_line(&traces_data(records), &mut line)?;
    Ok(line)
}

/// Appends `request` to `out` as one line with its newline.
///
/// # Errors
/// [`DecodeError::Protobuf`] where the request is damaged; `out` is as it was then.
pub(crate) fn append_traces_line(request: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut line = String::with_capacity(request.len().saturating_mul(3));
    object(&mut line, request, &TRACES, 0)?;
    line.push('\n');
    out.extend_from_slice(line.as_bytes());
    Ok(())
}

/// How a field is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// An id: bytes in hex.
    Hex,
    /// A 64-bit number: as a string.
    Fixed64,
    /// A 32-bit number or an enum.
    Number,
    Message(&'static Message),
    Messages(&'static Message),
    AnyValue,
}

/// The fields of a message that are written, by number.
type Message = [(u32, &'static str, Kind)];

static TRACES: [(u32, &str, Kind); 1] = [(1, "resourceSpans", Kind::Messages(&RESOURCE_SPANS))];
static RESOURCE_SPANS: [(u32, &str, Kind); 3] = [
    (1, "resource", Kind::Message(&RESOURCE)),
    (2, "scopeSpans", Kind::Messages(&SCOPE_SPANS)),
    (3, "schemaUrl", Kind::Text),
];
static RESOURCE: [(u32, &str, Kind); 2] =
    [(1, "attributes", Kind::Messages(&KEY_VALUE)), (2, "droppedAttributesCount", Kind::Number)];
static SCOPE_SPANS: [(u32, &str, Kind); 3] =
    [(1, "scope", Kind::Message(&SCOPE)), (2, "spans", Kind::Messages(&SPAN)), (3, "schemaUrl", Kind::Text)];
static SCOPE: [(u32, &str, Kind); 4] = [
    (1, "name", Kind::Text),
    (2, "version", Kind::Text),
    (3, "attributes", Kind::Messages(&KEY_VALUE)),
    (4, "droppedAttributesCount", Kind::Number),
];
static SPAN: [(u32, &str, Kind); 16] = [
    (1, "traceId", Kind::Hex),
    (2, "spanId", Kind::Hex),
    (3, "traceState", Kind::Text),
    (4, "parentSpanId", Kind::Hex),
    (16, "flags", Kind::Number),
    (5, "name", Kind::Text),
    (6, "kind", Kind::Number),
    (7, "startTimeUnixNano", Kind::Fixed64),
    (8, "endTimeUnixNano", Kind::Fixed64),
    (9, "attributes", Kind::Messages(&KEY_VALUE)),
    (10, "droppedAttributesCount", Kind::Number),
    (11, "events", Kind::Messages(&EVENT)),
    (12, "droppedEventsCount", Kind::Number),
    (13, "links", Kind::Messages(&LINK)),
    (14, "droppedLinksCount", Kind::Number),
    (15, "status", Kind::Message(&STATUS)),
];
static EVENT: [(u32, &str, Kind); 4] = [
    (1, "timeUnixNano", Kind::Fixed64),
    (2, "name", Kind::Text),
    (3, "attributes", Kind::Messages(&KEY_VALUE)),
    (4, "droppedAttributesCount", Kind::Number),
];
static LINK: [(u32, &str, Kind); 6] = [
    (1, "traceId", Kind::Hex),
    (2, "spanId", Kind::Hex),
    (3, "traceState", Kind::Text),
    (4, "attributes", Kind::Messages(&KEY_VALUE)),
    (5, "droppedAttributesCount", Kind::Number),
    (6, "flags", Kind::Number),
];
static STATUS: [(u32, &str, Kind); 2] = [(2, "message", Kind::Text), (3, "code", Kind::Number)];
static KEY_VALUE: [(u32, &str, Kind); 2] = [(1, "key", Kind::Text), (2, "value", Kind::AnyValue)];

fn object(out: &mut String, message: &[u8], fields: &Message, depth: usize) -> Result<(), DecodeError> {
    // A damaged message is refused before anything of it is written.
    let found: Vec<Field<'_>> = Fields::new(message, 0).collect::<Result<_, _>>()?;
    out.push('{');
    let mut is_first = true;
    for (number, name, kind) in fields {
        let mut values = found.iter().filter(|field| field.number == *number).map(|field| field.value);
        if let Kind::Messages(inner) = kind {
            let mut opened = false;
            for value in values.filter_map(Value::bytes) {
                if opened {
                    out.push(',');
                } else {
                    key(out, name, &mut is_first);
                    out.push('[');
                    opened = true;
                }
                object(out, value, inner, depth)?;
            }
            if opened {
                out.push(']');
            }
            continue;
        }
        // The last of a singular field wins.
        let Some(value) = values.next_back() else { continue };
        match (kind, value) {
            (Kind::Text, Value::Bytes(text)) if !text.is_empty() => {
                key(out, name, &mut is_first);
                string(out, &String::from_utf8_lossy(text));
            }
            (Kind::Hex, Value::Bytes(id)) if !id.is_empty() => {
                key(out, name, &mut is_first);
                hex(out, id);
            }
            (Kind::Fixed64, Value::Fixed64(number)) => {
                key(out, name, &mut is_first);
                write(out, format_args!("\"{number}\""));
            }
            (Kind::Number, Value::Varint(number)) if number != 0 => {
                key(out, name, &mut is_first);
                write(out, format_args!("{number}"));
            }
            (Kind::Number, Value::Fixed32(number)) if number != 0 => {
                key(out, name, &mut is_first);
                write(out, format_args!("{number}"));
            }
            (Kind::Message(inner), Value::Bytes(message)) => {
                key(out, name, &mut is_first);
                object(out, message, inner, depth)?;
            }
            (Kind::AnyValue, Value::Bytes(value)) => {
                key(out, name, &mut is_first);
                any_value(out, value, depth)?;
            }
            _ => {}
        }
    }
    out.push('}');
    Ok(())
}

fn any_value(out: &mut String, message: &[u8], depth: usize) -> Result<(), DecodeError> {
    let depth = depth.saturating_add(1);
    if depth > MAX_DEPTH {
        out.push_str("{}");
        return Ok(());
    }
    let found: Vec<Field<'_>> = Fields::new(message, 0).collect::<Result<_, _>>()?;
    out.push('{');
    if let Some(field) = found.last() {
        match (field.number, field.value) {
            (1, Value::Bytes(text)) => {
                out.push_str("\"stringValue\":");
                string(out, &String::from_utf8_lossy(text));
            }
            (2, Value::Varint(flag)) => write(out, format_args!("\"boolValue\":{}", flag != 0)),
            (3, Value::Varint(number)) => {
                write(out, format_args!("\"intValue\":\"{}\"", number.cast_signed()))
            }
            (4, Value::Fixed64(bits)) => {
                out.push_str("\"doubleValue\":");
                double(out, f64::from_bits(bits));
            }
            (5, Value::Bytes(array)) => {
                out.push_str("\"arrayValue\":{\"values\":[");
                list(out, array, |out, value| any_value(out, value, depth))?;
                out.push_str("]}");
            }
            (6, Value::Bytes(map)) => {
                out.push_str("\"kvlistValue\":{\"values\":[");
                list(out, map, |out, entry| object(out, entry, &KEY_VALUE, depth))?;
                out.push_str("]}");
            }
            (7, Value::Bytes(bytes)) => {
                out.push_str("\"bytesValue\":\"");
                base64(out, bytes);
                out.push('"');
            }
            _ => {}
        }
    }
    out.push('}');
    Ok(())
}

/// The members of a message that is nothing but a repeated field 1, with commas between them.
fn list(
    out: &mut String,
    message: &[u8],
    mut each: impl FnMut(&mut String, &[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut is_first = true;
    for field in Fields::new(message, 0) {
        if let Field { number: 1, value: Value::Bytes(member) } = field? {
            if !is_first {
                out.push(',');
            }
            is_first = false;
            each(out, member)?;
        }
    }
    Ok(())
}

fn key(out: &mut String, name: &str, is_first: &mut bool) {
    if !*is_first {
        out.push(',');
    }
    *is_first = false;
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

fn string(out: &mut String, text: &str) {
    // Text always has a JSON form.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// JSON has no word for what is not finite; protobuf's JSON mapping writes it as a string.
fn double(out: &mut String, number: f64) {
    match number {
        number if number.is_nan() => out.push_str("\"NaN\""),
        f64::INFINITY => out.push_str("\"Infinity\""),
        f64::NEG_INFINITY => out.push_str("\"-Infinity\""),
        number => out.push_str(&serde_json::to_string(&number).unwrap_or_default()),
    }
}

fn hex(out: &mut String, bytes: &[u8]) {
    out.push('"');
    bytes.iter().for_each(|byte| write(out, format_args!("{byte:02x}")));
    out.push('"');
}

fn base64(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |at: usize| group.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4u32 {
            let digit = bits >> (18u32.saturating_sub(at.saturating_mul(6))) & 63;
            let is_padding = at as usize > group.len();
            let digit = DIGITS.get(digit as usize).copied().unwrap_or(b'=');
            out.push(char::from(if is_padding { b'=' } else { digit }));
        }
    }
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}
