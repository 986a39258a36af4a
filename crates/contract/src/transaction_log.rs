//! The contract of the transaction log.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use tokio::sync::watch;

use crate::{
    CommitId, DeploymentRef, Epoch, GroupId, HoldId, IndexId, Interval, LeaderHint, Position, ReadSet,
    Result, Timestamp,
};

/// The order of commits, and the multi-version store that they make. Limits that are named here are those of the log
/// (`limits.log` in the configuration). Each method lists its errors by their codes; besides, any of them may fail with
/// `InternalServerError`, and between processes with what the transport has to say, after which an outcome is not known.
///
/// ```text
///   received → validated → proposed → durable → applied → published
///      │           │ ts        │ one Raft entry per batch     │ answered, streamed, readable
///      └ refused   └ in the window and the head overlay       └ on every replica
/// ```
#[async_trait]
pub trait TransactionLog: Send + Sync + 'static {
    /// Where this replica of `group` stands. The receiver sees every later change, though not each one.
    ///
    /// Errors: `GroupNotFound`.
    fn position(&self, group: GroupId) -> Result<watch::Receiver<Position>>;

    /// Validates and commits. The answer MUST NOT be [`CommitOutcome::Committed`] before everything that the
    /// transaction read and wrote is fsynced on a quorum and applied here.
    ///
    /// The same commit id sent again joins the pending commit or gets the recorded answer (for `commit_record_age_ms`); it
    /// MUST NOT commit twice. A commit without writes is validated just the same and writes nothing.
    ///
    /// Errors, each without any effect: `GroupNotFound`, `DeploymentNotFound`; `CommitterFullError` if too many commits wait
    /// (`commits_queued_max`, `commits_queued_bytes_max`, `staged_bytes_max`); `CommitTooLarge` if its writes alone are more
    /// than `staged_bytes_max`.
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome>;

    /// As [`TransactionLog::commit`]. Calls `validated` once, as soon as a read at [`TransactionLog::head`] sees what the commit
    /// wrote; a log that can't tell does so when it has the answer, as after a refusal or an error.
    async fn commit_and_tell(
        &self,
        commit: Commit,
        validated: &mut (dyn FnMut() + Send),
    ) -> Result<CommitOutcome> {
        let outcome = self.commit(commit).await;
        validated();
        outcome
    }

    /// The newest state, unpublished commits included. `None` unless this replica leads and is asked in its own process:
    /// then read what is published, or where a conflict says.
    fn head(&self, group: GroupId) -> Option<ReadAt> {
        let _ = group;
        None
    }

    /// The newest state, unpublished commits included, if everything in the read set is there as it was at `seen`. `None` if
    /// something has changed, or where nobody can tell, as with [`TransactionLog::head`].
    fn unchanged_until(&self, deployment: DeploymentRef, seen: ReadAt, read_set: &ReadSet) -> Option<ReadAt> {
        let _ = (deployment, seen, read_set);
        None
    }

    /// What became of a commit whose answer was [`CommitOutcome::Unknown`]. Only a ready leader answers.
    ///
    /// Errors: `GroupNotFound`, `DeploymentNotFound`.
    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup>;

    /// Reads at one moment; the results are in the order of `reads`.
    ///
    /// Waits up to `read_wait_ms_max` until this replica has published `at.timestamp`. With `at.epoch` the read is
    /// speculative: it sees what that epoch has validated and not yet published.
    ///
    /// Errors: `GroupNotFound`, `DeploymentNotFound`; `NotYet` if the moment is not published in time; `OutOfRetention` if it is
    /// older than what is kept (`retention_ms_min`); `EpochEnded` once the epoch of a speculative read is over.
    async fn read(&self, deployment: DeploymentRef, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>>;

    /// The position of the group's leader, once a quorum has confirmed that it still leads: every commit that was
    /// acknowledged before the call is in it.
    ///
    /// Errors: `GroupNotFound`; `NotLeader` if this replica does not lead, or no quorum says so.
    async fn confirm_leadership(&self, group: GroupId) -> Result<Position>;

    /// The commits of a deployment above `from`, in order, without gaps, forever; ends only by
    /// [`StreamEvent::Lagged`] or with the service. Every replica gives the same commits.
    ///
    /// The first event comes when a quorum has confirmed that this replica has everything that was published anywhere when it
    /// was asked for the stream: a replica that is cut off says nothing, however often it is asked.
    ///
    /// Errors: `GroupNotFound`, `DeploymentNotFound`.
    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents>;

    /// Writes the entries of a new index for documents that are older than it, some at a time. A step may be sent
    /// again. Writes that are newer than the index have put their own entries.
    ///
    /// Errors: `GroupNotFound`, `DeploymentNotFound`; `InvalidIndexField` if a field is not a path of fields; `NotLeader` if this
    /// replica does not lead, or has lost its lead meanwhile.
    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress>;

    /// Has every replica keep a moment readable that would soon be older than what is kept. The answer says for how long from
    /// when this was called (`hold_ms`): whoever asks again before that, several times, by the same id and for the same moment,
    /// can read it whoever leads meanwhile. It ends with [`TransactionLog::release`], and when the moment is older than
    /// `held_ms_max`.
    ///
    /// Errors, each without any effect on what others hold: `GroupNotFound`; `OutOfRetention` if the moment is older than what is
    /// kept, or than `held_ms_max`; `TooManyHolds` if `holds_max` others are held; `NotLeader` if this replica does not lead, or no
    /// quorum says so.
    async fn hold(&self, group: GroupId, hold: Hold) -> Result<Duration>;

    /// Lets go of what is held by this id, if anything is.
    ///
    /// Errors: `GroupNotFound`; `NotLeader` if this replica does not lead.
    async fn release(&self, group: GroupId, id: HoldId) -> Result<()>;
}

