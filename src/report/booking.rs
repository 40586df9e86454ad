//! Which node each span of a run belongs to, and what each node's executions add up to.
//!
//! The walk, self time and the event graph run over all spans; here their results are booked to nodes. A span that
//! is no node gives its own time to the nearest enclosing node, as a phase of it, and to no node where there is
//! none. If no span of the run is marked as a node, every span is one under its own name. The root's own time
//! belongs to no node: nothing in the run explains it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::analysis::time_breakdown::peak_concurrency;
use crate::histogram::DurationStats;
use crate::money::Money;
use crate::report::Tokens;
use crate::report::charges::Charges;
use crate::report::node_names::NodeNames;
use crate::run::{Run, RunSpan, SpanIx};
use crate::span_record::SpanRecord;
use crate::time::{Duration, Interval, Timestamp};

/// A position in [`Booking::nodes`].
pub(crate) type NodeIx = usize;

/// The nodes of a run, and the owner of each span.
#[derive(Debug)]
pub(crate) struct Booking {
    /// Every node, in order of the first end of an execution: the order in which they were recorded.
    pub(crate) nodes: Vec<NodeTally>,
    /// For each span the execution it belongs to: itself if it is a node.
    pub(crate) execution_of: Vec<Option<SpanIx>>,
    /// For each span the node of that execution.
    pub(crate) node_of: Vec<Option<NodeIx>>,
    /// What the run cost, spans outside every node included.
    pub(crate) cost: Option<Money>,
    /// What tokens it used, likewise.
    pub(crate) tokens: Option<Tokens>,
    /// Which spans are charged for what.
    pub(crate) charges: Charges,
    /// For each span whether it is an execution that is a second or later try.
    pub(crate) is_retry: Vec<bool>,
}

/// What one node's executions add up to.
#[derive(Debug, Default)]
pub(crate) struct NodeTally {
    pub(crate) name: Arc<str>,
    pub(crate) executions: Vec<SpanIx>,
    /// Durations as recorded, queueing included.
    pub(crate) durations: DurationStats,
    /// The same without queueing.
    pub(crate) running: Duration,
    pub(crate) failures: u64,
    pub(crate) retries: u64,
    pub(crate) queued: Duration,
    pub(crate) busy: Option<Duration>,
    pub(crate) self_time: Duration,
    pub(crate) cost: Option<Money>,
    pub(crate) tokens: Option<Tokens>,
    /// Conversation turns its executions say they took.
    pub(crate) turns: Option<u64>,
    pub(crate) kind: String,
    /// The model most of its calls used.
    pub(crate) model: Option<Arc<str>>,
    pub(crate) peak_concurrency: u64,
    /// The spans inside that are no nodes, by name.
    pub(crate) phases: BTreeMap<Arc<str>, PhaseTally>,
    pub(crate) untracked: Option<Duration>,
}

/// What the spans of one phase add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhaseTally {
    pub(crate) calls: u64,
    pub(crate) total: Duration,
    pub(crate) cost: Option<Money>,
}

