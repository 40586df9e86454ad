//! A backend that is away, slow, picky or broken loses nothing silently and never holds the program up.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use longpole::{BuildError, FlushReport, Longpole};
use otlp_sink::{Reply, Sink};
use socket2::{Domain, Socket, Type};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// Five spans: a run and four steps.
const SPANS: u64 = 5;

fn run_against(url: String) -> Longpole {
    let (layer, longpole) =
        longpole::builder().otlp_endpoint(url).durability(longpole::Durability::Memory).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info_span!("run").in_scope(|| {
            for _ in 1..SPANS {
                info_span!("step", node.id = "step").in_scope(|| ());
            }
        });
    });
    longpole
}

/// Every closed span is somewhere.
fn assert_conserved(report: &FlushReport) {
    let lost: u64 = report.lost.values().sum();
    let told = report.acknowledged + report.rejected + report.pending + lost;
    assert_eq!(report.closed, told, "{report}");
}

fn patient(longpole: &Longpole) -> FlushReport {
    let report = longpole.flush_within(otlp_sink::PATIENCE);
    assert_conserved(&report);
    report
}

#[test]
fn what_was_sent_while_nobody_listened_arrives_when_somebody_does() {
    // Bound and not listening: nobody else gets the port, and whoever connects is refused.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let longpole = run_against(format!("http://{address}/v1/traces"));
    let deadline = Instant::now() + otlp_sink::PATIENCE;
    let error = loop {
        let while_away = longpole.flush_within(Duration::from_millis(1));
        assert!(!while_away.is_complete && while_away.acknowledged == 0);
        if let Some(error) = longpole.diagnostics().last_error {
            break error;
        }
        assert!(Instant::now() < deadline, "no attempt was made");
    };
    assert!(error.to_lowercase().contains("refused"), "{error}");
    socket.listen(16).unwrap();
    let sink = Sink::on(socket.into(), |_| Reply::ok());
    assert_eq!(patient(&longpole).acknowledged, SPANS);
    assert_eq!(sink.spans().len() as u64, SPANS);
}

#[test]
fn retryable_answers_are_tried_again_until_the_spans_are_taken_once() {
    for code in [429, 502, 503, 504] {
        let sink = Sink::start(move |number| match number {
            0 | 1 => Reply::Status(code, vec![("retry-after", "0".to_owned())], b"later".to_vec()),
            2 => Reply::Close,
            _ => Reply::ok(),
        });
        let longpole = run_against(sink.url());
        let report = patient(&longpole);
        assert!(report.is_complete);
        assert_eq!((report.acknowledged, report.rejected), (SPANS, 0), "{code}");
        assert_eq!(sink.spans().len() as u64, SPANS, "{code}");
    }
}

/// The try that is under way when somebody begins to wait may have been too early.
#[test]
fn a_flush_that_comes_while_a_try_is_under_way_has_another_one_made_at_once() {
    let (is_under_way, under_way) = std::sync::mpsc::channel();
    let (answer, is_answered) = std::sync::mpsc::channel::<()>();
    let sink = Sink::start(move |number| match number {
        0..25 => Reply::code(503),
        25 => {
            is_under_way.send(()).unwrap();
            let _ = is_answered.recv_timeout(otlp_sink::PATIENCE);
            Reply::code(503)
        }
        _ => Reply::ok(),
    });
    let longpole = run_against(sink.url());
    let deadline = Instant::now() + otlp_sink::PATIENCE;
    while under_way.try_recv().is_err() {
        assert!(Instant::now() < deadline);
        longpole.flush_within(Duration::from_millis(5));
    }
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| patient(&longpole));
        // Once it is asked, which it may not be yet: then the next try is this flush's own anyway.
        longpole.flush_within(Duration::from_millis(50));
        answer.send(()).unwrap();
        assert!(flush.join().unwrap().is_complete);
    });
}

/// After so many failures the next try of its own would be half a minute away.
#[test]
fn a_flush_tries_at_once_however_long_the_backend_was_away() {
    let sink = Sink::start(|number| if number < 25 { Reply::code(503) } else { Reply::ok() });
    let longpole = run_against(sink.url());
    let deadline = Instant::now() + otlp_sink::PATIENCE;
    let mut report = longpole.flush_within(Duration::from_millis(50));
    while !report.is_complete {
        assert!(Instant::now() < deadline, "{report}");
        assert_conserved(&report);
        report = longpole.flush_within(Duration::from_millis(50));
    }
    assert_eq!(report.acknowledged, SPANS);
    assert_eq!(sink.spans().len() as u64, SPANS);
}

#[test]
fn a_partial_success_is_counted_and_not_sent_again() {
    // partial_success { rejected_spans: 2, error_message: "no" }
    let body = vec![0x0a, 0x06, 0x08, 0x02, 0x12, 0x02, b'n', b'o'];
    let sink = Sink::start(move |_| Reply::Status(200, Vec::new(), body.clone()));
    let longpole = run_against(sink.url());
    let report = patient(&longpole);
    let requests = sink.received().len() as u64;
    assert!(report.is_complete);
    assert_eq!(report.rejected, 2 * requests);
    assert_eq!(report.acknowledged, SPANS - 2 * requests);
    assert_eq!(sink.spans().len() as u64, SPANS, "each once");
    assert!(longpole.diagnostics().last_error.unwrap().contains("no"));
}

