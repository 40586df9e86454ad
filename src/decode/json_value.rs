//! JSON scalars and ids, read leniently.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::shortened;
use crate::attribute_reader::AttributeValue;

/// A string, a number or a boolean; everything else is as if it were missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Scalar<'j> {
    #[default]
    Missing,
    Text(Cow<'j, str>),
    Unsigned(u64),
    Signed(i64),
    Double(f64),
    Flag(bool),
}

impl<'j, 'de: 'j> Deserialize<'de> for Scalar<'j> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Flag(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Signed(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Unsigned(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Double(value))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Missing)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Scalar<'de>, A::Error> {
        while sequence.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Missing)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Missing)
    }
}

impl<'j> Scalar<'j> {
    pub(super) fn text(&self) -> Option<&str> {
        if let Scalar::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Scalar::Unsigned(number) => Some(*number),
            Scalar::Signed(number) => u64::try_from(*number).ok(),
            // Writers that know no 64-bit integers; exact as long as the number is whole.
            Scalar::Double(number) if number.fract() == 0.0 && *number >= 0.0 && *number < 1.8e19 => {
                Some(*number as u64)
            }
            Scalar::Text(text) => digits(text).or_else(|| text.trim().parse().ok()),
            _ => None,
        }
    }

    pub(super) fn as_i64(&self) -> Option<i64> {
        match self {
            Scalar::Signed(number) => Some(*number),
            Scalar::Text(text) => match digits(text) {
                Some(number) => i64::try_from(number).ok(),
                None => text.trim().parse().ok(),
            },
            Scalar::Double(number) if number.fract() == 0.0 && number.abs() < 9.2e18 => Some(*number as i64),
            other => other.as_u64().and_then(|number| i64::try_from(number).ok()),
        }
    }

    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Scalar::Double(number) => Some(*number),
            Scalar::Unsigned(number) => Some(*number as f64),
            Scalar::Signed(number) => Some(*number as f64),
            // "NaN" and "Infinity", as protobuf's JSON mapping writes them, parse too.
            Scalar::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn as_attribute(&self) -> AttributeValue<'_> {
        match self {
            Scalar::Missing => AttributeValue::Other,
            Scalar::Text(text) => AttributeValue::Str(text),
            Scalar::Flag(flag) => AttributeValue::Bool(*flag),
            Scalar::Double(number) => AttributeValue::Double(*number),
            Scalar::Signed(number) => AttributeValue::Int(*number),
            Scalar::Unsigned(number) => {
                i64::try_from(*number).map_or(AttributeValue::Double(*number as f64), AttributeValue::Int)
            }
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Scalar::Missing => String::new(),
            Scalar::Text(text) => shortened(text),
            Scalar::Unsigned(number) => number.to_string(),
            Scalar::Signed(number) => number.to_string(),
            Scalar::Double(number) => number.to_string(),
            Scalar::Flag(flag) => flag.to_string(),
        }
    }

    /// The number of an enum given as a number or as one of `names`, with or without their prefix.
    pub(super) fn as_enum(&self, prefix: &str, names: &[&str]) -> u64 {
        let by_name = |text: &str| {
            let name = text.strip_prefix(prefix).unwrap_or(text);
            names.iter().position(|known| known.eq_ignore_ascii_case(name)).map(|at| at as u64)
        };
        self.as_u64().or_else(|| by_name(self.text()?)).unwrap_or(0)
    }
}

/// A number of nothing but digits, as most are written; `None` for others, and where it may be too large.
fn digits(text: &str) -> Option<u64> {
    const MOST: usize = 19;
    if text.is_empty() || text.len() > MOST {
        return None;
    }
    text.bytes().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number.wrapping_mul(10).wrapping_add(u64::from(digit)))
    })
}

/// The bytes of an id in hex, as the specification wants it, or in base64, as protobuf's own JSON mapping does.
pub(super) fn id_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() == N.saturating_mul(2) {
        let mut bytes = [0u8; N];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let &[high, low] = pair else { return None };
            *byte = hex_digit(high)? << 4 | hex_digit(low)?;
        }
        return Some(bytes);
    }
    from_base64(text)?.try_into().ok()
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

/// The bytes of an id in hex that may leave out zeros in front; one that is no hex stands for its own characters.
pub(super) fn short_id_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if text.is_empty() {
        return None;
    }
    if is_hex && text.len() <= N.saturating_mul(2) {
        let number = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
        return number.last_chunk().copied();
    }
    let mut bytes = [0u8; N];
    bytes.get_mut(N.checked_sub(text.len())?..)?.copy_from_slice(text.as_bytes());
    Some(bytes)
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len());
    let mut window = 0u32;
    let mut bits = 0u32;
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit.wrapping_sub(b'A'),
            b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        window = window << 6 | u32::from(value);
        bits = bits.saturating_add(6);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            bytes.push((window >> bits) as u8);
        }
    }
    Some(bytes)
}
