//! One request to a backend and its answer, over HTTP or gRPC.
//!
//! A request body is made once and goes out as it is, whatever the protocol: gRPC puts five bytes in front of it.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{Method, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::Protocol;
use super::endpoint::Endpoint;
use super::retry::{Verdict, classify, classify_grpc};
use crate::decode::protobuf::{Field, Fields, Value};
use crate::privacy::{REDACTED, mask, shown_address};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn grpc_path(self) -> PathAndQuery {
        PathAndQuery::from_static(match self {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        })
    }

    fn rejected_key(self) -> &'static str {
        match self {
            Signal::Traces => "rejectedSpans",
            Signal::Metrics => "rejectedDataPoints",
        }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How much of an answer is read.
const MAX_RESPONSE: usize = 4 << 20;

/// Sends one signal to one endpoint. Clones share connections.
#[derive(Clone)]
pub(super) struct Transport {
    endpoint: Endpoint,
    signal: Signal,
    client: AnyClient,
}

#[derive(Clone)]
enum AnyClient {
    Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
    Grpc(Client<HttpsConnector<HttpConnector>, tonic::body::Body>),
}

/// What came back, settled.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// What to tell; empty answers have nothing to.
    pub(super) error: Option<String>,
    /// How much of an accepted request the backend refused all the same.
    pub(super) rejected: u64,
    /// Whether the backend does not know the signal at all.
    pub(super) is_unknown_signal: bool,
}

impl Transport {
    pub(super) fn new(endpoint: Endpoint, signal: Signal) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        // Otherwise it refuses what is not http before TLS gets to see it.
        connector.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_tls_config(endpoint.tls.clone()).https_or_http();
        let mut builder = Client::builder(TokioExecutor::new());
        let client = match endpoint.protocol {
            Protocol::Grpc => {
                let connector = tls.enable_http2().wrap_connector(connector);
                AnyClient::Grpc(builder.http2_only(true).build(connector))
            }
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                AnyClient::Http(builder.build(tls.enable_http1().wrap_connector(connector)))
            }
        };
        Transport { endpoint, signal, client }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.endpoint.protocol
    }

    /// Makes a body of a message that is encoded as the protocol wants it.
    pub(super) fn body(&self, message: Vec<u8>) -> Bytes {
        match self.client {
            AnyClient::Http(_) if self.endpoint.is_compressed => gzip(&message).into(),
            _ => message.into(),
        }
    }

    /// Sends a body made by [`Transport::body`]; never fails, never takes longer than the endpoint's timeout.
    pub(super) async fn send(self, body: Bytes) -> Answer {
        let timeout = self.endpoint.timeout;
        let answer = async {
            match &self.client {
                AnyClient::Http(client) => self.post(client, body).await,
                AnyClient::Grpc(client) => self.call(client, body).await,
            }
        };
        let answer = match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Answer::failed(format!("no answer within {timeout:?}")),
        };
        let shown =
            |error| format!("{}: {}", place(&self.endpoint.uri), without_secrets(error, &self.endpoint));
        Answer { error: answer.error.map(shown), ..answer }
    }

    async fn post(&self, client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>, body: Bytes) -> Answer {
        let mut message = http::Request::new(Full::new(body));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = self.endpoint.uri.clone();
        *message.headers_mut() = self.endpoint.headers.clone();
        let response = match client.request(message).await {
            Ok(response) => response,
            Err(error) => return Answer::failed(with_hint(causes(&error), &self.endpoint)),
        };
        let code = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).map(str::to_owned);
        let content_type = header(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes);
        let is_page = content_type.starts_with("text/html");
        let mut verdict = classify(code, retry_after.as_deref(), SystemTime::now());
        if verdict == Verdict::Accepted && is_page {
            verdict = Verdict::Rejected;
        }
        if verdict != Verdict::Accepted {
            let said = body.as_deref().map_or_else(ToString::to_string, printable_start);
            let hint = match code {
                _ if is_page => "; that is a web page, so this is not the address of an OTLP receiver",
                400 if said.contains("HTTPS") || said.contains("TLS") => "; use an https:// address",
                404 => "; it has nothing at this path",
                405 => "; it takes no such data at this path",
                401 | 403 => "; OTEL_EXPORTER_OTLP_HEADERS is the place for credentials",
                415 => "; it does not take this encoding: try another OTEL_EXPORTER_OTLP_PROTOCOL",
                _ => "",
            };
            let said = if is_page || said.is_empty() { String::new() } else { format!(": {said}") };
            return Answer {
                verdict,
                error: Some(format!("the backend answered {code}{said}{hint}")),
                rejected: 0,
                is_unknown_signal: matches!(code, 404 | 405 | 501) || is_page,
            };
        }
        let partial = match self.endpoint.protocol {
            Protocol::HttpJson => {
                body.map_or_else(|_| PartialSuccess::default(), |b| json_partial(&b, self.signal))
            }
            _ => body.map_or_else(|_| PartialSuccess::default(), |body| partial_success(&body)),
        };
        Answer::accepted(partial)
    }

    async fn call(
        &self,
        client: &Client<HttpsConnector<HttpConnector>, tonic::body::Body>,
        body: Bytes,
    ) -> Answer {
        let mut grpc = tonic::client::Grpc::with_origin(client.clone(), origin(&self.endpoint.uri))
            .max_decoding_message_size(MAX_RESPONSE);
        if self.endpoint.is_compressed {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        grpc = grpc.accept_compressed(CompressionEncoding::Gzip);
        if let Err(error) = grpc.ready().await {
            return Answer::failed(with_hint(causes(&error), &self.endpoint));
        }
        let mut request = tonic::Request::new(body);
        *request.metadata_mut() = MetadataMap::from_headers(self.endpoint.headers.clone());
        request.set_timeout(self.endpoint.timeout);
        match grpc.unary(request, self.signal.grpc_path(), RawCodec).await {
            Ok(response) => Answer::accepted(partial_success(response.get_ref())),
            Err(status) => self.refusal(&status),
        }
    }

    fn refusal(&self, status: &Status) -> Answer {
        // A status that no backend sent comes from the connection.
        if let Some(source) = std::error::Error::source(status) {
            return Answer::failed(with_hint(causes(source), &self.endpoint));
        }
        let verdict = classify_grpc(status.code(), status.message(), retry_delay(status.details()));
        let said = printable_start(status.message().as_bytes());
        let hint = match status.code() {
            Code::Unimplemented => "; it does not take this kind of data",
            Code::Unauthenticated | Code::PermissionDenied => {
                "; OTEL_EXPORTER_OTLP_HEADERS is the place for credentials"
            }
            _ => "",
        };
        Answer {
            verdict,
            error: Some(format!("the backend answered {:?}: {said}{hint}", status.code())),
            rejected: 0,
            is_unknown_signal: status.code() == Code::Unimplemented,
        }
    }
}

