//! One copy of each name, and what keys mean, found at once where the same come again.

use std::collections::HashSet;
use std::sync::Arc;

use crate::conventions::KeyMeaning;

/// Keeps one copy of each name, so that a million spans of twenty names hold twenty strings.
///
/// Bounded: past [`Interner::CAPACITY`] distinct names, new ones get a copy each.
#[derive(Debug, Default)]
pub struct Interner {
    names: HashSet<Arc<str>>,
    recent_names: Vec<Option<Arc<str>>>,
    recent_keys: Vec<RecentKey>,
    /// How often something was looked for, until it is worth remembering what was found.
    asked: usize,
    /// Whether records keep the attributes they were made of, in [`NodeFacts::told`](super::NodeFacts::told).
    pub keeps_attributes: bool,
}

/// What is remembered: so many names, and so many keys.
const PLACES: usize = 256;

/// So often an interner is used before it remembers anything: many are made for one span.
const WORTH_REMEMBERING: usize = 32;

/// Longer keys are not remembered.
const LONGEST_KEY: usize = 56;

/// A key and what it means.
#[derive(Clone, Copy, Debug)]
struct RecentKey {
    length: u8,
    bytes: [u8; LONGEST_KEY],
    meaning: Option<KeyMeaning>,
}

impl Interner {
    /// How many distinct names are kept.
    pub const CAPACITY: usize = 10_000;

    /// The shared copy of `name`.
    pub fn intern(&mut self, name: &str) -> Arc<str> {
        let place = place_of(name.as_bytes());
        if let Some(shared) = self.recent_name(place, name.as_bytes()) {
            return shared.clone();
        }
        self.look_up(place, name)
    }

    /// The shared copy of a name that should be UTF-8; what is not turns into replacement characters.
    pub(crate) fn intern_bytes(&mut self, name: &[u8]) -> Arc<str> {
        let place = place_of(name);
        if let Some(shared) = self.recent_name(place, name) {
            return shared.clone();
        }
        self.look_up(place, &String::from_utf8_lossy(name))
    }

    /// What a key means, as [`KeyMeaning::of`] says; nothing if it is no UTF-8.
    pub(crate) fn meaning_of(&mut self, key: &[u8]) -> Option<KeyMeaning> {
        let place = place_of(key);
        if let Some(known) = self.recent_keys.get(place)
            && known.bytes.get(..usize::from(known.length)) == Some(key)
        {
            return known.meaning;
        }
        let meaning = std::str::from_utf8(key).ok().and_then(KeyMeaning::of);
        self.remember_key(place, key, meaning);
        meaning
    }

    fn recent_name(&self, place: usize, name: &[u8]) -> Option<&Arc<str>> {
        self.recent_names.get(place)?.as_ref().filter(|shared| shared.as_bytes() == name)
    }

    fn look_up(&mut self, place: usize, name: &str) -> Arc<str> {
        let shared = match self.names.get(name) {
            Some(shared) => shared.clone(),
            None => {
                let shared: Arc<str> = name.into();
                if self.names.len() >= Self::CAPACITY {
                    return shared;
                }
                self.names.insert(shared.clone());
                shared
            }
        };
        if self.is_worth_remembering() {
            self.recent_names.resize(PLACES, None);
            if let Some(recent) = self.recent_names.get_mut(place) {
                *recent = Some(shared.clone());
            }
        }
        shared
    }

    fn remember_key(&mut self, place: usize, key: &[u8], meaning: Option<KeyMeaning>) {
        if !self.is_worth_remembering() {
            return;
        }
        // A key of no bytes means nothing, as a place in which nothing is says.
        let nothing = RecentKey { length: 0, bytes: [0; LONGEST_KEY], meaning: None };
        self.recent_keys.resize(PLACES, nothing);
        if let (Some(recent), Ok(length)) = (self.recent_keys.get_mut(place), u8::try_from(key.len()))
            && let Some(bytes) = recent.bytes.get_mut(..key.len())
        {
            bytes.copy_from_slice(key);
            (recent.length, recent.meaning) = (length, meaning);
        }
    }

    fn is_worth_remembering(&mut self) -> bool {
        self.asked = self.asked.saturating_add(1);
        self.asked > WORTH_REMEMBERING
    }
}

/// Where something is remembered. Different names may share a place: then the last one has it.
fn place_of(bytes: &[u8]) -> usize {
    let word = |chunk: Option<&[u8; 8]>| chunk.map(|chunk| u64::from_le_bytes(*chunk));
    let mixed = match (word(bytes.first_chunk()), word(bytes.last_chunk())) {
        (Some(first), Some(last)) => {
            let middle = bytes.get(bytes.len() / 2 - 4..).and_then(|rest| word(rest.first_chunk()));
            first.rotate_left(23) ^ last ^ middle.unwrap_or(0).rotate_left(41)
        }
        _ => bytes.iter().fold(0, |mixed, byte| mixed << 8 | u64::from(*byte)),
    };
    let spread = (mixed ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread >> (u64::BITS - PLACES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_remembered_is_what_would_be_found(
            texts in proptest::collection::vec(
                prop_oneof!["[a-c]{0,3}", "gen_ai\\.usage\\.[a-z]{1,3}_tokens", "longpole\\.node\\.(id|kind|x)", "é{0,40}"],
                1..300,
            ),
        ) {
            let mut interner = Interner::default();
            let mut shared: std::collections::HashMap<&str, Arc<str>> = std::collections::HashMap::new();
            for text in &texts {
                prop_assert_eq!(interner.meaning_of(text.as_bytes()), KeyMeaning::of(text));
                let first = interner.intern(text);
                prop_assert_eq!(&*first, text.as_str());
                let again = interner.intern_bytes(text.as_bytes());
                prop_assert!(Arc::ptr_eq(&first, &again));
                prop_assert!(Arc::ptr_eq(&first, shared.entry(text).or_insert_with(|| first.clone())));
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_mean_nothing_and_are_interned_as_they_are_shown() {
        let mut interner = Interner::default();
        for _ in 0..3 * WORTH_REMEMBERING {
            assert_eq!(interner.meaning_of(b"http.\xff"), None);
            assert_eq!(&*interner.intern_bytes(b"a\xff"), "a\u{fffd}");
        }
    }

    #[test]
    fn names_beyond_the_bound_are_not_kept() {
        let mut interner = Interner::default();
        for number in 0..Interner::CAPACITY + 100 {
            interner.intern(&number.to_string());
        }
        assert_eq!(interner.names.len(), Interner::CAPACITY);
        let late = "late".to_owned();
        assert!(!Arc::ptr_eq(&interner.intern(&late), &interner.intern(&late)));
    }
}
