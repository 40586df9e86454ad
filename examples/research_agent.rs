//! A workflow with everything a report can show: a fan-out that queues for permits, a retry, a node that fails, a
//! phase inside a node, two nodes side by side, and what a node cost.
//!
//! plan, then six fetches of which two may run at once, then draft and fact check side by side, then publish.
//! The waiting is simulated, the shape is that of a real agent. Takes between three and four seconds.
//!
//! ```console
//! $ cargo run --example research_agent
//! ```

use std::time::Duration;

use futures::future::join_all;
use longpole::{FutureExt, SpanExt};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{Instrument, Span, error, info, info_span, instrument, warn};

/// How many fetches may run at once. Six, and the longest pole is another node.
const FETCHES_AT_ONCE: usize = 2;

#[tokio::main]
async fn main() -> Result<(), longpole::InitError> {
    let _longpole = longpole::init("research-agent")?;
    research("the transatlantic cable of 1858").await;
    Ok(())
}

#[instrument(fields(workflow.name = "research-agent", workflow.version = "1.4.0"))]
async fn research(topic: &str) {
    let sources = plan(topic).await;

    let permits = Semaphore::new(FETCHES_AT_ONCE);
    let pages = join_all(sources.iter().map(|source| fetch_with_retry(source, &permits))).await;
    let pages: Vec<Page> = pages.into_iter().flatten().collect();

    tokio::join!(draft(&pages), check_facts(&pages));
    publish().await;
}

#[instrument(skip_all, fields(node.id = "plan", node.kind = "llm"))]
async fn plan(_topic: &str) -> [Source; 6] {
    sleep(Duration::from_millis(350)).await;
    [
        Source { name: "encyclopedia", takes_ms: 500, fails: Fails::Never },
        Source { name: "newspapers", takes_ms: 700, fails: Fails::Never },
        Source { name: "letters", takes_ms: 250, fails: Fails::Once },
        Source { name: "patents", takes_ms: 600, fails: Fails::Never },
        Source { name: "museum", takes_ms: 150, fails: Fails::Always },
        Source { name: "lectures", takes_ms: 450, fails: Fails::Never },
    ]
}

/// The second try is a node of its own: the report tells what failed tries cost.
async fn fetch_with_retry(source: &Source, permits: &Semaphore) -> Option<Page> {
    for attempt in 1..=2 {
        match fetch(source, attempt, permits).await {
            Ok(page) => return Some(page),
            Err(FetchError::NotFound) => return None,
            Err(FetchError::Timeout) => sleep(Duration::from_millis(100)).await,
        }
    }
    None
}

/// The span is created before the permit is there and entered after: the time between counts as queueing, not as work.
async fn fetch(source: &Source, attempt: u64, permits: &Semaphore) -> Result<Page, FetchError> {
    let span = info_span!(
        "fetch",
        node.id = "fetch",
        node.kind = "io",
        node.attempt = attempt,
        source = source.name
    );
    let _permit = permits.acquire().await;
    async {
        // An event at level ERROR marks the node as failed.
        let page =
            download(source, attempt).await.inspect_err(|error| error!(source = source.name, "{error:?}"))?;
        // A span without a node id is a phase of the node around it.
        extract_text(&page).instrument(info_span!("extract_text")).await;
        Ok(page)
    }
    .in_node_span(span)
    .await
}

async fn download(source: &Source, attempt: u64) -> Result<Page, FetchError> {
    sleep(Duration::from_millis(source.takes_ms)).await;
    match source.fails {
        Fails::Once if attempt == 1 => Err(FetchError::Timeout),
        Fails::Always => Err(FetchError::NotFound),
        Fails::Once | Fails::Never => Ok(Page),
    }
}

async fn extract_text(_page: &Page) {
    sleep(Duration::from_millis(100)).await;
}

#[instrument(skip_all, fields(node.id = "draft", node.kind = "llm", pages = pages.len()))]
async fn draft(pages: &[Page]) {
    sleep(Duration::from_millis(1_000)).await;
    Span::current().record_cost(0.0184);
}

#[instrument(skip_all, fields(node.id = "check_facts", node.kind = "llm"))]
async fn check_facts(pages: &[Page]) {
    if pages.len() < 6 {
        warn!(pages = pages.len(), "not every source answered");
    }
    sleep(Duration::from_millis(600)).await;
}

#[instrument(fields(node.id = "publish", node.kind = "io"))]
async fn publish() {
    sleep(Duration::from_millis(150)).await;
    info!("published");
}

struct Source {
    name: &'static str,
    takes_ms: u64,
    fails: Fails,
}

enum Fails {
    Never,
    Once,
    Always,
}

#[derive(Debug)]
enum FetchError {
    Timeout,
    NotFound,
}

struct Page;
