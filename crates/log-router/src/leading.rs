//! What only the leader can answer.

use std::{pin::pin, sync::Arc, time::Duration};

use contract::{
    Commit, CommitOutcome, DeploymentRef, Epoch, Error, ErrorKind, LeaderHint, NodeId, Read, ReadAt,
    ReadResult, Result, Retry, TransactionLog, code,
};
use tokio::time::sleep;

use crate::{
    group::{Group, Member},
    router::is_of_the_replica,
};

/// What a replica said that was taken for the leader.
pub(crate) enum Asked<T> {
    Answer(Result<T>),
    /// It does not lead. `otherwise` is the answer if nobody does.
    Elsewhere {
        hint: Option<Arc<LeaderHint>>,
        otherwise: Result<T>,
    },
    /// It was not reached, or its answer was lost.
    Failed(Error),
}

impl<T> From<Result<T>> for Asked<T> {
    fn from(answer: Result<T>) -> Asked<T> {
        match answer {
            Err(error) if error.code == code::NOT_LEADER => {
                Asked::Elsewhere { hint: None, otherwise: Err(error) }
            }
            Err(error) if is_of_the_replica(&error) => Asked::Failed(error),
            answer => Asked::Answer(answer),
        }
    }
}

fn nobody_leads() -> Error {
    Error::new(ErrorKind::Overloaded, code::NOT_LEADER, "nobody is known to lead the group")
}

fn epoch_ended() -> Error {
    let message = "the epoch of a speculative read is over, or its leader can't be asked";
    Error { retry: Retry::Now, ..Error::new(ErrorKind::Conflict, code::EPOCH_ENDED, message) }
}

/// Asks whoever leads until one answers, as long as a call may wait for a leader. It may be asked several times, so that must do no
/// harm.
pub(crate) async fn ask<T, F>(
    group: &Group,
    question: impl Fn(Arc<dyn TransactionLog>) -> F + Send + Sync,
) -> Result<T>
where
    F: Future<Output = Asked<T>> + Send,
    T: Send,
{
    let mut given_up = pin!(sleep(Duration::from_millis(group.limits.leader_wait_ms_max)));
    let mut position = group.position();
    let mut hint: Option<NodeId> = None;
    let mut hops = 0;
    loop {
        // What changes from here on is noticed.
        position.mark_unchanged();
        let leader = hint.take().and_then(|node| group.member(node)).or_else(|| group.leader());
        let otherwise = match leader {
            None => Err(nobody_leads()),
            Some(leader) => match question(leader.log.clone()).await {
                Asked::Answer(answer) => {
                    group.answered(&leader);
                    return answer;
                }
                Asked::Elsewhere { hint: said, otherwise } => {
                    hint = said.map(|said| said.node).filter(|node| *node != leader.node);
                    otherwise
                }
                Asked::Failed(error) => {
                    group.failed(&leader);
                    Err(error)
                }
            },
        };
        // Two that point at each other are not asked in turns without a pause.
        hops += 1;
        if hint.is_some() && hops <= group.members().len() && !given_up.is_elapsed() {
            continue;
        }
        hops = 0;
        tokio::select! {
            () = &mut given_up => return otherwise,
            _ = position.changed() => {}
            () = sleep(Duration::from_millis(group.limits.leader_retry_ms)) => {}
        }
    }
}

/// Sends a commit to the leader. It is sent again only if it is certain that it had no effect so far; so whatever comes back is as
/// certain as if one replica had been asked once.
pub(crate) async fn commit(
    group: &Group,
    commit: Commit,
    validated: &mut (dyn FnMut() + Send),
) -> Result<CommitOutcome> {
    let mut given_up = pin!(sleep(Duration::from_millis(group.limits.leader_wait_ms_max)));
    let mut position = group.position();
    let mut asked: Vec<NodeId> = Vec::new();
    let mut hint: Option<NodeId> = None;
    loop {
        let known = position.borrow_and_update().clone();
        // Nobody takes it any more.
        if commit.epoch < known.epoch {
            return Ok(CommitOutcome::NotLeader(known.leader));
        }
        let leader = hint.take().and_then(|node| group.member(node)).or_else(|| group.leader());
        let otherwise = match leader {
            None => Ok(CommitOutcome::NotLeader(None)),
            // It is the only one that could have taken it, and it does not.
            Some(leader) if asked.contains(&leader.node) => {
                return Ok(CommitOutcome::NotLeader(known.leader));
            }
            Some(leader) => match leader.log.commit_and_tell(commit.clone(), validated).await {
                Ok(CommitOutcome::NotLeader(said)) => {
                    asked.push(leader.node);
                    hint = said.as_ref().map(|said| said.node);
                    if hint.is_none_or(|node| asked.contains(&node)) {
                        return Ok(CommitOutcome::NotLeader(said));
                    }
                    continue;
                }
                // It was not sent.
                Err(error) if error.code == code::NODE_UNREACHABLE => {
                    group.failed(&leader);
                    Err(error)
                }
                outcome => {
                    group.answered(&leader);
                    // Where the leader is the nearest replica, its caller sees at once what has committed.
                    group.show();
                    return outcome;
                }
            },
        };
        tokio::select! {
            () = &mut given_up => return otherwise,
            _ = position.changed() => {}
            () = sleep(Duration::from_millis(group.limits.leader_retry_ms)) => {}
        }
    }
}

/// Reads what the leader has validated and not published. Where it can't be asked the transaction begins anew, as after the end of
/// its epoch.
pub(crate) async fn read(
    group: &Group,
    epoch: Epoch,
    deployment: DeploymentRef,
    at: ReadAt,
    reads: &[Read],
) -> Result<Vec<ReadResult>> {
    if epoch < group.position().borrow().epoch {
        return Err(epoch_ended());
    }
    let leader: Arc<Member> = group.leader().ok_or_else(epoch_ended)?;
    match leader.log.read(deployment, at, reads).await {
        Err(error) if is_of_the_replica(&error) => {
            group.failed(&leader);
            Err(epoch_ended())
        }
        results => results,
    }
}
