//! Every attribute key longpole writes or reads, in one table.
//!
//! Keys under `longpole.` are ours. Keys under `gen_ai.` follow OpenTelemetry's GenAI semantic conventions as of
//! 2026-09 (development status, schema `gen-ai-dev/1.42.0-dev`); where a key was renamed, both spellings are read
//! and the newer one is written.

/// Defines the key constants, so that each key is spelled once.
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $key:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $key;)*
    };
}

keys! {
    /// Marks a span as a node and names it.
    NODE_ID = "longpole.node.id";
    /// What sort of work a node does, where no other attribute tells.
    NODE_KIND = "longpole.node.kind";
    /// The names of the nodes this one waited for (string array).
    NODE_DEPENDS_ON = "longpole.node.depends_on";
    /// True where nobody waits for the span.
    NODE_DETACHED = "longpole.node.detached";
    /// Which try this is, from 1.
    NODE_ATTEMPT = "longpole.node.attempt";
    /// Conversation turns a node took.
    NODE_TURNS = "longpole.node.turns";
    /// Bytes a node read.
    NODE_INPUT_BYTES = "longpole.node.input_bytes";
    /// Bytes a node wrote.
    NODE_OUTPUT_BYTES = "longpole.node.output_bytes";
    /// A hash of what a node was given: where two executions have the same, a cache would have answered the second.
    NODE_INPUT_HASH = "longpole.node.input_hash";
    /// A number that stands for the input a library told and that is left out as content; equal inputs of a process
    /// have equal ones.
    CONTENT_INPUT_HASH = "longpole.content.input_hash";
    /// Followed by the key of a content that was cut: how many bytes it had.
    CONTENT_BYTES = "longpole.content.bytes.";
    /// The class of a node's error.
    NODE_ERROR_TYPE = "longpole.node.error_type";
    /// The phase a span inside a node stands for.
    NODE_PHASE = "longpole.node.phase";
    /// What a node cost, in USD (double).
    COST_USD = "longpole.cost.usd";
    /// The part of the cost that is input, neither read from a cache nor written to one (double, USD).
    COST_INPUT_USD = "longpole.cost.input_usd";
    /// The part of the cost that is output.
    COST_OUTPUT_USD = "longpole.cost.output_usd";
    /// The part of the cost that is input read from a cache.
    COST_CACHE_READ_USD = "longpole.cost.cache_read_usd";
    /// The part of the cost that is input written to a cache.
    COST_CACHE_WRITE_USD = "longpole.cost.cache_write_usd";
    /// The rest of the cost: charges by request, searches, pages.
    COST_OTHER_USD = "longpole.cost.other_usd";
    /// Who says what it cost: `recorded`, `provider`, `estimated`; or `unpriced`, where nobody can say.
    COST_SOURCE = "longpole.cost.source";
    /// The price table of an estimate, or that which has no price for the call.
    COST_TABLE = "longpole.cost.table";
    /// How a call of a model was processed: `batch`.
    CALL_PROCESSING = "longpole.call.processing";
    /// Followed by the name of a unit in the price table, such as `cache_write_1h_tokens`: how much of it a call used.
    USAGE_PREFIX = "longpole.usage.";
    /// What became of a batch of subagents: `complete`, `partial` or `failed`.
    BATCH_STATUS = "longpole.batch.status";
    /// How many parts of a batch succeeded.
    BATCH_SUCCESSFUL = "longpole.batch.successful";
    /// How many parts of a batch failed.
    BATCH_FAILED = "longpole.batch.failed";
    /// Tokens all parts of a batch used.
    BATCH_TOKENS = "longpole.batch.tokens";
    /// What all parts of a batch cost, in USD (double).
    BATCH_COST_USD = "longpole.batch.cost_usd";
    /// Marks a span as the root of a run and names the workflow.
    WORKFLOW_NAME = "longpole.workflow.name";
    /// The version of the workflow.
    WORKFLOW_VERSION = "longpole.workflow.version";

    /// Creation to first running, in nanoseconds.
    QUEUED_NS = "longpole.queued_ns";
    /// Time in which some thread ran inside the span, in nanoseconds.
    BUSY_NS = "longpole.busy_ns";
    /// How many times a thread ran inside the span.
    POLLS = "longpole.polls";
    /// The longest of them, in nanoseconds; left out where it equals the busy time.
    LONGEST_POLL_NS = "longpole.longest_poll_ns";
    /// Creation to first enter, in nanoseconds; left out where it equals the queued time.
    FIRST_ENTER_NS = "longpole.first_enter_ns";
    /// End of work to close, in nanoseconds, where that is more than 1 ms.
    HELD_OPEN_NS = "longpole.held_open_ns";
    /// `panicked`, `cancelled` or `partial`; `ok` and `error` follow from the status and are not written.
    OUTCOME = "longpole.outcome";
    /// On a link: `depends_on` says that the span waited for the one the link points to.
    EDGE = "longpole.edge";
    /// On metrics: how many nodes an execution is nested in.
    DEPTH = "longpole.depth";
    /// On metrics: why spans were lost, or why calls have no price.
    REASON = "longpole.reason";
    /// On metrics: which budget a run has exceeded, `cost_usd` or `tokens`.
    BUDGET = "longpole.budget";
    /// On metrics: `input` or `output`.
    GEN_AI_TOKEN_TYPE = "gen_ai.token.type";
    /// The host called.
    SERVER_ADDRESS = "server.address";

    /// On the run's root: the node to fix first.
    BOTTLENECK_NODE = "longpole.bottleneck.node";
    /// On the run's root: what fixing it saves at most, in nanoseconds.
    BOTTLENECK_SAVE_MAX_NS = "longpole.bottleneck.save_max_ns";
    /// On the run's root: the critical path as text, one entry per node.
    CRITICAL_PATH = "longpole.critical_path";
    /// On the run's root: its wall time, in nanoseconds.
    RUN_WALL_NS = "longpole.run.wall_ns";
    /// On the run's root: the work done in it, in nanoseconds.
    RUN_WORK_NS = "longpole.run.work_ns";
    /// On the run's root: what it cost, in USD.
    RUN_COST_USD = "longpole.run.cost_usd";
    /// On the run's root: whether every span of it was seen closed.
    RUN_COMPLETE = "longpole.run.complete";
    /// On the run's root, and on a root around runs: how many spans of it were started in its process, itself included.
    /// Spans below another that tells the same count there.
    RUN_SPANS = "longpole.run.spans";
    /// On the run's root: how many of them had not come when it was told, because they were lost or still open, or are
    /// not exported because too much waited to be delivered; left out where there are none.
    RUN_LOST_SPANS = "longpole.run.lost_spans";
    /// On the run's root: the summary of node times as JSON.
    BOTTLENECK_INFO = "bottleneck_info";

    /// The GenAI operation, such as `chat` or `execute_tool`.
    GEN_AI_OPERATION = "gen_ai.operation.name";
    /// The agent's name.
    GEN_AI_AGENT_NAME = "gen_ai.agent.name";
    /// The tool's name.
    GEN_AI_TOOL_NAME = "gen_ai.tool.name";
    /// The workflow's name.
    GEN_AI_WORKFLOW_NAME = "gen_ai.workflow.name";
    /// The provider, such as `openai`.
    GEN_AI_PROVIDER = "gen_ai.provider.name";
    /// The model asked for.
    GEN_AI_REQUEST_MODEL = "gen_ai.request.model";
    /// The model that answered.
    GEN_AI_RESPONSE_MODEL = "gen_ai.response.model";
    /// Input tokens, cached ones included.
    GEN_AI_INPUT_TOKENS = "gen_ai.usage.input_tokens";
    /// Output tokens, reasoning ones included.
    GEN_AI_OUTPUT_TOKENS = "gen_ai.usage.output_tokens";
    /// Input tokens read from a cache.
    GEN_AI_CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens";
    /// Input tokens written to a cache.
    GEN_AI_CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens";
    /// Output tokens spent on reasoning.
    GEN_AI_REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens";
    /// The class of an error.
    ERROR_TYPE = "error.type";
}

