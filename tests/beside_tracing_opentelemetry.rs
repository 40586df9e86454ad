//! The same programs under tracing-opentelemetry and longpole at once: what both export, compared span for
//! span.
//!
//! Every span is told as lines of text. The lines of both must be equal, except where a program shows one of
//! the [`DIFFERENCES`], and then exactly as written there. `docs/tracing-opentelemetry.md` tells them to readers.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::{InMemorySpanExporterBuilder, SdkTracerProvider};
use otlp_sink::Sink;
use tracing::{
    Instrument, Level, Span as TracingSpan, debug, error, event, field, field::Empty, info, info_span,
    instrument, trace, warn,
};
use tracing_subscriber::prelude::*;

/// All that may differ, and why. The page's table has a row for each name.
const DIFFERENCES: [(&str, &str); 22] = [
    (TIMING, "the analysis needs more than two numbers, under names that mean nothing else"),
    (VERDICT, "a run's root says which node to fix first"),
    (IDS, "neither knows of the other"),
    (OFF_BY_DEFAULT, "they cost bytes in every span; three settings switch them on"),
    (NO_LEVEL, "nothing reads it"),
    (LATE, "names are often known only when the work is done"),
    (EMPTY_NAME, "a backend shows nothing for it"),
    (LONG, "one value must not fill a request"),
    (MACHINERY, "spans of sending spans would cause more of them"),
    (STATUS_RULES, "`Ok` beats `Error` beats unset in OpenTelemetry's interface, at any time"),
    (DESCRIPTIONS, "the later is the one that counts; the order of letters says nothing"),
    (UNSIGNED, "they are numbers: a backend can add and compare them"),
    (UNIQUE, "OTLP forbids one key twice; backends differ in which they show"),
    (NODE_KEYS, "short forms are for macros, what is exported has longpole's namespace"),
    (OUTCOME, "a panic shows in no status"),
    (BELOW_INFO, "debug output would be most of what is sent"),
    (LOG_FIELDS, "only records of the crate `log` have fields of that sort that were told already"),
    (EVENT_FIELDS, "an event must not fill a span"),
    (SPAN_BYTES, "memory for open spans is bounded"),
    (END, "a parent waits for its children, wherever it is entered"),
    (CONTENT, "what people say is theirs; OpenTelemetry asks to export it only where somebody opts in"),
    (SECRETS, "whoever may read traces need not be let into everything else"),
];

const TIMING: &str = "timing attributes";
const VERDICT: &str = "the verdict of a run";
const IDS: &str = "own ids";
const OFF_BY_DEFAULT: &str = "location, thread and target";
const NO_LEVEL: &str = "the level of a span";
const LATE: &str = "a late `otel.name` or `otel.kind`";
const EMPTY_NAME: &str = "an empty `otel.name`";
const LONG: &str = "long names and values";
const MACHINERY: &str = "spans of the exporting machinery";
const STATUS_RULES: &str = "a status that changes before the first enter";
const DESCRIPTIONS: &str = "several error descriptions";
const UNSIGNED: &str = "unsigned numbers";
const UNIQUE: &str = "a key given twice";
const NODE_KEYS: &str = "keys of nodes and workflows";
const OUTCOME: &str = "a panic";
const BELOW_INFO: &str = "events below INFO";
const LOG_FIELDS: &str = "fields called `log.*`";
const EVENT_FIELDS: &str = "more than 32 attributes of an event";
const SPAN_BYTES: &str = "more than 64 KiB in a span";
const END: &str = "a child that outlasts its parent";
const CONTENT: &str = "the content of conversations";
const SECRETS: &str = "secrets";

/// Differences that all programs show, so that they are left out of the comparison.
const EVERYWHERE: [&str; 3] = [TIMING, VERDICT, IDS];

/// What both write about running a span, each in its own words.
const THEIR_TIMING: [&str; 2] = ["busy_ns", "idle_ns"];
const OUR_TIMING: [&str; 6] = [
    "longpole.queued_ns",
    "longpole.busy_ns",
    "longpole.polls",
    "longpole.longest_poll_ns",
    "longpole.first_enter_ns",
    "longpole.held_open_ns",
];

/// What longpole writes onto the root of a run when it is analysed.
const OUR_VERDICT: [&str; 10] = [
    "bottleneck_info",
    "longpole.bottleneck.node",
    "longpole.bottleneck.save_max_ns",
    "longpole.critical_path",
    "longpole.run.wall_ns",
    "longpole.run.work_ns",
    "longpole.run.cost_usd",
    "longpole.run.complete",
    "longpole.run.spans",
    "longpole.run.lost_spans",
];

/// Points in time a program sets. A span's times are told as the number of marks before them, so that no test
/// depends on how fast it runs.
#[derive(Default)]
struct Marks(Mutex<Vec<u64>>);

impl Marks {
    /// The two layers read different clocks; the pauses are longer than what these may differ by.
    fn set(&self) {
        std::thread::sleep(Duration::from_millis(2));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.0.lock().unwrap().push(u64::try_from(now.as_nanos()).unwrap());
        std::thread::sleep(Duration::from_millis(2));
    }

    fn before(&self, unix_nanos: u64) -> usize {
        self.0.lock().unwrap().iter().filter(|mark| **mark <= unix_nanos).count()
    }
}

/// How the layers are set up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settings {
    /// tracing-opentelemetry as it comes, and longpole exporting the same.
    Alike,
    /// Both as they come.
    Defaults,
    /// As [`Settings::Alike`], and tracing-opentelemetry writes levels.
    Level,
}

#[derive(Clone, Copy)]
struct Program {
    what: &'static str,
    settings: Settings,
    run: fn(&Marks),
    /// Some of the lines both tell.
    both: &'static [&'static str],
    differs: &'static [Differs],
}

/// A difference of [`DIFFERENCES`], and the lines only one of the two tells because of it.
struct Differs {
    name: &'static str,
    theirs: &'static [&'static str],
    ours: &'static [&'static str],
}

const fn same(what: &'static str, both: &'static [&'static str], run: fn(&Marks)) -> Program {
    Program { what, settings: Settings::Alike, run, both, differs: &[] }
}

const fn differing(
    what: &'static str,
    both: &'static [&'static str],
    differs: &'static [Differs],
    run: fn(&Marks),
) -> Program {
    Program { what, settings: Settings::Alike, run, both, differs }
}

