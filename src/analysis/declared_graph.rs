//! A workflow as its declarations say it is: weighted nodes, and edges that mean "could not start before that ended".
//!
//! ```text
//!        ┌─ b 35 ─┐            work 108   everything, one after the other
//!  a 20 ─┤        ├─ d 33      span  88   a, b, d: nothing makes it shorter but shorter nodes
//!        └─ c 20 ─┘            float of c 15, drag of b 15
//! ```
//!
//! This is the critical path method (Kelley and Walker 1959) without lags. Unlike the path of one run it knows no
//! gaps: dispatch, queueing and permits are what a run takes longer than the span of its graph.

use std::num::NonZeroU32;

use thiserror::Error;

use super::replay::Scale;
use crate::time::Duration;

/// A graph without cycles whose nodes go by their positions.
#[derive(Clone, Debug)]
pub struct DeclaredGraph {
    weights: Vec<Duration>,
    /// No edge twice, in order of the node they leave and then of the one they reach.
    edges: Vec<(usize, usize)>,
    /// Where the edges of each node start in `edges`; one more than there are nodes.
    first_edge: Vec<usize>,
    /// All nodes, each after its predecessors.
    order: Vec<usize>,
}

/// Why declarations are no graph to compute with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// An edge leads from or to a node that does not exist.
    #[error("edge {from} → {to} in a graph of {nodes} nodes")]
    UnknownNode {
        /// Where the edge leaves.
        from: usize,
        /// Where it leads.
        to: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// Nodes wait for each other in a ring.
    #[error("nodes {} wait for each other in a ring", listed(.ring))]
    Cycle {
        /// The nodes of one ring, each before the one that waits for it, the lowest first.
        ring: Vec<usize>,
    },
}

fn listed(ring: &[usize]) -> String {
    ring.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ")
}

/// When a node could run, if every node runs as early, or as late, as the length of the whole allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTimes {
    /// The earliest it can start, from the start of the whole.
    pub early_start: Duration,
    /// The earliest it can end.
    pub early_finish: Duration,
    /// The latest it may start without making the whole longer.
    pub late_start: Duration,
    /// The latest it may end.
    pub late_finish: Duration,
    /// How much later it may start without making the whole longer; zero on every critical path.
    pub total_float: Duration,
    /// How much later it may start without any other node having to start later.
    pub free_float: Duration,
}

/// Between what any schedule lies that never leaves a worker idle while a node is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreedyBounds {
    /// No schedule is shorter.
    pub at_least: Duration,
    /// None of that kind is longer (Graham 1969, Brent 1974).
    pub at_most: Duration,
}

/// How long so many workers take for work that takes one of them `work` and any number of them `span`, whichever
/// ready node each takes next (Graham, Brent).
pub fn greedy_bounds(work: Duration, span: Duration, workers: NonZeroU32) -> GreedyBounds {
    let (work, span) = (u128::from(work.as_nanos()), u128::from(span.as_nanos()));
    let workers = u128::from(workers.get());
    let nanos = |nanos: u128| Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    GreedyBounds {
        at_least: nanos(span.max(work.div_ceil(workers))),
        at_most: nanos((work + (workers - 1) * span) / workers),
    }
}

impl DeclaredGraph {
    /// The graph of nodes with these weights. An edge `(a, b)` says that `b` could not start before `a` had ended;
    /// one said twice counts once. O(V + E log E).
    ///
    /// # Errors
    ///
    /// [`GraphError::UnknownNode`] for an edge whose ends are not both positions in `weights`, else
    /// [`GraphError::Cycle`] if nodes wait for each other, or one for itself.
    pub fn new(weights: Vec<Duration>, edges: &[(usize, usize)]) -> Result<Self, GraphError> {
        let nodes = weights.len();
        if let Some(&(from, to)) = edges.iter().find(|(from, to)| *from >= nodes || *to >= nodes) {
            return Err(GraphError::UnknownNode { from, to, nodes });
        }
        let mut edges = edges.to_vec();
        edges.sort_unstable();
        edges.dedup();
        let mut first_edge = vec![0; nodes + 1];
        for (from, _) in &edges {
            first_edge[from + 1] += 1;
        }
        for node in 0..nodes {
            first_edge[node + 1] += first_edge[node];
        }
        let mut graph = DeclaredGraph { weights, edges, first_edge, order: Vec::with_capacity(nodes) };
        let mut waits_for = graph.predecessor_counts();
        graph.order.extend((0..nodes).filter(|node| waits_for[*node] == 0));
        let mut next = 0;
        while let Some(&node) = graph.order.get(next) {
            next += 1;
            let edges = graph.first_edge[node]..graph.first_edge[node + 1];
            for &(_, to) in &graph.edges[edges] {
                waits_for[to] -= 1;
                if waits_for[to] == 0 {
                    graph.order.push(to);
                }
            }
        }
        if graph.order.len() < nodes {
            return Err(GraphError::Cycle { ring: ring_among(&graph.edges, &waits_for) });
        }
        Ok(graph)
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.weights.len()
    }

