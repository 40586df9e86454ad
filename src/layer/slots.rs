//! Finding the state of an open span by the registry's id, without touching the registry.
//!
//! A registry's id holds the number of the creating thread and an address that is used again as soon as it is free,
//! so the address is a dense index and the slot it names is warm in the cache. All this is only a hint: the whole
//! id, kept in the slot, decides. An id whose slot is taken goes into a map beside, which is empty in practice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::open_span::Slot;

/// `sharded_slab`'s layout of an id on 64-bit targets: 38 bits of address, 13 of thread, the generation above.
const ADDRESS_BITS: u32 = 38;
const THREAD_BITS: u32 = 13;
/// Threads the slab numbers at a time.
const MAX_THREADS: usize = 4096;
/// A thread's first segment holds so many slots, each next one twice as many.
const FIRST_SEGMENT: u64 = 32;
const SEGMENTS: usize = 20;

/// The slots of one layer.
#[derive(Debug)]
pub(crate) struct Slots {
    threads: Box<[OnceLock<Box<Segments>>]>,
    /// Slots made so far.
    made: AtomicUsize,
    max_open: usize,
    overflow: Mutex<HashMap<u64, Arc<Slot>>>,
    /// Entries of `overflow`: while it is zero, nobody locks that.
    overflowing: AtomicU64,
}

type Segments = [OnceLock<Box<[Slot]>>; SEGMENTS];

/// No slot was given: too many spans are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyOpen;

/// Where an id's slot is.
struct Place {
    thread: usize,
    segment: usize,
    index: usize,
}

#[inline]
fn place_of(id: u64) -> Place {
    let packed = id.wrapping_sub(1);
    let address = packed & low_bits(ADDRESS_BITS);
    let thread = packed >> ADDRESS_BITS & low_bits(THREAD_BITS);
    // Segment k begins at address 32 * 2^k - 32.
    let shifted = address.saturating_add(FIRST_SEGMENT);
    let segment = shifted.ilog2().saturating_sub(FIRST_SEGMENT.ilog2());
    let index = shifted.wrapping_sub(FIRST_SEGMENT << segment);
    Place { thread: thread as usize, segment: segment as usize, index: index as usize }
}

const fn low_bits(count: u32) -> u64 {
    !(u64::MAX << count)
}

impl Slots {
    /// Slots for about `max_open` spans at once. Each thread gets its first few in any case, and the last
    /// segment that is made may overshoot, so that up to twice as many may be open.
    pub(crate) fn new(max_open: usize) -> Self {
        Slots {
            threads: (0..MAX_THREADS).map(|_| OnceLock::new()).collect(),
            made: AtomicUsize::new(0),
            max_open,
            overflow: Mutex::default(),
            overflowing: AtomicU64::new(0),
        }
    }

    /// Runs `f` with the slot of span `id`, if that has one.
    #[inline]
    pub(crate) fn with<R>(&self, id: u64, f: impl FnOnce(&Slot) -> R) -> Option<R> {
        match self.hinted(id) {
            Some(slot) if slot.id.load(Ordering::Acquire) == id => Some(f(slot)),
            _ => self.overflowed(id).map(|slot| f(&slot)),
        }
    }

    #[inline]
    fn hinted(&self, id: u64) -> Option<&Slot> {
        let Place { thread, segment, index } = place_of(id);
        self.threads.get(thread)?.get()?.get(segment)?.get()?.get(index)
    }

    #[inline]
    fn overflowed(&self, id: u64) -> Option<Arc<Slot>> {
        if self.overflowing.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.lock_overflow().get(&id).cloned()
    }

    fn lock_overflow(&self) -> MutexGuard<'_, HashMap<u64, Arc<Slot>>> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives span `id` a slot and fills it with `begin`.
    #[inline]
    pub(crate) fn claim(&self, id: u64, begin: impl FnOnce(&Slot)) -> Result<(), TooManyOpen> {
        let slot = match self.hinted(id) {
            Some(slot) => Some(slot),
            None => self.make(id)?,
        };
        match slot {
            Some(slot) if slot.id.compare_exchange(0, id, Ordering::AcqRel, Ordering::Relaxed).is_ok() => {
                begin(slot);
                Ok(())
            }
            _ => self.claim_overflow(id, begin),
        }
    }

    /// The slot an id names, made if need be; `None` if an id can name no such slot.
    #[cold]
    fn make(&self, id: u64) -> Result<Option<&Slot>, TooManyOpen> {
        let Place { thread, segment, index } = place_of(id);
        let Some(thread) = self.threads.get(thread) else { return Ok(None) };
        let segments = thread.get_or_init(|| Box::new([const { OnceLock::new() }; SEGMENTS]));
        let Some(cell) = segments.get(segment) else { return Ok(None) };
        if segment > 0 && self.made.load(Ordering::Relaxed) >= self.max_open {
            return Err(TooManyOpen);
        }
        let slots = cell.get_or_init(|| {
            let count = (FIRST_SEGMENT as usize) << segment;
            self.made.fetch_add(count, Ordering::Relaxed);
            (0..count).map(|_| Slot::default()).collect()
        });
        Ok(slots.get(index))
    }

