//! What a run cost, and what of that is known: calls of models by model, node and depth, on and off the critical path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::charges::add_count;
use crate::money::{CostParts, Money};
use crate::span_record::TokenCounts;
use crate::time::Duration;

/// What a run cost.
///
/// Every call of a model counts once, and so does every other cost somebody told. A span that repeats the sums of those
/// below it (an agent, a workflow) is not charged again, see [`CostSection::roll_ups`]. The sum over
/// [`CostSection::nodes`] and [`CostSection::outside_nodes_usd`] is [`CostSection::total_usd`] to the last digit; so
/// are the sums over [`CostSection::models`], [`CostSection::depths`] and [`CostSection::sources`], and on and off the
/// path.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostSection {
    /// What it cost; absent where no cost is known. The same as [`Totals::cost_usd`](super::Totals::cost_usd).
    pub total_usd: Option<Money>,
    /// Whether it cost more than that, or may have: some call has no price or only one of a part of what it used, and nothing
    /// around it pays for it; or spans are missing. Calls that failed without using anything that is told do not count for this: most of them, like
    /// those beyond a rate limit, are not billed.
    pub is_lower_bound: bool,
    /// What for, of those costs that say so; absent where none does.
    pub parts: Option<CostParts>,
    /// The costs that do not say what for; absent where there are none.
    pub unsplit_usd: Option<Money>,
    /// Who says what it cost, most first.
    pub sources: Vec<CostSourceRow>,
    /// The tables of prices that were asked, whether they had an answer or not, by name.
    pub price_tables: Vec<String>,
    /// How many calls of models there were. Calls of one model inside each other, as two instrumentations of one program
    /// write them, are one.
    pub calls: u64,
    /// How many of them have a cost.
    pub priced_calls: u64,
    /// How many have none, but a span around them tells what they cost together.
    pub covered_calls: u64,
    /// How many have none, and nothing pays for them: those of [`CostSection::unpriced`] that are neither covered nor
    /// `failed_without_usage`.
    pub unpriced_calls: u64,
    /// How many calls have a cost that leaves out some of what they used, as it has no price.
    pub partly_priced_calls: u64,
    /// What that is, by name, and in how many calls: `web_searches`.
    pub without_price: BTreeMap<String, u64>,
    /// The calls without a cost, by reason, provider and model, most calls first.
    pub unpriced: Vec<UnpricedRow>,
    /// What calls cost that have time on the critical path, in their span or in one inside it; absent where no cost is
    /// known.
    pub on_path_usd: Option<Money>,
    /// What all others cost.
    pub off_path_usd: Option<Money>,
    /// What second and later tries cost, everything inside them included; absent where no cost is known.
    pub retries_usd: Option<Money>,
    /// What tries cost that failed and were tried again: what a run without retries would not have spent.
    pub lost_to_retries_usd: Option<Money>,
    /// What calls cost that failed.
    pub failed_usd: Option<Money>,
    /// How many calls failed.
    pub failed_calls: u64,
    /// What was used, by kind.
    pub tokens: TokenSums,
    /// By model, dearest first.
    pub models: Vec<ModelCost>,
    /// By node, dearest first: those with a cost, tokens or calls, and those around them.
    pub nodes: Vec<NodeCost>,
    /// What was charged outside every node.
    pub outside_nodes_usd: Option<Money>,
    /// By how many executions a node is nested in, from the outside in.
    pub depths: Vec<DepthCost>,
    /// What is odd about costs that were told, counted: `told_free`, a library says a call cost nothing and a table of
    /// prices says otherwise, which is taken; `bad_cost`, what is told is no amount of money.
    pub warnings: BTreeMap<String, u64>,
    /// Spans whose own sums differ from those of the calls below them: the first few.
    pub roll_ups: Vec<RollUpDifference>,
    /// How many such spans there are.
    pub roll_ups_total: u64,
}

impl CostSection {
    /// How many differing roll-ups a report names at most.
    pub const MAX_ROLL_UPS: usize = 10;
}

/// Tokens by kind, summed over calls. Absent: no call told any.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSums {
    /// Input, cached included.
    pub input: Option<u64>,
    /// Output, reasoning included.
    pub output: Option<u64>,
    /// Input that was read from a cache.
    pub cache_read: Option<u64>,
    /// Input that was written to a cache.
    pub cache_write: Option<u64>,
    /// Output the model kept to itself.
    pub reasoning: Option<u64>,
}

