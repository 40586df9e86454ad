//! Requests to an MLflow server: one after the other, tried again while it is away.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout_at;

use super::queue::{News, Queue};
use crate::delivery::Endpoint;
use crate::delivery::http_client::{
    self, HttpClient, causes, is_page, place, printable_start, read, request_body, without_secrets,
};
use crate::delivery::retry::{Pace, Verdict, classify};
use crate::random::random_share;

/// How often a request is tried, which takes about half a minute where nobody is there: longer than a server takes to
/// start.
pub(super) const MAX_TRIES: u32 = 10;
/// The longest wait between two tries, unless the server asks for more.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// A request that got no answer of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// Nobody was there, or the answer was one that may pass, again and again.
    #[error("{0}")]
    Away(String),
    /// An answer of MLflow's that refuses this request.
    #[error("{text}")]
    Refused { code: Option<String>, text: String },
    /// An answer that refuses whoever asks, or no answer of an MLflow server.
    #[error("{0}")]
    Unusable(String),
}

impl RequestError {
    /// Whether MLflow refused it with this of its error codes.
    pub(super) fn has_code(&self, wanted: &str) -> bool {
        matches!(self, RequestError::Refused { code: Some(code), .. } if code == wanted)
    }

    /// The same refusal, where it concerns every further request too.
    pub(super) fn of_the_settings(self) -> RequestError {
        match self {
            RequestError::Refused { text, .. } => RequestError::Unusable(text),
            other => other,
        }
    }
}

/// What became of one try.
pub(super) enum Failed {
    /// It may be tried again, when the pace allows.
    ForNow(String),
    ForGood(RequestError),
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    method: Method,
    /// Behind the server's address.
    path: String,
    body: Bytes,
}

impl Request {
    pub(super) fn get(path: String) -> Request {
        Request { method: Method::GET, path, body: Bytes::new() }
    }

    pub(super) fn post(path: &str, body: &impl serde::Serialize) -> Request {
        // Structs of texts and finite numbers: it has no way to fail.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Request { method: Method::POST, path: path.to_owned(), body: body.into() }
    }

    pub(super) fn put(path: String, body: String) -> Request {
        Request { method: Method::PUT, path, body: body.into() }
    }
}

/// The body of MLflow's refusals.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error_code: Option<String>,
    message: String,
}

/// The way to one server.
pub(super) struct Client {
    endpoint: Endpoint,
    /// Its address, without a slash at the end.
    base: String,
    http: HttpClient,
    pace: Pace,
    /// When to try again what failed.
    due: Option<Instant>,
    queue: Arc<Queue>,
}

impl Client {
    pub(super) fn new(endpoint: Endpoint, base: String, queue: Arc<Queue>) -> Self {
        let http = http_client::client(&endpoint);
        Client { endpoint, base, http, pace: Pace::new(MAX_BACKOFF), due: None, queue }
    }

