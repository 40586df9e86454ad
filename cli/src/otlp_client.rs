//! Sends one request as an exporter does, to see what a receiver makes of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// What exporters speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    HttpProtobuf,
    HttpJson,
    Grpc,
}

impl Protocol {
    /// As `OTEL_EXPORTER_OTLP_PROTOCOL` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::HttpProtobuf => "http/protobuf",
            Protocol::HttpJson => "http/json",
            Protocol::Grpc => "grpc",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Protocol::HttpProtobuf => "application/x-protobuf",
            Protocol::HttpJson => "application/json",
            Protocol::Grpc => "application/grpc",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Protocol::HttpProtobuf | Protocol::HttpJson => "/v1/traces",
            Protocol::Grpc => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// With the trailers.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Whether what was sent was taken, by what each protocol has to say so.
    pub(crate) fn is_taken(&self, protocol: Protocol) -> bool {
        let grpc_status = self.headers.get("grpc-status").map(HeaderValue::as_bytes);
        self.status == StatusCode::OK && (protocol != Protocol::Grpc || grpc_status == Some(b"0"))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SendError {
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// A request with spans, ready to be sent or to be changed first.
pub(crate) fn request(protocol: Protocol, message: &[u8]) -> Request<Full<Bytes>> {
    let body = match protocol {
        Protocol::Grpc => {
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
            [&[0], &length.to_be_bytes()[..], message].concat()
        }
        Protocol::HttpProtobuf | Protocol::HttpJson => message.to_vec(),
    };
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = hyper::Uri::from_static(protocol.path());
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(protocol.content_type()));
    if protocol == Protocol::Grpc {
        headers.insert(HeaderName::from_static("te"), HeaderValue::from_static("trailers"));
    }
    request
}

/// Sends a request on a connection of its own.
///
/// # Errors
/// [`SendError`] if no answer comes within `patience`.
pub(crate) fn send(
    address: SocketAddr,
    protocol: Protocol,
    request: Request<Full<Bytes>>,
    patience: Duration,
) -> Result<Answer, SendError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(SendError::Connect)?.block_on(async {
        let answer = tokio::time::timeout(patience, exchange(address, protocol, request)).await;
        answer.unwrap_or(Err(SendError::TimedOut(patience)))
    })
}

async fn exchange(
    address: SocketAddr,
    protocol: Protocol,
    mut request: Request<Full<Bytes>>,
) -> Result<Answer, SendError> {
    let stream = TcpStream::connect(address).await.map_err(SendError::Connect)?;
    stream.set_nodelay(true).map_err(SendError::Connect)?;
    let stream = TokioIo::new(stream);
    let response = if protocol == Protocol::Grpc {
        let uri = format!("http://{address}{}", request.uri().path());
        if let Ok(uri) = uri.parse() {
            *request.uri_mut() = uri;
        }
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        answer_of(sender.send_request(request).await?).await?
    } else {
        if let Ok(host) = HeaderValue::from_str(&address.to_string()) {
            request.headers_mut().insert(HOST, host);
        }
        let (mut sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        answer_of(sender.send_request(request).await?).await?
    };
    Ok(response)
}

async fn answer_of(response: Response<hyper::body::Incoming>) -> Result<Answer, SendError> {
    let (head, body) = response.into_parts();
    let collected = body.collect().await?;
    let mut headers = head.headers;
    headers.extend(collected.trailers().cloned().unwrap_or_default());
    Ok(Answer { status: head.status, headers, body: collected.to_bytes() })
}
