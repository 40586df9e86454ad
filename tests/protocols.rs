//! Both signals over every protocol, plain, compressed and encrypted, against a receiver that shares no code with the
//! sender; and what a backend's refusals do.

#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_receiver;

use std::collections::BTreeMap;
use std::sync::Arc;

use longpole::report::Report;
use longpole::{Builder, Longpole, OtlpProtocol};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use otlp_receiver::{Answer, Certificates, Content, PATIENCE, Receiver};
use tracing::info_span;
use tracing_subscriber::prelude::*;

const PROTOCOLS: [OtlpProtocol; 3] = [OtlpProtocol::HttpProtobuf, OtlpProtocol::HttpJson, OtlpProtocol::Grpc];

fn to(receiver: &Receiver, protocol: OtlpProtocol) -> Builder {
    let (traces, metrics) = match protocol {
        OtlpProtocol::Grpc => (receiver.base(), receiver.base()),
        _ => (format!("{}/v1/traces", receiver.base()), format!("{}/v1/metrics", receiver.base())),
    };
    longpole::builder()
        .workflow("desk")
        .otlp_endpoint(traces)
        .durability(longpole::Durability::Memory)
        .otlp_metrics_endpoint(metrics)
        .otlp_protocol(protocol)
}

/// A run of two nodes, of which one fails.
fn run(builder: Builder) -> (Longpole, Arc<Report>) {
    let (layer, longpole) = builder.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = info_span!("run").entered();
        info_span!("fetch", node.id = "fetch").in_scope(|| ());
        info_span!("fetch", node.id = "fetch").in_scope(|| ());
        info_span!("draft", node.id = "draft", error.type = "no_ink", otel.status_code = "ERROR")
            .in_scope(|| ());
    });
    let flush = longpole.flush_within(PATIENCE);
    assert!(flush.is_complete, "{flush} {:?}", longpole.diagnostics());
    let report = longpole.last_run().unwrap();
    (longpole, report)
}

fn labels(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let shown = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), shown(attribute))).collect()
}

/// Count and sum of the exponential histogram `name`, by node.
fn histogram(metrics: &[Metric], name: &str) -> BTreeMap<String, (u64, f64)> {
    let metric = metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{metrics:?}"));
    assert_eq!(metric.unit, "s");
    let Some(metric::Data::ExponentialHistogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    let points = histogram.data_points.iter();
    let by_node = points.map(|point| {
        let node = labels(&point.attributes).remove("longpole.node.id").unwrap_or_default();
        assert!(point.start_time_unix_nano <= point.time_unix_nano && point.start_time_unix_nano > 0);
        (node, (point.count, point.sum.unwrap()))
    });
    by_node.collect()
}

/// The points of the sum `name`, by all their labels.
fn sums(metrics: &[Metric], name: &str) -> Vec<(BTreeMap<String, String>, f64)> {
    let metric = metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{metrics:?}"));
    let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
    let value = |value| match value {
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        Some(number_data_point::Value::AsDouble(value)) => value,
        None => f64::NAN,
    };
    sum.data_points.iter().map(|point| (labels(&point.attributes), value(point.value))).collect()
}

/// What was received says what the report says.
fn agrees(receiver: &Receiver, report: &Report) {
    let spans = receiver.spans();
    assert_eq!(spans.len() as u64, report.run.spans);
    let root = spans.iter().find(|span| span.name == "run").unwrap();
    assert_eq!(root.end_time_unix_nano - root.start_time_unix_nano, report.run.wall_ns.as_nanos());
    assert!(root.attributes.iter().any(|attribute| attribute.key == "bottleneck_info"));

    let metrics = receiver.metrics().pop().unwrap();
    let durations = histogram(&metrics, "longpole.node.duration");
    let path = sums(&metrics, "longpole.node.critical_path.time");
    for node in &report.nodes {
        let (calls, sum) = durations[&node.name];
        assert_eq!(calls, node.calls);
        assert!((sum - node.duration.sum_ns.as_secs_f64()).abs() < 1e-9);
        assert_eq!(histogram(&metrics, "longpole.node.self_time")[&node.name].0, node.calls);
        assert_eq!(histogram(&metrics, "longpole.node.busy_time")[&node.name].0, node.calls);
        let told = path.iter().find(|(labels, _)| labels["longpole.node.id"] == node.name);
        let told = told.map_or(0.0, |(_, seconds)| *seconds);
        assert!((told - node.on_path_ns.as_secs_f64()).abs() < 1e-9, "{}", node.name);
    }
    let of_run = &histogram(&metrics, "longpole.run.duration")[""];
    assert_eq!(of_run.0, 1);
    assert!((of_run.1 - report.run.wall_ns.as_secs_f64()).abs() < 1e-9);
    let errors = sums(&metrics, "longpole.node.errors");
    assert_eq!(errors.len(), 1);
    let expected =
        [("error.type", "no_ink"), ("longpole.node.id", "draft"), ("longpole.workflow.name", "desk")];
    assert_eq!(errors[0].0, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let executions = sums(&metrics, "longpole.node.executions");
    let outcomes: Vec<_> = executions.iter().map(|(of, n)| (of["longpole.outcome"].as_str(), *n)).collect();
    assert_eq!(outcomes, [("error", 1.0), ("ok", 2.0)]);
    assert_eq!(sums(&metrics, "longpole.pipeline.spans")[0].1, report.run.spans as f64);
}

#[test]
fn both_signals_arrive_over_every_protocol() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::start();
        let (longpole, report) = run(to(&receiver, protocol).otlp_header("x-key", "secret word"));
        agrees(&receiver, &report);
        for seen in receiver.seen() {
            assert_eq!(seen.headers["x-key"], "secret word");
            let agent = seen.headers["user-agent"].to_str().unwrap();
            assert!(agent.starts_with("longpole/"), "{agent}");
            assert!(!seen.was_compressed);
        }
        let resources = receiver.resource_metrics().pop().unwrap();
        let of_metrics = resources[0].resource.as_ref().unwrap();
        assert_eq!(Some(of_metrics), receiver.resource_spans()[0].resource.as_ref(), "both say who sends");
        assert_eq!(longpole.diagnostics().metrics_requests, 1);
    }
}

