//! What to fix, first thing first: what it would save at most, why, and what a realistic change would save.

use super::excerpt::Excerpt;
use super::page::{Line, Page, Part, Role, no_break, plain};
use super::{evidence, units};
use crate::report::{Confidence, Finding, Report, Severity};

/// How many subjects are shown usually.
const SHOWN: usize = 5;

pub(super) fn put(page: &mut Page, report: &Report, excerpt: &Excerpt) {
    let edge = page.text_width() - 6;
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "Fix first");
    page.add_right(&mut line, Role::Plain, "save at most", edge);
    page.put(line);
    page.blank();
    let groups = by_subject(&report.findings);
    for (index, group) in groups.iter().take(excerpt.rows(SHOWN)).enumerate() {
        put_headline(page, index + 1, group, edge);
        // The longest pole says why in general, so it comes first; the other rules say more about the same node.
        let (poles, others): (Vec<&Finding>, Vec<&Finding>) =
            group.iter().partition(|finding| finding.code == "LP101");
        for finding in poles {
            put_clauses(page, "why", 12, reasons(page, finding));
            put_clauses(page, "try", 12, changes(report, finding));
        }
        for finding in others {
            let title = page.name(&finding.title, 48);
            let mut clauses = reasons(page, finding);
            match clauses.first_mut() {
                Some(first) => first.insert(0, plain(format!("{title}: "))),
                None => clauses.push(vec![plain(title)]),
            }
            clauses.extend(changes(report, finding));
            put_clauses(page, &page.name(&finding.code, 5), 13, clauses);
        }
    }
    let more = groups.len().saturating_sub(excerpt.rows(SHOWN));
    if more > 0 {
        page.put_words(2, &format!("… and {} more", units::count(more as u64)));
    }
    put_combined(page, report);
}

/// The findings about one subject together, in order of the first about each.
pub(super) fn by_subject(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        match groups.iter_mut().find(|group| group.first().is_some_and(|it| it.subject == finding.subject)) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups
}

fn put_headline(page: &mut Page, number: usize, group: &[&Finding], edge: usize) {
    let Some(first) = group.first() else { return };
    let (role, severity) = severity(group);
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, &format!("  {number}  "));
    page.add(&mut line, role, severity);
    line.tab(15, 2);
    let is_guess = group.iter().all(|finding| finding.confidence == Confidence::Guess);
    let guess = if is_guess { " (guess)" } else { "" };
    // Ends two columns before the widest saving, such as `41.2 ms  <1%`.
    let name_width = edge.saturating_sub(15 + guess.len() + 2 + 7 + 6);
    page.add(&mut line, Role::Plain, &page.name(&first.subject, name_width));
    page.add(&mut line, Role::Dim, guess);
    if !first.saves_max_ns.is_zero() {
        page.add_right(&mut line, Role::Plain, &units::duration(first.saves_max_ns), edge - 6);
        page.add_right(&mut line, Role::Plain, &units::share(first.wall_ratio), edge);
    } else if let Some(cost) = group.iter().find_map(|finding| finding.saves_max_usd) {
        page.add_right(&mut line, Role::Plain, &units::money(cost), edge - 6);
    }
    page.put(line);
}

pub(super) fn reasons(page: &Page, finding: &Finding) -> Vec<Vec<Part>> {
    finding.why.iter().map(|reason| vec![plain(evidence::reason(page, &finding.subject, reason))]).collect()
}

pub(super) fn changes(report: &Report, finding: &Finding) -> Vec<Vec<Part>> {
    finding.suggestions.iter().map(|change| evidence::suggestion(change, report.run.wall_ns)).collect()
}

/// What the first suggestions save together, and what would save nothing.
fn put_combined(page: &mut Page, report: &Report) {
    let sentences: Vec<String> =
        [together(page, report), saves_nothing(page, report)].into_iter().flatten().collect();
    if !sentences.is_empty() {
        page.blank();
    }
    sentences.iter().for_each(|sentence| page.put_words(2, sentence));
}

/// What the first suggestions save together, in a sentence.
pub(super) fn together(page: &Page, report: &Report) -> Option<String> {
    let combined = report.combined.as_ref()?;
    let changes = combined
        .changes
        .iter()
        .map(|change| evidence::change_of(&page.name_in_text(&change.subject), &change.suggestion));
    let ratio = combined.saves_ns.ratio_of(report.run.wall_ns).unwrap_or_default();
    Some(format!(
        "{}, together: {} → {} (−{}).",
        changes.collect::<Vec<_>>().join(" and "),
        no_break(&units::duration(report.run.wall_ns)),
        no_break(&units::duration(combined.wall_ns)),
        units::share(ratio),
    ))
}

/// What would save nothing, in a sentence.
pub(super) fn saves_nothing(page: &Page, report: &Report) -> Option<String> {
    let nothing: Vec<String> = report.saves_nothing.iter().map(|node| page.name_in_text(node)).collect();
    (!nothing.is_empty()).then(|| format!("Speeding up {} saves nothing.", nothing.join(" or ")))
}

/// The severity of a group of findings in words: that of its worst.
pub(super) fn severity(group: &[&Finding]) -> (Role, &'static str) {
    match group.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Low) {
        Severity::Critical => (Role::Critical, "CRITICAL"),
        Severity::High => (Role::High, "HIGH"),
        Severity::Medium => (Role::Medium, "MEDIUM"),
        Severity::Low => (Role::Dim, "LOW"),
    }
}

/// Clauses with semicolons between them behind a label, if there are any.
fn put_clauses(page: &mut Page, label: &str, indent: usize, clauses: Vec<Vec<Part>>) {
    if clauses.is_empty() {
        return;
    }
    let mut line = Line::default();
    line.tab(7, 0);
    page.add(&mut line, Role::Dim, label);
    let parts = clauses.into_iter().enumerate().flat_map(|(index, clause)| {
        let semicolon = if index > 0 { "; " } else { "" };
        std::iter::once(plain(semicolon)).chain(clause)
    });
    page.put_wrapped(line, indent, parts);
}
