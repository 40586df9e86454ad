//! How long things took, many of them in little memory: OpenTelemetry's base-2 exponential histogram.
//!
//! Bucket `i` of scale `s` holds the values in `(γ^i, γ^(i+1)]` with `γ = 2^(2^-s)`. Ours has the fixed scale 5: 32
//! buckets to each doubling. Whatever it recorded, two of them merge exactly; a coarser scale is made by halving
//! indices. A quantile is told by the middle of its bucket, at most 1.083 % and half a nanosecond off.

use std::iter::repeat_n;
use std::num::NonZeroU64;

use crate::time::Duration;

/// How finely [`ExponentialHistogram`] divides: 2⁵ buckets to each doubling.
pub const SCALE: i32 = 5;

/// The bucket of `value` at a scale between −10 and 20, to which other scales are clamped.
///
/// Exact also where a value lies next to the edge of a bucket: a power of two is the last value of its bucket.
/// Costs one wide multiplication for each unit of a positive scale.
pub fn index_at_scale(value: NonZeroU64, scale: i32) -> i32 {
    let scale = scale.clamp(-10, 20);
    let exponent = value.ilog2();
    if value.is_power_of_two() {
        return if scale <= 0 {
            (exponent as i32 - 1) >> -scale
        } else {
            (exponent as i32 * (1 << scale)) - 1
        };
    }
    if scale <= 0 {
        return exponent as i32 >> -scale;
    }
    if scale == SCALE {
        return exponent as i32 * (1 << SCALE) + bucket_in_doubling(value.get() << (63 - exponent));
    }
    // Digits of log₂(value / 2^exponent): squaring a number of [1, 2) doubles its logarithm, whose whole part is
    // the next digit. Between powers of two the edges of buckets are irrational, so equality does not occur; the
    // 2⁻¹⁰⁶ that 20 truncations add up to is far less than what can lie between a 64-bit value and an edge.
    let mut mantissa = u128::from(value.get()) << (127 - exponent);
    let mut index = exponent as i32;
    for _ in 0..scale {
        let (high, low) = wide_square(mantissa);
        let is_two_or_more = high >> 127 == 1;
        mantissa = if is_two_or_more { high } else { high << 1 | low >> 127 };
        index = index * 2 + i32::from(is_two_or_more);
    }
    index
}

/// ⌊2^(63 + i/32)⌋ for i = 1…31, worked out with 60 digits: the last 64-bit values below the edges of the buckets
/// of [`SCALE`].
const EDGES: [u64; 31] = [
    9425337585438007767,
    9631725603661576980,
    9842632931000616231,
    10058158527438640870,
    10278403519900636096,
    10503471249702896438,
    10733467321041881441,
    10968499650544839023,
    11208678517905446200,
    11454116617628225965,
    11704929111906019352,
    11961233684655323370,
    12223150596734848760,
    12490802742373206726,
    12764315706832201103,
    13043817825332782212,
    13329440243271311081,
    13621316977754388158,
    13919584980481119318,
    14224384202002324189,
    14535857657386837922,
    14854151493325717731,
    15179415056705840218,
    15511800964685064948,
    15851465176301844309,
    16198567065652879633,
    16553269496673159336,
    16915738899553466670,
    17286145348831213003,
    17664662643191237676,
    18051468387014017850,
];

/// Which of the buckets between two powers of two holds `mantissa`, whose highest bit is set. The logarithm is at most
/// three buckets ahead of the straight line it starts and ends with.
fn bucket_in_doubling(mantissa: u64) -> i32 {
    let line = ((mantissa >> (63 - SCALE)) & ((1 << SCALE) - 1)) as usize;
    let passed = EDGES.iter().skip(line).take_while(|edge| **edge < mantissa).count();
    (line + passed) as i32
}

/// The upper and the lower half of a square.
fn wide_square(x: u128) -> (u128, u128) {
    let (high, low) = (x >> 64, x & u128::from(u64::MAX));
    let cross = high * low;
    let (lower, carry) = (cross << 65).overflowing_add(low * low);
    (high * high + (cross >> 63) + u128::from(carry), lower)
}

/// Durations counted in buckets of scale [`SCALE`]. Holds counters from the lowest bucket used to the highest: at
/// most 2,048 of them, 16 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExponentialHistogram {
    /// The bucket of the first counter.
    offset: i32,
    counts: Vec<u64>,
    zero_count: u64,
    count: u64,
    sum: u128,
    /// At most `u128::MAX`, which no order of adding changes.
    sum_of_squares: u128,
    min: Duration,
    max: Duration,
}

