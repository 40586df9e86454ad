//! Runs given as drawings.
//!
//! ```text
//!         |    5    10
//! root    ==========
//!   fetch ====
//!   parse   ..====
//! ```
//!
//! One column is 1 ms, `|` stands over 0. `.` is queued, `=` running. A name that is further in than the one above is
//! its child. The expectation has one line per question, with the answers in the order drawn:
//!
//! * `path`: the segments of the critical path;
//! * `slack`, `self`: of every span that has one, in ms;
//! * `free`: the wall time if the named span took no time;
//! * `unqueued`: the wall time if the named span had not been queued.

use longpole::analysis::critical_path::critical_path;
use longpole::analysis::event_graph::EventGraph;
use longpole::analysis::replay::Scale;
use longpole::analysis::time_breakdown::self_times;
use longpole::run::{Run, SpanIx};
use longpole::span_record::SpanRecord;
use longpole::time::{Duration, Timestamp};

use crate::spans::span;

const MS: u64 = 1_000_000;
/// Where the drawing's 0 lies, so that no answer depends on times being small.
const ORIGIN: u64 = 1_700_000_000_000_000_000;

/// Analyses the drawn run and compares with every line of the expectation.
#[track_caller]
pub(crate) fn check(drawing: &str, expectation: &str) {
    let run = Run::from_records(read(drawing)).unwrap();
    assert!(run.warnings.is_empty(), "{:?}", run.warnings);
    for line in expectation.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (question, expected) = line.split_once(' ').unwrap();
        let expected = expected.trim();
        let named: Vec<_> = expected.split(", ").filter_map(|answer| answer.split(' ').next()).collect();
        let found = answer(&run, question, &named);
        assert_eq!(expected, found, "{question} of\n{drawing}");
    }
}

fn read(drawing: &str) -> Vec<SpanRecord> {
    let mut lines = drawing.lines().filter(|line| !line.trim().is_empty());
    let origin_column = lines.next().and_then(|ruler| ruler.find('|')).expect("a ruler with `|` over 0");
    let mut records = Vec::new();
    let mut open: Vec<(usize, u64)> = Vec::new();
    for (id, line) in (1..).zip(lines) {
        let (label, bar) = line.split_at(origin_column.min(line.len()));
        let indent = label.len() - label.trim_start().len();
        open.retain(|(outer, _)| *outer < indent);
        let parent = open.last().map(|(_, id)| *id);
        open.push((indent, id));

        let start = bar.len() - bar.trim_start().len();
        let queued = bar.matches('.').count();
        let end = start + bar.trim().len();
        assert_eq!(bar.trim(), ".".repeat(queued) + &"=".repeat(end - start - queued), "a bar of {label}");
        let at = |column: usize| ORIGIN + column as u64 * MS;
        let mut record = span(id, parent, label.trim(), at(start), at(end));
        record.timing.queued = Duration::from_millis(queued as u64);
        records.push(record);
    }
    records
}

fn answer(run: &Run, question: &str, named: &[&str]) -> String {
    let name = |ix: SpanIx| run.span(ix).record.name.to_string();
    let ms = |duration: Duration| duration.as_nanos() / MS;
    let graph = EventGraph::new(run);
    let mut drawn: Vec<_> = run.indices().collect();
    drawn.sort_by_key(|ix| run.span(*ix).record.span_id);
    let of_each = |value: &dyn Fn(SpanIx) -> Option<Duration>| -> Vec<String> {
        drawn.iter().filter_map(|ix| Some(format!("{} {}", name(*ix), ms(value(*ix)?)))).collect()
    };
    let of_named = |value: &dyn Fn(SpanIx) -> Duration| -> Vec<String> {
        let find = |wanted: &str| drawn.iter().copied().find(|ix| name(*ix) == wanted).unwrap();
        named.iter().map(|wanted| format!("{wanted} {}", ms(value(find(wanted))))).collect()
    };
    let answers = match question {
        "path" => {
            let column = |at: Timestamp| (at.as_unix_nanos() - ORIGIN) / MS;
            let segments = critical_path(run).segments.into_iter().map(|segment| {
                let (start, end) = (column(segment.interval.start), column(segment.interval.end));
                format!("{} {start}-{end}", name(segment.span))
            });
            segments.collect()
        }
        "slack" => {
            let slack = graph.slack();
            of_each(&|ix| slack[ix.index()])
        }
        "self" => {
            let self_times = self_times(run);
            of_each(&|ix| Some(self_times[ix.index()]))
        }
        "free" => of_named(&|free| graph.replay(|ix| if ix == free { Scale::FREE } else { Scale::SAME })),
        "unqueued" => of_named(&|unqueued| graph.replay_without_queueing(|ix| ix == unqueued)),
        other => panic!("no such question: {other}"),
    };
    answers.join(", ")
}
