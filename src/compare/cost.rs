//! How the cost of a run changed, and which nodes and models that comes from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::contributions::apportion;
use crate::money::Money;
use crate::report::Report;

/// How the cost of a run changed: by means of the runs whose cost is known.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostChange {
    /// In how many runs of the base the cost is known.
    pub base_runs: u64,
    /// In how many of the new runs.
    pub new_runs: u64,
    /// Whether some of those runs cost more than is known, or may have: the change may be another one then.
    pub is_lower_bound: bool,
    /// The base's mean, rounded half away from zero.
    pub base_mean_usd: Money,
    /// The new runs' mean.
    pub new_mean_usd: Money,
    /// The change of the mean, rounded half away from zero.
    pub change_usd: Money,
    /// The same as a share of the base's mean; absent where that is nothing, or less.
    pub change_ratio: Option<f64>,
    /// Where the change comes from, by node, largest change first. They add up to it exactly.
    pub nodes: Vec<CostContribution>,
    /// The same by model.
    pub models: Vec<CostContribution>,
}

/// A part of a change of cost.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostContribution {
    /// The node or the model; absent for what belongs to none.
    pub name: Option<String>,
    /// What it cost in a run of the base, on average.
    pub base_usd: Money,
    /// What it cost in a new run, on average.
    pub new_usd: Money,
    /// What it adds to the change of the mean.
    pub change_usd: Money,
}

/// Amounts of one run beyond 10¹² USD count as that, so that no sum and no product below overflows.
const MOST: i128 = 1_000_000_000_000_000_000_000_000;

/// By name the sums over the runs of both sides.
type Sums<'r> = BTreeMap<Option<&'r str>, [i128; 2]>;

/// `None` where a side has no run whose cost is known.
pub(super) fn cost_change(base: &[&Report], new: &[&Report]) -> Option<CostChange> {
    let mut counts = [0u64; 2];
    let mut totals = [Money::ZERO; 2];
    let (mut nodes, mut models) = (Sums::new(), Sums::new());
    let mut is_lower_bound = false;
    for (side, runs) in [base, new].into_iter().enumerate() {
        for report in runs {
            let Some(section) = &report.cost else { continue };
            let Some(total) = section.total_usd else { continue };
            if let (Some(count), Some(sum)) = (counts.get_mut(side), totals.get_mut(side)) {
                *count += 1;
                *sum = sum.saturating_add(total);
            }
            is_lower_bound |= section.is_lower_bound;
            for row in &section.nodes {
                add(&mut nodes, Some(&row.node), side, row.cost_usd);
            }
            add(&mut nodes, None, side, section.outside_nodes_usd);
            for row in &section.models {
                add(&mut models, row.model.as_deref(), side, row.cost_usd);
            }
        }
    }
    let [base_runs, new_runs] = counts;
    let [base_total, new_total] = totals;
    let (base_mean, new_mean) = (base_total.mean_of(base_runs)?, new_total.mean_of(new_runs)?);
    let (nodes, change) = contributions(nodes, counts);
    let (models, _) = contributions(models, counts);
    Some(CostChange {
        base_runs,
        new_runs,
        is_lower_bound,
        base_mean_usd: base_mean,
        new_mean_usd: new_mean,
        change_usd: change,
        change_ratio: (base_mean > Money::ZERO).then(|| change.as_usd() / base_mean.as_usd()),
        nodes,
        models,
    })
}

fn add<'r>(sums: &mut Sums<'r>, name: Option<&'r str>, side: usize, cost: Option<Money>) {
    if let (Some(cost), Some(sum)) = (cost, sums.entry(name).or_default().get_mut(side)) {
        *sum = sum.saturating_add(cost.as_picodollars().clamp(-MOST, MOST));
    }
}

/// The rows that are not nothing on both sides, and the change they add up to.
fn contributions(sums: Sums<'_>, counts: [u64; 2]) -> (Vec<CostContribution>, Money) {
    let [base_runs, new_runs] = counts.map(i128::from);
    let numerator =
        |[base, new]: &[i128; 2]| new.saturating_mul(base_runs).saturating_sub(base.saturating_mul(new_runs));
    let numerators: Vec<i128> = sums.values().map(numerator).collect();
    let (changes, total) = apportion(&numerators, base_runs.saturating_mul(new_runs));
    let mean = |sum: i128, count: u64| Money::from_picodollars(sum).mean_of(count).unwrap_or_default();
    let [base_count, new_count] = counts;
    let row = |((name, [base, new]), change): ((Option<&str>, [i128; 2]), i128)| CostContribution {
        name: name.map(str::to_owned),
        base_usd: mean(base, base_count),
        new_usd: mean(new, new_count),
        change_usd: Money::from_picodollars(change),
    };
    let rows = sums.into_iter().zip(changes).map(row);
    let mut rows: Vec<CostContribution> =
        rows.filter(|row| row.base_usd != Money::ZERO || row.new_usd != Money::ZERO).collect();
    rows.sort_by(|one, other| {
        let size = |row: &CostContribution| row.change_usd.as_picodollars().unsigned_abs();
        size(other).cmp(&size(one)).then_with(|| one.name.cmp(&other.name))
    });
    (rows, Money::from_picodollars(total))
}
