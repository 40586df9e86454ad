//! What open runs have used so far, and who is told once that is too much.
//!
//! A span hands what it and those below it have used up to the span above it when it closes, so at any time the open
//! spans of a trace hold all of it. Which of them belong to one run only the layer knows; it is asked when a trace has
//! used more than one run may. The rules of what counts once are those of reports, as far as they can be known before
//! everything has closed; a report has the last word.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::cost::price;
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
    /// The node that used something last; absent where a node around it is still open, or the run had ended.
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
/// How many closed spans of a trace are remembered at least: spans arrive in the order in which they closed, but for
/// those that closed on other threads at about the same time.
const RECENTLY_CLOSED: usize = 1 << 16;

/// What the open spans of a trace hold.
#[derive(Default)]
struct TraceUse {
    /// What stands above each span that has closed.
    closed: HashMap<SpanId, Option<SpanId>>,
    /// The same of those that closed before.
    closed_before: HashMap<SpanId, Option<SpanId>>,
    by_span: BTreeMap<SpanId, Used>,
}

/// What a span and everything below it has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Used {
    cost: Option<Money>,
    tokens: Option<u64>,
    /// Something of it is a call around which no other work stands yet.
    has_call_cost: bool,
    has_call_tokens: bool,
    /// The node that used something last, once that has closed.
    node: Option<Arc<str>>,
}

impl Used {
    fn add(&mut self, other: &Used) {
        self.cost = sum(self.cost, other.cost, Money::saturating_add);
        self.tokens = sum(self.tokens, other.tokens, u64::saturating_add);
        self.has_call_cost |= other.has_call_cost;
        self.has_call_tokens |= other.has_call_tokens;
        self.node = other.node.clone();
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
        let (own_cost, own_tokens) = (cost.filter(|_| !repeats_cost), tokens.filter(|_| !repeats_tokens));
        self.cost = sum(self.cost, own_cost, Money::saturating_add);
        self.tokens = sum(self.tokens, own_tokens, u64::saturating_add);
        if own_cost.is_some() || own_tokens.is_some() {
            self.node = None;
        }
        if self.node.is_none() && !self.is_nothing() {
            self.node = record.node_id();
        }
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
        for _ in 0..=self.closed.len().saturating_add(self.closed_before.len()) {
            match self.closed.get(&at).or_else(|| self.closed_before.get(&at)) {
                None => return Some(at),
                Some(above) => at = (*above)?,
            }
        }
        None
    }

    fn note_closed(&mut self, span: SpanId, above: Option<SpanId>) {
        if self.closed.len() >= RECENTLY_CLOSED {
            self.closed_before = std::mem::take(&mut self.closed);
        }
        self.closed.insert(span, above);
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
        trace.note_closed(record.span_id, record.parent_id.filter(|_| !ends_run));
        if local.is_local_root {
            self.traces.remove(&record.trace_id);
        }
        // The report on a run that ends follows.
        let Some(above) = above.filter(|_| !ends_run && !used.is_nothing()) else { return Vec::new() };
        self.trace(record.trace_id).by_span.entry(above).or_default().add(&used);
        self.look(record.trace_id, used.node.as_deref())
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
    let facts = record.facts.as_deref()?;
    if !facts.is_inference() {
        return facts.cost;
    }
    let prices = prices.unwrap_or_else(|| PriceTable::embedded());
    match price(facts, record.start, record.failed(), prices) {
        Some(Ok(price)) => Some(price.cost.total()),
        Some(Err(_)) | None => facts.cost,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "of what the test made")]
mod tests {
    use super::*;
    use crate::decode::decode;
    use crate::layer::open_tree::OpenPlace;
    use crate::span_record::LocalFacts;

    fn span_id(number: u8) -> SpanId {
        SpanId::from_bytes([number; 8])
    }

    /// A span that has closed: its number, that of the one above, and its attributes as JSON.
    fn closed(number: u8, parent: Option<u8>, attributes: &[(&str, &str)]) -> SpanRecord {
        let id = |number: u8| format!("{number:02x}").repeat(8);
        let attributes: Vec<String> =
            attributes.iter().map(|(key, value)| format!(r#"{{"key":"{key}","value":{value}}}"#)).collect();
        let json = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}","parentSpanId":"{}",
                "name":"s","startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{}]}}]}}]}}]}}"#,
            "0a".repeat(16),
            id(number),
            parent.map(id).unwrap_or_default(),
            attributes.join(",")
        );
        decode(json.as_bytes()).unwrap().spans.remove(0)
    }

