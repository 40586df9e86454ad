//! A run as Markdown: the verdict, what to fix first, the path in one line, cost and trust.

use super::escape::{code, marker, words};
use super::{limited, row};
use crate::render::comparison_markdown::gates;
use crate::render::excerpt::{Block, Excerpt};
use crate::render::page::{Page, Part};
use crate::render::text::nothing_to_fix;
use crate::render::{cost, fix_first, header, path_table, trust, units};
use crate::report::{Confidence, Finding, PathRow, Report, RunStatus};

/// How many subjects are shown usually.
const FINDINGS: usize = 5;
/// How many steps of the path, and nodes, are shown usually.
const ROWS: usize = 12;

/// The report as Markdown, at most [`MARKDOWN_LIMIT`](super::MARKDOWN_LIMIT) characters. Foreign names are code: they are
/// no markup, link nowhere and mention nobody.
pub fn markdown(report: &Report, excerpt: &Excerpt) -> String {
    let page = Page::for_markdown();
    let mut text = marker(report.run.workflow.as_deref().unwrap_or(&report.run.name));
    text += &format!("### {}\n\n", headline(&page, report));
    if excerpt.only.is_none() {
        text += &format!("{}\n", totals(report));
    }
    let has_steps = report.run.spans > 1;
    if excerpt.shows(Block::Fix, true) {
        put_fix_first(&mut text, &page, report, excerpt);
    }
    if excerpt.shows(Block::Path, true) && has_steps {
        put_path(&mut text, report, excerpt);
    }
    if excerpt.shows(Block::Nodes, false) {
        put_nodes(&mut text, report, excerpt);
    }
    put_lines(&mut text, |page| {
        if excerpt.shows(Block::Cost, true) && has_steps {
            cost::put(page, report);
        }
        if excerpt.shows(Block::Quality, true) {
            trust::put_counts(page, report);
        }
    });
    if !report.gates.is_empty() {
        text += &format!("\n{}", gates(&report.gates));
    }
    if let Some(command) = &excerpt.more {
        text += &format!("\nMore: {}\n", code(command));
    }
    text += &format!("\n<sub>{}</sub>\n", footer(report));
    limited(text)
}

fn headline(page: &Page, report: &Report) -> String {
    let run = &report.run;
    let name = code(run.workflow.as_deref().unwrap_or(&run.name));
    let at_least = if run.status == RunStatus::Incomplete { "at least " } else { "" };
    let took = format!("{name} took {at_least}{}", units::duration(run.wall_ns));
    match report.findings.first().filter(|_| nothing_to_fix(page, report).is_none()) {
        Some(first) if !first.saves_max_ns.is_zero() => {
            let (saves, share) = (units::duration(first.saves_max_ns), units::share(first.wall_ratio));
            format!("{took}: fix {} first, at most {saves} ({share})", code(&first.subject))
        }
        Some(first) => format!("{took}: look at {} first", code(&first.subject)),
        None => took,
    }
}

/// The run in a few figures.
fn totals(report: &Report) -> String {
    let (run, totals) = (&report.run, &report.totals);
    let at_least = if run.status == RunStatus::Incomplete { "≥ " } else { "" };
    let mut items = vec![
        header::status(run),
        format!("wall {at_least}{}", units::duration(run.wall_ns)),
        format!("work {at_least}{}", units::duration(run.work_ns)),
    ];
    let achieved = totals.parallelism_achieved.filter(|_| run.spans > 1).and_then(units::parallelism);
    items.extend(achieved.map(|x| format!("parallel {x} (peak {})", units::count(totals.parallelism_peak))));
    items.extend(cost::of_run(report).map(|cost| format!("cost {cost}")));
    items.push(units::counted(run.spans, "span", "spans"));
    items.extend(
        header::against_baseline(run).map(|(change, against)| format!("**{change}** against {against}")),
    );
    spaces(&items.join(" · "))
}

fn spaces(text: &str) -> String {
    text.replace('\u{a0}', " ")
}

fn plain(parts: Vec<Part>) -> String {
    spaces(&parts.into_iter().map(|(_, text)| text).collect::<String>())
}

fn put_fix_first(text: &mut String, page: &Page, report: &Report, excerpt: &Excerpt) {
    *text += "\n**Fix first**\n\n";
    if report.run.spans <= 1 {
        *text += "This run is a single span: there is nothing to compare inside it.\n";
        return;
    }
    if let Some(why) = nothing_to_fix(page, report) {
        *text += &format!("{}\n", spaces(&why));
        return;
    }
    *text += "| # | severity | node | save at most | why | try |\n|--:|:--|:--|--:|:--|:--|\n";
    let groups = fix_first::by_subject(&report.findings);
    for (index, group) in groups.iter().take(excerpt.rows(FINDINGS)).enumerate() {
        *text += &finding_row(page, report, index + 1, group);
    }
    let more = groups.len().saturating_sub(excerpt.rows(FINDINGS));
    if more > 0 {
        *text += &format!("\n… and {} more\n", units::count(more as u64));
    }
    let sentences = [fix_first::together(page, report), fix_first::saves_nothing(page, report)];
    for sentence in sentences.into_iter().flatten() {
        *text += &format!("\n{}\n", spaces(&sentence));
    }
}

