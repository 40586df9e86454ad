//! Every metric longpole makes, in one table.

/// What a metric is called and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// As exported over OTLP.
    pub(crate) name: &'static str,
    /// In UCUM, as OpenTelemetry's conventions write units.
    pub(crate) unit: &'static str,
    pub(crate) text: &'static str,
    pub(crate) kind: Kind,
    /// What tells its series apart; for the page about metrics.
    #[cfg_attr(not(test), allow(dead_code, reason = "the page is made by a test"))]
    pub(crate) labels: &'static [&'static str],
}

/// How a metric's values add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// A counter of time; kept in nanoseconds, exported in seconds.
    TimeCounter,
    /// What there is at the moment of looking.
    Level,
    /// How long things took; kept in nanoseconds, exported in seconds.
    TimeHistogram,
    /// How many of something there were each time.
    CountHistogram,
}

macro_rules! instruments {
    ($($name:ident = $key:literal, $unit:literal, $kind:ident, [$($label:literal),*], $text:literal;)*) => {
        /// The metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Instrument {
            $($name,)*
        }

        impl Instrument {
            /// In the order in which they are exported.
            pub(crate) const ALL: &[Instrument] = &[$(Instrument::$name,)*];

            pub(crate) const fn description(self) -> Description {
                match self {
                    $(Instrument::$name => Description {
                        name: $key,
                        unit: $unit,
                        text: $text,
                        kind: Kind::$kind,
                        labels: &[$($label),*],
                    },)*
                }
            }
        }
    };
}

instruments! {
    NodeDuration = "longpole.node.duration", "s", TimeHistogram,
        ["longpole.node.id", "longpole.workflow.name", "longpole.depth", "longpole.outcome"],
        "How long executions of a node took, queueing included.";
    NodeSelfTime = "longpole.node.self_time", "s", TimeHistogram,
        ["longpole.node.id", "longpole.workflow.name"],
        "Time of an execution in which no nested node ran.";
    NodeBusyTime = "longpole.node.busy_time", "s", TimeHistogram,
        ["longpole.node.id", "longpole.workflow.name"],
        "Time of an execution in which some thread ran inside its span.";
    NodeExecutions = "longpole.node.executions", "{execution}", Counter,
        ["longpole.node.id", "longpole.workflow.name", "longpole.depth", "longpole.outcome"],
        "Executions of a node that ended.";
    NodeErrors = "longpole.node.errors", "{error}", Counter,
        ["longpole.node.id", "longpole.workflow.name", "error.type"],
        "Executions of a node that failed.";
    NodeActive = "longpole.node.active", "{execution}", Level,
        ["longpole.node.id", "longpole.workflow.name"],
        "Executions of a node that are open.";
    NodePathTime = "longpole.node.critical_path.time", "s", TimeCounter,
        ["longpole.node.id", "longpole.workflow.name"],
        "Time a node spent on the critical paths of its runs.";
    RunDuration = "longpole.run.duration", "s", TimeHistogram,
        ["longpole.workflow.name", "longpole.outcome"],
        "How long runs took.";
    RunExecutions = "longpole.run.executions", "{run}", Counter,
        ["longpole.workflow.name", "longpole.outcome"],
        "Runs that ended.";
    PipelineSpans = "longpole.pipeline.spans", "{span}", Counter,
        [],
        "Spans that closed and reached longpole's pipeline.";
    PipelineQueue = "longpole.pipeline.queue", "{span}", Level,
        [],
        "Spans that wait to be delivered.";
    PipelineLost = "longpole.pipeline.lost", "{span}", Counter,
        ["longpole.reason"],
        "Spans that were lost, by reason.";
    PipelineTime = "longpole.pipeline.time", "s", TimeCounter,
        [],
        "Time longpole's own thread spent on analysing.";
    SubagentExecutions = "subagent_executions_total", "{execution}", Counter,
        ["depth"],
        "Subagents that were started.";
    SubagentDuration = "subagent_duration_seconds", "s", TimeHistogram,
        ["depth", "status"],
        "How long subagents took.";
    SubagentTurns = "subagent_turns_used", "{turn}", CountHistogram,
        ["depth"],
        "Conversation turns a subagent used.";
    SubagentTokens = "subagent_tokens_consumed", "{token}", CountHistogram,
        ["depth"],
        "Tokens a subagent consumed.";
    SubagentCompletions = "subagent_completions_total", "{execution}", Counter,
        ["depth", "status"],
        "Subagents that ended, by status.";
    SubagentErrors = "subagent_errors_total", "{error}", Counter,
        ["depth", "error_type"],
        "Subagents that failed, by error type.";
    SubagentActive = "subagent_active_count", "{execution}", Level,
        ["depth"],
        "Subagents that are running.";
}

