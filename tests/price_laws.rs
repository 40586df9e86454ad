//! What holds of prices whatever a call used.

use std::sync::LazyLock;

use longpole::money::Money;
use longpole::prices::{Call, Price, PriceTable, Unit, Unpriced, Usage};
use longpole::time::Timestamp;
use proptest::prelude::*;

const TIER: u64 = 200_000;

/// Every part of a cost, in odd amounts, so that much is rounded.
static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
    let json = r#"[{"id": "a", "models": [
        {"id": "flat", "prices": {
            "input_mtok": 0.0416666666666667, "output_mtok": 1.0399999999999998, "cache_read_mtok": 0.003625,
            "cache_write_mtok": 0.0833333333333333, "cache_write_1h_mtok": 0.17, "input_audio_hours": 0.18,
            "audio_hours": 0.11}},
        {"id": "tiered", "prices": {
            "input_mtok": {"base": 1.25, "tiers": [{"start": 200000, "price": 2.5}]},
            "output_mtok": {"base": 10, "tiers": [{"start": 200000, "price": 15}]}}}]}]"#;
    PriceTable::from_json(json).unwrap()
});

fn price(model: &str, usage: &Usage) -> Result<Price, Unpriced> {
    let at = Timestamp::EPOCH;
    TABLE.price(&Call { provider: Some("a"), api_url: None, model, at, context: &[], usage })
}

fn total(model: &str, usage: &Usage) -> i128 {
    price(model, usage).unwrap().cost.total().as_picodollars()
}

/// Counts whose parts fit into their wholes.
fn usages(most: u64) -> impl Strategy<Value = Usage> {
    let counts = (0..most, 0..most, 0..most, 0..most, 0..most, 0..most, 0..most);
    counts.prop_map(|(rest, output, read, write, hour, seconds, heard)| {
        Usage::tokens(rest + read + write + hour, output)
            .with(Unit::CACHE_READ, read)
            .with(Unit::CACHE_WRITE, write + hour)
            .with(Unit::CACHE_WRITE_1H, hour)
            .with(Unit::AUDIO_SECONDS, seconds + heard)
            .with(Unit::INPUT_AUDIO_SECONDS, heard)
    })
}

fn sum(left: &Usage, right: &Usage) -> Usage {
    left.iter().map(|(unit, count)| (unit, count + right.get(unit).unwrap_or(0))).collect()
}

