//! Every node in figures, as text.

use unicode_width::UnicodeWidthStr;

use super::excerpt::Excerpt;
use super::page::{Line, Page, Role};
use super::{cost, units};
use crate::report::{NodeReport, Report};

/// How many rows are shown usually.
const ROWS: usize = 20;
const MIN_NAME: usize = 16;

/// A column of figures.
struct Column {
    head: &'static str,
    cell: fn(&Report, &NodeReport) -> Option<String>,
}

/// The columns from left to right; where the page is narrow, those after the first few go, the last first.
const COLUMNS: &[Column] = &[
    Column { head: "calls", cell: |_, node| Some(units::count(node.calls)) },
    Column { head: "total", cell: |_, node| Some(units::duration(node.duration.sum_ns)) },
    Column { head: "on path", cell: |_, node| some_time(node, |node| node.on_path_ns) },
    Column { head: "share", cell: |_, node| share(node) },
    Column { head: "saves", cell: |_, node| node.save_max_ns.map(units::duration) },
    Column { head: "failed", cell: |_, node| (node.failures > 0).then(|| units::count(node.failures)) },
    Column { head: "cost", cell: |report, node| cost::of_node(report, &node.name, node.cost_usd) },
    Column { head: "p95", cell: |_, node| Some(units::duration(node.duration.p95_ns)) },
    Column { head: "self", cell: |_, node| Some(units::duration(node.self_ns)) },
    Column { head: "queued", cell: |_, node| some_time(node, |node| node.queued_ns) },
    Column { head: "slack", cell: |_, node| node.slack_ns.map(units::duration) },
];

fn some_time(node: &NodeReport, length: fn(&NodeReport) -> crate::time::Duration) -> Option<String> {
    Some(length(node)).filter(|length| !length.is_zero()).map(units::duration)
}

fn share(node: &NodeReport) -> Option<String> {
    (!node.on_path_ns.is_zero()).then(|| units::share(node.critical_path_ratio))
}

pub(super) fn put(page: &mut Page, report: &Report, excerpt: &Excerpt) {
    let shown = excerpt.rows(ROWS).min(report.nodes.len());
    let nodes = report.nodes.get(..shown).unwrap_or_default();
    let mut columns: Vec<(&Column, Vec<String>, usize)> = COLUMNS
        .iter()
        .filter_map(|column| {
            let cell = |node| page.words(&(column.cell)(report, node).unwrap_or_default()).into_owned();
            let cells: Vec<String> = nodes.iter().map(cell).collect();
            let widest = cells.iter().map(|cell| cell.width()).max().filter(|widest| *widest > 0)?;
            Some((column, cells, widest.max(column.head.len())))
        })
        .collect();
    let widest_name = nodes.iter().map(|node| page.name(&node.name, page.width()).width()).max();
    let widest_name = widest_name.unwrap_or_default();
    let taken = |columns: &[(&Column, Vec<String>, usize)]| {
        2 + columns.iter().map(|(_, _, width)| width + 2).sum::<usize>()
    };
    while taken(&columns) + widest_name.min(MIN_NAME) > page.width() && columns.len() > 1 {
        columns.pop();
    }
    let name_width = widest_name.max("Nodes".len()).min(page.width().saturating_sub(taken(&columns)));

    let mut head = Line::default();
    page.add(&mut head, Role::Plain, "Nodes");
    let mut edge = 2 + name_width;
    for (column, _, width) in &columns {
        edge += 2 + width;
        page.add_right(&mut head, Role::Dim, column.head, edge);
    }
    page.put(head);
    page.blank();
    for (row, node) in nodes.iter().enumerate() {
        let mut line = Line::default();
        line.tab(2, 0);
        page.add(&mut line, Role::Plain, &page.name(&node.name, name_width));
        let mut edge = 2 + name_width;
        for (_, cells, width) in &columns {
            edge += 2 + width;
            page.add_right(&mut line, Role::Plain, cells.get(row).map_or("", String::as_str), edge);
        }
        page.put(line);
    }
    let more = report.nodes.len().saturating_sub(shown);
    if more > 0 {
        page.put_words(2, &format!("… and {}", units::counted(more as u64, "more node", "more nodes")));
    }
}
