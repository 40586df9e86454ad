//! Whether one set of durations is longer than another, by how much, and how sure that is.
//!
//! One number against one number is mostly noise. So two sets are compared by their medians; a bootstrap (Efron
//! 1979) tells how far the ratio of the medians could have come out otherwise, a rank test (Mann, Whitney 1947)
//! whether the sets differ at all, corrected for how many nodes were looked at (Holm 1979). A verdict needs both,
//! and a difference large enough to matter.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Resampled, SeededRandom, doubled_median, quantile_index, resample};
use super::probability::normal_two_sided;
use crate::time::Duration;

/// How verdicts are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOptions {
    /// Which rule decides. Default [`Method::Bootstrap`].
    pub method: Method,
    /// A change of the median by less than this share is no change. More finds less, later. Default 0.05.
    pub delta_ratio: f64,
    /// The chance of a false alarm over all nodes compared together. Default 0.01.
    pub alpha: f64,
    /// A verdict needs so many values on either side. Default 10.
    pub min_count: usize,
    /// A change by less than this is no news, whatever its share. Default 1 ms.
    pub min_abs: Duration,
    /// How many resamples are drawn: more makes intervals steadier and takes longer. Default 10,000.
    pub resamples: usize,
}

impl Default for SampleOptions {
    fn default() -> Self {
        SampleOptions {
            method: Method::Bootstrap,
            delta_ratio: 0.05,
            alpha: 0.01,
            min_count: 10,
            min_abs: Duration::from_millis(1),
            resamples: 10_000,
        }
    }
}

/// Which rule decides between two sets.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Interval of the ratio of medians, and rank test.
    #[default]
    Bootstrap,
    /// A median strictly more than 20 % longer is a regression, whatever the noise; more than 20 % shorter the
    /// other way round is an improvement. Nothing is said where the base is zero.
    Naive,
}

/// What can be said about two sets.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The new set is longer.
    Regressed,
    /// The new set is shorter.
    Improved,
    /// They differ by less than matters.
    Unchanged,
    /// They may differ or not: neither a pass nor a failure.
    Inconclusive,
    /// There are too few values to tell.
    Insufficient,
}

impl Verdict {
    /// What would be said with the sets exchanged.
    pub const fn swapped(self) -> Self {
        match self {
            Verdict::Regressed => Verdict::Improved,
            Verdict::Improved => Verdict::Regressed,
            other => other,
        }
    }
}

/// Two sets of durations side by side. "Base" is the earlier, "new" the later.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleComparison {
    /// The answer.
    pub verdict: Verdict,
    /// How many values the base has.
    pub base_count: u64,
    /// How many values the new set has.
    pub new_count: u64,
    /// The base's median, rounded down where it lies between two nanoseconds; absent where it is empty.
    pub base_median_ns: Option<Duration>,
    /// The new set's median.
    pub new_median_ns: Option<Duration>,
    /// New median ÷ base median; absent where the base's is zero or missing.
    pub median_ratio: Option<f64>,
    /// Where the ratio lies with 95 % confidence; absent where there are too few values or an end is not finite.
    pub median_ratio_ci95: Option<[f64; 2]>,
    /// The chance of sets at least so different by chance alone (Mann–Whitney U, two-sided, normal approximation
    /// with corrections for ties and continuity); absent where a set is empty.
    pub p_value: Option<f64>,
    /// The same after Holm's correction for all the sets compared together.
    pub p_value_adjusted: Option<f64>,
    /// The base's U statistic: in how many pairs the base's value is the larger, ties counted half.
    pub u_base: f64,
    /// Hodges–Lehmann: the median of new ÷ base over all pairs whose base is not zero.
    pub hodges_lehmann_ratio: Option<f64>,
    /// Cliff's δ: the share of pairs in which the new value is larger, less that in which it is smaller.
    pub cliffs_delta: Option<f64>,
    /// Whether a difference was found but is too small to matter.
    pub is_below_min_abs: bool,
    /// The slowest few: P95 from 100 values on either side, P99 from 500.
    pub tails: Vec<TailComparison>,
}

/// A high quantile of two sets. The median can stand still while the tail doubles.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailComparison {
    /// Which: 0.95 or 0.99.
    pub quantile: f64,
    /// By its interval alone.
    pub verdict: Verdict,
    /// The base's, by nearest rank.
    pub base_ns: Duration,
    /// The new set's.
    pub new_ns: Duration,
    /// New ÷ base; absent where the base's is zero.
    pub ratio: Option<f64>,
    /// Where the ratio lies with 95 % confidence.
    pub ratio_ci95: Option<[f64; 2]>,
}

