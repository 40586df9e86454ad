//! What a provider's own answer says a call used.
//!
//! Providers count differently: Anthropic and Bedrock leave cached tokens out of the input, Gemini leaves thinking out
//! of the output, xAI reasoning. [`Usage`] has them all in, as OpenTelemetry has it; here is where that is made so.

use serde_json::Value;

use super::{Unit, Usage};

/// Why nothing could be read from an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadUsageError {
    /// It is not JSON.
    #[error("the answer is not JSON")]
    Json(#[from] serde_json::Error),
    /// It tells no usage; a stream may have to be asked for it.
    #[error("the answer tells no usage; for a stream, ask for it: with OpenAI, stream_options.include_usage")]
    NoUsage,
    /// A count is no whole number that is not negative.
    #[error("{path} is {value}, not a count")]
    BadCount {
        /// Where it stands.
        path: String,
        /// What stands there.
        value: String,
    },
}

impl Usage {
    /// Reads what a call used from the body of a provider's answer: JSON as the APIs of OpenAI (chat, responses,
    /// realtime, embeddings) and those like it, Anthropic, Gemini and Vertex, Bedrock (Converse), Cohere and Mistral
    /// give it. The whole body, or the object of the usage alone.
    ///
    /// `provider` decides where two count differently under one name; otherwise the shape does.
    ///
    /// # Errors
    /// [`ReadUsageError`]; a count that makes no sense is never passed over.
    pub fn from_response(provider: &str, body: &str) -> Result<Usage, ReadUsageError> {
        let body: Value = serde_json::from_str(body)?;
        let provider = provider.to_ascii_lowercase();
        let is_of = |shape: &&Shape| {
            shape.providers.is_empty() || shape.providers.iter().any(|p| provider.contains(p))
        };
        for root in ROOTS {
            let Some(usage) = root.iter().try_fold(&body, |value, name| value.get(name)) else { continue };
            let told = SHAPES.iter().filter(is_of).find(|shape| at(usage, shape.required).is_some());
            if let Some(shape) = told {
                return shape.read(usage);
            }
        }
        Err(ReadUsageError::NoUsage)
    }
}

/// Where in an answer its usage may stand; the answer itself last.
const ROOTS: [&[&str]; 8] = [
    &["usage", "billed_units"],
    &["meta", "billed_units"],
    &["usage"],
    &["usageMetadata"],
    &["response", "usage"],
    &["message", "usage"],
    &["usage_info"],
    &[],
];

/// One way to tell what was used.
struct Shape {
    /// Parts of the names of those who mean it so; empty: everybody.
    providers: &'static [&'static str],
    /// What is there, if it is this one.
    required: &'static [&'static str],
    /// Where a count stands, and what it counts into: several, where the whole is told without the part.
    counts: &'static [(&'static [&'static str], &'static [&'static str])],
}

impl Shape {
    fn read(&self, usage: &Value) -> Result<Usage, ReadUsageError> {
        let mut read = Usage::default();
        for (path, units) in self.counts {
            let Some(value) = at(usage, path).filter(|value| !value.is_null()) else { continue };
            let Some(count) = value.as_u64().filter(|count| i64::try_from(*count).is_ok()) else {
                return Err(ReadUsageError::BadCount { path: path.join("."), value: value.to_string() });
            };
            for unit in units.iter().filter_map(|name| Unit::from_name(name)) {
                read.set(unit, read.get(unit).unwrap_or(0).saturating_add(count));
            }
        }
        Ok(read)
    }
}

/// What stands at a path. A name with a colon looks in a list for the object whose member says so.
fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| match name.split_once(':') {
        Some((member, wanted)) => {
            value.as_array()?.iter().find(|item| item.get(member).is_some_and(|is| is == wanted))
        }
        None => value.get(name),
    })
}

