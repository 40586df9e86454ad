//! Which run it is, how it went, and the run in a few figures.

use super::markup::Markup;
use crate::render::page::Page;
use crate::render::text::TextStyle;
use crate::render::{cost, fix_first, header, units};
use crate::report::{Report, RunStatus};

pub(super) fn put(html: &mut Markup, report: &Report) {
    put_title(html, report);
    put_tiles(html, report);
    let page = Page::new(&TextStyle::default());
    if let Some(sentence) = fix_first::together(&page, report).filter(|_| !is_without_savings(report)) {
        html.raw("<p class=\"verdict\">").text(&sentence).raw("</p>\n");
    }
}

/// Whether so much is missing that nothing is said about savings.
pub(super) fn is_without_savings(report: &Report) -> bool {
    let page = Page::new(&TextStyle::default());
    crate::render::text::nothing_to_fix(&page, report).is_some()
}

fn put_title(html: &mut Markup, report: &Report) {
    let run = &report.run;
    html.raw(
        "<header><p class=\"brand\"><span class=\"mark\" aria-hidden=\"true\"></span> longpole</p>\n<h1>",
    );
    html.name(run.workflow.as_deref().unwrap_or(&run.name)).raw("</h1>\n<p class=\"about\">");
    let status = match run.status {
        RunStatus::Ok => "ok",
        RunStatus::Incomplete => "warn",
        RunStatus::Error | RunStatus::Panicked | RunStatus::Cancelled => "bad",
    };
    html.raw("<span class=\"status ").raw(status).raw("\">").text(&header::status(run)).raw("</span>");
    let trace: String = run.trace_id.chars().take(8).collect();
    if !trace.is_empty() {
        html.raw(" <span>run <code>").text(&trace).raw("</code></span>");
    }
    if let Some(version) = run.version.as_deref().filter(|version| !version.is_empty()) {
        html.raw(" <span>version ").name(version).raw("</span>");
    }
    html.raw(" <time>").text(&run.started_at).raw("</time></p></header>\n");
}

fn put_tiles(html: &mut Markup, report: &Report) {
    let (run, totals) = (&report.run, &report.totals);
    let at_least = if run.status == RunStatus::Incomplete { "≥ " } else { "" };
    html.raw("<dl class=\"tiles\">\n");
    let baseline =
        header::against_baseline(run).map(|(change, against)| format!("{change} against {against}"));
    tile(html, "Wall time", &format!("{at_least}{}", units::duration(run.wall_ns)), baseline.as_deref());
    if let Some(longest) = report.critical_path.rows.iter().find(|row| row.is_longest) {
        html.raw("<div><dt>Longest pole</dt><dd><b class=\"pole\">").name(&longest.node).raw("</b> <small>");
        let share = units::share(longest.wall_ratio);
        html.text(&format!("{}, {share} of the run", units::duration(longest.duration_ns)))
            .raw("</small></dd></div>\n");
    }
    if run.spans > 1 {
        let work = format!("{at_least}{} of work", units::duration(run.work_ns));
        let peak = format!("peak {}, {work}", units::count(totals.parallelism_peak));
        let achieved = totals.parallelism_achieved.and_then(units::parallelism);
        tile(html, "Parallel", achieved.as_deref().unwrap_or("?"), Some(&peak));
    }
    if let Some(efficiency) = totals.efficiency {
        let best = format!("of the best its graph allows ({})", units::duration(report.allowed_path.wall_ns));
        tile(html, "Efficiency", &units::share(efficiency), Some(&best));
    }
    if let Some(cost) = cost::of_run(report) {
        let tokens = totals.tokens.map(|tokens| {
            format!("{} tokens in, {} out", units::count(tokens.input), units::count(tokens.output))
        });
        tile(html, "Cost", &cost, tokens.as_deref());
    }
    let spans = match report.quality.missing_spans {
        0 => None,
        missing => Some(format!("of {}", units::count(run.spans.saturating_add(missing)))),
    };
    tile(html, "Spans", &units::count(run.spans), spans.as_deref());
    let (failed, retries) = (units::count(run.errors), units::count(run.retries));
    tile(html, "Failed / retries", &format!("{failed} / {retries}"), None);
    html.raw("</dl>\n");
}

fn tile(html: &mut Markup, label: &'static str, figure: &str, more: Option<&str>) {
    html.raw("<div><dt>").raw(label).raw("</dt><dd>").text(figure);
    if let Some(more) = more {
        html.raw(" <small>").text(more).raw("</small>");
    }
    html.raw("</dd></div>\n");
}
