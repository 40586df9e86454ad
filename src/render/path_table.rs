//! The critical path: one row per node on it, with a small waterfall.

use std::cmp::Reverse;

use unicode_width::UnicodeWidthStr;

use super::bar::bar;
use super::excerpt::Excerpt;
use super::page::{Line, Page, Part, Role, no_break, plain};
use super::{cost, units};
use crate::report::{PathRow, Report};
use crate::time::Duration;

/// How many rows are shown usually.
const MAX_ROWS: usize = 12;
/// Rows with less of the wall time than this are only counted, unless there are no others.
const LEAST_RATIO: f64 = 0.005;
/// How many names stand in a line about nodes usually.
const MAX_NAMES: usize = 4;
/// A longer command is told in the last line only.
const MAX_COMMAND: usize = 40;

pub(super) fn put(page: &mut Page, report: &Report, excerpt: &Excerpt) {
    let path = &report.critical_path;
    put_lead(page, report);
    let marks_inferred = report.quality.declared_edges > 0 && path.rows.iter().any(|row| row.is_inferred);
    let (shown, hidden): (Vec<_>, Vec<_>) =
        largest(&path.rows, excerpt).into_iter().partition(|(_, is_shown)| *is_shown);
    if !shown.is_empty() {
        page.blank();
        put_rows(page, report, shown.into_iter().map(|(row, _)| row), marks_inferred);
    }
    if !hidden.is_empty() {
        let together = hidden.iter().map(|(row, _)| row.duration_ns).sum();
        let (more, together) = (units::count(hidden.len() as u64), units::duration(together));
        let command = excerpt.more.as_deref().filter(|command| command.width() <= MAX_COMMAND);
        let how = command.map(|command| format!(" ({})", no_break(command))).unwrap_or_default();
        page.put_words(2, &format!("… and {more} more on the path, {together} together{how}"));
    }
    if marks_inferred {
        page.put_words(2, "~ what it waited for is inferred from time");
    } else if path.rows.iter().any(|row| row.is_inferred) {
        page.put_words(2, "order:     inferred from time");
    }
    put_beside(page, report, excerpt);
    put_queueing(page, &path.rows, report.run.wall_ns, excerpt);
    put_allowed(page, report, excerpt);
}

/// The other path, where it says something else.
fn put_allowed(page: &mut Page, report: &Report, excerpt: &Excerpt) {
    let allowed = &report.allowed_path;
    if !allowed.is_declared || allowed.wall_ns >= report.run.wall_ns {
        return;
    }
    let nodes = allowed.rows.iter().filter_map(|row| {
        let (name, length) = (page.name_in_text(row.node.as_deref()?), units::duration(row.duration_ns));
        Some(format!("{name}\u{a0}{}", no_break(&length)))
    });
    let mut nodes: Vec<String> = nodes.collect();
    let more = nodes.len().saturating_sub(excerpt.rows(MAX_ROWS));
    nodes.truncate(excerpt.rows(MAX_ROWS));
    if more > 0 {
        nodes.push(format!("and {} more", units::count(more as u64)));
    }
    page.blank();
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "As the graph allows");
    let length = no_break(&units::duration(allowed.wall_ns));
    page.put_wrapped(line, 21, [plain(format!("{length}: {}", nodes.join(", ")))]);
}

/// The rows in path order, and whether each is one of the few with most time and has enough of it.
pub(super) fn largest<'r>(rows: &'r [PathRow], excerpt: &Excerpt) -> Vec<(&'r PathRow, bool)> {
    if excerpt.all {
        return rows.iter().map(|row| (row, true)).collect();
    }
    let mut by_time: Vec<usize> = (0..rows.len()).collect();
    by_time.sort_by_key(|index| Reverse(rows.get(*index).map(|row| row.duration_ns)));
    // What rounds to nothing is not worth a line of its own beside what does not.
    let is_worth_a_row = |index: &usize| rows.get(*index).is_some_and(|row| row.wall_ratio >= LEAST_RATIO);
    let worth = by_time.iter().take_while(|index| is_worth_a_row(index)).count();
    by_time.truncate(worth.max(1).min(excerpt.rows(MAX_ROWS)));
    rows.iter().enumerate().map(|(index, row)| (row, by_time.contains(&index))).collect()
}

fn put_lead(page: &mut Page, report: &Report) {
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "Critical path");
    page.put_wrapped(line, 16, [plain(lead(report))]);
}

