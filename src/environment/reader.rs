//! Reading single variables, and groups of them that belong together.

use std::path::PathBuf;
use std::time::Duration;

use crate::delivery::spool::{Durability, Fsync};
use crate::delivery::{EndpointSettings, Protocol};
use crate::metrics::store::{ExemplarFilter, MetricLimits};
use crate::privacy::mask;
use crate::sampler::{RootSampler, Sampler};

use super::{Exporters, LimitSettings, PrometheusAddress, Propagators, SignalSettings, SpoolSettings};

/// Reads variables through `get`, and gathers what was wrong.
pub(super) struct Reader<F> {
    pub(super) get: F,
    pub(super) problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.get)(name)
    }

    /// The first of `names` that is set, with its name.
    pub(super) fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, String)> {
        names.iter().find_map(|name| Some((*name, (self.get)(name)?)))
    }

    pub(super) fn problem(&mut self, name: &str, value: &str, wanted: &str, then: &str) {
        let value: String = mask(value, false).as_deref().unwrap_or(value).chars().take(80).collect();
        let told = format!("{name}={value:?} is not {wanted}; {then}");
        // A general variable is read for each signal.
        if !self.problems.contains(&told) {
            self.problems.push(told);
        }
    }

    pub(super) fn flag(&mut self, names: &[&str]) -> bool {
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
    pub(super) fn choice<T: Copy>(&mut self, names: &[&str], choices: &[(&str, T)]) -> Option<T> {
        let (name, text) = self.first(names)?;
        let chosen = one_of(&text, choices);
        if chosen.is_none() {
            let known: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
            self.problem(name, &text, &format!("one of {}", known.join(", ")), "the default is used");
        }
        chosen
    }

    pub(super) fn prints_notes(&mut self) -> bool {
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

    pub(super) fn warn_of_what_is_not_read(&mut self) {
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
    pub(super) fn signal(&mut self, own: &str, path: &str, export_timeout: &str) -> SignalSettings {
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
        let ours = self.time("LONGPOLE_TIMEOUT").filter(|timeout| !timeout.is_zero());
        let timeout = self.millis(&[&own_timeout, &timeout]).filter(|timeout| !timeout.is_zero());
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
                timeout: ours.or(match (timeout, export_timeout) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    // The request's own default is shorter than the default of the other.
                    (None, Some(other)) => Some(other.min(Duration::from_secs(10))),
                    (timeout, None) => timeout,
                }),
                max_backoff: self.time("LONGPOLE_RETRY_MAX_INTERVAL"),
                is_compressed,
                is_insecure,
                certificate,
                client_certificate,
                client_key,
            },
        }
    }

    pub(super) fn exporters(&mut self, name: &str, has_prometheus: bool) -> Option<Exporters> {
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

    pub(super) fn propagators(&mut self) -> Propagators {
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

    pub(super) fn sampler(&mut self) -> Sampler {
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

    pub(super) fn ratio(&mut self, name: &str) -> f64 {
        let Some(text) = self.text(name) else { return 1.0 };
        let ratio = text.trim().parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        if ratio.is_none() {
            self.problem(name, &text, "a share from 0 to 1", "everything is sampled");
        }
        ratio.unwrap_or(1.0)
    }

    pub(super) fn prometheus(&mut self) -> PrometheusAddress {
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

    pub(super) fn metric_limits(&mut self) -> MetricLimits {
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

    pub(super) fn headers(&mut self, names: &[&str]) -> Vec<(String, String)> {
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

    pub(super) fn resource(&mut self) -> (Option<String>, Vec<(String, String)>) {
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
                // The text may be the rest of a secret with a comma in it, so it is not repeated.
                None => {
                    let told = format!("{name} holds an entry that is not key=value; it is skipped");
                    if !self.problems.contains(&told) {
                        self.problems.push(told);
                    }
                }
            }
        }
        (service_name, attributes)
    }

    pub(super) fn number(&mut self, names: &[&str]) -> Option<usize> {
        let (name, text) = self.first(names)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.problem(name, &text, "a whole number", "the default is used");
        }
        number
    }

    pub(super) fn bytes(&mut self, name: &str) -> Option<usize> {
        let text = self.text(name)?;
        let bytes = parse_bytes(text.trim());
        if bytes.is_none() {
            self.problem(name, &text, "a size such as 65536, 512KiB or 16MiB", "the default is used");
        }
        bytes
    }

    pub(super) fn millis(&mut self, names: &[&str]) -> Option<Duration> {
        let (name, text) = self.first(names)?;
        let millis = text.trim().parse().ok().map(Duration::from_millis);
        if millis.is_none() {
            self.problem(name, &text, "a whole number of milliseconds", "the default is used");
        }
        millis
    }

    pub(super) fn time(&mut self, name: &str) -> Option<Duration> {
        let text = self.text(name)?;
        let time = parse_time(text.trim());
        if time.is_none() {
            self.problem(name, &text, "a time such as 500ms, 10s or 5m", "the default is used");
        }
        time
    }

    pub(super) fn spool(&mut self) -> SpoolSettings {
        let levels =
            [("normal", Durability::Normal), ("strict", Durability::Strict), ("memory", Durability::Memory)];
        let fsync = [("never", Fsync::Never), ("interval", Fsync::Interval), ("always", Fsync::Always)];
        let switch =
            [("on", false), ("true", false), ("1", false), ("off", true), ("false", true), ("0", true)];
        SpoolSettings {
            durability: self.choice(&["LONGPOLE_DURABILITY"], &levels),
            is_off: self.choice(&["LONGPOLE_SPOOL"], &switch).unwrap_or(false),
            folder: self.text("LONGPOLE_SPOOL_DIR").map(PathBuf::from),
            bytes: self.bytes("LONGPOLE_SPOOL_BYTES"),
            segment_bytes: self.bytes("LONGPOLE_SPOOL_SEGMENT_BYTES"),
            fsync: self.choice(&["LONGPOLE_SPOOL_FSYNC"], &fsync),
        }
    }

    pub(super) fn limits(&mut self) -> LimitSettings {
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
            name_bytes: self.bytes("LONGPOLE_SPAN_NAME_BYTES"),
            span_bytes: self.bytes("LONGPOLE_SPAN_BYTES"),
            events_per_span: self.number(&["LONGPOLE_SPAN_EVENT_COUNT", "OTEL_SPAN_EVENT_COUNT_LIMIT"]),
            links_per_span: self.number(&["LONGPOLE_SPAN_LINK_COUNT", "OTEL_SPAN_LINK_COUNT_LIMIT"]),
            attributes_per_event: self.number(&["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"]),
            open_spans: self.number(&["LONGPOLE_OPEN_SPANS"]),
            queue_bytes: self.bytes("LONGPOLE_QUEUE_BYTES"),
            queue_spans: self.number(&["LONGPOLE_QUEUE_SPANS", "OTEL_BSP_MAX_QUEUE_SIZE"]),
            run_spans: self.number(&["LONGPOLE_RUN_SPANS"]),
            run_bytes: self.bytes("LONGPOLE_RUN_BYTES"),
            request_spans: self.number(&["LONGPOLE_BATCH_SPANS", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
            request_bytes: self.bytes("LONGPOLE_BATCH_BYTES"),
            requests_in_flight: self.number(&["LONGPOLE_INFLIGHT", "OTEL_BSP_MAX_CONCURRENT_EXPORTS"]),
            shutdown_timeout: self.time("LONGPOLE_SHUTDOWN_TIMEOUT"),
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

/// `10000` and `10000ms`, `10s`, `5m`, `1h`.
fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let millis: u64 = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
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
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("250"), Some(Duration::from_millis(250)));
        assert_eq!(parse_time("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_time("10 s"), Some(Duration::from_secs(10)));
        assert_eq!(parse_time("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse_time("1h"), Some(Duration::from_secs(3_600)));
        for nonsense in ["s", "-1s", "1.5s", "1d", "99999999999999999999", "18446744073709551615h"] {
            assert_eq!(parse_time(nonsense), None, "{nonsense}");
        }
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
