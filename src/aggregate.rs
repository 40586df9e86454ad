//! Sums over many runs, one row per node, bounded.
//!
//! Sums are kept, never averages of percentages: every share is a quotient of two sums at the moment it is asked for.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::analysis::variability::{
    DurationFigure, FIRST_TIMEOUT, Severity, ThresholdError, VarianceOptions, VarianceRule, high_variance,
    slow_execution, suggest_timeout,
};
use crate::hashing::QuickMap;
use crate::histogram::DurationStats;
use crate::money::Money;
use crate::report::booking::add_money;
use crate::report::build::{ReportOptions, duration_summary, report_with_sums, summary};
use crate::report::sums::NodeSums;
use crate::report::{Bottleneck, DurationSummary, Report, Summary};
use crate::run_assembler::FinishedRun;
pub(crate) use crate::run_profile::OTHER_NODES;
use crate::span_record::SpanRecord;
use crate::time::Duration;

/// One node over many runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeTotals {
    /// The node.
    pub name: String,
    /// In how many runs it ran.
    pub runs: u64,
    /// How many executions it had.
    pub calls: u64,
    /// How many of them failed.
    pub failures: u64,
    /// How long they took, queueing included.
    pub duration: DurationSummary,
    /// Its time on the critical paths.
    pub on_path_ns: Duration,
    /// Time in which no nested node ran.
    pub self_ns: Duration,
    /// How long its executions waited before they ran.
    pub queued_ns: Duration,
    /// Its total as a share of the sum of all nodes' totals.
    pub sum_ratio: f64,
    /// Its total as a share of all runs' wall time.
    pub wall_ratio: f64,
    /// Its path time as a share of all runs' wall time.
    pub critical_path_ratio: f64,
    /// What it cost; absent where nothing recorded a cost.
    pub cost_usd: Option<Money>,
}

/// A node that is slow, or whose durations vary much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowNode {
    /// The node.
    pub name: String,
    /// By how much its average is above the threshold; absent if it is not (`slow_execution`).
    pub severity: Option<Severity>,
    /// The rules by which its durations vary much (`high_variance`); empty if they do not.
    pub varies: Vec<VarianceRule>,
    /// How long its executions took.
    pub duration: DurationSummary,
    /// How many there were.
    pub calls: u64,
}

/// What a node took against what it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaCheck {
    /// How long an execution may take on average.
    pub sla_ns: Duration,
    /// How long executions took on average.
    pub average_ns: Duration,
    /// 95 % of them took at most this.
    pub p95_ns: Duration,
    /// Whether the average is at most what is allowed.
    pub is_met: bool,
}

/// Sums over runs.
#[derive(Debug, Default)]
pub struct Aggregates {
    /// In order of first recording.
    nodes: Vec<Row>,
    index: QuickMap<Arc<str>, usize>,
    wall: Duration,
}

#[derive(Debug, Default)]
struct Row {
    sums: NodeSums,
    runs: u64,
    total_in_sum: Duration,
    calls_in_sum: u64,
}

/// How many nodes have a row of their own; the rest share [`OTHER_NODES`].
pub(crate) const MAX_NODES: usize = 2_000;

impl Aggregates {
    /// Reports on a finished run and adds it to the sums; `None` if it has no spans.
    pub fn report_on_run(&mut self, finished: FinishedRun, options: &ReportOptions) -> Option<Report> {
        let (report, sums) = report_with_sums(finished, options)?;
        self.add_run(report.run.wall_ns, sums.nodes);
        Some(report)
    }

    /// Adds what a run whose report is made already adds up to.
    pub(crate) fn add_run(&mut self, wall: Duration, nodes: Vec<NodeSums>) {
        self.wall = self.wall.saturating_add(wall);
        for node in nodes {
            let row = self.row(&node.name);
            row.runs = row.runs.saturating_add(1);
            row.add(&node);
        }
    }

    /// Adds one execution of a node that was only timed.
    pub fn add_timed_node(&mut self, name: &Arc<str>, took: Duration) {
        let mut durations = DurationStats::default();
        durations.record(took);
        let node = NodeSums { counts_in_sum: true, durations, ..NodeSums::default() };
        self.row(name).add(&node);
    }

