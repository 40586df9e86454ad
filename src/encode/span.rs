//! A span as OTLP protobuf, piece by piece: repeated fields as they come, singular ones once, at the end.
//!
//! Protobuf lets the fields of a message stand in any order, so attributes are appended to a buffer while the span
//! is open and everything that may still change is written when it closes.

use std::ops::Range;

use super::varint;
use crate::conventions::EDGE;

/// Tag of `Span.attributes`.
pub(crate) const SPAN_ATTRIBUTE: u8 = 0x4a;
/// Tag of `Event.attributes`.
pub(crate) const EVENT_ATTRIBUTE: u8 = 0x1a;
/// `Status.code`: fine.
pub(crate) const STATUS_OK: u8 = 1;
/// `Status.code`: failed.
pub(crate) const STATUS_ERROR: u8 = 2;

/// Bytes of a key that are kept.
pub(crate) const KEY_BYTES: usize = 256;

const TEXT_VALUE: u8 = 0x0a;
const BOOL_VALUE: u8 = 0x10;
const INT_VALUE: u8 = 0x18;
const DOUBLE_VALUE: u8 = 0x21;
const ARRAY_VALUE: u8 = 0x2a;

/// An attribute's key as it stands in a `KeyValue`: tag, length, text, and the tag of the value that follows.
#[derive(Debug)]
pub(crate) struct EncodedKey {
    /// Two bytes to be filled in, a short key's bytes, then room for a value. Copying the whole array and cutting is
    /// cheaper than copying as many bytes as there are.
    template: [u8; TEMPLATE],
    /// How many bytes of the template count; [`TOO_LONG`] if the key does not fit.
    template_len: u8,
    bytes: Box<[u8]>,
}

/// Long enough for the keys of the conventions, and [`ROOM`].
pub(crate) const TEMPLATE: usize = 80;
/// Room for a value that is a number or a short text.
const ROOM: usize = 32;
/// Texts of so many bytes are written without a call.
pub(crate) const SHORT_TEXT: usize = 16;
/// As a part of an attribute's length makes that too long for one byte.
const TOO_LONG: u8 = 0x80;

impl EncodedKey {
    /// `key`, of which at most [`KEY_BYTES`] are kept.
    pub(crate) fn new(key: &str) -> Self {
        let key = cut(key, KEY_BYTES);
        let mut bytes = Vec::new();
        append_field(&mut bytes, 0x0a, key.as_bytes());
        bytes.push(0x12);
        let mut template = [0; TEMPLATE];
        let mut template_len = TOO_LONG;
        let end = bytes.len().saturating_add(2);
        if end <= TEMPLATE.saturating_sub(ROOM)
            && let Some(place) = template.get_mut(2..end)
        {
            place.copy_from_slice(&bytes);
            template_len = end as u8;
        }
        EncodedKey { template, template_len, bytes: bytes.into() }
    }

    /// The key's text. Takes it apart again: for cold paths.
    pub(crate) fn text(&self) -> &[u8] {
        let after_tag = self.bytes.get(1..).unwrap_or_default();
        let Some((len, len_bytes)) = varint::read(after_tag) else { return &[] };
        after_tag.get(len_bytes..len_bytes.saturating_add(len as usize)).unwrap_or_default()
    }
}

/// `text`, or the longest front of it that is no longer than `limit` and ends between two characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

/// Appends a `KeyValue` whose value takes `value_len` bytes, its own length byte included, which `fill` writes, with
/// `text_len` bytes of text to follow. Returns false if the key is long or the length needs more than one byte; nothing
/// is appended then.
#[inline(always)]
fn append_short(
    buffer: &mut Vec<u8>,
    tag: u8,
    key: &EncodedKey,
    value_len: usize,
    text_len: usize,
    fill: impl FnOnce(&mut [u8; ROOM]),
) -> bool {
    let template_len = usize::from(key.template_len);
    let before_text = template_len.wrapping_add(value_len);
    // Tag and length themselves do not count.
    let len = before_text.wrapping_add(text_len).wrapping_sub(2);
    if len >= 0x80 {
        return false;
    }
    let end = buffer.len().wrapping_add(before_text);
    buffer.extend_from_slice(&key.template);
    if let Some(field) = buffer.last_chunk_mut::<TEMPLATE>() {
        let [first, second, ..] = field;
        (*first, *second) = (tag, len as u8);
        let place = field.get_mut(template_len..template_len.wrapping_add(ROOM));
        if let Some(place) = place.and_then(<[u8]>::first_chunk_mut) {
            fill(place);
        }
    }
    buffer.truncate(end);
    true
}

