//! What a call used, by unit.

use super::units::Unit;

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

    /// The counts, in the order they were told.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        self.counts.iter().copied()
    }

    /// Whether nothing is told, not even a zero.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl FromIterator<(Unit, u64)> for Usage {
    fn from_iter<I: IntoIterator<Item = (Unit, u64)>>(counts: I) -> Self {
        let mut usage = Usage::default();
        counts.into_iter().for_each(|(unit, count)| usage.set(unit, count));
        usage
    }
}
