//! Cron jobs over pushes and runs.

use std::{sync::Arc, time::Duration};

use cron::CronSpec;
use serde_json::json;
use transaction::{
    CronChanges, CronJobRow, CronNextRunRow, CronOutcome, CronRunRow, DueKind, DueRow, DueRun, RunEnd,
    Transaction,
};
use value::{ComponentId, Value};

use crate::common::{HOLDER, Store};

/// The store's clock begins here, and goes on by a millisecond with each transaction.
const START_MS: f64 = 1_700_000_000_000.0;

fn job(name: &str, schedule: serde_json::Value) -> CronJobRow {
    job_of(name, "messages:send", schedule)
}

fn job_of(name: &str, function: &str, schedule: serde_json::Value) -> CronJobRow {
    let json = json!({"name": function, "args": [{"job": name}], "schedule": schedule});
    CronJobRow::new(ComponentId::ROOT, CronSpec::from_json(name, &json).unwrap()).unwrap()
}

fn each_minutes(minutes: u32) -> serde_json::Value {
    json!({"type": "interval", "minutes": minutes})
}

async fn push(store: &Store, jobs: &[CronJobRow]) -> CronChanges {
    let mut transaction = store.begin().await;
    let changes = transaction.change_crons(ComponentId::ROOT, jobs.to_vec()).await.unwrap();
    store.must_commit(transaction).await;
    changes
}

/// Milliseconds after the start, rounded down to seconds; the clock of the store moves while a test runs.
fn seconds(milliseconds: f64) -> f64 {
    ((milliseconds - START_MS) / 1e3).floor()
}

async fn queue(store: &Store) -> Vec<DueRow> {
    let mut transaction = store.begin().await;
    let rows = transaction.rows::<DueRow>("by_due", &[]).await.unwrap();
    rows.into_iter().map(|stored| stored.row).collect()
}

async fn log(store: &Store) -> Vec<CronRunRow> {
    let mut transaction = store.begin().await;
    let rows = transaction.rows::<CronRunRow>("by_component_name_and_ts", &[]).await.unwrap();
    rows.into_iter().map(|stored| stored.row).collect()
}

async fn next_runs(store: &Store) -> Vec<CronNextRunRow> {
    let mut transaction = store.begin().await;
    let rows = transaction.rows::<CronNextRunRow>("by_id", &[]).await.unwrap();
    rows.into_iter().map(|stored| stored.row).collect()
}

async fn begin(transaction: &mut Transaction) -> DueRun {
    let rows = transaction.rows::<DueRow>("by_due", &[]).await.unwrap();
    let run = transaction.due_run(rows.first().expect("one is due").id).await.unwrap().expect("it is there");
    assert!(transaction.begin_run(&run).await.unwrap());
    assert_eq!(run.job_id(), None);
    run
}

/// Runs what is due first, which ends so many seconds after the start.
async fn run(store: &Store, result: Result<&str, &str>, log_lines: &[String], at_s: f64) {
    let mut transaction = store.begin().await;
    let run = begin(&mut transaction).await;
    let end = RunEnd {
        result: result.map(Arc::from).map_err(str::to_owned),
        log_lines: log_lines.to_vec(),
        execution_time: Duration::from_millis(250),
        at_ms: START_MS + at_s * 1e3,
    };
    transaction.end_run(&run, &end).await.unwrap();
    store.must_commit(transaction).await;
}

