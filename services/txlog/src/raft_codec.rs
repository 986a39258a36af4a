//! How Raft's own state lies on the disk: votes, log ids and memberships, in messages of ours, so that the library can
//! change how it writes them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proto::txlog::v1 as wire;

use crate::{
    entry::{EntryError, damaged, decode_versioned, encode_versioned},
    raft_types::{DiskId, LogId, Membership, Node, StoredMembership, Vote, log_id},
};

const VERSION: u8 = 1;

pub fn encode_vote(vote: &Vote) -> Bytes {
    encode_versioned(VERSION, &vote_to_wire(vote))
}

pub fn decode_vote(bytes: Bytes) -> Result<Vote, EntryError> {
    Ok(vote_from_wire(decode_versioned(VERSION, bytes)?))
}

pub fn vote_to_wire(vote: &Vote) -> wire::Vote {
    let (term, voted_for) = (vote.leader_id.term, vote.leader_id.voted_for);
    wire::Vote { term, voted_for, committed: vote.committed }
}

pub fn vote_from_wire(vote: wire::Vote) -> Vote {
    match vote.committed {
        true => Vote::new_committed(vote.term, vote.voted_for),
        false => Vote::new(vote.term, vote.voted_for),
    }
}

pub fn encode_log_id(id: &LogId) -> Bytes {
    encode_versioned(VERSION, &log_id_to_wire(id))
}

pub fn decode_log_id(bytes: Bytes) -> Result<LogId, EntryError> {
    Ok(log_id_from_wire(decode_versioned(VERSION, bytes)?))
}

pub fn encode_membership(membership: &Membership) -> Bytes {
    encode_versioned(VERSION, &membership_to_wire(membership))
}

pub fn decode_membership(bytes: Bytes) -> Result<Membership, EntryError> {
    membership_from_wire(decode_versioned(VERSION, bytes)?)
}

pub fn encode_stored_membership(stored: &StoredMembership) -> Bytes {
    let log_id = stored.log_id().as_ref().map(log_id_to_wire);
    let membership = Some(membership_to_wire(stored.membership()));
    encode_versioned(VERSION, &wire::StoredMembership { log_id, membership })
}

pub fn decode_stored_membership(bytes: Bytes) -> Result<StoredMembership, EntryError> {
    let stored: wire::StoredMembership = decode_versioned(VERSION, bytes)?;
    let id = stored.log_id.map(log_id_from_wire);
    Ok(StoredMembership::new(id, membership_from_wire(stored.membership.unwrap_or_default())?))
}

pub fn log_id_to_wire(id: &LogId) -> wire::LogId {
    wire::LogId { term: id.leader_id.term, index: id.index }
}

pub fn log_id_from_wire(id: wire::LogId) -> LogId {
    log_id(id.term, id.index)
}

fn membership_to_wire(membership: &Membership) -> wire::Membership {
    wire::Membership {
        configurations: membership
            .get_joint_config()
            .iter()
            .map(|voters| wire::Voters { nodes: voters.iter().copied().collect() })
            .collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| wire::Node {
                id: *id,
                address: node.address.clone(),
                zone: node.zone.clone(),
                disk: disk_to_wire(node.disk),
            })
            .collect(),
    }
}

fn membership_from_wire(message: wire::Membership) -> Result<Membership, EntryError> {
    let voters: Vec<BTreeSet<u64>> =
        message.configurations.into_iter().map(|voters| voters.nodes.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, Node> = message
        .nodes
        .into_iter()
        .map(|node| {
            let disk = disk_from_wire(&node.disk)?;
            Ok((node.id, Node { address: node.address, zone: node.zone, disk }))
        })
        .collect::<Result<_, EntryError>>()?;
    Membership::new(voters, nodes).map_err(damaged)
}

/// Nothing where it is not known.
pub fn disk_to_wire(disk: Option<DiskId>) -> Bytes {
    disk.map_or_else(Bytes::new, |disk| Bytes::copy_from_slice(&disk.0))
}

pub fn disk_from_wire(disk: &[u8]) -> Result<Option<DiskId>, EntryError> {
    match disk {
        [] => Ok(None),
        _ => {
            disk.try_into().map(|disk| Some(DiskId(disk))).map_err(|_| damaged("a disk's name has 16 bytes"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn membership() -> impl Strategy<Value = Membership> {
        let disk = prop::option::of(any::<[u8; 16]>().prop_map(DiskId));
        let node = ("[a-z0-9.:]{0,12}", "[a-z0-9-]{0,8}", disk).prop_map(|(address, zone, disk)| Node {
            address,
            zone,
            disk,
        });
        let nodes = prop::collection::btree_map(0u64..9, node, 1..6);
        nodes.prop_flat_map(|nodes| {
            let ids: Vec<u64> = nodes.keys().copied().collect();
            let most = ids.len();
            let voters = prop::sample::subsequence(ids, 1..=most);
            let voters = voters.prop_map(|voters| voters.into_iter().collect::<BTreeSet<u64>>());
            prop::collection::vec(voters, 0..3)
                .prop_map(move |voters| Membership::new(voters, nodes.clone()).expect("each has its node"))
        })
    }

    fn id() -> impl Strategy<Value = LogId> {
        (any::<u64>(), any::<u64>()).prop_map(|(term, index)| log_id(term, index))
    }

    proptest! {
        #[test]
        fn votes_come_back_as_they_were(term: u64, node: u64, committed: bool) {
            let vote = if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) };
            prop_assert_eq!(decode_vote(encode_vote(&vote)).unwrap(), vote);
        }

        #[test]
        fn log_ids_come_back_as_they_were(id in id()) {
            prop_assert_eq!(decode_log_id(encode_log_id(&id)).unwrap(), id);
        }

        #[test]
        fn memberships_come_back_as_they_were(membership in membership(), id in prop::option::of(id())) {
            prop_assert_eq!(&decode_membership(encode_membership(&membership)).unwrap(), &membership);
            let stored = StoredMembership::new(id, membership);
            prop_assert_eq!(decode_stored_membership(encode_stored_membership(&stored)).unwrap(), stored);
        }

        #[test]
        fn no_bytes_make_decoding_panic(content in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes: Bytes = [&[VERSION], &content[..]].concat().into();
            let _ = decode_vote(bytes.clone());
            let _ = decode_log_id(bytes.clone());
            let _ = decode_membership(bytes.clone());
            let _ = decode_stored_membership(bytes);
        }
    }

    #[test]
    fn an_unknown_version_is_refused_by_name() {
        let newer = |bytes: Bytes| Bytes::from([&[7], &bytes[1..]].concat());
        let unknown = EntryError::UnknownVersion(7);
        assert_eq!(decode_vote(newer(encode_vote(&Vote::new(3, 1)))).unwrap_err(), unknown);
        assert_eq!(decode_log_id(newer(encode_log_id(&log_id(3, 1)))).unwrap_err(), unknown);
        let (membership, stored) = (Membership::default(), StoredMembership::default());
        assert_eq!(decode_membership(newer(encode_membership(&membership))).unwrap_err(), unknown);
        assert_eq!(decode_stored_membership(newer(encode_stored_membership(&stored))).unwrap_err(), unknown);
    }

    #[test]
    fn a_voter_without_a_node_is_damage() {
        let message =
            wire::Membership { configurations: vec![wire::Voters { nodes: vec![1] }], nodes: vec![] };
        assert!(decode_membership(encode_versioned(VERSION, &message)).is_err());
    }
}
