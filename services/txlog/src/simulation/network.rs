//! The network of a simulated cluster: messages take their time, get lost, come twice; links are cut one way or both.
//!
//! What clients do is a call: a message and its answer. What nodes do among themselves goes over connections ([`super::wire`]):
//! nothing on one is lost or overtaken, and it ends when its link is cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use proto::txlog::v1::raft_server::RaftServer;
use rand::RngExt;

use super::runtime::{self, Owner};
use crate::{group::Group, handle::Handle, proposer::GroupRaft, raft_server::RaftService};

/// Where everybody is who is no node.
pub const OUTSIDE: u64 = 0;

/// From one place to another.
pub type Link = (u64, u64);

#[derive(Default)]
pub struct Network {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    servers: BTreeMap<u64, Server>,
    cut: BTreeSet<Link>,
    weather: Weather,
}

/// A node that is up.
#[derive(Clone)]
pub struct Server {
    pub owner: Owner,
    pub raft: GroupRaft,
    pub group: Arc<Group>,
    pub handle: Handle,
    pub service: RaftServer<RaftService>,
}

#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// What a message takes at most, mostly.
    pub delay: Duration,
    pub lost_permille: u32,
    pub twice_permille: u32,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { delay: Duration::from_millis(1), lost_permille: 0, twice_permille: 0 }
    }
}

impl Network {
    pub fn serve(&self, node: u64, server: Server) {
        self.state.lock().servers.insert(node, server);
    }

    /// A node is down.
    pub fn gone(&self, node: u64) {
        let server = self.state.lock().servers.remove(&node);
        drop(server);
    }

    pub fn server(&self, node: u64) -> Option<Server> {
        self.state.lock().servers.get(&node).cloned()
    }

    /// Every node that is up.
    pub fn servers(&self) -> BTreeMap<u64, Server> {
        self.state.lock().servers.clone()
    }

    /// Some node that is up.
    pub fn anybody(&self) -> Option<u64> {
        let up: Vec<u64> = self.state.lock().servers.keys().copied().collect();
        (!up.is_empty()).then(|| up[runtime::random(|random| random.random_range(0..up.len()))])
    }

    pub fn cut(&self, links: impl IntoIterator<Item = Link>) {
        self.state.lock().cut.extend(links);
    }

    pub fn heal(&self) {
        self.state.lock().cut.clear();
    }

    pub fn change(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    fn weather(&self) -> Weather {
        self.state.lock().weather
    }

    pub fn is_open(&self, link: Link) -> bool {
        !self.state.lock().cut.contains(&link)
    }

    /// What a message takes: now and then long.
    pub fn delay(&self) -> Duration {
        let delay = runtime::up_to(self.weather().delay);
        if runtime::happens(15) { delay * 30 } else { delay }
    }

    /// A message on its way; whether it arrives.
    pub async fn travel(&self, link: Link) -> bool {
        runtime::sleep(self.delay()).await;
        self.is_open(link) && !runtime::happens(self.weather().lost_permille)
    }

    /// Has a node do something, and brings back what came of it. Without an answer it may have been done, may be done
    /// later, or never, or twice.
    pub async fn call<T, F>(
        self: &Arc<Self>,
        (from, to): Link,
        within: Duration,
        work: impl Fn(Server) -> F + Send + Sync + 'static,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = Arc::new(work);
        if runtime::happens(self.weather().twice_permille) {
            let (network, work) = (self.clone(), work.clone());
            runtime::spawn_for(Owner::WORLD, async move {
                runtime::sleep(network.delay() * 3).await;
                if network.travel((from, to)).await
                    && let Some(server) = network.server(to)
                {
                    runtime::spawn_for(server.owner, work(server));
                }
            });
        }
        let network = self.clone();
        let calling = async move {
            if !network.travel((from, to)).await {
                return std::future::pending().await;
            }
            let server = network.server(to)?;
            let answer = runtime::spawn_for(server.owner, work(server)).await.ok()?;
            if !network.travel((to, from)).await {
                return std::future::pending().await;
            }
            Some(answer)
        };
        runtime::timeout(within, calling).await.ok().flatten()
    }
}
