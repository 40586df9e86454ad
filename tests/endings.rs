//! However a program ends, what it has closed arrives, and what was open is told as far as it had come. Each ending is
//! a process of its own: this test, run again.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp_sink::{PATIENCE, Reply, Sink};
use tracing::info_span;
use tracing_subscriber::prelude::*;

const CHILD: &str = "LONGPOLE_TEST_CHILD";

fn builder(url: &str, folder: &str) -> longpole::Builder {
    longpole::builder().service_name("agent").otlp_endpoint(url).spool_dir(Path::new(folder).join("spool"))
}

/// Closes a step inside of a run and then ends as it was told.
#[test]
fn a_program_that_ends() {
    let Ok(settings) = std::env::var(CHILD) else { return };
    let [ending, url, folder] = settings.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let (layer, longpole) = builder(url, folder).flush_on_panic().build().unwrap();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    let end_while_open = |end: &dyn Fn()| {
        let _run = info_span!("run", answer = 42).entered();
        info_span!("step", node.id = "step").in_scope(|| ());
        end();
    };
    match ending {
        "return" => end_while_open(&|| ()),
        "longpole::exit" => end_while_open(&|| longpole::exit(7)),
        "panic" => end_while_open(&|| panic!("as told")),
        "thread" => {
            let ended = std::thread::spawn(|| {
                let _run = info_span!("run", answer = 42).entered();
                info_span!("step", node.id = "step").in_scope(|| ());
                panic!("as told");
            });
            assert!(ended.join().is_err());
            std::process::exit(0);
        }
        // A hook runs before the process goes: what is open is on disk.
        "abort" => end_while_open(&|| {
            let _ = std::panic::catch_unwind(|| panic!("as told"));
            std::process::abort();
        }),
        other => panic!("{other}"),
    }
    drop(longpole);
    std::process::exit(0);
}

fn end(ending: &str, url: &str, folder: &Path) -> Option<i32> {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_program_that_ends", "--nocapture"])
        .env(CHILD, format!("{ending} {url} {}", folder.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.code()
}

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name} in {spans:?}"));
    assert!(found.next().is_none(), "{name} twice");
    first
}

fn attribute<'s>(span: &'s Span, key: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn is_partial(span: &Span) -> bool {
    attribute(span, "longpole.outcome") == Some(&Value::StringValue("partial".to_owned()))
}

/// Of each span what came last: what had arrived when a program ended, and was not yet noted as arrived, is sent again by
/// the next.
fn once_each(sink: &Sink) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for span in sink.spans() {
        spans.retain(|earlier| earlier.span_id != span.span_id);
        spans.push(span);
    }
    spans
}

/// Waits until the next start has sent what is missing of two spans.
fn recover(sink: &Sink, folder: &Path) -> Vec<Span> {
    let longpole = builder(&sink.url(), &folder.display().to_string()).build().unwrap().1;
    let deadline = Instant::now() + PATIENCE;
    while once_each(sink).len() < 2 {
        assert!(Instant::now() < deadline, "{:?} {}", sink.spans(), longpole.flush());
        longpole.flush();
    }
    once_each(sink)
}

#[test]
fn endings_that_leave_time_send_everything() {
    for (ending, code) in [("return", 0), ("longpole::exit", 7), ("panic", 101)] {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::accepting();
        assert_eq!(end(ending, &sink.url(), folder.path()), Some(code), "{ending}");
        let spans = sink.spans();
        assert_eq!(spans.len(), 2, "{ending}");
        assert!(!is_partial(named(&spans, "step")), "{ending}");
        // Only exit ends while the run is open; it is told as far as it had come.
        let run = named(&spans, "run");
        assert_eq!(is_partial(run), ending == "longpole::exit", "{ending}");
        assert_eq!(attribute(run, "answer"), Some(&Value::IntValue(42)), "{ending}");
    }
}

#[test]
fn a_panic_in_a_thread_of_a_program_that_then_exits_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(|_| Reply::ok());
    assert_eq!(end("thread", &sink.url(), folder.path()), Some(0));
    let spans = if sink.spans().len() == 2 { sink.spans() } else { recover(&sink, folder.path()) };
    named(&spans, "step");
    named(&spans, "run");
}

#[test]
fn what_was_open_when_a_program_aborted_is_told_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let is_up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = is_up.clone();
    let sink = Sink::start(move |_| match switch.load(std::sync::atomic::Ordering::Relaxed) {
        true => Reply::ok(),
        false => Reply::Status(503, vec![("retry-after", "0".to_owned())], Vec::new()),
    });
    assert_eq!(end("abort", &sink.url(), folder.path()), None, "a signal ended it");
    is_up.store(true, std::sync::atomic::Ordering::Relaxed);
    let spans = recover(&sink, folder.path());
    assert!(!is_partial(named(&spans, "step")));
    let run = named(&spans, "run");
    assert!(is_partial(run));
    assert_eq!(attribute(run, "answer"), Some(&Value::IntValue(42)));
}