impl Answer {
    fn failed(error: String) -> Answer {
        Answer { verdict: Verdict::Retry(None), error: Some(error), rejected: 0, is_unknown_signal: false }
    }

    fn accepted(partial: PartialSuccess) -> Answer {
        Answer {
            verdict: Verdict::Accepted,
            error: partial.message.map(|message| format!("the backend said: {message}")),
            rejected: partial.rejected,
            is_unknown_signal: false,
        }
    }
}

/// An address as it may be shown.
fn place(uri: &Uri) -> String {
    shown_address(&uri.to_string()).into_owned()
}

/// Words of a header's value with fewer bytes are not looked for: they would be found everywhere.
const SHORTEST_WORD: usize = 6;

/// What a backend said, which may repeat the credentials it got.
fn without_secrets(error: String, endpoint: &Endpoint) -> String {
    let mut error = mask(&error, false).unwrap_or(error);
    for value in endpoint.headers.values().filter(|value| value.is_sensitive()) {
        let words = value.to_str().unwrap_or_default().split_ascii_whitespace();
        for word in words.filter(|word| word.len() >= SHORTEST_WORD) {
            error = error.replace(word, REDACTED);
        }
    }
    error
}

/// The address without the path of an OTLP/HTTP endpoint: gRPC's paths stand on their own.
fn origin(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 4), Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(message);
    encoder.finish().unwrap_or_default()
}

