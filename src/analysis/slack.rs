//! How much later each span could have ended with the run as long as before: the event graph, backwards.

use super::event_graph::{EventGraph, EventKind};
use crate::time::{Duration, Timestamp};

impl EventGraph<'_> {
    /// The slack of every span, by [`SpanIx`](crate::run::SpanIx): how much longer it could have run, all else as
    /// it was, before the run would have become longer. Zero on the critical path, and on paths as long as it.
    ///
    /// `None` for spans that block nobody, being detached or without length, and for a made-up root. O(n).
    pub fn slack(&self) -> Vec<Option<Duration>> {
        let run = self.run;
        let mut slack = vec![None; run.spans.len()];
        // Of each span, the point by which its children must have ended that have ended before the events seen so
        // far: the last of them, so that it ends no later than it may; the others, so that their successors start
        // no later than they may.
        let mut deadline = vec![Timestamp::MAX; run.spans.len()];
        for event in self.events.iter().rev() {
            let clipped = run.span(event.span).clipped;
            let span = event.span.index();
            match (event.kind, event.parent) {
                (EventKind::End, parent) => {
                    let own = parent
                        .map_or(Duration::ZERO, |ix| deadline[ix.index()].saturating_since(clipped.end));
                    slack[span] = Some(own);
                    deadline[span] = clipped.end.saturating_sub(event.own_time).saturating_add(own);
                }
                (EventKind::Start | EventKind::QueuedStart, Some(parent)) => {
                    let base = clipped.start.saturating_sub(event.own_time);
                    let latest_base = base.saturating_add(slack[span].unwrap_or_default());
                    deadline[parent.index()] = deadline[parent.index()].min(latest_base);
                }
                (EventKind::Start | EventKind::QueuedStart, None) | (EventKind::Creation, _) => {}
            }
        }
        // A root without length has no events, and yet nothing it does may take longer.
        slack[run.root.index()] = (!run.span(run.root).is_synthetic).then_some(Duration::ZERO);
        slack
    }
}