    /// The weight of every node.
    pub fn weights(&self) -> &[Duration] {
        &self.weights
    }

    /// The edges, each once, in order.
    pub fn edges(&self) -> &[(usize, usize)] {
        &self.edges
    }

    /// All nodes, each after its predecessors.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    pub(super) fn successors(&self, node: usize) -> impl Iterator<Item = usize> {
        self.edges[self.first_edge[node]..self.first_edge[node + 1]].iter().map(|(_, to)| *to)
    }

    pub(super) fn predecessor_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.nodes()];
        for (_, to) in &self.edges {
            counts[*to] += 1;
        }
        counts
    }

    /// The work, T₁: how long all nodes take one after the other.
    pub fn work(&self) -> Duration {
        self.weights.iter().copied().sum()
    }

    /// The span, T∞: how long the longest chain of nodes takes, and so the whole with workers without number.
    /// Zero for no nodes. O(V + E).
    pub fn span(&self) -> Duration {
        self.span_with(|node| self.weights[node])
    }

    /// The span if the nodes had other weights: any number of them changed at once. A node of zero weight still
    /// hands its dependencies on. Never longer for smaller weights. O(V + E).
    pub fn span_with(&self, weight: impl Fn(usize) -> Duration) -> Duration {
        let mut start = vec![Duration::ZERO; self.nodes()];
        let mut span = Duration::ZERO;
        for &node in &self.order {
            let finish = start[node].saturating_add(weight(node));
            span = span.max(finish);
            for to in self.successors(node) {
                start[to] = start[to].max(finish);
            }
        }
        span
    }

    /// The span if weights were scaled so, each rounded half up to a nanosecond. O(V + E).
    pub fn span_scaled(&self, scale: impl Fn(usize) -> Scale) -> Duration {
        self.span_with(|node| scaled(self.weights[node], scale(node)))
    }

    /// The work as a multiple of the span: how many workers could be kept busy on average. `None` if the span is
    /// zero.
    pub fn average_parallelism(&self) -> Option<f64> {
        self.work().ratio_of(self.span())
    }

    /// How close a run that took `wall` came to its span: 1 is as short as its dependencies allow. `None` if either
    /// is zero.
    pub fn efficiency_ratio(&self, wall: Duration) -> Option<f64> {
        let span = self.span();
        span.ratio_of(wall).filter(|_| !span.is_zero())
    }

    /// How long so many workers take, whichever ready node each takes next.
    pub fn greedy_bounds(&self, workers: NonZeroU32) -> GreedyBounds {
        greedy_bounds(self.work(), self.span(), workers)
    }

    /// When every node could run, by position. O(V + E).
    pub fn times(&self) -> Vec<NodeTimes> {
        let mut times = vec![NodeTimes::default(); self.nodes()];
        let mut span = Duration::ZERO;
        for &node in &self.order {
            let finish = times[node].early_start.saturating_add(self.weights[node]);
            times[node].early_finish = finish;
            span = span.max(finish);
            for to in self.successors(node) {
                times[to].early_start = times[to].early_start.max(finish);
            }
        }
        for &node in self.order.iter().rev() {
            let latest = self.successors(node).map(|to| times[to].late_start).min();
            let next = self.successors(node).map(|to| times[to].early_start).min();
            let own = &mut times[node];
            own.late_finish = latest.unwrap_or(span);
            own.late_start = own.late_finish.saturating_sub(self.weights[node]);
            own.total_float = own.late_start.saturating_sub(own.early_start);
            own.free_float = next.unwrap_or(span).saturating_sub(own.early_finish);
        }
        times
    }

    /// The drag of every node, by position: by how much the whole would be shorter if the node took no time. At
    /// most its weight; zero if another chain is as long. O((V + E) log E) for all of them together.
    ///
    /// Without a node's weight the whole takes as long as the longest chain around it, or the longest through it
    /// less the weight. With the nodes in topological order, a chain goes around a node exactly where one of its
    /// edges leads past the node's place; so each edge, with the longest chain over it, is laid over the places it
    /// passes, longest first.
    pub fn drags(&self) -> Vec<Duration> {
        let times = self.times();
        let span = times.iter().map(|times| times.early_finish).max().unwrap_or_default();
        let mut place = vec![0; self.nodes()];
        for (at, &node) in self.order.iter().enumerate() {
            place[node] = at;
        }
        let tail = |node: usize| span.saturating_sub(times[node].late_start);
        let mut passes: Vec<(Duration, usize, usize)> =
            Vec::with_capacity(self.edges.len() + 2 * self.nodes());
        for &(from, to) in &self.edges {
            passes.push((times[from].early_finish.saturating_add(tail(to)), place[from] + 1, place[to]));
        }
        for node in 0..self.nodes() {
            passes.push((tail(node), 0, place[node]));
            passes.push((times[node].early_finish, place[node] + 1, self.nodes()));
        }
        passes.sort_unstable_by(|a, b| b.cmp(a));
        let around = lay_over(self.nodes(), &passes);
        (0..self.nodes())
            .map(|node| {
                if !times[node].total_float.is_zero() {
                    return Duration::ZERO;
                }
                span.saturating_sub(around[place[node]]).min(self.weights[node])
            })
            .collect()
    }
}

