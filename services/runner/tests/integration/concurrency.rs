//! Mutations that conflict.

use contract::{ErrorKind, Identity};
use serde_json::json;

use crate::harness::{Harness, admin, parsed};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_is_lost() {
    let harness = Harness::start().await;
    const CALLERS: usize = 8;
    const CALLS: usize = 25;
    let callers = (0..CALLERS).map(|_| async {
        let mut seen = Vec::new();
        for _ in 0..CALLS {
            let value = harness.result_of("counters:increment", json!({})).await;
            seen.push(value.as_u64().expect("a number"));
        }
        assert!(seen.is_sorted(), "a caller never sees the counter go back: {seen:?}");
        seen
    });
    let mut seen: Vec<u64> = futures::future::join_all(callers).await.concat();
    seen.sort_unstable();
    assert_eq!(
        seen,
        (1..=(CALLERS * CALLS) as u64).collect::<Vec<_>>(),
        "every increment saw a value of its own"
    );
    assert_eq!(harness.value_of("counters:value", json!({})).await, json!(CALLERS * CALLS));
    let metrics = harness.runner.metrics();
    assert!(metrics.conflicts > 0, "callers at the same time conflict: {metrics:?}");
    assert_eq!(metrics.mutation_attempts, metrics.mutations + metrics.conflicts + metrics.turns_wanted);
    assert_eq!(metrics.conflicts_given_up, 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_queries_see_is_always_of_one_moment() {
    let harness = Harness::start().await;
    const ACCOUNTS: u64 = 4;
    let call = contract::MutationCall {
        function: crate::harness::function_call(admin(), "counters:open", json!({"accounts": ACCOUNTS})),
        session: None,
        not_before: contract::Timestamp::ZERO,
    };
    use contract::Runner as _;
    harness.runner.mutation(call).await.expect("it is answered").result.expect("it is committed");
    let movers = (0..4u64).map(|mover| {
        let harness = &harness;
        async move {
            for step in 0..15 {
                let (from, to) = ((mover + step) % ACCOUNTS, (mover + step + 1) % ACCOUNTS);
                harness.result_of("counters:transfer", json!({"from": from, "to": to})).await;
            }
        }
    });
    let watchers = (0..2).map(|_| async {
        for _ in 0..30 {
            let outcome = harness.query_as(Identity::Anonymous, "counters:balances", json!({})).await;
            let balances = parsed(outcome.result.expect("it succeeds"));
            let sum: i64 =
                balances.as_array().expect("a list").iter().filter_map(|balance| balance.as_i64()).sum();
            assert_eq!(sum, 100 * ACCOUNTS as i64, "{balances}");
        }
    });
    futures::join!(futures::future::join_all(movers), futures::future::join_all(watchers));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mutation_that_never_wins_is_told_so_and_logged() {
    // With one attempt, every conflict is the last one.
    let harness = Harness::with(|options| options.limits.transaction.retry.conflict_attempts_max = 1).await;
    // The table has to be there, or they conflict on creating it.
    harness.result_of("counters:increment", json!({})).await;
    let mut given_up = 0;
    let mut committed = 1;
    for _ in 0..40 {
        let calls = (0..8).map(|_| harness.mutation_in(None, "counters:increment", json!({})));
        for outcome in futures::future::join_all(calls).await {
            match outcome {
                Ok(outcome) => {
                    outcome.result.expect("it succeeds");
                    committed += 1;
                }
                Err(error) => {
                    assert_eq!(error.code, "OptimisticConcurrencyControlFailure");
                    assert_eq!(error.kind, ErrorKind::Overloaded);
                    assert!(error.message.contains("`counters`"), "it names the table: {}", error.message);
                    given_up += 1;
                }
            }
        }
        if given_up > 0 {
            break;
        }
    }
    assert!(given_up > 0, "eight callers at the same time never conflicted");
    assert_eq!(harness.value_of("counters:value", json!({})).await, json!(committed));
    harness.stop().await;
}
