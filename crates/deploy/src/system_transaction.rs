//! Transactions of the system's own, run until they commit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use contract::{
    Commit, CommitId, CommitOutcome, DeploymentRef, Epoch, Error, ErrorKind, Lookup, ReadAt, Result,
};
use transaction::{Options, Transaction};

use crate::Deploy;

/// How long to wait before asking again, where the log has no leader or has not decided.
const PAUSE: Duration = Duration::from_millis(20);

/// What a transaction of the system's own does. It may run more than once, each time on a newer state.
#[async_trait]
pub(crate) trait Work: Sync {
    type Output: Send;

    async fn run(&self, transaction: &mut Transaction) -> Result<Self::Output>;
}

impl Deploy {
    /// A transaction that reads the newest published state. It is not committed: what it writes is lost.
    pub(crate) async fn snapshot(&self, deployment: DeploymentRef) -> Result<Transaction> {
        let position = self.services().sequencer.latest(deployment.group).await?;
        self.begin(deployment, ReadAt::published(position.published)).await
    }

    async fn begin(&self, deployment: DeploymentRef, at: ReadAt) -> Result<Transaction> {
        let services = self.services();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let options = Options {
            limits: services.limits.clone(),
            id_seed: rand::random(),
            now_ns: now.as_nanos() as u64,
            cursor_key: services.cursor_key.clone(),
            journal: None,
        };
        Transaction::begin(services.log.clone(), deployment, at, &services.catalogs, options)
            .await
            .map_err(service_error)
    }

    /// Runs `work` in a transaction until it commits; returns what it returned then. An error from `work` ends it
    /// without a commit.
    pub(crate) async fn transact<W: Work>(&self, deployment: DeploymentRef, work: &W) -> Result<W::Output> {
        let services = self.services();
        let id = CommitId(rand::random());
        let mut at = None;
        for _ in 0..services.limits.retry.conflict_attempts_max {
            let position = services.sequencer.latest(deployment.group).await?;
            let begin = at.take().unwrap_or(ReadAt::published(position.published));
            let epoch = begin.epoch.unwrap_or(position.epoch);
            let mut transaction = match self.begin(deployment, begin).await {
                // The speculative state that a conflict pointed to is gone with its epoch.
                Err(error) if error.code == "EpochEnded" => continue,
                other => other?,
            };
            let value = work.run(&mut transaction).await?;
            let finished = transaction.finish();
            let commit = Commit {
                deployment,
                epoch,
                id,
                begin: finished.begin,
                read_set: finished.read_set.into(),
                writes: finished.writes,
            };
            match self.decide(commit).await? {
                Decision::Committed => return Ok(value),
                Decision::RunAgain(hint) => at = hint,
            }
        }
        Err(Error::new(
            ErrorKind::Overloaded,
            "OptimisticConcurrencyControlFailure",
            "Other changes kept coming in between. Try again.",
        ))
    }

    async fn decide(&self, commit: Commit) -> Result<Decision> {
        let log = &self.services().log;
        let (deployment, id, epoch) = (commit.deployment, commit.id, commit.epoch);
        loop {
            match log.commit(commit.clone()).await? {
                CommitOutcome::Committed { .. } => return Ok(Decision::Committed),
                CommitOutcome::Conflict(conflict) => {
                    return Ok(Decision::RunAgain(Some(conflict.run_again_at)));
                }
                CommitOutcome::NotLeader | CommitOutcome::NotCommitted => {
                    tokio::time::sleep(PAUSE).await;
                    return Ok(Decision::RunAgain(None));
                }
                CommitOutcome::Unknown => match self.lookup(deployment, id, epoch).await? {
                    Some(decision) => return Ok(decision),
                    None => continue,
                },
            }
        }
    }

    /// What became of a commit whose outcome is unknown; `None`: the same commit may be sent again.
    async fn lookup(
        &self,
        deployment: DeploymentRef,
        id: CommitId,
        sent_in: Epoch,
    ) -> Result<Option<Decision>> {
        loop {
            match self.services().log.lookup(deployment, id).await? {
                Lookup::Committed { .. } => return Ok(Some(Decision::Committed)),
                Lookup::Absent { epoch } if epoch > sent_in => return Ok(Some(Decision::RunAgain(None))),
                Lookup::Absent { .. } => return Ok(None),
                Lookup::Pending | Lookup::NotLeader => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

enum Decision {
    Committed,
    /// At the given moment, if one is known to be good.
    RunAgain(Option<ReadAt>),
}

/// What the system's own transactions do wrong is nobody's mistake but ours, unless the error says otherwise.
pub(crate) fn service_error(error: transaction::Error) -> Error {
    match error {
        transaction::Error::User(error) => Error::bad_request(error.code, error.message),
        transaction::Error::Service(error) => error,
    }
}
