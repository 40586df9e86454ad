//! The sink's thread: listens as the network allows, and sees each connection through.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use super::answer::respond;
use super::cut_stream::{Cut, CutStream};
use super::tally::Shared;
use super::{Command, Network};

/// What a server answers that is none of ours.
const GARBLE: &[u8] = b"\x15\x03\x01 220 mail.example.com ready\r\n\r\n\0\0\0";

/// Listens at `address`.
pub(super) fn listener(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

pub(super) async fn serve(
    first: std::net::TcpListener,
    address: SocketAddr,
    mut orders: UnboundedReceiver<Command>,
    shared: Arc<Shared>,
) {
    let mut network = Network::Up;
    let mut listening = TcpListener::from_std(first).ok();
    let mut served = JoinSet::new();
    let mut dead: Vec<TcpStream> = Vec::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(Command(next, done)) = order else { return };
                network = next;
                served.shutdown().await;
                match network {
                    Network::Down => {
                        listening = None;
                        dead.clear();
                    }
                    _ if listening.is_none() => listening = Some(listen_again(address).await),
                    _ => {}
                }
                let _ = done.send(());
            }
            stream = accept(listening.as_ref()) => {
                shared.note_connection();
                match network {
                    Network::Deaf => dead.push(stream),
                    Network::Garbled => {
                        served.spawn(garble(stream));
                    }
                    Network::ResetAfter(bytes) => {
                        served.spawn(converse(stream, Some(bytes), shared.clone()));
                    }
                    Network::Up | Network::Down => {
                        served.spawn(converse(stream, None, shared.clone()));
                    }
                }
            }
            Some(_) = served.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}

/// The port was ours and lies outside of what the system hands out, so whoever has it gives it back soon.
async fn listen_again(address: SocketAddr) -> TcpListener {
    loop {
        if let Ok(listener) = listener(address).and_then(TcpListener::from_std) {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn garble(mut stream: TcpStream) {
    let _ = stream.write_all(GARBLE).await;
    let _ = stream.shutdown().await;
}

async fn converse(stream: TcpStream, limit: Option<u64>, shared: Arc<Shared>) {
    let (cut, mut cuts) = unbounded_channel();
    let _ = stream.set_nodelay(true);
    let is_reset = Arc::new(AtomicBool::new(false));
    let stream = CutStream { stream, left: limit, cut: cut.clone(), is_reset: is_reset.clone() };
    let service = service_fn(move |request| {
        let (shared, cut) = (shared.clone(), cut.clone());
        async move { Ok::<_, Infallible>(respond(request, shared, &cut).await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            Some(cut) = cuts.recv() => match cut {
                Cut::Reset => {
                    is_reset.store(true, Ordering::Relaxed);
                    return;
                }
                Cut::GoAway => connection.as_mut().graceful_shutdown(),
            }
        }
    }
}
