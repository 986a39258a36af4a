//! `wait_for_schema`: how far the preparation is.

use std::time::Duration;

use contract::{DeploymentRef, Error, Result};
use serde_json::{Value as Json, json};
use tokio::time::Instant;
use transaction::{IndexState, SchemaState};
use value::DocumentId;

use crate::{Deploy, WaitForSchemaRequest, start::index_rows, worker::schema_row};

/// A pushed schema's row, from the answer of `start_push`; `None` for a push without a schema.
pub(crate) fn schema_id(schema_change: &Json) -> Result<Option<DocumentId>> {
    let invalid = || Error::bad_request("InvalidPush", "`schemaChange` is not what start_push answered.");
    match schema_change.pointer("/schemaIds/") {
        Some(Json::String(id)) => id.parse().map(Some).map_err(|_| invalid()),
        Some(Json::Null) => Ok(None),
        _ => Err(invalid()),
    }
}

impl Deploy {
    /// The answer of `wait_for_schema`: at once when the preparation is over, else when the request's time is.
    pub async fn wait_for_schema(
        &self,
        deployment: DeploymentRef,
        request: WaitForSchemaRequest,
    ) -> Result<Json> {
        let id = schema_id(&request.schema_change)?;
        if request.dry_run {
            return Ok(json!({"type": "complete"}));
        }
        let limits = &self.services().limits;
        let pause = Duration::from_millis(limits.push.schema_look_ms);
        let wait_ms_max = limits.gateway.long_poll_ms_max;
        let wait_ms = request.timeout_ms.map_or(wait_ms_max, |wait_ms| wait_ms.min(wait_ms_max));
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        loop {
            let (answer, done) = self.progress(deployment, id).await?;
            if done || Instant::now() >= deadline || self.inner.shutdown.is_cancelled() {
                return Ok(answer);
            }
            // After a restart nobody is at work yet.
            self.keep_preparing(deployment, id);
            tokio::time::sleep(pause).await;
        }
    }

    async fn progress(&self, deployment: DeploymentRef, id: Option<DocumentId>) -> Result<(Json, bool)> {
        let mut transaction = self.snapshot(deployment).await?;
        let mut checked = true;
        if let Some(id) = id {
            // A later push has taken it away.
            let Some(row) = schema_row(&mut transaction, id).await? else {
                return Ok((json!({"type": "raceDetected"}), true));
            };
            match row.state {
                SchemaState::Failed => {
                    let error =
                        row.error.ok_or_else(|| Error::internal("a schema failed without a reason"))?;
                    let answer = json!({
                        "type": "failed",
                        "error": error.message,
                        "componentPath": "",
                        "tableName": error.table,
                    });
                    return Ok((answer, true));
                }
                SchemaState::Pending => checked = false,
                SchemaState::Validated | SchemaState::Active => {}
            }
        }
        let rows = index_rows(&mut transaction).await?;
        let new = || rows.values().filter(|(_, row)| row.state != IndexState::Enabled);
        let (total, filled) =
            (new().count(), new().filter(|(_, row)| row.state == IndexState::Backfilled).count());
        let unfilled = new().any(|(_, row)| row.state == IndexState::Backfilling && !row.staged);
        if checked && !unfilled {
            return Ok((json!({"type": "complete"}), true));
        }
        let component = json!({
            "schemaValidationComplete": checked,
            "indexesComplete": filled,
            "indexesTotal": total,
        });
        Ok((json!({"type": "inProgress", "components": {"": component}}), false))
    }
}
