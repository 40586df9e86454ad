//! How much later each span could have ended without harm: the event graph, backwards.

use super::event_graph::{EventGraph, EventKind};
use crate::time::{Duration, Timestamp};

/// Whom a span may not make later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unharmed {
    /// The end of the run.
    Run,
    /// Anything that comes after.
    Next,
}

impl EventGraph<'_> {
    /// The slack of every span, by [`SpanIx`](crate::run::SpanIx): how much longer it could have run, all else as
    /// it was, before the run would have become longer; also called total float. Zero on the critical path, and on
    /// paths as long as it.
    ///
    /// `None` for spans that block nobody, being detached or without length, and for a made-up root. O(n).
    pub fn slack(&self) -> Vec<Option<Duration>> {
        self.float(Unharmed::Run)
    }

    /// The free float of every span: how much longer it could have run before anything that comes after it would
    /// have started later, or its parent ended later. At most its slack; `None` where that is. O(n).
    pub fn free_float(&self) -> Vec<Option<Duration>> {
        self.float(Unharmed::Next)
    }

    fn float(&self, unharmed: Unharmed) -> Vec<Option<Duration>> {
        let run = self.run;
        let passed_on = |float: Duration| if unharmed == Unharmed::Run { float } else { Duration::ZERO };
        let mut floats = vec![None; run.spans.len()];
        // Of each span, the point by which its children must have ended that have ended before the events seen so
        // far: the last of them, so that it ends no later than it may; the others, so that their successors start
        // no later than they may.
        let mut deadline = vec![Timestamp::MAX; run.spans.len()];
        // Of each span, the point by which it must have ended for those that declared to wait for it.
        let mut awaited = vec![Timestamp::MAX; run.spans.len()];
        for event in self.events.iter().rev() {
            let clipped = run.span(event.span).clipped;
            let span = event.span.index();
            match (event.kind, event.parent) {
                (EventKind::End, parent) => {
                    let latest = parent.map_or(clipped.end, |ix| deadline[ix.index()].min(awaited[span]));
                    let float = latest.saturating_since(clipped.end);
                    floats[span] = Some(float);
                    let last_child = clipped.end.saturating_sub(event.own_time);
                    deadline[span] = last_child.saturating_add(passed_on(float));
                }
                (EventKind::Start | EventKind::QueuedStart, Some(parent)) => {
                    let base = clipped.start.saturating_sub(event.own_time);
                    let latest_base = base.saturating_add(passed_on(floats[span].unwrap_or_default()));
                    let declared = run.predecessors(event.span);
                    for before in declared {
                        let awaited = &mut awaited[before.index()];
                        *awaited = (*awaited).min(latest_base);
                    }
                    if declared.is_empty() {
                        let deadline = &mut deadline[parent.index()];
                        *deadline = (*deadline).min(latest_base);
                    }
                }
                (EventKind::Start | EventKind::QueuedStart, None) | (EventKind::Creation, _) => {}
            }
        }
        // A root without length has no events, and yet nothing it does may take longer.
        floats[run.root.index()] = (!run.span(run.root).is_synthetic).then_some(Duration::ZERO);
        floats
    }
}
