//! Foreign text made safe for a terminal.
//!
//! Names of spans come from anywhere. Unescaped, they could move the cursor, recolour the screen, reorder the line
//! or hide in it. What a reader cannot see, or what acts on the terminal, is shown as `\u{…}` instead.

use std::borrow::Cow;
use std::fmt;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Foreign text; what it displays holds no control, invisible or direction-changing character and no line break.
///
/// ```
/// use longpole::render::Printable;
/// assert_eq!(Printable::new("fetch\x1b[2J\n").to_string(), r"fetch\u{1b}[2J\u{a}");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a> {
    text: &'a str,
    ascii: bool,
}

/// More marks on one letter than any script needs would pile up over the lines above.
const MARKS_PER_LETTER: usize = 4;

impl<'a> Printable<'a> {
    /// Keeps every visible character.
    pub fn new(text: &'a str) -> Self {
        Printable { text, ascii: false }
    }

    /// Keeps visible ASCII characters only.
    pub fn ascii(text: &'a str) -> Self {
        Printable { text, ascii: true }
    }

    /// The text in at most `width` columns, cut in the middle where it is longer, so that both its ends stay.
    pub(super) fn fitted(self, width: usize) -> String {
        let pieces: Vec<_> = self.pieces().map(|piece| (piece.width(), piece)).collect();
        if pieces.iter().map(|(width, _)| width).sum::<usize>() <= width {
            return pieces.into_iter().map(|(_, piece)| piece).collect();
        }
        let ellipsis = if self.ascii { "..." } else { "…" };
        let room = width.saturating_sub(ellipsis.width());
        let head = fitting(pieces.iter(), room.div_ceil(2));
        let tail = fitting(pieces.iter().rev(), room / 2);
        let head = pieces.iter().take(head);
        let tail = pieces.iter().skip(pieces.len().saturating_sub(tail));
        let kept = |part: &mut dyn Iterator<Item = &(usize, Cow<'a, str>)>| {
            part.map(|(_, piece)| piece.as_ref()).collect::<String>()
        };
        let mut text = kept(&mut { head });
        text.extend(ellipsis.chars().take(width));
        text.push_str(&kept(&mut { tail }));
        text
    }

    /// The text in the smallest pieces that may be separated: letters with their marks, and escapes.
    fn pieces(self) -> impl Iterator<Item = Cow<'a, str>> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let letter = !self.is_escaped(first) && first.width() != Some(0);
            let marks = |c: &char| letter && !self.is_escaped(*c) && c.width() == Some(0);
            let tail = rest.chars().skip(1).take_while(marks).take(MARKS_PER_LETTER);
            let length = first.len_utf8() + tail.map(char::len_utf8).sum::<usize>();
            let (piece, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(if letter { Cow::from(piece) } else { Cow::from(first.escape_unicode().to_string()) })
        })
    }

    fn is_escaped(self, c: char) -> bool {
        c.is_control()
            || (self.ascii && !c.is_ascii())
            || matches!(c,
                // Soft hyphen, combining grapheme joiner, Arabic letter mark, vowel separator.
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}'
                // Letters that draw nothing.
                | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
                // Zero-width characters, direction marks and overrides, line and paragraph separators.
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                // Annotations and tags.
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    }
}

/// How many of `pieces` fit into `room` columns.
fn fitting<'p, 't: 'p>(pieces: impl Iterator<Item = &'p (usize, Cow<'t, str>)>, room: usize) -> usize {
    let mut used = 0usize;
    pieces
        .take_while(|(width, _)| {
            used = used.saturating_add(*width);
            used <= room
        })
        .count()
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().try_for_each(|piece| f.write_str(&piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Printable::new(text).to_string()
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_not_done() {
        assert_eq!(shown("a\0b\x1b[31mc\x7fd\u{9b}2J"), r"a\u{0}b\u{1b}[31mc\u{7f}d\u{9b}2J");
        assert_eq!(shown("a\tb\r\nc"), r"a\u{9}b\u{d}\u{a}c");
        assert_eq!(shown("\u{1b}]8;;http://x\u{7}y"), r"\u{1b}]8;;http://x\u{7}y");
    }

    #[test]
    fn what_hides_or_reorders_is_shown() {
        assert_eq!(shown("admin\u{202e}tset\u{2069}"), r"admin\u{202e}tset\u{2069}");
        assert_eq!(shown("a\u{200b}b\u{feff}c\u{2028}d"), r"a\u{200b}b\u{feff}c\u{2028}d");
        assert_eq!(shown("\u{3164}"), r"\u{3164}");
    }

    #[test]
    fn writing_of_all_people_is_kept() {
        for text in ["Straße", "e\u{301}te\u{301}", "取得", "בדיקה", "🙂", "❤\u{fe0f}", "हिन्दी"]
        {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn marks_without_a_letter_and_towers_of_marks_are_shown() {
        assert_eq!(shown("\u{301}a"), r"\u{301}a");
        let tower = format!("a{}", "\u{301}".repeat(6));
        assert_eq!(shown(&tower), format!(r"a{}\u{{301}}\u{{301}}", "\u{301}".repeat(4)));
    }

    #[test]
    fn ascii_keeps_nothing_else() {
        assert_eq!(Printable::ascii("取é a").to_string(), r"\u{53d6}\u{e9} a");
    }

    #[test]
    fn a_long_text_keeps_both_ends() {
        let fitted = |text, width| Printable::new(text).fitted(width);
        assert_eq!(fitted("retrieve_documents_batch", 24), "retrieve_documents_batch");
        assert_eq!(fitted("retrieve_documents_batch", 11), "retri…batch");
        assert_eq!(fitted("retrieve_documents_batch", 12), "retrie…batch");
        assert_eq!(fitted("retrieve_documents_batch", 1), "…");
        assert_eq!(fitted("retrieve_documents_batch", 0), "");
        assert_eq!(Printable::ascii("retrieve_documents_batch").fitted(11), "retr...atch");
        assert_eq!(Printable::ascii("retrieve").fitted(2), "..");
    }

    #[test]
    fn a_cut_never_divides_a_wide_letter_or_an_escape() {
        assert_eq!(Printable::new("取得取得取得").fitted(8), "取得…得");
        assert_eq!(Printable::new("\u{1b}\u{1b}\u{1b}").fitted(14), r"\u{1b}…\u{1b}");
        assert_eq!(Printable::new("\u{1b}\u{1b}\u{1b}").fitted(12), r"\u{1b}…");
    }
}
