//! longpole

pub mod aggregate;
pub mod analysis;
pub mod conventions;
pub mod decode;
pub mod histogram;
pub mod ids;
pub mod money;
pub mod render;
pub mod report;
pub mod run;
pub mod run_assembler;
pub mod span_record;
pub mod time;

pub use report::Report;
pub use report::build::{ReportOptions, report_on, report_on_run};
