//! The types with which the consensus library is used.

use std::fmt;

use bytes::Bytes;
use contract::BackfillProgress;
use openraft::impls::leader_id_std;

openraft::declare_raft_types!(
    /// Entries are opaque bytes to Raft; a term has at most one leader.
    pub RaftTypes:
        D = EntryBytes,
        R = EntryOutcome,
        NodeId = u64,
        Node = openraft::impls::EmptyNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

pub type LogId = openraft::alias::LogIdOf<RaftTypes>;
pub type Vote = openraft::alias::VoteOf<RaftTypes>;
pub type Entry = openraft::alias::EntryOf<RaftTypes>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<RaftTypes>;

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

impl serde::Serialize for EntryBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for EntryBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<EntryBytes, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| EntryBytes(bytes.into()))
    }
}

/// What the proposer of an entry hears once it is applied. Commits are answered by apply itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
