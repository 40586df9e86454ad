//! From records in any order to one tree: what is the same span, who owns an id, who is whose parent.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::lists::Lists;
use super::options::Orphans;
use super::{SYNTHETIC_ROOT_NAME, Warning, Warnings};
use crate::hashing::QuickMap;
use crate::ids::SpanId;
use crate::span_record::{Origin, Outcome, SpanKind, SpanRecord, Status, Timing};
use crate::time::Timestamp;

/// Records in an order that depends on nothing but themselves. From here on a record goes by its rank in this order.
///
/// They stay where they are in memory: only their positions are sorted.
pub(super) struct Ranked {
    records: Vec<SpanRecord>,
    /// The position of each rank.
    order: Vec<u32>,
}

impl Ranked {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn record(&self, rank: usize) -> &SpanRecord {
        &self.records[self.order[rank] as usize]
    }

    pub(super) fn record_mut(&mut self, rank: usize) -> &mut SpanRecord {
        &mut self.records[self.order[rank] as usize]
    }

    fn iter(&self) -> impl Iterator<Item = &SpanRecord> {
        self.order.iter().map(|at| &self.records[*at as usize])
    }

    fn push(&mut self, record: SpanRecord) {
        self.order.push(self.records.len() as u32);
        self.records.push(record);
    }

    /// The records of these ranks, in the order asked for; each can be had once.
    pub(super) fn into_records(self, ranks: &[usize]) -> impl Iterator<Item = SpanRecord> {
        let mut records: Vec<Option<SpanRecord>> = self.records.into_iter().map(Some).collect();
        ranks.iter().filter_map(move |rank| records[self.order[*rank] as usize].take())
    }
}

/// Ranks the records, and drops repeated ones.
pub(super) fn in_canonical_order(mut records: Vec<SpanRecord>, warnings: &mut Warnings) -> Ranked {
    drop_earlier_copies(&mut records, warnings);
    let mut order: Vec<(Timestamp, Reverse<Timestamp>, u32)> = Vec::with_capacity(records.len());
    for (record, at) in records.iter_mut().zip(0..) {
        record.parent_id = record.parent_id.filter(|id| !id.is_zero());
        order.push((record.start, Reverse(record.end.max(record.start)), at));
    }
    let record = |at: u32| &records[at as usize];
    // What is compared first is at hand; most records differ in it. Most are in order already but for those that others
    // are inside of, which a stable sort makes use of.
    order.sort_by(|a, b| {
        (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| {
            let (a, b) = (record(a.2), record(b.2));
            identity(a).cmp(&identity(b)).then_with(|| b.cmp(a))
        })
    });
    order.dedup_by(|next, kept| {
        let is_repeated = (next.0, next.1) == (kept.0, kept.1)
            && !record(next.2).span_id.is_zero()
            && identity(record(next.2)) == identity(record(kept.2));
        if is_repeated {
            warnings.add(Warning::DuplicateSpan);
        }
        is_repeated
    });
    let order = order.into_iter().map(|(.., at)| at).collect();
    Ranked { records, order }
}

/// Of a span that was written while it was open only what was written last counts: when it had ended, else the last
/// time it was still open.
fn drop_earlier_copies(records: &mut Vec<SpanRecord>, warnings: &mut Warnings) {
    let is_partial =
        |record: &SpanRecord| record.facts.as_ref().is_some_and(|it| it.outcome == Some(Outcome::Partial));
    if !records.iter().any(is_partial) {
        return;
    }
    let rank = |record: &SpanRecord| (!is_partial(record), record.end);
    let key = |record: &SpanRecord| (record.span_id, record.start);
    let mut last: QuickMap<(SpanId, Timestamp), (bool, Timestamp)> = QuickMap::default();
    for record in records.iter() {
        let last = last.entry(key(record)).or_insert(rank(record));
        *last = (*last).max(rank(record));
    }
    let is_last = |record: &SpanRecord| last.get(&key(record)).is_none_or(|last| *last == rank(record));
    let before = records.len();
    records.retain(|record| !is_partial(record) || record.span_id.is_zero() || is_last(record));
    warnings.add_times(Warning::DuplicateSpan, (before - records.len()) as u64);
}

/// What makes two records the same span, in the order of precedence between different ones: first started, then
/// longest.
fn identity(record: &SpanRecord) -> impl Ord + '_ {
    let end = record.end.max(record.start);
    (record.start, Reverse(end), &record.name, record.span_id, record.parent_id, record.end)
}

/// Which record an id means: the first of those that carry it.
pub(super) struct IdOwners {
    /// Every id but zero.
    owners: QuickMap<SpanId, u32>,
    pub(super) ordinals: Vec<u32>,
}

impl IdOwners {
    pub(super) fn of(records: &Ranked, warnings: &mut Warnings) -> Self {
        let mut owners: QuickMap<SpanId, u32> = QuickMap::default();
        owners.reserve(records.len());
        let mut ordinals = vec![1; records.len()];
        // How many carry an id that more than one does.
        let mut carriers: QuickMap<SpanId, u32> = QuickMap::default();
        for (record, rank) in records.iter().zip(0..) {
            if record.span_id.is_zero() {
                continue;
            }
            match owners.entry(record.span_id) {
                Entry::Vacant(none) => drop(none.insert(rank)),
                Entry::Occupied(_) => {
                    warnings.add(Warning::ConflictingSpanId);
                    let carriers = carriers.entry(record.span_id).or_insert(1);
                    *carriers += 1;
                    ordinals[rank as usize] = *carriers;
                }
            }
        }
        IdOwners { owners, ordinals }
    }

    fn owner(&self, id: SpanId) -> Option<usize> {
        self.owners.get(&id).map(|rank| *rank as usize)
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
    records: &mut Ranked,
    names: &IdOwners,
    orphans: Orphans,
    warnings: &mut Warnings,
) -> Tree {
    let mut parents = vec![None; records.len()];
    let mut roots = Vec::new();
    let mut strays = Vec::new();
    // Siblings often come one after the other.
    let mut last: (SpanId, Option<usize>) = (SpanId::default(), None);
    for (rank, record) in records.iter().enumerate() {
        if let Some(id) = record.parent_id.filter(|id| *id != last.0) {
            last = (id, names.owner(id));
        }
        match record.parent_id {
            None => roots.push(rank),
            Some(_) => match last.1 {
                Some(owner) => parents[rank] = Some(owner),
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
            let tops = roots.iter().chain(strays).map(|&top| records.record(top));
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

/// The ranks at and below `top` in preorder, children of one parent in order of their starts. By rank they are in that
/// order, unless some were moved.
pub(super) fn preorder(records: &Ranked, tree: &Tree, were_moved: bool) -> Vec<usize> {
    let children = Lists::of_children(tree.parents.iter().copied());
    let mut order = Vec::with_capacity(records.len());
    let mut open = vec![tree.top];
    while let Some(rank) = open.pop() {
        order.push(rank);
        let first = open.len();
        open.extend(children.of(rank).iter().rev().map(|child| child.index()));
        if were_moved {
            open[first..].sort_unstable_by_key(|rank| Reverse((records.record(*rank).start, *rank)));
        }
    }
    order
}
