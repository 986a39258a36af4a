//! What an entry of the log does to the store: the same on every replica.
//!
//! Pure over [`Store`] and [`Changes`]; bound to the entry's version.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use contract::{
    BackfillProgress, CommitId, CommitNotice, DeploymentId, Epoch, IndexId, Timestamp, Write,
    is_announced_only,
};
use proto::txlog::v1 as wire;

use crate::{
    backfill,
    entry::{
        Batch, CommitWrites, EntryError, EntryVersion, LogEntry, Staged, decode_versioned, decode_writes,
        encode_versioned, timestamp, touched_keys,
    },
    keys::{self, Deletions, Incarnation, Stored, StoredError},
    planted,
    undecided::Committed,
};

/// The parts of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Documents and index entries, each with all its versions.
    Data,
    /// Which keys were deleted when, until nobody can read them any more and they are swept.
    Deletions,
    /// Which commit ids committed, and when.
    Records,
    /// Parts of large commits which are not committed yet.
    Stages,
    /// Which data each group has, and how far it has come.
    Applied,
}

/// What apply reads.
pub trait Store {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ApplyError>;

    /// Visits the pairs from `from` on and before `to`, in order.
    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ApplyError>;

    /// Visits the pairs of each of the ranges, which come in order.
    fn scan_each(
        &self,
        family: Family,
        ranges: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ApplyError> {
        for (from, to) in ranges {
            self.scan(family, &from, Some(&to), visit)?;
        }
        Ok(())
    }
}

/// Sees a key and its value, and says whether to go on.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, ApplyError> + 'v;

/// A store that apply writes to.
pub trait Writable: Store {
    type Changes<'s>: Changes
    where
        Self: 's;

    fn changes(&self) -> Self::Changes<'_>;

    /// Makes the changes, all of them visible at once.
    fn write(&self, changes: Self::Changes<'_>) -> Result<(), ApplyError>;
}

/// What apply changes, at once or not at all.
pub trait Changes {
    /// About how many bytes they are.
    fn bytes(&self) -> usize;
    fn put(&mut self, family: Family, key: &[u8], value: &[u8]);
    fn delete(&mut self, family: Family, key: &[u8]);
    /// Deletes the keys from `from` on and before `to`.
    fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]);
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Stored(#[from] StoredError),
    #[error("the store failed: {0}")]
    Store(String),
    #[error("the store is damaged: {0}")]
    Corrupted(String),
    #[error("the log is damaged: {0}")]
    Log(String),
}

impl ApplyError {
    /// Whether what is stored is not what was written.
    pub fn is_damage(&self) -> bool {
        match self {
            ApplyError::Entry(_) | ApplyError::Stored(_) | ApplyError::Corrupted(_) | ApplyError::Log(_) => {
                true
            }
            ApplyError::Store(_) => false,
        }
    }
}

/// The log id of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EntryId {
    pub term: u64,
    pub index: u64,
}

/// How far a group has come; in the store beside its data, changed by the same writes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AppliedState {
    /// `None` before the first entry.
    pub last: Option<EntryId>,
    pub last_timestamp: Timestamp,
    /// What is older can't be read any more.
    pub horizon: Timestamp,
    /// Commit records that are older are as good as gone.
    pub records_floor: Timestamp,
    /// As [`crate::raft_codec`] encodes it with its log id; empty before the first.
    pub membership: Bytes,
    /// The version in which the group's entries are written.
    pub write_version: EntryVersion,
    /// That of the last batch.
    pub epoch: Epoch,
}

const APPLIED_VERSION: u8 = 1;

impl AppliedState {
    pub fn encode(&self) -> Bytes {
        let last = self.last.unwrap_or_default();
        let message = wire::AppliedState {
            term: last.term,
            index: last.index,
            last_timestamp: self.last_timestamp.as_nanoseconds(),
            horizon: self.horizon.as_nanoseconds(),
            records_floor: self.records_floor.as_nanoseconds(),
            membership: self.membership.clone(),
            write_version: self.write_version.number(),
            epoch_term: self.epoch.term,
            epoch_reset: self.epoch.reset,
        };
        encode_versioned(APPLIED_VERSION, &message)
    }

