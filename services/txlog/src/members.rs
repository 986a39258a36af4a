//! Who belongs to a group: how its replicas stand, how they are changed, and how the lead is handed over.
//!
//! One change after the other, each by the group's leader. Whatever is asked for can be asked for again: what is done already
//! is done. A change that a leader did not finish, because it lost its lead, is finished by the next one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use contract::{Error, GroupId, LeaderHint, NodeId, Result, Timestamp, code};
use openraft::{
    ChangeMembers, Instant, RaftMetrics,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, RaftError},
};
use tokio::sync::MutexGuard;

use crate::{
    clock::passed,
    group::Group,
    handle::HandleGroup,
    leader::is_heard,
    limits::StoreLimits,
    planted,
    proposer::GroupRaft,
    raft_types::{Node, RaftTypes, StoredMembership},
    runtime,
};

/// A group, as one of its replicas sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    pub group: GroupId,
    /// Whose view it is.
    pub node: NodeId,
    pub term: u64,
    /// Who leads, as far as is known here and was heard of lately.
    pub leader: Option<LeaderHint>,
    /// Whether this replica leads and takes commits.
    pub ready: bool,
    pub published: Timestamp,
    /// The last entry of this replica's log.
    pub last_index: u64,
    /// The last entry that is applied here.
    pub applied_index: u64,
    /// Whether a change of the voters is under way.
    pub changing: bool,
    /// Voters and learners, by their ids.
    pub replicas: Vec<ReplicaStatus>,
}

/// A replica of a group. What only the leader knows is absent elsewhere, and of the leader itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    pub node: NodeId,
    pub address: String,
    pub zone: String,
    /// Otherwise it learns: it has the commits, and no vote.
    pub voter: bool,
    /// Entries that it does not have yet.
    pub entries_behind: Option<u64>,
    /// How long ago it was heard of.
    pub silent_ms: Option<u64>,
}

/// A learner that lacks no more entries can vote: it delays no commit.
const CAUGHT_UP_ENTRIES: u64 = 64;
/// A node that is to vote, and from which the leader has heard nothing for longer, is not waited for.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether what is under way has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(2);

pub type Metrics = RaftMetrics<RaftTypes>;

impl HandleGroup {
    /// Cloned: a reference that is held would hold up Raft.
    pub(crate) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    pub fn status(&self) -> GroupStatus {
        self.status_by(&self.metrics())
    }

    pub(crate) fn status_by(&self, metrics: &Metrics) -> GroupStatus {
        let position = self.group.position().borrow().clone();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let replica = |(id, node): (&u64, &Node)| ReplicaStatus {
            node: NodeId(*id),
            address: node.address.clone(),
            zone: node.zone.clone(),
            voter: voters.contains(id),
            entries_behind: self.entries_behind(metrics, *id),
            silent_ms: silence(metrics, *id).map(|silent| silent.as_millis() as u64),
        };
        GroupStatus {
            group: self.group.id,
            node: self.node,
            term: metrics.current_term,
            leader: self.leader(metrics).as_deref().cloned(),
            ready: position.ready,
            published: position.published,
            last_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.as_ref().map_or(0, |applied| applied.index),
            changing: membership.get_joint_config().len() > 1,
            replicas: membership.nodes().map(replica).collect(),
        }
    }

