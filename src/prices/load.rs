//! Reading a price table from JSON, and refusing what is wrong with it, with its place.

use std::collections::HashSet;

use serde_path_to_error::{Path, Segment};

use super::charge::{Gap, Rates, gap};
use super::conditions::{Conditional, Variant};
use super::format::{Header, RawClause, RawFile, RawModel, RawProvider};
use super::lookup::{Model, Provider};
use super::matching::{Clause, Pattern};
use super::units::UnitSet;

/// Why a text is no price table. The message names the place: the path in the JSON, with the provider and model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PriceTableError {
    /// It is not JSON, has fields that are not known, values of a wrong type or prices that no price can be.
    #[error("{place}{reason}")]
    Format {
        /// Where; empty where the JSON itself ends or breaks.
        place: String,
        /// What is wrong, with line and column.
        reason: serde_json::Error,
    },
    /// A pattern is not a regular expression.
    #[error("{place}: {reason}")]
    Pattern {
        /// Where.
        place: String,
        /// What is wrong with the pattern.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An id stands for two providers, or for two models of one provider.
    #[error("{place}: there is another {id:?} before it")]
    Duplicate {
        /// Where the second one is.
        place: String,
        /// The id.
        id: String,
    },
    /// Something is told without what must be told with it.
    #[error("{place}: {what} is missing")]
    Missing {
        /// Where.
        place: String,
        /// What must be told.
        what: &'static str,
    },
    /// A provider is named that the table does not have.
    #[error("{place}: there is no provider {id:?} in this table")]
    UnknownProvider {
        /// Where it is named.
        place: String,
        /// The id.
        id: String,
    },
    /// A part has a price and its whole has none, or two counts have prices and what is in both has none: some of
    /// what is used would be free, or charged twice.
    #[error("{place}: with a price of {given} there must be one of {needed} too")]
    Gap {
        /// Where.
        place: String,
        /// What has a price.
        given: String,
        /// What has none.
        needed: String,
    },
}

/// A table as it is in a file.
pub(super) struct Loaded {
    pub(super) header: Option<Header>,
    pub(super) providers: Vec<Provider>,
}

/// Reads a table. Patterns are left alone until they are asked; [`check_patterns`] looks at all of them.
pub(super) fn load(text: &str) -> Result<Loaded, PriceTableError> {
    let file: RawFile<'_> = serde_json::from_str(text).map_err(|error| explain(text, error))?;
    let ids: Vec<&str> = file.providers.iter().map(|provider| &*provider.id).collect();
    let mut seen = HashSet::new();
    let mut checked = HashSet::new();
    let mut providers = Vec::with_capacity(ids.len());
    for (index, raw) in file.providers.iter().enumerate() {
        let place = Place { provider: (index, &raw.id), model: None };
        if !seen.insert(&*raw.id) {
            return Err(PriceTableError::Duplicate { place: place.at("id"), id: raw.id.to_string() });
        }
        providers.push(provider(raw, &ids, place, &mut checked)?);
    }
    Ok(Loaded { header: file.header, providers })
}

/// A place in a table: `providers[3].models[7] (openai gpt-4o) prices.input_mtok`.
#[derive(Clone, Copy)]
struct Place<'a> {
    provider: (usize, &'a str),
    model: Option<(usize, &'a str)>,
}

impl Place<'_> {
    fn at(&self, field: &str) -> String {
        let (index, id) = self.provider;
        match self.model {
            None => format!("providers[{index}] ({id}) {field}"),
            Some((model, name)) => format!("providers[{index}].models[{model}] ({id} {name}) {field}"),
        }
    }
}

/// Sets of units that go together; most models have one of a few.
type Checked = HashSet<UnitSet>;

