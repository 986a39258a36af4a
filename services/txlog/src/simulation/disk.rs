//! The disk of a simulated node. What was not made durable is gone after a crash; what was being written may be there or
//! not, as a whole: the log's write-ahead log ends with a record, and a torn one is cut off when it is opened.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::RngExt;

use super::runtime;
use crate::{
    apply::{AppliedState, ApplyError, Changes, Family, Store, Visit, Writable},
    folders::OpenError,
    gaps::{GapLimits, Gaps},
    incarnations,
    keys::{self, Incarnation},
    limits::StoreLimits,
    log_disk::{self, LogChange, LogDisk},
    model_tests::memory_store::{Change, MemoryChanges, MemoryCursor, MemoryStore, Pairs},
    snapshot,
    state_store::{self, Floors, StateChanges, StateStore},
    walk::{Bounds, Cursor, Walk},
};

/// What stays when a node crashes.
#[derive(Clone)]
pub struct Disk {
    pub log: Arc<SimulatedLog>,
    /// The state as it was flushed last.
    flushed: Arc<Mutex<Pairs>>,
}

impl Disk {
    pub fn new() -> Disk {
        Disk { log: Arc::default(), flushed: Arc::default() }
    }

    /// The power goes.
    pub fn crash(&self) {
        self.log.crash();
    }

    /// The state, after a crash or at first.
    pub fn state(&self, limits: &StoreLimits) -> NodeStore {
        let memory = MemoryStore::of(self.flushed.lock().clone(), GapLimits::of(limits));
        NodeStore::Simulated(SimulatedState {
            memory,
            flushed: self.flushed.clone(),
            since: Mutex::default(),
            unflushed_bytes: AtomicU64::new(0),
            folder: OnceLock::new(),
        })
    }
}

/// What a disk does to whoever writes to it.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// A write takes up to so long.
    pub write: Duration,
    /// The next write fails.
    pub fails: bool,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour { write: Duration::from_micros(500), fails: false }
    }
}

#[derive(Default)]
pub struct SimulatedLog {
    pairs: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// On its way to the disk.
    writing: Mutex<Option<Vec<LogChange>>>,
    pub behaviour: Mutex<Behaviour>,
}

impl SimulatedLog {
    /// Makes the changes durable.
    pub async fn write(&self, changes: Vec<LogChange>) -> io::Result<()> {
        let before = self.writing.lock().replace(changes);
        assert!(before.is_none(), "one write after the other");
        let Behaviour { write, fails } = *self.behaviour.lock();
        runtime::sleep(runtime::up_to(write)).await;
        if fails {
            // Nobody knows what is there; it is seen after the crash that follows.
            return Err(io::Error::other("the disk fails"));
        }
        if let Some(changes) = self.writing.lock().take() {
            self.apply(changes);
        }
        Ok(())
    }

    fn apply(&self, changes: Vec<LogChange>) {
        let mut pairs = self.pairs.lock();
        for change in changes {
            match change {
                LogChange::Put(key, value) => {
                    pairs.insert(key, value);
                }
                LogChange::DeleteRange(from, to) => {
                    if from < to {
                        let keys: Vec<Vec<u8>> = pairs.range(from..to).map(|(key, _)| key.clone()).collect();
                        for key in keys {
                            pairs.remove(&key);
                        }
                    }
                }
            }
        }
    }

    fn crash(&self) {
        let writing = self.writing.lock().take();
        if let Some(changes) = writing
            && runtime::random(|random| random.random())
        {
            self.apply(changes);
        }
        *self.behaviour.lock() = Behaviour::default();
    }
}

