//! The transaction log as others see it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, Epoch,
    Error, ErrorKind, GroupId, Hold, HoldId, LeaderHint, Lookup, NodeId, Position, Read, ReadAt, ReadResult,
    ReadSet, Result, Retry, StreamEvents, Timestamp, TransactionLog, code, document,
};
use counters::Stopwatch;
use openraft::{async_runtime::WatchReceiver, raft::ReadPolicy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::{
    apply::{ApplyError, Family, Store},
    backfill,
    batcher::ProposalError,
    clock::passed,
    commit_queue::{Received, Request},
    entry::{Backfill, CommitWrites, LogEntry, Staged, encode_writes, touched_keys},
    fatal::FatalHandler,
    group::Group,
    holds::NotHeld,
    keys,
    leader::is_heard,
    limits::StoreLimits,
    members::{GroupStatus, Metrics},
    metrics::{MetricsSnapshot, RaftSnapshot},
    network::Peers,
    options::Deployment,
    planted,
    proposer::{GroupRaft, propose},
    raft_log::LogGauges,
    raft_types::EntryOutcome,
    reads::{Above, RangeLimits, Reader},
    runtime,
    undecided::Committed,
};

/// Calls the log in this process; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    groups: HashMap<GroupId, Arc<HandleGroup>>,
    deployments: Vec<Deployment>,
    log: LogGauges,
    token: CancellationToken,
}

/// What can be measured of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measures {
    /// Validated, not yet applied; bounded by `commits_queued_max`.
    pub commits_undecided: usize,
    /// Memory that they take; bounded by `commits_queued_bytes_max`.
    pub commits_undecided_bytes: usize,
    /// Of these, not yet handed to Raft.
    pub commits_waiting: usize,
    /// Parts of large commits that are in the store and not committed.
    pub parts_staged: usize,
    /// Batches that did not follow the one before, so that all replicas have passed over them.
    pub batches_skipped: u64,
    /// Bounded by `window_bytes_max`.
    pub window_bytes: usize,
    /// Changes to the node's store since it was flushed.
    pub unflushed_bytes: u64,
    /// Bytes of the files of the node's store.
    pub store_bytes: u64,
    /// What is older can't be read.
    pub horizon: Timestamp,
    /// Up to here what was deleted is removed from the store; follows the horizon.
    pub swept: Timestamp,
    /// How often the node's log was made durable.
    pub fsyncs: u64,
    /// How often subscribers to the stream of commits were woken.
    pub stream_wake_ups: u64,
    /// The first entry of the group's log that is still there: what is older is in the store and flushed.
    pub entries_purged_before: u64,
}

/// A group, and what its callers share beyond it.
pub struct HandleGroup {
    pub(crate) group: Arc<Group>,
    pub(crate) raft: GroupRaft,
    pub(crate) node: NodeId,
    pub(crate) peers: Arc<Peers>,
    pub(crate) limits: StoreLimits,
    /// Numbers the large commits of this process; with the term no two are the same.
    stages: AtomicU64,
    /// Bytes that may be staged at once.
    stage_room: Arc<Semaphore>,
    /// Large commits under way: they go on when their callers have gone, so that they leave nothing behind.
    large: TaskTracker,
    fatal: FatalHandler,
}

/// The semaphore of staged bytes counts in these.
const STAGE_UNIT_BYTES: usize = 1 << 10;

impl HandleGroup {
    /// Whoever makes it waits for the tasks of `large`.
    pub fn new(
        (group, raft): (Arc<Group>, GroupRaft),
        (node, peers): (NodeId, Arc<Peers>),
        limits: StoreLimits,
        large: TaskTracker,
        fatal: FatalHandler,
    ) -> HandleGroup {
        let stage_room = Arc::new(Semaphore::new(stage_units(&group)));
        let stages = AtomicU64::new(0);
        HandleGroup { group, raft, node, peers, limits, stages, stage_room, large, fatal }
    }

    /// Whether large commits are under way.
    pub(crate) fn stages_parts(&self) -> bool {
        self.stage_room.available_permits() < stage_units(&self.group)
    }
}

fn stage_units(group: &Group) -> usize {
    group.limits.staged_bytes_max / STAGE_UNIT_BYTES
}

impl Handle {
    pub(crate) fn new(
        groups: HashMap<GroupId, Arc<HandleGroup>>,
        deployments: Vec<Deployment>,
        log: LogGauges,
        token: CancellationToken,
    ) -> Handle {
        Handle { shared: Arc::new(Shared { groups, deployments, log, token }) }
    }

