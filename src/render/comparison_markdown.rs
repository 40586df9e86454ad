//! A comparison as Markdown, for a comment on a pull request.

use super::comparison::{reason, signed, signed_money, signed_percent};
use super::gates::amount;
use super::json::sorted;
use super::markdown::{code, limited, marker, words};
use super::units;
use crate::analysis::compare_samples::Verdict;
use crate::compare::{CompareWarning, Comparison, RunSet};
use crate::money::Money;
use crate::report::{GateResult, GateVerdict};
use crate::time::Duration;

/// The most rows of a table.
const MAX_ROWS: usize = 12;

/// The comparison in its JSON form, `longpole.compare/1`: indented, keys in alphabetical order, a line feed at the end.
pub fn comparison_json(comparison: &Comparison) -> String {
    let value = serde_json::to_value(comparison).map(sorted);
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    text.expect("a comparison is made of structs, lists, and maps with strings as keys") + "\n"
}

/// The comparison as Markdown: a hidden marker by which a comment is found again, the verdict, what changed, where that
/// comes from, and the gates. At most 60,000 characters; what is left out is said.
///
/// Names stand as code, or escaped: they open no cell, link, mention or tag.
pub fn comparison_markdown(comparison: &Comparison) -> String {
    let workflow = comparison.new.workflows.first().or(comparison.base.workflows.first());
    let name = workflow.map_or("run", String::as_str);
    let mut blocks = vec![
        format!("{}### {}\n", marker(name), headline(comparison, name)),
        figures(comparison),
        contributions(comparison),
        gates(&comparison.gates),
        notes(comparison),
    ];
    blocks.retain(|block| !block.is_empty());
    limited(blocks.join("\n"))
}

/// `🟠 research-agent is 1.9 s slower (+9%)`. The word says what the sign does.
fn headline(comparison: &Comparison, name: &str) -> String {
    let name = code(name);
    let is_failed = comparison.gates.iter().any(|gate| !gate.verdict.is_pass());
    if comparison.base.runs == 0 || comparison.new.runs == 0 {
        let sign = if is_failed { "🔴 gate failed:" } else { "⚪" };
        return format!("{sign} nothing to compare, {name} has no complete run on one side");
    }
    let wall = &comparison.wall;
    let length = units::duration(Duration::from_nanos(wall.change_ns.unsigned_abs()));
    let percent = wall.change_percent.map(|percent| format!(" ({})", signed_percent(percent)));
    let percent = percent.unwrap_or_default();
    let changed = match wall.change_ns {
        0 => "takes as long as before".to_owned(),
        1.. => format!("is {length} slower{percent}"),
        _ => format!("is {length} faster{percent}"),
    };
    let (sign, note) = match (is_failed, wall.comparison.verdict) {
        (true, _) => ("🔴 gate failed:", ""),
        (false, Verdict::Regressed) => ("🟠", ""),
        (false, Verdict::Improved) => ("🟢", ""),
        (false, Verdict::Unchanged) => ("⚪", ", within noise"),
        (false, Verdict::Inconclusive) => ("⚪", ", may be chance"),
        (false, Verdict::Insufficient) => ("⚪", ", too few runs to tell from chance"),
    };
    let cause = comparison.contributions.first().filter(|first| wall.change_ns != 0 && first.change_ns != 0);
    let is_same_way = |change: i64| (change > 0) == (wall.change_ns > 0);
    let cause = cause.filter(|first| is_same_way(first.change_ns)).and_then(|first| first.node.as_deref());
    let cause = cause.map(|node| format!(": most of it in {}", code(node))).unwrap_or_default();
    format!("{sign} {name} {changed}{note}{cause}")
}

