//! One run as a tree of spans: what really arrived, made into something every analysis can walk.
//!
//! Foreign traces repeat spans, reuse ids, lose parents and run backwards in time. [`Run::from_records`] makes one
//! tree of any of them and counts what was odd as [`Warning`]s; it never fails and never drops work silently. The
//! order in which spans arrive changes nothing: they are first brought into an order of their own.
//!
//! Three stretches of time belong to a span, and they are kept apart:
//!
//! * its **interval** `[start, end)`, as recorded ([`RunSpan::interval`]);
//! * its **run interval**, the interval without the time it was queued at its start ([`RunSpan::run_interval`]);
//! * its **clipped** interval, the part of the run interval inside its parent's clipped interval: what the parent
//!   can have waited for. The root is not queued behind anything in its own run, so its clipped interval is its
//!   whole interval, and its length is the wall time of the run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::ids::SpanId;
use crate::span_record::{Origin, SpanKind, SpanRecord, Status, Timing};
use crate::time::{Duration, Interval, Timestamp};

/// The name of the root that is made up for a run with several tops.
pub const SYNTHETIC_ROOT_NAME: &str = "«trace»";

/// The position of a span in [`Run::spans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanIx(u32);

impl SpanIx {
    /// The span at this position. Positions fit: 2³² records take more memory than a machine has.
    pub(crate) fn new(index: usize) -> Self {
        SpanIx(index as u32)
    }

    /// The position as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The spans of one run, as a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// All spans in preorder: a parent stands before its children, the children of one parent stand in order of
    /// their starts, and everything below a span follows it without a break. The root is the first.
    pub spans: Vec<RunSpan>,
    /// The span everything else is below.
    pub root: SpanIx,
    /// How often each odd thing was met.
    pub warnings: BTreeMap<Warning, u64>,
    children: ChildLists,
}

/// One span of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpan {
    /// The span as it arrived.
    pub record: SpanRecord,
    /// 1, or 2, 3… for further spans that carry an id already taken.
    pub ordinal: u32,
    /// The span it is a child of in this tree; `None` for the root only. Need not be the recorded parent.
    pub parent: Option<SpanIx>,
    /// The part of its run interval inside its parent's clipped interval. Empty if it is detached, never ran, or
    /// took no time.
    pub clipped: Interval,
    /// Nobody in the run can have waited for it: it lies outside its parent, is marked so, takes what a producer
    /// left, or is below such a span.
    pub is_detached: bool,
    /// It ended after its parent; not said of what is below a detached span.
    pub outlives_parent: bool,
    /// It started before its parent; not said of what is below a detached span.
    pub starts_before_parent: bool,
    /// Whether its duration says something: not if it never ended or ended before it started.
    pub in_statistics: bool,
    /// It is the made-up root of a run with several tops.
    pub is_synthetic: bool,
}

impl RunSpan {
    /// From creation to the end of work; zero-length if it never ended or ended before it started.
    pub fn interval(&self) -> Interval {
        Interval::new(self.record.start, self.record.end)
    }

    /// From first running to the end of work; zero-length at its end if it was queued all along.
    pub fn run_interval(&self) -> Interval {
        let whole = self.interval();
        let first_running = whole.start.saturating_add(self.record.timing.queued);
        Interval::new(first_running.min(whole.end), whole.end)
    }

    /// Whether it takes part in what decides the length of the run.
    pub fn is_blocking(&self) -> bool {
        !self.is_detached && !self.clipped.is_empty()
    }
}

/// Something odd about the spans of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// A span arrived again and was dropped.
    DuplicateSpan,
    /// A different span carries an id already taken; it is kept, without children.
    ConflictingSpanId,
    /// A span never ended; it takes no time.
    UnfinishedSpan,
    /// A span ended before it started; it takes no time.
    NegativeDuration,
    /// A span's parent is not in the run.
    MissingParent,
    /// Spans are each other's ancestors; the ring was cut at its earliest member.
    ParentCycle,
    /// Several spans have nothing above them; a root was made up.
    MultipleRoots,
}

