//! Functions that misbehave: each gets an error, and the next call works.

use serde_json::json;

use crate::harness::Harness;

async fn short_of_time() -> Harness {
    with_time(300).await
}

async fn with_time(user_time_ms_max: u64) -> Harness {
    Harness::with(|options| {
        options.limits.function.user_time_ms_max = user_time_ms_max;
        options.limits.function.threads = 4;
        // Three loops leave one of the four to their own deployment.
        options.limits.function.deployment_threads_percent = 100;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_ended_and_others_run_meanwhile() {
    // Of processor time, which others take in turns with it: ten small calls need a fraction of it.
    let harness = with_time(1_500).await;
    harness.value_of("messages:count", json!({})).await;
    let hostile = async {
        let calls = (0..3).map(|_| harness.query_error("hostile:loopInQuery", json!({})));
        for error in futures::future::join_all(calls).await {
            assert!(error.message.contains("Function execution timed out"), "{}", error.message);
        }
    };
    let harmless = async {
        while harness.runner.metrics().running < 3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            harness.value_of("messages:count", json!({})).await;
        }
        assert_eq!(harness.runner.metrics().kills, 0, "the loops go on meanwhile");
    };
    futures::join!(hostile, harmless);
    assert_eq!(harness.runner.metrics().kills, 3);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_the_whole_tree_and_can_not_be_caught() {
    let harness = short_of_time().await;
    let error = harness.mutation_error("nested:catchesForever", json!({})).await;
    assert!(error.message.contains("Function execution timed out"), "{}", error.message);
    let error = harness.query_error("hostile:loopAfterReads", json!({})).await;
    assert!(
        error.message.contains("Function execution timed out") || error.message.contains("TooManyReads"),
        "{}",
        error.message
    );
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_stack_are_limited() {
    let harness = Harness::start().await;
    let error = harness.query_error("hostile:allocate", json!({})).await;
    assert!(error.message.contains("FunctionOutOfMemory"), "{}", error.message);
    let error = harness.query_error("hostile:recurse", json!({})).await;
    assert!(error.message.contains("RangeError"), "{}", error.message);
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_never_resolves_is_told() {
    let harness = Harness::start().await;
    let error = harness.query_error("hostile:never", json!({})).await;
    assert!(error.message.contains("will never resolve"), "{}", error.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_results_are_limited() {
    let harness = Harness::start().await;
    let chatty = harness.run_query("hostile:chatty", json!({})).await;
    assert_eq!(chatty.log_lines.len(), runner::FunctionLimits::DEFAULT.log_lines_max);
    let error = harness.query_error("hostile:large", json!({})).await;
    assert!(error.message.contains("FunctionResultTooLarge"), "{}", error.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_that_are_unknown_or_not_allowed_fail_and_can_be_caught() {
    let harness = Harness::start().await;
    let messages = harness.value_of("hostile:unknown", json!({})).await;
    let messages: Vec<&str> =
        messages.as_array().expect("a list").iter().filter_map(|text| text.as_str()).collect();
    let [unknown, search, insert, unknown_now, query] = messages[..] else { panic!("{messages:?}") };
    assert_eq!(unknown, "Unknown async operation: 1.0/nonsense");
    assert_eq!(search, "Unknown async operation: 1.0/actions/vectorSearch");
    assert!(insert.starts_with("ReadOnly: "), "{insert}");
    assert_eq!(unknown_now, "Unknown sync operation: 1.0/nonsense");
    assert!(!query.is_empty());
    harness.stop().await;
}
