//! Against a real log in a temporary folder.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, GroupId,
    Hold, HoldId, Lookup, Position, Read, ReadAt, ReadResult, Result, Sequencer, StreamEvents, Timestamp,
    TransactionLog,
};
use futures::poll;
use sequencer::{Dependencies, Service};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

const GROUP: GroupId = GroupId(1);
const DEV: DeploymentRef = DeploymentRef { group: GROUP, deployment: DeploymentId(1) };

/// The log, but each confirmation waits to be let through, and is counted.
struct Counted {
    log: txlog::Handle,
    begun: AtomicU64,
    gate: Semaphore,
}

#[async_trait]
impl TransactionLog for Counted {
    fn position(&self, group: GroupId) -> Result<watch::Receiver<Position>> {
        self.log.position(group)
    }
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome> {
        self.log.commit(commit).await
    }
    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup> {
        self.log.lookup(at, id).await
    }
    async fn read(&self, deployment: DeploymentRef, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        self.log.read(deployment, at, reads).await
    }
    async fn confirm_leadership(&self, group: GroupId) -> Result<Position> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.expect("the gate stays").forget();
        self.log.confirm_leadership(group).await
    }
    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        self.log.subscribe(deployment, from).await
    }
    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        self.log.backfill(step).await
    }
    async fn hold(&self, group: GroupId, hold: Hold) -> Result<Duration> {
        self.log.hold(group, hold).await
    }
    async fn release(&self, group: GroupId, id: HoldId) -> Result<()> {
        self.log.release(group, id).await
    }
}

fn some_commit(log: &impl TransactionLog) -> Commit {
    let position = log.position(GROUP).unwrap().borrow().clone();
    Commit {
        deployment: DEV,
        epoch: position.epoch,
        id: CommitId([1; 16]),
        run: 1,
        begin: ReadAt::published(position.published),
        read_set: Arc::default(),
        writes: vec![contract::Write {
            primary: contract::IndexId([1; 16]),
            key: bytes::Bytes::from_static(b"key"),
            document: Some(contract::document::encode("{}", 2)),
            index_updates: Vec::new(),
        }],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_confirmation_serves_all_calls_that_began_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (log_token, token) = (CancellationToken::new(), CancellationToken::new());
    let log_service =
        txlog::Service::start(txlog::Options::embedded(folder.path()), log_token.clone()).await.unwrap();
    let log =
        Arc::new(Counted { log: log_service.handle(), begun: AtomicU64::new(0), gate: Semaphore::new(0) });
    let service = Service::start(Dependencies { log: log.clone() }, token.clone());
    let sequencer = service.handle();
    // A call that was polled once has begun: it confirms, or waits for whoever does.
    let mut first = sequencer.latest(GROUP);
    assert!(poll!(&mut first).is_pending());
    assert_eq!(log.begun.load(Ordering::SeqCst), 1);
    // These come while the first is under way: it must not serve them; one more serves all of them.
    let CommitOutcome::Committed { timestamp } = log.commit(some_commit(&*log)).await.unwrap() else {
        panic!("not committed")
    };
    let mut later: Vec<_> = (0..50).map(|_| sequencer.latest(GROUP)).collect();
    for call in &mut later {
        assert!(poll!(call).is_pending());
    }
    assert_eq!(log.begun.load(Ordering::SeqCst), 1, "the others wait for the first to end");
    log.gate.add_permits(1);
    assert!(first.await.unwrap().ready);
    log.gate.add_permits(1);
    for position in futures::future::join_all(later).await {
        assert!(position.unwrap().published >= timestamp, "it holds what was acknowledged before the call");
    }
    assert_eq!(log.begun.load(Ordering::SeqCst), 2);
    assert!(sequencer.latest(GroupId(9)).await.is_err(), "there is no such group");

    // Whoever has begun is answered before the service has stopped, and nobody begins after that.
    let mut last = sequencer.latest(GROUP);
    assert!(poll!(&mut last).is_pending());
    token.cancel();
    let mut stopped = Box::pin(service.stopped());
    assert!(poll!(&mut stopped).is_pending());
    log.gate.add_permits(1);
    assert!(last.await.unwrap().ready);
    stopped.await;
    assert_eq!(sequencer.latest(GROUP).await.unwrap_err().code, "ShuttingDown");
    drop((sequencer, log));
    log_token.cancel();
    log_service.stopped().await;
}
