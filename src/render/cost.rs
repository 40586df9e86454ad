//! What a run cost: who spent it, who says so, and what is not known of it.

use std::cmp::Reverse;

use super::page::{Page, no_break};
use super::units;
use crate::money::Money;
use crate::report::{
    CostSection, CostSourceRow, NodeReport, Report, RollUpDifference, TokenSums, UnpricedRow,
};

/// The most names in one line.
const MAX_NAMES: usize = 3;
/// The most columns of a hint, which may come from a file.
const MAX_HINT: usize = 240;
/// The most columns of a table's name.
const MAX_TABLE: usize = 44;

/// An amount that may be only a part: `$0.0913`, `≥ $0.0913`, `?`; `None` where there is nothing to know.
pub(super) fn amount(known: Option<Money>, has_more: bool) -> Option<String> {
    match known {
        Some(cost) if has_more => Some(format!("≥ {}", units::money(cost))),
        Some(cost) => Some(units::money(cost)),
        None if has_more => Some("?".to_owned()),
        None => None,
    }
}

/// What the run cost, for its first lines.
pub(super) fn of_run(report: &Report) -> Option<String> {
    let section = report.cost.as_ref();
    let has_more = section.is_some_and(|section| section.is_lower_bound && !is_without_calls(section));
    amount(report.totals.cost_usd, has_more).map(|cost| no_break(&cost))
}

/// Nothing in it can have cost anything.
fn is_without_calls(section: &CostSection) -> bool {
    section.calls == 0 && section.total_usd.is_none()
}

/// What a node cost, as far as is known.
pub(super) fn of_node(report: &Report, node: &str, known: Option<Money>) -> Option<String> {
    let mut rows = report.cost.iter().flat_map(|section| &section.nodes);
    amount(known, rows.any(|row| row.node == node && row.is_lower_bound))
}

pub(super) fn put(page: &mut Page, report: &Report) {
    put_nodes(page, report);
    if let Some(section) = &report.cost {
        put_shares(page, section);
        put_models(page, section);
        put_unpriced(page, section);
        put_sources(page, section);
        put_roll_ups(page, section);
        put_warnings(page, section);
    }
}

/// The dearest nodes.
fn put_nodes(page: &mut Page, report: &Report) {
    let Some(total) = report.totals.cost_usd else { return };
    let priced = |node: &&NodeReport| node.cost_usd.is_some_and(|cost| cost > Money::ZERO);
    let mut nodes: Vec<_> = report.nodes.iter().filter(|node| !node.is_root).filter(priced).collect();
    nodes.sort_by_key(|node| Reverse(node.cost_usd));
    let named = nodes.iter().take(MAX_NAMES).filter_map(|node| {
        Some(format!("{} {}", page.name_in_text(&node.name), with_share(node.cost_usd?, total)))
    });
    let mut parts: Vec<_> = named.map(|part| no_break(&part)).collect();
    let outside = report.cost.as_ref().and_then(|section| section.outside_nodes_usd);
    if let Some(outside) = outside.filter(|outside| *outside > Money::ZERO) {
        parts.push(no_break(&format!("outside nodes {}", with_share(outside, total))));
    }
    let text = if parts.is_empty() { units::money(total) } else { parts.join(", ") };
    page.put_labelled("Cost", text);
}

fn with_share(part: Money, total: Money) -> String {
    let share = (total > Money::ZERO).then(|| format!(" ({})", units::share(part.as_usd() / total.as_usd())));
    units::money(part) + &share.unwrap_or_default()
}

/// What of it was spent beside the path, on retries and on failures.
fn put_shares(page: &mut Page, section: &CostSection) {
    let Some(total) = section.total_usd else { return };
    let parts = [
        (section.off_path_usd, "off the critical path"),
        (section.retries_usd, "in retries"),
        (section.failed_usd, "in calls that failed"),
    ];
    let part = |(cost, what): (Option<Money>, &str)| {
        let cost = cost.filter(|cost| *cost > Money::ZERO)?;
        Some(no_break(&format!("{} {what}", with_share(cost, total))))
    };
    let parts: Vec<String> = parts.into_iter().filter_map(part).collect();
    if !parts.is_empty() {
        page.put_labelled("", parts.join(", "));
    }
}

/// The dearest models, where there are several.
fn put_models(page: &mut Page, section: &CostSection) {
    let named = section.models.iter().filter_map(|row| {
        let cost = amount(row.cost_usd, row.is_lower_bound)?;
        let model = page.name_in_text(row.model.as_deref()?);
        Some(no_break(&format!("{model} ×{} {cost}", units::count(row.calls))))
    });
    let named: Vec<String> = named.collect();
    if named.len() > 1 {
        page.put_labelled("Models", listed(named));
    }
}

/// The first names, and how many more there are.
fn listed(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    if more > 0 {
        names.push(format!("and {} more", units::count(more as u64)));
    }
    names.join(", ")
}

