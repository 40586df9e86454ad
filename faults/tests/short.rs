//! The rows with short loads: no fault may cost a span that longpole has promised to deliver.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use longpole_faults::client::process::Client;
use longpole_faults::client::{ClientSpec, End, Pipeline, Protocol, sequence};
use longpole_faults::rows::{Plan, ROWS};
use longpole_faults::sink::{Network, Sink};

/// One row at a time: they use the whole machine, and some look at processor time.
static MACHINE: Mutex<()> = Mutex::new(());

#[allow(clippy::print_stderr, reason = "what is left out says so")]
fn holds(id: &str) {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let client = PathBuf::from(env!("CARGO_BIN_EXE_fault-client"));
    let plan = Plan { is_short: true, pipelines: vec![Pipeline::Longpole], client };
    let row = ROWS.iter().find(|row| row.id == id).unwrap();
    let outcomes = row.run(&plan);
    assert!(!outcomes.is_empty());
    for outcome in &outcomes {
        if let Some(why) = &outcome.skipped {
            eprintln!("SKIPPED: {id} {}: {why}", outcome.case);
        }
    }
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.failures.is_empty())
        .map(|outcome| {
            let (case, failures) = (&outcome.case, outcome.failures.join("; "));
            format!("{case}: {failures} ({}; {})", outcome.told, outcome.more.join("; "))
        })
        .collect();
    assert!(failed.is_empty(), "{id} {}:\n{}", row.what, failed.join("\n"));
}

#[test]
fn f1_nothing_is_lost_while_the_backend_is_away() {
    holds("F1");
}

#[test]
fn f3_a_slow_backend_gets_everything() {
    holds("F3");
}

#[test]
fn f4_a_backend_that_never_answers_delays_the_end_and_gets_everything_at_the_next_start() {
    holds("F4");
}

#[test]
fn f5_a_busy_backend_is_left_alone_for_as_long_as_it_says() {
    holds("F5");
}

#[test]
fn f6_each_code_of_grpc_means_what_otlp_says() {
    holds("F6");
}

#[test]
fn f7_a_partial_success_is_counted_told_and_not_sent_again() {
    holds("F7");
}

#[test]
fn f8_broken_connections_lose_nothing_and_heal() {
    holds("F8");
}

#[test]
fn f9_waiting_for_a_backend_costs_nearly_nothing() {
    holds("F9");
}

#[test]
fn f10_odd_answers_cost_neither_spans_nor_memory() {
    holds("F10");
}

#[test]
fn f11_a_kill_costs_at_most_the_last_millisecond() {
    holds("F11");
}

#[test]
fn f12_no_way_to_end_loses_more_than_the_last_millisecond() {
    holds("F12");
}

#[test]
fn f14_a_full_disk_loses_nothing_that_memory_can_hold() {
    holds("F14");
}

#[test]
fn f15_a_folder_that_cannot_be_used_is_told_and_loses_nothing() {
    holds("F15");
}

#[test]
fn f16_a_damaged_spool_is_read_as_far_as_it_can_be() {
    holds("F16");
}

#[test]
fn f17_what_a_process_has_left_is_sent_by_exactly_one_other() {
    holds("F17");
}

#[test]
fn f18_is_left_out_and_says_so() {
    holds("F18");
}

#[test]
fn f19_both_processes_of_a_fork_end_in_time_and_tell_the_truth() {
    holds("F19");
}

#[test]
fn h2_an_idle_program_makes_no_spans_of_its_own() {
    holds("H2");
}

#[test]
fn h10_closes_do_not_wait_for_a_backend_that_is_away() {
    holds("H10");
}

/// The rows would be worth nothing if a loss went unseen.
#[test]
fn a_loss_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start().unwrap();
    let log = folder.path().join("closed");
    let spec = ClientSpec {
        client: 7,
        log: log.clone(),
        end: End::Abort,
        ..ClientSpec::new(Pipeline::Sdk, Protocol::Http, 500, 100)
    };
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), sink.url())];
    let program = PathBuf::from(env!("CARGO_BIN_EXE_fault-client"));
    let patience = Duration::from_secs(30);
    let mut client = Client::start(&program, &spec, &variables).unwrap();
    client.wait_for_start(patience).unwrap();
    assert!(!client.ended(patience).unwrap().success());
    // The SDK sends every five seconds, and this took a tenth of one.
    let closed = client.closed().unwrap();
    assert_eq!(closed.len() as u64, spec.spans);
    assert!(closed.contains(&sequence(7, 0, 0)));
    assert_eq!(sink.tally(|tally| tally.distinct()), 0);
    // And what is sent arrives.
    let spec = ClientSpec { client: 8, end: End::Shutdown, ..spec };
    let client = Client::start(&program, &spec, &variables).unwrap();
    client.wait_for_start(patience).unwrap();
    assert_eq!(client.report(patience).unwrap().produced, spec.spans);
    assert!(sink.wait_until(patience, |tally| tally.distinct() == spec.spans));
    sink.set_network(Network::Down);
    assert!(std::net::TcpStream::connect(sink.address()).is_err());
    sink.set_network(Network::Up);
    assert!(std::net::TcpStream::connect(sink.address()).is_ok());
}
