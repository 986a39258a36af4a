//! Who a process is.

use std::{fmt, str::FromStr};

use contract::NodeId;

const SCHEME: &str = "tidemark://";
const CLUSTER_BYTES_MAX: usize = 40;

/// What a process does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Keeps a replica of the log and its store; the sequencer goes along.
    Txlog,
    /// Runs functions.
    Runner,
    /// Keeps queries live.
    Fanout,
    /// Talks to clients.
    Gateway,
    /// Keeps bytes.
    Blob,
    /// Has functions run later.
    Scheduler,
    /// Takes pushes.
    Deploy,
    /// Keeps text and vector indexes.
    Search,
    /// Administers the cluster: no process of it, but whoever holds the certificate.
    Operator,
}

/// The roles of processes, by their names.
const ROLES: [(&str, Role); 9] = [
    ("txlog", Role::Txlog),
    ("runner", Role::Runner),
    ("fanout", Role::Fanout),
    ("gateway", Role::Gateway),
    ("blob", Role::Blob),
    ("scheduler", Role::Scheduler),
    ("deploy", Role::Deploy),
    ("search", Role::Search),
    ("operator", Role::Operator),
];
const ALL: &str = "all";

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Roles(u16);

impl Roles {
    /// No role.
    pub const NONE: Roles = Roles(0);
    /// Every role of a process, which an operator's is not.
    pub const ALL: Roles = Roles(Roles::bit(Role::Operator) - 1);

    /// These roles.
    pub const fn of(roles: &[Role]) -> Roles {
        let (mut set, mut index) = (0, 0);
        while index < roles.len() {
            set |= Roles::bit(roles[index]);
            index += 1;
        }
        Roles(set)
    }

    /// An operator's is the last one.
    const fn bit(role: Role) -> u16 {
        1 << role as u8
    }

    /// Whether the role is one of them.
    pub const fn has(self, role: Role) -> bool {
        self.0 & Roles::bit(role) != 0
    }

    /// Whether all of the others are among them.
    pub const fn contains(self, others: Roles) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether one of the others is among them.
    pub const fn meets(self, others: Roles) -> bool {
        self.0 & others.0 != 0
    }

    /// These and the others.
    pub const fn with(self, others: Roles) -> Roles {
        Roles(self.0 | others.0)
    }

    /// Reads names of roles, of which `all` stands for every role of a process.
    ///
    /// # Errors
    /// One of them is no role, or there is none.
    pub fn parse<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Roles, InvalidIdentity> {
        let mut roles = Roles::NONE;
        for name in names {
            let known = ROLES.iter().find(|(known, _)| *known == name);
            roles = match known {
                Some((_, role)) => roles.with(Roles::of(&[*role])),
                None if name == ALL => roles.with(Roles::ALL),
                None => return Err(InvalidIdentity::Role(name.chars().take(CLUSTER_BYTES_MAX).collect())),
            };
        }
        if roles == Roles::NONE { Err(InvalidIdentity::NoRole) } else { Ok(roles) }
    }
}

/// As certificates have them: `gateway+runner`, `all`.
impl fmt::Display for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        let mut separator = "";
        if self.contains(Roles::ALL) {
            formatter.write_str(ALL)?;
            rest = Roles(self.0 & !Roles::ALL.0);
            separator = "+";
        }
        for (name, role) in ROLES.iter().filter(|(_, role)| rest.has(*role)) {
            let _ = role;
            write!(formatter, "{separator}{name}")?;
            separator = "+";
        }
        Ok(())
    }
}

/// A process of a cluster, as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// What it does there.
    pub roles: Roles,
    /// The node that it runs on.
    pub node: NodeId,
}

/// Why a text names no process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// A certificate without such a name.
    #[error("the certificate has no name of the form tidemark://<cluster>/<roles>/<node>")]
    Missing,
    /// One with two.
    #[error("the certificate has more than one name of the form tidemark://<cluster>/<roles>/<node>")]
    Ambiguous,
    /// Not of that form.
    #[error("it is not of the form tidemark://<cluster>/<roles>/<node>")]
    Form,
    /// The name of a cluster.
    #[error("the name of a cluster is 1 to 40 of the characters a-z, 0-9 and -")]
    Cluster,
    /// A role.
    #[error(
        "`{0}` is no role: there are all, txlog, runner, fanout, gateway, blob, scheduler, deploy, search and operator"
    )]
    Role(String),
    /// None is named.
    #[error("no role is named")]
    NoRole,
    /// The node.
    #[error("the number of a node is a whole number above 0")]
    Node,
}

