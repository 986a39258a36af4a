//! What only `tidemark serve` is told: which node of which cluster this is, and what it does there.

use std::{fmt, net::Ipv6Addr, path::PathBuf};

use contract::NodeId;
use mtls::{CredentialFiles, Identity, Roles};
use serde::Deserialize;

use super::DevArguments;
use crate::refusal::Refusal;

pub const INTERNAL_PORT: u16 = 3213;
/// What `serve` opens unless it is told otherwise.
pub const METRICS_PORT: u16 = 3214;
pub const GRPC_PORT: u16 = 3212;

const NAME: &str = "tidemark";
const VOTERS: u32 = 3;
/// More would make each commit wait for more disks, and gain nothing.
const VOTERS_MAX: u32 = 7;
const PEERS_MAX: usize = 100;
/// Before a name that stands for all peers.
const RESOLVED: &str = "dns:";

#[derive(Debug, Default, clap::Args)]
pub struct ServeArguments {
    #[command(flatten)]
    pub common: DevArguments,
    /// What this process does, separated by commas: `all`, or some of txlog, runner, fanout, gateway, blob, scheduler, search and
    /// deploy [default: all].
    #[arg(long, env = "TIDEMARK_ROLES", value_name = "ROLES", value_delimiter = ',')]
    pub roles: Option<Vec<String>>,
    /// The number of this node, which no other has or ever had [default: the one that the data folder keeps].
    #[arg(long, env = "TIDEMARK_NODE_ID", value_name = "NUMBER")]
    pub node_id: Option<u64>,
    /// Take as number what the host's name ends with, and one: `tidemark-0` is node 1.
    #[arg(long, env = "TIDEMARK_NODE_ID_FROM_HOSTNAME", value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub node_id_from_hostname: Option<bool>,
    /// The availability zone in which this node stands.
    #[arg(long, env = "TIDEMARK_NODE_ZONE", value_name = "NAME")]
    pub node_zone: Option<String>,
    /// Where other nodes call this one, as `host:port` [default: host and internal port].
    #[arg(long, env = "TIDEMARK_NODE_ADDRESS", value_name = "ADDRESS")]
    pub node_address: Option<String>,
    /// The port for other nodes [default: 3213].
    #[arg(long, env = "TIDEMARK_INTERNAL_PORT", value_name = "PORT")]
    pub internal_port: Option<u16>,
    /// The name of the cluster [default: tidemark].
    #[arg(long, env = "TIDEMARK_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Where the nodes are called, separated by commas: `host:port` of each, or `dns:name:port` with a name that stands for
    /// all.
    #[arg(long, env = "TIDEMARK_CLUSTER_PEERS", value_name = "ADDRESSES", value_delimiter = ',')]
    pub cluster_peers: Option<Vec<String>>,
    /// How many nodes begin the cluster together: those with the numbers 1 to this [default: 3, without peers 1].
    #[arg(long, env = "TIDEMARK_CLUSTER_VOTERS", value_name = "NUMBER")]
    pub cluster_voters: Option<u32>,
    /// A file with 32 random bytes, or their hexadecimal digits, that all nodes share.
    #[arg(long, env = "TIDEMARK_CLUSTER_SECRET_FILE", value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// The authorities whose certificates other nodes show (PEM).
    #[arg(long, env = "TIDEMARK_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The certificate of this process (PEM).
    #[arg(long, env = "TIDEMARK_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, env = "TIDEMARK_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// The table `[cluster]`.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileCluster {
    name: Option<String>,
    peers: Option<Vec<String>>,
    voters: Option<u32>,
    secret_file: Option<PathBuf>,
}

/// The table `[tls]`.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileTls {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// What the table `[node]` says of the node itself.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FileNode {
    pub id: Option<u64>,
    pub id_from_hostname: Option<bool>,
    pub zone: Option<String>,
    pub address: Option<String>,
}

/// What the file says for `serve` alone.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FileServe {
    pub roles: Option<Vec<String>>,
    pub internal_port: Option<u16>,
    pub node: FileNode,
    pub cluster: FileCluster,
    pub tls: FileTls,
}

/// Where a node's number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeNumber {
    Given(NodeId),
    OfHostname,
    /// The data folder keeps it.
    Kept,
}

/// Where peers are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// One, at `host:port`.
    Node { host: String, port: u16 },
    /// All for which the name stands, at the port. It is resolved again and again.
    Resolved { host: String, port: u16 },
}