/// Upper bounds of explicit buckets, in nanoseconds: those the GenAI conventions advise for operations.
pub(crate) const TIME_BOUNDS: [u64; 14] = [
    10_000_000,
    20_000_000,
    40_000_000,
    80_000_000,
    160_000_000,
    320_000_000,
    640_000_000,
    1_280_000_000,
    2_560_000_000,
    5_120_000_000,
    10_240_000_000,
    20_480_000_000,
    40_960_000_000,
    81_920_000_000,
];

/// Upper bounds of explicit buckets for numbers: those the GenAI conventions advise for tokens.
pub(crate) const COUNT_BOUNDS: [u64; 14] =
    [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

impl Kind {
    /// Of what is kept in one exported unit.
    pub(crate) const fn per_unit(self) -> f64 {
        match self {
            Kind::TimeCounter | Kind::TimeHistogram => 1e9,
            Kind::Counter | Kind::Level | Kind::CountHistogram => 1.0,
        }
    }

    pub(crate) const fn bounds(self) -> &'static [u64] {
        match self {
            Kind::CountHistogram => &COUNT_BOUNDS,
            _ => &TIME_BOUNDS,
        }
    }
}

impl Instrument {
    /// Whether another part of longpole counts it, which is looked at when metrics are read.
    #[cfg(feature = "otlp")]
    pub(crate) fn is_observed(self) -> bool {
        matches!(
            self,
            Instrument::PipelineSpans
                | Instrument::PipelineLost
                | Instrument::PipelineTime
                | Instrument::PipelineQueue
                | Instrument::NodeActive
        )
    }

    /// Whether its series stand for nodes, whose number has a limit of its own.
    pub(crate) fn is_of_nodes(self) -> bool {
        self.description().name.starts_with("longpole.node.")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::*;

    fn page() -> String {
        let mut page = String::from(
            "# Metrics\n\n\
             Sent over OTLP each minute and with each flush, where an endpoint is set; shown on the page for Prometheus. \
             Names are as over OTLP. Prometheus reads `longpole.node.duration` as `longpole_node_duration_seconds`, \
             counters with `_total`.\n\n\
             Histograms are exponential, in at most 160 buckets: quantiles within 1.1 % (scale 5), coarser where values \
             spread over more than a factor of 32. Or, if \
             `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION` says so and on the page for Prometheus, they are in fixed \
             buckets. Their exemplars are the slowest executions whose trace is exported. Temporality, interval and \
             limits: [environment.md](environment.md).\n\n\
             2,000 nodes have series of their own; further ones share `__other__`, marked `otel.metric.overflow`. A series \
             that did not change for an hour ends: it is told once more, without a value, and begins anew when it comes \
             back.\n\n\
             `longpole.depth` is how many nodes an execution is nested in; `longpole.outcome` is `ok`, `error`, `panicked`, \
             `cancelled` or `partial`; `error.type` is the span's, else `_OTHER`. Executions count when their run is \
             reported. The `subagent_` metrics are those of `longpole::compat::subagent`.\n\n\
             This page is made from the code: `UPDATE_DOCS=1 cargo test --lib metrics`.\n\n\
             | metric | unit | kind | attributes | what it tells |\n|---|---|---|---|---|\n",
        );
        for instrument in Instrument::ALL {
            let description = instrument.description();
            let kind = match description.kind {
                Kind::Counter | Kind::TimeCounter => "counter",
                Kind::Level => "level",
                Kind::TimeHistogram | Kind::CountHistogram => "histogram",
            };
            let labels: Vec<String> = description.labels.iter().map(|label| format!("`{label}`")).collect();
            writeln!(
                page,
                "| `{}` | `{}` | {kind} | {} | {} |",
                description.name,
                description.unit,
                labels.join(", "),
                description.text
            )
            .unwrap();
        }
        page
    }

    #[test]
    fn the_page_of_metrics_is_this_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, page(), "made anew by UPDATE_DOCS=1 cargo test --lib metrics");
    }
}
