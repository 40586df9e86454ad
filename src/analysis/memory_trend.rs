//! Whether the memory in use grows, shrinks, or stepped up once, and how fast.
//!
//! The slope is that of Theil (1950) and Sen (1968): the median of the slopes between all pairs of samples, which a
//! spike or one phase of a garbage collector does not move. First and last sample alone would.

use serde::{Deserialize, Serialize};

use super::change_points::MIN_LEVEL;
use super::probability::normal_two_sided;
use crate::time::Timestamp;

/// Memory in use at some point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySample {
    /// When.
    pub at: Timestamp,
    /// How much.
    pub bytes: u64,
}

/// How the direction is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrendMethod {
    /// The median slope with its interval.
    #[default]
    TheilSen,
    /// First and last sample: a rate beyond ±1 MB/s (10⁶ bytes) is a direction.
    Endpoints,
}

/// Where the memory in use goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Steadily up.
    Increasing,
    /// Steadily down.
    Decreasing,
    /// Neither, or by too little to matter.
    Stable,
    /// Once to another level, and level before and after: more like a cache filled than like a leak.
    Step,
    /// Fewer than three points in time, or less than five seconds.
    Unknown,
}

/// The course of the memory in use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryTrend {
    /// Where it goes.
    pub direction: Direction,
    /// How fast: the median slope, or that between first and last sample if asked for; zero where time stands still.
    pub rate_bytes_per_second: f64,
    /// Where the median slope lies with 95 % confidence (Sen 1968); absent below two points in time.
    pub rate_ci95: Option<[f64; 2]>,
    /// The line's height at the first sample, in bytes.
    pub intercept_bytes: f64,
    /// Kendall's τ_b: 1 if it only ever grew, −1 if it only ever shrank; absent where one of the two never changes.
    pub kendall_tau: Option<f64>,
    /// The first sample.
    pub start_bytes: u64,
    /// The last sample.
    pub end_bytes: u64,
}

/// More samples than this are thinned evenly: every pair is looked at.
pub const MAX_SAMPLES: usize = 600;
const MIN_SPAN_SECONDS: f64 = 5.0;
/// A change by less than this share of the median over the whole time is no trend.
const MIN_CHANGE_RATIO: f64 = 0.05;
/// And neither is a rate below 10 KiB/s.
const MIN_RATE: f64 = 10.0 * 1024.0;
const ENDPOINTS_RATE: f64 = 1e6;
const SIGNIFICANCE: f64 = 0.05;

/// The trend of samples in any order; `None` without any. O(n²) for at most [`MAX_SAMPLES`] of them.
pub fn memory_trend(samples: &[MemorySample], method: TrendMethod) -> Option<MemoryTrend> {
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| sample.at);
    let (first, last) = (*samples.first()?, *samples.last()?);
    let points: Vec<(f64, f64)> = thinned(&samples)
        .map(|sample| (sample.at.saturating_since(first.at).as_secs_f64(), sample.bytes as f64))
        .collect();
    let span = last.at.saturating_since(first.at).as_secs_f64();
    let line = TheilSen::new(&points);
    let endpoint_rate = if span > 0.0 { (last.bytes as f64 - first.bytes as f64) / span } else { 0.0 };
    let is_known = line.distinct_times >= 3 && span >= MIN_SPAN_SECONDS;
    let direction = match method {
        _ if !is_known => Direction::Unknown,
        TrendMethod::Endpoints if endpoint_rate > ENDPOINTS_RATE => Direction::Increasing,
        TrendMethod::Endpoints if endpoint_rate < -ENDPOINTS_RATE => Direction::Decreasing,
        TrendMethod::Endpoints => Direction::Stable,
        TrendMethod::TheilSen => direction(&points, &line, span),
    };
    let slope = line.slope.unwrap_or_default();
    Some(MemoryTrend {
        direction,
        rate_bytes_per_second: if method == TrendMethod::Endpoints { endpoint_rate } else { slope },
        rate_ci95: line.interval,
        intercept_bytes: line.intercept,
        kendall_tau: line.tau,
        start_bytes: first.bytes,
        end_bytes: last.bytes,
    })
}

