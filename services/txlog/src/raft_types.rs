//! The types with which the consensus library is used.

use std::fmt;

use bytes::Bytes;
use contract::BackfillProgress;
use openraft::{impls::leader_id_std, vote::RaftLeaderId};

openraft::declare_raft_types!(
    /// Entries are opaque bytes to Raft; a term has at most one leader.
    pub RaftTypes:
        D = EntryBytes,
        R = EntryOutcome,
        AsyncRuntime = crate::runtime::RaftRuntime,
        NodeId = u64,
        Node = Node,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub type LogId = openraft::alias::LogIdOf<RaftTypes>;
pub type Vote = openraft::alias::VoteOf<RaftTypes>;
pub type Entry = openraft::alias::EntryOf<RaftTypes>;
pub type Membership = openraft::Membership<u64, Node>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<RaftTypes>;

/// Where a node can be reached and where it stands; kept in the membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Where the node's services are called, as `host:port`.
    pub address: String,
    /// Its availability zone; empty if it is not known.
    pub zone: String,
    /// Where its log lies. A node that has lost its disk could vote twice: it is not the one that the membership names.
    pub disk: Option<DiskId>,
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in zone {:?}", self.address, self.zone)
    }
}

/// Names the folders of one node, from their first start on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiskId(pub [u8; 16]);

impl fmt::Debug for DiskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "disk {:032x}", u128::from_be_bytes(self.0))
    }
}

/// The log id of the entry that the leader of `term` put at `index`.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(leader_id_std::LeaderId::new(term, 0).to_committed(), index)
}

/// An encoded [`crate::entry::LogEntry`].
#[derive(Clone, PartialEq, Eq)]
pub struct EntryBytes(pub Bytes);

impl fmt::Debug for EntryBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for EntryBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

/// What the proposer of an entry hears once it is applied. Commits are answered by apply itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EntryOutcome {
    #[default]
    Applied,
    /// It did not follow the entry before: as if it were not there.
    Skipped,
    Backfilled {
        documents: u64,
        next: Option<Vec<u8>>,
    },
}

impl From<BackfillProgress> for EntryOutcome {
    fn from(progress: BackfillProgress) -> EntryOutcome {
        EntryOutcome::Backfilled {
            documents: progress.documents,
            next: progress.next.map(|key| key.to_vec()),
        }
    }
}