/// Runs the program under both layers. Gives what tracing-opentelemetry exported, then what longpole did.
fn exported(program: &Program, marks: &Marks) -> (Vec<Span>, Vec<Span>) {
    let exporter = InMemorySpanExporterBuilder::new().build();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let theirs = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("beside"))
        .with_level(program.settings == Settings::Level);
    let sink = Sink::accepting();
    let builder = longpole::builder().otlp_endpoint(sink.url()).durability(longpole::Durability::Memory);
    let (ours, longpole) = match program.settings {
        Settings::Defaults => builder.build(),
        _ => builder.with_location(true).with_threads(true).with_target(true).build(),
    }
    .unwrap();
    let subscriber = tracing_subscriber::registry().with(theirs).with(ours);
    tracing::subscriber::with_default(subscriber, || (program.run)(marks));
    let last = longpole.shutdown_within(otlp_sink::PATIENCE);
    assert!(last.flush.is_complete && last.open == 0, "{}: {last}", program.what);
    let theirs = exporter.get_finished_spans().unwrap().into_iter().map(Span::from).collect();
    (theirs, sink.spans())
}

/// Takes the attributes `keys` out of `span`. Returns which of them it had.
fn take_out(span: &mut Span, keys: &[&str]) -> BTreeSet<String> {
    let had = span.attributes.iter().map(|pair| pair.key.clone()).filter(|key| keys.contains(&key.as_str()));
    let had = had.collect();
    span.attributes.retain(|pair| !keys.contains(&pair.key.as_str()));
    had
}

/// What `spans` say, one line per fact.
fn facts(spans: &[Span], marks: &Marks) -> Vec<String> {
    let label = |span: &Span| if spans.len() == 1 { "span".to_owned() } else { span.name.clone() };
    let labels: HashMap<&[u8], String> = spans.iter().map(|s| (s.span_id.as_slice(), label(s))).collect();
    let unique: BTreeSet<&String> = labels.values().collect();
    assert_eq!(unique.len(), spans.len(), "spans are told apart by their names: {labels:?}");
    let label_of = |id: &[u8]| labels.get(id).map_or("another process", String::as_str);
    let mut facts = Vec::new();
    for span in spans {
        let mut roots: Vec<&str> = spans
            .iter()
            .filter(|other| other.trace_id == span.trace_id && !labels.contains_key(&*other.parent_span_id))
            .map(|root| label_of(&root.span_id))
            .collect();
        roots.sort_unstable();
        let mut say = |fact: String| facts.push(format!("{}: {fact}", label_of(&span.span_id)));
        if span.name.len() > 200 {
            say(format!("name {}", shortened(&span.name)));
        } else {
            say(format!("name {:?}", span.name));
        }
        say(format!("kind {}", span.kind().as_str_name().trim_start_matches("SPAN_KIND_").to_lowercase()));
        match span.status.as_ref().map(|status| (status.code, status.message.as_str())) {
            None | Some((0, "")) => say("status unset".to_owned()),
            Some((1, "")) => say("status ok".to_owned()),
            Some((2, message)) => say(format!("status error {message:?}")),
            Some(other) => panic!("no such status: {other:?}"),
        }
        if span.parent_span_id.is_empty() || span.parent_span_id.iter().all(|byte| *byte == 0) {
            say("root".to_owned());
        } else {
            say(format!("under {}", label_of(&span.parent_span_id)));
        }
        say(format!("in the trace of {}", roots.join(", ")));
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        assert!(start <= end);
        say(format!("from {} to {}", marks.before(start), marks.before(end)));
        for pair in &span.attributes {
            say(told(pair));
        }
        for link in &span.links {
            assert_eq!(link.trace_id.len(), 16);
            // What a link means, only ours say.
            let told = link.attributes.iter().filter(|attribute| attribute.key != "longpole.edge");
            let told: Vec<_> = told.collect();
            say(format!("link to {} {told:?}", label_of(&link.span_id)));
        }
        for (number, event) in span.events.iter().enumerate() {
            say(format!("event {number} {:?} at {}", event.name, marks.before(event.time_unix_nano)));
            for pair in &event.attributes {
                say(format!("event {number} {}", told(pair)));
            }
            if event.dropped_attributes_count > 0 {
                say(format!("event {number} lost {} attributes", event.dropped_attributes_count));
            }
        }
        for (lost, what) in [
            (span.dropped_attributes_count, "attributes"),
            (span.dropped_events_count, "events"),
            (span.dropped_links_count, "links"),
        ] {
            if lost > 0 {
                say(format!("lost {lost} {what}"));
            }
        }
    }
    facts
}

fn shortened(text: &str) -> String {
    format!("{} bytes ending in {:?}", text.len(), text.chars().next_back().unwrap().to_string())
}

fn told(pair: &KeyValue) -> String {
    fn value(any: &AnyValue) -> String {
        match any.value.as_ref().unwrap() {
            Value::StringValue(text) if text.len() > 200 => shortened(text),
            Value::StringValue(text) => format!("{text:?}"),
            Value::IntValue(number) => number.to_string(),
            Value::DoubleValue(number) => format!("{number:?}"),
            Value::BoolValue(flag) => flag.to_string(),
            Value::ArrayValue(list) => {
                format!("[{}]", list.values.iter().map(value).collect::<Vec<_>>().join(", "))
            }
            other => format!("{other:?}"),
        }
    }
    format!("{}={}", pair.key, value(pair.value.as_ref().unwrap()))
}

/// The line, without what depends on where a program stands in this file and on the threads before it.
fn without_place(line: &str) -> &str {
    let place = |key: &str| Some(line.find(key)? + key.len());
    let end = place("code.line.number=").or_else(|| place("thread.id=")).unwrap_or(line.len());
    line.get(..end).unwrap_or(line)
}

/// The lines of `one` that are not in `other`; a line counts as often as it is told.
fn missing<'a>(one: &'a [String], other: &[String]) -> Vec<&'a str> {
    let mut left: Vec<&str> = other.iter().map(String::as_str).collect();
    let mut missing = Vec::new();
    for line in one {
        match left.iter().position(|known| known == line) {
            Some(place) => drop(left.swap_remove(place)),
            None => missing.push(without_place(line)),
        }
    }
    missing.sort_unstable();
    missing
}

