//! The nodes of a simulated cluster: what [`crate::Service`] puts together, on disks, a network and clocks in the test's hand.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use contract::{DeploymentId, DeploymentRef, GroupId, NodeId, Timestamp, TransactionLog};
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use rand::RngExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    disk::Disk,
    network::{Network, Server},
    runtime::{self, Owner},
    wire::Wire,
};
use crate::{
    apply::AppliedState,
    channels::Channels,
    clock::Clock,
    fatal::FatalHandler,
    formation::Beginning,
    handle::{Handle, HandleGroup},
    level::level_in_time,
    network::Peers,
    options::{Deployment, Options},
    proposer::{follow_leadership, propose_batches},
    raft_log::RaftLogs,
    raft_server::RaftService,
    raft_types::{DiskId, Node},
    service::{Begun, StartError, as_long_as_raft, begin, delete_unassigned, led_by_quorum, start_group},
    upkeep::{flush_in_time, sweep_in_time},
};

pub const GROUP: GroupId = GroupId(1);
/// Where clients write documents, with an index.
pub const DOCUMENTS: DeploymentRef = DeploymentRef { group: GROUP, deployment: DeploymentId(1) };
/// Where clients append to lists.
pub const LISTS: DeploymentRef = DeploymentRef { group: GROUP, deployment: DeploymentId(2) };

/// When the simulated world begins.
const BEGINNING_NS: u64 = 1_700_000_000_000_000_000;

pub struct Cluster {
    pub network: Arc<Network>,
    options: Options,
    nodes: Mutex<BTreeMap<u64, Machine>>,
    downtime: Mutex<Duration>,
}

/// What a node runs on.
struct Machine {
    disk: Disk,
    disk_id: DiskId,
    /// How far its wall clock is ahead.
    clock_ns: Arc<AtomicI64>,
    /// What runs on it.
    process: Option<Owner>,
    /// Nothing is started on it any more.
    retired: bool,
}

impl Cluster {
    pub fn new(options: Options) -> Arc<Cluster> {
        Arc::new(Cluster {
            network: Arc::default(),
            options,
            nodes: Mutex::default(),
            downtime: Mutex::new(Duration::from_secs(1)),
        })
    }

    /// A machine with an empty disk.
    pub fn add(self: &Arc<Self>, id: u64) {
        let disk_id = DiskId(runtime::random(|random| random.random()));
        let machine =
            Machine { disk: Disk::new(), disk_id, clock_ns: Arc::default(), process: None, retired: false };
        assert!(self.nodes.lock().insert(id, machine).is_none(), "an id is used once");
        self.start(id);
    }

    pub fn nodes(&self) -> Vec<u64> {
        let nodes = self.nodes.lock();
        nodes.iter().filter(|(_, machine)| !machine.retired).map(|(id, _)| *id).collect()
    }

    /// How long nodes stay down, at most.
    pub fn set_downtime(&self, downtime: Duration) {
        *self.downtime.lock() = downtime;
    }

    fn with<T>(&self, id: u64, change: impl FnOnce(&mut Machine) -> T) -> T {
        change(self.nodes.lock().get_mut(&id).expect("it was added"))
    }

    pub fn process(&self, id: u64) -> Option<Owner> {
        self.with(id, |machine| machine.process)
    }

    pub fn disk(&self, id: u64) -> Disk {
        self.with(id, |machine| machine.disk.clone())
    }

    /// Puts a node's clock forward or back.
    pub fn step_clock(&self, id: u64, ns: i64) {
        let clock = self.with(id, |machine| machine.clock_ns.clone());
        clock.fetch_add(ns, Ordering::Relaxed);
    }

    pub fn crash(&self, id: u64) {
        if let Some(process) = self.process(id) {
            runtime::note(format_args!("node {id} crashes"));
            runtime::kill(process);
        }
    }

    /// Stops a node for good.
    pub fn retire(&self, id: u64) {
        self.with(id, |machine| machine.retired = true);
        self.crash(id);
    }

    fn start(self: &Arc<Self>, id: u64) {
        let process = runtime::owner();
        self.with(id, |machine| machine.process = Some(process));
        let cluster = self.clone();
        let life = runtime::spawn_for(process, async move { cluster.live(id, process).await });
        let cluster = self.clone();
        runtime::spawn_for(Owner::WORLD, async move {
            let ended = life.await;
            assert!(ended.is_err(), "a process lives until it is killed");
            cluster.network.gone(id);
            cluster.disk(id).crash();
            let retired = cluster.with(id, |machine| {
                machine.process = None;
                machine.retired
            });
            if !retired {
                let downtime = *cluster.downtime.lock();
                runtime::sleep(runtime::up_to(downtime)).await;
                cluster.start_again(id);
            }
        });
    }

