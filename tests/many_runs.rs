//! Many runs: against independent answers, and what holds for any.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use longpole::analysis::critical_path::critical_path;
use longpole::ids::TraceId;
use longpole::many_runs::report::{GroupReport, Tail};
use longpole::many_runs::{GroupKey, ManyRuns, OTHER_NODES, RunProfile};
use longpole::run::Run;
use longpole::span_record::SpanRecord;
use longpole::time::{Duration, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

#[path = "support/spans.rs"]
mod spans;
use spans::span;

const ORIGIN: u64 = 1_700_000_000_000_000_000;

fn profile(records: Vec<SpanRecord>) -> RunProfile {
    let run = Run::from_records(records).unwrap();
    RunProfile::of(&run, &critical_path(&run).segments)
}

fn added<'r>(profiles: impl IntoIterator<Item = &'r RunProfile>) -> ManyRuns {
    let mut runs = ManyRuns::default();
    profiles.into_iter().for_each(|profile| runs.add(profile));
    runs
}

fn only_group(runs: &ManyRuns) -> GroupReport {
    let mut report = runs.report(ManyRuns::TAIL_PERCENTILE);
    assert_eq!(report.groups.len(), 1);
    report.groups.remove(0)
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oracles/many_runs")
}

fn two_hundred_runs() -> Vec<RunProfile> {
    let mut bytes = Vec::new();
    let packed = std::fs::read(folder().join("40_aggregate_200_runs.otlp.json.gz")).unwrap();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    let decoded = longpole::decode::decode(&bytes).unwrap();
    assert!(decoded.problems.is_empty());
    let mut traces: BTreeMap<TraceId, Vec<SpanRecord>> = BTreeMap::new();
    for record in decoded.spans {
        traces.entry(record.trace_id).or_default().push(record);
    }
    traces.into_values().map(profile).collect()
}

/// Within what three decimals can tell apart.
fn assert_close(told: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((told - expected).abs() <= 0.000_501, "{what}: {told}, expected {expected}");
}

#[test]
fn two_hundred_runs_come_out_right() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(folder().join("40_aggregate_200_runs.expected.json")).unwrap())
            .unwrap();
    let profiles = two_hundred_runs();
    let runs = added(&profiles);
    let group = only_group(&runs);
    assert_eq!(group.runs, expected["runs"]);
    assert_eq!((group.partial_runs, group.is_exact), (0, true));
    assert_eq!(group.total_wall_ns.as_nanos(), expected["total_wall_ns"]);
    let wall = group.wall.unwrap();
    assert_eq!(wall.p50_ns.as_nanos(), expected["wall_p50_ns"]);
    assert_eq!(wall.p95_ns.as_nanos(), expected["wall_p95_ns"]);
    assert_eq!(wall.p99_ns.as_nanos(), expected["wall_p99_ns"]);

    let by_name = expected["by_name"].as_object().unwrap();
    assert_eq!(group.nodes.len(), by_name.len());
    for node in &group.nodes {
        let expected = &by_name[&node.name];
        assert_eq!(node.runs_on_path, expected["runs_on_path"], "{}", node.name);
        assert_eq!(node.total_path_ns.as_nanos(), expected["cp_total_ns"], "{}", node.name);
        assert!(
            (node.wall_ratio * 100.0 - expected["share_of_total_wall_pct"].as_f64().unwrap()).abs() <= 1e-6
        );
    }

    let tail = &group.tail;
    assert_eq!((tail.tail_runs, tail.mid_runs), (11, 42));
    assert_eq!(tail.tail_runs, expected["tail_runs"]);
    assert_eq!(tail.mid_runs, expected["mid_runs"]);
    let ownership = tail.ownership.as_ref().unwrap();
    assert_close(ownership.gap_ns, &expected["tail_minus_mid_mean_wall_ns"], "gap");
    let owners = expected["tail_ownership"].as_object().unwrap();
    assert_eq!(ownership.owners.len(), owners.len());
    assert_eq!(ownership.owners[0].name, "retrieve");
    for owner in &ownership.owners {
        let expected = &owners[&owner.name];
        assert_close(owner.delta_ns, &expected["delta_ns"], &owner.name);
        assert_close(owner.because_more_often_ns, &expected["because_more_often_ns"], &owner.name);
        assert_close(owner.because_longer_ns, &expected["because_longer_ns"], &owner.name);
        let percent = owner.gap_ratio.unwrap() * 100.0;
        assert!((percent - expected["pct_of_gap"].as_f64().unwrap()).abs() <= 1e-6, "{}", owner.name);
    }

    let key = runs.groups().next().unwrap().clone();
    let folded = |text: &str| -> BTreeMap<String, u64> {
        let stack =
            |line: &str| line.rsplit_once(' ').map(|(stack, ns)| (stack.to_owned(), ns.parse().unwrap()));
        text.lines().filter_map(stack).collect()
    };
    let all = folded(&runs.folded_stacks(&key).unwrap());
    let listed: BTreeMap<String, u64> = expected["folded_ns"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(stack, ns)| (stack.clone(), ns.as_u64().unwrap()))
        .collect();
    assert_eq!(all, listed);
    let tail_stacks = folded(&runs.folded_tail_stacks(&key, ManyRuns::TAIL_PERCENTILE).unwrap());
    assert_eq!(tail_stacks.values().sum::<u64>(), ownership.tail_wall_ns.as_nanos());

    let variants = expected["path_variants"].as_object().unwrap();
    assert_eq!((group.variants.len(), group.variants_total), (variants.len(), variants.len() as u64));
    for variant in &group.variants {
        let expected = &variants[&variant.path.join(" > ")];
        assert_eq!(variant.runs, expected["runs"]);
        let mean = variant.total_wall_ns.as_nanos() as f64 / variant.runs as f64;
        assert_close(mean, &expected["mean_wall_ns"], &variant.path.join(" > "));
    }
    assert_eq!(group.variants[0].runs, 124, "most frequent first");
}

