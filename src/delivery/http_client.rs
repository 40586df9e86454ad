//! HTTP as every backend is spoken to: connections that are kept, answers that are read within their time and up to a
//! size, errors without secrets.

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http::Uri;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::Protocol;
use super::endpoint::Endpoint;
use crate::privacy::{REDACTED, mask, shown_address};

/// Clones share connections.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, RequestBody>;
/// What is sent: two pieces, so that what stands in front of a message needs no copy of it.
pub(crate) type RequestBody = Full<Chain<Bytes, Bytes>>;

/// A body of two pieces.
pub(crate) fn request_body(head: Bytes, rest: Bytes) -> RequestBody {
    Full::new(head.chain(rest))
}

/// A client that speaks the endpoint's version of HTTP, over its TLS where the address says so.
pub(crate) fn client(endpoint: &Endpoint) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Endpoint::CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    // Otherwise it refuses what is not http before TLS gets to see it.
    connector.enforce_http(false);
    let tls = HttpsConnectorBuilder::new().with_tls_config(endpoint.tls.clone()).https_or_http();
    let mut builder = Client::builder(TokioExecutor::new());
    match endpoint.protocol {
        Protocol::Grpc => {
            // All requests share a connection. One on which nothing comes any more is found out and left by the
            // time its request has waited in vain; otherwise every further try would wait on it too.
            let half = endpoint.timeout.checked_div(2).unwrap_or(endpoint.timeout);
            builder.timer(TokioTimer::new()).http2_keep_alive_interval(half).http2_keep_alive_timeout(half);
            builder.http2_only(true).build(tls.enable_http2().wrap_connector(connector))
        }
        Protocol::HttpProtobuf | Protocol::HttpJson => {
            builder.build(tls.enable_http1().wrap_connector(connector))
        }
    }
}

pub(crate) fn is_page(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    content_type.to_ascii_lowercase().starts_with(b"text/html")
}

/// What was read of an answer, and why no more.
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) end: End,
}

pub(crate) enum End {
    Whole,
    TooLong,
    Broken(String),
    Late,
}

impl End {
    pub(crate) const TOO_LONG: &str = "is longer than 4 MiB";

    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            End::Whole => None,
            End::TooLong => Some(End::TOO_LONG.to_owned()),
            End::Broken(error) => Some(format!("did not arrive: {error}")),
            End::Late => Some("did not arrive in time".to_owned()),
        }
    }
}

/// Reads at most `limit` bytes until `deadline`.
pub(crate) async fn read<B>(mut body: B, limit: usize, deadline: Instant) -> Received
where
    B: Body<Data = Bytes, Error: std::error::Error> + Unpin,
{
    let mut received = Received { bytes: Vec::new(), trailers: None, end: End::Whole };
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                received.end = End::Broken(causes(&error));
                break;
            }
            Err(_) => {
                received.end = End::Late;
                break;
            }
        };
        match frame.into_data() {
            Ok(data) => {
                let room = limit.saturating_sub(received.bytes.len());
                received.bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
                if data.len() > room {
                    received.end = End::TooLong;
                    break;
                }
            }
            Err(frame) => received.trailers = frame.into_trailers().ok(),
        }
    }
    received
}

/// An address as it may be shown.
pub(crate) fn place(uri: &Uri) -> String {
    shown_address(&uri.to_string()).into_owned()
}

/// Words of a header's value with fewer bytes are not looked for: they would be found everywhere.
const SHORTEST_WORD: usize = 6;

/// What a backend said, which may repeat the credentials it got.
pub(crate) fn without_secrets(error: String, endpoint: &Endpoint) -> String {
    let mut error = mask(&error, false).unwrap_or(error);
    for value in endpoint.headers.values().filter(|value| value.is_sensitive()) {
        let words = value.to_str().unwrap_or_default().split_ascii_whitespace();
        for word in words.filter(|word| word.len() >= SHORTEST_WORD) {
            error = error.replace(word, REDACTED);
        }
    }
    error
}

/// An error and what caused it: the first alone rarely says why.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The beginning of what a backend said, as it may be printed.
pub(crate) fn printable_start(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_is_secret() {
        let shown = |uri: &str| place(&uri.parse().unwrap());
        assert_eq!(shown("http://ann:hunter2@h:1/v1/traces?key=secret"), "http://h:1/v1/traces");
        assert_eq!(shown("https://[::1]:4317"), "https://[::1]:4317/");
    }
}
