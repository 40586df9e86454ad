//! What exporters are told, in the form in which they asked.

use std::convert::Infallible;
use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::json;

use super::inbox::{Partly, Problem, with_cause};

/// The body of an answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, Infallible>;

/// In which form a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Grpc,
    Protobuf,
    Json,
}

impl Form {
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Form::Grpc => "application/grpc",
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        })
    }
}

/// Taken; with what could not be read of it, if anything.
pub(super) fn taken(form: Form, partly: &Partly) -> Response<AnswerBody> {
    let message = match (form, &partly.first) {
        (Form::Json, None) => b"{}".to_vec(),
        (Form::Json, Some(first)) => {
            let rejected = partly.rejected.to_string();
            json!({"partialSuccess": {"rejectedSpans": rejected, "errorMessage": first}})
                .to_string()
                .into_bytes()
        }
        (_, None) => Vec::new(),
        (_, Some(first)) => partial_success(partly.rejected, first),
    };
    if form != Form::Grpc {
        return response(StatusCode::OK, form, Full::from(message).boxed_unsync());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let framed = [&[0], &length.to_be_bytes()[..], &message].concat();
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::from(framed).with_trailers(async { Some(Ok(trailers)) });
    response(StatusCode::OK, form, body.boxed_unsync())
}

/// Refused, and not to be sent again: the next time it would not be taken either.
pub(super) fn refused(form: Form, problem: &Problem) -> Response<AnswerBody> {
    let (status, grpc_status) = match problem {
        Problem::UnknownPath(_) => (StatusCode::NOT_FOUND, UNIMPLEMENTED),
        Problem::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, UNIMPLEMENTED),
        Problem::ContentType(_) | Problem::Encoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, UNIMPLEMENTED),
        Problem::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, RESOURCE_EXHAUSTED),
        Problem::TooMuch(_) => (StatusCode::INSUFFICIENT_STORAGE, RESOURCE_EXHAUSTED),
        Problem::CutOff(_) | Problem::Unpacking(_) | Problem::Framing | Problem::Decoding(_) => {
            (StatusCode::BAD_REQUEST, INVALID_ARGUMENT)
        }
    };
    let said = with_cause(problem);
    match form {
        Form::Grpc => {
            let mut answer = response(StatusCode::OK, form, Full::default().boxed_unsync());
            answer.headers_mut().insert(GRPC_STATUS, HeaderValue::from(grpc_status));
            if let Ok(message) = HeaderValue::from_str(&percent_encoded(&said)) {
                answer.headers_mut().insert(GRPC_MESSAGE, message);
            }
            answer
        }
        Form::Protobuf => {
            response(status, form, Full::from(status_message(grpc_status, &said)).boxed_unsync())
        }
        Form::Json => {
            let text = json!({"code": grpc_status, "message": said}).to_string();
            response(status, form, Full::from(text).boxed_unsync())
        }
    }
}

const GRPC_STATUS: hyper::header::HeaderName = hyper::header::HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: hyper::header::HeaderName = hyper::header::HeaderName::from_static("grpc-message");
const INVALID_ARGUMENT: u16 = 3;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;

fn response(status: StatusCode, form: Form, body: AnswerBody) -> Response<AnswerBody> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, form.content_type());
    answer
}

/// An `ExportTraceServiceResponse` whose partial success says so.
fn partial_success(rejected: u64, message: &str) -> Vec<u8> {
    let mut inner = Vec::new();
    put_varint(&mut inner, 1, rejected);
    put_bytes(&mut inner, 2, message.as_bytes());
    let mut outer = Vec::new();
    put_bytes(&mut outer, 1, &inner);
    outer
}

/// A `google.rpc.Status`, which is what an error over HTTP is told with.
fn status_message(code: u16, message: &str) -> Vec<u8> {
    let mut status = Vec::new();
    put_varint(&mut status, 1, code.into());
    put_bytes(&mut status, 2, message.as_bytes());
    status
}

fn put_bytes(into: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    into.push(field << 3 | 2);
    put_number(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn put_varint(into: &mut Vec<u8>, field: u8, number: u64) {
    into.push(field << 3);
    put_number(into, number);
}

fn put_number(into: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// As the text of a gRPC status is written in a header.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}
