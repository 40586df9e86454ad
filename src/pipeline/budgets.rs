//! What open runs have used so far, and who is told once that is too much.
//!
//! A span hands what it and those below it have used up to the span above it when it closes, so at any time the open
//! spans of a trace hold all of it. Which of them belong to one run only the layer knows; it is asked when a trace has
//! used more than one run may. The rules of what counts once are those of reports, as far as they can be known before
//! everything has closed; a report has the last word.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::cost::price_spans;
use crate::ids::{SpanId, TraceId};
use crate::layer::open_tree::OpenTree;
use crate::money::Money;
use crate::prices::PriceTable;
use crate::report::model_calls::told_tokens;
use crate::report::{BudgetUse, Budgets, Report};
use crate::span_record::SpanRecord;

/// A run has used more than it may; see [`Builder::on_budget`](crate::Builder::on_budget).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetExceeded {
    /// The run, as [`RunSummary::id`](crate::report::RunSummary::id) tells it later.
    pub run_id: String,
    /// The workflow it is marked with.
    pub workflow: Option<String>,
    /// The node whose end told of it; absent where that was no node, or the run had ended.
    pub node: Option<String>,
    /// Which budget, and what was used of it by then.
    pub budget: BudgetUse,
    /// Whether the run was still going on.
    pub is_run_open: bool,
}

/// Who is told.
pub(crate) type OnBudget = Box<dyn FnMut(&BudgetExceeded) + Send>;
/// Looks at the open spans of a trace.
pub(crate) type LookAtOpen = Box<dyn Fn(TraceId) -> OpenTree + Send>;

/// Watches what runs use.
pub(crate) struct BudgetWatch {
    budgets: Budgets,
    /// The workflow of runs that are not marked with one.
    workflow: Option<Arc<str>>,
    open_tree: LookAtOpen,
    traces: HashMap<TraceId, TraceUse>,
    /// Traces in the order in which they began; some have ended.
    began: VecDeque<TraceId>,
    /// Runs somebody was told about, by budget.
    told: HashSet<(TraceId, SpanId, &'static str)>,
}

/// How many traces are watched at once; then the oldest is let go, and heard of when its runs end.
const MAX_TRACES: usize = 4_096;
/// How many closed spans of a trace are remembered.
const MAX_CLOSED: usize = 1 << 20;

/// What the open spans of a trace hold.
#[derive(Default)]
struct TraceUse {
    /// What stands above each span that has closed.
    closed: HashMap<SpanId, Option<SpanId>>,
    by_span: BTreeMap<SpanId, Used>,
}

/// What a span and everything below it has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    cost: Option<Money>,
    tokens: Option<u64>,
    /// Something of it is a call around which no other work stands yet.
    has_call_cost: bool,
    has_call_tokens: bool,
}

impl Used {
    fn add(&mut self, other: &Used) {
        self.cost = sum(self.cost, other.cost, Money::saturating_add);
        self.tokens = sum(self.tokens, other.tokens, u64::saturating_add);
        self.has_call_cost |= other.has_call_cost;
        self.has_call_tokens |= other.has_call_tokens;
    }

    fn is_nothing(&self) -> bool {
        self.cost.is_none() && self.tokens.is_none()
    }

    /// Adds what a span tells that closes around this.
    fn close(&mut self, cost: Option<Money>, record: &SpanRecord) {
        let tokens = record.facts.as_deref().and_then(told_tokens);
        let is_call = record.is_inference();
        let repeats_cost = if is_call { self.has_call_cost } else { self.cost.is_some() };
        let repeats_tokens = if is_call { self.has_call_tokens } else { self.tokens.is_some() };
        self.cost = sum(self.cost, cost.filter(|_| !repeats_cost), Money::saturating_add);
        self.tokens = sum(self.tokens, tokens.filter(|_| !repeats_tokens), u64::saturating_add);
        let operation = record.facts.as_deref().and_then(|facts| facts.operation.as_deref());
        if is_call {
            self.has_call_cost |= cost.is_some();
            self.has_call_tokens |= tokens.is_some();
        } else if operation.is_some() {
            // A tool or an agent: a call around it is another one.
            self.has_call_cost = false;
            self.has_call_tokens = false;
        }
    }
}

fn sum<T>(one: Option<T>, other: Option<T>, add: impl Fn(T, T) -> T) -> Option<T>
where
    T: Copy,
{
    match (one, other) {
        (Some(one), Some(other)) => Some(add(one, other)),
        (one, other) => one.or(other),
    }
}

impl TraceUse {
    /// The nearest span at or above `span` that has not closed, as far as is known.
    fn nearest_open(&self, span: Option<SpanId>) -> Option<SpanId> {
        let mut at = span?;
        for _ in 0..=self.closed.len() {
            match self.closed.get(&at) {
                None => return Some(at),
                Some(above) => at = (*above)?,
            }
        }
        None
    }

    fn all(&self) -> Used {
        let mut all = Used::default();
        self.by_span.values().for_each(|used| all.add(used));
        all
    }
}

