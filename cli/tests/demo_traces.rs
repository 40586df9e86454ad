//! The traces that `longpole demo` reports on are made here, from the workflows below, and checked in packed. After a
//! change: `UPDATE_DEMO=1 cargo test -p longpole-cli --test demo_traces`.
//!
//! A file holds runs of one workflow as OTLP JSON lines, a run to a line, the oldest first. The last is reported on; those
//! before it are what is usual.

#[path = "support/made_trace.rs"]
mod made_trace;

use std::io::{Read, Write};
use std::path::Path;

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};

use made_trace::{Noise, Spans, at_most};

/// An agent that researches and writes. In the last run the first draft got longer than usual; pages are fetched two
/// at a time.
fn agent(number: u64, is_last: bool) -> Spans {
    let mut noise = Noise::new(number);
    let mut spans = Spans::of_run("research-agent", "1.8.2", "research", number);
    let mut usual = |ms: u64| noise.around(ms);
    let setup = 60;
    let plan_end = spans.model("plan", &["-"], setup, usual(2_140), ["gpt-4.1", "812", "168"], "0.0081");
    let pages = [1_310, 1_180, 1_220, 1_260, 1_150, 1_200].map(&mut usual);
    let mut fetched = plan_end;
    for (ms, (starts, page)) in pages.iter().zip(at_most(2, plan_end, &pages).into_iter().zip(1..)) {
        let span = spans.add("fetch", plan_end, starts + ms).text("http.request.method", "GET");
        let url = format!("https://example.org/page/{page}");
        span.text("url.full", &url).depends_on(&["plan"]).queued(starts - plan_end);
        fetched = fetched.max(starts + ms);
    }
    spans.add("search.web", plan_end, plan_end + usual(1_600)).kind("tool").depends_on(&["plan"]);
    let embed = ["text-embedding-3-small", "30000", "0"];
    let embedded = spans.model("embed", &["fetch"], fetched, usual(1_050), embed, "0.0006");
    let ranked = embedded + usual(380);
    spans.add("rerank", embedded, ranked).kind("cpu").depends_on(&["embed", "search.web"]);
    let (draft_ms, tokens, cost) =
        if is_last { (6_920, 1_840, "0.0412") } else { (usual(5_020), 1_310, "0.0307") };
    let written = ["gpt-4.1", "3210", &tokens.to_string()];
    let drafted = spans.model("draft", &["rerank"], ranked, draft_ms, written, cost);
    let criticised =
        spans.model("critique", &["draft"], drafted, usual(3_310), ["gpt-4.1", "2120", "420"], "0.0118");
    spans.add("fact_check", drafted, drafted + usual(2_200)).kind("tool").depends_on(&["draft"]);
    let revised = spans.model(
        "revise",
        &["critique", "fact_check"],
        criticised,
        usual(4_870),
        ["gpt-4.1", "2960", "1290"],
        "0.0296",
    );
    let published = revised + usual(210);
    spans.add("publish", revised, published).kind("io").depends_on(&["revise"]);
    spans.end(published + 80)
}

/// A nightly load: twelve tables by four workers, of which one is much larger; an index that waits for all.
fn etl(number: u64, _: bool) -> Spans {
    let mut noise = Noise::new(number);
    let mut spans = Spans::of_run("etl-nightly", "2026.11", "warehouse", number);
    let listed = 400 + noise.around(1_100);
    spans.add("list_tables", 400, listed).kind("db").depends_on(&["-"]);
    let tables = [3_800, 4_100, 3_600, 4_400, 3_900, 4_000, 11_600, 3_700, 4_200, 3_900, 4_100, 3_800];
    let tables = tables.map(|ms| noise.around(ms));
    let mut loaded = listed;
    for (table, (ms, starts)) in tables.iter().zip(at_most(4, listed, &tables)).enumerate() {
        let bytes = ms * 21_000;
        let load = spans.add("load", listed, starts + ms).kind("db").depends_on(&["list_tables"]);
        load.queued(starts - listed)
            .text("table", &format!("table_{table:02}"))
            .number("longpole.node.input_bytes", bytes);
        loaded = loaded.max(starts + ms);
    }
    let checked = loaded + noise.around(2_400);
    spans.add("check_rows", loaded, checked).kind("cpu").depends_on(&["load"]);
    let indexed = checked + noise.around(5_200);
    spans.add("build_index", checked, indexed).kind("db").depends_on(&["check_rows"]);
    let told = loaded + noise.around(300);
    spans.add("notify", loaded, told).kind("io").depends_on(&["load"]);
    spans.end(indexed + 150)
}

