//! Every limit of the library in one table. The page `docs/limits.md` is made from it; the defaults are the constants
//! the code uses, the variables are those that are read, and the counters are those that count.

use std::time::Duration;

use crate::decode::Limits as DecodeLimits;
use crate::delivery::{DeliveryConfig, Endpoint, UNDECIDED_BYTES, spool};
use crate::encode::span::KEY_BYTES;
use crate::environment::table;
use crate::layer::config::{LayerConfig, Limits as SpanLimits};
use crate::layer::counters::LayerCounters;
use crate::layer::open_bytes::budget as max_open_bytes;
use crate::metrics::store::MetricLimits;
use crate::report::{History, Report};

use crate::run_assembler::AssemblerConfig;
use crate::span_record::Link;

/// How much.
#[derive(Clone, Copy)]
enum Amount {
    Count(u64),
    Bytes(u64),
    Time(Duration),
    /// Of the row above.
    Part(&'static str),
    None,
}

/// How it is told that a limit was met.
#[derive(Clone, Copy)]
enum Told {
    /// A counter of the layer.
    Counter(&'static str),
    /// A reason why spans were lost, by the text the code gives.
    Lost(&'static str),
    /// In some other way.
    By(&'static str),
}

use Amount::{Bytes, Count, None as Unlimited, Part, Time};
use Told::{By, Counter, Lost};

struct Limit {
    what: &'static str,
    default: Amount,
    /// Ours first; those of OpenTelemetry after it.
    variables: &'static [&'static str],
    on_excess: &'static str,
    told: Told,
}

fn limit(
    what: &'static str,
    default: Amount,
    variables: &'static [&'static str],
    on_excess: &'static str,
    told: Told,
) -> Limit {
    Limit { what, default, variables, on_excess, told }
}

const FAILURE: Told = By("`last_error`");
const HALF: Amount = Part("half of it");
const THREE_QUARTERS: Amount = Part("three quarters of it");
const NO_COUNT: Told = By("the cut itself");

/// The headings, and what stands under each.
fn limits() -> Vec<(&'static str, Vec<Limit>)> {
    vec![
        ("A span", of_spans()),
        ("Between closing and sending", of_the_way()),
        ("On disk", of_the_disk()),
        ("Requests and answers", of_requests()),
        ("Runs and reports", of_runs()),
        ("Metrics", of_metrics()),
        ("Files that are read", of_files()),
    ]
}

fn of_spans() -> Vec<Limit> {
    // All of them, so that a new one is not forgotten here. The last is no limit.
    let SpanLimits {
        attributes,
        value_bytes,
        content_bytes,
        name_bytes,
        events,
        event_attributes,
        links,
        span_bytes,
        masked_from: _,
    } = SpanLimits::default();
    let open_spans = LayerConfig::default().max_open_spans;
    vec![
        limit(
            "attributes of a span",
            Count(attributes.into()),
            &["LONGPOLE_SPAN_ATTR_COUNT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"],
            "further ones are left out; the span's `dropped_attributes_count`",
            Counter("attributes_dropped"),
        ),
        limit(
            "an attribute's value",
            Bytes(value_bytes as u64),
            &[
                "LONGPOLE_ATTR_VALUE_BYTES",
                "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
                "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            ],
            "cut between two characters; ends in `…`",
            NO_COUNT,
        ),
        limit(
            "a value that is content of a conversation, where that is captured",
            Bytes(content_bytes as u64),
            &["LONGPOLE_CONTENT_BYTES"],
            "cut between two characters; `longpole.content.bytes.` and its key says how long it was",
            Counter("content_cut"),
        ),
        limit(
            "the key of an attribute",
            Bytes(KEY_BYTES as u64),
            &[],
            "cut between two characters",
            NO_COUNT,
        ),
        limit(
            "a name given with `otel.name`",
            Bytes(name_bytes as u64),
            &["LONGPOLE_SPAN_NAME_BYTES"],
            "cut between two characters",
            NO_COUNT,
        ),
        limit(
            "events of a span",
            Count(events.into()),
            &["LONGPOLE_SPAN_EVENT_COUNT", "OTEL_SPAN_EVENT_COUNT_LIMIT"],
            "the first are kept; the span's `dropped_events_count`",
            Counter("events_dropped"),
        ),
        limit(
            "attributes of an event",
            Count(event_attributes.into()),
            &["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"],
            "further ones are left out; the event's `dropped_attributes_count`",
            By("the event"),
        ),
        limit(
            "links of a span",
            Count(links.into()),
            &["LONGPOLE_SPAN_LINK_COUNT", "OTEL_SPAN_LINK_COUNT_LIMIT"],
            "further ones are left out; the span's `dropped_links_count`",
            Counter("links_dropped"),
        ),
        limit(
            "attributes, events and links of a span together",
            Bytes(span_bytes as u64),
            &["LONGPOLE_SPAN_BYTES"],
            "events are left out, then links, then the longest attributes; counted as above",
            Counter("attributes_dropped"),
        ),
        limit(
            "spans open at once",
            Count(open_spans as u64),
            &["LONGPOLE_OPEN_SPANS"],
            "one of the oldest is written as `partial` and given up",
            Counter("open_spans_evicted"),
        ),
        limit(
            "those that found no place even so",
            Count(0),
            &[],
            "they are not measured",
            Counter("spans_open_limit"),
        ),
        limit(
            "all open spans together",
            Bytes(max_open_bytes(open_spans) as u64),
            &[],
            "those that grow are cut short; in proportion to how many may be open",
            Counter("open_bytes_limit"),
        ),
    ]
}

fn of_the_way() -> Vec<Limit> {
    let delivery = DeliveryConfig::default();
    vec![
        limit(
            "finished spans that wait to be taken up",
            Bytes(crate::builder::QUEUE_BYTES as u64),
            &["LONGPOLE_QUEUE_BYTES"],
            "further ones are lost",
            Counter("spans_shard_full"),
        ),
        limit("until texts of spans are cut", HALF, &[], "they are cut", Counter("payload_shed")),
        limit("until events go", HALF, &[], "further ones are left out", Counter("events_shed")),
        limit("until links go", HALF, &[], "further ones are left out", Counter("links_shed")),
        limit(
            "until spans go that are no nodes",
            THREE_QUARTERS,
            &[],
            "further ones are not exported; where not even the report has room for them, they are lost",
            Counter("spans_internal_shed"),
        ),
        limit(
            "spans that wait for the backend in memory, in bytes",
            Bytes(delivery.max_queue_bytes as u64),
            &["LONGPOLE_QUEUE_BYTES"],
            "further ones wait on disk; where none are kept there, they are lost",
            Lost("delivery_queue_full"),
        ),
        limit(
            "spans that wait for the backend in memory",
            if delivery.max_queue_spans == u64::MAX { Unlimited } else { Count(delivery.max_queue_spans) },
            &["LONGPOLE_QUEUE_SPANS", "OTEL_BSP_MAX_QUEUE_SIZE"],
            "further ones wait on disk; where none are kept there, they are lost",
            Lost("delivery_queue_full"),
        ),
        limit(
            "how long a request that is not full waits for more spans",
            Time(delivery.send_delay),
            &["OTEL_BSP_SCHEDULE_DELAY"],
            "it is sent as it is",
            By("nothing is lost"),
        ),
        limit(
            "runs that wait to be found worth sending, where only those are",
            Bytes(UNDECIDED_BYTES as u64),
            &[],
            "the oldest are sent",
            By("nothing is lost"),
        ),
        limit(
            "how long a run's root waits for what the report says of it",
            Time(delivery.hold),
            &[],
            "it is sent without",
            By("nothing is lost"),
        ),
        limit(
            "a flush",
            Time(crate::FLUSH_TIMEOUT),
            &[],
            "it returns with what is done",
            By("`FlushReport::is_complete`, `pending`"),
        ),
        limit(
            "a shutdown",
            Time(crate::SHUTDOWN_TIMEOUT),
            &["LONGPOLE_SHUTDOWN_TIMEOUT"],
            "it returns with what is done",
            By("`FlushReport::is_complete`, `pending`"),
        ),
        limit(
            "finished spans nobody takes up any more",
            Count(0),
            &[],
            "those that close after a shutdown are lost",
            Counter("spans_after_shutdown"),
        ),
    ]
}

fn of_the_disk() -> Vec<Limit> {
    vec![
        limit(
            "what a process keeps there, and no more than a twentieth of the disk's free space",
            Bytes(spool::MAX_BYTES),
            &["LONGPOLE_SPOOL_BYTES"],
            "the oldest are lost",
            Lost("delivery_spool_full"),
        ),
        limit(
            "one file",
            Bytes(spool::SEGMENT_BYTES),
            &["LONGPOLE_SPOOL_SEGMENT_BYTES"],
            "the next one is begun",
            By("nothing is lost"),
        ),
        limit("its age", Time(spool::SEGMENT_AGE), &[], "the next one is begun", By("nothing is lost")),
        limit(
            "how long spans of an earlier process wait for a backend",
            Time(spool::MAX_AGE),
            &[],
            "they are not sent any more",
            Lost("recovery_spool_expired"),
        ),
        limit(
            "requests a backend refused for good, kept to be looked at",
            Bytes(spool::dead::MAX_BYTES),
            &[],
            "the oldest are removed",
            By("the folder `dead`"),
        ),
    ]
}

fn of_requests() -> Vec<Limit> {
    let delivery = DeliveryConfig::default();
    vec![
        limit(
            "spans in a request",
            Count(delivery.max_request_spans as u64),
            &["LONGPOLE_BATCH_SPANS", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"],
            "the rest goes into the next one",
            By("nothing is lost"),
        ),
        limit(
            "a request",
            Bytes(delivery.max_request_bytes as u64),
            &["LONGPOLE_BATCH_BYTES"],
            "the rest goes into the next one; a request the backend finds too large is sent once more in halves",
            By("`FlushReport::rejected`, if the halves are too large too"),
        ),
        limit(
            "requests on their way at once",
            Count(delivery.max_in_flight as u64),
            &["LONGPOLE_INFLIGHT", "OTEL_BSP_MAX_CONCURRENT_EXPORTS"],
            "spans wait",
            By("nothing is lost"),
        ),
        limit(
            "a connection in the making",
            Time(Endpoint::CONNECT_TIMEOUT),
            &[],
            "the request is sent again",
            FAILURE,
        ),
        limit(
            "a request and its answer",
            Time(Endpoint::TIMEOUT),
            &[
                "LONGPOLE_TIMEOUT",
                "OTEL_EXPORTER_OTLP_TIMEOUT",
                "OTEL_BSP_EXPORT_TIMEOUT",
                "OTEL_METRIC_EXPORT_TIMEOUT",
            ],
            "it is sent again, unless the beginning of the answer says what became of it",
            FAILURE,
        ),
        limit(
            "an answer, as it comes and unpacked",
            Bytes(Endpoint::MAX_RESPONSE as u64),
            &[],
            "no more is read; the request is not sent again",
            FAILURE,
        ),
        limit(
            "the wait before a request is sent again, which doubles each time",
            Time(Endpoint::MAX_BACKOFF),
            &["LONGPOLE_RETRY_MAX_INTERVAL"],
            "it is tried for as long as the program runs",
            FAILURE,
        ),
        limit(
            "the wait a backend may ask for (`Retry-After`, `RetryInfo`)",
            Time(Endpoint::MAX_RETRY_AFTER),
            &[],
            "it is asked again after that time",
            FAILURE,
        ),
    ]
}

fn of_runs() -> Vec<Limit> {
    let AssemblerConfig { grace, max_run_spans, max_bytes } = AssemblerConfig::default();
    const LEFT_OUT: Told = By("`left_out_spans` of the report, which says INCOMPLETE");
    vec![
        limit(
            "spans of a run that are analysed",
            Count(max_run_spans as u64),
            &["LONGPOLE_RUN_SPANS"],
            "further ones are exported only",
            LEFT_OUT,
        ),
        limit(
            "all runs that are being put together",
            Bytes(max_bytes as u64),
            &["LONGPOLE_RUN_BYTES"],
            "further spans are exported only",
            LEFT_OUT,
        ),
        limit(
            "how long a run whose root has closed waits for its last spans",
            Time(grace.to_std()),
            &[],
            "it is reported without them",
            By("`missing_spans` of the report, which says INCOMPLETE"),
        ),
        limit(
            "spans of a trace whose root is not marked",
            Count(AssemblerConfig::LARGE_TRACE_SPANS as u64),
            &[],
            "advice to mark the run",
            By("`notes`"),
        ),
        limit(
            "how long such a root is open",
            Time(AssemblerConfig::LONG_TRACE.to_std()),
            &[],
            "advice to mark the run",
            By("`notes`"),
        ),
        limit(
            "findings of a report",
            Count(Report::MAX_FINDINGS as u64),
            &[],
            "those that save least are left out",
            NO_COUNT,
        ),
        limit(
            "stretches of the critical path in a report",
            Count(Report::MAX_SEGMENTS as u64),
            &[],
            "further ones are left out; sums are of all",
            By("`segments_total`"),
        ),
        limit(
            "earlier runs of a workflow that are remembered",
            Count(History::MAX_RUNS as u64),
            &[],
            "the oldest is forgotten",
            By("nothing is lost"),
        ),
    ]
}

fn of_metrics() -> Vec<Limit> {
    let MetricLimits { nodes, series, stale_after, .. } = MetricLimits::default();
    let rows = vec![
        limit(
            "nodes with metrics of their own",
            Count(nodes as u64),
            &["LONGPOLE_NODE_CARDINALITY"],
            "further ones share `__other__`",
            By("`otel.metric.overflow=true`"),
        ),
        limit(
            "label sets of a metric beyond that",
            Count(series as u64),
            &["LONGPOLE_METRIC_CARDINALITY"],
            "further ones share a series",
            By("`otel.metric.overflow=true`"),
        ),
        limit(
            "how long a series lives that does not change",
            Time(stale_after.to_std()),
            &["LONGPOLE_METRIC_STALE_SECONDS"],
            "it ends, and begins anew",
            By("its start time"),
        ),
        limit(
            "nodes with sums of their own",
            Count(crate::aggregate::MAX_NODES as u64),
            &[],
            "further ones share a row",
            By("the row"),
        ),
        #[cfg(feature = "prometheus")]
        limit(
            "connections to the page for Prometheus",
            Count(crate::metrics_page::MAX_CONNECTIONS as u64),
            &[],
            "further ones are closed",
            By("the connection"),
        ),
    ];
    rows
}

fn of_files() -> Vec<Limit> {
    let DecodeLimits { document_bytes, string_bytes, depth, unpacked_bytes, keeps_attributes: _ } =
        DecodeLimits::default();
    const PROBLEM: Told = By("a problem of the file");
    vec![
        limit("a document or message", Bytes(document_bytes as u64), &[], "it is refused", PROBLEM),
        limit("a string in JSON", Bytes(string_bytes as u64), &[], "its document is refused", PROBLEM),
        limit("how deep JSON is nested", Count(depth as u64), &[], "its document is refused", PROBLEM),
        limit("what packed input unpacks to", Bytes(unpacked_bytes), &[], "the rest is not read", PROBLEM),
        limit(
            "links of a span",
            Count(Link::MAX as u64),
            &[],
            "further ones are passed over",
            By("nothing else is lost"),
        ),
    ]
}

mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::*;

    fn shown(amount: Amount) -> String {
        match amount {
            Count(count) => {
                let digits = count.to_string();
                let mut grouped = String::new();
                for (index, digit) in digits.chars().enumerate() {
                    if index > 0 && (digits.len() - index).is_multiple_of(3) {
                        grouped.push(',');
                    }
                    grouped.push(digit);
                }
                grouped
            }
            Bytes(bytes) => {
                let unit = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
                    .into_iter()
                    .find(|(shift, _)| bytes >> shift > 0 && bytes.is_multiple_of(1 << shift));
                unit.map_or_else(
                    || format!("{bytes} B"),
                    |(shift, name)| format!("{} {name}", bytes >> shift),
                )
            }
            Time(time) if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
            Time(time) if time >= Duration::from_secs(48 * 3_600) => {
                format!("{} days", time.as_secs() / 86_400)
            }
            Time(time) if time >= Duration::from_secs(120) => format!("{} min", time.as_secs() / 60),
            Time(time) => format!("{} s", time.as_secs()),
            Part(part) => part.to_owned(),
            Unlimited => "none".to_owned(),
        }
    }

    /// As `Diagnostics::counts` has it.
    fn name_of(counter: &str) -> &str {
        counter.strip_prefix("spans_").unwrap_or(counter)
    }

    fn page() -> String {
        let mut page = String::from(
            "# Limits\n\n\
             Everything longpole keeps is bounded, and whatever a bound costs is told. The last column says where: a \
             name alone is a key of `Longpole::diagnostics().counts`, and for spans that were lost also of \
             `FlushReport::lost` and a `reason` of the metric `longpole.pipeline.lost`.\n\n\
             Variables are read with `otlp_from_env()`; of several the first that is set counts. \
             [environment.md](environment.md) says how they are written.\n\n\
             This page is made from the code: `UPDATE_DOCS=1 cargo test --all-features --lib limits`.\n",
        );
        for (heading, rows) in limits() {
            write!(page, "\n## {heading}\n\n").unwrap();
            page.push_str(
                "| what | at most | set by | what happens beyond it | told by |\n|---|---|---|---|---|\n",
            );
            for Limit { what, default, variables, on_excess, told } in rows {
                let variables: Vec<String> = variables.iter().map(|name| format!("`{name}`")).collect();
                let told = match told {
                    Counter(name) | Lost(name) => format!("`{}`", name_of(name)),
                    By(text) => text.to_owned(),
                };
                let default = shown(default);
                let set_by = variables.join(", ");
                writeln!(page, "| {what} | {default} | {set_by} | {on_excess} | {told} |").unwrap();
            }
        }
        page
    }

    #[test]
    #[cfg(feature = "prometheus")]
    fn the_page_of_limits_is_this_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, page(), "made anew by UPDATE_DOCS=1 cargo test --all-features --lib limits");
    }