#[test]
fn a_refusal_for_good_is_counted_and_told() {
    let sink = Sink::start(|_| Reply::Status(400, Vec::new(), b"\x1bwrong schema".to_vec()));
    let longpole = run_against(sink.url());
    let report = patient(&longpole);
    assert!(report.is_complete);
    assert_eq!((report.acknowledged, report.rejected), (0, SPANS));
    let error = longpole.diagnostics().last_error.unwrap();
    assert!(error.contains("400") && error.contains("wrong schema") && !error.contains('\x1b'), "{error}");
    assert_eq!(longpole.last_run().unwrap().run.spans, SPANS, "the report does not suffer");
}

#[test]
fn a_request_that_is_too_large_is_sent_once_more_in_halves() {
    let sink = Sink::start(|number| if number == 0 { Reply::code(413) } else { Reply::ok() });
    let longpole = run_against(sink.url());
    let report = patient(&longpole);
    assert_eq!((report.acknowledged, report.rejected), (SPANS, 0));
    let sizes: Vec<usize> = sink
        .received()
        .iter()
        .map(|received| received.request.resource_spans[0].scope_spans[0].spans.len())
        .collect();
    assert!(sizes.len() >= 3 && sizes[0] == sizes[1] + sizes[2], "{sizes:?}");
}

#[test]
fn halves_that_are_still_too_large_are_rejected() {
    let sink = Sink::start(|_| Reply::code(413));
    let longpole = run_against(sink.url());
    let report = patient(&longpole);
    assert!(report.is_complete);
    assert_eq!((report.acknowledged, report.rejected), (0, SPANS));
    assert!(sink.received().len() <= 6, "no request is split twice");
}

#[test]
fn a_backend_that_never_answers_delays_shutdown_by_its_deadline_only() {
    let sink = Sink::start(|_| Reply::Hang);
    let longpole = run_against(sink.url());
    sink.wait_until(|received| !received.is_empty());
    let last = longpole.shutdown_within(Duration::from_secs(1));
    assert!(!last.flush.is_complete);
    assert_eq!((last.flush.pending, last.flush.acknowledged), (SPANS, 0));
    assert_conserved(&last.flush);
}

#[test]
fn a_full_queue_refuses_and_counts_and_the_report_does_not_suffer() {
    let sink = Sink::start(|_| Reply::Hang);
    let (tell, told) = std::sync::mpsc::channel();
    let (layer, longpole) = longpole::builder()
        .otlp_endpoint(sink.url())
        .durability(longpole::Durability::Memory)
        .on_run(move |report| tell.send(report.run.spans).unwrap())
        .build()
        .unwrap();
    // Texts that are not cut under load.
    let long = "x".repeat(1_000);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        // More than the 16 MiB of the queue, in runs small enough for the shards; each is waited for.
        for _ in 0..160 {
            info_span!("run").in_scope(|| {
                for _ in 0..128 {
                    info_span!("step", node.id = "step", long = long.as_str()).in_scope(|| ());
                }
            });
            assert_eq!(told.recv_timeout(otlp_sink::PATIENCE).unwrap(), 129);
        }
    });
    let last = longpole.shutdown_within(Duration::from_secs(1));
    assert_conserved(&last.flush);
    assert!(last.flush.lost["delivery_queue_full"] > 0, "{last}");
    assert_eq!(longpole.node("step").unwrap().calls, 160 * 128);
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Sink::accepting();
    let location = elsewhere.url();
    let sink = Sink::start(move |_| Reply::Status(302, vec![("location", location.clone())], Vec::new()));
    let longpole = run_against(sink.url());
    assert_eq!(patient(&longpole).rejected, SPANS);
    assert!(elsewhere.received().is_empty());
}

#[test]
fn a_huge_answer_is_not_read_to_its_end() {
    let sink = Sink::start(|_| Reply::Status(500, Vec::new(), vec![b'x'; 16 << 20]));
    let longpole = run_against(sink.url());
    let report = patient(&longpole);
    assert_eq!(report.rejected, SPANS);
    assert!(longpole.diagnostics().last_error.unwrap().len() < 400);
}

#[test]
fn an_address_that_cannot_be_sent_to_is_an_error_with_its_reason() {
    for (url, reason) in [
        ("ftp://host:4318", "ftp is no scheme"),
        ("no url at all", "no URL"),
        ("/v1/traces", "no scheme and host"),
    ] {
        let error = longpole::builder().otlp_endpoint(url).build().unwrap_err();
        let BuildError::Endpoint { endpoint, source, .. } = &error else { panic!("{error}") };
        assert_eq!(endpoint, url);
        assert!(source.to_string().contains(reason), "{url}: {source}");
    }
    let error = longpole::builder().spans_file("/no/such/folder/spans.jsonl").build().unwrap_err();
    assert!(error.to_string().contains("/no/such/folder/spans.jsonl"), "{error}");
}
