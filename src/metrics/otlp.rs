//! Snapshots as OTLP messages.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value as AnyValueKind,
};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as OtlpBuckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Exemplar as OtlpExemplar, ExponentialHistogram,
    ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::time::Timestamp;

use super::cost::usd_of;
use super::distribution::{Distribution, Exemplar};
use super::instrument::{Instrument, Kind};
use super::store::{LabelValue, Labels, Point, Snapshot, Value};

/// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`. Levels are cumulative in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Temporality {
    /// Since a series began.
    #[default]
    Cumulative,
    /// Since the last that arrived.
    Delta,
    /// Deltas, but for what is counted elsewhere and only looked at.
    LowMemory,
}

/// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HistogramForm {
    #[default]
    Exponential,
    Explicit,
}

/// One reader of the metrics: what it wants, and what its backend has taken last.
#[derive(Debug)]
pub(crate) struct Reader {
    temporality: Temporality,
    form: HistogramForm,
    taken: Option<Snapshot>,
}

impl Reader {
    pub(crate) fn new(temporality: Temporality, form: HistogramForm) -> Self {
        Reader { temporality, form, taken: None }
    }

    /// The metrics of `now` as this reader wants them.
    pub(crate) fn metrics(&self, now: &Snapshot) -> Vec<Metric> {
        now.families.iter().filter_map(|(instrument, points)| self.metric(*instrument, points, now)).collect()
    }

    /// Notes that the backend has taken what was made of `snapshot`.
    pub(crate) fn acknowledge(&mut self, snapshot: Snapshot) {
        self.taken = Some(snapshot);
    }

    fn metric(&self, instrument: Instrument, points: &[Point], now: &Snapshot) -> Option<Metric> {
        let description = instrument.description();
        let is_delta = match self.temporality {
            Temporality::Cumulative => false,
            Temporality::Delta => description.kind != Kind::Level,
            Temporality::LowMemory => description.kind != Kind::Level && !instrument.is_observed(),
        };
        let points: Vec<Point> = if is_delta {
            points.iter().filter_map(|point| self.delta(instrument, point)).collect()
        } else {
            points.to_vec()
        };
        if points.is_empty() {
            return None;
        }
        let temporality =
            if is_delta { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative };
        let since = self.taken.as_ref().map(|taken| taken.time);
        let numbers = || points.iter().map(|point| number(point, description.kind, now.time)).collect();
        let data = match description.kind {
            Kind::Counter | Kind::TimeCounter | Kind::MoneyCounter => metric::Data::Sum(Sum {
                data_points: numbers(),
                aggregation_temporality: temporality.into(),
                is_monotonic: true,
            }),
            Kind::Level if is_gauge(instrument) => metric::Data::Gauge(Gauge { data_points: numbers() }),
            Kind::Level => metric::Data::Sum(Sum {
                data_points: numbers(),
                aggregation_temporality: temporality.into(),
                is_monotonic: false,
            }),
            Kind::TimeHistogram
            | Kind::AgentTimeHistogram
            | Kind::WorkflowTimeHistogram
            | Kind::CountHistogram => match self.form {
                HistogramForm::Exponential => metric::Data::ExponentialHistogram(ExponentialHistogram {
                    data_points: points
                        .iter()
                        .map(|point| exponential(point, description.kind, now.time, since, is_delta))
                        .collect(),
                    aggregation_temporality: temporality.into(),
                }),
                HistogramForm::Explicit => metric::Data::Histogram(Histogram {
                    data_points: points
                        .iter()
                        .map(|point| explicit(point, description.kind, now.time, since, is_delta))
                        .collect(),
                    aggregation_temporality: temporality.into(),
                }),
            },
        };
        Some(Metric {
            name: description.name.to_owned(),
            description: description.text.to_owned(),
            unit: description.unit.to_owned(),
            metadata: Vec::new(),
            data: Some(data),
        })
    }

    /// What happened to a series since the backend took it last; `None` if nothing.
    fn delta(&self, instrument: Instrument, point: &Point) -> Option<Point> {
        let taken = self.taken.as_ref();
        let before = taken.and_then(|taken| {
            let (_, points) = taken.families.iter().find(|(known, _)| *known == instrument)?;
            // Snapshots are in the order of their labels.
            let at = points.binary_search_by(|known| known.labels.cmp(&point.labels)).ok()?;
            points.get(at).filter(|known| known.start == point.start)
        });
        let value = match (&point.value, before.map(|before| &before.value)) {
            (Value::Sum(sum), Some(Value::Sum(before))) => Value::Sum(sum.saturating_sub(*before)),
            (Value::Distribution(all), Some(Value::Distribution(before))) => {
                Value::Distribution(Box::new(all.since(before)))
            }
            (value, _) => value.clone(),
        };
        let is_nothing = match &value {
            Value::Sum(sum) => *sum == 0,
            Value::Distribution(distribution) => distribution.count == 0,
            Value::Level(_) => false,
        };
        // A delta begins where the last one that arrived ended.
        let start = taken.map_or(point.start, |taken| taken.time);
        (!is_nothing).then(|| Point { start, value, has_ended: false, labels: point.labels.clone() })
    }
}

