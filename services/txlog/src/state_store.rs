//! The state of all groups of a node, in one RocksDB instance.
//!
//! It has no write-ahead log: what it had not flushed is applied again from the Raft log. Its column families are flushed
//! together, so that data and applied position always fit.

use std::{
    collections::HashMap,
    ffi::CStr,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::limits::StoreLimits;
use bytes::Bytes;
use contract::Timestamp;
use parking_lot::{Mutex, RwLock};
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamilyDescriptor, CompactOptions,
    CompactionDecision, DB, DBRawIterator, FlushOptions, IngestExternalFileOptions, LiveFile, Options,
    ReadOptions, SliceTransform, WriteBatch, WriteOptions,
    compaction_filter::CompactionFilter,
    compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory},
    properties::CUR_SIZE_ALL_MEM_TABLES,
};

use crate::{
    apply::{AppliedState, ApplyError, Changes, Family, Store, Visit, Writable},
    folders::{self, OpenError},
    gaps::{GapLimits, Gaps, KeyList},
    incarnations,
    keys::{self, Incarnation},
    walk::{Bounds, Cursor, Walk},
};

/// Below which timestamp compaction may drop what is not the newest, and which records are as good as gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    pub horizon: Timestamp,
    pub records: Timestamp,
}

/// A file is compacted soon if this many entries in a row hold that many tombstones, or all of it this share of them.
const TOMBSTONES: (usize, usize, f64) = (8_192, 4_096, 0.3);

type FloorsOfGroups = Arc<RwLock<HashMap<Incarnation, Floors>>>;

/// The store of a node, as its groups use it.
#[cfg(not(test))]
pub type NodeStore = StateStore;
/// The store of a node, as its groups use it: a simulated one, too.
#[cfg(test)]
pub use crate::simulation::disk::NodeStore;

/// The rows of a family, one after the other.
#[cfg(not(test))]
pub type Rows<'s> = DBRawIterator<'s>;
#[cfg(test)]
pub use crate::simulation::disk::Rows;

pub struct StateStore {
    database: DB,
    block_cache: Cache,
    /// Applied and flushed.
    floors: FloorsOfGroups,
    /// Where no documents are.
    gaps: Gaps,
    limits: StoreLimits,
    flushing: Mutex<()>,
    /// Incarnations are given one after the other.
    giving: Mutex<()>,
    /// Changes since the last flush.
    unflushed_bytes: AtomicU64,
    /// Changes since all files were compacted; see [`StateStore::compact`].
    uncompacted_bytes: AtomicU64,
}

impl fmt::Debug for StateStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StateStore").field("database", &self.database).finish_non_exhaustive()
    }
}

/// Less is not worth a compaction.
const UNCOMPACTED_BYTES_MIN: u64 = 1 << 20;
/// How much of the store is compacted in one piece, which can't be interrupted.
const COMPACTED_BYTES: u64 = 256 << 20;

