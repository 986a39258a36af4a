//! The contract of the scheduler.

use async_trait::async_trait;

use crate::{DeploymentRef, Result};

/// What those who look after a deployment may do to its scheduled functions.
#[async_trait]
pub trait Schedules: Send + Sync + 'static {
    /// Cancels a job of `_scheduled_functions`. One that is over stays as it is. An action that runs goes on, but nothing that it
    /// schedules from now on will run.
    ///
    /// Errors: `InvalidArgument` if the id is none of a job.
    async fn cancel(&self, jobs: JobsOf, id: &str) -> Result<()>;

    /// Cancels the jobs that wait and the actions that run ([`Schedules::cancel`]): all of them, or those of one function. How many.
    /// It takes one commit after another: after an error some are cancelled, and what is scheduled meanwhile may be. What the jobs that
    /// it ends would have scheduled is not left: a function that schedules itself again and again ends.
    ///
    /// Errors: `InvalidArgument` if there is no such component.
    async fn cancel_all(&self, jobs: JobsOf, function: Option<&str>) -> Result<u64>;
}

/// Whose jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobsOf {
    /// The deployment.
    pub deployment: DeploymentRef,
    /// The path of the component that has scheduled them; empty for the app itself.
    pub component: String,
}
