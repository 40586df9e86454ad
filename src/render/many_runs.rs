//! Many runs as text and as JSON: which nodes take the time, and which make long runs long.

use unicode_width::UnicodeWidthStr;

use super::TextStyle;
use super::bar::bar;
use super::json::sorted;
use super::page::{Line, Page, Role, no_break, plain};
use super::{cost, units};
use crate::many_runs::ManyRunsReport;
use crate::many_runs::report::{
    GroupCost, GroupReport, NodeOverRuns, Spread, Tail, TailOwner, TailOwnership,
};
use crate::report::{Piece, TokenSums};
use crate::time::Duration;

/// The most nodes that get a row.
const MAX_NODES: usize = 20;
/// The most nodes whose part of the tail is told.
const MAX_OWNERS: usize = 8;

impl ManyRunsReport {
    /// The report as text for a person: at most 80 columns, no colour. See [`text`] for other styles.
    pub fn to_text(&self) -> String {
        text(self, &TextStyle::default())
    }

    /// The report as JSON for a program. See [`json`].
    pub fn to_json(&self) -> String {
        json(self)
    }
}

/// The report in its JSON form, `longpole.runs/1` (see [`crate::many_runs::report`]): indented, keys in alphabetical
/// order at every level, a line feed at the end. Equal reports give equal bytes.
pub fn json(report: &ManyRunsReport) -> String {
    let value = serde_json::to_value(report).map(sorted);
    let text = value.and_then(|value| serde_json::to_string_pretty(&value));
    text.expect("a report is made of structs, lists and numbers") + "\n"
}

/// The report as text, group by group. Every line ends with a line feed and is at most `style.width` columns wide,
/// whatever the names in the report are. Below 90 columns the drag goes first, then P50 and P99, then the bars.
pub fn text(report: &ManyRunsReport, style: &TextStyle) -> String {
    let mut page = Page::new(style);
    for (index, group) in report.groups.iter().enumerate() {
        if index > 0 {
            page.blank();
            page.blank();
        }
        put_group(&mut page, group);
    }
    if report.groups.is_empty() {
        page.put_words(0, "No runs.");
    }
    if report.runs_left_out > 0 {
        page.blank();
        let left_out = units::counted(report.runs_left_out, "run", "runs");
        page.put_words(0, &format!("{left_out} of other workflows or versions are not told apart."));
    }
    page.into_text()
}

fn put_group(page: &mut Page, group: &GroupReport) {
    put_title(page, group);
    page.blank();
    put_walls(page, group);
    if let Some(cost) = &group.cost {
        put_cost(page, cost);
    }
    if !group.nodes.is_empty() {
        page.blank();
        put_nodes(page, group);
    }
    page.blank();
    put_tail(page, group);
    if group.variants.iter().any(|variant| !variant.path.is_empty()) {
        page.blank();
        put_variants(page, group);
    }
    put_notes(page, group);
}

fn put_title(page: &mut Page, group: &GroupReport) {
    let mut count = units::counted(group.runs, "run", "runs");
    if group.partial_runs > 0 {
        count += &format!(", {} partial", units::count(group.partial_runs));
    }
    let mut tail = String::new();
    if let Some(version) = group.version.as_deref().filter(|version| !version.is_empty()) {
        let letter = if version.starts_with(|c: char| c.is_ascii_digit()) { "v" } else { "" };
        tail += &format!("  {letter}{}", page.name(version, 16));
    }
    if let Some(service) = group.service.as_deref().filter(|service| *service != group.workflow) {
        tail += &format!("  of {}", page.name(service, 16));
    }
    let taken = "longpole  ".len() + tail.width() + 2 + count.width();
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "longpole  ");
    let name = page.name(&group.workflow, page.text_width().saturating_sub(taken).max(8));
    page.add(&mut line, Role::Plain, &name);
    page.add(&mut line, Role::Plain, &tail);
    page.add_right(&mut line, Role::Plain, &count, page.text_width());
    page.put(line);
}

fn put_walls(page: &mut Page, group: &GroupReport) {
    let mut items = Vec::new();
    if let Some(Spread { p50_ns, p95_ns, p99_ns }) = group.wall {
        let of = |name: &str, length| no_break(&format!("{name} {}", units::duration(length)));
        items.extend([of("wall P50", p50_ns), of("P95", p95_ns), of("P99", p99_ns)]);
    }
    items.push(no_break(&format!("total {}", units::duration(group.total_wall_ns))));
    page.put_words(2, &items.join(" \u{a0}\u{a0}"));
}

