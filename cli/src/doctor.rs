//! `longpole doctor`: whether spans would arrive, and what is in the way.

use std::env;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use longpole::decode::decode;
use longpole::otlp_bytes::traces_data;
use longpole::render::Printable;
use longpole_store::{RunFilter, Store};

use crate::context::Context;
use crate::failure::Failure;
use crate::otlp_client::{Protocol, request, send};
use crate::receiver::{Limits, Receiver};
use crate::run::wiring::{self, Wiring};
use crate::{history, output};

/// Check whether spans would arrive here: sends one to itself, and tells what is set that leads them elsewhere
///
/// Changes nothing and sends nothing off this machine.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Print the commands that would put right what is odd; run none of them
    #[arg(long)]
    fix: bool,
}

const EXAMPLES: &str = "\
Examples:
  longpole doctor
  longpole doctor --fix                          the commands that would put it right";

/// How long a span that is sent to this process itself may be on its way.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where programs send that are not told where, over gRPC and over HTTP.
const DEFAULT_PORTS: [(u16, &str); 2] = [(4317, "gRPC"), (4318, "HTTP")];

/// A span that says what it is.
const TEST_SPAN: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
"traceId":"6c6f6e67706f6c6520646f63746f7221","spanId":"646f63746f722121","name":"longpole doctor",
"startTimeUnixNano":"1000000000","endTimeUnixNano":"1250000000"}]}]}]}"#;

/// What was found: lines for a person, and commands that would put right what is odd.
#[derive(Default)]
struct Findings {
    text: String,
    fixes: Vec<String>,
    broken: Vec<&'static str>,
}

impl Findings {
    /// A line of a block that begins with its name.
    fn line(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.text, "  {label:<11} {}", Printable::new(text));
    }
}

/// Looks, and tells.
pub(crate) fn doctor(args: &DoctorArgs, context: &Context) -> Result<(), Failure> {
    let mut found = Findings::default();
    let _ = writeln!(found.text, "longpole {}\n", env!("CARGO_PKG_VERSION"));
    let endpoint = check_receiving(&mut found)?;
    check_ports(&mut found);
    check_variables(&mut found, &endpoint);
    check_terminal(&mut found, context);
    check_history(&mut found, context);
    if args.fix {
        found.text +=
            if found.fixes.is_empty() { "\nNothing to put right.\n" } else { "\nWhat would put it right:\n" };
        for fix in &found.fixes {
            let _ = writeln!(found.text, "  {}", Printable::new(fix));
        }
    } else if !found.fixes.is_empty() {
        found.text += "\nWhat would put it right:  longpole doctor --fix\n";
    }
    output::print(&found.text)?;
    match found.broken.first() {
        None => Ok(()),
        Some(protocol) => {
            let error = anyhow::anyhow!("a span sent over {protocol} did not arrive");
            Err(Failure::could_not(
                error,
                "look for a firewall or a sandbox that keeps programs from 127.0.0.1",
            ))
        }
    }
}

/// Sends a span over each protocol to a receiver as `longpole run` has one; gives its endpoint.
fn check_receiving(found: &mut Findings) -> Result<String, Failure> {
    let cannot_listen = |error: io::Error| {
        let error = anyhow::Error::new(error).context("cannot listen on 127.0.0.1");
        Failure::could_not(error, "look for a sandbox or a limit on open files")
    };
    let receiver = Receiver::start(Limits::default()).map_err(cannot_listen)?;
    let mut label = "receiving";
    for protocol in [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc] {
        let message = match protocol {
            Protocol::HttpJson => TEST_SPAN.as_bytes().to_vec(),
            Protocol::HttpProtobuf | Protocol::Grpc => {
                traces_data(&decode(TEST_SPAN.as_bytes()).map(|it| it.spans).unwrap_or_default())
            }
        };
        let (start, before) = (Instant::now(), receiver.tally().spans);
        let answer = send(receiver.address(), protocol, request(protocol, &message), PATIENCE);
        let took = start.elapsed().as_secs_f64() * 1e3;
        let received = receiver.tally().spans.saturating_sub(before);
        let text = match &answer {
            Ok(answer) if answer.is_taken(protocol) && received == 1 => format!("ok, 1 span in {took:.1} ms"),
            Ok(answer) => {
                let said: String = String::from_utf8_lossy(&answer.body).chars().take(80).collect();
                format!("refused: status {}, {received} spans received; {said}", answer.status)
            }
            Err(error) => format!("failed: {}", crate::receiver::with_cause(error)),
        };
        if !text.starts_with("ok") {
            found.broken.push(protocol.name());
        }
        found.line(label, &format!("{:<14} {text}", protocol.name()));
        label = "";
    }
    let endpoint = receiver.endpoint();
    for span in receiver.finish().spans.iter().take(1) {
        let length = span.end.saturating_since(span.start).as_nanos() / 1_000_000;
        found.line(
            "",
            &format!("{:<14} span `{}`, {length} ms, trace {}", "received", span.name, span.trace_id),
        );
    }
    Ok(endpoint)
}

