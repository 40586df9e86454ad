//! Every node in figures.

use super::markup::Markup;
use super::path::some_time;
use crate::render::{cost, units};
use crate::report::{NodeReport, Report};

/// The most rows that are shown.
const MAX_ROWS: usize = 200;

pub(super) fn put(html: &mut Markup, report: &Report) {
    let columns = Columns::of(report);
    html.raw("<section class=\"nodes\"><h2>Nodes</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Nodes\"><table><thead><tr><th scope=\"col\">Node</th><th scope=\"col\">kind</th><th scope=\"col\" class=\"n\">calls</th><th scope=\"col\" class=\"n\">total</th><th scope=\"col\" class=\"n\">self</th><th scope=\"col\" class=\"n\">on path</th><th scope=\"col\" class=\"n\">saves at most</th><th scope=\"col\" class=\"n\">p50</th><th scope=\"col\" class=\"n\">p95</th><th scope=\"col\" class=\"n\">max</th>");
    for (is_there, head) in [
        (columns.queued, "<th scope=\"col\" class=\"n\">queued</th>"),
        (columns.failures, "<th scope=\"col\" class=\"n\">failed</th>"),
        (columns.tokens, "<th scope=\"col\" class=\"n\">tokens in / out</th>"),
        (columns.cost, "<th scope=\"col\" class=\"n\">cost</th>"),
    ] {
        html.raw(if is_there { head } else { "" });
    }
    html.raw("</tr></thead><tbody>\n");
    for node in report.nodes.iter().take(MAX_ROWS) {
        put_row(html, report, node, &columns);
    }
    html.raw("</tbody></table></div>\n");
    let more = report.nodes.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        html.raw("<p>… and ").text(&units::counted(more as u64, "more node", "more nodes"));
        html.raw(" with less time on the path.</p>\n");
    }
    html.raw("</section>\n");
}

/// The columns that only some runs have.
struct Columns {
    queued: bool,
    failures: bool,
    tokens: bool,
    cost: bool,
    savings: bool,
}

impl Columns {
    fn of(report: &Report) -> Self {
        let any = |is_there: fn(&NodeReport) -> bool| report.nodes.iter().any(is_there);
        Columns {
            queued: any(|node| !node.queued_ns.is_zero()),
            failures: any(|node| node.failures > 0),
            tokens: any(|node| node.tokens.is_some()),
            cost: report.nodes.iter().any(|node| cost_of(report, node).is_some()),
            savings: !super::summary::is_without_savings(report) || report.findings.is_empty(),
        }
    }
}

fn cost_of(report: &Report, node: &NodeReport) -> Option<String> {
    cost::of_node(report, &node.name, node.cost_usd)
}

fn put_row(html: &mut Markup, report: &Report, node: &NodeReport, columns: &Columns) {
    html.raw("<tr><th scope=\"row\">").name(&node.name);
    if let Some(model) = node.model.as_deref().filter(|model| !node.name.contains(model)) {
        html.raw(" <small>").name(model).raw("</small>");
    }
    html.raw("</th><td class=k>").name(&node.kind).raw("</td>");
    html.figure(Some(&units::count(node.calls)));
    let save_max = node.save_max_ns.filter(|_| columns.savings).map(some_time);
    let on_path = match node.on_path_ns.is_zero() {
        true => String::new(),
        false => {
            format!("{} · {}", units::duration(node.on_path_ns), units::share(node.critical_path_ratio))
        }
    };
    html.figure(Some(&units::duration(node.duration.sum_ns))).figure(Some(&units::duration(node.self_ns)));
    html.figure(Some(&on_path)).figure(save_max.as_deref());
    for length in [node.duration.p50_ns, node.duration.p95_ns, node.duration.max_ns] {
        html.figure(Some(&units::duration(length)));
    }
    if columns.queued {
        html.figure(Some(&some_time(node.queued_ns)));
    }
    if columns.failures {
        html.figure((node.failures > 0).then(|| units::count(node.failures)).as_deref());
    }
    if columns.tokens {
        let tokens =
            node.tokens.map(|it| format!("{} / {}", units::count(it.input), units::count(it.output)));
        html.figure(tokens.as_deref());
    }
    if columns.cost {
        html.figure(cost_of(report, node).as_deref());
    }
    html.raw("</tr>\n");
}
