//! What became of a program's spans, as a flush and a shutdown tell it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[cfg(doc)]
use super::Longpole;

/// What became of the spans closed before a [`Longpole::flush`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Spans closed since the start.
    pub closed: u64,
    /// Spans a backend has acknowledged.
    pub acknowledged: u64,
    /// Spans written to a file.
    pub written: u64,
    /// Spans a backend has refused for good.
    pub rejected: u64,
    /// Spans still on their way.
    pub pending: u64,
    /// Of those, the ones that are on disk: the next start sends them, if this one does not.
    pub spooled: u64,
    /// Spans not sent because their runs were not worth it; see [`Builder::keep_runs`](crate::Builder::keep_runs).
    pub discarded: u64,
    /// Spans earlier processes have left that a backend has acknowledged since the start. They are in none of the
    /// other numbers.
    pub recovered: u64,
    /// Spans lost, by reason. Empty: none.
    pub lost: BTreeMap<String, u64>,
    /// Runs reported on since the start.
    pub runs: u64,
    /// Whether everything was done before the deadline.
    pub is_complete: bool,
    /// How long it took.
    pub took: Duration,
}

/// What became of a program's spans in the end; see [`Longpole::shutdown`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The last flush.
    pub flush: FlushReport,
    /// Spans that were still open. Those that are exported were sent as far as they had come, with the outcome
    /// `partial`.
    pub open: u64,
}

impl fmt::Display for FlushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spans closed", self.closed)?;
        for (count, what) in [
            (self.acknowledged, "acknowledged"),
            (self.written, "written"),
            (self.rejected, "rejected"),
            (self.discarded, "not worth sending"),
            (self.pending, "not delivered yet"),
            (self.spooled, "of them on disk for the next start"),
            (self.recovered, "recovered from earlier processes"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        for (reason, count) in &self.lost {
            write!(f, ", {count} lost ({reason})")?;
        }
        if !self.is_complete {
            f.write_str("; out of time")?;
        }
        Ok(())
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flush.fmt(f)?;
        if self.open > 0 {
            write!(f, "; {} spans were still open", self.open)?;
        }
        Ok(())
    }
}
