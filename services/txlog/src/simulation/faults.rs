//! What goes wrong. Each seed has some kinds of trouble, and others not at all.

use std::{sync::Arc, time::Duration};

use contract::NodeId;
use rand::{RngExt, seq::SliceRandom};

use super::{
    cluster::{Cluster, GROUP, address_of, zone_of},
    disk::Behaviour,
    network::{Link, OUTSIDE, Server, Weather},
    runtime,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Crash,
    CrashOfAll,
    Isolation,
    OneWay,
    Bridge,
    SlowDisk,
    FailingDisk,
    Clock,
    Pause,
    Weather,
    Leadership,
    Membership,
}

const FAULTS: [Fault; 12] = [
    Fault::Crash,
    Fault::CrashOfAll,
    Fault::Isolation,
    Fault::OneWay,
    Fault::Bridge,
    Fault::SlowDisk,
    Fault::FailingDisk,
    Fault::Clock,
    Fault::Pause,
    Fault::Weather,
    Fault::Leadership,
    Fault::Membership,
];

const BETWEEN: Duration = Duration::from_millis(600);
const VOTERS_MIN: usize = 3;
const VOTERS_MAX: usize = 5;
/// How long a change of the members may take.
const CHANGE: Duration = Duration::from_secs(3);

pub struct Trouble {
    cluster: Arc<Cluster>,
    faults: Vec<Fault>,
    /// The last id that was given to a node.
    last_id: u64,
}

impl Trouble {
    pub fn new(cluster: Arc<Cluster>, last_id: u64) -> Trouble {
        let faults: Vec<Fault> = FAULTS.into_iter().filter(|_| runtime::happens(450)).collect();
        runtime::note(format_args!("faults: {faults:?}"));
        Trouble { cluster, faults, last_id }
    }

    pub async fn make(mut self, until: Duration) {
        while runtime::time() < until {
            runtime::sleep(runtime::up_to(BETWEEN)).await;
            // Half of the time something gets better.
            if runtime::happens(350) {
                self.cluster.network.heal();
            }
            if let Some(fault) = choose(&self.faults) {
                self.happen(fault).await;
            }
        }
        self.end();
    }

    /// From here on nothing goes wrong.
    fn end(&self) {
        runtime::note(format_args!("healed"));
        self.cluster.network.heal();
        self.cluster.network.change(Weather::default());
        self.cluster.set_downtime(Duration::from_millis(200));
        for id in self.cluster.nodes() {
            *self.cluster.disk(id).log.behaviour.lock() = Behaviour::default();
            if let Some(process) = self.cluster.process(id) {
                runtime::go_on(process);
            }
        }
    }

