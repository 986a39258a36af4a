//! What clients are told when a function fails.

use contract::ModuleSource;
use serde_json::json;

use crate::harness::{Harness, admin, module, parsed};

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_throws_writes_nothing_and_says_what_was_thrown() {
    let harness = Harness::start().await;
    let error = harness.mutation_error("messages:fail", json!({})).await;
    let mut lines = error.message.lines();
    assert_eq!(lines.next(), Some("[Request ID: the-request] Server Error"));
    assert_eq!(lines.next(), Some("Uncaught TypeError: it failed"));
    let frame = lines.next().expect("a stack");
    assert!(frame.starts_with("    at ") && frame.contains("messages.js:"), "{frame}");
    assert_eq!(error.data, None);
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_own_error_carries_its_data() {
    let harness = Harness::start().await;
    let error = harness.mutation_error("messages:refuse", json!({})).await;
    assert_eq!(error.data.map(parsed), Some(json!({"code": 7})));
    assert!(error.message.contains("Uncaught ConvexError: {\"code\":7}"), "{}", error.message);
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_redacting_server_see_the_data_and_nothing_else() {
    let harness = Harness::with(|options| options.redact_errors = true).await;
    let error = harness.mutation_error("messages:refuse", json!({})).await;
    assert_eq!(error.message, "[Request ID: the-request] Server Error");
    assert_eq!(error.data.map(parsed), Some(json!({"code": 7})));
    let for_admin = harness.query_as(admin(), "messages:wrongResult", json!({})).await;
    assert!(for_admin.result.expect_err("it fails").message.contains("ReturnsValidationError"));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_name_the_files_that_people_wrote() {
    let harness = Harness::start().await;
    let mut modules = crate::harness::modules();
    // One line of code, whose beginning is line 5, column 3 of the source.
    modules.push(ModuleSource {
        source_map: Some(
            r#"{"version":3,"sources":["../convex/mapped.ts"],"names":[],"mappings":";AAIE"}"#.into(),
        ),
        ..module(
            "mapped.js",
            "import { query } from './_deps/library.js';\nexport const fail = query(async () => { throw new Error('mapped'); });",
        )
    });
    harness.push(&modules).await;
    let error = harness.query_error("mapped:fail", json!({})).await;
    assert!(error.message.contains("(../convex/mapped.ts:5:3)"), "{}", error.message);
    harness.stop().await;
}
