//! The whole service over a real transaction log. Functions do not matter here, so queries are run by a runner without
//! JavaScript, which reads the same log at the same moments.

#[path = "../../../crates/rpc/tests/support/loopback.rs"]
mod loopback;
mod queries;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, Deployment, DeploymentId, DeploymentRef,
    Error, Fanout, FanoutSession, FunctionError, GroupId, Hold, HoldId, Identity, IndexId, Interval, Lookup,
    Order, Position, QueryCall, QueryChange, QueryModification, QueryOutcome, Read, ReadAt, ReadResult,
    ReadSet, Result, SessionCommand, SessionRound, SessionStart, StreamEvents, Timestamp, TransactionLog,
    Write,
};
use fanout::{Dependencies, FanoutLimits, Handle, MetricsSnapshot, Options, Service};
use futures::StreamExt;
use queries::{OnlyQueries, Queries, answered};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
const NEIGHBOUR: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };
const TABLE: IndexId = IndexId([1; 16]);
const PATIENCE: Duration = Duration::from_secs(120);

/// Answers each query with the keys of the table that begin with the export's name.
struct TableRunner {
    log: txlog::Handle,
    runs: AtomicUsize,
    /// How many more runs are refused as overloaded.
    refusals: AtomicUsize,
    /// Runs of `m:held…` wait for one of these permits.
    held: Semaphore,
    /// How many of them wait.
    waiting: watch::Sender<usize>,
}

#[async_trait]
impl Queries for TableRunner {
    async fn run(&self, call: QueryCall, timestamp: Timestamp) -> Result<QueryOutcome> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let refused = |left: usize| left.checked_sub(1);
        if self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refused).is_ok() {
            return Err(Error::overloaded("TooManyConcurrentRequests", "later"));
        }
        let prefix = match call.function.path.split_once(':') {
            Some((_, "breaks")) => return Err(Error::internal("broken")),
            Some((_, prefix)) => prefix.to_owned(),
            None => panic!("paths come in canonical spelling"),
        };
        if prefix.starts_with("held") {
            self.waiting.send_modify(|waiting| *waiting += 1);
            self.held.acquire().await.expect("it is never closed").forget();
            self.waiting.send_modify(|waiting| *waiting -= 1);
        }
        let mut end = prefix.clone().into_bytes();
        end.push(0xff);
        let interval = Interval { start: prefix.into(), end: Some(end.into()) };
        let read = Read::Range {
            index: TABLE,
            interval: interval.clone(),
            order: Order::Ascending,
            rows_max: 100_000,
            bytes_max: 1 << 30,
        };
        let results = self.log.read(call.function.deployment, ReadAt::published(timestamp), &[read]).await?;
        let ReadResult::Range { rows, .. } = &results[0] else { panic!("a range was asked for") };
        let keys: Vec<String> = rows.iter().map(|row| String::from_utf8_lossy(&row.key).into()).collect();
        let mut read_set = ReadSet::new();
        read_set.add(TABLE, interval);
        Ok(answered(timestamp, keys.join(","), read_set))
    }
}

/// A log that can be cut off: then it is not known to be current, its streams say nothing, and it stands where it stood.
struct Severable {
    log: txlog::Handle,
    position: watch::Receiver<Position>,
    is_cut: Arc<watch::Sender<bool>>,
}

impl Severable {
    fn new(log: txlog::Handle, is_cut: Arc<watch::Sender<bool>>) -> Severable {
        let mut from = log.position(DEV.group).expect("the group is there");
        let (to, position) = watch::channel(from.borrow_and_update().clone());
        let mut cut = is_cut.subscribe();
        tokio::spawn(async move {
            while from.changed().await.is_ok() && cut.wait_for(|is_cut| !is_cut).await.is_ok() {
                to.send_replace(from.borrow_and_update().clone());
            }
        });
        Severable { log, position, is_cut }
    }
}

#[async_trait]
impl TransactionLog for Severable {
    fn position(&self, _: GroupId) -> Result<watch::Receiver<Position>> {
        Ok(self.position.clone())
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
        self.log.confirm_leadership(group).await
    }
    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        let events = self.log.subscribe(deployment, from).await?;
        let is_cut = self.is_cut.subscribe();
        Ok(Box::pin(events.then(move |event| {
            let mut is_cut = is_cut.clone();
            async move {
                is_cut.wait_for(|is_cut| !is_cut).await.expect("the test lives");
                event
            }
        })))
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

struct Running {
    log_service: txlog::Service,
    log: txlog::Handle,
    is_cut: Arc<watch::Sender<bool>>,
    runner: Arc<TableRunner>,
    fanout: Handle,
    fanout_service: Service,
    log_token: CancellationToken,
    fanout_token: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start() -> Running {
        Running::start_with(|_| {}, |_| {}).await
    }

