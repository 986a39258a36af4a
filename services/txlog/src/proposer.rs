//! Hands a group's batches to Raft, in order, and follows who leads.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesOrdered};
use openraft::{
    Raft, ServerState, async_runtime::WatchReceiver, errors::ClientWriteError, impls::ProgressResponder,
    raft::ClientWriteResult, vote::RaftLeaderId,
};
use tokio_util::sync::CancellationToken;

use crate::{
    batcher::BatchNumber,
    entry::LogEntry,
    group::Group,
    raft_types::{EntryBytes, EntryOutcome, RaftTypes},
    state_machine::StateMachine,
};

pub type GroupRaft = Raft<RaftTypes, StateMachine>;

/// Why an entry is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalError {
    /// Refused before it was appended: it had no effect and never will.
    Refused,
    /// Appended, and then leadership was lost: it may still be applied.
    Unknown,
}

/// Proposes an entry in a term, and hears what it did once it is applied.
pub async fn propose(
    raft: &GroupRaft,
    term: u64,
    entry: LogEntry,
) -> Result<impl Future<Output = Result<EntryOutcome, ProposalError>> + Send + 'static, ProposalError> {
    let (responder, done) = ProgressResponder::<RaftTypes, ClientWriteResult<RaftTypes>>::complete_only();
    raft.write(EntryBytes(entry.encode()))
        .with_leader(
            openraft::impls::leader_id_std::LeaderId::<u64, u64> { term, voted_for: 0 }.to_committed(),
        )
        .responder(responder)
        .await
        .map_err(|_| ProposalError::Refused)?;
    Ok(async move {
        match done.await {
            Ok(Ok(response)) => Ok(response.data),
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(ProposalError::Refused),
            Ok(Err(_)) | Err(_) => Err(ProposalError::Unknown),
        }
    })
}

/// Proposes batches until the token is cancelled or Raft has ended.
pub async fn propose_batches(group: Arc<Group>, raft: GroupRaft, token: CancellationToken) {
    let mut on_their_way = FuturesOrdered::new();
    loop {
        loop {
            let closed = group.leader.write().close_batch();
            let Some((number, batch)) = closed else { break };
            match propose(&raft, batch.epoch.term, LogEntry::Batch(batch)).await {
                Ok(done) => on_their_way.push_back(async move { (number, done.await) }),
                // Raft has ended; whoever waits is told when leadership ends with it.
                Err(_) => return,
            }
        }
        tokio::select! {
            () = token.cancelled() => return,
            () = group.work.notified() => {}
            Some((number, result)) = on_their_way.next() => decided(&group, number, result),
        }
    }
}

fn decided(group: &Group, number: BatchNumber, result: Result<EntryOutcome, ProposalError>) {
    match result {
        // Apply has told whoever waited.
        Ok(_) => {}
        Err(ProposalError::Refused) => {
            tracing::warn!(group = group.id.0, "a batch was refused: a new epoch begins");
            group.decide(|leader| leader.refused(number));
        }
        // The loss of leadership has told them, or will.
        Err(ProposalError::Unknown) => {}
    }
    group.work.notify_one();
}

/// Tells the group who leads, until the token is cancelled or Raft has ended. Then whoever waits is told.
pub async fn follow_leadership(group: Arc<Group>, raft: GroupRaft, token: CancellationToken) {
    let mut metrics = raft.server_metrics();
    let mut term;
    loop {
        let leads = {
            let metrics = metrics.borrow_watched();
            term = metrics.vote.leader_id.term;
            metrics.state == ServerState::Leader && metrics.vote.committed
        };
        group.decide(|leader| if leads { leader.elected(term) } else { leader.follow(term) });
        group.work.notify_one();
        tokio::select! {
            () = token.cancelled() => break,
            changed = metrics.changed() => if changed.is_err() { break },
        }
    }
    group.decide(|leader| leader.follow(term));
}
