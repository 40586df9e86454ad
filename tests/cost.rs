//! What a report says a run cost, worked out by hand, and laws that hold for any run. One unit is 1 ms.

#[path = "support/spans.rs"]
mod spans;

use longpole::ids::TraceId;
use longpole::money::{CostParts, Money};
use longpole::prices::{PriceTable, Unpriced};
use longpole::report::what_if_cost::{CallsOf, CostWhatIf, ModelSwitch, on_another_model};
use longpole::report::{CostSection, NodeCost, TokenSums};
use longpole::run_assembler::FinishedRun;
use longpole::span_record::{CostSource, NodeFacts, SpanRecord, Status};
use longpole::time::Timestamp;
use longpole::{Report, ReportOptions, report_on, runs_in};
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

fn with(mut record: SpanRecord, set: impl FnOnce(&mut NodeFacts)) -> SpanRecord {
    set(record.facts.get_or_insert_default());
    record
}

fn span(id: u64, parent: Option<u64>, name: &str, start: u64, end: u64) -> SpanRecord {
    spans::span(id, parent, name, start * MS, end * MS)
}

fn node(id: u64, parent: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    with(span(id, Some(parent), "step", start, end), |facts| facts.node_id = Some(name.into()))
}

/// A call of a model without a cost.
fn chat(id: u64, parent: u64, model: &str, start: u64, end: u64, tokens: (u64, u64)) -> SpanRecord {
    with(span(id, Some(parent), "chat", start, end), |facts| {
        facts.operation = Some("chat".into());
        facts.provider = Some("openai".into());
        facts.request_model = Some(model.into());
        (facts.tokens.input, facts.tokens.output) = (Some(tokens.0), Some(tokens.1));
    })
}

fn costs(record: SpanRecord, cost: &str, source: CostSource) -> SpanRecord {
    with(record, |facts| (facts.cost, facts.cost_source) = (Some(usd(cost)), Some(source)))
}

fn unpriced(record: SpanRecord, why: Unpriced) -> SpanRecord {
    with(record, |facts| facts.unpriced = Some(why))
}

fn failed(mut record: SpanRecord) -> SpanRecord {
    record.status = Status::Error;
    record
}

fn report(records: Vec<SpanRecord>) -> Report {
    let mut reports = report_on(records, &ReportOptions::default());
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

fn node_row<'r>(section: &'r CostSection, name: &str) -> &'r NodeCost {
    section
        .nodes
        .iter()
        .find(|row| row.node == name)
        .unwrap_or_else(|| panic!("{name} in {:#?}", section.nodes))
}

/// ```text
///             0    10   20   30   40   50   60   70   80   90   100
///   run       ==================================================
///   plan      ====================                                  an agent that tells its own sums
///     chat a  ==========                                            estimated, in parts
///     chat b            ==========                                  told by the provider
///   search         =======                                          beside the path, recorded
///   draft                         ====================
///     try 1                       =====                             failed, billed
///     try 2                            ===============              a retry
///   audit                                             =====         its call has no price
/// ```
fn desk() -> Vec<SpanRecord> {
    let parts = CostParts {
        input: usd("0.002"),
        output: usd("0.007"),
        cache_read: usd("0.001"),
        ..CostParts::default()
    };
    let estimate = costs(chat(3, 2, "a", 0, 20, (1000, 100)), "0.01", CostSource::Estimated);
    let first_try = costs(chat(7, 6, "a", 50, 60, (500, 5)), "0.002", CostSource::Recorded);
    let second_try = costs(chat(8, 6, "a", 60, 90, (500, 50)), "0.004", CostSource::Recorded);
    vec![
        with(span(1, None, "run", 0, 100), |facts| facts.workflow_name = Some("desk".into())),
        with(costs(node(2, 1, "plan", 0, 40), "0.05", CostSource::GenAi), |facts| {
            facts.operation = Some("invoke_agent".into());
            (facts.tokens.input, facts.tokens.output) = (Some(3000), Some(299));
        }),
        with(estimate, |facts| {
            facts.cost_parts = Some(Box::new(parts));
            facts.cost_table = Some("prices of 2026".into());
            facts.tokens.cache_read = Some(400);
        }),
        costs(chat(4, 2, "b", 20, 40, (2000, 200)), "0.03", CostSource::GenAi),
        costs(node(5, 1, "search", 15, 25), "0.005", CostSource::Recorded),
        node(6, 1, "draft", 50, 90),
        failed(first_try),
        with(second_try, |facts| facts.attempt = Some(2)),
        node(9, 1, "audit", 90, 100),
        unpriced(chat(10, 9, "new", 90, 100, (70, 7)), Unpriced::UnknownModel),
    ]
}

