//! A span that ended, as its thread leaves it: what is fixed in size as plain values, to be written as OTLP by whoever
//! takes it on.

use super::span::{EncodedName, SpanHead};
use super::timing::{self, Timing};

/// What a `Span` message has beside its attributes and what few spans have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FinishedSpan {
    /// The first half of the id first.
    pub(crate) trace_id: [u64; 2],
    pub(crate) span_id: u64,
    /// Zero: no parent.
    pub(crate) parent_id: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) start: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) end: u64,
    pub(crate) timing: Timing,
    /// `None`: the name is among what is written already.
    pub(crate) name: Option<&'static EncodedName>,
    /// As in [`SpanHead`].
    pub(crate) flags: u16,
    /// As OTLP numbers them.
    pub(crate) kind: u8,
    /// The timing attributes are still to be written.
    pub(crate) has_timing: bool,
}

impl FinishedSpan {
    /// Appends the rest of a `Span` message, of which the attributes are there.
    pub(crate) fn append(&self, message: &mut Vec<u8>) {
        if self.has_timing {
            timing::append(message, self.start, &self.timing);
        }
        self.head().append(message);
        if let Some(name) = self.name {
            name.append(message);
        }
    }

    fn head(&self) -> SpanHead {
        let [high, low] = self.trace_id;
        SpanHead {
            trace_id: (u128::from(high) << 64 | u128::from(low)).to_be_bytes(),
            span_id: self.span_id.to_be_bytes(),
            parent_id: self.parent_id.to_be_bytes(),
            kind: self.kind,
            flags: self.flags.into(),
            start: self.start,
            end: self.end,
        }
    }
}