impl Warning {
    /// The name reports use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Warning::DuplicateSpan => "duplicate_span",
            Warning::ConflictingSpanId => "conflicting_span_id",
            Warning::UnfinishedSpan => "unfinished_span",
            Warning::NegativeDuration => "negative_duration",
            Warning::MissingParent => "missing_parent",
            Warning::ParentCycle => "parent_cycle",
            Warning::MultipleRoots => "multiple_roots",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Run {
    /// Makes a tree of the spans of one trace, or of one run cut out of a trace; `None` if there are none.
    ///
    /// * A span with the id, parent, name and times of another is dropped; of the copies, one that tells more
    ///   stays. Of different spans with one id, the one that starts first, then the longest, gets the children.
    /// * All-zero ids mean none: such a span has no children, such a parent does not exist.
    /// * A span whose parent is not among the records, and the earliest member of a ring of parents, are strays.
    ///   If exactly one span has no parent, it adopts them. Otherwise, unless there is but one stray and no other
    ///   top, all tops are put under a root made up from their first start to their last end.
    /// * Every span is clipped to its parent, from the top down; see [`RunSpan`].
    ///
    /// Hand in the root of a run that is cut out of a larger trace without its parent id, or it counts as a span
    /// whose parent is missing.
    ///
    /// O(n log n) time, no recursion.
    pub fn from_records(records: Vec<SpanRecord>) -> Option<Run> {
        let mut warnings = Warnings::default();
        let mut records = in_canonical_order(records, &mut warnings);
        if records.is_empty() {
            return None;
        }
        let names = IdOwners::of(&records, &mut warnings);
        let (parents, is_synthetic) = one_tree(&mut records, &names, &mut warnings);

        let order = preorder(&parents);
        let mut position_of = vec![0; order.len()];
        for (position, &rank) in order.iter().enumerate() {
            position_of[rank] = position;
        }
        let mut ranked: Vec<Option<SpanRecord>> = records.into_iter().map(Some).collect();
        let mut spans = Vec::with_capacity(order.len());
        for &rank in &order {
            let Some(record) = ranked[rank].take() else { continue };
            let parent = parents[rank].map(|parent| SpanIx::new(position_of[parent]));
            let is_synthetic = is_synthetic && parent.is_none();
            let span = settle(record, parent.map(|ix| &spans[ix.index()]), is_synthetic, &mut warnings);
            spans.push(RunSpan { parent, ordinal: names.ordinals.get(rank).copied().unwrap_or(1), ..span });
        }
        let children = ChildLists::of(spans.iter().map(|span| span.parent.map(SpanIx::index)));
        Some(Run { spans, root: SpanIx(0), warnings: warnings.counts, children })
    }

    /// The children of a span, in order of their starts.
    pub fn children(&self, ix: SpanIx) -> &[SpanIx] {
        self.children.of_parent(ix.index())
    }

    /// The span at `ix`, which must come from this run.
    pub fn span(&self, ix: SpanIx) -> &RunSpan {
        &self.spans[ix.index()]
    }

    /// The positions of all spans, in order.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = SpanIx> + ExactSizeIterator + use<> {
        (0..self.spans.len()).map(SpanIx::new)
    }

    /// From the start of the root to its end.
    pub fn wall(&self) -> Duration {
        self.span(self.root).clipped.duration()
    }
}

#[derive(Default)]
struct Warnings {
    counts: BTreeMap<Warning, u64>,
}

impl Warnings {
    fn add(&mut self, warning: Warning) {
        *self.counts.entry(warning).or_default() += 1;
    }
}

