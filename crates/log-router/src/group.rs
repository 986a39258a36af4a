//! One group: its replicas in the order of their distance, which of them rest, and what their positions say.

use std::sync::Arc;

use contract::{Epoch, NodeId, Position, Result, Timestamp, TransactionLog};
use futures::{StreamExt as _, stream};
use parking_lot::{Mutex, RwLock};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_stream::wrappers::WatchStream;

use crate::{
    limits::RouterLimits,
    position::merged,
    rest::Rest,
    router::{Here, Replica},
};

/// A replica, and how it does.
pub(crate) struct Member {
    pub node: NodeId,
    pub log: Arc<dyn TransactionLog>,
    position: watch::Receiver<Position>,
    rest: Mutex<Rest>,
}

impl Member {
    fn is_resting(&self) -> bool {
        self.rest.lock().is_resting(now())
    }

    /// Whether it has ever been reached, and has answered the last time.
    fn is_trusted(&self) -> bool {
        self.position.borrow().epoch > Epoch::default() && !self.rest.lock().has_failed()
    }

    pub fn published(&self) -> Timestamp {
        self.position.borrow().published
    }
}

pub(crate) struct Group {
    pub limits: RouterLimits,
    /// The nearest first.
    members: RwLock<Arc<[Arc<Member>]>>,
    position: watch::Sender<Position>,
    /// Follows the members' positions; another one when they change.
    follower: Mutex<JoinSet<()>>,
}

impl Group {
    pub fn new(limits: RouterLimits) -> Group {
        let position =
            Position { epoch: Epoch::default(), ready: false, published: Timestamp::ZERO, leader: None };
        Group {
            limits,
            members: RwLock::new(Arc::new([])),
            position: watch::Sender::new(position),
            follower: Mutex::default(),
        }
    }

    /// From now on these are the group's replicas.
    pub fn set(
        self: &Arc<Self>,
        group: contract::GroupId,
        here: &Here,
        replicas: Vec<Replica>,
    ) -> Result<()> {
        let mut replicas = replicas;
        // Stable: those that are equally far stay in the order in which they came.
        replicas.sort_by_key(|replica| here.distance_to(replica));
        let member = |replica: Replica| {
            let position = replica.log.position(group)?;
            Ok(Arc::new(Member { node: replica.node, log: replica.log, position, rest: Mutex::default() }))
        };
        let members: Arc<[Arc<Member>]> = replicas.into_iter().map(member).collect::<Result<_>>()?;
        *self.members.write() = members.clone();
        self.show();
        let changes: Vec<_> =
            members.iter().map(|member| WatchStream::from_changes(member.position.clone())).collect();
        let group = Arc::downgrade(self);
        let mut follower = JoinSet::new();
        follower.spawn(async move {
            let mut changes = stream::select_all(changes);
            while changes.next().await.is_some() {
                let Some(group) = group.upgrade() else { return };
                group.show();
            }
        });
        // What followed before ends with its set.
        *self.follower.lock() = follower;
        // What changed between the first look and the beginning of the second is not missed.
        self.show();
        Ok(())
    }

    pub fn members(&self) -> Arc<[Arc<Member>]> {
        self.members.read().clone()
    }

    /// The members in the order in which they are asked: the nearest first, and those that rest behind all others.
    pub fn by_nearness(&self) -> Vec<Arc<Member>> {
        let members = self.members();
        let (resting, well): (Vec<_>, Vec<_>) =
            members.iter().cloned().partition(|member| member.is_resting());
        well.into_iter().chain(resting).collect()
    }

    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// Shows what the members' positions say now.
    pub fn show(&self) {
        let members = self.members();
        let positions: Vec<_> = members.iter().map(|member| member.position.borrow().clone()).collect();
        // What has failed shows an old position, and nobody reads there.
        let nearest = members.iter().position(|member| member.is_trusted());
        let nearest = match nearest {
            Some(nearest) => positions.get(nearest),
            None => positions.iter().max_by_key(|position| position.published),
        };
        let Some(nearest) = nearest else { return };
        self.position.send_if_modified(|known| {
            let now = merged(known, &positions, nearest);
            let is_new = *known != now;
            *known = now;
            is_new
        });
    }

    /// Somebody who leads has said where it stands.
    pub fn learn(&self, led: &Position) {
        self.position.send_if_modified(|known| {
            let is_new = led.epoch > known.epoch || (led.epoch == known.epoch && known.leader != led.leader);
            if is_new {
                known.epoch = led.epoch;
                known.ready = led.ready;
                known.leader = led.leader.clone();
            }
            is_new
        });
    }

    /// The member that leads the newest epoch, as far as anybody has heard.
    pub fn leader(&self) -> Option<Arc<Member>> {
        let members = self.members();
        let (epoch, hint) = {
            let known = self.position.borrow();
            (known.epoch, known.leader.as_ref().map(|leader| leader.node))
        };
        let leads = |member: &&Arc<Member>| {
            let position = member.position.borrow();
            position.ready && position.epoch == epoch
        };
        let hinted = || members.iter().find(|member| Some(member.node) == hint);
        members.iter().find(leads).or_else(hinted).cloned()
    }

    pub fn member(&self, node: NodeId) -> Option<Arc<Member>> {
        self.members().iter().find(|member| member.node == node).cloned()
    }

    /// It did not answer, or could not.
    pub fn failed(&self, member: &Member) {
        let was_resting = {
            let mut rest = member.rest.lock();
            let was_resting = rest.is_resting(now());
            rest.failed(now(), &self.limits);
            was_resting
        };
        if !was_resting {
            tracing::debug!(node = %member.node, "a replica is left alone for a while");
            self.show();
        }
    }

    pub fn answered(&self, member: &Member) {
        let was_resting = member.rest.lock().answered();
        if was_resting {
            self.show();
        }
    }
}

fn now() -> Instant {
    Instant::now()
}
