//! Actions that are due. A commit claims one before it begins, so that it runs at most once; another enters what came of it.
//!
//! ```text
//!   in the queue ── claim ── runs ── end           its job has a result, or its cron job moves on
//!                              └── process ends    whoever starts next on the node: failed
//! ```
//!
//! An entry that this process holds, and nobody here runs, is one whose claim was committed although nobody heard of it. It fails as
//! well, since the action has not begun and never will.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{ConsoleLine, DeploymentRef, DueOutcome, FunctionCall, Result};
use parking_lot::Mutex;
use system_transaction::Work;
use tracing::Instrument as _;
use transaction::{DueKind, DueRow, DueRun, Holder, RunEnd, Stored, Transaction};
use value::InternalId;

use super::run::{Acted, Descent};
use crate::{service::Handle, transaction::kept_of_error};

/// What is said of an action whose process ended; the words are those that tools know.
const PROCESS_ENDED: &str = "Transient error while executing action";
/// Between two tries to enter a result, at first and at most.
const END_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Until orphans are looked for again when that was not possible.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Orphans that one commit ends.
const ORPHANS_ENDED_MAX: usize = 64;

/// The entries of queues that this process has claimed or is about to, until what came of them is entered.
#[derive(Default)]
pub(crate) struct Claims(Arc<Mutex<HashMap<InternalId, usize>>>);

/// One of them, as long as it lives.
struct Claimed {
    claims: Arc<Mutex<HashMap<InternalId, usize>>>,
    entry: InternalId,
}

impl Claims {
    fn begin(&self, entry: InternalId) -> Claimed {
        *self.0.lock().entry(entry).or_default() += 1;
        Claimed { claims: Arc::clone(&self.0), entry }
    }

    fn holds(&self, entry: InternalId) -> bool {
        self.0.lock().contains_key(&entry)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut claims = self.claims.lock();
        let count = claims.get_mut(&self.entry).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            claims.remove(&self.entry);
        }
    }
}

impl Handle {
    /// Claims an entry and begins its action, unless it is gone. What comes of it is entered by the runner.
    pub(crate) async fn begin_due_action(&self, call: FunctionCall, run: DueRun) -> Result<DueOutcome> {
        let place = self.admit_action(call.deployment).await?;
        let claimed = self.actions.claims.begin(run.id.internal_id);
        let claim = Claim { run: &run, holder: self.shared.holder };
        let Some(run) = self.shared.transactions.transact(call.deployment, &claim).await? else {
            return Ok(DueOutcome::Gone);
        };
        let handle = self.clone();
        let work = async move {
            let deployment = call.deployment;
            let end = handle.act_due(call, &run).await;
            handle.enter_end(deployment, &run, &end).await;
            drop((claimed, place));
        };
        self.calls.spawn(work.in_current_span());
        Ok(DueOutcome::Begun)
    }

    async fn act_due(&self, call: FunctionCall, run: &DueRun) -> RunEnd {
        let descent = Descent { depth: 1, job: run.job_id() };
        let (result, lines, execution_time) = match self.act(Arc::new(call), descent).await {
            Ok(Acted { result, error, lines, duration }) => {
                let failed = |_| kept_of_error(error.unwrap_or_default());
                (result.map_err(failed), lines, duration)
            }
            Err(error) => (Err(error.to_string()), Vec::new(), Duration::ZERO),
        };
        let log_lines = match run.due.kind {
            DueKind::Job => Vec::new(),
            DueKind::Cron => lines.iter().map(ConsoleLine::to_client_line).collect(),
        };
        RunEnd { result, log_lines, execution_time, at_ms: self.shared.clock.now_ms() }
    }

    /// Enters what came of an action, however long that takes. A runner that stops leaves it to the next one.
    async fn enter_end(&self, deployment: DeploymentRef, run: &DueRun, end: &RunEnd) {
        let (mut pause, pause_max) = END_PAUSE;
        while let Err(error) = self.shared.transactions.transact(deployment, &End { run, end }).await {
            tracing::debug!(id = %run.id, %error, "what came of an action is entered later");
            if self.shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            pause = pause_max.min(2 * pause);
        }
    }

    /// Enters that actions have failed which nobody runs any more, without end.
    pub(crate) async fn end_orphans(&self, deployment: DeploymentRef) {
        let pause = Duration::from_millis(self.actions.limits.orphan_sweep_ms);
        loop {
            let wait = match self.sweep_orphans(deployment).await {
                Ok(0) => pause,
                Ok(actions) => {
                    tracing::warn!(%deployment, actions, "actions have failed because their process ended");
                    pause
                }
                Err(error) => {
                    tracing::debug!(%deployment, %error, "actions that nobody runs are looked for later");
                    LOOK_AGAIN.min(pause)
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// How many there were.
    async fn sweep_orphans(&self, deployment: DeploymentRef) -> system_transaction::Result<usize> {
        let mut transaction = self.shared.transactions.snapshot(deployment).await?;
        let mut orphans = transaction.held_runs().await?;
        orphans.retain(|held| self.is_orphan(held));
        let mut ended = 0;
        for orphans in orphans.chunks(ORPHANS_ENDED_MAX) {
            ended +=
                self.shared.transactions.transact(deployment, &EndOrphans { handle: self, orphans }).await?;
        }
        self.actions.count_orphans(ended);
        Ok(ended)
    }

    /// Whether nobody runs it: its process was one before this on the same node, or does not know of it.
    fn is_orphan(&self, held: &Stored<DueRow>) -> bool {
        let own = self.shared.holder;
        let is_known = || self.actions.claims.holds(held.id.internal_id);
        held.row
            .holder
            .is_some_and(|holder| holder.node == own.node && (holder.boot != own.boot || !is_known()))
    }
}

struct Claim<'r> {
    run: &'r DueRun,
    holder: Holder,
}

#[async_trait]
impl Work for Claim<'_> {
    type Output = Option<DueRun>;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Option<DueRun>> {
        Ok(transaction.claim_run(self.run, self.holder).await?)
    }
}

struct End<'r> {
    run: &'r DueRun,
    end: &'r RunEnd,
}

#[async_trait]
impl Work for End<'_> {
    type Output = bool;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<bool> {
        Ok(transaction.end_claimed_run(self.run, self.end).await?)
    }
}

struct EndOrphans<'o> {
    handle: &'o Handle,
    orphans: &'o [Stored<DueRow>],
}

#[async_trait]
impl Work for EndOrphans<'_> {
    type Output = usize;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<usize> {
        let end = RunEnd {
            result: Err(PROCESS_ENDED.to_owned()),
            log_lines: Vec::new(),
            execution_time: Duration::ZERO,
            at_ms: self.handle.shared.clock.now_ms(),
        };
        let mut ended = 0;
        for orphan in self.orphans {
            let Some(run) = transaction.due_run(orphan.id).await? else { continue };
            if run.due == orphan.row && self.handle.is_orphan(orphan) {
                transaction.end_run(&run, &end).await?;
                ended += 1;
            }
        }
        Ok(ended)
    }
}
