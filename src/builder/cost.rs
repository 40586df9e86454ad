//! What calls of models are priced with.

use std::path::Path;

use crate::encode::cost::CostMirror;
use crate::pipeline::pricing::PriceSettings;
use crate::prices::PriceTable;

use super::Builder;

impl Builder {
    /// Prices calls of models with this table instead of the one that comes with longpole. Beats `LONGPOLE_PRICES`.
    pub fn prices(mut self, prices: PriceTable) -> Self {
        self.report.prices = Some(prices);
        self
    }

    /// Writes the cost of each call of a model in the words of others too, for backends that read those: it is an
    /// attribute more for each, and two more for [`CostMirror::OpenInference`]. Beats `LONGPOLE_COST_MIRROR`. An
    /// attribute that a library has written stands.
    pub fn mirror_cost(mut self, mirrors: impl IntoIterator<Item = CostMirror>) -> Self {
        self.cost_mirrors = Some(mirrors.into_iter().collect());
        self
    }

    /// Settles which table there is. A file that cannot be used is told, and then the table that comes with longpole
    /// is: every report names the one it went by.
    pub(super) fn settle_prices(&mut self, notes: &mut Vec<String>) -> PriceSettings {
        let variables = std::mem::take(&mut self.environment.cost);
        if let Some(path) = variables.prices.filter(|_| self.report.prices.is_none()) {
            match read_prices(&path) {
                Ok(prices) => self.report.prices = Some(prices),
                Err(error) => notes.push(format!(
                    "LONGPOLE_PRICES is not used: {error}; calls are priced with {}",
                    PriceTable::embedded().label()
                )),
            }
        }
        PriceSettings {
            prices: self.report.prices.clone(),
            mirrors: self.cost_mirrors.take().unwrap_or(variables.mirrors),
        }
    }
}

/// The table in a file, named after it.
fn read_prices(path: &Path) -> Result<PriceTable, String> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    PriceTable::from_json_named(&text, &name).map_err(|error| format!("{}: {error}", path.display()))
}
