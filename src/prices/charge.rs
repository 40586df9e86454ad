//! From counts and prices to an amount: which price applies to how many, and an exact sum of it.

use super::decimal::{Decimal, MAX_DECIMALS};
use super::units::{COUNT, Unit, UnitSet};
use super::{Unpriced, Usage};
use crate::money::{CostParts, Money};

/// The price of a unit, which may depend on how many input tokens the call has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) base: Decimal,
    /// Each price applies to calls with more input tokens than its start, and then to all of the call; ascending.
    pub(super) tiers: Box<[(u64, Decimal)]>,
}

impl Rate {
    fn at(&self, input_tokens: u64) -> Decimal {
        let tier = self.tiers.iter().rev().find(|(start, _)| input_tokens > *start);
        tier.map_or(self.base, |(_, price)| *price)
    }
}

/// The prices of a model: each unit once, parts before their wholes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rates(Vec<(Unit, Rate)>);

impl Rates {
    pub(super) fn new(mut rates: Vec<(Unit, Rate)>) -> Self {
        rates.sort_by_key(|(unit, _)| (std::cmp::Reverse(unit.depth()), *unit));
        Rates(rates)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Unit, &Rate)> {
        self.0.iter().map(|(unit, rate)| (*unit, rate))
    }

    pub(super) fn units(&self) -> UnitSet {
        self.0.iter().map(|(unit, _)| *unit).collect()
    }

    /// These, but where `other` has a price too, that one.
    pub(super) fn overridden<'r>(&'r self, other: &[(Unit, &'r Rate)]) -> Vec<(Unit, &'r Rate)> {
        if other.is_empty() {
            // In that order already.
            return self.iter().collect();
        }
        let is_free = |unit: Unit| other.iter().all(|(overridden, _)| *overridden != unit);
        let mut rates: Vec<_> =
            self.iter().filter(|(unit, _)| is_free(*unit)).chain(other.iter().copied()).collect();
        rates.sort_by_key(|(unit, _)| (std::cmp::Reverse(unit.depth()), *unit));
        rates
    }
}

/// Why prices of units do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// A part has a price, its whole has none: the rest of the whole would be free.
    Whole { part: Unit, whole: Unit },
    /// Two units have prices, what is both has none: it would be charged twice.
    Overlap { left: Unit, right: Unit, both: Option<Unit> },
}

/// What is missing for `priced` to say how each count is charged.
pub(super) fn gap(priced: UnitSet) -> Option<Gap> {
    for part in priced.iter() {
        if let Some(whole) = part.wholes().without(priced).iter().next() {
            return Some(Gap::Whole { part, whole });
        }
        for right in priced.iter().filter(|right| part < *right) {
            match part.overlap(right) {
                None => {}
                Some(Some(both)) if priced.contains(both) => {}
                Some(both) => return Some(Gap::Overlap { left: part, right, both }),
            }
        }
    }
    None
}

/// What was told of a call, by unit.
pub(super) struct Counts {
    told: [Option<u64>; COUNT],
    /// Units of which there was more than none.
    used: UnitSet,
}

impl Counts {
    pub(super) fn of(usage: &Usage) -> Counts {
        let mut counts = Counts { told: [None; COUNT], used: UnitSet::default() };
        // A call is one request, whatever was told.
        usage
            .iter()
            .filter(|(unit, _)| *unit != Unit::REQUESTS)
            .for_each(|(unit, count)| counts.set(unit, count));
        counts
    }

    pub(super) fn set(&mut self, unit: Unit, count: u64) {
        if let Some(told) = self.told.get_mut(unit.index()) {
            *told = Some(count);
        }
        if count > 0 {
            self.used.insert(unit);
        }
    }

    pub(super) fn get(&self, unit: Unit) -> Option<u64> {
        self.told.get(unit.index()).copied().flatten()
    }

    pub(super) fn used(&self) -> UnitSet {
        self.used
    }

    /// How much of `unit` there was. What is not told is none, unless parts of it are told, or counts that may
    /// overlap in it.
    fn complete(&self, unit: Unit) -> Result<u64, Unpriced> {
        if let Some(count) = self.get(unit) {
            return Ok(count);
        }
        let has_parts = !self.used.intersection(unit.parts()).is_empty();
        let overlaps = |left: Unit, right: Unit| {
            !left.is_within(right) && !right.is_within(left) && left.overlap(right) == Some(Some(unit))
        };
        let mut pairs = self.used.iter().flat_map(|left| self.used.iter().map(move |right| (left, right)));
        if has_parts || pairs.any(|(left, right)| left < right && overlaps(left, right)) {
            return Err(Unpriced::CountsContradict);
        }
        Ok(0)
    }
}

/// What `counts` cost. `rates` have no [`gap`], parts before their wholes.
pub(super) fn charge(rates: &[(Unit, &Rate)], counts: &Counts) -> Result<CostParts, Unpriced> {
    let is_tiered = rates.iter().any(|(_, rate)| !rate.tiers.is_empty());
    let input_tokens = if is_tiered { counts.complete(Unit::INPUT)? } else { 0 };

    let mut own = [0u64; COUNT];
    let mut sums = Sums::default();
    for (at, (unit, rate)) in rates.iter().enumerate() {
        let count = if *unit == Unit::REQUESTS {
            1
        } else {
            // What parts are charged for is not charged again with their whole.
            let parts = rates.iter().take(at).filter(|(part, _)| part.is_within(*unit));
            let charged: u128 =
                parts.map(|(part, _)| own.get(part.index()).map_or(0, |count| u128::from(*count))).sum();
            let rest = u128::from(counts.complete(*unit)?).checked_sub(charged);
            rest.and_then(|rest| u64::try_from(rest).ok()).ok_or(Unpriced::CountsContradict)?
        };
        if let Some(own) = own.get_mut(unit.index()) {
            *own = count;
        }
        sums.add(*unit, rate.at(input_tokens), count)?;
    }
    sums.rounded()
}

