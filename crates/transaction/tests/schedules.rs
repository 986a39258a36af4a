//! Runs of what was scheduled, where the function leaves little room for saying what became of it.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Store, index_query, json, take};
use serde_json::json;
use transaction::{
    Cancellation, DueRow, DueRun, JobState, Limits, NewJob, RunEnd, ScheduledJobRow, Transaction,
};
use value::{ComponentId, DocumentId, Value, object};

const NOW_MS: f64 = 1_700_000_000_000.0;

fn job(argument: &str) -> NewJob {
    NewJob {
        component: ComponentId::ROOT,
        function: "messages:send".parse().unwrap(),
        arguments: object! { "body" => argument },
        time_ms: NOW_MS,
        now_ms: NOW_MS,
    }
}

fn end(result: Result<Arc<str>, String>) -> RunEnd {
    RunEnd { result, log_lines: Vec::new(), execution_time: Duration::ZERO, at_ms: NOW_MS }
}

async fn schedule(store: &Store, argument: &str) -> DocumentId {
    let mut transaction = store.begin().await;
    let id = transaction.schedule(job(argument)).await.unwrap();
    store.must_commit(transaction).await;
    id
}

/// Begins the run of the one job that is due.
async fn begin(transaction: &mut Transaction) -> DueRun {
    let [entry] = &transaction.rows::<DueRow>("by_due", &[]).await.unwrap()[..] else { panic!("one entry") };
    let run = transaction.due_run(entry.id).await.unwrap().expect("it is there");
    assert!(transaction.begin_run(&run).await.unwrap());
    run
}

async fn fail(store: &Store, mut transaction: Transaction, run: &DueRun) -> ScheduledJobRow {
    transaction.undo_writes();
    // As long as any that is kept.
    transaction.end_run(run, &end(Err("x".repeat(16 << 10)))).await.unwrap();
    store.must_commit(transaction).await;
    let mut transaction = store.begin().await;
    assert_eq!(transaction.rows::<DueRow>("by_due", &[]).await.unwrap(), []);
    let job = run.job_id().expect("it is a job");
    transaction.row::<ScheduledJobRow>(job).await.unwrap().expect("it is kept")
}

#[tokio::test]
async fn a_function_that_read_too_much_has_failed() {
    let mut limits = Limits::DEFAULT;
    limits.transaction.read_documents_max = 6;
    let store = Store::with_limits(limits);
    let mut transaction = store.begin().await;
    for n in 0..10 {
        transaction.insert("t", json(json!({"n": n}))).await.unwrap();
    }
    store.must_commit(transaction).await;
    schedule(&store, "x").await;

    let mut transaction = store.begin().await;
    let run = begin(&mut transaction).await;
    let all = index_query("t.by_creation_time", json!([]), "asc", json!([]));
    let error = take(&mut transaction, all, 10).await.unwrap_err();
    assert_eq!(error.code(), "TooManyDocumentsRead");
    // One that has caught it can still succeed.
    transaction.end_run(&run, &end(Ok("null".into()))).await.unwrap();
    let job = fail(&store, transaction, &run).await;
    assert!(matches!(job.state, JobState::Failed { .. }));
    assert_eq!(job.completed_time_ms, Some(NOW_MS));
}

#[tokio::test]
async fn a_function_that_cancelled_too_much_has_failed() {
    let mut limits = Limits::DEFAULT;
    limits.transaction.system_written_documents_max = 8;
    let store = Store::with_limits(limits);
    schedule(&store, "x").await;
    let mut transaction = store.begin().await;
    let run = begin(&mut transaction).await;
    let mut scheduled = Vec::new();
    let error = loop {
        match transaction.schedule(job("y")).await {
            Ok(id) => scheduled.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "TooManySystemWrites");
    let error = transaction.cancel(&scheduled[0].to_string(), NOW_MS).await.unwrap_err();
    assert_eq!(error.code(), "TooManySystemWrites");
    let job = fail(&store, transaction, &run).await;
    assert!(matches!(job.state, JobState::Failed { .. }));
    let mut transaction = store.begin().await;
    assert_eq!(transaction.row::<ScheduledJobRow>(scheduled[0]).await.unwrap(), None);
}

#[tokio::test]
async fn a_job_with_the_largest_arguments_can_fail() {
    let store = Store::new();
    let bytes_max = store.limits.transaction.scheduled_arguments_bytes_max;
    let overhead = object! { "body" => "" }.size_bytes();
    let mut transaction = store.begin().await;
    let error = transaction.schedule(job(&"x".repeat(bytes_max - overhead + 1))).await.unwrap_err();
    assert_eq!(error.code(), "ScheduledFunctionsArgumentsTooLarge");
    schedule(&store, &"x".repeat(bytes_max - overhead)).await;
    let mut transaction = store.begin().await;
    let run = begin(&mut transaction).await;
    assert_eq!(run.arguments.get("body").and_then(Value::as_str).map(str::len), Some(bytes_max - overhead));
    fail(&store, transaction, &run).await;
}

#[tokio::test]
async fn a_job_is_cancelled_by_its_own_id_and_no_other() {
    let store = Store::new();
    let id = schedule(&store, "x").await;
    let mut transaction = store.begin().await;
    let [entry] = &transaction.rows::<DueRow>("by_due", &[]).await.unwrap()[..] else { panic!("one entry") };
    assert_eq!(
        transaction.cancel(&entry.id.to_string(), NOW_MS).await.unwrap_err().code(),
        "InvalidArgument"
    );
    assert_eq!(transaction.cancel(&id.to_string(), NOW_MS).await.unwrap(), Cancellation::Canceled);
    assert_eq!(transaction.cancel(&id.to_string(), NOW_MS).await.unwrap(), Cancellation::Over);
    store.must_commit(transaction).await;
    let mut transaction = store.begin().await;
    assert!(transaction.due_run(entry.id).await.unwrap().is_none());
}
