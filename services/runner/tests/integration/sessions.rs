//! A client's request takes effect once, and is answered the same whenever it comes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, DeploymentRef, ErrorKind, GroupId, Hold,
    HoldId, Lookup, Position, Read, ReadAt, ReadMoment, ReadResult, Result, SessionRequest, StreamEvents,
    Timestamp, TransactionLog,
};
use serde_json::json;
use tokio::sync::watch;
use transaction::SessionRequestRow;

use crate::harness::{Harness, function_call, modules, parsed};

fn request(number: u32) -> Option<SessionRequest> {
    Some(SessionRequest { session: "0b9ab4d5-9f5c-4f2a-8f3c-0d1f6c9d2f00".to_owned(), request: number })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_again_is_answered_from_its_record() {
    let harness = Harness::start().await;
    let send = async |number| {
        harness
            .mutation_in(request(number), "messages:send", json!({"body": "x"}))
            .await
            .expect("it is answered")
    };
    let first = send(1).await;
    let second = send(1).await;
    assert_eq!(second.result, first.result);
    assert_eq!(second.timestamp, first.timestamp);
    assert_eq!(second.log_lines, first.log_lines);
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(1));
    assert_ne!(send(2).await.result, first.result, "another request runs");
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(2));
    assert_eq!(harness.runner.metrics().session_replays, 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_writes_nothing_has_a_record_too() {
    let harness = Harness::start().await;
    let call = async || {
        harness.mutation_in(request(1), "messages:nothing", json!({})).await.expect("it is answered")
    };
    let first = call().await;
    harness.run_mutation("messages:send", json!({"body": "between"})).await;
    let second = call().await;
    assert_eq!(second.timestamp.expect("its commit"), first.timestamp.expect("its commit"));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_failed_may_run_again() {
    let harness = Harness::start().await;
    for _ in 0..2 {
        let outcome =
            harness.mutation_in(request(1), "messages:fail", json!({})).await.expect("it is answered");
        assert!(outcome.result.is_err() && outcome.timestamp.is_none());
    }
    assert_eq!(harness.runner.metrics().session_replays, 0);
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_another_function_is_not_shown() {
    let harness = Harness::start().await;
    let sent = harness.mutation_in(request(1), "messages:send", json!({"body": "x"})).await;
    sent.expect("it is answered").result.expect("it is sent");
    let error =
        harness.mutation_in(request(1), "messages:nothing", json!({})).await.expect_err("it is refused");
    assert_eq!((error.code.as_ref(), error.kind), ("SessionRequestMismatch", ErrorKind::BadRequest));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_runs_of_one_request_at_the_same_time_one_takes_effect() {
    let harness = Harness::start().await;
    let calls = (0..16).map(|_| harness.mutation_in(request(1), "messages:send", json!({"body": "x"})));
    let outcomes = futures::future::join_all(calls).await;
    let answers: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| {
            let outcome = outcome.expect("it is answered");
            (outcome.result.expect("it succeeds"), outcome.timestamp)
        })
        .collect();
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(1));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_does_not_begin_before_what_its_session_has_seen() {
    use contract::{Identity, MutationCall, QueryCall, Runner as _};
    let harness = Harness::start().await;
    let seen =
        harness.run_mutation("messages:send", json!({"body": "x"})).await.timestamp.expect("committed");
    let call = MutationCall {
        function: function_call(Identity::Anonymous, "counters:increment", json!({})),
        session: None,
        not_before: seen,
    };
    let outcome = harness.runner.mutation(call.clone()).await.expect("it is answered");
    assert!(outcome.timestamp.expect("committed") > seen);
    let future = MutationCall { not_before: contract::Timestamp::MAX, ..call };
    let error = harness.runner.mutation(future).await.expect_err("nobody has seen this");
    assert_eq!(error.code, "NotYet");
    let call = QueryCall {
        function: function_call(Identity::Anonymous, "counters:value", json!({})),
        at: ReadMoment::Latest,
        journal: None,
    };
    let value = harness.runner.query(call).await.expect("it is answered").result.expect("it succeeds");
    assert_eq!(parsed(value), json!(1));
    harness.stop().await;
}

/// The numbers of the requests that have a record.
async fn recorded(harness: &Harness) -> Vec<u32> {
    let (mut transaction, _) = harness.transaction().await;
    let rows = transaction.rows::<SessionRequestRow>("by_session_and_request", &[]).await;
    rows.expect("they can be read").iter().map(|stored| stored.row.request).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_too_old_are_removed() {
    let harness = Harness::empty(|options| {
        options.limits.transaction.retry.session_record_age_ms = 60_000;
        options.limits.transaction.retry.session_record_sweep_ms = 10;
        options.swept = options.deployments.clone();
    })
    .await;
    // More than are removed at once. What a new deployment's first transaction makes is as old as its clock: from 1970.
    let old = (1..=1_500).map(|request| SessionRequestRow {
        session: "of a client that is gone".to_owned(),
        request,
        result: "null".into(),
        log_lines: Vec::new(),
        component: String::new(),
        function: "messages:send".to_owned(),
    });
    harness
        .transact(async |transaction| {
            for row in old {
                transaction.insert_row(&row).await.expect("it is inserted");
            }
        })
        .await;
    harness.push(&modules()).await;
    let sent = harness.mutation_in(request(7_000), "messages:send", json!({"body": "x"})).await;
    sent.expect("it is answered").result.expect("it is sent");
    let swept = async {
        while recorded(&harness).await.len() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), swept).await.expect("they are removed");
    assert_eq!(recorded(&harness).await, [7_000]);
    // The sweeps end with the runner.
    harness.stop().await;
}

/// A log that says of one commit that it never will be, though it is. With a real log this takes a leader that answers for an
/// epoch which is not over yet.
struct Denying {
    log: Arc<dyn TransactionLog>,
    armed: AtomicBool,
}

#[async_trait]
impl TransactionLog for Denying {
    fn position(&self, group: GroupId) -> Result<watch::Receiver<Position>> {
        self.log.position(group)
    }
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome> {
        let denies = self.armed.swap(false, Ordering::SeqCst);
        let outcome = self.log.commit(commit).await?;
        Ok(if denies { CommitOutcome::NotCommitted } else { outcome })
    }
    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup> {
        self.log.lookup(at, id).await
    }
    async fn read(&self, deployment: DeploymentRef, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        self.log.read(deployment, at, reads).await
    }
    async fn confirm_leadership(&self, group: GroupId) -> Result<Position> {
        self.log.confirm_leadership(group).await
    }
    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        self.log.subscribe(deployment, from).await
    }
    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        self.log.backfill(step).await
    }
    async fn hold(&self, group: GroupId, hold: Hold) -> Result<Duration> {
        self.log.hold(group, hold).await
    }
    async fn release(&self, group: GroupId, id: HoldId) -> Result<()> {
        self.log.release(group, id).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_not_answered_by_what_another_run_has_committed() {
    let mut denying = None;
    let harness = Harness::behind(|log| {
        let log = Arc::new(Denying { log, armed: AtomicBool::new(false) });
        denying = Some(log.clone());
        log
    })
    .await;
    let denying = denying.expect("the harness has it");

    denying.armed.store(true, Ordering::SeqCst);
    let error = harness
        .mutation_in(None, "messages:send", json!({"body": "without a session"}))
        .await
        .expect_err("nothing has kept what the first run returned");
    assert_eq!((&*error.code, error.kind), ("ResultLost", ErrorKind::Internal));
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(1), "it has its effect, once");

    denying.armed.store(true, Ordering::SeqCst);
    let send = async || {
        let sent = harness.mutation_in(request(1), "messages:send", json!({"body": "in a session"})).await;
        sent.expect("its record has the answer")
    };
    let (first, again) = (send().await, send().await);
    assert!(first.result.is_ok());
    assert_eq!((&first.result, first.timestamp), (&again.result, again.timestamp));
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(2));
    harness.stop().await;
}
