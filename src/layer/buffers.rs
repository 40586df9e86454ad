//! How much memory the buffers of an open span take, and what is done when all of them take too much.

use super::config::Limits;
use super::counters::LayerCounters;
use super::open_bytes::OpenBytes;
use super::open_span::{Body, Rare};

/// What a span may keep, in bytes, when all open ones together hold too much.
const KEPT_WHEN_FULL: usize = 256;

impl Body {
    /// Whether its buffers may hold more than was taken into account.
    #[inline]
    pub(crate) fn has_grown(&self) -> bool {
        self.attributes.capacity() > self.charged as usize || self.has_rare
    }

    /// Takes what its buffers hold into account. If all open spans hold too much with that, it keeps little: what
    /// the analysis reads, and as much as it was allowed before. Returns whether it kept all.
    #[cold]
    pub(crate) fn charge(&mut self, bytes: &OpenBytes, limits: &Limits, counters: &LayerCounters) -> bool {
        let charged = self.charged as usize;
        let grown = self.capacity().saturating_sub(charged);
        if grown == 0 {
            return true;
        }
        if bytes.take(grown) {
            self.charged = u32::try_from(charged.saturating_add(grown)).unwrap_or(u32::MAX);
            return true;
        }
        // A buffer grows to twice what it needs, and may be one that held more on another span.
        self.shrink();
        let kept = Limits { span_bytes: charged.max(KEPT_WHEN_FULL).min(limits.span_bytes), ..*limits };
        let kept_all = self.bytes() <= kept.span_bytes;
        if !kept_all {
            self.make_room(0, &kept, counters);
            self.shrink();
        }
        self.charge_anyway(bytes);
        kept_all
    }

    fn shrink(&mut self) {
        self.attributes.shrink_to_fit();
        if let Some(rare) = &mut self.rare {
            rare.events.shrink_to_fit();
            rare.links.shrink_to_fit();
        }
    }

    /// Takes into account what its buffers hold, more or less than before.
    pub(super) fn charge_anyway(&mut self, bytes: &OpenBytes) {
        let (before, now) = (self.charged as usize, self.capacity());
        if now > before {
            bytes.take_anyway(now.saturating_sub(before));
        } else if before > now {
            bytes.give_back(before.saturating_sub(now));
        }
        self.charged = u32::try_from(now).unwrap_or(u32::MAX);
    }

    /// Gives all its buffers back.
    pub(crate) fn give_back(&mut self, bytes: &OpenBytes) {
        self.attributes = Vec::new();
        self.rare = None;
        self.has_rare = false;
        self.charge_anyway(bytes);
    }

    /// The same, if it is no open span's.
    pub(crate) fn give_back_if_free(&mut self, bytes: &OpenBytes) {
        if self.callsite.is_none() && self.charged > 0 {
            self.give_back(bytes);
        }
    }

    fn capacity(&self) -> usize {
        let Some(rare) = &self.rare else { return self.attributes.capacity() };
        let Rare { name, status_message, events, links, .. } = &**rare;
        let buffers = [name.capacity(), status_message.capacity(), events.capacity(), links.capacity()];
        let own = self.attributes.capacity().saturating_add(size_of::<Rare>());
        buffers.iter().fold(own, |sum, capacity| sum.saturating_add(*capacity))
    }
}
