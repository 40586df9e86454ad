//! Text → JSON documents, one after the other, without holding more than one.
//!
//! A document ends where its outermost bracket closes, so one to a line, several on a line and one over many lines
//! are all the same. Finding that place also finds nesting and strings nobody writes, before anything is parsed.

use super::DecodeError;
use super::Limits;
use super::input::Input;
use super::json::read_document;
use super::sink::Sink;

/// Documents that are alike begin alike, with as many bytes.
const ALIKE: usize = 16;

/// How often a document over many lines may turn out broken until every line is taken for itself. What follows a
/// broken one is looked at again, so without a bound a file of broken lines would cost its length squared.
const MAX_BROKEN: usize = 16;

/// Reads documents until the input ends. One that is broken is told about, and reading goes on at the next line that
/// may begin one.
pub(super) fn read(input: &mut Input<'_>, limits: &Limits, sink: &mut Sink<'_>) {
    let mut line = 1usize;
    let mut broken = 0usize;
    while skip_space(input, &mut line) {
        if !matches!(input.filled().first(), Some(b'{' | b'[')) {
            let what = "expected a JSON object or array".to_owned();
            sink.problem(DecodeError::Json { line, column: 1, what });
            skip_line(input, &mut line);
            continue;
        }
        let found = find_end(input, limits, broken < MAX_BROKEN);
        let document = input.filled().get(..found.length).unwrap_or_default();
        if let Some(problem) = found.refused {
            let line = line.saturating_add(newlines(document));
            sink.problem(match problem {
                Refusal::TooLong => {
                    DecodeError::TooLong { offset: input.offset(), limit: limits.document_bytes }
                }
                Refusal::TooDeep => json_error(line, format!("nested more than {} deep", limits.depth)),
                Refusal::LongString => {
                    json_error(line, format!("a string is longer than {} bytes", limits.string_bytes))
                }
            });
        } else {
            let document = document.trim_ascii_end();
            match std::str::from_utf8(document) {
                Ok(text) => read_document(text, line, sink),
                // Text that is not all UTF-8 is read too; what is not turns into replacement characters.
                Err(_) => read_document(&String::from_utf8_lossy(document), line, sink),
            }
        }
        line = line.saturating_add(newlines(document));
        input.consume(found.length);
        if found.refused.is_some() {
            skip_line(input, &mut line);
        }
        broken = broken.saturating_add(usize::from(found.is_broken));
    }
}

fn json_error(line: usize, what: String) -> DecodeError {
    DecodeError::Json { line, column: 1, what }
}

fn newlines(bytes: &[u8]) -> usize {
    // Small counts are quicker to add up.
    let few =
        |chunk: &[u8]| chunk.iter().fold(0u8, |lines, byte| lines.wrapping_add(u8::from(*byte == b'\n')));
    bytes.chunks(usize::from(u8::MAX)).map(|chunk| usize::from(few(chunk))).sum()
}

/// Goes to the next byte that is no white space; `false` if there is none.
fn skip_space(input: &mut Input<'_>, line: &mut usize) -> bool {
    loop {
        let filled = input.filled();
        let space = filled.iter().position(|byte| !byte.is_ascii_whitespace());
        let skipped = space.unwrap_or(filled.len());
        *line = line.saturating_add(newlines(filled.get(..skipped).unwrap_or_default()));
        input.consume(skipped);
        if space.is_some() {
            return true;
        }
        if !input.more() {
            return false;
        }
    }
}

/// Goes to the next line.
fn skip_line(input: &mut Input<'_>, line: &mut usize) {
    loop {
        let filled = input.filled();
        if let Some(at) = filled.iter().position(|byte| *byte == b'\n') {
            input.consume(at.saturating_add(1));
            *line = line.saturating_add(1);
            return;
        }
        input.consume(filled.len());
        if !input.more() {
            return;
        }
    }
}

/// Where a document ends.
struct Found {
    length: usize,
    /// It goes on after that, or is not there as a whole.
    is_broken: bool,
    refused: Option<Refusal>,
}

#[derive(Clone, Copy)]
enum Refusal {
    TooLong,
    TooDeep,
    LongString,
}

/// Finds the end of the document at the start of the input. A broken one ends before the first line after it that
/// may begin another.
fn find_end(input: &mut Input<'_>, limits: &Limits, may_span_lines: bool) -> Found {
    let mut scanner = Scanner { limits, at: 0, depth: 0, string_start: None };
    // The first line that may begin another document, if this one turns out broken.
    let mut next: Option<usize> = None;
    loop {
        let event = scanner.scan(input.filled());
        let broken_at = |length| Found { length, is_broken: true, refused: None };
        let refused = |refusal| Found { length: scanner.at, is_broken: false, refused: Some(refusal) };
        match event {
            Some(Event::End) => return Found { length: scanner.at, is_broken: false, refused: None },
            Some(Event::LineInString) => return broken_at(next.unwrap_or(scanner.at)),
            Some(Event::TooDeep) => return refused(Refusal::TooDeep),
            Some(Event::LongString) => return refused(Refusal::LongString),
            Some(Event::Line) => {
                input.need(scanner.at.saturating_add(ALIKE));
                let filled = input.filled();
                let begins = filled.get(scanner.at..).unwrap_or_default();
                let is_alike = scanner.at > ALIKE && begins.get(..ALIKE) == filled.get(..ALIKE);
                if is_alike || !may_span_lines {
                    return broken_at(next.unwrap_or(scanner.at));
                }
                if next.is_none() && matches!(begins.first(), Some(b'{' | b'[')) {
                    next = Some(scanner.at);
                }
            }
            None if input.filled().len() > limits.document_bytes => return refused(Refusal::TooLong),
            None => {
                if !input.more() {
                    return broken_at(next.unwrap_or(scanner.at));
                }
            }
        }
    }
}