/// A set against another, to be compared together with others.
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    /// What was measured. Seeds the resampling: the same name and values give the same answer, everywhere.
    pub name: &'a str,
    /// The earlier values, in any order.
    pub base: &'a [Duration],
    /// The later values, in any order.
    pub new: &'a [Duration],
    /// A change by less than this is no news; [`SampleOptions::min_abs`] where absent.
    pub min_abs: Option<Duration>,
}

/// Compares one pair of sets. Exchanging them gives the opposite verdict, exactly.
///
/// O(r·n) for r resamples of n values, about 30 ms for 1,000 values on either side; O(n + r) memory.
///
/// ```
/// use longpole::analysis::compare_samples::{SampleOptions, Verdict, compare_samples};
/// use longpole::time::Duration;
///
/// let base: Vec<_> = (0..20).map(|i| Duration::from_millis(100 + i)).collect();
/// let new: Vec<_> = (0..20).map(|i| Duration::from_millis(150 + i)).collect();
/// let told = compare_samples("fetch", &base, &new, &SampleOptions::default());
/// assert_eq!(told.verdict, Verdict::Regressed);
/// ```
pub fn compare_samples(
    name: &str,
    base: &[Duration],
    new: &[Duration],
    options: &SampleOptions,
) -> SampleComparison {
    let evidence = Evidence::new(&Samples { name, base, new, min_abs: None }, options);
    let adjusted = evidence.p_value;
    evidence.judged(adjusted, options)
}

/// Compares many pairs of sets, as the nodes of a workflow, so that the chance of any false alarm is
/// [`SampleOptions::alpha`] over all of them. Answers in the order given.
pub fn compare_all(samples: &[Samples<'_>], options: &SampleOptions) -> Vec<SampleComparison> {
    let evidence: Vec<Evidence> = samples.iter().map(|pair| Evidence::new(pair, options)).collect();
    // Too few values are never judged, so they are no test that would have to be corrected for.
    let tested = |evidence: &Evidence| evidence.p_value.filter(|_| evidence.is_sufficient);
    let mut adjusted = holm(&evidence.iter().filter_map(tested).collect::<Vec<_>>()).into_iter();
    let judge = |evidence: Evidence| {
        let p_value = tested(&evidence).and_then(|_| adjusted.next());
        evidence.judged(p_value, options)
    };
    evidence.into_iter().map(judge).collect()
}

/// Holm's correction: what each of several p-values is worth given the others, in the order given.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = p_values.iter().copied().enumerate().collect();
    order.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let mut running = 0.0f64;
    let mut adjusted: Vec<(usize, f64)> = Vec::with_capacity(order.len());
    for (rank, (at, p_value)) in order.iter().enumerate() {
        running = running.max(p_value * (order.len() - rank) as f64).min(1.0);
        adjusted.push((*at, running));
    }
    adjusted.sort_by_key(|(at, _)| *at);
    adjusted.into_iter().map(|(_, p_value)| p_value).collect()
}

/// A ratio of two whole numbers, compared exactly, so that exchanging the sets exchanges the answers.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    base: u64,
    new: u64,
}

impl Ratio {
    /// Nothing against nothing is no change.
    fn new(base: u64, new: u64) -> Self {
        if base == 0 && new == 0 { Ratio { base: 1, new: 1 } } else { Ratio { base, new } }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let cross = |new: u64, base: u64| u128::from(new) * u128::from(base);
        cross(self.new, other.base).cmp(&cross(other.new, self.base))
    }

    fn value(self) -> f64 {
        self.new as f64 / self.base as f64
    }

    /// Whether new is more than `delta` above base; strictly.
    fn is_above(self, delta: f64) -> bool {
        self.value() > 1.0 + delta
    }

    fn swapped(self) -> Self {
        Ratio { base: self.new, new: self.base }
    }
}

/// The ends of a confidence interval.
#[derive(Clone, Copy, Debug)]
struct Interval {
    low: Ratio,
    high: Ratio,
}

impl Interval {
    /// The middle 95 % of the resampled ratios; cuts as many on either side.
    fn new(base: &[u64], new: &[u64]) -> Option<Self> {
        let mut ratios: Vec<Ratio> =
            base.iter().zip(new).map(|(base, new)| Ratio::new(*base, *new)).collect();
        ratios.sort_by(Ratio::cmp);
        let cut = ratios.len() / 40;
        Some(Interval { low: *ratios.get(cut)?, high: *ratios.get(ratios.len().checked_sub(cut + 1)?)? })
    }

    fn values(self) -> Option<[f64; 2]> {
        let values = [self.low.value(), self.high.value()];
        values.iter().all(|value| value.is_finite()).then_some(values)
    }

