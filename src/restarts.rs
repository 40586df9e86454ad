//! How often a thread that panicked may begin anew.

use std::time::{Duration, Instant};

/// Restarts in a row that are allowed.
const MAX: usize = 5;
/// Older ones are forgotten.
const WITHIN: Duration = Duration::from_secs(60);

/// The last restarts of a thread.
#[derive(Debug, Default)]
pub(crate) struct Restarts(Vec<Instant>);

impl Restarts {
    /// Whether it may begin again now; counts it if so.
    pub(crate) fn may_restart(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.saturating_duration_since(*at) < WITHIN);
        let may = self.0.len() < MAX;
        if may {
            self.0.push(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_restarts_a_minute_are_allowed() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let may: Vec<bool> =
            (0..7).map(|second| restarts.may_restart(start + Duration::from_secs(second))).collect();
        assert_eq!(may, [true, true, true, true, true, false, false]);
        assert!(restarts.may_restart(start + Duration::from_secs(61)), "two have become old");
    }
}
