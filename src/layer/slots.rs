//! Finding the state of an open span by the registry's id, without touching the registry.
//!
//! A registry's id holds the number of the creating thread and an address that is used again as soon as it is free,
//! so the address is a dense index and the slot it names is warm in the cache. All this is only a hint: the whole
//! id, kept in the slot, decides. An id whose slot is taken, or would not fit into half of the memory there is, goes
//! into a map beside, which is empty in practice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::open_bytes::OpenBytes;
use super::open_span::Slot;
use super::overflow::{ENTRY_BYTES, Overflow};

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
    /// Where nearly every open span is: the low bits of thread and address say where. A power of two, or none.
    near: Box<[Slot]>,
    /// Which bits say where.
    near_mask: u64,
    threads: Box<[OnceLock<Box<ThreadSlots>>]>,
    /// Slots made so far.
    made: AtomicUsize,
    max_open: usize,
    overflow: Overflow,
    pub(super) bytes: OpenBytes,
    /// Where the search for spans to give up goes on.
    hand: Mutex<Hand>,
}

/// The slots for spans that one thread creates.
#[derive(Debug)]
struct ThreadSlots {
    first: [Slot; FIRST as usize],
    segments: [OnceLock<Box<[Slot]>>; SEGMENTS],
}

/// A place among the slots of all threads.
#[derive(Clone, Copy, Debug, Default)]
struct Hand {
    /// The first stands for the slots near.
    thread: usize,
    address: u64,
}

/// No slot was given: too many spans are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyOpen;

/// A slot somebody looks at who may be anyone: in place, or in the map.
#[derive(Clone, Debug)]
pub(crate) enum SlotRef<'a> {
    Fixed(&'a Slot),
    Overflowed(Arc<Slot>),
}

impl std::ops::Deref for SlotRef<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        match self {
            SlotRef::Fixed(slot) => slot,
            SlotRef::Overflowed(slot) => slot,
        }
    }
}

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
        ThreadSlots {
            first: std::array::from_fn(|_| Slot::default()),
            segments: [const { OnceLock::new() }; SEGMENTS],
        }
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

/// How many slots there are from the start, where spans are left in so many shards: 32 for each, at most 160 KiB, and
/// few if few spans may be open.
pub(crate) fn near_for(shards: usize, max_open: usize) -> usize {
    let wanted = shards.next_power_of_two().saturating_mul(32).min(512);
    match max_open / 64 {
        0 => 0,
        most => wanted.min(1usize.wrapping_shl(most.ilog2())),
    }
}

fn make_slots(count: usize) -> Box<[Slot]> {
    (0..count).map(|_| Slot::default()).collect()
}

impl Slots {
    /// Slots for at most `max_open` spans at once that hold at most `max_bytes` together, whichever comes first. There
    /// are `near` for all threads from the start; a span that finds its own taken has one among those of its thread,
    /// which come by segments, as long as they leave room for those that need the map.
    pub(crate) fn new(max_open: usize, max_bytes: usize, near: usize) -> Self {
        let bytes = OpenBytes::new(max_bytes);
        bytes.take_anyway(near.saturating_mul(size_of::<Slot>()));
        Slots {
            near: make_slots(near),
            near_mask: near.saturating_sub(1) as u64,
            threads: (0..MAX_THREADS).map(|_| OnceLock::new()).collect(),
            made: AtomicUsize::new(near),
            max_open,
            overflow: Overflow::default(),
            bytes,
            hand: Mutex::default(),
        }
    }

    /// Runs `f` with the slot of span `id`, if that has one.
    #[inline]
    pub(crate) fn with<R>(&self, id: u64, f: impl FnOnce(&Slot) -> R) -> Option<R> {
        match self.fixed(id) {
            Some(slot) => Some(f(slot)),
            None => self.with_overflowed(id, f),
        }
    }

    /// The slot of span `id`, unless that is in the map. For callbacks, which run what they do with it in place.
    #[inline(always)]
    pub(crate) fn fixed(&self, id: u64) -> Option<&Slot> {
        match self.near(id) {
            Some(slot) if slot.id.load(Ordering::Acquire) == id => Some(slot),
            _ => self.far(id),
        }
    }

    #[inline(always)]
    fn near(&self, id: u64) -> Option<&Slot> {
        // Threads begin 32 apart.
        let index = (id ^ id >> ADDRESS_BITS.wrapping_sub(5)) & self.near_mask;
        self.near.get(index as usize)
    }

    #[inline(never)]
    fn far(&self, id: u64) -> Option<&Slot> {
        self.hinted(id).filter(|slot| slot.id.load(Ordering::Acquire) == id)
    }

