//! How values are distributed, in base-2 exponential buckets of at most 160 counters, and in fixed ones.
//!
//! As OpenTelemetry defines them: bucket i of scale s holds the values in (2^(i/2^s), 2^((i+1)/2^s)]. It starts at
//! scale 5 (quantiles within 1.083 %); when the values spread over more than 160 buckets, neighbours are merged and
//! the scale falls by one, which is exact. Values are exported in the unit of the metric, so times are put into the
//! buckets of their seconds.

use std::num::NonZeroU64;

use crate::histogram::{SCALE, index_at_scale};
use crate::ids::{SpanId, TraceId};
use crate::time::Timestamp;

use super::instrument::Kind;

/// As many counters as OpenTelemetry's SDKs keep.
pub(crate) const MAX_BUCKETS: usize = 160;
/// How many exemplars a series keeps: those of the highest values.
const MAX_EXEMPLARS: usize = 4;
/// Older exemplars make room, however slow.
const EXEMPLAR_AGE: crate::time::Duration = crate::time::Duration::from_secs(600);

/// A distribution of values that are kept as whole numbers: nanoseconds, or counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    kind: Kind,
    pub(crate) count: u64,
    pub(crate) sum: u128,
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) zero_count: u64,
    pub(crate) buckets: Buckets,
    /// By the kind's bounds; one more for what is above the last.
    pub(crate) explicit: Vec<u64>,
    pub(crate) exemplars: Vec<Exemplar>,
}

/// A value with the span it was measured at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) value: u64,
    pub(crate) time: Timestamp,
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
}

/// Counters of exponential buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) scale: i32,
    /// The bucket of the first counter.
    pub(crate) offset: i32,
    pub(crate) counts: Vec<u64>,
}

impl Default for Buckets {
    fn default() -> Self {
        Buckets { scale: SCALE, offset: 0, counts: Vec::new() }
    }
}

/// The bucket at [`SCALE`] of a value in the unit of the metric.
fn index(value: NonZeroU64, kind: Kind) -> i32 {
    if kind.per_unit() == 1.0 {
        return index_at_scale(value, SCALE);
    }
    // A finite double above zero is a whole number times a power of two, and that power only moves the index.
    let exported = value.get() as f64 / kind.per_unit();
    let bits = exported.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1075;
    let mantissa = bits & ((1 << 52) - 1) | (1 << 52);
    NonZeroU64::new(mantissa).map_or(0, |mantissa| index_at_scale(mantissa, SCALE)) + exponent * (1 << SCALE)
}

impl Buckets {
    fn record(&mut self, index_at_5: i32, count: u64) {
        let mut at = index_at_5 >> (SCALE - self.scale);
        loop {
            let (first, end) = self.range_with(at);
            if (end - first) as usize <= MAX_BUCKETS {
                self.cover(first, end);
                break;
            }
            self.halve();
            at >>= 1;
        }
        self.counts[(at - self.offset) as usize] += count;
    }

    fn range_with(&self, at: i32) -> (i32, i32) {
        if self.counts.is_empty() {
            return (at, at + 1);
        }
        (self.offset.min(at), (self.offset + self.counts.len() as i32).max(at + 1))
    }

    fn cover(&mut self, first: i32, end: i32) {
        if self.counts.is_empty() {
            self.offset = first;
        } else if first == self.offset && end - first == self.counts.len() as i32 {
            return;
        }
        let missing = (self.offset - first).max(0) as usize;
        self.counts.splice(0..0, std::iter::repeat_n(0, missing));
        self.offset = self.offset.min(first);
        self.counts.resize((end - self.offset) as usize, 0);
    }

    /// Merges each two neighbours.
    fn halve(&mut self) {
        let mut halved: Vec<u64> = Vec::with_capacity(self.counts.len() / 2 + 1);
        let offset = self.offset >> 1;
        for (index, count) in (self.offset..).zip(&self.counts) {
            let at = ((index >> 1) - offset) as usize;
            if at == halved.len() {
                halved.push(0);
            }
            halved[at] += count;
        }
        *self = Buckets { scale: self.scale - 1, offset, counts: halved };
    }

