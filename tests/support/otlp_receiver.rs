//! A receiver of OTLP on loopback that speaks what backends speak: HTTP and gRPC, protobuf and JSON, gzip, TLS with
//! and without client certificates, both signals. It is written with hyper alone, so that it shares no code with what
//! it tests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Long enough for any machine; what a test waits for comes as an event.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The name of the receiver's thread.
pub const THREAD: &str = "receiver";

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Take,
    /// Taken but for so many spans or data points.
    Partial(i64, &'static str),
    /// An HTTP answer.
    Http(u16, &'static str, &'static str),
    /// A gRPC status, with its details.
    Grpc(i32, &'static str, Vec<u8>),
    /// A head, a body and trailers as they are.
    Raw(RawAnswer),
}

/// What no decent backend answers.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub body: RawBody,
    pub trailers: Vec<(&'static str, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub enum RawBody {
    Whole(Vec<u8>),
    /// So many zeros; counts those that were asked for.
    Zeros(usize, Arc<AtomicUsize>),
    /// A byte every 10 ms, without an end.
    Trickle,
    /// Cut off after these bytes.
    Broken(Vec<u8>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub version: Version,
    pub was_compressed: bool,
    pub was_taken: bool,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Unknown,
}

/// Who may connect and how.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The receiver's own chain and key.
    pub chain: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate these signed.
    pub clients: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    answers: VecDeque<Answer>,
}

/// The receiver; ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    is_tls: bool,
    shared: Arc<(Mutex<State>, Condvar)>,
    stop: Arc<Notify>,
}

impl Receiver {
    pub fn start() -> Receiver {
        Self::answering(Vec::new(), None)
    }

    pub fn with_tls(tls: Tls) -> Receiver {
        Self::answering(Vec::new(), Some(tls))
    }

