//! Transactions of the system's own, run until they commit.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use contract::{CommitId, DeploymentRef, Error, ErrorKind, ReadAt, Result};
use transaction::{Commits, EPOCH_ENDED, Options, Settled, Transaction, unknown_outcome};

use crate::Handle;

/// What a transaction of the system's own does. It may run more than once, each time on a newer state.
#[async_trait]
pub(crate) trait Work: Sync {
    type Output: Send;

    async fn run(&self, transaction: &mut Transaction) -> Result<Self::Output>;
}

impl Handle {
    /// A transaction that reads the newest published state. It is not committed: what it writes is lost.
    pub(crate) async fn snapshot(&self, deployment: DeploymentRef) -> Result<Transaction> {
        let position = self.dependencies().sequencer.latest(deployment.group).await?;
        self.begin(deployment, ReadAt::published(position.published)).await
    }

    async fn begin(&self, deployment: DeploymentRef, at: ReadAt) -> Result<Transaction> {
        let dependencies = self.dependencies();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let options = Options {
            limits: self.shared.options.limits.clone(),
            id_seed: rand::random(),
            now_ns: now.as_nanos() as u64,
            cursor_key: self.shared.options.cursor_key.clone(),
            journal: None,
        };
        Transaction::begin(dependencies.log.clone(), deployment, at, &dependencies.catalogs, options).await
    }

    /// Runs `work` in a transaction until it commits; returns what it returned then. An error from `work` ends it
    /// without a commit.
    pub(crate) async fn transact<W: Work>(&self, deployment: DeploymentRef, work: &W) -> Result<W::Output> {
        let dependencies = self.dependencies();
        let id = CommitId(rand::random());
        let mut commits = Commits::new(self.limits().retry);
        let position = dependencies.sequencer.latest(deployment.group).await?;
        let (mut at, mut epoch) = (ReadAt::published(position.published), position.epoch);
        loop {
            commits.begin();
            let attempt = async {
                let mut transaction = self.begin(deployment, at).await?;
                let output = work.run(&mut transaction).await?;
                Ok::<_, Error>((output, transaction.finish()))
            };
            let (settled, output) = match attempt.await {
                Ok((output, finished)) => {
                    let commit = finished.into_commit(deployment, epoch, id);
                    (commits.settle(&*dependencies.log, &commit, || ()).await?, Some(output))
                }
                Err(error) if error.code == EPOCH_ENDED => (commits.epoch_ended(), None),
                Err(error) => return Err(error),
            };
            match (settled, output) {
                (Settled::Committed(_), Some(output)) => return Ok(output),
                (Settled::Conflict { conflict, run_again: true }, _) => {
                    at = conflict.run_again_at;
                    epoch = at.epoch.unwrap_or(epoch);
                }
                (Settled::Conflict { run_again: false, .. }, _) => {
                    return Err(Error::new(
                        ErrorKind::Overloaded,
                        "OptimisticConcurrencyControlFailure",
                        "Other changes kept coming in between. Try again.",
                    ));
                }
                (Settled::LostLeader, _) => {
                    let position = commits.leaders_position(&*dependencies.log, deployment.group).await?;
                    (at, epoch) = (ReadAt::published(position.published), position.epoch);
                }
                (Settled::Committed(_), None) | (Settled::Unknown, _) => return Err(unknown_outcome()),
            }
        }
    }
}

/// What the system's own transactions do wrong is nobody's mistake but ours, unless the error says otherwise.
pub(crate) fn service_error(error: transaction::Error) -> Error {
    match error {
        transaction::Error::User(error) => Error::bad_request(error.code, error.message),
        transaction::Error::Service(error) => error,
    }
}
