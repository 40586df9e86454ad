//! Answers no decent backend gives: too long, too slow, cut off, damaged. Whatever comes, a batch is taken, tried again
//! or refused by the rules, once; nothing is lost without a number and nothing is read without end.

#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_receiver;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use longpole::{FlushReport, Longpole, OtlpProtocol};
use otlp_receiver::{Answer, Certificates, PATIENCE, RawAnswer, RawBody, Receiver};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// Closes one span, to be sent to `url`.
fn run_against(url: String, protocol: OtlpProtocol) -> Longpole {
    let builder = longpole::builder().otlp_from_env().otlp_endpoint(url).otlp_protocol(protocol);
    let (layer, longpole) = builder.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info_span!("run").in_scope(|| ());
    });
    longpole
}

fn assert_conserved(report: &FlushReport) {
    let lost: u64 = report.lost.values().sum();
    let told = report.acknowledged + report.rejected + report.pending + lost;
    assert_eq!((report.closed, lost), (told, 0), "{report}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Taken, and never sent again.
    Taken,
    /// Sent again, and then taken.
    TriedAgain,
    /// Refused for good.
    Refused,
}

/// Gives `answer` to the first request and takes what comes after it. Returns what was told of the answer.
#[track_caller]
fn check(protocol: OtlpProtocol, answer: RawAnswer, fate: Fate, words: &str) {
    let case = format!("{protocol:?} {answer:?}").chars().take(300).collect::<String>();
    let receiver = Receiver::answering(vec![Answer::Raw(answer)], None);
    let path = if protocol == OtlpProtocol::Grpc { "" } else { "/v1/traces" };
    let longpole = run_against(format!("{}{path}", receiver.base()), protocol);
    let report = longpole.flush_within(PATIENCE);
    assert!(report.is_complete, "{case}: {report}");
    assert_conserved(&report);
    let found = match (report.acknowledged, report.rejected, receiver.seen().len()) {
        (1, 0, 1) => Fate::Taken,
        (1, 0, 2) => Fate::TriedAgain,
        (0, 1, 1) => Fate::Refused,
        other => panic!("{case}: {other:?}"),
    };
    let told = longpole.diagnostics().last_error.unwrap_or_default();
    assert_eq!(found, fate, "{case}: {told}");
    assert!(told.contains(words) && told.len() < 500, "{case}: {told}");
    assert!(!told.contains(|character: char| character.is_control()), "{told:?}");
}

fn http(status: u16, headers: &[(&'static str, &str)], body: RawBody) -> RawAnswer {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect();
    RawAnswer { status, headers, body, trailers: Vec::new() }
}

/// A gRPC answer with these trailers.
fn grpc(body: RawBody, trailers: &[(&'static str, &[u8])]) -> RawAnswer {
    let trailers = trailers.iter().map(|(name, value)| (*name, value.to_vec())).collect();
    RawAnswer { trailers, ..http(200, &[("content-type", "application/grpc")], body) }
}

fn framed(flag: u8, message: &[u8]) -> RawBody {
    RawBody::Whole([&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat())
}

const OK: (&str, &[u8]) = ("grpc-status", b"0");

#[test]
fn an_answer_of_64_mib_is_read_for_4_and_never_asked_for_again() {
    for (protocol, status, fate) in [
        (OtlpProtocol::HttpProtobuf, 200, Fate::Taken),
        (OtlpProtocol::HttpJson, 200, Fate::Taken),
        (OtlpProtocol::HttpProtobuf, 400, Fate::Refused),
        (OtlpProtocol::HttpProtobuf, 503, Fate::TriedAgain),
        // Its status would stand behind the message.
        (OtlpProtocol::Grpc, 200, Fate::Refused),
    ] {
        let sent = Arc::new(AtomicUsize::new(0));
        let body = RawBody::Zeros(64 << 20, sent.clone());
        let content_type = if protocol == OtlpProtocol::Grpc { "application/grpc" } else { "text/plain" };
        let words = if status == 200 { "longer than 4 MiB" } else { "answered" };
        check(protocol, http(status, &[("content-type", content_type)], body), fate, words);
        // What is on the way besides are the windows of both sides.
        assert!(sent.load(Ordering::Relaxed) < 32 << 20, "{protocol:?} {status}: {sent:?}");
    }
}

#[test]
fn an_answer_that_unpacks_to_64_mib_is_not_unpacked() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 64 << 20]).unwrap();
    let mut answer = grpc(framed(1, &bomb.finish().unwrap()), &[OK]);
    answer.headers.push(("grpc-encoding", b"gzip".to_vec()));
    check(OtlpProtocol::Grpc, answer, Fate::Taken, "");
    // Nobody asked for this, and nobody unpacks it.
    let answer = http(200, &[("content-encoding", "gzip")], RawBody::Whole(vec![0x1f, 0x8b, 8]));
    check(OtlpProtocol::HttpProtobuf, answer, Fate::Taken, "");
}

#[test]
fn damaged_details_of_a_grpc_status_are_passed_over() {
    for details in [&b"!!!"[..], b"\xff\xfe", b"AAA", b"Gv8=", b"="] {
        let status = |code: &'static [u8]| {
            let trailers = [("grpc-status", code), ("grpc-status-details-bin", details)];
            grpc(RawBody::Whole(Vec::new()), &trailers)
        };
        check(OtlpProtocol::Grpc, status(b"14"), Fate::TriedAgain, "Unavailable");
        check(OtlpProtocol::Grpc, status(b"13"), Fate::Refused, "Internal");
        let in_head = |answer: RawAnswer| RawAnswer {
            headers: [answer.headers, answer.trailers].concat(),
            trailers: Vec::new(),
            ..answer
        };
        check(OtlpProtocol::Grpc, in_head(status(b"14")), Fate::TriedAgain, "Unavailable");
    }
}

#[test]
fn what_a_grpc_answer_says_is_settled_by_its_status_alone() {
    for body in
        [framed(0, b"\xff\xff\xff"), framed(7, b""), framed(1, b"not gzip"), RawBody::Whole(vec![0, 1])]
    {
        check(OtlpProtocol::Grpc, grpc(body, &[OK]), Fate::Taken, "");
    }
    for code in ["17", "-1", "x", ""] {
        let trailers = [("grpc-status", code.as_bytes()), ("grpc-message", b"a%0ab%1b")];
        check(OtlpProtocol::Grpc, grpc(framed(0, b""), &trailers), Fate::Refused, "Unknown: ab");
    }
}

#[test]
fn a_grpc_answer_without_a_status_is_what_its_http_says() {
    let page = |status| http(status, &[("content-type", "text/html")], RawBody::Whole(b"<html>".to_vec()));
    let plain =
        |status, headers: &[(&'static str, &str)]| http(status, headers, RawBody::Whole(b"said".to_vec()));
    let after = [("retry-after", "1")];
    for (answer, fate, words) in [
        (grpc(framed(0, b""), &[]), Fate::TriedAgain, "without a status"),
        (grpc(RawBody::Broken(vec![0, 0]), &[]), Fate::TriedAgain, ""),
        (plain(503, &after), Fate::TriedAgain, "503: said"),
        (plain(429, &after), Fate::TriedAgain, "429"),
        (page(502), Fate::TriedAgain, "502"),
        (page(200), Fate::Refused, "web page"),
        (plain(200, &[("content-type", "application/json")]), Fate::Refused, "no answer of an OTLP receiver"),
        (plain(404, &[]), Fate::Refused, "404"),
        (plain(413, &[]), Fate::Refused, "413"),
        (plain(500, &[]), Fate::Refused, "500"),
    ] {
        check(OtlpProtocol::Grpc, answer, fate, words);
    }
}

#[test]
fn an_http_answer_that_breaks_off_is_settled_by_its_head() {
    for (status, fate, words) in
        [(200, Fate::Taken, "did not arrive"), (503, Fate::TriedAgain, "503"), (400, Fate::Refused, "400")]
    {
        let answer = http(status, &[], RawBody::Broken(b"be".to_vec()));
        check(OtlpProtocol::HttpProtobuf, answer, fate, words);
    }
}

/// `google.rpc.Status` with a `RetryInfo` of so many seconds, as base64.
fn retry_info(seconds: u8) -> Vec<u8> {
    // Field 3: an Any of 48 bytes. Its value: field 1, a Duration of seconds.
    let mut status = vec![0x1a, 48, 0x0a, 40];
    status.extend_from_slice(b"type.googleapis.com/google.rpc.RetryInfo");
    status.extend_from_slice(&[0x12, 4, 0x0a, 2, 0x08, seconds]);
    let digit =
        |bits: u32| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[bits as usize];
    let mut text = Vec::new();
    for three in status.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        text.extend((0..=three.len()).map(|at| digit(bits >> (18 - 6 * at) & 63)));
    }
    text
}

/// Spans and metrics, both told to wait a second.
#[test]
fn nothing_is_sent_again_before_the_backend_wants_it() {
    let second = retry_info(1);
    let details = [("grpc-status", &b"8"[..]), ("grpc-status-details-bin", &second)];
    let body = || RawBody::Whole(b"full".to_vec());
    for (protocol, answer) in [
        (OtlpProtocol::HttpProtobuf, http(503, &[("retry-after", "1")], body())),
        (OtlpProtocol::HttpProtobuf, http(429, &[("retry-after", "1")], body())),
        (OtlpProtocol::Grpc, grpc(body(), &details)),
        (OtlpProtocol::Grpc, http(503, &[("retry-after", "1")], body())),
    ] {
        let again = || Answer::Raw(answer.clone());
        let receiver = Receiver::answering(vec![again(), again()], None);
        let path = |signal| match protocol {
            OtlpProtocol::Grpc => String::new(),
            _ => format!("/v1/{signal}"),
        };
        let builder = longpole::builder()
            .otlp_endpoint(format!("{}{}", receiver.base(), path("traces")))
            .otlp_metrics_endpoint(format!("{}{}", receiver.base(), path("metrics")))
            .otlp_protocol(protocol);
        let (layer, longpole) = builder.build().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            info_span!("run").in_scope(|| ());
        });
        let deadline = Instant::now() + PATIENCE;
        let taken = |signal: &str| {
            let is_of =
                |seen: &&otlp_receiver::Seen| seen.path.to_lowercase().contains(signal) && seen.was_taken;
            receiver.seen().iter().filter(is_of).count()
        };
        while taken("trace") == 0 || taken("metrics") == 0 {
            assert!(Instant::now() < deadline, "{protocol:?}: {:?}", longpole.diagnostics());
            longpole.flush_within(Duration::from_millis(20));
        }
        for signal in ["trace", "metrics"] {
            let mut seen = receiver.seen();
            seen.retain(|seen| seen.path.to_lowercase().contains(signal));
            for two in seen.windows(2).filter(|two| !two[0].was_taken) {
                assert!(two[1].at - two[0].at >= Duration::from_secs(1), "{protocol:?} {signal}");
            }
        }
    }
}

/// Runs `test` of this file again with requests that may take `millis`; true in that process.
#[track_caller]
fn has_timeout(test: &str, millis: u64) -> bool {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
    const IS_CHILD: &str = "LONGPOLE_TEST_CHILD";
    if std::env::var_os(IS_CHILD).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(IS_CHILD, "1").env(VARIABLE, millis.to_string());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    false
}

#[test]
fn an_answer_that_trickles_takes_no_longer_than_a_request_may() {
    if !has_timeout("an_answer_that_trickles_takes_no_longer_than_a_request_may", 300) {
        return;
    }
    let http = |status| http(status, &[("content-type", "text/plain")], RawBody::Trickle);
    for (protocol, answer, fate, words) in [
        (OtlpProtocol::Grpc, grpc(RawBody::Trickle, &[]), Fate::TriedAgain, "no answer within 300ms"),
        (OtlpProtocol::HttpProtobuf, http(200), Fate::Taken, "did not arrive in time"),
        (OtlpProtocol::HttpJson, http(200), Fate::Taken, "did not arrive in time"),
        (OtlpProtocol::HttpProtobuf, http(400), Fate::Refused, "400"),
        (OtlpProtocol::HttpProtobuf, http(503), Fate::TriedAgain, "503"),
    ] {
        check(protocol, answer, fate, words);
    }
}

/// Passes connections on to `to`; the first one falls silent, both ways, once something was sent over it, and stays
/// open. Returns its address and how many connections there were.
fn proxy_with_a_silent_connection(to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            let server = TcpStream::connect(to).unwrap();
            let is_silent = Arc::new(AtomicBool::new(false));
            for (mut from, mut to, is_up) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap(), true), (server, client, false)]
            {
                let is_silent = is_silent.clone();
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        // The request's headers are what is never heard of again: its preface passes.
                        if is_first && is_up && count > 100 {
                            is_silent.store(true, Ordering::SeqCst);
                        }
                        if !is_silent.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
                            return;
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    (address, connections)
}

