//! Puts the parts of a node's transaction log together, and takes them down again.

use std::{collections::BTreeMap, collections::HashMap, sync::Arc, time::Duration};

use contract::{DeploymentId, GroupId, NodeId};
use futures::future::{BoxFuture, join_all};
use openraft::{Config, Raft, SnapshotPolicy, async_runtime::WatchReceiver};
use proto::txlog::v1::raft_server::RaftServer;
use tokio::task::JoinSet;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    apply::{AppliedState, Applier, ApplyError, Writable},
    fatal::FatalHandler,
    folders::{self, OpenError},
    formation::{self, Beginning},
    group::Group,
    handle::{Handle, HandleGroup},
    incarnations,
    keys::Incarnation,
    level::level_in_time,
    members::{is_current, keep_in_order},
    network::{Network, Peers},
    options::Options,
    proposer::{GroupRaft, follow_leadership, propose_batches},
    raft_log::{RaftLog, RaftLogs},
    raft_server::RaftService,
    raft_types::{DiskId, Node},
    state_machine::StateMachine,
    state_store::NodeStore,
    upkeep::{flush_in_time, sweep_in_time},
};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("it can't be read which data the groups have: {0}")]
    Incarnations(String),
    #[error("the state of group {group} can't be read: {reason}")]
    State { group: u32, reason: String },
    #[error("StoresDiffer: the log and the state of group {group} do not belong together: {reason}")]
    Differ { group: u32, reason: String },
    #[error("group {group} can't start: {reason}")]
    Raft { group: u32, reason: String },
}

/// A node's transaction log: its tasks and stores. Calls go through [`Service::handle`].
pub struct Service {
    /// Goes first when a start is given up: whoever then sees Raft end knows that it was to.
    _ends: DropGuard,
    handle: Handle,
    groups: Vec<(Arc<Group>, GroupRaft)>,
    handles: Vec<Arc<HandleGroup>>,
    raft_service: RaftService,
    message_bytes_max: usize,
    answer_ms_max: u64,
    logs: RaftLogs,
    store: Arc<NodeStore>,
    fatal: FatalHandler,
    tasks: JoinSet<()>,
    /// Large commits under way, and snapshots that come in.
    under_way: TaskTracker,
    /// Goes after the tasks, when nobody is left who would answer.
    _end: EndOfLeadership,
    /// Says that it is to stop.
    token: CancellationToken,
    /// Ends the tasks.
    ended: CancellationToken,
    /// Ends what other nodes want.
    closed: CancellationToken,
}

/// When it is dropped, its groups take no more commits, and whoever waits is answered.
struct EndOfLeadership(Vec<Arc<Group>>);

impl Drop for EndOfLeadership {
    fn drop(&mut self) {
        for group in &self.0 {
            group.decide(|queue| queue.follow(queue.epoch().term, None));
        }
    }
}

