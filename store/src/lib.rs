//! Keeps the runs `longpole` reported on, in a SQLite file, so that later ones can be compared with them and any of
//! them can be looked at again.
//!
//! ```
//! use longpole::time::Timestamp;
//! use longpole_store::{Labels, RunFilter, Store};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("runs.db");
//! let trace = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[
//!   {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","name":"job",
//!    "startTimeUnixNano":"0","endTimeUnixNano":"100"}]}]}]}"#;
//! let spans = longpole::decode::decode(trace)?.spans;
//! let report = longpole::report_on(spans.clone(), &longpole::ReportOptions::default()).remove(0);
//!
//! let mut store = Store::open(&path)?;
//! store.record(&report, &spans, &Labels::new(), Timestamp::from_unix_nanos(1_000))?;
//! let latest = store.latest_profile(&RunFilter { workflow: Some("job".into()), ..RunFilter::default() })?;
//! assert_eq!(latest, Some(report));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Kept are the report, the spans with the attributes longpole reads (no prompts, no answers, no addresses), and rows
//! to ask by: runs, nodes, labels. A program that has longpole's layer records its runs with a [`Recorder`].

mod error;
mod history;
mod location;
mod packing;
mod profiles;
mod query;
mod recorder;
mod retention;
mod schema;
mod store;
mod values;

pub use error::StoreError;
pub use history::NodeFigures;
pub use location::default_path;
pub use query::{RunFilter, RunOrder, StatusFilter, StoredDocuments, StoredRun};
pub use recorder::{Recorder, RecorderCounts};
pub use retention::{Limits, PruneRule, Pruned};
pub use store::{Labels, NewRun, Outcome, Recorded, Store};