/// The request with these metrics. `resource`: an encoded `Resource` message.
pub(crate) fn request(resource: &[u8], metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            // It is of our own making.
            resource: Resource::decode(resource).ok(),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "longpole".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// S4's level is a gauge by name and by nature; ours may be added up over processes.
fn is_gauge(instrument: Instrument) -> bool {
    instrument == Instrument::SubagentActive
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let value = |value: &LabelValue| match value {
        LabelValue::Text(text) => AnyValueKind::StringValue(text.to_string()),
        LabelValue::Int(number) => AnyValueKind::IntValue(*number),
        LabelValue::Bool(truth) => AnyValueKind::BoolValue(*truth),
    };
    let attribute = |(key, of): &(&'static str, LabelValue)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(value(of)) }),
        ..KeyValue::default()
    };
    labels.iter().map(attribute).collect()
}

fn flags(point: &Point) -> u32 {
    if point.has_ended { DataPointFlags::NoRecordedValueMask as u32 } else { 0 }
}

fn number(point: &Point, kind: Kind, time: Timestamp) -> NumberDataPoint {
    let value = match &point.value {
        Value::Sum(nanos) if kind == Kind::TimeCounter => {
            number_data_point::Value::AsDouble(*nanos as f64 / kind.per_unit())
        }
        Value::Sum(amount) if kind == Kind::MoneyCounter => {
            number_data_point::Value::AsDouble(usd_of(*amount))
        }
        Value::Sum(sum) => number_data_point::Value::AsInt(i64::try_from(*sum).unwrap_or(i64::MAX)),
        Value::Level(level) => number_data_point::Value::AsInt(*level),
        Value::Distribution(_) => number_data_point::Value::AsInt(0),
    };
    NumberDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: point.start.as_unix_nanos(),
        time_unix_nano: time.as_unix_nanos(),
        exemplars: Vec::new(),
        flags: flags(point),
        value: (!point.has_ended).then_some(value),
    }
}

/// What is told of a distribution that has ended: nothing but that.
fn distribution(point: &Point, kind: Kind) -> Distribution {
    match &point.value {
        Value::Distribution(distribution) if !point.has_ended => (**distribution).clone(),
        _ => Distribution::new(kind),
    }
}

fn exponential(
    point: &Point,
    kind: Kind,
    time: Timestamp,
    since: Option<Timestamp>,
    is_delta: bool,
) -> ExponentialHistogramDataPoint {
    let distribution = distribution(point, kind);
    let bounds = bounds(&distribution, kind, is_delta);
    ExponentialHistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: point.start.as_unix_nanos(),
        time_unix_nano: time.as_unix_nanos(),
        count: distribution.count,
        sum: (!point.has_ended).then_some(distribution.sum as f64 / kind.per_unit()),
        scale: distribution.buckets.scale,
        zero_count: distribution.zero_count,
        positive: Some(OtlpBuckets {
            offset: distribution.buckets.offset,
            bucket_counts: distribution.buckets.counts,
        }),
        negative: None,
        flags: flags(point),
        exemplars: exemplars(&distribution.exemplars, kind, since),
        min: bounds.map(|(min, _)| min),
        max: bounds.map(|(_, max)| max),
        zero_threshold: 0.0,
    }
}

fn explicit(
    point: &Point,
    kind: Kind,
    time: Timestamp,
    since: Option<Timestamp>,
    is_delta: bool,
) -> HistogramDataPoint {
    let distribution = distribution(point, kind);
    let range = bounds(&distribution, kind, is_delta);
    HistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: point.start.as_unix_nanos(),
        time_unix_nano: time.as_unix_nanos(),
        count: distribution.count,
        sum: (!point.has_ended).then_some(distribution.sum as f64 / kind.per_unit()),
        bucket_counts: distribution.explicit,
        explicit_bounds: kind.bounds().iter().map(|bound| *bound as f64 / kind.per_unit()).collect(),
        exemplars: exemplars(&distribution.exemplars, kind, since),
        flags: flags(point),
        min: range.map(|(min, _)| min),
        max: range.map(|(_, max)| max),
    }
}

