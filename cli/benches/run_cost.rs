//! What `longpole run` costs: how many spans its receiver takes in a second of one core, and how much longer a command
//! takes under it. `cargo bench -p longpole-cli --bench run_cost`; figures only, no verdicts, as they depend on the
//! machine.

#![allow(clippy::print_stdout, reason = "the figures")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longpole::otlp_bytes::traces_data;

const SENDING: &str = "LONGPOLE_BENCH_SENDS";
/// As many as SDKs send in a request.
const BATCH: usize = 512;
const BATCHES: usize = 400;
const TIMES: usize = 21;

fn main() {
    if std::env::var_os(SENDING).is_some() {
        return send();
    }
    let folder = tempfile::tempdir().unwrap();
    let longpole = |arguments: &[&str], path: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
        command.args(["run", "-q"]).args(arguments).arg("--").arg(path);
        command.env("LONGPOLE_STORE", folder.path().join("runs.db"));
        command.stderr(Stdio::null());
        command
    };
    let this = std::env::current_exe().unwrap();
    for _ in 0..3 {
        let status = longpole(&[], this.to_str().unwrap()).env(SENDING, "1").status().unwrap();
        assert!(status.success(), "{status}");
    }

    // Each time one alone and one under longpole, so that both see the machine in the same state.
    let mut pairs: Vec<(Duration, Duration)> = (0..TIMES)
        .map(|_| {
            let time = |mut command: Command| {
                let start = Instant::now();
                command.status().unwrap();
                start.elapsed()
            };
            (time(Command::new("true")), time(longpole(&[], "true")))
        })
        .collect();
    pairs.sort_by_key(|(alone, under)| under.saturating_sub(*alone));
    let added = |at: usize| pairs[at].1.saturating_sub(pairs[at].0).as_secs_f64() * 1e3;
    println!(
        "`longpole run -- true` takes {:.1} ms longer than `true` (median; {:.1} at most)",
        added(TIMES / 2),
        added(TIMES - 1)
    );
}

/// The command: sends whole requests as fast as they are taken.
fn send() {
    let attribute = r#"{"key":"longpole.node.id","value":{"stringValue":"step"}}"#;
    let span = |index: usize| {
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{:016x}","parentSpanId":"{:016x}","name":"span {}","startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{attribute}]}}"#,
            1,
            index + 2,
            1,
            index % 20,
            1_000 + index,
            2_000 + index
        )
    };
    let spans: Vec<String> = (0..BATCH).map(span).collect();
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","));
    let limits = longpole::decode::Limits { keeps_attributes: true, ..Default::default() };
    let mut records = Vec::new();
    longpole::decode::stream(json.as_bytes(), &limits, &mut |span| records.push(span)).unwrap();
    // What longpole does not read is not kept in records, but a receiver has to get past it.
    let others: Vec<u8> =
        (0..8).flat_map(|index| attribute_of(&format!("app.key_{index}"), "a value of it")).collect();
    for facts in records.iter_mut().filter_map(|record| record.facts.as_mut()) {
        facts.told = Some([facts.told.as_deref().unwrap_or_default(), &others].concat().into());
    }
    let body = traces_data(&records);
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: here\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap();
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap();
    stream.set_nodelay(true).unwrap();
    let (start, cpu) = (Instant::now(), parent_cpu());
    for _ in 0..BATCHES {
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0; 512];
        while !answer.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut byte).unwrap();
            assert!(read > 0);
            answer.extend_from_slice(&byte[..read]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64(), parent_cpu() - cpu);
    let count = (BATCH * BATCHES) as f64;
    println!(
        "{count:.0} spans of {} bytes taken in {wall:.2} s: {:.0} spans/s, {:.0} spans/s of processor time",
        body.len() / BATCH,
        count / wall,
        count / cpu.max(0.01)
    );
}

/// A short attribute as OTLP has it in a span.
fn attribute_of(key: &str, value: &str) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let any_value = field(1, value.as_bytes());
    field(9, &[field(1, key.as_bytes()), field(2, &any_value)].concat())
}

/// Seconds of processor time the receiver's process has used, in steps of 10 ms; 0 where the system does not tell.
fn parent_cpu() -> f64 {
    #[cfg(target_os = "linux")]
    {
        let parent = std::os::unix::process::parent_id();
        let stat = std::fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / 100.0
    }
    #[cfg(not(target_os = "linux"))]
    0.0
}
