//! One request to a backend and its answer, over HTTP or gRPC.
//!
//! A request body is made once and goes out as it is, whatever the protocol: gRPC puts five bytes in front of it. An
//! answer is read within the request's time and up to a few MiB; what its head says for good stands, however the rest
//! of it ends.

mod grpc;
mod partial_success;

use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, TE};
use http::uri::PathAndQuery;
use http::{Method, Response, Uri, Version};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::Protocol;
use super::endpoint::Endpoint;
use super::http_client::{
    self, End, HttpClient, causes, is_page, place, printable_start, read, request_body, without_secrets,
};
use super::retry::{GrpcCode, Verdict, classify, classify_grpc};
use partial_success::PartialSuccess;

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

const MAX_RESPONSE: usize = Endpoint::MAX_RESPONSE;
/// How much is read of a refusal, of which the beginning is told.
const MAX_REFUSAL: usize = 4 << 10;

/// Sends one signal to one endpoint. Clones share connections.
#[derive(Clone)]
pub(super) struct Transport {
    endpoint: Endpoint,
    signal: Signal,
    client: HttpClient,
}

/// What is sent, in two pieces. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Body {
    head: Bytes,
    rest: Bytes,
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
        let client = http_client::client(&endpoint);
        Transport { endpoint, signal, client }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.endpoint.protocol
    }

    /// Makes a body of a message that is encoded as the protocol wants it.
    pub(super) fn body(&self, message: Vec<u8>) -> Body {
        self.body_behind(Vec::new(), message.into())
    }

    /// The same of a message in two pieces. The second is not copied, unless it is packed.
    pub(super) fn body_behind(&self, mut head: Vec<u8>, rest: Bytes) -> Body {
        let is_compressed = self.endpoint.is_compressed;
        let is_grpc = self.endpoint.protocol == Protocol::Grpc;
        let mut rest = rest;
        if is_compressed {
            rest = gzip(&[&head, &rest]).into();
            head.clear();
        }
        if is_grpc {
            let length = head.len().saturating_add(rest.len());
            head.splice(0..0, grpc::frame_head(length, is_compressed));
        }
        Body { head: head.into(), rest }
    }

    /// Sends a body made by [`Transport::body`]; never fails, never takes longer than the endpoint's timeout.
    pub(super) async fn send(self, body: Body) -> Answer {
        let now = Instant::now();
        let deadline = now.checked_add(self.endpoint.timeout).unwrap_or(now);
        let answer = match self.endpoint.protocol {
            Protocol::Grpc => self.call(body, deadline).await,
            Protocol::HttpProtobuf | Protocol::HttpJson => self.post(body, deadline).await,
        };
        let shown =
            |error| format!("{}: {}", place(&self.endpoint.uri), without_secrets(error, &self.endpoint));
        Answer { error: answer.error.map(shown), ..answer }
    }

    /// The head of the answer, or what became of the request without one.
    async fn answered(
        &self,
        uri: Uri,
        version: Version,
        headers: HeaderMap,
        body: Body,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Answer> {
        let mut message = http::Request::new(request_body(body.head, body.rest));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = uri;
        *message.version_mut() = version;
        *message.headers_mut() = headers;
        match timeout_at(deadline, self.client.request(message)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Answer::failed(with_hint(causes(&error), &self.endpoint))),
            Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> Answer {
        Answer::failed(format!("no answer within {:?}", self.endpoint.timeout))
    }

    async fn post(&self, body: Body, deadline: Instant) -> Answer {
        let (uri, headers) = (self.endpoint.uri.clone(), self.endpoint.headers.clone());
        let response = match self.answered(uri, Version::HTTP_11, headers, body, deadline).await {
            Ok(response) => response,
            Err(answer) => return answer,
        };
        if !response.status().is_success() || is_page(response.headers()) {
            return refusal(response, deadline).await;
        }
        let code = response.status().as_u16();
        let received = read(response.into_body(), MAX_RESPONSE, deadline).await;
        if let Some(end) = received.end.problem() {
            // It has said that it took the request: sent again, everything would be there twice.
            return Answer {
                error: Some(format!("the backend answered {code}, and the rest of its answer {end}")),
                ..Answer::accepted(PartialSuccess::default())
            };
        }
        Answer::accepted(match self.endpoint.protocol {
            Protocol::HttpJson => partial_success::from_json(&received.bytes, self.signal),
            _ => partial_success::from_protobuf(&received.bytes),
        })
    }

    async fn call(&self, body: Body, deadline: Instant) -> Answer {
        let mut headers = self.endpoint.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.remove(ACCEPT_ENCODING);
        let gzip = HeaderValue::from_static("gzip");
        headers.insert(HeaderName::from_static("grpc-accept-encoding"), gzip.clone());
        if self.endpoint.is_compressed {
            headers.insert(HeaderName::from_static("grpc-encoding"), gzip);
        }
        if let Ok(timeout) = HeaderValue::try_from(grpc::timeout_header(self.endpoint.timeout)) {
            headers.insert(HeaderName::from_static("grpc-timeout"), timeout);
        }
        let uri = with_path(&self.endpoint.uri, self.signal.grpc_path());
        let response = match self.answered(uri, Version::HTTP_2, headers, body, deadline).await {
            Ok(response) => response,
            Err(answer) => return answer,
        };
        // Without a message, the status is in the head.
        if let Some(status) = grpc::status(response.headers()) {
            return settled(&status, &[]);
        }
        let header = |name: &str| response.headers().get(name).map_or(&[][..], HeaderValue::as_bytes);
        if !response.status().is_success() || !header("content-type").starts_with(b"application/grpc") {
            return refusal(response, deadline).await;
        }
        let is_gzip = header("grpc-encoding") == b"gzip";
        let received = read(response.into_body(), MAX_RESPONSE, deadline).await;
        match received.end {
            End::Whole => match received.trailers.as_ref().and_then(grpc::status) {
                Some(status) => {
                    settled(&status, &grpc::message(&received.bytes, is_gzip).unwrap_or_default())
                }
                // What a proxy's reset of the stream looks like.
                None => Answer::failed("the answer ended without a status".to_owned()),
            },
            End::Broken(error) => Answer::failed(with_hint(error, &self.endpoint)),
            End::Late => self.late(),
            // Its status stands behind it, where nobody looks: the next answer would be as long.
            End::TooLong => Answer {
                verdict: Verdict::Rejected,
                error: Some(format!("the backend's answer {}", End::TOO_LONG)),
                rejected: 0,
                is_unknown_signal: false,
            },
        }
    }
}

/// What a gRPC status means, with the message that came before it.
fn settled(status: &grpc::Status, message: &[u8]) -> Answer {
    let verdict = classify_grpc(status.code, status.retry_delay);
    if verdict == Verdict::Accepted {
        return Answer::accepted(partial_success::from_protobuf(message));
    }
    let hint = match status.code {
        GrpcCode::Unimplemented => "; it does not take this kind of data",
        GrpcCode::Unauthenticated | GrpcCode::PermissionDenied => HINT_CREDENTIALS,
        _ => "",
    };
    Answer {
        verdict,
        error: Some(format!("the backend answered {:?}: {}{hint}", status.code, status.message)),
        rejected: 0,
        is_unknown_signal: status.code == GrpcCode::Unimplemented,
    }
}

const HINT_CREDENTIALS: &str = "; OTEL_EXPORTER_OTLP_HEADERS is the place for credentials";

/// What an HTTP answer means that is no success, or that no receiver of OTLP gives.
async fn refusal(response: Response<Incoming>, deadline: Instant) -> Answer {
    let code = response.status().as_u16();
    let is_html = is_page(response.headers());
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let verdict = match classify(code, retry_after, SystemTime::now()) {
        Verdict::Accepted => Verdict::Rejected,
        verdict => verdict,
    };
    // A proxy tells in a page, too, that a receiver is away.
    let is_page = is_html && !matches!(verdict, Verdict::Retry(_));
    let said = printable_start(&read(response.into_body(), MAX_REFUSAL, deadline).await.bytes);
    let hint = match code {
        _ if is_page => "; that is a web page, so this is not the address of an OTLP receiver",
        200..=299 => "; that is no answer of an OTLP receiver: try another OTEL_EXPORTER_OTLP_PROTOCOL",
        400 if said.contains("HTTPS") || said.contains("TLS") => "; use an https:// address",
        404 => "; it has nothing at this path",
        405 => "; it takes no such data at this path",
        401 | 403 => HINT_CREDENTIALS,
        415 => "; it does not take this encoding: try another OTEL_EXPORTER_OTLP_PROTOCOL",
        _ => "",
    };
    let said = if is_html || said.is_empty() { String::new() } else { format!(": {said}") };
    Answer {
        verdict,
        error: Some(format!("the backend answered {code}{said}{hint}")),
        rejected: 0,
        is_unknown_signal: matches!(code, 200..=299 | 404 | 405 | 501) || is_page,
    }
}

impl Answer {
    pub(super) fn failed(error: String) -> Answer {
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

/// The address with another path: gRPC's stand on their own.
fn with_path(uri: &Uri, path: PathAndQuery) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn gzip(pieces: &[&[u8]]) -> Vec<u8> {
    let len = pieces.iter().map(|piece| piece.len()).fold(0, usize::saturating_add);
    let mut encoder = GzEncoder::new(Vec::with_capacity(len / 4), Compression::fast());
    // Writing into memory does not fail.
    pieces.iter().for_each(|piece| drop(encoder.write_all(piece)));
    encoder.finish().unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_paths_replace_those_of_http() {
        let called = with_path(&"http://h:1/v1/traces?x=1".parse().unwrap(), Signal::Traces.grpc_path());
        let expected = "http://h:1/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        assert_eq!(called.to_string(), expected);
    }
}
