//! How long a workflow takes with a limited number of permits: list scheduling.
//!
//! At every instant at which a permit is free, the ready node that comes first in the list takes it. That is what a
//! semaphore does with tasks in the order in which they asked, so a run limited by one is predicted by it.
//!
//! Nothing here is monotone: shorter nodes, fewer edges or more permits can make the whole *longer* (Graham 1969).
//! A prediction is one for the given weights, not a promise for better ones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroUsize;

use super::declared_graph::DeclaredGraph;
use crate::time::Duration;

/// When every node starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When the last node ends.
    pub makespan: Duration,
    /// The start of every node, by position, from the start of the whole.
    pub starts: Vec<Duration>,
}

/// Runs the nodes of `graph` with so many permits, a ready node that comes earlier in `priority` first. Nodes that
/// are not in `priority` come last, in their own order. O((V + E) log V).
pub fn list_schedule(graph: &DeclaredGraph, priority: &[usize], permits: NonZeroUsize) -> Schedule {
    list_schedule_in_stages(graph, priority, permits, &[])
}

/// The same with barriers: no node of a stage starts before all nodes of lower stages have ended. `stages` gives the
/// stage of every node by position; nodes past its end are of stage 0. A node whose predecessor is of a higher stage
/// belongs to that one. O((V + E) log V).
pub fn list_schedule_in_stages(
    graph: &DeclaredGraph,
    priority: &[usize],
    permits: NonZeroUsize,
    stages: &[u32],
) -> Schedule {
    let mut workshop = Workshop::new(graph, priority, stages);
    let mut schedule = Schedule { makespan: Duration::ZERO, starts: vec![Duration::ZERO; graph.nodes()] };
    let mut free = permits.get();
    let mut now = Duration::ZERO;
    let mut running: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    loop {
        while free > 0
            && let Some(node) = workshop.take()
        {
            free -= 1;
            if let Some(start) = schedule.starts.get_mut(node) {
                *start = now;
            }
            running.push(Reverse((now.saturating_add(graph.weights()[node]), node)));
        }
        let Some(&Reverse((next, _))) = running.peek() else { break };
        now = next;
        while let Some(&Reverse((end, node))) = running.peek()
            && end == now
        {
            running.pop();
            free += 1;
            workshop.finish(node);
        }
    }
    schedule.makespan = now;
    schedule
}

/// What is left to do.
struct Workshop<'g> {
    graph: &'g DeclaredGraph,
    rank: Vec<usize>,
    stage: Vec<u32>,
    waits_for: Vec<usize>,
    /// Of every stage, how many nodes have not ended.
    open: BTreeMap<u32, usize>,
    /// Of the lowest open stage, the ready nodes by rank.
    ready: BinaryHeap<Reverse<(usize, usize)>>,
    /// Nodes that wait for nothing but their stage.
    parked: BTreeMap<u32, Vec<usize>>,
}

impl<'g> Workshop<'g> {
    fn new(graph: &'g DeclaredGraph, priority: &[usize], stages: &[u32]) -> Self {
        let nodes = graph.nodes();
        let mut rank: Vec<usize> = (priority.len()..).take(nodes).collect();
        for (place, node) in priority.iter().enumerate().rev() {
            if let Some(rank) = rank.get_mut(*node) {
                *rank = place;
            }
        }
        let mut stage: Vec<u32> =
            (0..nodes).map(|node| stages.get(node).copied().unwrap_or_default()).collect();
        let mut open = BTreeMap::new();
        for &node in graph.order() {
            *open.entry(stage[node]).or_default() += 1;
            for to in graph.successors(node) {
                stage[to] = stage[to].max(stage[node]);
            }
        }
        let waits_for = graph.predecessor_counts();
        let mut workshop = Workshop {
            graph,
            rank,
            stage,
            waits_for,
            open,
            ready: BinaryHeap::new(),
            parked: BTreeMap::new(),
        };
        for node in (0..nodes).filter(|node| workshop.waits_for[*node] == 0).collect::<Vec<_>>() {
            workshop.offer(node);
        }
        workshop
    }

    fn current_stage(&self) -> Option<u32> {
        self.open.keys().next().copied()
    }

    fn offer(&mut self, node: usize) {
        if Some(self.stage[node]) == self.current_stage() {
            self.ready.push(Reverse((self.rank[node], node)));
        } else {
            self.parked.entry(self.stage[node]).or_default().push(node);
        }
    }

    fn take(&mut self) -> Option<usize> {
        self.ready.pop().map(|Reverse((_, node))| node)
    }

    fn finish(&mut self, node: usize) {
        let graph = self.graph;
        for to in graph.successors(node) {
            self.waits_for[to] -= 1;
            if self.waits_for[to] == 0 {
                self.offer(to);
            }
        }
        let stage = self.stage[node];
        if let Some(open) = self.open.get_mut(&stage) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&stage);
                let parked = self.current_stage().and_then(|next| self.parked.remove(&next));
                parked.into_iter().flatten().for_each(|node| self.offer(node));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(weights: &[u64], edges: &[(usize, usize)]) -> DeclaredGraph {
        DeclaredGraph::new(weights.iter().copied().map(Duration::from_nanos).collect(), edges).unwrap()
    }

    fn permits(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    #[test]
    fn the_list_decides_who_goes_first() {
        let graph = graph(&[5, 7, 7], &[]);
        let starts = |priority: &[usize]| {
            let schedule = list_schedule(&graph, priority, permits(2));
            let starts = schedule.starts.iter().map(|start| start.as_nanos()).collect::<Vec<_>>();
            (schedule.makespan.as_nanos(), starts)
        };
        assert_eq!(starts(&[0, 1, 2]), (12, vec![0, 0, 5]));
        assert_eq!(starts(&[2, 1]), (12, vec![7, 0, 0]));
        assert_eq!(starts(&[9, 2, 2, 0]), (12, vec![0, 5, 0]), "what is no node is passed over");
    }

    #[test]
    fn a_barrier_waits_for_the_slowest_of_its_stage() {
        // Two stages of 2 and 6, and of 3 and 3; without the barrier the short one makes room at 2.
        let graph = graph(&[2, 6, 3, 3], &[]);
        let priority = [0, 1, 2, 3];
        assert_eq!(list_schedule(&graph, &priority, permits(2)).makespan.as_nanos(), 8);
        let staged = list_schedule_in_stages(&graph, &priority, permits(2), &[0, 0, 1, 1]);
        assert_eq!(staged.starts.iter().map(|start| start.as_nanos()).collect::<Vec<_>>(), [0, 0, 6, 6]);
        assert_eq!(staged.makespan.as_nanos(), 9);
    }

    #[test]
    fn an_edge_back_to_a_lower_stage_does_not_block_for_ever() {
        let graph = graph(&[1, 1, 1], &[(1, 0)]);
        let staged = list_schedule_in_stages(&graph, &[], permits(3), &[0, 4, 2]);
        assert_eq!(staged.starts.iter().map(|start| start.as_nanos()).collect::<Vec<_>>(), [2, 1, 0]);
    }

    #[test]
    fn nodes_without_weight_pass_through() {
        let graph = graph(&[0, 0, 4, 0], &[(0, 1), (1, 2), (2, 3)]);
        assert_eq!(list_schedule(&graph, &[], permits(1)).makespan.as_nanos(), 4);
    }
}