impl Service {
    /// Opens the folder, replays what the store had not flushed, and returns once every group takes commits of which this
    /// node is the only voter. The others need other nodes, and those need [`Service::raft_service`]; for them there is
    /// [`Handle::ready`]. It ends with the token; then [`Service::stopped`] closes everything.
    pub async fn start(options: Options, token: CancellationToken) -> Result<Service, StartError> {
        if cfg!(validation_off) {
            tracing::error!("this build validates no commit: it is for recording histories with anomalies");
        }
        let disk = DiskId(folders::open(&options.folder, options.node.0)?.cluster);
        let place = Node { address: options.address.clone(), zone: options.zone.clone(), disk: Some(disk) };
        let logs = RaftLogs::open(&options.folder.join("log"), &options.store, options.fatal.clone())?;
        let store = NodeStore::open(&options.folder.join("state"), &options.store)?;
        let store = Arc::new(store);
        delete_unassigned(&store)?;
        let mut deployments: BTreeMap<GroupId, Vec<DeploymentId>> = BTreeMap::new();
        for deployment in &options.deployments {
            deployments.entry(deployment.at.group).or_default().push(deployment.at.deployment);
        }
        let (ended, closed) = (CancellationToken::new(), CancellationToken::new());
        let ends = ended.clone().drop_guard();
        let mut tasks = JoinSet::new();
        let under_way = TaskTracker::new();
        let (mut groups, mut alone) = (Vec::new(), Vec::new());
        let mut handles = HashMap::new();
        let node = options.node;
        let peers = Peers::new(options.cluster.clone(), node, options.channels.clone(), &options.store);
        let peers = Arc::new(peers);
        let raft_service =
            RaftService::new(options.cluster.clone(), node, place.clone(), under_way.clone(), closed.clone());
        for (id, deployments) in deployments {
            let (group, raft) = start_group(&options, id, deployments, &logs, &store, &peers).await?;
            match begin(&options, (id, &place), &raft, &peers, &ended).await? {
                Begun::Alone => alone.push((group.clone(), raft.clone())),
                Begun::WithOthers => {}
                Begun::By(beginning) => drop(tasks.spawn(beginning)),
            }
            raft_service.add(group.clone(), raft.clone());
            let following = follow_leadership(group.clone(), raft.clone(), ended.clone());
            tasks.spawn(as_long_as_raft(following, id, options.fatal.clone(), ended.clone()));
            let proposing = propose_batches(group.clone(), raft.clone(), ended.clone());
            tasks.spawn(as_long_as_raft(proposing, id, options.fatal.clone(), ended.clone()));
            let place = place.clone();
            tasks.spawn(sweep_in_time(
                (group.clone(), raft.clone(), peers.clone()),
                place,
                options.clone(),
                ended.clone(),
            ));
            tasks.spawn(group.buffer.clone().tick_in_time(
                Duration::from_millis(options.limits.stream_quiet_ms),
                Duration::from_millis(options.limits.stream_heartbeat_ms),
                led_by_quorum(group.clone(), raft.clone(), peers.clone(), node),
                ended.clone(),
            ));
            let handle = HandleGroup::new(
                (group.clone(), raft.clone()),
                (node, peers.clone()),
                options.store,
                under_way.clone(),
                options.fatal.clone(),
            );
            handles.insert(id, Arc::new(handle));
            groups.push((group, raft));
        }
        let flushed: Vec<_> =
            groups.iter().map(|(group, raft)| (group.clone(), raft.clone(), logs.group(group.id))).collect();
        tasks.spawn(flush_in_time(flushed, store.clone(), options.clone(), ended.clone()));
        let look = Duration::from_millis(options.limits.clock_look_ms);
        tasks.spawn(level_in_time(groups.clone(), peers.clone(), node, look, ended.clone()));
        let handles_of_groups = handles.values().cloned().collect();
        let handle = Handle::new(handles, options.deployments, logs.gauges(), token.clone());
        let end = EndOfLeadership(groups.iter().map(|(group, _)| group.clone()).collect());
        let service = Service {
            _ends: ends,
            handle,
            groups,
            handles: handles_of_groups,
            raft_service,
            message_bytes_max: options.store.raft_message_bytes_max,
            answer_ms_max: options.store.raft_answer_ms_max,
            logs,
            store,
            fatal: options.fatal,
            tasks,
            under_way,
            _end: end,
            token,
            ended,
            closed,
        };
        let wait = Duration::from_millis(options.store.ready_ms_max);
        for (group, raft) in alone {
            let mut position = group.position();
            let ready = tokio::time::timeout(wait, position.wait_for(|position| position.ready)).await;
            // What it gives keeps the position from changing.
            let is_ready = matches!(ready, Ok(Ok(_)));
            drop(ready);
            if !is_ready {
                service.token.cancel();
                let reason = format!("it did not lead within {wait:?}");
                return Err(StartError::Raft { group: group.id.0, reason });
            }
            keep_in_order(&group, &raft, node, &place).await;
        }
        Ok(service)
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What other nodes call, for the server of the internal services. It must be served until [`Service::stopped`] has
    /// returned: a leader hands over its lead before it goes.
    pub fn raft_service(&self) -> RaftServer<RaftService> {
        self.raft_service.service(self.message_bytes_max)
    }

    /// The Raft of the first group.
    #[cfg(test)]
    pub(crate) fn raft(&self) -> GroupRaft {
        self.groups[0].1.clone()
    }

    /// Waits for the token, then hands over what it leads, answers who still waits, flushes the store and closes the files.
    pub async fn stopped(mut self) {
        self.token.cancelled().await;
        join_all(self.handles.iter().map(|group| group.leave())).await;
        self.ended.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.closed.cancel();
        self.raft_service.ended(Duration::from_millis(self.answer_ms_max)).await;
        for (group, raft) in self.groups {
            if let Err(error) = raft.shutdown().await {
                tracing::error!(group = group.id.0, %error, "raft did not end in order");
            }
        }
        // Without Raft whatever else is under way ends as well.
        self.under_way.close();
        self.under_way.wait().await;
        let store = self.store.clone();
        let flushed = tokio::task::spawn_blocking(move || store.flush(&[])).await;
        if let Ok(Err(error)) = flushed {
            self.fatal.end(&format!("the state can't be flushed: {error}"));
        }
        drop((self.handle, self.handles));
        let logs = self.logs;
        let _ = tokio::task::spawn_blocking(move || drop(logs)).await;
    }
}

/// Finds out whether all that was published anywhere is published here.
pub(crate) fn led_by_quorum(
    group: Arc<Group>,
    raft: GroupRaft,
    peers: Arc<Peers>,
    node: NodeId,
) -> impl Fn() -> BoxFuture<'static, bool> {
    move || {
        let (group, raft, peers) = (group.clone(), raft.clone(), peers.clone());
        Box::pin(async move { is_current(&group, &raft, &peers, node).await })
    }
}

