//! Cron jobs: what a push makes of them, and how a run moves on to the next.
//!
//! ```text
//!   push adds       job    + when it runs next    + row in the queue
//!   run             its log grows                 row in the queue moves to the next time
//!   claim           it is running                 row in the queue is held until the action has ended
//!   push changes    job changes                   row in the queue moves, so that a run under way conflicts
//!   push deletes    job, its log, when it runs next and the row in the queue go
//! ```

use std::sync::Arc;

use cron::{CronSpec, NextRun, Timetable, UnixMs};
use value::{ComponentId, DocumentId, FunctionPath, Object, Value};

use crate::{
    CronJobRow, CronNextRunRow, CronOutcome, CronRunRow, DueKind, DueRow, Error, Result, SystemTable,
    Transaction,
    limits::CronLimits,
    schedules::RunEnd,
    system_tables::{CRON_JOBS_INDEX, CRON_RUNS_INDEX, Stored},
};

/// The cron jobs that a push has changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CronChanges {
    /// Were not there before.
    pub added: Vec<String>,
    /// Run something else, or at other times.
    pub updated: Vec<String>,
    /// Are there no more.
    pub deleted: Vec<String>,
}

/// The run of a cron job that is due.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CronRun {
    job: CronJobRow,
    next: CronNextRunRow,
}

impl CronRun {
    pub(crate) fn function(&self) -> &FunctionPath {
        self.job.function()
    }

    /// Whether both come after the same run: then they are one, though a push may have changed what comes next.
    pub(crate) fn follows_the_same_as(&self, other: &CronRun) -> bool {
        self.next.previous == other.next.previous
    }

    /// With what it is called.
    pub(crate) fn arguments(&self) -> Result<Object> {
        let broken =
            |reason: String| Error::stored(format!("the cron job `{}`: {reason}", self.job.spec().name));
        match Value::from_json(&self.job.spec().arguments.to_string()) {
            Ok(Value::Array(mut arguments)) => match arguments.pop() {
                Some(Value::Object(arguments)) => Ok(arguments),
                _ => Err(broken("its arguments are no object".to_owned())),
            },
            Ok(_) => Err(broken("its arguments are no array".to_owned())),
            Err(error) => Err(broken(error.to_string())),
        }
    }
}

impl Transaction {
    /// Makes these the cron jobs of a component.
    pub async fn change_crons(
        &mut self,
        component: ComponentId,
        pushed: Vec<CronJobRow>,
    ) -> Result<CronChanges> {
        let now = moment(self.now_ms() as f64);
        let prefix = [Value::from(component.to_string())];
        let deployed = self.rows::<CronJobRow>(CRON_JOBS_INDEX, &prefix).await?;
        let before: Vec<CronSpec> = deployed.iter().map(|job| job.row.spec().clone()).collect();
        let after: Vec<CronSpec> = pushed.iter().map(|job| job.spec().clone()).collect();
        let row = |spec: &CronSpec| {
            let row = pushed.iter().find(|job| job.spec().name == spec.name);
            row.expect("what is compared comes from these").clone()
        };
        let id_of = |spec: &CronSpec| {
            let job = deployed.iter().find(|job| job.row.spec().name == spec.name);
            job.expect("what is compared comes from these").id
        };
        let limits = self.limits.cron;
        let changes = cron::compare(&before, &after);
        for spec in &changes.added {
            let id = self.insert_row(&row(spec)).await?;
            let first = timetable(spec, id, &limits).first_run(now);
            self.set_next_cron_run(component, id, None, first).await?;
        }
        for (old, new) in &changes.updated {
            let id = id_of(new);
            self.replace_row(id, &row(new)).await?;
            let next = self.row::<CronNextRunRow>(beside(id, SystemTable::CronNextRun)).await?;
            let at = match next {
                Some(next) if old.schedule == new.schedule => Some(next.next),
                Some(next) => {
                    let old = timetable(old, id, &limits);
                    timetable(new, id, &limits).run_after_change(&old, next.next, now)
                }
                None => timetable(new, id, &limits).first_run(now),
            };
            self.set_next_cron_run(component, id, None, at).await?;
        }
        for spec in &changes.deleted {
            let id = id_of(spec);
            self.delete_row::<CronJobRow>(id).await?;
            self.set_next_cron_run(component, id, None, None).await?;
            for run in self.cron_runs(component, &spec.name).await? {
                self.delete_row::<CronRunRow>(run.id).await?;
            }
        }
        let names = |specs: &[&CronSpec]| specs.iter().map(|spec| spec.name.clone()).collect();
        Ok(CronChanges {
            added: names(&changes.added),
            updated: changes.updated.iter().map(|(_, spec)| spec.name.clone()).collect(),
            deleted: names(&changes.deleted),
        })
    }