/// `cost $12.40 in all, $0.0913 a run on average, P95 $0.1840`.
fn put_cost(page: &mut Page, cost: &GroupCost) {
    let has_more = cost.lower_bound_runs > 0;
    let amount = |known| cost::amount(known, has_more).map(|amount| no_break(&amount));
    let mut items = Vec::new();
    items.extend(amount(cost.total_usd).map(|total| format!("cost\u{a0}{total} in all")));
    items.extend(cost.mean_usd.and_then(|mean| Some(format!("{} a run on average", amount(Some(mean))?))));
    items.extend(cost.p95_usd.and_then(|p95| Some(format!("P95\u{a0}{}", amount(Some(p95))?))));
    if cost.unpriced_calls > 0 {
        let calls = no_break(&units::counted(cost.unpriced_calls, "call has", "calls have"));
        items.push(no_break(&format!("{calls} no price")));
    }
    let tokens = TokenSums { input: cost.input_tokens, output: cost.output_tokens, ..TokenSums::default() };
    items.extend(cost::tokens(&tokens).map(|tokens| format!("tokens\u{a0}{tokens}")));
    if !items.is_empty() {
        page.put_words(2, &items.join(", "));
    }
}

fn put_nodes(page: &mut Page, group: &GroupReport) {
    let nodes = group.nodes.get(..MAX_NODES).unwrap_or(&group.nodes);
    let columns = NodeColumns::new(page, nodes);
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, NODES_TITLE);
    columns.add_figures(page, &mut line, Role::Dim, &columns.heads);
    page.put(line);
    for (index, node) in nodes.iter().enumerate() {
        let role = if index == 0 { Role::Pole } else { Role::Plain };
        let mut line = Line::default();
        line.tab(2, 0);
        page.add(&mut line, role, &page.name(&node.name, columns.name));
        if columns.bar > 0 {
            line.tab(2 + columns.name + 2, 0);
            let piece = Piece { start_ns: Duration::ZERO, duration_ns: node.total_path_ns };
            line.add_drawing(role, bar(&[piece], group.total_wall_ns, columns.bar, page.ascii()));
        }
        columns.add_figures(page, &mut line, Role::Plain, &columns.figures(node));
        page.put(line);
    }
    let more = group.nodes.len().saturating_sub(MAX_NODES);
    if more > 0 {
        page.put_words(2, &format!("… and {} more", units::count(more as u64)));
    }
}

const NODES_TITLE: &str = "On the path";

/// What the table of nodes shows and how wide; a bar of no width is left out.
struct NodeColumns {
    is_wide: bool,
    is_drag_told: bool,
    heads: Vec<String>,
    widths: Vec<usize>,
    name: usize,
    bar: usize,
}

impl NodeColumns {
    const MIN_NAME: usize = 16;
    const MIN_BAR: usize = 12;
    const MAX_BAR: usize = 40;

    fn new(page: &Page, nodes: &[NodeOverRuns]) -> Self {
        let is_wide = page.width() >= 80;
        let is_drag_told = page.width() >= 90 && nodes.iter().any(|node| node.mean_drag_ns.is_some());
        let mut columns =
            NodeColumns { is_wide, is_drag_told, heads: Vec::new(), widths: Vec::new(), name: 0, bar: 0 };
        columns.heads =
            columns.shown(["in runs", "mean", "P50", "P95", "P99", "drag", "share"].map(str::to_owned));
        columns.widths = columns.heads.iter().map(|head| head.width()).collect();
        for node in nodes {
            let figures = columns.figures(node);
            for (width, figure) in columns.widths.iter_mut().zip(figures) {
                *width = figure.width().max(*width);
            }
        }
        let taken: usize = columns.widths.iter().map(|width| 2 + width).sum();
        let room = page.width().saturating_sub(2 + taken);
        let names = nodes.iter().map(|node| page.name(&node.name, page.width()).width());
        let longest = names.chain([NODES_TITLE.len()]).max().unwrap_or(0);
        if room >= longest.min(Self::MIN_NAME) + 2 + Self::MIN_BAR {
            columns.name = longest.min(room - 2 - Self::MIN_BAR);
            columns.bar = (room - 2 - columns.name).min(Self::MAX_BAR);
        } else {
            columns.name = longest.min(room);
        }
        columns
    }

