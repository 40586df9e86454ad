//! How the figures of a workflow went from run to run: levels, where they changed, and whether the latest run is odd.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::change_points::{ChangePointOptions, change_points, latest_state};
use crate::money::Money;
use crate::report::{Baseline, History};
use crate::run_list::ListedRun;
use crate::time::{Duration, Timestamp};

/// The name of the JSON form and its major version.
pub const SCHEMA: &str = "longpole.trend/1";

/// How the figures of a workflow went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// [`SCHEMA`].
    pub schema: String,
    /// The workflow.
    pub workflow: String,
    /// The runs that were looked at, oldest first.
    pub runs: Vec<TrendRun>,
    /// How many runs were left out because they have not ended or spans of them are missing.
    pub left_out_runs: u64,
    /// The figures, in the order they were asked for.
    pub metrics: Vec<MetricTrend>,
    /// The nodes with the most time on the critical path of a run, those of most runs first.
    pub longest_nodes: Vec<LongestNode>,
}

/// A node that was the longest of some runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongestNode {
    /// The node.
    pub node: String,
    /// Of how many runs.
    pub runs: u64,
    /// Whether it is that of the latest run.
    pub is_latest: bool,
}

/// A run of a trend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrendRun {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: Option<String>,
    /// When it started, RFC 3339 in UTC.
    pub started_at: String,
    /// When it started, exactly.
    pub start_unix_ns: Timestamp,
    /// The node with the most time on its critical path.
    pub longest_node: Option<String>,
}

impl TrendRun {
    /// As a list of runs has it.
    pub fn of(run: &ListedRun) -> Self {
        TrendRun {
            id: run.id.clone(),
            version: run.version.clone(),
            started_at: run.started_at.clone(),
            start_unix_ns: run.start_unix_ns,
            longest_node: run.longest_node.clone(),
        }
    }
}

/// One figure of each run; absent where a run does not have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Values {
    /// Lengths of time.
    #[serde(rename = "values_ns")]
    Times(Vec<Option<Duration>>),
    /// Amounts of money.
    #[serde(rename = "values_usd")]
    Amounts(Vec<Option<Money>>),
}

impl Values {
    /// The values as numbers, in nanoseconds or in dollars.
    fn numbers(&self) -> Vec<Option<f64>> {
        match self {
            Values::Times(values) => {
                values.iter().map(|value| value.map(|time| time.as_nanos() as f64)).collect()
            }
            Values::Amounts(values) => values.iter().map(|value| value.map(Money::as_usd)).collect(),
        }
    }

    /// A number as one of these values is told.
    pub fn figure(&self, number: f64) -> Figure {
        match self {
            Values::Times(_) => Figure::Time(Duration::from_nanos(number.max(0.0).round() as u64)),
            Values::Amounts(_) => Figure::Amount(Money::from_usd(number).unwrap_or_default()),
        }
    }
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Figure {
    /// A length of time.
    #[serde(rename = "ns")]
    Time(Duration),
    /// An amount of money.
    #[serde(rename = "usd")]
    Amount(Money),
}

/// How one figure went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricTrend {
    /// `wall`, `cost`, or the name of a node, whose executions in a run are taken together.
    pub metric: String,
    /// Its value in each run.
    #[serde(flatten)]
    pub values: Values,
    /// The latest value.
    pub latest: Option<Figure>,
    /// The median of those before it.
    pub usual: Option<Figure>,
    /// How much the latest is above the usual value, in per cent of that; absent where it is zero.
    pub change_percent: Option<f64>,
    /// Whether the latest value is odd: beyond the median of at least [`History::MIN_RUNS`] earlier ones by three
    /// median distances, and by at least 5 %.
    pub is_unusual: bool,
    /// How much the latest is above the one before it, in per cent of that.
    pub change_from_previous_percent: Option<f64>,
    /// Whether that is more than [`SIMPLE_RULE_PERCENT`]: a regression by the simple rule, which knows no noise.
    pub is_regression_by_simple_rule: bool,
    /// From which runs on it was another, oldest first.
    pub changes: Vec<LevelChange>,
    /// Whether the last of these changes is for the worse and began with one of the latest
    /// [`TrendOptions::recent`] runs.
    pub is_regressed: bool,
    /// By version, in the order in which they first ran; empty unless asked for.
    pub versions: Vec<VersionLevel>,
}

/// Above this a figure is worse than in the run before by the simple rule.
pub const SIMPLE_RULE_PERCENT: f64 = 20.0;

/// A run from which on a figure was another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelChange {
    /// The first run of the new level: its place in [`Trend::runs`].
    pub run: usize,
    /// The mean of the level before.
    pub before: Figure,
    /// The mean of the new level.
    pub after: Figure,
    /// The change in per cent of the level before; absent where that is zero.
    pub change_percent: Option<f64>,
    /// The chance of a difference so large if nothing had changed.
    pub p_value: f64,
}

