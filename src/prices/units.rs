//! What can be counted and billed, and which count is part of which.

#![allow(
    clippy::indexing_slicing,
    reason = "only `named`, `all` and sets make units, so each is below COUNT"
)]

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

/// Something that is counted and billed: input tokens, cached audio tokens, web searches.
///
/// Units form a lattice: input tokens have cached tokens in them, those have cached audio tokens in them. Counts are
/// inclusive, so a part is never larger than its whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit(u8);

/// How many units there are; they fit into the bits of one [`UnitSet`].
pub(super) const COUNT: usize = UNITS.len();

struct Definition {
    name: &'static str,
    price_key: &'static str,
    per: u64,
    qualities: u32,
}

const fn of(name: &'static str, price_key: &'static str, per: u64, qualities: u32) -> Definition {
    Definition { name, price_key, per, qualities }
}

// One bit for each quality. A unit that has all qualities of another is a part of it.
const TOKENS: u32 = 1;
const CHARACTERS: u32 = 1 << 1;
const MESSAGES: u32 = 1 << 2;
const DURATIONS: u32 = 1 << 3;
const PIXELS: u32 = 1 << 4;
const PAGES: u32 = 1 << 5;
const RERANKS: u32 = 1 << 6;
const TOOL_CALLS: u32 = 1 << 7;
const REQUESTS_MADE: u32 = 1 << 8;
const INPUT: u32 = 1 << 9;
const OUTPUT: u32 = 1 << 10;
const TEXT: u32 = 1 << 11;
const AUDIO: u32 = 1 << 12;
const IMAGE: u32 = 1 << 13;
const VIDEO: u32 = 1 << 14;
const CACHE_READ: u32 = 1 << 15;
const CACHE_WRITE: u32 = 1 << 16;
const TOOL: u32 = 1 << 17;
const REASONING: u32 = 1 << 18;
const CITATION: u32 = 1 << 19;
const ANNOTATED: u32 = 1 << 20;
const WEB_SEARCH: u32 = 1 << 21;
const SOCIAL_SEARCH: u32 = 1 << 22;
const STORAGE_SEARCH: u32 = 1 << 23;
const CODE_EXECUTION: u32 = 1 << 24;
const TTL_5M: u32 = 1 << 25;
const TTL_1H: u32 = 1 << 26;

/// Qualities that exclude each other: nothing is text and audio.
const EXCLUSIVE: [u32; 6] = [
    TOKENS | CHARACTERS | MESSAGES | DURATIONS | PIXELS | PAGES | RERANKS | TOOL_CALLS | REQUESTS_MADE,
    INPUT | OUTPUT,
    TEXT | AUDIO | IMAGE | VIDEO,
    CACHE_READ | CACHE_WRITE | TOOL | REASONING | CITATION,
    WEB_SEARCH | SOCIAL_SEARCH | STORAGE_SEARCH | CODE_EXECUTION,
    TTL_5M | TTL_1H,
];

const THOUSAND: u64 = 1_000;
const HOUR: u64 = 3_600;
const MILLION: u64 = 1_000_000;
const BILLION: u64 = 1_000_000_000;

