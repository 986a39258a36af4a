//! The contract's suites against the log in this process, against the same log over gRPC on loopback, and against the leader
//! of three.

mod support;

use std::sync::Arc;

use conformance::{
    LogSubject, SequencerSubject,
    transaction_log::{HELD, HOLDS_MAX, RETENTION},
};
use contract::{
    Commit, CommitId, CommitOutcome, DeploymentId, DeploymentRef, GroupId, IndexId, Interval, Order, Read,
    ReadAt, ReadResult, TransactionLog, Write, document,
};
use rpc::{GrpcSequencer, GrpcTransactionLog, RpcLimits, SequencerServer, TransactionLogServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use txlog::{Options, Service};

const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

/// What a log in a test stands on, in the order in which it goes.
struct Kept {
    _ends: tokio_util::sync::DropGuard,
    _service: Service,
    _folder: tempfile::TempDir,
}

async fn start() -> (Arc<dyn TransactionLog>, CancellationToken, Kept) {
    start_with(|_| {}).await
}

async fn start_with(change: impl FnOnce(&mut Options)) -> (Arc<dyn TransactionLog>, CancellationToken, Kept) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = CancellationToken::new();
    let mut options = Options::embedded(folder.path());
    change(&mut options);
    let service = Service::start(options, token.clone()).await.expect("the log starts");
    let log = Arc::new(service.handle());
    (log, token.clone(), Kept { _ends: token.drop_guard(), _service: service, _folder: folder })
}

fn sequencer(log: Arc<dyn TransactionLog>, token: CancellationToken) -> sequencer::Handle {
    sequencer::Service::start(sequencer::Dependencies { log }, token).handle()
}

/// Serves a log and its sequencer, and gives a channel to them.
async fn serve(log: Arc<dyn TransactionLog>, token: CancellationToken) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let connections = futures::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(connection, _)| connection), listener))
    });
    let sequencer = Arc::new(sequencer(log.clone(), token.clone()));
    let server = rpc::server(&RpcLimits::DEFAULT)
        .add_service(TransactionLogServer::service(log, RpcLimits::DEFAULT))
        .add_service(SequencerServer::service(sequencer, RpcLimits::DEFAULT))
        .serve_with_incoming_shutdown(connections, token.cancelled_owned());
    tokio::spawn(server);
    let node = format!("http://{address}").parse().expect("an address");
    rpc::endpoint(node, &RpcLimits::DEFAULT).connect().await.expect("the server is there")
}