/// A stream of commits.
pub type StreamEvents = Pin<Box<dyn Stream<Item = StreamEvent> + Send>>;

/// A transaction that wants to be committed.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Whose data it changes.
    pub deployment: DeploymentRef,
    /// The epoch that shall decide; another one answers `NotLeader`, so that an undecided commit can't come to life
    /// later.
    pub epoch: Epoch,
    /// Names the request; the same in every attempt at it.
    pub id: CommitId,
    /// Which run of the request this is, from 1: runs may read and write different things and have different results, and
    /// only one of them commits.
    pub run: u32,
    /// The moment at which the transaction read.
    pub begin: ReadAt,
    /// What it read; all of it must still be so.
    pub read_set: Arc<ReadSet>,
    /// What it changes: each document once.
    pub writes: Vec<Write>,
}

/// One document, new, changed or gone, with its keys in every index of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The table's primary index, which holds the documents themselves.
    pub primary: IndexId,
    /// The document's key there; in [`IndexId::BY_COMMIT`] without the timestamp, unless it is deleted.
    pub key: Bytes,
    /// The document ([`crate::document`]); `None` deletes it.
    pub document: Option<Bytes>,
    /// The document's old and new key in each other index of the table, also where they are equal: whoever read a
    /// range must see a change of any field.
    pub index_updates: Vec<IndexUpdate>,
}

/// `old` is `None` for a document that was not there, `new` for one that is deleted. Keys that are announced only
/// ([`crate::is_announced_only`]) are not stored: no read finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexUpdate {
    /// The index.
    pub index: IndexId,
    /// Where the document was.
    pub old: Option<Bytes>,
    /// Where it is now.
    pub new: Option<Bytes>,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Durable and published. Without writes: nothing that was read had changed, and `timestamp` is a published moment
    /// at which that was so.
    Committed {
        /// The commit.
        timestamp: Timestamp,
    },
    /// Another run of the same request has committed, then. What this one wanted to write has no effect, and what it computed
    /// is not the request's result.
    OtherRunCommitted {
        /// That commit.
        timestamp: Timestamp,
    },
    /// Something that was read has changed since. Run again, best at `Conflict::run_again_at`.
    Conflict(Conflict),
    /// This replica does not lead the epoch named in the commit. It had no effect. Who does lead, if this replica knows.
    NotLeader(Option<Arc<LeaderHint>>),
    /// It was validated and will never commit: its epoch ended before it was appended. It had no effect.
    NotCommitted,
    /// Leadership was lost while it was on its way: [`TransactionLog::lookup`] tells, once there is a leader.
    Unknown,
}

/// Why a commit was refused, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The index and key of one write that was in the way; `None` where the begin timestamp was too old to tell.
    pub write: Option<(IndexId, Bytes)>,
    /// The newest state, unpublished commits included, at which the next run has the best chance.
    pub run_again_at: ReadAt,
}

