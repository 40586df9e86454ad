//! Spans at a steady rate, each numbered and each noted as closed where no kill can take that back.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tracing::{Span, info_span};

use super::{ClientSpec, End, sequence};

/// Closes of spans as one thread saw them.
pub struct Closes {
    /// How many.
    pub count: u64,
    /// How long each took, in nanoseconds.
    pub durations: Histogram<u64>,
}

impl Closes {
    fn new() -> Closes {
        // Three digits up to a minute; what is longer is that.
        let durations = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Closes { count: 0, durations: durations.expect("the bounds are in order") }
    }

    fn add(&mut self, span: Span, number: u64, log: &mut &File) {
        let start = Instant::now();
        drop(span);
        self.durations.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.count += 1;
        // The page cache survives the process.
        let _ = log.write_all(&number.to_le_bytes());
    }
}

/// Makes the spans of one thread of a client, and returns when the last one is closed.
pub fn produce(spec: &ClientSpec, thread: u32, mut log: &File) -> Closes {
    let mut closes = Closes::new();
    let threads = spec.threads.max(1);
    let total = if spec.end == End::Killed { u64::MAX } else { spec.spans / u64::from(threads) };
    if spec.rate == 0 {
        return closes;
    }
    let gap = Duration::from_secs(u64::from(threads)) / spec.rate;
    let mut due = Instant::now();
    let mut next = 0;
    while next < total {
        let root_number = sequence(spec.client, thread, next);
        next += 1;
        let root = info_span!("run", workflow.name = "faults", seq = root_number.cast_signed());
        root.in_scope(|| {
            for _ in 1..spec.run_spans {
                if next >= total {
                    break;
                }
                let number = sequence(spec.client, thread, next);
                next += 1;
                let step = info_span!("step", node.id = "step", seq = number.cast_signed());
                step.in_scope(|| wait_for(&mut due, gap));
                closes.add(step, number, &mut log);
            }
        });
        wait_for(&mut due, gap);
        closes.add(root, root_number, &mut log);
    }
    closes
}

/// Keeps the rate over the whole time: a span that comes late does not move the later ones.
fn wait_for(due: &mut Instant, gap: Duration) {
    *due += gap;
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