impl StateStore {
    pub fn open(path: &Path, limits: &StoreLimits) -> Result<StateStore, OpenError> {
        folders::prepare(path, folders::STATE_FORMAT)?;
        // What has not come in whole.
        match fs::remove_dir_all(path.join(INCOMING)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::Folder { path: path.join(INCOMING), source });
            }
            _ => {}
        }
        let floors = FloorsOfGroups::default();
        let mut database_options = Options::default();
        database_options.create_if_missing(true);
        database_options.create_missing_column_families(true);
        database_options.set_atomic_flush(true);
        database_options.set_max_background_jobs(2);
        database_options.set_keep_log_file_num(4);
        // Without locks: all threads read. The charge of an entry is found out as it is used.
        let cache = Cache::new_hyper_clock_cache(limits.block_cache_bytes_max, 0);
        let families = FAMILIES.map(|family| {
            ColumnFamilyDescriptor::new(name(family), family_options(family, &cache, limits, &floors))
        });
        let database = DB::open_cf_descriptors(&database_options, path, families)
            .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        let (unflushed_bytes, uncompacted_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let gaps = Gaps::new(GapLimits::of(limits));
        let store = StateStore {
            database,
            block_cache: cache,
            floors,
            gaps,
            limits: *limits,
            flushing: Mutex::default(),
            giving: Mutex::default(),
            unflushed_bytes,
            uncompacted_bytes,
        };
        let kept = store.get(Family::Applied, keys::UNCOMPACTED).ok().flatten();
        if let Some(bytes) = kept.as_deref().and_then(|kept| kept.try_into().ok()) {
            store.uncompacted_bytes.store(u64::from_be_bytes(bytes), Ordering::Relaxed);
        }
        Ok(store)
    }

    /// Makes everything written so far last. The floors of the groups, as they were applied before, hold for compaction
    /// from now on.
    pub fn flush(&self, floors: &[(Incarnation, Floors)]) -> Result<(), ApplyError> {
        // Two at a time would both count off what they found unflushed.
        let _one_at_a_time = self.flushing.lock();
        let uncompacted = self.uncompacted_bytes.load(Ordering::Relaxed);
        let mut changes = self.changes();
        changes.put(Family::Applied, keys::UNCOMPACTED, &uncompacted.to_be_bytes());
        self.write(changes)?;
        let flushed = self.unflushed_bytes();
        let handles = FAMILIES.map(|family| self.handle(family));
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.database.flush_cfs_opt(&handles, &options).map_err(store_error)?;
        // What has come meanwhile may or may not be flushed.
        let unflushed = self.unflushed_bytes.fetch_sub(flushed, Ordering::Relaxed);
        assert!(unflushed >= flushed, "what is flushed was counted once");
        let mut known = self.floors.write();
        for (incarnation, floors) in floors {
            let known = known.entry(*incarnation).or_default();
            // Whoever flushed in between may have read them later.
            known.horizon = known.horizon.max(floors.horizon);
            known.records = known.records.max(floors.records);
        }
        Ok(())
    }

    /// Gives a number that no data has had, for data that come in as files. It is never given again, also after a crash.
    pub fn give_incarnation(&self) -> Result<Incarnation, ApplyError> {
        let _one_at_a_time = self.giving.lock();
        let mut changes = self.changes();
        let incarnation = incarnations::give(self, &mut changes)?;
        self.write(changes)?;
        self.flush(&[])?;
        Ok(incarnation)
    }

    /// Deletes what an incarnation has. Nobody reads it any more.
    pub fn delete_incarnation(&self, incarnation: Incarnation) -> Result<(), ApplyError> {
        let mut changes = self.changes();
        incarnations::delete(&mut changes, incarnation);
        self.write(changes)?;
        self.floors.write().remove(&incarnation);
        Ok(())
    }

    /// Shows what an incarnation has at this moment: how far it has come, and its rows by the families of a snapshot. They
    /// stay as they are however long it takes to read them.
    pub fn at_one_moment<T>(
        &self,
        incarnation: Incarnation,
        read: impl FnOnce(AppliedState, Vec<DBRawIterator<'_>>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let snapshot;
        let rows;
        let state;
        {
            // Compaction drops what is below the floors, whoever has a snapshot; it does not touch the files that an iterator
            // has. So the floors stay until all iterators are there.
            let _floors_stay = self.flushing.lock();
            snapshot = self.database.snapshot();
            let prefix = incarnation.0.to_be_bytes();
            let rows_of = |family| {
                let mut options = ReadOptions::default();
                options.set_total_order_seek(true);
                options.fill_cache(false);
                options.set_iterate_lower_bound(prefix);
                if let Some(end) = keys::behind(&prefix) {
                    options.set_iterate_upper_bound(end);
                }
                snapshot.raw_iterator_cf_opt(self.handle(family), options)
            };
            rows = snapshot_families().map(rows_of).collect();
            let applied = snapshot.get_pinned_cf(self.handle(Family::Applied), keys::applied(incarnation));
            state = match applied.map_err(store_error)? {
                Some(value) => AppliedState::decode(Bytes::copy_from_slice(&value))?,
                None => return Err(ApplyError::Store("nothing was applied there".into())),
            };
        }
        read(state, rows)
    }

    /// Where files for [`StateStore::ingest`] are written.
    pub fn incoming(&self) -> PathBuf {
        self.database.path().join(INCOMING)
    }

    /// How the files of a family are written.
    pub fn family_options(&self, family: Family) -> Options {
        family_options(family, &self.block_cache, &self.limits, &self.floors)
    }

    /// Takes a file in whose keys nobody has written before. The file goes; what it had is there for good.
    pub fn ingest(&self, family: Family, file: &Path) -> Result<(), ApplyError> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.database
            .ingest_external_file_cf_opts(self.handle(family), &options, vec![file])
            .map_err(store_error)
    }

    /// Changes to the store since it was flushed last.
    pub fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes.load(Ordering::Relaxed)
    }

    /// Memory of blocks that were read; bounded by `block_cache_bytes_max`.
    pub fn block_cache_bytes(&self) -> usize {
        self.block_cache.get_usage()
    }

    /// Memory of what is in no file yet, and of what is on its way into one.
    pub fn write_buffer_bytes(&self) -> u64 {
        let of = |family| self.database.property_int_value_cf(self.handle(family), CUR_SIZE_ALL_MEM_TABLES);
        FAMILIES.into_iter().filter_map(|family| of(family).ok().flatten()).sum()
    }

    /// Bytes of the store's files.
    pub fn file_bytes(&self) -> Result<u64, ApplyError> {
        Ok(self.files()?.iter().map(|file| file.size as u64).sum())
    }

    fn files(&self) -> Result<Vec<LiveFile>, ApplyError> {
        self.database.live_files().map_err(store_error)
    }

    /// Whether as much was written since all files were compacted as makes doing so worth its cost: `percent_min` of what
    /// is there.
    pub fn is_worth_compacting(&self, percent_min: usize) -> Result<bool, ApplyError> {
        let written = self.uncompacted_bytes.load(Ordering::Relaxed);
        Ok(written > UNCOMPACTED_BYTES_MIN && written >= self.file_bytes()? / 100 * percent_min as u64)
    }

    /// Compacts all files, which gives back the disk that old versions and removed keys take. RocksDB compacts by
    /// itself only while it is written to. Stops between two pieces when `go_on` says so.
    pub fn compact(&self, go_on: impl Fn() -> bool) -> Result<(), ApplyError> {
        let begin = self.uncompacted_bytes.load(Ordering::Relaxed);
        let files = self.files()?;
        for family in FAMILIES {
            // Pieces are bounded by where files begin: of the lowest level, which has nearly all of the data.
            let mut of_family: Vec<&LiveFile> =
                files.iter().filter(|file| file.column_family_name == name(family)).collect();
            let lowest = of_family.iter().map(|file| file.level).max();
            of_family.retain(|file| Some(file.level) == lowest);
            of_family.sort_by(|one, other| one.start_key.cmp(&other.start_key));
            let mut from: Option<Vec<u8>> = None;
            let mut bytes = 0;
            for file in of_family {
                if bytes >= COMPACTED_BYTES
                    && let Some(start) = &file.start_key
                {
                    self.compact_range(family, from.as_deref(), Some(start));
                    (from, bytes) = (Some(start.clone()), 0);
                }
                bytes += file.size as u64;
                if !go_on() {
                    return Ok(());
                }
            }
            self.compact_range(family, from.as_deref(), None);
        }
        self.uncompacted_bytes.fetch_sub(begin, Ordering::Relaxed);
        // A restart would not know of it otherwise: the next flush writes it down.
        self.unflushed_bytes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn compact_range(&self, family: Family, from: Option<&[u8]>, to: Option<&[u8]>) {
        let mut options = CompactOptions::default();
        // What RocksDB itself wants to compact meanwhile need not wait.
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        self.database.compact_range_cf_opt(self.handle(family), from, to, &options);
    }

    fn handle(&self, family: Family) -> &rocksdb::ColumnFamily {
        self.database.cf_handle(name(family)).expect("every family is opened with the store")
    }
}

