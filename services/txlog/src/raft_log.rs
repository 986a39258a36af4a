//! The Raft logs of all groups of a node, in one RocksDB instance.
//!
//! One thread writes: it takes everything that is queued, writes it as one batch and makes it durable by one fsync. A
//! write that fails ends the process before anybody hears of it: the disk's state is unknown from then on.
//!
//! ```text
//! group u32 | 'e' | index u64   an entry
//! group u32 | 'm' | 'v'|'c'|'p' the vote, the committed and the purged log id
//! group u32 | 'm' | 'r'         up to where the state has been replaced by another replica's, or is about to be
//! ```
//!
//! An entry's value is a version byte, its kind, its term, a checksum over all of these and the payload, the payload.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Debug,
    io,
    ops::{Bound, ControlFlow, RangeBounds},
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::limits::StoreLimits;
use bytes::Bytes;
use contract::GroupId;
use counters::{Histogram, HistogramSnapshot, Stopwatch};
use openraft::{
    EntryPayload, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use parking_lot::Mutex;
use rocksdb::{DB, DBRecoveryMode, Options};
use tokio::sync::{Notify, mpsc, oneshot};

#[cfg(test)]
use crate::simulation::disk::SimulatedLog;
use crate::{
    counts::SyncTime,
    entry::EntryError,
    fatal::FatalHandler,
    folders::{self, OpenError},
    log_disk::{self, LogChange, LogDisk},
    planted, raft_codec,
    raft_types::{Entry, EntryBytes, LogId, RaftTypes, Vote, log_id},
    write_ahead,
};

/// The first byte of every entry stored here.
const VALUE_VERSION: u8 = 1;

/// The log store of a node. Dropping it waits until everything queued is written and the writer has ended; what is
/// sent to a [`RaftLog`] afterwards fails.
pub struct RaftLogs {
    disk: Arc<dyn LogDisk>,
    /// The only lasting sender: the writer ends when it is gone.
    operations: Option<mpsc::Sender<Operation>>,
    writer: Option<JoinHandle<()>>,
    syncs: Arc<Syncs>,
    /// Of each group.
    entry_cache_bytes_max: usize,
    append_bytes_max: usize,
    groups: Mutex<HashMap<GroupId, Arc<GroupState>>>,
}

/// The log of one group.
#[derive(Clone)]
pub struct RaftLog {
    group: GroupId,
    disk: Arc<dyn LogDisk>,
    operations: mpsc::WeakSender<Operation>,
    state: Arc<GroupState>,
    /// Entries that are read for another replica at once.
    append_bytes_max: usize,
}

struct GroupState {
    cache: Mutex<EntryCache>,
    /// For the one who waits until entries are written.
    written: Notify,
    /// The state is flushed up to before this index: only that may be purged.
    flushed_before: AtomicU64,
    /// Up to which entry the log was made durable, the last times; for traces only.
    syncs: Mutex<VecDeque<(u64, SyncTime)>>,
}

/// Of [`GroupState::syncs`].
const SYNCS_KEPT_MAX: usize = 256;

/// The newest entries, readable as soon as they are appended.
struct EntryCache {
    /// Each with its checksum when it was appended.
    entries: BTreeMap<u64, (Entry, u32)>,
    bytes: usize,
    bytes_max: usize,
    /// Up to here the writer has them.
    written: u64,
}

enum Operation {
    Append {
        group: GroupId,
        entries: Vec<(u64, Vec<u8>)>,
        state: Arc<GroupState>,
        flushed: IOFlushed<RaftTypes>,
    },
    /// Done when durable.
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
        done: oneshot::Sender<()>,
    },
    /// Need not be durable: it only saves time after a restart. It is written with what comes next.
    PutLazily {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    DeleteRange {
        from: Vec<u8>,
        to: Vec<u8>,
        put: Option<(Vec<u8>, Vec<u8>)>,
        done: oneshot::Sender<()>,
    },
}

impl RaftLogs {
    /// Opens the folder. A torn end of the write-ahead log is what a crash leaves and is cut off; other damage is an error.
    pub fn open(path: &Path, limits: &StoreLimits, fatal: FatalHandler) -> Result<RaftLogs, OpenError> {
        folders::prepare(path, folders::LOG_FORMAT)?;
        write_ahead::check(path).map_err(OpenError::Damaged)?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_paranoid_checks(true);
        options.set_write_buffer_size(limits.log_write_buffer_bytes_max);
        options.set_max_total_wal_size(limits.log_write_ahead_bytes_max as u64);
        options.set_keep_log_file_num(4);
        options.set_max_background_jobs(2);
        let database = DB::open(&options, path)
            .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        let database = Arc::new(database);
        let (operations, queue) = mpsc::channel(limits.log_writes_queued_max);
        let syncs = Arc::new(Syncs::new());
        let queue = Queue { operations: queue, lazy: Lazy::new() };
        let writer = Writer { database: database.clone(), queue, fatal, syncs: syncs.clone() };
        let writer = std::thread::Builder::new()
            .name("raft-log-writer".into())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Folder { path: path.to_owned(), source })?;
        let (operations, writer) = (Some(operations), Some(writer));
        Ok(RaftLogs {
            disk: database,
            operations,
            writer,
            syncs,
            entry_cache_bytes_max: limits.log_entry_cache_bytes_max,
            append_bytes_max: limits.raft_append_bytes_max,
            groups: Mutex::default(),
        })
    }

    /// On a disk in a test's hand, which a task writes to instead of a thread.
    #[cfg(test)]
    pub fn simulated(disk: Arc<SimulatedLog>, limits: &StoreLimits, fatal: FatalHandler) -> RaftLogs {
        let (operations, queue) = mpsc::channel(limits.log_writes_queued_max);
        let mut queue = Queue { operations: queue, lazy: Lazy::new() };
        let to = disk.clone();
        crate::runtime::spawn(async move {
            while let Some(first) = queue.operations.recv().await {
                let Some(Gathered { changes, answers }) = queue.gather(first) else { continue };
                if let Err(error) = to.write(changes).await {
                    fatal.end(&format!("the log can't be written: {error}"));
                    std::mem::forget(answers);
                    return;
                }
                answers.into_iter().for_each(|written| written.tell(None));
            }
        });
        RaftLogs {
            disk,
            operations: Some(operations),
            writer: None,
            syncs: Arc::new(Syncs::new()),
            entry_cache_bytes_max: limits.log_entry_cache_bytes_max,
            append_bytes_max: limits.raft_append_bytes_max,
            groups: Mutex::default(),
        }
    }

    pub fn group(&self, group: GroupId) -> RaftLog {
        let new = || Arc::new(GroupState::new(self.entry_cache_bytes_max));
        let state = self.groups.lock().entry(group).or_insert_with(new).clone();
        let operations = self.operations.as_ref().expect("it is taken by drop only").downgrade();
        let (disk, append_bytes_max) = (self.disk.clone(), self.append_bytes_max);
        RaftLog { group, disk, operations, state, append_bytes_max }
    }

    /// What the logs of the groups that were asked for do and take.
    pub fn gauges(&self) -> LogGauges {
        LogGauges {
            disk: Arc::downgrade(&self.disk),
            syncs: self.syncs.clone(),
            groups: self.groups.lock().values().cloned().collect(),
        }
    }
}

