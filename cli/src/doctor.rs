//! `longpole doctor`: reports on recorded runs that come with the tool.

use crate::context::Context;
use crate::failure::Failure;

/// Show a report now: recorded runs that come with the tool, no network, no setup
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {}

pub(crate) fn doctor(_: &DoctorArgs, _: &Context) -> Result<(), Failure> {
    Ok(())
}
