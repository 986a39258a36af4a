//! Finds the exports and imports of a deployment on which somebody must work, and works on them.
//!
//! Whoever works on a row has claimed it by a commit, and shows that it is still there by others. A claim that was not renewed for some
//! time, as this process's clock counts it, another process takes. That it was still in use does no harm: every commit of a job reads
//! its row, so whoever has lost the claim commits nothing more, not even that it has failed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use contract::{DeploymentRef, ReadAt, Result, Timestamp};
use system_transaction::{Result as Transacted, Work};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transaction::{Claim, ExportRow, ExportState, FileState, ImportRow, ImportState, SystemRow, Transaction};
use value::{CREATION_TIME_FIELD, DocumentId, ID_FIELD, Object, Value};

use crate::{
    export, import,
    job::{Job, Stop},
    service::{CancelImport, Shared},
};

/// With nothing to do and nothing committed, how long until it is looked for what is too old.
const QUIET: Duration = Duration::from_secs(60);

/// What an export or import is told whose processes ended again and again.
const WITHOUT_A_WORD: &str =
    "Each process that worked on it ended before it was done, or failed. The servers' logs say why.";

/// Works for one deployment, until it goes or the service stops.
pub(crate) async fn run(shared: Arc<Shared>, deployment: DeploymentRef, shutdown: CancellationToken) {
    let mut wanted = shared.wanted.subscribe();
    let look = Duration::from_millis(shared.limits.look_ms);
    // What this process was asked for wakes it; of the others' it is looked only for what they have left.
    let quiet = Duration::from_millis(shared.limits.lease_ms);
    let mut worker = Worker {
        shared,
        deployment,
        shutdown,
        running: HashSet::new(),
        unreadable: HashSet::new(),
        seen: HashMap::new(),
        jobs: JoinSet::new(),
    };
    while !worker.shutdown.is_cancelled() {
        wanted.mark_unchanged();
        let position = worker.shared.transactions.log.position(deployment.group);
        let mut is_quiet = false;
        let mut position = position.ok();
        if let Some(position) = &mut position {
            let published = position.borrow_and_update().published;
            match worker.look(published).await {
                Ok(found_nothing) => is_quiet = found_nothing,
                Err(error) => {
                    tracing::debug!(%deployment, "exports and imports are looked for later: {error}")
                }
            }
        }
        let later = async {
            tokio::time::sleep(if is_quiet { quiet } else { look }).await;
            if let Some(position) = &mut position
                && is_quiet
            {
                let _ = tokio::time::timeout(QUIET, position.changed()).await;
            }
        };
        tokio::select! {
            () = worker.shutdown.cancelled() => {}
            _ = wanted.changed() => {}
            Some(ended) = worker.jobs.join_next(), if !worker.jobs.is_empty() => {
                worker.running.remove(&ended.expect("a panic ends the process"));
            }
            () = later => {}
        }
    }
    while let Some(ended) = worker.jobs.join_next().await {
        ended.expect("a panic ends the process");
    }
}

struct Worker {
    shared: Arc<Shared>,
    deployment: DeploymentRef,
    shutdown: CancellationToken,
    /// The rows that this process works on.
    running: HashSet<DocumentId>,
    /// What is wrong with rows that can't be read: it is told once.
    unreadable: HashSet<String>,
    /// Claims of others, and since when they are as they are.
    seen: HashMap<DocumentId, (Claim, Instant)>,
    jobs: JoinSet<DocumentId>,
}

/// A row with what its document says besides.
pub(crate) struct Found<R> {
    pub id: DocumentId,
    pub made_ms: f64,
    pub row: R,
}

/// All rows, the oldest first; of those that can't be read what is wrong with them.
pub(crate) async fn rows_of<R: SystemRow>(
    transaction: &mut Transaction,
) -> transaction::Result<Vec<Result<Found<R>, String>>> {
    let documents = transaction.each_row_document::<R>("by_creation_time", &[]).await?;
    Ok(documents.into_iter().map(found).collect())
}