/// How much of the run the path explains.
pub(super) fn lead(report: &Report) -> String {
    let (wall, length) = (report.run.wall_ns, report.critical_path.length_ns);
    let unattributed = report.totals.unattributed_ns;
    let has_both = report.allowed_path.is_declared && report.allowed_path.wall_ns < wall;
    if wall.is_zero() {
        return "empty: the run took no time".to_owned();
    }
    if report.critical_path.rows.is_empty() {
        return format!("no node is on it: {} has no span", no_break(&units::duration(wall)));
    }
    let [whole, part, rest] = units::split(wall, length, unattributed).map(|text| no_break(&text));
    let share = units::share(length.ratio_of(wall).unwrap_or_default());
    let bound =
        |kind: &str| report.bounds.iter().find(|bound| bound.kind == kind).map(|bound| bound.duration_ns);
    let waited = ["queue", "retry"].map(|kind| bound(kind).unwrap_or_default()).into_iter().sum::<Duration>();
    // Waiting that is booked to no node; what is booked to one is in the path's length.
    let waiting = unattributed.saturating_sub(bound("no_span").unwrap_or_default()).min(waited);
    let without_span = unattributed.saturating_sub(waiting);
    let of_rest = |length| no_break(&units::duration(length));
    let rest = match (waiting.is_zero(), without_span.is_zero()) {
        (true, true) => None,
        (true, false) => Some(format!("; the other {rest} has no span")),
        (false, true) => Some(format!("; the other {rest} is waiting")),
        (false, false) => {
            let (waiting, without) = (of_rest(waiting), of_rest(without_span));
            Some(format!("; the other {rest} is waiting ({waiting}) and no span ({without})"))
        }
    };
    let name = if has_both { "as run: " } else { "" };
    format!("{name}{part} of {whole} ({share}){}", rest.unwrap_or_default())
}

/// The cells of a row that are text.
struct Cells {
    /// `×6 (1 failed)`, never cut.
    suffix: String,
    duration: String,
    share: String,
    cost: String,
}

impl Cells {
    fn new(page: &Page, report: &Report, row: &PathRow, marks_inferred: bool) -> Self {
        let mut suffix = String::new();
        if marks_inferred && row.is_inferred {
            suffix.push_str(" ~");
        }
        if row.executions > 1 {
            suffix += &format!(" ×{}", units::count(row.executions));
        }
        if row.failed > 0 {
            suffix += &format!(" ({} failed)", units::count(row.failed));
        }
        let words = |text: String| page.words(&text).into_owned();
        Cells {
            suffix: words(suffix),
            duration: words(units::duration(row.duration_ns)),
            share: units::share(row.wall_ratio),
            cost: words(cost::of_node(report, &row.node, row.cost_usd).unwrap_or_default()),
        }
    }

    fn name(&self, page: &Page, row: &PathRow, width: usize) -> String {
        page.name(&row.node, width.saturating_sub(self.suffix.width())) + &self.suffix
    }
}

/// How wide the columns are; zero for one that is left out.
struct Columns {
    name: usize,
    kind: usize,
    bar: usize,
    duration: usize,
    cost: usize,
}

impl Columns {
    const SHARE: usize = "100%".len();
    const MAX_KIND: usize = 9;
    const MIN_BAR: usize = 12;
    const MAX_BAR: usize = 60;
    const MIN_NAME: usize = 16;

    fn new(page: &Page, rows: &[(&PathRow, Cells)], marker: &str) -> Self {
        let widest = |cell: &dyn Fn(&(&PathRow, Cells)) -> usize| rows.iter().map(cell).max().unwrap_or(0);
        let longest_name = widest(&|(row, cells)| cells.name(page, row, page.width()).width());
        let mut columns = Columns {
            name: 0,
            kind: widest(&|(row, _)| page.name(&row.kind, Self::MAX_KIND).width()),
            bar: 0,
            duration: widest(&|(_, cells)| cells.duration.width()),
            cost: widest(&|(_, cells)| cells.cost.width()),
        };
        if page.width() < 80 {
            columns.cost = 0;
        }
        // A column that says `other` all the way down says nothing.
        if page.width() < 70 || rows.iter().all(|(row, _)| row.kind == "other") {
            columns.kind = 0;
        }
        let gap = |width: usize, gap: usize| if width > 0 { gap + width } else { 0 };
        let taken = 4 + gap(columns.kind, 1) + gap(columns.duration, 2) + gap(Self::SHARE, 2);
        let room = page.width().saturating_sub(taken + gap(columns.cost, 2) + gap(marker.width(), 1));
        let bar_room = room.saturating_sub(longest_name.min(Self::MIN_NAME));
        if bar_room >= Self::MIN_BAR {
            columns.name = longest_name.min(room - Self::MIN_BAR);
            columns.bar = (room - columns.name).min(Self::MAX_BAR);
        } else {
            columns.name = longest_name.min(room);
        }
        columns
    }
}

