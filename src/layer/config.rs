//! What a layer is told when it is built.

use tracing_core::{Level, Metadata};

use crate::prices::PriceTable;
use crate::privacy::{Policy, SHORTEST_SECRET};
use crate::sampler::Sampler;

/// How a layer measures and what it writes.
#[derive(Clone, Debug)]
pub(crate) struct LayerConfig {
    /// Write everything a backend wants; else only what the analysis reads.
    pub(crate) export: bool,
    /// Write `code.file.path`, `code.module.name` and `code.line.number`.
    pub(crate) location: bool,
    /// Write `thread.id` and `thread.name` of the creating thread.
    pub(crate) threads: bool,
    /// Write the callsite's `target`.
    pub(crate) target: bool,
    /// The most verbose level of events that are kept.
    pub(crate) event_level: Level,
    /// Which traces are exported.
    pub(crate) sampler: Sampler,
    /// Under which span of another process roots stand that have no parent here.
    pub(crate) process_parent: Option<RemoteParent>,
    pub(crate) otel: OtelContextUse,
    /// Which keys are withheld.
    pub(crate) privacy: &'static Policy,
    pub(crate) limits: Limits,
    /// Spans that are nodes without being marked.
    pub(crate) selectors: Vec<Selector>,
    /// Targets whose spans and events are not taken. `a` covers `a` and `a::b`; `a*` covers all that begin with it.
    pub(crate) ignored_targets: Vec<String>,
    /// The workflow's name, for local roots that do not carry one.
    pub(crate) workflow: Option<String>,
    pub(crate) workflow_version: Option<String>,
    /// What tracked calls are priced with; `None`: the table that comes with longpole.
    pub(crate) prices: Option<PriceTable>,
    /// How many spans may be open at once. Past it, or past [`super::open_bytes::budget`] bytes of theirs, those that
    /// seem forgotten are written as partial and given up.
    pub(crate) max_open_spans: usize,
}

/// What a layer does with OpenTelemetry's own current context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OtelContextUse {
    /// Make each entered span the current one of OpenTelemetry's API.
    pub(crate) activates: bool,
    /// Take the ids from spans that another layer makes current: that layer exports them.
    pub(crate) takes_ids: bool,
}

impl OtelContextUse {
    #[cfg(feature = "otlp")]
    #[inline]
    pub(crate) fn is_used(self) -> bool {
        self.activates || self.takes_ids
    }
}

/// A span of another process, or of another library in this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteParent {
    pub(crate) trace_id: [u64; 2],
    pub(crate) span_id: u64,
    pub(crate) is_sampled: bool,
    /// In another process.
    pub(crate) is_remote: bool,
    pub(crate) origin: ForeignContext,
}

/// What else came with a parent and goes on to whatever the span calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForeignContext {
    /// W3C `tracestate`; empty: none.
    pub(crate) trace_state: String,
    /// With baggage, and whatever else a program keeps in it.
    #[cfg(feature = "otlp")]
    pub(crate) context: Option<opentelemetry::Context>,
}

impl ForeignContext {
    pub(crate) fn is_empty(&self) -> bool {
        #[cfg(feature = "otlp")]
        if self.context.is_some() {
            return false;
        }
        self.trace_state.is_empty()
    }
}

/// How much of a span is kept. Lengths are in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Attributes recorded per span. What the layer adds itself comes on top.
    pub(crate) attributes: u32,
    /// Longer values are cut between two characters and end in `…`.
    pub(crate) value_bytes: usize,
    /// The same for values that are the content of conversations.
    pub(crate) content_bytes: usize,
    /// Text of so many bytes or more is searched for secrets; `usize::MAX`: none is.
    pub(crate) masked_from: usize,
    /// Longer span and event names are cut.
    pub(crate) name_bytes: usize,
    /// The first so many events are kept.
    pub(crate) events: u32,
    /// Attributes per event, its level and target included.
    pub(crate) event_attributes: u32,
    pub(crate) links: u32,
    /// Attributes, events and links of a span together. Past it, events go first, then links, then the longest
    /// attributes.
    pub(crate) span_bytes: usize,
}

