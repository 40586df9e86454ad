//! The client of the rows: does what the JSON in its only argument says, see `longpole_faults::client::ClientSpec`.

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let argument = std::env::args().nth(1).context("the spec is missing")?;
    let spec = serde_json::from_str(&argument).context("the spec cannot be read")?;
    longpole_faults::client::endings::run(&spec)
}