    /// The deployments that this node serves.
    pub fn deployments(&self) -> &[Deployment] {
        &self.shared.deployments
    }

    /// Where the deployment of this name lives.
    pub fn deployment(&self, name: &str) -> Option<DeploymentRef> {
        self.shared
            .deployments
            .iter()
            .find(|deployment| deployment.name == name)
            .map(|deployment| deployment.at)
    }

    /// From now on these deployments are there and no others, those of the options aside. Those of groups that are not on this
    /// node are left out.
    pub fn serve(&self, deployments: impl IntoIterator<Item = DeploymentRef>) {
        let mut by_group: HashMap<GroupId, HashSet<DeploymentId>> = HashMap::new();
        for at in self.shared.deployments.iter().map(|deployment| deployment.at).chain(deployments) {
            by_group.entry(at.group).or_default().insert(at.deployment);
        }
        for (id, of) in &self.shared.groups {
            of.group.deployments.send_replace(by_group.remove(id).unwrap_or_default());
        }
    }

    /// How near each of the group's limits is.
    pub fn measures(&self, group: GroupId) -> Result<Measures> {
        let of = self.group(group)?;
        let group = &of.group;
        let parts_staged = group.parts_staged().map_err(|error| of.store_failed(error))?;
        let store_bytes = group.store.file_bytes().map_err(|error| of.store_failed(error))?;
        let queue = group.queue.read();
        Ok(Measures {
            commits_undecided: queue.undecided().commits,
            commits_undecided_bytes: queue.undecided().bytes,
            commits_waiting: queue.waiting(),
            parts_staged,
            batches_skipped: group.batches_skipped(),
            window_bytes: queue.window_bytes(),
            unflushed_bytes: group.store.unflushed_bytes(),
            store_bytes,
            horizon: group.horizon(),
            swept: group.swept(),
            fsyncs: self.shared.log.fsyncs(),
            stream_wake_ups: group.buffer.wake_ups(),
            entries_purged_before: of.purged_before(),
        })
    }

    /// What the node's log and store do and take.
    pub fn metrics(&self) -> MetricsSnapshot {
        let log = &self.shared.log;
        let mut sum = MetricsSnapshot {
            syncs: log.syncs(),
            entry_bytes: log.entry_bytes() as u64,
            log_write_buffer_bytes: log.write_buffer_bytes(),
            ..MetricsSnapshot::default()
        };
        for of in self.shared.groups.values() {
            of.group.add_to(&mut sum);
        }
        sum
    }

    /// The Raft of each group, by their numbers.
    pub fn raft_metrics(&self) -> Vec<RaftSnapshot> {
        let groups = self.shared.groups.values();
        let mut all: Vec<_> = groups.map(|of| RaftSnapshot::of(of)).collect();
        all.sort_unstable_by_key(|raft| raft.group);
        all
    }

    /// Which groups take no requests here now: nobody is known to lead them, or was heard of lately by this replica, or, if it leads
    /// itself, by a quorum.
    pub fn without_leader(&self) -> Vec<GroupId> {
        let is_without = |of: &&Arc<HandleGroup>| of.leader(&of.metrics()).is_none();
        let mut groups: Vec<_> =
            self.shared.groups.values().filter(is_without).map(|of| of.group.id).collect();
        groups.sort_unstable();
        groups
    }

