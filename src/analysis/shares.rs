//! Which nodes take most of the time, by the simplest measure: each one's total as a share of all totals.
//!
//! A node inside another is counted in both, so this says where time was spent, not what made the run long; for
//! that see [`critical_path`](super::critical_path).

use std::cmp::Reverse;
use std::sync::Arc;

use crate::time::Duration;

/// One node's part in the sum of all nodes' totals.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The node.
    pub node: Arc<str>,
    /// How long its executions took together.
    pub total: Duration,
    /// How many there were.
    pub calls: u64,
    /// Its total as a percentage of the sum of all totals; 0 where that sum is zero.
    pub percent_of_total: f64,
}

/// The share of every node, highest total first, in the given order on ties. So the first is the slowest node.
/// O(n log n).
pub fn shares(totals: &[(Arc<str>, Duration, u64)]) -> Vec<Share> {
    let sum: u128 = totals.iter().map(|(_, total, _)| u128::from(total.as_nanos())).sum();
    let percent = |total: Duration| match sum {
        0 => 0.0,
        sum => total.as_nanos() as f64 * 100.0 / sum as f64,
    };
    let mut shares: Vec<_> = totals
        .iter()
        .map(|(node, total, calls)| Share {
            node: node.clone(),
            total: *total,
            calls: *calls,
            percent_of_total: percent(*total),
        })
        .collect();
    shares.sort_by_key(|share| Reverse(share.total));
    shares
}

/// The nodes whose share is strictly above `threshold_percent`, highest total first. None where all totals are
/// zero. A node alone has 100 %; of two equal ones neither is above 50 %.
pub fn bottlenecks(totals: &[(Arc<str>, Duration, u64)], threshold_percent: f64) -> Vec<Share> {
    let mut shares = shares(totals);
    shares.retain(|share| !share.total.is_zero() && share.percent_of_total > threshold_percent);
    shares
}
