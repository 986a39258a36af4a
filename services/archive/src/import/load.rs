//! The documents and files of an import, written where nobody sees them; or, of one that appends, where everybody does.
//!
//! Each commit writes some documents and, in the import's row, how many those are in all. Whoever goes on after a crash begins there.

use std::{
    collections::BTreeMap,
    io::Read as _,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{IndexId, ObjectSummary};
use system_transaction::{Error, Result as Transacted, Work};
use transaction::{
    FileObjectRow, FileRow, FileState, ImportMode, ImportRow, ImportState, ImportTable, ImportedFile,
    IndexKind, Stored, TableState, Transaction, object_name,
};
use value::{ComponentId, DocumentId, Object};

use super::{
    contents::{ContentFile, Contents, not_readable},
    plan::TABLES_SHOWN,
    swap::{self, Swap},
    tables_of,
};
use crate::{
    components::{components_from, path_within, require_component},
    job::{Job, Result, Stop},
};

/// Bytes of a file that go to the store at once.
const PIECE_BYTES: usize = 256 << 10;

pub(crate) fn run(job: &Job, row: ImportRow) -> Result<()> {
    let Some(order) = row.order else { return Err(Stop::Refused("The import has no order.".to_owned())) };
    let (transactions, deployment) = (&job.shared.transactions, job.deployment);
    let mut contents = Contents::open(job, &order)?;
    // Before any document, so that an import that appends writes none if a file can't be stored.
    let (files, storages) = store_files(job, &mut contents, &order.component)?;
    let prepared = job.wait(transactions.transact(deployment, &Prepare { job, mode: order.mode }))??;
    let (mut position, tables) = prepared.ok_or(Stop::NotOurs)?;
    let mut before = 0;
    for (index, table) in tables.iter().enumerate().take(contents.tables.len()) {
        let end = before + table.documents;
        if position < end || table.documents == 0 && position == end {
            let checkpoint = checkpoint(table, index, contents.tables.len());
            let mut batch = Batch {
                job,
                table,
                mode: order.mode,
                position,
                before,
                documents: Vec::new(),
                bytes: 0,
                done: None,
            };
            let limits = &job.shared.limits;
            contents.each_document(index, position - before, &mut |document, _| {
                batch.bytes += document.size_bytes();
                batch.documents.push(document);
                if batch.documents.len() >= limits.batch_documents_max
                    || batch.bytes >= limits.batch_bytes_max
                {
                    batch.commit()?;
                }
                Ok(())
            })?;
            batch.done = checkpoint;
            batch.commit()?;
            position = batch.position;
        }
        before = end;
    }
    let mut transaction = job.wait(transactions.snapshot(deployment))??;
    let scope = components_from(&mut transaction, &order.component)?;
    let scope = scope.into_iter().map(|(_, component)| component).collect();
    let indexes = search_indexes_of(&transaction, &tables);
    drop(transaction);
    await_search_indexes(job, &indexes)?;
    let swap = Swap { job, order: &order, scope, tables, documents: position, storages, files };
    swap::run(&swap)
}

/// What people are told when a table is filled, who are told of some tables only.
fn checkpoint(table: &ImportTable, index: usize, count: usize) -> Option<String> {
    match index {
        0..TABLES_SHOWN => Some(format!("Read {} documents for `{}`", table.documents, table.name)),
        _ if index + 1 == count => {
            Some(format!("Read the documents for {} more tables", count - TABLES_SHOWN))
        }
        _ => None,
    }
}

/// The indexes for searches of tables that nobody sees yet.
fn search_indexes_of(transaction: &Transaction, tables: &[ImportTable]) -> Vec<IndexId> {
    let catalog = transaction.deployment_catalog();
    let filled =
        tables.iter().filter_map(|table| catalog.of(table.component).table_by_tablet(&table.tablet?));
    let hidden = filled.filter(|table| table.state == TableState::Hidden);
    let indexes = hidden.flat_map(|table| &table.indexes);
    indexes.filter(|index| index.kind != IndexKind::Ordered).map(|index| index.id).collect()
}

/// Until the search service has every document in them: it follows what is written, and may be behind. Others work meanwhile.
fn await_search_indexes(job: &Job, indexes: &[IndexId]) -> Result<()> {
    let limits = &job.shared.limits;
    let pause = Duration::from_millis(limits.look_ms);
    let (begun, most) = (Instant::now(), Duration::from_millis(limits.search_wait_ms_max));
    if !indexes.is_empty() {
        job.leave_place();
    }
    for index in indexes {
        loop {
            if begun.elapsed() > most {
                let what = "the indexes for searches were not filled in time (archive.search_wait_ms_max)";
                return Err(Stop::Refused(format!("{what}. Nothing was imported.")));
            }
            match job.wait(job.shared.search.search_index(job.deployment, *index))? {
                Ok(state) if state.is_complete => break,
                Ok(_) => {}
                Err(error) => tracing::debug!("a search index is looked at later: {error}"),
            }
            job.wait(tokio::time::sleep(pause))?;
        }
    }
    if indexes.is_empty() { Ok(()) } else { job.wait(job.take_place())? }
}

/// Creates the tables that are filled.
struct Prepare<'j> {
    job: &'j Job,
    mode: ImportMode,
}

