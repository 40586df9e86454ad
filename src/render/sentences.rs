//! Evidence and suggestions as sentences: the evidence, then what follows from it, with its numbers.

use crate::render::units::{count, duration, factor, money, share};
use crate::report::{QualityLevel, Reason, Report, RunStatus, Suggestion};
use crate::time::Duration;

/// Why a node takes what it takes.
pub(crate) fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Calls { calls, average_ns, peak_concurrency } => {
            let calls = format!("{} calls of {} on average", count(*calls), duration(*average_ns));
            match peak_concurrency {
                0 | 1 => format!("{calls}, one after the other"),
                at_once => format!("{calls}, at most {at_once} at once"),
            }
        }
        Reason::Queued { queued_ns, behind: Some(node) } => {
            format!("queued {} before it ran, behind {node}", duration(*queued_ns))
        }
        Reason::Queued { queued_ns, behind: None } => {
            format!("queued {} before it ran", duration(*queued_ns))
        }
        Reason::PaceSetBy { on_path_ns, after_ns, node } => {
            let node = node.as_deref().unwrap_or("what runs beside it");
            let time = duration(*on_path_ns);
            match after_ns.is_zero() {
                true => format!("on the path for {time}, but {node} takes as long"),
                false => {
                    format!("on the path for {time}, but past {} {node} sets the pace", duration(*after_ns))
                }
            }
        }
        Reason::NothingBeside => "nothing runs beside it".to_owned(),
        Reason::Failed { failures, retries, on_path_ns } => {
            let mut parts = Vec::new();
            if *failures > 0 {
                parts.push(format!("{} failed", count(*failures)));
            }
            if *retries > 0 {
                parts.push(plural(*retries, "retry", "retries"));
            }
            if !on_path_ns.is_zero() {
                parts.push(format!("{} on the path in failed calls", duration(*on_path_ns)));
            }
            parts.join(", ")
        }
        Reason::Tokens { output, per_second: Some(rate) } => {
            format!("wrote {} tokens ({rate:.0} tokens/s)", count(*output))
        }
        Reason::Tokens { output, per_second: None } => format!("wrote {} tokens", count(*output)),
        Reason::OwnCpu { busy_ratio } => {
            format!("a thread runs in it {} of its time: it computes", share(*busy_ratio))
        }
    }
}

/// What one change would save, with `share_of_wall` as words.
pub(crate) fn suggestion(suggestion: &Suggestion, wall: Duration) -> String {
    let saves =
        |time: Duration| format!("saves {} ({})", duration(time), share(time.ratio_of(wall).unwrap_or(0.0)));
    match suggestion {
        Suggestion::Faster { times, saves_ns } => format!("{times}× faster {}", saves(*saves_ns)),
        Suggestion::NoQueueing { saves_ns } => {
            format!("running it as soon as it is there {}", saves(*saves_ns))
        }
    }
}

/// How a run ended, in a word or two.
pub(crate) fn status(report: &Report) -> String {
    let run = &report.run;
    let mut parts = vec![
        match run.status {
            RunStatus::Ok => "ok",
            RunStatus::Error => "error",
            RunStatus::Panicked => "panicked",
            RunStatus::Cancelled => "cancelled",
            RunStatus::Incomplete => "incomplete",
        }
        .to_owned(),
    ];
    if run.errors > 0 {
        parts.push(format!("{} failed", count(run.errors)));
    }
    if run.retries > 0 {
        parts.push(plural(run.retries, "retry", "retries"));
    }
    parts.join(", ")
}

/// The run in a few numbers.
pub(crate) fn totals(report: &Report) -> Vec<String> {
    let (run, totals) = (&report.run, &report.totals);
    let at_least = if run.status == RunStatus::Incomplete { "≥ " } else { "" };
    let mut parts =
        vec![format!("wall {at_least}{}", duration(run.wall_ns)), format!("work {}", duration(run.work_ns))];
    if let Some(parallel) = totals.parallelism_achieved {
        parts.push(format!("parallel {}× (peak {})", factor(parallel), totals.parallelism_peak));
    }
    if let Some(cost) = totals.cost_usd {
        parts.push(format!("cost {}", money(cost)));
    }
    if let Some(tokens) = totals.tokens {
        parts.push(format!("tokens {} in, {} out", count(tokens.input), count(tokens.output)));
    }
    parts.push(format!("spans {}", count(run.spans)));
    parts
}

/// How much to trust the report.
pub(crate) fn confidence(report: &Report) -> String {
    let quality = &report.quality;
    let level = match quality.level {
        QualityLevel::High => "high",
        QualityLevel::Medium => "medium",
        QualityLevel::Low => "low",
    };
    let all = quality.closed_spans.saturating_add(quality.open_spans).saturating_add(quality.left_out_spans);
    let mut parts = vec![
        format!("{level}: {} of {} spans closed", count(quality.closed_spans), count(all)),
        format!("{} orphans", count(quality.orphans)),
    ];
    if quality.detached_spans > 0 {
        parts.push(format!("{} detached", count(quality.detached_spans)));
    }
    if quality.left_out_spans > 0 {
        parts.push(format!("{} left out because the run is too large", count(quality.left_out_spans)));
    }
    let told = ["missing_parent", "left_out"];
    for (warning, times) in quality.warnings.iter().filter(|(name, _)| !told.contains(&name.as_str())) {
        parts.push(format!("{} {}", count(*times), warning.replace('_', " ")));
    }
    parts.join(", ")
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}