/// What lies on every place after each `(value, first, end)` is laid over those still free.
fn lay_over(places: usize, passes: &[(Duration, usize, usize)]) -> Vec<Duration> {
    let mut values = vec![Duration::ZERO; places];
    // The first place from each on that may be free.
    let mut free: Vec<usize> = (0..=places).collect();
    for &(value, first, end) in passes {
        let mut at = first_free(&mut free, first);
        while at < end {
            values[at] = value;
            free[at] = at + 1;
            at = first_free(&mut free, at);
        }
    }
    values
}

fn first_free(free: &mut [usize], mut at: usize) -> usize {
    while free[at] != at {
        free[at] = free[free[at]];
        at = free[at];
    }
    at
}

fn scaled(weight: Duration, scale: Scale) -> Duration {
    let den = u128::from(scale.den.max(1));
    let nanos = (2 * u128::from(weight.as_nanos()) * u128::from(scale.num) + den) / (2 * den);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A ring among the nodes that still wait for some: every one of them has a predecessor that waits too.
fn ring_among(edges: &[(usize, usize)], waits_for: &[usize]) -> Vec<usize> {
    let mut waited_for = vec![None; waits_for.len()];
    for &(from, to) in edges {
        if waits_for[from] > 0 && waits_for[to] > 0 && waited_for[to].is_none() {
            waited_for[to] = Some(from);
        }
    }
    let mut step_of: Vec<Option<usize>> = vec![None; waits_for.len()];
    let mut walk = Vec::new();
    let mut at = waits_for.iter().position(|count| *count > 0);
    while let Some(node) = at {
        if let Some(step) = step_of[node] {
            walk.drain(..step);
            break;
        }
        step_of[node] = Some(walk.len());
        walk.push(node);
        at = waited_for[node];
    }
    walk.reverse();
    let lowest = walk.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(at, _)| at);
    walk.rotate_left(lowest);
    walk
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(weights: &[u64], edges: &[(usize, usize)]) -> Result<DeclaredGraph, GraphError> {
        DeclaredGraph::new(weights.iter().copied().map(Duration::from_nanos).collect(), edges)
    }

    #[test]
    fn a_ring_is_an_error_that_names_it() {
        let ring = graph(&[1; 5], &[(0, 3), (3, 1), (1, 4), (4, 3), (4, 2)]).unwrap_err();
        assert_eq!(ring, GraphError::Cycle { ring: vec![1, 4, 3] });
        assert_eq!(ring.to_string(), "nodes 1 → 4 → 3 wait for each other in a ring");
        assert_eq!(graph(&[1], &[(0, 0)]).unwrap_err(), GraphError::Cycle { ring: vec![0] });
    }

    #[test]
    fn an_edge_to_nowhere_is_an_error() {
        let error = graph(&[1, 1], &[(0, 1), (1, 2)]).unwrap_err();
        assert_eq!(error, GraphError::UnknownNode { from: 1, to: 2, nodes: 2 });
    }

    #[test]
    fn nothing_has_no_span_and_no_parallelism() {
        let nothing = graph(&[], &[]).unwrap();
        assert_eq!((nothing.work(), nothing.span()), (Duration::ZERO, Duration::ZERO));
        assert_eq!((nothing.average_parallelism(), nothing.drags(), nothing.times()), (None, vec![], vec![]));
        assert_eq!(graph(&[0], &[]).unwrap().efficiency_ratio(Duration::from_nanos(5)), None);
    }

    #[test]
    fn free_float_is_what_delays_nobody() {
        // a 2 → b 3 → d 1, c 1 → d, c also → e 9.
        let graph = graph(&[2, 3, 1, 1, 9], &[(0, 1), (1, 3), (2, 3), (2, 4)]).unwrap();
        let floats: Vec<_> = graph
            .times()
            .iter()
            .map(|times| (times.total_float.as_nanos(), times.free_float.as_nanos()))
            .collect();
        assert_eq!(floats, [(4, 0), (4, 0), (0, 0), (4, 4), (0, 0)]);
        assert_eq!(graph.drags().iter().map(|drag| drag.as_nanos()).collect::<Vec<_>>(), [0, 0, 1, 0, 4]);
    }
}
