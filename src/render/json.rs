//! JSON with keys in alphabetical order, whatever map `serde_json` was built with.

use serde::Serialize;
use serde_json::Value;

pub(super) fn json(report: &impl Serialize) -> String {
    // A report is numbers and strings: neither step can fail.
    let value = serde_json::to_value(report).unwrap_or_default();
    let mut text = serde_json::to_string_pretty(&sorted(value)).unwrap_or_default();
    text.push('\n');
    text
}

/// `value` with the keys of every object sorted. As deep as reports are, which is little.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Object(object) => {
            let mut entries: Vec<(String, Value)> = object.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        other => other,
    }
}
