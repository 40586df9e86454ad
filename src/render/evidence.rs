//! Evidence and suggestions in words.

use super::page::{Page, Part, Role, no_break, plain};
use super::units;
use crate::money::Money;
use crate::report::{Reason, Suggestion};
use crate::time::Duration;

/// A reason in words.
pub(super) fn reason(page: &Page, subject: &str, reason: &Reason) -> String {
    let time = |length: Duration| no_break(&units::duration(length));
    match reason {
        Reason::Calls { calls, average_ns, peak_concurrency } => {
            let at_once = match *peak_concurrency {
                _ if *calls <= 1 => String::new(),
                ..=1 => ", one at a time".to_owned(),
                peak if peak >= *calls => ", all at once".to_owned(),
                peak => format!(" with at most {} at once", units::count(peak)),
            };
            format!("{} of about {}{at_once}", units::counted(*calls, "call", "calls"), time(*average_ns))
        }
        Reason::Queued { queued_ns, behind: None } => format!("{} spent queueing", time(*queued_ns)),
        Reason::Queued { queued_ns, behind: Some(node) } if node == subject => {
            format!("{} spent queueing behind one another", time(*queued_ns))
        }
        Reason::Queued { queued_ns, behind: Some(node) } => {
            format!("{} spent queueing behind {}", time(*queued_ns), page.name_in_text(node))
        }
        Reason::PaceSetBy { on_path_ns, after_ns, node } => {
            let other = node.as_deref().map(|node| page.name_in_text(node));
            let other = other.as_deref().unwrap_or("other work");
            format!("takes {}, but past {} {other} sets the pace", time(*on_path_ns), time(*after_ns))
        }
        Reason::NothingBeside => "nothing runs beside it".to_owned(),
        Reason::Failed { failures, retries, on_path_ns } => {
            let mut text = format!("{} failed", units::counted(*failures, "call", "calls"));
            if !on_path_ns.is_zero() {
                text += &format!(" ({} of the path)", time(*on_path_ns));
            }
            if *retries > 0 {
                text += &format!(", {}", units::counted(*retries, "retry", "retries"));
            }
            text
        }
        Reason::Tokens { output, per_second } => {
            let known = per_second.filter(|speed| speed.is_finite() && *speed >= 0.0);
            let at = known.map(|per_second| format!(" at {}", speed(per_second)));
            format!("wrote {}{}", units::counted(*output, "token", "tokens"), at.unwrap_or_default())
        }
        Reason::OwnCpu { busy_ratio } => {
            format!(
                "a thread runs in it {} of its time: it computes, it does not wait",
                units::share(*busy_ratio)
            )
        }
        Reason::OverSla { sla_ns, average_ns } => {
            format!("takes {} on average, allowed are {}", time(*average_ns), time(*sla_ns))
        }
        Reason::SlowerThanUsual { took_ns, usual_ns, runs } => {
            let more = more(took_ns.as_nanos() as f64, usual_ns.as_nanos() as f64);
            let runs = units::counted(*runs, "run", "runs");
            format!("took {}, {more} than the median of {runs} ({})", time(*took_ns), time(*usual_ns))
        }
        Reason::MovedAlong { measure, now, usual } => {
            let measure = match measure.as_str() {
                "queued_ms" => "ms queued".to_owned(),
                other => page.term(&other.replace('_', " ")),
            };
            format!("{} {measure}, usually {}", units::count(*now), units::count(*usual))
        }
        Reason::SlowerOutput { model, per_second, usual, among_calls } => {
            let (model, is, was) = (page.name_in_text(model), speed(*per_second), speed(*usual));
            match among_calls {
                Some(calls) => {
                    let calls = units::counted(*calls, "call", "calls");
                    format!("{model} wrote {is}, the median of its {calls} is {was}")
                }
                None => format!("{model} wrote {is}, usually {was}"),
            }
        }
        Reason::SlowerOrMore { slower_ns, wrote_more_ns } => {
            let more = (!wrote_more_ns.is_zero())
                .then(|| format!(", {} because it wrote more", time(*wrote_more_ns)));
            format!("{} because it wrote slower{}", time(*slower_ns), more.unwrap_or_default())
        }
        Reason::AtLimit { calls, limit, queued_ns } => {
            let waited = if queued_ns.is_zero() {
                "each starts as another ends".to_owned()
            } else {
                format!("{} spent waiting", time(*queued_ns))
            };
            format!("{} ready, {} at once, {waited}", units::count(*calls), units::count(*limit))
        }
        Reason::OneAfterAnother { steps, together_ns, longest_ns, .. } => {
            format!(
                "{} one after the other took {}, the longest {}; could run together if independent",
                units::counted(*steps, "step", "steps"),
                time(*together_ns),
                time(*longest_ns)
            )
        }
        Reason::Repeated { calls, caller } => {
            let caller = caller.as_deref().map(|caller| format!(" for {}", page.name_in_text(caller)));
            format!("{}{}", units::counted(*calls, "call", "calls"), caller.unwrap_or_default())
        }
        Reason::SameInput { repeats, calls } => {
            format!(
                "{} of {} got input seen before",
                units::count(*repeats),
                units::counted(*calls, "call", "calls")
            )
        }
        Reason::Straggler { siblings, median_ns, longest_ns } => {
            format!(
                "one of {} took {}, the median {}",
                units::count(*siblings),
                time(*longest_ns),
                time(*median_ns)
            )
        }
        Reason::LostToRetries { failures, retries, lost_ns, on_path_ns, cost_usd } => {
            let (failed, retried) = (units::count(*failures), units::counted(*retries, "retry", "retries"));
            let cost = cost_usd
                .filter(|cost| *cost > Money::ZERO)
                .map(|cost| format!(" and {}", units::money(cost)));
            format!(
                "{failed} failed, {retried}; {}{} lost, {} on the path",
                time(*lost_ns),
                no_break(&cost.unwrap_or_default()),
                time(*on_path_ns)
            )
        }
        Reason::Varies { rule, value, calls, .. } => {
            let what = match rule.as_str() {
                "tail" => "the slowest take %x the median",
                "cv" => "deviates by %x its mean",
                "spread" => "the longest took %x the shortest",
                "p99_over_mean" => "P99 is %x the mean",
                _ => "differs %x",
            };
            let value = if value.is_finite() { format!("{value:.1}×") } else { "?".to_owned() };
            format!("{} over {}", what.replace("%x", &value), units::counted(*calls, "call", "calls"))
        }
        Reason::CostShare { cost_usd, cost_ratio, time_ratio } => {
            let (cost, of_time) = (units::share(*cost_ratio), units::share(*time_ratio));
            format!("{} is {cost} of the cost, for {of_time} of the time", units::money(*cost_usd))
        }
        Reason::Gap { start_ns, duration_ns, after, before } => {
            let side = |word: &str, name: &Option<String>| {
                name.as_deref().map(|name| format!(" {word} {}", page.name_in_text(name))).unwrap_or_default()
            };
            format!(
                "{} from {} on, no span{}{}",
                time(*duration_ns),
                time(*start_ns),
                side("after", after),
                side("before", before)
            )
        }
        Reason::RoomToSpread { graph_bound_ns, useful_workers, peak } => {
            format!(
                "the graph allows {}; {} were busy at most, up to {} would help",
                time(*graph_bound_ns),
                units::count(*peak),
                units::count(*useful_workers)
            )
        }
        Reason::FailedOnPath { on_path_ns, failures } => {
            let failed = units::counted(*failures, "call", "calls");
            format!("{failed} failed after {} on the path", time(*on_path_ns))
        }
        Reason::TraceQuality { counts } => {
            let counts = counts.iter().map(|(name, number)| {
                format!("{} {}", units::count(*number), page.term(&name.replace('_', " ")))
            });
            counts.collect::<Vec<_>>().join(", ")
        }
        Reason::LostContext { roots, span, duration_ns } => {
            let roots = units::counted(*roots, "root span", "root spans");
            format!(
                "{roots} ({}, {}) started while this run waited: spawned without the span around it?",
                page.name_in_text(span),
                time(*duration_ns)
            )
        }
    }
}

