//! Functions about cron jobs.

use transaction::{
    CronJobRow, CronNextRunRow, CronRunRow, Result, Transaction,
    system_tables::{CRON_JOBS_INDEX, CRON_RUNS_INDEX},
};
use value::{Object, Value};

/// The component's jobs by name, each with its last run as its log has it, and when it runs next; null where there is none.
pub(crate) async fn jobs(transaction: &mut Transaction) -> Result<String> {
    let prefix = [Value::from(transaction.component().to_string())];
    let mut jobs = transaction.row_documents::<CronJobRow>(CRON_JOBS_INDEX, &prefix).await?;
    let runs = transaction.row_documents::<CronRunRow>(CRON_RUNS_INDEX, &prefix).await?;
    let nexts = transaction.row_documents::<CronNextRunRow>("by_id", &[]).await?;
    for job in &mut jobs {
        let last = runs.iter().rev().find(|run| run.get("name") == job.get("name")).cloned();
        let next = nexts.iter().find(|next| next.get("cronJobId") == job.get("_id")).cloned();
        job.insert("lastRun", last);
        job.insert("nextRun", next);
    }
    Ok(list(jobs))
}

/// The last runs of the component's jobs, the latest first.
pub(crate) async fn runs(transaction: &mut Transaction) -> Result<String> {
    let prefix = [Value::from(transaction.component().to_string())];
    let mut runs = transaction.row_documents::<CronRunRow>(CRON_RUNS_INDEX, &prefix).await?;
    // Equal times keep their order by name.
    runs.sort_by_key(|run| std::cmp::Reverse(run.get("ts").and_then(Value::as_i64)));
    Ok(list(runs))
}

fn list(documents: Vec<Object>) -> String {
    Value::Array(documents.into_iter().map(Value::Object).collect()).to_json()
}
