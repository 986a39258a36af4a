//! Which processes there are in the cluster and what each does, found out by asking the peers again and again.
//!
//! A process that does not do everything itself calls others by their role: each connection goes to one of those that do what is wanted,
//! in the same zone if there is one. When it breaks, or is old, another may be chosen.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use contract::NodeId;
use futures::future::join_all;
use mtls::{Expected, Role, Roles};
use proto::admin::v1::{StatusReply, StatusRequest, admin_client::AdminClient};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};

use crate::{
    configuration::{Peer, host_and_port},
    node::{self, Calls},
};

/// How often the peers are asked.
const LOOK: Duration = Duration::from_secs(2);
/// How often while somebody waits for a role that nobody has, as when all start at once.
const LOOK_WANTED: Duration = Duration::from_millis(100);
/// How long one may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// Whoever is a process of the cluster.
const ANYBODY: Expected = Expected { roles: Roles::ALL, node: None };

/// The processes that answered when they were last asked. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pools(Arc<Shared>);

#[derive(Default)]
struct Shared {
    processes: watch::Sender<Vec<Process>>,
    /// Told by whoever waits for a role that nobody has.
    wanted: Notify,
}

/// A process of the cluster.
#[derive(Clone, Debug)]
pub struct Process {
    pub node: NodeId,
    pub roles: Roles,
    pub host: String,
    pub port: u16,
    pub zone: String,
    /// What it said.
    pub status: StatusReply,
}

impl Process {
    /// `None` if it says what no process would.
    fn of(status: StatusReply) -> Option<Process> {
        let (host, port) = host_and_port("address", &status.address).ok()?;
        let roles = Roles::parse(status.roles.split('+')).ok()?;
        Some(Process { node: NodeId(status.node), roles, host, port, zone: status.zone.clone(), status })
    }
}

/// Each process once, however many addresses lead to it. Those of one pool may have one number, as they have one certificate.
fn distinct(answers: impl Iterator<Item = StatusReply>) -> Vec<Process> {
    let mut processes: Vec<Process> = answers.filter_map(Process::of).collect();
    processes
        .sort_by(|one, other| (one.node, &one.host, one.port).cmp(&(other.node, &other.host, other.port)));
    processes.dedup_by(|one, other| (&one.host, one.port) == (&other.host, other.port));
    processes
}

impl Pools {
    /// Asks the peers again and again, until the token.
    pub async fn follow(self, peers: Vec<Peer>, calls: Calls, shutdown: CancellationToken) {
        let following = async {
            let mut clients: HashMap<String, AdminClient<Channel>> = HashMap::new();
            loop {
                let addresses = node::addresses(&peers).await;
                clients.retain(|address, _| addresses.contains(address));
                for address in addresses {
                    if !clients.contains_key(&address)
                        && let Ok(channel) = calls.channel(&address, ANYBODY)
                    {
                        clients.insert(address, AdminClient::new(channel));
                    }
                }
                let answers = clients.values().map(|client| {
                    let mut client = client.clone();
                    let mut request = Request::new(StatusRequest {});
                    request.set_timeout(ANSWER_TIME_MAX);
                    async move { client.status(request).await.ok().map(|reply| reply.into_inner()) }
                });
                let answers = join_all(answers).await;
                self.0.processes.send_replace(distinct(answers.into_iter().flatten()));
                tokio::time::sleep(LOOK_WANTED).await;
                let _ = tokio::time::timeout(LOOK - LOOK_WANTED, self.0.wanted.notified()).await;
            }
        };
        shutdown.run_until_cancelled(following).await;
    }

    /// Those with a role.
    pub fn with_role(&self, role: Role) -> Vec<Process> {
        self.0.processes.borrow().iter().filter(|process| process.roles.has(role)).cloned().collect()
    }

    /// One of those with a role, in the zone if there is one. Each call may choose another.
    fn choose(&self, role: Role, zone: &str) -> Option<(String, u16)> {
        let all = self.with_role(role);
        let near: Vec<&Process> = all.iter().filter(|process| process.zone == zone).collect();
        let choice = if near.is_empty() { all.iter().collect() } else { near };
        let process = choice.get(RandomState::new().hash_one(0) as usize % choice.len().max(1))?;
        Some((process.host.clone(), process.port))
    }

