//! What is asked of MLflow for one report, in which order.

use std::collections::VecDeque;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::client::{Client, Failed, MAX_TRIES, Request, RequestError};
use super::config::{DEFAULT_EXPERIMENT, MlflowConfig};
use super::entries::{self, Metric, RUN_ID_TAG, Tag};
use super::queue::{Job, News, Queue};
use crate::report::Report;

/// Metrics in a request. MLflow takes 1,000 entries in one million bytes; with the longest names these are half of it.
const METRICS_PER_REQUEST: usize = 500;
/// How many runs are remembered with the step they were logged as.
const REMEMBERED: usize = 64;

/// What stays as it is in a path.
const IN_PATHS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Logs reports to one server.
pub(super) struct Logger {
    client: Client,
    config: MlflowConfig,
    /// Whether the spans of runs are sent to the same server.
    links_traces: bool,
    queue: Arc<Queue>,
    experiment_id: Option<String>,
    /// The run that was there before, of which something is known already.
    existing: Option<RunInfo>,
    /// The steps of the last runs in it, by their ids.
    steps: VecDeque<(String, u64)>,
    next_step: u64,
}

/// What MLflow says of a run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RunInfo {
    run_id: String,
    artifact_uri: String,
    lifecycle_stage: String,
}

#[derive(Deserialize)]
struct Run {
    info: RunInfo,
}

#[derive(Deserialize)]
struct RunAnswer {
    run: Run,
}

#[derive(Deserialize)]
struct SearchAnswer {
    #[serde(default)]
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct ExperimentAnswer {
    experiment: Experiment,
}

#[derive(Deserialize)]
struct Experiment {
    experiment_id: String,
    #[serde(default)]
    lifecycle_stage: String,
}

#[derive(Deserialize)]
struct CreatedExperiment {
    experiment_id: String,
}

/// An answer of which nothing is wanted.
#[derive(Deserialize)]
struct Done {}

#[derive(Serialize)]
struct CreateRun<'a> {
    experiment_id: &'a str,
    run_name: &'a str,
    start_time: u64,
    tags: &'a [Tag],
}

#[derive(Serialize)]
struct LogBatch<'a> {
    run_id: &'a str,
    metrics: &'a [Metric],
    tags: &'a [Tag],
}

#[derive(Serialize)]
struct UpdateRun<'a> {
    run_id: &'a str,
    status: &'a str,
    end_time: u64,
}

impl Logger {
    pub(super) fn new(client: Client, config: MlflowConfig, links_traces: bool, queue: Arc<Queue>) -> Self {
        Logger {
            client,
            config,
            links_traces,
            queue,
            experiment_id: None,
            existing: None,
            steps: VecDeque::new(),
            next_step: 0,
        }
    }

    /// Logs a report. Whatever is logged twice is there once: MLflow keeps one of equal metrics.
    pub(super) async fn log(&mut self, job: &Job) -> Result<(), RequestError> {
        let report = &*job.report;
        let is_own = self.config.run_id.is_none();
        let (run, step) = match self.config.run_id.clone() {
            Some(id) => (self.existing_run(&id).await?, self.step_of(report)),
            None => (self.own_run(job).await?, 0),
        };
        let mut tags = entries::tags(report);
        if is_own {
            // That of a run of somebody else's is theirs.
            tags.push(entries::description(report));
        }
        for (number, metrics) in entries::metrics(report, step).chunks(METRICS_PER_REQUEST).enumerate() {
            let tags = if number == 0 { tags.as_slice() } else { &[] };
            let batch = LogBatch { run_id: &run.run_id, metrics, tags };
            self.post("runs/log-batch", &batch).await.inspect_err(|_| self.existing = None)?;
        }
        if is_own {
            let status = entries::mlflow_status(report.run.status);
            let update = UpdateRun { run_id: &run.run_id, status, end_time: entries::end_ms(report) };
            self.post("runs/update", &update).await?;
        }
        self.store_report(&run, report, step).await;
        if self.links_traces {
            self.link_trace(&run, report).await;
        }
        Ok(())
    }

    async fn post(&mut self, path: &str, body: &impl Serialize) -> Result<(), RequestError> {
        self.client.call::<Done>(&Request::post(&api(path), body)).await.map(drop)
    }

    /// An MLflow run for this report alone.
    async fn own_run(&mut self, job: &Job) -> Result<RunInfo, RequestError> {
        let experiment_id = self.experiment_id().await?;
        let report = &*job.report;
        if job.is_asked_for
            && let Some(run) = self.find_run(&experiment_id, report).await?
        {
            return Ok(run);
        }
        let (name, tags) = (entries::run_name(report), entries::tags(report));
        let of_this_run: Vec<Tag> = tags.into_iter().filter(|tag| tag.key == RUN_ID_TAG).collect();
        let create = CreateRun {
            experiment_id: &experiment_id,
            run_name: &name,
            start_time: entries::start_ms(report),
            tags: &of_this_run,
        };
        let create = Request::post(&api("runs/create"), &create);
        let mut tries = 0u32;
        loop {
            tries = tries.saturating_add(1);
            match self.client.try_once::<RunAnswer>(&create).await {
                Ok(answer) => return Ok(answer.run.info),
                Err(Failed::ForGood(error)) => {
                    // It may have been deleted since.
                    self.experiment_id = None;
                    return Err(error.of_the_settings());
                }
                Err(Failed::ForNow(error)) if tries >= MAX_TRIES => return Err(RequestError::Away(error)),
                Err(Failed::ForNow(_)) => {}
            }
            // What got lost may be the answer alone: asked again, there would be two runs.
            if let Some(run) = self.find_run(&experiment_id, report).await? {
                return Ok(run);
            }
        }
    }

