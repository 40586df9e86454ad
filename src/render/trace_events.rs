//! Runs as Chrome's trace event format, which Perfetto's and Chrome's viewers open.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::report::Report;
use crate::report::lanes::lanes;
use crate::report::timeline::{EdgeKind, SpanState, Timeline, TimelineSpan};
use crate::time::{Duration, Timestamp};

/// Runs in Chrome's JSON trace event format. Each run is a process of its own; its first track is the critical path,
/// the others are [`lanes`], so that what overlaps without being each other's callers is beside each other. Arrows lead
/// from what was waited for, or linked to; a counter says how many executions of nodes were open.
///
/// Times are in µs from the earliest start of all, to the nanosecond; `otherData.start_unix_ns` is what they count from.
/// Some 400 bytes for a span.
pub fn trace_events(runs: &[(&Report, &Timeline)]) -> String {
    let start = runs.iter().map(|(_, timeline)| timeline.extent().start).min().unwrap_or_default();
    let mut events = Vec::new();
    let mut arrows = 0;
    for ((report, timeline), process) in runs.iter().zip(1..) {
        Process { process, start, timeline }.put(&mut events, report, &mut arrows);
    }
    let generator =
        runs.first().map(|(report, _)| format!("{} {}", report.generator.name, report.generator.version));
    let mut text = String::from("{\"traceEvents\":[");
    for (index, event) in events.iter().enumerate() {
        text.push_str(if index > 0 { ",\n" } else { "\n" });
        text.push_str(&event.to_string());
    }
    let other = json!({ "generator": generator, "start_unix_ns": start.as_unix_nanos().to_string() });
    text + &format!("\n],\"displayTimeUnit\":\"ms\",\"otherData\":{other}}}\n")
}

struct Process<'t> {
    process: u64,
    start: Timestamp,
    timeline: &'t Timeline,
}

/// The track of the critical path; lanes come behind it.
const PATH_TRACK: u64 = 0;