    /// Answers the first requests so, and takes the rest.
    pub fn answering(answers: Vec<Answer>, tls: Option<Tls>) -> Receiver {
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        shared.0.lock().unwrap().answers = answers.into();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let is_tls = tls.is_some();
        let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(server_config(&tls))));
        let stop = Arc::new(Notify::new());
        let (stopped, state) = (stop.clone(), shared.clone());
        std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let listener = TcpListener::from_std(listener).unwrap();
                    loop {
                        let stream = tokio::select! {
                            accepted = listener.accept() => match accepted {
                                Ok((stream, _)) => stream,
                                Err(_) => continue,
                            },
                            () = stopped.notified() => return,
                        };
                        let (acceptor, state) = (acceptor.clone(), state.clone());
                        tokio::spawn(async move {
                            let service = service_fn(move |request| {
                                let state = state.clone();
                                async move { Ok::<_, Infallible>(answer(request, &state).await) }
                            });
                            let server = auto::Builder::new(TokioExecutor::new());
                            match acceptor {
                                Some(acceptor) => {
                                    if let Ok(stream) = acceptor.accept(stream).await {
                                        let _ = server.serve_connection(TokioIo::new(stream), service).await;
                                    }
                                }
                                None => {
                                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                                }
                            }
                        });
                    }
                });
            })
            .unwrap();
        Receiver { address, is_tls, shared, stop }
    }

    /// `http://127.0.0.1:port`, or with `https`.
    pub fn base(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.is_tls { "https" } else { "http" }, self.address.port())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.0.lock().unwrap().seen.clone()
    }

    pub fn resource_spans(&self) -> Vec<ResourceSpans> {
        let taken = self.seen().into_iter().filter(|seen| seen.was_taken);
        taken
            .flat_map(|seen| match seen.content {
                Content::Traces(request) => request.resource_spans,
                _ => Vec::new(),
            })
            .collect()
    }

    pub fn spans(&self) -> Vec<Span> {
        self.resource_spans().into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
    }

    /// What each request with metrics that was taken held, in order.
    pub fn resource_metrics(&self) -> Vec<Vec<ResourceMetrics>> {
        let taken = self.seen().into_iter().filter(|seen| seen.was_taken);
        taken
            .filter_map(|seen| match seen.content {
                Content::Metrics(request) => Some(request.resource_metrics),
                _ => None,
            })
            .collect()
    }

    /// The metrics of each request that was taken, in order.
    pub fn metrics(&self) -> Vec<Vec<Metric>> {
        let of = |resources: Vec<ResourceMetrics>| {
            let scopes = resources.into_iter().flat_map(|resource| resource.scope_metrics);
            scopes.flat_map(|scope| scope.metrics).collect()
        };
        self.resource_metrics().into_iter().map(of).collect()
    }

    /// Waits until `is_there` holds of what was seen.
    pub fn wait_until(&self, is_there: impl Fn(&[Seen]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.0.lock().unwrap();
        while !is_there(&state.seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing more came; seen {} requests", state.seen.len());
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

fn server_config(tls: &Tls) -> ServerConfig {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = match &tls.clients {
        None => config.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).unwrap() {
                roots.add(certificate.unwrap()).unwrap();
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = CertificateDer::pem_file_iter(&tls.chain).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&tls.key).unwrap();
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

fn boxed(body: impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}

async fn answer(request: Request<Incoming>, shared: &(Mutex<State>, Condvar)) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path().to_owned();
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_grpc = header("content-type").starts_with("application/grpc");
    let (message, was_compressed) = if is_grpc {
        let (flag, message) = (body[0], &body[5..]);
        assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, message.len());
        assert_eq!(header("te"), "trailers");
        if flag == 1 {
            assert_eq!(header("grpc-encoding"), "gzip");
            (unzipped(message), true)
        } else {
            (message.to_vec(), false)
        }
    } else if header("content-encoding") == "gzip" {
        (unzipped(&body), true)
    } else {
        (body.to_vec(), false)
    };
    let is_json = header("content-type") == "application/json";
    assert!(is_grpc || is_json || header("content-type") == "application/x-protobuf");
    let is_traces = path == "/v1/traces" || path.ends_with("trace.v1.TraceService/Export");
    let is_metrics = path == "/v1/metrics" || path.ends_with("metrics.v1.MetricsService/Export");
    let content = match (is_traces, is_metrics) {
        (true, _) if is_json => Content::Traces(serde_json::from_slice(&message).unwrap()),
        (true, _) => Content::Traces(ExportTraceServiceRequest::decode(&message[..]).unwrap()),
        (_, true) if is_json => Content::Metrics(serde_json::from_slice(&message).unwrap()),
        (_, true) => Content::Metrics(ExportMetricsServiceRequest::decode(&message[..]).unwrap()),
        _ => Content::Unknown,
    };
    let answer = {
        let mut state = shared.0.lock().unwrap();
        let answer = state.answers.pop_front().unwrap_or(Answer::Take);
        state.seen.push(Seen {
            at: Instant::now(),
            path,
            headers: head.headers,
            version: head.version,
            was_compressed,
            was_taken: matches!(answer, Answer::Take | Answer::Partial(..)),
            content,
        });
        answer
    };
    shared.1.notify_all();
    response(answer, is_grpc, is_json, is_traces)
}

fn response(answer: Answer, is_grpc: bool, is_json: bool, is_traces: bool) -> Response<Body> {
    let content_type = match (is_grpc, is_json) {
        (true, _) => "application/grpc",
        (_, true) => "application/json",
        _ => "application/x-protobuf",
    };
    let builder = Response::builder().header("content-type", content_type);
    let message = match &answer {
        Answer::Partial(rejected, message) if is_json => {
            let key = if is_traces { "rejectedSpans" } else { "rejectedDataPoints" };
            let text = rejected.to_string();
            serde_json::json!({"partialSuccess": {key: text, "errorMessage": message}})
                .to_string()
                .into_bytes()
        }
        Answer::Partial(rejected, message) => partial(*rejected, message),
        _ if is_json => b"{}".to_vec(),
        _ => Vec::new(),
    };
    match answer {
        Answer::Http(code, content_type, body) => Response::builder()
            .status(code)
            .header("content-type", content_type)
            .body(boxed(Full::from(body)))
            .unwrap(),
        Answer::Grpc(code, text, details) => {
            // A status without a message: in the head alone.
            builder
                .header("grpc-status", code)
                .header("grpc-message", text)
                .header("grpc-status-details-bin", base64(&details))
                .body(boxed(Full::default()))
                .unwrap()
        }
        Answer::Take | Answer::Partial(..) if is_grpc => {
            let mut framed = BytesMut::from(&[0u8][..]);
            framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
            framed.extend_from_slice(&message);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let body = Full::from(framed.freeze()).with_trailers(async move { Some(Ok(trailers)) });
            builder.body(boxed(body)).unwrap()
        }
        Answer::Take | Answer::Partial(..) => builder.body(boxed(Full::from(message))).unwrap(),
        Answer::Raw(raw) => raw_response(raw),
    }
}

fn raw_response(raw: RawAnswer) -> Response<Body> {
    let mut head = Response::builder().status(raw.status);
    for (name, value) in raw.headers {
        head = head.header(name, value);
    }
    let mut trailers = HeaderMap::new();
    for (name, value) in raw.trailers {
        trailers.insert(name, value.try_into().unwrap());
    }
    let trailers = (!trailers.is_empty()).then_some(trailers);
    let frame = |bytes: Bytes| Ok(Frame::data(bytes));
    let body = match raw.body {
        RawBody::Whole(bytes) => {
            let body = Full::from(bytes);
            match trailers {
                Some(trailers) => boxed(body.with_trailers(async move { Some(Ok(trailers)) })),
                None => boxed(body),
            }
        }
        RawBody::Zeros(mut left, sent) => {
            let zeros = std::iter::from_fn(move || {
                let size = left.min(64 << 10);
                left -= size;
                sent.fetch_add(size, Ordering::Relaxed);
                (size > 0).then(|| frame(vec![0; size].into()))
            });
            StreamBody::new(futures::stream::iter(zeros)).boxed_unsync()
        }
        RawBody::Trickle => {
            let bytes = futures::stream::unfold((), move |()| async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Some((frame(Bytes::from_static(b"\0")), ()))
            });
            StreamBody::new(bytes).boxed_unsync()
        }
        RawBody::Broken(bytes) => {
            // What is before the cut goes out first.
            let cut = async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut off"))
            };
            let first = futures::stream::iter([frame(bytes.into())]);
            StreamBody::new(first.chain(futures::stream::once(cut))).boxed_unsync()
        }
    };
    head.body(body).unwrap()
}

/// `Export…ServiceResponse { partial_success { rejected, error_message } }`.
fn partial(rejected: i64, message: &str) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: message.to_owned(),
        }),
    }
    .encode_to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            text.push(DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char);
        }
    }
    text
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut unzipped = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut unzipped).unwrap();
    unzipped
}

/// Certificates of an authority of the test's own, as PEM files.
#[derive(Debug)]
pub struct Certificates {
    pub folder: tempfile::TempDir,
}

impl Certificates {
    /// `ca.pem`; `server.pem` and `server.key` for 127.0.0.1; `client.pem` and `client.key`.
    pub fn make() -> Certificates {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        write("ca.pem", authority.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
            write(&format!("{name}.pem"), certificate.pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Certificates { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn server(&self) -> Tls {
        Tls { chain: self.path("server.pem"), key: self.path("server.key"), clients: None }
    }

    pub fn server_for_known_clients(&self) -> Tls {
        Tls { clients: Some(self.path("ca.pem")), ..self.server() }
    }
}

/// The path as text, for variables.
pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
