//! What attributes tell about a call of a model, until all of them are known.

use std::sync::Arc;

use super::token_counts::{self, Count, Evidence, count_of, counts_in};
use super::told_cost::ToldCost;
use super::{AttributeValue, put, read_text, set};
use crate::conventions::{Dialect, Fact, KeyMeaning};
use crate::prices::Unit;
use crate::span_record::{CallDetails, Interner, SpanRecord};

/// Who told each fact.
#[derive(Clone, Debug)]
pub(super) struct ToldBy {
    /// A bit for each fact, by its number.
    is_told: u128,
    /// Who, where it is told.
    ranks: [Rank; Fact::COUNT],
}

const _: () = assert!(Fact::COUNT <= u128::BITS as usize, "every fact has a bit");

impl Default for ToldBy {
    fn default() -> Self {
        // All zero, which is quick to make.
        ToldBy { is_told: 0, ranks: [Rank { dialect: Dialect::Longpole, key: [0; 2] }; Fact::COUNT] }
    }
}

impl ToldBy {
    pub(super) fn get(&self, fact: Fact) -> Option<Rank> {
        let is_told = self.is_told >> (fact as u32) & 1 == 1;
        self.ranks.get(fact as usize).filter(|_| is_told).copied()
    }

    pub(super) fn set(&mut self, fact: Fact, rank: Rank) {
        self.is_told |= 1 << (fact as u32);
        if let Some(of) = self.ranks.get_mut(fact as usize) {
            *of = rank;
        }
    }

    /// Whether somebody told this fact whose word counts for more.
    pub(super) fn has_better(&self, fact: Fact, rank: Rank) -> bool {
        self.get(fact).is_some_and(|told_by| told_by < rank)
    }
}

/// What is told about a call of a model, until it is known whether the span is one.
#[derive(Clone, Debug, Default)]
pub(super) struct ToldCall {
    pub(super) cost: ToldCost,
    /// Counts beyond the common kinds of tokens.
    usage: Vec<(Unit, Rank, u64)>,
    /// Counts in JSON.
    usage_json: Option<(Rank, Vec<(Fact, f64)>)>,
    total_tokens: Option<u64>,
    uncached_tokens: Option<u64>,
    has_bad_count: bool,
    pub(super) scope_leaves_out: bool,
    processing: Option<Arc<str>>,
    service_tier: Option<Arc<str>>,
    request_service_tier: Option<Arc<str>>,
    server_address: Option<Arc<str>>,
    api_url: Option<Arc<str>>,
    is_streamed: bool,
    is_from_cache: bool,
}

/// Whose word an attribute is, and how good a one: of one dialect's spellings of a fact the shorter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) dialect: Dialect,
    pub(super) key: [u8; 2],
}

impl Rank {
    /// Two spellings of one fact in one dialect differ in their length or in the sum of their bytes; a test sees to
    /// it.
    pub(super) const fn of(meaning: KeyMeaning) -> Self {
        Rank { dialect: meaning.dialect, key: meaning.spelling }
    }
}

impl ToldCall {
    /// Takes in what many attributes may tell together: amounts, and counts beyond the common kinds of tokens. Says
    /// whether that is all there is to it, as it is of a count that is none.
    pub(super) fn takes_whole(
        &mut self,
        fact: Fact,
        unit: Option<Unit>,
        rank: Rank,
        value: &AttributeValue<'_>,
    ) -> bool {
        if is_cost(fact) {
            self.cost.read(rank, fact, value);
            return true;
        }
        if !is_usage(fact) {
            return false;
        }
        match (count_of(value), unit) {
            (Count::Untold, _) => return true,
            (Count::Bad, _) => self.has_bad_count = true,
            (Count::Is(count), Some(unit)) if !is_common(fact) => self.usage.push((unit, rank, count)),
            (Count::Is(_), _) => return false,
        }
        true
    }

    /// Takes in one of the facts kept here, and says whether the value was of a type that tells it; `None` for others.
    pub(super) fn read(
        &mut self,
        fact: Fact,
        rank: Rank,
        value: &AttributeValue<'_>,
        interner: &mut Interner,
    ) -> Option<bool> {
        let mut text = |slot: &mut Option<Arc<str>>| read_text(slot, value, interner);
        Some(match fact {
            Fact::TotalTokens => put(&mut self.total_tokens, value.as_count()),
            Fact::UncachedTokens => put(&mut self.uncached_tokens, value.as_count()),
            Fact::Processing => text(&mut self.processing),
            Fact::ServiceTier => text(&mut self.service_tier),
            Fact::RequestServiceTier => text(&mut self.request_service_tier),
            Fact::ServerAddress => text(&mut self.server_address),
            Fact::ApiUrl => text(&mut self.api_url),
            Fact::Streamed => set(&mut self.is_streamed, value.as_bool()),
            Fact::FromCache => set(&mut self.is_from_cache, value.as_bool()),
            Fact::FirstChunk => !matches!(value, AttributeValue::Other),
            Fact::Scope => {
                set(&mut self.scope_leaves_out, value.as_str().map(token_counts::scope_leaves_out))
            }
            Fact::CostSource => {
                self.cost.read_source(value);
                true
            }
            Fact::UsageDetails => {
                let json = value.as_str().filter(|json| json.len() <= LONGEST_JSON);
                put(&mut self.usage_json, json.map(|json| (rank, counts_in(json))))
            }
            _ => return None,
        })
    }
}

