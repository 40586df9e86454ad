//! The program whose spans are sent: makes them as it is told, and says what that has cost.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::measured::{Clocks, memory_kib, thread_ns};
use super::pipeline::{self, Left, Pipeline};
use super::produce::Producer;
use super::{Protocol, Setup};

/// What the program is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSpec {
    /// Its pipeline.
    pub setup: Setup,
    /// How that sends.
    pub protocol: Protocol,
    /// Where to.
    pub url: String,
    /// Nodes made before anything is measured.
    pub warm_up: usize,
    /// Nodes made then; with several threads, of each.
    pub nodes: usize,
    /// When they are made.
    pub pace: Pace,
    /// Threads that make them.
    pub threads: usize,
}

/// When nodes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// So many at once, then all is waited to be sent: nothing can be lost, whoever is measured.
    Flush(usize),
    /// So many a second, those of each millisecond at once.
    PerSecond(u64),
    /// As fast as they can be made.
    Full,
}

/// What the program says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Nodes made in the measured part.
    pub nodes: u64,
    /// Making them: the wall's clock.
    pub make_ns: u64,
    /// Processor time of the threads that made them, while they did.
    pub hot_ns: u64,
    /// Until everything was sent and the pipeline had ended.
    pub whole: Clocks,
    /// Peak of resident memory, in KiB.
    pub peak_kib: Option<u64>,
    /// Resident memory when the pipeline stood and had sent the warm-up, in KiB.
    pub before_kib: Option<u64>,
    /// What the pipeline says of spans that did not arrive, if it says anything.
    pub left: Option<Left>,
}

/// Does what it is told.
///
/// # Errors
/// If the pipeline cannot be set up or does not end well.
pub fn run(spec: &ClientSpec) -> anyhow::Result<ClientReport> {
    let pipeline = pipeline::start(spec.setup, spec.protocol, &spec.url)?;
    make(spec, spec.warm_up, Pace::Flush(2_000), &pipeline)?;
    pipeline.flush().context("the warm-up was not sent")?;
    let before_kib = memory_kib("VmRSS:");
    let origin = Instant::now();
    let start = Clocks::since(origin);
    let hot_ns = make(spec, spec.nodes, spec.pace, &pipeline)?;
    let make_ns = (Clocks::since(origin) - start).wall_ns;
    // At full speed a flush may give up on what is left, and a shutdown tells of it.
    let _ = pipeline.flush();
    let left = pipeline.shutdown()?;
    let whole = Clocks::since(origin) - start;
    let peak_kib = memory_kib("VmHWM:");
    let nodes = (spec.nodes * spec.threads) as u64;
    Ok(ClientReport { nodes, make_ns, hot_ns, whole, peak_kib, before_kib, left })
}

/// Makes so many nodes on each thread; the threads' processor time for it. Callgrind is told its name.
#[inline(never)]
fn make(spec: &ClientSpec, nodes: usize, pace: Pace, pipeline: &Pipeline) -> anyhow::Result<u64> {
    match (spec.threads, pace) {
        (1, pace) => make_on_one(spec.setup, nodes, pace, pipeline),
        (threads, Pace::Flush(at_once)) => make_on_many(spec.setup, threads, nodes, at_once, pipeline),
        (_, pace) => anyhow::bail!("several threads at {pace:?} are not foreseen"),
    }
}

fn make_on_one(setup: Setup, nodes: usize, pace: Pace, pipeline: &Pipeline) -> anyhow::Result<u64> {
    let mut producer = Producer::new(setup);
    let mut hot_ns = 0;
    let mut timed = |producer: &mut Producer, nodes: usize| {
        let before = thread_ns();
        producer.make(nodes);
        hot_ns += thread_ns().saturating_sub(before);
    };
    match pace {
        Pace::Full => timed(&mut producer, nodes),
        Pace::Flush(at_once) => {
            let mut left = nodes;
            while left > 0 {
                let now = left.min(at_once);
                timed(&mut producer, now);
                pipeline.flush()?;
                left -= now;
            }
        }
        Pace::PerSecond(rate) => {
            let start = Instant::now();
            let mut made = 0;
            while made < nodes {
                let due = u128::from(rate) * start.elapsed().as_nanos() / 1_000_000_000;
                let due = usize::try_from(due).unwrap_or(usize::MAX).min(nodes);
                timed(&mut producer, due.saturating_sub(made));
                made = made.max(due);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    producer.end();
    Ok(hot_ns)
}

/// All threads make a share at the same time, then all is sent, and so on.
fn make_on_many(
    setup: Setup,
    threads: usize,
    nodes: usize,
    at_once: usize,
    pipeline: &Pipeline,
) -> anyhow::Result<u64> {
    let share = (at_once / threads).max(1);
    let (begin, end) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let rounds = nodes.div_ceil(share);
    thread::scope(|scope| {
        let makers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut producer = Producer::new(setup);
                    let (mut left, mut hot_ns) = (nodes, 0);
                    for _ in 0..rounds {
                        begin.wait();
                        let before = thread_ns();
                        let now = left.min(share);
                        producer.make(now);
                        left -= now;
                        hot_ns += thread_ns().saturating_sub(before);
                        end.wait();
                    }
                    hot_ns
                })
            })
            .collect();
        let mut flushed = Ok(());
        for _ in 0..rounds {
            begin.wait();
            end.wait();
            flushed = flushed.and_then(|()| pipeline.flush());
        }
        flushed?;
        let hot = makers.into_iter().map(|maker| maker.join());
        hot.sum::<Result<u64, _>>().map_err(|_| anyhow::anyhow!("a thread that makes spans has panicked"))
    })
}
