//! How evenly a step takes its time, whether it is slow, and how long to wait for it.

use serde::{Deserialize, Serialize};

use crate::histogram::DurationStats;
use crate::time::Duration;

/// How much durations vary. A figure is absent where it would be a division by zero or by too few values.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Variability {
    /// How many durations there are.
    pub count: u64,
    /// Coefficient of variation: sample standard deviation ÷ mean. From two values on.
    pub cv: Option<f64>,
    /// A high quantile ÷ median: P99 from 100 values on, P95 from 20, below that the longest.
    pub tail: Option<f64>,
    /// Longest ÷ shortest. Grows with the number of values wherever there is a tail.
    pub spread: Option<f64>,
}

/// What says that a step varies much.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VarianceRule {
    /// From 20 values on, a tail above 3.
    Tail,
    /// From 20 values on, a coefficient of variation above 1.
    CoefficientOfVariation,
    /// The 99th percentile is more than twice the mean.
    P99OverTwiceMean,
    /// The longest is more than five times the shortest, of at least five of which one takes a millisecond.
    Spread,
}

/// Which rules are looked at beside [`VarianceRule::Tail`] and [`VarianceRule::CoefficientOfVariation`], which
/// always are. Default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VarianceOptions {
    /// [`VarianceRule::P99OverTwiceMean`].
    pub p99_over_twice_mean: bool,
    /// [`VarianceRule::Spread`].
    pub spread: bool,
}

/// How much the durations vary.
pub fn variability(stats: &DurationStats) -> Variability {
    let (mean, deviation) = (stats.mean_nanos(), stats.standard_deviation_nanos());
    let high = match stats.count() {
        100.. => 0.99,
        20.. => 0.95,
        _ => 1.0,
    };
    let ratio = |one: Option<Duration>, other: Option<Duration>| one?.ratio_of(other?);
    Variability {
        count: stats.count(),
        cv: deviation.zip(mean.filter(|mean| *mean > 0.0)).map(|(deviation, mean)| deviation / mean),
        tail: ratio(stats.quantile(high), stats.quantile(0.5)),
        spread: ratio(stats.max(), stats.min()),
    }
}

/// The rules by which the durations vary much; none if they do not.
pub fn high_variance(stats: &DurationStats, options: &VarianceOptions) -> Vec<VarianceRule> {
    let told = variability(stats);
    let is_above = |value: Option<f64>, limit: f64| value.is_some_and(|value| value > limit);
    let p99 = stats.quantile(0.99).map(|p99| p99.as_nanos() as f64);
    let is_a_millisecond = stats.max() >= Some(Duration::from_millis(1));
    [
        (VarianceRule::Tail, told.count >= 20 && is_above(told.tail, 3.0)),
        (VarianceRule::CoefficientOfVariation, told.count >= 20 && is_above(told.cv, 1.0)),
        (
            VarianceRule::P99OverTwiceMean,
            options.p99_over_twice_mean && stats.mean_nanos().is_some_and(|mean| is_above(p99, 2.0 * mean)),
        ),
        (
            VarianceRule::Spread,
            options.spread && told.count >= 5 && is_above(told.spread, 5.0) && is_a_millisecond,
        ),
    ]
    .into_iter()
    .filter_map(|(rule, holds)| holds.then_some(rule))
    .collect()
}

/// How bad something is. Of a value over its threshold: low up to 1.5 times that, medium up to 2, high up to 3. Of a
/// finding: low from 2 % of the wall time on that it could save, medium from 5 %, high from 10 %, critical from 25 %.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// Why nothing can be said about a threshold.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdError {
    /// It is zero, negative or no number.
    #[error("a threshold must be above zero, not {0}")]
    NotPositive(f64),
}

/// The severity of a value against a threshold in the same unit; `None` up to the threshold, itself included.
///
/// # Errors
///
/// [`ThresholdError::NotPositive`].
pub fn threshold_severity(value: f64, threshold: f64) -> Result<Option<Severity>, ThresholdError> {
    if threshold.is_nan() || threshold <= 0.0 {
        return Err(ThresholdError::NotPositive(threshold));
    }
    Ok(match value / threshold {
        ratio if ratio > 3.0 => Some(Severity::Critical),
        ratio if ratio > 2.0 => Some(Severity::High),
        ratio if ratio > 1.5 => Some(Severity::Medium),
        ratio if ratio > 1.0 => Some(Severity::Low),
        _ => None,
    })
}

/// Which figure is held against a threshold.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum DurationFigure {
    #[default]
    Mean,
    P50,
    P95,
}

