//! Every execution of an agent, with its phases.

use super::go::duration;
use super::{name, rfc3339, underlined};
use crate::report::timeline::{SpanState, Timeline, TimelineSpan};
use crate::time::Duration;

/// The executions of a node as Conexus's `WriteExecutionDetails` lays them out, in the order of their starts; empty if
/// there is none.
///
/// A request is told by the name of its span: what was asked is not kept. Phases are the spans inside an execution that
/// are no nodes themselves, outermost ones only. An execution that never ended has no duration, and is no success.
pub fn execution_details(timeline: &Timeline, node: &str) -> String {
    let Some(index) = timeline.nodes.iter().position(|it| *it.name == *node) else { return String::new() };
    let is_execution =
        |(_, span): &(usize, &TimelineSpan)| span.is_execution && span.node == u32::try_from(index).ok();
    let mut executions: Vec<_> = timeline.spans.iter().enumerate().filter(is_execution).collect();
    executions.sort_by_key(|(_, span)| span.start_unix_ns);
    if executions.is_empty() {
        return String::new();
    }
    let heading = format!("Execution Details: {}", name(node));
    let mut text = underlined(&heading, "=", heading.chars().count());
    for (number, (at, span)) in executions.into_iter().enumerate() {
        text += if number > 0 { "\n" } else { "" };
        put_execution(&mut text, timeline, node, at, span);
    }
    text
}

fn put_execution(text: &mut String, timeline: &Timeline, node: &str, at: usize, span: &TimelineSpan) {
    let seconds = span.start_unix_ns.as_unix_nanos() / 1_000_000_000;
    *text += &format!("Execution ID: {}-{seconds}\n", name(node));
    *text += &format!("  Request: {}\n", name(&span.name));
    *text += &format!("  Start: {}\n", rfc3339(span.start_unix_ns));
    *text += &format!("  Duration: {}\n", length(span).map_or_else(|| "n/a".to_owned(), duration));
    *text += "  Memory: n/a\n  Goroutines: n/a\n";
    *text += &format!("  Success: {}\n", span.state == SpanState::Ok);
    let phases = phases(timeline, at, span);
    if !phases.is_empty() {
        *text += "  Phases:\n";
    }
    for phase in phases {
        let length = length(phase).map_or_else(|| "n/a".to_owned(), duration);
        *text += &format!("    - {}: {length}\n", name(&phase.name));
    }
}

/// How long it took; `None` if it never ended.
fn length(span: &TimelineSpan) -> Option<Duration> {
    (span.state != SpanState::Open).then(|| span.end_unix_ns.saturating_since(span.start_unix_ns))
}

/// The spans right below an execution that are parts of it, in the order of their starts.
fn phases<'t>(timeline: &'t Timeline, at: usize, span: &TimelineSpan) -> Vec<&'t TimelineSpan> {
    let below = timeline.spans.iter().skip(at + 1).take(span.below as usize);
    let is_phase =
        |it: &&TimelineSpan| it.parent == u32::try_from(at).ok() && !it.is_execution && it.node == span.node;
    let mut phases: Vec<_> = below.filter(is_phase).collect();
    phases.sort_by_key(|phase| phase.start_unix_ns);
    phases
}
