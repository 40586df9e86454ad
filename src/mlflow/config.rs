//! Where runs are logged, from code or from the variables MLflow's own clients read.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::delivery::{EndpointSettings, Protocol};
use crate::privacy::shown_address;

/// The id of the experiment runs belong to if nobody says otherwise.
pub(super) const DEFAULT_EXPERIMENT: &str = "0";

/// Which MLflow server runs are logged to, and where there; see [`Builder::mlflow`](crate::Builder::mlflow).
///
/// Secrets are not shown by `Debug`.
///
/// ```
/// let mut mlflow = longpole::MlflowConfig::new("http://localhost:5000");
/// mlflow.experiment_name = Some("research-agent".to_owned());
/// let builder = longpole::builder().mlflow(mlflow);
/// # drop(builder);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MlflowConfig {
    /// The address of the tracking server: `http://localhost:5000`, `https://host/mlflow`. A name and a password in it
    /// are taken where no others are given.
    pub tracking_uri: String,
    /// The experiment runs are logged under. It is made if there is none of that name.
    pub experiment_name: Option<String>,
    /// The same by its id, which beats the name. With neither it is MLflow's `Default`, whose id is 0.
    pub experiment_id: Option<String>,
    /// An MLflow run that exists: every run is logged into it, one step each, and its end is left to whoever began
    /// it. Otherwise each run gets an MLflow run of its own.
    pub run_id: Option<String>,
    /// For a server with basic authentication. Both together beat the token.
    pub username: Option<String>,
    /// See [`MlflowConfig::username`].
    pub password: Option<String>,
    /// For a server that takes bearer tokens.
    pub token: Option<String>,
    /// A PEM file of certificates to trust instead of the system's.
    pub certificates: Option<PathBuf>,
}

impl MlflowConfig {
    /// Logs to this server, under its default experiment.
    pub fn new(tracking_uri: impl Into<String>) -> Self {
        MlflowConfig { tracking_uri: tracking_uri.into(), ..MlflowConfig::default() }
    }

    /// The address without credentials and without a slash at its end, and the settings of a connection to it. What is
    /// no address is found out when an endpoint is made of them.
    pub(crate) fn connection(&self) -> EndpointSettings {
        let (url, in_address) = without_credentials(self.tracking_uri.trim());
        let authorization = match (&self.username, &self.password, &self.token, in_address) {
            (Some(name), Some(password), _, _) => Some(basic(name, password)),
            (_, _, Some(token), _) => Some(format!("Bearer {token}")),
            (_, _, None, Some((name, password))) => Some(basic(&name, &password)),
            (_, _, None, None) => None,
        };
        EndpointSettings {
            url: url.trim_end_matches('/').to_owned(),
            protocol: Protocol::HttpJson,
            headers: authorization.into_iter().map(|it| ("authorization".to_owned(), it)).collect(),
            certificate: self.certificates.clone(),
            ..EndpointSettings::default()
        }
    }

    /// The experiment that traces can be sent to: for those MLflow does not look names up.
    pub(crate) fn experiment_id_of_traces(&self) -> Option<&str> {
        match (&self.experiment_id, &self.experiment_name) {
            (Some(id), _) => Some(id),
            (None, None) => Some(DEFAULT_EXPERIMENT),
            (None, Some(_)) => None,
        }
    }

    /// The address as it may be shown.
    pub(crate) fn shown(&self) -> String {
        shown_address(self.tracking_uri.trim()).into_owned()
    }
}

impl fmt::Debug for MlflowConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlflowConfig")
            .field("tracking_uri", &self.shown())
            .field("experiment_name", &self.experiment_name)
            .field("experiment_id", &self.experiment_id)
            .field("run_id", &self.run_id)
            .field("has_credentials", &!self.connection().headers.is_empty())
            .finish_non_exhaustive()
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
}

/// `https://name:password@host/path` taken apart.
fn without_credentials(url: &str) -> (String, Option<(String, String)>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((credentials, host)) = authority.rsplit_once('@') else { return (url.to_owned(), None) };
    let (name, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    (format!("{scheme}://{host}{path}"), Some((decoded(name), decoded(password))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization(config: &MlflowConfig) -> Option<String> {
        config.connection().headers.first().map(|(_, value)| value.clone())
    }

    #[test]
    fn a_name_and_password_beat_a_token_and_that_what_stands_in_the_address() {
        let mut config = MlflowConfig::new("https://ann:p%40ss@host:5000/mlflow/");
        assert_eq!(config.connection().url, "https://host:5000/mlflow");
        // printf 'ann:p@ss' | base64
        assert_eq!(authorization(&config).unwrap(), "Basic YW5uOnBAc3M=");
        config.token = Some("tok".to_owned());
        assert_eq!(authorization(&config).unwrap(), "Bearer tok");
        config.username = Some("bob".to_owned());
        assert_eq!(authorization(&config).unwrap(), "Bearer tok", "a name alone is none");
        config.password = Some("hunter2".to_owned());
        // printf 'bob:hunter2' | base64
        assert_eq!(authorization(&config).unwrap(), "Basic Ym9iOmh1bnRlcjI=");
        assert_eq!(authorization(&MlflowConfig::new("http://host:5000")), None);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let config = MlflowConfig {
            username: Some("bob".to_owned()),
            password: Some("hunter2".to_owned()),
            token: Some("tok-secret".to_owned()),
            ..MlflowConfig::new("https://ann:hunter3@host/mlflow")
        };
        let printed = format!("{config:?} {:?}", config.connection());
        assert!(printed.contains("https://host/mlflow") && printed.contains("has_credentials: true"));
        for secret in ["hunter2", "hunter3", "tok-secret"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
