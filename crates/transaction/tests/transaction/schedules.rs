//! Runs of what was scheduled, where the function leaves little room for saying what became of it.

use std::{sync::Arc, time::Duration};

use contract::CommitOutcome;
use serde_json::json;
use transaction::{
    Cancellation, ClaimLease, DueRow, DueRun, Holder, JobState, Limits, NewJob, RunEnd, ScheduledJobRow,
    Transaction, held_from,
};
use value::{ComponentId, DocumentId, Value, object};

use crate::common::{HOLDER, Store, index_query, json, take};

const NOW_MS: f64 = 1_700_000_000_000.0;

fn job(argument: &str) -> NewJob {
    NewJob {
        component: ComponentId::ROOT,
        function: "messages:send".parse().unwrap(),
        arguments: object! { "body" => argument },
        time_ms: NOW_MS,
        now_ms: NOW_MS,
        parent: None,
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

async fn state(store: &Store, job: DocumentId) -> JobState {
    let mut transaction = store.begin().await;
    transaction.row::<ScheduledJobRow>(job).await.unwrap().expect("it is kept").state
}

#[tokio::test]
async fn what_is_claimed_is_held_until_it_ends_and_nobody_else_begins_it() {
    let store = Store::new();
    let id = schedule(&store, "x").await;
    let run = store.claim_first().await;
    assert_eq!(state(&store, id).await, JobState::InProgress);
    let mut transaction = store.begin().await;
    let held = transaction.held_runs().await.unwrap();
    let [held] = &held[..] else { panic!("one is held") };
    assert_eq!((held.id, held.row.holder, held.row.due_ms), (run.id, Some(HOLDER), f64::INFINITY));
    let seen = transaction.due_run(run.id).await.unwrap().expect("it is there");
    assert_eq!(seen, run);
    assert!(!transaction.begin_run(&seen).await.unwrap());
    assert_eq!(transaction.claim_run(&seen, HOLDER, ClaimLease::Keep).await.unwrap(), None);

    assert!(transaction.end_claimed_run(&run, &end(Ok("7".into()))).await.unwrap());
    store.must_commit(transaction).await;
    assert_eq!(state(&store, id).await, JobState::Success);
    let mut transaction = store.begin().await;
    assert_eq!(transaction.held_runs().await.unwrap(), []);
    assert!(!transaction.end_claimed_run(&run, &end(Err("late".into()))).await.unwrap(), "it ends once");
    assert_eq!(state(&store, id).await, JobState::Success);
}

#[tokio::test]
async fn who_claims_has_a_lease_that_names_another_moment_after_each_renewal() {
    let store = Store::new();
    schedule(&store, "x").await;
    store.claim_first().await;
    let lease = async || store.begin().await.lease(HOLDER).await.unwrap();
    let mut moments = vec![lease().await.expect("it has begun")];
    for _ in 0..3 {
        let mut transaction = store.begin().await;
        transaction.renew_lease(HOLDER).await.unwrap();
        store.must_commit(transaction).await;
        moments.push(lease().await.expect("it goes on"));
    }
    assert!(moments.is_sorted_by(|earlier, later| earlier < later), "{moments:?}");

    let mut transaction = store.begin().await;
    transaction.end_lease(HOLDER, moments[2]).await.unwrap();
    store.must_commit(transaction).await;
    assert_eq!(lease().await, Some(moments[3]), "it was renewed after that");
    let mut ending = store.begin().await;
    ending.end_lease(HOLDER, moments[3]).await.unwrap();
    let mut renewing = store.begin().await;
    renewing.renew_lease(HOLDER).await.unwrap();
    store.must_commit(ending).await;
    let outcome = store.commit(renewing).await;
    assert!(!matches!(outcome, CommitOutcome::Committed { .. }), "one sees the other");
    assert_eq!(lease().await, None);
    let mut transaction = store.begin().await;
    transaction.renew_lease(HOLDER).await.unwrap();
    store.must_commit(transaction).await;
    assert!(lease().await > Some(moments[3]), "what begins anew is no earlier lease");
    assert_eq!(store.begin().await.leases().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_claim_renews_the_lease_that_nobody_renews_any_more() {
    let store = Store::new();
    schedule(&store, "x").await;
    let run = store.claim_first().await;
    let mut transaction = store.begin().await;
    assert!(transaction.end_claimed_run(&run, &end(Ok("7".into()))).await.unwrap());
    store.must_commit(transaction).await;
    let renewed = async || store.begin().await.leases().await.unwrap()[&HOLDER];
    let begun = renewed().await;
    for argument in ["y", "z"] {
        schedule(&store, argument).await;
    }
    let mut transaction = store.begin().await;
    let entry = transaction.rows::<DueRow>("by_due", &[]).await.unwrap()[0].id;
    let run = transaction.due_run(entry).await.unwrap().expect("it is there");
    assert!(transaction.claim_run(&run, HOLDER, ClaimLease::Renew).await.unwrap().is_some());
    store.must_commit(transaction).await;
    let again = renewed().await;
    assert!(again > begun, "{again:?} is later than {begun:?}");
    store.claim_first().await;
    assert_eq!(renewed().await, again, "others claim beside it without a change of the lease");
}

#[tokio::test]
async fn of_two_claims_one_commits() {
    let store = Store::new();
    schedule(&store, "x").await;
    let mut transactions = Vec::new();
    for boot in [1, 2] {
        let mut transaction = store.begin().await;
        let entry = transaction.rows::<DueRow>("by_due", &[]).await.unwrap()[0].id;
        let run = transaction.due_run(entry).await.unwrap().expect("it is there");
        let holder = Holder { boot: [boot; 16], ..HOLDER };
        assert!(transaction.claim_run(&run, holder, ClaimLease::Keep).await.unwrap().is_some());
        transactions.push(transaction);
    }
    let second = transactions.pop().expect("two");
    store.must_commit(transactions.pop().expect("two")).await;
    let outcome = store.commit(second).await;
    assert!(
        !matches!(outcome, CommitOutcome::Committed { .. }),
        "it has read what the first one has written"
    );
}

#[tokio::test]
async fn what_is_cancelled_while_it_runs_stays_cancelled_and_so_does_what_it_schedules() {
    let store = Store::new();
    let id = schedule(&store, "x").await;
    let run = store.claim_first().await;
    let child = |argument: &str| NewJob { parent: Some(id), ..job(argument) };
    let mut transaction = store.begin().await;
    let before = transaction.schedule(child("before")).await.unwrap();
    assert_eq!(transaction.cancel(&id.to_string(), NOW_MS).await.unwrap(), Cancellation::Canceled);
    let after = transaction.schedule(child("after")).await.unwrap();
    store.must_commit(transaction).await;
    assert_eq!(state(&store, id).await, JobState::Canceled);
    assert_eq!(state(&store, before).await, JobState::Pending);
    assert_eq!(state(&store, after).await, JobState::Canceled);

    let mut transaction = store.begin().await;
    let queue = transaction.rows::<DueRow>("by_due", &[]).await.unwrap();
    assert_eq!(queue.len(), 1, "that of what was scheduled before");
    assert!(!transaction.end_claimed_run(&run, &end(Ok("7".into()))).await.unwrap());
    assert_eq!(state(&store, id).await, JobState::Canceled);
    let row = transaction.row::<ScheduledJobRow>(after).await.unwrap().expect("it is kept");
    assert_eq!(row.completed_time_ms, Some(NOW_MS));
}

#[tokio::test]
async fn jobs_in_the_queue_are_listed_in_parts_and_by_their_function() {
    let store = Store::new();
    let mut ids = Vec::new();
    for argument in ["a", "b", "c", "d"] {
        ids.push(schedule(&store, argument).await);
    }
    store.claim_first().await;
    let mut transaction = store.begin().await;
    let function = "messages:send".parse().unwrap();
    let mut listed = Vec::new();
    let (mut end, mut parts) = (None, 0);
    loop {
        let part = transaction.queued_jobs(end, Some(&function), 2).await.unwrap();
        parts += 1;
        listed.extend(part.jobs);
        end = part.end;
        if end.is_none() {
            break;
        }
        assert!(parts < 10);
    }
    let held = *listed.last().expect("there are some");
    assert_eq!(state(&store, held).await, JobState::InProgress, "the one that runs comes last");
    listed.sort();
    ids.sort();
    assert_eq!(listed, ids);
    let other = "messages:list".parse().unwrap();
    assert_eq!(transaction.queued_jobs(None, Some(&other), 10).await.unwrap().jobs, []);
    assert_eq!(transaction.queued_jobs(None, None, 10).await.unwrap().jobs.len(), 4);
    assert_eq!(transaction.queued_jobs(Some(held_from()), None, 10).await.unwrap().jobs, [held]);
}
