//! The smallest set-up: one call, and `tracing` spans that name the steps.
//!
//! `longpole::init` logs to stderr, measures the steps and prints a report when the workflow ends. Where
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is set the spans go there too; otherwise nothing is sent.
//!
//! ```console
//! $ cargo run --example minimal
//! ```

use std::time::Duration;

use tokio::time::sleep;
use tracing::instrument;

#[tokio::main]
async fn main() -> Result<(), longpole::InitError> {
    let _longpole = longpole::init("minimal")?;
    answer("why is the sky blue?").await;
    Ok(())
}

#[instrument(fields(workflow.name = "minimal"))]
async fn answer(question: &str) {
    search(question).await;
    tokio::join!(write(question), illustrate(question));
}

#[instrument(fields(node.id = "search"))]
async fn search(question: &str) {
    sleep(Duration::from_millis(150)).await;
}

#[instrument(fields(node.id = "write"))]
async fn write(question: &str) {
    sleep(Duration::from_millis(450)).await;
}

#[instrument(fields(node.id = "illustrate"))]
async fn illustrate(question: &str) {
    sleep(Duration::from_millis(250)).await;
}
