//! What became of the gates the run was held against.

use super::markup::Markup;
use super::trust::put_lines;
use crate::render::gates::amount;
use crate::report::{GateVerdict, Report};

/// Nothing where there are none.
pub(super) fn put(html: &mut Markup, report: &Report) {
    if report.gates.is_empty() {
        return;
    }
    let line = |gate: &crate::report::GateResult| {
        let verdict = match gate.verdict {
            GateVerdict::Passed => "passed",
            GateVerdict::Failed => "FAILED",
            GateVerdict::NoData => "no data",
        };
        let reason = gate.reason.as_ref().map(ToString::to_string);
        let found: Vec<String> = gate.actual.map(amount).into_iter().chain(reason).collect();
        let found = if found.is_empty() { String::new() } else { format!(": {}", found.join(", ")) };
        (verdict.to_owned(), format!("{}{found}", gate.expr))
    };
    html.raw("<section class=\"gates\"><h2>Gates</h2>\n");
    put_lines(html, &report.gates.iter().map(line).collect::<Vec<_>>());
    html.raw("</section>\n");
}
