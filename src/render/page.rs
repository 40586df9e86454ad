//! Lines of a text report: columns, wrapping, colour and ASCII, and the promise that no line is too wide.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use super::TextStyle;
use super::markdown::{code_of, words};
use super::printable::Printable;

/// What a stretch of text stands for. No meaning rests on its colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    /// The longest node.
    Pole,
    Critical,
    High,
    Medium,
    /// Time that could be saved.
    Gain,
    Dim,
}

impl Role {
    /// The colours of the terminal's own palette, so that they fit its background.
    const fn escape(self) -> Option<&'static str> {
        match self {
            Role::Plain => None,
            Role::Pole => Some("\x1b[1;35m"),
            Role::Critical => Some("\x1b[1;31m"),
            Role::High => Some("\x1b[31m"),
            Role::Medium => Some("\x1b[33m"),
            Role::Gain => Some("\x1b[32m"),
            Role::Dim => Some("\x1b[2m"),
        }
    }
}

const RESET: &str = "\x1b[0m";
/// Stands for a space at which a sentence is not broken.
const NO_BREAK: char = '\u{a0}';
/// Where the text behind a label starts.
const LABEL: usize = 14;

/// A stretch of text and what it stands for.
pub(super) type Part = (Role, String);

pub(super) fn plain(text: impl Into<String>) -> Part {
    (Role::Plain, text.into())
}

/// A line under construction.
#[derive(Debug, Default)]
pub(super) struct Line {
    parts: Vec<Part>,
    width: usize,
}

impl Line {
    /// Fills with spaces up to `column`, with at least `gap` of them.
    pub(super) fn tab(&mut self, column: usize, gap: usize) {
        let spaces = column.saturating_sub(self.width).max(gap);
        self.width += spaces;
        self.parts.push((Role::Plain, " ".repeat(spaces)));
    }

    /// Appends characters that were already chosen for the page.
    pub(super) fn add_drawing(&mut self, role: Role, drawing: String) {
        self.width += drawing.width();
        self.parts.push((role, drawing));
    }
}

/// A text report under construction.
pub(super) struct Page {
    style: TextStyle,
    text: String,
    /// Lines with a label, where they are laid out by somebody else.
    labelled: Option<Vec<(String, String)>>,
    /// Whether foreign names are written as code of Markdown.
    marks_names: bool,
}

impl Page {
    pub(super) fn new(style: &TextStyle) -> Self {
        let width = style.width.clamp(TextStyle::MIN_WIDTH, TextStyle::MAX_WIDTH);
        Page { style: TextStyle { width, ..*style }, text: String::new(), labelled: None, marks_names: false }
    }

    /// A page that keeps what [`Page::put_labelled`] gets apart, for those who lay it out differently.
    pub(super) fn of_labelled_lines() -> Self {
        Page { labelled: Some(Vec::new()), ..Page::new(&TextStyle::default()) }
    }

    /// The same for Markdown: foreign names are code.
    pub(super) fn for_markdown() -> Self {
        Page { marks_names: true, ..Page::of_labelled_lines() }
    }

    /// What was put on a page of labelled lines, each with its label; that of a further line is empty.
    pub(super) fn into_labelled_lines(self) -> Vec<(String, String)> {
        self.labelled.unwrap_or_default()
    }

    /// A line that starts with what it is about: `Cost          draft $0.0412 (45%)`.
    pub(super) fn put_labelled(&mut self, label: &str, text: String) {
        if let Some(lines) = &mut self.labelled {
            return lines.push((label.to_owned(), text));
        }
        let mut line = Line::default();
        self.add(&mut line, Role::Plain, label);
        self.put_wrapped(line, LABEL, [plain(text)]);
    }

    /// How wide a line may be.
    pub(super) fn width(&self) -> usize {
        self.style.width
    }

    /// How wide sentences and everything else that gains nothing from width are set.
    pub(super) fn text_width(&self) -> usize {
        self.style.width.min(100)
    }

