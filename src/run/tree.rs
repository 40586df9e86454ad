//! From records in any order to one tree: what is the same span, who owns an id, who is whose parent.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::lists::Lists;
use super::options::Orphans;
use super::{SYNTHETIC_ROOT_NAME, Warning, Warnings};
use crate::ids::SpanId;
use crate::span_record::{Origin, SpanKind, SpanRecord, Status, Timing};
use crate::time::Timestamp;

/// Brings the records into an order that depends on nothing but themselves, and drops repeated ones. From here on
/// a record goes by its rank in this order.
pub(super) fn in_canonical_order(mut records: Vec<SpanRecord>, warnings: &mut Warnings) -> Vec<SpanRecord> {
    for record in &mut records {
        record.parent_id = record.parent_id.filter(|id| !id.is_zero());
    }
    records.sort_unstable_by(|a, b| identity(a).cmp(&identity(b)).then_with(|| b.cmp(a)));
    records.dedup_by(|next, kept| {
        let is_repeated = !next.span_id.is_zero() && identity(next) == identity(kept);
        if is_repeated {
            warnings.add(Warning::DuplicateSpan);
        }
        is_repeated
    });
    records
}

/// What makes two records the same span, in the order of precedence between different ones: first started, then
/// longest.
fn identity(record: &SpanRecord) -> impl Ord + '_ {
    let end = record.end.max(record.start);
    (record.start, Reverse(end), &record.name, record.span_id, record.parent_id, record.end)
}

/// Which record an id means.
pub(super) struct IdOwners {
    owners: HashMap<SpanId, usize>,
    pub(super) ordinals: Vec<u32>,
}

impl IdOwners {
    pub(super) fn of(records: &[SpanRecord], warnings: &mut Warnings) -> Self {
        let mut owners = HashMap::with_capacity(records.len());
        let mut conflicts: HashMap<SpanId, u32> = HashMap::new();
        let mut ordinals = Vec::with_capacity(records.len());
        for (rank, record) in records.iter().enumerate() {
            let owner =
                if record.span_id.is_zero() { rank } else { *owners.entry(record.span_id).or_insert(rank) };
            if owner == rank {
                ordinals.push(1);
            } else {
                warnings.add(Warning::ConflictingSpanId);
                let further = conflicts.entry(record.span_id).or_default();
                *further += 1;
                ordinals.push(1 + *further);
            }
        }
        IdOwners { owners, ordinals }
    }
}

/// How the records of a run hang together.
pub(super) struct Tree {
    /// The parent of each record, by rank.
    pub(super) parents: Vec<Option<usize>>,
    /// The one everything is below, but for what was dropped.
    pub(super) top: usize,
    /// The top was made up and added to the records.
    pub(super) is_synthetic: bool,
}

/// Finds every record's parent, so that all of them hang below one top, but for dropped orphans; adds that top where
/// it is missing.
pub(super) fn one_tree(
    records: &mut Vec<SpanRecord>,
    names: &IdOwners,
    orphans: Orphans,
    warnings: &mut Warnings,
) -> Tree {
    let mut parents = vec![None; records.len()];
    let mut roots = Vec::new();
    let mut strays = Vec::new();
    for (rank, record) in records.iter().enumerate() {
        match record.parent_id {
            None => roots.push(rank),
            Some(id) => match names.owners.get(&id) {
                Some(&owner) => parents[rank] = Some(owner),
                None => {
                    warnings.add(Warning::MissingParent);
                    strays.push(rank);
                }
            },
        }
    }
    for cut in cut_cycles(&mut parents) {
        warnings.add(Warning::ParentCycle);
        strays.push(cut);
    }

    let adopts = orphans == Orphans::Adopt;
    if orphans == Orphans::Drop && !roots.is_empty() {
        strays.clear();
    }
    match (&roots[..], &strays[..]) {
        ([root], strays) if adopts || strays.is_empty() => {
            for &stray in strays {
                parents[stray] = Some(*root);
            }
            Tree { parents, top: *root, is_synthetic: false }
        }
        ([], [only]) => Tree { parents, top: *only, is_synthetic: false },
        (roots, strays) => {
            warnings.add(Warning::MultipleRoots);
            let made_up = records.len();
            for &top in roots.iter().chain(strays) {
                parents[top] = Some(made_up);
            }
            let tops = roots.iter().chain(strays).map(|&top| &records[top]);
            let root = synthetic_root(tops);
            records.push(root);
            parents.push(None);
            Tree { parents, top: made_up, is_synthetic: true }
        }
    }
}

/// Cuts every ring of parents at its member of lowest rank, the earliest to start; gives the cut ones.
fn cut_cycles(parents: &mut [Option<usize>]) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut visited_by = vec![None; parents.len()];
    for walk in 0..parents.len() {
        let mut at = walk;
        while visited_by[at].is_none() {
            visited_by[at] = Some(walk);
            match parents[at] {
                Some(parent) => at = parent,
                None => break,
            }
        }
        if visited_by[at] != Some(walk) || parents[at].is_none() {
            continue;
        }
        let mut earliest = at;
        let mut member = at;
        while let Some(next) = parents[member] {
            earliest = earliest.min(next);
            member = next;
            if member == at {
                break;
            }
        }
        parents[earliest] = None;
        cuts.push(earliest);
    }
    cuts
}

fn synthetic_root<'a>(tops: impl Iterator<Item = &'a SpanRecord>) -> SpanRecord {
    let mut trace_id = None;
    let (mut start, mut end) = (Timestamp::MAX, Timestamp::EPOCH);
    for top in tops {
        trace_id.get_or_insert(top.trace_id);
        start = start.min(top.start);
        end = end.max(top.start).max(top.end);
    }
    SpanRecord {
        trace_id: trace_id.unwrap_or_default(),
        span_id: SpanId::default(),
        parent_id: None,
        name: SYNTHETIC_ROOT_NAME.into(),
        kind: SpanKind::Internal,
        start,
        end,
        status: Status::Unset,
        timing: Timing::default(),
        facts: None,
        links: None,
        origin: Arc::new(Origin::default()),
        local: None,
    }
}

/// The ranks at and below `top` in preorder, children of one parent in order of their starts.
pub(super) fn preorder(records: &[SpanRecord], tree: &Tree) -> Vec<usize> {
    let children = Lists::of_children(tree.parents.iter().copied());
    let mut order = Vec::with_capacity(records.len());
    let mut open = vec![tree.top];
    while let Some(rank) = open.pop() {
        order.push(rank);
        let first = open.len();
        open.extend(children.of(rank).iter().rev().map(|child| child.index()));
        // By rank they are in order of their starts, unless they have been moved.
        if !open[first..].is_sorted_by_key(|rank| Reverse((records[*rank].start, *rank))) {
            open[first..].sort_unstable_by_key(|rank| Reverse((records[*rank].start, *rank)));
        }
    }
    order
}
