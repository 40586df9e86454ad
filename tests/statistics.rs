//! Statistics against answers of independent programs: SciPy for samples and trends, Apache Otava for histories.

use std::path::Path;

use longpole::analysis::change_points::{ChangePointOptions, MIN_LEVEL, MIN_SPREAD_RATIO, change_points};
use longpole::analysis::compare_samples::{
    Method, SampleOptions, Samples, Verdict, compare_all, compare_samples, holm,
};
use longpole::analysis::memory_trend::{Direction, MemorySample, TrendMethod, memory_trend};
use longpole::time::{Duration, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oracles/stats").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn assert_near(actual: Option<f64>, expected: &Value, tolerance: f64, what: &str) {
    let (Some(actual), Some(expected)) = (actual, expected.as_f64()) else {
        panic!("{what}: {actual:?}, expected {expected}");
    };
    let error = (actual - expected).abs();
    assert!(error <= tolerance * expected.abs().max(1e-300), "{what}: {actual}, expected {expected}");
}

fn durations(value: &Value) -> Vec<Duration> {
    numbers(value).iter().map(|millis| Duration::from_nanos((millis * 1e6).round() as u64)).collect()
}

#[test]
fn two_samples_compare_as_scipy_says() {
    let cases = cases("compare_two_samples.json");
    assert!(cases.len() >= 10);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let (base, new) = (durations(&case["base"]), durations(&case["new"]));
        let told = compare_samples(name, &base, &new, &SampleOptions::default());
        assert_eq!(told.u_base, case["u_base"].as_f64().unwrap(), "{name}");
        assert_near(told.p_value, &case["p_two_sided_asymptotic_continuity"], 1e-9, name);
        assert_near(told.median_ratio, &case["ratio_of_medians"], 1e-9, name);
        assert_near(told.hodges_lehmann_ratio, &case["hodges_lehmann_ratio"], 1e-9, name);
        assert!(
            (told.cliffs_delta.unwrap() - case["cliffs_delta"].as_f64().unwrap()).abs() < 1e-12,
            "{name}"
        );
        assert_near(told.base_median_ns.map(|ns| ns.as_millis_f64()), &case["median_base"], 1e-7, name);
        if let Some(interval) = case["bootstrap_ratio_of_medians_ci95_approx"].as_array() {
            let [low, high] = told.median_ratio_ci95.unwrap();
            assert_near(Some(high), &interval[1], 0.02, name);
            if name == "plus50pct_noisy" {
                // The resampled ratio is at most 1.0905 with a chance of 0.0250065 (from binomial sums), so its
                // 2.5 % quantile is this or, when drawn, one of the next two values.
                let near_the_quantile = [1.0905336338920566, 1.0919162226383226, 1.1310210542139376];
                assert!(near_the_quantile.iter().any(|value| (low - value).abs() < 1e-12), "{low}");
            } else {
                assert_near(Some(low), &interval[0], 0.02, name);
            }
        }
        if let Some(verdict) = case["expected_verdict_median_delta5pct_alpha01"].as_str() {
            assert_eq!(serde_json::to_value(told.verdict).unwrap(), verdict, "{name}");
        }
        let naive = SampleOptions { method: Method::Naive, ..SampleOptions::default() };
        let naive = compare_samples(name, &base, &new, &naive).verdict;
        assert_eq!(naive == Verdict::Regressed, case["naive_20pct_regressed"].as_bool().unwrap(), "{name}");
    }
}

#[test]
fn histories_change_where_otava_says() {
    let mut checked = 0;
    for case in cases("change_points_otava.json") {
        let name = &case["name"];
        let series = numbers(&case["series"]);
        let mut listed: Vec<usize> =
            numbers(&case["change_points"]).iter().map(|index| *index as usize).collect();
        // When Otava takes a point back it renews the figures of the next two points and not of the one before, so
        // this one, 0.8 % high, stays although it is not sure enough once its neighbour is gone.
        if case["params"]["window_len"] == 30 {
            listed.retain(|index| *index != 260);
        }
        // Where levels are too short or too even, ours are wanted to differ.
        let ends = listed.iter().copied().chain([series.len()]);
        let levels = std::iter::once(0).chain(listed.iter().copied()).zip(ends);
        let is_comparable = levels.map(|(start, end)| &series[start..end]).all(|level| {
            let mean = level.iter().sum::<f64>() / level.len() as f64;
            let squares: f64 = level.iter().map(|value| (value - mean) * (value - mean)).sum();
            level.len() >= MIN_LEVEL && (squares / level.len() as f64).sqrt() >= MIN_SPREAD_RATIO * mean
        });
        let options = ChangePointOptions {
            window: case["params"]["window_len"].as_u64().unwrap() as usize,
            max_p_value: case["params"]["max_pvalue"].as_f64().unwrap(),
            min_magnitude_ratio: case["params"]["min_magnitude"].as_f64().unwrap(),
        };
        let told: Vec<usize> = change_points(&series, &options).iter().map(|point| point.index).collect();
        if is_comparable {
            assert_eq!(told, listed, "{name} {options:?}");
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} comparable histories");
}

#[test]
fn memory_trends_are_those_of_scipy() {
    let cases = cases("memory_trend.json");
    assert!(cases.len() >= 8);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let sample = |(seconds, bytes): (f64, f64)| MemorySample {
            at: Timestamp::from_unix_nanos((seconds * 1e9).round() as u64),
            bytes: bytes as u64,
        };
        let pairs = numbers(&case["t_s"]).into_iter().zip(numbers(&case["bytes"]));
        let samples: Vec<_> = pairs.map(sample).collect();
        let told = memory_trend(&samples, TrendMethod::TheilSen).unwrap();
        assert_near(Some(told.rate_bytes_per_second), &case["theil_sen_slope_bytes_per_s"], 1e-9, name);
        assert_near(Some(told.intercept_bytes), &case["theil_sen_intercept"], 1e-9, name);
        assert_near(told.kendall_tau, &case["kendall_tau_b"], 1e-9, name);
        for (end, expected) in told.rate_ci95.unwrap().into_iter().zip(case["slope_ci95"].as_array().unwrap())
        {
            assert_near(Some(end), expected, 1e-9, name);
        }
        let endpoints = memory_trend(&samples, TrendMethod::Endpoints).unwrap();
        assert_near(Some(endpoints.rate_bytes_per_second), &case["first_last_rate"], 1e-9, name);
        let direction = match name {
            "leak" => Direction::Increasing,
            "falling" => Direction::Decreasing,
            "step_up" => Direction::Step,
            "two_points" => Direction::Unknown,
            _ => Direction::Stable,
        };
        assert_eq!(told.direction, direction, "{name}");
    }
}

