//! The spans of a run in time: a row each, or a row for many.

use super::markup::{Markup, Scale};
use super::{HtmlOptions, kind_class};
use crate::render::units;
use crate::report::Report;
use crate::report::timeline::{SpanState, Timeline, TimelineSpan};
use crate::report::waterfall::{Fold, Waterfall, WaterfallRow};
use crate::time::{Duration, Interval, Timestamp};

/// Rows deeper than this are not indented further.
const MAX_INDENT: u32 = 12;
/// Waits and slack of less of the run are not drawn.
const LEAST_DRAWN: f64 = 0.002;

pub(super) fn put(html: &mut Markup, report: &Report, timeline: &Timeline, options: &HtmlOptions) {
    let most = (!options.all_spans).then(|| Waterfall::usual_rows(timeline.spans.len()));
    let waterfall = Waterfall::of(timeline, most);
    let chart = Chart {
        timeline,
        scale: Scale::new(timeline.start_unix_ns, timeline.wall_ns),
        has_cost: timeline.spans.iter().any(|span| span.cost_usd.is_some()),
    };
    html.raw("<section class=\"waterfall\"><h2>Waterfall</h2>\n<p>");
    if waterfall.folded_spans > 0 {
        let (folded, all) =
            (units::grouped(waterfall.folded_spans.into()), units::grouped(report.run.spans.into()));
        html.text(&format!("{folded} of {all} spans are folded into rows that count them. "));
    }
    html.raw("Bold, with a line below the bar: on the critical path.</p>\n");
    put_legend(html, &chart, &waterfall);
    html.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Waterfall\"><table class=\"bars spans\"");
    chart.put_grid(html);
    html.raw("><thead><tr><th scope=\"col\">Span</th><th scope=\"col\" class=\"n at\">starts at</th><th scope=\"col\" class=\"n\">time</th>");
    if chart.has_cost {
        html.raw("<th scope=\"col\" class=\"n\">cost</th>");
    }
    html.raw("<th scope=\"col\" class=\"bar\">");
    chart.put_axis(html);
    html.raw("</th></tr></thead><tbody>\n");
    for row in &waterfall.rows {
        match row {
            WaterfallRow::Span { at, inside } => {
                if let Some(span) = timeline.spans.get(*at as usize) {
                    chart.put_span(html, span, *inside);
                }
            }
            WaterfallRow::Fold(fold) => chart.put_fold(html, fold),
            WaterfallRow::Gap(gap) => chart.put_gap(html, *gap),
        }
    }
    html.raw("</tbody></table></div></section>\n");
}

struct Chart<'t> {
    timeline: &'t Timeline,
    scale: Scale,
    has_cost: bool,
}

