//! The report as CSV with Conexus's own header, for sheets that read it already.

use super::agents;
use super::go::duration;
use crate::render::csv_text::csv_field;
use crate::report::{NodeReport, Report};

/// Conexus's header, with a line feed.
pub fn csv_header() -> String {
    "Agent,Total,Success,Failures,AvgDuration,MinDuration,MaxDuration,AvgMemory,P50,P90,P95,P99\n".to_owned()
}

/// One row per agent as Conexus's `WriteCSV` writes it, without the header: lengths of time as text (`42ms`). The cell
/// for memory is empty.
pub fn csv(report: &Report) -> String {
    agents(report).into_iter().map(row).collect()
}

fn row(node: &NodeReport) -> String {
    let figures = &node.duration;
    let [average, min, max] = [figures.avg_ns, figures.min_ns, figures.max_ns].map(duration);
    let quantiles = [figures.p50_ns, figures.p90_ns, figures.p95_ns, figures.p99_ns].map(duration);
    format!(
        "{},{},{},{},{average},{min},{max},,{}\n",
        csv_field(&node.name),
        node.calls,
        node.calls.saturating_sub(node.failures),
        node.failures,
        quantiles.join(",")
    )
}
