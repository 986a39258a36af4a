//! Records that another system streams in, some at a time.
//!
//! Each is a document. Of a stream with a primary key, one that has the key of a document takes its place. The documents are found by an
//! index that is the system's own; one of a table that has documents already is filled in the background, as long as somebody asks whether
//! it is.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use contract::{BackfillStep, DeploymentRef, Error, Result, StreamedRecord};
use parking_lot::Mutex;
use system_transaction::{Result as Transacted, Work};
use transaction::{ImportRow, ImportState, IndexState, TableState, Transaction};
use value::{FieldPath, JsonFormat, Object, TableName, Value};

use crate::service::Shared;

/// The fields of a primary key.
type Key = Vec<FieldPath>;

/// The deployments whose indexes this process is filling.
#[derive(Default)]
pub(crate) struct Filling(Mutex<HashSet<DeploymentRef>>);

fn invalid(message: impl Into<String>) -> Error {
    Error::bad_request("InvalidStreamingImport", message)
}

fn table_name(name: &str) -> Result<TableName> {
    let shown: String = name.chars().take(64).collect();
    match name.parse::<TableName>() {
        Ok(name) if !name.is_system() => Ok(name),
        Ok(_) => Err(invalid(format!("The table {shown:?} is the system's."))),
        Err(error) => Err(invalid(format!("There can be no table {shown:?}: {error}."))),
    }
}

/// Paths are lists of field names.
/// Held to what an index of an app's is held to.
fn key_of(table: &TableName, paths: &[Vec<String>], fields_max: usize) -> Result<Key> {
    let refused = |what: String| invalid(format!("The primary key of `{table}` {what}."));
    if paths.is_empty() {
        return Err(refused("has no field".to_owned()));
    }
    if paths.len() > fields_max {
        let count = paths.len();
        return Err(refused(format!("has {count} fields (archive.key_fields_max is {fields_max})")));
    }
    let mut key = Key::with_capacity(paths.len());
    for path in paths {
        if path.iter().any(|name| name.contains('.')) {
            return Err(refused("has a field with a dot in its name".to_owned()));
        }
        let field = path.join(".").parse::<FieldPath>();
        let field = field.map_err(|error| refused(format!("can't be: {error}")))?;
        if field.first().as_str().starts_with('_') {
            return Err(refused(format!("has the field `{field}`, which is the system's")));
        }
        if key.contains(&field) {
            return Err(refused(format!("has the field `{field}` twice")));
        }
        key.push(field);
    }
    Ok(key)
}

pub(crate) async fn add_indexes(
    shared: &Shared,
    deployment: DeploymentRef,
    keys: BTreeMap<String, Vec<Vec<String>>>,
) -> Result<()> {
    let mut indexes = Vec::with_capacity(keys.len());
    for (table, paths) in &keys {
        let table = table_name(table)?;
        let key = key_of(&table, paths, shared.limits.key_fields_max)?;
        indexes.push((table, key));
    }
    Ok(shared.transactions.transact(deployment, &AddIndexes { indexes }).await?)
}

struct AddIndexes {
    indexes: Vec<(TableName, Key)>,
}

#[async_trait]
impl Work for AddIndexes {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        for (table, key) in &self.indexes {
            transaction.add_primary_key_index(table, key.clone()).await?;
        }
        Ok(())
    }
}

fn no_index(table: &TableName) -> Error {
    let message = format!("The table `{table}` has no index for this primary key. Add it first.");
    Error::bad_request("IndexNotFoundError", message)
}

/// Whether all of these tables have an index that holds every document.
pub(crate) async fn are_ready(
    shared: &Arc<Shared>,
    deployment: DeploymentRef,
    tables: Vec<String>,
) -> Result<bool> {
    let mut transaction = shared.transactions.snapshot(deployment).await?;
    let mut are_ready = true;
    for table in &tables {
        let name = table_name(table)?;
        let table = transaction.table(&name);
        let index = table.as_ref().and_then(|table| table.primary_key_index());
        are_ready &= index.ok_or_else(|| no_index(&name))?.state != IndexState::Backfilling;
    }
    if !are_ready && shared.filling.0.lock().insert(deployment) {
        let filling = shared.clone();
        shared.tasks.spawn(async move {
            let shutdown = &filling.shutdown;
            if let Some(Err(error)) = shutdown.run_until_cancelled(fill(&filling, deployment)).await {
                tracing::info!(%deployment, "indexes for streamed records are filled later: {error}");
            }
            filling.filling.0.lock().remove(&deployment);
        });
    }
    Ok(are_ready)
}

/// Puts the documents that were there before into the indexes. Those that are written meanwhile are put there with their commits.
async fn fill(shared: &Shared, deployment: DeploymentRef) -> Result<()> {
    let transaction = shared.transactions.snapshot(deployment).await?;
    let catalogs = transaction.deployment_catalog().components();
    let tables = catalogs.flat_map(|catalog| catalog.tables()).filter_map(|table| {
        let index = table.primary_key_index()?;
        (index.state == IndexState::Backfilling).then(|| (table.by_id.id, index.clone()))
    });
    for (primary, index) in tables.collect::<Vec<_>>() {
        let mut from = None;
        loop {
            let step = BackfillStep {
                deployment,
                primary,
                index: index.id,
                fields: index.key_fields().iter().map(ToString::to_string).collect(),
                from,
            };
            from = shared.transactions.log.backfill(step).await?.next;
            if from.is_none() {
                break;
            }
        }
        shared.transactions.transact(deployment, &Filled(index.id)).await?;
    }
    Ok(())
}

struct Filled(contract::IndexId);

#[async_trait]
impl Work for Filled {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        Ok(transaction.set_index_filled(self.0).await?)
    }
}