impl Booking {
    pub(crate) fn new(run: &Run, self_times: &[Duration]) -> Self {
        let NodeNames { names, of_span } = NodeNames::of(run);
        let execution_of = executions(run, &of_span);
        // By end and start, in one number: what else tells executions apart is rarely looked at.
        let mut recorded: Vec<(u128, SpanIx)> = Vec::with_capacity(of_span.len());
        let mut executions_of = vec![0usize; names.len()];
        for ix in run.indices() {
            let Some(name) = of_span[ix.index()] else { continue };
            let SpanRecord { start, end, .. } = run.span(ix).record;
            recorded.push((u128::from(end.as_unix_nanos()) << 64 | u128::from(start.as_unix_nanos()), ix));
            executions_of[name] += 1;
        }
        let rest = |ix: SpanIx| (run.span(ix).record.span_id, run.span(ix).ordinal, ix);
        recorded.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| rest(a.1).cmp(&rest(b.1))));
        let is_retry = retries(run, &of_span, names.len());
        let mut nodes: Vec<NodeTally> = Vec::with_capacity(names.len());
        let mut node_by_name: Vec<Option<NodeIx>> = vec![None; names.len()];
        for (.., ix) in recorded {
            let Some(name) = of_span[ix.index()] else { continue };
            let node = *node_by_name[name].get_or_insert_with(|| {
                let executions = Vec::with_capacity(executions_of[name]);
                nodes.push(NodeTally { name: names[name].clone(), executions, ..NodeTally::default() });
                nodes.len() - 1
            });
            nodes[node].take_execution(run, ix);
            nodes[node].retries += u64::from(is_retry[ix.index()]);
        }
        let charges = Charges::of(run);
        let node_of: Vec<Option<NodeIx>> = execution_of
            .iter()
            .map(|execution| node_by_name[of_span[execution.as_ref()?.index()]?])
            .collect();
        for ix in run.indices() {
            let span = run.span(ix);
            let Some(node) = node_of[ix.index()] else { continue };
            let tally = &mut nodes[node];
            tally.self_time = tally.self_time.saturating_add(self_times[ix.index()]);
            if execution_of[ix.index()] != Some(ix) && span.in_statistics {
                let phase = tally.phases.entry(phase_name(&span.record)).or_default();
                phase.calls += 1;
                let took = span.record.end.saturating_since(span.record.start);
                phase.total = phase.total.saturating_add(took);
            }
        }
        let (mut cost, mut tokens) = (None, None);
        for (ix, charge) in &charges.costs {
            let charge = Some(*charge);
            cost = add_money(cost, charge);
            let Some(node) = node_of[ix.index()] else { continue };
            nodes[node].cost = add_money(nodes[node].cost, charge);
            if let Some(phase) = nodes[node].phases.get_mut(&phase_name(&run.span(*ix).record))
                && execution_of[ix.index()] != Some(*ix)
            {
                phase.cost = add_money(phase.cost, charge);
            }
        }
        for ix in &charges.tokens {
            add_tokens(&mut tokens, &run.span(*ix).record);
            if let Some(node) = node_of[ix.index()] {
                add_tokens(&mut nodes[node].tokens, &run.span(*ix).record);
            }
        }
        let mut booking = Booking { nodes, execution_of, node_of, cost, tokens, charges, is_retry };
        booking.settle(run, self_times);
        booking
    }

    /// The executions of `node`, and what only all of them together tell.
    fn settle(&mut self, run: &Run, self_times: &[Duration]) {
        for tally in &mut self.nodes {
            tally.kind = kind_of(run, tally);
            tally.model = model_of(run, tally);
            let intervals = tally.executions.iter().map(|ix| run.span(*ix).clipped);
            tally.peak_concurrency =
                peak_concurrency(intervals.filter(|interval: &Interval| !interval.is_empty()));
            if !tally.phases.is_empty() {
                tally.untracked = Some(tally.executions.iter().map(|ix| self_times[ix.index()]).sum());
            }
        }
    }

    /// What each node cost with everything inside its executions, an execution inside another of the same node counted
    /// once.
    pub(crate) fn costs_with_nested(&self) -> Vec<Option<Money>> {
        let with_nested = |tally: &NodeTally| {
            let mut executions = tally.executions.clone();
            executions.sort_unstable();
            let mut covered_to: Option<SpanIx> = None;
            let mut sum = None;
            for ix in executions {
                if covered_to.is_none_or(|covered_to| ix > covered_to) {
                    covered_to = Some(self.charges.end_below(ix));
                    sum = add_money(sum, self.charges.within(ix));
                }
            }
            sum
        };
        match self.charges.costs.is_empty() {
            true => vec![None; self.nodes.len()],
            false => self.nodes.iter().map(with_nested).collect(),
        }
    }

    /// The executions of `node` that failed and were tried again: those that ended before the last try under the same
    /// parent began.
    pub(crate) fn lost_tries(&self, run: &Run, node: NodeIx) -> Vec<SpanIx> {
        let executions = &self.nodes[node].executions;
        let mut last_try: HashMap<Option<SpanIx>, Timestamp> = HashMap::new();
        for retry in executions.iter().filter(|ix| self.is_retry[ix.index()]).map(|ix| run.span(*ix)) {
            let last = last_try.entry(retry.parent).or_default();
            *last = retry.record.start.max(*last);
        }
        let was_tried_again =
            |failed: &RunSpan| last_try.get(&failed.parent).is_some_and(|last| failed.record.end <= *last);
        let is_lost = |ix: &SpanIx| run.span(*ix).record.failed() && was_tried_again(run.span(*ix));
        executions.iter().copied().filter(is_lost).collect()
    }

    /// Whether `node` has no execution but the run's root, so that it stands for the run and not for a step of it.
    pub(crate) fn is_root_alone(&self, run: &Run, node: NodeIx) -> bool {
        self.nodes[node].executions == [run.root]
    }
}

/// What a span that is no node is told as.
fn phase_name(record: &SpanRecord) -> Arc<str> {
    record.facts.as_ref().and_then(|facts| facts.phase.clone()).unwrap_or_else(|| record.name.clone())
}

/// The execution each span belongs to: the nearest span at or above it that is a node.
fn executions(run: &Run, node_of: &[Option<usize>]) -> Vec<Option<SpanIx>> {
    let mut execution_of: Vec<Option<SpanIx>> = vec![None; node_of.len()];
    // A parent stands before its children.
    for ix in run.indices() {
        let above = run.span(ix).parent.and_then(|parent| execution_of[parent.index()]);
        execution_of[ix.index()] = node_of[ix.index()].map(|_| ix).or(above);
    }
    execution_of
}

impl NodeTally {
    fn take_execution(&mut self, run: &Run, ix: SpanIx) {
        let span = run.span(ix);
        self.executions.push(ix);
        if let Some(turns) = span.record.facts.as_ref().and_then(|facts| facts.turns) {
            self.turns = Some(self.turns.unwrap_or(0).saturating_add(turns));
        }
        if !span.in_statistics {
            return;
        }
        let record = &span.record;
        let duration = record.end.saturating_since(record.start);
        let queued = record.timing.queued.min(duration);
        self.durations.record(duration);
        self.running = self.running.saturating_add(duration.saturating_sub(queued));
        self.queued = self.queued.saturating_add(queued);
        self.failures += u64::from(record.failed());
        if let Some(busy) = record.timing.busy {
            self.busy = Some(self.busy.unwrap_or_default().saturating_add(busy));
        }
    }
}

