//! Programs of others that tests start: the OpenTelemetry Collector, Jaeger, Prometheus. Each is looked for on PATH, gets
//! loopback addresses nobody uses, and ends with its test.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for any machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions to another program.
pub const PAUSE: Duration = Duration::from_millis(20);

pub fn config(name: &str) -> PathBuf {
    // Of this package, or of one two folders below.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = here.ancestors().map(|folder| folder.join("collector-config"));
    folders.take(3).find(|folder| folder.is_dir()).unwrap().join(name)
}

pub fn option(name: &str, file: &str) -> String {
    format!("--{name}={}", config(file).display())
}

/// The first of these programs that is on PATH; else says that the test is skipped.
#[allow(clippy::print_stdout, reason = "whoever reads the test's output must know what was not tested")]
pub fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = names.iter().flat_map(|name| std::env::split_paths(&path).map(move |at| at.join(name)));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        println!("SKIPPED: no {} on PATH", names.last().unwrap());
    }
    found
}

pub fn otelcol() -> Option<PathBuf> {
    program(&["otelcol-contrib", "otelcol"])
}

pub fn jaeger() -> Option<PathBuf> {
    program(&["jaeger"])
}

/// Asks until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(PAUSE);
    }
}

/// The body of a GET that was answered with 200.
pub fn get(address: &str, path: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // 1.0, so that the answer ends with the connection and is not chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_ok = head.split(' ').nth(1) == Some("200");
    is_ok.then(|| body.to_owned())
}

/// Loopback addresses nobody listens on, none of them given out before: the tests run at the same time, and
/// programs take some time to listen.
pub fn free_addresses<const N: usize>() -> [String; N] {
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    std::array::from_fn(|_| {
        loop {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            if given.insert(address) {
                return address.to_string();
            }
        }
    })
}

/// A program of others, ended with the test. What it logged is shown if the test fails.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it with these options, its files and its log in `folder`.
    pub fn start(program: &Path, options: &[String], folder: &Path, variables: &[(&str, &str)]) -> Running {
        let log = folder.join(format!("{}.log", program.file_name().unwrap().display()));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(program)
            .args(options)
            .current_dir(folder)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Running { child, log }
    }

    /// Waits until a GET is answered.
    pub fn wait_until_up(&mut self, address: &str, path: &str) {
        let log = self.log.display().to_string();
        wait_for(&log, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{log}: ended with {status}");
            }
            get(address, path)
        });
    }
}

impl Drop for Running {
    #[allow(clippy::print_stdout, reason = "shown by a failing test only")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read(&self.log).unwrap_or_default();
            let from = log.len().saturating_sub(8 << 10);
            println!("-- {}\n{}", self.log.display(), String::from_utf8_lossy(&log[from..]));
        }
    }
}

pub struct Jaeger {
    _running: Running,
    pub http: String,
}

/// Jaeger as `jaeger.yaml` sets it up, taking OTLP at `otlp`.
pub fn start_jaeger(program: &Path, folder: &Path, otlp: &str) -> Jaeger {
    let [http, query] = free_addresses();
    let variables = [("JAEGER_HTTP", &*http), ("JAEGER_QUERY_GRPC", &query), ("JAEGER_OTLP_GRPC", otlp)];
    let mut running = Running::start(program, &[option("config", "jaeger.yaml")], folder, &variables);
    running.wait_until_up(&http, "/api/v3/services");
    Jaeger { _running: running, http }
}

pub struct Collector {
    _running: Running,
    pub otlp_http: String,
    pub prometheus: String,
    pub traces_file: PathBuf,
}

/// A collector as `collector.yaml` sets it up, with its files in `folder`.
pub fn start_collector(program: &Path, folder: &Path, jaeger_otlp: &str) -> Collector {
    start_collector_with(program, &["collector.yaml"], folder, &[("JAEGER_ENDPOINT", jaeger_otlp)])
}

pub fn start_collector_with(
    program: &Path,
    files: &[&str],
    folder: &Path,
    backends: &[(&str, &str)],
) -> Collector {
    let [grpc, http, health, prometheus, telemetry] = free_addresses();
    let (telemetry_host, telemetry_port) = telemetry.split_once(':').unwrap();
    let mut variables = vec![
        ("COLLECTOR_GRPC", &*grpc),
        ("COLLECTOR_HTTP", &http),
        ("COLLECTOR_HEALTH", &health),
        ("COLLECTOR_PROMETHEUS", &prometheus),
        ("COLLECTOR_TELEMETRY_HOST", telemetry_host),
        ("COLLECTOR_TELEMETRY_PORT", telemetry_port),
        ("COLLECTOR_SPAN_METRICS_INTERVAL", "100ms"),
    ];
    variables.extend(backends);
    let options: Vec<_> = files.iter().map(|file| option("config", file)).collect();
    let mut running = Running::start(program, &options, folder, &variables);
    running.wait_until_up(&health, "/");
    let traces_file = folder.join("collector-data/traces.jsonl");
    Collector { _running: running, otlp_http: format!("http://{http}"), prometheus, traces_file }
}

pub fn spans_of(trace: &Value) -> Vec<&Value> {
    let list = |value: &'_ Value| value.as_array().map_or(0, Vec::len);
    let resources = &trace["resourceSpans"];
    let mut spans = Vec::new();
    for resource in 0..list(resources) {
        let scopes = &resources[resource]["scopeSpans"];
        for scope in 0..list(scopes) {
            spans.extend(scopes[scope]["spans"].as_array().into_iter().flatten());
        }
    }
    spans
}

pub fn attribute<'v>(span: &'v Value, key: &str) -> &'v Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {attributes:?}"))["value"]
}

/// A 64-bit number, which OTLP JSON writes as text.
pub fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}