/// Writes the records, some with each commit. One that can't be written ends it; those before it may be there.
pub(crate) async fn import_records(
    shared: &Shared,
    deployment: DeploymentRef,
    streams: BTreeMap<String, Option<Vec<Vec<String>>>>,
    records: Vec<StreamedRecord>,
) -> Result<()> {
    let limits = &shared.limits;
    let mut keys = BTreeMap::new();
    for (table, paths) in &streams {
        let name = table_name(table)?;
        let key = paths.as_ref().map(|paths| key_of(&name, paths, limits.key_fields_max)).transpose()?;
        keys.insert(table.as_str(), (name, key));
    }
    // All of them are read before the first is written.
    let mut documents = Vec::with_capacity(records.len());
    for (number, record) in (1..).zip(&records) {
        let Some((name, key)) = keys.get(record.table.as_str()) else {
            return Err(invalid(format!("The record {number} is of a table that is not described.")));
        };
        let refused = |what: String| invalid(format!("The record {number}, of `{name}`, {what}."));
        let value = Value::from_json_in(&record.data, JsonFormat::ConvexEncoded);
        let value = value.map_err(|error| refused(format!("can't be read: {error}")))?;
        let document = value.into_object().map_err(|_| refused("is not an object".to_owned()))?;
        // Without it, it would take the place of any other that has none.
        let mut fields = key.iter().flatten();
        if let Some(field) = fields.find(|field| field.lookup(&document).is_none()) {
            return Err(refused(format!("has no field `{field}`, which is of the primary key")));
        }
        documents.push((name, key.as_ref(), document));
    }
    let mut rest = &documents[..];
    while !rest.is_empty() {
        let (mut count, mut bytes) = (0, 0);
        while count < rest.len() && count < limits.batch_documents_max && bytes < limits.batch_bytes_max {
            bytes += rest[count].2.size_bytes();
            count += 1;
        }
        let (batch, others) = rest.split_at(count);
        shared.transactions.transact(deployment, &Write { records: batch }).await?;
        rest = others;
    }
    Ok(())
}

/// Records that one commit writes.
struct Write<'r> {
    records: &'r [(&'r TableName, Option<&'r Key>, Object)],
}

#[async_trait]
impl Work for Write<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        for (name, key, document) in self.records {
            let known = match key {
                Some(key) => same(transaction, name, key, document).await?,
                None => None,
            };
            let document = Value::Object(document.clone());
            match known {
                Some(id) => transaction.replace(&id.to_string(), Some(name.as_str()), document).await?,
                None => {
                    transaction.insert(name.as_str(), document).await?;
                }
            }
        }
        Ok(())
    }
}

/// The document whose place a record takes.
async fn same(
    transaction: &mut Transaction,
    name: &TableName,
    key: &Key,
    document: &Object,
) -> Transacted<Option<value::DocumentId>> {
    let table = transaction.table(name).ok_or_else(|| no_index(name))?;
    let index = table.primary_key_index().filter(|index| index.fields == *key).cloned();
    let index = index.ok_or_else(|| no_index(name))?;
    if index.state == IndexState::Backfilling {
        let message = format!("The index of `{name}` is still being built. Ask until it is ready.");
        return Err(Error::bad_request("IndexBackfillingError", message).into());
    }
    Ok(transaction.first_like(&table, &index, document).await?)
}

/// Removes all documents of these tables by one commit. Tables that are not there have none.
pub(crate) struct ClearTables {
    tables: Vec<TableName>,
}

impl ClearTables {
    pub(crate) fn new(tables: &[String]) -> Result<ClearTables> {
        Ok(ClearTables { tables: tables.iter().map(|table| table_name(table)).collect::<Result<_>>()? })
    }
}

#[async_trait]
impl Work for ClearTables {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        for name in &self.tables {
            let Some(known) = transaction.table(name) else { continue };
            let empty = transaction.create_hidden_table(name, Some(known.number), Some(&*known)).await?;
            transaction.set_table_state(&known, TableState::Deleting).await?;
            transaction.set_table_state(&empty, TableState::Active).await?;
        }
        // An import of nothing, which is over: whoever clears up behind it removes the documents.
        let at_ns = transaction.now_ms().saturating_mul(1_000_000);
        let row = ImportRow {
            state: ImportState::Completed { documents: 0, at_ns },
            order: None,
            claim: None,
            attempts: 0,
            position: 0,
            is_cleared: false,
        };
        transaction.insert_row(&row).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use transaction::PRIMARY_KEY_INDEX;

    use super::*;

    #[test]
    fn what_names_no_table_or_field_is_refused() {
        for name in ["", "_storage", "a-b", "1a"] {
            assert_eq!(table_name(name).expect_err(name).code, "InvalidStreamingImport");
        }
        let table = table_name("people").expect("a name");
        let path = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let key = key_of(&table, &[path(&["id"]), path(&["of", "it"])], 2).expect("a key");
        assert_eq!(key.iter().map(ToString::to_string).collect::<Vec<_>>(), ["id", "of.it"]);
        let (one, other, third) = (path(&["a"]), path(&["b"]), path(&["c"]));
        let alone = [path(&[]), path(&["$a"]), path(&["a.b"]), path(&["_id"]), path(&["_creationTime"])];
        let several = [vec![], vec![one.clone(), one.clone()], vec![one, other, third]];
        for wrong in alone.map(|path| vec![path]).into_iter().chain(several) {
            assert_eq!(key_of(&table, &wrong, 2).expect_err("no key").code, "InvalidStreamingImport");
        }
        assert!(PRIMARY_KEY_INDEX.parse::<value::IndexName>().expect("a name").is_reserved());
    }
}
