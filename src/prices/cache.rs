//! What was found once for a name is found again without a search, for a bounded number of names.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{PoisonError, RwLock};

use super::Unpriced;
use super::lookup::{Asked, Found};

/// So many names are remembered, and as many of those asked for before them. A program calls a handful of models;
/// whoever makes names up cannot make it grow.
const GENERATION: usize = 1024;

/// Answers to what was asked lately. What is asked for stays; the rest is forgotten a generation at a time.
#[derive(Debug, Default)]
pub(super) struct LookupCache {
    hasher: RandomState,
    generations: RwLock<Generations>,
}

/// By hash; the entry says for what exactly.
#[derive(Debug, Default)]
struct Generations {
    young: ByHash,
    old: ByHash,
}

type ByHash = HashMap<u64, Entry, BuildHasherDefault<Hashed>>;

/// What is hashed already, with a key nobody knows, is its own hash.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Entry {
    provider: Option<Box<str>>,
    api_url: Option<Box<str>>,
    model: Box<str>,
    answer: Result<Found, Unpriced>,
}

impl Entry {
    fn is_for(&self, asked: &Asked<'_>) -> bool {
        &*self.model == asked.model
            && self.provider.as_deref() == asked.provider
            && self.api_url.as_deref() == asked.api_url
    }
}

impl LookupCache {
    /// What was found for `asked`, by `find` if it is not remembered.
    pub(super) fn get(
        &self,
        asked: &Asked<'_>,
        find: impl FnOnce() -> Result<Found, Unpriced>,
    ) -> Result<Found, Unpriced> {
        let hash = self.hasher.hash_one(asked);
        let known = self.read(hash, asked);
        let (answer, is_young) = known.unwrap_or_else(|| (find(), false));
        if !is_young {
            self.remember(hash, asked, answer);
        }
        answer
    }

    /// The answer, and whether it is of the young generation.
    fn read(&self, hash: u64, asked: &Asked<'_>) -> Option<(Result<Found, Unpriced>, bool)> {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        let in_one = |generation: &ByHash| {
            generation.get(&hash).filter(|entry| entry.is_for(asked)).map(|entry| entry.answer)
        };
        let young = in_one(&generations.young).map(|answer| (answer, true));
        young.or_else(|| in_one(&generations.old).map(|answer| (answer, false)))
    }

    fn remember(&self, hash: u64, asked: &Asked<'_>, answer: Result<Found, Unpriced>) {
        let entry = Entry {
            provider: asked.provider.map(Into::into),
            api_url: asked.api_url.map(Into::into),
            model: asked.model.into(),
            answer,
        };
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(hash, entry);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let generations = self.generations.read().unwrap();
        generations.young.len() + generations.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_do_not_make_it_grow_nor_push_out_what_is_asked_for() {
        let cache = LookupCache::default();
        let found = Ok(Found { provider: 1, owner: 2, model: 3 });
        let steady = Asked { provider: Some("openai"), api_url: None, model: "gpt-4o" };
        assert_eq!(cache.get(&steady, || found), found);
        for name in 0..10 * GENERATION {
            let name = format!("made up {name}");
            let asked = Asked { model: &name, ..steady };
            let unknown = Err(Unpriced::UnknownModel);
            assert_eq!(cache.get(&asked, || unknown), unknown);
            assert_eq!(cache.get(&steady, || unreachable!("it is remembered")), found);
        }
        assert!(cache.len() <= 2 * GENERATION, "{}", cache.len());
    }

    #[test]
    fn each_part_of_what_is_asked_counts() {
        let cache = LookupCache::default();
        let asked = Asked { provider: Some("a"), api_url: None, model: "b" };
        let others = [
            Asked { provider: None, ..asked },
            Asked { api_url: Some("a"), ..asked },
            Asked { model: "ab", ..asked },
            Asked { provider: Some("ab"), ..asked },
        ];
        assert_eq!(cache.get(&asked, || Err(Unpriced::UnknownModel)), Err(Unpriced::UnknownModel));
        for other in others {
            assert_eq!(
                cache.get(&other, || Err(Unpriced::UnknownProvider)),
                Err(Unpriced::UnknownProvider),
                "{other:?}"
            );
        }
    }
}
