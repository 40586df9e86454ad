//! What a run's calls cost, added up by model, node, depth and source.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::analysed::Analysed;
use super::booking::add_money;
use super::charges::{Bill, Call, RollUp};
use super::{
    CostSection, CostSourceRow, DepthCost, ModelCost, NodeCost, Quality, RollUpDifference, TokenSums,
    UnpricedRow,
};
use crate::money::{CostParts, Money};
use crate::prices::Unpriced;
use crate::run::SpanIx;
use crate::span_record::{CostSource, NodeFacts};
use crate::time::Duration;

/// Told amounts are often rounded to six decimals: each may be off by so much, in 10⁻¹² USD.
const ROUNDED_AWAY: u128 = 1_000_000;

/// The section; `None` for a run without costs, tokens and calls.
pub(super) fn cost_section(analysed: &Analysed<'_>, quality: &Quality) -> Option<CostSection> {
    let charges = &analysed.booking.charges;
    if charges.costs.is_empty() && charges.tokens.is_empty() && charges.calls.is_empty() {
        return None;
    }
    let mut rows = Rows::new(analysed);
    charges.costs.iter().for_each(|(ix, cost)| rows.add_cost(*ix, *cost));
    charges.tokens.iter().for_each(|ix| rows.add_tokens(*ix));
    charges.calls.iter().for_each(|call| rows.add_call(call));
    let mut section = rows.into_section();
    section.is_lower_bound = section.unpriced_calls > 0
        || section.partly_priced_calls > 0
        || quality.not_claimed.iter().any(|claim| claim == "cost");
    let differences = charges.roll_ups.iter().flat_map(|roll_up| differences(analysed, roll_up));
    let differences: Vec<RollUpDifference> = differences.collect();
    section.roll_ups_total = differences.len() as u64;
    section.roll_ups = differences.into_iter().take(CostSection::MAX_ROLL_UPS).collect();
    Some(section)
}

/// What some calls come to.
#[derive(Clone, Copy, Default)]
struct Sums {
    calls: u64,
    priced: u64,
    unpriced: u64,
    partly_priced: u64,
    failed: u64,
    cost: Option<Money>,
    on_path: Option<Money>,
    off_path: Option<Money>,
    retries: Option<Money>,
    tokens: TokenSums,
    timed_calls: u64,
    output_time: Duration,
    timed_output: u64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.calls += other.calls;
        self.priced += other.priced;
        self.unpriced += other.unpriced;
        self.partly_priced += other.partly_priced;
        self.failed += other.failed;
        self.cost = add_money(self.cost, other.cost);
        self.on_path = add_money(self.on_path, other.on_path);
        self.off_path = add_money(self.off_path, other.off_path);
        self.retries = add_money(self.retries, other.retries);
        self.tokens.add_sums(&other.tokens);
        self.timed_calls += other.timed_calls;
        self.output_time = self.output_time.saturating_add(other.output_time);
        self.timed_output = self.timed_output.saturating_add(other.timed_output);
    }

    fn is_lower_bound(&self) -> bool {
        self.unpriced > 0 || self.partly_priced > 0
    }
}

/// A provider and a model, as far as they are known.
type ModelKey<'a> = (Option<&'a Arc<str>>, Option<&'a Arc<str>>);

/// Who says so, in which attribute, or by which table of prices.
type SourceKey<'a> = (&'static str, Option<&'static str>, Option<&'a Arc<str>>);

/// What spans of one model, at one depth, in one node come to. Rows are sums of these.
struct Group<'a> {
    model: ModelKey<'a>,
    depth: Option<u32>,
    node: Option<usize>,
    sums: Sums,
}

/// What tells groups apart: a model by where its names are in memory, which is mostly one place for each.
type GroupKey = (usize, usize, Option<u32>, Option<usize>);

/// Charges one after the other that the same source says.
struct InARow<'a> {
    source: CostSource,
    table: Option<&'a Arc<str>>,
    charges: u64,
    cost: Money,
}

