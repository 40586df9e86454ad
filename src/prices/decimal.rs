//! Prices as exact decimals, read from their digits.

use thiserror::Error;

/// A price: `digits` · 10^−`decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) digits: u64,
    /// At most [`MAX_DECIMALS`]; 0 where the digits end in zeros.
    pub(super) decimals: u32,
}

/// Prices are told with up to 18 decimals, shares of binary fractions.
pub(super) const MAX_DECIMALS: u32 = 30;

/// Why a number is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum BadDecimal {
    #[error("not a number")]
    NotANumber,
    #[error("negative")]
    Negative,
    #[error("too large for a price")]
    TooLarge,
    #[error("told with more digits than a price can have")]
    TooFine,
}

impl Decimal {
    #[cfg(test)]
    pub(super) const ZERO: Decimal = Decimal { digits: 0, decimals: 0 };

    /// Reads a number as JSON writes it.
    pub(super) fn parse(text: &str) -> Result<Decimal, BadDecimal> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !fraction.is_none_or(is_digits) {
            return Err(BadDecimal::NotANumber);
        }
        let fraction = fraction.unwrap_or_default();
        let all = [whole, fraction].concat();
        let significant = all.trim_start_matches('0').trim_end_matches('0');
        if significant.is_empty() {
            return Ok(Decimal { digits: 0, decimals: 0 });
        }
        if negative {
            return Err(BadDecimal::Negative);
        }
        let is_exponent = |text: &str| is_digits(text.strip_prefix(['+', '-']).unwrap_or(text));
        if !exponent.is_none_or(is_exponent) {
            return Err(BadDecimal::NotANumber);
        }
        let is_small = exponent.is_some_and(|text| text.starts_with('-'));
        let too_far = if is_small { BadDecimal::TooFine } else { BadDecimal::TooLarge };
        let exponent: i64 = match exponent {
            Some(text) => text.parse::<i32>().map_err(|_| too_far)?.into(),
            None => 0,
        };
        let trailing_zeros = all.len() - all.trim_end_matches('0').len();
        let digits: u64 = significant.parse().map_err(|_| BadDecimal::TooFine)?;
        let scale = exponent + count(trailing_zeros) - count(fraction.len());
        if scale >= 0 {
            let power = u32::try_from(scale).ok().and_then(|scale| 10u64.checked_pow(scale));
            let digits = power.and_then(|power| digits.checked_mul(power)).ok_or(BadDecimal::TooLarge)?;
            return Ok(Decimal { digits, decimals: 0 });
        }
        let decimals = u32::try_from(scale.unsigned_abs()).map_err(|_| BadDecimal::TooFine)?;
        if decimals > MAX_DECIMALS {
            return Err(BadDecimal::TooFine);
        }
        Ok(Decimal { digits, decimals })
    }
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_all_their_digits() {
        let read = |text| Decimal::parse(text).map(|decimal| (decimal.digits, decimal.decimals));
        assert_eq!(read("2.50"), Ok((25, 1)));
        assert_eq!(read("0.041666666666666664"), Ok((41_666_666_666_666_664, 18)));
        assert_eq!(read("1200"), Ok((1200, 0)));
        assert_eq!(read("5e-08"), Ok((5, 8)));
        assert_eq!(read("1.5E+3"), Ok((1500, 0)));
        for zero in ["0", "0.000", "-0", "0e999999999999"] {
            assert_eq!(Decimal::parse(zero), Ok(Decimal::ZERO), "{zero}");
        }
    }

    #[test]
    fn what_no_price_can_be_is_refused() {
        for (text, why) in [
            ("-1", BadDecimal::Negative),
            ("1e400", BadDecimal::TooLarge),
            ("1e99999999999999999999", BadDecimal::TooLarge),
            ("1e-400", BadDecimal::TooFine),
            ("123456789012345678901.5", BadDecimal::TooFine),
            ("100000000000000000000", BadDecimal::TooLarge),
            ("NaN", BadDecimal::NotANumber),
            ("", BadDecimal::NotANumber),
            ("1.", BadDecimal::NotANumber),
            ("1e", BadDecimal::NotANumber),
            ("1e5e5", BadDecimal::NotANumber),
        ] {
            assert_eq!(Decimal::parse(text), Err(why), "{text}");
        }
    }
}
