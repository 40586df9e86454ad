//! The JSON of price tables, field by field: that of genai-prices, version 2, and a header of ours around it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::charge::Rate;
use super::conditions::{Constraint, parse_day, parse_time};
use super::decimal::{BadDecimal, Decimal};
use super::lookup::cut;
use super::units::Unit;

/// What a table says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) date: Option<String>,
    pub(super) extends_embedded: bool,
}

/// A list of providers, or an object with a header and that list.
pub(super) struct RawFile<'a> {
    pub(super) header: Option<Header>,
    pub(super) providers: Vec<RawProvider<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawObject<'a> {
    name: String,
    version: Option<String>,
    #[serde(default, deserialize_with = "date")]
    date: Option<String>,
    #[serde(default)]
    extends_embedded: bool,
    #[serde(borrow)]
    providers: Vec<RawProvider<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProvider<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) api_pattern: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) model_match: Option<RawClause<'a>>,
    #[serde(borrow)]
    pub(super) provider_match: Option<RawClause<'a>>,
    #[serde(borrow)]
    pub(super) fallback_model_providers: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    pub(super) models: Vec<RawModel<'a>>,
    // What people and other programs read in it.
    #[serde(default, rename = "name")]
    _name: IgnoredAny,
    #[serde(default, rename = "pricing_urls")]
    _pricing_urls: IgnoredAny,
    #[serde(default, rename = "description")]
    _description: IgnoredAny,
    #[serde(default, rename = "price_comments")]
    _price_comments: IgnoredAny,
    #[serde(default, rename = "extractors")]
    _extractors: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawModel<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) r#match: Option<RawClause<'a>>,
    pub(super) prices: RawPrices,
    pub(super) price_variants: Option<Vec<RawVariant>>,
    #[serde(default, rename = "name")]
    _name: IgnoredAny,
    #[serde(default, rename = "description")]
    _description: IgnoredAny,
    #[serde(default, rename = "context_window")]
    _context_window: IgnoredAny,
    #[serde(default, rename = "price_comments")]
    _price_comments: IgnoredAny,
    #[serde(default, rename = "deprecated")]
    _deprecated: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawClause<'a> {
    #[serde(borrow)]
    StartsWith(Cow<'a, str>),
    EndsWith(Cow<'a, str>),
    Contains(Cow<'a, str>),
    Equals(Cow<'a, str>),
    Regex(Cow<'a, str>),
    Or(Vec<RawClause<'a>>),
    And(Vec<RawClause<'a>>),
}

/// One record of prices, or a list of them with their constraints.
pub(super) struct RawPrices(pub(super) Vec<RawConditional>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConditional {
    #[serde(default, deserialize_with = "constraint")]
    pub(super) constraint: Option<Constraint>,
    #[serde(rename = "prices", deserialize_with = "rates")]
    pub(super) rates: Vec<(Unit, Rate)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVariant {
    pub(super) when: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "constraint")]
    pub(super) constraint: Option<Constraint>,
    #[serde(rename = "prices", deserialize_with = "rates")]
    pub(super) rates: Vec<(Unit, Rate)>,
}

impl<'de: 'a, 'a> Deserialize<'de> for RawFile<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct File;

        impl<'de> Visitor<'de> for File {
            type Value = RawFile<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of providers, or an object with a name and such a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                let providers = Deserialize::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(RawFile { header: None, providers })
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
                let object = RawObject::deserialize(MapAccessDeserializer::new(object))?;
                let RawObject { name, version, date, extends_embedded, providers } = object;
                let header = Header { name, version, date, extends_embedded };
                Ok(RawFile { header: Some(header), providers })
            }
        }

        deserializer.deserialize_any(File)
    }
}

impl<'de> Deserialize<'de> for RawPrices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Prices;

        impl<'de> Visitor<'de> for Prices {
            type Value = RawPrices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("prices by unit, or a list of such with constraints")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(list)).map(RawPrices)
            }

            fn visit_map<A: MapAccess<'de>>(self, record: A) -> Result<Self::Value, A::Error> {
                let rates = rates(MapAccessDeserializer::new(record))?;
                Ok(RawPrices(vec![RawConditional { constraint: None, rates }]))
            }
        }

        deserializer.deserialize_any(Prices)
    }
}