/// The profile of a run of `names` one after the other, each so many nanoseconds, then 1 ns of the root's own.
fn sequence(id: u64, names: &[(&str, u64)]) -> RunProfile {
    let end = names.iter().map(|(_, length)| length).sum::<u64>();
    let mut records = vec![span(1, None, "run", ORIGIN, ORIGIN + end + 1)];
    let mut at = ORIGIN;
    for (id, (name, length)) in (2..).zip(names) {
        records.push(span(id, Some(1), name, at, at + length));
        at += length;
    }
    with_id(id, profile(records))
}

fn with_id(id: u64, mut profile: RunProfile) -> RunProfile {
    profile.trace_id = TraceId::from_bytes(u128::from(id).to_be_bytes());
    profile
}

#[test]
fn time_in_no_node_goes_to_the_root_and_inner_spans_to_their_node() {
    let mut records = vec![
        span(1, None, "run", 0, 100),
        span(2, Some(1), "agent", 0, 60),
        span(3, Some(2), "http", 10, 50),
        span(4, Some(1), "loose", 60, 90),
    ];
    records[1].facts.get_or_insert_default().node_id = Some("think".into());
    let profile = profile(records);
    let path: Vec<_> = profile.path.iter().map(|node| (&*node.name, node.time.as_nanos())).collect();
    assert_eq!(path, [("think", 60), ("run", 40)]);
    assert_eq!(profile.variant, ["think".into()]);
    assert_eq!(profile.folded_stacks(), "run 10\nrun;loose 30\nrun;think 20\nrun;think;http 40\n");
}

#[test]
fn too_few_runs_have_no_owner_of_their_tail() {
    let profiles: Vec<_> = (0..100).map(|n| sequence(n, &[("a", 100 + n)])).collect();
    let group = only_group(&added(&profiles));
    // P95 is the 95th of 100, so six runs are long.
    assert_eq!((group.tail.tail_runs, group.tail.mid_runs, group.tail.min_runs), (6, 21, Tail::MIN_RUNS));
    assert_eq!(group.tail.ownership, None);
    let earlier = added(&profiles).report(90).groups.remove(0).tail;
    assert_eq!(earlier.tail_runs, 11);
    let ownership = earlier.ownership.unwrap();
    assert_eq!(ownership.owners[0].name, "a");
    assert_eq!(ownership.gap_ns, ownership.owners[0].delta_ns, "the root takes the same time in all");
}