/// What a figure was in the runs of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionLevel {
    /// The version; absent for runs without one.
    pub version: Option<String>,
    /// How many of its runs have the figure.
    pub runs: u64,
    /// The median.
    pub median: Figure,
    /// The least.
    pub min: Figure,
    /// The most.
    pub max: Figure,
}

/// How a trend is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrendOptions {
    /// How level changes are found.
    pub change_points: ChangePointOptions,
    /// A change is news if it began with one of so many latest runs. Default 10.
    pub recent: usize,
    /// Whether versions are told apart too.
    pub by_version: bool,
}

impl Default for TrendOptions {
    fn default() -> Self {
        TrendOptions { change_points: ChangePointOptions::default(), recent: 10, by_version: false }
    }
}

/// How these figures of the runs of a workflow went. Runs are oldest first; each figure has as many values as there are
/// runs, more are not looked at. O(n·w²) per figure for windows of w runs.
pub fn trend(
    workflow: &str,
    runs: Vec<TrendRun>,
    left_out_runs: u64,
    figures: Vec<(String, Values)>,
    options: &TrendOptions,
) -> Trend {
    let metrics = figures.into_iter().map(|(metric, values)| metric_trend(metric, values, &runs, options));
    Trend {
        schema: SCHEMA.to_owned(),
        workflow: workflow.to_owned(),
        metrics: metrics.collect(),
        longest_nodes: longest_nodes(&runs),
        runs,
        left_out_runs,
    }
}

fn longest_nodes(runs: &[TrendRun]) -> Vec<LongestNode> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for node in runs.iter().filter_map(|run| run.longest_node.as_deref()) {
        let count = counts.entry(node).or_default();
        *count = count.saturating_add(1);
    }
    let latest = runs.last().and_then(|run| run.longest_node.as_deref());
    let row = |(node, runs): (&str, u64)| LongestNode {
        node: node.to_owned(),
        runs,
        is_latest: latest == Some(node),
    };
    let mut rows: Vec<LongestNode> = counts.into_iter().map(row).collect();
    // Stable: equal ones stay in the order of their names.
    rows.sort_by_key(|row| std::cmp::Reverse(row.runs));
    rows
}

fn metric_trend(metric: String, values: Values, runs: &[TrendRun], options: &TrendOptions) -> MetricTrend {
    let numbers = values.numbers();
    // Runs without the figure are no part of its course.
    let present: Vec<(usize, f64)> = numbers
        .iter()
        .take(runs.len())
        .enumerate()
        .filter_map(|(at, number)| Some((at, (*number)?)))
        .collect();
    let series: Vec<f64> = present.iter().map(|(_, number)| *number).collect();
    let points = change_points(&series, &options.change_points);
    let is_regressed =
        latest_state(&series, &points, options.recent, 0.0).is_some_and(|state| state.is_regressed);
    let changes = points.iter().filter_map(|point| {
        Some(LevelChange {
            run: present.get(point.index)?.0,
            before: values.figure(point.mean_before),
            after: values.figure(point.mean_after),
            change_percent: percent(point.mean_before, point.mean_after),
            p_value: point.p_value,
        })
    });
    let changes = changes.collect();
    let (latest, earlier) = match series.split_last() {
        Some((latest, earlier)) => (Some(*latest), earlier),
        None => (None, &[][..]),
    };
    let usual = median(earlier);
    let from = |before: Option<f64>| percent(before?, latest?);
    let from_previous = from(earlier.last().copied());
    MetricTrend {
        latest: latest.map(|latest| values.figure(latest)),
        usual: usual.map(|usual| values.figure(usual)),
        change_percent: from(usual),
        is_unusual: latest.is_some_and(|latest| is_unusual(latest, earlier)),
        change_from_previous_percent: from_previous,
        is_regression_by_simple_rule: from_previous.is_some_and(|change| change > SIMPLE_RULE_PERCENT),
        changes,
        is_regressed,
        versions: if options.by_version { versions(&present, runs, &values) } else { Vec::new() },
        metric,
        values,
    }
}

fn is_unusual(latest: f64, earlier: &[f64]) -> bool {
    let Some(usual) = median(earlier).filter(|_| earlier.len() >= History::MIN_RUNS) else { return false };
    let distances: Vec<f64> = earlier.iter().map(|value| (value - usual).abs()).collect();
    let noise = median(&distances).unwrap_or(0.0);
    latest > usual + Baseline::NOISE * noise && latest >= usual * Baseline::LEAST_FACTOR
}

