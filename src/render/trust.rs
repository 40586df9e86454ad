//! The last block: totals that need judgement, and how much to trust the report.

use std::cmp::Reverse;

use super::page::{Line, Page, Role, no_break, plain};
use super::units;
use crate::money::Money;
use crate::report::{NodeReport, Quality, QualityLevel, Report};

/// The most nodes in the line about cost.
const MAX_NODES: usize = 3;

pub(super) fn put(page: &mut Page, report: &Report) {
    if report.run.spans > 1 {
        put_cost(page, report);
    }
    if let Some(tokens) = report.totals.tokens {
        let (input, output) = (units::count(tokens.input), units::count(tokens.output));
        put_labelled(page, "Tokens", format!("{input} in, {output} out"));
    }
    put_labelled(page, "Confidence", confidence(page, &report.quality));
    put_losses(page, report);
}

fn put_cost(page: &mut Page, report: &Report) {
    let Some(total) = report.totals.cost_usd else { return };
    let priced = |node: &&NodeReport| node.cost_usd.is_some_and(|cost| cost > Money::ZERO);
    let mut nodes: Vec<_> = report.nodes.iter().filter(|node| !node.is_root).filter(priced).collect();
    nodes.sort_by_key(|node| Reverse(node.cost_usd));
    let parts = nodes.iter().take(MAX_NODES).filter_map(|node| {
        let cost = node.cost_usd?;
        let share = if total > Money::ZERO {
            format!(" ({})", units::share(cost.as_usd() / total.as_usd()))
        } else {
            String::new()
        };
        Some(format!("{} {}{share}", page.name_in_text(&node.name), units::money(cost)))
    });
    let parts: Vec<_> = parts.map(|part| no_break(&part)).collect();
    let text = if parts.is_empty() { units::money(total) } else { parts.join(", ") };
    put_labelled(page, "Cost", text);
}

/// `high: 19 of 19 spans closed, 0 orphans, no skew`, or what is odd instead.
fn confidence(page: &Page, quality: &Quality) -> String {
    let level = match quality.level {
        QualityLevel::High => "high",
        QualityLevel::Medium => "medium",
        QualityLevel::Low => "low",
    };
    let all = u128::from(quality.closed_spans) + u128::from(quality.open_spans);
    let closed = units::grouped(quality.closed_spans.into());
    let mut facts = vec![
        format!("{closed} of {} spans closed", units::grouped(all)),
        units::counted(quality.orphans, "orphan", "orphans"),
    ];
    for (number, one, many) in [
        (quality.left_out_spans, "span left out", "spans left out"),
        (quality.inferred_edges, "edge inferred from time", "edges inferred from time"),
        (quality.detached_spans, "span nobody waited for", "spans nobody waited for"),
    ] {
        facts.extend((number > 0).then(|| units::counted(number, one, many)));
    }
    facts.extend(quality.warnings.iter().filter_map(|(name, number)| warning(page, name, *number)));
    let is_skewed = quality.warnings.contains_key("starts_before_parent");
    if quality.level == QualityLevel::High && !is_skewed {
        facts.push("no skew".to_owned());
    }
    let facts: Vec<_> = facts.iter().map(|fact| no_break(fact)).collect();
    format!("{level}: {}", facts.join(", "))
}

/// What was odd, in words; `None` where another figure already says it.
fn warning(page: &Page, name: &str, number: u64) -> Option<String> {
    let (one, many) = match name {
        "unfinished_span" | "missing_parent" | "left_out" => return None,
        "duplicate_span" => ("span came twice", "spans came twice"),
        "conflicting_span_id" => ("span id used twice", "span ids used twice"),
        "negative_duration" => ("span ends before it starts", "spans end before they start"),
        "parent_cycle" => ("cycle of parents", "cycles of parents"),
        "outlives_parent" => ("span outlives its parent", "spans outlive their parents"),
        "starts_before_parent" => ("span starts before its parent", "spans start before their parents"),
        "multiple_roots" => return Some("several roots".to_owned()),
        "skew_corrected" => ("span moved for clock skew", "spans moved for clock skew"),
        other => {
            let other = page.name_in_text(&other.replace('_', " "));
            return Some(format!("{other}: {}", units::count(number)));
        }
    };
    Some(units::counted(number, one, many))
}

fn put_losses(page: &mut Page, report: &Report) {
    let losses = report.pipeline.iter().flatten().filter(|(_, number)| **number > 0);
    let losses: Vec<_> = losses
        .map(|(reason, number)| {
            let reason = page.name_in_text(&reason.replace('_', " "));
            format!("{} ({reason})", no_break(&units::counted(*number, "span", "spans")))
        })
        .collect();
    if !losses.is_empty() {
        put_labelled(page, "Lost", losses.join(", "));
    }
}

/// A line that starts with what it is about: `Confidence    high: …`.
fn put_labelled(page: &mut Page, label: &str, text: String) {
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, label);
    page.put_wrapped(line, 14, [plain(text)]);
}