#[tokio::test]
async fn an_interval_begins_with_its_push_and_keeps_its_beat() {
    let store = Store::new();
    let changes = push(&store, &[job("tidy", each_minutes(1))]).await;
    assert_eq!(changes, CronChanges { added: vec!["tidy".to_owned()], ..CronChanges::default() });
    let [first] = &queue(&store).await[..] else { panic!("one entry") };
    assert_eq!((first.kind, seconds(first.due_ms)), (DueKind::Cron, 0.0));

    run(&store, Ok("7"), &["[LOG] 'hi'".to_owned()], 2.0).await;
    let [second] = &queue(&store).await[..] else { panic!("one entry") };
    assert_eq!(second.due_ms, first.due_ms + 60_000.0, "counted from when it was due, not from when it ran");
    let [next] = &next_runs(&store).await[..] else { panic!("one row") };
    assert_eq!(next.previous.map(|at| at.as_milliseconds() as f64), Some(first.due_ms));
    assert_eq!(next.next.as_milliseconds() as f64, second.due_ms);
    let [kept] = &log(&store).await[..] else { panic!("one run") };
    assert_eq!((kept.name.as_str(), kept.at.as_milliseconds() as f64), ("tidy", first.due_ms));
    assert_eq!(kept.outcome, CronOutcome::Success(Value::Float64(7.0)));
    assert_eq!(kept.arguments, json!([{"job": "tidy"}]));
    assert_eq!((&kept.log_lines[..], kept.log_is_cut), (&["[LOG] 'hi'".to_owned()][..], false));
    assert_eq!(kept.execution_time_s, 0.25);
}

#[tokio::test]
async fn runs_whose_time_has_passed_are_left_out_and_counted() {
    let store = Store::new();
    push(&store, &[job("tidy", each_minutes(1))]).await;
    let first = queue(&store).await[0].due_ms;
    // The server was away for ten minutes and a half.
    run(&store, Err("Uncaught Error: late"), &[], 630.0).await;
    assert_eq!(queue(&store).await[0].due_ms, first + 660_000.0);
    let runs = log(&store).await;
    let outcomes: Vec<&CronOutcome> = runs.iter().map(|run| &run.outcome).collect();
    assert_eq!(
        outcomes,
        [&CronOutcome::Failed("Uncaught Error: late".to_owned()), &CronOutcome::Canceled(10)]
    );
    assert_eq!(runs[1].at.as_milliseconds() as f64, first + 60_000.0, "the first that was left out");
}

#[tokio::test]
async fn a_log_keeps_the_last_runs_and_little_of_each() {
    let store = Store::new();
    push(&store, &[job("tidy", each_minutes(1)), job("other", each_minutes(60 * 24))]).await;
    let long = "x".repeat(3_000);
    for minute in 0..9_u32 {
        let result = serde_json::to_string(&long).unwrap();
        let lines = [format!("[LOG] {minute}"), long.clone()];
        run(&store, Ok(&result), &lines, f64::from(minute) * 60.0).await;
    }
    let runs = log(&store).await;
    let of_tidy: Vec<&CronRunRow> = runs.iter().filter(|run| run.name == "tidy").collect();
    assert_eq!(of_tidy.len(), store.limits.cron.runs_kept_max);
    assert_eq!(runs.iter().filter(|run| run.name == "other").count(), 1);
    let last = of_tidy.last().expect("some");
    let CronOutcome::LongSuccess(text) = &last.outcome else { panic!("{:?}", last.outcome) };
    assert_eq!((text.len(), &text[..2]), (store.limits.cron.run_chars_max, "\"x"));
    assert!(last.log_is_cut);
    let kept_chars: usize = last.log_lines.iter().map(String::len).sum();
    assert_eq!((last.log_lines.len(), kept_chars), (2, store.limits.cron.run_chars_max));
}

#[tokio::test]
async fn a_result_that_nests_as_deep_as_values_may_is_kept_as_text() {
    let store = Store::new();
    push(&store, &[job("tidy", each_minutes(1))]).await;
    let deepest = format!("{}{}", "[".repeat(64), "]".repeat(64));
    assert!(Value::from_json(&deepest).is_ok());
    run(&store, Ok(&deepest), &[], 0.0).await;
    assert_eq!(log(&store).await[0].outcome, CronOutcome::LongSuccess(deepest));
}