#[test]
fn a_run_costs_what_its_calls_do_each_counted_once() {
    let report = report(desk());
    let cost = report.cost.as_ref().unwrap();
    // 0.01 + 0.03 + 0.005 + 0.002 + 0.004; what the agent says is not charged again.
    assert_eq!((cost.total_usd, report.totals.cost_usd), (Some(usd("0.051")), Some(usd("0.051"))));
    assert_eq!((cost.calls, cost.priced_calls, cost.unpriced_calls, cost.covered_calls), (5, 4, 1, 0));
    assert!(cost.is_lower_bound);
    let parts = cost.parts.unwrap();
    assert_eq!((parts.input, parts.output, parts.cache_read), (usd("0.002"), usd("0.007"), usd("0.001")));
    assert_eq!(cost.unsplit_usd, Some(usd("0.041")));
    let sources: Vec<_> =
        cost.sources.iter().map(|row| (&*row.source, row.key.as_deref(), row.charges)).collect();
    assert_eq!(
        sources,
        [
            ("provider", Some("gen_ai.usage.cost"), 1),
            ("recorded", Some("longpole.cost.usd"), 3),
            ("estimated", None, 1)
        ]
    );
    let asked = PriceTable::embedded().label().to_string();
    assert_eq!(cost.price_tables, [asked.as_str(), "prices of 2026"]);
    assert_eq!(cost.sources[2].table.as_deref(), Some("prices of 2026"));
    // Beside the path are the search and nothing else.
    assert_eq!((cost.on_path_usd, cost.off_path_usd), (Some(usd("0.046")), Some(usd("0.005"))));
    assert_eq!(cost.retries_usd, Some(usd("0.004")));
    assert_eq!(cost.lost_to_retries_usd, Some(usd("0.002")));
    assert_eq!((cost.failed_usd, cost.failed_calls), (Some(usd("0.002")), 1));
    let tokens =
        TokenSums { input: Some(4070), output: Some(362), cache_read: Some(400), ..TokenSums::default() };
    assert_eq!(cost.tokens, tokens, "kinds nobody told are not known to be none");
}

#[test]
fn models_nodes_and_depths_are_told_dearest_first() {
    let report = report(desk());
    let cost = report.cost.as_ref().unwrap();
    let models: Vec<_> = cost
        .models
        .iter()
        .map(|row| (row.model.as_deref(), row.calls, row.unpriced_calls, row.cost_usd))
        .collect();
    assert_eq!(
        models,
        [
            (Some("b"), 1, 0, Some(usd("0.03"))),
            (Some("a"), 3, 0, Some(usd("0.016"))),
            (None, 0, 0, Some(usd("0.005"))),
            (Some("new"), 1, 1, None),
        ]
    );
    // Two calls of `a` did not fail: 150 tokens in 50 ms.
    let speed = &cost.models[1];
    assert_eq!(
        (speed.timed_calls, speed.timed_output_tokens, speed.output_time_ns.as_nanos()),
        (2, 150, 50 * MS)
    );
    let a = node_row(cost, "chat a");
    assert_eq!((a.calls, a.cost_usd, a.retries_usd), (3, Some(usd("0.016")), Some(usd("0.004"))));
    assert_eq!((a.on_path_usd, a.off_path_usd), (Some(usd("0.016")), Some(Money::ZERO)));
    let plan = node_row(cost, "plan");
    assert_eq!((plan.cost_usd, plan.with_nested_usd), (None, Some(usd("0.04"))));
    assert_eq!(cost.nodes[0].node, "chat b");
    assert_eq!(node_row(cost, "chat new").unpriced_calls, 1);
    let depths: Vec<_> = cost.depths.iter().map(|row| (row.depth, row.calls, row.cost_usd)).collect();
    assert_eq!(depths, [(Some(0), 0, Some(usd("0.005"))), (Some(1), 5, Some(usd("0.046")))]);
    let nested =
        |name: &str| report.nodes.iter().find(|node| node.name == name).unwrap().cost_with_nested_usd;
    assert_eq!((nested("draft"), nested("audit")), (Some(usd("0.006")), None));
}

