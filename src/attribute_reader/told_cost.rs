//! What attributes say a span cost: of several that do, one counts, with its own parts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::AttributeValue;
use super::told_call::Rank;
use crate::conventions::{Dialect, Fact};
use crate::money::{CostParts, Money};
use crate::span_record::CostSource;

/// No node costs more; what is beyond is a mistake in a unit.
const MOST: Money = Money::from_picodollars(1_000_000_000 * 1_000_000_000_000);

/// Longer JSON is no list of amounts.
const LONGEST_JSON: usize = 4_096;

/// Amounts as they are told, until all of them are known.
#[derive(Clone, Debug, Default)]
pub(super) struct ToldCost {
    amounts: Vec<(Rank, Fact, Money)>,
    source: Option<CostSource>,
    has_bad_amount: bool,
}

/// What a span cost, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) cost: Money,
    pub(super) source: CostSource,
    pub(super) parts: Option<CostParts>,
    /// Somebody else told zero, which is not what counts.
    pub(super) told_free: bool,
}

impl ToldCost {
    /// Takes in one amount, or several in JSON.
    pub(super) fn read(&mut self, rank: Rank, fact: Fact, value: &AttributeValue<'_>) {
        match value {
            AttributeValue::Other | AttributeValue::Strings(_) | AttributeValue::Bool(_) => {}
            AttributeValue::Str(text) if fact == Fact::CostDetails => self.read_json(rank, text),
            AttributeValue::Str(text) => self.take(rank, fact, Money::from_decimal(text.trim())),
            AttributeValue::Double(dollars) => self.take(rank, fact, Money::from_usd(*dollars)),
            AttributeValue::Int(dollars) => {
                let units = i128::from(*dollars).checked_mul(1_000_000_000_000);
                self.take(rank, fact, units.map(Money::from_picodollars));
            }
        }
    }

    /// Takes in who says what the span cost, where longpole's own key tells.
    pub(super) fn read_source(&mut self, value: &AttributeValue<'_>) {
        self.source = match value {
            AttributeValue::Str("recorded") => Some(CostSource::Recorded),
            AttributeValue::Str("estimated") => Some(CostSource::Estimated),
            AttributeValue::Str("provider") => Some(CostSource::GenAi),
            _ => return,
        };
    }

    /// Whether an amount was told that is none.
    pub(super) fn has_bad_amount(&self) -> bool {
        self.has_bad_amount
    }

    fn take(&mut self, rank: Rank, fact: Fact, amount: Option<Money>) {
        match amount.filter(|amount| (Money::ZERO..=MOST).contains(amount)) {
            Some(amount) => self.amounts.push((rank, fact, amount)),
            None => self.has_bad_amount = true,
        }
    }

    fn read_json(&mut self, rank: Rank, json: &str) {
        if json.len() > LONGEST_JSON {
            return;
        }
        let Ok(entries) = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(json) else { return };
        for (key, amount) in entries {
            let text = amount.get().trim_matches('"');
            if text != "null" {
                self.take(rank, fact_of_detail(&key), Money::from_decimal(text));
            }
        }
    }

    /// What counts: longpole's own amount; else the first dialect's that is not zero, since libraries write zero for
    /// models they have no price of; else zero, if somebody told it.
    pub(super) fn settle(mut self) -> Option<Settled> {
        if self.amounts.is_empty() {
            return None;
        }
        self.amounts.sort_unstable_by_key(|(rank, fact, _)| (rank.dialect, *fact as usize, rank.key));
        let by_dialect = || self.amounts.chunk_by(|(a, ..), (b, ..)| a.dialect == b.dialect);
        let told = || by_dialect().filter_map(|told| Some((told.first()?.0.dialect, Told(told))));
        let own = told().find(|(dialect, _)| *dialect == Dialect::Longpole);
        let foreign = || told().filter(|(dialect, _)| *dialect != Dialect::Longpole);
        let is_free = |(_, told): &(Dialect, Told<'_>)| told.total() == Some(Money::ZERO);
        let counts = own.or_else(|| foreign().find(|told| !is_free(told))).or_else(|| foreign().next());
        let (dialect, told) = counts?;
        let cost = told.total()?;
        let source = match (dialect, self.source) {
            (Dialect::Longpole, None) => CostSource::Recorded,
            // The provider's own figure says which it is, if it is still there.
            (Dialect::Longpole, Some(CostSource::GenAi)) => foreign()
                .find(|(_, told)| told.total() == Some(cost))
                .map_or(CostSource::GenAi, |(dialect, _)| source_of(dialect)),
            (Dialect::Longpole, Some(source)) => source,
            (dialect, _) => source_of(dialect),
        };
        let told_free = cost > Money::ZERO && foreign().any(|told| is_free(&told));
        Some(Settled { cost, source, parts: told.parts(cost), told_free })
    }
}

/// The amounts of one dialect, in the order of facts.
#[derive(Clone, Copy)]
struct Told<'a>(&'a [(Rank, Fact, Money)]);