/// Writes a value of the type `tag`, encoded in eight bytes at most: its length byte, the tag, the bytes.
#[inline(always)]
fn fill_value(place: &mut [u8; ROOM], tag: u8, bytes: u64, len: usize) {
    if let Some(place) = place.first_chunk_mut::<16>() {
        *place = (u128::from(bytes) << 16 | u128::from(tag) << 8 | len.wrapping_add(1) as u128).to_le_bytes();
    }
}

/// Writes what stands before a text of less than 126 bytes, and the text if that is short.
#[inline(always)]
fn fill_text(place: &mut [u8; ROOM], text: &[u8]) {
    let len = text.len();
    if let Some(before) = place.first_chunk_mut::<3>() {
        *before = [len.wrapping_add(2) as u8, TEXT_VALUE, len as u8];
    }
    if len > SHORT_TEXT {
        return;
    }
    // Two copies of a fixed size, which may overlap.
    if let (Some(front), Some(back)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        put_at(place, 3, front);
        put_at(place, len.wrapping_sub(5), back);
    } else if let (Some(front), Some(back)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        put_at(place, 3, front);
        put_at(place, len.wrapping_sub(1), back);
    } else {
        let [_, _, _, first, second, third, ..] = place;
        match *text {
            [a] => *first = a,
            [a, b] => (*first, *second) = (a, b),
            [a, b, c] => (*first, *second, *third) = (a, b, c),
            _ => {}
        }
    }
}

#[inline(always)]
fn put_at<const N: usize>(place: &mut [u8; ROOM], at: usize, bytes: &[u8; N]) {
    if let Some(place) = place.get_mut(at..at.wrapping_add(N)) {
        place.copy_from_slice(bytes);
    }
}

/// Appends a `KeyValue` up to its value, of `value_len` bytes of any number.
fn open_long(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, value_len: usize) {
    let len = key.bytes.len().saturating_add(varint::len(value_len as u64)).saturating_add(value_len);
    buffer.reserve(len.saturating_add(11));
    buffer.push(tag);
    varint::append(buffer, len as u64);
    buffer.extend_from_slice(&key.bytes);
    varint::append(buffer, value_len as u64);
}

/// Appends a `KeyValue` whose value is `value` and then `text`, of any length.
#[cold]
fn append_long(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, value: &[u8], text: &[u8]) {
    let value_len = value.len().saturating_add(text.len());
    open_long(buffer, tag, key, value_len);
    buffer.extend_from_slice(value);
    buffer.extend_from_slice(text);
}

/// Appends a text attribute. Of a text longer than `limit` bytes the front is kept and an `…` says so if it fits;
/// together they are no longer than the limit.
#[inline]
pub(crate) fn append_str(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, text: &str, limit: usize) {
    if text.len() > limit {
        return append_cut_str(buffer, tag, key, text, limit);
    }
    append_whole_str(buffer, tag, key, text);
}

/// The same for a text that is not too long.
#[inline]
fn append_whole_str(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, text: &str) {
    if text.len() <= SHORT_TEXT {
        return append_short_str(buffer, tag, key, text);
    }
    let bytes = text.as_bytes();
    if append_short(buffer, tag, key, 3, bytes.len(), |place| fill_text(place, bytes)) {
        buffer.extend_from_slice(bytes);
    } else {
        append_long_str(buffer, tag, key, text, "");
    }
}

/// The same for a text of at most [`SHORT_TEXT`] bytes.
#[inline(always)]
pub(crate) fn append_short_str(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, text: &str) {
    let bytes = text.as_bytes();
    if !append_short(buffer, tag, key, bytes.len().wrapping_add(3), 0, |place| fill_text(place, bytes)) {
        append_long_str(buffer, tag, key, text, "");
    }
}

