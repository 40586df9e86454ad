//! The console lines of an earlier profiler: the slowest node and those above a share of the sum of node times.

use super::printable::Printable;
use crate::report::Report;

/// The slowest node by total time, and the nodes strictly above `threshold_percent`: the threshold the report was made
/// with, see [`ReportOptions::bottleneck_threshold_percent`](crate::ReportOptions::bottleneck_threshold_percent).
/// Shares are of the sum of node times, as [`Report::bottleneck_info`] has them. Empty if there is no node.
///
/// ```text
/// Slowest node: node2 (200.00ms avg)
/// Bottlenecks (>50% of total time):
///   - node2: 57.1% (200ms total)
/// ```
pub fn lines(report: &Report, threshold_percent: f64) -> String {
    let summary = &report.bottleneck_info;
    let mut text = String::new();
    if let Some(slowest) = &summary.slowest_node {
        let name = Printable::new(&slowest.node_id);
        text += &format!("Slowest node: {name} ({:.2}ms avg)\n", slowest.avg_duration_ms);
    }
    if !summary.bottlenecks.is_empty() {
        text += &format!("Bottlenecks (>{threshold_percent}% of total time):\n");
    }
    for row in &summary.bottlenecks {
        let name = Printable::new(&row.node_id);
        text += &format!("  - {name}: {:.1}% ({:.0}ms total)\n", row.percent_of_total, row.total_duration_ms);
    }
    text
}
