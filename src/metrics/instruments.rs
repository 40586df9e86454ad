//! The counters and levels as observable instruments of a program's own meter.

use std::sync::{Arc, Weak};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::cost::usd_of;
use super::hub::MetricHub;
use super::instrument::{Instrument, Kind};
use super::store::{LabelValue, Labels, Value};

/// Makes them. They are empty once the hub is gone.
pub(crate) fn register(hub: &Arc<MetricHub>, meter: &Meter) {
    for instrument in Instrument::ALL.iter().copied() {
        let description = instrument.description();
        let (name, unit, text) = (description.name, description.unit, description.text);
        let hub = Arc::downgrade(hub);
        match description.kind {
            Kind::Counter => drop(
                meter
                    .u64_observable_counter(name)
                    .with_unit(unit)
                    .with_description(text)
                    .with_callback(move |observer| observe(&hub, instrument, observer, count))
                    .build(),
            ),
            Kind::TimeCounter => drop(
                meter
                    .f64_observable_counter(name)
                    .with_unit(unit)
                    .with_description(text)
                    .with_callback(move |observer| {
                        observe(&hub, instrument, observer, |value| count(value) as f64 / 1e9);
                    })
                    .build(),
            ),
            Kind::Level => drop(
                meter
                    .i64_observable_up_down_counter(name)
                    .with_unit(unit)
                    .with_description(text)
                    .with_callback(move |observer| {
                        observe(&hub, instrument, observer, |value| match value {
                            Value::Level(level) => *level,
                            _ => 0,
                        });
                    })
                    .build(),
            ),
            Kind::MoneyCounter => drop(
                meter
                    .f64_observable_counter(name)
                    .with_unit(unit)
                    .with_description(text)
                    .with_callback(move |observer| observe(&hub, instrument, observer, usd))
                    .build(),
            ),
            Kind::TimeHistogram
            | Kind::AgentTimeHistogram
            | Kind::WorkflowTimeHistogram
            | Kind::CountHistogram => {}
        }
    }
}

fn count(value: &Value) -> u64 {
    match value {
        Value::Sum(sum) => u64::try_from(*sum).unwrap_or(u64::MAX),
        _ => 0,
    }
}

fn usd(value: &Value) -> f64 {
    match value {
        Value::Sum(sum) => usd_of(*sum),
        _ => 0.0,
    }
}

fn observe<T>(
    hub: &Weak<MetricHub>,
    instrument: Instrument,
    observer: &dyn AsyncInstrument<T>,
    number: impl Fn(&Value) -> T,
) {
    let Some(hub) = hub.upgrade() else { return };
    for point in hub.points_of(instrument) {
        observer.observe(number(&point.value), &attributes(&point.labels));
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let attribute = |(key, value): &(&'static str, LabelValue)| match value {
        LabelValue::Text(text) => KeyValue::new(*key, text.to_string()),
        LabelValue::Int(number) => KeyValue::new(*key, *number),
        LabelValue::Bool(truth) => KeyValue::new(*key, *truth),
    };
    labels.iter().map(attribute).collect()
}