#[async_trait]
impl Work for Prepare<'_> {
    /// How many documents are written already, and what is filled; `None` if the import is another process's.
    type Output = Option<(u64, Vec<ImportTable>)>;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Self::Output> {
        let Some(row) = mine(transaction, self.job).await? else { return Ok(None) };
        let mut tables = tables_of(transaction, self.job.id.internal_id).await?;
        // Numbers that are given come before those that are free.
        for has_number in [true, false] {
            for Stored { id, row } in &mut tables {
                let table = &mut row.table;
                if table.tablet.is_some() || table.number.is_some() != has_number {
                    continue;
                }
                require_component(transaction, table.component)?;
                transaction.enter(table.component);
                if transaction.active_schema().map(|schema| schema.id) != table.schema {
                    return Err(swap::schema_changed().into());
                }
                let known = transaction.table(&table.name);
                table.tablet = Some(match (self.mode, known) {
                    (ImportMode::Append, Some(known)) => {
                        if table.number.is_some_and(|number| number != known.number) {
                            return Err(swap::number_taken(&table.name).into());
                        }
                        known.tablet
                    }
                    (ImportMode::Append, None) => {
                        let taken = transaction.tables();
                        if taken.iter().any(|other| Some(other.number) == table.number) {
                            return Err(swap::number_taken(&table.name).into());
                        }
                        transaction.create_numbered_table(&table.name, table.number).await?
                    }
                    (_, known) => {
                        transaction
                            .create_hidden_table(&table.name, table.number, known.as_deref())
                            .await?
                            .tablet
                    }
                });
                transaction.replace_row(*id, row).await?;
            }
        }
        transaction.enter(ComponentId::ROOT);
        Ok(Some((row.position, tables.into_iter().map(|stored| stored.row.table).collect())))
    }
}

/// The row of an import on which this process works; `None` if it does not, or no longer.
pub(crate) async fn mine(transaction: &mut Transaction, job: &Job) -> Transacted<Option<ImportRow>> {
    let row = transaction.row::<ImportRow>(job.id).await?;
    Ok(row.filter(|row| matches!(row.state, ImportState::InProgress { .. }) && job.is_mine(row.claim)))
}

/// Documents that one commit writes.
struct Batch<'j> {
    job: &'j Job,
    table: &'j ImportTable,
    mode: ImportMode,
    /// Documents of all tables before these.
    position: u64,
    /// How many of them are of other tables.
    before: u64,
    documents: Vec<Object>,
    bytes: usize,
    /// What people are told once these are written.
    done: Option<String>,
}

impl Batch<'_> {
    fn commit(&mut self) -> Result<()> {
        let written = self.job.wait(self.job.shared.transactions.transact(self.job.deployment, &*self))??;
        self.position = written.ok_or(Stop::NotOurs)?;
        self.documents.clear();
        self.bytes = 0;
        Ok(())
    }
}

#[async_trait]
impl Work for Batch<'_> {
    /// How many documents are written then; `None` if the import is another process's.
    type Output = Option<u64>;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Option<u64>> {
        let Some(mut row) = mine(transaction, self.job).await? else { return Ok(None) };
        if row.position != self.position {
            return Ok(None);
        }
        let Batch { table, mode, before, .. } = *self;
        let filled = match mode {
            ImportMode::Append => TableState::Active,
            _ => TableState::Hidden,
        };
        transaction.enter(table.component);
        let known = table.tablet.and_then(|tablet| transaction.catalog().table_by_tablet(&tablet).cloned());
        let Some(known) = known.filter(|table| table.state == filled) else {
            let message = format!("the table `{}` was replaced meanwhile", table.name);
            return Err(transaction::Error::user("ImportConflict", message).into());
        };
        transaction.import_documents(&known, self.documents.clone()).await?;
        transaction.enter(ComponentId::ROOT);
        row.position += self.documents.len() as u64;
        if !self.documents.is_empty() {
            row.attempts = 0;
        }
        if let ImportState::InProgress { message, done } = &mut row.state {
            let (written, of) = (row.position - before, table.documents);
            *message = format!("Importing `{}` ({written} of {of} documents)", table.name);
            // Of a table without documents it is not known whether it was told.
            done.extend(self.done.clone().filter(|told| !done.contains(told)));
        }
        transaction.replace_row(self.job.id, &row).await?;
        Ok(Some(row.position))
    }
}