fn provider(
    raw: &RawProvider<'_>,
    ids: &[&str],
    place: Place<'_>,
    checked: &mut Checked,
) -> Result<Provider, PriceTableError> {
    let mut fallbacks = Vec::new();
    for id in raw.fallback_model_providers.iter().flatten() {
        let index = ids.iter().position(|known| known == id);
        let unknown = || PriceTableError::UnknownProvider {
            place: place.at("fallback_model_providers"),
            id: id.to_string(),
        };
        fallbacks.push(index.ok_or_else(unknown)?);
    }
    let mut seen = HashSet::new();
    let mut models = Vec::with_capacity(raw.models.len());
    for (index, raw_model) in raw.models.iter().enumerate() {
        let place = Place { model: Some((index, &raw_model.id)), ..place };
        if !seen.insert(&*raw_model.id) {
            let id = raw_model.id.to_string();
            return Err(PriceTableError::Duplicate { place: place.at("id"), id });
        }
        models.push(model(raw_model, &raw.id, place, checked)?);
    }
    Ok(Provider {
        id: (*raw.id).into(),
        // An address is one of the provider's if it begins so.
        api: raw.api_pattern.as_ref().map(|source| Pattern::new(format!(r"\A(?:{source})").into())),
        model_match: raw.model_match.as_ref().map(clause),
        provider_match: raw.provider_match.as_ref().map(clause),
        fallbacks,
        models,
    })
}

/// Groq charges for ten seconds of sound at least.
const LEAST_SECONDS: [(&str, &str, u64); 2] =
    [("groq", "whisper-large-v3", 10), ("groq", "whisper-large-v3-turbo", 10)];

fn model(
    raw: &RawModel<'_>,
    provider: &str,
    place: Place<'_>,
    checked: &mut Checked,
) -> Result<Model, PriceTableError> {
    let mut check = |units: UnitSet, field: &str| {
        if !checked.insert(units) {
            return Ok(());
        }
        match gap(units) {
            None => Ok(()),
            Some(gap) => {
                checked.remove(&units);
                Err(lacks(gap, place.at(field)))
            }
        }
    };
    let mut prices = Vec::with_capacity(raw.prices.0.len());
    for (index, entry) in raw.prices.0.iter().enumerate() {
        let rates = Rates::new(entry.rates.clone());
        check(
            rates.units(),
            &if raw.prices.0.len() == 1 { "prices".into() } else { format!("prices[{index}]") },
        )?;
        prices.push(Conditional { constraint: entry.constraint, rates });
    }
    if prices.is_empty() {
        return Err(PriceTableError::Missing { place: place.at("prices"), what: "a price" });
    }
    let mut variants = Vec::new();
    for (index, variant) in raw.price_variants.iter().flatten().enumerate() {
        let rates = Rates::new(variant.rates.clone());
        let field = format!("price_variants[{index}]");
        if variant.when.is_empty() {
            return Err(PriceTableError::Missing {
                place: place.at(&field),
                what: "what it is for, in \"when\"",
            });
        }
        for standard in &prices {
            check(standard.rates.units().union(rates.units()), &field)?;
        }
        let when = variant.when.iter().map(|(name, value)| ((&**name).into(), (&**value).into())).collect();
        variants.push(Variant { when, prices: Conditional { constraint: variant.constraint, rates } });
    }
    let least = LEAST_SECONDS.iter().find(|(of, id, _)| *of == provider && *id == raw.id);
    Ok(Model {
        id: (*raw.id).into(),
        matches: raw.r#match.as_ref().map_or_else(|| Clause::Equals(lowered(&raw.id)), clause),
        prices,
        variants,
        least_seconds: least.map_or(0, |(_, _, seconds)| *seconds),
    })
}

fn lacks(gap: Gap, place: String) -> PriceTableError {
    let (given, needed) = match gap {
        Gap::Whole { part, whole } => (part.price_key().to_owned(), whole.price_key().to_owned()),
        Gap::Overlap { left, right, both } => (
            format!("{} and {}", left.price_key(), right.price_key()),
            both.map_or("what is both, which has no name", |unit| unit.price_key()).to_owned(),
        ),
    };
    PriceTableError::Gap { place, given, needed }
}

fn lowered(text: &str) -> Box<str> {
    text.to_lowercase().into()
}

