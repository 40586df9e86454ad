//! Prices of calls, against the answers of the package the table is from.

use std::io::Read;
use std::path::{Path, PathBuf};

use longpole::money::Money;
use longpole::prices::{Call, Price, PriceTable, Unit, Unpriced, Usage};
use longpole::time::Timestamp;
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/prices").join(name)
}

fn read(name: &str) -> String {
    let bytes = std::fs::read(data(name)).unwrap();
    if !name.ends_with(".gz") {
        return String::from_utf8(bytes).unwrap();
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    text
}

/// The table as it is published, with aggregators.
fn whole_table() -> PriceTable {
    PriceTable::from_json_named(&read("prices-0.2.3-slim.json.gz"), "prices-0.2.3-slim.json").unwrap()
}

fn timestamp(rfc3339: &str) -> Timestamp {
    let (day, time) = rfc3339.trim_end_matches("+00:00").split_once('T').unwrap();
    let number = |text: &str| text.parse::<u64>().unwrap();
    let [year, month, day] = day.split('-').map(number).collect::<Vec<_>>()[..] else { panic!("{day}") };
    let before = |year: u64| year * 365 + year / 4 - year / 100 + year / 400;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + u64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = before(year - 1) - before(1969) + lengths[..month as usize - 1].iter().sum::<u64>() + day - 1;
    let seconds = time.split(':').map(number).fold(0, |sum, part| sum * 60 + part);
    Timestamp::from_unix_nanos((days * 86_400 + seconds) * 1_000_000_000)
}

fn pairs(object: &Value) -> Vec<(&str, &str)> {
    let entries = object.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect()
}

fn usage(object: &Value) -> Usage {
    let unit = |name: &str| Unit::from_name(name).unwrap_or_else(|| panic!("{name}"));
    object.as_object().unwrap().iter().map(|(name, count)| (unit(name), count.as_u64().unwrap())).collect()
}

fn price(table: &PriceTable, case: &Value) -> Result<Price, Unpriced> {
    table.price(&Call {
        provider: case["provider"].as_str(),
        api_url: case["api_url"].as_str(),
        model: case["model"].as_str().unwrap(),
        at: timestamp(case["timestamp"].as_str().unwrap()),
        context: &pairs(&case["price_context"]),
        usage: &usage(&case["usage"]),
    })
}

/// A decimal without the zeros at its end.
fn normal(decimal: &Value) -> String {
    let text = decimal.as_str().unwrap();
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text.into() }
}

#[test]
fn every_call_of_the_package_costs_the_same_to_the_last_digit() {
    let table = whole_table();
    let cases: Value = serde_json::from_str(&read("cases.json")).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 46);
    for case in cases {
        let expected = &case["expected"];
        match price(&table, case) {
            Ok(priced) => {
                assert_eq!(*priced.provider, *expected["provider"].as_str().unwrap(), "{case}");
                assert_eq!(*priced.model, *expected["model"].as_str().unwrap(), "{case}");
                let cost = priced.cost;
                let input: Money = [cost.input, cost.cache_read, cost.cache_write].into_iter().sum();
                assert_eq!(input.to_string(), normal(&expected["input_price"]), "{case}");
                assert_eq!(cost.output.to_string(), normal(&expected["output_price"]), "{case}");
                assert_eq!(cost.total().to_string(), normal(&expected["total_price"]), "{case}");
                assert_eq!(priced.without_price, [], "{case}");
            }
            Err(error) => {
                let message = expected["message"].as_str().unwrap_or_else(|| panic!("{error}: {case}"));
                let kind = match message {
                    message if message.starts_with("Unable to find provider") => Unpriced::UnknownProvider,
                    message if message.starts_with("Unable to find model") => Unpriced::UnknownModel,
                    _ => Unpriced::CountsContradict,
                };
                assert_eq!(error, kind, "{case}");
            }
        }
    }
}

/// Random calls, priced by the package with exact arithmetic: names in many spellings, days and hours around those at
/// which prices change, counts around tiers and beyond their wholes.
#[test]
fn random_calls_cost_what_the_package_says() {
    let table = whole_table();
    let answers: Value = serde_json::from_str(&read("answers.json.gz")).unwrap();
    let cases = answers["cases"].as_array().unwrap();
    assert!(cases.len() >= 200);
    for case in cases {
        let expected = &case["expected"];
        match (price(&table, case), expected["error"].as_str()) {
            (Ok(priced), None) => {
                assert_eq!(*priced.provider, *expected["provider"].as_str().unwrap(), "{case}");
                assert_eq!(*priced.model, *expected["model"].as_str().unwrap(), "{case}");
                assert_eq!(priced.cost.total().to_string(), normal(&expected["total"]), "{case}");
                let cost = priced.cost;
                for (name, part) in [
                    ("input", cost.input),
                    ("output", cost.output),
                    ("cache_read", cost.cache_read),
                    ("cache_write", cost.cache_write),
                    ("other", cost.other),
                ] {
                    // Cut off after twelve decimals, or one unit more for the sake of the total.
                    let exact = expected["parts"][name].as_str().unwrap();
                    let (whole, decimals) = exact.split_at(exact.find('.').unwrap() + 13);
                    let down: Money = whole.parse().unwrap();
                    let more = i128::from(decimals.bytes().any(|digit| digit != b'0'));
                    let off = part.as_picodollars() - down.as_picodollars();
                    assert!((0..=more).contains(&off), "{name} is {part}, not {exact}: {case}");
                }
                let mut without: Vec<&str> = priced.without_price.iter().map(|unit| unit.name()).collect();
                without.sort_unstable();
                assert_eq!(Value::from(without), expected["without_price"], "{case}");
            }
            (Err(error), Some(kind)) => {
                let expected = match kind {
                    "provider" => Unpriced::UnknownProvider,
                    "model" => Unpriced::UnknownModel,
                    "counts" => Unpriced::CountsContradict,
                    "no price" => Unpriced::NoPrice,
                    kind => panic!("{kind}"),
                };
                assert_eq!(error, expected, "{case}");
            }
            (priced, error) => panic!("{priced:?}, the package says {error:?}: {case}"),
        }
    }
}

/// The files that come with longpole are the published table, only divided.
#[test]
fn the_table_that_comes_with_longpole_is_the_published_one() {
    let answers: Value = serde_json::from_str(&read("answers.json.gz")).unwrap();
    let (embedded, whole) = (PriceTable::embedded(), whole_table());
    let mut compared = 0;
    for case in answers["cases"].as_array().unwrap() {
        let priced = price(&whole, case);
        let is_resold =
            |priced: &Price| priced.provider.starts_with("huggingface") || &*priced.provider == "openrouter";
        if priced.as_ref().is_ok_and(|priced| !is_resold(priced)) {
            assert_eq!(price(embedded, case), priced, "{case}");
            compared += 1;
        }
    }
    assert!(compared >= 100, "{compared}");
    let models = |table: &PriceTable| {
        let is_direct = |provider: &str| !provider.starts_with("huggingface") && provider != "openrouter";
        let names = table.models().map(|(provider, model)| (provider.to_string(), model.to_string()));
        names.filter(|(provider, _)| is_direct(provider)).collect::<Vec<_>>()
    };
    assert_eq!(models(embedded), models(&whole));
}