/// Read by whoever wants to know; it keeps nothing open.
pub struct LogGauges {
    disk: Weak<dyn LogDisk>,
    syncs: Arc<Syncs>,
    groups: Vec<Arc<GroupState>>,
}

impl LogGauges {
    /// How often the log was made durable since it was opened.
    pub fn fsyncs(&self) -> u64 {
        self.syncs.durations.snapshot().count()
    }

    /// How long it took, each time.
    pub fn syncs(&self) -> HistogramSnapshot {
        self.syncs.durations.snapshot()
    }

    /// For how long a write has been on its way to the disk, if one is.
    pub fn stalled(&self) -> Duration {
        self.syncs.under_way()
    }

    /// Memory of the newest entries; bounded by `log_entry_cache_bytes_max` for each group.
    pub fn entry_bytes(&self) -> usize {
        self.groups.iter().map(|group| group.cache.lock().bytes).sum()
    }

    /// Memory of what is in no file of the log yet.
    pub fn write_buffer_bytes(&self) -> u64 {
        self.disk.upgrade().map_or(0, |disk| disk.memory_bytes())
    }
}

impl Drop for RaftLogs {
    fn drop(&mut self) {
        self.operations = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has told the process's panic hook.
            let _ = writer.join();
        }
    }
}

/// What waits to be written.
struct Queue {
    operations: mpsc::Receiver<Operation>,
    /// What need not be durable goes with what must be: so no batch is written before the one before is durable, and a
    /// crash tears at most one.
    lazy: Lazy,
}