    /// The same counts at a coarser scale.
    pub(crate) fn at_scale(&self, scale: i32) -> Buckets {
        let mut buckets = self.clone();
        while buckets.scale > scale {
            buckets.halve();
        }
        buckets
    }

    /// What was counted since `earlier` was taken of the same series.
    fn since(&self, earlier: &Buckets) -> Buckets {
        let earlier = earlier.at_scale(self.scale);
        let mut since = self.clone();
        for (index, count) in (earlier.offset..).zip(&earlier.counts) {
            let at = usize::try_from(index - since.offset).ok();
            if let Some(own) = at.and_then(|at| since.counts.get_mut(at)) {
                *own = own.saturating_sub(*count);
            }
        }
        let used = |counts: &[u64]| counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        since.counts.truncate(used(&since.counts));
        let leading = since.counts.iter().take_while(|count| **count == 0).count();
        since.counts.drain(..leading);
        since.offset += leading as i32;
        since
    }
}

impl Distribution {
    pub(crate) fn new(kind: Kind) -> Self {
        Distribution {
            kind,
            count: 0,
            sum: 0,
            min: 0,
            max: 0,
            zero_count: 0,
            buckets: Buckets::default(),
            explicit: vec![0; kind.bounds().len() + 1],
            exemplars: Vec::new(),
        }
    }

    pub(crate) fn record(&mut self, value: u64) {
        match NonZeroU64::new(value) {
            Some(above_zero) => self.buckets.record(index(above_zero, self.kind), 1),
            None => self.zero_count += 1,
        }
        let at = self.kind.bounds().partition_point(|bound| *bound < value);
        if let Some(counter) = self.explicit.get_mut(at) {
            *counter += 1;
        }
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum += u128::from(value);
    }

    /// Keeps the exemplars of the highest values.
    pub(crate) fn keep_exemplar(&mut self, exemplar: Exemplar) {
        let is_old = |kept: &Exemplar| exemplar.time.saturating_since(kept.time) > EXEMPLAR_AGE;
        let is_low = self.exemplars.last().is_some_and(|lowest| lowest.value >= exemplar.value);
        if is_low && self.exemplars.len() == MAX_EXEMPLARS && !self.exemplars.iter().any(is_old) {
            return;
        }
        self.exemplars.retain(|kept| exemplar.time.saturating_since(kept.time) <= EXEMPLAR_AGE);
        let at = self.exemplars.partition_point(|kept| kept.value >= exemplar.value);
        if at < MAX_EXEMPLARS {
            self.exemplars.insert(at, exemplar);
            self.exemplars.truncate(MAX_EXEMPLARS);
        }
    }