proptest! {
    /// One rounding for each call, of half a unit at most.
    #[test]
    fn a_call_split_in_two_costs_the_same_within_a_unit(left in usages(1 << 30), right in usages(1 << 30)) {
        let parts = total("flat", &left) + total("flat", &right);
        prop_assert!((total("flat", &sum(&left, &right)) - parts).abs() <= 1);
    }

    #[test]
    fn tokens_scale_linearly_within_half_a_unit_each(usage in usages(1 << 20), times in 1..1000u64) {
        let more: Usage = usage.iter().map(|(unit, count)| (unit, count * times)).collect();
        let times = i128::from(times);
        // Both are rounded, the first is then multiplied.
        let off = (total("flat", &more) - times * total("flat", &usage)).abs();
        prop_assert!(2 * off <= times + 1, "{off}");
    }

    #[test]
    fn parts_add_up_to_the_rounded_total(usage in usages(1 << 40)) {
        let cost = price("flat", &usage).unwrap().cost;
        let sum: Money = [cost.input, cost.output, cost.cache_read, cost.cache_write, cost.other].into_iter().sum();
        prop_assert_eq!(sum, cost.total());
        // The same in fractions of 10⁻¹⁶ dollars for a million, or of 36 for the seconds.
        let of = |unit: Unit| i128::from(usage.get(unit).unwrap());
        let write = of(Unit::CACHE_WRITE) - of(Unit::CACHE_WRITE_1H);
        let rest = of(Unit::INPUT) - of(Unit::CACHE_READ) - of(Unit::CACHE_WRITE);
        let tokens = rest * 416_666_666_666_667
            + of(Unit::OUTPUT) * 10_399_999_999_999_998
            + of(Unit::CACHE_READ) * 36_250_000_000_000
            + write * 833_333_333_333_333
            + of(Unit::CACHE_WRITE_1H) * 1_700_000_000_000_000;
        let heard = of(Unit::INPUT_AUDIO_SECONDS);
        let seconds = heard * 18 + (of(Unit::AUDIO_SECONDS) - heard) * 11;
        // Dollars: tokens / 10²² + seconds / 360,000; in units of 10⁻¹² those are tokens / 10¹⁰ + seconds · 10⁸ / 36.
        let (numerator, denominator) = (tokens * 9 + seconds * 25_000_000 * 10_000_000_000, 90_000_000_000);
        let rounded = (2 * numerator + denominator) / (2 * denominator);
        prop_assert_eq!(cost.total().as_picodollars(), rounded);
    }

    /// A price above the start of a tier holds for the whole call, output too.
    #[test]
    fn a_tier_is_a_cliff(input in 0..2 * TIER, output in 0..TIER) {
        let expected = if input > TIER { 2_500_000 * input + 15_000_000 * output } else { 1_250_000 * input + 10_000_000 * output };
        prop_assert_eq!(total("tiered", &Usage::tokens(input, output)), i128::from(expected));
    }

    #[test]
    fn a_part_larger_than_its_whole_has_no_price(usage in usages(1 << 30), more in 1..1_000u64) {
        let rest = usage.get(Unit::INPUT).unwrap() - usage.get(Unit::CACHE_WRITE).unwrap();
        let too_much = usage.clone().with(Unit::CACHE_READ, rest + more);
        prop_assert_eq!(price("flat", &too_much), Err(Unpriced::CountsContradict));
        let too_much = usage.clone().with(Unit::CACHE_WRITE, usage.get(Unit::CACHE_WRITE_1H).unwrap().wrapping_sub(1));
        if usage.get(Unit::CACHE_WRITE_1H) != Some(0) {
            prop_assert_eq!(price("flat", &too_much), Err(Unpriced::CountsContradict));
        }
    }

    /// Kinds without a price of their own stay in their whole.
    #[test]
    fn what_is_told_of_unpriced_kinds_changes_nothing(usage in usages(1 << 30), reasoning in 0..1_000u64) {
        prop_assume!(reasoning <= usage.get(Unit::OUTPUT).unwrap());
        let told = usage.clone().with(Unit::REASONING, reasoning).with(Unit::REQUESTS, 17);
        prop_assert_eq!(price("flat", &told).unwrap(), price("flat", &usage).unwrap());
    }

    #[test]
    fn no_counts_no_names_and_no_times_make_it_panic(
        counts in prop::collection::vec((0..59usize, any::<u64>()), 0..12),
        provider in prop::option::of("\\PC{0,12}|[a-z._]{1,12}|openai|google|groq"),
        api_url in prop::option::of("\\PC{0,30}|https://api\\.[a-z]{1,9}\\.com"),
        model in "\\PC{0,20}|gpt-[0-9a-z.-]{0,20}|whisper-large-v3",
        at in any::<u64>(),
    ) {
        let units: Vec<Unit> = Unit::all().collect();
        let usage: Usage = counts.into_iter().map(|(unit, count)| (units[unit], count)).collect();
        let context = [("processing", "batch")];
        let at = Timestamp::from_unix_nanos(at);
        let (provider, api_url) = (provider.as_deref(), api_url.as_deref());
        let call = Call { provider, api_url, model: &model, at, context: &context, usage: &usage };
        let priced = PriceTable::embedded().price(&call);
        prop_assert_eq!(PriceTable::embedded().price(&call), priced, "the second time too");
    }

    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,40}|[\\[{\"a-z:,0-9\\]} -]{0,60}") {
        let _ = PriceTable::from_json(&text);
    }
}
