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

    /// Sends spans and analyses nothing in this process: no reports, no metrics of nodes, no callbacks, and roots carry
    /// no verdict; calls of models still carry what they cost. For services with so many spans that the analysis,
    /// which takes more time than all the rest, belongs elsewhere: the tool reads the same spans from a file or a
    /// backend's export. What asks for reports is told in [`Diagnostics::notes`](crate::Diagnostics::notes) and sees
    /// none.
    pub fn export_only(mut self) -> Self {
        self.analyses = false;
        self
    }

    /// Says what was asked for that only an analysis can give, and asks for it no longer.
    pub(super) fn settle_export_only(&mut self, notes: &mut Vec<String>) {
        if self.analyses {
            return;
        }
        let asked = [
            (self.keep_runs.take().is_some(), "keep_runs"),
            (!std::mem::take(&mut self.on_run).is_empty(), "on_run or report_to_stderr"),
            (!std::mem::take(&mut self.on_run_spans).is_empty(), "on_run_spans"),
            (!self.report.budgets.is_empty() || !self.on_budget.is_empty(), "budgets"),
        ];
        self.report.budgets = Default::default();
        self.on_budget.clear();
        for (_, what) in asked.iter().filter(|(is_asked, _)| *is_asked) {
            notes.push(format!("export_only() leaves nothing for {what} to work on"));
        }
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