/// Brings the records into an order that depends on nothing but themselves, and drops repeated ones. From here on
/// a record goes by its rank in this order.
fn in_canonical_order(mut records: Vec<SpanRecord>, warnings: &mut Warnings) -> Vec<SpanRecord> {
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
struct IdOwners {
    owners: HashMap<SpanId, usize>,
    ordinals: Vec<u32>,
}

impl IdOwners {
    fn of(records: &[SpanRecord], warnings: &mut Warnings) -> Self {
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

/// Finds every record's parent, so that all of them hang below one top; adds that top where it is missing and says
/// whether it did.
fn one_tree(
    records: &mut Vec<SpanRecord>,
    names: &IdOwners,
    warnings: &mut Warnings,
) -> (Vec<Option<usize>>, bool) {
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

    match (&roots[..], &strays[..]) {
        ([root], strays) => {
            for &stray in strays {
                parents[stray] = Some(*root);
            }
            (parents, false)
        }
        ([], [_only]) => (parents, false),
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
            (parents, true)
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

/// The ranks in preorder, children of one parent by rank.
fn preorder(parents: &[Option<usize>]) -> Vec<usize> {
    let children = ChildLists::of(parents.iter().copied());
    let mut order = Vec::with_capacity(parents.len());
    let mut open: Vec<usize> = (0..parents.len()).filter(|&rank| parents[rank].is_none()).collect();
    while let Some(rank) = open.pop() {
        order.push(rank);
        open.extend(children.of_parent(rank).iter().rev().map(|child| child.index()));
    }
    order
}

/// Places a span within its parent, which is settled already.
fn settle(
    record: SpanRecord,
    parent: Option<&RunSpan>,
    is_synthetic: bool,
    warnings: &mut Warnings,
) -> RunSpan {
    let is_unfinished = record.end == Timestamp::EPOCH && record.start != Timestamp::EPOCH;
    let is_negative = !is_unfinished && record.end < record.start;
    if is_unfinished {
        warnings.add(Warning::UnfinishedSpan);
    }
    if is_negative {
        warnings.add(Warning::NegativeDuration);
    }
    let mut span = RunSpan {
        record,
        ordinal: 1,
        parent: None,
        clipped: Interval::default(),
        is_detached: false,
        outlives_parent: false,
        starts_before_parent: false,
        in_statistics: !is_unfinished && !is_negative && !is_synthetic,
        is_synthetic,
    };
    let Some(parent) = parent else {
        span.clipped = span.interval();
        return span;
    };

    let (own, around) = (span.interval(), parent.interval());
    span.starts_before_parent = !parent.is_detached && own.start < around.start;
    span.outlives_parent = !parent.is_detached && own.end > around.end;

    let running = span.run_interval();
    let inside = parent.clipped;
    // A span without length may stand on either edge of its parent; one with length must share time with it.
    let shared = if running.is_empty() {
        (inside.start <= running.start && running.start <= inside.end).then_some(running)
    } else {
        running.intersection(inside)
    };
    let is_handed_over = parent.record.kind == SpanKind::Producer && span.record.kind == SpanKind::Consumer;
    span.is_detached = parent.is_detached || is_handed_over || span.record.is_detached() || shared.is_none();
    let nowhere = running.start.clamp(inside.start, inside.end);
    span.clipped = shared.filter(|_| !span.is_detached).unwrap_or(Interval::new(nowhere, nowhere));
    span
}

/// The children of every span, one list after the other.
#[derive(Clone, Debug, PartialEq)]
struct ChildLists {
    /// Where the list of each span starts; one more at the end.
    starts: Vec<u32>,
    children: Vec<SpanIx>,
}

impl ChildLists {
    /// A counting sort of the spans by their parents; each list in ascending order.
    fn of(parents: impl ExactSizeIterator<Item = Option<usize>> + Clone) -> Self {
        let mut starts = vec![0; parents.len() + 1];
        for parent in parents.clone().flatten() {
            starts[parent + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut next = starts.clone();
        let mut children = vec![SpanIx(0); parents.clone().flatten().count()];
        for (child, parent) in parents.enumerate() {
            if let Some(parent) = parent {
                children[next[parent] as usize] = SpanIx::new(child);
                next[parent] += 1;
            }
        }
        ChildLists { starts, children }
    }

    fn of_parent(&self, parent: usize) -> &[SpanIx] {
        &self.children[self.starts[parent] as usize..self.starts[parent + 1] as usize]
    }
}