fn more(now: f64, usual: f64) -> String {
    if usual > 0.0 { format!("{} more", units::share(now / usual - 1.0)) } else { "more".to_owned() }
}

fn speed(per_second: f64) -> String {
    let text = match per_second {
        speed if !speed.is_finite() || speed < 0.0 => "? tokens/s".to_owned(),
        speed if speed < 9.95 => format!("{speed:.1} tokens/s"),
        speed => format!("{} tokens/s", units::count(speed.round() as u64)),
    };
    no_break(&text)
}

/// What to change, in words.
pub(super) fn change(suggestion: &Suggestion) -> String {
    match suggestion {
        Suggestion::Faster { times, .. } => format!("{times}× faster"),
        Suggestion::NoQueueing { .. } => "no queueing".to_owned(),
        Suggestion::AtOnce { limit, .. } => format!("{} at once", units::count(*limit)),
        Suggestion::Together { .. } => "all together".to_owned(),
        Suggestion::Batch { .. } => "one call for all".to_owned(),
        Suggestion::Cache { .. } => "a cache".to_owned(),
        Suggestion::BackToUsual { .. } => "back to its median".to_owned(),
        Suggestion::AsTheMedian { .. } => "the slow ones as fast as the median".to_owned(),
        Suggestion::FirstTry { .. } => "no failed tries".to_owned(),
        Suggestion::NoGap { .. } => "closing the gap".to_owned(),
    }
}

/// What to change about what, in words.
pub(super) fn change_of(subject: &str, suggestion: &Suggestion) -> String {
    match suggestion {
        Suggestion::NoQueueing { .. } => format!("{subject} without queueing"),
        Suggestion::NoGap { .. } => format!("{subject} without the gap"),
        other => format!("{subject} {}", change(other)),
    }
}

/// A change and what it would save.
pub(super) fn suggestion(suggestion: &Suggestion, wall: Duration) -> Vec<Part> {
    let saves = suggestion.saves();
    let share = saves.ratio_of(wall).map(|ratio| format!(" ({})", units::share(ratio)));
    let money = match suggestion {
        Suggestion::Cache { saves_usd: Some(cost), .. } => format!(" and {}", units::money(*cost)),
        _ => String::new(),
    };
    vec![
        plain(format!("{} saves ", change(suggestion))),
        (Role::Gain, no_break(&units::duration(saves))),
        plain(share.unwrap_or_default() + &money),
    ]
}
