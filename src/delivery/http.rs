//! OTLP over HTTP/1.1, protobuf: requests in flight, and those that wait to be tried again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

use super::queue::{Batch, Done, Queue};
use super::request::Envelope;
use super::retry::{Verdict, backoff, classify};
use crate::decode::protobuf::{Field, Fields, Value};

/// A backend's address and what every request carries.
#[derive(Clone)]
pub(crate) struct HttpEndpoint {
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
}

impl std::fmt::Debug for HttpEndpoint {
    /// Header values are secrets: names only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&HeaderName> = self.headers.keys().collect();
        f.debug_struct("HttpEndpoint")
            .field("uri", &self.uri)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// An address that cannot be sent to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EndpointError {
    #[error("it is no URL")]
    Url(#[from] http::uri::InvalidUri),
    #[error("it names no host; expected something like http://localhost:4318/v1/traces")]
    NoHost,
    #[error("{scheme} is not supported: TLS comes later; send to a collector on http for now")]
    Scheme { scheme: String },
    #[error("the header {name:?} cannot be sent")]
    Header { name: String },
}

/// How long one request may take if nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How much of an answer is read.
const MAX_RESPONSE: usize = 4 << 20;
/// After so many failures in a row one request at a time is tried until one succeeds.
const FAILURES_UNTIL_PROBING: u32 = 5;

/// Checks and prepares an address.
pub(crate) fn endpoint(
    url: &str,
    headers: &[(String, String)],
    timeout: Option<Duration>,
) -> Result<HttpEndpoint, EndpointError> {
    let uri: Uri = url.parse()?;
    match uri.scheme_str() {
        Some("http") => {}
        Some(scheme) => return Err(EndpointError::Scheme { scheme: scheme.to_owned() }),
        None => return Err(EndpointError::NoHost),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(EndpointError::NoHost);
    }
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        let wrong = || EndpointError::Header { name: name.clone() };
        let key = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        all.insert(key, value);
    }
    all.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    all.entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!("longpole/", env!("CARGO_PKG_VERSION"))));
    Ok(HttpEndpoint { uri, headers: all, timeout: timeout.unwrap_or(TIMEOUT) })
}

/// A request and its fate so far.
pub(super) struct Request {
    batch: Batch,
    body: Bytes,
    failures: u32,
    is_half: bool,
}

impl Request {
    pub(super) fn new(batch: Batch, body: Vec<u8>) -> Self {
        Request { batch, body: body.into(), failures: 0, is_half: false }
    }
}

/// What came back.
enum Answer {
    Status {
        code: u16,
        retry_after: Option<String>,
        body: Result<Bytes, String>,
    },
    /// No answer at all.
    Failed(String),
}

/// The sending side of one address.
pub(super) struct Backend {
    endpoint: HttpEndpoint,
    client: Client<HttpConnector, Full<Bytes>>,
    in_flight: JoinSet<(Request, Answer)>,
    max_in_flight: usize,
    retries: Vec<(Instant, Request)>,
    /// Failures since the last success.
    failures: u32,
    queue: Arc<Queue>,
    random: u64,
}

impl Backend {
    pub(super) fn new(endpoint: HttpEndpoint, max_in_flight: usize, queue: Arc<Queue>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Backend {
            endpoint,
            client: Client::builder(TokioExecutor::new()).build(connector),
            in_flight: JoinSet::new(),
            max_in_flight: max_in_flight.max(1),
            retries: Vec::new(),
            failures: 0,
            queue,
            random: RandomState::new().build_hasher().finish(),
        }
    }

