//! How long things took, in bounded memory: exact up to 64 values, a base-2 exponential histogram beyond.
//!
//! Bucket `i` of scale `s` holds `(γ^i, γ^(i+1)]` with `γ = 2^(2^−s)`, as OpenTelemetry's exponential histogram does:
//! exact powers of two belong to the lower bucket. Scale 5 has 32 buckets to the octave and answers quantiles within
//! `(γ−1)/(γ+1)` = 1.083 %. Merging adds counts and is exact, in any order.

use std::sync::LazyLock;

use crate::time::Duration;

/// The scale of every histogram here.
pub const SCALE: i32 = 5;
/// Buckets per octave at [`SCALE`].
const PER_OCTAVE: u64 = 1 << SCALE;
/// Up to how many values quantiles are exact.
pub const EXACT_UP_TO: usize = 64;

/// The bucket of `value` at `scale` (−10 to 20); `None` for zero, which has a count of its own.
pub fn bucket_index(value: u64, scale: i32) -> Option<i32> {
    let octave = value.checked_ilog2()? as i32;
    // Upper-inclusive: the bucket of the largest number below, except that a power of two is its bucket's top.
    if scale <= 0 {
        let exponent = if value.is_power_of_two() { octave - 1 } else { octave };
        return Some(exponent >> -scale);
    }
    let per_octave = 1i64 << scale;
    if value.is_power_of_two() {
        return Some((i64::from(octave) * per_octave - 1) as i32);
    }
    // log2 of the mantissa in [1, 2); f64 is exact to a few units in the last place, so only a value next to a
    // border can land one off. Borders are irrational, so no integer lies on one, and the comparison decides.
    let mantissa_log = (value as f64).log2() - f64::from(octave);
    let mut sub = ((mantissa_log * per_octave as f64).ceil() as i64 - 1).clamp(0, per_octave - 1);
    while sub > 0 && !is_above_border(value, octave, sub, scale) {
        sub -= 1;
    }
    while sub < per_octave - 1 && is_above_border(value, octave, sub + 1, scale) {
        sub += 1;
    }
    Some((i64::from(octave) * per_octave + sub) as i32)
}

/// Whether `value > 2^(octave + sub/2^scale)`, by repeated squaring of the mantissa in 64-bit fixed point: the bits
/// of its binary logarithm, most significant first, are compared with those of the border.
fn is_above_border(value: u64, octave: i32, sub: i64, scale: i32) -> bool {
    // Mantissa in [1, 2) with 63 fraction bits.
    let mut mantissa = u128::from(value) << (63 - octave);
    for bit in (0..scale).rev() {
        let squared = (mantissa * mantissa) >> 63;
        let log_bit = squared >> 64 != 0;
        mantissa = if log_bit { squared >> 1 } else { squared };
        let border_bit = sub >> bit & 1 == 1;
        if log_bit != border_bit {
            return log_bit;
        }
    }
    // Equal in every bit the border has: above it unless exactly on it, which only powers of two are.
    true
}

/// Upper borders of the buckets of an octave at [`SCALE`], as mantissas.
static BUCKET_MIDDLES: LazyLock<[f64; PER_OCTAVE as usize]> = LazyLock::new(|| {
    let base = (1.0 / PER_OCTAVE as f64).exp2();
    std::array::from_fn(|i| {
        let upper = ((i as f64 + 1.0) / PER_OCTAVE as f64).exp2();
        2.0 * upper / (1.0 + base)
    })
});

/// An exponential histogram of whole numbers at [`SCALE`]; at most 2,048 counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExponentialHistogram {
    zeros: u64,
    /// Counts of the buckets from `offset` on.
    offset: i32,
    counts: Vec<u64>,
}

impl ExponentialHistogram {
    /// Counts `value` `times` times.
    pub fn record(&mut self, value: u64, times: u64) {
        let Some(index) = bucket_index(value, SCALE) else {
            self.zeros = self.zeros.saturating_add(times);
            return;
        };
        let count = self.bucket(index);
        *count = count.saturating_add(times);
    }