    async fn start_with(
        change: impl FnOnce(&mut FanoutLimits),
        change_log: impl FnOnce(&mut txlog::Options),
    ) -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let (log_token, fanout_token) = (CancellationToken::new(), CancellationToken::new());
        let mut log_options = txlog::Options::embedded(folder.path());
        change_log(&mut log_options);
        let log_service = txlog::Service::start(log_options, log_token.clone()).await.expect("it starts");
        let log = log_service.handle();
        let runner = Arc::new(TableRunner {
            log: log.clone(),
            runs: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            held: Semaphore::new(0),
            waiting: watch::Sender::new(0),
        });
        let mut limits = FanoutLimits { query_retry_ms_min: 5, ..FanoutLimits::DEFAULT };
        change(&mut limits);
        let options = Options::new(limits, Duration::from_secs(17));
        let is_cut = Arc::new(watch::Sender::new(false));
        let sequencer = sequencer::Dependencies { log: Arc::new(log.clone()) };
        let dependencies = Dependencies {
            runner: Arc::new(OnlyQueries(runner.clone())),
            log: Arc::new(Severable::new(log.clone(), is_cut.clone())),
            sequencer: Arc::new(sequencer::Service::start(sequencer, log_token.clone()).handle()),
            deployments: Deployment::fixed([]),
        };
        let fanout_service = Service::start(options, dependencies, fanout_token.clone());
        let fanout = fanout_service.handle();
        Running {
            log_service,
            log,
            is_cut,
            runner,
            fanout,
            fanout_service,
            log_token,
            fanout_token,
            _folder: folder,
        }
    }

    async fn write(&self, key: &str) -> Timestamp {
        let position = self.log.position(DEV.group).unwrap().borrow().clone();
        let write = Write {
            primary: TABLE,
            key: Bytes::copy_from_slice(key.as_bytes()),
            document: Some(contract::document::encode("{}", 2)),
            index_updates: Vec::new(),
        };
        let commit = Commit {
            deployment: DEV,
            epoch: position.epoch,
            id: CommitId(rand::random()),
            run: 1,
            begin: ReadAt::published(position.published),
            read_set: Arc::new(ReadSet::new()),
            writes: vec![write],
        };
        match self.log.commit(commit).await.unwrap() {
            CommitOutcome::Committed { timestamp } => timestamp,
            other => panic!("not committed: {other:?}"),
        }
    }

    async fn open(&self) -> Client {
        self.try_open().await.expect("a session")
    }

    async fn try_open(&self) -> Result<Client> {
        self.try_open_at(DEV).await
    }

    async fn try_open_at(&self, deployment: DeploymentRef) -> Result<Client> {
        let start = SessionStart { deployment, not_before: Timestamp::ZERO, identity: Identity::Anonymous };
        let session = self.fanout.open(start).await?;
        Ok(Client { session, version: 0, view: BTreeMap::new(), timestamp: Timestamp::ZERO })
    }

