//! A list of runs as text, JSON and CSV.

use unicode_width::UnicodeWidthStr;

use super::TextStyle;
use super::csv_text::{csv_field, milliseconds};
use super::json::sorted;
use super::page::{Line, Page, Role};
use super::{Printable, units};
use crate::report::RunStatus;
use crate::run_list::{ListedRun, RunList};
use crate::time::Timestamp;

/// The list in its JSON form, `longpole.ls/1`: indented, keys in alphabetical order, a line feed at the end.
pub fn json(list: &RunList) -> String {
    let value = serde_json::to_value(list).map(sorted);
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    text.expect("a list is made of structs, lists, and maps with strings as keys") + "\n"
}

/// The list as CSV (RFC 4180), one row per run: times in milliseconds, empty for what is not known.
pub fn csv(list: &RunList) -> String {
    let mut text =
        "run_id,workflow,version,status,started_at,wall_ms,cost_usd,spans,errors,longest_node,labels\n"
            .to_owned();
    for run in &list.runs {
        let labels: Vec<String> = run.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let fields = [
            csv_field(&run.id),
            csv_field(&run.workflow),
            csv_field(run.version.as_deref().unwrap_or_default()),
            run.status_word().to_owned(),
            run.started_at.clone(),
            run.wall_ns.map(milliseconds).unwrap_or_default(),
            run.cost_usd.map(|cost| cost.to_string()).unwrap_or_default(),
            run.spans.to_string(),
            run.errors.to_string(),
            csv_field(run.longest_node.as_deref().unwrap_or_default()),
            csv_field(&labels.join(";")),
        ];
        text += &(fields.join(",") + "\n");
    }
    text
}

/// The list as text: a row for each run, in UTC, the columns that fit. No line is wider than `style.width`.
pub fn text(list: &RunList, style: &TextStyle) -> String {
    let mut page = Page::new(style);
    if list.runs.is_empty() {
        page.put_words(0, "No runs.");
        return page.into_text();
    }
    let columns = Columns::of(&page, &list.runs);
    let mut head = Line::default();
    columns.put(&page, &mut head, Role::Dim, &HEADS.map(str::to_owned), Role::Dim);
    page.put(head);
    for run in &list.runs {
        let mut line = Line::default();
        columns.put(&page, &mut line, Role::Plain, &cells(&page, run), role_of(run));
        page.put(line);
    }
    let more = list.total.saturating_sub(list.runs.len() as u64);
    if more > 0 {
        page.put_words(2, &format!("… and {} more: --limit", units::count(more)));
    }
    page.into_text()
}

/// What tells a run from others in few words, as beside its id where one is chosen: workflow, wall time, and how long
/// ago it started.
pub fn hint(run: &ListedRun, now: Timestamp) -> String {
    let wall = run.wall_ns.map_or_else(|| run.status_word().to_owned(), units::duration);
    let seconds = now.saturating_since(run.start_unix_ns).as_nanos() / 1_000_000_000;
    let ago = match seconds {
        ..60 => "just now".to_owned(),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => units::counted(seconds / 86_400, "day", "days") + " ago",
    };
    format!("{}  {wall}  {ago}", Printable::new(&run.workflow).fitted(32))
}

const HEADS: [&str; 8] = ["id", "workflow", "version", "started (UTC)", "wall", "cost", "status", "longest"];
/// Which columns end at the same place rather than begin there.
const IS_RIGHT: [bool; 8] = [false, false, false, false, true, true, false, false];
const WORKFLOW: usize = 1;
/// At least so much of a workflow's name is shown.
const SHORT_NAME: usize = 20;
const VERSION: usize = 2;
const COST: usize = 5;
const LONGEST: usize = 7;
/// The columns that go where there is no room, first to go first.
const DISPENSABLE: [usize; 3] = [LONGEST, VERSION, COST];

