//! What an answer means and how long to wait after it: the rules of OTLP as pure functions.

use std::time::{Duration, Instant, SystemTime};

use super::endpoint::Endpoint;

const MAX_RETRY_AFTER: Duration = Endpoint::MAX_RETRY_AFTER;

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Taken.
    Accepted,
    /// To be sent again, not before this long if the backend said so.
    Retry(Option<Duration>),
    /// Too large: once more in halves.
    TooLarge,
    /// Refused for good.
    Rejected,
}

/// The status codes of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrpcCode {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl GrpcCode {
    const ALL: [GrpcCode; 17] = [
        GrpcCode::Ok,
        GrpcCode::Cancelled,
        GrpcCode::Unknown,
        GrpcCode::InvalidArgument,
        GrpcCode::DeadlineExceeded,
        GrpcCode::NotFound,
        GrpcCode::AlreadyExists,
        GrpcCode::PermissionDenied,
        GrpcCode::ResourceExhausted,
        GrpcCode::FailedPrecondition,
        GrpcCode::Aborted,
        GrpcCode::OutOfRange,
        GrpcCode::Unimplemented,
        GrpcCode::Internal,
        GrpcCode::Unavailable,
        GrpcCode::DataLoss,
        GrpcCode::Unauthenticated,
    ];

    /// The code a `grpc-status` says; `Unknown` for what is none, as gRPC rules.
    pub(super) fn parse(status: &[u8]) -> GrpcCode {
        let number = std::str::from_utf8(status).ok().and_then(|text| text.trim().parse::<usize>().ok());
        number.and_then(|number| Self::ALL.get(number)).copied().unwrap_or(GrpcCode::Unknown)
    }
}

/// The first wait.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// What remains of a wait however it is spread, once waits have grown to it: so a backend that stays away is asked
/// at most so often.
const LEAST_SPREAD_BACKOFF: Duration = Duration::from_secs(1);

/// What the answer `status` with this `Retry-After` header means. `now` is for headers that give a date.
pub(crate) fn classify(status: u16, retry_after: Option<&str>, now: SystemTime) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        429 | 502 | 503 | 504 => {
            Verdict::Retry(retry_after.and_then(|header| parse_retry_after(header, now)))
        }
        413 => Verdict::TooLarge,
        _ => Verdict::Rejected,
    }
}

/// What the answer `code` means that came with this delay of a `RetryInfo`. Of the 16 codes that are no success, six
/// may pass by themselves, and a full backend if it says when. Without that, what is exhausted is most likely the
/// size it takes.
pub(super) fn classify_grpc(code: GrpcCode, retry_delay: Option<Duration>) -> Verdict {
    let wait = retry_delay.map(|delay| delay.min(MAX_RETRY_AFTER)).filter(|delay| !delay.is_zero());
    match code {
        GrpcCode::Ok => Verdict::Accepted,
        GrpcCode::Cancelled
        | GrpcCode::DeadlineExceeded
        | GrpcCode::Aborted
        | GrpcCode::OutOfRange
        | GrpcCode::Unavailable
        | GrpcCode::DataLoss => Verdict::Retry(wait),
        GrpcCode::ResourceExhausted if retry_delay.is_some() => Verdict::Retry(wait),
        GrpcCode::ResourceExhausted => Verdict::TooLarge,
        GrpcCode::Unknown
        | GrpcCode::InvalidArgument
        | GrpcCode::NotFound
        | GrpcCode::AlreadyExists
        | GrpcCode::PermissionDenied
        | GrpcCode::FailedPrecondition
        | GrpcCode::Unimplemented
        | GrpcCode::Internal
        | GrpcCode::Unauthenticated => Verdict::Rejected,
    }
}

/// Seconds or a date; `None` for what is neither, and for no wait at all: then the wait is ours to choose.
fn parse_retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(header).ok()?.duration_since(now).ok()?,
    };
    Some(wait.min(MAX_RETRY_AFTER)).filter(|wait| !wait.is_zero())
}

/// How long to wait before the try after `failures` failures: exponential from 100 ms to `max`, of which a `random`
/// share (0–1), so that many senders do not come back at once; but no less than half of it, or a second.
fn backoff(failures: u32, random: f64, max: Duration) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = FIRST_BACKOFF.saturating_mul(doubled).min(max);
    let least = longest.checked_div(2).unwrap_or_default().min(LEAST_SPREAD_BACKOFF);
    longest.mul_f64(random.clamp(0.0, 1.0)).max(least)
}

/// After so many failures in a row one request at a time is sent until one is answered.
const FAILURES_UNTIL_PROBING: u32 = 5;

