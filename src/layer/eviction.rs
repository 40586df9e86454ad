//! Giving up spans that were opened and forgotten, so that new ones can be measured.
//!
//! Looked for only where a new span finds no room. A forgotten span cannot be told from one that waits for long, so
//! the likeliest go first: not running, without children, opened longest ago. What is given up is written as it is
//! then, with the outcome `partial`, and counted; its close, should it come, does nothing.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::time::Timestamp;

use super::LayerCore;
use super::open_span::marks;
use super::slots::SlotRef;

/// How many open spans are looked at before some of them are given up.
const LOOKED_AT: usize = 64;
/// How many of those at most.
const GIVEN_UP: usize = 8;
/// How often one span that needs room has others looked at.
const ROUNDS: usize = 4;

/// How soon a span is given up: the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_running: bool,
    has_children: bool,
    start: Timestamp,
}

impl LayerCore {
    /// Gives up some of the spans that are open, at least one if that is possible.
    #[cold]
    pub(super) fn make_room(&self) {
        for _ in 0..ROUNDS {
            let mut open: Vec<(Rank, u64, SlotRef<'_>)> = Vec::new();
            for (id, slot) in self.slots.look_further(LOOKED_AT) {
                if let Some(rank) = rank(&slot) {
                    open.push((rank, id, slot));
                }
            }
            open.sort_unstable_by_key(|(rank, id, _)| (*rank, *id));
            let given_up = open.iter().take(GIVEN_UP).filter(|(_, id, slot)| self.evict(*id, slot)).count();
            if given_up > 0 && self.slots.bytes.has_room() {
                return;
            }
        }
    }

    /// Writes the span out as it is, if it is still there and nobody works on it right now.
    fn evict(&self, id: u64, slot: &SlotRef<'_>) -> bool {
        let is_written = self.slots.evict(id, slot, |slot| {
            let Some(mut body) = slot.try_lock() else { return false };
            // The slot may have changed hands since it was looked at.
            if slot.id.load(Acquire) != id || body.callsite.is_none() {
                return false;
            }
            body.marks |= marks::GIVEN_UP;
            self.finish_locked(slot, &mut body);
            true
        });
        if is_written {
            self.counters.open_spans_evicted.add(1);
        }
        is_written
    }
}

/// `None` if the span is no longer, or not yet, open, or somebody works on it right now.
fn rank(slot: &SlotRef<'_>) -> Option<Rank> {
    let body = slot.try_lock()?;
    body.callsite?;
    Some(Rank {
        is_running: body.polls.is_running(),
        has_children: slot.children.load(Relaxed) > 0,
        start: body.start,
    })
}
