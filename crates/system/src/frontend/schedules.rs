//! What consoles show of scheduled functions. Those that are over are documents of `_scheduled_functions` like others.

use transaction::{Result, Transaction, UpcomingJob};
use value::{Object, Value, object};

use crate::arguments::{Arguments, wrong};

/// What waits for its time, the next one first: `{jobs, hasMore}`. Each job is its document with the time at which it is due
/// as `nextTs`, in milliseconds.
pub(super) async fn upcoming(transaction: &mut Transaction, arguments: &Arguments<'_>) -> Result<String> {
    let most = arguments.number("limit")?;
    if !(1.0..=1_000.0).contains(&most) {
        return Err(wrong("`limit` must be from 1 to 1000"));
    }
    let (jobs, has_more) = transaction.upcoming_jobs(most as usize).await?;
    let shown = |UpcomingJob { mut job, due_ms }: UpcomingJob| -> Object {
        job.insert("nextTs", due_ms);
        job
    };
    let jobs: Vec<Value> = jobs.into_iter().map(|job| Value::Object(shown(job))).collect();
    Ok(object! { "jobs" => jobs, "hasMore" => has_more }.to_json())
}
