//! A scriptable OTLP/HTTP receiver on loopback, without a runtime.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With this status, these headers and this body; spans count as taken only for 2xx.
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Not at all, until the sink is dropped.
    Hang,
    /// By closing the connection.
    Close,
}

impl Reply {
    pub fn ok() -> Reply {
        Reply::Status(200, Vec::new(), Vec::new())
    }

    pub fn code(code: u16) -> Reply {
        Reply::Status(code, Vec::new(), Vec::new())
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub request: ExportTraceServiceRequest,
    pub was_taken: bool,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    is_closed: bool,
}

/// The receiver. Its threads end with the process; nothing waits for them.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

/// Long enough for any machine; what a test waits for comes as an event.
pub const PATIENCE: Duration = Duration::from_secs(20);

impl Sink {
    /// Answers request number n (from 0) with `script(n)`.
    pub fn start(script: impl FnMut(usize) -> Reply + Send + 'static) -> Sink {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same on a socket that is bound already.
    pub fn on(listener: TcpListener, script: impl FnMut(usize) -> Reply + Send + 'static) -> Sink {
        let address = listener.local_addr().unwrap();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let script = Arc::new(Mutex::new((0usize, script)));
        let for_listener = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, script) = (for_listener.clone(), script.clone());
                std::thread::spawn(move || {
                    let next = || {
                        let mut script = script.lock().unwrap();
                        let number = script.0;
                        script.0 += 1;
                        (script.1)(number)
                    };
                    let _ = serve(stream, &shared, next);
                });
            }
        });
        Sink { address, shared }
    }

    /// Takes everything.
    pub fn accepting() -> Sink {
        Self::start(|_| Reply::ok())
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.0.lock().unwrap().received.clone()
    }

    /// The spans of all requests that were taken.
    pub fn spans(&self) -> Vec<Span> {
        self.resources().into_iter().flat_map(|r| r.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    pub fn resources(&self) -> Vec<ResourceSpans> {
        let taken = self.received().into_iter().filter(|received| received.was_taken);
        taken.flat_map(|received| received.request.resource_spans).collect()
    }

    /// Waits until `is_there` holds of what was received.
    pub fn wait_until(&self, is_there: impl Fn(&[Received]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.0.lock().unwrap();
        while !is_there(&state.received) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing more came; received {} requests", state.received.len());
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap().is_closed = true;
        self.shared.1.notify_all();
    }
}

fn serve(
    stream: TcpStream,
    shared: &(Mutex<State>, Condvar),
    mut next: impl FnMut() -> Reply,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        // Another signal; see otlp_receiver.rs for tests of it.
        if path != "/v1/traces" {
            writer.write_all(b"HTTP/1.1 404 said\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        let reply = next();
        let was_taken = matches!(reply, Reply::Status(200..=299, ..));
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        shared.0.lock().unwrap().received.push(Received { path, headers, request, was_taken });
        shared.1.notify_all();
        match reply {
            Reply::Status(code, headers, body) => {
                let mut head = format!("HTTP/1.1 {code} said\r\ncontent-length: {}\r\n", body.len());
                headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
                writer.write_all(head.as_bytes())?;
                writer.write_all(b"\r\n")?;
                writer.write_all(&body)?;
                writer.flush()?;
            }
            Reply::Close => return Ok(()),
            Reply::Hang => {
                let mut state = shared.0.lock().unwrap();
                while !state.is_closed {
                    state = shared.1.wait(state).unwrap();
                }
                return Ok(());
            }
        }
    }
}
