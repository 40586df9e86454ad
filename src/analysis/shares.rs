//! Nodes by their share of the sum of all nodes' times: the seeds' idea of a bottleneck.
//!
//! Nested nodes count twice in the sum, and with three balanced nodes none can be above half, so this is a figure
//! beside the critical path and not the verdict.

use std::sync::Arc;

use crate::time::Duration;

/// A node's part of the sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The node.
    pub node: Arc<str>,
    /// Sum of its executions.
    pub total: Duration,
    /// How many there were.
    pub calls: u64,
    /// Its total as a percentage of the sum; zero where the sum is zero.
    pub percent_of_total: f64,
}

/// The shares of nodes given as name, total and calls, in the same order.
pub fn shares(totals: &[(Arc<str>, Duration, u64)]) -> Vec<Share> {
    let sum: Duration = totals.iter().map(|(_, total, _)| *total).sum();
    let share = |(node, total, calls): &(Arc<str>, Duration, u64)| Share {
        node: node.clone(),
        total: *total,
        calls: *calls,
        percent_of_total: total.ratio_of(sum).unwrap_or(0.0) * 100.0,
    };
    totals.iter().map(share).collect()
}

/// The node with the highest total, the first on a tie; `None` if there are none.
pub fn slowest(shares: &[Share]) -> Option<&Share> {
    shares.iter().reduce(|slowest, share| if share.total > slowest.total { share } else { slowest })
}

/// The nodes strictly above `threshold_percent`, highest total first, ties in the given order.
pub fn bottlenecks(shares: &[Share], threshold_percent: f64) -> Vec<&Share> {
    let mut above: Vec<&Share> =
        shares.iter().filter(|share| share.percent_of_total > threshold_percent).collect();
    above.sort_by_key(|share| std::cmp::Reverse(share.total));
    above
}
