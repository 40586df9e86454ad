//! What the environment says about prices.

use std::path::PathBuf;

use super::reader::Reader;
use crate::encode::cost::CostMirror;

/// What was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CostVariables {
    /// A file with prices.
    pub(crate) prices: Option<PathBuf>,
    /// In whose words costs are written too.
    pub(crate) mirrors: Vec<CostMirror>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(super) fn cost(&mut self) -> CostVariables {
        CostVariables { prices: self.text("LONGPOLE_PRICES").map(PathBuf::from), mirrors: self.mirrors() }
    }

    fn mirrors(&mut self) -> Vec<CostMirror> {
        let name = "LONGPOLE_COST_MIRROR";
        let Some(listed) = self.text(name) else { return Vec::new() };
        let mut mirrors = Vec::new();
        for word in listed.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match CostMirror::from_name(word) {
                Some(mirror) => mirrors.push(mirror),
                None => {
                    let known: Vec<&str> = CostMirror::ALL.iter().map(|mirror| mirror.name()).collect();
                    let wanted = format!("one of {}", known.join(", "));
                    self.problem(name, word, &wanted, "it is left out");
                }
            }
        }
        mirrors
    }
}
