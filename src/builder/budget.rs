//! What a run may use before somebody is told.

use super::Builder;
use crate::money::Money;
use crate::pipeline::budgets::BudgetExceeded;

impl Builder {
    /// How many US dollars a run may cost. A run that costs more is told: to [`Builder::on_budget`], while it is still
    /// open; in its report, in `longpole.run.budgets_exceeded`, in
    /// [`Diagnostics::budgets_exceeded`](crate::Diagnostics::budgets_exceeded). It is never stopped. Zero, and what is
    /// no amount, sets no limit.
    ///
    /// What counts is what is known of the cost: calls without a price are missing.
    pub fn cost_budget_usd(mut self, usd: f64) -> Self {
        self.report.budgets.cost_usd = Money::from_usd(usd).filter(|limit| *limit > Money::ZERO);
        self
    }

    /// How many tokens a run may use, input and output together; as [`Builder::cost_budget_usd`]. Zero sets no limit.
    pub fn token_quota(mut self, tokens: u64) -> Self {
        self.report.budgets.tokens = Some(tokens).filter(|limit| *limit > 0);
        self
    }

    /// Calls `on_budget` when a run has used more than [`Builder::cost_budget_usd`] or [`Builder::token_quota`] allow,
    /// once for each run and limit, as soon as the call that did it has closed. Like
    /// [`Builder::on_run`] it runs on a thread of longpole's: what it traces goes to the program's subscriber and is
    /// not measured, a panic in it is caught, and while it runs, reports wait.
    ///
    /// A program that wants to stop a run sets a flag here and looks at it between its steps.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// let is_too_expensive = Arc::new(AtomicBool::new(false));
    /// let flag = is_too_expensive.clone();
    /// let (layer, longpole) = longpole::builder()
    ///     .cost_budget_usd(0.50)
    ///     .on_budget(move |exceeded| {
    ///         eprintln!("run {} has exceeded its {}", exceeded.run_id, exceeded.budget.name());
    ///         flag.store(true, Ordering::Relaxed);
    ///     })
    ///     .build()?;
    /// # drop((layer, longpole));
    /// # Ok::<(), longpole::BuildError>(())
    /// ```
    pub fn on_budget(mut self, on_budget: impl FnMut(&BudgetExceeded) + Send + 'static) -> Self {
        self.on_budget.push(Box::new(on_budget));
        self
    }
}