/// At most [`MAX_SAMPLES`], evenly spread, first and last among them.
fn thinned(samples: &[MemorySample]) -> impl Iterator<Item = &MemorySample> {
    let kept = samples.len().min(MAX_SAMPLES);
    let last = samples.len().saturating_sub(1);
    (0..kept).filter_map(move |index| samples.get(index * last / kept.saturating_sub(1).max(1)))
}

fn direction(points: &[(f64, f64)], line: &TheilSen, span: f64) -> Direction {
    let (Some(slope), Some([low, high])) = (line.slope, line.interval) else { return Direction::Stable };
    let change = slope.abs() * span;
    let is_material = change >= MIN_CHANGE_RATIO * median_of(points.iter().map(|(_, bytes)| *bytes))
        && slope.abs() >= MIN_RATE;
    let excludes_zero = low > 0.0 || high < 0.0;
    if !is_material || !(excludes_zero || line.p_value < SIGNIFICANCE) {
        Direction::Stable
    } else if is_single_step(points) {
        Direction::Step
    } else if low > 0.0 {
        Direction::Increasing
    } else if high < 0.0 {
        Direction::Decreasing
    } else {
        Direction::Stable
    }
}

/// Whether there is a place before and after which nothing has a slope worth mentioning: where the two parts differ
/// most from each other, by the least squares that remain.
fn is_single_step(points: &[(f64, f64)]) -> bool {
    let remaining = |part: &[(f64, f64)]| {
        let mean = part.iter().map(|(_, bytes)| bytes).sum::<f64>() / part.len().max(1) as f64;
        part.iter().map(|(_, bytes)| (bytes - mean) * (bytes - mean)).sum::<f64>()
    };
    let cuts = MIN_LEVEL..(points.len() + 1).saturating_sub(MIN_LEVEL);
    let splits = cuts.filter_map(|cut| {
        let (left, right) = points.split_at_checked(cut)?;
        Some((remaining(left) + remaining(right), left, right))
    });
    let best = splits.min_by(|(one, ..), (other, ..)| one.total_cmp(other));
    let is_level = |part: &[(f64, f64)]| TheilSen::new(part).p_value >= SIGNIFICANCE;
    best.is_some_and(|(_, left, right)| is_level(left) && is_level(right))
}

/// A line through points ordered by time.
struct TheilSen {
    distinct_times: usize,
    slope: Option<f64>,
    intercept: f64,
    interval: Option<[f64; 2]>,
    tau: Option<f64>,
    /// The chance of so much order by chance (Mann 1945, Kendall 1948), by the normal approximation.
    p_value: f64,
}

impl TheilSen {
    fn new(points: &[(f64, f64)]) -> Self {
        let mut slopes: Vec<f64> = Vec::new();
        let mut concordance = 0.0;
        let mut later = points.iter();
        while let Some((time, bytes)) = later.next() {
            for (later_time, later_bytes) in later.as_slice().iter().filter(|(other, _)| other > time) {
                let rise = later_bytes - bytes;
                slopes.push(rise / (later_time - time));
                concordance += f64::from(u8::from(rise > 0.0)) - f64::from(u8::from(rise < 0.0));
            }
        }
        slopes.sort_by(f64::total_cmp);
        let slope = middle_of(&slopes);
        let middle = |which: fn(&(f64, f64)) -> f64| median_of(points.iter().map(which));
        let (time_ties, byte_ties) =
            (ties(points.iter().map(|(time, _)| *time)), ties(points.iter().map(|p| p.1)));
        let count = points.len() as f64;
        let spread = |size: f64| size * (size - 1.0) * (2.0 * size + 5.0);
        let tied: f64 = time_ties.iter().chain(&byte_ties).map(|size| spread(*size)).sum();
        let deviation = ((spread(count) - tied).max(0.0) / 18.0).sqrt();
        let pairs = |size: f64| size * (size - 1.0) / 2.0;
        let untied = |ties: &[f64]| pairs(count) - ties.iter().map(|size| pairs(*size)).sum::<f64>();
        let tau = concordance / (untied(&time_ties) * untied(&byte_ties)).sqrt();
        TheilSen {
            distinct_times: points.chunk_by(|one, other| one.0 == other.0).count(),
            slope,
            intercept: middle(|point| point.1) - slope.unwrap_or_default() * middle(|point| point.0),
            interval: sen_interval(&slopes, deviation),
            tau: Some(tau.clamp(-1.0, 1.0)).filter(|tau| tau.is_finite()),
            p_value: if deviation > 0.0 { normal_two_sided(concordance / deviation) } else { 1.0 },
        }
    }
}

