//! A run with every analysis of it made once, for those who put the report together.

use std::cell::OnceCell;

use super::booking::{Booking, NodeIx};
use super::charges::Call;
use super::path::BookedPath;
use crate::analysis::critical_path::{CriticalPath, critical_path};
use crate::analysis::event_graph::EventGraph;
use crate::analysis::replay::Changes;
use crate::analysis::time_breakdown::self_times;
use crate::money::Money;
use crate::run::{Run, SpanIx};
use crate::time::{Duration, Timestamp};

/// A run and what the analyses say about it.
pub(crate) struct Analysed<'r> {
    pub(crate) run: &'r Run,
    pub(crate) self_times: Vec<Duration>,
    pub(crate) booking: Booking,
    pub(crate) critical: CriticalPath,
    pub(crate) path: BookedPath,
    pub(crate) graph: EventGraph<'r>,
    pub(crate) slack: Vec<Option<Duration>>,
    pub(crate) free_float: Vec<Option<Duration>>,
    savings: OnceCell<Vec<(NodeIx, Duration)>>,
    costs_with_nested: OnceCell<Vec<Option<Money>>>,
    /// The nearest execution above each execution, by span.
    pub(crate) caller: Vec<Option<SpanIx>>,
}

/// How many nodes are replayed at most: those with the most time on the path.
const MAX_REPLAYED: usize = 64;

impl<'r> Analysed<'r> {
    pub(crate) fn of(run: &'r Run) -> Self {
        let self_times = self_times(run);
        let booking = Booking::new(run, &self_times);
        let critical = critical_path(run);
        let path = BookedPath::new(run, &booking, &critical);
        let graph = EventGraph::new(run);
        let (slack, free_float) = (graph.slack(), graph.free_float());
        let above = |ix: SpanIx| run.span(ix).parent.and_then(|parent| booking.execution_of[parent.index()]);
        let caller = run.indices().map(above).collect();
        let (savings, costs_with_nested) = (OnceCell::new(), OnceCell::new());
        Analysed {
            run,
            self_times,
            booking,
            critical,
            path,
            graph,
            slack,
            free_float,
            savings,
            costs_with_nested,
            caller,
        }
    }

    /// What each node cost with everything inside its executions; see [`Booking::costs_with_nested`].
    pub(crate) fn costs_with_nested(&self) -> &[Option<Money>] {
        self.costs_with_nested.get_or_init(|| self.booking.costs_with_nested())
    }

    /// What the run would save if each node took no time, for the nodes with the most time on the path. Found when
    /// first asked for.
    pub(crate) fn savings(&self) -> &[(NodeIx, Duration)] {
        self.savings.get_or_init(|| self.savings_by_node())
    }

    fn savings_by_node(&self) -> Vec<(NodeIx, Duration)> {
        let mut by_time: Vec<(Duration, NodeIx)> =
            self.path.nodes.iter().map(|path_node| (path_node.time, path_node.node)).collect();
        by_time.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        by_time.truncate(MAX_REPLAYED);
        let mut place_of: Vec<Option<usize>> = vec![None; self.booking.nodes.len()];
        by_time.iter().zip(0..).for_each(|((_, node), place)| place_of[*node] = Some(place));
        let place = |ix: SpanIx| self.owner_of_time(ix).and_then(|node| place_of[node]);
        let walls = self.graph.walls_without(by_time.len(), place);
        let saved = |wall: Duration| self.run.wall().saturating_sub(wall);
        by_time.into_iter().zip(walls).map(|((_, node), wall)| (node, saved(wall))).collect()
    }

    /// What the run would save with these changes.
    pub(crate) fn saved_by(&self, changes: &Changes) -> Duration {
        self.run.wall().saturating_sub(self.graph.replay_with(changes))
    }

    /// The node the own time of a span belongs to. The root's own time belongs to none.
    pub(crate) fn owner_of_time(&self, ix: SpanIx) -> Option<NodeIx> {
        self.booking.node_of[ix.index()].filter(|_| ix != self.run.root)
    }

    /// The spans whose own time belongs to a node.
    pub(crate) fn spans_of(&self, node: NodeIx) -> impl Iterator<Item = SpanIx> + '_ {
        self.run.indices().filter(move |ix| self.owner_of_time(*ix) == Some(node))
    }

    /// The executions of a node that block somebody, in order of their starts.
    pub(crate) fn blocking_executions(&self, node: NodeIx) -> Vec<SpanIx> {
        let mut blocking: Vec<(Timestamp, SpanIx)> = Vec::new();
        for ix in &self.booking.nodes[node].executions {
            let span = self.run.span(*ix);
            if span.is_blocking() {
                blocking.push((span.clipped.start, *ix));
            }
        }
        blocking.sort_unstable();
        blocking.into_iter().map(|(_, ix)| ix).collect()
    }

    /// The name of the node a span belongs to.
    pub(crate) fn node_name(&self, ix: SpanIx) -> Option<String> {
        self.booking.node_of[ix.index()].map(|node| self.booking.nodes[node].name.as_ref().to_owned())
    }

    /// Self time of all spans together, without the time they were queued.
    pub(crate) fn work(&self) -> Duration {
        let worked = |ix: SpanIx| {
            let own = self.self_times[ix.index()];
            own.saturating_sub(self.run.span(ix).record.timing.queued.min(own))
        };
        self.run.indices().map(worked).sum()
    }

    /// The tokens a call wrote and how long it took without queueing, if both say something: not if it failed.
    pub(crate) fn output_speed(&self, call: &Call) -> Option<(u64, Duration)> {
        let span = self.run.span(call.span);
        let says_something = span.in_statistics && !span.record.failed();
        let output = call.tokens.output.filter(|output| *output > 0 && says_something)?;
        Some((output, span.run_interval().duration())).filter(|(_, took)| !took.is_zero())
    }

    /// How many executions each execution is nested in, by span; zero for spans that are none.
    pub(crate) fn depths(&self) -> Vec<u32> {
        let mut depths = vec![0u32; self.run.spans.len()];
        // A parent stands before its children.
        for ix in self.run.indices() {
            if self.booking.execution_of[ix.index()] == Some(ix)
                && let Some(around) = self.caller[ix.index()]
            {
                depths[ix.index()] = depths[around.index()].saturating_add(1);
            }
        }
        depths
    }

    /// How much of the critical path lies in a span and everything below it, by span.
    pub(crate) fn path_time_with_below(&self) -> Vec<Duration> {
        let mut time = vec![Duration::ZERO; self.run.spans.len()];
        for segment in &self.critical.segments {
            let at = &mut time[segment.span.index()];
            *at = at.saturating_add(segment.interval.duration());
        }
        for ix in self.run.indices().rev() {
            if let Some(parent) = self.run.span(ix).parent {
                time[parent.index()] = time[parent.index()].saturating_add(time[ix.index()]);
            }
        }
        time
    }
}
