//! Commits a transaction, and finds out for certain what became of it.

use std::time::Duration;

use crate::limits::RetryLimits;
use contract::{
    Commit, CommitOutcome, Conflict, Error, ErrorKind, GroupId, Position, Result, Retry, Timestamp,
    TransactionLog,
};
use tokio::time::Instant;

use crate::attempts::{Attempts, Next};

/// All commits of one change: a transaction may have to run several times before it commits. They must bear the same
/// [`contract::CommitId`], so that no two of them take effect.
#[derive(Debug)]
pub struct Commits {
    attempts: Attempts,
    limits: RetryLimits,
    first: Instant,
}

/// What became of a commit. But for [`Settled::Unknown`] it is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It took effect, at this moment.
    Committed(Timestamp),
    /// An earlier run of the same change has committed, and this one has no effect: what it computed is not the answer.
    EarlierCommitted(Timestamp),
    /// Another commit was in the way, and this one has no effect. Run again at the state that the conflict names,
    /// unless enough was tried.
    Conflict {
        /// What was in the way, and where to run again.
        conflict: Conflict,
        /// Whether the limits allow another attempt.
        run_again: bool,
    },
    /// It has no effect, because the log's leader changed. Run again at what [`Commits::leaders_position`] gives.
    LostLeader,
    /// It was looked up for as long as the limits say, and may or may not have taken effect.
    Unknown,
}

impl Commits {
    /// The time that the limits give begins here.
    pub fn new(limits: RetryLimits) -> Commits {
        Commits { attempts: Attempts::new(limits), limits, first: Instant::now() }
    }

    /// Notes that the transaction begins to run, for the first time or again.
    pub fn begin(&mut self) {
        self.attempts.begin();
    }

    /// The transaction could not go on to its commit because a read failed with [`contract::code::EPOCH_ENDED`].
    pub fn epoch_ended(&mut self) -> Settled {
        match self.attempts.epoch_ended(self.first.elapsed()) {
            Next::RunAgainWithLeader => Settled::LostLeader,
            _ => Settled::Unknown,
        }
    }

    /// Sends the commit, again if it must be, and looks it up if its answer is lost; `on_lookup` is called each time.
    /// Fails if the log refuses it before it has any effect.
    pub async fn settle(
        &mut self,
        log: &dyn TransactionLog,
        commit: &Commit,
        mut on_lookup: impl FnMut() + Send,
    ) -> Result<Settled> {
        self.settle_and_tell(log, commit, &mut on_lookup, &mut || ()).await
    }

    /// The same; `validated` is called each time as [`TransactionLog::commit_and_tell`] does.
    pub async fn settle_and_tell(
        &mut self,
        log: &dyn TransactionLog,
        commit: &Commit,
        on_lookup: &mut (dyn FnMut() + Send),
        validated: &mut (dyn FnMut() + Send),
    ) -> Result<Settled> {
        let mut next = self.send(log, commit, validated).await?;
        loop {
            next = match next {
                Next::Answer(timestamp) => return Ok(Settled::Committed(timestamp)),
                Next::EarlierCommitted(timestamp) => return Ok(Settled::EarlierCommitted(timestamp)),
                Next::RunAgainAfterConflict(conflict) => {
                    return Ok(Settled::Conflict { conflict, run_again: true });
                }
                Next::GiveUpOnConflicts(conflict) => {
                    return Ok(Settled::Conflict { conflict, run_again: false });
                }
                Next::RunAgainWithLeader => return Ok(Settled::LostLeader),
                Next::GiveUpOnUnknown => return Ok(Settled::Unknown),
                Next::SendAgain => self.send(log, commit, validated).await?,
                Next::LookUp { after } => {
                    on_lookup();
                    tokio::time::sleep(after).await;
                    let lookup = log.lookup(commit.deployment, commit.id).await.ok();
                    self.attempts.looked_up(lookup, self.first.elapsed())
                }
            };
        }
    }

    async fn send(
        &mut self,
        log: &dyn TransactionLog,
        commit: &Commit,
        validated: &mut (dyn FnMut() + Send),
    ) -> Result<Next> {
        self.attempts.send(commit.epoch);
        let outcome: Result<CommitOutcome> =
            log.commit_and_tell(Commit { run: self.attempts.number(), ..commit.clone() }, validated).await;
        match outcome {
            Ok(outcome) => Ok(self.attempts.committed(outcome, self.first.elapsed())),
            // Refused before it had any effect, or because it can't be right. But where the same was sent before, this
            // speaks of the last message only.
            Err(error)
                if (error.retry != Retry::Never || error.kind == ErrorKind::BadRequest)
                    && !self.attempts.is_unknown() =>
            {
                Err(error)
            }
            Err(error) => {
                tracing::warn!(%error, "the answer to a commit was lost; it is looked up");
                Ok(self.attempts.unknown(self.first.elapsed()))
            }
        }
    }

