//! What an answer means and how long to wait after it: the rules of OTLP as pure functions.

use std::time::{Duration, SystemTime};

use tonic::Code;

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken.
    Accepted,
    /// To be sent again, not before this long if the backend said so.
    Retry(Option<Duration>),
    /// Too large: once more in halves.
    TooLarge,
    /// Refused for good.
    Rejected,
}

/// The longest wait a backend may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// The first wait.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// What the answer `status` with this `Retry-After` header means. `now` is for headers that give a date.
pub(super) fn classify(status: u16, retry_after: Option<&str>, now: SystemTime) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        429 | 502 | 503 | 504 => {
            Verdict::Retry(retry_after.and_then(|header| parse_retry_after(header, now)))
        }
        413 => Verdict::TooLarge,
        _ => Verdict::Rejected,
    }
}

/// What the answer `code` means that came with this delay of a `RetryInfo`. Of the 16 codes that are no success, seven
/// may pass by themselves; a full backend only if it says when.
pub(super) fn classify_grpc(code: Code, message: &str, retry_delay: Option<Duration>) -> Verdict {
    let wait = retry_delay.map(|delay| delay.min(MAX_RETRY_AFTER)).filter(|delay| !delay.is_zero());
    match code {
        Code::Ok => Verdict::Accepted,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Verdict::Retry(wait),
        Code::ResourceExhausted if retry_delay.is_some() => Verdict::Retry(wait),
        // Also what a message over the backend's limit is answered with; only its text tells.
        Code::ResourceExhausted if message.contains("larger than") => Verdict::TooLarge,
        _ => Verdict::Rejected,
    }
}

/// Seconds or a date; `None` for what is neither. A date in the past is no wait.
fn parse_retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(header).ok()?.duration_since(now).unwrap_or(Duration::ZERO),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// How long to wait before the try after `failures` failures: exponential from 100 ms to 30 s, of which a `random`
/// share (0–1), so that many senders do not come back at once.
pub(super) fn backoff(failures: u32, random: f64) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_BACKOFF.saturating_mul(doubled).min(MAX_BACKOFF).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    #[test]
    fn of_the_codes_of_grpc_seven_are_retried_one_of_them_on_request() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            let expected = match number {
                0 => Verdict::Accepted,
                1 | 4 | 10 | 11 | 14 | 15 => Verdict::Retry(None),
                _ => Verdict::Rejected,
            };
            assert_eq!(classify_grpc(code, "", None), expected, "{code:?}");
            let expected = match number {
                1 | 4 | 8 | 10 | 11 | 14 | 15 => Verdict::Retry(Some(Duration::from_secs(3))),
                _ => expected,
            };
            assert_eq!(classify_grpc(code, "", Some(Duration::from_secs(3))), expected, "{code:?}");
        }
        let no_delay = classify_grpc(Code::ResourceExhausted, "", Some(Duration::ZERO));
        assert_eq!(no_delay, Verdict::Retry(None));
        let go = "grpc: received message larger than max (5000000 vs. 4194304)";
        assert_eq!(classify_grpc(Code::ResourceExhausted, go, None), Verdict::TooLarge);
    }

    #[test]
    fn retry_after_is_honoured_in_both_forms_and_within_reason() {
        let wait = |header| classify(503, Some(header), NOW);
        assert_eq!(wait("7"), Verdict::Retry(Some(Duration::from_secs(7))));
        assert_eq!(wait("100000"), Verdict::Retry(Some(MAX_RETRY_AFTER)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:01:00 GMT"), Verdict::Retry(Some(Duration::from_secs(60))));
        assert_eq!(
            classify(503, Some("Thu, 01 Jan 1970 00:00:00 GMT"), NOW + MAX_BACKOFF),
            Verdict::Retry(Some(Duration::ZERO))
        );
        for nonsense in ["-1", "soon", "", "1.5", "99999999999999999999999"] {
            assert_eq!(wait(nonsense), Verdict::Retry(None), "{nonsense}");
        }
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_are_spread() {
        let full: Vec<u128> = (1..=11).map(|failures| backoff(failures, 1.0).as_millis()).collect();
        assert_eq!(full, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(backoff(3, 0.5), Duration::from_millis(200));
        assert_eq!(backoff(u32::MAX, 1.0), MAX_BACKOFF);
        assert_eq!(backoff(9, 0.0), Duration::ZERO);
    }
}
