//! The sink's server.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use super::{Counts, Reading};

/// An answer of gRPC without content: not compressed, no bytes.
const EMPTY_MESSAGE: [u8; 5] = [0; 5];

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Default)]
struct State {
    counts: Counts,
    reading: Reading,
}

/// Serves on a free port of loopback, which is told to `listens`, until the process ends.
///
/// # Errors
/// What the system says if there is no port, or no runtime.
pub fn serve(listens: impl FnOnce(SocketAddr)) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        listens(listener.local_addr()?);
        let state = Arc::new(Mutex::new(State::default()));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let state = state.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, state.clone()));
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    if head.method == Method::GET {
        return Ok(tell(head.uri.path(), &state));
    }
    let Ok(body) = body.collect().await else { return Ok(status(StatusCode::BAD_REQUEST)) };
    let body = body.to_bytes();
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Ok(status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let is_grpc = is_grpc(&head.headers);
    let has_spans = head.uri.path() == "/v1/traces" || head.uri.path().ends_with("TraceService/Export");
    if has_spans {
        let mut state = locked(&state);
        let reading = state.reading;
        match is_grpc {
            false => state.counts.add(&body, reading),
            // In front of a message of gRPC are one byte that says how it is compressed and four of its length.
            true => match body.split_at_checked(EMPTY_MESSAGE.len()) {
                Some(([0, ..], message)) => state.counts.add(message, reading),
                _ => state.counts.broken += 1,
            },
        }
    }
    Ok(if is_grpc { grpc_ok() } else { http_ok() })
}

/// `/counts`; `/forget/whole` and `/forget/fields` begin anew.
fn tell(path: &str, state: &Mutex<State>) -> Response<Body> {
    let mut state = locked(state);
    match path {
        "/forget/whole" => *state = State { reading: Reading::Whole, ..State::default() },
        "/forget/fields" => *state = State { reading: Reading::Fields, ..State::default() },
        _ => {}
    }
    let counts = serde_json::to_vec(&state.counts).unwrap_or_default();
    Response::new(Full::new(Bytes::from(counts)).boxed_unsync())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn grpc_ok() -> Response<Body> {
    let body = Full::new(Bytes::from_static(&EMPTY_MESSAGE)).with_trailers(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Some(Ok(trailers))
    });
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn http_ok() -> Response<Body> {
    let mut response = Response::new(Full::default().boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = code;
    response
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