/// Finds spans by what their callsite says. Everything given must fit; nothing given fits every span.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    /// The target or a module above it, as in [`LayerConfig::ignored_targets`].
    pub(crate) target: Option<String>,
    /// The exact name in the macro.
    pub(crate) name: Option<String>,
    /// The most verbose level that fits.
    pub(crate) level: Option<Level>,
}

/// What a layer's configuration says about a callsite, as bits: it is looked up for every span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict(u8);

impl Verdict {
    /// Nothing special.
    pub(crate) const TAKEN: Verdict = Verdict(0);
    const IGNORED: u8 = 1;
    const SELECTED: u8 = 2;

    #[inline(always)]
    pub(crate) fn is_ignored(self) -> bool {
        self.0 & Self::IGNORED != 0
    }

    #[inline(always)]
    pub(crate) fn is_selected(self) -> bool {
        self.0 & Self::SELECTED != 0
    }
}

impl Default for LayerConfig {
    fn default() -> Self {
        LayerConfig {
            export: true,
            location: false,
            threads: false,
            target: false,
            event_level: Level::INFO,
            sampler: Sampler::default(),
            process_parent: None,
            otel: OtelContextUse::default(),
            privacy: <&Policy>::default(),
            limits: Limits::default(),
            selectors: Vec::new(),
            ignored_targets: IGNORED_TARGETS.iter().map(|&target| target.to_owned()).collect(),
            workflow: None,
            workflow_version: None,
            prices: None,
            max_open_spans: 100_000,
        }
    }
}

/// The crates that carry spans away, ours among them: their spans would cause more spans.
const IGNORED_TARGETS: [&str; 9] =
    ["h2", "hyper", "hyper_util", "tonic", "tower", "reqwest", "rustls", "opentelemetry*", "longpole"];

impl Default for Limits {
    fn default() -> Self {
        Limits {
            attributes: 128,
            value_bytes: 4096,
            content_bytes: 16 * 1024,
            masked_from: SHORTEST_SECRET,
            name_bytes: 256,
            events: 128,
            event_attributes: 32,
            links: 128,
            span_bytes: 64 * 1024,
        }
    }
}

impl LayerConfig {
    /// What this configuration says about spans and events of `metadata`.
    pub(crate) fn verdict(&self, metadata: &Metadata<'_>) -> Verdict {
        let is_ignored = self.ignored_targets.iter().any(|pattern| covers(pattern, metadata.target()));
        let is_selected = self.selectors.iter().any(|selector| selector.fits(metadata));
        let bit = |is_so, bit| if is_so { bit } else { 0 };
        Verdict(bit(is_ignored, Verdict::IGNORED) | bit(is_selected, Verdict::SELECTED))
    }
}

impl Selector {
    fn fits(&self, metadata: &Metadata<'_>) -> bool {
        self.target.as_ref().is_none_or(|target| covers(target, metadata.target()))
            && self.name.as_ref().is_none_or(|name| name == metadata.name())
            && self.level.as_ref().is_none_or(|level| metadata.level() <= level)
    }
}

/// Whether `target` is `pattern` or a module in it.
fn covers(pattern: &str, target: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(front) => target.starts_with(front),
        None => target.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_covers_its_modules_but_not_longer_crate_names() {
        let ignored = |target: &str| IGNORED_TARGETS.iter().any(|pattern| covers(pattern, target));
        for target in ["h2", "hyper::client", "opentelemetry_sdk::trace", "longpole", "longpole::layer"] {
            assert!(ignored(target), "{target}");
        }
        for target in ["hyperloglog", "longpole_example_rig", "h2o", "tower_http::trace", "my_app::hyper", ""]
        {
            assert!(!ignored(target), "{target}");
        }
    }
}