    /// The groups that this node has replicas of.
    pub fn groups(&self) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.shared.groups.keys().copied().collect();
        groups.sort_unstable();
        groups
    }

    /// For how long a write of the log has been on its way to the disk, if one is.
    pub fn stalled(&self) -> Duration {
        self.shared.log.stalled()
    }

    /// How much of its limits is used: of those of a group, in the group where most is.
    pub fn limits_used(&self) -> Vec<limits::Use> {
        let mut used: Vec<limits::Use> = Vec::new();
        for of in self.shared.groups.values() {
            for (at, of_group) in of.limits_used().into_iter().enumerate() {
                match used.get_mut(at) {
                    Some(most) if most.used >= of_group.used => {}
                    Some(most) => *most = of_group,
                    None => used.push(of_group),
                }
            }
        }
        used
    }

    /// How a group stands, as this node sees it.
    pub fn status(&self, group: GroupId) -> Result<GroupStatus> {
        Ok(self.group(group)?.status())
    }

    /// Adds a node to a group, by its leader: as a learner, then, once it has caught up, as a voter, in the same step instead of
    /// another one if that is said. `address` is `host:port`; an empty `zone` is the one that the node says. What was begun goes on
    /// if it is asked for again. Of a node that has moved with its disk the group learns so where it is now.
    pub async fn add_node(
        &self,
        group: GroupId,
        node: NodeId,
        place: (&str, &str),
        instead_of: Option<NodeId>,
    ) -> Result<()> {
        self.group(group)?.add_node(node, place, instead_of).await
    }

    /// Removes a node from a group, by its leader; if it is the leader itself, it hands over and answers `NotLeader`. The node
    /// does not learn of it and is to be stopped; its id is never to be used again. Whether it was there.
    pub async fn remove_node(&self, group: GroupId, node: NodeId) -> Result<bool> {
        self.group(group)?.remove_node(node).await
    }

    /// Has the leader hand over to a voter, or to the one that has most of the log. Who leads then.
    pub async fn transfer_leader(&self, group: GroupId, to: Option<NodeId>) -> Result<NodeId> {
        self.group(group)?.transfer_leader(to).await
    }

    /// Whether this node has everything of a group that was published anywhere when it was asked, as a quorum confirms.
    pub async fn is_current(&self, group: GroupId) -> Result<bool> {
        Ok(self.group(group)?.is_current().await)
    }

    /// Waits until every group knows a leader and has come to where that one was.
    pub async fn ready(&self) {
        for group in self.shared.groups.values() {
            group.ready().await;
        }
    }

    fn group(&self, group: GroupId) -> Result<&Arc<HandleGroup>> {
        self.shared.groups.get(&group).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "GroupNotFound", format!("group {} is not on this node", group.0))
        })
    }

    fn of(&self, at: DeploymentRef) -> Result<&Arc<HandleGroup>> {
        let group = self.group(at.group)?;
        if !group.group.deployments.borrow().contains(&at.deployment) {
            let message = format!("deployment {} is not in group {}", at.deployment.0, at.group.0);
            return Err(Error::new(ErrorKind::NotFound, code::DEPLOYMENT_NOT_FOUND, message));
        }
        Ok(group)
    }

    /// The same. A deployment that is not known here is waited for, since another node, which asks for it, may have heard
    /// first that it was created.
    async fn awaited(&self, at: DeploymentRef) -> Result<&Arc<HandleGroup>> {
        if let Ok(group) = self.of(at) {
            return Ok(group);
        }
        let group = &self.group(at.group)?.group;
        let mut deployments = group.deployments.subscribe();
        // Half of it: whoever asks from elsewhere waits as long, and is to hear the answer.
        let wait = Duration::from_millis(group.limits.read_wait_ms_max / 2);
        let heard = deployments.wait_for(|deployments| deployments.contains(&at.deployment));
        let _ = runtime::timeout(wait, heard).await;
        self.of(at)
    }
}

fn not_leader(leader: Option<&LeaderHint>) -> Error {
    let leader = match leader {
        Some(leader) => format!("node {} at {} does", leader.node, leader.address),
        None => "nobody is known to".to_owned(),
    };
    let message = format!("this replica does not lead the group; {leader}");
    Error::new(ErrorKind::Overloaded, "NotLeader", message)
}

fn out_of_retention(at: Timestamp) -> Error {
    Error::new(ErrorKind::OutOfRetention, "OutOfRetention", format!("{at} is older than what is kept"))
}

fn epoch_ended() -> Error {
    Error {
        retry: Retry::Now,
        ..Error::new(ErrorKind::Conflict, code::EPOCH_ENDED, "the epoch of a speculative read is over")
    }
}

impl HandleGroup {
    /// A failure of the store that was read. If it is damaged this replica can't be trusted any more, whoever asked.
    fn store_failed(&self, error: ApplyError) -> Error {
        if error.is_damage() {
            self.fatal.end(&format!("the state of group {} is damaged: {error}", self.group.id.0));
        }
        Error::internal(error.to_string())
    }

