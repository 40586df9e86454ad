//! `longpole demo`: reports on recorded runs that come with the tool.

use crate::context::Context;
use crate::failure::Failure;

/// Show a report now: recorded runs that come with the tool, no network, no setup
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}

pub(crate) fn demo(_: &DemoArgs, _: &Context) -> Result<(), Failure> {
    Ok(())
}
