//! A comparison as text: what changed, where it comes from, and how sure that is.

use unicode_width::UnicodeWidthStr;

use super::TextStyle;
use super::gates;
use super::page::{Line, Page, Role, no_break};
use super::units;
use crate::analysis::compare_samples::{SampleComparison, Verdict};
use crate::compare::{CompareWarning, Comparison, Contribution, CostContribution, NodeChange, Presence};
use crate::money::Money;
use crate::time::Duration;

/// The most contributions that are shown.
const MAX_ROWS: usize = 12;
/// The most names in a sentence.
const MAX_NAMES: usize = 4;
const INDENT: usize = 2;
/// A reason that would have less room beside its row stands below it.
const MIN_REASON: usize = 24;

impl Comparison {
    /// The comparison as text for a person: at most 80 columns, no colour. See [`comparison_text`].
    pub fn to_text(&self) -> String {
        comparison_text(self, &TextStyle::default())
    }
}

/// The comparison as text, the verdict in the first line. Every line ends with a line feed and is at most
/// `style.width` columns wide, whatever the names in it are.
pub fn comparison_text(comparison: &Comparison, style: &TextStyle) -> String {
    let mut page = Page::new(style);
    page.put_wrapped(
        Line::default(),
        0,
        [(role(comparison.wall.comparison.verdict), headline(&page, comparison))],
    );
    page.blank();
    put_facts(&mut page, comparison);
    if !comparison.contributions.is_empty() {
        page.blank();
        put_contributions(&mut page, comparison);
    }
    put_notes(&mut page, comparison);
    gates::put(&mut page, &comparison.gates);
    page.into_text()
}

const fn role(verdict: Verdict) -> Role {
    match verdict {
        Verdict::Regressed => Role::Critical,
        Verdict::Improved => Role::Gain,
        Verdict::Unchanged | Verdict::Inconclusive | Verdict::Insufficient => Role::Plain,
    }
}

fn headline(page: &Page, comparison: &Comparison) -> String {
    let wall = &comparison.wall;
    let workflow = comparison.new.workflows.first().or(comparison.base.workflows.first());
    let name = workflow.map_or_else(|| "the run".to_owned(), |name| page.name_in_text(name));
    if comparison.base.runs == 0 || comparison.new.runs == 0 {
        return format!("Nothing to compare: {name} has no complete run on one side.");
    }
    let change = match wall.change_ns {
        0 => "takes as long as before".to_owned(),
        change => {
            let direction = if change > 0 { "slower" } else { "faster" };
            let percent = wall.change_percent.map(|percent| format!(" ({})", signed_percent(percent)));
            let length = no_break(&units::duration(Duration::from_nanos(change.unsigned_abs())));
            format!("is {length} {direction}{} on average", percent.unwrap_or_default())
        }
    };
    let sure = match wall.comparison.verdict {
        Verdict::Regressed => "regressed",
        Verdict::Improved => "improved",
        Verdict::Unchanged => "no change that matters",
        Verdict::Inconclusive => "may be chance: more runs would tell",
        Verdict::Insufficient => "too few runs to tell from chance",
    };
    format!("{name} {change}: {sure}.")
}

pub(super) fn signed_percent(percent: f64) -> String {
    let sign = if percent < 0.0 { "-" } else { "+" };
    format!("{sign}{}", units::share(percent.abs() / 100.0))
}

