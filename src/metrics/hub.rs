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
    store: Mutex<MetricStore>,
    observer: OnceLock<Observer>,
}

impl MetricHub {
    pub(crate) fn new(limits: MetricLimits) -> Self {
        MetricHub { store: Mutex::new(MetricStore::new(limits)), observer: OnceLock::new() }
    }

    /// Sets who is asked when a snapshot is taken; only the first counts.
    pub(crate) fn set_observer(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, MetricStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All series now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.observed(now()).snapshot(now())
    }

    /// The series of one metric now.
    #[cfg(feature = "otlp")]
    pub(crate) fn points_of(&self, instrument: Instrument) -> Vec<Point> {
        self.observed(now()).points_of(instrument)
    }

    fn observed(&self, now: Timestamp) -> MutexGuard<'_, MetricStore> {
        let observed = self.observer.get().map(|observe| observe()).unwrap_or_default();
        let mut store = self.store();
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
