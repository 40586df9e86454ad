//! One run as a tree of spans in an index arena, made from records of any order and any quality.
//!
//! Odd input never fails: it is put right by fixed rules, and each rule that had to act is counted as a
//! [`Warning`]. In this order:
//!
//! 1. *Duplicates.* A record that repeats another in id, parent, name and times is dropped. Different records of
//!    one id are all kept; the one that starts first owns the id and its children, the others become leaves.
//! 2. *Times.* A span without an end, or that ends before it starts, has no length and is left out of statistics.
//! 3. *Parents* are looked for in the run only. 4. *Cycles* are cut at their earliest member.
//! 5. *Strays* (missing parent, cut cycle) are adopted by the only root, if there is just one.
//! 6. *Several tops* get a synthetic root around them.
//! 7. *Clipping*, from the top: a child counts where it overlaps its parent, because a parent that has ended did
//!    not wait. A child that does not overlap is *detached* with all below it, and so is one whose parent handed
//!    work over (producer to consumer) or that is marked detached.
//!
//! A span occupies its parent from when it first ran, not from its creation: being queued blocks nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ids::{SpanId, TraceId};
use crate::span_record::{Origin, SpanKind, SpanRecord, Status, Timing};
use crate::time::{Duration, Interval, Timestamp};

/// The position of a span in [`Run::spans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanIx(u32);

impl SpanIx {
    /// The position as a number.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name of a root that stands for a trace with several tops.
pub const SYNTHETIC_ROOT: &str = "«trace»";

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its spans; parents may come after their children.
    pub spans: Vec<RunSpan>,
    /// The span everything else is below.
    pub root: SpanIx,
    /// What had to be put right.
    pub warnings: BTreeMap<Warning, u64>,
    /// Children of span `i`: `children[first_child[i]..first_child[i + 1]]`.
    first_child: Vec<u32>,
    children: Vec<SpanIx>,
}

/// A span in its run.
#[derive(Clone, Debug)]
pub struct RunSpan {
    /// The span; a time that made no sense is put right.
    pub record: SpanRecord,
    /// 1, or 2 and so on for further records of one id.
    pub ordinal: u32,
    /// The span above it; `None` for the root alone.
    pub parent: Option<SpanIx>,
    /// Where it occupies its parent: from its first running to its end, within the parent. For detached spans
    /// within nothing.
    pub clipped: Interval,
    /// Whether nobody waited for it.
    pub is_detached: bool,
    /// Whether it ended after its parent.
    pub outlives_parent: bool,
    /// Whether it started before its parent.
    pub starts_before_parent: bool,
    /// Whether its duration means anything.
    pub in_statistics: bool,
    /// Whether it was made up to hold several tops.
    pub is_synthetic: bool,
}

/// What can be odd about a run's spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The same record twice.
    DuplicateSpan,
    /// Different records with one id.
    ConflictingSpanId,
    /// A span without an end.
    UnfinishedSpan,
    /// A span that ends before it starts.
    NegativeDuration,
    /// A span whose parent is not in the run.
    MissingParent,
    /// Spans that are each other's parents.
    ParentCycle,
    /// More than one span without a parent.
    MultipleRoots,
}

impl Warning {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
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

impl RunSpan {
    fn new(record: SpanRecord, ordinal: u32) -> Self {
        RunSpan {
            record,
            ordinal,
            parent: None,
            clipped: Interval::default(),
            is_detached: false,
            outlives_parent: false,
            starts_before_parent: false,
            in_statistics: true,
            is_synthetic: false,
        }
    }

    /// From creation to end.
    pub fn whole(&self) -> Interval {
        Interval::new(self.record.start, self.record.end)
    }

    /// From first running to end.
    pub fn running(&self) -> Interval {
        let whole = self.whole();
        Interval::new(whole.start.saturating_add(self.record.timing.queued).min(whole.end), whole.end)
    }
}

impl Run {
    /// Builds the run of `records`, which are of one trace. `None` if there are none. O(n log n).
    pub fn from_records(records: Vec<SpanRecord>) -> Option<Run> {
        let mut builder = Builder { spans: Vec::with_capacity(records.len() + 1), warnings: BTreeMap::new() };
        let owners = builder.without_duplicates(records);
        builder.put_times_right();
        let mut strays = builder.find_parents(&owners);
        strays.extend(builder.cut_cycles());
        let root = builder.find_root(strays)?;
        let mut run = builder.into_run(root);
        run.clip();
        Some(run)
    }

    /// The span at `ix`.
    pub fn span(&self, ix: SpanIx) -> &RunSpan {
        &self.spans[ix.index()]
    }

