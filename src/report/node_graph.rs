//! The nodes of a run as a graph of who waited for whom, laid out in layers.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::timeline::{EdgeKind, Timeline};
use crate::time::{Duration, Timestamp};

/// Which nodes waited for which, as far as that was declared or follows from time on the critical path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeGraph {
    /// The nodes that some edge touches, in order of their first starts.
    pub nodes: Vec<GraphNode>,
    /// Their edges, each once.
    pub edges: Vec<GraphEdge>,
    /// How many layers there are.
    pub layers: u32,
    /// How many nodes the fullest layer holds.
    pub rows: u32,
}

/// A node of a [`NodeGraph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphNode {
    /// Its place in [`Timeline::nodes`].
    pub node: u32,
    /// How many nodes it waited for, one after the other, at least.
    pub layer: u32,
    /// Its place in its layer.
    pub row: u32,
    /// How many executions it had.
    pub executions: u64,
    /// Its time on the critical path.
    pub on_path_ns: Duration,
}

/// An edge of a [`NodeGraph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphEdge {
    /// The node that was waited for, by its place in [`NodeGraph::nodes`].
    pub from: u32,
    /// The node that waited.
    pub to: u32,
    /// What it rests on: declared where any of its executions declared it.
    pub kind: EdgeKind,
    /// How many executions waited so.
    pub times: u64,
    /// Whether it leads back to a node that had started before, as loops do.
    pub is_back: bool,
}

impl NodeGraph {
    /// The graph of a run. Edges of declarations that time contradicts, and links, are left out; so is a node that waited
    /// for itself only. O(n log n).
    pub fn of(timeline: &Timeline) -> NodeGraph {
        let edges = edges_by_node(timeline);
        let touched: BTreeSet<u32> = edges.keys().flat_map(|(from, to)| [*from, *to]).collect();
        let mut nodes = graph_nodes(timeline, &touched);
        let place: BTreeMap<u32, usize> = nodes.iter().map(|node| node.node).zip(0..).collect();
        let mut found: Vec<GraphEdge> = Vec::with_capacity(edges.len());
        for ((from, to), (kind, times)) in edges {
            if let (Some(from), Some(to)) = (place.get(&from), place.get(&to)) {
                let (is_back, from, to) = (from >= to, *from as u32, *to as u32);
                found.push(GraphEdge { from, to, kind, times, is_back });
            }
        }
        // Whoever is waited for started before, so its layer is known when it is needed.
        found.sort_unstable_by_key(|edge| (edge.to, edge.from));
        for edge in found.iter().filter(|edge| !edge.is_back) {
            let layer = nodes.get(edge.from as usize).map_or(0, |node| node.layer.saturating_add(1));
            if let Some(node) = nodes.get_mut(edge.to as usize) {
                node.layer = node.layer.max(layer);
            }
        }
        let mut filled: Vec<u32> = Vec::new();
        // What is on the path comes first, so that it is as straight as it can be.
        let mut order: Vec<&mut GraphNode> = nodes.iter_mut().collect();
        order.sort_by_key(|node| node.on_path_ns.is_zero());
        for node in order {
            let layer = node.layer as usize;
            if filled.len() <= layer {
                filled.resize(layer + 1, 0);
            }
            if let Some(row) = filled.get_mut(layer) {
                node.row = *row;
                *row += 1;
            }
        }
        let rows = filled.iter().copied().max().unwrap_or(0);
        NodeGraph { nodes, edges: found, layers: filled.len() as u32, rows }
    }

    /// How many edges of this kind there are.
    pub fn count(&self, kind: EdgeKind) -> u64 {
        self.edges.iter().filter(|edge| edge.kind == kind).count() as u64
    }
}

/// The edges between different nodes, with what they rest on and how often each occurs.
fn edges_by_node(timeline: &Timeline) -> BTreeMap<(u32, u32), (EdgeKind, u64)> {
    let node_of = |at: u32| timeline.spans.get(at as usize).and_then(|span| span.node);
    let mut edges: BTreeMap<(u32, u32), (EdgeKind, u64)> = BTreeMap::new();
    let is_shown = |kind: EdgeKind| matches!(kind, EdgeKind::Declared | EdgeKind::Inferred);
    for edge in timeline.edges.iter().filter(|edge| is_shown(edge.kind)) {
        if let (Some(from), Some(to)) = (node_of(edge.from), node_of(edge.to))
            && from != to
        {
            let known = edges.entry((from, to)).or_insert((edge.kind, 0));
            *known = (known.0.min(edge.kind), known.1 + 1);
        }
    }
    edges
}

fn graph_nodes(timeline: &Timeline, touched: &BTreeSet<u32>) -> Vec<GraphNode> {
    let mut nodes: BTreeMap<u32, (Timestamp, GraphNode)> = BTreeMap::new();
    for span in &timeline.spans {
        let Some(node) = span.node.filter(|node| touched.contains(node)) else { continue };
        let none = GraphNode { node, layer: 0, row: 0, executions: 0, on_path_ns: Duration::ZERO };
        let (first, known) = nodes.entry(node).or_insert((span.start_unix_ns, none));
        *first = (*first).min(span.start_unix_ns);
        known.executions += u64::from(span.is_execution);
        let own = if span.parent.is_some() { span.own_path_ns } else { Duration::ZERO };
        known.on_path_ns = known.on_path_ns.saturating_add(own);
    }
    let mut nodes: Vec<(Timestamp, GraphNode)> = nodes.into_values().collect();
    nodes.sort_by_key(|(first, node)| (*first, node.node));
    nodes.into_iter().map(|(_, node)| node).collect()
}