struct Rows<'a> {
    analysed: &'a Analysed<'a>,
    path_below: Vec<Duration>,
    depths: Vec<u32>,
    /// By span, whether it is a second or later try or inside one; likewise of tries that were in vain.
    in_retry: Vec<bool>,
    in_lost_try: Vec<bool>,
    section: CostSection,
    groups: Vec<Group<'a>>,
    group_by_key: BTreeMap<GroupKey, usize>,
    /// By span, for those that were looked at.
    group_of: Vec<Option<u32>>,
    in_a_row: Option<InARow<'a>>,
    sources: BTreeMap<SourceKey<'a>, (u64, Money)>,
    tables: BTreeSet<&'a Arc<str>>,
    unpriced: BTreeMap<(&'static str, ModelKey<'a>), UnpricedRow>,
}

impl<'a> Rows<'a> {
    fn new(analysed: &'a Analysed<'a>) -> Self {
        let (run, booking) = (analysed.run, &analysed.booking);
        let inside = |mut marked: Vec<bool>| {
            // A parent stands before its children.
            for ix in run.indices() {
                let parent = run.span(ix).parent;
                marked[ix.index()] |= parent.is_some_and(|parent| marked[parent.index()]);
            }
            marked
        };
        let mut retries = booking.is_retry.clone();
        // A run that is a second try as a whole has not spent all of its cost on retries.
        retries[run.root.index()] = false;
        let mut lost = vec![false; run.spans.len()];
        for node in 0..booking.nodes.len() {
            booking.lost_tries(run, node).into_iter().for_each(|ix| lost[ix.index()] = true);
        }
        Rows {
            analysed,
            path_below: analysed.path_time_with_below(),
            depths: analysed.depths(),
            in_retry: inside(retries),
            in_lost_try: inside(lost),
            section: CostSection::default(),
            groups: Vec::new(),
            group_by_key: BTreeMap::new(),
            group_of: vec![None; run.spans.len()],
            in_a_row: None,
            sources: BTreeMap::new(),
            tables: BTreeSet::new(),
            unpriced: BTreeMap::new(),
        }
    }