    /// The text of every file of the library but this one, without its tests.
    fn source() -> String {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut source = String::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("limits_page.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    source.push_str(text.split("#[cfg(test)]\nmod tests").next().unwrap());
                }
            }
        }
        source
    }

    #[test]
    fn every_counter_of_the_page_counts() {
        let counters = LayerCounters::default().snapshot();
        let source = source();
        for row in limits().into_iter().flat_map(|(_, rows)| rows) {
            match row.told {
                Counter(name) => assert!(counters.contains_key(name), "{name}"),
                Lost(name) => {
                    let reason =
                        name.strip_prefix("delivery_").or(name.strip_prefix("recovery_")).unwrap_or(name);
                    assert!(source.contains(&format!("\"{reason}\"")), "{name}");
                }
                By(text) => assert!(!text.is_empty()),
            }
        }
    }

    /// The whole default as a variable has it, in any of the forms the other page may show.
    fn forms(amount: Amount) -> Vec<String> {
        match amount {
            Count(count) => vec![format!("`{count}`")],
            Bytes(bytes) => vec![format!("`{bytes}`"), format!("`{}`", shown(amount).replace(' ', ""))],
            Time(time) => vec![
                format!("`{}`", time.as_millis()),
                format!("`{}`", shown(amount).replace(' ', "")),
                format!("`{}`", time.as_secs()),
            ],
            Part(_) => Vec::new(),
            Unlimited => vec!["none".to_owned()],
        }
    }

    /// Each variable is read, and both pages agree on its default; each variable that sets a limit is on this page.
    #[test]
    fn the_variables_of_the_page_are_those_that_are_read() {
        let known = table::names();
        let mut shown_here = Vec::new();
        for row in limits().into_iter().flat_map(|(_, rows)| rows) {
            for name in row.variables {
                assert!(known.iter().any(|known| known == name), "{name} is not read");
                shown_here.push(*name);
                let listed = table::SECTIONS.iter().flat_map(|(_, variables)| *variables);
                let Some(listed) =
                    listed.into_iter().find(|variable| variable.name.replace('*', "") == *name)
                else {
                    panic!("{name}");
                };
                // Those two only ever make the time shorter.
                if !["OTEL_BSP_EXPORT_TIMEOUT", "OTEL_METRIC_EXPORT_TIMEOUT"].contains(name) {
                    let forms = forms(row.default);
                    assert!(
                        forms.iter().any(|form| form == listed.default),
                        "{name}: {} {forms:?}",
                        listed.default
                    );
                }
            }
        }
        for (heading, variables) in table::SECTIONS {
            if ["Batches", "Limits of spans and runs"].contains(heading) {
                let missing = variables.iter().find(|variable| !shown_here.contains(&variable.name));
                assert!(missing.is_none(), "{}", missing.unwrap().name);
            }
        }
    }
}
