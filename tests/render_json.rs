//! The JSON form of a report.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/sample_reports.rs"]
mod sample_reports;

use longpole::report::Report;
use proptest::prelude::*;
use sample_reports::{agent_with_queued_tools, research_agent};
use serde_json::Value;

#[test]
fn a_report_reads_back_as_it_was() {
    for report in [research_agent(), agent_with_queued_tools()] {
        assert_eq!(serde_json::from_str::<Report>(&report.to_json()).unwrap(), report);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_ratio_reads_back_to_the_last_bit(ratio in 0.0f64..10.0, times: u64) {
        let mut report = research_agent();
        report.critical_path.rows[0].wall_ratio = ratio;
        report.run.wall_ns = longpole::time::Duration::from_nanos(times);
        prop_assert_eq!(serde_json::from_str::<Report>(&report.to_json()).unwrap(), report);
    }
}

#[test]
fn keys_are_in_order_at_every_level_and_the_last_byte_is_a_line_feed() {
    let json = research_agent().to_json();
    assert!(json.ends_with("}\n") && !json.ends_with("\n\n"));
    // Keys of one object stand at one indentation; a deeper line lies in a value of it.
    let mut last_keys: Vec<(usize, String)> = Vec::new();
    let mut compared = 0;
    for line in json.lines() {
        let indent = line.len() - line.trim_start().len();
        let key = line.trim_start().strip_prefix('"').and_then(|rest| rest.split_once("\": "));
        let closes = line.trim_start().starts_with(['}', ']']);
        last_keys.retain(|(level, _)| *level < indent || (*level == indent && !closes));
        if let Some((key, _)) = key {
            if let Some((_, last)) = last_keys.iter().find(|(level, _)| *level == indent) {
                assert!(last.as_str() < key, "{key} after {last}");
                compared += 1;
            }
            last_keys.retain(|(level, _)| *level != indent);
            last_keys.push((indent, key.to_owned()));
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn unknown_is_null_money_is_a_decimal_string_and_times_are_whole_nanoseconds() {
    let report: Value = serde_json::from_str(&research_agent().to_json()).unwrap();
    assert_eq!(report["schema"], "longpole.report/1");
    assert_eq!(report["totals"]["cost_usd"], "0.0913");
    assert_eq!(report["critical_path"]["rows"][1]["cost_usd"], Value::Null);
    assert_eq!(report["run"]["wall_ns"], 22_790_000_000u64);
    assert_eq!(report["insights"][0]["severity"], "critical");
    assert_eq!(report["insights"][3]["why"][1]["reason"], "queued");
}