fn found<R: SystemRow>(fields: transaction::Result<Object>) -> Result<Found<R>, String> {
    let fields = fields.map_err(|error| error.to_string())?;
    let id = fields.get(ID_FIELD).and_then(Value::as_str).and_then(|id| id.parse().ok());
    let made_ms = fields.get(CREATION_TIME_FIELD).and_then(Value::as_f64);
    Ok(Found {
        id: id.ok_or("it has no id")?,
        made_ms: made_ms.ok_or("it has no time")?,
        row: R::from_fields(&fields)?,
    })
}

impl Worker {
    /// Begins what nobody works on, and removes what is too old. Whether there is nothing that must be looked at soon.
    async fn look(&mut self, published: Timestamp) -> Result<bool> {
        let shared = self.shared.clone();
        let mut transaction =
            shared.transactions.snapshot_at(self.deployment, ReadAt::published(published)).await?;
        let imports = self.readable::<ImportRow>(&mut transaction).await?;
        let exports = self.readable::<ExportRow>(&mut transaction).await?;
        let now_ms = transaction.now_ms();
        let has_dropped_tables = transaction.deployment_catalog().has_dropped_tables();
        drop(transaction);
        let is_older = |made_ms: f64, age_ms: u64| now_ms as f64 - made_ms > age_ms as f64;
        let limits = &shared.limits;
        let mut is_quiet = !has_dropped_tables;
        if has_dropped_tables {
            let erase = import::Erase { rows_max: limits.removed_max };
            shared.transactions.transact(self.deployment, &erase).await?;
        }
        for Found { id, made_ms, row } in imports {
            let given_up = match row.state {
                ImportState::Uploading if is_older(made_ms, limits.upload_ms_max) => {
                    Some("The upload was not complete in time.")
                }
                ImportState::WaitingForConfirmation { .. }
                    if is_older(made_ms, limits.confirmation_ms_max) =>
                {
                    Some("The import was not confirmed in time.")
                }
                _ => None,
            };
            if let Some(message) = given_up {
                let cancel = CancelImport { import: id, holder: None, message: message.to_owned() };
                shared.transactions.transact(self.deployment, &cancel).await?;
                is_quiet = false;
            } else if row.wants_work() {
                is_quiet = false;
                self.begin(id, row, import::run);
            } else if row.state.is_over() && is_older(made_ms, limits.history_ms) {
                shared.transactions.transact(self.deployment, &ForgetRow::<ImportRow>::new(id)).await?;
            }
        }
        for Found { id, made_ms, row } in exports {
            let expired = match row.state {
                ExportState::Completed { expires_ns, .. } => expires_ns / 1_000_000 <= now_ms,
                ExportState::Failed { .. } | ExportState::Canceled => row.object.is_some(),
                ExportState::Requested | ExportState::InProgress { .. } => false,
            };
            if expired {
                shared.transactions.transact(self.deployment, &Expire(id)).await?;
            } else if row.wants_work() {
                is_quiet = false;
                self.begin(id, row, export::run);
            } else if row.object.is_none() && is_older(made_ms, limits.history_ms) {
                shared.transactions.transact(self.deployment, &ForgetRow::<ExportRow>::new(id)).await?;
            }
        }
        Ok(is_quiet)
    }

    /// All rows but for those that can't be read: nothing can be done about these, and they are no reason to leave the others.
    async fn readable<R: SystemRow>(&mut self, transaction: &mut Transaction) -> Result<Vec<Found<R>>> {
        let all = rows_of(transaction).await.map_err(transaction::Error::of_the_system)?;
        let mut rows = Vec::with_capacity(all.len());
        for row in all {
            match row {
                Ok(row) => rows.push(row),
                Err(error) => {
                    let what = format!("a row of {} can't be read: {error}", R::TABLE.name());
                    if self.unreadable.insert(what.clone()) {
                        tracing::warn!(deployment = %self.deployment, "{what}");
                    }
                }
            }
        }
        Ok(rows)
    }

