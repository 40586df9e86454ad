//! Random programs against a plain map: what prost decodes of our bytes equals the model.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use proptest::prelude::*;
use tracing::field::Empty;
use tracing::info_span;

use super::*;
use crate::{SpanExt, Value};

/// Fields of the macro below, with the key each is exported under.
const FIELDS: [(&str, &str); 8] = [
    ("a", "a"),
    ("b", "b"),
    ("node.id", "longpole.node.id"),
    ("longpole.node.id", "longpole.node.id"),
    ("node.cost_usd", "longpole.cost.usd"),
    ("longpole.polls", "longpole.polls"),
    ("gen_ai.request.model", "gen_ai.request.model"),
    ("a.key.longer.than.the.template.of.an.encoded.key", "a.key.longer.than.the.template.of.an.encoded.key"),
];

#[derive(Clone, Debug)]
enum Step {
    Record(usize, Scalar),
    /// A field of the macro or a key of its own.
    Set(Result<usize, String>, Scalar),
}

#[derive(Clone, Debug)]
enum Scalar {
    Text(String),
    Int(i64),
    Unsigned(u64),
    Double(f64),
    Bool(bool),
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        ".{0,60}".prop_map(Scalar::Text),
        "[a-zäß…😀]{100,200}".prop_map(Scalar::Text),
        any::<i64>().prop_map(Scalar::Int),
        (0i64..300).prop_map(Scalar::Int),
        any::<u64>().prop_map(Scalar::Unsigned),
        any::<f64>().prop_filter("NaN differs from itself", |value| !value.is_nan()).prop_map(Scalar::Double),
        any::<bool>().prop_map(Scalar::Bool),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key =
        prop_oneof![(0..FIELDS.len()).prop_map(Ok), "key\\.[a-c]".prop_map(Err), ".{1,300}".prop_map(Err)];
    prop_oneof![
        (0..FIELDS.len(), scalar()).prop_map(|(field, value)| Step::Record(field, value)),
        (key, scalar()).prop_map(|(key, value)| Step::Set(key, value)),
    ]
}

impl Scalar {
    fn exported(&self) -> Any {
        match self {
            Scalar::Text(text) => string(text),
            Scalar::Int(value) => int(*value),
            Scalar::Unsigned(value) => i64::try_from(*value).map_or_else(|_| string(&value.to_string()), int),
            Scalar::Double(value) => Any::DoubleValue(*value),
            Scalar::Bool(value) => Any::BoolValue(*value),
        }
    }

    fn to_value(&self) -> Value {
        match self.clone() {
            Scalar::Text(text) => text.into(),
            Scalar::Int(value) => value.into(),
            Scalar::Unsigned(value) => value.into(),
            Scalar::Double(value) => value.into(),
            Scalar::Bool(value) => value.into(),
        }
    }
}

/// A key as far as it is kept.
fn kept(key: &str) -> &str {
    crate::encode::span::cut(key, 256)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn decoded_attributes_equal_the_model(steps in prop::collection::vec(step(), 0..40)) {
        let mut model: BTreeMap<String, Any> = BTreeMap::new();
        let finished = measure(|| {
            let span = info_span!(
                "n",
                a = Empty,
                b = Empty,
                node.id = Empty,
                longpole.node.id = Empty,
                node.cost_usd = Empty,
                longpole.polls = Empty,
                gen_ai.request.model = Empty,
                a.key.longer.than.the.template.of.an.encoded.key = Empty,
            );
            for step in &steps {
                let (key, value) = match step {
                    Step::Record(field, value) => {
                        let (name, key) = FIELDS[*field];
                        match value {
                            Scalar::Text(text) => span.record(name, text.as_str()),
                            Scalar::Int(value) => span.record(name, *value),
                            Scalar::Unsigned(value) => span.record(name, *value),
                            Scalar::Double(value) => span.record(name, *value),
                            Scalar::Bool(value) => span.record(name, *value),
                        };
                        (key, value)
                    }
                    Step::Set(Ok(field), value) => {
                        span.set_attribute(FIELDS[*field].0, value.to_value());
                        (FIELDS[*field].1, value)
                    }
                    Step::Set(Err(key), value) => {
                        span.set_attribute(key, value.to_value());
                        (key.as_str(), value)
                    }
                };
                model.insert(kept(key).to_owned(), value.exported());
            }
        });
        let [n] = &finished[..] else { panic!("one span") };
        let decoded = by_key(&n.span.attributes);
        let model: BTreeMap<&str, Any> = model.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        prop_assert_eq!(decoded, model);
        prop_assert_eq!(n.span.dropped_attributes_count, 0);
    }

    #[test]
    fn limits_hold_whatever_is_recorded(
        steps in prop::collection::vec(step(), 0..60),
        attributes in 0u32..12,
        span_bytes in 0usize..2000,
    ) {
        let limits = super::super::config::Limits { attributes, span_bytes, value_bytes: 40, ..Default::default() };
        let finished = measure_with(LayerConfig { limits, ..config() }, || {
            let span = info_span!("n");
            for step in &steps {
                if let Step::Set(Err(key), value) = step {
                    span.set_attribute(key, value.to_value());
                }
            }
        });
        let [n] = &finished[..] else { panic!("one span") };
        let decoded = by_key(&n.span.attributes);
        prop_assert!(decoded.len() <= attributes as usize);
        let bytes: usize = n.span.attributes.iter().map(|attribute| attribute.encoded_len()).sum();
        prop_assert!(bytes <= span_bytes);
        for value in decoded.values() {
            if let Any::StringValue(text) = value {
                prop_assert!(text.len() <= 40);
            }
        }
    }
}
