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
    ($($name:ident = $key:literal, $unit:literal, $kind:ident, $text:literal;)*) => {
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
                    },)*
                }
            }
        }
    };
}

instruments! {
    NodeDuration = "longpole.node.duration", "s", TimeHistogram,
        "How long executions of a node took, queueing included.";
    NodeSelfTime = "longpole.node.self_time", "s", TimeHistogram,
        "Time of an execution in which no nested node ran.";
    NodeBusyTime = "longpole.node.busy_time", "s", TimeHistogram,
        "Time of an execution in which some thread ran inside its span.";
    NodeExecutions = "longpole.node.executions", "{execution}", Counter,
        "Executions of a node that ended.";
    NodeErrors = "longpole.node.errors", "{error}", Counter,
        "Executions of a node that failed.";
    NodeActive = "longpole.node.active", "{execution}", Level,
        "Executions of a node that are open.";
    NodePathTime = "longpole.node.critical_path.time", "s", TimeCounter,
        "Time a node spent on the critical paths of its runs.";
    RunDuration = "longpole.run.duration", "s", TimeHistogram,
        "How long runs took.";
    RunExecutions = "longpole.run.executions", "{run}", Counter,
        "Runs that ended.";
    PipelineSpans = "longpole.pipeline.spans", "{span}", Counter,
        "Spans that closed and reached longpole's pipeline.";
    PipelineQueue = "longpole.pipeline.queue", "{span}", Level,
        "Spans that wait to be delivered.";
    PipelineLost = "longpole.pipeline.lost", "{span}", Counter,
        "Spans that were lost, by reason.";
    PipelineTime = "longpole.pipeline.time", "s", TimeCounter,
        "Time longpole's own thread spent on analysing.";
    SubagentExecutions = "subagent_executions_total", "{execution}", Counter,
        "Subagents that were started.";
    SubagentDuration = "subagent_duration_seconds", "s", TimeHistogram,
        "How long subagents took.";
    SubagentTurns = "subagent_turns_used", "{turn}", CountHistogram,
        "Conversation turns a subagent used.";
    SubagentTokens = "subagent_tokens_consumed", "{token}", CountHistogram,
        "Tokens a subagent consumed.";
    SubagentCompletions = "subagent_completions_total", "{execution}", Counter,
        "Subagents that ended, by status.";
    SubagentErrors = "subagent_errors_total", "{error}", Counter,
        "Subagents that failed, by error type.";
    SubagentActive = "subagent_active_count", "{execution}", Level,
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
    /// Whether its series stand for nodes, whose number has a limit of its own.
    pub(crate) fn is_of_nodes(self) -> bool {
        self.description().name.starts_with("longpole.node.")
    }
}