    /// Runs `f` with the slot of span `id`, if that is in the map.
    #[cold]
    #[inline(never)]
    pub(crate) fn with_overflowed<R>(&self, id: u64, f: impl FnOnce(&Slot) -> R) -> Option<R> {
        self.overflow.get(id).map(|slot| f(&slot))
    }

    fn hinted(&self, id: u64) -> Option<&Slot> {
        let (thread, address) = unpack(id);
        self.threads.get(thread)?.get()?.get(address)
    }

    /// Gives span `id` a slot and fills it with `begin`. `make_room` is called where there is none, to give up spans
    /// that were forgotten; then it is tried once more.
    #[inline]
    pub(crate) fn claim(
        &self,
        id: u64,
        make_room: impl FnOnce(),
        begin: impl FnOnce(&Slot),
    ) -> Result<(), TooManyOpen> {
        let overflowing;
        let slot = match self.near(id) {
            Some(slot) if slot.take(id) => slot,
            _ => match self.claim_far(id) {
                Some(slot) => slot,
                None => {
                    overflowing = self.claim_overflow(id, make_room)?;
                    &*overflowing
                }
            },
        };
        begin(slot);
        Ok(())
    }

    /// Gives span `id` the slot of its thread that its id names, if there is one that is free.
    #[inline(never)]
    fn claim_far(&self, id: u64) -> Option<&Slot> {
        let slot = match self.hinted(id) {
            Some(slot) => slot,
            None => self.make(id)?,
        };
        slot.take(id).then_some(slot)
    }

    /// The slot an id names, made if there is room; `None` if not, or if an id can name no such slot.
    #[cold]
    fn make(&self, id: u64) -> Option<&Slot> {
        let (thread, address) = unpack(id);
        let cell = self.threads.get(thread)?;
        let thread = match cell.get() {
            Some(thread) => thread,
            None => {
                // More threads than this get none, so that those with many open spans leave them some.
                self.reserve(FIRST as usize, self.bytes.share(3))?;
                cell.get_or_init(|| Box::new(ThreadSlots::new()))
            }
        };
        if address < FIRST {
            return thread.get(address);
        }
        let (segment, index) = place_in_segments(address);
        let cell = thread.segments.get(segment)?;
        if cell.get().is_none() {
            let count = (FIRST as usize).checked_shl(segment as u32)?;
            self.reserve(count, self.bytes.share(2))?;
            // Only the thread whose number is in the id creates spans with it.
            return cell.get_or_init(|| make_slots(count)).get(index);
        }
        cell.get()?.get(index)
    }

    /// Takes `count` slots into account if all slots stay within `max_bytes`.
    fn reserve(&self, count: usize, max_bytes: usize) -> Option<()> {
        let made = self.made.load(Ordering::Relaxed).saturating_add(count);
        let bytes = made.saturating_mul(size_of::<Slot>());
        if made > self.max_open
            || bytes > max_bytes
            || !self.bytes.take(count.saturating_mul(size_of::<Slot>()))
        {
            return None;
        }
        self.made.fetch_add(count, Ordering::Relaxed);
        Some(())
    }

    #[cold]
    fn claim_overflow(&self, id: u64, make_room: impl FnOnce()) -> Result<Arc<Slot>, TooManyOpen> {
        let claim = || self.overflow.claim(id, self.room_in_map(), &self.bytes);
        if let Some(slot) = claim() {
            return Ok(slot);
        }
        make_room();
        claim().ok_or(TooManyOpen)
    }

    /// How many spans may be in the map: what the slots leave, and always some, since slots may be taken for ever.
    fn room_in_map(&self) -> usize {
        let made = self.made.load(Ordering::Relaxed);
        self.max_open.saturating_sub(made).max(self.max_open / 4)
    }

    /// Takes the slot of the closed span `id` back, after `end` has seen it.
    #[inline]
    pub(crate) fn release(&self, id: u64, end: impl FnOnce(&Slot)) {
        match self.fixed(id) {
            Some(slot) => {
                end(slot);
                slot.id.store(0, Ordering::Release);
            }
            None => self.release_overflowed(id, end),
        }
    }

    #[cold]
    #[inline(never)]
    fn release_overflowed(&self, id: u64, end: impl FnOnce(&Slot)) {
        let Some(slot) = self.overflow.remove(id) else { return };
        end(&slot);
        slot.id.store(0, Ordering::Release);
        self.settle_overflowed(&slot);
    }

    /// Gives back what a slot took that is no longer in the map.
    #[cold]
    fn settle_overflowed(&self, slot: &Slot) {
        self.bytes.give_back(ENTRY_BYTES);
        slot.lock().give_back(&self.bytes);
    }