fn check_ports(found: &mut Findings) {
    let mut label = "ports";
    for (port, protocol) in DEFAULT_PORTS {
        let text = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => "free".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                "in use: programs that are not told where to send reach what listens there".to_owned()
            }
            Err(error) => error.to_string(),
        };
        found.line(label, &format!("{port} ({protocol})    {text}"));
        label = "";
    }
}

/// What exporters read, as it is set, and what becomes of it for the command of `longpole run`.
fn check_variables(found: &mut Findings, endpoint: &str) {
    let Wiring { set, removed, notes } =
        wiring::wiring(endpoint, |name| Some(env::var_os(name)?.to_string_lossy().into_owned()));
    let is_ours = |name: &str| name.starts_with("OTEL_") || name.starts_with("LONGPOLE_");
    let mut here: Vec<(String, String)> = env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| is_ours(name))
        .collect();
    here.sort();
    let mut label = "set here";
    if here.is_empty() {
        found.line(label, "no OTEL_… or LONGPOLE_… variable");
    }
    for (name, value) in here {
        let value = wiring::shown(&name, &value);
        found.line(label, &format!("{name}={value}"));
        label = "";
    }
    let mut label = "for run";
    for (name, value) in &set {
        found.line(label, &format!("{name}={}", wiring::shown(name, value)));
        label = "";
    }
    for note in &notes {
        found.line("note", note);
    }
    found.fixes.extend(removed.iter().map(|name| format!("unset {name}")));
    if env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
        found.fixes.push("unset OTEL_SDK_DISABLED".to_owned());
    }
}

fn check_terminal(found: &mut Findings, context: &Context) {
    let color = |choice: ColorChoice| if choice == ColorChoice::Never { "no colour" } else { "colour" };
    let color = match context.color {
        crate::args::Color::Auto => color(AutoStream::choice(&io::stdout())),
        _ => color(context.color_choice()),
    };
    let style = context.text_style();
    let set = ["NO_COLOR", "CLICOLOR_FORCE", "TERM"]
        .map(|name| env::var_os(name).map(|value| format!("{name}={}", value.to_string_lossy())));
    let set: Vec<String> = set.into_iter().flatten().collect();
    let set = if set.is_empty() { String::new() } else { format!(" ({})", set.join(", ")) };
    found.line("terminal", &format!("{} columns, {color}{set}", style.width));
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(|name| Some(format!("{name}={}", env::var(name).ok()?)));
    let locale = locale.into_iter().flatten().next().unwrap_or_else(|| "not set".to_owned());
    let drawn = if output::is_locale_utf8() { "UTF-8" } else { "ASCII" };
    found.line("locale", &format!("{locale}: drawn in {drawn}"));
    if !output::is_locale_utf8() {
        found.fixes.push("export LC_ALL=C.UTF-8".to_owned());
    }
}

/// Where runs are kept, and how many there are; a file that is not there is not made.
fn check_history(found: &mut Findings, context: &Context) {
    let path = match history::path(context) {
        Ok(path) => path,
        Err(failure) => return failure.warn("no history"),
    };
    let shown = path.display().to_string();
    let text = match Store::open_existing(&path) {
        Ok(None) => "not there yet: it is made when the first run is kept".to_owned(),
        Ok(Some(store)) => {
            let bytes = path.metadata().map_or(0, |metadata| metadata.len());
            match store.count(&RunFilter::default()) {
                Ok(runs) => format!("{runs} runs, {:.1} MB", bytes as f64 / 1e6),
                Err(error) => crate::receiver::with_cause(error),
            }
        }
        Err(error) => crate::receiver::with_cause(error),
    };
    found.line("history", &shown);
    found.line("", &text);
}
