//! Protobuf's base-128 variable-length integers.

/// Appends `value`, one to ten bytes.
#[inline]
pub(crate) fn append(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// The bytes of `value` at the front of an array, and how many they are; `None` if they are more than eight.
///
/// Without a loop, because this runs several times a span: short ones, counts and times up to 2 ms, by cases, the
/// others by spreading groups of seven bits over a word in three steps.
#[inline]
pub(crate) fn encode_short(value: u64) -> Option<([u8; 8], usize)> {
    if value < 0x80 {
        return Some((value.to_le_bytes(), 1));
    }
    if value < 0x4000 {
        let bytes = value & 0x7f | (value & 0x3f80) << 1 | 0x80;
        return Some((bytes.to_le_bytes(), 2));
    }
    if value < 0x20_0000 {
        let bytes = value & 0x7f | (value & 0x3f80) << 1 | (value & 0x1f_c000) << 2 | 0x8080;
        return Some((bytes.to_le_bytes(), 3));
    }
    if value >> 56 != 0 {
        return None;
    }
    let halves = value & 0x0000_0000_0fff_ffff | (value & 0x00ff_ffff_f000_0000) << 4;
    let quarters = halves & 0x0000_3fff_0000_3fff | (halves & 0x0fff_c000_0fff_c000) << 2;
    let groups = quarters & 0x007f_007f_007f_007f | (quarters & 0x3f80_3f80_3f80_3f80) << 1;
    // One byte for each started group; all but the last say that another follows.
    let bits = u64::BITS.wrapping_sub(groups.leading_zeros());
    let len = bits.wrapping_add(7) >> 3;
    let followed = u64::MAX.checked_shr(72u32.wrapping_sub(len.wrapping_mul(8))).unwrap_or(0);
    let bytes = groups | followed & 0x8080_8080_8080_8080;
    Some((bytes.to_le_bytes(), len as usize))
}

/// How many bytes [`append`] writes.
#[inline]
pub(crate) const fn len(value: u64) -> usize {
    let bits = u64::BITS.saturating_sub((value | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

/// Reads one at the front of `bytes`: the value and how many bytes it took. `None` if it does not end there.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        let shift = (index as u32).saturating_mul(7);
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, index.saturating_add(1)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_as_long_as_announced() {
        let edges = (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit).wrapping_sub(1)]);
        for value in edges.chain([300, u64::MAX]) {
            let mut buffer = Vec::new();
            append(&mut buffer, value);
            assert_eq!(buffer.len(), len(value), "{value}");
            match encode_short(value) {
                Some((bytes, len)) => assert_eq!(bytes[..len], buffer, "{value}"),
                None => assert!(len(value) > 8, "{value}"),
            }
            assert_eq!(read(&buffer), Some((value, buffer.len())));
            assert_eq!(read(&buffer[..buffer.len() - 1]), None);
        }
        let mut buffer = Vec::new();
        append(&mut buffer, 300);
        assert_eq!(buffer, [0xac, 0x02]);
    }
}
