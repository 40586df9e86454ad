//! The timing attributes every span ends with, on the stack: their keys are known when this is compiled, so each
//! costs a few stores instead of a copy.

use crate::conventions;

use super::span::SPAN_ATTRIBUTE;
use super::varint;

/// Defines keys as they stand in a `KeyValue`: tag, length, text, and the tag of the value.
macro_rules! keys {
    ($($name:ident = $key:path;)*) => {
        $(pub(crate) const $name: [u8; $key.len() + 3] = key_field($key);)*
    };
}

keys! {
    QUEUED = conventions::QUEUED_NS;
    BUSY = conventions::BUSY_NS;
    POLLS = conventions::POLLS;
    LONGEST_POLL = conventions::LONGEST_POLL_NS;
    FIRST_ENTER = conventions::FIRST_ENTER_NS;
    HELD_OPEN = conventions::HELD_OPEN_NS;
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated when compiled: what is wrong does not build"
)]
const fn key_field<const N: usize>(key: &str) -> [u8; N] {
    let mut bytes = [0x12; N];
    bytes[0] = 0x0a;
    bytes[1] = key.len() as u8;
    let mut at = 0;
    while at < key.len() {
        bytes[at + 2] = key.as_bytes()[at];
        at += 1;
    }
    bytes
}

/// `Span.attributes` fields of integers, at most one of each key above.
#[derive(Debug)]
pub(crate) struct TimingFields {
    bytes: [u8; 320],
    len: usize,
}

impl Default for TimingFields {
    #[inline]
    fn default() -> Self {
        TimingFields { bytes: [0; 320], len: 0 }
    }
}

impl TimingFields {
    /// Appends an attribute. Values of more than 56 bits, two years in nanoseconds, are told as that.
    #[inline]
    pub(crate) fn put<const N: usize>(&mut self, key: &[u8; N], value: u64) {
        const MOST: u64 = u64::MAX >> 8;
        let Some((value, value_len)) = varint::encode_short(value.min(MOST)) else { return };
        let Some(rest) = self.bytes.get_mut(self.len..) else { return };
        let len = N.wrapping_add(value_len).wrapping_add(2);
        let Some((head, rest)) = rest.split_first_chunk_mut() else { return };
        *head = [SPAN_ATTRIBUTE, len as u8];
        let Some((place, rest)) = rest.split_first_chunk_mut::<N>() else { return };
        *place = *key;
        let Some((head, rest)) = rest.split_first_chunk_mut() else { return };
        *head = [value_len.wrapping_add(1) as u8, 0x18];
        let Some(place) = rest.first_chunk_mut() else { return };
        *place = value;
        self.len = self.len.wrapping_add(len).wrapping_add(2);
    }

    /// What was appended.
    #[inline]
    pub(crate) fn encoded(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::span::{EncodedKey, append_int};

    #[test]
    fn all_six_fit_and_equal_what_the_general_encoder_writes() {
        let mut fields = TimingFields::default();
        let mut expected = Vec::new();
        let mut put = |value: u64| {
            macro_rules! put_all {
                ($($key:ident $name:ident),*) => {$(
                    fields.put(&$key, value);
                    append_int(&mut expected, SPAN_ATTRIBUTE, &EncodedKey::new(conventions::$name), value as i64);
                )*};
            }
            put_all!(
                QUEUED QUEUED_NS, BUSY BUSY_NS, POLLS POLLS, LONGEST_POLL LONGEST_POLL_NS,
                FIRST_ENTER FIRST_ENTER_NS, HELD_OPEN HELD_OPEN_NS
            );
        };
        put(u64::MAX >> 8);
        assert_eq!(fields.encoded(), expected);
        fields = TimingFields::default();
        fields.put(&QUEUED, u64::MAX);
        fields.put(&POLLS, 0);
        assert_eq!(fields.encoded().last(), Some(&0));
    }
}