    /// A session ends some time after its client has gone.
    async fn until(&self, is_so: impl Fn(MetricsSnapshot) -> bool) {
        let waiting = async {
            while !is_so(self.fanout.metrics()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("everything goes");
    }

    async fn stop(self) {
        self.fanout_token.cancel();
        let Running { log, runner, fanout, fanout_service, log_token, log_service, .. } = self;
        timeout(PATIENCE, fanout_service.stopped()).await.expect("it stops");
        drop((log, runner, fanout));
        log_token.cancel();
        log_service.stopped().await;
    }
}

struct Client {
    session: FanoutSession,
    version: u32,
    view: BTreeMap<u32, std::result::Result<Arc<str>, FunctionError>>,
    timestamp: Timestamp,
}

impl Client {
    async fn command(&self, command: SessionCommand) {
        self.session.commands.send(Box::new(command)).await.expect("the session is there");
    }

    async fn add(&mut self, query: u32, path: &str) {
        self.add_with(query, path, "[{}]".into()).await;
    }

    async fn add_with(&mut self, query: u32, path: &str, arguments: Arc<str>) {
        self.modify([added(query, path, arguments)]).await;
    }

    async fn modify(&mut self, modifications: impl IntoIterator<Item = QueryModification>) {
        self.version += 1;
        let (version, modifications) = (self.version, modifications.into_iter().collect());
        self.command(SessionCommand::ModifyQueries { version, modifications }).await;
    }

    async fn round(&mut self) -> Option<Result<SessionRound>> {
        let round =
            timeout(PATIENCE, self.session.rounds.recv()).await.expect("a round in time").map(|round| *round);
        if let Some(Ok(round)) = &round {
            assert!(round.timestamp >= self.timestamp, "time went back");
            self.timestamp = round.timestamp;
            for change in &round.changes {
                match change {
                    QueryChange::Updated { query, value, .. } => self.view.insert(*query, Ok(value.clone())),
                    QueryChange::Failed { query, error, .. } => self.view.insert(*query, Err(error.clone())),
                    QueryChange::Removed { query } => self.view.remove(query),
                };
            }
        }
        round
    }

    async fn next(&mut self) -> SessionRound {
        self.round().await.expect("the session is open").expect("no error")
    }

    fn shown(&self, query: u32) -> &str {
        self.view[&query].as_ref().expect("a value")
    }

    async fn until(&mut self, timestamp: Timestamp) {
        while self.timestamp < timestamp {
            self.next().await;
        }
    }
}

fn added(query: u32, path: &str, arguments: Arc<str>) -> QueryModification {
    QueryModification::Add { query, component: String::new(), path: path.into(), arguments, journal: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_appears_at_every_session_that_shows_it_and_at_no_other() {
    let running = Running::start().await;
    running.write("a1").await;
    let (mut one, mut two, mut other) = (running.open().await, running.open().await, running.open().await);
    one.add(1, "m:a").await;
    two.add(7, "m.js:a").await;
    other.add(1, "m:b").await;
    for client in [&mut one, &mut two, &mut other] {
        assert_eq!(client.next().await.query_set_version, 1);
    }
    assert_eq!((one.shown(1), two.shown(7), other.shown(1)), ("a1", "a1", ""));
    let written = running.write("a2").await;
    one.until(written).await;
    two.until(written).await;
    assert_eq!((one.shown(1), two.shown(7)), ("a1,a2", "a1,a2"));
    // Its own write is shown to be in view, though nothing changes for it.
    other.command(SessionCommand::Wrote { timestamp: written }).await;
    let round = other.next().await;
    assert!(round.timestamp >= written && round.changes.is_empty());
    assert_eq!(running.fanout.metrics().sessions, 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_before_a_query_is_added_is_in_its_first_answer() {
    let running = Running::start().await;
    let mut client = running.open().await;
    for number in 0..200 {
        let key = format!("a{number:03}");
        let written = running.write(&key).await;
        client.add(number, &format!("m:{key}")).await;
        let round = client.next().await;
        assert!(round.timestamp >= written);
        assert_eq!(client.shown(number), key);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_under_load_is_of_one_moment_and_the_last_one_has_everything() {
    let running = Running::start().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = running.open().await;
        client.modify([added(1, "m:k", "[{}]".into()), added(2, "m:k0", "[{}]".into())]).await;
        clients.push(client);
    }
    let expected: Vec<String> = (0..500).map(|number| format!("k{number:04}")).collect();
    let mut watchers = tokio::task::JoinSet::new();
    for mut client in clients {
        let expected = expected.clone();
        watchers.spawn(async move {
            let mut rounds = 0;
            loop {
                client.next().await;
                rounds += 1;
                let (Some(Ok(one)), Some(Ok(two))) = (client.view.get(&1), client.view.get(&2)) else {
                    continue;
                };
                // Both queries show the same keys in the same moment, and those are the first so many.
                assert_eq!(one, two, "two moments in one view");
                let count = one.split(',').filter(|key| !key.is_empty()).count();
                assert_eq!(**one, expected[..count].join(","));
                if count == expected.len() {
                    return rounds;
                }
            }
        });
    }
    for key in &expected {
        running.write(key).await;
    }
    let rounds = watchers.join_all().await;
    assert!(rounds.iter().all(|rounds| *rounds > 2), "{rounds:?}");
    let metrics = running.fanout.metrics();
    // An added query is run at once, before its first tide.
    let shared = 2 * (metrics.tides + rounds.len() as u64);
    assert!(metrics.runs <= shared, "sessions share their runs: {metrics:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_takes_no_rounds_has_two_waiting_and_then_the_newest() {
    let running = Running::start().await;
    let (mut slow, mut quick) = (running.open().await, running.open().await);
    slow.add(1, "m:a").await;
    quick.add(1, "m:a").await;
    quick.next().await;
    let mut last = Timestamp::ZERO;
    for number in 0..20 {
        last = running.write(&format!("a{number:02}")).await;
        quick.until(last).await;
    }
    assert_eq!(slow.session.rounds.len(), 2);
    slow.until(last).await;
    assert_eq!(slow.shown(1), quick.shown(1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_lagged_is_begun_anew_and_nothing_is_missed() {
    // The log keeps so few commits that following it breaks now and then.
    let running = Running::start_with(
        |limits| limits.stream_events_waiting_max = 1,
        |log| log.limits.stream_buffer_commits_max = 1,
    )
    .await;
    let mut client = running.open().await;
    client.add(1, "m:a").await;
    client.next().await;
    let mut count = 0;
    while running.fanout.metrics().stream_gaps < 3 {
        assert!(count < 5_000, "it never lagged");
        let running = &running;
        let keys = (count..count + 20).map(|number| format!("a{number:05}"));
        futures::future::join_all(keys.map(|key| async move { running.write(&key).await })).await;
        count += 20;
        while client.session.rounds.try_recv().is_ok_and(|round| round.is_ok()) {}
    }
    let last = running.write("a99999").await;
    // The rounds above were thrown away, so the query is added once more.
    client.add(2, "m:a").await;
    while !client.view.contains_key(&2) || client.timestamp < last {
        client.next().await;
    }
    assert_eq!(client.shown(2).split(',').count(), count + 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_anew_waits_for_what_was_acknowledged_elsewhere() {
    let running = Running::start().await;
    running.write("a1").await;
    let mut client = running.open().await;
    client.add(1, "m:a").await;
    client.next().await;
    // Its replica does not see this yet, but the client may have heard of it.
    running.is_cut.send_replace(true);
    running.write("a2").await;
    let written = running.write("b1").await;
    client.add(2, "m:b").await;
    let identity = Identity::Anonymous;
    client.command(SessionCommand::SetIdentity { version: 1, identity }).await;
    let other = async {
        let mut other = running.open().await;
        other.add(1, "m:a").await;
        other.next().await;
        assert_eq!(other.shown(1), "a1,a2");
    };
    let catches_up = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        running.is_cut.send_replace(false);
    };
    tokio::join!(other, catches_up);
    let round = client.next().await;
    assert!(round.timestamp >= written, "{} is before {written}", round.timestamp);
    assert_eq!((client.shown(1), client.shown(2)), ("a1,a2", "b1"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_cut_off_answers_nothing_more_however_often_it_is_asked() {
    let running = Running::start_with(
        |limits| {
            limits.stream_silence_ms_max = 100;
            limits.stream_retry_ms = 5;
            limits.timestamp_wait_ms_max = 600_000;
        },
        |log| {
            log.limits.stream_heartbeat_ms = 10;
            log.limits.stream_quiet_ms = 10;
        },
    )
    .await;
    // Long enough for the stream to be given up and asked for again some times.
    let while_cut = Duration::from_secs(1);
    let mut client = None;
    for query in 1..=3 {
        running.is_cut.send_replace(true);
        tokio::time::sleep(while_cut).await;
        // The first one finds a stream that has never begun.
        let client = match &mut client {
            Some(client) => client,
            none => none.insert(running.open().await),
        };
        while client.session.rounds.try_recv().is_ok_and(|round| round.is_ok()) {}
        client.add(query, "m:a").await;
        let round = timeout(while_cut, client.session.rounds.recv()).await;
        assert!(round.is_err(), "nobody can say that it holds: {round:?}");
        running.is_cut.send_replace(false);
        while !client.view.contains_key(&query) {
            client.next().await;
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_runs_are_repeated_and_broken_ones_end_their_session_alone() {
    let running = Running::start().await;
    let (mut one, mut two) = (running.open().await, running.open().await);
    running.runner.refusals.store(3, Ordering::Relaxed);
    one.add(1, "m:a").await;
    one.next().await;
    assert_eq!(running.fanout.metrics().run_retries, 3);
    two.add(1, "m:breaks").await;
    let error = two.round().await.expect("an answer").expect_err("broken");
    assert_eq!(error.code, "InternalServerError");
    assert!(two.round().await.is_none(), "rounds end after the error");
    let written = running.write("a1").await;
    one.until(written).await;
    assert_eq!(running.fanout.metrics().sessions_failed, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_has_its_share_of_runs_and_sessions_stalls_no_neighbour() {
    let running = Running::start_with(
        |limits| {
            limits.runs_in_flight_max = 4;
            limits.sessions_max = 4;
            limits.deployment_share_percent = 75;
        },
        |log| log.deployments.push(txlog::Deployment { name: "neighbour".into(), at: NEIGHBOUR }),
    )
    .await;
    // There are shares once there are two.
    let mut first = running.try_open_at(NEIGHBOUR).await.expect("nobody else is there");
    first.add(1, "m:first").await;
    first.next().await;
    drop(first);
    running.until(|metrics| metrics.sessions == 0).await;
    let mut greedy = running.open().await;
    // At once: a round that began with fewer of them would hold up the others.
    greedy.modify((0..40).map(|query| added(query, &format!("m:held{query}"), "[{}]".into()))).await;
    let mut waiting = running.runner.waiting.subscribe();
    timeout(PATIENCE, waiting.wait_for(|waiting| *waiting == 3)).await.expect("they run").expect("it lives");
    let others = [running.open().await, running.open().await];
    assert_eq!(
        running.try_open().await.err().expect("it has its share").code,
        "SubscriptionsWorkerFullError"
    );

    // All its places are taken and 37 of its runs wait, and yet the neighbour is answered.
    let mut neighbour = running.try_open_at(NEIGHBOUR).await.expect("a place is left");
    for query in 0..10 {
        neighbour.add(query, &format!("m:{query}")).await;
        neighbour.next().await;
        assert_eq!(neighbour.shown(query), "");
    }
    assert_eq!(*waiting.borrow(), 3, "the deployment never had more than its share");
    running.runner.held.add_permits(40);
    while greedy.view.len() < 40 {
        greedy.next().await;
    }
    drop((others, neighbour));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_limited_and_leave_nothing_behind() {
    let running = Running::start_with(
        |limits| {
            limits.sessions_max = 2;
            limits.deployment_idle_ms_max = 50;
        },
        |_| {},
    )
    .await;
    let (mut one, two) = (running.open().await, running.open().await);
    one.add(1, "m:a").await;
    one.next().await;
    let error = running.try_open().await.err().expect("full");
    assert_eq!(error.code, "SubscriptionsWorkerFullError");
    drop((one, two));
    // Without sessions the deployment is given up, its results with it.
    running.until(|metrics| metrics.sessions + metrics.copies == 0).await;
    let mut again = running.open().await;
    let written = running.write("a1").await;
    again.add(1, "m:a").await;
    again.until(written).await;
    assert_eq!(again.shown(1), "a1");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_arguments_are_the_same_call_as_well() {
    let running = Running::start().await;
    let mut client = running.open().await;
    let text = "x".repeat(200_000);
    client.add_with(1, "m:a", format!("[{{\"a\":\"{text}\",\"b\":1}}]").into()).await;
    client.next().await;
    client.add_with(2, "m:a", format!("[{{ \"b\":1, \"a\":\"{text}\"}}]").into()).await;
    client.next().await;
    assert_eq!(running.runner.runs.load(Ordering::Relaxed), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_ends_every_session() {
    let running = Running::start().await;
    let mut client = running.open().await;
    client.add(1, "m:a").await;
    client.next().await;
    running.fanout_token.cancel();
    assert!(client.round().await.is_none());
    assert!(running.try_open().await.is_err());
    running.stop().await;
}

/// The contract's suite against the service in this process, and against the same service over gRPC on loopback.
mod conformance_suite {
    use conformance::FanoutSubject;
    use rpc::{FanoutServer, GrpcFanout, RpcLimits};
    use tokio::task::JoinSet;

    use super::*;

    const LIMITS: RpcLimits = RpcLimits::DEFAULT;

    fn subject(fanout: Arc<dyn Fanout>, running: Running, servers: JoinSet<()>) -> FanoutSubject {
        let running = Arc::new(running);
        let writing = running.clone();
        let write = Box::new(move |key: String| {
            let running = writing.clone();
            Box::pin(async move { running.write(&key).await }) as _
        });
        let tokens = [&running.fanout_token, &running.log_token];
        let ends = tokens.map(|token| token.clone().drop_guard());
        FanoutSubject { fanout, deployment: DEV, write, kept: Box::new((servers, ends, running)) }
    }

    mod direct {
        use super::*;

        async fn fanout() -> FanoutSubject {
            let running = Running::start().await;
            subject(Arc::new(running.fanout.clone()), running, JoinSet::new())
        }

        conformance::fanout!(fanout);
    }

    mod over_grpc {
        use super::*;

        async fn fanout() -> FanoutSubject {
            let running = Running::start().await;
            let mut servers = JoinSet::new();
            let service = FanoutServer::service(Arc::new(running.fanout.clone()), LIMITS);
            let server = rpc::server(&LIMITS).add_service(service);
            let channel = loopback::channel_to(server, &LIMITS, &mut servers).await;
            subject(Arc::new(GrpcFanout::new(channel, LIMITS)), running, servers)
        }

        conformance::fanout!(fanout);
    }
}