fn figures(comparison: &Comparison) -> String {
    let (base, new) = (&comparison.base, &comparison.new);
    let head = |label: &str, set: &RunSet| match &set.versions[..] {
        [version] => format!("{label} {}", code(version)),
        _ => label.to_owned(),
    };
    let mut table =
        format!("| | {} | {} | change |\n|:--|--:|--:|--:|\n", head("base", base), head("new", new));
    let told = &comparison.wall.comparison;
    if let Some((was, is)) = told.base_median_ns.zip(told.new_median_ns) {
        let label = match (base.runs, new.runs) {
            (1, 1) => "wall".to_owned(),
            (one, other) if one == other => format!("wall, median of {one}"),
            (one, other) => format!("wall, median of {one} and {other}"),
        };
        let change =
            i64::try_from(i128::from(is.as_nanos()) - i128::from(was.as_nanos())).unwrap_or(i64::MAX);
        let ratio = told.median_ratio.map(|ratio| format!(" ({})", signed_percent((ratio - 1.0) * 100.0)));
        let change = match told.verdict {
            _ if change == 0 => "±0".to_owned(),
            Verdict::Unchanged | Verdict::Inconclusive => "within noise".to_owned(),
            _ => format!("**{}{}**", signed(change), ratio.unwrap_or_default()),
        };
        table += &format!("| {label} | {} | {} | {change} |\n", units::duration(was), units::duration(is));
    }
    if let Some(cost) = &comparison.cost {
        let amount = |money| super::cost::amount(Some(money), cost.is_lower_bound).unwrap_or_default();
        let change = match cost.change_usd {
            Money::ZERO => "±0".to_owned(),
            change => {
                let ratio = cost.change_ratio.filter(|ratio| ratio.is_finite());
                let ratio = ratio.map(|ratio| format!(" ({})", signed_percent(ratio * 100.0)));
                format!("**{}{}**", signed_money(change), ratio.unwrap_or_default())
            }
        };
        table += &format!(
            "| cost per run | {} | {} | {change} |\n",
            amount(cost.base_mean_usd),
            amount(cost.new_mean_usd)
        );
    }
    let tokens = base.output_tokens_per_run.zip(new.output_tokens_per_run);
    if let Some((was, is)) = tokens.filter(|(was, is)| was.is_finite() && is.is_finite()) {
        let [was, is] = [was, is].map(|count| units::count(count.round() as u64));
        table += &format!("| output tokens per run | {was} | {is} | |\n");
    }
    table
}

fn contributions(comparison: &Comparison) -> String {
    let moved: Vec<_> = comparison.contributions.iter().filter(|row| row.change_ns != 0).collect();
    if moved.is_empty() {
        return String::new();
    }
    let mut table = format!(
        "**Where the {} comes from** (mean time on the critical path; the changes add up to it)\n\n\
         | node | base | new | change | why |\n|:--|--:|--:|--:|:--|\n",
        signed(comparison.wall.change_ns)
    );
    let (shown, rest) = moved.split_at(moved.len().min(MAX_ROWS));
    for row in shown {
        let node = comparison.nodes.iter().find(|node| Some(&node.name) == row.node.as_ref());
        table += &format!(
            "| {} | {} | {} | {} | {} |\n",
            row.node.as_deref().map_or_else(|| "no span".to_owned(), code),
            units::duration(row.base_ns),
            units::duration(row.new_ns),
            signed(row.change_ns),
            node.map(reason).unwrap_or_default()
        );
    }
    if !rest.is_empty() {
        let together = rest.iter().fold(0i64, |sum, row| sum.saturating_add(row.change_ns));
        let others = units::counted(rest.len() as u64, "other", "others");
        table += &format!("| {others} | | | {} | |\n", signed(together));
    }
    table
}

/// What became of gates, as a table; nothing where there are none.
pub(super) fn gates(gates: &[GateResult]) -> String {
    if gates.is_empty() {
        return String::new();
    }
    let mut table = "| gate | | found |\n|:--|:--|:--|\n".to_owned();
    for gate in gates {
        let verdict = match gate.verdict {
            GateVerdict::Passed => "passed",
            GateVerdict::Failed => "**failed**",
            GateVerdict::NoData => "**no data**",
        };
        let found = gate.actual.map(amount).into_iter();
        let reason = gate.reason.as_ref().map(|reason| words(&reason.to_string()).into_owned());
        let found: Vec<String> = found.chain(reason).collect();
        table += &format!("| {} | {verdict} | {} |\n", code(&gate.expr), found.join(", "));
    }
    table
}

fn notes(comparison: &Comparison) -> String {
    let (base, new) = (&comparison.base, &comparison.new);
    let mut parts = vec![match (base.runs, new.runs) {
        (one, other) if one == other => format!("{} each", units::counted(one, "run", "runs")),
        (one, other) => format!("{}, now {other}", units::counted(one, "run", "runs")),
    }];
    for warning in &comparison.warnings {
        parts.push(match warning {
            CompareWarning::NothingToCompare => continue,
            CompareWarning::DifferentWorkflows => "runs of different workflows".to_owned(),
            CompareWarning::IncompleteRunsLeftOut => {
                let left_out = base.incomplete_runs.saturating_add(new.incomplete_runs);
                format!("{} with spans missing left out", units::counted(left_out, "run", "runs"))
            }
            CompareWarning::FailedRuns => format!(
                "{} of {} runs did not end well in the base, {} of {} now",
                base.failed_runs, base.runs, new.failed_runs, new.runs
            ),
        });
    }
    format!("<sub>{} · longpole {}</sub>\n", parts.join(" · "), env!("CARGO_PKG_VERSION"))
}