#[test]
fn both_signals_arrive_compressed() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::start();
        let (_longpole, report) = run(to(&receiver, protocol).otlp_gzip(true));
        agrees(&receiver, &report);
        assert!(receiver.seen().iter().all(|seen| seen.was_compressed), "{protocol:?}");
    }
}

#[test]
fn both_signals_arrive_encrypted_from_known_clients() {
    let certificates = Certificates::make();
    for protocol in PROTOCOLS {
        let receiver = Receiver::with_tls(certificates.server_for_known_clients());
        let (_longpole, report) = run(to(&receiver, protocol)
            .otlp_certificates(certificates.path("ca.pem"))
            .otlp_client_certificate(certificates.path("client.pem"), certificates.path("client.key"))
            .otlp_gzip(true));
        agrees(&receiver, &report);
        let expected =
            if protocol == OtlpProtocol::Grpc { hyper::Version::HTTP_2 } else { hyper::Version::HTTP_11 };
        assert!(receiver.seen().iter().all(|seen| seen.version == expected), "{protocol:?}");
    }
}

/// One short attempt, and what the user is told of it.
fn told(builder: Builder) -> Vec<String> {
    let (layer, longpole) = builder.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        info_span!("run").in_scope(|| info_span!("step", node.id = "step").in_scope(|| ()));
    });
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        longpole.flush_within(std::time::Duration::from_millis(50));
        let notes = longpole.diagnostics().notes;
        let has = |about: &str| notes.iter().any(|note| note.starts_with(about));
        if has("spans: ") && has("metrics: ") {
            longpole.shutdown_within(std::time::Duration::ZERO);
            return notes;
        }
        assert!(std::time::Instant::now() < deadline, "nothing was told: {notes:?}");
    }
}

