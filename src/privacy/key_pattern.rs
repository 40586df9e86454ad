//! Patterns of attribute keys: `*` stands for any text, `?` for one byte, `[-_]` for one of these, and case does not
//! count.

/// A pattern, taken apart.
#[derive(Debug)]
pub(super) struct KeyPattern(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    /// This byte, in lower case.
    Byte(u8),
    AnyByte,
    /// One of these bytes, in lower case.
    OneOf(Vec<u8>),
    AnyText,
}

impl Piece {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Piece::Byte(own) => *own == byte,
            Piece::OneOf(bytes) => bytes.contains(&byte),
            Piece::AnyByte | Piece::AnyText => true,
        }
    }
}

impl KeyPattern {
    /// Any text is a pattern: a bracket that is not closed stands for itself.
    pub(super) fn new(pattern: &str) -> Self {
        let lower = pattern.to_ascii_lowercase();
        let mut rest = lower.as_bytes();
        let mut pieces = Vec::new();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            pieces.push(match first {
                b'*' => Piece::AnyText,
                b'?' => Piece::AnyByte,
                b'[' => match after.iter().position(|byte| *byte == b']') {
                    Some(end) => {
                        rest = after.get(end.saturating_add(1)..).unwrap_or_default();
                        Piece::OneOf(after.get(..end).unwrap_or_default().to_vec())
                    }
                    None => Piece::Byte(b'['),
                },
                byte => Piece::Byte(*byte),
            });
        }
        KeyPattern(pieces)
    }

    /// Whether it stands for `key` or for what follows one of its dots.
    pub(super) fn matches(&self, key: &str) -> bool {
        let bytes = key.as_bytes();
        if self.matches_whole(bytes) {
            return true;
        }
        // What begins with any text was looked for everywhere.
        if matches!(self.0.first(), Some(Piece::AnyText)) {
            return false;
        }
        let after_dots = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'.');
        after_dots
            .map(|(at, _)| at.saturating_add(1))
            .any(|at| self.matches_whole(bytes.get(at..).unwrap_or_default()))
    }

    /// Goes back to the last `*` only: what an earlier one could take, that one can too.
    fn matches_whole(&self, key: &[u8]) -> bool {
        let (mut piece, mut at) = (0usize, 0usize);
        // Behind the last `*`, and how much it has taken by then.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(byte) = key.get(at) {
            match self.0.get(piece) {
                Some(Piece::AnyText) => {
                    piece = piece.saturating_add(1);
                    retry = Some((piece, at));
                }
                Some(own) if own.takes(byte.to_ascii_lowercase()) => {
                    piece = piece.saturating_add(1);
                    at = at.saturating_add(1);
                }
                _ => {
                    let Some((behind, taken)) = retry else { return false };
                    let taken = taken.saturating_add(1);
                    retry = Some((behind, taken));
                    (piece, at) = (behind, taken);
                }
            }
        }
        self.0.get(piece..).unwrap_or_default().iter().all(|rest| matches!(rest, Piece::AnyText))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, key: &str) -> bool {
        KeyPattern::new(pattern).matches(key)
    }

    #[test]
    fn stars_brackets_and_question_marks_stand_for_what_they_do_in_a_shell() {
        for (pattern, key, expected) in [
            ("token", "token", true),
            ("token", "tokens", false),
            ("*token", "access_token", true),
            ("*token", "tokenizer", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("*aab", "aaab", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("x[-_]y", "X_Y", true),
            ("x[-_]y", "xy", false),
            ("x[y", "x[y", true),
            ("x[]y", "xy", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "any", true),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn a_pattern_holds_for_what_follows_a_dot_too() {
        assert!(matches("cookie", "http.request.header.cookie"));
        assert!(matches("header.cookie", "http.request.header.cookie"));
        assert!(!matches("cookie", "http.cookie.size"));
        assert!(!matches("cookie", "http.request.header.xcookie"));
    }
}
