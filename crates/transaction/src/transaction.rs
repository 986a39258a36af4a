use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use contract::{
    Commit, CommitId, DeploymentRef, Epoch, IndexId, Interval, Read, ReadAt, ReadResult, ReadSet, Search,
    TextCondition, TransactionLog, Version, Write,
};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use value::{ComponentId, InternalId, TableName, id};

use crate::{
    Catalog, CatalogCache, DeploymentCatalog, Document, Error, Limits, Metric, NestedLimits, Result, Table,
    Usage,
    catalog_cache::{metadata_document, metadata_key, unexpected_result},
    changes,
    cursor::CursorKey,
    fact::{Fact, Facts},
    pending::{DocumentKey, Pending, UndoMark},
    scan::{QueryId, QueryStream},
    system_tables::{AuthRow, EnvironmentVariableRow, ModuleRow, Stored, SystemTable, UdfConfigRow},
    usage::Caps,
};

/// Documents that are asked for at once: one answer must hold them at their largest (`rpc.calls_bytes_max`).
const POINTS_READ_MAX: usize = 48;

/// What a transaction is given besides its moment. All randomness and time come from here.
#[derive(Clone)]
pub struct Options {
    /// What it is held to.
    pub limits: Arc<Limits>,
    /// Seeds the ids of new documents. Never the same twice.
    pub id_seed: [u8; 32],
    /// What the wall clock shows, in nanoseconds since the Unix epoch: creation times begin here.
    pub now_ns: u64,
    /// Makes and reads cursors and journals.
    pub cursor_key: CursorKey,
    /// What an earlier run of the same query has returned ([`Finished::journal`]), so that its page keeps its end. The
    /// page fails with `InvalidCursor` if it is not ours.
    pub journal: Option<Arc<str>>,
}

/// One transaction. It is used by one caller at a time; reads see what it has written so far.
///
/// A failed operation changes nothing and leaves the transaction usable, except that what it read is in the read set.
pub struct Transaction {
    log: Arc<dyn TransactionLog>,
    /// Answers text searches.
    pub(crate) search: Option<Arc<dyn Search>>,
    deployment: DeploymentRef,
    begin: ReadAt,
    pub(crate) limits: Arc<Limits>,
    pub(crate) cursor_key: CursorKey,
    /// With this transaction's own changes.
    pub(crate) catalog: Arc<DeploymentCatalog>,
    pub(crate) facts: Facts,
    read_set: ReadSet,
    /// The ranges that functions have asked for, as they are counted.
    pub(crate) ranges: HashSet<(IndexId, Interval)>,
    /// Committed documents that were read, as of `begin`: what is written is mostly read just before.
    known: HashMap<DocumentKey, Option<Document>>,
    known_bytes: usize,
    pub(crate) pending: Pending,
    /// Notes of changes that go.
    pub(crate) forgotten: Vec<Write>,
    /// The tables that are put in the places of others, or go.
    pub(crate) replaced_tables: BTreeSet<(ComponentId, TableName)>,
    pub(crate) usage: Usage,
    /// The function that runs and those that have called it, outermost first; never empty.
    frames: Vec<Frame>,
    pub(crate) streams: BTreeMap<QueryId, QueryStream>,
    pub(crate) next_query: u64,
    /// Where the page of an earlier run has ended, and that of this one.
    pub(crate) journal_before: Option<Arc<str>>,
    pub(crate) journal: Option<String>,
    random: ChaCha12Rng,
    day: u16,
    now_ms: u64,
    next_creation_time: f64,
}

/// A function within the transaction.
struct Frame {
    /// Whose tables, modules and environment it works with.
    component: ComponentId,
    caps: Caps,
    /// What to go back to if it fails.
    undo: UndoMark,
    catalog: Arc<DeploymentCatalog>,
    /// Queries from this one on are its own.
    first_query: u64,
    paginated: bool,
}

/// How a nested call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NestedOutcome {
    /// Its writes become its caller's.
    Keep,
    /// It failed: its writes are undone. What it read stays read, what it used stays used.
    RollBack,
}

/// What is left of a transaction when it ends.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The moment at which it read.
    pub begin: ReadAt,
    /// Everything that it read, the catalog included.
    pub read_set: ReadSet,
    /// Empty for a query.
    pub writes: Vec<Write>,
    /// What it has used of its limits.
    pub usage: Usage,
    /// Where the page of a paginated query ended; to be given to its next run. `None` without a page.
    pub journal: Option<String>,
}