fn cells(page: &Page, run: &ListedRun) -> [String; 8] {
    let started = run.started_at.get(..16).unwrap_or(&run.started_at).replace('T', " ");
    [
        page.name(run.id.get(..8).unwrap_or(&run.id), 8),
        page.name(&run.workflow, 40),
        run.version.as_deref().map(|version| page.name(version, 12)).unwrap_or_default(),
        started,
        run.wall_ns.map(units::duration).unwrap_or_default(),
        run.cost_usd.map(units::money).unwrap_or_default(),
        run.status_word().to_owned(),
        run.longest_node.as_deref().map(|node| page.name(node, 32)).unwrap_or_default(),
    ]
}

fn role_of(run: &ListedRun) -> Role {
    match run.status {
        Some(RunStatus::Ok) | None => Role::Plain,
        Some(RunStatus::Incomplete | RunStatus::Cancelled) => Role::Medium,
        Some(RunStatus::Error | RunStatus::Panicked) => Role::High,
    }
}

/// How wide each column is; zero: it is left out.
struct Columns {
    widths: [usize; 8],
}

impl Columns {
    fn of(page: &Page, runs: &[ListedRun]) -> Self {
        let mut widths = [0; 8];
        for run in runs {
            for (width, cell) in widths.iter_mut().zip(cells(page, run)) {
                *width = (*width).max(cell.width());
            }
        }
        // A column without a value says nothing.
        for (width, head) in widths.iter_mut().zip(HEADS) {
            *width = if *width == 0 { 0 } else { (*width).max(head.width()) };
        }
        let mut columns = Columns { widths };
        // A long name may get shorter, as far as it can still be told from others; then columns go; what room is left
        // in the end is for the name again.
        let [_, wanted, ..] = columns.widths;
        if let Some(name) = columns.widths.get_mut(WORKFLOW) {
            *name = wanted.min(SHORT_NAME);
        }
        for column in DISPENSABLE {
            if columns.total() > page.width()
                && let Some(width) = columns.widths.get_mut(column)
            {
                *width = 0;
            }
        }
        let room = page.width().saturating_sub(columns.total());
        let over = columns.total().saturating_sub(page.width());
        let [_, name, ..] = &mut columns.widths;
        *name = name.saturating_add(room).min(wanted).saturating_sub(over).max(8);
        columns
    }

    fn total(&self) -> usize {
        self.widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum()
    }

    fn put(&self, page: &Page, line: &mut Line, role: Role, cells: &[String; 8], status: Role) {
        let mut at = 0;
        for (index, ((cell, width), is_right)) in cells.iter().zip(self.widths).zip(IS_RIGHT).enumerate() {
            if width == 0 {
                continue;
            }
            at += 2;
            let cell = page.name_or_nothing(cell, width);
            let role = if HEADS.get(index) == Some(&"status") { status } else { role };
            if is_right {
                page.add_right(line, role, &cell, at + width);
            } else {
                line.tab(at, 0);
                page.add(line, role, &cell);
            }
            at += width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn a_hint_says_how_long_ago_in_one_unit() {
        let start = Timestamp::from_unix_nanos(1_793_491_200_000_000_000);
        let run = ListedRun {
            id: "7f3a9c2e".to_owned(),
            workflow: "research\u{1b}agent".to_owned(),
            version: None,
            status: None,
            started_at: start.to_rfc3339(),
            start_unix_ns: start,
            wall_ns: Some(Duration::from_millis(22_800)),
            cost_usd: None,
            spans: 19,
            errors: 0,
            longest_node: None,
            labels: std::collections::BTreeMap::new(),
        };
        let after = |seconds| hint(&run, start.saturating_add(Duration::from_secs(seconds)));
        assert_eq!(after(59), r"research\u{1b}agent  22.8 s  just now");
        for (seconds, ago) in [
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (86_399, "23 h"),
            (86_400, "1 day"),
            (200_000, "2 days"),
        ] {
            assert_eq!(after(seconds), format!(r"research\u{{1b}}agent  22.8 s  {ago} ago"));
        }
        // A run may seem to start later than now, on another machine's clock.
        assert!(hint(&run, Timestamp::from_unix_nanos(0)).ends_with("just now"));
        let open = ListedRun { wall_ns: None, ..run };
        assert!(hint(&open, start).contains(open.status_word()));
    }
}