    fn facts(&self, ix: SpanIx) -> Option<&'a NodeFacts> {
        self.analysed.run.span(ix).record.facts.as_deref()
    }

    /// Adds to the group a span belongs to, and so to every row it counts in.
    fn add(&mut self, ix: SpanIx, add: impl Fn(&mut Sums)) {
        let group = match self.group_of[ix.index()] {
            Some(group) => group as usize,
            None => {
                let group = self.find_group(ix);
                self.group_of[ix.index()] = u32::try_from(group).ok();
                group
            }
        };
        add(&mut self.groups[group].sums);
    }

    fn find_group(&mut self, ix: SpanIx) -> usize {
        let booking = &self.analysed.booking;
        let model = model_key(self.facts(ix));
        let depth = booking.execution_of[ix.index()].map(|execution| self.depths[execution.index()]);
        let node = booking.node_of[ix.index()];
        let place = |text: Option<&Arc<str>>| text.map_or(0, |text| text.as_ptr().addr());
        let groups = &mut self.groups;
        *self.group_by_key.entry((place(model.0), place(model.1), depth, node)).or_insert_with(|| {
            groups.push(Group { model, depth, node, sums: Sums::default() });
            groups.len() - 1
        })
    }

    /// Books the charges that were in a row.
    fn end_row(&mut self) {
        let Some(InARow { source, table, charges, cost }) = self.in_a_row.take() else { return };
        let key = (source.as_str(), (source != CostSource::Estimated).then_some(source.key()), table);
        let (sum_of_charges, sum) = self.sources.entry(key).or_insert((0, Money::ZERO));
        *sum_of_charges += charges;
        *sum = sum.saturating_add(cost);
        self.tables.extend(table);
    }

    fn add_cost(&mut self, ix: SpanIx, cost: Money) {
        let is_on_path = !self.path_below[ix.index()].is_zero();
        let is_of_retry = self.in_retry[ix.index()];
        self.add(ix, |sums| {
            let add = |sum: &mut Option<Money>, if_so: bool| {
                *sum = add_money(*sum, Some(if if_so { cost } else { Money::ZERO }));
            };
            add(&mut sums.cost, true);
            add(&mut sums.on_path, is_on_path);
            add(&mut sums.off_path, !is_on_path);
            add(&mut sums.retries, is_of_retry);
        });
        let has_failed = self.analysed.run.span(ix).record.failed();
        let facts = self.facts(ix);
        let source = facts.and_then(|facts| facts.cost_source).unwrap_or(CostSource::Recorded);
        let is_estimate = source == CostSource::Estimated;
        let table = facts.and_then(|facts| facts.cost_table.as_ref()).filter(|_| is_estimate);
        let is_same = |row: &InARow<'_>| {
            let place = |table: Option<&Arc<str>>| table.map(Arc::as_ptr);
            row.source == source && place(row.table) == place(table)
        };
        match self.in_a_row.as_mut().filter(|row| is_same(row)) {
            Some(row) => {
                row.charges += 1;
                row.cost = row.cost.saturating_add(cost);
            }
            None => {
                self.end_row();
                self.in_a_row = Some(InARow { source, table, charges: 1, cost });
            }
        }
        if facts.and_then(|facts| facts.call.as_deref()).is_some_and(|details| details.told_free) {
            self.warn("told_free");
        }
        let section = &mut self.section;
        match facts.and_then(|facts| facts.cost_parts.as_deref()).filter(|parts| parts.total() == cost) {
            Some(parts) => {
                let sum: CostParts = section.parts.unwrap_or_default();
                section.parts = Some(sum.saturating_add(parts));
            }
            None => section.unsplit_usd = add_money(section.unsplit_usd, Some(cost)),
        }
        for (sum, if_so) in [
            (&mut section.failed_usd, has_failed),
            (&mut section.lost_to_retries_usd, self.in_lost_try[ix.index()]),
        ] {
            *sum = add_money(*sum, Some(if if_so { cost } else { Money::ZERO }));
        }
        if self.analysed.booking.node_of[ix.index()].is_none() {
            section.outside_nodes_usd = add_money(section.outside_nodes_usd, Some(cost));
        }
    }

    fn warn(&mut self, of: &str) {
        *self.section.warnings.entry(of.to_owned()).or_default() += 1;
    }

    fn add_tokens(&mut self, ix: SpanIx) {
        let Some(tokens) = self.facts(ix).map(|facts| facts.tokens) else { return };
        self.add(ix, |sums| sums.tokens.add(&tokens));
    }

    fn add_call(&mut self, call: &Call) {
        let span = self.analysed.run.span(call.span);
        let facts = self.facts(call.span);
        let has_failed = span.record.failed();
        let is_priced = facts.is_some_and(|facts| facts.cost.is_some());
        let timed = self.analysed.output_speed(call);
        let details = facts.and_then(|facts| facts.call.as_deref());
        if details.is_some_and(|details| details.has_bad_cost) {
            self.warn("bad_cost");
        }
        let reason = facts.and_then(|facts| facts.unpriced);
        let is_unbilled = reason == Some(Unpriced::FailedWithoutUsage);
        let without_price = details.filter(|_| is_priced).map_or(&[][..], |details| &details.without_price);
        let is_partly_priced = !without_price.is_empty();
        for unit in without_price {
            *self.section.without_price.entry(unit.name().to_owned()).or_default() += 1;
        }
        let is_open = !is_priced && !call.is_covered && !is_unbilled;
        self.add(call.span, |sums| {
            sums.calls += 1;
            sums.priced += u64::from(is_priced);
            sums.unpriced += u64::from(is_open);
            sums.partly_priced += u64::from(is_partly_priced);
            sums.failed += u64::from(has_failed);
            if let Some((output, took)) = timed {
                sums.timed_calls += 1;
                sums.output_time = sums.output_time.saturating_add(took);
                sums.timed_output = sums.timed_output.saturating_add(output);
            }
        });
        if is_priced {
            return;
        }
        self.tables.extend(facts.and_then(|facts| facts.cost_table.as_ref()));
        self.section.covered_calls += u64::from(call.is_covered);
        let (provider, model) = model_key(facts);
        let is_streamed = details.is_some_and(|details| details.is_streamed);
        let row =
            self.unpriced.entry((reason_name(reason), (provider, model))).or_insert_with(|| UnpricedRow {
                reason: reason_name(reason).to_owned(),
                provider: provider.map(|name| name.as_ref().to_owned()),
                model: model.map(|name| name.as_ref().to_owned()),
                calls: 0,
                failed: 0,
                covered: 0,
                tokens: TokenSums::default(),
                hint: None,
            });
        row.calls += 1;
        row.failed += u64::from(has_failed);
        row.covered += u64::from(call.is_covered);
        row.tokens.add(&call.tokens);
        if row.hint.is_none() {
            row.hint = hint(reason, is_streamed).map(str::to_owned);
        }
    }

    fn into_section(mut self) -> CostSection {
        self.end_row();
        let mut all = Sums::default();
        let mut models: BTreeMap<ModelKey<'_>, Sums> = BTreeMap::new();
        let mut nodes: BTreeMap<usize, Sums> = BTreeMap::new();
        let mut depths: BTreeMap<Option<u32>, Sums> = BTreeMap::new();
        for Group { model, depth, node, sums } in &self.groups {
            all.add(sums);
            models.entry(*model).or_default().add(sums);
            depths.entry(*depth).or_default().add(sums);
            if let Some(node) = node {
                nodes.entry(*node).or_default().add(sums);
            }
        }
        let total = all.cost;
        let mut section = CostSection {
            total_usd: total,
            price_tables: self.tables.iter().map(ToString::to_string).collect(),
            calls: all.calls,
            priced_calls: all.priced,
            unpriced_calls: all.unpriced,
            partly_priced_calls: all.partly_priced,
            on_path_usd: all.on_path,
            off_path_usd: all.off_path,
            retries_usd: all.retries,
            failed_calls: all.failed,
            tokens: all.tokens,
            models: models.iter().map(|(key, sums)| model_cost(*key, sums, total)).collect(),
            depths: depths.iter().map(|(depth, sums)| depth_cost(*depth, sums)).collect(),
            unpriced: self.unpriced.into_values().collect(),
            ..self.section
        };
        let with_nested = self.analysed.costs_with_nested();
        let (booking, path, run) = (&self.analysed.booking, &self.analysed.path, self.analysed.run);
        // What only nested nodes cost is a row, too.
        for node in (0..with_nested.len()).filter(|node| with_nested[*node].is_some()) {
            nodes.entry(node).or_default();
        }
        let node_row = |(node, sums): (&usize, &Sums)| NodeCost {
            node: booking.nodes[*node].name.as_ref().to_owned(),
            calls: sums.calls,
            unpriced_calls: sums.unpriced,
            cost_usd: sums.cost,
            is_lower_bound: sums.is_lower_bound(),
            with_nested_usd: with_nested[*node],
            cost_ratio: cost_ratio(sums.cost, total),
            path_ratio: path.of(*node).and_then(|path| path.time.ratio_of(run.wall())).unwrap_or(0.0),
            on_path_usd: sums.on_path,
            off_path_usd: sums.off_path,
            retries_usd: sums.retries,
            tokens: sums.tokens,
        };
        section.nodes = nodes.iter().map(node_row).collect();
        let source =
            |((source, key, table), (charges, cost)): (&SourceKey<'_>, &(u64, Money))| CostSourceRow {
                source: (*source).to_owned(),
                key: key.map(str::to_owned),
                table: table.map(ToString::to_string),
                charges: *charges,
                cost_usd: *cost,
            };
        section.sources = self.sources.iter().map(source).collect();
        // What comes first among equals is settled by the maps' order of names: these sorts keep it.
        section.sources.sort_by_key(|row| Reverse(row.cost_usd));
        section.models.sort_by_key(|row| Reverse((row.cost_usd, row.calls)));
        section.nodes.sort_by(|a, b| b.cost_usd.cmp(&a.cost_usd).then_with(|| a.node.cmp(&b.node)));
        section.unpriced.sort_by_key(|row| Reverse(row.calls));
        // From the outside in; what is outside every node comes last.
        section.depths.sort_by_key(|row| (row.depth.is_none(), row.depth));
        section
    }
}

