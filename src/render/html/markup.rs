//! HTML under construction: our own words are literals, and whatever else goes in is escaped.

use crate::render::page::{Part, Role};
use crate::render::printable::Printable;
use crate::time::{Duration, Interval, Timestamp};

/// HTML under construction.
#[derive(Debug, Default)]
pub(super) struct Markup {
    html: String,
}

/// The most columns of a foreign name in a table.
const MAX_NAME: usize = 120;

impl Markup {
    pub(super) fn into_html(self) -> String {
        self.html
    }

    /// Markup of our own. Being a literal, it holds nothing foreign.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.html.push_str(markup);
        self
    }

    /// Text, in which nothing acts as markup, reorders or hides other text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in Printable::new(text).to_string().chars() {
            match c {
                '&' => self.html.push_str("&amp;"),
                '<' => self.html.push_str("&lt;"),
                '>' => self.html.push_str("&gt;"),
                '"' => self.html.push_str("&quot;"),
                '\'' => self.html.push_str("&#39;"),
                c => self.html.push(c),
            }
        }
        self
    }

    /// A foreign name, cut in the middle where it is very long.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        match name {
            "" => self.raw("(unnamed)"),
            name => self.text(&Printable::new(name).fitted(MAX_NAME)),
        }
    }

    /// A sentence whose parts stand for something.
    pub(super) fn parts(&mut self, parts: &[Part]) -> &mut Self {
        for (role, text) in parts {
            match role {
                Role::Gain => self.raw("<b class=\"gain\">").text(text).raw("</b>"),
                _ => self.text(text),
            };
        }
        self
    }

    /// Clauses with semicolons between them.
    pub(super) fn clauses(&mut self, clauses: &[Vec<Part>]) -> &mut Self {
        for (index, clause) in clauses.iter().enumerate() {
            if index > 0 {
                self.raw("; ");
            }
            self.parts(clause);
        }
        self
    }

    /// Our own number.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.html.push_str(&number.to_string());
        self
    }

    /// A cell with a figure; empty where there is none.
    pub(super) fn figure(&mut self, figure: Option<&str>) -> &mut Self {
        self.raw("<td class=\"n\">").text(figure.unwrap_or_default()).raw("</td>")
    }

    /// A rectangle of this class, if any, from one place to another, in hundredths of a percent of the width.
    pub(super) fn rect(&mut self, class: &'static str, place: (u32, u32)) -> &mut Self {
        let (from, width) = visible(place);
        self.raw("<rect ");
        if !class.is_empty() {
            self.raw("class=").raw(class).raw(" ");
        }
        self.raw("x=").percent(from).raw("% width=").percent(width).raw("% />")
    }

    /// The same as a part of a path in a box that is 10,000 wide and 1 high.
    pub(super) fn box_path(&mut self, place: (u32, u32)) -> &mut Self {
        let (from, width) = visible(place);
        self.raw("M").number(from.into()).raw(" 0h").number(width.into()).raw("v1h-");
        self.number(width.into()).raw("z")
    }

    /// Hundredths of a percent as percent, without zeros at its end.
    pub(super) fn percent(&mut self, hundredths: u32) -> &mut Self {
        let (whole, rest) = (hundredths / 100, hundredths % 100);
        let text = match rest {
            0 => whole.to_string(),
            tenths if tenths.is_multiple_of(10) => format!("{whole}.{}", tenths / 10),
            rest => format!("{whole}.{rest:02}"),
        };
        self.html.push_str(&text);
        self
    }
}

/// Where something starts and how wide it is, so wide at least that it can be seen.
fn visible((from, to): (u32, u32)) -> (u32, u32) {
    const LEAST: u32 = 15;
    let from = from.min(Scale::FULL - LEAST);
    (from, to.saturating_sub(from).max(LEAST).min(Scale::FULL - from))
}

/// Where points in time lie across a chart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    start: Timestamp,
    length: Duration,
}

impl Scale {
    /// The right edge, in hundredths of a percent.
    pub(super) const FULL: u32 = 10_000;

