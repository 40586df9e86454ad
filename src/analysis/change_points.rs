//! Where a history of one figure, run after run, moved to another level.
//!
//! E-divisive (Matteson, James 2014) as Hunter uses it (Fleming et al. 2023): a series is cut where the values before
//! and after differ most by their energy distance, window by window, with a Student t test to decide, at first a
//! lenient one; then the weakest cuts are taken back until all that stay are sure and large enough. No random
//! numbers: the same series gives the same answer.
//!
//! Two runs say nothing about their spread, and a clock that happens to repeat itself has none. So a level is at
//! least [`MIN_LEVEL`] runs, and its spread is taken as at least [`MIN_SPREAD_RATIO`] of its mean. Two outliers in a
//! row are no level; a slow drift is told as several steps.

use serde::{Deserialize, Serialize};

use super::probability::student_t_two_sided;

/// How many runs a level has at least.
pub const MIN_LEVEL: usize = 3;
/// The least standard deviation a level is taken to have, as a share of its mean.
pub const MIN_SPREAD_RATIO: f64 = 0.005;

/// How change points are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePointOptions {
    /// The series is looked at in windows of so many runs, each half a window after the one before: smaller finds
    /// short levels, larger small changes. At least twice [`MIN_LEVEL`]. Default 50.
    pub window: usize,
    /// The chance of a difference so large by chance, below which a change counts. Default 0.001.
    pub max_p_value: f64,
    /// The least change that counts, as a share of the level it comes from or goes to. Default 0.05.
    pub min_magnitude_ratio: f64,
}

impl Default for ChangePointOptions {
    fn default() -> Self {
        ChangePointOptions { window: 50, max_p_value: 0.001, min_magnitude_ratio: 0.05 }
    }
}

/// A run from which on the figure was another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// The first run of the new level, counted from 0.
    pub index: usize,
    /// The mean of the level before.
    pub mean_before: f64,
    /// The mean of the new level.
    pub mean_after: f64,
    /// The chance of a difference so large if nothing had changed (Student's t, two-sided).
    pub p_value: f64,
}

impl ChangePoint {
    /// The change as a share of the lesser level; infinite where that is zero.
    pub fn magnitude_ratio(&self) -> f64 {
        let (before, after) = (self.mean_before, self.mean_after);
        if before == after {
            return 0.0;
        }
        (after / before - 1.0).abs().max((before / after - 1.0).abs())
    }
}

/// The level of the newest runs, and whether it is a worse one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatestState {
    /// The mean since the last change point.
    pub mean: f64,
    /// How many runs it has lasted.
    pub runs: usize,
    /// The change that led to it; absent if there was none.
    pub since: Option<ChangePoint>,
    /// Whether that change was within the newest runs asked about, and for the worse.
    pub is_regressed: bool,
}

/// Where `series` changes its level, earliest first. Values that are not finite are taken for the one before.
///
/// O(n·w²) time for windows of w and O(w²) memory.
pub fn change_points(series: &[f64], options: &ChangePointOptions) -> Vec<ChangePoint> {
    let series = &filled(series)[..];
    let window = options.window.max(2 * MIN_LEVEL);
    let mut cuts: Vec<usize> = Vec::new();
    let mut start = 0;
    while start < series.len() {
        let end = start.saturating_add(window).min(series.len());
        let found = cuts_in(series.get(start..end).unwrap_or_default(), lenient(options.max_p_value));
        let last = found.last().map_or(0, |cut| start + cut);
        cuts.extend(found.iter().map(|cut| start + cut));
        start = last.max(start + window / 2);
    }
    cuts.sort_unstable();
    cuts.dedup();
    sure_points(series, cuts, options)
}

/// The threshold of the first pass: what looks weak in a window may be sure in the whole series.
fn lenient(max_p_value: f64) -> f64 {
    match max_p_value {
        strict if strict < 0.05 => strict * 10.0,
        middling if middling < 0.5 => middling * 2.0,
        any => any,
    }
}

/// The newest level of `series` given its [`change_points`]; `None` for an empty series. It is a regression if it
/// began within the newest `recent` runs (10 is usual) and its mean is more than `delta_ratio` above the one before.
pub fn latest_state(
    series: &[f64],
    points: &[ChangePoint],
    recent: usize,
    delta_ratio: f64,
) -> Option<LatestState> {
    let since = points.last().copied();
    let series = filled(series);
    let level = series.get(since.map_or(0, |point| point.index)..).filter(|level| !level.is_empty())?;
    let is_recent = level.len() <= recent;
    let is_worse =
        since.is_some_and(|point| point.mean_after > point.mean_before * (1.0 + delta_ratio.max(0.0)));
    Some(LatestState { mean: mean(level), runs: level.len(), since, is_regressed: is_recent && is_worse })
}