#[test]
fn an_agent_that_says_something_else_than_its_calls_is_told() {
    let report = report(desk());
    let cost = report.cost.as_ref().unwrap();
    let rows: Vec<_> = cost
        .roll_ups
        .iter()
        .map(|row| (row.node.as_deref(), &*row.measure, &*row.says, &*row.calls_say, row.calls))
        .collect();
    // Its input tokens are those of its calls.
    assert_eq!(
        rows,
        [(Some("plan"), "cost", "0.05", "0.04", 2), (Some("plan"), "output_tokens", "299", "300", 2)]
    );
    assert_eq!(cost.roll_ups_total, 2);
}

#[test]
fn a_cost_rounded_to_six_decimals_is_no_difference() {
    let told = |agent: &str| {
        let cost = report(vec![
            span(1, None, "run", 0, 100),
            costs(node(2, 1, "plan", 0, 40), agent, CostSource::Recorded),
            costs(chat(3, 2, "a", 0, 20, (1, 1)), "0.0000014", CostSource::Estimated),
        ])
        .cost;
        cost.unwrap().roll_ups_total
    };
    assert_eq!([told("0.000001"), told("0.0000035")], [0, 1]);
}

#[test]
fn what_is_not_known_is_never_nothing() {
    let calls = |why: Unpriced| {
        let mut records = vec![span(1, None, "run", 0, 100)];
        records.push(unpriced(chat(2, 1, "a", 0, 100, (5, 1)), why));
        report(records)
    };
    let unknown = calls(Unpriced::UnknownModel);
    let cost = unknown.cost.as_ref().unwrap();
    assert_eq!((cost.total_usd, cost.on_path_usd, cost.retries_usd, cost.parts), (None, None, None, None));
    assert!(cost.is_lower_bound);
    let [row] = &cost.unpriced[..] else { panic!("{:?}", cost.unpriced) };
    assert_eq!(
        (&*row.reason, row.provider.as_deref(), row.model.as_deref()),
        ("unknown_model", Some("openai"), Some("a"))
    );
    assert_eq!((row.calls, row.tokens.input, row.tokens.cache_read), (1, Some(5), None));
    assert!(row.hint.as_deref().unwrap().contains("LONGPOLE_PRICES"));
    let text = unknown.to_text();
    assert!(text.contains("cost ?") && !text.contains("$0"), "{text}");
    assert!(text.contains("1 call of a (unknown model, 5 in, 1 out)"), "{text}");
    let json: serde_json::Value = serde_json::to_value(&unknown).unwrap();
    assert!(json["cost"]["total_usd"].is_null() && json["cost"]["nodes"][0]["cost_usd"].is_null());
}

