//! Profilers bound to open spans: what ends below such a span is told to its profiler at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::decode::otlp::node_of_attributes;
use crate::span_record::Interner;
use crate::time::Duration;

use super::LayerCore;
use super::closing::Course;
use super::open_span::{Body, Slot, marks};

/// Takes the time of one execution of a node.
pub(crate) trait NodeRecorder: Send + Sync {
    fn record_node(&self, node: &Arc<str>, took: Duration);
    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync>;
}

/// Which open span has which profiler.
#[derive(Default)]
pub(crate) struct Profilers {
    /// While it is zero, nobody looks further.
    count: AtomicUsize,
    bound: Mutex<HashMap<u64, Arc<dyn NodeRecorder>>>,
}

impl Profilers {
    #[inline]
    pub(super) fn are_bound(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<u64, Arc<dyn NodeRecorder>>)) {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut bound);
        self.count.store(bound.len(), Ordering::Relaxed);
    }

    pub(super) fn unbind(&self, id: u64) {
        self.change(|bound| {
            bound.remove(&id);
        });
    }

    fn of(&self, id: u64) -> Option<Arc<dyn NodeRecorder>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

impl LayerCore {
    /// Binds a profiler to an open span. Says whether the span is measured.
    pub(crate) fn bind_profiler(&self, id: u64, profiler: Arc<dyn NodeRecorder>) -> bool {
        let is_open = self.slots.with(id, |_| ()).is_some();
        if is_open {
            self.is_watched.store(true, Ordering::Relaxed);
            self.profilers.change(|bound| {
                bound.insert(id, profiler);
            });
        }
        is_open
    }

    /// The profiler of span `id` or the nearest span above it that has one, with that span.
    pub(crate) fn profiler_of(&self, id: u64) -> Option<(u64, Arc<dyn NodeRecorder>)> {
        let mut next = Some(id).filter(|_| self.profilers.are_bound());
        while let Some(id) = next {
            if let Some(profiler) = self.profilers.of(id) {
                return Some((id, profiler));
            }
            next = self.slots.with(id, Slot::parent).flatten();
        }
        None
    }

    /// Takes the profiler away that [`LayerCore::profiler_of`] finds.
    pub(crate) fn unbind_profiler(&self, id: u64) {
        if let Some((bound_to, _)) = self.profiler_of(id) {
            self.profilers.unbind(bound_to);
        }
    }

    /// Tells the profiler above a closing node how long it took.
    #[cold]
    pub(super) fn record_in_profiler(&self, slot: &Slot, body: &Body, callsite_name: &str, course: &Course) {
        let Some(parent) = slot.parent() else { return };
        let Some((_, profiler)) = self.profiler_of(parent) else { return };
        let mut interner = Interner::default();
        let node = node_of_attributes(&body.attributes, callsite_name, &mut interner);
        let node = node.or_else(|| body.has(marks::SELECTED).then(|| callsite_name.into()));
        if let Some(node) = node {
            profiler.record_node(&node, course.end.saturating_since(body.start));
        }
    }
}
