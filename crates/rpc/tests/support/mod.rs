//! A log behind a server, and a line to it that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, Epoch,
    GroupId, Hold, HoldId, Lookup, Position, Read, ReadAt, ReadResult, ReadSet, Result, StreamEvent,
    StreamEvents, Timestamp, TransactionLog,
};
use futures::StreamExt;
use rpc::{RpcLimits, TransactionLogServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};

/// No event of a test takes longer, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(120);
pub const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens")
}

/// A log that does what a test of the wire needs: commits for ever, reads what it is told to, and streams nothing but its
/// first event.
pub struct Scripted {
    pub position: watch::Sender<Position>,
    pub results: Vec<ReadResult>,
    pub commits: watch::Sender<usize>,
    /// Streams that are open.
    pub streams: Arc<AtomicUsize>,
    /// Every change of `streams` is told.
    pub streams_changed: Arc<tokio::sync::Notify>,
}

impl Default for Scripted {
    fn default() -> Scripted {
        let epoch = Epoch { term: 1, reset: 0 };
        Scripted {
            position: watch::Sender::new(Position {
                epoch,
                ready: true,
                published: Timestamp::ZERO,
                leader: None,
            }),
            results: Vec::new(),
            commits: watch::Sender::new(0),
            streams: Arc::default(),
            streams_changed: Arc::default(),
        }
    }
}

struct OpenStream(Arc<AtomicUsize>, Arc<tokio::sync::Notify>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        self.1.notify_waiters();
    }
}

#[async_trait]
impl TransactionLog for Scripted {
    fn position(&self, _: GroupId) -> Result<watch::Receiver<Position>> {
        Ok(self.position.subscribe())
    }
    async fn commit(&self, _: Commit) -> Result<CommitOutcome> {
        self.commits.send_modify(|commits| *commits += 1);
        std::future::pending().await
    }
    async fn lookup(&self, _: DeploymentRef, _: CommitId) -> Result<Lookup> {
        std::future::pending().await
    }
    async fn read(&self, _: DeploymentRef, _: ReadAt, _: &[Read]) -> Result<Vec<ReadResult>> {
        Ok(self.results.clone())
    }
    async fn confirm_leadership(&self, _: GroupId) -> Result<Position> {
        std::future::pending().await
    }
    async fn subscribe(&self, _: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        self.streams_changed.notify_waiters();
        let open = OpenStream(self.streams.clone(), self.streams_changed.clone());
        let epoch = self.position.borrow().epoch;
        let first = StreamEvent::Heartbeat { epoch, published: from };
        let rest = futures::stream::once(async move {
            let _open = open;
            std::future::pending().await
        });
        Ok(Box::pin(futures::stream::iter([first]).chain(rest)))
    }
    async fn backfill(&self, _: BackfillStep) -> Result<BackfillProgress> {
        std::future::pending().await
    }
    async fn hold(&self, _: GroupId, _: Hold) -> Result<Duration> {
        std::future::pending().await
    }
    async fn release(&self, _: GroupId, _: HoldId) -> Result<()> {
        std::future::pending().await
    }
}

pub fn commit() -> Commit {
    Commit {
        deployment: DEV,
        epoch: Epoch { term: 1, reset: 0 },
        id: CommitId([1; 16]),
        run: 1,
        begin: ReadAt::published(Timestamp::ZERO),
        read_set: Arc::new(ReadSet::new()),
        writes: Vec::new(),
    }
}

/// Serves the log until the tasks are dropped.
pub async fn serve(log: Arc<dyn TransactionLog>, limits: RpcLimits, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let connections = futures::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(connection, _)| connection), listener))
    });
    let server = rpc::server(&limits)
        .add_service(TransactionLogServer::service(log, limits))
        .serve_with_incoming(connections);
    tasks.spawn(async move { server.await.expect("it serves") });
    address
}

/// What becomes of the bytes between a client and a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Passes,
    /// Connections stay, and nothing comes through.
    Silent,
    /// Connections are closed, also new ones.
    Broken,
}

/// A line to the server at `to` that can be cut.
pub async fn wire(to: SocketAddr, tasks: &mut JoinSet<()>) -> (SocketAddr, watch::Sender<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (state, states) = watch::channel(Wire::Passes);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let states = states.clone();
            connections.spawn(async move {
                let Ok(server) = TcpStream::connect(to).await else { return };
                let (client, server) = (client.into_split(), server.into_split());
                let mut broken = states.clone();
                tokio::select! {
                    () = pass(client.0, server.1, states.clone()) => {}
                    () = pass(server.0, client.1, states) => {}
                    _ = broken.wait_for(|state| *state == Wire::Broken) => {}
                }
            });
        }
    });
    (address, state)
}

async fn pass(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut states: watch::Receiver<Wire>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if states.wait_for(|state| *state == Wire::Passes).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
