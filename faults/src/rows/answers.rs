//! Backends that answer in odd ways: busy, in part, at length, or nonsense.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use super::trial::{PATIENCE, Trial, name};
use super::{Outcome, Plan, at_once, case};
use crate::client::{ClientSpec, Protocol};
use crate::sink::Answer;

/// A `Retry-After` header and how long it asks to wait; `None` asks for nothing that can be understood.
type RetryAfter = (&'static str, Option<u64>);

/// Four requests at once, tried again after waits that double, need far fewer than this.
const MOST_REQUESTS: usize = 150;

/// The backend is busy for a while, and says for how long, or not.
pub(super) fn retry_after(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let long = plan.pick("2", "7");
    let cases: Vec<(u16, RetryAfter)> = vec![
        (429, ("", None)),
        (502, ("", None)),
        (503, ("", None)),
        (504, ("", None)),
        (503, ("1", Some(1))),
        (429, (long, Some(plan.pick(2, 7)))),
        (503, ("600", Some(600))),
        (503, ("-1", None)),
        (429, ("soon", None)),
        (503, ("a date", Some(plan.pick(3, 10)))),
        (503, ("a past date", None)),
    ];
    at_once(plan.pick(4, 2), cases, |(code, after)| {
        let form = if after.0.is_empty() {
            "no Retry-After".to_owned()
        } else {
            format!("Retry-After: {}", after.0)
        };
        Ok(case(plan, format!("{code}, {form}"), |what| busy(plan, what, code, after)))
    })
}

fn busy(plan: &Plan, what: &str, code: u16, (form, wait): RetryAfter) -> anyhow::Result<Outcome> {
    let trial = Trial::new(plan, Protocol::Http)?;
    let (busy, after) = plan.pick((1_200, 600), (30_000, 5_000));
    let spec = ClientSpec { flush_ms: Some(plan.pick(2_500, 12_000)), ..trial.spec(500, busy + after) };
    let client = trial.start(&spec)?;
    let begun = SystemTime::now();
    let header = match (form, wait) {
        ("", _) => None,
        ("a date", Some(seconds)) => Some(httpdate::fmt_http_date(begun + Duration::from_secs(seconds))),
        ("a past date", _) => Some(httpdate::fmt_http_date(begun - Duration::from_secs(3_600))),
        (form, _) => Some(form.to_owned()),
    };
    let date = (form == "a date").then(Instant::now);
    let refusal = Answer::Http(code, header.map(|header| vec![("retry-after", header)]).unwrap_or_default());
    trial.sink.answer(Vec::new(), vec![refusal]);
    sleep(Duration::from_millis(busy));
    trial.sink.answer(Vec::new(), vec![Answer::Take]);
    let report = client.report(PATIENCE + Duration::from_millis(after))?;
    let early = trial.sink.tally(|tally| {
        let refused = tally.requests.iter().find(|request| !request.is_taken).map(|request| request.at);
        let (Some(refused), Some(wait)) = (refused, wait) else { return 0 };
        // Dates have no fractions of a second. Requests that were on their way already are not early.
        let end = date.map_or(refused + Duration::from_secs(wait.min(300)), |date| {
            date + Duration::from_secs(wait.saturating_sub(1))
        });
        let (from, to) = (refused + Duration::from_millis(100), end - Duration::from_millis(20));
        tally.requests.iter().filter(|request| request.at > from && request.at < to).count()
    });
    let requests = trial.sink.tally(|tally| tally.requests.len());
    let was_started_again = trial.settle()?;
    let mut outcome = trial.outcome(what)?;
    outcome.report(&report);
    outcome.must_lose_nothing();
    outcome.must_end_in_time(&report);
    outcome.must(requests <= MOST_REQUESTS, || format!("{requests} requests to a backend that is busy"));
    outcome.must(early == 0, || format!("{early} requests before the backend wanted any"));
    outcome.more.push(format!("{requests} requests, {early} too early"));
    if was_started_again {
        outcome.more.push("the rest came at the next start".to_owned());
    }
    Ok(outcome)
}

/// The backend takes some, and says of how many it does not.
pub(super) fn partial_success(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for protocol in [Protocol::Grpc, Protocol::Http] {
        for (rejected, message) in [(2, "two are too old"), (0, "please slow down")] {
            let trial = Trial::new(plan, protocol)?;
            trial.sink.answer(Vec::new(), vec![Answer::Partial(rejected, message)]);
            let report = trial.start(&trial.spec(1_000, 300))?.report(PATIENCE)?;
            let (requests, spans, most) = trial.sink.tally(|tally| {
                let spans: usize = tally.requests.iter().map(|request| request.spans).sum();
                (tally.requests.len() as u64, spans as u64, tally.most_often())
            });
            let mut outcome = trial.outcome(format!("{}, {rejected} rejected", name(protocol)))?;
            outcome.report(&report);
            outcome.must(most <= 1 && spans == outcome.produced, || "spans were sent again".to_owned());
            let counts = report.shutdown.counts.clone().unwrap_or_default();
            let expected = requests * rejected.unsigned_abs();
            outcome.must(counts.rejected == expected, || {
                format!("{expected} were rejected, {} counted", counts.rejected)
            });
            outcome.must(report.notes.iter().any(|note| note.contains(message)), || "not told".to_owned());
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

/// The most memory an answer may cost: the 4 MiB that are read of it, twice while they are put together, and what the
/// allocator keeps.
const ANSWER_RSS_KIB: u64 = 12 << 10;
/// A client reads 4 MiB of an answer; as much again and more may be under way in the system's buffers.
const ANSWER_BYTES: u64 = 16 << 20;

/// Answers that are too long, too slow, or none.
pub(super) fn odd_answers(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    type Case = (&'static str, Protocol, fn() -> Answer);
    let cases: Vec<Case> = vec![
        ("nothing odd, to compare", Protocol::Grpc, || Answer::Take),
        ("nothing odd, to compare", Protocol::Http, || Answer::Take),
        ("64 MiB", Protocol::Grpc, || Answer::Giant(64 << 20)),
        ("64 MiB", Protocol::Http, || Answer::Giant(64 << 20)),
        ("a byte a second", Protocol::Grpc, || Answer::Trickle),
        ("a byte a second", Protocol::Http, || Answer::Trickle),
        ("nonsense", Protocol::Grpc, || Answer::Garbage),
        ("nonsense", Protocol::Http, || Answer::Garbage),
        ("UNAVAILABLE with nonsense for details", Protocol::Grpc, || Answer::GrpcRawDetails(14, "!nonsense")),
        ("UNAVAILABLE with a huge length in its details", Protocol::Grpc, || {
            // A Status whose third field claims to have 2 GiB.
            Answer::Grpc(14, "as told", vec![0x08, 14, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x07])
        }),
    ];
    let mut outcomes = at_once(plan.pick(3, 2), cases, |(what, protocol, answer)| {
        let mut trial = Trial::new(plan, protocol)?;
        trial.set("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");
        let is_refused = matches!(answer(), Answer::GrpcRawDetails(..) | Answer::Grpc(..));
        if is_refused {
            trial.sink.answer(vec![answer(); 3], vec![Answer::Take]);
        } else {
            trial.sink.answer(Vec::new(), vec![answer()]);
        }
        let spec = ClientSpec { flush_ms: Some(3_000), ..trial.spec(500, 500) };
        let report = trial.start(&spec)?.report(PATIENCE)?;
        let (bytes, requests) = trial.sink.tally(|tally| (tally.answer_bytes, tally.requests.len() as u64));
        trial.sink.answer(Vec::new(), vec![Answer::Take]);
        trial.settle()?;
        let mut outcome = trial.outcome(format!("{}, {what}", name(protocol)))?;
        outcome.report(&report);
        outcome.must_lose_nothing();
        outcome.must_end_in_time(&report);
        outcome.must(bytes <= requests * ANSWER_BYTES, || {
            format!("{bytes} bytes of {requests} answers were taken")
        });
        if bytes > 0 {
            outcome
                .more
                .push(format!("{:.1} MiB of each answer taken", bytes as f64 / requests as f64 / 1048576.0));
        }
        Ok((outcome, report.peak_rss_kib.saturating_sub(report.first_rss_kib)))
    })?;
    let plain = outcomes.iter().take(2).map(|(_, growth)| *growth).max().unwrap_or(0);
    for (outcome, growth) in &mut outcomes {
        let beyond = growth.saturating_sub(plain);
        outcome.must(beyond <= ANSWER_RSS_KIB, || format!("{beyond} KiB more memory than without"));
        outcome.more.push(format!("memory +{:.1} MiB", *growth as f64 / 1024.0));
    }
    Ok(outcomes.into_iter().map(|(outcome, _)| outcome).collect())
}