fn clause(raw: &RawClause<'_>) -> Clause {
    let all = |clauses: &[RawClause<'_>]| clauses.iter().map(clause).collect();
    match raw {
        RawClause::StartsWith(text) => Clause::StartsWith(lowered(text)),
        RawClause::EndsWith(text) => Clause::EndsWith(lowered(text)),
        RawClause::Contains(text) => Clause::Contains(lowered(text)),
        RawClause::Equals(text) => Clause::Equals(lowered(text)),
        RawClause::Regex(source) => Clause::Regex(Pattern::new((&**source).into())),
        RawClause::Or(clauses) => Clause::Or(all(clauses)),
        RawClause::And(clauses) => Clause::And(all(clauses)),
    }
}

/// Compiles every pattern of a table; the first that is none is the error.
pub(super) fn check_patterns(providers: &[Provider]) -> Result<(), PriceTableError> {
    let told =
        |place: String| move |reason: Box<fancy_regex::Error>| PriceTableError::Pattern { place, reason };
    for (index, provider) in providers.iter().enumerate() {
        let place = Place { provider: (index, &provider.id), model: None };
        if let Some(api) = &provider.api {
            api.check().map_err(told(place.at("api_pattern")))?;
        }
        for (field, clause) in
            [("model_match", &provider.model_match), ("provider_match", &provider.provider_match)]
        {
            check_clause(clause.as_ref()).map_err(told(place.at(field)))?;
        }
        for (index, model) in provider.models.iter().enumerate() {
            let place = Place { model: Some((index, &model.id)), ..place };
            check_clause(Some(&model.matches)).map_err(told(place.at("match")))?;
        }
    }
    Ok(())
}

fn check_clause(clause: Option<&Clause>) -> Result<(), Box<fancy_regex::Error>> {
    match clause {
        Some(Clause::Regex(pattern)) => pattern.check(),
        Some(Clause::Or(clauses) | Clause::And(clauses)) => {
            clauses.iter().try_for_each(|clause| check_clause(Some(clause)))
        }
        _ => Ok(()),
    }
}

/// The error with its place in the document, for which it is read once more, keeping track.
fn explain(text: &str, error: serde_json::Error) -> PriceTableError {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let again = <RawFile<'_> as serde::Deserialize>::deserialize(tracked);
    let Err(reason) = again else { return PriceTableError::Format { place: String::new(), reason: error } };
    PriceTableError::Format { place: described(text, &track.path()), reason }
}

/// The path, with the ids of the provider and the model it goes through.
fn described(text: &str, path: &Path) -> String {
    let segments: Vec<&Segment> = path.iter().collect();
    let (is_object, below) = match &segments[..] {
        [Segment::Map { key }, below @ ..] if key == "providers" => (true, below),
        all => (false, all),
    };
    let providers = ids(text, is_object).unwrap_or_default();
    let id = |entry: Option<&Ids>| entry.map_or_else(|| "?".to_owned(), |entry| entry.id.clone());
    let (place, field) = match below {
        [] | [Segment::Unknown, ..] => return String::new(),
        [Segment::Seq { index }, Segment::Map { key }, Segment::Seq { index: model_index }, field @ ..]
            if key == "models" =>
        {
            let provider = providers.get(*index);
            let model = provider.and_then(|provider| provider.models.get(*model_index));
            (
                Place { provider: (*index, &id(provider)), model: Some((*model_index, &id(model))) }.at(""),
                field,
            )
        }
        [Segment::Seq { index }, field @ ..] => {
            (Place { provider: (*index, &id(providers.get(*index))), model: None }.at(""), field)
        }
        _ => return format!("{path}: "),
    };
    let mut field_path = String::new();
    for segment in field {
        if !field_path.is_empty() && !matches!(segment, Segment::Seq { .. }) {
            field_path.push('.');
        }
        field_path.push_str(&segment.to_string());
    }
    format!("{}: ", format!("{place}{field_path}").trim_end())
}

/// An id, and those below it.
#[derive(serde::Deserialize)]
struct Ids {
    id: String,
    #[serde(default)]
    models: Vec<Ids>,
}

/// The ids in a text that is no table, if it is JSON.
fn ids(text: &str, is_object: bool) -> Option<Vec<Ids>> {
    #[derive(serde::Deserialize)]
    struct Object {
        providers: Vec<Ids>,
    }

    if is_object {
        return serde_json::from_str::<Object>(text).ok().map(|object| object.providers);
    }
    serde_json::from_str(text).ok()
}
