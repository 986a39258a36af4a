use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use contract::{
    DeploymentRef, Epoch, IndexId, Interval, Order, Read, ReadAt, ReadResult, Row, Timestamp, TransactionLog,
};
use tokio::sync::OnceCell;
use value::{CREATION_TIME_FIELD, ID_FIELD, Object, Value};

use crate::{
    DeploymentCatalog, Document, Error, Result,
    system_rows::id_of,
    system_tables::{METADATA_DOCUMENT, SystemTable},
};

/// Catalogs that were loaded, for all deployments that a process serves; least recently used ones go first.
///
/// A catalog is named by the commit that changed the metadata last. One that was read above what is published is kept
/// apart, with the epoch in which it was read: should that epoch end, another commit may get the same timestamp.
#[derive(Debug)]
pub struct CatalogCache {
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    bytes_max: usize,
    bytes: usize,
    uses: u64,
    by_key: HashMap<CatalogKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    last_use: u64,
    /// What it counts: nothing before it is loaded.
    bytes: usize,
    /// Filled by whoever asks first; the others wait for it.
    catalog: Arc<OnceCell<Arc<DeploymentCatalog>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CatalogKey {
    deployment: DeploymentRef,
    version: Timestamp,
    epoch: Option<Epoch>,
}

/// The tables that a catalog is loaded from; tables come before their indexes.
const LOADED: [SystemTable; 10] = [
    SystemTable::Components,
    SystemTable::Tables,
    SystemTable::Indexes,
    SystemTable::Schemas,
    SystemTable::Modules,
    SystemTable::EnvironmentVariables,
    SystemTable::UdfConfig,
    SystemTable::Auth,
    SystemTable::ChangeHistory,
    SystemTable::BackendState,
];

impl CatalogCache {
    /// `bytes_max`: how much is kept, counted as the rows of the catalogs are stored. The last one used stays however large
    /// it is.
    pub fn new(bytes_max: usize) -> CatalogCache {
        let entries = Entries { bytes_max, bytes: 0, uses: 0, by_key: HashMap::new() };
        CatalogCache { entries: Mutex::new(entries) }
    }

    /// The catalog of a deployment at a moment.
    pub async fn get(
        &self,
        log: &dyn TransactionLog,
        deployment: DeploymentRef,
        at: ReadAt,
    ) -> contract::Result<Arc<DeploymentCatalog>> {
        let version = metadata_version(log, deployment, at).await?;
        let published = CatalogKey { deployment, version, epoch: None };
        let key = CatalogKey { epoch: at.epoch, ..published };
        let cell = self.cell(key, published);
        let catalog = cell
            .get_or_try_init(|| async {
                let loaded = load(log, deployment, at, version).await;
                let (catalog, bytes) = loaded.map_err(Error::of_the_system)?;
                self.entries().count(key, bytes + CATALOG_BYTES);
                Ok::<_, contract::Error>(Arc::new(catalog))
            })
            .await;
        if catalog.is_err() {
            self.entries().forget(key, &cell);
        }
        catalog.cloned()
    }

    /// The cell of `key`, unless the catalog is there as a published one.
    fn cell(&self, key: CatalogKey, published: CatalogKey) -> Arc<OnceCell<Arc<DeploymentCatalog>>> {
        let mut entries = self.entries();
        let known = |entry: &Entry| entry.catalog.initialized();
        let key = if entries.by_key.get(&published).is_some_and(known) { published } else { key };
        entries.uses += 1;
        let last_use = entries.uses;
        let new = || Entry { last_use, bytes: 0, catalog: Arc::default() };
        let entry = entries.by_key.entry(key).or_insert_with(new);
        entry.last_use = last_use;
        Arc::clone(&entry.catalog)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().expect("a panic ends the process")
    }
}

impl Entries {
    /// Lets go of a catalog that could not be loaded, unless somebody loads it meanwhile.
    fn forget(&mut self, key: CatalogKey, cell: &Arc<OnceCell<Arc<DeploymentCatalog>>>) {
        let is_empty = |entry: &Entry| Arc::ptr_eq(&entry.catalog, cell) && !cell.initialized();
        if self.by_key.get(&key).is_some_and(is_empty) {
            self.by_key.remove(&key);
        }
    }