    /// `is_different` and `is_large`: what else a change needs.
    fn verdict(self, delta: f64, is_different: bool, is_large: bool) -> Verdict {
        let changed = if self.low.is_above(delta) {
            Some(Verdict::Regressed)
        } else if self.high.swapped().is_above(delta) {
            Some(Verdict::Improved)
        } else {
            None
        };
        match changed {
            Some(_) if is_different && !is_large => Verdict::Unchanged,
            Some(changed) if is_different => changed,
            None if !self.high.is_above(delta) && !self.low.swapped().is_above(delta) => Verdict::Unchanged,
            _ => Verdict::Inconclusive,
        }
    }
}

/// Everything about a pair of sets but the verdict, which depends on the other pairs.
struct Evidence {
    is_sufficient: bool,
    interval: Option<Interval>,
    p_value: Option<f64>,
    is_large: bool,
    told: SampleComparison,
}

impl Evidence {
    fn new(samples: &Samples<'_>, options: &SampleOptions) -> Self {
        let sorted = |values: &[Duration]| {
            let mut nanos: Vec<u64> = values.iter().map(|value| value.as_nanos()).collect();
            nanos.sort_unstable();
            nanos
        };
        let (base, new) = (sorted(samples.base), sorted(samples.new));
        let min_abs = samples.min_abs.unwrap_or(options.min_abs);
        let counted = base.len().min(new.len());
        let is_sufficient = counted >= options.min_count.max(1);
        let is_resampled = is_sufficient && options.method == Method::Bootstrap;
        let resampled = is_resampled.then(|| resample_both(samples.name, &base, &new, options.resamples));
        let (of_base, of_new) = resampled.unwrap_or_default();
        let (base_median, new_median) = (doubled_median(&base), doubled_median(&new));
        let has_both = counted > 0;
        let pairs = Pairs::new(&base, &new);
        let tails = [(950, 100, &of_base.p95, &of_new.p95), (990, 500, &of_base.p99, &of_new.p99)]
            .into_iter()
            .filter(|(_, least, ..)| counted >= *least)
            .filter_map(|(per_mille, _, base_quantiles, new_quantiles)| {
                let at = |sorted: &[u64]| sorted.get(quantile_index(sorted.len(), per_mille)).copied();
                let (of_base, of_new) = (at(&base)?, at(&new)?);
                let interval = Interval::new(base_quantiles, new_quantiles)?;
                let is_large = of_base.abs_diff(of_new) >= min_abs.as_nanos();
                Some(TailComparison {
                    quantile: per_mille as f64 / 1000.0,
                    verdict: interval.verdict(options.delta_ratio, true, is_large),
                    base_ns: Duration::from_nanos(of_base),
                    new_ns: Duration::from_nanos(of_new),
                    ratio: Some(Ratio::new(of_base, of_new).value()).filter(|ratio| ratio.is_finite()),
                    ratio_ci95: interval.values(),
                })
            })
            .collect();
        let interval = Interval::new(&of_base.doubled_medians, &of_new.doubled_medians);
        let median =
            |sorted: &[u64], doubled: u64| (!sorted.is_empty()).then(|| Duration::from_nanos(doubled / 2));
        let p_value = has_both.then(|| pairs.p_value());
        let ratio = Ratio::new(base_median, new_median).value();
        Evidence {
            is_sufficient,
            interval,
            p_value,
            is_large: u128::from(base_median.abs_diff(new_median)) >= 2 * u128::from(min_abs.as_nanos()),
            told: SampleComparison {
                verdict: Verdict::Insufficient,
                base_count: base.len() as u64,
                new_count: new.len() as u64,
                base_median_ns: median(&base, base_median),
                new_median_ns: median(&new, new_median),
                median_ratio: Some(ratio).filter(|ratio| has_both && ratio.is_finite()),
                median_ratio_ci95: interval.and_then(Interval::values),
                p_value,
                p_value_adjusted: None,
                u_base: pairs.doubled_u_base() as f64 / 2.0,
                hodges_lehmann_ratio: hodges_lehmann_ratio(&base, &new),
                cliffs_delta: has_both.then(|| pairs.cliffs_delta()),
                is_below_min_abs: false,
                tails,
            },
        }
    }

    fn judged(self, adjusted: Option<f64>, options: &SampleOptions) -> SampleComparison {
        let Evidence { is_sufficient, interval, is_large, mut told, .. } = self;
        told.p_value_adjusted = adjusted;
        told.verdict = match options.method {
            Method::Naive => naive_verdict(told.base_median_ns, told.new_median_ns),
            Method::Bootstrap => match interval.filter(|_| is_sufficient) {
                Some(interval) => {
                    let is_different = adjusted.is_some_and(|p_value| p_value < options.alpha);
                    let with_size = |is_large| interval.verdict(options.delta_ratio, is_different, is_large);
                    told.is_below_min_abs = with_size(is_large) != with_size(true);
                    with_size(is_large)
                }
                None => Verdict::Insufficient,
            },
        };
        told
    }
}

