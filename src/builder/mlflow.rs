//! Settings that concern MLflow.

use std::sync::Arc;

use crate::delivery::{self, EndpointSettings, Protocol};
use crate::encode::cost::CostMirror;
use crate::handle::Destination;
use crate::mlflow::{Mlflow, MlflowConfig, MlflowSettings};
use crate::terminal;

use super::{BuildError, Builder};

/// What code and the environment say about MLflow.
#[derive(Default)]
pub(super) struct MlflowChoice {
    config: Option<MlflowConfig>,
    /// What the environment gives is never an error.
    is_from_environment: bool,
    wants_traces: bool,
    /// Whether spans go there in the end.
    takes_traces: bool,
}

impl Builder {
    /// Logs each finished run to an MLflow tracking server: `node_{id}_duration_ms` and `node_{id}_cost_usd` of every
    /// node, the totals of the run, and the report as `bottleneck_report.json`. A thread of longpole's does it, and
    /// nothing that goes wrong there is noticed by the program or by other exports: see
    /// [`Diagnostics::counts`](crate::Diagnostics::counts) and [`Diagnostics::notes`](crate::Diagnostics::notes).
    pub fn mlflow(mut self, config: MlflowConfig) -> Self {
        self.mlflow.config = Some(config);
        self.mlflow.is_from_environment = false;
        self
    }

    /// The same with what the variables of MLflow's own clients say: `MLFLOW_TRACKING_URI`,
    /// `MLFLOW_EXPERIMENT_NAME`, `MLFLOW_RUN_ID` and so on. Without an address nothing is logged.
    pub fn mlflow_from_env(mut self) -> Self {
        if let Some(config) = crate::environment::mlflow::read(|name| std::env::var(name).ok()) {
            self.mlflow.config = Some(config);
            self.mlflow.is_from_environment = true;
        }
        self
    }

    /// Sends spans to that MLflow server too, as traces of the experiment, each shown with its run, and what calls of
    /// models cost in its words ([`CostMirror::Mlflow`](crate::CostMirror::Mlflow)). An address in
    /// code ([`Builder::otlp_endpoint`]) beats this, and this beats the environment's. MLflow takes traces by the
    /// experiment's id alone: with a name and no id nothing is sent, and
    /// [`Diagnostics::notes`](crate::Diagnostics::notes) says so.
    pub fn mlflow_traces(mut self, on: bool) -> Self {
        self.mlflow.wants_traces = on;
        self
    }

    /// Sets where spans go, if they are to go to MLflow.
    pub(super) fn settle_mlflow_traces(&mut self, notes: &mut Vec<String>) {
        let Some(config) = self.mlflow.config.as_ref().filter(|_| self.mlflow.wants_traces) else { return };
        if self.endpoint.is_some() || !self.exports_spans {
            return;
        }
        let Some(id) = config.experiment_id_of_traces() else {
            notes.push(
                "spans are not sent to MLflow: it takes them by the id of an experiment, and only a name is given; \
                 MLFLOW_EXPERIMENT_ID is the place for it"
                    .to_owned(),
            );
            return;
        };
        let connection = config.connection();
        let signal = &mut self.environment.traces;
        signal.has_endpoint = true;
        signal.endpoint = EndpointSettings {
            url: format!("{}/v1/traces", connection.url),
            protocol: Protocol::HttpProtobuf,
            headers: connection.headers,
            certificate: connection.certificate,
            timeout: signal.endpoint.timeout,
            max_backoff: signal.endpoint.max_backoff,
            is_compressed: signal.endpoint.is_compressed,
            ..EndpointSettings::default()
        };
        signal.endpoint.headers.push(("x-mlflow-experiment-id".to_owned(), id.to_owned()));
        self.mlflow.takes_traces = true;
        // What a trace cost is only shown to those who read its words.
        let mirrors = self.cost_mirrors.get_or_insert_with(|| self.environment.cost.mirrors.clone());
        if !mirrors.contains(&CostMirror::Mlflow) {
            mirrors.push(CostMirror::Mlflow);
        }
    }

    /// Starts the thread that logs runs, if a server is named.
    pub(super) fn start_mlflow(
        &self,
        destinations: &mut Vec<Destination>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Arc<Mlflow>>, BuildError> {
        let Some(config) = self.mlflow.config.clone() else { return Ok(None) };
        let shown = config.shown();
        let endpoint = match delivery::endpoint(&config.connection()) {
            Ok(endpoint) => endpoint,
            Err(error) if self.mlflow.is_from_environment => {
                notes.push(format!("runs are not logged to MLflow at {shown:?}: {error}"));
                return Ok(None);
            }
            Err(source) => {
                return Err(BuildError::Endpoint { what: "runs", endpoint: shown, source: Box::new(source) });
            }
        };
        notes.extend(self.open_credentials("runs", &shown, &endpoint));
        let tell = self.prints_notes().then_some(terminal::print_note as fn(&str));
        let links_traces = self.mlflow.takes_traces;
        match Mlflow::start(MlflowSettings { config, endpoint, links_traces, tell }) {
            Ok(mlflow) => {
                destinations.push(Destination::Mlflow(shown));
                Ok(Some(Arc::new(mlflow)))
            }
            Err(error) => {
                notes.push(format!("runs are not logged to MLflow: {error}"));
                Ok(None)
            }
        }
    }
}
