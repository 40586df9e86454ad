//! What calls of models cost: a table of prices and the rules that apply it.
//!
//! The table that comes with longpole is that of [genai-prices](https://github.com/pydantic/genai-prices), and the
//! rules are its own: who was called is told by the call, by the address of the API or by the model's name, in that
//! order; the first model that matches the name counts; prices are those at the time of the call; of a model's
//! conditional prices the last that holds counts; a tier applies to all of a call that has more input tokens than its
//! start. Amounts are computed exactly and rounded once, half up, to 10⁻¹² USD.
//!
//! Names and files come from outside, so the code never indexes and never unwraps.

#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

mod cache;
mod charge;
mod conditions;
mod decimal;
mod embedded;
mod format;
mod load;
mod lookup;
mod matching;
mod response;
mod units;
mod unpriced;
mod usage;

use std::fmt;
use std::sync::Arc;

use crate::money::CostParts;
use crate::time::Timestamp;

pub use load::PriceTableError;
pub use response::ReadUsageError;
pub use units::Unit;
pub use unpriced::Unpriced;
pub use usage::Usage;

use cache::LookupCache;
use charge::{Counts, Rate, charge, gap};
use load::Loaded;
use lookup::{Asked, Found, MAX_NAME, Model, Provider, find, provider_of};

/// A table of prices; cheap to clone.
#[derive(Clone)]
pub struct PriceTable {
    shared: Arc<Shared>,
}

struct Shared {
    label: Arc<str>,
    /// Of the text it was read from.
    digest: u64,
    providers: Vec<Provider>,
    /// What it does not have is looked for in the table that comes with longpole.
    extends_embedded: bool,
    cache: LookupCache,
}

/// Who sells a model of this name, by the table that comes with longpole; see [`PriceTable::provider_of_model`].
///
/// ```
/// use longpole::prices::provider_of_model;
///
/// assert_eq!(provider_of_model("claude-sonnet-4-5"), Some("anthropic"));
/// assert_eq!(provider_of_model("gpt-4o-mini"), Some("openai"));
/// assert_eq!(provider_of_model("our-own"), None);
/// ```
pub fn provider_of_model(model: &str) -> Option<&'static str> {
    PriceTable::embedded().provider_of_model(model).map(|provider| &**provider)
}

/// A call of a model, as far as its price depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who was called, in the words of the table, of OpenTelemetry or of a library.
    pub provider: Option<&'a str>,
    /// The address of the API, where it is known; a host alone is enough. Only asked where `provider` is not told.
    pub api_url: Option<&'a str>,
    /// The model.
    pub model: &'a str,
    /// When.
    pub at: Timestamp,
    /// How it was called, as names and values: `processing` `batch`, `service_tier` `flex`, `speed` `fast`. What the
    /// table has no prices for changes nothing.
    pub context: &'a [(&'a str, &'a str)],
    /// What it used. Counts are inclusive: input has cached tokens in it.
    pub usage: &'a Usage,
}

/// What a call cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The table's id of the provider.
    pub provider: Arc<str>,
    /// The table's id of the model.
    pub model: Arc<str>,
    /// How much, and for what.
    pub cost: CostParts,
    /// What was used and has no price in the table, so that it is not in `cost`: searches of a model that has a price
    /// of tokens only. Mostly empty.
    pub without_price: Vec<Unit>,
}