    fn start_again(self: &Arc<Self>, id: u64) {
        if !self.with(id, |machine| machine.retired) {
            runtime::note(format_args!("node {id} starts again"));
            self.start(id);
        }
    }

    /// What a process does from its start on: as [`crate::Service::start`].
    async fn live(self: Arc<Self>, id: u64, process: Owner) {
        let (disk, disk_id, clock_ns) =
            self.with(id, |machine| (machine.disk.clone(), machine.disk_id, machine.clock_ns.clone()));
        let fatal = FatalHandler::new(move |reason| {
            runtime::note(format_args!("node {id} ends: {reason}"));
            runtime::end()
        });
        let clock = Clock::new(move || {
            let since = i64::try_from(runtime::time().as_nanos()).expect("a short while");
            let ahead = since + clock_ns.load(Ordering::Relaxed);
            Timestamp::new(BEGINNING_NS.saturating_add_signed(ahead)).expect("in range")
        });
        let network = self.network.clone();
        let channels = Channels::simulated(move |_, address, _| {
            let to = id_at(address).ok_or(io::ErrorKind::InvalidInput)?;
            Ok(Wire::Simulated { network: network.clone(), link: (id, to) })
        });
        let node = NodeId(id);
        let options = Options { node, clock, channels, fatal: fatal.clone(), ..self.options.clone() };
        let place = Node { address: address_of(id), zone: zone_of(id), disk: Some(disk_id) };
        let logs = RaftLogs::simulated(disk.log.clone(), &options.store, fatal.clone());
        let store = Arc::new(disk.state(&options.store));
        let started = |error: StartError| -> ! { panic!("node {id} does not start: {error}") };
        delete_unassigned(&store).unwrap_or_else(|error| started(error));
        let deployments: Vec<DeploymentId> =
            options.deployments.iter().map(|deployment| deployment.at.deployment).collect();
        let peers =
            Arc::new(Peers::new(options.cluster.clone(), node, options.channels.clone(), &options.store));
        let (under_way, token) = (TaskTracker::new(), CancellationToken::new());
        let service =
            RaftService::new(options.cluster.clone(), node, place.clone(), under_way.clone(), token.clone());
        let (group, raft) = start_group(&options, GROUP, deployments, &logs, &store, &peers)
            .await
            .unwrap_or_else(|error| started(error));
        let begun = begin(&options, (GROUP, &place), &raft, &peers, &token).await;
        match begun.unwrap_or_else(|error| started(error)) {
            Begun::Alone => panic!("node {id} is never alone"),
            Begun::WithOthers => {}
            Begun::By(beginning) => drop(runtime::spawn(beginning)),
        }
        service.add(group.clone(), raft.clone());
        let following = follow_leadership(group.clone(), raft.clone(), token.clone());
        runtime::spawn(as_long_as_raft(following, GROUP, fatal.clone(), token.clone()));
        let proposing = propose_batches(group.clone(), raft.clone(), token.clone());
        runtime::spawn(as_long_as_raft(proposing, GROUP, fatal.clone(), token.clone()));
        let of_group = (group.clone(), raft.clone(), peers.clone());
        runtime::spawn(sweep_in_time(of_group, place, options.clone(), token.clone()));
        runtime::spawn(group.buffer.clone().tick_in_time(
            Duration::from_millis(options.limits.stream_quiet_ms),
            Duration::from_millis(options.limits.stream_heartbeat_ms),
            led_by_quorum(group.clone(), raft.clone(), peers.clone(), node),
            token.clone(),
        ));
        let flushed = vec![(group.clone(), raft.clone(), logs.group(GROUP))];
        runtime::spawn(flush_in_time(flushed, store, options.clone(), token.clone()));
        let look = Duration::from_millis(options.limits.clock_look_ms);
        let leveled = vec![(group.clone(), raft.clone())];
        runtime::spawn(level_in_time(leveled, peers.clone(), node, look, token.clone()));
        let of_handle =
            HandleGroup::new((group.clone(), raft.clone()), (node, peers), options.store, under_way, fatal);
        let groups = HashMap::from([(GROUP, Arc::new(of_handle))]);
        let handle = Handle::new(groups, options.deployments, logs.gauges(), token);
        let service = service.service(options.store.raft_message_bytes_max);
        self.network.serve(id, Server { owner: process, raft, group, handle, service });
        runtime::note(format_args!("node {id} is up"));
        // The log is open as long as this lives.
        std::future::pending::<()>().await;
        drop(logs);
    }

