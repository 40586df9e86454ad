//! The variables MLflow's own clients read, for `mlflow_from_env`.

use crate::mlflow::MlflowConfig;

/// Reads them through `get`; `None` without a server's address.
pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Option<MlflowConfig> {
    let text = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let found = MlflowConfig {
        experiment_name: text("MLFLOW_EXPERIMENT_NAME"),
        experiment_id: text("MLFLOW_EXPERIMENT_ID"),
        run_id: text("MLFLOW_RUN_ID"),
        username: text("MLFLOW_TRACKING_USERNAME"),
        password: text("MLFLOW_TRACKING_PASSWORD"),
        token: text("MLFLOW_TRACKING_TOKEN"),
        certificates: text("MLFLOW_TRACKING_SERVER_CERT_PATH").map(Into::into),
        ..MlflowConfig::new("")
    };
    Some(MlflowConfig { tracking_uri: text("MLFLOW_TRACKING_URI")?, ..found })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::super::table;
    use super::*;

    #[test]
    fn the_table_lists_what_is_read_and_nothing_else() {
        let asked = RefCell::new(BTreeSet::new());
        let config = read(|name| {
            asked.borrow_mut().insert(name.to_owned());
            Some(format!(" {name} "))
        });
        let listed: BTreeSet<String> =
            table::MLFLOW.iter().map(|variable| variable.name.to_owned()).collect();
        assert_eq!(asked.into_inner(), listed);
        let some = |name: &str| Some(name.to_owned());
        let mut expected = MlflowConfig::new("MLFLOW_TRACKING_URI");
        expected.experiment_name = some("MLFLOW_EXPERIMENT_NAME");
        expected.experiment_id = some("MLFLOW_EXPERIMENT_ID");
        expected.run_id = some("MLFLOW_RUN_ID");
        expected.username = some("MLFLOW_TRACKING_USERNAME");
        expected.password = some("MLFLOW_TRACKING_PASSWORD");
        expected.token = some("MLFLOW_TRACKING_TOKEN");
        expected.certificates = Some("MLFLOW_TRACKING_SERVER_CERT_PATH".into());
        assert!(config.unwrap() == expected);
    }

    #[test]
    fn without_an_address_there_is_no_server() {
        assert!(read(|name| (name != "MLFLOW_TRACKING_URI").then(|| "x".to_owned())).is_none());
        assert!(read(|_| Some(" ".to_owned())).is_none());
    }
}