/// The log over gRPC, and the channel to it.
async fn remote(log: Arc<dyn TransactionLog>, token: CancellationToken) -> (GrpcTransactionLog, Channel) {
    let channel = serve(log, token).await;
    let client = GrpcTransactionLog::connect(channel.clone(), &[DEV.group], RpcLimits::DEFAULT);
    (client.await.expect("it connects"), channel)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_answer_to_a_range_read_is_cut_at_the_logs_own_limits() {
    let (log, token, _kept) = start_with(|options| {
        options.limits.read_page_documents_max = 3;
        options.limits.read_page_bytes_max = 1_000;
    })
    .await;
    let (remote, _) = remote(log.clone(), token).await;
    let index = IndexId([1; 16]);
    let write = |key: String, bytes: usize| Write {
        primary: index,
        key: key.into(),
        document: Some(document::encode(&"x".repeat(bytes), 1)),
        index_updates: Vec::new(),
    };
    let small = (0..5).map(|number| write(format!("a{number}"), 10));
    let large = (0..5).map(|number| write(format!("b{number}"), 600));
    let position = log.position(DEV.group).unwrap().borrow().clone();
    let commit = Commit {
        deployment: DEV,
        epoch: position.epoch,
        id: CommitId([1; 16]),
        run: 1,
        begin: ReadAt::published(position.published),
        read_set: Arc::default(),
        writes: small.chain(large).collect(),
    };
    let CommitOutcome::Committed { timestamp } = log.commit(commit).await.unwrap() else {
        panic!("not committed")
    };
    // Published moments, and the newest of the epoch.
    for epoch in [None, Some(position.epoch)] {
        for log in [&*log, &remote as &dyn TransactionLog] {
            for (prefix, order, keys) in [
                ("a", Order::Ascending, &["a0", "a1", "a2"][..]),
                ("a", Order::Descending, &["a4", "a3", "a2"]),
                // The second one is over the limit of bytes, and the last that is given.
                ("b", Order::Ascending, &["b0", "b1"]),
                ("b", Order::Descending, &["b4", "b3"]),
            ] {
                let interval = Interval { start: prefix.into(), end: Some(format!("{prefix}~").into()) };
                let read =
                    Read::Range { index, interval, order, rows_max: usize::MAX, bytes_max: usize::MAX };
                let results = log.read(DEV, ReadAt { timestamp, epoch }, &[read]).await.unwrap();
                let ReadResult::Range { rows, more } = &results[0] else { panic!("a range was asked for") };
                let found: Vec<_> = rows.iter().map(|row| row.key.to_vec()).collect();
                assert_eq!(found, keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>());
                assert!(more, "there are others behind");
            }
        }
    }
}

/// So that what is held is seen to be kept for longer than the rest.
fn forgets_soon(options: &mut Options) {
    let limits = &mut options.limits;
    limits.retention_ms_min = RETENTION.as_millis() as u64;
    limits.window_age_ms_min = limits.retention_ms_min / 2;
    limits.hold_ms = HELD.as_millis() as u64;
    limits.holds_max = HOLDS_MAX;
}

mod direct {
    use super::*;

    async fn forgetful_log() -> LogSubject {
        let (log, _, kept) = start_with(forgets_soon).await;
        LogSubject { log, deployment: DEV, kept: Box::new(kept) }
    }

    async fn log() -> LogSubject {
        let (log, _, kept) = start().await;
        LogSubject { log, deployment: DEV, kept: Box::new(kept) }
    }

    async fn sequencer() -> SequencerSubject {
        let log = log().await;
        let sequencer = super::sequencer(log.log.clone(), CancellationToken::new());
        SequencerSubject { sequencer: Arc::new(sequencer), log }
    }

    conformance::transaction_log!(log);
    conformance::held_moments!(forgetful_log);
    conformance::leaders_transaction_log!(log);
    conformance::sequencer!(sequencer);
}

mod over_grpc {
    use super::*;

    async fn forgetful_log() -> LogSubject {
        let (log, token, kept) = start_with(forgets_soon).await;
        let (client, _) = remote(log, token).await;
        LogSubject { log: Arc::new(client), deployment: DEV, kept: Box::new(kept) }
    }

    async fn subject() -> (LogSubject, Channel) {
        let (log, token, kept) = start().await;
        let (client, channel) = remote(log, token).await;
        (LogSubject { log: Arc::new(client), deployment: DEV, kept: Box::new(kept) }, channel)
    }

    async fn log() -> LogSubject {
        subject().await.0
    }

    async fn sequencer() -> SequencerSubject {
        let (log, channel) = subject().await;
        SequencerSubject { sequencer: Arc::new(GrpcSequencer::new(channel, RpcLimits::DEFAULT)), log }
    }

    conformance::transaction_log!(log);
    conformance::held_moments!(forgetful_log);
    conformance::remote_transaction_log!(log);
    conformance::sequencer!(sequencer);
}

mod leader_of_three {
    use super::*;

    async fn log() -> LogSubject {
        of(support::Cluster::start(3).await).await
    }

    async fn forgetful_log() -> LogSubject {
        of(support::Cluster::start_with(3, forgets_soon).await).await
    }

    async fn of(cluster: support::Cluster) -> LogSubject {
        let leader = cluster.leader().await;
        LogSubject { log: Arc::new(cluster.log(leader)), deployment: DEV, kept: Box::new(cluster) }
    }

    conformance::transaction_log!(log);
    conformance::held_moments!(forgetful_log);
    conformance::leaders_transaction_log!(log);
}