/// Which executions are second or later tries: those that say so by their attempt, and, where none of a node's
/// executions under one parent says which attempt it is, those that start after the one before them has failed.
fn retries(run: &Run, node_of: &[Option<usize>], nodes: usize) -> Vec<bool> {
    let mut is_retry = vec![false; run.spans.len()];
    // Of each node the execution looked at last: its parent, itself, and whether it says which attempt it is.
    let mut before: Vec<Option<(SpanIx, SpanIx, bool)>> = vec![None; nodes];
    for parent in run.indices() {
        // Children stand in order of their starts.
        for child in run.children(parent) {
            let Some(node) = node_of[child.index()] else { continue };
            let record = &run.span(*child).record;
            let attempt = record.facts.as_ref().and_then(|facts| facts.attempt);
            let beside = before[node].filter(|(under, ..)| *under == parent);
            let follows_failure = beside.is_some_and(|(_, earlier, says_attempt)| {
                let earlier = &run.span(earlier).record;
                !says_attempt && earlier.failed() && earlier.end <= record.start
            });
            is_retry[child.index()] = attempt.map_or(follows_failure, |attempt| attempt > 1);
            before[node] = Some((parent, *child, attempt.is_some()));
        }
    }
    if let Some(attempt) = run.span(run.root).record.facts.as_ref().and_then(|facts| facts.attempt) {
        is_retry[run.root.index()] = attempt > 1;
    }
    is_retry
}

/// What sort of work a node does: the first rule that any of its executions meets.
fn kind_of(run: &Run, tally: &NodeTally) -> String {
    let (mut operation, mut node_kind) = (None, None);
    let (mut is_http, mut is_db) = (false, false);
    for facts in tally.executions.iter().filter_map(|ix| run.span(*ix).record.facts.as_deref()) {
        operation = operation.or(facts.operation.as_deref());
        node_kind = node_kind.or(facts.node_kind.as_deref());
        is_http |= facts.is_http;
        is_db |= facts.is_db;
    }
    let busy_ratio = tally.busy.and_then(|busy| busy.ratio_of(tally.running));
    let kind = match operation {
        Some("chat" | "generate_content" | "text_completion" | "embeddings") => "llm",
        Some("invoke_agent" | "create_agent" | "plan") => "agent",
        Some("execute_tool") => "tool",
        Some("retrieval" | "rerank") => "retrieval",
        _ if is_http => "http",
        _ if is_db => "db",
        _ if node_kind == Some("io") => "io",
        _ if busy_ratio.is_some_and(|ratio| ratio >= CPU_BUSY_RATIO) => "cpu",
        _ => node_kind.unwrap_or("other"),
    };
    kind.to_owned()
}

/// The model most executions used, the lesser name on a tie: what answered, else what was asked for.
fn model_of(run: &Run, tally: &NodeTally) -> Option<Arc<str>> {
    let mut calls: BTreeMap<&Arc<str>, u64> = BTreeMap::new();
    // Calls of one model mostly follow each other: counted together, without looking the name up each time.
    let mut in_a_row: Option<(&Arc<str>, u64)> = None;
    for ix in &tally.executions {
        let facts = run.span(*ix).record.facts.as_deref();
        let model = facts.and_then(|facts| facts.response_model.as_ref().or(facts.request_model.as_ref()));
        match (model, &mut in_a_row) {
            (None, _) => {}
            (Some(model), Some((last, count))) if Arc::ptr_eq(last, model) => *count += 1,
            (Some(model), _) => {
                if let Some((model, count)) = in_a_row.replace((model, 1)) {
                    *calls.entry(model).or_default() += count;
                }
            }
        }
    }
    if let Some((model, count)) = in_a_row {
        *calls.entry(model).or_default() += count;
    }
    calls.into_iter().rev().max_by_key(|(_, calls)| *calls).map(|(model, _)| model.clone())
}

/// From this share of its time on, a node that a thread runs inside is computing, not waiting.
pub(crate) const CPU_BUSY_RATIO: f64 = 0.8;

pub(crate) fn add_money(sum: Option<Money>, amount: Option<Money>) -> Option<Money> {
    match (sum, amount) {
        (Some(sum), Some(amount)) => Some(sum.saturating_add(amount)),
        (sum, amount) => sum.or(amount),
    }
}

fn add_tokens(sum: &mut Option<Tokens>, record: &SpanRecord) {
    let Some(facts) = record.facts.as_deref() else { return };
    let sum = sum.get_or_insert_default();
    sum.input = sum.input.saturating_add(facts.tokens.input.unwrap_or(0));
    sum.output = sum.output.saturating_add(facts.tokens.output.unwrap_or(0));
}
