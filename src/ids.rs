//! Trace and span ids, written as lower-case hex.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The two digits of each byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    pairs
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// How many bytes the id has.
            pub const LEN: usize = $bytes;

            /// The id with these bytes, first byte first.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                $name(bytes)
            }

            /// The id in a wire field; `None` unless it has exactly the right length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map($name)
            }

            /// Reads hex digits of either case; `None` unless there are exactly enough of them.
            pub fn from_hex(text: &str) -> Option<Self> {
                let text = text.as_bytes();
                if text.len() != $bytes * 2 {
                    return None;
                }
                let mut bytes = [0; $bytes];
                for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    let mut value = 0u8;
                    for digit in pair {
                        let digit = (*digit as char).to_digit(16)?;
                        value = value << 4 | digit as u8;
                    }
                    *byte = value;
                }
                Some($name(bytes))
            }

            /// The bytes, first byte first.
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.0
            }

            /// The id as text: what `to_string` gives, in a third of the time.
            pub(crate) fn to_hex(self) -> String {
                String::from_utf8(self.digits().to_vec()).unwrap_or_default()
            }

            fn digits(self) -> [u8; $bytes * 2] {
                let mut digits = [0u8; $bytes * 2];
                for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
                    pair.copy_from_slice(&HEX[usize::from(byte)]);
                }
                digits
            }

            /// Whether every byte is zero, which OpenTelemetry calls invalid and means "none".
            pub fn is_zero(self) -> bool {
                self.0 == [0; $bytes]
            }
        }

        impl Hash for $name {
            #[inline]
            fn hash<H: Hasher>(&self, state: &mut H) {
                // Without its length, which is always the same.
                state.write(&self.0);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $name::from_hex(&text).ok_or_else(|| {
                    serde::de::Error::custom(format_args!("{:?} is not {} hex digits", text, $bytes * 2))
                })
            }
        }
    };
}

id! {
    /// The id all spans of one trace share.
    TraceId, 16
}
id! {
    /// The id of one span, unique in its trace (odd traces break even that; see `Warning`).
    SpanId, 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_either_case_and_written_in_lower() {
        let id = SpanId::from_hex("00AbcdEF01234567").unwrap();
        assert_eq!(id.to_string(), "00abcdef01234567");
        assert_eq!(id.to_hex(), id.to_string());
        assert_eq!(SpanId::from_hex("00abcdef0123456"), None);
        assert_eq!(SpanId::from_hex("00abcdef0123456g"), None);
        assert_eq!(SpanId::from_hex("é0abcdef012345"), None);
    }
}