#[test]
fn partial_runs_count_in_sums_and_not_in_quantiles_or_the_tail() {
    let mut profiles: Vec<_> = (0..3).map(|n| sequence(n, &[("a", 10)])).collect();
    let missing = vec![span(1, None, "run", 0, 1000), span(2, Some(9), "a", 0, 1000)];
    profiles.push(profile(missing));
    let group = only_group(&added(&profiles));
    assert_eq!((group.runs, group.partial_runs, group.tail.compared_runs), (4, 1, 3));
    assert_eq!(group.total_wall_ns.as_nanos(), 3 * 11 + 1000);
    assert_eq!(group.wall.unwrap().p99_ns.as_nanos(), 11);
    let a = &group.nodes[0];
    assert_eq!((a.runs_on_path, a.total_path_ns.as_nanos()), (4, 1030));
    assert!(a.exemplars.iter().all(|exemplar| exemplar.path_ns.as_nanos() == 10));
}

#[test]
fn the_runs_with_most_time_are_the_exemplars_and_drag_is_averaged_where_known() {
    let mut profiles: Vec<_> =
        [7, 30, 20, 30, 5].iter().zip(1..).map(|(ns, id)| sequence(id, &[("a", *ns)])).collect();
    profiles[0].set_drags(|name| (name == "a").then_some(Duration::from_nanos(7)));
    profiles[1].set_drags(|name| (name == "a").then_some(Duration::from_nanos(10)));
    let group = only_group(&added(&profiles));
    let a = &group.nodes[0];
    let exemplars: Vec<_> =
        a.exemplars.iter().map(|exemplar| (&exemplar.trace_id[30..], exemplar.path_ns.as_nanos())).collect();
    assert_eq!(exemplars, [("02", 30), ("04", 30), ("03", 20)]);
    assert_eq!(a.mean_drag_ns, Some(Duration::from_nanos(9)), "8.5, rounded half up");
    assert_eq!(group.nodes[1].mean_drag_ns, None);
    assert_eq!(a.mean_path_ns.as_nanos(), 18, "92 / 5 = 18.4");
}

#[test]
fn workflows_services_and_versions_are_groups_of_their_own_up_to_a_limit() {
    let mut runs = ManyRuns::default();
    for n in 0..ManyRuns::MAX_GROUPS as u64 + 5 {
        let mut profile = sequence(n, &[("a", 5)]);
        profile.group.version = Some(format!("{n:03}").into());
        runs.add(&profile);
    }
    let report = runs.report(95);
    assert_eq!((report.groups.len(), report.runs, report.runs_left_out), (ManyRuns::MAX_GROUPS, 37, 5));
    let mut twice = runs.clone();
    twice.merge(&runs);
    let report = twice.report(95);
    assert_eq!((report.runs, report.runs_left_out, report.groups[0].runs), (74, 10, 2));
}

#[test]
fn past_the_limit_a_sample_is_kept_that_order_and_merging_do_not_change() {
    let profiles: Vec<_> = (0..3_000).map(|n| sequence(n, &[("a", 1_000 + n), ("b", 500)])).collect();
    let forwards = added(&profiles);
    let group = only_group(&forwards);
    assert!(!group.is_exact && group.tail.is_sample);
    assert_eq!(group.tail.compared_runs, ManyRuns::MAX_KEPT_RUNS as u64);
    assert_eq!(group.runs, 3_000);
    let total: u64 = (0..3_000u64).map(|n| 1_501 + n).sum();
    assert_eq!(group.total_wall_ns.as_nanos(), total, "sums are of all runs");
    let p50 = group.wall.unwrap().p50_ns.as_nanos() as f64;
    assert!((p50 - 3_000.0).abs() <= 3_000.0 * 0.0109, "{p50}");
    // An even sample: its median is near that of all, 1 in 6 would be far off.
    let mid = group.tail.mid_from_ns.unwrap().as_nanos();
    assert!((2_500..2_900).contains(&mid), "{mid}");

    let backwards = added(profiles.iter().rev());
    assert_eq!(backwards.report(95), forwards.report(95));
    let mut halves = added(&profiles[..1_700]);
    halves.merge(&added(&profiles[1_700..]));
    assert_eq!(halves.report(95), forwards.report(95));
}