/// Changes that are written at once, and who hears of it.
struct Gathered {
    changes: Vec<LogChange>,
    answers: Vec<Written>,
}

impl Queue {
    /// Takes all that is queued. Nothing if nobody waits for any of it.
    fn gather(&mut self, first: Operation) -> Option<Gathered> {
        let mut gathered = Gathered { changes: Vec::new(), answers: Vec::new() };
        let mut next = Some(first);
        while let Some(operation) = next {
            gathered.answers.extend(add_to(&mut gathered.changes, &mut self.lazy, operation));
            next = self.operations.try_recv().ok();
        }
        if gathered.answers.is_empty() {
            return None;
        }
        if planted::is(planted::Bug::LogTellsBeforeItIsDurable) {
            gathered.answers.drain(..).for_each(|written| written.tell(None));
        }
        let lazy = std::mem::take(&mut self.lazy);
        gathered.changes.extend(lazy.into_iter().map(|(key, value)| LogChange::Put(key, value)));
        Some(gathered)
    }
}

struct Writer {
    database: Arc<DB>,
    queue: Queue,
    fatal: FatalHandler,
    syncs: Arc<Syncs>,
}

/// The times at which the log was made durable.
struct Syncs {
    durations: Histogram,
    started: Stopwatch,
    /// Since when one is under way, in milliseconds after `started`, and one more; 0 if none is.
    since_ms: AtomicU64,
}

impl Syncs {
    fn new() -> Syncs {
        Syncs { durations: Histogram::default(), started: Stopwatch::start(), since_ms: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.took().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn under_way(&self) -> Duration {
        match self.since_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since_ms => Duration::from_millis(self.now_ms().saturating_sub(since_ms)),
        }
    }

    /// Times what makes the log durable.
    fn time<T>(&self, write: impl FnOnce() -> T) -> (T, Duration) {
        self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        let stopwatch = Stopwatch::start();
        let written = write();
        let took = stopwatch.took();
        self.since_ms.store(0, Ordering::Relaxed);
        self.durations.record(took);
        (written, took)
    }
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.queue.operations.blocking_recv() {
            let Some(Gathered { changes, answers }) = self.queue.gather(first) else { continue };
            let (written, took) = self.syncs.time(|| log_disk::write(&self.database, changes));
            if let Err(error) = written {
                self.fatal.end(&format!("the log can't be written: {error}"));
                // Nobody is answered: what is on the disk is not known.
                std::mem::forget(answers);
                return;
            }
            let sync = telemetry::began(took).map(|began| (began, took));
            answers.into_iter().for_each(|written| written.tell(sync));
        }
    }
}

/// Who hears that an operation is durable.
enum Written {
    Entries { state: Arc<GroupState>, last: u64, flushed: IOFlushed<RaftTypes> },
    Other(oneshot::Sender<()>),
}

