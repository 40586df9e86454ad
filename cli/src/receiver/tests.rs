//! What a receiver answers, keeps and counts.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http_body_util::Full;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use longpole::decode::decode;
use longpole::otlp_bytes::traces_data;

use super::{Limits, Received, Receiver};
use crate::otlp_client::{Answer, Protocol, request, send};

/// Long enough for any machine; what is waited for comes as an event.
const PATIENCE: Duration = Duration::from_secs(20);
const ALL: [Protocol; 3] = [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc];

/// A trace of so many spans as OTLP JSON; the ids of some are damaged.
fn json(spans: usize, damaged: usize) -> Vec<u8> {
    let span = |index: usize| {
        let id = if index < damaged { "beef".to_owned() } else { format!("{:016x}", index + 1) };
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{id}","name":"s{index}","startTimeUnixNano":"1","endTimeUnixNano":"2"}}"#,
            7
        )
    };
    let spans: Vec<String> = (0..spans).map(span).collect();
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(",")).into_bytes()
}

fn message(protocol: Protocol, spans: usize) -> Vec<u8> {
    let json = json(spans, 0);
    match protocol {
        Protocol::HttpJson => json,
        Protocol::HttpProtobuf | Protocol::Grpc => traces_data(&decode(&json).unwrap().spans),
    }
}

fn answer_to(receiver: &Receiver, protocol: Protocol, request: Request<Full<Bytes>>) -> Answer {
    send(receiver.address(), protocol, request, PATIENCE).unwrap()
}

/// What comes of one request.
fn after(limits: Limits, protocol: Protocol, request: Request<Full<Bytes>>) -> (Answer, Received) {
    let receiver = Receiver::start(limits).unwrap();
    let answer = answer_to(&receiver, protocol, request);
    (answer, receiver.finish())
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[test]
fn spans_are_taken_over_every_protocol_on_one_port() {
    let receiver = Receiver::start(Limits::default()).unwrap();
    for protocol in ALL {
        let answer = answer_to(&receiver, protocol, request(protocol, &message(protocol, 3)));
        assert!(answer.is_taken(protocol), "{protocol:?}: {answer:?}");
    }
    assert_eq!((receiver.tally().spans, receiver.tally().trace_requests), (9, 3));
    let received = receiver.finish();
    let names: Vec<&str> = received.spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["s0", "s1", "s2"].repeat(3));
}

#[test]
fn packed_requests_are_unpacked() {
    let plain = message(Protocol::HttpProtobuf, 100);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(&plain).unwrap();
    for (encoding, packed) in
        [("gzip", gzip.clone()), ("deflate", deflate.finish().unwrap()), ("identity", plain)]
    {
        let mut request = request(Protocol::HttpProtobuf, &packed);
        request.headers_mut().insert("content-encoding", HeaderValue::from_static(encoding));
        let (answer, received) = after(Limits::default(), Protocol::HttpProtobuf, request);
        assert!(answer.is_taken(Protocol::HttpProtobuf), "{encoding}: {answer:?}");
        assert_eq!(received.spans.len(), 100, "{encoding}");
    }
    let length = u32::try_from(gzip.len()).unwrap().to_be_bytes();
    let mut grpc = request(Protocol::Grpc, &[]);
    *grpc.body_mut() = Full::from([&[1], &length[..], &gzip].concat());
    grpc.headers_mut().insert("grpc-encoding", HeaderValue::from_static("gzip"));
    let (answer, received) = after(Limits::default(), Protocol::Grpc, grpc);
    assert!(answer.is_taken(Protocol::Grpc), "{answer:?}");
    assert_eq!(received.spans.len(), 100);
}

