//! A report as text: which node to fix first, what that would save, and how much to trust it.
//!
//! Blocks with a blank line between them, no boxes and no rules, so that it survives copying into a chat. It is
//! compact: long lists end with how much they leave out.

use unicode_width::UnicodeWidthStr;

use super::excerpt::{Block, Excerpt};
use super::page::{Line, Page, Role};
use super::{cost, fix_first, gates, header, node_table, path_table, trust, units};
use crate::report::{QualityLevel, Report, RunStatus};

/// How a text report is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// The most columns a line may have, within [`TextStyle::MIN_WIDTH`] and [`TextStyle::MAX_WIDTH`]. Below 80 the
    /// cost column goes first, then the kind, then the bars; above 100 only the bars grow.
    pub width: usize,
    /// Whether to colour with ANSI escapes. The text says the same without.
    pub color: bool,
    /// Whether to use ASCII characters only, for terminals whose character set is not Unicode.
    pub ascii: bool,
}

impl TextStyle {
    /// Narrower is drawn as this.
    pub const MIN_WIDTH: usize = 60;
    /// Wider is drawn as this.
    pub const MAX_WIDTH: usize = 200;
}

impl Default for TextStyle {
    /// 80 columns, no colour, Unicode.
    fn default() -> Self {
        TextStyle { width: 80, color: false, ascii: false }
    }
}

/// The report as text. Every line ends with a line feed and is at most `style.width` columns wide, whatever the
/// names in the report are; they are escaped (see [`Printable`](super::Printable)) and cut in the middle.
///
/// ```text
/// longpole  etl-nightly  run 91bc02aa                                           ok
///
///   wall 41.0 s   work 44.2 s   parallel 1.1× (peak 2)   spans 12
/// …
/// ```
pub fn text(report: &Report, style: &TextStyle) -> String {
    text_excerpt(report, style, &Excerpt::default())
}

/// A part of the report as text, or more of it; see [`Excerpt`]. The last line is the command that shows more, where
/// that is given.
pub fn text_excerpt(report: &Report, style: &TextStyle, excerpt: &Excerpt) -> String {
    let mut page = Page::new(style);
    if excerpt.only.is_some() {
        header::put_title(&mut page, &report.run);
    } else {
        header::put(&mut page, report);
    }
    let is_single = report.run.spans <= 1;
    if is_single && report.quality.missing_spans == 0 && excerpt.only != Some(Block::Quality) {
        page.blank();
        page.put_words(2, "This run is a single span: there is nothing to compare inside it.");
    } else {
        put_path_and_advice(&mut page, report, excerpt);
    }
    if excerpt.shows(Block::Nodes, false) && !report.nodes.is_empty() {
        page.blank();
        node_table::put(&mut page, report, excerpt);
    }
    put_trust(&mut page, report, excerpt);
    gates::put(&mut page, &report.gates);
    // Half a command is none.
    if let Some(command) = excerpt.more.as_deref().filter(|command| command.width() + 8 <= page.width()) {
        page.blank();
        let mut line = Line::default();
        page.add(&mut line, Role::Dim, "  more  ");
        page.add(&mut line, Role::Plain, &page.name(command, page.width()));
        page.put(line);
    }
    page.into_text()
}

fn put_path_and_advice(page: &mut Page, report: &Report, excerpt: &Excerpt) {
    let has_path = report.run.spans > 1;
    if excerpt.shows(Block::Path, true) && has_path {
        page.blank();
        path_table::put(page, report, excerpt);
    }
    if excerpt.shows(Block::Fix, true) {
        page.blank();
        match nothing_to_fix(page, report) {
            Some(why) => page.put_words(2, &why),
            None => fix_first::put(page, report, excerpt),
        }
    }
}

/// The totals that need judgement.
fn put_trust(page: &mut Page, report: &Report, excerpt: &Excerpt) {
    match excerpt.only {
        None => {
            page.blank();
            trust::put(page, report);
        }
        Some(Block::Path) => {
            page.blank();
            trust::put_limits(page, report);
        }
        Some(Block::Cost) => {
            page.blank();
            match (report.totals.cost_usd, &report.cost) {
                (None, None) => page.put_words(2, "Nothing tells what this run cost."),
                _ => cost::put(page, report),
            }
        }
        Some(Block::Quality) => {
            page.blank();
            trust::put_counts(page, report);
        }
        Some(Block::Fix | Block::Nodes) => {}
    }
}

/// Why nothing is said about what to fix; `None` where there are findings.
pub(super) fn nothing_to_fix(page: &Page, report: &Report) -> Option<String> {
    // With spans missing from the path, a saving would be a guess about what they did.
    if report.run.status == RunStatus::Incomplete && report.quality.level == QualityLevel::Low {
        let mut text =
            "Spans are missing, so the path may be another one and savings are not shown.".to_owned();
        if report.quality.open_spans > 0 {
            text += " Usually the process exited before its spans were sent.";
        }
        return Some(text);
    }
    if !report.findings.is_empty() {
        return None;
    }
    let rows = &report.critical_path.rows;
    if rows.is_empty() {
        return Some("No node is on the path, so no node would make the run shorter.".to_owned());
    }
    let mut text = "No single node would save more than 2% of the run.".to_owned();
    if let Some(longest) = rows.iter().find(|row| row.is_longest) {
        let name = page.name_in_text(&longest.node);
        let length = super::page::no_break(&units::duration(longest.duration_ns));
        text += &match rows.len() {
            1 => format!(" The path is one node, {name}, {length}."),
            nodes => {
                format!(" The path is {} nodes; the longest is {name}, {length}.", units::count(nodes as u64))
            }
        };
    }
    Some(text)
}
