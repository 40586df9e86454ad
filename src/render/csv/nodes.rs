//! One row per node. The first twelve columns are those of Conexus's profiler, with units in their names.

use super::{Column, Kind, flag, ms, ratio, signed_ms, usd};
use crate::report::{Confidence, Finding, NodeCost, NodeReport, Report, Severity, Suggestion};
use crate::time::Duration;

/// A node, its run, and what else the report says about it.
pub(super) struct Row<'r> {
    report: &'r Report,
    node: &'r NodeReport,
    cost: Option<&'r NodeCost>,
    findings: Vec<&'r Finding>,
}

pub(super) fn rows(report: &Report) -> impl Iterator<Item = Row<'_>> {
    let costs = report.cost.as_ref().map(|section| section.nodes.as_slice()).unwrap_or_default();
    report.nodes.iter().map(move |node| Row {
        report,
        node,
        cost: costs.iter().find(|cost| cost.node == node.name),
        findings: report.findings.iter().filter(|finding| finding.subject == node.name).collect(),
    })
}

impl Row<'_> {
    /// How much longer it took than usual; both without queueing.
    fn delta_ns(&self) -> Option<i128> {
        let took = self.node.duration.sum_ns.saturating_sub(self.node.queued_ns);
        let usual = self.node.baseline?.p50_ns;
        Some(i128::from(took.as_nanos()) - i128::from(usual.as_nanos()))
    }

    /// What its executions took without queueing and without a thread inside them.
    fn wait_ns(&self) -> Option<Duration> {
        let ran = self.node.duration.sum_ns.saturating_sub(self.node.queued_ns);
        Some(ran.saturating_sub(self.node.busy_ns?))
    }

    fn delta_ratio(&self) -> Option<String> {
        let usual = self.node.baseline?.p50_ns.as_nanos();
        ratio(self.delta_ns()? as f64 / usual as f64)
    }

    fn saved_by_half(&self) -> Option<String> {
        let suggestions = self.findings.iter().flat_map(|finding| &finding.suggestions);
        let mut twice = suggestions.filter(|it| matches!(it, Suggestion::Faster { times: 2, .. }));
        twice.next().map(|suggestion| ms(suggestion.saves()))
    }

    fn severity(&self) -> Option<String> {
        let worst = self.findings.iter().map(|finding| finding.severity).max()?;
        let name = match worst {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        };
        Some(name.to_owned())
    }

    fn codes(&self) -> Option<String> {
        let codes: Vec<&str> = self.findings.iter().map(|finding| finding.code.as_str()).collect();
        (!codes.is_empty()).then(|| codes.join(" "))
    }

    fn confidence(&self) -> Option<String> {
        let name = match self.findings.first()?.confidence {
            Confidence::Guess => "guess",
            Confidence::Likely => "likely",
            Confidence::Sure => "sure",
        };
        Some(name.to_owned())
    }
}