impl PriceTable {
    /// The table that comes with longpole. Read when first asked for, in a few milliseconds.
    ///
    /// Aggregators (OpenRouter, Hugging Face's router) are in it with the feature `aggregator-prices` only.
    pub fn embedded() -> &'static PriceTable {
        embedded::table()
    }

    /// Reads a table: the JSON that genai-prices publishes (a list of providers, version 2, slim or whole), or an
    /// object with `name`, `version`, `date` and that list as `providers`. With `"extends_embedded": true` what it does
    /// not have is looked for in the table that comes with longpole. `docs/prices.md` has the format.
    ///
    /// Its label is made of the header; without one it is `price table` and a digest of the text.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, with its place: no JSON, unknown fields, types and prices that cannot be, ids that
    /// are told twice, patterns that do not compile, prices that would leave a count free or charge it twice.
    pub fn from_json(text: &str) -> Result<PriceTable, PriceTableError> {
        PriceTable::from_json_named(text, "price table")
    }

    /// As [`from_json`](PriceTable::from_json), with a name for the label where the text has no header, mostly the
    /// file's.
    ///
    /// # Errors
    ///
    /// As [`from_json`](PriceTable::from_json).
    pub fn from_json_named(text: &str, name: &str) -> Result<PriceTable, PriceTableError> {
        let loaded = load::load(text)?;
        load::check_patterns(&loaded.providers)?;
        Ok(PriceTable::new(loaded, name, digest(text.as_bytes(), EMPTY_DIGEST)))
    }

    fn new(loaded: Loaded, name: &str, digest: u64) -> PriceTable {
        let extends_embedded = loaded.header.as_ref().is_some_and(|header| header.extends_embedded);
        let mut label = match loaded.header {
            None => format!("{name} ({:08x})", digest >> 32),
            Some(header) => {
                let version = header.version.map(|version| format!(" {version}")).unwrap_or_default();
                let date = header.date.map(|date| format!(" ({date})")).unwrap_or_default();
                format!("{}{version}{date}", header.name)
            }
        };
        if extends_embedded {
            label = format!("{label} over {}", PriceTable::embedded().label());
        }
        let shared = Shared {
            label: label.into(),
            digest,
            providers: loaded.providers,
            extends_embedded,
            cache: LookupCache::default(),
        };
        PriceTable { shared: Arc::new(shared) }
    }

    /// Which table it is, as reports name it: its name, version and date.
    pub fn label(&self) -> &Arc<str> {
        &self.shared.label
    }

    /// All models: ids of the provider and the model, in the table's order.
    pub fn models(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let below = self.shared.extends_embedded.then(PriceTable::embedded);
        let providers = std::iter::once(self).chain(below).flat_map(|table| &table.shared.providers);
        providers.flat_map(|provider| provider.models.iter().map(move |model| (&provider.id, &model.id)))
    }

    /// Who sells a model of this name, where nothing but the name is known: the id of the first provider in the table
    /// whose models are named like it. `None` if none is. A guess for models that several providers serve: it is the
    /// one that made them.
    pub fn provider_of_model(&self, model: &str) -> Option<&Arc<str>> {
        let model = Some(model.trim()).filter(|model| model.len() <= MAX_NAME)?.to_lowercase();
        let place = provider_of(&self.shared.providers, &model)?;
        Some(&self.shared.providers.get(place)?.id)
    }

    /// What a call cost. The first time a name is asked for takes up to some hundred microseconds, then less than one.
    ///
    /// # Errors
    ///
    /// Why it has no price.
    pub fn price(&self, call: &Call<'_>) -> Result<Price, Unpriced> {
        let own = self.own_price(call);
        let is_unknown = matches!(own, Err(Unpriced::UnknownProvider | Unpriced::UnknownModel));
        if !self.shared.extends_embedded || !is_unknown {
            return own;
        }
        match PriceTable::embedded().own_price(call) {
            Err(Unpriced::UnknownProvider) => own,
            below => below,
        }
    }

    fn own_price(&self, call: &Call<'_>) -> Result<Price, Unpriced> {
        let model = call.model.trim();
        if model.is_empty() {
            return Err(Unpriced::ModelMissing);
        }
        let asked = Asked::new(call.provider, call.api_url, model).ok_or(Unpriced::UnknownModel)?;
        let providers = &self.shared.providers;
        let found = self.shared.cache.get(&asked, || find(providers, &asked))?;
        let (provider, model) = self.entries(found).ok_or(Unpriced::UnknownModel)?;
        if call.usage.is_empty() {
            return Err(Unpriced::UsageMissing);
        }
        // Prices for other ways to call are the owner's; they are not told for whoever serves its models.
        let context = if found.owner == found.provider { call.context } else { &[] };
        let (cost, without_price) = cost(model, call.at, context, call.usage)?;
        Ok(Price { provider: provider.id.clone(), model: model.id.clone(), cost, without_price })
    }

    fn entries(&self, found: Found) -> Option<(&Provider, &Model)> {
        let provider = self.shared.providers.get(found.provider)?;
        Some((provider, self.shared.providers.get(found.owner)?.models.get(found.model)?))
    }
}

fn cost(
    model: &Model,
    at: Timestamp,
    context: &[(&str, &str)],
    usage: &Usage,
) -> Result<(CostParts, Vec<Unit>), Unpriced> {
    let standard = model.rates(at).ok_or(Unpriced::NoPrice)?;
    let mut overrides: Vec<(Unit, &Rate)> = Vec::new();
    let variants = model.variants.iter().filter(|_| !context.is_empty());
    for variant in variants.filter(|variant| variant.applies(context, at)) {
        for (unit, rate) in variant.prices.rates.iter() {
            // The first one that tells a price counts.
            if overrides.iter().all(|(told, _)| *told != unit) {
                overrides.push((unit, rate));
            }
        }
    }
    let rates = standard.overridden(&overrides);
    let priced = rates.iter().map(|(unit, _)| *unit).collect();
    if !overrides.is_empty() && gap(priced).is_some() {
        return Err(Unpriced::NoPrice);
    }

    let mut counts = Counts::of(usage);
    if model.least_seconds > 0 {
        let told = counts.get(Unit::AUDIO_SECONDS).filter(|seconds| *seconds > 0);
        if let Some(seconds) = told.or(counts.get(Unit::INPUT_AUDIO_SECONDS)) {
            let billed = if seconds > 0 { seconds.max(model.least_seconds) } else { 0 };
            counts.set(Unit::AUDIO_SECONDS, billed);
            counts.set(Unit::INPUT_AUDIO_SECONDS, billed);
        }
    }
    // A record without any price is how tables say that a model is free.
    let is_left_out = |unit: &Unit| unit.wholes().intersection(priced).is_empty() && !rates.is_empty();
    let used = counts.used();
    let without_price: Vec<Unit> = used.iter().filter(is_left_out).collect();
    if !without_price.is_empty()
        && without_price.len() == used.iter().count()
        && !priced.contains(Unit::REQUESTS)
    {
        return Err(Unpriced::NoPrice);
    }
    Ok((charge(&rates, &counts)?, without_price))
}

const EMPTY_DIGEST: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: tells tables apart, not forgeries.
fn digest(bytes: &[u8], start: u64) -> u64 {
    bytes.iter().fold(start, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl PartialEq for PriceTable {
    /// Whether both were read from the same text under the same name.
    fn eq(&self, other: &Self) -> bool {
        let (own, others) = (&self.shared, &other.shared);
        Arc::ptr_eq(own, others) || (own.digest == others.digest && own.label == others.label)
    }
}

impl fmt::Debug for PriceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PriceTable({})", self.label())
    }
}