    /// What is published at the group's leader, once there is one. Fails if there is none for as long as an unknown
    /// outcome is looked up.
    pub async fn leaders_position(&self, log: &dyn TransactionLog, group: GroupId) -> Result<Position> {
        let deadline = Instant::now() + Duration::from_millis(self.limits.lookup_ms_max);
        let mut pause = Duration::from_millis(self.limits.not_ready_backoff_ms_min);
        loop {
            match log.confirm_leadership(group).await {
                Ok(position) => return Ok(position),
                Err(error) if Instant::now() + pause > deadline => return Err(error),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(self.limits.not_ready_backoff_ms_max));
        }
    }
}

/// What the caller is told of [`Settled::EarlierCommitted`] where nothing has kept the result.
pub fn result_lost() -> Error {
    Error::new(
        ErrorKind::Internal,
        "ResultLost",
        "The change has committed, but its result was lost. Look before you make it again.",
    )
}

/// What the caller is told of [`Settled::Unknown`].
pub fn unknown_outcome() -> Error {
    Error::new(
        ErrorKind::Internal,
        "UnknownOutcome",
        "It could not be found out whether the change has committed. Look before you make it again.",
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Arc};

    use async_trait::async_trait;
    use contract::{
        BackfillProgress, BackfillStep, CommitId, DeploymentId, DeploymentRef, Epoch, Hold, HoldId, Lookup,
        Read, ReadAt, ReadResult, StreamEvents,
    };
    use parking_lot::Mutex;
    use tokio::sync::watch;

    use super::*;

    const EPOCH: Epoch = Epoch { term: 3, reset: 0 };

    /// Gives the answers that it was told to, in their order.
    struct Answers {
        commits: Mutex<VecDeque<Result<CommitOutcome>>>,
        lookups: Mutex<VecDeque<Lookup>>,
    }

    #[async_trait]
    impl TransactionLog for Answers {
        fn position(&self, _: GroupId) -> Result<watch::Receiver<Position>> {
            unreachable!("a commit is settled without it")
        }
        async fn commit(&self, _: Commit) -> Result<CommitOutcome> {
            self.commits.lock().pop_front().expect("no more commits are sent")
        }
        async fn lookup(&self, _: DeploymentRef, _: CommitId) -> Result<Lookup> {
            Ok(self.lookups.lock().pop_front().expect("it is looked up no more"))
        }
        async fn read(&self, _: DeploymentRef, _: ReadAt, _: &[Read]) -> Result<Vec<ReadResult>> {
            unreachable!("a commit is settled without it")
        }
        async fn confirm_leadership(&self, _: GroupId) -> Result<Position> {
            unreachable!("a commit is settled without it")
        }
        async fn subscribe(&self, _: DeploymentRef, _: Timestamp) -> Result<StreamEvents> {
            unreachable!("a commit is settled without it")
        }
        async fn backfill(&self, _: BackfillStep) -> Result<BackfillProgress> {
            unreachable!("a commit is settled without it")
        }
        async fn hold(&self, _: GroupId, _: Hold) -> Result<Duration> {
            unreachable!("a commit is settled without it")
        }
        async fn release(&self, _: GroupId, _: HoldId) -> Result<()> {
            unreachable!("a commit is settled without it")
        }
    }

    async fn settled(
        commits: impl IntoIterator<Item = Result<CommitOutcome>>,
        lookups: impl IntoIterator<Item = Lookup>,
    ) -> Result<Settled> {
        let log = Answers {
            commits: Mutex::new(commits.into_iter().collect()),
            lookups: Mutex::new(lookups.into_iter().collect()),
        };
        let commit = Commit {
            deployment: DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) },
            epoch: EPOCH,
            id: CommitId([1; 16]),
            run: 1,
            begin: ReadAt::published(Timestamp::ZERO),
            read_set: Arc::default(),
            writes: Vec::new(),
        };
        let mut commits = Commits::new(RetryLimits { not_ready_backoff_ms_min: 1, ..RetryLimits::DEFAULT });
        commits.begin();
        let settled = commits.settle(&log, &commit, || {}).await;
        assert!(log.commits.lock().is_empty() && log.lookups.lock().is_empty(), "all was asked");
        settled
    }

    fn committed() -> Lookup {
        Lookup::Committed { timestamp: Timestamp::MAX, run: 1 }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_understood_is_looked_up_and_no_failure() {
        let not_understood = Error::new(ErrorKind::Internal, "AnswerNotUnderstood", "a newer leader");
        // Of a kind, or with a word on retries, that this version does not know.
        let unknown_kind = Error { retry: Retry::Never, ..Error::overloaded("SomethingNew", "") };
        for error in [not_understood, unknown_kind] {
            assert_eq!(settled([Err(error)], [committed()]).await, Ok(Settled::Committed(Timestamp::MAX)));
        }
    }

    #[tokio::test]
    async fn a_refusal_is_certain_unless_the_same_was_sent_before() {
        for refusal in [Error::overloaded("CommitterFullError", ""), Error::bad_request("CommitTooLarge", "")]
        {
            assert_eq!(settled([Err(refusal.clone())], []).await, Err(refusal.clone()));
            let lookups = [Lookup::Absent { epoch: EPOCH }, committed()];
            assert_eq!(
                settled([Ok(CommitOutcome::Unknown), Err(refusal)], lookups).await,
                Ok(Settled::Committed(Timestamp::MAX)),
                "the first message was late"
            );
        }
    }
}