    /// Asks until there is an answer for good, [`MAX_TRIES`] times at most.
    pub(super) async fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, RequestError> {
        let mut tries = 0u32;
        loop {
            tries = tries.saturating_add(1);
            match self.try_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow(error)) if tries >= MAX_TRIES => return Err(RequestError::Away(error)),
                Err(Failed::ForNow(_)) => {}
            }
        }
    }

    /// Asks once, as soon as the server wants to be asked.
    pub(super) async fn try_once<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, Failed> {
        self.wait().await;
        self.due = None;
        let answer = match self.ask(request).await {
            Ok(answer) => answer,
            Err(Answer::Again(after, error)) => {
                self.due = Some(self.pace.failed(after, Instant::now(), random_share()));
                let error = self.shown(request, &error);
                self.queue.failed(&error);
                self.queue.tell(News::Away, &format!("{error}; they are logged later"));
                return Err(Failed::ForNow(error));
            }
            Err(Answer::No(error)) => {
                self.pace.settled();
                return Err(Failed::ForGood(match error {
                    RequestError::Refused { code, text } => {
                        RequestError::Refused { code, text: self.shown(request, &text) }
                    }
                    RequestError::Unusable(text) => RequestError::Unusable(self.shown(request, &text)),
                    away => away,
                }));
            }
        };
        self.pace.settled();
        serde_json::from_slice(&answer).map_err(|_| {
            let error = "the answer is none of an MLflow server";
            Failed::ForGood(RequestError::Unusable(self.shown(request, error)))
        })
    }

    /// Until the server wants to be asked, or somebody waits who cannot.
    async fn wait(&mut self) {
        while let Some(due) = self.due.max(self.pace.not_before()) {
            if due <= Instant::now() {
                return;
            }
            let is_hurried = timeout_at(due.into(), self.queue.hurry.notified()).await.is_ok();
            if is_hurried && !self.pace.asks_for_time(Instant::now()) {
                return;
            }
        }
    }

    async fn ask(&self, request: &Request) -> Result<Bytes, Answer> {
        let unusable = |text: String| Answer::No(RequestError::Unusable(text));
        let uri: Uri = format!("{}{}", self.base, request.path)
            .parse()
            .map_err(|_| unusable("it is no URL".to_owned()))?;
        let now = tokio::time::Instant::now();
        let deadline = now.checked_add(self.endpoint.timeout).unwrap_or(now);
        let mut message = http::Request::new(request_body(Bytes::new(), request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = uri;
        *message.headers_mut() = self.endpoint.headers.clone();
        let response = match timeout_at(deadline, self.http.request(message)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let error = causes(&error);
                let is_refused = error.to_ascii_lowercase().contains("refused");
                let hint = if is_refused { "; is an MLflow server running there?" } else { "" };
                return Err(Answer::Again(None, format!("{error}{hint}")));
            }
            Err(_) => {
                return Err(Answer::Again(None, format!("no answer within {:?}", self.endpoint.timeout)));
            }
        };
        let code = response.status().as_u16();
        let is_page = is_page(response.headers());
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let verdict = match classify(code, retry_after, SystemTime::now()) {
            // Databases that are locked, and servers that are being started.
            _ if matches!(code, 408 | 500) => Verdict::Retry(None),
            verdict => verdict,
        };
        let received = read(response.into_body(), Endpoint::MAX_RESPONSE, deadline).await;
        if let (Verdict::Accepted, Some(problem)) = (verdict, received.end.problem()) {
            return Err(Answer::Again(
                None,
                format!("it answered {code}, and the rest of its answer {problem}"),
            ));
        }
        if verdict == Verdict::Accepted && !is_page {
            // What is stored is answered by nothing.
            let is_empty = received.bytes.is_empty();
            return Ok(if is_empty { Bytes::from_static(b"{}") } else { received.bytes.into() });
        }
        let refusal: Option<Refusal> = serde_json::from_slice(&received.bytes).ok();
        let has_code = refusal.as_ref().is_some_and(|refusal| refusal.error_code.is_some());
        let Refusal { error_code, message } = refusal.unwrap_or_default();
        let said = match message.is_empty() {
            true if is_page => String::new(),
            true => printable_start(&received.bytes),
            false => printable_start(message.as_bytes()),
        };
        let is_switched_off = said.contains("disabled due to the mlflow server");
        let colon = if said.is_empty() { "" } else { ": " };
        let text = format!("it answered {code}{colon}{said}");
        Err(match (verdict, code) {
            (Verdict::Retry(after), _) if !is_switched_off => Answer::Again(after, text),
            (_, 401 | 403) => unusable(format!(
                "{text}; MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD, are the place for \
                 credentials"
            )),
            (_, 300..=399) => unusable(format!("{text}; it is somewhere else")),
            (_, 404) if !has_code => unusable(format!(
                "{text}; it has nothing at this path: is it an MLflow server, and a recent one?"
            )),
            _ if is_page || matches!(code, 200..=299) => {
                unusable(format!("{text}; that is not the address of an MLflow server"))
            }
            _ => Answer::No(RequestError::Refused { code: error_code, text }),
        })
    }

    /// An error with where it happened, and without what is secret.
    fn shown(&self, request: &Request, error: &str) -> String {
        let path = request.path.split('?').next().unwrap_or_default();
        let place = place(&self.endpoint.uri);
        let place = place.trim_end_matches('/');
        format!("{place}{path}: {}", without_secrets(error.to_owned(), &self.endpoint))
    }
}

/// Why an answer is no success.
enum Answer {
    Again(Option<Duration>, String),
    No(RequestError),
}
