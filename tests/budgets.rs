//! A run that uses more than it may is told while it is still open, and nothing happens to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longpole::report::BudgetUse;
use longpole::{BudgetExceeded, Builder, Longpole};
use tracing::{Dispatch, info_span};
use tracing_subscriber::prelude::*;

/// Long enough for any machine; what a test waits for comes as an event.
const PATIENCE: Duration = Duration::from_secs(20);

struct Watched {
    longpole: Longpole,
    dispatch: Dispatch,
    told: Receiver<BudgetExceeded>,
}

fn watched(budget: impl FnOnce(Builder) -> Builder) -> Watched {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let builder = budget(longpole::builder()).on_budget(move |exceeded| {
        tell.lock().unwrap().send(exceeded.clone()).unwrap();
    });
    let (layer, longpole) = builder.build().unwrap();
    Watched { longpole, dispatch: Dispatch::new(tracing_subscriber::registry().with(layer)), told }
}

impl Watched {
    fn run<R>(&self, program: impl FnOnce() -> R) -> R {
        tracing::dispatcher::with_default(&self.dispatch, program)
    }

    /// What was told and nobody has looked at yet.
    fn rest(&self) -> Vec<BudgetExceeded> {
        self.told.try_iter().collect()
    }
}

fn call(usd: f64, tokens: u64) {
    let name = "chat";
    info_span!(
        "chat",
        gen_ai.operation.name = name,
        gen_ai.request.model = "m",
        node.cost_usd = usd,
        gen_ai.usage.output_tokens = tokens
    )
    .in_scope(|| ());
}

fn usd(limit: &str, used: &str) -> BudgetUse {
    BudgetUse::CostUsd { limit: limit.parse().unwrap(), used: used.parse().unwrap() }
}

#[test]
fn who_set_a_budget_hears_of_it_while_the_run_is_open_once_for_each_limit() {
    let watched = watched(|builder| builder.workflow("desk").cost_budget_usd(0.10).token_quota(1_000));
    watched.run(|| {
        let run = info_span!("run").entered();
        info_span!("draft", node.id = "draft").in_scope(|| {
            call(0.06, 500);
            call(0.04, 300);
            // All of the money, and not more. The next passes it, and not the tokens.
            call(0.0000001, 200);
        });
        let first = watched.told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(first.budget, usd("0.1", "0.1000001"));
        assert_eq!((first.workflow.as_deref(), first.node.as_deref()), (Some("desk"), Some("chat m")));
        assert!(first.is_run_open);
        assert!(watched.longpole.last_run().is_none(), "nothing has ended");
        call(0.5, 1);
        let second = watched.told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(second.budget, BudgetUse::Tokens { limit: 1_000, used: 1_001 });
        assert_eq!(second.run_id, first.run_id);
        call(9.0, 9_000);
        drop(run);
        watched.longpole.flush_within(PATIENCE);
        let report = watched.longpole.last_run().unwrap();
        assert_eq!(report.run.id, first.run_id);
        let tokens = BudgetUse::Tokens { limit: 1_000, used: 10_001 };
        assert_eq!(report.budgets, [usd("0.1", "9.6000001"), tokens]);
        let text = report.to_text();
        let line = text.lines().find(|line| line.starts_with("Budget")).unwrap_or_default();
        let told = "cost $9.60 of $0.1000 (exceeded), tokens 10.0k of 1,000 (exceeded)";
        assert_eq!(line.trim_start_matches("Budget").trim(), told, "{text}");
    });
    assert!(watched.rest().is_empty(), "each once");
    assert_eq!(watched.longpole.diagnostics().budgets_exceeded, 2);
}

#[test]
fn workflows_side_by_side_below_one_span_have_a_budget_each() {
    let watched = watched(|builder| builder.cost_budget_usd(1.0));
    watched.run(|| {
        let _main = info_span!("main").entered();
        let one = info_span!("run", workflow.name = "one");
        let two = info_span!("run", workflow.name = "two");
        one.in_scope(|| call(0.9, 0));
        two.in_scope(|| call(0.9, 0));
        two.in_scope(|| call(0.2, 0));
        let told = watched.told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((told.workflow.as_deref(), told.budget), (Some("two"), usd("1", "1.1")));
        drop((one, two));
        // What they used is not the next one's.
        info_span!("run", workflow.name = "three").in_scope(|| call(1.0, 0));
    });
    watched.longpole.flush_within(PATIENCE);
    assert!(watched.rest().is_empty());
}

#[test]
fn what_only_the_end_shows_is_told_with_the_report() {
    let watched = watched(|builder| builder.token_quota(10));
    watched.run(|| {
        // The root itself says what it used.
        info_span!("run", workflow.name = "desk", gen_ai.usage.input_tokens = 11).in_scope(|| ());
    });
    watched.longpole.flush_within(PATIENCE);
    let told = watched.rest();
    assert_eq!(told.len(), 1);
    assert!(!told[0].is_run_open);
    assert_eq!(told[0].budget, BudgetUse::Tokens { limit: 10, used: 11 });
    assert_eq!(told[0].run_id, watched.longpole.last_run().unwrap().run.id);
}

#[test]
fn a_callback_that_panics_harms_nobody() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let watched = watched(|builder| {
        builder.cost_budget_usd(0.01).on_budget(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            panic!("planned");
        })
    });
    for _ in 0..2 {
        watched.run(|| {
            let _run = info_span!("run").entered();
            call(0.02, 0);
            let told = watched.told.recv_timeout(PATIENCE).unwrap();
            assert_eq!(told.budget, usd("0.01", "0.02"));
        });
    }
    watched.longpole.flush_within(PATIENCE);
    assert_eq!(heard.load(Ordering::SeqCst), 2);
    assert_eq!(watched.longpole.runs().len(), 2, "both are reported");
    let notes = watched.longpole.diagnostics().notes;
    assert!(notes.iter().any(|note| note.contains("on_budget")), "{notes:?}");
}

#[test]
fn what_is_no_amount_sets_no_limit() {
    for usd in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
        let watched = watched(|builder| builder.cost_budget_usd(usd).token_quota(0));
        watched.run(|| {
            let _run = info_span!("run").entered();
            call(1e6, 1_000_000);
        });
        watched.longpole.flush_within(PATIENCE);
        assert!(watched.longpole.last_run().unwrap().budgets.is_empty(), "{usd}");
        assert!(watched.rest().is_empty(), "{usd}");
    }
}
