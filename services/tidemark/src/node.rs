//! This process as a node of its cluster: its number, its address, and how it reaches the others.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use contract::NodeId;
use log_router::Here;
use mtls::{Credentials, Expected, Identity, Security, TlsLimits};
use rpc::RpcLimits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{codegen::http::Uri, service::Routes, transport::Channel};
use txlog::{Beginning, Channels};

use crate::{
    configuration::{Cluster, NodeNumber, Peer},
    data_folder::DataFolder,
    others::Others,
    parts::Parts,
    pools::Pools,
    ports,
    refusal::Refusal,
    replicas::{KEEPS_LOG, Replicas, Source},
};

/// A node that has what it needs to start.
pub struct Node {
    pub id: NodeId,
    /// Where others call it, as `host:port`.
    pub address: String,
    pub cluster: Cluster,
    pub calls: Calls,
    /// For the services that others call.
    pub listener: TcpListener,
}

/// How other nodes are called. Cheap to clone.
#[derive(Clone)]
pub struct Calls {
    pub security: Security,
    pub rpc: RpcLimits,
    pub tls: TlsLimits,
}

impl Calls {
    pub fn new(cluster: &Cluster, rpc: RpcLimits, tls: TlsLimits) -> Result<Calls, Refusal> {
        let security = match &cluster.credentials {
            Some(files) => Security::Mutual(Arc::new(Credentials::load(files, &cluster.name, &tls)?)),
            None => Security::Loopback,
        };
        for peer in &cluster.peers {
            let (Peer::Node { host, port } | Peer::Resolved { host, port }) = peer;
            security.check_called(host, *port)?;
        }
        Ok(Calls { security, rpc, tls })
    }

    /// `None` within this machine.
    pub fn credentials(&self) -> Option<Arc<Credentials>> {
        match &self.security {
            Security::Mutual(credentials) => Some(credentials.clone()),
            Security::Loopback => None,
        }
    }

    /// A channel to whoever is expected at `host:port`.
    pub fn channel(&self, address: &str, expected: Expected) -> Result<Channel, mtls::Error> {
        let unusable = |reason: String| mtls::Error::Address { address: address.to_owned(), reason };
        let uri = format!("http://{address}").parse::<Uri>();
        let uri = uri.map_err(|error| unusable(error.to_string()))?;
        mtls::connect(rpc::endpoint(uri, &self.rpc), expected, &self.security)
    }
}

impl Node {
    /// Decides who this node is, and listens for the others.
    pub async fn prepare(
        cluster: Cluster,
        host: IpAddr,
        folder: &mut DataFolder,
        calls: Calls,
    ) -> Result<Node, Refusal> {
        if let Some(file) = &cluster.secret_file {
            folder.share_secret(file)?;
        }
        let given = match cluster.node {
            NodeNumber::Given(number) => Some(number),
            NodeNumber::OfHostname => Some(number_of_host(&host_name())?),
            NodeNumber::Kept => None,
        };
        let id = match folder.node_number(given) {
            Err(Refusal::NoNodeNumber) if cluster.peers.is_empty() => folder.node_number(Some(NodeId(1)))?,
            id => id?,
        };
        if let Security::Mutual(credentials) = &calls.security {
            let found = credentials.identity();
            if found.node != id || !found.roles.contains(cluster.roles) {
                let wanted = Identity { cluster: cluster.name.clone(), roles: cluster.roles, node: id };
                let (found, wanted) = (found.to_string(), wanted.to_string());
                return Err(mtls::Error::WrongIdentity { found, wanted }.into());
            }
        }
        let address = SocketAddr::new(host, cluster.internal_port);
        calls.security.check_listened(address)?;
        let listener = ports::listen(address, "--internal-port").await?;
        let address = match &cluster.address {
            Some(address) => address.clone(),
            None => own_address(&listener, cluster.peers.is_empty())?,
        };
        Ok(Node { id, address, cluster, calls, listener })
    }

    fn zone(&self) -> Option<String> {
        Some(self.cluster.zone.clone()).filter(|zone| !zone.is_empty())
    }

    /// Where a router of this node stands.
    pub fn here(&self) -> Here {
        Here { node: self.id, zone: self.zone() }
    }

    /// Tells the log who this node is, and who the others are.
    pub fn place(&self, options: &mut txlog::Options) {
        options.node = self.id;
        options.address = self.address.clone();
        options.zone = self.cluster.zone.clone();
        options.cluster = self.cluster.name.clone();
        if !self.cluster.peers.is_empty() {
            let peers = self.cluster.peers.iter().map(Peer::to_string).collect();
            options.beginning = Beginning::Together { voters: self.cluster.voters.into(), peers };
        }
        let calls = self.calls.clone();
        options.channels = Channels::new(move |node, address: &str, _| {
            calls.channel(address, Expected { roles: KEEPS_LOG, node }).map_err(io::Error::other)
        });
    }

    /// What other processes do. Who they are is found out from now on.
    pub fn others(&self, parts: &mut Parts) -> Others {
        let (pools, calls) = (Pools::default(), self.calls.clone());
        let (following, peers) = (pools.clone(), self.cluster.peers.clone());
        parts.spawn(|token| following.follow(peers, calls, token));
        Others { pools, zone: self.cluster.zone.clone(), calls: self.calls.clone() }
    }

    /// What makes a router of the replicas.
    pub fn replicas(&self, source: Source) -> Replicas {
        Replicas { node: self.id, zone: self.zone(), source, calls: self.calls.clone() }
    }

