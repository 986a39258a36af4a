//! A cluster in this process: each node a service of its own behind a gRPC server on loopback, and between them a network that
//! can be cut.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use contract::{
    Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, GroupId, IndexId, Interval, NodeId, Order,
    Read, ReadAt, ReadResult, Timestamp, TransactionLog, Write,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Server, Uri};
use txlog::{Beginning, Channels, FatalHandler, GroupStatus, Handle, Options, Service, StartError};

pub const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
pub const BY_ID: IndexId = IndexId([1; 16]);
pub const CLUSTER: &str = "test";
/// Longer than anything takes, on a busy machine as well.
const WAIT: Duration = Duration::from_secs(60);

/// What happens to what one node sends to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are closed, and none is made.
    Closed,
    /// Connections stay, and nothing arrives.
    Silent,
}

type Faults = HashMap<(u64, u64), Fault>;

pub struct Network {
    faults: watch::Sender<Faults>,
    /// Which node listens there.
    nodes: Mutex<HashMap<String, u64>>,
    /// How many connections were asked for.
    pub connects: AtomicU64,
    /// Who answers whoever wants to know who is there, and nobody that calls it by its number.
    pub shy: Mutex<HashSet<u64>>,
}

impl Network {
    fn new() -> Arc<Network> {
        Arc::new(Network {
            faults: watch::Sender::new(Faults::new()),
            nodes: Mutex::default(),
            connects: AtomicU64::new(0),
            shy: Mutex::default(),
        })
    }

    fn channels(self: &Arc<Network>, from: u64) -> Channels {
        let network = self.clone();
        Channels::new(move |node, address, _| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(io::Error::other)?;
            let (network, address) = (network.clone(), address.to_owned());
            Ok(endpoint.connect_timeout(Duration::from_secs(1)).connect_with_connector_lazy(
                tower::service_fn(move |_: Uri| {
                    let (network, address) = (network.clone(), address.clone());
                    async move { network.connect((from, node), &address).await.map(TokioIo::new) }
                }),
            ))
        })
    }

    async fn connect(
        &self,
        (from, by_number): (u64, Option<NodeId>),
        address: &str,
    ) -> io::Result<DuplexStream> {
        self.connects.fetch_add(1, Ordering::Relaxed);
        let to = self.nodes.lock().unwrap().get(address).copied().unwrap_or(0);
        let line = (from, to);
        let mut faults = self.faults.subscribe();
        let is_refused = by_number.is_some() && self.shy.lock().unwrap().contains(&to);
        if is_refused || faults.borrow().contains_key(&line) {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the network is cut"));
        }
        let mut connection = TcpStream::connect(address).await?;
        connection.set_nodelay(true)?;
        let (ours, mut theirs) = tokio::io::duplex(256 << 10);
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut theirs, &mut connection) => return,
                _ = faults.wait_for(|faults| faults.contains_key(&line)) => {}
            }
            // Half of a message may be on its way: the connection can't be used again.
            let _ = faults.wait_for(|faults| faults.get(&line) != Some(&Fault::Silent)).await;
        });
        Ok(ours)
    }

    pub fn set(&self, from: u64, to: u64, fault: Option<Fault>) {
        self.faults.send_modify(|faults| {
            match fault {
                Some(fault) => faults.insert((from, to), fault),
                None => faults.remove(&(from, to)),
            };
        });
    }
}

pub struct Running {
    pub service: Service,
    pub log: Handle,
    token: CancellationToken,
    server: JoinHandle<()>,
    serves: CancellationToken,
}

pub struct Cluster {
    pub network: Arc<Network>,
    pub nodes: BTreeMap<u64, Running>,
    addresses: BTreeMap<u64, String>,
    /// How many begin the cluster.
    voters: u64,
    change: Box<dyn Fn(&mut Options) + Send + Sync>,
    /// The reasons for which processes would have ended.
    fatal: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for running in self.nodes.values() {
            running.token.cancel();
            running.serves.cancel();
            running.server.abort();
        }
    }
}

impl Cluster {
    /// A cluster of so many voters, each of which has caught up with a leader.
    pub async fn start(voters: u64) -> Cluster {
        Cluster::start_with(voters, |_| {}).await
    }

    pub async fn start_with(voters: u64, change: impl Fn(&mut Options) + Send + Sync + 'static) -> Cluster {
        let mut cluster = Cluster::empty(voters, change).await;
        // The first one comes last: the others wait for it.
        for node in (1..=voters).rev() {
            cluster.start_node(node).await;
        }
        cluster.ready().await;
        cluster
    }

    /// A cluster none of whose nodes is started.
    pub async fn empty(voters: u64, change: impl Fn(&mut Options) + Send + Sync + 'static) -> Cluster {
        let mut cluster = Cluster {
            folder: tempfile::tempdir().unwrap(),
            fatal: Arc::default(),
            network: Network::new(),
            nodes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            voters,
            change: Box::new(change),
        };
        for node in 1..=voters {
            cluster.give_address(node).await;
        }
        cluster
    }