impl Written {
    /// `sync` is when it became so, where that is of use.
    fn tell(self, sync: Option<SyncTime>) {
        match self {
            Written::Entries { state, last, flushed } => {
                if let Some(sync) = sync {
                    state.synced(last, sync);
                }
                state.cache.lock().written_up_to(last);
                state.written.notify_one();
                flushed.io_completed(Ok(()));
            }
            Written::Other(done) => {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }
}

/// What is written with the next batch.
type Lazy = BTreeMap<Vec<u8>, Vec<u8>>;

fn add_to(changes: &mut Vec<LogChange>, lazy: &mut Lazy, operation: Operation) -> Option<Written> {
    match operation {
        Operation::Append { group, entries, state, flushed } => {
            let last = entries.last().map_or(0, |(index, _)| *index);
            let put = |(index, value)| LogChange::Put(entry_key(group, index), value);
            changes.extend(entries.into_iter().map(put));
            Some(Written::Entries { state, last, flushed })
        }
        Operation::Put { key, value, done } => {
            changes.push(LogChange::Put(key, value));
            Some(Written::Other(done))
        }
        Operation::PutLazily { key, value } => {
            lazy.insert(key, value);
            None
        }
        Operation::DeleteRange { from, to, put, done } => {
            changes.push(LogChange::DeleteRange(from, to));
            changes.extend(put.map(|(key, value)| LogChange::Put(key, value)));
            Some(Written::Other(done))
        }
    }
}

impl GroupState {
    fn new(cache_bytes_max: usize) -> GroupState {
        let cache = EntryCache { entries: BTreeMap::new(), bytes: 0, bytes_max: cache_bytes_max, written: 0 };
        GroupState {
            cache: Mutex::new(cache),
            written: Notify::new(),
            flushed_before: AtomicU64::new(0),
            syncs: Mutex::default(),
        }
    }

    fn synced(&self, last: u64, sync: SyncTime) {
        let mut syncs = self.syncs.lock();
        syncs.push_back((last, sync));
        if syncs.len() > SYNCS_KEPT_MAX {
            syncs.pop_front();
        }
    }
}

impl EntryCache {
    fn insert(&mut self, entry: Entry, checksum: u32) {
        let index = entry.index();
        if let Some((last, (before, _))) = self.entries.last_key_value() {
            assert!(index == last + 1, "entry {index} is appended behind {last}");
            assert!(before.log_id < entry.log_id, "{} is appended behind {}", entry.log_id, before.log_id);
        }
        self.bytes += entry_bytes(&entry);
        self.entries.insert(index, (entry, checksum));
    }

    fn written_up_to(&mut self, index: u64) {
        self.written = self.written.max(index);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.entries.first_entry().filter(|entry| *entry.key() <= self.written)
        {
            self.bytes -= entry_bytes(&oldest.remove().0);
        }
    }

    fn truncate_from(&mut self, index: u64) {
        let gone = self.entries.split_off(&index);
        self.bytes -= gone.values().map(|(entry, _)| entry_bytes(entry)).sum::<usize>();
        self.assert_counted();
        self.truncated_from(index);
    }

    /// The deletion is done. What was appended before it may have been told in between.
    fn truncated_from(&mut self, index: u64) {
        self.written = self.written.min(index.saturating_sub(1));
    }

    fn purge_up_to(&mut self, index: u64) {
        let kept = self.entries.split_off(&(index + 1));
        self.bytes -= self.entries.values().map(|(entry, _)| entry_bytes(entry)).sum::<usize>();
        self.entries = kept;
        self.assert_counted();
    }

    fn assert_counted(&self) {
        assert!(self.bytes == 0 || !self.entries.is_empty(), "what is gone is not counted");
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(EntryBytes(bytes)) => 64 + bytes.len(),
        _ => 256,
    }
}

fn entry_key(group: GroupId, index: u64) -> Vec<u8> {
    [&group.0.to_be_bytes()[..], b"e", &index.to_be_bytes()].concat()
}

fn meta_key(group: GroupId, what: u8) -> Vec<u8> {
    [&group.0.to_be_bytes()[..], b"m", &[what]].concat()
}

const VOTE: u8 = b'v';
const COMMITTED: u8 = b'c';
const PURGED: u8 = b'p';
const REPLACED: u8 = b'r';

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Version, kind and term.
const DESCRIBED_BYTES: usize = 1 + 1 + 8;
/// The same and the checksum.
const HEADER_BYTES: usize = DESCRIBED_BYTES + 4;

/// Version, kind, term, checksum, payload. The index is the key's.
fn encode_entry(entry: &Entry) -> (Vec<u8>, u32) {
    let (described, payload) = describe(entry);
    let checksum = checksum(entry.index(), &described, &payload);
    let mut value = Vec::with_capacity(HEADER_BYTES + payload.len());
    value.extend_from_slice(&described);
    value.extend_from_slice(&checksum.to_be_bytes());
    value.extend_from_slice(&payload);
    (value, checksum)
}

/// Version, kind and term; the payload.
fn describe(entry: &Entry) -> ([u8; DESCRIBED_BYTES], Bytes) {
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (BLANK, Bytes::new()),
        EntryPayload::Normal(EntryBytes(bytes)) => (NORMAL, bytes.clone()),
        EntryPayload::Membership(membership) => (MEMBERSHIP, raft_codec::encode_membership(membership)),
    };
    let mut described = [VALUE_VERSION; DESCRIBED_BYTES];
    described[1] = kind;
    described[2..].copy_from_slice(&entry.log_id.leader_id.term.to_be_bytes());
    (described, payload)
}

fn decode_entry(index: u64, value: &[u8]) -> io::Result<Entry> {
    match value.first() {
        None => return Err(damaged("an entry is empty")),
        Some(&VALUE_VERSION) => {}
        Some(&unknown) => return Err(unreadable(EntryError::UnknownVersion(unknown.into()))),
    }
    let (header, payload) =
        value.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| damaged("an entry is short"))?;
    let (described, stored) = header.split_last_chunk::<4>().expect("the header ends with the checksum");
    if checksum(index, described, payload) != u32::from_be_bytes(*stored) {
        return Err(damaged(&format!("entry {index} is not what was appended")));
    }
    let (_, term) = described.split_last_chunk::<8>().expect("the header has the term");
    let payload = Bytes::copy_from_slice(payload);
    let payload = match header[1] {
        BLANK => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(EntryBytes(payload)),
        MEMBERSHIP => EntryPayload::Membership(raft_codec::decode_membership(payload).map_err(unreadable)?),
        _ => return Err(damaged("an entry has an unknown kind")),
    };
    Ok(Entry { log_id: log_id(u64::from_be_bytes(*term), index), payload })
}