/// The value of [`COST_SOURCE`] where nobody can say what a call cost.
pub const UNPRICED: &str = "unpriced";

/// The class of an error under the one name it goes by: `max_depth_reached` is called `depth_limit` too.
pub fn error_class(told: &str) -> &str {
    if told == "max_depth_reached" { "depth_limit" } else { told }
}

/// What an attribute tells the analysis. Whoever reads attributes goes through [`meaning_of`] or [`fact_of`]; nothing
/// else knows keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "`tells` says it")]
pub enum Fact {
    NodeId,
    NodeKind,
    DependsOn,
    Detached,
    Attempt,
    Turns,
    InputBytes,
    OutputBytes,
    InputHash,
    ErrorType,
    Phase,
    /// What the span cost in all.
    Cost,
    /// The part of a cost that is all of the input, cached or not.
    CostPrompt,
    /// The part of a cost that is input neither read from a cache nor written to one.
    CostInput,
    CostOutput,
    CostCacheRead,
    CostCacheWrite,
    CostOther,
    /// Amounts in JSON.
    CostDetails,
    CostSource,
    CostTable,
    /// A library answered from its own cache and called nobody.
    FromCache,
    WorkflowName,
    WorkflowVersion,
    RunSpans,
    Queued,
    Busy,
    Polls,
    LongestPoll,
    FirstEnter,
    HeldOpen,
    Outcome,
    Operation,
    AgentName,
    ToolName,
    Provider,
    RequestModel,
    ResponseModel,
    InputTokens,
    OutputTokens,
    CacheReadTokens,
    CacheWriteTokens,
    ReasoningTokens,
    /// Input and output together; only ever compared with them.
    TotalTokens,
    /// Input tokens that were neither read from a cache nor written to one.
    UncachedTokens,
    CacheWrite5mTokens,
    CacheWrite1hTokens,
    InputTextTokens,
    InputAudioTokens,
    InputImageTokens,
    InputVideoTokens,
    OutputTextTokens,
    OutputAudioTokens,
    OutputImageTokens,
    OutputVideoTokens,
    CacheAudioReadTokens,
    CacheImageReadTokens,
    /// A count of the unit that the rest of the key names; see [`USAGE_PREFIX`].
    UnitUsage,
    /// Counts in JSON.
    UsageDetails,
    Processing,
    ServiceTier,
    RequestServiceTier,
    ServerAddress,
    ApiUrl,
    Streamed,
    /// When the first piece of an answer came, which only streams have.
    FirstChunk,
    /// The instrumentation that wrote the span.
    Scope,
    /// What a dialect other than GenAI calls the sort of a span; see [`operation_of_kind`].
    SpanKind,
    /// The name a dialect other than GenAI gives what a span stands for: a task, an agent, a tool.
    EntityName,
    /// The make of a model, where nothing tells its provider.
    System,
    /// The span is an HTTP call.
    Http,
    /// The span is a database call.
    Db,
}

