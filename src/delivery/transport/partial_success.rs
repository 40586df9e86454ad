//! What a backend refused of a request it took.

use super::Signal;
use crate::decode::protobuf::{Field, Fields, Value};
use crate::delivery::http_client::printable_start;

#[derive(Debug, Default, PartialEq)]
pub(super) struct PartialSuccess {
    pub(super) rejected: u64,
    pub(super) message: Option<String>,
}

/// Reads `partial_success` of an `Export…ServiceResponse`; they are alike for all signals. What cannot be read is as
/// if it were not there.
pub(super) fn from_protobuf(body: &[u8]) -> PartialSuccess {
    let mut partial = PartialSuccess::default();
    for field in Fields::new(body, 0).map_while(Result::ok) {
        let Field { number: 1, value: Value::Bytes(message) } = field else { continue };
        for field in Fields::new(message, 0).map_while(Result::ok) {
            match field {
                Field { number: 1, value: Value::Varint(rejected) } => {
                    partial.rejected = u64::try_from(rejected.cast_signed()).unwrap_or(0);
                }
                Field { number: 2, value: Value::Bytes(text) } if !text.is_empty() => {
                    partial.message = Some(printable_start(text));
                }
                _ => {}
            }
        }
    }
    partial
}

/// The same in JSON.
pub(super) fn from_json(body: &[u8], signal: Signal) -> PartialSuccess {
    let Ok(response) = serde_json::from_slice::<serde_json::Value>(body) else {
        return PartialSuccess::default();
    };
    let Some(partial) = response.get("partialSuccess") else { return PartialSuccess::default() };
    let rejected = partial.get(signal.rejected_key());
    let rejected = rejected.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    let message = partial.get("errorMessage").and_then(|text| text.as_str()).filter(|text| !text.is_empty());
    PartialSuccess {
        rejected: rejected.unwrap_or(0),
        message: message.map(|text| printable_start(text.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_read_and_damage_is_ignored() {
        let body = [0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, b'n', b'o'];
        let expected = PartialSuccess { rejected: 3, message: Some("no".to_owned()) };
        assert_eq!(from_protobuf(&body), expected);
        assert_eq!(from_protobuf(&[]), PartialSuccess::default());
        assert_eq!(from_protobuf(&[0x0a, 0x60, 0x08]), PartialSuccess::default());
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#;
        assert_eq!(from_json(json, Signal::Traces), expected);
        assert_eq!(from_json(json, Signal::Metrics).rejected, 0);
        assert_eq!(from_json(b"<html>", Signal::Traces), PartialSuccess::default());
    }
}
