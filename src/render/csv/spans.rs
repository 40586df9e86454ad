//! One row per span.

use super::{Column, Kind, flag, ms, signed_ms, usd};
use crate::report::Report;
use crate::report::timeline::{SpanState, Timeline, TimelineNode, TimelineSpan};
use crate::time::Duration;

/// A span and what it belongs to.
pub(super) struct Row<'r> {
    report: &'r Report,
    timeline: &'r Timeline,
    span: &'r TimelineSpan,
    parent: Option<&'r TimelineSpan>,
    node: Option<&'r TimelineNode>,
}

pub(super) fn rows<'r>(report: &'r Report, timeline: &'r Timeline) -> impl Iterator<Item = Row<'r>> {
    timeline.spans.iter().map(move |span| Row {
        report,
        timeline,
        span,
        parent: span.parent.and_then(|parent| timeline.spans.get(parent as usize)),
        node: span.node.and_then(|node| timeline.nodes.get(node as usize)),
    })
}

impl Row<'_> {
    fn start_ns(&self) -> i128 {
        let nanos = |at: crate::time::Timestamp| i128::from(at.as_unix_nanos());
        nanos(self.span.start_unix_ns) - nanos(self.timeline.start_unix_ns)
    }

    fn duration_ns(&self) -> Option<Duration> {
        let length = self.span.end_unix_ns.saturating_since(self.span.start_unix_ns);
        (self.span.state != SpanState::Open).then_some(length)
    }

    const fn status(&self) -> &'static str {
        match self.span.state {
            SpanState::Ok => "ok",
            SpanState::Error => "error",
            SpanState::Panicked => "panicked",
            SpanState::Cancelled => "cancelled",
            SpanState::Open => "open",
        }
    }
}

/// The columns. New ones go to the end.
pub(super) fn columns<'r>() -> Vec<Column<Row<'r>>> {
    use Column as C;
    use Kind::{Flag, Integer, Number, Text};
    vec![
        C::new("run_id", Text, "the run: trace id and root span id", |row| Some(row.report.run.id.clone())),
        C::new("span_id", Text, "the span", |row| Some(row.span.span_id.to_string())),
        C::new("parent_span_id", Text, "the span it is a child of; empty for the root", |row| {
            Some(row.parent?.span_id.to_string())
        }),
        C::new("depth", Integer, "how many spans it lies in", |row| Some(row.span.depth.to_string())),
        C::new("name", Text, "its name", |row| Some(row.span.name.to_string())),
        C::new("service", Text, "the service that sent it", |row| {
            row.span.service.as_deref().map(str::to_owned)
        }),
        C::new("node", Text, "the node it belongs to", |row| Some(row.node?.name.to_string())),
        C::new("kind", Text, "what sort of work that node is", |row| Some(row.node?.kind.clone())),
        C::new(
            "is_execution",
            Flag,
            "whether it is an execution of that node; otherwise it is a part of one",
            |row| flag(row.span.is_execution),
        ),
        C::new("start_ms", Number, "when it started, from the start of the run; negative before it", |row| {
            Some(signed_ms(row.start_ns()))
        }),
        C::new("start_unix_ns", Integer, "when it started, in nanoseconds since 1970", |row| {
            Some(row.span.start_unix_ns.as_unix_nanos().to_string())
        }),
        C::new("duration_ms", Number, "from its start to its end; empty where it never ended", |row| {
            row.duration_ns().map(ms)
        }),
        C::new("queue_ms", Number, "how long it waited before it ran", |row| Some(ms(row.span.queued_ns))),
        C::new("self_ms", Number, "time in which no child of it ran", |row| Some(ms(row.span.self_ns))),
        C::new("status", Text, "ok, error, panicked, cancelled or open", |row| Some(row.status().to_owned())),
        C::new("is_detached", Flag, "whether nobody in the run waited for it", |row| {
            flag(row.span.is_detached)
        }),
        C::new("on_path_ms", Number, "how much of the critical path lies in it and below", |row| {
            Some(ms(row.span.path_ns))
        }),
        C::new("self_on_path_ms", Number, "how much of the critical path lies in itself", |row| {
            Some(ms(row.span.own_path_ns))
        }),
        C::new(
            "slack_ms",
            Number,
            "how much longer it could have taken without making the run longer",
            |row| row.span.slack_ns.map(ms),
        ),
        C::new("cost_usd", Number, "what it is charged with itself", |row| usd(row.span.cost_usd)),
    ]
}
