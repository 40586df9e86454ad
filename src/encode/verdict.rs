//! A run's verdict as attributes of its root span.
//!
//! Protobuf fields of one message may be cut anywhere and concatenate, so the verdict is appended to the root's
//! bytes when it is known, and whoever opens the trace reads the answer there.

use super::span::{
    EncodedKey, SPAN_ATTRIBUTE, append_bool, append_double, append_int, append_str, append_strings,
};
use crate::conventions as keys;
use crate::render::units;
use crate::report::{Report, RunStatus};
use crate::run_assembler::FinishedRun;
use crate::span_record::SpanRecord;
use crate::time::Duration;

/// `Span.attributes` fields that say what `report` says.
pub(crate) fn verdict_attributes(report: &Report) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(first) = report.findings.first() {
        push_text(&mut bytes, keys::BOTTLENECK_NODE, &first.subject);
        push_time(&mut bytes, keys::BOTTLENECK_SAVE_MAX_NS, first.saves_max_ns);
    }
    let rows = report.critical_path.rows.iter();
    let steps: Vec<String> = rows
        .map(|row| {
            format!("{} {} {}", row.node, units::duration(row.duration_ns), units::share(row.wall_ratio))
        })
        .collect();
    let steps = steps.iter().map(String::as_str);
    append_strings(&mut bytes, SPAN_ATTRIBUTE, &EncodedKey::new(keys::CRITICAL_PATH), steps);
    push_time(&mut bytes, keys::RUN_WALL_NS, report.run.wall_ns);
    push_time(&mut bytes, keys::RUN_WORK_NS, report.run.work_ns);
    if let Some(cost) = report.totals.cost_usd {
        append_double(&mut bytes, SPAN_ATTRIBUTE, &EncodedKey::new(keys::RUN_COST_USD), cost.as_usd());
    }
    let is_complete = report.run.status != RunStatus::Incomplete;
    append_bool(&mut bytes, SPAN_ATTRIBUTE, &EncodedKey::new(keys::RUN_COMPLETE), is_complete);
    if let Ok(info) = serde_json::to_string(&report.bottleneck_info) {
        push_text(&mut bytes, keys::BOTTLENECK_INFO, &info);
    }
    bytes
}

/// `Span.attributes` fields for the root of `run` that say how many spans it has, so that a reader that has fewer
/// knows; empty where that is not known.
pub(crate) fn count_attributes(run: &FinishedRun) -> Vec<u8> {
    let mut bytes = Vec::new();
    if run.started > 0 {
        let is_shed = |record: &&SpanRecord| record.local.is_some_and(|local| local.is_shed);
        let shed = run.records.iter().filter(is_shed).count() as u64;
        let lost = run.missing.saturating_add(shed);
        push_count(&mut bytes, keys::RUN_SPANS, run.started);
        if lost > 0 {
            push_count(&mut bytes, keys::RUN_LOST_SPANS, lost);
        }
    }
    bytes
}

fn push_text(bytes: &mut Vec<u8>, key: &str, text: &str) {
    append_str(bytes, SPAN_ATTRIBUTE, &EncodedKey::new(key), text, text.len());
}

fn push_time(bytes: &mut Vec<u8>, key: &str, time: Duration) {
    push_count(bytes, key, time.as_nanos());
}

