//! Every variable longpole reads, in one table. The page `docs/environment.md` is made from it, and a test holds
//! both against the code that reads.

/// One variable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable {
    /// With `*` where a signal's own name may stand: `OTEL_EXPORTER_OTLP_*ENDPOINT` is
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, and with `TRACES_` or `METRICS_` in its place that signal's own.
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(super) meaning: &'static str,
}

/// A heading and what stands under it.
pub(crate) type Section = (&'static str, &'static [Variable]);

macro_rules! variables {
    ($($name:literal, $default:literal, $meaning:literal;)*) => {
        &[$(Variable { name: $name, default: $default, meaning: $meaning },)*]
    };
}

pub(crate) const SECTIONS: &[Section] = &[
    (
        "Switching",
        variables! {
            "OTEL_SDK_DISABLED", "`false`", "`true`: the layer does nothing and no thread is started.";
            "LONGPOLE_DISABLED", "`false`", "The same for longpole alone.";
            "OTEL_LOG_LEVEL", "`info`", "What longpole may print about itself where it prints reports: `none` and `error` silence its notes, `warn` and above print them.";
        },
    ),
    (
        "Who is sending",
        variables! {
            "OTEL_SERVICE_NAME", "the workflow's name", "`service.name`; beats the one in `OTEL_RESOURCE_ATTRIBUTES`.";
            "OTEL_RESOURCE_ATTRIBUTES", "none", "`key=value` pairs, separated by commas, values percent-encoded.";
        },
    ),
    (
        "Where to send",
        variables! {
            "OTEL_TRACES_EXPORTER", "`otlp` if an endpoint is set, else nothing", "`otlp`, `console` (OTLP JSON lines on stdout), `none`; several with commas. Set to `otlp` without an endpoint: the default endpoint.";
            "OTEL_METRICS_EXPORTER", "as for traces", "`otlp`, `console`, `prometheus` (with the feature of that name), `none`.";
            "OTEL_EXPORTER_OTLP_*ENDPOINT", "`http://localhost:4318`, for gRPC `http://localhost:4317`", "The general one is a base: over HTTP `/v1/traces` or `/v1/metrics` is appended. A signal's own is used as it is. For gRPC the scheme may be missing.";
            "OTEL_EXPORTER_OTLP_*PROTOCOL", "`http/protobuf`", "`http/protobuf`, `http/json`, `grpc`.";
            "OTEL_EXPORTER_OTLP_*HEADERS", "none", "`key=value` pairs, separated by commas, values percent-encoded. A signal's own are added to the general ones and beat them.";
            "OTEL_EXPORTER_OTLP_*TIMEOUT", "`10000`", "How long one request may take, in milliseconds.";
            "LONGPOLE_TIMEOUT", "`10s`", "The same for all signals, with a unit: `500ms`, `10s`. Beats every other timeout of a request.";
            "LONGPOLE_RETRY_MAX_INTERVAL", "`30s`", "The longest wait before a request that found no backend is sent again; waits double up to it.";
            "OTEL_EXPORTER_OTLP_*COMPRESSION", "`none`", "`gzip` or `none`.";
            "OTEL_EXPORTER_OTLP_*INSECURE", "`false`", "`true`: no TLS for a gRPC endpoint that names no scheme.";
            "OTEL_EXPORTER_OTLP_*CERTIFICATE", "the system's", "A PEM file of the certificates to trust.";
            "OTEL_EXPORTER_OTLP_*CLIENT_CERTIFICATE", "none", "A PEM file: the certificate chain to show (mTLS).";
            "OTEL_EXPORTER_OTLP_*CLIENT_KEY", "none", "A PEM file: its private key.";
        },
    ),
    (
        "Context and sampling",
        variables! {
            "OTEL_PROPAGATORS", "`tracecontext,baggage`", "`tracecontext`, `baggage`, `none`.";
            "OTEL_TRACES_SAMPLER", "`parentbased_always_on`", "`always_on`, `always_off`, `traceidratio`, and each with `parentbased_`. Decides what is exported; everything is measured and reported.";
            "OTEL_TRACES_SAMPLER_ARG", "`1`", "The share of traces for `traceidratio`, 0–1.";
        },
    ),
    (
        "Privacy",
        variables! {
            "LONGPOLE_CAPTURE_CONTENT", "`false`", "Whether what people and models say, and what tools are given and give, is exported: `true`, `false`, `SPAN_ONLY`, `EVENT_ONLY`, `SPAN_AND_EVENT`, `NO_CONTENT`. See [privacy.md](privacy.md).";
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "`false`", "The same.";
            "LONGPOLE_CONTENT_BYTES", "`16KiB`", "Bytes of one such value; longer ones are cut and end in `…`.";
            "LONGPOLE_REDACT", "none", "Patterns of further keys whose values are not exported, separated by commas: `customer.*,iban`.";
            "LONGPOLE_REDACT_VALUES", "`on`", "`off`: text is not searched for what looks like a secret.";
        },
    ),
    (
        "Cost",
        variables! {
            "LONGPOLE_PRICES", "the table that comes with longpole", "A file with the prices of models: see [prices.md](prices.md). One that cannot be used is told, with the place.";
            "LONGPOLE_COST_MIRROR", "none", "In whose words costs are exported too, separated by commas: `gen_ai`, `openinference`, `mlflow`, `langfuse`.";
        },
    ),
    (
        "Batches",
        variables! {
            "OTEL_BSP_SCHEDULE_DELAY", "`200`", "How long a request that is not full waits for more spans, in milliseconds.";
            "OTEL_BSP_EXPORT_TIMEOUT", "none", "How long one request with spans may take, in milliseconds, if that is less than `OTEL_EXPORTER_OTLP_TIMEOUT`.";
            "OTEL_BSP_MAX_QUEUE_SIZE", "none", "Spans that may wait for the backend; their bytes are bounded anyway.";
            "LONGPOLE_QUEUE_SPANS", "none", "The same.";
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "`2048`", "Spans in a request.";
            "LONGPOLE_BATCH_SPANS", "`2048`", "The same.";
            "LONGPOLE_BATCH_BYTES", "`1MiB`", "Bytes in a request.";
            "OTEL_BSP_MAX_CONCURRENT_EXPORTS", "`4`", "Requests on their way at once.";
            "LONGPOLE_INFLIGHT", "`4`", "The same.";
            "LONGPOLE_SHUTDOWN_TIMEOUT", "`2s`", "How long a shutdown that is given no time of its own waits for what is left, with a unit.";
            "LONGPOLE_QUEUE_BYTES", "`16MiB`", "Bytes of finished spans that may wait, once for the pipeline and once for the backend.";
        },
    ),
    (
        "Spans on disk",
        variables! {
            "LONGPOLE_SPOOL", "`on`", "Whether spans that are sent over OTLP are kept on disk until they are acknowledged: `on` or `off`.";
            "LONGPOLE_SPOOL_DIR", "`$XDG_STATE_HOME/longpole/spool`, else `~/.local/state/longpole/spool`", "Where. Programs of one service share what is there.";
            "LONGPOLE_SPOOL_BYTES", "`256MiB`", "How much a process keeps there, and no more than a twentieth of the disk's free space.";
            "LONGPOLE_SPOOL_SEGMENT_BYTES", "`8MiB`", "How long one file gets.";
            "LONGPOLE_SPOOL_FSYNC", "`interval`", "When what was written is brought to the disk, which only matters if the machine crashes: `never`, `interval` (each second), `always`.";
            "LONGPOLE_DURABILITY", "`normal`", "`normal`: in a file a millisecond after the close. `strict`: when the close returns. `memory`: in no file.";
        },
    ),
    (
        "Limits of spans and runs",
        variables! {
            "LONGPOLE_SPAN_ATTR_COUNT", "`128`", "Attributes of a span.";
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "`128`", "The same.";
            "OTEL_ATTRIBUTE_COUNT_LIMIT", "`128`", "The same, unless the one above is set.";
            "LONGPOLE_ATTR_VALUE_BYTES", "`4096`", "Bytes of an attribute's value; longer ones are cut and end in `…`.";
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "`4096`", "The same.";
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "`4096`", "The same, unless the one above is set.";
            "LONGPOLE_SPAN_NAME_BYTES", "`256`", "Bytes of a name given with `otel.name`; longer ones are cut.";
            "LONGPOLE_SPAN_BYTES", "`64KiB`", "Bytes of a span's attributes, events and links together.";
            "LONGPOLE_SPAN_EVENT_COUNT", "`128`", "Events of a span.";
            "OTEL_SPAN_EVENT_COUNT_LIMIT", "`128`", "The same.";
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "`32`", "Attributes of an event.";
            "LONGPOLE_SPAN_LINK_COUNT", "`128`", "Links of a span.";
            "OTEL_SPAN_LINK_COUNT_LIMIT", "`128`", "The same.";
            "LONGPOLE_OPEN_SPANS", "`100000`", "Spans that may be open at once, with 335 bytes of memory for each on average. Past it the oldest are exported as `partial`.";
            "LONGPOLE_RUN_SPANS", "`1000000`", "Spans of one run that are analysed.";
            "LONGPOLE_RUN_BYTES", "`256MiB`", "Bytes of all runs that are being put together.";
        },
    ),
    (
        "Metrics",
        variables! {
            "OTEL_METRIC_EXPORT_INTERVAL", "`60000`", "Time between two exports, in milliseconds.";
            "OTEL_METRIC_EXPORT_TIMEOUT", "`30000`", "How long one request with metrics may take, in milliseconds, if that is less than `OTEL_EXPORTER_OTLP_TIMEOUT`.";
            "OTEL_METRICS_EXEMPLAR_FILTER", "`trace_based`", "`trace_based` (values whose trace is exported), `always_on`, `always_off`.";
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "`cumulative`", "`cumulative`, `delta`, `lowmemory`.";
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "`base2_exponential_bucket_histogram`", "Or `explicit_bucket_histogram`.";
            "OTEL_EXPORTER_PROMETHEUS_HOST", "`127.0.0.1`", "Where the page for Prometheus listens.";
            "OTEL_EXPORTER_PROMETHEUS_PORT", "`9090`", "And on which port.";
            "LONGPOLE_NODE_CARDINALITY", "`2000`", "Nodes with metrics of their own; further ones share `__other__`.";
            "LONGPOLE_METRIC_CARDINALITY", "`2000`", "Label sets of a metric beyond that.";
            "LONGPOLE_METRIC_STALE_SECONDS", "`3600`", "A series that did not change for so long ends.";
        },
    ),
];