/// Follows brackets and strings, as far as bytes are there.
struct Scanner<'l> {
    limits: &'l Limits,
    at: usize,
    depth: usize,
    string_start: Option<usize>,
}

enum Event {
    /// The outermost bracket closed.
    End,
    /// A line ended, outside of strings.
    Line,
    /// A line ended in a string, where none may.
    LineInString,
    TooDeep,
    LongString,
}

/// The bytes that mean something outside of strings.
#[allow(clippy::indexing_slicing, reason = "a mistake would not compile")]
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < special.len() {
        special[byte] = matches!(byte as u8, b'"' | b'{' | b'[' | b'}' | b']' | b'\n');
        byte += 1;
    }
    special
};

impl Scanner<'_> {
    fn scan(&mut self, bytes: &[u8]) -> Option<Event> {
        loop {
            if let Some(start) = self.string_start {
                let rest = bytes.get(self.at..).unwrap_or_default();
                let end = self.at.saturating_add(plain_in_string(rest));
                if end.saturating_sub(start) > self.limits.string_bytes {
                    self.at = end;
                    return Some(Event::LongString);
                }
                match bytes.get(end) {
                    None => {
                        self.at = end;
                        return None;
                    }
                    Some(b'"') => {
                        self.string_start = None;
                        self.at = end.saturating_add(1);
                    }
                    Some(b'\n') => {
                        self.at = end.saturating_add(1);
                        return Some(Event::LineInString);
                    }
                    // What is escaped is passed over, unless it has not come yet.
                    Some(_) if end.saturating_add(1) < bytes.len() => self.at = end.saturating_add(2),
                    Some(_) => {
                        self.at = end;
                        return None;
                    }
                }
                continue;
            }
            let rest = bytes.get(self.at..).unwrap_or_default();
            let special = rest.iter().position(|byte| SPECIAL.get(usize::from(*byte)) == Some(&true));
            let Some(special) = special else {
                self.at = bytes.len();
                return None;
            };
            let byte = rest.get(special);
            self.at = self.at.saturating_add(special).saturating_add(1);
            match byte {
                Some(b'"') => self.string_start = Some(self.at),
                Some(b'\n') => return Some(Event::Line),
                Some(b'{' | b'[') => {
                    self.depth = self.depth.saturating_add(1);
                    if self.depth > self.limits.depth {
                        return Some(Event::TooDeep);
                    }
                }
                _ => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(Event::End);
                    }
                }
            }
        }
    }
}

/// How many bytes there are before the first that may end a string or escape another.
fn plain_in_string(bytes: &[u8]) -> usize {
    first_of([b'"', b'\\', b'\n'], bytes)
}

/// The same where it is known that no line ends in a string, as in JSON that was parsed.
pub(super) fn plain_in_json_string(bytes: &[u8]) -> usize {
    first_of([b'"', b'\\'], bytes)
}

/// Where the first of the wanted bytes is; the length if there is none.
#[inline]
fn first_of<const N: usize>(wanted: [u8; N], bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut before = 0usize;
    for word in words {
        let found = marks_of(wanted, u64::from_le_bytes(*word));
        if found != 0 {
            return before.saturating_add(found.trailing_zeros() as usize / 8);
        }
        before = before.saturating_add(8);
    }
    let found = rest.iter().position(|byte| wanted.contains(byte));
    before.saturating_add(found.unwrap_or(rest.len()))
}

/// The high bit of each byte that is a wanted one. Bytes above the lowest such one may be marked by mistake, as the
/// subtraction borrows; none below it is.
#[inline]
fn marks_of<const N: usize>(wanted: [u8; N], word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    wanted.into_iter().fold(0, |marks, byte| marks | zeros(word ^ ONES.wrapping_mul(u64::from(byte))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_are_followed_to_the_same_byte_as_one_by_one(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'"'), Just(b'\\'), Just(b'\n'), Just(b'!'), Just(b'#'), Just(b'\x0b'), any::<u8>()],
                0..3,
            ),
            plain in 0usize..40,
        ) {
            let text: Vec<u8> = std::iter::repeat_n(b'a', plain).chain(bytes).chain([0xa2, b'#', b'"', 1]).collect();
            let expected = text.iter().position(|byte| b"\"\\\n".contains(byte));
            prop_assert_eq!(Some(plain_in_string(&text)), expected);
            let expected = text.iter().position(|byte| b"\"\\".contains(byte));
            prop_assert_eq!(Some(plain_in_json_string(&text)), expected);
            let none = vec![0xdcu8; plain];
            prop_assert_eq!(plain_in_string(&none), plain);
        }
    }
}
