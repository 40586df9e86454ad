//! The series of all metrics, bounded, and what ends them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::aggregate::OTHER_NODES;
use crate::conventions as keys;
use crate::hashing::QuickSet;
use crate::report::sums::{Execution, RunSums, outcome};
use crate::span_record::SpanRecord;
use crate::time::{Duration, Timestamp};

use super::distribution::{Distribution, Exemplar};
use super::gen_ai;
use super::instrument::{Instrument, Kind};

/// What tells a series from others of its metric, in a fixed order per metric.
pub(crate) type Labels = Vec<(&'static str, LabelValue)>;

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LabelValue {
    Text(Arc<str>),
    Int(i64),
    Bool(bool),
}

/// How much is kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetricLimits {
    /// Node names with series of their own; later ones share [`OTHER_NODES`].
    pub(crate) nodes: usize,
    /// Series per metric that is not of nodes, and label sets per node beyond its name.
    pub(crate) series: usize,
    /// A series that did not change for so long ends.
    pub(crate) stale_after: Duration,
    pub(crate) exemplars: ExemplarFilter,
}

/// Which values may be told with their span: `OTEL_METRICS_EXEMPLAR_FILTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExemplarFilter {
    /// Those whose trace is exported.
    TraceBased,
    AlwaysOn,
    AlwaysOff,
}

impl Default for MetricLimits {
    fn default() -> Self {
        MetricLimits {
            nodes: 2_000,
            series: 2_000,
            stale_after: Duration::from_secs(3_600),
            exemplars: ExemplarFilter::TraceBased,
        }
    }
}

/// Marks a series that stands for several, as OpenTelemetry's SDKs do.
pub(crate) const OVERFLOW: &str = "otel.metric.overflow";

/// All series. Written by one thread at a time.
#[derive(Debug)]
pub(crate) struct MetricStore {
    series: BTreeMap<Instrument, BTreeMap<Labels, Series>>,
    nodes: QuickSet<Arc<str>>,
    /// How often a node past the limit was counted with others.
    pub(crate) merged: u64,
    limits: MetricLimits,
}

#[derive(Clone, Debug)]
struct Series {
    start: Timestamp,
    changed: Timestamp,
    value: Value,
}

/// What a series has come to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// In whole units, in nanoseconds for times, in 10⁻¹² USD for money.
    Sum(u128),
    Level(i64),
    Distribution(Box<Distribution>),
}

/// One series at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) labels: Labels,
    /// When the series began.
    pub(crate) start: Timestamp,
    pub(crate) value: Value,
    /// It did not change for long and is told for the last time.
    pub(crate) has_ended: bool,
}

/// All series at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) time: Timestamp,
    /// By instrument; those without series are left out.
    pub(crate) families: Vec<(Instrument, Vec<Point>)>,
}

impl Snapshot {
    /// Puts the series of another store in their places.
    pub(crate) fn add(&mut self, other: Snapshot) {
        for (instrument, points) in other.families {
            match self.families.iter_mut().find(|(known, _)| *known == instrument) {
                Some((_, family)) => {
                    family.extend(points);
                    family.sort_by(|one, other| one.labels.cmp(&other.labels));
                }
                None => self.families.push((instrument, points)),
            }
        }
        self.families.sort_by_key(|(instrument, _)| *instrument);
    }
}

impl MetricStore {
    pub(crate) fn new(limits: MetricLimits) -> Self {
        MetricStore { series: BTreeMap::new(), nodes: QuickSet::default(), merged: 0, limits }
    }

    /// Adds to a counter.
    pub(crate) fn add(&mut self, of: Instrument, labels: Labels, amount: u128, now: Timestamp) {
        if let Value::Sum(sum) = &mut self.series(of, labels, now).value {
            *sum = sum.saturating_add(amount);
        }
    }

    /// Takes a value into a histogram.
    pub(crate) fn record(
        &mut self,
        of: Instrument,
        labels: Labels,
        value: u64,
        exemplar: Option<Exemplar>,
        now: Timestamp,
    ) {
        if let Value::Distribution(distribution) = &mut self.series(of, labels, now).value {
            distribution.record(value);
            if let Some(exemplar) = exemplar {
                distribution.keep_exemplar(exemplar);
            }
        }
    }

