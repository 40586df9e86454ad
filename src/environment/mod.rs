//! What the environment variables say.
//!
//! Variables are read through a function, once, when a pipeline is built. As OpenTelemetry rules: an empty variable
//! is an unset one, a signal's own variable beats the general one, and a value that makes no sense is told about
//! once and leaves the default.

#[cfg(test)]
mod table;

use std::path::PathBuf;
use std::time::Duration;

use crate::delivery::{EndpointSettings, Protocol};
use crate::metrics::store::{ExemplarFilter, MetricLimits};
use crate::sampler::{RootSampler, Sampler};

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
    pub(crate) metric_limits: MetricLimits,
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
        metric_limits: reader.metric_limits(),
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

struct Reader<F> {
    get: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name)
    }

    /// The first of `names` that is set, with its name.
    fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, String)> {
        names.iter().find_map(|name| Some((*name, (self.get)(name)?)))
    }

    fn problem(&mut self, name: &str, value: &str, wanted: &str, then: &str) {
        let value: String = value.chars().take(80).collect();
        let told = format!("{name}={value:?} is not {wanted}; {then}");
        // A general variable is read for each signal.
        if !self.problems.contains(&told) {
            self.problems.push(told);
        }
    }

    fn flag(&mut self, names: &[&str]) -> bool {
        let choices = [("true", true), ("1", true), ("false", false), ("0", false)];
        let Some((name, text)) = self.first(names) else { return false };
        match one_of(&text, &choices) {
            Some(flag) => flag,
            None => {
                self.problem(name, &text, "true or false", "it counts as false");
                false
            }
        }
    }

    /// What the first of `names` that is set chooses; names of choices are case-insensitive.
    fn choice<T: Copy>(&mut self, names: &[&str], choices: &[(&str, T)]) -> Option<T> {
        let (name, text) = self.first(names)?;
        let chosen = one_of(&text, choices);
        if chosen.is_none() {
            let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
            self.problem(name, &text, &format!("one of {}", known.join(", ")), "the default is used");
        }
        chosen
    }

    fn prints_notes(&mut self) -> bool {
        let levels = [
            ("none", false),
            ("error", false),
            ("warn", true),
            ("info", true),
            ("debug", true),
            ("trace", true),
        ];
        self.choice(&["OTEL_LOG_LEVEL"], &levels).unwrap_or(true)
    }

    fn warn_of_what_is_not_read(&mut self) {
        if self.text("OTEL_CONFIG_FILE").is_some() {
            self.problems.push(
                "OTEL_CONFIG_FILE is set, but longpole reads no configuration file; it goes by the other variables"
                    .to_owned(),
            );
        }
        if self.text("OTEL_ENTITIES").is_some() {
            self.problems.push(
                "OTEL_ENTITIES is set, but longpole does not read it; OTEL_RESOURCE_ATTRIBUTES it does"
                    .to_owned(),
            );
        }
    }

    /// `own`: the signal's name in variables; `path`: in the path of its address.
    fn signal(&mut self, own: &str, path: &str, export_timeout: &str) -> SignalSettings {
        let exporters = self.exporters(&format!("OTEL_{own}_EXPORTER"), own == "METRICS");
        let name =
            |what: &str| [format!("OTEL_EXPORTER_OTLP_{own}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
        let [own_protocol, protocol] = name("PROTOCOL");
        let protocol = self
            .choice(
                &[&own_protocol, &protocol],
                &[
                    ("http/protobuf", Protocol::HttpProtobuf),
                    ("http/json", Protocol::HttpJson),
                    ("grpc", Protocol::Grpc),
                ],
            )
            .unwrap_or_default();
        let [own_endpoint, endpoint] = name("ENDPOINT");
        let with_path = |base: &str| match protocol {
            Protocol::Grpc => base.trim().to_owned(),
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                format!("{}/v1/{path}", base.trim().trim_end_matches('/'))
            }
        };
        let default = match protocol {
            Protocol::Grpc => "http://localhost:4317",
            Protocol::HttpProtobuf | Protocol::HttpJson => "http://localhost:4318",
        };
        let given = self.text(&own_endpoint).map(|url| url.trim().to_owned());
        let given = given.or_else(|| self.text(&endpoint).map(|base| with_path(&base)));
        let asked_for = exporters.is_some_and(|exporters| exporters.otlp).then(|| with_path(default));
        let url = given.or(asked_for).filter(|_| exporters.is_none_or(|exporters| exporters.otlp));
        let [own_timeout, timeout] = name("TIMEOUT");
        let timeout = self.millis(&[&own_timeout, &timeout]);
        let export_timeout = self.millis(&[export_timeout]).filter(|timeout| !timeout.is_zero());
        let [own_compression, compression] = name("COMPRESSION");
        let is_compressed = self
            .choice(&[&own_compression, &compression], &[("gzip", true), ("none", false)])
            .unwrap_or(false);
        let [own_insecure, insecure] = name("INSECURE");
        let is_insecure = self.flag(&[&own_insecure, &insecure]);
        let file = |what: &str| {
            let [own, general] = name(what);
            self.first(&[&own, &general]).map(|(_, path)| PathBuf::from(path.trim()))
        };
        let certificate = file("CERTIFICATE");
        let client_certificate = file("CLIENT_CERTIFICATE");
        let client_key = file("CLIENT_KEY");
        let [own_headers, headers] = name("HEADERS");
        SignalSettings {
            exporters,
            has_endpoint: url.is_some(),
            endpoint: EndpointSettings {
                url: url.unwrap_or_default(),
                protocol,
                headers: self.headers(&[&headers, &own_headers]),
                timeout: match (timeout, export_timeout) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    // The request's own default is shorter than the default of the other.
                    (None, Some(other)) => Some(other.min(Duration::from_secs(10))),
                    (timeout, None) => timeout,
                },
                is_compressed,
                is_insecure,
                certificate,
                client_certificate,
                client_key,
            },
        }
    }

    fn exporters(&mut self, name: &str, has_prometheus: bool) -> Option<Exporters> {
        let text = self.text(name)?;
        let mut exporters = Exporters::default();
        for one in text.split(',').map(|one| one.trim().to_ascii_lowercase()).filter(|one| !one.is_empty()) {
            match one.as_str() {
                "otlp" => exporters.otlp = true,
                "console" | "otlp/stdout" => exporters.console = true,
                "prometheus" if has_prometheus => exporters.prometheus = true,
                "none" => {}
                _ => {
                    let wanted = if has_prometheus {
                        "otlp, console, prometheus or none"
                    } else {
                        "otlp, console or none"
                    };
                    self.problem(name, &one, wanted, "it is left out");
                }
            }
        }
        Some(exporters)
    }

    fn propagators(&mut self) -> Propagators {
        let name = "OTEL_PROPAGATORS";
        let Some(text) = self.text(name) else { return Propagators::default() };
        let mut propagators = Propagators { trace_context: false, baggage: false };
        for one in text.split(',').map(|one| one.trim().to_ascii_lowercase()).filter(|one| !one.is_empty()) {
            match one.as_str() {
                "tracecontext" => propagators.trace_context = true,
                "baggage" => propagators.baggage = true,
                "none" => {}
                _ => self.problem(name, &one, "tracecontext, baggage or none", "it is left out"),
            }
        }
        propagators
    }

    fn sampler(&mut self) -> Sampler {
        let ratio = self.ratio("OTEL_TRACES_SAMPLER_ARG");
        let sampler = |is_parent_based, root| Sampler { is_parent_based, root };
        let choices = [
            ("always_on", sampler(false, RootSampler::AlwaysOn)),
            ("always_off", sampler(false, RootSampler::AlwaysOff)),
            ("traceidratio", sampler(false, RootSampler::Ratio(ratio))),
            ("parentbased_always_on", sampler(true, RootSampler::AlwaysOn)),
            ("parentbased_always_off", sampler(true, RootSampler::AlwaysOff)),
            ("parentbased_traceidratio", sampler(true, RootSampler::Ratio(ratio))),
        ];
        self.choice(&["OTEL_TRACES_SAMPLER"], &choices).unwrap_or_default()
    }

    fn ratio(&mut self, name: &str) -> f64 {
        let Some(text) = self.text(name) else { return 1.0 };
        let ratio = text.trim().parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        if ratio.is_none() {
            self.problem(name, &text, "a share from 0 to 1", "everything is sampled");
        }
        ratio.unwrap_or(1.0)
    }

    fn prometheus(&mut self) -> PrometheusAddress {
        let name = "OTEL_EXPORTER_PROMETHEUS_PORT";
        let port = self.text(name).and_then(|text| {
            let port = text.trim().parse::<u16>().ok();
            if port.is_none() {
                self.problem(name, &text, "a port", "the default is used");
            }
            port
        });
        PrometheusAddress {
            host: self.text("OTEL_EXPORTER_PROMETHEUS_HOST").unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: port.unwrap_or(9_090),
        }
    }

    fn metric_limits(&mut self) -> MetricLimits {
        let defaults = MetricLimits::default();
        let stale = self.number(&["LONGPOLE_METRIC_STALE_SECONDS"]).map(|seconds| seconds as u64);
        MetricLimits {
            nodes: self.number(&["LONGPOLE_NODE_CARDINALITY"]).unwrap_or(defaults.nodes),
            series: self.number(&["LONGPOLE_METRIC_CARDINALITY"]).unwrap_or(defaults.series),
            stale_after: stale.map_or(defaults.stale_after, crate::time::Duration::from_secs),
            exemplars: self
                .choice(
                    &["OTEL_METRICS_EXEMPLAR_FILTER"],
                    &[
                        ("trace_based", ExemplarFilter::TraceBased),
                        ("always_on", ExemplarFilter::AlwaysOn),
                        ("always_off", ExemplarFilter::AlwaysOff),
                    ],
                )
                .unwrap_or(defaults.exemplars),
        }
    }

    fn headers(&mut self, names: &[&str]) -> Vec<(String, String)> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for name in names {
            let Some(text) = self.text(name) else { continue };
            for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
                match key_and_value(pair) {
                    Some((key, value)) => {
                        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&key));
                        headers.push((key, value));
                    }
                    // The text may hold a secret, so it is not repeated.
                    None => {
                        let told = format!("{name} holds an entry that is not key=value; it is skipped");
                        if !self.problems.contains(&told) {
                            self.problems.push(told);
                        }
                    }
                }
            }
        }
        headers
    }

    fn resource(&mut self) -> (Option<String>, Vec<(String, String)>) {
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let Some(text) = self.text(name) else { return (None, Vec::new()) };
        let mut service_name = None;
        let mut attributes: Vec<(String, String)> = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            match key_and_value(pair) {
                Some((key, value)) if key == "service.name" => service_name = Some(value),
                Some((key, value)) => {
                    attributes.retain(|(known, _)| *known != key);
                    attributes.push((key, value));
                }
                None => self.problem(name, pair, "key=value", "it is skipped"),
            }
        }
        (service_name, attributes)
    }

    fn number(&mut self, names: &[&str]) -> Option<usize> {
        let (name, text) = self.first(names)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.problem(name, &text, "a whole number", "the default is used");
        }
        number
    }

    fn bytes(&mut self, name: &str) -> Option<usize> {
        let text = self.text(name)?;
        let bytes = parse_bytes(text.trim());
        if bytes.is_none() {
            self.problem(name, &text, "a size such as 65536, 512KiB or 16MiB", "the default is used");
        }
        bytes
    }

    fn millis(&mut self, names: &[&str]) -> Option<Duration> {
        let (name, text) = self.first(names)?;
        let millis = text.trim().parse().ok().map(Duration::from_millis);
        if millis.is_none() {
            self.problem(name, &text, "a whole number of milliseconds", "the default is used");
        }
        millis
    }

    fn limits(&mut self) -> LimitSettings {
        LimitSettings {
            attributes_per_span: self.number(&[
                "LONGPOLE_SPAN_ATTR_COUNT",
                "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
                "OTEL_ATTRIBUTE_COUNT_LIMIT",
            ]),
            attribute_value_bytes: self.number(&[
                "LONGPOLE_ATTR_VALUE_BYTES",
                "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
                "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            ]),
            events_per_span: self.number(&["LONGPOLE_SPAN_EVENT_COUNT", "OTEL_SPAN_EVENT_COUNT_LIMIT"]),
            links_per_span: self.number(&["LONGPOLE_SPAN_LINK_COUNT", "OTEL_SPAN_LINK_COUNT_LIMIT"]),
            attributes_per_event: self.number(&["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"]),
            open_spans: self.number(&["LONGPOLE_OPEN_SPANS"]),
            queue_bytes: self.bytes("LONGPOLE_QUEUE_BYTES"),
            queue_spans: self.number(&["OTEL_BSP_MAX_QUEUE_SIZE"]),
            run_spans: self.number(&["LONGPOLE_RUN_SPANS"]),
            run_bytes: self.bytes("LONGPOLE_RUN_BYTES"),
            request_spans: self.number(&["LONGPOLE_BATCH_SPANS", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
            request_bytes: self.bytes("LONGPOLE_BATCH_BYTES"),
            requests_in_flight: self.number(&["LONGPOLE_INFLIGHT", "OTEL_BSP_MAX_CONCURRENT_EXPORTS"]),
            send_delay: self.millis(&["OTEL_BSP_SCHEDULE_DELAY"]),
        }
    }
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Option<T> {
    let text = text.trim();
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, chosen)| *chosen)
}

/// `key=value` with W3C baggage encoding: spaces around both do not count, percent escapes in the value do.
fn key_and_value(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=')?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), percent_decoded(value.trim())))
}

/// What is no valid escape stays as it is.
fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Into::into)
}

/// `65536`, `512KiB`, `16MiB`, `2GiB`, also with `KB`, `MB`, `GB` for powers of ten.
fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

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

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(parse_bytes("16MiB"), Some(16 << 20));
        assert_eq!(parse_bytes("2 MB"), Some(2_000_000));
        assert_eq!(parse_bytes("7"), Some(7));
        assert_eq!(parse_bytes("99999999999999999999"), None);
        assert_eq!(parse_bytes("-1"), None);
    }
}
