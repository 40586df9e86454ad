//! Values on their way into attributes, less what must not leave the process. What takes part in the hot path is in
//! the visitors; here is what they do with the few values that are not written as they are.

use std::borrow::Cow;

use crate::conventions::CONTENT_BYTES;
use crate::encode::span::{EncodedKey, append_bool, append_double, append_int, append_str};
use crate::privacy::{REDACTED, Treatment, input_hash, mask_within};

use super::config::Limits;
use super::counters::LayerCounters;
use super::user_text::ErrorTexts;

/// A value of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    Text(&'a str),
    /// Text that was formatted up to a limit, and how long it would have been.
    Formatted(&'a str, usize),
    Int(i64),
    Double(f64),
    Bool(bool),
}

/// `text` as it may be written, of at most about `limit` bytes.
#[inline]
pub(super) fn masked<'t>(
    text: &'t str,
    limit: usize,
    limits: &Limits,
    counters: &LayerCounters,
) -> Cow<'t, str> {
    if text.len() < limits.masked_from {
        return Cow::Borrowed(text);
    }
    match mask_within(text, limit) {
        Some(masked) => {
            counters.redacted_values.add(1);
            Cow::Owned(masked)
        }
        None => Cow::Borrowed(text),
    }
}

/// What an error says, as it may be written; `None`: nothing of it.
pub(super) fn masked_error(
    mut texts: ErrorTexts,
    treatment: Treatment,
    limits: &Limits,
    counters: &LayerCounters,
) -> Option<ErrorTexts> {
    match treatment {
        Treatment::LeftOut | Treatment::LeftOutButHashed => {
            counters.content_left_out.add(1);
            return None;
        }
        Treatment::Redacted => {
            counters.redacted_values.add(1);
            return Some(ErrorTexts { message: REDACTED.to_owned(), sources: Vec::new() });
        }
        Treatment::Plain | Treatment::Content => {}
    }
    for text in std::iter::once(&mut texts.message).chain(&mut texts.sources) {
        if let Cow::Owned(masked) = masked(text, limits.value_bytes, limits, counters) {
            *text = masked;
        }
    }
    Some(texts)
}

/// How many bytes of a value with this treatment are kept.
pub(super) fn limit_of(treatment: Treatment, limits: &Limits) -> usize {
    match treatment {
        Treatment::Content | Treatment::LeftOutButHashed => limits.content_bytes,
        Treatment::Plain | Treatment::Redacted | Treatment::LeftOut => limits.value_bytes,
    }
}

/// Appends what may be told of `value` and returns how many attributes that is.
#[cold]
pub(super) fn append_withheld(
    buffer: &mut Vec<u8>,
    tag: u8,
    key: &EncodedKey,
    treatment: Treatment,
    value: Given<'_>,
    limits: &Limits,
    counters: &LayerCounters,
) -> u32 {
    match treatment {
        Treatment::LeftOut => {
            counters.content_left_out.add(1);
            0
        }
        Treatment::LeftOutButHashed => {
            counters.content_left_out.add(1);
            let hash = match value {
                Given::Text("") | Given::Formatted("", _) => return 0,
                Given::Text(text) | Given::Formatted(text, _) => {
                    input_hash(text.as_bytes(), limits.content_bytes)
                }
                Given::Int(number) => input_hash(&number.to_le_bytes(), limits.content_bytes),
                Given::Double(_) | Given::Bool(_) => return 0,
            };
            append_int(buffer, tag, key, hash);
            1
        }
        Treatment::Redacted => {
            counters.redacted_values.add(1);
            append_str(buffer, tag, key, REDACTED, REDACTED.len());
            1
        }
        Treatment::Plain | Treatment::Content => match value {
            Given::Int(number) => {
                append_int(buffer, tag, key, number);
                1
            }
            Given::Double(number) => {
                append_double(buffer, tag, key, number);
                1
            }
            Given::Bool(truth) => {
                append_bool(buffer, tag, key, truth);
                1
            }
            Given::Text(text) => {
                append_text(buffer, tag, key, treatment, (text, text.len()), limits, counters)
            }
            Given::Formatted(text, len) => {
                append_text(buffer, tag, key, treatment, (text, len), limits, counters)
            }
        },
    }
}

fn append_text(
    buffer: &mut Vec<u8>,
    tag: u8,
    key: &EncodedKey,
    treatment: Treatment,
    (text, len): (&str, usize),
    limits: &Limits,
    counters: &LayerCounters,
) -> u32 {
    let limit = limit_of(treatment, limits);
    append_str(buffer, tag, key, &masked(text, limit, limits, counters), limit);
    if treatment != Treatment::Content || text.len() <= limit {
        return 1;
    }
    counters.content_cut.add(1);
    let Ok(name) = std::str::from_utf8(key.text()) else { return 1 };
    let bytes = i64::try_from(len).unwrap_or(i64::MAX);
    append_int(buffer, tag, &EncodedKey::new(&format!("{CONTENT_BYTES}{name}")), bytes);
    2
}