    async fn give_address(&mut self, node: u64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        self.network.nodes.lock().unwrap().insert(address.clone(), node);
        self.addresses.insert(node, address);
    }

    /// A node that does not run gets another address.
    pub async fn move_node(&mut self, node: u64) {
        self.network.nodes.lock().unwrap().remove(&self.addresses[&node]);
        self.give_address(node).await;
    }

    pub fn address(&self, node: u64) -> &str {
        &self.addresses[&node]
    }

    pub fn folder(&self, node: u64) -> PathBuf {
        self.folder.path().join(format!("node-{node}"))
    }

    pub async fn start_node(&mut self, node: u64) {
        if !self.addresses.contains_key(&node) {
            self.give_address(node).await;
        }
        let mut options = Options::embedded(self.folder(node));
        options.node = NodeId(node);
        options.cluster = CLUSTER.into();
        options.address = self.addresses[&node].clone();
        options.zone = format!("zone-{node}");
        let peers = self.addresses.values().cloned().collect();
        options.beginning = Beginning::Together { voters: self.voters, peers };
        options.channels = self.network.channels(node);
        options.store.heartbeat_ms = 100;
        options.store.election_ms_min = 500;
        options.store.election_ms_max = 1_000;
        options.store.raft_answer_ms_max = 1_000;
        options.store.begin_look_ms = 20;
        options.store.hand_over_ms_max = 1_000;
        let fatal = self.fatal.clone();
        options.fatal = FatalHandler::new(move |reason| {
            eprintln!("node {node} ends: {reason}");
            fatal.lock().unwrap().push(format!("node {node}: {reason}"));
        });
        (self.change)(&mut options);
        let token = CancellationToken::new();
        let begun = Instant::now();
        let service = loop {
            match Service::start(options.clone(), token.clone()).await {
                // A task of the Raft library may hold the store of the node before a moment longer than its service.
                Err(StartError::Open(_)) if begun.elapsed() < WAIT => sleep(Duration::from_millis(10)).await,
                started => break started.expect("the service starts"),
            }
        };
        let listener = TcpListener::bind(&self.addresses[&node]).await.expect("its address is free");
        let connections = futures::stream::unfold(listener, |listener| async {
            Some((listener.accept().await.map(|(connection, _)| connection), listener))
        });
        let serves = CancellationToken::new();
        let server = Server::builder()
            .add_service(service.raft_service())
            .serve_with_incoming_shutdown(connections, serves.clone().cancelled_owned());
        let server = tokio::spawn(async move { drop(server.await) });
        let log = service.handle();
        self.nodes.insert(node, Running { service, log, token, server, serves });
    }

    /// Waits until every node has caught up with a leader.
    pub async fn ready(&self) {
        for (node, running) in &self.nodes {
            let ready = tokio::time::timeout(WAIT, running.log.ready()).await;
            assert!(ready.is_ok(), "node {node} is not ready: {:?}", self.statuses());
        }
        self.assert_alive();
    }

    /// No process would have ended by itself.
    fn assert_alive(&self) {
        let fatal = self.fatal.lock().unwrap();
        assert!(fatal.is_empty(), "{fatal:?}");
    }

    /// In order: a leader hands over.
    pub async fn stop(&mut self, node: u64) {
        let Running { service, log, token, server, serves } = self.nodes.remove(&node).unwrap();
        drop(log);
        token.cancel();
        service.stopped().await;
        serves.cancel();
        server.abort();
        let _ = server.await;
    }

    /// As if its machine had lost its network: nobody hears of it any more. Then it stops.
    pub async fn kill(&mut self, node: u64) {
        self.isolate(node, Some(Fault::Closed));
        self.stop(node).await;
    }

    pub async fn restart(&mut self, node: u64) {
        self.isolate(node, None);
        self.start_node(node).await;
    }

    /// Cuts a node off from all others, or connects it again.
    pub fn isolate(&self, node: u64, fault: Option<Fault>) {
        for other in self.addresses.keys().filter(|other| **other != node) {
            self.network.set(node, *other, fault);
            self.network.set(*other, node, fault);
        }
    }

    pub fn log(&self, node: u64) -> Handle {
        self.nodes[&node].log.clone()
    }

    pub fn status(&self, node: u64) -> GroupStatus {
        self.nodes[&node].log.status(DEV.group).unwrap()
    }

    pub fn statuses(&self) -> Vec<GroupStatus> {
        self.nodes.keys().map(|node| self.status(*node)).collect()
    }