    /// Counts a catalog that was loaded, and lets the least recently used ones go for it.
    fn count(&mut self, key: CatalogKey, bytes: usize) {
        // It may have gone while it was loaded; whoever waits for it still gets it.
        let Some(entry) = self.by_key.get_mut(&key) else { return };
        let before = std::mem::replace(&mut entry.bytes, bytes);
        self.bytes = self.bytes - before + bytes;
        while self.bytes > self.bytes_max {
            let others = self.by_key.iter().filter(|(other, entry)| **other != key && entry.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| *key) else {
                break;
            };
            self.bytes -= self.by_key.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        let counted: usize = self.by_key.values().map(|entry| entry.bytes).sum();
        debug_assert_eq!(self.bytes, counted, "what is kept is what is counted");
    }
}

/// What a catalog takes besides its rows.
const CATALOG_BYTES: usize = 2_048;

/// The key of the one metadata document in its table's primary index.
pub(crate) fn metadata_key() -> (IndexId, Bytes) {
    let table = SystemTable::Metadata.table();
    (table.by_id.id, table.primary_key(METADATA_DOCUMENT).into())
}

/// The metadata document. It says nothing; the commit that wrote it last is what counts.
pub(crate) fn metadata_document() -> Document {
    let mut object = Object::new();
    object.insert(ID_FIELD, value::DocumentId::new(SystemTable::Metadata.number(), METADATA_DOCUMENT));
    object.insert(CREATION_TIME_FIELD, Value::Float64(1.0));
    Document::from_object(&object)
}

async fn metadata_version(
    log: &dyn TransactionLog,
    deployment: DeploymentRef,
    at: ReadAt,
) -> contract::Result<Timestamp> {
    let (index, key) = metadata_key();
    let mut results = log.read(deployment, at, &[Read::Point { index, key }]).await?;
    match results.pop() {
        Some(ReadResult::Point(version)) => Ok(version.map_or(Timestamp::ZERO, |version| version.timestamp)),
        _ => Err(unexpected_result().of_the_system()),
    }
}

/// The catalog, and the size of the rows that it is made of.
async fn load(
    log: &dyn TransactionLog,
    deployment: DeploymentRef,
    at: ReadAt,
    version: Timestamp,
) -> Result<(DeploymentCatalog, usize)> {
    let mut bytes = 0;
    let mut catalog = DeploymentCatalog::empty(version);
    if version == Timestamp::ZERO {
        return Ok((catalog, bytes));
    }
    for table in LOADED {
        let mut rest = Some(Interval::all());
        while let Some(interval) = rest.take() {
            let read = Read::Range {
                index: table.table().by_id.id,
                interval,
                order: Order::Ascending,
                rows_max: usize::MAX,
                bytes_max: usize::MAX,
            };
            let (rows, more) = match log.read(deployment, at, &[read]).await?.pop() {
                Some(ReadResult::Range { rows, more }) => (rows, more),
                _ => return Err(unexpected_result()),
            };
            if let (true, Some(last)) = (more, rows.last()) {
                rest = Some(Interval { start: value::key::successor(&last.key).into(), end: None });
            }
            for Row { version, .. } in rows {
                bytes += version.document.len();
                let object = Document::from_stored(version.document)?.to_object()?;
                catalog.apply(table, id_of(&object, table)?, None, Some(&object))?;
            }
        }
    }
    Ok((catalog, bytes))
}

pub(crate) fn unexpected_result() -> Error {
    Error::Service(contract::Error::internal("the log answered a read with a result of another kind"))
}
