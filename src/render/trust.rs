//! The last block: totals that need judgement, and how much to trust the report.

use super::cost;
use super::page::{Page, no_break};
use super::units;
use crate::report::{BlockingRow, Bound, BudgetUse, DetachedRow, Quality, QualityLevel, Report};

/// The most nodes in one line.
const MAX_NODES: usize = 3;
/// Parts of the run below this share are not named.
const LEAST_RATIO: f64 = 0.005;
/// What could be gained by less queueing is told from this share of the run on.
const LEAST_GAIN: f64 = 0.01;

pub(super) fn put(page: &mut Page, report: &Report) {
    if report.run.spans > 1 {
        put_limits(page, report);
        cost::put(page, report);
    }
    put_counts(page, report);
}

/// The same for those who tell the cost elsewhere.
pub(super) fn put_without_cost(page: &mut Page, report: &Report) {
    if report.run.spans > 1 {
        put_limits(page, report);
    }
    put_counts(page, report);
}

/// What limits the run.
pub(super) fn put_limits(page: &mut Page, report: &Report) {
    put_bounds(page, report);
    put_parallelism(page, report);
    put_blocking(page, report);
    put_detached(page, report);
}

/// What it used, and how much to trust the report.
pub(super) fn put_counts(page: &mut Page, report: &Report) {
    if let Some(tokens) = tokens(report) {
        page.put_labelled("Tokens", tokens);
    }
    if !report.budgets.is_empty() {
        let budgets: Vec<String> = report.budgets.iter().map(budget).collect();
        page.put_labelled("Budget", budgets.join(", "));
    }
    page.put_labelled("Confidence", confidence(page, &report.quality));
    put_losses(page, report);
}

/// `cost $0.61 of $0.50 (exceeded)`.
fn budget(budget: &BudgetUse) -> String {
    let text = match budget {
        BudgetUse::CostUsd { limit, used } => {
            format!("cost {} of {}", units::money(*used), units::money(*limit))
        }
        BudgetUse::Tokens { limit, used } => {
            format!("tokens {} of {}", units::count(*used), units::count(*limit))
        }
    };
    no_break(&if budget.is_exceeded() { format!("{text} (exceeded)") } else { text })
}

/// By kind, as far as they are known.
fn tokens(report: &Report) -> Option<String> {
    let by_kind = report.cost.as_ref().and_then(|section| cost::tokens(&section.tokens));
    by_kind.or_else(|| {
        let tokens = report.totals.tokens?;
        Some(format!("{} in, {} out", units::count(tokens.input), units::count(tokens.output)))
    })
}

/// What the critical path was doing, largest part first.
fn put_bounds(page: &mut Page, report: &Report) {
    let part = |bound: &Bound| {
        let kind = match bound.kind.as_str() {
            "model_wait" => "model wait".to_owned(),
            "own_cpu" => "own CPU".to_owned(),
            "no_span" => "no span".to_owned(),
            "wait_other" => "other".to_owned(),
            other => match other.strip_prefix("wait_") {
                Some(kind) => format!("{} wait", page.name_in_text(kind)),
                None => page.name_in_text(other),
            },
        };
        no_break(&format!("{kind} {}", units::share(bound.wall_ratio)))
    };
    let worth_naming = report.bounds.iter().filter(|bound| bound.wall_ratio >= LEAST_RATIO);
    let parts: Vec<String> = worth_naming.map(part).collect();
    // A run of one kind of work that does not say more is not worth a line.
    if parts.len() > 1 || report.bounds.first().is_some_and(|bound| bound.kind != "wait_other") {
        page.put_labelled("Bounded by", parts.join(", "));
    }
}

/// How much shorter the run could be if nothing but its graph held it up.
fn put_parallelism(page: &mut Page, report: &Report) {
    let (allowed, totals) = (&report.allowed_path, &report.totals);
    let length = no_break(&units::duration(allowed.wall_ns));
    let saved = report.run.wall_ns.saturating_sub(allowed.wall_ns).ratio_of(report.run.wall_ns);
    if let Some(efficiency) = totals.efficiency {
        let share = units::share(efficiency);
        page.put_labelled("Parallelism", format!("{share} of the best this graph allows ({length})"));
    } else if saved.is_some_and(|saved| saved >= LEAST_GAIN) {
        let text = format!(
            "{length} with no queueing; what the graph allows needs its edges declared (node.depends_on)"
        );
        page.put_labelled("Parallelism", text);
    }
}

fn put_blocking(page: &mut Page, report: &Report) {
    let row = |row: &BlockingRow| {
        let name = page.name_in_text(row.node.as_deref().unwrap_or(&row.span));
        let longest = no_break(&units::duration(row.longest_poll_ns));
        let spans = if row.spans > 1 { format!(" (×{})", units::count(row.spans)) } else { String::new() };
        format!("{name} kept its thread for {longest}{spans}")
    };
    let rows: Vec<String> = report.blocking.iter().take(MAX_NODES).map(row).collect();
    if !rows.is_empty() {
        page.put_labelled("Blocking", rows.join(", "));
    }
}

fn put_detached(page: &mut Page, report: &Report) {
    let row = |row: &DetachedRow| {
        let times = if row.spans > 1 { format!(" ×{}", units::count(row.spans)) } else { String::new() };
        no_break(&format!("{}{times} {}", page.name_in_text(&row.name), units::duration(row.duration_ns)))
    };
    let rows: Vec<String> = report.detached.iter().take(MAX_NODES).map(row).collect();
    if !rows.is_empty() {
        page.put_labelled("Detached", format!("{}: nobody waited for that", rows.join(", ")));
    }
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
        (quality.declared_edges, "edge declared", "edges declared"),
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
    let mut facts: Vec<_> = facts.iter().map(|fact| no_break(fact)).collect();
    if !quality.not_claimed.is_empty() {
        let claims: Vec<_> =
            quality.not_claimed.iter().map(|claim| page.term(&claim.replace('_', " "))).collect();
        facts.push(format!("not claimed: {}", claims.join(", ")));
    }
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
        "edge_contradicted" => {
            ("declared edge is contradicted by time", "declared edges are contradicted by time")
        }
        "unknown_dependency" => ("name in depends_on is no node", "names in depends_on are no nodes"),
        "skew_corrected" => ("span moved for clock skew", "spans moved for clock skew"),
        other => {
            let other = page.term(&other.replace('_', " "));
            return Some(format!("{other}: {}", units::count(number)));
        }
    };
    Some(units::counted(number, one, many))
}

fn put_losses(page: &mut Page, report: &Report) {
    let losses = report.pipeline.iter().flatten().filter(|(_, number)| **number > 0);
    let losses: Vec<_> = losses
        .map(|(reason, number)| {
            let reason = page.term(&reason.replace('_', " "));
            format!("{} ({reason})", no_break(&units::counted(*number, "span", "spans")))
        })
        .collect();
    if !losses.is_empty() {
        page.put_labelled("Lost", losses.join(", "));
    }
}
