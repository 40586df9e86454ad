//! A report as JSON.

use serde_json::{Map, Value};

use crate::report::Report;

/// The report in its JSON form, `longpole.report/1` (see [`crate::report`]): indented, keys in alphabetical order at
/// every level, a line feed at the end. Equal reports give equal bytes.
pub fn json(report: &Report) -> String {
    let value = serde_json::to_value(report).map(sorted);
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    text.expect("a report is made of structs, lists, and maps with strings as keys") + "\n"
}

/// The same on one line, for JSON lines: one run each.
pub fn json_line(report: &Report) -> String {
    let value = serde_json::to_value(report).map(sorted);
    let text = value.and_then(|value| serde_json::to_string(&value));
    text.expect("a report is made of structs, lists, and maps with strings as keys") + "\n"
}

/// `value` with its keys in order, whatever order the map of this build of `serde_json` keeps.
pub(super) fn sorted(mut value: Value) -> Value {
    sort(&mut value);
    value
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(sort);
            if !object.keys().is_sorted() {
                let mut entries: Vec<_> = std::mem::take(object).into_iter().collect();
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                *object = entries.into_iter().collect::<Map<_, _>>();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(sort),
        _ => {}
    }
}
