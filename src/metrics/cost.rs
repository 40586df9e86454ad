//! Money as metrics: what nodes cost, and the calls that have no price.

use std::sync::Arc;

use crate::conventions as keys;
use crate::money::Money;
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
            labels.push((keys::REASON, LabelValue::Text(reason.as_str().into())));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::store::{MetricLimits, Snapshot, Value};
    use crate::report::build::{ReportOptions, report_with_sums, runs_in};
    use crate::span_record::{CostSource, NodeFacts, SpanRecord};
    use crate::time::Timestamp;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix_nanos(second * 1_000_000_000)
    }

    /// A span of one trace, named by its number; the first is the root.
    fn span(number: u64, parent: Option<u64>, facts: NodeFacts) -> SpanRecord {
        let id = |number: u64| crate::ids::SpanId::from_bytes((number + 1).to_be_bytes());
        SpanRecord {
            trace_id: crate::ids::TraceId::from_bytes([1; 16]),
            span_id: id(number),
            parent_id: parent.map(id),
            name: format!("s{number}").into(),
            kind: crate::span_record::SpanKind::Internal,
            start: at(number),
            end: at(2_000 - number),
            status: crate::span_record::Status::Unset,
            timing: crate::span_record::Timing::default(),
            facts: Some(Box::new(facts)),
            links: None,
            origin: Arc::default(),
            local: None,
        }
    }

    fn costs(picodollars: Option<i128>) -> NodeFacts {
        let cost = picodollars.map(Money::from_picodollars);
        NodeFacts { cost, cost_source: cost.map(|_| CostSource::Recorded), ..NodeFacts::default() }
    }

    /// What a run's metrics are and what its report says it cost.
    fn counted(spans: Vec<SpanRecord>) -> (Snapshot, Option<Money>) {
        let mut store = MetricStore::new(MetricLimits::default());
        let mut cost = None;
        for run in runs_in(spans) {
            let (report, sums) = report_with_sums(run, &ReportOptions::default()).unwrap();
            cost = report.totals.cost_usd;
            store.record_run(&sums, at(3_000));
        }
        (store.snapshot(at(3_001)), cost)
    }

    fn sums(snapshot: &Snapshot, of: Instrument) -> Vec<(String, u128)> {
        let family = snapshot.families.iter().find(|(instrument, _)| *instrument == of);
        let shown = |labels: &Labels| {
            let shown = |(key, value): &(&str, LabelValue)| match value {
                LabelValue::Text(text) => format!("{key}={text}"),
                other => format!("{key}={other:?}"),
            };
            labels.iter().map(shown).collect::<Vec<_>>().join(" ")
        };
        family.map_or_else(Vec::new, |(_, points)| {
            let sum = |value: &Value| if let Value::Sum(sum) = value { *sum } else { panic!("{value:?}") };
            points.iter().map(|point| (shown(&point.labels), sum(&point.value))).collect()
        })
    }

    #[test]
    fn a_sum_of_money_is_told_as_the_nearest_double() {
        // 0.1 + 0.2 in doubles is not 0.3.
        assert_eq!(usd_of(100_000_000_000 + 200_000_000_000), 0.3);
        assert_eq!(usd_of(1), 1e-12);
        assert_eq!(usd_of(123_456_789_012_345_678_901), 123_456_789.012_345_67);
        assert_eq!(money_of(u128::MAX), Money::from_picodollars(i128::MAX));
    }

    #[test]
    fn costs_are_told_by_node_and_source_and_calls_without_a_price_by_reason() {
        let node = |id: &str, facts: NodeFacts| NodeFacts { node_id: Some(id.into()), ..facts };
        let chat = |facts: NodeFacts| NodeFacts { operation: Some("chat".into()), ..facts };
        let told = NodeFacts { cost_source: Some(CostSource::GenAi), ..costs(Some(7)) };
        let mut unknown = chat(NodeFacts {
            provider: Some("openai".into()),
            request_model: Some("no-such-model-was-ever-sold".into()),
            ..NodeFacts::default()
        });
        (unknown.tokens.input, unknown.tokens.output) = (Some(5), Some(5));
        // 0 ─┬─ 1 draft ──┬─ 2 call, priced by its provider
        //    │            └─ 3 call of a model nobody knows
        //    ├─ 4 draft, which says what it cost
        //    └─ 5 a call outside of every node
        let inside = |facts: NodeFacts| NodeFacts { phase: Some("call".into()), ..chat(facts) };
        let (snapshot, cost) = counted(vec![
            span(0, None, NodeFacts::default()),
            span(1, Some(0), node("draft", NodeFacts::default())),
            span(2, Some(1), inside(told)),
            span(3, Some(1), inside(unknown)),
            span(4, Some(0), node("draft", costs(Some(30)))),
            span(5, Some(0), inside(costs(Some(500)))),
        ]);
        assert_eq!(cost, Some(Money::from_picodollars(537)));
        assert_eq!(
            sums(&snapshot, Instrument::NodeCost),
            [
                ("longpole.cost.source=recorded".to_owned(), 500),
                ("longpole.node.id=draft longpole.cost.source=provider".to_owned(), 7),
                ("longpole.node.id=draft longpole.cost.source=recorded".to_owned(), 30),
            ]
        );
        assert_eq!(
            sums(&snapshot, Instrument::NodeUnpricedCalls),
            [("longpole.node.id=draft longpole.reason=unknown_model".to_owned(), 1)]
        );
    }

    fn facts() -> impl Strategy<Value = NodeFacts> {
        let operation = prop_oneof![
            3 => Just(None),
            4 => Just(Some("chat")),
            1 => Just(Some("invoke_agent")),
            1 => Just(Some("execute_tool")),
        ];
        let cost = proptest::option::of(0i128..1_000_000_000_000_000);
        let node = proptest::option::of(0u8..3);
        (operation, cost, node, any::<bool>()).prop_map(|(operation, cost, node, is_phase)| NodeFacts {
            operation: operation.map(Arc::from),
            node_id: node.map(|node| format!("n{node}").into()),
            phase: is_phase.then(|| "part".into()),
            ..costs(cost)
        })
    }

    proptest! {
        /// Nodes, and what is outside of them, add up to what the run cost, to the last digit.
        #[test]
        fn costs_of_nodes_add_up_to_that_of_the_run(
            spans in proptest::collection::vec((facts(), any::<proptest::sample::Index>()), 1..40)
        ) {
            let spans = spans.into_iter().zip(0u64..).map(|((facts, above), number)| {
                let parent = (number > 0).then(|| above.index(number as usize) as u64);
                span(number, parent, facts)
            });
            let (snapshot, cost) = counted(spans.collect());
            let total: u128 = sums(&snapshot, Instrument::NodeCost).iter().map(|(_, sum)| sum).sum();
            prop_assert_eq!(money_of(total), cost.unwrap_or_default());
        }
    }
}