    pub(super) fn new(start: Timestamp, length: Duration) -> Self {
        Scale { start, length }
    }

    /// Where an offset from the start lies, in hundredths of a percent; the right edge for what is beyond it.
    pub(super) fn offset(&self, offset: Duration) -> u32 {
        let part = u128::from(offset.as_nanos()) * u128::from(Self::FULL);
        let at = part.checked_div(u128::from(self.length.as_nanos())).unwrap_or(0);
        u32::try_from(at).unwrap_or(Self::FULL).min(Self::FULL)
    }

    /// Where a stretch of time lies.
    pub(super) fn stretch(&self, stretch: Interval) -> (u32, u32) {
        let at = |point: Timestamp| self.offset(point.saturating_since(self.start));
        (at(stretch.start), at(stretch.end))
    }

    /// Round times to write along the axis: from three to eight of them, the start among them.
    pub(super) fn ticks(&self) -> Vec<Duration> {
        const MINUTES: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440, 2880];
        let length = self.length.as_nanos();
        let decimal = (0..11).flat_map(|power| [1, 2, 5].map(|digit| digit * 10u64.pow(power)));
        let below_minute = decimal.filter(|step| *step <= 20_000_000_000);
        let minutes = MINUTES.into_iter().map(|minutes| minutes * 60_000_000_000);
        let step = below_minute.chain(minutes).find(|step| length / step < 8);
        let step = step.unwrap_or(length / 4).max(1);
        (0..8)
            .map(|tick| step.saturating_mul(tick))
            .take_while(|at| *at < length.max(1))
            .map(Duration::from_nanos)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(build: impl FnOnce(&mut Markup)) -> String {
        let mut markup = Markup::default();
        build(&mut markup);
        markup.into_html()
    }

    #[test]
    fn text_is_never_markup_and_hides_nothing() {
        let hostile = "<script>&\"'\u{202e}\u{2028}\u{1b}[2J\0";
        let shown = html(|it| {
            it.text(hostile);
        });
        assert_eq!(shown, r"&lt;script&gt;&amp;&quot;&#39;\u{202e}\u{2028}\u{1b}[2J\u{0}");
    }

    #[test]
    fn a_stretch_lies_where_it_is_and_is_never_too_thin_to_see_nor_beyond_the_edge() {
        let scale = Scale::new(Timestamp::from_unix_nanos(1_000), Duration::from_nanos(200));
        let at = |start, end| {
            scale.stretch(Interval {
                start: Timestamp::from_unix_nanos(start),
                end: Timestamp::from_unix_nanos(end),
            })
        };
        assert_eq!(at(1_050, 1_101), (2_500, 5_050));
        assert_eq!(at(900, 5_000), (0, 10_000));
        let rect = |place| {
            html(|it| {
                it.rect("bar", place);
            })
        };
        assert_eq!(rect((2_500, 5_050)), "<rect class=bar x=25% width=25.5% />");
        assert_eq!(rect((10_000, 10_000)), "<rect class=bar x=99.85% width=0.15% />");
        assert_eq!(Scale::new(Timestamp::EPOCH, Duration::ZERO).offset(Duration::MAX), 0);
    }

    #[test]
    fn ticks_are_round_and_few() {
        let ticks = |length: Duration| Scale::new(Timestamp::EPOCH, length).ticks();
        let secs = |seconds: &[u64]| seconds.iter().map(|it| Duration::from_secs(*it)).collect::<Vec<_>>();
        assert_eq!(ticks(Duration::from_millis(22_800)), secs(&[0, 5, 10, 15, 20]));
        assert_eq!(ticks(Duration::from_secs(600)), secs(&[0, 120, 240, 360, 480]));
        for length in [0, 1, 7, 999, 1 << 20, 60_000_000_001, u64::MAX] {
            let ticks = ticks(Duration::from_nanos(length));
            assert!((1..=8).contains(&ticks.len()), "{length}: {ticks:?}");
        }
    }
}
