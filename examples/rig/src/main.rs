//! Agents built with [rig](https://rig.rs), measured without a line in their code.
//!
//! `agent.rs` and `tools.rs` know rig only; `fake_openai.rs` is the model they talk to. This file starts the layer, then
//! asks one agent alone and after that two agents side by side. Their answers go to stdout, one report for each of
//! the two runs to stderr, and spans and metrics to `OTEL_EXPORTER_OTLP_ENDPOINT`, or else the spans to
//! `longpole-spans.jsonl`.
//!
//! ```console
//! $ cargo run -p longpole-example-rig
//! $ OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 cargo run -p longpole-example-rig
//! $ OTEL_METRICS_EXPORTER=prometheus cargo run -p longpole-example-rig    # and look at 127.0.0.1:9090/metrics
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to who runs it")]

mod agent;
mod fake_openai;
mod tools;

use std::{env, fs, io};

use anyhow::Context;
use longpole::{FutureExt, Longpole};
use rig::completion::PromptError;
use rig::http_client::ReqwestClient;
use rig::providers::openai::{OpenAI, OpenAIConfig};
use rig::rig_reqwest::reqwest;
use tracing::{Instrument, info_span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

const SPANS_FILE: &str = "longpole-spans.jsonl";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let longpole = measure()?;
    let answers = ask_agents().await;
    // The spans are wanted most when an agent failed: deliver them first, fail afterwards.
    eprintln!("{}", longpole.shutdown());
    if !sends_spans() {
        eprintln!("look again: cargo run -q -p longpole-cli -- show {SPANS_FILE}");
    }
    answers
}

/// Adds longpole's layer to a subscriber. rig's spans are at level INFO; below it is only the plumbing.
fn measure() -> anyhow::Result<Longpole> {
    let builder = longpole::builder().service_name("rig-example").otlp_from_env().report_to_stderr();
    let (layer, longpole) = if sends_spans() {
        builder.build()?
    } else {
        eprintln!("OTEL_EXPORTER_OTLP_ENDPOINT is not set: no spans are sent");
        remove_earlier_spans().with_context(|| format!("cannot replace {SPANS_FILE}"))?;
        builder.spans_file(SPANS_FILE).build()?
    };
    tracing_subscriber::registry().with(LevelFilter::INFO).with(layer).try_init()?;
    for destination in longpole.destinations() {
        eprintln!("{destination}");
    }
    Ok(longpole)
}

fn sends_spans() -> bool {
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        .into_iter()
        .any(|variable| env::var_os(variable).is_some_and(|endpoint| !endpoint.is_empty()))
}

/// A spans file is appended to; here it is to hold this run only.
fn remove_earlier_spans() -> io::Result<()> {
    match fs::remove_file(SPANS_FILE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn ask_agents() -> anyhow::Result<()> {
    let openai = connect().await?;

    // No span is active here, so rig opens `invoke_agent` itself, and that span is the run.
    let answer = agent::ask(agent::librarian(&openai), "What was the first transatlantic cable?").await?;
    println!("librarian: {answer}");

    let (research, verdict) =
        history_desk(&openai).instrument(info_span!("history_desk", workflow.name = "history-desk")).await?;
    println!("researcher: {research}");
    println!("fact checker: {verdict}");
    Ok(())
}

/// Two agents side by side. Under a span of ours rig opens no `invoke_agent`, so each agent gets a node here.
async fn history_desk(openai: &OpenAI) -> Result<(String, String), PromptError> {
    let (research, verdict) = tokio::join!(
        agent::ask(
            agent::researcher(openai),
            "Why did the transatlantic cable of 1858 fail, and what came after it?"
        )
        .in_node("researcher"),
        agent::ask(
            agent::fact_checker(openai),
            "First message on 16 August 1858, lasting service from 27 July 1866."
        )
        .in_node("fact checker"),
    );
    Ok((research?, verdict?))
}

async fn connect() -> anyhow::Result<OpenAI> {
    let base_url = fake_openai::start().await.context("cannot listen on loopback")?;
    // A proxy from the environment would not reach our loopback.
    let http = reqwest::Client::builder().no_proxy().build()?;
    Ok(OpenAIConfig::new("no key needed").with_base_url(base_url).connect(ReqwestClient::from(http)))
}
