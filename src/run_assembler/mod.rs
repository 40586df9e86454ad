//! Records in any order → finished runs.
//!
//! Live, every record says how many children were started under it, so a run is known to be whole as soon as its
//! root and everything below it has arrived; nothing waits for silence. What does not arrive ends the wait after a
//! grace period. Decoded traces say nothing of the sort: they are cut into runs when the input ends.
//!
//! What a run is: the outermost span marked with a workflow name, else the local root (live) or the whole trace
//! (decoded). Spans outside the outermost marked ones of a trace belong to no run.
//!
//! Time is an argument, memory is bounded, and no call costs more than the records it hands back, but for
//! [`RunAssembler::poll`], which looks again at roots still waiting.

mod cutting;

use std::collections::VecDeque;
use std::sync::Arc;

use self::cutting::cut_into_runs;
use crate::hashing::{QuickMap, QuickSet};
use crate::ids::{SpanId, TraceId};
use crate::span_record::SpanRecord;
use crate::time::{Duration, Timestamp};

/// How much an assembler keeps and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblerConfig {
    /// How long a closed root waits for spans of its run that have not arrived. More catches more stragglers,
    /// less tells sooner. Default [`AssemblerConfig::GRACE`].
    pub grace: Duration,
    /// How many spans of one trace are kept for analysis. Default [`AssemblerConfig::MAX_RUN_SPANS`].
    pub max_run_spans: usize,
    /// How many bytes all kept records may take together, roughly. Default [`AssemblerConfig::MAX_BYTES`].
    pub max_bytes: usize,
}

impl AssemblerConfig {
    /// Two seconds.
    pub const GRACE: Duration = Duration::from_secs(2);
    /// One million.
    pub const MAX_RUN_SPANS: usize = 1_000_000;
    /// 256 MiB.
    pub const MAX_BYTES: usize = 256 << 20;
    /// A trace with more spans than this under an unmarked root gets [`Advice`].
    pub const LARGE_TRACE_SPANS: usize = 100_000;
    /// A trace whose unmarked root is open longer than this gets [`Advice`].
    pub const LONG_TRACE: Duration = Duration::from_secs(600);
}

impl Default for AssemblerConfig {
    fn default() -> Self {
        AssemblerConfig { grace: Self::GRACE, max_run_spans: Self::MAX_RUN_SPANS, max_bytes: Self::MAX_BYTES }
    }
}

/// A run whose spans are all here, or as many as there will be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FinishedRun {
    /// Its spans in order of arrival.
    pub records: Vec<SpanRecord>,
    /// Its root, where one span is it.
    pub root: Option<SpanId>,
    /// How many spans were started in it, as far as its process can tell. Zero for decoded traces: their roots tell.
    pub started: u64,
    /// Spans that were started in it and are not among its records: they did not arrive, or what they stand below did
    /// not.
    pub missing: u64,
    /// Spans of its trace that were not kept because it was too large.
    pub left_out: u64,
}

/// A trace that grows large or old under a root that is not marked as a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The trace.
    pub trace_id: TraceId,
    /// How many of its spans wait for the root.
    pub spans: usize,
}

/// Sorts records into runs.
#[derive(Debug, Default)]
pub struct RunAssembler {
    config: AssemblerConfig,
    traces: QuickMap<TraceId, Pending>,
    /// Traces with a closed root that still waits, oldest first.
    closing: Vec<TraceId>,
    /// Traces whose last run ended with spans missing: what still comes is late.
    ended_short: VecDeque<TraceId>,
    advice: Vec<Advice>,
    dismissed: Vec<FinishedRun>,
    bytes: usize,
    arrivals: u64,
    late: u64,
}

/// What has arrived of one trace and is in no finished run yet.
#[derive(Debug, Default)]
struct Pending {
    /// Records in order of arrival that are not in `below` yet: where no root closes, none ever is.
    unsorted: Vec<Arrived>,
    /// Records by parent id, so that a subtree is taken out without looking at the rest.
    below: QuickMap<Option<SpanId>, Vec<Arrived>>,
    closed_roots: Vec<ClosedRoot>,
    /// Children of kept spans that left with a run of their own, by parent.
    left_with_a_run: QuickMap<SpanId, u64>,
    spans: usize,
    left_out: u64,
    first_arrival: Timestamp,
    changed: bool,
    has_got_advice: bool,
}

#[derive(Debug)]
struct Arrived {
    ordinal: u64,
    record: SpanRecord,
}