/// The slopes whose ranks bound the median slope in 95 of 100 cases.
fn sen_interval(slopes: &[f64], deviation: f64) -> Option<[f64; 2]> {
    const NORMAL_97_5: f64 = 1.959_963_984_540_054;
    let count = slopes.len() as f64;
    let low = (((count - NORMAL_97_5 * deviation) / 2.0).round_ties_even() - 1.0).max(0.0);
    let high = ((count + NORMAL_97_5 * deviation) / 2.0).round_ties_even().min(count - 1.0);
    Some([*slopes.get(low as usize)?, *slopes.get(high as usize)?])
}

/// How many values are equal to each other, for each value that comes more than once.
fn ties(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let groups = values.chunk_by(|one, other| one == other).map(<[f64]>::len);
    groups.filter(|size| *size > 1).map(|size| size as f64).collect()
}

fn median_of(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    middle_of(&values).unwrap_or_default()
}

fn middle_of(sorted: &[f64]) -> Option<f64> {
    Some((sorted.get(sorted.len().checked_sub(1)? / 2)? + sorted.get(sorted.len() / 2)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(bytes: &[u64], seconds: u64, method: TrendMethod) -> MemoryTrend {
        let sample = |(index, bytes): (usize, &u64)| MemorySample {
            at: Timestamp::from_unix_nanos(index as u64 * seconds * 1_000_000_000),
            bytes: *bytes,
        };
        memory_trend(&bytes.iter().enumerate().map(sample).collect::<Vec<_>>(), method).unwrap()
    }

    #[test]
    fn the_slope_is_the_median_of_all_pairs() {
        // Slopes: 1, 2, 6 (neighbours); 1.5, 4 (two apart); 3 (three apart): median 2.5.
        let told = trend(&[0, 1, 3, 9], 1, TrendMethod::TheilSen);
        assert_eq!(told.rate_bytes_per_second, 2.5);
        assert_eq!(told.intercept_bytes, 2.0 - 2.5 * 1.5);
        assert_eq!(told.kendall_tau, Some(1.0));
        assert_eq!(told.direction, Direction::Unknown, "three seconds are too few");
        assert_eq!(trend(&[5], 1, TrendMethod::TheilSen).rate_ci95, None);
        assert_eq!(memory_trend(&[], TrendMethod::TheilSen), None);
    }

    #[test]
    fn endpoints_believe_the_first_and_the_last_sample() {
        let bytes = [50_000_000, 50_000_000, 50_000_000, 50_000_000, 50_000_000, 50_000_000, 90_000_000];
        assert_eq!(trend(&bytes, 1, TrendMethod::Endpoints).direction, Direction::Increasing);
        assert_eq!(trend(&bytes, 1, TrendMethod::TheilSen).direction, Direction::Stable);
        let falling: Vec<u64> = bytes.iter().rev().copied().collect();
        assert_eq!(trend(&falling, 1, TrendMethod::Endpoints).direction, Direction::Decreasing);
    }

    #[test]
    fn many_samples_are_thinned_and_keep_their_ends() {
        let bytes: Vec<u64> = (0..5000).map(|second| 1_000_000 + 20_000 * second).collect();
        let told = trend(&bytes, 1, TrendMethod::TheilSen);
        assert_eq!(told.direction, Direction::Increasing);
        assert!((told.rate_bytes_per_second - 20_000.0).abs() < 1e-6);
        assert_eq!((told.start_bytes, told.end_bytes), (1_000_000, 1_000_000 + 20_000 * 4999));
    }
}
