//! How runs are read and what is told about them.

use std::time::Duration;

use super::Builder;
use crate::run::RunOptions;

impl Builder {
    /// A node is a bottleneck in summaries if its share of the sum of all node times is strictly above this.
    /// Default 50.
    pub fn bottleneck_threshold_percent(mut self, percent: f64) -> Self {
        self.report.bottleneck_threshold_percent = percent;
        self
    }

    /// How long an execution of this node may take on average. One that takes longer is told, the more severely the
    /// longer, and [`Longpole::check_sla`](crate::Longpole::check_sla) answers for it. Zero sets no limit.
    pub fn sla(mut self, node: impl Into<String>, allowed: Duration) -> Self {
        let (node, allowed) = (node.into(), crate::time::Duration::from(allowed));
        if allowed.is_zero() {
            self.report.slas.remove(&node);
        } else {
            self.report.slas.insert(node, allowed);
        }
        self
    }

    /// How long an execution of any node without a limit of its own may take on average. Zero sets no limit, as
    /// does not calling this.
    pub fn slow_threshold(mut self, allowed: Duration) -> Self {
        self.report.slow_threshold =
            Some(allowed.into()).filter(|allowed: &crate::time::Duration| !allowed.is_zero());
        self
    }

    /// From how long on a span that keeps its thread without a break is told to block its executor. Default
    /// [`ReportOptions::BLOCKING_THRESHOLD`](crate::ReportOptions::BLOCKING_THRESHOLD).
    pub fn blocking_threshold(mut self, threshold: Duration) -> Self {
        self.report.blocking_threshold = threshold.into();
        self
    }

    /// How a run is made of its spans, where several readings are reasonable.
    pub fn run_options(mut self, options: RunOptions) -> Self {
        self.report.run = options;
        self
    }

    /// Also tells a node to vary much when its P99 is more than twice its mean, or its longest execution more than
    /// five times its shortest. By default only rules that few executions do not upset are used.
    pub fn simple_variance_rules(mut self, on: bool) -> Self {
        self.report.simple_variance_rules = on;
        self
    }

    /// Compares each run with those of the same workflow that ended before it, at most the last
    /// [`History::MAX_RUNS`](crate::report::History::MAX_RUNS): what is slower than usual, and which measure moved
    /// along.
    pub fn compare_with_earlier_runs(mut self) -> Self {
        self.compares_with_earlier_runs = true;
        self
    }
}