impl Fact {
    /// How many there are.
    pub(crate) const COUNT: usize = Fact::Db as usize + 1;

    /// What it tells, in a few words.
    pub const fn tells(self) -> &'static str {
        match self {
            Fact::NodeId => "the span is a node of this name",
            Fact::NodeKind => "what sort of work it does",
            Fact::DependsOn => "the nodes it waited for",
            Fact::Detached => "nobody waits for it",
            Fact::Attempt => "which try it is, from 1",
            Fact::Turns => "conversation turns it took",
            Fact::InputBytes => "bytes it read",
            Fact::OutputBytes => "bytes it wrote",
            Fact::InputHash => "stands for what it was given: a whole number as it is, a text by its hash",
            Fact::ErrorType => "the class of its error",
            Fact::Phase => "the phase of a node it stands for",
            Fact::Cost => "what it cost, in USD",
            Fact::CostPrompt => "the part of the cost that is input, cached or not",
            Fact::CostInput => {
                "the part of the cost that is input, neither read from a cache nor written to one"
            }
            Fact::CostOutput => "the part of the cost that is output",
            Fact::CostCacheRead => "the part of the cost that is input read from a cache",
            Fact::CostCacheWrite => "the part of the cost that is input written to a cache",
            Fact::CostOther => "a part of the cost that is neither input nor output",
            Fact::CostDetails => "the cost and its parts, in USD, as JSON",
            Fact::CostSource => "who says what it cost: `recorded`, `provider`, `estimated` or `unpriced`",
            Fact::CostTable => "the price table of an estimated cost",
            Fact::FromCache => {
                "true where a library answered from its own cache: a cost of zero is right then"
            }
            Fact::WorkflowName => "the span is the root of a run of this workflow, if none above it is",
            Fact::WorkflowVersion => "the version of the workflow",
            Fact::RunSpans => "on the root of a run: how many spans of it were started in its process",
            Fact::Queued => "creation to first running, in nanoseconds",
            Fact::Busy => "time in which some thread ran inside, in nanoseconds",
            Fact::Polls => "how many times a thread ran inside",
            Fact::LongestPoll => "the longest of them, in nanoseconds",
            Fact::FirstEnter => "creation to first enter, in nanoseconds",
            Fact::HeldOpen => "end of work to close, in nanoseconds",
            Fact::Outcome => "how it ended, where the status does not tell",
            Fact::Operation => "the span is a node that does this operation",
            Fact::AgentName => "the agent",
            Fact::ToolName => "the tool",
            Fact::Provider => "the provider of the model",
            Fact::RequestModel => "the model asked for",
            Fact::ResponseModel => "the model that answered",
            Fact::InputTokens => "input tokens",
            Fact::OutputTokens => "output tokens",
            Fact::CacheReadTokens => "input tokens read from a cache",
            Fact::CacheWriteTokens => "input tokens written to a cache",
            Fact::ReasoningTokens => "output tokens spent on reasoning",
            Fact::TotalTokens => {
                "input and output tokens together; says whether the input has cached tokens in it"
            }
            Fact::UncachedTokens => "input tokens neither read from a cache nor written to one",
            Fact::CacheWrite5mTokens => "input tokens written to a cache for five minutes",
            Fact::CacheWrite1hTokens => "input tokens written to a cache for an hour",
            Fact::InputTextTokens => "input tokens of text",
            Fact::InputAudioTokens => "input tokens of sound",
            Fact::InputImageTokens => "input tokens of images",
            Fact::InputVideoTokens => "input tokens of video",
            Fact::OutputTextTokens => "output tokens of text",
            Fact::OutputAudioTokens => "output tokens of sound",
            Fact::OutputImageTokens => "output tokens of images",
            Fact::OutputVideoTokens => "output tokens of video",
            Fact::CacheAudioReadTokens => "input tokens of sound read from a cache",
            Fact::CacheImageReadTokens => "input tokens of images read from a cache",
            Fact::UnitUsage => {
                "how much of the unit in the place of `*` was used, by its name in the price table"
            }
            Fact::UsageDetails => "counts of tokens, as JSON",
            Fact::Processing => "how the call was processed: `batch`",
            Fact::ServiceTier => "the tier of service that answered",
            Fact::RequestServiceTier => {
                "the tier of service asked for; counts where none is told that answered"
            }
            Fact::ServerAddress => "the host called",
            Fact::ApiUrl => "the address of the API",
            Fact::Streamed => "true where the answer came in pieces",
            Fact::FirstChunk => "the answer came in pieces",
            Fact::Scope => {
                "who wrote the span, as OTLP's scope does; some are known to leave cached tokens out of the input"
            }
            Fact::SpanKind => "what sort of span it is; see below",
            Fact::EntityName => "the name of the task, agent or tool the span stands for",
            Fact::System => "the provider of the model, if nothing else tells",
            Fact::Http => "the span is an HTTP call",
            Fact::Db => "the span is a database call",
        }
    }
}