/// Appends a text attribute of any length: `text`, and `mark` behind it.
#[inline(never)]
fn append_long_str(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, text: &str, mark: &str) {
    let text_len = text.len().saturating_add(mark.len());
    let value_len = varint::len(text_len as u64).saturating_add(text_len).saturating_add(1);
    open_long(buffer, tag, key, value_len);
    buffer.push(TEXT_VALUE);
    varint::append(buffer, text_len as u64);
    buffer.extend_from_slice(text.as_bytes());
    buffer.extend_from_slice(mark.as_bytes());
}

#[cold]
fn append_cut_str(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, text: &str, limit: usize) {
    const MARK: &str = "…";
    let mark = if limit < MARK.len() { "" } else { MARK };
    append_long_str(buffer, tag, key, cut(text, limit.saturating_sub(mark.len())), mark);
}

/// Appends an integer attribute.
#[inline]
pub(crate) fn append_int(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, value: i64) {
    if let Some((bytes, len)) = varint::encode_short(value as u64)
        && append_short(buffer, tag, key, len.wrapping_add(2), 0, |place| {
            fill_value(place, INT_VALUE, u64::from_le_bytes(bytes), len);
        })
    {
        return;
    }
    append_long_int(buffer, tag, key, value);
}

/// Negative numbers take ten bytes, as int64 has it.
#[cold]
fn append_long_int(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, value: i64) {
    let mut bytes = vec![INT_VALUE];
    varint::append(&mut bytes, value as u64);
    append_long(buffer, tag, key, &bytes, &[]);
}

/// Appends a boolean attribute.
#[inline]
pub(crate) fn append_bool(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, value: bool) {
    if !append_short(buffer, tag, key, 3, 0, |place| fill_value(place, BOOL_VALUE, value.into(), 1)) {
        append_long(buffer, tag, key, &[BOOL_VALUE, u8::from(value)], &[]);
    }
}

/// Appends a floating-point attribute.
#[inline]
pub(crate) fn append_double(buffer: &mut Vec<u8>, tag: u8, key: &EncodedKey, value: f64) {
    if !append_short(buffer, tag, key, 10, 0, |place| fill_value(place, DOUBLE_VALUE, value.to_bits(), 8)) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        append_long(buffer, tag, key, &[DOUBLE_VALUE, a, b, c, d, e, f, g, h], &[]);
    }
}

/// Appends an attribute that is a list of texts.
pub(crate) fn append_strings<'a>(
    buffer: &mut Vec<u8>,
    tag: u8,
    key: &EncodedKey,
    texts: impl IntoIterator<Item = &'a str>,
) {
    let mut array = Vec::new();
    for text in texts {
        let mut value = vec![TEXT_VALUE];
        varint::append(&mut value, text.len() as u64);
        value.extend_from_slice(text.as_bytes());
        append_field(&mut array, 0x0a, &value);
    }
    let mut value = Vec::new();
    append_field(&mut value, ARRAY_VALUE, &array);
    append_long(buffer, tag, key, &value, &[]);
}

/// Appends a length-delimited field.
pub(crate) fn append_field(buffer: &mut Vec<u8>, tag: u8, content: &[u8]) {
    buffer.push(tag);
    varint::append(buffer, content.len() as u64);
    buffer.extend_from_slice(content);
}

/// `Span.name`, encoded, to be copied again and again.
#[derive(Debug)]
pub(crate) struct EncodedName {
    /// Copying this whole and cutting is cheaper than copying as many bytes as there are.
    short: [u8; 32],
    bytes: Box<[u8]>,
}

impl EncodedName {
    pub(crate) fn new(name: &str) -> Self {
        let mut bytes = Vec::new();
        append_name(&mut bytes, name);
        let mut short = [0; 32];
        for (place, byte) in short.iter_mut().zip(&bytes) {
            *place = *byte;
        }
        EncodedName { short, bytes: bytes.into() }
    }

    #[inline]
    pub(crate) fn append(&self, buffer: &mut Vec<u8>) {
        let len = self.bytes.len();
        if len <= self.short.len() {
            let end = buffer.len().wrapping_add(len);
            buffer.extend_from_slice(&self.short);
            buffer.truncate(end);
        } else {
            buffer.extend_from_slice(&self.bytes);
        }
    }
}