impl LogDisk for SimulatedLog {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.pairs.lock().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut log_disk::Visit<'_>) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        for (key, value) in self.pairs.lock().range::<[u8], _>(range) {
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        let pairs = self.pairs.lock();
        Ok(pairs.range::<[u8], _>(range).next_back().map(|(key, value)| (key.clone(), value.clone())))
    }

    fn file_bytes(&self, from: &[u8], to: &[u8]) -> u64 {
        let range = (Bound::Included(from), Bound::Excluded(to));
        self.pairs.lock().range::<[u8], _>(range).map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// The store of a node, which may be a simulated one.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a node has one, and nothing moves it")]
pub enum NodeStore {
    Files(StateStore),
    Simulated(SimulatedState),
}

/// The state in memory, and what of it is flushed. Flushing is atomic, as it is over the families of the real store.
#[derive(Debug)]
pub struct SimulatedState {
    memory: MemoryStore,
    flushed: Arc<Mutex<Pairs>>,
    /// What was written since the last flush.
    since: Mutex<Vec<Change>>,
    unflushed_bytes: AtomicU64,
    /// Where folders of files that come in are made. The files themselves are in memory.
    folder: OnceLock<tempfile::TempDir>,
}

impl SimulatedState {
    fn flush(&self, floors: &[(Incarnation, Floors)]) {
        let mut flushed = self.flushed.lock();
        for change in std::mem::take(&mut *self.since.lock()) {
            change.apply(&mut flushed);
        }
        self.unflushed_bytes.store(0, Ordering::Relaxed);
        if runtime::happens(250) {
            // What is flushed is compacted now and then, by the floors that are flushed with it.
            let mut drops = state_store::retention(floors.iter().copied().collect());
            let data = flushed.keys().filter(|(family, _)| *family == Family::Data);
            let gone: Vec<_> = data.filter(|(_, key)| drops(key)).cloned().collect();
            for key in &gone {
                flushed.remove(key);
            }
            self.memory.compact(&gone);
        }
    }

    fn write(&self, changes: MemoryChanges) -> Result<(), ApplyError> {
        self.unflushed_bytes.fetch_add(changes.bytes() as u64, Ordering::Relaxed);
        self.since.lock().extend(changes.0.iter().cloned());
        self.memory.write(changes)
    }
}

/// The rows of a family at one moment.
pub enum Rows<'s> {
    Files(rocksdb::DBRawIterator<'s>),
    Simulated { rows: Vec<Pair>, at: usize },
}

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

impl Rows<'_> {
    pub fn seek_to_first(&mut self) {
        match self {
            Rows::Files(rows) => rows.seek_to_first(),
            Rows::Simulated { at, .. } => *at = 0,
        }
    }

    pub fn valid(&self) -> bool {
        self.item().is_some()
    }

    pub fn item(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Rows::Files(rows) => rows.item(),
            Rows::Simulated { rows, at } => rows.get(*at).map(|(key, value)| (&key[..], &value[..])),
        }
    }

    pub fn next(&mut self) {
        match self {
            Rows::Files(rows) => rows.next(),
            Rows::Simulated { at, .. } => *at += 1,
        }
    }

    pub fn status(&self) -> Result<(), rocksdb::Error> {
        match self {
            Rows::Files(rows) => rows.status(),
            Rows::Simulated { .. } => Ok(()),
        }
    }
}

thread_local! {
    /// Files of rows that were written in this thread's simulation, and not ingested yet.
    static FILES: RefCell<HashMap<PathBuf, Vec<Pair>>> = RefCell::default();
}

/// Writes a file of rows.
pub enum SstFileWriter<'o> {
    Files(rocksdb::SstFileWriter<'o>),
    Simulated { path: RefCell<PathBuf>, rows: Vec<Pair> },
}

impl<'o> SstFileWriter<'o> {
    pub fn create(options: &'o rocksdb::Options) -> SstFileWriter<'o> {
        match runtime::is_simulated() {
            true => SstFileWriter::Simulated { path: RefCell::default(), rows: Vec::new() },
            false => SstFileWriter::Files(rocksdb::SstFileWriter::create(options)),
        }
    }

    pub fn open(&self, at: &Path) -> Result<(), rocksdb::Error> {
        match self {
            SstFileWriter::Files(writer) => writer.open(at),
            SstFileWriter::Simulated { path, .. } => {
                *path.borrow_mut() = at.to_owned();
                Ok(())
            }
        }
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), rocksdb::Error> {
        match self {
            SstFileWriter::Files(writer) => writer.put(key, value),
            SstFileWriter::Simulated { rows, .. } => {
                assert!(rows.last().is_none_or(|(last, _)| &last[..] < key), "rows come in their order");
                rows.push((key.to_vec(), value.to_vec()));
                Ok(())
            }
        }
    }

    pub fn finish(&mut self) -> Result<(), rocksdb::Error> {
        match self {
            SstFileWriter::Files(writer) => writer.finish(),
            SstFileWriter::Simulated { path, rows } => {
                let rows = std::mem::take(rows);
                FILES.with_borrow_mut(|files| files.insert(path.take(), rows));
                Ok(())
            }
        }
    }
}

impl From<StateStore> for NodeStore {
    fn from(store: StateStore) -> NodeStore {
        NodeStore::Files(store)
    }
}

impl NodeStore {
    pub fn open(path: &Path, limits: &StoreLimits) -> Result<NodeStore, OpenError> {
        StateStore::open(path, limits).map(NodeStore::Files)
    }

    /// What a simulated store holds in memory.
    pub fn memory(&self) -> &MemoryStore {
        match self {
            NodeStore::Files(_) => panic!("only a simulated store is held in memory"),
            NodeStore::Simulated(state) => &state.memory,
        }
    }

