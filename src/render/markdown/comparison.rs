//! A comparison as Markdown, for a comment on a pull request.

use super::escape::{code, marker};
use super::{limited, row};
use crate::analysis::compare_samples::Verdict;
use crate::compare::{Comparison, Contribution, RunSet};
use crate::render::comparison::{cost_cells, headline, notes, reason, signed, signed_percent};
use crate::render::excerpt::Excerpt;
use crate::render::page::Page;
use crate::render::text::nothing_to_fix;
use crate::render::{fix_first, path_table, units};
use crate::report::Report;

/// The most contributions that are shown.
const MAX_ROWS: usize = 12;
/// How many subjects of the report are named.
const FINDINGS: usize = 5;

/// What a comment tells beside the comparison.
#[derive(Clone, Debug, Default)]
pub struct ComparisonNotes<'r> {
    /// A run of the new set: what is to be fixed first in it, and its path, are folded in.
    pub latest: Option<&'r Report>,
    /// What was asked of the new runs.
    pub gates: Vec<GateNote>,
    /// Where more is to be seen: the name of a file.
    pub artifact: Option<String>,
}

/// How one gate went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateNote {
    /// As it was asked: `wall>+10%`.
    pub expression: String,
    /// Whether the new runs pass.
    pub is_passed: bool,
}

/// The comparison as Markdown, at most [`MARKDOWN_LIMIT`](super::MARKDOWN_LIMIT) characters: the verdict, the figures
/// side by side, and where the change comes from, in rows that add up to it. Foreign names are code.
pub fn comparison_markdown(comparison: &Comparison, told: &ComparisonNotes<'_>) -> String {
    let page = Page::for_markdown();
    let (base, new) = (&comparison.base, &comparison.new);
    let workflow = new.workflows.first().or(base.workflows.first()).map_or("", String::as_str);
    let mut text = marker(workflow);
    text += &format!("### {} {}\n\n", icon(comparison, told), spaces(&headline(&page, comparison)));
    put_figures(&mut text, comparison);
    if !comparison.contributions.is_empty() {
        put_contributions(&mut text, comparison);
    }
    for note in notes(&page, comparison) {
        text += &format!("\n{}\n", spaces(&note));
    }
    if let Some(report) = told.latest.filter(|report| report.run.spans > 1) {
        put_latest(&mut text, report);
    }
    text += &format!("\n<sub>{}</sub>\n", footer(comparison, told));
    limited(text)
}