    pub fn decode(bytes: Bytes) -> Result<AppliedState, EntryError> {
        let message: wire::AppliedState = decode_versioned(APPLIED_VERSION, bytes)?;
        Ok(AppliedState {
            last: Some(EntryId { term: message.term, index: message.index }),
            last_timestamp: timestamp(message.last_timestamp)?,
            horizon: timestamp(message.horizon)?,
            records_floor: timestamp(message.records_floor)?,
            membership: message.membership,
            write_version: EntryVersion::from_number(message.write_version)?,
            epoch: Epoch { term: message.epoch_term, reset: message.epoch_reset },
        })
    }
}

/// What is at a place of the log.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Begins a term.
    Blank,
    /// As [`crate::raft_codec`] encodes it with its log id.
    Membership(Bytes),
    Entry(LogEntry),
}

/// What an entry did.
#[derive(Debug)]
pub enum Applied {
    /// It moved only the log's position, or something that nobody sees.
    Nothing,
    /// A term has begun.
    TermBegan(u64),
    /// A batch of this epoch.
    Commits(Epoch, Vec<AppliedCommit>),
    /// The batch did not follow the store's last timestamp, or its term was not that of its place: as if it were not
    /// there. The epoch that it names, and its commits' timestamps.
    Skipped(Epoch, Vec<Timestamp>),
    Backfilled(BackfillProgress),
}

#[derive(Clone, Debug)]
pub struct AppliedCommit {
    pub deployment: DeploymentId,
    pub id: CommitId,
    /// Which run of the request it is.
    pub run: u32,
    pub notice: Arc<CommitNotice>,
}

/// Applies a group's entries, one after the other.
#[derive(Debug)]
pub struct Applier {
    incarnation: Incarnation,
    /// Where the state lies in [`Family::Applied`].
    state_key: Vec<u8>,
    state: AppliedState,
}

impl Applier {
    pub fn new(incarnation: Incarnation, state: AppliedState) -> Applier {
        Applier { incarnation, state_key: keys::applied(incarnation), state }
    }

    /// Reads how far the group had come.
    pub fn open(incarnation: Incarnation, store: &impl Store) -> Result<Applier, ApplyError> {
        let state = match store.get(Family::Applied, &keys::applied(incarnation))? {
            Some(bytes) => AppliedState::decode(bytes)?,
            None => AppliedState::default(),
        };
        Ok(Applier::new(incarnation, state))
    }

    pub fn state(&self) -> &AppliedState {
        &self.state
    }

    /// Whether the payload reads what earlier entries wrote, so that those changes must be in the store first.
    pub fn reads_store(payload: &Payload) -> bool {
        match payload {
            Payload::Blank | Payload::Membership(_) => false,
            Payload::Entry(LogEntry::Batch(batch)) => {
                batch.commits.iter().any(|commit| matches!(commit.writes, CommitWrites::Staged(_)))
            }
            Payload::Entry(LogEntry::Backfill(_)) => true,
            Payload::Entry(
                LogEntry::StagePart { .. } | LogEntry::DropStage { .. } | LogEntry::SetWriteVersion(_),
            ) => false,
        }
    }

    /// Applies the entry at `id`. The state goes into `changes` by [`Applier::save`], once for many entries.
    pub fn apply(
        &mut self,
        store: &impl Store,
        changes: &mut impl Changes,
        id: EntryId,
        payload: Payload,
    ) -> Result<Applied, ApplyError> {
        if self.state.last.is_some_and(|last| id.index <= last.index || id.term < last.term) {
            return Err(ApplyError::Log(format!("entry {id:?} does not follow {:?}", self.state.last)));
        }
        let applied = match payload {
            Payload::Blank => {
                // Whatever older terms staged and did not commit is nobody's any more.
                if !planted::is(planted::Bug::BlankKeepsOldStages) {
                    let begin = keys::stage_term(self.incarnation, 0);
                    let end = keys::stage_term(self.incarnation, id.term);
                    changes.delete_range(Family::Stages, &begin, &end);
                }
                Applied::TermBegan(id.term)
            }
            Payload::Membership(membership) => {
                if !planted::is(planted::Bug::MembershipIsForgotten) {
                    self.state.membership = membership;
                }
                Applied::Nothing
            }
            Payload::Entry(LogEntry::Batch(batch)) => self.apply_batch(store, changes, id, batch)?,
            Payload::Entry(LogEntry::StagePart { term, stage, part, content }) => {
                if term == id.term {
                    let key = keys::stage_part(self.incarnation, term, stage, part);
                    changes.put(Family::Stages, &key, &content);
                }
                Applied::Nothing
            }
            Payload::Entry(LogEntry::DropStage { term, stage }) => {
                self.drop_stage(changes, term, stage);
                Applied::Nothing
            }
            Payload::Entry(LogEntry::Backfill(step)) => {
                Applied::Backfilled(backfill::apply(self.incarnation, store, changes, &step)?)
            }
            Payload::Entry(LogEntry::SetWriteVersion(version)) => {
                self.state.write_version = self.state.write_version.max(version);
                Applied::Nothing
            }
        };
        self.state.last = Some(id);
        Ok(applied)
    }

