//! What a run cost: who spent it, who says so, and what is not known of it.

use std::cmp::Reverse;

use super::page::{Line, Page, Role, no_break, plain};
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
const INDENT: usize = 14;

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
    let rows = report.cost.iter().flat_map(|section| &section.nodes);
    let unpriced = rows.filter(|row| row.node == node).map(|row| row.unpriced_calls);
    amount(known, unpriced.sum::<u64>() > 0)
}

pub(super) fn put(page: &mut Page, report: &Report) {
    put_nodes(page, report);
    if let Some(section) = &report.cost {
        put_shares(page, section);
        put_models(page, section);
        put_unpriced(page, section);
        put_sources(page, section);
        put_roll_ups(page, section);
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
    put_labelled(page, "Cost", text);
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
        put_labelled(page, "", parts.join(", "));
    }
}

/// The dearest models, where there are several.
fn put_models(page: &mut Page, section: &CostSection) {
    let named = section.models.iter().filter_map(|row| {
        let cost = amount(row.cost_usd, row.unpriced_calls > 0)?;
        let model = page.name_in_text(row.model.as_deref()?);
        Some(no_break(&format!("{model} ×{} {cost}", units::count(row.calls))))
    });
    let named: Vec<String> = named.collect();
    if named.len() > 1 {
        put_labelled(page, "Models", listed(named));
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
    if section.unpriced.is_empty() {
        return;
    }
    let row = |row: &UnpricedRow| {
        let model = row.model.as_deref().map(|model| page.name_in_text(model));
        let calls = units::counted(row.calls, "call", "calls");
        let of = model.map(|model| format!(" of {model}")).unwrap_or_default();
        let mut why = vec![page.name_in_text(&row.reason.replace('_', " "))];
        why.extend(tokens(&row.tokens));
        if row.failed > 0 {
            why.push(format!("{} failed", units::count(row.failed)));
        }
        format!("{}{of} ({})", no_break(&calls), why.join(", "))
    };
    let rows: Vec<String> = section.unpriced.iter().map(row).collect();
    put_labelled(page, "Unpriced", listed(rows));
    if section.covered_calls > 0 {
        let covered = units::counted(section.covered_calls, "of them is", "of them are");
        put_labelled(page, "", format!("{covered} in what a span around them says"));
    }
    let mut hints: Vec<&str> = Vec::new();
    for hint in section.unpriced.iter().filter_map(|row| row.hint.as_deref()) {
        if !hints.contains(&hint) && hints.len() < MAX_NAMES {
            hints.push(hint);
        }
    }
    for hint in hints {
        put_labelled(page, "", page.name(hint, MAX_HINT));
    }
}

/// Who says what it cost, and which tables were asked. That the program says all of it needs no line.
fn put_sources(page: &mut Page, section: &CostSection) {
    let tables: Vec<String> =
        section.price_tables.iter().map(|table| no_break(&page.name(table, MAX_TABLE))).collect();
    if tables.is_empty() && section.sources.iter().all(|row| row.source == "recorded") {
        return;
    }
    let tables = (!tables.is_empty()).then(|| listed(tables));
    let with_tables = |word: &str| tables.as_ref().map(|tables| format!(" {word} {tables}"));
    let row = |row: &CostSourceRow| {
        let cost = units::money(row.cost_usd);
        match (row.source.as_str(), row.key.as_deref()) {
            ("estimated", _) => {
                format!(
                    "{}{}",
                    no_break(&format!("{cost} estimated")),
                    with_tables("with").unwrap_or_default()
                )
            }
            ("recorded", _) => no_break(&format!("{cost} recorded by the program")),
            (_, Some(key)) => no_break(&format!("{cost} told in {}", page.name_in_text(key))),
            (source, None) => no_break(&format!("{cost} {}", page.name_in_text(source))),
        }
    };
    let mut parts: Vec<String> = section.sources.iter().map(row).collect();
    if section.sources.iter().all(|row| row.source != "estimated") {
        parts.extend(with_tables("nothing found in").map(|text| text.trim_start().to_owned()));
    }
    put_labelled(page, "Prices", parts.join(", "));
}

/// The spans whose own sums are others than those of their calls.
fn put_roll_ups(page: &mut Page, section: &CostSection) {
    for row in section.roll_ups.iter().take(MAX_NAMES) {
        put_labelled(page, "Differs", difference(page, row));
    }
    let more = section.roll_ups_total.saturating_sub(section.roll_ups.len().min(MAX_NAMES) as u64);
    if more > 0 && !section.roll_ups.is_empty() {
        put_labelled(page, "", format!("and {} more", units::count(more)));
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
        other => format!(" {}", page.name_in_text(&other.replace('_', " "))),
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

/// A line that starts with what it is about: `Cost          draft $0.0412 (45%)`.
pub(super) fn put_labelled(page: &mut Page, label: &str, text: String) {
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, label);
    page.put_wrapped(line, INDENT, [plain(text)]);
}