    /// Who leads now and takes commits, as itself says.
    pub fn leader(&self) -> Option<(u64, Server)> {
        let ready = |server: &Server| server.handle.position(GROUP).is_ok_and(|at| at.borrow().ready);
        self.network.servers().into_iter().find(|(_, server)| ready(server))
    }

    /// Who is in the group, as the leader knows.
    pub fn voters(&self) -> Vec<u64> {
        let Some((_, leader)) = self.leader() else { return Vec::new() };
        leader.raft.server_metrics().borrow_watched().membership_config.voter_ids().collect()
    }

    /// How far each node that is up has come.
    pub fn applied(&self) -> BTreeMap<u64, AppliedState> {
        self.network.servers().into_iter().map(|(id, server)| (id, server.group.applied())).collect()
    }
}

pub fn address_of(id: u64) -> String {
    format!("node-{id}:1")
}

fn id_at(address: &str) -> Option<u64> {
    address.strip_prefix("node-")?.strip_suffix(":1")?.parse().ok()
}

pub fn zone_of(id: u64) -> String {
    format!("zone-{}", id % 3)
}

/// Small limits, so that each of them is reached, and quick ones, so that little time shows much.
pub fn options(founders: u64) -> Options {
    let mut options = Options::embedded("/nowhere");
    options.cluster = "simulation".into();
    options.beginning =
        Beginning::Together { voters: founders, peers: (1..=founders).map(address_of).collect() };
    options.deployments = [("documents", DOCUMENTS), ("lists", LISTS)]
        .map(|(name, at)| Deployment { name: name.into(), at })
        .into();
    let limits = &mut options.limits;
    limits.batch_commits_max = 4;
    limits.batches_in_flight_max = runtime::random(|random| random.random_range(1..=6));
    limits.single_entry_bytes_max = 400;
    limits.staged_entry_bytes_max = 150;
    limits.read_page_documents_max = super::documents::PAGE.rows_max;
    limits.retention_ms_min = 600;
    limits.window_age_ms_min = 400;
    limits.window_bytes_max = 20_000;
    // Longer than anybody looks for a commit: nearly all that goes wrong does so within the first half of it.
    limits.commit_record_age_ms = 12_000;
    limits.read_wait_ms_max = 200;
    limits.stream_heartbeat_ms = 150;
    limits.stream_quiet_ms = 40;
    limits.clock_jump_ms_max = 20_000;
    limits.clock_jump_trusted_ms = 3_000;
    limits.clock_look_ms = 600;
    let store = &mut options.store;
    store.unflushed_look_ms = 40;
    store.unflushed_ms_max = runtime::random(|random| [50, 150, 1_000][random.random_range(0..3)]);
    store.unflushed_bytes_max = 20_000;
    store.sweep_look_ms = 80;
    store.sweep_keys_max = 3;
    store.gaps_max = 8;
    store.gap_keys_min = 1;
    store.gap_young_ms = 10;
    store.gap_same_ms = 50;
    store.gap_old_ms = 200;
    store.log_entries_kept = runtime::random(|random| [3, 30, 300][random.random_range(0..3)]);
    store.log_bytes_kept_max = runtime::random(|random| [2_000, 20_000, 1 << 30][random.random_range(0..3)]);
    store.log_bytes_catching_up_max = store.log_bytes_kept_max * 2;
    store.raft_append_bytes_max = 1_500;
    store.raft_answer_ms_max = 400;
    store.snapshot_file_bytes_max = 2_000;
    store.snapshot_piece_bytes_max = 300;
    store.snapshot_answer_ms_max = 3_000;
    store.begin_look_ms = 50;
    store.hand_over_ms_max = 1_000;
    store.log_entry_cache_bytes_max = 4_000;
    store.apply_bytes_max = 400;
    store.heartbeat_ms = 100;
    store.election_ms_min = 250;
    store.election_ms_max = 500;
    options
}
