//! Foreign text made safe for Markdown as forges show it: it opens no table cell, code, link, mention or HTML.

use super::printable::Printable;

/// Names longer than this are cut in the middle.
const MAX_NAME: usize = 60;

/// A name as code, in a cell of a table or in a sentence.
///
/// Inside code nothing is markup but the bar that ends a cell and the backticks that end the code; a bar is escaped,
/// and backticks, which no fence around them makes safe in every reader, become apostrophes.
pub(super) fn code(name: &str) -> String {
    let name = if name.is_empty() { "(unnamed)" } else { name };
    let text = Printable::new(name).fitted(MAX_NAME);
    format!("`{}`", text.replace('`', "'").replace('|', "\\|"))
}

/// A name between other words, as it stands.
pub(super) fn plain(name: &str) -> String {
    let mut text = String::new();
    for c in Printable::new(name).fitted(MAX_NAME).chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            // An escape does not keep a mention from being sent; an entity does.
            '@' => text.push_str("&#64;"),
            '#' => text.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '!' | '|' | '~' | ':' => {
                text.push('\\');
                text.push(c);
            }
            c => text.push(c),
        }
    }
    text
}

/// A name inside a comment that nobody sees, by which it is found again: the same for the same name, and never its end.
pub(super) fn marker(name: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ' ');
    let safe: String = name.chars().take(100).map(|c| if is_safe(c) { c } else { '_' }).collect();
    // Two hyphens may end a comment.
    format!("<!-- longpole:{} -->", safe.replace("--", "-_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_markup() {
        assert_eq!(code("a|b`c`<script>"), "`a\\|b'c'<script>`");
        assert_eq!(code(""), "`(unnamed)`");
        assert_eq!(code("x\ny"), "`x\\u{a}y`");
        assert_eq!(
            plain("@all [x](http://y) <b>|`*_#1"),
            "&#64;all \\[x\\]\\(http\\://y\\) &lt;b&gt;\\|\\`\\*\\_&#35;1"
        );
        assert_eq!(marker("a --> <script>"), "<!-- longpole:a -__ _script_ -->");
    }
}