    /// The MLflow run of a report that was logged before.
    async fn find_run(
        &mut self,
        experiment_id: &str,
        report: &Report,
    ) -> Result<Option<RunInfo>, RequestError> {
        #[derive(Serialize)]
        struct Search<'a> {
            experiment_ids: [&'a str; 1],
            filter: String,
            max_results: u32,
        }
        let is_id = report.run.id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !is_id {
            return Ok(None);
        }
        let search = Search {
            experiment_ids: [experiment_id],
            filter: format!("tags.`{RUN_ID_TAG}` = '{}'", report.run.id),
            max_results: 1,
        };
        let answer: SearchAnswer = self.client.call(&Request::post(&api("runs/search"), &search)).await?;
        Ok(answer.runs.into_iter().next().map(|run| run.info))
    }

    async fn existing_run(&mut self, id: &str) -> Result<RunInfo, RequestError> {
        if let Some(run) = &self.existing {
            return Ok(run.clone());
        }
        let path = format!("{}?run_id={}", api("runs/get"), utf8_percent_encode(id, NON_ALPHANUMERIC));
        let answer: Result<RunAnswer, RequestError> = self.client.call(&Request::get(path)).await;
        let run = answer.map_err(RequestError::of_the_settings)?.run.info;
        if run.lifecycle_stage == "deleted" {
            return Err(RequestError::Unusable(format!("the MLflow run {id} is deleted")));
        }
        self.existing = Some(run.clone());
        Ok(run)
    }

    /// The step a report is logged as among those of an existing run: the next, unless it has one.
    fn step_of(&mut self, report: &Report) -> u64 {
        if let Some((_, step)) = self.steps.iter().find(|(id, _)| *id == report.run.id) {
            return *step;
        }
        let step = self.next_step;
        self.next_step = step.saturating_add(1);
        if self.steps.len() >= REMEMBERED {
            self.steps.pop_front();
        }
        self.steps.push_back((report.run.id.clone(), step));
        step
    }

    async fn experiment_id(&mut self) -> Result<String, RequestError> {
        if let Some(id) = &self.experiment_id {
            return Ok(id.clone());
        }
        let id = match (&self.config.experiment_id, self.config.experiment_name.clone()) {
            (Some(id), _) => id.clone(),
            (None, Some(name)) => {
                self.experiment_named(&name).await.map_err(RequestError::of_the_settings)?
            }
            (None, None) => DEFAULT_EXPERIMENT.to_owned(),
        };
        self.experiment_id = Some(id.clone());
        Ok(id)
    }

    async fn experiment_named(&mut self, name: &str) -> Result<String, RequestError> {
        #[derive(Serialize)]
        struct Create<'a> {
            name: &'a str,
        }
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let get = Request::get(format!("{}?experiment_name={encoded}", api("experiments/get-by-name")));
        let found: Result<ExperimentAnswer, RequestError> = self.client.call(&get).await;
        let found = match found {
            Err(error) if error.has_code("RESOURCE_DOES_NOT_EXIST") => {
                let create = Request::post(&api("experiments/create"), &Create { name });
                match self.client.call::<CreatedExperiment>(&create).await {
                    Ok(made) => return Ok(made.experiment_id),
                    // Another process was faster.
                    Err(error) if error.has_code("RESOURCE_ALREADY_EXISTS") => self.client.call(&get).await?,
                    Err(error) => return Err(error),
                }
            }
            found => found?,
        };
        let Experiment { experiment_id, lifecycle_stage } = found.experiment;
        match lifecycle_stage.as_str() {
            "deleted" => Err(RequestError::Unusable(format!(
                "the MLflow experiment {name:?} is deleted: restore it, or name another with \
                 MLFLOW_EXPERIMENT_NAME"
            ))),
            _ => Ok(experiment_id),
        }
    }

    /// Stores the report as a file of the run, where the server takes files itself.
    async fn store_report(&mut self, run: &RunInfo, report: &Report, step: u64) {
        let proxied =
            run.artifact_uri.strip_prefix("mlflow-artifacts:").filter(|path| !path.starts_with("//"));
        let Some(folder) = proxied else {
            let place = crate::privacy::shown_address(&run.artifact_uri).into_owned();
            let error = format!("reports are not stored as files: the server does not take them for {place}");
            return self.queue.part_lost(News::NoArtifact, &error);
        };
        let name = match step {
            0 => "bottleneck_report.json".to_owned(),
            step => format!("bottleneck_report_{step}.json"),
        };
        let path = format!("{}/{name}", folder.trim_matches('/'));
        let path = utf8_percent_encode(&path, IN_PATHS);
        let put = Request::put(format!("/api/2.0/mlflow-artifacts/artifacts/{path}"), report.to_json());
        if let Err(error) = self.client.call::<Done>(&put).await {
            self.queue.part_lost(News::NoArtifact, &format!("a report is not stored as a file: {error}"));
        }
    }

    /// Shows the trace of a run among those of its MLflow run, even if its spans come later.
    async fn link_trace(&mut self, run: &RunInfo, report: &Report) {
        #[derive(Serialize)]
        struct Link<'a> {
            trace_ids: [String; 1],
            run_id: &'a str,
        }
        let link = Link { trace_ids: [format!("tr-{}", report.run.trace_id)], run_id: &run.run_id };
        if let Err(error) = self.post("traces/link-to-run", &link).await {
            self.queue.part_lost(News::NoLink, &format!("a trace is not linked to its run: {error}"));
        }
    }
}

fn api(path: &str) -> String {
    format!("/api/2.0/mlflow/{path}")
}
