//! Which attributes hold the content of conversations: what people and models said, what tools were given and gave.

/// Keys, exact.
const KEYS: [&str; 33] = [
    // OpenTelemetry's conventions for generative AI, newer and older.
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.definitions",
    "gen_ai.retrieval.query",
    "gen_ai.retrieval.query.text",
    "gen_ai.retrieval.documents",
    "gen_ai.memory.records",
    "gen_ai.memory.query.text",
    "gen_ai.event.content",
    "gen_ai.prompt",
    "gen_ai.completion",
    // OpenInference.
    "input.value",
    "output.value",
    "llm.function_call",
    "llm.prompt_template.template",
    "llm.prompt_template.variables",
    "tool.parameters",
    "tool_call.function.arguments",
    "reranker.query",
    "document.content",
    "embedding.text",
    "message.content",
    // OpenLLMetry.
    "traceloop.entity.input",
    "traceloop.entity.output",
    // Others that programs in Rust write.
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.trace.input",
    "langfuse.trace.output",
    "gcp.vertex.agent.llm_request",
    "gcp.vertex.agent.llm_response",
];

/// Keys that have further parts after these: a list is written as one attribute for each of its members.
const LISTS: [&str; 18] = [
    "gen_ai.input.messages.",
    "gen_ai.output.messages.",
    "gen_ai.content.",
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "input.images",
    "input.documents",
    "input.audio",
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompts",
    "llm.completions",
    "llm.choices",
    "message.contents",
    "retrieval.documents",
    "reranker.input_documents",
    "reranker.output_documents",
    "embedding.embeddings",
];

/// What stands under a list and is no content.
const NAMES: [&str; 2] = ["gen_ai.prompt.name", "gen_ai.prompt.version"];

/// Whether the attribute `key` holds content.
pub(super) fn is_content(key: &str) -> bool {
    KEYS.contains(&key) || LISTS.iter().any(|front| key.starts_with(front)) && !NAMES.contains(&key)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conventions::{Fact, fact_of};

    #[test]
    fn texts_are_content_and_what_describes_them_is_not() {
        for key in [
            "gen_ai.prompt.0.content",
            "gen_ai.input.messages.0.content",
            "llm.input_messages.3.message.content",
            "retrieval.documents.0.document.content",
            "embedding.embeddings.0.embedding.text",
        ] {
            assert!(is_content(key), "{key}");
        }
        for key in [
            "gen_ai.prompt.name",
            "gen_ai.request.model",
            "gen_ai.usage.prompt_tokens",
            "gen_ai.usage.completion_tokens",
            "gen_ai.output.type",
            "llm.token_count.prompt",
            "input.mime_type",
            "tool.name",
            "message",
        ] {
            assert!(!is_content(key), "{key}");
        }
    }

    #[test]
    fn no_content_is_read_by_the_analysis_but_inputs() {
        for key in KEYS {
            assert!(matches!(fact_of(key), None | Some(Fact::InputHash)), "{key}");
        }
    }

    #[test]
    fn the_page_about_privacy_lists_them() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/privacy.md");
        let page = std::fs::read_to_string(page).unwrap();
        let listed = |key: &str| page.contains(&format!("`{key}`")) || page.contains(&format!("`{key}*`"));
        let missing: Vec<&str> = KEYS.into_iter().chain(LISTS).filter(|key| !listed(key)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