/// Stores the bytes of all files that are not stored yet. The files come back, and the components that have any, or none from now on.
fn store_files(
    job: &Job,
    contents: &mut Contents,
    component: &str,
) -> Result<(Vec<ImportedFile>, Vec<ComponentId>)> {
    let (mut imported, mut storages) = (Vec::new(), Vec::new());
    if contents.storages.is_empty() {
        return Ok((imported, storages));
    }
    let (transactions, deployment, owner) = (&job.shared.transactions, job.deployment, job.id.internal_id);
    let mut transaction = job.wait(transactions.snapshot(deployment))??;
    let components = components_from(&mut transaction, component)?;
    let rows = job.wait(transaction.rows::<FileObjectRow>("by_file", &[owner.to_string().into()]))??;
    drop(transaction);
    let known: BTreeMap<u32, DocumentId> = rows
        .iter()
        .filter_map(|Stored { id, row }| match row.state {
            FileState::Imported { number, .. } => Some((number, *id)),
            _ => None,
        })
        .collect();
    let mut number = 0;
    for storage in 0..contents.storages.len() {
        let path = contents.storages[storage].component.clone();
        let (root, _) = &components[0];
        let of_path = components.iter().find(|(known, _)| path_within(root, known) == path);
        let gone = || Stop::Refused(format!("ComponentNotFound: the component `{path}` is no longer there"));
        let component = of_path.map(|(_, component)| *component).ok_or_else(gone)?;
        storages.push(component);
        for file in contents.files(storage)? {
            let (object, sha256, size_bytes) = match (known.get(&number), file.sha256, file.size_bytes) {
                (Some(object), Some(sha256), Some(size_bytes)) => (*object, sha256, size_bytes),
                _ => {
                    let (object, stored) = store_file(job, contents, component, &file, number)?;
                    (object, stored.sha256, stored.size_bytes)
                }
            };
            number += 1;
            let row = FileRow { component, sha256, size_bytes, content_type: file.content_type };
            let (id, creation_time, uuid) = (Some(file.id), file.creation_time, file.uuid);
            imported.push(ImportedFile { object, id, creation_time, uuid, row });
        }
    }
    Ok((imported, storages))
}

fn store_file(
    job: &Job,
    contents: &mut Contents,
    component: ComponentId,
    file: &ContentFile,
    number: u32,
) -> Result<(DocumentId, ObjectSummary)> {
    let (shared, deployment) = (&job.shared, job.deployment);
    let object = job.wait(shared.transactions.transact(deployment, &Note { job, component }))??;
    let object = object.ok_or(Stop::NotOurs)?;
    let mut writer = job.wait(shared.objects.create(object_name(deployment, component, object)))??;
    let mut bytes = contents.file(file.entry)?;
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        bytes.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(not_readable)?;
        if piece.is_empty() {
            break;
        }
        job.wait(writer.write(Bytes::from(piece)))??;
    }
    drop(bytes);
    let stored = job.wait(writer.finish())??;
    let is_as_said = file.sha256.is_none_or(|sha256| sha256 == stored.sha256)
        && file.size_bytes.is_none_or(|size_bytes| size_bytes == stored.size_bytes);
    if !is_as_said {
        let message = format!(
            "the bytes of the file {} are not those that `_storage/documents.jsonl` tells of",
            file.id
        );
        return Err(Stop::Refused(format!("Sha256Mismatch: {message}")));
    }
    let keep = Keep { job, object, number };
    job.wait(shared.transactions.transact(deployment, &keep))??.ok_or(Stop::NotOurs)?;
    Ok((object, stored))
}

struct Note<'j> {
    job: &'j Job,
    component: ComponentId,
}

#[async_trait]
impl Work for Note<'_> {
    type Output = Option<DocumentId>;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Option<DocumentId>> {
        match mine(transaction, self.job).await? {
            Some(_) => Ok(Some(transaction.note_object(self.component).await?)),
            None => Ok(None),
        }
    }
}

struct Keep<'j> {
    job: &'j Job,
    object: DocumentId,
    number: u32,
}

#[async_trait]
impl Work for Keep<'_> {
    type Output = Option<()>;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Option<()>> {
        if mine(transaction, self.job).await?.is_none() {
            return Ok(None);
        }
        let row = transaction.row::<FileObjectRow>(self.object).await?;
        if row.is_none_or(|row| row.state != FileState::Arriving) {
            return Err(Error::Refused(contract::Error::overloaded("UploadTooSlow", "a file took too long")));
        }
        let state = FileState::Imported { of: self.job.id.internal_id, number: self.number };
        transaction.set_object_state(self.object, state).await?;
        Ok(Some(()))
    }
}