    /// The same as soon as there is one: the look at the peers goes on for whoever waits.
    async fn chosen(&self, role: Role, zone: &str) -> (String, u16) {
        let mut processes = self.0.processes.subscribe();
        loop {
            if let Some(chosen) = self.choose(role, zone) {
                return chosen;
            }
            self.0.wanted.notify_one();
            processes.changed().await.expect("the sender is held");
        }
    }

    /// A channel to one of those with a role. While nobody has it, its connections wait for somebody, for half the time that a
    /// connection may take.
    pub fn channel(&self, role: Role, zone: String, calls: &Calls) -> Channel {
        let endpoint = rpc::endpoint(NOWHERE.parse().expect("it is a URI"), &calls.rpc);
        let expected = Expected { roles: Roles::of(&[role]), node: None };
        let pools = self.clone();
        let wait = Duration::from_millis(calls.rpc.connect_ms_max) / 2;
        let choose = move || {
            let (pools, zone) = (pools.clone(), zone.clone());
            async move { tokio::time::timeout(wait, pools.chosen(role, &zone)).await.ok() }
        };
        mtls::connect_to(endpoint, expected, &calls.security, choose)
    }
}

/// What requests are addressed to; where they go is decided for each connection.
const NOWHERE: &str = "http://cluster.invalid";

#[cfg(test)]
mod tests {
    use super::*;

    fn process(node: u64, roles: &str, zone: &str) -> Process {
        let status = StatusReply {
            node,
            roles: roles.into(),
            zone: zone.into(),
            address: format!("host{node}:3213"),
            ..StatusReply::default()
        };
        Process::of(status).expect("a process")
    }

    #[test]
    fn one_in_the_same_zone_is_chosen_and_another_where_there_is_none() {
        let pools = Pools::default();
        assert_eq!(pools.choose(Role::Runner, "a"), None);
        pools.0.processes.send_replace(vec![
            process(1, "all", "a"),
            process(2, "gateway", "b"),
            process(3, "runner+fanout", "b"),
        ]);
        for _ in 0..20 {
            assert_eq!(pools.choose(Role::Runner, "b"), Some(("host3".into(), 3213)));
            assert_eq!(pools.choose(Role::Txlog, "b"), Some(("host1".into(), 3213)));
        }
        let chosen: std::collections::HashSet<_> =
            (0..100).map(|_| pools.choose(Role::Runner, "c")).collect();
        assert_eq!(chosen.len(), 2, "each in its turn");
    }

    #[tokio::test]
    async fn who_wants_what_nobody_does_waits_for_somebody() {
        let pools = Pools::default();
        let waiting = pools.clone();
        let waiting = tokio::spawn(async move { waiting.chosen(Role::Runner, "a").await });
        // It asks for another look, also after one that found nobody with that role.
        pools.0.wanted.notified().await;
        pools.0.processes.send_replace(vec![process(1, "gateway", "a")]);
        pools.0.wanted.notified().await;
        pools.0.processes.send_replace(vec![process(2, "runner", "b")]);
        assert_eq!(waiting.await.expect("it ends"), ("host2".into(), 3213));
    }

    #[test]
    fn the_processes_of_a_pool_share_a_number_and_each_counts_once() {
        let status = |node, address: &str| StatusReply {
            node,
            roles: "runner".into(),
            address: address.into(),
            ..StatusReply::default()
        };
        let answers = [
            status(1001, "two:3213"),
            status(1, "node:3213"),
            status(1001, "one:3213"),
            status(1001, "two:3213"),
        ];
        let hosts: Vec<_> = distinct(answers.into_iter()).into_iter().map(|process| process.host).collect();
        assert_eq!(hosts, ["node", "one", "two"]);
    }

    #[test]
    fn what_is_no_process_is_passed_over() {
        for (roles, address) in [("al", "host:1"), ("all", "host"), ("all", "ho st:1"), ("", "host:1")] {
            let status =
                StatusReply { roles: roles.into(), address: address.into(), ..StatusReply::default() };
            assert!(Process::of(status).is_none(), "{roles} {address}");
        }
    }
}