#[derive(Debug)]
struct ClosedRoot {
    ordinal: u64,
    record: SpanRecord,
    deadline: Timestamp,
}

/// How many traces that ended short are remembered.
const ENDED_SHORT: usize = 1_024;

impl RunAssembler {
    /// An empty assembler.
    pub fn new(config: AssemblerConfig) -> Self {
        RunAssembler { config, ..Self::default() }
    }

    /// Takes in a record. `now` is any clock, as long as every call uses the same.
    ///
    /// # Errors
    /// Hands the record back if it is not kept: its run holds too many spans, or all runs together too many bytes.
    /// It is counted as left out of its run; the caller can still add it to sums.
    #[allow(clippy::result_large_err, reason = "the record goes back to where it came from, unboxed")]
    pub fn push(&mut self, record: SpanRecord, now: Timestamp) -> Result<(), SpanRecord> {
        let trace_id = record.trace_id;
        let local = record.local.unwrap_or_default();
        let closes_a_run = local.is_local_root || local.is_outermost_marked;
        let may_be_late = !closes_a_run && !self.ended_short.is_empty();
        if may_be_late && !self.traces.contains_key(&trace_id) && self.ended_short.contains(&trace_id) {
            self.late = self.late.saturating_add(1);
            return Ok(());
        }
        let pending = self
            .traces
            .entry(trace_id)
            .or_insert_with(|| Pending { first_arrival: now, ..Pending::default() });
        let is_full = pending.spans >= self.config.max_run_spans || self.bytes >= self.config.max_bytes;
        if is_full && !closes_a_run {
            pending.left_out = pending.left_out.saturating_add(1);
            return Err(record);
        }
        self.arrivals = self.arrivals.saturating_add(1);
        self.bytes = self.bytes.saturating_add(record.weight());
        pending.spans = pending.spans.saturating_add(1);
        pending.changed = true;
        if closes_a_run {
            let deadline = now.saturating_add(self.config.grace);
            pending.closed_roots.push(ClosedRoot { ordinal: self.arrivals, record, deadline });
            if !self.closing.contains(&trace_id) {
                self.closing.push(trace_id);
            }
        } else {
            pending.unsorted.push(Arrived { ordinal: self.arrivals, record });
            let is_long = now.saturating_since(pending.first_arrival) > AssemblerConfig::LONG_TRACE;
            let is_large = pending.spans > AssemblerConfig::LARGE_TRACE_SPANS;
            if !pending.has_got_advice && (is_large || is_long) {
                pending.has_got_advice = true;
                self.advice.push(Advice { trace_id, spans: pending.spans });
            }
        }
        Ok(())
    }

    /// The runs that are whole, or whose grace period is over at `now`. Call after each batch of records, and
    /// when the deadline of [`RunAssembler::next_deadline`] has come.
    pub fn poll(&mut self, now: Timestamp) -> Vec<FinishedRun> {
        self.close_roots(|root| root.deadline <= now)
    }

    /// The runs whose roots have closed, whole or not: ends every grace period.
    pub fn end_grace(&mut self) -> Vec<FinishedRun> {
        self.close_roots(|_| true)
    }

    /// Everything that is left, cut into runs: for the end of a file, or of a program. In order of arrival.
    pub fn finish(&mut self) -> Vec<FinishedRun> {
        let mut runs = self.end_grace();
        let mut left: Vec<(u64, TraceId)> =
            self.traces.iter().filter_map(|(id, pending)| Some((pending.first_ordinal()?, *id))).collect();
        left.sort_unstable();
        for (_, trace_id) in left {
            let Some(mut pending) = self.traces.remove(&trace_id) else { continue };
            let made_a_run = !pending.left_with_a_run.is_empty();
            let left_out = pending.left_out;
            let cut = cut_into_runs(pending.take_all(), made_a_run);
            runs.extend(cut.into_iter().map(|run| FinishedRun { left_out, ..run }));
        }
        self.bytes = 0;
        self.traces.clear();
        runs
    }

