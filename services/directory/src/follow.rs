//! Following the directory's documents: from a snapshot on, commit by commit.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use contract::{
    CommitNotice, DIRECTORY, DeploymentRef, Error, IndexId, ReadAt, Result, StreamEvent, Timestamp,
};
use futures::StreamExt as _;
use transaction::{DeployKeyRow, DeploymentRow, SystemTable, Transaction};
use value::{DocumentId, Value, key};

use crate::{removal, service::Shared};

/// What a node knows, and who removes what it has seen to be deleted.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    deployments: IndexId,
    keys: IndexId,
    removing: BTreeSet<DeploymentRef>,
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>) -> Follower {
        let by_id = |table: SystemTable| table.table().by_id.id;
        let (deployments, keys) = (by_id(SystemTable::Deployments), by_id(SystemTable::DeployKeys));
        Follower { shared, deployments, keys, removing: BTreeSet::new() }
    }

    /// Reads the directory until the default deployment is known. Errors: as its row can't be used.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        let pause = Duration::from_millis(shared.limits.follow_retry_ms);
        loop {
            let read = match shared.transactions.log.position(DIRECTORY.group) {
                Ok(position) => {
                    let published = position.borrow().published;
                    self.read_all(published).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                tracing::info!("the directory is read later: {error}");
            } else if shared.shown.borrow().default_entry().is_some() {
                return Ok(());
            } else if let Some(problem) = shared.known.lock().problem(&shared.reading) {
                return Err(problem);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Until the shutdown.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let pause = Duration::from_millis(shared.limits.follow_retry_ms);
        let following = async {
            loop {
                if let Err(error) = self.follow().await {
                    tracing::debug!(%error, "the directory can't be followed now");
                }
                tokio::time::sleep(pause).await;
            }
        };
        shared.shutdown.run_until_cancelled(following).await;
    }

    /// Reads everything, and then what changes, as long as the stream has no gap.
    async fn follow(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        let log = &shared.transactions.log;
        let from = log.position(DIRECTORY.group)?.borrow().published;
        let mut stream = log.subscribe(DIRECTORY, from).await?;
        self.read_all(from).await?;
        let silence_max = Duration::from_millis(shared.limits.stream_silence_ms_max);
        loop {
            match tokio::time::timeout(silence_max, stream.next()).await {
                Ok(Some(StreamEvent::Commit(commit))) => self.hear(&commit).await?,
                Ok(Some(StreamEvent::Heartbeat { .. })) => {}
                // What is known stays known; what has changed is read anew.
                Ok(Some(StreamEvent::Lagged { .. }) | None) | Err(_) => return Ok(()),
            }
        }
    }

    async fn read_all(&mut self, at: Timestamp) -> Result<()> {
        let mut transaction = self.snapshot(at).await?;
        let deployments = transaction.first_rows::<DeploymentRow>(usize::MAX).await;
        let deployments = deployments.map_err(transaction::Error::of_the_system)?;
        let keys = transaction.first_rows::<DeployKeyRow>(usize::MAX).await;
        let keys = keys.map_err(transaction::Error::of_the_system)?;
        self.shared.known.lock().set_all(deployments, keys);
        self.show();
        Ok(())
    }

    async fn hear(&mut self, commit: &CommitNotice) -> Result<()> {
        let of = |index: IndexId| {
            commit.keys.iter().filter(move |touched| touched.index == index).map(|touched| &touched.key[..])
        };
        let deployments = of(self.deployments).map(id_of).collect::<Result<BTreeSet<_>>>()?;
        let keys = of(self.keys).map(id_of).collect::<Result<BTreeSet<_>>>()?;
        if deployments.is_empty() && keys.is_empty() {
            return Ok(());
        }
        let mut transaction = self.snapshot(commit.timestamp).await?;
        let (mut new_deployments, mut new_keys) = (Vec::new(), Vec::new());
        for id in deployments {
            let row = transaction.row::<DeploymentRow>(id).await;
            new_deployments.push((id, row.map_err(transaction::Error::of_the_system)?));
        }
        for id in keys {
            let row = transaction.row::<DeployKeyRow>(id).await;
            new_keys.push((id, row.map_err(transaction::Error::of_the_system)?));
        }
        {
            let mut known = self.shared.known.lock();
            new_deployments.into_iter().for_each(|(id, row)| known.set_deployment(id, row));
            new_keys.into_iter().for_each(|(id, row)| known.set_key(id, row));
        }
        self.show();
        Ok(())
    }

    async fn snapshot(&self, at: Timestamp) -> Result<Transaction> {
        self.shared.transactions.snapshot_at(DIRECTORY, ReadAt::published(at)).await
    }

    /// Tells everybody, the log first: it must have a deployment before anybody asks it for one.
    fn show(&mut self) {
        let (shown, deleting) = {
            let mut known = self.shared.known.lock();
            if !known.take_changed() {
                return;
            }
            (Arc::new(known.shown(&self.shared.reading)), known.deleting().collect::<BTreeSet<_>>())
        };
        (self.shared.before_shown)(shown.as_ref());
        self.shared.shown.send_replace(shown);
        for reference in deleting.difference(&self.removing) {
            self.begin_to_remove(*reference);
        }
        self.removing = deleting;
    }

    fn begin_to_remove(&self, reference: DeploymentRef) {
        let shared = self.shared.clone();
        let removing = async move {
            let removing = removal::remove(&shared, reference);
            shared.shutdown.run_until_cancelled(removing).await;
        };
        self.shared.tasks.spawn(removing);
    }
}

/// The id at a key of an index by id.
fn id_of(key: &[u8]) -> Result<DocumentId> {
    let parts = key::decode(key).ok();
    let id = match parts.as_deref() {
        Some([Some(Value::String(id))]) => id.parse().ok(),
        _ => None,
    };
    id.ok_or_else(|| Error::internal("a key of the directory can't be read"))
}