    fn limits_used(&self) -> [limits::Use; 6] {
        let limits = &self.group.limits;
        let (undecided, window_bytes, (held, _)) = {
            let queue = self.group.queue.read();
            (queue.undecided(), queue.window_bytes(), queue.held(passed()))
        };
        let staged_bytes_max = limits.staged_bytes_max / STAGE_UNIT_BYTES * STAGE_UNIT_BYTES;
        let staged_bytes = staged_bytes_max - self.stage_room.available_permits() * STAGE_UNIT_BYTES;
        [
            limits::Use::of("log.commits_queued_max", undecided.commits, limits.commits_queued_max),
            limits::Use::of("log.commits_queued_bytes_max", undecided.bytes, limits.commits_queued_bytes_max),
            limits::Use::of("log.staged_bytes_max", staged_bytes, staged_bytes_max),
            limits::Use::of("log.holds_max", held, limits.holds_max),
            limits::Use::of_cache("log.window_bytes_max", window_bytes, limits.window_bytes_max),
            limits::Use::of_cache(
                "log.stream_buffer_bytes_max",
                self.group.buffer.bytes(),
                limits.stream_buffer_bytes_max,
            ),
        ]
    }

    /// Commits, counts what becomes of it, and traces it if its caller is traced.
    async fn counted(
        self: &Arc<Self>,
        commit: Commit,
        validated: &mut (dyn FnMut() + Send),
    ) -> Result<CommitOutcome> {
        let stopwatch = Stopwatch::start();
        let span = match telemetry::is_traced() {
            true => tracing::debug_span!("commit", deployment = %commit.deployment),
            false => tracing::Span::none(),
        };
        let result = self.commit(commit, validated).instrument(span.clone()).await;
        self.group.counts.answered(&result, stopwatch.took());
        if let Ok(CommitOutcome::Committed { timestamp }) = &result
            && !span.is_none()
            && let Some((began, took)) = self.group.counts.sync_of(*timestamp)
        {
            span.in_scope(|| telemetry::record("sync", began, took));
        }
        result
    }

    fn purged_before(&self) -> u64 {
        self.raft.metrics().borrow_watched().purged.map_or(0, |purged| purged.index + 1)
    }

    /// The store's record of a commit.
    fn recorded(&self, deployment: DeploymentId, id: CommitId) -> Result<Option<Committed>> {
        let key = keys::record(self.group.incarnation(), deployment, id);
        let value = self.group.store.get(Family::Records, &key).map_err(|error| self.store_failed(error))?;
        let Some(value) = value else { return Ok(None) };
        let committed = keys::decode_record(&value).map_err(|error| self.store_failed(error.into()))?;
        Ok((committed.timestamp >= self.group.records_floor()).then_some(committed))
    }