    /// What was recorded since `earlier` was taken of the same series. What the lowest and highest of those were is
    /// not known any more: they stay those of all.
    pub(crate) fn since(&self, earlier: &Distribution) -> Distribution {
        Distribution {
            count: self.count.saturating_sub(earlier.count),
            sum: self.sum.saturating_sub(earlier.sum),
            zero_count: self.zero_count.saturating_sub(earlier.zero_count),
            buckets: self.buckets.since(&earlier.buckets),
            explicit: self
                .explicit
                .iter()
                .zip(&earlier.explicit)
                .map(|(now, then)| now.saturating_sub(*then))
                .collect(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64], kind: Kind) -> Distribution {
        let mut distribution = Distribution::new(kind);
        values.iter().for_each(|value| distribution.record(*value));
        distribution
    }

    #[test]
    fn a_second_is_the_upper_edge_of_the_bucket_below_zero() {
        let at = |nanos: u64| index(NonZeroU64::new(nanos).unwrap(), Kind::TimeHistogram);
        assert_eq!(at(1_000_000_000), -1);
        assert_eq!(at(1_000_000_001), 0);
        assert_eq!(at(2_000_000_000), 31);
        assert_eq!(at(4_000_000_000), 63);
        assert_eq!(at(500_000_000), -33);
        assert_eq!(index(NonZeroU64::new(1).unwrap(), Kind::CountHistogram), -1);
    }

    #[test]
    fn explicit_bounds_belong_to_the_bucket_below() {
        let counted = of(&[10_000_000, 10_000_001, 81_920_000_000, 81_920_000_001], Kind::TimeHistogram);
        assert_eq!((counted.explicit[0], counted.explicit[1]), (1, 1));
        assert_eq!((counted.explicit[13], counted.explicit[14]), (1, 1));
    }

    #[test]
    fn the_exemplars_kept_are_the_slowest_of_the_last_minutes() {
        let mut counted = Distribution::new(Kind::TimeHistogram);
        let mut keep = |second: u64, value| {
            counted.keep_exemplar(Exemplar {
                value,
                time: Timestamp::from_unix_nanos(second * 1_000_000_000),
                trace_id: TraceId::from_bytes([1; 16]),
                span_id: SpanId::from_bytes([1; 8]),
            });
            counted.exemplars.iter().map(|kept| kept.value).collect::<Vec<_>>()
        };
        for (second, value) in [(0, 900), (1, 5), (2, 7), (3, 6), (4, 8)] {
            keep(second, value);
        }
        assert_eq!(keep(5, 1), [900, 8, 7, 6]);
        assert_eq!(keep(602, 2), [8, 7, 6, 2], "the first is too old");
    }

    proptest! {
        /// Every value lies within the edges of the bucket that counts it, whatever the scale has become.
        #[test]
        fn buckets_hold_their_values(values in proptest::collection::vec(1..u64::MAX, 1..300)) {
            let counted = of(&values, Kind::TimeHistogram);
            prop_assert!(counted.buckets.counts.len() <= MAX_BUCKETS);
            let base = f64::exp2(f64::exp2(f64::from(-counted.buckets.scale)));
            let mut expected = vec![0u64; counted.buckets.counts.len()];
            for value in &values {
                let seconds = *value as f64 / 1e9;
                let at = (seconds.ln() / base.ln()).ceil() as i32 - 1 - counted.buckets.offset;
                // Logarithms are off near the edges; a neighbour is right there.
                let near = (at - 1..=at + 1).find(|at| {
                    let index = f64::from(at + counted.buckets.offset);
                    base.powf(index) < seconds * (1.0 - 1e-12) && seconds <= base.powf(index + 1.0) * (1.0 + 1e-12)
                });
                let at = near.or(Some(at)).and_then(|at| usize::try_from(at).ok());
                if let Some(counter) = at.and_then(|at| expected.get_mut(at)) {
                    *counter += 1;
                }
            }
            prop_assert_eq!(counted.buckets.counts.iter().sum::<u64>(), values.len() as u64);
            let apart: u64 = counted.buckets.counts.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).sum();
            prop_assert!(apart <= 2, "{} values off", apart);
        }

        /// Earlier values and those since are all values.
        #[test]
        fn a_delta_is_what_came_after(
            before in proptest::collection::vec(0..u64::MAX, 0..100),
            after in proptest::collection::vec(0..u64::MAX, 0..100),
        ) {
            let earlier = of(&before, Kind::TimeHistogram);
            let all = of(&[before.clone(), after.clone()].concat(), Kind::TimeHistogram);
            let since = all.since(&earlier);
            let alone = of(&after, Kind::TimeHistogram);
            prop_assert_eq!((since.count, since.sum, since.zero_count), (alone.count, alone.sum, alone.zero_count));
            prop_assert_eq!(&since.explicit, &alone.explicit);
            let alone = alone.buckets.at_scale(since.buckets.scale);
            prop_assert_eq!(&since.buckets.counts, &alone.counts);
            if !alone.counts.is_empty() {
                prop_assert_eq!(since.buckets.offset, alone.offset);
            }
        }
    }
}
