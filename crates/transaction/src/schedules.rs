//! Functions that are to run later: jobs, and the queue of what is due. What is different for cron jobs is in `crons`.
//!
//! ```text
//!   schedule      job pending      + row in the queue
//!   cancel        job canceled     - row in the queue
//!   run           job inProgress (only the run itself sees it), then success or failed    - row in the queue
//!   claim         job inProgress   row in the queue is held by whoever runs it
//!   end of that   job success or failed    - row in the queue
//! ```
//!
//! A mutation is run in the transaction that takes its row out of the queue, so of two runs, or of a run and a cancellation, only one
//! commits. What runs outside of transactions (an action) is claimed before by a commit, and ended by another, unless it was
//! cancelled meanwhile: then it has no row any more.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use contract::{Interval, Order};
use value::{ComponentId, DocumentId, FunctionPath, Object, Value, key};

use crate::{
    ClaimLease, DueKind, DueRow, Error, Holder, JobState, Result, ScheduledJobRow, Stored, SystemTable,
    Transaction, crons::CronRun, documents::parse_id, scan::Scan, system_rows::stored_row,
    system_tables::DUE_INDEX,
};

/// A function to schedule. That it is there has been checked.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The component whose function it is.
    pub component: ComponentId,
    /// What is to run.
    pub function: FunctionPath,
    /// With what.
    pub arguments: Object,
    /// Not before this moment; milliseconds since the Unix epoch, as the function computed it.
    pub time_ms: f64,
    /// What the function sees as the time; milliseconds since the Unix epoch.
    pub now_ms: f64,
    /// The job in whose name the function runs that schedules it. If that has been cancelled, so is the new one from the beginning.
    pub parent: Option<DocumentId>,
}

/// What came of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// It will not run; or it is an action that runs, which goes on, and what it schedules from now on will not.
    Canceled,
    /// It runs in this very transaction, so it goes on.
    Running,
    /// It was over before, or its result is no longer kept.
    Over,
}

/// Something that is due, as it stands in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct DueRun {
    /// Of the row in the queue.
    pub id: DocumentId,
    /// The row.
    pub due: DueRow,
    /// What is to run.
    pub function: FunctionPath,
    /// With what.
    pub arguments: Object,
    /// The job, if it is a cron job.
    cron: Option<CronRun>,
}

/// How a run has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    /// What the function returned, as JSON; or what it threw, or why nothing could run.
    pub result: std::result::Result<Arc<str>, String>,
    /// What it printed. Only the log of a cron job keeps it.
    pub log_lines: Vec<String>,
    /// How long it ran.
    pub execution_time: Duration,
    /// When it ended; milliseconds since the Unix epoch.
    pub at_ms: f64,
}

impl DueRun {
    /// The document of `_scheduled_functions` that runs; `None` if it is a cron job.
    pub fn job_id(&self) -> Option<DocumentId> {
        match self.due.kind {
            DueKind::Job => Some(DocumentId::new(SystemTable::ScheduledJobs.number(), self.id.internal_id)),
            DueKind::Cron => None,
        }
    }
}

impl Transaction {
    /// Schedules a function; the id of its document in `_scheduled_functions` comes back.
    ///
    /// Fails with `InvalidScheduledFunctionDelay`, `TooManyFunctionsScheduled`, `ScheduledFunctionsArgumentsTooLarge`, and as
    /// documents do where the arguments are none.
    pub async fn schedule(&mut self, job: NewJob) -> Result<DocumentId> {
        let NewJob { component, function, arguments, time_ms, now_ms, parent } = job;
        let delay_ms_max = self.limits.transaction.scheduled_delay_ms_max;
        if !time_ms.is_finite() || (time_ms - now_ms).abs() > delay_ms_max as f64 {
            return Err(Error::user(
                "InvalidScheduledFunctionDelay",
                format!(
                    "a function can be scheduled at most {} days ahead or back",
                    delay_ms_max / (24 * 3_600_000)
                ),
            ));
        }
        // One zero, so that equal times have equal keys.
        let due_ms = time_ms + 0.0;
        let is_canceled = match parent {
            Some(parent) => {
                let parent = self.row::<ScheduledJobRow>(parent).await?;
                parent.is_some_and(|parent| parent.state == JobState::Canceled)
            }
            None => false,
        };
        let usage_before = self.usage;
        self.usage.functions_scheduled += 1;
        self.usage.scheduled_arguments_bytes += arguments.size_bytes();
        let scheduled = match self.check_usage() {
            Ok(()) => {
                let owner = self.component();
                let row = ScheduledJobRow {
                    component: owner,
                    function,
                    arguments,
                    scheduled_time_ms: due_ms,
                    completed_time_ms: is_canceled.then_some(now_ms),
                    state: if is_canceled { JobState::Canceled } else { JobState::Pending },
                };
                let due = DueRow { kind: DueKind::Job, component, owner, due_ms, failures: 0, holder: None };
                match is_canceled {
                    true => self.insert_row(&row).await,
                    false => self.insert_job(&row, &due).await,
                }
            }
            Err(error) => Err(error),
        };
        if scheduled.is_err() {
            self.usage = usage_before;
        }
        scheduled
    }

