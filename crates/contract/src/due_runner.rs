//! What the scheduler asks of the function runners.

use async_trait::async_trait;

use crate::{DeploymentRef, Result, Timestamp};

/// Runs what stands in a deployment's queue of due runs (the documents that `ctx.scheduler` writes).
///
/// When something is due is not asked here: whoever calls has seen to that.
#[async_trait]
pub trait DueRunner: Send + Sync + 'static {
    /// Runs one entry of the queue. The run, what it writes, and that the entry is done are one commit, so that however often and
    /// from wherever this is called, a mutation takes effect once. A function that throws, or that can't be run because of what
    /// it is, is done as well; its job says so.
    ///
    /// An action is claimed by a commit, begun, and not waited for: the runner enters what comes of it. It runs at most once. If the
    /// process ends before the action does, its job has failed.
    ///
    /// An error is for what could not be run for no fault of its own (`OptimisticConcurrencyControlFailure` where it kept losing
    /// races), or whose outcome is not known: the entry may still be there, and may be asked for again at any time.
    async fn run_due(&self, call: DueCall) -> Result<DueOutcome>;
}

/// An entry of the queue to run.
#[derive(Clone, Debug)]
pub struct DueCall {
    /// Whose queue it is.
    pub deployment: DeploymentRef,
    /// The id of the entry's document.
    pub entry: String,
    /// A moment at which the entry was there; the run does not begin before it.
    pub not_before: Timestamp,
    /// Shown in error messages and in the log.
    pub request_id: String,
}

/// What came of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueOutcome {
    /// It has run.
    Ran,
    /// It is an action, which runs now.
    Begun,
    /// It is not there any more: it has run before, was cancelled, or was put off.
    Gone,
}