#[test]
fn a_connection_that_falls_silent_is_left_for_another() {
    if !has_timeout("a_connection_that_falls_silent_is_left_for_another", 500) {
        return;
    }
    for (protocol, path) in [(OtlpProtocol::Grpc, ""), (OtlpProtocol::HttpProtobuf, "/v1/traces")] {
        let receiver = Receiver::start();
        let (proxy, connections) = proxy_with_a_silent_connection(receiver.address());
        let longpole = run_against(format!("http://{proxy}{path}"), protocol);
        let report = longpole.flush_within(PATIENCE);
        assert_eq!(report.acknowledged, 1, "{protocol:?}: {report} {:?}", longpole.diagnostics());
        assert!(connections.load(Ordering::SeqCst) >= 2);
    }
}

#[test]
fn what_cannot_be_reached_keeps_what_is_for_it() {
    let certificates = Certificates::make();
    let encrypted = Receiver::with_tls(certificates.server());
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (base, protocol) in [
        (format!("http://{refusing}"), OtlpProtocol::HttpProtobuf),
        (format!("http://{refusing}"), OtlpProtocol::Grpc),
        ("http://no-such-host.invalid:4318".to_owned(), OtlpProtocol::HttpProtobuf),
        ("http://no-such-host.invalid:4317".to_owned(), OtlpProtocol::Grpc),
        (encrypted.base(), OtlpProtocol::HttpProtobuf),
        (encrypted.base(), OtlpProtocol::Grpc),
    ] {
        let longpole = run_against(base.clone(), protocol);
        let deadline = Instant::now() + PATIENCE;
        while longpole.diagnostics().last_error.is_none() {
            assert!(Instant::now() < deadline, "{base} {protocol:?}: no attempt came to an end");
            longpole.flush_within(Duration::from_millis(20));
        }
        let report = longpole.shutdown_within(Duration::ZERO).flush;
        assert_conserved(&report);
        assert_eq!((report.acknowledged, report.rejected, report.pending), (0, 0, 1), "{base} {protocol:?}");
    }
}