    /// Puts the state into the changes that it belongs to.
    pub fn save(&self, changes: &mut impl Changes) {
        changes.put(Family::Applied, &self.state_key, &self.state.encode());
    }

    fn apply_batch(
        &mut self,
        store: &impl Store,
        changes: &mut impl Changes,
        id: EntryId,
        batch: Batch,
    ) -> Result<Applied, ApplyError> {
        let follows = batch.previous == self.state.last_timestamp
            || planted::is(planted::Bug::ApplyIgnoresPrevious)
            || planted::is(planted::Bug::FenceIsOpen);
        let is_of_its_term = batch.epoch.term == id.term || planted::is(planted::Bug::FenceIsOpen);
        if !is_of_its_term || !follows {
            let timestamps = batch.commits.iter().map(|commit| commit.timestamp).collect();
            return Ok(Applied::Skipped(batch.epoch, timestamps));
        }
        // What its leader has published is older than what it proposes.
        if batch.horizon > batch.previous {
            return Err(ApplyError::Log(format!("horizon {} is not published yet", batch.horizon)));
        }
        let mut applied = Vec::with_capacity(batch.commits.len());
        for commit in batch.commits {
            if commit.timestamp <= self.state.last_timestamp {
                return Err(ApplyError::Log(format!("commit {} is out of order", commit.timestamp)));
            }
            let encoded = match commit.writes {
                CommitWrites::Inlined(bytes) => bytes,
                CommitWrites::Staged(staged) => {
                    let bytes = self.assemble(store, id.term, staged)?;
                    self.drop_stage(changes, id.term, staged.stage);
                    bytes
                }
            };
            let writes = decode_writes(encoded)?;
            let mut deletions = Deletions::default();
            for write in &writes {
                let place = (self.incarnation, commit.deployment, commit.timestamp);
                put_write(changes, &mut deletions, place, write);
            }
            if let Some(deletions) = deletions.encoded() {
                let key = keys::deletions(self.incarnation, commit.timestamp);
                changes.put(Family::Deletions, &key, deletions);
            }
            let record = keys::record(self.incarnation, commit.deployment, commit.id);
            let committed = Committed { timestamp: commit.timestamp, run: commit.run };
            if !planted::is(planted::Bug::RecordIsNotWritten) {
                changes.put(Family::Records, &record, &keys::encode_record(committed));
            }
            self.state.last_timestamp = commit.timestamp;
            let notice = CommitNotice { timestamp: commit.timestamp, keys: touched_keys(&writes) };
            applied.push(AppliedCommit {
                deployment: commit.deployment,
                id: commit.id,
                run: commit.run,
                notice: Arc::new(notice),
            });
        }
        self.state.epoch = batch.epoch;
        self.state.horizon = self.state.horizon.max(batch.horizon);
        self.state.records_floor = self.state.records_floor.max(batch.records_floor);
        assert!(self.state.horizon <= self.state.last_timestamp, "the newest moment can always be read");
        Ok(Applied::Commits(batch.epoch, applied))
    }

