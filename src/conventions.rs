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
    /// The class of a node's error.
    NODE_ERROR_TYPE = "longpole.node.error_type";
    /// The phase a span inside a node stands for.
    NODE_PHASE = "longpole.node.phase";
    /// What a node cost, in USD (double).
    COST_USD = "longpole.cost.usd";
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
    /// On metrics: why spans were lost.
    REASON = "longpole.reason";

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

/// What an attribute tells the analysis. Whoever reads attributes goes through [`fact_of`]; nothing else knows keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the key of the same name")]
pub enum Fact {
    NodeId,
    NodeKind,
    DependsOn,
    Detached,
    Attempt,
    Turns,
    InputBytes,
    OutputBytes,
    ErrorType,
    Phase,
    Cost,
    WorkflowName,
    WorkflowVersion,
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
    /// Any key under `http.` or `url.`: the span is an HTTP call.
    Http,
    /// Any key under `db.`: the span is a database call.
    Db,
}

/// What the attribute `key` tells, or `None` if the analysis does not read it.
///
/// Accepts exported keys, their short forms, and the older spellings that are read but never written.
pub fn fact_of(key: &str) -> Option<Fact> {
    use Fact::*;
    if let Some(rest) = key.strip_prefix("longpole.") {
        return match rest {
            "cost.usd" | "cost_usd" => Some(Cost),
            "depends_on" => Some(DependsOn),
            "detached" => Some(Detached),
            "workflow.name" => Some(WorkflowName),
            "workflow.version" => Some(WorkflowVersion),
            "queued_ns" => Some(Queued),
            "busy_ns" => Some(Busy),
            "polls" => Some(Polls),
            "longest_poll_ns" => Some(LongestPoll),
            "first_enter_ns" => Some(FirstEnter),
            "held_open_ns" => Some(HeldOpen),
            "outcome" => Some(Outcome),
            "node.name" => Some(NodeId),
            _ => node_fact_of(rest),
        };
    }
    if let Some(rest) = key.strip_prefix("gen_ai.") {
        return match rest {
            "operation.name" => Some(Operation),
            "agent.name" => Some(AgentName),
            "tool.name" => Some(ToolName),
            "workflow.name" => Some(WorkflowName),
            "provider.name" | "system" => Some(Provider),
            "request.model" => Some(RequestModel),
            "response.model" => Some(ResponseModel),
            "usage.input_tokens" => Some(InputTokens),
            "usage.output_tokens" => Some(OutputTokens),
            "usage.cache_read.input_tokens" => Some(CacheReadTokens),
            "usage.cache_write.input_tokens" | "usage.cache_creation.input_tokens" => Some(CacheWriteTokens),
            "usage.reasoning.output_tokens" | "usage.reasoning_tokens" => Some(ReasoningTokens),
            _ => None,
        };
    }
    match key {
        "workflow.name" => Some(WorkflowName),
        "workflow.version" => Some(WorkflowVersion),
        ERROR_TYPE => Some(ErrorType),
        _ if key.starts_with("http.") || key.starts_with("url.") => Some(Http),
        _ if key.starts_with("db.") => Some(Db),
        _ => node_fact_of(key),
    }
}

fn node_fact_of(key: &str) -> Option<Fact> {
    use Fact::*;
    match key.strip_prefix("node.")? {
        "id" => Some(NodeId),
        "kind" => Some(NodeKind),
        "depends_on" => Some(DependsOn),
        "detached" => Some(Detached),
        "attempt" => Some(Attempt),
        "turns" => Some(Turns),
        "input_bytes" => Some(InputBytes),
        "output_bytes" => Some(OutputBytes),
        "error_type" => Some(ErrorType),
        "phase" => Some(Phase),
        "cost_usd" => Some(Cost),
        _ => None,
    }
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
}
