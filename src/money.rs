//! Money as a whole number of 10⁻¹² US dollars, so that sums are exact.

use std::fmt;

/// An amount in units of 10⁻¹² USD. One input token of a cheap model costs about 10,000 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i128);

impl Money {
    /// Nothing. An unknown price is `Option::None`, never this.
    pub const ZERO: Money = Money(0);

    /// An amount given in 10⁻¹² USD.
    pub const fn from_picodollars(amount: i128) -> Self {
        Money(amount)
    }

    /// The amount in 10⁻¹² USD.
    pub const fn as_picodollars(self) -> i128 {
        self.0
    }

    /// A recorded amount in dollars, rounded half away from zero; `None` for NaN, infinities and amounts beyond
    /// 10²⁰ USD, which no bill has.
    pub fn from_usd(dollars: f64) -> Option<Self> {
        (dollars.is_finite() && dollars.abs() <= 1e20).then(|| Money((dollars * 1e12).round() as i128))
    }

    /// The amount in dollars, for ratios and wire attributes only.
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// The sum; saturates.
    pub const fn saturating_add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

/// What something cost, and for what.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct CostParts {
    /// Input that was neither read from a cache nor written to one.
    #[serde(rename = "input_usd")]
    pub input: Money,
    /// Output, reasoning included.
    #[serde(rename = "output_usd")]
    pub output: Money,
    /// Input read from a cache.
    #[serde(rename = "cache_read_usd")]
    pub cache_read: Money,
    /// Input written to a cache.
    #[serde(rename = "cache_write_usd")]
    pub cache_write: Money,
    /// All else: charges by request, searches, pages.
    #[serde(rename = "other_usd")]
    pub other: Money,
}

impl CostParts {
    /// All of it.
    pub fn total(&self) -> Money {
        [self.input, self.output, self.cache_read, self.cache_write, self.other].into_iter().sum()
    }

    /// The sum, part by part; saturates.
    pub fn saturating_add(&self, other: &CostParts) -> CostParts {
        CostParts {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            other: self.other.saturating_add(other.other),
        }
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Money>>(iter: I) -> Money {
        iter.fold(Money::ZERO, Money::saturating_add)
    }
}

impl fmt::Display for Money {
    /// The exact decimal without trailing zeros and without a currency sign: `0.0913`, `-1`, `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.0.unsigned_abs();
        let (whole, fraction) = (units / 1_000_000_000_000, units % 1_000_000_000_000);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        write!(f, "{whole}")?;
        if fraction != 0 {
            let digits = format!("{fraction:012}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Money {
    type Err = ParseMoneyError;

    /// Reads the exact decimal that [`Money`]'s `Display` writes; at most twelve decimals.
    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let well_formed = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !well_formed(whole) || !well_formed(fraction) || fraction.len() > 12 {
            return Err(ParseMoneyError);
        }
        let whole: i128 = whole.parse().map_err(|_| ParseMoneyError)?;
        let fraction: i128 = format!("{fraction:0<12}").parse().map_err(|_| ParseMoneyError)?;
        let units = whole
            .checked_mul(1_000_000_000_000)
            .and_then(|units| units.checked_add(fraction))
            .ok_or(ParseMoneyError)?;
        Ok(Money(if negative { -units } else { units }))
    }
}

/// The text is not a decimal amount with at most twelve decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal amount with at most twelve decimals")]
pub struct ParseMoneyError;

impl serde::Serialize for Money {
    /// A decimal string, as text borders carry money.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_trip_exactly() {
        for text in ["0", "0.0913", "-1", "12.4", "0.000000000001", "100000000000000000000"] {
            assert_eq!(text.parse::<Money>().unwrap().to_string(), text);
        }
        assert_eq!(Money::from_usd(0.0913).unwrap().to_string(), "0.0913");
        for text in ["", ".", "1.", "0.0000000000001", "1e3", "--1", "NaN"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
        assert_eq!(Money::from_usd(f64::NAN), None);
    }
}