    pub fn give_incarnation(&self) -> Result<Incarnation, ApplyError> {
        match self {
            NodeStore::Files(store) => store.give_incarnation(),
            NodeStore::Simulated(state) => {
                let mut changes = self.changes();
                let incarnation = incarnations::give(self, &mut changes)?;
                self.write(changes)?;
                state.flush(&[]);
                Ok(incarnation)
            }
        }
    }

    pub fn delete_incarnation(&self, incarnation: Incarnation) -> Result<(), ApplyError> {
        match self {
            NodeStore::Files(store) => store.delete_incarnation(incarnation),
            NodeStore::Simulated(_) => {
                let mut changes = self.changes();
                incarnations::delete(&mut changes, incarnation);
                self.write(changes)
            }
        }
    }

    pub fn at_one_moment<T>(
        &self,
        incarnation: Incarnation,
        read: impl FnOnce(AppliedState, Vec<Rows<'_>>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        match self {
            NodeStore::Files(store) => store.at_one_moment(incarnation, |state, rows| {
                read(state, rows.into_iter().map(Rows::Files).collect())
            }),
            NodeStore::Simulated(state) => {
                let applied = self.get(Family::Applied, &keys::applied(incarnation))?;
                let applied = applied.ok_or(ApplyError::Store("nothing was applied there".into()))?;
                let rows_of = |(family, _)| {
                    let mut rows = state.memory.rows(family);
                    rows.retain(|(key, _)| keys::incarnation(key) == Some(incarnation));
                    Rows::Simulated { rows, at: 0 }
                };
                let rows = snapshot::FAMILIES.into_iter().map(rows_of).collect();
                read(AppliedState::decode(applied)?, rows)
            }
        }
    }

    pub fn incoming(&self) -> PathBuf {
        match self {
            NodeStore::Files(store) => store.incoming(),
            NodeStore::Simulated(state) => {
                state.folder.get_or_init(|| tempfile::tempdir().expect("a folder")).path().to_owned()
            }
        }
    }

    pub fn family_options(&self, family: Family) -> rocksdb::Options {
        match self {
            NodeStore::Files(store) => store.family_options(family),
            NodeStore::Simulated(_) => rocksdb::Options::default(),
        }
    }

    pub fn ingest(&self, family: Family, file: &Path) -> Result<(), ApplyError> {
        match self {
            NodeStore::Files(store) => store.ingest(family, file),
            NodeStore::Simulated(state) => {
                let rows = FILES.with_borrow_mut(|files| files.remove(file));
                let rows = rows.ok_or(ApplyError::Store("there is no such file".into()))?;
                // It is there for good, without a flush.
                let mut flushed = state.flushed.lock();
                let mut changes = MemoryChanges::default();
                for (key, value) in rows {
                    changes.put(family, &key, &value);
                    flushed.insert((family, key), value);
                }
                drop(flushed);
                state.memory.write(changes)
            }
        }
    }

    pub fn flush(&self, floors: &[(Incarnation, Floors)]) -> Result<(), ApplyError> {
        match self {
            NodeStore::Files(store) => store.flush(floors),
            NodeStore::Simulated(state) => {
                state.flush(floors);
                Ok(())
            }
        }
    }

    pub fn unflushed_bytes(&self) -> u64 {
        match self {
            NodeStore::Files(store) => store.unflushed_bytes(),
            NodeStore::Simulated(state) => state.unflushed_bytes.load(Ordering::Relaxed),
        }
    }

    pub fn block_cache_bytes(&self) -> usize {
        match self {
            NodeStore::Files(store) => store.block_cache_bytes(),
            NodeStore::Simulated(_) => 0,
        }
    }

    pub fn write_buffer_bytes(&self) -> u64 {
        match self {
            NodeStore::Files(store) => store.write_buffer_bytes(),
            NodeStore::Simulated(_) => 0,
        }
    }

    pub fn file_bytes(&self) -> Result<u64, ApplyError> {
        match self {
            NodeStore::Files(store) => store.file_bytes(),
            NodeStore::Simulated(_) => Ok(0),
        }
    }

    pub fn is_worth_compacting(&self, percent_min: usize) -> Result<bool, ApplyError> {
        match self {
            NodeStore::Files(store) => store.is_worth_compacting(percent_min),
            NodeStore::Simulated(_) => Ok(false),
        }
    }

    pub fn compact(&self, go_on: impl Fn() -> bool) -> Result<(), ApplyError> {
        match self {
            NodeStore::Files(store) => store.compact(go_on),
            NodeStore::Simulated(_) => Ok(()),
        }
    }
}

impl Store for NodeStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ApplyError> {
        match self {
            NodeStore::Files(store) => store.get(family, key),
            NodeStore::Simulated(state) => state.memory.get(family, key),
        }
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ApplyError> {
        match self {
            NodeStore::Files(store) => store.scan(family, from, to, visit),
            NodeStore::Simulated(state) => state.memory.scan(family, from, to, visit),
        }
    }