    /// Changes a level.
    pub(crate) fn change_level(&mut self, of: Instrument, labels: Labels, by: i64, now: Timestamp) {
        if let Value::Level(level) = &mut self.series(of, labels, now).value {
            *level = level.saturating_add(by);
        }
    }

    /// Replaces every series of a metric whose values are counted elsewhere: counters that only grow, or levels, of
    /// which those not named are zero.
    pub(crate) fn observe(&mut self, of: Instrument, observed: Vec<(Labels, u64)>, now: Timestamp) {
        if of.description().kind == Kind::Level {
            for series in self.series.entry(of).or_default().values_mut() {
                series.value = Value::Level(0);
            }
        }
        for (labels, observed) in observed {
            let last_change = self.series.get(&of).and_then(|family| family.get(&labels)).map(|s| s.changed);
            let series = self.series(of, labels, now);
            let value = match &series.value {
                Value::Level(_) => Value::Level(i64::try_from(observed).unwrap_or(i64::MAX)),
                Value::Sum(_) => Value::Sum(u128::from(observed)),
                Value::Distribution(_) => continue,
            };
            if series.value == value
                && let Some(last_change) = last_change
            {
                series.changed = last_change;
            }
            series.value = value;
        }
    }

    /// Takes in a finished run.
    pub(crate) fn record_run(&mut self, run: &RunSums, now: Timestamp) {
        let workflow = run.workflow.as_ref();
        // Those of a node come together: what has the same labels is looked up once.
        for alike in run
            .executions
            .chunk_by(|a, b| Arc::ptr_eq(&a.node, &b.node) && a.depth == b.depth && a.outcome == b.outcome)
        {
            self.record_executions(alike, run, now);
        }
        for node in run.nodes.iter().filter(|node| !node.on_path.is_zero()) {
            let labels = self.node_labels(&node.name, workflow);
            self.add(Instrument::NodePathTime, labels, node.on_path.as_nanos().into(), now);
        }
        self.record_costs(run, now);
        for measured in gen_ai::measurements(run) {
            let exemplar = self.exemplar(measured.value, measured.end, run, measured.span_id);
            self.record(measured.instrument, measured.labels, measured.value, exemplar, now);
        }
        let labels = |outcome: &'static str| {
            let mut labels = Labels::new();
            labels.extend(workflow.map(|name| (keys::WORKFLOW_NAME, LabelValue::Text(name.clone()))));
            labels.push((keys::OUTCOME, LabelValue::Text(outcome.into())));
            labels
        };
        let exemplar = self.exemplar(run.wall.as_nanos(), run.end, run, run.root_span);
        self.record(Instrument::RunDuration, labels(run.outcome), run.wall.as_nanos(), exemplar, now);
        self.add(Instrument::RunExecutions, labels(run.outcome), 1, now);
    }

    /// Takes in executions of one node that are as deep and ended the same way.
    fn record_executions(&mut self, alike: &[Execution], run: &RunSums, now: Timestamp) {
        let Some(first) = alike.first() else { return };
        let count = alike.len() as u64;
        let plain = self.node_labels_of(&first.node, run.workflow.as_ref(), count);
        let mut with_depth = plain.clone();
        with_depth.push((keys::DEPTH, LabelValue::Int(i64::from(first.depth))));
        let mut labels = with_depth.clone();
        labels.push((keys::OUTCOME, LabelValue::Text(first.outcome.into())));
        self.add(Instrument::NodeExecutions, labels.clone(), u128::from(count), now);
        let mut record = |of, labels, value: fn(&Execution) -> Option<u64>| {
            self.record_all(of, labels, alike, value, run, now);
        };
        record(Instrument::NodeDuration, labels, |it| Some(it.duration.as_nanos()));
        record(Instrument::NodeSelfTime, plain.clone(), |it| Some(it.self_time.as_nanos()));
        record(Instrument::NodeTokens, with_depth.clone(), |it| it.tokens);
        record(Instrument::NodeTurns, with_depth, |it| it.turns);
        record(Instrument::NodeBusyTime, plain.clone(), |it| it.busy.map(Duration::as_nanos));
        for class in alike.iter().filter_map(|execution| execution.error_type.as_ref()) {
            let mut labels = plain.clone();
            labels.push((keys::ERROR_TYPE, LabelValue::Text(class.clone())));
            self.add(Instrument::NodeErrors, labels, 1, now);
        }
    }

    /// Takes one value of each execution that has it into a histogram.
    fn record_all(
        &mut self,
        of: Instrument,
        labels: Labels,
        executions: &[Execution],
        value: impl Fn(&Execution) -> Option<u64>,
        run: &RunSums,
        now: Timestamp,
    ) {
        let is_told = self.tells_exemplars(run);
        let mut told =
            executions.iter().filter_map(|execution| Some((execution, value(execution)?))).peekable();
        if told.peek().is_none() {
            return;
        }
        let Value::Distribution(distribution) = &mut self.series(of, labels, now).value else { return };
        for (execution, value) in told {
            distribution.record(value);
            if let Some(span_id) = execution.span_id.filter(|_| is_told) {
                let time = execution.end;
                distribution.keep_exemplar(Exemplar { value, time, trace_id: run.trace_id, span_id });
            }
        }
    }

    /// Counts a node's span that its run had no room for.
    pub(crate) fn record_left_out(&mut self, record: &SpanRecord, now: Timestamp) {
        let Some(node) = record.node_id() else { return };
        let took = record.end.saturating_since(record.start);
        self.record_outside_runs(&node, outcome(record), took, now);
    }

    /// Counts an execution that was only timed, without a span.
    pub(crate) fn record_timed_node(&mut self, node: &Arc<str>, took: Duration, now: Timestamp) {
        self.record_outside_runs(node, "ok", took, now);
    }

    fn record_outside_runs(&mut self, node: &Arc<str>, outcome: &str, took: Duration, now: Timestamp) {
        let mut labels = self.node_labels(node, None);
        labels.push((keys::OUTCOME, LabelValue::Text(outcome.into())));
        self.add(Instrument::NodeExecutions, labels.clone(), 1, now);
        self.record(Instrument::NodeDuration, labels, took.as_nanos(), None, now);
    }

    fn exemplar(
        &self,
        value: u64,
        time: Timestamp,
        run: &RunSums,
        span_id: Option<crate::ids::SpanId>,
    ) -> Option<Exemplar> {
        let span_id = span_id.filter(|_| self.tells_exemplars(run))?;
        Some(Exemplar { value, time, trace_id: run.trace_id, span_id })
    }

    fn tells_exemplars(&self, run: &RunSums) -> bool {
        match self.limits.exemplars {
            ExemplarFilter::TraceBased => run.is_sampled,
            ExemplarFilter::AlwaysOn => true,
            ExemplarFilter::AlwaysOff => false,
        }
    }

    /// The labels every metric of a node has.
    pub(crate) fn node_labels(&mut self, node: &Arc<str>, workflow: Option<&Arc<str>>) -> Labels {
        self.node_labels_of(node, workflow, 1)
    }

    /// The same for so many executions.
    fn node_labels_of(&mut self, node: &Arc<str>, workflow: Option<&Arc<str>>, executions: u64) -> Labels {
        let mut labels = Labels::with_capacity(5);
        let is_known = self.nodes.contains(node);
        if is_known || self.nodes.len() < self.limits.nodes {
            if !is_known {
                self.nodes.insert(node.clone());
            }
            labels.push((keys::NODE_ID, LabelValue::Text(node.clone())));
        } else {
            self.merged = self.merged.saturating_add(executions);
            labels.push((keys::NODE_ID, LabelValue::Text(OTHER_NODES.into())));
            labels.push((OVERFLOW, LabelValue::Bool(true)));
        }
        labels.extend(workflow.map(|name| (keys::WORKFLOW_NAME, LabelValue::Text(name.clone()))));
        labels
    }

    fn series(&mut self, of: Instrument, labels: Labels, now: Timestamp) -> &mut Series {
        let limit = self.limits.series.saturating_add(if of.is_of_nodes() { self.limits.nodes } else { 0 });
        let kind = of.description().kind;
        let family = self.series.entry(of).or_default();
        let labels = if family.len() < limit || family.contains_key(&labels) {
            labels
        } else {
            vec![(OVERFLOW, LabelValue::Bool(true))]
        };
        let series = family.entry(labels).or_insert_with(|| Series {
            start: now,
            changed: now,
            value: match kind {
                Kind::Counter | Kind::TimeCounter | Kind::MoneyCounter => Value::Sum(0),
                Kind::Level => Value::Level(0),
                Kind::TimeHistogram
                | Kind::AgentTimeHistogram
                | Kind::WorkflowTimeHistogram
                | Kind::CountHistogram => Value::Distribution(Box::new(Distribution::new(kind))),
            },
        });
        series.changed = now;
        series
    }

    /// The series of one metric.
    #[cfg(feature = "otlp")]
    pub(crate) fn points_of(&self, instrument: Instrument) -> Vec<Point> {
        let series = self.series.get(&instrument).into_iter().flatten();
        let point = |(labels, series): (&Labels, &Series)| Point {
            labels: labels.clone(),
            start: series.start,
            value: series.value.clone(),
            has_ended: false,
        };
        series.map(point).collect()
    }

    /// All series now. Those that did not change for long are in it for the last time.
    pub(crate) fn snapshot(&mut self, now: Timestamp) -> Snapshot {
        let stale_after = self.limits.stale_after;
        let mut families = Vec::new();
        let mut has_ended_nodes = false;
        for (instrument, series) in &mut self.series {
            let mut points = Vec::with_capacity(series.len());
            series.retain(|labels, series| {
                let is_up = matches!(series.value, Value::Level(level) if level != 0);
                let has_ended = !is_up && now.saturating_since(series.changed) > stale_after;
                has_ended_nodes |= has_ended && instrument.is_of_nodes();
                points.push(Point {
                    labels: labels.clone(),
                    start: series.start,
                    value: series.value.clone(),
                    has_ended,
                });
                !has_ended
            });
            if !points.is_empty() {
                families.push((*instrument, points));
            }
        }
        if has_ended_nodes {
            self.forget_nodes_without_series();
        }
        Snapshot { time: now, families }
    }

    fn forget_nodes_without_series(&mut self) {
        let of_nodes = self.series.iter().filter(|(instrument, _)| instrument.is_of_nodes());
        let left: QuickSet<Arc<str>> = of_nodes
            .flat_map(|(_, series)| series.keys())
            .filter_map(|labels| match labels.first() {
                Some((keys::NODE_ID, LabelValue::Text(node))) => Some(node.clone()),
                _ => None,
            })
            .collect();
        self.nodes.retain(|node| left.contains(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SpanId, TraceId};
    use crate::run_profile::RunProfile;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    fn run_of(nodes: &[(&str, u64)]) -> RunSums {
        let executions = nodes.iter().map(|(node, millis)| Execution {
            node: (*node).into(),
            depth: 1,
            outcome: "ok",
            error_type: None,
            duration: Duration::from_millis(*millis),
            self_time: Duration::from_millis(*millis),
            busy: None,
            tokens: None,
            turns: None,
            span_id: Some(SpanId::from_bytes([2; 8])),
            end: at(1),
        });
        RunSums {
            nodes: Vec::new(),
            executions: executions.collect(),
            calls: Vec::new(),
            charges: Vec::new(),
            agent_steps: Vec::new(),
            error_type: None,
            workflow: Some("research".into()),
            outcome: "ok",
            wall: Duration::from_millis(100),
            end: at(1),
            trace_id: TraceId::from_bytes([1; 16]),
            root_span: Some(SpanId::from_bytes([3; 8])),
            is_sampled: true,
            profile: RunProfile::default(),
        }
    }

    fn points(snapshot: &Snapshot, of: Instrument) -> Vec<Point> {
        let family = snapshot.families.iter().find(|(instrument, _)| *instrument == of);
        family.map_or_else(Vec::new, |(_, points)| points.clone())
    }

    fn node_of(point: &Point) -> String {
        match &point.labels[0].1 {
            LabelValue::Text(node) => node.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn nodes_past_the_limit_share_a_series_that_says_so() {
        let mut store = MetricStore::new(MetricLimits { nodes: 2, ..MetricLimits::default() });
        store.record_run(&run_of(&[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("a", 5)]), at(1));
        let snapshot = store.snapshot(at(2));
        let executions = points(&snapshot, Instrument::NodeExecutions);
        let told: Vec<_> = executions.iter().map(|p| (node_of(p), p.value.clone())).collect();
        assert_eq!(
            told,
            [
                (OTHER_NODES.to_owned(), Value::Sum(2)),
                ("a".to_owned(), Value::Sum(2)),
                ("b".to_owned(), Value::Sum(1)),
            ]
        );
        assert_eq!(executions[0].labels[1], (OVERFLOW, LabelValue::Bool(true)));
        assert!(store.merged > 0);
    }

    #[test]
    fn other_labels_past_the_limit_share_one_series() {
        let mut store = MetricStore::new(MetricLimits { series: 2, ..MetricLimits::default() });
        for depth in 0..5 {
            let labels = vec![("depth", LabelValue::Int(depth))];
            store.add(Instrument::SubagentExecutions, labels, 1, at(1));
        }
        let told = points(&store.snapshot(at(2)), Instrument::SubagentExecutions);
        assert_eq!(told.len(), 3);
        assert!(
            told.iter()
                .any(|p| p.labels == vec![(OVERFLOW, LabelValue::Bool(true))] && p.value == Value::Sum(3))
        );
    }

    #[test]
    fn a_series_that_does_not_change_ends_once_and_begins_anew() {
        let mut store = MetricStore::new(MetricLimits::default());
        store.record_run(&run_of(&[("a", 1)]), at(10));
        let before = store.snapshot(at(3_610));
        assert!(!points(&before, Instrument::NodeExecutions)[0].has_ended);
        let last = store.snapshot(at(3_611));
        assert!(points(&last, Instrument::NodeExecutions)[0].has_ended);
        assert!(store.snapshot(at(3_612)).families.is_empty());
        store.record_run(&run_of(&[("a", 1)]), at(4_000));
        let again = points(&store.snapshot(at(4_001)), Instrument::NodeExecutions);
        assert_eq!((again[0].start, &again[0].value), (at(4_000), &Value::Sum(1)));
    }

    #[test]
    fn levels_are_what_is_seen_and_end_only_at_zero() {
        let mut store = MetricStore::new(MetricLimits::default());
        let labels = |node: &str| vec![(keys::NODE_ID, LabelValue::Text(node.into()))];
        store.observe(Instrument::NodeActive, vec![(labels("a"), 2), (labels("b"), 1)], at(1));
        store.observe(Instrument::NodeActive, vec![(labels("a"), 2)], at(2));
        let levels = |snapshot: &Snapshot| -> Vec<_> {
            points(snapshot, Instrument::NodeActive).iter().map(|p| (node_of(p), p.value.clone())).collect()
        };
        let expected = [("a".to_owned(), Value::Level(2)), ("b".to_owned(), Value::Level(0))];
        assert_eq!(levels(&store.snapshot(at(3))), expected);
        store.snapshot(at(5_000));
        let late = store.snapshot(at(5_001));
        assert_eq!(levels(&late), [("a".to_owned(), Value::Level(2))], "b ended, a is still up");
    }

    #[test]
    fn exemplars_name_spans_only_where_their_trace_is_exported() {
        for (filter, is_sampled, told) in [
            (ExemplarFilter::TraceBased, true, 1),
            (ExemplarFilter::TraceBased, false, 0),
            (ExemplarFilter::AlwaysOn, false, 1),
            (ExemplarFilter::AlwaysOff, true, 0),
        ] {
            let mut store = MetricStore::new(MetricLimits { exemplars: filter, ..MetricLimits::default() });
            store.record_run(&RunSums { is_sampled, ..run_of(&[("a", 1)]) }, at(1));
            let told_now = points(&store.snapshot(at(2)), Instrument::NodeDuration);
            let Value::Distribution(distribution) = &told_now[0].value else { panic!() };
            assert_eq!(distribution.exemplars.len(), told, "{filter:?} {is_sampled}");
        }
    }
}