    /// Works on a row as soon as there is a place, unless this process does already, or another one.
    fn begin<R: Claimed>(&mut self, id: DocumentId, row: R, run: fn(&Job, R) -> crate::job::Result<()>) {
        if self.running.contains(&id) || !self.may_claim(id, row.claim()) {
            return;
        }
        self.running.insert(id);
        let job = Job {
            shared: self.shared.clone(),
            deployment: self.deployment,
            id,
            token: self.shutdown.child_token(),
            runtime: self.shared.runtime.clone(),
            progress: Arc::new(AtomicU64::new(0)),
            place: Arc::default(),
        };
        self.jobs.spawn(work(job, row.claim(), run));
    }

    fn may_claim(&mut self, id: DocumentId, claim: Option<Claim>) -> bool {
        match claim {
            Some(claim) if claim.holder != self.shared.holder => {
                let (seen, since) = self.seen.entry(id).or_insert((claim, Instant::now()));
                if *seen != claim {
                    (*seen, *since) = (claim, Instant::now());
                }
                since.elapsed() > Duration::from_millis(self.shared.limits.lease_ms)
            }
            _ => {
                self.seen.remove(&id);
                true
            }
        }
    }
}

/// Claims a row, unless somebody is faster, and works on it until it is done or must be tried again.
async fn work<R: Claimed>(
    job: Job,
    seen: Option<Claim>,
    run: fn(&Job, R) -> crate::job::Result<()>,
) -> DocumentId {
    if job.take_place().await.is_err() {
        return job.id;
    }
    let claiming =
        Claiming { id: job.id, seen, holder: job.shared.holder, row: std::marker::PhantomData::<R> };
    let row = match job.shared.transactions.transact(job.deployment, &claiming).await {
        Ok(Some(row)) if row.can_fail() && row.attempts() >= job.shared.limits.attempts_max => {
            give_up::<R>(&job, WITHOUT_A_WORD.to_owned()).await;
            return job.id;
        }
        Ok(Some(row)) => row,
        Ok(None) => return job.id,
        Err(error) => {
            tracing::debug!("a row of {} is claimed later: {error}", R::TABLE.name());
            return job.id;
        }
    };
    let mut blocking = {
        let job = job.clone();
        tokio::task::spawn_blocking(move || run(&job, row))
    };
    let ended = tokio::select! {
        ended = &mut blocking => ended,
        () = beat::<R>(&job) => {
            job.token.cancel();
            blocking.await
        }
    };
    let result = ended.expect("a panic ends the process");
    let (shared, deployment, id) = (&job.shared, job.deployment, job.id);
    match result {
        Ok(()) => {}
        Err(Stop::NotOurs) => release::<R>(&job).await,
        Err(Stop::Refused(message)) => give_up::<R>(&job, message).await,
        Err(Stop::Failed(error)) => {
            tracing::warn!(%deployment, "the work on {id} of {} is begun again: {error}", R::TABLE.name());
            let counting = Count { job: &job, row: std::marker::PhantomData::<R> };
            let counted = shared.transactions.transact(deployment, &counting).await;
            let pause = Duration::from_millis(shared.limits.look_ms);
            let _ = job.token.run_until_cancelled(tokio::time::sleep(pause)).await;
            match counted {
                Ok(attempts) if attempts >= shared.limits.attempts_max => {
                    give_up::<R>(&job, error.to_string()).await;
                }
                Ok(_) => {}
                Err(error) => is_later::<R>(&job, &error.into()),
            }
        }
    }
    id
}

async fn give_up<R: Claimed>(job: &Job, message: String) {
    if let Err(error) = R::fail(job, message).await {
        is_later::<R>(job, &error);
    }
}

/// What is not written down now comes to the same when the row is taken up again.
fn is_later<R: Claimed>(job: &Job, error: &contract::Error) {
    let (deployment, id, table) = (job.deployment, job.id, R::TABLE.name());
    tracing::warn!(%deployment, "what became of {id} of {table} is written down later: {error}");
}