    /// Waits until this replica has published `timestamp`.
    async fn published(&self, timestamp: Timestamp) -> Result<()> {
        if self.group.published() >= timestamp {
            return Ok(());
        }
        let mut position = self.group.position();
        let wait = Duration::from_millis(self.group.limits.read_wait_ms_max);
        let reached = position.wait_for(|position| position.published >= timestamp);
        match runtime::timeout(wait, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::overloaded("NotYet", format!("this replica has not come to {timestamp} yet"))),
        }
    }

    /// Calls `validated` where that is before the answer.
    async fn commit(
        self: &Arc<Self>,
        commit: Commit,
        validated: &mut (dyn FnMut() + Send),
    ) -> Result<CommitOutcome> {
        let limits = &self.group.limits;
        let (all, own) = {
            let queue = self.group.queue.read();
            (queue.undecided(), queue.undecided_of(commit.deployment.deployment))
        };
        // Who is alone in its group may have all of it.
        let shares = self.group.deployments.borrow().len() > 1;
        if limits.is_full(all) || (shares && limits.is_share_full(own)) {
            return Err(Error::overloaded("CommitterFullError", "too many commits wait for the log"));
        }
        let encoded = if commit.writes.is_empty() { Bytes::new() } else { encode_writes(&commit.writes) };
        let waits_for_timestamp = commit.writes.iter().any(document::is_unstamped);
        if waits_for_timestamp {
            // One that can't be stamped is refused before anything depends on it.
            commit.writes.iter().try_for_each(|write| document::stamp(write, Timestamp::MAX).map(drop))?;
            if encoded.len() > limits.single_entry_bytes_max {
                return Err(Error::bad_request(
                    "CommitTimestampInLargeCommit",
                    format!(
                        "A mutation that stores `commitTs` can write at most {} bytes, and this one writes {}.",
                        limits.single_entry_bytes_max,
                        encoded.len()
                    ),
                ));
            }
        }
        let request = Request {
            deployment: commit.deployment.deployment,
            epoch: commit.epoch,
            id: commit.id,
            run: commit.run,
            begin: commit.begin,
            keys: touched_keys(&commit.writes),
            read_set: commit.read_set,
            writes: commit.writes.into(),
            encoded: CommitWrites::Inlined(encoded.clone()),
            waits_for_timestamp,
            // The documents, and the same again encoded.
            bytes: encoded.len().saturating_mul(2),
        };
        if encoded.len() > limits.single_entry_bytes_max {
            let group = self.clone();
            let committing = async move { group.commit_large(request, encoded).await };
            let committed = runtime::spawn(self.large.track_future(committing));
            // Without an answer the service has ended, and the commit may have got through.
            return committed.await.unwrap_or(Ok(CommitOutcome::Unknown));
        }
        self.commit_request(request, validated).await
    }

    async fn commit_request(
        &self,
        mut request: Request,
        validated: &mut (dyn FnMut() + Send),
    ) -> Result<CommitOutcome> {
        let stopwatch = Stopwatch::start();
        loop {
            let no_record_at = self.group.published();
            if let Some(committed) = self.recorded(request.deployment, request.id)? {
                self.published(committed.timestamp).await?;
                return Ok(committed.outcome_for(request.run));
            }
            let checked = self.group.queue.read().check(&request, no_record_at);
            let checked = match checked {
                Ok(checked) => checked,
                Err(outcome) => return self.refused(&request, outcome),
            };
            let (waiter, outcome) = oneshot::channel();
            let (received, published, head) = {
                let mut queue = self.group.queue.write();
                let received = queue.receive(&mut request, checked, waiter, self.group.now());
                if matches!(received, Received::OnItsWay) {
                    self.group.counts.waits();
                }
                (received, queue.published(), queue.head())
            };
            match received {
                Received::OnItsWay => {
                    validated();
                    let took = stopwatch.took();
                    self.group.counts.validate.record(took);
                    if let Some(began) = telemetry::began(took) {
                        telemetry::record("validate", began, took);
                    }
                    self.group.work.notify_one();
                    if planted::is(planted::Bug::AnsweredBeforePublished) {
                        return Ok(CommitOutcome::Committed { timestamp: head });
                    }
                    // Without an answer the service has ended, and the commit may have got through.
                    return Ok(outcome.await.unwrap_or(CommitOutcome::Unknown));
                }
                Received::Answered(_, outcome) => return Ok(outcome),
                Received::Unchanged { checked, .. } => {
                    let timestamp = published.max(request.begin.timestamp);
                    assert!(timestamp <= checked, "nothing was read that is not checked");
                    return self.unchanged(&request, timestamp).await;
                }
                Received::AskStoreAgain(_) => {}
            }
        }
    }

    /// What is told of a commit that was refused. The same message may have come twice and have been committed since the
    /// record was asked for, so long ago that only the store knows: then it is no refusal.
    fn refused(&self, request: &Request, outcome: CommitOutcome) -> Result<CommitOutcome> {
        let recorded = self.recorded(request.deployment, request.id)?;
        Ok(recorded.map_or(outcome, |committed| committed.outcome_for(request.run)))
    }

    /// Ends a commit without writes: nothing that it read had changed at `timestamp`.
    async fn unchanged(&self, request: &Request, timestamp: Timestamp) -> Result<CommitOutcome> {
        let mut position = self.group.position();
        let reached = position
            .wait_for(|position| position.epoch != request.epoch || position.published >= timestamp)
            .await
            .is_ok();
        if !reached {
            return Ok(CommitOutcome::NotCommitted);
        }
        let confirmed = self.confirm_leadership().await;
        // Had the epoch ended in between, another leader could have changed what was read.
        let stands = self.group.queue.read().epoch() == request.epoch
            || planted::is(planted::Bug::UnchangedIgnoresEpoch);
        match confirmed {
            Ok(_) if stands => Ok(CommitOutcome::Committed { timestamp }),
            _ => Ok(CommitOutcome::NotCommitted),
        }
    }

    async fn commit_large(&self, mut request: Request, encoded: Bytes) -> Result<CommitOutcome> {
        let permit = self.room_to_stage(encoded.len()).await?;
        // Most of what would be refused is refused before anything is staged.
        if self.recorded(request.deployment, request.id)?.is_none() {
            let checked = self.group.queue.read().check(&request, self.group.published());
            if let Err(outcome) = checked {
                return self.refused(&request, outcome);
            }
        }
        let term = request.epoch.term;
        let stage = self.stages.fetch_add(1, Ordering::Relaxed);
        let crc32c = crc32c::crc32c(&encoded);
        let bytes = encoded.len() as u64;
        let mut rest = encoded;
        let mut parts = 0;
        // One part after the other, so that everybody else's batches get in between.
        while !rest.is_empty() {
            let content = rest.split_to(rest.len().min(self.group.limits.staged_entry_bytes_max));
            let entry = LogEntry::StagePart { term, stage, part: parts, content };
            if self.propose(term, entry).await.is_err() {
                self.drop_stage(term, stage).await;
                // Not by this message; but where it came twice, the other may be on its way.
                return Ok(CommitOutcome::Unknown);
            }
            parts += 1;
        }
        request.encoded = CommitWrites::Staged(Staged { stage, parts, bytes, crc32c });
        let outcome = self.commit_request(request, &mut || ()).await;
        // Also where it is committed: it may have been by an attempt before, whose parts were others. To drop what the
        // commit has used is nothing.
        if !matches!(outcome, Ok(CommitOutcome::Unknown)) {
            self.drop_stage(term, stage).await;
        }
        drop(permit);
        outcome
    }

    /// Drops the parts of a commit that will not be. The next term drops what is left of this one.
    async fn drop_stage(&self, term: u64, stage: u64) {
        if self.propose(term, LogEntry::DropStage { term, stage }).await.is_err() {
            self.group.give_up_stage(term, stage);
        }
    }

    async fn room_to_stage(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(STAGE_UNIT_BYTES)).unwrap_or(u32::MAX);
        if bytes > self.group.limits.staged_bytes_max {
            return Err(Error::bad_request(
                "CommitTooLarge",
                format!("a commit's writes have {bytes} bytes"),
            ));
        }
        let permit = self.stage_room.clone().try_acquire_many_owned(units);
        permit.map_err(|_| Error::overloaded("CommitterFullError", "too many large commits wait for the log"))
    }

    async fn propose(&self, term: u64, entry: LogEntry) -> Result<EntryOutcome, ProposalError> {
        propose(&self.group, &self.raft, term, entry).await?.await
    }

    async fn lookup(&self, deployment: DeploymentId, id: CommitId) -> Result<Lookup> {
        let known = self.group.queue.read().lookup(deployment, id, None);
        if !matches!(known, Lookup::Absent { .. }) {
            return Ok(known);
        }
        // What the leader has forgotten is in the store.
        let recorded = self.recorded(deployment, id)?;
        Ok(recorded.map_or(known, Committed::lookup))
    }

    async fn read(&self, deployment: DeploymentId, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        let overlays = match at.epoch {
            None => {
                self.published(at.timestamp).await?;
                reads.iter().map(|_| Above::default()).collect()
            }
            // First what is above the store, then the store: what is published in between is seen in one of them.
            Some(epoch) => self.above(deployment, at.timestamp, epoch, reads)?,
        };
        self.in_retention(at.timestamp)?;
        let incarnation = self.group.incarnation();
        let reader = Reader::new(&*self.group.store, incarnation, deployment, at.timestamp);
        let limits = RangeLimits {
            rows_max: self.group.limits.read_page_documents_max,
            bytes_max: self.group.limits.read_page_bytes_max,
        };
        let results = reads
            .iter()
            .zip(overlays)
            .map(|(read, above)| reader.read(read, above, limits).map_err(|error| self.store_failed(error)))
            .collect();
        // Compaction goes by the horizon: if it has not passed by now, nothing was missing.
        self.in_retention(at.timestamp)?;
        if self.group.incarnation() != incarnation {
            // Rows may have gone while they were read.
            return Err(Error::overloaded("NotYet", "this replica's data have just been replaced"));
        }
        results
    }

    fn above(
        &self,
        deployment: DeploymentId,
        at: Timestamp,
        epoch: Epoch,
        reads: &[Read],
    ) -> Result<Vec<Above>> {
        let queue = self.group.queue.read();
        let overlay = queue.overlay(epoch).filter(|_| at <= queue.head()).ok_or_else(epoch_ended)?;
        Ok(reads.iter().map(|read| Above::of(overlay, deployment, at, read)).collect())
    }

    fn in_retention(&self, at: Timestamp) -> Result<()> {
        if at < self.group.horizon() && !planted::is(planted::Bug::ReadIgnoresHorizon) {
            return Err(out_of_retention(at));
        }
        Ok(())
    }

    async fn hold(&self, hold: Hold) -> Result<Duration> {
        let (epoch, held) = {
            let mut queue = self.group.queue.write();
            (queue.epoch(), queue.hold(hold, self.group.horizon(), passed()))
        };
        // Whoever comes to lead after this waits for what is held to be renewed. One that leads already would not, and may know
        // better what can't be read.
        if !planted::is(planted::Bug::HoldIsNotConfirmed) {
            self.confirm_leadership().await?;
        }
        let queue = self.group.queue.read();
        match held {
            _ if queue.epoch() != epoch => Err(self.not_leader()),
            Ok(()) if queue.holds(hold.id, passed()) => Ok(Duration::from_millis(self.group.limits.hold_ms)),
            // To confirm it took longer than it is held.
            Ok(()) | Err(NotHeld::NotLeader) => Err(self.not_leader()),
            Err(NotHeld::TooOld) => Err(out_of_retention(hold.at)),
            Err(NotHeld::TooMany) => Err(Error::overloaded("TooManyHolds", "too many moments are held")),
        }
    }

    fn release(&self, id: HoldId) -> Result<()> {
        match self.group.queue.write().release(id) {
            true => Ok(()),
            false => Err(self.not_leader()),
        }
    }

    async fn confirm_leadership(&self) -> Result<Position> {
        let confirmed = self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
        confirmed.map_err(|_| self.not_leader())?;
        Ok(self.group.position().borrow().clone())
    }

    /// Who leads, if that one was heard of lately.
    pub(crate) fn leader(&self, metrics: &Metrics) -> Option<Arc<LeaderHint>> {
        let leader = self.group.position().borrow().leader.clone();
        leader.filter(|_| is_heard(&self.group.leader_heard, metrics, &self.limits))
    }

    pub(crate) fn not_leader(&self) -> Error {
        let leader = self.leader(&self.metrics());
        // It would not say so if a quorum had let it.
        not_leader(leader.as_deref().filter(|leader| leader.node != self.node))
    }

    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        let epoch = {
            let queue = self.group.queue.read();
            queue.is_ready().then(|| queue.epoch()).ok_or_else(|| not_leader(queue.leader().as_deref()))?
        };
        for field in &step.fields {
            if let Err(error) = field.parse::<value::FieldPath>() {
                return Err(Error::bad_request("InvalidIndexField", error.to_string()));
            }
        }
        let place = (self.group.incarnation(), step.deployment.deployment, step.primary);
        let keys_max = self.group.limits.backfill_keys_max;
        let to = backfill::end_of_step(&*self.group.store, place, step.from.as_deref(), keys_max)
            .map_err(|error| self.store_failed(error))?;
        let entry = LogEntry::Backfill(Backfill {
            deployment: step.deployment.deployment,
            primary: step.primary,
            index: step.index,
            fields: step.fields,
            from: step.from,
            to,
        });
        match self.propose(epoch.term, entry).await {
            Ok(EntryOutcome::Backfilled { documents, next }) => {
                Ok(BackfillProgress { documents, next: next.map(Bytes::from) })
            }
            Ok(outcome) => Err(Error::internal(format!("a backfill was answered with {outcome:?}"))),
            // A step may be sent again, whatever became of it.
            Err(ProposalError::Refused | ProposalError::Unknown) => Err(self.not_leader()),
        }
    }
}