/// The lowest and the highest value; of a delta they are not known.
fn bounds(distribution: &Distribution, kind: Kind, is_delta: bool) -> Option<(f64, f64)> {
    let is_known = !is_delta && distribution.count > 0;
    is_known.then(|| (distribution.min as f64 / kind.per_unit(), distribution.max as f64 / kind.per_unit()))
}

/// Those that are new to the backend.
fn exemplars(kept: &[Exemplar], kind: Kind, since: Option<Timestamp>) -> Vec<OtlpExemplar> {
    let is_new = |exemplar: &&Exemplar| since.is_none_or(|since| exemplar.time >= since);
    let exemplar = |exemplar: &Exemplar| OtlpExemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: exemplar.time.as_unix_nanos(),
        span_id: exemplar.span_id.to_bytes().to_vec(),
        trace_id: exemplar.trace_id.to_bytes().to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value as f64 / kind.per_unit())),
    };
    kept.iter().filter(is_new).map(exemplar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::store::{MetricLimits, MetricStore};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    fn counted(metrics: &[Metric]) -> Vec<(String, u64, f64, u64)> {
        let mut told = Vec::new();
        for metric in metrics {
            match metric.data.as_ref().unwrap() {
                metric::Data::Sum(sum) => told.extend(sum.data_points.iter().map(|point| {
                    let value = match point.value {
                        Some(number_data_point::Value::AsInt(value)) => value as f64,
                        Some(number_data_point::Value::AsDouble(value)) => value,
                        None => f64::NAN,
                    };
                    (metric.name.clone(), 0, value, point.start_time_unix_nano / 1_000_000_000)
                })),
                metric::Data::ExponentialHistogram(histogram) => {
                    told.extend(histogram.data_points.iter().map(|point| {
                        let inside = point.positive.as_ref().unwrap().bucket_counts.iter().sum::<u64>();
                        assert_eq!(inside + point.zero_count, point.count);
                        (
                            metric.name.clone(),
                            point.count,
                            point.sum.unwrap(),
                            point.start_time_unix_nano / 1_000_000_000,
                        )
                    }));
                }
                other => panic!("{other:?}"),
            }
        }
        told
    }

    /// Adds an execution of `millis` and gives what both kinds of reader would send.
    #[test]
    fn what_was_not_taken_is_in_the_next_delta() {
        let mut store = MetricStore::new(MetricLimits::default());
        let mut delta = Reader::new(Temporality::Delta, HistogramForm::Exponential);
        let mut cumulative = Reader::new(Temporality::Cumulative, HistogramForm::Exponential);
        let add = |store: &mut MetricStore, millis: u64, now| {
            store.record_timed_node(&"a".into(), crate::time::Duration::from_millis(millis), now);
        };
        let name = |duration: bool| {
            if duration { "longpole.node.duration" } else { "longpole.node.executions" }.to_owned()
        };
        add(&mut store, 250, at(5));
        let first = store.snapshot(at(10));
        let expected = [(name(true), 1, 0.25, 5), (name(false), 0, 1.0, 5)];
        assert_eq!(counted(&delta.metrics(&first)), expected);
        delta.acknowledge(first.clone());
        cumulative.acknowledge(first);

        add(&mut store, 500, at(15));
        let lost = store.snapshot(at(20));
        assert_eq!(counted(&delta.metrics(&lost)), [(name(true), 1, 0.5, 10), (name(false), 0, 1.0, 10)]);

        add(&mut store, 1_000, at(25));
        let second = store.snapshot(at(30));
        assert_eq!(counted(&delta.metrics(&second)), [(name(true), 2, 1.5, 10), (name(false), 0, 2.0, 10)]);
        assert_eq!(
            counted(&cumulative.metrics(&second)),
            [(name(true), 3, 1.75, 5), (name(false), 0, 3.0, 5)]
        );
        delta.acknowledge(second);
        assert!(delta.metrics(&store.snapshot(at(40))).is_empty(), "nothing happened");
    }

    #[test]
    fn a_series_that_ended_is_told_without_a_value() {
        let mut store = MetricStore::new(MetricLimits::default());
        store.record_timed_node(&"a".into(), crate::time::Duration::from_millis(1), at(0));
        let last =
            Reader::new(Temporality::Cumulative, HistogramForm::Explicit).metrics(&store.snapshot(at(4_000)));
        for metric in last {
            let flags = match metric.data.unwrap() {
                metric::Data::Sum(sum) => {
                    assert_eq!(sum.data_points[0].value, None);
                    sum.data_points[0].flags
                }
                metric::Data::Histogram(histogram) => {
                    assert_eq!((histogram.data_points[0].count, histogram.data_points[0].sum), (0, None));
                    histogram.data_points[0].flags
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(flags, 1, "{}", metric.name);
        }
    }
}
