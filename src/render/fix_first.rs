//! What to fix, first thing first: what it would save at most, why, and what a realistic change would save.

use super::page::{Line, Page, Part, Role, no_break, plain};
use super::units;
use crate::report::{Confidence, Finding, Reason, Report, Severity, Suggestion};
use crate::time::Duration;

/// The most findings that are shown.
const MAX_SHOWN: usize = 5;

pub(super) fn put(page: &mut Page, report: &Report) {
    let edge = page.text_width() - 6;
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "Fix first");
    page.add_right(&mut line, Role::Plain, "save at most", edge);
    page.put(line);
    page.blank();
    for (index, finding) in report.findings.iter().take(MAX_SHOWN).enumerate() {
        put_finding(page, index + 1, finding, edge);
        let reasons = finding.why.iter().map(|reason| vec![plain(why(page, &finding.subject, reason))]);
        put_clauses(page, "why", reasons.collect());
        let changes = finding.suggestions.iter().map(|change| suggestion(change, report.run.wall_ns));
        put_clauses(page, "try", changes.collect());
    }
    let more = report.findings.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        page.put_words(2, &format!("… and {} more", units::count(more as u64)));
    }
}

fn put_finding(page: &mut Page, number: usize, finding: &Finding, edge: usize) {
    let (role, severity) = match finding.severity {
        Severity::Critical => (Role::Critical, "CRITICAL"),
        Severity::High => (Role::High, "HIGH"),
        Severity::Medium => (Role::Medium, "MEDIUM"),
        Severity::Low => (Role::Dim, "LOW"),
    };
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, &format!("  {number}  "));
    page.add(&mut line, role, severity);
    line.tab(15, 2);
    let guess = if finding.confidence == Confidence::Guess { " (guess)" } else { "" };
    // Ends two columns before the widest saving, such as `41.2 ms  <1%`.
    let name_width = edge.saturating_sub(15 + guess.len() + 2 + 7 + 6);
    page.add(&mut line, Role::Plain, &page.name(&finding.subject, name_width));
    page.add(&mut line, Role::Dim, guess);
    page.add_right(&mut line, Role::Plain, &units::duration(finding.saves_max_ns), edge - 6);
    page.add_right(&mut line, Role::Plain, &units::share(finding.wall_ratio), edge);
    page.put(line);
}

/// Clauses with semicolons between them behind a label, if there are any.
fn put_clauses(page: &mut Page, label: &str, clauses: Vec<Vec<Part>>) {
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
    page.put_wrapped(line, 12, parts);
}

fn why(page: &Page, subject: &str, reason: &Reason) -> String {
    let time = |length: Duration| no_break(&units::duration(length));
    match reason {
        Reason::Calls { calls, average_ns, peak_concurrency } => {
            let at_once = match *peak_concurrency {
                _ if *calls <= 1 => String::new(),
                ..=1 => ", one at a time".to_owned(),
                peak if peak >= *calls => ", all at once".to_owned(),
                peak => format!(" with at most {} at once", units::count(peak)),
            };
            format!("{} of about {}{at_once}", units::counted(*calls, "call", "calls"), time(*average_ns))
        }
        Reason::Queued { queued_ns, behind: None } => format!("{} spent queueing", time(*queued_ns)),
        Reason::Queued { queued_ns, behind: Some(node) } if node == subject => {
            format!("{} spent queueing behind one another", time(*queued_ns))
        }
        Reason::Queued { queued_ns, behind: Some(node) } => {
            format!("{} spent queueing behind {}", time(*queued_ns), page.name_in_text(node))
        }
        Reason::PaceSetBy { on_path_ns, after_ns, node } => {
            let other = node.as_deref().map(|node| page.name_in_text(node));
            let other = other.as_deref().unwrap_or("other work");
            format!("takes {}, but past {} {other} sets the pace", time(*on_path_ns), time(*after_ns))
        }
        Reason::NothingBeside => "nothing runs beside it".to_owned(),
        Reason::Failed { failures, retries, on_path_ns } => {
            let mut text = format!("{} failed", units::counted(*failures, "call", "calls"));
            if !on_path_ns.is_zero() {
                text += &format!(" ({} of the path)", time(*on_path_ns));
            }
            if *retries > 0 {
                text += &format!(", {}", units::counted(*retries, "retry", "retries"));
            }
            text
        }
        Reason::Tokens { output, per_second } => {
            let speed = per_second.filter(|speed| speed.is_finite() && *speed >= 0.0);
            let speed = speed.map(|speed| match speed {
                ..9.95 => format!("{speed:.1} tokens/s"),
                _ => format!("{} tokens/s", units::count(speed.round() as u64)),
            });
            let speed = speed.map(|speed| format!(" at {}", no_break(&speed)));
            format!("wrote {}{}", units::counted(*output, "token", "tokens"), speed.unwrap_or_default())
        }
        Reason::OwnCpu { busy_ratio } => {
            format!(
                "a thread runs in it {} of its time: it computes, it does not wait",
                units::share(*busy_ratio)
            )
        }
    }
}

fn suggestion(suggestion: &Suggestion, wall: Duration) -> Vec<Part> {
    let (change, saves) = match suggestion {
        Suggestion::Faster { times, saves_ns } => (format!("{times}× faster"), *saves_ns),
        Suggestion::NoQueueing { saves_ns } => ("no queueing".to_owned(), *saves_ns),
    };
    let share = saves.ratio_of(wall).map(|ratio| format!(" ({})", units::share(ratio)));
    vec![
        plain(format!("{change} saves ")),
        (Role::Gain, no_break(&units::duration(saves))),
        plain(share.unwrap_or_default()),
    ]
}
