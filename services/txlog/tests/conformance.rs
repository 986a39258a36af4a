//! The contract's suites against the log in this process, and against the same log over gRPC on loopback.

use std::sync::Arc;

use conformance::{LogSubject, SequencerSubject};
use contract::{DeploymentId, DeploymentRef, GroupId, TransactionLog};
use rpc::{GrpcSequencer, GrpcTransactionLog, RpcLimits, SequencerServer, TransactionLogServer};
use sequencer::Batched;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Server};
use txlog::{Options, Service};

const DEV: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

/// What a log in a test stands on, in the order in which it goes.
struct Kept {
    _ends: tokio_util::sync::DropGuard,
    _service: Service,
    _folder: tempfile::TempDir,
}

async fn start() -> (Arc<dyn TransactionLog>, CancellationToken, Kept) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = CancellationToken::new();
    let service =
        Service::start(Options::embedded(folder.path()), token.clone()).await.expect("the log starts");
    let log = Arc::new(service.handle());
    (log, token.clone(), Kept { _ends: token.drop_guard(), _service: service, _folder: folder })
}

/// Serves a log and its sequencer, and gives a channel to them.
async fn serve(log: Arc<dyn TransactionLog>, token: CancellationToken) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let connections = futures::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(connection, _)| connection), listener))
    });
    let sequencer = Arc::new(Batched::new(log.clone()));
    let server = Server::builder()
        .add_service(TransactionLogServer::service(log, RpcLimits::DEFAULT))
        .add_service(SequencerServer::service(sequencer, RpcLimits::DEFAULT))
        .serve_with_incoming_shutdown(connections, token.cancelled_owned());
    tokio::spawn(server);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("the server is there")
}

mod direct {
    use super::*;

    async fn log() -> LogSubject {
        let (log, _, kept) = start().await;
        LogSubject { log, deployment: DEV, kept: Box::new(kept) }
    }

    async fn sequencer() -> SequencerSubject {
        let log = log().await;
        SequencerSubject { sequencer: Arc::new(Batched::new(log.log.clone())), log }
    }

    conformance::transaction_log!(log);
    conformance::sequencer!(sequencer);
}

mod over_grpc {
    use super::*;

    async fn subject() -> (LogSubject, Channel) {
        let (log, token, kept) = start().await;
        let channel = serve(log, token).await;
        let client = GrpcTransactionLog::connect(channel.clone(), &[DEV.group], RpcLimits::DEFAULT);
        let client = client.await.expect("it connects");
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
    conformance::sequencer!(sequencer);
}
