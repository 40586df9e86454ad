//! A report as text: which node to fix first, what that would save, and how much to trust it.
//!
//! Blocks with a blank line between them, no boxes and no rules, so that it survives copying into a chat. It is
//! compact: long lists end with how much they leave out.

use super::page::Page;
use super::{fix_first, gates, header, path_table, trust, units};
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
    let mut page = Page::new(style);
    header::put(&mut page, report);
    page.blank();
    if report.run.spans <= 1 && report.quality.missing_spans > 0 {
        put_advice(&mut page, report);
    } else if report.run.spans <= 1 {
        page.put_words(2, "This run is a single span: there is nothing to compare inside it.");
    } else {
        path_table::put(&mut page, report);
        page.blank();
        put_advice(&mut page, report);
    }
    page.blank();
    trust::put(&mut page, report);
    gates::put(&mut page, &report.gates);
    page.into_text()
}

/// What to fix, or why nothing is said about that.
fn put_advice(page: &mut Page, report: &Report) {
    match nothing_to_fix(page, report) {
        Some(why) => page.put_words(2, &why),
        None => fix_first::put(page, report),
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