#[test]
fn a_failed_call_without_usage_is_counted_and_is_no_doubt_about_the_sum() {
    let refused = failed(with(chat(3, 1, "a", 50, 60, (0, 0)), |facts| facts.tokens = Default::default()));
    let cost = report(vec![
        span(1, None, "run", 0, 100),
        costs(chat(2, 1, "a", 0, 50, (5, 1)), "0.01", CostSource::Estimated),
        refused.clone(),
    ])
    .cost
    .unwrap();
    assert!(!cost.is_lower_bound);
    assert_eq!((cost.calls, cost.priced_calls, cost.unpriced_calls), (2, 1, 0));
    let [row] = &cost.unpriced[..] else { panic!("{:?}", cost.unpriced) };
    assert_eq!((&*row.reason, row.calls, row.failed), ("failed_without_usage", 1, 1));
    let mut ended_well = refused;
    ended_well.status = Status::Unset;
    let cost = report(vec![span(1, None, "run", 0, 100), ended_well]).cost.unwrap();
    assert_eq!((cost.is_lower_bound, cost.unpriced_calls), (true, 1));
}

#[test]
fn what_an_agent_tells_pays_for_calls_without_a_price() {
    let report = report(vec![
        span(1, None, "run", 0, 100),
        costs(node(2, 1, "plan", 0, 40), "0.05", CostSource::Recorded),
        unpriced(chat(3, 2, "a", 0, 20, (1, 1)), Unpriced::UnknownModel),
    ]);
    let cost = report.cost.as_ref().unwrap();
    assert_eq!((cost.total_usd, cost.is_lower_bound), (Some(usd("0.05")), false));
    assert_eq!((cost.calls, cost.covered_calls, cost.unpriced_calls), (1, 1, 0));
    assert_eq!(cost.unpriced[0].covered, 1);
    assert!(!report.to_text().contains('≥'));
}

#[test]
fn a_call_inside_a_node_that_is_none_itself_is_a_phase_with_a_cost() {
    let call = with(costs(span(3, Some(2), "http", 0, 20), "0.01", CostSource::Recorded), |facts| {
        facts.phase = Some("embed".into());
    });
    let report = report(vec![span(1, None, "run", 0, 100), node(2, 1, "plan", 0, 40), call]);
    let plan = report.nodes.iter().find(|node| node.name == "plan").unwrap();
    assert_eq!((&*plan.phases[0].name, plan.phases[0].cost_usd), ("embed", Some(usd("0.01"))));
    assert_eq!((plan.cost_usd, plan.cost_with_nested_usd), (Some(usd("0.01")), Some(usd("0.01"))));
    // The node's row on the path has it, too.
    assert_eq!(report.critical_path.rows[0].cost_usd, Some(usd("0.01")));
}

#[test]
fn the_text_tells_all_of_it() {
    let text = report(desk()).to_text();
    let from = text.find("Cost   ").unwrap();
    assert!(text.contains("cost ≥ $0.0510"), "{text}");
    let table = PriceTable::embedded().label().to_string();
    insta::assert_snapshot!(text[from..].replace(&table, "the table of longpole, of a day"), @r"
    Cost          chat b $0.0300 (59%), chat a $0.0160 (31%), search $0.0050 (10%)
                  $0.0050 (10%) off the critical path, $0.0040 (8%) in retries,
                  $0.0020 (4%) in calls that failed
    Models        b ×1 $0.0300, a ×3 $0.0160, new ×1 ?
    Unpriced      1 call of new (unknown model, 70 in, 7 out)
                  give its price with LONGPOLE_PRICES or builder().prices(), or
                  record node.cost_usd on the call's span
    Prices        $0.0300 told in gen_ai.usage.cost,
                  $0.0110 recorded by the program, $0.0100 estimated with
                  prices of 2026, nothing found in the table of longpole, of a day
    Differs       plan says $0.0500, the 2 calls in it come to $0.0400; the calls
                  count
    Differs       plan says 299 output tokens, the 2 calls in it come to 300; the
                  calls count
    Tokens        4,070 in (400 cached), 362 out
    Confidence    high: 10 of 10 spans closed, 0 orphans,
                  4 edges inferred from time, no skew
    ");
}

/// One provider with three models: 1 $ and 2 $, 10 $ and 20 $, and prices that changed on 2023-11-15.
fn prices() -> PriceTable {
    PriceTable::from_json(
        r#"{"name": "acme", "providers": [{"id": "acme", "name": "Acme", "api_pattern": "acme", "models": [
            {"id": "small", "match": {"equals": "small"}, "prices": {"input_mtok": 1, "output_mtok": 2}},
            {"id": "large", "match": {"equals": "large"}, "prices": {"input_mtok": 10, "output_mtok": 20}},
            {"id": "dated", "match": {"equals": "dated"}, "prices": [
                {"prices": {"input_mtok": 100}},
                {"constraint": {"start_date": "2023-11-15"}, "prices": {"input_mtok": 5, "output_mtok": 5}}
            ]}
        ]}]}"#,
    )
    .unwrap()
}

