//! `longpole-mlflow`: takes reports out of the queue and logs them.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::MlflowSettings;
use super::client::{Client, RequestError};
use super::logger::Logger;
use super::queue::{Loss, News, Queue};
use crate::restarts::Restarts;

const NAME: &str = "longpole-mlflow";
/// How long a server that refuses everything is left alone.
const PAUSE: Duration = Duration::from_secs(60);

thread_local! {
    /// Keeps threads the runtime starts for name resolution out of every subscriber.
    static UNTRACED: RefCell<Option<tracing::subscriber::DefaultGuard>> = const { RefCell::new(None) };
}

pub(super) fn spawn(settings: MlflowSettings, queue: Arc<Queue>) -> std::io::Result<()> {
    let untrace = || {
        let guard = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
        UNTRACED.with_borrow_mut(|slot| *slot = Some(guard));
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().thread_name(NAME).on_thread_start(untrace);
    // Made here, so that whoever cannot have one hears of it.
    let runtime = runtime.build()?;
    let spawned = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        untrace();
        let mut restarts = Restarts::default();
        loop {
            let work = AssertUnwindSafe(|| runtime.block_on(until_stopped(&settings, &queue)));
            if catch_unwind(work).is_ok() {
                break;
            }
            queue.settle(Err(Loss::Panicked));
            queue.failed("the thread that logs to MLflow panicked");
            if !restarts.may_restart(Instant::now()) {
                queue.tell(News::Panicked, "longpole logs nothing to MLflow any more: its thread panicked");
                break;
            }
        }
        queue.stop();
        // Name resolution must not keep the thread.
        runtime.shutdown_background();
    });
    spawned.map(drop)
}

async fn until_stopped(settings: &MlflowSettings, queue: &Arc<Queue>) {
    let mut work = pin!(work(settings, queue));
    let mut stopped = pin!(queue.stop.notified());
    poll_fn(|context| {
        let is_stopped = stopped.as_mut().poll(context).is_ready();
        if is_stopped || work.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn work(settings: &MlflowSettings, queue: &Arc<Queue>) {
    let base = settings.config.connection().url;
    let client = Client::new(settings.endpoint.clone(), base, queue.clone());
    let mut logger = Logger::new(client, settings.config.clone(), settings.links_traces, queue.clone());
    let mut paused_until: Option<Instant> = None;
    loop {
        let Some(job) = queue.next() else {
            queue.wake.notified().await;
            continue;
        };
        if paused_until.is_some_and(|until| Instant::now() < until) {
            queue.settle(Err(Loss::Refused));
            continue;
        }
        let outcome = logger.log(&job).await;
        if let Err(error) = &outcome {
            queue.failed(&error.to_string());
        }
        queue.settle(match outcome {
            Ok(()) => Ok(()),
            Err(RequestError::Away(_)) => Err(Loss::Away),
            Err(error @ RequestError::Refused { .. }) => {
                queue.tell(News::Refused, &format!("{error}; what MLflow refuses is not logged"));
                Err(Loss::Refused)
            }
            Err(error @ RequestError::Unusable(_)) => {
                queue.tell(News::Unusable, &format!("{error}; nothing is logged there"));
                paused_until = Instant::now().checked_add(PAUSE);
                Err(Loss::Refused)
            }
        });
    }
}
