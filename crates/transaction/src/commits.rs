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
        mut on_lookup: impl FnMut(),
    ) -> Result<Settled> {
        let mut next = self.send(log, commit).await?;
        loop {
            next = match next {
                Next::Answer(timestamp) => return Ok(Settled::Committed(timestamp)),
                Next::RunAgainAfterConflict(conflict) => {
                    return Ok(Settled::Conflict { conflict, run_again: true });
                }
                Next::GiveUpOnConflicts(conflict) => {
                    return Ok(Settled::Conflict { conflict, run_again: false });
                }
                Next::RunAgainWithLeader => return Ok(Settled::LostLeader),
                Next::GiveUpOnUnknown => return Ok(Settled::Unknown),
                Next::SendAgain => self.send(log, commit).await?,
                Next::LookUp { after } => {
                    on_lookup();
                    tokio::time::sleep(after).await;
                    let lookup = log.lookup(commit.deployment, commit.id).await.ok();
                    self.attempts.looked_up(lookup, self.first.elapsed())
                }
            };
        }
    }

    async fn send(&mut self, log: &dyn TransactionLog, commit: &Commit) -> Result<Next> {
        self.attempts.send(commit.epoch);
        let outcome: Result<CommitOutcome> = log.commit(commit.clone()).await;
        match outcome {
            Ok(outcome) => Ok(self.attempts.committed(outcome, self.first.elapsed())),
            // Refused before it had any effect, or because it can't be right.
            Err(error) if error.retry != Retry::Never || error.kind == ErrorKind::BadRequest => Err(error),
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

/// What the caller is told of [`Settled::Unknown`].
pub fn unknown_outcome() -> Error {
    Error::new(
        ErrorKind::Internal,
        "UnknownOutcome",
        "It could not be found out whether the change has committed. Look before you make it again.",
    )
}
