//! Money as metrics: what nodes cost, and the calls that have no price.

use std::sync::Arc;

use crate::conventions as keys;
use crate::money::Money;
use crate::prices::Unpriced;
use crate::report::BudgetUse;
use crate::report::sums::RunSums;
use crate::time::Timestamp;

use super::instrument::Instrument;
use super::store::{LabelValue, Labels, MetricStore};

impl MetricStore {
    /// Takes in what a run cost, and the calls that nobody knows the cost of.
    pub(super) fn record_costs(&mut self, run: &RunSums, now: Timestamp) {
        let workflow = run.workflow.as_ref();
        for charge in &run.charges {
            let mut labels = self.labels_of(charge.node.as_ref(), workflow);
            labels.push((keys::COST_SOURCE, LabelValue::Text(charge.source.into())));
            // Costs are never negative: what is told below zero is not read.
            let amount = u128::try_from(charge.cost.as_picodollars()).unwrap_or(0);
            self.add(Instrument::NodeCost, labels, amount, now);
        }
        for call in &run.calls {
            let Some(reason) = call.unpriced else { continue };
            let mut labels = self.labels_of(call.node.as_ref(), workflow);
            labels.push((keys::REASON, LabelValue::Text(unpriced_reason(reason).into())));
            self.add(Instrument::NodeUnpricedCalls, labels, 1, now);
        }
    }

    /// Counts the budgets a run has exceeded.
    pub(crate) fn record_budgets(
        &mut self,
        budgets: &[BudgetUse],
        workflow: Option<&Arc<str>>,
        now: Timestamp,
    ) {
        for budget in budgets.iter().filter(|budget| budget.is_exceeded()) {
            let mut labels = self.labels_of(None, workflow);
            labels.push((keys::BUDGET, LabelValue::Text(budget.name().into())));
            self.add(Instrument::RunBudgetsExceeded, labels, 1, now);
        }
    }

    /// The labels of a node, or of what is outside every node.
    fn labels_of(&mut self, node: Option<&Arc<str>>, workflow: Option<&Arc<str>>) -> Labels {
        match node {
            Some(node) => self.node_labels(node, workflow),
            None => workflow
                .map(|name| (keys::WORKFLOW_NAME, LabelValue::Text(name.clone())))
                .into_iter()
                .collect(),
        }
    }
}

/// A sum of money as an amount.
pub(crate) fn money_of(picodollars: u128) -> Money {
    Money::from_picodollars(i128::try_from(picodollars).unwrap_or(i128::MAX))
}

/// A sum of money in USD: the double nearest to it.
#[cfg(feature = "otlp")]
pub(crate) fn usd_of(picodollars: u128) -> f64 {
    // Converting and then dividing would round twice.
    money_of(picodollars).to_string().parse().unwrap_or(f64::MAX)
}

/// Why a call has no price, as metrics tell it.
pub(crate) fn unpriced_reason(reason: Unpriced) -> &'static str {
    match reason {
        Unpriced::ModelMissing => "model_missing",
        Unpriced::UsageMissing => "usage_missing",
        Unpriced::UnknownProvider => "unknown_provider",
        Unpriced::UnknownModel => "unknown_model",
        Unpriced::NoPrice => "no_price",
        Unpriced::CountsContradict => "counts_contradict",
        Unpriced::BadCount => "bad_count",
        Unpriced::TooLarge => "too_large",
    }
}
