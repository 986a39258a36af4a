//! Positions in the order of commits, as types that can't be mixed up.

use std::{fmt, sync::Arc};

/// A commit timestamp: nanoseconds since the Unix epoch, at most `i64::MAX`.
///
/// Timestamps order commits; they follow the wall clock as far as they can but never step back. A timestamp that is
/// handed to a reader is that of a published commit, never a reading of a clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before every commit: the state of an empty store.
    pub const ZERO: Timestamp = Timestamp(0);
    /// The largest that clients can read.
    pub const MAX: Timestamp = Timestamp(i64::MAX as u64);

    /// `None` above `i64::MAX`, which clients refuse.
    pub const fn new(nanoseconds: u64) -> Option<Timestamp> {
        if nanoseconds <= i64::MAX as u64 { Some(Timestamp(nanoseconds)) } else { None }
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// The smallest timestamp above this one; `None` at the end of time.
    pub const fn next(self) -> Option<Timestamp> {
        Timestamp::new(self.0 + 1)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ts{}", self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A leader's reign, or a part of it: the Raft term, and how often the leader had to start anew within it because a
/// proposal was refused. Ordered. Whatever was validated in one epoch and not appended to the log dies with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch {
    /// The Raft term.
    pub term: u64,
    /// How often the leader has begun anew within it.
    pub reset: u32,
}

/// Names one request to commit; the same in every attempt at it. Random, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub [u8; 16]);

/// Names what one reader holds; the same whenever it is renewed. Random, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub [u8; 16]);

/// One Raft group, which holds one or many deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// One database with its functions; what users call a deployment. The number, not the name, is in stores and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(pub u32);

/// Where a deployment lives. Keys and requests carry both numbers, so that a deployment can move between groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentRef {
    /// The group that holds it.
    pub group: GroupId,
    /// Its number within the cluster.
    pub deployment: DeploymentId,
}

/// As log lines show it: `group/deployment`.
impl fmt::Display for DeploymentRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.group.0, self.deployment.0)
    }
}

/// Names an index within a deployment. Never used again after the index is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexId(pub [u8; 16]);

impl IndexId {
    /// An index of each deployment whose keys begin with the timestamp of the commit that wrote them, 8 bytes, big-endian: the log
    /// puts it before the key that the commit names when it applies it. What is deleted there is named by the whole key. Until
    /// it is published, what a commit writes there is not to be read.
    pub const BY_COMMIT: IndexId = IndexId([0xff; 16]);

    /// The key in [`IndexId::BY_COMMIT`] of what the commit at `timestamp` wrote there as `key`.
    pub fn by_commit_key(timestamp: Timestamp, key: &[u8]) -> Vec<u8> {
        [&timestamp.as_nanoseconds().to_be_bytes()[..], key].concat()
    }
}

impl fmt::Debug for IndexId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("index:")?;
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A node of the cluster. One that lost its disk comes back under a new number, because with the old one it could vote
/// twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Who leads a group, as far as one of its replicas has heard: where to ask next, and no proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaderHint {
    /// The node that leads.
    pub node: NodeId,
    /// Where the node's services are called, as `host:port`.
    pub address: String,
    /// The availability zone in which it stands, if that is known.
    pub zone: Option<String>,
}

/// Where a replica of a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The newest epoch that this replica knows of. A follower learns of its leader's resets by the batches that it applies.
    pub epoch: Epoch,
    /// Whether this replica leads that epoch and has applied everything older, so that it takes commits.
    pub ready: bool,
    /// The last commit that is applied here. Never goes back while the process lives.
    pub published: Timestamp,
    /// Who leads the epoch, this replica itself included; `None` while nobody is known to.
    pub leader: Option<Arc<LeaderHint>>,
}