#[test]
fn names_and_ways_past_the_limits_are_counted_and_no_time_is_lost() {
    let names: Vec<String> = (0..1_500).map(|n| format!("n{n}")).collect();
    let profiles: Vec<_> = (0..1_500).map(|n| sequence(n, &[(&names[n as usize], 10)])).collect();
    let group = only_group(&added(&profiles));
    assert_eq!(group.nodes.len(), 1_000);
    let other = group.nodes.iter().find(|node| node.name == OTHER_NODES).unwrap();
    assert_eq!((other.runs_on_path, group.names_left_out), (502, 502), "998 names, run and the rest");
    assert_eq!(group.nodes.iter().map(|node| node.total_path_ns).sum::<Duration>(), group.total_wall_ns);
    assert_eq!(group.variants_total, 999);

    let many: Vec<(&str, u64)> = names.iter().take(300).zip(1..).map(|(name, ns)| (&**name, ns)).collect();
    let long = sequence(1, &many);
    assert_eq!(long.path.len(), RunProfile::MAX_NAMES);
    assert_eq!(long.path.iter().map(|node| node.time).sum::<Duration>(), long.wall);
    assert!(long.path.iter().any(|node| &*node.name == OTHER_NODES));
    assert!(long.path.iter().any(|node| &*node.name == "n299"), "the longest are told apart");
}

#[test]
fn nothing_and_runs_without_length_are_told_without_inventing_anything() {
    let nothing = ManyRuns::default();
    assert_eq!(nothing.report(95).groups, []);
    assert_eq!(nothing.folded_stacks(&GroupKey::default()), None);
    let runs = added(&[profile(vec![span(1, None, "run", 5, 5)])]);
    let group = only_group(&runs);
    assert_eq!((group.runs, group.nodes.len(), group.tail.ownership.is_some()), (1, 0, false));
    assert_eq!(group.variants[0].path, Vec::<String>::new());
}

/// Runs of up to 24 spans, whose starts and names come from few, so that they meet.
fn run_records() -> impl Strategy<Value = Vec<SpanRecord>> {
    let others = (any::<prop::sample::Index>(), 0..5u8, 0..100u64, 0..60u64);
    (1..100u64, prop::collection::vec(others, 0..12)).prop_map(|(wall, others)| {
        let mut records = vec![span(1, None, "n0", ORIGIN, ORIGIN + wall)];
        for (index, (parent, name, start, length)) in (1..).zip(others) {
            let (parent, start) = (1 + parent.index(index) as u64, ORIGIN + start);
            records.push(span(1 + index as u64, Some(parent), &format!("n{name}"), start, start + length));
        }
        records
    })
}

fn shifted(records: &[SpanRecord], by: u64) -> Vec<SpanRecord> {
    let later = |at: Timestamp| Timestamp::from_unix_nanos(at.as_unix_nanos() + by);
    let shift = |record: &SpanRecord| SpanRecord {
        start: later(record.start),
        end: later(record.end),
        ..record.clone()
    };
    records.iter().map(shift).collect()
}