/// The folder of files that come in.
const INCOMING: &str = "incoming";

fn snapshot_families() -> impl Iterator<Item = Family> {
    crate::snapshot::FAMILIES.into_iter().map(|(family, _)| family)
}

const FAMILIES: [Family; 5] =
    [Family::Data, Family::Deletions, Family::Records, Family::Stages, Family::Applied];

fn name(family: Family) -> &'static str {
    match family {
        Family::Data => "data",
        Family::Deletions => "deletions",
        Family::Records => "records",
        Family::Stages => "stages",
        Family::Applied => "default",
    }
}

fn family_options(family: Family, cache: &Cache, limits: &StoreLimits, floors: &FloorsOfGroups) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_format_version(5);
    let mut family_options = Options::default();
    family_options.set_write_buffer_size(limits.write_buffer_bytes_max);
    family_options.set_max_write_buffer_number(4);
    family_options.set_level_compaction_dynamic_level_bytes(true);
    match family {
        Family::Data => {
            // A point read seeks within the versions of one key: files and memtables that don't have it are passed over.
            family_options.set_prefix_extractor(SliceTransform::create(
                "without-timestamp",
                keys::without_timestamp,
                Some(keys::has_timestamp),
            ));
            family_options.set_memtable_prefix_bloom_ratio(0.1);
            family_options.set_compression_type(rocksdb::DBCompressionType::Lz4);
            // What is swept leaves tombstones of RocksDB's own, over which readers step until a compaction has carried
            // them to what they delete: files with many of them are compacted soon.
            let (window, deleted, share) = TOMBSTONES;
            family_options.add_compact_on_deletion_collector_factory(window, deleted, share);
            family_options.set_compaction_filter_factory(RetentionFactory { floors: floors.clone() });
        }
        Family::Records => {
            family_options.set_compaction_filter_factory(RecordsFactory { floors: floors.clone() });
        }
        Family::Deletions => {
            family_options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        }
        Family::Stages | Family::Applied => {}
    }
    family_options.set_block_based_table_factory(&blocks);
    family_options
}

