//! Processes that are kept, and places for those that run.

use std::{fs, sync::Arc, time::Duration};

use contract::ErrorKind;
use nodejs::{ActionHost, Call, Standing};
use serde_json::json;

use crate::harness::{DEPLOYMENT, Host, NEIGHBOUR, Running, call, lives, until};

#[tokio::test]
async fn what_a_call_has_left_behind_does_not_run_until_the_next_call_and_asks_nothing_then() {
    let running = Running::start(|_| {}).await;
    let file = running.folder.path().join("ticks");
    let pid = running.value("leaveTimer", json!({"file": file})).await;
    running.sleeping(1).await;
    // The signal works once the process is scheduled.
    let stat = || fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is kept");
    until(|| stat().contains(") T "), "it is stopped").await;
    let before = fs::read_to_string(&file).unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), before);
    // Awake for another call, it is refused what it asks for.
    let host = Host::answering(|name, _| async move {
        assert_eq!(name, "began");
        Ok(json!(null))
    });
    running.run("sleep", json!({"ms": 2_000}), &host).await.expect("a result");
    let after = fs::read_to_string(&file).expect("it has run");
    assert!(after.contains("ActionEnded: `late`"), "{after}");
    running.stop().await;
}

#[tokio::test]
async fn a_process_whose_event_loop_hangs_is_replaced_and_the_next_call_does_not_notice() {
    let running = Running::start(|limits| limits.rest_ms_max = 500).await;
    let wedged = running.value("wedge", json!({})).await;
    assert_ne!(running.value("keep", json!({"mebibytes": 0})).await, wedged);
    until(|| !lives(wedged.as_u64().expect("a number")), "it is ended").await;
    // It comes to rest, and hangs as soon as it wakes: before or after the next call has got it.
    let wedged = running.value("wedgeLater", json!({})).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(running.value("keep", json!({"mebibytes": 0})).await.is_number());
    until(|| !lives(wedged.as_u64().expect("a number")), "it is ended").await;
    running.stop().await;
}

#[tokio::test]
async fn files_are_there_for_the_same_process_and_for_no_other_deployment() {
    let running = Running::start(|_| {}).await;
    running.value("write", json!({"text": "secret"})).await;
    running.sleeping(1).await;
    assert_eq!(running.value("read", json!({})).await, "secret");
    running.sleeping(1).await;
    for other in [
        Call { deployment: NEIGHBOUR, ..call("read", json!({})) },
        Call { component: "child".to_owned(), ..call("read", json!({})) },
    ] {
        assert_eq!(running.run_call(&other, &Host::quiet()).await.expect("a result"), "null");
    }
    running.stop().await;
}

#[tokio::test]
async fn processes_that_nobody_needs_go() {
    let running = Running::start(|limits| {
        limits.idle_ms_max = 3_000;
        limits.watch_ms = 50;
    })
    .await;
    running.value("count", json!({})).await;
    running.sleeping(1).await;
    until(|| running.executor.metrics().processes == 0, "it goes").await;
    assert_eq!(running.value("count", json!({})).await, 1);
    running.stop().await;
}

#[tokio::test]
async fn there_are_so_many_places_and_who_is_called_does_not_wait_for_one() {
    let running = Running::start(|limits| {
        limits.processes_max = 1;
        limits.called_max = 1;
        limits.wait_ms_max = 2_000;
    })
    .await;
    let (sender, mut began) = tokio::sync::mpsc::unbounded_channel();
    let host = Host::answering(move |_, _| {
        sender.send(()).expect("somebody waits");
        async { Ok(json!(null)) }
    });
    let long = running.run("sleep", json!({"ms": 5_000}), &host);
    let others = async {
        began.recv().await.expect("it begins");
        let quiet: Arc<dyn ActionHost> = Host::quiet();
        let refused = running.executor.run(&call("count", json!({})), Arc::clone(&quiet), None).await;
        let refused = refused.expect_err("no place");
        assert_eq!((refused.kind, &*refused.code), (ErrorKind::TooManyRequests, "TooManyConcurrentRequests"));
        let called = Call { standing: Standing::Called, ..call("count", json!({})) };
        let outcome = running.executor.run(&called, quiet, None).await.expect("it is run");
        assert_eq!(outcome.expect("a result"), "1");
    };
    let (slept, ()) = futures::join!(long, others);
    slept.expect("a result");
    // Waits until the one before has come to rest.
    running.value("count", json!({})).await;
    assert_eq!(running.executor.metrics().refused, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_place_that_was_reserved_is_the_actions_and_nobody_elses() {
    let running = Running::start(|limits| {
        limits.processes_max = 1;
        limits.wait_ms_max = 100;
    })
    .await;
    let place = running.executor.reserve(DEPLOYMENT).await.expect("it is free");
    let refused = running.executor.reserve(DEPLOYMENT).await.map(drop).expect_err("no place");
    assert_eq!(refused.code, "TooManyConcurrentRequests");
    let outcome = running.executor.run(&call("count", json!({})), Host::quiet(), Some(place)).await;
    assert_eq!(outcome.expect("it is run").expect("a result"), "1");
    assert_eq!(running.executor.metrics().refused, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_process_that_sleeps_makes_room_for_another_deployment() {
    let running = Running::start(|limits| {
        limits.processes_max = 1;
        limits.called_max = 1;
    })
    .await;
    for component in ["a", "b", "c", "d"] {
        let call = Call { component: component.to_owned(), ..call("count", json!({})) };
        assert_eq!(running.run_call(&call, &Host::quiet()).await.expect("a result"), "1");
        until(|| running.executor.metrics().processes <= 2, "no more processes than there may be").await;
    }
    running.stop().await;
}

#[tokio::test]
async fn the_end_of_the_executor_is_told_to_who_waits() {
    let running = Running::start(|_| {}).await;
    let shutdown = running.shutdown.clone();
    let host = Host::answering(move |_, _| {
        shutdown.cancel();
        async { Ok(json!(null)) }
    });
    let cancelled =
        running.executor.run(&call("sleep", json!({"ms": 60_000})), host, None).await.expect_err("it ends");
    assert_eq!(&*cancelled.code, "ActionCancelled");
    running.stop().await;
}
