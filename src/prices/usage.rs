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