impl Chart<'_> {
    /// Lines behind the bars, as far apart as the times on the axis.
    fn put_grid(&self, html: &mut Markup) {
        if let Some(step) = self.scale.ticks().get(1) {
            html.raw(" style=\"--step:").percent(self.scale.offset(*step)).raw("%\"");
        }
    }

    fn put_axis(&self, html: &mut Markup) {
        html.raw("<svg class=\"axis\" role=\"img\" aria-label=\"from the run's start\">");
        // What is written at the edge would go beyond it.
        for tick in self.scale.ticks().into_iter().filter(|tick| self.scale.offset(*tick) < 9_400) {
            let label = units::duration(tick).replace(".00 ", " ").replace(".0 ", " ");
            html.raw("<text x=\"")
                .percent(self.scale.offset(tick))
                .raw("%\" y=\"13\">")
                .text(&label)
                .raw("</text>");
        }
        html.raw("</svg>");
    }

    fn put_span(&self, html: &mut Markup, span: &TimelineSpan, inside: u64) {
        html.raw(if span.is_on_path() { "<tr class=on>" } else { "<tr>" });
        html.raw("<th scope=row style=--d:").number(span.depth.min(MAX_INDENT).into()).raw(">");
        let node = self.timeline.node_of(span).filter(|_| span.is_execution);
        let name = node.map_or(&span.name, |node| &node.name);
        html.name(name);
        if let Some(node) = node.filter(|node| node.kind != "other" && !name.starts_with(&node.kind)) {
            html.raw(" <small>").name(&node.kind).raw("</small>");
        }
        if inside > 0 {
            html.raw(" <small>+").text(&units::count(inside)).raw(" inside</small>");
        }
        let (class, word) = match span.state {
            SpanState::Ok if span.is_detached => ("", "nobody waited for it"),
            SpanState::Ok => ("", ""),
            SpanState::Error => ("bad", "failed"),
            SpanState::Panicked => ("bad", "panicked"),
            SpanState::Cancelled => ("bad", "cancelled"),
            SpanState::Open => ("warn", "never ended"),
        };
        if !word.is_empty() {
            html.raw(" <small class=\"").raw(class).raw("\">").raw(word).raw("</small>");
        }
        let duration = (span.state != SpanState::Open).then(|| units::duration(span.duration()));
        self.put_figures(
            html,
            span.start_unix_ns,
            duration.as_deref(),
            span.cost_usd.map(units::money).as_deref(),
        );
        html.raw("<td><svg aria-hidden=true>");
        self.put_bar(html, span);
        html.raw("</svg>\n");
    }

    fn put_bar(&self, html: &mut Markup, span: &TimelineSpan) {
        let whole = Interval { start: span.start_unix_ns, end: span.end_unix_ns };
        let runs = Interval { start: whole.start.saturating_add(span.queued_ns), ..whole };
        if self.is_drawn(span.queued_ns) {
            html.rect("wait", self.scale.stretch(Interval { end: runs.start, ..whole }));
        }
        let class = match span.state {
            SpanState::Open => "open",
            _ if span.failed() => "failed",
            _ => self.timeline.node_of(span).map_or("", |node| kind_class(&node.kind)),
        };
        let end_of_run = self.timeline.start_unix_ns.saturating_add(self.timeline.wall_ns);
        match span.state {
            SpanState::Open => html.rect(class, self.scale.stretch(Interval { end: end_of_run, ..whole })),
            _ => html.rect(class, self.scale.stretch(runs)),
        };
        if let Some(slack) = span.slack_ns.filter(|_| self.has_slack(span)) {
            let end = whole.end.saturating_add(slack);
            html.rect("slack", self.scale.stretch(Interval { start: whole.end, end }));
        }
        if let Some(path) = span.path_interval {
            html.rect("line", self.scale.stretch(path));
        }
    }

    /// Whether its slack is drawn.
    fn has_slack(&self, span: &TimelineSpan) -> bool {
        span.is_execution && !span.is_on_path() && span.slack_ns.is_some_and(|slack| self.is_drawn(slack))
    }

    fn is_drawn(&self, length: Duration) -> bool {
        length.ratio_of(self.timeline.wall_ns).is_some_and(|ratio| ratio >= LEAST_DRAWN)
    }

    fn put_fold(&self, html: &mut Markup, fold: &Fold) {
        html.raw("<tr class=\"fold\"><th scope=\"row\" style=\"--d:")
            .number(fold.depth.min(MAX_INDENT).into())
            .raw("\">");
        for (index, (name, number)) in fold.names.iter().enumerate() {
            if index > 0 {
                html.raw(", ");
            }
            html.name(name);
            if *number > 1 {
                html.raw("&nbsp;×").text(&units::count(*number));
            }
        }
        let more = fold.names_total.saturating_sub(fold.names.len() as u64);
        if more > 0 {
            html.raw(", ").text(&units::counted(more, "more name", "more names"));
        }
        let inside = fold.spans.saturating_sub(fold.siblings);
        html.raw(" <small>");
        if inside > 0 {
            html.text(&format!("with {} inside ", units::count(inside)));
        }
        if fold.siblings > 1 {
            let [min, median, max] = [fold.min_ns, fold.median_ns, fold.max_ns].map(units::duration);
            match min == max {
                true => html.text(&format!("each {min}")),
                false => html.text(&format!("{min} to {max}, median {median}")),
            };
        }
        html.raw("</small>");
        if fold.failed > 0 {
            html.raw(" <small class=\"bad\">").text(&units::count(fold.failed)).raw(" failed</small>");
        }
        html.raw("</th>");
        let start = fold.pieces.first().map_or(self.timeline.start_unix_ns, |piece| piece.start);
        let cost = fold.cost_usd.map(units::money);
        self.put_figures(html, start, Some(&units::duration(fold.covered_ns)), cost.as_deref());
        html.raw("<td><svg aria-hidden=true>");
        html.raw("<svg viewBox=\"0 0 10000 1\" preserveAspectRatio=none><path d=\"");
        for piece in &fold.pieces {
            html.box_path(self.scale.stretch(*piece));
        }
        html.raw("\"/></svg></svg>\n");
    }

    fn put_gap(&self, html: &mut Markup, gap: Interval) {
        html.raw("<tr class=\"gap on\"><th scope=\"row\" style=\"--d:1\"><i>no span</i></th>");
        self.put_figures(html, gap.start, Some(&units::duration(gap.duration())), None);
        html.raw("<td><svg aria-hidden=true>");
        html.rect("line", self.scale.stretch(gap)).raw("</svg>\n");
    }

    fn put_figures(&self, html: &mut Markup, start: Timestamp, duration: Option<&str>, cost: Option<&str>) {
        let run = self.timeline.start_unix_ns;
        let offset = match start < run {
            true => format!("−{}", units::duration(run.saturating_since(start))),
            false => units::duration(start.saturating_since(run)),
        };
        html.raw("<td class=at>").text(&offset).raw("<td>").text(duration.unwrap_or_default());
        if self.has_cost {
            html.raw("<td>").text(cost.unwrap_or_default());
        }
    }
}