/// The units of genai-prices, as `prices/units.json` has them: name of the count, key of the price, of how many the
/// price is, qualities.
#[rustfmt::skip]
static UNITS: [Definition; 59] = [
    of("input_tokens", "input_mtok", MILLION, TOKENS | INPUT),
    of("output_tokens", "output_mtok", MILLION, TOKENS | OUTPUT),
    of("cache_read_tokens", "cache_read_mtok", MILLION, TOKENS | INPUT | CACHE_READ),
    of("cache_write_tokens", "cache_write_mtok", MILLION, TOKENS | INPUT | CACHE_WRITE),
    of("cache_write_5m_tokens", "cache_write_5m_mtok", MILLION, TOKENS | INPUT | CACHE_WRITE | TTL_5M),
    of("cache_write_1h_tokens", "cache_write_1h_mtok", MILLION, TOKENS | INPUT | CACHE_WRITE | TTL_1H),
    of("input_text_tokens", "input_text_mtok", MILLION, TOKENS | INPUT | TEXT),
    of("output_text_tokens", "output_text_mtok", MILLION, TOKENS | OUTPUT | TEXT),
    of("cache_text_read_tokens", "cache_text_read_mtok", MILLION, TOKENS | INPUT | TEXT | CACHE_READ),
    of("cache_text_write_tokens", "cache_text_write_mtok", MILLION, TOKENS | INPUT | TEXT | CACHE_WRITE),
    of("cache_text_write_5m_tokens", "cache_text_write_5m_mtok", MILLION, TOKENS | INPUT | TEXT | CACHE_WRITE | TTL_5M),
    of("cache_text_write_1h_tokens", "cache_text_write_1h_mtok", MILLION, TOKENS | INPUT | TEXT | CACHE_WRITE | TTL_1H),
    of("input_audio_tokens", "input_audio_mtok", MILLION, TOKENS | INPUT | AUDIO),
    of("output_audio_tokens", "output_audio_mtok", MILLION, TOKENS | OUTPUT | AUDIO),
    of("cache_audio_read_tokens", "cache_audio_read_mtok", MILLION, TOKENS | INPUT | AUDIO | CACHE_READ),
    of("cache_audio_write_tokens", "cache_audio_write_mtok", MILLION, TOKENS | INPUT | AUDIO | CACHE_WRITE),
    of("cache_audio_write_5m_tokens", "cache_audio_write_5m_mtok", MILLION, TOKENS | INPUT | AUDIO | CACHE_WRITE | TTL_5M),
    of("cache_audio_write_1h_tokens", "cache_audio_write_1h_mtok", MILLION, TOKENS | INPUT | AUDIO | CACHE_WRITE | TTL_1H),
    of("input_image_tokens", "input_image_mtok", MILLION, TOKENS | INPUT | IMAGE),
    of("output_image_tokens", "output_image_mtok", MILLION, TOKENS | OUTPUT | IMAGE),
    of("cache_image_read_tokens", "cache_image_read_mtok", MILLION, TOKENS | INPUT | IMAGE | CACHE_READ),
    of("cache_image_write_tokens", "cache_image_write_mtok", MILLION, TOKENS | INPUT | IMAGE | CACHE_WRITE),
    of("cache_image_write_5m_tokens", "cache_image_write_5m_mtok", MILLION, TOKENS | INPUT | IMAGE | CACHE_WRITE | TTL_5M),
    of("cache_image_write_1h_tokens", "cache_image_write_1h_mtok", MILLION, TOKENS | INPUT | IMAGE | CACHE_WRITE | TTL_1H),
    of("input_video_tokens", "input_video_mtok", MILLION, TOKENS | INPUT | VIDEO),
    of("output_video_tokens", "output_video_mtok", MILLION, TOKENS | OUTPUT | VIDEO),
    of("cache_video_read_tokens", "cache_video_read_mtok", MILLION, TOKENS | INPUT | VIDEO | CACHE_READ),
    of("cache_video_write_tokens", "cache_video_write_mtok", MILLION, TOKENS | INPUT | VIDEO | CACHE_WRITE),
    of("cache_video_write_5m_tokens", "cache_video_write_5m_mtok", MILLION, TOKENS | INPUT | VIDEO | CACHE_WRITE | TTL_5M),
    of("cache_video_write_1h_tokens", "cache_video_write_1h_mtok", MILLION, TOKENS | INPUT | VIDEO | CACHE_WRITE | TTL_1H),
    of("input_tool_tokens", "input_tool_mtok", MILLION, TOKENS | INPUT | TOOL),
    of("input_text_tool_tokens", "input_text_tool_mtok", MILLION, TOKENS | INPUT | TEXT | TOOL),
    of("input_audio_tool_tokens", "input_audio_tool_mtok", MILLION, TOKENS | INPUT | AUDIO | TOOL),
    of("input_image_tool_tokens", "input_image_tool_mtok", MILLION, TOKENS | INPUT | IMAGE | TOOL),
    of("input_video_tool_tokens", "input_video_tool_mtok", MILLION, TOKENS | INPUT | VIDEO | TOOL),
    of("output_reasoning_tokens", "output_reasoning_mtok", MILLION, TOKENS | OUTPUT | REASONING),
    of("output_text_reasoning_tokens", "output_text_reasoning_mtok", MILLION, TOKENS | OUTPUT | TEXT | REASONING),
    of("output_audio_reasoning_tokens", "output_audio_reasoning_mtok", MILLION, TOKENS | OUTPUT | AUDIO | REASONING),
    of("output_image_reasoning_tokens", "output_image_reasoning_mtok", MILLION, TOKENS | OUTPUT | IMAGE | REASONING),
    of("output_video_reasoning_tokens", "output_video_reasoning_mtok", MILLION, TOKENS | OUTPUT | VIDEO | REASONING),
    of("output_citation_tokens", "output_citation_mtok", MILLION, TOKENS | OUTPUT | CITATION),
    of("output_text_citation_tokens", "output_text_citation_mtok", MILLION, TOKENS | OUTPUT | TEXT | CITATION),
    of("output_audio_citation_tokens", "output_audio_citation_mtok", MILLION, TOKENS | OUTPUT | AUDIO | CITATION),
    of("output_image_citation_tokens", "output_image_citation_mtok", MILLION, TOKENS | OUTPUT | IMAGE | CITATION),
    of("output_video_citation_tokens", "output_video_citation_mtok", MILLION, TOKENS | OUTPUT | VIDEO | CITATION),
    of("input_characters", "input_mchars", MILLION, CHARACTERS | INPUT),
    of("input_text_messages", "input_text_messages_kcount", THOUSAND, MESSAGES | INPUT | TEXT),
    of("audio_seconds", "audio_hours", HOUR, DURATIONS | AUDIO),
    of("input_audio_seconds", "input_audio_hours", HOUR, DURATIONS | INPUT | AUDIO),
    of("output_audio_seconds", "output_audio_hours", HOUR, DURATIONS | OUTPUT | AUDIO),
    of("input_pixels", "input_gpixels", BILLION, PIXELS | INPUT),
    of("input_document_pages", "input_document_kpages", THOUSAND, PAGES | INPUT),
    of("input_annotated_document_pages", "input_annotated_document_kpages", THOUSAND, PAGES | INPUT | ANNOTATED),
    of("rerank_searches", "rerank_searches_kcount", THOUSAND, RERANKS),
    of("web_searches", "web_searches_kcount", THOUSAND, TOOL_CALLS | WEB_SEARCH),
    of("social_searches", "social_searches_kcount", THOUSAND, TOOL_CALLS | SOCIAL_SEARCH),
    of("storage_searches", "storage_searches_kcount", THOUSAND, TOOL_CALLS | STORAGE_SEARCH),
    of("code_executions", "code_executions_kcount", THOUSAND, TOOL_CALLS | CODE_EXECUTION),
    of("requests", "requests_kcount", THOUSAND, REQUESTS_MADE),
];