/// Whose word an attribute is. Where two tell the same fact, the lesser one here wins, in whatever order they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// longpole's own keys.
    Longpole,
    /// OpenTelemetry's semantic conventions as they are now.
    OpenTelemetry,
    /// Earlier spellings of those, and what some libraries add under `gen_ai.`.
    OldGenAi,
    /// OpenInference, as Phoenix and its instrumentations write it.
    OpenInference,
    /// OpenLLMetry, as Traceloop's instrumentations write it.
    OpenLlmetry,
    /// The AI SDK of Vercel.
    VercelAi,
    /// MLflow's own tracing.
    Mlflow,
    /// Langfuse's SDKs.
    Langfuse,
    /// Pydantic AI and Logfire, where they add to OpenTelemetry's.
    PydanticAi,
    /// LiteLLM, where it adds to OpenTelemetry's.
    LiteLlm,
}

/// Defines which keys are read, from whom and as what; a key belongs to the first row of prefixes it starts with.
macro_rules! read_keys {
    ($($prefix:literal { $($dialect:ident { $($rest:literal $fact:ident)* })* })*) => {
        /// What the attribute `key` tells and whose word it is, or `None` if the analysis does not read it.
        ///
        /// Accepts exported keys, their short forms, and the spellings of others that are read but never written.
        pub fn meaning_of(key: &str) -> Option<(Fact, Dialect)> {
            $(if let Some(rest) = key.strip_prefix($prefix) {
                return match rest {
                    $($($rest => Some((Fact::$fact, Dialect::$dialect)),)*)*
                    _ => family_of(key),
                };
            })*
            family_of(key)
        }

        /// Every key [`meaning_of`] knows, but for [`FAMILIES`].
        #[cfg(test)]
        pub(crate) const READ: &[(&str, Fact, Dialect)] =
            &[$($($((concat!($prefix, $rest), Fact::$fact, Dialect::$dialect),)*)*)*];
    };
}

