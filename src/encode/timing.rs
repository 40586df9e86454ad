//! The timing attributes every span ends with. Their keys are known when this is compiled, so each is a template
//! with holes for lengths and value, and costs a few stores instead of three copies.

use crate::conventions;

use super::span::{EncodedKey, SPAN_ATTRIBUTE, append_int};
use super::varint;

/// What running a span looked like. Points in time are nanoseconds since the Unix epoch, lengths are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// When a thread first entered it; `u64::MAX`: none ever did.
    pub(crate) first_enter: u64,
    /// When it, or a child of it, first ran; its start if nothing did.
    pub(crate) first_run: u64,
    pub(crate) busy: u64,
    pub(crate) longest_poll: u64,
    pub(crate) held_open: u64,
    pub(crate) polls: u64,
}

/// Held open for less than this many nanoseconds is not worth telling.
const TOLD_HELD_OPEN: u64 = 1_000_000;

/// Appends what running a span looked like that started at `start`, leaving out what follows from the rest.
pub(crate) fn append(buffer: &mut Vec<u8>, start: u64, timing: &Timing) {
    let queued = timing.first_run.saturating_sub(start);
    if timing.first_enter != u64::MAX {
        BUSY.append(buffer, timing.busy);
        POLLS.append(buffer, timing.polls);
        if timing.longest_poll != timing.busy {
            LONGEST_POLL.append(buffer, timing.longest_poll);
        }
        let first_enter = timing.first_enter.saturating_sub(start);
        if first_enter != queued {
            FIRST_ENTER.append(buffer, first_enter);
        }
    }
    if queued != 0 {
        QUEUED.append(buffer, queued);
    }
    if timing.held_open > TOLD_HELD_OPEN {
        HELD_OPEN.append(buffer, timing.held_open);
    }
}

/// Bytes of an integer attribute around its key: tag, length, the key's tag and length, the value's tag, length and
/// type, and the longest value that is written short.
const AROUND_KEY: usize = 4 + 3 + 8;

/// An integer attribute of a known key. `N` is the length of the key and [`AROUND_KEY`].
pub(crate) struct IntTemplate<const N: usize> {
    key: &'static str,
    bytes: [u8; N],
}

macro_rules! templates {
    ($($name:ident = $key:path;)*) => {
        $(pub(crate) const $name: IntTemplate<{ $key.len() + AROUND_KEY }> = IntTemplate::new($key);)*
    };
}

templates! {
    QUEUED = conventions::QUEUED_NS;
    BUSY = conventions::BUSY_NS;
    POLLS = conventions::POLLS;
    LONGEST_POLL = conventions::LONGEST_POLL_NS;
    FIRST_ENTER = conventions::FIRST_ENTER_NS;
    HELD_OPEN = conventions::HELD_OPEN_NS;
}

impl<const N: usize> IntTemplate<N> {
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "evaluated when compiled: what is wrong does not build"
    )]
    const fn new(key: &'static str) -> Self {
        assert!(N == key.len() + AROUND_KEY && N < 0x80);
        let mut bytes = [0; N];
        bytes[0] = SPAN_ATTRIBUTE;
        bytes[2] = 0x0a;
        bytes[3] = key.len() as u8;
        let mut at = 0;
        while at < key.len() {
            bytes[at + 4] = key.as_bytes()[at];
            at += 1;
        }
        bytes[at + 4] = 0x12;
        bytes[at + 6] = 0x18;
        IntTemplate { key, bytes }
    }

    /// Appends the attribute with `value`.
    #[inline]
    pub(crate) fn append(&self, buffer: &mut Vec<u8>, value: u64) {
        let Some((value, value_len)) = varint::encode_short(value) else {
            return self.append_large(buffer, value);
        };
        let mut field = self.bytes;
        if let Some(len) = field.get_mut(1) {
            *len = N.wrapping_sub(10).wrapping_add(value_len) as u8;
        }
        if let Some([len, _, place @ ..]) = field.last_chunk_mut::<10>() {
            *len = value_len.wrapping_add(1) as u8;
            *place = value;
        }
        buffer.extend_from_slice(&field);
        buffer.truncate(buffer.len().wrapping_sub(8).wrapping_add(value_len));
    }

    #[cold]
    fn append_large(&self, buffer: &mut Vec<u8>, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        append_int(buffer, SPAN_ATTRIBUTE, &EncodedKey::new(self.key), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_write_what_the_general_encoder_writes() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 1_234_567_890, (1 << 56) - 1, 1 << 56, i64::MAX as u64]
        {
            let (mut short, mut general) = (Vec::new(), Vec::new());
            macro_rules! append_all {
                ($($template:ident $key:ident),*) => {$(
                    $template.append(&mut short, value);
                    append_int(&mut general, SPAN_ATTRIBUTE, &EncodedKey::new(conventions::$key), value as i64);
                )*};
            }
            append_all!(
                QUEUED QUEUED_NS, BUSY BUSY_NS, POLLS POLLS, LONGEST_POLL LONGEST_POLL_NS,
                FIRST_ENTER FIRST_ENTER_NS, HELD_OPEN HELD_OPEN_NS
            );
            assert_eq!(short, general, "{value}");
        }
    }
}
