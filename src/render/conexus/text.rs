//! The report and the summary as text.

use super::go::duration;
use super::{Overall, agents, bottlenecks, generated, name, percent, rate, underlined};
use crate::report::{NodeReport, Report};
use crate::time::Duration;

/// The whole report as Conexus's `WriteText` lays it out.
pub fn text(report: &Report) -> String {
    let overall = Overall::of(report);
    let mut text = underlined("Performance Report", "=", 17);
    text += &format!("Generated: {}\n", generated(report));
    text += &format!("Total Executions: {}\n", overall.executions);
    text += &format!("Overall Avg Duration: {}\n", duration(overall.average));
    text += "Overall Avg Memory: n/a\n";
    text += &format!("Overall Success Rate: {}\n\n", percent(overall.success_rate, 2));
    text += "Agent Metrics\n-------------\n";
    agents(report).into_iter().for_each(|node| put_agent(&mut text, node));
    text
}

fn put_agent(text: &mut String, node: &NodeReport) {
    let succeeded = node.calls.saturating_sub(node.failures);
    let figures = &node.duration;
    *text += &format!("\nAgent: {}\n", name(&node.name));
    *text += &format!("  Total Executions: {}\n", node.calls);
    *text += &format!("  Success: {succeeded} ({})\n", percent(rate(succeeded, node.calls), 1));
    *text += &format!("  Failures: {}\n", node.failures);
    *text += &format!("  Avg Duration: {}\n", duration(figures.avg_ns));
    *text += &format!("  Min Duration: {}\n", duration(figures.min_ns));
    *text += &format!("  Max Duration: {}\n", duration(figures.max_ns));
    *text += "  Avg Memory: n/a\n  Percentiles:\n";
    let quantiles =
        [("P50", figures.p50_ns), ("P90", figures.p90_ns), ("P95", figures.p95_ns), ("P99", figures.p99_ns)];
    for (label, length) in quantiles {
        *text += &format!("    {label}: {}\n", duration(length));
    }
}

/// The few lines of Conexus's `WriteSummary`. An agent is a bottleneck if it takes longer than `slow` on average
/// ([`SLOW_EXECUTION`](super::SLOW_EXECUTION)) or has a P99 above twice its average.
pub fn summary(report: &Report, slow: Duration) -> String {
    let overall = Overall::of(report);
    let mut text = "=== Performance Summary ===\n".to_owned();
    text += &format!(
        "Executions: {} | Avg Duration: {} | Success Rate: {}\n",
        overall.executions,
        duration(overall.average),
        percent(overall.success_rate, 1)
    );
    let found = bottlenecks(report, slow);
    if found > 0 {
        text += &format!("⚠️  {found} bottleneck(s) detected\n");
    }
    text
}