fn check(programs: &[Program]) {
    let (mut wrong, mut timed) = (Vec::new(), BTreeSet::new());
    for program in programs {
        let marks = Marks::default();
        let (mut theirs, mut ours) = exported(program, &marks);
        for span in &mut theirs {
            assert_eq!(take_out(span, &THEIR_TIMING).len(), 2, "{}", program.what);
        }
        let is_known = |span: &Span| theirs.iter().any(|their| their.span_id == span.span_id);
        assert!(!ours.iter().any(is_known), "{}: ids of their own", program.what);
        let mut judged = BTreeSet::new();
        for span in &mut ours {
            timed.extend(take_out(span, &OUR_TIMING));
            judged.extend(take_out(span, &OUR_VERDICT));
        }
        assert!(judged.contains("longpole.run.wall_ns"), "{}", program.what);
        let (theirs, ours) = (facts(&theirs, &marks), facts(&ours, &marks));
        let expected = |of: fn(&Differs) -> &'static [&'static str]| {
            let mut lines: Vec<&str> = program.differs.iter().flat_map(of).copied().collect();
            lines.sort_unstable();
            lines
        };
        let (only_theirs, only_ours) = (missing(&theirs, &ours), missing(&ours, &theirs));
        if only_theirs != expected(|differs| differs.theirs) || only_ours != expected(|differs| differs.ours)
        {
            wrong.push(format!(
                "{}\n  only theirs: {only_theirs:#?}\n  only ours: {only_ours:#?}",
                program.what
            ));
        }
        for line in program.both {
            if !theirs.iter().any(|told| told == line) || !ours.iter().any(|told| told == line) {
                wrong.push(format!("{}: not told by both: {line}\n{theirs:#?}", program.what));
            }
        }
    }
    assert!(timed.contains("longpole.busy_ns") && timed.contains("longpole.polls"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[derive(Debug)]
struct Failed(&'static str, Option<Box<Failed>>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

fn failed() -> Failed {
    Failed("no ink", Some(Box::new(Failed("empty", Some(Box::new(Failed("leak", None)))))))
}

const NAMES_AND_KINDS: &[Program] = &[
    same(
        "a plain span",
        &["span: name \"plain\"", "span: kind internal", "span: status unset", "span: root"],
        |_| {
            info_span!("plain").in_scope(|| ());
        },
    ),
    same("never entered", &["span: name \"idle\""], |_| drop(info_span!("idle"))),
    same("otel.name", &["span: name \"GET /\""], |_| {
        info_span!("macro", otel.name = "GET /").in_scope(|| ());
    }),
    same("otel.name by Display", &["span: name \"GET /7\""], |_| {
        info_span!("macro", otel.name = %format_args!("GET /{}", 7)).in_scope(|| ());
    }),
    same("otel.name by Debug", &["span: name \"\\\"GET\\\"\""], |_| {
        info_span!("macro", otel.name = ?"GET").in_scope(|| ());
    }),
    same("otel.name before the span is entered", &["span: name \"late\""], |_| {
        let span = info_span!("macro", otel.name = Empty);
        span.record("otel.name", "late");
        span.in_scope(|| ());
    }),
    differing(
        "otel.name after the span was entered",
        &["span: status unset"],
        &[Differs {
            name: LATE,
            theirs: &["span: kind internal", "span: name \"macro\""],
            ours: &["span: kind server", "span: name \"late\""],
        }],
        |_| {
            let span = info_span!("macro", otel.name = Empty, otel.kind = Empty);
            span.in_scope(|| ());
            span.record("otel.name", "late");
            span.record("otel.kind", "server");
        },
    ),
    differing(
        "an empty otel.name",
        &["span: kind internal"],
        &[Differs { name: EMPTY_NAME, theirs: &["span: name \"\""], ours: &["span: name \"macro\""] }],
        |_| {
            info_span!("macro", otel.name = "").in_scope(|| ());
        },
    ),
    same("a name that is a number", &["span: otel.name=7"], |_| {
        info_span!("macro", otel.name = 7i64).in_scope(|| ());
    }),
    same("otel.kind", &["a: kind client", "b: kind server", "c: kind producer", "d: kind consumer"], |_| {
        info_span!("a", otel.kind = "client").in_scope(|| ());
        info_span!("b", otel.kind = "server").in_scope(|| ());
        info_span!("c", otel.kind = "producer").in_scope(|| ());
        info_span!("d", otel.kind = "consumer").in_scope(|| ());
        info_span!("e", otel.kind = "internal").in_scope(|| ());
    }),
    same("otel.kind in odd case", &["a: kind client", "b: kind server", "c: kind producer"], |_| {
        info_span!("a", otel.kind = "CLIENT").in_scope(|| ());
        info_span!("b", otel.kind = %"SerVer").in_scope(|| ());
        info_span!("c", otel.kind = ?field::display("Producer")).in_scope(|| ());
    }),
    same("an unknown otel.kind", &["span: kind internal"], |_| {
        info_span!("a", otel.kind = "clown").in_scope(|| ());
    }),
    same("an unknown otel.kind after a known one", &["span: kind client"], |_| {
        let span = info_span!("a", otel.kind = "client");
        span.record("otel.kind", "clown");
        span.in_scope(|| ());
    }),
    same("a span of another level", &["span: name \"low\""], |_| {
        tracing::trace_span!("low").in_scope(|| ());
    }),
    same("a target of its own", &["span: target=\"elsewhere\""], |_| {
        info_span!(target: "elsewhere", "a").in_scope(|| ());
    }),
    differing(
        "a long name",
        &["span: kind internal"],
        &[Differs {
            name: LONG,
            theirs: &["span: name 300 bytes ending in \"n\""],
            ours: &["span: name 256 bytes ending in \"n\""],
        }],
        |_| {
            info_span!("a", otel.name = "n".repeat(300)).in_scope(|| ());
        },
    ),
    differing(
        "a target of the machinery",
        &["app: root"],
        &[Differs {
            name: MACHINERY,
            theirs: &[
                "connection: name \"connection\"",
                "connection: kind internal",
                "connection: status unset",
                "connection: under app",
                "connection: in the trace of app",
                "connection: from 0 to 0",
                "connection: code.file.path=\"tests/beside_tracing_opentelemetry.rs\"",
                "connection: code.module.name=\"beside_tracing_opentelemetry\"",
                "connection: code.line.number=",
                "connection: thread.id=",
                "connection: thread.name=\"worker\"",
                "connection: target=\"hyper::client\"",
                "handler: under connection",
            ],
            ours: &["handler: under app"],
        }],
        |_| {
            on_thread(|| {
                let _app = info_span!("app").entered();
                let _connection = info_span!(target: "hyper::client", "connection").entered();
                info_span!("handler").in_scope(|| ());
            });
        },
    ),
];

const STATUS: &[Program] = &[
    same("ok", &["span: status ok"], |_| info_span!("a", otel.status_code = "ok").in_scope(|| ())),
    same("error in odd case", &["span: status error \"\""], |_| {
        info_span!("a", otel.status_code = "eRRor").in_scope(|| ());
    }),
    same("an unknown code", &["span: status unset"], |_| {
        info_span!("a", otel.status_code = "fine").in_scope(|| ());
    }),
    same("a code and a description", &["span: status error \"no ink\""], |_| {
        info_span!("a", otel.status_code = "ERROR", otel.status_description = "no ink").in_scope(|| ());
    }),
    same("a description alone", &["span: status error \"no ink\""], |_| {
        info_span!("a", otel.status_description = %"no ink").in_scope(|| ());
    }),
    differing(
        "a description before its code",
        &[],
        &[Differs {
            name: STATUS_RULES,
            theirs: &["span: status error \"\""],
            ours: &["span: status error \"no ink\""],
        }],
        |_| {
            info_span!("a", otel.status_description = "no ink", otel.status_code = "ERROR").in_scope(|| ());
        },
    ),
    differing(
        "ok and a description",
        &[],
        &[Differs {
            name: STATUS_RULES,
            theirs: &["span: status error \"no ink\""],
            ours: &["span: status ok"],
        }],
        |_| {
            info_span!("a", otel.status_code = "OK", otel.status_description = "no ink").in_scope(|| ());
        },
    ),
    same("recorded late", &["span: status error \"no ink\""], |_| {
        let span = info_span!("a", otel.status_code = Empty, otel.status_description = Empty);
        span.in_scope(|| ());
        span.record("otel.status_code", "error");
        span.record("otel.status_description", "no ink");
    }),
    same("ok beats a later error", &["span: status ok"], |_| {
        let span = info_span!("a", otel.status_code = "ok");
        span.in_scope(|| error!("failed"));
        span.record("otel.status_code", "error");
    }),
    same("ok beats an earlier error", &["span: status ok"], |_| {
        let span = info_span!("a", otel.status_code = "error");
        span.in_scope(|| ());
        span.record("otel.status_code", "ok");
    }),
    differing(
        "a later error before the span is entered",
        &[],
        &[Differs { name: STATUS_RULES, theirs: &["span: status error \"\""], ours: &["span: status ok"] }],
        |_| {
            let span = info_span!("a", otel.status_code = "ok");
            span.record("otel.status_code", "error");
            span.in_scope(|| ());
        },
    ),
    same("an unknown code after an error", &["span: status error \"\""], |_| {
        let span = info_span!("a", otel.status_code = "error");
        span.in_scope(|| ());
        span.record("otel.status_code", "fine");
    }),
    differing(
        "an unknown code after an error, before the span is entered",
        &[],
        &[Differs {
            name: STATUS_RULES,
            theirs: &["span: status unset"],
            ours: &["span: status error \"\""],
        }],
        |_| {
            let span = info_span!("a", otel.status_code = "error");
            span.record("otel.status_code", "fine");
            span.in_scope(|| ());
        },
    ),
    same("an event of level ERROR", &["span: status error \"\"", "span: event 0 level=\"ERROR\""], |_| {
        info_span!("a").in_scope(|| error!("failed"));
    }),
    same("an event of level ERROR on a span never entered", &["span: status error \"\""], |_| {
        let span = info_span!("a");
        error!(parent: &span, "failed");
    }),
    same("an event of level ERROR after a description", &["span: status error \"no ink\""], |_| {
        info_span!("a", otel.status_description = "no ink").in_scope(|| error!("failed"));
    }),
    same("an event of level WARN", &["span: status unset", "span: event 0 \"careful\" at 0"], |_| {
        info_span!("a").in_scope(|| warn!("careful"));
    }),
    same("two descriptions in the order of letters", &["span: status error \"b\""], |_| {
        let span = info_span!("a", otel.status_description = "a");
        span.in_scope(|| ());
        span.record("otel.status_description", "b");
    }),
    differing(
        "two descriptions against the order of letters",
        &[],
        &[Differs {
            name: DESCRIPTIONS,
            theirs: &["span: status error \"b\""],
            ours: &["span: status error \"a\""],
        }],
        |_| {
            let span = info_span!("a", otel.status_description = "b");
            span.in_scope(|| ());
            span.record("otel.status_description", "a");
        },
    ),
    same("a child's error is not its parent's", &["outer: status unset", "inner: status error \"\""], |_| {
        let _outer = info_span!("outer").entered();
        info_span!("inner").in_scope(|| error!("failed"));
    }),
];

#[instrument(err)]
fn fails() -> Result<(), Failed> {
    Err(failed())
}

#[instrument(err(Debug, level = "warn"), fields(otel.name = "renamed"))]
fn fails_with_debug(_number: i64) -> Result<(), Failed> {
    Err(failed())
}

#[instrument(ret)]
fn returns(a: i64, b: &str) -> String {
    format!("{a}{b}")
}

#[instrument(ret, err, skip_all)]
async fn awaits() -> Result<u8, Failed> {
    tokio::task::yield_now().await;
    Ok(3)
}

const ERRORS: &[Program] = &[
    same(
        "an error in a field of a span",
        &[
            "span: exception.message=\"no ink\"",
            "span: exception.stacktrace=[\"empty\", \"leak\"]",
            "span: cause=\"no ink\"",
            "span: cause.chain=[\"empty\", \"leak\"]",
            "span: status unset",
        ],
        |_| {
            let error = failed();
            info_span!("a", cause = &error as &(dyn Error + 'static)).in_scope(|| ());
        },
    ),
    same("an error without a source", &["span: error.chain=[]"], |_| {
        let error = Failed("no ink", None);
        info_span!("a", error = &error as &(dyn Error + 'static)).in_scope(|| ());
    }),
    same("an error recorded late", &["span: error=\"no ink\"", "span: exception.message=\"no ink\""], |_| {
        let span = info_span!("a", error = Empty);
        span.in_scope(|| ());
        span.record("error", &failed() as &(dyn Error + 'static));
    }),
    same(
        "an error in a field of an event",
        &[
            "span: status unset",
            "span: event 0 \"failed\" at 0",
            "span: event 0 exception.message=\"no ink\"",
            "span: event 0 exception.stacktrace=[\"empty\", \"leak\"]",
            "span: event 0 cause.chain=[\"empty\", \"leak\"]",
            "span: exception.message=\"no ink\"",
        ],
        |_| {
            let error = failed();
            let cause = &error as &(dyn Error + 'static);
            info_span!("a").in_scope(|| info!(cause, "failed"));
        },
    ),
    same("an error in an unnamed event of level ERROR", &["span: status error \"\""], |_| {
        let error = failed();
        info_span!("a").in_scope(|| error!(error = &error as &(dyn Error + 'static)));
    }),
    same("an error in an event of a span never entered", &["span: exception.message=\"no ink\""], |_| {
        let (span, error) = (info_span!("a"), failed());
        error!(parent: &span, error = &error as &(dyn Error + 'static), "failed");
    }),
    differing(
        "two errors in events of one span",
        &["span: exception.message=\"no paper\""],
        &[Differs {
            name: UNIQUE,
            theirs: &[
                "span: exception.message=\"no ink\"",
                "span: exception.stacktrace=[\"empty\", \"leak\"]",
            ],
            ours: &[],
        }],
        |_| {
            let (one, other) = (failed(), Failed("no paper", None));
            info_span!("a").in_scope(|| {
                info!(error = &one as &(dyn Error + 'static), "first");
                info!(error = &other as &(dyn Error + 'static), "second");
            });
        },
    ),
    differing(
        "two errors in one event",
        &["span: exception.message=\"no paper\"", "span: event 0 exception.message=\"no paper\""],
        &[Differs {
            name: UNIQUE,
            theirs: &[
                "span: exception.message=\"no ink\"",
                "span: exception.stacktrace=[\"empty\", \"leak\"]",
                "span: event 0 exception.message=\"no ink\"",
                "span: event 0 exception.stacktrace=[\"empty\", \"leak\"]",
            ],
            ours: &[],
        }],
        |_| {
            let (one, other) = (failed(), Failed("no paper", None));
            info_span!("a").in_scope(|| {
                info!(one = &one as &(dyn Error + 'static), other = &other as &(dyn Error + 'static), "both");
            });
        },
    ),
    same(
        "an unnamed event with the text of an error",
        &[
            "span: event 0 \"exception\" at 0",
            "span: event 0 exception.message=\"no ink\"",
            "span: status error \"no ink\"",
        ],
        |_| {
            info_span!("a").in_scope(|| error!(error = %failed()));
        },
    ),
    same("the same as a string", &["span: status error \"\\\"no ink\\\"\""], |_| {
        info_span!("a").in_scope(|| info!(error = "no ink", more = 1));
    }),
    same("the same by Debug, before the span is entered", &["span: event 0 \"exception\" at 0"], |_| {
        let span = info_span!("a");
        info!(parent: &span, error = ?failed());
    }),
    same("the same with an empty message", &["span: event 0 \"exception\" at 0"], |_| {
        info_span!("a").in_scope(|| info!(error = %failed(), ""));
    }),
    same("an event with a message and the text of an error", &["span: event 0 error=\"no ink\""], |_| {
        info_span!("a").in_scope(|| error!(error = %failed(), "failed"));
    }),
    same("an error that is a number", &["span: event 0 error=7", "span: status unset"], |_| {
        info_span!("a").in_scope(|| info!(error = 7i64));
    }),
    same("an error in a span of status ok", &["span: status ok"], |_| {
        info_span!("a", otel.status_code = "ok").in_scope(|| error!(error = %failed()));
    }),
    differing(
        "an error in a span of status ok that was not entered",
        &[],
        &[Differs {
            name: STATUS_RULES,
            theirs: &["span: status error \"no ink\""],
            ours: &["span: status ok"],
        }],
        |_| {
            let span = info_span!("a", otel.status_code = "ok");
            error!(parent: &span, error = %failed());
        },
    ),
    same(
        "#[instrument(err)]",
        &["span: name \"fails\"", "span: status error \"no ink\"", "span: event 0 \"exception\" at 0"],
        |_| {
            let _ = fails();
        },
    ),
    same("#[instrument(err(Debug))]", &["span: name \"renamed\"", "span: event 0 level=\"WARN\""], |_| {
        let _ = fails_with_debug(1);
    }),
    same(
        "#[instrument(ret)]",
        &["span: a=1", "span: b=\"x\"", "span: event 0 return=\"\\\"1x\\\"\""],
        |_| {
            returns(1, "x");
        },
    ),
    same("an instrumented future", &["span: event 0 return=\"3\"", "span: status unset"], |_| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(awaits()).unwrap(), 3);
    }),
];

struct Logs;

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!("while formatting");
        f.write_str("formatted")
    }
}

/// Does what `log::warn!` does in a program that has `tracing_log::LogTracer` installed.
fn log_with_line(line: Option<u32>) {
    let record = tracing_log::log::Record::builder()
        .level(tracing_log::log::Level::Warn)
        .target("old::crate")
        .module_path(Some("old::crate::module"))
        .file(Some("src/old.rs"))
        .line(line)
        .args(format_args!("from log"))
        .build();
    tracing_log::format_trace(&record).unwrap();
}

const EVENTS: &[Program] = &[
    same(
        "an event",
        &[
            "span: event 0 \"3 rows\" at 0",
            "span: event 0 level=\"INFO\"",
            "span: event 0 rows=3",
            "span: event 0 table=\"t\"",
        ],
        |_| {
            info_span!("a").in_scope(|| info!(rows = 3, table = "t", "{} rows", 3));
        },
    ),
    same("its target", &["span: event 0 target=\"elsewhere\""], |_| {
        info_span!("a").in_scope(|| info!(target: "elsewhere", "done"));
    }),
    same("a name of its own", &["span: event 0 \"named\" at 0"], |_| {
        info_span!("a").in_scope(|| info!(name: "named", rows = 3));
    }),
    same("a name and a message", &["span: event 0 \"said\" at 0"], |_| {
        info_span!("a").in_scope(|| info!(name: "named", "said"));
    }),
    same("no name and no message", &["span: event 0 rows=3"], |_| {
        info_span!("a").in_scope(|| info!(rows = 3))
    }),
    same("an empty message", &["span: event 0 level=\"INFO\""], |_| info_span!("a").in_scope(|| info!(""))),
    same(
        "a message that is no text",
        &["span: event 0 \"7\" at 0", "span: event 1 \"true\" at 0", "span: event 2 \"0.5\" at 0"],
        |_| {
            info_span!("a").in_scope(|| {
                info!(message = 7i64);
                info!(message = true);
                info!(message = 0.5);
                info!(message = 7u64);
                info!(message = ?Some(1));
            });
        },
    ),
    same("all levels", &["span: event 2 level=\"INFO\""], |_| {
        info_span!("a").in_scope(|| {
            event!(Level::ERROR, "error");
            event!(Level::WARN, "warn");
            event!(Level::INFO, "info");
        });
    }),
    differing(
        "levels below INFO",
        &["span: event 0 \"info\" at 0"],
        &[Differs {
            name: BELOW_INFO,
            theirs: &[
                "span: event 1 \"debug\" at 0",
                "span: event 1 level=\"DEBUG\"",
                "span: event 1 target=\"beside_tracing_opentelemetry\"",
                "span: event 1 code.file.path=\"tests/beside_tracing_opentelemetry.rs\"",
                "span: event 1 code.module.name=\"beside_tracing_opentelemetry\"",
                "span: event 1 code.line.number=",
                "span: event 2 \"trace\" at 0",
                "span: event 2 level=\"TRACE\"",
                "span: event 2 target=\"beside_tracing_opentelemetry\"",
                "span: event 2 code.file.path=\"tests/beside_tracing_opentelemetry.rs\"",
                "span: event 2 code.module.name=\"beside_tracing_opentelemetry\"",
                "span: event 2 code.line.number=",
            ],
            ours: &[],
        }],
        |_| {
            info_span!("a").in_scope(|| {
                info!("info");
                debug!("debug");
                trace!("trace");
            });
        },
    ),
    same("outside any span", &["span: status unset"], |_| {
        error!("before");
        info_span!("a").in_scope(|| error!(parent: None, "root"));
        error!("after");
    }),
    same("under another span than the current", &["a: event 0 \"for a\" at 0", "b: status unset"], |_| {
        let a = info_span!("a");
        info_span!("b").in_scope(|| error!(parent: &a, "for a"));
    }),
    same(
        "before, between and after",
        &["span: event 0 \"new\" at 1", "span: event 1 \"in\" at 2", "span: event 2 \"left\" at 3"],
        |marks| {
            let span = info_span!("a");
            marks.set();
            info!(parent: &span, "new");
            marks.set();
            span.in_scope(|| info!("in"));
            marks.set();
            info!(parent: &span, "left");
        },
    ),
    differing(
        "keys both write themselves",
        &["span: event 0 level=\"mine\"", "span: event 0 code.line.number=7"],
        &[Differs {
            name: UNIQUE,
            theirs: &[
                "span: event 0 level=\"INFO\"",
                "span: event 0 target=\"beside_tracing_opentelemetry\"",
                "span: event 0 code.line.number=",
            ],
            ours: &[],
        }],
        |_| {
            info_span!("a").in_scope(|| info!(level = "mine", target = "mine", code.line.number = 7, "done"));
        },
    ),
    same("otel.* in an event", &["span: event 0 otel.name=\"x\"", "span: name \"a\""], |_| {
        info_span!("a")
            .in_scope(|| info!(otel.name = "x", otel.kind = "client", otel.status_code = "ok", "done"));
    }),
    same(
        "an event in the formatting of a value",
        &["span: event 0 value=\"formatted\"", "span: event 0 \"outer\" at 0"],
        |_| {
            info_span!("a").in_scope(|| info!(value = %Logs, "outer"));
        },
    ),
    same("more events than are kept", &["span: lost 2 events", "span: event 127 \"done\" at 0"], |_| {
        info_span!("a").in_scope(|| (0..130).for_each(|_| info!("done")));
    }),
    differing(
        "more fields than are kept",
        &["span: event 0 f29=29"],
        &[Differs {
            name: EVENT_FIELDS,
            theirs: &["span: event 0 f30=30", "span: event 0 f31=31"],
            ours: &["span: event 0 lost 2 attributes"],
        }],
        |_| {
            info_span!("a").in_scope(|| {
                #[rustfmt::skip]
            info!(
                name: "wide",
                f0 = 0, f1 = 1, f2 = 2, f3 = 3, f4 = 4, f5 = 5, f6 = 6, f7 = 7,
                f8 = 8, f9 = 9, f10 = 10, f11 = 11, f12 = 12, f13 = 13, f14 = 14, f15 = 15,
                f16 = 16, f17 = 17, f18 = 18, f19 = 19, f20 = 20, f21 = 21, f22 = 22, f23 = 23,
                f24 = 24, f25 = 25, f26 = 26, f27 = 27, f28 = 28, f29 = 29, f30 = 30, f31 = 31
            );
            });
        },
    ),
    differing(
        "more bytes than are kept",
        &["span: event 14 text=4000 bytes ending in \"x\""],
        &[Differs {
            name: SPAN_BYTES,
            theirs: &[
                "span: event 15 \"done\" at 0",
                "span: event 15 level=\"INFO\"",
                "span: event 15 target=\"beside_tracing_opentelemetry\"",
                "span: event 15 code.file.path=\"tests/beside_tracing_opentelemetry.rs\"",
                "span: event 15 code.module.name=\"beside_tracing_opentelemetry\"",
                "span: event 15 code.line.number=",
                "span: event 15 text=4000 bytes ending in \"x\"",
            ],
            ours: &["span: lost 1 events"],
        }],
        |_| {
            let text = "x".repeat(4000);
            info_span!("a").in_scope(|| (0..16).for_each(|_| info!(text, "done")));
        },
    ),
    differing(
        "a field of a log record's sort",
        &["span: event 0 \"done\" at 0"],
        &[Differs { name: LOG_FIELDS, theirs: &[], ours: &["span: event 0 log.level=\"mine\""] }],
        |_| {
            info_span!("a").in_scope(|| info!(log.level = "mine", "done"));
        },
    ),
    same(
        "a log record",
        &[
            "span: event 0 \"from log\" at 0",
            "span: event 0 target=\"old::crate\"",
            "span: event 0 level=\"WARN\"",
            "span: event 0 code.file.path=\"src/old.rs\"",
            "span: event 0 code.line.number=7",
        ],
        |_| {
            info_span!("a").in_scope(|| {
                log_with_line(Some(7));
                log_with_line(None);
            });
        },
    ),
];

const ATTRIBUTES: &[Program] = &[
    same(
        "every type",
        &[
            "span: i64=-7",
            "span: u64_beyond=\"18446744073709551615\"",
            "span: i128=\"-7\"",
            "span: f64=0.5",
            "span: flag=true",
            "span: text=\"täxt\"",
            "span: shown=\"shown\"",
            "span: debugged=\"Some(1)\"",
        ],
        |_| {
            info_span!(
                "a",
                i64 = -7i64,
                i8 = -7i8,
                u64_beyond = u64::MAX,
                i128 = -7i128,
                u128 = u128::MAX,
                f64 = 0.5f64,
                f32 = 0.25f32,
                odd = f64::INFINITY,
                flag = true,
                text = "täxt",
                string = String::from("owned"),
                shown = %"shown",
                debugged = ?Some(1),
                bytes = &b"\x01\xff"[..],
                empty = ""
            )
            .in_scope(|| ());
        },
    ),
    same("the same types in an event", &["span: event 0 i64=-7", "span: event 0 flag=true"], |_| {
        info_span!("a").in_scope(|| {
            info!(
                i64 = -7i64,
                u64_beyond = u64::MAX,
                i128 = -7i128,
                f64 = 0.5f64,
                flag = true,
                text = "täxt",
                shown = %"shown",
                debugged = ?Some(1),
                bytes = &b"\x01\xff"[..],
                "done"
            );
        });
    }),
    differing(
        "unsigned numbers",
        &["span: event 0 \"done\" at 0"],
        &[Differs {
            name: UNSIGNED,
            theirs: &[
                "span: byte=\"7\"",
                "span: event 0 of_event=\"7\"",
                "span: of_span=\"7\"",
                "span: size=\"7\"",
            ],
            ours: &["span: byte=7", "span: event 0 of_event=7", "span: of_span=7", "span: size=7"],
        }],
        |_| {
            info_span!("a", of_span = 7u64, size = 7usize, byte = 7u8)
                .in_scope(|| info!(of_event = 7u64, "done"));
        },
    ),
    same("optional values", &["span: some=3", "span: late=\"now\""], |_| {
        let span = info_span!("a", some = Some(3), none = None::<i64>, late = Empty, never = Empty);
        span.in_scope(|| ());
        span.record("late", "now");
    }),
    same("a key that is no plain name", &["span: a.b=1", "span: odd key=2", "span: type=3"], |_| {
        info_span!("a", a.b = 1, "odd key" = 2, r#type = 3).in_scope(|| ());
    }),
    differing(
        "a field recorded twice",
        &["span: x=2"],
        &[Differs { name: UNIQUE, theirs: &["span: x=1"], ours: &[] }],
        |_| {
            let span = info_span!("a", x = 1);
            span.in_scope(|| ());
            span.record("x", 2);
        },
    ),
    same("a field that is not declared", &["span: name \"a\""], |_| {
        let span = info_span!("a");
        span.record("x", 2);
    }),
    differing(
        "a key the layers write themselves",
        &["span: target=\"mine\"", "span: thread.id=0", "span: code.line.number=1"],
        &[Differs {
            name: UNIQUE,
            theirs: &[
                "span: code.line.number=",
                "span: target=\"beside_tracing_opentelemetry\"",
                "span: thread.id=",
            ],
            ours: &[],
        }],
        |_| {
            info_span!("a", target = "mine", thread.id = 0, code.line.number = 1).in_scope(|| ());
        },
    ),
    same("a message in a span", &["span: message=\"said\""], |_| {
        info_span!("a", message = "said").in_scope(|| ());
    }),
    same("many fields recorded late", &["span: b=2", "span: c=0.5"], |_| {
        let span = info_span!("a", b = Empty, c = Empty, d = Empty);
        let _entered = span.enter();
        TracingSpan::current().record("b", 2).record("c", 0.5).record("d", field::debug("x"));
    }),
    same(
        "where it was made",
        &[
            "span: target=\"beside_tracing_opentelemetry\"",
            "span: code.file.path=\"tests/beside_tracing_opentelemetry.rs\"",
            "span: code.module.name=\"beside_tracing_opentelemetry\"",
        ],
        |_| {
            info_span!("a").in_scope(|| ());
        },
    ),
    same("on a named thread", &["span: thread.name=\"worker\""], |_| {
        on_thread(|| info_span!("a").in_scope(|| ()));
    }),
    Program {
        what: "the defaults",
        settings: Settings::Defaults,
        both: &["span: x=1"],
        differs: &[Differs {
            name: OFF_BY_DEFAULT,
            theirs: &[
                "span: code.file.path=\"tests/beside_tracing_opentelemetry.rs\"",
                "span: code.module.name=\"beside_tracing_opentelemetry\"",
                "span: code.line.number=",
                "span: event 0 code.file.path=\"tests/beside_tracing_opentelemetry.rs\"",
                "span: event 0 code.module.name=\"beside_tracing_opentelemetry\"",
                "span: event 0 code.line.number=",
                "span: target=\"beside_tracing_opentelemetry\"",
                "span: thread.id=",
                "span: thread.name=\"worker\"",
            ],
            ours: &[],
        }],
        run: |_| on_thread(|| info_span!("a", x = 1).in_scope(|| info!("done"))),
    },
    Program {
        what: "a log record under the defaults",
        settings: Settings::Defaults,
        both: &["span: event 0 target=\"old::crate\""],
        differs: &[Differs {
            name: OFF_BY_DEFAULT,
            theirs: &[
                "span: code.file.path=\"tests/beside_tracing_opentelemetry.rs\"",
                "span: code.line.number=",
                "span: code.module.name=\"beside_tracing_opentelemetry\"",
                "span: event 0 code.file.path=\"src/old.rs\"",
                "span: event 0 code.line.number=",
                "span: event 0 code.module.name=\"old::crate::module\"",
                "span: target=\"beside_tracing_opentelemetry\"",
                "span: thread.id=",
                "span: thread.name=\"worker\"",
            ],
            ours: &[],
        }],
        run: |_| on_thread(|| info_span!("a").in_scope(|| log_with_line(Some(7)))),
    },
    Program {
        what: "levels",
        settings: Settings::Level,
        both: &["span: x=1"],
        differs: &[Differs { name: NO_LEVEL, theirs: &["span: level=\"INFO\""], ours: &[] }],
        run: |_| info_span!("a", x = 1).in_scope(|| info!("done")),
    },
    differing(
        "what marks nodes",
        &[],
        &[Differs {
            name: NODE_KEYS,
            theirs: &[
                "span: node.depends_on=\"plan, draw\"",
                "span: node.id=\"fetch\"",
                "span: workflow.name=\"desk\"",
            ],
            ours: &[
                "span: longpole.node.depends_on=[\"plan\", \"draw\"]",
                "span: longpole.node.id=\"fetch\"",
                "span: longpole.workflow.name=\"desk\"",
            ],
        }],
        |_| {
            info_span!("a", workflow.name = "desk", node.id = "fetch", node.depends_on = "plan, draw")
                .in_scope(|| ());
        },
    ),
    differing(
        "a long value",
        &["span: event 0 \"done\" at 0"],
        &[Differs {
            name: LONG,
            theirs: &[
                "span: event 0 text=5000 bytes ending in \"y\"",
                "span: text=5000 bytes ending in \"x\"",
            ],
            ours: &["span: event 0 text=4096 bytes ending in \"…\"", "span: text=4096 bytes ending in \"…\""],
        }],
        |_| {
            info_span!("a", text = "x".repeat(5000)).in_scope(|| info!(text = "y".repeat(5000), "done"));
        },
    ),
    differing(
        "content",
        &["span: event 0 \"said\" at 0"],
        &[Differs {
            name: CONTENT,
            theirs: &["span: event 0 gen_ai.completion=\"hi\"", "span: gen_ai.prompt=\"hello\""],
            ours: &[],
        }],
        |_| {
            info_span!("a", gen_ai.prompt = "hello").in_scope(|| info!(gen_ai.completion = "hi", "said"));
        },
    ),
    differing(
        "secrets",
        &["span: key=\"k\""],
        &[Differs {
            name: SECRETS,
            theirs: &["span: password=\"hunter2\"", "span: text=\"key AKIAIOSFODNN7EXAMPLE\""],
            ours: &["span: password=\"[redacted]\"", "span: text=\"key [redacted]\""],
        }],
        |_| {
            info_span!("a", key = "k", password = "hunter2", text = "key AKIAIOSFODNN7EXAMPLE")
                .in_scope(|| ());
        },
    ),
];

/// Runs `work` on a thread called `worker`, under the same subscriber.
fn on_thread(work: impl FnOnce() + Send + 'static) {
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let work = move || tracing::dispatcher::with_default(&dispatch, work);
    std::thread::Builder::new().name("worker".to_owned()).spawn(work).unwrap().join().unwrap();
}

const TREES: &[Program] = &[
    same("nested", &["a: root", "b: under a", "c: under b", "c: in the trace of a", "d: under a"], |_| {
        let _a = info_span!("a").entered();
        info_span!("b").in_scope(|| info_span!("c").in_scope(|| ()));
        info_span!("d").in_scope(|| ());
    }),
    same("two roots", &["a: in the trace of a", "b: in the trace of b"], |_| {
        info_span!("a").in_scope(|| ());
        info_span!("b").in_scope(|| ());
    }),
    same("an explicit parent", &["b: under a", "c: under a"], |_| {
        let a = info_span!("a");
        let _c = info_span!(parent: &a, "c").entered();
        info_span!(parent: &a, "b").in_scope(|| ());
    }),
    same("an explicit root", &["b: root", "b: in the trace of b", "c: under b"], |_| {
        let _a = info_span!("a").entered();
        let _b = info_span!(parent: None, "b").entered();
        info_span!("c").in_scope(|| ());
    }),
    same("left out of order", &["c: under b", "d: under b", "e: root"], |_| {
        let (a, b) = (info_span!("a"), info_span!("b"));
        let in_a = a.enter();
        let in_b = b.enter();
        drop(info_span!("c"));
        drop(in_a);
        drop(info_span!("d"));
        drop(in_b);
        drop(info_span!("e"));
    }),
    same("entered twice", &["b: under a", "a: from 0 to 2"], |marks| {
        let a = info_span!("a");
        a.in_scope(|| a.in_scope(|| drop(info_span!("b"))));
        marks.set();
        marks.set();
        a.in_scope(|| ());
    }),
    same("on several threads", &["b: under a", "c: under a", "c: in the trace of a"], |_| {
        let a = info_span!("a");
        a.in_scope(|| info_span!("b").in_scope(|| ()));
        on_thread(move || a.in_scope(|| info_span!("c").in_scope(|| ())));
    }),
    same("a span handed to another thread", &["b: under a", "b: thread.name=\"worker\""], |_| {
        let a = info_span!("a").entered();
        let parent = TracingSpan::current();
        on_thread(move || info_span!(parent: &parent, "b").in_scope(|| ()));
        drop(a);
    }),
    same("links", &["b: link to a []", "b: link to c []", "a: in the trace of a"], |_| {
        let (a, b, c) = (info_span!("a"), info_span!("b"), info_span!("c"));
        b.follows_from(&a);
        b.in_scope(|| ());
        b.follows_from(c.id());
    }),
    same("a link to a span that closed", &["b: name \"b\""], |_| {
        let a = info_span!("a");
        let id = a.id();
        drop(a);
        info_span!("b").follows_from(id);
    }),
    same("more links than are kept", &["b: lost 2 links", "b: link to a []"], |_| {
        let (a, b) = (info_span!("a"), info_span!("b"));
        for _ in 0..130 {
            b.follows_from(&a);
        }
    }),
    same("futures taking turns", &["b: under a", "c: under a", "d: under b", "e: under c"], |_| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let within = |inner: TracingSpan| async move {
            tokio::task::yield_now().await;
            drop(inner);
        };
        let b = async {
            tokio::task::yield_now().await;
            within(info_span!("d")).await;
        };
        let c = async {
            tokio::task::yield_now().await;
            within(info_span!("e")).await;
        };
        let a = info_span!("a");
        let both = async { tokio::join!(b.instrument(info_span!("b")), c.instrument(info_span!("c"))) };
        runtime.block_on(both.instrument(a));
    }),
    differing(
        "left by a panic",
        &["a: status unset", "b: from 0 to 0"],
        &[Differs {
            name: OUTCOME,
            theirs: &[],
            ours: &["a: longpole.outcome=\"panicked\"", "b: longpole.outcome=\"panicked\""],
        }],
        |_| {
            let unwound = std::panic::catch_unwind(|| {
                let _a = info_span!("a").entered();
                let _b = info_span!("b").entered();
                std::panic::resume_unwind(Box::new("no message on stderr"));
            });
            assert!(unwound.is_err());
        },
    ),
    same("a link between relatives", &["b: link to a []", "b: under a"], |_| {
        let a = info_span!("a").entered();
        info_span!("b").follows_from(a.id());
    }),
    same("under a context of OpenTelemetry", &["span: name \"a\"", "span: under another process"], |_| {
        let remote = SpanContext::new(
            TraceId::from_bytes([1; 16]),
            SpanId::from_bytes([2; 8]),
            TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        let _attached = opentelemetry::Context::new().with_remote_span_context(remote).attach();
        info_span!("a").in_scope(|| ());
    }),
];

const TIMES: &[Program] = &[
    same("from creation to the last exit", &["span: from 0 to 2"], |marks| {
        let span = info_span!("a");
        marks.set();
        span.in_scope(|| ());
        marks.set();
        span.in_scope(|| ());
        marks.set();
    }),
    same("never entered: to the close", &["span: from 0 to 1"], |marks| {
        let span = info_span!("a");
        marks.set();
        drop(span);
        marks.set();
    }),
    same("left last on another thread", &["span: from 0 to 1"], |marks| {
        let span = info_span!("a");
        span.in_scope(|| ());
        marks.set();
        let other = span.clone();
        on_thread(move || other.in_scope(|| ()));
        marks.set();
    }),
    same("a child inside its parent", &["a: from 0 to 3", "b: from 1 to 2"], |marks| {
        let _a = info_span!("a").entered();
        marks.set();
        let b = info_span!("b").entered();
        marks.set();
        drop(b);
        marks.set();
    }),
    differing(
        "a child that goes on",
        &["b: from 0 to 1"],
        &[Differs { name: END, theirs: &["a: from 0 to 0"], ours: &["a: from 0 to 1"] }],
        |marks| {
            let a = info_span!("a");
            let b = a.in_scope(|| info_span!("b"));
            marks.set();
            b.in_scope(|| ());
            marks.set();
        },
    ),
];

#[test]
fn names_and_kinds() {
    check(NAMES_AND_KINDS);
}

#[test]
fn status() {
    check(STATUS);
}

#[test]
fn errors() {
    check(ERRORS);
}

#[test]
fn events() {
    check(EVENTS);
}

#[test]
fn attributes() {
    check(ATTRIBUTES);
}

#[test]
fn trees() {
    check(TREES);
}

#[test]
fn times() {
    check(TIMES);
}

#[test]
fn every_difference_is_shown_by_a_program_and_told_on_the_page() {
    let page = include_str!("../docs/tracing-opentelemetry.md");
    let programs = [NAMES_AND_KINDS, STATUS, ERRORS, EVENTS, ATTRIBUTES, TREES, TIMES].concat();
    let shown = programs.iter().flat_map(|program| program.differs).map(|differs| differs.name);
    let shown: BTreeSet<&str> = shown.chain(EVERYWHERE).collect();
    let listed: BTreeSet<&str> = DIFFERENCES.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, shown);
    assert_eq!(listed.len(), DIFFERENCES.len(), "a name stands twice");
    let rows: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| **")?.split_once("** |"))
        .map(|row| row.0)
        .collect();
    assert_eq!(listed, rows, "the table of the page");
    for (name, why) in DIFFERENCES {
        let row = page.lines().find(|line| line.starts_with(&format!("| **{name}** |"))).unwrap();
        assert!(row.ends_with(&format!("| {why} |")), "{row}\n{why}");
    }
}