    /// Says that a job has run, if it has, and when it runs next, in the queue, too: `None` if it does not any more. Whoever waits for
    /// the run that was to come next hears of it, also where the time stays.
    async fn set_next_cron_run(
        &mut self,
        component: ComponentId,
        job: DocumentId,
        ran: Option<UnixMs>,
        at: Option<UnixMs>,
    ) -> Result<()> {
        let (next_id, due_id) = (beside(job, SystemTable::CronNextRun), beside(job, SystemTable::DueRuns));
        let next = self.row::<CronNextRunRow>(next_id).await?;
        let due = self.row::<DueRow>(due_id).await?;
        let Some(at) = at else {
            if next.is_some() {
                self.delete_row::<CronNextRunRow>(next_id).await?;
            }
            if due.is_some() {
                self.delete_row::<DueRow>(due_id).await?;
            }
            return Ok(());
        };
        let due_ms = at.as_milliseconds() as f64;
        let row =
            DueRow { kind: DueKind::Cron, component, owner: component, due_ms, failures: 0, holder: None };
        // What runs outside of a transaction comes to its end first, and moves on to this time itself.
        let is_running = ran.is_none() && due.as_ref().is_some_and(|due| due.holder.is_some());
        match due {
            Some(_) if is_running => {}
            Some(old) if old.due_ms == due_ms => {
                self.replace_row(due_id, &DueRow { due_ms: due_ms.next_up(), ..row }).await?;
            }
            Some(_) => self.replace_row(due_id, &row).await?,
            None => self.insert_row_beside(job, &row).await?,
        }
        let previous = ran.or(next.as_ref().and_then(|next| next.previous));
        let row = CronNextRunRow { job, previous, next: at, is_running };
        match next {
            Some(_) => self.replace_row(next_id, &row).await,
            None => self.insert_row_beside(job, &row).await,
        }
    }

    /// The job that an entry of the queue is about.
    pub(crate) async fn cron_run(&mut self, entry: DocumentId) -> Result<CronRun> {
        let job_id = beside(entry, SystemTable::CronJobs);
        let job = self.row::<CronJobRow>(job_id).await?;
        let next = self.row::<CronNextRunRow>(beside(entry, SystemTable::CronNextRun)).await?;
        let (Some(job), Some(next)) = (job, next) else {
            return Err(Error::stored(format!("the queue names the cron job {job_id}, which is not there")));
        };
        Ok(CronRun { job, next })
    }

    /// Shows that an action is under way for a job.
    pub(crate) async fn begin_claimed_cron_run(&mut self, run: &CronRun) -> Result<()> {
        let next = CronNextRunRow { is_running: true, ..run.next.clone() };
        self.replace_row(beside(run.next.job, SystemTable::CronNextRun), &next).await
    }

