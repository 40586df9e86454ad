//! From finished spans to a backend or a file, at least once.
