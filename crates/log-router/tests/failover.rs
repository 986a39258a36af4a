//! Where calls and streams go when replicas fail, fall silent, lead and stop leading. The replicas do what the test says.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitNotice, CommitOutcome, DeploymentId,
    DeploymentRef, Epoch, Error, ErrorKind, GroupId, Hold, HoldId, LeaderHint, Lookup, NodeId, Position,
    Read, ReadAt, ReadResult, Result, Sequencer, StreamEvent, StreamEvents, Timestamp, TransactionLog, code,
};
use futures::StreamExt as _;
use log_router::{Here, NearSequencer, Replica, Router, RouterLimits};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
/// No event of a test takes longer, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(120);
const LIMITS: RouterLimits = RouterLimits {
    leader_wait_ms_max: 2_000,
    leader_retry_ms: 5,
    // So long that nobody is taken for silent on a busy machine.
    stream_silence_ms_max: 2_000,
    stream_retry_ms: 5,
    stream_return_ms: 100,
    rest_ms_min: 2_000,
    rest_ms_max: 60_000,
    publish_wait_ms_max: 1_000,
};

fn timestamp(nanoseconds: u64) -> Timestamp {
    Timestamp::new(nanoseconds).expect("small")
}

fn epoch(term: u64) -> Epoch {
    Epoch { term, reset: 0 }
}

fn hint(node: u64) -> Option<Arc<LeaderHint>> {
    Some(Arc::new(LeaderHint { node: NodeId(node), address: format!("node{node}:3213"), zone: None }))
}

fn unreachable() -> Error {
    Error::overloaded(code::NODE_UNREACHABLE, "nobody is there")
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens")
}

/// A replica, and what the test has it do.
struct Node {
    position: watch::Sender<Position>,
    is_reached: watch::Sender<bool>,
    /// What it says of commits, in their order; `NotLeader` behind that.
    outcomes: Mutex<VecDeque<Result<CommitOutcome>>>,
    commits: AtomicUsize,
    reads: AtomicUsize,
    confirmations: AtomicUsize,
    /// The streams that were asked for: from where, and the way into them.
    streams: Mutex<Vec<(Timestamp, mpsc::UnboundedSender<StreamEvent>)>>,
    streams_changed: watch::Sender<usize>,
}

impl Node {
    fn new() -> Arc<Node> {
        let position = Position { epoch: epoch(1), ready: false, published: Timestamp::ZERO, leader: None };
        Arc::new(Node {
            position: watch::Sender::new(position),
            is_reached: watch::Sender::new(true),
            outcomes: Mutex::default(),
            commits: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            confirmations: AtomicUsize::new(0),
            streams: Mutex::default(),
            streams_changed: watch::Sender::new(0),
        })
    }

    fn leads(&self, term: u64, node: u64) {
        self.position.send_modify(|position| {
            (position.epoch, position.ready, position.leader) = (epoch(term), true, hint(node));
        });
    }

    fn follows(&self, term: u64, leader: Option<u64>) {
        self.position.send_modify(|position| {
            (position.epoch, position.ready) = (epoch(term), false);
            position.leader = leader.and_then(hint);
        });
    }

    fn publishes(&self, nanoseconds: u64) {
        self.position.send_modify(|position| position.published = timestamp(nanoseconds));
    }

    fn answers(&self, outcome: Result<CommitOutcome>) {
        self.outcomes.lock().push_back(outcome);
    }

    fn check(&self) -> Result<()> {
        if *self.is_reached.borrow() { Ok(()) } else { Err(unreachable()) }
    }

    /// The n-th stream, from 0, once it was asked for.
    async fn stream(&self, number: usize) -> (Timestamp, mpsc::UnboundedSender<StreamEvent>) {
        let mut changed = self.streams_changed.subscribe();
        in_time(changed.wait_for(|streams| *streams > number)).await.expect("the node lives");
        self.streams.lock()[number].clone()
    }
}

