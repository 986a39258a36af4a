//! Cancelling for those who look after a deployment.

use async_trait::async_trait;
use contract::{Error, JobsOf, Result, Schedules};
use system_transaction::Work;
use transaction::{Cancellation, Transaction, held_from};
use value::{ComponentId, ComponentPath, FunctionPath};

use crate::service::{Handle, Shared};

/// Rows of the queue's front, and of what is held, that are looked at and cancelled by one commit in the end.
const ROWS_AT_ONCE: usize = 64;

/// How often that is done, if others go on scheduling.
const TIMES_AT_ONCE_MAX: usize = 64;

#[async_trait]
impl Schedules for Handle {
    async fn cancel(&self, jobs: JobsOf, id: &str) -> Result<()> {
        self.0.cancel_jobs(&jobs, &[id.to_owned()]).await?;
        Ok(())
    }

    async fn cancel_all(&self, jobs: JobsOf, function: Option<&str>) -> Result<u64> {
        let shared = &self.0;
        let function: Option<FunctionPath> = function
            .map(str::parse)
            .transpose()
            .map_err(|error: value::ValueError| Error::bad_request(error.code(), error.to_string()))?;
        let (mut cancelled, mut end) = (0, None);
        loop {
            let mut transaction = shared.transactions.snapshot(jobs.deployment).await?;
            let component = component_of(&mut transaction, &jobs)?;
            transaction.enter(component);
            let part =
                transaction.queued_jobs(end, function.as_ref(), shared.limits.jobs_cancelled_max).await;
            let part = part.map_err(transaction::Error::of_the_system)?;
            drop(transaction);
            let ids: Vec<String> = part.jobs.into_iter().map(String::from).collect();
            cancelled += shared.cancel_jobs(&jobs, &ids).await?;
            end = part.end;
            if end.is_none() {
                break;
            }
        }
        // Functions that schedule themselves without a pause are never in a list for long.
        for _ in 0..TIMES_AT_ONCE_MAX {
            let now_ms = shared.clock.now_ms();
            let work = CancelAtOnce { jobs: &jobs, function: function.as_ref(), now_ms };
            match shared.transactions.transact(jobs.deployment, &work).await? {
                0 => break,
                more => cancelled += more,
            }
        }
        Ok(cancelled)
    }
}

impl Shared {
    /// In one commit; in several if that would be too large. How many were cancelled by it.
    async fn cancel_jobs(&self, jobs: &JobsOf, ids: &[String]) -> Result<u64> {
        let mut cancelled = 0;
        let mut parts = vec![ids];
        while let Some(ids) = parts.pop() {
            let work = Cancel { jobs, ids, now_ms: self.clock.now_ms() };
            match self.transactions.transact(jobs.deployment, &work).await {
                Ok(count) => cancelled += count,
                Err(system_transaction::Error::Operation(transaction::Error::User(_))) if ids.len() > 1 => {
                    let (first, second) = ids.split_at(ids.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(cancelled)
    }
}

fn component_of(transaction: &mut Transaction, jobs: &JobsOf) -> Result<ComponentId> {
    let component =
        jobs.component.parse::<ComponentPath>().ok().and_then(|path| transaction.component_at(&path));
    component.ok_or_else(|| {
        Error::bad_request("InvalidArgument", format!("There is no component `{}`.", jobs.component))
    })
}

struct Cancel<'c> {
    jobs: &'c JobsOf,
    ids: &'c [String],
    now_ms: f64,
}

#[async_trait]
impl Work for Cancel<'_> {
    type Output = u64;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<u64> {
        let component = component_of(transaction, self.jobs)?;
        transaction.enter(component);
        cancel(transaction, self.ids, self.now_ms).await
    }
}

/// Cancels what it finds in the queue at the moment of its commit.
struct CancelAtOnce<'c> {
    jobs: &'c JobsOf,
    function: Option<&'c FunctionPath>,
    now_ms: f64,
}

#[async_trait]
impl Work for CancelAtOnce<'_> {
    type Output = u64;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<u64> {
        let component = component_of(transaction, self.jobs)?;
        transaction.enter(component);
        let mut cancelled = 0;
        for from in [None, Some(held_from())] {
            let part = transaction.queued_jobs(from, self.function, ROWS_AT_ONCE).await?;
            let ids: Vec<String> = part.jobs.into_iter().map(String::from).collect();
            cancelled += cancel(transaction, &ids, self.now_ms).await?;
        }
        Ok(cancelled)
    }
}

/// How many of these jobs were not over.
async fn cancel(
    transaction: &mut Transaction,
    ids: &[String],
    now_ms: f64,
) -> system_transaction::Result<u64> {
    let mut cancelled = 0;
    for id in ids {
        if transaction.cancel(id, now_ms).await? == Cancellation::Canceled {
            cancelled += 1;
        }
    }
    Ok(cancelled)
}