    pub(super) fn ascii(&self) -> bool {
        self.style.ascii
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// A foreign name in at most `width` columns.
    pub(super) fn name(&self, name: &str, width: usize) -> String {
        if name.is_empty() {
            return "(unnamed)".to_owned();
        }
        let printable = if self.style.ascii { Printable::ascii(name) } else { Printable::new(name) };
        let name = printable.fitted(width);
        if self.marks_names { code_of(&name) } else { name }
    }

    /// A foreign word or a few inside a sentence that name nothing.
    pub(super) fn term(&self, text: &str) -> String {
        match self.marks_names {
            true => words(&Printable::new(text).fitted(32)).into_owned(),
            false => self.name_in_text(text),
        }
    }

    /// What stands in a column of `width`, where there may be nothing.
    pub(super) fn name_or_nothing(&self, text: &str, width: usize) -> String {
        if text.is_empty() { String::new() } else { self.name(text, width) }
    }

    /// A foreign name inside a sentence, which it must not dominate.
    pub(super) fn name_in_text(&self, name: &str) -> String {
        no_break(&self.name(name, 32))
    }

    /// Our own words in the characters this page may hold.
    pub(super) fn words<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.style.ascii || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let mut ascii = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '×' => ascii.push('x'),
                'µ' => ascii.push('u'),
                '±' => ascii.push_str("+-"),
                '…' => ascii.push_str("..."),
                '≥' => ascii.push_str(">="),
                '→' => ascii.push_str("->"),
                '−' => ascii.push('-'),
                NO_BREAK => ascii.push(' '),
                c if c.is_ascii() => ascii.push(c),
                c => ascii.extend(c.escape_unicode()),
            }
        }
        Cow::Owned(ascii)
    }

    /// Appends to `line`.
    pub(super) fn add(&self, line: &mut Line, role: Role, text: &str) {
        let text = self.words(text).replace(NO_BREAK, " ");
        line.width += text.width();
        line.parts.push((role, text));
    }

    /// Appends so that the text ends at column `edge`; after two spaces where that is too far left.
    pub(super) fn add_right(&self, line: &mut Line, role: Role, text: &str, edge: usize) {
        line.tab(edge.saturating_sub(self.words(text).width()), 2);
        self.add(line, role, text);
    }

    /// Puts `line` on the page, cut where it is too wide and without spaces at its end.
    pub(super) fn put(&mut self, mut line: Line) {
        let mut room = self.style.width;
        for (_, text) in &mut line.parts {
            if text.width() > room {
                *text = self.name(text, room);
            }
            room = room.saturating_sub(text.width());
        }
        while let Some((_, text)) = line.parts.last_mut() {
            text.truncate(text.trim_end_matches(' ').len());
            if !text.is_empty() {
                break;
            }
            line.parts.pop();
        }
        for (role, text) in line.parts {
            match role.escape().filter(|_| self.style.color && !text.trim_start().is_empty()) {
                Some(escape) => self.text.extend([escape, &text, RESET]),
                None => self.text.push_str(&text),
            }
        }
        self.text.push('\n');
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Puts a line of one part on the page, after `indent` spaces.
    pub(super) fn put_words(&mut self, indent: usize, text: &str) {
        self.put_wrapped(Line::default(), indent, [plain(text)]);
    }

    /// Puts `parts` on the page behind `start`, broken at spaces, every line from column `indent` on.
    pub(super) fn put_wrapped(&mut self, start: Line, indent: usize, parts: impl IntoIterator<Item = Part>) {
        let mut line = start;
        line.tab(indent, 0);
        let mut is_fresh = true;
        for word in words_of(&parts.into_iter().collect::<Vec<_>>()) {
            let width: usize = word.iter().map(|(_, text)| self.words(text).width()).sum();
            if !is_fresh && line.width + 1 + width > self.text_width() {
                self.put(std::mem::take(&mut line));
                line.tab(indent, 0);
                is_fresh = true;
            }
            line.tab(0, usize::from(!is_fresh));
            for (role, text) in word {
                self.add(&mut line, role, text);
            }
            is_fresh = false;
        }
        self.put(line);
    }
}

/// What stands between the spaces of `parts`; a word may go across several of them.
fn words_of(parts: &[Part]) -> Vec<Vec<(Role, &str)>> {
    let mut words = vec![Vec::new()];
    for (role, text) in parts {
        for (index, word) in text.split(' ').enumerate() {
            if index > 0 {
                words.push(Vec::new());
            }
            if let Some(last) = words.last_mut().filter(|_| !word.is_empty()) {
                last.push((*role, word));
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `text` as one word of a sentence.
pub(super) fn no_break(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}
