//! The report as a person reads it in a terminal, or in a chat it was pasted into.
//!
//! Order: the verdict, totals, the critical path, what to fix first, what needs judgement, how much to trust it. All
//! meaning is in the text; colour repeats it. No boxes and no rules.

use crate::render::layout::{Ink, Role, wrap};
use crate::render::printable::{cut_middle, printable, width};
use crate::render::sentences;
use crate::render::units::{count, duration, money, share};
use crate::report::{Finding, PathRow, QualityLevel, Report, Severity};
use crate::time::Duration;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// No line is wider than this many columns; less than [`TextStyle::MIN_WIDTH`] counts as that.
    pub width: usize,
    /// Whether to colour, with escape codes of the 16 colours every terminal theme defines.
    pub color: bool,
    /// Whether to keep to ASCII.
    pub ascii: bool,
}

impl TextStyle {
    /// The narrowest report.
    pub const MIN_WIDTH: usize = 60;
}

impl Default for TextStyle {
    /// 80 columns, no colour, Unicode.
    fn default() -> Self {
        TextStyle { width: 80, color: false, ascii: false }
    }
}

/// How many rows of the path are shown.
const MAX_ROWS: usize = 12;
/// How many findings are shown.
const MAX_FINDINGS: usize = 5;
/// From here on a node's queueing is worth a line.
const QUEUED_WORTH_TELLING: Duration = Duration::from_millis(1);

/// Writes `report` as text; ends with a newline.
pub fn text(report: &Report, style: &TextStyle) -> String {
    let ink = Ink { color: style.color, ascii: style.ascii };
    let width = style.width.max(TextStyle::MIN_WIDTH);
    let table = Table::new(report, ink, width);
    let mut page = Page { ink, width, text: String::new() };
    page.header(report, table.edge);
    if report.critical_path.rows.is_empty() {
        page.nothing_on_the_path(report);
    } else {
        page.path(report, &table);
        page.findings(report, &table);
    }
    page.judgement(report);
    page.text
}

/// The columns of the path's rows. A column of no width is left out.
struct Table {
    name: usize,
    kind: usize,
    bar: usize,
    cost: usize,
    marker: &'static str,
    /// Where the share ends; figures of other blocks end there too.
    figures_end: usize,
    /// Where the widest row ends.
    edge: usize,
}

const TIME: usize = 8;
const SHARE: usize = 5;

impl Table {
    fn new(report: &Report, ink: Ink, available: usize) -> Self {
        let rows = &report.critical_path.rows;
        let widest =
            |cells: &mut dyn Iterator<Item = String>| cells.map(|cell| width(&cell)).max().unwrap_or(0);
        let name = widest(&mut rows.iter().map(|row| row_name(row, ink))).clamp(4, available / 3 + 6);
        let kind = widest(&mut rows.iter().map(|row| printable(&row.kind, ink.ascii))).min(10);
        let cost = widest(&mut rows.iter().filter_map(|row| row.cost_usd).map(money));
        let marker = match ink.ascii {
            true => " *",
            false if available < 80 => " ◀",
            false => " ◀ longest",
        };
        let mut table = Table { name, kind, bar: 0, cost, marker, figures_end: 0, edge: 0 };
        const BAR_MIN: usize = 12;
        if available < 80 {
            table.cost = 0;
        }
        if table.without_bar() + BAR_MIN > available {
            table.cost = 0;
        }
        if table.without_bar() + BAR_MIN > available {
            table.kind = 0;
        }
        if table.without_bar() + BAR_MIN > available {
            table.name = table.name.min(available / 3);
        }
        table.bar = available.saturating_sub(table.without_bar() + 2);
        table.bar =
            if table.bar < BAR_MIN / 2 { 0 } else { table.bar.min(if available > 100 { 60 } else { 40 }) };
        table.figures_end = table.before_figures() + TIME + SHARE;
        table.edge = table.without_bar() + gap(table.bar) - table.trailing_slack();
        table
    }

    fn before_figures(&self) -> usize {
        2 + self.name + gap(self.kind) + gap(self.bar)
    }