    /// How many spans are open. Looks at every slot.
    pub(crate) fn open_count(&self) -> u64 {
        let taken = self.fixed_slots().filter(|slot| slot.id.load(Ordering::Relaxed) != 0).count() as u64;
        taken.saturating_add(self.overflow.len())
    }

    /// Runs `f` with the slot of every span that is open. Spans that open or close meanwhile may be seen or not.
    pub(crate) fn for_each_open(&self, mut f: impl FnMut(&Slot)) {
        for slot in self.fixed_slots().filter(|slot| slot.id.load(Ordering::Acquire) != 0) {
            f(slot);
        }
        self.overflow.all().iter().for_each(|slot| f(slot));
    }

    fn fixed_slots(&self) -> impl Iterator<Item = &Slot> {
        let threads = self.threads.iter().filter_map(OnceLock::get);
        let far = threads.flat_map(|thread| {
            let later = thread.segments.iter().filter_map(OnceLock::get).flat_map(|slots| slots.iter());
            thread.first.iter().chain(later)
        });
        self.near.iter().chain(far)
    }

    /// Up to about `count` spans that are open, with their ids, other ones at each call until all were given; those
    /// opened early come first. Slots that are free give their buffers back on the way.
    pub(super) fn look_further(&self, count: usize) -> Vec<(u64, SlotRef<'_>)> {
        let is_map_full = self.overflow.len() >= self.room_in_map() as u64;
        let from_map = self.overflow.rotate(if is_map_full { count } else { count / 2 });
        let mut found: Vec<(u64, SlotRef<'_>)> =
            from_map.into_iter().map(|(id, slot)| (id, SlotRef::Overflowed(slot))).collect();
        if is_map_full {
            return found;
        }
        let mut hand = self.hand.lock();
        for _ in 0..count.saturating_mul(8) {
            if found.len() >= count {
                break;
            }
            let Some(slot) = self.advance(&mut hand) else { break };
            match slot.id.load(Ordering::Acquire) {
                0 => {
                    if let Some(mut body) = slot.try_lock() {
                        body.give_back_if_free(&self.bytes);
                    }
                }
                id => found.push((id, SlotRef::Fixed(slot))),
            }
        }
        found
    }

    /// The slot at the hand, which goes on to the next; `None` if it went past the last one.
    fn advance(&self, hand: &mut Hand) -> Option<&Slot> {
        // Those near come first.
        while hand.thread <= self.threads.len() {
            let slot = match hand.thread.checked_sub(1) {
                None => self.near.get(hand.address as usize),
                Some(thread) => {
                    self.threads.get(thread).and_then(OnceLock::get).and_then(|slots| slots.get(hand.address))
                }
            };
            if let Some(slot) = slot {
                hand.address = hand.address.saturating_add(1);
                return Some(slot);
            }
            *hand = Hand { thread: hand.thread.saturating_add(1), address: 0 };
        }
        *hand = Hand::default();
        None
    }

    /// Gives up the slot of span `id` once `end` has seen it; only if that says so. Its close will find nothing.
    pub(super) fn evict(&self, id: u64, slot: &SlotRef<'_>, end: impl FnOnce(&Slot) -> bool) -> bool {
        if !end(slot) {
            return false;
        }
        match slot {
            SlotRef::Fixed(slot) => {
                if let Some(mut body) = slot.try_lock() {
                    body.give_back_if_free(&self.bytes);
                }
                // Its own close may have been faster, and the slot may be another span's already.
                let _ = slot.id.compare_exchange(id, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
            SlotRef::Overflowed(slot) => {
                // Whoever takes it out of the map settles.
                if self.overflow.remove(id).is_some() {
                    self.settle_overflowed(slot);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children_of(slots: &Slots, id: u64) -> Option<u32> {
        slots.with(id, |slot| slot.children.load(Ordering::Relaxed))
    }

    fn claim(slots: &Slots, id: u64, children: u32) -> Result<(), TooManyOpen> {
        slots.claim(id, || (), |slot| slot.children.store(children, Ordering::Relaxed))
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
        let slots = Slots::new(1000, 1 << 20, 0);
        let next_generation = (1 << 51) + 7;
        claim(&slots, 7, 1).unwrap();
        assert_eq!((children_of(&slots, 7), children_of(&slots, next_generation)), (Some(1), None));
        slots.release(next_generation, |_| panic!("not open"));
        slots.release(7, |_| ());
        claim(&slots, next_generation, 2).unwrap();
        assert_eq!((children_of(&slots, 7), children_of(&slots, next_generation)), (None, Some(2)));
        assert_eq!(slots.open_count(), 1);
    }

    /// Of two spans whose ids name the same of the near slots the later one has a slot of its thread, or is in the map.
    #[test]
    fn spans_that_would_share_a_near_slot_are_kept_apart() {
        let slots = Slots::new(1000, 1 << 20, 64);
        let of_thread = |thread: u64, address: u64| (thread << ADDRESS_BITS) + address + 1;
        let ids: Vec<u64> =
            (0..6).flat_map(|thread| (0..40).map(move |address| of_thread(thread, address))).collect();
        for (id, children) in ids.iter().zip(0..) {
            claim(&slots, *id, children).unwrap();
        }
        for (id, children) in ids.iter().zip(0..) {
            assert_eq!(children_of(&slots, *id), Some(children));
        }
        assert_eq!(slots.open_count(), 240);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..60 {
            seen.extend(slots.look_further(40).into_iter().map(|(id, _)| id));
        }
        assert!(seen.iter().eq(ids.iter().collect::<std::collections::BTreeSet<_>>()));
        for (done, id) in (1..).zip(&ids) {
            slots.release(*id, |_| ());
            assert_eq!((children_of(&slots, *id), slots.open_count()), (None, 240 - done));
        }
    }

    #[test]
    fn few_slots_are_made_where_few_spans_may_be_open() {
        assert_eq!([near_for(2, 100_000), near_for(64, 100_000), near_for(2, 1000)], [64, 512, 8]);
        assert_eq!(near_for(2, 63), 0);
    }

    #[test]
    fn an_id_whose_slot_is_taken_or_cannot_be_goes_into_the_map() {
        let slots = Slots::new(1000, 1 << 20, 0);
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
    fn past_the_limit_no_slot_is_given_before_one_is_released() {
        let slots = Slots::new(100, 1 << 20, 0);
        // The first 32, a segment of 32, and the map for those of a segment that would be too many.
        let given = (1..=200).filter(|id| claim(&slots, *id, 0).is_ok()).count();
        assert_eq!(given, 100);
        assert_eq!(claim(&slots, 150, 0), Err(TooManyOpen));
        slots.release(90, |_| ());
        assert_eq!(claim(&slots, 150, 7), Ok(()));
        assert_eq!((children_of(&slots, 150), slots.open_count()), (Some(7), 100));
    }

    #[test]
    fn slots_and_map_together_stay_within_the_bytes() {
        let bytes = 300 * size_of::<Slot>();
        let slots = Slots::new(100_000, bytes, 0);
        let given = (1..=2000).filter(|id| claim(&slots, *id, 0).is_ok()).count();
        assert!((200..300).contains(&given), "{given}");
        assert!(slots.bytes.used() <= bytes, "{}", slots.bytes.used());
        let before = slots.bytes.used();
        (1..=2000).for_each(|id| slots.release(id, |_| ()));
        assert_eq!(slots.open_count(), 0);
        assert_eq!(slots.bytes.used(), before - (given - 128) * ENTRY_BYTES, "the map gave all back");
    }

    #[test]
    fn many_threads_leave_room_for_the_map() {
        let slots = Slots::new(100_000, 1000 * size_of::<Slot>(), 0);
        let of_thread = |thread: u64| (thread << ADDRESS_BITS) + 1;
        let given = (0..4096).filter(|thread| claim(&slots, of_thread(*thread), 0).is_ok()).count();
        assert!(given > 100, "{given}");
        assert!(slots.made.load(Ordering::Relaxed) <= 750);
    }

    #[test]
    fn a_look_around_comes_by_every_open_span() {
        let slots = Slots::new(1000, 300 * size_of::<Slot>(), 0);
        let given: Vec<u64> = (1..=200).filter(|id| claim(&slots, *id, 0).is_ok()).collect();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            seen.extend(slots.look_further(40).into_iter().map(|(id, _)| id));
        }
        assert!(seen.into_iter().eq(given));
    }

    #[test]
    fn a_span_given_up_is_gone_and_its_close_finds_nothing() {
        let slots = Slots::new(1000, 300 * size_of::<Slot>(), 0);
        let given: Vec<u64> = (1..=200).filter(|id| claim(&slots, *id, 0).is_ok()).collect();
        while slots.open_count() > 0 {
            for (id, slot) in slots.look_further(64) {
                assert!(slots.evict(id, &slot, |_| true));
            }
        }
        given.iter().for_each(|id| slots.release(*id, |_| panic!("not open")));
        assert!(given.iter().all(|id| children_of(&slots, *id).is_none()));
        assert_eq!(slots.bytes.used(), slots.made.load(Ordering::Relaxed) * size_of::<Slot>());
    }
}
