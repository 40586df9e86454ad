//! What one span cost: what it says itself, else what a table of prices says about what it used.
//!
//! Only calls of models are given a price: an agent's or a workflow's span that tells tokens repeats those of the calls
//! in it. Where a price could be wrong there is none, and the reason instead.

use crate::money::Money;
use crate::prices::{Call, Price, PriceTable, Unit, Unpriced, Usage};
use crate::span_record::{CallDetails, CostSource, NodeFacts, SpanRecord};
use crate::time::Timestamp;

/// Gives every call of a model a price that has none, or says why it has none. Costs that were told stand, but for
/// a library's zero; see [`price`]. `None`: the table that comes with longpole.
pub fn price_spans(records: &mut [SpanRecord], prices: Option<&PriceTable>) {
    let mut table = prices;
    for record in records.iter_mut() {
        let (at, failed) = (record.start, record.failed());
        if let Some(facts) = record.facts.as_deref_mut().filter(|facts| facts.is_inference()) {
            // The embedded table is read when it is first needed: many runs call no model.
            price_call(facts, at, failed, table.get_or_insert_with(|| PriceTable::embedded()));
        }
    }
}

fn price_call(facts: &mut NodeFacts, at: Timestamp, failed: bool, prices: &PriceTable) {
    match price(facts, at, failed, prices) {
        None => tell_what_has_no_price(facts, at, prices),
        Some(Ok(price)) => {
            if facts.cost.is_some() {
                facts.call.get_or_insert_default().told_free = true;
            }
            if !price.without_price.is_empty() {
                facts.call.get_or_insert_default().without_price = price.without_price;
            }
            facts.cost = Some(price.cost.total());
            facts.cost_source = Some(CostSource::Estimated);
            facts.cost_parts = Some(Box::new(price.cost));
            facts.cost_table = Some(prices.label().clone());
        }
        Some(Err(reason)) => {
            facts.unpriced = Some(reason);
            facts.cost_table = Some(prices.label().clone());
        }
    }
}

/// What an estimate that was read back leaves out is not written; the table it was made with still knows.
fn tell_what_has_no_price(facts: &mut NodeFacts, at: Timestamp, prices: &PriceTable) {
    let has_others = facts.call.as_ref().is_some_and(|details| !details.other_usage.is_empty());
    let is_ours = facts.cost_source == Some(CostSource::Estimated);
    if !has_others || !is_ours || facts.cost_table.as_ref() != Some(prices.label()) {
        return;
    }
    if let Ok(usage) = usage_of(facts, false)
        && let Ok(price) = look_up(facts, at, &usage, prices)
    {
        facts.call.get_or_insert_default().without_price = price.without_price;
    }
}

/// What a call of a model that began `at` cost by this table, or why it has no price there. `None` where the span is
/// no call of a model, or tells its cost.
///
/// A cost of zero that a library tells is not taken where the table has a price above zero for what was used:
/// libraries write zero for models they do not know. It is where the library answered from its own cache, and
/// where longpole's own key tells it.
///
/// The model that answered counts before the one asked for, unless the table does not know it. Zero tokens of a model
/// that has a price cost nothing; of which nothing is told, neither zero nor more, there is no price. Costs a look
/// into the table's cache once the model was seen.
pub fn price(
    facts: &NodeFacts,
    at: Timestamp,
    failed: bool,
    prices: &PriceTable,
) -> Option<Result<Price, Unpriced>> {
    if !facts.is_inference() {
        return None;
    }
    let details = facts.call.as_deref();
    let is_from_cache = details.is_some_and(|details| details.is_from_cache);
    match (facts.cost, facts.cost_source) {
        (None, _) => Some(usage_of(facts, failed).and_then(|usage| look_up(facts, at, &usage, prices))),
        (Some(Money::ZERO), Some(source)) if source.is_foreign() && !is_from_cache => {
            let usage = usage_of(facts, failed).ok()?;
            let price = look_up(facts, at, &usage, prices).ok()?;
            (price.cost.total() > Money::ZERO).then_some(Ok(price))
        }
        (Some(_), _) => None,
    }
}