    fn without_bar(&self) -> usize {
        2 + self.name + gap(self.kind) + TIME + SHARE + gap(self.cost) + width(self.marker)
    }

    fn trailing_slack(&self) -> usize {
        width(self.marker)
    }
}

/// A column with the two spaces before it.
fn gap(columns: usize) -> usize {
    if columns == 0 { 0 } else { columns + 2 }
}

fn row_name(row: &PathRow, ink: Ink) -> String {
    let mut name = printable(&row.node, ink.ascii);
    if row.executions > 1 {
        name.push_str(&ink.words(&format!(" ×{}", row.executions)));
    }
    if row.failed > 0 {
        name.push_str(&format!(" ({} failed)", row.failed));
    }
    name
}

struct Page {
    ink: Ink,
    width: usize,
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A sentence that starts after `indent` columns and goes on below itself.
    fn sentence(&mut self, label: &str, role: Role, indent: usize, words: &str) {
        let lines = wrap(words, self.width.saturating_sub(indent), self.ink.ellipsis());
        for (at, line) in lines.iter().enumerate() {
            let before = if at == 0 { label } else { "" };
            let margin = self.ink.paint(role, &self.ink.left(before, indent));
            self.line(&format!("{margin}{line}"));
        }
    }

    fn name(&self, name: &str) -> String {
        printable(name, self.ink.ascii)
    }

