//! A reader with a window on what comes next.

use std::io::{self, Read};

use super::DecodeError;

/// How much is asked of the reader at a time: little at first, as many inputs are small.
const FIRST_CHUNK: usize = 8 << 10;
const CHUNK: usize = 256 << 10;

/// Bytes that were read and not used yet, and where more come from.
pub(super) struct Input<'r> {
    reader: Box<dyn Read + 'r>,
    buffer: Vec<u8>,
    /// Where in `buffer` the unused bytes start.
    start: usize,
    /// Where they end; behind are bytes of no meaning, kept so that they are not made again for each chunk.
    end: usize,
    /// How many bytes were used.
    offset: usize,
    failure: Option<DecodeError>,
    /// How much to ask for next.
    chunk: usize,
}

impl<'r> Input<'r> {
    pub(super) fn new(reader: impl Read + 'r) -> Self {
        Input {
            reader: Box::new(reader),
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            failure: None,
            chunk: FIRST_CHUNK,
        }
    }

    /// What was read and not used yet.
    pub(super) fn filled(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Where the unused bytes start in the whole input.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Reads on; `false` at the end, or where the reader fails.
    pub(super) fn more(&mut self) -> bool {
        if self.failure.is_some() {
            return false;
        }
        // Moved to the front only once most of the buffer is used, so that each byte is moved once at most.
        if self.start > self.end / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        let until = self.end.saturating_add(self.chunk);
        self.chunk = self.chunk.saturating_mul(2).min(CHUNK);
        if self.buffer.len() < until {
            self.buffer.resize(until, 0);
        }
        let read = loop {
            match self.reader.read(self.buffer.get_mut(self.end..until).unwrap_or_default()) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.offset.saturating_add(self.end.saturating_sub(self.start));
                    self.failure = Some(DecodeError::Read { offset, source });
                    break 0;
                }
            }
        };
        // A reader that says more than it was asked for has given no more.
        self.end = self.end.saturating_add(read).min(until);
        read > 0
    }

    /// Why there is no more than was read, if the reader failed.
    pub(super) fn failure(&mut self) -> Option<DecodeError> {
        self.failure.take()
    }

    /// Reads until `count` unused bytes are there; `false` if there are fewer.
    pub(super) fn need(&mut self, count: usize) -> bool {
        while self.filled().len() < count {
            if !self.more() {
                return false;
            }
        }
        true
    }

    /// Marks bytes as used, as far as there are any.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.filled().len());
        self.start = self.start.saturating_add(count);
        self.offset = self.offset.saturating_add(count);
    }
}

impl Read for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.filled().is_empty() {
            return self.reader.read(into);
        }
        let count = self.filled().read(into)?;
        self.consume(count);
        Ok(count)
    }
}
