//! The JSON Schemas of the documents hold for documents, and say no to what is none.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/sample_reports.rs"]
mod sample_reports;
#[path = "support/traces.rs"]
mod traces;

use jsonschema::Validator;
use longpole::compare::{CompareOptions, compare_runs};
use longpole::render::{COMPARE_SCHEMA, REPORT_SCHEMA, json_line};
use longpole::report::Report;
use sample_reports::{agent_with_queued_tools, research_agent};
use serde_json::{Value, json};

/// The schema as it is, and one that also refuses fields it does not name.
fn validators(schema: &str) -> [Validator; 2] {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let mut strict = schema.clone();
    close(&mut strict);
    [schema, strict].map(|schema| jsonschema::validator_for(&schema).unwrap())
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

fn hold(schemas: &[Validator; 2], document: &Value) {
    for schema in schemas {
        let errors: Vec<String> =
            schema.iter_errors(document).map(|it| format!("{}: {it}", it.instance_path())).take(5).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

fn reports() -> Vec<Report> {
    let mut reports = vec![research_agent(), agent_with_queued_tools()];
    reports.extend(traces::told_files().into_iter().map(|(report, _)| report));
    reports
}

#[test]
fn the_schema_of_reports_holds_for_reports() {
    let schemas = validators(REPORT_SCHEMA);
    let reports = reports();
    assert!(reports.iter().any(|report| report.cost.is_some()));
    for report in reports {
        hold(&schemas, &serde_json::from_str(&json_line(&report)).unwrap());
    }
}

#[test]
fn the_schema_of_reports_says_no_to_what_is_none() {
    let [schema, strict] = validators(REPORT_SCHEMA);
    let good: Value = serde_json::from_str(&json_line(&research_agent())).unwrap();
    for (pointer, wrong) in [
        ("/run/wall_ns", json!("22.79 s")),
        ("/run/wall_ns", json!(-1)),
        ("/totals/cost_usd", json!(0.0913)),
        ("/run/status", json!("fine")),
        ("/insights/0/why/0/reason", json!("because")),
        ("/nodes", json!({})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = wrong;
        assert!(!schema.is_valid(&bad), "{pointer}");
    }
    let mut incomplete = good.clone();
    incomplete["run"].as_object_mut().unwrap().remove("wall_ns");
    assert!(!schema.is_valid(&incomplete));
    let mut newer = good;
    newer["run"]["new_field"] = json!(1);
    assert!(schema.is_valid(&newer), "fields may be added");
    assert!(!strict.is_valid(&newer));
}

#[test]
fn the_schema_of_comparisons_holds_for_comparisons() {
    let schemas = validators(COMPARE_SCHEMA);
    let (one, other) = (research_agent(), agent_with_queued_tools());
    for (base, new) in [
        (vec![one.clone()], vec![other.clone()]),
        (vec![one.clone(); 12], vec![other; 12]),
        (vec![one], Vec::new()),
    ] {
        let comparison = compare_runs(&base, &new, &CompareOptions::default());
        hold(&schemas, &serde_json::to_value(&comparison).unwrap());
    }
}
