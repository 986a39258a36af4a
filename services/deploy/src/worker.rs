//! The work between `start_push` and `finish_push`: checks the documents against the pending schema, fills the new
//! indexes. It can be stopped at any point and begun again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    BackfillStep, DeploymentRef, Error, IndexId, Interval, Order, Read, ReadAt, ReadResult, Result, Retry,
    document,
};
use schema::{DatabaseSchema, TableSchema};
use system_transaction::Work;
use tokio_util::sync::CancellationToken;
use transaction::{
    Catalog, IndexKind, IndexRow, IndexState, SchemaFailure, SchemaRow, SchemaState, Table, TableState,
    Transaction,
};
use value::{DocumentId, TableName, Value};

use crate::{Handle, start::index_rows};

/// One preparation of schemas that is under way.
pub(crate) struct Preparing {
    schemas: BTreeSet<DocumentId>,
    stop: CancellationToken,
}

impl Handle {
    /// Makes sure that the schemas with these ids, and all new indexes, are being prepared; work for others stops.
    pub(crate) fn keep_preparing(&self, deployment: DeploymentRef, schemas: BTreeSet<DocumentId>) {
        let mut preparing = self.shared.preparing.lock();
        if let Some(current) = preparing.get(&deployment) {
            if current.schemas == schemas && !current.stop.is_cancelled() {
                return;
            }
            current.stop.cancel();
        }
        let stop = self.shared.shutdown.child_token();
        preparing.insert(deployment, Preparing { schemas: schemas.clone(), stop: stop.clone() });
        let deploy = self.clone();
        self.shared.tasks.spawn(async move {
            // Whoever waits next starts it again if there is still something to do.
            let finished = stop.clone().drop_guard();
            let work = deploy.prepare(deployment, schemas);
            let _ = stop.run_until_cancelled(work).await;
            drop(finished);
        });
    }

    async fn prepare(&self, deployment: DeploymentRef, schemas: BTreeSet<DocumentId>) {
        loop {
            let done = async {
                for schema in &schemas {
                    self.check_documents(deployment, *schema).await?;
                }
                self.fill_indexes(deployment).await
            };
            match done.await {
                Ok(()) => return,
                Err(error) if error.retry != Retry::Never => {
                    tracing::debug!(%error, "preparing a schema is tried again");
                    let pause_ms = self.limits().push.schema_retry_ms;
                    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                }
                Err(error) => {
                    tracing::error!(%error, "a schema can't be prepared");
                    return;
                }
            }
        }
    }

    async fn check_documents(&self, deployment: DeploymentRef, id: DocumentId) -> Result<()> {
        let mut transaction = self.transactions().snapshot(deployment).await?;
        let Some(row) = schema_row(&mut transaction, id).await? else { return Ok(()) };
        if row.state != SchemaState::Pending {
            return Ok(());
        }
        let limits = &self.limits().transaction.schema;
        let schema = DatabaseSchema::from_json(&row.schema, limits)
            .map_err(|error| Error::internal(format!("a pending schema can't be read: {error}")))?;
        // Writes after this moment read the pending schema themselves, and fail it if they don't fit.
        let moment = transaction.begin_at();
        let held = self.transactions().hold(deployment.group, moment.timestamp);
        let catalog = transaction.deployment_catalog().of(row.component).clone();
        let mut failure = None;
        for table in tables_to_walk(&catalog, &schema)? {
            failure =
                self.check_table(deployment, moment, &catalog, &table, &schema.tables[&table.name]).await?;
            if failure.is_some() {
                break;
            }
        }
        held.end().await;
        Ok(self.transactions().transact(deployment, &Verdict { schema: id, failure }).await?)
    }