    /// When the next grace period ends; `None` if no closed root waits.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let waiting = self.closing.iter().filter_map(|id| self.traces.get(id));
        waiting.flat_map(|pending| &pending.closed_roots).map(|root| root.deadline).min()
    }

    /// How many records wait to become part of a run.
    pub fn waiting_spans(&self) -> u64 {
        let waiting = |pending: &Pending| pending.spans.saturating_add(pending.closed_roots.len()) as u64;
        self.traces.values().map(waiting).sum()
    }

    /// How many records came after their run was handed out.
    pub fn late_spans(&self) -> u64 {
        self.late
    }

    /// What to tell the user about traces that grow without end; each trace once.
    pub fn take_advice(&mut self) -> Vec<Advice> {
        std::mem::take(&mut self.advice)
    }

    /// What is left of local roots that closed around marked runs and are none themselves, each once. The roots may be
    /// sent: nothing is reported on them.
    pub fn take_dismissed(&mut self) -> Vec<FinishedRun> {
        std::mem::take(&mut self.dismissed)
    }

    fn close_roots(&mut self, is_due: impl Fn(&ClosedRoot) -> bool) -> Vec<FinishedRun> {
        let mut runs = Vec::new();
        let mut still_closing = Vec::new();
        for trace_id in std::mem::take(&mut self.closing) {
            let Some(pending) = self.traces.get_mut(&trace_id) else { continue };
            pending.sort();
            let before = runs.len();
            let mut freed = 0usize;
            let looked_at = std::mem::take(&mut pending.changed);
            // Inner roots first: what leaves with a marked run is not waited for by the root around it.
            pending.closed_roots.sort_by_key(|root| (!root.is_marked(), root.ordinal));
            let is_only_root = pending.closed_roots.len() == 1;
            for root in std::mem::take(&mut pending.closed_roots) {
                let due = is_due(&root);
                let missing = if due || looked_at { pending.missing_below(&root.record) } else { u64::MAX };
                if !due && missing > 0 {
                    pending.closed_roots.push(root);
                    continue;
                }
                let is_marked = root.is_marked();
                let (run, runs_inside) = pending.take_run(root, missing, is_only_root);
                freed = run.records.iter().map(SpanRecord::weight).fold(freed, usize::saturating_add);
                if is_marked || runs_inside == 0 {
                    runs.push(run);
                } else {
                    self.dismissed.push(run);
                }
            }
            self.bytes = self.bytes.saturating_sub(freed);
            let ended_short = runs.iter().skip(before).any(|run| run.missing > 0);
            // A trace from which runs have left is remembered until the root around them closes.
            let is_empty = pending.spans == 0 && pending.left_with_a_run.is_empty();
            if !pending.closed_roots.is_empty() {
                still_closing.push(trace_id);
            }
            if is_empty {
                self.traces.remove(&trace_id);
            }
            if ended_short {
                self.ended_short.push_back(trace_id);
                if self.ended_short.len() > ENDED_SHORT {
                    self.ended_short.pop_front();
                }
            }
        }
        self.closing = still_closing;
        runs
    }
}

impl ClosedRoot {
    fn is_marked(&self) -> bool {
        self.record.local.is_some_and(|local| local.is_outermost_marked)
    }
}

/// Of these spans the one with this id and all below it, for a report on a part of a trace; the root loses its
/// parent. None if no span has the id. O(n).
pub fn only_below(spans: Vec<SpanRecord>, root: SpanId) -> Vec<SpanRecord> {
    let mut children: QuickMap<(TraceId, SpanId), Vec<SpanId>> = QuickMap::default();
    for span in &spans {
        if let Some(parent) = span.parent_id {
            children.entry((span.trace_id, parent)).or_default().push(span.span_id);
        }
    }
    let tops = spans.iter().filter(|span| span.span_id == root);
    let mut open: Vec<(TraceId, SpanId)> = tops.map(|span| (span.trace_id, root)).collect();
    let mut kept: QuickSet<(TraceId, SpanId)> = QuickSet::default();
    while let Some((trace_id, id)) = open.pop() {
        if kept.insert((trace_id, id)) {
            let below = children.get(&(trace_id, id)).into_iter().flatten();
            open.extend(below.map(|child| (trace_id, *child)));
        }
    }
    let below = spans.into_iter().filter(|span| kept.contains(&(span.trace_id, span.span_id)));
    below
        .map(|mut span| {
            span.parent_id = span.parent_id.filter(|_| span.span_id != root);
            span
        })
        .collect()
}

impl FinishedRun {
    /// The root, where one span is it.
    pub fn root_record(&self) -> Option<&SpanRecord> {
        match self.root {
            Some(root) => self.records.iter().find(|record| record.span_id == root),
            None => {
                let mut tops = self.records.iter().filter(|record| record.parent_id.is_none());
                tops.next().filter(|_| tops.next().is_none())
            }
        }
    }