/// Appends `Span.name`.
pub(crate) fn append_name(buffer: &mut Vec<u8>, name: &str) {
    append_field(buffer, 0x2a, name.as_bytes());
}

/// Appends `Span.trace_state`.
pub(crate) fn append_trace_state(buffer: &mut Vec<u8>, state: &str) {
    append_field(buffer, 0x1a, state.as_bytes());
}

/// Appends `Span.status`; nothing if `code` is zero.
pub(crate) fn append_status(buffer: &mut Vec<u8>, code: u8, message: &str) {
    if code == 0 {
        return;
    }
    let mut status = Vec::new();
    if !message.is_empty() {
        append_field(&mut status, 0x12, message.as_bytes());
    }
    status.extend_from_slice(&[0x18, code]);
    append_field(buffer, 0x7a, &status);
}

/// Which repeated field of a span lost members.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Dropped {
    /// `Span.dropped_attributes_count`.
    Attributes = 0x50,
    /// `Span.dropped_events_count`.
    Events = 0x60,
    /// `Span.dropped_links_count`.
    Links = 0x70,
    /// `Event.dropped_attributes_count`.
    EventAttributes = 0x20,
}

/// Appends how many members a field lost; nothing if none.
pub(crate) fn append_dropped(buffer: &mut Vec<u8>, what: Dropped, count: u32) {
    if count > 0 {
        buffer.push(what as u8);
        varint::append(buffer, u64::from(count));
    }
}

/// What a link says about the two spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkMeaning {
    /// Nothing but that they belong together.
    Unsaid,
    /// The one waited for the other.
    DependsOn,
}

/// Appends one `Span.links`.
pub(crate) fn append_link(
    buffer: &mut Vec<u8>,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    meaning: LinkMeaning,
    flags: u32,
) {
    let mut link = Vec::with_capacity(72);
    append_field(&mut link, 0x0a, &trace_id);
    append_field(&mut link, 0x12, &span_id);
    if meaning == LinkMeaning::DependsOn {
        let mut value = Vec::with_capacity(12);
        append_field(&mut value, 0x0a, b"depends_on");
        let mut attribute = Vec::with_capacity(32);
        append_field(&mut attribute, 0x0a, EDGE.as_bytes());
        append_field(&mut attribute, 0x12, &value);
        append_field(&mut link, 0x22, &attribute);
    }
    link.push(0x35);
    link.extend_from_slice(&flags.to_le_bytes());
    append_field(buffer, 0x6a, &link);
}

/// The singular fields every span has, save its name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpanHead {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    /// All zero: no parent.
    pub(crate) parent_id: [u8; 8],
    /// As OTLP numbers them.
    pub(crate) kind: u8,
    /// W3C trace flags below, whether the parent is remote above; see [`flags`].
    pub(crate) flags: u32,
    /// Nanoseconds since the Unix epoch.
    pub(crate) start: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) end: u64,
}

/// Bits of `Span.flags` and `Link.flags`.
pub(crate) mod flags {
    pub(crate) const SAMPLED: u32 = 0x001;
    pub(crate) const IS_REMOTE_KNOWN: u32 = 0x100;
    pub(crate) const IS_REMOTE: u32 = 0x200;
}

impl SpanHead {
    /// Appends the fields.
    #[inline]
    pub(crate) fn append(&self, buffer: &mut Vec<u8>) {
        let mut bytes = [0u8; 64];
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, [0x0a, 16]);
        put(&mut rest, self.trace_id);
        put(&mut rest, [0x12, 8]);
        put(&mut rest, self.span_id);
        put(&mut rest, [0x30, self.kind, 0x85, 0x01]);
        put(&mut rest, self.flags.to_le_bytes());
        put(&mut rest, [0x39]);
        put(&mut rest, self.start.to_le_bytes());
        put(&mut rest, [0x41]);
        put(&mut rest, self.end.to_le_bytes());
        put(&mut rest, [0x22, 8]);
        put(&mut rest, self.parent_id);
        buffer.extend_from_slice(&bytes);
        if self.parent_id == [0; 8] {
            buffer.truncate(buffer.len().wrapping_sub(10));
        }
    }
}

