//! A page of metrics for Prometheus to scrape.

use std::convert::Infallible;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use crate::environment::PrometheusAddress;
use crate::metrics::hub::MetricHub;
use crate::metrics::prometheus_text::{Format, page};

/// A page that is being served; it ends when this is dropped.
pub(crate) struct MetricsPage {
    address: SocketAddr,
    stop: Arc<Notify>,
}

/// Connections at once; further ones wait.
pub(crate) const MAX_CONNECTIONS: usize = 16;
/// How long a connection may take over a request's head.
const HEAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

impl MetricsPage {
    /// Where it listens, with the port the system chose if zero was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsPage {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// The address the environment names.
pub(crate) fn address_of(named: &PrometheusAddress) -> std::io::Result<SocketAddr> {
    let mut found = (named.host.as_str(), named.port).to_socket_addrs()?;
    found.next().ok_or_else(|| std::io::Error::other("the host has no address"))
}

/// Serves the page on a thread of its own.
pub(crate) fn serve(address: SocketAddr, metrics: Arc<MetricHub>) -> std::io::Result<MetricsPage> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    std::thread::Builder::new().name("longpole-metrics".to_owned()).spawn(move || {
        let _untraced = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            let accepting = accept(listener, metrics);
            let mut accepting = std::pin::pin!(accepting);
            let mut stopped = std::pin::pin!(stopped.notified());
            std::future::poll_fn(|context| {
                use std::future::Future;
                let is_stopped = stopped.as_mut().poll(context).is_ready();
                let _ = accepting.as_mut().poll(context).is_ready();
                if is_stopped { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        });
    })?;
    Ok(MetricsPage { address, stop })
}

async fn accept(listener: TcpListener, metrics: Arc<MetricHub>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = connections.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others may end meanwhile.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let answer = answer(&request, &metrics);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, metrics: &MetricHub) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let format = Format::wanted(accept.unwrap_or_default());
            let mut response = Response::new(Full::from(page(&metrics.snapshot(), format)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            response
        }
        _ => text(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