const SHAPES: &[Shape] = &[
    // xAI's chat API counts reasoning beside the completion, and so does Perplexity, with what it cites.
    Shape {
        providers: &["x-ai", "xai", "x_ai", "grok"],
        required: &["prompt_tokens"],
        counts: &[
            (&["prompt_tokens"], &["input_tokens"]),
            (&["prompt_tokens_details", "cached_tokens"], &["cache_read_tokens"]),
            (&["completion_tokens"], &["output_tokens"]),
            (
                &["completion_tokens_details", "reasoning_tokens"],
                &["output_tokens", "output_reasoning_tokens"],
            ),
            (&["completion_tokens_details", "audio_tokens"], &["output_audio_tokens"]),
        ],
    },
    Shape {
        providers: &["perplexity"],
        required: &["prompt_tokens"],
        counts: &[
            (&["prompt_tokens"], &["input_tokens"]),
            (&["completion_tokens"], &["output_tokens"]),
            (&["reasoning_tokens"], &["output_tokens", "output_reasoning_tokens"]),
            (&["citation_tokens"], &["output_tokens", "output_citation_tokens"]),
            (&["num_search_queries"], &["web_searches"]),
        ],
    },
    // OpenAI's chat API and all that copy it.
    Shape {
        providers: &[],
        required: &["prompt_tokens"],
        counts: &[
            (&["prompt_tokens"], &["input_tokens"]),
            (&["prompt_tokens_details", "cached_tokens"], &["cache_read_tokens"]),
            (&["prompt_tokens_details", "cache_write_tokens"], &["cache_write_tokens"]),
            (&["prompt_tokens_details", "audio_tokens"], &["input_audio_tokens"]),
            (&["completion_tokens"], &["output_tokens"]),
            (&["completion_tokens_details", "reasoning_tokens"], &["output_reasoning_tokens"]),
            (&["completion_tokens_details", "audio_tokens"], &["output_audio_tokens"]),
        ],
    },
    // Anthropic's messages leave cached tokens out of the input; OpenAI's responses have them in. Their names for
    // those differ, so one table reads both. Cohere's billed units are told under the same names.
    Shape {
        providers: &[],
        required: &["input_tokens"],
        counts: &[
            (&["input_tokens"], &["input_tokens"]),
            (&["cache_read_input_tokens"], &["input_tokens", "cache_read_tokens"]),
            (&["cache_creation_input_tokens"], &["input_tokens", "cache_write_tokens"]),
            (&["cache_creation", "ephemeral_5m_input_tokens"], &["cache_write_5m_tokens"]),
            (&["cache_creation", "ephemeral_1h_input_tokens"], &["cache_write_1h_tokens"]),
            (&["server_tool_use", "web_search_requests"], &["web_searches"]),
            (&["input_tokens_details", "cached_tokens"], &["cache_read_tokens"]),
            (&["input_tokens_details", "cache_write_tokens"], &["cache_write_tokens"]),
            (&["input_tokens_details", "text_tokens"], &["input_text_tokens"]),
            (&["input_tokens_details", "image_tokens"], &["input_image_tokens"]),
            (&["input_token_details", "cached_tokens"], &["cache_read_tokens"]),
            (&["input_token_details", "cached_tokens_details", "text_tokens"], &["cache_text_read_tokens"]),
            (&["input_token_details", "cached_tokens_details", "audio_tokens"], &["cache_audio_read_tokens"]),
            (&["input_token_details", "cached_tokens_details", "image_tokens"], &["cache_image_read_tokens"]),
            (&["input_token_details", "text_tokens"], &["input_text_tokens"]),
            (&["input_token_details", "audio_tokens"], &["input_audio_tokens"]),
            (&["input_token_details", "image_tokens"], &["input_image_tokens"]),
            (&["output_tokens"], &["output_tokens"]),
            (&["output_tokens_details", "reasoning_tokens"], &["output_reasoning_tokens"]),
            (&["output_tokens_details", "thinking_tokens"], &["output_reasoning_tokens"]),
            (&["output_tokens_details", "text_tokens"], &["output_text_tokens"]),
            (&["output_tokens_details", "image_tokens"], &["output_image_tokens"]),
            (&["output_token_details", "text_tokens"], &["output_text_tokens"]),
            (&["output_token_details", "audio_tokens"], &["output_audio_tokens"]),
            (&["search_units"], &["rerank_searches"]),
        ],
    },
    Shape {
        providers: &[],
        required: &["search_units"],
        counts: &[(&["search_units"], &["rerank_searches"])],
    },
    // Gemini: cached tokens are in the prompt, what tools gave it and what it thinks are beside.
    Shape {
        providers: &[],
        required: &["promptTokenCount"],
        counts: &[
            (&["promptTokenCount"], &["input_tokens"]),
            (&["toolUsePromptTokenCount"], &["input_tokens", "input_tool_tokens"]),
            (&["cachedContentTokenCount"], &["cache_read_tokens"]),
            (&["promptTokensDetails", "modality:TEXT", "tokenCount"], &["input_text_tokens"]),
            (&["promptTokensDetails", "modality:AUDIO", "tokenCount"], &["input_audio_tokens"]),
            (&["promptTokensDetails", "modality:IMAGE", "tokenCount"], &["input_image_tokens"]),
            (&["promptTokensDetails", "modality:VIDEO", "tokenCount"], &["input_video_tokens"]),
            (&["cacheTokensDetails", "modality:TEXT", "tokenCount"], &["cache_text_read_tokens"]),
            (&["cacheTokensDetails", "modality:AUDIO", "tokenCount"], &["cache_audio_read_tokens"]),
            (&["cacheTokensDetails", "modality:IMAGE", "tokenCount"], &["cache_image_read_tokens"]),
            (&["cacheTokensDetails", "modality:VIDEO", "tokenCount"], &["cache_video_read_tokens"]),
            (
                &["toolUsePromptTokensDetails", "modality:TEXT", "tokenCount"],
                &["input_text_tokens", "input_text_tool_tokens"],
            ),
            (
                &["toolUsePromptTokensDetails", "modality:AUDIO", "tokenCount"],
                &["input_audio_tokens", "input_audio_tool_tokens"],
            ),
            (
                &["toolUsePromptTokensDetails", "modality:IMAGE", "tokenCount"],
                &["input_image_tokens", "input_image_tool_tokens"],
            ),
            (&["candidatesTokenCount"], &["output_tokens"]),
            (&["thoughtsTokenCount"], &["output_tokens", "output_reasoning_tokens"]),
            (&["candidatesTokensDetails", "modality:TEXT", "tokenCount"], &["output_text_tokens"]),
            (&["candidatesTokensDetails", "modality:AUDIO", "tokenCount"], &["output_audio_tokens"]),
            (&["candidatesTokensDetails", "modality:IMAGE", "tokenCount"], &["output_image_tokens"]),
            (&["candidatesTokensDetails", "modality:VIDEO", "tokenCount"], &["output_video_tokens"]),
        ],
    },
    // Bedrock's Converse leaves cached tokens out of the input.
    Shape {
        providers: &[],
        required: &["inputTokens"],
        counts: &[
            (&["inputTokens"], &["input_tokens"]),
            (&["cacheReadInputTokens"], &["input_tokens", "cache_read_tokens"]),
            (&["cacheWriteInputTokens"], &["input_tokens", "cache_write_tokens"]),
            (&["cacheDetails", "ttl:5m", "inputTokens"], &["cache_write_5m_tokens"]),
            (&["cacheDetails", "ttl:1h", "inputTokens"], &["cache_write_1h_tokens"]),
            (&["outputTokens"], &["output_tokens"]),
        ],
    },
    // Pages read by Mistral's text recognition.
    Shape {
        providers: &[],
        required: &["pages_processed"],
        counts: &[(&["pages_processed"], &["input_document_pages"])],
    },
    Shape { providers: &[], required: &["seconds"], counts: &[(&["seconds"], &["audio_seconds"])] },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told, in the order of names.
    fn read(provider: &str, body: &str) -> Vec<(&'static str, u64)> {
        let usage = Usage::from_response(provider, body).unwrap();
        let mut told: Vec<_> = usage.iter().map(|(unit, count)| (unit.name(), count)).collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn every_unit_named_is_one() {
        let named = SHAPES.iter().flat_map(|shape| shape.counts).flat_map(|(_, units)| *units);
        named.for_each(|name| assert!(Unit::from_name(name).is_some(), "{name}"));
    }

    #[test]
    fn openai_tells_the_whole_and_its_parts() {
        let chat = r#"{"model":"gpt-4o","usage":{"prompt_tokens":1000,"completion_tokens":300,"total_tokens":1300,
            "prompt_tokens_details":{"cached_tokens":400,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":200,"audio_tokens":0,"rejected_prediction_tokens":0}}}"#;
        let expected = [
            ("cache_read_tokens", 400),
            ("input_audio_tokens", 0),
            ("input_tokens", 1000),
            ("output_audio_tokens", 0),
            ("output_reasoning_tokens", 200),
            ("output_tokens", 300),
        ];
        assert_eq!(read("openai", chat), expected);
        let responses = r#"{"usage":{"input_tokens":1000,"input_tokens_details":{"cached_tokens":400},
            "output_tokens":300,"output_tokens_details":{"reasoning_tokens":200}}}"#;
        let expected = [
            ("cache_read_tokens", 400),
            ("input_tokens", 1000),
            ("output_reasoning_tokens", 200),
            ("output_tokens", 300),
        ];
        assert_eq!(read("openai", responses), expected);
        assert_eq!(
            read("openai", r#"{"prompt_tokens":7,"completion_tokens_details":null}"#),
            [("input_tokens", 7)]
        );
    }

    #[test]
    fn anthropic_and_bedrock_leave_cached_tokens_out_of_the_input() {
        let messages = r#"{"usage":{"input_tokens":2000,"cache_creation_input_tokens":2000,
            "cache_read_input_tokens":6000,"output_tokens":500,
            "cache_creation":{"ephemeral_5m_input_tokens":1500,"ephemeral_1h_input_tokens":500},
            "server_tool_use":{"web_search_requests":1}}}"#;
        let expected = [
            ("cache_read_tokens", 6000),
            ("cache_write_1h_tokens", 500),
            ("cache_write_5m_tokens", 1500),
            ("cache_write_tokens", 2000),
            ("input_tokens", 10_000),
            ("output_tokens", 500),
            ("web_searches", 1),
        ];
        assert_eq!(read("anthropic", messages), expected);
        let converse = r#"{"usage":{"inputTokens":10,"cacheReadInputTokens":100,"cacheWriteInputTokens":50,
            "outputTokens":7,"totalTokens":167,"cacheDetails":[{"ttl":"1h","inputTokens":50}]}}"#;
        let expected = [
            ("cache_read_tokens", 100),
            ("cache_write_1h_tokens", 50),
            ("cache_write_tokens", 50),
            ("input_tokens", 160),
            ("output_tokens", 7),
        ];
        assert_eq!(read("aws.bedrock", converse), expected);
    }

    #[test]
    fn gemini_and_xai_count_thinking_beside_the_output() {
        let gemini = r#"{"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":40,
            "candidatesTokenCount":20,"thoughtsTokenCount":30,"toolUsePromptTokenCount":5,"totalTokenCount":155,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":60},{"modality":"AUDIO","tokenCount":40}]}}"#;
        let expected = [
            ("cache_read_tokens", 40),
            ("input_audio_tokens", 40),
            ("input_text_tokens", 60),
            ("input_tokens", 105),
            ("input_tool_tokens", 5),
            ("output_reasoning_tokens", 30),
            ("output_tokens", 50),
        ];
        assert_eq!(read("gcp.gemini", gemini), expected);
        let grok = r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,
            "completion_tokens_details":{"reasoning_tokens":50}}}"#;
        let expected = [("input_tokens", 10), ("output_reasoning_tokens", 50), ("output_tokens", 55)];
        assert_eq!(read("x_ai", grok), expected);
        let as_openai = [("input_tokens", 10), ("output_reasoning_tokens", 50), ("output_tokens", 5)];
        assert_eq!(read("openai", grok), as_openai);
    }

    #[test]
    fn billed_units_beat_what_was_counted() {
        let cohere = r#"{"usage":{"billed_units":{"input_tokens":5,"output_tokens":9},
            "tokens":{"input_tokens":71,"output_tokens":9}}}"#;
        assert_eq!(read("cohere", cohere), [("input_tokens", 5), ("output_tokens", 9)]);
        let rerank = r#"{"results":[],"meta":{"billed_units":{"search_units":1}}}"#;
        assert_eq!(read("cohere", rerank), [("rerank_searches", 1)]);
    }

    #[test]
    fn nothing_is_guessed() {
        let error = |body: &str| Usage::from_response("openai", body).unwrap_err().to_string();
        assert_eq!(error(r#"{"usage":{"prompt_tokens":-1}}"#), "prompt_tokens is -1, not a count");
        assert_eq!(error(r#"{"usage":{"prompt_tokens":1.5}}"#), "prompt_tokens is 1.5, not a count");
        let beyond = r#"{"usage":{"prompt_tokens":1,"completion_tokens":9223372036854775808}}"#;
        assert_eq!(error(beyond), "completion_tokens is 9223372036854775808, not a count");
        assert!(error(r#"{"choices":[]}"#).contains("include_usage"));
        assert!(error("usage: 3").contains("not JSON"));
    }
}