pub(super) fn signed(change: i64) -> String {
    let sign = match change {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", units::duration(Duration::from_nanos(change.unsigned_abs())))
}

/// `20.9 s, now 22.8 s, +9% (95% sure: +7% to +11%)`.
fn medians(told: &SampleComparison) -> Option<String> {
    let (base, new) = (told.base_median_ns?, told.new_median_ns?);
    let mut text = format!("{}, now {}", no_break(&units::duration(base)), no_break(&units::duration(new)));
    let percent = |ratio: f64| signed_percent((ratio - 1.0) * 100.0);
    if let Some(ratio) = told.median_ratio {
        text += &format!(", {}", percent(ratio));
    }
    if let Some([low, high]) = told.median_ratio_ci95 {
        text += &format!(" (95% sure: {} to {})", percent(low), percent(high));
    }
    Some(text)
}

fn put_facts(page: &mut Page, comparison: &Comparison) {
    let (base, new) = (&comparison.base, &comparison.new);
    let put = |page: &mut Page, label: &str, text: String| {
        let mut line = Line::default();
        line.tab(INDENT, 0);
        page.add(&mut line, Role::Dim, label);
        page.put_wrapped(line, 16, [(Role::Plain, text)]);
    };
    let version = |page: &Page, versions: &[String]| match versions {
        [] => String::new(),
        [one] => format!(" of {}", page.name_in_text(one)),
        [one, rest @ ..] => format!(" of {} and {} more", page.name_in_text(one), rest.len()),
    };
    let side = |page: &Page, set: &crate::compare::RunSet| {
        format!("{}{}", no_break(&units::counted(set.runs, "run", "runs")), version(page, &set.versions))
    };
    let runs = format!("{}, now {}", side(page, base), side(page, new));
    put(page, "compared", runs);
    if let Some(text) = medians(&comparison.wall.comparison) {
        put(page, "wall, median", text);
    }
    for tail in &comparison.wall.comparison.tails {
        let (was, is) = (units::duration(tail.base_ns), units::duration(tail.new_ns));
        let changed = match tail.verdict {
            Verdict::Regressed => " (regressed)",
            Verdict::Improved => " (improved)",
            _ => "",
        };
        let label = format!("wall, P{:.0}", tail.quantile * 100.0);
        put(page, &label, format!("{}, now {}{changed}", no_break(&was), no_break(&is)));
    }
    if let Some(text) = cost(comparison) {
        put(page, "cost per run", text);
    }
    let unpriced = base.unpriced_calls.saturating_add(new.unpriced_calls);
    if unpriced > 0 {
        let [was, is] = [base.unpriced_calls, new.unpriced_calls].map(units::count);
        put(page, "", format!("calls without a price: {was}, now {is}"));
    }
    let tokens = base.output_tokens_per_run.zip(new.output_tokens_per_run);
    if let Some((was, is)) = tokens.filter(|(was, is)| was.is_finite() && is.is_finite()) {
        let read = base.input_tokens_per_run.zip(new.input_tokens_per_run);
        let count = |count: f64| units::count(count.round() as u64);
        let read = read.map(|(was, is)| format!("{} in, now {}; ", count(was), count(is)));
        put(page, "tokens", format!("{}{} out, now {}", read.unwrap_or_default(), count(was), count(is)));
    }
    if let Some(change) = &comparison.cost {
        put_cost_movers(page, "nodes", &change.nodes);
        put_cost_movers(page, "models", &change.models);
    }
}

/// `$0.0780, now $0.0913, +$0.0133 (+17%)`.
fn cost(comparison: &Comparison) -> Option<String> {
    let Some(change) = &comparison.cost else {
        let (was, is) = comparison.base.cost_per_run_usd.zip(comparison.new.cost_per_run_usd)?;
        return Some(format!("{}, now {}", units::money(was), units::money(is)));
    };
    let at_least = |cost| super::cost::amount(Some(cost), change.is_lower_bound).unwrap_or_default();
    let mut text = format!(
        "{}, now {}",
        no_break(&at_least(change.base_mean_usd)),
        no_break(&at_least(change.new_mean_usd))
    );
    if change.change_usd != Money::ZERO {
        text += &format!(", {}", signed_money(change.change_usd));
        if let Some(ratio) = change.change_ratio.filter(|ratio| ratio.is_finite()) {
            text += &format!(" ({})", signed_percent(ratio * 100.0));
        }
    }
    Some(text)
}

pub(super) fn signed_money(change: Money) -> String {
    let sign = if change < Money::ZERO { "-" } else { "+" };
    let size = change.as_picodollars().unsigned_abs();
    let size = Money::from_picodollars(i128::try_from(size).unwrap_or(i128::MAX));
    format!("{sign}{}", units::money(size))
}

/// Where the change of the cost comes from: the largest parts.
fn put_cost_movers(page: &mut Page, label: &str, rows: &[CostContribution]) {
    let moved: Vec<&CostContribution> = rows.iter().filter(|row| row.change_usd != Money::ZERO).collect();
    // One part alone is the whole.
    if rows.len() < 2 || moved.is_empty() {
        return;
    }
    let mut parts: Vec<String> = Vec::new();
    for row in moved.iter().take(MAX_NAMES) {
        let name = row.name.as_deref().map_or_else(|| "others".to_owned(), |name| page.name_in_text(name));
        parts.push(no_break(&format!("{name} {}", signed_money(row.change_usd))));
    }
    let more = moved.len().saturating_sub(MAX_NAMES);
    if more > 0 {
        parts.push(format!("and {} more", units::count(more as u64)));
    }
    let mut line = Line::default();
    line.tab(INDENT, 0);
    page.add(&mut line, Role::Dim, &format!("  by {label}"));
    page.put_wrapped(line, 16, [(Role::Plain, parts.join(", "))]);
}

fn put_contributions(page: &mut Page, comparison: &Comparison) {
    let whole = no_break(&signed(comparison.wall.change_ns));
    page.put_words(0, &format!("Where the {whole} comes from, by time on the critical path"));
    page.blank();
    let moved = comparison.contributions.iter().take_while(|row| row.change_ns != 0).count();
    let (shown, rest) = comparison.contributions.split_at(moved.min(MAX_ROWS));
    let words = |length: Duration| page.words(&units::duration(length)).into_owned();
    let cells: Vec<[String; 4]> = shown
        .iter()
        .map(|row| {
            let name = row.node.as_ref().map_or_else(|| "(no span)".to_owned(), |node| page.name(node, 24));
            let change = page.words(&signed(row.change_ns)).into_owned();
            [name, words(row.base_ns), words(row.new_ns), change]
        })
        .collect();
    let head = ["", "base", "new", "change"].map(str::to_owned);
    let mut edges = [0; 4];
    for row in cells.iter().chain([&head]) {
        for (edge, cell) in edges.iter_mut().zip(row) {
            *edge = (*edge).max(cell.width());
        }
    }
    let mut edge = INDENT;
    for (column, width) in edges.iter_mut().enumerate() {
        edge += *width + if column > 0 { 2 } else { 0 };
        *width = edge;
    }
    let put_row = |page: &mut Page, row: &[String; 4], role: Role, why: &str| {
        let [name, base, new, change] = row;
        let mut line = Line::default();
        line.tab(INDENT, 0);
        page.add(&mut line, Role::Plain, name);
        for (cell, (role, edge)) in [base, new, change]
            .into_iter()
            .zip([Role::Plain, Role::Plain, role].into_iter().zip(edges.into_iter().skip(1)))
        {
            page.add_right(&mut line, role, cell, edge);
        }
        let [.., last] = edges;
        if why.is_empty() {
            page.put(line);
        } else if page.text_width() >= last + 2 + MIN_REASON {
            page.put_wrapped(line, last + 2, [(Role::Dim, why.to_owned())]);
        } else {
            page.put(line);
            page.put_wrapped(Line::default(), 2 * INDENT, [(Role::Dim, why.to_owned())]);
        }
    };
    if !cells.is_empty() {
        put_row(page, &head, Role::Plain, "");
    }
    for (row, cells) in shown.iter().zip(&cells) {
        let role = if row.change_ns > 0 { Role::High } else { Role::Gain };
        let node = comparison.nodes.iter().find(|node| Some(&node.name) == row.node.as_ref());
        put_row(page, cells, role, &node.map(reason).unwrap_or_default());
    }
    put_rest(page, rest);
}

/// What was not shown, and what it comes to together.
fn put_rest(page: &mut Page, rest: &[Contribution]) {
    if rest.is_empty() {
        return;
    }
    let together = rest.iter().fold(0i64, |sum, row| sum.saturating_add(row.change_ns));
    let count = units::counted(rest.len() as u64, "other", "others");
    page.put_words(INDENT, &format!("and {count}, together {}", no_break(&signed(together))));
}

/// Why a node's time changed, where that is known.
pub(super) fn reason(node: &NodeChange) -> String {
    let mut reasons: Vec<String> = Vec::new();
    match node.presence {
        Presence::Added => reasons.push("added".to_owned()),
        Presence::Removed => reasons.push("removed".to_owned()),
        Presence::Both => {}
    }
    let (base, new) = (node.base.unwrap_or_default(), node.new.unwrap_or_default());
    let tokens = base.output_tokens_per_run.zip(new.output_tokens_per_run);
    if let Some((was, is)) = tokens.filter(|(was, is)| was.round() != is.round()) {
        let [was, is] = [was, is].map(|count| units::count(count.round() as u64));
        reasons.push(format!("{is} output tokens, was {was}"));
    }
    if node.is_explained_by_output {
        reasons.push("no slower per token".to_owned());
    } else if let Some(duration) = &node.duration {
        match duration.verdict {
            Verdict::Regressed => reasons.push("regressed".to_owned()),
            Verdict::Improved => reasons.push("improved".to_owned()),
            Verdict::Unchanged | Verdict::Inconclusive => reasons.push("within noise".to_owned()),
            Verdict::Insufficient => {}
        }
    }
    if node.presence == Presence::Both {
        if base.failures != new.failures {
            reasons.push(format!(
                "{} failed, was {}",
                units::count(new.failures),
                units::count(base.failures)
            ));
        }
        if base.retries != new.retries {
            let retries = units::counted(new.retries, "retry", "retries");
            reasons.push(format!("{retries}, was {}", units::count(base.retries)));
        }
    }
    reasons.join("; ")
}

fn put_notes(page: &mut Page, comparison: &Comparison) {
    let (base, new) = (&comparison.base, &comparison.new);
    let mut notes: Vec<String> = Vec::new();
    for (presence, label) in
        [(Presence::Added, "Only in the new runs"), (Presence::Removed, "Only in the base")]
    {
        let named: Vec<&NodeChange> =
            comparison.nodes.iter().filter(|node| node.presence == presence).collect();
        if let Some(more) = named.len().checked_sub(1) {
            let names: Vec<String> =
                named.iter().take(MAX_NAMES).map(|node| page.name_in_text(&node.name)).collect();
            let more = (more + 1).saturating_sub(MAX_NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            notes.push(format!("{label}: {}{more}.", names.join(", ")));
        }
    }
    for warning in &comparison.warnings {
        notes.push(match warning {
            CompareWarning::NothingToCompare => continue,
            CompareWarning::DifferentWorkflows => {
                "The runs are of different workflows, so the figures do not mean the same.".to_owned()
            }
            CompareWarning::IncompleteRunsLeftOut => {
                let left_out = base.incomplete_runs + new.incomplete_runs;
                format!("{} with spans missing left out.", units::counted(left_out, "run", "runs"))
            }
            CompareWarning::FailedRuns => format!(
                "{} of {} runs did not end well in the base, {} of {} now.",
                base.failed_runs, base.runs, new.failed_runs, new.runs
            ),
        });
    }
    if !notes.is_empty() {
        page.blank();
    }
    for note in notes {
        page.put_words(INDENT, &note);
    }
}
