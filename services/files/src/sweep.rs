//! Removes bytes that no file has, once they have had the grace time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{DeploymentRef, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use system_transaction::{Result as Transacted, Work};
use tokio_util::sync::CancellationToken;
use transaction::Transaction;
use value::DocumentId;

use crate::{service::Shared, upload::Forget};

/// Sweeps one deployment from time to time, until it goes or the service stops.
pub(crate) async fn run(shared: Arc<Shared>, deployment: DeploymentRef, shutdown: CancellationToken) {
    let pause = Duration::from_millis(shared.limits.sweep_ms);
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        match shutdown.run_until_cancelled(sweep(&shared, deployment)).await {
            Some(Ok(())) | None => {}
            Some(Err(error)) => {
                shared.metrics.sweeps_failed.add(1);
                tracing::warn!(%deployment, "bytes that no file has can't be removed for now: {error}");
            }
        }
    }
}

/// Until nothing is left to remove. What ends in between goes on with the next sweep.
async fn sweep(shared: &Shared, deployment: DeploymentRef) -> Result<()> {
    let (grace_ms, swept_max) = (shared.limits.grace_ms, shared.limits.swept_max);
    // First they are given up, so that no upload can still make a file of them; then they are deleted.
    let late = Discard { age_ms: grace_ms, rows_max: swept_max };
    while shared.transactions.transact(deployment, &late).await? == swept_max {}
    loop {
        let mut transaction = shared.transactions.snapshot(deployment).await?;
        let discarded = transaction.discarded(grace_ms, swept_max).await;
        let discarded = discarded.map_err(transaction::Error::of_the_system)?;
        let objects: Vec<DocumentId> = discarded.iter().map(|object| object.id).collect();
        let names: Vec<_> = (discarded.iter()).map(|object| object.object_name(deployment)).collect();
        futures::stream::iter(names)
            .map(|name| shared.objects.delete(name))
            .buffer_unordered(shared.limits.sweeps_in_flight_max)
            .try_collect::<()>()
            .await?;
        if !objects.is_empty() {
            shared.transactions.transact(deployment, &Forget(&objects)).await?;
        }
        shared.metrics.objects_swept.add(objects.len() as u64);
        if objects.len() < swept_max {
            return Ok(());
        }
    }
}

struct Discard {
    age_ms: u64,
    rows_max: usize,
}

#[async_trait]
impl Work for Discard {
    type Output = usize;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<usize> {
        Ok(transaction.discard_late(self.age_ms, self.rows_max).await?)
    }
}
