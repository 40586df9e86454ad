//! How a command is told where to send its spans: what its environment is changed to, and what a person should know
//! about that.

/// Changes to the environment of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wiring {
    pub(crate) set: Vec<(&'static str, String)>,
    pub(crate) removed: Vec<&'static str>,
    /// What was set on purpose and is different for the command.
    pub(crate) notes: Vec<String>,
}

/// What the receiver reads; whatever of these an exporter was told to speak, it may go on.
const PROTOCOLS: [&str; 3] = ["http/protobuf", "grpc", "http/json"];
/// Half a second and more would be waited for at the end of short commands; the SDKs' own 5 s of spans would be lost
/// with a command that is killed.
const SCHEDULE_DELAY_MS: &str = "200";

/// What to change so that a command with the environment `get` sends its spans to `endpoint`, an address on loopback.
pub(crate) fn wiring(endpoint: &str, get: impl Fn(&str) -> Option<String>) -> Wiring {
    let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
    let mut wiring = Wiring::default();
    let before = get("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|before| before != endpoint);
    if let Some(before) = before {
        let text = format!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is {}; the command sends here instead",
            without_login(&before)
        );
        wiring.notes.push(text);
    }
    wiring.set.push(("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()));
    if let Some(before) = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        let text = format!(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is {}; it is unset for the command",
            without_login(&before)
        );
        wiring.notes.push(text);
        wiring.removed.push("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    }
    wire_protocols(&mut wiring, &get);
    wire_exporters(&mut wiring, &get);
    if get("OTEL_BSP_SCHEDULE_DELAY").is_none() {
        wiring.set.push(("OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS.to_owned()));
    }
    // What longpole's layer keeps on disk is shared by all programs of a service: what earlier ones left there for
    // their backend must not come here, nor what is left of this one go there.
    if get("LONGPOLE_SPOOL").is_some_and(|before| before != "off") {
        wiring.notes.push("LONGPOLE_SPOOL is off for the command: nothing is sent later".to_owned());
    }
    wiring.set.push(("LONGPOLE_SPOOL", "off".to_owned()));
    wire_proxies(&mut wiring, &get);
    if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        wiring.notes.push("OTEL_SDK_DISABLED is true, so the command may send nothing".to_owned());
    }
    wiring
}

fn wire_protocols(wiring: &mut Wiring, get: &impl Fn(&str) -> Option<String>) {
    let is_read = |value: &String| PROTOCOLS.contains(&value.trim());
    match get("OTEL_EXPORTER_OTLP_PROTOCOL") {
        Some(value) if is_read(&value) => {}
        before => {
            wiring.notes.extend(before.map(|before| {
                format!("OTEL_EXPORTER_OTLP_PROTOCOL is {before}, which is not read here; the command gets http/protobuf")
            }));
            wiring.set.push(("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()));
        }
    }
    if let Some(before) = get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").filter(|value| !is_read(value)) {
        let text = format!("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is {before}; it is unset for the command");
        wiring.notes.push(text);
        wiring.removed.push("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
    }
}

fn wire_exporters(wiring: &mut Wiring, get: &impl Fn(&str) -> Option<String>) {
    let traces = "OTEL_TRACES_EXPORTER";
    match get(traces) {
        // Python has exporters by the names `otlp_proto_http` and `otlp_proto_grpc` too.
        Some(value) if value.split(',').any(|exporter| exporter.trim().starts_with("otlp")) => {}
        before => {
            let note = before.map(|before| format!("{traces} is {before}; the command gets otlp"));
            wiring.notes.extend(note);
            wiring.set.push((traces, "otlp".to_owned()));
        }
    }
    // They would be counted and thrown away here, and cost the command time at its end.
    for (exporter, endpoint) in [
        ("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
        ("OTEL_LOGS_EXPORTER", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"),
    ] {
        if get(exporter).is_none() && get(endpoint).is_none() {
            wiring.set.push((exporter, "none".to_owned()));
        }
    }
}

/// Exporters that go through a proxy would ask it for an address on its own loopback.
fn wire_proxies(wiring: &mut Wiring, get: &impl Fn(&str) -> Option<String>) {
    let proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "grpc_proxy"];
    if proxies.iter().all(|name| get(name).is_none()) {
        return;
    }
    // Some libraries read the one, some the other.
    let before = get("no_proxy").or_else(|| get("NO_PROXY")).unwrap_or_default();
    if before.split(',').any(|host| matches!(host.trim(), "127.0.0.1" | "*")) {
        return;
    }
    let after = if before.is_empty() { "127.0.0.1".to_owned() } else { format!("{before},127.0.0.1") };
    wiring.set.push(("NO_PROXY", after.clone()));
    wiring.set.push(("no_proxy", after));
}

/// The value of a variable as it may be shown: without keys and passwords.
pub(crate) fn shown(name: &str, value: &str) -> String {
    if name.contains("HEADERS") || name.contains("KEY") { "…".to_owned() } else { without_login(value) }
}

/// An address without the name and password in it.
fn without_login(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((login, _)) => format!("{scheme}://…{}", rest.get(login.len()..).unwrap_or_default()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "http://127.0.0.1:45123";

    fn wired(environment: &[(&str, &str)]) -> Wiring {
        wiring(ENDPOINT, |name| {
            environment.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn value<'w>(wiring: &'w Wiring, name: &str) -> Option<&'w str> {
        wiring.set.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn an_empty_environment_gets_all_that_exporters_need_and_nothing_is_told() {
        let wiring = wired(&[("OTEL_TRACES_EXPORTER", " ")]);
        let expected = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none"),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("LONGPOLE_SPOOL", "off"),
        ];
        assert_eq!(wiring.set, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!((wiring.removed, wiring.notes), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_was_set_on_purpose_and_works_stays() {
        let wiring = wired(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_TRACES_EXPORTER", "console,otlp_proto_grpc"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs.example.com/v1/logs"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]);
        assert_eq!(wiring.set.len(), 2, "{wiring:?}");
        assert_eq!(value(&wiring, "OTEL_EXPORTER_OTLP_ENDPOINT"), Some(ENDPOINT));
        assert!(wiring.notes.is_empty() && wiring.removed.is_empty(), "{wiring:?}");
    }

    #[test]
    fn what_would_lead_spans_elsewhere_is_changed_and_told() {
        let wiring = wired(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel.example.com"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://otel.example.com/v1/traces"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "thrift"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "thrift"),
            ("OTEL_TRACES_EXPORTER", "console"),
            ("LONGPOLE_SPOOL", "on"),
            ("OTEL_SDK_DISABLED", "TRUE"),
        ]);
        assert_eq!(value(&wiring, "OTEL_TRACES_EXPORTER"), Some("otlp"));
        assert_eq!(value(&wiring, "OTEL_EXPORTER_OTLP_PROTOCOL"), Some("http/protobuf"));
        let removed = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"];
        assert_eq!(wiring.removed, removed);
        assert_eq!(wiring.notes.len(), 7, "{:?}", wiring.notes);
        // Started by `longpole run` itself, once more.
        assert!(
            wired(&[("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT), ("LONGPOLE_SPOOL", "off")]).notes.is_empty()
        );
    }

    #[test]
    fn a_proxy_is_not_asked_for_loopback() {
        let both = |wiring: &Wiring| {
            ["NO_PROXY", "no_proxy"].map(|name| value(wiring, name).unwrap_or_default().to_owned())
        };
        assert_eq!(both(&wired(&[("http_proxy", "http://proxy:3128")])), ["127.0.0.1", "127.0.0.1"]);
        let kept = wired(&[("HTTP_PROXY", "http://proxy:3128"), ("NO_PROXY", "example.com")]);
        assert_eq!(both(&kept), ["example.com,127.0.0.1"; 2]);
        let there = wired(&[("HTTP_PROXY", "http://proxy:3128"), ("no_proxy", "a, 127.0.0.1")]);
        assert_eq!(both(&there), ["", ""]);
    }

    #[test]
    fn no_password_is_shown() {
        let endpoint = "https://key:secret@otel.example.com/v1?user=a@b";
        let notes = wired(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).notes;
        assert!(notes[0].contains("https://…@otel.example.com/v1?user=a@b"), "{notes:?}");
        assert_eq!(shown("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret"), "…");
        assert_eq!(shown("OTEL_SERVICE_NAME", "desk@home"), "desk@home");
    }
}
