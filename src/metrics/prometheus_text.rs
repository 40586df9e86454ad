//! Snapshots as a page for Prometheus: its text format, and OpenMetrics where the scraper asks for that.
//!
//! Names follow OpenTelemetry's rules for Prometheus: dots become underscores, the unit is appended, counters end in
//! `_total`. Histograms have fixed buckets here: the text formats know no exponential ones. Exemplars exist only in
//! OpenMetrics, one a bucket.

use std::fmt::Write;

use super::cost::money_of;
use super::distribution::Distribution;
use super::instrument::{Description, Instrument, Kind};
use super::store::{LabelValue, Labels, Point, Snapshot, Value};

/// Which format a page is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// The one a scraper prefers that sends this `Accept` header.
    pub(crate) fn wanted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page that shows `snapshot`.
pub(crate) fn page(snapshot: &Snapshot, format: Format) -> String {
    let mut page = String::new();
    for (instrument, points) in &snapshot.families {
        append_family(&mut page, *instrument, points, format);
    }
    if format == Format::OpenMetrics {
        page.push_str("# EOF\n");
    }
    page
}

/// The metric's name without a counter's suffix.
fn base_name(description: Description) -> String {
    let name = description.name.trim_end_matches("_total").replace('.', "_");
    let is_time = description.unit == "s" && !name.ends_with("_seconds");
    if is_time { format!("{name}_seconds") } else { name }
}

fn append_family(page: &mut String, instrument: Instrument, points: &[Point], format: Format) {
    let description = instrument.description();
    let name = base_name(description);
    let (kind, sample) = match description.kind {
        Kind::Counter | Kind::TimeCounter | Kind::MoneyCounter => ("counter", format!("{name}_total")),
        Kind::Level => ("gauge", name.clone()),
        Kind::TimeHistogram
        | Kind::AgentTimeHistogram
        | Kind::WorkflowTimeHistogram
        | Kind::CountHistogram => ("histogram", name.clone()),
    };
    // The older format names counters by their samples.
    let family = if format == Format::Text { &sample } else { &name };
    // Writing into a string does not fail.
    let _ = writeln!(page, "# TYPE {family} {kind}");
    if format == Format::OpenMetrics && name.ends_with("_seconds") {
        let _ = writeln!(page, "# UNIT {family} seconds");
    }
    let _ = writeln!(page, "# HELP {family} {}", escaped(description.text));
    for point in points.iter().filter(|point| !point.has_ended) {
        let labels = labels(&point.labels);
        let _ = match &point.value {
            Value::Sum(sum) if description.kind == Kind::TimeCounter => {
                writeln!(page, "{sample}{} {}", braced(&labels), *sum as f64 / description.kind.per_unit())
            }
            // All its decimals.
            Value::Sum(amount) if description.kind == Kind::MoneyCounter => {
                writeln!(page, "{sample}{} {}", braced(&labels), money_of(*amount))
            }
            Value::Sum(sum) => writeln!(page, "{sample}{} {sum}", braced(&labels)),
            Value::Level(level) => writeln!(page, "{sample}{} {level}", braced(&labels)),
            Value::Distribution(distribution) => {
                append_histogram(page, &name, &labels, distribution, description.kind, format);
                Ok(())
            }
        };
    }
}

fn append_histogram(
    page: &mut String,
    name: &str,
    labels: &str,
    distribution: &Distribution,
    kind: Kind,
    format: Format,
) {
    let separator = if labels.is_empty() { "" } else { "," };
    let mut count = 0u64;
    let mut lower = None;
    for (at, inside) in distribution.explicit.iter().enumerate() {
        count = count.saturating_add(*inside);
        let bound = kind.bounds().get(at).copied();
        let shown =
            bound.map_or_else(|| "+Inf".to_owned(), |bound| shown_bound(bound as f64 / kind.per_unit()));
        let _ = write!(page, "{name}_bucket{{{labels}{separator}le=\"{shown}\"}} {count}");
        let is_inside =
            |value: u64| lower.is_none_or(|lower| value > lower) && bound.is_none_or(|b| value <= b);
        let exemplar = distribution.exemplars.iter().find(|exemplar| is_inside(exemplar.value));
        if format == Format::OpenMetrics
            && let Some(exemplar) = exemplar
        {
            let _ = write!(
                page,
                " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {}",
                exemplar.trace_id,
                exemplar.span_id,
                exemplar.value as f64 / kind.per_unit(),
                exemplar.time.as_unix_nanos() as f64 / 1e9,
            );
        }
        page.push('\n');
        lower = bound;
    }
    let _ = writeln!(page, "{name}_sum{} {}", braced(labels), distribution.sum as f64 / kind.per_unit());
    let _ = writeln!(page, "{name}_count{} {}", braced(labels), distribution.count);
}

