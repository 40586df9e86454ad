//! One request: which signal in which form, and what comes of it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Method, Request, Response};

use super::answer::{self, AnswerBody, Form};
use super::body;
use super::inbox::{Inbox, Partly, Problem, Signal};

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// Takes in a request and says what became of it.
pub(super) async fn respond(
    request: Request<hyper::body::Incoming>,
    inbox: &Arc<Inbox>,
) -> Response<AnswerBody> {
    let _presence = inbox.request();
    let form = form_of(request.headers());
    let signal = signal_of(request.uri().path());
    let taken = take(request, form, signal, inbox).await;
    match taken {
        Ok(partly) => answer::taken(form.unwrap_or(Form::Protobuf), &partly),
        Err(problem) => {
            inbox.refuse(&problem);
            answer::refused(form.unwrap_or(Form::Protobuf), &problem)
        }
    }
}

async fn take(
    request: Request<hyper::body::Incoming>,
    form: Option<Form>,
    signal: Option<Signal>,
    inbox: &Inbox,
) -> Result<Partly, Problem> {
    let (head, incoming) = request.into_parts();
    let shortened = |text: &str| text.chars().take(80).collect::<String>();
    let signal = signal.ok_or_else(|| Problem::UnknownPath(shortened(head.uri.path())))?;
    if head.method != Method::POST {
        return Err(Problem::Method(shortened(head.method.as_str())));
    }
    let form = form.ok_or_else(|| Problem::ContentType(shortened(text(&head.headers, &CONTENT_TYPE))))?;
    let mut hold = inbox.hold();
    let limit = inbox.limits.request_bytes;
    let whole = body::read(incoming, limit, &mut hold).await?;
    let (packed, encoding) = match form {
        Form::Grpc => {
            let (message, is_packed) = body::grpc_message(&whole)?;
            (message, if is_packed { text(&head.headers, &GRPC_ENCODING) } else { "" })
        }
        Form::Protobuf | Form::Json => (whole, text(&head.headers, &CONTENT_ENCODING)),
    };
    let message: Bytes = body::unpack(packed, encoding, limit, &mut hold)?;
    if signal != Signal::Traces {
        inbox.count(signal);
        return Ok(Partly::default());
    }
    inbox.take_traces(&message)
}

fn signal_of(path: &str) -> Option<Signal> {
    Some(match path {
        "/v1/traces" | "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Signal::Traces,
        "/v1/metrics" | "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Signal::Metrics,
        "/v1/logs" | "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Signal::Logs,
        _ => return None,
    })
}

fn form_of(headers: &HeaderMap) -> Option<Form> {
    let whole = text(headers, &CONTENT_TYPE);
    let name = whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match name.as_str() {
        "application/grpc" | "application/grpc+proto" => Some(Form::Grpc),
        "application/x-protobuf" | "application/protobuf" => Some(Form::Protobuf),
        "application/json" => Some(Form::Json),
        _ => None,
    }
}

/// A header as text; nothing where it is missing or no text.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
