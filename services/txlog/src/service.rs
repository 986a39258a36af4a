//! Puts the parts of a node's transaction log together, and takes them down again.

use std::{collections::BTreeMap, collections::HashMap, sync::Arc, time::Duration};

use contract::{DeploymentId, GroupId};
use openraft::{Config, Raft, SnapshotPolicy, async_runtime::WatchReceiver, impls::EmptyNode};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    apply::Applier,
    fatal::FatalHandler,
    group::Group,
    handle::{Handle, HandleGroup},
    keys::Incarnation,
    network::NoPeers,
    options::Options,
    proposer::{GroupRaft, follow_leadership, propose_batches},
    raft_log::RaftLogs,
    state_machine::StateMachine,
    state_store::{OpenError, StateStore},
    upkeep::{flush_in_time, sweep_in_time},
};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the state of group {group} can't be read: {reason}")]
    State { group: u32, reason: String },
    #[error("group {group} can't start: {reason}")]
    Raft { group: u32, reason: String },
}

/// A node's transaction log: its tasks and stores. Calls go through [`Service::handle`].
pub struct Service {
    handle: Handle,
    groups: Vec<(Arc<Group>, GroupRaft)>,
    logs: RaftLogs,
    store: Arc<StateStore>,
    fatal: FatalHandler,
    tasks: JoinSet<()>,
    /// Large commits under way.
    large: TaskTracker,
    /// Goes after the tasks, when nobody is left who would answer.
    _end: EndOfLeadership,
    token: CancellationToken,
}

/// When it is dropped, its groups take no more commits, and whoever waits is answered.
struct EndOfLeadership(Vec<Arc<Group>>);

impl Drop for EndOfLeadership {
    fn drop(&mut self) {
        for group in &self.0 {
            group.decide(|leader| leader.follow(leader.epoch().term));
        }
    }
}

