//! Whether a deployment notes its changes, and how far back.

use async_trait::async_trait;
use contract::{DeploymentRef, Result, Timestamp};
use system_transaction::{Result as Transacted, Work};
use transaction::{HistoryStateRow, Transaction};

use crate::service::Shared;

/// That somebody asks for changes is noted that often.
const NOTED_EVERY_MS: u64 = 3_600_000;

/// Has the deployment note its changes, or go on doing so.
pub(crate) struct KeepChanges;

#[async_trait]
impl Work for KeepChanges {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        transaction.keep_changes().await?;
        note_use(transaction).await
    }
}

/// Notes that somebody asks for changes, unless it is known.
struct NoteUse;

#[async_trait]
impl Work for NoteUse {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        note_use(transaction).await
    }
}

async fn note_use(transaction: &mut Transaction) -> Transacted<()> {
    let now_ms = transaction.now_ms();
    match transaction.history_state().await? {
        Some(state) if is_fresh(&state.row, now_ms) => {}
        Some(state) => {
            transaction.replace_row(state.id, &HistoryStateRow { used_ms: now_ms, ..state.row }).await?;
        }
        None => {
            transaction.insert_row(&HistoryStateRow { floor: Timestamp::ZERO, used_ms: now_ms }).await?;
        }
    }
    Ok(())
}

fn is_fresh(state: &HistoryStateRow, now_ms: u64) -> bool {
    now_ms.saturating_sub(state.used_ms) < NOTED_EVERY_MS
}

/// The moment above which all changes are noted, as of the transaction's; `None` if none are.
pub(crate) async fn floor_of(transaction: &mut Transaction) -> Result<Option<Timestamp>> {
    let of_the_system = transaction::Error::of_the_system;
    let Some(since) = transaction.changes_kept_since().await.map_err(of_the_system)? else {
        return Ok(None);
    };
    let state = transaction.history_state().await.map_err(of_the_system)?;
    Ok(Some(state.map_or(since, |state| state.row.floor.max(since))))
}

/// Begins to note changes if that is not done yet.
pub(crate) async fn keep(shared: &Shared, deployment: DeploymentRef) -> Result<()> {
    let mut transaction = shared.transactions.snapshot(deployment).await?;
    let of_the_system = transaction::Error::of_the_system;
    let is_kept = transaction.changes_kept_since().await.map_err(of_the_system)?.is_some();
    let state = transaction.history_state().await.map_err(of_the_system)?;
    let now_ms = transaction.now_ms();
    if is_kept && state.is_some_and(|state| is_fresh(&state.row, now_ms)) {
        return Ok(());
    }
    Ok(shared.transactions.transact(deployment, &KeepChanges).await?)
}

/// Notes that somebody asks for changes that are noted.
pub(crate) async fn note(
    shared: &Shared,
    deployment: DeploymentRef,
    transaction: &mut Transaction,
) -> Result<()> {
    let state = transaction.history_state().await.map_err(transaction::Error::of_the_system)?;
    let now_ms = transaction.now_ms();
    if state.is_some_and(|state| is_fresh(&state.row, now_ms)) {
        return Ok(());
    }
    Ok(shared.transactions.transact(deployment, &NoteUse).await?)
}