    /// Whether another request may be started. Those that wait for their next try count: past the limit spans are
    /// better kept in the queue.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len().saturating_add(self.retries.len()) < self.max_in_flight && !self.is_probing()
    }

    fn is_probing(&self) -> bool {
        self.failures >= FAILURES_UNTIL_PROBING
    }

    pub(super) fn send(&mut self, request: Request) {
        self.queue.count_request(request.failures > 0);
        let mut message = http::Request::new(Full::new(request.body.clone()));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = self.endpoint.uri.clone();
        *message.headers_mut() = self.endpoint.headers.clone();
        let answer = self.client.request(message);
        let timeout = self.endpoint.timeout;
        self.in_flight.spawn(async move {
            let answer = tokio::time::timeout(timeout, read(answer)).await;
            let answer = answer.unwrap_or_else(|_| Answer::Failed(format!("no answer within {timeout:?}")));
            (request, answer)
        });
    }

    /// Tries again what is due; while probing, one request at a time.
    pub(super) fn start_due_retries(&mut self, now: Instant, envelope: &Envelope) {
        self.retries.sort_by_key(|(due, _)| *due);
        while self.retries.first().is_some_and(|(due, _)| *due <= now) {
            if self.is_probing() && !self.in_flight.is_empty() {
                return;
            }
            let (_, mut request) = self.retries.remove(0);
            if request.body.is_empty() {
                request.body = envelope.request(&request.batch.fields).into();
            }
            self.send(request);
        }
    }

    pub(super) fn next_retry(&self) -> Option<Instant> {
        if self.is_probing() && !self.in_flight.is_empty() {
            return None;
        }
        self.retries.iter().map(|(due, _)| *due).min()
    }

    /// Waits for an answer and books it; never returns while nothing is in flight.
    pub(super) async fn answered(&mut self) {
        match self.in_flight.join_next().await {
            Some(Ok((request, answer))) => self.book(request, answer),
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    fn book(&mut self, request: Request, answer: Answer) {
        let (verdict, error, body) = match answer {
            Answer::Failed(error) => (Verdict::Retry(None), Some(error), Bytes::new()),
            Answer::Status { code, retry_after, body } => {
                let verdict = classify(code, retry_after.as_deref(), SystemTime::now());
                let said = body.as_deref().map_or_else(|error| error.clone(), printable_start);
                let error =
                    (verdict != Verdict::Accepted).then(|| format!("the backend answered {code}: {said}"));
                (verdict, error, body.unwrap_or_default())
            }
        };
        let (spans, bytes) = (request.batch.spans(), request.batch.fields.len());
        match verdict {
            Verdict::Accepted => {
                self.failures = 0;
                let partial = partial_success(&body);
                let rejected = partial.rejected.min(spans);
                let outcomes = [(Done::Acked, spans.saturating_sub(rejected)), (Done::Rejected, rejected)];
                self.queue.done(&outcomes, bytes, partial.message.map(|m| format!("the backend said: {m}")));
            }
            Verdict::Retry(after) => {
                self.failures = self.failures.saturating_add(1);
                let failures = request.failures.saturating_add(1);
                let wait = after.unwrap_or_else(|| backoff(failures, self.next_random()));
                if let Some(error) = error {
                    self.queue.note_error(error);
                }
                let due = Instant::now().checked_add(wait).unwrap_or_else(Instant::now);
                self.retries.push((due, Request { failures, ..request }));
            }
            Verdict::TooLarge if !request.is_half => match request.batch.halves() {
                Some((first, second)) => {
                    for half in [first, second] {
                        // Its body is made when it is sent.
                        let half = Request { batch: half, body: Bytes::new(), failures: 0, is_half: true };
                        self.retries.push((Instant::now(), half));
                    }
                }
                None => self.queue.done(&[(Done::Rejected, spans)], bytes, error),
            },
            Verdict::TooLarge | Verdict::Rejected => {
                self.failures = 0;
                self.queue.done(&[(Done::Rejected, spans)], bytes, error);
            }
        }
    }

    /// A number in 0–1, by splitmix64.
    fn next_random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

async fn read(answer: hyper_util::client::legacy::ResponseFuture) -> Answer {
    match answer.await {
        Err(error) => Answer::Failed(causes(&error)),
        Ok(response) => {
            let code = response.status().as_u16();
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.map(str::to_owned);
            let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string());
            Answer::Status { code, retry_after, body }
        }
    }
}

/// An error and what caused it: the first alone rarely says why.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn printable_start(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

#[derive(Debug, Default, PartialEq)]
struct PartialSuccess {
    rejected: u64,
    message: Option<String>,
}

/// Reads `ExportTraceServiceResponse.partial_success`. What cannot be read is as if it were not there.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_work_is_refused_with_its_reason() {
        let refused = |url: &str| endpoint(url, &[], None).unwrap_err().to_string();
        assert!(refused("https://host:4318/v1/traces").starts_with("https is not supported"));
        assert!(
            refused("localhost:4318").contains("no host")
                || refused("localhost:4318").contains("not supported")
        );
        assert!(refused("not a url").starts_with("it is no URL"));
        let header = [("bad name".to_owned(), "x".to_owned())];
        assert!(endpoint("http://h", &header, None).unwrap_err().to_string().contains("bad name"));
    }

    #[test]
    fn header_values_are_never_shown() {
        let headers = [("authorization".to_owned(), "Bearer hunter2".to_owned())];
        let endpoint = endpoint("http://h/v1/traces", &headers, None).unwrap();
        assert!(!format!("{endpoint:?}").contains("hunter2"));
        assert!(!format!("{:?}", endpoint.headers).contains("hunter2"));
    }

    #[test]
    fn a_partial_success_is_read_and_damage_is_ignored() {
        let body = [0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, b'n', b'o'];
        assert_eq!(partial_success(&body), PartialSuccess { rejected: 3, message: Some("no".to_owned()) });
        assert_eq!(partial_success(&[]), PartialSuccess::default());
        assert_eq!(partial_success(&[0x0a, 0x60, 0x08]), PartialSuccess::default());
    }
}