fn push_count(bytes: &mut Vec<u8>, key: &str, count: u64) {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    append_int(bytes, SPAN_ATTRIBUTE, &EncodedKey::new(key), count);
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Arc;

    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::ids::{SpanId, TraceId};
    use crate::report::Source;
    use crate::report::build::{ReportOptions, report_on, report_on_run};
    use crate::run_assembler::{AssemblerConfig, RunAssembler};
    use crate::span_record::{LocalFacts, SpanKind, Status, Timing};
    use crate::time::Timestamp;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fate {
        Arrives,
        Lost,
        /// Analysed and not exported.
        Shed,
    }

    fn record(id: u64, parent: Option<u64>) -> SpanRecord {
        let id_of = |id: u64| SpanId::from_bytes(id.to_be_bytes());
        SpanRecord {
            trace_id: TraceId::from_bytes([7; 16]),
            span_id: id_of(id),
            parent_id: parent.map(id_of),
            name: format!("s{id}").into(),
            kind: SpanKind::Internal,
            start: Timestamp::from_unix_nanos(id * 10),
            end: Timestamp::from_unix_nanos(10_000 - id * 10),
            status: Status::Unset,
            timing: Timing::default(),
            facts: None,
            links: None,
            origin: Arc::default(),
            local: Some(LocalFacts { is_local_root: parent.is_none(), ..LocalFacts::default() }),
        }
    }

    fn local(record: &mut SpanRecord) -> &mut LocalFacts {
        record.local.get_or_insert_default()
    }

    /// The counts as an attribute reader of another make reads them.
    fn told(attributes: &[u8]) -> Vec<(String, i64)> {
        let span = Span::decode(attributes).unwrap();
        let count = |value| match value {
            Some(Value::IntValue(count)) => count,
            other => panic!("{other:?}"),
        };
        span.attributes.into_iter().map(|it| (it.key, count(it.value.unwrap().value))).collect()
    }

    proptest! {
        /// Spans that are lost on the way are missed live and by whoever reads the export, as many and with the same
        /// words; spans that are only not exported are missed by that reader.
        #[test]
        fn what_is_lost_is_missed_live_and_in_the_export(
            spans in prop::collection::vec(
                (any::<prop::sample::Index>(), prop_oneof![
                    4 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Shed)
                ]),
                0..30,
            ),
        ) {
            let mut all = vec![(record(1, None), Fate::Arrives)];
            local(&mut all[0].0).is_outermost_marked = true;
            all[0].0.facts.get_or_insert_default().workflow_name = Some("w".into());
            for (id, (parent, fate)) in (2..).zip(&spans) {
                let parent = parent.index(all.len());
                local(&mut all[parent].0).children += 1;
                all.push((record(id, Some(parent as u64 + 1)), *fate));
            }
            for (record, fate) in &mut all {
                // Only what has no children is shed.
                local(record).is_shed = *fate == Fate::Shed && local(record).children == 0;
            }

            let mut assembler = RunAssembler::new(AssemblerConfig::default());
            let arrived: Vec<SpanRecord> =
                all.iter().filter(|(_, fate)| *fate != Fate::Lost).map(|(record, _)| record.clone()).collect();
            for record in &arrived {
                assembler.push(record.clone(), Timestamp::EPOCH).unwrap();
            }
            let mut runs = assembler.end_grace();
            prop_assert_eq!(runs.len(), 1);
            let run = runs.remove(0);
            let shed = run.records.iter().filter(|record| record.local.unwrap().is_shed).count() as u64;
            let counts = told(&count_attributes(&run));
            let live = report_on_run(run, &ReportOptions::default()).unwrap();
            let lost = shed + live.quality.missing_spans;
            let mut expected = vec![("longpole.run.spans".to_owned(), (live.run.spans + live.quality.missing_spans) as i64)];
            expected.extend((lost > 0).then(|| ("longpole.run.lost_spans".to_owned(), lost as i64)));
            prop_assert_eq!(&counts, &expected);
            let lost_ones = all.iter().filter(|(_, fate)| *fate == Fate::Lost).count();
            prop_assert_eq!(live.quality.missing_spans > 0, lost_ones > 0);

            let mut exported: Vec<SpanRecord> =
                arrived.into_iter().filter(|record| !record.local.unwrap().is_shed).collect();
            for record in &mut exported {
                record.local = None;
            }
            exported[0].facts.get_or_insert_default().run_spans = NonZeroU64::new(counts[0].1 as u64);
            let mut offline = report_on(exported, &ReportOptions::default());
            prop_assert_eq!(offline.len(), 1);
            let offline = offline.remove(0);
            prop_assert_eq!(offline.quality.missing_spans, lost);
            prop_assert_eq!(offline.run.status == RunStatus::Incomplete, lost > 0);
            if shed == 0 {
                let live = Report { source: Source::Decoded, ..live };
                prop_assert_eq!(live, offline);
            }
        }
    }

    #[test]
    fn a_run_of_which_nothing_is_known_tells_nothing() {
        let run = FinishedRun { records: vec![record(1, None)], missing: 3, ..FinishedRun::default() };
        assert_eq!(told(&count_attributes(&run)), []);
    }
}