    /// `None` where it is not known, or nothing of it was heard.
    fn entries_behind(&self, metrics: &Metrics, node: u64) -> Option<u64> {
        if node == self.node.0 {
            return None;
        }
        let matched = metrics.replication.as_ref()?.get(&node)?.as_ref()?.index;
        Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matched))
    }

    /// Whether this leader has heard of a replica within the time in which it would be missed.
    fn is_alive(&self, metrics: &Metrics, node: u64) -> bool {
        node == self.node.0 || is_heard_of(metrics, node, &self.limits)
    }

    /// Fails if this replica does not lead, or hears of no quorum: whatever it began would not end.
    fn leads(&self, metrics: &Metrics) -> Result<()> {
        let leads = metrics.current_leader == Some(self.node.0) && metrics.state.is_leader();
        match leads && is_heard(&self.group.leader_heard, metrics, &self.limits) {
            true => Ok(()),
            false => Err(self.not_leader()),
        }
    }

    /// Waits until no other change is under way, which may take as long as sending a node all data: so not for long.
    async fn one_at_a_time(&self) -> Result<MutexGuard<'_, ()>> {
        let wait = Duration::from_millis(self.limits.hand_over_ms_max);
        runtime::timeout(wait, self.group.changing.lock()).await.map_err(|_| {
            let message = "another change of the group's members, or of who leads it, is under way";
            Error::overloaded("MembershipNotChanged", message)
        })
    }

    /// Adds a node to the group: as a learner, and as a voter when it has caught up, however long that takes while it is heard of. With
    /// `instead_of` that voter goes in the same step. A member whose address or zone is another one by now is found there from now on.
    pub async fn add_node(
        &self,
        node: NodeId,
        (address, zone): (&str, &str),
        instead_of: Option<NodeId>,
    ) -> Result<()> {
        let _one_at_a_time = self.one_at_a_time().await?;
        let metrics = self.metrics();
        self.leads(&metrics)?;
        let membership = metrics.membership_config.membership();
        let is_voter = |node: NodeId| membership.voter_ids().any(|voter| voter == node.0);
        // Where it is asked for again, the other one has gone already.
        if let Some(gone) = instead_of.filter(|gone| !is_voter(*gone) && !is_voter(node)) {
            return Err(not_voter(gone));
        }
        let introduced = self.peers.introduce(self.group.id, address).await.map_err(|error| {
            Error::overloaded(code::NODE_UNREACHABLE, format!("nobody answers at {address}: {error}"))
        })?;
        if introduced.node != node {
            let message = format!("at {address} is node {}, not node {node}", introduced.node);
            return Err(Error::bad_request("NodeIsAnother", message));
        }
        if introduced.entry_version < self.group.write_version().number() {
            let message = format!("node {node} is of an older version, which can't read the group's entries");
            return Err(Error::bad_request("NodeTooOld", message));
        }
        let zone = if zone.is_empty() { introduced.place.zone } else { zone.into() };
        let place = Node { address: address.into(), zone, disk: introduced.place.disk };
        match membership.get_node(&node.0) {
            Some(known) if known.disk != place.disk => {
                let message = format!(
                    "node {node} is known with another disk: one that has lost its disk must come back under an id of its own"
                );
                return Err(Error::bad_request("NodeIdTaken", message));
            }
            // A leader sees to its own.
            Some(known) if *known == place || node == self.node => {}
            Some(_) => {
                let moved = ChangeMembers::SetNodes(BTreeMap::from([(node.0, place)]));
                self.changed(self.raft.change_membership(moved, false).await)?;
            }
            None if introduced.begun => {
                let message = format!("node {node} has data of the group already, and does not belong to it");
                return Err(Error::bad_request("NodeHasData", message));
            }
            None => {
                // Where a change was left half done, the library's `add_learner` would end it and keep who went by it as a learner.
                let keeps = planted::is(planted::Bug::NewNodeKeepsThoseWhoWent);
                let added = ChangeMembers::AddNodes(BTreeMap::from([(node.0, place)]));
                self.changed(self.raft.change_membership(added, keeps).await)?;
            }
        }
        if node != self.node {
            self.caught_up(node).await?;
        }
        let mut changes = vec![ChangeMembers::AddVoterIds(BTreeSet::from([node.0]))];
        if let Some(gone) = instead_of.filter(|gone| *gone != node) {
            if gone == self.node {
                return Err(self.handed_over_first().await);
            }
            self.leaves_quorum(gone, Some(node))?;
            changes.push(ChangeMembers::RemoveVoters(BTreeSet::from([gone.0])));
        }
        self.changed(self.raft.change_membership(ChangeMembers::Batch(changes), false).await)
    }

    /// Waits until another replica is heard of and has nearly all that the log has.
    async fn caught_up(&self, node: NodeId) -> Result<()> {
        let began = passed();
        let look = Duration::from_millis(self.limits.heartbeat_ms);
        let mut metrics = self.raft.metrics();
        loop {
            let now = metrics.borrow_watched().clone();
            self.leads(&now)?;
            let is_near = self.entries_behind(&now, node.0).is_some_and(|behind| behind <= CAUGHT_UP_ENTRIES);
            if is_near && self.is_alive(&now, node.0) {
                return Ok(());
            }
            let waited = passed().saturating_sub(began);
            let silent = silence(&now, node.0).map_or(waited, |silent| silent.min(waited));
            if silent > SILENT_MAX {
                let message = format!("the leader hears nothing of node {node}");
                return Err(Error::overloaded(code::NODE_UNREACHABLE, message));
            }
            // Of who says nothing nothing changes.
            if let Ok(changed) = runtime::timeout(look, metrics.changed()).await {
                changed.map_err(|_| self.not_leader())?;
            }
        }
    }

    /// Removes a node from the group, voter or learner. It does not learn of it: it is to be stopped. The leader hands over
    /// first; then the next one is to be asked. Whether it was there.
    pub async fn remove_node(&self, node: NodeId) -> Result<bool> {
        let _one_at_a_time = self.one_at_a_time().await?;
        let metrics = self.metrics();
        self.leads(&metrics)?;
        let membership = metrics.membership_config.membership();
        if membership.get_node(&node.0).is_none() {
            return Ok(false);
        }
        if node == self.node {
            return Err(self.handed_over_first().await);
        }
        let nodes = BTreeSet::from([node.0]);
        let changes = match membership.voter_ids().any(|voter| voter == node.0) {
            true => {
                self.leaves_quorum(node, None)?;
                ChangeMembers::RemoveVoters(nodes)
            }
            false => ChangeMembers::RemoveNodes(nodes),
        };
        self.changed(self.raft.change_membership(changes, false).await)?;
        Ok(true)
    }

    /// Fails if, without `gone` and with `new`, fewer than a majority of the voters would be heard of: the group could not
    /// commit anything, nor the change itself.
    fn leaves_quorum(&self, gone: NodeId, new: Option<NodeId>) -> Result<()> {
        let metrics = self.metrics();
        let mut voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        voters.extend(new.map(|new| new.0));
        voters.remove(&gone.0);
        let alive = voters.iter().filter(|voter| self.is_alive(&metrics, **voter)).count();
        if alive * 2 > voters.len() {
            return Ok(());
        }
        let message = format!("without node {gone} only {alive} of {} voters would be there", voters.len());
        Err(Error::overloaded("QuorumWouldBeLost", message))
    }

    /// Hands the lead over, since this node is to go.
    async fn handed_over_first(&self) -> Error {
        match self.hand_over(None).await {
            Ok(_) => self.not_leader(),
            Err(error) => error,
        }
    }

    /// Hands the lead over to a voter, or to the one that has most of the log, and says to which. Meanwhile commits hear who
    /// will lead; those under way are decided before.
    pub async fn transfer_leader(&self, to: Option<NodeId>) -> Result<NodeId> {
        let _one_at_a_time = self.one_at_a_time().await?;
        let leader = self.hand_over(to).await?;
        match to.filter(|to| *to != leader) {
            None => Ok(leader),
            Some(to) => {
                let message = format!("node {leader} has taken the lead, not node {to}");
                Err(Error::overloaded("LeaderNotTransferred", message))
            }
        }
    }

    async fn hand_over(&self, to: Option<NodeId>) -> Result<NodeId> {
        let metrics = self.metrics();
        self.leads(&metrics)?;
        let Some(to) = to.or_else(|| self.nearest(&metrics)) else {
            let message = "there is no other voter that could lead";
            return Err(Error::overloaded("LeaderNotTransferred", message));
        };
        let membership = metrics.membership_config.membership();
        let place = membership.get_node(&to.0).filter(|_| membership.voter_ids().any(|voter| voter == to.0));
        let Some(place) = place else { return Err(not_voter(to)) };
        if to == self.node {
            return Ok(to);
        }
        if !self.is_alive(&metrics, to.0) {
            let message = format!("node {to} was not heard of lately");
            return Err(Error::overloaded(code::NODE_UNREACHABLE, message));
        }
        let _takes_commits_again = HandingOver::begin(&self.group, hint(to, place));
        let limit = Duration::from_millis(self.limits.hand_over_ms_max);
        let handed_over = async {
            self.drained().await;
            self.raft.trigger().transfer_leader(to.0).await.ok()?;
            let mut metrics = self.raft.server_metrics();
            loop {
                let leader = metrics.borrow_watched().current_leader;
                if let Some(leader) = leader.filter(|leader| *leader != self.node.0) {
                    return Some(NodeId(leader));
                }
                metrics.changed().await.ok()?;
            }
        };
        match runtime::timeout(limit, handed_over).await {
            Ok(Some(leader)) => Ok(leader),
            _ => {
                let message = format!("node {to} has not taken the lead within {limit:?}");
                Err(Error::overloaded("LeaderNotTransferred", message))
            }
        }
    }

    /// The other voter that has most of the log, of those that are there.
    fn nearest(&self, metrics: &Metrics) -> Option<NodeId> {
        let voters = metrics.membership_config.membership().voter_ids();
        let others = voters.filter(|voter| *voter != self.node.0 && self.is_alive(metrics, *voter));
        let behind = |voter: &u64| self.entries_behind(metrics, *voter).unwrap_or(u64::MAX);
        others.min_by_key(behind).map(NodeId)
    }

    /// Waits until no commit is under way.
    async fn drained(&self) {
        while self.group.queue.read().undecided().commits > 0 || self.stages_parts() {
            runtime::sleep(DRAIN_LOOK).await;
        }
    }

    /// Before this node stops: where it leads, another one is to lead at once.
    pub async fn leave(&self) {
        let metrics = self.metrics();
        if self.leads(&metrics).is_err() || self.nearest(&metrics).is_none() {
            return;
        }
        // Whatever change is under way: the next leader goes on with it, and this node does not wait for it.
        if let Err(error) = self.hand_over(None).await {
            tracing::warn!(group = self.group.id.0, %error, "the lead was not handed over");
        }
    }

    /// Waits until this replica has come to what its leader had published when it was asked, or leads itself.
    pub async fn ready(&self) {
        loop {
            if self.is_current().await {
                return;
            }
            runtime::sleep(Duration::from_millis(self.limits.begin_look_ms)).await;
        }
    }

    /// Whether this replica has everything that was published anywhere when it was asked: a quorum confirms who leads.
    pub async fn is_current(&self) -> bool {
        is_current(&self.group, &self.raft, &self.peers, self.node).await
    }

    fn changed<T>(&self, result: Result<T, RaftError<RaftTypes, ClientWriteError<RaftTypes>>>) -> Result<()> {
        match result {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(self.not_leader()),
            Err(error) => Err(Error::overloaded("MembershipNotChanged", error.to_string())),
        }
    }
}

