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

mod dependencies;
mod lists;
mod options;
mod placing;
mod skew;
mod tree;

use std::collections::BTreeMap;
use std::fmt;

pub use self::dependencies::{Dependency, DependencyUse};
use self::lists::Lists;
pub use self::options::{AsyncChildren, Links, Orphans, RunOptions, Skew, Tolerance};
use self::tree::{IdOwners, Ranked, Tree};
use crate::span_record::SpanRecord;
use crate::time::{Duration, Interval};

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
    /// How it was made of its spans.
    pub options: RunOptions,
    /// Who declared to wait for whom, in order of those who wait.
    pub dependencies: Vec<Dependency>,
    children: Lists,
    predecessors: Lists,
}

/// One span of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSpan {
    /// The span as it arrived; its times as corrected, if [`Skew::Center`] moved it.
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
    /// It never ended.
    pub is_unfinished: bool,
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
    /// A span was moved because its host's clock differs.
    SkewCorrected,
    /// A span declared to wait for one that was not over when it started; the order of time is used instead.
    EdgeContradicted,
    /// A span declared to wait for a node that is not in the run.
    UnknownDependency,
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
            Warning::SkewCorrected => "skew_corrected",
            Warning::EdgeContradicted => "edge_contradicted",
            Warning::UnknownDependency => "unknown_dependency",
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
        Run::with_options(records, &RunOptions::default())
    }

    /// The same with other readings of what can be read in more than one way.
    ///
    /// A span that declares what it waited for (`node.depends_on`, a link marked as a dependency, any link with
    /// [`Links::AsDeps`]) waited for that, and not for whatever else happened to end before; see
    /// [`Run::predecessors`]. What it names must be a sibling that was over when it started.
    pub fn with_options(records: Vec<SpanRecord>, options: &RunOptions) -> Option<Run> {
        let mut warnings = Warnings::default();
        let mut records = tree::in_canonical_order(records, &mut warnings);
        if records.len() == 0 {
            return None;
        }
        let names = IdOwners::of(&records, &mut warnings);
        let tree = tree::one_tree(&mut records, &names, options.orphans, &mut warnings);
        let moved = match options.skew {
            Skew::Center { max } => skew::center(&mut records, &tree.parents, max),
            _ => 0,
        };
        warnings.add_times(Warning::SkewCorrected, moved);
        let order = tree::preorder(&records, &tree, moved > 0);
        let mut spans = in_preorder(records, &order, &tree, &names, &mut warnings);
        placing::place(&mut spans, options.async_children);
        let children = Lists::of_children(spans.iter().map(|span| span.parent.map(SpanIx::index)));
        let dependencies = dependencies::find(&spans, options.links, &mut warnings);
        let used = dependencies.iter().filter(|dependency| dependency.used == DependencyUse::Kept);
        let predecessors =
            Lists::of_pairs(spans.len(), used.map(|dependency| (dependency.span.index(), dependency.on)));
        let warnings = warnings.counts;
        Some(Run {
            spans,
            root: SpanIx(0),
            warnings,
            options: *options,
            dependencies,
            children,
            predecessors,
        })
    }

    /// The children of a span, in order of their starts.
    pub fn children(&self, ix: SpanIx) -> &[SpanIx] {
        self.children.of(ix.index())
    }

    /// The siblings a span declared to have waited for and that were over when it started. Empty where it declared
    /// none of use: then the order of time tells.
    pub fn predecessors(&self, ix: SpanIx) -> &[SpanIx] {
        self.predecessors.of(ix.index())
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

/// Puts the records into this order, each with the position of its parent.
fn in_preorder(
    records: Ranked,
    order: &[usize],
    tree: &Tree,
    names: &IdOwners,
    warnings: &mut Warnings,
) -> Vec<RunSpan> {
    let mut position_of = vec![0; records.len()];
    for (position, &rank) in order.iter().enumerate() {
        position_of[rank] = position;
    }
    let mut spans = Vec::with_capacity(order.len());
    for (&rank, record) in order.iter().zip(records.into_records(order)) {
        let parent = tree.parents[rank].map(|parent| SpanIx::new(position_of[parent]));
        let ordinal = names.ordinals.get(rank).copied().unwrap_or(1);
        let is_synthetic = tree.is_synthetic && rank == tree.top;
        spans.push(RunSpan { parent, ..placing::alone(record, ordinal, is_synthetic, warnings) });
    }
    spans
}

#[derive(Default)]
struct Warnings {
    counts: BTreeMap<Warning, u64>,
}

impl Warnings {
    fn add(&mut self, warning: Warning) {
        self.add_times(warning, 1);
    }

    fn add_times(&mut self, warning: Warning, times: u64) {
        if times > 0 {
            *self.counts.entry(warning).or_default() += times;
        }
    }
}