read_keys! {
    "longpole." {
        Longpole {
            "node.id" NodeId "node.name" NodeId "node.kind" NodeKind "node.depends_on" DependsOn
            "depends_on" DependsOn "node.detached" Detached "detached" Detached "node.attempt" Attempt
            "node.turns" Turns "node.input_bytes" InputBytes "node.output_bytes" OutputBytes
            "node.input_hash" InputHash "node.error_type" ErrorType "node.phase" Phase "cost.usd" Cost "cost_usd" Cost "node.cost_usd" Cost
            "workflow.name" WorkflowName "workflow.version" WorkflowVersion "run.spans" RunSpans "queued_ns" Queued "busy_ns" Busy
            "polls" Polls "longest_poll_ns" LongestPoll "first_enter_ns" FirstEnter "held_open_ns" HeldOpen
            "outcome" Outcome "cost.input_usd" CostInput "cost.output_usd" CostOutput
            "cost.cache_read_usd" CostCacheRead "cost.cache_write_usd" CostCacheWrite "cost.other_usd" CostOther
            "cost.source" CostSource "cost.table" CostTable "call.processing" Processing
        }
        // In place of what a library told, and no better than that.
        OpenTelemetry { "content.input_hash" InputHash }
    }
    "node." {
        Longpole {
            "id" NodeId "kind" NodeKind "depends_on" DependsOn "detached" Detached "attempt" Attempt
            "turns" Turns "input_bytes" InputBytes "output_bytes" OutputBytes
            "input_hash" InputHash "error_type" ErrorType
            "phase" Phase "cost_usd" Cost
        }
    }
    "workflow." {
        Longpole { "name" WorkflowName "version" WorkflowVersion }
    }
    "error." {
        OpenTelemetry { "type" ErrorType }
    }
    "gen_ai." {
        OpenTelemetry {
            "operation.name" Operation "agent.name" AgentName "tool.name" ToolName
            "workflow.name" WorkflowName "provider.name" Provider "request.model" RequestModel
            "response.model" ResponseModel "usage.input_tokens" InputTokens "usage.output_tokens" OutputTokens
            "usage.cache_read.input_tokens" CacheReadTokens "usage.cache_write.input_tokens" CacheWriteTokens
            "usage.reasoning.output_tokens" ReasoningTokens "tool.call.arguments" InputHash
            "usage.text.input_tokens" InputTextTokens "usage.audio.input_tokens" InputAudioTokens
            "usage.image.input_tokens" InputImageTokens "usage.video.input_tokens" InputVideoTokens
            "usage.text.output_tokens" OutputTextTokens "usage.audio.output_tokens" OutputAudioTokens
            "usage.image.output_tokens" OutputImageTokens "usage.video.output_tokens" OutputVideoTokens
            "usage.audio.cache_read.input_tokens" CacheAudioReadTokens
            "usage.image.cache_read.input_tokens" CacheImageReadTokens
            "request.stream" Streamed "response.time_to_first_chunk" FirstChunk
        }
        OldGenAi {
            "system" Provider "usage.prompt_tokens" InputTokens "usage.completion_tokens" OutputTokens
            "usage.cache_creation.input_tokens" CacheWriteTokens
            "usage.cache_read_input_tokens" CacheReadTokens
            "usage.cache_creation_input_tokens" CacheWriteTokens "usage.reasoning_tokens" ReasoningTokens
            "usage.details.reasoning_tokens" ReasoningTokens "usage.details.cache_read_tokens" CacheReadTokens
            "usage.details.cache_write_tokens" CacheWriteTokens "usage.cost" Cost
            "usage.cache_write_input_tokens" CacheWriteTokens "usage.total_tokens" TotalTokens
            "openai.response.service_tier" ServiceTier "openai.request.service_tier" RequestServiceTier
        }
        OpenLlmetry { "is_streaming" Streamed "openai.api_base" ApiUrl }
        PydanticAi {
            "usage.details.input_audio_tokens" InputAudioTokens
            "usage.details.output_audio_tokens" OutputAudioTokens
            "usage.details.cache_audio_read_tokens" CacheAudioReadTokens
        }
        LiteLlm {
            "cost.total_cost" Cost "cost.input_cost" CostInput "cost.output_cost" CostOutput
            "cost.cache_read_cost" CostCacheRead "cost.cache_creation_cost" CostCacheWrite
            "cost.tool_usage_cost" CostOther
        }
    }
    "openai." {
        OpenTelemetry { "response.service_tier" ServiceTier "request.service_tier" RequestServiceTier }
    }
    "server." {
        OpenTelemetry { "address" ServerAddress }
    }
    "otel." {
        OpenTelemetry { "scope.name" Scope "library.name" Scope }
    }
    "operation." {
        PydanticAi { "cost" Cost }
    }
    "litellm." {
        LiteLlm {
            "cost.total" Cost "cost.input" CostInput "cost.output" CostOutput "cost.cache_read" CostCacheRead
            "cost.cache_creation" CostCacheWrite "cost.tool_usage" CostOther "cache_hit" FromCache
            "request.streaming" Streamed
        }
    }
    "ai." {
        VercelAi {
            "operationId" SpanKind "toolCall.name" ToolName "toolCall.args" InputHash "model.provider" Provider
            "model.id" RequestModel "response.model" ResponseModel "usage.inputTokens" InputTokens
            "usage.outputTokens" OutputTokens "usage.promptTokens" InputTokens
            "usage.completionTokens" OutputTokens "usage.tokens" InputTokens "usage.totalTokens" TotalTokens
            "usage.cachedInputTokens" CacheReadTokens "usage.reasoningTokens" ReasoningTokens
            "usage.inputTokenDetails.noCacheTokens" UncachedTokens
            "usage.inputTokenDetails.cacheReadTokens" CacheReadTokens
            "usage.inputTokenDetails.cacheWriteTokens" CacheWriteTokens
            "usage.outputTokenDetails.reasoningTokens" ReasoningTokens "response.msToFirstChunk" FirstChunk
        }
    }
    "mlflow." {
        Mlflow {
            "spanType" SpanKind "llm.model" RequestModel "llm.provider" Provider "llm.cost" CostDetails
            "chat.tokenUsage" UsageDetails
        }
    }
    "langfuse.observation." {
        Langfuse {
            "type" SpanKind "model.name" RequestModel "cost_details" CostDetails "usage_details" UsageDetails
            "completion_start_time" FirstChunk
        }
    }
    "openinference." {
        OpenInference { "span.kind" SpanKind }
    }
    "llm." {
        OpenInference {
            "model_name" RequestModel "provider" Provider "system" System "token_count.prompt" InputTokens
            "token_count.completion" OutputTokens
            "token_count.prompt_details.cache_read" CacheReadTokens
            "token_count.prompt_details.cache_write" CacheWriteTokens
            "token_count.completion_details.reasoning" ReasoningTokens "token_count.total" TotalTokens
            "token_count.prompt_details.cache_input" CacheReadTokens
            "token_count.prompt_details.audio" InputAudioTokens
            "token_count.completion_details.audio" OutputAudioTokens "request.model_name" RequestModel
            "response.model_name" ResponseModel "cost.total" Cost "cost.prompt" CostPrompt
            "cost.completion" CostOutput "cost.prompt_details.input" CostInput
            "cost.prompt_details.cache_read" CostCacheRead "cost.prompt_details.cache_input" CostCacheRead
            "cost.prompt_details.cache_write" CostCacheWrite
        }
        OpenLlmetry {
            "request.type" SpanKind "vendor" Provider "request.model" RequestModel
            "response.model" ResponseModel "usage.prompt_tokens" InputTokens
            "usage.completion_tokens" OutputTokens "usage.reasoning_tokens" ReasoningTokens
            "usage.total_tokens" TotalTokens "is_streaming" Streamed
            "usage.cache_read_input_tokens" CacheReadTokens
            "usage.cache_creation_input_tokens" CacheWriteTokens
        }
    }
    "input." {
        OpenInference { "value" InputHash }
    }
    "embedding." {
        OpenInference { "model_name" RequestModel }
    }
    "reranker." {
        OpenInference { "model_name" RequestModel }
    }
    "agent." {
        OpenInference { "name" AgentName }
    }
    "tool." {
        OpenInference { "name" ToolName }
    }
    "graph.node." {
        OpenInference { "id" EntityName }
    }
    "traceloop." {
        OpenLlmetry { "span.kind" SpanKind "entity.name" EntityName "entity.input" InputHash "workflow.name" WorkflowName }
    }
}