#[test]
fn what_is_wrong_with_an_endpoint_is_told_once_for_each_signal() {
    let certificates = Certificates::make();
    let plain = Receiver::start();
    let encrypted = Receiver::with_tls(certificates.server());
    let picky = Receiver::with_tls(certificates.server_for_known_clients());
    let page = || Answer::Http(200, "text/html; charset=utf-8", "<html><body>Welcome</body></html>");
    let pages = Receiver::answering(vec![page(), page()], None);
    let refusing = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let with_scheme = |receiver: &Receiver, scheme: &str| format!("{scheme}://{}", receiver.address());
    for protocol in [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc] {
        let at = |base: String| {
            let path =
                |signal| if protocol == OtlpProtocol::Grpc { String::new() } else { format!("/v1/{signal}") };
            longpole::builder()
                .otlp_endpoint(format!("{base}{}", path("traces")))
                .durability(longpole::Durability::Memory)
                .otlp_metrics_endpoint(format!("{base}{}", path("metrics")))
                .otlp_protocol(protocol)
        };
        let trusting = |base: String| at(base).otlp_certificates(certificates.path("ca.pem"));
        for (case, builder, words) in [
            ("nobody listens", at(format!("http://{refusing}")), "is a receiver running there?"),
            ("a server without TLS", trusting(with_scheme(&plain, "https")), "use an http:// address"),
            ("a server with TLS", at(with_scheme(&encrypted, "http")), "https://"),
            ("a stranger's certificate", at(encrypted.base()), "OTEL_EXPORTER_OTLP_CERTIFICATE"),
            ("no client certificate", trusting(picky.base()), "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        ] {
            let notes = told(builder);
            let about = |signal: &str| notes.iter().filter(|note| note.starts_with(signal)).count();
            assert_eq!((about("spans: "), about("metrics: ")), (1, 1), "{case} {protocol:?}: {notes:#?}");
            assert!(notes.iter().all(|note| note.contains(words)), "{case} {protocol:?}: {notes:#?}");
        }
    }
    let notes = told(to(&pages, OtlpProtocol::HttpProtobuf));
    assert!(notes.iter().all(|note| note.contains("web page")), "{notes:#?}");
}

#[test]
fn a_backend_that_takes_no_metrics_is_asked_once_and_keeps_getting_spans() {
    for (protocol, answer) in [
        (OtlpProtocol::HttpProtobuf, Answer::Http(404, "text/plain", "404 page not found")),
        (OtlpProtocol::Grpc, Answer::Grpc(12, "unknown service MetricsService", Vec::new())),
    ] {
        let spans = Receiver::start();
        let no_metrics = Receiver::answering(vec![answer], None);
        let path = if protocol == OtlpProtocol::Grpc { "" } else { "/v1/metrics" };
        let (longpole, _) =
            run(to(&spans, protocol).otlp_metrics_endpoint(format!("{}{path}", no_metrics.base())));
        longpole.flush_within(PATIENCE);
        assert_eq!(no_metrics.seen().len(), 1);
        assert_eq!(spans.spans().len(), 4);
        let diagnostics = longpole.diagnostics();
        assert_eq!(diagnostics.last_error, None);
        assert!(diagnostics.last_metrics_error.is_some());
        let notes: Vec<_> = diagnostics.notes.iter().filter(|note| note.starts_with("metrics")).collect();
        assert!(notes.len() == 1 && notes[0].ends_with("no further metrics are sent there"), "{notes:?}");
    }
}

#[test]
fn what_grpc_says_may_pass_is_tried_again_and_the_rest_is_not() {
    let retry_info = {
        // Status { details: [Any { type_url, value: RetryInfo { retry_delay { nanos: 1000000 } } }] }
        let url = b"type.googleapis.com/google.rpc.RetryInfo";
        let value = [0x0a, 4, 0x10, 0xc0, 0x84, 0x3d];
        let mut any = vec![0x0a, url.len() as u8];
        any.extend_from_slice(url);
        any.extend_from_slice(&[0x12, value.len() as u8]);
        any.extend_from_slice(&value);
        let mut status = vec![0x1a, any.len() as u8];
        status.extend_from_slice(&any);
        status
    };
    for code in 1..=16 {
        for details in [Vec::new(), retry_info.clone()] {
            let receiver = Receiver::answering(vec![Answer::Grpc(code, "no", details.clone())], None);
            let (layer, longpole) = longpole::builder()
                .otlp_endpoint(receiver.base())
                .durability(longpole::Durability::Memory)
                .otlp_protocol(OtlpProtocol::Grpc)
                .build()
                .unwrap();
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                info_span!("run").in_scope(|| ());
            });
            let flush = longpole.flush_within(PATIENCE);
            let may_pass = matches!(code, 1 | 4 | 10 | 11 | 14 | 15) || (code == 8 && !details.is_empty());
            assert_eq!(
                (flush.acknowledged, flush.rejected),
                if may_pass { (1, 0) } else { (0, 1) },
                "{code}"
            );
            assert_eq!(receiver.seen().len(), if may_pass { 2 } else { 1 }, "{code}");
        }
    }
}

#[test]
fn a_partial_success_is_counted_and_never_sent_again() {
    for protocol in PROTOCOLS {
        // Whichever signal comes first.
        let partial = || Answer::Partial(3, "too old");
        let receiver = Receiver::answering(vec![partial(), partial()], None);
        let (longpole, _) = run(to(&receiver, protocol));
        let flush = longpole.flush();
        assert_eq!((flush.acknowledged, flush.rejected), (1, 3), "{protocol:?}");
        let traces = receiver.seen().iter().filter(|seen| matches!(seen.content, Content::Traces(_))).count();
        assert_eq!(traces, 1);
        let diagnostics = longpole.diagnostics();
        assert!(diagnostics.last_metrics_error.unwrap().contains("3 data points were refused"));
        assert!(
            diagnostics
                .notes
                .iter()
                .any(|note| note.starts_with("spans: ") && note.contains("the backend said: too old"))
        );
    }
}