    /// The spans below `ix`, by start, then end.
    pub fn children(&self, ix: SpanIx) -> &[SpanIx] {
        let (from, to) = (self.first_child[ix.index()], self.first_child[ix.index() + 1]);
        &self.children[from as usize..to as usize]
    }

    /// Every position.
    pub fn indices(&self) -> impl Iterator<Item = SpanIx> + use<> {
        (0..self.spans.len() as u32).map(SpanIx)
    }

    /// From the root's start to its end.
    pub fn wall(&self) -> Duration {
        self.span(self.root).clipped.duration()
    }

    /// Every span below the root, each after its parent.
    pub fn top_down(&self) -> Vec<SpanIx> {
        let mut order = Vec::with_capacity(self.spans.len());
        order.push(self.root);
        let mut next = 0;
        while let Some(ix) = order.get(next).copied() {
            order.extend_from_slice(self.children(ix));
            next += 1;
        }
        order
    }

    fn clip(&mut self) {
        let root = self.root.index();
        self.spans[root].clipped = self.spans[root].whole();
        for ix in self.top_down() {
            let Some(parent) = self.span(ix).parent else { continue };
            let parent = self.span(parent);
            let (bounds, above) = (parent.clipped, parent.whole());
            let hands_over = parent.record.kind == SpanKind::Producer;
            let is_above_detached = parent.is_detached;
            let span = &mut self.spans[ix.index()];
            let running = span.running();
            span.starts_before_parent = !is_above_detached && span.record.start < above.start;
            span.outlives_parent = !is_above_detached && running.end > above.end;
            let is_handed_over = hands_over && span.record.kind == SpanKind::Consumer;
            let within = match running.intersection(bounds) {
                Some(within) => Some(within),
                None if running.is_empty()
                    && bounds.start <= running.start
                    && running.start <= bounds.end =>
                {
                    Some(running)
                }
                None => None,
            };
            let blocks = !is_above_detached && !is_handed_over && !span.record.is_detached();
            match within.filter(|_| blocks) {
                Some(within) => span.clipped = within,
                None => {
                    span.clipped = running;
                    span.is_detached = true;
                }
            }
        }
    }
}

struct Builder {
    spans: Vec<RunSpan>,
    warnings: BTreeMap<Warning, u64>,
}

impl Builder {
    fn warn(&mut self, warning: Warning) {
        *self.warnings.entry(warning).or_default() += 1;
    }

    fn span(&self, ix: SpanIx) -> &RunSpan {
        &self.spans[ix.index()]
    }

    /// Rule 1. Gives the owner of each id.
    fn without_duplicates(&mut self, mut records: Vec<SpanRecord>) -> HashMap<SpanId, SpanIx> {
        // Sorting brings the records of one id together, the owner first, and makes the order of arrival count for
        // nothing.
        records.sort_by(|a, b| {
            let length = |r: &SpanRecord| r.end.saturating_since(r.start);
            a.span_id
                .cmp(&b.span_id)
                .then(a.start.cmp(&b.start))
                .then_with(|| length(b).cmp(&length(a)))
                .then(b.end.cmp(&a.end))
                .then_with(|| a.name.cmp(&b.name))
                .then(a.parent_id.cmp(&b.parent_id))
        });
        let mut owners = HashMap::with_capacity(records.len());
        for record in records {
            let last = self.spans.last().filter(|last| last.record.span_id == record.span_id);
            let ordinal = match last {
                None => 1,
                Some(last) if is_repeat(&last.record, &record) => {
                    self.warn(Warning::DuplicateSpan);
                    continue;
                }
                Some(last) => {
                    let ordinal = last.ordinal + 1;
                    self.warn(Warning::ConflictingSpanId);
                    ordinal
                }
            };
            let ix = SpanIx(self.spans.len() as u32);
            owners.entry(record.span_id).or_insert(ix);
            self.spans.push(RunSpan::new(record, ordinal));
        }
        owners
    }

    /// Rule 2.
    fn put_times_right(&mut self) {
        for at in 0..self.spans.len() {
            let record = &mut self.spans[at].record;
            if record.end >= record.start {
                continue;
            }
            let warning = if record.end == Timestamp::EPOCH {
                Warning::UnfinishedSpan
            } else {
                Warning::NegativeDuration
            };
            record.end = record.start;
            self.spans[at].in_statistics = false;
            self.warn(warning);
        }
    }

    /// Rule 3. Gives the spans whose parent is missing.
    fn find_parents(&mut self, owners: &HashMap<SpanId, SpanIx>) -> Vec<SpanIx> {
        let mut strays = Vec::new();
        for at in 0..self.spans.len() {
            let Some(parent_id) = self.spans[at].record.parent_id.filter(|id| !id.is_zero()) else {
                continue;
            };
            self.spans[at].parent = owners.get(&parent_id).copied();
            if self.spans[at].parent.is_none() {
                self.warn(Warning::MissingParent);
                strays.push(SpanIx(at as u32));
            }
        }
        strays
    }

