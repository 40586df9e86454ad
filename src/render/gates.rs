//! What became of gates, one line each.

use unicode_width::UnicodeWidthStr;

use super::TextStyle;
use super::json::sorted;
use super::page::{Line, Page, Role, no_break};
use super::units;
use crate::gates::Check;
use crate::report::{Amount, GateReason, GateResult, GateVerdict, QualityLevel};

/// Gates longer than this are cut in the middle.
const MAX_EXPR: usize = 44;
/// What was found stands below its gate if it has less room beside it.
const MIN_FOUND: usize = 24;
/// Where a gate starts, behind its verdict.
const VERDICT: usize = 9;

/// One line for each gate: its verdict, the gate, what was found, and why. No line is wider than `style.width`.
///
/// ```text
/// passed   wall>25s            22.8 s
/// FAILED   node(draft).p95>6s  6.92 s
/// no data  cost>$0.10          the run does not tell
/// ```
pub fn gates_text(gates: &[GateResult], style: &TextStyle) -> String {
    let mut page = Page::new(style);
    put_rows(&mut page, gates, 0);
    page.into_text()
}

/// What was checked in its JSON form, `longpole.check/1`: indented, keys in alphabetical order, a line feed at the end.
pub fn check_json(check: &Check) -> String {
    let value = serde_json::to_value(check).map(sorted);
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    text.expect("a check is made of structs and lists") + "\n"
}

/// A block of a report; nothing where there are no gates.
pub(super) fn put(page: &mut Page, gates: &[GateResult]) {
    if gates.is_empty() {
        return;
    }
    page.blank();
    page.put_words(0, &headline(gates));
    page.blank();
    put_rows(page, gates, 2);
}

/// `Gates   2 passed, 1 failed`.
fn headline(gates: &[GateResult]) -> String {
    let count = |verdict| gates.iter().filter(|gate| gate.verdict == verdict).count() as u64;
    let counted = [
        (GateVerdict::Failed, "failed"),
        (GateVerdict::NoData, "without data"),
        (GateVerdict::Passed, "passed"),
    ]
    .map(|(verdict, word)| (count(verdict), word));
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    let counted: Vec<String> =
        counted.map(|(count, word)| format!("{} {word}", units::count(*count))).collect();
    format!("Gates\u{a0}\u{a0} {}", counted.join(", "))
}

fn put_rows(page: &mut Page, gates: &[GateResult], indent: usize) {
    let room = page.text_width().saturating_sub(indent + VERDICT).min(MAX_EXPR);
    let exprs: Vec<String> = gates.iter().map(|gate| page.name(&gate.expr, room)).collect();
    let edge = exprs.iter().map(|expr| expr.width()).max().unwrap_or_default();
    for (gate, expr) in gates.iter().zip(exprs) {
        let (word, role) = verdict(gate.verdict);
        let mut line = Line::default();
        line.tab(indent, 0);
        page.add(&mut line, role, word);
        line.tab(indent + VERDICT, 1);
        page.add(&mut line, Role::Plain, &expr);
        let found = found(page, gate);
        let beside = indent + VERDICT + edge + 2;
        if found.is_empty() {
            page.put(line);
        } else if page.text_width() >= beside + MIN_FOUND {
            page.put_wrapped(line, beside, [(Role::Plain, found)]);
        } else {
            page.put(line);
            page.put_wrapped(Line::default(), indent + VERDICT + 2, [(Role::Dim, found)]);
        }
    }
}

/// A failure is told by capitals, not by its colour alone.
const fn verdict(verdict: GateVerdict) -> (&'static str, Role) {
    match verdict {
        GateVerdict::Passed => ("passed", Role::Plain),
        GateVerdict::Failed => ("FAILED", Role::Critical),
        GateVerdict::NoData => ("no data", Role::Critical),
    }
}

/// `22.8 s`, `+14%, within noise`.
fn found(page: &Page, gate: &GateResult) -> String {
    let actual = gate.actual.map(|actual| no_break(&page.words(&amount(actual))));
    let reason = gate.reason.as_ref().map(|reason| match reason {
        GateReason::NoSuchNode { near } => {
            let near = near.iter().map(|name| no_break(&page.name(name, MIN_FOUND - 4))).collect();
            GateReason::NoSuchNode { near }.to_string()
        }
        other => other.to_string(),
    });
    actual.into_iter().chain(reason).collect::<Vec<_>>().join(", ")
}

/// `22.8 s`, `$0.0913`, `+14%`.
pub(super) fn amount(amount: Amount) -> String {
    match amount {
        Amount::Time(time) => units::duration(time),
        Amount::Money(money) => units::money(money),
        Amount::Count(count) => units::count(count),
        Amount::Share(ratio) => exact_share(ratio),
        Amount::Change(ratio) if ratio < 0.0 => format!("-{}", exact_share(-ratio)),
        Amount::Change(ratio) => format!("+{}", exact_share(ratio)),
        Amount::Level(QualityLevel::Low) => "low".to_owned(),
        Amount::Level(QualityLevel::Medium) => "medium".to_owned(),
        Amount::Level(QualityLevel::High) => "high".to_owned(),
    }
}

/// To the tenth of a per cent, since it stands beside a limit.
fn exact_share(ratio: f64) -> String {
    let percent = format!("{:.1}", ratio * 100.0);
    format!("{}%", percent.strip_suffix(".0").unwrap_or(&percent))
}