impl Process<'_> {
    fn put(&self, events: &mut Vec<Value>, report: &Report, arrows: &mut u64) {
        let run = &report.run;
        let name = run.workflow.as_deref().unwrap_or(&run.name);
        let lanes = lanes(self.timeline);
        events.push(self.metadata(
            "process_name",
            PATH_TRACK,
            json!({ "name": format!("{name} {}", run.id) }),
        ));
        events.push(self.metadata("process_sort_index", PATH_TRACK, json!({ "sort_index": self.process })));
        let tracks = lanes.iter().max().map_or(0, |last| u64::from(*last) + 1);
        for track in PATH_TRACK..=tracks {
            let name = if track == PATH_TRACK { "critical path".to_owned() } else { format!("lane {track}") };
            events.push(self.metadata("thread_name", track, json!({ "name": name })));
            events.push(self.metadata("thread_sort_index", track, json!({ "sort_index": track })));
        }
        for segment in &self.timeline.path {
            let Some(span) = self.timeline.spans.get(segment.span as usize) else { continue };
            let node = self.timeline.node_on_path(segment).map_or("no span", |node| &node.name);
            events.push(json!({
                "ph": "X", "cat": "critical_path", "name": node, "pid": self.process, "tid": PATH_TRACK,
                "ts": self.micros(segment.interval.start), "dur": micros(segment.interval.duration()),
                "args": { "span": span.name, "span_id": span.span_id.to_string() },
            }));
        }
        for (span, lane) in self.timeline.spans.iter().zip(&lanes) {
            events.push(self.slice(span, u64::from(*lane) + 1));
        }
        self.put_arrows(events, &lanes, arrows);
        self.put_counter(events);
    }

    fn metadata(&self, name: &str, track: u64, args: Value) -> Value {
        json!({ "ph": "M", "name": name, "pid": self.process, "tid": track, "ts": 0, "args": args })
    }

    fn slice(&self, span: &TimelineSpan, track: u64) -> Value {
        let node = self.timeline.node_of(span);
        let mut args = serde_json::Map::new();
        let mut tell = |key: &str, value: Value| args.insert(key.to_owned(), value);
        tell("span_id", json!(span.span_id.to_string()));
        tell("state", json!(state(span.state)));
        if let Some(node) = node {
            tell(if span.is_execution { "node" } else { "part_of" }, json!(node.name));
        }
        for (key, length) in [
            ("on_critical_path_ns", Some(span.path_ns).filter(|it| !it.is_zero())),
            ("queued_ns", Some(span.queued_ns).filter(|it| !it.is_zero())),
            ("slack_ns", span.slack_ns),
        ] {
            if let Some(length) = length {
                tell(key, json!(length.as_nanos()));
            }
        }
        if let Some(cost) = span.cost_usd {
            tell("cost_usd", json!(cost));
        }
        if span.is_detached {
            tell("detached", json!(true));
        }
        json!({
            "ph": "X", "cat": node.map_or("span", |node| &node.kind), "name": span.name,
            "pid": self.process, "tid": track, "ts": self.micros(span.start_unix_ns), "dur": micros(span.duration()),
            "args": args,
        })
    }

    fn put_arrows(&self, events: &mut Vec<Value>, lanes: &[u32], arrows: &mut u64) {
        let spans = &self.timeline.spans;
        for edge in &self.timeline.edges {
            let side = |at: u32| Some((spans.get(at as usize)?, u64::from(*lanes.get(at as usize)?) + 1));
            let (Some((from, from_track)), Some((to, to_track))) = (side(edge.from), side(edge.to)) else {
                continue;
            };
            let name = match edge.kind {
                EdgeKind::Declared => "waited for",
                EdgeKind::Contradicted => "declared, but not over",
                EdgeKind::Inferred => "waited for, by the order of time",
                EdgeKind::Link => "link",
            };
            *arrows += 1;
            // An arrow is tied to what is open at its point, and at its end nothing is.
            let left = from.end_unix_ns.saturating_sub(Duration::from_nanos(1)).max(from.start_unix_ns);
            let side = |ph: &str, track: u64, at: Timestamp| {
                let (id, ts) = (*arrows, self.micros(at));
                json!({ "ph": ph, "bp": "e", "cat": "edge", "name": name, "id": id, "pid": self.process, "tid": track, "ts": ts })
            };
            events.push(side("s", from_track, left));
            events.push(side("f", to_track, to.start_unix_ns));
        }
    }

    /// How many executions of nodes are open, whenever that changes.
    fn put_counter(&self, events: &mut Vec<Value>) {
        let mut changes: BTreeMap<Timestamp, i64> = BTreeMap::new();
        let executions = self.timeline.spans.iter().filter(|span| span.is_execution && span.parent.is_some());
        for span in executions {
            *changes.entry(span.start_unix_ns).or_default() += 1;
            *changes.entry(span.end_unix_ns).or_default() -= 1;
        }
        let mut open = 0;
        for (at, change) in changes.into_iter().filter(|(_, change)| *change != 0) {
            open += change;
            events.push(json!({
                "ph": "C", "name": "active nodes", "pid": self.process, "tid": PATH_TRACK, "ts": self.micros(at),
                "args": { "nodes": open },
            }));
        }
    }

    fn micros(&self, at: Timestamp) -> f64 {
        micros(at.saturating_since(self.start))
    }
}

/// Exact to the nanosecond for a hundred days.
fn micros(length: Duration) -> f64 {
    length.as_nanos() as f64 / 1_000.0
}

pub(super) fn state(state: SpanState) -> &'static str {
    match state {
        SpanState::Ok => "ok",
        SpanState::Error => "error",
        SpanState::Panicked => "panicked",
        SpanState::Cancelled => "cancelled",
        SpanState::Open => "open",
    }
}
