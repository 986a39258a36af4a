//! The network of a group without other replicas: there is nobody to send to.

use std::io;

use openraft::{
    OptionalSend, RaftNetworkFactory,
    alias::{SnapshotOf, VoteOf},
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, v2::RaftNetworkV2},
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};

use crate::{
    raft_types::{Node, RaftTypes},
    state_machine::FlushedState,
};

/// Every other node is unreachable.
#[derive(Clone, Copy, Debug)]
pub struct NoPeers;

fn nobody() -> Unreachable<RaftTypes> {
    Unreachable::new(&io::Error::new(io::ErrorKind::NotConnected, "this group has no other replicas"))
}

impl RaftNetworkFactory<RaftTypes> for NoPeers {
    type Network = NoPeers;

    async fn new_client(&mut self, _target: u64, _node: &Node) -> NoPeers {
        NoPeers
    }
}

impl RaftNetworkV2<RaftTypes> for NoPeers {
    type SnapshotData = FlushedState;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<RaftTypes>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftTypes>, RPCError<RaftTypes>> {
        Err(nobody().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<RaftTypes>,
        _option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RPCError<RaftTypes>> {
        Err(nobody().into())
    }

    /// The library's default would grant it.
    async fn pre_vote(
        &mut self,
        _request: VoteRequest<RaftTypes>,
        _option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RPCError<RaftTypes>> {
        Err(nobody().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf<RaftTypes>,
        _snapshot: SnapshotOf<RaftTypes, FlushedState>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes>, StreamingError<RaftTypes>> {
        Err(nobody().into())
    }
}
