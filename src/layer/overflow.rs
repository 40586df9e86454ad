//! The map for open spans that have no slot of their own; empty in practice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::open_bytes::OpenBytes;
use super::open_span::Slot;

/// What a span in the map takes beside its buffers: the slot with its counts, and its places in map and queue.
pub(crate) const ENTRY_BYTES: usize = size_of::<Slot>() + 96;

/// Open spans by id.
#[derive(Debug, Default)]
pub(crate) struct Overflow {
    spans: Mutex<Spans>,
    /// While it is zero, nobody locks the map.
    count: AtomicU64,
}

#[derive(Debug, Default)]
struct Spans {
    by_id: HashMap<u64, Arc<Slot>>,
    /// Ids in the order in which they came. Those that are gone leave it late.
    order: VecDeque<u64>,
}

impl Overflow {
    #[cold]
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Slot>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.spans.lock().by_id.get(&id).cloned()
    }

    /// Gives span `id` a slot, if no more than `room` spans are here then and there are bytes for it.
    pub(crate) fn claim(&self, id: u64, room: usize, bytes: &OpenBytes) -> Option<Arc<Slot>> {
        let slot = Arc::new(Slot::default());
        slot.id.store(id, Ordering::Relaxed);
        let mut spans = self.spans.lock();
        let Spans { by_id, order } = &mut *spans;
        if by_id.len() >= room || !bytes.take(ENTRY_BYTES) {
            return None;
        }
        by_id.insert(id, slot.clone());
        if order.len() > by_id.len().saturating_mul(2) {
            order.retain(|id| by_id.contains_key(id));
        }
        order.push_back(id);
        self.count.store(by_id.len() as u64, Ordering::Release);
        Some(slot)
    }

    #[cold]
    pub(crate) fn remove(&self, id: u64) -> Option<Arc<Slot>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut spans = self.spans.lock();
        let slot = spans.by_id.remove(&id);
        self.count.store(spans.by_id.len() as u64, Ordering::Release);
        slot
    }

    pub(crate) fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        if self.len() == 0 { Vec::new() } else { self.spans.lock().by_id.values().cloned().collect() }
    }

    /// The `count` that came first. Those that stay come last from now on.
    pub(crate) fn rotate(&self, count: usize) -> Vec<(u64, Arc<Slot>)> {
        let mut found = Vec::new();
        if self.len() == 0 {
            return found;
        }
        let mut spans = self.spans.lock();
        let Spans { by_id, order } = &mut *spans;
        for _ in 0..order.len() {
            if found.len() >= count {
                break;
            }
            let Some(id) = order.pop_front() else { break };
            if let Some(slot) = by_id.get(&id) {
                found.push((id, slot.clone()));
                order.push_back(id);
            }
        }
        found
    }
}
