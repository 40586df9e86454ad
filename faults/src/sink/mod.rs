//! A backend on loopback that speaks OTLP over HTTP and gRPC on one port and fails as it is told, while it runs.
//!
//! It is written with hyper alone, so that it shares no code with what is tested against it.

mod answer;
mod cut_stream;
mod serve;
mod tally;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use answer::{Answer, retry_info};
pub use tally::{Request, Tally};

/// What happens to connections, before any request is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Requests are answered, see [`Sink::answer`].
    Up,
    /// Nobody listens: connections are refused.
    Down,
    /// Connections are accepted and never read. Those made meanwhile stay dead when the network comes back.
    Deaf,
    /// Connections are reset after so many bytes were read.
    ResetAfter(u64),
    /// Connections are answered with bytes that are no HTTP, and closed.
    Garbled,
}

/// The backend; ends when it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    shared: Arc<tally::Shared>,
    commands: UnboundedSender<Command>,
}

/// Changes the network, and says when that is done.
#[derive(Debug)]
struct Command(Network, mpsc::Sender<()>);

/// Ports for sinks lie below those the system hands out itself: a port that is closed for a while must not be taken by
/// a connection of somebody else, nor be connected to itself.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
const PORTS: std::ops::Range<u16> = 20_000..32_000;

impl Sink {
    /// A sink on a free port that takes everything.
    ///
    /// # Errors
    /// What the system says if no port of a dozen hundred can be listened on, or the thread cannot be started.
    pub fn start() -> io::Result<Sink> {
        let ports = PORTS.end - PORTS.start;
        let first = (std::process::id() % 97) as u16 * 113;
        let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..1_200 {
            let port = PORTS.start + (first + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % ports;
            match Sink::start_on(port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last_error = error,
                other => return other,
            }
        }
        Err(last_error)
    }

    /// The same on the port given, on loopback.
    ///
    /// # Errors
    /// What the system says if the port cannot be listened on or the thread cannot be started.
    pub fn start_on(port: u16) -> io::Result<Sink> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = serve::listener(address)?;
        let (commands, orders) = unbounded_channel();
        let shared = Arc::new(tally::Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let for_thread = shared.clone();
        std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
            runtime.block_on(serve::serve(listener, address, orders, for_thread));
        })?;
        Ok(Sink { address, shared, commands })
    }

    /// `http://127.0.0.1:port`, for both protocols.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens while its network is up.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the network; in force when this returns. Connections that are served are cut.
    pub fn set_network(&self, network: Network) {
        let (done, is_done) = mpsc::channel();
        if self.commands.send(Command(network, done)).is_ok() {
            let _ = is_done.recv();
        }
    }

    /// Answers the next requests with `first`, one each, and all later ones with `then` over and over.
    pub fn answer(&self, first: Vec<Answer>, then: Vec<Answer>) {
        self.shared.answer(first, then);
    }

    /// Looks at what has come so far.
    pub fn tally<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&self.shared.tally())
    }

    /// Forgets what has come so far.
    pub fn forget(&self) {
        *self.shared.tally() = Tally::default();
    }

    /// Waits until `is_there` holds of what has come; whether it did before `patience` ended.
    pub fn wait_until(&self, patience: Duration, is_there: impl Fn(&Tally) -> bool) -> bool {
        self.shared.wait_until(Instant::now() + patience, is_there)
    }

    /// Waits until nothing has come for `quiet`, or `is_there` holds; `patience` at most.
    pub fn wait_for_quiet(&self, quiet: Duration, patience: Duration, is_there: impl Fn(&Tally) -> bool) {
        let end = Instant::now() + patience;
        loop {
            let seen = self.tally(|tally| tally.requests.len());
            let until = end.min(Instant::now() + quiet);
            let moved = |tally: &Tally| is_there(tally) || tally.requests.len() != seen;
            if !self.shared.wait_until(until, moved) || self.tally(&is_there) || Instant::now() >= end {
                return;
            }
        }
    }
}