impl ToldCall {
    /// Puts what is told about a call into the record: the cost and the counts of any span, the rest of a call of a
    /// model only.
    pub(super) fn finish(mut self, told_by: &mut ToldBy, record: &mut SpanRecord) {
        self.read_usage_json(told_by, record);
        let is_first_chunk_told = told_by.get(Fact::FirstChunk).is_some();
        let evidence = Evidence {
            total: self.total_tokens,
            uncached: self.uncached_tokens,
            scope_leaves_out: self.scope_leaves_out,
            cached_by: told_by.get(Fact::CacheReadTokens).map(|rank| rank.dialect),
        };
        let has_bad_cost = self.cost.has_bad_amount();
        let settled = self.cost.settle();
        if record.facts.is_none() && settled.is_none() && !self.has_bad_count && !has_bad_cost {
            return;
        }
        let mut details =
            CallDetails { has_bad_count: self.has_bad_count, has_bad_cost, ..CallDetails::default() };
        let facts = record.facts.get_or_insert_default();
        details.other_usage = other_usage(self.usage);
        if facts.tokens.cache_write.is_none() {
            let by_ttl = details.other_usage.iter().filter(|(unit, _)| WRITES_BY_TTL.contains(unit));
            facts.tokens.cache_write = by_ttl.map(|(_, count)| *count).reduce(u64::saturating_add);
        }
        details.unexplained_tokens = token_counts::settle(facts, evidence);
        if let Some(settled) = settled {
            details.told_free = settled.told_free;
            facts.cost = Some(settled.cost);
            facts.cost_source = Some(settled.source);
            facts.cost_parts = settled.parts.map(Box::new);
        }
        if facts.is_inference() {
            details.is_streamed = self.is_streamed || is_first_chunk_told;
            details.is_from_cache = self.is_from_cache;
            details.processing = self.processing;
            details.service_tier = self.service_tier.or(self.request_service_tier);
            details.api_url = self.api_url;
            facts.server_address = self.server_address;
        } else {
            // Kept for calls only, of which there are few.
            details.unexplained_tokens = 0;
        }
        facts.call = (details != CallDetails::default()).then(|| Box::new(details));
    }

    /// Takes in counts in JSON where no attribute of a better dialect tells them.
    fn read_usage_json(&mut self, told_by: &mut ToldBy, record: &mut SpanRecord) {
        let Some((rank, counts)) = self.usage_json.take() else { return };
        for (fact, count) in counts {
            let Count::Is(count) = count_of(&AttributeValue::Double(count)) else {
                self.has_bad_count = true;
                continue;
            };
            if told_by.has_better(fact, rank) {
                continue;
            }
            told_by.set(fact, rank);
            let tokens = &mut record.facts.get_or_insert_default().tokens;
            let slot = match fact {
                Fact::InputTokens => &mut tokens.input,
                Fact::OutputTokens => &mut tokens.output,
                Fact::CacheReadTokens => &mut tokens.cache_read,
                Fact::CacheWriteTokens => &mut tokens.cache_write,
                Fact::ReasoningTokens => &mut tokens.reasoning,
                _ => &mut self.total_tokens,
            };
            *slot = Some(count);
        }
    }
}

/// Longer JSON holds no counts.
const LONGEST_JSON: usize = 4_096;

const WRITES_BY_TTL: [Unit; 2] = [Unit::CACHE_WRITE_5M, Unit::CACHE_WRITE_1H];

/// The best told count of each unit, in the order of units.
fn other_usage(mut usage: Vec<(Unit, Rank, u64)>) -> Vec<(Unit, u64)> {
    usage.sort_unstable();
    usage.dedup_by_key(|(unit, ..)| *unit);
    usage.into_iter().map(|(unit, _, count)| (unit, count)).collect()
}

/// Whether it is a common kind of tokens, which has a place of its own in the record.
fn is_common(fact: Fact) -> bool {
    use Fact::{CacheReadTokens, CacheWriteTokens, InputTokens, OutputTokens, ReasoningTokens};
    matches!(fact, InputTokens | OutputTokens | CacheReadTokens | CacheWriteTokens | ReasoningTokens)
}

/// Whether it counts what a call used.
fn is_usage(fact: Fact) -> bool {
    let is_other = matches!(fact, Fact::TotalTokens | Fact::UncachedTokens | Fact::UnitUsage);
    is_common(fact) || is_other || token_counts::unit_of(fact).is_some()
}

/// Whether it is an amount of money.
fn is_cost(fact: Fact) -> bool {
    use Fact::{
        Cost, CostCacheRead, CostCacheWrite, CostDetails, CostInput, CostOther, CostOutput, CostPrompt,
    };
    matches!(
        fact,
        Cost | CostPrompt | CostInput | CostOutput | CostCacheRead | CostCacheWrite | CostOther | CostDetails
    )
}