/// When one backend may be asked again. What it says in one answer holds for every request: while it asks for time
/// nothing is sent, and while it is away it is asked by one request at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Failures since the last answer that settled a request.
    failures: u32,
    /// Before when the backend wants nothing.
    asked: Option<Instant>,
    /// Before when it is not to be probed.
    probe: Option<Instant>,
    max_backoff: Duration,
}

impl Pace {
    /// For a backend of which nothing is known yet. `max_backoff`: the longest wait unless it asks for more.
    pub(crate) fn new(max_backoff: Duration) -> Self {
        Pace { failures: 0, asked: None, probe: None, max_backoff }
    }

    /// A request was taken or refused for good: the backend is there. Time it asked for in another answer it keeps.
    pub(crate) fn settled(&mut self) {
        self.failures = 0;
        self.probe = None;
    }

    /// A request is to be sent again; `after` is the [`Verdict::Retry`] of its answer. Returns when: never before
    /// the backend wants it, and ever later while failures go on.
    pub(crate) fn failed(&mut self, after: Option<Duration>, now: Instant, random: f64) -> Instant {
        self.failures = self.failures.saturating_add(1);
        let wait = backoff(self.failures, random, self.max_backoff).max(after.unwrap_or_default());
        let due = now.checked_add(wait).unwrap_or(now);
        // Answers to requests that were on their way already make neither shorter.
        if let Some(asked) = after.and_then(|after| now.checked_add(after)) {
            self.asked = self.asked.max(Some(asked));
        }
        if self.is_probing() {
            self.probe = self.probe.max(Some(due));
        }
        self.not_before().map_or(due, |not_before| not_before.max(due))
    }

    /// Somebody is waiting, or the backend is known to be back: only what it asked for itself still holds.
    pub(crate) fn hurry(&mut self) {
        self.probe = None;
    }

    /// Whether only one request may be on its way.
    pub(crate) fn is_probing(&self) -> bool {
        self.failures >= FAILURES_UNTIL_PROBING
    }

    /// Whether the backend wants nothing now.
    pub(crate) fn asks_for_time(&self, now: Instant) -> bool {
        self.asked.is_some_and(|until| now < until)
    }

