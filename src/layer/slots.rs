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
/// A thread's first slots come at once; then follow segments of as many, twice as many, and so on.
const FIRST: u64 = 32;
/// Segments after the first.
const SEGMENTS: usize = 19;

/// The slots of one layer.
#[derive(Debug)]
pub(crate) struct Slots {
    threads: Box<[OnceLock<Box<ThreadSlots>>]>,
    /// Slots made so far.
    made: AtomicUsize,
    max_open: usize,
    overflow: Mutex<HashMap<u64, Arc<Slot>>>,
    /// Entries of `overflow`: while it is zero, nobody locks that.
    overflowing: AtomicU64,
}

/// The slots for spans that one thread creates.
#[derive(Debug)]
struct ThreadSlots {
    first: Box<[Slot]>,
    segments: [OnceLock<Box<[Slot]>>; SEGMENTS],
}

/// No slot was given: too many spans are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyOpen;

const fn low_bits(count: u32) -> u64 {
    !(u64::MAX << count)
}

/// The creating thread's number and the address in an id.
#[inline]
fn unpack(id: u64) -> (usize, u64) {
    let packed = id.wrapping_sub(1);
    ((packed >> ADDRESS_BITS & low_bits(THREAD_BITS)) as usize, packed & low_bits(ADDRESS_BITS))
}

/// Where a slot past the first ones is: in which segment, at which index.
fn place_in_segments(address: u64) -> (usize, usize) {
    // Segment k begins at address 32 * 2^k and has as many slots.
    let segment = (address / FIRST).max(1).ilog2();
    (segment as usize, address.saturating_sub(FIRST.wrapping_shl(segment)) as usize)
}

impl ThreadSlots {
    fn new() -> Self {
        ThreadSlots { first: make_slots(FIRST as usize), segments: [const { OnceLock::new() }; SEGMENTS] }
    }

    #[inline]
    fn get(&self, address: u64) -> Option<&Slot> {
        match self.first.get(address as usize) {
            None => self.get_in_segments(address),
            slot => slot,
        }
    }

    fn get_in_segments(&self, address: u64) -> Option<&Slot> {
        let (segment, index) = place_in_segments(address);
        self.segments.get(segment)?.get()?.get(index)
    }
}

fn make_slots(count: usize) -> Box<[Slot]> {
    (0..count).map(|_| Slot::default()).collect()
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
        let overflowed;
        // One call of `f`, so that it is inlined: this runs in every callback.
        let slot = match self.hinted(id) {
            Some(slot) if slot.id.load(Ordering::Acquire) == id => slot,
            _ => {
                overflowed = self.overflowed(id)?;
                &*overflowed
            }
        };
        Some(f(slot))
    }

    #[inline]
    fn hinted(&self, id: u64) -> Option<&Slot> {
        let (thread, address) = unpack(id);
        self.threads.get(thread)?.get()?.get(address)
    }

    #[cold]
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
        let overflowing;
        let slot = match slot {
            Some(slot) if slot.id.compare_exchange(0, id, Ordering::AcqRel, Ordering::Relaxed).is_ok() => {
                slot
            }
            _ => {
                overflowing = self.claim_overflow(id)?;
                &*overflowing
            }
        };
        begin(slot);
        Ok(())
    }

    /// The slot an id names, made if need be; `None` if an id can name no such slot.
    #[cold]
    fn make(&self, id: u64) -> Result<Option<&Slot>, TooManyOpen> {
        let (thread, address) = unpack(id);
        let Some(thread) = self.threads.get(thread) else { return Ok(None) };
        let thread = thread.get_or_init(|| {
            self.made.fetch_add(FIRST as usize, Ordering::Relaxed);
            Box::new(ThreadSlots::new())
        });
        if address < FIRST {
            return Ok(thread.get(address));
        }
        let (segment, index) = place_in_segments(address);
        let Some(cell) = thread.segments.get(segment) else { return Ok(None) };
        if self.made.load(Ordering::Relaxed) >= self.max_open {
            return Err(TooManyOpen);
        }
        let slots = cell.get_or_init(|| {
            let count = (FIRST as usize) << segment;
            self.made.fetch_add(count, Ordering::Relaxed);
            make_slots(count)
        });
        Ok(slots.get(index))
    }

    #[cold]
    fn claim_overflow(&self, id: u64) -> Result<Arc<Slot>, TooManyOpen> {
        let slot = Arc::new(Slot::default());
        slot.id.store(id, Ordering::Relaxed);
        let mut overflow = self.lock_overflow();
        if overflow.len() >= self.max_open {
            return Err(TooManyOpen);
        }
        overflow.insert(id, slot.clone());
        self.overflowing.store(overflow.len() as u64, Ordering::Release);
        Ok(slot)
    }

    /// Takes the slot of the closed span `id` back, after `end` has seen it.
    #[inline]
    pub(crate) fn release(&self, id: u64, end: impl FnOnce(&Slot)) {
        let overflowed;
        let slot = match self.hinted(id) {
            Some(slot) if slot.id.load(Ordering::Acquire) == id => slot,
            _ => {
                let Some(slot) = self.remove_overflowed(id) else { return };
                overflowed = slot;
                &*overflowed
            }
        };
        end(slot);
        slot.id.store(0, Ordering::Release);
    }

    #[cold]
    fn remove_overflowed(&self, id: u64) -> Option<Arc<Slot>> {
        if self.overflowing.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut overflow = self.lock_overflow();
        let slot = overflow.remove(&id);
        self.overflowing.store(overflow.len() as u64, Ordering::Release);
        slot
    }

    /// How many spans are open. Looks at every slot.
    pub(crate) fn open_count(&self) -> u64 {
        let taken = self.fixed_slots().filter(|slot| slot.id.load(Ordering::Relaxed) != 0).count() as u64;
        taken.saturating_add(self.overflowing.load(Ordering::Relaxed))
    }

    /// Runs `f` with the slot of every span that is open. Spans that open or close meanwhile may be seen or not.
    pub(crate) fn for_each_open(&self, mut f: impl FnMut(&Slot)) {
        for slot in self.fixed_slots().filter(|slot| slot.id.load(Ordering::Acquire) != 0) {
            f(slot);
        }
        if self.overflowing.load(Ordering::Acquire) > 0 {
            let overflowed: Vec<Arc<Slot>> = self.lock_overflow().values().cloned().collect();
            overflowed.iter().for_each(|slot| f(slot));
        }
    }

    fn fixed_slots(&self) -> impl Iterator<Item = &Slot> {
        let threads = self.threads.iter().filter_map(OnceLock::get);
        threads.flat_map(|thread| {
            let later = thread.segments.iter().filter_map(OnceLock::get).flat_map(|slots| slots.iter());
            thread.first.iter().chain(later)
        })
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
        for address in 32..5000 {
            if expected.1 == 32 << expected.0 {
                expected = (expected.0 + 1, 0);
            }
            assert_eq!(place_in_segments(address), expected, "{address}");
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
        // The first 32 and segments of 32 and 64: the last refused.
        let given = (1..=200).filter(|id| claim(&slots, *id, 0).is_ok()).count();
        assert_eq!(given, 64);
        assert_eq!(claim(&slots, 200, 0), Err(TooManyOpen));
        assert!(claim(&slots, (1 << 38) + 1, 0).is_ok(), "another thread has its first few");
    }
}