impl TokenSums {
    /// Adds what others come to.
    pub(super) fn add_sums(&mut self, other: &TokenSums) {
        let TokenSums { input, output, cache_read, cache_write, reasoning } = *other;
        self.add(&TokenCounts { input, output, cache_read, cache_write, reasoning });
    }

    /// Adds what one call tells.
    pub(crate) fn add(&mut self, counts: &TokenCounts) {
        self.input = add_count(self.input, counts.input);
        self.output = add_count(self.output, counts.output);
        self.cache_read = add_count(self.cache_read, counts.cache_read);
        self.cache_write = add_count(self.cache_write, counts.cache_write);
        self.reasoning = add_count(self.reasoning, counts.reasoning);
    }
}

/// Who says what some calls cost.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostSourceRow {
    /// `recorded`: the program; `provider`: the provider or a library; `estimated`: a table of prices.
    pub source: String,
    /// The attribute it was read from; absent for estimates.
    pub key: Option<String>,
    /// The table of prices of an estimate, by name.
    pub table: Option<String>,
    /// How many costs.
    pub charges: u64,
    /// How much.
    pub cost_usd: Money,
}

/// Calls without a cost.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpricedRow {
    /// Why: the name of an [`Unpriced`](crate::prices::Unpriced); `not_priced` where nobody tried.
    pub reason: String,
    /// Who was called, where that is known.
    pub provider: Option<String>,
    /// The model, where that is known.
    pub model: Option<String>,
    /// How many calls.
    pub calls: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many of them a span around them pays for.
    pub covered: u64,
    /// What they used, as far as they tell.
    pub tokens: TokenSums,
    /// What would give them a cost, where that is known.
    pub hint: Option<String>,
}

/// What calls of a model cost.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCost {
    /// Who was called, where that is known.
    pub provider: Option<String>,
    /// The model that answered, else the one that was asked for; absent for calls that name none, and for costs of
    /// other spans.
    pub model: Option<String>,
    /// How many calls.
    pub calls: u64,
    /// How many of them are among [`CostSection::unpriced_calls`].
    pub unpriced_calls: u64,
    /// How many of them failed.
    pub failed_calls: u64,
    /// What they cost; absent where that is not known of any.
    pub cost_usd: Option<Money>,
    /// Whether they cost more, or may have: see [`CostSection::is_lower_bound`].
    pub is_lower_bound: bool,
    /// As a share of what the run cost.
    pub cost_ratio: Option<f64>,
    /// What they used.
    pub tokens: TokenSums,
    /// How many of them wrote tokens, took time and did not fail: those its speed is measured by.
    pub timed_calls: u64,
    /// How long those took, without queueing.
    pub output_time_ns: Duration,
    /// The tokens those wrote.
    pub timed_output_tokens: u64,
}

/// What a node cost.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeCost {
    /// The node.
    pub node: String,
    /// How many calls of models it made itself, not through nested nodes.
    pub calls: u64,
    /// How many of them are among [`CostSection::unpriced_calls`].
    pub unpriced_calls: u64,
    /// What it cost itself; absent where that is not known.
    pub cost_usd: Option<Money>,
    /// Whether it cost more, or may have: see [`CostSection::is_lower_bound`].
    pub is_lower_bound: bool,
    /// What it cost with everything inside it.
    pub with_nested_usd: Option<Money>,
    /// Its own cost as a share of what the run cost.
    pub cost_ratio: Option<f64>,
    /// Its time on the critical path as a share of the wall time.
    pub path_ratio: f64,
    /// What of its own cost has time on the critical path.
    pub on_path_usd: Option<Money>,
    /// What has none.
    pub off_path_usd: Option<Money>,
    /// What of its own cost is of second and later tries.
    pub retries_usd: Option<Money>,
    /// What it used.
    pub tokens: TokenSums,
}

/// What nodes cost that are nested so deep.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthCost {
    /// In how many executions; absent for what is outside every node.
    pub depth: Option<u64>,
    /// How many calls.
    pub calls: u64,
    /// What they cost; absent where that is not known.
    pub cost_usd: Option<Money>,
    /// What they used.
    pub tokens: TokenSums,
}

/// A span whose own sums are not those of the calls below it. Its calls count, what it says does not.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollUpDifference {
    /// The node it belongs to, where it belongs to one.
    pub node: Option<String>,
    /// Its name.
    pub span: String,
    /// Its id.
    pub span_id: String,
    /// `cost`, `input_tokens` or `output_tokens`.
    pub measure: String,
    /// What it says: dollars of a cost, else a count.
    pub says: String,
    /// What the calls below it come to.
    pub calls_say: String,
    /// How many calls are below it.
    pub calls: u64,
}
