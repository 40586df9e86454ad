//! Where metrics meet: the run thread writes, readers look, and what others count is asked for when somebody looks.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use crate::time::Timestamp;

use super::instrument::Instrument;
#[cfg(feature = "otlp")]
use super::store::Point;
use super::store::{Labels, MetricLimits, MetricStore, Snapshot};

/// What another part of longpole counts: a metric and all its series.
pub(crate) type Observed = Vec<(Instrument, Vec<(Labels, u64)>)>;
/// Asks another part of longpole for what it counts.
pub(crate) type Observer = Box<dyn Fn() -> Observed + Send + Sync>;

/// The metrics of one layer.
pub(crate) struct MetricHub {
    /// Of runs; locked by the run thread and by readers, for as long as a snapshot takes.
    runs: Mutex<MetricStore>,
    /// What the program's own threads count. Small, so that none of them waits for a reader for long. Its series are
    /// others than those of runs.
    direct: Mutex<MetricStore>,
    observer: OnceLock<Observer>,
}

impl MetricHub {
    pub(crate) fn new(limits: MetricLimits) -> Self {
        let store = || Mutex::new(MetricStore::new(limits));
        MetricHub { runs: store(), direct: store(), observer: OnceLock::new() }
    }

    /// Sets who is asked when a snapshot is taken; only the first counts.
    pub(crate) fn set_observer(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    /// For the run thread.
    pub(crate) fn of_runs(&self) -> MutexGuard<'_, MetricStore> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the program's threads.
    pub(crate) fn direct(&self) -> MutexGuard<'_, MetricStore> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All series now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = now();
        let mut snapshot = self.observed(now).snapshot(now);
        let direct = self.direct().snapshot(now);
        snapshot.add(direct);
        snapshot
    }

    /// The series of one metric now.
    #[cfg(feature = "otlp")]
    pub(crate) fn points_of(&self, instrument: Instrument) -> Vec<Point> {
        let store = if instrument.is_observed() { self.observed(now()) } else { self.of_runs() };
        let mut points = store.points_of(instrument);
        drop(store);
        points.extend(self.direct().points_of(instrument));
        points
    }

    fn observed(&self, now: Timestamp) -> MutexGuard<'_, MetricStore> {
        let observed = self.observer.get().map(|observe| observe()).unwrap_or_default();
        let mut store = self.of_runs();
        for (instrument, series) in observed {
            store.observe(instrument, series, now);
        }
        store
    }
}

/// The wall clock: series are dated by it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}
