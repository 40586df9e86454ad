//! Helpers of the integration tests; each file uses some of them.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "shared by test files that each use a part")]

use std::collections::BTreeMap;
use std::path::Path;

use longpole::analysis::critical_path::critical_path;
use longpole::run::Run;
use serde_json::Value;

/// The whole numbers of a JSON array.
pub fn whole_numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

/// Compares the critical path of Jaeger's own test traces with what Jaeger's tests expect, where its rule and ours
/// are the same.
pub fn check_jaeger(folder: &Path) {
    for n in 1..=9 {
        let read = |name: String| std::fs::read(folder.join(name)).unwrap();
        let decoded = longpole::decode::decode(&read(format!("test{n}.otlp.json"))).unwrap();
        let expected: Value = serde_json::from_slice(&read(format!("test{n}.expected.json"))).unwrap();
        assert_eq!(expected["agrees_with_recommended_definition"], true, "test{n}");
        let run = Run::from_records(decoded.spans).unwrap();
        let mut by_span: BTreeMap<String, u64> = BTreeMap::new();
        for segment in critical_path(&run).segments {
            let span = run.span(segment.span);
            *by_span.entry(span.record.span_id.to_string()).or_default() +=
                segment.interval.duration().as_nanos();
        }
        let listed = expected["by_span_ns"].as_object().unwrap();
        let listed: BTreeMap<String, u64> =
            listed.iter().map(|(id, nanos)| (id.clone(), nanos.as_u64().unwrap())).collect();
        assert_eq!(by_span, listed, "test{n}");
    }
}
