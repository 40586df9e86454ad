//! The same numbers for the recorder of the `metrics` facade, where a program has installed one.

use std::sync::Arc;

use metrics::{Label, counter, gauge, histogram};

use crate::conventions as keys;
use crate::money::Money;
use crate::report::BudgetUse;
use crate::report::sums::RunSums;

use super::gen_ai;
use super::instrument::{Instrument, Kind};
use super::store::{LabelValue, Labels};

/// A change of one series.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// Of a counter; nanoseconds for times.
    Add(u64),
    /// Into a histogram; nanoseconds for times.
    Record(u64),
    /// To a sum of money, in 10⁻¹² USD.
    Charge(Money),
    /// Of a level.
    Move(i64),
}

/// Passes a change on.
pub(crate) fn emit(of: Instrument, labels: &Labels, change: Change) {
    let description = of.description();
    let labels: Vec<Label> = labels
        .iter()
        .map(|(key, value)| match value {
            LabelValue::Text(text) => Label::new(*key, text.to_string()),
            LabelValue::Int(number) => Label::new(*key, number.to_string()),
            LabelValue::Bool(truth) => Label::new(*key, truth.to_string()),
        })
        .collect();
    match change {
        // The facade's counters are whole numbers: times are left to the histograms.
        Change::Add(_) if description.kind == Kind::TimeCounter => {}
        Change::Add(amount) => counter!(description.name, labels).increment(amount),
        Change::Record(value) => {
            histogram!(description.name, labels).record(value as f64 / description.kind.per_unit());
        }
        // They have no fractions, either: money is a gauge that only grows.
        Change::Charge(cost) => gauge!(description.name, labels).increment(cost.as_usd()),
        Change::Move(by) => gauge!(description.name, labels).increment(by as f64),
    }
}

/// Passes on what a finished run adds.
pub(crate) fn emit_run(run: &RunSums, budgets: &[BudgetUse]) {
    let text = |text: &str| LabelValue::Text(text.into());
    let workflow = run.workflow.as_ref().map(|name| (keys::WORKFLOW_NAME, LabelValue::Text(name.clone())));
    for execution in &run.executions {
        let mut plain: Labels = vec![(keys::NODE_ID, LabelValue::Text(execution.node.clone()))];
        plain.extend(workflow.clone());
        let mut labels = plain.clone();
        labels.push((keys::DEPTH, LabelValue::Int(i64::from(execution.depth))));
        labels.push((keys::OUTCOME, text(execution.outcome)));
        emit(Instrument::NodeExecutions, &labels, Change::Add(1));
        emit(Instrument::NodeDuration, &labels, Change::Record(execution.duration.as_nanos()));
        emit(Instrument::NodeSelfTime, &plain, Change::Record(execution.self_time.as_nanos()));
        if let Some(busy) = execution.busy {
            emit(Instrument::NodeBusyTime, &plain, Change::Record(busy.as_nanos()));
        }
        let counts = [(Instrument::NodeTokens, execution.tokens), (Instrument::NodeTurns, execution.turns)];
        for (instrument, count) in counts {
            let mut labels = plain.clone();
            labels.push((keys::DEPTH, LabelValue::Int(i64::from(execution.depth))));
            count.into_iter().for_each(|count| emit(instrument, &labels, Change::Record(count)));
        }
        if let Some(class) = &execution.error_type {
            plain.push((keys::ERROR_TYPE, LabelValue::Text(class.clone())));
            emit(Instrument::NodeErrors, &plain, Change::Add(1));
        }
    }
    let labels_of = |node: Option<&Arc<str>>| -> Labels {
        let node = node.map(|node| (keys::NODE_ID, LabelValue::Text(node.clone())));
        node.into_iter().chain(workflow.clone()).collect()
    };
    for charge in &run.charges {
        let mut labels = labels_of(charge.node.as_ref());
        labels.push((keys::COST_SOURCE, text(charge.source)));
        emit(Instrument::NodeCost, &labels, Change::Charge(charge.cost));
    }
    for call in &run.calls {
        let Some(reason) = call.unpriced else { continue };
        let mut labels = labels_of(call.node.as_ref());
        labels.push((keys::REASON, text(reason.as_str())));
        emit(Instrument::NodeUnpricedCalls, &labels, Change::Add(1));
    }
    for budget in budgets.iter().filter(|budget| budget.is_exceeded()) {
        let mut labels = labels_of(None);
        labels.push((keys::BUDGET, text(budget.name())));
        emit(Instrument::RunBudgetsExceeded, &labels, Change::Add(1));
    }
    for measured in gen_ai::measurements(run) {
        emit(measured.instrument, &measured.labels, Change::Record(measured.value));
    }
    let mut labels: Labels = workflow.into_iter().collect();
    labels.push((keys::OUTCOME, text(run.outcome)));
    emit(Instrument::RunExecutions, &labels, Change::Add(1));
    emit(Instrument::RunDuration, &labels, Change::Record(run.wall.as_nanos()));
}