fn not_voter(node: NodeId) -> Error {
    Error::bad_request("NodeNotVoter", format!("node {node} is no voter of the group"))
}

/// See [`HandleGroup::is_current`].
pub async fn is_current(
    group: &Group,
    raft: &GroupRaft,
    peers: &crate::network::Peers,
    node: NodeId,
) -> bool {
    let (leader, place) = {
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let Some(leader) = metrics.current_leader else { return false };
        (NodeId(leader), metrics.membership_config.membership().get_node(&leader).cloned())
    };
    let mut position = group.position();
    if leader == node {
        let confirmed = raft.ensure_linearizable(openraft::raft::ReadPolicy::ReadIndex).await;
        return confirmed.is_ok() && position.borrow().ready;
    }
    let Some(place) = place else { return false };
    let Ok(published) = peers.confirm(group.id, leader, &place).await else { return false };
    let wait = Duration::from_millis(group.limits.read_wait_ms_max);
    let reached = position.wait_for(|position| position.published >= published);
    matches!(runtime::timeout(wait, reached).await, Ok(Ok(_)))
}

/// Whether a leader has heard of another replica within the time in which it would be missed.
pub fn is_heard_of(metrics: &Metrics, node: u64, limits: &StoreLimits) -> bool {
    let election = Duration::from_millis(limits.election_ms_max);
    silence(metrics, node).is_some_and(|silent| silent < election)
}

