//! The contract's suites against the log behind a router: in its leader's process, and from another one over gRPC on loopback.

#[path = "../../rpc/tests/support/loopback.rs"]
mod loopback;

use std::sync::Arc;

use conformance::{
    LogSubject, SequencerSubject,
    transaction_log::{HELD, HOLDS_MAX, RETENTION},
};
use contract::{DeploymentId, DeploymentRef, GroupId, NodeId, TransactionLog};
use log_router::{Here, NearSequencer, Replica, Router, RouterLimits};
use rpc::{GrpcTransactionLog, RpcLimits, TransactionLogServer};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use txlog::{Options, Service};

const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
/// Longer than a log waits for a deployment that it does not know.
const LIMITS: RouterLimits = RouterLimits { leader_wait_ms_max: 3_000, ..RouterLimits::DEFAULT };

/// What a log in a test stands on, in the order in which it goes.
struct Kept {
    _servers: JoinSet<()>,
    _ends: tokio_util::sync::DropGuard,
    _service: Service,
    _folder: tempfile::TempDir,
}

async fn start(change: impl FnOnce(&mut Options)) -> (Arc<dyn TransactionLog>, Kept) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = CancellationToken::new();
    let mut options = Options::embedded(folder.path());
    change(&mut options);
    let service = Service::start(options, token.clone()).await.expect("it starts");
    let log = Arc::new(service.handle());
    let servers = JoinSet::new();
    (log, Kept { _servers: servers, _ends: token.drop_guard(), _service: service, _folder: folder })
}

/// So that what is held is seen to be kept for longer than the rest.
fn forgets_soon(options: &mut Options) {
    let limits = &mut options.limits;
    limits.retention_ms_min = RETENTION.as_millis() as u64;
    limits.window_age_ms_min = limits.retention_ms_min / 2;
    limits.hold_ms = HELD.as_millis() as u64;
    limits.holds_max = HOLDS_MAX;
}

fn router(replicas: Vec<Replica>) -> Router {
    let here = Here { node: NodeId(1), zone: Some("here".to_owned()) };
    let router = Router::new(here, LIMITS);
    router.set_replicas(DEV.group, replicas).expect("their positions are known");
    router
}

fn replica(node: u64, log: Arc<dyn TransactionLog>) -> Replica {
    Replica { node: NodeId(node), zone: None, log }
}

fn sequencer(router: Router, log: LogSubject) -> SequencerSubject {
    let dependencies = sequencer::Dependencies { log: Arc::new(router.clone()) };
    let batched = sequencer::Service::start(dependencies, CancellationToken::new()).handle();
    SequencerSubject { sequencer: Arc::new(NearSequencer::new(Arc::new(batched), router)), log }
}

mod direct {
    use super::*;

    async fn routed(change: impl FnOnce(&mut Options)) -> (Router, LogSubject) {
        let (log, kept) = start(change).await;
        let router = router(vec![replica(1, log)]);
        (router.clone(), LogSubject { log: Arc::new(router), deployment: DEV, kept: Box::new(kept) })
    }

    async fn log() -> LogSubject {
        routed(|_| {}).await.1
    }

    async fn forgetful_log() -> LogSubject {
        routed(forgets_soon).await.1
    }

    async fn sequencer() -> SequencerSubject {
        let (router, log) = routed(|_| {}).await;
        super::sequencer(router, log)
    }

    conformance::transaction_log!(log);
    conformance::held_moments!(forgetful_log);
    conformance::leaders_transaction_log!(log);
    conformance::sequencer!(sequencer);
}

mod from_elsewhere {
    use super::*;

    /// The nearest replica is a node that is not there.
    async fn routed(change: impl FnOnce(&mut Options)) -> (Router, LogSubject) {
        let (log, mut kept) = start(change).await;
        let server = rpc::server(&RpcLimits::DEFAULT)
            .add_service(TransactionLogServer::service(log, RpcLimits::DEFAULT));
        let channel = loopback::channel_to(server, &RpcLimits::DEFAULT, &mut kept._servers).await;
        let client = GrpcTransactionLog::connect(channel, &[DEV.group], RpcLimits::DEFAULT);
        let client: Arc<dyn TransactionLog> = Arc::new(client.await.expect("it connects"));
        // Nobody listens on the port of a socket that is closed.
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a port");
        let nowhere = format!("http://{port}").parse().expect("an address");
        let nowhere = rpc::endpoint(nowhere, &RpcLimits::DEFAULT).connect_lazy();
        let gone = GrpcTransactionLog::lazy(nowhere.clone(), nowhere, &[DEV.group], RpcLimits::DEFAULT);
        let router = router(vec![replica(1, Arc::new(gone)), replica(2, client)]);
        // The first call finds out that nobody is there.
        let mut position = router.position(DEV.group).expect("it is known");
        let any = contract::ReadAt::published(contract::Timestamp::ZERO);
        let _ = router.read(DEV, any, &[]).await;
        position.wait_for(|position| position.ready).await.expect("somebody leads");
        (router.clone(), LogSubject { log: Arc::new(router), deployment: DEV, kept: Box::new(kept) })
    }

    async fn log() -> LogSubject {
        routed(|_| {}).await.1
    }

    async fn forgetful_log() -> LogSubject {
        routed(forgets_soon).await.1
    }

    async fn sequencer() -> SequencerSubject {
        let (router, log) = routed(|_| {}).await;
        super::sequencer(router, log)
    }

    conformance::transaction_log!(log);
    conformance::held_moments!(forgetful_log);
    conformance::remote_transaction_log!(log);
    conformance::sequencer!(sequencer);
}
