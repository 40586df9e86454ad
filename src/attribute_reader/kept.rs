//! Attributes that were read, kept as OTLP bytes, so that a record can be written and read again.
//!
//! Reading them again gives the same facts, whatever dialect they are in. Only what is read is kept, and no content:
//! of what a node was given its hash, of the address of a request that there is one.

use super::AttributeValue;
use crate::conventions::Fact;
use crate::otlp_bytes::{append_field, append_varint};

/// Appends an attribute that tells `fact` as a `Span.attributes` field; nothing for values that tell nothing.
pub(super) fn keep(kept: &mut Vec<u8>, fact: Fact, key: &[u8], value: &AttributeValue<'_>) {
    let hash = AttributeValue::Int(value.as_hash().unwrap_or_default().cast_signed());
    let address = match value {
        AttributeValue::Str(text) => AttributeValue::Str(text.split(['?', '#']).next().unwrap_or_default()),
        _ => AttributeValue::Other,
    };
    let value = match fact {
        // That there is one tells all that is told.
        Fact::Http | Fact::Db => &AttributeValue::Bool(true),
        // A number stands for itself.
        Fact::InputHash if value.as_hash().is_some() => &hash,
        Fact::InputHash => return,
        // What an address asks for is none of the history's business.
        Fact::ApiUrl => &address,
        _ => value,
    };
    let mut encoded = Vec::new();
    match value {
        AttributeValue::Str(text) => append_field(&mut encoded, 1, text.as_bytes()),
        AttributeValue::Bool(flag) => encoded.extend_from_slice(&[2 << 3, u8::from(*flag)]),
        AttributeValue::Int(number) => {
            encoded.push(3 << 3);
            append_varint(&mut encoded, number.cast_unsigned());
        }
        AttributeValue::Double(number) => {
            encoded.push(4 << 3 | 1);
            encoded.extend_from_slice(&number.to_le_bytes());
        }
        AttributeValue::Strings(texts) => {
            let mut array = Vec::new();
            for text in texts {
                let mut item = Vec::new();
                append_field(&mut item, 1, text.as_bytes());
                append_field(&mut array, 1, &item);
            }
            append_field(&mut encoded, 5, &array);
        }
        // There, and of no type that is read.
        AttributeValue::Other => {}
    }
    let mut attribute = Vec::new();
    append_field(&mut attribute, 1, key);
    append_field(&mut attribute, 2, &encoded);
    append_field(kept, 9, &attribute);
}

/// Appends who wrote the span, which its scope told.
pub(super) fn keep_scope(kept: &mut Vec<u8>, name: &str) {
    keep(kept, Fact::Scope, b"otel.scope.name", &AttributeValue::Str(name));
}
