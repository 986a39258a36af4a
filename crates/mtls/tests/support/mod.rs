//! Certificates of an authority made for a test, and a service to call.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use contract::{Epoch, GroupId, NodeId, Position, Sequencer, Timestamp};
use mtls::{
    AllowRoles, CredentialFiles, Credentials, Expected, Peer, Role, Roles, Security, TlsLimits, connect,
    serve,
};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rpc::{GrpcSequencer, RpcLimits, SequencerServer};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    service::{Routes, interceptor::InterceptedService},
    transport::Channel,
};

pub const CLUSTER: &str = "test";
/// A busy machine is given its time.
pub const PATIENT: RpcLimits = RpcLimits { call_ms_max: 120_000, ..RpcLimits::DEFAULT };
pub const TXLOG: Roles = Roles::of(&[Role::Txlog]);

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(parameters, key), pem }
    }

    /// Holds for so many days from now on, and for two days past.
    pub fn issue(&self, name: &str, days: i64) -> Pair {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("names");
        if !name.is_empty() {
            parameters.subject_alt_names.push(SanType::URI(name.try_into().expect("ASCII")));
        }
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = time::OffsetDateTime::now_utc();
        parameters.not_before = now - time::Duration::days(2);
        parameters.not_after = now + time::Duration::days(days);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// A process's folder of certificates.
pub struct Files {
    folder: TempDir,
}

impl Files {
    pub fn new(authorities: &[&Authority], own: &Pair) -> Files {
        let files = Files { folder: tempfile::tempdir().expect("a folder") };
        files.write(authorities, own);
        files
    }

    pub fn write(&self, authorities: &[&Authority], own: &Pair) {
        let all: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
        for (name, text) in [("ca", &all), ("certificate", &own.certificate), ("key", &own.key)] {
            fs::write(self.folder.path().join(name), text).expect("written");
        }
    }

    pub fn paths(&self) -> CredentialFiles {
        let path = |name| self.folder.path().join(name);
        CredentialFiles { authorities: path("ca"), certificate: path("certificate"), key: path("key") }
    }

    pub fn load(&self) -> Arc<Credentials> {
        Arc::new(Credentials::load(&self.paths(), CLUSTER, &TlsLimits::DEFAULT).expect("they are right"))
    }
}

/// The name of a process.
pub fn name(roles: &str, node: u64) -> String {
    format!("tidemark://{CLUSTER}/{roles}/{node}")
}

/// Credentials of a process that the authority has signed.
pub fn credentials(authority: &Authority, roles: &str, node: u64) -> Arc<Credentials> {
    Files::new(&[authority], &authority.issue(&name(roles, node), 30)).load()
}

/// The group of which is answered only when a test says so.
pub const HELD: GroupId = GroupId(2);

/// Answers always the same.
struct Fixed {
    held: Arc<Notify>,
}

#[tonic::async_trait]
impl Sequencer for Fixed {
    async fn latest(&self, group: GroupId) -> contract::Result<Position> {
        if group == HELD {
            self.held.notified().await;
        }
        let published = Timestamp::new(7).expect("a timestamp");
        Ok(Position { epoch: Epoch::default(), ready: true, published, leader: None })
    }
}

/// A process that serves the sequencer to others with the role `txlog`.
pub struct Node {
    pub address: SocketAddr,
    /// Has one call be answered that is held.
    pub held: Arc<Notify>,
    streams: Arc<Mutex<Vec<SocketAddr>>>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Node {
    pub async fn start(security: Security, limits: TlsLimits) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let (held, streams) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        let service = SequencerServer::service(Arc::new(Fixed { held: held.clone() }), PATIENT);
        let seen = streams.clone();
        let look = move |request: Request<()>| -> Result<Request<()>, Status> {
            AllowRoles::of(TXLOG).check(request.extensions())?;
            seen.lock().extend(request.extensions().get::<Peer>().map(|peer| peer.address));
            Ok(request)
        };
        let routes = Routes::new(InterceptedService::new(service, look));
        let server = rpc::server(&PATIENT);
        let token = shutdown.clone();
        let serving = tokio::spawn(async move {
            serve(listener, server, routes, security, limits, token).await.expect("it serves");
        });
        Node { address, held, streams, shutdown, serving }
    }

    /// From where each stream came, by the time.
    pub fn streams(&self) -> Vec<SocketAddr> {
        self.streams.lock().clone()
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.expect("it stops");
    }
}

pub fn channel(node: &Node, security: &Security, expected: Expected) -> Channel {
    let uri = format!("http://{}", node.address).parse().expect("a URI");
    let endpoint = rpc::endpoint(uri, &RpcLimits::DEFAULT);
    connect(endpoint, expected, security).expect("the address is allowed")
}

pub const ANY_TXLOG: Expected = Expected { roles: TXLOG, node: None };

/// Calls once, by a new connection.
pub async fn call(node: &Node, security: &Security, expected: Expected) -> contract::Result<Position> {
    GrpcSequencer::new(channel(node, security, expected), RpcLimits::DEFAULT).latest(GroupId(1)).await
}

pub fn days_from_now(moment: SystemTime) -> f64 {
    let left = moment.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
    left.as_secs_f64() / 86_400.0
}

pub fn node(number: u64) -> Option<NodeId> {
    Some(NodeId(number))
}

/// Whether a call failed because there was no connection, or none any more: a client of TLS 1.3 learns that it is refused
/// only after its own handshake.
pub fn was_cut_off(error: &contract::Error) -> bool {
    ["NodeUnreachable", "ConnectionLost"].contains(&&*error.code)
}