impl Unit {
    /// Input tokens, cached ones included.
    pub const INPUT: Unit = Unit::named("input_tokens");
    /// Output tokens, reasoning ones included.
    pub const OUTPUT: Unit = Unit::named("output_tokens");
    /// Input tokens read from a cache.
    pub const CACHE_READ: Unit = Unit::named("cache_read_tokens");
    /// Input tokens written to a cache, however long it keeps them.
    pub const CACHE_WRITE: Unit = Unit::named("cache_write_tokens");
    /// Input tokens written to a cache that keeps them for five minutes.
    pub const CACHE_WRITE_5M: Unit = Unit::named("cache_write_5m_tokens");
    /// Input tokens written to a cache that keeps them for an hour.
    pub const CACHE_WRITE_1H: Unit = Unit::named("cache_write_1h_tokens");
    /// Input tokens that are text.
    pub const INPUT_TEXT: Unit = Unit::named("input_text_tokens");
    /// Input tokens that are sound.
    pub const INPUT_AUDIO: Unit = Unit::named("input_audio_tokens");
    /// Input tokens that are pictures.
    pub const INPUT_IMAGE: Unit = Unit::named("input_image_tokens");
    /// Input tokens that are moving pictures.
    pub const INPUT_VIDEO: Unit = Unit::named("input_video_tokens");
    /// Input tokens that are sound and were read from a cache.
    pub const CACHE_AUDIO_READ: Unit = Unit::named("cache_audio_read_tokens");
    /// Input tokens that are pictures and were read from a cache.
    pub const CACHE_IMAGE_READ: Unit = Unit::named("cache_image_read_tokens");
    /// Output tokens that are text.
    pub const OUTPUT_TEXT: Unit = Unit::named("output_text_tokens");
    /// Output tokens that are sound.
    pub const OUTPUT_AUDIO: Unit = Unit::named("output_audio_tokens");
    /// Output tokens that are pictures.
    pub const OUTPUT_IMAGE: Unit = Unit::named("output_image_tokens");
    /// Output tokens that are moving pictures.
    pub const OUTPUT_VIDEO: Unit = Unit::named("output_video_tokens");
    /// Output tokens a model thought with.
    pub const REASONING: Unit = Unit::named("output_reasoning_tokens");
    /// Seconds of sound.
    pub const AUDIO_SECONDS: Unit = Unit::named("audio_seconds");
    /// Seconds of sound that were given to the model.
    pub const INPUT_AUDIO_SECONDS: Unit = Unit::named("input_audio_seconds");
    /// Searches of the web.
    pub const WEB_SEARCHES: Unit = Unit::named("web_searches");
    /// Calls. Every call is charged as one, whatever is told.
    pub const REQUESTS: Unit = Unit::named("requests");