fn versions(present: &[(usize, f64)], runs: &[TrendRun], values: &Values) -> Vec<VersionLevel> {
    let mut order: Vec<&Option<String>> = Vec::new();
    let mut numbers: BTreeMap<&Option<String>, Vec<f64>> = BTreeMap::new();
    for (run, number) in present.iter().filter_map(|(at, number)| Some((runs.get(*at)?, *number))) {
        if !numbers.contains_key(&run.version) {
            order.push(&run.version);
        }
        numbers.entry(&run.version).or_default().push(number);
    }
    let level = |version: &Option<String>| {
        let numbers = numbers.get(version)?;
        Some(VersionLevel {
            version: version.clone(),
            runs: numbers.len() as u64,
            median: values.figure(median(numbers)?),
            min: values.figure(numbers.iter().copied().reduce(f64::min)?),
            max: values.figure(numbers.iter().copied().reduce(f64::max)?),
        })
    };
    order.into_iter().filter_map(level).collect()
}

fn percent(before: f64, after: f64) -> Option<f64> {
    (before > 0.0).then(|| 100.0 * (after - before) / before)
}

/// The middle value; of an even number the mean of the middle two.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(at: u64, version: &str) -> TrendRun {
        let start = Timestamp::from_unix_nanos(at * 1_000_000_000);
        TrendRun {
            id: format!("{at:032x}-0000000000000001"),
            version: Some(version.to_owned()),
            started_at: start.to_rfc3339(),
            start_unix_ns: start,
            longest_node: Some(if at < 6 { "draft" } else { "fetch" }.to_owned()),
        }
    }

    fn of(milliseconds: &[Option<u64>]) -> MetricTrend {
        let runs = (0..milliseconds.len() as u64).map(|at| run(at, if at < 6 { "1" } else { "2" })).collect();
        let values = milliseconds.iter().map(|value| value.map(Duration::from_millis)).collect();
        let options = TrendOptions { by_version: true, ..TrendOptions::default() };
        let figures = vec![("wall".to_owned(), Values::Times(values))];
        trend("desk", runs, 0, figures, &options).metrics.remove(0)
    }

    #[test]
    fn a_step_is_told_with_the_run_it_began_with_and_runs_without_the_figure_do_not_count() {
        // Level 100 in runs 0 to 6 (run 3 has none), level 150 from run 7 on.
        let wall =
            of(&[100, 101, 99, 0, 100, 102, 98, 150, 151, 149, 150, 152, 148]
                .map(|it| (it > 0).then_some(it)));
        let [change] = &wall.changes[..] else { panic!("{wall:?}") };
        assert_eq!(
            (change.run, change.before, change.after),
            (7, Figure::Time(Duration::from_millis(100)), Figure::Time(Duration::from_millis(150)))
        );
        assert_eq!(change.change_percent, Some(50.0));
        // Their median distance from the median below is 4, so that 148 is no noise to all earlier runs together.
        assert!(wall.is_regressed && wall.is_unusual);
        // Earlier: 98 99 100 100 101 102 | 149 150 150 151 152: the sixth of eleven is 102.
        assert_eq!(wall.usual, Some(Figure::Time(Duration::from_millis(102))));
        assert_eq!(wall.versions.len(), 2);
        assert_eq!(
            (wall.versions[0].runs, wall.versions[0].median),
            (5, Figure::Time(Duration::from_millis(100)))
        );
    }

    #[test]
    fn the_longest_nodes_are_counted_and_the_latest_is_known() {
        let runs = (0..9).map(|at| run(at, "1")).collect();
        let told = trend("desk", runs, 0, Vec::new(), &TrendOptions::default()).longest_nodes;
        let told: Vec<_> = told.iter().map(|row| (row.node.as_str(), row.runs, row.is_latest)).collect();
        assert_eq!(told, [("draft", 6, false), ("fetch", 3, true)]);
    }

    #[test]
    fn one_odd_run_is_unusual_and_no_new_level() {
        let wall = of(&[100, 101, 99, 100, 102, 98, 130].map(Some));
        assert!(wall.is_unusual && wall.changes.is_empty() && !wall.is_regressed);
        assert_eq!(wall.change_percent, Some(30.0));
        // 98 to 130 is a third more; the simple rule says so whatever the noise.
        assert!(wall.is_regression_by_simple_rule);
        assert!(!of(&[100, 120].map(Some)).is_regression_by_simple_rule, "exactly 20 % is not more");
        assert!(!of(&[100, 101, 99, 100, 104].map(Some)).is_unusual, "four earlier runs are too few");
        let empty = of(&[]);
        assert_eq!((empty.latest, empty.usual, empty.change_percent), (None, None, None));
    }
}
