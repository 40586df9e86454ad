//! What counts once: which spans of a run are charged, and which only repeat what others say.
//!
//! Libraries tell the same bill at several levels: an agent repeats the sums of its calls, and two instrumentations of
//! one program put a span each around the same call. So
//!
//! * a **call** of a model is an inference span. Of inference spans inside each other, with no tool, agent or workflow
//!   between them, it is the deepest; one further out only where that tells more: a cost, or else tokens, of which
//!   those inside tell nothing.
//! * A call that has a cost is **charged** with it, whether it failed or was tried again: such calls are billed too.
//! * Any other span that tells a cost is charged with it if nothing below it is charged. Otherwise it is a **roll-up**:
//!   what it says is compared with what is charged below it, and not charged again.
//! * Tokens likewise. Tokens that a span inside a call tells repeat those of the call.
//!
//! So a roll-up whose calls have no price is charged itself, and they are covered by it. Where some of them have a
//! price, those count, and the roll-up shows that something is missing.

use crate::money::Money;
use crate::run::{Run, SpanIx};
use crate::span_record::{CostSource, NodeFacts, TokenCounts};

/// Who is charged for what.
#[derive(Debug, Default)]
pub(crate) struct Charges {
    /// What is charged where, in order of the spans.
    pub(crate) costs: Vec<(SpanIx, Money)>,
    /// The spans whose tokens count, in order.
    pub(crate) tokens: Vec<SpanIx>,
    /// The calls of models, in order of the spans.
    pub(crate) calls: Vec<Call>,
    /// The spans that only repeat what others say, in order.
    pub(crate) roll_ups: Vec<RollUp>,
}

/// A call of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) span: SpanIx,
    /// What it used: what it says itself, else what those inside it say.
    pub(crate) tokens: TokenCounts,
    /// A span around it that is charged pays for it.
    pub(crate) is_covered: bool,
}

/// What a span says about those below it, and what they say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollUp {
    pub(crate) span: SpanIx,
    /// What it says; of a cost only what somebody told.
    pub(crate) says: Bill,
    /// What everything below it adds up to.
    pub(crate) below: Bill,
    /// The same without what is below agents and workflows inside it.
    pub(crate) own: Bill,
    /// How many calls of models are below it.
    pub(crate) calls: u64,
}

/// A cost and tokens, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bill {
    pub(crate) cost: Option<Money>,
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    /// How many charges the cost is made of.
    pub(crate) charges: u64,
}

/// A span that tells something of what was used, or stands between spans that do.
struct Teller {
    span: SpanIx,
    /// The nearest one above, by its place.
    above: Option<usize>,
    is_inference: bool,
    /// A tool, an agent or a workflow: what is inside is other work.
    is_step: bool,
    is_agent: bool,
    cost: Option<Money>,
    tokens: TokenCounts,
}

/// What is known of everything below a teller.
#[derive(Clone, Copy, Default)]
struct Below {
    is_charged: bool,
    has_tokens: bool,
    /// The same of inference spans inside the same call.
    is_call_charged: bool,
    has_call_tokens: bool,
    rank: Option<Rank>,
    /// Calls inside the same call, if this is one, and calls of other work.
    inner_calls: u64,
    other_calls: u64,
}

/// How much an inference span tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Nothing,
    Tokens,
    Cost,
}

