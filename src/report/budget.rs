//! What a run may use before somebody is told, and what it has used of that.

use serde::{Deserialize, Serialize};

use super::Tokens;
use crate::money::Money;

/// How much a run may use. Nothing is ever stopped: it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// How many US dollars; `None` sets no limit.
    pub cost_usd: Option<Money>,
    /// How many tokens, input and output together; `None` sets no limit.
    pub tokens: Option<u64>,
}

/// What a run has used of a budget.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "budget", rename_all = "snake_case")]
pub enum BudgetUse {
    /// Of money, as far as it is known: calls without a price are missing.
    CostUsd {
        /// How many US dollars it may cost.
        limit: Money,
        /// How many it cost.
        used: Money,
    },
    /// Of tokens, input and output together.
    Tokens {
        /// How many it may use.
        limit: u64,
        /// How many it used.
        used: u64,
    },
}

impl Budgets {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        *self == Budgets::default()
    }

    /// What is used of each budget that is set. Where nothing told a cost or tokens, none of it is.
    pub fn used(&self, cost: Option<Money>, tokens: Option<u64>) -> Vec<BudgetUse> {
        let of_money = |limit| BudgetUse::CostUsd { limit, used: cost.unwrap_or_default() };
        let of_tokens = |limit| BudgetUse::Tokens { limit, used: tokens.unwrap_or_default() };
        self.cost_usd.map(of_money).into_iter().chain(self.tokens.map(of_tokens)).collect()
    }

    pub(super) fn used_by(&self, cost: Option<Money>, tokens: Option<Tokens>) -> Vec<BudgetUse> {
        self.used(cost, tokens.map(|tokens| tokens.input.saturating_add(tokens.output)))
    }
}

impl BudgetUse {
    /// Whether more is used than may be. All of a budget may.
    pub fn is_exceeded(&self) -> bool {
        match self {
            BudgetUse::CostUsd { limit, used } => used > limit,
            BudgetUse::Tokens { limit, used } => used > limit,
        }
    }

    /// `cost_usd` or `tokens`.
    pub const fn name(&self) -> &'static str {
        match self {
            BudgetUse::CostUsd { .. } => "cost_usd",
            BudgetUse::Tokens { .. } => "tokens",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_budget_may_be_used_and_not_a_unit_more() {
        let budgets = Budgets { cost_usd: Some(Money::from_picodollars(5)), tokens: Some(7) };
        let exceeded = |cost, tokens| {
            let used = budgets.used(Some(Money::from_picodollars(cost)), tokens);
            used.iter().map(BudgetUse::is_exceeded).collect::<Vec<_>>()
        };
        assert_eq!(exceeded(5, Some(7)), [false, false]);
        assert_eq!(exceeded(6, Some(8)), [true, true]);
        assert_eq!(exceeded(0, None), [false, false]);
        assert!(Budgets::default().used(Some(Money::from_picodollars(1)), Some(1)).is_empty());
    }

    #[test]
    fn a_use_reads_back_from_its_json() {
        let used = BudgetUse::CostUsd { limit: "0.5".parse().unwrap(), used: "0.612".parse().unwrap() };
        let json = serde_json::to_string(&used).unwrap();
        assert_eq!(json, r#"{"budget":"cost_usd","limit":"0.5","used":"0.612"}"#);
        assert_eq!(serde_json::from_str::<BudgetUse>(&json).unwrap(), used);
    }
}