    /// Before when no request may start; `None`: any time.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.asked.max(self.probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BACKOFF: Duration = Endpoint::MAX_BACKOFF;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn only_the_four_codes_of_the_specification_are_retried() {
        for status in 100..600 {
            let expected = match status {
                200..=299 => Verdict::Accepted,
                429 | 502 | 503 | 504 => Verdict::Retry(None),
                413 => Verdict::TooLarge,
                _ => Verdict::Rejected,
            };
            assert_eq!(classify(status, None, NOW), expected, "{status}");
            if expected != Verdict::Retry(None) {
                assert_eq!(classify(status, Some("7"), NOW), expected, "{status}");
            }
        }
    }

    /// The whole table: every code, without `RetryInfo`, and with delays of 0, 1 s, 1 h and less than nothing, which
    /// is read as 0.
    #[test]
    fn of_the_codes_of_grpc_seven_are_retried_one_of_them_on_request() {
        let delays = [
            (None, None),
            (Some(Duration::ZERO), None),
            (Some(Duration::from_secs(1)), Some(Duration::from_secs(1))),
            (Some(Duration::from_secs(3_600)), Some(MAX_RETRY_AFTER)),
        ];
        for number in 0..=17 {
            let code = GrpcCode::parse(number.to_string().as_bytes());
            for (delay, wait) in delays {
                let expected = match number {
                    0 => Verdict::Accepted,
                    1 | 4 | 10 | 11 | 14 | 15 => Verdict::Retry(wait),
                    8 if delay.is_some() => Verdict::Retry(wait),
                    8 => Verdict::TooLarge,
                    _ => Verdict::Rejected,
                };
                assert_eq!(classify_grpc(code, delay), expected, "{number} {delay:?}");
            }
        }
    }

    #[test]
    fn a_status_that_is_no_code_is_unknown() {
        for status in ["17", "-1", "", "ok", "4294967296", "99999999999999999999999", "1.0", "\u{ff11}"] {
            assert_eq!(GrpcCode::parse(status.as_bytes()), GrpcCode::Unknown, "{status}");
        }
        assert_eq!(GrpcCode::parse(b"\xff"), GrpcCode::Unknown);
        assert_eq!(GrpcCode::parse(b"16"), GrpcCode::Unauthenticated);
    }

    #[test]
    fn retry_after_is_honoured_in_both_forms_and_within_reason() {
        for status in [429, 502, 503, 504] {
            let wait = |header| classify(status, Some(header), NOW);
            let seconds = |seconds| Verdict::Retry(Some(Duration::from_secs(seconds)));
            assert_eq!(wait("1"), seconds(1));
            assert_eq!(wait(" 7 "), seconds(7));
            assert_eq!(wait("600"), Verdict::Retry(Some(MAX_RETRY_AFTER)));
            assert_eq!(wait("Thu, 01 Jan 1970 00:01:00 GMT"), seconds(60));
            assert_eq!(wait("Fri, 01 Jan 2100 00:00:00 GMT"), Verdict::Retry(Some(MAX_RETRY_AFTER)));
            // No wait is no reason to hurry.
            assert_eq!(wait("0"), Verdict::Retry(None));
            let past = classify(status, Some("Thu, 01 Jan 1970 00:00:00 GMT"), NOW + MAX_BACKOFF);
            assert_eq!(past, Verdict::Retry(None));
            for nonsense in
                ["-1", "soon", "", "1.5", "99999999999999999999999", "Thu, 99 Jan 1970 00:00:00 GMT"]
            {
                assert_eq!(wait(nonsense), Verdict::Retry(None), "{nonsense}");
            }
        }
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_are_spread() {
        let at = |random| -> Vec<u128> {
            (1..=11).map(|failures| backoff(failures, random, MAX_BACKOFF).as_millis()).collect()
        };
        assert_eq!(at(1.0), [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(at(0.0), [50, 100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000, 1000]);
        assert_eq!(backoff(3, 0.75, MAX_BACKOFF), Duration::from_millis(300));
        assert_eq!(backoff(u32::MAX, 1.0, MAX_BACKOFF), MAX_BACKOFF);
    }

    /// Sends to a backend that always fails with this `after`, as often as is allowed, for an hour, with `width`
    /// requests that are all waiting to be sent; says when.
    fn tries(after: Option<Duration>, width: usize, random: f64) -> Vec<Duration> {
        let start = Instant::now();
        let mut pace = Pace::new(MAX_BACKOFF);
        let mut due = vec![start; width];
        let mut tries = Vec::new();
        loop {
            due.sort();
            let now = due[0].max(pace.not_before().unwrap_or(due[0]));
            if now.duration_since(start) > Duration::from_secs(3_600) {
                return tries;
            }
            tries.push(now.duration_since(start));
            due[0] = pace.failed(after, now, random);
        }
    }

    #[test]
    fn a_backend_that_stays_away_is_asked_at_most_once_a_second() {
        for random in [0.0, 0.3, 1.0] {
            for width in [1, 4] {
                for after in [None, Some(Duration::from_millis(1)), Some(Duration::from_secs(1))] {
                    let tries = tries(after, width, random);
                    assert!(tries.len() > 100, "it is asked for ever: {}", tries.len());
                    // The first few may come faster.
                    let least = tries.windows(2).skip(8).map(|two| two[1] - two[0]).min().unwrap();
                    assert!(least >= Duration::from_secs(1), "{random} {width} {after:?}: {least:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_sent_before_a_backend_wants_it() {
        for seconds in [1, 7, 300] {
            let after = Duration::from_secs(seconds);
            for random in [0.0, 1.0] {
                let tries = tries(Some(after), 1, random);
                assert!(tries.windows(2).all(|two| two[1] - two[0] >= after), "{seconds} {random}");
            }
        }
        // A word to one request holds for the others, and is not shortened by a later one.
        let now = Instant::now();
        let mut pace = Pace::new(MAX_BACKOFF);
        let due = pace.failed(Some(Duration::from_secs(7)), now, 0.0);
        assert_eq!(due, now + Duration::from_secs(7));
        assert_eq!(pace.failed(Some(Duration::from_secs(1)), now, 0.0), due);
        assert_eq!(pace.failed(None, now, 0.0), due);
        assert_eq!(pace.not_before(), Some(due));
        assert!(pace.asks_for_time(now) && !pace.asks_for_time(due));
        pace.settled();
        assert_eq!(
            pace.not_before(),
            Some(due),
            "another request that is taken does not make it shorter either"
        );
    }

    #[test]
    fn one_at_a_time_after_a_few_failures_until_an_answer() {
        let now = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(1));
        for failure in 1..=10 {
            pace.failed(None, now, 1.0);
            assert_eq!(pace.is_probing(), failure >= FAILURES_UNTIL_PROBING, "{failure}");
        }
        assert_eq!(pace.not_before(), Some(now + Duration::from_millis(1)), "waits can be made shorter");
        pace.settled();
        assert_eq!((pace.not_before(), pace.is_probing()), (None, false));
    }
}