fn filled(series: &[f64]) -> Vec<f64> {
    let first = series.iter().copied().find(|value| value.is_finite()).unwrap_or_default();
    let fill = |last: &mut f64, value: &f64| {
        if value.is_finite() {
            *last = *value;
        }
        Some(*last)
    };
    series.iter().scan(first, fill).collect()
}

/// Cuts one window at its best place, then its parts, as long as the best cut of all parts is significant.
fn cuts_in(window: &[f64], max_p_value: f64) -> Vec<usize> {
    let distances = PairDistances::new(window);
    let mut cuts: Vec<usize> = Vec::new();
    // The best cut of each part; a part whose neighbours are cut stays what it is.
    let mut parts = vec![(0, window.len(), distances.best_cut(0, window.len()))];
    loop {
        let best = parts.iter().enumerate().filter_map(|(at, (.., best))| Some((at, (*best)?)));
        let Some((at, (cut, _))) = best.reduce(|one, other| if other.1.1 > one.1.1 { other } else { one })
        else {
            break;
        };
        let Some(&(start, end, _)) = parts.get(at) else { break };
        if point_at(window, start, cut, end).p_value > max_p_value {
            break;
        }
        let halves = [(start, cut), (cut, end)].map(|(from, to)| (from, to, distances.best_cut(from, to)));
        parts.splice(at..=at, halves);
        cuts.push(cut);
    }
    cuts.sort_unstable();
    cuts
}

/// Sums of |x − y| over rectangles of pairs of one window.
struct PairDistances {
    /// One more than the window has values: row and column 0 are zero.
    side: usize,
    sums: Vec<f64>,
}

impl PairDistances {
    fn new(window: &[f64]) -> Self {
        let side = window.len() + 1;
        let mut sums = vec![0.0; side];
        for row in window {
            let above = sums.get(sums.len() - side..).unwrap_or_default().to_vec();
            let mut along = 0.0;
            sums.push(0.0);
            for (column, upper) in window.iter().zip(above.iter().skip(1)) {
                along += (row - column).abs();
                sums.push(upper + along);
            }
        }
        PairDistances { side, sums }
    }

    /// Over all pairs of one value of `rows` and one of `columns`, each from (inclusive) to (exclusive).
    fn between(&self, rows: (usize, usize), columns: (usize, usize)) -> f64 {
        let corner =
            |row: usize, column: usize| self.sums.get(row * self.side + column).copied().unwrap_or_default();
        corner(rows.1, columns.1) - corner(rows.0, columns.1) - corner(rows.1, columns.0)
            + corner(rows.0, columns.0)
    }

    /// The energy distance of start..cut and cut..end, weighted by how many values they are.
    fn energy(&self, start: usize, cut: usize, end: usize) -> f64 {
        let (m, n) = ((cut - start) as f64, (end - cut) as f64);
        let pairs = |count: f64| count * (count - 1.0);
        let within = |sum: f64, count: f64| if count > 1.0 { sum / pairs(count) } else { 0.0 };
        let across = 2.0 * self.between((start, cut), (cut, end)) / (m * n);
        let left = within(self.between((start, cut), (start, cut)), m);
        let right = within(self.between((cut, end), (cut, end)), n);
        m * n / (m + n) * (across - left - right)
    }

    /// The cut between `start` and `end` that separates best what is before it from some stretch behind it, and how
    /// well. `None` where a part would be shorter than a level.
    fn best_cut(&self, start: usize, end: usize) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        for cut in start + MIN_LEVEL..(end + 1).saturating_sub(MIN_LEVEL) {
            for until in cut + MIN_LEVEL..=end {
                let energy = self.energy(start, cut, until);
                if best.is_none_or(|(_, most)| energy > most) {
                    best = Some((cut, energy));
                }
            }
        }
        best
    }
}

/// Takes cuts back until every one left is sure, then until every one is large.
fn sure_points(series: &[f64], cuts: Vec<usize>, options: &ChangePointOptions) -> Vec<ChangePoint> {
    let mut cuts = cuts;
    loop {
        let points = points_of(series, &cuts);
        let least_sure = points.iter().max_by(|one, other| one.p_value.total_cmp(&other.p_value));
        let smallest =
            points.iter().min_by(|one, other| one.magnitude_ratio().total_cmp(&other.magnitude_ratio()));
        let (Some(least_sure), Some(smallest)) = (least_sure, smallest) else { return points };
        let weakest = if least_sure.p_value >= options.max_p_value {
            least_sure.index
        } else if smallest.magnitude_ratio() <= options.min_magnitude_ratio {
            smallest.index
        } else {
            return points;
        };
        cuts.retain(|cut| *cut != weakest);
    }
}