/// What a call used, as far as it is told without a contradiction.
fn usage_of(facts: &NodeFacts, failed: bool) -> Result<Usage, Unpriced> {
    let tokens = &facts.tokens;
    let details = facts.call.as_deref();
    if details.is_some_and(|details| details.has_bad_count) {
        return Err(Unpriced::BadCount);
    }
    let other = details.map_or(&[][..], |details| &details.other_usage);
    let common = [
        (Unit::INPUT, tokens.input),
        (Unit::OUTPUT, tokens.output),
        (Unit::CACHE_READ, tokens.cache_read),
        (Unit::CACHE_WRITE, tokens.cache_write),
        (Unit::REASONING, tokens.reasoning),
    ];
    if other.is_empty() && common.iter().all(|(_, count)| count.is_none()) {
        // A model that has answered has used something, whatever became of the answer.
        let has_answered = facts.response_model.is_some() || facts.outcome.is_some();
        return Err(if failed && !has_answered {
            Unpriced::FailedWithoutUsage
        } else {
            Unpriced::UsageMissing
        });
    }
    // Half of what an answer used is no usage. Embeddings and rankings have no output, and what failed may have none.
    let has_output = !matches!(facts.operation.as_deref(), Some("embeddings" | "rerank"));
    let is_half = tokens.input.is_none() || (has_output && !failed && tokens.output.is_none());
    if other.is_empty() && is_half && (tokens.input.is_some() || tokens.output.is_some()) {
        return Err(Unpriced::UsageMissing);
    }
    if details.is_some_and(|details| details.unexplained_tokens > 0) {
        return Err(Unpriced::CountsContradict);
    }
    let mut usage = Usage::default();
    for (unit, count) in common {
        if let Some(count) = count {
            usage.set(unit, count);
        }
    }
    other.iter().for_each(|(unit, count)| usage.set(*unit, *count));
    Ok(usage)
}

/// Looks a call up by the model that answered, else by the one asked for.
fn look_up(facts: &NodeFacts, at: Timestamp, usage: &Usage, prices: &PriceTable) -> Result<Price, Unpriced> {
    let models = [facts.response_model.as_deref(), facts.request_model.as_deref()];
    let mut models = models.into_iter().flatten();
    let first = models.next().ok_or(Unpriced::ModelMissing)?;
    match look_up_model(facts, first, at, usage, prices) {
        Err(Unpriced::UnknownModel) => {
            let asked_for = models.next().filter(|model| *model != first);
            let asked_for = asked_for.map(|model| look_up_model(facts, model, at, usage, prices));
            asked_for.filter(|price| price.is_ok()).unwrap_or(Err(Unpriced::UnknownModel))
        }
        outcome => outcome,
    }
}

fn look_up_model(
    facts: &NodeFacts,
    model: &str,
    at: Timestamp,
    usage: &Usage,
    prices: &PriceTable,
) -> Result<Price, Unpriced> {
    let details = facts.call.as_deref();
    let (context, length) = context_of(details);
    let context = context.get(..length).unwrap_or_default();
    let provider = facts.provider.as_deref().filter(|provider| !is_framework(provider));
    let address = details.and_then(|details| details.api_url.as_deref()).or(facts.server_address.as_deref());
    let look_up = |provider, api_url| prices.price(&Call { provider, api_url, model, at, context, usage });
    let Some(provider) = provider else { return look_up(None, address) };
    // OpenAI's client speaks with many others, which instrumentations of it do not notice.
    if provider.eq_ignore_ascii_case("openai") && address.is_some() {
        match look_up(None, address) {
            Err(Unpriced::UnknownProvider) => {}
            outcome => return outcome,
        }
    }
    match (look_up(Some(provider), None), provider.split_once('.')) {
        // The AI SDK adds the kind of API: `openai.responses`, `anthropic.messages`.
        (Err(Unpriced::UnknownProvider), Some((provider, _))) => look_up(Some(provider), None),
        (outcome, _) => outcome,
    }
}

/// Frameworks that write their own name where the provider's belongs.
const FRAMEWORKS: [&str; 7] =
    ["strands-agents", "langchain", "llamaindex", "llama_index", "haystack", "crewai", "unknown"];

fn is_framework(provider: &str) -> bool {
    FRAMEWORKS.iter().any(|name| provider.eq_ignore_ascii_case(name))
}

/// How the call was made, in the words of the table, and how many of the pairs count.
fn context_of(details: Option<&CallDetails>) -> ([(&'static str, &str); 2], usize) {
    let mut context = [("", ""); 2];
    let processing = details.and_then(|details| details.processing.as_deref());
    // `auto` is what was asked for, not what answered. Anthropic calls its batches a tier.
    let tier = details.and_then(|details| details.service_tier.as_deref()).filter(|tier| *tier != "auto");
    let processing = processing.or(tier.filter(|tier| *tier == "batch"));
    let told = [("processing", processing), ("service_tier", tier.filter(|tier| *tier != "batch"))];
    let told = told.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let length = context.iter_mut().zip(told).map(|(slot, pair)| *slot = pair).count();
    (context, length)
}
