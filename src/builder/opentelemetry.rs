//! Settings that concern OpenTelemetry: where signals go, and how its own context and exporters are joined.

use std::path::PathBuf;
use std::time::Duration;

use crate::delivery::Protocol;

use super::{Builder, OtlpProtocol};

impl Builder {
    /// Sends spans to this OTLP traces address: over HTTP with its path, such as `http://localhost:4318/v1/traces`;
    /// for gRPC (see [`Builder::otlp_protocol`]) without, such as `http://localhost:4317`. `https` addresses are
    /// verified by the system's certificates.
    pub fn otlp_endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Sends metrics of nodes and runs to this OTLP metrics address, such as `http://localhost:4318/v1/metrics`.
    pub fn otlp_metrics_endpoint(mut self, url: impl Into<String>) -> Self {
        self.metrics_endpoint = Some(url.into());
        self
    }

    /// How both are sent. Default: what the environment says, else [`OtlpProtocol::HttpProtobuf`].
    pub fn otlp_protocol(mut self, protocol: OtlpProtocol) -> Self {
        self.otlp.protocol = Some(match protocol {
            OtlpProtocol::HttpProtobuf => Protocol::HttpProtobuf,
            OtlpProtocol::HttpJson => Protocol::HttpJson,
            OtlpProtocol::Grpc => Protocol::Grpc,
        });
        self
    }

    /// Sends this header with each request, for credentials. It is never shown.
    pub fn otlp_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.otlp.headers.push((name.into(), value.into()));
        self
    }

    /// Compresses requests with gzip. Default: what the environment says, else not.
    pub fn otlp_gzip(mut self, on: bool) -> Self {
        self.otlp.is_compressed = Some(on);
        self
    }

    /// Trusts the certificates in this PEM file and no others.
    pub fn otlp_certificates(mut self, pem: impl Into<PathBuf>) -> Self {
        self.otlp.certificate = Some(pem.into());
        self
    }

    /// Shows the certificate chain in one PEM file, with the private key in the other (mTLS).
    pub fn otlp_client_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.otlp.client_identity = Some((chain.into(), key.into()));
        self
    }

    /// How often metrics are sent. Default: what the environment says, else each minute; also with each flush.
    pub fn metrics_interval(mut self, interval: Duration) -> Self {
        self.metrics_interval = Some(interval);
        self
    }

    /// Gives spans to an exporter of OpenTelemetry's SDK in place of an OTLP address; metrics are not concerned. It
    /// runs on a thread of its own without a runtime: an exporter that needs one (`opentelemetry-otlp` over gRPC)
    /// must be made inside a multi-thread runtime and does not outlive it. Each span is decoded and built again for
    /// it, so it costs several times what an address costs.
    #[cfg(feature = "otlp")]
    pub fn with_span_exporter(
        mut self,
        exporter: impl opentelemetry_sdk::trace::SpanExporter + 'static,
    ) -> Self {
        self.exporter = Some(crate::delivery::AnyExporter::new(exporter));
        self
    }

    /// Adds a resource's attributes to what is sent. They beat those of the environment.
    #[cfg(feature = "otlp")]
    pub fn with_resource(mut self, resource: &opentelemetry_sdk::Resource) -> Self {
        super::resource::add_all(&mut self.resource, resource);
        self
    }

    /// Puts roots that have no parent under the span named by `TRACEPARENT` (with `TRACESTATE` and `BAGGAGE`), for a
    /// process that a traced one started. One that serves many requests should not: they would share a trace.
    #[cfg(feature = "otlp")]
    pub fn parent_from_env(mut self) -> Self {
        self.reads_parent = true;
        self
    }

    /// Without the `otlp` feature there is no context to read.
    #[cfg(not(feature = "otlp"))]
    pub(super) fn parent_from_env(self) -> Self {
        self
    }

    /// Makes each entered span the current one of OpenTelemetry's API, so that spans made with that stand under it,
    /// and clients that read the current context pass it on. Default off: it costs at each enter and exit.
    #[cfg(feature = "otlp")]
    pub fn activate_otel_context(mut self, on: bool) -> Self {
        self.layer.otel.activates = on;
        self
    }

    /// Exports no spans: for a program whose spans another layer exports, such as `tracing-opentelemetry`. Reports
    /// and metrics are made; they carry the ids of those spans if that layer makes its contexts active and was added
    /// to the subscriber before this one.
    pub fn analysis_only(mut self) -> Self {
        self.exports_spans = false;
        self.layer.otel.takes_ids = true;
        self
    }

    /// Serves metrics for Prometheus on this address, at `/metrics`. Anybody who reaches the address may read them.
    #[cfg(feature = "prometheus")]
    pub fn prometheus(mut self, address: std::net::SocketAddr) -> Self {
        self.prometheus = Some(address);
        self
    }

    /// Tells the recorder of the `metrics` facade too, whichever the program has installed.
    #[cfg(feature = "metrics")]
    pub fn metrics_facade(mut self, on: bool) -> Self {
        self.uses_facade = on;
        self
    }
}
