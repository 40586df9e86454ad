//! A report as one HTML page that needs nothing else: no network, no script, no other file.
//!
//! It opens from a disk, from the artifacts of a build or as an attachment, and may hold several runs. All figures are
//! text; the charts only draw them. Colour never says anything alone. Whatever a program named is escaped, and a policy
//! in the page forbids it to load or run anything. Spans' attributes are not in it: prompts, answers, arguments.

mod cost;
mod fix_first;
mod gates;
mod graph;
mod markup;
mod nodes;
mod path;
mod summary;
mod trust;
mod waterfall;

use crate::report::Report;
use crate::report::timeline::Timeline;
use markup::Markup;

/// What is shown on a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HtmlOptions {
    /// Whether each span gets a row in the waterfall. Otherwise so many do as
    /// [`Waterfall::usual_rows`](crate::report::waterfall::Waterfall::usual_rows) says, and the others are folded and
    /// counted.
    pub all_spans: bool,
}

/// The page about one run. Without a timeline it has no waterfall. Equal input gives equal bytes.
///
/// The page has some 20 kB, and some 10 kB more for 1,000 spans.
pub fn html(report: &Report, timeline: Option<&Timeline>, options: &HtmlOptions) -> String {
    let name = report.run.workflow.as_deref().unwrap_or(&report.run.name);
    head(Some(name)) + &article(report, timeline, options) + HTML_END
}

/// The start of a page about several runs, each of which is an [`html_article`]; it ends with [`HTML_END`].
pub fn html_start() -> String {
    head(None)
}

/// The end of a page.
pub const HTML_END: &str = "</main></body></html>\n";

/// One run's part of a page.
pub fn html_article(report: &Report, timeline: Option<&Timeline>, options: &HtmlOptions) -> String {
    article(report, timeline, options)
}

fn head(name: Option<&str>) -> String {
    let mut html = Markup::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    html.raw("<title>");
    if let Some(name) = name {
        html.name(name).raw(" · ");
    }
    html.raw("longpole</title>\n<style>\n").raw(include_str!("page.css")).raw("</style></head>\n");
    html.raw("<body><main>\n");
    html.into_html()
}

fn article(report: &Report, timeline: Option<&Timeline>, options: &HtmlOptions) -> String {
    let mut html = Markup::default();
    html.raw("<article>\n");
    summary::put(&mut html, report);
    fix_first::put(&mut html, report);
    if report.run.spans > 1 {
        path::put(&mut html, report);
        if let Some(timeline) = timeline {
            waterfall::put(&mut html, report, timeline, options);
            graph::put(&mut html, report, timeline);
        }
        nodes::put(&mut html, report);
        cost::put(&mut html, report);
    }
    gates::put(&mut html, report);
    trust::put(&mut html, report);
    html.raw("</article>\n");
    html.into_html()
}

/// The class of a kind of node, which gives its colour; none for those that have no colour of their own.
fn kind_class(kind: &str) -> &'static str {
    match kind {
        "llm" => "llm",
        "agent" => "agent",
        "tool" => "tool",
        "retrieval" => "retrieval",
        "http" | "db" | "io" => "io",
        "cpu" => "cpu",
        _ => "",
    }
}