    /// Adds a span that its run had no room for.
    pub fn add_left_out(&mut self, record: &SpanRecord) {
        let Some(name) = record.node_id() else { return };
        let mut durations = DurationStats::default();
        durations.record(record.end.saturating_since(record.start));
        let node = NodeSums {
            counts_in_sum: true,
            durations,
            failures: u64::from(record.failed()),
            queued: record.timing.queued,
            // What an agent or a workflow tells repeats its calls, which may have had room.
            cost: record
                .facts
                .as_ref()
                .filter(|facts| facts.operation.is_none() || facts.is_inference())
                .and_then(|facts| facts.cost),
            ..NodeSums::default()
        };
        self.row(&name).add(&node);
    }

    fn row(&mut self, name: &Arc<str>) -> &mut Row {
        let name = if self.index.contains_key(name) || self.nodes.len() < MAX_NODES {
            name.clone()
        } else {
            OTHER_NODES.into()
        };
        let at = *self.index.entry(name.clone()).or_insert_with(|| {
            self.nodes.push(Row { sums: NodeSums { name, ..NodeSums::default() }, ..Row::default() });
            self.nodes.len() - 1
        });
        &mut self.nodes[at]
    }

    /// Total node time, the slowest node, and the nodes strictly above `threshold_percent` of the sum.
    pub fn summary(&self, threshold_percent: f64) -> Summary {
        let counted = self.nodes.iter().filter(|row| row.calls_in_sum > 0);
        let totals = counted.map(|row| (row.sums.name.clone(), row.total_in_sum, row.calls_in_sum));
        summary(totals.collect(), threshold_percent)
    }

    /// The nodes whose average is strictly above `threshold`, and those whose durations vary much; the worst first,
    /// then the slowest.
    ///
    /// # Errors
    ///
    /// [`ThresholdError`] if the threshold is zero.
    pub fn slow_nodes(
        &self,
        threshold: Duration,
        variance: &VarianceOptions,
    ) -> Result<Vec<SlowNode>, ThresholdError> {
        let mut slow = Vec::new();
        for row in &self.nodes {
            let durations = &row.sums.durations;
            let severity = slow_execution(durations, DurationFigure::Mean, threshold)?;
            let varies = high_variance(durations, variance);
            if severity.is_some() || !varies.is_empty() {
                slow.push(SlowNode {
                    name: row.sums.name.to_string(),
                    severity,
                    varies,
                    duration: duration_summary(durations),
                    calls: durations.count(),
                });
            }
        }
        slow.sort_by(|a, b| {
            let order = |node: &SlowNode| Reverse((node.severity, node.duration.avg_ns));
            order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name))
        });
        Ok(slow)
    }

    /// Whether executions of a node took at most `sla` on average; `None` if it never ran.
    pub fn check_sla(&self, node: &str, sla: Duration) -> Option<SlaCheck> {
        let durations = &self.nodes[*self.index.get(node)?].sums.durations;
        let average_ns = durations.mean()?;
        let p95_ns = durations.quantile(0.95)?;
        Some(SlaCheck { sla_ns: sla, average_ns, p95_ns, is_met: average_ns <= sla })
    }

    /// How long to wait for an execution of a node before giving up: twice its 95th percentile;
    /// [`FIRST_TIMEOUT`], 5 s, before its first.
    pub fn suggest_timeout(&self, node: &str) -> Duration {
        let durations = self.index.get(node).map(|at| &self.nodes[*at].sums.durations);
        durations.map_or(FIRST_TIMEOUT, suggest_timeout)
    }

    /// The node with the highest total; `None` if there is none.
    pub fn slowest_node(&self) -> Option<Bottleneck> {
        self.summary(100.0).slowest_node
    }

    /// The sums of one node; `None` if it never ran.
    pub fn node(&self, name: &str) -> Option<NodeTotals> {
        let row = &self.nodes[*self.index.get(name)?];
        let sums = &row.sums;
        let sum: Duration = self.nodes.iter().map(|row| row.total_in_sum).sum();
        Some(NodeTotals {
            name: name.to_owned(),
            runs: row.runs,
            calls: sums.durations.count(),
            failures: sums.failures,
            duration: duration_summary(&sums.durations),
            on_path_ns: sums.on_path,
            self_ns: sums.self_time,
            queued_ns: sums.queued,
            sum_ratio: row.total_in_sum.ratio_of(sum).unwrap_or(0.0),
            wall_ratio: sums.durations.sum().ratio_of(self.wall).unwrap_or(0.0),
            critical_path_ratio: sums.on_path.ratio_of(self.wall).unwrap_or(0.0),
            cost_usd: sums.cost,
        })
    }
}

