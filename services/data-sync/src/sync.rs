//! `data/sync`: tables from scratch, then what changes in them.
//!
//! A sync takes its tables one after the other as they are at the time, and from the moment at which it began what has changed: a
//! document that was taken and has changed since comes again with its change. So what was synced is exactly what there is whenever it
//! has come to the newest commit, and at no other time.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use contract::{
    DeploymentRef, Error, IndexId, ReadAt, Result, SyncPage, SyncRequest, SyncTruncate, SyncedDocument,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use system_transaction::{Result as Transacted, Work};
use transaction::{DataSyncRow, Transaction};
use value::{DocumentId, JsonFormat};

use crate::{
    documents::{ExportedTable, documents_behind, json_with, object_of, only_id, tables_of},
    history,
    page::changes_above,
    selection::{Columns, Selection},
    service::{Shared, invalid_cursor},
};

/// Everything that a sync has come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Position {
    sync: DocumentId,
    /// The changes of all whole tables up to here were given; nanoseconds.
    complete_to: u64,
    tables: Vec<SyncedTable>,
    /// Documents that were given of tables from scratch.
    documents: u64,
}

/// A table that is synced. There may be thousands in a cursor, so that little is kept of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "KeptTable", into = "KeptTable")]
struct SyncedTable {
    component: String,
    name: String,
    /// Whose data was given, and which columns of it: [`Wanted::source`].
    source: String,
    progress: Progress,
}

type KeptTable = (String, String, String, Progress);

impl From<KeptTable> for SyncedTable {
    fn from((component, name, source, progress): KeptTable) -> SyncedTable {
        SyncedTable { component, name, source, progress }
    }
}