#[async_trait]
impl TransactionLog for Node {
    fn position(&self, _: GroupId) -> Result<watch::Receiver<Position>> {
        Ok(self.position.subscribe())
    }
    async fn commit(&self, _: Commit) -> Result<CommitOutcome> {
        self.check()?;
        self.commits.fetch_add(1, Ordering::SeqCst);
        let leader = self.position.borrow().leader.clone();
        self.outcomes.lock().pop_front().unwrap_or(Ok(CommitOutcome::NotLeader(leader)))
    }
    async fn lookup(&self, _: DeploymentRef, _: CommitId) -> Result<Lookup> {
        self.check()?;
        let position = self.position.borrow().clone();
        Ok(match position.ready {
            true => Lookup::Absent { epoch: position.epoch },
            false => Lookup::NotLeader(position.leader),
        })
    }
    async fn read(&self, _: DeploymentRef, at: ReadAt, _: &[Read]) -> Result<Vec<ReadResult>> {
        self.check()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        if at.epoch.is_none() && at.timestamp > self.position.borrow().published {
            return Err(Error::new(ErrorKind::Overloaded, code::NOT_YET, "it is behind"));
        }
        Ok(Vec::new())
    }
    async fn confirm_leadership(&self, _: GroupId) -> Result<Position> {
        self.check()?;
        self.confirmations.fetch_add(1, Ordering::SeqCst);
        // As long as a quorum takes.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let position = self.position.borrow().clone();
        match position.ready {
            true => Ok(position),
            false => Err(Error::new(ErrorKind::Overloaded, code::NOT_LEADER, "another one does")),
        }
    }
    async fn subscribe(&self, _: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        self.check()?;
        let (events, stream) = mpsc::unbounded_channel();
        self.streams.lock().push((from, events));
        self.streams_changed.send_modify(|streams| *streams += 1);
        Ok(UnboundedReceiverStream::new(stream).boxed())
    }
    async fn backfill(&self, _: BackfillStep) -> Result<BackfillProgress> {
        unreachable!("no test fills an index")
    }
    async fn hold(&self, _: GroupId, _: Hold) -> Result<Duration> {
        unreachable!("no test holds a moment")
    }
    async fn release(&self, _: GroupId, _: HoldId) -> Result<()> {
        unreachable!("no test holds a moment")
    }
}

/// A router on node 1, which is in a zone with node 2.
fn router(nodes: &[Arc<Node>]) -> Router {
    let router = Router::new(Here { node: NodeId(1), zone: Some("a".into()) }, LIMITS);
    set(&router, nodes);
    router
}

fn set(router: &Router, nodes: &[Arc<Node>]) {
    let replica = |(number, node): (u64, &Arc<Node>)| Replica {
        node: NodeId(number),
        zone: Some(if number <= 2 { "a".into() } else { "b".into() }),
        log: node.clone(),
    };
    // The nearest is not the first that is named.
    let mut replicas: Vec<_> = (1..).zip(nodes).map(replica).collect();
    replicas.reverse();
    router.set_replicas(DEV.group, replicas).expect("positions are known");
}

fn commit(term: u64) -> Commit {
    Commit {
        deployment: DEV,
        epoch: epoch(term),
        id: CommitId([1; 16]),
        run: 1,
        begin: ReadAt::published(Timestamp::ZERO),
        read_set: Arc::default(),
        writes: Vec::new(),
    }
}

fn committed() -> Result<CommitOutcome> {
    Ok(CommitOutcome::Committed { timestamp: timestamp(7) })
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_commit_goes_to_the_leader_and_by_hints_where_it_has_moved() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    nodes[2].leads(3, 3);
    nodes[2].answers(committed());
    let router = router(&nodes);
    assert_eq!(in_time(router.commit(commit(3))).await, committed());
    // Node 3 is thought to lead, and says that node 2 does.
    nodes[2].answers(Ok(CommitOutcome::NotLeader(hint(2))));
    nodes[1].answers(committed());
    assert_eq!(in_time(router.commit(commit(3))).await, committed());
    assert_eq!(count(&nodes[0].commits), 0);
    // Two that point at each other are asked once each.
    nodes[2].answers(Ok(CommitOutcome::NotLeader(hint(2))));
    nodes[1].answers(Ok(CommitOutcome::NotLeader(hint(3))));
    let outcome = in_time(router.commit(commit(3))).await;
    assert_eq!(outcome, Ok(CommitOutcome::NotLeader(hint(3))));
    assert_eq!([1, 2].map(|node: usize| count(&nodes[node].commits)), [2, 3]);
}