fn put_rows<'r>(
    page: &mut Page,
    report: &Report,
    rows: impl Iterator<Item = &'r PathRow>,
    marks_inferred: bool,
) {
    let rows: Vec<_> = rows.map(|row| (row, Cells::new(page, report, row, marks_inferred))).collect();
    let marker = match rows.iter().any(|(row, _)| row.is_longest) {
        false => "",
        true if page.ascii() => "*",
        true if page.width() < 80 => "◀",
        true => "◀ longest",
    };
    let columns = Columns::new(page, &rows, marker);
    for (row, cells) in &rows {
        let role = if row.is_longest { Role::Pole } else { Role::Plain };
        let mut line = Line::default();
        line.tab(2, 0);
        page.add(&mut line, role, &cells.name(page, row, columns.name));
        let mut edge = 2 + columns.name + 2;
        line.tab(edge, 0);
        if columns.kind > 0 {
            page.add(&mut line, Role::Dim, &page.name(&row.kind, columns.kind));
            edge += columns.kind + 1;
            line.tab(edge, 0);
        }
        line.add_drawing(role, bar(&row.pieces, report.run.wall_ns, columns.bar, page.ascii()));
        edge += columns.bar + 2 + columns.duration;
        page.add_right(&mut line, Role::Plain, &cells.duration, edge);
        edge += 2 + Columns::SHARE;
        page.add_right(&mut line, Role::Plain, &cells.share, edge);
        if columns.cost > 0 {
            edge += 2 + columns.cost;
            page.add_right(&mut line, Role::Plain, &cells.cost, edge);
        }
        if row.is_longest {
            line.tab(edge + 1, 1);
            line.add_drawing(Role::Pole, marker.to_owned());
        }
        page.put(line);
    }
}

/// Nodes that did not set the run's length, and how much longer each could have taken without doing so.
fn put_beside(page: &mut Page, report: &Report, excerpt: &Excerpt) {
    let beside = &report.critical_path.beside;
    let names = beside.iter().map(|row| {
        let named =
            format!("{}\u{a0}{}", page.name_in_text(&row.node), no_break(&units::duration(row.duration_ns)));
        let slack = row.slack_ns.map(|slack| format!(" (slack\u{a0}{})", no_break(&units::duration(slack))));
        vec![plain(named), (Role::Dim, slack.unwrap_or_default())]
    });
    put_list(page, "beside it:", names.collect(), excerpt);
}

/// Nodes whose executions were there before they were run; leaves out waits of less than half a percent of the run,
/// which every scheduler makes.
fn put_queueing(page: &mut Page, rows: &[PathRow], wall: Duration, excerpt: &Excerpt) {
    let is_worth_telling = |row: &&PathRow| row.queued_ns.ratio_of(wall).is_some_and(|ratio| ratio >= 0.005);
    let mut waited: Vec<_> = rows.iter().filter(is_worth_telling).collect();
    waited.sort_by_key(|row| Reverse(row.queued_ns));
    let names = waited.iter().map(|row| {
        let waited = no_break(&units::duration(row.queued_ns));
        vec![plain(format!("{} waited\u{a0}{waited}", page.name_in_text(&row.node)))]
    });
    put_list(page, "queueing:", names.collect(), excerpt);
}

fn put_list(page: &mut Page, label: &str, mut items: Vec<Vec<Part>>, excerpt: &Excerpt) {
    if items.is_empty() {
        return;
    }
    let more = items.len().saturating_sub(excerpt.rows(MAX_NAMES));
    items.truncate(excerpt.rows(MAX_NAMES));
    if more > 0 {
        items.push(vec![plain(format!("and {} more", units::count(more as u64)))]);
    }
    let mut line = Line::default();
    line.tab(2, 0);
    page.add(&mut line, Role::Dim, label);
    let parts = items.into_iter().enumerate().flat_map(|(index, item)| {
        let comma = if index > 0 { ", " } else { "" };
        std::iter::once(plain(comma)).chain(item)
    });
    page.put_wrapped(line, 13, parts);
}