/// As it was written.
impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Node { host, port } => write!(formatter, "{host}:{port}"),
            Peer::Resolved { host, port } => write!(formatter, "{RESOLVED}{host}:{port}"),
        }
    }
}

/// This process in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub name: String,
    pub roles: Roles,
    pub node: NodeNumber,
    /// Empty if it is not known.
    pub zone: String,
    /// Where others call this process; `None`: where it listens.
    pub address: Option<String>,
    pub internal_port: u16,
    pub peers: Vec<Peer>,
    /// The nodes with numbers up to here begin the cluster.
    pub voters: u32,
    pub secret_file: Option<PathBuf>,
    /// `None`: other nodes are processes of this machine.
    pub credentials: Option<CredentialFiles>,
}

pub(super) fn combine(arguments: ServeArguments, file: FileServe) -> Result<Cluster, Refusal> {
    let refused = |sentence: String| Err(Refusal::Configuration(sentence));
    let name = arguments.cluster_name.or(file.cluster.name).unwrap_or_else(|| NAME.into());
    if let Err(error) = Identity::check_cluster(&name) {
        return refused(format!("cluster.name: {error}"));
    }
    let roles = match arguments.roles.or(file.roles) {
        Some(names) => Roles::parse(names.iter().map(|name| name.trim()))
            .map_err(|error| Refusal::Configuration(format!("roles: {error}")))?,
        None => Roles::ALL,
    };
    if !Roles::ALL.contains(roles) {
        return refused("roles: an operator is no process".into());
    }
    let peers = arguments.cluster_peers.or(file.cluster.peers).unwrap_or_default();
    if peers.len() > PEERS_MAX {
        return refused(format!("cluster.peers has more than {PEERS_MAX} addresses"));
    }
    let peers: Vec<Peer> = peers.iter().map(|text| peer(text)).collect::<Result<_, _>>()?;
    let voters = arguments.cluster_voters.or(file.cluster.voters);
    let voters = voters.unwrap_or(if peers.is_empty() { 1 } else { VOTERS });
    if !(1..=VOTERS_MAX).contains(&voters) {
        return refused(format!("cluster.voters must be 1 to {VOTERS_MAX}"));
    }
    let all_are_named = peers.iter().all(|peer| matches!(peer, Peer::Node { .. }));
    if voters > 1 && all_are_named && peers.len() < voters as usize {
        return refused(format!(
            "cluster.voters is {voters}, and cluster.peers has {} addresses: it must have those of all nodes, this one's too",
            peers.len()
        ));
    }
    let secret_file = arguments.cluster_secret_file.or(file.cluster.secret_file);
    let id = arguments.node_id.or(file.node.id);
    let of_hostname = arguments.node_id_from_hostname.or(file.node.id_from_hostname).unwrap_or(false);
    let node = match (id, of_hostname) {
        (Some(0), _) => return refused("node.id must be at least 1".into()),
        (Some(_), true) => return refused("node.id and node.id_from_hostname are both set".into()),
        (Some(id), false) => NodeNumber::Given(NodeId(id)),
        (None, true) => NodeNumber::OfHostname,
        (None, false) => NodeNumber::Kept,
    };
    let address = arguments.node_address.or(file.node.address);
    if let Some(address) = &address {
        host_and_port("node.address", address)?;
    }
    let ca = arguments.tls_ca.or(file.tls.ca);
    let certificate = arguments.tls_certificate.or(file.tls.certificate);
    let credentials = match (ca, certificate, arguments.tls_key.or(file.tls.key)) {
        (None, None, None) => None,
        (Some(authorities), Some(certificate), Some(key)) => {
            Some(CredentialFiles { authorities, certificate, key })
        }
        _ => return refused("[tls] must have all of ca, certificate and key, or none".into()),
    };
    Ok(Cluster {
        name,
        roles,
        node,
        zone: arguments.node_zone.or(file.node.zone).unwrap_or_default(),
        address,
        internal_port: arguments.internal_port.or(file.internal_port).unwrap_or(INTERNAL_PORT),
        peers,
        voters,
        secret_file,
        credentials,
    })
}

fn peer(text: &str) -> Result<Peer, Refusal> {
    let text = text.trim();
    Ok(match text.strip_prefix(RESOLVED) {
        Some(name) => {
            let (host, port) = host_and_port("cluster.peers", name)?;
            Peer::Resolved { host, port }
        }
        None => {
            let (host, port) = host_and_port("cluster.peers", text)?;
            Peer::Node { host, port }
        }
    })
}