/// Of an entry: also of its place, so that no entry passes for another one.
fn checksum(index: u64, described: &[u8], payload: &[u8]) -> u32 {
    let of_place = crc32c::crc32c_append(crc32c::crc32c(&index.to_be_bytes()), described);
    crc32c::crc32c_append(of_place, payload)
}

fn unreadable(error: EntryError) -> io::Error {
    match error {
        EntryError::UnknownVersion(_) => io::Error::new(io::ErrorKind::InvalidData, error),
        EntryError::Damaged(what) => damaged(&what),
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the log is damaged: {what}"))
}

impl RaftLog {
    /// When the entry was made durable here, if that is still known.
    pub fn sync_of(&self, index: u64) -> Option<SyncTime> {
        let syncs = self.state.syncs.lock();
        let durable = syncs.iter().rev().take_while(|(last, _)| *last >= index);
        durable.last().map(|(_, sync)| *sync)
    }

    /// The state up to `index` is flushed.
    pub fn state_flushed(&self, index: u64) {
        self.state.flushed_before.fetch_max(index + 1, Ordering::AcqRel);
    }

    fn meta<T>(&self, what: u8, decode: impl Fn(Bytes) -> Result<T, EntryError>) -> io::Result<Option<T>> {
        let value = self.disk.get(&meta_key(self.group, what))?;
        value.map(|value| decode(value.into())).transpose().map_err(unreadable)
    }

    /// Holds that an entry which is about to be applied is the one that was appended at its place. Those that the cache
    /// has left behind were held against their checksum when they were read.
    pub fn assert_appended(&self, entry: &Entry) {
        let appended = self.state.cache.lock().entries.get(&entry.index()).map(|(_, checksum)| *checksum);
        if let Some(appended) = appended {
            let (described, payload) = describe(entry);
            let applied = checksum(entry.index(), &described, &payload);
            assert!(applied == appended, "entry {} is not the one that was appended", entry.log_id);
        }
    }

    /// Waits until an entry is on the disk. A quorum may have it before this node does; but a state that holds what its own log
    /// does not would look, after a crash, as if the log had been put back from a copy.
    pub async fn written(&self, index: u64) {
        loop {
            let is_written = {
                let cache = self.state.cache.lock();
                // What the cache has left behind is written.
                index <= cache.written || !cache.entries.contains_key(&index)
            };
            if is_written {
                return;
            }
            self.state.written.notified().await;
        }
    }

    /// About how many bytes the entries take on the disk; without the newest, of which there is a bounded number.
    pub fn file_bytes(&self) -> u64 {
        let (begin, end) = (entry_key(self.group, 0), entry_key_end(self.group));
        self.disk.file_bytes(&begin, &end)
    }

    /// The state is about to be replaced by one that has come to `last`: it may be found ahead of the log.
    pub async fn state_replaced(&self, last: LogId) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        let key = meta_key(self.group, REPLACED);
        let put = Operation::Put { key, value: raft_codec::encode_log_id(&last).into(), done };
        self.sent(put, written).await
    }

    /// What was told by [`RaftLog::state_replaced`] last.
    pub fn replaced_up_to(&self) -> io::Result<Option<LogId>> {
        self.meta(REPLACED, raft_codec::decode_log_id)
    }

    /// How far the log reaches: the last entry that was purged, and the last one that is there.
    pub fn reach(&self) -> io::Result<(Option<LogId>, Option<LogId>)> {
        let purged = self.meta(PURGED, raft_codec::decode_log_id)?;
        let newest = self.state.cache.lock().entries.last_key_value().map(|(_, (entry, _))| entry.log_id);
        let last = match newest {
            Some(newest) => Some(newest),
            None => self.last_stored()?.or(purged),
        };
        Ok((purged, last))
    }

    async fn send(&self, operation: Operation) -> io::Result<()> {
        let ended = || io::Error::other("the log's writer has ended");
        let operations = self.operations.upgrade().ok_or_else(ended)?;
        operations.send(operation).await.map_err(|_| ended())
    }

    async fn sent(&self, operation: Operation, done: oneshot::Receiver<()>) -> io::Result<()> {
        self.send(operation).await?;
        done.await.map_err(|_| io::Error::other("the log's writer has ended"))
    }

    /// Up to so many bytes, but one entry at least.
    fn stored_entries(&self, from: u64, end: Option<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let upper = match end {
            Some(end) => entry_key(self.group, end),
            None => entry_key_end(self.group),
        };
        let mut entries = Vec::new();
        let mut bytes = 0usize;
        self.disk.scan(&entry_key(self.group, from), &upper, &mut |key, value| {
            if !entries.is_empty() && bytes.saturating_add(value.len()) > bytes_max {
                return Ok(ControlFlow::Break(()));
            }
            bytes += value.len();
            entries.push(decode_entry(entry_index(key)?, value)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(entries)
    }

    fn last_stored(&self) -> io::Result<Option<LogId>> {
        let last = self.disk.last(&entry_key(self.group, 0), &entry_key_end(self.group))?;
        last.map(|(key, value)| Ok(decode_entry(entry_index(&key)?, &value)?.log_id)).transpose()
    }
}

/// Behind every entry of the group.
fn entry_key_end(group: GroupId) -> Vec<u8> {
    [&group.0.to_be_bytes()[..], b"f"].concat()
}

fn entry_index(key: &[u8]) -> io::Result<u64> {
    let index = key.last_chunk::<8>().ok_or_else(|| damaged("a key is too short"))?;
    Ok(u64::from_be_bytes(*index))
}

impl RaftLogReader<RaftTypes> for RaftLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => Some(index + 1),
            Bound::Excluded(index) => Some(*index),
            Bound::Unbounded => None,
        };
        if end.is_some_and(|end| end <= from) {
            return Ok(Vec::new());
        }
        let (cached, first_cached) = {
            let cache = self.state.cache.lock();
            let upper = end.map_or(Bound::Unbounded, Bound::Excluded);
            let cached: Vec<Entry> = cache
                .entries
                .range((Bound::Included(from), upper))
                .map(|(_, (entry, _))| entry.clone())
                .collect();
            let first = cached.first().map(|entry| entry.index());
            (cached, first)
        };
        if first_cached == Some(from) {
            return Ok(cached);
        }
        // What the cache has left behind is written.
        let mut entries = self.stored_entries(from, first_cached.or(end), usize::MAX)?;
        entries.extend(cached);
        let hole = entries.windows(2).find(|pair| pair[0].index() + 1 != pair[1].index());
        match hole {
            Some(pair) => Err(damaged(&format!("{} is followed by {}", pair[0].log_id, pair[1].log_id))),
            None => Ok(entries),
        }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        if end <= start {
            return Ok(Vec::new());
        }
        let first_cached = {
            let cache = self.state.cache.lock();
            let mut bytes = 0usize;
            let mut taken = Vec::new();
            for (_, (entry, _)) in cache.entries.range(start..end) {
                bytes = bytes.saturating_add(entry_bytes(entry));
                if !taken.is_empty() && bytes > self.append_bytes_max {
                    break;
                }
                taken.push(entry.clone());
            }
            match taken.first().map(|entry| entry.index()) {
                Some(first) if first == start => return Ok(taken),
                first => first,
            }
        };
        let entries = self.stored_entries(start, first_cached.or(Some(end)), self.append_bytes_max)?;
        let mut expected = start..;
        match entries.iter().find(|entry| expected.next() != Some(entry.index())) {
            Some(entry) => Err(damaged(&format!("{} does not follow the entry before", entry.log_id))),
            None => Ok(entries),
        }
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.meta(VOTE, raft_codec::decode_vote)
    }
}

