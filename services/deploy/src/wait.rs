//! `wait_for_schema`: how far the preparation is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use contract::{DeploymentRef, Error, Result, SchemaId, SchemaProgress};
use tokio::time::Instant;
use transaction::{IndexState, SchemaState};
use value::DocumentId;

use crate::{
    Handle,
    start::index_rows,
    worker::{schema_row, table_of},
};

/// The rows of pushed schemas, by the paths of their components.
pub(crate) fn row_ids(schemas: &BTreeMap<String, SchemaId>) -> Result<BTreeMap<String, DocumentId>> {
    let invalid = |_| Error::bad_request("InvalidPush", "`schemaChange` is not what start_push answered.");
    let row = |(path, schema): (&String, &SchemaId)| Ok((path.clone(), schema.0.parse().map_err(invalid)?));
    schemas.iter().map(row).collect()
}

impl Handle {
    pub(crate) async fn wait(
        &self,
        deployment: DeploymentRef,
        schemas: BTreeMap<String, SchemaId>,
        wait: Duration,
    ) -> Result<SchemaProgress> {
        let ids: BTreeSet<DocumentId> = row_ids(&schemas)?.into_values().collect();
        let pause = Duration::from_millis(self.limits().push.schema_look_ms);
        let deadline = Instant::now() + wait;
        loop {
            let progress = self.progress(deployment, &ids).await?;
            let has_ended = !matches!(progress, SchemaProgress::Preparing { .. });
            if has_ended || Instant::now() >= deadline || self.shared.shutdown.is_cancelled() {
                return Ok(progress);
            }
            // After a restart nobody is at work yet.
            self.keep_preparing(deployment, ids.clone());
            tokio::time::sleep(pause).await;
        }
    }

    async fn progress(
        &self,
        deployment: DeploymentRef,
        ids: &BTreeSet<DocumentId>,
    ) -> Result<SchemaProgress> {
        let mut transaction = self.transactions().snapshot(deployment).await?;
        let mut documents_checked = true;
        for id in ids {
            // A later push has taken it away.
            let Some(row) = schema_row(&mut transaction, *id).await? else {
                return Ok(SchemaProgress::Overwritten);
            };
            match row.state {
                SchemaState::Failed => {
                    let failure =
                        row.error.ok_or_else(|| Error::internal("a schema failed without a reason"))?;
                    let component = transaction.deployment_catalog().component_path(row.component);
                    return Ok(SchemaProgress::Failed {
                        component: component.unwrap_or_default().to_string(),
                        message: failure.message,
                        table: failure.table,
                    });
                }
                SchemaState::Pending => documents_checked = false,
                SchemaState::Validated | SchemaState::Active => {}
            }
        }
        let rows = index_rows(&mut transaction).await?;
        let mut new: Vec<_> = rows.values().map(|(_, row)| row).collect();
        new.retain(|row| row.state != IndexState::Enabled && table_of(&transaction, row).is_some());
        if documents_checked && !new.iter().any(|row| row.state == IndexState::Backfilling && !row.staged) {
            return Ok(SchemaProgress::Complete);
        }
        Ok(SchemaProgress::Preparing {
            documents_checked,
            indexes_filled: new.iter().filter(|row| row.state == IndexState::Backfilled).count(),
            indexes_total: new.len(),
        })
    }
}