    /// Serves what other nodes call, until the token, and takes changed certificates into use meanwhile.
    pub async fn serve(self, routes: Routes, shutdown: CancellationToken) {
        let Calls { security, rpc, tls } = self.calls;
        let following = async {
            if let Security::Mutual(credentials) = &security {
                credentials.follow(&tls, shutdown.clone()).await;
            }
        };
        let server = rpc::server(&rpc);
        let serving = mtls::serve(self.listener, server, routes, security.clone(), tls, shutdown.clone());
        let (served, ()) = tokio::join!(serving, following);
        if let Err(error) = served {
            tracing::error!(%error, "other nodes are served no more");
        }
    }
}

/// Where it listens, if others can call that.
fn own_address(listener: &TcpListener, is_alone: bool) -> Result<String, Refusal> {
    let address = listener
        .local_addr()
        .map_err(|error| Refusal::Configuration(format!("the address listened on can't be read: {error}")))?;
    if address.ip().is_unspecified() && !is_alone {
        let sentence = "node.address is missing: others can't call the address of every network";
        return Err(Refusal::Configuration(sentence.to_owned()));
    }
    Ok(address.to_string())
}

/// As this process sees it; in a container, its own.
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// One more than the number at the end, which begins at 0 where hosts are numbered.
fn number_of_host(name: &str) -> Result<NodeId, Refusal> {
    let digits = name.len() - name.trim_end_matches(|last: char| last.is_ascii_digit()).len();
    let ordinal = name[name.len() - digits..].parse::<u64>().ok();
    let number = ordinal.and_then(|ordinal| ordinal.checked_add(1)).map(NodeId);
    number.ok_or_else(|| Refusal::NoOrdinal(name.to_owned()))
}

/// Where the peers are now, as `host:port`. A name that can't be resolved now stands for nobody.
pub async fn addresses(peers: &[Peer]) -> Vec<String> {
    let mut addresses = Vec::new();
    for peer in peers {
        match peer {
            Peer::Node { host, port } => addresses.push(format!("{host}:{port}")),
            Peer::Resolved { host, port } => {
                match tokio::net::lookup_host((host.trim_matches(['[', ']']), *port)).await {
                    Ok(found) => addresses.extend(found.map(|address| address.to_string())),
                    Err(error) => tracing::debug!(host, %error, "no peers are found by this name"),
                }
            }
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use mtls::Roles;

    use super::*;

    #[test]
    fn hosts_are_numbered_from_nought_and_nodes_from_one() {
        for (name, number) in [("tidemark-0", 1), ("tidemark-12", 13), ("db7", 8)] {
            assert_eq!(number_of_host(name).expect(name), NodeId(number));
        }
        for name in ["tidemark", "", "tidemark-0x", "a-18446744073709551615", "a-99999999999999999999"] {
            let refused = number_of_host(name).expect_err(name).to_string();
            assert!(refused.starts_with("NodeNumberMissing: "), "{refused}");
        }
    }

    fn cluster(node: NodeNumber) -> Cluster {
        Cluster {
            name: "test".into(),
            roles: Roles::ALL,
            node,
            zone: String::new(),
            address: None,
            internal_port: 0,
            peers: Vec::new(),
            voters: 1,
            secret_file: None,
            credentials: None,
        }
    }

    async fn prepared(cluster: Cluster, host: &str) -> Result<Node, Refusal> {
        let parent = tempfile::tempdir().expect("a folder");
        let mut folder = DataFolder::open(parent.path()).expect("opens");
        let calls = Calls::new(&cluster, RpcLimits::DEFAULT, TlsLimits::DEFAULT)?;
        Node::prepare(cluster, host.parse().expect("an address"), &mut folder, calls).await
    }

    #[tokio::test]
    async fn a_node_alone_is_the_first_and_others_need_a_number() {
        let alone = prepared(cluster(NodeNumber::Kept), "127.0.0.1").await.expect("it is alone");
        assert_eq!(alone.id, NodeId(1));
        assert_eq!(alone.address, alone.listener.local_addr().expect("an address").to_string());
        let peers = vec![Peer::Node { host: "127.0.0.1".into(), port: 1 }];
        let with_peers = Cluster { peers: peers.clone(), ..cluster(NodeNumber::Kept) };
        let refused = prepared(with_peers, "127.0.0.1").await.map(|_| ()).expect_err("no number");
        assert!(matches!(refused, Refusal::NoNodeNumber));
        let given = Cluster { peers, ..cluster(NodeNumber::Given(NodeId(3))) };
        assert_eq!(prepared(given, "127.0.0.1").await.expect("it has one").id, NodeId(3));
    }

    #[tokio::test]
    async fn without_certificates_nothing_else_than_this_machine_is_listened_on_or_called() {
        let refused = prepared(cluster(NodeNumber::Kept), "0.0.0.0").await.map(|_| ()).expect_err("refused");
        assert!(refused.to_string().starts_with("TlsRequired: "), "{refused}");
        let peers = vec![Peer::Node { host: "192.0.2.1".into(), port: 1 }];
        let refused = prepared(Cluster { peers, ..cluster(NodeNumber::Kept) }, "127.0.0.1").await;
        let refused = refused.map(|_| ()).expect_err("refused").to_string();
        assert!(refused.starts_with("TlsRequired: "), "{refused}");
    }
}
