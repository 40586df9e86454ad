//! Work nobody in the run waited for.

use std::collections::BTreeMap;

use super::DetachedRow;
use super::analysed::Analysed;
use crate::time::Duration;

/// How many rows a report holds.
const MAX_ROWS: usize = 5;

/// One row for each node, or span name outside every node; only the outermost detached spans count. O(n log n).
pub(super) fn rows(analysed: &Analysed<'_>) -> Vec<DetachedRow> {
    let run = analysed.run;
    let mut rows: BTreeMap<String, DetachedRow> = BTreeMap::new();
    for ix in run.indices() {
        let span = run.span(ix);
        let is_inside = span.parent.is_some_and(|parent| run.span(parent).is_detached);
        if !span.is_detached || is_inside {
            continue;
        }
        let own_node = analysed.booking.execution_of[ix.index()].filter(|execution| *execution == ix);
        let name = own_node
            .and_then(|ix| analysed.node_name(ix))
            .unwrap_or_else(|| span.record.name.as_ref().to_owned());
        let row =
            rows.entry(name.clone()).or_insert(DetachedRow { name, spans: 0, duration_ns: Duration::ZERO });
        row.spans = row.spans.saturating_add(1);
        row.duration_ns = row.duration_ns.saturating_add(span.interval().duration());
    }
    let mut rows: Vec<DetachedRow> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.duration_ns));
    rows.truncate(MAX_ROWS);
    rows
}
