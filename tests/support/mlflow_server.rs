//! An MLflow server on loopback that answers as it is told: with answers a real one gave, with failures, or with what a
//! real one behind it says, which is written down. Without a runtime and without a client library.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Long enough for any machine; what a test waits for comes as an event.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, wanted: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Its path without what follows `?`, and without what MLflow chose.
    pub fn endpoint(&self) -> &str {
        let path = self.path.split('?').next().unwrap();
        if path.contains("/mlflow-artifacts/") {
            "artifacts"
        } else {
            path.trim_start_matches("/api/2.0/mlflow/")
        }
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Not at all, until the server is dropped.
    Hang,
    /// By closing the connection.
    Close,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Reply {
        let headers = vec![("content-type", "application/json".to_owned())];
        Reply::Answer { status, headers, body: body.to_string().into_bytes() }
    }

    pub fn page(status: u16) -> Reply {
        let headers = vec![("content-type", "text/html; charset=utf-8".to_owned())];
        Reply::Answer { status, headers, body: b"<!doctype html><title>Welcome</title>".to_vec() }
    }

    pub fn code(status: u16) -> Reply {
        Reply::Answer { status, headers: Vec::new(), body: Vec::new() }
    }
}

type Script = Box<dyn Fn(&Request, usize) -> Reply + Send + Sync>;

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Request>>,
    came: Condvar,
}

/// The server; ends with the test's process.
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    /// `script` gets each request and how many of its endpoint came before.
    pub fn start(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<State> = Arc::default();
        let (seen, script): (_, Arc<Script>) = (state.clone(), Arc::new(Box::new(script)));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, script) = (seen.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &state, &script));
            }
        });
        Server { address, state }
    }

    /// Answers with what a real server has answered, unless `script` says otherwise.
    pub fn recorded(script: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Server {
        let exchanges = Exchange::read_all("one_run");
        Server::start(move |request, before| {
            script(request, before).unwrap_or_else(|| {
                let mut found = exchanges.iter().filter(|it| it.endpoint() == request.endpoint());
                // The last one told there was: with an experiment that exists.
                found.next_back().map_or_else(|| Reply::code(404), Exchange::reply)
            })
        })
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn seen_at(&self, endpoint: &str) -> Vec<Request> {
        self.seen().into_iter().filter(|request| request.endpoint() == endpoint).collect()
    }

    /// Waits until so many requests came.
    pub fn wait_for(&self, requests: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.state.seen.lock().unwrap();
        while seen.len() < requests {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing more came; seen {seen:?}");
            seen = self.state.came.wait_timeout(seen, left).unwrap().0;
        }
    }
}

fn serve(stream: TcpStream, state: &State, script: &Script) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader) {
        let before = {
            let mut seen = state.seen.lock().unwrap();
            let before = seen.iter().filter(|it| it.endpoint() == request.endpoint()).count();
            seen.push(request.clone());
            before
        };
        let reply = script(&request, before);
        state.came.notify_all();
        match reply {
            Reply::Answer { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                if writer.write_all(format!("{head}\r\n").as_bytes()).is_err()
                    || writer.write_all(&body).is_err()
                {
                    return;
                }
            }
            Reply::Close => return,
            Reply::Hang => {
                // Until the other side has enough of it.
                let _ = reader.read(&mut [0]);
                return;
            }
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split_ascii_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = read_headers(reader)?;
    let mut request = Request { method, path, headers, body: Vec::new() };
    let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn read_headers(reader: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { return Some(headers) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Asks a server and gives status, content type and body.
pub fn ask(base: &str, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String, Vec<u8>)> {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let no_answer = || std::io::Error::other("no HTTP answer");
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(no_answer)?;
    let headers = read_headers(&mut reader).ok_or_else(no_answer)?;
    let header =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let mut answer = Vec::new();
    match header("content-length").map(|length| length.parse::<u64>().unwrap()) {
        Some(length) => drop(reader.take(length).read_to_end(&mut answer)?),
        None => drop(reader.read_to_end(&mut answer)?),
    }
    Ok((status, header("content-type").unwrap_or_default(), answer))
}

/// A request and what a real server answered.
#[derive(Clone, Debug)]
pub struct Exchange(pub Value);

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/mlflow/{name}.json"))
}

impl Exchange {
    pub fn new(request: &Request, (status, content_type, body): &(u16, String, Vec<u8>)) -> Exchange {
        let body: Value = serde_json::from_slice(body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
        Exchange(json!({
            "method": request.method, "path": request.path, "request": without_renderings(request),
            "status": status, "content_type": content_type, "answer": body,
        }))
    }

    pub fn read_all(name: &str) -> Vec<Exchange> {
        let exchanges: Vec<Value> = serde_json::from_slice(&std::fs::read(file(name)).unwrap()).unwrap();
        exchanges.into_iter().map(Exchange).collect()
    }

    pub fn write_all(name: &str, exchanges: &[Exchange]) {
        let values: Vec<&Value> = exchanges.iter().map(|exchange| &exchange.0).collect();
        std::fs::write(file(name), serde_json::to_string_pretty(&values).unwrap() + "\n").unwrap();
    }

    fn endpoint(&self) -> String {
        let text = |key: &str| self.0[key].as_str().unwrap().to_owned();
        let (method, path) = (text("method"), text("path"));
        Request { method, path, headers: Vec::new(), body: Vec::new() }.endpoint().to_owned()
    }

    pub fn reply(&self) -> Reply {
        let body = match &self.0["answer"] {
            Value::String(text) => text.clone(),
            answer => answer.to_string(),
        };
        Reply::Answer {
            status: self.0["status"].as_u64().unwrap() as u16,
            headers: vec![("content-type", self.0["content_type"].as_str().unwrap().to_owned())],
            body: body.into_bytes(),
        }
    }
}

/// A request's body without texts that are made for people, and whole reports: those have tests of their own.
fn without_renderings(request: &Request) -> Value {
    if request.method == "PUT" {
        return Value::Null;
    }
    let mut body = request.json();
    for tag in body.get_mut("tags").and_then(Value::as_array_mut).into_iter().flatten() {
        if tag["key"] == "mlflow.note.content" {
            tag["value"] = json!("…");
        }
    }
    body
}

/// What a request is when it is written down.
pub fn written(request: &Request) -> Value {
    json!({"method": request.method, "path": request.path, "request": without_renderings(request)})
}
