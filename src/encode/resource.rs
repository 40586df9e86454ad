//! The resource and scope messages that go before a program's spans.

use std::sync::Arc;

use super::span::{EncodedKey, append_field, append_str};
use crate::span_record::Origin;

/// `Resource.attributes`, `InstrumentationScope.name` and `.version`.
const RESOURCE_ATTRIBUTE: u8 = 0x0a;
const SCOPE_NAME: u8 = 0x0a;
const SCOPE_VERSION: u8 = 0x12;

/// Resource attributes, in the order in which they are sent.
pub(crate) struct ResourceAttributes(pub(crate) Vec<(String, String)>);

impl ResourceAttributes {
    /// What a decoder reads of them.
    pub(crate) fn origin(&self) -> Arc<Origin> {
        let value =
            |key: &str| self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str().into());
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
        append_str(&mut resource, RESOURCE_ATTRIBUTE, &EncodedKey::new(key), value, value.len());
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