/// Now, but after what is read at `at`.
fn nanoseconds_for(at: ReadAt, now_ns: u64) -> u64 {
    now_ns.max(at.timestamp.as_nanoseconds().saturating_add(1))
}

/// In milliseconds. Whole ones are exact; the fraction is as exact as a double of this size can be.
fn first_creation_time(at: ReadAt, now_ns: u64) -> f64 {
    let nanoseconds = nanoseconds_for(at, now_ns);
    (nanoseconds / 1_000_000) as f64 + (nanoseconds % 1_000_000) as f64 / 1e6
}

impl Finished {
    /// What the log is asked to commit.
    pub fn into_commit(self, deployment: DeploymentRef, epoch: Epoch, id: CommitId) -> Commit {
        let Finished { begin, read_set, writes, .. } = self;
        Commit { deployment, epoch, id, run: 1, begin, read_set: Arc::new(read_set), writes }
    }
}

impl Transaction {
    /// Begins to read at one moment. Fails only as the log does.
    pub async fn begin(
        log: Arc<dyn TransactionLog>,
        deployment: DeploymentRef,
        at: ReadAt,
        catalogs: &CatalogCache,
        options: Options,
    ) -> contract::Result<Transaction> {
        let catalog = catalogs.get(&*log, deployment, at).await?;
        let milliseconds = nanoseconds_for(at, options.now_ns) / 1_000_000;
        let caps = Caps::of(&options.limits.transaction);
        let mut transaction = Transaction {
            log,
            search: None,
            deployment,
            begin: at,
            limits: options.limits,
            cursor_key: options.cursor_key,
            catalog: Arc::clone(&catalog),
            facts: Facts::default(),
            read_set: ReadSet::new(),
            ranges: HashSet::new(),
            known: HashMap::new(),
            known_bytes: 0,
            pending: Pending::default(),
            forgotten: Vec::new(),
            replaced_tables: BTreeSet::new(),
            usage: Usage::default(),
            frames: Vec::new(),
            streams: BTreeMap::new(),
            next_query: 0,
            journal_before: options.journal,
            journal: None,
            random: ChaCha12Rng::from_seed(options.id_seed),
            day: id::day_of(milliseconds),
            now_ms: milliseconds,
            next_creation_time: first_creation_time(at, options.now_ns),
        };
        transaction.push_frame(ComponentId::ROOT, caps);
        Ok(transaction)
    }

    /// Has text searches answered; without it they fail with `SearchIndexesUnavailable`.
    pub fn search_by(&mut self, search: Arc<dyn Search>) {
        self.search = Some(search);
    }

    /// Whose data it reads.
    pub fn deployment(&self) -> DeploymentRef {
        self.deployment
    }

    /// The moment at which it reads.
    pub fn begin_at(&self) -> ReadAt {
        self.begin
    }

    /// What the wall clock showed when it began, but not before what it reads; milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The log that it reads from.
    pub fn log(&self) -> &Arc<dyn TransactionLog> {
        &self.log
    }

    /// Makes the outermost function one of `component`.
    ///
    /// # Panics
    /// Within a nested call: those name their component themselves.
    pub fn enter(&mut self, component: ComponentId) {
        assert!(self.frames.len() == 1, "only the outermost function enters a component");
        self.frames[0].component = component;
    }

    /// The component in which the running function has worked until now.
    pub(crate) fn set_component(&mut self, component: ComponentId) -> ComponentId {
        let frame = self.frames.last_mut().expect("never empty");
        std::mem::replace(&mut frame.component, component)
    }

    /// The component in which the running function works: the app itself, unless another was entered.
    pub fn component(&self) -> ComponentId {
        self.frame().component
    }

    /// The running function's component, with this transaction's own changes. What is read here does not enter the read
    /// set: rely only on what is named by something that does, or that can't change.
    pub fn catalog(&self) -> &Arc<Catalog> {
        self.catalog.of(self.component())
    }

    /// All components, under the same rule as [`Transaction::catalog`].
    pub fn deployment_catalog(&self) -> &Arc<DeploymentCatalog> {
        &self.catalog
    }

    /// The application's active table of this name.
    pub fn table(&mut self, name: &TableName) -> Option<Arc<Table>> {
        self.facts.rely_on(Fact::TableName(self.component(), name.clone()));
        self.catalog().table(name.as_str()).filter(|table| !table.is_system()).cloned()
    }