    fn assemble(&self, store: &impl Store, term: u64, staged: Staged) -> Result<Bytes, ApplyError> {
        let mut content = Vec::with_capacity(usize::try_from(staged.bytes).unwrap_or(0));
        for part in 0..staged.parts {
            let key = keys::stage_part(self.incarnation, term, staged.stage, part);
            let bytes = store.get(Family::Stages, &key)?.ok_or_else(|| {
                ApplyError::Log(format!("part {part} of stage {} is missing", staged.stage))
            })?;
            content.extend_from_slice(&bytes);
        }
        if content.len() as u64 != staged.bytes || crc32c::crc32c(&content) != staged.crc32c {
            return Err(ApplyError::Log(format!("stage {} is not what was staged", staged.stage)));
        }
        Ok(content.into())
    }

    fn drop_stage(&self, changes: &mut impl Changes, term: u64, stage: u64) {
        let begin = keys::stage(self.incarnation, term, stage);
        if let Some(end) = keys::behind(&begin) {
            changes.delete_range(Family::Stages, &begin, &end);
        }
    }
}

/// Entries that are applied one after the other, and written together as far as they can be.
pub struct Round<'a, S: Writable> {
    applier: &'a mut Applier,
    store: &'a S,
    bytes_max: usize,
    changes: S::Changes<'a>,
    /// What the entries did whose changes are not written yet.
    applied: Vec<Applied>,
}

impl<'a, S: Writable> Round<'a, S> {
    /// Writes once there are `bytes_max` bytes, so that readers wait for no write long.
    pub fn new(applier: &'a mut Applier, store: &'a S, bytes_max: usize) -> Round<'a, S> {
        Round { applier, store, bytes_max, changes: store.changes(), applied: Vec::new() }
    }

    /// Applies the next entry; `publish` hears what was applied once it is written. Returns what `told` makes of it.
    pub fn apply<T>(
        &mut self,
        id: EntryId,
        payload: Payload,
        told: impl FnOnce(&Applied) -> T,
        publish: &mut impl FnMut(Vec<Applied>, &AppliedState),
    ) -> Result<T, ApplyError> {
        let reads_store = Applier::reads_store(&payload);
        if reads_store && !planted::is(planted::Bug::RoundReadsBeforeItWrites) {
            self.write(publish)?;
        }
        let applied = self.applier.apply(self.store, &mut self.changes, id, payload)?;
        let told = told(&applied);
        self.applied.push(applied);
        if self.changes.bytes() > self.bytes_max {
            self.write(publish)?;
        }
        Ok(told)
    }

    /// Writes what is left.
    pub fn write(&mut self, publish: &mut impl FnMut(Vec<Applied>, &AppliedState)) -> Result<(), ApplyError> {
        if self.applied.is_empty() {
            return Ok(());
        }
        let mut changes = std::mem::replace(&mut self.changes, self.store.changes());
        self.applier.save(&mut changes);
        self.store.write(changes)?;
        publish(std::mem::take(&mut self.applied), self.applier.state());
        Ok(())
    }
}

/// A document's new version and its index entries, all at the same timestamp; what it deletes is noted.
fn put_write(
    changes: &mut impl Changes,
    deletions: &mut Deletions,
    (incarnation, deployment, timestamp): (Incarnation, DeploymentId, Timestamp),
    write: &Write,
) {
    let mut put = |index: IndexId, key: &[u8], value: Stored<'_>| {
        let mut stored = keys::key_prefix(&keys::index_prefix(incarnation, deployment, index), key);
        if value == Stored::Gone {
            deletions.push(&stored);
        }
        keys::push_timestamp(&mut stored, timestamp);
        changes.put(Family::Data, &stored, &value.encode());
    };
    match &write.document {
        Some(document) if write.primary == IndexId::BY_COMMIT => {
            put(write.primary, &IndexId::by_commit_key(timestamp, &write.key), Stored::Document(document));
        }
        Some(document) => put(write.primary, &write.key, Stored::Document(document)),
        None => put(write.primary, &write.key, Stored::Gone),
    }
    let is_stored = |key: &&Bytes| !is_announced_only(key);
    for update in &write.index_updates {
        if let Some(old) =
            update.old.as_ref().filter(|old| update.new.as_ref() != Some(old)).filter(is_stored)
        {
            put(update.index, old, Stored::Gone);
        }
        if let Some(new) = update.new.as_ref().filter(is_stored) {
            put(update.index, new, Stored::Reference { primary: write.primary, key: &write.key });
        }
    }
}