fn silence(metrics: &Metrics, node: u64) -> Option<Duration> {
    let heard = metrics.heartbeat.as_ref()?.get(&node)?.as_ref()?;
    Some(Instant::elapsed(&**heard))
}

/// Where a member of a group is.
pub fn hint(node: NodeId, place: &Node) -> Arc<LeaderHint> {
    let zone = Some(place.zone.clone()).filter(|zone| !zone.is_empty());
    Arc::new(LeaderHint { node, address: place.address.clone(), zone })
}

/// While it lives the group takes no commits.
struct HandingOver<'g>(&'g Group);

impl HandingOver<'_> {
    fn begin(group: &Group, to: Arc<LeaderHint>) -> HandingOver<'_> {
        group.decide(|queue| {
            queue.hand_over(Some(to));
            Vec::new()
        });
        HandingOver(group)
    }
}

impl Drop for HandingOver<'_> {
    fn drop(&mut self) {
        self.0.decide(|queue| {
            queue.hand_over(None);
            Vec::new()
        });
    }
}

/// What a leader sees to without being asked: that its own place is known as it is now, and that a change of the voters which
/// an earlier leader began is finished.
pub async fn keep_in_order(group: &Group, raft: &GroupRaft, node: NodeId, place: &Node) {
    // Of two changes at a time one fails. It is looked again soon.
    let Ok(_one_at_a_time) = group.changing.try_lock() else { return };
    let membership: Arc<StoredMembership> = raft.server_metrics().borrow_watched().membership_config.clone();
    let membership = membership.membership();
    let changes = if membership.get_joint_config().len() > 1 {
        ChangeMembers::AddVoterIds(BTreeSet::new())
    } else if membership.get_node(&node.0).is_some_and(|known| known != place) {
        ChangeMembers::SetNodes(BTreeMap::from([(node.0, place.clone())]))
    } else {
        return;
    };
    if let Err(error) = raft.change_membership(changes, false).await {
        tracing::warn!(group = group.id.0, %error, "the membership is not as it should be");
    }
}