fn is_only_voter(raft: &GroupRaft, node: NodeId) -> bool {
    raft.server_metrics().borrow_watched().membership_config.voter_ids().eq([node.0])
}

/// A task that ends with the token. If it ends before, Raft has ended by itself, as after an error of its storage: nothing
/// would be committed any more, so the process must not live on.
pub(crate) async fn as_long_as_raft(
    task: impl Future<Output = ()>,
    group: GroupId,
    fatal: FatalHandler,
    token: CancellationToken,
) {
    task.await;
    if !token.is_cancelled() {
        fatal.end(&format!("the Raft of group {} has ended", group.0));
    }
}

pub(crate) async fn start_group(
    options: &Options,
    id: GroupId,
    deployments: Vec<DeploymentId>,
    logs: &RaftLogs,
    store: &Arc<NodeStore>,
    peers: &Arc<Peers>,
) -> Result<(Arc<Group>, GroupRaft), StartError> {
    let failed = |reason: String| StartError::Raft { group: id.0, reason };
    let unreadable = |error: ApplyError| StartError::State { group: id.0, reason: error.to_string() };
    let incarnation = incarnation_of(id, store).map_err(unreadable)?;
    let applier = Applier::open(incarnation, &**store).map_err(unreadable)?;
    let log = logs.group(id);
    check_reach(id, &log, applier.state())?;
    let group = Arc::new(Group::new(
        id,
        incarnation,
        deployments,
        options.limits,
        options.clock.clone().without_jumps(
            Duration::from_millis(options.limits.clock_jump_ms_max),
            Duration::from_millis(options.limits.clock_jump_trusted_ms),
        ),
        store.clone(),
        applier.state(),
    ));
    let state_machine = StateMachine::new(
        group.clone(),
        applier,
        log.clone(),
        options.store.apply_bytes_max,
        options.fatal.clone(),
    );
    let config = raft_config(options, id).map_err(&failed)?;
    let network = Network::new(peers.clone(), group.clone());
    let raft = Raft::new(options.node.0, Arc::new(config), network, log, state_machine)
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok((group, raft))
}

