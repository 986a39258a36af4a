//! Forgets what nobody follows any more: syncs, and notes of changes that are too old or too many.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{DeploymentRef, ReadAt, Result, Timestamp};
use system_transaction::{Result as Transacted, Work};
use tokio_util::sync::CancellationToken;
use transaction::{DataSyncRow, HistoryStateRow, Transaction, read_changes};

use crate::{history, service::Shared};

/// Looks after one deployment until it goes or the service stops.
pub(crate) async fn run(shared: Arc<Shared>, deployment: DeploymentRef, shutdown: CancellationToken) {
    let pause = Duration::from_millis(shared.limits.sweep_ms);
    let mut counted = Counted::default();
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        match shutdown.run_until_cancelled(sweep(&shared, deployment, &mut counted)).await {
            Some(Ok(())) | None => {}
            Some(Err(error)) => {
                tracing::warn!(%deployment, "notes of changes can't be removed for now: {error}");
            }
        }
    }
}

/// What the notes of a deployment take, as far as this process has counted them.
#[derive(Debug, Default)]
struct Counted {
    /// The last commit of each stretch, and the bytes of its notes.
    stretches: VecDeque<(Timestamp, usize)>,
    bytes: usize,
    to: Timestamp,
}

impl Counted {
    fn add(&mut self, to: Timestamp, bytes: usize) {
        self.to = self.to.max(to);
        if bytes > 0 {
            self.bytes += bytes;
            self.stretches.push_back((to, bytes));
        }
    }

    /// Up to where notes are to be forgotten: those of stretches that are older than `oldest`, or over `bytes_max`.
    fn forgotten_to(&mut self, oldest: Timestamp, bytes_max: usize) -> Option<Timestamp> {
        let mut forgotten = None;
        while let Some(&(to, bytes)) = self.stretches.front()
            && (to < oldest || self.bytes > bytes_max)
        {
            self.stretches.pop_front();
            self.bytes -= bytes;
            forgotten = Some(to);
        }
        forgotten
    }
}

async fn sweep(shared: &Shared, deployment: DeploymentRef, counted: &mut Counted) -> Result<()> {
    let limits = &shared.limits;
    shared.transactions.transact(deployment, &RemoveSyncs { idle_ms_max: limits.sync_idle_ms_max }).await?;
    let mut transaction = shared.transactions.snapshot(deployment).await?;
    let (at, now_ms) = (transaction.begin_at(), transaction.now_ms());
    let state = transaction.history_state().await.map_err(transaction::Error::of_the_system)?;
    // Where nobody has ever asked there are no notes.
    let Some(state) = state else { return Ok(()) };
    let floor = history::floor_of(&mut transaction).await?;
    if floor.is_none() {
        // What is left since nobody asked any more: nobody can read it.
        return delete_notes(shared, deployment, at.timestamp).await;
    }
    if now_ms.saturating_sub(state.row.used_ms) > limits.history_ms_max {
        shared.transactions.transact(deployment, &EndHistory { unused_since_ms: state.row.used_ms }).await?;
        *counted = Counted::default();
        return Ok(());
    }
    count(shared, (deployment, at), counted).await?;
    let oldest_ns = now_ms.saturating_sub(limits.history_ms_max).saturating_mul(1_000_000);
    let oldest = Timestamp::new(oldest_ns).unwrap_or(Timestamp::MAX);
    match counted.forgotten_to(oldest, limits.history_bytes_max) {
        Some(to) => forget(shared, deployment, to).await,
        None => Ok(()),
    }
}

/// Counts the notes that came since the last time.
async fn count(
    shared: &Shared,
    (deployment, at): (DeploymentRef, ReadAt),
    counted: &mut Counted,
) -> Result<()> {
    loop {
        let log = &*shared.transactions.log;
        let limits = (shared.limits.page_commits_max, shared.limits.page_bytes_max);
        let read = read_changes(log, deployment, at, counted.to, limits).await;
        let read = read.map_err(transaction::Error::of_the_system)?;
        counted.add(read.complete_to, read.bytes);
        if !read.more {
            return Ok(());
        }
    }
}

/// Says first that the notes up to there are gone, and deletes them then, so that whoever misses one knows.
async fn forget(shared: &Shared, deployment: DeploymentRef, to: Timestamp) -> Result<()> {
    shared.transactions.transact(deployment, &RaiseFloor { to }).await?;
    delete_notes(shared, deployment, to).await
}

async fn delete_notes(shared: &Shared, deployment: DeploymentRef, to: Timestamp) -> Result<()> {
    let commits_max = shared.limits.forgotten_commits_max;
    let forget = Forget { to, commits_max };
    while shared.transactions.transact(deployment, &forget).await? > 0 {}
    Ok(())
}

struct RaiseFloor {
    to: Timestamp,
}

#[async_trait]
impl Work for RaiseFloor {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        if let Some(state) = transaction.history_state().await?
            && state.row.floor < self.to
        {
            transaction.replace_row(state.id, &HistoryStateRow { floor: self.to, ..state.row }).await?;
        }
        Ok(())
    }
}

struct Forget {
    to: Timestamp,
    commits_max: usize,
}

#[async_trait]
impl Work for Forget {
    type Output = usize;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<usize> {
        Ok(transaction.forget_changes(self.to, self.commits_max).await?)
    }
}

/// Notes no more changes, unless somebody has asked for them meanwhile.
struct EndHistory {
    unused_since_ms: u64,
}

#[async_trait]
impl Work for EndHistory {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let state = transaction.history_state().await?;
        if state.is_some_and(|state| state.row.used_ms == self.unused_since_ms) {
            transaction.end_changes().await?;
        }
        Ok(())
    }
}

struct RemoveSyncs {
    idle_ms_max: u64,
}

#[async_trait]
impl Work for RemoveSyncs {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let now_ms = transaction.now_ms();
        for sync in transaction.rows::<DataSyncRow>("by_updated", &[]).await? {
            if now_ms.saturating_sub(sync.row.updated_ms) > self.idle_ms_max {
                transaction.delete_row::<DataSyncRow>(sync.id).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).expect("in range")
    }

    fn counted() -> Counted {
        let mut counted = Counted::default();
        for (to, bytes) in [(10, 100), (20, 100), (30, 0), (40, 100)] {
            counted.add(at(to), bytes);
        }
        counted
    }

    #[test]
    fn the_oldest_notes_are_forgotten_by_age_and_by_size() {
        assert_eq!(counted().forgotten_to(Timestamp::ZERO, 300), None);
        assert_eq!(counted().forgotten_to(at(20), 300), Some(at(10)), "those of one that is as old stay");
        assert_eq!(counted().forgotten_to(Timestamp::ZERO, 299), Some(at(10)));
        assert_eq!(counted().forgotten_to(Timestamp::ZERO, 100), Some(at(20)));
        assert_eq!(counted().forgotten_to(Timestamp::MAX, 300), Some(at(40)));
        let mut once = counted();
        once.forgotten_to(at(20), 300);
        assert_eq!((once.forgotten_to(at(20), 300), once.bytes), (None, 200));
    }
}
