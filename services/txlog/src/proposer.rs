//! Hands a group's batches to Raft, in order, and follows who leads.

use std::sync::Arc;

use contract::NodeId;
use counters::Stopwatch;
use futures::{StreamExt, stream::FuturesOrdered};
use openraft::{
    Raft, ServerState, async_runtime::WatchReceiver, errors::ClientWriteError, impls::ProgressResponder,
    raft::ClientWriteResult, vote::RaftLeaderId,
};
use tokio_util::sync::CancellationToken;

use crate::{
    batcher::{BatchNumber, ProposalError},
    clock::passed,
    entry::LogEntry,
    group::Group,
    members::hint,
    planted,
    raft_types::{EntryBytes, EntryOutcome, RaftTypes},
    state_machine::StateMachine,
};

pub type GroupRaft = Raft<RaftTypes, StateMachine>;

/// Proposes an entry in a term, and hears what it did once it is applied.
pub async fn propose(
    group: &Group,
    raft: &GroupRaft,
    term: u64,
    entry: LogEntry,
) -> Result<impl Future<Output = Result<EntryOutcome, ProposalError>> + Send + 'static, ProposalError> {
    let (responder, done) = ProgressResponder::<RaftTypes, ClientWriteResult<RaftTypes>>::complete_only();
    let mut write = raft.write(EntryBytes(entry.encode(group.write_version()))).responder(responder);
    if !planted::is(planted::Bug::FenceIsOpen) {
        let leader = openraft::impls::leader_id_std::LeaderId::<u64, u64> { term, voted_for: 0 };
        write = write.with_leader(leader.to_committed());
    }
    write.await.map_err(|_| ProposalError::Refused)?;
    Ok(async move { done.await.map_or(Err(ProposalError::Unknown), outcome_of) })
}

/// Only one of Raft's errors says that nothing was appended. With every other the entry may be in somebody's log.
fn outcome_of(result: ClientWriteResult<RaftTypes>) -> Result<EntryOutcome, ProposalError> {
    match result {
        Ok(response) => Ok(response.data),
        Err(ClientWriteError::ForwardToLeader(_)) => Err(ProposalError::Refused),
        Err(_) => Err(ProposalError::Unknown),
    }
}

/// Proposes batches until the token is cancelled or Raft has ended.
pub async fn propose_batches(group: Arc<Group>, raft: GroupRaft, token: CancellationToken) {
    let mut on_their_way = FuturesOrdered::new();
    loop {
        loop {
            let closed = {
                let mut queue = group.queue.write();
                let closed = queue.close_batch(passed());
                if closed.is_some() {
                    group.counts.closed();
                }
                closed
            };
            let Some((number, batch)) = closed else { break };
            let stopwatch = Stopwatch::start();
            match propose(&group, &raft, batch.epoch.term, LogEntry::Batch(batch)).await {
                Ok(done) => on_their_way.push_back(async move {
                    let result = done.await;
                    (number, result, stopwatch.took())
                }),
                // Raft has ended; whoever waits is told when leadership ends with it.
                Err(_) => return,
            }
        }
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            Some((number, result, took)) = on_their_way.next() => {
                group.counts.replicate.record(took);
                decided(&group, number, result);
            }
            () = group.work.notified() => {}
        }
    }
}

fn decided(group: &Group, number: BatchNumber, result: Result<EntryOutcome, ProposalError>) {
    // Of what is applied, apply has told whoever waited.
    if let Err(error) = result {
        tracing::warn!(group = group.id.0, ?error, "a batch is not applied");
        group.decide(|queue| queue.failed(number, error));
    }
    group.work.notify_one();
}

/// Tells the group who leads, until the token is cancelled or Raft has ended. Then whoever waits is told.
pub async fn follow_leadership(group: Arc<Group>, raft: GroupRaft, token: CancellationToken) {
    let mut metrics = raft.server_metrics();
    let mut term;
    let mut last_leader = None;
    let mut led_term = None;
    loop {
        let (leads, leader) = {
            let metrics = metrics.borrow_watched();
            term = metrics.vote.leader_id.term;
            group.set_membership(metrics.membership_config.clone());
            if metrics.current_leader.is_some() && metrics.current_leader != last_leader {
                last_leader = metrics.current_leader;
                group.counts.leader_changes.increment();
            }
            let leads = metrics.state == ServerState::Leader && metrics.vote.committed;
            // One that was removed while it led goes on to call itself the leader, though it knows that it leads nobody.
            let known = metrics.current_leader.filter(|leader| leads || *leader != metrics.id);
            let leader = known.map(|leader| {
                let place = metrics.membership_config.membership().get_node(&leader).cloned();
                hint(NodeId(leader), &place.unwrap_or_default())
            });
            (leads, leader)
        };
        if leads && led_term != Some(term) {
            led_term = Some(term);
            group.leader_heard.now();
        }
        group.decide(|queue| match leads {
            true => queue.elected(term, leader, passed()),
            false => queue.follow(term, leader),
        });
        if !leads {
            group.counts.given_up();
        }
        group.work.notify_one();
        tokio::select! {
            biased;
            () = token.cancelled() => break,
            changed = metrics.changed() => if changed.is_err() { break },
        }
    }
    group.decide(|queue| queue.follow(term, None));
}

#[cfg(test)]
mod tests {
    use openraft::{
        errors::{ChangeMembershipError, EmptyMembership, ForwardToLeader},
        raft::ClientWriteResponse,
    };

    use super::*;
    use crate::raft_types::log_id;

    #[test]
    fn only_what_was_never_appended_counts_as_refused() {
        let nobody = ForwardToLeader::empty();
        let empty = ChangeMembershipError::EmptyMembership(EmptyMembership {});
        let applied =
            ClientWriteResponse { log_id: log_id(1, 1), data: EntryOutcome::Applied, membership: None };
        for (result, outcome) in [
            (Ok(applied), Ok(EntryOutcome::Applied)),
            (Err(ClientWriteError::ForwardToLeader(nobody.clone())), Err(ProposalError::Refused)),
            (Err(ClientWriteError::LogEntryDiscarded(nobody)), Err(ProposalError::Unknown)),
            (Err(ClientWriteError::ChangeMembershipError(empty)), Err(ProposalError::Unknown)),
        ] {
            assert_eq!(outcome_of(result), outcome);
        }
    }
}
