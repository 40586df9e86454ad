//! What a run would have cost if calls had gone to another model, with the same tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::analysed::Analysed;
use super::charges::Call;
use super::what_if::{WhatIfError, near, node_named};
use crate::cost::{price, price_spans};
use crate::money::Money;
use crate::prices::{PriceTable, Unpriced};
use crate::report::build::ReportOptions;
use crate::run::{Run, SpanIx};
use crate::run_assembler::FinishedRun;
use crate::span_record::NodeFacts;

/// Calls that go to another model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSwitch {
    /// Which calls.
    pub calls: CallsOf,
    /// Who is called then; `None`: whoever the table of prices finds by the model's name.
    pub provider: Option<String>,
    /// The model that is called then.
    pub model: String,
}

/// A choice of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum CallsOf {
    /// All of them.
    All,
    /// Those of a node and of everything inside it.
    Node {
        /// The node.
        node: String,
    },
    /// Those that a model answered, or was asked for where the answer does not say.
    Model {
        /// The model.
        model: String,
    },
}

/// What a run would have cost. Its length is left as it was: how fast another model is nobody knows from this run, and
/// neither how many tokens it would have needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostWhatIf {
    /// How many calls it is about.
    pub calls: u64,
    /// How many of them have a cost as they were and one on the other model: the figures are of these.
    pub compared_calls: u64,
    /// What those cost; absent where there are none.
    pub cost_usd: Option<Money>,
    /// What they would have cost.
    pub new_cost_usd: Option<Money>,
    /// The difference; negative if it costs more.
    pub saves_usd: Option<Money>,
    /// What the run cost; absent where no cost is known.
    pub run_cost_usd: Option<Money>,
    /// What the run would have cost.
    pub new_run_cost_usd: Option<Money>,
    /// How many calls are not compared, by reason: `no_cost` where it is not known what they cost as they were, else why
    /// they have no price on the other model, or not for all they used, by the name of an [`Unpriced`].
    pub not_compared: BTreeMap<String, u64>,
    /// The table of prices, by name.
    pub price_table: String,
}

/// Prices calls as calls of another model: with the tokens they used, at the time they were made, by the table of
/// `options` or the one that comes with longpole.
///
/// What the calls cost as they were is what the report says, be it told or estimated. Tokens are counted differently by
/// models of different makers, so between those it is an approximation; of prices it is exact. O(n log n).
///
/// # Errors
/// [`WhatIfError`] if the run is empty, or has no such node or no call of such a model.
pub fn on_another_model(
    run: FinishedRun,
    switch: &ModelSwitch,
    options: &ReportOptions,
) -> Result<CostWhatIf, WhatIfError> {
    let mut records = run.records;
    price_spans(&mut records, options.prices.as_ref());
    let run = Run::with_options(records, &options.run).ok_or(WhatIfError::NoSpans)?;
    let analysed = Analysed::of(&run);
    let prices = options.prices.as_ref().unwrap_or_else(|| PriceTable::embedded());
    let mut answer = CostWhatIf {
        calls: 0,
        compared_calls: 0,
        cost_usd: None,
        new_cost_usd: None,
        saves_usd: None,
        run_cost_usd: analysed.booking.cost,
        new_run_cost_usd: analysed.booking.cost,
        not_compared: BTreeMap::new(),
        price_table: prices.label().to_string(),
    };
    for call in chosen(&analysed, &switch.calls)? {
        answer.calls += 1;
        match costs(&run, call, switch, prices) {
            Ok((cost, new_cost)) => {
                answer.compared_calls += 1;
                add(&mut answer.cost_usd, cost);
                add(&mut answer.new_cost_usd, new_cost);
                add(&mut answer.saves_usd, difference(cost, new_cost));
                add(&mut answer.new_run_cost_usd, difference(new_cost, cost));
            }
            Err(reason) => *answer.not_compared.entry(reason.to_owned()).or_default() += 1,
        }
    }
    Ok(answer)
}

fn add(sum: &mut Option<Money>, amount: Money) {
    *sum = Some(sum.unwrap_or_default().saturating_add(amount));
}

fn difference(of: Money, less: Money) -> Money {
    Money::from_picodollars(of.as_picodollars().saturating_sub(less.as_picodollars()))
}

fn chosen<'a>(analysed: &'a Analysed<'_>, of: &CallsOf) -> Result<Vec<&'a Call>, WhatIfError> {
    let (run, calls) = (analysed.run, &analysed.booking.charges.calls);
    Ok(match of {
        CallsOf::All => calls.iter().collect(),
        CallsOf::Node { node } => {
            let node = node_named(analysed, node)?;
            let mut is_inside: Vec<bool> =
                analysed.booking.node_of.iter().map(|owner| *owner == Some(node)).collect();
            // A parent stands before its children.
            for ix in run.indices() {
                let parent = run.span(ix).parent;
                is_inside[ix.index()] |= parent.is_some_and(|parent| is_inside[parent.index()]);
            }
            calls.iter().filter(|call| is_inside[call.span.index()]).collect()
        }
        CallsOf::Model { model } => {
            let chosen: Vec<&Call> =
                calls.iter().filter(|call| model_of(run, call.span) == Some(model)).collect();
            if chosen.is_empty() {
                let names = calls.iter().filter_map(|call| model_of(run, call.span));
                let names: std::collections::BTreeSet<&str> = names.collect();
                let near = near(model, names.into_iter());
                return Err(WhatIfError::NoSuchModel { name: model.clone(), near });
            }
            chosen
        }
    })
}

fn model_of(run: &Run, span: SpanIx) -> Option<&str> {
    let facts = run.span(span).record.facts.as_deref()?;
    facts.response_model.as_deref().or(facts.request_model.as_deref())
}

/// What a call cost and what it would have, or why that is not known.
fn costs(
    run: &Run,
    call: &Call,
    switch: &ModelSwitch,
    prices: &PriceTable,
) -> Result<(Money, Money), &'static str> {
    const NO_COST: &str = "no_cost";
    let record = &run.span(call.span).record;
    let facts = record.facts.as_deref().ok_or(NO_COST)?;
    let cost = facts.cost.ok_or(NO_COST)?;
    // What a cache answers costs the same whoever would have been asked.
    if facts.call.as_deref().is_some_and(|details| details.is_from_cache) {
        return Ok((cost, cost));
    }
    let mut other = NodeFacts {
        provider: switch.provider.as_deref().map(Into::into),
        request_model: Some(switch.model.as_str().into()),
        response_model: None,
        server_address: None,
        cost: None,
        cost_source: None,
        cost_parts: None,
        unpriced: None,
        tokens: call.tokens,
        ..facts.clone()
    };
    // Where the other model is called, and in which tier, is not where this one was.
    if let Some(details) = other.call.as_deref_mut() {
        (details.api_url, details.service_tier) = (None, None);
    }
    match price(&other, record.start, record.failed(), prices) {
        // A part without a price would pass for a saving.
        Some(Ok(price)) if !price.without_price.is_empty() => Err(Unpriced::NoPrice.as_str()),
        Some(Ok(price)) => Ok((cost, price.cost.total())),
        Some(Err(reason)) => Err(reason.as_str()),
        None => Err(NO_COST),
    }
}