    /// Adds everything `other` counted.
    pub fn merge(&mut self, other: &ExponentialHistogram) {
        self.zeros = self.zeros.saturating_add(other.zeros);
        for (at, times) in other.counts.iter().enumerate().filter(|(_, times)| **times > 0) {
            let count = self.bucket(other.offset + at as i32);
            *count = count.saturating_add(*times);
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(self.zeros, |sum, count| sum.saturating_add(*count))
    }

    /// The value of rank `rank` (from 1), give or take 1.083 %; `None` if there are not so many.
    fn at_rank(&self, rank: u64) -> Option<f64> {
        let mut seen = self.zeros;
        if rank <= seen {
            return Some(0.0);
        }
        for (at, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if rank <= seen {
                let index = self.offset + at as i32;
                let octave = index.div_euclid(PER_OCTAVE as i32);
                let sub = index.rem_euclid(PER_OCTAVE as i32);
                return Some(BUCKET_MIDDLES[sub as usize] * f64::from(octave).exp2());
            }
        }
        None
    }

    fn bucket(&mut self, index: i32) -> &mut u64 {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = (self.offset - index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let at = (index - self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        &mut self.counts[at]
    }
}

/// Count, sum, extremes and quantiles of lengths of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DurationStats {
    /// The values themselves while there are few; in ascending order.
    exact: Vec<Duration>,
    /// All values once there are many.
    histogram: Option<Box<ExponentialHistogram>>,
    count: u64,
    sum: u128,
    min: Duration,
    max: Duration,
}

impl DurationStats {
    /// Takes in one value.
    pub fn record(&mut self, value: Duration) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(u128::from(value.as_nanos()));
        if let Some(histogram) = &mut self.histogram {
            histogram.record(value.as_nanos(), 1);
            return;
        }
        let at = self.exact.partition_point(|known| *known <= value);
        self.exact.insert(at, value);
        if self.exact.len() > EXACT_UP_TO {
            self.blur();
        }
    }

    /// Takes in everything `other` has. Exact: the result is that of recording every value here.
    pub fn merge(&mut self, other: &DurationStats) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.exact.extend_from_slice(&other.exact);
        self.exact.sort_unstable();
        if other.histogram.is_some() || self.histogram.is_some() || self.exact.len() > EXACT_UP_TO {
            self.blur();
        }
        if let (Some(own), Some(others)) = (&mut self.histogram, &other.histogram) {
            own.merge(others);
        }
    }

    /// Moves the exact values into the histogram.
    fn blur(&mut self) {
        let histogram = self.histogram.get_or_insert_default();
        for value in std::mem::take(&mut self.exact) {
            histogram.record(value.as_nanos(), 1);
        }
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum; saturates.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.sum).unwrap_or(u64::MAX))
    }

    /// Their average, rounded down; `None` if there were none.
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum.checked_div(u128::from(self.count))?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// The least; `None` if there were none.
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then_some(self.min)
    }

    /// The greatest; `None` if there were none.
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then_some(self.max)
    }

    /// The value below or at which a share `q` (0–1) of the values lie: that of rank `max(1, ceil(q·n))` (nearest
    /// rank). Exact up to [`EXACT_UP_TO`] values, within 1.083 % beyond, and always between least and greatest.
    /// `None` if there were none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count);
        if q <= 0.0 {
            return self.min();
        }
        if q >= 1.0 {
            return self.max();
        }
        if self.histogram.is_none() {
            return self.exact.get(rank as usize - 1).copied();
        }
        let estimate = self.histogram.as_ref()?.at_rank(rank)?;
        Some(Duration::from_nanos(estimate.round() as u64).clamp(self.min, self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_the_top_of_their_bucket() {
        assert_eq!(bucket_index(0, 5), None);
        assert_eq!(bucket_index(1, 5), Some(-1));
        assert_eq!(bucket_index(2, 5), Some(31));
        assert_eq!(bucket_index(3, 0), Some(1));
        assert_eq!(bucket_index(4, 0), Some(1));
        assert_eq!(bucket_index(5, 0), Some(2));
        assert_eq!(bucket_index(1 << 40, 20), Some((40 << 20) - 1));
        assert_eq!(bucket_index(u64::MAX, 5), Some(64 * 32 - 1));
    }

    #[test]
    fn quantiles_of_two_values_are_those_values() {
        let mut stats = DurationStats::default();
        stats.record(Duration::from_nanos(30));
        stats.record(Duration::from_nanos(10));
        assert_eq!(stats.quantile(0.5), Some(Duration::from_nanos(10)));
        assert_eq!(stats.quantile(0.51), Some(Duration::from_nanos(30)));
        assert_eq!(stats.mean(), Some(Duration::from_nanos(20)));
        assert_eq!(DurationStats::default().quantile(0.5), None);
    }

    #[test]
    fn a_merge_is_the_same_as_recording_everything() {
        let all: Vec<Duration> = (0..200u64).map(|i| Duration::from_nanos(i * i * 37 % 10_007)).collect();
        for cut in [0, 1, 40, 64, 65, 199, 200] {
            let mut whole = DurationStats::default();
            all.iter().for_each(|value| whole.record(*value));
            let (mut left, mut right) = (DurationStats::default(), DurationStats::default());
            all[..cut].iter().for_each(|value| left.record(*value));
            all[cut..].iter().for_each(|value| right.record(*value));
            left.merge(&right);
            for q in [0.0, 0.01, 0.5, 0.9, 0.99, 1.0] {
                assert_eq!(left.quantile(q), whole.quantile(q), "cut {cut}, q {q}");
            }
            assert_eq!(
                (left.count(), left.sum(), left.min(), left.max()),
                (whole.count(), whole.sum(), whole.min(), whole.max())
            );
        }
    }
}
