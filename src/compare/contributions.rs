//! Which nodes the change of the run's length comes from: shares that add up to it exactly.
//!
//! A run's critical path tiles its wall time, so the change of a mean wall time is the sum of the changes of the
//! nodes' mean path times and of the time without a node. Means are fractions; what is told are whole nanoseconds,
//! rounded by the method of largest remainders so that they still add up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::time::Duration;

/// What one node contributes to the change of the mean wall time.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The node; absent for path time that belongs to none.
    pub node: Option<String>,
    /// Its mean time on the critical path in the base, rounded half up; runs without it count as zero.
    pub base_ns: Duration,
    /// The same in the new runs.
    pub new_ns: Duration,
    /// The change of the mean. All changes add up to [`super::WallChange::change_ns`].
    pub change_ns: i64,
}

/// The contributions and their sum, largest change first, then by name.
pub(super) fn contributions(base: &[&Report], new: &[&Report]) -> (Vec<Contribution>, i64) {
    if base.is_empty() || new.is_empty() {
        return (Vec::new(), 0);
    }
    let mut times: BTreeMap<Option<&str>, [i128; 2]> = BTreeMap::from([(None, [0, 0])]);
    for (side, runs) in [base, new].into_iter().enumerate() {
        for report in runs {
            let mut rest = i128::from(report.run.wall_ns.as_nanos());
            for node in &report.nodes {
                let on_path = i128::from(node.on_path_ns.as_nanos());
                rest -= on_path;
                add(&mut times, Some(&node.name), side, on_path);
            }
            add(&mut times, None, side, rest);
        }
    }
    let counts = [base.len() as i128, new.len() as i128];
    let denominator = counts[0] * counts[1];
    // new/n − base/b over the common denominator n·b.
    let changes: Vec<i128> = times.values().map(|[base, new]| new * counts[0] - base * counts[1]).collect();
    let (rounded, total) = apportion(&changes, denominator);
    let mean = |sum: i128, count: i128| {
        Duration::from_nanos(u64::try_from((2 * sum.max(0) + count) / (2 * count)).unwrap_or(u64::MAX))
    };
    let row = |((node, [base, new]), change): ((Option<&str>, [i128; 2]), i128)| Contribution {
        node: node.map(str::to_owned),
        base_ns: mean(base, counts[0]),
        new_ns: mean(new, counts[1]),
        change_ns: whole(change),
    };
    let mut rows: Vec<Contribution> = times.into_iter().zip(rounded).map(row).collect();
    rows.sort_by(|one, other| {
        let size = |row: &Contribution| row.change_ns.unsigned_abs();
        size(other).cmp(&size(one)).then_with(|| one.node.cmp(&other.node))
    });
    (rows, whole(total))
}

fn add<'r>(times: &mut BTreeMap<Option<&'r str>, [i128; 2]>, node: Option<&'r str>, side: usize, time: i128) {
    if let Some(sum) = times.entry(node).or_default().get_mut(side) {
        *sum += time;
    }
}

/// Whole numbers near `numerators / denominator` that add up to their rounded sum, which comes with them.
///
/// Each is cut towards zero; what is missing goes to those that lost most, the first of equals. Negating all
/// numerators negates all results.
pub(super) fn apportion(numerators: &[i128], denominator: i128) -> (Vec<i128>, i128) {
    let sum: i128 = numerators.iter().sum();
    let total = (2 * sum.abs() + denominator) / (2 * denominator) * sum.signum();
    let mut parts: Vec<i128> = numerators.iter().map(|numerator| numerator / denominator).collect();
    let missing = total - parts.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..numerators.len()).collect();
    let lost = |index: &usize| {
        let remainder = numerators.get(*index).map_or(0, |numerator| numerator % denominator);
        std::cmp::Reverse(remainder * missing.signum())
    };
    order.sort_by_key(lost);
    for index in order.into_iter().take(usize::try_from(missing.abs()).unwrap_or(usize::MAX)) {
        if let Some(part) = parts.get_mut(index) {
            *part += missing.signum();
        }
    }
    (parts, total)
}

fn whole(part: i128) -> i64 {
    i64::try_from(part).unwrap_or(if part < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_rounded_whole() {
        // 10/3, 10/3, 10/3: 10 in all, and the first gets what is missing.
        assert_eq!(apportion(&[10, 10, 10], 3), (vec![4, 3, 3], 10));
        // 5/3, −4/3, 1/3: 2/3 in all, rounded to 1; cut to 1, −1, 0, so the 5/3 gets one more.
        assert_eq!(apportion(&[5, -4, 1], 3), (vec![2, -1, 0], 1));
        assert_eq!(apportion(&[-5, 4, -1], 3), (vec![-2, 1, 0], -1));
        assert_eq!(apportion(&[1], 2), (vec![1], 1), "half away from zero");
        assert_eq!(apportion(&[], 1), (vec![], 0));
    }
}