/// Keys of which any tells the same.
const FAMILIES: [(&str, Fact, Dialect); 4] = [
    (USAGE_PREFIX, Fact::UnitUsage, Dialect::Longpole),
    ("http.", Fact::Http, Dialect::OpenTelemetry),
    ("url.", Fact::Http, Dialect::OpenTelemetry),
    ("db.", Fact::Db, Dialect::OpenTelemetry),
];

fn family_of(key: &str) -> Option<(Fact, Dialect)> {
    let (_, fact, dialect) = FAMILIES.iter().find(|(prefix, ..)| key.starts_with(prefix))?;
    Some((*fact, *dialect))
}

/// What an attribute tells, whose word it is, and which of the dialect's spellings of the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyMeaning {
    pub(crate) fact: Fact,
    pub(crate) dialect: Dialect,
    /// The key's length and the sum of its bytes: of one dialect's spellings of a fact the lesser counts.
    pub(crate) spelling: [u8; 2],
}

impl KeyMeaning {
    /// What `key` tells; `None` if the analysis does not read it.
    pub(crate) fn of(key: &str) -> Option<Self> {
        let (fact, dialect) = meaning_of(key)?;
        let sum = key.bytes().fold(0u8, u8::wrapping_add);
        let spelling = [u8::try_from(key.len()).unwrap_or(u8::MAX), sum];
        Some(KeyMeaning { fact, dialect, spelling })
    }
}

