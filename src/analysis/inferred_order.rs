//! What always came before what, over many runs.
//!
//! In one run, whatever had ended when something else started looks like its cause. Over many runs chance shows: one
//! run in which the second started before the first had ended proves that it did not need it. What is left after
//! enough runs is an order worth believing (Chow et al., *The Mystery Machine*, 2014).
//!
//! Spans are compared with their siblings, by their positions: the names on the way down from the root, a node's id
//! being its name. A name that occurs several times under one parent is compared occurrence by occurrence, the k-th
//! of one with the k-th of the other, in order of their starts. Spans that are detached or take no time are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::declared_graph::DeclaredGraph;
use crate::hashing::QuickMap;
use crate::run::{Run, SpanIx};
use crate::time::{Duration, Interval};

/// The order seen so far. Holds a bounded amount whatever is added.
#[derive(Clone, Debug, Default)]
pub struct InferredOrder {
    /// Positions by parent and name; the root's has no parent.
    positions: QuickMap<(Option<u32>, Arc<str>), u32>,
    /// The same by number.
    names: Vec<(Option<u32>, Arc<str>)>,
    /// What was seen of two positions, the lower first.
    pairs: BTreeMap<(u32, u32), Seen>,
    left_out: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// In how many runs both occurred under one parent.
    runs: u64,
    /// The lower one had always ended when the other started.
    forward: bool,
    /// The other way round.
    backward: bool,
}

/// That a span always ended before a sibling of it started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InferredEdge {
    /// The names from the root down to the parent of both.
    pub parent: Vec<Arc<str>>,
    /// The name of the one that had ended.
    pub before: Arc<str>,
    /// The name of the one that started.
    pub after: Arc<str>,
    /// In how many runs both occurred under one parent: all of them agreed.
    pub runs: u64,
}

impl InferredOrder {
    /// An order is believed after so many runs, unless somebody says otherwise.
    pub const MIN_SUPPORT: u64 = 20;
    /// So many positions are told apart.
    pub const MAX_POSITIONS: usize = 5_000;
    /// So many pairs of positions are remembered, also those known to have no order.
    pub const MAX_PAIRS: usize = 50_000;
    /// So many names under one parent are compared with each other.
    pub const MAX_SIBLINGS: usize = 100;

    /// Takes in one run. O(n log n), and at most n · [`InferredOrder::MAX_SIBLINGS`] comparisons.
    pub fn add(&mut self, run: &Run) {
        let mut position_of: Vec<Option<u32>> = vec![None; run.spans.len()];
        // Of every pair compared in this run, whether each order held.
        let mut held: BTreeMap<(u32, u32), (bool, bool)> = BTreeMap::new();
        if let Some(root) = position_of.get_mut(run.root.index()) {
            *root = self.position(None, &name_of(run, run.root));
        }
        for parent in run.indices() {
            let Some(at) = position_of.get(parent.index()).copied().flatten() else { continue };
            let mut siblings: BTreeMap<u32, Vec<Interval>> = BTreeMap::new();
            for &child in run.children(parent) {
                let span = run.span(child);
                if !span.is_blocking() {
                    continue;
                }
                let Some(position) = self.position(Some(at), &name_of(run, child)) else {
                    self.left_out = self.left_out.saturating_add(1);
                    continue;
                };
                if let Some(slot) = position_of.get_mut(child.index()) {
                    *slot = Some(position);
                }
                siblings.entry(position).or_default().push(span.clipped);
            }
            self.left_out = self.left_out.saturating_add(compare(siblings, &mut held));
        }
        for (pair, (forward, backward)) in held {
            if !self.pairs.contains_key(&pair) && self.pairs.len() >= Self::MAX_PAIRS {
                self.left_out = self.left_out.saturating_add(1);
                continue;
            }
            let seen = self.pairs.entry(pair).or_insert(Seen { runs: 0, forward: true, backward: true });
            seen.runs = seen.runs.saturating_add(1);
            seen.forward &= forward;
            seen.backward &= backward;
        }
    }

    fn position(&mut self, parent: Option<u32>, name: &Arc<str>) -> Option<u32> {
        let key = (parent, name.clone());
        if let Some(position) = self.positions.get(&key) {
            return Some(*position);
        }
        if self.names.len() >= Self::MAX_POSITIONS {
            return None;
        }
        let position = self.names.len() as u32;
        self.names.push(key.clone());
        self.positions.insert(key, position);
        Some(position)
    }

