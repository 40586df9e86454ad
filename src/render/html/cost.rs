//! What the run cost: by model and by node, and what is not known of it.

use super::markup::Markup;
use crate::render::page::Page;
use crate::render::{cost, units};
use crate::report::{CostSection, ModelCost, NodeCost, Report, TokenSums};

/// The most rows of a table.
const MAX_ROWS: usize = 50;

pub(super) fn put(html: &mut Markup, report: &Report) {
    let Some(section) = &report.cost else { return };
    html.raw("<section class=\"cost\"><h2>Cost</h2>\n");
    if !section.models.is_empty() {
        put_models(html, section);
    }
    let nodes: Vec<&NodeCost> = section.nodes.iter().take(MAX_ROWS).collect();
    if !nodes.is_empty() {
        put_nodes(html, &nodes);
    }
    let mut page = Page::of_labelled_lines();
    cost::put(&mut page, report);
    super::trust::put_lines(html, &page.into_labelled_lines());
    html.raw("</section>\n");
}

fn put_models(html: &mut Markup, section: &CostSection) {
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Cost by model\"><table><thead><tr><th scope=\"col\">Model</th><th scope=\"col\">provider</th><th scope=\"col\" class=\"n\">calls</th><th scope=\"col\">tokens</th><th scope=\"col\" class=\"n\">cost</th><th scope=\"col\" class=\"n\">share</th></tr></thead><tbody>\n");
    for row in section.models.iter().take(MAX_ROWS) {
        let ModelCost { model, provider, .. } = row;
        html.raw("<tr><th scope=\"row\">").name(model.as_deref().unwrap_or("not told")).raw("</th><td>");
        html.text(provider.as_deref().unwrap_or_default()).raw("</td>");
        html.figure(Some(&units::count(row.calls)));
        put_tokens(html, &row.tokens);
        put_amount(html, cost::amount(row.cost_usd, row.unpriced_calls > 0), row.cost_ratio);
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div>\n");
}

fn put_nodes(html: &mut Markup, nodes: &[&NodeCost]) {
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Cost by node\"><table><thead><tr><th scope=\"col\">Node</th><th scope=\"col\" class=\"n\">calls of models</th><th scope=\"col\">tokens</th><th scope=\"col\" class=\"n\">cost</th><th scope=\"col\" class=\"n\">share</th><th scope=\"col\" class=\"n\">share of the time</th></tr></thead><tbody>\n");
    for row in nodes {
        html.raw("<tr><th scope=\"row\">")
            .name(&row.node)
            .raw("</th>")
            .figure(Some(&units::count(row.calls)));
        put_tokens(html, &row.tokens);
        put_amount(html, cost::amount(row.cost_usd, row.unpriced_calls > 0), row.cost_ratio);
        html.figure(Some(&units::share(row.path_ratio))).raw("</tr>\n");
    }
    html.raw("</tbody></table></div>\n");
}

fn put_tokens(html: &mut Markup, tokens: &TokenSums) {
    html.raw("<td>").text(&cost::tokens(tokens).unwrap_or_default()).raw("</td>");
}

fn put_amount(html: &mut Markup, amount: Option<String>, ratio: Option<f64>) {
    html.figure(amount.as_deref()).figure(ratio.map(units::share).as_deref());
}
