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
    let state = STATE.try_with(Cell::get).unwrap_or(0);
    let state = if state == 0 { seed() } else { state }.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let _ = STATE.try_with(|cell| cell.set(state));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
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
        let draw = || (0..1000).map(|_| random_id()).collect::<Vec<_>>();
        let mut ids = draw();
        ids.extend(std::thread::spawn(draw).join().unwrap());
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2000);
        assert!(!ids.contains(&0));
    }
}