/// The parts of a cost, in the order of [`Sums`].
const INPUT: usize = 0;
const OUTPUT: usize = 1;
const CACHE_READ: usize = 2;
const CACHE_WRITE: usize = 3;
const OTHER: usize = 4;

fn part_of(unit: Unit) -> usize {
    match unit {
        unit if unit.is_output() => OUTPUT,
        unit if unit.is_cache_read() => CACHE_READ,
        unit if unit.is_cache_write() => CACHE_WRITE,
        unit if unit.is_token() && unit.is_input() => INPUT,
        _ => OTHER,
    }
}

/// Into how many parts 10⁻¹² USD are divided, so that every amount is whole: prices have up to 30 decimals and are of
/// thousands, millions, milliards or of the seconds of an hour.
const FINENESS: u128 = 9_000_000_000 * 10u128.pow(MAX_DECIMALS - PICO_DECIMALS);
const PICO_DECIMALS: u32 = 12;
/// In 10⁻¹² USD; as [`Money::from_usd`] has it.
const MAX_TOTAL: u128 = 10u128.pow(32);

/// An amount: `whole` units of 10⁻¹² USD and `fraction` / [`FINENESS`] of one.
#[derive(Clone, Copy, Default)]
struct Exact {
    whole: u128,
    fraction: u128,
}

impl Exact {
    /// `count` at `price` for `per` of them. A u64 times a u64 is below 2¹²⁸, and no remainder below 9 · 10²⁷.
    fn of(price: Decimal, count: u64, per: u64) -> Option<Exact> {
        let product = u128::from(price.digits) * u128::from(count);
        let per = u128::from(per);
        match price.decimals.checked_sub(PICO_DECIMALS) {
            Some(finer) => {
                let divisor = per.checked_mul(10u128.checked_pow(finer)?)?;
                let share = FINENESS.checked_div(divisor)?;
                Some(Exact { whole: product / divisor, fraction: (product % divisor).checked_mul(share)? })
            }
            None => {
                let power = 10u128.checked_pow(PICO_DECIMALS - price.decimals)?;
                let (dollars, rest) = (product / per, (product % per).checked_mul(power)?);
                let whole = dollars.checked_mul(power)?.checked_add(rest / per)?;
                Some(Exact { whole, fraction: (rest % per).checked_mul(FINENESS.checked_div(per)?)? })
            }
        }
    }

    fn plus(self, other: Exact) -> Option<Exact> {
        // Each fraction is less than one whole.
        let fraction = self.fraction.checked_add(other.fraction)?;
        let (carry, fraction) = match fraction.checked_sub(FINENESS) {
            Some(rest) => (1, rest),
            None => (0, fraction),
        };
        Some(Exact { whole: self.whole.checked_add(other.whole)?.checked_add(carry)?, fraction })
    }
}

#[derive(Default)]
struct Sums([Exact; 5]);

impl Sums {
    fn add(&mut self, unit: Unit, price: Decimal, count: u64) -> Result<(), Unpriced> {
        if count == 0 {
            return Ok(());
        }
        let amount = Exact::of(price, count, unit.per()).ok_or(Unpriced::TooLarge)?;
        if let Some(sum) = self.0.get_mut(part_of(unit)) {
            *sum = sum.plus(amount).ok_or(Unpriced::TooLarge)?;
        }
        Ok(())
    }

    /// The total is rounded once, half up. Of the parts, all rounded down at first, those with the largest fractions
    /// get what is missing to it; the first of equal ones.
    fn rounded(self) -> Result<CostParts, Unpriced> {
        let total = self.0.iter().try_fold(Exact::default(), |sum, part| sum.plus(*part));
        let total = total.ok_or(Unpriced::TooLarge)?;
        let rounded = total.whole + u128::from(total.fraction >= FINENESS.div_ceil(2));
        if rounded > MAX_TOTAL {
            return Err(Unpriced::TooLarge);
        }
        let mut amounts = self.0.map(|part| part.whole);
        let mut missing = rounded.saturating_sub(amounts.iter().sum());
        if missing > 0 {
            let mut by_fraction: Vec<(u128, &mut u128)> =
                self.0.iter().map(|part| part.fraction).zip(&mut amounts).collect();
            by_fraction.sort_by_key(|(fraction, _)| std::cmp::Reverse(*fraction));
            for (_, amount) in by_fraction {
                if missing == 0 {
                    break;
                }
                *amount += 1;
                missing -= 1;
            }
        }
        let money = |amount: u128| i128::try_from(amount).map(Money::from_picodollars);
        let [input, output, cache_read, cache_write, other] = amounts.map(money);
        match (input, output, cache_read, cache_write, other) {
            (Ok(input), Ok(output), Ok(cache_read), Ok(cache_write), Ok(other)) => {
                Ok(CostParts { input, output, cache_read, cache_write, other })
            }
            _ => Err(Unpriced::TooLarge),
        }
    }
}
