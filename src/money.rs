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
    /// 10²⁰ USD, which no bill has. Exact for what [`Money::as_usd`] gave up to 2,251 USD.
    pub fn from_usd(dollars: f64) -> Option<Self> {
        (dollars.is_finite() && dollars.abs() <= 1e20).then(|| Money((dollars * 1e12).round() as i128))
    }

    /// An amount in dollars that others wrote as text, with or without an exponent: `0.0913`, `1e-05`. What is below
    /// 10⁻¹² USD is rounded, half away from zero; all else is exact. `None` if the text is no number, or beyond 10²⁰ USD.
    pub fn from_decimal(text: &str) -> Option<Self> {
        const MOST: i128 = 100_000_000_000_000_000_000_000_000_000_000;
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        // The unit's place, counted from the first digit.
        let place = i64::try_from(whole.len()).ok()?.checked_add(i64::from(exponent))?.checked_add(12)?;
        let mut amount: i128 = 0;
        let mut index: i64 = 0;
        for digit in digits().map(|digit| i128::from(digit.wrapping_sub(b'0'))) {
            if index < place {
                amount = amount.checked_mul(10)?.checked_add(digit)?;
            } else if index == place {
                amount = amount.checked_add(i128::from(digit >= 5))?;
            } else {
                break;
            }
            index = index.checked_add(1)?;
        }
        if amount > 0 {
            for _ in index..place.min(index.saturating_add(40)) {
                amount = amount.checked_mul(10)?;
            }
        }
        (amount <= MOST).then_some(Money(if is_negative { amount.checked_neg()? } else { amount }))
    }

    /// The amount in dollars, for ratios and wire attributes only. [`Money::from_usd`] gives back the same amount up to
    /// 2,251 USD, which is 2⁵¹ units: each of the two steps is off by 2⁻⁵³ at most, together less than half a unit.
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// This amount divided by how many it is of, rounded half away from zero; `None` of nothing.
    pub(crate) fn mean_of(self, count: u64) -> Option<Money> {
        let count = i128::from(count);
        let half = if self.0 < 0 { -(count / 2) } else { count / 2 };
        self.0.saturating_add(half).checked_div(count).map(Money)
    }

    /// The sum; saturates.
    pub const fn saturating_add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

/// What something cost, and for what.
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

impl Money {
    /// The difference; saturates.
    pub const fn saturating_sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
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

/// The decimal that [`Money`]'s `Display` writes.
#[cfg(test)]
impl schemars::JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "US dollars as an exact decimal.",
            "pattern": r"^-?[0-9]+(\.[0-9]{1,12})?$",
        })
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
    fn amounts_that_others_wrote_are_read_to_the_last_digit() {
        for (text, amount) in [
            ("0.0913", "0.0913"),
            ("1e-05", "0.00001"),
            ("1.5E+2", "150"),
            ("+2", "2"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-0.25", "-0.25"),
            // Doubles as Python and JavaScript write them: thirteen decimals and more are rounded once.
            ("1.4999999999999999e-05", "0.000015"),
            ("0.0000000000005", "0.000000000001"),
            ("0.00000000000049999999999999999999999999999999999999999999", "0"),
            ("5e-13", "0.000000000001"),
            ("4e-13", "0"),
            ("9e-14", "0"),
            ("0e999999999", "0"),
            ("1e-2147483648", "0"),
            ("100000000000000000000", "100000000000000000000"),
            ("0.0000000000000000000000000000001e31", "1"),
        ] {
            assert_eq!(
                Money::from_decimal(text).map(|money| money.to_string()).as_deref(),
                Some(amount),
                "{text}"
            );
        }
        for text in [
            "",
            "-",
            "e5",
            "1e",
            "1e1.5",
            "0x1",
            "NaN",
            "inf",
            "1,5",
            "$1",
            "1e21",
            "1e2147483647",
            "1e99999999999",
        ] {
            assert_eq!(Money::from_decimal(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_amount_written_as_a_double_comes_back_the_same(units in 0i128..1 << 51) {
            let amount = Money::from_picodollars(units);
            proptest::prop_assert_eq!(Money::from_usd(amount.as_usd()), Some(amount));
        }

        #[test]
        fn text_and_exponents_tell_the_same_amount(units in 0i128..1_000_000_000_000_000_000_000, shift in -30i32..30) {
            let amount = Money::from_picodollars(units);
            proptest::prop_assert_eq!(Money::from_decimal(&amount.to_string()), Some(amount));
            // Any shift of the point that the exponent takes back.
            let text = format!("{units}{}e{}", "0".repeat(shift.max(0) as usize), -12 - shift.max(0));
            proptest::prop_assert_eq!(Money::from_decimal(&text), Some(amount));
        }
    }

    #[test]
    fn the_bound_of_amounts_as_doubles_is_near_the_truth() {
        // Above it one in some is off by a unit.
        let beyond = (1i128 << 53..(1 << 53) + 10_000).map(Money::from_picodollars);
        assert!(
            beyond.map(|amount| (Money::from_usd(amount.as_usd()), amount)).any(|(is, was)| is != Some(was))
        );
    }

    #[test]
    fn a_mean_is_rounded_half_away_from_zero() {
        let mean = |sum: i128, count| Money(sum).mean_of(count).map(|mean| mean.0);
        assert_eq!([mean(5, 2), mean(-5, 2), mean(4, 3), mean(0, 0)], [Some(3), Some(-3), Some(1), None]);
    }

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