#[async_trait]
impl TransactionLog for Handle {
    fn position(&self, group: GroupId) -> Result<watch::Receiver<Position>> {
        Ok(self.group(group)?.group.position())
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome> {
        let group = self.awaited(commit.deployment).await?.clone();
        group.counted(commit, &mut || ()).await
    }

    async fn commit_and_tell(
        &self,
        commit: Commit,
        validated: &mut (dyn FnMut() + Send),
    ) -> Result<CommitOutcome> {
        let mut told = false;
        let mut tell_once = || {
            if !std::mem::replace(&mut told, true) {
                validated();
            }
        };
        let outcome = match self.awaited(commit.deployment).await {
            Ok(group) => group.clone().counted(commit, &mut tell_once).await,
            Err(error) => Err(error),
        };
        tell_once();
        outcome
    }

    fn head(&self, group: GroupId) -> Option<ReadAt> {
        self.group(group).ok()?.group.queue.read().newest()
    }

    fn unchanged_until(&self, deployment: DeploymentRef, seen: ReadAt, read_set: &ReadSet) -> Option<ReadAt> {
        self.of(deployment).ok()?.group.queue.read().unchanged_until(deployment.deployment, seen, read_set)
    }

    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup> {
        self.awaited(at).await?.lookup(at.deployment, id).await
    }

    async fn read(&self, deployment: DeploymentRef, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        self.awaited(deployment).await?.read(deployment.deployment, at, reads).await
    }

    async fn confirm_leadership(&self, group: GroupId) -> Result<Position> {
        self.group(group)?.confirm_leadership().await
    }

    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        let group = &self.awaited(deployment).await?.group;
        let token = self.shared.token.clone();
        Ok(group.buffer.subscribe(deployment.deployment, from, group.position(), token))
    }

    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        self.awaited(step.deployment).await?.backfill(step).await
    }

    async fn hold(&self, group: GroupId, hold: Hold) -> Result<Duration> {
        self.group(group)?.hold(hold).await
    }

    async fn release(&self, group: GroupId, id: HoldId) -> Result<()> {
        self.group(group)?.release(id)
    }
}

