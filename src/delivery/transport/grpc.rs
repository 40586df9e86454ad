//! gRPC as far as one message there and one back need it: a frame, and the status of an answer.
//!
//! Everything in an answer is foreign. What is damaged is as if it were not there: it must neither end a thread nor
//! pass for a refusal the backend never spoke.

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use http::HeaderMap;

use super::MAX_RESPONSE;
use crate::decode::json_value::from_base64;
use crate::decode::protobuf::{Field, Fields, Value};
use crate::delivery::retry::GrpcCode;

/// What a backend says of a request.
#[derive(Debug, PartialEq)]
pub(super) struct Status {
    pub(super) code: GrpcCode,
    pub(super) message: String,
    /// The delay of a `RetryInfo`; zero if that names none, or less.
    pub(super) retry_delay: Option<Duration>,
}

/// What stands in front of a message: whether it is packed, and its length.
pub(super) fn frame_head(length: usize, is_compressed: bool) -> [u8; FRAME_HEAD] {
    // Requests are a few MiB at most.
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [u8::from(is_compressed), a, b, c, d]
}

const FRAME_HEAD: usize = 5;

/// The message in the frame a body begins with. `None` if there is none, or if it is longer than what is read.
pub(super) fn message(body: &[u8], is_gzip: bool) -> Option<Vec<u8>> {
    let (&[is_packed, a, b, c, d], rest) = body.split_first_chunk::<FRAME_HEAD>()?;
    let payload = rest.get(..u32::from_be_bytes([a, b, c, d]) as usize)?;
    match is_packed {
        0 => Some(payload.to_vec()),
        1 if is_gzip => {
            let mut unpacked = Vec::new();
            let limit = MAX_RESPONSE as u64;
            let read = GzDecoder::new(payload).take(limit.saturating_add(1)).read_to_end(&mut unpacked);
            (read.is_ok() && unpacked.len() <= MAX_RESPONSE).then_some(unpacked)
        }
        _ => None,
    }
}

/// The value of `grpc-timeout`: at most eight digits and a unit.
pub(super) fn timeout_header(timeout: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let millis = timeout.as_millis();
    if millis <= MOST {
        format!("{millis}m")
    } else {
        format!("{}S", u128::from(timeout.as_secs()).min(MOST))
    }
}

/// The status in a head or in trailers; `None` if there is none.
pub(super) fn status(headers: &HeaderMap) -> Option<Status> {
    let code = GrpcCode::parse(headers.get("grpc-status")?.as_bytes());
    let text = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
    let message =
        text("grpc-message").map(|bytes| percent_encoding::percent_decode(bytes).collect::<Vec<u8>>());
    let details = text("grpc-status-details-bin").and_then(|bytes| std::str::from_utf8(bytes).ok());
    Some(Status {
        code,
        message: crate::delivery::http_client::printable_start(&message.unwrap_or_default()),
        retry_delay: details.and_then(from_base64).and_then(|details| retry_delay(&details)),
    })
}

/// The delay of the `google.rpc.RetryInfo` among the details of a `google.rpc.Status`, if there is one; zero if it
/// names none.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    for field in Fields::new(details, 0).map_while(Result::ok) {
        let Field { number: 3, value: Value::Bytes(any) } = field else { continue };
        let mut is_retry_info = false;
        let mut value: &[u8] = &[];
        for field in Fields::new(any, 0).map_while(Result::ok) {
            match field {
                Field { number: 1, value: Value::Bytes(url) } => {
                    is_retry_info = url.ends_with(b"google.rpc.RetryInfo");
                }
                Field { number: 2, value: Value::Bytes(bytes) } => value = bytes,
                _ => {}
            }
        }
        if is_retry_info {
            return Some(duration_of_retry_info(value));
        }
    }
    None
}

