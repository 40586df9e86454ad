//! The resource and scope messages that go before a program's spans.

use std::sync::Arc;

use crate::encode::attribute::{push_field, string_attribute};
use crate::span_record::Origin;

/// Resource attributes, in the order in which they are sent.
pub(crate) struct ResourceAttributes(pub(crate) Vec<(String, String)>);

impl ResourceAttributes {
    /// What a decoder reads of them.
    pub(crate) fn origin(&self) -> Arc<Origin> {
        let value = |key: &str| self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str().into());
        Arc::new(Origin {
            service_name: value("service.name"),
            service_version: value("service.version"),
            host: value("host.id").or_else(|| value("host.name")),
        })
    }
}

/// The `Resource` message.
pub(crate) fn encode_resource(attributes: &ResourceAttributes) -> Vec<u8> {
    let mut resource = Vec::new();
    for (key, value) in &attributes.0 {
        push_field(&mut resource, 1, &string_attribute(key, value));
    }
    resource
}

/// The `InstrumentationScope` message: longpole, and its version.
pub(crate) fn encode_scope() -> Vec<u8> {
    let mut scope = Vec::new();
    push_field(&mut scope, 1, b"longpole");
    push_field(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
    scope
}