fn points_of(series: &[f64], cuts: &[usize]) -> Vec<ChangePoint> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().skip(1).chain(std::iter::once(series.len()));
    starts.zip(cuts).zip(ends).map(|((start, cut), end)| point_at(series, start, *cut, end)).collect()
}

/// How sure and how large the change at `cut` is, between the levels start..cut and cut..end.
fn point_at(series: &[f64], start: usize, cut: usize, end: usize) -> ChangePoint {
    let (before, after) =
        (series.get(start..cut).unwrap_or_default(), series.get(cut..end).unwrap_or_default());
    let (mean_before, mean_after) = (mean(before), mean(after));
    ChangePoint { index: cut, mean_before, mean_after, p_value: t_test(before, after) }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Student's t test with pooled variance, two-sided; 1 where a side is shorter than a level.
fn t_test(before: &[f64], after: &[f64]) -> f64 {
    if before.len() < MIN_LEVEL || after.len() < MIN_LEVEL {
        return 1.0;
    }
    let of = |values: &[f64]| {
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let degrees = values.len() as f64 - 1.0;
        let floor = MIN_SPREAD_RATIO * mean.abs();
        (mean, (squares / degrees).max(floor * floor), degrees)
    };
    let ((mean_before, variance_before, degrees_before), (mean_after, variance_after, degrees_after)) =
        (of(before), of(after));
    let degrees = degrees_before + degrees_after;
    let pooled = (variance_before * degrees_before + variance_after * degrees_after) / degrees;
    let error = (pooled * (1.0 / before.len() as f64 + 1.0 / after.len() as f64)).sqrt();
    if mean_before == mean_after {
        return 1.0;
    }
    student_t_two_sided((mean_after - mean_before) / error, degrees)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(series: &[f64]) -> Vec<usize> {
        change_points(series, &ChangePointOptions::default()).iter().map(|point| point.index).collect()
    }

    /// ab | ba: across 2·(|a−b| sums)…; worked out for 0 0 0 | 6 6 6: across 2·54/9 = 12, within 0, weight 9/6.
    #[test]
    fn energy_is_that_of_the_definition() {
        let distances = PairDistances::new(&[0.0, 0.0, 0.0, 6.0, 6.0, 6.0]);
        assert_eq!(distances.energy(0, 3, 6), 18.0);
        assert_eq!(distances.best_cut(0, 6), Some((3, 18.0)));
        assert_eq!(distances.best_cut(0, 5), None, "too short for two levels");
        // 1 | 3 5: across 2·(2 + 4)/2 = 6, within 0 and 2, weight 2/3.
        let distances = PairDistances::new(&[1.0, 3.0, 5.0]);
        assert!((distances.energy(0, 1, 3) - 8.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_level_is_at_least_three_runs() {
        assert!(indices(&[1.0, 1.0, 2.0]).is_empty());
        assert!(indices(&[10.0, 10.0, 10.0, 20.0, 20.0]).is_empty());
        assert_eq!(indices(&[10.0, 10.0, 10.0, 20.0, 20.0, 20.0]), [3]);
    }

    #[test]
    fn a_repeated_figure_is_not_taken_for_certainty() {
        let mut series = vec![1000.0; 6];
        series.extend([1001.0; 6]);
        let options = ChangePointOptions { min_magnitude_ratio: 0.0, ..ChangePointOptions::default() };
        assert!(change_points(&series, &options).is_empty());
    }

    #[test]
    fn the_latest_level_is_a_regression_if_it_is_recent_and_worse() {
        let level = |mean: f64, runs: usize| (0..runs).map(move |run| mean + (run % 3) as f64);
        let state = |first: f64, second: f64, runs: usize| {
            let series: Vec<f64> = level(first, 30).chain(level(second, runs)).collect();
            let points = change_points(&series, &ChangePointOptions::default());
            latest_state(&series, &points, 10, 0.05).unwrap()
        };
        let worse = state(100.0, 150.0, 6);
        assert!(worse.is_regressed);
        assert_eq!((worse.mean, worse.runs, worse.since.unwrap().index), (151.0, 6, 30));
        assert!(!state(150.0, 100.0, 6).is_regressed, "better");
        assert!(!state(100.0, 150.0, 12).is_regressed, "long ago");
        assert_eq!(state(100.0, 100.0, 12).since, None);
        assert_eq!(latest_state(&[], &[], 10, 0.05), None);
    }

    #[test]
    fn what_is_not_a_number_changes_nothing() {
        assert!(indices(&[f64::NAN; 20]).is_empty());
        let mut series = vec![10.0, 10.1, 9.9, 10.0, 10.1, f64::NAN, 9.9, f64::INFINITY];
        series.extend([20.0, 20.1, 19.9, 20.0, 20.1, 19.9]);
        assert_eq!(indices(&series), [8]);
    }
}