    /// Puts everything in a table into the read set, also that it is not there, without reading it.
    pub fn watch_table(&mut self, name: &TableName) {
        if let Some(table) = self.table(name) {
            self.record_interval(table.by_id.id, Interval::all());
        }
    }

    /// The application's active tables, by number.
    pub fn tables(&mut self) -> Vec<Arc<Table>> {
        self.facts.rely_on(Fact::Tables(self.component()));
        self.catalog().tables().cloned().collect()
    }

    /// The authentication providers of the pushed code.
    pub fn auth(&mut self) -> Option<Stored<AuthRow>> {
        self.facts.rely_on(Fact::Auth);
        self.catalog.auth().cloned()
    }

    /// A module of the pushed code, by path with extension.
    pub fn module(&mut self, path: &str) -> Option<Arc<Stored<ModuleRow>>> {
        self.facts.rely_on(Fact::Module(self.component(), path.to_owned()));
        self.catalog().module(path).cloned()
    }

    /// All modules of the pushed code, by path.
    pub fn modules(&mut self) -> Vec<Arc<Stored<ModuleRow>>> {
        self.facts.rely_on(Fact::Modules(self.component()));
        self.catalog().modules().cloned().collect()
    }

    /// A module and all that it imports, directly or not; empty if there is no such module. The result of a function
    /// depends on exactly these.
    pub fn module_with_imports(&mut self, path: &str) -> Vec<Arc<Stored<ModuleRow>>> {
        let mut found: Vec<Arc<Stored<ModuleRow>>> = Vec::new();
        let mut wanted = vec![path.to_owned()];
        while let Some(path) = wanted.pop() {
            if found.iter().any(|module| module.row.path == path) {
                continue;
            }
            if let Some(module) = self.module(&path) {
                wanted.extend(module.row.imports.iter().cloned());
                found.push(module);
            }
        }
        found
    }

    /// Notes that what is done depends on all environment variables.
    pub fn rely_on_environment(&mut self) {
        self.facts.rely_on(Fact::EnvironmentVariables(self.component()));
    }

    /// Notes that what is done depends on the environment variable of this name, also if it is not there.
    pub fn rely_on_environment_variable(&mut self, name: &str) {
        self.facts.rely_on(Fact::EnvironmentVariable(self.component(), name.to_owned()));
    }

    /// All environment variables, by name.
    pub fn environment_variables(&mut self) -> Vec<Stored<EnvironmentVariableRow>> {
        self.rely_on_environment();
        self.catalog().environment_variables().cloned().collect()
    }

    /// The variable of this name, which then is in the read set, also if it is not there.
    pub fn environment_variable(&mut self, name: &str) -> Option<Stored<EnvironmentVariableRow>> {
        self.rely_on_environment_variable(name);
        self.catalog().environment_variable(name).cloned()
    }

    /// What the pushed code needs besides its modules; `None` before the first push.
    pub fn udf_config(&mut self) -> Option<Stored<UdfConfigRow>> {
        self.facts.rely_on(Fact::UdfConfig(self.component()));
        self.catalog().udf_config().cloned()
    }

    /// Enters a nested call of a function of `component`. Until [`Transaction::end_nested`], everything is done in its
    /// name; calls end in the reverse order of their beginnings, so callers run one nested call at a time. Fails with
    /// `MaximumCallDepthExceeded`.
    pub fn begin_nested(&mut self, component: ComponentId, limits: &NestedLimits) -> Result<()> {
        // The outermost function is at depth 0.
        if self.frames.len() > self.limits.transaction.call_depth_max {
            return Err(Error::user(
                "MaximumCallDepthExceeded",
                format!(
                    "functions call each other more than {} levels deep",
                    self.limits.transaction.call_depth_max
                ),
            ));
        }
        let caps = self.frame().caps.nested(&self.usage, limits);
        self.push_frame(component, caps);
        Ok(())
    }

    /// Leaves the innermost nested call.
    ///
    /// # Panics
    /// Without a nested call: that is a defect of the caller.
    pub fn end_nested(&mut self, outcome: NestedOutcome) {
        assert!(self.frames.len() > 1, "end_nested without begin_nested");
        let frame = self.frames.pop().expect("never empty");
        for (_, stream) in self.streams.split_off(&QueryId(frame.first_query)) {
            self.record_stream(&stream);
        }
        assert!(self.next_query >= frame.first_query, "the numbers of queries only grow");
        if outcome == NestedOutcome::RollBack {
            self.pending.roll_back(frame.undo);
            self.catalog = frame.catalog;
            self.refresh_pending_tables();
        }
    }

