//! What counts once: which spans of a run are charged, and which only repeat what others say.
//!
//! Libraries tell the same bill at several levels: an agent repeats the sums of its calls, and two instrumentations of
//! one program put a span each around the same call. So
//!
//! * a **call** of a model is an inference span. Of inference spans inside each other, with no tool, agent or workflow
//!   between them, it is the deepest that tells most: a cost that somebody told, else one that a table of prices says,
//!   else tokens.
//! * A call that has a cost is **charged** with it, whether it failed or was tried again: such calls are billed too.
//! * Any other span that tells a cost is charged with it if nothing below it is charged. Otherwise it is a **roll-up**:
//!   what it says is compared with what is charged below it, and not charged again.
//! * Tokens likewise. Tokens that a span inside a call tells repeat those of the call.
//!
//! So a roll-up whose calls have no price is charged itself, and they are covered by it. Where some of them have a
//! price, those count, and the roll-up shows that something is missing.

use crate::money::Money;
use crate::run::{Run, SpanIx};
use crate::span_record::{CostSource, TokenCounts};

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
    /// By span the last one below it, if anything is charged.
    ends: Vec<u32>,
    /// By span how many costs are of spans before it, if anything is charged; of all spans at the end.
    costs_before: Vec<u32>,
    /// The sums of the first costs: of none, of one…
    sums: Vec<i128>,
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
    is_estimate: bool,
    tokens: TokenCounts,
}

/// What is known of everything below a teller.
#[derive(Clone, Copy, Default)]
struct Below {
    is_charged: bool,
    has_tokens: bool,
    /// The same of inference spans inside the same call, and the most any of them tells.
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
    Estimate,
    ToldCost,
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
            let is_call = teller.is_inference && !is_in_call[at] && tells_most;
            let is_charged = if teller.is_inference { is_call } else { !under.is_charged };
            charged[at] = teller.cost.filter(|_| is_charged);
            charges.costs.extend(charged[at].map(|cost| (teller.span, cost)));
            if is_call {
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
        charges.add_up(run);
        charges.roll_ups = roll_ups(&tellers, &below, &charged, &is_counted);
        charges
    }

    /// What is charged to a span and everything below it; `None` if nothing is.
    pub(crate) fn within(&self, span: SpanIx) -> Option<Money> {
        let end = *self.ends.get(span.index())? as usize;
        let first = *self.costs_before.get(span.index())? as usize;
        let after = *self.costs_before.get(end + 1)? as usize;
        let (before, whole) = (self.sums.get(first)?, self.sums.get(after)?);
        (first < after).then(|| Money::from_picodollars(whole.saturating_sub(*before)))
    }

    /// The last of the spans at and below this one; itself in a run in which nothing is charged.
    pub(crate) fn end_below(&self, span: SpanIx) -> SpanIx {
        self.ends.get(span.index()).map_or(span, |end| SpanIx::new(*end as usize))
    }

    fn add_up(&mut self, run: &Run) {
        if self.costs.is_empty() {
            return;
        }
        self.ends = (0..run.spans.len() as u32).collect();
        // A child stands after its parent, and what is below a span stands together.
        for ix in run.indices().rev() {
            if let Some(parent) = run.span(ix).parent {
                self.ends[parent.index()] = self.ends[parent.index()].max(self.ends[ix.index()]);
            }
        }
        self.costs_before = Vec::with_capacity(run.spans.len() + 1);
        let mut before = 0u32;
        let mut costs = self.costs.iter().peekable();
        for ix in run.indices() {
            self.costs_before.push(before);
            while costs.next_if(|(at, _)| *at == ix).is_some() {
                before += 1;
            }
        }
        self.costs_before.push(before);
        let mut sum = 0i128;
        self.sums.push(sum);
        for (_, cost) in &self.costs {
            sum = sum.saturating_add(cost.as_picodollars());
            self.sums.push(sum);
        }
    }
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
            is_estimate: facts.cost_source == Some(CostSource::Estimated),
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
            Some(_) if self.is_estimate => Rank::Estimate,
            Some(_) => Rank::ToldCost,
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
        over.has_call_tokens |= (teller.is_inference && teller.tells_tokens()) || under.has_call_tokens;
        over.rank = over.rank.max(teller.is_inference.then(|| teller.rank())).max(under.rank);
    }
    below
}