impl Service {
    /// Opens the folder, replays what the store had not flushed, and returns once every group takes commits. It ends with
    /// the token; then [`Service::stopped`] closes everything.
    pub async fn start(options: Options, token: CancellationToken) -> Result<Service, StartError> {
        if cfg!(validation_off) {
            tracing::error!("this build validates no commit: it is for recording histories with anomalies");
        }
        let logs = RaftLogs::open(&options.folder.join("log"), &options.store, options.fatal.clone())?;
        let store = StateStore::open(&options.folder.join("state"), &options.store)?;
        let store = Arc::new(store);
        let mut deployments: BTreeMap<GroupId, Vec<DeploymentId>> = BTreeMap::new();
        for deployment in &options.deployments {
            deployments.entry(deployment.at.group).or_default().push(deployment.at.deployment);
        }
        let mut tasks = JoinSet::new();
        let large = TaskTracker::new();
        let mut groups = Vec::new();
        let mut handles = HashMap::new();
        for (id, deployments) in deployments {
            let (group, raft) = start_group(&options, id, deployments, &logs, &store).await?;
            let following = follow_leadership(group.clone(), raft.clone(), token.clone());
            tasks.spawn(as_long_as_raft(following, id, options.fatal.clone(), token.clone()));
            let proposing = propose_batches(group.clone(), raft.clone(), token.clone());
            tasks.spawn(as_long_as_raft(proposing, id, options.fatal.clone(), token.clone()));
            tasks.spawn(sweep_in_time(group.clone(), raft.clone(), options.clone(), token.clone()));
            let handle = HandleGroup::new(group.clone(), raft.clone(), large.clone(), options.fatal.clone());
            handles.insert(id, Arc::new(handle));
            groups.push((group, raft));
        }
        let flushed: Vec<_> =
            groups.iter().map(|(group, raft)| (group.clone(), raft.clone(), logs.group(group.id))).collect();
        tasks.spawn(flush_in_time(flushed, store.clone(), options.clone(), token.clone()));
        let wait = Duration::from_millis(options.store.ready_ms_max);
        for (group, _) in &groups {
            let mut position = group.position();
            let ready = tokio::time::timeout(wait, position.wait_for(|position| position.ready)).await;
            if !matches!(ready, Ok(Ok(_))) {
                token.cancel();
                let reason = format!("it did not lead within {wait:?}");
                return Err(StartError::Raft { group: group.id.0, reason });
            }
        }
        let handle = Handle::new(handles, options.deployments, logs.fsyncs(), token.clone());
        let end = EndOfLeadership(groups.iter().map(|(group, _)| group.clone()).collect());
        Ok(Service { handle, groups, logs, store, fatal: options.fatal, tasks, large, _end: end, token })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the token, then answers who still waits, flushes the store and closes the files.
    pub async fn stopped(mut self) {
        self.token.cancelled().await;
        while self.tasks.join_next().await.is_some() {}
        self.large.close();
        self.large.wait().await;
        for (group, raft) in self.groups {
            if let Err(error) = raft.shutdown().await {
                tracing::error!(group = group.id.0, %error, "raft did not end in order");
            }
        }
        let store = self.store.clone();
        let flushed = tokio::task::spawn_blocking(move || store.flush(&[])).await;
        if let Ok(Err(error)) = flushed {
            self.fatal.end(&format!("the state can't be flushed: {error}"));
        }
        drop(self.handle);
        let logs = self.logs;
        let _ = tokio::task::spawn_blocking(move || drop(logs)).await;
    }
}

/// A task that ends with the token. If it ends before, Raft has ended by itself, as after an error of its storage: nothing
/// would be committed any more, so the process must not live on.
async fn as_long_as_raft(
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

async fn start_group(
    options: &Options,
    id: GroupId,
    deployments: Vec<DeploymentId>,
    logs: &RaftLogs,
    store: &Arc<StateStore>,
) -> Result<(Arc<Group>, GroupRaft), StartError> {
    let failed = |reason: String| StartError::Raft { group: id.0, reason };
    // Groups are numbered from 0; an incarnation of a group that is replaced as a whole will have a number of its own.
    let incarnation = Incarnation(id.0);
    let applier = Applier::open(incarnation, &**store)
        .map_err(|error| StartError::State { group: id.0, reason: error.to_string() })?;
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
    let log = logs.group(id);
    let state_machine = StateMachine::new(
        group.clone(),
        applier,
        log.clone(),
        options.store.apply_bytes_max,
        options.fatal.clone(),
    );
    let config = raft_config(options, id).map_err(&failed)?;
    let raft = Raft::new(options.node, Arc::new(config), NoPeers, log, state_machine)
        .await
        .map_err(|error| failed(error.to_string()))?;
    if raft.is_initialized().await.map_err(|error| failed(error.to_string()))? {
        let voters: Vec<u64> = raft.server_metrics().borrow_watched().membership_config.voter_ids().collect();
        if voters == [options.node] {
            // Nobody else could have been elected: there is nothing to wait for.
            raft.trigger().elect(false).await.map_err(|error| failed(error.to_string()))?;
        }
    } else {
        let members = BTreeMap::from([(options.node, EmptyNode::new())]);
        raft.initialize(members).await.map_err(|error| failed(error.to_string()))?;
    }
    Ok((group, raft))
}

fn raft_config(options: &Options, group: GroupId) -> Result<Config, String> {
    let limits = &options.store;
    let config = Config {
        cluster_name: format!("tidemark-{}", group.0),
        heartbeat_interval: limits.heartbeat_ms,
        election_timeout_min: limits.election_ms_min,
        election_timeout_max: limits.election_ms_max,
        max_payload_entries: limits.raft_entries_sent_max,
        // The state is flushed by its bytes and age, not by the number of entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: limits.log_entries_kept,
        enable_pre_vote: Some(true),
        // A restarted leader has lost what it had not flushed: it must be elected and apply its log first.
        enable_leader_restore: Some(false),
        api_channel_size: Some(limits.raft_messages_queued_max),
        notification_channel_size: Some(limits.raft_messages_queued_max),
        ..Config::default()
    };
    config.validate().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn the_end_of_raft_ends_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ended, mut reasons) = mpsc::unbounded_channel();
        let mut options = Options::embedded(folder.path());
        options.fatal = FatalHandler::new(move |reason| {
            let _ = ended.send(reason.to_owned());
        });
        let token = CancellationToken::new();
        let service = Service::start(options, token.clone()).await.expect("it starts");
        let (_, raft) = &service.groups[0];
        raft.shutdown().await.expect("it ends");
        assert_eq!(reasons.recv().await.as_deref(), Some("the Raft of group 1 has ended"));
        token.cancel();
        service.stopped().await;
    }

    #[tokio::test]
    async fn a_stop_in_order_is_no_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ended, mut reasons) = mpsc::unbounded_channel();
        let mut options = Options::embedded(folder.path());
        options.fatal = FatalHandler::new(move |reason| {
            let _ = ended.send(reason.to_owned());
        });
        let token = CancellationToken::new();
        let service = Service::start(options, token.clone()).await.expect("it starts");
        token.cancel();
        service.stopped().await;
        assert_eq!(reasons.recv().await, None, "the handler goes with the service and was never called");
    }
}
