//! The rows of the table: each brings a fault about, for each pipeline, and counts.

mod answers;
mod disk;
mod exits;
mod kills;
mod metronome;
mod neighbours;
mod outages;
mod outcome;
mod quiet;
mod refusals;
mod trial;
mod unreachable;
mod untrusted;

use std::path::PathBuf;
use std::time::Instant;

pub use outcome::Outcome;

use crate::client::Pipeline;

/// What of the rows is wanted, and how long each may take.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seconds for each row, rather than the whole loads.
    pub is_short: bool,
    /// Whose spans.
    pub pipelines: Vec<Pipeline>,
    /// The program of the clients.
    pub client: PathBuf,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called on the command line and in the table.
    pub id: &'static str,
    /// The fault.
    pub what: &'static str,
    run: fn(&Plan) -> anyhow::Result<Vec<Outcome>>,
}

/// All rows, in the table's order.
pub const ROWS: &[Row] = &[
    Row { id: "F1", what: "backend away for a while", run: outages::away },
    Row { id: "F3", what: "slow backend", run: outages::slow },
    Row {
        id: "F4",
        what: "backend accepts and never answers, then is well at the next start",
        run: outages::mute,
    },
    Row {
        id: "F5",
        what: "HTTP 429, 502, 503, 504, with Retry-After in all forms",
        run: answers::retry_after,
    },
    Row { id: "F6", what: "each code of gRPC, with and without RetryInfo", run: refusals::grpc_codes },
    Row { id: "F7", what: "partial success", run: answers::partial_success },
    Row { id: "F8", what: "broken connections", run: outages::broken },
    Row {
        id: "F9",
        what: "nobody there: no such name, refused, no TLS, a certificate of its own making",
        run: unreachable::nobody_there,
    },
    Row {
        id: "F10",
        what: "answers of 64 MiB, of a byte a second, and of nonsense",
        run: answers::odd_answers,
    },
    Row { id: "F11", what: "kill -9 at any moment", run: kills::kills },
    Row { id: "F12", what: "the ways a program ends", run: exits::exits },
    Row { id: "F14", what: "disk full", run: disk::full },
    Row {
        id: "F15",
        what: "spool folder missing, read-only, deleted, a link, somebody else's",
        run: disk::odd_folders,
    },
    Row { id: "F16", what: "damaged spool", run: disk::damaged },
    Row { id: "F17", what: "processes side by side, one dies", run: neighbours::neighbours },
    Row { id: "F18", what: "clock set forward and back", run: unreachable::clock },
    Row { id: "F19", what: "fork without exec", run: exits::fork },
    Row { id: "H2", what: "idle, every span and event recorded", run: quiet::idle },
    Row { id: "H10", what: "closing a span while the backend is away", run: quiet::closes },
];

impl Row {
    /// Brings the fault about. A row that cannot be finished is a failure of its pipelines, not an error.
    pub fn run(&self, plan: &Plan) -> Vec<Outcome> {
        let start = Instant::now();
        let mut outcomes = Vec::new();
        for pipeline in &plan.pipelines {
            let plan = Plan { pipelines: vec![*pipeline], ..plan.clone() };
            outcomes.extend(
                (self.run)(&plan).unwrap_or_else(|error| vec![case(&plan, String::new(), |_| Err(error))]),
            );
        }
        for outcome in &mut outcomes {
            outcome.row = self.id;
            outcome.row_took = start.elapsed();
        }
        outcomes
    }
}

impl Plan {
    /// The only pipeline of a plan that a row gets.
    fn pipeline(&self) -> Pipeline {
        self.pipelines.first().copied().unwrap_or(Pipeline::Longpole)
    }

    /// One of two sizes.
    fn pick<T>(&self, short: T, full: T) -> T {
        if self.is_short { short } else { full }
    }
}

/// One case of a row. With longpole a case that cannot be finished has failed; what the SDK cannot do is told.
fn case(plan: &Plan, what: String, run: impl FnOnce(&str) -> anyhow::Result<Outcome>) -> Outcome {
    match run(&what) {
        Ok(outcome) => outcome,
        Err(error) if plan.pipeline() == Pipeline::Sdk => {
            Outcome::skipped(what, Pipeline::Sdk, format!("{error:#}"))
        }
        Err(error) => {
            let mut failed = Outcome::new(what, plan.pipeline());
            failed.failures.push(format!("{error:#}"));
            failed
        }
    }
}

/// Does several things at once, `width` at a time, and gives what came of them in their order.
fn at_once<T: Send, R: Send>(
    width: usize,
    things: Vec<T>,
    work: impl Fn(T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let count = things.len();
    let waiting = std::sync::Mutex::new(things.into_iter().enumerate());
    let mut done: Vec<(usize, R)> = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        let worker = || {
            let mut results = Vec::new();
            loop {
                let next = waiting.lock().map_err(|_| anyhow::anyhow!("another case panicked"))?.next();
                let Some((at, thing)) = next else { return Ok(results) };
                results.push((at, work(thing)?));
            }
        };
        let workers: Vec<_> = (0..width).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            let results: anyhow::Result<Vec<_>> =
                worker.join().map_err(|_| anyhow::anyhow!("a case panicked"))?;
            done.extend(results?);
        }
        anyhow::Ok(())
    })?;
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