#[tokio::test]
async fn an_outcome_that_is_not_known_is_never_made_certain() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    nodes[2].leads(3, 3);
    nodes[1].follows(3, Some(3));
    let router = router(&nodes);
    // Nobody else is asked, and the same one not again: whoever has sent it looks it up.
    let lost = Error { retry: contract::Retry::Never, ..Error::internal("not understood") };
    for outcome in [Ok(CommitOutcome::Unknown), Err(lost)] {
        nodes[2].answers(outcome.clone());
        assert_eq!(in_time(router.commit(commit(3))).await, outcome);
    }
    assert_eq!(count(&nodes[2].commits), 2);
    assert_eq!(count(&nodes[0].commits) + count(&nodes[1].commits), 0);
}

#[tokio::test]
async fn a_commit_of_an_epoch_that_is_over_is_not_sent_at_all() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    nodes[1].leads(4, 2);
    let router = router(&nodes);
    assert_eq!(in_time(router.commit(commit(3))).await, Ok(CommitOutcome::NotLeader(hint(2))));
    assert!(nodes.iter().all(|node| count(&node.commits) == 0));
    // Read at its newest state, the transaction begins anew as well.
    let at = ReadAt { timestamp: timestamp(1), epoch: Some(epoch(3)) };
    assert_eq!(in_time(router.read(DEV, at, &[])).await.unwrap_err().code, code::EPOCH_ENDED);
}