#[tokio::test]
async fn a_push_changes_what_is_different_and_leaves_the_rest() {
    let store = Store::new();
    push(&store, &[job("a", each_minutes(1)), job("b", each_minutes(2)), job("c", each_minutes(3))]).await;
    for _ in 0..3 {
        run(&store, Ok("null"), &[], 1.0).await;
    }
    let before = queue(&store).await;
    let same =
        push(&store, &[job("a", each_minutes(1)), job("b", each_minutes(2)), job("c", each_minutes(3))])
            .await;
    assert_eq!(same, CronChanges::default());
    assert_eq!(queue(&store).await, before);

    let jobs = [
        job_of("a", "messages:other", each_minutes(1)),
        job("c", each_minutes(5)),
        job("d", each_minutes(4)),
    ];
    let changes = push(&store, &jobs).await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        changes,
        CronChanges { added: names(&["d"]), updated: names(&["a", "c"]), deleted: names(&["b"]) }
    );
    let after = queue(&store).await;
    // What has a new schedule begins anew.
    assert_eq!(after.iter().map(|due| seconds(due.due_ms)).collect::<Vec<_>>(), [0.0, 0.0, 60.0]);
    let a = after.last().expect("three");
    assert_eq!(a.due_ms, before[0].due_ms.next_up(), "whoever waits for it must hear that it is another job");
    let kept: Vec<String> = log(&store).await.into_iter().map(|run| run.name).collect();
    assert_eq!(kept, ["a", "c"], "the log of a job goes with it");

    assert_eq!(push(&store, &[]).await.deleted, names(&["a", "c", "d"]));
    assert_eq!((queue(&store).await, log(&store).await, next_runs(&store).await), (vec![], vec![], vec![]));
}

#[tokio::test]
async fn of_a_push_and_a_run_of_what_it_changes_only_one_commits() {
    for jobs in [vec![], vec![job_of("a", "messages:other", each_minutes(1))]] {
        let store = Store::new();
        push(&store, &[job("a", each_minutes(1))]).await;
        let mut transaction = store.begin().await;
        let run = begin(&mut transaction).await;
        push(&store, &jobs).await;
        let end = RunEnd {
            result: Ok("null".into()),
            log_lines: Vec::new(),
            execution_time: Duration::ZERO,
            at_ms: START_MS,
        };
        transaction.end_run(&run, &end).await.unwrap();
        assert!(matches!(store.commit(transaction).await, contract::CommitOutcome::Conflict(_)));
        let mut again = store.begin().await;
        assert!(!again.begin_run(&run).await.unwrap(), "it is not in the queue as it was");
    }
}

#[tokio::test]
async fn what_was_put_off_runs_later_and_the_next_run_comes_when_it_would_have() {
    let store = Store::new();
    push(&store, &[job("tidy", each_minutes(1))]).await;
    let due = queue(&store).await[0].due_ms;
    let mut transaction = store.begin().await;
    let [entry] = &transaction.rows::<DueRow>("by_due", &[]).await.unwrap()[..] else { panic!("one entry") };
    assert!(transaction.postpone_run(entry.id, &entry.row, due + 500.0).await.unwrap());
    store.must_commit(transaction).await;
    assert_eq!(next_runs(&store).await[0].next.as_milliseconds() as f64, due);
    run(&store, Ok("null"), &[], 1.0).await;
    let [next] = &queue(&store).await[..] else { panic!("one entry") };
    assert_eq!((next.due_ms, next.failures), (due + 60_000.0, 0));
    assert_eq!(log(&store).await[0].at.as_milliseconds() as f64, due);
}

#[tokio::test]
async fn a_time_of_day_is_within_the_splay_behind_it_and_stays_there() {
    let store = Store::new();
    push(&store, &[job("daily", json!({"type": "daily", "hourUTC": 3, "minuteUTC": 30}))]).await;
    let time_of_day_s = |due: &DueRow| (due.due_ms / 1e3) % 86_400.0 - (3.5 * 3_600.0);
    let first = queue(&store).await.remove(0);
    assert!((0.0..60.0).contains(&time_of_day_s(&first)), "{}", time_of_day_s(&first));
    // It runs an hour too late; the next day it doesn't.
    run(&store, Ok("null"), &[], (first.due_ms - START_MS) / 1e3 + 3_600.0).await;
    let second = queue(&store).await.remove(0);
    assert_eq!(second.due_ms, first.due_ms + 86_400_000.0);
    assert_eq!(log(&store).await.len(), 1, "days are left out without being counted");
}

