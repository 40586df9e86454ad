//! The report as JSON.

use serde_json::{Map, Value, json};

use super::{Overall, agents, generated, rate};
use crate::render::json::sorted;
use crate::report::{NodeReport, Report};

/// The whole report as Conexus's `WriteJSON` names its fields: lengths of time in nanoseconds, shares in per cent with
/// two decimals, keys in alphabetical order. What was not measured is `null`.
pub fn json(report: &Report) -> String {
    let overall = Overall::of(report);
    let agents: Map<String, Value> =
        agents(report).into_iter().map(|node| (node.name.clone(), agent(node))).collect();
    let value = json!({
        "generated_at": generated(report),
        "total_executions": overall.executions,
        "overall_avg_duration": overall.average.as_nanos(),
        "overall_avg_memory": null,
        "overall_success_rate": overall.success_rate.map(hundredths),
        "agent_metrics": agents,
        "system_metrics": {"average": {"avg_memory_alloc": null, "avg_goroutines": null}},
    });
    format!("{:#}\n", sorted(value))
}

fn agent(node: &NodeReport) -> Value {
    let (figures, succeeded) = (&node.duration, node.calls.saturating_sub(node.failures));
    json!({
        "total_executions": node.calls,
        "success_count": succeeded,
        "failure_count": node.failures,
        "success_rate": rate(succeeded, node.calls).map(hundredths),
        "avg_duration": figures.avg_ns.as_nanos(),
        "min_duration": figures.min_ns.as_nanos(),
        "max_duration": figures.max_ns.as_nanos(),
        "avg_memory": null,
        "percentiles": {
            "p50": figures.p50_ns.as_nanos(),
            "p90": figures.p90_ns.as_nanos(),
            "p95": figures.p95_ns.as_nanos(),
            "p99": figures.p99_ns.as_nanos(),
        },
    })
}

fn hundredths(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}
