//! A receiver of OTLP on loopback: HTTP (protobuf and JSON) and gRPC on one port, spans kept, metrics and logs counted.
//!
//! Both protocols share a port because HTTP/2 begins with words of its own: whichever of them a program's exporter
//! speaks, one endpoint is right for it.

mod answer;
mod body;
mod inbox;
mod serve;
mod service;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use longpole::span_record::SpanRecord;
use tokio::sync::oneshot;

pub(crate) use inbox::{Limits, Tally, with_cause};

use inbox::Inbox;

/// How long nothing may have come, with all connections closed, until nothing more is expected.
const QUIET: Duration = Duration::from_millis(20);

/// Receives from its start until [`Receiver::finish`], or until it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    handle: tokio::runtime::Handle,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What came while a receiver was there.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// In the order in which they came.
    pub(crate) spans: Vec<SpanRecord>,
    pub(crate) tally: Tally,
}

impl Receiver {
    /// Listens on a free port of 127.0.0.1, on a thread of its own.
    ///
    /// # Errors
    /// What the system says if it has no port or no thread.
    pub(crate) fn start(limits: Limits) -> io::Result<Receiver> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let inbox = Arc::new(Inbox::new(limits));
        let (stop, stopped) = oneshot::channel::<()>();
        let (handle, shared) = (runtime.handle().clone(), inbox.clone());
        let thread = std::thread::Builder::new().name("otlp-receiver".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve::serve(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Receiver { address, inbox, handle, stop: Some(stop), thread: Some(thread) })
    }

    /// What exporters are to be given as their endpoint, for every protocol: `http://127.0.0.1:45123`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come so far, in numbers.
    pub(crate) fn tally(&self) -> Tally {
        self.inbox.tally()
    }

    /// The name of the last span that came.
    pub(crate) fn latest(&self) -> Option<Arc<str>> {
        self.inbox.latest()
    }

    /// Waits until every connection is closed and nothing has come for a moment. What a program sent before it ended
    /// is in then.
    pub(crate) fn quiet(&self) -> impl Future<Output = ()> + use<> {
        let inbox = self.inbox.clone();
        // On the receiver's own thread, so that where that is held up the moment gets longer with it.
        let task = self.handle.spawn(async move {
            loop {
                let seen = inbox.activity();
                tokio::time::sleep(QUIET).await;
                // What arrived meanwhile gets its turn.
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                if inbox.is_idle() && inbox.activity() == seen {
                    return;
                }
            }
        });
        async {
            // It ends early only with the receiver.
            let _ = task.await;
        }
    }

    /// Stops listening, and hands over what came.
    pub(crate) fn finish(mut self) -> Received {
        self.end();
        let (spans, tally) = self.inbox.take();
        Received { spans, tally }
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It holds nothing that a panic would leave half done; what came is still there.
            let _ = thread.join();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.end();
    }
}