/// The end of a claimed run, so many seconds after the start; whether it was entered.
async fn end_claimed(store: &Store, run: &DueRun, at_s: f64) -> bool {
    let end = RunEnd {
        result: Ok(Arc::from("null")),
        log_lines: Vec::new(),
        execution_time: Duration::from_secs(1),
        at_ms: START_MS + at_s * 1e3,
    };
    let mut transaction = store.begin().await;
    let entered = transaction.end_claimed_run(run, &end).await.unwrap();
    store.must_commit(transaction).await;
    entered
}

#[tokio::test]
async fn a_job_that_is_claimed_does_not_come_again_before_it_has_ended() {
    let store = Store::new();
    push(&store, &[job("slow", each_minutes(1))]).await;
    let first = queue(&store).await[0].due_ms;
    let run = store.claim_first().await;
    assert!(next_runs(&store).await[0].is_running);
    let [held] = &queue(&store).await[..] else { panic!("one entry") };
    assert_eq!((held.due_ms, held.holder), (f64::INFINITY, Some(HOLDER)));
    assert_eq!(log(&store).await, []);

    assert!(end_claimed(&store, &run, 150.0).await);
    let [next] = &queue(&store).await[..] else { panic!("one entry") };
    assert_eq!((next.due_ms, next.holder), (first + 180_000.0, None), "two have passed while it ran");
    let outcomes: Vec<CronOutcome> = log(&store).await.into_iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [CronOutcome::Success(Value::Null), CronOutcome::Canceled(2)]);
    assert!(!next_runs(&store).await[0].is_running);
    assert!(!end_claimed(&store, &run, 151.0).await, "it ends once");
}

#[tokio::test]
async fn the_late_end_of_a_run_that_has_failed_does_not_end_the_next() {
    let store = Store::new();
    push(&store, &[job("slow", each_minutes(1))]).await;
    let first = store.claim_first().await;
    let mut transaction = store.begin().await;
    let end = RunEnd {
        result: Err("its process seemed to be gone".to_owned()),
        log_lines: Vec::new(),
        execution_time: Duration::ZERO,
        at_ms: START_MS + 2e3,
    };
    transaction.end_run(&first, &end).await.unwrap();
    store.must_commit(transaction).await;
    let second = store.claim_first().await;
    assert_eq!(first.due, second.due, "the entry alone does not tell them apart");
    assert!(!end_claimed(&store, &first, 70.0).await);
    assert!(next_runs(&store).await[0].is_running, "the second");
    assert!(end_claimed(&store, &second, 75.0).await);
    assert_eq!(log(&store).await.len(), 2);
}

#[tokio::test]
async fn a_push_leaves_a_job_that_runs_to_its_end_and_changes_what_comes_then() {
    let store = Store::new();
    push(&store, &[job("slow", each_minutes(1))]).await;
    let run = store.claim_first().await;
    push(&store, &[job("slow", each_minutes(10))]).await;
    let [held] = &queue(&store).await[..] else { panic!("one entry") };
    assert_eq!(held.holder, Some(HOLDER), "it still runs");
    let [next] = &next_runs(&store).await[..] else { panic!("one row") };
    assert!(next.is_running);
    let then = next.next.as_milliseconds() as f64;
    assert!(end_claimed(&store, &run, 5.0).await);
    let [next] = &queue(&store).await[..] else { panic!("one entry") };
    assert_eq!((next.due_ms, next.holder), (then, None));

    let run = store.claim_first().await;
    push(&store, &[]).await;
    assert_eq!(queue(&store).await, []);
    assert!(!end_claimed(&store, &run, 6.0).await, "there is no such job any more");
    assert_eq!(log(&store).await, []);
}
