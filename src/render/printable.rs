//! Foreign text for a terminal: what could move the cursor, hide or reorder text is shown as an escape.

use unicode_width::UnicodeWidthStr;

/// `text` with control characters, bidirectional controls, zero-width characters and line separators shown as
/// `\u{…}`; in ASCII mode everything else that is not ASCII too.
pub(crate) fn printable(text: &str, ascii: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) || (ascii && !character.is_ascii()) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// How many columns `text` takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut in the middle to at most `columns`, keeping both ends.
pub(crate) fn cut_middle(text: &str, columns: usize, ellipsis: &str) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(ellipsis));
    let head = take_columns(text.chars(), room.div_ceil(2));
    let tail: String = take_columns(text.chars().rev(), room / 2).chars().rev().collect();
    let cut = format!("{head}{ellipsis}{tail}");
    // Combining marks may join differently once cut; the limit is the stronger promise.
    if width(&cut) <= columns { cut } else { take_columns(ellipsis.chars(), columns) }
}

/// As many characters as fit into `columns`.
pub(crate) fn take_columns(characters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut taken = String::new();
    for character in characters {
        taken.push(character);
        if width(&taken) > columns {
            taken.pop();
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(
            printable("a\x1b[31m\u{9b}\u{202e}\0\u{200b}b", false),
            "a\\u{1b}[31m\\u{9b}\\u{202e}\\u{0}\\u{200b}b"
        );
        assert_eq!(printable("naïve 日本", false), "naïve 日本");
        assert_eq!(printable("naïve", true), "na\\u{ef}ve");
    }

    #[test]
    fn names_are_cut_in_the_middle_by_columns_not_by_characters() {
        assert_eq!(cut_middle("retrieve_documents_batch", 12, "…"), "retrie…batch");
        assert_eq!(cut_middle("日本語日本語", 7, "…"), "日…語");
        assert_eq!(cut_middle("short", 12, "…"), "short");
        assert_eq!(cut_middle("日本語日本語", 6, "..."), "日...", "no half characters");
    }
}