impl Row {
    fn add(&mut self, node: &NodeSums) {
        let sums = &mut self.sums;
        sums.durations.merge(&node.durations);
        sums.failures = sums.failures.saturating_add(node.failures);
        sums.on_path = sums.on_path.saturating_add(node.on_path);
        sums.self_time = sums.self_time.saturating_add(node.self_time);
        sums.queued = sums.queued.saturating_add(node.queued);
        sums.cost = add_money(sums.cost, node.cost);
        if node.counts_in_sum {
            self.total_in_sum = self.total_in_sum.saturating_add(node.durations.sum());
            self.calls_in_sum = self.calls_in_sum.saturating_add(node.durations.count());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, millis: &[u64], on_path: u64) -> NodeSums {
        let mut durations = DurationStats::default();
        millis.iter().for_each(|ms| durations.record(Duration::from_millis(*ms)));
        NodeSums {
            name: name.into(),
            counts_in_sum: true,
            durations,
            on_path: Duration::from_millis(on_path),
            ..NodeSums::default()
        }
    }

    #[test]
    fn shares_are_quotients_of_sums_over_all_runs() {
        let mut all = Aggregates::default();
        all.add_run(
            Duration::from_millis(400),
            vec![node("fetch", &[100, 100], 100), node("rank", &[300], 300)],
        );
        all.add_run(Duration::from_millis(100), vec![node("fetch", &[100], 100)]);
        let fetch = all.node("fetch").unwrap();
        assert_eq!((fetch.runs, fetch.calls), (2, 3));
        assert_eq!(fetch.sum_ratio, 0.5);
        assert_eq!(fetch.wall_ratio, 0.6);
        assert_eq!(fetch.critical_path_ratio, 0.4);
        assert_eq!(fetch.duration.p99_ns, Duration::from_millis(100));
        assert!(all.summary(50.0).bottlenecks.is_empty(), "exactly half is not above half");
        assert_eq!(all.slowest_node().unwrap().node_id, "fetch", "the first recorded wins a tie");
        assert_eq!(all.node("draft"), None);
    }

    #[test]
    fn of_spans_without_room_those_that_repeat_the_cost_of_calls_are_not_charged() {
        use crate::decode::decode;
        let span = |id: u8, operation: &str| {
            format!(
                r#"{{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b{id}","name":"s",
                "startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[
                {{"key":"gen_ai.operation.name","value":{{"stringValue":"{operation}"}}}},
                {{"key":"node.id","value":{{"stringValue":"{operation}"}}}},
                {{"key":"node.cost_usd","value":{{"doubleValue":0.5}}}}]}}"#
            )
        };
        let spans = [span(1, "chat"), span(2, "invoke_agent")].join(",");
        let file = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
        let mut all = Aggregates::default();
        decode(file.as_bytes()).unwrap().spans.iter().for_each(|record| all.add_left_out(record));
        let cost = |name: &str| all.node(name).unwrap().cost_usd;
        assert_eq!((cost("chat"), cost("invoke_agent")), (Money::from_usd(0.5), None));
    }

    #[test]
    fn nodes_past_the_limit_share_a_row() {
        let mut all = Aggregates::default();
        for i in 0..MAX_NODES + 5 {
            all.add_run(Duration::from_millis(1), vec![node(&format!("n{i}"), &[1], 1)]);
        }
        assert_eq!(all.node(OTHER_NODES).unwrap().calls, 5);
        assert_eq!(all.node("n0").unwrap().calls, 1);
    }
}
