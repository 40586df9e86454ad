//! A run's verdict as attributes of its root span.
//!
//! Protobuf fields of one message may be cut anywhere and concatenate, so the verdict is appended to the root's
//! bytes when it is known, and whoever opens the trace reads the answer there.

use super::span::{
    EncodedKey, SPAN_ATTRIBUTE, append_bool, append_double, append_int, append_str, append_strings,
};
use crate::conventions as keys;
use crate::render::units;
use crate::report::{Report, RunStatus};
use crate::time::Duration;

/// `Span.attributes` fields that say what `report` says.
pub(crate) fn verdict_attributes(report: &Report) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(first) = report.findings.first() {
        push_text(&mut bytes, keys::BOTTLENECK_NODE, &first.subject);
        push_time(&mut bytes, keys::BOTTLENECK_SAVE_MAX_NS, first.saves_max_ns);
    }
    let rows = report.critical_path.rows.iter();
    let steps: Vec<String> = rows
        .map(|row| {
            format!("{} {} {}", row.node, units::duration(row.duration_ns), units::share(row.wall_ratio))
        })
        .collect();
    let steps = steps.iter().map(String::as_str);
    append_strings(&mut bytes, SPAN_ATTRIBUTE, &EncodedKey::new(keys::CRITICAL_PATH), steps);
    push_time(&mut bytes, keys::RUN_WALL_NS, report.run.wall_ns);
    push_time(&mut bytes, keys::RUN_WORK_NS, report.run.work_ns);
    if let Some(cost) = report.totals.cost_usd {
        append_double(&mut bytes, SPAN_ATTRIBUTE, &EncodedKey::new(keys::RUN_COST_USD), cost.as_usd());
    }
    let is_complete = report.run.status != RunStatus::Incomplete;
    append_bool(&mut bytes, SPAN_ATTRIBUTE, &EncodedKey::new(keys::RUN_COMPLETE), is_complete);
    if let Ok(info) = serde_json::to_string(&report.bottleneck_info) {
        push_text(&mut bytes, keys::BOTTLENECK_INFO, &info);
    }
    bytes
}

fn push_text(bytes: &mut Vec<u8>, key: &str, text: &str) {
    append_str(bytes, SPAN_ATTRIBUTE, &EncodedKey::new(key), text, text.len());
}

fn push_time(bytes: &mut Vec<u8>, key: &str, time: Duration) {
    let nanos = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    append_int(bytes, SPAN_ATTRIBUTE, &EncodedKey::new(key), nanos);
}