/// Messages that are encoded already, and answers that are read later.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> RawCodec {
        RawCodec
    }

    fn decoder(&mut self) -> RawCodec {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// An error and what caused it: the first alone rarely says why.
fn causes(error: &dyn std::error::Error) -> String {
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

/// What a failed connection most likely means.
fn with_hint(error: String, endpoint: &Endpoint) -> String {
    let is_tls = endpoint.uri.scheme_str() == Some("https");
    let lower = error.to_ascii_lowercase();
    let hint = if lower.contains("refused") {
        "; is a receiver running there?"
    } else if is_tls && lower.contains("unknownissuer") {
        "; name the authority that signed it with OTEL_EXPORTER_OTLP_CERTIFICATE"
    } else if is_tls && (lower.contains("certificaterequired") || lower.contains("certificate required")) {
        "; it wants a client certificate: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _KEY"
    } else if is_tls && ["connection closed", "broken pipe", "reset"].iter().any(|sign| lower.contains(sign))
    {
        "; it may want a client certificate: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _KEY"
    } else if is_tls && (lower.contains("corrupt message") || lower.contains("invalidcontenttype")) {
        "; the server speaks no TLS: use an http:// address"
    } else if !is_tls && is_other_protocol(&lower) {
        "; the server speaks something else: does the address want https://, or another \
         OTEL_EXPORTER_OTLP_PROTOCOL?"
    } else {
        ""
    };
    format!("{error}{hint}")
}

/// Whether an error is what comes of speaking HTTP to TLS, or one version of HTTP to the other.
fn is_other_protocol(error: &str) -> bool {
    [
        "invalid http version",
        "parse",
        "frame with invalid size",
        "broken pipe",
        "reset",
        "before message completed",
    ]
    .iter()
    .any(|sign| error.contains(sign))
}

pub(super) fn printable_start(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

#[derive(Debug, Default, PartialEq)]
struct PartialSuccess {
    rejected: u64,
    message: Option<String>,
}

/// Reads `partial_success` of an `Export…ServiceResponse`; they are alike for all signals. What cannot be read is as
/// if it were not there.
fn partial_success(body: &[u8]) -> PartialSuccess {
    let mut partial = PartialSuccess::default();
    for field in Fields::new(body, 0).map_while(Result::ok) {
        let Field { number: 1, value: Value::Bytes(message) } = field else { continue };
        for field in Fields::new(message, 0).map_while(Result::ok) {
            match field {
                Field { number: 1, value: Value::Varint(rejected) } => {
                    partial.rejected = u64::try_from(rejected.cast_signed()).unwrap_or(0);
                }
                Field { number: 2, value: Value::Bytes(text) } if !text.is_empty() => {
                    partial.message = Some(printable_start(text));
                }
                _ => {}
            }
        }
    }
    partial
}

fn json_partial(body: &[u8], signal: Signal) -> PartialSuccess {
    let Ok(response) = serde_json::from_slice::<serde_json::Value>(body) else {
        return PartialSuccess::default();
    };
    let Some(partial) = response.get("partialSuccess") else { return PartialSuccess::default() };
    let rejected = partial.get(signal.rejected_key());
    let rejected = rejected.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    let message = partial.get("errorMessage").and_then(|text| text.as_str()).filter(|text| !text.is_empty());
    PartialSuccess {
        rejected: rejected.unwrap_or(0),
        message: message.map(|text| printable_start(text.as_bytes())),
    }
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
    let (mut seconds, mut nanos) = (0u64, 0u32);
    for field in Fields::new(info, 0).map_while(Result::ok) {
        let Field { number: 1, value: Value::Bytes(duration) } = field else { continue };
        for field in Fields::new(duration, 0).map_while(Result::ok) {
            match field {
                Field { number: 1, value: Value::Varint(value) } => {
                    seconds = u64::try_from(value.cast_signed()).unwrap_or(0);
                }
                Field { number: 2, value: Value::Varint(value) } => {
                    nanos = u32::try_from(value.cast_signed()).unwrap_or(0).min(999_999_999);
                }
                _ => {}
            }
        }
    }
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_read_and_damage_is_ignored() {
        let body = [0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, b'n', b'o'];
        let expected = PartialSuccess { rejected: 3, message: Some("no".to_owned()) };
        assert_eq!(partial_success(&body), expected);
        assert_eq!(partial_success(&[]), PartialSuccess::default());
        assert_eq!(partial_success(&[0x0a, 0x60, 0x08]), PartialSuccess::default());
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#;
        assert_eq!(json_partial(json, Signal::Traces), expected);
        assert_eq!(json_partial(json, Signal::Metrics).rejected, 0);
        assert_eq!(json_partial(b"<html>", Signal::Traces), PartialSuccess::default());
    }

    #[test]
    fn retry_info_is_found_among_other_details() {
        // Status { code: 8, details: [Any { other }, Any { RetryInfo { retry_delay { seconds: 1, nanos: 5e8 } } }] }
        let duration = [0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
        let mut info = vec![0x0a, duration.len() as u8];
        info.extend_from_slice(&duration);
        let any = |url: &str, value: &[u8]| {
            let mut any = vec![0x0a, url.len() as u8];
            any.extend_from_slice(url.as_bytes());
            any.extend_from_slice(&[0x12, value.len() as u8]);
            any.extend_from_slice(value);
            any
        };
        let mut details = vec![0x08, 8];
        for any in [
            any("type.googleapis.com/google.rpc.Help", &[]),
            any("type.googleapis.com/google.rpc.RetryInfo", &info),
        ] {
            details.extend_from_slice(&[0x1a, any.len() as u8]);
            details.extend_from_slice(&any);
        }
        assert_eq!(retry_delay(&details), Some(Duration::from_millis(1_500)));
        assert_eq!(retry_delay(&[]), None);
        assert_eq!(retry_delay(b"\x1a\xff"), None);
        let bare = any("type.googleapis.com/google.rpc.RetryInfo", &[]);
        let mut details = vec![0x1a, bare.len() as u8];
        details.extend_from_slice(&bare);
        assert_eq!(retry_delay(&details), Some(Duration::ZERO));
    }

    #[test]
    fn an_address_is_shown_without_what_is_secret() {
        let shown = |uri: &str| place(&uri.parse().unwrap());
        assert_eq!(shown("http://ann:hunter2@h:1/v1/traces?key=secret"), "http://h:1/v1/traces");
        assert_eq!(shown("https://[::1]:4317"), "https://[::1]:4317/");
    }

    #[test]
    fn grpc_paths_replace_those_of_http() {
        assert_eq!(origin(&"http://h:1/v1/traces".parse().unwrap()).to_string(), "http://h:1/");
    }
}
