//! The receiver's thread: accepts connections and sees each through.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::inbox::Inbox;
use super::service::respond;

/// Room for what a fast sender has on its way, so that it need not wait for the acknowledgement of each frame.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How long the system gets when it has no more file descriptors or memory for a connection.
const PAUSE: Duration = Duration::from_millis(10);

/// Listens until it is dropped.
pub(super) async fn serve(listener: std::net::TcpListener, inbox: Arc<Inbox>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let room = Arc::new(Semaphore::new(inbox.limits.connections));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let server = Arc::new(server);
    let mut served = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while served.try_join_next().is_some() {}
        let presence = inbox.connection();
        let (inbox, server) = (inbox.clone(), server.clone());
        served.spawn(async move {
            let _ = stream.set_nodelay(true);
            let service = service_fn(move |request| {
                let inbox = inbox.clone();
                async move { Ok::<_, Infallible>(respond(request, &inbox).await) }
            });
            // How a connection ends is the other side's affair.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            drop((presence, permit));
        });
    }
}
