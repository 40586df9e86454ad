//! One set-up with one workload, in a process of its own.

use std::hint::black_box;
use std::sync::Barrier;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::setups::{self, Installed, Setup, Surroundings};
use crate::workloads::{self, Workload};

/// What callgrind is told to count: see [`measured`].
pub const MEASURED: &str = "longpole_benches::case::measured*";

/// What is done in a process.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Who measures the spans.
    pub setup: &'static Setup,
    /// Which spans are made.
    pub workload: Workload,
    /// How many threads make them.
    pub threads: usize,
    /// Runs before those that count, on each thread.
    pub warm_up: usize,
    /// Runs that count, on each thread.
    pub runs: usize,
    /// Whether the next run waits until the last one's spans are exported: for what is measured on the threads that
    /// make spans alone. No queue need be larger than its default then.
    pub catches_up: bool,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Told {
    /// Spans in the runs that count.
    pub measured: u64,
    /// All spans.
    pub made: u64,
    /// Spans that were exported; `None` if nothing is.
    pub exported: Option<u64>,
    /// What is known to be lost, in words.
    pub lost: Option<String>,
}

impl Told {
    /// What makes figures of this case worthless; `None` if nothing does. `is_exported`: whether the set-up is to
    /// export what is made.
    pub fn problem(&self, is_exported: bool) -> Option<String> {
        let Told { made, exported, lost, .. } = self;
        match exported {
            _ if lost.is_some() => lost.clone(),
            Some(exported) if is_exported && exported != made => {
                Some(format!("{exported} of {made} spans were exported"))
            }
            _ => None,
        }
    }
}

/// One run, with all it costs the thread that makes it.
#[inline(never)]
pub fn measured(setup: &Setup, workload: Workload, text: &str) {
    one_run(setup, black_box(workload), text);
}

fn one_run(setup: &Setup, workload: Workload, text: &str) {
    if setup.is_tracing {
        workloads::one_run(workload, text);
    } else {
        setups::one_fastrace_run(workload, text);
    }
}

impl Case {
    /// What [`Case::from_arguments`] makes this case of, with the surroundings' after it: where OTLP is taken, a folder,
    /// and the length of queues or `-`.
    pub fn to_arguments(&self) -> [String; 6] {
        let Case { setup, workload, threads, warm_up, runs, catches_up } = self;
        let waits = if *catches_up { "wait" } else { "go-on" };
        let numbers = [threads, warm_up, runs].map(|number| number.to_string());
        let [threads, warm_up, runs] = numbers;
        [setup.name.to_owned(), workload.name().to_owned(), threads, warm_up, runs, waits.to_owned()]
    }

    /// Reads what another process wrote of a case and its surroundings.
    ///
    /// # Errors
    /// If an argument is missing or means nothing.
    pub fn from_arguments(arguments: &[String]) -> anyhow::Result<(Case, Surroundings)> {
        let [setup, workload, threads, warm_up, runs, waits, endpoint, folder, queue] = arguments else {
            bail!(
                "a case is: set-up, workload, threads, runs before, runs, wait or go-on, OTLP endpoint, folder, queue"
            );
        };
        let case = Case {
            setup: Setup::named(setup)?,
            workload: workload.parse()?,
            threads: threads.parse()?,
            warm_up: warm_up.parse()?,
            runs: runs.parse()?,
            catches_up: waits == "wait",
        };
        let queue = if queue == "-" { None } else { Some(queue.parse()?) };
        Ok((case, Surroundings { endpoint: endpoint.clone(), folder: folder.into(), queue }))
    }

    /// Does it.
    ///
    /// # Errors
    /// If the set-up cannot be installed.
    pub fn run(&self, surroundings: &Surroundings) -> anyhow::Result<Told> {
        let installed = self.setup.install(surroundings)?;
        let text = self.workload.text();
        if self.threads == 1 {
            self.on_this_thread(&installed, &text)
        } else {
            self.on_threads(&installed, &text)
        }
        let outcome = (installed.finish)();
        let spans = |runs: usize| (runs * self.threads * self.workload.spans_per_run()) as u64;
        Ok(Told {
            measured: spans(self.runs),
            made: spans(self.warm_up + self.runs),
            exported: outcome.exported,
            lost: outcome.lost,
        })
    }

    fn on_this_thread(&self, installed: &Installed, text: &str) {
        for run in 0..self.warm_up + self.runs {
            self.make(run, text);
            if self.catches_up {
                (installed.catch_up)();
            }
        }
    }

    fn on_threads(&self, installed: &Installed, text: &str) {
        let (made, caught_up) = (Barrier::new(self.threads + 1), Barrier::new(self.threads + 1));
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    for run in 0..self.warm_up + self.runs {
                        self.make(run, text);
                        if self.catches_up {
                            made.wait();
                            caught_up.wait();
                        }
                    }
                });
            }
            for _ in 0..if self.catches_up { self.warm_up + self.runs } else { 0 } {
                made.wait();
                (installed.catch_up)();
                caught_up.wait();
            }
        });
    }

    fn make(&self, run: usize, text: &str) {
        if run < self.warm_up {
            one_run(self.setup, self.workload, text);
        } else {
            measured(self.setup, self.workload, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_cases_that_lose_spans_are_worthless() {
        let told = Told { measured: 10, made: 20, exported: Some(20), lost: None };
        assert_eq!(told.problem(true), None);
        assert!(Told { lost: Some("1 span".to_owned()), ..told.clone() }.problem(true).is_some());
        assert!(Told { exported: Some(19), ..told.clone() }.problem(true).is_some());
        assert_eq!(Told { exported: Some(0), ..told.clone() }.problem(false), None);
        assert_eq!(Told { exported: None, ..told }.problem(true), None);
    }
}
