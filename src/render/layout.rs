//! Lines of bounded width: columns, wrapping, bars.

use crate::render::printable::{cut_middle, take_columns, width};
use crate::report::Piece;
use crate::time::Duration;

/// The characters and colours of one style.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    pub(super) color: bool,
    pub(super) ascii: bool,
}

/// What a piece of text means; how it looks follows from it. Colours are of the 16 every theme defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    /// The longest node.
    Pole,
    Heading,
    Critical,
    High,
    Medium,
    Dim,
    Gain,
}

impl Ink {
    pub(super) fn paint(self, role: Role, text: &str) -> String {
        let code = match role {
            Role::Plain => "",
            Role::Pole => "1;35",
            Role::Heading => "1",
            Role::Critical => "1;31",
            Role::High => "31",
            Role::Medium => "33",
            Role::Dim => "2",
            Role::Gain => "32",
        };
        if !self.color || code.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Our own words with the few characters beyond ASCII that they use.
    pub(super) fn words(self, text: &str) -> String {
        if !self.ascii {
            return text.to_owned();
        }
        let mut plain = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '×' => plain.push('x'),
                'µ' => plain.push('u'),
                '…' => plain.push_str("..."),
                '≥' => plain.push_str(">="),
                '−' => plain.push('-'),
                '«' | '»' => plain.push('"'),
                other => plain.push(other),
            }
        }
        plain
    }

    pub(super) fn ellipsis(self) -> &'static str {
        if self.ascii { "..." } else { "…" }
    }

    /// `text` in exactly `columns`: cut in the middle, or filled with spaces.
    pub(super) fn left(self, text: &str, columns: usize) -> String {
        let mut cell = cut_middle(text, columns, self.ellipsis());
        cell.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&cell))));
        cell
    }

    /// The same, pushed to the right.
    pub(super) fn right(self, text: &str, columns: usize) -> String {
        let cell = cut_middle(text, columns, self.ellipsis());
        format!("{}{cell}", " ".repeat(columns.saturating_sub(width(&cell))))
    }

    /// A tiny waterfall: where `pieces` lie in `whole`, in half cells. What is there is seen, however short.
    pub(super) fn bar(self, pieces: &[Piece], whole: Duration, cells: usize) -> String {
        let halves = cells.saturating_mul(2);
        let mut filled = vec![false; halves];
        for piece in pieces {
            let at = |time: Duration| time.ratio_of(whole).unwrap_or(0.0).clamp(0.0, 1.0) * halves as f64;
            let start = (at(piece.start_ns).round() as usize).min(halves.saturating_sub(1));
            let end = at(piece.start_ns.saturating_add(piece.duration_ns)).round() as usize;
            for half in filled.iter_mut().take(end.max(start + 1)).skip(start) {
                *half = true;
            }
        }
        let cell = |pair: &[bool]| match (pair.first(), pair.get(1), self.ascii) {
            (Some(true), Some(true), false) => '█',
            (Some(true), Some(true), true) => '#',
            (Some(true), _, false) => '▌',
            (_, Some(true), false) => '▐',
            (Some(true), _, true) | (_, Some(true), true) => '|',
            _ => ' ',
        };
        filled.chunks(2).map(cell).collect()
    }
}

/// `text` broken at spaces into lines of at most `columns`, never between a number and its unit; a word that is
/// longer is cut.
pub(super) fn wrap(text: &str, columns: usize, ellipsis: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let is_unit = matches!(word.trim_end_matches([')', ',', ';', '.']), "s" | "ms" | "µs" | "us" | "ns");
        match words.last_mut().filter(|last| is_unit && last.ends_with(|end: char| end.is_ascii_digit())) {
            Some(number) => number.extend([" ", word]),
            None => words.push(word.to_owned()),
        }
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words {
        let word = cut_middle(&word, columns, ellipsis);
        if !line.is_empty() && width(&line) + 1 + width(&word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    // Characters may join across a space; the limit is the stronger promise.
    lines
        .into_iter()
        .map(|line| if width(&line) <= columns { line } else { take_columns(line.chars(), columns) })
        .collect()
}
