//! How the figures of a workflow went, as text, JSON and CSV.

use unicode_width::UnicodeWidthStr;

use super::TextStyle;
use super::csv_text::{csv_field, milliseconds};
use super::json::sorted;
use super::page::{Line, Page, Role, no_break};
use super::units;
use crate::trend::{Figure, LevelChange, LongestNode, MetricTrend, SIMPLE_RULE_PERCENT, Trend, Values};

/// The trend in its JSON form, `longpole.trend/1`: indented, keys in alphabetical order, a line feed at the end.
pub fn json(trend: &Trend) -> String {
    let value = serde_json::to_value(trend).map(sorted);
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    text.expect("a trend is made of structs and lists") + "\n"
}

/// The trend as CSV (RFC 4180), one row per run and a column per figure, times in milliseconds.
pub fn csv(trend: &Trend) -> String {
    let mut text = "run_id,version,started_at".to_owned();
    for metric in &trend.metrics {
        let unit = match metric.values {
            Values::Times(_) => "ms",
            Values::Amounts(_) => "usd",
        };
        text += &format!(",{}", csv_field(&format!("{}_{unit}", metric.metric)));
    }
    text.push('\n');
    for (at, run) in trend.runs.iter().enumerate() {
        text += &format!(
            "{},{},{}",
            csv_field(&run.id),
            csv_field(run.version.as_deref().unwrap_or_default()),
            run.started_at
        );
        for metric in &trend.metrics {
            let value = match &metric.values {
                Values::Times(values) => values.get(at).copied().flatten().map(milliseconds),
                Values::Amounts(values) => values.get(at).copied().flatten().map(|value| value.to_string()),
            };
            text += &format!(",{}", value.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// The trend as text: a line of bars per figure, what it is usually, and from which run on it was another. No line is
/// wider than `style.width`. `with_simple_rule`: also where the latest is more than 20 % above the one before.
pub fn text(trend: &Trend, style: &TextStyle, with_simple_rule: bool) -> String {
    let mut page = Page::new(style);
    put_title(&mut page, trend);
    if trend.runs.is_empty() {
        page.blank();
        page.put_words(2, "No runs that have ended with all of their spans.");
    }
    for metric in trend.metrics.iter().filter(|_| !trend.runs.is_empty()) {
        page.blank();
        put_metric(&mut page, trend, metric, with_simple_rule);
    }
    put_longest(&mut page, trend);
    if trend.left_out_runs > 0 {
        page.blank();
        let runs = units::counted(trend.left_out_runs, "run", "runs");
        page.put_words(2, &format!("Left out: {runs} that have not ended or lack spans."));
    }
    page.into_text()
}

fn put_title(page: &mut Page, trend: &Trend) {
    let mut tail = units::counted(trend.runs.len() as u64, "run", "runs");
    let day = |at: &str| at.get(..10).unwrap_or(at).to_owned();
    if let (Some(first), Some(last)) = (trend.runs.first(), trend.runs.last()) {
        let (first, last) = (day(&first.started_at), day(&last.started_at));
        tail += &if first == last { format!(", {first}") } else { format!(", {first} to {last}") };
    }
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "longpole  ");
    let room = page.text_width().saturating_sub("longpole  ".len() + tail.width() + 2).max(8);
    page.add(&mut line, Role::Plain, &page.name(&trend.workflow, room));
    page.add_right(&mut line, Role::Plain, &tail, page.text_width());
    page.put(line);
}

fn put_metric(page: &mut Page, trend: &Trend, metric: &MetricTrend, with_simple_rule: bool) {
    let values = numbers(&metric.values);
    let name = page.name(&metric.metric, 20);
    let mut line = Line::default();
    line.tab(2, 0);
    page.add(&mut line, Role::Plain, &name);
    line.tab(2 + name.width().max(6) + 2, 0);
    // As many of the latest runs as have room.
    let room = page.text_width().saturating_sub(2 + name.width().max(6) + 2);
    let shown = values.get(values.len().saturating_sub(room)..).unwrap_or(&values);
    line.add_drawing(Role::Plain, sparkline(shown, page.ascii()));
    page.put(line);
    let Some(latest) = metric.latest else {
        return page.put_words(4, "No run has it.");
    };
    let mut text = format!("latest {}", no_break(&told(latest)));
    if let Some(usual) = metric.usual {
        text += &format!(", usual {}", no_break(&told(usual)));
        if let Some(change) = metric.change_percent {
            text += &format!(" ({})", signed(change));
        }
    }
    if metric.is_unusual {
        text += "; more than chance explains";
    }
    page.put_words(4, &text);
    for change in &metric.changes {
        put_change(page, trend, change);
    }
    if metric.is_regressed {
        page.put_words(4, "regressed: the latest runs are on a worse level than those before");
    }
    if with_simple_rule {
        let verdict = match metric.change_from_previous_percent {
            Some(change) if metric.is_regression_by_simple_rule => {
                format!("regression, severity high: {} against the run before", signed(change))
            }
            Some(change) => format!("no regression: {} against the run before", signed(change)),
            None => "nothing to compare with".to_owned(),
        };
        page.put_words(4, &format!("by the rule of more than {SIMPLE_RULE_PERCENT}%: {verdict}"));
    }
    for level in &metric.versions {
        let name =
            level.version.as_deref().map_or_else(|| "no version".to_owned(), |it| version_name(page, it));
        let runs = units::counted(level.runs, "run", "runs");
        page.put_words(
            4,
            &format!(
                "{name}: median {}, {} to {}, {runs}",
                no_break(&told(level.median)),
                no_break(&told(level.min)),
                no_break(&told(level.max)),
            ),
        );
    }
}

/// The most nodes that are named.
const MAX_LONGEST: usize = 4;

fn put_longest(page: &mut Page, trend: &Trend) {
    let told = |row: &LongestNode| {
        let runs = units::counted(row.runs, "run", "runs");
        let latest = if row.is_latest { ", also the latest" } else { "" };
        format!("{} in {}{latest}", page.name_in_text(&row.node), no_break(&runs))
    };
    let rows: Vec<String> = trend.longest_nodes.iter().take(MAX_LONGEST).map(told).collect();
    if rows.is_empty() {
        return;
    }
    page.blank();
    page.put_words(2, "longest on the path");
    let more = trend.longest_nodes.len().saturating_sub(MAX_LONGEST);
    let tail = if more > 0 { format!("; {more} more") } else { String::new() };
    page.put_words(4, &(rows.join("; ") + &tail));
}

fn put_change(page: &mut Page, trend: &Trend, change: &LevelChange) {
    let mut text = "changed".to_owned();
    if let Some(run) = trend.runs.get(change.run) {
        let version = run.version.as_deref().map(|version| format!(" ({})", version_name(page, version)));
        let day = run.started_at.get(..16).unwrap_or(&run.started_at).replace('T', " ");
        text = format!(
            "changed with run {}{} of {}",
            page.name_in_text(run.id.get(..8).unwrap_or(&run.id)),
            version.unwrap_or_default(),
            no_break(&day)
        );
    }
    text += &format!(": {} → {}", no_break(&told(change.before)), no_break(&told(change.after)));
    if let Some(percent) = change.change_percent {
        text += &format!(" ({})", signed(percent));
    }
    page.put_words(4, &text);
}

/// `v1.8.2`, as elsewhere.
fn version_name(page: &Page, version: &str) -> String {
    let letter = if version.starts_with(|c: char| c.is_ascii_digit()) { "v" } else { "" };
    format!("{letter}{}", page.name_in_text(version))
}

fn told(figure: Figure) -> String {
    match figure {
        Figure::Time(length) => units::duration(length),
        Figure::Amount(amount) => units::money(amount),
    }
}

/// `+13%`, `−5%`, `±0%`.
fn signed(percent: f64) -> String {
    let whole = percent.abs().round();
    match whole {
        0.0 => "±0%".to_owned(),
        _ if percent < 0.0 => format!("−{whole}%"),
        _ => format!("+{whole}%"),
    }
}

fn numbers(values: &Values) -> Vec<Option<u128>> {
    match values {
        Values::Times(values) => {
            values.iter().map(|value| value.map(|time| u128::from(time.as_nanos()))).collect()
        }
        Values::Amounts(values) => values
            .iter()
            .map(|value| value.map(|amount| u128::try_from(amount.as_picodollars()).unwrap_or(0)))
            .collect(),
    }
}

/// One character per value, from the least to the largest; a blank for one that is missing. Values that differ by less
/// than 5 % are drawn alike, so that noise does not look like news.
fn sparkline(values: &[Option<u128>], ascii: bool) -> String {
    let steps: &[char] = if ascii { &ASCII_STEPS } else { &STEPS };
    let present = || values.iter().flatten().copied();
    let (least, most) = (present().min().unwrap_or(0), present().max().unwrap_or(0));
    let range = most.saturating_sub(least);
    let last = steps.len().saturating_sub(1) as u128;
    let step = |value: u128| {
        let above = value.saturating_sub(least).saturating_mul(last).saturating_mul(2).saturating_add(range);
        let at =
            if range.saturating_mul(20) < most { None } else { above.checked_div(range.saturating_mul(2)) };
        steps.get(at.unwrap_or(last / 2) as usize).copied().unwrap_or(' ')
    };
    values.iter().map(|value| value.map_or(' ', step)).collect()
}

const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_STEPS: [char; 7] = ['_', '.', '-', '=', '+', '*', '#'];

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn bars_are_as_high_as_the_values_and_missing_ones_are_blank() {
        let values = [Some(100), Some(150), None, Some(200)];
        assert_eq!(sparkline(&values, false), "▁▅ █");
        assert_eq!(sparkline(&values, true), "_= #");
        assert_eq!(sparkline(&[Some(100), Some(104)], false), "▄▄", "less than 5 % is no news");
        assert_eq!(sparkline(&[Some(0), Some(0), Some(7)], false), "▁▁█");
        assert_eq!(sparkline(&[Some(7)], true), "=");
        assert_eq!(sparkline(&[], false), "");
    }
}