fn finding_row(page: &Page, report: &Report, number: usize, group: &[&Finding]) -> String {
    let Some(first) = group.first() else { return String::new() };
    let (_, severity) = fix_first::severity(group);
    let is_guess = group.iter().all(|finding| finding.confidence == Confidence::Guess);
    let saves = if first.saves_max_ns.is_zero() {
        group.iter().find_map(|finding| finding.saves_max_usd).map(units::money)
    } else {
        Some(format!("{} ({})", units::duration(first.saves_max_ns), units::share(first.wall_ratio)))
    };
    let mut why = Vec::new();
    let mut changes: Vec<String> = Vec::new();
    for finding in group {
        let reasons = fix_first::reasons(page, finding).into_iter().map(plain).collect::<Vec<_>>().join("; ");
        why.push(match (finding.code.as_str(), reasons.as_str()) {
            ("LP101", _) => reasons,
            (_, "") => format!("{} {}", words(&finding.code), words(&finding.title)),
            _ => format!("{} {}: {reasons}", words(&finding.code), words(&finding.title)),
        });
        for change in fix_first::changes(report, finding).into_iter().map(plain) {
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
    }
    why.retain(|why| !why.is_empty());
    row(&[
        number.to_string(),
        if is_guess { format!("{severity} (guess)") } else { severity.to_owned() },
        code(&first.subject),
        saves.unwrap_or_default(),
        why.join("; "),
        changes.join("; "),
    ])
}

fn put_path(text: &mut String, report: &Report, excerpt: &Excerpt) {
    *text += &format!("\n**Critical path** {}\n", spaces(&path_table::lead(report)));
    let rows = &report.critical_path.rows;
    let shown = path_table::largest(rows, excerpt);
    let steps: Vec<String> =
        shown.iter().filter(|(_, shown)| *shown).map(|(row, _)| step(report, row)).collect();
    if !steps.is_empty() {
        *text += &format!("\n{}\n", steps.join(" → "));
    }
    let hidden: Vec<_> = shown.iter().filter(|(_, shown)| !shown).map(|(row, _)| row.duration_ns).collect();
    if !hidden.is_empty() {
        let together = units::duration(hidden.iter().copied().sum());
        *text +=
            &format!("\n… and {} more on the path, {together} together\n", units::count(hidden.len() as u64));
    }
}

/// `` `fetch` ×6 (1 failed) 3.77 s ``.
fn step(report: &Report, row: &PathRow) -> String {
    let mut text = code(&row.node);
    if row.executions > 1 {
        text += &format!(" ×{}", units::count(row.executions));
    }
    if row.failed > 0 {
        text += &format!(" ({} failed)", units::count(row.failed));
    }
    text += &format!(" {}", units::duration(row.duration_ns));
    if let Some(cost) = cost::of_node(report, &row.node, row.cost_usd) {
        text += &format!(" {cost}");
    }
    if row.is_longest { format!("**{text}**") } else { text }
}

fn put_nodes(text: &mut String, report: &Report, excerpt: &Excerpt) {
    *text += "\n**Nodes**\n\n| node | kind | calls | failed | total | self | on path | save at most | p95 | cost |\n\
        |:--|:--|--:|--:|--:|--:|--:|--:|--:|--:|\n";
    let shown = excerpt.rows(ROWS);
    for node in report.nodes.iter().take(shown) {
        *text += &row(&[
            code(&node.name),
            words(&node.kind).into_owned(),
            units::count(node.calls),
            units::count(node.failures),
            units::duration(node.duration.sum_ns),
            units::duration(node.self_ns),
            units::duration(node.on_path_ns),
            node.save_max_ns.map(units::duration).unwrap_or_default(),
            units::duration(node.duration.p95_ns),
            cost::of_node(report, &node.name, node.cost_usd).unwrap_or_default(),
        ]);
    }
    let more = report.nodes.len().saturating_sub(shown);
    if more > 0 {
        *text += &format!("\n… and {}\n", units::counted(more as u64, "more node", "more nodes"));
    }
}

/// What is told in lines with a label, as a list.
fn put_lines(text: &mut String, put: impl FnOnce(&mut Page)) {
    let mut page = Page::for_markdown();
    put(&mut page);
    let lines = page.into_labelled_lines();
    if !lines.is_empty() {
        *text += "\n";
    }
    for (label, line) in lines {
        let line = spaces(&line);
        match label.is_empty() {
            true => *text += &format!("  {line}\n"),
            false => *text += &format!("- **{label}** {line}\n"),
        }
    }
}

fn footer(report: &Report) -> String {
    let run = &report.run;
    let trace: String = run.trace_id.chars().take(8).collect();
    let mut items = vec![format!("run {}", code(&trace))];
    items
        .extend(run.version.as_deref().filter(|it| !it.is_empty()).map(|it| format!("version {}", code(it))));
    items.push(words(&run.started_at).into_owned());
    items.push(format!("{} {}", words(&report.generator.name), words(&report.generator.version)));
    items.join(" · ")
}
