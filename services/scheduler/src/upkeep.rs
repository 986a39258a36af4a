//! What the scheduler writes itself: entries that are put off, and results that go.

use std::time::Duration;

use async_trait::async_trait;
use contract::DeploymentRef;
use system_transaction::{Result, Work};
use transaction::{DueRow, Transaction};
use value::DocumentId;

use crate::{limits::ScheduleLimits, service::Shared};

/// Why an entry is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Its run kept losing races.
    Conflict,
    /// As much runs as may.
    Full,
    /// Something else that is not its fault.
    Failure,
}

impl Trouble {
    pub(crate) fn of(error: &contract::Error) -> Trouble {
        match &*error.code {
            "OptimisticConcurrencyControlFailure" => Trouble::Conflict,
            "TooManyConcurrentRequests" | "ExpiredInQueue" | "CommitterFullError" => Trouble::Full,
            _ => Trouble::Failure,
        }
    }

    /// How long to wait after so many failures before this one.
    fn pause_ms(self, limits: &ScheduleLimits, failures: u32) -> u64 {
        let (min, max) = match self {
            Trouble::Conflict => (limits.conflict_pause_ms_min, limits.conflict_pause_ms_max),
            Trouble::Full => (limits.failure_pause_ms_min, limits.conflict_pause_ms_max),
            Trouble::Failure => (limits.failure_pause_ms_min, limits.failure_pause_ms_max),
        };
        min.saturating_mul(1_u64.checked_shl(failures).unwrap_or(u64::MAX)).min(max)
    }
}

/// Puts an entry off. Does nothing if it has changed since it was begun at `due_ms`.
pub(crate) struct Postpone<'s> {
    pub id: DocumentId,
    pub due_ms: f64,
    pub now_ms: f64,
    pub trouble: Trouble,
    pub limits: &'s ScheduleLimits,
}

#[async_trait]
impl Work for Postpone<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Result<()> {
        let row = transaction.row::<DueRow>(self.id).await?;
        if let Some(row) = row.filter(|row| row.due_ms == self.due_ms) {
            let pause_ms = self.trouble.pause_ms(self.limits, row.failures);
            transaction.postpone_run(self.id, &row, self.now_ms + pause_ms as f64).await?;
        }
        Ok(())
    }
}

/// Removes some of the results that are older than they are kept.
struct RemoveResults {
    before_ms: f64,
    rows_max: usize,
}

struct Removed {
    rows: usize,
    /// Whether there may be more to remove.
    more: bool,
}

#[async_trait]
impl Work for RemoveResults {
    type Output = Removed;

    async fn run(&self, transaction: &mut Transaction) -> Result<Removed> {
        let more = transaction.delete_results_before(self.before_ms, self.rows_max).await?;
        Ok(Removed { rows: transaction.usage().system_documents_written, more })
    }
}

/// Removes old results of a deployment from time to time, without end.
pub(crate) async fn remove_old_results(shared: &Shared, deployment: DeploymentRef) {
    let limits = &shared.limits;
    loop {
        let before_ms = shared.clock.now_ms() - limits.result_age_ms as f64;
        let work = RemoveResults { before_ms, rows_max: limits.results_removed_max };
        match shared.transactions.transact(deployment, &work).await {
            Ok(Removed { rows, more }) => {
                shared.metrics.results_removed.add(rows as u64);
                if more {
                    continue;
                }
            }
            Err(error) => tracing::debug!(%deployment, %error, "old results are removed later"),
        }
        tokio::time::sleep(Duration::from_millis(limits.result_sweep_ms)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_has_no_room_is_full_and_what_else_fails_is_not() {
        let trouble = |code: &'static str| Trouble::of(&contract::Error::overloaded(code, ""));
        for code in ["TooManyConcurrentRequests", "ExpiredInQueue", "CommitterFullError"] {
            assert_eq!(trouble(code), Trouble::Full, "{code}");
        }
        assert_eq!(trouble("OptimisticConcurrencyControlFailure"), Trouble::Conflict);
        assert_eq!(trouble(contract::code::SHUTTING_DOWN), Trouble::Failure);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let limits = ScheduleLimits::DEFAULT;
        let pauses = |trouble: Trouble| [0, 1, 2, 9, 63, 64, u32::MAX].map(|n| trouble.pause_ms(&limits, n));
        assert_eq!(pauses(Trouble::Conflict), [100, 200, 400, 51_200, 60_000, 60_000, 60_000]);
        assert_eq!(pauses(Trouble::Full), [500, 1_000, 2_000, 60_000, 60_000, 60_000, 60_000]);
        assert_eq!(pauses(Trouble::Failure), [500, 1_000, 2_000, 256_000, 7_200_000, 7_200_000, 7_200_000]);
    }
}
