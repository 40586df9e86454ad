//! Reads gates, and says where one stops being one.

use super::measure::{Measure, NODE_MEASURES, RUN_MEASURES, Unit};
use super::{Condition, Gate, Limit, Order, Value};
use crate::money::Money;
use crate::report::QualityLevel;
use crate::report::insights::catalogue::{INSIGHTS, insight};
use crate::report::what_if::near;
use crate::time::Duration;

/// A text is no gate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("in gate {expr:?} at character {}: {problem}", .at + 1)]
pub struct GateError {
    /// The text.
    pub expr: String,
    /// Where it stops being one, in characters from its beginning.
    pub at: usize,
    /// What is wrong there.
    pub problem: GateProblem,
}

/// What is wrong with a text that should be a gate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateProblem {
    /// It names nothing a gate can look at.
    #[error("no measure {name:?}{}; a gate looks at {expected}", did_you_mean(.near))]
    NoMeasure {
        /// What stands there.
        name: String,
        /// Measures with names like it.
        near: Vec<String>,
        /// What could stand there.
        expected: String,
    },
    /// The name of a node has no end.
    #[error("expected node(NAME).MEASURE, such as node(draft).p95")]
    NoNode,
    /// There is no such insight.
    #[error("no insight {code:?}{}; they are LP101 to LP115", did_you_mean(.near))]
    NoInsight {
        /// What stands there.
        code: String,
        /// Codes like it.
        near: Vec<String>,
    },
    /// A bracket is not closed.
    #[error("expected )")]
    NoEnd,
    /// Nothing says on which side of the limit it fails.
    #[error("expected >, >=, < or <=")]
    NoOrder,
    /// The limit is none, or not one in the unit of the measure.
    #[error("expected {expected}, not {found:?}")]
    NoLimit {
        /// What stands there.
        found: String,
        /// What could.
        expected: &'static str,
    },
    /// Changes of this measure are not known.
    #[error("a change is known of wall, cost, node(NAME).avg and node(NAME).total only")]
    NoChange,
}

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        names => format!(", did you mean {}?", names.join(", ")),
    }
}

/// The text and how far it has been read.
struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.rest.strip_prefix(token).map(|rest| self.rest = rest).is_some()
    }

    /// The name that stands next; may be empty.
    fn word(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// An error at what stands before `rest`.
    fn error_at(&self, rest: &str, problem: GateProblem) -> GateError {
        let before = self.text.len().saturating_sub(rest.len());
        let at = self.text.get(..before).map_or(0, |before| before.chars().count());
        GateError { expr: self.text.to_owned(), at, problem }
    }
}

pub(super) fn gate(text: &str) -> Result<Gate, GateError> {
    let mut reader = Reader { text, rest: text.trim_end() };
    reader.skip_blanks();
    if reader.take("insight(") {
        return insight_gate(&mut reader);
    }
    let (measure, unit) = measure(&mut reader)?;
    reader.skip_blanks();
    let orders = [Order::AtLeast, Order::AtMost, Order::Above, Order::Below];
    let order = orders.into_iter().find(|order| reader.take(order.as_str()));
    let order = order.ok_or_else(|| reader.error_at(reader.rest, GateProblem::NoOrder))?;
    reader.skip_blanks();
    let limit = reader.rest;
    let value = value(limit, unit).map_err(|expected| {
        reader.error_at(limit, GateProblem::NoLimit { found: limit.to_owned(), expected })
    })?;
    if matches!(value, Value::Change(_)) && !measure.can_change() {
        return Err(reader.error_at(limit, GateProblem::NoChange));
    }
    let text = limit.split_whitespace().collect();
    Ok(Gate(Condition::Limit { measure, order, limit: Limit { value, text } }))
}

fn insight_gate(reader: &mut Reader<'_>) -> Result<Gate, GateError> {
    let rest = reader.rest;
    let code = rest.strip_suffix(')').ok_or_else(|| reader.error_at("", GateProblem::NoEnd))?.trim();
    let known = insight(&code.to_ascii_uppercase()).ok_or_else(|| {
        let codes = INSIGHTS.iter().map(|insight| insight.code);
        let near = near(code, codes.filter(|_| !code.is_empty()));
        reader.error_at(rest, GateProblem::NoInsight { code: code.to_owned(), near })
    })?;
    Ok(Gate(Condition::Insight(known.code)))
}

