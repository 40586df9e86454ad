//! A line on standard error while the command runs, for who asks for it.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use longpole::render::Printable;

use crate::receiver::Receiver;

/// The line. It is gone when this is dropped.
pub(super) struct Progress {
    line: ProgressBar,
    start: Instant,
}

impl Progress {
    /// How often the line is drawn anew.
    pub(super) const EVERY: Duration = Duration::from_millis(100);

    /// Begins the line, if there is a terminal whose user looks on.
    pub(super) fn begin() -> Option<Progress> {
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        if is_ci || !io::stderr().is_terminal() {
            return None;
        }
        let line = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            line.set_style(style);
        }
        Some(Progress { line, start: Instant::now() })
    }

    /// Draws it anew.
    pub(super) fn draw(&self, receiver: &Receiver) {
        self.line.set_message(text(
            self.start.elapsed(),
            receiver.tally().spans,
            receiver.latest().as_deref(),
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}

/// `● 12.4 s  42 spans, the last: draft`.
fn text(elapsed: Duration, spans: u64, latest: Option<&str>) -> String {
    let latest = latest.map(|name| format!(", the last: {}", Printable::new(name))).unwrap_or_default();
    format!("● {:.1} s  {spans} spans{latest}", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is_and_cannot_be_written_to_by_names() {
        assert_eq!(text(Duration::from_millis(12_440), 0, None), "● 12.4 s  0 spans");
        let named = text(Duration::ZERO, 42, Some("draft\u{1b}[2J"));
        assert!(
            named.starts_with("● 0.0 s  42 spans, the last: draft") && !named.contains('\u{1b}'),
            "{named}"
        );
    }
}
