//! A program whose spans are counted: what it is told, what it says, and how it is started.
//!
//! It is a process of its own, since most of what is asked here is about its end.

pub mod endings;
mod measured;
pub mod pipeline;
pub mod process;
pub mod produce;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use measured::{Latencies, Usage};

/// Whose spans they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pipeline {
    /// longpole's layer.
    Longpole,
    /// `tracing-opentelemetry` and the SDK's batch processor with its OTLP exporter, nothing set.
    Sdk,
}

/// How OTLP is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Protobuf over HTTP/1.1.
    Http,
    /// gRPC.
    Grpc,
}

/// How the client ends after its last span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Flush and shutdown, both asked what became of the spans; see [`ClientReport`].
    Shutdown,
    /// `main` returns.
    Return,
    /// `std::process::exit`.
    Exit,
    /// `longpole::exit`; with the SDK, as [`End::Exit`].
    LongpoleExit,
    /// `main` panics.
    PanicMain,
    /// The thread that made the spans panics; `main` returns.
    PanicThread,
    /// A task of the runtime that made the spans panics; `main` returns.
    PanicTask,
    /// `std::process::abort`.
    Abort,
    /// Runs out of stack.
    StackOverflow,
    /// Spans go on until somebody kills it.
    Killed,
    /// Forks: the child makes as many spans again, of a client number one higher, and both shut down.
    Fork,
}

/// What a client does; given as JSON in its only argument.
///
/// Where spans go, the protocol and the spool are environment variables, as for any program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSpec {
    /// Whose spans.
    pub pipeline: Pipeline,
    /// How they are sent.
    pub protocol: Protocol,
    /// Numbers the client; its spans are numbered below it.
    pub client: u32,
    /// Spans a second, over all threads; 0: none at all.
    pub rate: u32,
    /// How many spans; with [`End::Killed`] this is no limit.
    pub spans: u64,
    /// Spans of each run, root included.
    pub run_spans: u64,
    /// Threads that make them.
    pub threads: u32,
    /// Every span and event of any library, rather than those up to INFO.
    pub is_traced: bool,
    /// Does nothing for so long after the last span, and says what that cost.
    pub idle_ms: u64,
    /// After the spans, and before it is idle or ends, waits for a line or the end of its standard input.
    pub waits_for_word: bool,
    /// How it ends.
    pub end: End,
    /// How long the flush may take; `None`: its default.
    pub flush_ms: Option<u64>,
    /// Gets the number of each span that was closed, eight bytes each, as soon as the close has returned.
    pub log: PathBuf,
}

impl ClientSpec {
    /// So many spans a second for so long, then flush and shutdown.
    pub fn new(pipeline: Pipeline, protocol: Protocol, rate: u32, ms: u64) -> ClientSpec {
        ClientSpec {
            pipeline,
            protocol,
            client: 0,
            rate,
            spans: u64::from(rate) * ms / 1_000,
            run_spans: 20,
            threads: 1,
            is_traced: false,
            idle_ms: 0,
            waits_for_word: false,
            end: End::Shutdown,
            flush_ms: None,
            log: PathBuf::new(),
        }
    }
}

/// The number of the span number `span` of the thread number `thread` of a client. Positive as a signed number, too.
pub fn sequence(client: u32, thread: u32, span: u64) -> u64 {
    u64::from(client & 0x7f_ffff) << 40 | u64::from(thread & 0xff) << 32 | span & 0xffff_ffff
}

/// The number of the client that made a span.
pub fn client_of(sequence: u64) -> u32 {
    u32::try_from(sequence >> 40).unwrap_or(u32::MAX)
}

/// What a client says on its standard output, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientLine {
    /// The pipeline stands; spans begin.
    Started,
    /// All spans are closed.
    Produced,
    /// The end of a client's child, see [`End::Fork`].
    Child(ClientReport),
    /// The end of a client that may speak before it ends.
    Report(ClientReport),
}

/// What a client says at its end, see [`End::Shutdown`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Spans closed.
    pub produced: u64,
    /// How long closing one took.
    pub closes: Latencies,
    /// Processor time since the pipeline stands, until before the flush.
    pub cpu_ms: f64,
    /// Peak of resident memory, in KiB.
    pub peak_rss_kib: u64,
    /// Resident memory when the pipeline stood, in KiB.
    pub first_rss_kib: u64,
    /// What being idle cost.
    pub idle: Option<Usage>,
    /// What the flush said.
    pub flush: Told,
    /// What the shutdown said.
    pub shutdown: Told,
    /// Everything else the pipeline had to say, in its own words.
    pub notes: Vec<String>,
}

/// What a flush or a shutdown said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Whether it said that all is well.
    pub is_ok: bool,
    /// Its words.
    pub text: String,
    /// How long it took.
    pub took_ms: f64,
    /// The numbers, where there are any.
    pub counts: Option<Counts>,
}

/// What became of a client's spans by its own account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Spans closed.
    pub closed: u64,
    /// Acknowledged by the backend.
    pub acknowledged: u64,
    /// Refused for good by the backend.
    pub rejected: u64,
    /// Still on their way.
    pub pending: u64,
    /// Of those still on their way, how many are on disk for the next start.
    pub spooled: u64,
    /// Lost, for whatever reason.
    pub lost: u64,
}

impl Counts {
    /// Whether every span that was closed is acknowledged, rejected, pending or lost.
    pub fn add_up(&self) -> bool {
        self.closed == self.acknowledged + self.rejected + self.pending + self.lost
            && self.spooled <= self.pending
    }
}