    /// Enters a run into the log of its job, and moves on to the next.
    pub(crate) async fn end_cron_run(&mut self, run: &CronRun, end: &RunEnd) -> Result<()> {
        let (job, limits) = (&run.job, self.limits.cron);
        let spec = job.spec();
        let at = run.next.next;
        let (log_lines, log_is_cut) = kept_lines(&end.log_lines, limits.run_chars_max);
        let row = CronRunRow {
            component: job.component,
            name: spec.name.clone(),
            at,
            function: job.function().clone(),
            arguments: spec.arguments.clone(),
            outcome: outcome(&end.result, limits.run_chars_max),
            log_lines,
            log_is_cut,
            execution_time_s: end.execution_time.as_secs_f64(),
        };
        self.insert_row(&row).await?;
        // A push may have changed the job while its action ran.
        let now = self.cron_run(run.next.job).await?;
        let table = timetable(now.job.spec(), run.next.job, &limits);
        let next = match now.next.next == at {
            true => table.next_run(at, moment(end.at_ms)),
            false => Some(NextRun { at: now.next.next, skipped: 0 }),
        };
        if let Some(next) = next
            && next.skipped > 0
        {
            let first = table.next_run(at, at).map_or(at, |first| first.at);
            let row = CronRunRow {
                at: first,
                outcome: CronOutcome::Canceled(next.skipped),
                log_lines: Vec::new(),
                log_is_cut: false,
                execution_time_s: 0.0,
                ..row
            };
            self.insert_row(&row).await?;
        }
        let runs = self.cron_runs(job.component, &spec.name).await?;
        for old in &runs[..runs.len().saturating_sub(limits.runs_kept_max)] {
            self.delete_row::<CronRunRow>(old.id).await?;
        }
        self.set_next_cron_run(job.component, run.next.job, Some(at), next.map(|next| next.at)).await
    }

    /// Moves the jobs whose time has come on to their next run after now, without a run.
    pub(crate) async fn leave_out_due_cron_runs(&mut self) -> Result<()> {
        let (now, limits) = (moment(self.now_ms() as f64), self.limits.cron);
        for Stored { row: next, .. } in self.rows::<CronNextRunRow>("by_id", &[]).await? {
            if next.next > now || next.is_running {
                continue;
            }
            let Some(job) = self.row::<CronJobRow>(next.job).await? else { continue };
            let following = timetable(job.spec(), next.job, &limits).next_run(next.next, now);
            self.set_next_cron_run(job.component, next.job, None, following.map(|next| next.at)).await?;
        }
        Ok(())
    }

    /// The runs of a job that its log keeps, the oldest first.
    async fn cron_runs(&mut self, component: ComponentId, name: &str) -> Result<Vec<Stored<CronRunRow>>> {
        self.rows(CRON_RUNS_INDEX, &[Value::from(component.to_string()), Value::from(name)]).await
    }
}

/// The row of another table that belongs to the same job.
fn beside(id: DocumentId, table: SystemTable) -> DocumentId {
    DocumentId::new(table.number(), id.internal_id)
}

/// A job's place in the spread is its id's.
fn timetable(spec: &CronSpec, id: DocumentId, limits: &CronLimits) -> Timetable {
    let draw = id.internal_id.as_bytes().first_chunk().map_or(0, |draw| u64::from_be_bytes(*draw));
    Timetable::new(spec.schedule.clone(), draw, limits.splay_seconds)
}

/// Whole milliseconds of what a clock shows.
fn moment(milliseconds: f64) -> UnixMs {
    UnixMs::new(milliseconds as u64).unwrap_or(UnixMs::MAX)
}

/// How deep a result may nest that its row holds as a value, three levels down.
const RESULT_NESTING_MAX: usize = value::VALUE_NESTING_MAX - 3;

fn outcome(result: &std::result::Result<Arc<str>, String>, chars_max: usize) -> CronOutcome {
    match result {
        Ok(json) => match Value::from_json(json) {
            Ok(value) if json.chars().count() <= chars_max && value.nesting() <= RESULT_NESTING_MAX => {
                CronOutcome::Success(value)
            }
            _ => CronOutcome::LongSuccess(json.chars().take(chars_max).collect()),
        },
        Err(error) => CronOutcome::Failed(error.chars().take(chars_max).collect()),
    }
}

/// The first lines, up to so many characters together; whether there were more.
fn kept_lines(lines: &[String], chars_max: usize) -> (Vec<String>, bool) {
    let mut left = chars_max;
    let mut kept = Vec::new();
    for line in lines {
        let chars = line.chars().count();
        if chars > left {
            if left > 0 {
                kept.push(line.chars().take(left).collect());
            }
            return (kept, true);
        }
        left -= chars;
        kept.push(line.clone());
    }
    (kept, false)
}
