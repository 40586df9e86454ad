//! What is logged of one run: metrics, tags, and a description.

use serde::Serialize;

use super::metric_keys::safe_names;
use crate::conventions as keys;
use crate::render::text;
use crate::render::text::TextStyle;
use crate::report::{Report, RunStatus, Summary};
use crate::time::Duration;

/// The tag that says which run of longpole's an MLflow run is about.
pub(super) const RUN_ID_TAG: &str = "longpole.run.id";
/// The tag MLflow shows as a run's description, as Markdown.
const DESCRIPTION_TAG: &str = "mlflow.note.content";

/// Nodes beyond are left out, those with the least time on the critical path first.
pub(super) const MAX_NODES: usize = 2_000;
/// MLflow's limit for a tag's value, in characters.
pub(super) const MAX_TAG_CHARS: usize = 8_000;
/// MLflow's limit for the name of a run, in characters.
const MAX_RUN_NAME_CHARS: usize = 250;

/// A metric's value at one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Metric {
    pub(super) key: String,
    pub(super) value: f64,
    /// Milliseconds since 1970.
    pub(super) timestamp: u64,
    pub(super) step: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Tag {
    pub(super) key: &'static str,
    pub(super) value: String,
}

/// The metrics of a run: its totals, then of each node how long its executions took together and, where that is known,
/// what they cost.
pub(super) fn metrics(report: &Report, step: u64) -> Vec<Metric> {
    let timestamp = end_ms(report);
    let mut metrics = Vec::new();
    let mut put = |key: String, value: f64| metrics.push(Metric { key, value, timestamp, step });
    let (run, totals) = (&report.run, &report.totals);
    put("duration_ms".to_owned(), run.wall_ns.as_millis_f64());
    put("total_time_ms".to_owned(), report.bottleneck_info.total_time_ms);
    put("node_count".to_owned(), report.bottleneck_info.node_count as f64);
    put("error_count".to_owned(), run.errors as f64);
    put("retry_count".to_owned(), run.retries as f64);
    if let Some(tokens) = &totals.tokens {
        put("total_input_tokens".to_owned(), tokens.input as f64);
        put("total_output_tokens".to_owned(), tokens.output as f64);
    }
    if let Some(cost) = totals.cost_usd {
        put("total_cost_usd".to_owned(), cost.as_usd());
    }
    // What says whether that is all.
    if let Some(cost) = &report.cost {
        put("unpriced_calls".to_owned(), cost.unpriced_calls as f64);
    }
    if let Some(first) = report.findings.first() {
        put("bottleneck_save_max_ms".to_owned(), first.saves_max_ns.as_millis_f64());
    }
    let nodes = || report.nodes.iter().take(MAX_NODES);
    let names: Vec<&str> = nodes().map(|node| node.name.as_str()).collect();
    for (node, name) in nodes().zip(safe_names(&names)) {
        put(format!("node_{name}_duration_ms"), node.duration.sum_ns.as_millis_f64());
        if let Some(cost) = node.cost_usd {
            put(format!("node_{name}_cost_usd"), cost.as_usd());
        }
    }
    metrics
}

/// What a run is found and compared by.
pub(super) fn tags(report: &Report) -> Vec<Tag> {
    let mut tags = vec![
        tag(RUN_ID_TAG, &report.run.id),
        tag("longpole.trace_id", &report.run.trace_id),
        tag("longpole.run.status", status_name(report.run.status)),
        tag(keys::BOTTLENECK_INFO, &summary_json(&report.bottleneck_info)),
    ];
    tags.extend(report.run.workflow.as_ref().map(|name| tag(keys::WORKFLOW_NAME, name)));
    tags.extend(report.run.version.as_ref().map(|version| tag(keys::WORKFLOW_VERSION, version)));
    tags.extend(report.findings.first().map(|first| tag(keys::BOTTLENECK_NODE, &first.subject)));
    tags
}

/// The report as text, for the head of the run's page.
pub(super) fn description(report: &Report) -> Tag {
    Tag { key: DESCRIPTION_TAG, value: fenced(&text(report, &TextStyle::default())) }
}

