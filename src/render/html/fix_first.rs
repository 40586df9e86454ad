//! What to fix, first thing first, in the words of the text report.

use super::markup::Markup;
use crate::render::page::{Page, Role};
use crate::render::text::{TextStyle, nothing_to_fix};
use crate::render::{fix_first, units};
use crate::report::{Confidence, Finding, Report};

/// The most subjects that are shown.
const MAX_SHOWN: usize = 8;

pub(super) fn put(html: &mut Markup, report: &Report) {
    let page = Page::new(&TextStyle::default());
    html.raw("<section class=\"fix\"><h2>Fix first</h2>\n");
    if report.run.spans <= 1 {
        html.raw("<p>This run is a single span: there is nothing to compare inside it.</p></section>\n");
        return;
    }
    if let Some(why) = nothing_to_fix(&page, report) {
        html.raw("<p>").text(&why).raw("</p></section>\n");
        return;
    }
    let groups = fix_first::by_subject(&report.findings);
    html.raw("<ol>\n");
    for group in groups.iter().take(MAX_SHOWN) {
        put_group(html, &page, report, group);
    }
    html.raw("</ol>\n");
    let more = groups.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        html.raw("<p>… and ").text(&units::count(more as u64)).raw(" more</p>\n");
    }
    if let Some(sentence) = fix_first::saves_nothing(&page, report) {
        html.raw("<p>").text(&sentence).raw("</p>\n");
    }
    html.raw("</section>\n");
}

fn put_group(html: &mut Markup, page: &Page, report: &Report, group: &[&Finding]) {
    let Some(first) = group.first() else { return };
    let (role, word) = fix_first::severity(group);
    let class = match role {
        Role::Critical => "critical",
        Role::High => "high",
        Role::Medium => "medium",
        _ => "low",
    };
    html.raw("<li><h3><span class=\"severity ").raw(class).raw("\">").raw(word).raw("</span> ");
    html.name(&first.subject);
    if group.iter().all(|finding| finding.confidence == Confidence::Guess) {
        html.raw(" <small>guess</small>");
    }
    html.raw("</h3>");
    let cost = || group.iter().find_map(|finding| finding.saves_max_usd).map(units::money);
    let saves = match first.saves_max_ns.is_zero() {
        true => cost(),
        false => {
            Some(format!("{} · {}", units::duration(first.saves_max_ns), units::share(first.wall_ratio)))
        }
    };
    if let Some(saves) = saves {
        html.raw("<p class=\"saves\">saves at most <b>").text(&saves).raw("</b></p>");
    }
    // The longest pole says why in general, so it comes first; the other rules say more about the same node.
    let (poles, others): (Vec<&Finding>, Vec<&Finding>) =
        group.iter().partition(|finding| finding.code == "LP101");
    for finding in poles {
        let (reasons, changes) = (fix_first::reasons(page, finding), fix_first::changes(report, finding));
        if !reasons.is_empty() {
            html.raw("<p>").clauses(&reasons).raw("</p>");
        }
        if !changes.is_empty() {
            html.raw("<p><i>Try:</i> ").clauses(&changes).raw("</p>");
        }
    }
    for finding in others {
        let (reasons, changes) = (fix_first::reasons(page, finding), fix_first::changes(report, finding));
        html.raw("<p><code>").name(&finding.code).raw("</code> ").name(&finding.title);
        if !reasons.is_empty() {
            html.raw(": ").clauses(&reasons);
        }
        if !changes.is_empty() {
            html.raw("; ").clauses(&changes);
        }
        html.raw("</p>");
    }
    html.raw("</li>\n");
}