    #[cold]
    fn claim_overflow(&self, id: u64, begin: impl FnOnce(&Slot)) -> Result<(), TooManyOpen> {
        let slot = Arc::new(Slot::default());
        slot.id.store(id, Ordering::Relaxed);
        begin(&slot);
        let mut overflow = self.lock_overflow();
        if overflow.len() >= self.max_open {
            return Err(TooManyOpen);
        }
        overflow.insert(id, slot);
        self.overflowing.store(overflow.len() as u64, Ordering::Release);
        Ok(())
    }

    /// Takes the slot of the closed span `id` back, after `end` has seen it.
    #[inline]
    pub(crate) fn release(&self, id: u64, end: impl FnOnce(&Slot)) {
        match self.hinted(id) {
            Some(slot) if slot.id.load(Ordering::Acquire) == id => {
                end(slot);
                slot.id.store(0, Ordering::Release);
            }
            _ => self.release_overflow(id, end),
        }
    }

    #[inline]
    fn release_overflow(&self, id: u64, end: impl FnOnce(&Slot)) {
        let Some(slot) = self.overflowed(id) else { return };
        end(&slot);
        let mut overflow = self.lock_overflow();
        overflow.remove(&id);
        self.overflowing.store(overflow.len() as u64, Ordering::Release);
    }

    /// How many spans are open. Looks at every slot.
    pub(crate) fn open_count(&self) -> u64 {
        let segments = self.threads.iter().filter_map(OnceLock::get).flat_map(|segments| segments.iter());
        let slots = segments.filter_map(OnceLock::get).flat_map(|slots| slots.iter());
        let taken = slots.filter(|slot| slot.id.load(Ordering::Relaxed) != 0).count() as u64;
        taken.saturating_add(self.overflowing.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children_of(slots: &Slots, id: u64) -> Option<u32> {
        slots.with(id, |slot| slot.children.load(Ordering::Relaxed))
    }

    fn claim(slots: &Slots, id: u64, children: u32) -> Result<(), TooManyOpen> {
        slots.claim(id, |slot| slot.children.store(children, Ordering::Relaxed))
    }

    #[test]
    fn addresses_fill_segments_without_gaps() {
        let mut expected = (0, 0);
        for address in 0..5000 {
            let place = place_of(address + 1);
            if place.segment != expected.0 {
                assert_eq!(expected.1, 32 << expected.0);
                expected = (expected.0 + 1, 0);
            }
            assert_eq!((place.thread, place.segment, place.index), (0, expected.0, expected.1));
            expected.1 += 1;
        }
    }

    #[test]
    fn the_whole_id_decides_which_span_a_slot_belongs_to() {
        let slots = Slots::new(100);
        let next_generation = (1 << 51) + 7;
        claim(&slots, 7, 1).unwrap();
        assert_eq!((children_of(&slots, 7), children_of(&slots, next_generation)), (Some(1), None));
        slots.release(next_generation, |_| panic!("not open"));
        slots.release(7, |_| ());
        claim(&slots, next_generation, 2).unwrap();
        assert_eq!((children_of(&slots, 7), children_of(&slots, next_generation)), (None, Some(2)));
        assert_eq!(slots.open_count(), 1);
    }

    #[test]
    fn an_id_whose_slot_is_taken_or_cannot_be_goes_into_the_map() {
        let slots = Slots::new(100);
        let [a, b, far] = [7, (1 << 51) + 7, 1 << 37];
        for (id, children) in [(a, 1), (b, 2), (far, 3)] {
            claim(&slots, id, children).unwrap();
        }
        assert_eq!([a, b, far].map(|id| children_of(&slots, id)), [Some(1), Some(2), Some(3)]);
        assert_eq!(slots.open_count(), 3);
        slots.release(a, |_| ());
        assert_eq!([a, b].map(|id| children_of(&slots, id)), [None, Some(2)]);
        slots.release(b, |_| ());
        slots.release(far, |_| ());
        assert_eq!((slots.open_count(), children_of(&slots, b)), (0, None));
    }

    #[test]
    fn past_the_limit_no_slot_is_made() {
        let slots = Slots::new(50);
        // Segments of 32 and 64: the second overshoots, the third is refused.
        let given = (1..=200).filter(|id| claim(&slots, *id, 0).is_ok()).count();
        assert_eq!(given, 96);
        assert_eq!(claim(&slots, 200, 0), Err(TooManyOpen));
        assert!(claim(&slots, (1 << 38) + 1, 0).is_ok(), "another thread has its first few");
    }
}
