//! What the runs of a group cost together, and each.

use crate::many_runs::report::GroupCost;
use crate::money::Money;
use crate::run_profile::RunCost;

/// Sums over all runs, and over the complete ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CostSums {
    total: Option<Money>,
    calls: u64,
    unpriced_calls: u64,
    lower_bound_runs: u64,
    complete_runs: u64,
    complete_total: Money,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl CostSums {
    pub(super) fn add(&mut self, cost: &RunCost, is_partial: bool) {
        self.merge(&CostSums {
            total: cost.total,
            calls: cost.calls,
            unpriced_calls: cost.unpriced_calls,
            lower_bound_runs: u64::from(cost.is_lower_bound),
            complete_runs: u64::from(cost.total.is_some() && !is_partial),
            complete_total: cost.total.filter(|_| !is_partial).unwrap_or_default(),
            input_tokens: cost.input_tokens,
            output_tokens: cost.output_tokens,
        });
    }

    pub(super) fn merge(&mut self, other: &CostSums) {
        self.total = sum(self.total, other.total, Money::saturating_add);
        self.calls = self.calls.saturating_add(other.calls);
        self.unpriced_calls = self.unpriced_calls.saturating_add(other.unpriced_calls);
        self.lower_bound_runs = self.lower_bound_runs.saturating_add(other.lower_bound_runs);
        self.complete_runs = self.complete_runs.saturating_add(other.complete_runs);
        self.complete_total = self.complete_total.saturating_add(other.complete_total);
        self.input_tokens = sum(self.input_tokens, other.input_tokens, u64::saturating_add);
        self.output_tokens = sum(self.output_tokens, other.output_tokens, u64::saturating_add);
    }

    /// The report; `None` where no run had a call, a cost or tokens. `costs` are those of kept runs.
    pub(super) fn report(&self, mut costs: Vec<Money>) -> Option<GroupCost> {
        let tells =
            self.calls > 0 || self.total.is_some() || self.output_tokens.or(self.input_tokens).is_some();
        costs.sort_unstable();
        let quantile = |percent: usize| {
            let rank = costs.len().saturating_mul(percent).div_ceil(100).max(1);
            costs.get(rank - 1).copied()
        };
        tells.then(|| GroupCost {
            total_usd: self.total,
            lower_bound_runs: self.lower_bound_runs,
            runs: self.complete_runs,
            mean_usd: self.complete_total.mean_of(self.complete_runs),
            p50_usd: quantile(50),
            p95_usd: quantile(95),
            calls: self.calls,
            unpriced_calls: self.unpriced_calls,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
        })
    }
}

fn sum<T>(left: Option<T>, right: Option<T>, add: fn(T, T) -> T) -> Option<T> {
    match (left, right) {
        (Some(left), Some(right)) => Some(add(left, right)),
        (left, right) => left.or(right),
    }
}
