//! Who measures the spans: one set-up for a process, installed for all its threads.

mod fastrace;
mod longpole;
mod nobody;
mod tracing_opentelemetry;

use std::path::PathBuf;

pub use self::fastrace::one_run as one_fastrace_run;
pub use self::longpole::installed as installed_longpole;
pub use self::tracing_opentelemetry::{
    CountingExporter, Extras, installed as installed_tracing_opentelemetry,
};
use crate::workloads::Workload;
use Workload::{A, B, C, Events, Links, Text1, Text16, Trace};

/// One way to measure spans.
#[derive(Debug)]
pub struct Setup {
    /// Its name in arguments and results.
    pub name: &'static str,
    /// What is set up, for a table.
    pub what: &'static str,
    /// What its process is to find in its environment.
    pub environment: &'static [(&'static str, &'static str)],
    /// Whether its spans are made with `tracing`; else with an interface of its own.
    pub is_tracing: bool,
    /// What it is measured with.
    pub workloads: &'static [Workload],
    /// Whether two threads are measured too.
    pub has_two_threads: bool,
    /// Whether threads of its own work on the spans.
    pub has_threads: bool,
    /// Whether it is there to see that spans are not exported.
    pub exports_nothing: bool,
    install: fn(&Surroundings) -> anyhow::Result<Installed>,
}

/// What a set-up may use.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where OTLP over HTTP is taken, without path.
    pub endpoint: String,
    /// A folder for what is not sent yet.
    pub folder: PathBuf,
    /// Spans that may wait for an exporter, where that can be said; its own default else.
    pub queue: Option<usize>,
}

/// A set-up that is in force.
pub struct Installed {
    /// Waits until all spans closed before are exported.
    pub catch_up: Box<dyn Fn()>,
    /// Shuts down and says what became of the spans.
    pub finish: Box<dyn FnOnce() -> Outcome>,
}

/// What became of the spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Spans that were handed over or acknowledged; `None` if nothing is exported.
    pub exported: Option<u64>,
    /// What is known to be lost, in words.
    pub lost: Option<String>,
}

impl Installed {
    fn without_end() -> Installed {
        Installed { catch_up: Box::new(|| ()), finish: Box::new(Outcome::default) }
    }
}

impl Setup {
    /// The set-up of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> anyhow::Result<&'static Setup> {
        let known = SETUPS.iter().find(|setup| setup.name == name);
        known.ok_or_else(|| anyhow::anyhow!("no set-up is called {name:?}"))
    }

    /// Puts it in force for the whole process.
    ///
    /// # Errors
    /// If the process has a subscriber already, or what the set-up itself says.
    pub fn install(&self, surroundings: &Surroundings) -> anyhow::Result<Installed> {
        (self.install)(surroundings)
    }
}

const EVERY: &[Workload] = &[A, B, C, Text1, Text16, Events, Links];
const MAIN: &[Workload] = &[A, B, C];

const fn setup(
    name: &'static str,
    what: &'static str,
    workloads: &'static [Workload],
    install: fn(&Surroundings) -> anyhow::Result<Installed>,
) -> Setup {
    Setup {
        name,
        what,
        environment: &[],
        is_tracing: true,
        workloads,
        has_two_threads: false,
        has_threads: true,
        exports_nothing: false,
        install,
    }
}

const fn without_threads(setup: Setup) -> Setup {
    Setup { has_threads: false, ..setup }
}

const fn with_two_threads(setup: Setup) -> Setup {
    Setup { has_two_threads: true, ..setup }
}

const fn exporting_nothing(setup: Setup) -> Setup {
    Setup { exports_nothing: true, ..setup }
}

const fn with_environment(setup: Setup, environment: &'static [(&'static str, &'static str)]) -> Setup {
    Setup { environment, ..setup }
}

const fn with_own_interface(setup: Setup) -> Setup {
    Setup { is_tracing: false, ..setup }
}

/// All set-ups, in the order of the tables.
pub const SETUPS: &[Setup] = &[
    without_threads(setup("none", "no subscriber", &[A, C], nobody::no_subscriber)),
    without_threads(with_two_threads(setup(
        "no-op",
        "a layer that does nothing, on `Registry`",
        EVERY,
        nobody::no_op,
    ))),
    with_two_threads(setup("longpole-analysis", "longpole, reports only", EVERY, longpole::analysis)),
    with_two_threads(setup("longpole-lean", "longpole, exporting what was recorded", EVERY, longpole::lean)),
    with_two_threads(setup(
        "longpole-full",
        "longpole, exporting location, thread and target too",
        EVERY,
        longpole::full,
    )),
    with_environment(
        setup(
            "longpole-full-uncut",
            "the same, with texts as long as they are (longpole cuts them at 4 KiB by default)",
            &[Text16],
            longpole::full,
        ),
        &[("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1000000")],
    ),
    setup(
        "longpole-export-only",
        "longpole, exporting the same, without reports: `export_only()`",
        MAIN,
        longpole::full_export_only,
    ),
    setup(
        "longpole-otel-context",
        "longpole, lean, with OpenTelemetry's context active",
        MAIN,
        longpole::otel_context,
    ),
    exporting_nothing(with_environment(
        setup("longpole-unsampled", "longpole, exporting, no trace sampled", &[A, C], longpole::lean),
        &[("OTEL_TRACES_SAMPLER", "always_off")],
    )),
    exporting_nothing(setup(
        "longpole-disabled",
        "longpole, exporting, `set_enabled(false)`",
        &[A, C],
        longpole::disabled,
    )),
    setup("longpole-switchable", "longpole, exporting, `switchable()`", &[A, C], longpole::switchable_on),
    exporting_nothing(setup(
        "longpole-switched-off",
        "longpole, `switchable()`, switched off",
        &[A, C],
        longpole::switchable_off,
    )),
    exporting_nothing(setup(
        "longpole-level-off",
        "longpole below a filter for another level",
        &[Trace],
        longpole::other_level,
    )),
    with_two_threads(setup(
        "tro-defaults",
        "tracing-opentelemetry, defaults",
        EVERY,
        tracing_opentelemetry::defaults,
    )),
    setup(
        "tro-lean",
        "tracing-opentelemetry without location, thread, target, inactivity",
        EVERY,
        tracing_opentelemetry::lean,
    ),
    with_two_threads(setup(
        "tro-leanest",
        "tracing-opentelemetry, leanest: that, and without context activation",
        EVERY,
        tracing_opentelemetry::leanest,
    )),
    exporting_nothing(setup(
        "tro-off",
        "tracing-opentelemetry, defaults, `AlwaysOff`",
        &[A, C],
        tracing_opentelemetry::off,
    )),
    exporting_nothing(setup(
        "tro-leanest-off",
        "tracing-opentelemetry, leanest, `AlwaysOff`",
        &[A, C],
        tracing_opentelemetry::leanest_off,
    )),
    exporting_nothing(setup(
        "tro-level-off",
        "tracing-opentelemetry below a filter for another level",
        &[Trace],
        tracing_opentelemetry::other_level,
    )),
    with_two_threads(with_own_interface(setup(
        "fastrace",
        "fastrace (no `Layer`: its own spans)",
        EVERY,
        fastrace::reporting,
    ))),
    without_threads(with_own_interface(setup(
        "fastrace-off",
        "fastrace without reporter",
        &[A, C],
        fastrace::silent,
    ))),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = SETUPS.iter().map(|setup| setup.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETUPS.len());
    }
}