fn store_error(error: rocksdb::Error) -> ApplyError {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => ApplyError::Corrupted(error.to_string()),
        _ => ApplyError::Store(error.to_string()),
    }
}

impl Store for StateStore {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ApplyError> {
        let value = self.database.get_pinned_cf(self.handle(family), key).map_err(store_error)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ApplyError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let mut iterator = self.database.raw_iterator_cf_opt(self.handle(family), options);
        iterator.seek(from);
        while let Some((key, value)) = iterator.item() {
            if visit(key, value)?.is_break() {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(store_error)
    }

    fn scan_each(
        &self,
        family: Family,
        ranges: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ApplyError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        // Nobody else is interested in what is looked at here.
        options.fill_cache(false);
        let mut iterator = self.database.raw_iterator_cf_opt(self.handle(family), options);
        for (from, to) in ranges {
            // Ranges often follow each other.
            if iterator.key() != Some(&from) {
                iterator.seek(&from);
            }
            while let Some((key, value)) = iterator.item()
                && key < &to[..]
            {
                if visit(key, value)?.is_break() {
                    return Ok(());
                }
                iterator.next();
            }
            iterator.status().map_err(store_error)?;
        }
        Ok(())
    }
}

impl Walk for StateStore {
    type Cursor<'s> = DBRawIterator<'s>;

    fn cursor(&self, bounds: Bounds) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        match bounds {
            Bounds::OneKey => options.set_prefix_same_as_start(true),
            Bounds::Range { lower, upper } => {
                options.set_total_order_seek(true);
                options.set_iterate_lower_bound(lower);
                options.set_iterate_upper_bound(upper);
            }
        }
        self.database.raw_iterator_cf_opt(self.handle(Family::Data), options)
    }

    fn gaps(&self) -> &Gaps {
        &self.gaps
    }
}

impl Cursor for DBRawIterator<'_> {
    fn seek(&mut self, to: &[u8]) {
        self.seek(to);
    }

    fn seek_for_prev(&mut self, to: &[u8]) {
        self.seek_for_prev(to);
    }

    fn next(&mut self) {
        self.next();
    }

    fn prev(&mut self) {
        self.prev();
    }

    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.item()
    }

    fn key(&self) -> Option<&[u8]> {
        self.key()
    }

    fn status(&self) -> Result<(), ApplyError> {
        self.status().map_err(store_error)
    }

    fn refresh(&mut self) -> Result<(), ApplyError> {
        self.refresh().map_err(store_error)
    }
}

impl Writable for StateStore {
    type Changes<'s> = StateChanges<'s>;