fn model_key(facts: Option<&NodeFacts>) -> ModelKey<'_> {
    let model = facts.and_then(|facts| facts.response_model.as_ref().or(facts.request_model.as_ref()));
    (facts.and_then(|facts| facts.provider.as_ref()), model)
}

fn model_cost((provider, model): ModelKey<'_>, sums: &Sums, total: Option<Money>) -> ModelCost {
    ModelCost {
        provider: provider.map(|name| name.as_ref().to_owned()),
        model: model.map(|name| name.as_ref().to_owned()),
        calls: sums.calls,
        unpriced_calls: sums.unpriced,
        failed_calls: sums.failed,
        cost_usd: sums.cost,
        is_lower_bound: sums.is_lower_bound(),
        cost_ratio: cost_ratio(sums.cost, total),
        tokens: sums.tokens,
        timed_calls: sums.timed_calls,
        output_time_ns: sums.output_time,
        timed_output_tokens: sums.timed_output,
    }
}

fn depth_cost(depth: Option<u32>, sums: &Sums) -> DepthCost {
    DepthCost { depth: depth.map(u64::from), calls: sums.calls, cost_usd: sums.cost, tokens: sums.tokens }
}

/// A part of the cost as a share of it; `None` where the whole is nothing, or less.
pub(super) fn cost_ratio(part: Option<Money>, total: Option<Money>) -> Option<f64> {
    let total = total.filter(|total| *total > Money::ZERO)?;
    Some(part?.as_usd() / total.as_usd())
}