/// What the colours and patterns of this chart stand for.
fn put_legend(html: &mut Markup, chart: &Chart<'_>, waterfall: &Waterfall) {
    let rows = || {
        waterfall.rows.iter().filter_map(|row| match row {
            WaterfallRow::Span { at, .. } => chart.timeline.spans.get(*at as usize),
            _ => None,
        })
    };
    let class_of =
        |span: &TimelineSpan| chart.timeline.node_of(span).map_or("", |node| kind_class(&node.kind));
    html.raw("<ul class=\"legend\">");
    let kinds = [
        ("llm", "model"),
        ("agent", "agent"),
        ("tool", "tool"),
        ("retrieval", "retrieval"),
        ("io", "http, db, io"),
        ("cpu", "computing"),
        ("", "other"),
    ];
    for (class, name) in kinds {
        if rows().any(|span| class_of(span) == class && !span.failed() && span.state != SpanState::Open) {
            put_sign(html, class, name);
        }
    }
    for (class, name, is_there) in [
        ("failed", "failed", rows().any(TimelineSpan::failed)),
        ("open", "never ended", rows().any(|span| span.state == SpanState::Open)),
        ("wait", "queued", rows().any(|span| chart.is_drawn(span.queued_ns))),
        ("slack", "slack: could take so much longer", rows().any(|span| chart.has_slack(span))),
        ("many", "several spans", waterfall.folded_spans > 0),
    ] {
        if is_there {
            put_sign(html, class, name);
        }
    }
    html.raw("</ul>\n");
}

fn put_sign(html: &mut Markup, class: &'static str, name: &'static str) {
    html.raw("<li><svg aria-hidden=true>")
        .rect(class, (0, Scale::FULL))
        .raw("</svg> ")
        .raw(name)
        .raw("</li>");
}
