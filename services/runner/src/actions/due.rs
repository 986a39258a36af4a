//! Actions that are due. A commit claims one before it begins, so that it runs at most once; another enters what came of it.
//!
//! ```text
//!   in the queue ── claim ── runs ── end           its job has a result, or its cron job moves on
//!                              └── process ends    whoever sees that its lease has run out: failed
//! ```
//!
//! A process that runs any renews its lease. All others look at what is claimed. What a process has claimed whose lease has run out has
//! failed; so has, at once, what was claimed under a number that this process has for itself. A process that has stalled may lose its
//! lease and run on: what comes of its actions finds no entry any more.
//!
//! An entry that this process holds, and nobody here runs, is one whose claim was committed although nobody heard of it. It fails as
//! well, since the action has not begun and never will.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use contract::{ConsoleLine, DeploymentRef, DueOutcome, FunctionCall, Result, Timestamp};
use fair_queue::Place;
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use system_transaction::Work;
use tracing::Instrument as _;
use transaction::{ClaimLease, DueKind, DueRow, DueRun, Holder, RunEnd, Stored, Transaction};
use value::InternalId;

use super::{
    leases::Leases,
    run::{Acted, Descent},
};
use crate::{service::Handle, transaction::kept_of_error};

/// What is said of an action whose process ended; the words are those that tools know.
const PROCESS_ENDED: &str = "Transient error while executing action";
/// Between two tries to enter a result, at first and at most.
const END_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Until orphans are looked for again when that was not possible.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Orphans that one commit ends.
const ORPHANS_ENDED_MAX: usize = 64;
/// Leases that are renewed at the same time, each of another deployment.
const RENEWALS_IN_FLIGHT_MAX: usize = 64;

/// The entries of queues that this process has claimed or is about to, until what came of them is entered.
#[derive(Default)]
pub(crate) struct Claims(Arc<Mutex<ByDeployment>>);

/// A deployment stays until its lease has been renewed once more after its last.
type ByDeployment = HashMap<DeploymentRef, Entries>;

/// Those of one deployment.
#[derive(Default)]
struct Entries {
    /// How often each is claimed.
    counts: HashMap<InternalId, usize>,
    /// The lease has been renewed since the first of them, so that it is again and again.
    is_renewed: bool,
}

/// One of them, as long as it lives.
struct Claimed {
    claims: Arc<Mutex<ByDeployment>>,
    deployment: DeploymentRef,
    entry: InternalId,
}

impl Claims {
    fn begin(&self, deployment: DeploymentRef, entry: InternalId) -> Claimed {
        *self.0.lock().entry(deployment).or_default().counts.entry(entry).or_default() += 1;
        Claimed { claims: Arc::clone(&self.0), deployment, entry }
    }

    fn holds(&self, deployment: DeploymentRef, entry: InternalId) -> bool {
        self.0.lock().get(&deployment).is_some_and(|entries| entries.counts.contains_key(&entry))
    }

    /// What a claim does about the lease: an old one could run out before it is renewed for the first time, and what runs under it
    /// would be taken for an orphan.
    fn lease(&self, deployment: DeploymentRef) -> ClaimLease {
        match self.0.lock().get(&deployment).is_some_and(|entries| entries.is_renewed) {
            true => ClaimLease::Keep,
            false => ClaimLease::Renew,
        }
    }

    fn renewed(&self, deployment: DeploymentRef) {
        if let Some(entries) = self.0.lock().get_mut(&deployment) {
            entries.is_renewed = true;
        }
    }

    /// The deployments that have had any since this was asked before. That of a moment ago counts as well: else a process with many
    /// short actions might have none whenever it renews, and some whenever others look.
    fn to_renew(&self) -> Vec<DeploymentRef> {
        let mut claims = self.0.lock();
        let deployments = claims.keys().copied().collect();
        claims.retain(|_, entries| !entries.counts.is_empty());
        deployments
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut claims = self.claims.lock();
        let entries = claims.get_mut(&self.deployment).expect("it has entries");
        let count = entries.counts.get_mut(&self.entry).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            entries.counts.remove(&self.entry);
        }
    }
}