    /// Waits until exactly these nodes hear of no leader, and say so wherever they are asked.
    pub async fn are_without_leader(&self, nodes: &[u64]) {
        let is_without = |node: &u64| {
            let log = self.log(*node);
            let is_measured = log.raft_metrics().iter().all(|raft| !raft.has_leader);
            [!log.without_leader().is_empty(), self.status(*node).leader.is_none(), is_measured]
        };
        let found = async {
            let expected = |node: &u64| is_without(node) == [nodes.contains(node); 3];
            while !self.nodes.keys().all(expected) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(WAIT, found).await;
        assert!(found.is_ok(), "without a leader are not {nodes:?}: {:?}", self.statuses());
    }

    /// The node that leads and takes commits, once there is one.
    pub async fn leader(&self) -> u64 {
        self.leader_of(|_| true).await
    }

    pub async fn leader_of(&self, accept: impl Fn(u64) -> bool) -> u64 {
        let leads = async {
            loop {
                // A leader of an older term may not have heard yet that it has lost.
                let leader = self
                    .statuses()
                    .into_iter()
                    .filter(|status| status.ready)
                    .max_by_key(|status| status.term);
                if let Some(leader) = leader.filter(|status| accept(status.node.0)) {
                    return leader.node.0;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let leader = tokio::time::timeout(WAIT, leads).await;
        leader.unwrap_or_else(|_| panic!("nobody leads: {:?}", self.statuses()))
    }

    /// Commits by whoever leads, however often that changes, and says when.
    pub async fn commit(&self, id: u128, writes: Vec<Write>) -> Timestamp {
        let logs: Vec<Handle> = self.nodes.values().map(|running| running.log.clone()).collect();
        tokio::time::timeout(WAIT, commit_at(&logs, id, writes)).await.expect("somebody commits it").0
    }

    /// What a node has at a moment, once it has come there: keys and their documents.
    pub async fn documents(&self, node: u64, at: Timestamp) -> BTreeMap<Bytes, Bytes> {
        let log = self.log(node);
        let mut position = log.position(DEV.group).unwrap();
        let reached = position.wait_for(|position| position.published >= at);
        let reached = tokio::time::timeout(WAIT, reached).await;
        assert!(reached.is_ok(), "node {node} has not come to {at}: {:?}", self.statuses());
        let mut documents = BTreeMap::new();
        let mut start = Bytes::new();
        loop {
            let interval = Interval { start: start.clone(), end: None };
            let (index, order) = (BY_ID, Order::Ascending);
            let read = Read::Range { index, interval, order, rows_max: usize::MAX, bytes_max: usize::MAX };
            let results = log.read(DEV, ReadAt::published(at), &[read]).await;
            let Ok(results) = results else {
                // Its data may just have been replaced.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let [ReadResult::Range { rows, more }] = &results[..] else { panic!("a range was asked for") };
            for row in rows {
                documents.insert(row.key.clone(), row.version.document.clone());
            }
            match rows.last().filter(|_| *more) {
                Some(last) => start = [&last.key[..], &[0]].concat().into(),
                None => return documents,
            }
        }
    }

    pub async fn stop_all(&mut self) {
        // Whoever goes last finds nobody to hand over to.
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.stop(node).await;
        }
        self.assert_alive();
    }
}

/// Commits by whichever of the logs takes it. When, and how often it was refused because another one leads.
pub async fn commit_at(logs: &[Handle], id: u128, writes: Vec<Write>) -> (Timestamp, u64) {
    let mut refused = 0;
    loop {
        let of = |log: &Handle| log.position(DEV.group).unwrap().borrow().clone();
        // One that is cut off does not know yet that it leads no more.
        let leader = logs.iter().map(|log| (of(log), log)).filter(|(position, _)| position.ready);
        if let Some((position, log)) = leader.max_by_key(|(position, _)| position.epoch) {
            let commit = Commit {
                deployment: DEV,
                epoch: position.epoch,
                id: CommitId(id.to_be_bytes()),
                run: 1,
                begin: ReadAt::published(position.published),
                read_set: Arc::default(),
                writes: writes.clone(),
            };
            // The same id: if it has come through, its record answers.
            match tokio::time::timeout(Duration::from_secs(2), log.commit(commit)).await {
                Ok(Ok(CommitOutcome::Committed { timestamp })) => return (timestamp, refused),
                Ok(Ok(CommitOutcome::NotLeader(_))) => refused += 1,
                Ok(Ok(CommitOutcome::Unknown | CommitOutcome::NotCommitted)) | Err(_) => refused += 1_000_000,
                other => panic!("it is refused: {other:?}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn write(key: impl Into<String>, document: &[u8]) -> Write {
    Write {
        primary: BY_ID,
        key: key.into().into(),
        document: Some(Bytes::copy_from_slice(document)),
        index_updates: Vec::new(),
    }
}

pub fn delete(key: impl Into<String>) -> Write {
    Write { primary: BY_ID, key: key.into().into(), document: None, index_updates: Vec::new() }
}