/// OpenMetrics wants bounds as floating-point numbers are written.
fn shown_bound(bound: f64) -> String {
    if bound.fract() == 0.0 { format!("{bound:.1}") } else { bound.to_string() }
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn labels(labels: &Labels) -> String {
    let label = |(key, value): &(&'static str, LabelValue)| {
        let value = match value {
            LabelValue::Text(text) => escaped(text),
            LabelValue::Int(number) => number.to_string(),
            LabelValue::Bool(truth) => truth.to_string(),
        };
        format!("{}=\"{value}\"", key.replace('.', "_"))
    };
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conventions as keys;
    use crate::ids::{SpanId, TraceId};
    use crate::metrics::distribution::Exemplar;
    use crate::metrics::store::{MetricLimits, MetricStore};
    use crate::time::Timestamp;

    fn snapshot() -> Snapshot {
        let now = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
        let mut store = MetricStore::new(MetricLimits::default());
        let labels = vec![
            (keys::NODE_ID, LabelValue::Text("say \"hi\"\\\n".into())),
            (keys::DEPTH, LabelValue::Int(1)),
        ];
        store.add(Instrument::NodeExecutions, labels.clone(), 2, now);
        store.add(Instrument::NodePathTime, Labels::new(), 1_500_000_000, now);
        let exemplar = Exemplar {
            value: 100_000_000,
            time: now,
            trace_id: TraceId::from_bytes([1; 16]),
            span_id: SpanId::from_bytes([2; 8]),
        };
        store.record(Instrument::NodeDuration, labels, 100_000_000, Some(exemplar), now);
        store.change_level(Instrument::SubagentActive, vec![("depth", LabelValue::Text("1".into()))], 3, now);
        store.snapshot(now)
    }

    #[test]
    fn the_text_format_has_counters_by_their_samples_and_no_exemplars() {
        let page = page(&snapshot(), Format::Text);
        let labels = r#"longpole_node_id="say \"hi\"\\\n",longpole_depth="1""#;
        for line in [
            "# TYPE longpole_node_duration_seconds histogram",
            "# HELP longpole_node_duration_seconds How long executions of a node took, queueing included.",
            &format!("longpole_node_duration_seconds_bucket{{{labels},le=\"0.08\"}} 0"),
            &format!("longpole_node_duration_seconds_bucket{{{labels},le=\"0.16\"}} 1"),
            &format!("longpole_node_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 1"),
            &format!("longpole_node_duration_seconds_sum{{{labels}}} 0.1"),
            &format!("longpole_node_duration_seconds_count{{{labels}}} 1"),
            "# TYPE longpole_node_executions_total counter",
            &format!("longpole_node_executions_total{{{labels}}} 2"),
            "longpole_node_critical_path_time_seconds_total 1.5",
            "# TYPE subagent_active_count gauge",
            "subagent_active_count{depth=\"1\"} 3",
        ] {
            assert!(page.lines().any(|told| told == line), "{line}\n\n{page}");
        }
        assert_eq!(page.lines().count(), 28);
        assert!(!page.contains("trace_id"));
    }

    #[test]
    fn openmetrics_has_units_and_exemplars_and_an_end() {
        let page = page(&snapshot(), Format::OpenMetrics);
        let ids = r#"trace_id="01010101010101010101010101010101",span_id="0202020202020202""#;
        let exemplar = format!("le=\"0.16\"}} 1 # {{{ids}}} 0.1 1700000000");
        for part in [
            "# TYPE longpole_node_executions counter\n",
            "# UNIT longpole_node_duration_seconds seconds\n",
            "longpole_node_executions_total{",
            &exemplar,
        ] {
            assert!(page.contains(part), "{part}\n\n{page}");
        }
        assert_eq!(page.matches("trace_id").count(), 1);
        assert!(page.ends_with("# EOF\n"));
    }
}