impl ExponentialHistogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        match NonZeroU64::new(duration.as_nanos()) {
            Some(nanos) => *self.counter(index_at_scale(nanos, SCALE)) += 1,
            None => self.zero_count += 1,
        }
        self.min = if self.count == 0 { duration } else { self.min.min(duration) };
        self.max = self.max.max(duration);
        self.count += 1;
        self.sum += u128::from(duration.as_nanos());
        self.sum_of_squares = self.sum_of_squares.saturating_add(square(duration));
    }

    /// Counts everything `other` has counted, exactly as if it had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        for (index, count) in (other.offset..).zip(&other.counts) {
            *self.counter(index) += count;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.zero_count += other.zero_count;
        self.count += other.count;
        self.sum += other.sum;
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
    }

    fn counter(&mut self, index: i32) -> &mut u64 {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = self.offset.abs_diff(index) as usize;
            self.counts.splice(0..0, repeat_n(0, missing));
            self.offset = index;
        }
        let at = self.offset.abs_diff(index) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        &mut self.counts[at]
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest duration of the shortest part `q` of all (nearest rank): `0.5` gives the median. 0 and less give
    /// the shortest, 1 and more the longest; `None` if nothing was recorded.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = nearest_rank(q, self.count)?;
        if rank == 1 {
            return Some(self.min);
        }
        if rank == self.count {
            return Some(self.max);
        }
        let mut seen = self.zero_count;
        if rank <= seen {
            return Some(Duration::ZERO);
        }
        for (index, count) in (self.offset..).zip(&self.counts) {
            seen += count;
            if rank <= seen {
                return Some(middle_of_bucket(index).clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }
}

fn square(duration: Duration) -> u128 {
    u128::from(duration.as_nanos()).pow(2)
}

/// The value whose distance to both edges of the bucket is the same in proportion.
fn middle_of_bucket(index: i32) -> Duration {
    let gamma = f64::exp2(f64::exp2(f64::from(-SCALE)));
    let upper = f64::exp2((f64::from(index) + 1.0) / f64::exp2(f64::from(SCALE)));
    Duration::from_nanos((2.0 * upper / (1.0 + gamma)).round() as u64)
}

/// The 1-based rank of quantile `q` among `count` values; `None` if there are none.
fn nearest_rank(q: f64, count: u64) -> Option<u64> {
    if count == 0 {
        return None;
    }
    // A product that should be whole may come out a little above, as 0.07 × 100 does.
    let rank = (q * count as f64 * (1.0 - f64::EPSILON)).ceil() as u64;
    Some(rank.clamp(1, count))
}

/// Durations with exact quantiles for the first [`DurationStats::EXACT`], and within 1.083 % beyond. The order in
/// which they are recorded or merged changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurationStats {
    /// Every duration, ascending, as long as there are no buckets.
    values: Vec<Duration>,
    buckets: Option<Box<ExponentialHistogram>>,
}

impl DurationStats {
    /// Up to this many durations are kept as they are.
    pub const EXACT: usize = 64;

    /// Takes in one duration.
    pub fn record(&mut self, duration: Duration) {
        if self.buckets.is_none() && self.values.len() < Self::EXACT {
            let at = self.values.partition_point(|earlier| *earlier <= duration);
            self.values.insert(at, duration);
        } else {
            self.in_buckets().record(duration);
        }
    }