    /// Undoes all that was written, also in nested calls that have not ended. What was read stays read, and what was used stays
    /// used, but for writes to system tables: there is room to write what became of the function.
    pub fn undo_writes(&mut self) {
        for (_, stream) in std::mem::take(&mut self.streams) {
            self.record_stream(&stream);
        }
        self.frames.truncate(1);
        let outermost = self.frames.first().expect("never empty");
        self.pending.roll_back(outermost.undo);
        self.catalog = Arc::clone(&outermost.catalog);
        self.refresh_pending_tables();
        (self.usage.system_documents_written, self.usage.system_bytes_written) = (0, 0);
    }

    /// How deep the running function is nested; 0 for the outermost.
    pub fn depth(&self) -> usize {
        self.frames.len() - 1
    }

    /// Counts on where the running function of another transaction stands, and under its limits: what is done here is done in
    /// its name.
    pub fn count_for(&mut self, other: &Transaction) {
        self.usage = other.usage;
        self.frames[0].caps = other.frame().caps;
    }

    /// Takes over what another transaction has counted, which was begun for this one ([`Transaction::count_for`]).
    pub fn take_count(&mut self, other: &Transaction) {
        self.usage = other.usage;
    }

    /// What the transaction has used so far.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What is used and what the running function may still use.
    pub fn metrics(&self) -> Vec<Metric> {
        self.usage.metrics(&self.frame().caps)
    }

    /// Goes on at a later moment, at which everything that it has read so far is as it was: whoever gave it its log sees to
    /// that, and that the log reads there. `now_ns` is what the wall clock shows.
    pub fn move_to(&mut self, at: ReadAt, now_ns: u64) {
        assert!(at.timestamp >= self.begin.timestamp, "transactions move forward");
        self.begin = at;
        self.next_creation_time = self.next_creation_time.max(first_creation_time(at, now_ns));
    }

    /// Ends the transaction. Everything that it read, also in calls that failed, is in the read set.
    pub fn finish(mut self) -> Finished {
        for (_, stream) in std::mem::take(&mut self.streams) {
            self.record_stream(&stream);
        }
        let has_changes = !self.replaced_tables.is_empty() || self.pending.changes().next().is_some();
        if has_changes {
            self.facts.rely_on(Fact::ChangeHistory);
        }
        let is_noted = has_changes && self.catalog.keeps_changes();
        let note = is_noted.then(|| changes::note(self.pending.changes(), self.replaced_tables.iter()));
        self.facts.add_to(&mut self.read_set);
        let mut writes = self.pending.into_writes();
        writes.extend(note);
        writes.append(&mut self.forgotten);
        let metadata_indexes: Vec<IndexId> = SystemTable::ALL
            .into_iter()
            .filter(|table| table.is_metadata())
            .map(|table| table.table().by_id.id)
            .collect();
        if writes.iter().any(|write| metadata_indexes.contains(&write.primary)) {
            let (primary, key) = metadata_key();
            let document = Some(metadata_document().stored().clone());
            // Written without having been read, so that two changes of different things don't conflict. It is in no
            // other index: its old keys would have to be known.
            writes.push(Write { primary, key, document, index_updates: Vec::new() });
        }
        Finished {
            begin: self.begin,
            read_set: self.read_set,
            writes,
            usage: self.usage,
            journal: self.journal,
        }
    }

    fn push_frame(&mut self, component: ComponentId, caps: Caps) {
        self.frames.push(Frame {
            component,
            caps,
            undo: self.pending.mark(),
            catalog: Arc::clone(&self.catalog),
            first_query: self.next_query,
            paginated: false,
        });
    }

    fn frame(&self) -> &Frame {
        self.frames.last().expect("never empty")
    }

    /// Notes that the running function paginates; whether it already did.
    pub(crate) fn begins_to_paginate(&mut self) -> bool {
        let frame = self.frames.last_mut().expect("never empty");
        std::mem::replace(&mut frame.paginated, true)
    }

    /// The number of queries that the running function has open.
    pub(crate) fn open_queries(&self) -> usize {
        self.streams.range(QueryId(self.frame().first_query)..).count()
    }