impl RaftLogStorage<RaftTypes> for RaftLog {
    type LogReader = RaftLog;

    async fn get_log_state(&mut self) -> Result<LogState<RaftTypes>, io::Error> {
        let (last_purged_log_id, last_log_id) = self.reach()?;
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> RaftLog {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, written) = oneshot::channel();
        let put = Operation::Put {
            key: meta_key(self.group, VOTE),
            value: raft_codec::encode_vote(vote).into(),
            done,
        };
        self.sent(put, written).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // What is committed stays so: there is no way back to nothing.
        let Some(committed) = committed else { return Ok(()) };
        let key = meta_key(self.group, COMMITTED);
        let value = raft_codec::encode_log_id(&committed).into();
        self.send(Operation::PutLazily { key, value }).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.meta(COMMITTED, raft_codec::decode_log_id)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<RaftTypes>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        {
            let mut cache = self.state.cache.lock();
            for entry in entries {
                let (value, checksum) = encode_entry(&entry);
                encoded.push((entry.index(), value));
                cache.insert(entry, checksum);
            }
        }
        let state = self.state.clone();
        self.send(Operation::Append { group: self.group, entries: encoded, state, flushed: callback }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |last| last.index + 1);
        self.state.cache.lock().truncate_from(from);
        let (done, written) = oneshot::channel();
        let delete = Operation::DeleteRange {
            from: entry_key(self.group, from),
            to: entry_key_end(self.group),
            put: None,
            done,
        };
        self.sent(delete, written).await?;
        self.state.cache.lock().truncated_from(from);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let flushed_before = self.state.flushed_before.load(Ordering::Acquire);
        if log_id.index >= flushed_before {
            return Err(io::Error::other(format!(
                "entry {} must not be purged: the state is flushed up to before {flushed_before} only",
                log_id.index
            )));
        }
        self.state.cache.lock().purge_up_to(log_id.index);
        let (done, written) = oneshot::channel();
        let delete = Operation::DeleteRange {
            from: entry_key(self.group, 0),
            to: entry_key(self.group, log_id.index + 1),
            put: Some((meta_key(self.group, PURGED), raft_codec::encode_log_id(&log_id).into())),
            done,
        };
        self.sent(delete, written).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        let payload = EntryPayload::Normal(EntryBytes(Bytes::from_static(&[0; 100])));
        Entry { log_id: log_id(term, index), payload }
    }