impl Charges {
    /// O(n) for n spans; spans that tell nothing take no memory beyond one word.
    pub(crate) fn of(run: &Run) -> Self {
        let tellers = tellers(run);
        if tellers.is_empty() {
            return Charges::default();
        }
        let below = below(&tellers);
        let mut charges = Charges::default();
        let mut is_in_call = vec![false; tellers.len()];
        let mut is_paid_for = is_in_call.clone();
        let mut is_inside_tokens = is_in_call.clone();
        let mut is_counted = is_in_call.clone();
        let mut charged: Vec<Option<Money>> = vec![None; tellers.len()];
        let mut call_of: Vec<Option<usize>> = vec![None; tellers.len()];
        // What is above stands before what is below it.
        for (at, teller) in tellers.iter().enumerate() {
            let under = below[at];
            if let Some(above) = teller.above {
                let around = &tellers[above];
                is_paid_for[at] = is_paid_for[above] || (charged[above].is_some() && !around.is_inference);
                if !teller.is_step {
                    is_in_call[at] = call_of[above].is_some();
                    call_of[at] = call_of[above];
                    is_inside_tokens[at] =
                        is_inside_tokens[above] || (around.is_inference && around.tells_tokens());
                }
            }
            let repeats_cost = if teller.is_inference { under.is_call_charged } else { under.is_charged };
            charged[at] = teller.cost.filter(|_| !repeats_cost);
            charges.costs.extend(charged[at].map(|cost| (teller.span, cost)));
            let repeats_tokens = if teller.is_inference {
                under.has_call_tokens
            } else {
                under.has_tokens || is_inside_tokens[at]
            };
            is_counted[at] = teller.tells_tokens() && !repeats_tokens;
            if is_counted[at] {
                charges.tokens.push(teller.span);
            }
            let tells_most = under.rank.is_none_or(|rank| teller.rank() > rank);
            if teller.is_inference && !is_in_call[at] && tells_most {
                call_of[at] = Some(charges.calls.len());
                charges.calls.push(Call {
                    span: teller.span,
                    tokens: TokenCounts::default(),
                    is_covered: is_paid_for[at],
                });
            }
            if let Some(call) = call_of[at].filter(|_| is_counted[at] && teller.is_inference) {
                add_counts(&mut charges.calls[call].tokens, &teller.tokens);
            }
        }
        charges.roll_ups = roll_ups(run, &tellers, &below, &charged, &is_counted);
        charges
    }

    /// What is charged to a span and everything below it; `None` if nothing is.
    pub(crate) fn within(&self, run: &Run, span: SpanIx) -> Option<Money> {
        let end = end_below(run, span);
        let first = self.costs.partition_point(|(at, _)| *at < span);
        let inside = self.costs.get(first..).unwrap_or_default().iter().take_while(|(at, _)| *at <= end);
        inside.map(|(_, cost)| *cost).reduce(Money::saturating_add)
    }
}

/// The last span of those at and below `span`.
pub(crate) fn end_below(run: &Run, span: SpanIx) -> SpanIx {
    let mut end = span;
    while let Some(last) = run.children(end).last() {
        end = *last;
    }
    end
}

impl Teller {
    fn of(run: &Run, span: SpanIx) -> Option<Self> {
        let record = &run.span(span).record;
        let facts = record.facts.as_deref()?;
        let operation = facts.operation.as_deref();
        let is_agent =
            matches!(operation, Some("invoke_agent" | "create_agent" | "plan" | "invoke_workflow"));
        let teller = Teller {
            span,
            above: None,
            is_inference: record.is_inference(),
            is_step: is_agent || operation == Some("execute_tool"),
            is_agent,
            cost: facts.cost,
            tokens: facts.tokens,
        };
        let says_something = teller.cost.is_some() || teller.tells_tokens();
        (says_something || teller.is_inference || teller.is_step).then_some(teller)
    }

    fn tells_tokens(&self) -> bool {
        self.tokens.input.is_some() || self.tokens.output.is_some()
    }

    fn rank(&self) -> Rank {
        match self.cost {
            Some(_) => Rank::Cost,
            None if self.tells_tokens() => Rank::Tokens,
            None => Rank::Nothing,
        }
    }
}

fn tellers(run: &Run) -> Vec<Teller> {
    let mut tellers: Vec<Teller> = Vec::new();
    if run.spans.iter().all(|span| span.record.facts.is_none()) {
        return tellers;
    }
    let mut nearest: Vec<Option<u32>> = vec![None; run.spans.len()];
    // A parent stands before its children.
    for ix in run.indices() {
        let above = run.span(ix).parent.and_then(|parent| nearest[parent.index()]);
        nearest[ix.index()] = match Teller::of(run, ix) {
            Some(teller) => {
                tellers.push(Teller { above: above.map(|above| above as usize), ..teller });
                u32::try_from(tellers.len() - 1).ok()
            }
            None => above,
        };
    }
    tellers
}

