//! What the environment variables say.
//!
//! Variables are read through a function, once, when a pipeline is built. As OpenTelemetry rules: an empty variable
//! is an unset one, a signal's own variable beats the general one, and a value that makes no sense is told about
//! once and leaves the default.

pub(crate) mod cost;
#[cfg(feature = "mlflow")]
pub(crate) mod mlflow;
pub(crate) mod privacy;
mod reader;
#[cfg(test)]
pub(crate) mod table;

use std::path::PathBuf;
use std::time::Duration;

use crate::delivery::EndpointSettings;
use crate::delivery::spool::{Durability, Fsync};
use crate::metrics::store::MetricLimits;
use crate::sampler::Sampler;
use cost::CostVariables;
use privacy::PrivacyVariables;
use reader::Reader;

#[cfg(feature = "otlp")]
use crate::metrics::otlp::{HistogramForm, Temporality};

/// What was found, with everything that made no sense in [`Environment::problems`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Environment {
    /// `OTEL_SDK_DISABLED` or `LONGPOLE_DISABLED`.
    pub(crate) is_disabled: bool,
    /// Whether notes may be printed where reports are.
    pub(crate) prints_notes: bool,
    pub(crate) traces: SignalSettings,
    pub(crate) metrics: SignalSettings,
    /// `OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(crate) service_name: Option<String>,
    /// The rest of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(crate) resource_attributes: Vec<(String, String)>,
    /// Limits that were set.
    pub(crate) limits: LimitSettings,
    pub(crate) spool: SpoolSettings,
    pub(crate) metric_limits: MetricLimits,
    pub(crate) privacy: PrivacyVariables,
    pub(crate) cost: CostVariables,
    pub(crate) propagators: Propagators,
    pub(crate) sampler: Sampler,
    pub(crate) metrics_interval: Duration,
    #[cfg(feature = "otlp")]
    pub(crate) temporality: Temporality,
    #[cfg(feature = "otlp")]
    pub(crate) histogram_form: HistogramForm,
    /// Where a page for Prometheus listens.
    pub(crate) prometheus: PrometheusAddress,
    /// What was wrong, one sentence each.
    pub(crate) problems: Vec<String>,
}

/// What is wanted of one signal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SignalSettings {
    /// What its exporter variable names; `None`: it is not set.
    pub(crate) exporters: Option<Exporters>,
    /// Where OTLP goes and how; without an address, how it would go to one set in code.
    pub(crate) endpoint: EndpointSettings,
    /// Whether an address was found.
    pub(crate) has_endpoint: bool,
}

/// Exporters by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exporters {
    pub(crate) otlp: bool,
    pub(crate) console: bool,
    pub(crate) prometheus: bool,
}

/// `OTEL_PROPAGATORS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Propagators {
    pub(crate) trace_context: bool,
    pub(crate) baggage: bool,
}

/// `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrometheusAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Default for Environment {
    /// What an empty environment says.
    fn default() -> Self {
        read(|_| None)
    }
}

impl Default for Propagators {
    fn default() -> Self {
        Propagators { trace_context: true, baggage: true }
    }
}

/// Limits that may be set from outside; `None` leaves the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    pub(crate) attributes_per_span: Option<usize>,
    pub(crate) attribute_value_bytes: Option<usize>,
    pub(crate) name_bytes: Option<usize>,
    pub(crate) span_bytes: Option<usize>,
    pub(crate) events_per_span: Option<usize>,
    pub(crate) links_per_span: Option<usize>,
    pub(crate) attributes_per_event: Option<usize>,
    pub(crate) open_spans: Option<usize>,
    pub(crate) queue_bytes: Option<usize>,
    pub(crate) queue_spans: Option<usize>,
    pub(crate) run_spans: Option<usize>,
    pub(crate) run_bytes: Option<usize>,
    pub(crate) request_spans: Option<usize>,
    pub(crate) request_bytes: Option<usize>,
    pub(crate) requests_in_flight: Option<usize>,
    pub(crate) send_delay: Option<Duration>,
    pub(crate) shutdown_timeout: Option<Duration>,
}

/// Whether and where spans are kept on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpoolSettings {
    pub(crate) durability: Option<Durability>,
    pub(crate) is_off: bool,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) bytes: Option<usize>,
    pub(crate) segment_bytes: Option<usize>,
    pub(crate) fsync: Option<Fsync>,
}

