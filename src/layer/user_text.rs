//! Running a user's `Debug`, `Display` and `Error` code: bounded, fenced, and never trusted not to panic.

use std::error::Error;
use std::fmt::{self, Display, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::counters::LayerCounters;
use super::fence::Fence;

/// What stands in place of a value whose formatting panicked.
const PANICKED: &str = "<panicked>";

/// How many sources of an error are followed.
const MAX_SOURCES: usize = 32;

/// Takes text up to a limit, counts what follows up to another, then stops whoever writes it.
struct BoundedWriter<'a> {
    text: &'a mut String,
    limit: usize,
    counted_to: usize,
    len: usize,
}

impl Write for BoundedWriter<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.limit.saturating_sub(self.text.len());
        // One character past the limit is let in, so that the encoder sees that the value was longer.
        let mut end = room.saturating_add(1).min(piece.len());
        while !piece.is_char_boundary(end) {
            end = end.saturating_add(1);
        }
        if self.text.len() <= self.limit {
            self.text.push_str(piece.get(..end).unwrap_or_default());
        }
        self.len = self.len.saturating_add(piece.len());
        if self.len > self.counted_to { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Replaces `text` by what `value` formats to, give or take a few bytes past `limit`.
pub(crate) fn format_into(
    text: &mut String,
    value: fmt::Arguments<'_>,
    limit: usize,
    counters: &LayerCounters,
) {
    format_counted(text, value, limit, limit, counters);
}

/// The same, and returns how many bytes the value has in all, or that there are more than `counted_to`.
pub(crate) fn format_counted(
    text: &mut String,
    value: fmt::Arguments<'_>,
    limit: usize,
    counted_to: usize,
    counters: &LayerCounters,
) -> usize {
    text.clear();
    let fence = Fence::raise();
    // The text is valid UTF-8 whatever was written before a panic, and replaced after one.
    let mut writer = BoundedWriter { text, limit, counted_to, len: 0 };
    let outcome = catch_unwind(AssertUnwindSafe(|| writer.write_fmt(value)));
    let len = writer.len;
    drop(fence);
    // An error is either the limit or the user's own; what was written is kept.
    if let Err(panic) = outcome {
        // The payload's own drop may panic; leaking it is the lesser harm.
        std::mem::forget(panic);
        counters.formatting_panics.add(1);
        text.clear();
        text.push_str(PANICKED);
        return PANICKED.len();
    }
    len
}

/// What an error says, and what each of its sources says, nearest first.
#[derive(Debug, Default)]
pub(crate) struct ErrorTexts {
    pub(crate) message: String,
    pub(crate) sources: Vec<String>,
}

/// Formats `error` and its sources, each up to `limit`.
pub(crate) fn format_error(
    error: &(dyn Error + 'static),
    limit: usize,
    counters: &LayerCounters,
) -> ErrorTexts {
    let display = |error: &dyn Display| {
        let mut text = String::new();
        format_into(&mut text, format_args!("{error}"), limit, counters);
        text
    };
    let mut texts = ErrorTexts { message: display(&error), sources: Vec::new() };
    let mut next = source_of(error, counters);
    while let Some(source) = next
        && texts.sources.len() < MAX_SOURCES
    {
        texts.sources.push(display(&source));
        next = source_of(source, counters);
    }
    texts
}

fn source_of<'e>(
    error: &'e (dyn Error + 'static),
    counters: &LayerCounters,
) -> Option<&'e (dyn Error + 'static)> {
    let _fence = Fence::raise();
    catch_unwind(AssertUnwindSafe(|| error.source())).unwrap_or_else(|panic| {
        std::mem::forget(panic);
        counters.formatting_panics.add(1);
        None
    })
}