/// p = 0.01, 0.04, 0.03: sorted 0.01·3, 0.03·2, 0.04·1 with a running maximum.
#[test]
fn holm_corrects_step_by_step() {
    assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
    assert_eq!(holm(&[0.5, 0.9]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}

fn sets() -> impl Strategy<Value = (Vec<Duration>, Vec<Duration>)> {
    let set = |most: u64| prop::collection::vec((0..most).prop_map(Duration::from_millis), 0..40);
    (1..60u64, 1..60u64).prop_flat_map(move |(one, other)| (set(one), set(other)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn exchanging_the_sets_gives_the_opposite_verdict((base, new) in sets()) {
        let options = SampleOptions { resamples: 400, ..SampleOptions::default() };
        let there = compare_samples("node", &base, &new, &options);
        let back = compare_samples("node", &new, &base, &options);
        prop_assert_eq!(there.verdict.swapped(), back.verdict);
        prop_assert_eq!(there.p_value, back.p_value);
        prop_assert_eq!(there.cliffs_delta.map(|delta| -delta + 0.0), back.cliffs_delta.map(|delta| delta + 0.0));
    }

    #[test]
    fn a_set_against_itself_is_neither_better_nor_worse((base, _) in sets()) {
        let options = SampleOptions { resamples: 400, ..SampleOptions::default() };
        let told = compare_samples("node", &base, &base, &options);
        prop_assert!(!matches!(told.verdict, Verdict::Regressed | Verdict::Improved));
    }

    #[test]
    fn order_changes_nothing((base, new) in sets()) {
        let options = SampleOptions { resamples: 100, ..SampleOptions::default() };
        let reversed = |set: &[Duration]| set.iter().rev().copied().collect::<Vec<_>>();
        prop_assert_eq!(
            compare_samples("node", &base, &new, &options),
            compare_samples("node", &reversed(&base), &reversed(&new), &options)
        );
    }
}

#[test]
fn more_nodes_need_more_evidence() {
    let base: Vec<_> = (0..12).map(|i| Duration::from_millis(100 + 4 * i)).collect();
    let new: Vec<_> = (0..12).map(|i| Duration::from_millis(126 + 4 * i)).collect();
    let pair = Samples { name: "node", base: &base, new: &new, min_abs: None };
    let options = SampleOptions::default();
    assert_eq!(compare_all(std::slice::from_ref(&pair), &options)[0].verdict, Verdict::Regressed);
    let among_many = compare_all(&vec![pair; 40], &options);
    assert!(among_many.iter().all(|told| told.verdict == Verdict::Inconclusive), "{among_many:?}");
}

#[test]
fn a_doubled_tail_is_seen_where_the_median_stands_still() {
    let base: Vec<_> =
        (0..200).map(|i| Duration::from_millis(if i % 10 == 0 { 100 } else { 10 + i % 3 })).collect();
    let new: Vec<_> =
        (0..200).map(|i| Duration::from_millis(if i % 10 == 0 { 200 } else { 10 + i % 3 })).collect();
    let told = compare_samples("node", &base, &new, &SampleOptions::default());
    assert_eq!(told.verdict, Verdict::Unchanged);
    assert_eq!(told.tails.len(), 1, "P99 needs 500");
    assert_eq!((told.tails[0].quantile, told.tails[0].verdict), (0.95, Verdict::Regressed));
}

#[test]
fn a_large_share_of_little_is_no_news() {
    let micros = |from: u64| (0..20).map(|i| Duration::from_nanos(1000 * from + i)).collect::<Vec<_>>();
    let told = compare_samples("node", &micros(10), &micros(14), &SampleOptions::default());
    assert_eq!(told.verdict, Verdict::Unchanged);
    assert!(told.is_below_min_abs);
}