    /// Rule 4. Gives the spans that were cut loose.
    fn cut_cycles(&mut self) -> Vec<SpanIx> {
        /// Not looked at, on the way up from the span of this number, done.
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            OnWay(u32),
            Done,
        }
        let mut marks = vec![Mark::New; self.spans.len()];
        let mut cut = Vec::new();
        for from in 0..self.spans.len() as u32 {
            let mut way = Vec::new();
            let mut at = Some(SpanIx(from));
            while let Some(ix) = at {
                match marks[ix.index()] {
                    Mark::New => {
                        marks[ix.index()] = Mark::OnWay(from);
                        way.push(ix);
                        at = self.span(ix).parent;
                    }
                    Mark::OnWay(same) if same == from => {
                        let start = way.iter().position(|on_way| *on_way == ix).unwrap_or(0);
                        let earliest = way[start..].iter().min_by_key(|ix| {
                            let record = &self.span(**ix).record;
                            (record.start, record.name.clone(), record.span_id)
                        });
                        if let Some(earliest) = earliest.copied() {
                            self.spans[earliest.index()].parent = None;
                            self.warn(Warning::ParentCycle);
                            cut.push(earliest);
                        }
                        break;
                    }
                    _ => break,
                }
            }
            for ix in way {
                marks[ix.index()] = Mark::Done;
            }
        }
        cut
    }

    /// Rules 5 and 6.
    fn find_root(&mut self, strays: Vec<SpanIx>) -> Option<SpanIx> {
        let all = || (0..self.spans.len() as u32).map(SpanIx);
        let is_stray: std::collections::HashSet<SpanIx> = strays.iter().copied().collect();
        let tops: Vec<SpanIx> = all().filter(|ix| self.span(*ix).parent.is_none()).collect();
        let mut roots = tops.iter().copied().filter(|ix| !is_stray.contains(ix));
        if let (Some(root), None) = (roots.next(), roots.next()) {
            for stray in strays {
                self.spans[stray.index()].parent = Some(root);
            }
            return Some(root);
        }
        if tops.len() <= 1 {
            return tops.first().copied();
        }
        self.warn(Warning::MultipleRoots);
        let start = tops.iter().map(|ix| self.span(*ix).record.start).min()?;
        let end = tops.iter().map(|ix| self.span(*ix).record.end).max()?;
        let root = SpanIx(self.spans.len() as u32);
        let first = &self.span(*tops.first()?).record;
        let mut synthetic = RunSpan::new(synthetic_root(first.trace_id, &first.origin, start, end), 1);
        synthetic.is_synthetic = true;
        synthetic.in_statistics = false;
        self.spans.push(synthetic);
        for top in tops {
            self.spans[top.index()].parent = Some(root);
        }
        Some(root)
    }

    fn into_run(self, root: SpanIx) -> Run {
        let mut first_child = vec![0u32; self.spans.len() + 1];
        for parent in self.spans.iter().filter_map(|span| span.parent) {
            first_child[parent.index() + 1] += 1;
        }
        for at in 1..first_child.len() {
            first_child[at] += first_child[at - 1];
        }
        let mut next = first_child.clone();
        let mut children = vec![root; self.spans.len() - 1];
        for (at, span) in self.spans.iter().enumerate() {
            if let Some(parent) = span.parent {
                let slot = &mut next[parent.index()];
                children[*slot as usize] = SpanIx(at as u32);
                *slot += 1;
            }
        }
        let mut run = Run { spans: self.spans, root, warnings: self.warnings, first_child, children };
        for parent in 0..run.spans.len() {
            let (from, to) = (run.first_child[parent] as usize, run.first_child[parent + 1] as usize);
            let spans = &run.spans;
            run.children[from..to].sort_by_key(|ix| {
                let span = &spans[ix.index()];
                (span.running().start, span.record.end, span.record.span_id, span.ordinal)
            });
        }
        run
    }
}

fn is_repeat(a: &SpanRecord, b: &SpanRecord) -> bool {
    (a.span_id, a.parent_id, a.start, a.end) == (b.span_id, b.parent_id, b.start, b.end) && a.name == b.name
}

fn synthetic_root(trace_id: TraceId, origin: &Arc<Origin>, start: Timestamp, end: Timestamp) -> SpanRecord {
    SpanRecord {
        trace_id,
        span_id: SpanId::default(),
        parent_id: None,
        name: SYNTHETIC_ROOT.into(),
        kind: SpanKind::Internal,
        start,
        end,
        status: Status::Unset,
        timing: Timing::default(),
        facts: None,
        origin: origin.clone(),
        local: None,
    }
}
