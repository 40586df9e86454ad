//! Which run it is, how it went, and the run in a few numbers.

use unicode_width::UnicodeWidthStr;

use super::page::{Line, Page, Role};
use super::{cost, units};
use crate::report::{Report, RunStatus, RunSummary};

/// The header line, a blank line and the totals.
pub(super) fn put(page: &mut Page, report: &Report) {
    put_title(page, &report.run);
    page.blank();
    put_totals(page, report);
}

/// Which run it is, and how it went.
pub(super) fn put_title(page: &mut Page, run: &RunSummary) {
    let status = status(run);
    let mut tail = String::new();
    let trace: String = run.trace_id.chars().take(8).collect();
    if !trace.is_empty() {
        tail = format!("  run {}", page.name(&trace, 8));
    }
    let name = run.workflow.as_deref().unwrap_or(&run.name);
    let full_name = page.name(name, page.text_width());
    let room = page.text_width().saturating_sub("longpole  ".len() + tail.width() + 2 + status.width());
    let version = run.version.as_deref().filter(|version| !version.is_empty()).map(|version| {
        let letter = if version.starts_with(|c: char| c.is_ascii_digit()) { "v" } else { "" };
        format!("  {letter}{}", page.name(version, 16))
    });
    let version = version.filter(|version| full_name.width() + version.width() <= room);

    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "longpole  ");
    page.add(&mut line, Role::Plain, &page.name(name, room));
    page.add(&mut line, Role::Plain, &tail);
    page.add(&mut line, Role::Plain, version.as_deref().unwrap_or_default());
    page.add_right(&mut line, Role::Plain, &status, page.text_width());
    page.put(line);
}

/// `ok, 1 retry`.
pub(super) fn status(run: &RunSummary) -> String {
    let mut text = match run.status {
        RunStatus::Ok => "ok",
        RunStatus::Error => "error",
        RunStatus::Panicked => "panicked",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Incomplete => "incomplete",
    }
    .to_owned();
    if run.errors > 0 {
        text += &format!(", {} failed", units::count(run.errors));
    }
    if run.retries > 0 {
        text += &format!(", {}", units::counted(run.retries, "retry", "retries"));
    }
    text
}

fn put_totals(page: &mut Page, report: &Report) {
    let (run, totals, quality) = (&report.run, &report.totals, &report.quality);
    let is_incomplete = run.status == RunStatus::Incomplete;
    let at_least = if is_incomplete { "≥ " } else { "" };
    let mut items = vec![
        format!("wall {at_least}{}", units::duration(run.wall_ns)),
        format!("work {at_least}{}", units::duration(run.work_ns)),
    ];
    let achieved = totals.parallelism_achieved.filter(|_| run.spans > 1).and_then(units::parallelism);
    items.extend(achieved.map(|x| format!("parallel {x} (peak {})", units::count(totals.parallelism_peak))));
    items.extend(cost::of_run(report).map(|cost| format!("cost {cost}")));
    let spans = units::count(run.spans);
    items.push(match quality.missing_spans {
        0 => format!("spans {spans}"),
        missing => format!("{spans} of {} spans", units::count(run.spans.saturating_add(missing))),
    });
    let never_ended = quality.open_spans.saturating_sub(quality.missing_spans);
    if is_incomplete && never_ended > 0 {
        items.push(format!("{} never ended", units::counted(never_ended, "span", "spans")));
    }
    if is_incomplete && quality.orphans > 0 {
        let verb = if quality.orphans == 1 { "has" } else { "have" };
        items.push(format!("{} {verb} no parent", units::count(quality.orphans)));
    }

    let mut text = String::new();
    for item in items {
        let item = page.words(&item);
        if !text.is_empty() && 2 + text.width() + 3 + item.width() > page.text_width() {
            page_line(page, &text);
            text.clear();
        }
        text += if text.is_empty() { "  " } else { "   " };
        text += &item;
    }
    page_line(page, &text);
    put_baseline(page, run);
}

/// How long the run took against earlier ones.
fn put_baseline(page: &mut Page, run: &RunSummary) {
    let Some((change, against)) = against_baseline(run) else { return };
    page.put_words(2, &format!("{change} against {against}"));
}

/// `+9%`, `the median of the last 20 runs (20.9 s)`.
pub(super) fn against_baseline(run: &RunSummary) -> Option<(String, String)> {
    let baseline = run.baseline.filter(|baseline| !baseline.p50_ns.is_zero())?;
    let runs = units::counted(baseline.runs, "run", "runs");
    let usual = units::duration(baseline.p50_ns);
    let ratio = run.wall_ns.as_nanos() as f64 / baseline.p50_ns.as_nanos() as f64 - 1.0;
    let noise = baseline.mad_ns.as_nanos().saturating_mul(3);
    let change = if run.wall_ns.as_nanos().abs_diff(baseline.p50_ns.as_nanos()) <= noise {
        "±0 (within noise)".to_owned()
    } else {
        format!("{}{}", if ratio < 0.0 { "−" } else { "+" }, units::share(ratio.abs()))
    };
    Some((change, format!("the median of the last {runs} ({usual})")))
}

fn page_line(page: &mut Page, text: &str) {
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, text);
    page.put(line);
}