/// What the group knows of this node's address it has from when it was told.
fn tell_of_another_address(raft: &GroupRaft, (group, node): (GroupId, NodeId), place: &Node) {
    let membership = raft.server_metrics().borrow_watched().membership_config.clone();
    let known = membership.membership().get_node(&node.0).map(|known| known.address.as_str());
    if let Some(known) = known.filter(|known| *known != place.address) {
        let (group, address) = (group.0, &place.address);
        tracing::warn!(
            group,
            known,
            address,
            "this node's address is another one than the group knows: where nobody leads it there, `tidemark cluster add-node` tells the group"
        );
    }
}

/// How a group is on this node at its start.
pub(crate) enum Begun {
    /// This node is its only voter.
    Alone,
    /// Others have begun it, will begin it, or will add this node.
    WithOthers,
    /// By this task, which looks for the others.
    By(BoxFuture<'static, ()>),
}

/// Begins a group that is new here.
pub(crate) async fn begin(
    options: &Options,
    (group, place): (GroupId, &Node),
    raft: &GroupRaft,
    peers: &Arc<Peers>,
    ended: &CancellationToken,
) -> Result<Begun, StartError> {
    let failed = |error: String| StartError::Raft { group: group.0, reason: error };
    let node = options.node;
    if raft.is_initialized().await.map_err(|error| failed(error.to_string()))? {
        if !is_only_voter(raft, node) {
            tell_of_another_address(raft, (group, node), place);
            return Ok(Begun::WithOthers);
        }
        // Nobody else could have been elected: there is nothing to wait for.
        raft.trigger().elect(false).await.map_err(|error| failed(error.to_string()))?;
        return Ok(Begun::Alone);
    }
    match &options.beginning {
        // Also the only voter looks around: it may have lost its disk after the group had grown.
        Beginning::Together { voters, peers: addresses } if *voters > 1 || !addresses.is_empty() => {
            let beginning = formation::begin(
                raft.clone(),
                peers.clone(),
                (group, place.clone()),
                (*voters, addresses.clone()),
                Duration::from_millis(options.store.begin_look_ms),
                ended.clone(),
            );
            Ok(if node == formation::FIRST { Begun::By(Box::pin(beginning)) } else { Begun::WithOthers })
        }
        Beginning::Together { .. } if node != formation::FIRST => Ok(Begun::WithOthers),
        Beginning::Together { .. } | Beginning::Alone => {
            let members = BTreeMap::from([(node.0, place.clone())]);
            raft.initialize(members).await.map_err(|error| failed(error.to_string()))?;
            Ok(Begun::Alone)
        }
    }
}

/// Deletes what the replacement of a group's data has left if it was interrupted.
pub(crate) fn delete_unassigned(store: &NodeStore) -> Result<(), StartError> {
    let mut changes = store.changes();
    let deleted = incarnations::delete_unassigned(store, &mut changes).and_then(|deleted| {
        if deleted > 0 {
            store.write(changes)?;
        }
        Ok(())
    });
    deleted.map_err(|error| StartError::Incarnations(error.to_string()))
}

/// The incarnation of a group's data; a group that is new here gets one.
pub(crate) fn incarnation_of(id: GroupId, store: &NodeStore) -> Result<Incarnation, ApplyError> {
    if let Some(incarnation) = incarnations::of_group(store, id)? {
        return Ok(incarnation);
    }
    let mut changes = store.changes();
    let incarnation = incarnations::give(store, &mut changes)?;
    incarnations::assign(&mut changes, id, incarnation);
    store.write(changes)?;
    Ok(incarnation)
}

/// A state that is older than what the log still has, or newer than all that it has, is from another time: one of the two
/// was emptied, or put back from a copy.
pub(crate) fn check_reach(group: GroupId, log: &RaftLog, state: &AppliedState) -> Result<(), StartError> {
    let failed = |error: std::io::Error| StartError::Raft { group: group.0, reason: error.to_string() };
    let (purged, last) = log.reach().map_err(failed)?;
    let applied = state.last.map(|last| last.index);
    let replaced = log.replaced_up_to().map_err(failed)?.map(|id| id.index);
    let reason = match (purged.map(|id| id.index), last.map(|id| id.index)) {
        (Some(purged), _) if applied < Some(purged) => {
            format!("the state has come to entry {applied:?} and the log begins behind {purged}")
        }
        // Another replica's state may have been installed; then the log is about to follow.
        (_, last) if applied > last && applied != replaced => {
            format!("the state has come to entry {applied:?} and the log ends with {last:?}")
        }
        _ => return Ok(()),
    };
    Err(StartError::Differ { group: group.0, reason })
}

/// Notes that Raft's tasks leave for it, and it for itself: for each message that it takes, of which it takes thousands before it
/// looks at a note. Where its own note has no room, it waits for ever.
const RAFT_NOTES_MIN: u64 = 16_384;

pub(crate) fn raft_config(options: &Options, group: GroupId) -> Result<Config, String> {
    let limits = &options.store;
    let config = Config {
        cluster_name: format!("tidemark-{}", group.0),
        heartbeat_interval: limits.heartbeat_ms,
        election_timeout_min: limits.election_ms_min,
        election_timeout_max: limits.election_ms_max,
        max_payload_entries: limits.raft_entries_sent_max,
        // The state is flushed by its bytes and age, not by the number of entries.
        snapshot_policy: SnapshotPolicy::Never,
        // The log is purged by what other replicas have: see `upkeep`.
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_pre_vote: Some(true),
        // A restarted leader has lost what it had not flushed: it must be elected and apply its log first.
        enable_leader_restore: Some(false),
        api_channel_size: Some(limits.raft_messages_queued_max),
        notification_channel_size: Some(limits.raft_messages_queued_max.max(RAFT_NOTES_MIN)),
        ..Config::default()
    };
    config.validate().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use contract::{
        Commit, CommitId, CommitOutcome, DeploymentRef, IndexId, Interval, Order, ReadAt, TransactionLog,
        Write,
    };
    use openraft::{EntryPayload, RaftLogReader, raft::AppendEntriesRequest};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        commit_queue::{Received, Request},
        entry::{Batch, CommitWrites, EntryVersion, LogEntry, encode_writes, touched_keys},
        options::Deployment,
        proposer::propose,
        raft_types::{EntryBytes, EntryOutcome, Vote},
        reads::{RangeLimits, Reader},
    };

