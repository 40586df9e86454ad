//! Runs as speedscope's own file format.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::report::Report;
use crate::report::lanes::lanes;
use crate::report::timeline::Timeline;
use crate::time::Timestamp;

/// Runs in speedscope's file format, in nanoseconds from each run's earliest start: for each run a profile of its
/// critical path, and one for each of its [`lanes`], since a profile there is one stack at a time and spans that overlap
/// without being each other's callers are not.
pub fn speedscope(runs: &[(&Report, &Timeline)]) -> String {
    let mut frames = Frames::default();
    let mut profiles = Vec::new();
    for (report, timeline) in runs {
        put_run(&mut profiles, &mut frames, report, timeline);
    }
    let (name, exporter) = match runs.first() {
        Some((report, _)) => (
            report.run.workflow.as_deref().unwrap_or(&report.run.name),
            format!("{}@{}", report.generator.name, report.generator.version),
        ),
        None => ("", "longpole".to_owned()),
    };
    let frames: Vec<Value> = frames.names.iter().map(|name| json!({ "name": name })).collect();
    let file = json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "activeProfileIndex": 0, "exporter": exporter, "name": name,
        "shared": { "frames": frames }, "profiles": profiles,
    });
    file.to_string() + "\n"
}

/// Names, each once.
#[derive(Default)]
struct Frames {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Frames {
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.names.push(name.to_owned());
        self.places.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

fn put_run(profiles: &mut Vec<Value>, frames: &mut Frames, report: &Report, timeline: &Timeline) {
    let run = report.run.workflow.as_deref().unwrap_or(&report.run.name);
    let extent = timeline.extent();
    let offset = |at: Timestamp| at.saturating_since(extent.start).as_nanos();
    let end = offset(extent.end);
    let profile = |name: String, events: Vec<Value>| json!({ "type": "evented", "name": name, "unit": "nanoseconds", "startValue": 0, "endValue": end, "events": events });
    let event = |kind: &str, frame: usize, at: u64| json!({ "type": kind, "frame": frame, "at": at });

    let mut path = Vec::new();
    for segment in &timeline.path {
        let node = timeline.node_on_path(segment);
        let frame = frames.place(node.map_or("no span", |node| &node.name));
        path.push(event("O", frame, offset(segment.interval.start)));
        path.push(event("C", frame, offset(segment.interval.end)));
    }
    profiles.push(profile(format!("{run}: critical path"), path));

    let lanes = lanes(timeline);
    let mut by_lane: Vec<Vec<(Timestamp, usize)>> = Vec::new();
    for ((span, lane), at) in timeline.spans.iter().zip(&lanes).zip(0..) {
        let lane = *lane as usize;
        if by_lane.len() <= lane {
            by_lane.resize_with(lane + 1, Vec::new);
        }
        if let Some(spans) = by_lane.get_mut(lane) {
            spans.push((span.start_unix_ns, at));
        }
    }
    for (mut spans, number) in by_lane.into_iter().zip(1..) {
        spans.sort_unstable();
        let mut events = Vec::new();
        // What is open, from the outside in.
        let mut open: Vec<(Timestamp, usize)> = Vec::new();
        for span in spans.iter().filter_map(|(_, at)| timeline.spans.get(*at)) {
            while let Some((end, frame)) = open.pop_if(|(end, _)| *end <= span.start_unix_ns) {
                events.push(event("C", frame, offset(end)));
            }
            let frame = frames.place(&span.name);
            events.push(event("O", frame, offset(span.start_unix_ns)));
            open.push((span.end_unix_ns, frame));
        }
        while let Some((end, frame)) = open.pop() {
            events.push(event("C", frame, offset(end)));
        }
        profiles.push(profile(format!("{run}: lane {number}"), events));
    }
}