    /// The documents and the bytes that the running function may still read.
    pub(crate) fn reads_left(&self) -> (usize, usize) {
        self.usage.reads_left(&self.frame().caps)
    }

    pub(crate) fn check_usage(&self) -> Result<()> {
        self.usage.check(&self.frame().caps)
    }

    pub(crate) fn check_system_writes(&self) -> Result<()> {
        self.usage.check_system_writes(&self.frame().caps)
    }

    pub(crate) fn new_internal_id(&mut self) -> InternalId {
        InternalId::generate(&mut self.random, self.day)
    }

    /// Strictly growing within the transaction.
    pub(crate) fn new_creation_time(&mut self) -> f64 {
        let time = self.next_creation_time;
        self.next_creation_time = time.next_up();
        assert!(
            self.next_creation_time > time,
            "no two documents of a transaction are created at the same time"
        );
        time
    }

    pub(crate) fn random(&mut self) -> &mut ChaCha12Rng {
        &mut self.random
    }

    pub(crate) fn record_interval(&mut self, index: IndexId, interval: Interval) {
        self.read_set.add(index, interval);
    }

    pub(crate) fn record_search(&mut self, index: IndexId, condition: TextCondition) {
        self.read_set.add_search(index, condition);
    }

    pub(crate) fn record_stream(&mut self, stream: &QueryStream) {
        if let Some((index, interval)) = stream.consumed() {
            self.read_set.add(index, interval);
        }
    }

    /// Sends reads to the log; the results are in their order.
    pub(crate) async fn read(&self, reads: &[Read]) -> Result<Vec<ReadResult>> {
        let results = self.log.read(self.deployment, self.begin, reads).await?;
        if results.len() == reads.len() { Ok(results) } else { Err(unexpected_result()) }
    }

    /// The committed documents at these keys, and points in the read set for them.
    pub(crate) async fn committed(&mut self, keys: &[DocumentKey]) -> Result<Vec<Option<Document>>> {
        let mut reads = Vec::new();
        for DocumentKey { primary, key } in keys {
            self.read_set.add(*primary, Interval::point(key));
            let key = DocumentKey { primary: *primary, key: key.clone() };
            if !self.known.contains_key(&key) {
                reads.push(Read::Point { index: key.primary, key: key.key });
            }
        }
        let mut fresh = HashMap::with_capacity(reads.len());
        for reads in reads.chunks(POINTS_READ_MAX) {
            let results = self.read(reads).await?;
            for (read, result) in reads.iter().zip(results) {
                let (Read::Point { index, key }, ReadResult::Point(version)) = (read, result) else {
                    return Err(unexpected_result());
                };
                let document =
                    version.map(|Version { document, .. }| Document::from_stored(document)).transpose()?;
                fresh.insert(DocumentKey { primary: *index, key: key.clone() }, document);
            }
        }
        let found = |key: &DocumentKey| {
            let document = self.known.get(key).or_else(|| fresh.get(key));
            document.cloned().expect("it was known or has been read")
        };
        let documents = keys.iter().map(found).collect();
        for (key, document) in fresh {
            self.remember(key, document);
        }
        Ok(documents)
    }

    /// Keeps a committed document that was read, in case that it is read or written again. The memory for it is bounded
    /// as the user tables' reads are.
    pub(crate) fn remember(&mut self, key: DocumentKey, document: Option<Document>) {
        let bytes = key.key.len() + document.as_ref().map_or(0, |document| document.stored().len());
        if self.known_bytes + bytes <= self.limits.transaction.read_bytes_max {
            self.known_bytes += bytes;
            self.known.insert(key, document);
        }
    }

    /// The document's primary key, cut from the end of its key in any index.
    pub(crate) fn primary_key_in(index_key: &Bytes) -> Result<Bytes> {
        primary_key_of(index_key).ok_or_else(|| Error::stored("an index key does not end with an id"))
    }
}

/// A document's key in its table's primary index, by its key in any index of the table; `None` if it is no such key.
pub fn primary_key_of(index_key: &Bytes) -> Option<Bytes> {
    // An id is text without the tag of a string, which therefore is the last such byte.
    const STRING_TAG: u8 = 0x10;
    let start = index_key.iter().rposition(|byte| *byte == STRING_TAG)?;
    Some(index_key.slice(start..))
}
