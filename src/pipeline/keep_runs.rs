//! Which runs are worth sending, decided when they have ended.

use crate::aggregate::Aggregates;
use crate::money::Money;
use crate::random::random_id;
use crate::report::sums::RunSums;

/// Which runs are sent to a backend, by how they ended: those that failed, and as many of the others as are asked
/// for. See [`Builder::keep_runs`](crate::Builder::keep_runs).
///
/// ```
/// use longpole::KeepRuns;
///
/// // What failed, what was slower than usual, what cost more than 50 cents, and one in a hundred of the rest.
/// let keep = KeepRuns::failed().slow(true).costlier_than_usd(0.5).one_in(100);
/// # let _ = longpole::builder().keep_runs(keep);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct KeepRuns {
    slow: bool,
    costlier_than: Option<Money>,
    one_in: Option<u32>,
}

/// So many earlier executions a node must have before one of it can be slow.
const MIN_EARLIER: u64 = 10;

impl KeepRuns {
    /// Keeps runs that failed: whose root did, or any execution of a node, or that panicked, were cancelled or are
    /// incomplete.
    pub fn failed() -> Self {
        KeepRuns { slow: false, costlier_than: None, one_in: None }
    }

    /// Whether to keep runs too in which a node took longer than twice the 95th percentile of its earlier
    /// executions, of which there must be ten.
    pub fn slow(mut self, on: bool) -> Self {
        self.slow = on;
        self
    }

    /// Keeps runs too that cost more than this. What is no amount of money keeps none.
    pub fn costlier_than_usd(mut self, usd: f64) -> Self {
        self.costlier_than = Money::from_usd(usd);
        self
    }

    /// Keeps one in so many of the others, by chance. Zero keeps none of them, as does not calling this.
    pub fn one_in(mut self, count: u32) -> Self {
        self.one_in = Some(count).filter(|count| *count > 0);
        self
    }

    /// Whether a run is kept. `earlier`: the sums of the runs before it. `random`: any number.
    pub(crate) fn keeps(&self, run: &RunSums, is_complete: bool, earlier: &Aggregates, random: u64) -> bool {
        let failed = !is_complete
            || run.outcome != "ok"
            || run.nodes.iter().any(|node| node.failures > 0)
            || run.executions.iter().any(|execution| execution.outcome != "ok");
        let is_slow = |execution: &crate::report::sums::Execution| {
            earlier.node(&execution.node).is_some_and(|node| {
                node.calls >= MIN_EARLIER && execution.duration > earlier.suggest_timeout(&execution.node)
            })
        };
        let cost = || {
            let costs = run.nodes.iter().filter_map(|node| node.cost);
            costs.fold(Money::default(), Money::saturating_add)
        };
        failed
            || self.slow && run.executions.iter().any(is_slow)
            || self.costlier_than.is_some_and(|limit| cost() > limit)
            || self.one_in.is_some_and(|count| random.checked_rem(u64::from(count)) == Some(0))
    }

    /// The same with a number of its own.
    pub(crate) fn keeps_by_chance(&self, run: &RunSums, is_complete: bool, earlier: &Aggregates) -> bool {
        self.keeps(run, is_complete, earlier, random_id())
    }
}
