//! How much later a span could have ended without making its run longer.
//!
//! The event graph read backwards: a span's end is followed by its parent's tail and by every sibling that started
//! after it had ended. `slack(root) = 0`, and
//! `slack(c) = min(slack(p) + last child's end − c's end, min over successors y of slack(y) + base(y) − c's end)`.
//! Every span on the critical path has none; so may others that tie with it.

use std::collections::BTreeMap;

use super::event_graph::EventGraph;
use crate::run::SpanIx;
use crate::time::{Duration, Interval, Timestamp};

impl EventGraph<'_> {
    /// The slack of each span, by [`SpanIx::index`]; `None` for spans without length, detached ones and a
    /// synthetic root. O(n log n).
    pub fn slack(&self) -> Vec<Option<Duration>> {
        let mut slack: Vec<Duration> = vec![Duration::ZERO; self.run.spans.len()];
        for parent in &self.top_down {
            self.slack_of_children(*parent, &mut slack);
        }
        let mut told: Vec<Option<Duration>> = vec![None; slack.len()];
        for ix in &self.top_down {
            let span = self.run.span(*ix);
            if !span.is_synthetic {
                told[ix.index()] = Some(slack[ix.index()]);
            }
        }
        told
    }

    fn slack_of_children(&self, parent: SpanIx, slack: &mut [Duration]) {
        let interval = |ix: &SpanIx| self.run.span(*ix).clipped;
        let children = &self.children[parent.index()];
        let Some(last_end) = children.iter().map(|ix| interval(ix).end).max() else { return };
        let mut ends: Vec<Timestamp> = children.iter().map(|ix| interval(ix).end).collect();
        ends.sort_unstable();
        let base = |start: Timestamp| {
            let ended = ends.partition_point(|end| *end <= start);
            ended.checked_sub(1).map(|at| ends[at])
        };
        let parent_allows = last_end.saturating_add(slack[parent.index()]);
        // From the last start to the first: by then every successor is done. `latest` holds, by start, the latest
        // time by which what starts there or later lets its predecessors end.
        let mut latest: BTreeMap<Timestamp, Timestamp> = BTreeMap::new();
        let mut soonest = Timestamp::MAX;
        for ix in children.iter().rev() {
            let Interval { start, end } = interval(ix);
            let successors = latest.range(end..).next().map_or(Timestamp::MAX, |(_, allows)| *allows);
            let own = parent_allows.min(successors).saturating_since(end);
            slack[ix.index()] = own;
            if let Some(base) = base(start) {
                soonest = soonest.min(base.saturating_add(own));
            }
            latest.insert(start, soonest);
        }
    }
}
