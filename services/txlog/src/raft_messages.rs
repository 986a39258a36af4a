//! What the replicas of a group say to each other, as messages: whole, or refused.

use openraft::{
    EntryPayload,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use proto::txlog::v1 as wire;

use crate::{
    entry::{EntryError, damaged},
    raft_codec::{
        decode_membership, encode_membership, log_id_from_wire, log_id_to_wire, vote_from_wire, vote_to_wire,
    },
    raft_types::{Entry, EntryBytes, LogId, RaftTypes, Vote, log_id},
};

type Result<T> = std::result::Result<T, EntryError>;

fn optional(id: Option<&LogId>) -> Option<wire::LogId> {
    id.map(log_id_to_wire)
}

/// A vote that must be there.
pub fn vote(message: Option<wire::Vote>) -> Result<Vote> {
    message.map(vote_from_wire).ok_or_else(|| damaged("a message has no vote"))
}

fn entry_to_wire(entry: Entry) -> wire::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => wire::entry::Payload::Blank(wire::Blank {}),
        EntryPayload::Normal(EntryBytes(bytes)) => wire::entry::Payload::Normal(bytes),
        EntryPayload::Membership(membership) => {
            wire::entry::Payload::Membership(encode_membership(&membership))
        }
    };
    wire::Entry { term: entry.log_id.leader_id.term, index: entry.log_id.index, payload: Some(payload) }
}

fn entry_from_wire(message: wire::Entry) -> Result<Entry> {
    let payload = match message.payload {
        Some(wire::entry::Payload::Blank(wire::Blank {})) => EntryPayload::Blank,
        Some(wire::entry::Payload::Normal(bytes)) => EntryPayload::Normal(EntryBytes(bytes)),
        Some(wire::entry::Payload::Membership(bytes)) => EntryPayload::Membership(decode_membership(bytes)?),
        None => return Err(damaged("an entry has no payload that is known here")),
    };
    Ok(Entry { log_id: log_id(message.term, message.index), payload })
}

pub fn append_to_wire(route: wire::Route, request: AppendEntriesRequest<RaftTypes>) -> wire::AppendRequest {
    wire::AppendRequest {
        route: Some(route),
        vote: Some(vote_to_wire(&request.vote)),
        previous: optional(request.prev_log_id.as_ref()),
        entries: request.entries.into_iter().map(entry_to_wire).collect(),
        leader_commit: optional(request.leader_commit.as_ref()),
    }
}

/// The entries must follow each other and the one before them, and be of no later term than the vote: the library takes that
/// for granted.
pub fn append_from_wire(message: wire::AppendRequest) -> Result<AppendEntriesRequest<RaftTypes>> {
    let vote = vote(message.vote)?;
    let prev_log_id = message.previous.map(log_id_from_wire);
    let entries: Vec<Entry> = message.entries.into_iter().map(entry_from_wire).collect::<Result<_>>()?;
    let mut last = prev_log_id;
    for entry in &entries {
        let follows = match last {
            Some(last) => {
                last.index.checked_add(1) == Some(entry.log_id.index)
                    && last.leader_id.term <= entry.log_id.leader_id.term
            }
            None => entry.log_id.index == 0,
        };
        if !follows {
            return Err(damaged("an entry does not follow the one before"));
        }
        last = Some(entry.log_id);
    }
    if last.is_some_and(|last| last.leader_id.term > vote.leader_id.term) {
        return Err(damaged("an entry is newer than its leader"));
    }
    let leader_commit = message.leader_commit.map(log_id_from_wire);
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

/// The last entry that a replica has once it has taken the request.
pub fn last_of(request: &AppendEntriesRequest<RaftTypes>) -> Option<LogId> {
    request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id)
}

pub fn appended_to_wire(result: StreamAppendResult<RaftTypes>) -> wire::AppendReply {
    use wire::append_reply::Result;
    let result = match result {
        Ok(up_to) => Result::Matched(wire::Matched { up_to: optional(up_to.as_ref()) }),
        Err(StreamAppendError::Conflict(id)) => Result::Conflict(log_id_to_wire(&id)),
        Err(StreamAppendError::HigherVote(vote)) => Result::HigherVote(vote_to_wire(&vote)),
    };
    wire::AppendReply { result: Some(result) }
}

pub fn appended_from_wire(message: wire::AppendReply) -> Result<StreamAppendResult<RaftTypes>> {
    use wire::append_reply::Result;
    match message.result {
        Some(Result::Matched(matched)) => Ok(Ok(matched.up_to.map(log_id_from_wire))),
        Some(Result::Conflict(id)) => Ok(Err(StreamAppendError::Conflict(log_id_from_wire(id)))),
        Some(Result::HigherVote(vote)) => Ok(Err(StreamAppendError::HigherVote(vote_from_wire(vote)))),
        None => Err(damaged("an answer says nothing that is known here")),
    }
}