/// The columns. New ones go to the end.
pub(super) fn columns<'r>() -> Vec<Column<Row<'r>>> {
    use Column as C;
    use Kind::{Flag, Integer, Number, Text};
    vec![
        C::new("agent", Text, "the node", |row| Some(row.node.name.clone())),
        C::new("total", Integer, "how many executions it had", |row| Some(row.node.calls.to_string())),
        C::new("success", Integer, "how many of them did not fail", |row| {
            Some(row.node.calls.saturating_sub(row.node.failures).to_string())
        }),
        C::new("failures", Integer, "how many of them failed", |row| Some(row.node.failures.to_string())),
        C::new("avg_ms", Number, "how long one took on average, queueing included", |row| {
            Some(ms(row.node.duration.avg_ns))
        }),
        C::new("min_ms", Number, "how long the shortest took", |row| Some(ms(row.node.duration.min_ns))),
        C::new("max_ms", Number, "how long the longest took", |row| Some(ms(row.node.duration.max_ns))),
        C::new("avg_memory_bytes", Number, "not measured", |_| None),
        C::new("p50_ms", Number, "half of them took at most this", |row| Some(ms(row.node.duration.p50_ns))),
        C::new("p90_ms", Number, "90 % of them took at most this", |row| Some(ms(row.node.duration.p90_ns))),
        C::new("p95_ms", Number, "95 % of them took at most this", |row| Some(ms(row.node.duration.p95_ns))),
        C::new("p99_ms", Number, "99 % of them took at most this", |row| Some(ms(row.node.duration.p99_ns))),
        C::new("run_id", Text, "the run: trace id and root span id", |row| Some(row.report.run.id.clone())),
        C::new("workflow", Text, "the workflow, else the name of the root span", |row| {
            Some(super::workflow(row.report).to_owned())
        }),
        C::new("version", Text, "the version of the workflow", |row| row.report.run.version.clone()),
        C::new("kind", Text, "what sort of work it is", |row| Some(row.node.kind.clone())),
        C::new("total_ms", Number, "how long all executions took together, queueing included", |row| {
            Some(ms(row.node.duration.sum_ns))
        }),
        C::new("self_ms", Number, "time in which no nested node existed", |row| Some(ms(row.node.self_ns))),
        C::new("on_path_ms", Number, "its time on the critical path", |row| Some(ms(row.node.on_path_ns))),
        C::new("on_path_share", Number, "the same as a share of the wall time, 0 to 1", |row| {
            ratio(row.node.critical_path_ratio)
        }),
        C::new(
            "slack_ms",
            Number,
            "how much longer its tightest execution could have taken without making the run longer",
            |row| row.node.slack_ns.map(ms),
        ),
        C::new("save_max_ms", Number, "what the run would save if it took no time", |row| {
            row.node.save_max_ns.map(ms)
        }),
        C::new(
            "save_half_ms",
            Number,
            "what the run would save if it were twice as fast, where that was replayed",
            |row| row.saved_by_half(),
        ),
        C::new("queue_ms", Number, "how long its executions waited before they ran", |row| {
            Some(ms(row.node.queued_ns))
        }),
        C::new(
            "wait_ms",
            Number,
            "how long they were neither queued nor running on a thread, where that was measured",
            |row| row.wait_ns().map(ms),
        ),
        C::new("retries", Integer, "how many executions were second or later tries", |row| {
            Some(row.node.retries.to_string())
        }),
        C::new("peak_concurrency", Integer, "the most executions that ran at once", |row| {
            Some(row.node.peak_concurrency.to_string())
        }),
        C::new("input_tokens", Integer, "input tokens of its own calls, cached ones included", |row| {
            row.node.tokens.map(|tokens| tokens.input.to_string())
        }),
        C::new("output_tokens", Integer, "output tokens of its own calls, reasoning included", |row| {
            row.node.tokens.map(|tokens| tokens.output.to_string())
        }),
        C::new("cost_usd", Number, "what it cost itself, not through nested nodes", |row| {
            usd(row.node.cost_usd)
        }),
        C::new("cost_share", Number, "the same as a share of what the run cost, 0 to 1", |row| {
            row.cost?.cost_ratio.and_then(ratio)
        }),
        C::new("severity", Text, "of the worst finding about it: low, medium, high or critical", |row| {
            row.severity()
        }),
        C::new(
            "insight_codes",
            Text,
            "the codes of the findings about it, with spaces between them",
            |row| row.codes(),
        ),
        C::new(
            "baseline_p50_ms",
            Number,
            "what its executions took together in earlier runs, without queueing: the median",
            |row| Some(ms(row.node.baseline?.p50_ns)),
        ),
        C::new("delta_ms", Number, "how much longer than that they took in this run", |row| {
            row.delta_ns().map(signed_ms)
        }),
        C::new("delta_share", Number, "the same as a share of the median", |row| row.delta_ratio()),
        C::new("ttft_p50_ms", Number, "time to the first token: not measured", |_| None),
        C::new("model", Text, "the model its calls used, the most used one", |row| row.node.model.clone()),
        C::new("confidence", Text, "how sure the first finding about it is: guess, likely or sure", |row| {
            row.confidence()
        }),
        C::new("cost_is_lower_bound", Flag, "whether it cost more than that, or may have", |row| {
            row.cost.and_then(|cost| flag(cost.is_lower_bound))
        }),
        C::new("cost_with_nested_usd", Number, "what it cost with everything inside it", |row| {
            usd(row.node.cost_with_nested_usd)
        }),
        C::new("cost_on_path_usd", Number, "what of its own cost has time on the critical path", |row| {
            usd(row.cost?.on_path_usd)
        }),
        C::new("cost_of_retries_usd", Number, "what of its own cost is of second and later tries", |row| {
            usd(row.cost?.retries_usd)
        }),
        C::new("model_calls", Integer, "how many calls of models it made itself", |row| {
            Some(row.cost?.calls.to_string())
        }),
        C::new("unpriced_calls", Integer, "how many of them have no cost that is known", |row| {
            Some(row.cost?.unpriced_calls.to_string())
        }),
        C::new("cache_read_tokens", Integer, "input tokens that were read from a cache", |row| {
            Some(row.cost?.tokens.cache_read?.to_string())
        }),
        C::new("cache_write_tokens", Integer, "input tokens that were written to a cache", |row| {
            Some(row.cost?.tokens.cache_write?.to_string())
        }),
        C::new("reasoning_tokens", Integer, "output tokens the model kept to itself", |row| {
            Some(row.cost?.tokens.reasoning?.to_string())
        }),
        C::new("quality", Text, "how much to trust the report: low, medium or high", |row| {
            Some(super::quality(row.report).to_owned())
        }),
    ]
}
