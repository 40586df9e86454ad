//! What a call used, by unit.

/// Something that is counted and billed: input tokens, cached audio tokens, web searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit(u8);

impl Unit {
    /// Input tokens, cached ones included.
    pub const INPUT: Unit = Unit(0);
    /// Output tokens, reasoning ones included.
    pub const OUTPUT: Unit = Unit(1);
    /// Input tokens read from a cache.
    pub const CACHE_READ: Unit = Unit(2);
    /// Input tokens written to a cache.
    pub const CACHE_WRITE: Unit = Unit(3);
    pub const CACHE_WRITE_5M: Unit = Unit(4);
    pub const CACHE_WRITE_1H: Unit = Unit(5);
    pub const INPUT_TEXT: Unit = Unit(6);
    pub const INPUT_AUDIO: Unit = Unit(7);
    pub const INPUT_IMAGE: Unit = Unit(8);
    pub const INPUT_VIDEO: Unit = Unit(9);
    pub const CACHE_AUDIO_READ: Unit = Unit(10);
    pub const CACHE_IMAGE_READ: Unit = Unit(11);
    pub const OUTPUT_TEXT: Unit = Unit(12);
    pub const OUTPUT_AUDIO: Unit = Unit(13);
    pub const OUTPUT_IMAGE: Unit = Unit(14);
    pub const OUTPUT_VIDEO: Unit = Unit(15);
    pub const REASONING: Unit = Unit(16);
    pub const WEB_SEARCHES: Unit = Unit(17);
    pub fn from_name(name: &str) -> Option<Unit> {
        Some(match name {
            "input_tokens" => Unit::INPUT,
            "cache_write_1h_tokens" => Unit::CACHE_WRITE_1H,
            "web_searches" => Unit::WEB_SEARCHES,
            _ => return None,
        })
    }
}

/// What a call used: counts by unit. A unit that is not told counts as none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    counts: Vec<(Unit, u64)>,
}

impl Usage {
    /// Says how much of a unit was used; replaces an earlier count.
    pub fn set(&mut self, unit: Unit, count: u64) {
        match self.counts.iter_mut().find(|(told, _)| *told == unit) {
            Some((_, told)) => *told = count,
            None => self.counts.push((unit, count)),
        }
    }

    /// How much of a unit was used, if it was told.
    pub fn get(&self, unit: Unit) -> Option<u64> {
        self.counts.iter().find(|(told, _)| *told == unit).map(|(_, count)| *count)
    }

    /// The counts.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        self.counts.iter().copied()
    }
}