/// The answer to one request whose last entry, or the one before it, is `last`.
pub fn response(
    result: StreamAppendResult<RaftTypes>,
    last: Option<LogId>,
) -> AppendEntriesResponse<RaftTypes> {
    match result {
        Ok(up_to) if up_to == last => AppendEntriesResponse::Success,
        Ok(up_to) => AppendEntriesResponse::PartialSuccess(up_to),
        Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
        Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
    }
}

pub fn vote_request_to_wire(route: wire::Route, request: &VoteRequest<RaftTypes>) -> wire::VoteRequest {
    wire::VoteRequest {
        route: Some(route),
        vote: Some(vote_to_wire(&request.vote)),
        last: optional(request.last_log_id.as_ref()),
        leadership_transfer: request.leadership_transfer,
    }
}

pub fn vote_request_from_wire(message: wire::VoteRequest) -> Result<VoteRequest<RaftTypes>> {
    let last_log_id = message.last.map(log_id_from_wire);
    let leadership_transfer = message.leadership_transfer;
    Ok(VoteRequest { vote: vote(message.vote)?, last_log_id, leadership_transfer })
}

pub fn vote_response_to_wire(response: &VoteResponse<RaftTypes>) -> wire::VoteReply {
    wire::VoteReply {
        vote: Some(vote_to_wire(&response.vote)),
        granted: response.vote_granted,
        last: optional(response.last_log_id.as_ref()),
    }
}

pub fn vote_response_from_wire(message: wire::VoteReply) -> Result<VoteResponse<RaftTypes>> {
    let last_log_id = message.last.map(log_id_from_wire);
    Ok(VoteResponse { vote: vote(message.vote)?, vote_granted: message.granted, last_log_id })
}

pub fn transfer_to_wire(
    route: wire::Route,
    request: &TransferLeaderRequest<RaftTypes>,
) -> wire::TransferLeaderRequest {
    wire::TransferLeaderRequest {
        route: Some(route),
        from_leader: Some(vote_to_wire(request.from_leader())),
        to: *request.to_node_id(),
        last: optional(request.last_log_id()),
    }
}

pub fn transfer_from_wire(message: wire::TransferLeaderRequest) -> Result<TransferLeaderRequest<RaftTypes>> {
    let last = message.last.map(log_id_from_wire);
    Ok(TransferLeaderRequest::new(vote(message.from_leader)?, message.to, last))
}

pub fn transferred_to_wire(response: TransferLeaderResponse<RaftTypes>) -> wire::TransferLeaderReply {
    use wire::transfer_leader_reply::Result;
    let result = match response {
        Ok(()) => Result::Accepted(wire::Blank {}),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            let (expected, actual) = (Some(vote_to_wire(&expected)), Some(vote_to_wire(&actual)));
            Result::VoteChanged(wire::VoteChanged { expected, actual })
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            let (expected, actual) = (optional(expected.as_ref()), optional(actual.as_ref()));
            Result::LogNotFlushed(wire::LogNotFlushed { expected, actual })
        }
    };
    wire::TransferLeaderReply { result: Some(result) }
}

