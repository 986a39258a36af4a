//! `wait_for_schema`: how far the preparation is.

use std::time::Duration;

use contract::{DeploymentRef, Error, Result, SchemaId, SchemaProgress};
use tokio::time::Instant;
use transaction::{IndexState, SchemaState};
use value::DocumentId;

use crate::{Handle, start::index_rows, worker::schema_row};

/// The row of a pushed schema.
pub(crate) fn row_id(schema: Option<&SchemaId>) -> Result<Option<DocumentId>> {
    let invalid = |_| Error::bad_request("InvalidPush", "`schemaChange` is not what start_push answered.");
    schema.map(|schema| schema.0.parse().map_err(invalid)).transpose()
}

impl Handle {
    pub(crate) async fn wait(
        &self,
        deployment: DeploymentRef,
        schema: Option<SchemaId>,
        wait: Duration,
    ) -> Result<SchemaProgress> {
        let id = row_id(schema.as_ref())?;
        let pause = Duration::from_millis(self.limits().push.schema_look_ms);
        let deadline = Instant::now() + wait;
        loop {
            let progress = self.progress(deployment, id).await?;
            let has_ended = !matches!(progress, SchemaProgress::Preparing { .. });
            if has_ended || Instant::now() >= deadline || self.shared.shutdown.is_cancelled() {
                return Ok(progress);
            }
            // After a restart nobody is at work yet.
            self.keep_preparing(deployment, id);
            tokio::time::sleep(pause).await;
        }
    }

    async fn progress(&self, deployment: DeploymentRef, id: Option<DocumentId>) -> Result<SchemaProgress> {
        let mut transaction = self.transactions().snapshot(deployment).await?;
        let mut documents_checked = true;
        if let Some(id) = id {
            // A later push has taken it away.
            let Some(row) = schema_row(&mut transaction, id).await? else {
                return Ok(SchemaProgress::Overwritten);
            };
            match row.state {
                SchemaState::Failed => {
                    let failure =
                        row.error.ok_or_else(|| Error::internal("a schema failed without a reason"))?;
                    return Ok(SchemaProgress::Failed { message: failure.message, table: failure.table });
                }
                SchemaState::Pending => documents_checked = false,
                SchemaState::Validated | SchemaState::Active => {}
            }
        }
        let rows = index_rows(&mut transaction).await?;
        let new = || rows.values().filter(|(_, row)| row.state != IndexState::Enabled);
        if documents_checked && !new().any(|(_, row)| row.state == IndexState::Backfilling && !row.staged) {
            return Ok(SchemaProgress::Complete);
        }
        Ok(SchemaProgress::Preparing {
            documents_checked,
            indexes_filled: new().filter(|(_, row)| row.state == IndexState::Backfilled).count(),
            indexes_total: new().count(),
        })
    }
}