impl Handle {
    /// Claims an entry and begins its action, unless it is gone. What comes of it is entered by the runner.
    pub(crate) async fn begin_due_action(
        &self,
        call: FunctionCall,
        run: DueRun,
        is_for_node: bool,
    ) -> Result<DueOutcome> {
        let (deployment, claims) = (call.deployment, &self.actions.claims);
        let place = self.admit_action(deployment).await?;
        // What is claimed can't wait any more: it would fail where there is no place.
        let node_place = if is_for_node { self.reserve_in_node(deployment).await? } else { None };
        let claimed = claims.begin(deployment, run.id.internal_id);
        let claim = Claim { run: &run, holder: self.shared.holder, deployment, claims };
        let Some(run) = self.shared.transactions.transact(deployment, &claim).await? else {
            return Ok(DueOutcome::Gone);
        };
        claims.renewed(deployment);
        let handle = self.clone();
        let work = async move {
            let end = handle.act_due(call, &run, node_place).await;
            handle.enter_end(deployment, &run, &end).await;
            drop((claimed, place));
        };
        self.calls.spawn(work.in_current_span());
        Ok(DueOutcome::Begun)
    }

    async fn act_due(&self, call: FunctionCall, run: &DueRun, node_place: Option<Place>) -> RunEnd {
        let descent = Descent { depth: 1, job: run.job_id() };
        let acted = self.act(Arc::new(call), descent, node_place).await;
        let (result, lines, execution_time) = match acted {
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
        loop {
            match self.shared.transactions.transact(deployment, &End { run, end }).await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::info!(id = %run.id, "what came of an action is too late: it was cancelled or has failed meanwhile");
                    return;
                }
                Err(error) => {
                    tracing::debug!(id = %run.id, %error, "what came of an action is entered later");
                }
            }
            if self.shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            pause = pause_max.min(2 * pause);
        }
    }

    /// Says that this process is there, wherever it has claimed something, without end.
    pub(crate) async fn renew_leases(&self) {
        let pause = Duration::from_millis(self.actions.limits.claim_renewal_ms);
        loop {
            tokio::time::sleep(pause).await;
            stream::iter(self.actions.claims.to_renew())
                .for_each_concurrent(RENEWALS_IN_FLIGHT_MAX, |deployment| self.renew_lease(deployment, pause))
                .await;
        }
    }

    async fn renew_lease(&self, deployment: DeploymentRef, wait_max: Duration) {
        let renewal = Renewal { holder: self.shared.holder };
        let renewal = self.shared.transactions.transact(deployment, &renewal);
        match tokio::time::timeout(wait_max, renewal).await {
            Ok(Ok(())) => self.actions.claims.renewed(deployment),
            Ok(Err(error)) => tracing::debug!(%deployment, %error, "a lease is renewed later"),
            Err(_) => tracing::debug!(%deployment, "a lease that takes long is renewed later"),
        }
    }

    /// Enters that actions have failed which nobody runs any more, without end.
    pub(crate) async fn end_orphans(&self, deployment: DeploymentRef) {
        let limits = &self.actions.limits;
        let pause = Duration::from_millis(limits.orphan_sweep_ms);
        let pause_beside_others = pause.min(Duration::from_millis(limits.claim_renewal_ms));
        let mut leases = Leases::new(
            Duration::from_millis(limits.claim_lease_ms),
            Duration::from_millis(limits.claim_renewal_ms),
        );
        loop {
            let wait = match self.sweep_orphans(deployment, &mut leases).await {
                Ok(Swept { orphans, others }) => {
                    if orphans > 0 {
                        tracing::warn!(%deployment, actions = orphans, "actions have failed because their process ended");
                    }
                    if others { pause_beside_others } else { pause }
                }
                Err(error) => {
                    tracing::debug!(%deployment, %error, "actions that nobody runs are looked for later");
                    LOOK_AGAIN.min(pause)
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn sweep_orphans(
        &self,
        deployment: DeploymentRef,
        leases: &mut Leases,
    ) -> system_transaction::Result<Swept> {
        let mut transaction = self.shared.transactions.snapshot(deployment).await?;
        let held = transaction.held_runs().await?;
        let mut shown: HashMap<Holder, Option<Timestamp>> = transaction
            .leases()
            .await?
            .into_iter()
            .map(|(holder, renewed)| (holder, Some(renewed)))
            .collect();
        let holders: HashSet<Holder> = held.iter().filter_map(|held| held.row.holder).collect();
        for holder in &holders {
            shown.entry(*holder).or_insert(None);
        }
        leases.look(Instant::now(), &shown);
        let leases = &*leases;
        let orphans: Vec<_> =
            held.into_iter().filter(|held| self.is_orphan(deployment, held, leases)).collect();
        let mut swept = Swept { orphans: 0, others: shown.keys().any(|holder| !self.is_self(*holder)) };
        for orphans in orphans.chunks(ORPHANS_ENDED_MAX) {
            let work = EndOrphans { handle: self, deployment, orphans, leases };
            swept.orphans += self.shared.transactions.transact(deployment, &work).await?;
        }
        self.actions.count_orphans(swept.orphans);
        for (holder, renewed) in shown {
            let is_over = self.is_gone(holder) || leases.has_run_out(holder);
            if let Some(seen) = renewed.filter(|_| is_over && !holders.contains(&holder)) {
                self.shared.transactions.transact(deployment, &EndLease { holder, seen }).await?;
            }
        }
        Ok(swept)
    }

    /// Whether nobody runs it: its process is gone, or seems so, or is this one, which does not know of it.
    fn is_orphan(&self, deployment: DeploymentRef, held: &Stored<DueRow>, leases: &Leases) -> bool {
        held.row.holder.is_some_and(|holder| match self.is_self(holder) {
            true => !self.actions.claims.holds(deployment, held.id.internal_id),
            false => self.is_gone(holder) || leases.has_run_out(holder),
        })
    }

    fn is_self(&self, holder: Holder) -> bool {
        holder == self.shared.holder
    }

    /// Whether a process is certainly no more: it had the number that this one has for itself.
    fn is_gone(&self, holder: Holder) -> bool {
        let is_of_own_number = holder.node == self.shared.holder.node && !self.is_self(holder);
        is_of_own_number && self.shared.options.has_number_alone
    }
}

/// What a look at the queue of a deployment has come to.
struct Swept {
    /// Actions that have failed.
    orphans: usize,
    /// Whether other processes hold something, or have lately.
    others: bool,
}

struct Claim<'r> {
    run: &'r DueRun,
    holder: Holder,
    deployment: DeploymentRef,
    claims: &'r Claims,
}

#[async_trait]
impl Work for Claim<'_> {
    type Output = Option<DueRun>;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Option<DueRun>> {
        let lease = self.claims.lease(self.deployment);
        Ok(transaction.claim_run(self.run, self.holder, lease).await?)
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

struct Renewal {
    holder: Holder,
}

#[async_trait]
impl Work for Renewal {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        Ok(transaction.renew_lease(self.holder).await?)
    }
}

struct EndLease {
    holder: Holder,
    seen: Timestamp,
}

#[async_trait]
impl Work for EndLease {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        Ok(transaction.end_lease(self.holder, self.seen).await?)
    }
}

struct EndOrphans<'o> {
    handle: &'o Handle,
    deployment: DeploymentRef,
    orphans: &'o [Stored<DueRow>],
    leases: &'o Leases,
}