/// Variables of MLflow's own, which only `mlflow_from_env` reads.
pub(super) const MLFLOW: &[Variable] = variables! {
    "MLFLOW_TRACKING_URI", "none", "The address of the tracking server, `http` or `https`. Without it nothing is logged.";
    "MLFLOW_EXPERIMENT_NAME", "`Default`", "The experiment runs are logged under. It is made if there is none.";
    "MLFLOW_EXPERIMENT_ID", "`0`", "The same by its id, which beats the name.";
    "MLFLOW_RUN_ID", "none", "An MLflow run that exists: every run is logged into it.";
    "MLFLOW_TRACKING_USERNAME", "none", "For basic authentication, with the password. Both beat the token.";
    "MLFLOW_TRACKING_PASSWORD", "none", "See there.";
    "MLFLOW_TRACKING_TOKEN", "none", "For a server that takes bearer tokens.";
    "MLFLOW_TRACKING_SERVER_CERT_PATH", "the system's", "A PEM file of the certificates to trust.";
};

/// Variables of OpenTelemetry that are not for longpole, or not yet, and what it does about them.
pub(super) const NOT_USED: &[Variable] = variables! {
    "OTEL_CONFIG_FILE", "", "Declarative configuration is not read. longpole says so and goes by the variables here.";
    "OTEL_ENTITIES", "", "Entities are not read. longpole says so; `OTEL_RESOURCE_ATTRIBUTES` is read.";
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "", "longpole's links carry no attributes.";
    "OTEL_LOGS_EXPORTER", "", "longpole exports no logs: events become span events.";
    "OTEL_EXPORTER_OTLP_LOGS_*", "", "The same.";
};

