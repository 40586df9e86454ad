//! The critical path: one row per node on it, with a bar where its time lies.

use std::cmp::Reverse;

use super::kind_class;
use super::markup::{Markup, Scale};
use crate::render::{cost, path_table, units};
use crate::report::{PathRow, Report};
use crate::time::{Duration, Interval, Timestamp};

/// The most rows that are shown.
const MAX_ROWS: usize = 40;

pub(super) fn put(html: &mut Markup, report: &Report) {
    let rows = &report.critical_path.rows;
    html.raw("<section class=\"path\"><h2>Critical path</h2>\n<p>")
        .text(&path_table::lead(report))
        .raw(".</p>\n");
    if rows.is_empty() {
        html.raw("</section>\n");
        return;
    }
    let mut by_time: Vec<usize> = (0..rows.len()).collect();
    by_time.sort_by_key(|index| Reverse(rows.get(*index).map(|row| row.duration_ns)));
    let shown = by_time.get(..MAX_ROWS.min(by_time.len())).unwrap_or_default();
    let costs: Vec<Option<String>> =
        rows.iter().map(|row| cost::of_node(report, &row.node, row.cost_usd)).collect();
    let has_cost = costs.iter().any(Option::is_some);
    let has_queue = rows.iter().any(|row| !row.queued_ns.is_zero());
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Critical path by node\"><table class=\"bars\"><thead><tr><th scope=\"col\">Node</th><th scope=\"col\" class=\"opt\">kind</th><th scope=\"col\" class=\"n\">on path</th><th scope=\"col\" class=\"n opt\">share</th>");
    if has_queue {
        html.raw("<th scope=\"col\" class=\"n opt\">queued</th>");
    }
    if has_cost {
        html.raw("<th scope=\"col\" class=\"n\">cost</th>");
    }
    html.raw("<th scope=\"col\" class=\"bar\">when</th></tr></thead><tbody>\n");
    let scale = Scale::new(Timestamp::EPOCH, report.run.wall_ns);
    for (index, (row, cost)) in rows.iter().zip(&costs).enumerate() {
        if shown.contains(&index) {
            let queued = has_queue.then(|| some_time(row.queued_ns));
            put_row(html, row, &scale, queued.as_deref(), has_cost.then_some(cost.as_deref()));
        }
    }
    html.raw("</tbody></table></div>\n");
    let hidden = rows.iter().enumerate().filter(|(index, _)| !shown.contains(index));
    let (more, together) = hidden.fold((0u64, Duration::ZERO), |(number, sum), (_, row)| {
        (number + 1, sum.saturating_add(row.duration_ns))
    });
    if more > 0 {
        let together = units::duration(together);
        html.raw("<p>")
            .text(&format!("… and {} more on the path, {together} together.", units::count(more)))
            .raw("</p>\n");
    }
    if rows.iter().any(|row| row.is_inferred) {
        html.raw("<p class=\"note\">~ what it waited for is inferred from the order of time.</p>\n");
    }
    put_beside(html, report);
    html.raw("</section>\n");
}

/// A length of time, or nothing for none.
pub(super) fn some_time(length: Duration) -> String {
    if length.is_zero() { String::new() } else { units::duration(length) }
}

fn put_row(
    html: &mut Markup,
    row: &PathRow,
    scale: &Scale,
    queued: Option<&str>,
    cost: Option<Option<&str>>,
) {
    html.raw(if row.is_longest { "<tr class=\"longest\">" } else { "<tr>" });
    html.raw("<th scope=\"row\">").name(&row.node);
    if row.executions > 1 {
        html.raw("&nbsp;×").text(&units::count(row.executions));
    }
    if row.is_inferred {
        html.raw("&nbsp;~");
    }
    if row.failed > 0 {
        html.raw(" <span class=\"bad\">").text(&units::count(row.failed)).raw(" failed</span>");
    }
    if row.is_longest {
        html.raw(" <small class=\"pole\">longest</small>");
    }
    html.raw("</th><td class=k>").name(&row.kind).raw("</td>");
    html.figure(Some(&units::duration(row.duration_ns)));
    html.raw("<td class=\"n opt\">").text(&units::share(row.wall_ratio)).raw("</td>");
    if let Some(queued) = queued {
        html.raw("<td class=\"n opt\">").text(queued).raw("</td>");
    }
    if let Some(cost) = cost {
        html.figure(cost);
    }
    html.raw("<td class=\"bar\"><svg aria-hidden=\"true\">");
    for piece in &row.pieces {
        let start = Timestamp::EPOCH.saturating_add(piece.start_ns);
        let class = if row.is_longest { "longest" } else { kind_class(&row.kind) };
        html.rect(class, scale.stretch(Interval { start, end: start.saturating_add(piece.duration_ns) }));
    }
    html.raw("</svg></td></tr>\n");
}

/// Nodes that did not set the run's length.
fn put_beside(html: &mut Markup, report: &Report) {
    let beside = &report.critical_path.beside;
    if beside.is_empty() {
        return;
    }
    html.raw("<p>Beside it: ");
    for (index, row) in beside.iter().enumerate() {
        if index > 0 {
            html.raw(", ");
        }
        html.name(&row.node).raw(" ").text(&units::duration(row.duration_ns));
        if let Some(slack) = row.slack_ns {
            html.raw(" (slack ").text(&units::duration(slack)).raw(")");
        }
    }
    html.raw(".</p>\n");
}
