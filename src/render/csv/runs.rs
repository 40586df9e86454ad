//! One row per run.

use super::{Column, Kind, flag, ms, ratio, usd};
use crate::report::{PathRow, Report, RunStatus};

fn longest(report: &Report) -> Option<&PathRow> {
    report.critical_path.rows.iter().find(|row| row.is_longest)
}

const fn status(report: &Report) -> &'static str {
    match report.run.status {
        RunStatus::Ok => "ok",
        RunStatus::Error => "error",
        RunStatus::Panicked => "panicked",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Incomplete => "incomplete",
    }
}

/// The columns. New ones go to the end.
pub(super) fn columns<'r>() -> Vec<Column<&'r Report>> {
    use Column as C;
    use Kind::{Flag, Integer, Number, Text};
    vec![
        C::new("run_id", Text, "trace id and root span id", |report| Some(report.run.id.clone())),
        C::new("trace_id", Text, "the trace", |report| Some(report.run.trace_id.clone())),
        C::new("workflow", Text, "the workflow, else the name of the root span", |report| {
            Some(super::workflow(report).to_owned())
        }),
        C::new("version", Text, "the version of the workflow", |report| report.run.version.clone()),
        C::new("started_at", Text, "when it started, RFC 3339 in UTC", |report| {
            Some(report.run.started_at.clone())
        }),
        C::new("start_unix_ns", Integer, "the same in nanoseconds since 1970", |report| {
            Some(report.run.start_unix_ns.as_unix_nanos().to_string())
        }),
        C::new("status", Text, "ok, error, panicked, cancelled or incomplete", |report| {
            Some(status(report).to_owned())
        }),
        C::new("wall_ms", Number, "from its start to its end", |report| Some(ms(report.run.wall_ns))),
        C::new("work_ms", Number, "self time of all spans together, without queueing", |report| {
            Some(ms(report.run.work_ns))
        }),
        C::new("spans", Integer, "how many spans it has", |report| Some(report.run.spans.to_string())),
        C::new("executions", Integer, "how many executions of nodes it has, its root left out", |report| {
            Some(report.run.executions.to_string())
        }),
        C::new("errors", Integer, "how many of them failed", |report| Some(report.run.errors.to_string())),
        C::new("retries", Integer, "how many of them were second or later tries", |report| {
            Some(report.run.retries.to_string())
        }),
        C::new("parallelism", Number, "work divided by wall time", |report| {
            report.totals.parallelism_achieved.and_then(ratio)
        }),
        C::new("parallelism_peak", Integer, "the most that ran at once", |report| {
            Some(report.totals.parallelism_peak.to_string())
        }),
        C::new(
            "graph_bound_ms",
            Number,
            "the least time its graph allows, where that is declared",
            |report| report.totals.graph_bound_ns.map(ms),
        ),
        C::new("efficiency", Number, "the same as a share of the wall time, 0 to 1", |report| {
            report.totals.efficiency.and_then(ratio)
        }),
        C::new("path_ms", Number, "the part of the wall time that belongs to nodes", |report| {
            Some(ms(report.critical_path.length_ns))
        }),
        C::new("unattributed_ms", Number, "the part that belongs to none", |report| {
            Some(ms(report.totals.unattributed_ns))
        }),
        C::new("queue_ms", Number, "how long the executions on the path waited before they ran", |report| {
            Some(ms(report.totals.queued_ns))
        }),
        C::new("longest_node", Text, "the node with most time on the path", |report| {
            Some(longest(report)?.node.clone())
        }),
        C::new("longest_node_ms", Number, "that time", |report| {
            longest(report).map(|row| ms(row.duration_ns))
        }),
        C::new("fix_first", Text, "what the first finding is about", |report| {
            Some(report.findings.first()?.subject.clone())
        }),
        C::new("fix_first_code", Text, "its code", |report| Some(report.findings.first()?.code.clone())),
        C::new("save_max_ms", Number, "what the run would save by it at most", |report| {
            report.findings.first().map(|finding| ms(finding.saves_max_ns))
        }),
        C::new("cost_usd", Number, "what it cost", |report| usd(report.totals.cost_usd)),
        C::new("cost_is_lower_bound", Flag, "whether it cost more than that, or may have", |report| {
            report.cost.as_ref().and_then(|cost| flag(cost.is_lower_bound))
        }),
        C::new("unpriced_calls", Integer, "how many calls of models have no cost that is known", |report| {
            Some(report.cost.as_ref()?.unpriced_calls.to_string())
        }),
        C::new("input_tokens", Integer, "input tokens, cached ones included", |report| {
            report.totals.tokens.map(|tokens| tokens.input.to_string())
        }),
        C::new("output_tokens", Integer, "output tokens, reasoning included", |report| {
            report.totals.tokens.map(|tokens| tokens.output.to_string())
        }),
        C::new("baseline_runs", Integer, "how many earlier runs it is compared with", |report| {
            Some(report.run.baseline?.runs.to_string())
        }),
        C::new("baseline_p50_ms", Number, "their median", |report| {
            report.run.baseline.map(|baseline| ms(baseline.p50_ns))
        }),
        C::new("baseline_mad_ms", Number, "the median distance from that median", |report| {
            report.run.baseline.map(|baseline| ms(baseline.mad_ns))
        }),
        C::new("quality", Text, "how much to trust the report: low, medium or high", |report| {
            Some(super::quality(report).to_owned())
        }),
    ]
}
