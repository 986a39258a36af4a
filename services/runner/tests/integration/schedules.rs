//! Functions that are scheduled: what the queue and `_scheduled_functions` hold, and how an entry of the queue runs.

use std::time::Duration;

use contract::{Caller, DueCall, DueOutcome, DueRunner as _, Runner as _, Timestamp};
use cron::CronSpec;
use serde_json::{Value as Json, json};
use transaction::{
    ClaimLease, CronJobRow, CronOutcome, CronRunRow, DueRow, NewJob, SystemTable, component_id,
};
use value::{ComponentId, DocumentId};

use crate::harness::{DEPLOYMENT, Harness};

const PATIENCE: Duration = Duration::from_secs(60);

/// The ids of the entries, in the order of their times.
pub async fn queue(harness: &Harness) -> Vec<DocumentId> {
    let (mut transaction, _) = harness.transaction().await;
    let rows = transaction.rows::<DueRow>("by_due", &[]).await.expect("they can be read");
    rows.iter().map(|stored| stored.id).collect()
}

pub fn due(entry: DocumentId) -> DueCall {
    DueCall {
        deployment: DEPLOYMENT,
        entry: entry.into(),
        not_before: Timestamp::ZERO,
        request_id: "the-request".to_owned(),
    }
}

async fn run(harness: &Harness, entry: DocumentId) -> DueOutcome {
    harness.runner.run_due(due(entry)).await.expect("it is answered")
}

/// Schedules one function and runs it; the document of `_scheduled_functions` after that.
async fn run_once(harness: &Harness, name: &str, args: Json) -> Json {
    let id = harness.result_of("schedules:later", json!({"name": name, "args": args})).await;
    let [entry] = queue(harness).await[..] else { panic!("one entry") };
    assert_eq!(run(harness, entry).await, DueOutcome::Ran);
    harness.value_of("schedules:job", json!({"id": id})).await
}

