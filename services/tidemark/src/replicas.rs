//! The replicas of a group as the router of this process has them: its own, if it keeps one, and those of other nodes as the
//! membership names them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contract::{GroupId, NodeId, TransactionLog};
use futures::future::join_all;
use log_router::{Replica, Router};
use mtls::{Expected, Role, Roles};
use rpc::GrpcTransactionLog;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{node::Calls, pools::Pools};

/// How often it is looked who belongs to the group, and whether who was not reached can be.
const LOOK: Duration = Duration::from_millis(500);

/// Who keeps the log.
pub const KEEPS_LOG: Roles = Roles::of(&[Role::Txlog]);

/// From where it is known who belongs to a group.
#[derive(Clone)]
pub enum Source {
    /// The replica of this process.
    Own(txlog::Handle),
    /// What others say that have one.
    Others(Pools),
}

/// What gives a router its replicas.
pub struct Replicas {
    pub node: NodeId,
    pub zone: Option<String>,
    pub source: Source,
    pub calls: Calls,
}

/// A member of a group on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    node: NodeId,
    address: String,
    zone: Option<String>,
}

/// A replica of another node.
struct Reached {
    address: String,
    zone: Option<String>,
    log: Arc<dyn TransactionLog>,
}

impl Replicas {
    fn own(&self) -> Option<Replica> {
        match &self.source {
            Source::Own(log) => {
                Some(Replica { node: self.node, zone: self.zone.clone(), log: Arc::new(log.clone()) })
            }
            Source::Others(_) => None,
        }
    }

    /// Gives the router the replica of this process alone.
    pub fn begin(&self, router: &Router, group: GroupId) -> contract::Result<()> {
        router.set_replicas(group, self.own().into_iter().collect())
    }

    /// Gives the router the replicas of the others once they are reached, until the token. A node that can't be reached now stands
    /// in nobody's way: reads go to the others, and it is tried again.
    pub async fn follow(self, router: Router, group: GroupId, shutdown: CancellationToken) {
        let following = async {
            let mut reached: BTreeMap<NodeId, Reached> = BTreeMap::new();
            loop {
                if self.reach(group, &mut reached).await {
                    let others = reached.iter().map(|(node, reached)| Replica {
                        node: *node,
                        zone: reached.zone.clone(),
                        log: reached.log.clone(),
                    });
                    if let Err(error) =
                        router.set_replicas(group, self.own().into_iter().chain(others).collect())
                    {
                        tracing::warn!(group = group.0, %error, "the replicas of a group are not all known");
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        shutdown.run_until_cancelled(following).await;
    }

    /// `None` while nobody says who they are.
    fn others(&self, group: GroupId) -> Option<Vec<Other>> {
        let zone = |zone: String| Some(zone).filter(|zone| !zone.is_empty());
        let others: Vec<Other> = match &self.source {
            Source::Own(log) => {
                let members = log.status(group).ok()?.replicas.into_iter();
                members.map(|it| Other { node: it.node, address: it.address, zone: zone(it.zone) }).collect()
            }
            Source::Others(pools) => {
                let told = pools.with_role(Role::Txlog).into_iter().flat_map(|process| process.status.groups);
                let newest = told.filter(|told| told.group == group.0).max_by_key(|told| told.term)?;
                let members = newest.members.into_iter();
                members
                    .map(|it| Other { node: NodeId(it.node), address: it.address, zone: zone(it.zone) })
                    .collect()
            }
        };
        let is_own = |node: NodeId| node == self.node && matches!(self.source, Source::Own(_));
        Some(others.into_iter().filter(|other| !is_own(other.node)).collect())
    }

    /// Whether there are others now.
    async fn reach(&self, group: GroupId, reached: &mut BTreeMap<NodeId, Reached>) -> bool {
        let Some(others) = self.others(group) else { return false };
        let before = reached.len();
        reached.retain(|node, known| {
            others.iter().any(|other| other.node == *node && other.address == known.address)
        });
        let mut has_changed = reached.len() < before;
        let missing = others.into_iter().filter(|other| !reached.contains_key(&other.node));
        let new = missing.map(|other| async move {
            let log = self.connect(group, &other).await;
            (other, log)
        });
        for (Other { node, address, zone }, log) in join_all(new).await {
            if let Some(log) = log {
                reached.insert(node, Reached { address, zone, log });
                has_changed = true;
            }
        }
        has_changed
    }

    async fn connect(&self, group: GroupId, other: &Other) -> Option<Arc<dyn TransactionLog>> {
        let expected = Expected { roles: KEEPS_LOG, node: Some(other.node) };
        let connected = async {
            let channel = self
                .calls
                .channel(&other.address, expected)
                .map_err(|error| contract::Error::internal(error.to_string()))?;
            GrpcTransactionLog::connect(channel, &[group], self.calls.rpc).await
        };
        match timeout(Duration::from_millis(self.calls.rpc.connect_ms_max), connected).await {
            Ok(Ok(log)) => Some(Arc::new(log)),
            Ok(Err(error)) => {
                tracing::debug!(node = other.node.0, %error, "a replica is not reached yet");
                None
            }
            Err(_) => None,
        }
    }
}