    fn header(&mut self, report: &Report, edge: usize) {
        let run = &report.run;
        let status = sentences::status(report);
        let mut parts = vec![self.name(run.workflow.as_ref().unwrap_or(&run.name))];
        parts.push(format!("run {}", run.trace_id.get(..8).unwrap_or(&run.trace_id)));
        if let Some(version) = &run.version {
            parts.push(format!("v{}", self.name(version.strip_prefix('v').unwrap_or(version))));
        }
        let edge = edge.max(TextStyle::MIN_WIDTH).min(self.width);
        let room = edge.saturating_sub(width(&status) + 2);
        let left = cut_middle(&format!("longpole  {}", parts.join("  ")), room, self.ink.ellipsis());
        let fill = " ".repeat(edge.saturating_sub(width(&left) + width(&status)));
        let role = if run.status == crate::report::RunStatus::Ok { Role::Plain } else { Role::High };
        let status = self.ink.paint(role, &status);
        self.line(&format!("{}{fill}{status}", self.ink.paint(Role::Heading, &left)));
        self.blank();
        let totals = sentences::totals(report);
        let mut line = String::new();
        let ink = self.ink;
        for part in totals.iter().map(|part| ink.words(part)) {
            if !line.is_empty() && width(&line) + 3 + width(&part) > self.width {
                self.line(&std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { "  " } else { "   " });
            line.push_str(&part);
        }
        self.line(&line);
        self.blank();
    }

    fn nothing_on_the_path(&mut self, report: &Report) {
        let words = match report.run.spans {
            0 | 1 => "This run is a single span: there is nothing to compare inside it.",
            _ if report.run.wall_ns.is_zero() => "This run took no time: there is nothing to divide.",
            _ => "No time on the critical path belongs to a node: all of it has no span.",
        };
        self.sentence("", Role::Plain, 2, words);
        self.blank();
    }

    fn path(&mut self, report: &Report, table: &Table) {
        let path = &report.critical_path;
        let wall = report.run.wall_ns;
        let mut lead = format!(
            "{} of {} ({})",
            duration(path.length_ns),
            duration(wall),
            share(path.length_ns.ratio_of(wall).unwrap_or(0.0))
        );
        if !report.totals.unattributed_ns.is_zero() {
            lead.push_str(&format!("; the other {} has no span", duration(report.totals.unattributed_ns)));
        }
        let lead = self.ink.words(&lead);
        self.sentence("Critical path", Role::Heading, 16, &lead);
        self.blank();
        let mut by_time: Vec<usize> = (0..path.rows.len()).collect();
        by_time.sort_by_key(|at| (std::cmp::Reverse(path.rows.get(*at).map(|row| row.duration_ns)), *at));
        let mut shown: Vec<usize> = by_time.iter().copied().take(MAX_ROWS).collect();
        shown.sort_unstable();
        for row in shown.iter().filter_map(|at| path.rows.get(*at)) {
            self.row(row, wall, table);
        }
        let rest = by_time.get(MAX_ROWS..).unwrap_or_default();
        if !rest.is_empty() {
            let together: Duration =
                rest.iter().filter_map(|at| path.rows.get(*at)).map(|row| row.duration_ns).sum();
            let words = format!(
                "… and {} more on the path, {} together",
                count(rest.len() as u64),
                duration(together)
            );
            self.sentence("", Role::Plain, 2, &self.ink.words(&words));
        }
        self.queueing(report);
        self.beside(report);
        self.blank();
    }

    fn row(&mut self, row: &PathRow, wall: Duration, table: &Table) {
        let ink = self.ink;
        let role = if row.is_longest { Role::Pole } else { Role::Plain };
        let mut line = format!("  {}", ink.paint(role, &ink.left(&row_name(row, ink), table.name)));
        if table.kind > 0 {
            let kind = ink.left(&printable(&row.kind, ink.ascii), table.kind);
            line.push_str(&format!("  {}", ink.paint(Role::Dim, &kind)));
        }
        if table.bar > 0 {
            line.push_str(&format!("  {}", ink.paint(role, &ink.bar(&row.pieces, wall, table.bar))));
        }
        let time = ink.words(&duration(row.duration_ns));
        line.push_str(&ink.right(&time, TIME));
        line.push_str(&ink.right(&share(row.wall_ratio), SHARE));
        if table.cost > 0 {
            line.push_str(&format!(
                "  {}",
                ink.right(&row.cost_usd.map_or_else(String::new, money), table.cost)
            ));
        }
        if row.is_longest {
            line.push_str(&ink.paint(Role::Pole, table.marker));
        }
        self.line(&line);
    }

    fn queueing(&mut self, report: &Report) {
        let queued = report.critical_path.rows.iter().filter(|row| row.queued_ns >= QUEUED_WORTH_TELLING);
        let queued: Vec<String> = queued
            .take(MAX_ROWS)
            .map(|row| format!("{} {}", self.name(&row.node), self.ink.words(&duration(row.queued_ns))))
            .collect();
        if !queued.is_empty() {
            let words = format!("queued before they ran: {}", queued.join(", "));
            self.sentence("", Role::Plain, 2, &words);
        }
    }

    fn beside(&mut self, report: &Report) {
        let beside: Vec<String> = report
            .critical_path
            .beside
            .iter()
            .map(|row| {
                let slack = row.slack_ns.map_or_else(
                    || "nobody waits for it".to_owned(),
                    |slack| format!("slack {}", duration(slack)),
                );
                format!(
                    "{} {} ({})",
                    self.name(&row.node),
                    self.ink.words(&duration(row.duration_ns)),
                    self.ink.words(&slack)
                )
            })
            .collect();
        if !beside.is_empty() {
            let words = format!("beside it: {}", beside.join(", "));
            self.sentence("", Role::Plain, 2, &words);
        }
    }

    fn findings(&mut self, report: &Report, table: &Table) {
        if report.quality.open_spans > 0 {
            let words = format!(
                "{} spans never ended or never arrived. The path stops where they are missing, so savings are guesses.",
                count(report.quality.open_spans)
            );
            self.sentence("", Role::Plain, 2, &words);
            self.blank();
        }
        if report.findings.is_empty() {
            let longest = report.critical_path.rows.iter().find(|row| row.is_longest);
            let longest = longest.map_or_else(String::new, |row| {
                format!(
                    " The largest on the path is {}, {}.",
                    self.name(&row.node),
                    self.ink.words(&duration(row.duration_ns))
                )
            });
            let words = format!("No single node would save more than 2% of the run.{longest}");
            self.sentence("", Role::Plain, 2, &words);
            self.blank();
            return;
        }
        let heading = self.ink.left("Fix first", table.figures_end.saturating_sub(12));
        self.line(&format!("{}save at most", self.ink.paint(Role::Heading, &heading)));
        self.blank();
        for (at, finding) in report.findings.iter().take(MAX_FINDINGS).enumerate() {
            self.finding(at + 1, finding, report.run.wall_ns, table);
        }
        if report.findings.len() > MAX_FINDINGS {
            let more = report.findings.len() - MAX_FINDINGS;
            self.sentence("", Role::Dim, 2, &self.ink.words(&format!("… and {more} more")));
        }
        self.blank();
    }

    fn finding(&mut self, number: usize, finding: &Finding, wall: Duration, table: &Table) {
        let ink = self.ink;
        let (word, role) = match finding.severity {
            Severity::Critical => ("CRITICAL", Role::Critical),
            Severity::High => ("HIGH", Role::High),
            Severity::Medium => ("MEDIUM", Role::Medium),
            Severity::Low => ("LOW", Role::Dim),
        };
        let name_room = table.figures_end.saturating_sub(15 + TIME + SHARE);
        let name = ink.left(&self.name(&finding.subject), name_room);
        let time = ink.right(&ink.words(&duration(finding.saves_max_ns)), TIME);
        let line = format!(
            "  {number}  {}  {name}{}{}",
            ink.paint(role, &ink.left(word, 8)),
            ink.paint(Role::Gain, &time),
            ink.right(&share(finding.wall_ratio), SHARE)
        );
        self.line(&line);
        let why: Vec<String> =
            finding.why.iter().map(|reason| self.own_words(&sentences::reason(reason))).collect();
        let mut why = why.join("; ");
        if finding.confidence == crate::report::Confidence::Guess {
            why.push_str(if why.is_empty() { "a guess" } else { "; a guess" });
        }
        self.sentence("       why", Role::Dim, 12, &why);
        let advice = finding
            .suggestions
            .iter()
            .map(|suggestion| self.own_words(&sentences::suggestion(suggestion, wall)));
        let advice = advice.collect::<Vec<_>>().join("; ");
        self.sentence("       try", Role::Dim, 12, &advice);
    }

    /// A sentence of ours that may hold a foreign name.
    fn own_words(&self, sentence: &str) -> String {
        printable(&self.ink.words(sentence), self.ink.ascii)
    }

    fn judgement(&mut self, report: &Report) {
        let mut costs: Vec<_> =
            report.nodes.iter().filter_map(|node| Some((node.cost_usd?, &node.name))).collect();
        costs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        if let Some(total) = report.totals.cost_usd.filter(|total| total.as_picodollars() > 0) {
            let part = |(cost, name): &(crate::money::Money, &String)| {
                format!("{} {} ({})", self.name(name), money(*cost), share(cost.as_usd() / total.as_usd()))
            };
            let words = costs.iter().take(3).map(part).collect::<Vec<_>>().join(", ");
            self.sentence("Cost", Role::Heading, 14, &words);
        }
        let role = match report.quality.level {
            QualityLevel::High => Role::Plain,
            QualityLevel::Medium => Role::Medium,
            QualityLevel::Low => Role::High,
        };
        let confidence = self.own_words(&sentences::confidence(report));
        let (level, rest) = confidence.split_once(':').unwrap_or((&confidence, ""));
        // Wrapped before it is painted: escape codes have no width.
        let lines = wrap(&format!("{level}:{rest}"), self.width.saturating_sub(14), self.ink.ellipsis());
        for (at, line) in lines.iter().enumerate() {
            let label = if at == 0 { "Confidence" } else { "" };
            let line = match line.strip_prefix(level).filter(|_| at == 0) {
                Some(rest) => format!("{}{rest}", self.ink.paint(role, level)),
                None => line.clone(),
            };
            self.line(&format!("{}{line}", self.ink.paint(Role::Heading, &self.ink.left(label, 14))));
        }
        if let Some(lost) = report.pipeline.as_ref().filter(|lost| !lost.is_empty()) {
            let parts = lost
                .iter()
                .map(|(reason, spans)| format!("{} spans ({})", count(*spans), reason.replace('_', " ")));
            let words = parts.collect::<Vec<_>>().join(", ");
            self.sentence("Lost", Role::High, 14, &words);
        }
    }
}