fn roll_ups(
    tellers: &[Teller],
    below: &[Below],
    charged: &[Option<Money>],
    is_counted: &[bool],
) -> Vec<RollUp> {
    let mut sums = vec![(Bill::default(), Bill::default()); tellers.len()];
    let mut found = Vec::new();
    for (at, teller) in tellers.iter().enumerate().rev() {
        let (all, own) = sums[at];
        let told_cost =
            teller.cost.filter(|_| !teller.is_estimate && charged[at].is_none() && all.cost.is_some());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SpanId, TraceId};
    use crate::span_record::{NodeFacts, SpanRecord};
    use crate::time::Timestamp;

    /// A line is a span: its depth by its indent, its operation, then `$` with its cost, `~$` with an estimate, and
    /// `in/out` tokens if it tells them.
    fn run(drawing: &str) -> Run {
        let mut open: Vec<(usize, u64)> = Vec::new();
        let mut records = Vec::new();
        for (id, line) in (1u64..).zip(drawing.lines().filter(|line| !line.trim().is_empty())) {
            let indent = line.len() - line.trim_start().len();
            open.retain(|(outer, _)| *outer < indent);
            let parent = open.last().map(|(_, id)| SpanId::from_bytes(id.to_be_bytes()));
            open.push((indent, id));
            let mut words = line.split_whitespace();
            let mut facts = NodeFacts { operation: words.next().map(Into::into), ..NodeFacts::default() };
            for word in words {
                let told = word.strip_prefix('~');
                facts.cost_source = told.map(|_| CostSource::Estimated).or(facts.cost_source);
                let word = told.unwrap_or(word);
                match (word.strip_prefix('$'), word.split_once('/')) {
                    (Some(cost), _) => facts.cost = Some(cost.parse().unwrap()),
                    (_, Some((input, output))) => {
                        (facts.tokens.input, facts.tokens.output) = (input.parse().ok(), output.parse().ok());
                    }
                    _ => panic!("{word}"),
                }
            }
            records.push(SpanRecord {
                trace_id: TraceId::from_bytes([7; 16]),
                span_id: SpanId::from_bytes(id.to_be_bytes()),
                parent_id: parent,
                name: line.trim().into(),
                kind: Default::default(),
                start: Timestamp::from_unix_nanos(id),
                end: Timestamp::from_unix_nanos(1_000),
                status: Default::default(),
                timing: Default::default(),
                facts: Some(Box::new(facts)),
                links: None,
                origin: Default::default(),
                local: None,
            });
        }
        Run::from_records(records).unwrap()
    }

    /// The lines that are charged, those whose tokens count, and those that are calls.
    #[track_caller]
    fn check(drawing: &str, charged: &[u64], tokens: &[u64], calls: &[u64]) -> (Run, Charges) {
        let run = run(drawing);
        let charges = Charges::of(&run);
        let line = |ix: SpanIx| u64::from_be_bytes(run.span(ix).record.span_id.to_bytes());
        assert_eq!(charges.costs.iter().map(|(ix, _)| line(*ix)).collect::<Vec<_>>(), charged, "charged");
        assert_eq!(charges.tokens.iter().map(|ix| line(*ix)).collect::<Vec<_>>(), tokens, "tokens");
        assert_eq!(charges.calls.iter().map(|call| line(call.span)).collect::<Vec<_>>(), calls, "calls");
        (run, charges)
    }

    #[test]
    fn calls_are_charged_and_what_repeats_them_is_not() {
        let (run, charges) = check(
            "
            job $0.5 30/3
              invoke_agent $0.3 30/3
                chat $0.1 10/1
                chat $0.2 20/2
            ",
            &[3, 4],
            &[3, 4],
            &[3, 4],
        );
        let cents = |ix| charges.within(ix).unwrap().as_picodollars() / 10_000_000_000;
        assert_eq!(run.indices().map(cents).collect::<Vec<_>>(), [30, 30, 10, 20]);
        let roll_ups = charges.roll_ups.iter().map(|roll_up| (roll_up.span.index(), roll_up.calls));
        assert_eq!(roll_ups.collect::<Vec<_>>(), [(0, 2), (1, 2)]);
        assert_eq!(charges.roll_ups[0].below.cost, "0.3".parse().ok());
        assert_eq!((charges.roll_ups[0].below.input, charges.roll_ups[0].below.output), (Some(30), Some(3)));
    }

    #[test]
    fn a_roll_up_pays_for_calls_without_a_price_and_only_if_none_has_one() {
        let (_, charges) = check("invoke_agent $0.3\n chat 10/1\n chat 20/2", &[1], &[2, 3], &[2, 3]);
        assert!(charges.calls.iter().all(|call| call.is_covered));
        let (_, charges) = check("invoke_agent $0.3\n chat 10/1\n chat $0.1 20/2", &[3], &[2, 3], &[2, 3]);
        assert!(charges.calls.iter().all(|call| !call.is_covered));
    }

    #[test]
    fn two_spans_around_one_call_are_one_call() {
        check("chat $0.1 10/1\n chat $0.1 10/1", &[2], &[2], &[2]);
        // The inner one tells nothing: the outer one counts.
        check("chat $0.1 10/1\n http\n  chat", &[1], &[1], &[1]);
        // Each tells something: the cost of one, the tokens of the other, of one call.
        let (_, charges) = check("chat $0.1\n chat 10/1", &[1], &[2], &[1]);
        assert_eq!((charges.calls[0].tokens.input, charges.calls[0].tokens.output), (Some(10), Some(1)));
        // What somebody told wins over an estimate inside of it, whose tokens count all the same.
        check("chat $0.1\n chat ~$0.2 10/1", &[1], &[2], &[1]);
        check("chat ~$0.1 10/1\n chat $0.2 10/1", &[2], &[2], &[2]);
        // Two tries inside one call of a router.
        check("chat $0.3 30/3\n chat\n chat $0.3 30/3", &[3], &[3], &[2, 3]);
    }

    #[test]
    fn what_a_tool_or_an_agent_does_inside_a_call_is_other_work() {
        check(
            "
            chat $0.1 10/1
              execute_tool
                chat $0.2 20/2
            ",
            &[1, 3],
            &[1, 3],
            &[1, 3],
        );
    }

    #[test]
    fn a_bill_inside_a_call_is_paid_beside_it_and_its_tokens_are_the_calls() {
        check("chat $0.1 10/1\n search $0.02 10/1", &[1, 2], &[1], &[1]);
    }

    #[test]
    fn an_agent_may_tell_its_own_calls_or_those_of_agents_inside_it_too() {
        let (_, charges) = check(
            "
            invoke_agent 10/1
              chat 10/1
              execute_tool
                invoke_agent 20/2
                  chat 20/2
            ",
            &[],
            &[2, 5],
            &[2, 5],
        );
        let outer = &charges.roll_ups[0];
        assert_eq!((outer.own.input, outer.below.input, outer.says.input), (Some(10), Some(30), Some(10)));
    }

    #[test]
    fn a_run_that_tells_nothing_has_no_charges() {
        let (_, charges) = check("job\n step", &[], &[], &[]);
        assert!(charges.roll_ups.is_empty());
    }
}
