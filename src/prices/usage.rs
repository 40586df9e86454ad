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

    /// Its name.
    pub fn name(self) -> &'static str {
        ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"][usize::from(self.0)]
    }
}

/// What a call used: counts by unit. A unit that is not told counts as none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    counts: Vec<(Unit, u64)>,
}

impl Usage {
    /// A call that read and wrote so many tokens, and used nothing else.
    pub fn tokens(input: u64, output: u64) -> Usage {
        Usage { counts: vec![(Unit::INPUT, input), (Unit::OUTPUT, output)] }
    }

    /// The same, and so much of another unit; replaces an earlier count of it.
    #[must_use]
    pub fn with(mut self, unit: Unit, count: u64) -> Usage {
        self.set(unit, count);
        self
    }

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