/// ```text
///   run
///     draft
///       small    1,000 in, 100 out
///     revise
///       small    2,000 in, 200 out
///       none     its cost is not known
///     told       large, told to have cost $0.5, 1,000 in, 0 out
/// ```
fn priced() -> FinishedRun {
    let at = |mut record: SpanRecord| {
        (record.start, record.end) = (Timestamp::from_unix_nanos(1_700_000_000_000_000_000), record.start);
        record.end = record.start.saturating_add(longpole::time::Duration::from_millis(5));
        with(record, |facts| facts.provider = facts.provider.as_ref().map(|_| "acme".into()))
    };
    let told = costs(chat(7, 1, "large", 0, 1, (1000, 0)), "0.5", CostSource::GenAi);
    let records = [
        span(1, None, "run", 0, 100),
        node(2, 1, "draft", 0, 10),
        chat(3, 2, "small", 0, 1, (1000, 100)),
        node(4, 1, "revise", 0, 10),
        chat(5, 4, "small", 0, 1, (2000, 200)),
        chat(6, 4, "none", 0, 1, (1, 1)),
        told,
    ];
    runs_in(records.map(at).to_vec()).remove(0)
}

fn switched(calls: CallsOf, model: &str) -> CostWhatIf {
    let switch = ModelSwitch { calls, provider: Some("acme".to_owned()), model: model.to_owned() };
    let options = ReportOptions { prices: Some(prices()), ..ReportOptions::default() };
    on_another_model(priced(), &switch, &options).unwrap()
}

#[test]
fn the_same_tokens_on_another_model_cost_what_the_table_says() {
    // 0.0012 and 0.0024 on the small one; ten times as much on the large one.
    let answer = switched(CallsOf::Model { model: "small".to_owned() }, "large");
    assert_eq!((answer.calls, answer.compared_calls), (2, 2));
    assert_eq!((answer.cost_usd, answer.new_cost_usd), (Some(usd("0.0036")), Some(usd("0.036"))));
    assert_eq!(answer.saves_usd, Some(usd("-0.0324")));
    assert_eq!((answer.run_cost_usd, answer.new_run_cost_usd), (Some(usd("0.5036")), Some(usd("0.536"))));
    assert!(answer.price_table.starts_with("acme"), "{}", answer.price_table);

    // What was told to have cost 0.5 would have cost 0.001; of one call nobody knows what it cost.
    let answer = switched(CallsOf::All, "small");
    assert_eq!((answer.calls, answer.compared_calls, answer.not_compared["no_cost"]), (4, 3, 1));
    assert_eq!(answer.saves_usd, Some(usd("0.499")));

    let answer = switched(CallsOf::Node { node: "draft".to_owned() }, "large");
    assert_eq!((answer.calls, answer.saves_usd), (1, Some(usd("-0.0108"))));
}

