//! Removes the records of session requests that are too old for their clients to ask again.

use std::time::Duration;

use contract::{CommitId, CommitOutcome, DeploymentRef, Error, ReadAt, Result};
use transaction::SystemTable;

use crate::service::Runner;

impl Runner {
    /// Removes old records of a deployment's session requests from time to time, until the runner stops. Several
    /// processes may do so for one deployment; once is enough.
    pub async fn remove_old_session_records(&self, deployment: DeploymentRef) {
        let pause = Duration::from_millis(self.shared.limits.retry.session_record_sweep_ms);
        let sweeps = async {
            loop {
                if let Err(error) = self.sweep_session_records(deployment).await {
                    tracing::debug!(%error, "old records of session requests are removed later");
                }
                tokio::time::sleep(pause).await;
            }
        };
        self.shutdown.run_until_cancelled(sweeps).await;
    }

    async fn sweep_session_records(&self, deployment: DeploymentRef) -> Result<()> {
        while self.remove_some_session_records(deployment).await? {}
        Ok(())
    }

    /// Whether there may be more to remove. An outcome other than success leaves them to the next sweep: nobody waits.
    async fn remove_some_session_records(&self, deployment: DeploymentRef) -> Result<bool> {
        let shared = &self.shared;
        let position = shared.sequencer.latest(deployment.group).await?;
        let mut transaction = shared.begin(deployment, ReadAt::published(position.published)).await?;
        // Time passes by commits, as it does for all else that the log keeps.
        let now_ms = position.published.as_nanoseconds() / 1_000_000;
        let limits = shared.limits.retry;
        let before_ms = now_ms.saturating_sub(limits.session_record_age_ms) as f64;
        let more = transaction
            .delete_rows_made_before(
                SystemTable::SessionRequests,
                before_ms,
                limits.session_records_removed_max,
            )
            .await
            .map_err(|error| Error::internal(error.to_string()))?;
        let finished = transaction.finish();
        if finished.writes.is_empty() {
            return Ok(false);
        }
        let removed = finished.writes.len();
        let commit = finished.into_commit(deployment, position.epoch, CommitId(rand::random()));
        match shared.log.commit(commit).await? {
            CommitOutcome::Committed { .. } => {
                tracing::debug!(removed, "removed old records of session requests");
                Ok(more)
            }
            _ => Ok(false),
        }
    }
}
