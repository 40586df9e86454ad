//! What must not leave the process: content of conversations, values of keys that name secrets, and secrets inside
//! text.
//!
//! What becomes of a key is decided once for each field of a macro. Values are looked through as they are encoded, so
//! that nothing that is withheld is ever in a queue or on a disk.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod address;
mod content;
mod key_pattern;
mod secrets;

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};

pub(crate) use address::shown_address;
use key_pattern::KeyPattern;
pub(crate) use secrets::{SHORTEST_SECRET, mask, mask_within};

use crate::conventions::{Dialect, Fact, fact_of, meaning_of};

/// What stands in place of a value that is withheld.
pub(crate) const REDACTED: &str = "[redacted]";

/// Where the content of conversations is written: into attributes of spans, of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContentCapture {
    pub(crate) in_spans: bool,
    pub(crate) in_events: bool,
}

impl ContentCapture {
    pub(crate) const NONE: ContentCapture = ContentCapture { in_spans: false, in_events: false };
    pub(crate) const ALL: ContentCapture = ContentCapture { in_spans: true, in_events: true };
}

/// What carries an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Span,
    Event,
}

/// What becomes of the values of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Written, secrets inside text masked.
    Plain,
    /// The same, up to the length for content.
    Content,
    /// `[redacted]` is written, whatever the type.
    Redacted,
    /// Content that nobody asked for.
    LeftOut,
    /// The same, of which the analysis gets a number that stands for it.
    LeftOutButHashed,
}

/// Which keys are withheld. Equal ones are one and the same in a process and are never freed: a program has one, or
/// a few.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Names it among the policies of the process.
    pub(crate) number: u32,
    content: ContentCapture,
    /// Beyond [`KEYS_OF_SECRETS`].
    added_keys: Vec<String>,
    patterns: Vec<KeyPattern>,
}

/// Keys whose values are secrets. A pattern is matched with the whole key and with what follows each of its dots, so
/// that `authorization` covers `http.request.header.authorization`.
pub(crate) const KEYS_OF_SECRETS: [&str; 10] = [
    "authorization",
    "proxy[-_]authorization",
    "cookie",
    "set[-_]cookie",
    "*api[-_]key*",
    "*apikey*",
    // Not `…_tokens`: those are counts.
    "*token",
    "*secret*",
    "*password*",
    "x[-_]*[-_]key",
];

impl Policy {
    /// The policy that captures so much content and withholds the values of [`KEYS_OF_SECRETS`] and `added_keys`.
    pub(crate) fn of(content: ContentCapture, added_keys: &[String]) -> &'static Policy {
        static POLICIES: Mutex<Vec<&'static Policy>> = Mutex::new(Vec::new());
        let mut policies = POLICIES.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |policy: &Policy| policy.content == content && policy.added_keys == added_keys;
        if let Some(known) = policies.iter().copied().find(|policy| is_same(policy)) {
            return known;
        }
        let added = added_keys.iter().map(String::as_str);
        let policy: &'static Policy = Box::leak(Box::new(Policy {
            number: u32::try_from(policies.len()).unwrap_or(u32::MAX),
            content,
            added_keys: added_keys.to_vec(),
            patterns: KEYS_OF_SECRETS.into_iter().chain(added).map(KeyPattern::new).collect(),
        }));
        policies.push(policy);
        policy
    }

    /// What becomes of the values of `key`. Costs some comparisons for each byte of the key.
    pub(crate) fn treatment(&self, key: &str, carrier: Carrier) -> Treatment {
        // No key the analysis reads the value of is one of a secret, unless the user says so.
        let is_read = !matches!(fact_of(key), None | Some(Fact::Http | Fact::Db));
        if !(is_read && self.added_keys.is_empty()) && self.redacts(key) {
            return Treatment::Redacted;
        }
        if !content::is_content(key) {
            return Treatment::Plain;
        }
        let is_captured = match carrier {
            Carrier::Span => self.content.in_spans,
            Carrier::Event => self.content.in_events,
        };
        match (is_captured, carrier) {
            (true, _) => Treatment::Content,
            (false, Carrier::Span) if tells_input(key) => Treatment::LeftOutButHashed,
            (false, _) => Treatment::LeftOut,
        }
    }

    /// Whether the values of `key` are secrets.
    pub(crate) fn redacts(&self, key: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(key))
    }
}

impl Default for &'static Policy {
    /// Captures no content, adds no keys.
    fn default() -> Self {
        static DEFAULT: OnceLock<&'static Policy> = OnceLock::new();
        DEFAULT.get_or_init(|| Policy::of(ContentCapture::NONE, &[]))
    }
}

