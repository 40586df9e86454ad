//! Nothing of longpole's own threads is ever traced, whatever the filter. A process of its own: the subscriber is
//! the global one.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_receiver;

#[cfg(feature = "mlflow")]
#[path = "support/mlflow_server.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod mlflow_server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use longpole::OtlpProtocol;
use opentelemetry_sdk::trace::InMemorySpanExporter;
use otlp_receiver::{Certificates, Receiver};
use otlp_sink::{Reply, Sink};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber, info_span};
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;

/// Remembers the target and thread of every span and event, at every level.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<Vec<(String, String)>>>);

impl Everything {
    fn saw(&self, target: &str) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((target.to_owned(), thread));
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Everything {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.saw(attributes.metadata().target());
    }
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.saw(event.metadata().target());
    }
}

#[test]
fn no_span_and_no_event_of_ours_at_trace_without_any_filter() {
    let everything = Everything::default();
    let sink = Sink::accepting();
    // By name, so that the resolver's thread takes part.
    let url = sink.url().replace("127.0.0.1", "localhost");
    let (layer, longpole) =
        longpole::builder().otlp_endpoint(url).durability(longpole::Durability::Memory).build().unwrap();
    // Both signals over gRPC and TLS, an exporter of the SDK, a page for Prometheus.
    let certificates = Certificates::make();
    let receiver = Receiver::with_tls(certificates.server());
    let (encrypted, over_grpc) = longpole::builder()
        .otlp_endpoint(receiver.base())
        .durability(longpole::Durability::Memory)
        .otlp_metrics_endpoint(receiver.base())
        .otlp_protocol(OtlpProtocol::Grpc)
        .otlp_gzip(true)
        .otlp_certificates(certificates.path("ca.pem"))
        .build()
        .unwrap();
    let builder = longpole::builder().with_span_exporter(InMemorySpanExporter::default());
    #[cfg(feature = "prometheus")]
    let builder = builder.prometheus("127.0.0.1:0".parse().unwrap());
    #[cfg(feature = "mlflow")]
    let mlflow = mlflow_server::Server::recorded(|_, _| None);
    #[cfg(feature = "mlflow")]
    let builder =
        builder.mlflow(longpole::MlflowConfig::new(mlflow.base().replace("127.0.0.1", "localhost")));
    let (exporting, with_exporter) = builder.build().unwrap();
    // And what a failing backend brings about: nobody there, answers that ask to come again or make no sense.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = |protocol| {
        let builder = longpole::builder().otlp_endpoint(format!("http://{address}")).otlp_protocol(protocol);
        builder.build().unwrap()
    };
    let (refused, over_http_to_nobody) = nobody(OtlpProtocol::HttpProtobuf);
    let (refused_grpc, over_grpc_to_nobody) = nobody(OtlpProtocol::Grpc);
    let failing = Sink::start(|number| match number % 3 {
        0 => Reply::code(503),
        1 => Reply::Close,
        _ => Reply::code(400),
    });
    let (unlucky, to_failing) = longpole::builder().otlp_endpoint(failing.url()).build().unwrap();
    tracing_subscriber::registry()
        .with(refused)
        .with(refused_grpc)
        .with(unlucky)
        .with(everything.clone())
        .with(layer)
        .with(encrypted)
        .with(exporting)
        .init();
    for round in 1..=5 {
        info_span!("run").in_scope(|| info_span!("step", node.id = "step").in_scope(|| ()));
        for other in [&over_grpc, &with_exporter] {
            assert_eq!(other.flush().acknowledged, round * 2, "{:?}", other.diagnostics());
        }
        #[cfg(feature = "prometheus")]
        look_at(&with_exporter);
        let flushed = longpole.flush();
        assert!(flushed.is_complete, "{flushed}; {:?}", longpole.diagnostics().last_error);
        assert_eq!((flushed.acknowledged, flushed.runs), (round * 2, round));
    }
    assert!(sink.received().len() >= 5);
    assert!(receiver.metrics().len() >= 5);
    failing.wait_until(|received| received.len() >= 3);
    for longpole in [&over_http_to_nobody, &over_grpc_to_nobody] {
        let flushed = longpole.flush_within(Duration::from_millis(500));
        assert_eq!((flushed.acknowledged, flushed.is_complete), (0, false), "{flushed}");
        assert!(longpole.diagnostics().last_error.is_some());
    }
    let failing = [over_http_to_nobody, over_grpc_to_nobody, to_failing];
    for longpole in failing {
        longpole.shutdown_within(Duration::from_millis(500));
    }
    for longpole in [longpole, over_grpc, with_exporter] {
        longpole.shutdown();
    }
    #[cfg(feature = "mlflow")]
    assert_eq!(mlflow.seen_at("runs/log-batch").len(), 5);
    let mut seen = everything.0.lock().unwrap().clone();
    // The receiver is in this process, and hyper traces on its thread.
    seen.retain(|(_, thread)| thread != otlp_receiver::THREAD);
    let own =
        |(target, thread): &&(String, String)| target == module_path!() && !thread.starts_with("longpole");
    let foreign: Vec<_> = seen.iter().filter(|seen| !own(seen)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert_eq!(seen.len(), 10, "five runs of two spans");
}

#[cfg(feature = "prometheus")]
fn look_at(longpole: &longpole::Longpole) {
    use std::io::{Read, Write};

    let is_page =
        |destination: &&longpole::Destination| matches!(destination, longpole::Destination::MetricsPage(_));
    let Some(longpole::Destination::MetricsPage(address)) = longpole.destinations().iter().find(is_page)
    else {
        panic!("no page");
    };
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.contains("longpole_node_executions_total"), "{page}");
}
