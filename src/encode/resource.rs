//! The resource and scope messages that go before a program's spans.

use std::sync::Arc;

use super::span::{
    EncodedKey, append_bool, append_double, append_field, append_int, append_str, append_strings,
};
use crate::span_record::Origin;

/// `Resource.attributes`, `InstrumentationScope.name` and `.version`.
const RESOURCE_ATTRIBUTE: u8 = 0x0a;
const SCOPE_NAME: u8 = 0x0a;
const SCOPE_VERSION: u8 = 0x12;

/// Resource attributes, in the order in which they are sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ResourceAttributes(Vec<(String, ResourceValue)>);

/// The value of a resource attribute.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "a resource of OpenTelemetry's may hold them"))]
pub(crate) enum ResourceValue {
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    Texts(Vec<String>),
}

impl ResourceAttributes {
    /// Sets an attribute; one that is set already keeps its place.
    pub(crate) fn set(&mut self, key: &str, value: ResourceValue) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn set_text(&mut self, key: &str, value: impl Into<String>) {
        self.set(key, ResourceValue::Text(value.into()));
    }

    pub(crate) fn set_all(&mut self, others: &ResourceAttributes) {
        for (key, value) in &others.0 {
            self.set(key, value.clone());
        }
    }

    /// Keys, and values to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut ResourceValue)> {
        self.0.iter_mut().map(|(key, value)| (key.as_str(), value))
    }

    /// What a decoder reads of them.
    pub(crate) fn origin(&self) -> Arc<Origin> {
        let value = |key: &str| {
            self.0.iter().find_map(|(known, value)| match value {
                ResourceValue::Text(text) if known == key => Some(text.as_str().into()),
                ResourceValue::Texts(texts) if known == key && key == "host.ip" => {
                    texts.first().map(|text| text.as_str().into())
                }
                _ => None,
            })
        };
        Arc::new(Origin {
            service_name: value("service.name"),
            service_version: value("service.version"),
            host: value("host.id").or_else(|| value("host.ip")).or_else(|| value("host.name")),
        })
    }
}

/// The `Resource` message.
pub(crate) fn encode_resource(attributes: &ResourceAttributes) -> Vec<u8> {
    let mut resource = Vec::new();
    for (key, value) in &attributes.0 {
        let key = EncodedKey::new(key);
        match value {
            ResourceValue::Text(text) => {
                append_str(&mut resource, RESOURCE_ATTRIBUTE, &key, text, text.len())
            }
            ResourceValue::Int(number) => append_int(&mut resource, RESOURCE_ATTRIBUTE, &key, *number),
            ResourceValue::Double(number) => append_double(&mut resource, RESOURCE_ATTRIBUTE, &key, *number),
            ResourceValue::Bool(truth) => append_bool(&mut resource, RESOURCE_ATTRIBUTE, &key, *truth),
            ResourceValue::Texts(texts) => {
                append_strings(&mut resource, RESOURCE_ATTRIBUTE, &key, texts.iter().map(String::as_str));
            }
        }
    }
    resource
}

/// The `InstrumentationScope` message: longpole, and its version.
pub(crate) fn encode_scope() -> Vec<u8> {
    let mut scope = Vec::new();
    append_field(&mut scope, SCOPE_NAME, b"longpole");
    append_field(&mut scope, SCOPE_VERSION, env!("CARGO_PKG_VERSION").as_bytes());
    scope
}
