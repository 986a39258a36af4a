//! The service over a log in another process: the line to it breaks, and nothing is lost or run for nothing.

mod queries;
#[allow(dead_code)]
#[path = "../../../crates/rpc/tests/support/mod.rs"]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    Commit, CommitId, CommitOutcome, Deployment, Fanout, FanoutSession, Identity, IndexId, Interval,
    QueryCall, QueryModification, QueryOutcome, ReadAt, ReadSet, Result, SessionCommand, SessionRound,
    SessionStart, Timestamp, TransactionLog, Write,
};
use fanout::{Dependencies, FanoutLimits, Options, Service};
use queries::{OnlyQueries, Queries, answered};
use rpc::{GrpcTransactionLog, RpcLimits};
use support::{DEV, Wire, in_time};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const TABLE: IndexId = IndexId([1; 16]);

/// Answers each query with the moment at which it ran, and reads the keys that begin with `a`.
#[derive(Default)]
struct Moments {
    runs: AtomicUsize,
}

#[async_trait]
impl Queries for Moments {
    async fn run(&self, _: QueryCall, at: Timestamp) -> Result<QueryOutcome> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let mut read_set = ReadSet::new();
        read_set.add(TABLE, Interval { start: "a".into(), end: Some("b".into()) });
        Ok(answered(at, at.to_string(), read_set))
    }
}

async fn write(log: &txlog::Handle, key: &'static str) -> Timestamp {
    let position = log.position(DEV.group).unwrap().borrow().clone();
    let write = Write {
        primary: TABLE,
        key: key.into(),
        document: Some(contract::document::encode("{}", 2)),
        index_updates: Vec::new(),
    };
    let commit = Commit {
        deployment: DEV,
        epoch: position.epoch,
        id: CommitId(rand::random()),
        run: 1,
        begin: ReadAt::published(position.published),
        read_set: Arc::default(),
        writes: vec![write],
    };
    match log.commit(commit).await.unwrap() {
        CommitOutcome::Committed { timestamp } => timestamp,
        other => panic!("not committed: {other:?}"),
    }
}

async fn next(session: &mut FanoutSession) -> SessionRound {
    in_time(session.rounds.recv()).await.map(|round| *round).expect("the session is open").expect("no error")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_is_resumed_where_it_was_and_only_what_changed_is_run_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let log_token = CancellationToken::new();
    let log_service = txlog::Service::start(txlog::Options::embedded(folder.path()), log_token.clone());
    let log_service = log_service.await.expect("it starts");
    let log = log_service.handle();
    let mut tasks = JoinSet::new();
    let limits = RpcLimits { watch_retry_ms: 5, ..RpcLimits::DEFAULT };
    let server = support::serve(Arc::new(log.clone()), limits, &mut tasks).await;
    let (address, state) = support::wire(server, &mut tasks).await;
    let node = format!("http://{address}").parse().expect("an address");
    let channel = rpc::endpoint(node, &limits).connect().await.expect("the server is there");
    let remote = Arc::new(GrpcTransactionLog::connect(channel, &[DEV.group], limits).await.unwrap());
    let mut position = remote.position(DEV.group).unwrap();

    let runner = Arc::new(Moments::default());
    let fanout_token = CancellationToken::new();
    // However slow the machine is, the stream counts as current.
    let fanout_limits =
        FanoutLimits { stream_retry_ms: 5, stream_silence_ms_max: 600_000, ..FanoutLimits::DEFAULT };
    let options = Options::new(fanout_limits, Duration::from_secs(17));
    let sequencer = sequencer::Dependencies { log: remote.clone() };
    let dependencies = Dependencies {
        runner: Arc::new(OnlyQueries(runner.clone())),
        log: remote,
        sequencer: Arc::new(sequencer::Service::start(sequencer, log_token.clone()).handle()),
        deployments: Deployment::fixed([]),
    };
    let service = Service::start(options, dependencies, fanout_token.clone());
    let fanout = service.handle();
    let start = SessionStart { deployment: DEV, not_before: Timestamp::ZERO, identity: Identity::Anonymous };
    let mut session = fanout.open(start).await.expect("a session");
    let add = QueryModification::Add {
        query: 1,
        component: String::new(),
        path: "m:a".into(),
        arguments: "[{}]".into(),
        journal: None,
    };
    let added = SessionCommand::ModifyQueries { version: 1, modifications: vec![add] };
    session.commands.send(Box::new(added)).await.unwrap();
    next(&mut session).await;
    assert_eq!(runner.runs.load(Ordering::SeqCst), 1);

    for (key, runs) in [("b1", 1), ("a1", 2), ("b2", 2)] {
        state.send_replace(Wire::Broken);
        in_time(position.wait_for(|position| !position.ready)).await.expect("it breaks");
        let written = write(&log, key).await;
        state.send_replace(Wire::Passes);
        // A round in which it is to be seen, whether anything has changed by it or not.
        session.commands.send(Box::new(SessionCommand::Wrote { timestamp: written })).await.unwrap();
        while next(&mut session).await.timestamp < written {}
        assert_eq!(runner.runs.load(Ordering::SeqCst), runs, "after {key}");
    }
    fanout_token.cancel();
    in_time(service.stopped()).await;
    drop((fanout, log, tasks));
    log_token.cancel();
    log_service.stopped().await;
}
