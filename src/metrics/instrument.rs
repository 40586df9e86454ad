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
    /// A counter of money; kept in 10⁻¹² USD, exported in USD.
    MoneyCounter,
    /// What there is at the moment of looking.
    Level,
    /// How long things took; kept in nanoseconds, exported in seconds.
    TimeHistogram,
    /// The same for what takes many calls of a model.
    AgentTimeHistogram,
    /// The same for whole workflows.
    WorkflowTimeHistogram,
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
    NodeCost = "longpole.node.cost", "{USD}", MoneyCounter,
        ["longpole.node.id", "longpole.workflow.name", "longpole.cost.source"],
        "What the calls in a node cost.";
    NodeUnpricedCalls = "longpole.node.unpriced_calls", "{call}", Counter,
        ["longpole.node.id", "longpole.workflow.name", "longpole.reason"],
        "Calls of models in a node that have no price, by reason.";
    NodeTokens = "longpole.node.tokens", "{token}", CountHistogram,
        ["longpole.node.id", "longpole.workflow.name", "longpole.depth"],
        "Tokens an execution used, input and output, nested executions included.";
    NodeTurns = "longpole.node.turns", "{turn}", CountHistogram,
        ["longpole.node.id", "longpole.workflow.name", "longpole.depth"],
        "Conversation turns an execution says it took.";
    RunDuration = "longpole.run.duration", "s", TimeHistogram,
        ["longpole.workflow.name", "longpole.outcome"],
        "How long runs took.";
    RunExecutions = "longpole.run.executions", "{run}", Counter,
        ["longpole.workflow.name", "longpole.outcome"],
        "Runs that ended.";
    RunBudgetsExceeded = "longpole.run.budgets_exceeded", "{run}", Counter,
        ["longpole.workflow.name", "longpole.budget"],
        "Runs that used more than they may.";
    GenAiTokenUsage = "gen_ai.client.token.usage", "{token}", CountHistogram,
        ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model",
            "server.address", "gen_ai.token.type"],
        "Tokens a call of a model used.";
    GenAiOperationDuration = "gen_ai.client.operation.duration", "s", TimeHistogram,
        ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model",
            "server.address", "error.type"],
        "How long a call of a model took.";
    GenAiWorkflowDuration = "gen_ai.invoke_workflow.duration", "s", WorkflowTimeHistogram,
        ["gen_ai.workflow.name", "error.type"],
        "How long a workflow with generative AI in it took.";
    GenAiAgentDuration = "gen_ai.invoke_agent.duration", "s", AgentTimeHistogram,
        ["gen_ai.agent.name", "gen_ai.request.model", "error.type"],
        "How long an agent took.";
    GenAiToolDuration = "gen_ai.execute_tool.duration", "s", TimeHistogram,
        ["gen_ai.tool.name", "error.type"],
        "How long a tool took.";
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

/// The same for agents.
pub(crate) const AGENT_TIME_BOUNDS: [u64; 13] = [
    100_000_000,
    200_000_000,
    400_000_000,
    800_000_000,
    1_600_000_000,
    3_200_000_000,
    6_400_000_000,
    12_800_000_000,
    25_600_000_000,
    51_200_000_000,
    102_400_000_000,
    204_800_000_000,
    409_600_000_000,
];

/// The same for workflows.
pub(crate) const WORKFLOW_TIME_BOUNDS: [u64; 11] = [
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    120_000_000_000,
    300_000_000_000,
    600_000_000_000,
    1_800_000_000_000,
    3_600_000_000_000,
    7_200_000_000_000,
];

/// Upper bounds of explicit buckets for numbers: those the GenAI conventions advise for tokens.
pub(crate) const COUNT_BOUNDS: [u64; 14] =
    [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864];

impl Kind {
    /// Of what is kept in one exported unit.
    pub(crate) const fn per_unit(self) -> f64 {
        match self {
            Kind::TimeCounter
            | Kind::TimeHistogram
            | Kind::AgentTimeHistogram
            | Kind::WorkflowTimeHistogram => 1e9,
            Kind::MoneyCounter => 1e12,
            Kind::Counter | Kind::Level | Kind::CountHistogram => 1.0,
        }
    }

    pub(crate) const fn bounds(self) -> &'static [u64] {
        match self {
            Kind::CountHistogram => &COUNT_BOUNDS,
            Kind::AgentTimeHistogram => &AGENT_TIME_BOUNDS,
            Kind::WorkflowTimeHistogram => &WORKFLOW_TIME_BOUNDS,
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
             Money is summed exactly, in 10⁻¹² USD, and becomes a double when it is sent. What was charged outside every \
             node has no `longpole.node.id`, so that `longpole.node.cost` adds up to what the runs cost. \
             `longpole.cost.source` is `recorded` by the program, told by the `provider` or a library, or `estimated` \
             from tokens and a table of prices. A call without a price adds nothing to a cost and is in \
             `longpole.node.unpriced_calls`.\n\n\
             The `gen_ai.` metrics are those of OpenTelemetry's conventions, in the buckets these advise; values that a \
             span does not tell are left out. Of calls that several libraries have wrapped in spans of their own the \
             innermost counts. Over 2,000 series of one of them share one, marked `otel.metric.overflow`. A run with a \
             workflow's name and generative AI in it is in `gen_ai.invoke_workflow.duration`.\n\n\
             This page is made from the code: `UPDATE_DOCS=1 cargo test --lib metrics`.\n\n\
             | metric | unit | kind | attributes | what it tells |\n|---|---|---|---|---|\n",
        );
        for instrument in Instrument::ALL {
            let description = instrument.description();
            let kind = match description.kind {
                Kind::Counter | Kind::TimeCounter | Kind::MoneyCounter => "counter",
                Kind::Level => "level",
                Kind::TimeHistogram
                | Kind::AgentTimeHistogram
                | Kind::WorkflowTimeHistogram
                | Kind::CountHistogram => "histogram",
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