    /// The first document of the table that doesn't fit.
    async fn check_table(
        &self,
        deployment: DeploymentRef,
        moment: ReadAt,
        catalog: &Catalog,
        table: &Table,
        schema: &TableSchema,
    ) -> Result<Option<SchemaFailure>> {
        let limits = self.limits().push;
        let number_of = |name: &TableName| catalog.table(name.as_str()).map(|table| table.number);
        let mut interval = Interval::all();
        loop {
            let read = Read::Range {
                index: table.by_id.id,
                interval: interval.clone(),
                order: Order::Ascending,
                rows_max: limits.checked_documents_max,
                bytes_max: limits.checked_bytes_max,
            };
            let results = self.transactions().log.read(deployment, moment, &[read]).await?;
            let [ReadResult::Range { rows, more }] = &results[..] else {
                return Err(Error::internal("a range read did not answer with a range"));
            };
            for row in rows {
                let (json, _) = document::decode(&row.version.document)?;
                let Value::Object(fields) = Value::from_json(json)
                    .map_err(|error| Error::internal(format!("a stored document can't be read: {error}")))?
                else {
                    return Err(Error::internal("a stored document is not an object"));
                };
                if let Err(mismatch) = schema.check_document(&fields, &number_of) {
                    let id = fields.get("_id").and_then(Value::as_str).unwrap_or("?");
                    return Ok(Some(SchemaFailure {
                        message: format!(
                            "Document with ID \"{id}\" in table \"{}\" does not match the schema: {mismatch}",
                            table.name
                        ),
                        table: Some(table.name.to_string()),
                    }));
                }
            }
            match rows.last() {
                Some(last) if *more => {
                    interval.start = Interval::point(&last.key).end.expect("a point has an end")
                }
                _ => return Ok(None),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn fill_indexes(&self, deployment: DeploymentRef) -> Result<()> {
        let mut transaction = self.transactions().snapshot(deployment).await?;
        let mut rows: Vec<_> = index_rows(&mut transaction).await?.into_values().collect();
        // The search service fills its own meanwhile.
        rows.sort_by_key(|(_, row)| row.kind != IndexKind::Ordered);
        for (_, row) in rows {
            if row.state != IndexState::Backfilling {
                continue;
            }
            let Some(table) = table_of(&transaction, &row).cloned() else { continue };
            let Some(index) = table.indexes.iter().find(|index| index.id == row.id) else { continue };
            if row.kind != IndexKind::Ordered {
                if self.wait_for_search_index(deployment, &row).await? {
                    self.transactions().transact(deployment, &MarkFilled { index: row.id }).await?;
                }
                continue;
            }
            let mut from = None;
            loop {
                let step = BackfillStep {
                    deployment,
                    primary: table.by_id.id,
                    index: row.id,
                    fields: index.key_fields().iter().map(ToString::to_string).collect(),
                    from,
                };
                let progress = self.transactions().log.backfill(step).await?;
                from = progress.next;
                if from.is_none() {
                    break;
                }
            }
            self.transactions().transact(deployment, &MarkFilled { index: row.id }).await?;
        }
        Ok(())
    }
}

/// The table of an index. `None` if it was dropped, by an import that has put another in its place: the index goes with it, and nobody
/// fills it any more.
pub(crate) fn table_of<'t>(transaction: &'t Transaction, row: &IndexRow) -> Option<&'t Arc<Table>> {
    let table = transaction.deployment_catalog().of(row.component).table_by_tablet(&row.table);
    table.filter(|table| table.state != TableState::Deleting)
}

/// Writes down whether the documents fit a schema, unless that has been decided meanwhile.
struct Verdict {
    schema: DocumentId,
    failure: Option<SchemaFailure>,
}

#[async_trait]
impl Work for Verdict {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        let Some(mut row) = schema_row(transaction, self.schema).await? else { return Ok(()) };
        if row.state == SchemaState::Pending {
            row.state = if self.failure.is_some() { SchemaState::Failed } else { SchemaState::Validated };
            row.error = self.failure.clone();
            transaction.replace_row(self.schema, &row).await?;
        }
        Ok(())
    }
}

/// Writes down that an index is complete, unless a newer push has dropped it meanwhile.
struct MarkFilled {
    index: IndexId,
}

#[async_trait]
impl Work for MarkFilled {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        let rows = index_rows(transaction).await?;
        if let Some((id, row)) = rows.get(&self.index)
            && row.state == IndexState::Backfilling
        {
            let filled = IndexRow { state: IndexState::Backfilled, ..row.clone() };
            transaction.replace_row(*id, &filled).await?;
        }
        Ok(())
    }
}

pub(crate) async fn schema_row(
    transaction: &mut Transaction,
    id: DocumentId,
) -> system_transaction::Result<Option<SchemaRow>> {
    let rows = transaction.rows::<SchemaRow>("by_id", &[id.into()]).await?;
    Ok(rows.into_iter().next().map(|stored| stored.row))
}

/// The tables with documents that the active schema does not already prove to fit.
pub(crate) fn tables_to_walk(
    catalog: &Catalog,
    schema: &DatabaseSchema,
) -> system_transaction::Result<Vec<Arc<Table>>> {
    if !schema.schema_validation {
        return Ok(Vec::new());
    }
    let active = match catalog.active_schema() {
        Some(stored) => Some(stored.schema()?),
        None => None,
    };
    let enforced: BTreeMap<&TableName, &TableSchema> = active
        .as_deref()
        .filter(|schema| schema.schema_validation)
        .into_iter()
        .flat_map(|schema| &schema.tables)
        .collect();
    Ok(schema
        .tables
        .values()
        .filter(|wanted| {
            let known = enforced.get(&wanted.name);
            !known.is_some_and(|known| wanted.document_type.is_superset_of(&known.document_type))
        })
        .filter_map(|wanted| catalog.table(wanted.name.as_str()).cloned())
        .collect())
}