#[test]
fn what_can_be_read_of_a_damaged_request_is_kept_and_the_rest_is_told() {
    let (answer, received) =
        after(Limits::default(), Protocol::HttpJson, request(Protocol::HttpJson, &json(5, 2)));
    assert!(answer.is_taken(Protocol::HttpJson));
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(said["partialSuccess"]["rejectedSpans"], "2");
    assert!(said["partialSuccess"]["errorMessage"].as_str().unwrap().contains("spanId"), "{said}");
    assert_eq!((received.spans.len(), received.tally.damaged), (3, 2));

    // The spans of a second resource are cut off.
    let whole = message(Protocol::HttpProtobuf, 4);
    let cut = [&whole[..], &whole[..whole.len() - 3]].concat();
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let (answer, received) = after(Limits::default(), protocol, request(protocol, &cut));
        assert!(answer.is_taken(protocol) && received.spans.len() == 4, "{protocol:?}: {answer:?}");
        // Field 1 of the answer, the partial success, whose field 1 counts what was rejected.
        let body = if protocol == Protocol::Grpc { &answer.body[5..] } else { &answer.body[..] };
        assert_eq!((body[0], body[2]), (0x0a, 0x08), "{answer:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_for_good_and_counted() {
    for protocol in ALL {
        let (answer, received) =
            after(Limits::default(), protocol, request(protocol, b"\xff\xff\xff\xff no spans \x00"));
        assert!(!answer.is_taken(protocol));
        match protocol {
            Protocol::Grpc => {
                assert_eq!((answer.status, header(&answer, "grpc-status")), (StatusCode::OK, "3"))
            }
            _ => assert_eq!(answer.status, StatusCode::BAD_REQUEST),
        }
        assert_eq!((received.tally.refused, received.tally.trace_requests), (1, 0));
        assert!(received.tally.first_refusal.is_some());
    }
    let mut wrong_length = request(Protocol::Grpc, &[]);
    *wrong_length.body_mut() = Full::from(vec![0, 0, 0, 0, 9, 1]);
    let (answer, _) = after(Limits::default(), Protocol::Grpc, wrong_length);
    assert_eq!(header(&answer, "grpc-status"), "3");
}

#[test]
fn what_is_no_export_of_spans_gets_the_status_that_says_so() {
    let changed = |change: &dyn Fn(&mut Request<Full<Bytes>>)| {
        let mut request = request(Protocol::HttpProtobuf, &message(Protocol::HttpProtobuf, 1));
        change(&mut request);
        after(Limits::default(), Protocol::HttpProtobuf, request).0.status.as_u16()
    };
    let with = |name: &'static str, value: &'static str| {
        changed(&move |request| {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        })
    };
    assert_eq!(changed(&|request| *request.uri_mut() = "/api/v2/spans".parse().unwrap()), 404);
    assert_eq!(changed(&|request| *request.method_mut() = Method::PUT), 405);
    // What a web page may send without being asked whether it may.
    assert_eq!(with("content-type", "text/plain"), 415);
    assert_eq!(with("content-encoding", "br"), 415);
    let mut unknown = request(Protocol::Grpc, &[]);
    *unknown.uri_mut() = "/grpc.health.v1.Health/Check".parse().unwrap();
    assert_eq!(header(&after(Limits::default(), Protocol::Grpc, unknown).0, "grpc-status"), "12");
}

#[test]
fn metrics_and_logs_are_counted_so_that_their_exporters_do_not_fail() {
    let receiver = Receiver::start(Limits::default()).unwrap();
    for (protocol, path) in [
        (Protocol::HttpProtobuf, "/v1/metrics"),
        (Protocol::HttpJson, "/v1/logs"),
        (Protocol::Grpc, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"),
        (Protocol::Grpc, "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
    ] {
        let mut request = request(protocol, b"{}");
        *request.uri_mut() = path.parse().unwrap();
        assert!(answer_to(&receiver, protocol, request).is_taken(protocol), "{path}");
    }
    let tally = receiver.finish().tally;
    assert_eq!((tally.metric_requests, tally.log_requests, tally.trace_requests), (2, 2, 0));
}

#[test]
fn too_long_a_request_is_refused_packed_or_not() {
    let limits = Limits { request_bytes: 10_000, ..Limits::default() };
    let long = message(Protocol::HttpProtobuf, 1_000);
    assert!(long.len() > 10_000);
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let (answer, received) = after(limits.clone(), protocol, request(protocol, &long));
        assert!(!answer.is_taken(protocol) && received.tally.refused == 1, "{answer:?}");
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&vec![0; 1 << 20]).unwrap();
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 10_000);
    let mut packed = request(Protocol::HttpProtobuf, &bomb);
    packed.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
    let (answer, _) = after(limits, Protocol::HttpProtobuf, packed);
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn memory_is_bounded_and_what_came_before_is_kept() {
    let limits = Limits { memory_bytes: 200_000, ..Limits::default() };
    let receiver = Receiver::start(limits).unwrap();
    let (protocol, spans) = (Protocol::HttpProtobuf, message(Protocol::HttpProtobuf, 100));
    let mut taken = 0;
    let refusal = loop {
        let answer = answer_to(&receiver, protocol, request(protocol, &spans));
        match answer.is_taken(protocol) {
            true => taken += 1,
            false => break answer,
        }
    };
    assert_eq!(refusal.status, StatusCode::INSUFFICIENT_STORAGE);
    assert!(taken > 0);
    // A smaller one still finds room.
    let small = answer_to(&receiver, protocol, request(protocol, &message(protocol, 1)));
    assert!(small.is_taken(protocol));
    let received = receiver.finish();
    assert_eq!(received.spans.len(), taken * 100 + 1);
    assert_eq!((received.tally.too_much, received.tally.refused), (1, 1));
}

#[test]
fn it_is_quiet_once_the_last_connection_is_closed() {
    let receiver = Receiver::start(Limits::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patiently = |quiet| runtime.block_on(async { tokio::time::timeout(PATIENCE, quiet).await.is_ok() });
    assert!(patiently(receiver.quiet()));
    let connection = std::net::TcpStream::connect(receiver.address()).unwrap();
    let mut quiet = Box::pin(receiver.quiet());
    // Not in ten times the moment it takes without the connection.
    let moment = super::QUIET * 10;
    let is_quiet = runtime.block_on(async { tokio::time::timeout(moment, quiet.as_mut()).await.is_ok() });
    assert!(!is_quiet);
    drop(connection);
    assert!(patiently(receiver.quiet()));
    runtime.block_on(async { tokio::time::timeout(PATIENCE, quiet).await.unwrap() });
}