#[tokio::test]
async fn a_commit_waits_for_an_election_and_no_longer_than_it_may() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    let router = router(&nodes);
    nodes[1].answers(committed());
    let waiting = tokio::spawn({
        let router = router.clone();
        async move { router.commit(commit(5)).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    nodes[1].leads(5, 2);
    assert_eq!(in_time(waiting).await.unwrap(), committed());
    // A leader that is not reached has not got it; the next one has.
    nodes[1].is_reached.send_replace(false);
    let waiting = tokio::spawn({
        let router = router.clone();
        async move { router.commit(commit(5)).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    nodes[0].leads(6, 1);
    assert_eq!(in_time(waiting).await.unwrap(), Ok(CommitOutcome::NotLeader(hint(1))), "it is of epoch 5");
    // Nobody comes to lead.
    let alone = self::router(&[Node::new()]);
    assert_eq!(in_time(alone.commit(commit(5))).await, Ok(CommitOutcome::NotLeader(None)));
    assert_eq!(in_time(alone.confirm_leadership(DEV.group)).await.unwrap_err().code, code::NOT_LEADER);
    assert_eq!(in_time(alone.lookup(DEV, CommitId([1; 16]))).await.unwrap_err().code, code::NOT_LEADER);
}

#[tokio::test]
async fn what_only_the_leader_answers_is_asked_until_it_does() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    nodes[0].follows(3, Some(2));
    nodes[1].follows(3, None);
    let router = router(&nodes);
    let looking = tokio::spawn({
        let router = router.clone();
        async move { (router.lookup(DEV, CommitId([1; 16])).await, router.confirm_leadership(DEV.group).await) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    // It leads, and nobody can say so but itself; then nobody reaches it, and another one leads.
    nodes[1].leads(3, 2);
    nodes[1].is_reached.send_replace(false);
    tokio::time::sleep(Duration::from_millis(50)).await;
    nodes[2].leads(4, 3);
    nodes[2].publishes(9);
    let (looked_up, confirmed) = in_time(looking).await.unwrap();
    assert_eq!(looked_up, Ok(Lookup::Absent { epoch: epoch(4) }));
    assert_eq!(confirmed.map(|position| position.published), Ok(timestamp(9)));
    assert_eq!(router.position(DEV.group).unwrap().borrow().epoch, epoch(4));
}

#[tokio::test]
async fn reads_go_to_the_nearest_and_fall_over() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    nodes[2].leads(3, 3);
    for node in &nodes {
        node.publishes(5);
    }
    let router = router(&nodes);
    let read = async |nanoseconds: u64| {
        in_time(router.read(DEV, ReadAt::published(timestamp(nanoseconds)), &[])).await.map(drop)
    };
    let asked = || [0, 1, 2].map(|node: usize| count(&nodes[node].reads));
    assert_eq!(read(5).await, Ok(()));
    assert_eq!(asked(), [1, 0, 0]);
    nodes[0].is_reached.send_replace(false);
    assert_eq!(read(5).await, Ok(()));
    // It is left alone for a while, so that not each read waits for it.
    nodes[0].is_reached.send_replace(true);
    assert_eq!(read(5).await, Ok(()));
    assert_eq!(asked(), [1, 2, 0]);
    // The nearest that is behind is none.
    nodes[2].publishes(8);
    assert_eq!(read(8).await, Ok(()));
    assert_eq!(asked()[2], 1);
    assert_eq!(read(99).await.unwrap_err().code, code::NOT_YET, "nobody has seen it");
    in_time(async {
        while asked()[0] < 5 {
            assert_eq!(read(5).await, Ok(()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_published_is_what_the_nearest_has_and_never_goes_back() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    nodes[2].leads(3, 3);
    nodes[0].publishes(5);
    nodes[2].publishes(9);
    let router = router(&nodes);
    let mut position = router.position(DEV.group).unwrap();
    let published = |position: &watch::Receiver<Position>| position.borrow().published.as_nanoseconds();
    assert_eq!((published(&position), position.borrow().ready), (5, true));
    nodes[0].publishes(6);
    in_time(position.wait_for(|position| position.published == timestamp(6))).await.unwrap();
    // With other replicas, nearer ones that are behind.
    set(&router, &[Node::new(), nodes[0].clone(), nodes[2].clone()]);
    assert_eq!(published(&position), 6);
    assert_eq!(router.position(GroupId(9)).unwrap_err().code, code::GROUP_NOT_FOUND);
    router.remove(DEV.group);
    assert_eq!(in_time(router.commit(commit(3))).await.unwrap_err().code, code::GROUP_NOT_FOUND);
}

fn commit_at(nanoseconds: u64) -> StreamEvent {
    StreamEvent::Commit(Arc::new(CommitNotice { timestamp: timestamp(nanoseconds), keys: Vec::new() }))
}

fn beat(nanoseconds: u64) -> StreamEvent {
    StreamEvent::Heartbeat { epoch: epoch(3), published: timestamp(nanoseconds) }
}

/// As a test reads it: `c5` a commit, `h5` a heartbeat, `l5` that it lagged.
async fn next(events: &mut StreamEvents) -> String {
    match in_time(events.next()).await.expect("it goes on") {
        StreamEvent::Commit(notice) => format!("c{}", notice.timestamp),
        StreamEvent::Heartbeat { published, .. } => format!("h{published}"),
        StreamEvent::Lagged { from } => format!("l{from}"),
    }
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_at_another_replica_without_a_gap() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    let router = router(&nodes);
    let mut events = in_time(router.subscribe(DEV, timestamp(4))).await.unwrap();
    let (from, first) = nodes[0].stream(0).await;
    assert_eq!(from, timestamp(4));
    first.send(commit_at(5)).unwrap();
    first.send(commit_at(6)).unwrap();
    assert_eq!([next(&mut events).await, next(&mut events).await], ["c5", "c6"]);
    nodes[0].is_reached.send_replace(false);
    nodes[0].streams.lock().clear();
    drop(first);
    let going_on = tokio::spawn(async move { (next(&mut events).await, next(&mut events).await, events) });
    let (from, second) = nodes[1].stream(0).await;
    assert_eq!(from, timestamp(6), "where it was");
    // What is behind says less than is known, and gives what was given.
    for event in [beat(3), commit_at(6), commit_at(8)] {
        second.send(event).unwrap();
    }
    let (beat, commit, _events) = in_time(going_on).await.unwrap();
    assert_eq!([beat, commit], ["h6", "c8"]);
}

#[tokio::test]
async fn a_stream_in_which_nothing_is_heard_goes_on_elsewhere_and_comes_back() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    let router = router(&nodes);
    let mut events = in_time(router.subscribe(DEV, timestamp(4))).await.unwrap();
    let (_, silent) = nodes[0].stream(0).await;
    silent.send(beat(4)).unwrap();
    assert_eq!(next(&mut events).await, "h4");
    // It is cut off from its leader, and its line is there.
    let (heard, mut hears) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let event = next(&mut events).await;
            if heard.send(event).is_err() {
                return;
            }
        }
    });
    let (from, elsewhere) = nodes[1].stream(0).await;
    assert_eq!(from, timestamp(4));
    elsewhere.send(commit_at(7)).unwrap();
    assert_eq!(in_time(hears.recv()).await.unwrap(), "c7");
    // The nearest is asked now and then, and says nothing before it is current.
    let beating = tokio::spawn(async move {
        loop {
            if elsewhere.send(beat(7)).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let (_, _silent) = nodes[0].stream(1).await;
    let (_, probe) = nodes[0].stream(2).await;
    probe.send(beat(7)).unwrap();
    let (from, back) = nodes[0].stream(3).await;
    assert_eq!(from, timestamp(7));
    in_time(beating).await.unwrap();
    back.send(commit_at(9)).unwrap();
    in_time(async { while hears.recv().await.unwrap() != "c9" {} }).await;
}

#[tokio::test]
async fn a_stream_lags_only_if_no_replica_reaches_back() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    nodes[2].is_reached.send_replace(false);
    let router = router(&nodes);
    let mut events = in_time(router.subscribe(DEV, timestamp(4))).await.unwrap();
    let lagged = StreamEvent::Lagged { from: timestamp(4) };
    nodes[0].stream(0).await.1.send(lagged.clone()).unwrap();
    let going_on = tokio::spawn(async move { (next(&mut events).await, events) });
    let (from, second) = nodes[1].stream(0).await;
    assert_eq!(from, timestamp(4));
    second.send(commit_at(5)).unwrap();
    let (event, mut events) = in_time(going_on).await.unwrap();
    assert_eq!(event, "c5");
    // Now none does.
    second.send(lagged.clone()).unwrap();
    let going_on = tokio::spawn(async move { (next(&mut events).await, events) });
    nodes[0].stream(1).await.1.send(lagged).unwrap();
    let (event, mut events) = in_time(going_on).await.unwrap();
    assert_eq!(event, "l5");
    assert!(in_time(events.next()).await.is_none());
}

#[tokio::test]
async fn a_latest_read_is_confirmed_by_the_leader_and_waits_for_the_nearest() {
    let nodes = [Node::new(), Node::new(), Node::new()];
    nodes[2].leads(3, 3);
    nodes[2].publishes(9);
    nodes[0].publishes(5);
    let router = router(&nodes);
    let log = Arc::new(router.clone());
    let token = tokio_util::sync::CancellationToken::new();
    let batched = sequencer::Service::start(sequencer::Dependencies { log }, token).handle();
    let near = Arc::new(NearSequencer::new(Arc::new(batched), router.clone()));
    // The nearest catches up in time.
    let asked = tokio::spawn({
        let near = near.clone();
        async move { near.latest(DEV.group).await }
    });
    in_time(async {
        while count(&nodes[2].confirmations) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!asked.is_finished());
    nodes[0].publishes(9);
    assert_eq!(in_time(asked).await.unwrap().map(|position| position.published), Ok(timestamp(9)));
    // It does not; then what is read goes to another one.
    nodes[1].publishes(11);
    nodes[2].publishes(11);
    let position = in_time(near.latest(DEV.group)).await.unwrap();
    assert_eq!(position.published, timestamp(11));
    assert_eq!(in_time(router.read(DEV, ReadAt::published(timestamp(11)), &[])).await, Ok(Vec::new()));
    assert_eq!([0, 1].map(|node: usize| count(&nodes[node].reads)), [0, 1]);
    // One confirmation for all that wait.
    let before = count(&nodes[2].confirmations);
    let many = futures::future::join_all((0..100).map(|_| near.latest(DEV.group)));
    assert!(in_time(many).await.iter().all(Result::is_ok));
    let confirmations = count(&nodes[2].confirmations) - before;
    assert!(confirmations < 10, "{confirmations}");
}