    /// Both rows or none.
    async fn insert_job(&mut self, row: &ScheduledJobRow, due: &DueRow) -> Result<DocumentId> {
        let mark = self.pending.mark();
        let id = self.insert_row(row).await?;
        if let Err(error) = self.insert_row_beside(id, due).await {
            self.pending.roll_back(mark);
            return Err(error);
        }
        Ok(id)
    }

    /// Cancels a job of the running function's component. Fails with `InvalidArgument` if the id is none of a job.
    pub async fn cancel(&mut self, id: &str, now_ms: f64) -> Result<Cancellation> {
        let id = parse_id(id)?;
        if id.table != SystemTable::ScheduledJobs.number() {
            let message = format!("the id {id} is not of the table `_scheduled_functions`");
            return Err(Error::user("InvalidArgument", message));
        }
        let component = self.component();
        let row = self.row::<ScheduledJobRow>(id).await?;
        let Some(row) = row.filter(|row| row.component == component) else { return Ok(Cancellation::Over) };
        match row.state {
            JobState::Pending => {}
            // What somebody holds runs elsewhere.
            JobState::InProgress => {
                let due = self.row::<DueRow>(due_id(id)).await?;
                if due.is_none_or(|due| due.holder.is_none()) {
                    return Ok(Cancellation::Running);
                }
            }
            JobState::Success | JobState::Failed { .. } | JobState::Canceled => {
                return Ok(Cancellation::Over);
            }
        }
        let canceled = ScheduledJobRow { state: JobState::Canceled, completed_time_ms: Some(now_ms), ..row };
        let mark = self.pending.mark();
        self.replace_row(id, &canceled).await?;
        if let Err(error) = self.delete_row::<DueRow>(due_id(id)).await {
            self.pending.roll_back(mark);
            return Err(error);
        }
        Ok(Cancellation::Canceled)
    }

    /// What a row of the queue says is to run; `None` if it is no longer there.
    pub async fn due_run(&mut self, id: DocumentId) -> Result<Option<DueRun>> {
        let Some(due) = self.row::<DueRow>(id).await? else { return Ok(None) };
        Ok(Some(match due.kind {
            DueKind::Job => {
                let job =
                    self.job(DocumentId::new(SystemTable::ScheduledJobs.number(), id.internal_id)).await?;
                DueRun { id, due, function: job.function, arguments: job.arguments, cron: None }
            }
            DueKind::Cron => {
                let run = self.cron_run(id).await?;
                let (function, arguments) = (run.function().clone(), run.arguments()?);
                DueRun { id, due, function, arguments, cron: Some(run) }
            }
        }))
    }

    /// Begins the run of something that is due: from here on the transaction sees a job running. `false` if that can't be, because
    /// it no longer stands in the queue as it did.
    pub async fn begin_run(&mut self, run: &DueRun) -> Result<bool> {
        if run.due.holder.is_some() || self.row::<DueRow>(run.id).await?.as_ref() != Some(&run.due) {
            return Ok(false);
        }
        if let Some(job) = run.job_id() {
            self.set_job_state(job, JobState::InProgress, None).await?;
        }
        Ok(true)
    }

    /// Claims something that is due: once that is committed, the holder runs it, and nobody else. What comes back is to be given to
    /// [`Transaction::end_claimed_run`]; `None` if it no longer stands in the queue as it did.
    pub async fn claim_run(
        &mut self,
        run: &DueRun,
        holder: Holder,
        lease: ClaimLease,
    ) -> Result<Option<DueRun>> {
        if !self.begin_run(run).await? {
            return Ok(None);
        }
        if let Some(cron) = &run.cron {
            self.begin_claimed_cron_run(cron).await?;
        }
        match lease {
            ClaimLease::Renew => self.renew_lease(holder).await?,
            ClaimLease::Keep => self.begin_lease(holder).await?,
        }
        let due = DueRow { due_ms: f64::INFINITY, holder: Some(holder), ..run.due.clone() };
        self.replace_row(run.id, &due).await?;
        Ok(Some(DueRun { due, ..run.clone() }))
    }

    /// Ends the run of what was claimed. `false` if that is over: it was cancelled meanwhile, has failed because its holder seemed to
    /// be gone, or is no more.
    pub async fn end_claimed_run(&mut self, run: &DueRun, end: &RunEnd) -> Result<bool> {
        if self.row::<DueRow>(run.id).await?.as_ref() != Some(&run.due) {
            return Ok(false);
        }
        // Its holder may have claimed the next run of the same cron job meanwhile.
        if let Some(cron) = &run.cron
            && !self.cron_run(run.id).await?.follows_the_same_as(cron)
        {
            return Ok(false);
        }
        self.end_run(run, end).await?;
        Ok(true)
    }