/// Reads the variables through `get`.
pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Environment {
    let mut reader =
        Reader { get: |name: &str| get(name).filter(|value| !value.trim().is_empty()), problems: Vec::new() };
    let is_disabled = reader.flag(&["OTEL_SDK_DISABLED"]) | reader.flag(&["LONGPOLE_DISABLED"]);
    let (mut service_name, resource_attributes) = reader.resource();
    if let Some(name) = reader.text("OTEL_SERVICE_NAME") {
        service_name = Some(name);
    }
    reader.warn_of_what_is_not_read();
    let environment = Environment {
        is_disabled,
        prints_notes: reader.prints_notes(),
        traces: reader.signal("TRACES", "traces", "OTEL_BSP_EXPORT_TIMEOUT"),
        metrics: reader.signal("METRICS", "metrics", "OTEL_METRIC_EXPORT_TIMEOUT"),
        service_name,
        resource_attributes,
        limits: reader.limits(),
        spool: reader.spool(),
        metric_limits: reader.metric_limits(),
        privacy: reader.privacy(),
        cost: reader.cost(),
        propagators: reader.propagators(),
        sampler: reader.sampler(),
        metrics_interval: reader
            .millis(&["OTEL_METRIC_EXPORT_INTERVAL"])
            .filter(|interval| !interval.is_zero())
            .unwrap_or(Duration::from_secs(60)),
        #[cfg(feature = "otlp")]
        temporality: reader
            .choice(
                &["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"],
                &[
                    ("cumulative", Temporality::Cumulative),
                    ("delta", Temporality::Delta),
                    ("lowmemory", Temporality::LowMemory),
                ],
            )
            .unwrap_or_default(),
        #[cfg(feature = "otlp")]
        histogram_form: reader
            .choice(
                &["OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"],
                &[
                    ("base2_exponential_bucket_histogram", HistogramForm::Exponential),
                    ("explicit_bucket_histogram", HistogramForm::Explicit),
                ],
            )
            .unwrap_or_default(),
        prometheus: reader.prometheus(),
        problems: Vec::new(),
    };
    Environment { problems: reader.problems, ..environment }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::delivery::Protocol;
    use crate::sampler::RootSampler;

    fn read_from(variables: &[(&str, &str)]) -> Environment {
        read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_table_lists_what_is_read_and_nothing_else() {
        let asked = RefCell::new(BTreeSet::new());
        read(|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        let mut listed: BTreeSet<String> = table::names().into_iter().collect();
        listed.extend(["OTEL_CONFIG_FILE", "OTEL_ENTITIES"].map(str::to_owned));
        if cfg!(feature = "otlp") {
            assert_eq!(asked.into_inner(), listed);
        }
    }

    #[test]
    fn nothing_set_means_no_network() {
        for found in [read_from(&[]), read_from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")])] {
            assert_eq!(found, Environment::default());
            assert!(!found.traces.has_endpoint && !found.metrics.has_endpoint && !found.is_disabled);
            assert!(found.problems.is_empty());
        }
    }

    #[test]
    fn the_general_endpoint_gets_a_path_and_the_signals_own_is_used_as_it_is() {
        let endpoints = |variables: &[(&str, &str)]| {
            let found = read_from(variables);
            [found.traces, found.metrics].map(|s| if s.has_endpoint { s.endpoint.url } else { String::new() })
        };
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:1/base/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://host:2");
        assert_eq!(endpoints(&[general]), ["http://host:1/base/v1/traces", "http://host:1/base/v1/metrics"]);
        assert_eq!(endpoints(&[general, own]), ["http://host:2", "http://host:1/base/v1/metrics"]);
        assert_eq!(endpoints(&[own]), ["http://host:2", ""]);
        assert_eq!(
            endpoints(&[general, ("OTEL_TRACES_EXPORTER", "none")]),
            ["", "http://host:1/base/v1/metrics"]
        );
        assert_eq!(endpoints(&[general, ("OTEL_METRICS_EXPORTER", "NONE")])[1], "");
        assert_eq!(endpoints(&[("OTEL_TRACES_EXPORTER", "otlp")]), ["http://localhost:4318/v1/traces", ""]);
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC");
        assert_eq!(endpoints(&[grpc, general]), ["http://host:1/base/"; 2]);
        assert_eq!(endpoints(&[grpc, ("OTEL_METRICS_EXPORTER", "otlp")]), ["", "http://localhost:4317"]);
    }

    #[test]
    fn exporters_are_a_list() {
        let exporters = |value: &str| read_from(&[("OTEL_METRICS_EXPORTER", value)]);
        let found = exporters("console, Prometheus,otlp");
        let all = Exporters { otlp: true, console: true, prometheus: true };
        assert_eq!((found.metrics.exporters, found.problems.len()), (Some(all), 0));
        let found = exporters("zipkin");
        assert_eq!((found.metrics.exporters, found.problems.len()), (Some(Exporters::default()), 1));
        assert!(!found.metrics.has_endpoint);
        let found = read_from(&[("OTEL_TRACES_EXPORTER", "prometheus")]);
        assert!(found.problems[0].contains("otlp, console or none"), "{:?}", found.problems);
    }

    #[test]
    fn everything_about_an_endpoint_may_be_set_for_a_signal_or_for_all() {
        let found = read_from(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
            ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "false"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7000"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "8000"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "900"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "30000"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/traces.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/own.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/own.key"),
        ]);
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        let (traces, metrics) = (found.traces.endpoint, found.metrics.endpoint);
        assert_eq!((traces.protocol, metrics.protocol), (Protocol::Grpc, Protocol::HttpJson));
        assert_eq!((traces.is_compressed, metrics.is_compressed), (false, true));
        assert_eq!((traces.is_insecure, metrics.is_insecure), (true, false));
        assert_eq!(traces.timeout, Some(Duration::from_secs(7)));
        assert_eq!(metrics.timeout, Some(Duration::from_millis(900)));
        assert_eq!(traces.certificate, Some("/traces.pem".into()));
        assert_eq!(metrics.certificate, Some("/ca.pem".into()));
        assert_eq!(metrics.client_certificate, Some("/own.pem".into()));
        assert_eq!(traces.client_key, Some("/own.key".into()));
    }

    #[test]
    fn a_value_that_makes_no_sense_leaves_the_default_and_is_told_once() {
        let found = read_from(&[
            ("LONGPOLE_QUEUE_BYTES", "lots"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-5"),
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "12"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_METRICS_EXEMPLAR_FILTER", "some"),
            ("OTEL_EXPORTER_PROMETHEUS_PORT", "http"),
            ("OTEL_CONFIG_FILE", "otel.yaml"),
            ("OTEL_ENTITIES", "service{}"),
            ("OTEL_LOG_LEVEL", "loud"),
        ]);
        assert!(!found.is_disabled);
        assert_eq!(found.limits, LimitSettings { attributes_per_span: Some(12), ..LimitSettings::default() });
        assert_eq!(found.problems.len(), 13, "{:#?}", found.problems);
        assert!(found.problems.iter().any(|p| p.starts_with("LONGPOLE_QUEUE_BYTES=\"lots\" is not a size")));
        assert!(found.problems.iter().any(|p| p.contains("one of http/protobuf, http/json, grpc")));
    }

    #[test]
    fn samplers_and_propagators_have_the_names_of_the_specification() {
        let sampler = |name: &str, ratio: &str| {
            read_from(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", ratio)]).sampler
        };
        let expected = |is_parent_based, root| Sampler { is_parent_based, root };
        assert_eq!(sampler("", ""), expected(true, RootSampler::AlwaysOn));
        assert_eq!(sampler("always_off", ""), expected(false, RootSampler::AlwaysOff));
        assert_eq!(sampler("ParentBased_TraceIdRatio", "0.25"), expected(true, RootSampler::Ratio(0.25)));
        assert_eq!(sampler("traceidratio", ""), expected(false, RootSampler::Ratio(1.0)));
        let propagators = |value: &str| read_from(&[("OTEL_PROPAGATORS", value)]).propagators;
        assert_eq!(propagators(""), Propagators::default());
        assert_eq!(propagators("none"), Propagators { trace_context: false, baggage: false });
        assert_eq!(propagators("tracecontext"), Propagators { trace_context: true, baggage: false });
    }

    #[test]
    fn headers_are_decoded_overridden_by_signal_and_never_shown() {
        let found = read_from(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc, x=1,broken"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "X=100%"),
        ]);
        let pairs = |signal: &SignalSettings| -> Vec<(String, String)> { signal.endpoint.headers.clone() };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs(&found.traces), [pair("Authorization", "Basic abc"), pair("X", "100%")]);
        assert_eq!(pairs(&found.metrics), [pair("Authorization", "Basic abc"), pair("x", "1")]);
        assert!(!format!("{found:?}").contains("abc"));
        assert_eq!(found.problems.len(), 1);
    }

    #[test]
    fn the_service_name_variable_beats_the_resource() {
        let resource = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=test");
        let found = read_from(&[resource]);
        assert_eq!(found.service_name.as_deref(), Some("a"));
        assert_eq!(
            found.resource_attributes,
            [("deployment.environment.name".to_owned(), "test".to_owned())]
        );
        assert_eq!(read_from(&[resource, ("OTEL_SERVICE_NAME", "b")]).service_name.as_deref(), Some("b"));
    }
}
