//! The layouts of the Conexus profiler, for those who read or parse them already.
//!
//! They know agents, executions and averages; longpole's nodes and executions are told as those. What Conexus measures
//! and longpole does not (memory, goroutines) is told as unknown, never as zero. A report is told as of the end of its
//! run, so that equal reports give equal bytes.

mod csv;
mod details;
mod go;
mod json;
mod text;

pub use csv::{csv, csv_header};
pub use details::execution_details;
pub use json::json;
pub use text::{summary, text};

use super::printable::Printable;
use crate::analysis::variability::threshold_severity;
use crate::report::{NodeReport, Report};
use crate::time::{Duration, Timestamp};

/// From this average on an agent counts as a bottleneck, as in Conexus's guide.
pub const SLOW_EXECUTION: Duration = Duration::from_millis(100);

/// What Conexus calls an agent: every node, but not the run's root unless there is nothing else.
fn agents(report: &Report) -> Vec<&NodeReport> {
    let inner: Vec<&NodeReport> = report.nodes.iter().filter(|node| !node.is_root).collect();
    if inner.is_empty() { report.nodes.iter().collect() } else { inner }
}

fn name(node: &str) -> Printable<'_> {
    Printable::new(node)
}

/// All agents together.
struct Overall {
    executions: u64,
    average: Duration,
    /// In per cent; absent without executions.
    success_rate: Option<f64>,
}

impl Overall {
    fn of(report: &Report) -> Self {
        let agents = agents(report);
        let executions = agents.iter().fold(0u64, |sum, node| sum.saturating_add(node.calls));
        let failures = agents.iter().fold(0u64, |sum, node| sum.saturating_add(node.failures));
        let took = agents.iter().fold(Duration::ZERO, |sum, node| sum.saturating_add(node.duration.sum_ns));
        Overall {
            executions,
            average: Duration::from_nanos(took.as_nanos().checked_div(executions).unwrap_or_default()),
            success_rate: rate(executions.saturating_sub(failures), executions),
        }
    }
}

/// A part in per cent.
fn rate(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

/// A share in per cent with so many decimals.
fn percent(rate: Option<f64>, decimals: usize) -> String {
    rate.map_or_else(|| "n/a".to_owned(), |rate| format!("{rate:.decimals$}%"))
}

/// How many agents take longer than `slow` on average, or have a P99 above twice their average.
fn bottlenecks(report: &Report, slow: Duration) -> usize {
    let threshold = slow.as_nanos() as f64;
    let is_one = |node: &&NodeReport| {
        let (average, p99) = (node.duration.avg_ns.as_nanos(), node.duration.p99_ns.as_nanos());
        let is_slow = threshold_severity(average as f64, threshold).is_ok_and(|severity| severity.is_some());
        is_slow || p99 > average.saturating_mul(2)
    };
    agents(report).into_iter().filter(is_one).count()
}

/// Whole seconds, RFC 3339 in UTC: `2025-10-15T10:30:00Z`.
fn rfc3339(at: Timestamp) -> String {
    const SECOND: u64 = 1_000_000_000;
    let whole = Timestamp::from_unix_nanos(at.as_unix_nanos() / SECOND * SECOND).to_rfc3339();
    let seconds = whole.get(..19).unwrap_or(&whole);
    format!("{seconds}Z")
}

/// When the run had ended.
fn generated(report: &Report) -> String {
    rfc3339(report.run.start_unix_ns.saturating_add(report.run.wall_ns))
}

/// A heading with a line below it.
fn underlined(heading: &str, sign: &str, width: usize) -> String {
    format!("{heading}\n{}\n\n", sign.repeat(width))
}
