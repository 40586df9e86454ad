//! Questions to the history about the latest runs of a workflow.

use longpole::Report;
use longpole::report::{Finding, NodeReport, Totals};

use crate::error::StoreError;
use crate::query::{RunFilter, RunOrder};
use crate::store::Store;

impl Store {
    /// The report on the latest run `filter` names; `None` without one.
    ///
    /// # Errors
    /// [`StoreError::Run`], [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn latest_profile(&self, filter: &RunFilter) -> Result<Option<Report>, StoreError> {
        Ok(self.profiles(filter, 1)?.pop())
    }

    /// The reports on the latest runs `filter` names, at most so many, the latest first. Runs that have not ended have
    /// none.
    ///
    /// # Errors
    /// [`StoreError::Run`], [`StoreError::Damaged`], [`StoreError::Database`].
    pub fn profiles(&self, filter: &RunFilter, limit: u64) -> Result<Vec<Report>, StoreError> {
        let mut reports = Vec::new();
        for run in self.runs(filter, RunOrder::Start, 0, limit)? {
            if let Some(documents) = self.documents(&run)? {
                reports.push(documents.report()?);
            }
        }
        Ok(reports)
    }

    /// The nodes of the latest run that took longest, at most so many, the longest first.
    ///
    /// # Errors
    /// As [`Store::latest_profile`].
    pub fn bottlenecks(&self, filter: &RunFilter, limit: usize) -> Result<Vec<NodeReport>, StoreError> {
        let mut nodes = self.latest_profile(filter)?.map(|report| report.nodes).unwrap_or_default();
        nodes.sort_by(|a, b| b.duration.sum_ns.cmp(&a.duration.sum_ns).then_with(|| a.name.cmp(&b.name)));
        nodes.truncate(limit);
        Ok(nodes)
    }

    /// How much of the latest run went on at once, and how much could have: see
    /// [`Totals::efficiency`] and [`Totals::graph_bound_ns`].
    ///
    /// # Errors
    /// As [`Store::latest_profile`].
    pub fn parallelization_analysis(&self, filter: &RunFilter) -> Result<Option<Totals>, StoreError> {
        Ok(self.latest_profile(filter)?.map(|report| report.totals))
    }

    /// What to fix in the latest run, first thing first.
    ///
    /// # Errors
    /// As [`Store::latest_profile`].
    pub fn performance_insights(&self, filter: &RunFilter) -> Result<Vec<Finding>, StoreError> {
        Ok(self.latest_profile(filter)?.map(|report| report.findings).unwrap_or_default())
    }
}