    fn scan_each(
        &self,
        family: Family,
        ranges: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ApplyError> {
        match self {
            NodeStore::Files(store) => store.scan_each(family, ranges, visit),
            NodeStore::Simulated(state) => state.memory.scan_each(family, ranges, visit),
        }
    }
}

pub enum NodeChanges<'s> {
    Files(StateChanges<'s>),
    Simulated(MemoryChanges),
}

impl Changes for NodeChanges<'_> {
    fn bytes(&self) -> usize {
        match self {
            NodeChanges::Files(changes) => changes.bytes(),
            NodeChanges::Simulated(changes) => changes.bytes(),
        }
    }

    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        match self {
            NodeChanges::Files(changes) => changes.put(family, key, value),
            NodeChanges::Simulated(changes) => changes.put(family, key, value),
        }
    }

    fn delete(&mut self, family: Family, key: &[u8]) {
        match self {
            NodeChanges::Files(changes) => changes.delete(family, key),
            NodeChanges::Simulated(changes) => changes.delete(family, key),
        }
    }

    fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        match self {
            NodeChanges::Files(changes) => changes.delete_range(family, from, to),
            NodeChanges::Simulated(changes) => changes.delete_range(family, from, to),
        }
    }
}

impl Writable for NodeStore {
    type Changes<'s> = NodeChanges<'s>;

    fn changes(&self) -> NodeChanges<'_> {
        match self {
            NodeStore::Files(store) => NodeChanges::Files(store.changes()),
            NodeStore::Simulated(_) => NodeChanges::Simulated(MemoryChanges::default()),
        }
    }

    fn write(&self, changes: NodeChanges<'_>) -> Result<(), ApplyError> {
        match (self, changes) {
            (NodeStore::Files(store), NodeChanges::Files(changes)) => store.write(changes),
            (NodeStore::Simulated(state), NodeChanges::Simulated(changes)) => state.write(changes),
            _ => unreachable!("the changes are this store's"),
        }
    }
}

pub enum NodeCursor<'s> {
    Files(<StateStore as Walk>::Cursor<'s>),
    Simulated(MemoryCursor<'s>),
}

impl Walk for NodeStore {
    type Cursor<'s> = NodeCursor<'s>;

    fn cursor(&self, bounds: Bounds) -> NodeCursor<'_> {
        match self {
            NodeStore::Files(store) => NodeCursor::Files(store.cursor(bounds)),
            NodeStore::Simulated(state) => NodeCursor::Simulated(state.memory.cursor(bounds)),
        }
    }

    fn gaps(&self) -> &Gaps {
        match self {
            NodeStore::Files(store) => store.gaps(),
            NodeStore::Simulated(state) => state.memory.gaps(),
        }
    }
}

impl Cursor for NodeCursor<'_> {
    fn seek(&mut self, to: &[u8]) {
        match self {
            NodeCursor::Files(cursor) => Cursor::seek(cursor, to),
            NodeCursor::Simulated(cursor) => cursor.seek(to),
        }
    }

    fn seek_for_prev(&mut self, to: &[u8]) {
        match self {
            NodeCursor::Files(cursor) => Cursor::seek_for_prev(cursor, to),
            NodeCursor::Simulated(cursor) => cursor.seek_for_prev(to),
        }
    }

    fn next(&mut self) {
        match self {
            NodeCursor::Files(cursor) => Cursor::next(cursor),
            NodeCursor::Simulated(cursor) => cursor.next(),
        }
    }

    fn prev(&mut self) {
        match self {
            NodeCursor::Files(cursor) => Cursor::prev(cursor),
            NodeCursor::Simulated(cursor) => cursor.prev(),
        }
    }

    fn item(&self) -> Option<(&[u8], &[u8])> {
        match self {
            NodeCursor::Files(cursor) => Cursor::item(cursor),
            NodeCursor::Simulated(cursor) => cursor.item(),
        }
    }

    fn key(&self) -> Option<&[u8]> {
        match self {
            NodeCursor::Files(cursor) => Cursor::key(cursor),
            NodeCursor::Simulated(cursor) => cursor.key(),
        }
    }

    fn status(&self) -> Result<(), ApplyError> {
        match self {
            NodeCursor::Files(cursor) => Cursor::status(cursor),
            NodeCursor::Simulated(cursor) => cursor.status(),
        }
    }

    fn refresh(&mut self) -> Result<(), ApplyError> {
        match self {
            NodeCursor::Files(cursor) => Cursor::refresh(cursor),
            NodeCursor::Simulated(cursor) => cursor.refresh(),
        }
    }
}