fn below(tellers: &[Teller]) -> Vec<Below> {
    let mut below = vec![Below::default(); tellers.len()];
    for (at, teller) in tellers.iter().enumerate().rev() {
        let under = below[at];
        let Some(above) = teller.above else { continue };
        let over = &mut below[above];
        over.is_charged |= teller.cost.is_some() || under.is_charged;
        over.has_tokens |= teller.tells_tokens() || under.has_tokens;
        let is_call = teller.is_inference && under.rank.is_none_or(|rank| teller.rank() > rank);
        let calls = if is_call { 1 } else { under.inner_calls };
        over.other_calls += under.other_calls;
        if teller.is_step {
            over.other_calls += calls;
            continue;
        }
        over.inner_calls += calls;
        over.is_call_charged |= (teller.is_inference && teller.cost.is_some()) || under.is_call_charged;
        over.has_call_tokens |= (teller.is_inference && teller.tells_tokens()) || under.has_call_tokens;
        over.rank = over.rank.max(teller.is_inference.then(|| teller.rank())).max(under.rank);
    }
    below
}

fn roll_ups(
    run: &Run,
    tellers: &[Teller],
    below: &[Below],
    charged: &[Option<Money>],
    is_counted: &[bool],
) -> Vec<RollUp> {
    let mut sums = vec![(Bill::default(), Bill::default()); tellers.len()];
    let mut found = Vec::new();
    for (at, teller) in tellers.iter().enumerate().rev() {
        let (all, own) = sums[at];
        let facts = run.span(teller.span).record.facts.as_deref();
        let told =
            |facts: &NodeFacts| facts.cost.filter(|_| facts.cost_source != Some(CostSource::Estimated));
        let told_cost = facts.and_then(told).filter(|_| charged[at].is_none() && all.cost.is_some());
        let told_tokens = teller.tells_tokens() && !is_counted[at] && below[at].has_tokens;
        if told_cost.is_some() || told_tokens {
            let of_tokens = |count: Option<u64>| count.filter(|_| told_tokens);
            let says = Bill {
                cost: told_cost,
                input: of_tokens(teller.tokens.input),
                output: of_tokens(teller.tokens.output),
                charges: 1,
            };
            let calls = below[at].inner_calls + below[at].other_calls;
            found.push(RollUp { span: teller.span, says, below: all, own, calls });
        }
        let Some(above) = teller.above else { continue };
        let itself = Bill {
            cost: charged[at],
            input: teller.tokens.input.filter(|_| is_counted[at]),
            output: teller.tokens.output.filter(|_| is_counted[at]),
            charges: u64::from(charged[at].is_some()),
        };
        let (over_all, over_own) = &mut sums[above];
        over_all.add(&all);
        over_all.add(&itself);
        if !teller.is_agent {
            over_own.add(&own);
            over_own.add(&itself);
        }
    }
    found.reverse();
    found
}

impl Bill {
    fn add(&mut self, other: &Bill) {
        self.cost = super::booking::add_money(self.cost, other.cost);
        self.input = add_count(self.input, other.input);
        self.output = add_count(self.output, other.output);
        self.charges = self.charges.saturating_add(other.charges);
    }
}

/// The sum of what is known.
pub(crate) fn add_count(sum: Option<u64>, count: Option<u64>) -> Option<u64> {
    match (sum, count) {
        (Some(sum), Some(count)) => Some(sum.saturating_add(count)),
        (sum, count) => sum.or(count),
    }
}

fn add_counts(sum: &mut TokenCounts, counts: &TokenCounts) {
    *sum = TokenCounts {
        input: add_count(sum.input, counts.input),
        output: add_count(sum.output, counts.output),
        cache_read: add_count(sum.cache_read, counts.cache_read),
        cache_write: add_count(sum.cache_write, counts.cache_write),
        reasoning: add_count(sum.reasoning, counts.reasoning),
    };
}