    /// The unit with this name; for constants, so that a wrong one does not compile.
    const fn named(name: &str) -> Unit {
        let mut index = 0;
        while index < COUNT {
            if is_same(UNITS[index].name, name) {
                return Unit(index as u8);
            }
            index += 1;
        }
        panic!("no unit has this name")
    }

    /// The unit of this name, such as `cache_write_1h_tokens`.
    pub fn from_name(name: &str) -> Option<Unit> {
        static BY_NAME: LazyLock<HashMap<&str, Unit>> =
            LazyLock::new(|| Unit::all().map(|unit| (unit.name(), unit)).collect());
        BY_NAME.get(name).copied()
    }

    /// The unit that `key` of a price table prices: `input_mtok` is the price of a million input tokens.
    pub(super) fn from_price_key(key: &str) -> Option<Unit> {
        static BY_KEY: LazyLock<HashMap<&str, Unit>> =
            LazyLock::new(|| Unit::all().map(|unit| (unit.price_key(), unit)).collect());
        BY_KEY.get(key).copied()
    }

    /// All units, in the order of the table.
    pub fn all() -> impl Iterator<Item = Unit> {
        (0..COUNT).map(|index| Unit(index as u8))
    }

    /// Its name in price tables and reports: `input_tokens`, `web_searches`.
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// The key of its price in a table: `input_mtok`, `web_searches_kcount`.
    pub fn price_key(self) -> &'static str {
        self.definition().price_key
    }

    /// Of how many its price is: a million tokens, a thousand searches, the seconds of an hour.
    pub(super) fn per(self) -> u64 {
        self.definition().per
    }

    /// Its place in arrays of [`COUNT`].
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Whether it is a part of `whole`, or the same.
    pub fn is_within(self, whole: Unit) -> bool {
        let qualities = whole.definition().qualities;
        self.definition().qualities & qualities == qualities
    }

    pub(super) fn is_token(self) -> bool {
        self.has(TOKENS)
    }

    pub(super) fn is_input(self) -> bool {
        self.has(INPUT)
    }

    pub(super) fn is_output(self) -> bool {
        self.has(OUTPUT)
    }

    pub(super) fn is_cache_read(self) -> bool {
        self.has(CACHE_READ)
    }

    pub(super) fn is_cache_write(self) -> bool {
        self.has(CACHE_WRITE)
    }

    fn has(self, quality: u32) -> bool {
        self.definition().qualities & quality != 0
    }

    /// Units it is a part of, itself included.
    pub(super) fn wholes(self) -> UnitSet {
        const WHOLES: [UnitSet; COUNT] = related(true);
        WHOLES[self.index()]
    }

    /// Units that are parts of it, itself included.
    pub(super) fn parts(self) -> UnitSet {
        const PARTS: [UnitSet; COUNT] = related(false);
        PARTS[self.index()]
    }

    /// How far down the lattice it is: all its wholes are further up.
    pub(super) fn depth(self) -> u32 {
        self.definition().qualities.count_ones()
    }

    /// What is counted in both at once: cached tokens and audio tokens have cached audio tokens in common. `None` if
    /// nothing can be both; `Some(None)` if there is no unit for it.
    pub(super) fn overlap(self, other: Unit) -> Option<Option<Unit>> {
        let (ours, theirs) = (self.definition().qualities, other.definition().qualities);
        let is_excluded = |kind: &u32| {
            let (ours, theirs) = (ours & kind, theirs & kind);
            ours != 0 && theirs != 0 && ours != theirs
        };
        if EXCLUSIVE.iter().any(is_excluded) {
            return None;
        }
        Some(Unit::all().find(|unit| unit.definition().qualities == ours | theirs))
    }

    fn definition(self) -> &'static Definition {
        &UNITS[self.index()]
    }
}

