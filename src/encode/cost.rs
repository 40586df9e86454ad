//! What a call of a model cost, as attributes of its span.

use super::span::{EncodedKey, SPAN_ATTRIBUTE, append_double, append_str};
use crate::conventions as keys;
use crate::money::{CostParts, Money};
use crate::span_record::{CostSource, NodeFacts};

/// In whose words, beside longpole's own, the cost of a call is written too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CostMirror {
    /// `gen_ai.usage.cost`, a number in USD, which Langfuse and others read.
    GenAi,
    /// OpenInference's `llm.cost.total`, `.prompt` and `.completion`, numbers in USD.
    OpenInference,
    /// MLflow's `mlflow.llm.cost`, JSON as text.
    Mlflow,
    /// Langfuse's `langfuse.observation.cost_details`, JSON as text.
    Langfuse,
}

impl CostMirror {
    /// All of them.
    pub const ALL: [CostMirror; 4] =
        [CostMirror::GenAi, CostMirror::OpenInference, CostMirror::Mlflow, CostMirror::Langfuse];

    /// The mirror of this name: `gen_ai`, `openinference`, `mlflow` or `langfuse`, in either case.
    pub fn from_name(name: &str) -> Option<Self> {
        CostMirror::ALL.into_iter().find(|mirror| name.eq_ignore_ascii_case(mirror.name()))
    }

    /// See [`CostMirror::from_name`].
    pub const fn name(self) -> &'static str {
        match self {
            CostMirror::GenAi => "gen_ai",
            CostMirror::OpenInference => "openinference",
            CostMirror::Mlflow => "mlflow",
            CostMirror::Langfuse => "langfuse",
        }
    }

    /// The key that says that somebody has written it already.
    const fn key(self) -> &'static str {
        match self {
            CostMirror::GenAi => CostSource::GenAi.key(),
            CostMirror::OpenInference => CostSource::OpenInference.key(),
            CostMirror::Mlflow => CostSource::Mlflow.key(),
            CostMirror::Langfuse => CostSource::Langfuse.key(),
        }
    }
}

/// `Span.attributes` fields that say what the estimate in `facts` is, or that there is none.
pub(crate) fn append_estimate(bytes: &mut Vec<u8>, facts: &NodeFacts) {
    match facts.cost {
        Some(cost) => {
            push_usd(bytes, keys::COST_USD, cost);
            if let Some(parts) = facts.cost_parts.as_deref() {
                for (key, part) in parts_of(parts) {
                    if part != Money::ZERO {
                        push_usd(bytes, key, part);
                    }
                }
            }
            push_text(bytes, keys::COST_SOURCE, CostSource::Estimated.as_str());
        }
        None => push_text(bytes, keys::COST_SOURCE, keys::UNPRICED),
    }
    if let Some(table) = &facts.cost_table {
        push_text(bytes, keys::COST_TABLE, table);
    }
}

/// The same in the words of others, where `has_key` does not say that they are there.
pub(crate) fn append_mirrors(
    bytes: &mut Vec<u8>,
    facts: &NodeFacts,
    mirrors: &[CostMirror],
    has_key: impl Fn(&str) -> bool,
) {
    let Some(cost) = facts.cost else { return };
    let parts = facts.cost_parts.as_deref();
    // Those who know input and output alone: what is neither counts as input, as their sums have it.
    let output = parts.map(|parts| parts.output);
    let input = output.map(|output| cost.saturating_sub(output));
    for mirror in mirrors.iter().filter(|mirror| !has_key(mirror.key())) {
        match mirror {
            CostMirror::GenAi => push_usd(bytes, mirror.key(), cost),
            CostMirror::OpenInference => {
                push_usd(bytes, mirror.key(), cost);
                if let (Some(input), Some(output)) = (input, output) {
                    push_usd(bytes, "llm.cost.prompt", input);
                    push_usd(bytes, "llm.cost.completion", output);
                }
            }
            CostMirror::Mlflow => {
                let parts = [("input_cost", input), ("output_cost", output), ("total_cost", Some(cost))];
                push_text(bytes, mirror.key(), &amounts(parts));
            }
            CostMirror::Langfuse => {
                let parts = [("input", input), ("output", output), ("total", Some(cost))];
                push_text(bytes, mirror.key(), &amounts(parts));
            }
        }
    }
}

/// Key and amount of each part of a cost.
fn parts_of(parts: &CostParts) -> [(&'static str, Money); 5] {
    [
        (keys::COST_INPUT_USD, parts.input),
        (keys::COST_OUTPUT_USD, parts.output),
        (keys::COST_CACHE_READ_USD, parts.cache_read),
        (keys::COST_CACHE_WRITE_USD, parts.cache_write),
        (keys::COST_OTHER_USD, parts.other),
    ]
}

/// A JSON object of exact decimals.
fn amounts<const N: usize>(amounts: [(&str, Option<Money>); N]) -> String {
    let told = amounts.into_iter().filter_map(|(name, amount)| Some((name, amount?)));
    let members: Vec<String> = told.map(|(name, amount)| format!("\"{name}\":{amount}")).collect();
    format!("{{{}}}", members.join(","))
}

fn push_usd(bytes: &mut Vec<u8>, key: &str, amount: Money) {
    append_double(bytes, SPAN_ATTRIBUTE, &EncodedKey::new(key), amount.as_usd());
}

fn push_text(bytes: &mut Vec<u8>, key: &str, text: &str) {
    append_str(bytes, SPAN_ATTRIBUTE, &EncodedKey::new(key), text, text.len());
}
