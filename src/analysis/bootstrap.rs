//! Drawing from a sample again and again, to see how far its quantiles could have come out otherwise.

/// Random numbers that are the same for the same seed everywhere: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct SeededRandom(u64);

impl SeededRandom {
    /// A generator for `name`; different `stream`s of one name are independent. FNV-1a spreads the name.
    pub(super) fn new(name: &str, stream: u8) -> Self {
        let bytes = name.bytes().chain([0, stream]);
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        SeededRandom(hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Twice the median, as a whole number: the two middle values added up, at most `u64::MAX`. Zero for no values.
pub(super) fn doubled_median(sorted: &[u64]) -> u64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    at(sorted.len().saturating_sub(1) / 2).saturating_add(at(sorted.len() / 2))
}

/// The index, in a sorted sample of `count`, of the nearest-rank quantile given in thousandths.
pub(super) fn quantile_index(count: usize, per_mille: usize) -> usize {
    count.saturating_mul(per_mille).div_ceil(1000).saturating_sub(1)
}

/// What the median and two quantiles were in each resample.
#[derive(Debug, Default)]
pub(super) struct Resampled {
    /// Twice the median.
    pub(super) doubled_medians: Vec<u64>,
    pub(super) p95: Vec<u64>,
    pub(super) p99: Vec<u64>,
}

/// Draws `resamples` samples of the same size with replacement. A resample is never sorted: how often each value
/// of the sorted sample was drawn tells which stands at a rank. O(`resamples` · n) time, O(n + `resamples`) memory.
pub(super) fn resample(sorted: &[u64], resamples: usize, mut random: SeededRandom) -> Resampled {
    let count = sorted.len();
    let Ok(bound) = u32::try_from(count) else { return Resampled::default() };
    let ranks =
        [count.saturating_sub(1) / 2, count / 2, quantile_index(count, 950), quantile_index(count, 990)];
    let mut drawn = vec![0u32; count];
    let mut told = Resampled::default();
    for _ in 0..resamples {
        drawn.fill(0);
        // The high half of a 32 × 32 bit product is below the bound, and nearly evenly so.
        let mut draw = |bits: u64| {
            let index = ((bits & u64::from(u32::MAX)) * u64::from(bound)) >> 32;
            if let Some(times) = drawn.get_mut(index as usize) {
                *times += 1;
            }
        };
        for _ in 0..count / 2 {
            let bits = random.next();
            draw(bits);
            draw(bits >> 32);
        }
        if count % 2 == 1 {
            draw(random.next());
        }
        let [lower, upper, p95, p99] = at_ranks(sorted, &drawn, ranks);
        told.doubled_medians.push(lower.saturating_add(upper));
        told.p95.push(p95);
        told.p99.push(p99);
    }
    told
}

/// The values at ascending 0-based `ranks` of the sample in which each of `sorted` stands as often as `drawn` says.
fn at_ranks(sorted: &[u64], drawn: &[u32], ranks: [usize; 4]) -> [u64; 4] {
    let mut found = [0; 4];
    let mut wanted = ranks.iter().zip(&mut found).peekable();
    let mut seen = 0usize;
    for (value, times) in sorted.iter().zip(drawn) {
        seen += *times as usize;
        while let Some((_, place)) = wanted.next_if(|(rank, _)| **rank < seen) {
            *place = *value;
        }
        if wanted.peek().is_none() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_same_everywhere() {
        let mut random = SeededRandom(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423],
            "the reference implementation's first numbers for this seed"
        );
        assert_ne!(SeededRandom::new("fetch", 0).next(), SeededRandom::new("fetch", 1).next());
    }

    #[test]
    fn ranks_are_read_from_counts() {
        // Drawn: 10 10 10 30 40 40.
        assert_eq!(at_ranks(&[10, 20, 30, 40], &[3, 0, 1, 2], [2, 3, 4, 5]), [10, 30, 40, 40]);
        assert_eq!(doubled_median(&[1, 2, 4, 9]), 6);
        assert_eq!(doubled_median(&[1, 2, 9]), 4);
        assert_eq!(doubled_median(&[]), 0);
        assert_eq!(quantile_index(100, 950), 94);
        assert_eq!(quantile_index(1, 990), 0);
    }

    /// The median of three draws from {0, 1} is 1 with chance 1/2; of three from {0, 0, 1}, 7/27.
    #[test]
    fn medians_come_as_often_as_chance_says() {
        let ones = |sorted: &[u64]| {
            let told = resample(sorted, 20_000, SeededRandom::new("x", 0));
            told.doubled_medians.iter().filter(|median| **median == 2).count() as f64 / 20_000.0
        };
        assert!((ones(&[0, 0, 1]) - 7.0 / 27.0).abs() < 0.01);
        assert!((ones(&[0, 1, 1]) - 20.0 / 27.0).abs() < 0.01);
    }
}
