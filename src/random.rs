//! Random numbers, from a generator per thread: ids, and waits that are spread.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// A random number that is not zero, which OpenTelemetry calls an invalid id.
///
/// splitmix64 (Steele, Lea, Flood 2014), seeded from the standard library's random hash keys: ids must differ, not
/// be unpredictable.
#[inline]
pub(crate) fn random_id() -> u64 {
    let state = step();
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
}

/// The same with half of the mixing: for ids that only have to differ, from which nobody draws lots.
#[inline]
pub(crate) fn random_span_id() -> u64 {
    let state = step();
    let mixed = (state ^ (state >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ (mixed >> 32)).max(1)
}

#[inline(always)]
fn step() -> u64 {
    let state = STATE.try_with(Cell::get).unwrap_or(0);
    let state = if state == 0 { seed() } else { state }.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let _ = STATE.try_with(|cell| cell.set(state));
    state
}

/// A random number in 0–1.
#[cfg(feature = "otlp")]
pub(crate) fn random_share() -> f64 {
    (random_id() >> 11) as f64 / (1u64 << 53) as f64
}

#[cold]
fn seed() -> u64 {
    RandomState::new().hash_one(std::thread::current().id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_within_and_between_threads() {
        for id in [random_id, random_span_id] {
            let draw = move || (0..1000).map(|_| id()).collect::<Vec<_>>();
            let mut ids = draw();
            ids.extend(std::thread::spawn(draw).join().unwrap());
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 2000);
            assert!(!ids.contains(&0));
        }
    }
}