impl From<SyncedTable> for KeptTable {
    fn from(table: SyncedTable) -> KeptTable {
        (table.component, table.name, table.source, table.progress)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Progress {
    #[serde(rename = "n")]
    Waiting,
    #[serde(rename = "a")]
    After {
        /// Of the last document that was given, in hexadecimal digits.
        key: String,
        /// Documents that were given of it from scratch.
        documents: u64,
    },
    #[serde(rename = "y")]
    Whole,
}

impl Progress {
    fn documents(&self) -> u64 {
        match self {
            Progress::After { documents, .. } => *documents,
            Progress::Waiting | Progress::Whole => 0,
        }
    }
}

/// A table as it is now, and what is to be synced of it.
struct Wanted {
    table: ExportedTable,
    columns: Columns,
}

impl Wanted {
    /// Differs where another table's documents are synced, or other columns: 16 hexadecimal digits.
    fn source(&self) -> String {
        let digest = Sha256::new()
            .chain_update(self.table.tablet())
            .chain_update(self.columns.fingerprint())
            .finalize();
        hex::encode(&digest[..8])
    }
}

type WantedTables = HashMap<(String, String), Wanted>;

pub(crate) async fn page(
    shared: &Shared,
    deployment: DeploymentRef,
    request: SyncRequest,
) -> Result<SyncPage> {
    let selection = Selection::parse(request.selection.as_deref())?;
    let before = match &request.cursor {
        Some(cursor) => Some(read_cursor(shared, deployment, cursor)?),
        None => None,
    };
    let begun = match &before {
        Some(position) => position.sync,
        None => {
            history::keep(shared, deployment).await?;
            shared.transactions.transact(deployment, &BeginSync).await?
        }
    };
    let mut transaction = shared.transactions.snapshot(deployment).await?;
    let at = transaction.begin_at();
    let mut position = match before {
        Some(position) => {
            check_age(shared, &mut transaction, &position).await?;
            position
        }
        None => Position {
            sync: begun,
            complete_to: at.timestamp.as_nanoseconds(),
            tables: Vec::new(),
            documents: 0,
        },
    };
    let wanted = wanted_of(&transaction, &selection);
    let mut page = SyncPage {
        sync: position.sync.to_string(),
        synced: None,
        truncates: position.reconcile(&wanted, &selection),
        values: Vec::new(),
        cursor: String::new(),
    };
    let is_from_scratch = position.tables.iter().any(|table| table.progress != Progress::Whole);
    if is_from_scratch {
        take_tables(shared, &transaction, &mut position, &wanted, &mut page).await?;
    } else {
        take_changes(shared, &transaction, &mut position, &wanted, &mut page).await?;
    }
    history::note(shared, deployment, &mut transaction).await?;
    let status = position.status(page.synced).to_string();
    shared.transactions.transact(deployment, &NoteSync { sync: position.sync, status }).await?;
    let plain = serde_json::to_vec(&position).expect("it has string keys");
    page.cursor = shared.transactions.cursor_key.seal_export(deployment, &plain);
    Ok(page)
}

fn read_cursor(shared: &Shared, deployment: DeploymentRef, cursor: &str) -> Result<Position> {
    let plain = shared.transactions.cursor_key.open_export(deployment, cursor).ok_or_else(invalid_cursor)?;
    serde_json::from_slice(&plain).map_err(|_| invalid_cursor())
}

/// Errors: `DataSyncCursorExpired`.
async fn check_age(shared: &Shared, transaction: &mut Transaction, position: &Position) -> Result<()> {
    let row = transaction.row::<DataSyncRow>(position.sync).await;
    let row = row.map_err(transaction::Error::of_the_system)?;
    let now_ms = transaction.now_ms();
    let is_active =
        row.is_some_and(|row| now_ms.saturating_sub(row.updated_ms) <= shared.limits.sync_idle_ms_max);
    if !is_active {
        return Err(expired("nothing was asked of it for too long"));
    }
    let floor = history::floor_of(transaction).await?;
    if floor.is_none_or(|floor| position.complete_to < floor.as_nanoseconds()) {
        return Err(expired("what has changed since is not remembered any more"));
    }
    if position.complete_to > transaction.begin_at().timestamp.as_nanoseconds() {
        return Err(invalid_cursor());
    }
    Ok(())
}

fn expired(why: &str) -> Error {
    Error::bad_request(
        "DataSyncCursorExpired",
        format!("The sync has ended: {why}. Begin anew without a cursor."),
    )
}

fn wanted_of(transaction: &Transaction, selection: &Selection) -> WantedTables {
    let tables = tables_of(transaction).into_iter();
    let wanted = tables.filter_map(|table| {
        let columns = selection.columns(&table.component, table.name())?;
        Some(((table.component.clone(), table.name().to_owned()), Wanted { table, columns }))
    });
    wanted.collect()
}

impl Position {
    /// Takes in which tables there are now, and which of them are wanted. Returns those of which nothing that was given holds.
    fn reconcile(&mut self, wanted: &WantedTables, selection: &Selection) -> Vec<SyncTruncate> {
        let mut truncates = Vec::new();
        let truncate = |component: &str, table: &str| SyncTruncate {
            component: component.to_owned(),
            table: table.to_owned(),
        };
        let before: Vec<SyncedTable> = std::mem::take(&mut self.tables);
        for table in before {
            let now = wanted.get(&(table.component.clone(), table.name.clone()));
            let is_same = now.is_some_and(|now| now.source() == table.source);
            match (is_same, now) {
                (true, _) => self.tables.push(table),
                // Not wanted any more: the copy keeps what it has.
                (false, None) if selection.columns(&table.component, &table.name).is_none() => {}
                (false, None) => truncates.push(truncate(&table.component, &table.name)),
                // It comes anew.
                (false, Some(_)) => {}
            }
        }
        let known: HashSet<(&str, &str)> =
            self.tables.iter().map(|table| (&table.component[..], &table.name[..])).collect();
        let is_new = |wanted: &&Wanted| !known.contains(&(&wanted.table.component, wanted.table.name()));
        let mut new: Vec<&Wanted> = wanted.values().filter(is_new).collect();
        new.sort_by_key(|wanted| (wanted.table.component.clone(), wanted.table.name().to_owned()));
        for wanted in new {
            truncates.push(truncate(&wanted.table.component, wanted.table.name()));
            self.tables.push(SyncedTable {
                component: wanted.table.component.clone(),
                name: wanted.table.name().to_owned(),
                source: wanted.source(),
                progress: Progress::Waiting,
            });
        }
        truncates
    }

    /// How many documents there are in all is not counted: what was given so far is told.
    fn status(&self, synced: Option<Timestamp>) -> serde_json::Value {
        let whole = self.tables.iter().filter(|table| table.progress == Progress::Whole).count();
        match (synced, self.tables.iter().find(|table| table.progress != Progress::Whole)) {
            (Some(synced), _) => json!({
                "type": "synced",
                "syncedTs": synced.as_nanoseconds(),
                "numDocumentsSynced": self.documents,
                "totalTables": self.tables.len(),
            }),
            (None, current) => json!({
                "type": "inProgress",
                "currentComponent": current.map(|table| &table.component),
                "currentTable": current.map(|table| &table.name),
                "numDocumentsInCurrentTable": current.map_or(0, |table| table.progress.documents()),
                "totalDocumentsInCurrentTable": current.map_or(0, |table| table.progress.documents()),
                "numDocumentsSynced": self.documents,
                "totalDocuments": self.documents,
                "numTablesSynced": whole,
                "totalTables": self.tables.len(),
            }),
        }
    }
}

/// Gives documents of tables from scratch.
async fn take_tables(
    shared: &Shared,
    transaction: &Transaction,
    position: &mut Position,
    wanted: &WantedTables,
    page: &mut SyncPage,
) -> Result<()> {
    let at: (DeploymentRef, ReadAt) = (transaction.deployment(), transaction.begin_at());
    let log = transaction.log().clone();
    let mut room = (shared.limits.page_documents_max, shared.limits.page_bytes_max);
    for synced in position.tables.iter_mut().filter(|table| table.progress != Progress::Whole) {
        let Some(Wanted { table, columns }) = wanted.get(&(synced.component.clone(), synced.name.clone()))
        else {
            continue;
        };
        while synced.progress != Progress::Whole {
            if room.0 == 0 || room.1 == 0 {
                return Ok(());
            }
            let after = match &synced.progress {
                Progress::After { key, .. } => Some(hex::decode(key).map_err(|_| invalid_cursor())?),
                Progress::Waiting | Progress::Whole => None,
            };
            let found = documents_behind(&*log, at, &table.table, after.as_deref(), room).await?;
            room.0 = room.0.saturating_sub(found.documents.len());
            room.1 = room.1.saturating_sub(found.bytes);
            let documents = synced.progress.documents() + found.documents.len() as u64;
            position.documents += found.documents.len() as u64;
            let last = found.documents.last().map(|document| hex::encode(&document.key));
            for document in found.documents {
                let object = columns.filter(object_of(&document.version)?);
                page.values.push(given(table, document.version.timestamp, Some(object), String::new()));
            }
            synced.progress = match last {
                Some(key) if found.more => Progress::After { key, documents },
                _ => Progress::Whole,
            };
        }
    }
    Ok(())
}

/// Gives what has changed in tables that are whole.
async fn take_changes(
    shared: &Shared,
    transaction: &Transaction,
    position: &mut Position,
    wanted: &WantedTables,
    page: &mut SyncPage,
) -> Result<()> {
    let at: (DeploymentRef, ReadAt) = (transaction.deployment(), transaction.begin_at());
    let from = Timestamp::new(position.complete_to).ok_or_else(invalid_cursor)?;
    let by_primary: HashMap<IndexId, &Wanted> =
        wanted.values().map(|wanted| (wanted.table.table.by_id.id, wanted)).collect();
    let log = transaction.log().clone();
    let is_wanted = |primary: IndexId| by_primary.contains_key(&primary);
    let changed = changes_above(&*log, at, from, is_wanted, &shared.limits).await?;
    for document in changed.documents {
        let Wanted { table, columns } = by_primary[&document.primary];
        page.values.push(match &document.version {
            Some(version) => {
                let object = columns.filter(object_of(version)?);
                given(table, document.timestamp, Some(object), String::new())
            }
            None => {
                let only_id = json_with(only_id(&document.key)?, JsonFormat::Export, &[]);
                given(table, document.timestamp, None, only_id)
            }
        });
    }
    position.complete_to = changed.complete_to.as_nanoseconds();
    page.synced = (!changed.more).then_some(changed.complete_to);
    Ok(())
}

/// A document, or the JSON of what is left of one that is deleted.
fn given(
    table: &ExportedTable,
    timestamp: Timestamp,
    object: Option<value::Object>,
    deleted: String,
) -> SyncedDocument {
    SyncedDocument {
        component: table.component.clone(),
        table: table.name().to_owned(),
        timestamp,
        deleted: object.is_none(),
        value: object.map_or(deleted, |object| json_with(object, JsonFormat::Export, &[])),
    }
}

/// Enters a new sync, whose id comes back.
struct BeginSync;

#[async_trait]
impl Work for BeginSync {
    type Output = DocumentId;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<DocumentId> {
        let status = json!({ "type": "inProgress" }).to_string();
        let row = DataSyncRow { updated_ms: transaction.now_ms(), status };
        Ok(transaction.insert_row(&row).await?)
    }
}

/// Enters how far a sync is. One that has been removed meanwhile stays so.
struct NoteSync {
    sync: DocumentId,
    status: String,
}

#[async_trait]
impl Work for NoteSync {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        if transaction.row::<DataSyncRow>(self.sync).await?.is_some() {
            let row = DataSyncRow { updated_ms: transaction.now_ms(), status: self.status.clone() };
            transaction.replace_row(self.sync, &row).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_with_the_most_tables_is_one_that_a_request_can_bring() {
        const TABLES_MAX: usize = 10_000;
        const NAME_CHARS_MAX: usize = 64;
        /// `gateway.sync_body_bytes_max`.
        const BODY_BYTES_MAX: usize = 2 << 20;
        let table = |number: usize| SyncedTable {
            component: String::new(),
            name: format!("{number:x>NAME_CHARS_MAX$}"),
            source: "0123456789abcdef".to_owned(),
            progress: if number.is_multiple_of(2) { Progress::Whole } else { Progress::Waiting },
        };
        let position = Position {
            sync: DocumentId::new(
                value::TableNumber::new(10_000).expect("not 0"),
                value::InternalId::from_bytes([255; 16]),
            ),
            complete_to: u64::MAX,
            tables: (0..TABLES_MAX).map(table).collect(),
            documents: u64::MAX,
        };
        let plain = serde_json::to_vec(&position).expect("it has string keys");
        let read: Position = serde_json::from_slice(&plain).expect("it is one");
        assert_eq!(read.tables, position.tables);
        let at = DeploymentRef { group: contract::GroupId(1), deployment: contract::DeploymentId(1) };
        let cursor = transaction::CursorKey::new(&[1; 32]).seal_export(at, &plain);
        assert!(cursor.len() < BODY_BYTES_MAX, "{} bytes", cursor.len());
    }
}
