//! Foreign text in Markdown, so that it is no markup, no link and mentions nobody.

use std::borrow::Cow;

use crate::render::printable::Printable;

/// The most columns of a name.
const MAX_NAME: usize = 64;

/// A foreign name as code. Nothing in code is a link, a mention or HTML; a name that could end the code or a table's
/// cell is written with character references, which are never syntax.
pub(in crate::render) fn code(name: &str) -> String {
    code_of(&Printable::new(name).fitted(MAX_NAME))
}

/// The same for what is already printable and short enough.
pub(in crate::render) fn code_of(name: &str) -> String {
    if name.trim().is_empty() {
        return "(unnamed)".to_owned();
    }
    // In code a tag is none; not every reader of Markdown is told that.
    let is_plain = !name.contains(['`', '|', '\\', '<']) && name.trim() == name;
    if is_plain {
        return format!("`{name}`");
    }
    let mut text = "<code>".to_owned();
    for c in name.chars() {
        match c {
            c if c.is_ascii_punctuation() || c == ' ' => text += &format!("&#{};", u32::from(c)),
            c => text.push(c),
        }
    }
    text + "</code>"
}

/// Foreign text that is a word or a few as a rule: as it is if it cannot be anything else, otherwise as code.
pub(in crate::render) fn words(text: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | ',' | '(' | ')');
    let is_short = text.len() <= MAX_NAME && !text.trim().is_empty() && text.trim() == text;
    let is_moment = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | 'T' | 'Z'));
    if is_short && !text.starts_with('-') && (is_moment || text.chars().all(is_harmless)) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(code(text))
    }
}

/// The comment by which a bot finds what it wrote about a workflow before. What cannot stand in a comment is
/// percent-encoded.
pub(in crate::render) fn marker(workflow: &str) -> String {
    let mut name = String::new();
    for byte in workflow.bytes().take(1_024) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'@' | b':' | b'-' => {
                name.push(char::from(byte));
            }
            other => name += &format!("%{other:02X}"),
        }
    }
    format!("<!-- longpole:{name} -->\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_code_and_cannot_leave_it() {
        for (name, text) in [
            ("draft", "`draft`"),
            ("<b>", "<code>&#60;b&#62;</code>"),
            ("@octocat see https://evil.example", "`@octocat see https://evil.example`"),
            ("a|b", "<code>a&#124;b</code>"),
            ("a\\|b", "<code>a&#92;&#124;b</code>"),
            ("`rm`", "<code>&#96;rm&#96;</code>"),
            ("`</code><img>", "<code>&#96;&#60;&#47;code&#62;&#60;img&#62;</code>"),
            ("two\nlines", "<code>two&#92;u&#123;a&#125;lines</code>"),
            ("", "(unnamed)"),
        ] {
            assert_eq!(code(name), text);
        }
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        let name = format!("first{}last", "x".repeat(10_000));
        let text = code(&name);
        assert!(
            text.starts_with("`first") && text.ends_with("last`") && text.chars().count() == 66,
            "{text}"
        );
    }

    #[test]
    fn a_marker_stays_a_comment() {
        assert_eq!(marker("research-agent"), "<!-- longpole:research-agent -->\n");
        assert_eq!(marker("a --> <b>"), "<!-- longpole:a%20--%3E%20%3Cb%3E -->\n");
    }
}
