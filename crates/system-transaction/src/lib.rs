//! Transactions of the system's own: pushes, records that are too old, and whatever else is not a function of the
//! application. They read and write the same documents, under the same rules, as functions do.
//!
//! [`SystemTransactions::transact`] runs a piece of [`Work`] until it commits, through conflicts, lost answers and
//! changes of the log's leader. [`SystemTransactions::snapshot`] is for those that only look, and
//! [`SystemTransactions::hold`] for those that look at one moment for long.
//!
//! This crate knows nothing of what the work is, nor of functions.

mod error;
mod held;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use contract::{CommitId, DeploymentRef, ReadAt, Sequencer, TransactionLog, code};
use transaction::{
    CatalogCache, Commits, CursorKey, Limits, Options, Settled, Transaction, result_lost, unknown_outcome,
};

pub use error::{Error, Result};
pub use held::HeldMoment;

/// What transactions of the system are made with. Cheap to clone.
#[derive(Clone)]
pub struct SystemTransactions {
    pub log: Arc<dyn TransactionLog>,
    pub sequencer: Arc<dyn Sequencer>,
    pub catalogs: Arc<CatalogCache>,
    /// Seals the cursors and journals that clients are given; the system itself makes none.
    pub cursor_key: CursorKey,
    pub limits: Arc<Limits>,
}

/// What a transaction of the system does. It may run more than once, each time on a newer state, and takes effect once.
#[async_trait]
pub trait Work: Sync {
    /// What the caller is told once it has committed.
    type Output: Send;

    /// An error ends it without a commit.
    async fn run(&self, transaction: &mut Transaction) -> Result<Self::Output>;
}

impl SystemTransactions {
    /// Catalogs of deployments are kept within `catalogs_bytes_max`. `cursor_secret` must be the same in all processes
    /// that serve the same deployments.
    pub fn new(
        log: Arc<dyn TransactionLog>,
        sequencer: Arc<dyn Sequencer>,
        catalogs_bytes_max: usize,
        cursor_secret: &[u8; 32],
        limits: Limits,
    ) -> SystemTransactions {
        SystemTransactions {
            log,
            sequencer,
            catalogs: Arc::new(CatalogCache::new(catalogs_bytes_max)),
            cursor_key: CursorKey::new(cursor_secret),
            limits: Arc::new(limits),
        }
    }

    /// A transaction that reads the newest published state. It is not committed: what it writes is lost.
    pub async fn snapshot(&self, deployment: DeploymentRef) -> contract::Result<Transaction> {
        let position = self.sequencer.latest(deployment.group).await?;
        self.begin(deployment, ReadAt::published(position.published)).await
    }

    /// The same of a moment that this process has published, whether or not the group can be asked for a newer one.
    pub async fn snapshot_at(&self, deployment: DeploymentRef, at: ReadAt) -> contract::Result<Transaction> {
        self.begin(deployment, at).await
    }

    /// Runs `work` in a transaction until it commits; returns what it returned then.
    pub async fn transact<W: Work>(&self, deployment: DeploymentRef, work: &W) -> Result<W::Output> {
        // One for all attempts, so that two of them can't both take effect.
        let id = CommitId(rand::random());
        let mut commits = Commits::new(self.limits.retry);
        let position = self.sequencer.latest(deployment.group).await?;
        let (mut at, mut epoch) = (ReadAt::published(position.published), position.epoch);
        loop {
            commits.begin();
            let (settled, output) = match self.attempt(deployment, at, work).await {
                Ok((output, finished)) => {
                    let commit = finished.into_commit(deployment, epoch, id);
                    (commits.settle(&*self.log, &commit, || ()).await?, Some(output))
                }
                Err(error) if error.code() == code::EPOCH_ENDED => (commits.epoch_ended(), None),
                Err(error) => return Err(error),
            };
            match (settled, output) {
                (Settled::Committed(_), Some(output)) => return Ok(output),
                (Settled::EarlierCommitted(_), _) => return Err(Error::Unknown(result_lost())),
                (Settled::Conflict { conflict, run_again: true }, _) => {
                    at = conflict.run_again_at;
                    epoch = at.epoch.unwrap_or(epoch);
                }
                (Settled::Conflict { run_again: false, .. }, _) => return Err(Error::Contended),
                (Settled::LostLeader, _) => {
                    let position = commits.leaders_position(&*self.log, deployment.group).await?;
                    (at, epoch) = (ReadAt::published(position.published), position.epoch);
                }
                (Settled::Committed(_), None) | (Settled::Unknown, _) => {
                    return Err(Error::Unknown(unknown_outcome()));
                }
            }
        }
    }

    async fn attempt<W: Work>(
        &self,
        deployment: DeploymentRef,
        at: ReadAt,
        work: &W,
    ) -> Result<(W::Output, transaction::Finished)> {
        let mut transaction = self.begin(deployment, at).await?;
        let output = work.run(&mut transaction).await?;
        Ok((output, transaction.finish()))
    }

    async fn begin(&self, deployment: DeploymentRef, at: ReadAt) -> contract::Result<Transaction> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let options = Options {
            limits: self.limits.clone(),
            id_seed: rand::random(),
            now_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            cursor_key: self.cursor_key.clone(),
            journal: None,
        };
        Transaction::begin(self.log.clone(), deployment, at, &self.catalogs, options).await
    }
}