/// What the attribute `key` tells, or `None` if the analysis does not read it.
pub fn fact_of(key: &str) -> Option<Fact> {
    meaning_of(key).map(|(fact, _)| fact)
}

/// Sorts of spans in other dialects, and the GenAI operation each is.
const OPERATIONS: [(&str, &str); 19] = [
    ("llm", "chat"),
    ("chat", "chat"),
    ("completion", "text_completion"),
    ("agent", "invoke_agent"),
    ("tool", "execute_tool"),
    ("retriever", "retrieval"),
    ("embedding", "embeddings"),
    ("reranker", "rerank"),
    ("rerank", "rerank"),
    ("chat_model", "chat"),
    ("generation", "chat"),
    ("ai.generateText.doGenerate", "chat"),
    ("ai.streamText.doStream", "chat"),
    ("ai.generateObject.doGenerate", "chat"),
    ("ai.streamObject.doStream", "chat"),
    ("ai.embed.doEmbed", "embeddings"),
    ("ai.embedMany.doEmbed", "embeddings"),
    ("ai.rerank.doRerank", "rerank"),
    ("ai.toolCall", "execute_tool"),
];

/// The GenAI operation that a span of this kind does, in the words of OpenInference (`LLM`, `TOOL`) or OpenLLMetry
/// (`agent`, `completion`), in either case; `None` for a step of another sort and for what contains steps.
pub fn operation_of_kind(kind: &str) -> Option<&'static str> {
    OPERATIONS.iter().find(|(name, _)| kind.eq_ignore_ascii_case(name)).map(|(_, operation)| *operation)
}

