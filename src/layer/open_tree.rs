//! Which run an open span belongs to, for those who cannot wait until it ends.

use std::collections::HashMap;
use std::sync::Arc;

use crate::decode::otlp::workflow_of_attributes;
use crate::ids::{SpanId, TraceId};
use crate::span_record::Interner;

use super::LayerCore;
use super::open_span::{flags, trace_id_bytes};

/// The open spans of one trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenTree {
    spans: HashMap<SpanId, OpenPlace>,
}

/// Where an open span stands.
#[derive(Clone, Debug)]
pub(crate) struct OpenPlace {
    /// The span above it, open too.
    pub(crate) parent: Option<SpanId>,
    /// The workflow it is marked with.
    pub(crate) workflow: Option<Arc<str>>,
}

impl OpenTree {
    #[cfg(test)]
    pub(crate) fn of(spans: impl IntoIterator<Item = (SpanId, OpenPlace)>) -> Self {
        OpenTree { spans: spans.into_iter().collect() }
    }

    /// The root of the run an open span belongs to, and the workflow that is marked with: the outermost span above it
    /// that is marked, else the topmost. `None` if the span is not open.
    pub(crate) fn run_of(&self, span: SpanId) -> Option<(SpanId, Option<Arc<str>>)> {
        let mut place = self.spans.get(&span)?;
        let (mut top, mut marked) = (span, None);
        // Spans above each other cannot be more than there are.
        for _ in 0..self.spans.len() {
            if let Some(workflow) = &place.workflow {
                marked = Some((top, Some(workflow.clone())));
            }
            let Some(parent) = place.parent else { break };
            let Some(above) = self.spans.get(&parent) else { break };
            (top, place) = (parent, above);
        }
        Some(marked.unwrap_or((top, None)))
    }
}

impl LayerCore {
    /// The open spans of a trace. Looks at every open span.
    pub(crate) fn open_tree(&self, trace_id: TraceId) -> OpenTree {
        let mut interner = Interner::default();
        let mut tree = OpenTree::default();
        self.slots.for_each_open(|slot| {
            if TraceId::from_bytes(trace_id_bytes(slot.trace_id())) != trace_id {
                return;
            }
            let span_id = SpanId::from_bytes(slot.span_id().to_be_bytes());
            // A name set for all of them is the local roots'.
            let workflow = (slot.has(flags::MARKED) && self.config.workflow.is_none())
                .then(|| workflow_of_attributes(&slot.lock().attributes, &mut interner))
                .flatten();
            let above = slot.parent().and_then(|above| self.slots.with(above, |above| above.span_id()));
            let parent = above.map(|above| SpanId::from_bytes(above.to_be_bytes()));
            tree.spans.insert(span_id, OpenPlace { parent, workflow });
        });
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SpanId {
        SpanId::from_bytes([number; 8])
    }

    #[test]
    fn a_run_is_the_outermost_marked_span_above_else_the_topmost() {
        let place = |parent: Option<u8>, workflow: Option<&str>| OpenPlace {
            parent: parent.map(id),
            workflow: workflow.map(Arc::from),
        };
        // 1 ─┬─ 2 (a) ── 3 (b) ── 4
        //    └─ 5
        let tree = OpenTree::of([
            (id(1), place(None, None)),
            (id(2), place(Some(1), Some("a"))),
            (id(3), place(Some(2), Some("b"))),
            (id(4), place(Some(3), None)),
            (id(5), place(Some(1), None)),
        ]);
        assert_eq!(tree.run_of(id(4)), Some((id(2), Some("a".into()))));
        assert_eq!(tree.run_of(id(5)), Some((id(1), None)));
        assert_eq!(tree.run_of(id(9)), None);
        // Ids that were reused while this looked.
        let ring = OpenTree::of([(id(1), place(Some(2), None)), (id(2), place(Some(1), None))]);
        assert!(ring.run_of(id(1)).is_some());
    }
}