    /// Takes in everything `other` has, exactly as if it had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        match &other.buckets {
            Some(buckets) => self.in_buckets().merge(buckets),
            None => other.values.iter().for_each(|duration| self.record(*duration)),
        }
    }

    fn in_buckets(&mut self) -> &mut ExponentialHistogram {
        let buckets = self.buckets.get_or_insert_default();
        for duration in std::mem::take(&mut self.values) {
            buckets.record(duration);
        }
        buckets
    }

    /// How many durations were taken in.
    pub fn count(&self) -> u64 {
        self.buckets.as_ref().map_or(self.values.len() as u64, |buckets| buckets.count)
    }

    fn exact_sum(&self) -> u128 {
        let of_values = || self.values.iter().map(|duration| u128::from(duration.as_nanos())).sum();
        self.buckets.as_ref().map_or_else(of_values, |buckets| buckets.sum)
    }

    /// Their sum, at most [`Duration::MAX`].
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.exact_sum()).unwrap_or(u64::MAX))
    }

    /// The shortest; `None` if there are none.
    pub fn min(&self) -> Option<Duration> {
        self.quantile(0.0)
    }

    /// The longest; `None` if there are none.
    pub fn max(&self) -> Option<Duration> {
        self.quantile(1.0)
    }

    /// The arithmetic mean, rounded half up; `None` if there are none.
    pub fn mean(&self) -> Option<Duration> {
        let count = u128::from(self.count());
        let mean = (2 * self.exact_sum() + count).checked_div(2 * count)?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// The arithmetic mean in nanoseconds, not rounded to whole ones; `None` if there are none.
    pub fn mean_nanos(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.exact_sum() as f64 / self.count() as f64)
    }

    /// The sample standard deviation (with n − 1) in nanoseconds, from exact sums, so that neither the order of
    /// recording nor merging changes it; `None` for fewer than two. Too low where the squares of all durations add
    /// up to more than 2¹²⁸, as two of 584 years do.
    pub fn standard_deviation_nanos(&self) -> Option<f64> {
        let count = u128::from(self.count());
        if count < 2 {
            return None;
        }
        let of_values = || self.values.iter().fold(0, |sum: u128, value| sum.saturating_add(square(*value)));
        let squares = self.buckets.as_ref().map_or_else(of_values, |buckets| buckets.sum_of_squares);
        let sum = self.exact_sum();
        // n·Σx² − (Σx)² in whole numbers cancels nothing; only times of weeks, many of them, do not fit.
        let scaled = match (squares.checked_mul(count), sum.checked_mul(sum)) {
            (Some(squares), Some(of_sum)) => squares.saturating_sub(of_sum) as f64 / count as f64,
            _ => (squares as f64 - sum as f64 * (sum as f64 / count as f64)).max(0.0),
        };
        Some((scaled / (count - 1) as f64).sqrt())
    }

    /// The longest duration of the shortest part `q` of all (nearest rank): `0.5` gives the median. 0 and less give
    /// the shortest, 1 and more the longest; `None` if there are none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        match &self.buckets {
            Some(buckets) => buckets.quantile(q),
            None => {
                let rank = nearest_rank(q, self.values.len() as u64)?;
                self.values.get(rank as usize - 1).copied()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(value: u64) -> i32 {
        index_at_scale(NonZeroU64::new(value).unwrap(), SCALE)
    }

    #[test]
    fn the_values_next_to_an_edge_fall_on_its_two_sides() {
        for (edge, below) in (63 * 32..).zip(EDGES) {
            assert_eq!(index(below), edge);
            assert_eq!(index(below + 1), edge + 1);
        }
    }

    #[test]
    fn the_table_of_edges_agrees_with_digits_of_the_logarithm() {
        let mut value = 1u64;
        for _ in 0..100_000 {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for value in [value, value >> (value & 63)].into_iter().filter_map(NonZeroU64::new) {
                assert_eq!(index_at_scale(value, SCALE), index_at_scale(value, SCALE + 1) >> 1, "{value}");
            }
        }
    }

    #[test]
    fn a_power_of_two_is_the_last_of_its_bucket() {
        assert_eq!(index(1), -1);
        for exponent in 1..64 {
            let power = 1 << exponent;
            assert_eq!(index(power), exponent * 32 - 1);
            assert!(index(power + 1) >= exponent * 32);
        }
    }

    #[test]
    fn a_coarser_scale_halves_the_index() {
        for value in [1, 2, 3, 1000, 123_456_789, u64::MAX] {
            let value = NonZeroU64::new(value).unwrap();
            for scale in -9..=20 {
                assert_eq!(
                    index_at_scale(value, scale) >> 1,
                    index_at_scale(value, scale - 1),
                    "{value} {scale}"
                );
            }
        }
    }

    #[test]
    fn quantiles_of_nothing_are_absent_and_of_zeros_are_zero() {
        let mut histogram = ExponentialHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        assert_eq!(DurationStats::default().mean(), None);
        for nanos in [0, 0, 0, 5, 9] {
            histogram.record(Duration::from_nanos(nanos));
        }
        let quantiles =
            [0.0, 0.5, 0.6, 0.8, 1.0, f64::NAN].map(|q| histogram.quantile(q).unwrap().as_nanos());
        assert_eq!(quantiles, [0, 0, 0, 5, 9, 0]);
    }

    #[test]
    fn the_mean_is_rounded_half_up() {
        let mut stats = DurationStats::default();
        stats.record(Duration::from_nanos(1));
        stats.record(Duration::from_nanos(2));
        assert_eq!(stats.mean(), Some(Duration::from_nanos(2)));
        stats.record(Duration::from_nanos(1));
        assert_eq!(stats.mean(), Some(Duration::from_nanos(1)));
    }

    #[test]
    fn spread_does_not_depend_on_how_values_came_together() {
        let of = |values: &mut dyn Iterator<Item = u64>| {
            let mut stats = DurationStats::default();
            values.for_each(|nanos| stats.record(Duration::from_nanos(nanos)));
            stats
        };
        // 0…199: variance n(n + 1)/12 = 200 · 201 / 12. A large offset changes nothing.
        let expected = (200.0f64 * 201.0 / 12.0).sqrt();
        let far = 1_000_000_000_000_000;
        let mut even = of(&mut (0..100).map(|i| far + 2 * i));
        even.merge(&of(&mut (0..100).rev().map(|i| far + 2 * i + 1)));
        assert!((even.standard_deviation_nanos().unwrap() - expected).abs() < 1e-9);
        assert_eq!(even, of(&mut (0..200).map(|i| far + i)));
        assert_eq!(of(&mut [5].into_iter()).standard_deviation_nanos(), None);
        assert_eq!(of(&mut [5, 5, 5].into_iter()).standard_deviation_nanos(), Some(0.0));
        let longest = of(&mut [u64::MAX; 100].into_iter());
        assert_eq!(longest.standard_deviation_nanos(), Some(0.0), "too long to tell, not a panic");
    }
}
