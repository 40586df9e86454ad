//! What is promised of a kill is the last millisecond; on a busy machine that takes longer for everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Sleeps for a millisecond over and over, to learn how long that is on a machine that others use, too.
pub(super) struct Metronome {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<f64>,
}

impl Metronome {
    pub(super) fn start() -> Metronome {
        let is_over: Arc<AtomicBool> = Arc::default();
        let ends = is_over.clone();
        let thread = std::thread::spawn(move || {
            let (mut sum, mut of_squares) = (0.0, 0.0);
            while !ends.load(Ordering::Relaxed) {
                let start = Instant::now();
                sleep(Duration::from_millis(1));
                let took = start.elapsed().as_secs_f64() * 1e3;
                sum += took;
                of_squares += took * took;
            }
            of_squares / f64::max(sum, 1.0)
        });
        Metronome { is_over, thread }
    }

    /// How many spans each of so many deaths may cost on average, if it costs `in_a_millisecond` where the processor is
    /// free. A wait for a processor is about as long as it is uncertain: three standard errors more for few deaths.
    pub(super) fn allowed(self, in_a_millisecond: f64, deaths: u32) -> f64 {
        in_a_millisecond * self.stop() * (1.0 + 3.0 / f64::from(deaths).sqrt())
    }

    /// The length in ms of the sleep that was under way at a random moment, on average; 1 at least.
    pub(super) fn stop(self) -> f64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(1.0).max(1.0)
    }
}
