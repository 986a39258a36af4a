//! The log as its callers see it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, DeploymentRef, Error, ErrorKind,
    GroupId, Hold, HoldId, Lookup, NodeId, Position, Read, ReadAt, ReadResult, ReadSet, Result, StreamEvents,
    Timestamp, TransactionLog, code,
};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    following,
    group::Group,
    leading::{self, Asked},
    limits::RouterLimits,
};

/// Where the router's callers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// The node that they run on.
    pub node: NodeId,
    /// Its availability zone, if that is known.
    pub zone: Option<String>,
}

/// A replica of a group: a log in this process, or a client of one.
#[derive(Clone)]
pub struct Replica {
    /// The node that it lives on.
    pub node: NodeId,
    /// Its availability zone, if that is known.
    pub zone: Option<String>,
    /// The way to it. MUST know the position of the group.
    pub log: Arc<dyn TransactionLog>,
}

impl Here {
    /// The same node, the same zone, farther away.
    pub(crate) fn distance_to(&self, replica: &Replica) -> u8 {
        match () {
            () if replica.node == self.node => 0,
            () if replica.zone.is_some() && replica.zone == self.zone => 1,
            () => 2,
        }
    }
}

/// One log, made of the replicas of each group. Cheap to clone; what follows the replicas' positions ends with the last clone.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

struct Shared {
    here: Here,
    limits: RouterLimits,
    groups: RwLock<HashMap<GroupId, Arc<Group>>>,
}

impl Router {
    /// Knows no group yet.
    pub fn new(here: Here, limits: RouterLimits) -> Router {
        Router { shared: Arc::new(Shared { here, limits, groups: RwLock::default() }) }
    }

    /// From now on these are the replicas of the group; to be called again whenever they are others. Streams that are open go on.
    /// Must be called on a runtime.
    ///
    /// Errors: as [`TransactionLog::position`] of a replica's log; then all stays as it was.
    pub fn set_replicas(&self, group: GroupId, replicas: Vec<Replica>) -> Result<()> {
        let known = self.shared.groups.read().get(&group).cloned();
        let of = known.unwrap_or_else(|| Arc::new(Group::new(self.shared.limits)));
        of.set(group, &self.shared.here, replicas)?;
        self.shared.groups.write().entry(group).or_insert(of);
        Ok(())
    }

    /// Calls to the group end with `GroupNotFound` from now on.
    pub fn remove(&self, group: GroupId) {
        self.shared.groups.write().remove(&group);
    }

    pub(crate) fn group(&self, group: GroupId) -> Result<Arc<Group>> {
        self.shared.groups.read().get(&group).cloned().ok_or_else(|| {
            let message = format!("it is not known where group {} lives", group.0);
            Error::new(ErrorKind::NotFound, code::GROUP_NOT_FOUND, message)
        })
    }
}

/// Whether an error says something of the replica and not of what was asked: another one may answer.
pub(crate) fn is_of_the_replica(error: &Error) -> bool {
    [code::NODE_UNREACHABLE, code::CONNECTION_LOST, code::CALL_TIMED_OUT, code::SHUTTING_DOWN]
        .contains(&&*error.code)
}

#[async_trait]
impl TransactionLog for Router {
    /// The newest epoch that any replica knows of, and what is published at the nearest one. `ready`: somebody takes commits.
    fn position(&self, group: GroupId) -> Result<watch::Receiver<Position>> {
        Ok(self.group(group)?.position())
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome> {
        self.commit_and_tell(commit, &mut || ()).await
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
        let outcome = match self.group(commit.deployment.group) {
            Ok(group) => leading::commit(&group, commit, &mut tell_once).await,
            Err(error) => Err(error),
        };
        tell_once();
        outcome
    }

    fn head(&self, group: GroupId) -> Option<ReadAt> {
        self.group(group).ok()?.leader()?.log.head(group)
    }

    fn unchanged_until(&self, deployment: DeploymentRef, seen: ReadAt, read_set: &ReadSet) -> Option<ReadAt> {
        self.group(deployment.group).ok()?.leader()?.log.unchanged_until(deployment, seen, read_set)
    }

    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup> {
        let group = self.group(at.group)?;
        leading::ask(&group, |log| async move {
            match log.lookup(at, id).await {
                Ok(Lookup::NotLeader(hint)) => {
                    Asked::Elsewhere { hint: hint.clone(), otherwise: Ok(Lookup::NotLeader(hint)) }
                }
                answer => Asked::from(answer),
            }
        })
        .await
    }

    async fn read(&self, deployment: DeploymentRef, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        let group = self.group(deployment.group)?;
        match at.epoch {
            Some(epoch) => leading::read(&group, epoch, deployment, at, reads).await,
            None => following::read(&group, deployment, at, reads).await,
        }
    }

    async fn confirm_leadership(&self, group: GroupId) -> Result<Position> {
        let of = self.group(group)?;
        let position =
            leading::ask(&of, |log| async move { Asked::from(log.confirm_leadership(group).await) }).await?;
        of.learn(&position);
        Ok(position)
    }

    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        following::subscribe(self.group(deployment.group)?, deployment, from).await
    }

    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        let group = self.group(step.deployment.group)?;
        let step = &step;
        // A step may be sent again.
        leading::ask(&group, |log| async move { Asked::from(log.backfill(step.clone()).await) }).await
    }

    async fn hold(&self, group: GroupId, hold: Hold) -> Result<Duration> {
        let of = self.group(group)?;
        leading::ask(&of, |log| async move { Asked::from(log.hold(group, hold).await) }).await
    }

    async fn release(&self, group: GroupId, id: HoldId) -> Result<()> {
        let of = self.group(group)?;
        leading::ask(&of, |log| async move { Asked::from(log.release(group, id).await) }).await
    }
}