#[test]
fn another_model_is_priced_at_the_time_of_the_calls_and_counted_where_it_has_no_price() {
    // On 2023-11-14 a million tokens cost 100 $ there, and output had no price.
    let answer = switched(CallsOf::Model { model: "large".to_owned() }, "dated");
    assert_eq!((answer.compared_calls, answer.new_cost_usd), (1, Some(usd("0.1"))), "it wrote nothing");
    let answer = switched(CallsOf::Node { node: "draft".to_owned() }, "dated");
    assert_eq!((answer.compared_calls, answer.not_compared["no_price"]), (0, 1));
    let answer = switched(CallsOf::All, "huge");
    assert_eq!((answer.compared_calls, answer.saves_usd), (0, None));
    assert_eq!(answer.not_compared.values().sum::<u64>(), 4);
    assert_eq!(answer.not_compared["unknown_model"], 3);
    assert_eq!(answer.run_cost_usd, answer.new_run_cost_usd);
}

#[test]
fn a_choice_of_calls_that_are_not_there_is_an_error_with_names_like_it() {
    let switch = |calls| ModelSwitch { calls, provider: None, model: "large".to_owned() };
    let of = |calls| on_another_model(priced(), &switch(calls), &ReportOptions::default()).unwrap_err();
    let model = of(CallsOf::Model { model: "smal".to_owned() });
    assert_eq!(model.to_string(), "no call of a model \"smal\" in this run; did you mean small?");
    assert_eq!(
        of(CallsOf::Node { node: "drat".to_owned() }).to_string(),
        "no node \"drat\" in this run; did you mean draft?"
    );
}

#[test]
fn what_was_used_and_has_no_price_makes_a_cost_a_lower_bound() {
    let options = ReportOptions { prices: Some(prices()), ..ReportOptions::default() };
    let acme = |model: &str| {
        with(chat(2, 1, model, 0, 50, (1000, 100)), |facts| facts.provider = Some("acme".into()))
    };
    let report = |model: &str| report_on(vec![span(1, None, "run", 0, 100), acme(model)], &options).remove(0);
    // Before its prices changed, output of `dated` had none.
    let told = report("dated");
    let cost = told.cost.as_ref().unwrap();
    assert_eq!((cost.total_usd, cost.is_lower_bound), (Some(usd("0.1")), true));
    assert_eq!((cost.priced_calls, cost.unpriced_calls, cost.partly_priced_calls), (1, 0, 1));
    assert_eq!(cost.without_price["output_tokens"], 1);
    assert!(cost.models[0].is_lower_bound && cost.nodes[0].is_lower_bound);
    let text = told.to_text();
    assert!(text.contains("cost ≥ $0.1000") && text.contains("output tokens in 1 call"), "{text}");
    assert!(!report("small").cost.unwrap().is_lower_bound);
}

#[test]
fn a_call_is_priced_by_hand_with_cached_tokens_once() {
    // gpt-4o-mini: 0.15 $, 0.075 $ cached and 0.60 $ out for a million. 600·0.15 + 400·0.075 + 100·0.60 = 180 µ$.
    let call = |id, start, end| {
        with(chat(id, 2, "gpt-4o-mini", start, end, (1000, 100)), |facts| facts.tokens.cache_read = Some(400))
    };
    let agent = with(node(2, 1, "plan", 0, 100), |facts| {
        facts.operation = Some("invoke_agent".into());
        (facts.tokens.input, facts.tokens.output, facts.cost) = (Some(2000), Some(200), Some(usd("0.00036")));
    });
    let report = report(vec![span(1, None, "run", 0, 100), agent, call(3, 0, 50), call(4, 50, 100)]);
    let cost = report.cost.unwrap();
    assert_eq!((cost.total_usd, cost.is_lower_bound, cost.roll_ups_total), (Some(usd("0.00036")), false, 0));
    let parts = cost.parts.unwrap();
    assert_eq!(
        (parts.input, parts.cache_read, parts.output),
        (usd("0.00018"), usd("0.00006"), usd("0.00012"))
    );
    assert_eq!(cost.sources[0].table.as_deref(), Some(&**PriceTable::embedded().label()));
}