    fn figures(&self, node: &NodeOverRuns) -> Vec<String> {
        let told = |length: Option<Duration>| length.map_or_else(String::new, units::duration);
        self.shown([
            units::share(node.on_path_ratio),
            units::duration(node.mean_path_ns),
            told(node.path.map(|path| path.p50_ns)),
            told(node.path.map(|path| path.p95_ns)),
            told(node.path.map(|path| path.p99_ns)),
            told(node.mean_drag_ns),
            units::share(node.wall_ratio),
        ])
    }

    /// Of the cells of a whole row, those there is room for.
    fn shown(&self, [runs, mean, p50, p95, p99, drag, share]: [String; 7]) -> Vec<String> {
        let (wide, drag) = (|cell| self.is_wide.then_some(cell), self.is_drag_told.then_some(drag));
        let cells = [Some(runs), Some(mean), wide(p50), Some(p95), wide(p99), drag, Some(share)];
        cells.into_iter().flatten().collect()
    }

    fn add_figures(&self, page: &Page, line: &mut Line, role: Role, figures: &[String]) {
        let mut edge = 2 + self.name + if self.bar > 0 { 2 + self.bar } else { 0 };
        for (figure, width) in figures.iter().zip(&self.widths) {
            edge += 2 + width;
            page.add_right(line, role, figure, edge);
        }
    }
}

fn put_tail(page: &mut Page, group: &GroupReport) {
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "Who owns the tail  ");
    let Some(ownership) = &group.tail.ownership else {
        let text = too_few(&group.tail);
        return page.put_wrapped(line, 19, [plain(text)]);
    };
    let tail = &group.tail;
    let from = no_break(&units::duration(tail.tail_from_ns.unwrap_or_default()));
    let text = format!(
        "{} from {from} on (P{}) take {} longer than {} ordinary ones (P40 to P60)",
        no_break(&units::counted(tail.tail_runs, "run", "runs")),
        tail.tail_percentile,
        no_break(&units::duration(length(ownership.gap_ns))),
        units::count(tail.mid_runs),
    );
    page.put_wrapped(line, 19, [plain(text)]);
    if ownership.gap_ns > 0.0 {
        page.blank();
        put_owners(page, ownership);
    }
}

fn too_few(tail: &Tail) -> String {
    format!(
        "takes {} long runs and as many ordinary ones to tell; there are {} and {}",
        units::count(tail.min_runs),
        units::count(tail.tail_runs),
        units::count(tail.mid_runs)
    )
}

/// The largest parts, in order, and what the others come to.
fn put_owners(page: &mut Page, ownership: &TailOwnership) {
    let mut sizes: Vec<f64> = ownership.owners.iter().map(|owner| owner.delta_ns.abs()).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let least = sizes.get(MAX_OWNERS - 1).copied().unwrap_or(0.0);
    // What is written as less than 1 % is told with the others.
    let is_large =
        |owner: &&TailOwner| owner.delta_ns.abs() >= least && owner.gap_ratio.unwrap_or(0.0).abs() >= 0.005;
    let shown: Vec<&TailOwner> = ownership.owners.iter().filter(is_large).take(MAX_OWNERS).collect();
    let rows: Vec<(String, String)> = shown
        .iter()
        .map(|owner| (signed(owner.delta_ns), signed_share(owner.gap_ratio.unwrap_or(0.0))))
        .collect();
    let longest = shown.iter().map(|owner| page.name(&owner.name, page.width()).width()).max().unwrap_or(0);
    let name_width = longest.min(page.text_width() / 3).max("(others)".len());
    let others: f64 = ownership.gap_ns - shown.iter().map(|owner| owner.delta_ns).sum::<f64>();
    let rest = ownership.owners.len().saturating_sub(shown.len());
    let delta_width = rows.iter().map(|(delta, _)| delta.width()).chain([signed(others).width()]).max();
    let delta_edge = 2 + name_width + 2 + delta_width.unwrap_or(0);
    let share_edge = delta_edge + 2 + "-100%".len();
    for (owner, (delta, share)) in shown.iter().zip(&rows) {
        let role = if owner.delta_ns > 0.0 { Role::Plain } else { Role::Dim };
        let mut line = Line::default();
        line.tab(2, 0);
        page.add(&mut line, role, &page.name(&owner.name, name_width));
        page.add_right(&mut line, role, delta, delta_edge);
        page.add_right(&mut line, role, share, share_edge);
        line.tab(share_edge + 2, 2);
        page.put_wrapped(line, share_edge + 2, [(Role::Dim, because(owner))]);
    }
    if rest > 0 {
        let mut line = Line::default();
        line.tab(2, 0);
        page.add(&mut line, Role::Dim, "(others)");
        page.add_right(&mut line, Role::Dim, &signed(others), delta_edge);
        page.add_right(&mut line, Role::Dim, &signed_share(others / ownership.gap_ns), share_edge);
        page.put(line);
    }
}