    /// The rows of the queue that somebody has claimed.
    pub async fn held_runs(&mut self) -> Result<Vec<Stored<DueRow>>> {
        self.rows(DUE_INDEX, &[Value::Float64(f64::INFINITY)]).await
    }

    /// Ends the run that this transaction has begun. What the function has written must have been undone if it failed
    /// ([`Transaction::undo_writes`]).
    pub async fn end_run(&mut self, run: &DueRun, end: &RunEnd) -> Result<()> {
        if let Some(cron) = &run.cron {
            return self.end_cron_run(cron, end).await;
        }
        if let Some(job) = run.job_id() {
            let state = match &end.result {
                Ok(_) => JobState::Success,
                Err(error) => JobState::Failed { error: error.clone() },
            };
            self.set_job_state(job, state, Some(end.at_ms)).await?;
        }
        self.delete_row::<DueRow>(run.id).await
    }

    async fn job(&mut self, id: DocumentId) -> Result<ScheduledJobRow> {
        let job = self.row::<ScheduledJobRow>(id).await?;
        job.ok_or_else(|| Error::stored(format!("the queue names the job {id}, which is not there")))
    }

    async fn set_job_state(
        &mut self,
        id: DocumentId,
        state: JobState,
        completed_time_ms: Option<f64>,
    ) -> Result<()> {
        let row = self.job(id).await?;
        self.replace_row(id, &ScheduledJobRow { state, completed_time_ms, ..row }).await
    }

    /// Puts off what could not be run: to `due_ms`, or later by as little as can be if that is when it was due. Returns whether
    /// it still stood in the queue as `seen`.
    pub async fn postpone_run(&mut self, id: DocumentId, seen: &DueRow, due_ms: f64) -> Result<bool> {
        if self.row::<DueRow>(id).await?.as_ref() != Some(seen) {
            return Ok(false);
        }
        let due_ms = if due_ms == seen.due_ms { due_ms.next_up() } else { due_ms };
        let failures = seen.failures.saturating_add(1);
        self.replace_row(id, &DueRow { due_ms, failures, ..seen.clone() }).await?;
        Ok(true)
    }

    /// Jobs of the running function's component that stand in the queue, wherever they run: those that wait, in the order of their
    /// times, and behind them those that somebody holds; those among the next `rows_max` rows. `after` is where an earlier part has
    /// ended; `function` leaves out those of others.
    pub async fn queued_jobs(
        &mut self,
        after: Option<Bytes>,
        function: Option<&FunctionPath>,
        rows_max: usize,
    ) -> Result<QueuedJobs> {
        let table = SystemTable::DueRuns;
        let interval = Interval { start: after.unwrap_or_default(), end: None };
        let mut scan = Scan::new(
            table.table(),
            table.index(DUE_INDEX).id,
            interval,
            Order::Ascending,
            rows_max,
            rows_max,
        );
        let owner = self.component();
        let mut part = QueuedJobs { jobs: Vec::new(), end: None };
        for _ in 0..rows_max {
            let Some((key, document)) = scan.next(self).await? else {
                return Ok(QueuedJobs { end: None, ..part });
            };
            part.end = Some(key::successor(&key).into());
            let Stored { id, row } = stored_row::<DueRow>(&document)?;
            if row.kind != DueKind::Job || row.owner != owner {
                continue;
            }
            let id = DocumentId::new(SystemTable::ScheduledJobs.number(), id.internal_id);
            if let Some(function) = function
                && self.job(id).await?.function != *function
            {
                continue;
            }
            part.jobs.push(id);
        }
        Ok(part)
    }

    /// Deletes the oldest results of jobs that ended before `before_ms`: at most `rows_max`. Returns whether there may be more.
    pub async fn delete_results_before(&mut self, before_ms: f64, rows_max: usize) -> Result<bool> {
        let bound = |time_ms| key::encode(&[Some(&Value::Float64(time_ms))]).into();
        let interval = Interval { start: bound(f64::NEG_INFINITY), end: Some(bound(before_ms)) };
        self.delete_rows_in(SystemTable::ScheduledJobs, COMPLETED_INDEX, interval, rows_max).await
    }
}

const COMPLETED_INDEX: &str = "by_completed_time";

/// A part of the jobs in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedJobs {
    /// Their ids in `_scheduled_functions`.
    pub jobs: Vec<DocumentId>,
    /// Where the next part begins; `None` after the last.
    pub end: Option<Bytes>,
}

/// From this key of the queue's index on, what stands there is held: nobody is to begin it.
pub fn held_from() -> Bytes {
    key::encode(&[Some(&Value::Float64(f64::INFINITY))]).into()
}

/// Of the row in the queue that a job has while it waits.
pub(crate) fn due_id(job: DocumentId) -> DocumentId {
    DocumentId::new(SystemTable::DueRuns.number(), job.internal_id)
}
