//! Actions: what they call, what they wait for, and how they end.

use std::time::Duration;

use contract::{Caller, Identity, Runner as _};
use serde_json::json;

use crate::{
    harness::{Harness, function_call, parsed, user},
    web_server::WebServer,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_calls_functions_of_all_kinds_internal_ones_too() {
    let harness = Harness::start().await;
    let result = harness.action_of("actions:calls", json!({"body": "hi"})).await;
    assert_eq!(result, json!({"isId": true, "seen": ["hi"], "secret": "secret", "inner": 6}));
    let refused = harness.action_error("actions:inner", json!({"number": 1})).await;
    assert!(refused.message.contains("Could not find function"), "{}", refused.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_called_function_throws_is_caught_with_all_that_it_says() {
    let harness = Harness::start().await;
    let caught = harness.action_of("actions:catches", json!({})).await;
    let expected = json!([
        ["Uncaught TypeError: it failed", null],
        ["Uncaught ConvexError: {\"reason\":\"no\"}", {"reason": "no"}],
        ["ArgumentValidationError: Value does not match validator.", null],
        ["InvalidFunctionCall: `messages:send` is a mutation and can't be called as a query.", null],
        [caught[4][0], null],
        ["Uncaught ConvexError: {\"code\":5}", {"code": 5}],
    ]);
    assert_eq!(caught, expected);
    assert!(caught[4][0].as_str().expect("a text").starts_with("Could not find function"));
    assert_eq!(harness.value_of("messages:list", json!({})).await, json!([]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_results_and_kinds_are_checked() {
    let harness = Harness::start().await;
    assert_eq!(harness.action_of("actions:checked", json!({"body": "x"})).await, json!("x"));
    let error = harness.action_error("actions:checked", json!({"body": 1})).await;
    assert!(error.message.contains("ArgumentValidationError"), "{}", error.message);
    let error = harness.action_error("actions:checked", json!({"body": "7"})).await;
    assert!(error.message.contains("ReturnsValidationError"), "{}", error.message);
    let error = harness.action_error("messages:list", json!({})).await;
    assert!(error.message.contains("is a query and can't be called as an action"), "{}", error.message);
    let error = harness.action_error("actions:throws", json!({})).await;
    assert_eq!(error.data.map(parsed), Some(json!({"code": 5})));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_told_who_calls_and_what_it_is() {
    let harness = Harness::start().await;
    let call = function_call(user("bob"), "actions:about", json!({}));
    let outcome = harness.runner.action(call).await.expect("it is answered");
    assert_eq!(
        parsed(outcome.result.expect("it succeeds")),
        json!({
            "identity": {"subject": "bob"},
            "name": "actions:about",
            "count": 0,
            "unknown": "Unknown async operation: 1.0/get",
        })
    );
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_fire_in_order_and_none_holds_up_the_end() {
    let harness = Harness::start().await;
    let result = harness.action_of("actions:timers", json!({})).await;
    assert_eq!(result, json!({"order": ["at once", "10", "10 again", "30"], "ticks": 3, "passed": true}));
    let error = harness.action_error("actions:throwsInTimer", json!({})).await;
    assert!(error.message.contains("Uncaught RangeError: in a timer"), "{}", error.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_nobody_awaits_run_to_their_end() {
    let harness = Harness::start().await;
    assert_eq!(harness.action_of("actions:leavesCallsBehind", json!({})).await, json!("done"));
    assert_eq!(harness.value_of("messages:list", json!({})).await, json!(["one", "two"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_sent_and_answered() {
    let (harness, server) = (Harness::start().await, WebServer::start().await);
    let result = harness.action_of("actions:fetches", json!({"base": server.base})).await;
    let refused = result["refused"].as_str().expect("a text").to_owned();
    assert_eq!(
        result,
        json!({
            "status": [200, "OK", true, true, "basic"],
            "header": "gr\u{fc}\u{df}e",
            "cookies": ["a=1", "b=2"],
            "json": {"hello": "world"},
            "same": true,
            "moved": [true, true, "world"],
            "manual": 302,
            "refused": refused,
            "streamed": "one two",
            "empty": [204, null],
        })
    );
    assert!(refused.starts_with("TypeError: fetch failed: ") && refused.contains("redirects"), "{refused}");
    let error = harness.action_of("actions:failsToFetch", json!({"url": "http://127.0.0.1:1/"})).await;
    assert_eq!(error[0], json!("TypeError"));
    assert!(error[1].as_str().expect("a text").contains("could not be reached"), "{error}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_as_it_comes_and_a_request_is_broken_off_when_nobody_wants_it() {
    let (harness, server) = (Harness::start().await, WebServer::start().await);
    let text = harness.action_of("actions:readsSlowly", json!({"base": server.base})).await;
    assert_eq!(text, json!("first second"));
    let result = harness.action_of("actions:aborts", json!({"base": server.base})).await;
    assert_eq!(
        result,
        json!({"byController": "Error: enough", "byTimeout": "TimeoutError", "inBody": "AbortError", "before": "AbortError"})
    );
    until("the end of all connections", || server.hanging() == 0).await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_waits_holds_no_thread_and_little_memory() {
    const ACTIONS: usize = 200;
    let server = WebServer::start().await;
    let harness = Harness::with(|options| options.limits.function.threads = 1).await;
    let mut waiting = Vec::new();
    for _ in 0..ACTIONS {
        let runner = harness.runner.clone();
        let call = function_call(Identity::Anonymous, "actions:hangs", json!({"base": server.base}));
        waiting.push(tokio::spawn(async move { runner.action(call).await }));
    }
    until("all requests", || server.hanging() == ACTIONS).await;
    until("idle threads", || harness.runner.metrics().running == 0).await;
    let metrics = harness.runner.metrics();
    assert_eq!(metrics.actions_running, ACTIONS as u64);
    let each = metrics.actions_bytes / ACTIONS as u64;
    assert!(each > 0 && each < 512 << 10, "{each} bytes each");
    harness.result_of("messages:send", json!({"body": "beside them"})).await;
    harness.stop().await;
    for action in waiting {
        let error = action.await.expect("no panic").map(drop).expect_err("it was cancelled");
        assert_eq!(error.code, "ActionCancelled");
    }
    until("the end of all connections", || server.hanging() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_goes_on_when_its_caller_has_gone() {
    let harness = Harness::start().await;
    let runner = harness.runner.clone();
    let call = function_call(Identity::Anonymous, "actions:waits", json!({"ms": 50, "body": "all the same"}));
    let caller = tokio::spawn(async move { runner.action(call).await });
    until("the action", || harness.runner.metrics().actions_running == 1).await;
    caller.abort();
    until("its end", || harness.runner.metrics().actions_running == 0).await;
    assert_eq!(harness.value_of("messages:list", json!({})).await, json!(["all the same"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_end_an_action_and_say_which() {
    let harness = Harness::with(|options| {
        options.limits.action.user_time_ms_max = 1_000;
        options.limits.action.heap_bytes_max = 20 << 20;
        options.limits.action.call_depth_max = 4;
    })
    .await;
    let error = harness.action_error("actions:loops", json!({})).await;
    assert!(error.message.contains("timed out (maximum duration: 1 s)"), "{}", error.message);
    let error = harness.action_error("actions:grows", json!({})).await;
    assert!(error.message.contains("ActionsOutOfMemory"), "{}", error.message);
    assert_eq!(harness.runner.metrics().actions_bytes, 0);
    assert_eq!(harness.action_of("actions:callsItself", json!({})).await, json!(4));
    harness.stop().await;
    let harness = Harness::with(|options| options.limits.action.time_ms_max = 300).await;
    let error = harness.action_error("actions:waits", json!({"ms": 3_600_000})).await;
    assert!(error.message.contains("timed out (maximum duration: 0.3 s)"), "{}", error.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_an_action_and_of_what_it_called() {
    let harness = Harness::start().await;
    harness.action_of("actions:calls", json!({"body": "hi"})).await;
    let page = harness.runner.function_log(crate::harness::DEPLOYMENT, 0, Duration::ZERO).await;
    let entries: Vec<_> = page
        .expect("it is kept")
        .records
        .iter()
        .map(|record| (record.identifier.clone(), record.caller, record.request_id.clone()))
        .collect();
    let of = |name: &str, caller| (name.to_owned(), caller, "the-request".to_owned());
    for called in ["messages:sendSecretly", "messages:list", "messages:secret", "actions:inner"] {
        assert!(entries.contains(&of(called, Caller::Action)), "{called} is not among {entries:?}");
    }
    assert_eq!(entries.last(), Some(&of("actions:calls", Caller::HttpApi)));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_sees_what_its_caller_does_not() {
    let harness = Harness::with(|options| options.redact_errors = true).await;
    let caught = harness.action_of("actions:catches", json!({})).await;
    assert_eq!(caught[0][0], json!("Uncaught TypeError: it failed"));
    let error = harness.action_error("actions:throws", json!({})).await;
    assert_eq!(error.message, "[Request ID: the-request] Server Error");
    harness.stop().await;
}