#[cfg(test)]
mod tests {
    use openraft::raft::AppendEntriesRequest;

    use super::*;
    use crate::{
        Options, Service,
        planted::{Bug, plant},
        raft_types::Vote,
    };

    /// What a commit without writes is told whose epoch ends after it was validated, though the same replica leads again
    /// when it asks a quorum.
    fn outcome_of_one_that_outlives_its_epoch() -> CommitOutcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let options = Options::embedded(folder.path());
            let at = options.deployments[0].at;
            let token = CancellationToken::new();
            let service = Service::start(options, token.clone()).await.expect("it starts");
            let raft = service.raft();
            let of = service.handle().of(at).expect("it is here").clone();
            let mut position = of.group.position();
            let Position { epoch, published, .. } = position.borrow_and_update().clone();
            let request = Request {
                deployment: at.deployment,
                epoch,
                id: CommitId([1; 16]),
                run: 1,
                begin: ReadAt::published(published),
                keys: Vec::new(),
                read_set: Arc::default(),
                writes: Arc::default(),
                waits_for_timestamp: false,
                encoded: CommitWrites::default(),
                bytes: 0,
            };
            let other = AppendEntriesRequest {
                vote: Vote::new_committed(epoch.term + 1, 9),
                prev_log_id: None,
                entries: Vec::new(),
                leader_commit: None,
            };
            raft.append_entries(other).await.expect("raft lives");
            raft.trigger().elect(false).await.expect("raft lives");
            let again = |position: &Position| position.ready && position.epoch > epoch;
            position.wait_for(again).await.expect("the group lives");
            let outcome = of.unchanged(&request, published).await.expect("it is decided");
            drop((of, raft));
            token.cancel();
            service.stopped().await;
            outcome
        })
    }

    #[tokio::test]
    async fn a_call_waits_for_a_deployment_of_which_another_node_has_heard_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = Options::embedded(folder.path());
        options.limits.read_wait_ms_max = 1_000;
        let token = CancellationToken::new();
        let service = Service::start(options, token.clone()).await.expect("it starts");
        let log = service.handle();
        let new = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };
        let mut asked = Box::pin(log.lookup(new, CommitId([1; 16])));
        assert!(futures::poll!(&mut asked).is_pending());
        log.serve([new]);
        asked.await.expect("it is there now");
        log.serve([]);
        let error = log.lookup(new, CommitId([1; 16])).await.expect_err("it is there no more");
        assert_eq!(error.code, code::DEPLOYMENT_NOT_FOUND);
        drop(log);
        token.cancel();
        service.stopped().await;
    }

    #[test]
    fn a_commit_without_writes_that_outlives_its_epoch_is_not_committed() {
        assert_eq!(outcome_of_one_that_outlives_its_epoch(), CommitOutcome::NotCommitted);
    }

    #[test]
    fn one_that_is_told_whatever_has_become_of_its_epoch_is_found() {
        let outcome = plant(Bug::UnchangedIgnoresEpoch, outcome_of_one_that_outlives_its_epoch);
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}: the other test can't fail");
    }
}