/// Lets go of a row that is still this process's, so that others need not wait for a sign of it. A process that stops does not wait long.
async fn release<R: Claimed>(job: &Job) {
    let letting_go = LettingGo { job, row: std::marker::PhantomData::<R> };
    let within = Duration::from_millis(job.shared.limits.beat_ms);
    let released = job.shared.transactions.transact(job.deployment, &letting_go);
    if let Ok(Err(error)) = tokio::time::timeout(within, released).await {
        tracing::debug!("a claim of {} is not let go: {error}", R::TABLE.name());
    }
}

/// Shows that somebody works on it; ends when it is no longer this process.
async fn beat<R: Claimed>(job: &Job) {
    let pause = Duration::from_millis(job.shared.limits.beat_ms);
    loop {
        tokio::time::sleep(pause).await;
        let documents = job.progress.load(Ordering::Relaxed);
        let beat =
            Beat { id: job.id, holder: job.shared.holder, documents, row: std::marker::PhantomData::<R> };
        match job.shared.transactions.transact(job.deployment, &beat).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!("a claim of {} is renewed later: {error}", R::TABLE.name()),
        }
    }
}

/// Rows on which one process at a time works.
pub(crate) trait Claimed: SystemRow + Clone + PartialEq + Send + Sync + 'static {
    fn claim(&self) -> Option<Claim>;
    fn set_claim(&mut self, claim: Option<Claim>);
    fn attempts(&self) -> u32;
    fn set_attempts(&mut self, attempts: u32);
    /// Whether somebody must work on it.
    fn wants_work(&self) -> bool;
    /// Whether it can be given up: what is left of it when it is over is removed however often that fails.
    fn can_fail(&self) -> bool;
    /// Shows how far the work is.
    fn show(&mut self, documents: u64);
    /// Writes down that nothing comes of it, unless it is another process's by now.
    fn fail(job: &Job, message: String) -> impl Future<Output = Result<()>> + Send;
}

impl Claimed for ImportRow {
    fn claim(&self) -> Option<Claim> {
        self.claim
    }

    fn set_claim(&mut self, claim: Option<Claim>) {
        self.claim = claim;
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }

    fn set_attempts(&mut self, attempts: u32) {
        self.attempts = attempts;
    }

    fn wants_work(&self) -> bool {
        match self.state {
            ImportState::Uploaded | ImportState::InProgress { .. } => true,
            ImportState::Uploading | ImportState::WaitingForConfirmation { .. } => false,
            ImportState::Completed { .. } | ImportState::Failed { .. } => !self.is_cleared,
        }
    }

    fn can_fail(&self) -> bool {
        !self.state.is_over()
    }

    fn show(&mut self, _: u64) {}

    async fn fail(job: &Job, message: String) -> Result<()> {
        let cancel = CancelImport { import: job.id, holder: Some(job.shared.holder), message };
        Ok(job.shared.transactions.transact(job.deployment, &cancel).await?)
    }
}

impl Claimed for ExportRow {
    fn claim(&self) -> Option<Claim> {
        self.claim
    }

    fn set_claim(&mut self, claim: Option<Claim>) {
        self.claim = claim;
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }

    fn set_attempts(&mut self, attempts: u32) {
        self.attempts = attempts;
    }

    fn wants_work(&self) -> bool {
        self.state.is_under_way()
    }

    fn can_fail(&self) -> bool {
        self.state.is_under_way()
    }

    fn show(&mut self, documents: u64) {
        if let ExportState::InProgress { message } = &mut self.state {
            *message = format!("Exported {documents} documents");
        }
    }

    async fn fail(job: &Job, message: String) -> Result<()> {
        Ok(job.shared.transactions.transact(job.deployment, &FailExport { job, message }).await?)
    }
}

struct Claiming<R> {
    id: DocumentId,
    /// The claim that nobody renews any more.
    seen: Option<Claim>,
    holder: [u8; 16],
    row: std::marker::PhantomData<R>,
}

