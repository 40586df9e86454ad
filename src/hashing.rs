//! Maps whose keys are ids, positions and short names, hashed in a few instructions.
//!
//! The standard library's hash withstands whoever chooses keys so that they collide, and costs over a hundred
//! instructions for an id; a span is looked up some twenty times. This one multiplies into 128 bits and folds the
//! halves, as wyhash does, with keys drawn once a process: collisions cannot be prepared without knowing them.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

/// A map that hashes its keys so.
pub(crate) type QuickMap<K, V> = HashMap<K, V, QuickHash>;
/// A set that hashes its keys so.
pub(crate) type QuickSet<K> = HashSet<K, QuickHash>;

/// The keys of this process.
static KEYS: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let random = RandomState::new();
    [random.hash_one(1u8), random.hash_one(2u8) | 1]
});

/// Makes hashers with the keys of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuickHash([u64; 2]);

impl Default for QuickHash {
    fn default() -> Self {
        QuickHash(*KEYS)
    }
}

impl BuildHasher for QuickHash {
    type Hasher = QuickHasher;

    #[inline]
    fn build_hasher(&self) -> QuickHasher {
        let QuickHash([state, key]) = *self;
        QuickHasher { state, key }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuickHasher {
    state: u64,
    key: u64,
}

impl QuickHasher {
    #[inline]
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word).wrapping_mul(u128::from(self.key));
        // The state stays in, so that a product of nothing does not forget what came before.
        self.state = self.state.rotate_left(23) ^ (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for QuickHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((word, behind)) = rest.split_first_chunk::<8>() {
            self.fold(u64::from_ne_bytes(*word));
            rest = behind;
        }
        if !rest.is_empty() {
            // How many there are is in it, too.
            let start = rest.len() as u64;
            self.fold(rest.iter().fold(start, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number));
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.fold(u64::from(number));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }

    #[inline]
    fn write_isize(&mut self, number: isize) {
        self.fold(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::ids::SpanId;

    #[test]
    fn what_is_put_in_is_found_under_every_kind_of_key() {
        let mut ids: QuickMap<Option<SpanId>, u64> = QuickMap::default();
        let mut names: QuickMap<Arc<str>, u64> = QuickMap::default();
        let id = |number: u64| (number > 0).then_some(SpanId::from_bytes(number.to_le_bytes()));
        for number in 0..1000 {
            ids.insert(id(number), number);
            names.insert(format!("name {number}").into(), number);
        }
        for number in 0..1000 {
            assert_eq!(ids.get(&id(number)), Some(&number));
            assert_eq!(names.get(&*format!("name {number}")), Some(&number));
        }
        assert_eq!((ids.get(&id(1000)), names.get("name"), names.get("")), (None, None, None));
    }

    /// Keys that differ in few bits, wherever those are, spread over the whole of the hash.
    #[test]
    fn near_keys_have_far_hashes() {
        let hash = QuickHash::default();
        let mut keys: Vec<u64> = (0..4096).collect();
        keys.extend((0..52).flat_map(|shift| (1..16u64).map(move |low| low << (12 + shift % 48))));
        keys.sort_unstable();
        keys.dedup();
        let hashes: Vec<u64> = keys.iter().map(|key| hash.hash_one(key)).collect();
        let distinct =
            |of: &dyn Fn(u64) -> u64| hashes.iter().map(|hash| of(*hash)).collect::<HashSet<_>>().len();
        assert_eq!(distinct(&|hash| hash), keys.len());
        // Maps place by the low bits and tell apart by the high ones: of n keys in 8n places some seven in eight have
        // one of their own.
        let places = (keys.len() * 8).next_power_of_two() as u64;
        assert!(distinct(&|hash| hash % places) > keys.len() * 8 / 10, "{}", distinct(&|hash| hash % places));
        assert_eq!(distinct(&|hash| hash >> 57), 128);
        let texts = ["", "a", "b", "ab", "ba", "aaaaaaaa", "aaaaaaaaa", "\0", "\0\0"];
        let of_texts: HashSet<u64> = texts.iter().map(|text| hash.hash_one(text)).collect();
        assert_eq!(of_texts.len(), texts.len());
    }
}