pub fn transferred_from_wire(
    message: wire::TransferLeaderReply,
) -> Result<TransferLeaderResponse<RaftTypes>> {
    use wire::transfer_leader_reply::Result;
    match message.result {
        Some(Result::Accepted(wire::Blank {})) => Ok(Ok(())),
        Some(Result::VoteChanged(changed)) => {
            let (expected, actual) = (vote(changed.expected)?, vote(changed.actual)?);
            Ok(Err(TransferLeaderError::VoteChanged { expected, actual }))
        }
        Some(Result::LogNotFlushed(not)) => {
            let (expected, actual) = (not.expected.map(log_id_from_wire), not.actual.map(log_id_from_wire));
            Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual }))
        }
        None => Err(damaged("an answer says nothing that is known here")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn id() -> impl Strategy<Value = LogId> {
        (0..9u64, 0..99u64).prop_map(|(term, index)| log_id(term, index))
    }

    fn a_vote() -> impl Strategy<Value = Vote> {
        (9..99u64, 0..9u64, any::<bool>()).prop_map(|(term, node, committed)| match committed {
            true => Vote::new_committed(term, node),
            false => Vote::new(term, node),
        })
    }

    fn append() -> impl Strategy<Value = AppendEntriesRequest<RaftTypes>> {
        let payloads =
            prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..5);
        (a_vote(), prop::option::of(id()), payloads, prop::option::of(id())).prop_map(
            |(vote, prev_log_id, payloads, leader_commit)| {
                let first = prev_log_id.map_or(0, |previous| previous.index + 1);
                let entries = payloads.into_iter().zip(first..).map(|(payload, index)| Entry {
                    log_id: log_id(9, index),
                    payload: match payload {
                        Some(bytes) => EntryPayload::Normal(EntryBytes(bytes.into())),
                        None => EntryPayload::Blank,
                    },
                });
                let entries = entries.collect();
                AppendEntriesRequest { vote, prev_log_id, entries, leader_commit }
            },
        )
    }

    proptest! {
        #[test]
        fn appends_come_back_as_they_were(request in append()) {
            let message = append_to_wire(wire::Route::default(), request.clone()).encode_to_vec();
            let back = append_from_wire(wire::AppendRequest::decode(&message[..]).unwrap()).unwrap();
            prop_assert_eq!(back.vote, request.vote);
            prop_assert_eq!(back.prev_log_id, request.prev_log_id);
            prop_assert_eq!(back.entries, request.entries);
            prop_assert_eq!(back.leader_commit, request.leader_commit);
        }

        #[test]
        fn votes_come_back_with_all_that_they_say(vote in a_vote(), last in prop::option::of(id()), both: bool) {
            let mut request = VoteRequest::new(vote, last);
            request.leadership_transfer = both;
            let message = vote_request_to_wire(wire::Route::default(), &request);
            prop_assert_eq!(vote_request_from_wire(message).unwrap(), request);
            let response = VoteResponse::new(vote, last, both);
            prop_assert_eq!(vote_response_from_wire(vote_response_to_wire(&response)).unwrap(), response);
        }

        #[test]
        fn transfers_come_back_as_they_were(one in a_vote(), other in a_vote(), last in prop::option::of(id())) {
            let request = TransferLeaderRequest::new(one, 7, last);
            let message = transfer_to_wire(wire::Route::default(), &request);
            prop_assert_eq!(transfer_from_wire(message).unwrap(), request);
            for response in [
                Ok(()),
                Err(TransferLeaderError::VoteChanged { expected: one, actual: other }),
                Err(TransferLeaderError::LogNotFlushed { expected: last, actual: None }),
            ] {
                let message = transferred_to_wire(response.clone());
                prop_assert_eq!(transferred_from_wire(message).unwrap(), response);
            }
        }

        #[test]
        fn answers_come_back_as_they_were(id in id(), vote in a_vote()) {
            for answer in [
                Ok(None),
                Ok(Some(id)),
                Err(StreamAppendError::Conflict(id)),
                Err(StreamAppendError::HigherVote(vote)),
            ] {
                prop_assert_eq!(appended_from_wire(appended_to_wire(answer.clone())).unwrap(), answer);
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(content in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = wire::AppendRequest::decode(&content[..]).map(append_from_wire);
            let _ = wire::VoteRequest::decode(&content[..]).map(vote_request_from_wire);
            let _ = wire::TransferLeaderRequest::decode(&content[..]).map(transfer_from_wire);
            let _ = wire::AppendReply::decode(&content[..]).map(appended_from_wire);
            let _ = wire::VoteReply::decode(&content[..]).map(vote_response_from_wire);
            let _ = wire::TransferLeaderReply::decode(&content[..]).map(transferred_from_wire);
        }
    }

    #[test]
    fn what_the_library_takes_for_granted_is_checked() {
        let entry = |term, index| Entry { log_id: log_id(term, index), payload: EntryPayload::Blank };
        let request = |previous: Option<(u64, u64)>, entries: &[(u64, u64)]| {
            let request = AppendEntriesRequest {
                vote: Vote::new_committed(5, 1),
                prev_log_id: previous.map(|(term, index)| log_id(term, index)),
                entries: entries.iter().map(|(term, index)| entry(*term, *index)).collect(),
                leader_commit: None,
            };
            append_from_wire(append_to_wire(wire::Route::default(), request))
        };
        assert!(request(Some((2, 7)), &[(2, 8), (5, 9)]).is_ok());
        assert!(request(None, &[(0, 0), (5, 1)]).is_ok());
        assert!(request(Some((2, 7)), &[(2, 9)]).is_err(), "a hole");
        assert!(request(Some((2, 7)), &[(1, 8)]).is_err(), "back to an older term");
        assert!(request(Some((2, 7)), &[(6, 8)]).is_err(), "newer than the leader");
        assert!(request(Some((6, 7)), &[]).is_err(), "newer than the leader");
        assert!(request(None, &[(1, 1)]).is_err(), "nothing is before it");
        assert!(request(Some((2, u64::MAX)), &[(2, 0)]).is_err(), "behind the last");
    }
}