fn folded_total(text: &str) -> u64 {
    text.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn everything_adds_up_and_order_merging_and_time_of_day_change_nothing(
        traces in prop::collection::vec(run_records(), 60..90),
        cut in any::<prop::sample::Index>(),
        by in 0..1_000_000u64,
    ) {
        let profiles: Vec<RunProfile> = traces.iter().zip(0..).map(|(records, id)| with_id(id, profile(records.clone()))).collect();
        for profile in &profiles {
            prop_assert_eq!(profile.path.iter().map(|node| node.time).sum::<Duration>(), profile.wall);
            prop_assert_eq!(folded_total(&profile.folded_stacks()), profile.wall.as_nanos());
        }
        let runs = added(&profiles);
        // P80, so that there are ten long runs.
        let report = runs.report(80);
        let group = &report.groups[0];
        prop_assert_eq!(group.nodes.iter().map(|node| node.total_path_ns).sum::<Duration>(), group.total_wall_ns);
        let key = runs.groups().next().unwrap();
        prop_assert_eq!(folded_total(&runs.folded_stacks(key).unwrap()), group.total_wall_ns.as_nanos());
        prop_assert!((group.nodes.iter().map(|node| node.wall_ratio).sum::<f64>() - 1.0).abs() < 1e-9);

        let ownership = group.tail.ownership.as_ref().expect("enough long runs");
        let owners = || ownership.owners.iter();
        prop_assert_eq!(owners().map(|owner| owner.tail_path_ns).sum::<Duration>(), ownership.tail_wall_ns);
        prop_assert_eq!(owners().map(|owner| owner.mid_path_ns).sum::<Duration>(), ownership.mid_wall_ns);
        prop_assert!((owners().map(|owner| owner.delta_ns).sum::<f64>() - ownership.gap_ns).abs() < 1e-6);
        for owner in owners() {
            let parts = owner.because_more_often_ns + owner.because_longer_ns;
            prop_assert!((parts - owner.delta_ns).abs() < 1e-6, "{:?}", owner);
        }
        let tail = runs.folded_tail_stacks(key, 80).unwrap();
        prop_assert_eq!(folded_total(&tail), ownership.tail_wall_ns.as_nanos());

        prop_assert_eq!(&added(profiles.iter().rev()).report(80), &report);
        let cut = cut.index(profiles.len());
        let (mut one, other) = (added(&profiles[..cut]), added(&profiles[cut..]));
        one.merge(&other);
        prop_assert_eq!(&one.report(80), &report);
        prop_assert_eq!(one.folded_stacks(key), runs.folded_stacks(key));
        prop_assert_eq!(one.folded_tail_stacks(key, 80).unwrap(), tail);
        let later: Vec<RunProfile> = traces.iter().zip(0..).map(|(records, id)| with_id(id, profile(shifted(records, by)))).collect();
        prop_assert_eq!(&added(&later).report(80), &report);
    }
}

#[test]
fn a_recursion_without_end_is_taken_in() {
    let deep = |n: u64| span(n, (n > 1).then(|| n - 1), "again", n, 400_000 - n);
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(move || {
            let profile = profile((1..=100_000).map(deep).collect());
            assert_eq!(profile.path.len(), 1);
            let text = profile.folded_stacks();
            assert_eq!(text.lines().count(), 128);
            assert_eq!(folded_total(&text), profile.wall.as_nanos());
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn what_is_kept_of_all_groups_together_is_bounded() {
    // 200 names and as many call paths a run: 401 entries, so 1,246 runs fit, of 2,000 in four workflows.
    let mut all = ManyRuns::default();
    for number in 0..2_000u64 {
        let root = format!("workflow {}", number % 4);
        let mut records = vec![span(1, None, &root, 0, 200)];
        for step in 0..200u64 {
            records.push(span(step + 2, Some(1), &format!("step {step}"), step, step + 1));
        }
        for record in &mut records {
            record.trace_id = TraceId::from_bytes(u128::from(number + 1).to_be_bytes());
        }
        let run = Run::from_records(records).unwrap();
        all.add(&RunProfile::of(&run, &critical_path(&run).segments));
    }
    let report = all.report(ManyRuns::TAIL_PERCENTILE);
    assert_eq!(report.runs, 2_000);
    let kept: Vec<u64> = report.groups.iter().map(|group| group.tail.compared_runs).collect();
    assert_eq!(kept.iter().sum::<u64>(), ManyRuns::MAX_KEPT_ENTRIES as u64 / 401);
    assert!(kept.iter().all(|kept| (300..=320).contains(kept)), "{kept:?}");
    assert!(report.groups.iter().all(|group| group.runs == 500 && group.tail.is_sample));
}
