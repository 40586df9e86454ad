//! Spans that kept their thread from running anything else: long polls.
//!
//! A poll of a span includes what runs inside its children, so only the innermost span with a long poll is told. One
//! that was polled once is no task but a plain function; it blocks an executor only if a task is around it whose poll
//! is as long.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::BlockingRow;
use super::analysed::Analysed;
use crate::run::SpanIx;
use crate::time::Duration;

/// How many rows a report holds.
const MAX_ROWS: usize = 5;

/// A span that blocked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocking {
    pub(super) span: SpanIx,
    longest_poll: Duration,
}

/// All of them, in order of their starts. O(n).
pub(super) fn find(analysed: &Analysed<'_>, threshold: Duration) -> Vec<Blocking> {
    let run = analysed.run;
    let longest = |ix: SpanIx| run.span(ix).record.timing.longest_poll;
    let is_long = |ix: SpanIx| longest(ix) >= threshold && !threshold.is_zero();
    // Whether a poll as long as the span's own happened in a task around it, or in itself.
    let mut is_in_task = vec![false; run.spans.len()];
    for ix in run.indices() {
        let parent = run.span(ix).parent;
        let around = parent.is_some_and(|p| is_in_task[p.index()] && longest(p) >= longest(ix));
        is_in_task[ix.index()] = around || run.span(ix).record.timing.polls >= 2;
    }
    let is_innermost = |ix: SpanIx| {
        // Long polls of children explain a long poll unless half of it is left.
        let in_child = run.children(ix).iter().map(|child| longest(*child)).max().unwrap_or_default();
        in_child < threshold || longest(ix) >= in_child.saturating_add(in_child)
    };
    run.indices()
        .filter(|ix| is_long(*ix) && is_in_task[ix.index()] && is_innermost(*ix))
        .map(|span| Blocking { span, longest_poll: longest(span) })
        .collect()
}

/// One row for each node and span name, the longest poll first.
pub(super) fn rows(analysed: &Analysed<'_>, found: &[Blocking]) -> Vec<BlockingRow> {
    let mut rows: BTreeMap<(Option<String>, Arc<str>), BlockingRow> = BTreeMap::new();
    for blocking in found {
        let record = &analysed.run.span(blocking.span).record;
        let node = analysed.node_name(blocking.span);
        let row = rows.entry((node.clone(), record.name.clone())).or_insert_with(|| BlockingRow {
            node,
            span: record.name.as_ref().to_owned(),
            span_id: record.span_id.to_string(),
            spans: 0,
            longest_poll_ns: Duration::ZERO,
        });
        row.spans = row.spans.saturating_add(1);
        if blocking.longest_poll > row.longest_poll_ns {
            row.longest_poll_ns = blocking.longest_poll;
            row.span_id = record.span_id.to_string();
        }
    }
    let mut rows: Vec<BlockingRow> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.longest_poll_ns));
    rows.truncate(MAX_ROWS);
    rows
}