    fn changes(&self) -> StateChanges<'_> {
        StateChanges { store: self, batch: WriteBatch::default(), filled: KeyList::default() }
    }

    fn write(&self, changes: StateChanges<'_>) -> Result<(), ApplyError> {
        let bytes = changes.bytes() as u64;
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        let StateChanges { batch, filled, .. } = changes;
        self.gaps.writing(filled, || self.database.write_opt(batch, &options)).map_err(store_error)?;
        self.unflushed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.uncompacted_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// Changes that become visible together.
pub struct StateChanges<'s> {
    store: &'s StateStore,
    batch: WriteBatch,
    /// The keys at which documents or references to them are put.
    filled: KeyList,
}

impl Changes for StateChanges<'_> {
    fn bytes(&self) -> usize {
        self.batch.size_in_bytes()
    }

    fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        if family == Family::Data && !keys::is_gone(value) {
            self.filled.push(keys::without_timestamp(key));
        }
        self.batch.put_cf(self.store.handle(family), key, value);
    }

    fn delete(&mut self, family: Family, key: &[u8]) {
        self.batch.delete_cf(self.store.handle(family), key);
    }

    fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) {
        self.batch.delete_range_cf(self.store.handle(family), from, to);
    }
}

/// Drops versions below the horizon that are not the newest there.
struct RetentionFactory {
    floors: FloorsOfGroups,
}

impl CompactionFilterFactory for RetentionFactory {
    type Filter = Retention;

    fn create(&mut self, _context: CompactionFilterContext) -> Retention {
        Retention { floors: self.floors.read().clone(), key: Vec::new(), newest_kept: false }
    }

    fn name(&self) -> &CStr {
        c"tidemark-retention"
    }
}

/// Sees the versions of each key from the newest on, but not necessarily all of them: what is dropped must be hidden by one
/// that was seen. So the newest always stays; what was deleted is [`crate::sweep`]'s to remove.
struct Retention {
    floors: HashMap<Incarnation, Floors>,
    /// The key whose versions are passing by.
    key: Vec<u8>,
    /// Its newest version below the horizon was seen.
    newest_kept: bool,
}

impl Retention {
    fn drops(&mut self, stored: &[u8]) -> bool {
        let Some(floors) = keys::incarnation(stored).and_then(|incarnation| self.floors.get(&incarnation))
        else {
            return false;
        };
        let Ok((key, timestamp)) = keys::split_version(stored) else { return false };
        if key != self.key {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.newest_kept = false;
        }
        if timestamp > floors.horizon {
            return false;
        }
        std::mem::replace(&mut self.newest_kept, true)
    }
}

impl CompactionFilter for Retention {
    fn filter(&mut self, _level: u32, key: &[u8], _value: &[u8]) -> CompactionDecision {
        if self.drops(key) { CompactionDecision::Remove } else { CompactionDecision::Keep }
    }

    fn name(&self) -> &CStr {
        c"tidemark-retention"
    }
}

/// Drops commit records that are as good as gone.
struct RecordsFactory {
    floors: FloorsOfGroups,
}

impl CompactionFilterFactory for RecordsFactory {
    type Filter = Records;

    fn create(&mut self, _context: CompactionFilterContext) -> Records {
        Records { floors: self.floors.read().clone() }
    }

    fn name(&self) -> &CStr {
        c"tidemark-records"
    }
}

/// What a compaction of everything leaves out, of the documents' versions in order; for a store that a test holds.
#[cfg(test)]
pub fn retention(floors: HashMap<Incarnation, Floors>) -> impl FnMut(&[u8]) -> bool {
    let mut retention = Retention { floors, key: Vec::new(), newest_kept: false };
    move |stored| retention.drops(stored)
}

struct Records {
    floors: HashMap<Incarnation, Floors>,
}

impl CompactionFilter for Records {
    fn filter(&mut self, _level: u32, key: &[u8], value: &[u8]) -> CompactionDecision {
        let floors = keys::incarnation(key).and_then(|incarnation| self.floors.get(&incarnation));
        match (floors, keys::decode_record(value)) {
            (Some(floors), Ok(committed)) if committed.timestamp < floors.records => {
                CompactionDecision::Remove
            }
            _ => CompactionDecision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        c"tidemark-records"
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use contract::{DeploymentId, IndexId};

    use super::*;
    use crate::{keys::Stored, reads::Reader, undecided::Committed};

    const INCARNATION: Incarnation = Incarnation(1);
    const DEPLOYMENT: DeploymentId = DeploymentId(1);
    const INDEX: IndexId = IndexId([1; 16]);

    fn timestamp(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).unwrap()
    }

    fn compact(store: &StateStore) {
        store.compact(|| true).unwrap();
    }

    fn versions(store: &StateStore) -> usize {
        let mut count = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            count += 1;
            Ok(ControlFlow::Continue(()))
        };
        store.scan(Family::Data, &[], None, &mut visit).unwrap();
        count
    }