/// Markdown that shows `text` as it is, and as many whole lines of it as a tag holds.
fn fenced(text: &str) -> String {
    let fence = "`".repeat(longest_run_of_backticks(text).max(2).saturating_add(1));
    let frame = fence.len().saturating_mul(2).saturating_add("text\n\n".len());
    let text = match text.char_indices().nth(MAX_TAG_CHARS.saturating_sub(frame)) {
        None => text,
        Some((end, _)) => {
            let cut = text.get(..end).unwrap_or_default();
            cut.rfind('\n').and_then(|line| cut.get(..line)).unwrap_or_default()
        }
    };
    format!("{fence}text\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// What the run is called in lists.
pub(super) fn run_name(report: &Report) -> String {
    let name = report.run.workflow.as_deref().unwrap_or(&report.run.name);
    name.chars().take(MAX_RUN_NAME_CHARS).collect()
}

/// MLflow's word for how a run ended. It has none for one of which spans are missing.
pub(super) fn mlflow_status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Ok | RunStatus::Incomplete => "FINISHED",
        RunStatus::Error | RunStatus::Panicked => "FAILED",
        RunStatus::Cancelled => "KILLED",
    }
}

pub(super) fn start_ms(report: &Report) -> u64 {
    millis(report.run.start_unix_ns.as_unix_nanos())
}

pub(super) fn end_ms(report: &Report) -> u64 {
    millis(report.run.start_unix_ns.saturating_add(report.run.wall_ns).as_unix_nanos())
}

fn millis(nanos: u64) -> u64 {
    Duration::from_nanos(nanos).to_std().as_millis().try_into().unwrap_or(u64::MAX)
}

fn status_name(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Ok => "ok",
        RunStatus::Error => "error",
        RunStatus::Panicked => "panicked",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Incomplete => "incomplete",
    }
}

fn tag(key: &'static str, value: &str) -> Tag {
    Tag { key, value: value.chars().take(MAX_TAG_CHARS).collect() }
}

/// The summary as JSON, with as many bottlenecks as a tag holds.
fn summary_json(summary: &Summary) -> String {
    let mut summary = summary.clone();
    loop {
        let json = serde_json::to_string(&summary).unwrap_or_default();
        if json.chars().count() <= MAX_TAG_CHARS {
            return json;
        }
        // A name alone may be too long.
        if summary.bottlenecks.pop().is_none() && summary.slowest_node.take().is_none() {
            return String::new();
        }
    }
}

fn longest_run_of_backticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "of what the test made")]
mod tests {
    use super::*;
    use crate::report::Bottleneck;

    #[test]
    fn a_description_is_shown_as_it_is_whatever_nodes_are_called() {
        assert_eq!(fenced("wall 1 s\n"), "```text\nwall 1 s\n```");
        assert_eq!(fenced("a ```` b"), "`````text\na ```` b\n`````");
        let long = "é".repeat(79) + "\n";
        let cut = fenced(&long.repeat(200));
        // 8,000 less the 12 of the frame hold 99 lines of 80.
        assert_eq!(cut.chars().count(), 99 * 80 - 1 + 12);
        assert_eq!(cut.lines().count(), 101);
        assert!(cut.ends_with("é\n```"));
    }

    #[test]
    fn a_summary_that_is_too_long_leaves_bottlenecks_out_and_stays_json() {
        let row = |name: String| Bottleneck {
            node_id: name,
            total_duration_ms: 1.0,
            avg_duration_ms: 1.0,
            call_count: 1,
            percent_of_total: 1.0,
        };
        let rows =
            |names: std::ops::Range<u32>| names.map(|number| row(format!("node {number:04}"))).collect();
        let summary = Summary {
            total_time_ms: 100.0,
            node_count: 100,
            slowest_node: Some(row("first".to_owned())),
            bottlenecks: rows(0..100),
        };
        let json = summary_json(&summary);
        assert!(json.chars().count() <= MAX_TAG_CHARS);
        let read: Summary = serde_json::from_str(&json).unwrap();
        let kept = u32::try_from(read.bottlenecks.len()).unwrap();
        assert!((60..100).contains(&kept), "{kept}");
        assert_eq!(read.bottlenecks, rows(0..kept), "the largest are kept");
        let endless = Summary { slowest_node: Some(row("x".repeat(9_000))), ..summary };
        let read: Summary = serde_json::from_str(&summary_json(&endless)).unwrap();
        assert_eq!((read.node_count, read.slowest_node), (100, None));
    }
}
