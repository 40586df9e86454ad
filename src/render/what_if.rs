//! What a run would have been, in a line or two.

use super::TextStyle;
use super::json::sorted;
use super::page::{Line, Page, Role, no_break};
use super::units;
use crate::money::Money;
use crate::report::what_if::{WhatIf, WhatIfAnswer};
use crate::report::what_if_cost::CostWhatIf;
use crate::time::Duration;

/// What would have been, as text: the length of the run and what sets it then, and the cost.
///
/// ```text
/// 22.8 s → 16.9 s  (−5.92 s, −26%)   next longest pole: revise, 4.87 s
/// $0.0913 → $0.0411  (−$0.0502, −55%)   5 of 6 calls compared
/// ```
pub fn what_if_text(answer: &WhatIfAnswer, style: &TextStyle) -> String {
    let mut page = Page::new(style);
    if let Some(time) = &answer.time {
        put_time(&mut page, time);
    }
    if let Some(cost) = &answer.cost {
        put_cost(&mut page, cost);
    }
    page.into_text()
}

/// The same in its JSON form, `longpole.whatif/1`: indented, keys in alphabetical order, a line feed at the end.
pub fn what_if_json(answer: &WhatIfAnswer) -> String {
    let value = serde_json::to_value(answer).map(sorted);
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    text.expect("an answer is made of structs, lists, and maps with strings as keys") + "\n"
}

fn put_time(page: &mut Page, time: &WhatIf) {
    let (was, is) = (time.wall_ns, time.new_wall_ns);
    let [was_text, is_text] = [was, is].map(units::duration);
    let mut parts = vec![(Role::Plain, no_break(&format!("{was_text} → {is_text}")))];
    let change = match was.cmp(&is) {
        std::cmp::Ordering::Equal => "  (±0)".to_owned(),
        order => {
            let size = was.saturating_sub(is).max(is.saturating_sub(was));
            let sign = if order.is_gt() { "−" } else { "+" };
            let ratio = size.as_nanos() as f64 / was.as_nanos() as f64;
            let percent = if was.is_zero() { "?".to_owned() } else { units::share(ratio) };
            format!("  ({sign}{}, {sign}{percent})", units::duration(size))
        }
    };
    let role = if is < was { Role::Gain } else { Role::Plain };
    parts.push((role, no_break(&change)));
    let next = time.next.as_ref().map(|next| {
        let length = time.path.iter().filter(|row| row.node.as_ref() == Some(next));
        let length: Duration = length.map(|row| row.duration_ns).sum();
        let name = page.name_in_text(next);
        format!(" \u{a0}\u{a0}next longest pole: {name}, {}", no_break(&units::duration(length)))
    });
    parts.extend(next.map(|next| (Role::Plain, next)));
    page.put_wrapped(Line::default(), 0, parts);
}

fn put_cost(page: &mut Page, cost: &CostWhatIf) {
    let mut parts = Vec::new();
    match cost.run_cost_usd.zip(cost.new_run_cost_usd) {
        Some((was, is)) if cost.compared_calls > 0 => {
            parts.push((Role::Plain, no_break(&format!("{} → {}", units::money(was), units::money(is)))));
            let change = match was.cmp(&is) {
                std::cmp::Ordering::Equal => "  (±0)".to_owned(),
                order => {
                    let size = if order.is_gt() { was.saturating_sub(is) } else { is.saturating_sub(was) };
                    let sign = if order.is_gt() { "−" } else { "+" };
                    let share = (was > Money::ZERO).then(|| units::share(size.as_usd() / was.as_usd()));
                    let share = share.map(|share| format!(", {sign}{share}")).unwrap_or_default();
                    format!("  ({sign}{}{share})", units::money(size))
                }
            };
            parts.push((if is < was { Role::Gain } else { Role::Plain }, no_break(&change)));
        }
        _ => parts.push((Role::Plain, "What it would cost is not known.".to_owned())),
    }
    let (compared, calls) = (units::count(cost.compared_calls), units::counted(cost.calls, "call", "calls"));
    let mut text = format!(" \u{a0}\u{a0}{}", no_break(&format!("{compared} of {calls} compared")));
    for (reason, calls) in &cost.not_compared {
        text += &format!(", {}", no_break(&format!("{} {}", units::count(*calls), reason.replace('_', " "))));
    }
    parts.push((Role::Plain, text));
    page.put_wrapped(Line::default(), 0, parts);
    page.put_words(0, &format!("prices: {}; the same tokens", page.name_in_text(&cost.price_table)));
}