    fn read(store: &StateStore, key: &[u8], at: u64) -> Option<Bytes> {
        let reader = Reader::new(store, INCARNATION, DEPLOYMENT, timestamp(at));
        reader.point(INDEX, key, None).unwrap().map(|version| version.document)
    }

    #[test]
    fn compaction_keeps_what_can_be_read_at_and_above_the_horizon() {
        let folder = tempfile::tempdir().unwrap();
        let store = StateStore::open(folder.path(), &StoreLimits::DEFAULT).unwrap();
        let prefix = keys::index_prefix(INCARNATION, DEPLOYMENT, INDEX);
        let mut changes = store.changes();
        for at in 1..=100u64 {
            let value = at.to_be_bytes();
            changes.put(
                Family::Data,
                &keys::version(&prefix, b"often", timestamp(at)),
                &Stored::Document(&value).encode(),
            );
        }
        for (at, value) in [(5, Stored::Document(b"old")), (7, Stored::Gone)] {
            changes.put(Family::Data, &keys::version(&prefix, b"gone", timestamp(at)), &value.encode());
        }
        let record = |id: u8| keys::record(INCARNATION, DEPLOYMENT, contract::CommitId([id; 16]));
        for (id, at) in [(1, 10), (2, 90)] {
            let committed = Committed { timestamp: timestamp(at), run: 1 };
            changes.put(Family::Records, &record(id), &keys::encode_record(committed));
        }
        store.write(changes).unwrap();

        let floors = Floors { horizon: timestamp(60), records: timestamp(50) };
        store.flush(&[]).unwrap();
        compact(&store);
        assert_eq!(versions(&store), 102, "without a horizon nothing goes");
        store.flush(&[(INCARNATION, floors)]).unwrap();
        compact(&store);
        assert_eq!(versions(&store), 42, "60 and above, and the newest below of a key without any above");
        for at in 60..=100 {
            assert_eq!(read(&store, b"often", at), Some(Bytes::copy_from_slice(&at.to_be_bytes())));
            assert_eq!(read(&store, b"gone", at), None);
        }
        assert_eq!(store.get(Family::Records, &record(1)).unwrap(), None);
        assert!(store.get(Family::Records, &record(2)).unwrap().is_some());
    }

    #[test]
    fn flushes_at_the_same_time_count_what_they_flush_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = StateStore::open(folder.path(), &StoreLimits::DEFAULT).unwrap();
        let prefix = keys::index_prefix(INCARNATION, DEPLOYMENT, INDEX);
        for round in 1..20 {
            let mut changes = store.changes();
            let key = keys::version(&prefix, b"key", timestamp(round));
            changes.put(Family::Data, &key, &Stored::Document(&[7; 10_000]).encode());
            store.write(changes).unwrap();
            let barrier = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for horizon in [round, round - 1] {
                    let floors = Floors { horizon: timestamp(horizon), records: Timestamp::ZERO };
                    let (store, barrier) = (&store, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        store.flush(&[(INCARNATION, floors)]).unwrap();
                    });
                }
            });
            assert_eq!(store.unflushed_bytes(), 0);
            assert_eq!(store.floors.read()[&INCARNATION].horizon, timestamp(round), "it does not go back");
        }
    }

    #[test]
    fn what_was_flushed_is_there_when_the_store_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = keys::index_prefix(INCARNATION, DEPLOYMENT, INDEX);
        for round in 0..3u64 {
            let store = StateStore::open(folder.path(), &StoreLimits::DEFAULT).unwrap();
            assert_eq!(versions(&store), round as usize);
            let mut changes = store.changes();
            let key = keys::version(&prefix, b"key", timestamp(round + 1));
            changes.put(Family::Data, &key, &Stored::Document(b"value").encode());
            store.write(changes).unwrap();
            store.flush(&[]).unwrap();
        }
    }
}