/// Writes `bytes` at the front of `rest` and moves past them.
#[inline(always)]
fn put<const N: usize>(rest: &mut &mut [u8], bytes: [u8; N]) {
    if let Some((front, back)) = std::mem::take(rest).split_first_chunk_mut::<N>() {
        *front = bytes;
        *rest = back;
    }
}

/// One attribute among encoded `Span.attributes` fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedAttribute<'a> {
    /// The whole field, tag included.
    pub(crate) place: Range<usize>,
    pub(crate) key: &'a [u8],
}

/// The attributes in `buffer`, which holds nothing else.
pub(crate) fn attributes(buffer: &[u8]) -> impl Iterator<Item = PlacedAttribute<'_>> {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        // One byte each: the field's tag, then inside it the key's.
        let (len, len_bytes) = varint::read(buffer.get(at.saturating_add(1)..)?)?;
        let content = at.saturating_add(1).saturating_add(len_bytes);
        let end = content.saturating_add(len as usize);
        let (key_len, key_len_bytes) = varint::read(buffer.get(content.saturating_add(1)..)?)?;
        let key = content.saturating_add(1).saturating_add(key_len_bytes);
        let key = buffer.get(key..key.saturating_add(key_len as usize))?;
        let place = at..end;
        at = end;
        Some(PlacedAttribute { place, key })
    })
}

/// Where in `buffer` the attribute `key` stands.
pub(crate) fn find_attribute(buffer: &[u8], key: &[u8]) -> Option<Range<usize>> {
    attributes(buffer).find(|attribute| attribute.key == key).map(|attribute| attribute.place)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message;

    use super::*;

    fn decoded(buffer: &[u8]) -> (String, Value) {
        let mut span = Span::decode(buffer).unwrap();
        assert_eq!(span.attributes.len(), 1);
        let attribute = span.attributes.remove(0);
        (attribute.key, attribute.value.unwrap().value.unwrap())
    }

    /// Keys and texts around every length at which the writing changes.
    #[test]
    fn attributes_of_any_length_read_back() {
        for key_len in (1..60).chain([200, KEY_BYTES]) {
            let key = "k".repeat(key_len);
            let encoded = EncodedKey::new(&key);
            let read_back = |append: &dyn Fn(&mut Vec<u8>)| {
                // The buffer has room, or not.
                let mut buffer = Vec::with_capacity(key_len % 3 * 100);
                append(&mut buffer);
                let (read, value) = decoded(&buffer);
                assert_eq!(read, key);
                value
            };
            for text_len in (0..140).chain([300, 20_000]) {
                let text: String = ('a'..='z').cycle().take(text_len).collect();
                let value =
                    read_back(&|buffer| append_str(buffer, SPAN_ATTRIBUTE, &encoded, &text, usize::MAX));
                assert_eq!(value, Value::StringValue(text));
            }
            for number in [0, 1, 127, 128, 1 << 20, 1 << 55, 1 << 56, i64::MAX, -1, i64::MIN] {
                let value = read_back(&|buffer| append_int(buffer, SPAN_ATTRIBUTE, &encoded, number));
                assert_eq!(value, Value::IntValue(number));
            }
            for number in [0.0, -1.5, f64::MAX] {
                let value = read_back(&|buffer| append_double(buffer, SPAN_ATTRIBUTE, &encoded, number));
                assert_eq!(value, Value::DoubleValue(number));
            }
            for truth in [false, true] {
                let value = read_back(&|buffer| append_bool(buffer, SPAN_ATTRIBUTE, &encoded, truth));
                assert_eq!(value, Value::BoolValue(truth));
            }
        }
    }

    #[test]
    fn a_text_that_is_cut_is_as_long_as_it_may_be_and_says_so() {
        let key = EncodedKey::new("k");
        for limit in 0..40 {
            let mut buffer = Vec::new();
            append_str(&mut buffer, SPAN_ATTRIBUTE, &key, &"ß".repeat(30), limit);
            let Value::StringValue(text) = decoded(&buffer).1 else { panic!() };
            assert!(text.len() <= limit && text.len() + 2 > limit, "{limit}: {text}");
            assert_eq!(text.ends_with('…'), limit >= 3, "{limit}: {text}");
        }
    }
}
