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
            assert_eq!(read(&buffer), Some((value, buffer.len())));
            assert_eq!(read(&buffer[..buffer.len() - 1]), None);
        }
        let mut buffer = Vec::new();
        append(&mut buffer, 300);
        assert_eq!(buffer, [0xac, 0x02]);
    }
}
