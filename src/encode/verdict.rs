//! A run's verdict as attributes of its root span.
//!
//! Protobuf fields of one message may be cut anywhere and concatenate, so the verdict is appended to the root's
//! bytes when it is known, and whoever opens the trace reads the answer there.

use crate::conventions as keys;
use crate::encode::attribute::{
    bool_attribute, double_attribute, int_attribute, push_field, string_array_attribute, string_attribute,
};
use crate::render::units;
use crate::report::{Report, RunStatus};

/// The field number of `Span.attributes`.
const SPAN_ATTRIBUTES: u32 = 9;

/// `Span.attributes` fields that say what `report` says.
pub(crate) fn verdict_attributes(report: &Report) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut push = |attribute: Vec<u8>| push_field(&mut bytes, SPAN_ATTRIBUTES, &attribute);
    if let Some(first) = report.findings.first() {
        push(string_attribute(keys::BOTTLENECK_NODE, &first.subject));
        push(int_attribute(keys::BOTTLENECK_SAVE_MAX_NS, first.saves_max_ns.as_nanos()));
    }
    let steps = report.critical_path.rows.iter().map(|row| {
        format!("{} {} {}", row.node, units::duration(row.duration_ns), units::share(row.wall_ratio))
    });
    push(string_array_attribute(keys::CRITICAL_PATH, &steps.collect::<Vec<_>>()));
    push(int_attribute(keys::RUN_WALL_NS, report.run.wall_ns.as_nanos()));
    push(int_attribute(keys::RUN_WORK_NS, report.run.work_ns.as_nanos()));
    if let Some(cost) = report.totals.cost_usd {
        push(double_attribute(keys::RUN_COST_USD, cost.as_usd()));
    }
    push(bool_attribute(keys::RUN_COMPLETE, report.run.status != RunStatus::Incomplete));
    if let Ok(info) = serde_json::to_string(&report.bottleneck_info) {
        push(string_attribute(keys::BOTTLENECK_INFO, &info));
    }
    bytes
}
