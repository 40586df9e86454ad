//! What the environment variables say.
//!
//! Variables are read through a function, once, when a pipeline is built. As OpenTelemetry rules: an empty variable
//! is an unset one, a signal's own variable beats the general one, and a value that makes no sense is told about
//! once and leaves the default.

use std::time::Duration;

/// What was found, with everything that made no sense in [`Environment::problems`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Environment {
    /// `OTEL_SDK_DISABLED` or `LONGPOLE_DISABLED`.
    pub(crate) is_disabled: bool,
    /// Where traces go, complete: `http://localhost:4318/v1/traces`. `None`: nowhere.
    pub(crate) traces_endpoint: Option<String>,
    /// Extra request headers, values as sent.
    pub(crate) headers: Headers,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`.
    pub(crate) timeout: Option<Duration>,
    /// `OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(crate) service_name: Option<String>,
    /// The rest of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(crate) resource_attributes: Vec<(String, String)>,
    /// Limits that were set.
    pub(crate) limits: LimitSettings,
    /// What was wrong, one sentence each.
    pub(crate) problems: Vec<String>,
}

/// Request headers. `Debug` shows names only: values are secrets.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
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
    pub(crate) run_spans: Option<usize>,
    pub(crate) run_bytes: Option<usize>,
    pub(crate) request_spans: Option<usize>,
    pub(crate) request_bytes: Option<usize>,
    pub(crate) requests_in_flight: Option<usize>,
    pub(crate) send_delay: Option<Duration>,
}

/// The default where `OTEL_TRACES_EXPORTER=otlp` asks for OTLP and no endpoint is set.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";

/// Reads the variables through `get`.
pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Environment {
    let mut reader =
        Reader { get: |name: &str| get(name).filter(|value| !value.trim().is_empty()), problems: Vec::new() };
    let is_disabled = reader.flag("OTEL_SDK_DISABLED") | reader.flag("LONGPOLE_DISABLED");
    let traces_endpoint = reader.traces_endpoint();
    let (mut service_name, resource_attributes) = reader.resource();
    if let Some(name) = reader.text("OTEL_SERVICE_NAME") {
        service_name = Some(name);
    }
    Environment {
        is_disabled,
        traces_endpoint,
        headers: reader.headers(),
        timeout: reader.millis(&["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]),
        service_name,
        resource_attributes,
        limits: reader.limits(),
        problems: reader.problems,
    }
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
        self.problems.push(format!("{name}={value:?} is not {wanted}; {then}"));
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.text(name).map(|value| value.trim().to_ascii_lowercase()) {
            None => false,
            Some(value) if value == "true" || value == "1" => true,
            Some(value) if value == "false" || value == "0" => false,
            Some(value) => {
                self.problem(name, &value, "true or false", "it counts as false");
                false
            }
        }
    }

    fn traces_endpoint(&mut self) -> Option<String> {
        let exporter = self.text("OTEL_TRACES_EXPORTER").map(|value| value.trim().to_ascii_lowercase());
        match exporter.as_deref() {
            Some("none") => return None,
            None | Some("otlp") => {}
            Some(other) => {
                let other = other.to_owned();
                self.problem(
                    "OTEL_TRACES_EXPORTER",
                    &other,
                    "otlp or none",
                    "traces are exported as with otlp",
                );
            }
        }
        let own = self.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").map(|url| url.trim().to_owned());
        let general = self.text("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| with_path(&base));
        let asked_for = exporter.is_some().then(|| with_path(DEFAULT_ENDPOINT));
        let endpoint = own.or(general).or(asked_for)?;
        let protocol = self.first(&["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
        if let Some((name, protocol)) = protocol
            && !protocol.trim().eq_ignore_ascii_case("http/protobuf")
        {
            self.problem(name, &protocol, "http/protobuf, the one protocol here", "http/protobuf is used");
        }
        Some(endpoint)
    }

    fn headers(&mut self) -> Headers {
        let mut headers: Vec<(String, String)> = Vec::new();
        for name in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"] {
            let Some(text) = self.text(name) else { continue };
            for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
                match key_and_value(pair) {
                    Some((key, value)) => {
                        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&key));
                        headers.push((key, value));
                    }
                    // The text may hold a secret, so it is not repeated.
                    None => self
                        .problems
                        .push(format!("{name} holds an entry that is not key=value; it is skipped")),
                }
            }
        }
        Headers(headers)
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
            run_spans: self.number(&["LONGPOLE_RUN_SPANS"]),
            run_bytes: self.bytes("LONGPOLE_RUN_BYTES"),
            request_spans: self.number(&["LONGPOLE_BATCH_SPANS", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
            request_bytes: self.bytes("LONGPOLE_BATCH_BYTES"),
            requests_in_flight: self.number(&["LONGPOLE_INFLIGHT", "OTEL_BSP_MAX_CONCURRENT_EXPORTS"]),
            send_delay: self.millis(&["OTEL_BSP_SCHEDULE_DELAY"]),
        }
    }
}

fn with_path(base: &str) -> String {
    format!("{}/v1/traces", base.trim().trim_end_matches('/'))
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
    use super::*;

    fn read_from(variables: &[(&str, &str)]) -> Environment {
        read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nothing_set_means_no_network() {
        assert_eq!(read_from(&[]), Environment::default());
        assert_eq!(read_from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Environment::default());
    }

    #[test]
    fn the_general_endpoint_gets_a_path_and_the_signals_own_is_used_as_it_is() {
        let endpoint = |variables: &[(&str, &str)]| read_from(variables).traces_endpoint;
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:1/base/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://host:2");
        assert_eq!(endpoint(&[general]).as_deref(), Some("http://host:1/base/v1/traces"));
        assert_eq!(endpoint(&[general, own]).as_deref(), Some("http://host:2"));
        assert_eq!(endpoint(&[general, ("OTEL_TRACES_EXPORTER", "none")]), None);
        let asked = endpoint(&[("OTEL_TRACES_EXPORTER", "otlp")]);
        assert_eq!(asked.as_deref(), Some("http://localhost:4318/v1/traces"));
    }

    #[test]
    fn a_value_that_makes_no_sense_leaves_the_default_and_is_told_once() {
        let found = read_from(&[
            ("LONGPOLE_QUEUE_BYTES", "lots"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-5"),
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "12"),
        ]);
        assert!(!found.is_disabled);
        assert_eq!(found.limits, LimitSettings { attributes_per_span: Some(12), ..LimitSettings::default() });
        assert_eq!(found.problems.len(), 3);
        assert!(found.problems.iter().any(|p| p.starts_with("LONGPOLE_QUEUE_BYTES=\"lots\" is not a size")));
    }

    #[test]
    fn headers_are_decoded_overridden_by_signal_and_never_shown() {
        let found = read_from(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc, x=1,broken"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "X=100%"),
        ]);
        let pairs: Vec<_> = found.headers.0.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("Authorization", "Basic abc"), ("X", "100%")]);
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
