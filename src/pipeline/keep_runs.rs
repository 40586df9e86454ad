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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TraceId;
    use crate::report::sums::{Execution, NodeSums};
    use crate::run_profile::RunProfile;
    use crate::time::{Duration, Timestamp};

    /// A run of one execution of `step` that took so long and cost so much.
    fn run(millis: u64, usd: f64) -> RunSums {
        let duration = Duration::from_millis(millis);
        let mut durations = crate::histogram::DurationStats::default();
        durations.record(duration);
        let step = NodeSums {
            name: "step".into(),
            counts_in_sum: true,
            durations,
            failures: 0,
            on_path: duration,
            self_time: duration,
            queued: Duration::ZERO,
            cost: Money::from_usd(usd),
        };
        let execution = Execution {
            node: "step".into(),
            depth: 1,
            outcome: "ok",
            error_type: None,
            duration,
            self_time: duration,
            busy: None,
            tokens: None,
            turns: None,
            span_id: None,
            end: Timestamp::EPOCH,
        };
        RunSums {
            calls: Vec::new(),
            charges: Vec::new(),
            agent_steps: Vec::new(),
            error_type: None,
            nodes: vec![step],
            executions: vec![execution],
            workflow: None,
            outcome: "ok",
            wall: duration,
            end: Timestamp::EPOCH,
            trace_id: TraceId::default(),
            root_span: None,
            is_sampled: true,
            profile: RunProfile::default(),
        }
    }

    /// So many runs of 100 ms.
    fn earlier(count: u64) -> Aggregates {
        let mut earlier = Aggregates::default();
        (0..count).for_each(|_| earlier.add_run(Duration::from_millis(100), run(100, 0.0).nodes));
        earlier
    }

    const ODD: u64 = 1;

    #[test]
    fn what_failed_in_any_way_is_kept() {
        let keep = KeepRuns::failed();
        let keeps = |run: &RunSums, is_complete| keep.keeps(run, is_complete, &earlier(0), ODD);
        assert!(!keeps(&run(1, 0.0), true));
        assert!(keeps(&run(1, 0.0), false), "incomplete");
        assert!(keeps(&RunSums { outcome: "error", ..run(1, 0.0) }, true));
        let mut failed = run(1, 0.0);
        failed.executions[0].outcome = "cancelled";
        assert!(keeps(&failed, true));
        let mut retried = run(1, 0.0);
        retried.nodes[0].failures = 1;
        assert!(keeps(&retried, true));
    }

    #[test]
    fn slow_is_more_than_twice_the_95th_percentile_of_ten_earlier_executions() {
        let keep = KeepRuns::failed().slow(true);
        let keeps = |millis, count| keep.keeps(&run(millis, 0.0), true, &earlier(count), ODD);
        // The histogram knows 100 ms within four percent.
        assert_eq!([190, 215].map(|millis| keeps(millis, 10)), [false, true]);
        assert!(!keeps(1_000, 9), "nine are too few to know what is usual");
        assert!(!KeepRuns::failed().keeps(&run(1_000, 0.0), true, &earlier(10), ODD));
    }

    #[test]
    fn expensive_is_more_than_the_limit() {
        let keep = KeepRuns::failed().costlier_than_usd(0.5);
        let keeps = |usd| keep.keeps(&run(1, usd), true, &earlier(0), ODD);
        assert_eq!([0.5, 0.500_001].map(keeps), [false, true]);
        assert!(!KeepRuns::failed().costlier_than_usd(f64::NAN).keeps(&run(1, 9.0), true, &earlier(0), ODD));
    }

    #[test]
    fn of_the_rest_one_in_so_many_is_kept() {
        let kept = |keep: &KeepRuns| {
            (0..1_000).filter(|number| keep.keeps(&run(1, 0.0), true, &earlier(0), *number)).count()
        };
        assert_eq!(kept(&KeepRuns::failed().one_in(10)), 100);
        assert_eq!(kept(&KeepRuns::failed().one_in(1)), 1_000);
        assert_eq!(kept(&KeepRuns::failed().one_in(0)), 0);
    }
}
