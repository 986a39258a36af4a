//! The audit log: what was changed of a deployment, when, and by whom.

use async_trait::async_trait;
use contract::{AuditEntry, AuditPage, DeploymentRef, Error, Interval, Order, Read, ReadResult, Result};
use system_transaction::{Result as Transacted, Work};
use transaction::{AuditLogRow, SystemRow, SystemTable, Transaction};
use value::{DocumentId, ID_FIELD, Value, key};

use crate::service::Shared;

const BY_TIME: &str = "by_time";

pub(crate) struct Enter<'e> {
    pub entry: &'e AuditEntry,
    pub age_ms_max: u64,
}

#[async_trait]
impl Work for Enter<'_> {
    /// When it was entered; milliseconds since the Unix epoch.
    type Output = u64;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<u64> {
        /// Old entries that go with a new one.
        const REMOVED_MAX: usize = 16;
        let now_ms = transaction.now_ms();
        let row = AuditLogRow {
            time_ms: now_ms,
            action: self.entry.action.clone(),
            actor: self.entry.actor.clone(),
            metadata: self.entry.metadata.clone(),
            client_address: self.entry.client_address.clone(),
            client_agent: self.entry.client_agent.clone(),
        };
        transaction.insert_row(&row).await?;
        let oldest_ms = now_ms.saturating_sub(self.age_ms_max) as f64;
        transaction.delete_rows_made_before(SystemTable::AuditLog, oldest_ms, REMOVED_MAX).await?;
        Ok(now_ms)
    }
}

/// The entries from a time on, oldest first. The cursor is the last one's place.
pub(crate) async fn page(
    shared: &Shared,
    deployment: DeploymentRef,
    (from_ms, cursor, limit): (u64, Option<String>, usize),
) -> Result<AuditPage> {
    let invalid = || Error::bad_request("InvalidCursor", "The cursor is not one of the audit log's.");
    let (begin, last) = match &cursor {
        Some(cursor) => {
            let (time_ms, id) = cursor.split_once('-').ok_or_else(invalid)?;
            let id: DocumentId = id.parse().map_err(|_| invalid())?;
            let time_ms: u64 = time_ms.parse().map_err(|_| invalid())?;
            // Those of the same time before it are passed.
            (key::encode(&[Some(&Value::Float64(time_ms as f64))]), Some(id))
        }
        None => (key::encode(&[Some(&Value::Float64(from_ms as f64))]), None),
    };
    let limit = limit.clamp(1, shared.limits.audit_page_max);
    let transaction = shared.transactions.snapshot(deployment).await?;
    let index = SystemTable::AuditLog.table().index(BY_TIME).expect("the table has it").id;
    let read = Read::Range {
        index,
        interval: Interval { start: begin.into(), end: None },
        order: Order::Ascending,
        rows_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    let answer = transaction.log().read(deployment, transaction.begin_at(), &[read]).await?.pop();
    let Some(ReadResult::Range { rows, more }) = answer else {
        return Err(Error::internal("the log answered a read with a result of another kind"));
    };
    let mut entries = Vec::new();
    for row in rows {
        let (json, _) = contract::document::decode(&row.version.document)?;
        let fields = Value::from_json(json).ok().and_then(|value| value.into_object().ok());
        let fields = fields.ok_or_else(|| Error::internal("an entry of the audit log can't be read"))?;
        let id = fields.get(ID_FIELD).and_then(Value::as_str).unwrap_or_default().to_owned();
        let row = AuditLogRow::from_fields(&fields).map_err(Error::internal)?;
        entries.push((id, row));
    }
    if let Some(last) = last {
        let at = entries.iter().position(|(id, _)| *id == last.to_string()).ok_or_else(invalid)?;
        entries.drain(..=at);
    }
    let more = more || entries.len() > limit;
    entries.truncate(limit);
    let cursor = entries.last().filter(|_| more).map(|(id, row)| format!("{}-{id}", row.time_ms));
    let entries = entries.into_iter().map(|(_, row)| {
        (
            row.time_ms,
            AuditEntry {
                action: row.action,
                actor: row.actor,
                metadata: row.metadata,
                client_address: row.client_address,
                client_agent: row.client_agent,
            },
        )
    });
    Ok(AuditPage { entries: entries.collect(), cursor })
}