#[async_trait]
impl<R: Claimed> Work for Claiming<R> {
    /// `None` if somebody was faster.
    type Output = Option<R>;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Option<R>> {
        let Some(mut row) = transaction.row::<R>(self.id).await? else { return Ok(None) };
        if !row.wants_work() || row.claim() != self.seen {
            return Ok(None);
        }
        // One that ends by itself lets go of its claims; this one ended without a word, and perhaps by this work.
        if row.claim().is_some_and(|claim| claim.holder != self.holder) {
            row.set_attempts(row.attempts() + 1);
        }
        row.set_claim(Some(Claim { holder: self.holder, beat: 0 }));
        transaction.replace_row(self.id, &row).await?;
        Ok(Some(row))
    }
}

struct Beat<R> {
    id: DocumentId,
    holder: [u8; 16],
    documents: u64,
    row: std::marker::PhantomData<R>,
}

#[async_trait]
impl<R: Claimed> Work for Beat<R> {
    /// Whether the row is still this process's.
    type Output = bool;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<bool> {
        let Some(mut row) = transaction.row::<R>(self.id).await? else { return Ok(false) };
        let Some(claim) = row.claim().filter(|claim| claim.holder == self.holder) else { return Ok(false) };
        row.set_claim(Some(Claim { beat: claim.beat + 1, ..claim }));
        row.show(self.documents);
        transaction.replace_row(self.id, &row).await?;
        Ok(true)
    }
}

/// Counts that the work has failed.
struct Count<'j, R> {
    job: &'j Job,
    row: std::marker::PhantomData<R>,
}

#[async_trait]
impl<R: Claimed> Work for Count<'_, R> {
    /// How often it has by now; 0 if it is another process's.
    type Output = u32;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<u32> {
        let row = transaction.row::<R>(self.job.id).await?;
        let Some(mut row) = row.filter(|row| self.job.is_mine(row.claim())) else { return Ok(0) };
        row.set_attempts(row.attempts() + 1);
        transaction.replace_row(self.job.id, &row).await?;
        Ok(row.attempts())
    }
}

struct LettingGo<'j, R> {
    job: &'j Job,
    row: std::marker::PhantomData<R>,
}

#[async_trait]
impl<R: Claimed> Work for LettingGo<'_, R> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        if let Some(mut row) = transaction.row::<R>(self.job.id).await?
            && self.job.is_mine(row.claim())
        {
            row.set_claim(None);
            transaction.replace_row(self.job.id, &row).await?;
        }
        Ok(())
    }
}

struct FailExport<'j> {
    job: &'j Job,
    message: String,
}

#[async_trait]
impl Work for FailExport<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        if let Some(row) = transaction.row::<ExportRow>(self.job.id).await?
            && row.state.is_under_way()
            && self.job.is_mine(row.claim)
        {
            let state = ExportState::Failed { message: self.message.clone() };
            transaction.replace_row(self.job.id, &ExportRow { state, claim: None, ..row }).await?;
        }
        Ok(())
    }
}

/// Lets go of the bytes of an export. What is left of one that was complete is forgotten with them.
struct Expire(DocumentId);

#[async_trait]
impl Work for Expire {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let Some(row) = transaction.row::<ExportRow>(self.0).await? else { return Ok(()) };
        if let Some(object) = row.object {
            transaction.set_object_state(object, FileState::Discarded).await?;
        }
        match row.state {
            ExportState::Completed { .. } => Ok(transaction.delete_row::<ExportRow>(self.0).await?),
            _ => Ok(transaction.replace_row(self.0, &ExportRow { object: None, ..row }).await?),
        }
    }
}

struct ForgetRow<R> {
    id: DocumentId,
    row: std::marker::PhantomData<R>,
}

impl<R> ForgetRow<R> {
    fn new(id: DocumentId) -> ForgetRow<R> {
        ForgetRow { id, row: std::marker::PhantomData }
    }
}

#[async_trait]
impl<R: Claimed> Work for ForgetRow<R> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        match transaction.row::<R>(self.id).await? {
            Some(row) if !row.wants_work() => Ok(transaction.delete_row::<R>(self.id).await?),
            _ => Ok(()),
        }
    }
}