    #[test]
    fn an_entry_is_read_only_as_it_was_appended_and_at_its_place() {
        let (value, _) = encode_entry(&entry(3, 7));
        assert_eq!(decode_entry(7, &value).unwrap(), entry(3, 7));
        assert!(decode_entry(8, &value).is_err(), "at another place");
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            assert!(decode_entry(7, &damaged).is_err(), "with another byte at {at}");
            assert!(decode_entry(7, &value[..at]).is_err(), "with {at} bytes");
        }
        let mut newer = value;
        newer[0] = 9;
        assert!(decode_entry(7, &newer).unwrap_err().to_string().contains("format 9"));
    }

    #[test]
    #[should_panic(expected = "is not the one that was appended")]
    fn an_entry_that_is_not_the_one_appended_is_not_applied() {
        let folder = tempfile::tempdir().unwrap();
        let fatal = FatalHandler::new(|reason| panic!("{reason}"));
        let logs = RaftLogs::open(folder.path(), &StoreLimits::DEFAULT, fatal).unwrap();
        let log = logs.group(GroupId(1));
        let appended = entry(1, 1);
        log.state.cache.lock().insert(appended.clone(), encode_entry(&appended).1);
        log.assert_appended(&appended);
        log.assert_appended(&entry(2, 1));
    }

    #[test]
    fn an_entry_that_is_in_no_file_stays_in_the_cache_after_a_truncation() {
        let mut cache = GroupState::new(300).cache.into_inner();
        (1..=8).for_each(|index| cache.insert(entry(1, index), 0));
        cache.written_up_to(4);
        // Entries from 5 on are queued for the writer when another leader's come in their place.
        cache.truncate_from(5);
        // Only now the writer tells of them, then of the deletion.
        cache.written_up_to(8);
        cache.truncated_from(5);
        (5..=8).for_each(|index| cache.insert(entry(2, index), 0));
        cache.written_up_to(4);
        let kept: Vec<u64> = cache.entries.keys().copied().collect();
        assert_eq!(kept, [5, 6, 7, 8], "they are not written, however full the cache is");
    }
}
