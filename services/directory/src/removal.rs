//! What a deleted deployment has goes: first the bytes of its files, then its documents, at last its place in the directory.
//!
//! It is done by ordinary transactions, a few documents each, so that it delays nobody's commits, every replica computes the
//! same, and whatever interrupts it, somebody goes on. The node that leads the deployment's group does it.

use std::time::Duration;

use async_trait::async_trait;
use contract::{DIRECTORY, DeploymentRef, Error, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use system_transaction::{Result as Transacted, Work};
use transaction::{FileObjectRow, Transaction};
use value::DocumentId;

use crate::{
    changes::{Expire, Forget},
    service::{Shared, has},
};

/// Removes a deployment that nobody serves any more. Ends when it is forgotten, by whichever node.
pub(crate) async fn remove(shared: &Shared, deployment: DeploymentRef) {
    tokio::time::sleep(Duration::from_millis(shared.limits.removal_grace_ms)).await;
    let pause = Duration::from_millis(shared.limits.removal_retry_ms);
    while is_there(shared, deployment) {
        if leads(shared, deployment) {
            match remove_all(shared, deployment).await {
                Ok(()) => {
                    tracing::info!(%deployment, "a deployment is deleted with all that it had");
                    return;
                }
                Err(error) => tracing::warn!(%deployment, "its data is deleted later: {error}"),
            }
        }
        tokio::time::sleep(pause).await;
    }
}

fn is_there(shared: &Shared, deployment: DeploymentRef) -> bool {
    shared.known.lock().deleting().any(|deleting| deleting == deployment)
}

/// Whether this node leads the deployment's group, as far as it knows. Two that believe so do no harm.
fn leads(shared: &Shared, deployment: DeploymentRef) -> bool {
    let Ok(position) = shared.transactions.log.position(deployment.group) else { return false };
    let position = position.borrow();
    let leader = position.leader.as_ref().map(|leader| leader.node);
    position.ready && leader.is_some() && leader == shared.node
}

async fn remove_all(shared: &Shared, deployment: DeploymentRef) -> Result<()> {
    let rows_max = shared.limits.removed_documents_max;
    loop {
        let mut transaction = shared.transactions.snapshot(deployment).await?;
        let objects = transaction.first_rows::<FileObjectRow>(rows_max).await;
        let objects = objects.map_err(transaction::Error::of_the_system)?;
        if objects.is_empty() {
            break;
        }
        let names: Vec<_> = objects.iter().map(|object| object.object_name(deployment)).collect();
        futures::stream::iter(names)
            .map(|name| shared.objects.delete(name))
            .buffer_unordered(shared.limits.removed_objects_in_flight_max)
            .try_collect::<()>()
            .await?;
        let ids: Vec<DocumentId> = objects.iter().map(|object| object.id).collect();
        shared.transactions.transact(deployment, &ForgetObjects(&ids)).await?;
    }
    while shared.transactions.transact(deployment, &Erase { rows_max }).await? > 0 {}
    shared.transactions.transact(DIRECTORY, &Forget { number: deployment.deployment.0 }).await?;
    Ok(())
}

/// Forgets objects whose bytes are deleted, whatever they were for.
struct ForgetObjects<'o>(&'o [DocumentId]);

#[async_trait]
impl Work for ForgetObjects<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        for id in self.0 {
            if transaction.row::<FileObjectRow>(*id).await?.is_some() {
                transaction.delete_row::<FileObjectRow>(*id).await?;
            }
        }
        Ok(())
    }
}

struct Erase {
    rows_max: usize,
}

#[async_trait]
impl Work for Erase {
    type Output = usize;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<usize> {
        Ok(transaction.erase(self.rows_max).await?)
    }
}

/// Has deployments deleted whose time is over, until the shutdown. It sleeps as long as there is none.
pub(crate) async fn expire(shared: &Shared) {
    let mut shown = shared.shown.subscribe();
    let pause = Duration::from_millis(shared.limits.removal_retry_ms);
    let check = Duration::from_millis(shared.limits.expiry_check_ms);
    let expiring = async {
        loop {
            shown.mark_unchanged();
            let (next_ms, now_ms) = (shared.known.lock().next_expiry_ms(), shared.clock.now_ms());
            let Some(next_ms) = next_ms else {
                if shown.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let is_due = next_ms <= now_ms;
            if is_due && leads(shared, DIRECTORY) {
                // By time that passes, which no clock's jump shortens.
                tokio::time::sleep(check).await;
                match expire_due(shared, now_ms.min(shared.clock.now_ms())).await {
                    Ok(()) => continue,
                    Err(error) => tracing::warn!("deployments whose time is over are deleted later: {error}"),
                }
            }
            // The clock may be set meanwhile, and another node may come to lead.
            let left = Duration::from_millis(next_ms.saturating_sub(now_ms)).min(LONGEST_WAIT);
            let wait = if is_due { pause } else { left };
            let _ = tokio::time::timeout(wait, shown.changed()).await;
        }
    };
    shared.shutdown.run_until_cancelled(expiring).await;
}

/// Without a look at the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Waits until this node has heard that they are being deleted.
async fn expire_due(shared: &Shared, now_ms: u64) -> Result<()> {
    let expired = shared.known.lock().expired(now_ms);
    for number in expired {
        shared.transactions.transact(DIRECTORY, &Expire { number, now_ms }).await?;
        if !shared.heard(|deployments| !has(deployments, number)).await {
            return Err(Error::overloaded("NotYet", "this node has not heard of it yet"));
        }
    }
    Ok(())
}