#[test]
fn a_stream_without_usage_comes_with_the_hint_how_to_get_it() {
    let call = with(chat(2, 1, "gpt-4o-mini", 0, 50, (0, 0)), |facts| {
        facts.tokens = Default::default();
        facts.call.get_or_insert_default().is_streamed = true;
    });
    let told = report(vec![span(1, None, "run", 0, 100), call]);
    let row = &told.cost.as_ref().unwrap().unpriced[0];
    assert_eq!((&*row.reason, row.model.as_deref()), ("usage_missing", Some("gpt-4o-mini")));
    assert!(told.to_text().contains("stream_options.include_usage"), "{}", told.to_text());
}

/// A span of a generated run.
#[derive(Clone, Debug)]
struct Made {
    parent: usize,
    operation: Option<&'static str>,
    is_node: bool,
    cost: Option<i64>,
    source: u8,
    tokens: Option<(u64, u64)>,
    has_failed: bool,
    attempt: Option<u64>,
    start: u64,
    length: u64,
}

prop_compose! {
    fn made()(
        parent in any::<prop::sample::Index>(),
        operation in prop::sample::select(vec![
            None, Some("chat"), Some("chat"), Some("embeddings"), Some("invoke_agent"), Some("execute_tool"),
        ]),
        is_node: bool,
        cost in prop::option::of(-5i64..1_000_000_000_000),
        source in 0u8..3,
        tokens in prop::option::of((0u64..10_000, 0u64..1_000)),
        has_failed in prop::bool::weighted(0.2),
        attempt in prop::option::weighted(0.2, 1u64..3),
        start in 0u64..50,
        length in 0u64..60,
    ) -> Made {
        Made { parent: parent.index(1_000), operation, is_node, cost, source, tokens, has_failed, attempt, start, length }
    }
}

/// The generated spans below a root that tells nothing.
fn records(made: &[Made]) -> Vec<SpanRecord> {
    let mut records = vec![span(1, None, "run", 0, 100)];
    for (index, made) in made.iter().enumerate() {
        let parent = (made.parent % (index + 1)) as u64 + 1;
        let mut record = span(index as u64 + 2, Some(parent), "step", made.start, made.start + made.length);
        if made.has_failed {
            record.status = Status::Error;
        }
        records.push(with(record, |facts| {
            facts.operation = made.operation.map(Into::into);
            facts.node_id = made.is_node.then(|| format!("n{}", index % 4).into());
            facts.request_model = Some(format!("m{}", index % 3).into());
            facts.cost = made.cost.map(|cost| Money::from_picodollars(cost.into()));
            let sources = [CostSource::Recorded, CostSource::GenAi, CostSource::Estimated];
            facts.cost_source = facts.cost.map(|_| sources[made.source as usize]);
            facts.tokens.input = made.tokens.map(|tokens| tokens.0);
            facts.tokens.output = made.tokens.map(|tokens| tokens.1);
            facts.attempt = made.attempt;
        }));
    }
    records
}