#[async_trait]
impl Work for EndOrphans<'_> {
    type Output = usize;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<usize> {
        let EndOrphans { handle, deployment, orphans, leases } = self;
        let end = RunEnd {
            result: Err(PROCESS_ENDED.to_owned()),
            log_lines: Vec::new(),
            execution_time: Duration::ZERO,
            at_ms: handle.shared.clock.now_ms(),
        };
        let mut ended = 0;
        for orphan in *orphans {
            let Some(run) = transaction.due_run(orphan.id).await? else { continue };
            if run.due != orphan.row || !handle.is_orphan(*deployment, orphan, leases) {
                continue;
            }
            // By a renewal that commits until this does, the holder is there after all.
            let holder = orphan.row.holder.expect("an orphan had one");
            let is_certain = handle.is_self(holder) || handle.is_gone(holder);
            if !is_certain && transaction.lease(holder).await? != leases.renewed(holder) {
                continue;
            }
            transaction.end_run(&run, &end).await?;
            ended += 1;
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

    #[test]
    fn claims_renew_the_lease_until_it_is_renewed_without_them() {
        let claims = Claims::default();
        let begin = |number: u8| claims.begin(DEPLOYMENT, InternalId::from_bytes([number; 16]));
        // Somebody else was faster, so that its commit has renewed nothing.
        drop(begin(1));
        let held = [begin(2), begin(3)];
        assert_eq!(claims.lease(DEPLOYMENT), ClaimLease::Renew);
        claims.renewed(DEPLOYMENT);
        assert_eq!(claims.lease(DEPLOYMENT), ClaimLease::Keep);
        drop(held);
        let held = begin(4);
        assert_eq!(claims.lease(DEPLOYMENT), ClaimLease::Keep, "it is renewed once more after the last");
        assert_eq!(claims.to_renew(), [DEPLOYMENT]);
        drop(held);
        assert_eq!(claims.to_renew(), [DEPLOYMENT]);
        assert!(claims.to_renew().is_empty());
        let _held = begin(5);
        assert_eq!(claims.lease(DEPLOYMENT), ClaimLease::Renew);
    }
}