/// Every name that may be asked for.
pub(crate) fn names() -> Vec<String> {
    let listed = SECTIONS.iter().flat_map(|(_, variables)| *variables);
    let expanded = listed.flat_map(|variable| {
        let signals: &[&str] = if variable.name.contains('*') { &["", "TRACES_", "METRICS_"] } else { &[""] };
        signals.iter().map(|signal| variable.name.replace('*', signal))
    });
    expanded.collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::*;

    fn page() -> String {
        let mut page = String::from(
            "# Environment variables\n\n\
             `longpole::init` and `builder().otlp_from_env()` read these once, when the layer is built. As OpenTelemetry \
             rules: an empty variable is an unset one; what is set in code beats a signal's own variable, and that \
             beats the general one; a value that makes no sense leaves the default and is told once, in \
             `Longpole::diagnostics().notes`.\n\n\
             Where a name holds `*`, the name without it is for all signals, and with `TRACES_` or `METRICS_` in its \
             place for that signal alone. Sizes may have a unit: `65536`, `512KiB`, `16MB`.\n\n\
             This page is made from the code: `UPDATE_DOCS=1 cargo test --lib environment`.\n",
        );
        for (heading, variables) in SECTIONS {
            write!(page, "\n## {heading}\n\n| variable | default | meaning |\n|---|---|---|\n").unwrap();
            for Variable { name, default, meaning } in *variables {
                writeln!(page, "| `{name}` | {default} | {meaning} |").unwrap();
            }
        }
        page.push_str(
            "\n## MLflow\n\n\
             `builder().mlflow_from_env()` reads these, with the feature `mlflow`: see [mlflow.md](mlflow.md).\n\n\
             | variable | default | meaning |\n|---|---|---|\n",
        );
        for Variable { name, default, meaning } in MLFLOW {
            writeln!(page, "| `{name}` | {default} | {meaning} |").unwrap();
        }
        page.push_str("\n## Not used\n\n| variable | what longpole does |\n|---|---|\n");
        for Variable { name, meaning, .. } in NOT_USED {
            writeln!(page, "| `{name}` | {meaning} |").unwrap();
        }
        page
    }

    /// A test sets each variable and looks at what comes of it.
    #[test]
    fn every_variable_is_set_by_a_test() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/environment.rs");
        let tests = std::fs::read_to_string(path).unwrap();
        let listed = names();
        let is_set = |name: &str| {
            let pieces = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"];
            tests.contains(&format!("\"{name}\"")) || pieces.iter().any(|piece| name.ends_with(piece))
        };
        let unset: Vec<&String> = listed.iter().filter(|name| !is_set(name)).collect();
        assert!(unset.is_empty(), "{unset:?}");
        for Variable { name, .. } in NOT_USED {
            assert!(tests.contains(&name.replace('*', "ENDPOINT")), "{name}");
        }
    }

    #[test]
    fn the_page_of_variables_is_this_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/environment.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, page(), "made anew by UPDATE_DOCS=1 cargo test --lib environment");
    }
}