fn sum(amounts: impl Iterator<Item = Option<Money>>) -> Option<Money> {
    amounts.flatten().reduce(Money::saturating_add)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_way_to_add_it_up_comes_to_the_same(made in prop::collection::vec(made(), 1..24)) {
        let report = report(records(&made));
        let Some(cost) = &report.cost else {
            prop_assert_eq!(report.totals.cost_usd, None);
            return Ok(());
        };
        let total = cost.total_usd;
        prop_assert_eq!(total, report.totals.cost_usd);
        prop_assert_eq!(total, sum(cost.models.iter().map(|row| row.cost_usd)));
        prop_assert_eq!(total, sum(cost.depths.iter().map(|row| row.cost_usd)));
        prop_assert_eq!(total, sum(cost.sources.iter().map(|row| Some(row.cost_usd))));
        prop_assert_eq!(total, sum(cost.nodes.iter().map(|row| row.cost_usd).chain([cost.outside_nodes_usd])));
        prop_assert_eq!(total, sum([cost.on_path_usd, cost.off_path_usd].into_iter()));
        prop_assert_eq!(total, sum([cost.parts.map(|parts| parts.total()), cost.unsplit_usd].into_iter()));
        prop_assert_eq!(cost.calls, cost.models.iter().map(|row| row.calls).sum::<u64>());
        prop_assert_eq!(cost.calls, cost.depths.iter().map(|row| row.calls).sum::<u64>());
        prop_assert_eq!(cost.calls - cost.priced_calls, cost.unpriced.iter().map(|row| row.calls).sum::<u64>());
        prop_assert_eq!(cost.failed_calls, cost.models.iter().map(|row| row.failed_calls).sum::<u64>());
        for row in &cost.nodes {
            prop_assert_eq!(row.cost_usd, sum([row.on_path_usd, row.off_path_usd].into_iter()));
            let node = report.nodes.iter().find(|node| node.name == row.node).unwrap();
            prop_assert_eq!(node.cost_usd, row.cost_usd);
            prop_assert_eq!(node.cost_with_nested_usd, row.with_nested_usd);
            prop_assert_eq!(node.tokens.map(|tokens| tokens.output), row.tokens.output);
        }
        prop_assert_eq!(report.totals.tokens.map(|tokens| tokens.input), cost.tokens.input);
        let of_models = cost.models.iter().filter_map(|row| row.tokens.input).reduce(u64::saturating_add);
        prop_assert_eq!(cost.tokens.input, of_models);
    }

    #[test]
    fn parts_of_a_run_cost_together_what_it_costs_as_a_whole(made in prop::collection::vec(made(), 1..24)) {
        let whole = report(records(&made));
        // Everything below each child of the root, as a trace of its own.
        let mut top: Vec<u64> = vec![1, 1];
        let mut parts: Vec<SpanRecord> = Vec::new();
        for mut record in records(&made).into_iter().skip(1) {
            let number = |id: &longpole::ids::SpanId| u64::from_be_bytes(id.to_bytes());
            let (id, parent) = (number(&record.span_id), record.parent_id.as_ref().map(number).unwrap());
            let of = if parent == 1 { id } else { top[parent as usize] };
            top.push(of);
            record.trace_id = TraceId::from_bytes(u128::from(of).to_be_bytes());
            record.parent_id = record.parent_id.filter(|_| parent != 1);
            parts.push(record);
        }
        let parts = report_on(parts, &ReportOptions::default());
        let sections = || parts.iter().filter_map(|part| part.cost.as_ref());
        let section = whole.cost.clone().unwrap_or_default();
        prop_assert_eq!(section.total_usd, sum(sections().map(|part| part.total_usd)));
        prop_assert_eq!(section.calls, sections().map(|part| part.calls).sum::<u64>());
        prop_assert_eq!(section.unpriced_calls, sections().map(|part| part.unpriced_calls).sum::<u64>());
        prop_assert_eq!(section.roll_ups_total, sections().map(|part| part.roll_ups_total).sum::<u64>());
        let output = sections().filter_map(|part| part.tokens.output).reduce(u64::saturating_add);
        prop_assert_eq!(section.tokens.output, output);
    }

    #[test]
    fn a_span_that_repeats_the_sums_changes_no_sum(made in prop::collection::vec(made(), 1..16)) {
        let plain = report(records(&made));
        let mut repeated = records(&made);
        let section = plain.cost.clone().unwrap_or_default();
        prop_assume!(section.total_usd.is_some() && section.tokens.input.is_some());
        repeated[0] = with(repeated[0].clone(), |facts| {
            facts.cost = section.total_usd;
            facts.tokens.input = section.tokens.input;
            facts.tokens.output = section.tokens.output;
        });
        let told = report(repeated).cost.unwrap();
        prop_assert_eq!(told.total_usd, section.total_usd);
        prop_assert_eq!(told.tokens, section.tokens);
        prop_assert_eq!(told.roll_ups_total, section.roll_ups_total);
        prop_assert_eq!(told.models, section.models);
    }
}

#[test]
fn the_order_of_spans_changes_nothing() {
    let mut backwards = desk();
    backwards.reverse();
    assert_eq!(report(backwards), report(desk()));
}