    fn chat(number: u8, parent: u8, usd: f64, tokens: u64) -> SpanRecord {
        let (usd, tokens) = (format!(r#"{{"doubleValue":{usd}}}"#), format!(r#"{{"intValue":"{tokens}"}}"#));
        let attributes = [
            ("gen_ai.operation.name", r#"{"stringValue":"chat"}"#),
            ("gen_ai.request.model", r#"{"stringValue":"m"}"#),
            ("longpole.cost.usd", &usd),
            ("gen_ai.usage.output_tokens", &tokens),
        ];
        closed(number, Some(parent), &attributes)
    }

    fn root(number: u8, is_local_root: bool) -> SpanRecord {
        let local =
            LocalFacts { is_local_root, is_outermost_marked: !is_local_root, ..LocalFacts::default() };
        SpanRecord { local: Some(local), ..closed(number, (!is_local_root).then_some(1), &[]) }
    }

    /// Which spans are open: number, that above it, the workflow it is marked with.
    fn watch(usd: &str, tokens: u64, open: &[(u8, Option<u8>, Option<&str>)]) -> BudgetWatch {
        let place = |(number, parent, workflow): &(u8, Option<u8>, Option<&str>)| {
            (span_id(*number), OpenPlace { parent: parent.map(span_id), workflow: workflow.map(Arc::from) })
        };
        let tree = OpenTree::of(open.iter().map(place));
        let budgets = Budgets { cost_usd: usd.parse().ok(), tokens: Some(tokens) };
        BudgetWatch::new(budgets, Some("desk".into()), Box::new(move |_| tree.clone()))
    }

    fn told(exceeded: &[BudgetExceeded]) -> Vec<(String, Option<String>, Option<String>, BudgetUse)> {
        let one = |exceeded: &BudgetExceeded| {
            assert!(exceeded.is_run_open);
            let (_, root) = exceeded.run_id.split_once('-').unwrap();
            (root[..2].to_owned(), exceeded.workflow.clone(), exceeded.node.clone(), exceeded.budget)
        };
        exceeded.iter().map(one).collect()
    }

    fn cost(limit: &str, used: &str) -> BudgetUse {
        BudgetUse::CostUsd { limit: limit.parse().unwrap(), used: used.parse().unwrap() }
    }

    #[test]
    fn a_run_is_told_of_once_and_budget_when_the_call_that_passes_it_closes() {
        // 1 ── 2 ── calls
        let mut watch = watch("0.1", 100, &[(1, None, None), (2, Some(1), None)]);
        assert!(watch.take(&chat(3, 2, 0.04, 60), None).is_empty());
        assert!(watch.take(&chat(4, 2, 0.06, 40), None).is_empty(), "all of it may be used");
        let first = watch.take(&chat(5, 2, 0.000000000001, 0), None);
        let node = Some("chat m".to_owned());
        let desk = Some("desk".to_owned());
        assert_eq!(
            told(&first),
            [("01".to_owned(), desk.clone(), node.clone(), cost("0.1", "0.100000000001"))]
        );
        let second = watch.take(&chat(6, 2, 1.0, 1), None);
        let tokens = BudgetUse::Tokens { limit: 100, used: 101 };
        assert_eq!(told(&second), [("01".to_owned(), desk, node, tokens)]);
        assert!(watch.take(&chat(7, 2, 1.0, 1), None).is_empty());
    }

    #[test]
    fn what_an_agent_repeats_is_counted_once() {
        let mut watch = watch("1", 100, &[(1, None, None)]);
        let agent = |number, usd| {
            let agent =
                [("gen_ai.operation.name", r#"{"stringValue":"invoke_agent"}"#), ("longpole.cost.usd", usd)];
            closed(number, Some(1), &agent)
        };
        assert!(watch.take(&chat(3, 2, 0.6, 60), None).is_empty());
        assert!(watch.take(&agent(2, r#"{"doubleValue":0.6}"#), None).is_empty());
        // One whose calls told nothing.
        let passes = watch.take(&agent(4, r#"{"doubleValue":0.5}"#), None);
        assert_eq!(told(&passes)[0].3, cost("1", "1.1"));
    }

    #[test]
    fn runs_beside_each_other_in_one_trace_have_a_budget_each() {
        // 1 ─┬─ 2 (a) ── calls
        //    └─ 3 (b) ── calls
        let mut watch =
            watch("1", 1_000, &[(1, None, None), (2, Some(1), Some("a")), (3, Some(1), Some("b"))]);
        assert!(watch.take(&chat(4, 2, 0.9, 0), None).is_empty());
        assert!(watch.take(&chat(5, 3, 0.9, 0), None).is_empty(), "1.8 together, neither too much");
        let passes = watch.take(&chat(6, 3, 0.2, 0), None);
        assert_eq!(told(&passes)[0].1.as_deref(), Some("b"));
        // The first ends: what it used is no longer in the trace, nor in what is around it.
        assert!(watch.take(&root(2, false), None).is_empty());
        let trace = watch.traces.values().next().unwrap();
        assert_eq!(trace.by_span.keys().collect::<Vec<_>>(), [&span_id(3)]);
        watch.take(&root(1, true), None);
        assert!(watch.traces.is_empty());
    }

    #[test]
    fn a_call_that_arrives_after_the_span_above_it_counts_for_the_run_all_the_same() {
        let mut watch = watch("1", 1_000, &[(1, None, None)]);
        assert!(watch.take(&closed(3, Some(2), &[]), None).is_empty());
        assert!(watch.take(&closed(2, Some(1), &[]), None).is_empty());
        assert_eq!(told(&watch.take(&chat(4, 3, 1.5, 0), None))[0].3, cost("1", "1.5"));
    }

    #[test]
    fn traces_that_never_end_are_let_go() {
        let mut watch = watch("1", 1_000, &[]);
        for number in 0..3 * MAX_TRACES as u128 {
            let trace_id = TraceId::from_bytes((number + 1).to_be_bytes());
            watch.take(&SpanRecord { trace_id, ..chat(3, 2, 0.1, 0) }, None);
        }
        assert_eq!(watch.traces.len(), MAX_TRACES);
        assert!(watch.began.len() <= 2 * MAX_TRACES);
    }
}