impl BudgetWatch {
    pub(crate) fn new(budgets: Budgets, workflow: Option<Arc<str>>, open_tree: LookAtOpen) -> Self {
        BudgetWatch {
            budgets,
            workflow,
            open_tree,
            traces: HashMap::new(),
            began: VecDeque::new(),
            told: HashSet::new(),
        }
    }

    /// Takes in a span that has closed; gives what was exceeded with it. O(1) for most spans, and a look at every
    /// open span for those that use something in a trace that has used too much.
    pub(crate) fn take(&mut self, record: &SpanRecord, prices: Option<&PriceTable>) -> Vec<BudgetExceeded> {
        let local = record.local.unwrap_or_default();
        let ends_run = local.is_local_root || local.is_outermost_marked;
        let cost = self.budgets.cost_usd.and_then(|_| cost_of(record, prices));
        let trace = self.trace(record.trace_id);
        let mut used = trace.by_span.remove(&record.span_id).unwrap_or_default();
        used.close(cost, record);
        let above = trace.nearest_open(record.parent_id);
        if trace.closed.len() < MAX_CLOSED {
            trace.closed.insert(record.span_id, record.parent_id.filter(|_| !ends_run));
        }
        if local.is_local_root {
            self.traces.remove(&record.trace_id);
        }
        if used.is_nothing() {
            return Vec::new();
        }
        let node = record.node_id();
        if ends_run {
            // Its report follows.
            return Vec::new();
        }
        if let Some(above) = above {
            self.trace(record.trace_id).by_span.entry(above).or_default().add(&used);
        }
        self.look(record.trace_id, node.as_deref())
    }

    /// What the open runs of a trace have exceeded that nobody was told yet.
    fn look(&mut self, trace_id: TraceId, node: Option<&str>) -> Vec<BudgetExceeded> {
        let Some(trace) = self.traces.get(&trace_id) else { return Vec::new() };
        let all = trace.all();
        if !self.budgets.used(all.cost, all.tokens).iter().any(BudgetUse::is_exceeded) {
            return Vec::new();
        }
        let tree = (self.open_tree)(trace_id);
        let mut runs: BTreeMap<SpanId, (Option<Arc<str>>, Used)> = BTreeMap::new();
        for (span, used) in &trace.by_span {
            // What is on its way here is heard of when it has come.
            let Some((root, workflow)) = tree.run_of(*span) else { continue };
            runs.entry(root).or_insert((workflow, Used::default())).1.add(used);
        }
        let mut exceeded = Vec::new();
        for (root, (workflow, used)) in runs {
            let workflow = workflow.or_else(|| self.workflow.clone());
            for budget in self.budgets.used(used.cost, used.tokens) {
                if budget.is_exceeded() && self.told.insert((trace_id, root, budget.name())) {
                    exceeded.push(BudgetExceeded {
                        run_id: format!("{trace_id}-{root}"),
                        workflow: workflow.as_deref().map(str::to_owned),
                        node: node.map(str::to_owned),
                        budget,
                        is_run_open: true,
                    });
                }
            }
        }
        exceeded
    }

    /// Takes in the report on a run; gives what it has exceeded that nobody was told while it was open. `root`: its
    /// root, where one span is it.
    pub(crate) fn end(
        &mut self,
        trace_id: TraceId,
        root: Option<SpanId>,
        report: &Report,
    ) -> Vec<BudgetExceeded> {
        let mut exceeded = Vec::new();
        for budget in &report.budgets {
            let was_told = root.is_some_and(|root| self.told.remove(&(trace_id, root, budget.name())));
            if budget.is_exceeded() && !was_told {
                exceeded.push(BudgetExceeded {
                    run_id: report.run.id.clone(),
                    workflow: report.run.workflow.clone(),
                    node: None,
                    budget: *budget,
                    is_run_open: false,
                });
            }
        }
        exceeded
    }

    /// Forgets a run on which nobody reports.
    pub(crate) fn forget(&mut self, trace_id: TraceId, root: SpanId) {
        for budget in self.budgets.used(None, None) {
            self.told.remove(&(trace_id, root, budget.name()));
        }
    }

    fn trace(&mut self, trace_id: TraceId) -> &mut TraceUse {
        if !self.traces.contains_key(&trace_id) {
            self.began.push_back(trace_id);
            self.make_room();
        }
        self.traces.entry(trace_id).or_default()
    }

    fn make_room(&mut self) {
        while self.traces.len() >= MAX_TRACES {
            let Some(oldest) = self.began.pop_front() else { return };
            self.traces.remove(&oldest);
        }
        // Most of them have ended.
        if self.began.len() > 2 * MAX_TRACES {
            let traces = &self.traces;
            self.began.retain(|began| traces.contains_key(began));
        }
    }
}

/// What a span says it cost, or what it is worth if it is a call.
fn cost_of(record: &SpanRecord, prices: Option<&PriceTable>) -> Option<Money> {
    let told = record.facts.as_deref().and_then(|facts| facts.cost);
    if told.is_some() || !record.is_inference() {
        return told;
    }
    let mut priced = [record.clone()];
    price_spans(&mut priced, prices);
    let [record] = priced;
    record.facts.as_deref().and_then(|facts| facts.cost)
}