fn measure(reader: &mut Reader<'_>) -> Result<(Measure, Unit), GateError> {
    if reader.take("node(") {
        // The name may hold brackets and dots, a measure and its limit do not.
        let end = reader.rest.rfind(").").ok_or_else(|| reader.error_at(reader.rest, GateProblem::NoNode))?;
        let (node, rest) = reader.rest.split_at(end);
        if node.trim().is_empty() {
            return Err(reader.error_at(reader.rest, GateProblem::NoNode));
        }
        reader.rest = rest.strip_prefix(").").unwrap_or(rest);
        let (measure, unit) = known(reader, &NODE_MEASURES, "")?;
        return Ok((Measure::Node { node: node.trim().to_owned(), measure }, unit));
    }
    let (measure, unit) = known(reader, &RUN_MEASURES, ", node(NAME).MEASURE, insight(CODE)")?;
    Ok((Measure::Run(measure), unit))
}

fn known<M: Copy>(
    reader: &mut Reader<'_>,
    measures: &[(&str, M, Unit)],
    others: &str,
) -> Result<(M, Unit), GateError> {
    let start = reader.rest;
    let word = reader.word();
    let found = measures.iter().find(|(name, ..)| *name == word);
    found.map(|(_, measure, unit)| (*measure, *unit)).ok_or_else(|| {
        let names = || measures.iter().map(|(name, ..)| *name);
        let near = near(word, names().filter(|_| word.len() > 1));
        let expected = names().collect::<Vec<_>>().join(", ") + others;
        reader.error_at(start, GateProblem::NoMeasure { name: word.to_owned(), near, expected })
    })
}

/// A limit in a unit, or what it should be.
fn value(text: &str, unit: Unit) -> Result<Value, &'static str> {
    if let Some(percent) = text.strip_suffix('%') {
        let sign = match percent.chars().next() {
            Some('+') => Some(1),
            Some('-' | '−') => Some(-1),
            _ => None,
        };
        let ppm = parts_per_million(percent.trim_start_matches(['+', '-', '−']));
        return match (sign, unit, ppm) {
            (Some(sign), _, Some(ppm)) => Ok(Value::Change(sign * ppm)),
            (None, Unit::Share, Some(ppm)) => Ok(Value::Share(ppm)),
            (None, Unit::Time | Unit::Money, _) => Err("a change with its sign, such as +10%"),
            _ => Err(expected(unit)),
        };
    }
    let value = match unit {
        Unit::Time => time(text).map(Value::Time),
        Unit::Money => {
            let amount = text.strip_prefix('$').unwrap_or(text).trim();
            let is_plain = amount.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            amount.parse().ok().filter(|money| is_plain && *money >= Money::ZERO).map(Value::Money)
        }
        Unit::Count => whole(&text.replace(['_', ','], "")).map(Value::Count),
        Unit::Share => None,
        Unit::Level => level(text).map(Value::Level),
    };
    value.ok_or_else(|| expected(unit))
}

const fn expected(unit: Unit) -> &'static str {
    match unit {
        Unit::Time => "a time such as 250ms, 6s or 1m30s, or a change such as +10%",
        Unit::Money => "an amount such as $0.10, or a change such as +10%",
        Unit::Count => "a whole number",
        Unit::Share => "a share such as 40%",
        Unit::Level => "low, medium or high",
    }
}

fn level(text: &str) -> Option<QualityLevel> {
    match text {
        "low" => Some(QualityLevel::Low),
        "medium" => Some(QualityLevel::Medium),
        "high" => Some(QualityLevel::High),
        _ => None,
    }
}

/// Digits alone.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A decimal times ten to the power of `decimals`, which it may have at most.
fn scaled(text: &str, decimals: usize) -> Option<u128> {
    let (before, after) = text.split_once('.').unwrap_or((text, ""));
    if after.len() > decimals || (before.is_empty() && after.is_empty()) || before.len() > 18 {
        return None;
    }
    let digits = format!("{before}{after:0<decimals$}");
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn parts_per_million(percent: &str) -> Option<i64> {
    scaled(percent, 4).and_then(|ppm| i64::try_from(ppm).ok())
}

/// `1m30s`, `2.5 s`, `250ms`: numbers with units, the sum of them.
fn time(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u128); 9] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("sec", 1_000_000_000),
        ("m", 60_000_000_000),
        ("min", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text.trim();
    let mut sum: u128 = 0;
    let mut is_empty = true;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let after = after.trim_start();
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        // Below a nanosecond nothing is measured.
        let billionths = scaled(number, 9)?;
        sum = sum.checked_add(billionths.checked_mul(*nanos)? / 1_000_000_000)?;
        rest = after.trim_start();
        is_empty = false;
    }
    u64::try_from(sum).ok().filter(|_| !is_empty).map(Duration::from_nanos)
}
