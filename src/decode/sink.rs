//! Where spans and problems go while an input is read.

use super::DecodeError;
use crate::span_record::{Interner, SpanRecord};

/// How many problems are kept; a damaged file is not told about line by line.
const MAX_PROBLEMS: usize = 100;

/// Takes spans and problems from the decoders.
pub(super) struct Sink<'s> {
    pub(super) interner: Interner,
    on_span: &'s mut dyn FnMut(SpanRecord),
    has_spans: bool,
    problems: Vec<DecodeError>,
    unkept_problems: usize,
}

impl<'s> Sink<'s> {
    pub(super) fn new(on_span: &'s mut dyn FnMut(SpanRecord)) -> Self {
        Sink {
            interner: Interner::default(),
            on_span,
            has_spans: false,
            problems: Vec::new(),
            unkept_problems: 0,
        }
    }

    pub(super) fn span(&mut self, span: SpanRecord) {
        self.has_spans = true;
        (self.on_span)(span);
    }

    pub(super) fn problem(&mut self, problem: DecodeError) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.unkept_problems = self.unkept_problems.saturating_add(1);
        }
    }

    /// Tells a problem that may be the cause of others.
    pub(super) fn problem_first(&mut self, problem: DecodeError) {
        self.problems.insert(0, problem);
    }

    pub(super) fn take(&mut self, span: Result<SpanRecord, DecodeError>) {
        match span {
            Ok(span) => self.span(span),
            Err(problem) => self.problem(problem),
        }
    }

    /// Whether anything was read or told.
    pub(super) fn is_untouched(&self) -> bool {
        !self.has_spans && self.problems.is_empty()
    }

    /// The problems, or the first of them if there was no span.
    pub(super) fn finish(mut self) -> Result<Vec<DecodeError>, DecodeError> {
        if self.unkept_problems > 0 {
            self.problems.push(DecodeError::More { count: self.unkept_problems });
        }
        if self.has_spans || self.problems.is_empty() {
            return Ok(self.problems);
        }
        Err(self.problems.swap_remove(0))
    }
}