impl Told<'_> {
    fn amount(&self, wanted: Fact) -> Option<Money> {
        self.0.iter().find(|(_, fact, _)| *fact == wanted).map(|(.., amount)| *amount)
    }

    fn sum(&self, wanted: Fact) -> Option<Money> {
        let mut amounts = self.0.iter().filter(|(_, fact, _)| *fact == wanted).map(|(.., amount)| *amount);
        let first = amounts.next()?;
        Some(amounts.fold(first, Money::saturating_add))
    }

    fn total(&self) -> Option<Money> {
        self.amount(Fact::Cost).or_else(|| self.unreconciled().map(|parts| parts.total()))
    }

    /// The parts as they are told; `None` if neither input nor output is.
    fn unreconciled(&self) -> Option<CostParts> {
        let is_json = self.0.first().is_some_and(|(rank, ..)| rank.dialect == Dialect::Langfuse);
        // Kinds that Langfuse tells apart are all billed; spellings of one kind elsewhere are one amount.
        let part = |fact| if is_json { self.sum(fact) } else { self.amount(fact) };
        let (cache_read, cache_write) = (part(Fact::CostCacheRead), part(Fact::CostCacheWrite));
        let cached = cache_read.unwrap_or_default().saturating_add(cache_write.unwrap_or_default());
        let input = part(Fact::CostPrompt)
            .map(|prompt| minus(prompt, cached).max(Money::ZERO))
            .or_else(|| part(Fact::CostInput));
        let output = part(Fact::CostOutput);
        if input.is_none() && output.is_none() && cached == Money::ZERO {
            return None;
        }
        Some(CostParts {
            input: input.unwrap_or_default(),
            output: output.unwrap_or_default(),
            cache_read: cache_read.unwrap_or_default(),
            cache_write: cache_write.unwrap_or_default(),
            other: part(Fact::CostOther).unwrap_or_default(),
        })
    }

    /// The parts, if they add up to `total`: what rounding to 10⁻¹² USD took from each goes to the largest, and what
    /// is told beside whole input and output is `other`.
    fn parts(&self, total: Money) -> Option<CostParts> {
        let mut parts = self.unreconciled()?;
        let rest = minus(total, parts.total());
        let is_rounding = rest.as_picodollars().unsigned_abs() <= 5;
        let has_both = self.amount(Fact::CostOutput).is_some()
            && (self.amount(Fact::CostInput).is_some() || self.amount(Fact::CostPrompt).is_some());
        let slot = if is_rounding {
            let slots = [
                &mut parts.input,
                &mut parts.output,
                &mut parts.cache_read,
                &mut parts.cache_write,
                &mut parts.other,
            ];
            slots.into_iter().max_by_key(|amount| **amount)?
        } else if rest > Money::ZERO && has_both {
            &mut parts.other
        } else {
            return None;
        };
        *slot = slot.saturating_add(rest);
        Some(parts).filter(|parts| parts.total() == total)
    }
}

fn minus(amount: Money, taken: Money) -> Money {
    Money::from_picodollars(amount.as_picodollars().saturating_sub(taken.as_picodollars()))
}

/// The source that amounts of this dialect are.
fn source_of(dialect: Dialect) -> CostSource {
    match dialect {
        Dialect::Longpole => CostSource::Recorded,
        Dialect::OpenTelemetry | Dialect::OldGenAi | Dialect::OpenLlmetry | Dialect::VercelAi => {
            CostSource::GenAi
        }
        Dialect::OpenInference => CostSource::OpenInference,
        Dialect::Mlflow => CostSource::Mlflow,
        Dialect::Langfuse => CostSource::Langfuse,
        Dialect::PydanticAi => CostSource::PydanticAi,
        Dialect::LiteLlm => CostSource::LiteLlm,
    }
}

/// What an entry of MLflow's `{"input_cost", "output_cost", "total_cost"}` or Langfuse's details tells, whose kinds
/// have any names that begin with `input` or `output`.
fn fact_of_detail(key: &str) -> Fact {
    let has = |part: &str| key.contains(part);
    match key {
        "total" | "total_cost" => Fact::Cost,
        _ if has("cache_creation") || has("cache_write") => Fact::CostCacheWrite,
        _ if has("cache") => Fact::CostCacheRead,
        _ if key.starts_with("input") || key.starts_with("prompt") => Fact::CostInput,
        _ if key.starts_with("output") || key.starts_with("completion") => Fact::CostOutput,
        _ => Fact::CostOther,
    }
}