/// A sign that the words after it repeat.
fn icon(comparison: &Comparison, told: &ComparisonNotes<'_>) -> &'static str {
    if told.gates.iter().any(|gate| !gate.is_passed) {
        return "🔴";
    }
    match comparison.wall.comparison.verdict {
        Verdict::Regressed => "🟠",
        Verdict::Improved => "🟢",
        Verdict::Unchanged | Verdict::Inconclusive | Verdict::Insufficient => "⚪",
    }
}

fn spaces(text: &str) -> String {
    text.replace('\u{a0}', " ")
}

fn put_figures(text: &mut String, comparison: &Comparison) {
    let side = |name: &str, set: &RunSet| match set.versions.as_slice() {
        [one] => format!("{name} {}", code(one)),
        _ => name.to_owned(),
    };
    *text += &row(&[
        String::new(),
        side("base", &comparison.base),
        side("new", &comparison.new),
        "change".to_owned(),
    ]);
    *text += "|:--|--:|--:|--:|\n";
    let wall = &comparison.wall;
    if wall.comparison.base_count > 0 && wall.comparison.new_count > 0 {
        let percent = wall.change_percent.map(|it| format!(" ({})", signed_percent(it))).unwrap_or_default();
        let change = match wall.change_ns {
            0 => "±0".to_owned(),
            change => format!("**{}{percent}**", signed(change)),
        };
        let [was, is] = [wall.base_mean_ns, wall.new_mean_ns].map(units::duration);
        *text += &row(&["wall, mean".to_owned(), was, is, change]);
    }
    let told = &wall.comparison;
    if let Some((was, is)) = told.base_median_ns.zip(told.new_median_ns) {
        let percent = |ratio: f64| signed_percent((ratio - 1.0) * 100.0);
        let mut change = told.median_ratio.map(percent).unwrap_or_default();
        if let Some([low, high]) = told.median_ratio_ci95 {
            change += &format!(" (95% sure: {} to {})", percent(low), percent(high));
        }
        *text += &row(&["wall, median".to_owned(), units::duration(was), units::duration(is), change]);
    }
    if let Some([was, is, change]) = cost_cells(comparison) {
        *text += &spaces(&row(&["cost per run".to_owned(), was, is, change]));
    }
    let tokens = comparison.base.output_tokens_per_run.zip(comparison.new.output_tokens_per_run);
    if let Some((was, is)) = tokens.filter(|(was, is)| was.is_finite() && is.is_finite()) {
        let [was, is] = [was, is].map(|count| units::count(count.round() as u64));
        *text += &row(&["output tokens per run".to_owned(), was, is, String::new()]);
    }
}

fn put_contributions(text: &mut String, comparison: &Comparison) {
    let whole = signed(comparison.wall.change_ns);
    *text += &format!(
        "\n**Where the {whole} comes from** (change of time on the critical path; sums to the total)\n\n"
    );
    *text += "| node | base | new | change on path | why |\n|:--|--:|--:|--:|:--|\n";
    let moved = comparison.contributions.iter().take_while(|row| row.change_ns != 0).count();
    let (shown, rest) = comparison.contributions.split_at(moved.min(MAX_ROWS));
    for part in shown {
        let node = comparison.nodes.iter().find(|node| Some(&node.name) == part.node.as_ref());
        *text += &row(&[
            part.node.as_deref().map_or_else(|| "(no span)".to_owned(), code),
            units::duration(part.base_ns),
            units::duration(part.new_ns),
            signed(part.change_ns),
            node.map(reason).unwrap_or_default(),
        ]);
    }
    if !rest.is_empty() {
        *text += &rest_row(rest);
    }
}

/// The nodes that have no row of their own, together.
fn rest_row(rest: &[Contribution]) -> String {
    let change = rest.iter().fold(0i64, |sum, row| sum.saturating_add(row.change_ns));
    let sum = |side: fn(&Contribution) -> crate::time::Duration| units::duration(rest.iter().map(side).sum());
    row(&[
        units::counted(rest.len() as u64, "other", "others"),
        sum(|row| row.base_ns),
        sum(|row| row.new_ns),
        if change == 0 { "±0".to_owned() } else { signed(change) },
        String::new(),
    ])
}

fn put_latest(text: &mut String, report: &Report) {
    let page = Page::for_markdown();
    let has_findings = nothing_to_fix(&page, report).is_none();
    *text += "\n<details><summary>Fix first and critical path of the latest run</summary>\n\n";
    let groups = fix_first::by_subject(&report.findings);
    for (index, group) in groups.iter().take(FINDINGS).enumerate().filter(|_| has_findings) {
        let Some(first) = group.first() else { continue };
        let changes = fix_first::changes(report, first).into_iter();
        let change = changes.map(|parts| parts.into_iter().map(|(_, text)| text).collect::<String>()).next();
        let change = change.map(|change| format!("; {}", spaces(&change))).unwrap_or_default();
        let saves = units::duration(first.saves_max_ns);
        *text += &format!("{}. {}: at most {saves}{change}\n", index + 1, code(&first.subject));
    }
    let shown = path_table::largest(&report.critical_path.rows, &Excerpt::default());
    let steps: Vec<String> = shown
        .iter()
        .filter(|(_, is_shown)| *is_shown)
        .map(|(row, _)| format!("{} {}", code(&row.node), units::duration(row.duration_ns)))
        .collect();
    *text += &format!("\n{}\n\n</details>\n", steps.join(" → "));
}

fn footer(comparison: &Comparison, told: &ComparisonNotes<'_>) -> String {
    let (base, new) = (comparison.base.runs, comparison.new.runs);
    let mut items = vec![match base == new {
        true => format!("{} each", units::counted(base, "run", "runs")),
        false => format!("{} and {}", units::counted(base, "run", "runs"), units::count(new)),
    }];
    for gate in &told.gates {
        let outcome = if gate.is_passed { "passed" } else { "failed" };
        items.push(format!("gate {} {outcome}", code(&gate.expression)));
    }
    items.push(format!("longpole {}", env!("CARGO_PKG_VERSION")));
    items.extend(told.artifact.as_deref().map(|file| format!("artifact: {}", code(file))));
    items.join(" · ")
}