/// The key under which a field of a `tracing` macro is exported: `node.id` becomes `longpole.node.id`, a field
/// with no short form keeps its name.
pub fn exported_key(field: &str) -> &str {
    match field {
        "node.id" => NODE_ID,
        "node.kind" => NODE_KIND,
        "node.depends_on" => NODE_DEPENDS_ON,
        "node.detached" => NODE_DETACHED,
        "node.attempt" => NODE_ATTEMPT,
        "node.turns" => NODE_TURNS,
        "node.input_bytes" => NODE_INPUT_BYTES,
        "node.output_bytes" => NODE_OUTPUT_BYTES,
        "node.input_hash" => NODE_INPUT_HASH,
        "node.error_type" => NODE_ERROR_TYPE,
        "node.phase" => NODE_PHASE,
        "node.cost_usd" => COST_USD,
        "workflow.name" => WORKFLOW_NAME,
        "workflow.version" => WORKFLOW_VERSION,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_short_form_and_its_exported_key_tell_the_same() {
        for field in [
            "node.id",
            "node.kind",
            "node.depends_on",
            "node.detached",
            "node.attempt",
            "node.turns",
            "node.input_bytes",
            "node.output_bytes",
            "node.input_hash",
            "node.error_type",
            "node.phase",
            "node.cost_usd",
            "workflow.name",
            "workflow.version",
        ] {
            assert_ne!(exported_key(field), field);
            assert!(fact_of(field).is_some(), "{field}");
            assert_eq!(fact_of(field), fact_of(exported_key(field)), "{field}");
        }
        assert_eq!(fact_of("node.idx"), None);
        assert_eq!(fact_of("nodes"), None);
    }

    #[test]
    fn every_key_of_the_table_is_read_as_it_says_and_stands_there_once() {
        for (index, (key, fact, dialect)) in READ.iter().enumerate() {
            assert_eq!(meaning_of(key), Some((*fact, *dialect)), "{key}");
            assert!(READ[..index].iter().all(|(other, ..)| other != key), "{key} twice");
        }
        for (prefix, fact, dialect) in FAMILIES {
            assert_eq!(meaning_of(&format!("{prefix}any")), Some((fact, dialect)));
        }
        for unread in ["", "llm.", "llm.usage.tokens", "gen_ai.aggregated_usage.input_tokens", "tools.name"] {
            assert_eq!(meaning_of(unread), None, "{unread}");
        }
    }

    #[test]
    fn kinds_of_either_dialect_are_operations_or_none() {
        assert_eq!(operation_of_kind("LLM"), Some("chat"));
        assert_eq!(operation_of_kind("tool"), Some("execute_tool"));
        assert_eq!(operation_of_kind("AGENT"), Some("invoke_agent"));
        assert_eq!(operation_of_kind("completion"), Some("text_completion"));
        for other in ["CHAIN", "workflow", "task", "GUARDRAIL", "UNKNOWN", ""] {
            assert_eq!(operation_of_kind(other), None, "{other}");
        }
    }

    fn page() -> String {
        let mut page = String::from(
            "# Attributes that are read\n\n\
             What `longpole` reads from a span, whether the span is its own or comes from another library. Where two \
             attributes tell the same, the one in the earlier table counts, in whatever order they come; within a \
             table the one with the shorter name. Everything else is kept in what is exported and not looked at.\n\n\
             This page is made from the code: `UPDATE_DOCS=1 cargo test --lib conventions`.\n",
        );
        let tables = [
            ("longpole", Dialect::Longpole),
            ("OpenTelemetry", Dialect::OpenTelemetry),
            ("Older and additional `gen_ai` spellings", Dialect::OldGenAi),
            ("OpenInference", Dialect::OpenInference),
            ("OpenLLMetry (Traceloop)", Dialect::OpenLlmetry),
            ("Vercel AI SDK", Dialect::VercelAi),
            ("MLflow", Dialect::Mlflow),
            ("Langfuse", Dialect::Langfuse),
            ("Pydantic AI and Logfire", Dialect::PydanticAi),
            ("LiteLLM", Dialect::LiteLlm),
        ];
        for (heading, dialect) in tables {
            write!(page, "\n## {heading}\n\n| attribute | tells |\n|---|---|\n").unwrap();
            for (key, fact, _) in READ.iter().filter(|row| row.2 == dialect) {
                writeln!(page, "| `{key}` | {} |", fact.tells()).unwrap();
            }
            for (prefix, fact, _) in FAMILIES.iter().filter(|row| row.2 == dialect) {
                writeln!(page, "| `{prefix}*` | {} |", fact.tells()).unwrap();
            }
        }
        page.push_str(
            "\n## Sorts of spans\n\n\
             Other dialects name the sort of a span where OpenTelemetry names its operation. \
             `gen_ai.operation.name` counts if it is there too.\n\n| sort | operation |\n|---|---|\n",
        );
        for (kind, operation) in OPERATIONS {
            writeln!(page, "| `{kind}` | `{operation}` |").unwrap();
        }
        page.push_str(
            "\nA node is named after its operation and the agent, the tool or the model; an agent or a tool without \
             a name of its own takes `traceloop.entity.name` or `graph.node.id`, else the span's name. A `task`, a \
             `guardrail` and an `evaluator` are nodes under such a name alone, a `chain` only if it has a \
             `graph.node.id`. Other chains and workflows contain steps and are none; their own time goes to the node \
             around them.\n",
        );
        page
    }

    #[test]
    fn the_page_of_attributes_is_this_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conventions.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, page(), "made anew by UPDATE_DOCS=1 cargo test --lib conventions");
    }
}