/// For each unit its wholes, or its parts.
const fn related(to_wholes: bool) -> [UnitSet; COUNT] {
    let mut sets = [UnitSet(0); COUNT];
    let mut part = 0;
    while part < COUNT {
        let mut whole = 0;
        while whole < COUNT {
            if UNITS[part].qualities & UNITS[whole].qualities == UNITS[whole].qualities {
                let (of, member) = if to_wholes { (part, whole) } else { (whole, part) };
                sets[of].0 |= 1 << member;
            }
            whole += 1;
        }
        part += 1;
    }
    sets
}

const fn is_same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of units, in the bits of an integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct UnitSet(u64);

const _: () = assert!(COUNT <= 64, "units fit into the bits of a UnitSet");

impl UnitSet {
    pub(super) fn insert(&mut self, unit: Unit) {
        self.0 |= 1 << unit.0;
    }

    pub(super) fn contains(self, unit: Unit) -> bool {
        self.0 & (1 << unit.0) != 0
    }

    pub(super) fn union(self, other: UnitSet) -> UnitSet {
        UnitSet(self.0 | other.0)
    }

    pub(super) fn intersection(self, other: UnitSet) -> UnitSet {
        UnitSet(self.0 & other.0)
    }

    pub(super) fn without(self, other: UnitSet) -> UnitSet {
        UnitSet(self.0 & !other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Unit> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (lowest < 64).then_some(Unit(lowest as u8))
        })
    }
}

impl FromIterator<Unit> for UnitSet {
    fn from_iter<I: IntoIterator<Item = Unit>>(units: I) -> Self {
        let mut set = UnitSet::default();
        units.into_iter().for_each(|unit| set.insert(unit));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The units of the package that the table is made of; `prices/refresh` writes the file.
    #[test]
    fn the_units_are_those_of_the_table() {
        let text = include_str!("../../prices/units.json");
        let told: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        let names: Vec<&str> = Unit::all().map(Unit::name).collect();
        assert_eq!(names.len(), told.len());
        let dimensions = |name: &str| told[name]["dimensions"].as_object().unwrap().clone();
        for unit in Unit::all() {
            let expected = told.get(unit.name()).unwrap_or_else(|| panic!("{unit} is not in units.json"));
            assert_eq!(expected["price_key"], unit.price_key());
            assert_eq!(expected["per"], unit.per());
            for other in Unit::all() {
                let (own, others) = (dimensions(unit.name()), dimensions(other.name()));
                let is_within = others.iter().all(|(key, value)| own.get(key) == Some(value));
                assert_eq!(unit.is_within(other), is_within, "{unit} in {other}");
                let is_compatible = own.iter().all(|(key, value)| others.get(key).is_none_or(|o| o == value));
                let mut both = own.clone();
                both.extend(others);
                let shared = Unit::all().find(|unit| dimensions(unit.name()) == both);
                assert_eq!(unit.overlap(other), is_compatible.then_some(shared), "{unit} and {other}");
            }
        }
    }

    #[test]
    fn units_are_found_by_their_names() {
        assert_eq!(Unit::from_name("cache_write_1h_tokens"), Some(Unit::CACHE_WRITE_1H));
        assert_eq!(Unit::from_price_key("web_searches_kcount"), Some(Unit::WEB_SEARCHES));
        assert_eq!(Unit::from_name("input_mtok"), None);
        assert!(Unit::CACHE_WRITE_1H.is_within(Unit::INPUT) && !Unit::INPUT.is_within(Unit::CACHE_READ));
        assert_eq!(Unit::CACHE_READ.overlap(Unit::INPUT_AUDIO), Some(Some(Unit::CACHE_AUDIO_READ)));
        assert_eq!(Unit::CACHE_READ.overlap(Unit::OUTPUT), None);
    }
}