/// Of `host:port`; an address of IPv6 stands in brackets.
pub fn host_and_port(name: &str, text: &str) -> Result<(String, u16), Refusal> {
    let is_v6 = |host: &str| host.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok();
    let parts = text.rsplit_once(':');
    let is_host = |host: &str| {
        let in_brackets = host.starts_with('[') && host.ends_with(']');
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !host.is_empty() && (host.bytes().all(allowed) || in_brackets && is_v6(host))
    };
    match parts.map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if port > 0 && is_host(host) => Ok((host.to_owned(), port)),
        _ => Err(Refusal::Configuration(format!("{name}: `{text}` is not of the form host:port"))),
    }
}

#[cfg(test)]
mod tests {
    use mtls::Role;

    use super::*;

    fn refused(file: FileServe) -> String {
        combine(ServeArguments::default(), file).expect_err("refused").to_string()
    }

    fn cluster(peers: &[&str]) -> FileCluster {
        let peers = Some(peers.iter().map(|peer| (*peer).to_owned()).collect());
        FileCluster { peers, secret_file: Some("secret".into()), ..FileCluster::default() }
    }

    #[test]
    fn a_node_alone_needs_nothing() {
        let alone = combine(ServeArguments::default(), FileServe::default()).expect("valid");
        assert_eq!((alone.name.as_str(), alone.roles, alone.voters), ("tidemark", Roles::ALL, 1));
        assert_eq!((alone.node, alone.internal_port, alone.peers), (NodeNumber::Kept, 3213, vec![]));
    }

    #[test]
    fn arguments_go_over_the_file() {
        let arguments = ServeArguments {
            roles: Some(vec!["runner".into(), " gateway".into()]),
            node_id: Some(2),
            cluster_voters: Some(1),
            ..ServeArguments::default()
        };
        let file = FileServe {
            roles: Some(vec!["txlog".into()]),
            node: FileNode { id: Some(3), zone: Some("north".into()), ..FileNode::default() },
            cluster: cluster(&["a:1", "dns:internal.example:3213", "[::1]:2"]),
            ..FileServe::default()
        };
        let both = combine(arguments, file).expect("valid");
        assert_eq!(both.roles, Roles::of(&[Role::Gateway, Role::Runner]));
        assert_eq!((both.node, both.zone.as_str(), both.voters), (NodeNumber::Given(NodeId(2)), "north", 1));
        let named = |host: &str, port| Peer::Node { host: host.into(), port };
        let resolved = Peer::Resolved { host: "internal.example".into(), port: 3213 };
        assert_eq!(both.peers, [named("a", 1), resolved, named("[::1]", 2)]);
    }

    #[test]
    fn what_can_not_be_a_cluster_is_refused_by_name() {
        let with = |cluster| FileServe { cluster, ..FileServe::default() };
        let node = |node| FileServe { node, ..FileServe::default() };
        for (file, why) in [
            (with(cluster(&["a:1", "b:1"])), "cluster.voters is 3, and cluster.peers has 2"),
            (with(cluster(&["a"])), "cluster.peers: `a` is not of the form host:port"),
            (with(cluster(&["a:0"])), "cluster.peers"),
            (with(cluster(&["a b:1"])), "cluster.peers"),
            (with(FileCluster { voters: Some(8), ..FileCluster::default() }), "cluster.voters"),
            (with(FileCluster { name: Some("A".into()), ..FileCluster::default() }), "cluster.name"),
            (node(FileNode { id: Some(0), ..FileNode::default() }), "node.id"),
            (
                node(FileNode { id: Some(1), id_from_hostname: Some(true), ..FileNode::default() }),
                "node.id and node.id_from_hostname",
            ),
            (node(FileNode { address: Some("here".into()), ..FileNode::default() }), "node.address"),
            (FileServe { roles: Some(vec!["al".into()]), ..FileServe::default() }, "roles: `al`"),
            (FileServe { roles: Some(vec![]), ..FileServe::default() }, "roles: no role"),
            (FileServe { roles: Some(vec!["operator".into()]), ..FileServe::default() }, "roles"),
            (
                FileServe {
                    tls: FileTls { ca: Some("ca".into()), ..FileTls::default() },
                    ..FileServe::default()
                },
                "[tls] must have all",
            ),
        ] {
            let sentence = refused(file);
            assert!(sentence.contains(why), "{sentence}");
        }
    }
}
