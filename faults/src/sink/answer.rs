//! What a sink answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use prost::encoding::encode_varint;
use tokio::sync::mpsc::UnboundedSender;

use super::cut_stream::Cut;
use super::tally::Shared;

/// What is done with a request that was read.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The spans are taken and that is said.
    Take,
    /// The same, after so long. The spans are taken at once.
    TakeAfter(Duration),
    /// Taken but for so many spans, with a message.
    Partial(i64, &'static str),
    /// Nothing is answered, ever; the spans are not taken.
    Never,
    /// The spans are taken, and the connection is reset before that is said.
    Reset,
    /// Taken, and the connection takes no further requests.
    GoAway,
    /// An HTTP status with headers; nothing is taken.
    Http(u16, Vec<(&'static str, String)>),
    /// A gRPC status with its message and details; nothing is taken.
    Grpc(i32, &'static str, Vec<u8>),
    /// The same with this as `grpc-status-details-bin`, whatever it is.
    GrpcRawDetails(i32, &'static str),
    /// Taken, and answered with a message that is none.
    Garbage,
    /// Taken, and answered with so many bytes.
    Giant(u64),
    /// Taken, and answered with one byte a second, without end.
    Trickle,
}

impl Answer {
    /// An HTTP status without headers.
    pub fn status(code: u16) -> Answer {
        Answer::Http(code, Vec::new())
    }

    /// A gRPC status without details.
    pub fn code(code: i32) -> Answer {
        Answer::Grpc(code, "as told", Vec::new())
    }

    fn is_taken(&self) -> bool {
        match self {
            Answer::Take
            | Answer::TakeAfter(_)
            | Answer::Partial(..)
            | Answer::Reset
            | Answer::GoAway
            | Answer::Garbage
            | Answer::Giant(_)
            | Answer::Trickle => true,
            Answer::Never | Answer::Http(..) | Answer::Grpc(..) | Answer::GrpcRawDetails(..) => false,
        }
    }
}

/// A `google.rpc.Status` of this code whose `RetryInfo` asks to wait so many seconds; negative ones, too.
pub fn retry_info(code: i32, seconds: i64) -> Vec<u8> {
    let mut duration = Vec::new();
    varint_field(&mut duration, 1, seconds.cast_unsigned());
    let mut info = Vec::new();
    bytes_field(&mut info, 1, &duration);
    let mut any = Vec::new();
    bytes_field(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
    bytes_field(&mut any, 2, &info);
    let mut status = Vec::new();
    varint_field(&mut status, 1, u64::from(code.cast_unsigned()));
    bytes_field(&mut status, 3, &any);
    status
}

fn varint_field(into: &mut Vec<u8>, number: u64, value: u64) {
    encode_varint(number << 3, into);
    encode_varint(value, into);
}

fn bytes_field(into: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    encode_varint(number << 3 | 2, into);
    encode_varint(bytes.len() as u64, into);
    into.put_slice(bytes);
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(super) async fn respond(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    cut: &UnboundedSender<Cut>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    // A connection that ends inside of a request has no answer to it.
    let Ok(body) = body.collect().await else { return std::future::pending().await };
    let body = body.to_bytes();
    let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok());
    let is_grpc = content_type.is_some_and(|kind| kind.starts_with("application/grpc"));
    let path = head.uri.path();
    if path != "/v1/traces" && !path.ends_with("trace.v1.TraceService/Export") {
        // Another signal, of which nothing is counted.
        return success(is_grpc, Vec::new());
    }
    let message = if is_grpc { body.get(5..).unwrap_or_default() } else { &body[..] };
    let Ok(export) = ExportTraceServiceRequest::decode(message) else {
        let refusal =
            if is_grpc { Answer::code(3) } else { Answer::Http(400, vec![("x-why", "no spans".to_owned())]) };
        return refuse(&refusal);
    };
    let answer = shared.next_answer();
    shared.note_request(&export, answer.is_taken());
    match answer {
        Answer::Take => success(is_grpc, Vec::new()),
        Answer::TakeAfter(delay) => {
            tokio::time::sleep(delay).await;
            success(is_grpc, Vec::new())
        }
        Answer::Partial(rejected_spans, message) => {
            let partial_success =
                Some(ExportTracePartialSuccess { rejected_spans, error_message: message.to_owned() });
            success(is_grpc, ExportTraceServiceResponse { partial_success }.encode_to_vec())
        }
        Answer::Never => std::future::pending().await,
        Answer::Reset => {
            let _ = cut.send(Cut::Reset);
            std::future::pending().await
        }
        Answer::GoAway => {
            let _ = cut.send(Cut::GoAway);
            success(is_grpc, Vec::new())
        }
        Answer::Garbage => success(is_grpc, vec![0xff; 100]),
        Answer::Giant(bytes) => {
            let mut left = bytes;
            let chunks = std::iter::from_fn(move || {
                let size = left.min(1 << 16);
                left -= size;
                shared.note_answer_bytes(size);
                (size > 0).then(|| Bytes::from(vec![b'x'; size as usize]))
            });
            let frames = stream::iter(chunks.map(|chunk| Ok(Frame::data(chunk))));
            long(is_grpc, bytes, StreamBody::new(frames).boxed_unsync())
        }
        Answer::Trickle => {
            let bytes = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
            });
            long(is_grpc, 1_000, StreamBody::new(bytes).boxed_unsync())
        }
        refusal @ (Answer::Http(..) | Answer::Grpc(..) | Answer::GrpcRawDetails(..)) => refuse(&refusal),
    }
}

fn success(is_grpc: bool, message: Vec<u8>) -> Response<Body> {
    if !is_grpc {
        let response = Response::builder().header("content-type", "application/x-protobuf");
        return response.body(Full::from(message).boxed_unsync()).unwrap_or_default();
    }
    let mut framed = prefix(message.len() as u64);
    framed.extend_from_slice(&message);
    let body = Full::from(framed.freeze()).with_trailers(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", hyper::header::HeaderValue::from_static("0"));
        Some(Ok(trailers))
    });
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(body.boxed_unsync()).unwrap_or_default()
}

/// A success whose message has so many bytes.
fn long(is_grpc: bool, bytes: u64, body: Body) -> Response<Body> {
    if !is_grpc {
        let response = Response::builder().header("content-type", "application/x-protobuf");
        return response.header("content-length", bytes).body(body).unwrap_or_default();
    }
    let first = stream::iter([Ok(Frame::data(prefix(bytes).freeze()))]);
    let rest = body.into_data_stream();
    let rest = futures::StreamExt::map(rest, |chunk| chunk.map(Frame::data));
    let body = StreamBody::new(futures::StreamExt::chain(first, rest)).boxed_unsync();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap_or_default()
}

/// What stands before a message of gRPC: not compressed, and its length.
fn prefix(bytes: u64) -> BytesMut {
    let mut prefix = BytesMut::from(&[0][..]);
    prefix.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
    prefix
}

fn refuse(answer: &Answer) -> Response<Body> {
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD;
    let grpc = |code: i32, text: &str, details: String| {
        // A status without a message: in the head alone.
        let response = Response::builder().header("content-type", "application/grpc");
        let response = response.header("grpc-status", code).header("grpc-message", text);
        response.header("grpc-status-details-bin", details)
    };
    let response = match answer {
        Answer::Grpc(code, text, details) => grpc(*code, text, base64.encode(details)),
        Answer::GrpcRawDetails(code, details) => grpc(*code, "as told", (*details).to_owned()),
        Answer::Http(code, headers) => {
            let response = Response::builder().status(*code);
            headers.iter().fold(response, |response, (name, value)| response.header(*name, value))
        }
        _ => Response::builder().status(500),
    };
    response.body(Full::default().boxed_unsync()).unwrap_or_default()
}
