//! Making an encoded span smaller, when too much is on its way already.

use super::span::{EncodedKey, KEY_BYTES, SPAN_ATTRIBUTE, append_str, attributes};
use super::varint;
use crate::conventions::{EDGE, Fact, fact_of};

/// Texts longer than this are cut.
pub(crate) const LONG_TEXT: usize = 1024;
/// How many bytes of them are kept, an `…` at the end included.
pub(crate) const KEPT_OF_LONG_TEXT: usize = 256;

/// Cuts the long texts among `Span.attributes` fields and says how many were cut. What the analysis reads stays.
pub(crate) fn cut_long_texts(buffer: &mut Vec<u8>) -> u64 {
    // Most spans have no long text: then nothing is copied.
    let is_long = |field: &[u8]| field.len() > LONG_TEXT;
    if !is_long(buffer) || !attributes(buffer).any(|attribute| attribute.place.len() > LONG_TEXT) {
        return 0;
    }
    let mut shorter = Vec::with_capacity(buffer.len());
    let mut cut = 0u64;
    for attribute in attributes(buffer) {
        let field = buffer.get(attribute.place.clone()).unwrap_or_default();
        let text = text_of(field, attribute.key).filter(|text| is_long(text.as_bytes()));
        match (text, std::str::from_utf8(attribute.key)) {
            (Some(text), Ok(key)) if !is_read(key) && key.len() <= KEY_BYTES => {
                append_str(&mut shorter, SPAN_ATTRIBUTE, &EncodedKey::new(key), text, KEPT_OF_LONG_TEXT);
                cut = cut.saturating_add(1);
            }
            _ => shorter.extend_from_slice(field),
        }
    }
    *buffer = shorter;
    cut
}

/// Whether the analysis reads the value of the attribute. Of a call over HTTP or to a database it only sees that
/// there is one.
fn is_read(key: &str) -> bool {
    fact_of(key).is_some_and(|fact| !matches!(fact, Fact::Http | Fact::Db))
}

/// The text an attribute's field holds, if it is one.
fn text_of<'a>(field: &'a [u8], key: &[u8]) -> Option<&'a str> {
    // One byte each: the tags of the field, the key, the value and the text.
    let (content, _) = length_delimited(field)?;
    let (key_field, after_key) = length_delimited(content)?;
    if key_field != key {
        return None;
    }
    let (value, _) = length_delimited(after_key)?;
    let (text, _) = length_delimited(value).filter(|_| value.first() == Some(&0x0a))?;
    std::str::from_utf8(text).ok()
}

/// The content of the length-delimited field at the front of `bytes`, and what is after it.
fn length_delimited(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, len_bytes) = varint::read(bytes.get(1..)?)?;
    let start = len_bytes.saturating_add(1);
    bytes.get(start..)?.split_at_checked(usize::try_from(len).ok()?)
}

/// Leaves out those of `Span.links` fields that do not say what the span waited for, and says how many they were.
pub(crate) fn drop_unread_links(buffer: &mut Vec<u8>) -> u32 {
    let mut kept = Vec::new();
    let mut dropped = 0u32;
    let mut rest = buffer.as_slice();
    while let Some((link, after)) = length_delimited(rest) {
        if link.windows(EDGE.len()).any(|bytes| bytes == EDGE.as_bytes()) {
            let field = rest.len().saturating_sub(after.len());
            kept.extend_from_slice(rest.get(..field).unwrap_or_default());
        } else {
            dropped = dropped.saturating_add(1);
        }
        rest = after;
    }
    *buffer = kept;
    dropped
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::super::span::{LinkMeaning, append_bool, append_int, append_link, append_strings};
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;
    use prost::Message;

    fn text(buffer: &mut Vec<u8>, key: &str, text: &str) {
        append_str(buffer, SPAN_ATTRIBUTE, &EncodedKey::new(key), text, usize::MAX);
    }

    fn decoded(buffer: &[u8]) -> Vec<(String, Value)> {
        let span = Span::decode(buffer).unwrap();
        span.attributes.into_iter().map(|a| (a.key, a.value.unwrap().value.unwrap())).collect()
    }

    #[test]
    fn only_long_texts_that_are_not_read_are_cut() {
        let long = "ß".repeat(LONG_TEXT);
        let mut buffer = Vec::new();
        text(&mut buffer, "prompt", &long);
        text(&mut buffer, "node.id", &long);
        text(&mut buffer, "db.query.text", &long);
        text(&mut buffer, "kept", &"x".repeat(LONG_TEXT));
        text(&mut buffer, &"k".repeat(300), &long);
        append_int(&mut buffer, SPAN_ATTRIBUTE, &EncodedKey::new("count"), -1);
        append_bool(&mut buffer, SPAN_ATTRIBUTE, &EncodedKey::new("flag"), true);
        append_strings(&mut buffer, SPAN_ATTRIBUTE, &EncodedKey::new("list"), [&*long, "b"]);
        let before = decoded(&buffer);
        assert_eq!(cut_long_texts(&mut buffer), 3);
        let front = Value::StringValue(format!("{}…", "ß".repeat(126)));
        for ((key, old), (new_key, new)) in before.iter().zip(decoded(&buffer)) {
            assert_eq!(*key, new_key);
            let is_cut =
                ["prompt", "db.query.text"].contains(&&**key) || key.starts_with('k') && key != "kept";
            assert_eq!(new, if is_cut { front.clone() } else { old.clone() }, "{key}");
        }
        assert_eq!(cut_long_texts(&mut buffer), 0, "once is enough");
    }

    #[test]
    fn links_that_say_what_was_waited_for_stay() {
        let mut buffer = Vec::new();
        for (id, meaning) in [(1, LinkMeaning::Unsaid), (2, LinkMeaning::DependsOn), (3, LinkMeaning::Unsaid)]
        {
            append_link(&mut buffer, [id; 16], [id; 8], meaning, 1);
        }
        assert_eq!(drop_unread_links(&mut buffer), 2);
        let span = Span::decode(&*buffer).unwrap();
        assert_eq!(span.links.iter().map(|link| &*link.span_id).collect::<Vec<_>>(), [[2; 8]]);
        assert_eq!(drop_unread_links(&mut buffer), 0);
    }

    proptest! {
        #[test]
        fn whatever_the_texts_only_the_long_ones_get_shorter(
            texts in prop::collection::vec(("[a-zé]{0,300}", 0usize..3000, any::<char>()), 0..8),
        ) {
            let mut buffer = Vec::new();
            for (key, count, letter) in &texts {
                text(&mut buffer, key, &letter.to_string().repeat(*count));
            }
            let before = decoded(&buffer);
            let cut = cut_long_texts(&mut buffer);
            let after = decoded(&buffer);
            prop_assert_eq!(before.len(), after.len());
            let mut changed = 0;
            for ((key, old), (new_key, new)) in before.into_iter().zip(after) {
                prop_assert_eq!(key, new_key);
                let (Value::StringValue(old), Value::StringValue(new)) = (old, new) else { panic!() };
                if old.len() > LONG_TEXT {
                    changed += 1;
                    prop_assert!(new.len() <= KEPT_OF_LONG_TEXT && new.ends_with('…'));
                    prop_assert!(old.starts_with(new.trim_end_matches('…')));
                } else {
                    prop_assert_eq!(old, new);
                }
            }
            prop_assert_eq!(cut, changed);
        }
    }
}