    /// The workflow its root is marked with, else the name of its root: what runs of one kind have in common.
    pub fn name(&self) -> Option<&Arc<str>> {
        let root = self.root_record()?;
        Some(root.workflow_name().unwrap_or(&root.name))
    }

    fn of(mut arrived: Vec<Arrived>, root: Option<SpanId>) -> Self {
        arrived.sort_unstable_by_key(|arrived| arrived.ordinal);
        let records = arrived.into_iter().map(|arrived| arrived.record).collect();
        FinishedRun { records, root, ..FinishedRun::default() }
    }
}

impl Pending {
    /// Makes the records that came since the last time ready for subtrees to be taken out.
    fn sort(&mut self) {
        for arrived in self.unsorted.drain(..) {
            self.below.entry(arrived.record.parent_id).or_default().push(arrived);
        }
    }

    fn first_ordinal(&self) -> Option<u64> {
        let sorted = self.below.values().flatten().map(|arrived| arrived.ordinal).min();
        sorted.into_iter().chain(self.unsorted.first().map(|arrived| arrived.ordinal)).min()
    }

    /// Takes out everything, in order of arrival.
    fn take_all(&mut self) -> Vec<SpanRecord> {
        let mut all = std::mem::take(&mut self.unsorted);
        if !self.below.is_empty() {
            all.extend(std::mem::take(&mut self.below).into_values().flatten());
            all.sort_unstable_by_key(|arrived| arrived.ordinal);
        }
        all.into_iter().map(|arrived| arrived.record).collect()
    }

    /// How many spans under `root` were started and are not here.
    fn missing_below(&self, root: &SpanRecord) -> u64 {
        let mut missing = 0u64;
        let mut stack = vec![root];
        while let Some(parent) = stack.pop() {
            let here = self.below.get(&Some(parent.span_id)).map_or(&[][..], Vec::as_slice);
            let gone = self.left_with_a_run.get(&parent.span_id).copied().unwrap_or(0);
            let started = parent.local.map_or(0, |local| u64::from(local.children));
            missing = missing.saturating_add(started.saturating_sub(gone).saturating_sub(here.len() as u64));
            stack.extend(here.iter().map(|arrived| &arrived.record));
        }
        missing
    }

    /// Takes out the run of `root`, which has so many spans `missing` below it; says also how many marked runs have left
    /// from there before. `is_only_root`: what stays behind is below no other root that waits.
    fn take_run(&mut self, root: ClosedRoot, mut missing: u64, is_only_root: bool) -> (FinishedRun, u64) {
        let root_id = root.record.span_id;
        let is_local_root = root.record.local.is_some_and(|local| local.is_local_root);
        let (mut arrived, runs_inside) = self.take_below(root_id);
        if let Some(parent) = root.record.parent_id.filter(|_| !is_local_root) {
            let gone = self.left_with_a_run.entry(parent).or_default();
            *gone = gone.saturating_add(1);
        }
        arrived.push(Arrived { ordinal: root.ordinal, record: root.record });
        self.spans = self.spans.saturating_sub(arrived.len());
        if missing > 0 && is_local_root && is_only_root {
            // What stays behind stands below spans that are missing.
            missing = missing.saturating_add(self.spans as u64);
        }
        let started = missing.saturating_add(arrived.len() as u64);
        let left_out = std::mem::take(&mut self.left_out);
        // Spans that were left out were started too: they are told as left out, not as missing.
        let missing = missing.saturating_sub(left_out);
        (FinishedRun { started, missing, left_out, ..FinishedRun::of(arrived, Some(root_id)) }, runs_inside)
    }

    /// Takes out everything below `root`, and says how many runs have left from there. Ends on cycles too, since
    /// what is taken out is not met again.
    fn take_below(&mut self, root: SpanId) -> (Vec<Arrived>, u64) {
        let mut taken = Vec::new();
        let mut runs_inside = 0u64;
        let mut parents = vec![root];
        while let Some(parent) = parents.pop() {
            runs_inside = runs_inside.saturating_add(self.left_with_a_run.remove(&parent).unwrap_or(0));
            if let Some(children) = self.below.remove(&Some(parent)) {
                parents.extend(children.iter().map(|child| child.record.span_id));
                if taken.is_empty() {
                    taken = children;
                } else {
                    taken.extend(children);
                }
            }
        }
        (taken, runs_inside)
    }
}
