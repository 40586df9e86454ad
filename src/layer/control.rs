//! What the handle asks of a layer.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use tracing_core::{Dispatch, Metadata};

use super::LayerCore;
use super::config::Limits;
use crate::environment::LimitSettings;
use crate::pipeline::shard::Refused;

impl LayerCore {
    pub(crate) fn set_enabled(&self, enabled: bool) {
        let before = self.enabled.swap(enabled, Relaxed);
        if before != enabled && self.is_switchable.load(Relaxed) {
            tracing_core::callsite::rebuild_interest_cache();
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// Whether this is a child forked from the process the layer was made in. From the first time that is seen
    /// nothing is taken any more: nobody is there to take it on. Asks the system: for cold paths.
    #[cold]
    pub(crate) fn is_in_forked_child(&self) -> bool {
        if self.process.is_this_process() {
            return false;
        }
        self.is_forked.store(true, Relaxed);
        self.set_enabled(false);
        self.shards.refuse();
        true
    }

    #[cold]
    pub(super) fn count_if_forked(&self, metadata: &Metadata<'_>) {
        if metadata.is_span() && self.is_forked.load(Relaxed) {
            self.counters.spans_after_fork.add(1);
        }
    }

    /// Counts a finished span the shards did not take.
    #[cold]
    pub(super) fn count_refused(&self, refused: Refused) {
        let counter = match refused {
            _ if self.is_in_forked_child() => &self.counters.spans_after_fork,
            Refused::Full => &self.counters.spans_shard_full,
            Refused::Closed => &self.counters.spans_after_shutdown,
        };
        counter.add(1);
    }

    /// The subscriber the layer is part of, while it lives.
    pub(crate) fn host_dispatch(&self) -> Option<Dispatch> {
        self.dispatch.get()?.upgrade()
    }

    /// Spans that were lost or never measured, by reason; reasons that never occurred are left out.
    pub(crate) fn lost_spans(&self) -> BTreeMap<String, u64> {
        let is_of_spans = |name: &&str| name.starts_with("spans_");
        self.counters
            .snapshot()
            .into_iter()
            .filter(|(name, count)| is_of_spans(name) && *count > 0)
            .map(|(name, count)| (name.trim_start_matches("spans_").to_owned(), count))
            .collect()
    }

    /// Everything else that was shortened, left out or suppressed, by reason.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let counts = self.counters.snapshot().into_iter();
        let others = counts.filter(|(name, count)| !name.starts_with("spans_") && *count > 0);
        others.map(|(name, count)| (name.to_owned(), count)).collect()
    }
}

impl Limits {
    /// These limits with those from outside in their place.
    pub(crate) fn apply(&mut self, settings: &LimitSettings) {
        let count = |number: Option<usize>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        self.attributes = count(settings.attributes_per_span).unwrap_or(self.attributes);
        self.value_bytes = settings.attribute_value_bytes.unwrap_or(self.value_bytes);
        self.name_bytes = settings.name_bytes.unwrap_or(self.name_bytes);
        self.span_bytes = settings.span_bytes.unwrap_or(self.span_bytes);
        self.events = count(settings.events_per_span).unwrap_or(self.events);
        self.links = count(settings.links_per_span).unwrap_or(self.links);
        self.event_attributes = count(settings.attributes_per_event).unwrap_or(self.event_attributes);
    }
}
