//! The outcomes as Markdown.

use std::fmt::Write;

use crate::client::{Latencies, Pipeline};
use crate::rows::{Outcome, ROWS};

/// Versions and date, what was lost, what it cost, and what could not be tried or did not hold.
///
/// `date` is the day, however it is to be shown.
pub fn markdown(outcomes: &[Outcome], date: &str, is_short: bool) -> String {
    let mut text = String::new();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let loads = if is_short { "short loads" } else { "full loads" };
    let of_sdk = ["opentelemetry_sdk", "opentelemetry-otlp", "tracing-opentelemetry"];
    let of_sdk = of_sdk.map(|name| format!("{name} {}", version(name))).join(", ");
    let own = version("longpole");
    let _ = writeln!(text, "longpole {own}; SDK: {of_sdk}, nothing set. {date}, {cores} cores, {loads}.\n");
    losses(&mut text, outcomes);
    costs(&mut text, outcomes);
    let skipped = outcomes.iter().filter_map(|outcome| Some((outcome, outcome.skipped.as_ref()?)));
    for (outcome, why) in skipped {
        let _ =
            writeln!(text, "SKIPPED: {} {} ({}): {why}", outcome.row, outcome.case, name(outcome.pipeline));
    }
    for outcome in outcomes {
        for failure in &outcome.failures {
            let _ = writeln!(
                text,
                "FAILED: {} {} ({}): {failure}",
                outcome.row,
                outcome.case,
                name(outcome.pipeline)
            );
        }
    }
    text
}

/// The version of a crate that was built in.
fn version(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let after = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map_or("", |(_, after)| after);
    after.split('"').next().unwrap_or("")
}

/// Cases in the order in which they were run, with what came of each pipeline.
fn cases(outcomes: &[Outcome]) -> Vec<(&Outcome, [Option<&Outcome>; 2])> {
    let mut cases: Vec<(&Outcome, [Option<&Outcome>; 2])> = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.skipped.is_none()) {
        let place = usize::from(outcome.pipeline == Pipeline::Sdk);
        let known = cases.iter_mut().find(|(first, of)| {
            first.row == outcome.row
                && first.case == outcome.case
                && of.get(place).is_some_and(Option::is_none)
        });
        let slots = match known {
            Some((_, slots)) => slots,
            None => {
                cases.push((outcome, [None, None]));
                let Some((_, slots)) = cases.last_mut() else { continue };
                slots
            }
        };
        if let Some(slot) = slots.get_mut(place) {
            *slot = Some(outcome);
        }
    }
    cases.sort_by_key(|(first, _)| ROWS.iter().position(|row| row.id == first.row));
    cases
}

fn losses(text: &mut String, outcomes: &[Outcome]) {
    text.push_str("| | fault | lost: longpole | lost: SDK | longpole said | the SDK said |\n");
    text.push_str("|---|---|--:|--:|---|---|\n");
    let mut row = "";
    for (first, [longpole, sdk]) in cases(outcomes) {
        if row != first.row {
            row = first.row;
            let what = ROWS.iter().find(|known| known.id == row).map_or("", |known| known.what);
            let _ = writeln!(text, "| **{row}** | **{what}** | | | | |");
        }
        let _ = writeln!(
            text,
            "| | {} | {} | {} | {} | {} |",
            first.case,
            longpole.map_or_else(String::new, lost),
            sdk.map_or_else(String::new, lost),
            longpole.map_or_else(String::new, said),
            sdk.map_or_else(String::new, said),
        );
    }
    text.push('\n');
}

fn costs(text: &mut String, outcomes: &[Outcome]) {
    text.push_str("Closing a span, µs (p50 / p99 / p99.9 / longest); processor time; peak memory:\n\n");
    text.push_str("| | case | longpole | SDK |\n|---|---|---|---|\n");
    for (first, [longpole, sdk]) in cases(outcomes) {
        if longpole.or(sdk).is_none_or(|outcome| outcome.closes.is_none()) {
            continue;
        }
        let cost = |outcome: Option<&Outcome>| outcome.map_or_else(String::new, cost);
        let _ = writeln!(text, "| {} | {} | {} | {} |", first.row, first.case, cost(longpole), cost(sdk));
    }
    text.push('\n');
}

fn name(pipeline: Pipeline) -> &'static str {
    match pipeline {
        Pipeline::Longpole => "longpole",
        Pipeline::Sdk => "SDK",
    }
}

fn lost(outcome: &Outcome) -> String {
    let share = outcome.lost as f64 / outcome.produced.max(1) as f64 * 100.0;
    let mut text = match outcome.lost {
        0 => format!("0 of {}", outcome.produced),
        lost => format!("**{lost}** of {} ({share:.2} %)", outcome.produced),
    };
    if outcome.duplicates > 0 {
        let _ = write!(text, ", {} twice", outcome.duplicates);
    }
    if !outcome.failures.is_empty() {
        text.push_str(" ✗");
    }
    text
}

fn said(outcome: &Outcome) -> String {
    let told = (!outcome.told.is_empty()).then_some(outcome.told.as_str());
    let parts: Vec<&str> = told.into_iter().chain(outcome.more.iter().map(String::as_str)).collect();
    parts.join("; ").replace('|', "\\|").replace('\n', " ")
}

fn cost(outcome: &Outcome) -> String {
    let closes = outcome.closes.as_ref().map_or_else(String::new, |closes: &Latencies| {
        let micros = |ns: u64| format!("{:.1}", ns as f64 / 1e3);
        let all = [closes.p50_ns, closes.p99_ns, closes.p999_ns, closes.max_ns];
        all.map(micros).join(" / ")
    });
    let cpu = outcome.cpu_ms.map_or_else(String::new, |ms| format!("; {ms:.0} ms"));
    let rss =
        outcome.peak_rss_kib.map_or_else(String::new, |kib| format!("; {:.1} MiB", kib as f64 / 1024.0));
    format!("{closes}{cpu}{rss}")
}
