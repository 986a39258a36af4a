//! Queries and mutations, and who may call which.

use contract::{
    FunctionCall, FunctionKind, Identity, MutationCall, QueryCall, ReadMoment, Runner as _, Timestamp,
};
use serde_json::json;

use crate::harness::{Harness, admin, function_call, parsed};

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_writes_and_a_query_reads_it() {
    let harness = Harness::start().await;
    assert_eq!(harness.value_of("messages:list", json!({})).await, json!([]));
    let sent = harness.run_mutation("messages:send", json!({"body": "hello"})).await;
    let id = parsed(sent.result.expect("it was sent"));
    let timestamp = sent.timestamp.expect("it was committed");
    let [line] = &sent.log_lines[..] else { panic!("{:?}", sent.log_lines) };
    assert!(line.starts_with("[LOG] ") && line.contains("sending") && line.contains("hello"), "{line}");

    let read = harness.run_query("messages:list", json!({})).await;
    assert!(read.timestamp >= timestamp, "a latest query sees every commit that was acknowledged");
    assert_eq!(parsed(read.result.expect("it is read")), json!(["hello"]));
    let document = harness.value_of("messages:get", json!({ "id": id })).await;
    assert_eq!((&document["_id"], &document["body"]), (&id, &json!("hello")));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_at_an_earlier_moment_sees_that_moment() {
    let harness = Harness::start().await;
    let first =
        harness.run_mutation("messages:send", json!({"body": "one"})).await.timestamp.expect("committed");
    harness.run_mutation("messages:send", json!({"body": "two"})).await;
    let call = QueryCall {
        function: function_call(Identity::Anonymous, "messages:list", json!({})),
        at: ReadMoment::At(first),
        journal: None,
    };
    let outcome = harness.runner.query(call).await.expect("it is answered");
    assert_eq!((outcome.timestamp, parsed(outcome.result.expect("it succeeds"))), (first, json!(["one"])));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_path_and_default_exports_can_be_called() {
    let harness = Harness::start().await;
    for path in ["messages:count", "messages.js:count"] {
        assert_eq!(harness.value_of(path, json!({})).await, json!(0), "{path}");
    }
    for path in ["messages", "messages:default"] {
        assert_eq!(harness.value_of(path, json!({})).await, json!("the default export"), "{path}");
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_for_everybody_is_not_found() {
    let harness = Harness::start().await;
    for path in ["messages:lst", "nowhere:list", "messages:secret", "../x:y", "", "_deps/library:query"] {
        let error = harness.query_error(path, json!({})).await;
        assert!(
            error.message.starts_with("[Request ID: the-request] Server Error\nCould not find function"),
            "{path}: {}",
            error.message
        );
    }
    let secret = harness.query_as(admin(), "messages:secret", json!({})).await;
    assert_eq!(parsed(secret.result.expect("an administrator may")), json!("secret"));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_called_as_what_it_is() {
    let harness = Harness::start().await;
    let error = harness.query_error("messages:send", json!({"body": "x"})).await;
    assert!(
        error.message.contains("`messages:send` is a mutation and can't be called as a query"),
        "{error:?}"
    );
    let error = harness.mutation_error("messages:list", json!({})).await;
    assert!(
        error.message.contains("`messages:list` is a query and can't be called as a mutation"),
        "{error:?}"
    );
    let kind = async |identity, path| {
        harness.runner.kind(&function_call(identity, path, json!({}))).await.expect("it is answered")
    };
    assert_eq!(kind(Identity::Anonymous, "messages:list").await, Some(FunctionKind::Query));
    assert_eq!(kind(Identity::Anonymous, "messages:send").await, Some(FunctionKind::Mutation));
    assert_eq!(kind(Identity::Anonymous, "messages:act").await, Some(FunctionKind::Action));
    assert_eq!(kind(Identity::Anonymous, "messages:secret").await, None);
    assert_eq!(kind(admin(), "messages:secret").await, Some(FunctionKind::Query));
    assert_eq!(kind(Identity::Anonymous, "_system/cli/tables").await, None);
    assert_eq!(kind(admin(), "_system/cli/tables").await, Some(FunctionKind::Query));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_results_are_held_to_their_validators() {
    let harness = Harness::start().await;
    let error = harness.mutation_error("messages:send", json!({"body": 7})).await;
    assert!(error.message.contains("ArgumentValidationError: "), "{}", error.message);
    let error = harness.mutation_error("messages:send", json!({"body": "x", "more": 1})).await;
    assert!(error.message.contains("ArgumentValidationError: "), "{}", error.message);
    let error = harness.query_error("messages:wrongResult", json!({})).await;
    assert!(error.message.contains("ReturnsValidationError: "), "{}", error.message);
    let error = harness.query_error("messages:get", json!({"id": "nonsense"})).await;
    assert!(error.message.contains("ArgumentValidationError: "), "{}", error.message);
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_functions_are_for_administrators() {
    let harness = Harness::start().await;
    harness.run_mutation("messages:send", json!({"body": "x"})).await;
    let path = "_system/cli/tableSize:default";
    let size = harness.query_as(admin(), path, json!({"tableName": "messages"})).await;
    assert_eq!(parsed(size.result.expect("it is counted")), json!(1));
    let error = harness.query_error(path, json!({"tableName": "messages"})).await;
    assert!(
        error.message.contains("You do not have permission to perform this operation"),
        "{}",
        error.message
    );
    let spec = harness.query_as(admin(), "_system/cli/modules:apiSpec", json!({})).await;
    let spec = parsed(spec.result.expect("it is listed"));
    let is_listed = |entry: &serde_json::Value| entry["identifier"] == "messages.js:send";
    assert!(spec.as_array().expect("a list").iter().any(is_listed), "{spec}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_keeps_its_end_when_its_query_runs_again() {
    let harness = Harness::start().await;
    for body in ["one", "two", "three", "four"] {
        harness.run_mutation("messages:send", json!({ "body": body })).await;
    }
    let first = harness.run_query("messages:page", json!({"numItems": 2})).await;
    let page = parsed(first.result.expect("a page"));
    assert_eq!((page["page"].as_array().map(Vec::len), &page["isDone"]), (Some(2), &json!(false)));
    let id = page["page"][0]["_id"].clone();
    harness
        .transact(async move |transaction| {
            transaction.delete(id.as_str().expect("an id"), None).await.expect("it is there");
        })
        .await;
    let again = QueryCall {
        function: function_call(Identity::Anonymous, "messages:page", json!({"numItems": 2})),
        at: ReadMoment::Latest,
        journal: first.journal.clone(),
    };
    let again = harness.runner.query(again).await.expect("it is answered");
    let shorter = parsed(again.result.expect("a page"));
    assert_eq!(shorter["page"].as_array().map(Vec::len), Some(1), "the page shrinks, its end stays");
    assert_eq!(shorter["continueCursor"], page["continueCursor"]);

    let forged = QueryCall {
        function: function_call(Identity::Anonymous, "messages:page", json!({"numItems": 2})),
        at: ReadMoment::Latest,
        journal: Some("00ff".into()),
    };
    let error =
        harness.runner.query(forged).await.expect("it is answered").result.expect_err("it is refused");
    let data = parsed(error.data.expect("clients start again when they see this"));
    assert_eq!(data["paginationError"], "InvalidCursor");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_not_there_is_named_by_every_kind_of_call() {
    let harness = Harness::start().await;
    for component in ["nope", "no/such", "not a path"] {
        let expected = format!("There is no component `{component}`.");
        let function = |path: &str, arguments| FunctionCall {
            component: component.to_owned(),
            ..function_call(admin(), path, arguments)
        };
        for path in ["messages:list", "messages:nothing", "_system/cli/tables"] {
            let call =
                QueryCall { function: function(path, json!({})), at: ReadMoment::Latest, journal: None };
            let error = harness.runner.query(call).await.expect("an answer").result.expect_err(path);
            // First, since that is what tools show of it.
            let first = error.message.lines().next();
            assert_eq!(first, Some(expected.as_str()), "{path}");
            assert_eq!(harness.runner.kind(&function(path, json!({}))).await, Ok(None), "{path}");
        }
        let call = MutationCall {
            function: function("messages:send", json!({"body": "lost"})),
            session: None,
            not_before: Timestamp::ZERO,
        };
        let outcome = harness.runner.mutation(call).await.expect("an answer");
        assert!(outcome.result.expect_err("it is not there").message.contains(&expected));
    }
    assert_eq!(harness.value_of("messages:count", json!({})).await, json!(0));
    harness.stop().await;
}
