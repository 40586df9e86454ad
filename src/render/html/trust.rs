//! Totals that need judgement, how much to trust the report, and where the page comes from.

use super::markup::Markup;
use crate::render::page::Page;
use crate::render::trust;
use crate::report::Report;

pub(super) fn put(html: &mut Markup, report: &Report) {
    let mut page = Page::of_labelled_lines();
    trust::put_without_cost(&mut page, report);
    html.raw("<section class=\"trust\"><h2>How much to trust it</h2>\n");
    put_lines(html, &page.into_labelled_lines());
    html.raw("</section>\n<footer><p>Made by ").name(&report.generator.name).raw(" ");
    html.text(&report.generator.version);
    html.raw(". This page holds names and figures only: no attributes, prompts or answers. It loads nothing.</p></footer>\n");
}

/// Lines with a label; one without belongs to the one before.
pub(super) fn put_lines(html: &mut Markup, lines: &[(String, String)]) {
    html.raw("<dl class=\"lines\">\n");
    for (label, text) in lines {
        if !label.is_empty() {
            html.raw("<dt>").text(label).raw("</dt>");
        }
        html.raw("<dd>").text(text).raw("</dd>\n");
    }
    html.raw("</dl>\n");
}
