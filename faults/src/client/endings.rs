//! A client from its first line to its end, whatever that is.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use tracing::info_span;

use super::measured::{Latencies, Usage, memory_kib, processor_time};
use super::pipeline::{self, Running};
use super::produce::{Closes, produce};
use super::{ClientLine, ClientReport, ClientSpec, End};

/// Does what the spec says. Returns only where the client ends by returning.
///
/// # Errors
/// If the pipeline, the runtime or the log cannot be had.
///
/// # Panics
/// If that is the end the spec asks for.
pub fn run(spec: &ClientSpec) -> anyhow::Result<()> {
    // The SDK's gRPC exporter needs a runtime with a thread to spare; both pipelines get the same one.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _entered = runtime.enter();
    let log = OpenOptions::new().create(true).append(true).open(&spec.log);
    let log = log.with_context(|| format!("cannot write to {}", spec.log.display()))?;
    let running = pipeline::start(spec)?;
    let (cpu, first_rss_kib) = (processor_time(), memory_kib("VmRSS:"));
    say(&ClientLine::Started);
    let closes = match spec.end {
        End::PanicThread => {
            let (spec, log) = (spec.clone(), log.try_clone()?);
            let thread = std::thread::spawn(move || panic_after(&spec, &log));
            let _ = thread.join();
            return Ok(());
        }
        End::PanicTask => {
            let (spec, log) = (spec.clone(), log.try_clone()?);
            let task = runtime.spawn(async move { panic_after(&spec, &log) });
            let _ = runtime.block_on(task);
            return Ok(());
        }
        End::PanicMain => panic_after(spec, &log),
        _ => produce_on_threads(spec, &log)?,
    };
    match spec.end {
        End::Shutdown | End::Fork => {}
        End::Exit => std::process::exit(0),
        End::LongpoleExit => running.exit(0),
        End::Abort => std::process::abort(),
        End::StackOverflow => {
            black_box(deeper(black_box(u64::MAX)));
        }
        End::Return | End::Killed | End::PanicMain | End::PanicThread | End::PanicTask => return Ok(()),
    }
    say(&ClientLine::Produced);
    if spec.waits_for_word {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
    }
    let cpu_ms = processor_time().saturating_sub(cpu).as_secs_f64() * 1e3;
    let idle =
        (spec.idle_ms > 0).then(|| Usage::of(|| std::thread::sleep(Duration::from_millis(spec.idle_ms))));
    if spec.end == End::Fork {
        return fork(spec, &running, &log);
    }
    let report = ClientReport { cpu_ms, first_rss_kib, idle, ..ended(spec, &running, &closes) };
    say(&ClientLine::Report(report));
    Ok(())
}

fn ended(spec: &ClientSpec, running: &Running, closes: &[Closes]) -> ClientReport {
    let mut durations = Histogram::<u64>::new(3).expect("three digits are allowed");
    for part in closes {
        let _ = durations.add(&part.durations);
    }
    let flush = running.flush(spec.flush_ms);
    let shutdown = running.shutdown();
    ClientReport {
        produced: closes.iter().map(|closes| closes.count).sum(),
        closes: Latencies::from(&durations),
        peak_rss_kib: memory_kib("VmHWM:"),
        flush,
        shutdown,
        notes: running.notes(),
        ..ClientReport::default()
    }
}

fn produce_on_threads(spec: &ClientSpec, log: &File) -> anyhow::Result<Vec<Closes>> {
    if spec.threads <= 1 {
        return Ok(vec![produce(spec, 0, log)]);
    }
    std::thread::scope(|scope| {
        let threads = (0..spec.threads).map(|thread| scope.spawn(move || produce(spec, thread, log)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().ok().context("a producer panicked")).collect()
    })
}

/// Panics inside of a run, as programs do.
fn panic_after(spec: &ClientSpec, log: &File) -> ! {
    produce(spec, 0, log);
    let _open = info_span!("unfinished").entered();
    panic!("as asked");
}

/// The parent's spans and the child's are reported each by its own.
fn fork(spec: &ClientSpec, running: &Running, log: &File) -> anyhow::Result<()> {
    match fork::fork()? {
        fork::Fork::Child => {
            let spec = ClientSpec { client: spec.client + 1, ..spec.clone() };
            let closes = [produce(&spec, 0, log)];
            say(&ClientLine::Child(ended(&spec, running, &closes)));
            std::process::exit(0)
        }
        fork::Fork::Parent(child) => {
            let closes = [produce(&ClientSpec { client: spec.client + 2, ..spec.clone() }, 0, log)];
            let report = ended(spec, running, &closes);
            let _ = fork::waitpid(child);
            say(&ClientLine::Report(report));
            Ok(())
        }
    }
}

/// Needs a frame for each step.
fn deeper(left: u64) -> u64 {
    let frame = black_box([left; 64]);
    if left == 0 { 0 } else { deeper(left - 1).wrapping_add(frame[(left % 64) as usize]) }
}

fn say(line: &ClientLine) {
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