/// A question is put to eight experts at once, one of whom is slow; a judge waits for all of them.
fn fanout(number: u64, is_last: bool) -> Spans {
    let mut noise = Noise::new(number);
    let mut spans = Spans::of_run("panel-of-experts", "0.9.0", "panel", number);
    let asked =
        spans.model("split_question", &[], 20, noise.around(1_300), ["gpt-4.1-mini", "420", "310"], "0.0007");
    let mut answered = asked;
    for expert in 0..8 {
        let is_slow = is_last && expert == 5;
        let ms = if is_slow { 9_400 } else { noise.around(2_900 + expert * 40) };
        let tokens = if is_slow { "1420" } else { "430" };
        let cost = if is_slow { "0.0126" } else { "0.0047" };
        let question = ["gpt-4.1", "610", tokens];
        answered = answered.max(spans.model("expert", &[], asked, ms, question, cost));
    }
    // The same rows are read again and again, one after the other.
    let mut read = answered;
    for _ in 0..6 {
        let end = read + noise.around(180);
        spans.add("read_ratings", read, end).kind("db").number("longpole.node.input_hash", 77);
        read = end;
    }
    let judged = spans.model("judge", &[], read, noise.around(3_100), ["gpt-4.1", "4900", "380"], "0.0128");
    spans.end(judged + 30)
}

/// A booking whose payment service fails twice before it answers. Nothing is declared, so that time tells the order.
fn retry(number: u64, is_last: bool) -> Spans {
    let mut noise = Noise::new(number);
    let mut spans = Spans::of_run("book-trip", "3.2.0", "bookings", number);
    let mut usual = |ms: u64| noise.around(ms);
    let planned = spans.model("plan_trip", &[], 15, usual(1_900), ["gpt-4.1-mini", "640", "290"], "0.0007");
    let flights = planned + usual(1_450);
    spans.add("search_flights", planned, flights).kind("http");
    let hotels = planned + usual(1_100);
    spans.add("search_hotels", planned, hotels).kind("http");
    let chosen = flights.max(hotels);
    let held = chosen + usual(620);
    spans.add("hold_seats", chosen, held).kind("http");
    let mut paid = held;
    for attempt in if is_last { 1..=3 } else { 3..=3 } {
        let fails = attempt < 3;
        let ms = if fails { 2_000 } else { usual(740) };
        let charge = spans.add("charge_card", paid, paid + ms).kind("http");
        charge.number("longpole.node.attempt", if is_last { attempt } else { 1 });
        if fails {
            charge.fails("timeout", "no answer within 2 s");
        }
        // It waits before it tries again, each time twice as long.
        paid += ms + if fails { 400 * attempt } else { 0 };
    }
    let mailed = paid + usual(260);
    spans.add("send_tickets", paid, mailed).kind("io");
    spans.end(mailed + 10)
}

/// Makes a run of this number, which may be the last.
type Workflow = fn(u64, bool) -> Spans;

/// Twenty runs before the last, which is as many as the report compares with.
const RUNS: u64 = 21;

fn trace(workflow: Workflow) -> String {
    (1..=RUNS).map(|number| workflow(number, number == RUNS).into_line()).collect()
}

#[test]
fn the_demos_are_what_their_workflows_say() {
    let demos: [(&str, Workflow); 4] = [("agent", agent), ("etl", etl), ("fanout", fanout), ("retry", retry)];
    for (name, workflow) in demos {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(format!("{name}.otlp.jsonl.gz"));
        let made = trace(workflow);
        if std::env::var_os("UPDATE_DEMO").is_some() {
            let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
            packed.write_all(made.as_bytes()).unwrap();
            std::fs::write(&file, packed.finish().unwrap()).unwrap();
        }
        let mut there = String::new();
        let packed = std::fs::File::open(&file).unwrap();
        GzDecoder::new(packed).read_to_string(&mut there).unwrap();
        // The order of keys depends on what else serde_json is built for.
        let documents = |text: &str| -> Vec<serde_json::Value> {
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        assert!(documents(&there) == documents(&made), "{name} is stale: run this test with UPDATE_DEMO=1");
    }
}