async fn bodies(harness: &Harness) -> Json {
    harness.value_of("messages:list", json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_function_is_a_document_that_says_how_far_it_is() {
    let harness = Harness::start().await;
    let before_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after").as_millis();
    let id = harness.result_of("schedules:later", json!({"ms": 1_500, "args": {"body": "hi"}})).await;
    assert!(id.as_str().expect("an id").starts_with("kc2"), "{id}");
    let job = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!(job["_id"], id);
    assert_eq!(job["name"], "messages.js:send");
    assert_eq!(job["args"], json!([{"body": "hi"}]));
    assert_eq!(job["state"], json!({"kind": "pending"}));
    let scheduled_ms = job["scheduledTime"].as_f64().expect("a number");
    assert_eq!(scheduled_ms.fract(), 0.0, "whole milliseconds stay whole");
    assert!(scheduled_ms >= before_ms as f64 + 1_500.0);
    let names: Vec<&String> = job.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["_creationTime", "_id", "args", "name", "scheduledTime", "state"]);

    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    assert_eq!(entry.table, SystemTable::DueRuns.number());
    assert_eq!(bodies(&harness).await, json!([]));
    assert_eq!(run(&harness, entry).await, DueOutcome::Ran);
    assert_eq!(bodies(&harness).await, json!(["hi"]));
    assert_eq!(queue(&harness).await, []);
    let job = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!(job["state"], json!({"kind": "success"}));
    assert!(job["completedTime"].as_f64().expect("a number") >= before_ms as f64);
    assert_eq!(job["scheduledTime"].as_f64(), Some(scheduled_ms));
    let all = harness.value_of("schedules:jobs", json!({})).await;
    assert_eq!(all, json!([job]));

    assert_eq!(run(&harness, entry).await, DueOutcome::Gone, "it runs once");
    assert_eq!(bodies(&harness).await, json!(["hi"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_runs_of_one_entry_one_takes_effect() {
    let harness = Harness::start().await;
    harness.result_of("schedules:later", json!({"args": {"body": "once"}})).await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    let outcomes = futures::future::join_all((0..16).map(|_| run(&harness, entry))).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == DueOutcome::Ran).count(), 1, "{outcomes:?}");
    assert_eq!(bodies(&harness).await, json!(["once"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_throws_has_failed_and_leaves_nothing_else() {
    let harness = Harness::start().await;
    let job = run_once(&harness, "schedules:fails", json!({})).await;
    assert_eq!(job["state"]["kind"], "failed");
    let error = job["state"]["error"].as_str().expect("a text");
    assert!(error.starts_with("Uncaught TypeError: as it must\n    at "), "{error}");
    assert_eq!(bodies(&harness).await, json!([]));
    assert_eq!(queue(&harness).await, [], "what it scheduled is gone with it");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_run_has_failed_and_says_why() {
    let harness = Harness::start().await;
    for (name, args, reason) in [
        ("messages:count", json!({}), "is a query and can't be called as a mutation"),
        ("schedules:strict", json!({"body": 7}), "ArgumentValidationError"),
    ] {
        let job = run_once(&harness, name, args).await;
        assert_eq!(job["state"]["kind"], "failed", "{name}");
        let error = job["state"]["error"].as_str().expect("a text");
        assert!(error.contains(reason), "{error}");
        assert!(job["completedTime"].is_number());
    }
    harness.stop().await;
}

/// The function log's last word on a function: its caller, its error, and whether it would be run again.
async fn last_in_log(harness: &Harness, identifier: &str) -> (Caller, String, bool) {
    let page = harness.runner.function_log(DEPLOYMENT, 0, Duration::ZERO).await.expect("it is kept");
    let mut records = page.records.iter().rev();
    let last = records.find(|record| record.identifier == identifier).expect("it is in the log");
    (last.caller, last.error.clone().unwrap_or_default(), last.will_retry)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_will_never_take_has_failed_whoever_has_called_it() {
    const FITS: u64 = 100;
    const TOO_LARGE: u64 = 600;
    let (function, error) = ("schedules:tooLarge", "CommitTimestampInLargeCommit: ");
    let harness = Harness::start().await;
    let fits = run_once(&harness, function, json!({"kib": FITS})).await;
    assert_eq!(fits["state"], json!({"kind": "success"}));
    let job = run_once(&harness, function, json!({"kib": TOO_LARGE})).await;
    assert_eq!(job["state"]["kind"], "failed");
    let said = job["state"]["error"].as_str().expect("a text");
    assert!(said.starts_with(error), "{said}");
    assert!(job["completedTime"].is_number());
    assert_eq!(queue(&harness).await, [], "it is not run again");
    let (caller, said, will_retry) = last_in_log(&harness, function).await;
    assert!(caller == Caller::Scheduler && said.starts_with(error) && !will_retry, "{caller:?} {said}");

    let run = run_cron(&harness, function, json!({"kib": TOO_LARGE})).await;
    let CronOutcome::Failed(said) = run.outcome else { panic!("{:?}", run.outcome) };
    assert!(said.starts_with(error), "{said}");
    assert_eq!(run.log_lines, ["[LOG] 'writes' 600"]);
    assert_eq!(last_in_log(&harness, function).await.0, Caller::Cron);

    let said = harness.mutation_error(function, json!({"kib": TOO_LARGE})).await.message;
    assert!(said.contains(error), "{said}");
    assert_eq!(last_in_log(&harness, function).await.0, Caller::HttpApi);
    let said = harness.action_of("schedules:tooLargeByAction", json!({"kib": TOO_LARGE})).await;
    assert!(said.as_str().expect("it was caught").contains(error), "{said}");
    assert_eq!(bodies(&harness).await.as_array().map(Vec::len), Some(1), "nothing else was written");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_of_a_component_that_was_deleted_has_failed() {
    let harness = Harness::start().await;
    let mut id = None;
    harness
        .transact(async |transaction| {
            let job = NewJob {
                component: component_id(&"deleted".parse().expect("a path")),
                function: "messages:send".parse().expect("a function"),
                arguments: value::Object::new(),
                time_ms: 1.0,
                now_ms: 1.0,
                parent: None,
            };
            id = Some(transaction.schedule(job).await.expect("it is scheduled"));
        })
        .await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    assert_eq!(run(&harness, entry).await, DueOutcome::Ran);
    assert_eq!(queue(&harness).await, []);
    let job = harness.value_of("schedules:job", json!({"id": id.map(String::from)})).await;
    assert_eq!(job["state"]["kind"], "failed");
    let error = job["state"]["error"].as_str().expect("a text");
    assert!(error.starts_with("There is no component"), "{error}");
    assert_eq!(last_in_log(&harness, "messages:send").await.1, error);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_functions_run_and_handles_name_them() {
    let harness = Harness::start().await;
    run_once(&harness, "messages:sendSecretly", json!({"body": "secretly"})).await;
    harness.result_of("schedules:byHandle", json!({"name": "messages:sendSecretly"})).await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    assert_eq!(run(&harness, entry).await, DueOutcome::Ran);
    assert_eq!(bodies(&harness).await, json!(["secretly", "by handle"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_sees_itself_in_progress_and_can_not_cancel_itself() {
    let harness = Harness::start().await;
    run_once(&harness, "schedules:lookAtItself", json!({})).await;
    let job = run_once(&harness, "schedules:cancelItself", json!({})).await;
    assert_eq!(job["state"], json!({"kind": "success"}));
    assert_eq!(bodies(&harness).await, json!(["inProgress", "went on"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mutation_schedules_is_part_of_it() {
    let harness = Harness::start().await;
    harness.mutation_error("schedules:laterAndThrow", json!({})).await;
    assert_eq!(queue(&harness).await, []);
    harness.result_of("schedules:laterInCalls", json!({})).await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry: that of the caller") };
    assert_eq!(run(&harness, entry).await, DueOutcome::Ran);
    assert_eq!(bodies(&harness).await, json!(["by the caller"]));
    let job = harness.result_of("schedules:laterAndCancel", json!({})).await;
    assert_eq!(job["state"], json!({"kind": "canceled"}));
    assert_eq!(queue(&harness).await, []);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_function_does_not_run_and_cancelling_again_changes_nothing() {
    let harness = Harness::start().await;
    let id = harness.result_of("schedules:later", json!({"args": {"body": "never"}})).await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    harness.result_of("schedules:cancel", json!({"id": id})).await;
    let canceled = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!(canceled["state"], json!({"kind": "canceled"}));
    assert!(canceled["completedTime"].is_number());
    assert_eq!(run(&harness, entry).await, DueOutcome::Gone);
    harness.result_of("schedules:cancel", json!({"id": id})).await;
    assert_eq!(harness.value_of("schedules:job", json!({"id": id})).await, canceled);
    assert_eq!(bodies(&harness).await, json!([]));

    let done = run_once(&harness, "messages:send", json!({"body": "done"})).await;
    harness.result_of("schedules:cancel", json!({"id": done["_id"]})).await;
    assert_eq!(harness.value_of("schedules:job", json!({"id": done["_id"]})).await, done);

    let message = harness.result_of("messages:send", json!({"body": "x"})).await;
    for id in [message, json!("nonsense")] {
        let error = harness.mutation_error("schedules:cancel", json!({"id": id})).await.message;
        assert!(error.contains("InvalidArgument"), "{error}");
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_scheduled_is_refused_by_name() {
    let harness = Harness::start().await;
    let error = async |path: &str, arguments: Json| harness.mutation_error(path, arguments).await.message;
    let unknown = error("schedules:later", json!({"name": "messages:nope", "args": {}})).await;
    assert!(unknown.contains("InvalidScheduledFunction: "), "{unknown}");
    let six_years = 6.0 * 366.0 * 24.0 * 3_600_000.0;
    for ms in [six_years, -six_years] {
        let far = error("schedules:later", json!({"ms": ms, "args": {"body": "x"}})).await;
        assert!(far.contains("InvalidScheduledFunctionDelay: "), "{far}");
    }
    let no_number = error("schedules:at", json!({"ts": null})).await;
    assert!(no_number.contains("InvalidScheduledFunctionDelay: "), "{no_number}");
    let no_object = error("schedules:at", json!({"ts": 1, "args": [1]})).await;
    assert!(no_object.contains("InvalidArgument: "), "{no_object}");
    let in_query = harness.query_error("schedules:scheduleInQuery", json!({})).await.message;
    assert!(in_query.contains("ReadOnly: "), "{in_query}");
    assert_eq!(queue(&harness).await, []);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_schedules_so_many_functions_with_so_many_bytes() {
    let harness = Harness::start().await;
    let used = harness.result_of("schedules:many", json!({"count": 1_000})).await;
    assert_eq!(used, json!({"used": 1_000, "remaining": 0}));
    let error = harness.mutation_error("schedules:many", json!({"count": 1_001})).await.message;
    assert!(error.contains("TooManyFunctionsScheduled: "), "{error}");
    let error = harness.mutation_error("schedules:many", json!({"count": 5, "bytes": 4 << 20})).await.message;
    assert!(error.contains("ScheduledFunctionsArgumentsTooLarge: "), "{error}");
    assert_eq!(queue(&harness).await.len(), 1_000);
    harness.stop().await;
}

/// Declares one cron job and runs it; what its log says.
async fn run_cron(harness: &Harness, function: &str, args: Json) -> CronRunRow {
    declare_cron(harness, function, args).await;
    let [entry] = queue(harness).await[..] else { panic!("one entry") };
    assert_eq!(run(harness, entry).await, DueOutcome::Ran);
    assert_eq!(queue(harness).await, [entry], "it comes again");
    let (mut transaction, _) = harness.transaction().await;
    let runs =
        transaction.rows::<CronRunRow>("by_component_name_and_ts", &[]).await.expect("they can be read");
    let [run] = &runs[..] else { panic!("one run") };
    run.row.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_runs_and_its_log_says_what_came_of_it() {
    let harness = Harness::start().await;
    let run = run_cron(&harness, "schedules:tick", json!({"name": "x"})).await;
    assert_eq!(run.outcome, CronOutcome::Success(value::Value::from("ticked")));
    assert_eq!((&run.log_lines[..], run.log_is_cut), (&["[LOG] 'tick' 'x'".to_owned()][..], false));
    assert!(run.execution_time_s > 0.0);
    assert_eq!(bodies(&harness).await, json!(["x null"]), "it is no document of `_scheduled_functions`");

    let run = run_cron(&harness, "schedules:fails", json!({})).await;
    let CronOutcome::Failed(error) = run.outcome else { panic!("{:?}", run.outcome) };
    assert!(error.starts_with("Uncaught TypeError: as it must"), "{error}");
    assert_eq!(bodies(&harness).await, json!(["x null"]));
    harness.stop().await;
}

/// The job with this id, once it is over.
pub async fn over(harness: &Harness, id: &Json) -> Json {
    let wait = async {
        loop {
            let job = harness.value_of("schedules:job", json!({"id": id})).await;
            if job["completedTime"].is_number() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes to its end")
}

async fn until_there_is(harness: &Harness, body: &str) {
    let wait = async {
        while !bodies(harness).await.as_array().expect("a list").contains(&json!(body)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the message comes");
}

/// Schedules an action and begins it; its id.
async fn begin_action(harness: &Harness, name: &str, args: Json) -> Json {
    let id = harness.result_of("schedules:later", json!({"name": name, "args": args})).await;
    let [entry] = queue(harness).await[..] else { panic!("one entry") };
    assert_eq!(run(harness, entry).await, DueOutcome::Begun);
    assert_eq!(run(harness, entry).await, DueOutcome::Gone, "it runs once");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_due_runs_in_the_name_of_its_job() {
    let harness = Harness::start().await;
    let id = begin_action(&harness, "schedules:act", json!({"name": "x"})).await;
    let job = over(&harness, &id).await;
    assert_eq!(job["state"], json!({"kind": "success"}));
    assert_eq!(job["name"], "schedules.js:act");
    assert_eq!(bodies(&harness).await, json!(["x inProgress"]));
    assert_eq!(queue(&harness).await, []);
    for (name, args, reason) in [
        ("schedules:actAndFail", json!({}), "Uncaught TypeError: as it must\n    at "),
        ("schedules:actStrictly", json!({"body": 7}), "ArgumentValidationError"),
    ] {
        let id = begin_action(&harness, name, args).await;
        let job = over(&harness, &id).await;
        assert_eq!(job["state"]["kind"], "failed");
        let error = job["state"]["error"].as_str().expect("a text");
        assert!(error.starts_with(reason), "{error}");
        assert_eq!(queue(&harness).await, []);
    }
    assert_eq!(bodies(&harness).await, json!(["x inProgress", "before it failed"]));
    let page = harness.runner.function_log(DEPLOYMENT, 0, Duration::ZERO).await.expect("it is kept");
    let record =
        page.records.iter().find(|record| record.identifier == "schedules:act").expect("it is there");
    assert_eq!(record.caller, Caller::Scheduler);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_begin_one_action_one_runs_it() {
    let harness = Harness::start().await;
    let id =
        harness.result_of("schedules:later", json!({"name": "schedules:act", "args": {"name": "x"}})).await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    let outcomes = futures::future::join_all((0..16).map(|_| run(&harness, entry))).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == DueOutcome::Begun).count(), 1, "{outcomes:?}");
    over(&harness, &id).await;
    assert_eq!(bodies(&harness).await, json!(["x inProgress"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_cancelled_goes_on_and_what_it_schedules_is_cancelled() {
    let harness = Harness::start().await;
    let id = begin_action(&harness, "schedules:actSlowly", json!({"until": "go on"})).await;
    until_there_is(&harness, "it runs").await;
    harness.result_of("schedules:cancel", json!({"id": id})).await;
    let canceled = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!(canceled["state"], json!({"kind": "canceled"}));
    harness.result_of("messages:send", json!({"body": "go on"})).await;
    until_there_is(&harness, "it ended").await;
    assert_eq!(queue(&harness).await, []);
    let jobs = harness.value_of("schedules:jobs", json!({})).await;
    let children = &jobs.as_array().expect("a list")[1..];
    assert_eq!(children.len(), 3);
    assert!(children.iter().all(|job| job["state"] == json!({"kind": "canceled"})), "{children:?}");
    while harness.runner.metrics().actions_running > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(harness.value_of("schedules:job", json!({"id": id})).await, canceled);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_that_is_not_cancelled_schedules_will_run() {
    let harness = Harness::start().await;
    let id = begin_action(&harness, "schedules:actSlowly", json!({"until": "it runs"})).await;
    over(&harness, &id).await;
    let entries = queue(&harness).await;
    assert_eq!(entries.len(), 3);
    for entry in entries {
        assert_eq!(run(&harness, entry).await, DueOutcome::Ran);
    }
    let mut said: Vec<String> = serde_json::from_value(bodies(&harness).await).expect("texts");
    said.sort();
    assert_eq!(said, ["by its action", "by its mutation", "by the action", "it ended", "it runs"]);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_process_ended_has_failed_and_never_runs_again() {
    let harness = Harness::with(|options| options.swept = options.deployments.clone()).await;
    let id = begin_action(&harness, "schedules:actSlowly", json!({"until": "go on"})).await;
    until_there_is(&harness, "it runs").await;
    // To the log there is no difference between a process that has died and one that says nothing.
    let (service, token) = harness.another_runner();
    let job = over(&harness, &id).await;
    let failed = json!({"kind": "failed", "error": "Transient error while executing action"});
    assert_eq!(job["state"], failed);
    assert_eq!(queue(&harness).await, []);
    until_orphans(|| service.handle().metrics().action_orphans, 1).await;
    harness.result_of("messages:send", json!({"body": "go on"})).await;
    until_there_is(&harness, "it ended").await;
    while harness.runner.metrics().actions_running > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(harness.value_of("schedules:job", json!({"id": id})).await, job);
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_process_holds_and_does_not_run_has_failed_and_what_it_runs_has_not() {
    let harness = Harness::with(|options| {
        options.swept = options.deployments.clone();
        options.limits.action.orphan_sweep_ms = 10;
    })
    .await;
    let running = begin_action(&harness, "schedules:actSlowly", json!({"until": "go on"})).await;
    until_there_is(&harness, "it runs").await;
    let lost =
        harness.result_of("schedules:later", json!({"name": "schedules:act", "args": {"name": "x"}})).await;
    // As if its claim had been committed, and nobody had heard of it.
    harness
        .transact(async |transaction| {
            let rows = transaction.rows::<DueRow>("by_due", &[]).await.expect("they can be read");
            let holder = rows.iter().find_map(|stored| stored.row.holder).expect("one is held");
            let entry = rows.iter().find(|stored| stored.row.holder.is_none()).expect("one is not");
            let run = transaction.due_run(entry.id).await.expect("it can be read").expect("it is there");
            let claimed = transaction.claim_run(&run, holder, ClaimLease::Keep).await.expect("it is written");
            claimed.expect("nobody holds it");
        })
        .await;
    assert_eq!(over(&harness, &lost).await["state"]["error"], "Transient error while executing action");
    harness.result_of("messages:send", json!({"body": "go on"})).await;
    assert_eq!(over(&harness, &running).await["state"], json!({"kind": "success"}));
    until_orphans(|| harness.runner.metrics().action_orphans, 1).await;
    harness.stop().await;
}

/// Several runners with one number, as those of a pool: none can know by that which of them are there.
async fn harness_of_a_pool() -> Harness {
    Harness::with(|options| {
        options.swept = options.deployments.clone();
        options.has_number_alone = false;
        options.limits.action.orphan_sweep_ms = 20;
        options.limits.action.claim_renewal_ms = 50;
        options.limits.action.claim_lease_ms = LEASE.as_millis() as u64;
    })
    .await
}

const LEASE: Duration = Duration::from_secs(2);

/// They are counted after the commit that ends them.
async fn until_orphans(orphans: impl Fn() -> u64, count: u64) {
    while orphans() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(orphans(), count);
}

/// Until nobody's lease is kept any more.
async fn until_leases_have_ended(harness: &Harness) {
    let wait = async {
        loop {
            let (mut transaction, _) = harness.transaction().await;
            if transaction.leases().await.expect("they can be read").is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("who holds nothing needs none");
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_of_one_number_leave_each_others_actions_alone() {
    let harness = harness_of_a_pool().await;
    let (other, token) = harness.another_runner();
    let id = begin_action(&harness, "schedules:actSlowly", json!({"until": "go on"})).await;
    until_there_is(&harness, "it runs").await;
    tokio::time::sleep(2 * LEASE).await;
    let job = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!(job["state"], json!({"kind": "inProgress"}));
    harness.result_of("messages:send", json!({"body": "go on"})).await;
    assert_eq!(over(&harness, &id).await["state"], json!({"kind": "success"}));
    assert_eq!(harness.runner.metrics().action_orphans + other.handle().metrics().action_orphans, 0);
    until_leases_have_ended(&harness).await;
    token.cancel();
    other.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_goes_on_whose_action_ran_in_a_process_that_is_gone() {
    let harness = harness_of_a_pool().await;
    declare_cron(&harness, "schedules:actFor", json!({"ms": 60_000})).await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    let (mortal, runtime) = harness.mortal_runner();
    let begun = runtime.spawn(async move { mortal.run_due(due(entry)).await });
    assert_eq!(begun.await.expect("it ends"), Ok(DueOutcome::Begun));
    tokio::time::sleep(2 * LEASE).await;
    assert_eq!(run(&harness, entry).await, DueOutcome::Gone, "its process is there");
    runtime.shutdown_background();
    let failed = CronOutcome::Failed("Transient error while executing action".to_owned());
    assert_eq!(cron_outcome(&harness).await, failed);
    until_orphans(|| harness.runner.metrics().action_orphans, 1).await;
    until_leases_have_ended(&harness).await;
    assert_eq!(run(&harness, entry).await, DueOutcome::Begun, "it comes again");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_process_has_stalled_has_failed_and_ends_in_vain() {
    let harness = harness_of_a_pool().await;
    let (stalled, token) =
        harness.another_runner_with(|options| options.limits.action.claim_renewal_ms = 3_600_000);
    let id = harness
        .result_of("schedules:later", json!({"name": "schedules:actSlowly", "args": {"until": "go on"}}))
        .await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    assert_eq!(stalled.handle().run_due(due(entry)).await, Ok(DueOutcome::Begun));
    until_there_is(&harness, "it runs").await;
    let job = over(&harness, &id).await;
    let failed = json!({"kind": "failed", "error": "Transient error while executing action"});
    assert_eq!(job["state"], failed);
    until_orphans(|| harness.runner.metrics().action_orphans, 1).await;
    harness.result_of("messages:send", json!({"body": "go on"})).await;
    until_there_is(&harness, "it ended").await;
    while stalled.handle().metrics().actions_running > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(harness.value_of("schedules:job", json!({"id": id})).await, job);
    token.cancel();
    stalled.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stops_says_of_its_actions_that_they_were_cancelled() {
    let harness = Harness::start().await;
    let (service, token) = harness.another_runner();
    let id = harness
        .result_of("schedules:later", json!({"name": "schedules:actSlowly", "args": {"until": "go on"}}))
        .await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    assert_eq!(service.handle().run_due(due(entry)).await, Ok(DueOutcome::Begun));
    until_there_is(&harness, "it runs").await;
    token.cancel();
    service.stopped().await;
    let job = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!(job["state"]["kind"], "failed");
    let error = job["state"]["error"].as_str().expect("a text");
    assert!(error.starts_with("ActionCancelled: "), "{error}");
    assert_eq!(queue(&harness).await, []);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_action_schedules_or_cancels_takes_effect_at_once() {
    let harness = Harness::start().await;
    let id = harness.action_of("schedules:laterByAction", json!({"ms": 60_000, "args": {"body": "x"}})).await;
    let job = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!((&job["name"], &job["state"]), (&json!("messages.js:send"), &json!({"kind": "pending"})));
    harness.action_of("schedules:cancelByAction", json!({"id": id})).await;
    let job = harness.value_of("schedules:job", json!({"id": id})).await;
    assert_eq!(job["state"], json!({"kind": "canceled"}));
    assert_eq!(queue(&harness).await, []);
    harness.action_error("schedules:laterByActionAndThrow", json!({})).await;
    assert_eq!(queue(&harness).await.len(), 1, "it does not go with the action that failed");
    for (arguments, code) in [
        (json!({"name": "messages:nope", "args": {}}), "InvalidScheduledFunction: "),
        (
            json!({"ms": 6.0 * 366.0 * 24.0 * 3_600_000.0, "args": {"body": "x"}}),
            "InvalidScheduledFunctionDelay: ",
        ),
        (json!({"args": [1]}), "InvalidArgument: "),
    ] {
        let error = harness.action_error("schedules:laterByAction", arguments).await.message;
        assert!(error.contains(code), "{error}");
    }
    let error = harness.action_error("schedules:cancelByAction", json!({"id": "nonsense"})).await.message;
    assert!(error.contains("InvalidArgument"), "{error}");
    assert_eq!(queue(&harness).await.len(), 1);
    harness.stop().await;
}

/// Makes an action the only cron job.
async fn declare_cron(harness: &Harness, name: &str, arguments: Json) {
    let declared = json!({"name": name, "args": [arguments], "schedule": {"type": "interval", "hours": 1}});
    let row = CronJobRow::new(ComponentId::ROOT, CronSpec::from_json(name, &declared).expect("valid"));
    let row = row.expect("it names a function");
    harness
        .transact(async |transaction| {
            transaction.change_crons(ComponentId::ROOT, vec![row.clone()]).await.expect("it is written");
        })
        .await;
}

/// What came of its last run, once there is one.
async fn cron_outcome(harness: &Harness) -> CronOutcome {
    let wait = async {
        loop {
            let (mut transaction, _) = harness.transaction().await;
            let runs = transaction.rows::<CronRunRow>("by_component_name_and_ts", &[]).await;
            if let Some(run) = runs.expect("they can be read").pop() {
                return run.row.outcome;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it is entered")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_runs_an_action_and_waits_for_its_end() {
    let harness = Harness::start().await;
    declare_cron(&harness, "schedules:actSlowly", json!({"until": "go on"})).await;
    let [entry] = queue(&harness).await[..] else { panic!("one entry") };
    assert_eq!(run(&harness, entry).await, DueOutcome::Begun);
    until_there_is(&harness, "it runs").await;
    assert_eq!(run(&harness, entry).await, DueOutcome::Gone, "it does not overlap with itself");
    harness.result_of("messages:send", json!({"body": "go on"})).await;
    assert_eq!(cron_outcome(&harness).await, CronOutcome::Success(value::Value::Null));
    assert!(queue(&harness).await.contains(&entry), "it comes again");
    harness.stop().await;
}