/// How slow the durations are for a threshold: `None` up to it, the threshold itself included,
/// and where nothing was recorded.
///
/// # Errors
///
/// [`ThresholdError::NotPositive`].
pub fn slow_execution(
    stats: &DurationStats,
    figure: DurationFigure,
    threshold: Duration,
) -> Result<Option<Severity>, ThresholdError> {
    let value = match figure {
        DurationFigure::Mean => stats.mean_nanos(),
        DurationFigure::P50 => stats.quantile(0.50).map(|p50| p50.as_nanos() as f64),
        DurationFigure::P95 => stats.quantile(0.95).map(|p95| p95.as_nanos() as f64),
    };
    threshold_severity(value.unwrap_or_default(), threshold.as_nanos() as f64)
}

/// How long to wait for something before its first execution.
pub const FIRST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before giving up: twice the 95th percentile; [`FIRST_TIMEOUT`] where nothing was recorded.
pub fn suggest_timeout(stats: &DurationStats) -> Duration {
    stats.quantile(0.95).map_or(FIRST_TIMEOUT, |p95| p95.saturating_add(p95))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(millis: &[u64]) -> DurationStats {
        let mut stats = DurationStats::default();
        millis.iter().for_each(|ms| stats.record(Duration::from_millis(*ms)));
        stats
    }

    #[test]
    fn figures_are_those_of_their_definitions() {
        // Mean 5, deviations −3 −1 −1 −1 0 0 2 4: squares 32, sample variance 32/7.
        let told = variability(&stats(&[2, 4, 4, 4, 5, 5, 7, 9]));
        assert!((told.cv.unwrap() - (32.0f64 / 7.0).sqrt() / 5.0).abs() < 1e-12);
        assert_eq!((told.tail, told.spread), (Some(9.0 / 4.0), Some(4.5)));
        let none = Variability { count: 1, tail: Some(1.0), spread: Some(1.0), ..Variability::default() };
        assert_eq!(variability(&stats(&[3])), none);
        assert_eq!(variability(&stats(&[0, 0])).spread, None);
        assert_eq!(variability(&stats(&[])), Variability::default());
    }

    #[test]
    fn each_rule_is_named_for_itself() {
        let all = VarianceOptions { p99_over_twice_mean: true, spread: true };
        // Mean 2.8; longest 10.
        let few = stats(&[1, 1, 1, 1, 10]);
        assert_eq!(high_variance(&few, &all), [VarianceRule::P99OverTwiceMean, VarianceRule::Spread]);
        assert!(high_variance(&few, &VarianceOptions::default()).is_empty(), "fewer than 20");
        let mut millis = vec![1; 18];
        millis.extend([50, 50]);
        let rules = high_variance(&stats(&millis), &VarianceOptions::default());
        assert_eq!(rules, [VarianceRule::Tail, VarianceRule::CoefficientOfVariation]);
        assert!(high_variance(&stats(&[1, 5, 5, 5, 5]), &all).is_empty(), "exactly five times");
        assert!(high_variance(&stats(&[1, 1, 1, 10]), &all) == [VarianceRule::P99OverTwiceMean]);
    }

    #[test]
    fn slow_is_strictly_above_the_threshold() {
        let stats = stats(&[10, 20, 60]);
        let slow = |figure, ms| slow_execution(&stats, figure, Duration::from_millis(ms)).unwrap();
        assert_eq!(slow(DurationFigure::Mean, 30), None);
        assert_eq!(slow(DurationFigure::Mean, 29), Some(Severity::Low));
        assert_eq!(slow(DurationFigure::P50, 10), Some(Severity::Medium));
        assert_eq!(slow(DurationFigure::P95, 10), Some(Severity::Critical));
        assert!(slow_execution(&stats, DurationFigure::Mean, Duration::ZERO).is_err());
        assert!(threshold_severity(1.0, f64::NAN).is_err());
        let nothing = DurationStats::default();
        let told = slow_execution(&nothing, DurationFigure::Mean, Duration::from_millis(1));
        assert_eq!(told, Ok(None));
    }

    #[test]
    fn severity_has_inclusive_upper_bounds() {
        let told = |value| threshold_severity(value, 100.0).unwrap();
        for (value, severity) in [
            (99.0, None),
            (100.0, None),
            (100.001, Some(Severity::Low)),
            (150.0, Some(Severity::Low)),
            (150.001, Some(Severity::Medium)),
            (200.0, Some(Severity::Medium)),
            (200.001, Some(Severity::High)),
            (300.0, Some(Severity::High)),
            (300.001, Some(Severity::Critical)),
        ] {
            assert_eq!(told(value), severity, "{value}");
        }
    }

    #[test]
    fn a_timeout_is_twice_the_95th_percentile() {
        assert_eq!(suggest_timeout(&DurationStats::default()), Duration::from_secs(5));
        assert_eq!(suggest_timeout(&stats(&[10, 20, 30])), Duration::from_millis(60));
    }
}