    #[tokio::test]
    async fn the_end_of_raft_ends_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let (options, mut reasons) = options(folder.path());
        let token = CancellationToken::new();
        let service = Service::start(options, token.clone()).await.expect("it starts");
        let (_, raft) = &service.groups[0];
        raft.shutdown().await.expect("it ends");
        assert_eq!(reasons.recv().await.as_deref(), Some("the Raft of group 1 has ended"));
        token.cancel();
        service.stopped().await;
    }

    /// As when a node is asked to stop while it starts: its Raft goes on for a moment without its log.
    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_is_given_up_tells_of_no_failure() {
        for _ in 0..10 {
            let folder = tempfile::tempdir().expect("a folder");
            let (options, mut reasons) = options(folder.path());
            let running = Running::start(options).await;
            let (group, raft) = running.service.groups[0].clone();
            let term = group.position().borrow().epoch.term;
            let writing = tokio::spawn(async move {
                while let Ok(done) =
                    propose(&group, &raft, term, LogEntry::DropStage { term, stage: 0 }).await
                {
                    if done.await.is_err() {
                        return;
                    }
                }
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(running);
            writing.await.expect("it ends when Raft does");
            assert_eq!(reasons.recv().await, None);
        }
    }

    /// Options whose fatal errors are told.
    fn options(folder: &std::path::Path) -> (Options, mpsc::UnboundedReceiver<String>) {
        let (ended, reasons) = mpsc::unbounded_channel();
        let mut options = Options::embedded(folder);
        options.fatal = FatalHandler::new(move |reason| {
            let _ = ended.send(reason.to_owned());
        });
        (options, reasons)
    }

    struct Running {
        service: Service,
        token: CancellationToken,
    }

    impl Running {
        async fn start(options: Options) -> Running {
            let token = CancellationToken::new();
            Running { service: Service::start(options, token.clone()).await.expect("it starts"), token }
        }

        async fn stop(self) {
            self.token.cancel();
            self.service.stopped().await;
        }

        /// Commits a document, and the version of the entry that holds it.
        async fn commit(&self, number: u8) -> u8 {
            let (group, raft) = &self.service.groups[0];
            let position = group.position().borrow().clone();
            let commit = Commit {
                deployment: DeploymentRef { group: group.id, deployment: DeploymentId(1) },
                epoch: position.epoch,
                id: CommitId([number; 16]),
                run: 1,
                begin: ReadAt::published(position.published),
                read_set: Arc::default(),
                writes: vec![Write {
                    primary: IndexId([1; 16]),
                    key: vec![number].into(),
                    document: Some(contract::document::encode("{}", 2)),
                    index_updates: Vec::new(),
                }],
            };
            let outcome = self.service.handle().commit(commit).await.expect("it is decided");
            assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
            let last = raft.metrics().borrow_watched().last_applied.expect("it was applied").index;
            let mut log = self.service.logs.group(group.id);
            let entries = log.try_get_log_entries(..=last).await.expect("they are there");
            let of_commits = entries.into_iter().filter_map(|entry| match entry.payload {
                EntryPayload::Normal(EntryBytes(bytes)) => {
                    matches!(LogEntry::decode(bytes.clone()), Ok(LogEntry::Batch(_))).then(|| bytes[0])
                }
                _ => None,
            });
            of_commits.last().expect("it is in the log")
        }

        fn documents(&self) -> usize {
            let group = &self.service.groups[0].0;
            let reader = Reader::new(&*group.store, group.incarnation(), DeploymentId(1), group.published());
            let limits = RangeLimits { rows_max: 100, bytes_max: 1 << 20 };
            let index = IndexId([1; 16]);
            let all = reader.range(index, &Interval::all(), Order::Ascending, limits, BTreeMap::new());
            all.expect("it is read").0.len()
        }

        async fn writes_own_version(&self) {
            while self.service.groups[0].0.write_version() != EntryVersion::OWN {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn a_group_writes_the_version_it_has_come_to_and_reads_all_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut options, _reasons) = options(folder.path());
        options.store.sweep_look_ms = 3_600_000;
        let running = Running::start(options.clone()).await;
        assert_eq!(running.commit(1).await, 1, "a program that knows a newer version writes the group's");
        running.stop().await;
        let running = Running::start(options.clone()).await;
        assert_eq!(running.commit(2).await, 1, "also after a restart");
        running.stop().await;

        options.store.sweep_look_ms = 1;
        let running = Running::start(options.clone()).await;
        running.writes_own_version().await;
        assert_eq!(running.commit(3).await, 2, "nobody else must read it: the group has gone on");
        running.stop().await;

        // The state is gone; the log, with entries of both versions, is applied again.
        options.store.sweep_look_ms = 3_600_000;
        let state = folder.path().join("state");
        for file in std::fs::read_dir(&state).expect("it is there") {
            let path = file.expect("a file").path();
            if path.file_name().is_some_and(|name| name != "identity" && name != "format") {
                std::fs::remove_file(path).expect("it goes");
            }
        }
        let running = Running::start(options).await;
        running.writes_own_version().await;
        assert_eq!(running.documents(), 3);
        assert_eq!(running.commit(4).await, 2, "there is no way back");
        running.stop().await;
    }

    #[tokio::test]
    async fn an_entry_of_a_newer_version_ends_the_process_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let (options, mut reasons) = options(folder.path());
        let token = CancellationToken::new();
        let service = Service::start(options, token.clone()).await.expect("it starts");
        let (_, raft) = &service.groups[0];
        let written = raft.client_write(EntryBytes(vec![9, 1, 2, 3].into())).await;
        assert!(written.is_err());
        let reason = reasons.recv().await.expect("it can't go on");
        assert!(reason.contains("format 9"), "{reason}");
        token.cancel();
        service.stopped().await;
    }

    #[tokio::test]
    async fn a_batch_that_every_replica_passes_over_is_counted_and_commits_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (options, _reasons) = options(folder.path());
        let running = Running::start(options).await;
        running.commit(1).await;
        let (group, raft) = &running.service.groups[0];
        let skipped = || running.service.handle().measures(group.id).expect("it is here").batches_skipped;
        assert_eq!(skipped(), 0);
        let epoch = group.position().borrow().epoch;
        // As of a leader that lost its lead and won it again in between: it follows what is not there.
        let batch = Batch {
            epoch,
            previous: contract::Timestamp::ZERO,
            commits: Vec::new(),
            horizon: contract::Timestamp::ZERO,
            records_floor: contract::Timestamp::ZERO,
        };
        let done = propose(group, raft, epoch.term, LogEntry::Batch(batch)).await.expect("it is appended");
        assert_eq!(done.await, Ok(EntryOutcome::Skipped));
        assert_eq!(skipped(), 1);
        running.commit(2).await;
        assert_eq!((skipped(), running.documents()), (1, 2));
        running.stop().await;
    }

    #[tokio::test]
    async fn a_deployment_that_has_its_share_of_commits_under_way_leaves_the_rest_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut options, _reasons) = options(folder.path());
        // Nothing but commits gives it work to do.
        options.store.sweep_look_ms = 3_600_000;
        let at = |deployment| DeploymentRef { group: GroupId(1), deployment: DeploymentId(deployment) };
        options.deployments = ["one", "two"]
            .into_iter()
            .zip(1..)
            .map(|(name, number)| Deployment { name: name.into(), at: at(number) })
            .collect();
        let limits = options.limits;
        let running = Running::start(options).await;
        let group = &running.service.groups[0].0;
        let commit = |deployment: u32, id: u8| Commit {
            deployment: at(deployment),
            epoch: group.position().borrow().epoch,
            id: CommitId([id; 16]),
            run: 1,
            begin: ReadAt::published(group.published()),
            read_set: Arc::default(),
            writes: vec![Write {
                primary: IndexId([1; 16]),
                key: vec![id].into(),
                document: Some(contract::document::encode("{}", 2)),
                index_updates: Vec::new(),
            }],
        };
        // One that is validated, takes much, and waits until somebody proposes it.
        let Commit { deployment, epoch, id, run, begin, read_set, writes } = commit(1, 1);
        let mut request = Request {
            deployment: deployment.deployment,
            epoch,
            id,
            run,
            begin,
            keys: touched_keys(&writes),
            read_set,
            encoded: CommitWrites::Inlined(encode_writes(&writes)),
            waits_for_timestamp: false,
            writes: writes.into(),
            bytes: limits.commits_queued_bytes_max * limits.deployment_share_percent / 100,
        };
        let (waiter, outcome) = tokio::sync::oneshot::channel();
        {
            let mut queue = group.queue.write();
            let checked = queue.check(&request, group.published()).expect("nothing is in its way");
            let received = queue.receive(&mut request, checked, waiter, group.clock.now());
            assert!(matches!(received, Received::OnItsWay));
        }
        let log = running.service.handle();
        let refused = log.commit(commit(1, 2)).await.expect_err("it has its share");
        assert_eq!(refused.code, "CommitterFullError");
        let committed = |outcome| matches!(outcome, CommitOutcome::Committed { .. });
        assert!(committed(log.commit(commit(2, 3)).await.expect("there is room for others")));
        assert!(committed(outcome.await.expect("it went along")));
        assert!(committed(log.commit(commit(1, 4)).await.expect("there is room again")));
        drop(log);
        running.stop().await;
    }

    #[tokio::test]
    async fn a_replica_that_is_cut_off_has_no_heartbeats() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut options, _reasons) = options(folder.path());
        options.limits.stream_heartbeat_ms = 10;
        options.limits.stream_quiet_ms = 10;
        let running = Running::start(options.clone()).await;
        let subject = conformance::LogSubject {
            log: Arc::new(running.service.handle()),
            deployment: options.deployments[0].at,
            kept: Box::new(()),
        };
        let (group, raft) = &running.service.groups[0];
        let cut_off = async || {
            let term = raft.server_metrics().borrow_watched().vote.leader_id.term;
            // Another node leads, and is heard of no more. A single voter would not wait for it.
            raft.runtime_config().elect(false);
            let request = AppendEntriesRequest {
                vote: Vote::new_committed(term + 1, 9),
                prev_log_id: None,
                entries: Vec::new(),
                leader_commit: None,
            };
            raft.append_entries(request).await.expect("raft lives");
            group.position().wait_for(|position| !position.ready).await.expect("the group lives");
        };
        let come_back = async || {
            raft.trigger().elect(false).await.expect("raft lives");
            group.position().wait_for(|position| position.ready).await.expect("the group lives");
        };
        let heartbeat = Duration::from_millis(options.limits.stream_heartbeat_ms);
        conformance::transaction_log::a_replica_that_is_cut_off_has_no_heartbeats(
            subject, heartbeat, cut_off, come_back,
        )
        .await;
        running.stop().await;
    }

    #[tokio::test]
    async fn an_address_that_has_changed_is_in_the_membership_and_in_the_hint() {
        let folder = tempfile::tempdir().expect("a folder");
        for (address, zone) in [("one:1", "north"), ("two:2", "")] {
            let (mut options, _reasons) = options(folder.path());
            (options.address, options.zone) = (address.into(), zone.into());
            let running = Running::start(options).await;
            let mut position = running.service.groups[0].0.position();
            let known = |position: &contract::Position| {
                position.leader.as_ref().is_some_and(|leader| leader.address == address)
            };
            let leader = position.wait_for(known).await.expect("it is told").leader.clone();
            let leader = leader.expect("it was just seen");
            assert_eq!(leader.node, contract::NodeId(1));
            assert_eq!(leader.zone.as_deref(), Some(zone).filter(|zone| !zone.is_empty()));
            running.stop().await;
        }
    }

    #[tokio::test]
    async fn a_leader_leaves_the_membership_alone_while_somebody_changes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut options, _reasons) = options(folder.path());
        // Nobody but the test keeps it in order.
        options.store.sweep_look_ms = 3_600_000;
        let running = Running::start(options).await;
        let (group, raft) = &running.service.groups[0];
        let (node, place) = (NodeId(1), Node { address: "moved:1".into(), ..Node::default() });
        let known = || {
            let membership = raft.server_metrics().borrow_watched().membership_config.clone();
            membership.membership().get_node(&node.0).cloned()
        };
        let before = known();
        let changing = group.changing.lock().await;
        keep_in_order(group, raft, node, &place).await;
        assert_eq!(known(), before);
        drop(changing);
        keep_in_order(group, raft, node, &place).await;
        assert_eq!(known(), Some(place));
        running.stop().await;
    }

    #[tokio::test]
    async fn a_stop_in_order_is_no_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let (options, mut reasons) = options(folder.path());
        let token = CancellationToken::new();
        let service = Service::start(options, token.clone()).await.expect("it starts");
        token.cancel();
        service.stopped().await;
        assert_eq!(reasons.recv().await, None, "the handler goes with the service and was never called");
    }
}