    /// The order that held in every run in which both occurred, and in at least `min_support` of them, by parent and
    /// names.
    pub fn edges(&self, min_support: u64) -> Vec<InferredEdge> {
        let mut edges = Vec::new();
        for (&(lower, higher), seen) in self.pairs.iter().filter(|(_, seen)| seen.runs >= min_support) {
            let (before, after) = match (seen.forward, seen.backward) {
                (true, _) => (lower, higher),
                (false, true) => (higher, lower),
                (false, false) => continue,
            };
            edges.push(InferredEdge {
                parent: self.path(self.parent(before)),
                before: self.name(before),
                after: self.name(after),
                runs: seen.runs,
            });
        }
        edges.sort();
        edges
    }

    fn parent(&self, position: u32) -> Option<u32> {
        self.names.get(position as usize)?.0
    }

    fn name(&self, position: u32) -> Arc<str> {
        self.names.get(position as usize).map_or_else(|| "".into(), |(_, name)| name.clone())
    }

    fn path(&self, mut at: Option<u32>) -> Vec<Arc<str>> {
        let mut path = Vec::new();
        while let Some(position) = at {
            path.push(self.name(position));
            at = self.parent(position);
        }
        path.reverse();
        path
    }

    /// How many spans and pairs were not looked at because there were too many.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

fn name_of(run: &Run, ix: SpanIx) -> Arc<str> {
    let record = &run.span(ix).record;
    record.node_id().unwrap_or_else(|| record.name.clone())
}

/// Compares the occurrences of every two positions under one parent, and gives how many positions were too many.
fn compare(siblings: BTreeMap<u32, Vec<Interval>>, held: &mut BTreeMap<(u32, u32), (bool, bool)>) -> u64 {
    let left_out = siblings.len().saturating_sub(InferredOrder::MAX_SIBLINGS) as u64;
    let siblings: Vec<(u32, Vec<Interval>)> =
        siblings.into_iter().take(InferredOrder::MAX_SIBLINGS).collect();
    for (index, (lower, of_lower)) in siblings.iter().enumerate() {
        for (higher, of_higher) in siblings.iter().skip(index + 1) {
            let (forward, backward) = held.entry((*lower, *higher)).or_insert((true, true));
            for (one, other) in of_lower.iter().zip(of_higher) {
                *forward &= one.end <= other.start;
                *backward &= other.end <= one.start;
            }
        }
    }
    left_out
}

/// The edges without those that follow from others: if a came before b and b before c, that a came before c is not
/// worth drawing. Among siblings whose order has a ring, which names that never all met in one run can make, all
/// edges stay. O(V · E).
pub fn transitive_reduction(edges: &[InferredEdge]) -> Vec<InferredEdge> {
    let mut by_parent: BTreeMap<&[Arc<str>], Vec<&InferredEdge>> = BTreeMap::new();
    for edge in edges {
        by_parent.entry(&edge.parent).or_default().push(edge);
    }
    by_parent.into_values().flat_map(|siblings| reduced(&siblings)).collect()
}

fn reduced(siblings: &[&InferredEdge]) -> Vec<InferredEdge> {
    let names: BTreeSet<&Arc<str>> = siblings.iter().flat_map(|edge| [&edge.before, &edge.after]).collect();
    let at: QuickMap<&Arc<str>, usize> = names.into_iter().zip(0..).collect();
    let ends: Vec<(usize, usize)> =
        siblings.iter().filter_map(|edge| Some((*at.get(&edge.before)?, *at.get(&edge.after)?))).collect();
    let Ok(graph) = DeclaredGraph::new(vec![Duration::ZERO; at.len()], &ends) else {
        return siblings.iter().map(|edge| (*edge).clone()).collect();
    };
    // What each node reaches by at least two steps.
    let mut implied: Vec<BTreeSet<usize>> = Vec::with_capacity(at.len());
    for node in 0..at.len() {
        let mut reached = BTreeSet::new();
        let mut open: Vec<usize> = graph.successors(node).flat_map(|next| graph.successors(next)).collect();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(graph.successors(next));
            }
        }
        implied.push(reached);
    }
    siblings
        .iter()
        .zip(ends)
        .filter(|(_, (before, after))| implied.get(*before).is_none_or(|reached| !reached.contains(after)))
        .map(|(edge, _)| (*edge).clone())
        .collect()
}
