//! A deployment that is paused runs no functions until it is resumed. Scheduled functions wait for that; what cron jobs would have done
//! meanwhile is left out.

use crate::{PauseRow, Result, Transaction, fact::Fact};

impl Transaction {
    /// Whether the deployment is paused. Every call of a function relies on it.
    pub fn is_paused(&mut self) -> bool {
        self.facts.rely_on(Fact::Pause);
        self.deployment_catalog().is_paused()
    }

    /// Pauses the deployment; whether it was not.
    pub async fn pause(&mut self) -> Result<bool> {
        if self.is_paused() {
            return Ok(false);
        }
        self.insert_row(&PauseRow).await?;
        Ok(true)
    }

    /// Resumes the deployment; whether it was paused.
    pub async fn resume(&mut self) -> Result<bool> {
        let rows = self.rows::<PauseRow>("by_id", &[]).await?;
        for row in &rows {
            self.delete_row::<PauseRow>(row.id).await?;
        }
        if !rows.is_empty() {
            self.leave_out_due_cron_runs().await?;
        }
        Ok(!rows.is_empty())
    }
}