/// The name reports use.
pub(super) fn reason_name(reason: Option<Unpriced>) -> &'static str {
    reason.map_or("not_priced", Unpriced::as_str)
}

/// What would give a call a cost.
const fn hint(reason: Option<Unpriced>, is_streamed: bool) -> Option<&'static str> {
    match reason {
        Some(Unpriced::UsageMissing) if is_streamed => Some(
            "streams of OpenAI-like APIs tell usage when asked with stream_options.include_usage; record it when the \
             stream ends",
        ),
        Some(Unpriced::UsageMissing) => {
            Some("record gen_ai.usage.input_tokens and gen_ai.usage.output_tokens on the call's span")
        }
        Some(Unpriced::ModelMissing) => Some("record gen_ai.response.model on the call's span"),
        Some(Unpriced::UnknownProvider | Unpriced::UnknownModel | Unpriced::NoPrice) => Some(
            "give its price with LONGPOLE_PRICES or builder().prices(), or record node.cost_usd on the call's span",
        ),
        Some(
            Unpriced::FailedWithoutUsage
            | Unpriced::CountsContradict
            | Unpriced::BadCount
            | Unpriced::TooLarge,
        )
        | None => None,
    }
}

/// What a span says that its calls do not.
fn differences(analysed: &Analysed<'_>, roll_up: &RollUp) -> Vec<RollUpDifference> {
    let RollUp { span, says, below, own, calls } = roll_up;
    let record = &analysed.run.span(*span).record;
    let row = |measure: &str, says: String, calls_say: String| RollUpDifference {
        node: analysed.node_name(*span),
        span: record.name.as_ref().to_owned(),
        span_id: record.span_id.to_string(),
        measure: measure.to_owned(),
        says,
        calls_say,
        calls: *calls,
    };
    let mut rows = Vec::new();
    if let Some((says, sum)) = says.cost.zip(below.cost) {
        let is_same = |bill: &Bill| bill.cost.is_some_and(|sum| is_rounded(says, sum, bill.charges));
        if !is_same(below) && !is_same(own) {
            rows.push(row("cost", says.to_string(), sum.to_string()));
        }
    }
    type Count = fn(&Bill) -> Option<u64>;
    let counts: [(&str, Count); 2] =
        [("input_tokens", |bill| bill.input), ("output_tokens", |bill| bill.output)];
    for (measure, count) in counts {
        if let Some((says, sum)) = count(says).zip(count(below))
            && says != sum
            && Some(says) != count(own)
        {
            rows.push(row(measure, says.to_string(), sum.to_string()));
        }
    }
    rows
}

/// Whether two amounts differ by no more than rounding.
fn is_rounded(says: Money, sum: Money, charges: u64) -> bool {
    let difference = says.as_picodollars().abs_diff(sum.as_picodollars());
    difference <= ROUNDED_AWAY.saturating_mul(u128::from(charges).saturating_add(1))
}
