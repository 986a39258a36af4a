//! Limits, crashes, and what they leave alone.

use nodejs::Failure;
use serde_json::json;

use crate::harness::{Host, Running};

#[tokio::test]
async fn who_ends_its_process_fails_alone_and_the_next_call_has_another_one() {
    let running = Running::start(|_| {}).await;
    let neighbour = Host::answering(|_, _| async { Ok(json!(null)) });
    let neighbour = running.run("sleep", json!({"ms": 4_500}), &neighbour);
    let crashes = async {
        for (name, arguments, how) in [
            ("exit", json!({"code": 3}), "ended itself with exit code 3"),
            ("exit", json!({"code": 0}), "ended itself with exit code 0"),
            ("signal", json!({"name": "SIGSEGV"}), "was ended by signal 11"),
            ("signal", json!({"name": "SIGKILL"}), "was ended by signal 9"),
        ] {
            let failure = running.failure(name, arguments).await;
            assert_eq!(failure, Failure::ProcessEnded { how: how.to_owned() });
            assert!(failure.to_string().starts_with("NodeProcessEnded: "));
        }
        let Failure::ThrewElsewhere(error) = running.failure("notAwaited", json!({})).await else {
            panic!("it throws")
        };
        assert_eq!((error.name.as_str(), error.message.as_str()), ("RangeError", "nobody waits"));
        assert!(error.stack.contains("at actions.js:"), "{}", error.stack);
        assert!(matches!(running.failure("garbage", json!({})).await, Failure::Broken { .. }));
        assert_eq!(running.value("count", json!({})).await, 1);
    };
    let (slept, ()) = futures::join!(neighbour, crashes);
    assert_eq!(slept.expect("the neighbour goes on"), "\"slept\"");
    running.stop().await;
}

#[tokio::test]
async fn an_endless_loop_ends_by_its_time_and_its_lines_were_there_before() {
    let running = Running::start(|limits| limits.action_ms_max = 4_500).await;
    let host = Host::quiet();
    let failure = running.run("loop", json!({}), &host).await.expect_err("it does not end");
    assert_eq!(failure, Failure::TimedOut { limit_ms: 4_500 });
    assert_eq!(failure.to_string(), "Function execution timed out (maximum duration: 4.5 s).");
    assert_eq!(host.texts(), ["[LOG] 'before'"]);
    let host = Host::answering(|_, _| async { Ok(json!(null)) });
    let failure = running.run("sleep", json!({"ms": 60_000}), &host).await;
    assert_eq!(failure, Err(Failure::TimedOut { limit_ms: 4_500 }), "waiting counts as well");
    running.stop().await;
}

#[tokio::test]
async fn memory_has_a_limit_in_the_heap_and_outside_of_it() {
    let limit_bytes = 160 << 20;
    let running = Running::start(|limits| {
        limits.memory_bytes_max = limit_bytes;
        limits.rest_memory_bytes_max = 120 << 20;
        limits.watch_ms = 20;
    })
    .await;
    for name in ["leakHeap", "leakBuffers"] {
        let host = Host::quiet();
        let failure = running.run(name, json!({}), &host).await.expect_err("there is a limit");
        assert_eq!(failure, Failure::OutOfMemory { limit_bytes }, "{name}");
        assert_eq!(
            host.texts(),
            Vec::<String>::new(),
            "what Node.js says when it ends is not the function's"
        );
    }
    // Who keeps what it has taken is not asked again.
    let first = running.value("keep", json!({"mebibytes": 80})).await;
    crate::harness::until(|| running.executor.metrics().processes == 0, "it is replaced").await;
    assert_ne!(running.value("keep", json!({"mebibytes": 1})).await, first);
    running.stop().await;
}

#[tokio::test]
async fn arguments_and_results_have_their_limits() {
    let running = Running::start(|limits| {
        limits.arguments_bytes_max = 1_000;
        limits.result_bytes_max = 2_000;
    })
    .await;
    let failure = running.failure("echo", json!({"text": "x".repeat(1_000)})).await;
    assert!(failure.to_string().starts_with("FunctionArgumentsTooLarge"), "{failure}");
    let failure = running.failure("long", json!({"bytes": 2_000})).await;
    assert_eq!(failure, Failure::ResultTooLarge { bytes: 2_002, bytes_max: 2_000 });
    assert_eq!(running.value("long", json!({"bytes": 1_998})).await.as_str().map(str::len), Some(1_998));
    running.stop().await;
}

#[tokio::test]
async fn operations_that_are_not_answered_have_a_number() {
    let running = Running::start(|limits| limits.operations_max = 20).await;
    let host = Host::answering(|_, _| async { Ok(json!(null)) });
    let result = running.run("askTooMany", json!({"count": 3_000}), &host).await.expect("a result");
    let settled: Vec<String> = serde_json::from_str(&result).expect("JSON");
    let is_answered = |text: &&String| *text == "fulfilled";
    assert_eq!(settled.iter().filter(is_answered).count(), 20);
    assert!(settled[20..].iter().all(|text| text == "TooManyConcurrentOperations"));
    running.stop().await;
}