fn because(owner: &TailOwner) -> String {
    if owner.mid_runs_on_path == 0 {
        let runs = units::counted(owner.tail_runs_on_path, "long run", "long runs");
        return format!("on the path of {runs} and of no ordinary one");
    }
    if owner.tail_runs_on_path == 0 {
        return "on the path of no long run".to_owned();
    }
    let part = |nanos: f64, more: &str, less: &str| {
        (nanos.abs() >= 0.005 * owner.delta_ns.abs()).then(|| {
            let word = if nanos > 0.0 { more } else { less };
            format!("{}\u{a0}{}", word, no_break(&signed(nanos)))
        })
    };
    let often = part(owner.because_more_often_ns, "more often", "less often");
    let longer = part(owner.because_longer_ns, "longer", "shorter");
    [often, longer].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn put_variants(page: &mut Page, group: &GroupReport) {
    let mut line = Line::default();
    page.add(&mut line, Role::Plain, "Ways through");
    page.add_right(&mut line, Role::Dim, "mean wall", 23);
    page.put(line);
    for variant in &group.variants {
        let mut line = Line::default();
        page.add_right(&mut line, Role::Plain, &units::share(variant.run_ratio), 7);
        page.add_right(&mut line, Role::Plain, &units::duration(variant.mean_wall_ns), 23);
        line.tab(25, 2);
        let names: Vec<String> = variant.path.iter().take(30).map(|name| page.name_in_text(name)).collect();
        let mut text = if names.is_empty() { "(no node)".to_owned() } else { names.join(" > ") };
        let more = variant.path.len().saturating_sub(30);
        if more > 0 {
            text += &format!(" > {} more", units::count(more as u64));
        }
        page.put_wrapped(line, 25, [plain(text)]);
    }
    let more = group.variants_total.saturating_sub(group.variants.len() as u64);
    if more > 0 {
        page.put_words(2, &format!("… and {} more", units::count(more)));
    }
}

/// What the figures above do not cover.
fn put_notes(page: &mut Page, group: &GroupReport) {
    let mut notes = Vec::new();
    if group.partial_runs > 0 {
        let runs = units::counted(group.partial_runs, "run misses spans", "runs miss spans");
        notes.push(format!("{runs}: counted in shares and means, not in P50 to P99 nor in the tail."));
    }
    if group.tail.is_sample {
        let runs = units::count(group.tail.compared_runs);
        notes.push(format!("The tail is that of an even sample of {runs} runs; P50 to P99 are within 1.1%."));
    }
    if group.names_left_out > 0 {
        notes.push(format!("Too many names: {} are in __other__.", units::count(group.names_left_out)));
    }
    if group.variants_left_out_runs > 0 {
        let runs = units::counted(group.variants_left_out_runs, "run", "runs");
        notes.push(format!("Too many ways through: {runs} took others."));
    }
    if !notes.is_empty() {
        page.blank();
        notes.iter().for_each(|note| page.put_words(0, note));
    }
}

fn length(nanos: f64) -> Duration {
    Duration::from_nanos(nanos.abs().round() as u64)
}

/// `+971 ms`, `-12.2 ms`.
fn signed(nanos: f64) -> String {
    let length = length(nanos);
    let sign = match nanos {
        _ if length.is_zero() => "",
        negative if negative < 0.0 => "-",
        _ => "+",
    };
    format!("{sign}{}", units::duration(length))
}

fn signed_share(ratio: f64) -> String {
    let sign = if ratio < 0.0 { "-" } else { "" };
    format!("{sign}{}", units::share(ratio.abs()))
}