fn duration_of_retry_info(info: &[u8]) -> Duration {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    for field in Fields::new(info, 0).map_while(Result::ok) {
        let Field { number: 1, value: Value::Bytes(duration) } = field else { continue };
        for field in Fields::new(duration, 0).map_while(Result::ok) {
            match field {
                Field { number: 1, value: Value::Varint(value) } => seconds = value.cast_signed(),
                Field { number: 2, value: Value::Varint(value) } => nanos = value.cast_signed(),
                _ => {}
            }
        }
    }
    // Both have the same sign, as protobuf rules; less than nothing is nothing.
    let Ok(seconds) = u64::try_from(seconds) else { return Duration::ZERO };
    Duration::new(seconds, u32::try_from(nanos).unwrap_or(0).min(999_999_999))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::gzip;
    use super::*;

    fn detail(url: &str, value: &[u8]) -> Vec<u8> {
        let mut any = vec![0x0a, url.len() as u8];
        any.extend_from_slice(url.as_bytes());
        any.extend_from_slice(&[0x12, value.len() as u8]);
        any.extend_from_slice(value);
        let mut field = vec![0x1a, any.len() as u8];
        field.extend_from_slice(&any);
        field
    }

    fn retry_info(duration: &[u8]) -> Vec<u8> {
        let mut info = vec![0x0a, duration.len() as u8];
        info.extend_from_slice(duration);
        detail("type.googleapis.com/google.rpc.RetryInfo", &info)
    }

    #[test]
    fn retry_info_is_found_among_other_details() {
        // { seconds: 1, nanos: 5e8 }
        let mut details = vec![0x08, 8];
        details.extend(detail("type.googleapis.com/google.rpc.Help", &[]));
        details.extend(retry_info(&[0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01]));
        assert_eq!(retry_delay(&details), Some(Duration::from_millis(1_500)));
        assert_eq!(retry_delay(&[]), None);
        assert_eq!(retry_delay(b"\x1a\xff"), None);
        let bare = detail("type.googleapis.com/google.rpc.RetryInfo", &[]);
        assert_eq!(retry_delay(&bare), Some(Duration::ZERO));
        // Seconds -1, and nanoseconds -1.
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        for tag in [0x08, 0x10] {
            let negative = [&[tag][..], &minus_one].concat();
            assert_eq!(retry_delay(&retry_info(&negative)), Some(Duration::ZERO));
        }
    }

    #[test]
    fn damaged_details_are_as_if_there_were_none() {
        let with = |details: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", "14".parse().unwrap());
            headers.insert("grpc-message", "full%20%1b%zz".parse().unwrap());
            headers.insert("grpc-status-details-bin", http::HeaderValue::from_bytes(details).unwrap());
            status(&headers).unwrap()
        };
        for details in [&b"!!!!"[..], b"=", b"AAAA\xff", b"Gv8=", b"", b"a"] {
            let expected =
                Status { code: GrpcCode::Unavailable, message: "full %zz".to_owned(), retry_delay: None };
            assert_eq!(with(details), expected, "{details:?}");
        }
        assert_eq!(status(&HeaderMap::new()), None);
    }

    fn frame(message: &[u8], is_compressed: bool) -> Vec<u8> {
        let payload = if is_compressed { gzip(&[message]) } else { message.to_vec() };
        [&frame_head(payload.len(), is_compressed)[..], &payload].concat()
    }

    #[test]
    fn a_message_comes_out_of_its_frame_unless_it_is_longer_than_what_is_read() {
        for is_compressed in [false, true] {
            assert_eq!(message(&frame(b"hello", is_compressed), true).unwrap(), b"hello");
            assert_eq!(message(&frame(b"", is_compressed), true).unwrap(), b"");
        }
        assert_eq!(message(&frame(b"hello", true), false), None);
        assert_eq!(message(b"\x02\0\0\0\0", true), None);
        assert_eq!(message(b"\0\xff\xff\xff\xffx", true), None);
        let most = vec![0; MAX_RESPONSE];
        assert_eq!(message(&frame(&most, true), true), Some(most));
        let bomb = frame(&vec![0; 64 << 20], true);
        assert!(bomb.len() < MAX_RESPONSE && message(&bomb, true).is_none());
    }

    #[test]
    fn a_timeout_has_at_most_eight_digits() {
        assert_eq!(timeout_header(Duration::from_secs(10)), "10000m");
        assert_eq!(timeout_header(Duration::from_secs(100_000)), "100000S");
        assert_eq!(timeout_header(Duration::MAX), "99999999S");
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read_without_harm(
            bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[ -~]{0,80}",
        ) {
            let read = message(&bytes, true).unwrap_or_default();
            prop_assert!(read.len() <= MAX_RESPONSE);
            retry_delay(&bytes);
            for name in ["grpc-message", "grpc-status-details-bin", "grpc-status"] {
                let mut headers = HeaderMap::new();
                headers.insert("grpc-status", "8".parse().unwrap());
                headers.insert(name, text.parse().unwrap());
                prop_assert!(status(&headers).unwrap().message.len() <= 800);
            }
        }
    }
}