/// The calls whose cost is not known, why, and what would make it known.
fn put_unpriced(page: &mut Page, section: &CostSection) {
    let without: Vec<String> =
        section.without_price.keys().map(|unit| page.term(&unit.replace('_', " "))).collect();
    if !without.is_empty() {
        let calls = units::counted(section.partly_priced_calls, "call", "calls");
        page.put_labelled("Unpriced", format!("{} in {}", listed(without), no_break(&calls)));
    }
    if section.unpriced.is_empty() {
        return;
    }
    let row = |row: &UnpricedRow| {
        let model = row.model.as_deref().map(|model| page.name_in_text(model));
        let calls = units::counted(row.calls, "call", "calls");
        let of = model.map(|model| format!(" of {model}")).unwrap_or_default();
        let mut why = vec![page.term(&row.reason.replace('_', " "))];
        why.extend(tokens(&row.tokens));
        if row.failed > 0 {
            why.push(format!("{} failed", units::count(row.failed)));
        }
        format!("{}{of} ({})", no_break(&calls), why.join(", "))
    };
    let rows: Vec<String> = section.unpriced.iter().map(row).collect();
    page.put_labelled("Unpriced", listed(rows));
    if section.covered_calls > 0 {
        let covered = units::counted(section.covered_calls, "of them is", "of them are");
        page.put_labelled("", format!("{covered} in what a span around them says"));
    }
    let mut hints: Vec<&str> = Vec::new();
    for hint in section.unpriced.iter().filter_map(|row| row.hint.as_deref()) {
        if !hints.contains(&hint) && hints.len() < MAX_NAMES {
            hints.push(hint);
        }
    }
    for hint in hints {
        page.put_labelled("", page.name(hint, MAX_HINT));
    }
}

/// Who says what it cost, and which tables had no answer. That the program says all of it needs no line.
fn put_sources(page: &mut Page, section: &CostSection) {
    if section.price_tables.is_empty() && section.sources.iter().all(|row| row.source == "recorded") {
        return;
    }
    let table = |name: &str| no_break(&page.name(name, MAX_TABLE));
    let row = |row: &CostSourceRow| {
        let cost = units::money(row.cost_usd);
        match (row.key.as_deref(), row.table.as_deref()) {
            _ if row.source == "recorded" => no_break(&format!("{cost} recorded by the program")),
            (Some(key), _) => no_break(&format!("{cost} told in {}", page.name_in_text(key))),
            (None, Some(name)) => format!("{} with {}", no_break(&format!("{cost} estimated")), table(name)),
            (None, None) => no_break(&format!("{cost} {}", page.name_in_text(&row.source))),
        }
    };
    let mut parts: Vec<String> = section.sources.iter().take(2 * MAX_NAMES).map(row).collect();
    let has_answered = |name: &&String| section.sources.iter().any(|row| row.table.as_ref() == Some(*name));
    let in_vain = section.price_tables.iter().filter(|name| !has_answered(name)).map(|name| table(name));
    let in_vain: Vec<String> = in_vain.collect();
    if !in_vain.is_empty() {
        parts.push(format!("nothing found in {}", listed(in_vain)));
    }
    page.put_labelled("Prices", parts.join(", "));
}

/// The spans whose own sums are others than those of their calls.
fn put_roll_ups(page: &mut Page, section: &CostSection) {
    for row in section.roll_ups.iter().take(MAX_NAMES) {
        page.put_labelled("Differs", difference(page, row));
    }
    let more = section.roll_ups_total.saturating_sub(section.roll_ups.len().min(MAX_NAMES) as u64);
    if more > 0 && !section.roll_ups.is_empty() {
        page.put_labelled("", format!("and {} more", units::count(more)));
    }
}

/// What was told of costs and is not so.
fn put_warnings(page: &mut Page, section: &CostSection) {
    let warning = |(name, count): (&String, &u64)| match name.as_str() {
        "told_free" => {
            let calls = units::counted(*count, "call is", "calls are");
            format!("{calls} told to cost nothing, but the price table has a price, which is taken")
        }
        "bad_cost" => {
            format!("{} no amount of money", units::counted(*count, "told cost is", "told costs are"))
        }
        other => format!("{}: {}", page.term(&other.replace('_', " ")), units::count(*count)),
    };
    let warnings: Vec<String> = section.warnings.iter().take(MAX_NAMES).map(warning).collect();
    if !warnings.is_empty() {
        page.put_labelled("Odd costs", warnings.join("; "));
    }
}

/// `research says $0.0500, its 3 calls come to $0.0412; the calls count`.
fn difference(page: &Page, row: &RollUpDifference) -> String {
    let name = page.name_in_text(row.node.as_deref().unwrap_or(&row.span));
    let told = |text: &str| match row.measure.as_str() {
        "cost" => text.parse().ok().map(units::money),
        _ => text.parse().ok().map(units::grouped),
    };
    let exactly = |text: &str| page.name_in_text(text);
    let (says, sum) = match told(&row.says).zip(told(&row.calls_say)) {
        // What differs in digits that are not shown is shown in full.
        Some((says, sum)) if says != sum => (no_break(&says), no_break(&sum)),
        _ => (exactly(&row.says), exactly(&row.calls_say)),
    };
    let what = match row.measure.as_str() {
        "cost" => String::new(),
        other => format!(" {}", page.term(&other.replace('_', " "))),
    };
    let calls = no_break(&units::counted(row.calls, "call", "calls"));
    format!("{name} says {says}{what}, the {calls} in it come to {sum}; the calls count")
}

/// `7,600 in (1,200 cached), 3,600 out (400 reasoning)`; nothing of what is not known.
pub(super) fn tokens(tokens: &TokenSums) -> Option<String> {
    let counted = |count: Option<u64>| count.map(units::count);
    let part = |whole: Option<u64>, word: &str, kinds: &[(Option<u64>, &str)]| {
        let kinds = kinds.iter().filter(|(count, _)| count.is_some_and(|count| count > 0));
        let kinds: Vec<String> =
            kinds.filter_map(|(count, kind)| Some(format!("{} {kind}", counted(*count)?))).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        Some(no_break(&format!("{} {word}{kinds}", counted(whole)?)))
    };
    let input =
        part(tokens.input, "in", &[(tokens.cache_read, "cached"), (tokens.cache_write, "cache-written")]);
    let output = part(tokens.output, "out", &[(tokens.reasoning, "reasoning")]);
    let parts: Vec<String> = input.into_iter().chain(output).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