/// Whether the analysis compares executions by the values of `key`, which are no numbers of the program's making.
fn tells_input(key: &str) -> bool {
    matches!(meaning_of(key), Some((Fact::InputHash, dialect)) if dialect != Dialect::Longpole)
}

/// A number that stands for an input that is left out: equal inputs of a process have equal numbers, and without
/// its random key nobody can try which text has a number. It fits into 53 bits, so that readers that take numbers for
/// doubles keep it whole. Of an input longer than `limit` bytes the front counts, and the length.
pub(crate) fn input_hash(input: &[u8], limit: usize) -> i64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = KEY.get_or_init(RandomState::new).build_hasher();
    input.get(..limit).unwrap_or(input).hash(&mut hasher);
    input.len().hash(&mut hasher);
    (hasher.finish() >> 11).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treatment(key: &str) -> Treatment {
        <&Policy>::default().treatment(key, Carrier::Span)
    }

    #[test]
    fn keys_of_secrets_are_redacted_and_counts_of_tokens_are_not() {
        for key in [
            "authorization",
            "Authorization",
            "http.request.header.authorization",
            "proxy-authorization",
            "http.request.header.cookie",
            "Set-Cookie",
            "set_cookie",
            "api_key",
            "OPENAI_API_KEY",
            "openai.api-key.value",
            "apiKey",
            "token",
            "access_token",
            "auth.token",
            "client_secret",
            "db.password",
            "PASSWORD_HASH",
            "x-goog-key",
            "http.request.header.x-vendor-auth-key",
        ] {
            assert_eq!(treatment(key), Treatment::Redacted, "{key}");
        }
        for key in [
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.token.type",
            "llm.token_count.prompt",
            "max_tokens",
            "tokens",
            "cookies_eaten",
            "key",
            "node.id",
            "authorization_ms",
        ] {
            assert_eq!(treatment(key), Treatment::Plain, "{key}");
        }
    }

    #[test]
    fn no_key_that_is_read_or_written_is_one_of_a_secret() {
        let page = include_str!("../../docs/conventions.md");
        let keys: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert!(keys.len() > 80, "{keys:?}");
        for key in keys.into_iter().filter(|key| !key.contains('*')) {
            assert!(!<&Policy>::default().redacts(key), "{key}");
        }
    }

    #[test]
    fn what_libraries_tell_of_inputs_is_content_and_leaves_a_number() {
        for key in ["gen_ai.tool.call.arguments", "input.value", "traceloop.entity.input"] {
            assert_eq!(treatment(key), Treatment::LeftOutButHashed, "{key}");
        }
        assert_eq!(treatment("node.input_hash"), Treatment::Plain);
        assert_eq!(treatment("longpole.node.input_hash"), Treatment::Plain);
        let in_event = <&Policy>::default().treatment("input.value", Carrier::Event);
        assert_eq!(in_event, Treatment::LeftOut, "nothing reads it there");
    }

    #[test]
    fn content_is_captured_where_it_is_asked_for() {
        let in_spans = ContentCapture { in_spans: true, in_events: false };
        let policy = Policy::of(in_spans, &[]);
        assert_eq!(policy.treatment("gen_ai.prompt", Carrier::Span), Treatment::Content);
        assert_eq!(policy.treatment("gen_ai.prompt", Carrier::Event), Treatment::LeftOut);
        assert_eq!(policy.treatment("gen_ai.prompt.token", Carrier::Span), Treatment::Redacted);
    }

    #[test]
    fn keys_are_added_and_equal_policies_are_one() {
        let added = ["customer.*".to_owned(), "node.id".to_owned()];
        let policy = Policy::of(ContentCapture::NONE, &added);
        assert_eq!(policy.treatment("customer.name", Carrier::Span), Treatment::Redacted);
        assert_eq!(policy.treatment("node.id", Carrier::Span), Treatment::Redacted);
        assert_eq!(policy.treatment("token", Carrier::Span), Treatment::Redacted);
        assert_eq!(policy.number, Policy::of(ContentCapture::NONE, &added).number);
        assert_ne!(policy.number, <&Policy>::default().number);
    }

    #[test]
    fn the_number_of_an_input_tells_equal_from_different() {
        let hash = |text: &str| input_hash(text.as_bytes(), 8);
        assert_eq!(hash("weather"), hash("weather"));
        assert_ne!(hash("weather"), hash("Weather"));
        assert_ne!(hash("12345678"), hash("123456789"), "longer ones differ by their length");
        assert_eq!(hash("12345678a"), hash("12345678b"), "what is past the limit is not read");
        assert!((0..1 << 53).contains(&hash("weather")));
    }
}