/// What is known of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It has committed.
    Committed {
        /// The commit.
        timestamp: Timestamp,
        /// Which run of the request it was.
        run: u32,
    },
    /// Appended and undecided: ask again.
    Pending,
    /// Not there: it can only still commit in the epoch that its commit names, and not at all if that is over.
    Absent {
        /// The epoch that answers.
        epoch: Epoch,
    },
    /// This replica does not lead, or does not know everything older yet. Who does lead, if it knows.
    NotLeader(Option<Arc<LeaderHint>>),
}

/// A moment to read at. With an epoch it may lie above what is published, and can be read only at that epoch's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadAt {
    /// The moment.
    pub timestamp: Timestamp,
    /// The epoch that must still be, if the moment may lie above what is published.
    pub epoch: Option<Epoch>,
}

impl ReadAt {
    /// A moment that is published.
    pub fn published(timestamp: Timestamp) -> ReadAt {
        ReadAt { timestamp, epoch: None }
    }
}

/// The order of index keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// A question to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The document at exactly this key.
    Point {
        /// A primary index.
        index: IndexId,
        /// The document's key there.
        key: Bytes,
    },
    /// The documents in the interval, in the order of their keys. It stops after `rows_max` rows, once their documents have
    /// `bytes_max` bytes, or at the log's own limits (`read_page_documents_max`, `read_page_bytes_max`), whichever is
    /// first, but not before one row.
    Range {
        /// Any index of a table.
        index: IndexId,
        /// Which of its keys.
        interval: Interval,
        /// From which end.
        order: Order,
        /// At most so many rows.
        rows_max: usize,
        /// At most so many bytes of documents, but for the first row.
        bytes_max: usize,
    },
}

/// The answer to a [`Read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// The document, if there is one.
    Point(Option<Version>),
    /// `more`: it stopped at a limit before the end of the interval; what follows begins behind the last row's key.
    Range {
        /// In the order that was asked for.
        rows: Vec<Row>,
        /// Whether it stopped before the end.
        more: bool,
    },
}

/// One document of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key in the index that was read.
    pub key: Bytes,
    /// The document.
    pub version: Version,
}

/// A document as one commit left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The commit that wrote it.
    pub timestamp: Timestamp,
    /// See [`crate::document`].
    pub document: Bytes,
}

/// What a subscriber is sent.
#[derive(Clone, Debug)]
pub enum StreamEvent {
    /// The next commit.
    Commit(Arc<CommitNotice>),
    /// Every commit of the deployment up to `published` was sent before this. Sent when nothing is left of what came before
    /// the subscription; within `stream_quiet_ms` where another deployment of the group has moved it; and every
    /// `stream_heartbeat_ms` as long as a quorum follows the leader behind this replica. A replica that is cut off falls
    /// silent, so a subscriber that hears nothing for longer can't tell what it misses, and must go to another one.
    Heartbeat {
        /// The newest epoch that this replica knows of.
        epoch: Epoch,
        /// The newest moment that is published here.
        published: Timestamp,
    },
    /// The subscriber was too slow, or `from` is older than what is kept; the stream ends. Whatever was derived from it
    /// must be dropped; subscribe anew from what is published.
    Lagged {
        /// What was sent is complete up to here.
        from: Timestamp,
    },
}

/// A published commit, as those see it who keep something that was derived from reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitNotice {
    /// The commit.
    pub timestamp: Timestamp,
    /// Each key that was written, old and new ones, in every index.
    pub keys: Vec<TouchedKey>,
}

/// A key that a commit wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedKey {
    /// The index that it is in.
    pub index: IndexId,
    /// As it lies there.
    pub key: Bytes,
}

/// Fills a new index for the documents at up to `backfill_keys_max` keys of the primary index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillStep {
    /// Whose index it is.
    pub deployment: DeploymentRef,
    /// The index that holds the documents.
    pub primary: IndexId,
    /// The new index.
    pub index: IndexId,
    /// The indexed fields as dotted paths, `_creationTime` and `_id` included: each entry's key is made of exactly them.
    pub fields: Vec<String>,
    /// Where to go on in the primary index; `None` starts.
    pub from: Option<Bytes>,
}

/// A moment that is to stay readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who wants it.
    pub id: HoldId,
    /// The moment.
    pub at: Timestamp,
}

/// How far a new index is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillProgress {
    /// Documents whose entries this step has written.
    pub documents: u64,
    /// Where the next step goes on; `None` when the index is complete.
    pub next: Option<Bytes>,
}
