//! How names of models, words for providers and addresses are recognised.

use std::sync::OnceLock;

use fancy_regex::{Regex, RegexBuilder};

/// What a name must be like. All but patterns ignore case; names are given in lower case.
#[derive(Debug)]
pub(super) enum Clause {
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    Equals(Box<str>),
    Regex(Pattern),
    Or(Box<[Clause]>),
    And(Box<[Clause]>),
}

impl Clause {
    /// Whether `name`, which is in lower case, is so.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Clause::StartsWith(text) => name.starts_with(&**text),
            Clause::EndsWith(text) => name.ends_with(&**text),
            Clause::Contains(text) => name.contains(&**text),
            Clause::Equals(text) => name == &**text,
            Clause::Regex(pattern) => pattern.matches(name),
            Clause::Or(clauses) => clauses.iter().any(|clause| clause.matches(name)),
            Clause::And(clauses) => clauses.iter().all(|clause| clause.matches(name)),
        }
    }
}

/// A regular expression that is compiled when it is first asked.
///
/// Look-ahead is needed: tables say "of this family, but not for speech" with it.
#[derive(Debug)]
pub(super) struct Pattern {
    source: Box<str>,
    /// What it can only begin with: most names are told apart by it, without compiling anything.
    beginning: Box<str>,
    regex: OnceLock<Option<Box<Regex>>>,
}

/// So many steps back and forth a pattern may take; names are short, and nobody waits for a pattern that runs wild.
const MAX_STEPS: usize = 100_000;
/// Bytes a compiled pattern may take.
const MAX_COMPILED: usize = 1 << 20;

impl Pattern {
    pub(super) fn new(source: Box<str>) -> Self {
        let beginning = beginning(&source).into();
        Pattern { source, beginning, regex: OnceLock::new() }
    }

    /// Compiles it now, to learn whether it is one.
    pub(super) fn check(&self) -> Result<(), Box<fancy_regex::Error>> {
        let regex = compile(&self.source)?;
        // Somebody else's result is the same.
        let _ = self.regex.set(Some(regex));
        Ok(())
    }

    /// Whether it is found in `text`. A pattern that does not compile, or runs wild, is found nowhere.
    pub(super) fn matches(&self, text: &str) -> bool {
        if !text.starts_with(&*self.beginning) {
            return false;
        }
        let regex = self.regex.get_or_init(|| compile(&self.source).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text).unwrap_or(false))
    }
}

/// The text that whatever `source` matches begins with, as far as that can be seen.
fn beginning(source: &str) -> String {
    let mut found = String::new();
    let Some(rest) = source.strip_prefix('^').filter(|rest| !rest.contains('|') && !rest.contains("(?"))
    else {
        return found;
    };
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        let literal = match character {
            'a'..='z' | '0'..='9' | '-' | '/' | '_' => character,
            '\\' => match characters.next() {
                Some(escaped @ ('.' | '-' | '/' | '[' | ']')) => escaped,
                _ => break,
            },
            _ => break,
        };
        // It may be missing.
        if matches!(characters.peek(), Some('?' | '*' | '+' | '{')) {
            break;
        }
        found.push(literal);
    }
    found
}

fn compile(source: &str) -> Result<Box<Regex>, Box<fancy_regex::Error>> {
    let mut builder = RegexBuilder::new(source);
    builder
        .backtrack_limit(MAX_STEPS)
        .delegate_size_limit(MAX_COMPILED)
        .delegate_dfa_size_limit(MAX_COMPILED);
    builder.build().map(Box::new).map_err(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_may_look_ahead() {
        let pattern = Pattern::new("^(?!.*-tts(?:$|-))gemini".into());
        assert!(pattern.check().is_ok());
        assert!(pattern.matches("gemini-2.5-flash") && !pattern.matches("gemini-2.5-flash-preview-tts"));
    }

    #[test]
    fn what_a_pattern_begins_with_is_seen_where_it_is_certain() {
        for (source, expected) in [
            (r"^gpt-5\.6-luna-\d{4}$", "gpt-5.6-luna-"),
            (r"^composer-2\.5\[fast=true\]$", "composer-2.5[fast"),
            (r"^jev-1\.13(-\d{8})?$", "jev-1.13"),
            ("^abc?", "ab"),
            ("^abc{0,2}", "ab"),
            (r"^ab\.*", "ab"),
            ("^ab|c", ""),
            ("^(?!x)ab", ""),
            ("(?i)^ab", ""),
            ("ab", ""),
        ] {
            assert_eq!(beginning(source), expected, "{source}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_found_nowhere() {
        let pattern = Pattern::new("(".into());
        assert!(pattern.check().is_err());
        assert!(!pattern.matches("("));
    }

    #[test]
    fn a_pattern_that_runs_wild_ends() {
        let pattern = Pattern::new(r"^(?=(a+)+$)\1b".into());
        assert!(!pattern.matches(&format!("{}c", "a".repeat(200))));
    }
}