/// Whether a cluster may be called so.
pub(crate) fn is_cluster_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=CLUSTER_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

impl Identity {
    /// Whether a cluster may have this name.
    ///
    /// # Errors
    /// It may not.
    pub fn check_cluster(name: &str) -> Result<(), InvalidIdentity> {
        if is_cluster_name(name) { Ok(()) } else { Err(InvalidIdentity::Cluster) }
    }

    /// Of a certificate (DER).
    pub(crate) fn of_certificate(
        certificate: &rustls::pki_types::CertificateDer<'_>,
    ) -> Result<Identity, InvalidIdentity> {
        let certificate =
            webpki::EndEntityCert::try_from(certificate).map_err(|_| InvalidIdentity::Missing)?;
        let mut names = certificate.valid_uri_names().filter(|name| name.starts_with(SCHEME));
        let name = names.next().ok_or(InvalidIdentity::Missing)?;
        if names.next().is_some() {
            return Err(InvalidIdentity::Ambiguous);
        }
        name.parse()
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Identity, InvalidIdentity> {
        let path = text.strip_prefix(SCHEME).ok_or(InvalidIdentity::Form)?;
        let parts: Vec<&str> = path.split('/').collect();
        let [cluster, roles, node] = parts[..] else { return Err(InvalidIdentity::Form) };
        Identity::check_cluster(cluster)?;
        let digits = !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_digit());
        let node = node.parse().ok().filter(|node| digits && *node > 0).ok_or(InvalidIdentity::Node)?;
        Ok(Identity {
            cluster: cluster.to_owned(),
            roles: Roles::parse(roles.split('+'))?,
            node: NodeId(node),
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}/{}/{}", self.cluster, self.roles, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in [
            "tidemark://a/all/1",
            "tidemark://cluster-2/runner+gateway/18446744073709551615",
            "tidemark://a/all+operator/7",
            "tidemark://a/operator/1",
        ] {
            let identity: Identity = name.parse().expect(name);
            let again: Identity = identity.to_string().parse().expect("it is a name");
            assert_eq!(identity, again);
        }
        let identity: Identity = "tidemark://a/runner+gateway/2".parse().expect("a name");
        assert_eq!((identity.cluster.as_str(), identity.node), ("a", NodeId(2)));
        assert_eq!(identity.roles, Roles::of(&[Role::Gateway, Role::Runner]));
        assert_eq!(identity.to_string(), "tidemark://a/runner+gateway/2");
    }

    #[test]
    fn what_names_no_process_is_refused() {
        for (name, why) in [
            ("https://a/all/1", InvalidIdentity::Form),
            ("tidemark://a/all", InvalidIdentity::Form),
            ("tidemark://a/all/1/2", InvalidIdentity::Form),
            ("tidemark://A/all/1", InvalidIdentity::Cluster),
            ("tidemark:///all/1", InvalidIdentity::Cluster),
            ("tidemark://a//1", InvalidIdentity::Role(String::new())),
            ("tidemark://a/al/1", InvalidIdentity::Role("al".into())),
            ("tidemark://a/all/0", InvalidIdentity::Node),
            ("tidemark://a/all/+1", InvalidIdentity::Node),
            ("tidemark://a/all/18446744073709551616", InvalidIdentity::Node),
        ] {
            assert_eq!(name.parse::<Identity>(), Err(why), "{name}");
        }
        assert!(Identity::check_cluster(&"x".repeat(41)).is_err());
        assert_eq!(Roles::parse([]), Err(InvalidIdentity::NoRole));
    }

    #[test]
    fn an_operator_is_no_process() {
        assert!(!Roles::ALL.has(Role::Operator));
        assert!(Roles::ALL.contains(Roles::of(&[Role::Txlog, Role::Deploy])));
        assert!(!Roles::of(&[Role::Gateway]).meets(Roles::of(&[Role::Txlog, Role::Runner])));
    }
}