    async fn happen(&mut self, fault: Fault) {
        let nodes = self.cluster.nodes();
        let Some(one) = choose(&nodes) else { return };
        let others: Vec<u64> = nodes.iter().copied().filter(|id| *id != one).collect();
        let network = &self.cluster.network;
        match fault {
            Fault::Crash => self.cluster.crash(one),
            Fault::CrashOfAll => {
                if runtime::happens(300) {
                    nodes.iter().for_each(|id| self.cluster.crash(*id));
                }
            }
            Fault::Isolation => {
                let from_all = if runtime::happens(500) { vec![OUTSIDE] } else { Vec::new() };
                let links = others.iter().chain(&from_all).flat_map(|other| both(one, *other));
                runtime::note(format_args!("node {one} is cut off"));
                network.cut(links);
            }
            Fault::OneWay => {
                let Some(other) = choose(&others) else { return };
                runtime::note(format_args!("{one} does not reach {other}"));
                network.cut([(one, other)]);
            }
            Fault::Bridge => {
                // The others are in two halves that only this one reaches.
                let mut others = others;
                runtime::random(|random| others.shuffle(random));
                let (left, right) = others.split_at(others.len() / 2);
                runtime::note(format_args!("node {one} is a bridge"));
                network.cut(
                    left.iter().flat_map(|left| right.iter().flat_map(move |right| both(*left, *right))),
                );
            }
            Fault::SlowDisk => {
                let write = runtime::up_to(Duration::from_millis(120));
                self.cluster.disk(one).log.behaviour.lock().write = write;
            }
            Fault::FailingDisk => {
                if runtime::happens(500) {
                    self.cluster.disk(one).log.behaviour.lock().fails = true;
                }
            }
            Fault::Clock => {
                let ms = [5, -5, 300, -300, 15_000, -15_000, 3_600_000, -3_600_000];
                let ms: i64 = choose(&ms).unwrap_or(0);
                runtime::note(format_args!("the clock of node {one} steps by {ms} ms"));
                self.cluster.step_clock(one, ms * 1_000_000);
            }
            Fault::Pause => {
                if let Some(process) = self.cluster.process(one) {
                    let pause = runtime::up_to(Duration::from_millis(1_500));
                    runtime::note(format_args!("node {one} stands still for {pause:?}"));
                    runtime::pause(process);
                    runtime::spawn(async move {
                        runtime::sleep(pause).await;
                        runtime::go_on(process);
                    });
                }
            }
            Fault::Weather => network.change(Weather {
                delay: runtime::up_to(Duration::from_millis(30)),
                lost_permille: runtime::random(|random| random.random_range(0..100)),
                twice_permille: runtime::random(|random| random.random_range(0..300)),
            }),
            Fault::Leadership => {
                let Some((leader, _)) = self.cluster.leader() else { return };
                let to = runtime::happens(700).then_some(NodeId(one));
                runtime::note(format_args!("{leader} hands over to {to:?}"));
                let work =
                    move |server: Server| async move { server.handle.transfer_leader(GROUP, to).await };
                let network = network.clone();
                runtime::spawn(async move { network.call((OUTSIDE, leader), CHANGE, work).await });
            }
            Fault::Membership => self.change_members().await,
        }
    }

    /// Adds a node, or removes one for good.
    async fn change_members(&mut self) {
        let Some((leader, _)) = self.cluster.leader() else { return };
        let voters = self.cluster.voters();
        if voters.len() > VOTERS_MIN && runtime::happens(500) || voters.len() >= VOTERS_MAX {
            let Some(gone) = choose(&voters) else { return };
            runtime::note(format_args!("{leader} removes {gone} of {voters:?}"));
            let work = move |server: Server| async move {
                server.handle.remove_node(GROUP, NodeId(gone)).await.is_ok()
            };
            let removed = self.cluster.network.call((OUTSIDE, leader), CHANGE, work);
            if removed.await == Some(true) {
                runtime::note(format_args!("{gone} is removed"));
                self.cluster.retire(gone);
            }
            return;
        }
        self.last_id += 1;
        let new = self.last_id;
        runtime::note(format_args!("{leader} adds {new} to {voters:?}"));
        self.cluster.add(new);
        let instead_of = voters.iter().copied().find(|id| *id != leader).filter(|_| runtime::happens(300));
        let work = move |server: Server| async move {
            let (address, zone) = (address_of(new), zone_of(new));
            let instead_of = instead_of.map(NodeId);
            server.handle.add_node(GROUP, NodeId(new), (&address, &zone), instead_of).await.is_ok()
        };
        let added = self.cluster.network.call((OUTSIDE, leader), CHANGE, work);
        if added.await == Some(true) {
            runtime::note(format_args!("{new} is added"));
            if let Some(gone) = instead_of {
                self.cluster.retire(gone);
            }
        }
    }
}

fn both(one: u64, other: u64) -> [Link; 2] {
    [(one, other), (other, one)]
}

fn choose<T: Clone>(among: &[T]) -> Option<T> {
    if among.is_empty() {
        return None;
    }
    Some(among[runtime::random(|random| random.random_range(0..among.len()))].clone())
}