/// Independent streams for the two sets, chosen by their values and not by which is called the base.
fn resample_both(name: &str, base: &[u64], new: &[u64], resamples: usize) -> (Resampled, Resampled) {
    let (of_base, of_new) = if base <= new { (0, 1) } else { (1, 0) };
    (
        resample(base, resamples, SeededRandom::new(name, of_base)),
        resample(new, resamples, SeededRandom::new(name, of_new)),
    )
}

/// How much longer `new` is than `base`, in per cent, by two numbers alone; absent where the base is zero.
pub fn naive_change_percent(base: Duration, new: Duration) -> Option<f64> {
    let (base, new) = (base.as_nanos() as f64, new.as_nanos() as f64);
    (base > 0.0).then(|| 100.0 * (new - base) / base)
}

fn naive_verdict(base: Option<Duration>, new: Option<Duration>) -> Verdict {
    const THRESHOLD_PERCENT: f64 = 20.0;
    let (Some(base), Some(new)) = (base, new) else { return Verdict::Insufficient };
    let Some(change) = naive_change_percent(base, new) else { return Verdict::Insufficient };
    if change > THRESHOLD_PERCENT {
        Verdict::Regressed
    } else if naive_change_percent(new, base).is_none_or(|back| back > THRESHOLD_PERCENT) {
        Verdict::Improved
    } else {
        Verdict::Unchanged
    }
}

/// How the values of two sets stand to each other, over all pairs.
struct Pairs {
    base_count: usize,
    new_count: usize,
    base_larger: u128,
    new_larger: u128,
    /// Σ(t³ − t) over groups of t equal values in both sets together.
    ties: f64,
}

impl Pairs {
    /// Both ascending. O(n + m).
    fn new(base: &[u64], new: &[u64]) -> Self {
        let larger = |these: &[u64], those: &[u64]| {
            let mut below = 0;
            let mut pairs = 0u128;
            for value in these {
                below += those.iter().skip(below).take_while(|other| *other < value).count();
                pairs += below as u128;
            }
            pairs
        };
        let mut all: Vec<u64> = base.iter().chain(new).copied().collect();
        all.sort_unstable();
        let cubes = all.chunk_by(|one, other| one == other).map(|group| {
            let size = group.len() as f64;
            size * size * size - size
        });
        Pairs {
            base_count: base.len(),
            new_count: new.len(),
            base_larger: larger(base, new),
            new_larger: larger(new, base),
            ties: cubes.sum(),
        }
    }

    fn count(&self) -> u128 {
        self.base_count as u128 * self.new_count as u128
    }

    fn doubled_u_base(&self) -> u128 {
        // Ties count half, so twice U is the larger ones twice and the ties once.
        (self.count() + self.base_larger).saturating_sub(self.new_larger)
    }

    fn cliffs_delta(&self) -> f64 {
        (self.new_larger as f64 - self.base_larger as f64) / self.count() as f64
    }

    fn p_value(&self) -> f64 {
        let all = (self.base_count + self.new_count) as f64;
        let variance = self.count() as f64 / 12.0 * ((all + 1.0) - self.ties / (all * (all - 1.0)));
        if variance.is_nan() || variance <= 0.0 {
            return 1.0;
        }
        let distance = self.new_larger.abs_diff(self.base_larger) as f64 / 2.0;
        normal_two_sided((distance - 0.5).max(0.0) / variance.sqrt())
    }
}

/// The median of new ÷ base over all pairs whose base is not zero. Both ascending.
///
/// Found by bisection over the bits of the answer, counting the pairs at most so large: O((n + m) · 64) and no
/// memory, however many pairs there are.
fn hodges_lehmann_ratio(base: &[u64], new: &[u64]) -> Option<f64> {
    let zeros = base.partition_point(|value| *value == 0);
    let base = base.get(zeros..)?;
    let pairs = base.len() as u128 * new.len() as u128;
    if pairs == 0 {
        return None;
    }
    let at_most = |limit: f64| {
        // The longer the base, the more of the new values are small beside it.
        let mut within = 0;
        let mut count = 0u128;
        for denominator in base {
            let fits = |numerator: &&u64| **numerator as f64 / *denominator as f64 <= limit;
            within += new.iter().skip(within).take_while(fits).count();
            count += within as u128;
        }
        count
    };
    // Bits of positive floats are ordered as the floats are.
    let of_rank = |rank: u128| {
        let (mut low, mut high) = (0u64, f64::MAX.to_bits());
        while low < high {
            let middle = low + (high - low) / 2;
            if at_most(f64::from_bits(middle)) >= rank {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        f64::from_bits(low)
    };
    Some((of_rank(pairs.div_ceil(2)) + of_rank(pairs / 2 + 1)) / 2.0)
}
