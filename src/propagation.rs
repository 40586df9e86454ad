//! Handing traces on: to services in headers, to child processes in their environment, and back.
//!
//! Formats are those `OTEL_PROPAGATORS` names, by default W3C trace context and baggage, written and read by
//! OpenTelemetry's own propagators.
//!
//! ```
//! use longpole::OtelSpanExt;
//! # use std::collections::HashMap;
//! # let (layer, longpole) = longpole::builder().build()?;
//! # use tracing_subscriber::prelude::*;
//! # tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
//! // The caller: any carrier of OpenTelemetry's, such as a map or HTTP headers.
//! let call = tracing::info_span!("call");
//! let mut headers: HashMap<String, String> = HashMap::new();
//! longpole.inject(&call, &mut headers);
//!
//! // The service it calls.
//! let handle = tracing::info_span!(parent: None, "handle");
//! let _ = handle.set_parent_context(&longpole.extract(&headers));
//! # use longpole::SpanExt;
//! # assert_eq!(handle.span_context().unwrap().0, call.span_context().unwrap().0);
//! # });
//! # Ok::<(), longpole::BuildError>(())
//! ```

use std::collections::BTreeMap;
use std::process::Command;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use tracing::Span;

use crate::environment::Propagators;
use crate::handle::Longpole;
use crate::layer::otel_context::OtelSpanExt;

/// Trace context in environment variables: `TRACEPARENT`, `TRACESTATE`, `BAGGAGE`. A carrier for
/// [`Longpole::extract`] and [`Longpole::inject`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvCarrier {
    variables: BTreeMap<String, String>,
}

/// The keys propagators use, upper case as variables are.
const VARIABLES: [&str; 3] = ["TRACEPARENT", "TRACESTATE", "BAGGAGE"];

impl EnvCarrier {
    /// What this process was started with.
    pub fn of_process() -> Self {
        let set = VARIABLES.into_iter().filter_map(|name| {
            let value = std::env::var(name).ok().filter(|value| !value.trim().is_empty())?;
            Some((name.to_owned(), value))
        });
        EnvCarrier { variables: set.collect() }
    }

    /// The variables by name.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A header's name as that of a variable.
fn variable(key: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    key.chars().map(upper).collect()
}

impl Extractor for EnvCarrier {
    fn get(&self, key: &str) -> Option<&str> {
        self.variables.get(&variable(key)).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.variables.keys().map(String::as_str).collect()
    }
}

impl Injector for EnvCarrier {
    fn set(&mut self, key: &str, value: String) {
        self.variables.insert(variable(key), value);
    }
}

/// Passes a trace on to a child process.
pub trait CommandExt {
    /// Sets the variables that put the child's roots under `span`, and removes those this process was started with.
    /// The child takes them up with [`init`](crate::init) or
    /// [`Builder::parent_from_env`](crate::Builder::parent_from_env), or as any program does that follows
    /// OpenTelemetry's environment carriers.
    fn trace_context(&mut self, longpole: &Longpole, span: &Span) -> &mut Self;
}

impl CommandExt for Command {
    fn trace_context(&mut self, longpole: &Longpole, span: &Span) -> &mut Self {
        let mut carrier = EnvCarrier::default();
        longpole.inject(span, &mut carrier);
        for name in VARIABLES {
            self.env_remove(name);
        }
        self.envs(carrier.variables())
    }
}

impl Longpole {
    /// Reads the trace context a caller sent, by the formats `OTEL_PROPAGATORS` names: a parent for
    /// [`OtelSpanExt::set_parent_context`](crate::OtelSpanExt::set_parent_context). What cannot be read is counted
    /// in [`Diagnostics::counts`](crate::Diagnostics::counts) as `traceparents_malformed` and gives a context without a span.
    pub fn extract(&self, carrier: &dyn Extractor) -> Context {
        let (context, is_malformed) = extract(carrier, self.inner().propagators);
        self.inner().layer.counters.traceparents_malformed.add(u64::from(is_malformed));
        context
    }

    /// Writes the trace context of `span` for somebody it calls. From then on the span's parent is fixed.
    pub fn inject(&self, span: &Span, carrier: &mut dyn Injector) {
        inject(&span.otel_context(), carrier, self.inner().propagators);
    }
}

fn propagator(propagators: Propagators) -> TextMapCompositePropagator {
    let mut all: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
    if propagators.trace_context {
        all.push(Box::new(TraceContextPropagator::new()));
    }
    if propagators.baggage {
        all.push(Box::new(BaggagePropagator::new()));
    }
    TextMapCompositePropagator::new(all)
}

/// Reads a context, and says whether a trace parent was there that cannot be read.
pub(crate) fn extract(carrier: &dyn Extractor, propagators: Propagators) -> (Context, bool) {
    let parent = carrier.get("traceparent").filter(|value| !value.trim().is_empty());
    let is_malformed = propagators.trace_context && parent.is_some_and(|parent| !is_well_formed(parent));
    // The propagator takes some of those.
    let usable = Propagators { trace_context: propagators.trace_context && !is_malformed, ..propagators };
    let context = propagator(usable).extract_with_context(&Context::new(), carrier);
    let is_read = context.span().span_context().is_valid();
    (context, is_malformed || (usable.trace_context && parent.is_some() && !is_read))
}

/// `version-trace_id-parent_id-flags` in lower-case hexadecimal, as W3C Trace Context has it. Later versions may have
/// more behind.
fn is_well_formed(parent: &str) -> bool {
    let mut parts = parent.trim().split('-');
    let mut hex = |digits: usize| {
        let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        parts.next().filter(|part| part.len() == digits && part.bytes().all(is_hex))
    };
    let (Some(version), Some(trace_id), Some(span_id), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else {
        return false;
    };
    let is_some = |id: &str| id.bytes().any(|digit| digit != b'0');
    version != "ff" && is_some(trace_id) && is_some(span_id) && (version != "00" || parts.next().is_none())
}

pub(crate) fn inject(context: &Context, carrier: &mut dyn Injector, propagators: Propagators) {
    propagator(propagators).inject_context(context, carrier);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrier(traceparent: &str) -> EnvCarrier {
        let variables = [("TRACEPARENT", traceparent), ("TRACESTATE", "a=1"), ("BAGGAGE", "user=7")];
        let pairs = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        EnvCarrier { variables: pairs.collect() }
    }

    #[test]
    fn what_is_read_is_written_back() {
        use opentelemetry::baggage::BaggageExt;

        let given = carrier("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let (context, is_malformed) = extract(&given, Propagators::default());
        assert!(!is_malformed);
        assert_eq!(context.baggage().get("user").map(ToString::to_string), Some("7".to_owned()));
        let mut written = EnvCarrier::default();
        inject(&context, &mut written, Propagators::default());
        assert_eq!(written, given);
        let mut nothing = EnvCarrier::default();
        inject(&context, &mut nothing, Propagators { trace_context: false, baggage: false });
        assert_eq!(nothing, EnvCarrier::default());
    }

    #[test]
    fn a_malformed_parent_is_noticed_and_no_parent_is_none() {
        for malformed in [
            "nonsense",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            let (context, is_malformed) = extract(&carrier(malformed), Propagators::default());
            assert!(is_malformed && !context.span().span_context().is_valid(), "{malformed}");
        }
        let later = carrier("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more");
        assert!(extract(&later, Propagators::default()).0.span().span_context().is_valid());
        let off = Propagators { trace_context: false, baggage: true };
        assert!(!extract(&carrier("nonsense"), off).1);
        assert!(!extract(&EnvCarrier::default(), Propagators::default()).1);
    }
}
