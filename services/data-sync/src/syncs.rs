//! Who syncs.

use contract::{ActiveSync, ActiveSyncs, DeploymentRef, Result};
use transaction::DataSyncRow;

use crate::service::{Shared, invalid_cursor};

/// Newest first; the cursor is the id of the last one that was listed.
pub(crate) async fn list(
    shared: &Shared,
    deployment: DeploymentRef,
    cursor: Option<String>,
    limit: usize,
) -> Result<ActiveSyncs> {
    let mut transaction = shared.transactions.snapshot(deployment).await?;
    let now_ms = transaction.now_ms();
    let rows = transaction.rows::<DataSyncRow>("by_updated", &[]).await;
    let mut rows = rows.map_err(transaction::Error::of_the_system)?;
    rows.retain(|sync| now_ms.saturating_sub(sync.row.updated_ms) <= shared.limits.sync_idle_ms_max);
    rows.reverse();
    if let Some(cursor) = cursor {
        let at = rows.iter().position(|sync| sync.id.to_string() == cursor).ok_or_else(invalid_cursor)?;
        rows.drain(..=at);
    }
    let limit = limit.clamp(1, shared.limits.listed_syncs_max);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let cursor = rows.last().filter(|_| more).map(|sync| sync.id.to_string());
    let syncs = rows.into_iter().map(|sync| ActiveSync {
        sync: sync.id.to_string(),
        updated_ms: sync.row.updated_ms,
        status: sync.row.status,
    });
    Ok(ActiveSyncs { syncs: syncs.collect(), cursor })
}
