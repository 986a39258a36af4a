//! The log of executions.

use std::time::Duration;

use contract::{ExecutionRecord, FunctionKind, Runner as _};
use serde_json::json;

use crate::harness::{DEPLOYMENT, Harness};

async fn entries(harness: &Harness) -> Vec<ExecutionRecord> {
    harness.runner.function_log(DEPLOYMENT, 0, Duration::ZERO).await.expect("it is answered").records
}

#[tokio::test(flavor = "multi_thread")]
async fn every_execution_is_logged_with_its_lines_and_its_error() {
    let harness = Harness::start().await;
    harness.run_mutation("messages:send", json!({"body": "x"})).await;
    harness.run_query("messages:count", json!({})).await;
    harness.mutation_error("messages:fail", json!({})).await;
    harness.query_error("messages:nowhere", json!({})).await;
    let entries = entries(&harness).await;
    let summary: Vec<_> = entries
        .iter()
        .map(|entry| (entry.kind, entry.identifier.as_str(), entry.error.is_some(), entry.lines.len()))
        .collect();
    assert_eq!(
        summary,
        [
            (FunctionKind::Mutation, "messages:send", false, 1),
            (FunctionKind::Query, "messages:count", false, 0),
            (FunctionKind::Mutation, "messages:fail", true, 0),
            (FunctionKind::Query, "messages:nowhere", true, 0),
        ]
    );
    assert!(entries[2].error.as_ref().expect("an error").starts_with("Uncaught TypeError: it failed"));
    assert!(entries.iter().all(|entry| entry.request_id == "the-request" && !entry.will_retry));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_attempt_that_conflicts_is_logged_with_its_table() {
    let harness = Harness::start().await;
    for _ in 0..40 {
        let calls = (0..8).map(|_| harness.run_mutation("counters:increment", json!({})));
        futures::future::join_all(calls).await;
        if harness.runner.metrics().conflicts > 0 {
            break;
        }
    }
    let metrics = harness.runner.metrics();
    let entries = entries(&harness).await;
    let refused: Vec<_> = entries.iter().filter(|entry| entry.will_retry).collect();
    assert!(metrics.conflicts > 0);
    assert_eq!(refused.len() as u64, metrics.conflicts);
    for entry in refused {
        assert!(matches!(entry.conflict.as_deref(), Some("counters" | "_tables")), "{:?}", entry.conflict);
        assert!(entry.error.as_ref().expect("an error").starts_with("OptimisticConcurrencyControlFailure"));
    }
    harness.stop().await;
}