/// A record of prices by unit.
fn rates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Unit, Rate)>, D::Error> {
    struct Record;

    impl<'de> Visitor<'de> for Record {
        type Value = Vec<(Unit, Rate)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("prices by unit")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut record: A) -> Result<Self::Value, A::Error> {
            let mut rates: Vec<(Unit, Rate)> = Vec::new();
            while let Some(key) = record.next_key::<Cow<'de, str>>()? {
                let rate = record.next_value::<RawRate>()?.0;
                let unknown = || A::Error::custom(format_args!("unknown price key `{}`", shortened(&key)));
                let unit = Unit::from_price_key(&key).ok_or_else(unknown)?;
                if rates.iter().any(|(told, _)| *told == unit) {
                    return Err(A::Error::custom(format_args!("duplicate price key `{key}`")));
                }
                rates.extend(rate.map(|rate| (unit, rate)));
            }
            Ok(rates)
        }
    }

    deserializer.deserialize_map(Record)
}

/// A number, a price with tiers, or `null` for none.
struct RawRate(Option<Rate>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTiers {
    base: Exact,
    tiers: Vec<RawTier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTier {
    start: u64,
    price: Exact,
}

/// A number by its digits, never by way of a binary fraction.
struct Exact(Decimal);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        exact(raw.get()).map(Exact)
    }
}

fn exact<E: de::Error>(text: &str) -> Result<Decimal, E> {
    Decimal::parse(text).map_err(|error| match error {
        BadDecimal::NotANumber => E::custom(format_args!("expected a number, found {}", shortened(text))),
        error => E::custom(format_args!("{} is {error}", shortened(text))),
    })
}

impl<'de> Deserialize<'de> for RawRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        if text == "null" {
            return Ok(RawRate(None));
        }
        if !text.starts_with('{') {
            return Ok(RawRate(Some(Rate { base: exact(text)?, tiers: [].into() })));
        }
        let RawTiers { base, tiers } = serde_path_to_error::deserialize(
            &mut serde_json::Deserializer::from_str(text),
        )
        .map_err(|error| {
            let message = error.inner().to_string();
            // Its line and column count from the beginning of the price.
            let message = message.split(" at line ").next().unwrap_or_default();
            D::Error::custom(format_args!("{}: {message}", error.path()))
        })?;
        let is_before = |(earlier, later): (&RawTier, &RawTier)| earlier.start < later.start;
        if !tiers.iter().zip(tiers.iter().skip(1)).all(is_before) {
            return Err(D::Error::custom("tiers must be in ascending order, each with another start"));
        }
        let tiers = tiers.into_iter().map(|tier| (tier.start, tier.price.0)).collect();
        Ok(RawRate(Some(Rate { base: base.0, tiers })))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConstraint {
    start_date: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
}

fn constraint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Constraint>, D::Error> {
    let Some(raw) = Option::<RawConstraint>::deserialize(deserializer)? else { return Ok(None) };
    let time = |text: &str| {
        let not_one =
            || D::Error::custom(format_args!("{:?} is not a time such as 16:30:00Z", shortened(text)));
        parse_time(text).ok_or_else(not_one)
    };
    match (raw.start_date, raw.start_time, raw.end_time) {
        (Some(date), None, None) => Ok(Some(Constraint::FromDay(day(&date)?))),
        (None, Some(start), Some(end)) => {
            Ok(Some(Constraint::Hours { start: time(&start)?, end: time(&end)? }))
        }
        _ => Err(D::Error::custom("a constraint has a start_date, or a start_time and an end_time")),
    }
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let date = Option::<String>::deserialize(deserializer)?;
    date.as_deref().map(day::<D::Error>).transpose()?;
    Ok(date)
}

fn day<E: de::Error>(text: &str) -> Result<i64, E> {
    parse_day(text)
        .ok_or_else(|| E::custom(format_args!("{:?} is not a date such as 2026-11-21", shortened(text))))
}

/// As much of `text` as fits into a message.
fn shortened(text: &str) -> &str {
    cut(text, 60)
}
